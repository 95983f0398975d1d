// Deno's adapter: Deno.listen and Deno.connect behind Net, Deno.serve for HTTP, and the shared files, clock and
// process. No protocol and no policy. Deno's sockets are pulled already, so the kernel holds what nobody reads.

import { deferred, sleep } from "../base/async.ts";
import { IoError } from "../base/errors.ts";
import { HTTP_BODY_BYTES_MAX, limitBody, PLAIN_FAILURES } from "./http_limits.ts";
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
import { SYSTEM_CLOCK, SYSTEM_RANDOM } from "./system_clock.ts";

/** What we use of a `Deno.Conn`. */
interface DenoConn {
  readonly localAddr: NetAddress;
  readonly remoteAddr: NetAddress;
  read(target: Uint8Array): Promise<number | null>;
  /** May accept less than it was given. */
  write(bytes: Uint8Array): Promise<number>;
  closeWrite(): Promise<void>;
  close(): void;
  setNoDelay(on: boolean): void;
}

/** What we use of the `Deno` global. */
interface DenoApi {
  readonly version: { readonly deno: string };
  listen(options: { hostname: string; port: number; tcpBacklog: number }): {
    readonly addr: NetAddress;
    accept(): Promise<DenoConn>;
    close(): void;
  };
  connect(options: { hostname: string; port: number; signal: AbortSignal }): Promise<DenoConn>;
  serve(
    options: { hostname: string; port: number; signal: AbortSignal; onListen: () => void },
    handler: HttpHandler,
  ): { readonly addr: NetAddress; readonly finished: Promise<void> };
  readonly permissions: { querySync(what: { name: "ffi" }): { readonly state: string } };
  dlopen(name: string, symbols: typeof LIBC_SYMBOLS): {
    readonly symbols: LibCSymbols & {
      __errno_location(): unknown;
      memcpy(target: Uint8Array, source: bigint, size: bigint): void;
    };
  };
  readonly UnsafePointerView: new (pointer: unknown) => { getInt32(): number };
}

const LIBC_SYMBOLS = {
  fallocate: { parameters: ["i32", "i32", "i64", "i64"], result: "i32" },
  lseek: { parameters: ["i32", "i64", "i32"], result: "i64" },
  __errno_location: { parameters: [], result: "pointer" },
  getpagesize: { parameters: [], result: "i32" },
  mmap: { parameters: ["usize", "usize", "i32", "i32", "i32", "i64"], result: "usize" },
  munmap: { parameters: ["usize", "usize"], result: "i32" },
  mincore: { parameters: ["usize", "usize", "buffer"], result: "i32" },
  memcpy: { parameters: ["buffer", "u64", "u64"], result: "void" },
} as const;

/** Null without the permission for FFI, which nobody is asked for, and where there is no such library. */
function openLibC(deno: DenoApi): LibC | null {
  if (deno.permissions.querySync({ name: "ffi" }).state !== "granted") return null;
  return findLibC((name) => {
    const { symbols } = deno.dlopen(name, LIBC_SYMBOLS);
    return {
      symbols,
      errno: () => new deno.UnsafePointerView(symbols.__errno_location()).getInt32(),
      // Calls with a BigInt, unlike those with a number, take the fast way.
      copierFrom(address) {
        const from = BigInt(address);
        return (target, offset) => symbols.memcpy(target, from + BigInt(offset), BigInt(target.length));
      },
    };
  });
}

const LISTEN_BACKLOG = 1024;
const ACCEPT_RETRY_MS = 100;
// A connection's read buffer starts small, as most carry small requests, and doubles whenever one read fills it.
const READ_BUFFER_BYTES_MIN = 16 * 1024;
const READ_BUFFER_BYTES_MAX = 1024 * 1024;
// What all of them together have grown beyond that: a peer that sends a lot once must not keep a large buffer for good,
// a thousand times over. The few connections that are busy first get theirs.
const READ_BUFFERS_GROWN_BYTES_MAX = 64 * 1024 * 1024;
let readBuffersGrownBytes = 0;

class DenoConnection implements Connection {
  readonly localAddress: NetAddress;
  readonly remoteAddress: NetAddress;
  readonly closed: Promise<void>;
  readonly #conn: DenoConn;
  readonly #resolveClosed: () => void;
  #buffer = new Uint8Array(READ_BUFFER_BYTES_MIN);
  #reading = false;
  #writing = false;
  #readEnded = false;
  #writeEnded = false;
  #closedHere = false;
  #released = false;
  #failure: IoError | null = null;

  constructor(conn: DenoConn) {
    this.#conn = conn;
    this.localAddress = { hostname: conn.localAddr.hostname, port: conn.localAddr.port };
    this.remoteAddress = { hostname: conn.remoteAddr.hostname, port: conn.remoteAddr.port };
    const closed = deferred<void>();
    this.closed = closed.promise;
    this.#resolveClosed = closed.resolve;
    conn.setNoDelay(true);
  }

  async read(): Promise<Uint8Array | null> {
    if (this.#reading) throw new Error("A read is already pending");
    if (this.#readEnded && !this.#closedHere) return null;
    this.#refuseWhenOver();
    this.#reading = true;
    try {
      const count = await this.#conn.read(this.#buffer);
      if (this.#closedHere) throw closedError(this.#name());
      if (count === null) {
        // The system tells of a reset only once: when a pending write heard it, the read sees an end that is none.
        if (this.#writing) await sleep(SYSTEM_CLOCK, 0);
        if (this.#closedHere) throw closedError(this.#name());
        if (this.#failure !== null) throw this.#failure;
        this.#readEnded = true;
        this.#releaseWhenEnded();
        return null;
      }
      const view = this.#buffer.subarray(0, count);
      if (count === this.#buffer.length) this.#growBuffer();
      return view;
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#reading = false;
    }
  }

  async write(bytes: Uint8Array): Promise<void> {
    if (this.#writing) throw new Error("A write is already pending");
    this.#refuseWhenOver();
    this.#writing = true;
    try {
      for (let done = 0; done < bytes.length;) {
        done += await this.#conn.write(done === 0 ? bytes : bytes.subarray(done));
        if (this.#closedHere) throw closedError(this.#name());
      }
    } catch (error) {
      throw this.#fail(error);
    } finally {
      this.#writing = false;
    }
  }

  async shutdownWrite(): Promise<void> {
    this.#refuseWhenOver();
    try {
      await this.#conn.closeWrite();
    } catch (error) {
      throw this.#fail(error);
    }
    this.#writeEnded = true;
    this.#releaseWhenEnded();
  }

  close(): void {
    this.#closedHere = true;
    this.#release();
  }

  #growBuffer(): void {
    const size = this.#buffer.length;
    if (
      this.#released || size >= READ_BUFFER_BYTES_MAX || readBuffersGrownBytes + size > READ_BUFFERS_GROWN_BYTES_MAX
    ) return;
    readBuffersGrownBytes += size;
    this.#buffer = new Uint8Array(2 * size);
  }

  #refuseWhenOver(): void {
    if (this.#closedHere) throw closedError(this.#name());
    if (this.#failure !== null) throw this.#failure;
  }

  #fail(error: unknown): IoError {
    if (this.#closedHere) return closedError(this.#name());
    this.#failure ??= toIoError(error, this.#name());
    this.#release();
    return this.#failure;
  }

  #releaseWhenEnded(): void {
    if (this.#readEnded && this.#writeEnded) this.#release();
  }

  #release(): void {
    if (this.#released) return;
    this.#released = true;
    readBuffersGrownBytes -= this.#buffer.length - READ_BUFFER_BYTES_MIN;
    this.#conn.close();
    this.#resolveClosed();
  }

  #name(): string {
    return `Connection with ${this.remoteAddress.hostname}:${this.remoteAddress.port}`;
  }
}

class DenoNet implements Net {
  readonly #deno: DenoApi;
  constructor(deno: DenoApi) {
    this.#deno = deno;
  }

  async listen({ hostname, port, tls }: ListenOptions): Promise<Listener> {
    if (tls !== undefined) return (await import("./node_tls.ts")).listenTls(tls, () => this.listen({ hostname, port }));
    let closed = false;
    try {
      const listener = this.#deno.listen({ hostname, port, tcpBacklog: LISTEN_BACKLOG });
      return {
        address: { hostname: listener.addr.hostname, port: listener.addr.port },
        async accept() {
          while (!closed) {
            try {
              return new DenoConnection(await listener.accept());
            } catch (error) {
              // A peer that left before it got here: the next one must not wait for that.
              if (toIoError(error, "Accept").kind === "reset") continue;
              // Closed, or there is no room for this connection (too many open files), which may pass.
              if (!closed) await sleep(SYSTEM_CLOCK, ACCEPT_RETRY_MS);
            }
          }
          return null;
        },
        close() {
          if (closed) return;
          closed = true;
          listener.close();
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
    const abort = new AbortController();
    const timer = SYSTEM_CLOCK.setTimer(timeoutMs, () => {
      abort.abort(new IoError("timeout", `${action} failed: no answer in ${timeoutMs} ms`));
    });
    try {
      return new DenoConnection(await this.#deno.connect({ hostname, port, signal: abort.signal }));
    } catch (error) {
      throw toIoError(abort.signal.aborted ? abort.signal.reason : error, action);
    } finally {
      timer.cancel();
    }
  }
}

function limited(request: Request): Request | null {
  if (request.body === null) return request;
  const declared = request.headers.get("content-length");
  if (declared !== null) return Number(declared) > HTTP_BODY_BYTES_MAX ? null : request;
  // Not a copy of the request: that takes its signal along, which Deno wants to be warned about.
  const { url, method, headers } = request;
  return new Request(url, { method, headers, body: limitBody(request.body), duplex: "half" } as RequestInit);
}

// deno-lint-ignore require-await -- the interface wants a promise, so failures have to come as rejections
async function serve(
  deno: DenoApi,
  { hostname, port }: { hostname: string; port: number },
  handler: HttpHandler,
): Promise<HttpServer> {
  const abort = new AbortController();
  try {
    const server = deno.serve({ hostname, port, signal: abort.signal, onListen: () => {} }, async (request) => {
      const accepted = limited(request);
      if (accepted === null) return PLAIN_FAILURES.tooLarge();
      try {
        return await handler(accepted);
      } catch {
        return PLAIN_FAILURES.internal();
      }
    });
    return {
      address: { hostname: server.addr.hostname, port: server.addr.port },
      close() {
        abort.abort();
        return server.finished;
      },
    };
  } catch (error) {
    throw toListenError(error, hostname, port);
  }
}

/** The runtime when running on Deno. */
export function createDenoRuntime(): Runtime {
  const deno = (globalThis as unknown as { Deno: DenoApi }).Deno;
  return {
    name: "deno",
    version: deno.version.deno,
    net: new DenoNet(deno),
    fs: new NodeFileSystem(() => openLibC(deno)),
    clock: SYSTEM_CLOCK,
    random: SYSTEM_RANDOM,
    process: NODE_PROCESS,
    serveHttp: async (options, handler) => {
      if (options.gate === undefined) return await serve(deno, options, handler);
      return await (await import("./node_http.ts")).serveNodeHttp(options, handler);
    },
  };
}
