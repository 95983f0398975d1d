// One slave as the master sees it: what it asked for, what it was sent, what it holds. Pure: the driver feeds it bytes,
// written frames and the time, asks what to send next, reads the range from the log and writes it. It owns no socket,
// timer or buffer, and says whatever others must know to its observer, synchronously.

import { assert, errorMessage, ProtocolError } from "../base/errors.ts";
import { FlowMonitor, type FlowMonitorOptions } from "./flow_monitor.ts";
import { BODY_SIZE_MAX, TLS_HANDSHAKE_BYTE, TRANSFER_HEADER_SIZE } from "./frames.ts";
import { HAConnectionState } from "./ha_connection_state.ts";
import type { HARefusalReason } from "./ha_runtime_info.ts";
import type { ReplicaLog } from "./replica_log.ts";
import { ReportDecoder } from "./report_decoder.ts";

/** The largest body while `haTransferBatchSize` is unset, bytes. */
export const ADAPTIVE_BATCH_SIZE_MAX = 1024 * 1024;

/**
 * Added to the heartbeat interval, ms: Apache's master too is a little late. A slave of 4.5.1 or older reports only after
 * more than that interval without reading, and looks once a second: this helps it now and then, no more than its own
 * master does.
 */
const HEARTBEAT_SLACK_MS = 10;

/**
 * Who repeats its request so long after it was sent something, ms, and does so again, acknowledges nothing. Once may be a
 * slave's heartbeat that came while its first frame was lost on the way, or while its disk or this process stood still.
 */
const READER_AFTER_MS = 1000;
const READER_REPEATS = 2;

/** The keys a connection reads, live: a change counts from the next frame on. */
export interface HAConnectionOptions extends FlowMonitorOptions {
  /** Heartbeat after so long without a write, ms. */
  readonly haSendHeartbeatInterval: number;
  /** Close after so long without a byte from the slave, ms. */
  readonly haHousekeepingInterval: number;
  /** Largest body, bytes; null: what is there, up to {@link ADAPTIVE_BATCH_SIZE_MAX}. */
  readonly haTransferBatchSize: number | null;
  /** Ours: send only what is on this master's disk. */
  readonly haTransferAfterFlush: boolean;
  /** Answer a request of 0 from the start of the last file (Apache's rule) instead of the log's start. */
  readonly syncFromLastFile: boolean;
}

/** Who hears of a connection's turns. Called synchronously, after the change. */
export interface HAConnectionObserver {
  onStateChanged(connection: HAConnection): void;
  /** `slaveAckOffset` grew. */
  onAck(connection: HAConnection): void;
  /** {@link HAConnection.isReader} became true. */
  onReader(connection: HAConnection): void;
  /** Something was refused; `detail` is one line for the operator. */
  onRefused(connection: HAConnection, reason: HARefusalReason, detail: string): void;
}

/** A frame to send. `size` 0 is a heartbeat. */
export interface Transfer {
  offset: number;
  size: number;
}

/**
 * Mirrors Apache's `DefaultHAConnection` with its read and write services. Unlike it: acks are validated against what
 * this very connection was sent, a slave ahead of the log is refused, one behind its start is reported.
 *
 * States: HANDSHAKE until the first report, TRANSFER while it replicates, SUSPEND when it can't be served (only
 * heartbeats go out), SHUTDOWN at the end.
 */
export class HAConnection {
  /** `host:port`. */
  readonly remoteAddress: string;
  /** Whose acks count together: the service's choice, see `haCountSlavesBy`. */
  readonly slaveKey: string;
  readonly flowMonitor: FlowMonitor;
  /** Monotonic ms. */
  readonly connectedAt: number;
  readonly #log: ReplicaLog;
  readonly #options: HAConnectionOptions;
  readonly #observer: HAConnectionObserver;
  readonly #decoder = new ReportDecoder();
  readonly #transfer: Transfer = { offset: 0, size: 0 };
  #state: HAConnectionState = HAConnectionState.HANDSHAKE;
  #closeReason: string | null = null;
  #suspendReason: string | null = null;
  #slaveRequestOffset = -1;
  #slaveAckOffset = -1;
  /** The newest report, whether it counts or not: reports only grow. */
  #reportedOffset = -1;
  /** Next byte to send; also the end of what was handed to the socket. */
  #transferFromWhere = -1;
  /** First byte this slave was served. */
  #servedFrom = -1;
  /** When it was first sent something of the log; -1 before that. */
  #firstSentAt = -1;
  /** How often it repeated its request long after that, up to {@link READER_REPEATS}. */
  #lateRepeats = 0;
  /** A frame is being read from the log or written to the socket. */
  #busy = false;
  #heard = false;
  /** A slave that holds nothing asked a log that holds nothing for it, and is yet to be shown where it starts. */
  #owesStart = false;
  #lastReadTimestamp: number;
  #lastWriteTimestamp: number;
  /** For a slave that is ahead: whether it was told, and until when its own close is waited for. */
  #farewell: "none" | "owed" | "sent" = "none";

  constructor(parts: {
    remoteAddress: string;
    slaveKey: string;
    log: ReplicaLog;
    options: HAConnectionOptions;
    observer: HAConnectionObserver;
    /** Monotonic ms, here and below. */
    now: number;
  }) {
    this.remoteAddress = parts.remoteAddress;
    this.slaveKey = parts.slaveKey;
    this.connectedAt = parts.now;
    this.#log = parts.log;
    this.#options = parts.options;
    this.#observer = parts.observer;
    this.#lastReadTimestamp = parts.now;
    this.#lastWriteTimestamp = parts.now;
    this.flowMonitor = new FlowMonitor(parts.options, parts.now);
  }

  get state(): HAConnectionState {
    return this.#state;
  }

  /** Why it is in SHUTDOWN: a {@link HARefusalReason} or the words given to {@link close}. */
  get closeReason(): string | null {
    return this.#closeReason;
  }

  /** Why it is in SUSPEND, one line. */
  get suspendReason(): string | null {
    return this.#suspendReason;
  }

  /** The first report; -1 before it. */
  get slaveRequestOffset(): number {
    return this.#slaveRequestOffset;
  }

  /** The validated end of what the slave holds; -1 before that. Never falls. */
  get slaveAckOffset(): number {
    return this.#slaveAckOffset;
  }

  /**
   * Up to where the slave is known to hold this very log, -1 while that is not known. Its request does not tell: an old
   * master that returns asks from an end of its own making, and so does whoever has not compared yet.
   */
  get confirmedOffset(): number {
    return this.#slaveAckOffset > this.#slaveRequestOffset ? this.#slaveAckOffset : -1;
  }

  /**
   * Whether it takes what it is sent and acknowledges none of it, as `verify --against` does: it is nobody's copy, so it
   * counts as no slave. One that is merely slow counts again with its first acknowledgement.
   */
  get isReader(): boolean {
    return this.#lateRepeats === READER_REPEATS && this.#slaveAckOffset <= this.#slaveRequestOffset;
  }

  /** The next byte to send; -1 before the first report. */
  get transferFromWhere(): number {
    return this.#transferFromWhere;
  }

  /** Lowest byte this slave may still ask for, null when it is not being served. */
  get retainOffset(): number | null {
    if (this.#state !== HAConnectionState.TRANSFER) return null;
    // One less than the ack: a slave that reconnects asks for its last record, which may end the file before.
    return Math.max(this.#servedFrom, this.#slaveAckOffset - 1);
  }

  /** Bytes that could go right behind the frame that is leaving, at most a batch. */
  get bytesAhead(): number {
    return this.#bytesToSend();
  }

  /** Whether it waits for nothing but the disk: bytes are there, but `haTransferAfterFlush` holds them back. */
  get awaitsFlush(): boolean {
    if (!this.#options.haTransferAfterFlush || this.#busy || this.#state !== HAConnectionState.TRANSFER) return false;
    const { maxOffset, flushedOffset } = this.#log;
    return flushedOffset < maxOffset && this.#transferFromWhere >= flushedOffset;
  }

  /** Bytes came from the slave. */
  onBytes(bytes: Uint8Array, now: number): void {
    if (this.#state === HAConnectionState.SHUTDOWN) return;
    if (this.#farewell !== "none") return; // it only has to read and go; its silence or talk changes nothing
    this.#lastReadTimestamp = now;
    if (!this.#heard && bytes[0] === TLS_HANDSHAKE_BYTE) {
      return this.#refuse("badReport", "Slave speaks TLS, wanted a report: haTlsEnable is on there and off here");
    }
    this.#heard = true;
    try {
      const report = this.#decoder.push(bytes);
      if (report !== null) this.#onReport(report, now);
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      this.#refuse("badReport", errorMessage(error));
    }
  }

  /** Time has come to {@link nextDeadline}. */
  onTick(now: number): void {
    if (this.#state === HAConnectionState.SHUTDOWN || now < this.#housekeepingDeadline()) return;
    if (this.#farewell !== "none") return this.close("slaveAhead");
    const silent = `No byte from the slave for ${Math.floor(now - this.#lastReadTimestamp)} ms, wanted a report each ` +
      `${this.#options.haHousekeepingInterval} ms`;
    this.#refuse(this.#slaveRequestOffset < 0 ? "neverRequested" : "housekeeping", silent);
  }

  /** When {@link onTick} or {@link nextTransfer} may have something to do by time alone; null when closed. */
  nextDeadline(now: number): number | null {
    if (this.#state === HAConnectionState.SHUTDOWN) return null;
    let deadline = this.#housekeepingDeadline();
    if (this.#busy || this.#slaveRequestOffset < 0 || this.#farewell !== "none") return deadline;
    deadline = Math.min(deadline, this.#heartbeatDeadline());
    const held = this.flowMonitor.budget(now) <= TRANSFER_HEADER_SIZE && this.#bytesToSend() > 0;
    return held ? Math.min(deadline, this.flowMonitor.nextWindow(now)) : deadline;
  }

  /**
   * The frame to send now, or null: wait for bytes, growth or the deadline. The object is reused by the next call. It
   * is a question and takes nothing, but the answer may be that the log no longer fits this slave: SUSPEND or SHUTDOWN.
   */
  nextTransfer(now: number): Transfer | null {
    if (this.#state === HAConnectionState.SHUTDOWN || this.#busy || this.#slaveRequestOffset < 0) return null;
    if (this.#farewell !== "none") {
      return this.#farewell === "owed" ? this.#asked(this.#log.maxOffset, 0) : null;
    }
    if (this.#state === HAConnectionState.TRANSFER) this.#checkStillHeld();
    if (this.#closeReason !== null) return null;
    const size = Math.min(this.#bytesToSend(), this.flowMonitor.budget(now) - TRANSFER_HEADER_SIZE);
    if (size > 0) return this.#asked(this.#transferFromWhere, size);
    return this.#owesStart || now >= this.#heartbeatDeadline() ? this.#asked(this.#transferFromWhere, 0) : null;
  }

  /**
   * {@link nextTransfer}, taken: the driver now reads the body from the log, then calls {@link onTransferStarted},
   * writes, and calls {@link onTransferWritten}; or {@link onNotHeld}, or {@link close}. One at a time.
   */
  takeTransfer(now: number): Transfer | null {
    const transfer = this.nextTransfer(now);
    if (transfer !== null) this.#busy = true;
    return transfer;
  }

  /**
   * The frame that was taken is about to be handed to the socket; from here on the slave may acknowledge it. `size` is
   * what the log gave of its body, at most what was asked; 0 only for a heartbeat.
   */
  onTransferStarted(size: number, now: number): void {
    assert(this.#busy, "A transfer started that was not taken");
    if (this.#farewell === "owed") this.#farewell = "sent";
    this.#owesStart = false;
    if (size > 0 && this.#firstSentAt < 0) this.#firstSentAt = now;
    this.#transferFromWhere += size;
    this.#lastWriteTimestamp = now;
    this.flowMonitor.add(TRANSFER_HEADER_SIZE + size, now);
  }

  /** The frame has left. */
  onTransferWritten(now: number): void {
    this.#busy = false;
    this.#lastWriteTimestamp = now;
    // The slave that is ahead gets one heartbeat interval to read its frame and close: closing first would reset the
    // connection under bytes it sent meanwhile, and the frame would be lost with it.
    if (this.#farewell === "sent") this.#lastReadTimestamp = now;
  }

  /** The log no longer holds the byte that was taken (its file expired between the question and the read). */
  onNotHeld(): void {
    this.#busy = false;
    if (this.#state === HAConnectionState.TRANSFER) this.#suspendBelowMin();
  }

  /** The connection is over, or shall be. Idempotent; the first reason stays. */
  close(reason: string): void {
    if (this.#state === HAConnectionState.SHUTDOWN) return;
    this.#closeReason = reason;
    this.#setState(HAConnectionState.SHUTDOWN);
  }

  #onReport(report: number, now: number): void {
    if (this.#slaveRequestOffset < 0) return this.#onRequest(report);
    if (report < this.#reportedOffset) {
      return this.#refuse("ackWentBack", `Ack is ${report}, wanted at least its last report ${this.#reportedOffset}`);
    }
    if (report > this.#transferFromWhere) {
      return this.#refuse("ackBeyondSent", `Ack is ${report}, wanted at most the end sent ${this.#transferFromWhere}`);
    }
    this.#reportedOffset = report;
    if (this.#state !== HAConnectionState.TRANSFER) return;
    this.#acked(report);
    const isLate = this.#firstSentAt >= 0 && now - this.#firstSentAt >= READER_AFTER_MS;
    if (report > this.#slaveRequestOffset || !isLate || this.#lateRepeats === READER_REPEATS) return;
    if (++this.#lateRepeats === READER_REPEATS) this.#observer.onReader(this);
  }

  #onRequest(request: number): void {
    const log = this.#log;
    this.#slaveRequestOffset = request;
    this.#reportedOffset = request;
    this.#transferFromWhere = request === 0 ? this.#startOffset() : request;
    this.#servedFrom = this.#transferFromWhere;
    if (request > log.maxOffset) {
      this.#farewell = "owed";
      this.#suspend(
        "slaveAhead",
        `Slave asks from ${request}, this log ends at ${log.maxOffset}: promote the slave, or let it --resync`,
      );
      return;
    }
    if (this.#transferFromWhere < log.minOffset) return this.#suspendBelowMin();
    this.#setState(HAConnectionState.TRANSFER);
    // A slave with nothing to compare follows from the first frame on. Apache's, too, takes a heartbeat at any time.
    this.#owesStart = request === 0 && this.#bytesToSend() <= 0;
    this.#acked(request);
  }

  /** Where a slave that holds nothing starts. */
  #startOffset(): number {
    const { minOffset, maxOffset, mappedFileSize } = this.#log;
    if (!this.#options.syncFromLastFile) return minOffset;
    return Math.max(minOffset, maxOffset - maxOffset % mappedFileSize);
  }

  #acked(offset: number): void {
    if (offset <= this.#slaveAckOffset) return;
    this.#slaveAckOffset = offset;
    this.#observer.onAck(this);
  }

  /** The log's start may have passed the next byte (expiry), its end may have fallen below it (a cut). */
  #checkStillHeld(): void {
    const { minOffset, maxOffset } = this.#log;
    const from = this.#transferFromWhere;
    if (from < minOffset) this.#suspendBelowMin();
    else if (from > maxOffset) this.#refuse("logCut", `Log was cut to ${maxOffset}, below ${from}, the end sent`);
  }

  /** Body bytes that may go into one frame now: readable, in one file, at most a batch. */
  #bytesToSend(): number {
    if (this.#state !== HAConnectionState.TRANSFER) return 0;
    const { maxOffset, flushedOffset, mappedFileSize } = this.#log;
    const from = this.#transferFromWhere;
    const readable = (this.#options.haTransferAfterFlush ? Math.min(flushedOffset, maxOffset) : maxOffset) - from;
    const batchSize = this.#options.haTransferBatchSize ?? ADAPTIVE_BATCH_SIZE_MAX;
    return Math.min(readable, mappedFileSize - from % mappedFileSize, Math.max(batchSize, 1), BODY_SIZE_MAX);
  }

  #housekeepingDeadline(): number {
    const { haHousekeepingInterval, haSendHeartbeatInterval } = this.#options;
    // A slave that was refused has one heartbeat interval to read its last frame and go.
    const interval = this.#farewell === "none" ? haHousekeepingInterval : haSendHeartbeatInterval;
    return this.#lastReadTimestamp + interval;
  }

  #heartbeatDeadline(): number {
    return this.#lastWriteTimestamp + this.#options.haSendHeartbeatInterval + HEARTBEAT_SLACK_MS;
  }

  #asked(offset: number, size: number): Transfer {
    this.#transfer.offset = offset;
    this.#transfer.size = size;
    return this.#transfer;
  }

  /** Apache's way, so that an Apache slave does not spin: heartbeats at the offset it wants, never data. */
  #suspendBelowMin(): void {
    this.#suspend(
      "belowMin",
      `Slave needs ${this.#transferFromWhere}, this log starts at ${this.#log.minOffset}: the slave can't go on ` +
        "without a hole, let it --resync or copy the log anew",
    );
  }

  #suspend(reason: HARefusalReason, detail: string): void {
    this.#suspendReason = detail;
    this.#setState(HAConnectionState.SUSPEND);
    this.#observer.onRefused(this, reason, detail);
  }

  #refuse(reason: HARefusalReason, detail: string): void {
    this.#observer.onRefused(this, reason, detail);
    this.close(reason);
  }

  #setState(state: HAConnectionState): void {
    if (this.#state === state) return;
    this.#state = state;
    this.#observer.onStateChanged(this);
  }
}
