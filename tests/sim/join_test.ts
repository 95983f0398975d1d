// Hand-written scenarios of slaves that join: while the master rolls its files, behind another slave, after files have
// gone. Whole nodes on simulated machines.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Scene } from "./scene.ts";

const FILE = 16 * 1024;
/** So that expiry does not go by the time zone of whoever runs this. */
const EVERY_HOUR = Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, "0")).join(";");

describe("joining, whole nodes", () => {
  it("copies the whole history while the master rolls one file after another", async () => {
    const scene = await Scene.of(11, []);
    await scene.fill(5 * FILE);
    scene.workload.start(scene.first);
    const late = await scene.join("late");
    await scene.cluster.advance(3_000);
    scene.workload.stop();
    await scene.follows(late);
    assert.equal(late.status().minOffset, 0);
    assert.ok(late.status().maxOffset > 8 * FILE);
    await scene.ends();
  });

  it("starts on an empty master and takes its first message at once", async () => {
    const scene = await Scene.of(12, ["second"]);
    const second = scene.node("second");
    await scene.cluster.advance(5_000);
    await scene.cluster.drive(scene.workload.put(scene.first));
    await scene.cluster.run(() => second.status().maxOffset === scene.first.status().maxOffset, 20);
    await scene.ends();
  });

  it("replicates along a chain, whatever link of it dies", async () => {
    const scene = await Scene.of(13, ["second"]);
    const second = scene.node("second");
    const third = await scene.join("third", {}, second);
    await scene.fill(2 * FILE);
    await scene.follows(third);
    assert.equal(third.status().master!.masterAddr, second.haAddress);
    scene.workload.start(scene.first);
    for (const node of [second, third, scene.first]) {
      node.kill();
      await scene.cluster.advance(500);
      await scene.cluster.drive(node.start());
      await scene.cluster.advance(1_500);
    }
    await scene.ends();
  });

  it("begins at the first file that is left, keeps files a live slave needs, and stops at a hole", async () => {
    const scene = await Scene.of(14, ["live", "away"], {
      fileReservedTime: 1,
      deleteWhen: EVERY_HOUR,
      cleanResourceInterval: 1_000,
      maxHaTransferByteInSecond: 700,
    });
    const [live, away] = [scene.node("live"), scene.node("away")];
    await scene.fill(FILE + 1_000);
    await scene.follows(away);
    await scene.follows(live);
    away.kill();
    // From here on "live" gets little at a time, and the master's files are old enough to go.
    const { admin } = scene.first.broker!;
    admin.updateConfig({ haFlowControlEnable: true });
    await scene.fill(6 * FILE);
    scene.first.host.clock.step(2 * 3_600_000);
    await scene.cluster.advance(65_000);
    const kept = scene.first.status().minOffset;
    assert.ok(kept > 0 && kept <= live.status().maxOffset, `kept from ${kept}, live has ${live.status().maxOffset}`);
    assert.ok(live.status().maxOffset < scene.first.status().maxOffset);
    admin.updateConfig({ haFlowControlEnable: false });
    await scene.follows(live);
    await scene.cluster.run(() => scene.first.status().minOffset > kept, 10_000);
    await scene.cluster.advance(3_000);
    const { minOffset } = scene.first.status();
    assert.ok(minOffset >= 4 * FILE, `expired up to ${minOffset}`);

    await scene.cluster.drive(away.start());
    await scene.stops(away, new RegExp(`master's log begins at ${minOffset}`));
    const late = await scene.join("late");
    await scene.follows(late);
    assert.equal(late.status().minOffset, minOffset);
    await scene.restart(away, { resync: true });
    await scene.follows(away);
    assert.equal(away.status().minOffset, minOffset);
    await scene.ends();
  });

  it("waits while its disk is full, and goes on when there is room", async () => {
    const scene = await Scene.of(15, ["second"]);
    const second = scene.node("second");
    await scene.fill(FILE);
    await scene.follows(second);
    const { disk } = second.host;
    const capacityBytes = disk.options.capacityBytes;
    disk.options.capacityBytes = disk.usage.totalBytes - disk.usage.freeBytes + 4_096;
    await scene.fill(2 * FILE);
    await scene.cluster.advance(5_000);
    assert.ok(second.isUp);
    assert.ok(second.status().maxOffset < scene.first.status().maxOffset);
    disk.options.capacityBytes = capacityBytes;
    await scene.follows(second);
    await scene.ends();
  });

  it("is not held up by a slave that stopped reading", async () => {
    const scene = await Scene.of(16, ["second", "stuck"], { brokerRole: "SYNC_MASTER" });
    await scene.cluster.run(() => scene.first.status().inSyncSlaveNums === 2, 10_000);
    scene.node("stuck").host.pause();
    await scene.fill(4 * FILE);
    const statuses = new Set(scene.workload.ledger.map((put) => put.outcome?.status));
    assert.deepEqual([...statuses], ["PUT_OK"]);
    await scene.follows(scene.node("second"));
    scene.node("stuck").host.resume();
    await scene.follows(scene.node("stuck"));
    await scene.ends();
  });
});
