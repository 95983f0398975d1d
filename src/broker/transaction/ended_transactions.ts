// What this broker remembers of the transactions it dealt with in this life: which are ended, which are being ended, and
// where a transaction's last half message is after it was put back. Pure, bounded; the log knows the rest.

/** Transactions remembered. */
const REMEMBERED_MAX = 100_000;

/** Transactions by their root: the queue offset of the first half message. */
export class EndedTransactions {
  readonly #ended = new Set<number>();
  readonly #lastCopies = new Map<number, number>();
  readonly #ending = new Map<number, Promise<unknown>>();

  clear(): void {
    this.#ended.clear();
    this.#lastCopies.clear();
    this.#ending.clear();
  }

  has(root: number): boolean {
    return this.#ended.has(root);
  }

  /** It is committed or rolled back. */
  add(root: number): void {
    this.#ended.add(root);
    if (this.#ended.size > REMEMBERED_MAX) this.#ended.delete(this.#ended.values().next().value!);
  }

  /** Its half message was put again, and stands at `halfOffset` now. */
  putBack(root: number, halfOffset: number): void {
    this.#lastCopies.delete(root);
    this.#lastCopies.set(root, halfOffset);
    if (this.#lastCopies.size > REMEMBERED_MAX) this.#lastCopies.delete(this.#lastCopies.keys().next().value!);
  }

  /** Where its half message was put last; null when it was not put again. */
  lastCopy(root: number): number | null {
    return this.#lastCopies.get(root) ?? null;
  }

  /** Runs `work` once nobody else ends this transaction; of two at once the second sees what the first did. */
  async alone<T>(root: number, work: () => Promise<T>): Promise<T> {
    for (let other = this.#ending.get(root); other !== undefined; other = this.#ending.get(root)) {
      await other.catch(() => undefined);
    }
    const mine = work();
    this.#ending.set(root, mine);
    try {
      return await mine;
    } finally {
      if (this.#ending.get(root) === mine) this.#ending.delete(root);
    }
  }
}
