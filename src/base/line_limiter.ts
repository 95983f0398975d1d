// Keeps one peer that repeats itself from filling the log output. It counts what goes unsaid; the words are the caller's.

/** At most one line per key in so long, ms. */
const LINE_INTERVAL_MS = 60_000;
/** Keys remembered for that. */
const LINES_REMEMBERED_MAX = 256;

/** One line per key and minute, for at most 256 keys; one that is forgotten may speak again earlier. */
export class LineLimiter {
  readonly #lines = new Map<string, { saidAt: number; repeated: number }>();

  /** How many of this key went unsaid since its last line, or null: say nothing now. `now` is monotonic ms. */
  admit(key: string, now: number): number | null {
    const line = this.#lines.get(key);
    if (line !== undefined && now - line.saidAt < LINE_INTERVAL_MS) {
      line.repeated++;
      return null;
    }
    this.#lines.delete(key);
    if (this.#lines.size >= LINES_REMEMBERED_MAX) this.#lines.delete(this.#lines.keys().next().value!);
    this.#lines.set(key, { saidAt: now, repeated: 0 });
    return line?.repeated ?? 0;
  }
}
