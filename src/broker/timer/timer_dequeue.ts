// Delivers the wheel's slots one after another once their time has passed, each slot's messages in the order in which they
// came, without those that were called back. It owns which slot is next; when to look is TimerMessageStore's matter.

import { sleep } from "../../base/async.ts";
import type { Clock } from "../../runtime/runtime.ts";
import { MessageConst } from "../../store/message_properties.ts";
import type { StoredMessage } from "../../store/types.ts";
import { RMQ_SYS_TIMER_TOPIC } from "../topic_validator.ts";
import { outTimeOf, type TimerDelivery } from "./timer_delivery.ts";
import { NO_POS, type TimerLog, type TimerLogUnit, TimerMagic } from "./timer_log.ts";
import type { TimerMetrics } from "./timer_metrics.ts";
import type { TimerWheel } from "./timer_wheel.ts";

/** What {@link TimerDequeue} needs. */
export interface TimerDequeueParts {
  readonly store: { lookMessageByOffset(offset: number): Promise<StoredMessage | null> };
  readonly clock: Clock;
  readonly log: TimerLog;
  readonly wheel: TimerWheel;
  readonly metrics: TimerMetrics;
  readonly delivery: TimerDelivery;
  /** A slot is delivered. */
  readonly onProgress: () => void;
}

/** Units of a slot held at once: a slot may have millions. */
const CHUNK_UNITS = 8192;
/** Messages read at once. */
const BATCH = 32;
const BATCH_BYTES = 1024 * 1024;
/** So many in a row, then others get their turn. */
const DELIVERED_PER_TURN = 64;

/** Mirrors `TimerMessageStore.dequeue`. Methods throw {@link IoError}. */
export class TimerDequeue {
  /** The next slot to deliver, Unix ms. */
  readTimeMs = 0;
  /** Slots before this one take no messages any more. */
  claimedMs = 0;
  readonly #parts: TimerDequeueParts;
  #inTurn = 0;

  constructor(parts: TimerDequeueParts) {
    this.#parts = parts;
  }

  /** Time of the next slot with messages, Unix ms; null when there is none. */
  next(): number | null {
    const { clock, wheel } = this.#parts;
    const next = wheel.nextTime(this.readTimeMs);
    if (next !== null) return next;
    // Time goes on without messages, else the ring would come round.
    this.readTimeMs = Math.max(this.readTimeMs, Math.floor(clock.now() / wheel.precisionMs) * wheel.precisionMs);
    this.claimedMs = Math.max(this.claimedMs, this.readTimeMs);
    return null;
  }

  /** Delivers what is due, until nothing is or delivery stops. */
  async run(): Promise<void> {
    const { clock, wheel, delivery, onProgress } = this.#parts;
    while (delivery.isRunning) {
      const timeMs = this.next();
      if (timeMs === null || timeMs + wheel.precisionMs > clock.now()) return;
      this.claimedMs = Math.max(this.claimedMs, timeMs + wheel.precisionMs);
      if (!(await this.#deliverSlot(timeMs))) break;
      wheel.pass(timeMs);
      this.readTimeMs = timeMs + wheel.precisionMs;
      onProgress();
    }
  }

  /** False when delivery stopped first: the slot's messages are delivered again then, but for those in the log. */
  async #deliverSlot(timeMs: number): Promise<boolean> {
    const { wheel, delivery } = this.#parts;
    const slot = wheel.slot(timeMs);
    if (slot === null) return true;
    const { chunks, deletes } = await this.#walk(slot.lastPos);
    const deleted = await this.#deletedKeys(deletes);
    for (const [index, chunkEnd] of chunks.toReversed().entries()) {
      const isOldest = index === 0;
      const chunk = await this.#chunk(chunkEnd, isOldest ? NO_POS : chunks[chunks.length - index]!);
      for (let at = 0; at < chunk.length;) {
        const batch = batchOf(chunk, at);
        at += batch.length;
        const messages = await Promise.all(batch.map((unit) => this.#parts.store.lookMessageByOffset(unit.offsetPy)));
        for (const [i, unit] of batch.entries()) {
          if (!delivery.isRunning || !(await this.#deliverOne(unit, messages[i]!, timeMs, deleted))) return false;
        }
        await this.#yield(batch.length);
      }
    }
    return delivery.isRunning;
  }

  /** Follows a chain to its begin: every so manyth position, from the last on, and the units that call others back. */
  async #walk(lastPos: number): Promise<{ chunks: number[]; deletes: TimerLogUnit[] }> {
    const { log } = this.#parts;
    const chunks: number[] = [];
    const deletes: TimerLogUnit[] = [];
    let count = 0;
    for (let pos = lastPos; pos !== NO_POS;) {
      if (count++ % CHUNK_UNITS === 0) chunks.push(pos);
      const unit = await log.read(pos);
      if (unit === null) break;
      if (isDelete(unit)) deletes.push(unit);
      // A chain goes back: anything else is damage.
      pos = unit.prevPos < pos ? unit.prevPos : NO_POS;
    }
    return { chunks, deletes };
  }

  /** The units of a chain from `lastPos` back to the one behind `stopPos`, in the order in which they came. */
  async #chunk(lastPos: number, stopPos: number): Promise<TimerLogUnit[]> {
    const units: TimerLogUnit[] = [];
    for (let pos = lastPos; pos > stopPos;) {
      const unit = await this.#parts.log.read(pos);
      if (unit === null) break;
      units.push(unit);
      pos = unit.prevPos < pos ? unit.prevPos : NO_POS;
    }
    return units.reverse();
  }

  /** `topic+key` of the messages that are called back. */
  async #deletedKeys(units: readonly TimerLogUnit[]): Promise<Set<string>> {
    const keys = new Set<string>();
    for (const unit of units) {
      const message = await this.#parts.store.lookMessageByOffset(unit.offsetPy);
      if (message?.topic !== RMQ_SYS_TIMER_TOPIC) continue;
      const key = message.properties.get(MessageConst.PROPERTY_TIMER_DEL_UNIQKEY);
      if (key !== undefined) keys.add(key);
      await this.#yield(1);
    }
    return keys;
  }

  /** False when delivery stopped first. */
  async #deliverOne(
    unit: TimerLogUnit,
    message: StoredMessage | null,
    timeMs: number,
    deleted: ReadonlySet<string>,
  ): Promise<boolean> {
    const { delivery, metrics } = this.#parts;
    // A place in the log may have been given to something else, after a cut.
    if (message?.topic !== RMQ_SYS_TIMER_TOPIC || isDelete(unit)) return true;
    const realTopic = message.properties.get(MessageConst.PROPERTY_REAL_TOPIC) ?? "";
    const enqueueTime = String(unit.writeTimeMs);
    if ((unit.magic & TimerMagic.ROLL) !== 0) {
      if (!(await delivery.roll(message, timeMs, enqueueTime))) return false;
    } else {
      const outMs = outTimeOf(message);
      if (outMs === null || outMs > timeMs) return true;
      const key = message.properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
      const isDeleted = key !== undefined && deleted.has(deleteKey(realTopic, key));
      if (!isDeleted && !(await delivery.deliver(message, outMs, enqueueTime))) return false;
      // The unit that called it back took it off the number.
      if (isDeleted) return true;
    }
    metrics.add(realTopic, -1);
    return true;
  }

  async #yield(count: number): Promise<void> {
    this.#inTurn += count;
    if (this.#inTurn < DELIVERED_PER_TURN) return;
    this.#inTurn = 0;
    await sleep(this.#parts.clock, 0);
  }
}

/** How a message is named that calls another back. Mirrors `TimerMessageStore.buildDeleteKey`. */
export function deleteKey(realTopic: string, uniqKey: string): string {
  return `${realTopic}+${uniqKey}`;
}

/** Whether a unit calls another message back; one that is rolled does so later. */
function isDelete({ magic }: TimerLogUnit): boolean {
  return (magic & TimerMagic.DELETE) !== 0 && (magic & TimerMagic.ROLL) === 0;
}

/** Units of messages that may be read at once. */
function batchOf(units: readonly TimerLogUnit[], from: number): readonly TimerLogUnit[] {
  let bytes = 0;
  let at = from;
  for (; at < units.length && at - from < BATCH; at++) {
    bytes += units[at]!.sizePy;
    if (bytes > BATCH_BYTES && at > from) break;
  }
  return units.slice(from, at);
}
