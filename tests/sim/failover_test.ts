// Hand-written scenarios of masters that die and come back: whole nodes on simulated machines. Each reads as it happens;
// the checker of scene.ts judges every step besides.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { endOf } from "./checkers.ts";
import { Scene } from "./scene.ts";

const SYNC = { brokerRole: "SYNC_MASTER", inSyncReplicas: 2 } as const;
/** Nothing reaches the disk by itself within a scenario. */
const LAZY = { flushIntervalCommitLog: 3_600_000 } as const;

describe("failover, whole nodes", () => {
  for (const end of ["kill", "crash"] as const) {
    it(`keeps every promised message when the master's end is a ${end} under load`, async () => {
      const scene = await Scene.of(1, ["second"], SYNC);
      const second = scene.node("second");
      scene.workload.start(scene.first);
      await scene.cluster.run(() => scene.workload.okCount > 40, 30_000);
      if (end === "kill") scene.first.kill();
      else scene.first.crash("drop");
      await scene.cluster.drive(scene.operator.failOver());
      assert.equal(scene.operator.master, second);
      scene.holdsAllPromised(second);
      await scene.cluster.run(() => second.status().brokerRole === "SYNC_MASTER", 1_000);

      // The old master wakes up, is told to follow, and has at most what was never promised.
      await scene.cluster.drive(scene.first.start());
      await scene.ends();
    });
  }

  it("stops a master that comes back with more than its successor, and mends it by resync", async () => {
    const scene = await Scene.of(2, ["second"]);
    const [first, second] = [scene.first, scene.node("second")];
    await scene.fill(20_000);
    await scene.follows(second);
    // Cut off, it takes messages that nobody else gets.
    scene.cluster.world.network.isolate("first");
    await scene.fill(30_000, first);
    first.kill();
    scene.cluster.world.network.heal();
    await scene.cluster.drive(scene.operator.failOver());
    await scene.fill(60_000, second);

    await scene.cluster.drive(first.start());
    await scene.stops(first, /differs from the master's/);
    const before = first.status().maxOffset;
    await scene.cluster.advance(30_000);
    assert.equal(first.status().maxOffset, before, "nothing is cut unasked");
    await scene.restart(first, { resync: true });
    await scene.follows(first);
    const aside = first.host.disk.files().filter((path) => path.includes("/commitlog.aside/"));
    assert.equal(aside.length, 1, "the tail is kept");
    await scene.ends();
  });

  it("stops a slave whose master came back shorter, and says so", async () => {
    const scene = await Scene.of(3, ["second"], LAZY);
    const second = scene.node("second");
    await scene.fill(10_000);
    await scene.follows(second);
    // What it sent was never on its disk.
    scene.first.crash("drop");
    await scene.cluster.drive(scene.first.start());
    assert.equal(scene.first.status().maxOffset, 0);
    await scene.stops(second, /master's log ends at 0, before ours/);
    // The slave has it all: promoting it loses nothing.
    await scene.cluster.drive(scene.operator.failOver());
    assert.equal(scene.operator.master, second);
    await scene.follows(scene.first);
    await scene.ends();
  });

  it("never gets there with haTransferAfterFlush", async () => {
    const scene = await Scene.of(4, ["second"], { haTransferAfterFlush: true, flushIntervalCommitLog: 200 });
    const second = scene.node("second");
    for (let round = 0; round < 6; round++) {
      await scene.fill(6_000);
      // At times with nothing flushed since, at times with all.
      await scene.cluster.advance(round * 60);
      scene.first.crash("drop");
      await scene.cluster.drive(scene.first.start());
      assert.ok(second.status().maxOffset <= scene.first.status().maxOffset);
      // Both empty, they look alike to a slave that has not noticed the end of its master: it has to be back.
      await scene.cluster.run(() => scene.first.status().slaves.some(({ state }) => state === "TRANSFER"), 60_000);
      await scene.follows(second);
    }
    assert.ok(scene.first.status().maxOffset > 0);
    await scene.ends();
  });

  it("has promised messages on the slave's disk with haAckAfterFlush, though both machines lose power", async () => {
    const scene = await Scene.of(5, ["second"], { ...SYNC, haAckAfterFlush: true });
    const second = scene.node("second");
    scene.workload.start(scene.first);
    await scene.cluster.run(() => scene.workload.okCount > 30, 60_000);
    scene.workload.stop();
    const promised = Math.max(...scene.workload.ledger.filter((put) => put.outcome?.status === "PUT_OK").map(endOf));
    scene.first.crash("drop");
    second.crash("drop");
    await scene.cluster.drive(second.start());
    assert.ok(second.status().maxOffset >= promised);
    await scene.cluster.drive(scene.operator.failOver());
    await scene.cluster.drive(scene.first.start());
    await scene.ends();
  });

  it("wakes up as the master it was made, though its machine lost power right after", async () => {
    const scene = await Scene.of(8, ["second"], SYNC);
    const second = scene.node("second");
    await scene.fill(3_000);
    await scene.follows(second);
    scene.first.kill();
    await scene.cluster.drive(scene.operator.failOver());
    second.crash("drop");
    await scene.cluster.drive(second.start());
    const wokeUpAs = scene.cluster.lines.filter((line) => line.includes("second WARN Starting as SYNC_MASTER"));
    assert.equal(wokeUpAs.length, 1, "before any operator did something");
    await scene.ends();
  });

  it("switches over under load without losing a message", async () => {
    const scene = await Scene.of(6, ["second", "third"], SYNC);
    scene.workload.start(scene.first);
    for (const name of ["second", "third", "first"]) {
      const before = scene.workload.okCount;
      await scene.cluster.run(() => scene.workload.okCount > before + 15, 30_000);
      await scene.cluster.drive(scene.operator.switchOver(scene.node(name)));
      assert.equal(scene.operator.master.name, name);
    }
    await scene.ends();
    assert.equal(scene.checker.counters.lostOnRestart, 0);
  });

  it("ends a node whose sync fails, and starts it again by what is on the disk", async () => {
    const scene = await Scene.of(7, ["second"], { ...SYNC, flushDiskType: "SYNC_FLUSH" });
    await scene.fill(5_000);
    scene.checker.suspect(scene.first);
    scene.first.host.disk.failNext({ operation: "sync", path: "/commitlog/" });
    const put = scene.workload.put(scene.first);
    await scene.cluster.drive(put);
    assert.equal((await put).outcome, null, "no answer");
    assert.equal(scene.first.isUp, false);
    assert.match(String(scene.first.failure), /EIO/);
    await scene.cluster.drive(scene.first.start());
    await scene.ends();
  });
});
