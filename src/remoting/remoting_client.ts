// Requests to other nodes: one connection per address, made when first needed and kept until it is idle for 120 s or
// fails. It retries nothing; who asks decides when to ask again.

import { errorMessage, IoError } from "../base/errors.ts";
import type { HostPort } from "../base/host_port.ts";
import { printable, quoted } from "../base/printable.ts";
import type { Clock, Net, TlsClientOptions } from "../runtime/runtime.ts";
import { parseRemotingAddress } from "./remoting_address.ts";
import { createResponse, type RemotingCommand } from "./remoting_command.ts";
import { RemotingConnection, type RequestHandler } from "./remoting_connection.ts";
import { ResponseCode } from "./response_code.ts";

/** What a {@link RemotingClient} needs. */
export interface RemotingClientOptions {
  readonly net: Net;
  readonly clock: Clock;
  /** Apache's `tls.enable`: TLS to every address. Unset or null: none. */
  readonly tls?: TlsClientOptions | null;
  /** Limit of one connect, ms. Apache: 3,000. */
  readonly connectTimeoutMillis?: number;
  /** Idle limit, ms. Apache: `clientChannelMaxIdleTimeSeconds`, 120 s. */
  readonly channelMaxIdleMs?: number;
  /** Requests the other side sends on our connections; without it they are answered with "not supported". */
  readonly onRequest?: RequestHandler;
  /** Told when the connection to an address that was open has ended, whoever closed it. */
  readonly onConnectionClosed?: (address: string, detail: string) => void;
}

/** Mirrors Apache's `NettyRemotingClient`. */
export class RemotingClient {
  readonly #options: RemotingClientOptions;
  readonly #connections = new Map<string, Promise<RemotingConnection>>();
  #closed = false;

  constructor(options: RemotingClientOptions) {
    this.#options = options;
  }

  /**
   * Asks `address` (`host:port`) and resolves with the answer, whatever its code. `timeoutMs` covers the connecting as
   * well. A server that stops answers GO_AWAY: the connection is left and the request sent once more, on a new one, as
   * Apache's client does. Throws {@link IoError}: `refused`, `timeout` (the connection is then closed, as a peer that keeps
   * silent once is not asked again), `closed`, `reset`, `other` (also for an address that is none).
   */
  async invoke(address: string, request: RemotingCommand, timeoutMs: number): Promise<RemotingCommand> {
    const endMs = this.#options.clock.monotonic() + timeoutMs;
    const ask = async (connection: RemotingConnection): Promise<RemotingCommand> => {
      const leftMs = Math.max(1, Math.floor(endMs - this.#options.clock.monotonic()));
      return await connection.invoke(request, leftMs);
    };
    const connection = await this.#connectionTo(address, timeoutMs);
    const answer = await ask(connection);
    if (answer.code !== ResponseCode.GO_AWAY) return answer;
    connection.close("local", "The peer asked to go away");
    return await ask(await this.#connectionTo(address, Math.max(1, endMs - this.#options.clock.monotonic())));
  }

  /** Sends without waiting for an answer; connects first when needed. Throws as {@link invoke}. */
  async invokeOneway(address: string, request: RemotingCommand, timeoutMs: number): Promise<void> {
    (await this.#connectionTo(address, timeoutMs)).invokeOneway(request);
  }

  /** Whether a connection to the address is open or being made. */
  isConnected(address: string): boolean {
    return this.#connections.has(address);
  }

  /** Closes the connection to one address, if there is one. */
  async disconnect(address: string): Promise<void> {
    const connection = await this.#connections.get(address)?.catch(() => undefined);
    connection?.close("local", "Closed by us");
  }

  /** Closes every connection; requests under way fail with `closed`. Not used again. */
  close(): void {
    this.#closed = true;
    for (const address of [...this.#connections.keys()]) void this.disconnect(address);
  }

  #connectionTo(address: string, timeoutMs: number): Promise<RemotingConnection> {
    if (this.#closed) return Promise.reject(new IoError("closed", "The remoting client is closed"));
    const known = this.#connections.get(address);
    if (known !== undefined) return known;
    const parsed = parseRemotingAddress(address);
    if (parsed === null) return Promise.reject(new IoError("other", `Address is ${quoted(address)}, wanted host:port`));
    const connection = this.#connect(address, parsed, timeoutMs);
    this.#connections.set(address, connection);
    connection.catch(() => this.#connections.delete(address));
    return connection;
  }

  async #connect(address: string, parsed: HostPort, timeoutMs: number): Promise<RemotingConnection> {
    const { net, clock, tls = null } = this.#options;
    const limitMs = Math.min(timeoutMs, this.#options.connectTimeoutMillis ?? 3000);
    const socket = await net.connect({
      hostname: parsed.hostname,
      port: parsed.port,
      timeoutMs: limitMs,
      ...(tls === null ? {} : { tls }),
    });
    if (this.#closed) {
      socket.close();
      throw new IoError("closed", "The remoting client is closed");
    }
    const connection = new RemotingConnection(socket, {
      clock,
      idleTimeoutMs: this.#options.channelMaxIdleMs ?? 120_000,
      closesOnTimeout: true,
      onRequest: this.#options.onRequest ?? notSupported,
      onClose: (_reason, detail) => {
        this.#connections.delete(address);
        this.#options.onConnectionClosed?.(address, detail);
      },
    });
    void connection.run();
    return connection;
  }
}

/** The answer to a code without a processor, in Apache's words. */
export function notSupported(request: RemotingCommand): RemotingCommand {
  const remark = ` request type ${request.code} not supported`;
  return createResponse(request, ResponseCode.REQUEST_CODE_NOT_SUPPORTED, { remark });
}

/** Characters shown of a peer's remark. */
const REMARK_MAX = 300;

/** The text of a failed answer, for a log line. */
export function answerText(answer: RemotingCommand): string {
  return `code ${answer.code}${answer.remark === null ? "" : ` (${printable(answer.remark.slice(0, REMARK_MAX))})`}`;
}

/** Logs-friendly text of whatever {@link RemotingClient.invoke} threw. */
export function invokeErrorText(error: unknown): string {
  return error instanceof IoError && error.kind !== "other" ? `${error.kind}: ${error.message}` : errorMessage(error);
}
