// The few concurrency helpers drivers are made of: a promise settled from outside, a wake-up that is never lost, a
// cancellable wait, and an owner for every background loop.

import type { Clock, Timer } from "../runtime/runtime.ts";

/** A promise and the functions that settle it. */
export interface Deferred<T> {
  readonly promise: Promise<T>;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** Makes a {@link Deferred}. */
export function deferred<T>(): Deferred<T> {
  return Promise.withResolvers<T>();
}

/**
 * A single waiter's wake-up (the job of Apache's `ServiceThread.wakeup` and `WaitNotifyObject`, without polling): a
 * notification given before the wait makes the wait return at once; several in a row count as one.
 */
export class WakeUp {
  #pending = false;
  #waiter: (() => void) | null = null;

  /** Wakes the waiter, or the next wait. */
  notify(): void {
    this.#pending = true;
    this.#waiter?.();
  }

  /** Resolves with true on a notification, with false after `timeoutMs` (null: never by time). One waiter at a time. */
  async wait(clock: Clock, timeoutMs: number | null): Promise<boolean> {
    if (!this.#pending && (timeoutMs === null || timeoutMs > 0)) {
      const { promise, resolve } = deferred<void>();
      const timer: Timer | null = timeoutMs === null ? null : clock.setTimer(timeoutMs, resolve);
      this.#waiter = resolve;
      await promise;
      this.#waiter = null;
      timer?.cancel();
    }
    const notified = this.#pending;
    this.#pending = false;
    return notified;
  }
}

/** Resolves after `delayMs`. Use {@link WakeUp} where something may end the wait early. */
export function sleep(clock: Clock, delayMs: number): Promise<void> {
  const { promise, resolve } = deferred<void>();
  clock.setTimer(delayMs, resolve);
  return promise;
}

/** Starts a background loop whose failure has an owner: `onError` gets it, nothing is ever unhandled. */
export function startLoop(loop: () => Promise<void>, onError: (error: unknown) => void): Promise<void> {
  return loop().catch(onError);
}
