// Puts one message of the timer where it belongs: to its consumers, or, when its time is too far ahead for the wheel, back
// into the timer's topic. It asks the log whether that was done before, and tries until the store takes it.

import { deferred } from "../../base/async.ts";
import type { Logger } from "../../base/logger.ts";
import type { Clock } from "../../runtime/runtime.ts";
import { MessageConst } from "../../store/message_properties.ts";
import { type MessageToPut, PutMessageStatus, type StoredMessage } from "../../store/types.ts";
import type { PutOptions } from "../put_message_service.ts";
import { parseJavaInteger } from "../../base/java_integer.ts";
import type { DeliveryPuts } from "../schedule/delay_level.ts";
import { copyTo, deliveredMessage } from "../schedule/delivered_message.ts";
import { type DeliveryCheckStore, deliveryState } from "../schedule/delivery_check.ts";
import { RMQ_SYS_TIMER_TOPIC } from "../topic_validator.ts";
import { parseJavaLong } from "./timer_hook.ts";

/** What {@link TimerDelivery} needs. */
export interface TimerDeliveryParts {
  readonly store: DeliveryCheckStore;
  readonly puts: DeliveryPuts;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Messages this far ahead went through the timer's topic more than once, ms. */
  readonly rollWindowMs: number;
  readonly onDelivered?: (message: MessageToPut, wroteBytes: number) => void;
}

/** When a message that was never in the wheel was put into it: Java's `Long.MAX_VALUE`. */
export const NEVER_ENQUEUED = "9223372036854775807";

/** A refused put is tried again after this, ms, and after twice as long each time, up to the second. */
const RETRY_MS = 500;
const RETRY_MAX_MS = 5000;
/** Nobody waits for it, and its time has come. */
const DELIVERY: PutOptions = { skipHooks: true, noWait: true };
/** A message of these will never be stored. */
const HOPELESS: ReadonlySet<PutMessageStatus> = new Set([
  PutMessageStatus.MESSAGE_ILLEGAL,
  PutMessageStatus.PROPERTIES_SIZE_EXCEEDED,
]);

/** Mirrors `TimerMessageStore.convert` and `doPut`; unlike there a message is tried until the store takes it. */
export class TimerDelivery {
  /** Slots before this time may have been delivered in an earlier life, or by another master. */
  uncertainBefore = 0;
  /** End of what is delivered: it has to be on the disk before that is saved. */
  logEnd = 0;
  deliveredCount = 0;
  #isRunning = false;
  readonly #parts: TimerDeliveryParts;
  readonly #wakes = new Set<() => void>();

  constructor(parts: TimerDeliveryParts) {
    this.#parts = parts;
  }

  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** `logEnd` is where the log ends: what was delivered before may be in memory only. */
  start(logEnd: number): void {
    this.#isRunning = true;
    this.logEnd = logEnd;
  }

  /** Puts that are being tried again give up. */
  stop(): void {
    this.#isRunning = false;
    for (const wake of this.#wakes) wake();
  }

  /**
   * Delivers a message of the slot at `outMs`; `enqueueTime` is when it was put there. False when delivery stopped first.
   * Throws {@link IoError}.
   */
  async deliver(message: StoredMessage, outMs: number, enqueueTime: string): Promise<boolean> {
    if (message.properties.has(MessageConst.PROPERTY_TIMER_DEL_UNIQKEY)) return this.#isRunning;
    const added = {
      [MessageConst.PROPERTY_TIMER_ENQUEUE_MS]: enqueueTime,
      [MessageConst.PROPERTY_TIMER_DEQUEUE_MS]: String(this.#parts.clock.now()),
    };
    const copy = deliveredMessage(message, added);
    if (copy === null) {
      this.#sayDropped(message, "It names no real topic and queue");
      return this.#isRunning;
    }
    // A message that was rolled stands in the topic again, further behind: that one counts.
    const isFar = outMs - message.storeTimestamp >= this.#parts.rollWindowMs;
    if (outMs < this.uncertainBefore || isFar) {
      const topics = isFar ? [copy.topic, RMQ_SYS_TIMER_TOPIC] : [copy.topic];
      if ((await deliveryState(this.#parts.store, message, topics)) === "delivered") return this.#isRunning;
    }
    return await this.#put(message, copy);
  }

  /** Puts a message into the timer's topic again: its time is too far ahead. As {@link deliver} else. */
  async roll(message: StoredMessage, slotMs: number, enqueueTime: string): Promise<boolean> {
    if (slotMs < this.uncertainBefore) {
      const topics = [RMQ_SYS_TIMER_TOPIC];
      if ((await deliveryState(this.#parts.store, message, topics)) === "delivered") return this.#isRunning;
    }
    const rolled = parseJavaInteger(message.properties.get(MessageConst.PROPERTY_TIMER_ROLL_TIMES) ?? "0") ?? 0;
    const copy = copyTo(message, RMQ_SYS_TIMER_TOPIC, 0, {
      [MessageConst.PROPERTY_TIMER_ENQUEUE_MS]: enqueueTime,
      [MessageConst.PROPERTY_TIMER_ROLL_TIMES]: String(rolled + 1),
      [MessageConst.PROPERTY_TIMER_DEQUEUE_MS]: String(this.#parts.clock.now()),
    });
    return await this.#put(message, copy);
  }

  async #put(message: StoredMessage, copy: MessageToPut): Promise<boolean> {
    const { puts, logger, onDelivered } = this.#parts;
    for (let retryMs = RETRY_MS; this.#isRunning; retryMs = Math.min(2 * retryMs, RETRY_MAX_MS)) {
      const putting = puts.putMessage(copy, DELIVERY);
      const { append, status, remark } = putting instanceof Promise ? await putting : putting;
      if (append !== null) {
        this.logEnd = Math.max(this.logEnd, append.wroteOffset + append.wroteBytes);
        this.deliveredCount++;
        onDelivered?.(copy, append.wroteBytes);
        return true;
      }
      if (HOPELESS.has(status)) {
        this.#sayDropped(message, `${status}: ${remark}`);
        return true;
      }
      if (retryMs === RETRY_MS) {
        const fields = { physicOffset: message.physicalOffset, status, remark };
        logger.warn("A message whose time has come can't be delivered now; trying again", fields);
      }
      await this.#pause(retryMs);
    }
    return false;
  }

  async #pause(ms: number): Promise<void> {
    const { promise, resolve } = deferred<void>();
    const timer = this.#parts.clock.setTimer(ms, resolve);
    this.#wakes.add(resolve);
    await promise;
    this.#wakes.delete(resolve);
    timer.cancel();
  }

  #sayDropped(message: StoredMessage, reason: string): void {
    const fields = { physicOffset: message.physicalOffset, reason };
    this.#parts.logger.error("A message whose time has come can't be delivered, the timer goes on without it", fields);
  }
}

/** When a message of the timer's topic is due, rounded to its slot; null when it says no such time. */
export function outTimeOf(message: StoredMessage): number | null {
  const outMs = parseJavaLong(message.properties.get(MessageConst.PROPERTY_TIMER_OUT_MS) ?? "");
  return outMs !== null && outMs > 0 && Number.isSafeInteger(outMs) ? outMs : null;
}
