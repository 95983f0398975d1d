// Big-endian integers over Uint8Array. 64-bit values enter the program here, as safe integers; bigint stays inside.

import { ProtocolError } from "./errors.ts";

const TWO_32 = 0x1_0000_0000;

/** Signed 32-bit integer at `at`. */
export function readInt32(bytes: Uint8Array, at: number): number {
  return (bytes[at]! << 24) | (bytes[at + 1]! << 16) | (bytes[at + 2]! << 8) | bytes[at + 3]!;
}

/** Writes the low 32 bits of `value`. */
export function writeInt32(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 24;
  bytes[at + 1] = value >>> 16;
  bytes[at + 2] = value >>> 8;
  bytes[at + 3] = value;
}

/** Signed 16-bit integer at `at`. */
export function readInt16(bytes: Uint8Array, at: number): number {
  return ((bytes[at]! << 24) >> 16) | bytes[at + 1]!;
}

/** Writes the low 16 bits of `value`. */
export function writeInt16(bytes: Uint8Array, at: number, value: number): void {
  bytes[at] = value >>> 8;
  bytes[at + 1] = value;
}

/**
 * Signed 64-bit integer at `at` as a number. Values beyond ±2^53 come back as the nearest double: callers that take an
 * offset from outside check with {@link readOffset} or `Number.isSafeInteger`.
 */
export function readInt64(bytes: Uint8Array, at: number): number {
  return readInt32(bytes, at) * TWO_32 + (readInt32(bytes, at + 4) >>> 0);
}

/** Writes a safe integer as signed 64 bits. */
export function writeInt64(bytes: Uint8Array, at: number, value: number): void {
  writeInt32(bytes, at, Math.floor(value / TWO_32));
  writeInt32(bytes, at + 4, value >>> 0);
}

/** A 64-bit value from a peer that must be a safe integer; throws {@link ProtocolError} naming `what` otherwise. */
export function readOffset(bytes: Uint8Array, at: number, what: string): number {
  const value = readInt64(bytes, at);
  if (!Number.isSafeInteger(value)) throw new ProtocolError(`${what} is ${value}, wanted at most 2^53 - 1`);
  return value;
}

/** Whether two byte strings are equal. */
export function bytesEqual(a: Uint8Array, b: Uint8Array): boolean {
  if (a.length !== b.length) return false;
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return true;
}

/** The strings' UTF-8 forms and back. A byte order mark is a character like any other, as in Java. */
export const utf8 = {
  encode: (text: string): Uint8Array<ArrayBuffer> => ENCODER.encode(text),
  decode: (bytes: Uint8Array): string => DECODER.decode(bytes),
};
const ENCODER = new TextEncoder();
const DECODER = new TextDecoder("utf-8", { ignoreBOM: true });

const SLAB_SIZE = 32 * 1024;
/** More than this has an allocation of its own. */
const SLAB_PART_MAX = 4096;
let slab = new Uint8Array(0);
let slabUsed = 0;

/**
 * Bytes that are nobody else's, of any content: like `new Uint8Array(size)`, but small ones share an allocation, which
 * costs more than what is done with them. For what does not live long: one of them keeps 32 KiB.
 */
export function shortLivedBytes(size: number): Uint8Array<ArrayBuffer> {
  if (size > SLAB_PART_MAX) return new Uint8Array(size);
  if (size > slab.length - slabUsed) {
    slab = new Uint8Array(SLAB_SIZE);
    slabUsed = 0;
  }
  slabUsed += size;
  return slab.subarray(slabUsed - size, slabUsed);
}

/** Writes a text of ASCII at `at`. False: there is another character in it, and what was written is worth nothing. */
export function writeAscii(text: string, target: Uint8Array, at: number): boolean {
  const { length } = text;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit > 0x7f) return false;
    target[at + i] = unit;
  }
  return true;
}

/** UTF-8 of a text that is short and ASCII mostly, without a call out of the language; as {@link shortLivedBytes}. */
export function encodeShortText(text: string): Uint8Array<ArrayBuffer> {
  const bytes = shortLivedBytes(text.length);
  return writeAscii(text, bytes, 0) ? bytes : utf8.encode(text);
}

/** Concatenates. */
export function concatBytes(parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const part of parts) size += part.length;
  const out = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    out.set(part, at);
    at += part.length;
  }
  return out;
}
