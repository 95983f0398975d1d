// The directory `timerlog`: one unit per message that waits for its time, in the order of the timer topic's queue. Units of
// one slot of the wheel are chained backwards. Owns the files and their bytes; who is in which slot is TimerWheel's.
//
//   size 4 (52) | prevPos 8 | magic 4 | writeTime 8 | delay 4 | offsetPy 8 | sizePy 4 | hash of the topic 4 | 0: 8

import { readInt32, readInt64, writeInt32, writeInt64 } from "../../base/bytes.ts";
import { makeDurableDirectory } from "../../base/durable_directory.ts";
import type { Logger } from "../../base/logger.ts";
import type { FileSystem } from "../../runtime/runtime.ts";
import { HandlePool } from "../../store/handle_pool.ts";
import { MappedFileQueue } from "../../store/mapped_file_queue.ts";

/** Bytes of a unit. Mirrors `TimerLog.UNIT_SIZE`. */
export const TIMER_LOG_UNIT_SIZE = 52;
/** No unit. */
export const NO_POS = -1;

/** Bits of a unit's magic. Mirrors `TimerMessageStore.MAGIC_*`. */
export const TimerMagic = { DEFAULT: 1, ROLL: 2, DELETE: 4 } as const;

/** A unit of the log. Positions are bytes of the timer log, `offsetPy` of the commit log, times Unix ms. */
export interface TimerLogUnit {
  readonly pos: number;
  /** The unit of the same slot before it; {@link NO_POS} for the first. */
  readonly prevPos: number;
  /** {@link TimerMagic} bits. */
  readonly magic: number;
  /** When it was appended. */
  readonly writeTimeMs: number;
  /** Its slot. */
  readonly delayedTimeMs: number;
  readonly offsetPy: number;
  readonly sizePy: number;
  /** `String.hashCode` of the real topic. */
  readonly topicHash: number;
}

const BLANK_MAGIC_CODE = 0xcbd43194 | 0;
/** Ends a file: bytes left, 0, the magic. Mirrors `MIN_BLANK_LEN`. */
const BLANK_SIZE = 16;
/** Bytes read for one unit: those before it in its chain are often near. */
const BLOCK_SIZE = 16 * 1024;
const SCAN_SIZE = 1024 * 1024;
const PENDING_MAX = 64 * 1024;

/** Mirrors Apache's `TimerLog`. Methods throw {@link IoError}. */
export class TimerLog {
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #fileSize: number;
  readonly #pool: HandlePool;
  readonly #queue: MappedFileQueue;
  #pending = new Uint8Array(0);
  #pendingSize = 0;
  /** Bytes of the file read last, from `#blockFrom`. */
  #block = new Uint8Array(0);
  #blockFrom = 0;
  #directoryIsMade = false;

  /** `fileSize` is Apache's `mappedFileSizeTimerLog`. */
  constructor(parts: { fs: FileSystem; directory: string; fileSize: number; logger: Logger }) {
    this.#fs = parts.fs;
    this.#directory = parts.directory;
    this.#fileSize = parts.fileSize;
    this.#pool = new HandlePool(parts.fs, 16);
    this.#queue = new MappedFileQueue({
      pool: this.#pool,
      logger: parts.logger,
      directories: [parts.directory],
      mappedFileSize: parts.fileSize,
    });
  }

  /** First byte held. */
  get minPos(): number {
    return this.#queue.minOffset;
  }

  /** End of the last unit. */
  get maxPos(): number {
    return this.#queue.maxOffset + this.#pendingSize;
  }

  /**
   * Finds the files and the end of the units, and calls back for each whole one from `from` on: those below are known to
   * be whole. Throws {@link StoreError} for files of another size.
   */
  load(from: number, visit: (unit: TimerLogUnit) => void): void {
    if (this.#fs.stat(this.#directory) === null) return;
    this.#queue.load(false);
    this.#queue.completeFiles(0);
    const { files } = this.#queue;
    if (files.length === 0) return;
    let end = this.minPos;
    for (const file of files) {
      const fileEnd = file.fileFromOffset + this.#fileSize;
      if (fileEnd <= from && file !== files.at(-1)) continue;
      const inFile = from - file.fileFromOffset;
      const isInFile = inFile >= 0 && inFile < this.#fileSize && inFile % TIMER_LOG_UNIT_SIZE === 0;
      const scanned = this.#scan(file.fileFromOffset, isInFile ? inFile : 0, visit);
      end = scanned.end;
      if (!scanned.isFull) break;
    }
    this.truncate(end);
  }

  /** Calls back for each unit from `from` (a unit's position) to the end. Blocks. */
  walk(from: number, visit: (unit: TimerLogUnit) => void): void {
    for (const file of this.#queue.files) {
      const { fileFromOffset, wrotePosition } = file;
      if (fileFromOffset + wrotePosition <= from) continue;
      this.#scan(fileFromOffset, Math.max(0, from - fileFromOffset), visit);
    }
  }

  /** Walks one file's units from a position in it. */
  #scan(fileFrom: number, at: number, visit: (unit: TimerLogUnit) => void): { end: number; isFull: boolean } {
    const file = this.#queue.findMappedFileByOffset(fileFrom)!;
    const chunk = new Uint8Array(Math.min(SCAN_SIZE - SCAN_SIZE % TIMER_LOG_UNIT_SIZE, this.#fileSize));
    for (;;) {
      const count = file.readAt(chunk.subarray(0, Math.min(chunk.length, this.#fileSize - at)), at);
      for (let i = 0; i + TIMER_LOG_UNIT_SIZE <= count; i += TIMER_LOG_UNIT_SIZE) {
        if (isBlank(chunk, i)) return { end: fileFrom + this.#fileSize, isFull: true };
        const unit = decodeUnit(chunk, i, fileFrom + at + i);
        if (unit === null) return { end: fileFrom + at + i, isFull: false };
        visit(unit);
      }
      if (count < Math.min(TIMER_LOG_UNIT_SIZE, this.#fileSize - at)) return { end: fileFrom + at, isFull: false };
      at += count - count % TIMER_LOG_UNIT_SIZE;
      if (this.#fileSize - at >= TIMER_LOG_UNIT_SIZE) continue;
      // A file may end with a BLANK shorter than a unit.
      const rest = new Uint8Array(BLANK_SIZE);
      const isFull = file.readAt(rest, at) === BLANK_SIZE && isBlank(rest, 0);
      return { end: isFull ? fileFrom + this.#fileSize : fileFrom + at, isFull };
    }
  }

  /** Appends a unit; it is in the file after {@link writePending}. Returns its position. */
  append(unit: Omit<TimerLogUnit, "pos">): number {
    let file = this.#queue.lastFile;
    const left = file === null ? 0 : this.#fileSize - file.wrotePosition - this.#pendingSize;
    if (left < TIMER_LOG_UNIT_SIZE + BLANK_SIZE) {
      this.writePending();
      if (file !== null && !file.isFull) {
        const blank = new Uint8Array(BLANK_SIZE);
        writeInt32(blank, 0, left);
        writeInt32(blank, 12, BLANK_MAGIC_CODE);
        file.append(blank);
        file.wrotePosition = this.#fileSize;
      }
      this.#makeDirectory();
      file = this.#queue.getLastMappedFile(0);
    } else if (this.#pendingSize + TIMER_LOG_UNIT_SIZE > PENDING_MAX) {
      this.writePending();
    }
    const pos = this.maxPos;
    if (this.#pending.length === 0) this.#pending = new Uint8Array(PENDING_MAX);
    encodeUnit(this.#pending, this.#pendingSize, unit);
    this.#pendingSize += TIMER_LOG_UNIT_SIZE;
    return pos;
  }

  /** Brings appended units to their file. */
  writePending(): void {
    if (this.#pendingSize === 0) return;
    const bytes = this.#pending.subarray(0, this.#pendingSize);
    // A failed write leaves nothing pending: who appended does it again.
    this.#pendingSize = 0;
    this.#queue.lastFile!.append(bytes);
  }

  #makeDirectory(): void {
    if (this.#directoryIsMade) return;
    makeDurableDirectory(this.#fs, this.#directory);
    this.#directoryIsMade = true;
  }

  /** The unit at a position; null when there is none (any more). */
  async read(pos: number): Promise<TimerLogUnit | null> {
    const at = pos - this.#blockFrom;
    if (at >= 0 && at + TIMER_LOG_UNIT_SIZE <= this.#block.length) return decodeUnit(this.#block, at, pos);
    const file = this.#queue.findMappedFileByOffset(pos);
    if (file === null || pos + TIMER_LOG_UNIT_SIZE > this.#queue.maxOffset) return null;
    const end = pos - file.fileFromOffset + TIMER_LOG_UNIT_SIZE;
    const from = Math.max(0, end - BLOCK_SIZE);
    const block = new Uint8Array(end - from);
    if ((await file.readAtAsync(block, from)) < block.length) return null;
    this.#block = block;
    this.#blockFrom = file.fileFromOffset + from;
    return decodeUnit(block, block.length - TIMER_LOG_UNIT_SIZE, pos);
  }

  /** Where the last unit before `end` begins; null when there is none. */
  unitBefore(end: number): number | null {
    const file = this.#queue.findMappedFileByOffset(Math.max(0, end - 1));
    if (file === null || end <= this.minPos) return null;
    const perFile = Math.floor((this.#fileSize - BLANK_SIZE) / TIMER_LOG_UNIT_SIZE);
    const units = Math.min(Math.floor((end - file.fileFromOffset) / TIMER_LOG_UNIT_SIZE), perFile);
    return units === 0 ? null : file.fileFromOffset + (units - 1) * TIMER_LOG_UNIT_SIZE;
  }

  /**
   * Cuts what is behind `end`, and leaves zeros there, on the disk: a later start must not take old units for new ones.
   * Blocks.
   */
  truncate(end: number): void {
    this.#block = new Uint8Array(0);
    this.#pendingSize = 0;
    this.#queue.truncateDirtyFiles(end);
    const file = this.#queue.lastFile;
    if (file !== null && !file.isFull && file.zeroFrom(file.wrotePosition) > 0) file.syncBlocking();
    this.#queue.syncDirectories();
  }

  /** Removes everything. */
  destroy(): void {
    this.#block = new Uint8Array(0);
    this.#pendingSize = 0;
    this.#queue.destroy();
    this.#queue.syncDirectories();
  }

  /**
   * Removes files all of whose messages lie below `minOffset` of the commit log; never the last one. Returns how many.
   * Mirrors `deleteExpiredFileByOffsetForTimerLog`.
   */
  async deleteExpired(minOffset: number): Promise<number> {
    let count = 0;
    while (this.#queue.files.length > 1) {
      const last = this.unitBefore(this.#queue.files[1]!.fileFromOffset);
      const unit = last === null ? null : await this.read(last);
      if (unit === null || unit.offsetPy >= minOffset || !this.#queue.deleteFirstFile()) break;
      count++;
    }
    if (count > 0) this.#queue.syncDirectories();
    return count;
  }

  /** Makes what was written durable. */
  async flush(): Promise<void> {
    if (this.#queue.files.length > 0) await this.#queue.flush();
  }

  /** Closes the files. */
  close(): void {
    this.#pool.closeAll();
  }
}

function isBlank(bytes: Uint8Array, at: number): boolean {
  return readInt32(bytes, at + 12) === BLANK_MAGIC_CODE && readInt32(bytes, at) >= BLANK_SIZE;
}

function decodeUnit(bytes: Uint8Array, at: number, pos: number): TimerLogUnit | null {
  const magic = readInt32(bytes, at + 12);
  if (readInt32(bytes, at) !== TIMER_LOG_UNIT_SIZE || (magic | 0xf) !== 0xf) return null;
  // A loss of power may leave a unit's front only, which Apache takes for a whole one.
  if ((magic & TimerMagic.DEFAULT) === 0 || readInt32(bytes, at + 36) <= 0) return null;
  const writeTimeMs = readInt64(bytes, at + 16);
  return {
    pos,
    prevPos: readInt64(bytes, at + 4),
    magic,
    writeTimeMs,
    delayedTimeMs: writeTimeMs + readInt32(bytes, at + 24),
    offsetPy: readInt64(bytes, at + 28),
    sizePy: readInt32(bytes, at + 36),
    topicHash: readInt32(bytes, at + 40),
  };
}

function encodeUnit(bytes: Uint8Array, at: number, unit: Omit<TimerLogUnit, "pos">): void {
  writeInt32(bytes, at, TIMER_LOG_UNIT_SIZE);
  writeInt64(bytes, at + 4, unit.prevPos);
  writeInt32(bytes, at + 12, unit.magic);
  writeInt64(bytes, at + 16, unit.writeTimeMs);
  writeInt32(bytes, at + 24, unit.delayedTimeMs - unit.writeTimeMs);
  writeInt64(bytes, at + 28, unit.offsetPy);
  writeInt32(bytes, at + 36, unit.sizePy);
  writeInt32(bytes, at + 40, unit.topicHash);
  writeInt64(bytes, at + 44, 0);
}
