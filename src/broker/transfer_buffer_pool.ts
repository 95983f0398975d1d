// Buffers for HA frames, lent for the time of one frame: memory follows the frames being written, not the connections.
// It bounds what slow slaves can hold together; what goes into a buffer is the driver's.

import { BODY_SIZE_MAX } from "../ha/frames.ts";

/**
 * Where a body begins in a buffer, the header right before it. A slave that catches up asks for whole pages of the log,
 * mostly, and large buffers begin at pages too (Bun) or near it: to twelve bytes behind the start of a page the kernel's
 * copy was measured to take three times as long as to a cache line behind it.
 */
export const BODY_POSITION = 64;

/** Sizes lent, bytes, and how many of each are kept for the next frame. */
const CLASSES = [
  { size: 4 * 1024, keep: 64 },
  { size: 32 * 1024 + BODY_POSITION, keep: 16 },
  { size: 1024 * 1024 + BODY_POSITION, keep: 4 },
  { size: BODY_SIZE_MAX + BODY_POSITION, keep: 1 },
] as const;

/** The class everyone gets when the big ones are lent out: Apache's own frame. */
const MODEST = 1;

/** Bytes of the big classes lent at once, at most, unless said otherwise. */
export const TRANSFER_BUFFER_BYTES_MAX = 32 * 1024 * 1024;

/** A pool of frame buffers. */
export class TransferBufferPool {
  readonly #bigBytesMax: number;
  readonly #free: Uint8Array[][] = CLASSES.map(() => []);
  #bigBytesLent = 0;

  constructor(bigBytesMax: number = TRANSFER_BUFFER_BYTES_MAX) {
    this.#bigBytesMax = bigBytesMax;
  }

  /** Bytes of big buffers lent now. */
  get bigBytesLent(): number {
    return this.#bigBytesLent;
  }

  /** A buffer of at least `size` bytes (up to a frame of 4 MiB), or a modest one while too many big ones are lent. */
  take(size: number): Uint8Array {
    let index = CLASSES.findIndex((each) => each.size >= size);
    if (index === -1) index = CLASSES.length - 1;
    if (index > MODEST) {
      if (this.#bigBytesLent + CLASSES[index]!.size > this.#bigBytesMax) index = MODEST;
      else this.#bigBytesLent += CLASSES[index]!.size;
    }
    return this.#free[index]!.pop() ?? new Uint8Array(CLASSES[index]!.size);
  }

  /** Takes a lent buffer back. `reusable` false: the machine may still be reading it, so it is left to be collected. */
  give(buffer: Uint8Array, reusable: boolean): void {
    const index = CLASSES.findIndex((each) => each.size === buffer.length);
    if (index > MODEST) this.#bigBytesLent -= buffer.length;
    const free = this.#free[index]!;
    if (reusable && free.length < CLASSES[index]!.keep) free.push(buffer);
  }
}
