// One try of a slave at following its master, from asking it to the end of the connection: connects, reads, compares,
// appends and reports. It owns the socket and its timers; every decision of the protocol is HAClient's, and what becomes
// of the verdict that ends it is HAClientDriver's.

import { type Deferred, deferred } from "../base/async.ts";
import { IoError, ProtocolError } from "../base/errors.ts";
import type { LogFields, Logger } from "../base/logger.ts";
import { BusyPoll } from "./busy_poll.ts";
import { BodyRun } from "../ha/body_run.ts";
import type { FlowMonitor } from "../ha/flow_monitor.ts";
import { IS_HA_PORT, REPORT_HEADER_SIZE, writeReport } from "../ha/frames.ts";
import type { HAClient, HAClientOptions, HAVerdict } from "../ha/ha_client.ts";
import type { ReplicaLog } from "../ha/replica_log.ts";
import type { MasterRange } from "../ha/start_offset.ts";
import { compareWithLog } from "../ha/tail_check.ts";
import { TransferDecoder } from "../ha/transfer_decoder.ts";
import type { Clock, Connection, Net, Random, Timer, TlsIdentity } from "../runtime/runtime.ts";

/** Apache's wait for a connection, ms (`DefaultHAClient.connectMaster`). */
const CONNECT_TIMEOUT_MS = 5000;

/** What the driver uses of the configuration. */
export interface HAClientDriverOptions extends HAClientOptions {
  /** Ours: on divergence set the tail, after a hole the log, aside and follow again. */
  readonly resync: boolean;
  /** Ours: how long the next frame is waited for awake, microseconds; 0: not at all. */
  readonly haBusyPollMicros: number;
}

/** What the driver needs from around it. */
export interface HAClientDriverParts {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly log: ReplicaLog;
  /**
   * The log range of the master whose HA address is given, from its remoting port; null when it can't be learned. Has
   * a time-out of its own.
   */
  readonly askMaster: (masterAddress: string) => Promise<MasterRange | null>;
  /**
   * Called right before and right after `--resync` cuts or empties the log: whoever reads it for others has to let go,
   * also one that came in between.
   */
  readonly onCut?: (reason: string) => void;
  /**
   * Whether a connection ends at this very node: who follows itself agrees with everything and gets nothing. Asked once
   * the first byte came. Unset: never.
   */
  readonly isOwnEnd?: (connection: Connection) => boolean;
  /** Ours: what this node shows its master under `haTlsEnable`. */
  readonly tls?: TlsIdentity | null;
  /** Gets an error that is neither the network's, the peer's nor the disk's: a bug of ours. The loop has ended. */
  readonly onFatal: (error: unknown) => void;
}

/** How often things happened since the driver was made. */
export interface HAClientCounters {
  connects: number;
  connectFailures: number;
  disconnects: number;
  frames: number;
  heartbeats: number;
  bytesRead: number;
  reports: number;
  protocolErrors: number;
  appendErrors: number;
  relearns: number;
  divergences: number;
  holes: number;
  resyncs: number;
}

/** The verdict of an attempt that was ended from outside. */
export const INTERRUPTED: HAVerdict = { type: "close", reason: "interrupted" };

const LEAD_BYTE = new Uint8Array(1);

/** What the attempts of one driver share. */
export interface HAClientShared {
  readonly parts: HAClientDriverParts;
  readonly options: HAClientDriverOptions;
  readonly client: HAClient;
  readonly counters: HAClientCounters;
  readonly flowMonitor: FlowMonitor;
  /** The state may have changed: called after every read and timer. */
  readonly onChange: () => void;
  /** An information line that is left out when the attempt before, which failed, said the same. */
  readonly inform: (message: string, fields?: LogFields) => void;
}

/** One try at following a master. */
export class HAClientSession {
  /** What the master's remoting port said last, null while unknown. */
  range: MasterRange | null = null;

  readonly #shared: HAClientShared;
  readonly #address: string;
  readonly #probe: number | null;
  readonly #decoder = new TransferDecoder();
  readonly #run = new BodyRun();
  readonly #busyPoll: BusyPoll;
  readonly #reportBytes = new Uint8Array(REPORT_HEADER_SIZE);
  /** Resolves when the session is over; what is waited for inside it is raced with this. */
  readonly #ended: Deferred<HAVerdict> = deferred<HAVerdict>();
  #over = false;
  #bug: { readonly error: unknown } | null = null;
  #connection: Connection | null = null;
  #timer: Timer | null = null;
  #askTimer: Timer | null = null;
  #flushing = false;
  #bytesReadBefore = 0;

  /** `address` is the master's HA address; `probe` goes to {@link HAClient.plan}. */
  constructor(shared: HAClientShared, address: string, probe: number | null) {
    this.#shared = shared;
    this.#address = address;
    this.#probe = probe;
    this.#busyPoll = new BusyPoll(shared.parts.clock, () => shared.options.haBusyPollMicros);
  }

  /** Ends it; the first verdict counts. From here on nothing is appended but what is being appended right now. */
  end(verdict: HAVerdict): void {
    if (this.#over) return;
    this.#over = true;
    this.#timer?.cancel();
    this.#askTimer?.cancel();
    this.#busyPoll.stop();
    this.#connection?.close();
    this.#ended.resolve(verdict);
  }

  /** Runs it to its end; the verdict says why it ended. Throws what is a bug of ours. Call once. */
  async follow(): Promise<HAVerdict> {
    let verdict: HAVerdict;
    try {
      verdict = await this.#open() ?? await this.#readLoop();
    } catch (error) {
      verdict = this.#verdictOf(error);
    }
    this.end(verdict);
    if (this.#bug !== null) throw this.#bug.error;
    return this.#ended.promise;
  }

  /** What an error means for the connection: the network's, the peer's and the disk's end it, a bug of ours the loop. */
  #verdictOf(error: unknown): HAVerdict {
    if (error instanceof ProtocolError) {
      this.#shared.counters.protocolErrors++;
      return { type: "close", reason: error.message };
    }
    if (error instanceof IoError) return { type: "close", reason: error.message };
    this.#bug = { error };
    return INTERRUPTED;
  }

  #fail(error: unknown): void {
    this.end(this.#verdictOf(error));
  }

  /** Waits for `promise`, but no longer than the attempt lasts. */
  async #during<T>(promise: Promise<T>): Promise<T> {
    const value = await Promise.race([promise, this.#ended.promise]);
    if (this.#over) throw new IoError("closed", "attempt is over");
    return value as T;
  }

  /** Asks, plans, connects and sends the request. */
  async #open(): Promise<HAVerdict | null> {
    const { log, net, clock } = this.#shared.parts;
    const { client, inform } = this.#shared;
    if (client.wantsMasterRange || this.#probe !== null) {
      this.range = await this.#during(this.#ask());
    }
    const verdict = client.plan(this.range, this.#probe);
    if (verdict !== null) return verdict;
    // The request counts as an ack at the master, so it must be on the disk where acks promise that.
    if (this.#shared.options.haAckAfterFlush) await this.#during(log.waitFlushed(log.maxOffset));

    const { hostname, port } = splitAddress(this.#address);
    const { tls = null } = this.#shared.parts;
    const secured = tls === null ? {} : { tls };
    const connecting = net.connect({ hostname, port, timeoutMs: CONNECT_TIMEOUT_MS, ...secured });
    // A connection that comes too late is still ours to close.
    connecting.then((connection) => {
      if (this.#over) connection.close();
      else this.#connection = connection;
    }, () => this.#shared.counters.connectFailures++);
    await this.#during(connecting);
    this.#shared.counters.connects++;
    this.#bytesReadBefore = this.#shared.counters.bytesRead;
    const from = client.request;
    inform(`Connected to master ${this.#address}, requesting from ${from}`, { maxOffset: log.maxOffset });
    if (client.startNote !== null) inform(`This log is empty, starting at ${from}: ${client.startNote}`);
    client.connected(clock.monotonic());
    this.#report();
    this.#shared.onChange();
    this.#armTimer();
    this.#askPeriodically();
    return null;
  }

  async #readLoop(): Promise<HAVerdict> {
    const { clock } = this.#shared.parts;
    const connection = this.#connection!;
    while (true) {
      const bytes = await connection.read();
      if (this.#over) return this.#ended.promise;
      if (bytes === null) return { type: "close", reason: this.#endReason() };
      if (!this.#isHeard && this.#shared.parts.isOwnEnd?.(connection) === true) {
        return { type: "close", reason: "this is this node's own HA port, wanted another node's" };
      }
      const now = clock.monotonic();
      this.#shared.client.received(now);
      this.#shared.flowMonitor.add(bytes.length, now);
      this.#shared.counters.bytesRead += bytes.length;
      this.#decoder.feed(bytes);
      const drained = this.#drain();
      const verdict = drained instanceof Promise ? await drained : drained;
      if (this.#over) return this.#ended.promise;
      if (verdict !== null) return verdict;
      this.#report();
      this.#shared.onChange();
      this.#busyPoll.arrived();
    }
  }

  /** Whether a byte came over this connection. */
  get #isHeard(): boolean {
    return this.#shared.counters.bytesRead !== this.#bytesReadBefore;
  }

  /** A master that refuses an address or a certificate may do no more than close; so do other ports than HA's. */
  #endReason(): string {
    const reason = "master closed the connection";
    if (this.#isHeard) return reason;
    const may = this.#shared.parts.tls != null ? "accept this node's certificate" : "allow this node's address";
    return `${reason} without a word: it may not ${may}, or ${IS_HA_PORT}`;
  }

  /** Uses up what was fed. Synchronous, but for a comparison whose own bytes have to come from the disk. */
  #drain(): HAVerdict | null | Promise<HAVerdict | null> {
    const decoder = this.#decoder;
    const client = this.#shared.client;
    for (let part = decoder.next(); part !== null; part = decoder.next()) {
      let verdict: HAVerdict | null = null;
      if (part === "header") {
        verdict = this.#header(decoder.physicOffset, decoder.bodySize);
      } else {
        const share = client.checkShare(decoder.chunk.length);
        if (share === 0) this.#run.add(decoder.chunkOffset, decoder.chunk);
        else {
          const found = compareWithLog(this.#shared.parts.log, decoder.chunkOffset, decoder.chunk.subarray(0, share));
          if (typeof found !== "number") {
            return found.then((at) => this.#compared(share, at) ?? this.#drain());
          }
          verdict = this.#compared(share, found);
        }
      }
      // What came before the reason to end is part of the log.
      if (verdict !== null) return this.#appendRun() ?? verdict;
    }
    return this.#appendRun();
  }

  #header(physicOffset: number, bodySize: number): HAVerdict | null {
    if (bodySize === 0) this.#shared.counters.heartbeats++;
    else this.#shared.counters.frames++;
    // Only a frame that plainly goes on is judged while the bytes before it are not in the log yet.
    const goesOn = bodySize > 0 && physicOffset === this.#run.end;
    return (goesOn ? null : this.#appendRun()) ?? this.#shared.client.header(physicOffset, bodySize);
  }

  #compared(share: number, differsAt: number): HAVerdict | null {
    if (this.#over) return INTERRUPTED;
    const { chunk, chunkOffset } = this.#decoder;
    const verdict = this.#shared.client.compared(share, differsAt);
    if (verdict === null && share < chunk.length) this.#run.add(chunkOffset + share, chunk.subarray(share));
    return verdict;
  }

  #appendRun(): HAVerdict | null {
    const { offset, bytes } = this.#run;
    if (bytes.length === 0) return null;
    this.#run.clear();
    return this.#append(offset, bytes);
  }

  #append(offset: number, bytes: Uint8Array): HAVerdict | null {
    const { log } = this.#shared.parts;
    try {
      if (this.#shared.client.takeLeadByte(offset)) {
        const verdict = this.#shared.client.appended(log.appendReplica(0, LEAD_BYTE));
        if (verdict !== null) return verdict;
      }
      return this.#shared.client.appended(log.appendReplica(offset, bytes));
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      // Nothing of it is acknowledged. The connection is given up, so the master sends it again once there is room.
      this.#shared.counters.appendErrors++;
      return {
        type: "close",
        reason: `own log can't be written at ${log.maxOffset} (${error.kind}): ${error.message}`,
      };
    }
  }

  // ---- reports and timers ----

  #report(): void {
    if (this.#over) return;
    const offset = this.#shared.client.takeReport(this.#shared.parts.clock.monotonic());
    if (offset >= 0) {
      this.#shared.counters.reports++;
      writeReport(this.#reportBytes, 0, offset);
      this.#connection!.write(this.#reportBytes).then(() => {
        if (this.#over) return;
        this.#shared.client.reportWritten();
        this.#report();
      }).catch((error) => this.#fail(error));
    }
    if (this.#shared.options.haAckAfterFlush) this.#waitFlushed();
  }

  #waitFlushed(): void {
    const { log } = this.#shared.parts;
    if (this.#flushing || log.flushedOffset >= log.maxOffset) return;
    this.#flushing = true;
    log.waitFlushed(log.maxOffset).then(() => {
      this.#flushing = false;
      this.#report();
    }).catch((error) => this.#fail(error));
  }

  /** One timer is armed; deadlines only move on, so one that rings early just sets the next. */
  #armTimer(): void {
    const { clock } = this.#shared.parts;
    const delay = Math.ceil(this.#shared.client.nextDeadline() - clock.monotonic());
    this.#timer = clock.setTimer(Math.max(delay, 1), () => {
      if (this.#over) return;
      const verdict = this.#shared.client.tick(clock.monotonic());
      if (verdict !== null) return this.end(verdict);
      this.#report();
      this.#shared.onChange();
      this.#armTimer();
    });
  }

  /** The master's range, each heartbeat interval: for the lag, and for what heartbeats alone can't tell. */
  #askPeriodically(): void {
    this.#ask().then((range) => {
      if (this.#over) return;
      this.range = range;
      const verdict = range === null ? null : this.#shared.client.masterRange(range);
      if (verdict !== null) return this.end(verdict);
      const delay = this.#shared.options.haSendHeartbeatInterval;
      this.#askTimer = this.#shared.parts.clock.setTimer(delay, () => this.#askPeriodically());
    }).catch((error) => this.#fail(error));
  }

  #ask(): Promise<MasterRange | null> {
    return this.#shared.parts.askMaster(this.#address).catch(() => null);
  }
}

/** Host and port of `host:port`, split at the last colon; brackets of an IPv6 host are dropped. */
function splitAddress(address: string): { hostname: string; port: number } {
  const at = address.lastIndexOf(":");
  const port = Number(address.slice(at + 1));
  if (at <= 0 || !Number.isInteger(port) || port <= 0 || port > 65535) {
    throw new IoError("other", `Master address is "${address}", wanted HOST:PORT`);
  }
  return { hostname: address.slice(0, at).replace(/^\[(.*)\]$/, "$1"), port };
}
