// Which half messages are ended, as the log says: the op records read so far, and up to where they have done their duty.
// Reads each record once. Driven by the check of transactions.

import type { GetMessageResult } from "../../store/message_reader.ts";
import { RMQ_SYS_TRANS_OP_HALF_TOPIC } from "../topic_validator.ts";
import { offsetsOfOpMessage, TRANSACTION_QUEUE_ID } from "./half_message.ts";
import { OffsetSet } from "./offset_set.ts";

/** What it needs of the store. */
export interface OpRecordStore {
  getMessage(
    topic: string,
    queueId: number,
    queueOffset: number,
    maxNum: number,
    maxBytes: number,
  ): Promise<GetMessageResult>;
}

/** Records, and bytes of them, read at once. */
const READ_COUNT = 32;
const READ_BYTES = 1024 * 1024;

/** Mirrors `fillOpRemoveMap` and `calculateOpOffset` of Apache's `TransactionalMessageServiceImpl`. */
export class OpRecords {
  readonly #store: OpRecordStore;
  readonly #ended = new OffsetSet();
  /** Of each record read and not done: its last half offset. The first one's offset is {@link offset}. */
  #lastHalfOffsets: number[] = [];
  #offset = 0;

  constructor(store: OpRecordStore) {
    this.#store = store;
  }

  /** Up to where no record is needed any more. */
  get offset(): number {
    return this.#offset;
  }

  /** Begins again, from a record on. */
  reset(offset: number): void {
    this.#offset = offset;
    this.#lastHalfOffsets = [];
    this.#ended.clear();
  }

  /** Whether a record says that the half message is ended. */
  has(halfOffset: number): boolean {
    return this.#ended.has(halfOffset);
  }

  /**
   * Reads all there is. `onLate` gets half offsets below `halfOffset`: transactions ended after they were put back.
   * Throws `IoError`.
   */
  async readAll(halfOffset: number, isRunning: () => boolean, onLate: (halfOffset: number) => void): Promise<void> {
    while (isRunning()) {
      const next = this.#offset + this.#lastHalfOffsets.length;
      const { messages, nextBeginOffset } = await this.#store.getMessage(
        RMQ_SYS_TRANS_OP_HALF_TOPIC,
        TRANSACTION_QUEUE_ID,
        next,
        READ_COUNT,
        READ_BYTES,
      );
      for (const op of messages) this.#take(op.queueOffset, offsetsOfOpMessage(op), halfOffset, onLate);
      if (nextBeginOffset <= next) return;
      // Records that are gone: nothing is known of them.
      this.#take(nextBeginOffset - 1, [], halfOffset, onLate);
    }
  }

  #take(opOffset: number, halfOffsets: readonly number[], below: number, onLate: (halfOffset: number) => void): void {
    const index = opOffset - this.#offset;
    if (index < 0) return;
    while (this.#lastHalfOffsets.length <= index) this.#lastHalfOffsets.push(-1);
    for (const offset of halfOffsets) {
      if (offset < below) onLate(offset);
      else this.#ended.add(offset);
      this.#lastHalfOffsets[index] = Math.max(this.#lastHalfOffsets[index]!, offset);
    }
  }

  /** Checks are at `halfOffset` now: forgets the first records as long as they speak of earlier ones only. */
  passed(halfOffset: number): void {
    let done = 0;
    while (done < this.#lastHalfOffsets.length && this.#lastHalfOffsets[done]! < halfOffset) done++;
    this.#lastHalfOffsets.splice(0, done);
    this.#offset += done;
    this.#ended.forgetBelow(halfOffset);
  }
}
