// A copy of what one node's log held, kept outside of the simulation: what a log is after a crash, or what a reader may
// still find, is judged against it. It only stores bytes; the checker says when the log grew, shrank or began anew.

/** Bytes `[from, end)` of a log. */
export class LogMirror {
  #from = 0;
  #end = 0;
  #bytes = new Uint8Array(64 * 1024);

  get from(): number {
    return this.#from;
  }

  get end(): number {
    return this.#end;
  }

  /** The log was replaced by another. */
  clear(): void {
    this.#from = this.#end = 0;
  }

  /** The log is `[min, max)` now: what goes further, or is no part of it, is forgotten. */
  cut(min: number, max: number): void {
    this.#end = Math.min(this.#end, max);
    if (this.#end < min || this.#end < this.#from) this.#from = this.#end = Math.max(min, 0);
  }

  /** Where the bytes begin that a log of `[min, max)` has and this copy has not. */
  startOf(min: number, max: number): number {
    if (this.#end >= min && this.#end <= max && this.#end > this.#from) return this.#end;
    this.#from = this.#end = min;
    return min;
  }

  /** The log goes on at `offset`, which is {@link end}, with these bytes. */
  append(offset: number, bytes: Uint8Array): void {
    const at = offset - this.#from;
    if (this.#bytes.length < at + bytes.length) {
      const grown = new Uint8Array((at + bytes.length) * 2);
      grown.set(this.#bytes.subarray(0, at));
      this.#bytes = grown;
    }
    this.#bytes.set(bytes, at);
    this.#end = offset + bytes.length;
  }

  /** A view of `[from, end)`, which it must hold. */
  read(from: number, end: number): Uint8Array {
    return this.#bytes.subarray(from - this.#from, end - this.#from);
  }
}
