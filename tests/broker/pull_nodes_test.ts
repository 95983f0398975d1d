// Pulls over the wire of whole nodes on simulated machines: held and woken, at a slave, over a change of roles and a stop.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import { type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { decodeMessage } from "../../src/store/message_codec.ts";

const SUSPEND_MS = 15_000;

let world: SimulatedWorld;
let client: RemotingClient;
let nodes: { readonly name: string; readonly host: SimulatedHost; broker: BrokerNode }[];

beforeEach(() => {
  world = new SimulatedWorld(7);
  nodes = [];
  const { net, clock } = world.host("client").runtime;
  client = new RemotingClient({ net, clock });
});
afterEach(async () => {
  client.close();
  for (const { host, broker } of nodes) if (host.isRunning) await world.drive(broker.stop());
});

async function start(name: string, options: Partial<Config> = {}): Promise<BrokerNode> {
  const host = world.host(name);
  const { runtime } = host;
  const shared: Partial<Config> = {
    brokerName: "b",
    listenPort: 10911,
    storePathRootDir: "/store",
    adminAddress: null,
    namesrvEnable: false,
    mappedFileSizeCommitLog: 1024 * 1024,
    maxHashSlotNum: 5000,
    maxIndexNum: 20_000,
  };
  const { config } = createConfig({ ...shared, ...options }, runtime.process);
  const broker = await world.drive(startBroker({ config, runtime }));
  nodes.push({ name, host, broker });
  return broker;
}

async function put(broker: BrokerNode, text: string, tag = "a"): Promise<void> {
  const properties = new Map([["TAGS", tag]]);
  const message = { topic: "T", queueId: 0, body: utf8.encode(text), properties, flag: 0 };
  assert.equal((await world.drive(broker.admin.put(message))).status, "PUT_OK");
}

function pull(name: string, ext: ExtValues = {}): Promise<RemotingCommand> {
  const request = createRequest(RequestCode.LITE_PULL_MESSAGE, {
    consumerGroup: "G",
    topic: "T",
    queueId: 0,
    queueOffset: 0,
    maxMsgNums: 32,
    sysFlag: 6,
    commitOffset: 0,
    suspendTimeoutMillis: SUSPEND_MS,
    subscription: "*",
    subVersion: 1,
    expressionType: "TAG",
    ...ext,
  });
  return client.invoke(`${world.host(name).address}:10911`, request, 30_000);
}

function bodiesOf({ body }: RemotingCommand): string[] {
  const bodies: string[] = [];
  for (let at = 0; at < body.length;) {
    const found = decodeMessage(body, at);
    bodies.push(utf8.decode(found.body));
    at += found.storeSize;
  }
  return bodies;
}

/** Long enough for a request to get there and be held. */
const settled = () => world.advance(200);

async function pair(options: Partial<Config> = {}): Promise<{ master: BrokerNode; slave: BrokerNode }> {
  const master = await start("master");
  await put(master, "first");
  const haMasterAddress = `${world.host("master").address}:10912`;
  const slave = await start("slave", { brokerRole: "SLAVE", brokerId: 1, haMasterAddress, ...options });
  // Its tables come with SlaveSynchronize.
  await world.advance(20_000);
  assert.equal(slave.admin.status().maxOffset, master.admin.status().maxOffset);
  return { master, slave };
}

describe("pulls of whole nodes", () => {
  it("are held, and answered by the message that is for them, or at their deadline", async () => {
    const master = await start("master");
    await put(master, "m0");
    assert.deepEqual(bodiesOf(await world.drive(pull("master"))), ["m0"]);
    const waits = pull("master", { queueOffset: 1, subscription: "b" });
    await settled();
    await put(master, "m1", "a");
    await put(master, "m2", "b");
    const answer = await world.drive(waits);
    assert.deepEqual([answer.code, bodiesOf(answer)], [ResponseCode.SUCCESS, ["m2"]]);
    const { clock } = world.host("master").runtime;
    const beganMs = clock.monotonic();
    const late = await world.drive(pull("master", { queueOffset: 3 }));
    assert.equal(late.code, ResponseCode.PULL_NOT_FOUND);
    assert.ok(Math.abs(clock.monotonic() - beganMs - SUSPEND_MS) < 200, `${clock.monotonic() - beganMs} ms`);
  });

  it("are refused by a slave while its master is there, and served by it when it is gone", async () => {
    const { slave } = await pair();
    assert.equal((await world.drive(pull("slave"))).code, ResponseCode.SYSTEM_BUSY);
    world.host("master").kill();
    await world.run(() => slave.admin.status().master?.state !== "TRANSFER", 60_000);
    assert.deepEqual(bodiesOf(await world.drive(pull("slave"))), ["first"]);
    const waits = pull("slave", { queueOffset: 1 });
    await settled();
    // Promoted, it answers them: who may be served where is another question now.
    const change = slave.admin.switchRole({ role: "ASYNC_MASTER", force: true });
    assert.deepEqual(await world.drive(change), { type: "done" });
    assert.equal((await world.drive(waits)).code, ResponseCode.PULL_NOT_FOUND);
    const again = pull("slave", { queueOffset: 1 });
    await settled();
    await put(slave, "second");
    assert.deepEqual(bodiesOf(await world.drive(again)), ["second"]);
  });

  it("are served by a slave whose reading is enabled; who has caught up is sent back to the master", async () => {
    await pair({ slaveReadEnable: true });
    const found = await world.drive(pull("slave"));
    assert.deepEqual(bodiesOf(found), ["first"]);
    assert.equal(found.extFields.get("suggestWhichBrokerId"), "0");
    assert.equal((await world.drive(pull("slave", { queueOffset: 1 }))).code, ResponseCode.PULL_RETRY_IMMEDIATELY);
    await put(nodes[0]!.broker, "second");
    await settled();
    assert.deepEqual(bodiesOf(await world.drive(pull("slave", { queueOffset: 1 }))), ["second"]);
  });

  it("keep no node from stopping, and are forgotten when the client goes", async () => {
    const master = await start("master");
    await put(master, "m0");
    const waits = pull("master", { queueOffset: 1 });
    waits.catch(() => {});
    await settled();
    const { clock } = world.host("master").runtime;
    const timers = world.host("master").timerCount;
    client.close();
    await settled();
    assert.ok(world.host("master").timerCount < timers, "its deadline is forgotten");
    await put(master, "m1");

    const { net } = world.host("client").runtime;
    client = new RemotingClient({ net, clock: world.host("client").runtime.clock });
    const held = pull("master", { queueOffset: 2 });
    held.catch(() => {});
    await settled();
    const beganMs = clock.monotonic();
    await world.drive(master.stop());
    assert.ok(clock.monotonic() - beganMs < 1000, `${clock.monotonic() - beganMs} ms`);
  });
});
