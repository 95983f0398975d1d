// What must hold once the faults are over: with every node running and nothing to do (checkQuiet), and with every node
// stopped (checkAtRest), when the files are held against what the log alone says. Also the rehearsal of a recovery.

import { startsOnly } from "./store_only.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import type { SimCluster, SimNode } from "./cluster.ts";
import { BOUNDS, firstDifference, holds } from "./checkers.ts";
import { type DerivedRecord, deriveRecords, indexFileFault, parseIndexFile } from "./derive.ts";
import { InvariantCounts, Violation } from "./invariants.ts";
import type { Workload } from "./workload.ts";

/**
 * Timers that a node without load may have set, beyond one per connection: six of the store and of replication, and seven
 * of what waits there or is to be written (delay levels, transactions, timers: two each; group offsets).
 */
const QUIET_TIMERS_MAX = 13;
/** Events pending per node without load. */
const PENDING_EVENTS_MAX = 30;
/** Pause after the end of all programs, ms: longer than whatever the harness itself has put off. */
const REST_MS = 30_000;
const UNIT_SIZE = 20;
const PRE_BLANK_SIZE = 0x7fff_ffff;

/** Everything follows and nothing happens: logs equal, the ledger's messages there, queues gapless, nothing piled up. */
export async function checkQuiet(
  cluster: SimCluster,
  master: SimNode,
  workload: Workload,
  invariants = new InvariantCounts(),
): Promise<void> {
  for (const node of cluster.nodes) {
    const status = node.status();
    const from = Math.max(status.minOffset, master.status().minOffset);
    const difference = node === master ? -1 : firstDifference(node, master, from, status.maxOffset);
    invariants.holds("pieceOfMaster", difference < 0, () => {
      return `${node.name} differs from its master ${master.name} at ${difference}`;
    });
    const connections = cluster.world.network.connectionCount(node.name);
    const { timerCount, openFileCount } = node.host;
    const timersMax = QUIET_TIMERS_MAX + connections;
    const isBounded = connections <= BOUNDS.connections && openFileCount <= BOUNDS.openFiles &&
      node.host.surplusFileCount === 0 && timerCount <= timersMax;
    invariants.holds("bounded", isBounded, () => {
      return `${node.name} at rest holds ${connections} connections, ${openFileCount} files, ${timerCount} timers`;
    });
    await checkMessages(cluster, node, workload, invariants);
  }
  for (const put of workload.ledger) {
    if (!put.isPromised) continue;
    invariants.holds("promisedMessages", holds(master, put), () => {
      return `Put ${put.id} was promised, and ${master.name}, the master in the end, does not hold it`;
    });
  }
  const pendingMax = PENDING_EVENTS_MAX * cluster.nodes.length;
  invariants.holds("bounded", cluster.world.pendingCount <= pendingMax, () => {
    return `${cluster.world.pendingCount} events are pending`;
  });
}

/** Reads every queue of a node: offsets without a gap, and every message it must hold is there. */
async function checkMessages(
  cluster: SimCluster,
  node: SimNode,
  workload: Workload,
  invariants: InvariantCounts,
): Promise<void> {
  const { admin } = node.broker!;
  const { minOffset } = node.status();
  const found = new Map<number, Uint8Array>();
  for (const topic of new Set(workload.ledger.map((put) => put.topic))) {
    for (const { queueId, minOffset: first, maxOffset } of admin.queues(topic) ?? []) {
      for (let offset = first; offset < maxOffset;) {
        const request = { topic, queueId, offset, maxNum: 256 };
        const result = await cluster.drive(admin.readByQueueOffset(request));
        const messages = result?.messages ?? [];
        invariants.holds("queueOffsets", messages.length > 0, () => {
          return `${node.name}: ${topic}/${queueId} has no message ${offset} of ${maxOffset}`;
        });
        for (const message of messages) {
          invariants.holds("queueOffsets", message.queueOffset === offset && !found.has(message.flag), () => {
            return found.has(message.flag)
              ? `${node.name} holds message ${message.flag} twice`
              : `${node.name}: ${topic}/${queueId} has message ${message.queueOffset} at ${offset}`;
          });
          found.set(message.flag, message.body);
          offset++;
        }
      }
    }
  }
  for (const put of workload.ledger) {
    if (!put.holders.has(node.name) && !holds(node, put)) continue;
    if (put.outcome!.stored!.physicalOffset < minOffset) continue;
    const body = found.get(put.id);
    invariants.holds("heldMessages", body !== undefined && Buffer.compare(put.body, body) === 0, () => {
      const where = `put ${put.id} at ${put.outcome!.stored!.physicalOffset}`;
      return body === undefined ? `${node.name} has lost ${where}` : `${node.name} holds ${where} with another body`;
    });
  }
  await checkKeys(cluster, node, workload, invariants);
}

/** A few held messages, the oldest and the newest among them, are found by their keys. */
async function checkKeys(
  cluster: SimCluster,
  node: SimNode,
  workload: Workload,
  invariants: InvariantCounts,
): Promise<void> {
  if (!node.config().messageIndexEnable) return;
  const { minOffset } = node.status();
  const held = workload.ledger.filter((put) =>
    put.holders.has(node.name) && put.outcome!.stored!.physicalOffset >= minOffset
  );
  const step = Math.max(1, Math.floor(held.length / 5));
  for (let i = held.length - 1; i >= 0; i -= step) {
    const put = held[i]!;
    const request = { topic: put.topic, key: put.key, begin: 0, end: Number.MAX_SAFE_INTEGER, maxNum: 8 };
    const messages = await cluster.drive(node.broker!.admin.readByKey(request));
    const isFound = messages.some((message) => message.flag === put.id);
    invariants.holds("heldMessages", isFound, () => {
      return `${node.name} does not find put ${put.id} at ${put.outcome!.stored!.physicalOffset} by key ${put.key}`;
    });
  }
}

/** Nodes stopped in order: files are what the log says, nothing is left behind, and recovering changes no byte. */
export async function checkAtRest(cluster: SimCluster, invariants = new InvariantCounts()): Promise<void> {
  // A master that stops says which transactions are ended: its log may still grow until it has.
  const ends = new Map<SimNode, number>();
  cluster.listeners.push({ onStopped: (node) => void ends.set(node, node.status().maxOffset) });
  await cluster.stopAll();
  for (const node of cluster.nodes) {
    const { fs } = node.host.isRunning ? node.host.runtime : node.host.restart();
    const shape = { maxHashSlotNum: node.setting("maxHashSlotNum"), maxIndexNum: node.setting("maxIndexNum") };
    const result = await cluster.drive(verifyStore(fs, "/store", shape));
    const { finding } = result;
    invariants.holds("storeVerifies", finding === null && result.notDispatched === 0, () => {
      return finding === null
        ? `${node.name}: ${result.notDispatched} records have no consume queue unit`
        : `${node.name}: verify finds ${finding.field} at ${finding.offset}: ${finding.reason}`;
    });
    invariants.holds("survivesRestart", result.maxOffset === ends.get(node), () => {
      return `${node.name}: log ends at ${result.maxOffset}, not ${ends.get(node)}`;
    });
    checkDerived(node, result.minOffset, result.maxOffset, invariants);
    node.host.kill();
  }
  await checkNothingPending(cluster, invariants);
  for (const node of cluster.nodes) await checkRecovery(cluster, node, invariants);
}

/** A program that has ended leaves no timer, connection or work behind. */
async function checkNothingPending(cluster: SimCluster, invariants: InvariantCounts): Promise<void> {
  for (const { host } of cluster.nodes) if (host.isRunning) host.kill();
  if (cluster.client.isRunning) cluster.client.kill();
  await cluster.advance(REST_MS);
  const { pendingCount } = cluster.world;
  invariants.holds("noLeftovers", pendingCount === 0, () => `${pendingCount} events are pending after the end of all`);
}

/** Consume queues and index files, byte for byte, against the log's records. */
function checkDerived(node: SimNode, minOffset: number, maxOffset: number, invariants: InvariantCounts): void {
  const records: DerivedRecord[] = [];
  const bytes = node.logBytes(minOffset, maxOffset);
  const { end, error } = deriveRecords(bytes, minOffset, node.fileSize, (record) => records.push(record));
  invariants.holds(
    "appendsOnlyGood",
    end === maxOffset,
    () => `${node.name}: no whole, good record at ${end}: ${error}`,
  );
  checkConsumeQueues(node, records, minOffset, invariants);
  checkIndexes(node, records, minOffset, invariants);
}

function checkConsumeQueues(
  node: SimNode,
  records: readonly DerivedRecord[],
  minOffset: number,
  invariants: InvariantCounts,
): void {
  const { disk } = node.host;
  const wanted = new Map<string, DerivedRecord[]>();
  for (const record of records) {
    const key = `/store/consumequeue/${record.topic}/${record.queueId}/`;
    const queue = wanted.get(key);
    if (queue === undefined) wanted.set(key, [record]);
    else queue.push(record);
  }
  const paths = disk.files().filter((path) => path.startsWith("/store/consumequeue/"));
  for (const path of paths) {
    const key = path.slice(0, path.lastIndexOf("/") + 1);
    if (!wanted.has(key)) wanted.set(key, []);
  }
  const fail = (detail: string): never => {
    throw new Violation("consumeQueues", `${node.name}: ${detail}`);
  };
  for (const [key, queue] of wanted) {
    const byOffset = new Map(queue.map((record) => [record.queueOffset, record]));
    let seen = 0;
    for (const path of paths.filter((each) => each.startsWith(key))) {
      const bytes = disk.peek(path);
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      const first = Number(path.slice(key.length)) / UNIT_SIZE;
      for (let at = 0; at + UNIT_SIZE <= bytes.length; at += UNIT_SIZE) {
        const queueOffset = first + at / UNIT_SIZE;
        const [pos, size] = [Number(view.getBigInt64(at)), view.getInt32(at + 8)];
        const tagsCode = Number(view.getBigInt64(at + 12));
        const record = byOffset.get(queueOffset);
        if (record === undefined) {
          // Before the log's first record of the queue: expired, or never here. Behind its last: nothing.
          const isBefore = queue.length === 0 || queueOffset < queue[0]!.queueOffset;
          const isFine = size === 0
            ? pos === 0 && tagsCode === 0
            : isBefore && (size === PRE_BLANK_SIZE || pos < minOffset);
          if (!isFine) {
            fail(`unit ${queueOffset} of ${key} points at ${pos}, ${size} bytes, of which the log says nothing`);
          }
          continue;
        }
        seen++;
        if (pos !== record.offset || size !== record.size || tagsCode !== record.tagsCode) {
          const want = `${record.offset}, ${record.size} bytes, tags ${record.tagsCode}`;
          fail(`unit ${queueOffset} of ${key} says ${pos}, ${size} bytes, tags ${tagsCode}, the log says ${want}`);
        }
      }
    }
    if (seen !== queue.length) fail(`${key} has units for ${seen} of the log's ${queue.length} records`);
    invariants.add("consumeQueues", queue.length);
  }
}

/** Each file for itself, then all entries together: those of the log's records, in order; some of expired ones before. */
function checkIndexes(
  node: SimNode,
  records: readonly DerivedRecord[],
  minOffset: number,
  invariants: InvariantCounts,
): void {
  const { disk } = node.host;
  // A node that could not dispatch all in time leaves in disorder: the next start builds the rest of the index.
  if (disk.find("/store/abort") !== null || node.options.messageIndexEnable === false) return;
  const slotCount = node.setting("maxHashSlotNum");
  const seen: string[] = [];
  const fail = (detail: string): never => {
    throw new Violation("indexes", `${node.name}: ${detail}`);
  };
  for (const path of disk.files().filter((each) => each.startsWith("/store/index/"))) {
    const file = parseIndexFile(disk.peek(path), slotCount);
    const fault = indexFileFault(file);
    if (fault !== "") fail(`${path}: ${fault}`);
    for (const entry of file.entries) {
      if (entry.phyOffset >= minOffset) seen.push(`${entry.phyOffset} ${entry.keyHash}`);
    }
    invariants.add("indexes", file.entries.length);
  }
  // A file that was full in the midst of a message's keys lets that message be indexed once more after a crash.
  const isNew = once();
  const actual = seen.filter(isNew);
  const isWanted = once();
  const wanted = records.flatMap((record) => record.keyHashes.map((hash) => `${record.offset} ${hash}`)).filter(
    isWanted,
  );
  for (let i = 0; i < Math.max(actual.length, wanted.length); i++) {
    if (actual[i] !== wanted[i]) fail(`entry ${i} of the index is "${actual[i]}", the log says "${wanted[i]}"`);
  }
}

function once(): (value: string) => boolean {
  const known = new Set<string>();
  return (value) => !known.has(value) && known.add(value) !== undefined;
}

/**
 * Recovers the store of a node that is down, dies, and recovers again: after the first time no byte of log and queues
 * changes any more. Can stand between a death and the next start. False when the node could not be recovered here.
 */
export async function checkRecovery(
  cluster: SimCluster,
  node: SimNode,
  invariants: InvariantCounts,
): Promise<boolean> {
  const { life } = node;
  const images: Map<string, string>[] = [];
  for (let round = 0; round < 2; round++) {
    const isDone = await startsOnly(node, life);
    if (!isDone) return false;
    images.push(fingerprints(node));
  }
  if (node.isDamaged) return false;
  invariants.add("recoveryIsIdempotent");
  for (const [path, print] of images[0]!) {
    if (images[1]!.get(path) === print && images[1]!.size === images[0]!.size) continue;
    cluster.report("recoveryIsIdempotent", `${node.name}: a second recovery changes ${path}`);
    return false;
  }
  return true;
}

function fingerprints(node: SimNode): Map<string, string> {
  const { disk } = node.host;
  const paths = disk.files().filter((path) => /^\/store\/(commitlog|consumequeue)\//.test(path));
  return new Map(paths.map((path) => [path, Buffer.from(disk.peek(path)).toString("latin1")]));
}
