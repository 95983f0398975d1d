// When the commit log goes to the disk. One sync is under way at a time; puts that wait for theirs share the next one
// (group commit), everything else follows Apache's intervals. Owns timing and waiters; the log owns what a flush is.

import { IoError } from "../base/errors.ts";
import type { Clock, Timer } from "../runtime/runtime.ts";

/** Apache's flush modes. */
export const FlushDiskType = { SYNC_FLUSH: "SYNC_FLUSH", ASYNC_FLUSH: "ASYNC_FLUSH" } as const;
export type FlushDiskType = (typeof FlushDiskType)[keyof typeof FlushDiskType];

/** Apache's keys that this service obeys. Intervals are ms. */
export interface FlushServiceOptions {
  readonly flushDiskType: FlushDiskType;
  readonly flushIntervalCommitLog: number;
  /** Dirty pages of 4 KiB that make a flush worthwhile. */
  readonly flushCommitLogLeastPages: number;
  /** After this long even a single dirty byte is flushed. */
  readonly flushCommitLogThoroughInterval: number;
}

/** What is flushed. */
export interface FlushTarget {
  readonly maxOffset: number;
  readonly flushedOffset: number;
  /** Makes what was written before the call durable. Rejects with {@link IoError}. */
  flush(): Promise<void>;
}

const PAGE_SIZE = 4096;
/** Under `SYNC_FLUSH`, what nobody waits for is flushed within this time. Mirrors `GroupCommitService`. */
const SYNC_INTERVAL_MS = 10;
/** Waiters at most; more are told at once that their flush timed out. */
const WAITERS_MAX = 65_536;

interface Waiter {
  readonly offset: number;
  /** Monotonic ms; Infinity when it waits for ever. */
  readonly deadline: number;
  settle(flushed: boolean): void;
}

/**
 * Mirrors `GroupCommitService`, `FlushRealTimeService` and `FlushDiskWatcher`. A failed flush is fatal: `onFatal` gets
 * the error once, every waiter is told no, and nothing is flushed any more.
 */
export class FlushService {
  readonly #target: FlushTarget;
  readonly #options: FlushServiceOptions;
  readonly #clock: Clock;
  readonly #onFatal: (error: unknown) => void;
  /** By offset, the lowest first. */
  #waiters: Waiter[] = [];
  #timer: Timer | null = null;
  #deadlineTimer: Timer | null = null;
  #deadlineTimerAt = Infinity;
  #dirtySince = 0;
  #flushing: Promise<void> | null = null;
  #state: "running" | "stopped" | "failed" = "running";

  constructor(target: FlushTarget, options: FlushServiceOptions, clock: Clock, onFatal: (error: unknown) => void) {
    this.#target = target;
    this.#options = options;
    this.#clock = clock;
    this.#onFatal = onFatal;
  }

  /** To be called after each growth of the log. Arms the timer of the next flush. */
  onAppend(): void {
    if (this.#waiters.length > 0) this.#requestFlush();
    if (this.#timer !== null || this.#state !== "running") return;
    this.#dirtySince = this.#clock.monotonic();
    this.#armTimer();
  }

  /**
   * Resolves with true once the log is flushed up to `offset`, with false after `timeoutMs` (null: never by time), or
   * when that many wait already, or when flushing failed. Mirrors `GroupCommitService.putRequest`.
   */
  waitFlushed(offset: number, timeoutMs: number | null): Promise<boolean> {
    if (this.#target.flushedOffset >= offset) return Promise.resolve(true);
    if (this.#state !== "running" || this.#waiters.length >= WAITERS_MAX) return Promise.resolve(false);
    return new Promise((resolve) => {
      const deadline = timeoutMs === null ? Infinity : this.#clock.monotonic() + timeoutMs;
      let at = this.#waiters.length;
      while (at > 0 && this.#waiters[at - 1]!.offset > offset) at--;
      this.#waiters.splice(at, 0, { offset, deadline, settle: resolve });
      this.#armDeadline(deadline);
      this.#requestFlush();
    });
  }

  /** Flushes now, also under `ASYNC_FLUSH`, and resolves when that is done or has failed. */
  async flushNow(): Promise<void> {
    const offset = this.#target.maxOffset;
    if (!(await this.waitFlushed(offset, null)) && this.#state === "failed") {
      throw new IoError("other", "Flush failed earlier; what is on the disk is unknown");
    }
  }

  /** Ends timers and waits for a flush under way. Waiters are told no; what is dirty, the owner flushes. */
  async stop(): Promise<void> {
    if (this.#state === "running") this.#state = "stopped";
    this.#cancelTimers();
    await this.#flushing;
    this.#settleAll();
  }

  #armTimer(): void {
    const isSync = this.#options.flushDiskType === FlushDiskType.SYNC_FLUSH;
    this.#timer = this.#clock.setTimer(isSync ? SYNC_INTERVAL_MS : this.#options.flushIntervalCommitLog, () => {
      this.#timer = null;
      const dirtyBytes = this.#target.maxOffset - this.#target.flushedOffset;
      if (dirtyBytes <= 0) return;
      const dirtyMs = this.#clock.monotonic() - this.#dirtySince;
      const isDue = isSync ||
        dirtyBytes >= this.#options.flushCommitLogLeastPages * PAGE_SIZE ||
        dirtyMs >= this.#options.flushCommitLogThoroughInterval;
      if (isDue) this.#requestFlush();
      else this.#armTimer();
    });
  }

  /** Starts a flush unless one is under way; puts of the same turn of the event loop share it. */
  #requestFlush(): void {
    if (this.#flushing !== null || this.#state !== "running") return;
    this.#flushing = Promise.resolve().then(() => this.#target.flush()).then(
      () => this.#flushed(),
      (error) => this.#failed(error),
    );
  }

  #flushed(): void {
    this.#flushing = null;
    let done = 0;
    while (done < this.#waiters.length && this.#waiters[done]!.offset <= this.#target.flushedOffset) done++;
    for (const waiter of this.#waiters.splice(0, done)) waiter.settle(true);
    // Waiters for bytes that are not written yet wait for the append.
    if (this.#target.maxOffset > this.#target.flushedOffset) this.onAppend();
  }

  #failed(error: unknown): void {
    this.#flushing = null;
    this.#state = "failed";
    this.#cancelTimers();
    this.#settleAll();
    this.#onFatal(error);
  }

  #settleAll(): void {
    for (const waiter of this.#waiters.splice(0)) waiter.settle(this.#target.flushedOffset >= waiter.offset);
  }

  #armDeadline(deadline: number): void {
    if (deadline >= this.#deadlineTimerAt) return;
    this.#deadlineTimer?.cancel();
    this.#deadlineTimerAt = deadline;
    const delayMs = Math.max(0, Math.ceil(deadline - this.#clock.monotonic()));
    this.#deadlineTimer = this.#clock.setTimer(delayMs, () => this.#expire());
  }

  #expire(): void {
    this.#deadlineTimer = null;
    this.#deadlineTimerAt = Infinity;
    const now = this.#clock.monotonic();
    const waiting: Waiter[] = [];
    let next = Infinity;
    for (const waiter of this.#waiters) {
      if (waiter.deadline <= now) {
        waiter.settle(false);
      } else {
        waiting.push(waiter);
        next = Math.min(next, waiter.deadline);
      }
    }
    this.#waiters = waiting;
    if (next < Infinity) this.#armDeadline(next);
  }

  #cancelTimers(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#deadlineTimer?.cancel();
    this.#deadlineTimer = null;
    this.#deadlineTimerAt = Infinity;
  }
}
