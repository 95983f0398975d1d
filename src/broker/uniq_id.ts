// Unique message ids for messages that came without one: Apache's form, so that clients and tools can take them apart.

import type { Random } from "../runtime/runtime.ts";
import type { RecordHost } from "../store/types.ts";

/** Ids made so far, by the program they are made in. */
const counters = new WeakMap<Random, number>();

/**
 * Upper-case hex of address, process (2 bytes), loader (4), ms since the month began (4) and a counter (2): 32 or 56
 * characters. The process and loader bytes are random. Mirrors `MessageClientIDSetter.createUniqID`.
 */
export function createUniqId(host: RecordHost, { random, now }: { random: Random; now: () => number }): string {
  const bytes = new Uint8Array(host.address.length + 12);
  bytes.set(host.address, 0);
  bytes.set(random.bytes(6), host.address.length);
  const date = new Date(now());
  const sinceMonth = now() - Date.UTC(date.getUTCFullYear(), date.getUTCMonth(), 1);
  const view = new DataView(bytes.buffer);
  view.setUint32(host.address.length + 6, sinceMonth >>> 0);
  const counter = ((counters.get(random) ?? 0) + 1) & 0xffff;
  counters.set(random, counter);
  view.setUint16(host.address.length + 10, counter);
  let text = "";
  for (const byte of bytes) text += byte.toString(16).padStart(2, "0");
  return text.toUpperCase();
}
