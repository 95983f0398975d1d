// Reading messages back: by queue offset, by key, by id, by time. It turns units and index hits into records of the log
// and checks each before it is handed out. Owns no state; MessageStore offers it to the outside.

import { readInt32 } from "../base/bytes.ts";
import type { Logger } from "../base/logger.ts";
import type { CommitLog } from "./commit_log.ts";
import { type ConsumeQueue, CQ_STORE_UNIT_SIZE, decodeCqUnit, isPreBlank, searchFirst } from "./consume_queue.ts";
import type { ConsumeQueueStore } from "./consume_queue_store.ts";
import type { IndexService } from "./index_service.ts";
import { bornTimestampAt, decodeMessage, storeTimestampAt } from "./message_codec.ts";
import { KEY_SEPARATOR, MessageConst } from "./message_properties.ts";
import { type RecordValidator, RecordVerdict } from "./record_validator.ts";
import type { MessageTimes, StoredMessage } from "./types.ts";

/** Outcome of {@link MessageReader.getMessage}. Mirrors Apache's `GetMessageStatus`. */
export const GetMessageStatus = {
  FOUND: "FOUND",
  NO_MATCHED_MESSAGE: "NO_MATCHED_MESSAGE",
  MESSAGE_WAS_REMOVING: "MESSAGE_WAS_REMOVING",
  OFFSET_FOUND_NULL: "OFFSET_FOUND_NULL",
  OFFSET_OVERFLOW_BADLY: "OFFSET_OVERFLOW_BADLY",
  OFFSET_OVERFLOW_ONE: "OFFSET_OVERFLOW_ONE",
  OFFSET_TOO_SMALL: "OFFSET_TOO_SMALL",
  NO_MESSAGE_IN_QUEUE: "NO_MESSAGE_IN_QUEUE",
  /** Never the store's: the broker sends the consumer somewhere else. */
  OFFSET_RESET: "OFFSET_RESET",
} as const;
export type GetMessageStatus = (typeof GetMessageStatus)[keyof typeof GetMessageStatus];

/** Messages of a queue. Mirrors Apache's `GetMessageResult`. */
export interface GetMessageResult {
  readonly status: GetMessageStatus;
  readonly messages: readonly StoredMessage[];
  /** Where to go on. */
  readonly nextBeginOffset: number;
  /** Index of the queue's first and after its last message. */
  readonly minOffset: number;
  readonly maxOffset: number;
}

/** Which of the messages stored around a time is meant. Mirrors Apache's `BoundaryType`. */
export const BoundaryType = {
  /** The first one stored at that time or later. */
  LOWER: "LOWER",
  /** The last one stored at that time or earlier. */
  UPPER: "UPPER",
} as const;
export type BoundaryType = (typeof BoundaryType)[keyof typeof BoundaryType];

/** An entry of a consume queue. Mirrors Apache's `CqUnit`. */
export interface ConsumeQueueEntry {
  readonly queueOffset: number;
  /** Start and bytes of the record in the log. */
  readonly pos: number;
  readonly size: number;
  /** Hash of the tag; of a delayed message, when it is due. */
  readonly tagsCode: number;
}

/** Units looked at by one {@link MessageReader.getMessage}. */
const UNITS_MAX = 800;
/** Holds every field up to the store timestamp, whatever the hosts. */
const RECORD_FRONT_SIZE = 80;

/** Reads from the log what consume queues and index point at. Methods throw {@link IoError}. */
export class MessageReader {
  readonly #log: CommitLog;
  readonly #consumeQueues: ConsumeQueueStore;
  readonly #index: IndexService | null;
  readonly #logger: Logger;
  readonly #validator: RecordValidator;

  constructor(parts: {
    log: CommitLog;
    consumeQueues: ConsumeQueueStore;
    index: IndexService | null;
    logger: Logger;
  }) {
    this.#log = parts.log;
    this.#consumeQueues = parts.consumeQueues;
    this.#index = parts.index;
    this.#logger = parts.logger;
    this.#validator = parts.log.ownValidator(true);
  }

  /**
   * Messages from `queueOffset`: at most `maxNum`, and no more once `maxBytes` of records are exceeded, but always the
   * first. Mirrors `DefaultMessageStore.getMessage` without a filter.
   */
  async getMessage(
    topic: string,
    queueId: number,
    queueOffset: number,
    maxNum: number,
    maxBytes: number,
  ): Promise<GetMessageResult> {
    const queue = this.#consumeQueues.find(topic, queueId);
    const minOffset = queue?.minOffsetInQueue ?? 0;
    const maxOffset = queue?.maxOffsetInQueue ?? 0;
    const nothing = (status: GetMessageStatus, nextBeginOffset: number): GetMessageResult => ({
      status,
      messages: [],
      nextBeginOffset,
      minOffset,
      maxOffset,
    });
    if (queue === null || maxOffset === 0) return nothing(GetMessageStatus.NO_MESSAGE_IN_QUEUE, 0);
    if (queueOffset < minOffset) return nothing(GetMessageStatus.OFFSET_TOO_SMALL, minOffset);
    if (queueOffset === maxOffset) return nothing(GetMessageStatus.OFFSET_OVERFLOW_ONE, queueOffset);
    if (queueOffset > maxOffset) return nothing(GetMessageStatus.OFFSET_OVERFLOW_BADLY, maxOffset);
    const units = queue.readUnits(queueOffset, new Uint8Array(UNITS_MAX * CQ_STORE_UNIT_SIZE));
    if (units.length === 0) return nothing(GetMessageStatus.OFFSET_FOUND_NULL, queue.rollNextFile(queueOffset));
    const { messages, nextBeginOffset, removed } = await this.#readRun(units, queueOffset, maxNum, maxBytes);
    let status: GetMessageStatus = GetMessageStatus.NO_MATCHED_MESSAGE;
    if (messages.length > 0) status = GetMessageStatus.FOUND;
    else if (removed) status = GetMessageStatus.MESSAGE_WAS_REMOVING;
    return { status, messages, nextBeginOffset, minOffset, maxOffset };
  }

  /** Entries of a queue from `fromIndex`; none outside it, fewer at its end or at the end of a file. */
  readConsumeQueue(topic: string, queueId: number, fromIndex: number, maxCount: number): ConsumeQueueEntry[] {
    const queue = this.#consumeQueues.find(topic, queueId);
    if (queue === null || fromIndex < queue.minOffsetInQueue || fromIndex >= queue.maxOffsetInQueue) return [];
    const units = queue.readUnits(fromIndex, new Uint8Array(Math.min(maxCount, UNITS_MAX) * CQ_STORE_UNIT_SIZE));
    const entries: ConsumeQueueEntry[] = [];
    for (let at = 0; at < units.length; at += CQ_STORE_UNIT_SIZE) {
      const queueOffset = fromIndex + at / CQ_STORE_UNIT_SIZE;
      const { pos, size, tagsCode } = decodeCqUnit(units, at, queueOffset);
      entries.push({ queueOffset, pos, size, tagsCode });
    }
    return entries;
  }

  async #readRun(units: Uint8Array, queueOffset: number, maxNum: number, maxBytes: number) {
    const messages: StoredMessage[] = [];
    let nextBeginOffset = queueOffset;
    let bytes = 0;
    let removed = false;
    for (let at = 0; at < units.length && messages.length < maxNum; at += CQ_STORE_UNIT_SIZE) {
      const { pos, size } = decodeCqUnit(units, at, nextBeginOffset);
      if (bytes > 0 && bytes + size > maxBytes) break;
      nextBeginOffset++;
      const message = isPreBlank(pos, size) ? null : await this.lookMessage(pos, size);
      if (message === null) {
        removed = true;
        continue;
      }
      messages.push(message);
      bytes += size;
    }
    return { messages, nextBeginOffset, removed };
  }

  /** The message in the record of `size` bytes at `offset`; null when the log does not hold it (any more). */
  async lookMessage(offset: number, size: number): Promise<StoredMessage | null> {
    const bytes = await this.#log.readRecord(offset, size);
    if (bytes === null) return null;
    if (this.#validator.check(bytes, 0, bytes.length, offset) === RecordVerdict.OK && this.#validator.size === size) {
      return decodeMessage(bytes);
    }
    this.#logger.error("A record that was asked for is damaged. Run verify on the store", {
      physicOffset: offset,
      detail: this.#validator.detail,
    });
    return null;
  }

  /** The message whose record starts at `offset`; null when none does. Mirrors `lookMessageByOffset`. */
  async lookMessageByOffset(offset: number): Promise<StoredMessage | null> {
    const record = await this.lookRecordByOffset(offset);
    return record === null ? null : decodeMessage(record);
  }

  /** The record that starts at `offset`, checked; null when none does. */
  async lookRecordByOffset(offset: number): Promise<Uint8Array | null> {
    if (!Number.isSafeInteger(offset) || offset < this.#log.minOffset || offset >= this.#log.maxOffset) return null;
    const front = new Uint8Array(RECORD_FRONT_SIZE);
    const count = await this.#log.read(offset, front);
    // An offset from outside may point anywhere: what stands there must look like a record before it is read whole.
    const verdict = this.#validator.check(front, 0, count, offset);
    if (verdict !== RecordVerdict.PARTIAL && verdict !== RecordVerdict.OK) return null;
    const size = readInt32(front, 0);
    if (size < RECORD_FRONT_SIZE || offset + size > this.#log.maxOffset) return null;
    const bytes = await this.#log.readRecord(offset, size);
    if (bytes === null || this.#validator.check(bytes, 0, size, offset) !== RecordVerdict.OK) return null;
    return bytes;
  }

  /**
   * Messages of `topic` with that unique key, or that word among their keys, stored in `[begin, end]` (Unix ms), by
   * offset; the newest `maxNum`. Unlike Apache's, hits of the hash alone are left out.
   */
  async queryMessage(
    topic: string,
    key: string,
    maxNum: number,
    begin: number,
    end: number,
  ): Promise<readonly StoredMessage[]> {
    return (await this.queryRecords(topic, key, maxNum, begin, end)).map((record) => decodeMessage(record));
  }

  /** Their records; see {@link queryMessage}. */
  async queryRecords(topic: string, key: string, maxNum: number, begin: number, end: number): Promise<Uint8Array[]> {
    if (this.#index === null) return [];
    const { phyOffsets } = this.#index.queryOffset(topic, key, maxNum, begin, end);
    const records: Uint8Array[] = [];
    for (const offset of phyOffsets.sort((a, b) => a - b)) {
      const record = await this.lookRecordByOffset(offset);
      const message = record === null ? null : decodeMessage(record);
      if (message === null || message.topic !== topic || !hasKey(message, key)) continue;
      if (message.storeTimestamp >= begin && message.storeTimestamp <= end) records.push(record!);
    }
    return records;
  }

  /**
   * Queue offset by store time. LOWER: of the first message stored at `timestamp` or later, the queue's end when there
   * is none. UPPER: of the last one stored at `timestamp` or earlier, 0 when there is none. 0 for a queue that does not
   * exist. Mirrors `getOffsetInQueueByTime`.
   */
  getOffsetByTime(topic: string, queueId: number, timestamp: number, boundary: BoundaryType): number {
    const queue = this.#consumeQueues.find(topic, queueId);
    if (queue === null) return 0;
    const { minOffsetInQueue: min, maxOffsetInQueue: max } = queue;
    if (boundary === BoundaryType.LOWER) {
      return searchFirst(min, max, (index) => this.#storeTimestampOf(queue, index) < timestamp);
    }
    const after = searchFirst(min, max, (index) => this.#storeTimestampOf(queue, index) <= timestamp);
    return after > min ? after - 1 : 0;
  }

  /** Store timestamp of the queue's first message, -1 without one. Mirrors `getEarliestMessageTime(topic, queueId)`. */
  getEarliestMessageTime(topic: string, queueId: number): number {
    const queue = this.#consumeQueues.find(topic, queueId);
    if (queue === null || queue.minOffsetInQueue >= queue.maxOffsetInQueue) return -1;
    return this.#storeTimestampOf(queue, queue.minOffsetInQueue);
  }

  /** Store timestamp of the message at an index of a queue, -1 without one. Mirrors `getMessageStoreTimeStamp`. */
  getMessageStoreTimeStamp(topic: string, queueId: number, queueOffset: number): number {
    const queue = this.#consumeQueues.find(topic, queueId);
    if (queue === null || queueOffset < queue.minOffsetInQueue || queueOffset >= queue.maxOffsetInQueue) return -1;
    return this.#storeTimestampOf(queue, queueOffset);
  }

  /** When the message at an index of a queue was born and stored, Unix ms; null when there is none. */
  getMessageTimes(
    topic: string,
    queueId: number,
    queueOffset: number,
  ): MessageTimes | null {
    const unit = this.#consumeQueues.find(topic, queueId)?.get(queueOffset) ?? null;
    const front = unit === null ? null : this.#frontAt(unit.pos);
    return front === null
      ? null
      : { bornTimestamp: bornTimestampAt(front, 0), storeTimestamp: storeTimestampAt(front, 0) };
  }

  /** Messages the log no longer holds count as the oldest. */
  #storeTimestampOf(queue: ConsumeQueue, queueOffset: number): number {
    const unit = queue.get(queueOffset);
    return unit === null ? -1 : this.storeTimestampAtOffset(unit.pos);
  }

  /** Store timestamp of the record that starts at `offset`, -1 when there is none. Blocks for a few bytes. */
  storeTimestampAtOffset(offset: number): number {
    const front = this.#frontAt(offset);
    return front === null ? -1 : storeTimestampAt(front, 0);
  }

  /** The first bytes of the record that starts at `offset`; null when none does. */
  #frontAt(offset: number): Uint8Array | null {
    const file = this.#log.mappedFileQueue.findMappedFileByOffset(offset);
    if (file === null || offset >= this.#log.maxOffset) return null;
    const front = new Uint8Array(RECORD_FRONT_SIZE);
    const count = file.readAt(front, offset - file.fileFromOffset);
    const verdict = this.#validator.check(front, 0, Math.min(count, RECORD_FRONT_SIZE), offset);
    return verdict === RecordVerdict.PARTIAL && count === RECORD_FRONT_SIZE ? front : null;
  }
}

function hasKey(message: StoredMessage, key: string): boolean {
  if (message.properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX) === key) return true;
  return message.properties.get(MessageConst.PROPERTY_KEYS)?.split(KEY_SEPARATOR).includes(key) ?? false;
}
