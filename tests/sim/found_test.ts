// Mistakes of ours that random runs found, each as a small scenario that fails without its mend, with a line on what it
// was. A seed's history changes with everything that is drawn; these don't.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Scene } from "./scene.ts";

/** Nothing but the checkpoint is due while the disk fails. */
const FLUSHED_QUEUES = { flushIntervalCommitLog: 50, flushIntervalConsumeQueue: 100 } as const;

describe("found by the simulator", () => {
  // A full disk, or one failed write, at the checkpoint ended the whole node, as a failed sync does.
  it("lives when the checkpoint can't be written, and writes it later", async () => {
    const scene = await Scene.of(101, ["second"], FLUSHED_QUEUES);
    const { disk } = scene.first.host;
    await scene.fill(3_000);
    const disarm = disk.failNext({ operation: "write", path: "/store/checkpoint", code: "ENOSPC", times: 2 });
    await scene.fill(1_000);
    await scene.cluster.advance(3_000);
    assert.ok(scene.first.isUp, `${scene.first.failure}`);
    assert.ok(disk.counters.noSpace > 0, "the disk was full");
    disarm();
    await scene.fill(3_000);
    await scene.cluster.advance(3_000);
    assert.ok(disk.peek("/store/checkpoint").some((byte) => byte !== 0));
    await scene.ends();
  });

  // A read of several messages went on after the stop: it opened the log again, and nobody closed it.
  it("opens no file once it has stopped, though somebody reads", async () => {
    const scene = await Scene.of(103, []);
    const { first } = scene;
    const { host } = first;
    await scene.fill(60_000);
    // What another life has written is not at hand.
    await scene.restart(first);
    await scene.cluster.run(() => first.status().dispatchBehindBytes === 0, 1_000);
    host.disk.options.readLatencyMinUs = host.disk.options.readLatencyMaxUs = 300_000;
    const { admin } = first.broker!;
    const read = admin.readByQueueOffset({ topic: "TopicA", queueId: 0, offset: 0, maxNum: 32 });
    const outcome = read.then(() => "read to the end", (error: unknown) => `${error}`);
    await scene.cluster.advance(10);
    await scene.cluster.drive(first.broker!.stop());
    assert.match(await scene.cluster.drive(outcome), /the store is closed/);
    assert.equal(host.openFileCount, 0);
    await scene.cluster.drive(first.stop());
    await scene.ends();
  });

  // Each checkpoint that could not be written left its file open.
  it("keeps no file open that could not be written", async () => {
    const scene = await Scene.of(102, [], FLUSHED_QUEUES);
    const { host } = scene.first;
    const { disk } = host;
    await scene.fill(3_000);
    const disarm = disk.failNext({ operation: "write", path: "/store/checkpoint", times: 5 });
    for (let i = 0; i < 4; i++) {
      await scene.fill(1_000);
      await scene.cluster.advance(1_500);
    }
    assert.ok(disk.counters.writeErrors > 1, `${disk.counters.writeErrors} writes failed`);
    assert.equal(host.surplusFileCount, 0);
    disarm();
    await scene.ends();
  });
});
