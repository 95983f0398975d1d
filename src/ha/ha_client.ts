// The slave's state machine: what to request, what to expect next, what may be acknowledged, when to give up. Pure and
// synchronous: HAClientDriver feeds it events with the monotonic time and asks it plainly; it reads positions of the
// log but moves no byte. It mirrors Apache's DefaultHAClient, and differs in that it trusts nothing it has not checked.
//
//   READY --connected--> HANDSHAKE --tail compared / first frame in place--> TRANSFER
//     ^---- close, relearn ----'-------------------------------------------------'
//                               `-- diverged, hole --> SUSPEND (until an operator decides)       stop --> SHUTDOWN

import { assert, assertNever } from "../base/errors.ts";
import { HAConnectionState } from "./ha_connection_state.ts";
import type { ReplicaAppendResult, ReplicaLog } from "./replica_log.ts";
import { chooseStartOffset, type MasterRange, type StartRequest } from "./start_offset.ts";
import { TailCheck } from "./tail_check.ts";

/** Apache's keys, and two of ours, that the slave's side uses. Times in ms. */
export interface HAClientOptions {
  readonly haSendHeartbeatInterval: number;
  readonly haHousekeepingInterval: number;
  /** Ours: acknowledge only what is on the disk. */
  readonly haAckAfterFlush: boolean;
  /** Ours: where an empty slave begins, a multiple of the file size; null: learn it from the master. */
  readonly haStartOffset: number | null;
}

/** How far a slave is to be believed. */
export type HAClientState =
  /** Not started, or without a master's address. */
  | "idle"
  /** No connection; trying. */
  | "connecting"
  /** Connected; the tail is being compared, or no frame has come yet. */
  | "verifying"
  /** Connected for two heartbeats and still not compared, or begun where nothing could be: not in sync. */
  | "unverified"
  /** Compared, equal, and taking what comes. */
  | "following"
  /** Stopped: the logs differ, or the master sent what can't be part of this log. */
  | "diverged"
  /** Stopped: the master no longer holds the next byte. */
  | "hole";

/** Why a connection has to end; `null` where an event returns one means: go on. */
export type HAVerdict =
  /** Reconnect after the wait. */
  | { readonly type: "close"; readonly reason: string }
  /** The start must be learned again; reconnect soon. */
  | { readonly type: "relearn"; readonly reason: string }
  /**
   * The two logs part. Of `parted`, `[from, offset)` is equal, `from` is a record's start of ours, and at `offset` they
   * differ or the master's log ends; `rejected` bytes are no part of any log, so cutting ours can't help.
   */
  | {
    readonly type: "diverged";
    readonly cause: "parted" | "rejected";
    readonly reason: string;
    readonly from: number;
    readonly offset: number;
  }
  /** `offset` is our next byte, below the master's min. */
  | { readonly type: "hole"; readonly reason: string; readonly offset: number };

/** Slack on "within two heartbeats", ms: the master's timer and the way here. */
const UNVERIFIED_SLACK_MS = 1000;
/** Apache's fixed wait before a reconnect, ms; here the longest of a growing one. */
export const RECONNECT_WAIT_MAX_MS = 5000;
const RECONNECT_WAIT_MIN_MS = 500;

type Positions = Pick<
  ReplicaLog,
  "minOffset" | "maxOffset" | "flushedOffset" | "mappedFileSize" | "lastRecordOffset" | "replicaWriteOffset"
>;

/** The slave's side of one replication, over any number of connections, one at a time. */
export class HAClient {
  readonly #log: Positions;
  readonly #options: HAClientOptions;

  #connectionState: HAConnectionState = HAConnectionState.SHUTDOWN;
  #state: HAClientState = "idle";
  #reason = "not started";
  #revision = 0;
  #failures = 0;
  #wantsRange = false;

  // The plan of the next, or the current, connection.
  #start: StartRequest | null = null;
  #check: TailCheck | null = null;
  #checkFrom = -1;
  #request = 0;
  #leadByteDue = false;

  // The current connection.
  #next = -1;
  #silentHeartbeats = 0;
  #reported = -1;
  #connectedAt = 0;
  #connectedMaxOffset = 0;
  #lastRead = 0;
  #lastWrite = 0;
  #writing = false;

  /** Throws `ConfigError` when `haStartOffset` is not a multiple of the log's file size. */
  constructor(log: Positions, options: HAClientOptions) {
    this.#log = log;
    this.#options = options;
    // A wrong haStartOffset is said at once, not when it is first needed.
    chooseStartOffset(null, log.mappedFileSize, options.haStartOffset);
  }

  /** Mirrors Apache's `HAClient.getCurrentState`. */
  get connectionState(): HAConnectionState {
    return this.#connectionState;
  }

  get state(): HAClientState {
    return this.#state;
  }

  /** Why the state is what it is; empty while following. */
  get reason(): string {
    return this.#reason;
  }

  /** Grows at every change of {@link state}, {@link connectionState} or {@link reason}. */
  get revision(): number {
    return this.#revision;
  }

  /** Whether our log is known to be a piece of this master's. */
  get verified(): boolean {
    return this.#state === "following";
  }

  /** Whether the driver should ask the master for its range before {@link plan}. */
  get wantsMasterRange(): boolean {
    return this.#wantsRange || this.#log.maxOffset === 0;
  }

  /** First report of the planned connection. */
  get request(): number {
    return this.#request;
  }

  /** One line on how an empty log is begun, of the last {@link plan}; null for a log with data. */
  get startNote(): string | null {
    return this.#start?.note ?? null;
  }

  /** Failed attempts since a connection was last of use. */
  get failures(): number {
    return this.#failures;
  }

  /** Monotonic ms of the last read and write on the current or last connection; 0 before the first. */
  get lastReadAt(): number {
    return this.#lastRead;
  }
  get lastWriteAt(): number {
    return this.#lastWrite;
  }

  /** The driver runs from now on; `waiting`: it has no address to connect to. */
  started(waiting: boolean): void {
    this.#failures = 0;
    if (waiting) this.#become(HAConnectionState.READY, "idle", "no master address");
    else this.#become(HAConnectionState.READY, "connecting", "");
  }

  /** The driver has stopped. */
  stopped(): void {
    this.#become(HAConnectionState.SHUTDOWN, "idle", "stopped");
  }

  /** Replication waits for an operator's decision. */
  suspended(verdict: HAVerdict & { type: "diverged" | "hole" }, reason: string = verdict.reason): void {
    this.#become(HAConnectionState.SUSPEND, verdict.type, reason);
  }

  /**
   * Decides the request of the next connection from the log as it is now. `range` is what the master's remoting port
   * said, null when unknown or not asked; `probe` is a record's start to compare from instead of the last record's
   * (`--resync` looking for the common end). A verdict means: don't connect.
   */
  plan(range: MasterRange | null, probe: number | null): HAVerdict | null {
    const log = this.#log;
    this.#start = null;
    this.#check = null;
    this.#checkFrom = -1;
    this.#leadByteDue = false;
    if (log.maxOffset === 0) {
      this.#start = chooseStartOffset(range, log.mappedFileSize, this.#options.haStartOffset);
      this.#request = this.#start.request;
      this.#leadByteDue = this.#start.leadByte;
      return null;
    }
    // A probe below our start is one whose file has expired here meanwhile.
    const from = probe !== null && probe >= log.minOffset ? probe : log.lastRecordOffset;
    if (range !== null) {
      if (range.minOffset > log.maxOffset) return this.#hole(range);
      if (probe === null && range.maxOffset <= from) return this.#shorter(Math.max(range.maxOffset, 0), from);
    }
    if (from < 0 || (range !== null && from < range.minOffset)) {
      this.#request = log.maxOffset;
      return null;
    }
    // 0 on the wire means "begin where you like"; from byte 1 the same record is compared, and its first byte is 0x00.
    this.#request = Math.max(from, 1);
    this.#checkFrom = from;
    this.#check = new TailCheck(this.#request, log.maxOffset);
    return null;
  }

  /** A connection is open; its first report is due ({@link takeReport}). */
  connected(now: number): void {
    this.#next = this.#start === null ? this.#request : this.#start.expected ?? -1;
    this.#reported = -1;
    this.#silentHeartbeats = 0;
    this.#writing = false;
    this.#connectedAt = now;
    this.#connectedMaxOffset = this.#log.maxOffset;
    this.#lastWrite = now;
    if (this.#start === null && this.#check === null) {
      const reason =
        "master no longer holds our last record, or we hold none whole: nothing to compare; the next record's " +
        "place will be checked, not what is before it";
      this.#become(HAConnectionState.HANDSHAKE, "unverified", reason);
    } else this.#become(HAConnectionState.HANDSHAKE, "verifying", "");
  }

  /** The attempt is over, whatever ended it. */
  closed(reason: string): void {
    if (this.#connectionState === HAConnectionState.HANDSHAKE && this.#start === null) this.#wantsRange = true;
    this.#failures++;
    this.#become(HAConnectionState.READY, "connecting", reason);
  }

  /**
   * How long to wait before the next attempt, ms: grows from half a second to Apache's 5 s, starting over after every
   * connection that brought something new or lasted for a heartbeat. `jitter` is in [0, 1000).
   */
  reconnectDelay(jitter: number): number {
    const delay = Math.min(RECONNECT_WAIT_MAX_MS, RECONNECT_WAIT_MIN_MS * 2 ** Math.min(this.#failures - 1, 10));
    return delay - Math.floor((delay * jitter) / 10_000);
  }

  /** Bytes came. */
  received(now: number): void {
    this.#lastRead = now;
  }

  /** A whole transfer header came. The verdict is given before any byte of its body is used. */
  header(physicOffset: number, bodySize: number): HAVerdict | null {
    if (this.#next >= 0 && physicOffset !== this.#next) return this.#misplaced(physicOffset, bodySize);
    const fileSize = this.#log.mappedFileSize;
    if ((physicOffset % fileSize) + bodySize > fileSize) {
      const reason =
        `frame of ${bodySize} bytes at ${physicOffset} crosses a boundary of our files of ${fileSize} bytes; ` +
        "mappedFileSizeCommitLog must be the master's";
      return this.#rejected(reason, physicOffset);
    }
    this.#next = physicOffset + bodySize;
    if (bodySize === 0) return this.#heartbeat();
    this.#silentHeartbeats = 0;
    if (this.#start !== null) this.#follow();
    return null;
  }

  /** Of a body chunk of `length` bytes, how many at its front are to be compared with our own log first. */
  checkShare(length: number): number {
    return this.#check === null ? 0 : this.#check.share(length);
  }

  /** The comparison of the next `length` bytes is done; `differsAt` is the index of the first difference, or -1. */
  compared(length: number, differsAt: number): HAVerdict | null {
    const check = this.#check;
    assert(check !== null, "A comparison was reported that nobody asked for");
    check.compared(length, differsAt);
    if (check.difference >= 0) {
      return {
        type: "diverged",
        cause: "parted",
        reason: `our byte at ${check.difference} differs from the master's`,
        from: this.#checkFrom,
        offset: check.difference,
      };
    }
    if (check.passed) {
      this.#check = null;
      this.#follow();
    }
    return null;
  }

  /** Whether the log must be given one 0x00 at offset 0 before the chunk at `offset`; true once. */
  takeLeadByte(offset: number): boolean {
    if (!this.#leadByteDue || offset !== 1) return false;
    this.#leadByteDue = false;
    return true;
  }

  /** The log's answer to a chunk. */
  appended(result: ReplicaAppendResult): HAVerdict | null {
    switch (result.type) {
      case "appended":
        if (this.#state === "unverified" && this.#log.maxOffset > this.#request) this.#follow();
        if (this.#log.maxOffset > this.#connectedMaxOffset) this.#proven();
        return null;
      case "rejected": {
        const reason = `master's record at ${result.offset} is refused (${result.reason}): ${result.detail}`;
        if (this.#state !== "unverified") return this.#rejected(reason, result.offset);
        // Nothing was compared, so the likelier cause is that the logs had parted before.
        return { type: "diverged", cause: "parted", reason, from: -1, offset: this.#request };
      }
      default:
        return assertNever(result);
    }
  }

  /**
   * The offset to report now, or -1: something new to acknowledge, or a heartbeat's time. While the tail is not compared
   * this repeats the request, which the master takes as the ack it already has. One report is out at a time: until
   * {@link reportWritten} the answer is -1, and then the newest offset counts.
   */
  takeReport(now: number): number {
    if (this.#writing) return -1;
    const offset = this.#ackOffset();
    const due = now - this.#lastWrite >= this.#options.haSendHeartbeatInterval;
    if (offset <= this.#reported && !due) return -1;
    this.#reported = Math.max(offset, this.#reported);
    this.#lastWrite = now;
    this.#writing = true;
    return this.#reported;
  }

  /** The report taken last was written. */
  reportWritten(): void {
    this.#writing = false;
  }

  /** When {@link tick} is due, monotonic ms. */
  nextDeadline(): number {
    const { haSendHeartbeatInterval, haHousekeepingInterval } = this.#options;
    const report = this.#lastWrite + (this.#writing ? haHousekeepingInterval : haSendHeartbeatInterval);
    const housekeeping = this.#silentSince + haHousekeepingInterval;
    const deadline = Math.min(report, housekeeping);
    return this.#state === "verifying" ? Math.min(deadline, this.#unverifiedAt()) : deadline;
  }

  /** Time has passed. Afterwards ask {@link takeReport}. */
  tick(now: number): HAVerdict | null {
    const silentMs = now - this.#silentSince;
    if (silentMs >= this.#options.haHousekeepingInterval) {
      return { type: "close", reason: `nothing read from the master for ${Math.floor(silentMs)} ms` };
    }
    if (this.#writing && now - this.#lastWrite >= this.#options.haHousekeepingInterval) {
      return { type: "close", reason: `master took no report for ${Math.floor(now - this.#lastWrite)} ms` };
    }
    if (this.#state === "verifying" && now >= this.#unverifiedAt()) {
      const reason = this.#start === null
        ? `master sent nothing from our last record at ${this.#request} within two heartbeats: its log may end before ` +
          "it or begin after it"
        : `master sent nothing at ${this.#request} within two heartbeats`;
      this.#become(HAConnectionState.HANDSHAKE, "unverified", reason);
    }
    return null;
  }

  /**
   * What the master's remoting port says now. Decides what heartbeats alone can't tell: a master whose log ends before
   * ours, and one that no longer holds what we need.
   */
  masterRange(range: MasterRange): HAVerdict | null {
    const log = this.#log;
    if (this.#start !== null && log.maxOffset === 0) {
      const moved = this.#request > 0 && range.minOffset > this.#request && this.#silentHeartbeats > 0;
      return moved ? { type: "relearn", reason: `master's min offset has moved to ${range.minOffset}` } : null;
    }
    if (this.#check === null) {
      // Following, or begun at our max: idle heartbeats are normal, unless what we wait for is gone.
      const gone = this.#silentHeartbeats >= 2 && range.minOffset > this.#next;
      if (gone) return this.#hole(range);
      const short = this.#state === "unverified" && range.maxOffset < this.#request;
      return short ? this.#shorter(Math.max(range.maxOffset, 0), -1) : null;
    }
    if (this.#silentHeartbeats === 0) return null;
    const { position } = this.#check;
    if (position > this.#request) return range.maxOffset <= position ? this.#shorter(position, this.#checkFrom) : null;
    if (range.minOffset > log.maxOffset) return this.#hole(range);
    if (range.minOffset > this.#request) {
      return { type: "relearn", reason: `master's min offset ${range.minOffset} is beyond our last record` };
    }
    return range.maxOffset <= this.#request ? this.#shorter(Math.max(range.maxOffset, 0), this.#checkFrom) : null;
  }

  #heartbeat(): HAVerdict | null {
    this.#silentHeartbeats++;
    if (this.#start !== null) {
      this.#follow();
      this.#proven();
      return null;
    }
    const check = this.#check;
    if (check === null) {
      this.#proven();
      return null;
    }
    if (this.#silentHeartbeats < 2) return null;
    if (check.position > this.#request) return this.#shorter(check.position, this.#checkFrom);
    this.#wantsRange = true;
    return null;
  }

  #misplaced(physicOffset: number, bodySize: number): HAVerdict {
    const what = bodySize === 0 ? "heartbeat" : "frame";
    if (this.#start !== null && this.#log.replicaWriteOffset === 0) {
      return { type: "relearn", reason: `first ${what} is at ${physicOffset}, wanted ${this.#next}` };
    }
    const nothingTaken = this.#next === this.#request;
    if (this.#start === null && nothingTaken && bodySize === 0 && physicOffset < this.#next) {
      return this.#shorter(physicOffset, this.#checkFrom);
    }
    return this.#rejected(`${what} is at ${physicOffset}, wanted ${this.#next}`, physicOffset);
  }

  #ackOffset(): number {
    const log = this.#log;
    if (this.#check !== null) return this.#request;
    return Math.max(this.#request, this.#options.haAckAfterFlush ? log.flushedOffset : log.maxOffset);
  }

  #follow(): void {
    this.#wantsRange = false;
    this.#become(HAConnectionState.TRANSFER, "following", "");
  }

  /** The connection is of use, so the next failure is a first one again. To have compared alone does not show that. */
  #proven(): void {
    if (this.#state === "following") this.#failures = 0;
  }

  /** A connection alone is no sign of life: the system takes it for a process that hangs. So it is no read either. */
  get #silentSince(): number {
    return Math.max(this.#lastRead, this.#connectedAt);
  }

  #unverifiedAt(): number {
    return this.#connectedAt + 2 * this.#options.haSendHeartbeatInterval + UNVERIFIED_SLACK_MS;
  }

  #shorter(masterEnd: number, from: number): HAVerdict {
    const reason = `master's log ends at ${masterEnd}, before ours at ${this.#log.maxOffset}`;
    return { type: "diverged", cause: "parted", reason, from, offset: masterEnd };
  }

  #hole(range: MasterRange): HAVerdict {
    const next = this.#log.maxOffset;
    return {
      type: "hole",
      reason: `master's log begins at ${range.minOffset}, our next byte is ${next}`,
      offset: next,
    };
  }

  #rejected(reason: string, offset: number): HAVerdict {
    return { type: "diverged", cause: "rejected", reason, from: this.#log.maxOffset, offset };
  }

  #become(connectionState: HAConnectionState, state: HAClientState, reason: string): void {
    if (connectionState === this.#connectionState && state === this.#state && reason === this.#reason) return;
    this.#connectionState = connectionState;
    this.#state = state;
    this.#reason = reason;
    this.#revision++;
  }
}
