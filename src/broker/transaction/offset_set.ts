// A set of queue offsets that lie close together: a bit each, in blocks. Pure.

/** Offsets of a block; a block is 128 bytes. */
const BLOCK = 1024;

/** Non-negative integers, most of them near one another. */
export class OffsetSet {
  readonly #blocks = new Map<number, Uint32Array>();

  add(offset: number): void {
    const index = Math.floor(offset / BLOCK);
    let block = this.#blocks.get(index);
    if (block === undefined) this.#blocks.set(index, block = new Uint32Array(BLOCK / 32));
    const bit = offset % BLOCK;
    block[bit >>> 5]! |= 1 << (bit & 31);
  }

  has(offset: number): boolean {
    const block = this.#blocks.get(Math.floor(offset / BLOCK));
    if (block === undefined) return false;
    const bit = offset % BLOCK;
    return (block[bit >>> 5]! & (1 << (bit & 31))) !== 0;
  }

  /** Forgets what nobody asks about any more: whole blocks below `offset`. */
  forgetBelow(offset: number): void {
    const first = Math.floor(offset / BLOCK);
    for (const index of this.#blocks.keys()) if (index < first) this.#blocks.delete(index);
  }

  clear(): void {
    this.#blocks.clear();
  }
}
