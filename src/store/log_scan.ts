// Walks the records of a commit log's files in order, through one buffer, as recovery does and as the search for the
// last record does. Blocks while it reads. Where the walk starts and what its end means is the caller's.

import type { MappedFile } from "./mapped_file.ts";
import type { MappedFileQueue } from "./mapped_file_queue.ts";
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
  const scan = new LogScan(validator, visit, from, limit);
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
  #window: Uint8Array<ArrayBuffer> = new Uint8Array(WINDOW_SIZE);

  constructor(validator: RecordValidator, visit: RecordVisitor, from: number, limit: number) {
    this.#validator = validator;
    this.#visit = visit;
    this.end = from;
    this.#limit = limit;
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
