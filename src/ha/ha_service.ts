// The master's part of replication as one pure machine: the table of connections, whose acks count, what a SYNC_MASTER's
// put may be told, the figures, the lines an operator reads. It owns no socket and no timer: a driver hands it
// connections, bytes and the time, and gives each connection two functions, wake and close.

import { formatHostPort } from "../base/host_port.ts";
import type { Logger } from "../base/logger.ts";
import { normalHost } from "../base/peer_networks.ts";
import type { NetAddress } from "../runtime/runtime.ts";
import { ackedBy, type GroupCommitStatus, GroupTransferService } from "./group_transfer_service.ts";
import { HAConnection, type HAConnectionObserver, type HAConnectionOptions } from "./ha_connection.ts";
import { HAConnectionState, HAConnectionStateNotificationService } from "./ha_connection_state.ts";
import {
  type HAConnectionRuntimeInfo,
  type HARefusalReason,
  type HARuntimeInfo,
  NO_HA_CLIENT,
  RefusalCounter,
} from "./ha_runtime_info.ts";
import type { ReplicaLog } from "./replica_log.ts";

/** Mirrors Apache's `BrokerRole`. */
export type BrokerRole = "ASYNC_MASTER" | "SYNC_MASTER" | "SLAVE";

/** The keys the service reads, live. */
export interface HAServiceOptions extends HAConnectionOptions {
  /** Copies a SYNC_MASTER's put waits for, its own included. */
  readonly inSyncReplicas: number;
  /** With fewer copies in sync a SYNC_MASTER writes nothing. */
  readonly minInSyncReplicas: number;
  /** Wait for fewer copies while fewer are in sync, never for fewer than `minInSyncReplicas`. */
  readonly enableAutoInSyncReplicas: boolean;
  /** How long a SYNC_MASTER's put waits for its slaves, ms. */
  readonly slaveTimeout: number;
  /** A slave this far behind, bytes, is not in sync. */
  readonly haMaxGapNotInSync: number;
  /** Ours: what counts as one slave. On loopback it is each connection. */
  readonly haCountSlavesBy: "address" | "connection";
  /** Ours: connections held at once, and of them from one address. */
  readonly haConnectionsMax: number;
  readonly haConnectionsPerAddressMax: number;
}

/** What the service may ask of a connection's driver. Both may be called at any time, and again. */
export interface HAConnectionPort {
  /** `nextTransfer` may have something new. */
  wake(): void;
  /** Close the socket; the connection is in SHUTDOWN. */
  close(): void;
}

/** What replication says to a put. Values of Apache's `PutMessageStatus`. */
export type ReplicationStatus = GroupCommitStatus | "SLAVE_NOT_AVAILABLE";

/** Why a peer in TRANSFER is not in sync, whatever its lag. */
const READER_REASON = "Reads and acknowledges nothing, as verify --against does: it counts as no slave";

const DIFF_FIRST_MS = 10_000;
const DIFF_INTERVAL_MS = 60_000;

interface Entry {
  readonly connection: HAConnection;
  readonly port: HAConnectionPort;
  readonly host: string;
}

/** Mirrors the master's part of Apache's `DefaultHAService`. Works in every role: a slave's slaves are served too. */
export class HAService implements HAConnectionObserver {
  readonly refusals = new RefusalCounter();
  readonly notifications = new HAConnectionStateNotificationService((host) => this.#statesOf(host));
  readonly #log: ReplicaLog;
  readonly #options: HAServiceOptions;
  readonly #logger: Logger;
  readonly #onChange: () => void;
  readonly #groupTransferService = new GroupTransferService();
  /** In the order they came. */
  readonly #connections = new Map<HAConnection, Entry>();
  /** Those in TRANSFER: the only ones that growth concerns and whose acks count. */
  readonly #serving = new Set<Entry>();
  #role: BrokerRole;
  #now = 0;
  #connectionId = 0;
  #nextDiffAt: number | null = null;
  #maxOffsetSeen = 0;
  /** Acks of the distinct slaves, greatest first; null when one changed since. */
  #acks: number[] | null = null;
  /** The same of what they are known to hold. */
  #confirmed: number[] | null = null;

  constructor(parts: {
    log: ReplicaLog;
    options: HAServiceOptions;
    role: BrokerRole;
    logger: Logger;
    /** A slave came, left, or is served differently. */
    onChange?: () => void;
  }) {
    this.#log = parts.log;
    this.#options = parts.options;
    this.#role = parts.role;
    this.#logger = parts.logger;
    this.#onChange = parts.onChange ?? (() => {});
  }

  get role(): BrokerRole {
    return this.#role;
  }

  /** Live connections, whatever their state. */
  get connectionCount(): number {
    return this.#connections.size;
  }

  /** Producers waiting for replicas. */
  get waitingPuts(): number {
    return this.#groupTransferService.waiting;
  }

  /** When the first of them gives up, monotonic ms; null when there is none. */
  get waitingPutsDeadline(): number | null {
    return this.#groupTransferService.nextDeadline();
  }

  /** Greatest validated ack of the live slaves; 0 without one. Unlike Apache's, it falls when that slave leaves. */
  get push2SlaveMaxOffset(): number {
    return this.#acksDescending()[0] ?? 0;
  }

  /** Lag of the fastest live slave, bytes; null without one. */
  slaveFallBehindMuch(): number | null {
    const fastest = this.#acksDescending()[0];
    return fastest === undefined ? null : this.#log.maxOffset - fastest;
  }

  /**
   * Distinct live slaves less than `haMaxGapNotInSync` behind `offset`, the master not counted. Mirrors Apache's
   * `inSyncReplicasNums` less one; a slave that never reported does not count.
   */
  inSyncSlaveNums(offset: number): number {
    const acks = this.#acksDescending();
    let count = 0;
    while (count < acks.length && offset - acks[count]! < this.#options.haMaxGapNotInSync) count++;
    return count;
  }

  /** Lowest byte a live slave still needs, null without one: files from there on are worth keeping. */
  retainOffset(): number | null {
    let lowest: number | null = null;
    for (const { connection } of this.#serving) {
      const offset = connection.retainOffset;
      if (offset !== null && (lowest === null || offset < lowest)) lowest = offset;
    }
    return lowest;
  }

  /** Whether a slave waits for nothing but the disk; see {@link HAConnection.awaitsFlush}. */
  get awaitsFlush(): boolean {
    for (const { connection } of this.#serving) if (connection.awaitsFlush) return true;
    return false;
  }

  /** Begins. `now` is monotonic ms, here and below. */
  start(now: number): void {
    this.#now = now;
    this.#maxOffsetSeen = this.#log.maxOffset;
    this.#nextDiffAt = now + DIFF_FIRST_MS;
  }

  /** Ends every connection and every wait. {@link start} begins anew. */
  stop(now: number): void {
    this.dropConnections("shutdown", now);
    this.#groupTransferService.failAll();
    this.notifications.cancel();
    this.#nextDiffAt = null;
  }

  /** The node's role has changed. Connections stay: a slave serves slaves too. */
  setRole(role: BrokerRole, now: number): void {
    this.#now = now;
    const before = this.#role;
    this.#role = role;
    if (role !== before) this.#warnOfNoWait();
    if (role === "SLAVE") this.#groupTransferService.failAll();
    if (this.#nextDiffAt !== null) this.#nextDiffAt = now + DIFF_FIRST_MS;
  }

  /** `options` have other values now. */
  onOptionsChanged(): void {
    this.#warnOfNoWait();
  }

  /** Apache's default makes a SYNC_MASTER asynchronous without a word. */
  #warnOfNoWait(): void {
    if (this.#role !== "SYNC_MASTER" || this.#options.inSyncReplicas > 1) return;
    this.#logger.warn(
      `Role is SYNC_MASTER and inSyncReplicas is ${this.#options.inSyncReplicas}: puts wait for no slave, wanted 2 or more`,
    );
  }

  /** A peer has connected. Null: refused, close it. */
  accept(remote: NetAddress, port: HAConnectionPort, now: number): HAConnection | null {
    this.#now = now;
    const remoteAddress = formatHostPort(remote);
    const host = normalHost(remote.hostname);
    const { haConnectionsMax, haConnectionsPerAddressMax } = this.#options;
    if (this.#countOf(host) >= haConnectionsPerAddressMax && !this.#evictIdle("tooManyFromAddress", host)) {
      const detail = `${haConnectionsPerAddressMax} slaves of its address are connected`;
      this.#sayRefused(host, remoteAddress, "tooManyFromAddress", detail);
      return null;
    }
    if (this.#connections.size >= haConnectionsMax && !this.#evictIdle("tooManyConnections", null)) {
      this.#sayRefused(host, remoteAddress, "tooManyConnections", `${this.#connections.size} slaves are connected`);
      return null;
    }
    const byConnection = this.#options.haCountSlavesBy === "connection" || isLoopback(host);
    const slaveKey = byConnection ? `${remoteAddress}#${this.#connectionId++}` : host;
    const connection = new HAConnection({
      remoteAddress,
      slaveKey,
      log: this.#log,
      options: this.#options,
      observer: this,
      now,
    });
    this.#connections.set(connection, { connection, port, host });
    return connection;
  }

  /** The driver closed a peer before it became a connection. `detail` is one line for the operator. */
  refuse(remote: NetAddress, reason: HARefusalReason, detail: string, now: number): void {
    this.#now = now;
    this.#sayRefused(normalHost(remote.hostname), formatHostPort(remote), reason, detail);
  }

  /** Bytes came from a slave. */
  onBytes(connection: HAConnection, bytes: Uint8Array, now: number): void {
    this.#now = now;
    connection.onBytes(bytes, now);
  }

  /** Closes a connection for a reason of the driver's (`peerClosed`, an error's text). Idempotent. */
  close(connection: HAConnection, reason: string, now: number): void {
    this.#now = now;
    connection.close(reason);
  }

  /** The log could not be read for this slave. */
  onReadFailed(connection: HAConnection, detail: string, now: number): void {
    this.#now = now;
    this.onRefused(connection, "readFailed", detail);
    connection.close("readFailed");
  }

  /** The log (or its flushed part) grew: every slave being served is woken at once. */
  onLogGrew(now: number): void {
    this.#now = now;
    const { maxOffset } = this.#log;
    // A cut followed by growth would hand a slave other bytes than those it was sent at the same offsets.
    if (maxOffset < this.#maxOffsetSeen) this.dropConnections("logCut", now);
    this.#maxOffsetSeen = maxOffset;
    for (const { port } of this.#serving) port.wake();
  }

  /** Ends every connection: the log was cut or replaced beneath them, or the service stops. */
  dropConnections(reason: string, now: number): void {
    this.#now = now;
    for (const connection of [...this.#connections.keys()]) connection.close(reason);
    this.#maxOffsetSeen = this.#log.maxOffset;
  }

  /** When {@link onTick} may have something to do; null: never by time alone. */
  nextDeadline(now: number): number | null {
    let deadline = least(this.#groupTransferService.nextDeadline(), this.notifications.nextDeadline());
    deadline = least(deadline, this.#nextDiffAt);
    for (const connection of this.#connections.keys()) deadline = least(deadline, connection.nextDeadline(now));
    return deadline;
  }

  /** Time has come to {@link nextDeadline}. */
  onTick(now: number): void {
    this.#now = now;
    this.#groupTransferService.onTick(now);
    this.notifications.onTick(now);
    for (const { connection, port } of [...this.#connections.values()]) {
      connection.onTick(now);
      if (connection.nextTransfer(now) !== null) port.wake();
    }
    if (this.#nextDiffAt !== null && now >= this.#nextDiffAt) {
      this.#nextDiffAt = now + DIFF_INTERVAL_MS;
      this.#printMasterAndSlaveDiff();
    }
  }

  /**
   * Asked before a put writes: why it must not, or null. `waitStoreMsgOK` false (the message's WAIT=false, the
   * broker's own re-puts) never stops.
   */
  beforePut(waitStoreMsgOK: boolean): "IN_SYNC_REPLICAS_NOT_ENOUGH" | null {
    if (this.#role !== "SYNC_MASTER" || !waitStoreMsgOK) return null;
    const inSync = 1 + this.inSyncSlaveNums(this.#log.maxOffset);
    return inSync < this.#options.minInSyncReplicas ? "IN_SYNC_REPLICAS_NOT_ENOUGH" : null;
  }

  /**
   * Asked after a put has written up to `nextOffset`: its replication status, or null when `complete` will be called
   * with it, within `slaveTimeout`. Mirrors `CommitLog.handleHA`, with 4.9's SLAVE_NOT_AVAILABLE.
   */
  handleHA(
    nextOffset: number,
    waitStoreMsgOK: boolean,
    complete: (status: GroupCommitStatus) => void,
    now: number,
  ): ReplicationStatus | null {
    this.#now = now;
    if (this.#role !== "SYNC_MASTER" || !waitStoreMsgOK) return "PUT_OK";
    const inSync = 1 + this.inSyncSlaveNums(nextOffset);
    const ackNums = this.#needAckNums(inSync);
    if (ackNums <= 1) return "PUT_OK";
    if (inSync < ackNums) return "SLAVE_NOT_AVAILABLE";
    if (nextOffset <= ackedBy(this.#confirmedDescending(), ackNums)) return "PUT_OK";
    const deadline = now + this.#options.slaveTimeout;
    this.#groupTransferService.putRequest({ nextOffset, ackNums, deadline, complete });
    return null;
  }

  /** The figures of one connection each, in the order they came. */
  connectionInfos(now: number): HAConnectionRuntimeInfo[] {
    const { maxOffset } = this.#log;
    return [...this.#connections.keys()].map((connection) => {
      const { state, slaveAckOffset, isReader } = connection;
      const diff = maxOffset - Math.max(slaveAckOffset, 0);
      return {
        addr: connection.remoteAddress,
        slaveAckOffset,
        diff,
        inSync: state === HAConnectionState.TRANSFER && !isReader && diff < this.#options.haMaxGapNotInSync,
        transferredByteInSecond: connection.flowMonitor.transferredByteInSecond(now),
        transferFromWhere: connection.transferFromWhere,
        state,
        slaveRequestOffset: connection.slaveRequestOffset,
        reason: connection.suspendReason ?? (isReader ? READER_REASON : null),
      };
    });
  }

  /** Answer of 907 on a master; on a slave the caller puts its client's side in. */
  runtimeInfo(now: number): HARuntimeInfo {
    const master = this.#role !== "SLAVE";
    const { maxOffset } = this.#log;
    return {
      master,
      masterCommitLogMaxOffset: master ? maxOffset : 0,
      inSyncSlaveNums: master ? this.inSyncSlaveNums(maxOffset) : 0,
      haConnectionInfo: this.connectionInfos(now),
      haClientRuntimeInfo: NO_HA_CLIENT,
    };
  }

  /** {@link HAConnectionObserver}: called by the connections. */
  onStateChanged(connection: HAConnection): void {
    const entry = this.#connections.get(connection);
    if (entry === undefined) return;
    const { state, remoteAddress } = connection;
    const served = this.#serving.delete(entry);
    this.#acks = this.#confirmed = null;
    if (state === HAConnectionState.TRANSFER) {
      this.#serving.add(entry);
      this.#logger.info("Slave follows", {
        slave: remoteAddress,
        request: connection.slaveRequestOffset,
        from: connection.transferFromWhere,
        maxOffset: this.#log.maxOffset,
      });
    }
    if (state === HAConnectionState.SHUTDOWN) {
      this.#connections.delete(connection);
      entry.port.close();
      if (served) {
        const { closeReason, slaveAckOffset } = connection;
        this.#logger.info("Slave left", { slave: remoteAddress, reason: closeReason, slaveAckOffset });
      }
    } else {
      entry.port.wake();
    }
    this.notifications.onStateChanged(entry.host, state, this.#now);
    // One that never asked for anything is a guest: its coming and going is nobody's news.
    if (connection.slaveRequestOffset >= 0) this.#onChange();
  }

  /** {@link HAConnectionObserver}: called by the connections. */
  onAck(connection: HAConnection): void {
    if (connection.state !== HAConnectionState.TRANSFER) return;
    this.#acks = this.#confirmed = null;
    if (this.#groupTransferService.waiting > 0) this.#groupTransferService.onAcks(this.#confirmedDescending());
  }

  /** {@link HAConnectionObserver}: called by the connections. */
  onReader(connection: HAConnection): void {
    this.#acks = this.#confirmed = null;
    this.#logger.info(`HA peer: ${READER_REASON}`, { slave: connection.remoteAddress });
    this.#onChange();
  }

  /** {@link HAConnectionObserver}: called by the connections. */
  onRefused(connection: HAConnection, reason: HARefusalReason, detail: string): void {
    const entry = this.#connections.get(connection);
    if (entry !== undefined) this.#sayRefused(entry.host, connection.remoteAddress, reason, detail);
  }

  #sayRefused(host: string, remoteAddress: string, reason: HARefusalReason, detail: string): void {
    const repeated = this.refusals.count(host, reason, this.#now);
    if (repeated !== null) this.#logger.warn(`Refused HA peer: ${detail}`, { peer: remoteAddress, reason, repeated });
  }

  /** Makes room by closing the oldest connection (of an address, when given) that never asked for anything. */
  #evictIdle(reason: HARefusalReason, only: string | null): boolean {
    for (const { connection, host } of this.#connections.values()) {
      if (connection.state !== HAConnectionState.HANDSHAKE || (only !== null && host !== only)) continue;
      const detail = `Made room among ${this.#connections.size} connections, this one never sent a report`;
      this.#sayRefused(host, connection.remoteAddress, reason, detail);
      connection.close(reason);
      return true;
    }
    return false;
  }

  #countOf(host: string): number {
    let count = 0;
    for (const entry of this.#connections.values()) if (entry.host === host) count++;
    return count;
  }

  /** Copies a put waits for, with `inSync` there, the master included. */
  #needAckNums(inSync: number): number {
    const { inSyncReplicas, minInSyncReplicas, enableAutoInSyncReplicas } = this.#options;
    return enableAutoInSyncReplicas ? Math.max(Math.min(inSyncReplicas, inSync), minInSyncReplicas) : inSyncReplicas;
  }

  #acksDescending(): readonly number[] {
    return this.#acks ??= this.#ofSlavesDescending(({ slaveAckOffset }) => slaveAckOffset);
  }

  /** Unlike Apache, a put is told PUT_OK for what a slave has acknowledged beyond its request only. */
  #confirmedDescending(): readonly number[] {
    return this.#confirmed ??= this.#ofSlavesDescending(({ confirmedOffset }) => confirmedOffset);
  }

  /** The greatest offset of each distinct live slave, greatest first. */
  #ofSlavesDescending(offsetOf: (connection: HAConnection) => number): number[] {
    const bySlave = new Map<string, number>();
    for (const { connection } of this.#serving) {
      if (connection.isReader) continue;
      const offset = offsetOf(connection);
      if (offset > (bySlave.get(connection.slaveKey) ?? -1)) bySlave.set(connection.slaveKey, offset);
    }
    return [...bySlave.values()].sort((a, b) => b - a);
  }

  #statesOf(host: string): HAConnectionState[] {
    const states: HAConnectionState[] = [];
    for (const entry of this.#connections.values()) if (entry.host === host) states.push(entry.connection.state);
    return states;
  }

  /** Mirrors `BrokerController.printMasterAndSlaveDiff`, with a line for each slave. */
  #printMasterAndSlaveDiff(): void {
    const fastest = this.slaveFallBehindMuch();
    if (this.#role === "SLAVE" || fastest === null) return;
    const { maxOffset } = this.#log;
    const slaves = [...this.#serving].filter(({ connection }) => !connection.isReader);
    for (const { connection } of slaves) {
      const { remoteAddress, slaveAckOffset } = connection;
      const transferredByteInSecond = connection.flowMonitor.transferredByteInSecond(this.#now);
      const diff = maxOffset - slaveAckOffset;
      this.#logger.info("Replication lag of a slave", {
        slave: remoteAddress,
        diff,
        slaveAckOffset,
        transferredByteInSecond,
      });
    }
    this.#logger.info("Replication lag of the fastest slave", { diff: fastest, maxOffset, slaves: slaves.length });
  }
}

function least(a: number | null, b: number | null): number | null {
  if (a === null || b === null) return a ?? b;
  return Math.min(a, b);
}

function isLoopback(host: string): boolean {
  return host === "::1" || host.startsWith("127.");
}
