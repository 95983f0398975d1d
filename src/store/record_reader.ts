// Records of the log for pulls: many of them into one buffer with as few reads as possible, or one after another through a
// window, for who must look into them. It reads and copies; which records, and whether they are whole, is PullReader's.

import { takeBuffer } from "../base/buffer_pool.ts";
import { readInt32 } from "../base/bytes.ts";
import type { CommitLog } from "./commit_log.ts";
import {
  bodyLengthPosition,
  MESSAGE_MAGIC_CODE,
  MESSAGE_MAGIC_CODE_V2,
  RecordField,
  recordProperties,
} from "./message_codec.ts";

/** Where records stand in the log: starts and bytes, one by one. */
export interface RecordPlaces {
  readonly positions: readonly number[];
  readonly sizes: readonly number[];
}

/** What was read. */
export interface ReadRecords {
  /** The records, back to back; zeros where one could not be read whole. To be given back to the pool of buffers. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  /** false: the log no longer holds all of them. */
  readonly isWhole: boolean;
}

/**
 * Bytes between two records that are read along rather than the records apart: what another read costs, which is a
 * microsecond where the page cache surely holds them, and much more off the event loop.
 */
const HOT_GAP_MAX = 4 * 1024;
const COLD_GAP_MAX = 64 * 1024;
/** Bytes of one read that has gaps. */
const SPAN_MAX = 512 * 1024;
/** Bytes of a {@link RecordWindow}. */
const WINDOW_SIZE = 64 * 1024;
/** Holds the fields in front of the body, whatever the hosts. */
const RECORD_FRONT_SIZE = 128;

type Log = Pick<CommitLog, "read" | "readCached" | "readRecord" | "isHot" | "mappedFileSize">;

/** Reads records whole and side by side. Methods throw {@link IoError}. */
export class RecordReader {
  readonly #log: Log;
  /** For reads with gaps that end before the next one. */
  #scratch = new Uint8Array(0);

  constructor(log: Log) {
    this.#log = log;
  }

  /** The records of `bytes` bytes in all: at once where the page cache holds them. */
  read(places: RecordPlaces, bytes: number): ReadRecords | Promise<ReadRecords> {
    const target = takeBuffer(bytes);
    const { positions } = places;
    if (!this.#log.isHot(positions[0]!) && this.#readCached(places, target)) return { bytes: target, isWhole: true };
    let isWhole = true;
    let pending: Promise<boolean>[] | null = null;
    for (let from = 0, at = 0; from < positions.length;) {
      const run = this.#runFrom(places, from, this.#log.isHot(positions[from]!) ? HOT_GAP_MAX : COLD_GAP_MAX);
      let read: boolean | Promise<boolean>;
      try {
        read = this.#readRun(places, from, run, target.subarray(at, at + run.bytes));
      } catch (error) {
        // Whoever waits for all of them hears of the others' failures, too; unheard, one would end the process.
        if (pending === null) throw error;
        read = Promise.reject(error);
      }
      if (read instanceof Promise) (pending ??= []).push(read);
      else if (!read) isWhole = false;
      from = run.to;
      at += run.bytes;
    }
    if (pending === null) return { bytes: target, isWhole };
    return Promise.all(pending).then((done) => ({ bytes: target, isWhole: isWhole && done.every((one) => one) }));
  }

  /** Whether the page cache turned out to hold all of them, which are read then; else `target` is worth nothing. */
  #readCached(places: RecordPlaces, target: Uint8Array): boolean {
    for (let from = 0, at = 0; from < places.positions.length;) {
      const run = this.#runFrom(places, from, HOT_GAP_MAX);
      const to = target.subarray(at, at + run.bytes);
      const source = run.span > run.bytes ? this.#spanBuffer(run.span, true) : to;
      if (!this.#log.readCached(places.positions[from]!, source)) return false;
      if (source !== to) copyRecords(places, from, run.to, source, to);
      from = run.to;
      at += run.bytes;
    }
    return true;
  }

  /** Records from the `from`th that one read can bring: in order, near one another, in one file of the log. */
  #runFrom({ positions, sizes }: RecordPlaces, from: number, gapMax: number): Run {
    const start = positions[from]!;
    const { mappedFileSize } = this.#log;
    const fileEnd = start - start % mappedFileSize + mappedFileSize;
    let end = start + sizes[from]!;
    let bytes = sizes[from]!;
    let to = from + 1;
    for (; to < positions.length; to++) {
      const gap = positions[to]! - end;
      const next = positions[to]! + sizes[to]!;
      const hasGaps = gap > 0 || bytes < end - start;
      if (gap < 0 || gap > gapMax || next > fileEnd || (hasGaps && next - start > SPAN_MAX)) break;
      end = next;
      bytes += sizes[to]!;
    }
    return { to, bytes, span: end - start };
  }

  #readRun(places: RecordPlaces, from: number, run: Run, target: Uint8Array): boolean | Promise<boolean> {
    const start = places.positions[from]!;
    const hasGaps = run.span > run.bytes;
    const isHot = this.#log.isHot(start);
    const source = hasGaps ? this.#spanBuffer(run.span, isHot) : target;
    const finish = (count: number): boolean => {
      const isWhole = count === run.span;
      // What somebody else's pull left in the buffer must not pass for a record.
      if (!isWhole) target.fill(0, hasGaps ? 0 : count);
      if (hasGaps) copyRecords(places, from, run.to, source.subarray(0, count), target);
      return isWhole;
    };
    const count = this.#log.read(start, source);
    return count instanceof Promise ? count.then(finish) : finish(count);
  }

  #spanBuffer(size: number, isShared: boolean): Uint8Array {
    if (!isShared) return new Uint8Array(size);
    if (this.#scratch.length < size) this.#scratch = new Uint8Array(Math.max(size, 2 * this.#scratch.length));
    return this.#scratch.subarray(0, size);
  }
}

interface Run {
  /** Index after its last record. */
  readonly to: number;
  /** Of its records. */
  readonly bytes: number;
  /** From the first one's start to the last one's end. */
  readonly span: number;
}

/** Copies the records that `source`, which begins with the `from`th, holds whole. */
function copyRecords(
  { positions, sizes }: RecordPlaces,
  from: number,
  to: number,
  source: Uint8Array,
  target: Uint8Array,
): void {
  const start = positions[from]!;
  for (let index = from, at = 0; index < to; at += sizes[index]!, index++) {
    const begin = positions[index]! - start;
    const end = begin + sizes[index]!;
    if (end <= source.length) target.set(source.subarray(begin, end), at);
  }
}

/** A record that {@link RecordWindow} looked at. */
export interface WindowRecord {
  /** Its first bytes, or all of it: valid until the next one is looked at. */
  readonly front: Uint8Array;
  readonly properties: ReadonlyMap<string, string>;
}

/** Goes through records in the order of the log; of a large one it reads no body. One pull's. Throws {@link IoError}. */
export class RecordWindow {
  readonly #log: Log;
  #bytes = new Uint8Array(0);
  #from = 0;
  #size = 0;

  constructor(log: Log) {
    this.#log = log;
  }

  /** The record of `size` bytes at `pos`; null when the log does not hold it. What it holds is not checked. */
  look(pos: number, size: number): WindowRecord | null | Promise<WindowRecord | null> {
    const isHeld = pos >= this.#from && pos + size <= this.#from + this.#size;
    if (isHeld) return this.#record(pos, size);
    if (size > WINDOW_SIZE) return this.#lookLarge(pos, size);
    if (this.#bytes.length === 0) this.#bytes = new Uint8Array(WINDOW_SIZE);
    this.#size = 0;
    const count = this.#log.read(pos, this.#bytes);
    return count instanceof Promise
      ? count.then((done) => this.#moved(pos, size, done))
      : this.#moved(pos, size, count);
  }

  #moved(pos: number, size: number, count: number): WindowRecord | null {
    this.#from = pos;
    this.#size = count;
    return size <= count ? this.#record(pos, size) : null;
  }

  #record(pos: number, size: number): WindowRecord {
    const front = this.#bytes.subarray(pos - this.#from, pos - this.#from + size);
    return { front, properties: hasMagic(front) ? recordProperties(front) : NO_PROPERTIES };
  }

  /** Its front and what follows the body, put together as a record whose body is empty. */
  async #lookLarge(pos: number, size: number): Promise<WindowRecord | null> {
    const front = new Uint8Array(RECORD_FRONT_SIZE);
    if (await this.#log.read(pos, front) < front.length) return null;
    const bodyAt = bodyLengthPosition(readInt32(front, RecordField.SYS_FLAG)) + 4;
    const bodyEnd = bodyAt + readInt32(front, bodyAt - 4);
    if (!hasMagic(front) || bodyEnd < bodyAt || bodyEnd >= size) return { front, properties: NO_PROPERTIES };
    const rest = new Uint8Array(size - bodyEnd);
    if (await this.#log.read(pos + bodyEnd, rest) < rest.length) return null;
    const bodiless = new Uint8Array(bodyAt + rest.length);
    bodiless.set(front.subarray(0, bodyAt - 4));
    bodiless.set(rest, bodyAt);
    return { front, properties: recordProperties(bodiless) };
  }
}

const NO_PROPERTIES: ReadonlyMap<string, string> = new Map();

function hasMagic(record: Uint8Array): boolean {
  const magic = readInt32(record, RecordField.MAGIC);
  return magic === MESSAGE_MAGIC_CODE || magic === MESSAGE_MAGIC_CODE_V2;
}
