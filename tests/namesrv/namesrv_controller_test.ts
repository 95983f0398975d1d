// A running NameServer over real sockets, spoken to as brokers, clients and mqadmin do: every request code, ends of
// connections, silence, notices, bad input, a clean stop.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, it } from "node:test";
import { crc32 } from "node:zlib";
import { utf8 } from "../../src/base/bytes.ts";
import { IoError } from "../../src/base/errors.ts";
import { loadNamesrvConfig, NAMESRV_SETTINGS, type NamesrvNodeConfig } from "../../src/config/namesrv_config.ts";
import { namesrvConfiguration } from "../../src/config/namesrv_configuration.ts";
import { type Namesrv, type NamesrvOptions, startNamesrv } from "../../src/namesrv/namesrv_controller.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import {
  createRequest,
  createResponse,
  type ExtValues,
  type RemotingCommand,
} from "../../src/remoting/remoting_command.ts";
import { RemotingServer } from "../../src/remoting/remoting_server.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ManualClock, recordingLogger, runtime, waitFor } from "../remoting/support.ts";
import { deflated, int32, part } from "./support.ts";

const cleanups: (() => unknown)[] = [];
let directory: string;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "twinlog-namesrv-"));
});
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  rmSync(directory, { recursive: true, force: true });
});

interface Started {
  readonly namesrv: Namesrv;
  readonly clock: ManualClock;
  readonly config: { -readonly [K in keyof NamesrvNodeConfig]: NamesrvNodeConfig[K] };
  readonly lines: string[];
  readonly saved: string[];
  /** A peer with a connection of its own. */
  peer(): Peer;
}

class Peer {
  readonly #client: RemotingClient;
  readonly #address: string;

  constructor(address: string) {
    this.#address = address;
    this.#client = new RemotingClient({ net: runtime.net, clock: runtime.clock });
  }

  ask(code: number, ext: ExtValues = {}, body: string | Uint8Array = "", header: Partial<RemotingCommand> = {}) {
    const bytes = typeof body === "string" ? utf8.encode(body) : body;
    return this.#client.invoke(this.#address, { ...createRequest(code, ext, bytes), ...header }, 5000);
  }

  tell(code: number, ext: ExtValues): Promise<void> {
    return this.#client.invokeOneway(this.#address, createRequest(code, ext), 5000);
  }

  close(): void {
    this.#client.close();
  }
}

async function start(parts: Partial<NamesrvOptions> = {}, values: Partial<NamesrvNodeConfig> = {}): Promise<Started> {
  const clock = new ManualClock();
  const { logger, lines } = recordingLogger();
  const { config: loaded } = loadNamesrvConfig({ flags: new Map([["storePathRootDir", directory]]) });
  const config = { ...loaded, ...values };
  const saved: string[] = [];
  const namesrv = await startNamesrv({
    config,
    runtime: { net: runtime.net, fs: runtime.fs, clock },
    logger,
    hostname: "127.0.0.1",
    port: 0,
    configuration: namesrvConfiguration({
      config,
      settings: NAMESRV_SETTINGS,
      logger,
      save: async (text) => void saved.push(text),
    }),
    ...parts,
  });
  cleanups.push(() => namesrv.stop());
  const address = `127.0.0.1:${namesrv.address.port}`;
  const peer = () => {
    const made = new Peer(address);
    cleanups.push(() => made.close());
    return made;
  };
  return { namesrv, clock, config, lines, saved, peer };
}

const MASTER = {
  clusterName: "C",
  brokerName: "b",
  brokerAddr: "127.0.0.1:10911",
  brokerId: 0,
  haServerAddr: "127.0.0.1:10912",
};
const SLAVE = { ...MASTER, brokerAddr: "127.0.0.1:11911", brokerId: 1, haServerAddr: "127.0.0.1:11912" };

function registrationBody(topics: readonly string[], counter = 1, perm = 6): string {
  const table = Object.fromEntries(
    topics.map((topicName) => [topicName, { topicName, perm, readQueueNums: 4, writeQueueNums: 4 }]),
  );
  const dataVersion = { counter, stateVersion: 0, timestamp: 5 };
  return JSON.stringify({
    filterServerList: [],
    topicConfigSerializeWrapper: { dataVersion, topicConfigTable: table },
  });
}

async function register(peer: Peer, ext: ExtValues = MASTER, body = registrationBody(["T1", "T2"])) {
  const answer = await peer.ask(RequestCode.REGISTER_BROKER, { enableActingMaster: false, ...ext }, body);
  assert.equal(answer.code, 0, answer.remark ?? "");
  return answer;
}

const jsonOf = (answer: RemotingCommand) => JSON.parse(utf8.decode(answer.body));
const extOf = (answer: RemotingCommand) => Object.fromEntries(answer.extFields);

describe("what clients are told", () => {
  it("the route of a topic, in the exact form of 5.3.3", async () => {
    const { peer } = await start();
    const broker = peer();
    await register(broker);
    await register(broker, SLAVE);
    const answer = await peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T1" });
    assert.equal(answer.code, 0);
    assert.equal(
      utf8.decode(answer.body),
      '{"brokerDatas":[{"brokerAddrs":{"0":"127.0.0.1:10911","1":"127.0.0.1:11911"},"brokerName":"b","cluster":"C",' +
        '"enableActingMaster":false}],"filterServerTable":{},"queueDatas":[{"brokerName":"b","perm":6,' +
        '"readQueueNums":4,"topicSysFlag":0,"writeQueueNums":4}]}',
    );
  });

  it("17 for a topic nobody has, with a remark that can't forge a line", async () => {
    const { peer } = await start();
    const answer = await peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: `x\n${"y".repeat(1000)}` });
    assert.equal(answer.code, 17);
    assert.match(answer.remark!, /^No topic route info in name server for the topic: x\\ny{298}$/);
    const missing = await peer().ask(RequestCode.GET_ROUTEINFO_BY_TOPIC);
    assert.deepEqual([missing.code, missing.remark], [1, 'Request lacks the ext field "topic"']);
  });

  it("the queues of an ordered topic, where that is enabled and known", async () => {
    const { peer, config } = await start();
    const one = peer();
    await register(one);
    const order = async () => jsonOf(await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T1" })).orderTopicConf;
    const put = { namespace: "ORDER_TOPIC_CONFIG", key: "T1", value: "b:4" };
    assert.equal((await one.ask(RequestCode.PUT_KV_CONFIG, put)).code, 0);
    assert.equal(await order(), undefined);
    config.orderMessageEnable = true;
    assert.equal(await order(), "b:4");
    assert.equal((await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T2" })).code, 0);
  });

  it("nothing in its first seconds, where that is asked for", async () => {
    const { peer, clock } = await start({}, { needWaitForService: true, waitSecondsForService: 45 });
    const one = peer();
    await register(one);
    const code = async () => (await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T1" })).code;
    clock.advance(44_999);
    assert.equal(await code(), 1);
    clock.advance(1);
    assert.equal(await code(), 0);
  });

  it("only the brokers of their zone, but those without a master", async () => {
    const { peer } = await start();
    const one = peer();
    await register(one, { ...MASTER, __ZONE_NAME: "east" });
    await register(one, { ...MASTER, brokerName: "w", brokerAddr: "127.0.0.1:1", __ZONE_NAME: "west" });
    await register(one, { ...SLAVE, brokerName: "s", brokerAddr: "127.0.0.1:2", __ZONE_NAME: "west" });
    const names = async (ext: ExtValues) => {
      const route = jsonOf(await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T1", ...ext }));
      const brokers = (list: { brokerName: string }[]) => list.map(({ brokerName }) => brokerName).join();
      assert.equal(brokers(route.brokerDatas), brokers(route.queueDatas));
      return brokers(route.brokerDatas);
    };
    assert.equal(await names({}), "b,w,s");
    assert.equal(await names({ __ZONE_MODE: "true", __ZONE_NAME: "EAST" }), "b,s");
    assert.equal(await names({ __ZONE_MODE: "True", __ZONE_NAME: "west" }), "w,s");
    assert.equal(await names({ __ZONE_MODE: "true", __ZONE_NAME: "nowhere" }), "s");
    for (const ext of [{ __ZONE_MODE: "false", __ZONE_NAME: "east" }, { __ZONE_MODE: "true", __ZONE_NAME: " " }]) {
      assert.equal(await names(ext), "b,w,s");
    }
  });

  it("lists of topics, unless they are disabled", async () => {
    const { peer, config } = await start();
    const one = peer();
    await register(one);
    const lists: [number, ExtValues, unknown][] = [
      [RequestCode.GET_ALL_TOPIC_LIST_FROM_NAMESERVER, {}, { topicList: ["T1", "T2"] }],
      [RequestCode.GET_TOPICS_BY_CLUSTER, { cluster: "C" }, { topicList: ["T1", "T2"] }],
      [RequestCode.GET_TOPICS_BY_CLUSTER, { cluster: "D" }, { topicList: [] }],
      [RequestCode.GET_UNIT_TOPIC_LIST, {}, { topicList: [] }],
      [RequestCode.GET_HAS_UNIT_SUB_TOPIC_LIST, {}, { topicList: [] }],
      [RequestCode.GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST, {}, { topicList: [] }],
      [RequestCode.GET_SYSTEM_TOPIC_LIST_FROM_NS, {}, { brokerAddr: "127.0.0.1:10911", topicList: ["C", "b"] }],
    ];
    for (const [code, ext, expected] of lists) {
      assert.deepEqual(jsonOf(await one.ask(code, ext)), expected, String(code));
    }
    config.enableTopicList = config.enableAllTopicList = false;
    for (const [code, ext] of lists.slice(0, 6)) {
      const answer = await one.ask(code, ext);
      assert.deepEqual([answer.code, answer.remark], [1, "disable"], String(code));
    }
  });
});

describe("what mqadmin does", () => {
  it("reads the cluster, a group and permissions, and changes them", async () => {
    const { peer } = await start();
    const one = peer();
    await register(one);
    await register(one, SLAVE);
    assert.deepEqual(jsonOf(await one.ask(RequestCode.GET_BROKER_CLUSTER_INFO)), {
      brokerAddrTable: {
        b: {
          brokerAddrs: { 0: "127.0.0.1:10911", 1: "127.0.0.1:11911" },
          brokerName: "b",
          cluster: "C",
          enableActingMaster: false,
        },
      },
      clusterAddrTable: { C: ["b"] },
    });
    const group = (brokerName: string) =>
      one.ask(RequestCode.GET_BROKER_MEMBER_GROUP, { clusterName: "C", brokerName });
    assert.equal(
      utf8.decode((await group("b")).body),
      '{"brokerMemberGroup":{"brokerAddrs":{"0":"127.0.0.1:10911","1":"127.0.0.1:11911"},"brokerName":"b","cluster":"C"}}',
    );
    assert.deepEqual(jsonOf(await group("nobody")).brokerMemberGroup.brokerAddrs, {});
    const perm = async () =>
      jsonOf(await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T1" })).queueDatas[0].perm;
    assert.deepEqual(extOf(await one.ask(RequestCode.WIPE_WRITE_PERM_OF_BROKER, { brokerName: "b" })), {
      wipeTopicCount: "2",
    });
    assert.equal(await perm(), 4);
    assert.deepEqual(extOf(await one.ask(RequestCode.ADD_WRITE_PERM_OF_BROKER, { brokerName: "b" })), {
      addTopicCount: "2",
    });
    assert.equal(await perm(), 6);
  });

  it("deletes a topic everywhere, or in one cluster", async () => {
    const { peer } = await start();
    const one = peer();
    await register(one);
    const code = async (topic: string) => (await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic })).code;
    await one.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, { topic: "T1", clusterName: "D" });
    assert.equal(await code("T1"), 0);
    await one.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, { topic: "T1", clusterName: "C" });
    assert.equal(await code("T1"), 17);
    await one.ask(RequestCode.DELETE_TOPIC_IN_NAMESRV, { topic: "T2" });
    assert.equal(await code("T2"), 17);
  });

  it("keeps KV configuration, in the file before it is answered", async () => {
    const { peer, config, namesrv } = await start();
    const one = peer();
    const file = () => JSON.parse(readFileSync(config.kvConfigPath, "utf8"));
    const at = { namespace: "N", key: "k" };
    const none = await one.ask(RequestCode.GET_KV_CONFIG, at);
    assert.deepEqual([none.code, none.remark], [22, "No config item, Namespace: N Key: k"]);
    assert.equal((await one.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, at)).code, 22);
    assert.equal((await one.ask(RequestCode.PUT_KV_CONFIG, { ...at, value: "v" })).code, 0);
    assert.deepEqual(file(), { configTable: { N: { k: "v" } } });
    assert.deepEqual(extOf(await one.ask(RequestCode.GET_KV_CONFIG, at)), { value: "v" });
    assert.equal(utf8.decode((await one.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, at)).body), '{"table":{"k":"v"}}');
    assert.equal(namesrv.figures().kvEntries, 1);
    assert.equal((await one.ask(RequestCode.DELETE_KV_CONFIG, at)).code, 0);
    assert.deepEqual(file(), { configTable: { N: {} } });
    assert.equal((await one.ask(RequestCode.GET_KV_CONFIG, at)).code, 22);
    assert.equal(utf8.decode((await one.ask(RequestCode.GET_KVLIST_BY_NAMESPACE, at)).body), '{"table":{}}');
    for (const ext of [{ key: "k", value: "v" }, { namespace: "N", value: "v" }]) {
      const answer = await one.ask(RequestCode.PUT_KV_CONFIG, ext);
      assert.deepEqual([answer.code, answer.remark], [1, "namespace or key is null"]);
    }
    assert.equal((await one.ask(RequestCode.PUT_KV_CONFIG, at)).code, 1);
    const value = "x".repeat(1_000_000);
    for (let key = 0; key < 4; key++) {
      assert.equal((await one.ask(RequestCode.PUT_KV_CONFIG, { namespace: "N", key, value })).code, 0);
    }
    const full = await one.ask(RequestCode.PUT_KV_CONFIG, { ...at, value });
    assert.deepEqual([full.code, full.remark], [1, "KV configuration is full, wanted a shorter value"]);
  });

  it("reads and changes the configuration, but for the black list", async () => {
    const { peer, config, saved } = await start();
    const one = peer();
    const text = async () => utf8.decode((await one.ask(RequestCode.GET_NAMESRV_CONFIG)).body);
    assert.match(await text(), /^orderMessageEnable=false$/m);
    const update = async (properties: string) => {
      const { code, remark } = await one.ask(RequestCode.UPDATE_NAMESRV_CONFIG, {}, properties);
      return [code, remark];
    };
    assert.deepEqual(await update("orderMessageEnable=true\n"), [0, null]);
    assert.equal(config.orderMessageEnable, true);
    assert.match(await text(), /^orderMessageEnable=true$/m);
    assert.deepEqual(saved, ["orderMessageEnable=true\n"]);
    assert.deepEqual(await update("kvConfigPath=/x"), [16, "Can not update config in black list: kvConfigPath"]);
    assert.deepEqual(await update("orderMessageEnable=perhaps"), [
      1,
      '"orderMessageEnable" is "perhaps", wanted true or false',
    ]);
    assert.deepEqual(await update(""), [0, null]);
    assert.equal(saved.length, 1);
  });

  it("gets 3 for any other code", async () => {
    const { peer } = await start();
    const answer = await peer().ask(9999);
    assert.deepEqual([answer.code, answer.remark], [3, " request type 9999 not supported"]);
  });
});

describe("what brokers do", () => {
  it("register: a slave learns its live master, a master the ordered topics", async () => {
    const { peer, config } = await start();
    const [master, slave] = [peer(), peer()];
    assert.deepEqual(extOf(await register(slave, SLAVE)), {});
    const answer = await register(master);
    assert.deepEqual([extOf(answer), answer.body.length], [{}, 0]);
    assert.deepEqual(extOf(await register(slave, SLAVE)), {
      haServerAddr: "127.0.0.1:10912",
      masterAddr: "127.0.0.1:10911",
    });
    await master.ask(RequestCode.PUT_KV_CONFIG, { namespace: "ORDER_TOPIC_CONFIG", key: "T1", value: "b:4" });
    assert.deepEqual(jsonOf(await register(master)), { table: { T1: "b:4" } });
    config.returnOrderTopicConfigToBroker = false;
    assert.equal((await register(master)).body.length, 0);
  });

  it("register with the deflated body, whose sum is of the bytes as sent", async () => {
    const { peer } = await start();
    const one = peer();
    const body = deflated(
      part('{"counter":1,"stateVersion":0,"timestamp":5}'),
      int32(2),
      part("T1 4 4 6 SINGLE_TAG {}"),
      part("T2 4 4 6 SINGLE_TAG {}"),
      part("[]"),
      int32(0),
    );
    const bodyCrc32 = crc32(body) & 0x7fff_ffff;
    const wrong = await one.ask(RequestCode.REGISTER_BROKER, { ...MASTER, bodyCrc32: bodyCrc32 ^ 1 }, body);
    assert.deepEqual([wrong.code, wrong.remark], [1, "crc32 not match"]);
    for (const compressed of [false, true]) {
      const answer = await one.ask(RequestCode.REGISTER_BROKER, { ...MASTER, bodyCrc32, compressed }, body);
      assert.equal(answer.code, 0, answer.remark ?? "");
    }
    assert.equal((await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T2" })).code, 0);
  });

  it("register nothing by a header without a version, and are still answered", async () => {
    const { peer, namesrv } = await start();
    const answer = await peer().ask(RequestCode.REGISTER_BROKER, MASTER, registrationBody(["T1", "T2"]), {
      version: 0,
    });
    assert.equal(answer.code, 0);
    assert.deepEqual([namesrv.figures().brokers, namesrv.figures().topics], [1, 0]);
  });

  it("ask whether their topics are known, which is a sign of life", async () => {
    const { peer, clock, namesrv } = await start();
    const one = peer();
    const ask = (counter: number, ext: ExtValues = MASTER) =>
      one.ask(RequestCode.QUERY_DATA_VERSION, ext, JSON.stringify({ counter, stateVersion: 0, timestamp: 5 }));
    const unknown = await ask(1);
    assert.deepEqual([extOf(unknown), unknown.body.length], [{ changed: "true" }, 0]);
    await register(one);
    const same = await ask(1);
    assert.deepEqual(extOf(same), { changed: "false" });
    assert.equal(utf8.decode(same.body), '{"counter":1,"stateVersion":0,"timestamp":5}');
    assert.deepEqual(extOf(await ask(2)), { changed: "true" });
    clock.advance(119_000);
    await ask(1);
    clock.advance(119_000);
    await one.ask(RequestCode.BROKER_HEARTBEAT, MASTER);
    clock.advance(119_000);
    await one.tell(RequestCode.BROKER_HEARTBEAT, MASTER);
    await ask(1, SLAVE);
    clock.advance(119_000);
    assert.equal(namesrv.figures().brokers, 1);
    assert.equal((await one.ask(RequestCode.QUERY_DATA_VERSION, MASTER, "[]")).code, 1);
  });

  it("register single topics for each other, known brokers only", async () => {
    const { peer, lines } = await start();
    const one = peer();
    await register(one);
    const put = (brokerName: string) =>
      one.ask(
        RequestCode.REGISTER_TOPIC_IN_NAMESRV,
        { topic: "New" },
        JSON.stringify({ queueDatas: [{ brokerName, perm: 6, readQueueNums: 1, writeQueueNums: 1, topicSysFlag: 0 }] }),
      );
    assert.equal((await put("nobody")).code, 0);
    assert.equal((await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "New" })).code, 17);
    assert.match(lines.join("\n"), /Left out the route of a topic .*nobody/);
    assert.equal((await put("b")).code, 0);
    assert.equal((await one.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "New" })).code, 0);
    assert.equal((await one.ask(RequestCode.REGISTER_TOPIC_IN_NAMESRV, { topic: "New" }, '{"queueDatas":7}')).code, 1);
  });

  it("say goodbye, or just end: either way the route is gone at once", async () => {
    const { peer, namesrv, lines } = await start();
    const [master, slave, client] = [peer(), peer(), peer()];
    await register(master);
    await register(slave, SLAVE);
    assert.equal((await master.ask(RequestCode.UNREGISTER_BROKER, MASTER)).code, 0);
    const left = async () =>
      jsonOf(await client.ask(RequestCode.GET_BROKER_CLUSTER_INFO)).brokerAddrTable.b?.brokerAddrs;
    assert.deepEqual(await left(), { 1: "127.0.0.1:11911" });
    slave.close();
    await waitFor("the slave to be gone", () => namesrv.figures().brokers === 0);
    assert.equal(await left(), undefined);
    assert.equal((await client.ask(RequestCode.GET_ROUTEINFO_BY_TOPIC, { topic: "T1" })).code, 17);
    assert.equal((await master.ask(RequestCode.UNREGISTER_BROKER, MASTER)).code, 0);
    assert.equal(lines.filter((line) => line.includes("Broker unregistered")).length, 1);
    assert.match(lines.join("\n"), /warn Broker's connection ended, it is unregistered .*127.0.0.1:11911/);
  });

  it("are named when two live ones replace each other under one id, once a minute", async () => {
    const { peer, clock, lines } = await start();
    const [first, second] = [peer(), peer()];
    const other = { ...SLAVE, brokerAddr: "127.0.0.1:12911" };
    for (let round = 0; round < 3; round++) {
      await register(first, SLAVE);
      await register(second, other);
      clock.advance(30_000);
    }
    const said = lines.filter((line) => line.includes("replace each other"));
    assert.equal(said.length, 2);
    assert.match(said[0]!, /^warn Two live brokers register one brokerId .* give one of them another brokerId/);
    const fields = JSON.parse(said[0]!.slice(said[0]!.indexOf("{")));
    assert.deepEqual([fields.brokerName, fields.brokerId], ["b", 1]);
    assert.deepEqual([fields.brokerAddr, fields.oldBrokerAddr, fields.repeated], [
      "127.0.0.1:12911",
      "127.0.0.1:11911",
      0,
    ]);
    assert.equal(JSON.parse(said[1]!.slice(said[1]!.indexOf("{"))).repeated, 2);
  });

  it("fall silent: after their time they are gone and their connection is closed; without brokers no timer runs", async () => {
    const { peer, clock, namesrv, lines } = await start();
    const [master, slave] = [peer(), peer()];
    assert.equal(clock.timerCount, 0);
    await register(master);
    await register(slave, { ...SLAVE, heartbeatTimeoutMillis: 10_000 });
    clock.advance(10_000);
    assert.equal(namesrv.figures().brokers, 2);
    clock.advance(5001);
    assert.equal(namesrv.figures().brokers, 1);
    assert.match(lines.join("\n"), /warn Broker was not heard for 10000 ms, it is unregistered .*127.0.0.1:11911/);
    await waitFor("its connection to end", () => namesrv.figures().closes.idle === 1);
    await register(master);
    clock.advance(119_000);
    await register(master);
    clock.advance(119_000);
    assert.equal(namesrv.figures().brokers, 1);
    clock.advance(6_001);
    assert.equal(namesrv.figures().brokers, 0);
    await waitFor("all connections to end", () => namesrv.figures().connections === 0);
    assert.equal(clock.timerCount, 0);
  });

  it("name any time for their silence", async () => {
    const { peer, clock, namesrv } = await start({}, { serverChannelMaxIdleTimeSeconds: 1_000_000 });
    const one = peer();
    await register(one, { ...MASTER, heartbeatTimeoutMillis: Number.MAX_SAFE_INTEGER });
    for (let hour = 0; hour < 3; hour++) {
      clock.advance(3_600_000);
      await register(one, { ...MASTER, heartbeatTimeoutMillis: Number.MAX_SAFE_INTEGER });
    }
    await register(peer(), { ...SLAVE, heartbeatTimeoutMillis: -5 });
    clock.advance(5001);
    assert.equal(namesrv.figures().brokers, 1);
  });

  it("are told when the smallest id of their group changes", async () => {
    const { peer } = await start({}, { notifyMinBrokerIdChanged: true });
    const told: Record<string, string>[] = [];
    const listener = new RemotingServer({
      net: runtime.net,
      clock: runtime.clock,
      logger: recordingLogger().logger,
      hostname: "127.0.0.1",
      port: 0,
      processors: new Map([[RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE, (request) => {
        told.push(Object.fromEntries(request.extFields));
        return createResponse(request, 0);
      }]]),
    });
    const { port } = await listener.start();
    cleanups.push(() => listener.stop());
    const [master, slave] = [peer(), peer()];
    const acting = { enableActingMaster: true };
    const there = `127.0.0.1:${port}`;
    await register(slave, { ...SLAVE, ...acting, brokerAddr: there });
    await register(master, { ...MASTER, ...acting });
    await waitFor("the master to be told of", () => told.length === 1);
    master.close();
    await waitFor("its end to be told of", () => told.length === 2);
    assert.deepEqual(told, [
      { minBrokerId: "0", minBrokerAddr: "127.0.0.1:10911", haBrokerAddr: "127.0.0.1:10912" },
      { minBrokerId: "1", minBrokerAddr: there, offlineBrokerAddr: "127.0.0.1:10911" },
    ]);
  });

  it("are refused in one clear line when what they send is none, and nothing else is disturbed", async () => {
    const { peer, namesrv, lines } = await start();
    const one = peer();
    const refused: [ExtValues, string, RegExp][] = [
      [{ ...MASTER, brokerName: null }, "", /^Request lacks the ext field "brokerName"$/],
      [{ ...MASTER, brokerName: "a\nb" }, "", /^brokerName is "a\\nb", wanted 1 to 1024 characters/],
      [{ ...MASTER, brokerAddr: "nowhere" }, "", /^brokerAddr is "nowhere", wanted host:port$/],
      [{ ...MASTER, brokerId: "x" }, "", /^brokerId is "x", wanted an integer/],
      [{ ...MASTER, brokerId: "99999999999999999999" }, "", /^brokerId is "9+", wanted an integer/],
      [{ ...MASTER, heartbeatTimeoutMillis: "soon" }, "", /^heartbeatTimeoutMillis is "soon", wanted/],
      [{ ...MASTER, bodyCrc32: "x" }, "", /^bodyCrc32 is "x", wanted/],
      [{ ...MASTER, compressed: true }, "{}", /^Body of 2 bytes is no zlib stream, wanted one/],
      [MASTER, "[1", /wanted/],
      [
        MASTER,
        registrationBody(["T1"]),
        /^register broker failed: Broker "b" with id 0 registers one topic, wanted all/,
      ],
    ];
    for (const [ext, body, remark] of refused) {
      const answer = await one.ask(RequestCode.REGISTER_BROKER, ext, body);
      assert.equal(answer.code, 1);
      assert.match(answer.remark!, remark);
    }
    assert.deepEqual([namesrv.figures().brokers, namesrv.figures().clusters], [0, 0]);
    assert.ok(!lines.some((line) => line.startsWith("error")), lines.join("\n"));
    await register(one);
    assert.equal(namesrv.figures().brokers, 1);
  });
});

describe("a NameServer", () => {
  it("says that its port is taken", async () => {
    const { namesrv } = await start();
    await assert.rejects(
      start({ port: namesrv.address.port }),
      (error) => error instanceof IoError && error.kind === "inUse",
    );
  });

  it("starts with the KV configuration it left", async () => {
    const first = await start();
    await first.peer().ask(RequestCode.PUT_KV_CONFIG, { namespace: "N", key: "k", value: "v" });
    await first.namesrv.stop();
    await first.namesrv.stop();
    const second = await start();
    assert.deepEqual(extOf(await second.peer().ask(RequestCode.GET_KV_CONFIG, { namespace: "N", key: "k" })), {
      value: "v",
    });
  });

  it("logs its KV configuration after a minute and then every ten, when it is told to", async () => {
    const { clock, lines, namesrv } = await start({ printsKvConfig: true });
    const count = () => lines.filter((line) => line.startsWith("info KV configuration")).length;
    clock.advance(59_999);
    assert.equal(count(), 0);
    clock.advance(1);
    assert.equal(count(), 1);
    clock.advance(1_200_000);
    assert.equal(count(), 3);
    await namesrv.stop();
    assert.equal(clock.timerCount, 0);
  });

  it("counts", async () => {
    const { peer, namesrv } = await start();
    const one = peer();
    await register(one);
    await register(one, SLAVE);
    const { closes, heldBytes, topicBytes, ...rest } = namesrv.figures();
    assert.deepEqual(rest, {
      brokers: 2,
      brokerNames: 1,
      clusters: 1,
      topics: 2,
      queueDatas: 2,
      kvEntries: 0,
      connections: 1,
      requests: 2,
    });
    assert.ok(topicBytes > 0 && heldBytes >= 0);
    assert.equal(closes.garbage, 0);
    await namesrv.stop();
    assert.equal(namesrv.figures().connections, 0);
  });
});
