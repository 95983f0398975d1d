// Transactions on whole nodes in a simulated world, with a producer on the wire: half messages, commits and rollbacks,
// check-backs, and a crash or a failover in between.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { SimulatedWorld } from "../../../src/runtime/simulated/mod.ts";
import { TransactionalProducer, TransactionNode } from "./node_kit.ts";

let world: SimulatedWorld;
let node: TransactionNode;
let producer: TransactionalProducer;

beforeEach(async () => {
  world = new SimulatedWorld(7);
  node = new TransactionNode(world, "broker", {});
  await node.start();
  producer = new TransactionalProducer(world, node.address);
  await producer.beat();
});

afterEach(async () => {
  producer.close();
  await node.stop();
});

describe("a node with a transactional producer", () => {
  it("delivers what is committed, and nothing else", async () => {
    const ends = [await producer.half("k1"), await producer.half("k2"), await producer.half("k3")];
    assert.deepEqual(await node.bodies("T"), []);
    await producer.end(ends[0]!, "commit");
    await producer.end(ends[1]!, "rollback");
    await producer.end(ends[2]!, "unknown");
    await producer.wait(5000);
    assert.deepEqual(await node.bodies("T"), ["k1"]);
    assert.deepEqual(await node.bodies("RMQ_SYS_TRANS_OP_HALF_TOPIC"), ["0,1,"]);
    assert.deepEqual(producer.asked(), []);
  });

  it("asks about those that stay open, until they are ended", async () => {
    producer.policy.set("k1", "commit").set("k2", "rollback");
    for (const key of ["k1", "k2", "k3"]) await producer.half(key);
    await producer.wait(35_000);
    assert.deepEqual(producer.asked(), ["k1", "k2", "k3"]);
    const [question] = producer.questions;
    assert.deepEqual([question!.topic, question!.queueId, question!.properties.get("UNIQ_KEY")], ["T", 0, "k1"]);
    assert.deepEqual(await node.bodies("T"), ["k1"]);
    producer.policy.set("k3", "commit");
    await producer.wait(60_000);
    assert.deepEqual(producer.asked(), ["k1", "k2", "k3", "k3"]);
    assert.deepEqual(await node.bodies("T"), ["k1", "k3"]);
  });

  it("asks about those that stand in the future, where the clock went back", async () => {
    producer.policy.set("k1", "commit");
    await producer.half("k1");
    node.host.clock.step(-3_600_000);
    await producer.wait(70_000);
    assert.deepEqual(producer.asked(), ["k1"]);
    assert.deepEqual(await node.bodies("T"), ["k1"]);
  });

  it("loses nothing and delivers nothing twice over a clean restart", async () => {
    const first = await producer.half("k1");
    const second = await producer.half("k2");
    await producer.half("k3");
    await producer.end(first, "commit");
    await producer.wait(1000);
    await node.stop();
    await node.start();
    await producer.end(second, "commit");
    producer.policy.set("k3", "commit");
    await producer.wait(70_000);
    assert.deepEqual(producer.asked(), ["k3"]);
    assert.deepEqual(await node.bodies("T"), ["k1", "k2", "k3"]);
  });

  it("does not ask about, nor deliver again, what was committed before a crash", async () => {
    producer.policy.set("k1", "commit").set("k2", "commit").set("k3", "commit");
    const first = await producer.half("k1");
    await producer.half("k2");
    await producer.wait(35_000);
    const third = await producer.half("k3");
    await producer.end(third, "commit");
    await world.advance(1000);
    assert.deepEqual(await node.bodies("T"), ["k1", "k2", "k3"]);
    // The op record of k3 and the progress of the check are lost; the log is not.
    node.host.kill();
    await node.start();
    await producer.wait(70_000);
    assert.deepEqual(producer.asked(), ["k1", "k2"]);
    await producer.end(first, "commit");
    await producer.wait(1000);
    assert.deepEqual(await node.bodies("T"), ["k1", "k2", "k3"]);
  });
});

describe("a slave that becomes the master", () => {
  it("goes on with the open transactions", async () => {
    const slave = new TransactionNode(world, "slave", {
      brokerRole: "SLAVE",
      brokerId: 1,
      haMasterAddress: `${node.host.address}:10912`,
    });
    await slave.start();
    const first = await producer.half("k1");
    await producer.half("k2");
    await producer.end(first, "commit");
    await world.advance(1000);
    const caughtUp = () => slave.broker.admin.status().maxOffset === node.broker.admin.status().maxOffset;
    await world.run(() => node.broker.admin.status().inSyncSlaveNums === 1 && caughtUp(), 30_000);
    node.host.kill();
    const outcome = await world.drive(slave.broker.admin.switchRole({ role: "ASYNC_MASTER", force: true }));
    assert.deepEqual(outcome, { type: "done" });
    producer.address = slave.address;
    producer.policy.set("k1", "commit").set("k2", "commit");
    await producer.wait(70_000);
    assert.deepEqual(producer.asked(), ["k2"]);
    assert.deepEqual(await slave.bodies("T"), ["k1", "k2"]);
    await slave.stop();
    await node.start();
  });
});
