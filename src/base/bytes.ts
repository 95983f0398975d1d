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
