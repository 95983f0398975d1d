// One node:net or node:tls socket behind Connection: the engine pulls bytes and writes bytes, and what Node pushes is held
// back within a bound. Used by Node's adapter for plain sockets and by all three for TLS; it opens and accepts nothing.

import type net from "node:net";
import { Buffer } from "node:buffer";
import { type Deferred, deferred } from "../base/async.ts";
import { IoError } from "../base/errors.ts";
import { closedError, toIoError } from "./map_error.ts";
import type { Connection, NetAddress } from "./runtime.ts";

// Received bytes held at most before Node is told to stop reading; one more chunk may then still arrive.
const RECEIVED_BYTES_MAX = 512 * 1024;
// Buffers of a connection we opened: Node fills one while the reader holds another, so nothing is copied or allocated.
const READ_BUFFER_COUNT = 3;
const READ_BUFFER_BYTES = 256 * 1024;
/** A {@link Connection} over a socket of Node's kind, and what it received so far. */
export class NodeConnection implements Connection {
  readonly localAddress: NetAddress;
  readonly remoteAddress: NetAddress;
  readonly closed: Promise<void>;
  readonly #socket: net.Socket;
  readonly #received: Received;
  #reader: Deferred<Uint8Array | null> | null = null;
  #writer: Deferred<void> | null = null;
  #ended = false;
  #closedHere = false;
  #failure: IoError | null = null;

  /** `remote` where the socket itself may no longer know. */
  constructor(socket: net.Socket, received: Received, remote?: NetAddress) {
    this.#socket = socket;
    this.#received = received;
    this.localAddress = { hostname: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    this.remoteAddress = remote ?? { hostname: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
    const closed = deferred<void>();
    this.closed = closed.promise;
    received.onArrival = () => this.#deliver();
    socket.on("end", () => {
      this.#ended = true;
      this.#deliver();
    });
    socket.on("error", (error) => {
      this.#failure ??= toIoError(error, this.#name());
    });
    socket.on("close", () => {
      this.#failPending();
      closed.resolve();
    });
  }

  read(): Promise<Uint8Array | null> {
    if (this.#reader !== null) return Promise.reject(new Error("A read is already pending"));
    this.#received.giveBack();
    const reader = this.#reader = deferred<Uint8Array | null>();
    this.#deliver();
    if (this.#reader !== null) {
      if (this.#socket.destroyed) this.#failPending();
      else this.#socket.resume();
    }
    return reader.promise;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#writer !== null) return Promise.reject(new Error("A write is already pending"));
    const writer = this.#writer = deferred<void>();
    this.#socket.write(bytes, (error) => {
      if (this.#writer !== writer) return;
      if (!error) this.#settleWriter();
      // Its reason comes with the events `error` and `close`, unless the socket has long been closed.
      else if (this.#socket.closed) this.#failPending();
      else if (!this.#socket.destroyed) this.#settleWriter(toIoError(error, this.#name()));
    });
    return writer.promise;
  }

  shutdownWrite(): Promise<void> {
    if (this.#socket.destroyed) return Promise.reject(this.#reason());
    return new Promise((resolve, reject) => {
      this.#socket.end((error?: Error | null) => error ? reject(this.#reason()) : resolve());
    });
  }

  close(): void {
    this.#closedHere = true;
    this.#socket.destroy();
    this.#failPending();
  }

  // Hands over what there is; keeps reading going while there is room.
  #deliver(): void {
    const reader = this.#reader;
    if (reader === null || this.#closedHere) return;
    const chunk = this.#received.take();
    if (chunk === null && !this.#ended) return;
    this.#reader = null;
    reader.resolve(chunk);
    if (chunk !== null && this.#received.hasRoom()) this.#socket.resume();
  }

  #settleWriter(error?: IoError): void {
    const writer = this.#writer;
    this.#writer = null;
    if (error) writer?.reject(error);
    else writer?.resolve();
  }

  #failPending(): void {
    const reader = this.#reader;
    this.#reader = null;
    if (this.#ended && !this.#closedHere) reader?.resolve(null);
    else reader?.reject(this.#reason());
    if (this.#writer !== null) this.#settleWriter(this.#reason());
  }

  #reason(): IoError {
    if (this.#closedHere) return closedError(this.#name());
    return this.#failure ?? new IoError("reset", `${this.#name()} failed: closed by the peer`);
  }

  #name(): string {
    return `Connection with ${this.remoteAddress.hostname}:${this.remoteAddress.port}`;
  }
}

/** Bytes Node gave us that the reader hasn't taken yet. */
export interface Received {
  onArrival: () => void;
  /** The next chunk, lent until {@link giveBack}. */
  take(): Uint8Array | null;
  giveBack(): void;
  hasRoom(): boolean;
}

/** For accepted sockets: Node allocates each chunk (64 KiB at most). */
export class ReceivedChunks implements Received {
  onArrival = (): void => {};
  readonly #chunks: Uint8Array[] = [];
  #bytes = 0;

  constructor(socket: net.Socket) {
    socket.on("data", (chunk: Uint8Array) => {
      this.#chunks.push(chunk);
      this.#bytes += chunk.length;
      if (!this.hasRoom()) socket.pause();
      this.onArrival();
    });
    socket.pause();
  }

  take(): Uint8Array | null {
    const chunk = this.#chunks.shift();
    if (chunk === undefined) return null;
    this.#bytes -= chunk.length;
    return chunk;
  }

  giveBack(): void {}

  hasRoom(): boolean {
    return this.#bytes < RECEIVED_BYTES_MAX;
  }
}

/** For sockets we opened: Node reads straight into a ring of our buffers. */
export class ReceivedRing implements Received {
  onArrival = (): void => {};
  readonly #buffers: Uint8Array[] = [];
  #filling = 0;
  // Filled and not taken, oldest first: views into the buffers before `#filling`.
  readonly #filled: Uint8Array[] = [];
  #lent = 0;

  /** Node's `onread` option. */
  readonly onread = {
    buffer: (): Uint8Array => this.#buffers[this.#filling] ??= Buffer.allocUnsafeSlow(READ_BUFFER_BYTES),
    callback: (count: number): boolean => {
      this.#filled.push(this.#buffers[this.#filling]!.subarray(0, count));
      this.#filling = (this.#filling + 1) % READ_BUFFER_COUNT;
      this.onArrival();
      return this.hasRoom();
    },
  };

  take(): Uint8Array | null {
    const chunk = this.#filled.shift();
    if (chunk === undefined) return null;
    this.#lent = 1;
    return chunk;
  }

  giveBack(): void {
    this.#lent = 0;
  }

  hasRoom(): boolean {
    return this.#filled.length + this.#lent < READ_BUFFER_COUNT;
  }
}
