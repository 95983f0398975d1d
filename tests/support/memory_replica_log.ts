// An in-memory ReplicaLog for tests of the HA parts: real files' arithmetic (fixed size, BLANK at the end, no record
// across a boundary), a made-up record with Apache's first fields at Apache's places, and switches for what a disk does.
//
//   record: totalSize int32 | magic int32 | bodyCrc int32 | 16 bytes zero | physicalOffset int64 (at 28) | body
//   blank:  totalSize int32 | magic int32 | zeros up to the file's end

import { crc32 } from "node:zlib";
import { readInt32, readInt64, writeInt32, writeInt64 } from "../../src/base/bytes.ts";
import { assert } from "../../src/base/errors.ts";
import type { ReplicaAppendResult, ReplicaLog, ReplicaRejectReason } from "../../src/ha/replica_log.ts";

/** Apache's message magic, version 1. */
export const RECORD_MAGIC = 0xdaa320a7 | 0;
/** Apache's magic of the blank at a file's end. */
export const BLANK_MAGIC = 0xcbd43194 | 0;
/** Bytes before a record's body. */
export const RECORD_HEADER_SIZE = 36;
/** Bytes a BLANK needs; a record leaves room for one in its file. */
export const BLANK_SIZE = 8;

/** One whole record. */
export function makeRecord(physicalOffset: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(RECORD_HEADER_SIZE + body.length);
  writeInt32(bytes, 0, bytes.length);
  writeInt32(bytes, 4, RECORD_MAGIC);
  writeInt32(bytes, 8, crc32(body));
  writeInt64(bytes, 28, physicalOffset);
  bytes.set(body, RECORD_HEADER_SIZE);
  return bytes;
}

/** The in-memory log. `autoFlush` (true) makes what is written count as flushed at once. */
export class MemoryReplicaLog implements ReplicaLog {
  readonly mappedFileSize: number;
  minOffset = 0;
  maxOffset = 0;
  flushedOffset = 0;
  lastRecordOffset = -1;
  autoFlush = true;
  /** Reads below this offset answer through a promise that the test releases. */
  coldBelow = 0;
  /** Pending cold reads; call each to let it go on. */
  readonly pendingReads: (() => void)[] = [];
  /** Thrown by the next `appendReplica`, once. */
  appendError: Error | null = null;
  /** Thrown by the next `read`, once. */
  readError: Error | null = null;
  readonly setAside: string[] = [];
  #bytes = new Uint8Array(1 << 16);
  /** Offset of the byte at index 0 of `#bytes`. */
  #base = 0;
  #partial: Uint8Array = new Uint8Array(0);
  readonly #listeners = new Set<() => void>();
  #flushWaiters: { offset: number; resolve: () => void }[] = [];

  constructor(options: { mappedFileSize?: number } = {}) {
    this.mappedFileSize = options.mappedFileSize ?? 64 * 1024;
  }

  /** Puts one record as a master does, with a BLANK before it when the file is full; returns its offset. */
  put(body: Uint8Array | number): number {
    const content = typeof body === "number" ? new Uint8Array(body).fill(this.maxOffset & 0xff) : body;
    const size = RECORD_HEADER_SIZE + content.length;
    assert(size + BLANK_SIZE <= this.mappedFileSize, `Record of ${size} bytes does not fit a file`);
    const left = this.#left(this.maxOffset);
    if (size + BLANK_SIZE > left) {
      const blank = new Uint8Array(left);
      writeInt32(blank, 0, left);
      writeInt32(blank, 4, BLANK_MAGIC);
      this.#write(blank);
    }
    const offset = this.maxOffset;
    this.#write(makeRecord(offset, content));
    this.lastRecordOffset = offset;
    this.#grown();
    return offset;
  }

  /** Puts records until `maxOffset` is at least `offset`. */
  fillTo(offset: number, bodySize = 100): void {
    while (this.maxOffset < offset) this.put(bodySize);
  }

  /** Forgets everything below `offset` (files expired), or starts an empty log there. */
  startAt(offset: number): void {
    if (this.maxOffset === 0) this.#base = this.maxOffset = this.flushedOffset = offset;
    this.minOffset = offset;
  }

  /** Cuts the log, as a crash that lost its tail does. No listener hears of it. */
  cutTo(offset: number): void {
    this.maxOffset = offset;
    this.flushedOffset = Math.min(this.flushedOffset, offset);
    this.discardPartial();
    this.lastRecordOffset = this.#findLastRecord();
  }

  /** Moves `flushedOffset` to the end. */
  flush(): void {
    this.flushedOffset = this.maxOffset;
    this.#grown();
  }

  /** Turns one byte over. */
  flip(offset: number): void {
    this.#bytes[offset - this.#base]! ^= 0x40;
  }

  /** A copy of `[from, to)`. */
  slice(from = this.minOffset, to = this.maxOffset): Uint8Array {
    return this.#bytes.slice(from - this.#base, to - this.#base);
  }

  read(offset: number, target: Uint8Array): number | Promise<number> {
    if (this.readError !== null) {
      const error = this.readError;
      this.readError = null;
      throw error;
    }
    if (offset >= this.coldBelow) return this.#copy(offset, target);
    const { promise, resolve } = Promise.withResolvers<number>();
    this.pendingReads.push(() => resolve(this.#copy(offset, target)));
    return promise;
  }

  get replicaWriteOffset(): number {
    return this.maxOffset + this.#partial.length;
  }

  appendReplica(physicOffset: number, bytes: Uint8Array): ReplicaAppendResult {
    if (this.appendError !== null) {
      const error = this.appendError;
      this.appendError = null;
      throw error;
    }
    if (this.maxOffset === 0 && this.#partial.length === 0 && physicOffset > 0) {
      this.#base =
        this.maxOffset =
        this.flushedOffset =
        this.minOffset =
          physicOffset;
    }
    const wanted = this.replicaWriteOffset;
    assert(physicOffset === wanted, `Appended at ${physicOffset}, wanted ${wanted}`);
    const before = this.maxOffset;
    const all = new Uint8Array(this.#partial.length + bytes.length);
    all.set(this.#partial);
    all.set(bytes, this.#partial.length);
    let at = 0;
    let rejected: ReplicaAppendResult | null = null;
    while (all.length - at >= 8) {
      const check = this.#check(all.subarray(at), this.maxOffset);
      if (check === "partial") break;
      if (typeof check !== "number") {
        rejected = { type: "rejected", reason: check.reason, offset: this.maxOffset, detail: check.detail };
        break;
      }
      if (readInt32(all, at + 4) === RECORD_MAGIC) this.lastRecordOffset = this.maxOffset;
      this.#write(all.subarray(at, at + check));
      at += check;
    }
    this.#partial = rejected === null ? all.slice(at) : new Uint8Array(0);
    if (this.maxOffset > before) this.#grown();
    return rejected ?? { type: "appended" };
  }

  discardPartial(): void {
    this.#partial = new Uint8Array(0);
  }

  waitFlushed(offset: number): Promise<void> {
    if (this.flushedOffset >= offset) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#flushWaiters.push({ offset, resolve });
    return promise;
  }

  onGrow(listener: () => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  setTailAside(fromOffset: number): Promise<string> {
    this.setAside.push(`tail ${fromOffset}-${this.maxOffset}`);
    this.cutTo(fromOffset);
    return Promise.resolve(`tail-${fromOffset}`);
  }

  setLogAside(): Promise<string> {
    this.setAside.push(`log ${this.minOffset}-${this.maxOffset}`);
    this.#base =
      this.minOffset =
      this.maxOffset =
      this.flushedOffset =
        0;
    this.lastRecordOffset = -1;
    this.discardPartial();
    return Promise.resolve("log");
  }

  /** Size of the record or BLANK at the start of `bytes`, which stands at `offset`. */
  #check(bytes: Uint8Array, offset: number): number | "partial" | { reason: ReplicaRejectReason; detail: string } {
    const size = readInt32(bytes, 0);
    const magic = readInt32(bytes, 4);
    const left = this.#left(offset);
    if (magic === BLANK_MAGIC) {
      if (size !== left) return { reason: "fileSizeMismatch", detail: `BLANK of ${size} bytes, ${left} left in file` };
      return bytes.length < size ? "partial" : size;
    }
    if (magic !== RECORD_MAGIC) return { reason: "badRecord", detail: `Magic is ${magic}` };
    if (size < RECORD_HEADER_SIZE) return { reason: "badRecord", detail: `Size is ${size}` };
    if (size > left) return { reason: "fileSizeMismatch", detail: `Record of ${size} bytes, ${left} left in file` };
    if (bytes.length < size) return "partial";
    if (readInt64(bytes, 28) !== offset) {
      return { reason: "badPhysicalOffset", detail: `Record says ${readInt64(bytes, 28)}` };
    }
    if (crc32(bytes.subarray(RECORD_HEADER_SIZE, size)) !== readInt32(bytes, 8) >>> 0) {
      return { reason: "badCrc", detail: "Body CRC differs" };
    }
    return size;
  }

  #findLastRecord(): number {
    let last = -1;
    for (let at = this.minOffset; at < this.maxOffset;) {
      if (readInt32(this.#bytes, at - this.#base + 4) === RECORD_MAGIC) last = at;
      at += readInt32(this.#bytes, at - this.#base);
    }
    return last;
  }

  #left(offset: number): number {
    return this.mappedFileSize - offset % this.mappedFileSize;
  }

  #copy(offset: number, target: Uint8Array): number {
    if (offset < this.minOffset || offset >= this.maxOffset) return 0;
    const count = Math.min(target.length, this.maxOffset - offset, this.#left(offset));
    target.set(this.#bytes.subarray(offset - this.#base, offset - this.#base + count));
    return count;
  }

  #write(bytes: Uint8Array): void {
    const at = this.maxOffset - this.#base;
    if (at + bytes.length > this.#bytes.length) {
      const grown = new Uint8Array(Math.max(this.#bytes.length * 2, at + bytes.length));
      grown.set(this.#bytes);
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, at);
    this.maxOffset += bytes.length;
    if (this.autoFlush) this.flushedOffset = this.maxOffset;
  }

  #grown(): void {
    for (const listener of [...this.#listeners]) listener();
    const done = this.#flushWaiters.filter((waiter) => waiter.offset <= this.flushedOffset);
    this.#flushWaiters = this.#flushWaiters.filter((waiter) => waiter.offset > this.flushedOffset);
    for (const waiter of done) waiter.resolve();
  }
}
