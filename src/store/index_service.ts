// The hash index as a whole: which files exist, which keys of a message go in, queries across files, expiry, and what of
// it can be trusted after a crash. Driven by ReputMessageService (puts) and MessageStore (life cycle, queries). The
// index is derived from the log and can always be built again from it.

import { StoreError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { Clock, FileSystem } from "../runtime/runtime.ts";
import { absoluteHash, IndexFile, type IndexFileShape, indexKeyHash, javaHashCodeOfUtf8 } from "./index_file.ts";
import { javaHashCode } from "./message_properties.ts";

/** Configuration keys of the index, with Apache's names. */
export interface IndexOptions extends IndexFileShape {
  /** Most offsets one query returns; 64 by default. */
  readonly maxMsgsNumBatch: number;
}

/** What the index needs of the store checkpoint. */
export interface IndexCheckpoint {
  indexMsgTimestamp: number;
  /** Throws {@link IoError}. */
  flushBlocking(): void;
  /** Likewise, but false when the write fails: then a later flush brings it. Throws {@link IoError} when the sync does. */
  tryFlushBlocking(): boolean;
}

/** Answer of a query. Mirrors Apache's `QueryOffsetResult`. */
export interface QueryOffsetResult {
  /** Log offsets, newest first. Hash hits: the caller compares keys if it must be sure. */
  readonly phyOffsets: number[];
  /** Store time of the newest indexed message, Unix ms. */
  readonly indexLastUpdateTimestamp: number;
  /** Log offset of the newest indexed message. */
  readonly indexLastUpdatePhyoffset: number;
}

const SPACE = 0x20;
/** Topics whose hash is remembered; a log with more of them only gets slower. */
const TOPIC_HASHES_MAX = 4096;

/** The index files of a store. Mirrors Apache's `IndexService`. Methods throw {@link IoError} from the disk. */
export class IndexService {
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #logger: Logger;
  readonly #directory: string;
  readonly #options: IndexOptions;
  readonly #checkpoint: IndexCheckpoint;
  readonly #files: IndexFile[] = [];
  /** Whether files were made or removed whose names are not durable yet. */
  #directoryIsDirty = false;
  /** Hash of `topic#` by topic: the part all keys of a topic share. */
  readonly #topicHashes = new Map<string, number>();

  constructor(parts: {
    fs: FileSystem;
    clock: Clock;
    logger: Logger;
    directory: string;
    options: IndexOptions;
    checkpoint: IndexCheckpoint;
  }) {
    this.#fs = parts.fs;
    this.#clock = parts.clock;
    this.#logger = parts.logger;
    this.#directory = parts.directory;
    this.#options = parts.options;
    this.#checkpoint = parts.checkpoint;
  }

  /**
   * Opens the files. After an unclean exit those newer than the checkpoint's `indexMsgTimestamp` (every file that was
   * not full) are removed, as Apache does. Returns whether messages after {@link endPhyOffset} may be missing.
   */
  load(lastExitOk: boolean): { readonly incomplete: boolean } {
    this.#fs.makeDirectory(this.#directory);
    const untrusted: IndexFile[] = [];
    for (const name of this.#fs.list(this.#directory)) {
      if (!/^\d{17}$/.test(name)) continue;
      const file = IndexFile.open(this.#fs, `${this.#directory}/${name}`, this.#options);
      // Apache looks at the time alone. A clock that was set back would make it keep a file whose slots are missing, or
      // one behind a file that went: the index is a piece of the log without holes.
      const isTrusted = lastExitOk || (file.endTimestamp <= this.#checkpoint.indexMsgTimestamp && file.isFull);
      (isTrusted && untrusted.length === 0 ? this.#files : untrusted).push(file);
    }
    // The newest first: a loss of power may undo some.
    for (const file of untrusted.reverse()) {
      this.#logger.info("Removing an index file that was not closed; it is built again from the log", {
        file: file.path,
      });
      this.#remove(file);
    }
    return { incomplete: !lastExitOk || this.#files.length === 0 };
  }

  /** Log offset up to which messages are known to be indexed: start of the last indexed one, 0 for none. */
  get endPhyOffset(): number {
    return this.#files.at(-1)?.endPhyOffset ?? 0;
  }

  /** Store time of the message indexed last, Unix ms; 0 without one. */
  get endTimestamp(): number {
    return this.#files.at(-1)?.endTimestamp ?? 0;
  }

  /** Number of files. */
  get fileCount(): number {
    return this.#files.length;
  }

  /**
   * Indexes one message: its unique key and each word of its keys, given as ranges of UTF-8 bytes (`from >= to`: none).
   * One that lies below the last indexed message is skipped. Rollback records are the caller's to leave out.
   */
  buildIndex(
    topic: string,
    phyOffset: number,
    storeTimestamp: number,
    bytes: Uint8Array,
    uniqKeyFrom: number,
    uniqKeyTo: number,
    keysFrom: number,
    keysTo: number,
  ): void {
    if (uniqKeyFrom >= uniqKeyTo && keysFrom >= keysTo) return;
    if (phyOffset < this.endPhyOffset) return;
    const topicHash = this.#topicHash(topic);
    if (uniqKeyFrom < uniqKeyTo) {
      this.#putKey(javaHashCodeOfUtf8(bytes, uniqKeyFrom, uniqKeyTo, topicHash), phyOffset, storeTimestamp);
    }
    for (let from = keysFrom; from < keysTo;) {
      let to = from;
      while (to < keysTo && bytes[to] !== SPACE) to++;
      if (to > from) this.#putKey(javaHashCodeOfUtf8(bytes, from, to, topicHash), phyOffset, storeTimestamp);
      from = to + 1;
    }
  }

  #topicHash(topic: string): number {
    let hash = this.#topicHashes.get(topic);
    if (hash === undefined) {
      hash = javaHashCode(`${topic}#`);
      if (this.#topicHashes.size >= TOPIC_HASHES_MAX) this.#topicHashes.clear();
      this.#topicHashes.set(topic, hash);
    }
    return hash;
  }

  #putKey(hash: number, phyOffset: number, storeTimestamp: number): void {
    let file = this.#files.at(-1);
    if (file === undefined || file.isFull) file = this.#createFile(file ?? null);
    file.putKey(absoluteHash(hash), phyOffset, storeTimestamp);
  }

  #createFile(previous: IndexFile | null): IndexFile {
    if (previous !== null) {
      previous.seal();
      this.#vouchFor(previous);
    }
    const file = IndexFile.create(this.#fs, `${this.#directory}/${this.#nextName(previous)}`, this.#options, previous);
    this.#directoryIsDirty = true;
    this.#files.push(file);
    return file;
  }

  /**
   * Syncs that fail here end the store: see {@link IndexFile.seal}. A checkpoint that can't be written, on a full disk say,
   * vouches for less than it could until its next flush.
   */
  #vouchFor(file: IndexFile): void {
    try {
      this.#syncDirectory();
      this.#checkpoint.indexMsgTimestamp = file.endTimestamp;
      if (!this.#checkpoint.tryFlushBlocking()) {
        this.#logger.warn("The checkpoint can't be written; the next flush of the consume queues tries again");
      }
    } catch (error) {
      throw new StoreError(`Sync of the checkpoint failed; what is on the disk is unknown`, { cause: error });
    }
  }

  #remove(file: IndexFile): void {
    file.destroy();
    this.#directoryIsDirty = true;
  }

  #syncDirectory(): void {
    if (this.#directoryIsDirty) this.#fs.syncDirectory(this.#directory);
    this.#directoryIsDirty = false;
  }

  /** Local time as 17 digits, always after the previous file's name: load sorts by name. */
  #nextName(previous: IndexFile | null): string {
    const name = timeMillisToHumanString(this.#clock.now());
    const last = previous?.path.slice(-name.length);
    return last === undefined || name > last ? name : String(BigInt(last) + 1n);
  }

  /**
   * Log offsets of messages that may carry `key`, stored in `[begin, end]` (Unix ms), newest first: at most `maxNum`
   * and `maxMsgsNumBatch`.
   */
  queryOffset(topic: string, key: string, maxNum: number, begin: number, end: number): QueryOffsetResult {
    const most = Math.min(maxNum, this.#options.maxMsgsNumBatch);
    const hash = indexKeyHash(topic, key);
    const phyOffsets: number[] = [];
    for (let i = this.#files.length - 1; i >= 0 && phyOffsets.length < most; i--) {
      const file = this.#files[i]!;
      if (file.isTimeMatched(begin, end)) file.selectPhyOffset(phyOffsets, hash, most, begin, end);
      if (file.beginTimestamp < begin) break;
    }
    const last = this.#files.at(-1);
    return {
      phyOffsets,
      indexLastUpdateTimestamp: last?.endTimestamp ?? 0,
      indexLastUpdatePhyoffset: last?.endPhyOffset ?? 0,
    };
  }

  /** Removes files (never the last) whose messages all lie below the log's `minOffset`. Returns how many. */
  deleteExpiredFile(minOffset: number): number {
    let count = 0;
    while (this.#files.length > 1 && this.#files[0]!.endPhyOffset < minOffset) {
      this.#remove(this.#files.shift()!);
      count++;
    }
    return count;
  }

  /** Takes back the entries of messages at or beyond `phyOffset`, durably: the log was cut there. */
  truncate(phyOffset: number): void {
    const firstCut = this.#files.findIndex((file) => file.endPhyOffset >= phyOffset);
    if (firstCut < 0) return;
    this.#distrustFrom(firstCut);
    while (this.#files.length > 0 && this.#files.at(-1)!.beginPhyOffset >= phyOffset) this.#remove(this.#files.pop()!);
    this.#files.at(-1)?.truncate(phyOffset);
    this.#syncDirectory();
  }

  /** Removes everything, durably: the log was moved aside. */
  destroy(): void {
    this.#distrustFrom(0);
    for (const file of this.#files.splice(0)) this.#remove(file);
    this.#syncDirectory();
  }

  /** The checkpoint must not vouch for files whose cut a crash may undo. */
  #distrustFrom(index: number): void {
    const endTimestamp = this.#files[index - 1]?.endTimestamp ?? 0;
    if (this.#checkpoint.indexMsgTimestamp <= endTimestamp) return;
    this.#checkpoint.indexMsgTimestamp = endTimestamp;
    this.#checkpoint.flushBlocking();
  }

  /** Brings everything to the disk (blocks) and closes the files. */
  shutdown(): void {
    this.#files.at(-1)?.seal();
    this.#syncDirectory();
    this.close();
  }

  /** Closes the files without writing anything back, as a crash would. */
  close(): void {
    for (const file of this.#files.splice(0)) file.close();
  }
}

/** Local time as Apache names index files: `yyyyMMddHHmmssSSS`. */
export function timeMillisToHumanString(timestamp: number): string {
  const time = new Date(timestamp);
  const part = (value: number, digits: number) => String(value).padStart(digits, "0");
  return part(time.getFullYear(), 4) + part(time.getMonth() + 1, 2) + part(time.getDate(), 2) +
    part(time.getHours(), 2) + part(time.getMinutes(), 2) + part(time.getSeconds(), 2) +
    part(time.getMilliseconds(), 3);
}
