// What a pull takes out of a queue: which of its messages go into one answer, and their records as they stand in the log,
// back to back in one buffer. Entries are looked at first, then records that lie side by side are read at once; only a
// filter on properties makes it look into records before. Owns no state; MessageStore offers it to the outside.

import { readInt32, readInt64 } from "../base/bytes.ts";
import type { Logger } from "../base/logger.ts";
import type { CommitLog } from "./commit_log.ts";
import { type ConsumeQueue, CQ_STORE_UNIT_SIZE, decodeCqUnit, isPreBlank } from "./consume_queue.ts";
import type { ConsumeQueueStore } from "./consume_queue_store.ts";
import { MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordField, recordProperties } from "./message_codec.ts";
import type { MessageFilter } from "./message_filter.ts";
import { GetMessageStatus } from "./message_reader.ts";

/** Apache's keys that pulls obey, read at each. */
export interface PullOptions {
  readonly maxTransferBytesOnMessageInMemory: number;
  readonly maxTransferCountOnMessageInMemory: number;
  readonly maxTransferBytesOnMessageInDisk: number;
  readonly maxTransferCountOnMessageInDisk: number;
  /** Bytes of entries that one pull looks at, at least. */
  readonly maxFilterMessageSize: number;
  /** A slave corrects offsets outside its queues too. */
  readonly offsetCheckInSlave: boolean;
}

/** Outcome of a pull. Mirrors Apache's `GetMessageResult`. */
export interface PullResult {
  readonly status: GetMessageStatus;
  /** Whole records in queue order, as they stand in the log. */
  readonly records: Uint8Array;
  readonly messageCount: number;
  /** Where to go on. */
  readonly nextBeginOffset: number;
  /** Index of the queue's first and after its last message. */
  readonly minOffset: number;
  readonly maxOffset: number;
  /** Whether what was looked at lies so far back that a slave should serve the next pull. */
  readonly suggestPullingFromSlave: boolean;
}

/** What it reads from. */
export interface PullReaderParts {
  readonly log: CommitLog;
  readonly consumeQueues: ConsumeQueueStore;
  readonly options: PullOptions;
  readonly logger: Logger;
  readonly isSlave: () => boolean;
  /** Whether the record at an offset is near enough to the log's end. */
  readonly isInMemory: (pos: number) => boolean;
}

/** Bytes of one answer: a frame holds no more than 16 MiB, header included. The first message goes out in any case. */
const ANSWER_BYTES_MAX = 15 * 1024 * 1024;
/** Entries read at first without a filter: a client asks for 32 messages. */
const UNITS_FIRST = 32;
const NO_RECORDS = new Uint8Array(0);

/** Entries chosen for an answer, and how far was looked. */
interface Choice {
  readonly positions: number[];
  readonly sizes: number[];
  bytes: number;
  nextBeginOffset: number;
  /** Of the last entry looked at. */
  lastPos: number;
  removed: boolean;
}

/** Mirrors `DefaultMessageStore.getMessage`. */
export class PullReader {
  readonly #parts: PullReaderParts;
  #units = new Uint8Array(UNITS_FIRST * CQ_STORE_UNIT_SIZE);

  constructor(parts: PullReaderParts) {
    this.#parts = parts;
  }

  /**
   * At most `maxMsgNums` messages from `offset` that `filter` lets through (null: all), fewer by the limits of the
   * configuration; the first one whatever its size. Throws {@link IoError}.
   */
  pull(
    topic: string,
    queueId: number,
    offset: number,
    maxMsgNums: number,
    filter: MessageFilter | null,
  ): PullResult | Promise<PullResult> {
    const queue = this.#parts.consumeQueues.find(topic, queueId);
    const minOffset = queue?.minOffsetInQueue ?? 0;
    const maxOffset = queue?.maxOffsetInQueue ?? 0;
    const nothing = (status: GetMessageStatus, correctOffset: number): PullResult => ({
      status,
      records: NO_RECORDS,
      messageCount: 0,
      nextBeginOffset: status === GetMessageStatus.OFFSET_OVERFLOW_ONE
        ? offset
        : this.#corrected(offset, correctOffset),
      minOffset,
      maxOffset,
      suggestPullingFromSlave: false,
    });
    if (queue === null || maxOffset === 0) return nothing(GetMessageStatus.NO_MESSAGE_IN_QUEUE, 0);
    if (offset < minOffset) return nothing(GetMessageStatus.OFFSET_TOO_SMALL, minOffset);
    if (offset === maxOffset) return nothing(GetMessageStatus.OFFSET_OVERFLOW_ONE, offset);
    if (offset > maxOffset) return nothing(GetMessageStatus.OFFSET_OVERFLOW_BADLY, maxOffset);
    const units = this.#readUnits(queue, offset, maxMsgNums, filter);
    if (units.length === 0) return nothing(GetMessageStatus.OFFSET_FOUND_NULL, queue.rollNextFile(offset));
    if (filter !== null && filter.needsProperties) {
      // The buffer of units is shared, and this waits.
      return this.#pullByProperties(units.slice(), offset, maxMsgNums, filter, { minOffset, maxOffset });
    }
    const choice = this.#choose(units, offset, maxMsgNums, filter);
    const records = this.#readRecords(choice);
    if (records instanceof Promise) return records.then((read) => this.#result(choice, read, { minOffset, maxOffset }));
    return this.#result(choice, records, { minOffset, maxOffset });
  }

  /** A slave's queues may be shorter than its master's: what looks wrong here may be right there. */
  #corrected(offset: number, correctOffset: number): number {
    return this.#parts.isSlave() && !this.#parts.options.offsetCheckInSlave ? offset : correctOffset;
  }

  #readUnits(queue: ConsumeQueue, offset: number, maxMsgNums: number, filter: MessageFilter | null): Uint8Array {
    const scanBytes = Math.max(this.#parts.options.maxFilterMessageSize, maxMsgNums * CQ_STORE_UNIT_SIZE);
    const scanned = Math.floor(scanBytes / CQ_STORE_UNIT_SIZE);
    const { maxTransferCountOnMessageInMemory, maxTransferCountOnMessageInDisk } = this.#parts.options;
    const countMax = Math.max(maxTransferCountOnMessageInMemory, maxTransferCountOnMessageInDisk, 1);
    const count = filter === null ? Math.min(scanned, maxMsgNums, countMax) : scanned;
    if (this.#units.length < count * CQ_STORE_UNIT_SIZE) this.#units = new Uint8Array(count * CQ_STORE_UNIT_SIZE);
    return queue.readUnits(offset, this.#units.subarray(0, Math.max(1, count) * CQ_STORE_UNIT_SIZE));
  }

  /** Goes by the entries alone. */
  #choose(units: Uint8Array, offset: number, maxMsgNums: number, filter: MessageFilter | null): Choice {
    const choice: Choice = { positions: [], sizes: [], bytes: 0, nextBeginOffset: offset, lastPos: 0, removed: false };
    const { log } = this.#parts;
    for (let at = 0; at < units.length; at += CQ_STORE_UNIT_SIZE) {
      const { pos, size, tagsCode } = decodeCqUnit(units, at, choice.nextBeginOffset);
      if (this.#isFull(choice, pos, size, maxMsgNums)) break;
      choice.lastPos = pos;
      choice.nextBeginOffset++;
      if (filter !== null && !filter.isMatchedByConsumeQueue(tagsCode)) continue;
      if (isPreBlank(pos, size) || pos < log.minOffset || pos + size > log.maxOffset) {
        choice.removed = true;
        continue;
      }
      choice.positions.push(pos);
      choice.sizes.push(size);
      choice.bytes += size;
    }
    return choice;
  }

  /** Mirrors `isTheBatchFull`. */
  #isFull(choice: Choice, pos: number, size: number, maxMsgNums: number): boolean {
    const count = choice.positions.length;
    if (count === 0) return false;
    if (count + 1 > maxMsgNums || choice.bytes + size > ANSWER_BYTES_MAX) return true;
    const { options, isInMemory } = this.#parts;
    return isInMemory(pos)
      ? choice.bytes + size > options.maxTransferBytesOnMessageInMemory ||
        count + 1 > options.maxTransferCountOnMessageInMemory
      : choice.bytes + size > options.maxTransferBytesOnMessageInDisk ||
        count + 1 > options.maxTransferCountOnMessageInDisk;
  }

  /** Reads the chosen records into one buffer; neighbours in one go. At once where the page cache holds them. */
  #readRecords(choice: Choice): Uint8Array | Promise<Uint8Array> {
    const target = new Uint8Array(choice.bytes);
    const pending: Promise<unknown>[] = [];
    const { positions, sizes } = choice;
    for (let index = 0, at = 0; index < positions.length;) {
      const pos = positions[index]!;
      let end = pos;
      while (index < positions.length && positions[index] === end) end += sizes[index++]!;
      const part = target.subarray(at, at + end - pos);
      const count = this.#parts.log.read(pos, part);
      // A run that crosses into the next file was read to the file's end only: fillers stand between, so it never is.
      if (count instanceof Promise) pending.push(count);
      at += end - pos;
    }
    return pending.length === 0 ? target : Promise.all(pending).then(() => target);
  }

  /** Records that are not what their entries say are left out: the log may have been cut, or have rotted. */
  #result(choice: Choice, records: Uint8Array, bounds: { minOffset: number; maxOffset: number }): PullResult {
    let kept = 0;
    let to = 0;
    for (let index = 0, at = 0; index < choice.positions.length; at += choice.sizes[index]!, index++) {
      const size = choice.sizes[index]!;
      if (!isRecord(records, at, choice.positions[index]!, size)) {
        this.#sayDamaged(choice.positions[index]!);
        continue;
      }
      if (to !== at) records.copyWithin(to, at, at + size);
      to += size;
      kept++;
    }
    return this.#answer(choice, to === records.length ? records : records.subarray(0, to), kept, bounds);
  }

  #answer(
    choice: Choice,
    records: Uint8Array,
    messageCount: number,
    { minOffset, maxOffset }: { minOffset: number; maxOffset: number },
  ): PullResult {
    const isRemoved = choice.removed || choice.positions.length > 0;
    const status = messageCount > 0
      ? GetMessageStatus.FOUND
      : isRemoved
      ? GetMessageStatus.MESSAGE_WAS_REMOVING
      : GetMessageStatus.NO_MATCHED_MESSAGE;
    const { nextBeginOffset, lastPos } = choice;
    const suggestPullingFromSlave = !this.#parts.isInMemory(lastPos);
    return { status, records, messageCount, nextBeginOffset, minOffset, maxOffset, suggestPullingFromSlave };
  }

  /** Looks into one record after another. */
  async #pullByProperties(
    units: Uint8Array,
    offset: number,
    maxMsgNums: number,
    filter: MessageFilter,
    bounds: { minOffset: number; maxOffset: number },
  ): Promise<PullResult> {
    const choice: Choice = { positions: [], sizes: [], bytes: 0, nextBeginOffset: offset, lastPos: 0, removed: false };
    const chosen: Uint8Array[] = [];
    for (let at = 0; at < units.length; at += CQ_STORE_UNIT_SIZE) {
      const { pos, size, tagsCode } = decodeCqUnit(units, at, choice.nextBeginOffset);
      if (this.#isFull(choice, pos, size, maxMsgNums)) break;
      choice.lastPos = pos;
      choice.nextBeginOffset++;
      if (!filter.isMatchedByConsumeQueue(tagsCode)) continue;
      const reading = isPreBlank(pos, size) ? null : this.#parts.log.readRecord(pos, size);
      const record = reading instanceof Promise ? await reading : reading;
      if (record === null || !isRecord(record, 0, pos, size)) {
        if (record !== null) this.#sayDamaged(pos);
        choice.removed = true;
        continue;
      }
      if (!filter.isMatchedByCommitLog(recordProperties(record))) continue;
      choice.positions.push(pos);
      choice.sizes.push(size);
      choice.bytes += size;
      chosen.push(record);
    }
    const records = new Uint8Array(choice.bytes);
    let to = 0;
    for (const record of chosen) {
      records.set(record, to);
      to += record.length;
    }
    return this.#answer(choice, records, chosen.length, bounds);
  }

  #sayDamaged(physicOffset: number): void {
    this.#parts.logger.error("A record that was pulled is damaged, consumers do not get it. Run verify on the store", {
      physicOffset,
    });
  }
}

/** Whether a record of `size` bytes begins at `at` and says that it stands at `pos`. Its CRC is its consumer's matter. */
function isRecord(bytes: Uint8Array, at: number, pos: number, size: number): boolean {
  if (at + size > bytes.length || size < RecordField.PHYSICAL_OFFSET + 8) return false;
  const magic = readInt32(bytes, at + RecordField.MAGIC);
  return readInt32(bytes, at + RecordField.TOTAL_SIZE) === size &&
    (magic === MESSAGE_MAGIC_CODE || magic === MESSAGE_MAGIC_CODE_V2) &&
    readInt64(bytes, at + RecordField.PHYSICAL_OFFSET) === pos;
}
