// Is a store what it should be? Walks every record of every file, every unit of every consume queue and every entry of the
// index, and names the first thing that is wrong; or compares two stores byte for byte. Read only, for stores at rest.
// The command line's `verify` and the interoperability tests drive it.

import { readInt32 } from "../base/bytes.ts";
import { StoreError } from "../base/errors.ts";
import type { FileSystem } from "../runtime/runtime.ts";
import { isZero } from "./mapped_file.ts";
import { isPreBlank } from "./consume_queue.ts";
import { canHaveUnit } from "./consume_queue_store.ts";
import { DispatchReader } from "./dispatch_reader.ts";
import {
  BLANK_MAGIC_CODE,
  END_FILE_MIN_BLANK_LENGTH,
  MESSAGE_MAGIC_CODE,
  MESSAGE_MAGIC_CODE_V2,
} from "./message_codec.ts";
import { DelayLevels } from "./message_properties.ts";
import { isConsumable, MessageSysFlag } from "./message_sys_flag.ts";
import { recordSizeMax, RecordValidator, RecordVerdict } from "./record_validator.ts";
import { StoreCheckpoint } from "./store_checkpoint.ts";
import { AbortFile } from "./store_lock.ts";
import { IndexCheck } from "./store_verify_index.ts";
import { claimsToBeRecord, isDirectory, StoredLog, StoredQueue } from "./stored_log.ts";

/** What to look at, and how far it is. */
export interface VerifyOptions {
  /** Directories of the commit log; `commitlog` in the store without it. */
  readonly storePathCommitLog?: string;
  /** Size of a commit-log file; that of the first one without it. */
  readonly mappedFileSize?: number;
  /** Bounds a record; Apache's default without it. */
  readonly maxMessageSize?: number;
  /** Delay levels the store was written with; Apache's default without it. */
  readonly messageDelayLevel?: string;
  /** Shape of the index files; Apache's defaults without it. Files of another size are not checked, a note says so. */
  readonly maxHashSlotNum?: number;
  readonly maxIndexNum?: number;
  readonly onProgress?: (checkedBytes: number, totalBytes: number) => void;
}

/** The first thing that is wrong. */
export interface VerifyFinding {
  /** Offset in the commit log: of the record that is wrong, or that a consume queue or the index is wrong about. */
  readonly offset: number;
  /** The file that is wrong: of the commit log, of a consume queue, of the index. */
  readonly file: string;
  /** The record's field, `consumeQueue`, `index`, or `file`. */
  readonly field: string;
  /** What is wrong, the value seen and the value wanted: a sentence that needs no {@link field}. */
  readonly reason: string;
}

/** Outcome of {@link verifyStore}. Counts go up to the finding when there is one. */
export interface VerifyResult {
  readonly ok: boolean;
  readonly finding: VerifyFinding | null;
  /** What is odd but not wrong, such as stale bytes behind the log's end, which Apache leaves there. */
  readonly notes: readonly string[];
  readonly minOffset: number;
  /** End of the last whole record. */
  readonly maxOffset: number;
  readonly mappedFileSize: number;
  readonly records: number;
  readonly blanks: number;
  /** Consume queues, and units that were checked against their records. */
  readonly queues: number;
  readonly units: number;
  /** Index files, and entries that were checked against their records. */
  readonly indexFiles: number;
  readonly indexEntries: number;
  /** Records at the end that no consume queue knows yet: the next start dispatches them. */
  readonly notDispatched: number;
}

const WINDOW_SIZE = 4 * 1024 * 1024;
/** Apache's defaults. */
const MAX_HASH_SLOT_NUM = 5_000_000;
const MAX_INDEX_NUM = 20_000_000;
const MAGICS = [MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, BLANK_MAGIC_CODE];

/**
 * Checks every record (size, magic, physical offset, body CRC, `__CRC32#`), that fillers end where files end, that queue
 * offsets have no gaps, that consume queues and records match one to one (offset, size, tagsCode), and that the index
 * holds the keys of all records in its range and no others. What a record's format does not protect (such as its born
 * timestamp) can only be checked by {@link compareStores}; what fillers hold is open, a note says what is odd. Throws
 * {@link IoError}.
 */
export async function verifyStore(
  fs: FileSystem,
  storeDir: string,
  options: VerifyOptions = {},
): Promise<VerifyResult> {
  const verifier = new StoreVerifier(fs, storeDir, options);
  let finding: VerifyFinding | null;
  try {
    finding = await verifier.run();
  } catch (error) {
    if (!(error instanceof StoreError)) throw error;
    finding = { offset: verifier.end, file: storeDir, field: "file", reason: error.message };
  } finally {
    verifier.log?.close();
    verifier.index.close();
  }
  const { log, notes, end, records, blanks, queues, index } = verifier;
  return {
    ok: finding === null,
    finding,
    notes: [...notes, ...index.notes],
    minOffset: log?.minOffset ?? 0,
    maxOffset: end,
    mappedFileSize: log?.mappedFileSize ?? 0,
    records,
    blanks,
    queues: queues.count,
    units: queues.units,
    indexFiles: index.files,
    indexEntries: index.entries,
    notDispatched: queues.notDispatched,
  };
}

/** Without a file it is that of the commit log which holds the offset. */
type Finding = Omit<VerifyFinding, "file"> & { readonly file?: string };

class StoreVerifier {
  log: StoredLog | null = null;
  readonly queues: QueueCheck;
  readonly index: IndexCheck;
  readonly notes: string[] = [];
  /** End of the last whole record or filler. */
  end = 0;
  records = 0;
  blanks = 0;
  readonly #fs: FileSystem;
  readonly #storeDir: string;
  readonly #options: VerifyOptions;
  readonly #isAbort: boolean;
  readonly #record: DispatchReader;

  constructor(fs: FileSystem, storeDir: string, options: VerifyOptions) {
    this.#fs = fs;
    this.#storeDir = storeDir;
    this.#options = options;
    this.#isAbort = AbortFile.exists(fs, storeDir);
    this.#record = new DispatchReader(new DelayLevels(options.messageDelayLevel));
    this.queues = new QueueCheck(fs, `${storeDir}/consumequeue`);
    const { maxHashSlotNum = MAX_HASH_SLOT_NUM, maxIndexNum = MAX_INDEX_NUM } = options;
    this.index = new IndexCheck(fs, `${storeDir}/index`, { maxHashSlotNum, maxIndexNum });
  }

  async run(): Promise<VerifyFinding | null> {
    const log = this.log = openLog(this.#fs, this.#storeDir, this.#options);
    this.end = log.minOffset;
    this.queues.load(log.minOffset);
    const { indexMsgTimestamp } = new StoreCheckpoint(this.#fs, this.#storeDir);
    const walk = new LogWalk(log, this.#options);
    const total = log.filesEnd - log.minOffset;
    const finding = this.index.load(log.minOffset, this.#isAbort ? indexMsgTimestamp : null) ??
      await walk.run((bytes, at, offset) => this.#checkRecord(bytes, at, offset), (offset) => {
        this.#options.onProgress?.(offset - log.minOffset, total);
      });
    this.end = walk.end;
    this.records = walk.records;
    this.blanks = walk.blanks;
    if (walk.dirtyBlanks > 0) {
      const where = `the first at ${walk.dirtyBlankOffset}; the format leaves open what they hold`;
      this.notes.push(`${walk.dirtyBlanks} fillers at the end of files hold bytes that are not zero, ${where}`);
    }
    if (this.queues.withoutQueue > 0) {
      const where = `the first at ${this.queues.withoutQueueOffset}`;
      this.notes.push(`${this.queues.withoutQueue} messages are in no queue, ${where}: their topics were deleted`);
    }
    const first = finding ?? await this.#checkTail(log, walk) ?? this.queues.finish(walk.end) ??
      this.index.finish(walk.end);
    if (first === null) this.#options.onProgress?.(total, total);
    return first === null ? null : { ...first, file: first.file ?? log.pathOf(first.offset) };
  }

  #checkRecord(bytes: Uint8Array, at: number, offset: number): Finding | null {
    this.#record.read(bytes, at);
    return this.queues.check(this.#record, offset) ?? this.index.check(this.#record, bytes);
  }

  /**
   * The walk ended where no whole record is. Zeros from there on are the log's end. Anything else is damage if there is
   * a sign that a record stood here, and else what an earlier cut left behind.
   */
  async #checkTail(log: StoredLog, walk: LogWalk): Promise<Finding | null> {
    const tail = await classifyTail(log, walk, this.queues.maxPhysicOffset);
    if (tail.type === "clean") return null;
    if (tail.type === "torn" && this.#isAbort) {
      this.notes.push(
        `The record at ${walk.end} is not whole, the process ended while writing it; the next start cuts it`,
      );
      return null;
    }
    if (tail.type === "stale" && this.queues.count > 0) {
      this.notes.push(`Stale bytes from ${walk.end} to ${tail.dataEnd}, behind the log's end`);
      return null;
    }
    return { offset: walk.end, field: walk.stopField, reason: walk.stopDetail };
  }
}

type Tail =
  | { readonly type: "clean" }
  /** Something that is, or was, a record. */
  | { readonly type: "damaged" }
  /** The front of a record, then zeros. */
  | { readonly type: "torn" }
  /** Bytes that nothing claims. */
  | { readonly type: "stale"; readonly dataEnd: number };

async function classifyTail(log: StoredLog, walk: LogWalk, maxPhysicOffset: number): Promise<Tail> {
  const { end } = walk;
  const dataEnd = await log.endOfData(end);
  if (dataEnd === end) return { type: "clean" };
  // A file that has a successor is full; what a queue points at was a record.
  if (dataEnd > log.fileEnd(end) || maxPhysicOffset > end) return { type: "damaged" };
  const front = new Uint8Array(40);
  const count = await log.read(end, front);
  const claimedEnd = end + readInt32(front, 0);
  const claims = claimsToBeRecord(front.subarray(0, count), MAGICS, end);
  // A record without properties ends with the two zero bytes of their length.
  if (claims && claimedEnd > dataEnd + 2 && claimedEnd <= log.fileEnd(end)) return { type: "torn" };
  const endsTheData = claimedEnd >= dataEnd && claimedEnd <= dataEnd + 2;
  if (claims || endsTheData || await isRecordAt(log, claimedEnd)) return { type: "damaged" };
  return { type: "stale", dataEnd };
}

async function isRecordAt(log: StoredLog, offset: number): Promise<boolean> {
  if (offset <= log.minOffset || offset >= log.filesEnd) return false;
  const front = new Uint8Array(40);
  const count = await log.read(offset, front);
  return claimsToBeRecord(front.subarray(0, count), MAGICS, offset);
}

function openLog(fs: FileSystem, storeDir: string, options: VerifyOptions): StoredLog {
  const paths = (options.storePathCommitLog ?? "").split(",").map((path) => path.trim()).filter((path) => path !== "");
  return new StoredLog(fs, paths.length > 0 ? paths : [`${storeDir}/commitlog`], options.mappedFileSize ?? null);
}

/** Goes over all whole records of a log, to the first thing that is none. */
class LogWalk {
  /** End of the last whole record or filler. */
  end: number;
  records = 0;
  blanks = 0;
  /** Fillers that hold bytes which are not zero, and where the first is. */
  dirtyBlanks = 0;
  dirtyBlankOffset = -1;
  /** Why what stands at {@link end} is no record. */
  stopField = "totalSize";
  stopDetail = "";
  readonly #log: StoredLog;
  readonly #validator: RecordValidator;
  #window: Uint8Array<ArrayBuffer>;

  constructor(log: StoredLog, options: VerifyOptions, from = log.minOffset) {
    this.#log = log;
    this.end = from;
    this.#window = new Uint8Array(Math.min(WINDOW_SIZE, log.mappedFileSize));
    this.#validator = new RecordValidator({
      mappedFileSize: log.mappedFileSize,
      recordSizeMax: recordSizeMax(options.maxMessageSize ?? 0),
      checkCRC: true,
      checkPropCRC: true,
      forceVerifyPropCRC: false,
    });
  }

  /** Calls back for each record; ends early with what `visit` finds. */
  async run(
    visit: (bytes: Uint8Array, at: number, offset: number) => Finding | null,
    progress: (offset: number) => void = () => {},
  ): Promise<Finding | null> {
    for (;;) {
      const windowAt = this.end;
      const count = await this.#log.read(windowAt, this.#window);
      if (count === 0) return null;
      const next = this.#walkWindow(windowAt, count, visit);
      progress(this.end);
      if (next === "stop") return null;
      if (next !== "more") return next;
      if (this.end > windowAt) continue;
      if (windowAt + count === this.#log.fileEnd(windowAt)) {
        this.stopDetail = `${count} bytes are left in the file, too few for a record`;
        return null;
      }
      this.#window = new Uint8Array(this.#validator.size);
    }
  }

  #walkWindow(
    windowAt: number,
    count: number,
    visit: (bytes: Uint8Array, at: number, offset: number) => Finding | null,
  ): Finding | "more" | "stop" {
    const validator = this.#validator;
    while (this.end < windowAt + count) {
      const at = this.end - windowAt;
      const verdict = validator.check(this.#window, at, count, this.end);
      if (verdict === RecordVerdict.OK) {
        const finding = visit(this.#window, at, this.end);
        if (finding !== null) return finding;
        this.records++;
      } else if (verdict === RecordVerdict.BLANK || (verdict === RecordVerdict.PARTIAL && validator.isBlank)) {
        // One that the window cuts off is looked at again at the window's begin, as far as it fits.
        if (verdict === RecordVerdict.PARTIAL && at > 0) return "more";
        this.#countBlank(this.#window.subarray(at + END_FILE_MIN_BLANK_LENGTH, Math.min(at + validator.size, count)));
      } else if (verdict === RecordVerdict.PARTIAL) {
        return "more";
      } else {
        this.stopField = validator.field;
        this.stopDetail = validator.detail;
        return "stop";
      }
      this.end += validator.size;
    }
    return "more";
  }

  #countBlank(rest: Uint8Array): void {
    this.blanks++;
    if (!isZero(rest) && this.dirtyBlanks++ === 0) this.dirtyBlankOffset = this.end;
  }
}

/** Holds consume queues against the records they should point at, in the log's order. */
class QueueCheck {
  units = 0;
  notDispatched = 0;
  /** Records whose queue is not there, or began anew behind them; and where the first is. */
  withoutQueue = 0;
  withoutQueueOffset = -1;
  /** End of the last record any queue points at; -1 for none. */
  maxPhysicOffset = -1;
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #hasExtensions: boolean;
  readonly #queues = new Map<string, StoredQueue>();
  /** Where the first record is that any queue of a topic points at; 0 when a queue may have had earlier ones. */
  readonly #topicBegins = new Map<string, number>();
  /** Queue offset of each queue's next record. */
  readonly #expected = new Map<string, number>();

  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs;
    this.#directory = directory;
    this.#hasExtensions = fs.list(`${directory}_ext`).length > 0;
  }

  get count(): number {
    return this.#queues.size;
  }

  /** Opens all queues and skips the units of records below the log. Throws {@link StoreError}. */
  load(minOffset: number): void {
    for (const topic of this.#fs.list(this.#directory)) {
      // Light queues point at records of other topics.
      if (topic.startsWith("%LMQ%") || !isDirectory(this.#fs, `${this.#directory}/${topic}`)) continue;
      for (const name of this.#fs.list(`${this.#directory}/${topic}`)) {
        if (!/^\d{1,10}$/.test(name)) continue;
        const queue = new StoredQueue(this.#fs, `${this.#directory}/${topic}/${name}`, topic, Number(name));
        for (let unit = queue.peek(); unit !== null; unit = queue.peek()) {
          if (unit.pos >= minOffset && !isPreBlank(unit.pos, unit.size)) break;
          queue.advance();
        }
        const first = queue.peek();
        const begin = first === null || first.queueOffset > 0 ? 0 : first.pos;
        this.#topicBegins.set(topic, Math.min(begin, this.#topicBegins.get(topic) ?? Infinity));
        this.#queues.set(`${topic}/${name}`, queue);
        this.maxPhysicOffset = Math.max(this.maxPhysicOffset, queue.maxPhysicOffset);
      }
    }
  }

  /** Checks the record, which starts at `offset` of the log, against its queue's next unit. */
  check(record: DispatchReader, offset: number): Finding | null {
    if (!isConsumable(record.sysFlag) || (record.sysFlag & MessageSysFlag.INNER_BATCH) !== 0) return null;
    // Dispatch leaves it out: such a log came from a master that took anything.
    if (!canHaveUnit(record.topic, record.queueId, record.consumeQueueOffset)) return null;
    const key = `${record.topic}/${record.queueId}`;
    const queue = this.#queues.get(key);
    const unit = queue?.peek() ?? null;
    if (unit === null || queue === undefined) {
      if (offset < this.maxPhysicOffset) {
        // The topic was deleted, and perhaps made again later.
        if (queue === undefined && offset < (this.#topicBegins.get(record.topic) ?? Infinity)) {
          return this.#noteWithoutQueue(offset);
        }
        const file = queue?.pathOf(queue.maxOffset) ?? `${this.#directory}/${key}`;
        return wrong(file, offset, `queue ${key} has no unit for the record at ${offset}`);
      }
      this.notDispatched++;
    } else if (unit.queueOffset === 0 && unit.pos > offset) {
      // If it points at no record of the queue, that shows when the walk gets there.
      return this.#noteWithoutQueue(offset);
    } else if (unit.pos !== offset) {
      const at = `unit ${unit.queueOffset} of queue ${key} points at ${unit.pos}`;
      const file = queue.pathOf(unit.queueOffset);
      // The unit of this very record is wrong, or that of an earlier record, which does not (or no longer) look like it.
      return unit.pos < offset && unit.queueOffset !== record.consumeQueueOffset
        ? wrong(file, unit.pos, `${at}, where no record of this queue starts`)
        : wrong(file, offset, `${at}, wanted ${offset}`);
    } else if (unit.size !== record.msgSize) {
      const reason = `unit ${unit.queueOffset} of queue ${key} has size ${unit.size}, wanted ${record.msgSize}`;
      return wrong(queue.pathOf(unit.queueOffset), offset, reason);
    } else if (unit.tagsCode !== record.tagsCode && !this.#isExtensionAddress(unit.tagsCode)) {
      const has = `unit ${unit.queueOffset} of queue ${key} has ${unit.tagsCode}`;
      return { offset, field: "tagsCode", reason: `tagsCode is ${record.tagsCode}, ${has}` };
    } else {
      queue.advance();
      this.units++;
    }
    const expected = unit?.queueOffset ?? this.#expected.get(key) ?? record.consumeQueueOffset;
    this.#expected.set(key, expected + 1);
    if (record.consumeQueueOffset === expected) return null;
    return { offset, field: "queueOffset", reason: `queueOffset is ${record.consumeQueueOffset}, wanted ${expected}` };
  }

  #noteWithoutQueue(offset: number): null {
    if (this.withoutQueue++ === 0) this.withoutQueueOffset = offset;
    return null;
  }

  /** With `enableConsumeQueueExt` units hold the address of an extension unit, below all hashes, instead of a hash. */
  #isExtensionAddress(tagsCode: number): boolean {
    return this.#hasExtensions && tagsCode < -(2 ** 31);
  }

  /** What is left in the queues once the log has ended at `end`. */
  finish(end: number): Finding | null {
    let first: Finding | null = null;
    for (const [key, queue] of this.#queues) {
      const unit = queue.peek();
      if (unit === null || (first !== null && unit.pos >= first.offset)) continue;
      const at = `unit ${unit.queueOffset} of queue ${key} points at ${unit.pos}`;
      const why = unit.pos >= end ? `beyond the log's end ${end}` : "where no record of this queue starts";
      first = wrong(queue.pathOf(unit.queueOffset), unit.pos, `${at}, ${why}`);
    }
    return first;
  }
}

function wrong(file: string, offset: number, reason: string): Finding {
  return { offset, field: "consumeQueue", reason, file };
}

/** Outcome of {@link compareStores}. */
export interface CompareResult {
  /** Whether the logs hold the same bytes in `[from, to)`. */
  readonly ok: boolean;
  /** What both hold, bytes of the log. */
  readonly from: number;
  readonly to: number;
  /** First byte that differs; -1 when none does. */
  readonly firstDifference: number;
  /** The files that hold it. */
  readonly files: readonly string[];
}

/**
 * Compares two commit logs byte for byte over the range both hold: from the higher begin to the lower end. An end that
 * can't be told, as something is damaged there, does not shorten the range. Throws {@link StoreError}, {@link IoError}.
 */
export async function compareStores(
  fs: FileSystem,
  dirA: string,
  dirB: string,
  options: VerifyOptions = {},
): Promise<CompareResult> {
  const a = openLog(fs, dirA, options);
  const b = openLog(fs, dirB, options);
  try {
    const from = Math.max(a.minOffset, b.minOffset);
    const ends = [await endOfLog(a, options), await endOfLog(b, options)];
    const to = Math.max(from, Math.min(...ends.map((end) => end ?? Infinity), a.filesEnd, b.filesEnd));
    const firstDifference = await findDifference(a, b, from, to, options.onProgress);
    const ok = firstDifference < 0;
    return { ok, from, to, firstDifference, files: ok ? [] : [a.pathOf(firstDifference), b.pathOf(firstDifference)] };
  } finally {
    a.close();
    b.close();
  }
}

/** End of the log, null when what stands there is damaged. Walks the last file that holds anything. */
async function endOfLog(log: StoredLog, options: VerifyOptions): Promise<number | null> {
  let from = log.filesEnd;
  do {
    from = Math.max(log.minOffset, from - log.mappedFileSize);
  } while (from > log.minOffset && await log.endOfData(from) === from);
  const walk = new LogWalk(log, options, from);
  await walk.run(() => null);
  const tail = await classifyTail(log, walk, -1);
  return tail.type === "clean" || tail.type === "stale" ? walk.end : null;
}

async function findDifference(
  a: StoredLog,
  b: StoredLog,
  from: number,
  to: number,
  onProgress: VerifyOptions["onProgress"],
): Promise<number> {
  const window = Math.min(WINDOW_SIZE, Math.max(a.mappedFileSize, b.mappedFileSize));
  const bytesA = new Uint8Array(window);
  const bytesB = new Uint8Array(window);
  for (let offset = from; offset < to;) {
    const wanted = Math.min(window, to - offset);
    const count = await a.read(offset, bytesA.subarray(0, wanted));
    const countB = await b.read(offset, bytesB.subarray(0, wanted));
    const size = Math.min(count, countB);
    if (size === 0) return offset;
    const at = firstDifferent(bytesA, bytesB, size);
    if (at >= 0) return offset + at;
    offset += size;
    onProgress?.(offset - from, to - from);
  }
  return -1;
}

/** Position of the first of `size` bytes that differs; -1 for none. */
function firstDifferent(a: Uint8Array, b: Uint8Array, size: number): number {
  const words = size >> 2;
  const wordsA = new Int32Array(a.buffer, 0, words);
  const wordsB = new Int32Array(b.buffer, 0, words);
  let i = 0;
  while (i < words && wordsA[i] === wordsB[i]) i++;
  for (let at = i * 4; at < size; at++) if (a[at] !== b[at]) return at;
  return -1;
}
