// What the targets ask of every decoder: the errors it may throw and how they read, the memory it may take, and that
// the same bytes mean the same however they come. Nothing here knows a format.

import assert from "node:assert/strict";

/** Result of {@link outcome}: a value, or a declared error. */
export type Outcome<T> = { readonly value: T; readonly error: null } | { readonly value: null; readonly error: Error };

type ErrorClass = abstract new (...args: never[]) => Error;

/** Runs a decoder. An error must be of a declared class, and read as {@link assertGoodMessage} says. */
export function outcome<T>(decode: () => T, ...declared: ErrorClass[]): Outcome<T> {
  try {
    return { value: decode(), error: null };
  } catch (error) {
    return { value: null, error: declaredError(error, declared) };
  }
}

/** {@link outcome} of a promise. */
export async function outcomeOf<T>(decoding: Promise<T>, ...declared: ErrorClass[]): Promise<Outcome<T>> {
  try {
    return { value: await decoding, error: null };
  } catch (error) {
    return { value: null, error: declaredError(error, declared) };
  }
}

function declaredError(error: unknown, declared: readonly ErrorClass[]): Error {
  if (!(error instanceof Error) || !declared.some((each) => error instanceof each)) {
    const names = declared.map((each) => each.name).join(" or ") || "nothing";
    throw new Error(`Threw ${error instanceof Error ? `${error.name}: ${error.message}` : error}, wanted ${names}`, {
      cause: error,
    });
  }
  assertGoodMessage(error.message);
  return error;
}

/** Longest text of an error: what was seen is quoted, not echoed whole. */
const MESSAGE_MAX = 600;

/** The value wanted, a bound, or advice. */
const SAYS_WHAT_TO_DO = /wanted|left|leaves|deeper|did you mean|unknown|; (stop|remove|set) /;

/** An error says what is wrong and what was wanted, in one line that can't steer a terminal or forge a log line. */
export function assertGoodMessage(message: string): void {
  const text = JSON.stringify(message.slice(0, 2 * MESSAGE_MAX));
  assert.ok(message.length <= MESSAGE_MAX, `Error text has ${message.length} characters: ${text}`);
  assert.match(message, /^[A-Z_a-z]/, `Error text ${text} begins oddly`);
  assert.match(message, SAYS_WHAT_TO_DO, `Error text ${text} does not say what was wanted`);
  assertPlain(message);
}

/** Whether text holds a character that steers a terminal, ends a line, or turns the reading direction. */
export function steers(text: string): boolean {
  return /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/u.test(text);
}

/** Text for people holds no such character. */
export function assertPlain(text: string): void {
  assert.ok(!steers(text), `Text holds a control character: ${JSON.stringify(text.slice(0, 400))}`);
}

/** Every part of `bytes` cut at the places that `cuts` names; parts may be empty. */
export function split(bytes: Uint8Array, cuts: readonly number[]): Uint8Array[] {
  const places = [0, ...[...cuts].sort((a, b) => a - b), bytes.length];
  return places.slice(1).map((end, i) => bytes.slice(places[i]!, end));
}

/** Ways to hand over the same bytes: whole, one by one (when few), and cut at some places that depend on the bytes. */
export function deliveries(bytes: Uint8Array): Uint8Array[][] {
  const { length } = bytes;
  const ways = [[bytes]];
  if (length <= 2048) ways.push(split(bytes, Array.from({ length: Math.max(0, length - 1) }, (_, i) => i + 1)));
  for (let from = 1; from <= 3; from++) {
    const step = from * 7 + length % 13;
    ways.push(
      split(
        bytes,
        Array.from({ length: Math.floor(length / step) }, (_, i) => from + i * step).filter((at) => at < length),
      ),
    );
  }
  return ways;
}

const RealUint8Array = Uint8Array;

/**
 * Bytes that `work` takes in all through `new Uint8Array(...)`, views not counted: an upper bound of what it holds, of
 * code that gets its memory in that way only, as this engine does.
 */
export function allocatedBy(work: () => void): number {
  let total = 0;
  globalThis.Uint8Array = new Proxy(RealUint8Array, {
    construct(target, args, newTarget) {
      const made = Reflect.construct(target, args, newTarget === globalThis.Uint8Array ? target : newTarget);
      if (!(args[0] instanceof ArrayBuffer)) total += made.length;
      return made;
    },
  });
  try {
    work();
  } finally {
    globalThis.Uint8Array = RealUint8Array;
  }
  return total;
}

/** `work` takes at most `multiple` times the input and `constant` bytes more, whatever lengths the input announces. */
export function assertMemory(work: () => void, input: number, multiple: number, constant: number): void {
  const total = allocatedBy(work);
  const limit = multiple * input + constant;
  assert.ok(total <= limit, `Took ${total} bytes for an input of ${input}, wanted at most ${limit}`);
}

/** A reader of an input that is a script: numbers one after another, 0 beyond its end. */
export class Script {
  readonly #bytes: Uint8Array;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = bytes;
  }

  get isOver(): boolean {
    return this.#at >= this.#bytes.length;
  }

  byte(): number {
    return this.#bytes[this.#at++] ?? 0;
  }

  uint16(): number {
    return this.byte() * 256 + this.byte();
  }

  /** An offset: mostly small, sometimes at the edges. */
  offset(): number {
    const shape = this.byte();
    if (shape >= 0xf8) return [2 ** 31, 2 ** 32, 2 ** 53 - 1, 2 ** 53 - 4096, 2 ** 40, -1, -8, 0][shape - 0xf8]!;
    return (shape % 8) * 65_536 + this.uint16();
  }

  /** The next `count` bytes, fewer at the end. */
  take(count: number): Uint8Array {
    const part = this.#bytes.slice(this.#at, this.#at + count);
    this.#at += part.length;
    return part;
  }

  rest(): Uint8Array {
    return this.take(this.#bytes.length);
  }
}
