// Transactions under random histories: half messages whose producers end them at once, late, twice or never, on nodes that
// stop, are killed or lose power in between, or leave to their slave. What was acknowledged ends once, as its producer
// decided; nothing is delivered twice. TWINLOG_TRANSACTION_SEEDS sets how many histories, TWINLOG_TRANSACTION_SEED one.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { Config } from "../../../src/config/schema.ts";
import { SimulatedWorld } from "../../../src/runtime/simulated/mod.ts";
import { TransactionalProducer, TransactionNode } from "./node_kit.ts";

const COUNT = Number(process.env.TWINLOG_TRANSACTION_SEEDS ?? 25);
const ONLY = process.env.TWINLOG_TRANSACTION_SEED;
const SEEDS = ONLY === undefined ? Array.from({ length: COUNT }, (_, i) => i + 1) : [Number(ONLY)];

/** Integers below a bound, the same for a seed. */
function dice(seed: number): (bound: number) => number {
  let state = seed * 2654435761 >>> 0;
  return (bound) => {
    state ^= state << 13;
    state ^= state >>> 17;
    state ^= state << 5;
    return (state >>> 0) % bound;
  };
}

/** Half messages sent, and what is known of them. */
interface Sent {
  readonly key: string;
  readonly end: Record<string, string> | null;
}

async function sendAndEnd(producer: TransactionalProducer, roll: (bound: number) => number, sent: Sent[]) {
  const key = `k${sent.length}`;
  const outcome = roll(3) === 0 ? "rollback" : "commit";
  producer.policy.set(key, outcome);
  const end = await producer.half(key).catch(() => null);
  sent.push({ key, end });
  const ends = [1, 1, 0, 2][roll(4)]!;
  for (let i = 0; end !== null && i < ends; i++) await producer.end(end, outcome).catch(() => {});
}

/** One that was left open, or that was ended already, hears of its end now. */
async function endLate(producer: TransactionalProducer, roll: (bound: number) => number, sent: Sent[]) {
  const one = sent[roll(sent.length + 1)];
  if (one?.end) await producer.end(one.end, producer.policy.get(one.key)!).catch(() => {});
}

async function history(
  world: SimulatedWorld,
  roll: (bound: number) => number,
  producer: TransactionalProducer,
  node: TransactionNode,
): Promise<Sent[]> {
  const sent: Sent[] = [];
  for (let step = 0; step < 25; step++) {
    const what = roll(10);
    if (what < 5) await sendAndEnd(producer, roll, sent);
    else if (what < 6) await endLate(producer, roll, sent);
    else if (what < 9) await producer.wait(roll(20_000));
    else {
      await world.advance(roll(2000));
      const how = roll(3);
      if (how === 0) await node.stop();
      else if (how === 1) node.host.kill();
      else node.host.crash();
      await node.start();
      await producer.beat();
    }
  }
  return sent;
}

async function judge(node: TransactionNode, producer: TransactionalProducer, sent: readonly Sent[]) {
  const delivered = await node.bodies("T");
  const counts = new Map<string, number>();
  for (const key of delivered) counts.set(key, (counts.get(key) ?? 0) + 1);
  for (const { key, end } of sent) {
    const count = counts.get(key) ?? 0;
    const wanted = producer.policy.get(key) === "commit" ? 1 : 0;
    if (end === null) assert.ok(count <= wanted, `${key}, not acknowledged, was delivered ${count} times`);
    else assert.equal(count, wanted, `${key} (${producer.policy.get(key)}) was delivered ${count} times`);
  }
}

const COMMON: Partial<Config> = { transactionCheckInterval: 10_000, flushDiskType: "SYNC_FLUSH" };

describe("transactions under random histories", () => {
  for (const seed of SEEDS) {
    it(`end once each on one node, seed ${seed}`, async () => {
      const world = new SimulatedWorld(seed);
      const roll = dice(seed);
      const node = new TransactionNode(world, "broker", COMMON);
      await node.start();
      const producer = new TransactionalProducer(world, node.address);
      await producer.beat();
      const sent = await history(world, roll, producer, node);
      await producer.wait(60_000);
      await judge(node, producer, sent);
      producer.close();
      await node.stop();
    });

    it(`end once each though the master is lost, seed ${seed}`, async () => {
      const world = new SimulatedWorld(seed);
      const roll = dice(seed);
      const options: Partial<Config> = {
        ...COMMON,
        brokerRole: "SYNC_MASTER",
        inSyncReplicas: 2,
        minInSyncReplicas: 2,
      };
      const node = new TransactionNode(world, "broker", options);
      await node.start();
      const slave = new TransactionNode(world, "slave", {
        ...options,
        brokerRole: "SLAVE",
        brokerId: 1,
        haMasterAddress: `${node.host.address}:10912`,
      });
      await slave.start();
      await world.run(() => node.broker.admin.status().inSyncSlaveNums === 1, 30_000);
      const producer = new TransactionalProducer(world, node.address);
      await producer.beat();
      const sent: Sent[] = [];
      for (let step = 0; step < 15; step++) {
        if (roll(3) < 2) await sendAndEnd(producer, roll, sent);
        else await producer.wait(roll(20_000));
      }
      await world.advance(roll(3000));
      node.host.crash();
      assert.deepEqual(await world.drive(slave.broker.admin.switchRole({ role: "ASYNC_MASTER", force: true })), {
        type: "done",
      });
      slave.broker.admin.updateConfig({ inSyncReplicas: 1, minInSyncReplicas: 1 });
      producer.address = slave.address;
      for (let step = 0; step < 8; step++) {
        if (roll(3) < 2) await sendAndEnd(producer, roll, sent);
        else await endLate(producer, roll, sent);
      }
      await producer.wait(60_000);
      await judge(slave, producer, sent);
      producer.close();
      await slave.stop();
    });
  }
});
