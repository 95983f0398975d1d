// The header that a load balancer may put before a connection's own bytes (HAProxy's PROXY protocol, versions 1 and 2), so
// that the server learns who is behind it. Pure: bytes in, address out.
//
//   1: "PROXY TCP4 10.0.0.9 10.0.0.1 51234 10911\r\n", at most 107 bytes
//   2: | 12 signature | 1 version 2, command | 1 family, protocol | 2 size | addresses and more, size bytes |

import { ProtocolError } from "../base/errors.ts";
import { readInt16, utf8 } from "../base/bytes.ts";
import { quoted } from "../base/printable.ts";
import type { NetAddress } from "../runtime/runtime.ts";

const SIGNATURE_2 = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const SIGNATURE_1 = [0x50, 0x52, 0x4f, 0x58, 0x59, 0x20];
const LINE_SIZE_MAX = 107;
const FIXED_SIZE_2 = 16;
/** Bytes behind the fixed ones of version 2, at most: addresses and what else a balancer tells. Ours. */
const REST_SIZE_MAX = 4096;

/** A header that is whole. */
export interface ProxyHeader {
  /** Its bytes. */
  readonly size: number;
  /** Who is behind the balancer; null: it does not say, or asks on its own behalf. */
  readonly source: NetAddress | null;
}

/**
 * The header at the start of `bytes` (at least one): null when they begin with something else, `more` when they may
 * become one. Throws {@link ProtocolError} for a broken one. Mirrors Netty's `HAProxyMessageDecoder`.
 */
export function readProxyHeader(bytes: Uint8Array): ProxyHeader | "more" | null {
  for (const [signature, read] of [[SIGNATURE_1, readLine], [SIGNATURE_2, readBinary]] as const) {
    const shared = Math.min(bytes.length, signature.length);
    if (!signature.slice(0, shared).every((byte, index) => bytes[index] === byte)) continue;
    return shared < signature.length ? "more" : read(bytes);
  }
  return null;
}

function readLine(bytes: Uint8Array): ProxyHeader | "more" {
  const end = bytes.subarray(0, LINE_SIZE_MAX).indexOf(0x0a);
  if (end < 0) {
    if (bytes.length < LINE_SIZE_MAX) return "more";
    throw new ProtocolError(`PROXY line has no end, wanted one within ${LINE_SIZE_MAX} bytes`);
  }
  const line = utf8.decode(bytes.subarray(0, end + 1));
  const match = /^PROXY (?:UNKNOWN(?: [^\r\n]*)?|(TCP[46]) (\S+) \S+ (\d{1,5}) \d{1,5})\r\n$/.exec(line);
  if (match === null) {
    throw new ProtocolError(`PROXY line is ${quoted(line.trimEnd())}, wanted protocol, addresses, ports`);
  }
  const [, protocol, host, port] = match;
  if (protocol === undefined) return { size: end + 1, source: null };
  if (!isAddress(protocol, host!) || Number(port) > 65535) {
    throw new ProtocolError(`PROXY line names ${quoted(host!)}, port ${port}, wanted an address of ${protocol}`);
  }
  return { size: end + 1, source: { hostname: host!, port: Number(port) } };
}

function isAddress(protocol: string, host: string): boolean {
  return protocol === "TCP4"
    ? /^(\d{1,3}\.){3}\d{1,3}$/.test(host) && host.split(".").every((each) => Number(each) < 256)
    : /^[0-9a-fA-F:.]{2,45}$/.test(host);
}

function readBinary(bytes: Uint8Array): ProxyHeader | "more" {
  if (bytes.length < FIXED_SIZE_2) return "more";
  const version = bytes[12]! >>> 4;
  const command = bytes[12]! & 15;
  if (version !== 2 || command > 1) {
    throw new ProtocolError(
      `PROXY header has version ${version}, command ${command}, wanted version 2, command 0 or 1`,
    );
  }
  const restSize = readInt16(bytes, 14) & 0xffff;
  if (restSize > REST_SIZE_MAX) {
    throw new ProtocolError(`PROXY header has ${restSize} bytes, wanted at most ${REST_SIZE_MAX}`);
  }
  const size = FIXED_SIZE_2 + restSize;
  if (bytes.length < size) return "more";
  return { size, source: command === 0 ? null : sourceOf(bytes.subarray(FIXED_SIZE_2, size), bytes[13]! >>> 4) };
}

/** Addresses of both ends, then both ports. */
function sourceOf(rest: Uint8Array, family: number): NetAddress | null {
  if (family === 1 && rest.length >= 12) {
    return { hostname: rest.subarray(0, 4).join("."), port: readInt16(rest, 8) & 0xffff };
  }
  if (family !== 2 || rest.length < 36) return null;
  const words = Array.from({ length: 8 }, (_, index) => (readInt16(rest, 2 * index) & 0xffff).toString(16));
  return { hostname: words.join(":"), port: readInt16(rest, 32) & 0xffff };
}
