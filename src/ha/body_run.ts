// Bodies of frames in a row, joined into one piece of the log inside the buffer they were read into: a master's small
// frames would else each cost a write of their own. It owns no memory; the slave's session fills and empties it within
// one read.

import { assert } from "../base/errors.ts";

const NO_BYTES = new Uint8Array(0);

/** A growing piece of the log. */
export class BodyRun {
  /** Where {@link bytes} begins in the log. */
  offset = -1;
  /** The bytes gathered, a view of the read buffer. */
  bytes: Uint8Array = NO_BYTES;

  /** Where the run goes on in the log; -1 while it is empty. */
  get end(): number {
    return this.bytes.length === 0 ? -1 : this.offset + this.bytes.length;
  }

  /**
   * Adds a chunk that stands at `offset` of the log, in the same buffer as the run and behind it; between them are only
   * bytes that nobody needs any more, as the run moves over them.
   */
  add(offset: number, chunk: Uint8Array): void {
    if (this.bytes.length === 0) {
      this.offset = offset;
      this.bytes = chunk;
      return;
    }
    const from = this.bytes.byteOffset;
    const size = this.bytes.length;
    assert(chunk.buffer === this.bytes.buffer && chunk.byteOffset >= from + size, "A chunk is not behind its run");
    assert(offset === this.end, `A chunk at ${offset} does not follow its run, which ends at ${this.end}`);
    const whole = new Uint8Array(chunk.buffer, from, chunk.byteOffset - from + chunk.length);
    whole.copyWithin(size, chunk.byteOffset - from);
    this.bytes = whole.subarray(0, size + chunk.length);
  }

  /** Empties it. */
  clear(): void {
    this.bytes = NO_BYTES;
  }
}
