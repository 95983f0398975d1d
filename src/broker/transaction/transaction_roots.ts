// Which transaction a half message belongs to, also when Apache put it back: its copies don't name the first one, and after
// a crash several of them can look open. Asked about as transactions of their own, each would be committed.

import type { StoredMessage } from "../../store/types.ts";
import { checkTimesOf, likenessOf, rootOf } from "./half_message.ts";

/** Half messages remembered. */
const REMEMBERED_MAX = 100_000;

/** The half message that a likeness was seen at first. */
interface Seen {
  readonly root: number;
  /** It was put back and names no root. */
  readonly isCopy: boolean;
}

/** Names transactions by their root: the queue offset of the first half message, as far as this life saw it. Bounded. */
export class TransactionRoots {
  readonly #seen = new Map<string, Seen>();
  #startRoot = 0;

  /** Begins anew. Half messages from the queue offset `startRoot` on are ours: one that was put back names its root. */
  start(startRoot: number): void {
    this.#seen.clear();
    this.#startRoot = startRoot;
  }

  /** Two that are alike are one transaction when either is a copy: else a message object was sent twice. */
  of(half: StoredMessage): number {
    const root = rootOf(half);
    const likeness = half.queueOffset < this.#startRoot ? likenessOf(half) : null;
    if (likeness === null) return root;
    const isCopy = root === half.queueOffset && checkTimesOf(half) > 0;
    const seen = this.#seen.get(likeness);
    if (seen !== undefined && (isCopy || seen.isCopy)) return seen.root;
    this.#seen.set(likeness, { root, isCopy });
    if (this.#seen.size > REMEMBERED_MAX) this.#seen.delete(this.#seen.keys().next().value!);
    return root;
  }
}
