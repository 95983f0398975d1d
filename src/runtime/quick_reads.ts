// Whether to read on the event loop where nothing tells what the page cache holds (Node, which can't ask the kernel, and
// systems other than Linux): as long as such reads have been quick. One that was not had to wait for the disk; then
// nothing is tried for twenty times as long, and longer each time, so that the disk never holds the event loop for more
// than a twentieth of its time. It only decides; NodeFileHandle reads.

/** What a read from memory may take, ms, whatever else the machine does... */
const QUICK_MS = 0.3;
/** ...and on top of it for its bytes: memory gives several times as many per ms. */
const QUICK_BYTES_PER_MS = 1024 * 1024;
/** A slow read rests this many times what it took... */
const REST_FACTOR = 20;
/** ...and at least so long, ms; twice as long after each further one, up to the longest. */
const REST_MIN_MS = 10;
const REST_MAX_MS = 2000;
/** So many quick reads in a row halve the next rest. */
const QUICK_RUN = 64;

/** One for a file system. Times are monotonic ms. */
export class QuickReads {
  #restMs = 0;
  #restUntil = -Infinity;
  #quick = 0;

  /** Whether a read may be tried now. */
  mayTry(now: number): boolean {
    return now >= this.#restUntil;
  }

  /** A read of so many bytes ended now, `tookMs` after it began. */
  noted(now: number, tookMs: number, bytes: number): void {
    if (tookMs > QUICK_MS + bytes / QUICK_BYTES_PER_MS) {
      this.#quick = 0;
      this.#restMs = Math.min(Math.max(REST_MIN_MS, 2 * this.#restMs), REST_MAX_MS);
      this.#restUntil = now + Math.max(this.#restMs, REST_FACTOR * tookMs);
    } else if (++this.#quick === QUICK_RUN) {
      this.#quick = 0;
      this.#restMs /= 2;
    }
  }
}
