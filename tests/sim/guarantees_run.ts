// Histories for the table of guarantees: two real nodes, a load, one moment at which the master ends as its cell says,
// and then both ways on: what the promoted slave serves, and what the old master has when it is started by itself.
// It finds out; what may be missing is for guarantees.ts to say and for the tests to judge.

import assert from "node:assert/strict";
import type { Config } from "../../src/config/schema.ts";
import type { CrashMode } from "../../src/runtime/simulated/mod.ts";
import type { SimNode } from "./cluster.ts";
import type { Cell, Failure } from "./guarantees.ts";
import { CONVERGE_MS } from "./operator.ts";
import { Scene } from "./scene.ts";
import type { PutRecord } from "./workload.ts";

/** When the master ends. */
export const MOMENTS = ["steady", "lagging", "burst"] as const;
export type Moment = (typeof MOMENTS)[number];

/** What a loss of power leaves; undefined: drawn for each file. */
export const CRASH_MODES: readonly (CrashMode | undefined)[] = ["drop", "tear", undefined];

/** Longest sync of a healthy simulated disk, and what timers may be late, ms. */
const SYNC_MS_MAX = 4;
const LATE_MS = 5;
/** Under SYNC_FLUSH, what nobody waits for is flushed so often, ms. */
const SYNC_FLUSH_INTERVAL_MS = 10;
/** Short, so that little world time holds bytes that must be on the disk, and bytes that need not. */
const FLUSH: Partial<Config> = { flushIntervalCommitLog: 100, flushCommitLogThoroughInterval: 250 };
/** How long the link to the slave stands still in a "lagging" history, ms. */
const CLOG_MS = 3_000;

/** What a cell's history found. */
export interface History {
  /** Put, answered PUT_OK, and not to be read any more. */
  readonly lostRestarted: readonly PutRecord[];
  readonly lostPromoted: readonly PutRecord[];
  readonly promised: readonly PutRecord[];
  /** Right before the end: what the slave had acknowledged. */
  readonly ackedOffset: number;
  /** What each node had appended a flush window before the end: all of it is on its disk. */
  readonly masterOldOffset: number;
  readonly slaveOldOffset: number;
}

/** How one history of a cell goes. */
export interface HistoryOptions {
  readonly cell: Cell;
  readonly seed: number;
  readonly moment: Moment;
  readonly mode: CrashMode | undefined;
  /** The slave's machine loses power in the same moment. */
  readonly both: boolean;
}

/** The longest that an appended byte stays off the disk without a failure, ms of world time. */
export function flushWindowMs({ flushDiskType, ...intervals }: Config): number {
  const { flushIntervalCommitLog, flushCommitLogThoroughInterval } = intervals;
  const waitMs = flushDiskType === "SYNC_FLUSH"
    ? SYNC_FLUSH_INTERVAL_MS
    : flushIntervalCommitLog + flushCommitLogThoroughInterval;
  return waitMs + 2 * SYNC_MS_MAX + LATE_MS;
}

/** Runs one history to its end: afterwards everybody follows again, and every store is sound. */
export async function runHistory({ cell, seed, moment, mode, both }: HistoryOptions): Promise<History> {
  const { failure, ...settings } = cell;
  const scene = await Scene.of(seed, ["second"], { ...FLUSH, ...settings });
  const [first, second] = [scene.first, scene.node("second")];
  for (const node of [first, second]) node.host.disk.options.writeBackPerMillion = writeBackOf(failure);
  await scene.cluster.run(() => first.status().inSyncSlaveNums === 1, 10_000);
  const ends = new EndLog(scene);

  await reach(scene, moment, seed);
  const facts = await fail(scene, { failure, mode, both, ends });
  scene.workload.stop();
  const promised = promisedIn(scene);
  assert.ok(promised.length > 0);

  if (both) await scene.cluster.drive(second.start());
  await scene.cluster.drive(scene.operator.failOver());
  assert.equal(scene.operator.master, second);
  const lostPromoted = await missing(scene, second, promised);

  // By itself: nobody may lend it what it has lost.
  scene.cluster.world.network.isolate(first.name);
  await scene.cluster.drive(first.start());
  const lostRestarted = await missing(scene, first, promised);
  scene.cluster.world.network.heal();
  await scene.ends();
  return { lostRestarted, lostPromoted, promised, ...facts };
}

/** All that was answered PUT_OK. */
export function promisedIn(scene: Scene): PutRecord[] {
  return scene.workload.ledger.filter((put) => put.outcome?.status === "PUT_OK" && put.waits);
}

/** Which of these puts the node's readers can't get. */
export async function missing(scene: Scene, node: SimNode, puts: readonly PutRecord[]): Promise<PutRecord[]> {
  assert.ok(node.isUp, `${node.name} does not start: ${node.failure}`);
  await scene.cluster.run(() => {
    const { confirmOffset, maxOffset, dispatchBehindBytes } = node.status();
    return confirmOffset === maxOffset && dispatchBehindBytes === 0;
  }, CONVERGE_MS);
  const bodies = await readAll(scene, node);
  const { ledger } = scene.workload;
  for (const [id, body] of bodies) {
    const put = ledger[id];
    if (put !== undefined) assert.equal(Buffer.compare(body, put.body), 0, `Put ${id} is served with another body`);
  }
  return puts.filter((put) => !bodies.has(put.id));
}

/** Every message that the node serves by queue offset, by put. */
export async function readAll(scene: Scene, node: SimNode): Promise<Map<number, Uint8Array>> {
  const { admin } = node.broker!;
  const bodies = new Map<number, Uint8Array>();
  for (const topic of new Set(scene.workload.ledger.map((put) => put.topic))) {
    for (const { queueId, minOffset, maxOffset } of admin.queues(topic) ?? []) {
      for (let offset = minOffset; offset < maxOffset;) {
        const read = await scene.cluster.drive(admin.readByQueueOffset({ topic, queueId, offset, maxNum: 256 }));
        for (const message of read!.messages) bodies.set(message.flag, message.body);
        offset = Math.max(offset + 1, read!.nextOffset);
      }
    }
  }
  return bodies;
}

/** Empties a machine that is down: another one with the same name takes its place. */
export function replaceMachine(scene: Scene, node: SimNode): void {
  // Nothing that it held has to be there.
  scene.checker.suspect(node);
  node.crash("drop");
  node.host.restart().fs.remove("/store");
}

/** After an OS crash much of what the kernel had is on the disk, after a power cut only what was synced, or by luck. */
function writeBackOf(failure: Failure): number {
  return failure === "OS crash" ? 500_000 : 0;
}

/** Remembers both logs' ends over time. */
class EndLog {
  readonly #scene: Scene;
  readonly #ends = new Map<SimNode, { atMs: number; maxOffset: number }[]>();

  constructor(scene: Scene) {
    this.#scene = scene;
    scene.cluster.listeners.push({ onStep: () => this.#note() });
  }

  #note(): void {
    for (const node of this.#scene.cluster.nodes) {
      if (!node.isUp) continue;
      const ends = this.#ends.get(node) ?? [];
      this.#ends.set(node, ends);
      const { maxOffset } = node.status();
      if (maxOffset !== ends.at(-1)?.maxOffset) ends.push({ atMs: this.#scene.cluster.world.nowMs, maxOffset });
    }
  }

  /** Where the node's log ended a flush window before now. */
  oldEnd(node: SimNode): number {
    const config = this.#scene.first.broker?.admin.config() ?? this.#scene.node("second").broker!.admin.config();
    const sinceMs = this.#scene.cluster.world.nowMs - flushWindowMs(config);
    return this.#ends.get(node)?.findLast(({ atMs }) => atMs <= sinceMs)?.maxOffset ?? 0;
  }
}

/** Puts, until the moment has come. */
async function reach(scene: Scene, moment: Moment, seed: number): Promise<void> {
  const { cluster, workload, first } = scene;
  const answers = (count: number) => {
    const goal = workload.okCount + count;
    return () => workload.okCount >= goal;
  };
  workload.start(first);
  // So long that some of it is older than a flush window, at times with little and at times with much dirty.
  await cluster.advance(350 + (seed % 7) * 50);
  await cluster.run(answers(4 + seed % 5), 10_000);
  if (moment === "steady") return;
  if (moment === "burst") {
    for (let i = 0; i < 12; i++) void workload.put(first);
    await cluster.run(answers(1 + seed % 12), 10_000);
    return;
  }
  cluster.world.network.clog(first.name, "second", CLOG_MS);
  if (first.status().brokerRole === "ASYNC_MASTER") await cluster.run(answers(3), 10_000);
  else await cluster.advance(150);
}

interface FailOptions {
  readonly failure: Failure;
  readonly mode: CrashMode | undefined;
  readonly both: boolean;
  readonly ends: EndLog;
}

type Facts = Pick<History, "ackedOffset" | "masterOldOffset" | "slaveOldOffset">;

/** Ends the master as the cell says, and with `both` the slave in the same moment; returns what was so right before. */
async function fail(scene: Scene, { failure, mode, both, ends }: FailOptions): Promise<Facts> {
  const { cluster, first } = scene;
  const second = scene.node("second");
  const facts = (): Facts => ({
    ackedOffset: Math.max(0, ...first.status().slaves.map(({ slaveAckOffset }) => slaveAckOffset)),
    masterOldOffset: ends.oldEnd(first),
    slaveOldOffset: ends.oldEnd(second),
  });
  if (failure === "disk broken") return await breakDisk(scene, { mode, both, facts });
  const before = facts();
  const stopping = failure === "clean stop" ? first.stop() : null;
  if (failure === "broker crash") first.kill();
  else if (failure !== "clean stop") first.crash(mode);
  if (both) second.crash(mode);
  if (stopping !== null) await cluster.drive(stopping);
  if (failure === "machine lost") replaceMachine(scene, first);
  return before;
}

/** A sync fails, the node ends itself, and its machine is started anew: only the disk's word counts then. */
async function breakDisk(
  scene: Scene,
  { mode, both, facts }: { mode: CrashMode | undefined; both: boolean; facts: () => Facts },
): Promise<Facts> {
  const { cluster, checker, first } = scene;
  checker.suspect(first);
  let before: Facts | null = null;
  let isOver = false;
  cluster.listeners.push({
    onStep: () => {
      if (!isOver && first.isUp) before = facts();
    },
    onDown: () => {
      if (isOver) return;
      isOver = true;
      if (both) scene.node("second").crash(mode);
    },
  });
  first.host.disk.failNext({ operation: "sync", path: "/commitlog/" });
  await cluster.run(() => first.isDown, 10_000);
  assert.match(String(first.failure), /EIO/);
  first.crash(mode);
  return before!;
}
