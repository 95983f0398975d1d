// The answers to mqadmin and to slaves, from a few literals: no socket, no store.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { RemotingError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { ConsumerOffsetManager, MessageRequestModeManager } from "../../src/broker/consumer_offset_manager.ts";
import { DelayOffsetManager } from "../../src/broker/schedule/delay_offset_manager.ts";
import type { BrokerHAInfo, BrokerHAPort, BrokerRuntimeInfo } from "../../src/broker/processors/ports.ts";
import { createProcessorTable } from "../../src/broker/processors/processor_table.ts";
import type { RequestContext } from "../../src/remoting/remoting_server.ts";
import { SubscriptionGroupManager } from "../../src/broker/subscription_group_manager.ts";
import { TimerMetrics } from "../../src/broker/timer/timer_metrics.ts";
import { TopicConfigManager } from "../../src/broker/topic_config_manager.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import type { FileSystem } from "../../src/runtime/runtime.ts";
import { ManualClock } from "../remoting/support.ts";

const CONTEXT = {} as RequestContext;

const INFO: BrokerRuntimeInfo = {
  brokerActive: true,
  bootTimestamp: 1000,
  now: 1000 + 93_784_000,
  commitLogMinOffset: 1073741824,
  commitLogMaxOffset: 1073750408,
  dispatchBehindBytes: 5,
  remainHowManyDataToFlush: 1536,
  earliestMessageTimeStamp: 1795245003323,
  commitLogPath: "/s/commitlog",
  commitLogDisk: { totalBytes: 1200, usedBytes: 750, freeBytes: 250 },
  consumeQueueDisk: null,
  putMessageTimesTotal: 3,
  putMessageSizeTotal: 10,
  putTps: [1.5, 2, 0],
  extra: { custom: "yes" },
};

class FakeHA implements BrokerHAPort {
  adopted: BrokerHAInfo | null = null;
  info: BrokerHAInfo | null = {
    masterHaAddress: "10.0.0.1:10912",
    masterFlushOffset: 7,
    masterAddress: "10.0.0.1:10911",
  };
  refusal: string | null = null;
  status: ReturnType<BrokerHAPort["haRuntimeInfo"]> = null;
  haInfo(): BrokerHAInfo | null {
    return this.info;
  }
  adoptMaster(info: BrokerHAInfo): string | null {
    this.adopted = info;
    return this.refusal;
  }
  haRuntimeInfo() {
    return this.status;
  }
}

const TIMER_CHECKPOINT = new Uint8Array(56).fill(7);

function setUp(files: Record<string, string | Uint8Array> = {}) {
  const fs = {
    readFile: (path: string) => {
      const content = files[path.replace("/c/", "")];
      return content === undefined ? null : typeof content === "string" ? utf8.encode(content) : content;
    },
  } as unknown as FileSystem;
  const options = { fs, clock: new ManualClock(), logger: SILENT_LOGGER, directory: "/c" };
  const managers = {
    topicConfigManager: new TopicConfigManager(options),
    consumerOffsetManager: new ConsumerOffsetManager(options),
    delayOffsetManager: new DelayOffsetManager(options),
    subscriptionGroupManager: new SubscriptionGroupManager(options),
    messageRequestModeManager: new MessageRequestModeManager(options),
  };
  for (const manager of Object.values(managers)) manager.load();
  const timerMetrics = new TimerMetrics(options);
  timerMetrics.load();
  const ha = new FakeHA();
  const table = createProcessorTable(new Map(), {
    runtimeInfo: { runtimeInfo: () => INFO },
    ha,
    managers,
    timer: { checkpointForSlaves: () => TIMER_CHECKPOINT },
    timerMetrics,
  });
  const ask = (code: number, ext: ExtValues = {}) =>
    table.get(code)!(createRequest(code, ext), CONTEXT) as RemotingCommand;
  // deno-lint-ignore no-explicit-any
  const askJson = (code: number): any => JSON.parse(utf8.decode(ask(code).body));
  return { ask, askJson, ha, bootMs: options.clock.now() };
}

describe("GET_BROKER_RUNTIME_INFO", () => {
  it("has every key mqadmin reads, each a string", () => {
    const { table } = setUp().askJson(28);
    const read = [
      "brokerActive",
      "brokerVersionDesc",
      "putTps",
      "getTransferredTps",
      "getTransferedTps",
      "pageCacheLockTimeMills",
      "earliestMessageTimeStamp",
      "commitLogDiskRatio",
      "timerReadBehind",
      "timerOffsetBehind",
      "timerCongestNum",
      "timerEnqueueTps",
      "timerDequeueTps",
      ...["send", "pull", "ack"].flatMap((
        pool,
      ) => [`${pool}ThreadPoolQueueSize`, `${pool}ThreadPoolQueueHeadWaitTimeMills`]),
      ...["YesterdayMorning", "TodayMorning", "TodayNow"].flatMap((day) => [`msgPutTotal${day}`, `msgGetTotal${day}`]),
    ];
    for (const key of read) assert.equal(typeof table[key], "string", key);
    for (const value of Object.values(table)) assert.equal(typeof value, "string");
    assert.deepEqual(Object.keys(table), Object.keys(table).sort());
    // What mqadmin parses as numbers must be some.
    for (const key of ["putTps", "getTransferredTps"]) assert.ok(!Number.isNaN(parseFloat(table[key].split(" ")[0])));
  });

  it("renders the figures as Apache does", () => {
    const { table } = setUp().askJson(28);
    assert.equal(table.commitLogMinOffset, "1073741824");
    assert.equal(table.commitLogMaxOffset, "1073750408");
    assert.equal(table.runtime, "[ 1 days, 2 hours, 3 minutes, 4 seconds ]");
    assert.equal(table.commitLogDiskRatio, "0.75");
    assert.equal(table["commitLogDiskRatio_/s/commitlog"], "0.75");
    assert.equal(table.consumeQueueDiskRatio, "-1.0");
    assert.equal(table.remainHowManyDataToFlush, "1.5 KiB");
    assert.equal(table.putTps, "1.5 2.0 0.0 ");
    assert.equal(table.getTransferredTps, "0.0 0.0 0.0 ");
    assert.equal(table.brokerVersion, "479");
    assert.equal(table.custom, "yes");
  });
});

describe("requests about HA", () => {
  it("906: a master tells its addresses, a slave nothing", () => {
    const { ask, ha } = setUp();
    assert.deepEqual(Object.fromEntries(ask(906).extFields), {
      masterHaAddress: "10.0.0.1:10912",
      masterFlushOffset: "7",
      masterAddress: "10.0.0.1:10911",
    });
    assert.equal(ha.adopted, null);
    ha.info = null;
    const empty = ask(906, { masterHaAddress: " " });
    assert.deepEqual([empty.code, empty.extFields.size], [0, 0]);
  });

  it("906: hands over the master it is told, and a refusal back", () => {
    const { ask, ha } = setUp();
    assert.equal(ask(906, { masterHaAddress: "h:1", masterFlushOffset: 9, masterAddress: "h:2" }).code, 0);
    assert.deepEqual(ha.adopted, { masterHaAddress: "h:1", masterFlushOffset: 9, masterAddress: "h:2" });
    ask(906, { masterHaAddress: "h:1", masterFlushOffset: "x" });
    assert.deepEqual(ha.adopted, { masterHaAddress: "h:1", masterFlushOffset: null, masterAddress: null });
    ha.refusal = "This broker is a master";
    assert.throws(
      () => ask(906, { masterHaAddress: "h:1" }),
      (error) => error instanceof RemotingError && error.code === 1,
    );
  });

  it("907: writes Apache's bytes, and no field beyond them", () => {
    const { ask, ha } = setUp();
    assert.throws(() => ask(907), RemotingError);
    const connection = {
      addr: "127.0.0.1:52544",
      diff: 0,
      inSync: true,
      slaveAckOffset: 5465,
      transferFromWhere: 5465,
      transferredByteInSecond: 12,
      ours: "not sent",
    };
    ha.status = { master: true, masterCommitLogMaxOffset: 5465, inSyncSlaveNums: 1, haConnectionInfo: [connection] };
    assert.equal(
      utf8.decode(ask(907).body),
      '{"haClientRuntimeInfo":{"lastReadTimestamp":0,"lastWriteTimestamp":0,"masterFlushOffset":0,"maxOffset":0,"transferredByteInSecond":0},' +
        '"haConnectionInfo":[{"addr":"127.0.0.1:52544","diff":0,"inSync":true,"slaveAckOffset":5465,"transferFromWhere":5465,"transferredByteInSecond":12}],' +
        '"inSyncSlaveNums":1,"master":true,"masterCommitLogMaxOffset":5465}',
    );
  });
});

describe("requests of slaves", () => {
  it("answers empty tables of a fresh broker, each with a dataVersion", () => {
    const { askJson, bootMs } = setUp();
    const dataVersion = { counter: 0, stateVersion: 0, timestamp: bootMs };
    assert.deepEqual(askJson(21), {
      dataVersion,
      mappingDataVersion: { counter: 0, stateVersion: 0, timestamp: 0 },
      topicConfigTable: {},
      topicQueueMappingDetailMap: {},
      topicQueueMappingInfoMap: {},
    });
    assert.deepEqual(askJson(43), { dataVersion, offsetTable: {} });
    assert.deepEqual(askJson(45), { dataVersion, offsetTable: {} });
    const { subscriptionGroupTable, ...groups } = askJson(201);
    assert.deepEqual(groups, { dataVersion, forbiddenTable: {} });
    assert.equal(Object.keys(subscriptionGroupTable as object).length, 8, "Apache's own groups are always there");
    assert.deepEqual(askJson(402), { messageRequestModeMap: {} });
    assert.deepEqual(askJson(61), { dataVersion, timingCount: {} });
  });

  it("answers what the files hold, integer keys quoted", () => {
    const version = '"dataVersion":{"counter":4,"stateVersion":0,"timestamp":8}';
    const { askJson, ask } = setUp({
      "topics.json": `{${version},"topicConfigTable":{"T":{"perm":6,"future":[1]}}}`,
      "consumerOffset.json":
        `{${version},"groupTopicMap":{"g":["T"]},"offsetTable":{"T@g":{0:10,1:9223372036854775807}}}`,
      "delayOffset.json": '{"offsetTable":{1:7,3:2}}',
      "subscriptionGroup.json":
        `{${version},"forbiddenTable":{"g":{"T":4}},"subscriptionGroupTable":{"g":{"brokerId":0}}}`,
      "messageRequestMode.json": '{"messageRequestModeMap":{"T":{"g":{"mode":"PULL"}}}}',
      "timermetrics": "broken",
      "timermetrics.bak": `{${version},"timingCount":{}}`,
    });
    assert.deepEqual(askJson(21).topicConfigTable, { T: { perm: 6, future: [1] } });
    // An offset no message will ever have is as good as any other; groupTopicMap is derived.
    assert.match(
      utf8.decode(ask(43).body),
      /^\{"dataVersion":\{[^}]*\},"offsetTable":\{"T@g":\{"0":10,"1":9007199254740991\}\}\}$/,
    );
    assert.match(utf8.decode(ask(45).body), /^\{"offsetTable":\{1:7,3:2\},"dataVersion":\{.*"timestamp":\d{13}\}\}$/);
    assert.deepEqual(askJson(201).forbiddenTable, { g: { T: 4 } });
    assert.deepEqual(askJson(402).messageRequestModeMap, { T: { g: { mode: "PULL" } } });
    assert.deepEqual(ask(60).body, TIMER_CHECKPOINT);
    assert.deepEqual(askJson(61).timingCount, {});
  });
});
