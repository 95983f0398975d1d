// A log, its queues and its index in memory, with the hooks of a real put: what the delivery services' tests stand on.

import { utf8 } from "../../../src/base/bytes.ts";
import { IoError } from "../../../src/base/errors.ts";
import type { PutMessageHook, PutMessageResult, PutOptions } from "../../../src/broker/put_message_service.ts";
import type { ScheduledUnit } from "../../../src/broker/schedule/delay_level.ts";
import type { Clock } from "../../../src/runtime/runtime.ts";
import { DelayLevels, tagsString2tagsCode } from "../../../src/store/message_properties.ts";
import { type MessageToPut, PutMessageStatus, type StoredMessage } from "../../../src/store/types.ts";

export const HOST = { address: Uint8Array.of(127, 0, 0, 1), port: 10911 };
/** Every record has this many bytes. */
export const RECORD_SIZE = 100;

let keys = 0;

/** A message as a producer sends it; its body tells which one it is. */
export function producerMessage(
  text: string,
  properties: Readonly<Record<string, string>> = {},
  over: Partial<MessageToPut> = {},
): MessageToPut {
  return {
    topic: "T",
    queueId: 2,
    body: utf8.encode(text),
    properties: new Map([["UNIQ_KEY", `K${keys++}`], ...Object.entries(properties)]),
    flag: 7,
    sysFlag: 0,
    bornTimestamp: 1_600_000_000_000,
    bornHost: HOST,
    storeHost: HOST,
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    ...over,
  };
}

export class MemoryStore {
  /** Null where a record is gone. */
  records: (StoredMessage | null)[] = [];
  queues = new Map<string, ScheduledUnit[]>();
  minOffsets = new Map<string, number>();
  isIndexComplete = true;
  /** Settles {@link waitIndexComplete}; null: nobody waits. */
  indexWaiter: (() => void) | null = null;
  hooks: PutMessageHook[] = [];
  /** Asked before a put; a status refuses it. */
  refuse: (message: MessageToPut) => PutMessageStatus | null = () => null;
  /** Whether the next reads fail. */
  broken = false;
  flushedOffset = Infinity;
  /** Reads of records so far. */
  reads = 0;
  readonly #clock: Clock;
  readonly #delays: DelayLevels;
  #listeners = new Set<() => void>();
  #flushWaiters: { offset: number; resolve(): void }[] = [];

  constructor(clock: Clock, messageDelayLevel: string) {
    this.#clock = clock;
    this.#delays = new DelayLevels(messageDelayLevel);
  }

  get maxOffset(): number {
    return this.records.length * RECORD_SIZE;
  }

  get minOffset(): number {
    return Math.max(0, this.records.findIndex((record) => record !== null)) * RECORD_SIZE;
  }

  get lastRecordOffset(): number {
    return this.maxOffset - RECORD_SIZE;
  }

  get listeners(): number {
    return this.#listeners.size;
  }

  putMessage(message: MessageToPut, options: PutOptions = {}): PutMessageResult | Promise<PutMessageResult> {
    let checked: ReturnType<PutMessageHook> = message;
    if (options.skipHooks !== true) {
      for (const hook of this.hooks) {
        checked = hook(checked);
        if ("status" in checked) return { status: checked.status, append: null, remark: checked.remark };
      }
    }
    const refused = this.refuse(checked as MessageToPut);
    if (refused !== null) return { status: refused, append: null, remark: "refused by the test" };
    return this.append(checked as MessageToPut);
  }

  append(message: MessageToPut): PutMessageResult {
    const key = `${message.topic}-${message.queueId}`;
    let queue = this.queues.get(key);
    if (queue === undefined) this.queues.set(key, queue = []);
    const physicalOffset = this.maxOffset;
    const queueOffset = (this.minOffsets.get(key) ?? 0) + queue.length;
    const storeTimestamp = this.#clock.now();
    const bodyCrc = message.body.reduce((sum, byte) => (sum * 31 + byte) | 0, 7);
    this.records.push({
      ...message,
      storeSize: RECORD_SIZE,
      bodyCrc,
      queueOffset,
      physicalOffset,
      storeTimestamp,
      msgId: `ID${physicalOffset}`,
    });
    const level = Number(message.properties.get("DELAY") ?? 0);
    const isScheduled = message.topic === "SCHEDULE_TOPIC_XXXX" && level > 0;
    const tagsCode = isScheduled
      ? this.#delays.deliverTimestamp(level, storeTimestamp)!
      : tagsString2tagsCode(message.properties.get("TAGS"));
    queue.push({ queueOffset, pos: physicalOffset, size: RECORD_SIZE, tagsCode });
    for (const listener of this.#listeners) listener();
    const msgIds = [`ID${physicalOffset}`];
    return {
      status: PutMessageStatus.PUT_OK,
      append: {
        status: PutMessageStatus.PUT_OK,
        wroteOffset: physicalOffset,
        wroteBytes: RECORD_SIZE,
        msgIds,
        storeTimestamp,
        logicsOffset: queueOffset,
        msgNum: 1,
      },
      remark: "",
    };
  }

  /** Texts of a queue's messages, in order. */
  texts(topic: string, queueId: number): string[] {
    const units = this.queues.get(`${topic}-${queueId}`) ?? [];
    return units.map((unit) => utf8.decode(this.records[unit.pos / RECORD_SIZE]!.body));
  }

  /** A queue's messages. */
  messages(topic: string, queueId: number): StoredMessage[] {
    return (this.queues.get(`${topic}-${queueId}`) ?? []).map((unit) => this.records[unit.pos / RECORD_SIZE]!);
  }

  /** Takes the log's records from `count` on away, as a promoted slave lacks what its master had not sent. */
  cut(count: number): void {
    this.records.length = count;
    for (const [key, units] of this.queues) {
      this.queues.set(key, units.filter((unit) => unit.pos < this.maxOffset));
    }
  }

  readConsumeQueue(topic: string, queueId: number, fromIndex: number, maxCount: number): readonly ScheduledUnit[] {
    const key = `${topic}-${queueId}`;
    const from = fromIndex - (this.minOffsets.get(key) ?? 0);
    return from < 0 ? [] : (this.queues.get(key) ?? []).slice(from, from + maxCount);
  }

  lookMessage(offset: number, size: number): Promise<StoredMessage | null> {
    return size === RECORD_SIZE ? this.lookMessageByOffset(offset) : Promise.resolve(null);
  }

  lookMessageByOffset(offset: number): Promise<StoredMessage | null> {
    this.reads++;
    if (this.broken) return Promise.reject(new IoError("other", "EIO of the test"));
    return Promise.resolve(this.records[offset / RECORD_SIZE] ?? null);
  }

  getMinOffsetInQueue(topic: string, queueId: number): number {
    return this.minOffsets.get(`${topic}-${queueId}`) ?? 0;
  }

  getMaxOffsetInQueue(topic: string, queueId: number): number {
    return this.getMinOffsetInQueue(topic, queueId) + (this.queues.get(`${topic}-${queueId}`)?.length ?? 0);
  }

  queryMessage(topic: string, key: string, maxNum: number): Promise<readonly StoredMessage[]> {
    const found = this.records.filter((record) => record?.topic === topic && record.properties.get("UNIQ_KEY") === key);
    return Promise.resolve(found.slice(-maxNum) as StoredMessage[]);
  }

  async waitIndexComplete(): Promise<boolean> {
    if (!this.isIndexComplete) await new Promise<void>((resolve) => this.indexWaiter = resolve);
    return this.isIndexComplete;
  }

  onDispatched(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  waitFlushed(offset: number): Promise<void> {
    if (offset <= this.flushedOffset) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#flushWaiters.push({ offset, resolve });
    return promise;
  }

  flush(): void {
    this.flushedOffset = this.maxOffset;
    for (const { resolve } of this.#flushWaiters.splice(0)) resolve();
  }
}
