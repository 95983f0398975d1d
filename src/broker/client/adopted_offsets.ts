// What a slave does with its master's offsets. Apache puts them over its own, also when the master has just come back
// with those of minutes ago while the slave served the consumers, who then get everything since once more. Here an offset
// that was committed at the slave stays until the master has caught up with it, or has moved it since it was first seen:
// a consumer or an administrator is at work there then, and the master is right. One that counts more messages than the
// slave's queue has never stays: the log lost what it counted. Pure; the ConsumerOffsetManager asks it.

import type { DataVersion } from "../config_manager.ts";
import type { OffsetTable, QueueOffsets } from "./offset_table.ts";

/** The rule, and what it has to remember. */
export class AdoptedOffsets {
  /** The master's table as adopted last; null: none in this life. Its maps are shared with the slave's own table. */
  #base: OffsetTable | null = null;
  /** Queues whose own offset was kept, with the master's offset (-1: none) when that was first seen. */
  #kept: OffsetTable = new Map();
  #distrusted = false;
  /** End of the slave's own queue. */
  readonly #maxOffsetInQueue: (key: string, queueId: number) => number;

  /** `maxOffsetInQueue` is asked by `topic@group`. */
  constructor(maxOffsetInQueue: (key: string, queueId: number) => number) {
    this.#maxOffsetInQueue = maxOffsetInQueue;
  }

  /** Whether a master's table was adopted in this life. */
  get hasMaster(): boolean {
    return this.#base !== null;
  }

  /** Queues whose own offset is kept. */
  get keptCount(): number {
    let count = 0;
    for (const queues of this.#kept.values()) count += queues.size;
    return count;
  }

  /** Whether a commit has to copy the map before it changes it. */
  isShared(key: string, offsets: QueueOffsets): boolean {
    return this.#base !== null && this.#base.get(key) === offsets;
  }

  /** A commit was made here: whatever the master has, it is to be looked at anew. */
  committed(key: string, queueId: number): void {
    if (this.#kept.size > 0) this.#kept.get(key)?.delete(queueId);
  }

  /**
   * The slave's table from now on. `ownIsNewer`: its data version is, which tells of commits made here in an earlier
   * life; without a table adopted in this one it stands for them all.
   */
  merge(own: OffsetTable, theirs: OffsetTable, ownIsNewer: boolean): OffsetTable {
    const base = this.#base;
    const merged: OffsetTable = new Map(theirs);
    const kept: OffsetTable = new Map();
    if (base !== null || (ownIsNewer && !this.#distrusted)) {
      for (const [key, ours] of own) {
        const before = base?.get(key);
        if (ours === before) continue;
        const isOwn = (queueId: number, offset: number) => base === null || before?.get(queueId) !== offset;
        this.#mergeQueues(key, { ours, isOwn, theirs: theirs.get(key) }, merged, kept);
      }
    }
    this.#base = theirs;
    this.#kept = kept;
    this.#distrusted = false;
    return merged;
  }

  /**
   * The log was cut: offsets committed here may count messages that are not there any more, and the master's table is
   * taken whole next time.
   */
  forget(): void {
    this.#base = null;
    this.#kept = new Map();
    this.#distrusted = true;
  }

  #mergeQueues(
    key: string,
    queues: {
      ours: QueueOffsets;
      isOwn: (queueId: number, offset: number) => boolean;
      theirs: QueueOffsets | undefined;
    },
    merged: OffsetTable,
    kept: OffsetTable,
  ): void {
    const { ours, isOwn, theirs } = queues;
    const keptHere: QueueOffsets = new Map();
    const offsets: QueueOffsets = new Map(theirs);
    for (const [queueId, offset] of ours) {
      if (!isOwn(queueId, offset)) continue;
      const their = theirs?.get(queueId) ?? -1;
      const seen = this.#kept.get(key)?.get(queueId);
      if (their >= offset || (seen !== undefined && seen !== their)) continue;
      if (offset > this.#maxOffsetInQueue(key, queueId)) continue;
      offsets.set(queueId, offset);
      keptHere.set(queueId, their);
    }
    if (keptHere.size === 0) return;
    merged.set(key, offsets);
    kept.set(key, keptHere);
  }
}

/** Whether `a` was changed after `b`. False when either is unknown. */
export function isNewer(a: DataVersion | null, b: DataVersion | null): boolean {
  if (a === null || b === null) return false;
  return a.timestamp === b.timestamp ? a.counter > b.counter : a.timestamp > b.timestamp;
}
