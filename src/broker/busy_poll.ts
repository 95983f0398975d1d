// Waiting awake for a master's next frame. A virtual CPU that went to sleep takes some 40 us to wake, twice what the whole
// ack takes otherwise. Only between frames that come close together, so an idle node sleeps.

import type { Clock } from "../runtime/runtime.ts";

/** Keeps the event loop turning for a short time after each frame, while that has been worth it. */
export class BusyPoll {
  readonly #clock: Clock;
  /** How long, microseconds; 0: never. Asked at each frame. */
  readonly #micros: () => number;
  #frameAt = -Infinity;
  #turning = false;
  #stopped = false;

  constructor(clock: Clock, micros: () => number) {
    this.#clock = clock;
    this.#micros = micros;
  }

  /** Something came and was dealt with: the next one is waited for awake if this one would have been met so. */
  arrived(): void {
    const { nextTurn } = this.#clock;
    const micros = this.#micros();
    if (micros === 0 || nextTurn === undefined) return;
    const now = this.#clock.monotonic();
    const isClose = (now - this.#frameAt) * 1000 <= micros;
    this.#frameAt = now;
    if (!isClose || this.#turning) return;
    this.#turning = true;
    nextTurn(this.#turn);
  }

  /** Nothing is waited for any more. */
  stop(): void {
    this.#stopped = true;
  }

  readonly #turn = (): void => {
    const waitedMicros = (this.#clock.monotonic() - this.#frameAt) * 1000;
    if (this.#stopped || waitedMicros > this.#micros()) this.#turning = false;
    else this.#clock.nextTurn!(this.#turn);
  };
}
