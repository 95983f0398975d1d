// Transactions on whole nodes in a simulated world, with a producer on the wire: half messages, commits and rollbacks,
// check-backs, and a crash or a failover in between.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { utf8 } from "../../../src/base/bytes.ts";
import { type BrokerNode, startBroker } from "../../../src/broker/broker_controller.ts";
import { createConfig } from "../../../src/config/load.ts";
import type { Config } from "../../../src/config/schema.ts";
import { RemotingClient } from "../../../src/remoting/remoting_client.ts";
import { createRequest, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { Clock } from "../../../src/runtime/runtime.ts";
import { type SimulatedHost, SimulatedWorld } from "../../../src/runtime/simulated/mod.ts";
import { decodeMessage, decodeMessageId } from "../../../src/store/message_codec.ts";
import type { StoredMessage } from "../../../src/store/types.ts";
import { MemoryLogger } from "../../support/ha_options.ts";

type Outcome = "commit" | "rollback" | "unknown";
const FLAGS: Record<Outcome, number> = { commit: 8, rollback: 12, unknown: 0 };

let world: SimulatedWorld;

/** One machine and the node on it. */
class Node {
  readonly host: SimulatedHost;
  readonly logger = new MemoryLogger();
  readonly fatal: unknown[] = [];
  readonly #options: Partial<Config>;
  broker!: BrokerNode;

  constructor(name: string, options: Partial<Config>) {
    this.host = world.host(name);
    this.#options = options;
  }

  get address(): string {
    return `${this.host.address}:10911`;
  }

  async start(): Promise<void> {
    if (!this.host.isRunning) this.host.restart();
    const { runtime } = this.host;
    const { config } = createConfig({
      brokerName: "b",
      listenPort: 10911,
      storePathRootDir: "/store",
      adminAddress: null,
      namesrvEnable: false,
      mappedFileSizeCommitLog: 64 * 1024,
      maxHashSlotNum: 50,
      maxIndexNum: 200,
      ...this.#options,
    }, runtime.process);
    const onFatal = (error: unknown) => void this.fatal.push(error);
    this.broker = await world.drive(startBroker({ config, runtime, logger: this.logger, onFatal }));
  }

  async stop(): Promise<void> {
    await world.drive(this.broker.stop());
    assert.deepEqual(this.fatal, []);
  }

  /** Bodies of a topic's messages, queue 0, in order. */
  async bodies(topic: string): Promise<string[]> {
    const bodies: string[] = [];
    for (let offset = 0;;) {
      const result = await world.drive(
        this.broker.admin.readByQueueOffset({ topic, queueId: 0, offset, maxNum: 32 }),
      );
      if (result === null || result.messages.length === 0) return bodies;
      for (const message of result.messages) bodies.push(utf8.decode(message.body));
      offset = result.messages.at(-1)!.queueOffset + 1;
    }
  }
}

/** A transactional producer: what it answers to checks is its policy. */
class Producer {
  readonly questions: StoredMessage[] = [];
  readonly policy = new Map<string, Outcome>();
  readonly #client: RemotingClient;
  readonly #clock: Clock;
  address: string;

  constructor(address: string) {
    this.address = address;
    const { net, clock } = world.host("producer").runtime;
    this.#clock = clock;
    this.#client = new RemotingClient({ net, clock, onRequest: (request) => this.#onRequest(request) });
  }

  async beat(): Promise<void> {
    const body = utf8.encode(JSON.stringify({
      clientID: "10.0.0.9@1",
      producerDataSet: [{ groupName: "pg" }],
      consumerDataSet: [],
    }));
    const ask = () => this.#client.invoke(this.address, createRequest(34, {}, body), 3000);
    // The connection may be one to a life that is over.
    const answer = await world.drive(ask().catch(ask));
    assert.equal(answer.code, 0);
  }

  /** Sends a half message; answers with what its end has to say. */
  async half(key: string): Promise<Record<string, string>> {
    const properties = { TRAN_MSG: "true", PGROUP: "pg", UNIQ_KEY: key, WAIT: "true" };
    const i = Object.entries(properties).map(([name, value]) => `${name}\x01${value}\x02`).join("");
    const ext = { a: "pg", b: "T", c: "TBW102", d: 4, e: 0, f: 4, g: this.#clock.now(), h: 0, i, j: 0, k: false };
    const answer = await world.drive(
      this.#client.invoke(this.address, createRequest(310, ext, utf8.encode(key)), 3000),
    );
    assert.equal(answer.code, 0, answer.remark ?? "");
    const { physicalOffset } = decodeMessageId(answer.extFields.get("msgId")!)!;
    return {
      producerGroup: "pg",
      tranStateTableOffset: answer.extFields.get("queueOffset")!,
      commitLogOffset: String(physicalOffset),
      fromTransactionCheck: "false",
      msgId: key,
      transactionId: key,
    };
  }

  /** Ends it, one-way as clients do. */
  async end(ext: Record<string, string>, outcome: Outcome): Promise<void> {
    const request = createRequest(37, { ...ext, commitOrRollback: FLAGS[outcome] });
    await world.drive(this.#client.invokeOneway(this.address, request, 3000));
  }

  #onRequest(request: RemotingCommand): null {
    if (request.code !== 39) return null;
    const message = decodeMessage(request.body);
    this.questions.push(message);
    const outcome = this.policy.get(utf8.decode(message.body)) ?? "unknown";
    const { tranStateTableOffset, commitLogOffset } = Object.fromEntries(request.extFields);
    const ext = {
      producerGroup: "pg",
      tranStateTableOffset,
      commitLogOffset,
      commitOrRollback: FLAGS[outcome],
      fromTransactionCheck: true,
      msgId: "k",
    };
    void this.#client.invokeOneway(this.address, createRequest(37, ext), 3000).catch(() => {});
    return null;
  }

  /** Time passes, with heartbeats. */
  async wait(ms: number): Promise<void> {
    for (const end = world.nowMs + ms; world.nowMs < end;) {
      await this.beat();
      await world.advance(Math.min(20_000, Math.max(0, end - world.nowMs)));
    }
  }

  asked(): string[] {
    return this.questions.map((message) => utf8.decode(message.body));
  }

  close(): void {
    this.#client.close();
  }
}

let node: Node;
let producer: Producer;

beforeEach(async () => {
  world = new SimulatedWorld(7);
  node = new Node("broker", {});
  await node.start();
  producer = new Producer(node.address);
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
    const slave = new Node("slave", {
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
