// Bounds what request bodies take: the size of one, the time one may take to come, and what all together hold in memory.
// It reads a body whole before a handler runs; what is in it is the handler's business.

import type { Context } from "hono";
import { deferred } from "../base/async.ts";
import type { Clock } from "../runtime/runtime.ts";

/** Time a body may take to come, ms: until then it counts among those in flight. */
const BODY_TIME_MS = 30_000;
/** Bodies being taken in or answered at once, bytes. */
const IN_FLIGHT_MAX = 64 * 1024 * 1024;

/** Middleware: answers 413, 408 or 503 for a body beyond the bounds. `maxSize` is the largest body of a path, bytes. */
export function limitBodies(clock: Clock, maxSize: (path: string) => number) {
  let inFlight = 0;
  return async (c: Context, next: () => Promise<void>) => {
    // Not its signal: nobody here goes by it, and Deno warns on stderr of whoever reads it.
    const { body, method, url, headers } = c.req.raw;
    if (body === null) return await next();
    const max = maxSize(c.req.path);
    const declared = Number(c.req.header("content-length") ?? max);
    if (declared > max) return c.json({ error: tooLarge(max) }, 413);
    const size = Number.isSafeInteger(declared) && declared >= 0 ? declared : max;
    if (inFlight + size > IN_FLIGHT_MAX) return c.json({ error: "Too many puts at once, try again" }, 503);
    inFlight += size;
    try {
      const bytes = await readBody(body, max, clock);
      if (bytes === "slow") return c.json({ error: `Body did not come in ${BODY_TIME_MS} ms` }, 408);
      if (bytes === "large") return c.json({ error: tooLarge(max) }, 413);
      c.req.raw = new Request(url, { method, headers, body: bytes });
      await next();
    } finally {
      inFlight -= size;
    }
  };
}

const tooLarge = (max: number) => `Body is too large, wanted at most ${max} bytes`;

async function readBody(
  body: ReadableStream<Uint8Array>,
  max: number,
  clock: Clock,
): Promise<Uint8Array<ArrayBuffer> | "slow" | "large"> {
  const reader = body.getReader();
  const { promise: late, resolve } = deferred<"slow">();
  const timer = clock.setTimer(BODY_TIME_MS, () => resolve("slow"));
  const chunks: Uint8Array[] = [];
  let size = 0;
  try {
    while (true) {
      const part = await Promise.race([reader.read(), late]);
      if (part === "slow") return part;
      if (part.done) break;
      size += part.value.length;
      if (size > max) return "large";
      chunks.push(part.value);
    }
  } finally {
    timer.cancel();
    // No more of it is wanted; nobody waits for the sender to hear of that.
    reader.cancel().catch(() => {});
  }
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const chunk of chunks) {
    bytes.set(chunk, at);
    at += chunk.length;
  }
  return bytes;
}
