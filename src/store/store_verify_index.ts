// The index's part of `verify`: walks the entries of all index files in order, beside the walk over the log, as both grow
// with the offset. It owns what must hold of index files (each entry is a key of the record it points at, every key has
// an entry, chains and slots lead to all of them); which records there are is StoreVerifier's. Reads block.

import { readInt32, readInt64 } from "../base/bytes.ts";
import type { FileHandle, FileSystem } from "../runtime/runtime.ts";
import type { DispatchReader } from "./dispatch_reader.ts";
import { absoluteHash, type IndexFileShape, indexFileSize, javaHashCodeOfUtf8 } from "./index_file.ts";
import { javaHashCode } from "./message_properties.ts";
import { MessageSysFlag } from "./message_sys_flag.ts";

const HEADER_SIZE = 40;
const SLOT_SIZE = 4;
const ENTRY_SIZE = 20;
const ENTRIES_READ = 16 * 1024;
const READ_SIZE_MIN = 16 * 1024;
const INT32_MAX = 0x7fff_ffff;
const SPACE = 0x20;
const TOPICS_MAX = 4096;

/** What is wrong with the index, as `verify` reports it. */
export interface IndexFinding {
  /** Offset in the commit log that the index is wrong about. */
  readonly offset: number;
  readonly field: "index";
  readonly reason: string;
  /** The index file. */
  readonly file: string;
}

/** Holds index files against the records they should point at, in the log's order. */
export class IndexCheck {
  /** Files and entries that were checked. */
  files = 0;
  entries = 0;
  /** What is odd but not wrong. */
  readonly notes: string[] = [];
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #shape: IndexFileShape;
  readonly #paths: string[] = [];
  readonly #topicHashes = new Map<string, number>();
  #minOffset = 0;
  /** The file whose entries are being walked; null behind the last. */
  #file: IndexFileWalk | null = null;
  /** Whether a record had its entries: what lies before the first has expired, or was never indexed. */
  #hasBegun = false;
  /** Whether files at the end were left out. */
  #isOpenEnded = false;
  /** Records with keys that lie between two index files, without entries. */
  #gap = { count: 0, from: 0, to: 0 };
  /** Records with keys behind the last entry. */
  #behindCount = 0;

  constructor(fs: FileSystem, directory: string, shape: IndexFileShape) {
    this.#fs = fs;
    this.#directory = directory;
    this.#shape = shape;
  }

  /**
   * Finds the files. `trustedTimestamp` is null after a clean stop; else the next start removes files that were not full
   * or end later, whoever does it, and only the others count. Returns what is wrong with the first one.
   */
  load(minOffset: number, trustedTimestamp: number | null): IndexFinding | null {
    this.#minOffset = minOffset;
    const wanted = indexFileSize(this.#shape);
    for (const name of this.#fs.list(this.#directory)) {
      if (!/^\d{17}$/.test(name)) continue;
      const path = `${this.#directory}/${name}`;
      const size = this.#fs.stat(path)?.size ?? 0;
      if (trustedTimestamp !== null && !this.#isTrusted(path, trustedTimestamp)) {
        this.#isOpenEnded = true;
        break;
      }
      if (size !== wanted) {
        this.notes.push(
          `The index was not checked: "${path}" has ${size} bytes, wanted ${wanted} by maxHashSlotNum and maxIndexNum`,
        );
        this.#paths.length = 0;
        return null;
      }
      this.#paths.push(path);
    }
    return this.#advanceFile() ?? this.#skipExpired();
  }

  /** As {@link IndexService.load} has it. */
  #isTrusted(path: string, timestamp: number): boolean {
    const header = new Uint8Array(HEADER_SIZE);
    const handle = this.#fs.open(path, "read");
    try {
      handle.readAt(header, 0);
    } finally {
      handle.close();
    }
    return readInt32(header, 36) >= this.#shape.maxIndexNum && readInt64(header, 8) <= timestamp;
  }

  #skipExpired(): IndexFinding | null {
    while (this.#file !== null && this.#file.phyOffset < this.#minOffset) {
      const finding = this.#advance();
      if (finding !== null) return finding;
    }
    return null;
  }

  /** Checks the entries of a record; `bytes` hold it as `record` has read it. */
  check(record: DispatchReader, bytes: Uint8Array): IndexFinding | null {
    const offset = record.commitLogOffset;
    if (this.#file !== null && this.#file.phyOffset < offset) return this.#pointsNowhere(this.#file);
    if (this.#file?.phyOffset !== offset && !this.#hasBegun) return null;
    const wanted = this.#hashesOf(record, bytes);
    let found = 0;
    while (this.#file !== null && this.#file.phyOffset === offset) {
      const file = this.#file;
      if (file.keyHash === wanted[found]) found++;
      // A start after a crash indexes the last message again, so a key may have several entries.
      else if (!wanted.includes(file.keyHash)) {
        return wrong(offset, file, `is for hash ${file.keyHash}, the record there has ${wanted.join(", ") || "none"}`);
      }
      const finding = file.checkTime(record.storeTimestamp) ?? this.#advance();
      if (finding !== null) return finding;
      this.#hasBegun = true;
      this.entries++;
    }
    return found === wanted.length ? null : this.#lacks(offset, wanted[found]!);
  }

  #pointsNowhere(file: IndexFileWalk): IndexFinding {
    return wrong(file.phyOffset, file, `points at ${file.phyOffset}, where no record starts`);
  }

  /**
   * Between two files may lie what a crash took of the index: Apache does not build it again. Behind the last one, what
   * came after the index was turned off.
   */
  #lacks(offset: number, hash: number): IndexFinding | null {
    if (this.#file === null) {
      if (!this.#isOpenEnded) this.#behindCount++;
      return null;
    }
    if (this.#file.index > 1) {
      const reason = `the index has no entry for hash ${hash} of the record at ${offset}`;
      return { offset, field: "index", reason, file: this.#file.path };
    }
    if (this.#gap.count++ === 0) this.#gap.from = offset;
    this.#gap.to = offset;
    return null;
  }

  /** The hashes of a record's keys, in the order in which they are indexed. Mirrors `IndexService.buildIndex`. */
  #hashesOf(record: DispatchReader, bytes: Uint8Array): number[] {
    const hashes: number[] = [];
    if ((record.sysFlag & MessageSysFlag.TRANSACTION_MASK) === MessageSysFlag.TRANSACTION_ROLLBACK) return hashes;
    const topicHash = this.#topicHash(record.topic);
    const add = (from: number, to: number) => {
      if (from < to) hashes.push(absoluteHash(javaHashCodeOfUtf8(bytes, from, to, topicHash)));
    };
    add(record.uniqKeyFrom, record.uniqKeyTo);
    for (let from = record.keysFrom; from < record.keysTo;) {
      let to = from;
      while (to < record.keysTo && bytes[to] !== SPACE) to++;
      add(from, to);
      from = to + 1;
    }
    return hashes;
  }

  #topicHash(topic: string): number {
    let hash = this.#topicHashes.get(topic);
    if (hash === undefined) {
      if (this.#topicHashes.size >= TOPICS_MAX) this.#topicHashes.clear();
      this.#topicHashes.set(topic, hash = javaHashCode(`${topic}#`));
    }
    return hash;
  }

  /** To the next entry, of the next file if need be. */
  #advance(): IndexFinding | null {
    const file = this.#file!;
    const before = file.phyOffset;
    if (!file.next()) return file.finish() ?? this.#advanceFile(before);
    return file.checkEntry(before);
  }

  #advanceFile(before = 0): IndexFinding | null {
    this.#file?.close();
    this.#file = null;
    for (let path = this.#paths.shift(); path !== undefined; path = this.#paths.shift()) {
      const file = this.#file = new IndexFileWalk(this.#fs, path, this.#shape);
      this.files++;
      const finding = file.checkHeader();
      if (finding !== null) return finding;
      if (file.next()) return file.checkEntry(before);
      file.close();
      this.#file = null;
    }
    return null;
  }

  /** What is left once the log has ended at `end`. */
  finish(end: number): IndexFinding | null {
    const file = this.#file;
    if (file !== null) {
      return file.phyOffset < end
        ? this.#pointsNowhere(file)
        : wrong(file.phyOffset, file, `points at ${file.phyOffset}, beyond the log's end ${end}`);
    }
    if (this.#gap.count > 0) {
      const { count, from, to } = this.#gap;
      this.notes.push(
        `The index lacks ${count} records of offsets ${from} to ${to}, as Apache leaves it after a crash`,
      );
    }
    if (this.#behindCount > 0) this.notes.push(`The index lacks the last ${this.#behindCount} records that have keys`);
    return null;
  }

  /** Closes the file that is open. */
  close(): void {
    this.#file?.close();
  }
}

/** One index file, entry by entry, with the chains as they must be so far. */
class IndexFileWalk {
  readonly path: string;
  /** The entry at hand: its position, from 1, and what it holds. */
  index = 0;
  keyHash = 0;
  phyOffset = 0;
  readonly #shape: IndexFileShape;
  readonly #handle: FileHandle;
  readonly #beginTimestamp: number;
  readonly #endTimestamp: number;
  readonly #beginPhyOffset: number;
  readonly #endPhyOffset: number;
  readonly #indexCount: number;
  /** Newest entry of each slot. */
  readonly #slots: Int32Array;
  readonly #chunk: Uint8Array;
  #chunkFrom = 0;
  #chunkCount = 0;
  #at = 0;
  #storeTimestamp = 0;

  constructor(fs: FileSystem, path: string, shape: IndexFileShape) {
    this.path = path;
    this.#shape = shape;
    this.#handle = fs.open(path, "read");
    const header = new Uint8Array(HEADER_SIZE);
    this.#handle.readAt(header, 0);
    this.#beginTimestamp = readInt64(header, 0);
    this.#endTimestamp = readInt64(header, 8);
    this.#beginPhyOffset = readInt64(header, 16);
    this.#endPhyOffset = readInt64(header, 24);
    this.#indexCount = Math.max(1, readInt32(header, 36));
    this.#slots = new Int32Array(this.#indexCount > 1 ? shape.maxHashSlotNum : 0);
    this.#chunk = new Uint8Array(Math.max(READ_SIZE_MIN, Math.min(ENTRIES_READ, this.#indexCount) * ENTRY_SIZE));
  }

  checkHeader(): IndexFinding | null {
    if (this.#indexCount <= this.#shape.maxIndexNum) return null;
    return this.#fault(this.#beginPhyOffset, `indexCount is ${this.#indexCount}, at most ${this.#shape.maxIndexNum}`);
  }

  /** Takes the next entry; false behind the last. */
  next(): boolean {
    if (this.index + 1 >= this.#indexCount) return false;
    this.index++;
    if (this.index >= this.#chunkFrom + this.#chunkCount) this.#readChunk();
    const at = this.#at = (this.index - this.#chunkFrom) * ENTRY_SIZE;
    this.keyHash = readInt32(this.#chunk, at);
    this.phyOffset = readInt64(this.#chunk, at + 4);
    return true;
  }

  #readChunk(): void {
    this.#chunkFrom = this.index;
    this.#chunkCount = Math.min(ENTRIES_READ, this.#indexCount - this.index);
    const position = HEADER_SIZE + this.#shape.maxHashSlotNum * SLOT_SIZE + this.index * ENTRY_SIZE;
    this.#handle.readAt(this.#chunk.subarray(0, this.#chunkCount * ENTRY_SIZE), position);
  }

  /** The entry at hand is in its place: behind the one at `before`, and in its slot's chain. */
  checkEntry(before: number): IndexFinding | null {
    if (this.phyOffset < before) return this.#fault(this.phyOffset, `points at ${this.phyOffset}, behind ${before}`);
    if (this.index === 1 && this.phyOffset !== this.#beginPhyOffset) {
      return this.#fault(this.phyOffset, `points at ${this.phyOffset}, the header's begin is ${this.#beginPhyOffset}`);
    }
    if (this.keyHash < 0) return this.#fault(this.phyOffset, `is for hash ${this.keyHash}, wanted 0 or more`);
    const slot = this.keyHash % this.#shape.maxHashSlotNum;
    const previous = readInt32(this.#chunk, this.#at + 16);
    const wanted = this.#slots[slot]!;
    if (previous !== wanted) return this.#fault(this.phyOffset, `has previous entry ${previous}, wanted ${wanted}`);
    this.#slots[slot] = this.index;
    return null;
  }

  /** The entry at hand is of a record stored then, Unix ms. */
  checkTime(storeTimestamp: number): IndexFinding | null {
    this.#storeTimestamp = storeTimestamp;
    if (this.index === 1) {
      if (storeTimestamp === this.#beginTimestamp) return null;
      return this.#fault(
        this.phyOffset,
        `was stored at ${storeTimestamp}, the header's begin is ${this.#beginTimestamp}`,
      );
    }
    const seconds = Math.floor((storeTimestamp - this.#beginTimestamp) / 1000);
    const wanted = this.#beginTimestamp <= 0 ? 0 : Math.min(Math.max(seconds, 0), INT32_MAX);
    const timeDiff = readInt32(this.#chunk, this.#at + 12);
    return timeDiff === wanted ? null : this.#fault(this.phyOffset, `has timeDiff ${timeDiff}, wanted ${wanted}`);
  }

  /** Behind the last entry: slots lead to the newest entries, and the header knows the last one. */
  finish(): IndexFinding | null {
    if (this.phyOffset !== this.#endPhyOffset) {
      return this.#fault(
        this.phyOffset,
        `is the last, at ${this.phyOffset}; the header's end is ${this.#endPhyOffset}`,
      );
    }
    // Taking entries back, when a log is cut, leaves the end's time in whole seconds.
    if (this.#storeTimestamp > this.#endTimestamp) {
      return this.#fault(
        this.phyOffset,
        `was stored at ${this.#storeTimestamp}, the header's end is ${this.#endTimestamp}`,
      );
    }
    for (let from = 0; from < this.#slots.length;) {
      const count = Math.min(this.#slots.length - from, this.#chunk.length / SLOT_SIZE);
      this.#handle.readAt(this.#chunk.subarray(0, count * SLOT_SIZE), HEADER_SIZE + from * SLOT_SIZE);
      for (let i = 0; i < count; i++) {
        const slot = readInt32(this.#chunk, i * SLOT_SIZE);
        const wanted = this.#slots[from + i]!;
        if (slot === wanted) continue;
        const reason = `slot ${from + i} leads to entry ${slot}, wanted ${wanted}`;
        return { offset: this.#beginPhyOffset, field: "index", reason, file: this.path };
      }
      from += count;
    }
    return null;
  }

  #fault(offset: number, reason: string): IndexFinding {
    return wrong(offset, this, reason);
  }

  close(): void {
    this.#handle.close();
  }
}

function wrong(offset: number, file: IndexFileWalk, reason: string): IndexFinding {
  return { offset, field: "index", reason: `entry ${file.index} ${reason}`, file: file.path };
}
