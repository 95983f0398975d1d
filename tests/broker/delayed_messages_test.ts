// Delay levels and delivery times on whole nodes over simulated machines: every level's delay, kills, losses of power and
// changes of the role in between. Each delayed message comes at least once, in the order of its level; and, because the
// log's index is asked what was delivered, not twice where that can be told.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import type { StoredMessage } from "../../src/store/types.ts";
import { MemoryLogger } from "../support/ha_options.ts";

/** Messages that no crash may keep from coming are on the disk when they are answered. */
const SHARED: Partial<Config> = {
  brokerName: "b",
  listenPort: 10911,
  storePathRootDir: "/store",
  adminAddress: null,
  namesrvEnable: false,
  mappedFileSizeCommitLog: 1024 * 1024,
  mappedFileSizeTimerLog: 64 * 1024,
  maxHashSlotNum: 5000,
  maxIndexNum: 20_000,
};

/** One machine and the node on it. */
class Node {
  readonly host: SimulatedHost;
  readonly logger = new MemoryLogger();
  readonly fatal: unknown[] = [];
  readonly #world: SimulatedWorld;
  readonly #options: Partial<Config>;
  broker!: BrokerNode;

  constructor(world: SimulatedWorld, name: string, options: Partial<Config> = {}) {
    this.#world = world;
    this.host = world.host(name);
    this.#options = options;
  }

  async start(): Promise<void> {
    if (!this.host.isRunning) this.host.restart();
    const { runtime } = this.host;
    const { config } = createConfig({ ...SHARED, ...this.#options }, runtime.process);
    const onFatal = (error: unknown) => void this.fatal.push(error);
    this.broker = await this.#world.drive(startBroker({ config, runtime, logger: this.logger, onFatal }));
  }

  async stop(): Promise<void> {
    await this.#world.drive(this.broker.stop());
    assert.deepEqual(this.fatal, []);
  }

  async put(topic: string, text: string, properties: Record<string, string>): Promise<StoredAt> {
    const outcome = await this.#world.drive(this.broker.admin.put({
      topic,
      queueId: 0,
      body: utf8.encode(text),
      properties: new Map(Object.entries({ UNIQ_KEY: `${topic}-${text}`, ...properties })),
      flag: 0,
    }));
    assert.equal(outcome.status, "PUT_OK", outcome.remark ?? "");
    return outcome.stored!;
  }

  /** A topic's delivered messages, in order. */
  async delivered(topic: string): Promise<StoredMessage[]> {
    const messages: StoredMessage[] = [];
    for (let offset = 0;;) {
      const request = { topic, queueId: 0, offset, maxNum: 256 };
      const read = await this.#world.drive(this.broker.admin.readByQueueOffset(request));
      if (read === null || read.messages.length === 0) return messages;
      messages.push(...read.messages);
      offset = read.nextOffset;
    }
  }

  async texts(topic: string): Promise<string[]> {
    return (await this.delivered(topic)).map((message) => utf8.decode(message.body));
  }

  count(topic: string): number {
    return this.broker.admin.queues(topic)?.find((queue) => queue.queueId === 0)?.maxOffset ?? 0;
  }

  async switchRole(role: "ASYNC_MASTER" | "SLAVE", masterAddress?: string): Promise<void> {
    const request = { role, force: true, ...(masterAddress === undefined ? {} : { masterAddress }) };
    assert.deepEqual(await this.#world.drive(this.broker.admin.switchRole(request)), { type: "done" });
  }

  get haAddress(): string {
    return `${this.host.address}:10912`;
  }
}

interface StoredAt {
  readonly storeTimestamp: number;
}

const range = (count: number) => Array.from({ length: count }, (_, i) => String(i));

async function pair(seed: number): Promise<{ world: SimulatedWorld; master: Node; slave: Node }> {
  const world = new SimulatedWorld(seed);
  const master = new Node(world, "master");
  await master.start();
  const options: Partial<Config> = { brokerRole: "SLAVE", brokerId: 1, haMasterAddress: master.haAddress };
  const slave = new Node(world, "slave", options);
  await slave.start();
  await follows(world, slave, master);
  return { world, master, slave };
}

async function follows(world: SimulatedWorld, slave: Node, master: Node): Promise<void> {
  const end = () => master.broker.admin.status().maxOffset;
  await world.run(() => slave.broker.admin.status().maxOffset === end(), 60_000);
}

describe("delay levels of a node", () => {
  it("deliver after their delay, all eighteen of them", async () => {
    const world = new SimulatedWorld(1);
    const node = new Node(world, "a");
    await node.start();
    const delays = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h".split(" ");
    const unitMs: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000 };
    const sent: number[] = [];
    for (const [index] of delays.entries()) {
      sent.push((await node.put(`L${index + 1}`, "x", { DELAY: String(index + 1) })).storeTimestamp);
    }
    await node.put("L18", "above", { DELAY: "99" });
    await world.run(() => node.count("L18") === 2, 3 * 3_600_000);
    for (const [index, delay] of delays.entries()) {
      const [message] = await node.delivered(`L${index + 1}`);
      const late = message!.storeTimestamp - sent[index]! - Number(delay.slice(0, -1)) * unitMs[delay.slice(-1)]!;
      assert.ok(late >= 0 && late < 50, `Level ${index + 1} came ${late} ms late`);
    }
    await node.stop();
  });

  it("come once and in order over kills and losses of power", async () => {
    for (const seed of range(12).map(Number)) {
      const world = new SimulatedWorld(seed);
      const node = new Node(world, "a", { flushDiskType: "SYNC_FLUSH" });
      await node.start();
      for (let sent = 0; sent < 60;) {
        for (let i = 0; i < 10; i++, sent++) {
          await node.put("A", String(sent), { DELAY: "1" });
          await node.put("B", String(sent), { DELAY: "2" });
          await node.put("C", String(sent), { DELAY: "3" });
        }
        await world.advance(500 + world.prng.nextInt(8000));
        if (world.prng.nextInt(2) === 0) node.host.kill();
        else node.host.crash();
        await world.advance(world.prng.nextInt(3000));
        await node.start();
      }
      await world.advance(30_000);
      for (const topic of ["A", "B", "C"]) {
        const texts = await node.texts(topic);
        assert.deepEqual(texts, range(60), `seed ${seed}, topic ${topic}`);
      }
      await node.stop();
    }
  });

  it("come once and in order when a slave is promoted", async () => {
    for (const seed of range(12).map(Number)) {
      const { world, master, slave } = await pair(seed);
      for (let i = 0; i < 200; i++) {
        await master.put("A", String(i), { DELAY: "1" });
        await master.put("B", String(i), { DELAY: "2" });
        if (i % 20 === 0) await world.advance(world.prng.nextInt(1500));
      }
      await follows(world, slave, master);
      await world.advance(world.prng.nextInt(4000));
      master.host.kill();
      await slave.switchRole("ASYNC_MASTER");
      await world.advance(20_000);
      for (const topic of ["A", "B"]) assert.deepEqual(await slave.texts(topic), range(200), `seed ${seed}`);
      await slave.stop();
    }
  });

  it("are neither lost nor doubled when two nodes change roles again and again", async () => {
    const { world, master, slave } = await pair(3);
    let [now, other] = [master, slave];
    let sent = 0;
    for (let round = 0; round < 8; round++) {
      for (let i = 0; i < 50; i++, sent++) await now.put("A", String(sent), { DELAY: String(1 + round % 3) });
      await world.advance(world.prng.nextInt(12_000));
      const atOnce = world.drive(now.broker.admin.setFenced(true));
      await atOnce;
      await follows(world, other, now);
      await now.switchRole("SLAVE", other.haAddress);
      await other.switchRole("ASYNC_MASTER");
      [now, other] = [other, now];
      await follows(world, other, now);
    }
    await world.advance(20_000);
    const texts = await now.texts("A");
    assert.deepEqual([...texts].sort(), range(sent).sort());
    await master.stop();
    await slave.stop();
  });
});

describe("delivery times of a node", () => {
  it("are kept to the second, over stops, kills and losses of power", async () => {
    for (const seed of range(8).map(Number)) {
      const world = new SimulatedWorld(seed);
      const node = new Node(world, "a", { flushDiskType: "SYNC_FLUSH" });
      await node.start();
      const due = new Map<string, number>();
      for (let sent = 0; sent < 200;) {
        for (let i = 0; i < 50; i++, sent++) {
          const delayMs = 1000 + world.prng.nextInt(60_000);
          const { storeTimestamp } = await node.put("A", String(sent), { TIMER_DELAY_MS: String(delayMs) });
          due.set(String(sent), storeTimestamp + delayMs);
        }
        await world.advance(500 + world.prng.nextInt(15_000));
        const fate = world.prng.nextInt(3);
        if (fate === 0) await node.stop();
        else if (fate === 1) node.host.kill();
        else node.host.crash();
        await node.start();
      }
      await world.advance(70_000);
      const messages = await node.delivered("A");
      const texts = messages.map((message) => utf8.decode(message.body));
      assert.deepEqual([...texts].sort(), range(200).sort(), `seed ${seed}`);
      for (const message of messages) {
        const early = due.get(utf8.decode(message.body))! - message.storeTimestamp;
        assert.ok(early <= 5, `seed ${seed}: a message came ${early} ms early`);
      }
      await node.stop();
    }
  });

  it("are kept when a slave is promoted: nothing lost, nothing twice", async () => {
    for (const seed of range(8).map(Number)) {
      const { world, master, slave } = await pair(seed);
      for (let i = 0; i < 300; i++) {
        await master.put("A", String(i), { TIMER_DELAY_MS: String(1000 + world.prng.nextInt(60_000)) });
      }
      await world.advance(5000 + world.prng.nextInt(30_000));
      await follows(world, slave, master);
      master.host.kill();
      await slave.switchRole("ASYNC_MASTER");
      await world.advance(70_000);
      const texts = await slave.texts("A");
      assert.deepEqual([...texts].sort(), range(300).sort(), `seed ${seed}`);
      await slave.stop();
    }
  });
});
