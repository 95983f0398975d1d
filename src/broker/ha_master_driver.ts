// The master's side of replication on a machine: the listening socket (the job of Apache's AcceptSocketService), one
// read loop and one write loop per connection, and one timer. Every decision is HAService's and HAConnection's; this
// file carries bytes between sockets and the log and tells the service what happened and when.

import { deferred, startLoop, WakeUp } from "../base/async.ts";
import { AllowedPeers } from "../base/connection_limits.ts";
import { assert, errorMessage, IoError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { normalHost } from "../base/peer_networks.ts";
import { TRANSFER_HEADER_SIZE, writeTransferHeader } from "../ha/frames.ts";
import type { HAConnection } from "../ha/ha_connection.ts";
import type { HAConnectionStateNotificationRequest } from "../ha/ha_connection_state.ts";
import type { BrokerRole, HAService, ReplicationStatus } from "../ha/ha_service.ts";
import type { ReplicaLog } from "../ha/replica_log.ts";
import type { Clock, Connection, Listener, Net, NetAddress, Timer, TlsIdentity } from "../runtime/runtime.ts";
import { BODY_POSITION, TransferBufferPool } from "./transfer_buffer_pool.ts";

/**
 * After so many bytes without hearing the slave a write loop lets the rest of the process run: a socket with room takes
 * every write at once, and a fast slave would keep the event loop, while puts wait for another one's acknowledgement...
 */
const BYTES_BEFORE_YIELD = 1024 * 1024;
/** ...until it is heard, by when all that had arrived is looked at, or for so long, ms. */
const YIELD_MS_MAX = 1;

/** Reading ahead of the socket is for a slave that is behind by at least so many bytes: Apache's own frame. */
const READ_AHEAD_MIN = 32 * 1024;

/** Wait after a failed accept (out of descriptors, mostly), ms. */
const ACCEPT_RETRY_MS = 1000;

/** A frame before it leaves: the log's bytes behind the header's place, and how many the log gave. */
interface Frame {
  readonly offset: number;
  readonly buffer: Uint8Array;
  readonly size: number | Promise<number>;
}

/** What a connection's loops share. */
interface Line {
  /** The next frame, which the write loop has begun to read. */
  ahead: Frame | null;
  /** Bytes written since the slave was heard or the disk was waited for. */
  bytesInRow: number;
  /** Set while the write loop lets others run: the read loop heard the slave. */
  onHeard: (() => void) | null;
}

/** Drives an {@link HAService}. Can be started again after a stop. */
export class HAMasterDriver {
  readonly service: HAService;
  readonly #net: Net;
  readonly #clock: Clock;
  readonly #log: ReplicaLog;
  readonly #logger: Logger;
  readonly #onFatal: (error: unknown) => void;
  readonly #allowed: AllowedPeers;
  readonly #buffers = new TransferBufferPool();
  readonly #loops = new Set<Promise<void>>();
  /** Sockets that are served. */
  readonly #sockets = new Set<Connection>();
  #listener: Listener | null = null;
  #stopListening: WakeUp | null = null;
  #unsubscribe: (() => void) | null = null;
  #timer: Timer | null = null;
  #timerAt = 0;
  /** A flush was asked for and is not done. */
  #flushing = false;

  /** `onFatal` hears of a bug in a loop; the node should stop. */
  constructor(parts: {
    net: Net;
    clock: Clock;
    log: ReplicaLog;
    service: HAService;
    logger: Logger;
    onFatal: (error: unknown) => void;
    /** Ours: `haAllowedPeers`, live; null lets anyone in. */
    allowedPeers?: () => string | null;
  }) {
    this.service = parts.service;
    this.#allowed = new AllowedPeers(parts.allowedPeers ?? (() => null));
    this.#net = parts.net;
    this.#clock = parts.clock;
    this.#log = parts.log;
    this.#logger = parts.logger;
    this.#onFatal = parts.onFatal;
  }

  /** What is bound; null while stopped. */
  get address(): NetAddress | null {
    return this.#listener?.address ?? null;
  }

  /**
   * Binds and serves, with `tls` only slaves that have a certificate. Throws {@link IoError} when it can't bind and
   * {@link ConfigError} for an identity that can't be used; then nothing has started.
   */
  async start({ hostname, port, tls = null }: {
    hostname: string;
    port: number;
    tls?: TlsIdentity | null;
  }): Promise<NetAddress> {
    assert(this.#listener === null, "HA driver started twice");
    const secured = tls === null ? {} : {
      tls: {
        identity: tls,
        admits: (remote: NetAddress) => this.#admits(remote),
        onRefused: (remote: NetAddress, detail: string) =>
          this.service.refuse(remote, "tlsFailed", detail, this.#now()),
      },
    };
    const listener = await this.#net.listen({ hostname, port, ...secured });
    this.#listener = listener;
    this.#stopListening = new WakeUp();
    this.#run(() => this.#acceptLoop(listener));
    this.service.start(this.#now());
    this.#unsubscribe = this.#log.onGrow(() => this.service.onLogGrew(this.#now()));
    this.#armFromService();
    return listener.address;
  }

  /** Closes the port, then every connection; waiting puts end with FLUSH_SLAVE_TIMEOUT. Idempotent. */
  async stop(): Promise<void> {
    this.#listener?.close();
    this.#listener = null;
    this.#stopListening?.notify();
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    this.service.stop(this.#now());
    this.#timer?.cancel();
    this.#timer = null;
    await Promise.all([...this.#loops]);
  }

  /** The node's role has changed; connections stay. */
  setRole(role: BrokerRole): void {
    this.service.setRole(role, this.#now());
    this.#armFromService();
  }

  /** The service's options have other values now: they count at once, not from the next timer on. */
  onOptionsChanged(): void {
    this.service.onOptionsChanged();
    this.#armFromService();
  }

  /**
   * Whether the other end of a connection that this process made was accepted here: who follows itself, under whatever
   * name, is told by the pair of addresses, which no other connection has. Sure once a byte came over it.
   */
  isOtherEnd({ localAddress, remoteAddress }: Pick<Connection, "localAddress" | "remoteAddress">): boolean {
    for (const socket of this.#sockets) {
      if (sameAddress(socket.remoteAddress, localAddress) && sameAddress(socket.localAddress, remoteAddress)) {
        return true;
      }
    }
    return false;
  }

  /** Closes every connection: call it before the log is cut or replaced (`--resync`), so that none reads across it. */
  dropConnections(reason: string): void {
    this.service.dropConnections(reason, this.#now());
  }

  /**
   * The replication status of a put that ends at `nextOffset`, as soon as it is known: at once unless a SYNC_MASTER's
   * put has to wait, `slaveTimeout` at the latest. Asked in the same turn as the append.
   */
  handleHA(nextOffset: number, waitStoreMsgOK: boolean): ReplicationStatus | Promise<ReplicationStatus> {
    const { promise, resolve } = deferred<ReplicationStatus>();
    const status = this.service.handleHA(nextOffset, waitStoreMsgOK, resolve, this.#now());
    if (status !== null) return status;
    this.#arm(this.service.waitingPutsDeadline);
    return promise;
  }

  /** Resolves true once a connection of that peer is in the state, false when the wait fails or another replaces it. */
  waitForState(request: HAConnectionStateNotificationRequest): Promise<boolean> {
    const { promise, resolve } = deferred<boolean>();
    this.service.notifications.setRequest(request, resolve, this.#now());
    this.#arm(this.service.notifications.nextDeadline());
    return promise;
  }

  async #acceptLoop(listener: Listener): Promise<void> {
    const stopped = this.#stopListening!;
    while (this.#listener === listener) {
      try {
        const socket = await listener.accept();
        if (socket === null) return;
        if (this.#listener === listener) this.#serve(socket);
        else socket.close();
      } catch (error) {
        if (!(error instanceof IoError)) throw error;
        this.#logger.warn(`Accept on the HA port failed: ${error.message}`, { retryMs: ACCEPT_RETRY_MS });
        await stopped.wait(this.#clock, ACCEPT_RETRY_MS);
      }
    }
  }

  /** Whether a peer may come: asked before it costs anything. */
  #admits(remote: NetAddress): boolean {
    if (this.#allowed.has(remote.hostname)) return true;
    const detail = `Its address is not in haAllowedPeers (${this.#allowed.text})`;
    this.service.refuse(remote, "notAllowed", detail, this.#now());
    return false;
  }

  #serve(socket: Connection): void {
    if (!this.#admits(socket.remoteAddress)) return socket.close();
    const wakeUp = new WakeUp();
    const line: Line = { ahead: null, bytesInRow: 0, onHeard: null };
    const port = {
      wake: () => wakeUp.notify(),
      close: () => {
        socket.close();
        wakeUp.notify();
      },
    };
    const now = this.#now();
    const connection = this.service.accept(socket.remoteAddress, port, now);
    if (connection === null) return socket.close();
    this.#arm(connection.nextDeadline(now));
    this.#sockets.add(socket);
    this.#run(() => this.#readLoop(socket, connection, line).finally(() => this.#sockets.delete(socket)));
    this.#run(() => this.#writeLoop(socket, connection, line, wakeUp));
  }

  async #readLoop(socket: Connection, connection: HAConnection, line: Line): Promise<void> {
    try {
      while (connection.closeReason === null) {
        const bytes = await socket.read();
        if (bytes === null) break;
        const now = this.#now();
        this.service.onBytes(connection, bytes, now);
        line.bytesInRow = 0;
        line.onHeard?.();
        // The first report starts the heartbeats; later ones only move deadlines away.
        if (connection.closeReason === null) this.#arm(connection.nextDeadline(now));
      }
      this.service.close(connection, "peerClosed", this.#now());
    } catch (error) {
      this.#onSocketError(connection, error);
    }
  }

  async #writeLoop(socket: Connection, connection: HAConnection, line: Line, wakeUp: WakeUp): Promise<void> {
    try {
      while (connection.closeReason === null) {
        const transfer = connection.takeTransfer(this.#now());
        if (transfer === null) {
          this.#arm(connection.nextDeadline(this.#now()));
          if (connection.awaitsFlush) this.#askFlush();
          line.bytesInRow = 0;
          await wakeUp.wait(this.#clock, null);
          continue;
        }
        await this.#send(socket, connection, transfer.offset, transfer.size, line);
        if (line.bytesInRow >= BYTES_BEFORE_YIELD) await this.#yield(line);
      }
    } catch (error) {
      this.#onSocketError(connection, error);
    } finally {
      if (line.ahead !== null) {
        await line.ahead.size;
        this.#buffers.give(line.ahead.buffer, true);
      }
    }
  }

  async #yield(line: Line): Promise<void> {
    const { promise, resolve } = deferred<void>();
    line.onHeard = resolve;
    const timer = this.#clock.setTimer(YIELD_MS_MAX, resolve);
    await promise;
    line.onHeard = null;
    line.bytesInRow = 0;
    timer.cancel();
  }

  /** Writes a frame, and reads the next one's body meanwhile. */
  async #send(
    socket: Connection,
    connection: HAConnection,
    offset: number,
    sizeAsked: number,
    line: Line,
  ): Promise<void> {
    const frame = (sizeAsked > 0 ? this.#takeAhead(line, offset) : null) ??
      this.#readFrame(connection, offset, sizeAsked);
    const { buffer } = frame;
    let reusable = false;
    try {
      let bytesRead = frame.size;
      if (typeof bytesRead !== "number") {
        bytesRead = await bytesRead;
        line.bytesInRow = 0;
      }
      const size = Math.min(bytesRead, sizeAsked);
      reusable = true;
      if (connection.closeReason !== null) return; // closed, or the log cut, while the disk was asked
      if (sizeAsked > 0 && size === 0) return connection.onNotHeld();
      connection.onTransferStarted(size, this.#now());
      const headerAt = BODY_POSITION - TRANSFER_HEADER_SIZE;
      writeTransferHeader(buffer, headerAt, offset, size);
      reusable = false;
      line.bytesInRow += TRANSFER_HEADER_SIZE + size;
      const written = socket.write(buffer.subarray(headerAt, BODY_POSITION + size));
      this.#readAhead(connection, offset + size, line);
      await written;
      reusable = true;
      connection.onTransferWritten(this.#now());
    } finally {
      this.#buffers.give(buffer, reusable);
    }
  }

  /** Begins to read a body behind the place of its header. */
  #readFrame(connection: HAConnection, offset: number, sizeAsked: number): Frame {
    const buffer = this.#buffers.take(BODY_POSITION + sizeAsked);
    const bodyEnd = Math.min(BODY_POSITION + sizeAsked, buffer.length);
    const size = sizeAsked > 0 ? this.#read(connection, offset, buffer.subarray(BODY_POSITION, bodyEnd)) : 0;
    return { offset, buffer, size };
  }

  #takeAhead(line: Line, offset: number): Frame | null {
    const { ahead } = line;
    line.ahead = null;
    assert(ahead === null || ahead.offset === offset, "A frame read ahead does not follow the one before");
    return ahead;
  }

  /** While a backlog lasts: with less to send, what arrives meanwhile had better go into the same frame. */
  #readAhead(connection: HAConnection, offset: number, line: Line): void {
    const size = connection.bytesAhead;
    if (size >= READ_AHEAD_MIN && line.ahead === null) line.ahead = this.#readFrame(connection, offset, size);
  }

  /** `ReplicaLog.read`, with a failing disk turned into the end of this connection. */
  #read(connection: HAConnection, offset: number, target: Uint8Array): number | Promise<number> {
    const failed = (error: unknown): number => {
      if (!(error instanceof IoError)) throw error;
      this.service.onReadFailed(connection, `Log can't be read at ${offset}: ${error.message}`, this.#now());
      return 0;
    };
    try {
      const read = this.#log.read(offset, target);
      return typeof read === "number" ? read : read.catch(failed);
    } catch (error) {
      return failed(error);
    }
  }

  /**
   * Under `haTransferAfterFlush` slaves wait for the disk, so the disk is asked at once instead of at the flush
   * service's leisure. Growth of `flushedOffset` wakes them; a flush that fails ends the node, or it stops already.
   */
  #askFlush(): void {
    if (this.#flushing) return;
    this.#flushing = true;
    this.#log.waitFlushed(this.#log.maxOffset).then(() => {
      this.#flushing = false;
      if (this.service.awaitsFlush) this.#askFlush();
    }).catch((error: unknown) => {
      this.#flushing = false;
      if (!(error instanceof IoError)) this.#onFatal(error);
    });
  }

  #onSocketError(connection: HAConnection, error: unknown): void {
    if (!(error instanceof IoError)) this.#onFatal(error);
    this.service.close(connection, error instanceof IoError ? error.kind : errorMessage(error), this.#now());
  }

  #run(loop: () => Promise<void>): void {
    const running = startLoop(loop, this.#onFatal);
    this.#loops.add(running);
    running.then(() => this.#loops.delete(running));
  }

  #now(): number {
    return this.#clock.monotonic();
  }

  #armFromService(): void {
    this.#arm(this.service.nextDeadline(this.#now()));
  }

  /** Makes sure the timer fires by `deadline`. It may fire with nothing to do, never too late. */
  #arm(deadline: number | null): void {
    if (deadline === null || this.#listener === null) return;
    if (this.#timer !== null) {
      if (this.#timerAt <= deadline) return;
      this.#timer.cancel();
    }
    this.#timerAt = deadline;
    this.#timer = this.#clock.setTimer(Math.max(Math.ceil(deadline - this.#now()), 0), () => {
      this.#timer = null;
      this.service.onTick(this.#now());
      this.#armFromService();
    });
  }
}

function sameAddress(a: NetAddress, b: NetAddress): boolean {
  return a.port === b.port && normalHost(a.hostname) === normalHost(b.hostname);
}
