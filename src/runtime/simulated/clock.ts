// The clocks of simulated hosts. World time only moves when the world releases an event; each host sees it through its
// own crystal, which may drift, and its own wall clock, which may be wrong and may step. Drivers only see `Clock`.

import type { Clock, Timer } from "../runtime.ts";
import type { Prng } from "./prng.ts";
import type { Scheduler, SimulatedLife } from "./scheduler.ts";
import type { SimulatedEvent } from "./scheduler.ts";
import { assert } from "../../base/errors.ts";

const MILLION = 1_000_000;
/** Where wall clocks begin unless told otherwise: 2023-11-14T22:13:20Z, Unix ms. */
export const WALL_START_MS = 1_700_000_000_000;
const DRIFT_MAX_PPM = 100_000;

/** The oscillator and the wall clock of one host. They outlive its programs. */
export class SimulatedHostClock {
  readonly #scheduler: Scheduler;
  #wallOffsetUs: number;
  #driftPpm = 0;
  #baseWorldUs: number;
  #baseLocalUs: number;
  #isStepUnseen = false;
  #isDriftUnseen = false;
  /** Steps and changes of pace that a program's clock showed. */
  readonly counters = { steps: 0, drifts: 0 };

  constructor(scheduler: Scheduler, wallStartMs: number) {
    this.#scheduler = scheduler;
    this.#wallOffsetUs = wallStartMs * 1000;
    this.#baseWorldUs = 0;
    this.#baseLocalUs = 0;
  }

  /** Microseconds on this host's oscillator since the world began. */
  get localUs(): number {
    const elapsedUs = this.#scheduler.nowUs - this.#baseWorldUs;
    return this.#baseLocalUs + elapsedUs + Math.floor((elapsedUs * this.#driftPpm) / MILLION);
  }

  /** The wall clock, Unix ms. */
  get wallMs(): number {
    return Math.floor((this.localUs + this.#wallOffsetUs) / 1000);
  }

  /** Steps the wall clock (NTP, an operator). Timers and the monotonic clock don't notice. */
  step(deltaMs: number): void {
    assert(Number.isSafeInteger(deltaMs), `Step is ${deltaMs}, wanted whole milliseconds`);
    this.#wallOffsetUs += deltaMs * 1000;
    this.#isStepUnseen = true;
  }

  /** A program looked at the wall clock. */
  onWallRead(): void {
    if (!this.#isStepUnseen) return;
    this.#isStepUnseen = false;
    this.counters.steps++;
  }

  /** A program's timer ended, or it looked how much time has passed. */
  onPaceRead(): void {
    if (!this.#isDriftUnseen) return;
    this.#isDriftUnseen = false;
    this.counters.drifts++;
  }

  /** From now on this host's time runs faster (or, below 0, slower) by parts per million; at most ±100,000. */
  setDrift(ppm: number): void {
    assert(Number.isInteger(ppm) && Math.max(ppm, -ppm) <= DRIFT_MAX_PPM, `Drift is ${ppm} ppm, wanted ±100000`);
    this.#baseLocalUs = this.localUs;
    this.#baseWorldUs = this.#scheduler.nowUs;
    this.#driftPpm = ppm;
    this.#isDriftUnseen = ppm !== 0;
  }

  /** World microseconds after which `localUs` of this host's time will have passed, or a little less. */
  toWorldUs(localUs: number): number {
    return localUs - Math.floor((localUs * this.#driftPpm) / MILLION);
  }
}

/**
 * The {@link Clock} of one life. A timer runs at its time or up to `jitterMaxUs` later, as on a real machine, and
 * timers due together run in any order.
 */
export class SimulatedClock implements Clock {
  readonly #scheduler: Scheduler;
  readonly #host: SimulatedHostClock;
  readonly #life: SimulatedLife;
  readonly #prng: Prng;
  readonly #startedLocalUs: number;
  readonly #jitterMaxUs: number;
  #timerCount = 0;

  constructor(
    scheduler: Scheduler,
    host: SimulatedHostClock,
    life: SimulatedLife,
    prng: Prng,
    jitterMaxUs: number,
  ) {
    this.#scheduler = scheduler;
    this.#host = host;
    this.#life = life;
    this.#prng = prng;
    this.#startedLocalUs = host.localUs;
    this.#jitterMaxUs = jitterMaxUs;
  }

  now(): number {
    this.#host.onWallRead();
    return this.#host.wallMs;
  }

  /** Timers that are set and have neither ended nor been cancelled. */
  get timerCount(): number {
    return this.#timerCount;
  }

  /** Whole milliseconds since this life began. */
  monotonic(): number {
    this.#host.onPaceRead();
    return Math.floor((this.#host.localUs - this.#startedLocalUs) / 1000);
  }

  setTimer(delayMs: number, callback: () => void): Timer {
    this.#scheduler.noteActivity();
    // Rounded up a whole tick, so that `monotonic` has moved by `delayMs` whatever part of a millisecond it stood at.
    const dueLocalUs = this.#host.localUs + (delayMs > 0 ? (Math.floor(delayMs) + 1) * 1000 : 0);
    let pending: SimulatedEvent | null = null;
    const arm = () => {
      if (!this.#life.alive) return;
      const remainingUs = Math.max(0, this.#host.toWorldUs(dueLocalUs - this.#host.localUs));
      pending = this.#scheduler.schedule({
        kind: "timer",
        hostIndex: this.#life.hostIndex,
        life: this.#life,
        delayUs: remainingUs + this.#prng.between(0, this.#jitterMaxUs),
        run: () => {
          pending = null;
          if (this.#host.localUs < dueLocalUs) return arm();
          this.#timerCount--;
          callback();
        },
      });
    };
    this.#timerCount++;
    arm();
    return {
      cancel: () => {
        if (pending === null) return;
        this.#scheduler.cancel(pending);
        pending = null;
        this.#timerCount--;
      },
    };
  }
}
