// A slave's copy of its master's tables over real sockets: from another Twinlog, from a master that answers as 4.9 does,
// and from one that answers nonsense.

import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "../../src/base/bytes.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { ConsumerOffsetManager, MessageRequestModeManager } from "../../src/broker/consumer_offset_manager.ts";
import { DelayOffsetManager } from "../../src/broker/schedule/delay_offset_manager.ts";
import { slaveSyncProcessors } from "../../src/broker/processors/slave_sync_processor.ts";
import { type ProcessorTable, RemotingServer, type RequestProcessor } from "../../src/remoting/remoting_server.ts";
import type { ConfigManagers } from "../../src/broker/config_managers.ts";
import { type FollowingLog, SlaveSynchronize } from "../../src/broker/slave_synchronize.ts";
import { SubscriptionGroupManager } from "../../src/broker/subscription_group_manager.ts";
import { TimerMetrics } from "../../src/broker/timer/timer_metrics.ts";
import { TopicConfigManager } from "../../src/broker/topic_config_manager.ts";
import { RMQ_SYS_TRANS_HALF_TOPIC, RMQ_SYS_TRANS_OP_HALF_TOPIC } from "../../src/broker/topic_validator.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { createResponse } from "../../src/remoting/remoting_command.ts";
import { ManualClock, recordingLogger, runtime, waitFor } from "../remoting/support.ts";

let root: string;
const cleanups: (() => void | Promise<void>)[] = [];

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), "twinlog-sync-"));
});

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(root, { recursive: true, force: true });
});

function makeManagers(name: string): { managers: ConfigManagers; directory: string } {
  const directory = join(root, name);
  mkdirSync(directory, { recursive: true });
  const options = { fs: runtime.fs, clock: runtime.clock, logger: SILENT_LOGGER, directory };
  const managers = {
    topicConfigManager: new TopicConfigManager(options),
    consumerOffsetManager: new ConsumerOffsetManager(options),
    delayOffsetManager: new DelayOffsetManager(options),
    subscriptionGroupManager: new SubscriptionGroupManager(options),
    messageRequestModeManager: new MessageRequestModeManager(options),
  };
  return { managers, directory };
}

/** A master's two ports, main and VIP (main - 2). */
async function startMaster(processors: ProcessorTable): Promise<{ address: string; stop: () => Promise<void> }> {
  for (;;) {
    const make = (port: number) =>
      new RemotingServer({
        net: runtime.net,
        clock: runtime.clock,
        logger: SILENT_LOGGER,
        processors,
        hostname: "127.0.0.1",
        port,
      });
    const main = make(0);
    const { port } = await main.start();
    const vip = make(port - 2);
    try {
      await vip.start();
    } catch {
      await main.stop();
      continue;
    }
    const stop = async () => {
      await main.stop();
      await vip.stop();
    };
    cleanups.push(stop);
    return { address: `127.0.0.1:${port}`, stop };
  }
}

const checkpoints: Uint8Array[] = [];

function timerMetricsIn(name: string): TimerMetrics {
  const clock = new ManualClock();
  const metrics = new TimerMetrics({ fs: runtime.fs, clock, logger: SILENT_LOGGER, directory: join(root, name) });
  metrics.load();
  return metrics;
}

/** A log that follows its master's, `flushedOffset` far. */
class FakeLog implements FollowingLog {
  masterMaxOffset: number | null = 100;
  flushedOffset = 100;
  isFollowing = true;
  isPart = true;
  isParted = false;

  holds(offset: number): boolean {
    return this.isFollowing && this.flushedOffset >= offset;
  }
}

function makeSlave(
  managers: ConfigManagers,
  clock: ManualClock,
  { ownAddress = "127.0.0.1:1", own = new FakeLog() } = {},
) {
  const { logger, lines } = recordingLogger();
  const client = new RemotingClient({ net: runtime.net, clock: runtime.clock });
  const slave = new SlaveSynchronize({
    client,
    clock,
    logger,
    managers,
    timer: { adoptCheckpoint: (body) => void checkpoints.push(body) },
    timerMetrics: timerMetricsIn("slave-metrics"),
    config: { slaveSyncIntervalMs: 10_000 },
    ownAddress: () => ownAddress,
    masterMaxOffset: () => Promise.resolve(own.masterMaxOffset),
    ownLog: own,
  });
  cleanups.push(async () => {
    await slave.stop();
    client.close();
  });
  return { slave, lines };
}

function fillMaster(directory: string, managers: ConfigManagers): void {
  const version = (counter: number) =>
    `"dataVersion":{"counter":${counter},"stateVersion":0,"timestamp":1795245003323}`;
  const files = {
    "topics.json": `{${
      version(3)
    },"topicConfigTable":{"T":{"attributes":{"message.type":"FIFO"},"perm":6,"topicName":"T"},"7":{"perm":6}}}`,
    "consumerOffset.json": `{${version(4)},"groupTopicMap":{"g":["T"]},"offsetTable":{"T@g":{0:10,1:12}}}`,
    "delayOffset.json": `{${version(0)},"offsetTable":{1:7}}`,
    "subscriptionGroup.json": `{${version(2)},"forbiddenTable":{},"subscriptionGroupTable":{"g":{"groupName":"g"}}}`,
    "messageRequestMode.json": '{"messageRequestModeMap":{"T":{"g":{"mode":"PULL"}}}}',
  };
  for (const [name, text] of Object.entries(files)) writeFileSync(join(directory, name), text);
  for (const manager of Object.values(managers) as TopicConfigManager[]) manager.load();
}

describe("SlaveSynchronize", () => {
  it("copies every table of another Twinlog after 3 s, persists it, and follows its changes", async () => {
    const master = makeManagers("master");
    fillMaster(master.directory, master.managers);
    const { address } = await startMaster(
      slaveSyncProcessors({
        managers: master.managers,
        timer: { checkpointForSlaves: () => new Uint8Array(56).fill(3) },
        timerMetrics: timerMetricsIn("master-metrics"),
      }),
    );
    const own = makeManagers("slave");
    writeFileSync(join(own.directory, "consumerFilter.json"), "theirs");
    await own.managers.topicConfigManager.ensureTopic("goes");
    const clock = new ManualClock();
    const { slave, lines } = makeSlave(own.managers, clock);
    slave.setMasterAddr(address);
    slave.start();
    await waitFor("the timer", () => clock.timerCount === 1);
    assert.equal(slave.status.lastSuccess, null);
    clock.advance(3000);
    await waitFor("the first copy", () => slave.status.lastSuccess !== null);
    for (const name of Object.keys(master.managers) as (keyof ConfigManagers)[]) {
      assert.deepEqual(own.managers[name].document, master.managers[name].document, name);
    }
    const files = readdirSync(own.directory).filter((name) => name.endsWith(".json")).sort();
    assert.deepEqual(files, [
      "consumerFilter.json",
      "consumerOffset.json",
      "delayOffset.json",
      "messageRequestMode.json",
      "subscriptionGroup.json",
      "topics.json",
    ]);
    assert.match(readFileSync(join(own.directory, "consumerOffset.json"), "utf8"), /"T@g":\{0:10,1:12\n/);
    assert.equal(readFileSync(join(own.directory, "consumerFilter.json"), "utf8"), "theirs");

    await master.managers.topicConfigManager.ensureTopic("new");
    await waitFor("the timer", () => clock.timerCount === 1);
    clock.advance(10_000);
    await waitFor("the change", () => own.managers.topicConfigManager.selectTopicConfig("new") !== null);
    await master.managers.topicConfigManager.ensureTopic("newer");
    await slave.syncAll();
    assert.deepEqual(own.managers.topicConfigManager.document, master.managers.topicConfigManager.document);
    assert.equal(lines.filter((line) => line.includes("Copied")).length, 1);
  });

  it("takes what a 4.9 master answers: no versions, bare keys, no request 402", async () => {
    const bodies: Record<number, string> = {
      21: '{"dataVersion":{"counter":1,"timestamp":5},"topicConfigTable":{"T":{"perm":6}}}',
      43: '{"offsetTable":{"T@g":{0:10,1:10}}}',
      45: '{"offsetTable":{1:1}}',
      201: '{"dataVersion":{"counter":1,"timestamp":5},"subscriptionGroupTable":{}}',
    };
    const { address } = await startMaster(
      new Map(
        Object.entries(bodies).map(([code, text]): [number, RequestProcessor] => [
          Number(code),
          (request) => createResponse(request, 0, { body: utf8.encode(text) }),
        ]),
      ),
    );
    const own = makeManagers("slave");
    const { slave, lines } = makeSlave(own.managers, new ManualClock());
    slave.start();
    slave.setMasterAddr(address);
    await slave.syncAll();
    assert.deepEqual(slave.status.errors, {});
    assert.equal(
      readFileSync(join(own.directory, "consumerOffset.json"), "utf8"),
      '{\n\t"offsetTable":{\n\t\t"T@g":{0:10,1:10\n\t\t}\n\t}\n}',
    );
    assert.deepEqual(own.managers.topicConfigManager.dataVersion, { counter: 1, stateVersion: 0, timestamp: 5 });
    assert.equal(lines.filter((line) => line.startsWith("warn")).length, 0);
  });

  it("keeps a table whose answer is nonsense and copies the others", async () => {
    const bodies: Record<number, string> = {
      21: "{",
      43: "[]",
      45: '{"offsetTable":{"1":9}}',
      201: '{"subscriptionGroupTable":"x"}',
    };
    let code = 0;
    const { address } = await startMaster(
      new Map(
        Object.entries(bodies).map(([key, text]): [number, RequestProcessor] => [
          Number(key),
          (request) => createResponse(request, code, { body: utf8.encode(text) }),
        ]),
      ),
    );
    const own = makeManagers("slave");
    await own.managers.topicConfigManager.ensureTopic("stays");
    const { slave, lines } = makeSlave(own.managers, new ManualClock());
    slave.start();
    slave.setMasterAddr(address);
    await slave.syncAll();
    await slave.syncAll();
    assert.deepEqual(Object.keys(slave.status.errors), ["topics", "consumerOffsets", "groups"]);
    assert.deepEqual(own.managers.topicConfigManager.topicNames(), ["stays"]);
    assert.equal((own.managers.delayOffsetManager.table("offsetTable") as Map<number, number>).get(1), 9);
    assert.equal(lines.filter((line) => line.startsWith("warn")).length, 1);
    code = 1;
    await slave.syncAll();
    assert.equal(Object.keys(slave.status.errors).length, 4);
  });

  /** A master whose deliveries are `at` far, and a slave of it. */
  async function deliveringMaster() {
    let at = 1;
    let gate: { reached: () => void; readonly open: Promise<void> } | null = null;
    const offsets = () =>
      `"T@g":{"0":${at}},"${RMQ_SYS_TRANS_HALF_TOPIC}@CID_RMQ_SYS_TRANS":{"0":${at}},` +
      `"${RMQ_SYS_TRANS_OP_HALF_TOPIC}@CID_RMQ_SYS_TRANS":{"0":${at}}`;
    const bodies: Record<number, () => string> = {
      21: () => `{"topicConfigTable":{"T${at}":{"perm":6}}}`,
      43: () => `{"offsetTable":{${offsets()}}}`,
      45: () => `{"offsetTable":{"1":${at}}}`,
      201: () => '{"subscriptionGroupTable":{}}',
    };
    const { address } = await startMaster(
      new Map([
        ...Object.entries(bodies).map(([code, text]): [number, RequestProcessor] => [
          Number(code),
          async (request) => {
            const body = utf8.encode(text());
            gate?.reached();
            await gate?.open;
            return createResponse(request, 0, { body });
          },
        ]),
        [60, (request) => createResponse(request, 0, { body: new Uint8Array(56).fill(at) })],
      ]),
    );
    const { managers } = makeManagers("slave");
    const log = new FakeLog();
    const { slave } = makeSlave(managers, new ManualClock(), { own: log });
    slave.start();
    slave.setMasterAddr(address);
    const { consumerOffsetManager, delayOffsetManager, topicConfigManager } = managers;
    return {
      slave,
      log,
      topics: () => topicConfigManager.topicNames(),
      /** Holds answers back that are made from now on, until the function it returns is called. */
      hold: () => {
        const reached = Promise.withResolvers<void>();
        const open = Promise.withResolvers<void>();
        gate = { reached: reached.resolve, open: open.promise };
        return Object.assign(() => {
          gate = null;
          open.resolve();
        }, { reached: reached.promise });
      },
      goOn: (to: number) => void (at = to),
      groups: () => consumerOffsetManager.queryOffset("g", "T", 0),
      deliveries: () => [
        consumerOffsetManager.queryOffset("CID_RMQ_SYS_TRANS", RMQ_SYS_TRANS_HALF_TOPIC, 0),
        consumerOffsetManager.queryOffset("CID_RMQ_SYS_TRANS", RMQ_SYS_TRANS_OP_HALF_TOPIC, 0),
        delayOffsetManager.offsets.get(1) ?? -1,
        checkpoints.at(-1)?.[0] ?? -1,
      ],
    };
  }

  it("takes over how far deliveries are once its log holds what that rests on", async () => {
    checkpoints.length = 0;
    const { slave, log, goOn, groups, deliveries } = await deliveringMaster();
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [1, 1, 1, 1, 1]);

    goOn(2);
    log.masterMaxOffset = 150;
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [2, 1, 1, 1, 1]);
    // What was asked for first is not put off by what is newer.
    goOn(3);
    log.masterMaxOffset = 200;
    log.flushedOffset = 149;
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [3, 1, 1, 1, 1]);
    log.flushedOffset = 150;
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [3, 2, 2, 2, 2]);
    log.flushedOffset = 200;
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [3, 3, 3, 3, 3]);

    // Nobody knows what it rests on.
    goOn(4);
    log.masterMaxOffset = null;
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [4, 3, 3, 3, 3]);
  });

  it("takes over nothing that waited when it follows anew, or when it does not follow", async () => {
    checkpoints.length = 0;
    const { slave, log, goOn, groups, deliveries } = await deliveringMaster();
    log.isFollowing = false;
    await slave.syncAll();
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [1, -1, -1, -1, -1]);
    log.isFollowing = true;
    // The master came back with less, and both have gone on from there.
    goOn(2);
    log.masterMaxOffset = 140;
    slave.onFollowing();
    await slave.syncAll();
    assert.deepEqual([groups(), ...deliveries()], [2, -1, -1, -1, -1]);
    log.flushedOffset = 140;
    await slave.syncAll();
    assert.deepEqual(deliveries(), [2, 2, 2, 2]);
  });

  it("takes no group's offsets from a master whose log may be another, and no topics from one whose log is", async () => {
    const { slave, log, goOn, groups, topics } = await deliveringMaster();
    await slave.syncAll();
    assert.deepEqual([groups(), topics()], [1, ["T1"]]);
    goOn(2);
    log.isPart = log.isFollowing = false;
    await slave.syncAll();
    assert.deepEqual([groups(), topics()], [1, ["T2"]]);
    goOn(3);
    log.isParted = true;
    await slave.syncAll();
    assert.deepEqual([groups(), topics()], [1, ["T2"]]);
  });

  it("voids a round under way when it follows anew", async () => {
    const { slave, goOn, groups, hold } = await deliveringMaster();
    await slave.syncAll();
    goOn(2);
    const release = hold();
    const early = slave.syncAll();
    await release.reached;
    slave.onFollowing();
    goOn(3);
    release();
    await early;
    await slave.syncAll();
    assert.equal(groups(), 3);
  });

  it("does nothing without a master, or when the master is itself, and drops an answer after a stop", async () => {
    const own = makeManagers("slave");
    const held = Promise.withResolvers<void>();
    let asked = 0;
    const { address } = await startMaster(
      new Map<number, RequestProcessor>([[21, async (request) => {
        asked++;
        await held.promise;
        return createResponse(request, 0, { body: utf8.encode('{"topicConfigTable":{"late":{}}}') });
      }]]),
    );
    const { slave } = makeSlave(own.managers, new ManualClock(), { ownAddress: "127.0.0.1:77" });
    slave.start();
    await slave.syncAll();
    slave.setMasterAddr("127.0.0.1:77");
    await slave.syncAll();
    assert.equal(asked, 0);
    slave.setMasterAddr(address);
    const copying = slave.syncAll();
    await waitFor("the request", () => asked === 1);
    await slave.stop();
    held.resolve();
    slave.start();
    await copying;
    assert.deepEqual(own.managers.topicConfigManager.topicNames(), []);
    assert.deepEqual(readdirSync(own.directory), []);
  });
});
