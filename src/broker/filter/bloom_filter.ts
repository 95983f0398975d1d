// Bit positions of a consumer group in a topic's filter bit maps. This broker keeps no such maps; Apache's
// consumerFilter.json holds the positions, and an Apache broker that opens our store wants them right. Pure.

import { utf8 } from "../../base/bytes.ts";

/** Positions of one group, and how many bits the map has. Mirrors Apache's `BloomFilterData`. */
export interface BloomFilterData {
  readonly bitPos: readonly number[];
  readonly bitNum: number;
}

/** Mirrors Apache's `BloomFilter`. */
export class BloomFilter {
  /** Hash functions. */
  readonly k: number;
  /** Bits of a map, a multiple of 8. */
  readonly m: number;

  /** For `expected` groups at an error rate of `errorPercent`, 1 to 99. */
  constructor(errorPercent: number, expected: number) {
    const errorRate = errorPercent / 100;
    this.k = Math.ceil(log(0.5, errorRate));
    this.m = 8 * Math.ceil(Math.ceil(expected * log(2, 1 / errorRate) * log(2, Math.E)) / 8);
  }

  /** Where the text sets bits. Mirrors `BloomFilter.generate`. */
  generate(text: string): BloomFilterData {
    const hash = murmur3(utf8.encode(text));
    const first = Number(BigInt.asIntN(32, hash));
    const second = Number(BigInt.asIntN(32, hash >> 32n));
    const bitPos: number[] = [];
    for (let i = 1; i <= this.k; i++) {
      const combined = (first + Math.imul(i, second)) | 0;
      bitPos.push((combined < 0 ? ~combined : combined) % this.m);
    }
    return { bitPos, bitNum: this.m };
  }
}

function log(base: number, value: number): number {
  return Math.log(value) / Math.log(base);
}

const MASK = (1n << 64n) - 1n;
const C1 = 0x87c37b91114253d5n;
const C2 = 0x4cf5ad432745937fn;

/** The first 64 bits of murmur3_128 with seed 0, unsigned. */
function murmur3(bytes: Uint8Array): bigint {
  let h1 = 0n;
  let h2 = 0n;
  const whole = bytes.length - (bytes.length % 16);
  for (let at = 0; at < whole; at += 16) {
    h1 = rotate(h1 ^ mixFirst(word(bytes, at, at + 8)), 27n) + h2;
    h1 = (h1 * 5n + 0x52dce729n) & MASK;
    h2 = rotate(h2 ^ mixSecond(word(bytes, at + 8, at + 16)), 31n) + h1;
    h2 = (h2 * 5n + 0x38495ab5n) & MASK;
  }
  h1 ^= mixFirst(word(bytes, whole, Math.min(whole + 8, bytes.length)));
  h2 ^= mixSecond(word(bytes, whole + 8, bytes.length));
  const length = BigInt(bytes.length);
  h1 = ((h1 ^ length) + (h2 ^ length)) & MASK;
  h2 = ((h2 ^ length) + h1) & MASK;
  return (finish(h1) + finish(h2)) & MASK;
}

/** Little-endian; 0 when nothing is left. */
function word(bytes: Uint8Array, from: number, to: number): bigint {
  let value = 0n;
  for (let at = to - 1; at >= from; at--) value = (value << 8n) | BigInt(bytes[at]!);
  return value;
}

function mixFirst(k: bigint): bigint {
  return (rotate((k * C1) & MASK, 31n) * C2) & MASK;
}

function mixSecond(k: bigint): bigint {
  return (rotate((k * C2) & MASK, 33n) * C1) & MASK;
}

function rotate(value: bigint, by: bigint): bigint {
  return ((value << by) | (value >> (64n - by))) & MASK;
}

function finish(k: bigint): bigint {
  k = ((k ^ (k >> 33n)) * 0xff51afd7ed558ccdn) & MASK;
  k = ((k ^ (k >> 33n)) * 0xc4ceb9fe1a85ec53n) & MASK;
  return k ^ (k >> 33n);
}
