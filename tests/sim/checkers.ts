// What must hold, judged from outside: after every event of the world (StepChecker), and once all faults are over and
// everybody had time (checkQuiet, checkAtRest). They read what the nodes say and, past them, the bytes on their disks.
// They change nothing.

import type { NodeStatus } from "../../src/admin/admin_port.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import type { ClusterListener, Death, SimCluster, SimNode } from "./cluster.ts";
import type { PutRecord, Workload } from "./workload.ts";

/**
 * After a master came back with less than it had, a slave may still be reading what the earlier life sent, until it
 * notices: two house-keeping intervals and the longest pause of a host. So long, ms, the two are not compared.
 */
const STALE_MS = 15_000;
/** Connections, open files and pending events a quiet node may have; far below what a leak would bring. */
const CONNECTIONS_MAX = 40;
const OPEN_FILES_MAX = 320;
const PENDING_EVENTS_MAX = 60;

/** What is known of a node beyond its present status. */
interface NodeMemory {
  /** Status after the last step, null while it is down. */
  status: NodeStatus | null;
  /** Highest ends of this and the last life: what it may have acknowledged. */
  appendedHigh: number;
  flushedHigh: number;
  /** What must be there after the next start: bytes that survive a loss of power, or only the end of the program. */
  durableFloor: number;
  keptFloor: number;
  /** World time until which its slaves may hold what it lost. */
  staleUntilMs: number;
  /** A sync failed: what its disk holds is unknown, here and in the kernel's opinion. */
  isSuspect: boolean;
  /** Up to where, and against whom, its bytes were compared. */
  comparedTo: number;
  comparedWith: string;
  isStopped: boolean;
}

/** Checks every step, and keeps the ledger's holders true. */
export class StepChecker implements ClusterListener {
  /** Losses that no promise covers, and what else a report should tell. */
  readonly counters = { lostOnRestart: 0, cuts: 0, comparedBytes: 0, checkedAcks: 0, stops: 0 };
  readonly #cluster: SimCluster;
  readonly #workload: Workload;
  readonly #memory = new Map<SimNode, NodeMemory>();
  /** Highest end each HA connection's slave had while it lasted, by master, life and address. */
  readonly #connections = new Map<string, { slave: SimNode; life: number; appended: number; flushed: number }>();

  constructor(cluster: SimCluster, workload: Workload) {
    this.#cluster = cluster;
    this.#workload = workload;
    cluster.listeners.push(this);
    workload.onAnswer = (put) => this.#onAnswer(put);
  }

  /** A sync of this node's disk was made to fail. */
  suspect(node: SimNode): void {
    this.#of(node).isSuspect = true;
  }

  /** Whether {@link suspect} was called for it. */
  isSuspect(node: SimNode): boolean {
    return this.#of(node).isSuspect;
  }

  onUp(node: SimNode): void {
    const memory = this.#of(node);
    const status = node.status();
    const floor = memory.isSuspect ? 0 : memory.keptFloor;
    if (status.maxOffset < floor) {
      this.#cluster.report(`${node.name} came back with its log up to ${status.maxOffset}, wanted at least ${floor}`);
    }
    if (status.maxOffset < memory.appendedHigh) this.#onLoss(node, status.maxOffset);
    memory.appendedHigh = status.maxOffset;
    memory.flushedHigh = status.flushedOffset;
    memory.status = status;
    memory.comparedWith = "";
    memory.isStopped = false;
  }

  onDown(node: SimNode, how: Death, status: NodeStatus | null): void {
    const memory = this.#of(node);
    const last = status ?? memory.status;
    if (last !== null) {
      memory.durableFloor = how === "stop" ? last.maxOffset : last.flushedOffset;
      memory.keptFloor = last.maxOffset;
      memory.appendedHigh = Math.max(memory.appendedHigh, last.maxOffset);
    }
    if (how === "crash") memory.keptFloor = memory.durableFloor;
    memory.status = null;
  }

  /** A host that is down loses power: what the kernel held is gone too. */
  onPowerLoss(node: SimNode): void {
    const memory = this.#of(node);
    memory.keptFloor = memory.durableFloor;
  }

  onStep(): void {
    for (const node of this.#cluster.nodes) {
      if (!node.isUp) continue;
      const status = node.status();
      this.#checkPositions(node, status);
      this.#of(node).status = status;
    }
    for (const node of this.#cluster.nodes) {
      const { status } = this.#of(node);
      if (!node.isUp || status === null) continue;
      this.#checkAcks(node, status);
      if (status.master === null) continue;
      this.#checkPiece(node, status);
      this.#checkStop(node, status);
    }
  }

  #of(node: SimNode): NodeMemory {
    let memory = this.#memory.get(node);
    if (memory === undefined) {
      memory = {
        status: null,
        appendedHigh: 0,
        flushedHigh: 0,
        durableFloor: 0,
        keptFloor: 0,
        staleUntilMs: 0,
        isSuspect: false,
        comparedTo: 0,
        comparedWith: "",
        isStopped: false,
      };
      this.#memory.set(node, memory);
    }
    return memory;
  }

  /** Within a life a log only grows, but for a resync, which the operator allowed. */
  #checkPositions(node: SimNode, status: NodeStatus): void {
    const memory = this.#of(node);
    const { name } = node;
    const { minOffset, maxOffset, flushedOffset, confirmOffset } = status;
    if (flushedOffset > maxOffset || confirmOffset > maxOffset || minOffset > maxOffset) {
      fail(`${name}: min ${minOffset}, flushed ${flushedOffset}, confirm ${confirmOffset}, max ${maxOffset}`);
    }
    const before = memory.status;
    if (before !== null && maxOffset < before.maxOffset) {
      if (node.options.resync !== true) fail(`${name}: log shrank from ${before.maxOffset} to ${maxOffset}`);
      this.counters.cuts++;
      this.#onLoss(node, maxOffset);
      memory.appendedHigh = maxOffset;
      memory.flushedHigh = flushedOffset;
    }
    if (before !== null && flushedOffset < before.flushedOffset && maxOffset >= before.maxOffset) {
      fail(`${name}: flushed fell from ${before.flushedOffset} to ${flushedOffset}`);
    }
    memory.appendedHigh = Math.max(memory.appendedHigh, maxOffset);
    memory.flushedHigh = Math.max(memory.flushedHigh, flushedOffset);
  }

  /** No slave has acknowledged more than it had appended (with haAckAfterFlush: flushed). */
  #checkAcks(master: SimNode, { slaves, minOffset }: NodeStatus): void {
    for (const { addr, slaveAckOffset } of slaves) {
      const slave = this.#cluster.nodeAt(addr);
      if (slave === null) continue;
      const key = `${master.name} ${master.life} ${addr}`;
      const { appendedHigh, flushedHigh } = this.#of(slave);
      let seen = this.#connections.get(key);
      if (seen === undefined) {
        seen = { slave, life: slave.life, appended: appendedHigh, flushed: flushedHigh };
        this.#connections.set(key, seen);
      } else if (seen.life === slave.life) {
        seen.appended = Math.max(seen.appended, appendedHigh);
        seen.flushed = Math.max(seen.flushed, flushedHigh);
      }
      // An empty slave asks for the log's start (byte 1 when that is 0); a request counts as an ack.
      const limit = Math.max(1, minOffset, slave.options.haAckAfterFlush === true ? seen.flushed : seen.appended);
      if (slaveAckOffset > limit) {
        fail(`${slave.name} acknowledged ${slaveAckOffset} to ${master.name}, it holds ${limit}`);
      }
      this.counters.checkedAcks++;
    }
  }

  /** A slave that says it follows holds a piece of its master's log. */
  #checkPiece(slave: SimNode, status: NodeStatus): void {
    const { master } = status;
    if (master === null || !master.verified || master.masterAddr === null) return;
    const masterNode = this.#cluster.nodeAt(master.masterAddr);
    const masterMemory = masterNode === null ? null : this.#of(masterNode);
    const masterStatus = masterMemory?.status ?? null;
    if (masterNode === null || masterMemory === null || masterStatus === null || !masterNode.isUp) return;
    if (this.#cluster.world.nowMs < masterMemory.staleUntilMs) return;
    const memory = this.#of(slave);
    const pair = `${masterNode.name} ${masterNode.life} ${slave.life}`;
    const end = status.maxOffset;
    if (end > masterStatus.maxOffset) {
      fail(`${slave.name} follows ${masterNode.name} and ends at ${end}, beyond it at ${masterStatus.maxOffset}`);
    }
    if (memory.comparedWith !== pair || memory.comparedTo > end) {
      memory.comparedWith = pair;
      memory.comparedTo = 0;
    }
    const from = Math.max(memory.comparedTo, status.minOffset, masterStatus.minOffset);
    if (from >= end) return;
    memory.comparedTo = end;
    this.counters.comparedBytes += end - from;
    const difference = firstDifference(slave, masterNode, from, end);
    if (difference >= 0) fail(`${slave.name} follows ${masterNode.name} and differs from it at ${difference}`);
    const isAhead = masterNode.options.haTransferAfterFlush === true && end > masterMemory.flushedHigh;
    if (isAhead) fail(`${slave.name} ends at ${end}, beyond what ${masterNode.name} has flushed`);
  }

  /** A slave that stops following says what is so: the logs differ, its own is longer, or its next byte is gone. */
  #checkStop(slave: SimNode, status: NodeStatus): void {
    const memory = this.#of(slave);
    const isStopped = status.master!.state === "SUSPEND";
    if (isStopped === memory.isStopped) return;
    memory.isStopped = isStopped;
    if (!isStopped) return;
    this.counters.stops++;
    const master = status.master!.masterAddr === null ? null : this.#cluster.nodeAt(status.master!.masterAddr);
    // A master that is a slave itself may have been shorter a moment ago.
    if (master === null || !master.isUp || master.status().brokerRole === "SLAVE") return;
    const isHole = status.maxOffset < master.status().minOffset;
    if (!isHole && !isDiverged(slave, master)) fail(`${slave.name} says "${status.master!.reason}", which is not so`);
  }

  /** The node's log ends at `end` now and went further before. */
  #onLoss(node: SimNode, end: number): void {
    const memory = this.#of(node);
    memory.staleUntilMs = this.#cluster.world.nowMs + STALE_MS;
    memory.comparedWith = "";
    this.counters.lostOnRestart++;
    for (const put of this.#workload.ledger) if (endOf(put) > end) put.holders.delete(node.name);
  }

  /** PUT_OK: who holds it now, and are they as many as was promised? */
  #onAnswer(put: PutRecord): void {
    const { outcome, node, waits } = put;
    if (outcome?.status !== "PUT_OK" || outcome.stored === null) return;
    const { physicalOffset, storeSize } = outcome.stored;
    const end = physicalOffset + storeSize;
    const status = node.status();
    if (status.maxOffset < end) return this.#cluster.report(`Put ${put.id} is OK and ends at ${end}, beyond the log`);
    const bytes = node.logBytes(physicalOffset, end);
    let copies = 1;
    put.holders.add(node.name);
    for (const other of this.#cluster.nodes) {
      if (other === node) continue;
      const { appendedHigh, flushedHigh } = this.#of(other);
      const held = other.options.haAckAfterFlush === true ? flushedHigh : appendedHigh;
      // A slave may have died since it acknowledged: then only its word counts.
      const holds = other.isUp
        ? appendedHigh >= end && Buffer.compare(bytes, other.logBytes(physicalOffset, end)) === 0
        : held >= end;
      if (!holds) continue;
      if (held >= end) copies++;
      if (other.isUp) put.holders.add(other.name);
    }
    const config = node.broker!.admin.config();
    if (!waits) return;
    if (status.brokerRole === "SYNC_MASTER") {
      const wanted = config.enableAutoInSyncReplicas ? config.minInSyncReplicas : config.inSyncReplicas;
      if (copies < wanted) this.#cluster.report(`Put ${put.id} is OK with ${copies} copies, promised are ${wanted}`);
    }
    if (config.flushDiskType === "SYNC_FLUSH" && status.flushedOffset < end) {
      this.#cluster.report(`Put ${put.id} is OK and ends at ${end}, flushed is ${status.flushedOffset}`);
    }
  }
}

/** End of what a put wrote, bytes; -1 when nothing was. */
export function endOf({ outcome }: PutRecord): number {
  return outcome?.stored == null ? -1 : outcome.stored.physicalOffset + outcome.stored.storeSize;
}

/** First offset in `[from, end)` at which two nodes' files differ, -1 for none. */
export function firstDifference(a: SimNode, b: SimNode, from: number, end: number): number {
  if (from >= end) return -1;
  const ours = a.logBytes(from, end);
  const theirs = b.logBytes(from, end);
  if (ours.length === end - from && Buffer.compare(ours, theirs) === 0) return -1;
  let at = 0;
  while (at < ours.length && ours[at] === theirs[at]) at++;
  return from + at;
}

/** Whether the slave's log is no piece of the master's: they differ where both have bytes, or the slave's is longer. */
export function isDiverged(slave: SimNode, master: SimNode): boolean {
  const [ours, theirs] = [slave.status(), master.status()];
  if (ours.maxOffset > theirs.maxOffset) return true;
  return firstDifference(slave, master, Math.max(ours.minOffset, theirs.minOffset), ours.maxOffset) >= 0;
}

/** Whether the slave follows and holds all that its master holds. */
export function isConverged(slave: SimNode, master: SimNode): boolean {
  if (!slave.isUp || !master.isUp) return false;
  const ours = slave.status();
  const theirs = master.status();
  return ours.master?.verified === true && ours.maxOffset === theirs.maxOffset;
}

/** Everything follows and nothing happens: logs equal, the ledger's messages there, queues gapless, nothing piled up. */
export async function checkQuiet(cluster: SimCluster, master: SimNode, workload: Workload): Promise<void> {
  for (const node of cluster.nodes) {
    const status = node.status();
    const from = Math.max(status.minOffset, master.status().minOffset);
    const difference = node === master ? -1 : firstDifference(node, master, from, status.maxOffset);
    if (difference >= 0) fail(`${node.name} differs from its master ${master.name} at ${difference}`);
    const connections = cluster.world.network.connectionCount(node.name);
    if (connections > CONNECTIONS_MAX) fail(`${node.name} holds ${connections} connections`);
    if (node.host.openFileCount > OPEN_FILES_MAX) fail(`${node.name} holds ${node.host.openFileCount} open files`);
    await checkMessages(cluster, node, workload);
  }
  const pendingMax = PENDING_EVENTS_MAX * cluster.nodes.length;
  if (cluster.world.pendingCount > pendingMax) fail(`${cluster.world.pendingCount} events are pending`);
}

/** Reads every queue of a node: offsets without a gap, and every message it must hold is there. */
async function checkMessages(cluster: SimCluster, node: SimNode, workload: Workload): Promise<void> {
  const { admin } = node.broker!;
  const { minOffset } = node.status();
  const found = new Map<number, Uint8Array>();
  for (const topic of new Set(workload.ledger.map((put) => put.topic))) {
    for (const { queueId, minOffset: first, maxOffset } of admin.queues(topic) ?? []) {
      for (let offset = first; offset < maxOffset;) {
        const request = { topic, queueId, offset, maxNum: 256 };
        const result = await cluster.drive(admin.readByQueueOffset(request));
        const messages = result?.messages ?? [];
        if (messages.length === 0) fail(`${node.name}: ${topic}/${queueId} has no message ${offset} of ${maxOffset}`);
        for (const message of messages) {
          if (message.queueOffset !== offset) {
            fail(`${node.name}: ${topic}/${queueId} has message ${message.queueOffset} at ${offset}`);
          }
          if (found.has(message.flag)) fail(`${node.name} holds message ${message.flag} twice`);
          found.set(message.flag, message.body);
          offset++;
        }
      }
    }
  }
  for (const put of workload.ledger) {
    if (!put.holders.has(node.name) || put.outcome!.stored!.physicalOffset < minOffset) continue;
    const body = found.get(put.id);
    if (body === undefined) fail(`${node.name} has lost put ${put.id} at ${put.outcome!.stored!.physicalOffset}`);
    if (Buffer.compare(put.body, body) !== 0) fail(`${node.name} holds put ${put.id} with another body`);
  }
}

/** Nodes stopped in order: consume queues are what the log says, and starting and dying again changes no byte. */
export async function checkAtRest(cluster: SimCluster): Promise<void> {
  const ends = new Map(cluster.nodes.map((node) => [node, node.status().maxOffset]));
  await cluster.stopAll();
  for (const node of cluster.nodes) {
    const { fs } = node.host.isRunning ? node.host.runtime : node.host.restart();
    const result = await cluster.drive(verifyStore(fs, "/store"));
    if (result.finding !== null) {
      const { field, offset, reason } = result.finding;
      fail(`${node.name}: verify finds ${field} at ${offset}: ${reason}`);
    }
    if (result.notDispatched > 0) fail(`${node.name}: ${result.notDispatched} records have no consume queue unit`);
    if (result.maxOffset !== ends.get(node)) {
      fail(`${node.name}: log ends at ${result.maxOffset}, not ${ends.get(node)}`);
    }
  }
  await checkNothingPending(cluster);
}

/** A program that has ended leaves no timer, connection or work behind. */
async function checkNothingPending(cluster: SimCluster): Promise<void> {
  for (const node of cluster.nodes) if (node.host.isRunning) node.host.kill();
  await cluster.advance(5_000);
  if (cluster.world.pendingCount > 0) fail(`${cluster.world.pendingCount} events are pending after the end of all`);
}

function fail(message: string): never {
  throw new Error(message);
}
