// The simulator's only source of chance: xoshiro128** over 32-bit integers, so that one seed means one run on every
// runtime. Each component draws from its own fork, named by a label, so that a change in one does not reshuffle all.

import { assert } from "../../base/errors.ts";

const TWO_32 = 0x1_0000_0000;
const MILLION = 1_000_000;

/** A seeded generator. Not for secrets. */
export class Prng {
  readonly seed: number;
  readonly #state = new Uint32Array(4);

  /** `seed` is any safe integer; its low 53 bits count. */
  constructor(seed: number) {
    assert(Number.isSafeInteger(seed), `Seed is ${seed}, wanted a safe integer`);
    this.seed = seed;
    let mixed = mix32((seed >>> 0) ^ mix32(Math.floor(seed / TWO_32) >>> 0));
    for (let i = 0; i < 4; i++) {
      mixed = (mixed + 0x9e3779b9) >>> 0;
      this.#state[i] = mix32(mixed);
    }
    if (this.#state.every((word) => word === 0)) this.#state[0] = 1;
  }

  /** A generator of its own for `label`. Depends on the seed and the label only, not on what was drawn before. */
  fork(label: string): Prng {
    let high = 0x811c9dc5 ^ (Math.floor(this.seed / TWO_32) >>> 0);
    let low = 0x01000193 ^ (this.seed >>> 0);
    for (let i = 0; i < label.length; i++) {
      high = Math.imul(high ^ label.charCodeAt(i), 0x01000193);
      low = mix32((low + label.charCodeAt(i)) >>> 0);
    }
    return new Prng((mix32(high >>> 0) & 0x1fffff) * TWO_32 + (mix32(low >>> 0) >>> 0));
  }

  /** 32 random bits as an unsigned integer. */
  nextUint32(): number {
    const s = this.#state;
    const result = Math.imul(rotateLeft(Math.imul(s[1]!, 5), 7), 9) >>> 0;
    const shifted = s[1]! << 9;
    s[2]! ^= s[0]!;
    s[3]! ^= s[1]!;
    s[1]! ^= s[2]!;
    s[0]! ^= s[3]!;
    s[2]! ^= shifted;
    s[3] = rotateLeft(s[3]!, 11);
    return result;
  }

  /** An integer in `[0, bound)`, every value equally likely; `1 <= bound <= 2^32`. */
  nextInt(bound: number): number {
    assert(Number.isInteger(bound) && bound >= 1 && bound <= TWO_32, `Bound is ${bound}, wanted 1 to 2^32`);
    const limit = TWO_32 - (TWO_32 % bound);
    let value = this.nextUint32();
    while (value >= limit) value = this.nextUint32();
    return value % bound;
  }

  /** An integer in `[min, max]`. */
  between(min: number, max: number): number {
    return max <= min ? min : min + this.nextInt(max - min + 1);
  }

  /** True `perMillion` times in a million. Draws nothing for 0, so that a fault switched off changes no other draw. */
  chance(perMillion: number): boolean {
    return perMillion > 0 && this.nextInt(MILLION) < perMillion;
  }

  /** Fills a new array. */
  bytes(count: number): Uint8Array {
    const out = new Uint8Array(count);
    for (let i = 0; i < count; i++) out[i] = this.nextUint32() >>> 24;
    return out;
  }

  /** One of `items`, which must not be empty. */
  pick<T>(items: readonly T[]): T {
    assert(items.length > 0, "Nothing to pick from");
    return items[this.nextInt(items.length)]!;
  }
}

function rotateLeft(value: number, bits: number): number {
  return ((value << bits) | (value >>> (32 - bits))) >>> 0;
}

/** A 32-bit finalizer in which every input bit reaches every output bit. */
function mix32(value: number): number {
  let mixed = value ^ (value >>> 16);
  mixed = Math.imul(mixed, 0x85ebca6b);
  mixed ^= mixed >>> 13;
  mixed = Math.imul(mixed, 0xc2b2ae35);
  return (mixed ^ (mixed >>> 16)) >>> 0;
}
