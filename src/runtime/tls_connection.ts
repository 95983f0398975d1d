// One secured connection: a node:tls socket that speaks through a stream of ours over a plain connection. The runtimes'
// own TLS sockets bound neither what they take nor what they hold (Deno's takes 64 MiB at once), so both bounds are kept
// here: the plain connection is read only while there is room, and a write is over once its cipher text has left.

import { Duplex } from "node:stream";
import type tls from "node:tls";
import { type Deferred, deferred } from "../base/async.ts";
import { errorMessage, IoError } from "../base/errors.ts";
import { closedError, errorCode } from "./map_error.ts";
import type { Connection, NetAddress } from "./runtime.ts";

/** Plain text handed over at a time; so much more memory than its caller's a write may take. */
const WRITE_BYTES_MAX = 256 * 1024;
/** Plain text that waits for a reader at most before the plain connection is no longer read. */
const RECEIVED_BYTES_MAX = 256 * 1024;

/** The cipher text's way: what node:tls takes for a socket. */
export class CipherStream extends Duplex {
  /** Hears of a plain connection that failed. */
  onFailure: (error: IoError) => void = () => {};
  /** Hears of the end of what the peer sends. */
  onEnd: () => void = () => {};
  /** Whether its end is the plain connection's. */
  closesPlain = true;
  readonly #plain: Connection;
  #first: Uint8Array | null;
  #room: Deferred<void> | null = null;
  #pulling = false;
  #drained: Deferred<void> | null = null;

  /** `first`: bytes of the plain connection that were read already. */
  constructor(plain: Connection, first: Uint8Array | null = null) {
    super({ allowHalfOpen: true, emitClose: true });
    this.#plain = plain;
    this.#first = first === null ? null : new Uint8Array(first);
    // Whoever destroys it learns why by `onFailure`; without a listener the event would end the process.
    this.on("error", () => {});
  }

  /** Stops, or goes on, reading the plain connection. */
  setReading(on: boolean): void {
    if (!on) this.#room ??= deferred<void>();
    else {
      this.#room?.resolve();
      this.#room = null;
    }
  }

  /** Resolves once all cipher text handed over has left, or never will. */
  async drained(): Promise<void> {
    if (this.writableLength === 0 || this.destroyed) return;
    this.#drained ??= deferred<void>();
    await this.#drained.promise;
  }

  override _read(): void {
    if (!this.#pulling) void this.#pull();
  }

  async #pull(): Promise<void> {
    this.#pulling = true;
    try {
      for (let more = true; more;) {
        if (this.#room !== null) await this.#room.promise;
        const first = this.#first;
        this.#first = null;
        const chunk = first ?? await this.#plain.read();
        if (this.destroyed) return;
        if (chunk === null) this.onEnd();
        // Lent to us, but not to the TLS engine.
        more = this.push(chunk === null ? null : new Uint8Array(chunk)) && chunk !== null;
      }
    } catch (error) {
      this.#fail(error);
    } finally {
      this.#pulling = false;
    }
  }

  override _write(chunk: Uint8Array, _encoding: string, callback: (error?: Error | null) => void): void {
    this.#plain.write(chunk).then(() => {
      callback();
      if (this.writableLength === 0) this.#settleDrained();
    }, (error) => {
      this.#fail(error);
      callback();
    });
  }

  override _final(callback: (error?: Error | null) => void): void {
    this.#plain.shutdownWrite().then(() => callback(), () => callback());
  }

  override _destroy(_error: Error | null, callback: (error?: Error | null) => void): void {
    if (this.closesPlain) this.#plain.close();
    this.#settleDrained();
    this.setReading(true);
    callback(null);
  }

  #fail(error: unknown): void {
    // Destroyed: it failed because we closed it.
    if (this.destroyed) return;
    this.onFailure(error instanceof IoError ? error : new IoError("other", errorMessage(error)));
    this.destroy();
  }

  #settleDrained(): void {
    this.#drained?.resolve();
    this.#drained = null;
  }
}

/** A {@link Connection} over a socket whose handshake has succeeded. */
export class TlsConnection implements Connection {
  readonly localAddress: NetAddress;
  readonly remoteAddress: NetAddress;
  readonly closed: Promise<void>;
  readonly #plain: Connection;
  readonly #stream: CipherStream;
  readonly #socket: tls.TLSSocket;
  readonly #received: Uint8Array[] = [];
  #receivedBytes = 0;
  #reader: Deferred<Uint8Array | null> | null = null;
  #writing = false;
  /** Rejects what waits when the connection ends; a write races with it. */
  readonly #over: Deferred<never> = deferred<never>();
  #readEnded = false;
  #writeEnded = false;
  #failure: IoError | null = null;

  constructor(plain: Connection, stream: CipherStream, socket: tls.TLSSocket) {
    this.#plain = plain;
    this.#stream = stream;
    this.#socket = socket;
    this.localAddress = plain.localAddress;
    this.remoteAddress = plain.remoteAddress;
    this.closed = plain.closed;
    this.#over.promise.catch(() => {});
    stream.onFailure = (error) => this.#fail(error);
    stream.onEnd = () => {};
    socket.on("data", (chunk: Uint8Array) => this.#onData(chunk));
    socket.on("end", () => this.#onEnd());
    socket.on("error", (error) => {
      this.#fail(new IoError("reset", `${this.#name()} failed: ${tlsReason(error, socket)}`, errorCode(error)));
    });
    socket.on("close", () => this.#fail(new IoError("reset", `${this.#name()} failed: closed by the peer`)));
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#reader !== null) throw new Error("A read is already pending");
    const chunk = this.#failure?.kind === "closed" ? undefined : this.#received.shift();
    if (chunk !== undefined) {
      this.#receivedBytes -= chunk.length;
      if (this.#receivedBytes < RECEIVED_BYTES_MAX) this.#stream.setReading(true);
      return chunk;
    }
    if (this.#readEnded && this.#failure?.kind !== "closed") return null;
    if (this.#failure !== null) throw this.#failure;
    this.#reader = deferred();
    return await this.#reader.promise;
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#writing) throw new Error("A write is already pending");
    if (this.#failure !== null) throw this.#failure;
    this.#writing = true;
    try {
      for (let at = 0; at < bytes.length; at += WRITE_BYTES_MAX) {
        const piece = bytes.subarray(at, at + WRITE_BYTES_MAX);
        const written = new Promise<void>((resolve) => this.#socket.write(piece, () => resolve()));
        await Promise.race([written, this.#over.promise]);
        await Promise.race([this.#stream.drained(), this.#over.promise]);
        if (this.#failure !== null) throw this.#failure;
      }
    } finally {
      this.#writing = false;
    }
  }

  async shutdownWrite(): Promise<void> {
    if (this.#failure !== null) throw this.#failure;
    this.#writeEnded = true;
    this.#socket.end();
    await Promise.race([this.#stream.drained(), this.#over.promise]);
    this.#releaseWhenEnded();
  }

  close(): void {
    this.#failure = closedError(this.#name());
    this.#end();
  }

  #onData(chunk: Uint8Array): void {
    const reader = this.#reader;
    if (reader !== null) {
      this.#reader = null;
      return reader.resolve(chunk);
    }
    this.#received.push(chunk);
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes >= RECEIVED_BYTES_MAX) this.#stream.setReading(false);
  }

  #onEnd(): void {
    this.#readEnded = true;
    this.#reader?.resolve(null);
    this.#reader = null;
    this.#releaseWhenEnded();
  }

  #releaseWhenEnded(): void {
    if (!this.#readEnded || !this.#writeEnded) return;
    this.#fail(new IoError("reset", `${this.#name()} failed: it has ended`));
  }

  /** The first reason counts; what was received before can still be read. */
  #fail(error: IoError): void {
    if (this.#failure !== null) return;
    this.#failure = error;
    this.#end();
  }

  #end(): void {
    const failure = this.#failure!;
    this.#reader?.reject(failure);
    this.#reader = null;
    this.#over.reject(failure);
    this.#socket.destroy();
    this.#stream.destroy();
    this.#plain.close();
  }

  #name(): string {
    return `TLS connection with ${this.remoteAddress.hostname}:${this.remoteAddress.port}`;
  }
}

/** What there is to say of a handshake that just ended. */
export const LEFT = "The peer left during the TLS handshake";

/** What there is to say of a peer whose first bytes are no TLS. */
export const SPEAKS_NO_TLS = "The peer speaks no TLS";

/** Why TLS failed, in words of ours: a runtime's texts hold addresses and line breaks. */
export function tlsReason(error: Error, socket: tls.TLSSocket | undefined): string {
  const code = errorCode(error) ?? "";
  // Where the certificate was seen and refused, the error may say no more than that the socket is gone.
  const refused = (socket as { authorizationError?: unknown } | undefined)?.authorizationError;
  if (typeof refused === "string" && refused !== "") return `The peer's certificate is not accepted: ${refused}`;
  if (code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") return "The peer shows no certificate";
  if (/WRONG_VERSION_NUMBER|UNEXPECTED_MESSAGE|HTTP_REQUEST|INVALID_CONTENT/.test(code)) {
    return SPEAKS_NO_TLS;
  }
  if (/PROTOCOL/.test(code)) return `No common TLS version, wanted 1.2 or later: ${code}`;
  if (/ALERT.*(CERT|CA$|DENIED)/.test(code)) return `The peer does not accept this node's certificate: ${code}`;
  if (/^(ECONN|EPIPE|ERR_STREAM)/.test(code)) return LEFT;
  if (/CERT|SIGNATURE|ISSUER/.test(code)) return `The peer's certificate is not accepted: ${code}`;
  return `TLS handshake failed: ${code === "" ? oneLine(errorMessage(error)) : code}`;
}

/** Foreign text as one short line. */
export function oneLine(text: string): string {
  return text.replaceAll(/[^\x20-\x7e]+/g, " ").slice(0, 120).trim();
}
