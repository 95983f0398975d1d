// A model of the master's side as RocketMQ 4.5 to 4.9.1 had it (`HAService`, `HAConnection`), small but with the parts
// that the reports in this folder are about: acks that are believed, a greatest ack that only grows, producers judged
// one after another, a slave that asks for what is not there and is only sent heartbeats. It stands where our
// HAMasterDriver stands, over the same sockets, log and PutMessageService.

import { deferred, startLoop, WakeUp } from "../../../src/base/async.ts";
import { IoError } from "../../../src/base/errors.ts";
import { TRANSFER_HEADER_SIZE, writeTransferHeader } from "../../../src/ha/frames.ts";
import type { GroupCommitStatus } from "../../../src/ha/group_transfer_service.ts";
import type { ReplicationStatus } from "../../../src/ha/ha_service.ts";
import type { Connection, Listener, NetAddress } from "../../../src/runtime/runtime.ts";
import type { MasterParts, MasterSide } from "../scene.ts";

/** Wait for growth of the log, ms (`allWaitForRunning`). */
const GROWTH_POLL_MS = 100;
/** Each wait for an ack, and each pause between two looks at a connection's age, ms. */
const WAIT_MS = 1000;

/**
 * How a waiting producer is judged. `wakeUps` (to 4.5.2): after five waits, each ended early by any ack. `deadline`
 * (4.6 to 4.9.1): by time, which begins when its turn comes. Both take one producer after another.
 */
export type OldWaiting = "wakeUps" | "deadline";

export interface OldHAOptions {
  readonly waiting: OldWaiting;
  readonly haSendHeartbeatInterval: number;
  readonly haHousekeepingInterval: number;
  readonly haTransferBatchSize: number;
  readonly syncFlushTimeout: number;
  readonly haSlaveFallbehindMax: number;
  /** Bytes that may be on their way to a slave: what its 64 KiB socket buffers let through per round trip. */
  readonly windowSize: number;
}

const DEFAULTS: OldHAOptions = {
  waiting: "wakeUps",
  haSendHeartbeatInterval: 5000,
  haHousekeepingInterval: 20_000,
  haTransferBatchSize: 32 * 1024,
  syncFlushTimeout: 5000,
  haSlaveFallbehindMax: 256 * 1024 * 1024,
  windowSize: Infinity,
};

interface OldRequest {
  readonly nextOffset: number;
  readonly complete: (status: GroupCommitStatus) => void;
}

/** One slave's connection, its reader and its writer. */
class OldConnection {
  readonly socket: Connection;
  readonly wake = new WakeUp();
  slaveRequestOffset = -1;
  slaveAckOffset = -1;
  lastRead: number;
  #tail: number[] = [];
  #received = 0;

  constructor(socket: Connection, now: number) {
    this.socket = socket;
    this.lastRead = now;
  }

  /**
   * The last eight bytes on an 8-byte boundary of the stream are the ack, whatever they are; null before there are any.
   */
  take(bytes: Uint8Array): number | null {
    this.#received += bytes.length;
    this.#tail = [...this.#tail, ...bytes].slice(-15);
    const whole = this.#tail.slice(0, this.#tail.length - this.#received % 8);
    if (whole.length < 8) return null;
    const report = new DataView(Uint8Array.from(whole.slice(-8)).buffer);
    return Number(report.getBigInt64(0));
  }
}

/** The old master. */
export class OldHAService implements MasterSide {
  push2SlaveMaxOffset = 0;
  readonly #parts: MasterParts;
  readonly #options: OldHAOptions;
  readonly #connections = new Set<OldConnection>();
  readonly #loops: Promise<void>[] = [];
  readonly #requestAdded = new WakeUp();
  readonly #ackCame = new WakeUp();
  #requests: OldRequest[] = [];
  #listener: Listener | null = null;
  #running = false;
  #unsubscribe: (() => void) | null = null;

  constructor(parts: MasterParts, options: Partial<OldHAOptions> = {}) {
    this.#parts = parts;
    this.#options = { ...DEFAULTS, ...options };
  }

  get connectionCount(): number {
    return this.#connections.size;
  }

  async start(bind: { hostname: string; port: number }): Promise<NetAddress> {
    const { net, log } = this.#parts;
    const listener = this.#listener = await net.listen(bind);
    this.#running = true;
    this.#unsubscribe = log.onGrow(() => this.#connections.forEach(({ wake }) => wake.notify()));
    this.#run(() => this.#accept(listener));
    this.#run(() => this.#judge());
    return listener.address;
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#unsubscribe?.();
    this.#listener?.close();
    for (const connection of [...this.#connections]) this.#close(connection);
    this.#requestAdded.notify();
    this.#ackCame.notify();
    await Promise.all(this.#loops);
  }

  beforePut(): null {
    return null;
  }

  handleHA(nextOffset: number, waitStoreMsgOK: boolean): ReplicationStatus | Promise<ReplicationStatus> {
    if (!waitStoreMsgOK) return "PUT_OK";
    const behind = nextOffset - this.push2SlaveMaxOffset;
    if (this.#connections.size === 0 || behind >= this.#options.haSlaveFallbehindMax) return "SLAVE_NOT_AVAILABLE";
    const { promise, resolve } = deferred<ReplicationStatus>();
    this.#requests.push({ nextOffset, complete: resolve });
    this.#requestAdded.notify();
    return promise;
  }

  slaveFallBehindMuch(): number {
    return this.#parts.log.maxOffset - this.push2SlaveMaxOffset;
  }

  /** It has no words for a slave that it can't serve. */
  explains(): boolean {
    return false;
  }

  // --- producers, one after another ---

  async #judge(): Promise<void> {
    while (this.#running) {
      await this.#requestAdded.wait(this.#parts.clock, null);
      const requests = this.#requests;
      this.#requests = [];
      for (const request of requests) {
        const held =
          await (this.#options.waiting === "wakeUps" ? this.#fiveWaits(request) : this.#untilDeadline(request));
        request.complete(held ? "PUT_OK" : "FLUSH_SLAVE_TIMEOUT");
      }
    }
  }

  async #fiveWaits({ nextOffset }: OldRequest): Promise<boolean> {
    for (let i = 0; i < 5 && this.push2SlaveMaxOffset < nextOffset && this.#running; i++) {
      await this.#ackCame.wait(this.#parts.clock, WAIT_MS);
    }
    return this.push2SlaveMaxOffset >= nextOffset;
  }

  async #untilDeadline({ nextOffset }: OldRequest): Promise<boolean> {
    const deadline = this.#now() + this.#options.syncFlushTimeout;
    while (this.push2SlaveMaxOffset < nextOffset && this.#now() < deadline && this.#running) {
      await this.#ackCame.wait(this.#parts.clock, WAIT_MS);
    }
    return this.push2SlaveMaxOffset >= nextOffset;
  }

  // --- slaves ---

  async #accept(listener: Listener): Promise<void> {
    for (let socket = await listener.accept(); socket !== null; socket = await listener.accept()) {
      if (!this.#running) return socket.close();
      const connection = new OldConnection(socket, this.#now());
      this.#connections.add(connection);
      this.#run(() => this.#read(connection));
      this.#run(() => this.#write(connection));
      this.#run(() => this.#housekeep(connection));
    }
  }

  async #read(connection: OldConnection): Promise<void> {
    for (;;) {
      const bytes = await connection.socket.read().catch(() => null);
      if (bytes === null) return this.#close(connection);
      connection.lastRead = this.#now();
      const report = connection.take(bytes);
      if (report === null) continue;
      connection.slaveAckOffset = report;
      if (connection.slaveRequestOffset < 0) connection.slaveRequestOffset = report;
      connection.wake.notify();
      if (report <= this.push2SlaveMaxOffset) continue;
      this.push2SlaveMaxOffset = report;
      this.#ackCame.notify();
    }
  }

  async #housekeep(connection: OldConnection): Promise<void> {
    const { clock } = this.#parts;
    const pause = new WakeUp();
    while (this.#connections.has(connection)) {
      await pause.wait(clock, WAIT_MS);
      if (this.#now() - connection.lastRead > this.#options.haHousekeepingInterval) this.#close(connection);
    }
  }

  async #write(connection: OldConnection): Promise<void> {
    const { log, clock } = this.#parts;
    const { haSendHeartbeatInterval, haTransferBatchSize, windowSize } = this.#options;
    const buffer = new Uint8Array(TRANSFER_HEADER_SIZE + haTransferBatchSize);
    let next = -1;
    let lastWrite = this.#now();
    const send = async (size: number) => {
      writeTransferHeader(buffer, 0, next, size);
      await connection.socket.write(buffer.subarray(0, TRANSFER_HEADER_SIZE + size));
      next += size;
      lastWrite = this.#now();
    };
    try {
      while (this.#connections.has(connection)) {
        if (connection.slaveRequestOffset < 0) {
          await connection.wake.wait(clock, null);
          continue;
        }
        if (next < 0) next = this.#startOf(connection.slaveRequestOffset);
        if (this.#now() - lastWrite > haSendHeartbeatInterval) await send(0);
        const underway = next - Math.max(connection.slaveAckOffset, 0);
        const isHeld = next >= log.minOffset && next < log.maxOffset && underway < windowSize;
        const size = isHeld ? await log.read(next, buffer.subarray(TRANSFER_HEADER_SIZE)) : 0;
        if (size > 0) await send(size);
        else await connection.wake.wait(clock, GROWTH_POLL_MS);
      }
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#close(connection);
    }
  }

  /** A slave that has nothing gets the last file only. */
  #startOf(request: number): number {
    const { maxOffset, mappedFileSize } = this.#parts.log;
    return request === 0 ? maxOffset - maxOffset % mappedFileSize : request;
  }

  #close(connection: OldConnection): void {
    this.#connections.delete(connection);
    connection.socket.close();
    connection.wake.notify();
  }

  /** Milliseconds, whole ones as `System.currentTimeMillis` gives them. */
  #now(): number {
    return Math.floor(this.#parts.clock.monotonic());
  }

  #run(loop: () => Promise<void>): void {
    this.#loops.push(startLoop(loop, this.#parts.onFatal));
  }
}
