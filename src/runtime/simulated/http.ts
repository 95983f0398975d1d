// HTTP of simulated hosts, in memory: a handler is called with a Request and its Response handed over, each a moment of
// simulated time later. It shares the port table with TCP but not the wire, so partitions don't concern it: the client
// is the test, or an operator, at the host itself. Bodies are the runtime's own streams, which no seed rules.

import type { HttpHandler, HttpServer, NetAddress } from "../runtime.ts";
import type { SimulatedNetwork } from "./network.ts";
import type { Prng } from "./prng.ts";
import { HTTP_BODY_BYTES_MAX, PLAIN_FAILURES } from "../http_limits.ts";
import { requireAlive, type Scheduler, type SimulatedLife } from "./scheduler.ts";
import { IoError } from "../../base/errors.ts";
import { type Deferred, deferred } from "../../base/async.ts";

const LATENCY_MIN_US = 50;
const LATENCY_MAX_US = 500;

interface Server {
  readonly life: SimulatedLife;
  readonly address: NetAddress;
  readonly handler: HttpHandler;
  readonly exchanges: Set<Exchange>;
}

/** All hosts' HTTP servers. */
export class SimulatedHttp {
  readonly #scheduler: Scheduler;
  readonly #network: SimulatedNetwork;
  readonly #prng: Prng;
  readonly #servers = new Set<Server>();
  #pending = 0;

  constructor(scheduler: Scheduler, network: SimulatedNetwork) {
    this.#scheduler = scheduler;
    this.#network = network;
    this.#prng = scheduler.prng.fork("http");
  }

  /** Requests and response bodies under way: while there are any, settling takes more turns. */
  get pendingCount(): number {
    let count = this.#pending;
    for (const server of this.#servers) count += server.exchanges.size;
    return count;
  }

  /** `Runtime.serveHttp` of one life. */
  async serve(
    life: SimulatedLife,
    options: { hostname: string; port: number },
    handler: HttpHandler,
  ): Promise<HttpServer> {
    requireAlive(life);
    const { address, release } = this.#network.bind(life, options, null);
    const server: Server = { life, address, handler, exchanges: new Set() };
    this.#servers.add(server);
    return {
      address,
      close: async () => {
        this.#scheduler.noteActivity();
        if (!this.#servers.delete(server)) return;
        release();
        for (const exchange of [...server.exchanges]) await exchange.end(null);
      },
    };
  }

  /** Sends a request to a server on a host; the URL's host name is not looked at. Throws {@link IoError}. */
  async fetch(hostIndex: number, request: Request): Promise<Response> {
    this.#pending++;
    try {
      const hasBody = request.method !== "GET" && request.method !== "HEAD";
      const body = hasBody ? await request.arrayBuffer() : null;
      await this.#travel(hostIndex, "http-request");
      const port = Number(new URL(request.url).port);
      const server = [...this.#servers].find((it) => it.life.hostIndex === hostIndex && it.address.port === port);
      if (server === undefined) {
        throw new IoError("refused", `Cannot fetch ${request.url}: refused`, "ECONNREFUSED");
      }
      if (body !== null && body.byteLength > HTTP_BODY_BYTES_MAX) return PLAIN_FAILURES.tooLarge();
      const exchange = new Exchange((it) => server.exchanges.delete(it));
      server.exchanges.add(exchange);
      const { url, method, headers } = request;
      const { signal } = exchange.abort;
      const asked = new Request(url, { method, headers, body, signal });
      exchange.answer(server.handler, asked).catch(() => {});
      const response = await exchange.response.promise;
      await this.#travel(hostIndex, "http-response");
      return response;
    } finally {
      this.#pending--;
    }
  }

  /** A program ended: whoever talked to it is cut off. */
  endLife(life: SimulatedLife): void {
    for (const server of [...this.#servers]) {
      if (server.life !== life) continue;
      this.#servers.delete(server);
      const reset = new IoError("reset", "The server is gone", "ECONNRESET");
      for (const exchange of [...server.exchanges]) exchange.end(reset).catch(() => {});
    }
  }

  #travel(hostIndex: number, kind: string): Promise<void> {
    const { promise, resolve } = deferred<void>();
    const delayUs = this.#prng.between(LATENCY_MIN_US, LATENCY_MAX_US);
    this.#scheduler.schedule({ kind, hostIndex, life: null, delayUs, run: () => resolve() });
    return promise;
  }
}

/** One request and its response. */
class Exchange {
  readonly abort = new AbortController();
  readonly response: Deferred<Response> = deferred();
  readonly #onEnd: (exchange: Exchange) => void;
  #reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  #controller: ReadableStreamDefaultController<Uint8Array> | null = null;

  constructor(onEnd: (exchange: Exchange) => void) {
    this.#onEnd = onEnd;
    // The exchange may end before anybody waits for its response.
    this.response.promise.catch(() => {});
  }

  /** Asks the handler and hands its answer over. */
  async answer(handler: HttpHandler, request: Request): Promise<void> {
    let response: Response;
    try {
      response = await handler(request);
    } catch {
      response = PLAIN_FAILURES.internal();
    }
    if (this.abort.signal.aborted) {
      await response.body?.cancel();
      return;
    }
    if (response.body === null || request.method === "HEAD") {
      this.#onEnd(this);
      await response.body?.cancel();
      this.response.resolve(new Response(null, response));
      return;
    }
    this.#reader = response.body.getReader();
    this.response.resolve(new Response(this.#relay(this.#reader), response));
  }

  /**
   * Ends it from the server's side. A body under way ends, or fails with `failure`; without an answer yet, the request
   * fails in any case.
   */
  async end(failure: IoError | null): Promise<void> {
    this.#onEnd(this);
    this.abort.abort();
    this.response.reject(failure ?? new IoError("reset", "The server closed before it answered", "ECONNRESET"));
    const controller = this.#controller;
    this.#controller = null;
    if (failure === null) controller?.close();
    else controller?.error(failure);
    await this.#reader?.cancel();
  }

  #relay(reader: ReadableStreamDefaultReader<Uint8Array>): ReadableStream<Uint8Array> {
    return new ReadableStream<Uint8Array>({
      start: (controller) => {
        this.#controller = controller;
      },
      pull: async (controller) => {
        const { value, done } = await reader.read();
        if (this.#controller === null) return;
        if (!done) return controller.enqueue(value);
        this.#controller = null;
        this.#onEnd(this);
        controller.close();
      },
      cancel: async (reason) => {
        this.#controller = null;
        this.#onEnd(this);
        this.abort.abort();
        await reader.cancel(reason);
      },
    }, { highWaterMark: 0 });
  }
}
