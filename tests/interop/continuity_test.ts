// Two minutes of real Java producers and consumers on a pair of ours, round after round of disturbances: the master is
// stopped and killed, consumers are stopped and killed, the roles change to the slave and back, either node is killed, and
// both at once. Every message that was acknowledged arrives, unchanged; every queue is in order; what came twice is counted,
// and there is no more of it than restarts explain.
//
// Acknowledged means on both disks (SYNC_FLUSH, inSyncReplicas=2), so no kill may cost a message.

import assert from "node:assert/strict";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import {
  acknowledged,
  judgeLoad,
  type LoadProcess,
  sendCounts,
  startLoadConsumer,
  startLoadProducer,
  untilConsumed,
  untilSent,
} from "./lab/client_load.ts";
import { javaLoad } from "./lab/clients.ts";
import { assertSameLog, assertSameQueues } from "./lab/compare.ts";
import { type LabBroker, LabCluster } from "./lab/lab_cluster.ts";
import { run, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { cliCommand } from "./lab/twinlog.ts";

const FILE = 64 * 1024 * 1024;
const TOPIC = "Continuity";
const RUN_MS = 120_000;
/** Sends go on at the latest so long after a disturbance. */
const RESUME_MS = 30_000;
const java = await hasJava();

describe("continuity", { skip: java ? false : "no Java here" }, () => {
  const directory = java ? scratch("continuity") : "";
  let cluster: LabCluster;
  let brokers: LabBroker[];
  let producer: LoadProcess;
  let orderly: LoadProcess[];
  let concurrent: LoadProcess[];
  let began = 0;
  let rounds = 0;

  const settings = {
    flushDiskType: "SYNC_FLUSH",
    inSyncReplicas: 2,
    totalReplicas: 2,
    mappedFileSizeCommitLog: FILE,
  };

  before(async () => {
    const lab = await ApacheLab.create("5.3.3", directory);
    const program = await javaLoad("5.3.3", directory);
    cluster = new LabCluster(lab, directory);
    const namesrv = (await cluster.startNamesrv("node")).address;
    const pair = { name: "c-a", namesrv, settings };
    brokers = [
      await cluster.startBroker({ ...pair, kind: "deno", role: "SYNC_MASTER" }),
      await cluster.startBroker({ ...pair, kind: "bun", role: "SLAVE" }),
    ];
    await until("the slave to follow", 30_000, async () => (await brokers[1]!.twinlog!.ha()).master?.verified);
    producer = startLoadProducer(program, { directory, namesrv, topic: TOPIC, threads: 4, pauseMs: 10 });
    const consumer = (group: string, isOrderly: boolean) =>
      startLoadConsumer(program, { directory, namesrv, topic: TOPIC, group, orderly: isOrderly });
    orderly = [consumer("G_orderly", true), consumer("G_orderly", true)];
    concurrent = [consumer("G_concurrent", false), consumer("G_concurrent", false)];
    began = performance.now();
    await untilSent(producer, 200);
  }, { timeout: 120_000 });
  after(async () => {
    for (const child of [producer, ...orderly ?? [], ...concurrent ?? []]) await child?.kill();
  });

  /** A disturbance: how long sends stood still, and that both groups go on after it. */
  async function disturb(what: string, act: () => Promise<void>): Promise<void> {
    await act();
    const acted = performance.now();
    await untilSent(producer, acknowledged(producer).length + 100, RESUME_MS);
    const sentMs = Math.round(performance.now() - acted);
    const sent = acknowledged(producer);
    const last = sent.at(-1)!;
    await until(
      `both groups to have what was sent after: ${what}`,
      RESUME_MS + 30_000,
      () =>
        [orderly, concurrent].every((group) =>
          group.some((one) => one.lines().some((line) => line.startsWith(`${last.thread} ${last.number} `)))
        ),
    );
    const consumedMs = Math.round(performance.now() - acted);
    console.log(`${what}: 100 sends after ${sentMs} ms, consumed after ${consumedMs} ms; ${sent.length} sent`);
  }

  async function switchOver(from: LabBroker, to: LabBroker): Promise<void> {
    const [command, leading] = cliCommand("bun");
    const admin = (broker: LabBroker) => broker.twinlog!.addresses.admin;
    await run(command, [...leading, "switchover", "--from", admin(from), "--to", admin(to)]);
  }

  const restartGently = (broker: () => LabBroker) => async () => {
    await broker().end("stop");
    await broker().start();
  };
  const restartAfterKill = (broker: () => LabBroker) => async () => {
    await broker().end("kill");
    await broker().start();
  };
  const a = () => brokers[0]!;
  const b = () => brokers[1]!;
  const STEPS: readonly [string, () => Promise<void>][] = [
    ["an orderly consumer leaves and comes back", async () => {
      await orderly[1]!.stop();
      orderly[1]!.restart();
    }],
    ["the master is stopped and started", restartGently(a)],
    ["a consumer is killed and started", async () => {
      await concurrent[0]!.kill();
      concurrent[0]!.restart();
    }],
    // Its locks die with the master's memory; else they would keep the others from its queues for a minute.
    ["the master and an orderly consumer are killed and started", async () => {
      await orderly[0]!.kill();
      await restartAfterKill(a)();
      orderly[0]!.restart();
    }],
    ["the roles change to the slave", () => switchOver(a(), b())],
    ["the new slave is killed and started", restartAfterKill(a)],
    ["the new master is killed and started", restartAfterKill(b)],
    ["the roles change back", async () => {
      await until("the slave to follow", 30_000, async () => (await a().twinlog!.ha()).master?.verified);
      await switchOver(b(), a());
    }],
    ["both are killed and started", async () => {
      for (const broker of brokers) await broker.end("kill");
      for (const broker of brokers) await broker.start();
    }],
  ];
  it("goes on after every disturbance, round after round", { timeout: 240_000 }, async () => {
    for (; rounds === 0 || performance.now() - began < RUN_MS; rounds++) {
      for (const [what, act] of STEPS) await disturb(what, act);
    }
  });

  it("lost nothing, and kept every queue in order", { timeout: 120_000 }, async () => {
    await producer.stop();
    console.log(`sends: ${JSON.stringify(sendCounts(producer))}`);
    for (const [name, group] of Object.entries({ orderly, concurrent })) {
      await untilConsumed(producer, group);
      for (const one of group) await one.stop();
      const counts = judgeLoad(producer, group);
      console.log(`${name}: ${JSON.stringify(counts)}`);
      assert.ok(counts.acknowledged > 1000, `only ${counts.acknowledged} messages`);
      // Each of the disturbances takes a group back to its last commit, some seconds at most.
      assert.ok(counts.deliveredTwice < counts.acknowledged / 2, JSON.stringify(counts));
      if (name === "orderly") assert.ok(counts.runs < 4 * 4 * STEPS.length * rounds, JSON.stringify(counts));
    }
  });

  it("has two equal stores", { timeout: 60_000 }, async () => {
    const { maxOffset } = await a().twinlog!.ha();
    await b().twinlog!.waitForMax(maxOffset);
    for (const broker of [b(), a()]) assert.equal(await broker.process.stop(), 0, broker.process.output().slice(-2000));
    assertSameLog(a().store, b().store, 0, maxOffset, FILE);
    assertSameQueues(a().store, b().store, 0, maxOffset);
    const [command, leading] = cliCommand("bun");
    for (const { store } of [a(), b()]) await run(command, [...leading, "verify", path.resolve(store)]);
  });
});
