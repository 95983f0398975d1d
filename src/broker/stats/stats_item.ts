// One counted figure and its last minute, hour and day. No timer samples it: it is told the time with each event and each
// reading, and catches up then with the samples it missed, during which nothing was counted. Pure; BrokerStatsManager owns
// the items and the time.

/** Time between two samples of the last minute, ms; a tick. Hours and days are sampled at multiples of it. */
export const STATS_TICK_MS = 10_000;

const MINUTE = { ticks: 1, samplesMax: 7 };
const HOUR = { ticks: 60, samplesMax: 7 };
const DAY = { ticks: 360, samplesMax: 25 };

/** What was counted within a window. Mirrors Apache's `StatsSnapshot`. */
export interface StatsSnapshot {
  /** Counted in the window. */
  readonly sum: number;
  /** That, per second. */
  readonly tps: number;
  /** That, per event. */
  readonly avgpt: number;
}

const NOTHING: StatsSnapshot = { sum: 0, tps: 0, avgpt: 0 };

/** Mirrors Apache's `StatsItem`, with its windows: samples of 10 s, 10 min and 1 h, of which 7, 7 and 25 are kept. */
export class StatsItem {
  #value = 0;
  #times = 0;
  #tick: number;
  readonly #minute = new Samples(MINUTE);
  readonly #hour = new Samples(HOUR);
  readonly #day = new Samples(DAY);

  /** `tick` is now, in {@link STATS_TICK_MS} since the manager's start. */
  constructor(tick: number) {
    this.#tick = tick;
  }

  /** Everything counted since the item was made. */
  get value(): number {
    return this.#value;
  }

  /** Counts `value` in `times` events at `tick`. */
  add(value: number, times: number, tick: number): void {
    if (tick > this.#tick) this.#catchUp(tick);
    this.#value += value;
    this.#times += times;
  }

  /** The last minute as of the last sample, at most 10 s ago. */
  minute(tick: number): StatsSnapshot {
    return this.#read(this.#minute, tick);
  }

  /** The last hour, as of at most 10 min ago. */
  hour(tick: number): StatsSnapshot {
    return this.#read(this.#hour, tick);
  }

  /** The last day, as of at most an hour ago. */
  day(tick: number): StatsSnapshot {
    return this.#read(this.#day, tick);
  }

  #read(samples: Samples, tick: number): StatsSnapshot {
    if (tick > this.#tick) this.#catchUp(tick);
    return samples.snapshot();
  }

  #catchUp(tick: number): void {
    for (const samples of [this.#minute, this.#hour, this.#day]) {
      samples.take(this.#tick, tick, this.#value, this.#times);
    }
    this.#tick = tick;
  }
}

/** Cumulative counts at regular moments, the latest few. */
class Samples {
  readonly #ticks: number;
  readonly #samplesMax: number;
  /** Value and times of each, from the oldest; null before the first. */
  #counts: number[] | null = null;

  constructor(options: { readonly ticks: number; readonly samplesMax: number }) {
    this.#ticks = options.ticks;
    this.#samplesMax = options.samplesMax;
  }

  /** Takes the samples due after `from` and up to `to`; nothing was counted between them. */
  take(from: number, to: number, value: number, times: number): void {
    const due = Math.floor(to / this.#ticks) - Math.floor(from / this.#ticks);
    if (due === 0) return;
    // As in Apache, the first window begins one period before its first sample, with nothing.
    const counts = this.#counts ??= [0, 0];
    for (let at = Math.min(due, this.#samplesMax); at > 0; at--) counts.push(value, times);
    if (counts.length > 2 * this.#samplesMax) counts.splice(0, counts.length - 2 * this.#samplesMax);
  }

  snapshot(): StatsSnapshot {
    const counts = this.#counts;
    if (counts === null) return NOTHING;
    const sum = counts[counts.length - 2]! - counts[0]!;
    const times = counts[counts.length - 1]! - counts[1]!;
    const seconds = (counts.length / 2 - 1) * this.#ticks * STATS_TICK_MS / 1000;
    return { sum, tps: sum / seconds, avgpt: times > 0 ? sum / times : 0 };
  }
}
