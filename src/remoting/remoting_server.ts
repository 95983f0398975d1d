// One listening remoting port: accepts connections, hands each request to the processor of its code, counts how
// connections ended. A broker runs two of them over one table of processors, the main port and the VIP port (main - 2).

import { type ConnectionBounds, ConnectionLimits, type ConnectionRefusal } from "../base/connection_limits.ts";
import { errorMessage, RemotingError } from "../base/errors.ts";
import { formatHostPort } from "../base/host_port.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import type { Logger } from "../base/logger.ts";
import { deferred, startLoop } from "../base/async.ts";
import { notSupported } from "./remoting_client.ts";
import { createResponse, type RemotingCommand } from "./remoting_command.ts";
import { type RemotingCloseReason, RemotingConnection } from "./remoting_connection.ts";
import { openConnection, type TlsMode } from "./connection_opening.ts";
import type { Clock, Connection, Listener, Net, NetAddress, TlsServer, TlsServerOptions } from "../runtime/runtime.ts";
import { HELD_BYTES_MAX, HeldBytes } from "./held_bytes.ts";
import { ResponseCode } from "./response_code.ts";

/** Who sent a request. */
export interface RequestContext {
  readonly connection: RemotingConnection;
  /** `host:port` of the sender. */
  readonly remoteAddress: string;
}

/**
 * Answers the requests of one code. null: nothing is sent now (`context.connection.respond` may do it later). Throws
 * {@link RemotingError} for an answer with that code, anything else becomes SYSTEM_ERROR with the text as remark.
 * `request.body` is the processor's for good; it may be a view of more memory, so what is kept for long is copied. The
 * answer's body is given away with it: from 64 KiB on it is written as it is, so nobody may change it any more.
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
  /** Read at each connection; unset: the defaults of the table of settings. */
  readonly limits?: RemotingLimits;
  /** Unset: `permissive` without a certificate. */
  readonly tls?: RemotingTls;
  /** Shared by the ports of one node; unset: one of its own. */
  readonly heldBytes?: HeldBytes;
  /** Told of each connection that has ended, whoever closed it; its requests are no longer answered. */
  readonly onConnectionClosed?: (connection: RemotingConnection) => void;
  /** Called when accepting fails for good (never by {@link RemotingServer.stop}); default: a line of log. */
  readonly onError?: (error: unknown) => void;
}

/** TLS on a remoting port, which stays open to plain connections unless `mode` says otherwise. */
export interface RemotingTls {
  readonly mode: TlsMode;
  /** null: there is no certificate, and clients that begin with TLS are refused. Apache makes one up. */
  readonly identity: TlsServerOptions | null;
}

/** Keys of the configuration that bound what peers of a remoting port may take. */
export interface RemotingLimits {
  /** Apache's: a connection at rest for so long is closed, s. */
  readonly serverChannelMaxIdleTimeSeconds: number;
  /** Ours, all that follow; see the table of settings. */
  readonly remotingAllowedPeers: string | null;
  readonly remotingConnectionsMax: number;
  readonly remotingConnectionsPerAddressMax: number;
  readonly remotingFrameTimeout: number;
}

/** Ended connections by reason, those included that were closed as soon as they came. */
export type RemotingCloseCounts = Readonly<Record<RemotingCloseReason | ConnectionRefusal, number>>;

const DEFAULT_LIMITS: RemotingLimits = {
  serverChannelMaxIdleTimeSeconds: 120,
  remotingAllowedPeers: null,
  remotingConnectionsMax: 16_384,
  remotingConnectionsPerAddressMax: 4096,
  remotingFrameTimeout: 30_000,
};

/** Requests under way have so long to be answered when the server stops, ms. */
const STOP_WAIT_MS = 3000;
/** `MQVersion` V5_3_1: clients after it know GO_AWAY. */
const GO_AWAY_VERSION = 475;

/** Ends that a well-meaning peer does not meet. */
const LOUD_REASONS: ReadonlySet<RemotingCloseReason> = new Set(["garbage", "overflow", "slow", "tls"]);

/** Mirrors Apache's `NettyRemotingServer`. */
export class RemotingServer {
  readonly #options: RemotingServerOptions;
  readonly #connections = new Set<RemotingConnection>();
  readonly #closes: Record<RemotingCloseReason, number> = {
    peer: 0,
    local: 0,
    garbage: 0,
    idle: 0,
    slow: 0,
    error: 0,
    overflow: 0,
    timeout: 0,
    tls: 0,
  };
  readonly #limits: RemotingLimits;
  readonly #gate: ConnectionLimits;
  readonly #held: HeldBytes;
  #requestCount = 0;
  readonly #lines = new LineLimiter();
  #listener: Listener | null = null;
  #stopping = false;
  #tls: TlsServer | null = null;
  #accepting: Promise<void> = Promise.resolve();

  constructor(options: RemotingServerOptions) {
    this.#options = options;
    const limits = this.#limits = options.limits ?? DEFAULT_LIMITS;
    const bounds: ConnectionBounds = {
      connectionsMax: () => limits.remotingConnectionsMax,
      connectionsPerAddressMax: () => limits.remotingConnectionsPerAddressMax,
      allowedPeers: () => limits.remotingAllowedPeers,
    };
    this.#gate = new ConnectionLimits(bounds);
    this.#held = options.heldBytes ?? new HeldBytes(() => HELD_BYTES_MAX);
  }

  /**
   * Listens and serves. Throws `IoError` `inUse`, `permission`, `other`, and `ConfigError` for a certificate that can't be
   * used. Returns the bound address.
   */
  async start(): Promise<NetAddress> {
    const { net, hostname, port, logger, tls } = this.#options;
    if (tls !== undefined && tls.identity !== null && tls.mode !== "disabled") {
      this.#tls = await net.tlsServer(tls.identity);
    }
    const listener = await net.listen({ hostname, port });
    this.#listener = listener;
    const report = this.#options.onError ??
      ((error: unknown) => logger.error("Remoting port stopped accepting", { port, error: errorMessage(error) }));
    this.#accepting = startLoop(() => this.#accept(listener), report);
    return listener.address;
  }

  /**
   * Stops listening, lets requests under way be answered for at most 3 s, then closes every connection. New requests of
   * 5.3.2 clients and later are answered meanwhile with GO_AWAY, so that they know: it was not done, ask elsewhere.
   * Requests that a processor holds (pulls) are not waited for. Idempotent; a server is started once.
   */
  async stop(): Promise<void> {
    this.#stopping = true;
    this.#listener?.close();
    this.#listener = null;
    await this.#settle();
    for (const connection of [...this.#connections]) connection.close("local", "The broker stops");
    await this.#accepting;
  }

  /** Open connections. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Bytes held for peers: of unfinished requests and of unread answers. */
  get heldBytes(): number {
    let held = 0;
    for (const connection of this.#connections) held += connection.heldBytes;
    return held;
  }

  /** Requests taken since the start. */
  get requestCount(): number {
    return this.#requestCount;
  }

  /** How connections ended since the start. */
  get closeCounts(): RemotingCloseCounts {
    return { ...this.#closes, ...this.#gate.refusals };
  }

  async #settle(): Promise<void> {
    const busy = [...this.#connections].filter((connection) => !connection.isSettled);
    if (busy.length === 0) return;
    const { promise: timeout, resolve } = deferred<void>();
    const timer = this.#options.clock.setTimer(STOP_WAIT_MS, resolve);
    await Promise.race([timeout, Promise.all(busy.map((connection) => connection.settled()))]);
    timer.cancel();
  }

  async #accept(listener: Listener): Promise<void> {
    for (let socket = await listener.accept(); socket !== null; socket = await listener.accept()) {
      if (this.#listener === listener) this.#admit(socket);
      else socket.close();
    }
  }

  #admit(socket: Connection): void {
    const { remoteAddress } = socket;
    const refused = this.#gate.admit(remoteAddress.hostname);
    if (refused === null) return this.#serve(socket);
    socket.close();
    this.#sayClosed(formatHostPort(remoteAddress), refused.reason, refused.detail);
  }

  #serve(socket: Connection): void {
    const { hostname } = socket.remoteAddress;
    const { serverChannelMaxIdleTimeSeconds, remotingFrameTimeout } = this.#limits;
    let context: RequestContext | null = null;
    const connection: RemotingConnection = new RemotingConnection(socket, {
      clock: this.#options.clock,
      idleTimeoutMs: serverChannelMaxIdleTimeSeconds * 1000,
      frameTimeoutMs: remotingFrameTimeout,
      open: (plain) => openConnection(plain, this.#options.tls?.mode ?? "permissive", this.#tls),
      onRequest: (request) =>
        this.#process(request, context ??= { connection, remoteAddress: connection.remoteAddress }),
      onRequestFailed: (request, error) => this.#sayFailed(request, error),
      onHeldBytes: (change) => this.#held.add(connection, hostname, change),
      onClose: (reason, detail) => {
        this.#connections.delete(connection);
        this.#gate.release(hostname);
        this.#closes[reason]++;
        if (LOUD_REASONS.has(reason)) this.#sayClosed(connection.remoteAddress, reason, detail);
        this.#options.onConnectionClosed?.(connection);
      },
    });
    this.#connections.add(connection);
    void connection.run();
  }

  #sayClosed(remote: string, reason: RemotingCloseReason | ConnectionRefusal, detail: string): void {
    const host = remote.slice(0, remote.lastIndexOf(":"));
    const repeated = this.#lines.admit(`${reason} ${host}`, this.#options.clock.monotonic());
    if (repeated !== null) {
      this.#options.logger.warn("Closed a remoting connection", { remote, reason, detail, repeated });
    }
  }

  #process(
    request: RemotingCommand,
    context: RequestContext,
  ): RemotingCommand | null | Promise<RemotingCommand | null> {
    this.#requestCount++;
    const processor = this.#options.processors.get(request.code);
    if (processor === undefined) return notSupported(request);
    if (this.#stopping && request.version > GO_AWAY_VERSION) {
      return createResponse(request, ResponseCode.GO_AWAY, { remark: "please go away" });
    }
    return processor(request, context);
  }

  /** Says what was not foreseen. */
  #sayFailed(request: RemotingCommand, error: unknown): void {
    if (error instanceof RemotingError) return;
    this.#options.logger.error("Request failed", { code: request.code, error: errorMessage(error) });
  }
}
