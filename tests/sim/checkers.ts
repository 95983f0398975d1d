// What must hold at every step, judged from outside: after each event of the world the node it happened on, and whoever
// stands in a relation to it, are held against invariants.ts. It reads what nodes say and, past them, the bytes on their
// disks; it changes nothing. What is judged once all is quiet is in rest_checks.ts, what readers see in readers.ts.

import type { NodeStatus } from "../../src/admin/admin_port.ts";
import { IoError, StoreError } from "../../src/base/errors.ts";
import type { ClusterListener, Death, SimCluster, SimNode } from "./cluster.ts";
import { judgeCut } from "./cut_check.ts";
import { deriveRecords } from "./derive.ts";
import { InvariantCounts, Violation } from "./invariants.ts";
import { LogMirror } from "./log_mirror.ts";
import type { PutRecord, Workload } from "./workload.ts";

/**
 * After a master came back with less than it had, a slave may still be reading what the earlier life sent, until it
 * notices: two house-keeping intervals and the longest pause of a host. So long, ms, the two are not compared.
 */
const STALE_MS = 15_000;
/**
 * How much later than its time-out a put may be answered, ms of world time in which its machine did not stand still. The
 * first one of a topic makes the topic, and waits for the disk, however slow that is.
 */
const ANSWER_SLACK_MS = 1_000;
const FIRST_ANSWER_SLACK_MS = 5_000;
/** All nodes are looked at once in so many steps, besides the one that something happened on. */
const FULL_ROUND = 32;
/**
 * What a node may hold at any time, about twice of what was ever seen: open files (a store keeps up to 256 of its log
 * and queues open), and those of them beyond one per file; connections (beside those a fault brings along); timers beyond one per connection; bytes given to `write` per connection, which is one frame.
 */
export const BOUNDS = {
  openFiles: 320,
  surplusFiles: 4,
  timers: 16,
  connections: 30,
  queuedBytes: 1024 * 1024 + 12,
} as const;

/** Ids of what remoting clients sent begin here. */
const SENT_IDS = 10_000_000;

/** A message that a remoting client sent, and the place of its record that the answer names. */
export type SentPut = Pick<PutRecord, "id" | "node" | "life" | "topic" | "queueId" | "body" | "key"> & {
  readonly physicalOffset: number;
};

/** The highs at the end of a life, and the first port that its connections did not come from. */
interface EndedLife {
  readonly appended: number;
  readonly flushed: number;
  readonly nextPort: number;
}

/** What is known of a node beyond its present status. */
interface NodeMemory {
  /** Status after the last step, null while it is down. */
  status: NodeStatus | null;
  /** Highest ends of this and the last life: what it may have acknowledged. */
  appendedHigh: number;
  flushedHigh: number;
  /** The same of a life that lost some: acknowledgements of it may still be under way, until this world time. */
  wordAppended: number;
  wordFlushed: number;
  wordUntilMs: number;
  /** The highs at the end of each life that ended: what was acknowledged in it may still be under way. */
  readonly lives: Map<number, EndedLife>;
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
  /** What its log held, byte for byte. */
  readonly mirror: LogMirror;
}

/** Checks every step, and keeps the ledger's holders true. */
export class StepChecker implements ClusterListener {
  readonly invariants = new InvariantCounts();
  /** Losses that no promise covers, and what else a report should tell. */
  readonly counters = {
    lostOnRestart: 0,
    cuts: 0,
    judgedCuts: 0,
    comparedBytes: 0,
    checkedAcks: 0,
    stops: 0,
    voidedByElection: 0,
    voidedByRestart: 0,
  };
  /** Hears of each cut or loss: the node's log ended at `end` then, wherever it went since. */
  onLost: (node: SimNode, end: number) => void = () => {};
  /** Connections that a fault holds open, which the bound must allow. */
  extraConnections = 0;
  readonly #cluster: SimCluster;
  readonly #workload: Workload;
  readonly #memory = new Map<SimNode, NodeMemory>();
  /** By master, life and address: in which life of the slave an HA connection was made, and its highest ends since. */
  readonly #connections = new Map<string, { readonly life: number; appended: number; flushed: number }>();
  #steps = 0;
  #lastStepMs = 0;
  /** Topics that a node is known to have, by its life. */
  readonly #topics = new Set<string>();
  /** Nodes whose machines stood still at the last step. */
  readonly #paused = new Set<SimNode>();
  #master: SimNode | null = null;

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

  /** Its disk is about to alter bytes silently: its copy counts for nothing any more. */
  damage(node: SimNode): void {
    node.isDamaged = true;
    node.isTrusted = false;
    for (const put of this.#workload.promises) put.holders.delete(node.name);
  }

  onReplaced(node: SimNode): void {
    const memory = this.#of(node);
    memory.keptFloor = memory.durableFloor = 0;
    memory.isSuspect = false;
    memory.mirror.clear();
  }

  onUp(node: SimNode): void {
    const memory = this.#of(node);
    const status = node.status();
    const end = status.maxOffset;
    if (!node.isDamaged) {
      const floor = memory.isSuspect ? 0 : memory.keptFloor;
      this.invariants.add("survivesRestart");
      if (end < floor) {
        this.#cluster.report("survivesRestart", `${node.name} came back with a log up to ${end}, wanted ${floor}`);
      }
      this.#checkRecovered(node, status);
    }
    memory.mirror.cut(status.minOffset, end);
    if (end < memory.appendedHigh) {
      memory.wordAppended = memory.appendedHigh;
      memory.wordFlushed = memory.flushedHigh;
      memory.wordUntilMs = this.#cluster.world.nowMs + STALE_MS;
      this.#onLoss(node, end);
    }
    memory.appendedHigh = end;
    memory.flushedHigh = status.flushedOffset;
    memory.status = status;
    memory.comparedWith = "";
    memory.isStopped = false;
    if (status.master === null) this.#master ??= node;
    if (node === this.#master) this.#voidPromisesNotHeldBy(node);
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
    memory.lives.set(node.life, {
      appended: memory.appendedHigh,
      flushed: Math.max(memory.flushedHigh, last?.flushedOffset ?? 0),
      nextPort: this.#cluster.world.network.nextPort(node.name),
    });
    memory.status = null;
    const isExcused = node.isDamaged || node.diskErrors > node.diskErrorsAtStart;
    if (how === "fatal") {
      this.invariants.add("fatalHasCause");
      if (!isExcused || isBug(node.failure)) {
        this.#cluster.report("fatalHasCause", `${node.name} ended with ${described(node.failure)}`);
      }
    }
    if (how === "failedStart") {
      this.invariants.add("startsAgain");
      if (!isExcused || isBug(node.failure)) {
        this.#cluster.report("startsAgain", `${node.name} failed to start: ${described(node.failure)}`);
      }
    }
  }

  onStopped({ name, host, askCount }: SimNode): void {
    const { network } = this.#cluster.world;
    const connections = network.connectionCount(name);
    const { openFileCount, timerCount } = host;
    this.invariants.add("stopsClean");
    // What can't be called off holds a little until it ends: a read its file, a connect what it may have made.
    if (connections <= network.connectingCount(name) && openFileCount <= askCount && timerCount === 0) return;
    const held = `${openFileCount} open files, ${timerCount} timers, ${connections} connections`;
    this.#cluster.report("stopsClean", `${name} has stopped in order and holds ${held}`);
  }

  /** A host that is down loses power: what the kernel held is gone too. */
  onPowerLoss(node: SimNode): void {
    const memory = this.#of(node);
    memory.keptFloor = memory.durableFloor;
  }

  /** Promises end where the elected node never had the message, and nobody else who could have been elected had it. */
  onElected(node: SimNode, from: SimNode, candidates: readonly SimNode[]): void {
    // Where nobody was seen to follow, the longest log may be one that parted long ago: nothing is promised then.
    const others = candidates.filter((each) => each !== node && each.isTrusted);
    for (const put of this.#workload.promises) {
      if (!put.isPromised) continue;
      this.invariants.add("survivesFailover");
      if (holds(node, put)) continue;
      const holder = others.find((other) => holds(other, put));
      if (holder !== undefined) {
        const detail = `${node.name} takes over from ${from.name} without put ${put.id}, which ${holder.name} holds`;
        this.#cluster.report("survivesFailover", detail);
      }
      put.isPromised = false;
      this.counters.voidedByElection++;
    }
    this.#master = node;
    for (const each of this.#cluster.nodes) each.isTrusted = each === node;
  }

  onStep(): void {
    const { nodes, world } = this.#cluster;
    const host = world.lastHostIndex;
    const isFull = host < 0 || ++this.#steps % FULL_ROUND === 0;
    this.#countPauses();
    if (isFull) { for (const put of this.#workload.unanswered) this.#checkInTime(put); }
    const touched = isFull ? nodes : nodes.filter((node) => node.host.index === host);
    for (const node of touched) {
      if (!node.isUp) continue;
      const status = node.status();
      const memory = this.#of(node);
      this.#checkPositions(node, memory, status);
      this.#checkAppended(node, memory, status);
      memory.status = status;
      this.#checkBounds(node, isFull);
    }
    for (const node of touched) {
      const { status } = this.#of(node);
      if (!node.isUp || status === null) continue;
      this.#checkAcks(node, status);
      if (status.master === null) this.#checkSlavesOf(node);
      else this.#checkSlave(node, status);
    }
  }

  /** A machine that stood still at the end of the last step or stands still now is taken to have done so in between. */
  #countPauses(): void {
    const { nowMs } = this.#cluster.world;
    for (const node of this.#cluster.nodes) {
      const { isPaused } = node.host;
      const wasPaused = this.#paused.has(node);
      if (isPaused || wasPaused) node.pausedMs += nowMs - this.#lastStepMs;
      if (isPaused && !wasPaused) this.#paused.add(node);
      else if (wasPaused && !isPaused) this.#paused.delete(node);
    }
    this.#lastStepMs = nowMs;
  }

  /** Answered now, or still not: it has not waited for longer than it may. */
  #checkInTime(put: PutRecord): void {
    const { node } = put;
    if (!node.isUp || node.life !== put.life) return;
    const { flushDiskType, syncFlushTimeout, brokerRole, slaveTimeout } = node.broker!.admin.config();
    const forDisk = put.waits && flushDiskType === "SYNC_FLUSH" ? syncFlushTimeout : 0;
    const forSlaves = put.waits && brokerRole !== "ASYNC_MASTER" ? slaveTimeout : 0;
    const waitedMs = node.awakeMs - put.askedMs;
    this.invariants.add("answersInTime");
    const topic = `${node.name} ${node.life} ${put.topic}`;
    const slackMs = this.#topics.has(topic) ? ANSWER_SLACK_MS : FIRST_ANSWER_SLACK_MS;
    if (put.outcome?.stored != null) this.#topics.add(topic);
    if (waitedMs <= Math.max(forDisk, forSlaves) + slackMs) return;
    const what = put.outcome === null ? "has no answer" : `was answered with ${put.outcome.status}`;
    this.#cluster.report("answersInTime", `Put ${put.id} ${what} after ${waitedMs} ms`);
  }

  #checkSlavesOf(master: SimNode): void {
    for (const node of this.#cluster.nodes) {
      const { status } = this.#of(node);
      if (node.isUp && status?.master?.masterAddr === master.haAddress) this.#checkSlave(node, status);
    }
  }

  #checkSlave(slave: SimNode, status: NodeStatus): void {
    this.#checkPiece(slave, status);
    this.#checkStop(slave, status);
  }

  #of(node: SimNode): NodeMemory {
    let memory = this.#memory.get(node);
    if (memory === undefined) {
      memory = {
        status: null,
        appendedHigh: 0,
        flushedHigh: 0,
        wordAppended: 0,
        wordFlushed: 0,
        wordUntilMs: 0,
        lives: new Map(),
        durableFloor: 0,
        keptFloor: 0,
        staleUntilMs: 0,
        isSuspect: false,
        comparedTo: 0,
        comparedWith: "",
        isStopped: false,
        mirror: new LogMirror(),
      };
      this.#memory.set(node, memory);
    }
    return memory;
  }

  /** Recovery may shorten a log, and never alters what it keeps. */
  #checkRecovered(node: SimNode, { minOffset, maxOffset }: NodeStatus): void {
    const { mirror } = this.#of(node);
    const from = Math.max(minOffset, mirror.from);
    const end = Math.min(maxOffset, mirror.end);
    this.invariants.add("recoveredPrefix");
    if (from >= end) return;
    const kept = node.logBytes(from, end);
    if (Buffer.compare(kept, mirror.read(from, end)) === 0) return;
    this.#cluster.report("recoveredPrefix", `${node.name} has other bytes than it had, between ${from} and ${end}`);
  }

  /** Within a life a log only grows, but for a resync, which the operator allowed. */
  #checkPositions(node: SimNode, memory: NodeMemory, status: NodeStatus): void {
    const { name } = node;
    const { minOffset, maxOffset, flushedOffset, confirmOffset } = status;
    const isOrdered = flushedOffset <= maxOffset && confirmOffset <= maxOffset && minOffset <= maxOffset;
    this.invariants.holds("positionsInOrder", isOrdered, () => {
      return `${name}: min ${minOffset}, flushed ${flushedOffset}, confirm ${confirmOffset}, max ${maxOffset}`;
    });
    const before = memory.status;
    this.invariants.add("logOnlyGrows");
    if (before !== null && maxOffset < before.maxOffset) {
      if (node.options.resync !== true) {
        throw new Violation("logOnlyGrows", `${name}: log shrank from ${before.maxOffset} to ${maxOffset}`);
      }
      this.counters.cuts++;
      this.#checkCut(node, memory, before, status);
      memory.mirror.cut(minOffset, maxOffset);
      this.#onLoss(node, maxOffset);
      memory.appendedHigh = maxOffset;
      memory.flushedHigh = flushedOffset;
    }
    if (before !== null && flushedOffset < before.flushedOffset && maxOffset >= before.maxOffset) {
      throw new Violation("logOnlyGrows", `${name}: flushed fell from ${before.flushedOffset} to ${flushedOffset}`);
    }
    memory.appendedHigh = Math.max(memory.appendedHigh, maxOffset);
    memory.flushedHigh = Math.max(memory.flushedHigh, flushedOffset);
  }

  /** A cut took what differs from the master's log, and nothing else. */
  #checkCut(node: SimNode, { mirror }: NodeMemory, before: NodeStatus, { master, maxOffset }: NodeStatus): void {
    const masterNode = master?.masterAddr == null ? null : this.#cluster.nodeAt(master.masterAddr);
    // A master that is a slave itself may have been shorter a moment ago.
    if (masterNode === null || !masterNode.isUp || masterNode.status().brokerRole === "SLAVE") return;
    if (masterNode.isDamaged || node.isDamaged || mirror.from >= mirror.end) return;
    this.counters.judgedCuts++;
    const min = Math.max(before.minOffset, mirror.from);
    const own = { min, bytes: mirror.read(min, Math.min(before.maxOffset, mirror.end)) };
    const fault = judgeCut(node, masterNode, own, maxOffset);
    this.invariants.holds(
      "cutsOnlyTheRest",
      fault === "",
      () => `${node.name}, which follows ${masterNode.name}, ${fault}`,
    );
  }

  /** What was appended since the last look is whole, good records. */
  #checkAppended(node: SimNode, { mirror }: NodeMemory, { minOffset, maxOffset }: NodeStatus): void {
    const from = mirror.startOf(minOffset, maxOffset);
    if (from >= maxOffset) return;
    const bytes = node.logBytes(from, maxOffset);
    mirror.append(from, bytes);
    if (node.isDamaged) return;
    this.invariants.add("appendsOnlyGood");
    if (bytes.length !== maxOffset - from) {
      throw new Violation("appendsOnlyGood", `${node.name}: log is said to end at ${maxOffset}, files hold less`);
    }
    const { end, error } = deriveRecords(bytes, from, node.fileSize);
    if (end !== maxOffset) {
      throw new Violation("appendsOnlyGood", `${node.name} appended no whole, good record at ${end}: ${error}`);
    }
  }

  #checkBounds(node: SimNode, isFull: boolean): void {
    this.invariants.add("bounded");
    const { host, name } = node;
    const { network } = this.#cluster.world;
    const connections = network.connectionCount(name);
    const timersMax = BOUNDS.timers + connections + this.extraConnections;
    const surplus = isFull ? host.surplusFileCount : 0;
    const isBounded = surplus <= BOUNDS.surplusFiles && host.openFileCount <= BOUNDS.openFiles &&
      host.timerCount <= timersMax &&
      connections <= BOUNDS.connections + this.extraConnections &&
      network.queuedBytes(name) <= connections * BOUNDS.queuedBytes;
    if (isBounded) return;
    throw new Violation(
      "bounded",
      `${name} holds ${host.openFileCount} open files (surplus ${surplus}), ${host.timerCount} timers, ${connections} connections, ` +
        `${network.queuedBytes(name)} queued bytes`,
    );
  }

  /** No slave has acknowledged more than it had appended (with haAckAfterFlush: flushed). */
  #checkAcks(master: SimNode, { slaves, minOffset }: NodeStatus): void {
    for (const { addr, slaveAckOffset } of slaves) {
      const slave = this.#cluster.nodeAt(addr);
      if (slave === null) continue;
      const key = `${master.name} ${master.life} ${addr}`;
      const { appendedHigh, flushedHigh, lives } = this.#of(slave);
      let seen = this.#connections.get(key);
      if (seen === undefined) {
        this.#connections.set(key, seen = { life: lifeOf(slave, addr, lives), appended: 0, flushed: 0 });
      }
      const { appended, flushed } = seen.life === slave.life
        ? { appended: appendedHigh, flushed: flushedHigh }
        : lives.get(seen.life)!;
      // A cut lowers what it holds, not what it said before.
      seen.appended = Math.max(seen.appended, appended);
      seen.flushed = Math.max(seen.flushed, flushed);
      // An empty slave asks for the log's start (byte 1 when that is 0); a request counts as an ack.
      const limit = Math.max(1, minOffset, slave.options.haAckAfterFlush === true ? seen.flushed : seen.appended);
      this.counters.checkedAcks++;
      this.invariants.holds("ackedIsHeld", slaveAckOffset <= limit, () => {
        return `${slave.name} acknowledged ${slaveAckOffset} to ${master.name}, it holds ${limit}`;
      });
    }
  }

  /** A slave that says it follows holds a piece of its master's log. */
  #checkPiece(slave: SimNode, status: NodeStatus): void {
    const { master } = status;
    if (master === null || !master.verified || master.masterAddr === null) return;
    const masterNode = this.#cluster.nodeAt(master.masterAddr);
    if (masterNode === null || !masterNode.isUp || masterNode.isDamaged || slave.isDamaged) return;
    const masterMemory = this.#of(masterNode);
    const masterStatus = masterMemory.status;
    if (masterStatus === null) return;
    if (masterNode === this.#master) slave.isTrusted = true;
    if (this.#cluster.world.nowMs < masterMemory.staleUntilMs) return;
    const memory = this.#of(slave);
    const pair = `${masterNode.name} ${masterNode.life} ${slave.life}`;
    const end = status.maxOffset;
    // The master's status may be a moment older than the slave's.
    const masterEnd = Math.max(
      masterStatus.maxOffset,
      end > masterStatus.maxOffset ? masterNode.status().maxOffset : 0,
    );
    this.invariants.holds("pieceOfMaster", end <= masterEnd, () => {
      return `${slave.name} follows ${masterNode.name} and ends at ${end}, beyond it at ${masterEnd}`;
    });
    const isJoining = memory.comparedWith !== pair;
    if (isJoining || memory.comparedTo > end) {
      memory.comparedWith = pair;
      memory.comparedTo = 0;
    }
    if (isJoining) this.invariants.add("neverJoined");
    const from = Math.max(memory.comparedTo, status.minOffset, masterStatus.minOffset);
    if (from >= end) return;
    memory.comparedTo = end;
    this.counters.comparedBytes += end - from;
    const difference = firstDifference(slave, masterNode, from, end);
    if (difference >= 0) {
      const detail = `${slave.name} follows ${masterNode.name} and differs from it at ${difference}`;
      throw new Violation(isJoining ? "neverJoined" : "pieceOfMaster", detail);
    }
    if (masterNode.options.haTransferAfterFlush !== true) return;
    this.invariants.holds("transferAfterFlush", end <= masterMemory.flushedHigh, () => {
      return `${slave.name} ends at ${end}, beyond what ${masterNode.name} has flushed`;
    });
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
    // Who stops at what a damaged master sends is in the right.
    if (master?.isDamaged !== true) slave.isTrusted = false;
    // A master that is a slave itself may have been shorter a moment ago.
    if (master === null || !master.isUp || master.status().brokerRole === "SLAVE") return;
    if (master.isDamaged || slave.isDamaged) return;
    const isHole = status.maxOffset < master.status().minOffset;
    this.invariants.holds("trueStops", isHole || isDiverged(slave, master), () => {
      return `${slave.name} says "${status.master!.reason}", which is not so`;
    });
  }

  /** The node's log ends at `end` now and went further before. */
  #onLoss(node: SimNode, end: number): void {
    const memory = this.#of(node);
    memory.staleUntilMs = this.#cluster.world.nowMs + STALE_MS;
    memory.comparedWith = "";
    this.counters.lostOnRestart++;
    for (const put of this.#workload.promises) if (endOf(put) > end) put.holders.delete(node.name);
    this.onLost(node, end);
    if (node === this.#master) this.#voidPromisesNotHeldBy(node);
  }

  /**
   * A master that came back with less, within what its settings allow, takes the promise along. So does a damaged one:
   * recovery cuts at what it can't read, and nobody knows of the damage yet.
   */
  #voidPromisesNotHeldBy(master: SimNode): void {
    const end = master.status().maxOffset;
    for (const put of this.#workload.promises) {
      if (!put.isPromised || (master.isDamaged ? endOf(put) <= end : holds(master, put))) continue;
      put.isPromised = false;
      this.counters.voidedByRestart++;
    }
  }

  /** Refused before anything was written, in this very event. */
  #checkRefusal({ id, node, waits, outcome }: PutRecord): void {
    const { inSyncSlaveNums, brokerRole } = node.status();
    const { minInSyncReplicas } = node.broker!.admin.config();
    // It may have become a slave in this event, too.
    const isRight = waits && brokerRole !== "ASYNC_MASTER" && 1 + inSyncSlaveNums < minInSyncReplicas;
    this.invariants.add("inSyncCounted");
    if (isRight && outcome!.stored === null) return;
    const detail =
      `Put ${id} is refused with ${inSyncSlaveNums} slaves in sync, wanted are ${minInSyncReplicas} copies`;
    this.#cluster.report("inSyncCounted", detail);
  }

  /**
   * A remoting client has its SEND_OK: a promise from now on, where the node that gave it is the master still, in the same
   * life, and holds the record. Null where the answer was overtaken.
   */
  promise(sent: SentPut): PutRecord | null {
    const { node, life, physicalOffset, key } = sent;
    if (!node.isUp || node.life !== life || node.isDamaged || node !== this.#master) return null;
    const { maxOffset } = node.status();
    const head = node.logBytes(physicalOffset, Math.min(physicalOffset + 4, maxOffset));
    const storeSize = head.length < 4 ? 0 : Buffer.from(head).readInt32BE();
    const record = node.logBytes(physicalOffset, physicalOffset + Math.max(0, storeSize));
    if (physicalOffset + storeSize > maxOffset || !Buffer.from(record).includes(key)) return null;
    const { topic, queueId, body } = sent;
    const stored = { msgId: "", queueId, queueOffset: -1, physicalOffset, storeSize, storeTimestamp: 0 };
    const put: PutRecord = {
      ...{ id: SENT_IDS + sent.id, node, life, topic, queueId, body, waits: true, askedMs: node.awakeMs, key },
      outcome: { status: "PUT_OK", remark: null, stored },
      isPromised: true,
      record,
      holders: new Set([node.name]),
    };
    this.#workload.sent.push(put);
    return put;
  }

  /** PUT_OK: who holds it now, and are they as many as was promised? */
  #onAnswer(put: PutRecord): void {
    const { outcome, node, waits } = put;
    this.#checkInTime(put);
    if (outcome?.status === "IN_SYNC_REPLICAS_NOT_ENOUGH") this.#checkRefusal(put);
    if (outcome?.status !== "PUT_OK" || outcome.stored === null || node.isDamaged) return;
    const { physicalOffset, storeSize } = outcome.stored;
    const end = physicalOffset + storeSize;
    const status = node.status();
    if (status.maxOffset < end) {
      return this.#cluster.report("promisedCopies", `Put ${put.id} is OK and ends at ${end}, beyond the log`);
    }
    const bytes = node.logBytes(physicalOffset, end);
    let copies = 1;
    put.holders.add(node.name);
    for (const other of this.#cluster.nodes) {
      if (other === node) continue;
      const memory = this.#of(other);
      const isAckFlushed = other.options.haAckAfterFlush === true;
      const held = isAckFlushed ? memory.flushedHigh : memory.appendedHigh;
      const isThere = other.isUp && !other.isDamaged && memory.appendedHigh >= end &&
        Buffer.compare(bytes, other.logBytes(physicalOffset, end)) === 0;
      if (isThere) put.holders.add(other.name);
      // A slave may have died since it acknowledged, or lost what it had, or misplaced it: then only its word counts.
      const isLate = this.#cluster.world.nowMs < memory.wordUntilMs;
      const word = isLate && !isThere ? Math.max(held, isAckFlushed ? memory.wordFlushed : memory.wordAppended) : held;
      const isWord = isThere || !other.isUp || other.isDamaged || word > held;
      if (isWord && word >= end) copies++;
    }
    put.record = bytes;
    put.isPromised = node === this.#master;
    const config = node.broker!.admin.config();
    if (!waits) return;
    if (status.brokerRole === "SYNC_MASTER") {
      const wanted = config.enableAutoInSyncReplicas ? config.minInSyncReplicas : config.inSyncReplicas;
      this.invariants.add("promisedCopies");
      if (copies < wanted) {
        this.#cluster.report("promisedCopies", `Put ${put.id} is OK with ${copies} copies, promised are ${wanted}`);
      }
    }
    if (config.flushDiskType === "SYNC_FLUSH") {
      this.invariants.add("promisedFlush");
      if (status.flushedOffset < end) {
        const detail = `Put ${put.id} is OK and ends at ${end}, flushed is ${status.flushedOffset}`;
        this.#cluster.report("promisedFlush", detail);
      }
    }
  }
}

/** Whether no disk can be blamed for it: what a node foresees of disks are these errors. */
function isBug(error: unknown): boolean {
  return !(error instanceof IoError || error instanceof StoreError);
}

function described(error: unknown): string {
  return isBug(error) && error instanceof Error ? `${error.stack}` : `${error}`;
}

/** End of what a put wrote, bytes; -1 when nothing was. */
export function endOf({ outcome }: PutRecord): number {
  return outcome?.stored == null ? -1 : outcome.stored.physicalOffset + outcome.stored.storeSize;
}

/** Whether the running node has the record of a put that was answered with PUT_OK; what expired counts as held. */
export function holds(node: SimNode, put: PutRecord): boolean {
  if (!node.isUp || put.record === null) return false;
  const { minOffset, maxOffset } = node.status();
  const end = endOf(put);
  if (end <= minOffset || end > maxOffset) return end <= minOffset;
  return Buffer.compare(put.record, node.logBytes(end - put.record.length, end)) === 0;
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

/** The life in which a node made the connection from `addr`; what it sent may come in after its end. */
function lifeOf(node: SimNode, addr: string, lives: ReadonlyMap<number, EndedLife>): number {
  const port = Number(addr.slice(addr.lastIndexOf(":") + 1));
  for (const [life, { nextPort }] of lives) if (port < nextPort) return life;
  return node.life;
}
