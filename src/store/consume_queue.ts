// One consume queue in Apache's format: 20-byte units in files of a fixed size, each pointing at one record of the log.
// It owns the bytes of its files, not which records get a unit (ReputMessageService) nor when it is flushed or expired
// (ConsumeQueueStore). Units put are gathered and reach the file in one write by `writePending`; only then are they read.
//
//   | commitLogOffset: 8 | size: 4 | tagsCode: 8 |     unit of queue offset i at byte i * 20 of the queue

import { readInt32, readInt64, writeInt32, writeInt64 } from "../base/bytes.ts";
import { assert, StoreError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { FileSystem } from "../runtime/runtime.ts";
import type { FileHandleCache } from "./file_handle_cache.ts";

/** Bytes of a unit: `CQ_STORE_UNIT_SIZE`. */
export const CQ_STORE_UNIT_SIZE = 20;
/** Size field of the units that fill the front of a queue that does not start at 0. */
export const PRE_BLANK_SIZE = 0x7fff_ffff;
const PENDING_UNITS_MIN = 64;
/** Kept between slices for a busy queue; more is given back. */
const PENDING_UNITS_KEPT = 1024;

/** One unit. Mirrors Apache's `CqUnit`. */
export interface CqUnit {
  /** Index in the queue. */
  readonly queueOffset: number;
  /** Start of the record in the log. */
  readonly pos: number;
  /** Bytes of the record. */
  readonly size: number;
  /** Hash of the tag, or deliver time; -1 is never a hash. May lie beyond 2^53 when it is an extension address. */
  readonly tagsCode: number;
}

/** What all queues of a store share. */
export interface ConsumeQueueParts {
  readonly fs: FileSystem;
  readonly handles: FileHandleCache;
  readonly logger: Logger;
  /** Bytes of each file, a multiple of 20. */
  readonly mappedFileSize: number;
}

/** One queue of one topic. Mirrors Apache's `ConsumeQueue`. Methods throw {@link IoError} from the disk. */
export class ConsumeQueue {
  readonly topic: string;
  readonly queueId: number;
  /** End of the last record that has a unit; -1 for none. */
  maxPhysicOffset = -1;

  readonly #parts: ConsumeQueueParts;
  readonly #directory: string;
  /** First byte of each file; contiguous. */
  #files: number[] = [];
  /** First valid byte: what lies below points at records that are gone. */
  #minLogicOffset = 0;
  /** End of the units in files, bytes. */
  #wrote = 0;
  #pending = new Uint8Array(0);
  #pendingSize = 0;
  /** End of what is known to be on the disk. */
  #flushed = 0;

  constructor(parts: ConsumeQueueParts, directory: string, topic: string, queueId: number) {
    this.#parts = parts;
    this.#directory = directory;
    this.topic = topic;
    this.queueId = queueId;
  }

  /** Finds the files. Throws {@link StoreError} for a size that is not the configured one. */
  load(): void {
    const { fs, mappedFileSize } = this.#parts;
    const names = fs.list(this.#directory).filter((name) => /^\d{20}$/.test(name));
    for (const [i, name] of names.entries()) {
      const path = `${this.#directory}/${name}`;
      const size = fs.stat(path)?.size;
      if (size === 0 && i === names.length - 1) {
        fs.remove(path);
        break;
      }
      if (size !== mappedFileSize) {
        throw new StoreError(
          `Can't open consume queue file "${path}": its size is ${size}, wanted mappedFileSizeConsumeQueue = ${mappedFileSize}`,
        );
      }
      this.#files.push(Number(name));
    }
    this.#wrote = this.#flushed = this.#fileEnd();
    this.#minLogicOffset = this.#files[0] ?? 0;
  }

  /**
   * Finds the end of the units. After a clean exit they are a gapless run, and its end is searched by halving; else each
   * of the last three files is scanned, and what follows the first unit that is not valid is cut, as Apache does.
   */
  recover(lastExitOk: boolean): void {
    if (this.#files.length === 0) return;
    const end = lastExitOk ? this.#searchEnd() : this.#scanEnd();
    this.#cut(end);
    this.#setMaxPhysicOffset();
  }

  #searchEnd(): number {
    for (let i = this.#files.length - 1; i >= 0; i--) {
      let low = 0;
      let high = this.#parts.mappedFileSize / CQ_STORE_UNIT_SIZE;
      while (low < high) {
        const middle = (low + high) >>> 1;
        const unit = this.#unitAt(this.#files[i]! + middle * CQ_STORE_UNIT_SIZE);
        if (unit.pos >= 0 && unit.size > 0) low = middle + 1;
        else high = middle;
      }
      if (low > 0) return this.#files[i]! + low * CQ_STORE_UNIT_SIZE;
    }
    return this.#files[0]!;
  }

  #scanEnd(): number {
    const chunk = new Uint8Array(CQ_STORE_UNIT_SIZE * 4096);
    const from = this.#files.at(-3) ?? this.#files[0]!;
    let previousEnd = -1;
    for (let at = from; at < this.#fileEnd();) {
      const bytes = this.readUnits(at / CQ_STORE_UNIT_SIZE, chunk);
      for (let i = 0; i < bytes.length; i += CQ_STORE_UNIT_SIZE, at += CQ_STORE_UNIT_SIZE) {
        const pos = readInt64(bytes, i);
        const size = readInt32(bytes, i + 8);
        if (isPreBlank(pos, size)) continue;
        // Offsets only grow in a queue: a step back is a stale unit beyond a cut.
        if (pos < 0 || size <= 0 || pos < previousEnd) return at;
        previousEnd = pos + size;
      }
    }
    return this.#fileEnd();
  }

  /** Sets the end to `end`, zeroes what follows in its file and removes later files. */
  #cut(end: number): void {
    const { handles, mappedFileSize } = this.#parts;
    while (this.#files.length > 0 && this.#files.at(-1)! >= end) this.#removeFile(this.#files.pop()!);
    this.#pendingSize = 0;
    this.#wrote = end;
    this.#flushed = Math.min(this.#flushed, end);
    this.#minLogicOffset = Math.min(this.#minLogicOffset, end);
    const last = this.#files.at(-1);
    if (last === undefined || last + mappedFileSize === end) return;
    // Only what is not zero yet is written, so that recovery leaves a sparse tail sparse.
    const handle = handles.get(this.#path(last));
    const chunk = new Uint8Array(64 * 1024);
    for (let at = end - last; at < mappedFileSize;) {
      const count = handle.readAt(chunk.subarray(0, Math.min(chunk.length, mappedFileSize - at)), at);
      if (count === 0) break;
      if (chunk.subarray(0, count).some((byte) => byte !== 0)) handle.writeAt(chunk.subarray(0, count).fill(0), at);
      at += count;
    }
    this.#flushed = Math.min(this.#flushed, last);
  }

  #setMaxPhysicOffset(): void {
    this.maxPhysicOffset = -1;
    if (this.#wrote <= (this.#files[0] ?? this.#wrote)) return;
    const { pos, size } = this.#unitAt(this.#wrote - CQ_STORE_UNIT_SIZE);
    if (!isPreBlank(pos, size)) this.maxPhysicOffset = pos + size;
  }

  /**
   * Adds the unit of queue offset `queueOffset`. A record below `maxPhysicOffset`, or a queue offset below the end,
   * has its unit already: nothing happens. One beyond the end is reported and still added at the end, as Apache does.
   */
  putMessagePositionInfo(pos: number, size: number, tagsCode: number, queueOffset: number): void {
    if (pos + size <= this.maxPhysicOffset) return;
    const expected = queueOffset * CQ_STORE_UNIT_SIZE;
    if (this.#files.length === 0 && this.#pendingSize === 0 && expected !== this.#wrote) this.#startAt(expected);
    const end = this.#wrote + this.#pendingSize;
    if (expected < end && queueOffset !== 0) return;
    if (expected !== end) {
      this.#parts.logger.warn("A consume queue's next unit is not where its message says", {
        topic: this.topic,
        queueId: this.queueId,
        queueOffset,
        wanted: end / CQ_STORE_UNIT_SIZE,
        physicOffset: pos,
      });
    }
    if (this.#pending.length < this.#pendingSize + CQ_STORE_UNIT_SIZE) this.#growPending();
    writeInt64(this.#pending, this.#pendingSize, pos);
    writeInt32(this.#pending, this.#pendingSize + 8, size);
    writeInt64(this.#pending, this.#pendingSize + 12, tagsCode);
    this.#pendingSize += CQ_STORE_UNIT_SIZE;
    this.maxPhysicOffset = pos + size;
  }

  #growPending(): void {
    const grown = new Uint8Array(Math.max(PENDING_UNITS_MIN * CQ_STORE_UNIT_SIZE, this.#pending.length * 2));
    grown.set(this.#pending.subarray(0, this.#pendingSize));
    this.#pending = grown;
  }

  /** An empty queue whose first message is not its first: the first file gets units that point nowhere in front. */
  #startAt(end: number): void {
    const { mappedFileSize } = this.#parts;
    const from = end - end % mappedFileSize;
    this.#createFile(from);
    const filler = new Uint8Array(end - from);
    for (let at = 0; at < filler.length; at += CQ_STORE_UNIT_SIZE) writeInt32(filler, at + 8, PRE_BLANK_SIZE);
    if (filler.length > 0) this.#parts.handles.get(this.#path(from)).writeAt(filler, 0);
    this.#wrote = this.#minLogicOffset = end;
    this.#flushed = from;
  }

  /** Whether units wait for {@link writePending}. */
  get hasPending(): boolean {
    return this.#pendingSize > 0;
  }

  /** Brings the units put to the files. After a failure the rest stays pending: call it again. */
  writePending(): void {
    let written = 0;
    while (written < this.#pendingSize) {
      if (this.#files.length === 0 || this.#wrote === this.#fileEnd()) this.#createFile(this.#wrote);
      const last = this.#files.at(-1)!;
      const count = Math.min(this.#pendingSize - written, last + this.#parts.mappedFileSize - this.#wrote);
      this.#parts.handles.get(this.#path(last)).writeAt(
        this.#pending.subarray(written, written + count),
        this.#wrote - last,
      );
      this.#wrote += count;
      this.#pending.copyWithin(0, count, this.#pendingSize);
      this.#pendingSize -= count;
      written = 0;
    }
    if (this.#pending.length > PENDING_UNITS_KEPT * CQ_STORE_UNIT_SIZE) this.#pending = new Uint8Array(0);
  }

  #createFile(from: number): void {
    if (this.#files.length === 0) this.#parts.fs.makeDirectory(this.#directory);
    this.#parts.handles.create(this.#path(from), this.#parts.mappedFileSize);
    this.#files.push(from);
  }

  /** Index of the first valid unit. Mirrors `getMinOffsetInQueue`. */
  get minOffsetInQueue(): number {
    return this.#minLogicOffset / CQ_STORE_UNIT_SIZE;
  }

  /** Index after the last unit that can be read. Mirrors `getMaxOffsetInQueue`. */
  get maxOffsetInQueue(): number {
    return this.#wrote / CQ_STORE_UNIT_SIZE;
  }

  /** Index after the last unit put, read or not: the queue offset of the next message. */
  get nextOffsetInQueue(): number {
    return (this.#wrote + this.#pendingSize) / CQ_STORE_UNIT_SIZE;
  }

  /** Index of the first unit of the file after the one that holds `queueOffset`. Mirrors `rollNextFile`. */
  rollNextFile(queueOffset: number): number {
    const perFile = this.#parts.mappedFileSize / CQ_STORE_UNIT_SIZE;
    return queueOffset + perFile - queueOffset % perFile;
  }

  /**
   * Reads units from `queueOffset` into `target`, up to the end of the file that holds it or of the queue; returns the
   * part filled, empty where there is nothing.
   */
  readUnits(queueOffset: number, target: Uint8Array): Uint8Array {
    const at = queueOffset * CQ_STORE_UNIT_SIZE;
    const file = this.#fileOf(at);
    if (file === undefined || at >= this.#wrote) return target.subarray(0, 0);
    const most = Math.min(target.length, file + this.#parts.mappedFileSize - at, this.#wrote - at);
    const bytes = target.subarray(0, most - most % CQ_STORE_UNIT_SIZE);
    const count = this.#parts.handles.get(this.#path(file)).readAt(bytes, at - file);
    return bytes.subarray(0, count - count % CQ_STORE_UNIT_SIZE);
  }

  /** The unit at `queueOffset`, null outside `[minOffsetInQueue, maxOffsetInQueue)`. */
  get(queueOffset: number): CqUnit | null {
    if (queueOffset < this.minOffsetInQueue || queueOffset >= this.maxOffsetInQueue) return null;
    return this.#unitAt(queueOffset * CQ_STORE_UNIT_SIZE);
  }

  #unitAt(at: number): CqUnit {
    const file = this.#fileOf(at);
    assert(file !== undefined, `No file of consume queue ${this.topic}/${this.queueId} holds byte ${at}`);
    const bytes = new Uint8Array(CQ_STORE_UNIT_SIZE);
    this.#parts.handles.get(this.#path(file)).readAt(bytes, at - file);
    return decodeCqUnit(bytes, 0, at / CQ_STORE_UNIT_SIZE);
  }

  /**
   * Index of the first valid unit for which `isBelow` is false, where it is true for a front part of the queue only;
   * `maxOffsetInQueue` when it is true for all.
   */
  search(isBelow: (unit: CqUnit) => boolean): number {
    return this.#search(this.minOffsetInQueue, isBelow);
  }

  #search(from: number, isBelow: (unit: CqUnit) => boolean): number {
    let low = from;
    let high = this.maxOffsetInQueue;
    while (low < high) {
      const middle = Math.floor((low + high) / 2);
      if (isBelow(this.#unitAt(middle * CQ_STORE_UNIT_SIZE))) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  /** Moves the begin to the first unit that points at or beyond `minPhyOffset`. Mirrors `correctMinOffset`. */
  correctMinOffset(minPhyOffset: number): void {
    const isGone = (unit: CqUnit) => isPreBlank(unit.pos, unit.size) || unit.pos < minPhyOffset;
    this.#minLogicOffset = this.#search((this.#files[0] ?? this.#wrote) / CQ_STORE_UNIT_SIZE, isGone) *
      CQ_STORE_UNIT_SIZE;
  }

  /** Removes files, never the last, whose last unit points below `minPhyOffset`. Returns how many. */
  deleteExpiredFile(minPhyOffset: number): number {
    let count = 0;
    while (this.#files.length > 1) {
      const last = this.#unitAt(this.#files[1]! - CQ_STORE_UNIT_SIZE);
      if (!isPreBlank(last.pos, last.size) && last.pos >= minPhyOffset) break;
      this.#removeFile(this.#files.shift()!);
      count++;
    }
    this.correctMinOffset(minPhyOffset);
    return count;
  }

  /** Cuts units of records at or beyond `phyOffset`. Mirrors `truncateDirtyLogicFiles`. */
  truncate(phyOffset: number): void {
    this.writePending();
    if (this.maxPhysicOffset <= phyOffset && this.maxPhysicOffset !== -1) return;
    const from = (this.#files[0] ?? this.#wrote) / CQ_STORE_UNIT_SIZE;
    const kept = this.#search(from, (unit) => isPreBlank(unit.pos, unit.size) || unit.pos < phyOffset);
    if (kept * CQ_STORE_UNIT_SIZE < this.#wrote) this.#cut(kept * CQ_STORE_UNIT_SIZE);
    this.#setMaxPhysicOffset();
  }

  /** Bytes that are in files and perhaps not on the disk. */
  get dirtyBytes(): number {
    return this.#wrote - this.#flushed;
  }

  /** Makes everything that was in files when called durable. */
  async flush(): Promise<void> {
    const end = this.#wrote;
    for (const from of this.#files) {
      if (from < end && from + this.#parts.mappedFileSize > this.#flushed) await this.#parts.handles.sync(this.#path(from));
    }
    this.#flushed = Math.max(this.#flushed, Math.min(end, this.#wrote));
  }

  /** {@link flush}, blocking. */
  flushBlocking(): void {
    for (const from of this.#files) {
      if (from + this.#parts.mappedFileSize > this.#flushed) this.#parts.handles.get(this.#path(from)).syncBlocking();
    }
    this.#flushed = this.#wrote;
  }

  /** Removes the queue's files and its directory. */
  destroy(): void {
    for (const from of this.#files.splice(0)) this.#removeFile(from);
    this.#parts.fs.remove(this.#directory);
    this.#wrote = this.#flushed = this.#minLogicOffset = this.#pendingSize = 0;
    this.maxPhysicOffset = -1;
  }

  #removeFile(from: number): void {
    this.#parts.handles.drop(this.#path(from));
    this.#parts.fs.remove(this.#path(from));
  }

  #fileEnd(): number {
    return this.#files.length === 0 ? 0 : this.#files.at(-1)! + this.#parts.mappedFileSize;
  }

  #fileOf(at: number): number | undefined {
    const first = this.#files[0];
    if (first === undefined || at < first) return undefined;
    return this.#files[Math.floor((at - first) / this.#parts.mappedFileSize)];
  }

  #path(from: number): string {
    return `${this.#directory}/${String(from).padStart(20, "0")}`;
  }
}

/** Whether a unit only fills the front of a queue. */
export function isPreBlank(pos: number, size: number): boolean {
  return pos === 0 && size === PRE_BLANK_SIZE;
}

/** Decodes the unit at `at`. */
export function decodeCqUnit(bytes: Uint8Array, at: number, queueOffset: number): CqUnit {
  return { queueOffset, pos: readInt64(bytes, at), size: readInt32(bytes, at + 8), tagsCode: readInt64(bytes, at + 12) };
}
