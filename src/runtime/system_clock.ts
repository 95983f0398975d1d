// The machine's clock and randomness, the same on Deno, Bun and Node. No policy: drivers decide what to wait for.

import type { Clock, Random, Timer } from "./runtime.ts";

// Longer waits overflow the runtimes' timers and would fire at once.
const TIMER_MS_MAX = 2 ** 31 - 1;
const RANDOM_BYTES_MAX = 65_536;

class SystemTimer implements Timer {
  readonly #callback: () => void;
  readonly #dueAt: number;
  #id: ReturnType<typeof setTimeout> | undefined;

  constructor(delayMs: number, callback: () => void) {
    this.#callback = callback;
    this.#dueAt = performance.now() + delayMs;
    this.#arm(delayMs);
  }

  cancel(): void {
    clearTimeout(this.#id);
    this.#id = undefined;
  }

  #arm(delayMs: number): void {
    this.#id = setTimeout(() => this.#fire(), Math.min(Math.max(Math.ceil(delayMs), 0), TIMER_MS_MAX));
  }

  // Runtimes fire up to a millisecond early and cut long delays short: the rest is waited for here.
  #fire(): void {
    const restMs = this.#dueAt - performance.now();
    if (restMs > 0) return this.#arm(restMs);
    this.#id = undefined;
    this.#callback();
  }
}

/** The machine's {@link Clock}. */
export const SYSTEM_CLOCK: Clock = {
  now: () => Date.now(),
  monotonic: () => performance.now(),
  setTimer: (delayMs, callback) => new SystemTimer(delayMs, callback),
};

/** The clock of Bun and Node, where a turn of the event loop looks at the sockets. */
export const TURNING_CLOCK: Clock = { ...SYSTEM_CLOCK, nextTurn: (callback) => void setImmediate(callback) };

/** The machine's {@link Random}. */
export const SYSTEM_RANDOM: Random = {
  nextInt: (bound) => Math.floor(Math.random() * bound),
  bytes(count) {
    const out = new Uint8Array(count);
    for (let at = 0; at < count; at += RANDOM_BYTES_MAX) {
      crypto.getRandomValues(out.subarray(at, at + RANDOM_BYTES_MAX));
    }
    return out;
  },
};
