// Reports about what a slave copies beside the log.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { MemoryLogger } from "../support/ha_options.ts";
import { OldSlaveSynchronize } from "./old/old_slave_synchronize.ts";

const OFFSETS = "/store/config/consumerOffset.json";
const KEY = "T@G";

describe("consumer offsets", () => {
  // apache/rocketmq#1094, 4.x: the master is down for five minutes, the slave serves its consumers and keeps their
  // offsets; the master comes back with those of five minutes ago, the slave copies them over its own within seconds,
  // and consumers get everything since once more. A Twinlog slave does not serve consumers: it is promoted for that,
  // and what is tested here is that a promoted slave copies nothing from whom it followed, and that the master copies
  // from it once demoted.
  it("1094: a master that comes back does not turn back the offsets of whoever stood in for it", async () => {
    const { world, master, slave } = await failedOver();
    const old = new OldSlaveSynchronize({
      net: world.host("old").runtime.net,
      clock: world.host("old").runtime.clock,
      masterAddr: `${master.host.address}:10911`,
      offsetTable: new Map([[KEY, "900"]]),
    });
    old.start((error) => assert.fail(String(error)));
    await master.start();
    await world.advance(120_000);
    assert.ok(old.copies > 0);
    assert.equal(old.offsetTable.get(KEY), "100", "five minutes of messages are consumed again");
    assert.equal(slave.offset(), 900, "ours has kept what it had");

    await world.drive(
      master.broker.admin.switchRole({ role: "SLAVE", masterAddress: `${slave.host.address}:10912`, brokerId: 1 }),
    );
    await world.advance(60_000);
    assert.equal(master.offset(), 900, "and who comes back takes it over as a slave");
    await world.drive(old.stop());
    await master.stop();
    await slave.stop();
  });
});

/** A machine with a node. */
class Machine {
  readonly host: SimulatedHost;
  broker!: BrokerNode;
  readonly #world: SimulatedWorld;
  readonly #options: Partial<Config>;

  constructor(world: SimulatedWorld, name: string, options: Partial<Config>) {
    this.#world = world;
    this.host = world.host(name);
    this.#options = options;
  }

  async start(): Promise<void> {
    if (!this.host.isRunning) this.host.restart();
    const { runtime } = this.host;
    const { config } = createConfig({
      brokerName: "b",
      listenPort: 10911,
      storePathRootDir: "/store",
      adminAddress: null,
      brokerIP1: this.host.address,
      mappedFileSizeCommitLog: 64 * 1024,
      maxHashSlotNum: 50,
      maxIndexNum: 200,
      ...this.#options,
    }, runtime.process);
    this.broker = await this.#world.drive(startBroker({ config, runtime, logger: new MemoryLogger() }));
  }

  async stop(): Promise<void> {
    await this.#world.drive(this.broker.stop());
  }

  /** What consumers would have committed. To be called while the node is down: it serves none. */
  commit(offset: number): void {
    const { fs } = this.host.runtime;
    fs.makeDirectory("/store/config");
    fs.writeFile(OFFSETS, utf8.encode(JSON.stringify({ offsetTable: { [KEY]: { "0": offset } } })));
  }

  /** The group's offset in queue 0, as its file has it; -1 when it has none. */
  offset(): number {
    const bytes = this.host.runtime.fs.readFile(OFFSETS);
    const match = bytes === null ? null : utf8.decode(bytes).match(/T@G[^}]*?:\s*\{\s*"?0"?\s*:\s*(\d+)/);
    return match === null ? -1 : Number(match[1]);
  }
}

/** The master is down, its slave was promoted and has newer offsets. */
async function failedOver() {
  const world = new SimulatedWorld(1094);
  const master = new Machine(world, "master", { brokerRole: "ASYNC_MASTER" });
  const slave = new Machine(world, "slave", {
    brokerRole: "SLAVE",
    brokerId: 1,
    haMasterAddress: `${master.host.address}:10912`,
  });
  master.commit(100);
  await master.start();
  await world.drive(master.broker.admin.put({
    topic: "T",
    queueId: 0,
    body: new Uint8Array(100),
    properties: new Map(),
    flag: 0,
  }));
  await slave.start();
  await world.run(() => slave.offset() === 100, 120_000);
  await world.run(() => slave.broker.admin.status().maxOffset === master.broker.admin.status().maxOffset, 60_000);
  master.host.kill();
  await world.advance(20_000);
  assert.deepEqual(await world.drive(slave.broker.admin.switchRole({ role: "ASYNC_MASTER" })), { type: "done" });
  await slave.stop();
  slave.commit(900);
  await slave.start();
  await world.advance(300_000);
  return { world, master, slave };
}
