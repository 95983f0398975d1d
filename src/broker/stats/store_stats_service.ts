// Rates and durations of puts and gets, as GET_BROKER_RUNTIME_INFO tells them: messages per second over 10, 60 and 600 s,
// and how long puts took in the last whole minute. Pure; told the time by its owner, BrokerStatsManager.

import { RateMeter } from "./rate_meter.ts";

/** Per second over the last 10, 60 and 600 s. */
export type Rates = readonly [number, number, number];

/** What is told of puts' durations. */
export interface PutDurations {
  /** Puts of the last whole minute by duration, as Apache words it. */
  readonly distribution: string;
  /** Durations that 99 % and 99.9 % of them did not exceed, ms. */
  readonly p99: number;
  readonly p999: number;
}

/** Upper ends of the classes that are printed, ms, the end not included; the first holds 0. */
const CLASSES: readonly (readonly [name: string, end: number])[] = [
  ["[<=0ms]", 1],
  ["[0~10ms]", 10],
  ["[10~50ms]", 50],
  ["[50~100ms]", 100],
  ["[100~200ms]", 200],
  ["[200~500ms]", 500],
  ["[500ms~1s]", 1000],
  ["[1~2s]", 2000],
  ["[2~3s]", 3000],
  ["[3~4s]", 4000],
  ["[4~5s]", 5000],
  ["[5~10s]", 10_000],
  ["[10s~]", Infinity],
];
/** Upper ends of the finer classes that percentiles are taken from, ms, the end included. */
const ENDS: readonly number[] = fineEnds();

function fineEnds(): number[] {
  const ends: number[] = [];
  let end = 0;
  for (const [step, count] of [[1, 20], [2, 15], [5, 10], [10, 10], [50, 6], [100, 5], [1000, 9]] as const) {
    for (let at = 0; at < count; at++) ends.push(end += step);
  }
  return ends;
}

/** Mirrors Apache's `StoreStatsService`. */
export class StoreStatsService {
  readonly #puts = new RateMeter();
  readonly #found = new RateMeter();
  readonly #missed = new RateMeter();
  readonly #transferred = new RateMeter();
  #minute = 0;
  #durations = new Durations();
  /** Of the minute before, when it was the last one. */
  #lastDurations = new Durations();
  #putEntireTimeMax = 0;
  #getEntireTimeMax = 0;

  /** A put of `count` messages took `tookMs`. */
  put(count: number, tookMs: number, second: number): void {
    this.#puts.add(count, second);
    this.#turn(second);
    this.#durations.add(tookMs);
    if (tookMs > this.#putEntireTimeMax) this.#putEntireTimeMax = tookMs;
  }

  /** A get found `count` messages, or none, and took `tookMs`. */
  got(count: number, tookMs: number, second: number): void {
    if (count > 0) {
      this.#found.add(1, second);
      this.#transferred.add(count, second);
    } else {
      this.#missed.add(1, second);
    }
    if (tookMs > this.#getEntireTimeMax) this.#getEntireTimeMax = tookMs;
  }

  /** Longest put and get, ms. */
  get putMessageEntireTimeMax(): number {
    return this.#putEntireTimeMax;
  }
  get getMessageEntireTimeMax(): number {
    return this.#getEntireTimeMax;
  }

  /** Messages put, gets that found something, gets that did not, all gets, messages given out. */
  rates(second: number): Record<"put" | "getFound" | "getMiss" | "getTotal" | "getTransferred", Rates> {
    const getFound = ratesOf(this.#found, second);
    const getMiss = ratesOf(this.#missed, second);
    return {
      put: ratesOf(this.#puts, second),
      getFound,
      getMiss,
      getTotal: [getFound[0] + getMiss[0], getFound[1] + getMiss[1], getFound[2] + getMiss[2]],
      getTransferred: ratesOf(this.#transferred, second),
    };
  }

  /** How long puts took in the last whole minute. */
  putDurations(second: number): PutDurations {
    this.#turn(second);
    const last = this.#lastDurations;
    return { distribution: last.text(), p99: last.percentile(0.99), p999: last.percentile(0.999) };
  }

  #turn(second: number): void {
    const minute = Math.floor(second / 60);
    if (minute === this.#minute) return;
    this.#lastDurations = minute === this.#minute + 1 ? this.#durations : new Durations();
    this.#durations = new Durations();
    this.#minute = minute;
  }
}

function ratesOf(meter: RateMeter, second: number): Rates {
  return [meter.perSecond(10, second), meter.perSecond(60, second), meter.perSecond(600, second)];
}

/** Puts of one minute by their duration. */
class Durations {
  readonly #classes = new Float64Array(CLASSES.length);
  /** One more than there are ends: what took longer than the last. */
  readonly #fine = new Float64Array(ENDS.length + 1);
  #count = 0;

  add(tookMs: number): void {
    let at = 0;
    while (tookMs >= CLASSES[at]![1]) at++;
    this.#classes[at]!++;
    let fine = 0;
    while (fine < ENDS.length && tookMs > ENDS[fine]!) fine++;
    this.#fine[fine]!++;
    this.#count++;
  }

  text(): string {
    return CLASSES.map(([name], at) => `${name}:${this.#classes[at]} `).join("");
  }

  /** Within its class the durations count as spread evenly, as in Apache's `findPutMessageEntireTimePX`. */
  percentile(share: number): number {
    const wanted = Math.floor(this.#count * share);
    let passed = 0;
    for (const [at, end] of ENDS.entries()) {
      const count = this.#fine[at]!;
      if (wanted <= passed + count) {
        const begin = at === 0 ? 0 : ENDS[at - 1]!;
        return count === 0 ? begin : begin + (end - begin) * (wanted - passed) / count;
      }
      passed += count;
    }
    return this.#count === 0 ? 0 : ENDS.at(-1)!;
  }
}
