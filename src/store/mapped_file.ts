// One fixed-size file of a queue. Apache maps it into memory; here it is read and written by position, and the kernel's
// page cache is the only cache. Owns its name, size and write position; the queue owns its life, the log its content.

import { assert } from "../base/errors.ts";
import type { HandlePool } from "./handle_pool.ts";

/** Bytes read or zeroed at a time when a file is walked. */
const CHUNK_SIZE = 1024 * 1024;
/** Bytes whose place on the disk is asked for at a time: so much of it may be taken and not used yet. */
const RESERVE_SIZE = 64 * 1024 * 1024;
/** Bytes written once more at a time. */
const REWRITE_SIZE = 64 * 1024;
/** Larger reads cost the same through the kernel. */
const MAPPED_READ_SIZE = 64 * 1024;

/** The file name of an offset: 20 decimal digits. Mirrors `UtilAll.offset2FileName`. */
export function offsetToFileName(offset: number): string {
  return String(offset).padStart(20, "0");
}

/** The offset a file name stands for; null when the name is not of that form. */
export function fileNameToOffset(name: string): number | null {
  if (!/^\d{20}$/.test(name)) return null;
  const offset = Number(name);
  return Number.isSafeInteger(offset) ? offset : null;
}

/**
 * A file of a {@link MappedFileQueue}. Mirrors `DefaultMappedFile`; it is mapped to be read only, where a runtime can.
 * Positions are bytes.
 */
export class MappedFile {
  readonly path: string;
  /** Offset of its first byte in the queue's address space. */
  readonly fileFromOffset: number;
  readonly fileSize: number;
  /** End of what was written; `fileSize` when full. Moved by {@link append} and by the queue's owner on recovery. */
  wrotePosition: number;
  /** Bytes of disk it took when it was loaded: a hint to where its content ends, see `FileInfo.allocated`. */
  allocated = 0;
  /** Whether a loss of power can't make the file shorter any more. */
  sizeIsDurable = true;
  readonly #pool: HandlePool;
  /** Where {@link reserve} got to. */
  #reservedTo = 0;

  /** An existing file; counts as full until recovery finds its end, as in Apache. */
  constructor(pool: HandlePool, path: string, fileFromOffset: number, fileSize: number) {
    this.#pool = pool;
    this.path = path;
    this.fileFromOffset = fileFromOffset;
    this.fileSize = fileSize;
    this.wrotePosition = fileSize;
  }

  /** Makes the file at full size, sparse. Throws {@link IoError}; nothing is left behind then. */
  static create(pool: HandlePool, path: string, fileFromOffset: number, fileSize: number): MappedFile {
    const handle = pool.fs.open(path, "create");
    try {
      handle.truncate(fileSize);
    } catch (error) {
      handle.close();
      pool.fs.remove(path);
      throw error;
    }
    handle.close();
    const file = new MappedFile(pool, path, fileFromOffset, fileSize);
    file.wrotePosition = 0;
    file.sizeIsDurable = false;
    return file;
  }

  /** Brings a file that is too short to its size; the new bytes are zero. Throws {@link IoError}. */
  complete(): void {
    this.#pool.get(this.path).truncate(this.fileSize);
    this.sizeIsDurable = false;
  }

  get isFull(): boolean {
    return this.wrotePosition === this.fileSize;
  }

  /** Writes at the write position and moves it. Throws {@link IoError}; the position stays then. */
  append(bytes: Uint8Array): void {
    assert(this.wrotePosition + bytes.length <= this.fileSize, `Append past the end of "${this.path}"`);
    this.#pool.get(this.path).writeAt(bytes, this.wrotePosition);
    this.wrotePosition += bytes.length;
  }

  /** Has the place of the next `size` bytes, and of those that will follow, found on the disk; see `FileHandle.reserve`. */
  reserve(size: number): void {
    const end = this.wrotePosition + size;
    if (end <= this.#reservedTo) return;
    const length = Math.min(Math.max(RESERVE_SIZE, size), this.fileSize - this.wrotePosition);
    this.#pool.get(this.path).reserve(this.wrotePosition, length);
    this.#reservedTo = this.wrotePosition + length;
  }

  /** Writes anywhere in the file, without moving the write position. Throws {@link IoError}. */
  writeAt(bytes: Uint8Array, position: number): void {
    assert(position >= 0 && position + bytes.length <= this.fileSize, `Write past the end of "${this.path}"`);
    this.#pool.get(this.path).writeAt(bytes, position);
  }

  /** Fills `target` from `position`; returns the count, less only at the end of the file. Blocks. */
  readAt(target: Uint8Array, position: number): number {
    return this.#pool.get(this.path).readAt(target, position);
  }

  /** As {@link readAt}, for small reads of what most likely is in memory: less to pay where the file is mapped. */
  readHotAt(target: Uint8Array, position: number): number {
    const handle = this.#pool.get(this.path);
    const isRead = target.length <= MAPPED_READ_SIZE && handle.readMappedAt?.(target, position);
    return isRead ? target.length : handle.readAt(target, position);
  }

  /** As {@link readAt}, off the event loop. */
  readAtAsync(target: Uint8Array, position: number): Promise<number> {
    return this.#pool.use(this.path, (handle) => handle.readAtAsync(target, position));
  }

  /** Fills `target` if no disk is needed for it, as far as can be told; see `FileHandle.readCachedAt`. */
  readCachedAt(target: Uint8Array, position: number): boolean {
    return this.#pool.get(this.path).readCachedAt?.(target, position) ?? false;
  }

  /** Makes what was written durable. Throws {@link IoError}. */
  async sync(): Promise<void> {
    await this.#pool.use(this.path, (handle) => handle.sync());
    this.sizeIsDurable = true;
  }

  /** {@link sync}, blocking. */
  syncBlocking(): void {
    this.#pool.get(this.path).syncBlocking();
    this.sizeIsDurable = true;
  }

  /** Last modification, Unix ms; 0 when the file is gone. */
  modifiedMs(): number {
    return this.#pool.fs.stat(this.path)?.modifiedMs ?? 0;
  }

  /** See {@link FileHandle.holeFrom}. */
  holeFrom(position: number): number {
    return this.#pool.get(this.path).holeFrom(position);
  }

  /**
   * Makes every byte from `position`, before which all was written, to `end` zero. Reads first, but for holes, and writes
   * only where something stands, so the file stays sparse, and a second call writes nothing. Returns how many bytes were
   * in chunks that had to be cleared. Blocks; not durable until a sync.
   */
  zeroFrom(position: number, end = this.fileSize): number {
    end = Math.min(end, this.holeFrom(position));
    const chunk = new Uint8Array(Math.min(CHUNK_SIZE, end - position));
    let cleared = 0;
    while (position < end) {
      const part = chunk.subarray(0, Math.min(chunk.length, end - position));
      this.readAt(part, position);
      if (!isZero(part)) {
        part.fill(0);
        this.writeAt(part, position);
        cleared += part.length;
      }
      position += part.length;
    }
    return cleared;
  }

  /**
   * Writes what the file reads as once more, so that the next sync has to bring it to the disk; without `withZeros` not
   * where all is zero. Blocks. Throws {@link IoError}.
   */
  rewrite(withZeros: boolean): void {
    const chunk = new Uint8Array(Math.min(REWRITE_SIZE, this.fileSize));
    for (let position = 0; position < this.fileSize;) {
      const part = chunk.subarray(0, this.readAt(chunk, position));
      if (part.length === 0) break;
      if (withZeros || !isZero(part)) this.writeAt(part, position);
      position += part.length;
    }
    this.sizeIsDurable = false;
  }

  /** Closes and removes the file. */
  destroy(): void {
    this.#pool.close(this.path);
    this.#pool.fs.remove(this.path);
  }
}

/** Whether all bytes are zero. */
export function isZero(bytes: Uint8Array): boolean {
  let at = 0;
  const end = bytes.length;
  while (at < end && ((bytes.byteOffset + at) & 3) !== 0) if (bytes[at++] !== 0) return false;
  if (at === end) return true;
  const words = new Int32Array(bytes.buffer, bytes.byteOffset + at, (end - at) >> 2);
  for (let i = 0; i < words.length; i++) if (words[i] !== 0) return false;
  for (at += words.length * 4; at < end; at++) if (bytes[at] !== 0) return false;
  return true;
}
