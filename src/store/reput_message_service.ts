// Dispatch: follows the log's growth and hands every record to the consume queues and the index, in slices, so that the
// event loop is never held long. Woken by growth and never polling. It owns how far dispatch is; the log, the queues and
// the index own their bytes. MessageStore drives its life.
//
//   log  |--------------------------------------------------------------|
//        min        indexFrom (only after a crash)      reputFrom     confirmOffset

import { type Deferred, deferred } from "../base/async.ts";
import { readInt32 } from "../base/bytes.ts";
import { IoError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { Clock, Timer } from "../runtime/runtime.ts";
import { BLANK_MAGIC_CODE, MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordField } from "./message_codec.ts";
import type { RecordDispatcher } from "./record_dispatcher.ts";

/** Most bytes read and dispatched at once; a larger record is a slice of its own. */
const SLICE_SIZE = 512 * 1024;
/** A turn of the event loop takes slices for about this long, ms, and no more than so many. */
const TURN_MS = 1;
const TURN_SLICES_MAX = 4;
/** Where the log stands still meanwhile nobody's put waits for a turn's end: four times as much of both. */
const STILL_FACTOR = 4;
/** A log that grows so fast, bytes per ms, is being filled by a master... */
const FAST_GROWTH = 100 * 1024;
/** ...and for so long after it did, ms: dispatch takes one slice a turn then... */
const FLOOD_MS = 25;
/** ...until it is so far behind: half a second's work, and little enough to be still in the page cache. */
const BEHIND_MAX = 1024 * 1024 * 1024;
const RECORD_SIZE_MIN = 91;
const RETRY_MS = 1000;
/** Apache gives up on a consume queue after this many tries. */
const RETRIES_MAX = 30;

/** What dispatch needs of the log. */
export interface ReputLog {
  readonly minOffset: number;
  /** Dispatch goes up to here, always the end of a record. */
  readonly confirmOffset: number;
  readonly mappedFileSize: number;
  /** As `ReplicaLog.read`. */
  read(offset: number, target: Uint8Array): number | Promise<number>;
}

/** What dispatch is made of. */
export interface ReputParts {
  readonly log: ReputLog;
  readonly dispatcher: RecordDispatcher;
  readonly clock: Clock;
  readonly logger: Logger;
  /** Called after each slice: its messages can be read now. */
  readonly onDispatched: () => void;
  /**
   * How long dispatch rests between two turns while it keeps up, or lets a flood pass, and nobody waits for it, ms;
   * absent: not at all. On a slave every turn is one that the next ack may have to wait for, so few large turns beat
   * many small ones.
   */
  readonly restMs?: () => number;
  /** Called for an error that is not the disk's: a bug of ours. */
  readonly onFatal: (error: unknown) => void;
}

/** Mirrors Apache's `ReputMessageService`. */
export class ReputMessageService {
  /** Everything below is dispatched. */
  reputFromOffset = 0;
  /** Why dispatch can't go on, after {@link RETRIES_MAX} tries; puts are refused then. */
  writeError: string | null = null;

  readonly #parts: ReputParts;
  /** The index lacks everything from here to `reputFromOffset`; null when it lacks nothing. */
  #indexFrom: number | null = null;
  #state: "paused" | "running" | "stopped" = "paused";
  #timer: Timer | null = null;
  #turn: Promise<void> | null = null;
  #retries = 0;
  /** When the last turn ended, monotonic ms. */
  #turnEndedAt = -Infinity;
  /** The log's end at the last turn, and when that was, monotonic ms. */
  #seenOffset = 0;
  #seenAt = -Infinity;
  #floodUntil = -Infinity;
  /** Whether what fills the log comes first at present. */
  #yields = false;
  #buffer = new Uint8Array(0);
  #complete: Deferred<boolean> | null = null;
  #waiters: { readonly offset: number; resolve(done: boolean): void }[] = [];

  constructor(parts: ReputParts) {
    this.#parts = parts;
  }

  /**
   * Sets where dispatch goes on; it must not be running. With `indexFrom` below `from`, the index lacks what is between,
   * and is built from there beside the rest.
   */
  setPosition(from: number, indexFrom: number | null): void {
    this.reputFromOffset = from;
    this.#indexFrom = indexFrom !== null && indexFrom < from ? indexFrom : null;
  }

  /** Starts, or goes on after {@link pause}. */
  run(): void {
    if (this.#state === "stopped") return;
    this.#state = "running";
    this.wakeup();
  }

  /** The log grew. Cheap: dispatch comes in a later turn of the event loop. */
  wakeup(): void {
    if (this.#timer !== null || this.#turn !== null || !this.#hasWork()) return;
    this.#schedule(this.#restLeft());
  }

  #restLeft(): number {
    const restMs = this.#parts.restMs?.() ?? 0;
    if (restMs === 0 || this.#isAwaited || (this.behindBytes >= SLICE_SIZE && !this.#yields)) return 0;
    return Math.max(0, this.#turnEndedAt + restMs - this.#parts.clock.monotonic());
  }

  get #isAwaited(): boolean {
    return this.#waiters.length > 0 || this.#complete !== null;
  }

  /** Somebody waits from now on: a rest ends. */
  #endRest(): void {
    if (this.#timer === null || this.#retries > 0) return;
    this.#timer.cancel();
    this.#schedule(0);
  }

  #schedule(delayMs: number): void {
    this.#timer = this.#parts.clock.setTimer(delayMs, () => {
      this.#timer = null;
      this.#turn = this.#doTurn().catch((error) => this.#fail(error)).then(() => {
        this.#turn = null;
        this.#turnEndedAt = this.#parts.clock.monotonic();
        this.#afterTurn();
      });
    });
  }

  #hasWork(): boolean {
    if (this.#state !== "running") return false;
    return this.#indexFrom !== null || this.reputFromOffset < this.#parts.log.confirmOffset;
  }

  #afterTurn(): void {
    if (this.isComplete) this.#settleComplete();
    if (this.#retries > 0 && this.#state === "running") this.#schedule(RETRY_MS);
    else if (this.#hasWork()) this.#schedule(this.#restLeft());
    else if (this.#buffer.length > SLICE_SIZE) this.#buffer = new Uint8Array(0);
  }

  /** Stops at the end of the slice under way; {@link run} goes on. */
  async pause(): Promise<void> {
    if (this.#state === "running") this.#state = "paused";
    this.#timer?.cancel();
    this.#timer = null;
    await this.#turn;
  }

  /** {@link pause} for good: those who wait are told no. */
  async stop(): Promise<void> {
    await this.pause();
    this.#stopped();
  }

  #stopped(): void {
    this.#state = "stopped";
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(false);
    this.#settleComplete();
  }

  /** Bytes of the log that are not dispatched yet. Mirrors `dispatchBehindBytes`. */
  get behindBytes(): number {
    return Math.max(0, this.#parts.log.confirmOffset - this.reputFromOffset);
  }

  /** Where the part begins that the index lacks; null when it lacks nothing. */
  get indexFromOffset(): number | null {
    return this.#indexFrom;
  }

  /** Whether consume queues and index hold all there is up to the confirm offset. */
  get isComplete(): boolean {
    return this.behindBytes === 0 && this.#indexFrom === null;
  }

  /** Resolves with true once everything below `offset` is dispatched, with false when dispatch stops before. */
  waitDispatched(offset: number): Promise<boolean> {
    if (this.reputFromOffset >= offset) return Promise.resolve(true);
    if (this.#state === "stopped") return Promise.resolve(false);
    const { promise, resolve } = deferred<boolean>();
    this.#waiters.push({ offset, resolve });
    this.#endRest();
    return promise;
  }

  /** Resolves with {@link isComplete} once it is true, or dispatch stops. */
  waitComplete(): Promise<boolean> {
    if (this.isComplete || this.#state === "stopped") return Promise.resolve(this.isComplete);
    this.#complete ??= deferred<boolean>();
    this.#endRest();
    return this.#complete.promise;
  }

  #settleComplete(): void {
    this.#complete?.resolve(this.isComplete);
    this.#complete = null;
  }

  async #doTurn(): Promise<void> {
    const startedAt = this.#parts.clock.monotonic();
    try {
      const slicesMax = this.#slicesOfTurn();
      const turnEnd = startedAt + TURN_MS * Math.max(1, slicesMax / TURN_SLICES_MAX);
      for (let slices = 0; slices < slicesMax && this.#hasWork(); slices++) {
        await this.#dispatchSlice();
        await this.#catchUpIndexSlice();
        if (this.#parts.clock.monotonic() >= turnEnd) break;
      }
      this.#retries = 0;
      this.writeError = null;
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#onWriteError(error);
    }
  }

  /**
   * Taking in what a master sends comes first: every turn here is one that its bytes wait. How fast they come is told by
   * time, not by turn: turns that follow one another closely would each see little, and go on being in the way.
   */
  #slicesOfTurn(): number {
    const { confirmOffset } = this.#parts.log;
    const now = this.#parts.clock.monotonic();
    const growth = confirmOffset - this.#seenOffset;
    if (growth >= FAST_GROWTH * Math.max(1, now - this.#seenAt)) this.#floodUntil = now + FLOOD_MS;
    this.#seenOffset = confirmOffset;
    this.#seenAt = now;
    this.#yields = now < this.#floodUntil && this.behindBytes < BEHIND_MAX;
    return this.#yields ? 1 : growth === 0 ? STILL_FACTOR * TURN_SLICES_MAX : TURN_SLICES_MAX;
  }

  #fail(error: unknown): void {
    this.#stopped();
    this.#parts.onFatal(error);
  }

  #onWriteError(error: IoError): void {
    this.#retries++;
    if (this.#retries === 1) {
      this.#parts.logger.error("Dispatch can't write a consume queue or the index; trying again every second", {
        error: error.message,
        reputFromOffset: this.reputFromOffset,
      });
    }
    if (this.#retries === RETRIES_MAX) this.writeError = error.message;
  }

  async #dispatchSlice(): Promise<void> {
    const { log, dispatcher, onDispatched } = this.#parts;
    if (this.reputFromOffset < log.minOffset) this.reputFromOffset = log.minOffset;
    const from = this.reputFromOffset;
    const bytes = await this.#read(from, log.confirmOffset);
    if (bytes.length === 0) return;
    const toIndex = this.#indexFrom === null;
    const size = this.#walk(bytes, from, (at) => dispatcher.dispatch(bytes, at, toIndex));
    dispatcher.writePending();
    this.reputFromOffset = from + size;
    this.#resolveWaiters();
    onDispatched();
  }

  /** The part of the index that a crash took is built beside the rest, slice by slice, until it has caught up. */
  async #catchUpIndexSlice(): Promise<void> {
    if (this.#indexFrom === null) return;
    const { log, dispatcher } = this.#parts;
    const from = Math.max(this.#indexFrom, log.minOffset);
    if (from < this.reputFromOffset) {
      const bytes = await this.#read(from, this.reputFromOffset);
      this.#indexFrom = from + this.#walk(bytes, from, (at) => dispatcher.dispatchToIndex(bytes, at));
    }
    if (from >= this.reputFromOffset || this.#indexFrom === this.reputFromOffset) this.#indexFrom = null;
  }

  /** Bytes of the log from `from`, at most a slice, at least a whole record when one lies below `limit`. */
  async #read(from: number, limit: number): Promise<Uint8Array> {
    const sliceSize = Math.min(SLICE_SIZE, this.#parts.log.mappedFileSize);
    if (this.#buffer.length < sliceSize) this.#buffer = new Uint8Array(sliceSize);
    for (;;) {
      const target = this.#buffer.subarray(0, Math.min(this.#buffer.length, Math.max(0, limit - from)));
      if (target.length === 0) return target;
      const result = this.#parts.log.read(from, target);
      const bytes = target.subarray(0, typeof result === "number" ? result : await result);
      const size = bytes.length >= 8 && isRecordMagic(readInt32(bytes, RecordField.MAGIC)) ? readInt32(bytes, 0) : 0;
      // A record larger than the buffer: one buffer of its size. A size beyond the limit, or the file, is damage, and no
      // reason to.
      const { mappedFileSize } = this.#parts.log;
      const sizeMax = Math.min(limit - from, mappedFileSize - from % mappedFileSize);
      if (size <= this.#buffer.length || size > sizeMax) return bytes;
      this.#buffer = new Uint8Array(size);
    }
  }

  /**
   * Calls back for each whole record in `bytes`, which start at `offset` of the log; returns how far they went, a BLANK
   * to the end of its file. What is no record is skipped to the end of the bytes at hand, loudly.
   */
  #walk(bytes: Uint8Array, offset: number, visit: (at: number) => void): number {
    const { mappedFileSize } = this.#parts.log;
    let at = 0;
    while (bytes.length - at >= 8) {
      const size = readInt32(bytes, at);
      const magic = readInt32(bytes, at + RecordField.MAGIC);
      const fileRest = mappedFileSize - (offset + at) % mappedFileSize;
      if (magic === BLANK_MAGIC_CODE) return at + fileRest;
      const isRecord = isRecordMagic(magic) && size >= RECORD_SIZE_MIN && size <= fileRest;
      if (!isRecord) return this.#skip(bytes, at, offset);
      if (bytes.length - at < size) break;
      visit(at);
      at += size;
    }
    // The bytes end with a record that is not all there: the next slice starts with it. One that starts the slice is
    // damage, as `#read` had made room for it.
    return at === 0 ? this.#skip(bytes, at, offset) : at;
  }

  /** As Apache's master does; it keeps a slave from standing still for ever, too. */
  #skip(bytes: Uint8Array, at: number, offset: number): number {
    if (bytes.length > 0) {
      this.#parts.logger.error(
        "The log holds something that is no record; dispatch skips it. Run verify on the store",
        {
          physicOffset: offset + at,
          skippedBytes: bytes.length - at,
        },
      );
    }
    return bytes.length;
  }

  #resolveWaiters(): void {
    if (this.#waiters.length === 0) return;
    const waiting = this.#waiters;
    this.#waiters = waiting.filter((waiter) => waiter.offset > this.reputFromOffset);
    for (const waiter of waiting) if (waiter.offset <= this.reputFromOffset) waiter.resolve(true);
  }
}

function isRecordMagic(magic: number): boolean {
  return magic === MESSAGE_MAGIC_CODE || magic === MESSAGE_MAGIC_CODE_V2;
}
