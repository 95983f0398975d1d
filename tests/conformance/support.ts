// Small helpers of the conformance suites: pairs of connections, whole reads, patterns, expected failures.

import assert from "node:assert/strict";
import { IoError, type IoErrorKind } from "../../src/base/errors.ts";
import type { Connection, Listener } from "../../src/runtime/runtime.ts";
import type { ConformanceEnv } from "./env.ts";

/** Two ends of one connection and the listener that made it. */
export interface Pair {
  readonly listener: Listener;
  /** The end that connected. */
  readonly client: Connection;
  /** The end that was accepted. */
  readonly server: Connection;
}

/** Listens on a free port and connects to it. */
export async function connectPair(env: ConformanceEnv): Promise<Pair> {
  const listener = await env.runtime.net.listen({ hostname: env.hostname, port: 0 });
  const accepting = listener.accept();
  const client = await env.runtime.net.connect({ ...listener.address, hostname: env.hostname, timeoutMs: 5_000 });
  const server = await accepting;
  assert.ok(server);
  return { listener, client, server };
}

/** Closes everything. */
export function closePair({ listener, client, server }: Pair): void {
  client.close();
  server.close();
  listener.close();
}

/** Byte `at` of the pattern used by all suites; its period of 251 is no divisor of any buffer size. */
export function patternByte(at: number): number {
  return at % 251;
}

/** `size` bytes of the pattern, from position `start`. */
export function pattern(size: number, start = 0): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  for (let i = 0; i < size; i++) bytes[i] = patternByte(start + i);
  return bytes;
}

/** Reads exactly `size` bytes, copying them out of the lent views. Fails when the stream ends before. */
export async function readExactly(connection: Connection, size: number): Promise<Uint8Array> {
  const out = new Uint8Array(size);
  let at = 0;
  while (at < size) {
    const chunk = await connection.read();
    assert.ok(chunk !== null, `The stream ended after ${at} of ${size} bytes`);
    assert.ok(chunk.length > 0 && at + chunk.length <= size, `Read ${chunk.length} bytes at ${at} of ${size}`);
    out.set(chunk, at);
    at += chunk.length;
  }
  return out;
}

/** Reads to the end of the stream; checks the pattern in sight, so nothing is kept. Returns the count. */
export async function readPatternToEnd(connection: Connection): Promise<number> {
  let at = 0;
  while (true) {
    const chunk = await connection.read();
    if (chunk === null) return at;
    assert.deepEqual(chunk[0], patternByte(at));
    assert.deepEqual(chunk[chunk.length - 1], patternByte(at + chunk.length - 1));
    at += chunk.length;
  }
}

/** Asserts that `promise` rejects with an {@link IoError} of this kind. */
export async function rejectsWith(promise: Promise<unknown>, kind: IoErrorKind): Promise<void> {
  const error = await promise.then(() => null, (error: unknown) => error);
  assert.ok(error instanceof IoError, `Wanted IoError ${kind}, got ${error}`);
  assert.equal(error.kind, kind, error.message);
}

/** Asserts that `call` throws an {@link IoError} of this kind. */
export function throwsWith(call: () => unknown, kind: IoErrorKind): void {
  assert.throws(call, (error) => {
    assert.ok(error instanceof IoError, `Wanted IoError ${kind}, got ${error}`);
    assert.equal(error.kind, kind, error.message);
    return true;
  });
}

/** Whether `promise` settles within `ms` of the runtime's clock. */
export function settlesWithin(env: ConformanceEnv, promise: Promise<unknown>, ms: number): Promise<boolean> {
  return new Promise((resolve) => {
    const timer = env.runtime.clock.setTimer(ms, () => resolve(false));
    const settled = (): void => {
      timer.cancel();
      resolve(true);
    };
    promise.then(settled, settled);
  });
}
