// Hand-written scenarios for what random runs hardly ever meet, or can't see in the bytes: who is counted, when somebody
// is told, what a cut takes, what a program leaves behind. Each notices a bug of planted/ that no seed did.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8, writeInt32 } from "../../src/base/bytes.ts";
import { MessageStore } from "../../src/store/message_store.ts";
import { CrashMachine } from "../store/crash_machine.ts";
import { message, SMALL } from "../support/store_kit.ts";
import type { SimNode } from "./cluster.ts";
import { Scene } from "./scene.ts";

const FILE = 16 * 1024;
const SYNC = { brokerRole: "SYNC_MASTER", inSyncReplicas: 2 } as const;

/** Puts one message and tells its status. */
async function putTo(scene: Scene, node: SimNode = scene.first): Promise<string | undefined> {
  return (await scene.cluster.drive(scene.workload.put(node))).outcome?.status;
}

/** Runs until the master serves so many slaves. */
async function serves(scene: Scene, count: number): Promise<void> {
  await scene.cluster.run(() => scene.first.status().inSyncSlaveNums === count, 20_000);
}

describe("whom a master counts, whole nodes", () => {
  it("no slave that has left", async () => {
    const scene = await Scene.of(41, ["second"], SYNC);
    await serves(scene, 1);
    assert.equal(await putTo(scene), "PUT_OK");
    scene.node("second").kill();
    await scene.cluster.run(() => scene.first.status().slaves.length === 0, 1_000);
    assert.equal(scene.first.status().inSyncSlaveNums, 0);
    assert.equal(scene.first.status().push2SlaveMaxOffset, 0);
    assert.equal(await putTo(scene), "SLAVE_NOT_AVAILABLE");
  });

  it("no slave that has fallen silent", async () => {
    const scene = await Scene.of(42, ["second"], SYNC);
    await serves(scene, 1);
    scene.node("second").host.pause();
    await scene.cluster.run(() => scene.first.status().slaves.length === 0, 5_000);
    assert.equal(await putTo(scene), "SLAVE_NOT_AVAILABLE");
  });

  it("one slave once, though its last life's connection is still there", async () => {
    const scene = await Scene.of(43, ["second"], { ...SYNC, inSyncReplicas: 3 });
    const second = scene.node("second");
    await serves(scene, 1);
    // Nothing may be under way: it would meet the next life, which resets the connection of the last one.
    await scene.cluster.advance(100);
    second.crash("keep");
    await scene.cluster.drive(second.start());
    await scene.cluster.run(() => scene.first.status().slaves.length === 2, 1_000);
    await scene.cluster.run(() => scene.first.status().slaves.every(({ state }) => state === "TRANSFER"), 1_000);
    assert.equal(scene.first.status().inSyncSlaveNums, 1);
    assert.equal(await putTo(scene), "SLAVE_NOT_AVAILABLE");
  });

  it("too few to write at all, and writes nothing then", async () => {
    const scene = await Scene.of(44, ["second"], { ...SYNC, minInSyncReplicas: 2 });
    await serves(scene, 1);
    assert.equal(await putTo(scene), "PUT_OK");
    scene.node("second").kill();
    await scene.cluster.run(() => scene.first.status().slaves.length === 0, 1_000);
    const { maxOffset } = scene.first.status();
    assert.equal(await putTo(scene), "IN_SYNC_REPLICAS_NOT_ENOUGH");
    assert.equal(scene.first.status().maxOffset, maxOffset);
  });

  it("nothing that a slave only asks for: an old master asks from an end of its own making", async () => {
    const scene = await Scene.of(59, ["second", "third"], { ...SYNC, slaveTimeout: 60_000 });
    const [second, third] = [scene.node("second"), scene.node("third")];
    await serves(scene, 2);
    await scene.fill(3_000);
    for (const slave of [second, third]) await scene.follows(slave);
    // With nobody to answer, the old master takes what nobody else gets.
    scene.cluster.world.network.isolate("first");
    for (let i = 0; i < 4; i++) void scene.workload.put(scene.first, 1_500);
    await scene.cluster.advance(200);
    scene.first.kill();
    scene.cluster.world.network.heal();
    await scene.cluster.drive(scene.operator.failOver());
    const master = scene.operator.master;
    const other = master === second ? third : second;
    await scene.cluster.run(() => master.status().inSyncSlaveNums === 1, 10_000);
    other.host.pause();
    const puts = Array.from({ length: 8 }, () => scene.workload.put(master, 1_500));
    await scene.cluster.drive(scene.first.start());
    await scene.cluster.run(
      () => master.status().slaves.some(({ addr }) => scene.cluster.nodeAt(addr) === scene.first),
      1_000,
    );
    await scene.cluster.advance(500);
    assert.equal(scene.workload.okCount, scene.workload.ledger.length - 4 - puts.length);
  });
});

describe("when a producer is told, whole nodes", () => {
  it("within the time that the way to a slave and back takes", async () => {
    const scene = await Scene.of(45, ["second"], { ...SYNC, slaveTimeout: 60_000 });
    await serves(scene, 1);
    for (let i = 0; i < 20; i++) {
      const { nowMs } = scene.cluster.world;
      assert.equal(await putTo(scene), "PUT_OK");
      assert.ok(scene.cluster.world.nowMs - nowMs < 100, `put ${i} took ${scene.cluster.world.nowMs - nowMs} ms`);
    }
  });

  it("at once when its master becomes a slave", async () => {
    const scene = await Scene.of(46, ["second"], { ...SYNC, slaveTimeout: 60_000 });
    await serves(scene, 1);
    scene.node("second").host.pause();
    const put = scene.workload.put(scene.first);
    await scene.cluster.advance(10);
    const masterAddress = scene.node("second").haAddress;
    await scene.cluster.drive(scene.first.ask(({ admin }) => admin.switchRole({ role: "SLAVE", masterAddress })));
    await scene.cluster.advance(10);
    assert.equal((await scene.cluster.drive(put, 10)).outcome?.status, "FLUSH_SLAVE_TIMEOUT");
  });
});

describe("what counts as on the disk, whole nodes", () => {
  it("what was written when the flush began", async () => {
    const scene = await Scene.of(56, [], { flushDiskType: "SYNC_FLUSH" });
    // Both topics are there: making one waits for the disk, too.
    await scene.fill(10_000);
    const flushed = scene.first.status().flushedOffset;
    const { disk } = scene.first.host;
    disk.options.syncLatencyMinUs = disk.options.syncLatencyMaxUs = 300_000;
    const puts = [scene.workload.put(scene.first)];
    await scene.cluster.advance(100);
    const { maxOffset } = scene.first.status();
    puts.push(scene.workload.put(scene.first));
    await scene.cluster.run(() => scene.first.status().flushedOffset > flushed, 1_000);
    assert.ok(flushed < maxOffset && maxOffset < scene.first.status().maxOffset);
    assert.equal(scene.first.status().flushedOffset, maxOffset);
    await scene.cluster.drive(Promise.all(puts));
    await scene.ends();
  });

  it("all that a slave asks for, where it acknowledges only what is flushed", async () => {
    const scene = await Scene.of(57, ["second"], { haAckAfterFlush: true });
    const second = scene.node("second");
    second.host.disk.stall(5_000);
    await scene.fill(4_000);
    await scene.cluster.run(() => second.status().maxOffset === scene.first.status().maxOffset, 5_000);
    scene.cluster.world.network.resetConnections("first", "second");
    await scene.cluster.advance(3_000);
    assert.equal(second.status().flushedOffset, 0);
    assert.ok(
      scene.first.status().slaves.every(({ slaveAckOffset }) => slaveAckOffset <= 1),
      "nothing is acknowledged",
    );
    await scene.follows(second);
    await scene.ends();
  });

  it("all that a promoted slave holds, before it takes a message", async () => {
    const scene = await Scene.of(58, ["second"], { flushDiskType: "SYNC_FLUSH" });
    const second = scene.node("second");
    second.host.disk.stall(3_000);
    await scene.fill(6_000);
    await scene.cluster.run(() => second.status().maxOffset === scene.first.status().maxOffset, 2_000);
    scene.first.kill();
    await scene.cluster.drive(scene.operator.failOver());
    assert.equal(second.status().dispatchBehindBytes, 0);
    await scene.fill(6_000, second);
    await scene.ends();
  });
});

describe("what a slave concludes and cuts, whole nodes", () => {
  it("says that its master is shorter, though that ends exactly where its own last record begins", async () => {
    const scene = await Scene.of(47, ["second"]);
    const second = scene.node("second");
    await scene.fill(5_000);
    await scene.cluster.run(() => scene.first.status().flushedOffset === scene.first.status().maxOffset, 10_000);
    await scene.follows(second);
    const { maxOffset } = scene.first.status();
    await putTo(scene);
    await scene.follows(second);
    scene.first.crash("drop");
    await scene.cluster.drive(scene.first.start());
    assert.equal(scene.first.status().maxOffset, maxOffset, "one record is gone");
    await scene.stops(second, new RegExp(`master's log ends at ${maxOffset}, before ours`));
  });

  it("cuts nothing that its master has", async () => {
    const scene = await Scene.of(48, ["second"]);
    const [first, second] = [scene.first, scene.node("second")];
    await scene.fill(3 * FILE + 5_000);
    await scene.follows(second);
    const common = first.status().maxOffset;
    await divergedFirst(scene);
    first.options = { ...first.options, resync: true };
    let lowest = Infinity;
    scene.cluster.listeners.push({
      onStep: () => {
        if (first.isUp) lowest = Math.min(lowest, first.status().maxOffset);
      },
    });
    await scene.cluster.drive(first.start());
    await scene.follows(first);
    assert.equal(lowest, common);
    await scene.ends();
  });

  it("cuts nothing once it was told to be the master", async () => {
    // An order at any time before the cut, also while what is to be cut is being copied aside.
    let inTime = 0;
    for (let orderAtMs = 0;; orderAtMs += 8) {
      const scene = await Scene.of(55, ["second"]);
      const { first } = scene;
      await scene.fill(3 * FILE + 5_000);
      await scene.follows(scene.node("second"));
      await divergedFirst(scene);
      first.options = { ...first.options, resync: true };
      scene.operator.ignored.add(first);
      await scene.cluster.drive(first.start());
      const { disk } = first.host;
      disk.options.readLatencyMinUs = disk.options.readLatencyMaxUs = 40_000;
      const before = first.status().maxOffset;
      const masterAddress = scene.node("second").haAddress;
      await scene.cluster.drive(first.ask(({ admin }) => admin.switchRole({ role: "SLAVE", masterAddress })));
      await scene.cluster.advance(orderAtMs);
      if (first.status().maxOffset < before) break;
      inTime++;
      await scene.cluster.drive(first.ask(({ admin }) => admin.switchRole({ role: "ASYNC_MASTER", force: true })));
      await scene.cluster.advance(1_000);
      assert.equal(first.status().maxOffset, before, `an order ${orderAtMs} ms after the start`);
    }
    assert.ok(inTime > 10, `${inTime} orders came in time`);
  });

  it("keeps what it cut away, though its machine loses power right after", async () => {
    const scene = await Scene.of(49, ["second"]);
    const first = scene.first;
    await scene.fill(3 * FILE + 5_000);
    await scene.follows(scene.node("second"));
    const common = first.status().maxOffset;
    await divergedFirst(scene);
    first.options = { ...first.options, resync: true };
    await scene.cluster.drive(first.start());
    await scene.cluster.run(() => first.status().maxOffset === common, 60_000);
    first.crash("drop");
    scene.cluster.world.network.isolate("first");
    await scene.cluster.drive(first.start());
    assert.equal(first.status().maxOffset, common);
    scene.cluster.world.network.heal();
    await scene.follows(first);
    await scene.ends();
  });
});

describe("what a slave does with a master's bytes, whole nodes", () => {
  it("gives up the connection when it can't write them, and lives", async () => {
    const scene = await Scene.of(51, ["second"]);
    const second = scene.node("second");
    await scene.fill(3_000);
    await scene.follows(second);
    second.host.disk.failNext({ operation: "write", path: "/commitlog/", times: 2, part: "none" });
    await scene.fill(FILE);
    await scene.follows(second);
    assert.equal(second.life, 1);
    await scene.ends();
  });

  it("refuses a record whose body has rotted on its master's disk", async () => {
    const scene = await Scene.of(52, []);
    await scene.fill(5_000);
    const { storeSize } = scene.workload.ledger[0]!.outcome!.stored!;
    scene.checker.damage(scene.first);
    // In the body of the second record: its front takes some 90 bytes.
    assert.ok(scene.first.host.disk.flipBit("/store/commitlog/00000000000000000000", storeSize + 300));
    const second = await scene.join("second");
    await scene.stops(second, /bodyCRC/);
    assert.equal(second.status().maxOffset, storeSize);
  });

  it("goes on behind a record of which a broken connection left the front", async () => {
    const scene = await Scene.of(53, ["second"], { haTransferBatchSize: 300 });
    const second = scene.node("second");
    for (let events = 1; events <= 60; events++) {
      const put = scene.workload.put(scene.first, 1_500);
      let count = 0;
      await scene.cluster.run(() => ++count > events, 20_000);
      scene.cluster.world.network.resetConnections("first", "second");
      await scene.cluster.drive(put);
      await scene.follows(second);
    }
    assert.equal(second.life, 1);
    await scene.ends();
  });
});

describe("what can be read, whole nodes", () => {
  it("under SYNC_FLUSH only what is on the disk", async () => {
    const scene = await Scene.of(54, [], { flushDiskType: "SYNC_FLUSH" });
    await scene.cluster.drive(scene.workload.put(scene.first));
    const readable = () => {
      const topics = ["TopicA", "TopicB"].flatMap((topic) => scene.first.broker!.admin.queues(topic) ?? []);
      return topics.reduce((sum, { maxOffset }) => sum + maxOffset, 0);
    };
    await scene.cluster.run(() => readable() === 1, 1_000);
    scene.first.host.disk.stall(500);
    const put = scene.workload.put(scene.first);
    await scene.cluster.advance(300);
    assert.equal(readable(), 1);
    await scene.cluster.drive(put);
    await scene.cluster.run(() => readable() === 2, 1_000);
    await scene.ends();
  });
});

describe("what a node leaves behind, whole nodes", () => {
  it("no open file, no timer and no connection, once it has stopped", async () => {
    const scene = await Scene.of(50, ["second"], SYNC);
    await scene.fill(3 * FILE);
    // A connection that ends while the slave waits for its master's range.
    for (let i = 0; i < 3; i++) {
      scene.cluster.world.network.partition("first", "second");
      await scene.cluster.advance(4_000);
      scene.cluster.world.network.heal();
      await scene.cluster.advance(3_000);
    }
    await scene.follows(scene.node("second"));
    for (const node of [scene.node("second"), scene.first]) {
      await scene.cluster.drive(node.broker!.stop());
      assert.equal(node.host.openFileCount, 0, `open files of ${node.name}`);
    }
    await scene.cluster.advance(5_000);
    assert.equal(scene.cluster.world.pendingCount, 0, "pending events");
  });
});

describe("what a refused put leaves behind, one store", () => {
  it("nothing of a batch that was written in part, after a kill", async () => {
    for (let seed = 1; seed <= 20; seed++) {
      const machine = new CrashMachine(seed, () => {});
      const store = await openStore(machine);
      store.start();
      await machine.drive(store.setRole("master"));
      machine.host.disk.failNext({ operation: "write", path: "/commitlog/", part: "some" });
      assert.notEqual(
        store.appendBatch({ message: message("batch", { properties: new Map() }), batchBody: batchOf(20) }).status,
        "PUT_OK",
      );
      machine.kill();
      machine.restart();
      assert.equal((await openStore(machine)).maxOffset, 0, `seed ${seed}`);
    }
  });
});

async function openStore(machine: CrashMachine): Promise<MessageStore> {
  const { clock, process } = machine.host.runtime;
  const parts = { fs: machine.fileSystem(), clock, process };
  return (await machine.drive(MessageStore.open({ ...SMALL, storePathRootDir: "/store" }, parts)))!;
}

/** A client's batch of so many messages. */
function batchOf(count: number): Uint8Array {
  const parts: number[] = [];
  for (let i = 0; i < count; i++) {
    const body = utf8.encode(`message ${i} of a batch`);
    const part = new Uint8Array(22 + body.length);
    writeInt32(part, 0, part.length);
    writeInt32(part, 16, body.length);
    part.set(body, 20);
    parts.push(...part);
  }
  return Uint8Array.from(parts);
}

/** The master takes messages that nobody else gets, dies, and has a successor that goes on from where they parted. */
async function divergedFirst(scene: Scene): Promise<void> {
  const second = scene.node("second");
  scene.cluster.world.network.isolate("first");
  await scene.fill(9_000, scene.first);
  scene.first.kill();
  scene.cluster.world.network.heal();
  await scene.cluster.drive(scene.operator.failOver());
  assert.equal(scene.operator.master, second);
  await scene.fill(12_000, second);
}
