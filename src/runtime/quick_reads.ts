// Whether to read on the event loop where nothing tells what the page cache holds (Node, which can't ask the kernel, and
// systems other than Linux): as long as such reads have been as quick as memory. One that was not may have waited for the
// disk, or for the processor; if the process is not known to have read nothing from a disk, nothing is tried for twenty
// times as long, so that the disk does not hold the event loop for more than about a twentieth of its time. How long one
// read takes nobody can bound, as with writes. It only decides; NodeFileHandle reads.

/** What a read from memory may take, ms... */
const QUICK_MS = 0.03;
/** ...and on top of it for its bytes: memory gives twice as many per ms. */
const QUICK_BYTES_PER_MS = 2 * 1024 * 1024;
/** A slow read rests this many times what it took... */
const REST_FACTOR = 20;
/** ...and at most so long, ms: a process that was stopped for an hour must not pay for a day. */
const REST_MAX_MS = 60_000;

/** One for a file system. Times are monotonic ms. */
export class QuickReads {
  #restUntil = -Infinity;
  #blocksRead: number | null = null;

  /** Whether a read may be tried now. */
  mayTry(now: number): boolean {
    return now >= this.#restUntil;
  }

  /**
   * A read of so many bytes ended now, `tookMs` after it began. `blocksRead` is what the process has ever read from disks,
   * null where that does not count the file's: a slow read between two equal counts was only held up.
   */
  noted(now: number, tookMs: number, bytes: number, blocksRead: () => number | null): void {
    if (tookMs <= QUICK_MS + bytes / QUICK_BYTES_PER_MS) return;
    const before = this.#blocksRead;
    this.#blocksRead = blocksRead();
    if (before !== null && this.#blocksRead === before) return;
    this.#restUntil = now + Math.min(REST_FACTOR * tookMs, REST_MAX_MS);
  }
}
