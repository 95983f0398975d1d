// HTTP serving over node:http, on Node and wherever a gate is wanted: a small bridge to the fetch style. Bodies stream both ways; a client that
// goes away cancels the response's stream and aborts the request's signal. Routing is the handler's business.

import http, { type IncomingMessage, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { HTTP_BODY_BYTES_MAX, limitBody, PLAIN_FAILURES } from "./http_limits.ts";
import { toListenError } from "./map_error.ts";
import type { HttpHandler, HttpOptions, HttpServer } from "./runtime.ts";

/** {@link HttpGate.headTimeMs} without a gate. */
const HEAD_TIME_MS = 10_000;
const HEADER_BYTES_MAX = 16 * 1024;

/** {@link Runtime.serveHttp} over node:http. */
export async function serveNodeHttp(options: HttpOptions, handler: HttpHandler): Promise<HttpServer> {
  const { gate } = options;
  const { headTimeMs = HEAD_TIME_MS } = gate ?? {};
  const limits = {
    headersTimeout: headTimeMs,
    requestTimeout: 6 * headTimeMs,
    keepAliveTimeout: headTimeMs,
    connectionsCheckingInterval: headTimeMs / 4,
    maxHeaderSize: HEADER_BYTES_MAX,
  };
  const server = http.createServer(limits, (incoming, outgoing) => {
    // A connection that breaks under us is no event here: the exchange just ends.
    incoming.on("error", () => {});
    outgoing.on("error", () => {});
    exchange(incoming, outgoing, handler).catch(() => outgoing.destroy());
  });
  if (gate !== undefined) {
    server.on("connection", (socket) => {
      const remote = { hostname: socket.remoteAddress ?? "", port: socket.remotePort ?? 0 };
      if (!gate.admits(remote)) return void socket.destroy();
      socket.once("close", () => gate.onClosed(remote));
    });
  }
  await new Promise<void>((resolve, reject) => {
    server.once("error", (error) => reject(toListenError(error, options.hostname, options.port)));
    server.listen({ host: options.hostname, port: options.port }, resolve);
  });
  const { address, port } = server.address() as AddressInfo;
  let closing: Promise<void> | null = null;
  return {
    address: { hostname: address, port },
    close: () =>
      closing ??= new Promise<void>((resolve) => {
        server.close(() => resolve());
        server.closeAllConnections();
      }),
  };
}

async function exchange(incoming: IncomingMessage, outgoing: ServerResponse, handler: HttpHandler): Promise<void> {
  const gone = new AbortController();
  outgoing.once("close", () => {
    if (!outgoing.writableFinished) gone.abort();
  });
  const request = toRequest(incoming, gone.signal);
  if (request instanceof Response) return await respond(outgoing, request, incoming.method);
  let response: Response;
  try {
    response = await handler(request);
  } catch {
    response = PLAIN_FAILURES.internal();
  }
  await respond(outgoing, response, incoming.method);
}

function toRequest(incoming: IncomingMessage, signal: AbortSignal): Request | Response {
  const method = incoming.method ?? "GET";
  if (Number(incoming.headers["content-length"] ?? 0) > HTTP_BODY_BYTES_MAX) return PLAIN_FAILURES.tooLarge();
  try {
    const headers = new Headers();
    for (let i = 0; i < incoming.rawHeaders.length; i += 2) {
      headers.append(incoming.rawHeaders[i]!, incoming.rawHeaders[i + 1]!);
    }
    // Joined as text, not resolved: the target "//127.0.0.1/ha" would name a host of its own and pass for it.
    const target = incoming.url ?? "/";
    const host = incoming.headers.host ?? "localhost";
    if (!target.startsWith("/") || host === "") return PLAIN_FAILURES.badRequest();
    const url = new URL(`http://${host}${target}`);
    if (method === "GET" || method === "HEAD") return new Request(url, { method, headers, signal });
    const body = limitBody(bodyOf(incoming));
    return new Request(url, { method, headers, signal, body, duplex: "half" } as RequestInit);
  } catch {
    return PLAIN_FAILURES.badRequest();
  }
}

// Pulled by the handler: a body nobody reads stays in the kernel.
function bodyOf(incoming: IncomingMessage): ReadableStream<Uint8Array> {
  const chunks = incoming[Symbol.asyncIterator]();
  return new ReadableStream<Uint8Array>({
    async pull(controller) {
      const { done, value } = await chunks.next();
      if (done) controller.close();
      else controller.enqueue(new Uint8Array(value.buffer, value.byteOffset, value.byteLength));
    },
    async cancel() {
      await chunks.return?.();
    },
  }, { highWaterMark: 0 });
}

async function respond(outgoing: ServerResponse, response: Response, method: string | undefined): Promise<void> {
  if (outgoing.destroyed) return await response.body?.cancel();
  for (const [name, value] of response.headers) {
    if (name !== "set-cookie") outgoing.setHeader(name, value);
  }
  const cookies = response.headers.getSetCookie();
  if (cookies.length > 0) outgoing.setHeader("set-cookie", cookies);
  outgoing.writeHead(response.status);
  if (method === "HEAD" || response.body === null) {
    await response.body?.cancel();
    outgoing.end();
    return;
  }
  await sendBody(outgoing, response.body.getReader());
}

async function sendBody(
  outgoing: ServerResponse,
  reader: ReadableStreamDefaultReader<Uint8Array>,
): Promise<void> {
  const onClose = (): void => void reader.cancel().catch(() => {});
  outgoing.once("close", onClose);
  // The headers of an event stream go out before its first event.
  outgoing.flushHeaders();
  while (true) {
    const { done, value } = await reader.read();
    if (done || outgoing.destroyed) break;
    if (!outgoing.write(value)) await drained(outgoing);
  }
  outgoing.off("close", onClose);
  outgoing.end();
}

function drained(outgoing: ServerResponse): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      outgoing.off("drain", done);
      outgoing.off("close", done);
      resolve();
    };
    outgoing.on("drain", done);
    outgoing.on("close", done);
  });
}
