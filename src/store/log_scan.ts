// Walks the records of a commit log's files in order, through one buffer, as recovery does and as the search for the
// last record does; and looks for records behind the end of such a walk. Blocks while it reads. Where a walk starts and
// what its end means is the caller's.

import { readInt32 } from "../base/bytes.ts";
import { isZero, type MappedFile } from "./mapped_file.ts";
import type { MappedFileQueue } from "./mapped_file_queue.ts";
import { MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordField } from "./message_codec.ts";
import { type RecordValidator, RecordVerdict } from "./record_validator.ts";

const WINDOW_SIZE = 4 * 1024 * 1024;

/**
 * Gets each whole record: `bytes[at, at + size)` is valid until it returns. A text says why it is no whole record after
 * all, and ends the walk before it.
 */
export type RecordVisitor = (bytes: Uint8Array, at: number, size: number, offset: number) => string | void;

/** Where a walk ended. */
export interface ScanResult {
  /** End of the last whole record or filler. */
  readonly end: number;
  /** Start of the last record that is not a filler; -1 when none was met. */
  readonly lastRecordOffset: number;
  /** Why what stands at `end` is no record; empty when the files (or the limit) ended there. */
  readonly stopDetail: string;
}

/**
 * Walks from `from`, a record's start, to the first thing that is no whole record, at most to `limit`. Throws
 * {@link IoError}.
 */
export function scanLog(
  queue: MappedFileQueue,
  from: number,
  limit: number,
  validator: RecordValidator,
  visit: RecordVisitor,
): ScanResult {
  const scan = new LogScan(validator, visit, from, limit, Math.min(WINDOW_SIZE, queue.mappedFileSize));
  for (;;) {
    const file = queue.findMappedFileByOffset(scan.end);
    if (file === null || scan.end >= limit || !scan.walkFile(file)) break;
  }
  return scan;
}

class LogScan implements ScanResult {
  end: number;
  lastRecordOffset = -1;
  stopDetail = "";
  readonly #limit: number;
  readonly #validator: RecordValidator;
  readonly #visit: RecordVisitor;
  #window: Uint8Array<ArrayBuffer>;

  constructor(validator: RecordValidator, visit: RecordVisitor, from: number, limit: number, windowSize: number) {
    this.#validator = validator;
    this.#visit = visit;
    this.end = from;
    this.#limit = limit;
    this.#window = new Uint8Array(windowSize);
  }

  /** Walks one file from `end`; true when it ended with a filler, so that the next file follows. */
  walkFile(file: MappedFile): boolean {
    const limit = Math.min(this.#limit, file.fileFromOffset + file.fileSize);
    while (this.end < limit) {
      const windowAt = this.end;
      const wanted = Math.min(this.#window.length, limit - windowAt);
      const count = file.readAt(this.#window.subarray(0, wanted), windowAt - file.fileFromOffset);
      const verdict = this.#walkWindow(windowAt, count);
      if (verdict === RecordVerdict.BLANK) return true;
      if (verdict === RecordVerdict.REJECT) return false;
      if (this.end > windowAt) continue;
      if (count === limit - windowAt) {
        this.stopDetail = `${count} bytes are left, too few for a record`;
        return false;
      }
      this.#window = new Uint8Array(this.#validator.size);
    }
    return false;
  }

  /** Walks the records in the window; ends at a filler, at a record that reaches past it, or at what is none. */
  #walkWindow(windowAt: number, count: number): RecordVerdict {
    for (;;) {
      const at = this.end - windowAt;
      const verdict = this.#validator.check(this.#window, at, count, this.end);
      if (verdict === RecordVerdict.OK) {
        const refusal = this.#visit(this.#window, at, this.#validator.size, this.end);
        if (typeof refusal === "string") return this.#stop(refusal);
        this.lastRecordOffset = this.end;
        this.end += this.#validator.size;
        continue;
      }
      if (verdict === RecordVerdict.REJECT) return this.#stop(this.#validator.detail);
      // A filler counts by its header: its rest may be longer than the window, and holds nothing.
      if (verdict === RecordVerdict.PARTIAL && this.#validator.isBlank) {
        this.end += this.#validator.size;
        return RecordVerdict.BLANK;
      }
      if (verdict === RecordVerdict.BLANK) this.end += this.#validator.size;
      return verdict;
    }
  }

  #stop(detail: string): RecordVerdict {
    this.stopDetail = detail;
    return RecordVerdict.REJECT;
  }
}

/** Start of the last record before `end` (a record's or filler's end) that is not a filler; -1 when there is none. */
export function findLastRecord(queue: MappedFileQueue, end: number, validator: RecordValidator): number {
  for (let limit = end; limit > queue.minOffset;) {
    const file = queue.findMappedFileByOffset(limit - 1);
    if (file === null) return -1;
    const { lastRecordOffset } = scanLog(queue, file.fileFromOffset, limit, validator, () => {});
    if (lastRecordOffset >= 0) return lastRecordOffset;
    limit = file.fileFromOffset;
  }
  return -1;
}

/** What stands behind the end of a walk, see {@link searchBehind}. */
export interface BehindEnd {
  /** Start of the first whole record; -1 for none. */
  readonly recordOffset: number;
  /** From here to the end of the file that holds the walk's end all is zero. Infinity when it was not looked at. */
  readonly dataEnd: number;
}

/**
 * Looks for a whole record that starts behind `end`, where a walk stopped, in this file and all later ones. A record
 * carries its own offset, so it is found wherever the damage before it ends.
 */
export function searchBehind(queue: MappedFileQueue, end: number, validator: RecordValidator): BehindEnd {
  let dataEnd = end;
  for (const file of queue.files) {
    if (file.fileFromOffset + file.fileSize <= end) continue;
    const holdsEnd = file.fileFromOffset <= end;
    const search = new RecordSearch(file, validator);
    const recordOffset = search.run(holdsEnd ? end + 1 : file.fileFromOffset);
    if (recordOffset >= 0) return { recordOffset, dataEnd: Infinity };
    if (holdsEnd) dataEnd = Math.max(end, search.dataEnd);
  }
  return { recordOffset: -1, dataEnd };
}

/** Bytes of a record up to and with its magic code. */
const MAGIC_END = RecordField.MAGIC + 4;

/** Finds the first whole record of a file by its magic code, whatever stands before it. */
class RecordSearch {
  /** End of the last part of the file, as far as it was read, that is not all zero. */
  dataEnd = 0;
  readonly #file: MappedFile;
  readonly #validator: RecordValidator;

  constructor(file: MappedFile, validator: RecordValidator) {
    this.#file = file;
    this.#validator = validator;
  }

  /** Start of the first whole record that starts at `from`, an offset of the log, or behind it; -1 for none. */
  run(from: number): number {
    const { fileFromOffset } = this.#file;
    // A log of a few kilobytes lies in a file of a gigabyte. What is known to be written ends before `from`.
    const end = fileFromOffset + this.#file.holeFrom(Math.max(0, from - 1 - fileFromOffset));
    const window = new Uint8Array(Math.min(WINDOW_SIZE, Math.max(0, end - from)));
    for (let at = from; at + MAGIC_END <= end;) {
      const bytes = window.subarray(0, this.#file.readAt(window, at - fileFromOffset));
      if (!isZero(bytes)) {
        this.dataEnd = at + bytes.length;
        const found = this.#searchWindow(bytes, at);
        if (found >= 0) return found;
      }
      // The next window begins with what may be the front of a record that this one cut off.
      at += Math.max(1, bytes.length - MAGIC_END + 1);
    }
    return -1;
  }

  #searchWindow(bytes: Uint8Array, windowAt: number): number {
    const firstByte = MESSAGE_MAGIC_CODE >>> 24;
    for (let at: number = RecordField.MAGIC;; at++) {
      at = bytes.indexOf(firstByte, at);
      if (at < 0 || at + 4 > bytes.length) return -1;
      const magic = readInt32(bytes, at);
      if (magic !== MESSAGE_MAGIC_CODE && magic !== MESSAGE_MAGIC_CODE_V2) continue;
      const start = at - RecordField.MAGIC;
      if (this.#isWhole(bytes, start, windowAt + start)) return windowAt + start;
    }
  }

  #isWhole(bytes: Uint8Array, at: number, offset: number): boolean {
    const verdict = this.#validator.check(bytes, at, bytes.length, offset);
    if (verdict !== RecordVerdict.PARTIAL) return verdict === RecordVerdict.OK;
    const record = new Uint8Array(this.#validator.size);
    const count = this.#file.readAt(record, offset - this.#file.fileFromOffset);
    return this.#validator.check(record, 0, count, offset) === RecordVerdict.OK;
  }
}
