// One remoting connection, either end of it: requests and answers in both directions over one socket. It owns
// back-pressure and the limits of time, and drives the decoder, the outbound queue and the requests that wait; what a
// request means is the processor's, and who connects to whom is the client's and the server's business.

import { type Deferred, deferred } from "../base/async.ts";
import { errorMessage, IoError, ProtocolError, RemotingError } from "../base/errors.ts";
import { formatHostPort } from "../base/host_port.ts";
import type { Clock, Connection, Timer } from "../runtime/runtime.ts";
import type { Opening } from "./connection_opening.ts";
import { FRAME_SIZE_MAX, FrameDecoder } from "./frame_decoder.ts";
import { OutboundQueue } from "./outbound_queue.ts";
import { PendingRequests } from "./pending_requests.ts";
import { createResponse, FLAG_ONEWAY, isOneway, isResponse, type RemotingCommand } from "./remoting_command.ts";
import { ResponseCode } from "./response_code.ts";

/**
 * Why a connection ended. `garbage`: the peer broke the protocol; `overflow`: it made us hold too much for it; `slow`: a
 * request did not come, or not to its end, in time; `tls`: it wanted TLS and could not have it, or did not and had to.
 */
export type RemotingCloseReason =
  | "peer"
  | "local"
  | "garbage"
  | "idle"
  | "slow"
  | "error"
  | "overflow"
  | "timeout"
  | "tls";

/**
 * Answers requests. The answer is sent unless the request was one-way; null sends nothing (yet). Its body is given away:
 * nobody changes it from now on.
 */
export type RequestHandler = (
  request: RemotingCommand,
  connection: RemotingConnection,
) => RemotingCommand | null | Promise<RemotingCommand | null>;

/** What a {@link RemotingConnection} needs. */
export interface RemotingConnectionOptions {
  readonly clock: Clock;
  /** Called for each request of the peer, in order. Throws or rejects with what becomes an error answer. */
  readonly onRequest: RequestHandler;
  /** Told of what {@link onRequest} threw or rejected with; the peer is told anyway. */
  readonly onRequestFailed?: (request: RemotingCommand, error: unknown) => void;
  /** Called once. `detail` is a sentence for the log. */
  readonly onClose: (reason: RemotingCloseReason, detail: string) => void;
  /** Told of each change of {@link RemotingConnection.heldBytes}. It may close connections, this one too. */
  readonly onHeldBytes?: (change: number) => void;
  /** Closed after this long with neither a byte read nor a write done. Apache: 120,000. */
  readonly idleTimeoutMs: number;
  /**
   * Closed when the first frame is not whole this long after the connection, or a later one after its first byte (at
   * the latest after twice as long). Unset: never.
   */
  readonly frameTimeoutMs?: number;
  /**
   * Whether a request of ours that is not answered in time ends the connection: a client's way to find a server that
   * hangs. A server does not: a consumer may be slow to answer, and its pulls are held on the same connection.
   */
  readonly closesOnTimeout?: boolean;
  /** Takes off what may stand before the first frame. Unset: the first byte is a frame's. */
  readonly open?: (connection: Connection) => Promise<Opening>;
}

/** Reading stops while this many bytes wait to be written. */
const OUTBOUND_STOP_BYTES = 1024 * 1024;
/** Frames beyond this many bytes in the queue are refused: the peer asks but doesn't read. */
const OUTBOUND_MAX_BYTES = 64 * 1024 * 1024;
/** Requests of the peer being worked on at once; beyond it reading stops. */
const IN_FLIGHT_MAX = 1024;
/** Likewise for their bodies, bytes: sends that wait for a slave keep theirs. */
const IN_FLIGHT_BYTES_MAX = 64 * 1024 * 1024;
/**
 * What requests of one read put, and their answers, share a write to the log and one to the socket. Once so many bytes of
 * bodies are begun they are work enough for one turn: what they put is written before the next request is begun, and
 * answered soon after, so that the peer works on while this side does. Likewise once so many bytes of answers wait.
 */
const TURN_REQUEST_BYTES = 64 * 1024;
const TURN_ANSWER_BYTES = 128 * 1024;
/** A larger body would make the peer close the connection; the rest is for the header. */
const ANSWER_BODY_MAX = FRAME_SIZE_MAX - 64 * 1024;

/** Mirrors what Apache's `NettyRemotingAbstract` keeps per channel. */
export class RemotingConnection {
  #remoteAddress: string;
  #connection: Connection;
  readonly #options: RemotingConnectionOptions;
  readonly #pending: PendingRequests;
  readonly #outbound = new OutboundQueue();
  #writing = false;
  #inFlight = 0;
  #inFlightBytes = 0;
  /** Set while the read loop waits for room. */
  #room: Deferred<void> | null = null;
  /** Set while somebody waits for {@link settled}. */
  #settled: Deferred<void> | null = null;
  /** Bytes held of a request that is not whole yet. */
  #inboundBytes = 0;
  /** {@link heldBytes} as told last. */
  #heldBytesTold = 0;
  #lastActivityMs: number;
  /** Since when the peer owes us the rest of a frame; null between frames. */
  #frameSinceMs: number | null;
  #idleTimer: Timer;
  #closed = false;

  constructor(connection: Connection, options: RemotingConnectionOptions) {
    this.#connection = connection;
    this.#options = options;
    this.#pending = new PendingRequests(options.clock);
    this.#remoteAddress = formatHostPort(connection.remoteAddress);
    this.#lastActivityMs = this.#frameSinceMs = options.clock.monotonic();
    this.#idleTimer = this.#armIdleTimer(options.idleTimeoutMs);
  }

  /** `host:port` of the peer; once requests come, of who is behind the load balancer, where that says so. */
  get remoteAddress(): string {
    return this.#remoteAddress;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** Bytes accepted and not yet written. */
  get outboundBytes(): number {
    return this.#outbound.bytes;
  }

  /** Memory this connection holds for its peer: of an unfinished request and of unread answers, bytes. */
  get heldBytes(): number {
    return this.#closed ? 0 : this.#inboundBytes + this.#outbound.heldBytes;
  }

  /** Whether each request taken is answered (unless its processor said: later) and each answer written. */
  get isSettled(): boolean {
    return this.#closed || this.#inFlight === 0 && this.#outbound.bytes === 0;
  }

  /** Resolves once {@link isSettled}; later requests of the peer may delay it. */
  settled(): Promise<void> {
    if (this.isSettled) return Promise.resolve();
    this.#settled ??= deferred<void>();
    return this.#settled.promise;
  }

  /** Reads until the connection ends; never rejects. Its owner runs it once. */
  async run(): Promise<void> {
    try {
      const decoder = new FrameDecoder();
      let chunk = this.#options.open === undefined
        ? await this.#connection.read()
        : await this.#open(this.#options.open);
      for (;; chunk = await this.#connection.read()) {
        if (this.#closed) return;
        if (chunk === null) return this.close("peer", "The peer closed the connection");
        this.#touch();
        decoder.push(chunk);
        let begunBytes = 0;
        for (let command = decoder.next(); command !== null; command = decoder.next()) {
          this.#frameSinceMs = null;
          this.#accept(command);
          begunBytes += command.body.length;
          if (begunBytes >= TURN_REQUEST_BYTES || this.#outbound.bytes >= TURN_ANSWER_BYTES) {
            await null;
            begunBytes = 0;
          }
          while (this.#isFull() && !this.#closed) await this.#waitForRoom();
          if (this.#closed) return;
        }
        this.#inboundBytes = decoder.heldBytes;
        if (this.#inboundBytes > 0) this.#frameSinceMs ??= this.#options.clock.monotonic();
        this.#tellHeldBytes();
        if (this.#closed) return;
      }
    } catch (error) {
      this.close(error instanceof ProtocolError ? "garbage" : "error", errorMessage(error));
    }
  }

  /**
   * Sends a request and resolves with its answer, whatever its code. Throws {@link IoError} `timeout` (a late answer is
   * dropped; see {@link RemotingConnectionOptions.closesOnTimeout}) or `closed`, and {@link RemotingError} `SYSTEM_BUSY`
   * when 1,024 requests wait already. Its opaque is of this side's own series: the peer's requests have theirs.
   */
  // deno-lint-ignore require-await -- failures have to come as rejections
  async invoke(request: RemotingCommand, timeoutMs: number): Promise<RemotingCommand> {
    if (this.#closed) throw this.#closedError();
    const opaque = this.#pending.nextOpaque();
    const answer = this.#pending.add(opaque, timeoutMs, () => {
      const detail = `${this.remoteAddress} did not answer request ${request.code} within ${timeoutMs} ms`;
      if (this.#options.closesOnTimeout === true) this.close("timeout", detail);
      return new IoError("timeout", detail);
    });
    this.#enqueue({ ...request, opaque });
    return answer;
  }

  /** Sends a request nobody answers. Throws {@link IoError} `closed`. */
  invokeOneway(request: RemotingCommand): void {
    if (this.#closed) throw this.#closedError();
    this.#enqueue({ ...request, opaque: this.#pending.nextOpaque(), flag: request.flag | FLAG_ONEWAY });
  }

  /** Sends an answer made by a handler that returned null. Dropped for a one-way request, or without a connection. */
  respond(response: RemotingCommand): void {
    if (this.#closed || isOneway(response)) return;
    if (response.body.length <= ANSWER_BODY_MAX) return this.#enqueue(response);
    const remark = `The answer has ${response.body.length} bytes, more than a frame may hold`;
    this.#enqueue(createResponse(response, ResponseCode.SYSTEM_ERROR, { remark }));
  }

  /** Closes it and fails what waits. Idempotent. */
  close(reason: RemotingCloseReason, detail: string): void {
    if (this.#closed) return;
    this.#closed = true;
    this.#idleTimer.cancel();
    this.#connection.close();
    this.#outbound.clear();
    this.#room?.resolve();
    this.#notifySettled();
    this.#tellHeldBytes();
    this.#pending.failAll(this.#closedError());
    this.#options.onClose(reason, detail);
  }

  async #open(open: (connection: Connection) => Promise<Opening>): Promise<Uint8Array | null> {
    const opening = await open(this.#connection);
    if ("refused" in opening) {
      this.close("tls", opening.refused);
      return null;
    }
    if (this.#closed) opening.connection.close();
    this.#connection = opening.connection;
    if (opening.source !== null) this.#remoteAddress = formatHostPort(opening.source);
    return opening.firstBytes;
  }

  #accept(command: RemotingCommand): void {
    if (isResponse(command)) return this.#pending.answered(command);
    let answer: RemotingCommand | null | Promise<RemotingCommand | null>;
    try {
      answer = this.#options.onRequest(command, this);
    } catch (error) {
      answer = this.#errorAnswer(command, error);
    }
    if (!(answer instanceof Promise)) return this.#answer(command, answer);
    this.#inFlight++;
    this.#inFlightBytes += command.body.length;
    answer.then(
      (answered) => this.#answerLate(command, answered),
      (error: unknown) => this.#answerLate(command, this.#errorAnswer(command, error)),
    );
  }

  #answerLate(request: RemotingCommand, answer: RemotingCommand | null): void {
    this.#inFlight--;
    this.#inFlightBytes -= request.body.length;
    this.#answer(request, answer);
    this.#notifyRoom();
    this.#notifySettled();
  }

  #answer(request: RemotingCommand, answer: RemotingCommand | null): void {
    if (answer === null || isOneway(request)) return;
    try {
      this.respond(answer);
    } catch (error) {
      // An answer that can't be written is a bug of ours: it ends one connection, not the node.
      this.#options.onRequestFailed?.(request, error);
      this.close("error", errorMessage(error));
    }
  }

  #enqueue(command: RemotingCommand): void {
    if (this.#outbound.bytes > 0 && this.#outbound.bytes + command.body.length > OUTBOUND_MAX_BYTES) {
      this.close("overflow", `${this.#outbound.bytes} bytes wait for a peer that does not read`);
      return;
    }
    this.#outbound.push(command);
    this.#tellHeldBytes();
    if (!this.#writing) void this.#writeAll();
  }

  /** Writes until the queue is empty; exists only while there is something to write. */
  async #writeAll(): Promise<void> {
    this.#writing = true;
    try {
      // What else is answered in this turn, of one read mostly, goes out with the first.
      await null;
      for (let bytes = this.#outbound.front(); bytes !== null; bytes = this.#outbound.front()) {
        await this.#connection.write(bytes);
        if (this.#closed) return;
        this.#outbound.written();
        this.#tellHeldBytes();
        this.#touch();
        this.#notifyRoom();
        this.#notifySettled();
      }
    } catch (error) {
      this.close("error", errorMessage(error));
    } finally {
      this.#writing = false;
    }
  }

  #isFull(): boolean {
    return this.#outbound.bytes > OUTBOUND_STOP_BYTES || this.#inFlight >= IN_FLIGHT_MAX ||
      this.#inFlightBytes >= IN_FLIGHT_BYTES_MAX;
  }

  #waitForRoom(): Promise<void> {
    this.#room = deferred<void>();
    return this.#room.promise;
  }

  #notifyRoom(): void {
    if (this.#room === null || this.#isFull()) return;
    this.#room.resolve();
    this.#room = null;
  }

  #notifySettled(): void {
    if (this.#settled === null || !this.isSettled) return;
    this.#settled.resolve();
    this.#settled = null;
  }

  #tellHeldBytes(): void {
    const held = this.heldBytes;
    const change = held - this.#heldBytesTold;
    this.#heldBytesTold = held;
    if (change !== 0) this.#options.onHeldBytes?.(change);
  }

  #touch(): void {
    this.#lastActivityMs = this.#options.clock.monotonic();
  }

  /** One timer per connection, set anew only when it fires: a read costs no timer. */
  #armIdleTimer(delayMs: number): Timer {
    const { clock, frameTimeoutMs = delayMs } = this.#options;
    return clock.setTimer(Math.min(delayMs, frameTimeoutMs), () => this.#checkTimes());
  }

  #checkTimes(): void {
    const { clock, idleTimeoutMs, frameTimeoutMs } = this.#options;
    const now = clock.monotonic();
    const idleMs = Math.floor(now - this.#lastActivityMs);
    const frameMs = this.#frameSinceMs === null ? 0 : Math.floor(now - this.#frameSinceMs);
    if (frameTimeoutMs !== undefined && frameMs >= frameTimeoutMs) {
      return this.close("slow", `No whole request in ${frameMs} ms, ${this.#inboundBytes} bytes came of it`);
    }
    if (idleMs >= idleTimeoutMs) return this.close("idle", `Nothing read or written for ${idleMs} ms`);
    this.#idleTimer = this.#armIdleTimer(idleTimeoutMs - idleMs);
  }

  #closedError(): IoError {
    return new IoError("closed", `The remoting connection to ${this.remoteAddress} is closed`);
  }

  /** The answer that carries what a processor threw. */
  #errorAnswer(request: RemotingCommand, error: unknown): RemotingCommand {
    this.#options.onRequestFailed?.(request, error);
    const code = error instanceof RemotingError ? error.code : ResponseCode.SYSTEM_ERROR;
    return createResponse(request, code, { remark: errorMessage(error) });
  }
}
