// A master's bytes on their way into a slave's log: checked record by record, whole records handed on in as few pieces
// as they came in, the start of an unfinished one held back. Synchronous; owns the held bytes, the log writes.

import type { ReplicaAppendResult } from "../ha/replica_log.ts";
import { storeTimestampAt } from "./message_codec.ts";
import { type RecordValidator, RecordVerdict } from "./record_validator.ts";

/** Where whole records go. */
export interface ReplicaSink {
  /**
   * Writes whole records (the last of them may be a filler up to the end of the file) at the end of the log; they lie
   * within one file. `lastRecordOffset` is the start of the last one that is not a filler, -1 without one, and
   * `storeTimestamp` is when that one was stored, Unix ms. Throws {@link IoError}; then nothing counts as written.
   */
  writeRecords(bytes: Uint8Array, lastRecordOffset: number, storeTimestamp: number): void;
}

/** What a record's size can be read from. */
const HEADER_SIZE = 8;
const HELD_CAPACITY_MIN = 64 * 1024;
/** A larger buffer is given back once it is empty. */
const HELD_CAPACITY_KEPT = 1024 * 1024;

const APPENDED: ReplicaAppendResult = { type: "appended" };

/** Holds at most one unfinished record, whose size the validator bounds. */
export class ReplicaIntake {
  readonly #validator: RecordValidator;
  readonly #sink: ReplicaSink;
  #held: Uint8Array<ArrayBuffer> = new Uint8Array(0);
  #heldSize = 0;

  constructor(validator: RecordValidator, sink: ReplicaSink) {
    this.#validator = validator;
    this.#sink = sink;
  }

  /** Bytes held of a record that is not whole yet. */
  get heldSize(): number {
    return this.#heldSize;
  }

  /** Forgets the held bytes. */
  discard(): void {
    this.#heldSize = 0;
    if (this.#held.length > HELD_CAPACITY_KEPT) this.#held = new Uint8Array(0);
  }

  /**
   * Takes the bytes at `offset` of the log: those that follow the held ones. Throws {@link IoError} when they can't be
   * written; the held bytes are forgotten then, so that all goes on from the end of the log.
   */
  take(bytes: Uint8Array, offset: number): ReplicaAppendResult {
    try {
      let at = 0;
      if (this.#heldSize > 0) {
        const heldOffset = offset - this.#heldSize;
        const verdict = this.#fillHeld(bytes, heldOffset);
        if (verdict === RecordVerdict.REJECT) return this.#rejected(heldOffset);
        if (verdict === RecordVerdict.PARTIAL) return APPENDED;
        at = this.#filledFrom;
      }
      return this.#takeWhole(bytes, at, offset + at);
    } catch (error) {
      this.discard();
      throw error;
    }
  }

  /** Bytes that the last {@link #fillHeld} used. */
  #filledFrom = 0;

  /** Completes the held record from `bytes` and writes it, or holds all of them. */
  #fillHeld(bytes: Uint8Array, heldOffset: number): RecordVerdict {
    let used = 0;
    let want = this.#heldSize < HEADER_SIZE ? HEADER_SIZE : this.#wantedSize(heldOffset);
    for (;;) {
      const count = Math.min(want - this.#heldSize, bytes.length - used);
      this.#hold(bytes.subarray(used, used + count));
      used += count;
      const verdict = this.#validator.check(this.#held, 0, this.#heldSize, heldOffset);
      if (verdict === RecordVerdict.REJECT) return verdict;
      if (verdict !== RecordVerdict.PARTIAL) {
        this.#write(this.#held, 0, this.#heldSize, verdict === RecordVerdict.OK ? 0 : -1, heldOffset);
        this.discard();
        this.#filledFrom = used;
        return verdict;
      }
      if (used === bytes.length) return verdict;
      want = this.#validator.size;
    }
  }

  #wantedSize(heldOffset: number): number {
    this.#validator.check(this.#held, 0, this.#heldSize, heldOffset);
    return this.#validator.size;
  }

  /** Writes the whole records in `bytes` from `at`, which is `offset` of the log, and holds the rest. */
  #takeWhole(bytes: Uint8Array, at: number, offset: number): ReplicaAppendResult {
    let runAt = at;
    let lastRecordAt = -1;
    let verdict: RecordVerdict;
    for (;;) {
      verdict = this.#validator.check(bytes, at, bytes.length, offset + at - runAt);
      if (verdict === RecordVerdict.OK) {
        lastRecordAt = at;
        at += this.#validator.size;
      } else if (verdict === RecordVerdict.BLANK) {
        at += this.#validator.size;
        this.#write(bytes, runAt, at, lastRecordAt, offset);
        offset += at - runAt;
        runAt = at;
        lastRecordAt = -1;
      } else {
        break;
      }
    }
    if (at > runAt) this.#write(bytes, runAt, at, lastRecordAt, offset);
    if (verdict === RecordVerdict.REJECT) return this.#rejected(offset + at - runAt);
    this.#hold(bytes.subarray(at));
    return APPENDED;
  }

  #write(bytes: Uint8Array, at: number, end: number, lastRecordAt: number, offset: number): void {
    const hasRecord = lastRecordAt >= 0;
    this.#sink.writeRecords(
      bytes.subarray(at, end),
      hasRecord ? offset + lastRecordAt - at : -1,
      hasRecord ? storeTimestampAt(bytes, lastRecordAt) : 0,
    );
  }

  #hold(bytes: Uint8Array): void {
    const size = this.#heldSize + bytes.length;
    if (size > this.#held.length) {
      const grown = new Uint8Array(Math.max(size, 2 * this.#held.length, HELD_CAPACITY_MIN));
      grown.set(this.#held.subarray(0, this.#heldSize));
      this.#held = grown;
    }
    this.#held.set(bytes, this.#heldSize);
    this.#heldSize = size;
  }

  #rejected(offset: number): ReplicaAppendResult {
    this.discard();
    return { type: "rejected", reason: this.#validator.reason, offset, detail: this.#validator.detail };
  }
}
