// Follows the queue of the timer's topic: each message gets a unit in the timer log and a place in the wheel, or, on a
// master, is delivered at once when its slot has passed. Runs on masters and on slaves, which thus can go on at once. It
// owns how far the queue is followed.

import { sleep } from "../../base/async.ts";
import type { Logger } from "../../base/logger.ts";
import type { Clock } from "../../runtime/runtime.ts";
import { javaHashCode, MessageConst } from "../../store/message_properties.ts";
import type { StoredMessage } from "../../store/types.ts";
import type { ScheduledUnit } from "../schedule/delay_level.ts";
import { RMQ_SYS_TIMER_TOPIC } from "../topic_validator.ts";
import type { TimerCheckpoint } from "./timer_checkpoint.ts";
import { NEVER_ENQUEUED, outTimeOf, type TimerDelivery } from "./timer_delivery.ts";
import { NO_POS, TIMER_LOG_UNIT_SIZE, type TimerLog, type TimerLogUnit, TimerMagic } from "./timer_log.ts";
import type { TimerMetrics } from "./timer_metrics.ts";
import type { TimerSlot, TimerWheel } from "./timer_wheel.ts";

/** What it needs of the store. */
export interface TimerQueueStore {
  readonly minOffset: number;
  readonly maxOffset: number;
  /** Units from `fromIndex`, fewer at the queue's end; none outside the queue. */
  readConsumeQueue(topic: string, queueId: number, fromIndex: number, maxCount: number): readonly ScheduledUnit[];
  /** The message of a unit; null when the log does not hold it (any more). */
  lookMessage(offset: number, size: number): Promise<StoredMessage | null>;
  lookMessageByOffset(offset: number): Promise<StoredMessage | null>;
  getMinOffsetInQueue(topic: string, queueId: number): number;
  getMaxOffsetInQueue(topic: string, queueId: number): number;
}

/** What {@link TimerEnqueue} needs. */
export interface TimerEnqueueParts {
  readonly store: TimerQueueStore;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly log: TimerLog;
  readonly wheel: TimerWheel;
  readonly checkpoint: TimerCheckpoint;
  readonly metrics: TimerMetrics;
  readonly delivery: TimerDelivery;
  /** Slots a message may be ahead; one further ahead is rolled. */
  readonly rollWindowSlots: number;
  /** Slots before this time are delivered, or being so; only a later one may still get messages. */
  readonly claimedMs: () => number;
  readonly isClosed: () => boolean;
  /** Messages got their places. */
  readonly onProgress: () => void;
}

/** Messages read, and units written, at once. */
const BATCH = 128;
/** Most bytes of messages read at once. */
const BATCH_BYTES = 1024 * 1024;
/** A slave's slots this far before its master's are not filled: the master delivered them. */
export const TIMER_RECHECK_MS = 60_000;
/** A timer log with more units than this behind what the log holds is made anew. */
const UNITS_UNDONE_MAX = 100_000;

/** A slot before and after a batch of messages. */
interface ChangedSlot {
  readonly before: TimerSlot | null;
  readonly slot: TimerSlot;
}

/** Mirrors `TimerMessageStore.enqueue` and `doEnqueue`. Methods throw {@link IoError}. */
export class TimerEnqueue {
  /** Next unit of the queue to follow. */
  queueOffset = 0;
  enqueuedCount = 0;
  readonly #parts: TimerEnqueueParts;
  /** The unit followed last: it must be there still, else the log was cut. */
  #last: ScheduledUnit | null = null;

  constructor(parts: TimerEnqueueParts) {
    this.#parts = parts;
  }

  /** End of the message followed last, bytes of the commit log. */
  get followedEnd(): number {
    return this.#last === null ? 0 : this.#last.pos + this.#last.size;
  }

  /** Up to where the queue may be followed now. A slave stops where its master is: what is beyond may be late. */
  get limit(): number {
    const max = this.#parts.store.getMaxOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0);
    if (this.#parts.delivery.isRunning) return max;
    return Math.min(max, this.#parts.checkpoint.masterTimerQueueOffset);
  }

  /** Finds where to go on: behind the last unit of the timer log whose message the log holds. */
  async recover(): Promise<void> {
    const { store, checkpoint } = this.#parts;
    const max = store.getMaxOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0);
    const isWhole = await this.#align();
    // Messages that were delivered at once, or were too old, have no unit.
    if (isWhole && checkpoint.lastTimerQueueOffset <= max) this.#goTo(checkpoint.lastTimerQueueOffset);
    else this.#correctCheckpoint();
  }

  /** The queue may come to the length of before with other messages. */
  #correctCheckpoint(): void {
    this.#parts.checkpoint.lastTimerQueueOffset = this.queueOffset;
    this.#parts.onProgress();
  }

  /** Takes back what was followed of messages that the log does not hold any more. */
  async heal(): Promise<void> {
    if (!this.#isCut()) return;
    await this.#align();
    this.#correctCheckpoint();
  }

  /** Follows the queue up to {@link limit}. */
  async run(): Promise<void> {
    const { store, isClosed, clock } = this.#parts;
    for (let inTurn = 0; !isClosed();) {
      await this.heal();
      this.#goTo(store.getMinOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0));
      const count = Math.min(BATCH, this.limit - this.queueOffset);
      if (count <= 0) return;
      const units = withinBytes(store.readConsumeQueue(RMQ_SYS_TIMER_TOPIC, 0, this.queueOffset, count));
      if (units.length === 0) return;
      const messages = await Promise.all(units.map((unit) => store.lookMessage(unit.pos, unit.size)));
      for (let i = 0; i < units.length && !isClosed();) {
        i = this.#place(units, messages, i);
        if (i === units.length) break;
        // The one that is late.
        if (!(await this.#deliverLate(messages[i]!))) return;
        this.#followed(units[i++]!);
      }
      this.#parts.onProgress();
      inTurn += units.length;
      if (inTurn < 2 * BATCH) continue;
      inTurn = 0;
      await sleep(clock, 0);
    }
  }

  /** Gives messages from `from` on their places; returns where one is that has to be delivered, or the end. */
  #place(units: readonly ScheduledUnit[], messages: readonly (StoredMessage | null)[], from: number): number {
    const { wheel, log, clock, delivery, claimedMs, checkpoint } = this.#parts;
    const { precisionMs } = wheel;
    const writeTimeMs = Math.max(Math.floor(clock.now() / precisionMs) * precisionMs, claimedMs());
    const slots = new Map<number, ChangedSlot>();
    const before = log.maxPos;
    let at = from;
    try {
      for (; at < units.length; at++) {
        const message = messages[at]!;
        const outMs = message === null ? null : outTimeOf(message);
        if (outMs === null) continue;
        if (delivery.isRunning && outMs < writeTimeMs) break;
        if (!delivery.isRunning && outMs < checkpoint.lastReadTimeMs - TIMER_RECHECK_MS) continue;
        this.#append(message!, units[at]!, outMs, writeTimeMs, slots);
      }
      log.writePending();
      this.#putSlots(slots);
    } catch (error) {
      log.truncate(before);
      throw error;
    }
    if (at > from) this.#followed(units[at - 1]!);
    return at;
  }

  /** All of them or none. */
  #putSlots(slots: ReadonlyMap<number, ChangedSlot>): void {
    const { wheel } = this.#parts;
    const done: [number, ChangedSlot][] = [];
    try {
      for (const [timeMs, changed] of slots) {
        done.push([timeMs, changed]);
        wheel.put(timeMs, changed.slot);
      }
    } catch (error) {
      for (const [timeMs, { before }] of done) {
        if (before === null) wheel.clear(timeMs);
        else wheel.put(timeMs, before);
      }
      throw error;
    }
  }

  #append(
    message: StoredMessage,
    unit: ScheduledUnit,
    outMs: number,
    writeTimeMs: number,
    slots: Map<number, ChangedSlot>,
  ): void {
    const { wheel, log, metrics, delivery } = this.#parts;
    const { precisionMs } = wheel;
    const { properties } = message;
    const isDelete = properties.has(MessageConst.PROPERTY_TIMER_DEL_UNIQKEY);
    let magic: number = TimerMagic.DEFAULT | (isDelete ? TimerMagic.DELETE : 0);
    let delayedTimeMs = Math.floor(outMs / precisionMs) * precisionMs;
    const slotsAhead = (delayedTimeMs - writeTimeMs) / precisionMs;
    if (slotsAhead >= this.#parts.rollWindowSlots) {
      magic |= TimerMagic.ROLL;
      delayedTimeMs = writeTimeMs + rollSlots(slotsAhead, this.#parts.rollWindowSlots) * precisionMs;
    } else if (slotsAhead < 0 && wheel.isTakenByLater(delayedTimeMs)) {
      // So long ago that the ring has come round.
      delayedTimeMs = writeTimeMs;
    }
    const changed = slots.get(delayedTimeMs);
    const before = changed === undefined ? wheel.slot(delayedTimeMs) : changed.before;
    const slot = changed?.slot ?? before;
    const topic = properties.get(MessageConst.PROPERTY_REAL_TOPIC);
    const pos = log.append({
      prevPos: slot?.lastPos ?? NO_POS,
      magic,
      writeTimeMs,
      delayedTimeMs,
      offsetPy: unit.pos,
      sizePy: unit.size,
      topicHash: topic === undefined ? 0 : javaHashCode(topic),
    });
    const change = isDelete ? -1 : 1;
    const next = { firstPos: slot?.firstPos ?? pos, lastPos: pos, num: (slot?.num ?? 0) + change };
    slots.set(delayedTimeMs, { before, slot: next });
    this.enqueuedCount++;
    // A slave takes its master's numbers over.
    if (topic !== undefined && delivery.isRunning) metrics.add(topic, change);
  }

  async #deliverLate(message: StoredMessage): Promise<boolean> {
    return await this.#parts.delivery.deliver(message, outTimeOf(message)!, NEVER_ENQUEUED);
  }

  #followed(unit: ScheduledUnit): void {
    this.#last = unit;
    this.queueOffset = unit.queueOffset + 1;
  }

  #goTo(queueOffset: number): void {
    if (queueOffset <= this.queueOffset) return;
    this.queueOffset = queueOffset;
    this.#last = this.#unitAt(queueOffset - 1);
  }

  #unitAt(queueOffset: number): ScheduledUnit | null {
    if (queueOffset < 0) return null;
    return this.#parts.store.readConsumeQueue(RMQ_SYS_TIMER_TOPIC, 0, queueOffset, 1)[0] ?? null;
  }

  /** Whether the log lost what was followed: a slave's is cut where it parted from its master's. */
  #isCut(): boolean {
    const { store } = this.#parts;
    if (this.queueOffset > store.getMaxOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0)) return true;
    const last = this.#last;
    if (last === null || last.queueOffset < store.getMinOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0)) return false;
    return this.#unitAt(last.queueOffset)?.pos !== last.pos;
  }

  /**
   * Takes back the units whose messages the log does not hold (any more), and goes on behind the last of the others.
   * Returns whether there were none to take back.
   */
  async #align(): Promise<boolean> {
    const { log, store, logger } = this.#parts;
    let undone = 0;
    let pos = log.unitBefore(log.maxPos);
    this.#last = null;
    this.queueOffset = 0;
    for (; pos !== null; pos = log.unitBefore(pos)) {
      const unit = await log.read(pos);
      const found = unit === null ? null : await this.#queueUnitOf(unit);
      if (found !== null) {
        this.#followed(found);
        break;
      }
      // Older ones expired with the log's front.
      if (unit !== null && unit.offsetPy < store.minOffset) break;
      if (unit === null || ++undone > UNITS_UNDONE_MAX) return this.#startAnew();
      this.#undo(unit);
    }
    if (undone > 0) {
      log.truncate(pos === null ? log.minPos : pos + TIMER_LOG_UNIT_SIZE);
      await this.#parts.wheel.sync();
      logger.warn("The timer took messages back that the log does not hold any more", { messages: undone });
    }
    this.#goTo(store.getMinOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0));
    return undone === 0;
  }

  /** The queue's unit of the message that a unit of the timer log points at. */
  async #queueUnitOf({ offsetPy, sizePy, magic, delayedTimeMs }: TimerLogUnit): Promise<ScheduledUnit | null> {
    const { store } = this.#parts;
    if (offsetPy + sizePy > store.maxOffset) return null;
    const message = await store.lookMessageByOffset(offsetPy);
    if (message?.topic !== RMQ_SYS_TIMER_TOPIC) return null;
    // After a cut another message may stand there.
    if ((magic & TimerMagic.ROLL) === 0 && outTimeOf(message) !== delayedTimeMs) return null;
    const unit = this.#unitAt(message.queueOffset);
    return unit?.pos === offsetPy ? unit : null;
  }

  #undo({ pos, prevPos, delayedTimeMs, magic }: TimerLogUnit): void {
    const { wheel } = this.#parts;
    const slot = wheel.slot(delayedTimeMs);
    if (slot === null || slot.lastPos !== pos) return;
    if (prevPos === NO_POS) return wheel.clear(delayedTimeMs);
    const num = slot.num + ((magic & TimerMagic.DELETE) === 0 ? -1 : 1);
    wheel.put(delayedTimeMs, { firstPos: slot.firstPos, lastPos: prevPos, num });
  }

  /** Another log: the queue is followed from its begin. */
  #startAnew(): boolean {
    const { log, wheel, logger, store } = this.#parts;
    logger.warn("The timer's files do not fit the log; they are made anew from its messages");
    log.destroy();
    wheel.destroy();
    this.#goTo(store.getMinOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0));
    return false;
  }
}

/** Where a message too far ahead waits first: with time enough left for what remains. */
function rollSlots(slotsAhead: number, window: number): number {
  return slotsAhead - window < window / 3 ? Math.floor(window / 2) : window;
}

function withinBytes(units: readonly ScheduledUnit[]): readonly ScheduledUnit[] {
  let bytes = 0;
  const end = units.findIndex((unit, index) => (bytes += unit.size) > BATCH_BYTES && index > 0);
  return end < 0 ? units : units.slice(0, end);
}
