// The commit log: every message, in the order it was taken, in files of one size. Owns appending (own messages and a
// master's bytes), reading, what is flushed, and cutting. Queue offsets come from the store's table; roles, disk limits
// and dispatch are the MessageStore's. All offsets are bytes in the log's address space.

import { writeInt32 } from "../base/bytes.ts";
import { makeDurableDirectory } from "../base/durable_directory.ts";
import { assert, errorMessage, IoError } from "../base/errors.ts";
import { type Logger, SILENT_LOGGER } from "../base/logger.ts";
import type { ReplicaAppendResult } from "../ha/replica_log.ts";
import type { Clock } from "../runtime/runtime.ts";
import { CleanEnd, type CleanEndNote } from "./clean_end.ts";
import { FlushDiskType, FlushService, type FlushServiceOptions, type FlushTarget } from "./flush_service.ts";
import type { HandlePool } from "./handle_pool.ts";
import { findLastRecord, scanLog } from "./log_scan.ts";
import { asidePath, copyOfFile, copyRange, endOfData } from "./log_aside.ts";
import { type MappedFile, offsetToFileName } from "./mapped_file.ts";
import { MappedFileQueue } from "./mapped_file_queue.ts";
import {
  BLANK_MAGIC_CODE,
  createMessageId,
  END_FILE_MIN_BLANK_LENGTH,
  RecordField,
  storeTimestampAt,
} from "./message_codec.ts";
import {
  isRefusal,
  type MessageEncoderOptions,
  type MessageRefusal,
  prepareBatch,
  type PreparedMessage,
  prepareMessage,
  RECORD_OVERHEAD_MAX,
  writeRecord,
} from "./message_encoder.ts";
import { isConsumable } from "./message_sys_flag.ts";
import { recordSizeMax, RecordValidator } from "./record_validator.ts";
import { ReplicaIntake, type ReplicaSink } from "./replica_intake.ts";
import type { StoreCheckpoint } from "./store_checkpoint.ts";
import { type AppendMessageResult, type BatchToPut, type MessageToPut, PutMessageStatus } from "./types.ts";

/** Apache's keys that the commit log obeys. `maxMessageSize` may change while it runs. */
export interface CommitLogOptions extends MessageEncoderOptions, FlushServiceOptions {
  readonly storePathRootDir: string;
  /** One directory or several with commas; empty for `commitlog` in the root. */
  readonly storePathCommitLog: string;
  readonly mappedFileSizeCommitLog: number;
  /** Whether recovery computes CRCs. What comes from a master is always checked. */
  readonly checkCRCOnRecover: boolean;
  readonly forceVerifyPropCRC: boolean;
}

/** The world of a commit log. */
export interface CommitLogParts {
  readonly pool: HandlePool;
  readonly clock: Clock;
  readonly checkpoint: StoreCheckpoint;
  /** Called when a flush or a cut failed: the process must end, what is on the disk is unknown. */
  readonly onFatal: (error: unknown) => void;
  readonly logger?: Logger;
}

/** Who knows the next index of each queue. Mirrors Apache's `QueueOffsetOperator`. */
export interface QueueOffsetAssigner {
  /** Index the queue's next message gets. */
  getQueueOffset(topic: string, queueId: number): number;
  /** `count` messages of the queue are in the log; negative: they could not be written after all. */
  increaseQueueOffset(topic: string, queueId: number, count: number): void;
}

/** Bytes at the end of the log that the page cache still holds: read without leaving the event loop. */
const HOT_READ_SIZE = 64 * 1024 * 1024;
/** So much and no more is read on the event loop at once where the page cache happens to hold it. */
const CACHED_READ_SIZE = 512 * 1024;
/** After so many of them one goes off the event loop in any case: a loop over many must let others have their turn. */
const CACHED_READS_MAX = 64;

/** Most bytes of one write of several messages or batches. */
const GROUP_SIZE_MAX = 256 * 1024;

/** A write of a master's bytes that is at least so large is one of many: the slave catches up. */
const BULK_WRITE_SIZE = 128 * 1024;

/** A record's bytes up to and with its store timestamp, at most. */
const RECORD_FRONT_SIZE = 96;

/** A message, or a batch of one queue, on its way: all of it goes into one file. */
interface PreparedPut {
  /** Of its result. */
  readonly index: number;
  readonly messages: readonly PreparedMessage[];
  readonly size: number;
}

/** Mirrors Apache's `CommitLog`; implements the log's part of `ReplicaLog`. */
export class CommitLog implements FlushTarget, ReplicaSink {
  readonly mappedFileQueue: MappedFileQueue;
  readonly flushService: FlushService;
  readonly #options: CommitLogOptions;
  readonly #pool: HandlePool;
  readonly #clock: Clock;
  readonly #checkpoint: StoreCheckpoint;
  readonly #onFatal: (error: unknown) => void;
  readonly #logger: Logger;
  readonly #intake: ReplicaIntake;
  readonly #listeners = new Set<() => void>();
  #lastRecordOffset = -1;
  #lastStoreTimestamp = 0;
  /** Where a replica's log begins while it has no file yet. */
  #emptyStart = 0;
  /** Bytes below were on the disk when the log was opened: maybe not in the page cache. */
  #writtenFrom = 0;
  /** Reads in a row that the page cache answered. */
  #cachedReads = 0;
  #cuts = 0;
  /** Where a write failed, whole or in part, and what it left could not be cleared yet; null: zeros behind the end. */
  #uncleared: { readonly file: MappedFile; readonly position: number; readonly size: number } | null = null;
  #scratch: Uint8Array<ArrayBuffer> = new Uint8Array(0);

  constructor(options: CommitLogOptions, parts: CommitLogParts) {
    this.#options = options;
    this.#pool = parts.pool;
    this.#clock = parts.clock;
    this.#checkpoint = parts.checkpoint;
    this.#logger = parts.logger ?? SILENT_LOGGER;
    this.mappedFileQueue = new MappedFileQueue({
      pool: parts.pool,
      directories: commitLogDirectories(options),
      mappedFileSize: options.mappedFileSizeCommitLog,
      sizeSetting: "mappedFileSizeCommitLog",
      logger: this.#logger,
    });
    this.#onFatal = parts.onFatal;
    this.flushService = new FlushService(this, options, parts.clock, parts.onFatal);
    this.#intake = new ReplicaIntake(this.#intakeValidator(), this);
  }

  #intakeValidator(): RecordValidator {
    return new RecordValidator({
      mappedFileSize: this.mappedFileSize,
      recordSizeMax: recordSizeMax(this.#options.maxMessageSize),
      checkCRC: true,
      checkPropCRC: false,
      forceVerifyPropCRC: this.#options.forceVerifyPropCRC,
    });
  }

  /** For bytes that this log holds already: any record that fits a file. */
  ownValidator(checkCRC: boolean): RecordValidator {
    return new RecordValidator({
      mappedFileSize: this.mappedFileSize,
      recordSizeMax: this.mappedFileSize,
      checkCRC,
      checkPropCRC: false,
      forceVerifyPropCRC: checkCRC && this.#options.forceVerifyPropCRC,
    });
  }

  get mappedFileSize(): number {
    return this.mappedFileQueue.mappedFileSize;
  }

  /** First byte held; 0 for an empty log without files. */
  get minOffset(): number {
    return this.mappedFileQueue.minOffset;
  }

  /** End of the last whole, written record or filler. */
  get maxOffset(): number {
    return this.mappedFileQueue.maxOffset;
  }

  get flushedOffset(): number {
    return this.mappedFileQueue.flushedWhere;
  }

  /** How far dispatch and readers may go: to the end, or with `SYNC_FLUSH` to what is on the disk. */
  get confirmOffset(): number {
    return this.#options.flushDiskType === FlushDiskType.SYNC_FLUSH ? this.flushedOffset : this.maxOffset;
  }

  /** Start of the last whole record that is not a filler; -1 when the log holds none. */
  get lastRecordOffset(): number {
    return this.#lastRecordOffset >= this.minOffset ? this.#lastRecordOffset : -1;
  }

  /** Store timestamp of the record at {@link lastRecordOffset}, Unix ms; 0 for an empty log. */
  get lastStoreTimestamp(): number {
    return this.#lastStoreTimestamp;
  }

  /** Calls back, synchronously, after each growth of `maxOffset` or `flushedOffset`. Returns the unsubscriber. */
  onGrow(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  #appended(): void {
    this.flushService.onAppend();
    this.#notify();
  }

  #notify(): void {
    for (const listener of this.#listeners) listener();
  }

  // --- own messages ---

  /** Appends one message. Synchronous; the result tells where it went or why not. Mirrors `asyncPutMessage`. */
  appendMessage(message: MessageToPut, offsets: QueueOffsetAssigner): AppendMessageResult {
    return this.appendMessages([message], offsets)[0]!;
  }

  /** Appends a client's batch as consecutive records of one file, all or none. Mirrors `asyncPutMessages`. */
  appendBatch(batch: BatchToPut, offsets: QueueOffsetAssigner): AppendMessageResult {
    return this.appendMessages([batch], offsets)[0]!;
  }

  /**
   * Appends messages and batches as {@link appendMessage} and {@link appendBatch} would one after another, but with one
   * write for all that go to one file: when that fails, each of them is refused. The results are in their order.
   */
  appendMessages(given: readonly (MessageToPut | BatchToPut)[], offsets: QueueOffsetAssigner): AppendMessageResult[] {
    const results: AppendMessageResult[] = [];
    let puts: PreparedPut[] = [];
    let gathered = 0;
    for (let index = 0; index < given.length; index++) {
      const messages = this.#prepare(given[index]!);
      if (isRefusal(messages)) {
        results[index] = messages;
        continue;
      }
      let size = 0;
      for (const one of messages) size += one.size;
      if (gathered > 0 && gathered + size > GROUP_SIZE_MAX) {
        // Now, as a batch of tiny messages takes many times its size until it is written.
        this.#append(puts, offsets, results);
        puts = [];
        gathered = 0;
      }
      puts.push({ index, messages, size });
      gathered += size;
    }
    this.#append(puts, offsets, results);
    return results;
  }

  #prepare(given: MessageToPut | BatchToPut): readonly PreparedMessage[] | MessageRefusal {
    if ("batchBody" in given) return prepareBatch(given.message, given.batchBody, this.#options);
    const prepared = prepareMessage(given, this.#options);
    return isRefusal(prepared) ? prepared : [prepared];
  }

  #append(puts: readonly PreparedPut[], offsets: QueueOffsetAssigner, results: AppendMessageResult[]): void {
    // The bounds of a message and of a batch's records may be larger than a file.
    const sizeMax = this.mappedFileSize - END_FILE_MIN_BLANK_LENGTH;
    this.discardPartial();
    for (let from = 0; from < puts.length;) {
      const first = puts[from]!;
      if (first.size > sizeMax) {
        const remark = `Records have ${first.size} bytes, wanted at most ${sizeMax}`;
        results[first.index] = { status: PutMessageStatus.MESSAGE_ILLEGAL, remark };
        from++;
        continue;
      }
      const file = this.#fileWithRoom(first.size);
      if (!("fileSize" in file)) {
        results[first.index] = file;
        from++;
        continue;
      }
      let size = first.size;
      let to = from + 1;
      const room = file.fileSize - file.wrotePosition - END_FILE_MIN_BLANK_LENGTH;
      while (to < puts.length && size + puts[to]!.size <= room) size += puts[to++]!.size;
      this.#writePuts(file, puts, from, to, size, offsets, results);
      from = to;
    }
  }

  /** {@link #nextFile}, or what to say when it can't be made. */
  #fileWithRoom(size: number): MappedFile | AppendMessageResult {
    try {
      return this.#nextFile(size);
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      const remark = `Making a commit log file failed: ${error.message}`;
      this.#logger.error(remark);
      return { status: PutMessageStatus.CREATE_MAPPED_FILE_FAILED, remark };
    }
  }

  /** The file the next `size` bytes go to; ends the current one with a filler when they and a filler do not fit. */
  #nextFile(size: number): MappedFile {
    const file = this.mappedFileQueue.getLastMappedFile();
    const rest = file.fileSize - file.wrotePosition;
    if (size + END_FILE_MIN_BLANK_LENGTH <= rest) return file;
    const blank = new Uint8Array(END_FILE_MIN_BLANK_LENGTH);
    writeInt32(blank, RecordField.TOTAL_SIZE, rest);
    writeInt32(blank, RecordField.MAGIC, BLANK_MAGIC_CODE);
    this.#write(file, blank.length, () => file.writeAt(blank, file.wrotePosition));
    file.wrotePosition = file.fileSize;
    this.#appended();
    return this.mappedFileQueue.getLastMappedFile();
  }

  /** Writes `puts[from, to)`, `size` bytes that the file has room for, with one write. */
  #writePuts(
    file: MappedFile,
    puts: readonly PreparedPut[],
    from: number,
    to: number,
    size: number,
    offsets: QueueOffsetAssigner,
    results: AppendMessageResult[],
  ): void {
    const storeTimestamp = this.#clock.now();
    const start = file.fileFromOffset + file.wrotePosition;
    const bytes = this.#scratchOf(size);
    let at = 0;
    let lastAt = 0;
    for (let i = from; i < to; i++) {
      const { index, messages, size: wroteBytes } = puts[i]!;
      const { message, sysFlag } = messages[0]!;
      const consumable = isConsumable(sysFlag);
      const logicsOffset = consumable ? offsets.getQueueOffset(message.topic, message.queueId) : 0;
      const wroteOffset = start + at;
      const msgIds: string[] = [];
      for (let j = 0; j < messages.length; j++) {
        const prepared = messages[j]!;
        const place = { queueOffset: logicsOffset + j, physicalOffset: start + at, storeTimestamp };
        writeRecord(prepared, bytes, at, place);
        msgIds.push(createMessageId(message.storeHost, place.physicalOffset));
        lastAt = at;
        at += prepared.size;
      }
      const msgNum = messages.length;
      if (consumable) offsets.increaseQueueOffset(message.topic, message.queueId, msgNum);
      const status = PutMessageStatus.PUT_OK;
      results[index] = { status, wroteOffset, wroteBytes, msgIds, storeTimestamp, logicsOffset, msgNum };
    }
    try {
      this.#checkpoint.beforeRecord(start, storeTimestamp, this.#lastStoreTimestamp);
      this.#write(file, size, () => file.append(bytes));
    } catch (error) {
      const failed = this.#appendFailed(error);
      for (let i = from; i < to; i++) {
        const { index, messages } = puts[i]!;
        const { message, sysFlag } = messages[0]!;
        // Nobody has seen these offsets: they are given again.
        if (isConsumable(sysFlag)) offsets.increaseQueueOffset(message.topic, message.queueId, -messages.length);
        results[index] = failed;
      }
      return;
    }
    this.#lastRecordOffset = start + lastAt;
    this.#lastStoreTimestamp = storeTimestamp;
    this.#appended();
  }

  /** The write position did not move, so the next append writes over whatever arrived on the disk. */
  #appendFailed(error: unknown): AppendMessageResult {
    if (!(error instanceof IoError)) throw error;
    const remark = `Writing to the commit log failed: ${error.message}`;
    this.#logger.error(remark);
    const status = error.kind === "noSpace" ? PutMessageStatus.SERVICE_NOT_AVAILABLE : PutMessageStatus.UNKNOWN_ERROR;
    return { status, remark };
  }

  /**
   * Writes `size` bytes at the file's write position. What a write that failed left is cleared at once, and before
   * anything else is written: a put that was refused, or the rest of its batch behind a shorter one, must not come to
   * life with the next crash.
   */
  #write(file: MappedFile, size: number, write: () => void): void {
    this.#clearFailedWrite();
    const position = file.wrotePosition;
    try {
      write();
    } catch (error) {
      this.#uncleared = { file, position, size };
      try {
        this.#clearFailedWrite();
      } catch (clearError) {
        this.#logger.warn(`Clearing what a failed write left is put off: ${errorMessage(clearError)}`);
      }
      throw error;
    }
  }

  #clearFailedWrite(): void {
    if (this.#uncleared === null) return;
    const { file, position, size } = this.#uncleared;
    file.zeroFrom(position, position + size);
    this.#uncleared = null;
  }

  #scratchOf(size: number): Uint8Array {
    // A large batch of small messages takes many times its size: not kept.
    if (size > this.#options.maxMessageSize + RECORD_OVERHEAD_MAX) return new Uint8Array(size);
    if (this.#scratch.length < size) this.#scratch = new Uint8Array(Math.max(size, 64 * 1024));
    return this.#scratch.subarray(0, size);
  }

  // --- a master's bytes ---

  /** See `ReplicaLog.replicaWriteOffset`. */
  get replicaWriteOffset(): number {
    return this.#replicaEnd + this.#intake.heldSize;
  }

  get #replicaEnd(): number {
    return this.mappedFileQueue.files.length === 0 ? this.#emptyStart : this.maxOffset;
  }

  /**
   * See `ReplicaLog.appendReplica`. An empty log starts at a file's first byte, else the bytes are rejected: a log with
   * a gap at its start would not survive the next recovery, Apache's or ours.
   */
  appendReplica(physicOffset: number, bytes: Uint8Array): ReplicaAppendResult {
    if (physicOffset !== this.replicaWriteOffset) {
      const isEmpty = this.maxOffset === this.minOffset && this.#intake.heldSize === 0;
      assert(isEmpty, `Replica bytes come at ${physicOffset}, wanted ${this.replicaWriteOffset}`);
      if (!Number.isSafeInteger(physicOffset) || physicOffset < 0 || physicOffset % this.mappedFileSize !== 0) {
        const detail = `an empty log starts at ${physicOffset}, wanted a multiple of ${this.mappedFileSize}`;
        return { type: "rejected", reason: "badPhysicalOffset", offset: physicOffset, detail };
      }
      this.mappedFileQueue.destroy();
      this.#uncleared = null;
      this.#emptyStart = physicOffset;
    }
    const before = this.maxOffset;
    try {
      return this.#intake.take(bytes, physicOffset);
    } finally {
      if (this.maxOffset > before) this.#appended();
    }
  }

  /** Whole records from {@link ReplicaIntake}. */
  writeRecords(bytes: Uint8Array, lastRecordOffset: number, storeTimestamp: number): void {
    const file = this.mappedFileQueue.getLastMappedFile(this.#emptyStart);
    if (lastRecordOffset >= 0) {
      this.#checkpoint.beforeRecord(lastRecordOffset, storeTimestamp, this.#lastStoreTimestamp);
    }
    if (bytes.length >= BULK_WRITE_SIZE) file.reserve(bytes.length);
    this.#write(file, bytes.length, () => file.append(bytes));
    if (lastRecordOffset >= 0) {
      this.#lastRecordOffset = lastRecordOffset;
      this.#lastStoreTimestamp = storeTimestamp;
    }
    if (file.isFull) this.#makeNextFile();
  }

  /**
   * Apache takes a filler for the log's end only if a file follows; without one its recovery would cut the filler and
   * write over it. When making it fails, the next append meets the same error and reports it.
   */
  #makeNextFile(): void {
    try {
      this.mappedFileQueue.getLastMappedFile();
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#logger.warn(`Making the next commit log file failed: ${error.message}`);
    }
  }

  /** See `ReplicaLog.discardPartial`. */
  discardPartial(): void {
    this.#intake.discard();
    if (this.mappedFileQueue.files.length === 0) this.#emptyStart = 0;
  }

  // --- reading ---

  /**
   * Copies bytes from `offset` into `target`, up to `maxOffset` or the end of the file that holds it; returns their
   * count, 0 when the offset is not held. A number at once near the end of the log, a promise where the disk may be
   * needed.
   */
  read(offset: number, target: Uint8Array): number | Promise<number> {
    const file = this.mappedFileQueue.findMappedFileByOffset(offset);
    if (file === null) return 0;
    const position = offset - file.fileFromOffset;
    const size = Math.min(target.length, file.wrotePosition - position);
    if (size <= 0) return 0;
    const part = target.subarray(0, size);
    if (this.isHot(offset)) return file.readHotAt(part, position);
    const mayCome = size <= CACHED_READ_SIZE && this.#cachedReads < CACHED_READS_MAX;
    if (mayCome && file.readCachedAt(part, position)) {
      this.#cachedReads++;
      return size;
    }
    this.#cachedReads = 0;
    return this.#readCold(file, part, position);
  }

  /** Fills `target` if the log holds all of that and no disk is needed for it; see `FileHandle.readCachedAt`. */
  readCached(offset: number, target: Uint8Array): boolean {
    const file = this.mappedFileQueue.findMappedFileByOffset(offset);
    if (file === null || target.length > CACHED_READ_SIZE) return false;
    const position = offset - file.fileFromOffset;
    return position + target.length <= file.wrotePosition && file.readCachedAt(target, position);
  }

  /** Whether {@link read} gives bytes from `offset` at once: they are surely in the page cache. */
  isHot(offset: number): boolean {
    return offset >= Math.max(this.#writtenFrom, this.maxOffset - HOT_READ_SIZE);
  }

  async #readCold(file: MappedFile, target: Uint8Array, position: number): Promise<number> {
    const cuts = this.#cuts;
    const count = await file.readAtAsync(target, position);
    return cuts === this.#cuts ? count : 0;
  }

  /** The whole record of `size` bytes at `offset`, in a buffer of its own; null when it is not held. Unchecked. */
  readRecord(offset: number, size: number): Uint8Array | null | Promise<Uint8Array | null> {
    const file = this.mappedFileQueue.findMappedFileByOffset(offset);
    // A size comes from a consume queue, which may be damaged: no memory for what is not there.
    if (file === null || size <= 0 || size > file.fileFromOffset + file.wrotePosition - offset) return null;
    const target = new Uint8Array(size);
    const count = this.read(offset, target);
    if (typeof count === "number") return count === size ? target : null;
    return count.then((done) => done === size ? target : null);
  }

  // --- the disk ---

  /** Makes everything written before the call durable. For {@link FlushService}; use that. */
  async flush(): Promise<void> {
    const storeTimestamp = this.#lastStoreTimestamp;
    const recordOffset = this.#lastRecordOffset;
    const before = this.flushedOffset;
    await this.mappedFileQueue.flush();
    const isTrusted = recordOffset >= this.#checkpoint.trustedFrom;
    if (storeTimestamp > 0 && isTrusted) this.#checkpoint.physicMsgTimestamp = storeTimestamp;
    if (this.flushedOffset > before) this.#notify();
  }

  /** Resolves with true once flushed up to `offset`, false after `timeoutMs` (null: never by time) or on failure. */
  waitStored(offset: number, timeoutMs: number | null): Promise<boolean> {
    return this.flushService.waitFlushed(offset, timeoutMs);
  }

  /** Finds the files. Throws {@link StoreError} for one of a wrong size. Recovery then finds the end of the log. */
  load(lastExitOk = true): void {
    for (const directory of this.mappedFileQueue.directories) makeDurableDirectory(this.#pool.fs, directory);
    this.mappedFileQueue.load(lastExitOk);
  }

  /** Stops flushing in the background, flushes all, and notes that nothing stands behind the log's end. */
  async shutdown(): Promise<void> {
    this.discardPartial();
    await this.flushService.stop();
    this.mappedFileQueue.flushBlocking();
    if (this.#lastStoreTimestamp > 0) this.#checkpoint.physicMsgTimestamp = this.#lastStoreTimestamp;
    if (this.#uncleared !== null) return;
    const note = { end: this.maxOffset, lastRecordOffset: this.lastRecordOffset };
    CleanEnd.write(this.#pool.fs, this.#options.storePathRootDir, note);
  }

  /** The note of our last clean stop, once; see {@link CleanEnd}. */
  takeCleanEnd(): CleanEndNote | null {
    return CleanEnd.take(this.#pool.fs, this.#options.storePathRootDir);
  }

  /**
   * Recovery's last step: the log ends at `end`, and its last record starts at `lastRecordOffset`. Later files go, and
   * what stands behind the end is zeroed and synced: stale records there would come back to life after the next crash.
   * From `dataEnd` on the file of the end is known to hold zeros; null: from the end on, and on the disk. Returns how
   * many bytes had to be cleared. Throws {@link IoError}.
   */
  setRecoveredEnd(end: number, lastRecordOffset: number, dataEnd: number | null = Infinity): number {
    const cleared = this.#cut(end, lastRecordOffset, dataEnd);
    this.mappedFileQueue.flushedWhere = this.maxOffset;
    this.#writtenFrom = this.maxOffset;
    this.#lastStoreTimestamp = this.#storeTimestampOf(lastRecordOffset);
    if (this.mappedFileQueue.lastFile?.isFull === true) this.#makeNextFile();
    return cleared;
  }

  #storeTimestampOf(recordOffset: number): number {
    const file = recordOffset < 0 ? null : this.mappedFileQueue.findMappedFileByOffset(recordOffset);
    if (file === null) return 0;
    const front = new Uint8Array(RECORD_FRONT_SIZE);
    file.readAt(front, recordOffset - file.fileFromOffset);
    return storeTimestampAt(front, 0);
  }

  #cut(offset: number, lastRecordOffset: number, dataEnd: number | null): number {
    this.#cuts++;
    this.discardPartial();
    this.mappedFileQueue.truncateDirtyFiles(offset);
    this.#lastRecordOffset = lastRecordOffset;
    this.#uncleared = null;
    const file = this.mappedFileQueue.lastFile;
    let cleared = 0;
    if (file !== null && dataEnd !== null) {
      cleared = file.zeroFrom(file.wrotePosition, Math.min(file.fileSize, dataEnd - file.fileFromOffset));
      file.syncBlocking();
    }
    this.mappedFileQueue.flushBlocking();
    return cleared;
  }

  // --- setting aside ---

  /**
   * Before recovery cuts at `end` though whole records stand behind it: keeps all that stands there in a directory beside
   * the log, each file named by the offset of its first byte. The rest of the file is copied, later files are moved.
   * Blocks. Throws {@link IoError}; nothing is lost then.
   */
  keepBehind(end: number): { readonly path: string; readonly bytes: number } {
    const queue = this.mappedFileQueue;
    const { fs } = this.#pool;
    const last = queue.files.findLast((file) => endOfData(file, Math.max(0, end - file.fileFromOffset)) > 0)!;
    const keptEnd = last.fileFromOffset + endOfData(last, Math.max(0, end - last.fileFromOffset));
    const path = asidePath(fs, queue.directories[0]!, end, keptEnd, this.#clock.now());
    makeDurableDirectory(fs, path);
    const file = queue.findMappedFileByOffset(end)!;
    const from = end - file.fileFromOffset;
    copyOfFile(fs, file, from, endOfData(file, from), `${path}/${offsetToFileName(end)}`);
    queue.truncateDirtyFiles(keptEnd);
    queue.moveTo(path, end);
    return { path, bytes: keptEnd - end };
  }

  /** See `ReplicaLog.setTailAside`. The store cuts consume queues and index afterwards. */
  async setTailAside(fromOffset: number, mayCut: () => boolean = () => true): Promise<string> {
    const validator = this.ownValidator(false);
    const from = Math.max(fromOffset - (fromOffset % this.mappedFileSize), this.minOffset);
    const scan = scanLog(this.mappedFileQueue, from, fromOffset, validator, () => {});
    assert(
      fromOffset <= this.maxOffset,
      `Cut at ${fromOffset} is not between two records, they end at ${this.maxOffset}`,
    );
    if (scan.end !== fromOffset) {
      const where = `Cut at ${fromOffset} is not between two records`;
      throw new IoError("other", `${where}: what the log holds at ${scan.end} is damaged, or does not end there`);
    }
    const lastRecordOffset = findLastRecord(this.mappedFileQueue, fromOffset, validator);
    const end = this.maxOffset;
    const path = asidePath(this.#pool.fs, this.mappedFileQueue.directories[0]!, fromOffset, end, this.#clock.now());
    await copyRange(this.#pool.fs, this, fromOffset, end, path);
    assert(this.maxOffset === end, "Log grew while its tail was set aside");
    if (!mayCut()) {
      this.#pool.fs.remove(path);
      throw calledOff();
    }
    this.#wholly(() => void this.#cut(fromOffset, lastRecordOffset, Infinity));
    return path;
  }

  /** See `ReplicaLog.setLogAside`. The store empties consume queues and index afterwards. */
  async setLogAside(mayCut: () => boolean = () => true): Promise<string> {
    if (!mayCut()) throw calledOff();
    const { minOffset, maxOffset } = this;
    const directory = this.mappedFileQueue.directories[0]!;
    const path = asidePath(this.#pool.fs, directory, minOffset, maxOffset, this.#clock.now());
    this.#cuts++;
    this.discardPartial();
    this.#wholly(() => this.mappedFileQueue.moveTo(path));
    this.#lastRecordOffset = -1;
    return path;
  }

  /** A cut that fails halfway leaves a log that is neither the old nor the new one: only recovery can tell what it is. */
  #wholly(change: () => void): void {
    try {
      change();
    } catch (error) {
      this.#onFatal(error);
      throw error;
    }
  }
}

function calledOff(): IoError {
  return new IoError("closed", "The cut was called off");
}

/** The directories that hold commit-log files. */
function commitLogDirectories(options: CommitLogOptions): string[] {
  const paths = options.storePathCommitLog.split(",").map((path) => path.trim()).filter((path) => path !== "");
  return paths.length > 0 ? paths : [`${options.storePathRootDir}/commitlog`];
}
