// The file `timerwheel`: a ring of slots, one per unit of time over two weeks, each pointing at the last unit of its chain
// in the timer log. In memory is one bit per slot, so that the next slot with messages is found at once. Owns the file;
// what a slot's messages are is TimerLog's.
//
//   time / precision 8 | firstPos 8 | lastPos 8 | num 4 | magic 4       slot of time t at (t / precision) mod 1209600

import { readInt32, readInt64, writeInt32, writeInt64 } from "../../base/bytes.ts";
import { StoreError } from "../../base/errors.ts";
import type { FileHandle, FileSystem } from "../../runtime/runtime.ts";

/** Slots of the ring: twice `TIMER_WHEEL_TTL_DAY` days of seconds. */
export const TIMER_WHEEL_SLOTS = 2 * 7 * 24 * 3600;
const SLOT_SIZE = 32;
const FILE_SIZE = TIMER_WHEEL_SLOTS * SLOT_SIZE;
/** Bytes read at once while loading; a multiple of a slot. */
const LOAD_SIZE = 1024 * 1024;

/** A slot with messages. Positions are bytes of the timer log. */
export interface TimerSlot {
  readonly firstPos: number;
  readonly lastPos: number;
  /** Messages in it; those that call others back count as -1. */
  readonly num: number;
}

/** Mirrors Apache's `TimerWheel`. Times are Unix ms, rounded down to the precision. Methods throw {@link IoError}. */
export class TimerWheel {
  readonly precisionMs: number;
  readonly #fs: FileSystem;
  readonly #path: string;
  /** A bit per slot; none before the first message. */
  #bits: Uint32Array = new Uint32Array(0);
  readonly #slot = new Uint8Array(SLOT_SIZE);
  #handle: FileHandle | null = null;
  #isNameDurable = false;
  #isDirty = false;

  constructor(parts: { fs: FileSystem; path: string; precisionMs: number }) {
    this.#fs = parts.fs;
    this.#path = parts.path;
    this.precisionMs = parts.precisionMs;
  }

  /**
   * Reads the file, if there is one, and calls back for each slot at `from` or later. Throws {@link StoreError} for a file
   * of another size.
   */
  async load(from: number, visit: (timeMs: number, slot: TimerSlot) => void): Promise<void> {
    const info = this.#fs.stat(this.#path);
    if (info === null) return;
    this.#open();
    if (info.size !== 0 && info.size !== FILE_SIZE) {
      throw new StoreError(`File "${this.#path}" has ${info.size} bytes, wanted ${FILE_SIZE}`);
    }
    this.#handle!.truncate(FILE_SIZE);
    const chunk = new Uint8Array(LOAD_SIZE);
    for (let index = 0; index < TIMER_WHEEL_SLOTS;) {
      const count = await this.#handle!.readAtAsync(chunk, index * SLOT_SIZE);
      for (let at = 0; at + SLOT_SIZE <= count; at += SLOT_SIZE, index++) {
        const timeMs = readInt64(chunk, at) * this.precisionMs;
        if (timeMs <= 0 || timeMs < from || this.#indexOf(timeMs) !== index) continue;
        this.#setBit(index);
        visit(timeMs, decodeSlot(chunk, at));
      }
      if (count < SLOT_SIZE) break;
    }
  }

  /** The slot of a time; null when it is empty, or holds messages of another time. */
  slot(timeMs: number): TimerSlot | null {
    return this.#holds(timeMs) ? decodeSlot(this.#slot, 0) : null;
  }

  /** Whether the place of a time is taken by a later one: the ring is too short for both. */
  isTakenByLater(timeMs: number): boolean {
    return this.#read(timeMs) > timeMs;
  }

  /** Sets a slot. */
  put(timeMs: number, slot: TimerSlot): void {
    this.#create();
    const index = this.#indexOf(timeMs);
    writeInt64(this.#slot, 0, this.#numberOf(timeMs));
    writeInt64(this.#slot, 8, slot.firstPos);
    writeInt64(this.#slot, 16, slot.lastPos);
    writeInt32(this.#slot, 24, slot.num);
    writeInt32(this.#slot, 28, 0);
    this.#handle!.writeAt(this.#slot, index * SLOT_SIZE);
    this.#isDirty = true;
    this.#setBit(index);
  }

  /** Empties a slot. */
  clear(timeMs: number): void {
    if (!this.#holds(timeMs)) return;
    const index = this.#indexOf(timeMs);
    this.#handle!.writeAt(this.#slot.fill(0), index * SLOT_SIZE);
    this.#isDirty = true;
    this.#clearBit(index);
  }

  /** A slot is delivered: {@link nextTime} passes it. The file keeps it. */
  pass(timeMs: number): void {
    this.#clearBit(this.#indexOf(timeMs));
  }

  /** Undoes {@link pass} for what the file holds of `[from, to)`. */
  recall(from: number, to: number): void {
    for (let timeMs = from; timeMs < to; timeMs += this.precisionMs) {
      if (this.#holds(timeMs)) this.#setBit(this.#indexOf(timeMs));
    }
  }

  /** The first time at `from` or later, less than two weeks ahead, whose slot has messages; null when there is none. */
  nextTime(from: number): number | null {
    if (this.#bits.length === 0) return null;
    const start = Math.ceil(from / this.precisionMs);
    for (let ahead = 0; ahead < TIMER_WHEEL_SLOTS;) {
      const index = (start + ahead) % TIMER_WHEEL_SLOTS;
      const word = this.#bits[index >>> 5]! >>> (index & 31);
      if (word === 0) {
        ahead += 32 - (index & 31);
        continue;
      }
      ahead += 31 - Math.clz32(word & -word);
      if (ahead >= TIMER_WHEEL_SLOTS) break;
      const timeMs = (start + ahead) * this.precisionMs;
      const stored = this.#read(timeMs);
      if (stored === timeMs) return timeMs;
      // Passed long ago; one that comes later keeps its bit.
      if (stored < from) this.#clearBit((start + ahead) % TIMER_WHEEL_SLOTS);
      ahead++;
    }
    return null;
  }

  /** The earliest time at `from` or later whose slot has messages, however far ahead; null when there is none. */
  earliest(from: number): number | null {
    let earliest: number | null = null;
    if (this.#bits.length === 0) return earliest;
    for (let index = 0; index < TIMER_WHEEL_SLOTS; index++) {
      if (index % 32 === 0 && this.#bits[index >>> 5] === 0) {
        index += 31;
        continue;
      }
      if ((this.#bits[index >>> 5]! & (1 << (index & 31))) === 0) continue;
      const timeMs = this.#read(index * this.precisionMs);
      if (timeMs >= from && (earliest === null || timeMs < earliest)) earliest = timeMs;
    }
    return earliest;
  }

  /** Makes what was put durable. */
  async sync(): Promise<void> {
    if (!this.#isDirty || this.#handle === null) return;
    this.#isDirty = false;
    await this.#handle.sync();
    if (this.#isNameDurable) return;
    this.#fs.syncDirectory(this.#directory);
    this.#isNameDurable = true;
  }

  /** Removes the file. */
  destroy(): void {
    this.close();
    this.#bits = new Uint32Array(0);
    this.#fs.remove(this.#path);
    this.#fs.syncDirectory(this.#directory);
    this.#isNameDurable = this.#isDirty = false;
  }

  /** Closes the file. */
  close(): void {
    this.#handle?.close();
    this.#handle = null;
  }

  get #directory(): string {
    return this.#path.slice(0, this.#path.lastIndexOf("/"));
  }

  /** A damaged unit may say any time. */
  #numberOf(timeMs: number): number {
    return Math.max(0, Math.floor(timeMs / this.precisionMs));
  }

  #indexOf(timeMs: number): number {
    return this.#numberOf(timeMs) % TIMER_WHEEL_SLOTS;
  }

  /** Whether the place of a time holds that time; its bytes are in `#slot` then. */
  #holds(timeMs: number): boolean {
    return this.#read(timeMs) === this.#numberOf(timeMs) * this.precisionMs && timeMs > 0;
  }

  /** Reads the place of a time; returns the time it holds, 0 for none. */
  #read(timeMs: number): number {
    if (this.#handle === null) return 0;
    this.#handle.readAt(this.#slot, this.#indexOf(timeMs) * SLOT_SIZE);
    return readInt64(this.#slot, 0) * this.precisionMs;
  }

  #open(): void {
    this.#handle ??= this.#fs.open(this.#path, "create");
  }

  #create(): void {
    if (this.#handle !== null) return;
    this.#open();
    this.#handle!.truncate(FILE_SIZE);
  }

  #setBit(index: number): void {
    if (this.#bits.length === 0) this.#bits = new Uint32Array(TIMER_WHEEL_SLOTS / 32);
    this.#bits[index >>> 5]! |= 1 << (index & 31);
  }

  #clearBit(index: number): void {
    if (this.#bits.length > 0) this.#bits[index >>> 5]! &= ~(1 << (index & 31));
  }
}

function decodeSlot(bytes: Uint8Array, at: number): TimerSlot {
  return { firstPos: readInt64(bytes, at + 8), lastPos: readInt64(bytes, at + 16), num: readInt32(bytes, at + 24) };
}
