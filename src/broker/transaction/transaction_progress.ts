// How far checks of transactions are, kept as a group's offsets: read at the start, saved once the disk and the slaves hold
// what it rests on. A slave that becomes the master never goes on behind a half message that it lacks.

import { RMQ_SYS_TRANS_HALF_TOPIC, RMQ_SYS_TRANS_OP_HALF_TOPIC } from "../topic_validator.ts";
import { CID_SYS_RMQ_TRANS, TRANSACTION_QUEUE_ID } from "./half_message.ts";

/** What it needs of the store. */
export interface ProgressStore {
  readonly maxOffset: number;
  getMinOffsetInQueue(topic: string, queueId: number): number;
  getMaxOffsetInQueue(topic: string, queueId: number): number;
  /** Resolves once the log is on the disk up to `offset`. Throws `IoError`. */
  waitFlushed(offset: number): Promise<void>;
}

/** What a {@link TransactionProgress} needs. */
export interface ProgressParts {
  readonly store: ProgressStore;
  readonly offsets: {
    queryOffset(group: string, topic: string, queueId: number): number;
    commitOffset(group: string, topic: string, queueId: number, offset: number): unknown;
  };
  /** Lowest log offset that the connected slaves hold, null without one. */
  readonly replicatedOffset: () => number | null;
}

/** How far checks were at some moment. */
interface Progress {
  /** Queue offsets: of the first half message not passed, of the first op record still needed. */
  readonly half: number;
  readonly op: number;
  /** The log up to here is what it rests on. */
  readonly logEnd: number;
}

/** Progress that waits for the slaves; more of it is thinned out. */
const UNSAVED_MAX = 64;

/** Offsets of the group CID_RMQ_SYS_TRANS in the two topics, as Apache keeps them. */
export class TransactionProgress {
  readonly #parts: ProgressParts;
  #saved: Progress = { half: 0, op: 0, logEnd: 0 };
  /** Oldest first. */
  #unsaved: Progress[] = [];

  constructor(parts: ProgressParts) {
    this.#parts = parts;
  }

  /** Reads where to go on, moved into the queues. */
  start(): { readonly half: number; readonly op: number } {
    const half = this.#savedOffset(RMQ_SYS_TRANS_HALF_TOPIC);
    const op = this.#savedOffset(RMQ_SYS_TRANS_OP_HALF_TOPIC);
    this.#saved = { half, op, logEnd: this.#parts.store.maxOffset };
    this.#unsaved = [];
    return this.#saved;
  }

  /** Whether some of it waits for the slaves. */
  get isUnsaved(): boolean {
    return this.#unsaved.length > 0;
  }

  /** Notes where checks are, and saves what disk and slaves hold. Throws `IoError`. */
  async save(half: number, op: number): Promise<void> {
    const { store, offsets, replicatedOffset } = this.#parts;
    const last = this.#unsaved.at(-1) ?? this.#saved;
    if (half !== last.half || op !== last.op) this.#unsaved.push({ half, op, logEnd: store.maxOffset });
    if (this.#unsaved.length > UNSAVED_MAX) this.#unsaved = this.#unsaved.filter((_, index) => index % 2 === 0);
    if (this.#unsaved.length === 0) return;
    await store.waitFlushed(this.#unsaved.at(-1)!.logEnd);
    const held = replicatedOffset() ?? Infinity;
    const safe = this.#unsaved.findLast(({ logEnd }) => logEnd <= held);
    if (safe === undefined) return;
    this.#unsaved = this.#unsaved.filter(({ logEnd }) => logEnd > safe.logEnd);
    this.#saved = safe;
    const commit = (topic: string, offset: number) =>
      offsets.commitOffset(CID_SYS_RMQ_TRANS, topic, TRANSACTION_QUEUE_ID, offset);
    commit(RMQ_SYS_TRANS_HALF_TOPIC, safe.half);
    commit(RMQ_SYS_TRANS_OP_HALF_TOPIC, safe.op);
  }

  #savedOffset(topic: string): number {
    const { store, offsets } = this.#parts;
    const min = store.getMinOffsetInQueue(topic, TRANSACTION_QUEUE_ID);
    const max = store.getMaxOffsetInQueue(topic, TRANSACTION_QUEUE_ID);
    const offset = offsets.queryOffset(CID_SYS_RMQ_TRANS, topic, TRANSACTION_QUEUE_ID);
    return offset === -1 ? min : Math.max(min, Math.min(offset, max));
  }
}
