// What a pull takes out of a queue: which of its messages go into one answer, and their records as they stand in the log,
// back to back in one buffer. Entries are looked at first, then the chosen records are read together; only a filter on
// properties makes it look into records before. Owns no state; MessageStore offers it to the outside.

import { giveBuffer } from "../base/buffer_pool.ts";
import { readInt32, readInt64 } from "../base/bytes.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import type { Logger } from "../base/logger.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { CommitLog } from "./commit_log.ts";
import { type ConsumeQueue, CQ_STORE_UNIT_SIZE, isPreBlank } from "./consume_queue.ts";
import type { ConsumeQueueStore } from "./consume_queue_store.ts";
import { MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordField } from "./message_codec.ts";
import type { MessageFilter } from "./message_filter.ts";
import { GetMessageStatus } from "./message_reader.ts";
import { type ReadRecords, RecordReader, RecordWindow } from "./record_reader.ts";

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
  /** To be called, once, by whoever is done with {@link records}: another pull gets their memory. Unset: never. */
  readonly release?: () => void;
  readonly messageCount: number;
  /** Where to go on. */
  readonly nextBeginOffset: number;
  /** Index of the queue's first and after its last message. */
  readonly minOffset: number;
  readonly maxOffset: number;
  /** Whether what was looked at lies so far back that a slave should serve the next pull. */
  readonly suggestPullingFromSlave: boolean;
  /** Bytes of the log between what was looked at last and its end; null where nothing was. */
  readonly fallBehindBytes: number | null;
}

/** What it reads from. */
export interface PullReaderParts {
  readonly log: CommitLog;
  readonly consumeQueues: ConsumeQueueStore;
  readonly options: PullOptions;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly isSlave: () => boolean;
  /** So far from the log's end, bytes, records count as in memory. */
  readonly memoryBytes: () => number;
}

/** Bytes of one answer: a frame holds no more than 16 MiB, header included. The first message goes out in any case. */
const ANSWER_BYTES_MAX = 15 * 1024 * 1024;
/** Entries read at once: clients ask for 32 messages, and with a filter some are passed over. */
const UNITS_FIRST = 32;
const UNITS_FILTERED = 128;
/** A larger record fits no frame, and no file of a log that clients' messages fill: its entry is damaged. */
const RECORD_SIZE_MAX = 64 * 1024 * 1024;
/** Entries that one pull looks at, whatever it asks for. */
const UNITS_SCANNED_MAX = 4096;
const NO_RECORDS = new Uint8Array(0);

/** One pull while entries are chosen for it. */
interface Choice {
  readonly queue: ConsumeQueue;
  readonly maxMsgNums: number;
  readonly filter: MessageFilter | null;
  readonly minOffset: number;
  readonly maxOffset: number;
  readonly logEnd: number;
  /** Records from here on count as in memory. */
  readonly memoryFrom: number;
  readonly positions: number[];
  readonly sizes: number[];
  bytes: number;
  nextBeginOffset: number;
  /** Entries from here on are not looked at. */
  readonly scanEnd: number;
  /** Of the last entry looked at. */
  lastPos: number;
  /** While nothing is chosen. */
  status: GetMessageStatus;
}

/** Mirrors `DefaultMessageStore.getMessage`. */
export class PullReader {
  readonly #parts: PullReaderParts;
  readonly #records: RecordReader;
  readonly #units = new Uint8Array(UNITS_FILTERED * CQ_STORE_UNIT_SIZE);
  readonly #lines = new LineLimiter();

  constructor(parts: PullReaderParts) {
    this.#parts = parts;
    this.#records = new RecordReader(parts.log);
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
    const bounds = { minOffset, maxOffset };
    if (queue === null || maxOffset === 0) return this.#nothing("NO_MESSAGE_IN_QUEUE", offset, 0, bounds);
    if (offset < minOffset) return this.#nothing("OFFSET_TOO_SMALL", offset, minOffset, bounds);
    if (offset === maxOffset) return this.#nothing("OFFSET_OVERFLOW_ONE", offset, offset, bounds);
    if (offset > maxOffset) return this.#nothing("OFFSET_OVERFLOW_BADLY", offset, maxOffset, bounds);
    const choice = this.#newChoice(queue, offset, maxMsgNums, filter);
    if (filter !== null && filter.needsProperties) return this.#pullByProperties(choice);
    this.#choose(choice);
    if (choice.nextBeginOffset === offset) {
      return this.#nothing("OFFSET_FOUND_NULL", offset, queue.rollNextFile(offset), bounds);
    }
    if (choice.bytes === 0) return this.#answer(choice, NO_RECORDS, 0);
    const read = this.#records.read(choice, choice.bytes);
    return read instanceof Promise ? read.then((done) => this.#checked(choice, done)) : this.#checked(choice, read);
  }

  /** A slave's queues may be shorter than its master's: what looks wrong here may be right there. */
  #nothing(
    status: GetMessageStatus,
    offset: number,
    correctOffset: number,
    { minOffset, maxOffset }: { minOffset: number; maxOffset: number },
  ): PullResult {
    const { isSlave, options } = this.#parts;
    return {
      status,
      records: NO_RECORDS,
      messageCount: 0,
      nextBeginOffset: isSlave() && !options.offsetCheckInSlave ? offset : correctOffset,
      minOffset,
      maxOffset,
      suggestPullingFromSlave: false,
      fallBehindBytes: status === GetMessageStatus.OFFSET_OVERFLOW_ONE ? 0 : null,
    };
  }

  /** A pull ends at the end of a queue's file, too, as Apache's does by default. */
  #newChoice(queue: ConsumeQueue, offset: number, maxMsgNums: number, filter: MessageFilter | null): Choice {
    const { log, options, memoryBytes } = this.#parts;
    const scanBytes = Math.max(options.maxFilterMessageSize, maxMsgNums * CQ_STORE_UNIT_SIZE);
    const scanned = Math.min(Math.ceil(scanBytes / CQ_STORE_UNIT_SIZE), UNITS_SCANNED_MAX);
    return {
      queue,
      maxMsgNums,
      filter,
      minOffset: queue.minOffsetInQueue,
      maxOffset: queue.maxOffsetInQueue,
      logEnd: log.maxOffset,
      memoryFrom: log.maxOffset - memoryBytes(),
      positions: [],
      sizes: [],
      bytes: 0,
      nextBeginOffset: offset,
      scanEnd: Math.min(offset + scanned, queue.maxOffsetInQueue, queue.rollNextFile(offset)),
      lastPos: 0,
      status: GetMessageStatus.NO_MATCHED_MESSAGE,
    };
  }

  /** The next entries to look at, in `buffer`; empty at the end of the scan. */
  #nextUnits(choice: Choice, buffer: Uint8Array): Uint8Array {
    const count = Math.min(
      choice.filter === null ? UNITS_FIRST : UNITS_FILTERED,
      choice.scanEnd - choice.nextBeginOffset,
    );
    return choice.queue.readUnits(choice.nextBeginOffset, buffer.subarray(0, count * CQ_STORE_UNIT_SIZE));
  }

  /** Goes by the entries alone. */
  #choose(choice: Choice): void {
    const { log } = this.#parts;
    const { filter, positions, sizes, maxMsgNums } = choice;
    const { minOffset, maxOffset } = log;
    while (choice.nextBeginOffset < choice.scanEnd) {
      const units = this.#nextUnits(choice, this.#units);
      if (units.length === 0) return;
      for (let at = 0; at < units.length; at += CQ_STORE_UNIT_SIZE) {
        const pos = readInt64(units, at);
        const size = readInt32(units, at + 8);
        if (this.#isFull(choice, pos, size)) return;
        choice.lastPos = pos;
        choice.nextBeginOffset++;
        if (filter !== null && !filter.isMatchedByConsumeQueue(readInt64(units, at + 12))) {
          choice.status = GetMessageStatus.NO_MATCHED_MESSAGE;
        } else if (!mayBeRecord(pos, size) || pos < minOffset || pos + size > maxOffset) {
          choice.status = GetMessageStatus.MESSAGE_WAS_REMOVING;
        } else {
          positions.push(pos);
          sizes.push(size);
          choice.bytes += size;
          if (positions.length >= maxMsgNums) return;
        }
      }
    }
  }

  /** Mirrors `isTheBatchFull`. */
  #isFull(choice: Choice, pos: number, size: number): boolean {
    const count = choice.positions.length;
    if (count === 0) return false;
    const bytes = choice.bytes + size;
    if (count >= choice.maxMsgNums || bytes > ANSWER_BYTES_MAX) return true;
    const { options } = this.#parts;
    return pos >= choice.memoryFrom
      ? bytes > options.maxTransferBytesOnMessageInMemory || count >= options.maxTransferCountOnMessageInMemory
      : bytes > options.maxTransferBytesOnMessageInDisk || count >= options.maxTransferCountOnMessageInDisk;
  }

  /** Records that are not what their entries say are left out: the log may have been cut, or have rotted. */
  #checked(choice: Choice, { bytes, isWhole }: ReadRecords): PullResult {
    const { positions, sizes } = choice;
    let kept = 0;
    let to = 0;
    for (let index = 0, at = 0; index < positions.length; index++) {
      const size = sizes[index]!;
      const end = at + size;
      if (isRecord(bytes, at, positions[index]!, size)) {
        if (to !== at) bytes.copyWithin(to, at, end);
        to += size;
        kept++;
      } else if (isWhole) this.#sayDamaged(positions[index]!);
      at = end;
    }
    if (kept === 0) choice.status = GetMessageStatus.MESSAGE_WAS_REMOVING;
    const records = to === bytes.length ? bytes : bytes.subarray(0, to);
    return { ...this.#answer(choice, records, kept), release: () => giveBuffer(bytes) };
  }

  #answer(choice: Choice, records: Uint8Array, messageCount: number): PullResult {
    const { minOffset, maxOffset, nextBeginOffset, lastPos, logEnd, memoryFrom } = choice;
    return {
      status: messageCount > 0 ? GetMessageStatus.FOUND : choice.status,
      records,
      messageCount,
      nextBeginOffset,
      minOffset,
      maxOffset,
      suggestPullingFromSlave: lastPos < memoryFrom,
      fallBehindBytes: logEnd - lastPos,
    };
  }

  /** Looks into one record after another. */
  async #pullByProperties(choice: Choice): Promise<PullResult> {
    const offset = choice.nextBeginOffset;
    const window = new RecordWindow(this.#parts.log);
    const units = new Uint8Array(UNITS_FILTERED * CQ_STORE_UNIT_SIZE);
    while (choice.nextBeginOffset < choice.scanEnd && choice.positions.length < choice.maxMsgNums) {
      const read = this.#nextUnits(choice, units);
      if (read.length === 0 || !(await this.#chooseByProperties(choice, read, window))) break;
    }
    if (choice.nextBeginOffset === offset) {
      return this.#nothing("OFFSET_FOUND_NULL", offset, choice.queue.rollNextFile(offset), choice);
    }
    if (choice.bytes === 0) return this.#answer(choice, NO_RECORDS, 0);
    return this.#checked(choice, await this.#records.read(choice, choice.bytes));
  }

  /** false once the answer is full. */
  async #chooseByProperties(choice: Choice, units: Uint8Array, window: RecordWindow): Promise<boolean> {
    const filter = choice.filter!;
    for (let at = 0; at < units.length; at += CQ_STORE_UNIT_SIZE) {
      const pos = readInt64(units, at);
      const size = readInt32(units, at + 8);
      if (this.#isFull(choice, pos, size)) return false;
      choice.lastPos = pos;
      choice.nextBeginOffset++;
      if (!filter.isMatchedByConsumeQueue(readInt64(units, at + 12))) {
        choice.status = GetMessageStatus.NO_MATCHED_MESSAGE;
        continue;
      }
      const looked = mayBeRecord(pos, size) ? window.look(pos, size) : null;
      const record = looked instanceof Promise ? await looked : looked;
      if (record === null || !isRecord(record.front, 0, pos, size)) {
        if (record !== null) this.#sayDamaged(pos);
        choice.status = GetMessageStatus.MESSAGE_WAS_REMOVING;
      } else if (!filter.isMatchedByCommitLog(record.properties)) {
        choice.status = GetMessageStatus.NO_MATCHED_MESSAGE;
      } else {
        choice.positions.push(pos);
        choice.sizes.push(size);
        choice.bytes += size;
      }
    }
    return true;
  }

  #sayDamaged(physicOffset: number): void {
    const { clock, logger } = this.#parts;
    const repeated = this.#lines.admit(String(physicOffset), clock.monotonic());
    if (repeated === null) return;
    logger.error("A record that was pulled is damaged, consumers do not get it. Run verify on the store", {
      physicOffset,
      repeated,
    });
  }
}

function mayBeRecord(pos: number, size: number): boolean {
  return size > 0 && size <= RECORD_SIZE_MAX && !isPreBlank(pos, size);
}

/** Whether a record of `size` bytes begins at `at` and says that it stands at `pos`. Its CRC is its consumer's matter. */
function isRecord(bytes: Uint8Array, at: number, pos: number, size: number): boolean {
  if (size < RecordField.PHYSICAL_OFFSET + 8) return false;
  const magic = readInt32(bytes, at + RecordField.MAGIC);
  return readInt32(bytes, at + RecordField.TOTAL_SIZE) === size &&
    (magic === MESSAGE_MAGIC_CODE || magic === MESSAGE_MAGIC_CODE_V2) &&
    readInt64(bytes, at + RecordField.PHYSICAL_OFFSET) === pos;
}
