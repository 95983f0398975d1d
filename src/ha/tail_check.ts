// The comparison of a slave's own bytes with those of its master: what the two must share before the slave may say
// that it holds anything, and, for `--resync`, where they parted. It reads the log and counts positions; what follows
// from a difference is decided by HAClient, and the cutting is done by the driver.

import { assert, IoError } from "../base/errors.ts";
import { readInt32 } from "../base/bytes.ts";
import type { ReplicaLog } from "./replica_log.ts";
import type { MasterRange } from "./start_offset.ts";

const BLOCK_SIZE = 64 * 1024;

/** Progress through `[from, end)`, the slave's own bytes that the master must send alike. */
export class TailCheck {
  readonly from: number;
  readonly end: number;
  /** First byte not compared yet. */
  position: number;
  /** First byte that differs; -1 while none does. */
  difference = -1;

  constructor(from: number, end: number) {
    assert(from <= end, `TailCheck from ${from} to ${end}`);
    this.from = from;
    this.end = end;
    this.position = from;
  }

  /** Whether everything was compared and is equal. */
  get passed(): boolean {
    return this.position === this.end;
  }

  /** How many leading bytes of a chunk of `length` at `position` are to be compared; the rest is new. */
  share(length: number): number {
    return Math.min(length, this.end - this.position);
  }

  /** Takes the result for `length` bytes: the index of the first that differs, or -1. */
  compared(length: number, differsAt: number): void {
    if (differsAt >= 0) this.difference = this.position + differsAt;
    else this.position += length;
  }
}

/** Index of the first byte that differs within the first `length`, or -1. */
export function firstDifference(a: Uint8Array, b: Uint8Array, length: number): number {
  for (let i = 0; i < length; i++) if (a[i] !== b[i]) return i;
  return -1;
}

/**
 * Compares `bytes` with the log at `offset` (all of it held): the index of the first difference, or -1. Answers at once
 * while the log's bytes are at hand, else by a promise; `bytes` are lent until then. Throws {@link IoError} when the
 * log can't be read there, or no longer holds it.
 */
export function compareWithLog(
  log: Pick<ReplicaLog, "read">,
  offset: number,
  bytes: Uint8Array,
): number | Promise<number> {
  const own = new Uint8Array(Math.min(bytes.length, BLOCK_SIZE));
  const from = (at: number): number | Promise<number> => {
    while (at < bytes.length) {
      const target = own.subarray(0, Math.min(own.length, bytes.length - at));
      const count = log.read(offset + at, target);
      if (typeof count !== "number") {
        const start = at;
        return count.then((read) => judge(start, read) ?? from(start + read));
      }
      const result = judge(at, count);
      if (result !== null) return result;
      at += count;
    }
    return -1;
  };
  const judge = (at: number, count: number): number | null => {
    // Its file expired meanwhile; the next attempt chooses another place.
    if (count === 0) {
      throw new IoError("notFound", `Own log no longer holds byte ${offset + at}, which was to be compared`);
    }
    const index = firstDifference(own, bytes.subarray(at), count);
    return index < 0 ? null : at + index;
  };
  return from(0);
}

/**
 * Start of the record (or BLANK) of our own log that holds the byte at `offset`; `from` is the start of a record at or
 * before it. Walks sizes only: the log's records were checked when they were stored. Throws {@link IoError} as above, and
 * where the disk has altered a size to what none can be.
 */
export async function recordStartAt(log: Pick<ReplicaLog, "read">, from: number, offset: number): Promise<number> {
  const block = new Uint8Array(BLOCK_SIZE);
  let blockStart = 0;
  let blockSize = 0;
  let start = from;
  while (true) {
    if (start < blockStart || start + 4 > blockStart + blockSize) {
      blockStart = start;
      blockSize = await log.read(start, block);
      if (blockSize < 4) throw new IoError("notFound", `Own log holds ${blockSize} bytes at ${start}, wanted a record`);
    }
    const size = readInt32(block, start - blockStart);
    if (size <= 0) throw new IoError("other", `Own log is damaged: its record at ${start} has size ${size}`);
    if (start + size > offset) return start;
    start += size;
  }
}

/**
 * Where to compare next when our log and the master's share nothing from `from` on: the start of the file before it
 * (the record at a file's start tells whether the logs agree that far), within what both hold. Null when there is no
 * such place: the logs share nothing that can be seen.
 */
export function previousProbe(
  log: Pick<ReplicaLog, "minOffset" | "mappedFileSize">,
  from: number,
  range: MasterRange | null,
): number | null {
  const end = range === null ? from : Math.min(from, range.maxOffset);
  const masterMin = range === null ? 0 : Math.max(range.minOffset, 0);
  if (end <= log.minOffset || end <= masterMin) return null;
  const fileStart = Math.floor((end - 1) / log.mappedFileSize) * log.mappedFileSize;
  const probe = Math.max(fileStart, log.minOffset);
  return probe >= masterMin ? probe : null;
}
