// Buffers that are used again: memory of tens of kilobytes for every answer would cost more in clearing, page faults and
// garbage collection than what is done with it. One pool serves the whole process; what it keeps is bounded.

import { assert } from "./errors.ts";

/** Buffers have a power of two of bytes, from 2^10 to 2^19; a larger one is made for its one use. */
const SIZE_LOG2_MIN = 10;
const SIZE_LOG2_MAX = 19;
/** Bytes kept free of each size, at most; of small ones no more than {@link KEPT_MAX}. */
const KEPT_BYTES_MAX = 4 * 1024 * 1024;
const KEPT_MAX = 64;

const free: ArrayBuffer[][] = Array.from({ length: SIZE_LOG2_MAX - SIZE_LOG2_MIN + 1 }, () => []);

/**
 * `size` bytes of any content. Whoever took them may give them back to {@link giveBuffer}, once, when nobody reads or
 * writes them any more; without that they are collected like others.
 */
export function takeBuffer(size: number): Uint8Array<ArrayBuffer> {
  const index = classOf(size);
  if (index >= free.length) return new Uint8Array(size);
  const buffer = free[index]!.pop() ?? new ArrayBuffer(2 ** (index + SIZE_LOG2_MIN));
  return new Uint8Array(buffer, 0, size);
}

/** Takes back what {@link takeBuffer} gave, or a part of it. */
export function giveBuffer(bytes: Uint8Array<ArrayBuffer>): void {
  const { buffer } = bytes;
  const index = classOf(buffer.byteLength);
  if (index >= free.length) return;
  const kept = free[index]!;
  assert(buffer.byteLength === 2 ** (index + SIZE_LOG2_MIN), "A buffer was given to the pool that is not of it");
  assert(!kept.includes(buffer), "A buffer was given back twice");
  if (kept.length < Math.min(KEPT_MAX, KEPT_BYTES_MAX / buffer.byteLength)) kept.push(buffer);
}

function classOf(size: number): number {
  return Math.max(0, 32 - Math.clz32(Math.max(size, 1) - 1) - SIZE_LOG2_MIN);
}
