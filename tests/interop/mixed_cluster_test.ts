// Clusters of both kinds under real Java clients: our slave beside an Apache master, which consumers read when the master
// has died; Apache brokers at our NameServer; an Apache slave of our master, with consumers on either; and one topic over
// an Apache broker and one of ours, shared by one group. Everything is verified by content.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import {
  judgeLoad,
  LoadProcess,
  startLoadConsumer,
  startLoadProducer,
  untilConsumed,
  untilSent,
} from "./lab/client_load.ts";
import { type ClientProgram, javaLoad } from "./lab/clients.ts";
import { assertSameLog } from "./lab/compare.ts";
import { type Kind, type LabBroker, LabCluster } from "./lab/lab_cluster.ts";
import { remotingCall, runtimeInfo } from "./lab/remoting_call.ts";
import { until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";

const UPDATE_AND_CREATE_TOPIC = 17;
const FILE = 64 * 1024 * 1024;
const java = await hasJava();

/** End of a broker's log, as it says over remoting. */
async function logEnd(broker: LabBroker): Promise<number> {
  const table = await until(`${broker.name} to tell its figures`, 10_000, () => runtimeInfo(broker.port));
  return Number(table.commitLogMaxOffset);
}

async function untilTwins(master: LabBroker, slave: LabBroker): Promise<number> {
  let end = -1;
  await until("equal logs", 30_000, async () => (end = await logEnd(master)) === await logEnd(slave));
  return end;
}

describe("mixed clusters", { skip: java ? false : "no Java here" }, () => {
  const directory = java ? scratch("mixed") : "";
  let lab: ApacheLab;
  let cluster: LabCluster;
  let program: ClientProgram;
  const processes: { kill(): Promise<void> }[] = [];

  before(async () => {
    lab = await ApacheLab.create("5.3.3", directory);
    cluster = new LabCluster(lab, directory);
    program = await javaLoad("5.3.3", directory);
  });
  after(async () => {
    for (const child of processes) await child.kill();
  });

  const produce = (namesrv: string, topic: string): LoadProcess => {
    const producer = startLoadProducer(program, { directory, namesrv, topic, threads: 4, pauseMs: 5 });
    processes.push(producer);
    return producer;
  };
  const consume = (
    options: { namesrv: string; topic: string; group: string; orderly?: boolean; brokerId?: number },
  ): LoadProcess => {
    const consumer = startLoadConsumer(program, { directory, ...options });
    processes.push(consumer);
    return consumer;
  };
  const createTopic = async (topic: string, brokers: readonly LabBroker[], queues = 4) => {
    for (const { port, name } of brokers) {
      const { code, remark } = await remotingCall(port, UPDATE_AND_CREATE_TOPIC, {
        topic,
        defaultTopic: "TBW102",
        readQueueNums: String(queues),
        writeQueueNums: String(queues),
        perm: "6",
        topicFilterType: "SINGLE_TAG",
        topicSysFlag: "0",
        order: "false",
      });
      assert.equal(code, 0, `${topic} at ${name}: ${remark}`);
    }
  };

  it("lets consumers read our slave when its Apache master has died", { timeout: 120_000 }, async () => {
    const namesrv = (await cluster.startNamesrv("apache")).address;
    const master = await cluster.startBroker({ kind: "apache", name: "m-a", namesrv });
    const slave = await cluster.startBroker({ kind: "bun", name: "m-a", role: "SLAVE", namesrv });
    await createTopic("FailOver", [master]);
    const producer = produce(namesrv, "FailOver");
    const running = consume({ namesrv, topic: "FailOver", group: "G_running" });
    await untilSent(producer, 300);
    await producer.stop();
    await untilConsumed(producer, [running]);
    const end = await untilTwins(master, slave);
    assertSameLog(master.store, slave.store, 0, end, FILE);
    // What the slave knows of topics and offsets it copied from its master.
    await until("the offsets at our slave", 30_000, async () => {
      const group = await slave.twinlog!.admin("GET", "/groups/G_running").catch(() => null);
      return group?.topics.includes("FailOver") && group.diffTotal === 0;
    });
    await master.process.destroy();
    const late = consume({ namesrv, topic: "FailOver", group: "G_late" });
    await untilConsumed(producer, [late]);
    assert.equal(judgeLoad(producer, [late]).deliveredTwice, 0);
    const deliveries = running.lines().length;
    await master.start();
    const more = produce(namesrv, "FailOver");
    await untilSent(more, 100);
    await more.stop();
    await until("the running consumer to go on", 60_000, () => running.lines().length >= deliveries + 100);
    for (const one of [running, late]) await one.stop();
    await slave.end("stop");
    await master.end("stop");
  });

  it("routes clients to Apache brokers at our NameServer", { timeout: 120_000 }, async () => {
    const namesrv = (await cluster.startNamesrv("node")).address;
    const brokers = [
      await cluster.startBroker({ kind: "apache", name: "n-a", namesrv }),
      await cluster.startBroker({ kind: "apache", name: "n-b", namesrv }),
    ];
    await sharedTopic(namesrv, "AtOurs", brokers);
    const list = await lab.mqadmin("clusterList", "-n", namesrv);
    for (const broker of brokers) assert.match(list, new RegExp(broker.address));
    for (const broker of brokers) await broker.process.destroy();
  });

  it("feeds an Apache slave from our master, with a consumer on each", { timeout: 120_000 }, async () => {
    const namesrv = (await cluster.startNamesrv("apache")).address;
    const settings = { slaveReadEnable: "true" };
    const master = await cluster.startBroker({ kind: "deno", name: "s-a", role: "SYNC_MASTER", namesrv, settings });
    await createTopic("OnEach", [master]);
    // It copies its master's topics 10 s after its start, then every minute only.
    const slave = await cluster.startBroker({ kind: "apache", name: "s-a", role: "SLAVE", namesrv, settings });
    const producer = produce(namesrv, "OnEach");
    await untilSent(producer, 50);
    const atMaster = consume({ namesrv, topic: "OnEach", group: "G_master", brokerId: 0 });
    const atSlave = consume({ namesrv, topic: "OnEach", group: "G_slave", brokerId: 1 });
    await untilSent(producer, 400);
    await producer.stop();
    await untilConsumed(producer, [atMaster]);
    await untilConsumed(producer, [atSlave], 90_000);
    for (const one of [atMaster, atSlave]) {
      await one.stop();
      assert.equal(judgeLoad(producer, [one]).deliveredTwice, 0);
    }
    for (const broker of [master, slave]) {
      assert.ok(Number((await runtimeInfo(broker.port))!.msgGetTotalTodayNow) > 300, `nobody read ${broker.kind}'s`);
    }
    const end = await untilTwins(master, slave);
    assertSameLog(master.store, slave.store, 0, end, FILE);
    assert.equal(await master.process.stop(), 0);
    await slave.process.destroy();
  });

  for (const kind of ["deno", "bun"] as const) {
    it(`spreads a topic over Apache's broker and ours on ${kind}, with one group`, { timeout: 120_000 }, async () => {
      const namesrv = (await cluster.startNamesrv(kind === "deno" ? "apache" : "bun")).address;
      const start = (kind: Kind, name: string) => cluster.startBroker({ kind, name, namesrv });
      const brokers = [await start("apache", `t-a-${kind}`), await start(kind, `t-b-${kind}`)];
      await sharedTopic(namesrv, `Shared${kind}`, brokers);
      for (const broker of brokers) await broker.process.destroy();
    });
  }

  /** Two members share a topic that is on both brokers; one leaves and comes back. */
  async function sharedTopic(namesrv: string, topic: string, brokers: readonly LabBroker[]): Promise<void> {
    await createTopic(topic, brokers, 2);
    const [stays, moves] = [1, 2].map(() => consume({ namesrv, topic, group: `G_${topic}`, orderly: true }));
    const members = [stays!, moves!];
    const producer = produce(namesrv, topic);
    const queuesOf = (lines: readonly string[]) =>
      new Set(lines.map((line) => line.split(" ").slice(2, 4).join("/"))).size;
    await until("both members to consume", 60_000, () => members.every((one) => queuesOf(one.lines()) > 0));
    await moves!.stop();
    const before = stays!.lines().length;
    await until("the other one to take all", 60_000, () => queuesOf(stays!.lines().slice(before)) === 4);
    const moved = moves!.lines().length;
    moves!.restart();
    await until("it to come back", 60_000, () => moves!.lines().length > moved);
    await producer.stop();
    await untilConsumed(producer, members);
    for (const one of members) await one.stop();
    const counts = judgeLoad(producer, members);
    console.log(topic, JSON.stringify(counts));
    const used = new Set(members.flatMap((one) => one.lines()).map((line) => line.split(" ")[2]));
    assert.deepEqual([...used].sort(), brokers.map((broker) => broker.name));
    assert.equal(counts.storedTwice, 0);
    // A queue that changes hands may be read again from its last commit, a second ago.
    assert.ok(counts.deliveredTwice < 300, JSON.stringify(counts));
    assert.ok(counts.runs <= 4 * 5, JSON.stringify(counts));
  }
});
