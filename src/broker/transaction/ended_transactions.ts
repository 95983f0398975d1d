// What this broker remembers of the transactions it dealt with in this life: which are ended, which are being ended, and
// where a transaction's half messages stand that were put back. Pure, bounded; the log knows the rest.

/** Transactions remembered. */
const REMEMBERED_MAX = 100_000;

const NONE: readonly number[] = [];

/** Transactions by their root: the queue offset of the first half message. */
export class EndedTransactions {
  readonly #ended = new Set<number>();
  readonly #copies = new Map<number, readonly number[]>();
  readonly #ending = new Map<number, Promise<unknown>>();

  clear(): void {
    this.#ended.clear();
    this.#copies.clear();
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

  /** A half message of it, at `from`, was put again, and stands at `to` now. */
  putBack(root: number, from: number, to: number): void {
    const others = this.copies(root).filter((offset) => offset !== from);
    this.#copies.delete(root);
    this.#copies.set(root, [...others, to]);
    if (this.#copies.size > REMEMBERED_MAX) this.#copies.delete(this.#copies.keys().next().value!);
  }

  /** Where its half messages stand that were put again: one, and more where Apache had left several open. */
  copies(root: number): readonly number[] {
    return this.#copies.get(root) ?? NONE;
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
