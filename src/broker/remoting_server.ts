// One listening remoting port: accepts connections, hands each request to the processor of its code, counts how
// connections ended. A broker runs two of them over one table of processors, the main port and the VIP port (main - 2).

import { errorMessage, RemotingError } from "../base/errors.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import type { Logger } from "../base/logger.ts";
import { startLoop } from "../base/async.ts";
import { FRAME_SIZE_MAX } from "../remoting/frame_decoder.ts";
import { notSupported } from "../remoting/remoting_client.ts";
import type { RemotingCommand } from "../remoting/remoting_command.ts";
import { type RemotingCloseReason, RemotingConnection } from "../remoting/remoting_connection.ts";
import type { Clock, Connection, Listener, Net, NetAddress } from "../runtime/runtime.ts";

/** Who sent a request. */
export interface RequestContext {
  readonly connection: RemotingConnection;
  /** `host:port` of the sender. */
  readonly remoteAddress: string;
}

/**
 * Answers the requests of one code. null: nothing is sent now (`context.connection.respond` may do it later). Throws
 * {@link RemotingError} for an answer with that code, anything else becomes SYSTEM_ERROR with the text as remark.
 */
export type RequestProcessor = (
  request: RemotingCommand,
  context: RequestContext,
) => RemotingCommand | null | Promise<RemotingCommand | null>;

/** Processors by request code. */
export type ProcessorTable = ReadonlyMap<number, RequestProcessor>;

/** What a {@link RemotingServer} needs. */
export interface RemotingServerOptions {
  readonly net: Net;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly processors: ProcessorTable;
  /** Address to bind; a numeric host, port 0 for any free one. */
  readonly hostname: string;
  readonly port: number;
  /** Apache's `serverChannelMaxIdleTimeSeconds`, here in ms; 120,000. */
  readonly serverChannelMaxIdleMs?: number;
  /** Connections held at once; the next ones are closed and counted. 16,384. */
  readonly connectionsMax?: number;
  /** Bytes of unfinished requests and unread answers over all connections; beyond it the greatest holder is closed. */
  readonly heldBytesMax?: number;
  /** Called when accepting fails for good (never by {@link RemotingServer.stop}); default: a line of log. */
  readonly onError?: (error: unknown) => void;
}

/** Ended connections by reason; `refused` are those beyond the limit. */
export type RemotingCloseCounts = Readonly<Record<RemotingCloseReason | "refused", number>>;

/** {@link RemotingServerOptions.heldBytesMax} unless given: eight of the largest frames. */
const HELD_BYTES_MAX = 8 * FRAME_SIZE_MAX;

/** Mirrors Apache's `NettyRemotingServer`. */
export class RemotingServer {
  readonly #options: RemotingServerOptions;
  readonly #connections = new Set<RemotingConnection>();
  readonly #closes: Record<RemotingCloseReason | "refused", number> = {
    peer: 0,
    local: 0,
    garbage: 0,
    idle: 0,
    error: 0,
    overflow: 0,
    timeout: 0,
    refused: 0,
  };
  #requestCount = 0;
  #heldBytes = 0;
  readonly #lines = new LineLimiter();
  #listener: Listener | null = null;
  #accepting: Promise<void> = Promise.resolve();

  constructor(options: RemotingServerOptions) {
    this.#options = options;
  }

  /** Listens and serves. Throws `IoError` `inUse`, `permission`, `other`. Returns the bound address. */
  async start(): Promise<NetAddress> {
    const { net, hostname, port, logger } = this.#options;
    const listener = await net.listen({ hostname, port });
    this.#listener = listener;
    const report = this.#options.onError ??
      ((error: unknown) => logger.error("Remoting port stopped accepting", { port, error: errorMessage(error) }));
    this.#accepting = startLoop(() => this.#accept(listener), report);
    return listener.address;
  }

  /** Stops listening and closes every connection. Idempotent. */
  async stop(): Promise<void> {
    this.#listener?.close();
    this.#listener = null;
    for (const connection of [...this.#connections]) connection.close("local", "The broker stops");
    await this.#accepting;
  }

  /** Open connections. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Bytes held for peers: of unfinished requests and of unread answers. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Requests taken since the start. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /** How connections ended since the start. */
  get closeCounts(): RemotingCloseCounts {
    return this.#closes;
  }

  async #accept(listener: Listener): Promise<void> {
    const limit = this.#options.connectionsMax ?? 16_384;
    for (let socket = await listener.accept(); socket !== null; socket = await listener.accept()) {
      if (this.#listener !== listener) {
        socket.close();
      } else if (this.#connections.size >= limit) {
        socket.close();
        this.#closes.refused++;
        if (this.#closes.refused === 1) this.#options.logger.warn(`Refused a connection: ${limit} are open already`);
      } else {
        this.#serve(socket);
      }
    }
  }

  #serve(socket: Connection): void {
    const connection = new RemotingConnection(socket, {
      clock: this.#options.clock,
      idleTimeoutMs: this.#options.serverChannelMaxIdleMs ?? 120_000,
      onRequest: (request, from) => this.#process(request, from),
      onHeldBytes: (change) => this.#onHeldBytes(change),
      onClose: (reason, detail) => {
        this.#connections.delete(connection);
        this.#closes[reason]++;
        if (reason === "garbage" || reason === "overflow") this.#sayClosed(connection.remoteAddress, reason, detail);
      },
    });
    this.#connections.add(connection);
    void connection.run();
  }

  #sayClosed(remote: string, reason: RemotingCloseReason, detail: string): void {
    const host = remote.slice(0, remote.lastIndexOf(":"));
    const repeated = this.#lines.admit(`${reason} ${host}`, this.#options.clock.monotonic());
    if (repeated !== null) {
      this.#options.logger.warn("Closed a remoting connection", { remote, reason, detail, repeated });
    }
  }

  /** A thousand peers with a frame each that never ends must not take the memory of those that mean it. */
  #onHeldBytes(change: number): void {
    this.#heldBytes += change;
    const limit = this.#options.heldBytesMax ?? HELD_BYTES_MAX;
    if (change < 0 || this.#heldBytes <= limit) return;
    let greatest: RemotingConnection | null = null;
    for (const each of this.#connections) if (each.heldBytes > (greatest?.heldBytes ?? 0)) greatest = each;
    greatest?.close(
      "overflow",
      `${greatest.heldBytes} bytes of ${this.#heldBytes} held, wanted at most ${limit} for all`,
    );
  }

  #process(
    request: RemotingCommand,
    connection: RemotingConnection,
  ): RemotingCommand | null | Promise<RemotingCommand | null> {
    this.#requestCount++;
    const processor = this.#options.processors.get(request.code);
    if (processor === undefined) return notSupported(request);
    try {
      const answer = processor(request, { connection, remoteAddress: connection.remoteAddress });
      if (!(answer instanceof Promise)) return answer;
      return answer.catch((error: unknown) => this.#failed(request, error));
    } catch (error) {
      return this.#failed(request, error);
    }
  }

  /** Says what was not foreseen, and lets the connection answer with it. */
  #failed(request: RemotingCommand, error: unknown): never {
    if (!(error instanceof RemotingError)) {
      this.#options.logger.error("Request failed", { code: request.code, error: errorMessage(error) });
    }
    throw error;
  }
}
