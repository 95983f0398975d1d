// Hand-written scenarios of what a node finds on its disk: bugs that random runs have found, each told so that it can be
// read. Whole nodes on simulated machines.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Scene } from "./scene.ts";

const FILE = 16 * 1024;

describe("what is left on the disk, whole nodes", () => {
  it("finds a store whose every directory was new when power went", async () => {
    const scene = await Scene.of(21, ["second"], { flushIntervalCommitLog: 50 });
    await scene.fill(5_000);
    await scene.follows(scene.node("second"));
    await scene.cluster.advance(2_000);
    const { maxOffset } = scene.first.status();
    for (const node of scene.cluster.nodes) node.crash("drop");
    for (const node of scene.cluster.nodes) {
      await scene.cluster.drive(node.start());
      assert.equal(node.status().maxOffset, maxOffset, node.name);
    }
    await scene.ends();
  });

  it("keeps what a killed process wrote, though power goes once the next one runs", async () => {
    const scene = await Scene.of(22, [], {
      flushIntervalCommitLog: 3_600_000,
      flushCommitLogThoroughInterval: 3_600_000,
    });
    await scene.fill(3 * FILE);
    const { maxOffset } = scene.first.status();
    scene.first.kill();
    await scene.cluster.drive(scene.first.start());
    assert.equal(scene.first.status().flushedOffset, maxOffset, "recovery made it durable");
    scene.first.crash("drop");
    await scene.cluster.drive(scene.first.start());
    assert.equal(scene.first.status().maxOffset, maxOffset);
    await scene.ends();
  });

  for (const mode of ["keep", "drop", "tear"] as const) {
    it(`starts by itself after a loss of power that left new files short, mode ${mode}`, async () => {
      for (let seed = 30; seed < 36; seed++) {
        const scene = await Scene.of(seed, ["second"], { flushIntervalCommitLog: 300 });
        scene.workload.start(scene.first);
        await scene.cluster.advance(700 + seed * 13);
        for (const node of scene.cluster.nodes) node.crash(mode);
        scene.workload.stop();
        await scene.ends();
      }
    });
  }

  it("knows which messages lack their queue entries, though the clock of the new master is behind", async () => {
    const scene = await Scene.of(23, ["second"]);
    const second = scene.node("second");
    scene.first.host.clock.step(3_600_000);
    await scene.fill(2 * FILE);
    await scene.follows(second);
    await scene.cluster.advance(5_000);
    scene.first.kill();
    await scene.cluster.drive(scene.operator.failOver());
    // Messages are taken, but their queue entries can't be written until the end.
    const mend = second.host.disk.failNext({ operation: "write", path: "/consumequeue/", times: 1_000 });
    await scene.fill(4 * FILE);
    second.kill();
    mend();
    await scene.cluster.drive(second.start());
    await scene.ends();
  });

  it("ends a node that can't finish a cut, and starts over with it", async () => {
    const scene = await Scene.of(24, ["second"]);
    const [first, second] = [scene.first, scene.node("second")];
    await scene.fill(FILE);
    await scene.follows(second);
    scene.cluster.world.network.isolate("first");
    await scene.fill(8_000, first);
    first.kill();
    scene.cluster.world.network.heal();
    await scene.cluster.drive(scene.operator.failOver());
    await scene.fill(FILE, second);
    first.options = { ...first.options, resync: true };
    await scene.cluster.drive(first.start());
    first.host.disk.failNext({ operation: "write", path: "/commitlog/" });
    await scene.cluster.run(() => first.isDown, 20_000);
    assert.match(String(first.failure), /EIO/);
    await scene.ends();
  });

  it("refuses a message whose topic can't be saved, and lives", async () => {
    const scene = await Scene.of(25, []);
    scene.first.host.disk.failNext({ operation: "write", path: "/config/topics", code: "ENOSPC" });
    const refused = await scene.cluster.drive(scene.workload.put(scene.first));
    assert.equal(refused.outcome?.status, "SERVICE_NOT_AVAILABLE");
    const taken = await scene.cluster.drive(scene.workload.put(scene.first));
    assert.equal(taken.outcome?.status, "PUT_OK");
    await scene.ends();
  });
});
