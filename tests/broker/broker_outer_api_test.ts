// Registration with scripted NameServers, and the questions asked of other brokers.

import { crc32 } from "node:zlib";
import { afterEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { utf8 } from "../../src/base/bytes.ts";
import { RemotingError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import {
  BrokerOuterAPI,
  type BrokerOuterAPIConfig,
  type BrokerOuterAPIOptions,
  type RegisterBrokerResult,
} from "../../src/broker/broker_outer_api.ts";
import { MasterInfoClient } from "../../src/broker/master_info_client.ts";
import { RemotingServer, type RequestContext, type RequestProcessor } from "../../src/remoting/remoting_server.ts";
import { TOPIC_DEFAULTS, topicConfigJson } from "../../src/broker/topic_config_manager.ts";
import { javaJsonObject } from "../../src/remoting/java_json.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { createResponse, type ExtValues, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import { ManualClock, recordingLogger, runtime, waitFor } from "../remoting/support.ts";

function topicOf(topicName: string, queueNums: number) {
  return topicConfigJson({ ...TOPIC_DEFAULTS, topicName, readQueueNums: queueNums, writeQueueNums: queueNums });
}

const cleanups: (() => void | Promise<void>)[] = [];

afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

class FakeNamesrv {
  readonly requests: RemotingCommand[] = [];
  answer: ExtValues = {};
  code = 0;
  /** `brokerAddrTable` of its cluster info. */
  brokers: Record<string, { cluster: string; brokerAddrs: Record<string, string> }> = {};
  /** Questions for it; not among the {@link requests}. */
  questions = 0;
  last: RequestContext | null = null;
  server!: RemotingServer;
  address = "";

  async start(port = 0): Promise<this> {
    const process: RequestProcessor = (request, context) => {
      this.requests.push(request);
      this.last = context;
      return createResponse(request, this.code, { ext: this.answer });
    };
    this.server = new RemotingServer({
      net: runtime.net,
      clock: runtime.clock,
      logger: SILENT_LOGGER,
      processors: new Map<number, RequestProcessor>([[103, process], [104, process], [106, (request) => {
        this.questions++;
        const body = utf8.encode(JSON.stringify({ brokerAddrTable: this.brokers }));
        return createResponse(request, 0, { body });
      }]]),
      hostname: "127.0.0.1",
      port,
    });
    this.address = `127.0.0.1:${(await this.server.start()).port}`;
    cleanups.push(() => this.server.stop());
    return this;
  }

  codes(): number[] {
    return this.requests.map((one) => one.code);
  }
}

function makeApi(
  namesrvAddr: string | null,
  config: Partial<BrokerOuterAPIConfig> = {},
  more: Partial<BrokerOuterAPIOptions> = {},
) {
  const clock = new ManualClock();
  const { logger, lines } = recordingLogger();
  const results: RegisterBrokerResult[] = [];
  const topics = {
    dataVersion: { counter: 9, stateVersion: 0, timestamp: 1795243848139 },
    topicConfigTable: javaJsonObject({ T: topicOf("T", 4), U: topicOf("U", 8) }),
  };
  const identity = { brokerId: 1, brokerAddr: "10.0.0.2:10911", haServerAddr: "10.0.0.2:10912" };
  const api = new BrokerOuterAPI({
    net: runtime.net,
    clock,
    logger,
    config: {
      namesrvAddr,
      brokerClusterName: "C",
      brokerName: "broker-a",
      registerNameServerPeriod: 30_000,
      registerBrokerTimeoutMills: 24_000,
      brokerPermission: 6,
      forceRegister: true,
      compressedRegister: false,
      ...config,
    },
    identity: () => identity,
    topics,
    onRegistered: (result) => results.push(result),
    ...more,
  });
  cleanups.push(() => api.stop());
  return { api, clock, results, topics, identity, lines };
}

describe("BrokerOuterAPI", () => {
  it("sends what Apache's brokers send", async () => {
    const namesrv = await new FakeNamesrv().start();
    const { api } = makeApi(namesrv.address);
    api.start();
    await waitFor("a registration", () => namesrv.requests.length === 1);
    const request = namesrv.requests[0]!;
    assert.equal(request.version, 479);
    assert.deepEqual(Object.fromEntries(request.extFields), {
      brokerAddr: "10.0.0.2:10911",
      brokerId: "1",
      brokerName: "broker-a",
      clusterName: "C",
      haServerAddr: "10.0.0.2:10912",
      compressed: "false",
      enableActingMaster: "false",
      bodyCrc32: String(crc32(request.body) & 0x7fffffff),
    });
    const topic = (topicName: string, queues: number) => ({
      attributes: {},
      order: false,
      perm: 6,
      readQueueNums: queues,
      topicFilterType: "SINGLE_TAG",
      topicName,
      topicSysFlag: 0,
      writeQueueNums: queues,
    });
    assert.deepEqual(JSON.parse(utf8.decode(request.body)), {
      filterServerList: [],
      topicConfigSerializeWrapper: {
        dataVersion: { counter: 9, stateVersion: 0, timestamp: 1795243848139 },
        mappingDataVersion: { counter: 0, stateVersion: 0, timestamp: 0 },
        topicConfigTable: { T: topic("T", 4), U: topic("U", 8) },
        topicQueueMappingDetailMap: {},
        topicQueueMappingInfoMap: {},
      },
    });
  });

  it("masks perm", async () => {
    const namesrv = await new FakeNamesrv().start();
    const { api } = makeApi(namesrv.address, { brokerPermission: 4 });
    api.start();
    await waitFor("a registration", () => namesrv.requests.length === 1);
    const table = JSON.parse(utf8.decode(namesrv.requests[0]!.body)).topicConfigSerializeWrapper.topicConfigTable;
    assert.deepEqual(Object.keys(table), ["T", "U"]);
    assert.equal(table.T.perm, 4);
  });

  it("registers at start, after 10 s, then every period, on demand, and unregisters", async () => {
    const namesrv = await new FakeNamesrv().start();
    const { api, clock } = makeApi(namesrv.address);
    api.start();
    const expectAfter = async (ms: number, count: number) => {
      await waitFor("the loop to wait", () => clock.ringsIn(ms));
      clock.advance(ms);
      await waitFor(`registration ${count}`, () => namesrv.requests.length === count);
    };
    await waitFor("the first", () => namesrv.requests.length === 1);
    await expectAfter(10_000, 2);
    await expectAfter(30_000, 3);
    await expectAfter(30_000, 4);
    api.registerBrokerAll();
    await waitFor("one on demand", () => namesrv.requests.length === 5);
    await waitFor("its answer", () => clock.ringsIn(30_000));
    await api.stop();
    assert.deepEqual(namesrv.codes(), [103, 103, 103, 103, 103, 104]);
    assert.deepEqual(Object.fromEntries(namesrv.requests[5]!.extFields), {
      brokerAddr: "10.0.0.2:10911",
      brokerId: "1",
      brokerName: "broker-a",
      clusterName: "C",
    });
    await waitFor("the connection to close", () => namesrv.server.connectionCount === 0);
    assert.equal(clock.timerCount, 0);
  });

  it("hands on the first master known by any NameServer; a dead one holds up nobody", async () => {
    const knows = await new FakeNamesrv().start();
    knows.answer = { haServerAddr: "10.0.0.1:10912", masterAddr: "10.0.0.1:10911" };
    const knowsNot = await new FakeNamesrv().start();
    const dead = await new FakeNamesrv().start();
    await dead.server.stop();
    const { api, results, lines, identity } = makeApi(`${dead.address};${knowsNot.address}; ${knows.address}`);
    api.start();
    await waitFor("both answers", () => results.length === 2);
    await waitFor("the failure", () => api.namesrvStates()[0]!.registered === false);
    assert.deepEqual(results[1], {
      haServerAddr: "10.0.0.1:10912",
      masterAddr: "10.0.0.1:10911",
      orderTopics: [],
    });
    assert.deepEqual(api.namesrvStates().map((one) => one.registered), [false, true, true]);
    assert.match(api.namesrvStates()[0]!.error!, /refused/);
    assert.equal(lines.filter((line) => line.startsWith("warn")).length, 1);
    // The master dies, and a role change is told at the next registration.
    knows.answer = {};
    identity.brokerId = 0;
    api.registerBrokerAll();
    await waitFor("both again", () => results.length === 4);
    assert.deepEqual(results[3], { haServerAddr: null, masterAddr: null, orderTopics: [] });
    assert.equal(knows.requests[1]!.extFields.get("brokerId"), "0");
  });

  it("registers again soon after a lost connection, without spinning", async () => {
    const namesrv = await new FakeNamesrv().start();
    const { api, clock } = makeApi(namesrv.address);
    api.start();
    await waitFor("the first", () => api.namesrvStates()[0]!.registered === true);
    for (let round = 1; round <= 3; round++) {
      namesrv.last!.connection.close("local", "Gone");
      await waitFor("the retry timer", () => clock.ringsIn(1000));
      assert.equal(namesrv.requests.length, round);
      clock.advance(1000);
      await waitFor("the next", () => namesrv.requests.length === round + 1);
      await waitFor("its answer", () => clock.ringsIn(30_000));
    }
  });

  it("asks who has its id before it registers over a new connection, and not again while that lasts", async () => {
    const namesrv = await new FakeNamesrv().start();
    const groupOf = (brokerAddrs: Record<string, string>) => ({ "broker-a": { cluster: "C", brokerAddrs } });
    namesrv.brokers = groupOf({ 0: "10.0.0.1:10911", 1: "10.0.0.3:10911" });
    const held: string[] = [];
    const onMembers = (members: ReadonlyMap<number, string>) => {
      const holder = members.get(1);
      if (holder !== undefined) held.push(holder);
    };
    const { api, clock } = makeApi(namesrv.address, {}, { onMembers });
    api.start();
    await waitFor("the first", () => clock.ringsIn(10_000));
    assert.deepEqual(held, ["10.0.0.3:10911"]);
    clock.advance(10_000);
    await waitFor("the second", () => namesrv.requests.length === 2 && clock.ringsIn(30_000));
    assert.equal(namesrv.questions, 1);
    // By now it is this one's own, or nobody's: no word of that.
    for (const own of [{ 1: "10.0.0.2:10911" }, { 0: "10.0.0.1:10911" }] as Record<string, string>[]) {
      namesrv.brokers = groupOf(own);
      const { questions } = namesrv;
      const count = namesrv.requests.length;
      namesrv.last!.connection.close("local", "Gone");
      await waitFor("the retry timer", () => clock.ringsIn(1000));
      clock.advance(1000);
      await waitFor("the next", () => namesrv.requests.length === count + 1 && clock.ringsIn(30_000));
      assert.equal(namesrv.questions, questions + 1);
    }
    assert.equal(held.length, 1);
  });

  it("as a master asks so before each registration that falls due: another one may have come", async () => {
    const namesrv = await new FakeNamesrv().start();
    const held: string[] = [];
    const onMembers = (members: ReadonlyMap<number, string>) => held.push(...members.values());
    const { api, clock, identity } = makeApi(namesrv.address, {}, { onMembers });
    identity.brokerId = 0;
    api.start();
    await waitFor("the first", () => clock.ringsIn(10_000));
    namesrv.brokers = { "broker-a": { cluster: "C", brokerAddrs: { 0: "10.0.0.3:10911" } } };
    // Not those that are asked for, which may be many.
    api.registerBrokerAll();
    await waitFor("the one asked for", () => namesrv.requests.length === 2 && clock.ringsIn(30_000));
    assert.deepEqual(held, []);
    clock.advance(30_000);
    await waitFor("the next", () => namesrv.requests.length === 3 && clock.ringsIn(30_000));
    assert.deepEqual(held, ["10.0.0.3:10911"]);
  });

  it("registers every 3 s while a slave waits to hear of its master", async () => {
    const namesrv = await new FakeNamesrv().start();
    let awaits = true;
    const { api, clock, results } = makeApi(namesrv.address, { forceRegister: false }, { awaitsMaster: () => awaits });
    api.start();
    for (let count = 1; count <= 6; count++) {
      await waitFor("a registration", () => namesrv.requests.length === count && clock.ringsIn(3000));
      clock.advance(3000);
    }
    namesrv.answer = { haServerAddr: "10.0.0.1:10912", masterAddr: "10.0.0.1:10911" };
    awaits = false;
    await waitFor("a registration", () => namesrv.requests.length === 7 && clock.ringsIn(30_000));
    assert.deepEqual(new Set(namesrv.codes()), new Set([103]), "each is one that is answered with the master");
    assert.equal(results.length, 7);
  });

  it("says what to do without a NameServer, where that is possible", async () => {
    for (const advice of [null, "give none"]) {
      const { api, clock, lines } = makeApi("127.0.0.1:1", {}, { adviceWithout: () => advice });
      api.start();
      await waitFor("a failure", () => clock.ringsIn(1000));
      const line = lines.find((each) => each.includes("Can't register"))!;
      assert.equal(line.includes("; give none"), advice !== null, line);
    }
  });

  it("tries again after a failure, with growing waits up to 4 s: until then a NameServer that is back has no route", async () => {
    const namesrv = await new FakeNamesrv().start();
    namesrv.code = 1;
    const { api, clock } = makeApi(namesrv.address);
    api.start();
    let count = 1;
    for (const waitMs of [1000, 2000, 4000, 4000]) {
      await waitFor("a refusal", () => namesrv.requests.length === count && clock.ringsIn(waitMs));
      clock.advance(waitMs - 1);
      assert.equal(clock.timerCount, 2, "the loop's and the idle limit's");
      clock.advance(1);
      count++;
      await waitFor("the next", () => namesrv.requests.length === count);
    }
    await waitFor("a refusal", () => clock.ringsIn(4000));
    await api.stop();
    assert.ok(!namesrv.codes().includes(104));
  });

  it("does nothing without a NameServer", async () => {
    const { api, clock } = makeApi(null);
    api.start();
    api.registerBrokerAll();
    assert.deepEqual(api.namesrvStates(), []);
    await api.stop();
    assert.equal(clock.timerCount, 0);
  });
});

describe("MasterInfoClient", () => {
  async function startBroker(
    processors: Map<number, RequestProcessor>,
  ): Promise<{ address: string; ask: MasterInfoClient }> {
    const server = new RemotingServer({
      net: runtime.net,
      clock: runtime.clock,
      logger: SILENT_LOGGER,
      processors,
      hostname: "127.0.0.1",
      port: 0,
    });
    const { port } = await server.start();
    const client = new RemotingClient({ net: runtime.net, clock: runtime.clock });
    cleanups.push(async () => {
      client.close();
      await server.stop();
    });
    return { address: `127.0.0.1:${port}`, ask: new MasterInfoClient({ client, logger: SILENT_LOGGER }) };
  }

  it("learns the range of a master's log, or null", async () => {
    let table = '{"commitLogMinOffset":"1073741824","commitLogMaxOffset":"1073750408"}';
    let code = 0;
    const { address, ask } = await startBroker(
      new Map([[28, (request) => createResponse(request, code, { body: utf8.encode(`{"table":${table}}`) })]]),
    );
    assert.deepEqual(await ask.askMasterRange(address), { minOffset: 1073741824, maxOffset: 1073750408 });
    table = '{"commitLogMinOffset":"-1","commitLogMaxOffset":"0"}';
    assert.deepEqual(await ask.askMasterRange(address), { minOffset: -1, maxOffset: 0 });
    for (
      const bad of [
        "{}",
        "[]",
        '{"commitLogMinOffset":"x","commitLogMaxOffset":"1"}',
        '{"commitLogMinOffset":"","commitLogMaxOffset":"1"}',
        "{",
      ]
    ) {
      table = bad;
      assert.equal(await ask.askMasterRange(address), null, bad);
    }
    code = 3;
    assert.equal(await ask.askMasterRange(address), null);
    assert.equal(await ask.askMasterRange("127.0.0.1:1"), null);
    assert.equal(await ask.askMasterRange("nonsense"), null);
  });

  it("learns the size of a master's files, or null", async () => {
    let text = "listenPort=10911\nmappedFileSizeCommitLog=1073741824\nnamesrvAddr=n:9876\n";
    const { address, ask } = await startBroker(
      new Map([[26, (request) => createResponse(request, 0, { body: utf8.encode(text) })]]),
    );
    assert.equal(await ask.mappedFileSizeOf(address), 1073741824);
    for (const none of ["", "xmappedFileSizeCommitLog=7\n", "mappedFileSizeCommitLog=\n"]) {
      text = none;
      assert.equal(await ask.mappedFileSizeOf(address), null);
    }
    await assert.rejects(ask.mappedFileSizeOf("127.0.0.1:1"));
  });

  it("exchanges HA addresses in both directions", async () => {
    const seen: Record<string, string>[] = [];
    let answer: ExtValues = { masterHaAddress: "h:2", masterFlushOffset: 42, masterAddress: "h:1" };
    const { address, ask } = await startBroker(
      new Map([[906, (request) => {
        seen.push(Object.fromEntries(request.extFields));
        return createResponse(request, answer === null ? 1 : 0, { ext: answer });
      }]]),
    );
    assert.deepEqual(await ask.exchangeBrokerHaInfo(address), {
      masterHaAddress: "h:2",
      masterFlushOffset: 42,
      masterAddress: "h:1",
    });
    answer = {};
    const told = await ask.exchangeBrokerHaInfo(address, { masterHaAddress: "m:10912", masterAddress: "m:10911" });
    assert.deepEqual(told, { masterHaAddress: null, masterFlushOffset: null, masterAddress: null });
    assert.deepEqual(seen, [{}, { masterHaAddress: "m:10912", masterAddress: "m:10911" }]);
    await assert.rejects(
      new MasterInfoClient({
        client: new RemotingClient({ net: runtime.net, clock: runtime.clock }),
        logger: SILENT_LOGGER,
      }).exchangeBrokerHaInfo("127.0.0.1:1"),
    );
    const { address: other, ask: askOther } = await startBroker(new Map());
    await assert.rejects(
      askOther.exchangeBrokerHaInfo(other),
      (error) => error instanceof RemotingError && error.code === 3,
    );
  });
});
