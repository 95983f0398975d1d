// Bun's adapter: Bun.listen and Bun.connect behind Net, Bun.serve for HTTP, and the shared files, clock and process. No
// protocol and no policy. Bun pushes what it receives, so reading is paused whenever more than a little waits here.

import { type Deferred, deferred } from "../base/async.ts";
import { IoError } from "../base/errors.ts";
import { AcceptQueue } from "./accept_queue.ts";
import { HTTP_BODY_BYTES_MAX, PLAIN_FAILURES } from "./http_limits.ts";
import { findLibC, type LibC, type LibCSymbols } from "./libc.ts";
import { closedError, toIoError, toListenError } from "./map_error.ts";
import { NodeFileSystem } from "./node_fs.ts";
import { NODE_PROCESS } from "./node_process.ts";
import type {
  Connection,
  ConnectOptions,
  HttpHandler,
  HttpServer,
  Listener,
  ListenOptions,
  Net,
  NetAddress,
  Runtime,
  TlsServer,
  TlsServerOptions,
} from "./runtime.ts";
import { SYSTEM_CLOCK, SYSTEM_RANDOM, TURNING_CLOCK } from "./system_clock.ts";

/** What we use of a Bun socket. `data` is the owner's, here the connection that wraps it. */
interface BunSocket {
  data: BunConnection | undefined;
  /** The addresses are undefined on a connection that was reset before it got here. */
  readonly localAddress: string | undefined;
  readonly localPort: number | undefined;
  readonly remoteAddress: string | undefined;
  readonly remotePort: number | undefined;
  /** Bytes the kernel took; fewer than given means: wait for `drain`. Negative when closed. Nothing is copied. */
  write(bytes: Uint8Array, offset: number, length: number): number;
  pause(): void;
  resume(): void;
  /** Without an argument: sends FIN and keeps reading. */
  shutdown(): void;
  /** Closes both directions at once; what was accepted still goes out (`terminate` would reset the connection). */
  close(): void;
  setNoDelay(on: boolean): void;
}

interface BunSocketHandlers {
  open(socket: BunSocket): void;
  data(socket: BunSocket, chunk: Uint8Array<ArrayBuffer>): void;
  drain(socket: BunSocket): void;
  end(socket: BunSocket): void;
  close(socket: BunSocket, error?: Error): void;
  error(socket: BunSocket, error: Error): void;
  connectError?(socket: BunSocket, error: Error): void;
}

interface BunSocketOptions {
  hostname: string;
  port: number;
  allowHalfOpen: boolean;
  socket: BunSocketHandlers;
}

/** What we use of the `Bun` global. */
interface BunApi {
  readonly version: string;
  listen(options: BunSocketOptions): { readonly hostname: string; readonly port: number; stop(force: boolean): void };
  connect(options: BunSocketOptions): Promise<BunSocket>;
  serve(options: {
    hostname: string;
    port: number;
    maxRequestBodySize: number;
    fetch(request: Request, server: { timeout(request: Request, seconds: number): void }): Promise<Response>;
    error(error: Error): Response;
  }): { readonly hostname: string; readonly port: number; stop(force: boolean): Promise<void> };
}

// Received bytes that wait here at most before reading is paused; Bun delivers up to 512 KiB at a time.
const RECEIVED_BYTES_MAX = 512 * 1024;
// Bun hands out fresh memory with each read. A chunk of so many bytes or more is given back by hand when it is lent no
// longer: what the garbage collector frees so much later has gone back to the system, and costs its page faults again.
const GIVEN_BACK_BYTES_MIN = 64 * 1024;

class BunConnection implements Connection {
  readonly localAddress: NetAddress;
  readonly remoteAddress: NetAddress;
  readonly closed: Promise<void>;
  readonly #socket: BunSocket;
  readonly #resolveClosed: () => void;
  readonly #received: Uint8Array<ArrayBuffer>[] = [];
  #receivedBytes = 0;
  /** What the last read lent. */
  #lent: Uint8Array<ArrayBuffer> | null = null;
  #paused = false;
  #reader: Deferred<Uint8Array | null> | null = null;
  #writer: { readonly bytes: Uint8Array; done: number; readonly settled: Deferred<void> } | null = null;
  #ended = false;
  #over = false;
  #closedHere = false;
  #failure: IoError | null = null;

  constructor(socket: BunSocket) {
    this.#socket = socket;
    this.localAddress = { hostname: socket.localAddress ?? "", port: socket.localPort ?? 0 };
    this.remoteAddress = { hostname: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
    const closed = deferred<void>();
    this.closed = closed.promise;
    this.#resolveClosed = closed.resolve;
    socket.setNoDelay(true);
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#reader !== null) throw new Error("A read is already pending");
    this.#giveBack();
    if (this.#closedHere) throw this.#reason();
    const chunk = this.#received.shift();
    if (chunk !== undefined) {
      this.#lent = chunk;
      this.#receivedBytes -= chunk.length;
      this.#resumeWhenRoom();
      return chunk;
    }
    if (this.#ended) return null;
    if (this.#over) throw this.#reason();
    this.#reader = deferred();
    this.#resumeWhenRoom();
    return await this.#reader.promise;
  }

  write(bytes: Uint8Array): Promise<void> {
    if (this.#writer !== null) return Promise.reject(new Error("A write is already pending"));
    if (this.#over) return Promise.reject(this.#reason());
    this.#writer = { bytes, done: 0, settled: deferred<void>() };
    const { promise } = this.#writer.settled;
    this.onDrain();
    return promise;
  }

  shutdownWrite(): Promise<void> {
    if (this.#over) return Promise.reject(this.#reason());
    this.#socket.shutdown();
    return Promise.resolve();
  }

  close(): void {
    this.#closedHere = true;
    if (this.#over) return;
    this.#socket.close();
    this.onClose();
  }

  onData(chunk: Uint8Array<ArrayBuffer>): void {
    const reader = this.#reader;
    if (reader !== null) {
      this.#lent = chunk;
      this.#reader = null;
      reader.resolve(chunk);
      return;
    }
    this.#received.push(chunk);
    this.#receivedBytes += chunk.length;
    if (this.#receivedBytes >= RECEIVED_BYTES_MAX && !this.#paused) {
      this.#paused = true;
      this.#socket.pause();
    }
  }

  /** The kernel takes bytes again: goes on with the pending write. */
  onDrain(): void {
    const writer = this.#writer;
    if (writer === null) return;
    while (writer.done < writer.bytes.length) {
      const count = this.#socket.write(writer.bytes, writer.done, writer.bytes.length - writer.done);
      if (count <= 0) return;
      writer.done += count;
    }
    this.#writer = null;
    writer.settled.resolve();
  }

  onEnd(): void {
    this.#ended = true;
    this.#reader?.resolve(null);
    this.#reader = null;
  }

  onError(error: Error): void {
    this.#failure ??= toIoError(error, this.#name());
  }

  onClose(error?: Error): void {
    if (this.#over) return;
    this.#over = true;
    if (error) this.onError(error);
    if (this.#closedHere || this.#failure !== null) {
      this.#reader?.reject(this.#reason());
      this.#reader = null;
    } else {
      this.onEnd();
    }
    this.#writer?.settled.reject(this.#reason());
    this.#writer = null;
    this.#resolveClosed();
  }

  #giveBack(): void {
    const lent = this.#lent;
    this.#lent = null;
    // Only where the memory is this chunk's alone.
    if (lent === null || lent.length < GIVEN_BACK_BYTES_MIN || lent.length < lent.buffer.byteLength) return;
    // Moves the memory to a buffer that has none of it left.
    lent.buffer.transfer(0);
  }

  #resumeWhenRoom(): void {
    if (!this.#paused || this.#over || this.#receivedBytes >= RECEIVED_BYTES_MAX) return;
    this.#paused = false;
    this.#socket.resume();
  }

  #reason(): IoError {
    if (this.#closedHere) return closedError(this.#name());
    return this.#failure ?? new IoError("reset", `${this.#name()} failed: closed by the peer`);
  }

  #name(): string {
    return `Connection with ${this.remoteAddress.hostname}:${this.remoteAddress.port}`;
  }
}

function handlers(open: (socket: BunSocket, connection: BunConnection) => void): BunSocketHandlers {
  return {
    open: (socket) => open(socket, socket.data = new BunConnection(socket)),
    data: (socket, chunk) => socket.data?.onData(chunk),
    drain: (socket) => socket.data?.onDrain(),
    end: (socket) => socket.data?.onEnd(),
    close: (socket, error) => socket.data?.onClose(error),
    error: (socket, error) => socket.data?.onError(error),
  };
}

class BunNet implements Net {
  readonly #bun: BunApi;
  constructor(bun: BunApi) {
    this.#bun = bun;
  }

  async listen({ hostname, port, tls }: ListenOptions): Promise<Listener> {
    if (tls !== undefined) return (await import("./node_tls.ts")).listenTls(tls, () => this.listen({ hostname, port }));
    const queue = new AcceptQueue();
    try {
      const listener = this.#bun.listen({
        hostname,
        port,
        allowHalfOpen: true,
        socket: handlers((_, connection) => queue.push(connection)),
      });
      return {
        address: { hostname: listener.hostname, port: listener.port },
        accept: () => queue.next(),
        close() {
          listener.stop(false);
          queue.close();
        },
      };
    } catch (error) {
      throw toListenError(error, hostname, port);
    }
  }

  async tlsServer(options: TlsServerOptions): Promise<TlsServer> {
    return (await import("./node_tls.ts")).createTlsServer(options);
  }

  async connect({ hostname, port, timeoutMs, tls }: ConnectOptions): Promise<Connection> {
    if (tls !== undefined) {
      const { connectTls } = await import("./node_tls.ts");
      return connectTls({ hostname, port, timeoutMs, tls }, () => this.connect({ hostname, port, timeoutMs }));
    }
    const action = `Connect to ${hostname}:${port}`;
    return await new Promise((resolve, reject) => {
      let givenUp = false;
      const timer = SYSTEM_CLOCK.setTimer(timeoutMs, () => {
        givenUp = true;
        reject(new IoError("timeout", `${action} failed: no answer in ${timeoutMs} ms`));
      });
      const fail = (error: unknown): void => {
        timer.cancel();
        reject(toIoError(error, action));
      };
      const open = (_: BunSocket, connection: BunConnection): void => {
        timer.cancel();
        // Bun can't be told to stop trying.
        if (givenUp) connection.close();
        else resolve(connection);
      };
      const socket = { ...handlers(open), connectError: (_: BunSocket, error: Error) => fail(error) };
      this.#bun.connect({ hostname, port, allowHalfOpen: true, socket }).catch(fail);
    });
  }
}

// Bun sends a response's head together with the first bytes of its body, so a client would wait for the first event to
// learn that the stream is open. A comment, which every reader of event streams skips, makes it go out at once.
const EVENT_STREAM_COMMENT = new TextEncoder().encode(":\n\n");

function promptEvents(response: Response): Response {
  if (response.body === null || !response.headers.get("content-type")?.startsWith("text/event-stream")) return response;
  const prompted = response.body.pipeThrough(
    new TransformStream<Uint8Array, Uint8Array>({ start: (controller) => controller.enqueue(EVENT_STREAM_COMMENT) }),
  );
  return new Response(prompted, response);
}

// deno-lint-ignore require-await -- the interface wants a promise, so failures have to come as rejections
async function serve(
  bun: BunApi,
  { hostname, port }: { hostname: string; port: number },
  handler: HttpHandler,
): Promise<HttpServer> {
  try {
    const server = bun.serve({
      hostname,
      port,
      maxRequestBodySize: HTTP_BODY_BYTES_MAX,
      async fetch(request, self) {
        // An event stream may be silent for longer than a connection may be idle.
        self.timeout(request, 0);
        return promptEvents(await handler(request));
      },
      error: () => PLAIN_FAILURES.internal(),
    });
    return {
      address: { hostname: server.hostname, port: server.port },
      close: () => server.stop(true),
    };
  } catch (error) {
    throw toListenError(error, hostname, port);
  }
}

/** What we use of `bun:ffi`. */
interface BunFfi {
  dlopen(name: string, symbols: typeof LIBC_SYMBOLS): {
    readonly symbols: LibCSymbols & {
      __errno_location(): number;
      memcpy(target: Uint8Array, source: number, size: number): void;
    };
  };
  readonly read: { i32(pointer: number, offset: number): number };
}

// The fast form of a 64-bit number is a JavaScript number as long as that holds it.
const LIBC_SYMBOLS = {
  fallocate: { args: ["i32", "i32", "i64", "i64"], returns: "i32" },
  lseek: { args: ["i32", "i64", "i32"], returns: "i64" },
  __errno_location: { args: [], returns: "ptr" },
  getpagesize: { args: [], returns: "i32" },
  mmap: { args: ["u64_fast", "u64_fast", "i32", "i32", "i32", "i64_fast"], returns: "u64_fast" },
  munmap: { args: ["u64_fast", "u64_fast"], returns: "i32" },
  mincore: { args: ["u64_fast", "u64_fast", "ptr"], returns: "i32" },
  memcpy: { args: ["ptr", "u64_fast", "u64_fast"], returns: "void" },
} as const;

/** Null where there is no such library. */
function openLibC(): LibC | null {
  const builtin = (process as unknown as { getBuiltinModule?(name: string): unknown }).getBuiltinModule;
  const ffi = builtin?.("bun:ffi") as BunFfi | undefined;
  if (ffi === undefined) return null;
  return findLibC((name) => {
    const { symbols } = ffi.dlopen(name, LIBC_SYMBOLS);
    return {
      symbols,
      errno: () => ffi.read.i32(symbols.__errno_location(), 0),
      copierFrom: (address) => (target, offset) => symbols.memcpy(target, address + offset, target.length),
    };
  });
}

/** The runtime when running on Bun. */
export function createBunRuntime(): Runtime {
  const bun = (globalThis as unknown as { Bun: BunApi }).Bun;
  return {
    name: "bun",
    version: bun.version,
    net: new BunNet(bun),
    fs: new NodeFileSystem(openLibC),
    clock: TURNING_CLOCK,
    random: SYSTEM_RANDOM,
    process: NODE_PROCESS,
    serveHttp: async (options, handler) => {
      if (options.gate === undefined) return await serve(bun, options, handler);
      return await (await import("./node_http.ts")).serveNodeHttp(options, handler);
    },
  };
}
