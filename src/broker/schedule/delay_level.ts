// One delay level: where its delivery is, and delivering what is due, in order. ScheduleMessageService says when to look
// and is told of each step.

import { sleep } from "../../base/async.ts";
import type { Logger } from "../../base/logger.ts";
import type { Clock } from "../../runtime/runtime.ts";
import { type MessageToPut, PutMessageStatus, type StoredMessage } from "../../store/types.ts";
import type { PutMessageResult, PutOptions } from "../put_message_service.ts";
import { RMQ_SYS_SCHEDULE_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC } from "../topic_validator.ts";
import { delayLevel2QueueId } from "./delay_hook.ts";
import { deliveredMessage } from "./delivered_message.ts";

/** What a level needs of the store. */
export interface DelayLevelStore {
  /** Units from `fromIndex`, fewer at the queue's end; none outside the queue. */
  readConsumeQueue(topic: string, queueId: number, fromIndex: number, maxCount: number): readonly ScheduledUnit[];
  /** The message of a unit; null when the log does not hold it (any more). */
  lookMessage(offset: number, size: number): Promise<StoredMessage | null>;
  getMinOffsetInQueue(topic: string, queueId: number): number;
  getMaxOffsetInQueue(topic: string, queueId: number): number;
}

/** A unit of a consume queue; for the schedule topic `tagsCode` is when it is due, Unix ms. */
export interface ScheduledUnit {
  readonly queueOffset: number;
  readonly pos: number;
  readonly size: number;
  readonly tagsCode: number;
}

/** Where delivered messages go. */
export interface DeliveryPuts {
  putMessage(message: MessageToPut, options?: PutOptions): PutMessageResult | Promise<PutMessageResult>;
}

/** What all levels share. */
export interface DelayLevelParts {
  readonly store: DelayLevelStore;
  readonly puts: DeliveryPuts;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isRunning: () => boolean;
  /** The offset moved; `logEnd` is the end of the message that was delivered, 0 for none. */
  readonly onMoved: (level: number, offset: number, logEnd: number) => void;
  readonly onDelivered: (message: MessageToPut, wroteBytes: number) => void;
}

/** Units looked at, and messages read, at once. */
const BATCH = 32;
/** Most bytes of messages read at once; a larger one is a batch of its own. */
const BATCH_BYTES = 1024 * 1024;
/** So many in a row, then others get their turn. */
const DELIVERED_PER_TURN = 64;
/** A put that is refused is tried again after this, ms, and after twice as long each time... */
const RETRY_MS = 100;
/** ...up to this. */
const RETRY_MAX_MS = 5000;
/** A message of these will never be stored: the level goes on without it. */
const HOPELESS: ReadonlySet<PutMessageStatus> = new Set([
  PutMessageStatus.MESSAGE_ILLEGAL,
  PutMessageStatus.PROPERTIES_SIZE_EXCEEDED,
]);
/** A delivered message is an old one: its producer has its answer, and nobody waits. */
const DELIVERY: PutOptions = { skipHooks: true, noWait: true };

/** Mirrors Apache's `DeliverDelayedMessageTimerTask`. */
export class DelayLevel {
  readonly level: number;
  readonly queueId: number;
  /** Next unit to deliver. */
  offset = 0;
  /** When to look again, Unix ms; null: when there is something new. */
  lookAt: number | null = null;
  readonly #delayMs: number;
  readonly #parts: DelayLevelParts;
  #retryMs = RETRY_MS;

  constructor(level: number, delayMs: number, parts: DelayLevelParts) {
    this.level = level;
    this.queueId = delayLevel2QueueId(level);
    this.#delayMs = delayMs;
    this.#parts = parts;
  }

  get minOffset(): number {
    return this.#parts.store.getMinOffsetInQueue(RMQ_SYS_SCHEDULE_TOPIC, this.queueId);
  }

  get maxOffset(): number {
    return this.#parts.store.getMaxOffsetInQueue(RMQ_SYS_SCHEDULE_TOPIC, this.queueId);
  }

  /** Whether {@link lookAt} is past, or so far ahead that the clock must have been set back. */
  mustLook(now: number): boolean {
    return this.lookAt !== null && (this.lookAt <= now || this.lookAt > now + this.#delayMs);
  }

  /** Sets {@link offset}, moved into the queue. Mirrors `correctDelayOffset`. */
  setOffset(offset: number): void {
    const { minOffset: min, maxOffset: max } = this;
    this.offset = Math.max(min, Math.min(offset, max));
    if (this.offset === offset || offset === 0) return;
    this.#parts.logger.warn("Offset of a delay level lies outside its queue", { level: this.level, offset, min, max });
  }

  /** The message of a unit; null when the log holds it no more. Throws {@link IoError}. */
  async messageAt(index: number): Promise<StoredMessage | null> {
    const unit = this.#parts.store.readConsumeQueue(RMQ_SYS_SCHEDULE_TOPIC, this.queueId, index, 1)[0];
    return unit === undefined ? null : await this.#parts.store.lookMessage(unit.pos, unit.size);
  }

  /** Delivers until nothing is due, a put is refused, or delivery stops; {@link lookAt} then says when to go on. */
  async deliver(): Promise<void> {
    const { store, clock, isRunning } = this.#parts;
    let inTurn = 0;
    while (isRunning()) {
      const units = store.readConsumeQueue(RMQ_SYS_SCHEDULE_TOPIC, this.queueId, this.offset, BATCH);
      const due = dueUnits(units, clock.now(), this.#delayMs);
      if (due.length === 0) {
        this.lookAt = units.length > 0 ? units[0]!.tagsCode : this.#atEnd();
        return;
      }
      const messages = await Promise.all(due.map((unit) => store.lookMessage(unit.pos, unit.size)));
      for (const [index, unit] of due.entries()) {
        if (!isRunning() || !(await this.#deliverOne(unit, messages[index]!))) return;
      }
      inTurn += due.length;
      if (inTurn < DELIVERED_PER_TURN) continue;
      inTurn = 0;
      await sleep(clock, 0);
    }
  }

  /** When to look again though there is no unit at the offset. */
  #atEnd(): number | null {
    const before = this.offset;
    this.setOffset(before);
    if (this.offset !== before) this.#parts.onMoved(this.level, this.offset, 0);
    return this.offset >= this.maxOffset ? null : this.#parts.clock.now() + RETRY_MS;
  }

  /** False: to be tried again later, and so are those behind it. */
  async #deliverOne(unit: ScheduledUnit, waiting: StoredMessage | null): Promise<boolean> {
    const message = waiting === null ? null : deliveredMessage(waiting);
    let logEnd = 0;
    if (message !== null && message.topic !== RMQ_SYS_TRANS_HALF_TOPIC) {
      const putting = this.#parts.puts.putMessage(message, DELIVERY);
      const { append, status, remark } = putting instanceof Promise ? await putting : putting;
      if (append !== null) {
        logEnd = append.wroteOffset + append.wroteBytes;
        this.#parts.onDelivered(message, append.wroteBytes);
      } else if (HOPELESS.has(status)) {
        this.#sayDropped(unit, `${status}: ${remark}`);
      } else {
        this.#retryLater(status, remark);
        return false;
      }
    } else if (waiting !== null) {
      this.#sayDropped(unit, message === null ? "It names no real topic and queue" : "It is an open transaction's");
    }
    this.offset = unit.queueOffset + 1;
    this.#retryMs = RETRY_MS;
    this.#parts.onMoved(this.level, this.offset, logEnd);
    return true;
  }

  #retryLater(status: PutMessageStatus, remark: string): void {
    const { clock, logger, isRunning } = this.#parts;
    this.lookAt = clock.now() + this.#retryMs;
    if (this.#retryMs === RETRY_MS && isRunning()) {
      const { level, offset } = this;
      logger.warn("A delayed message can't be delivered now; trying again", { level, offset, status, remark });
    }
    this.#retryMs = Math.min(2 * this.#retryMs, RETRY_MAX_MS);
  }

  #sayDropped(unit: ScheduledUnit, reason: string): void {
    this.#parts.logger.error("A delayed message can't be delivered, its level goes on without it", {
      level: this.level,
      offset: unit.queueOffset,
      physicOffset: unit.pos,
      reason,
    });
  }
}

/** Those of the units, from the first, that are due, as many as a batch may hold. */
function dueUnits(units: readonly ScheduledUnit[], now: number, delayMs: number): readonly ScheduledUnit[] {
  let count = 0;
  let bytes = 0;
  for (const { tagsCode, size } of units) {
    // One further ahead than its level allows: the clock was set back, and it is due.
    if (tagsCode > now && tagsCode <= now + delayMs) break;
    bytes += size;
    if (count > 0 && bytes > BATCH_BYTES) break;
    count++;
  }
  return units.slice(0, count);
}
