// Reports about what a slave copies beside the log.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { MemoryLogger } from "../support/ha_options.ts";
import { OldSlaveSynchronize } from "./old/old_slave_synchronize.ts";

const OFFSETS = "/store/config/consumerOffset.json";
const KEY = "T@G";
const OF_QUEUE = { consumerGroup: "G", topic: "T", queueId: 0 };

describe("consumer offsets", () => {
  // apache/rocketmq#1094, 4.x: the master is down for five minutes, the slave serves its consumers and keeps their
  // offsets; the master comes back with those of five minutes ago, the slave copies them over its own within seconds,
  // and consumers get everything since once more. Here the slave is promoted: it copies nothing from whom it followed,
  // and the master copies from it once demoted.
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

  // The same without a promotion: the slave stays a slave, and consumers commit to it while its master is away.
  it("1094: a slave keeps what consumers committed to it until they go on at the master that came back", async () => {
    const { world, master, slave } = await pair();
    const consumer = new Consumer(world);
    assert.equal(await consumer.commit(master, 100), 0);
    await world.run(() => slave.offset() === 100, 120_000);
    assert.equal(await consumer.commit(master, 105), 0);
    await world.advance(6_000);
    await world.run(() => master.offset() === 105, 60_000);
    master.host.kill();
    await world.advance(20_000);
    assert.equal(await consumer.commit(slave, 900), 0);
    await world.advance(300_000);
    assert.equal(slave.offset(), 900);
    await master.start();
    await world.advance(120_000);
    assert.equal(master.offset(), 105);
    assert.equal(slave.offset(), 900, "though it has copied its master's tables since");
    assert.equal(await consumer.ask(slave), 900);
    await slave.stop();
    await slave.start();
    await world.advance(120_000);
    assert.equal(slave.offset(), 900, "also after a restart");
    assert.equal(await consumer.commit(master, 910), 0);
    await world.run(() => slave.offset() === 910, 120_000);
    await master.stop();
    await slave.stop();
    consumer.close();
  });
});

/** A consumer's requests about its offset. */
class Consumer {
  readonly #world: SimulatedWorld;
  readonly #client: RemotingClient;

  constructor(world: SimulatedWorld) {
    this.#world = world;
    const { net, clock } = world.host("consumer").runtime;
    this.#client = new RemotingClient({ net, clock });
  }

  /** Beats, so that the group is there, and commits. Returns the answer's code. */
  async commit(machine: Machine, commitOffset: number): Promise<number> {
    const heartbeat = {
      clientID: "c",
      producerDataSet: [],
      consumerDataSet: [{
        groupName: "G",
        consumeType: "CONSUME_PASSIVELY",
        messageModel: "CLUSTERING",
        consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
        subscriptionDataSet: [{ topic: "T", subString: "*", subVersion: 1 }],
      }],
    };
    await this.#send(machine, RequestCode.HEART_BEAT, {}, JSON.stringify(heartbeat));
    return (await this.#send(machine, RequestCode.UPDATE_CONSUMER_OFFSET, { ...OF_QUEUE, commitOffset })).code;
  }

  /** Where the node says the group is. */
  async ask(machine: Machine): Promise<number> {
    return Number((await this.#send(machine, RequestCode.QUERY_CONSUMER_OFFSET, OF_QUEUE)).extFields.get("offset"));
  }

  close(): void {
    this.#client.close();
  }

  #send(machine: Machine, code: number, ext: ExtValues, body = ""): Promise<RemotingCommand> {
    const request = createRequest(code, ext, utf8.encode(body));
    return this.#world.drive(this.#client.invoke(`${machine.host.address}:10911`, request, 3000));
  }
}

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

/** A master that holds a message, and its slave, which has copied everything. */
async function pair() {
  const world = new SimulatedWorld(1094);
  const master = new Machine(world, "master", { brokerRole: "ASYNC_MASTER" });
  const slave = new Machine(world, "slave", {
    brokerRole: "SLAVE",
    brokerId: 1,
    haMasterAddress: `${master.host.address}:10912`,
  });
  await master.start();
  const one = { topic: "T", queueId: 0, body: new Uint8Array(100), properties: new Map<string, string>(), flag: 0 };
  // Offsets beyond a slave's queue do not stay, so there are as many messages as are consumed here.
  await world.drive(Promise.all(Array.from({ length: 1000 }, () => master.broker.admin.put(one))));
  await master.stop();
  master.commit(100);
  await master.start();
  await slave.start();
  await world.run(() => slave.offset() === 100, 120_000);
  await world.run(() => slave.broker.admin.status().maxOffset === master.broker.admin.status().maxOffset, 60_000);
  return { world, master, slave };
}

/** The master is down, its slave was promoted and has newer offsets. */
async function failedOver() {
  const { world, master, slave } = await pair();
  master.host.kill();
  await world.advance(20_000);
  assert.deepEqual(await world.drive(slave.broker.admin.switchRole({ role: "ASYNC_MASTER" })), { type: "done" });
  await slave.stop();
  slave.commit(900);
  await slave.start();
  await world.advance(300_000);
  return { world, master, slave };
}
