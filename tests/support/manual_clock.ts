// A clock that stands still until a test moves it.

import type { Clock, Timer } from "../../src/runtime/runtime.ts";

export class ManualClock implements Clock {
  #now = 1_000;
  readonly #timers = new Set<{ at: number; callback: () => void }>();

  now(): number {
    return 1_700_000_000_000 + this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  /** Timers waiting. */
  get timers(): number {
    return this.#timers.size;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { at: this.#now + delayMs, callback };
    this.#timers.add(timer);
    return { cancel: () => this.#timers.delete(timer) };
  }

  /**
   * Moves on by `ms`, firing what falls due in order. A timer that a callback sets for the very moment waits for the
   * next advance: what the callback woke has to run first.
   */
  advance(ms: number): void {
    const end = this.#now + ms;
    const before = new Set(this.#timers);
    for (;;) {
      let next: { at: number; callback: () => void } | null = null;
      for (const timer of this.#timers) {
        const due = timer.at <= end && (before.has(timer) || timer.at > this.#now);
        if (due && (next === null || timer.at < next.at)) next = timer;
      }
      if (next === null) break;
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
    }
    this.#now = end;
  }
}
