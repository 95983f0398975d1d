// What the first bytes of an accepted connection turn out to be: a load balancer's header, TLS, or frames. It peeks, takes
// off what stands before the frames, and hands the rest on; the remoting connection drives it once, before its first frame.

import { concatBytes } from "../base/bytes.ts";
import { errorMessage } from "../base/errors.ts";
import type { Connection, NetAddress, TlsServer } from "../runtime/runtime.ts";
import { readProxyHeader } from "./proxy_protocol.ts";

/** TLS of a port that takes plain connections too. Mirrors Apache's `TlsMode`. */
export type TlsMode = "disabled" | "permissive" | "enforcing";

/** A connection ready for frames, or why it is none. */
export type Opening =
  | {
    readonly connection: Connection;
    /** What was read of it beyond the beginning; null: the peer has ended it. Lent until its next read. */
    readonly firstBytes: Uint8Array | null;
    /** Who is behind the load balancer; null: nobody, or it is not said. */
    readonly source: NetAddress | null;
  }
  | { readonly refused: string };

/** The first byte of a TLS client; that of a frame is 0 or 1. */
const TLS_HANDSHAKE = 0x16;

/**
 * Reads the beginning of `plain`. `tls` is null where there is no certificate. Throws what reading throws, and a
 * `ProtocolError` for a broken balancer's header. Mirrors Apache's `HandshakeHandler` and `TlsModeHandler`.
 */
export async function openConnection(plain: Connection, mode: TlsMode, tls: TlsServer | null): Promise<Opening> {
  let bytes = await plain.read();
  let source: NetAddress | null = null;
  if (bytes !== null) {
    const header = await readHeader(plain, bytes);
    if (header !== null) {
      source = header.source;
      bytes = header.rest;
    }
  }
  if (bytes === null) return { connection: plain, firstBytes: null, source };
  if (bytes[0] !== TLS_HANDSHAKE) {
    if (mode === "enforcing") return { refused: "It does not begin with TLS, and tlsServerMode is enforcing" };
    return { connection: plain, firstBytes: bytes, source };
  }
  if (mode === "disabled") return { refused: "It begins with TLS, and tlsServerMode is disabled" };
  if (tls === null) {
    return {
      refused: "It begins with TLS, and there is no certificate: tlsServerCertPath and tlsServerKeyPath name one",
    };
  }
  let connection: Connection;
  try {
    connection = await tls.secure(plain, bytes);
  } catch (error) {
    return { refused: errorMessage(error) };
  }
  return { connection, firstBytes: await connection.read(), source };
}

/** A balancer's header if there is one, and what follows it: at least one byte, or null at the end. */
async function readHeader(plain: Connection, first: Uint8Array) {
  let bytes = first;
  let header = readProxyHeader(bytes);
  if (header === null) return null;
  while (header === "more") {
    const held = new Uint8Array(bytes);
    const chunk = await plain.read();
    if (chunk === null) return { source: null, rest: null };
    bytes = concatBytes([held, chunk]);
    header = readProxyHeader(bytes);
  }
  const { size, source } = header!;
  return { source, rest: bytes.length > size ? bytes.subarray(size) : await plain.read() };
}
