// What docs/guarantees.md says around its table: what each answer is worth, other numbers of replicas, what an operator
// decides, disks that break. One scenario for each statement, whole nodes on simulated machines; where a statement says
// "may or may not", both histories are shown.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PutOutcome } from "../../src/admin/admin_port.ts";
import type { Config } from "../../src/config/schema.ts";
import { endOf } from "./checkers.ts";
import type { SimNode } from "./cluster.ts";
import { type Statement, STATEMENTS } from "./guarantees.ts";
import { missing, promisedIn, readAll, replaceMachine } from "./guarantees_run.ts";
import { Scene } from "./scene.ts";
import type { PutRecord } from "./workload.ts";

/** Nothing reaches the disk by time. */
const LAZY: Partial<Config> = { flushIntervalCommitLog: 3_600_000, flushCommitLogThoroughInterval: 3_600_000 };
const SYNC: Partial<Config> = { brokerRole: "SYNC_MASTER" };
const SYNC_BOTH: Partial<Config> = { ...SYNC, flushDiskType: "SYNC_FLUSH" };
const COMMIT_LOG = "/commitlog/";
const BODY_SIZE = 900;

/** A scene whose slaves are all in sync, and hold the first messages. */
async function stage(seed: number, slaves: readonly string[], shared: Partial<Config>): Promise<Scene> {
  const scene = await Scene.of(seed, slaves, shared);
  const { first } = scene;
  await scene.cluster.run(() => first.status().inSyncSlaveNums === slaves.length, 10_000);
  await puts(scene, 3);
  for (const name of slaves) await scene.follows(scene.node(name));
  return scene;
}

/** Puts messages one after another; returns them. */
async function puts(scene: Scene, count: number, node: SimNode = scene.operator.master): Promise<PutRecord[]> {
  const records: PutRecord[] = [];
  for (let i = 0; i < count; i++) records.push(await scene.cluster.drive(scene.workload.put(node, BODY_SIZE)));
  return records;
}

async function putAnswered(scene: Scene, status: string): Promise<PutRecord> {
  const [put] = await puts(scene, 1);
  assert.equal(put!.outcome?.status, status);
  return put!;
}

/** Starts a node where nobody can lend it what it lost, and says which of these puts it lacks. */
async function startAlone(scene: Scene, node: SimNode, wanted: readonly PutRecord[]): Promise<number[]> {
  scene.cluster.world.network.isolate(node.name);
  await scene.cluster.drive(node.start());
  return lacks(scene, node, wanted);
}

async function lacks(scene: Scene, node: SimNode, wanted: readonly PutRecord[]): Promise<number[]> {
  return (await missing(scene, node, wanted)).map((put) => put.id);
}

async function failOver(scene: Scene, to: SimNode): Promise<void> {
  await scene.cluster.drive(scene.operator.failOver());
  assert.equal(scene.operator.master, to);
}

async function ends(scene: Scene): Promise<void> {
  scene.cluster.world.network.heal();
  await scene.ends();
}

/** The checker of every step knows logs that are cut or short, not damaged ones: it stops looking. */
function expectDamage(scene: Scene): void {
  const { listeners } = scene.cluster;
  listeners.splice(listeners.indexOf(scene.checker), 1);
}

/** Flips a bit in the body of a message, on the disk. */
function damage(node: SimNode, put: PutRecord): void {
  const at = put.outcome!.stored!.physicalOffset + 300;
  const fileStart = at - at % node.fileSize;
  const path = `/store/commitlog/${String(fileStart).padStart(20, "0")}`;
  assert.ok(node.host.disk.flipBit(path, at - fileStart, 5));
}

const ids = (records: readonly PutRecord[]): number[] => records.map((put) => put.id);

const ANSWERS = {
  "answers: PUT_OK to WAIT=false": async () => {
    const scene = await stage(101, ["second"], SYNC_BOTH);
    const { cluster, first } = scene;
    cluster.world.network.clog("first", "second", 5_000);
    const before = cluster.world.nowMs;
    const properties = new Map([["WAIT", "false"]]);
    const request = { topic: "TopicA", queueId: 0, body: new Uint8Array(100), properties, flag: 9_999 };
    const answer: PutOutcome | null = await cluster.drive(first.ask(({ admin }) => admin.put(request)));
    assert.equal(answer?.status, "PUT_OK");
    assert.ok(cluster.world.nowMs - before < 5_000 && first.status().flushedOffset < first.status().maxOffset);
    first.crash("drop");
    cluster.world.network.heal();
    await failOver(scene, scene.node("second"));
    assert.equal((await readAll(scene, scene.node("second"))).has(9_999), false);
    assert.deepEqual(await startAlone(scene, first, promisedIn(scene)), []);
    assert.equal((await readAll(scene, first)).has(9_999), false);
    await ends(scene);
  },

  "answers: FLUSH_DISK_TIMEOUT": async () => {
    for (const survives of [false, true]) {
      const scene = await stage(102, ["second"], { ...SYNC_BOTH, syncFlushTimeout: 300 });
      const { cluster, first } = scene;
      first.host.disk.stall(2_000);
      const put = await putAnswered(scene, "FLUSH_DISK_TIMEOUT");
      if (survives) await cluster.run(() => first.status().flushedOffset >= endOf(put), 10_000);
      if (survives) assert.deepEqual(await lacks(scene, first, [put]), []);
      first.crash("drop");
      await failOver(scene, scene.node("second"));
      assert.deepEqual(await lacks(scene, scene.node("second"), [put]), [], "replicated as asked");
      assert.deepEqual(await startAlone(scene, first, [put]), survives ? [] : [put.id]);
      await ends(scene);
    }
  },

  "answers: FLUSH_SLAVE_TIMEOUT": async () => {
    for (const survives of [false, true]) {
      const scene = await stage(103, ["second"], SYNC);
      const { cluster, first } = scene;
      cluster.world.network.clog("first", "second", 1_800);
      const put = await putAnswered(scene, "FLUSH_SLAVE_TIMEOUT");
      assert.deepEqual(await lacks(scene, first, [put]), []);
      if (survives) await scene.follows(scene.node("second"));
      first.kill();
      await failOver(scene, scene.node("second"));
      assert.deepEqual(await lacks(scene, scene.node("second"), [put]), survives ? [] : [put.id]);
      await ends(scene);
    }
  },

  "answers: SLAVE_NOT_AVAILABLE": async () => {
    for (const survives of [false, true]) {
      const scene = await stage(104, ["second"], SYNC);
      const { cluster, first } = scene;
      const second = scene.node("second");
      second.kill();
      await cluster.run(() => first.status().inSyncSlaveNums === 0, 10_000);
      const put = await putAnswered(scene, "SLAVE_NOT_AVAILABLE");
      assert.deepEqual(await lacks(scene, first, [put]), []);
      if (!survives) first.kill();
      await cluster.drive(second.start());
      if (survives) await scene.follows(second);
      first.kill();
      await failOver(scene, second);
      assert.deepEqual(await lacks(scene, second, [put]), survives ? [] : [put.id]);
      await ends(scene);
    }
  },

  "answers: IN_SYNC_REPLICAS_NOT_ENOUGH": async () => {
    const scene = await stage(105, ["second"], { ...SYNC, minInSyncReplicas: 2 });
    const { cluster, first } = scene;
    const second = scene.node("second");
    second.kill();
    await cluster.run(() => first.status().inSyncSlaveNums === 0, 10_000);
    const { maxOffset } = first.status();
    const put = await putAnswered(scene, "IN_SYNC_REPLICAS_NOT_ENOUGH");
    assert.equal(put.outcome!.stored, null);
    assert.equal(first.status().maxOffset, maxOffset);
    await cluster.drive(second.start());
    await scene.follows(second);
    for (const node of cluster.nodes) assert.deepEqual(await lacks(scene, node, [put]), [put.id]);
    await ends(scene);
  },

  "answers: UNKNOWN_ERROR and SERVICE_NOT_AVAILABLE of a failed write": async () => {
    for (const code of ["EIO", "ENOSPC"] as const) {
      for (const putsMore of [false, true]) {
        const scene = await stage(106, ["second"], SYNC_BOTH);
        const { first } = scene;
        first.host.disk.failNext({ operation: "write", path: COMMIT_LOG, code });
        const refused = await putAnswered(scene, code === "EIO" ? "UNKNOWN_ERROR" : "SERVICE_NOT_AVAILABLE");
        if (putsMore) await putAnswered(scene, "PUT_OK");
        assert.deepEqual(await lacks(scene, first, [refused, ...promisedIn(scene)]), [refused.id]);
        first.crash("keep");
        assert.deepEqual(await startAlone(scene, first, [refused, ...promisedIn(scene)]), [refused.id]);
        await ends(scene);
      }
    }
  },

  "answers: none": async () => {
    for (const survives of [false, true]) {
      const scene = await stage(107, ["second"], SYNC_BOTH);
      const { cluster, first } = scene;
      cluster.world.network.clog("first", "second", 5_000);
      const pending = scene.workload.put(first, BODY_SIZE);
      await cluster.run(() => first.status().maxOffset > scene.node("second").status().maxOffset, 1_000);
      if (survives) first.kill();
      else first.crash("drop");
      const put = await cluster.drive(pending);
      assert.equal(put.outcome, null);
      assert.deepEqual(await startAlone(scene, first, [put]), survives ? [] : [put.id]);
      await ends(scene);
    }
  },
} satisfies Partial<Record<Statement, () => Promise<void>>>;

const REPLICAS = {
  "replicas: inSyncReplicas 2 of three nodes, the slave with the longest log": async () => {
    for (const promotesLongest of [true, false]) {
      const scene = await stage(111, ["second", "third"], SYNC);
      const { cluster, first, operator } = scene;
      cluster.world.network.clog("first", "third", 3_000);
      const ahead = await puts(scene, 4);
      assert.deepEqual(promisedIn(scene).slice(-4), ahead);
      replaceMachine(scene, first);
      if (!promotesLongest) operator.ignored.add(scene.node("second"));
      await failOver(scene, scene.node(promotesLongest ? "second" : "third"));
      const lost = await lacks(scene, operator.master, promisedIn(scene));
      assert.deepEqual(lost, promotesLongest ? [] : ids(ahead));
      await ends(scene);
    }
  },

  "replicas: inSyncReplicas 3 of three nodes": async () => {
    for (const left of ["first", "second", "third"]) {
      const scene = await stage(112, ["second", "third"], { ...SYNC, inSyncReplicas: 3 });
      await puts(scene, 6);
      assert.ok(promisedIn(scene).length >= 6);
      for (const node of scene.cluster.nodes) if (node.name !== left) replaceMachine(scene, node);
      if (left !== "first") await failOver(scene, scene.node(left));
      assert.deepEqual(await lacks(scene, scene.node(left), promisedIn(scene)), []);
      await ends(scene);
    }
  },

  "replicas: enableAutoInSyncReplicas with minInSyncReplicas 1": async () => {
    const scene = await stage(113, ["second"], { ...SYNC, enableAutoInSyncReplicas: true });
    const { cluster, first } = scene;
    const second = scene.node("second");
    const together = promisedIn(scene);
    assert.ok(together.length > 0);
    second.kill();
    await cluster.run(() => first.status().inSyncSlaveNums === 0, 10_000);
    const alone = await putAnswered(scene, "PUT_OK");
    replaceMachine(scene, first);
    await cluster.drive(second.start());
    await failOver(scene, second);
    assert.deepEqual(await lacks(scene, second, [...together, alone]), [alone.id]);
    await ends(scene);
  },

  "replicas: enableAutoInSyncReplicas with minInSyncReplicas 2": async () => {
    const auto: Partial<Config> = { enableAutoInSyncReplicas: true, inSyncReplicas: 3, minInSyncReplicas: 2 };
    const scene = await stage(114, ["second", "third"], { ...SYNC, ...auto });
    const { cluster, first } = scene;
    const second = scene.node("second");
    scene.node("third").kill();
    await cluster.run(() => first.status().inSyncSlaveNums === 1, 10_000);
    await putAnswered(scene, "PUT_OK");
    second.kill();
    await cluster.run(() => first.status().inSyncSlaveNums === 0, 10_000);
    await putAnswered(scene, "IN_SYNC_REPLICAS_NOT_ENOUGH");
    replaceMachine(scene, first);
    await cluster.drive(second.start());
    await failOver(scene, second);
    assert.deepEqual(await lacks(scene, second, promisedIn(scene)), []);
    await ends(scene);
  },
} satisfies Partial<Record<Statement, () => Promise<void>>>;

const OPERATOR = {
  "operator: both processes killed at once": async () => {
    const scene = await stage(121, ["second"], { ...SYNC, ...LAZY });
    await puts(scene, 8);
    const second = scene.node("second");
    scene.first.kill();
    second.kill();
    for (const node of [second, scene.first]) {
      assert.deepEqual(await startAlone(scene, node, promisedIn(scene)), []);
    }
    await ends(scene);
  },

  "operator: switchover loses nothing, also with ASYNC_MASTER": async () => {
    for (let seed = 122; seed < 126; seed++) {
      const scene = await stage(seed, ["second"], {});
      const { cluster, workload } = scene;
      const second = scene.node("second");
      workload.start(scene.first);
      await cluster.run(() => workload.okCount > 20, 10_000);
      await cluster.drive(scene.operator.switchOver(second));
      assert.equal(scene.operator.master, second);
      workload.stop();
      assert.deepEqual(await lacks(scene, second, promisedIn(scene)), []);
      await ends(scene);
    }
  },

  "operator: a master that came back shorter than its slave": async () => {
    for (const isWrittenTo of [false, true]) {
      const scene = await stage(126, ["second"], LAZY);
      const { cluster, first } = scene;
      const second = scene.node("second");
      const before = promisedIn(scene);
      first.crash("drop");
      await cluster.drive(first.start());
      await scene.stops(second, /before ours/);
      assert.deepEqual(await lacks(scene, second, before), []);
      const after = isWrittenTo ? await puts(scene, 1) : [];
      for (const put of after) assert.equal(put.outcome?.status, "PUT_OK");
      await failOver(scene, second);
      assert.deepEqual(await lacks(scene, second, [...before, ...after]), ids(after));
      await ends(scene);
    }
  },

  "operator: haTransferAfterFlush": async () => {
    const scene = await stage(127, ["second"], { haTransferAfterFlush: true, flushIntervalCommitLog: 200 });
    const { cluster, first, workload } = scene;
    const second = scene.node("second");
    for (let round = 0; round < 6; round++) {
      for (let i = 0; i < 4; i++) void workload.put(first, BODY_SIZE);
      await cluster.advance(1 + round * 3);
      const held = second.status().maxOffset;
      first.crash("drop");
      await cluster.drive(first.start());
      assert.ok(first.status().maxOffset >= held, `back with ${first.status().maxOffset}, the slave has ${held}`);
      await scene.follows(second);
    }
    assert.ok(first.status().maxOffset > 0);
    await ends(scene);
  },
} satisfies Partial<Record<Statement, () => Promise<void>>>;

const DISK = {
  "disk: a failed sync under SYNC_FLUSH": async () => {
    const scene = await stage(131, [], { flushDiskType: "SYNC_FLUSH" });
    const { cluster, checker, first, workload } = scene;
    checker.suspect(first);
    first.host.disk.failNext({ operation: "sync", path: COMMIT_LOG });
    const waiting = await cluster.drive(Promise.all([1, 2, 3].map(() => workload.put(first, BODY_SIZE))));
    for (const put of waiting) assert.notEqual(put.outcome?.status, "PUT_OK");
    assert.equal(first.isUp, false);
    assert.match(String(first.failure), /EIO/);
    first.crash("drop");
    await cluster.drive(first.start());
    assert.deepEqual(await lacks(scene, first, promisedIn(scene)), []);
    await ends(scene);
  },

  "disk: started again after a failed sync without a reboot": async () => {
    for (let seed = 132; seed < 138; seed++) {
      const scene = await stage(seed, [], { flushDiskType: "SYNC_FLUSH" });
      const { cluster, checker, first, workload } = scene;
      const { disk } = first.host;
      checker.suspect(first);
      disk.failNext({ operation: "sync", path: COMMIT_LOG });
      const waiting = await cluster.drive(Promise.all([1, 2, 3].map(() => workload.put(first, 5_000))));
      if (seed % 2 === 0) {
        disk.failNext({ operation: "sync", path: seed % 4 === 0 ? COMMIT_LOG : "/consumequeue/" });
        await cluster.drive(first.start());
        assert.match(String(first.failure), /an earlier failed sync left failed as well/);
      }
      await cluster.drive(first.start());
      assert.deepEqual(await lacks(scene, first, waiting), [], "read back from the page cache");
      const later = await puts(scene, 2);
      for (const put of later) assert.equal(put.outcome?.status, "PUT_OK");
      first.crash("drop");
      await cluster.drive(first.start());
      assert.deepEqual(await lacks(scene, first, [...waiting, ...later]), []);
      assert.deepEqual(disk.files().filter((path) => path.includes("syncfailed")), []);
      await ends(scene);
    }
  },

  "disk: a slave's sync fails": async () => {
    const scene = await stage(138, ["second"], { ...SYNC, haAckAfterFlush: true });
    const { cluster, checker, first } = scene;
    const second = scene.node("second");
    checker.suspect(second);
    second.host.disk.failNext({ operation: "sync", path: COMMIT_LOG });
    const [put] = await puts(scene, 1);
    assert.notEqual(put!.outcome?.status, "PUT_OK");
    assert.match(String(second.failure), /EIO/);
    second.crash("drop");
    replaceMachine(scene, first);
    await cluster.drive(second.start());
    await failOver(scene, second);
    assert.deepEqual(await lacks(scene, second, promisedIn(scene)), []);
    await ends(scene);
  },

  "disk: a failed write or read": async () => {
    const scene = await stage(139, ["second"], SYNC);
    const { cluster, first } = scene;
    const { disk } = first.host;
    disk.failNext({ operation: "write", path: COMMIT_LOG });
    await putAnswered(scene, "UNKNOWN_ERROR");
    await puts(scene, 3);
    disk.failNext({ operation: "read", path: COMMIT_LOG });
    await assert.rejects(lacks(scene, first, promisedIn(scene)), /EIO/);
    assert.deepEqual(await lacks(scene, first, promisedIn(scene)), []);
    // The slave's connection may end over it; it comes back.
    disk.failNext({ operation: "read", path: COMMIT_LOG });
    await puts(scene, 1);
    await scene.follows(scene.node("second"));
    assert.ok(cluster.nodes.every((node) => node.isUp));
    await ends(scene);
  },

  "disk: a bit flips at rest": async () => {
    const scene = await stage(140, ["second"], SYNC);
    const { first } = scene;
    const second = scene.node("second");
    await puts(scene, 30);
    await scene.follows(second);
    const all = promisedIn(scene);
    const damaged = all[10]!;
    expectDamage(scene);
    damage(first, damaged);
    assert.deepEqual(await lacks(scene, first, all), [damaged.id]);
    assert.deepEqual(await lacks(scene, second, all), []);
    const late = await scene.join("late");
    await scene.stops(late, /refused \(badCrc\)/);
    assert.equal(late.status().maxOffset, damaged.outcome!.stored!.physicalOffset);
    replaceMachine(scene, first);
    await failOver(scene, second);
    await ends(scene);
  },

  "disk: a bit flips at rest, then a crash": async () => {
    const scene = await stage(141, ["second"], SYNC_BOTH);
    const { cluster, first } = scene;
    const second = scene.node("second");
    // Recovery walks what was stored in the last seconds before the checkpoint, and the file that it begins in.
    for (let round = 0; round < 6; round++) {
      await puts(scene, 12);
      await cluster.advance(2_000);
    }
    await scene.follows(second);
    const all = promisedIn(scene);
    const [old, recent] = [all[10]!, all[all.length - 4]!];
    damage(first, old);
    damage(first, recent);
    expectDamage(scene);
    second.kill();
    first.crash("drop");
    assert.deepEqual(await startAlone(scene, first, all), [old.id, ...ids(all.slice(-4))]);
    assert.equal(first.status().maxOffset, recent.outcome!.stored!.physicalOffset);
    assert.equal(first.host.disk.files().filter((path) => path.includes("/commitlog.aside/")).length, 1);
    replaceMachine(scene, first);
    await cluster.drive(second.start());
    await failOver(scene, second);
    assert.deepEqual(await lacks(scene, second, all), []);
    await ends(scene);
  },

  "disk: replaced by an empty one, as master": async () => {
    const scene = await stage(142, ["second"], {});
    const { cluster, first } = scene;
    const second = scene.node("second");
    await puts(scene, 8);
    await scene.follows(second);
    const { maxOffset } = second.status();
    replaceMachine(scene, first);
    await cluster.drive(first.start());
    await scene.stops(second, /master's log ends at 0, before ours/);
    assert.equal(second.status().maxOffset, maxOffset);
    await failOver(scene, second);
    assert.deepEqual(await lacks(scene, second, promisedIn(scene)), []);
    await ends(scene);
  },
} satisfies Partial<Record<Statement, () => Promise<void>>>;

const SCENARIOS: Record<Statement, () => Promise<void>> = { ...ANSWERS, ...REPLICAS, ...OPERATOR, ...DISK };

describe("guarantees, around the table", () => {
  for (const name of Object.keys(STATEMENTS) as Statement[]) it(name, SCENARIOS[name]);
});
