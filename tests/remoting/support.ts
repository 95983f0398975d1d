// What the remoting tests share: a clock moved by hand, a wait for a condition, and a log that remembers.

import type { Logger } from "../../src/base/logger.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Clock, Timer } from "../../src/runtime/runtime.ts";

/** The machine the tests run on. */
export const runtime = await loadRuntime();

/** A clock that stands still until it is told. */
export class ManualClock implements Clock {
  #now = 1_700_000_000_000;
  #timers: { at: number; callback: () => void }[] = [];

  now(): number {
    return this.#now;
  }

  monotonic(): number {
    return this.#now;
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    const timer = { at: this.#now + delayMs, callback };
    this.#timers.push(timer);
    return { cancel: () => void (this.#timers = this.#timers.filter((one) => one !== timer)) };
  }

  get timerCount(): number {
    return this.#timers.length;
  }

  /** Whether a timer rings exactly `ms` from now. */
  ringsIn(ms: number): boolean {
    return this.#timers.some((timer) => timer.at === this.#now + ms);
  }

  /** Lets `ms` pass: timers run in their order. */
  advance(ms: number): void {
    const end = this.#now + ms;
    for (;;) {
      const due = this.#timers.filter((timer) => timer.at <= end).sort((a, b) => a.at - b.at)[0];
      if (due === undefined) break;
      this.#timers = this.#timers.filter((one) => one !== due);
      this.#now = Math.max(this.#now, due.at);
      due.callback();
    }
    this.#now = end;
  }
}

/** Resolves once the condition holds; fails after 10 s. */
export async function waitFor(what: string, condition: () => boolean): Promise<void> {
  const deadline = runtime.clock.monotonic() + 10_000;
  while (!condition()) {
    if (runtime.clock.monotonic() > deadline) throw new Error(`Waited 10 s for ${what}`);
    const { promise, resolve } = Promise.withResolvers<void>();
    runtime.clock.setTimer(2, resolve);
    await promise;
  }
}

/** A logger and what it was told, as `level message`. */
export function recordingLogger(): { logger: Logger; lines: string[] } {
  const lines: string[] = [];
  const log = (level: string) => (message: string, fields: object = {}) =>
    void lines.push(`${level} ${message} ${JSON.stringify(fields)}`);
  return { logger: { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") }, lines };
}
