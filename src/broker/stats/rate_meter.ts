// Events per second over the last ten minutes, from one bucket per second. No timer turns them: whoever counts or reads
// tells the second, and buckets that passed meanwhile are emptied then. Pure.

/** Seconds kept. */
const BUCKETS = 601;

/** Mirrors the lists of `CallSnapshot` in Apache's `StoreStatsService`. */
export class RateMeter {
  readonly #buckets = new Float64Array(BUCKETS);
  #second = 0;
  #total = 0;

  /** Everything counted. */
  get total(): number {
    return this.#total;
  }

  /** Counts `count` events in that second since the start. */
  add(count: number, second: number): void {
    if (second !== this.#second) this.#turn(second);
    this.#buckets[second % BUCKETS]! += count;
    this.#total += count;
  }

  /**
   * Events per second over the last `seconds` whole seconds (at most 600), or over all whole seconds since the start
   * while they are fewer, where Apache has no number yet.
   */
  perSecond(seconds: number, second: number): number {
    if (second !== this.#second) this.#turn(second);
    const span = Math.min(seconds, second);
    let sum = 0;
    for (let back = 1; back <= span; back++) sum += this.#buckets[(second - back) % BUCKETS]!;
    return span > 0 ? sum / span : 0;
  }

  #turn(second: number): void {
    const passed = Math.min(second - this.#second, BUCKETS);
    for (let back = 0; back < passed; back++) this.#buckets[(second - back) % BUCKETS] = 0;
    this.#second = second;
  }
}
