// The rules of registration, removal and routes, one by one, and after any sequence of events.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import fc from "fast-check";
import { type RouteInfoConfig, type RouteInfoLimits, RouteInfoManager } from "../../src/namesrv/route_info_manager.ts";
import type {
  BrokerRegistration,
  MinBrokerIdNotice,
  QueueData,
  TopicQueueMappingInfo,
} from "../../src/namesrv/route_types.ts";
import { CONFIG, registration, slave, topic, version } from "./support.ts";

type Connection = { readonly name: string };
const connection = (name: string): Connection => ({ name });
const [ONE, TWO, THREE] = ["one", "two", "three"].map(connection) as [Connection, Connection, Connection];

function manager(config: Partial<RouteInfoConfig> = {}, limits?: RouteInfoLimits) {
  const notices: MinBrokerIdNotice[] = [];
  const routes = new RouteInfoManager<Connection>({
    config: { ...CONFIG, ...config },
    ...(limits === undefined ? {} : { limits }),
    onMinBrokerIdChanged: (notice) => notices.push(notice),
  });
  const register = (each: BrokerRegistration, over = ONE, now = 0) => routes.registerBroker(each, over, now);
  const addrs = (brokerName = "broker-a") => ({ ...routes.getBrokerMemberGroup(brokerName) });
  const queue = (name: string, brokerName = "broker-a"): QueueData | undefined =>
    routes.pickupTopicRouteData(name)?.queueDatas.find((data) => data.brokerName === brokerName);
  return { routes, notices, register, addrs, queue };
}

const queueData = (brokerName: string, perm = 6): QueueData => ({
  brokerName,
  perm,
  readQueueNums: 4,
  topicSysFlag: 0,
  writeQueueNums: 4,
});

describe("registration of a master", () => {
  it("puts its name, address and topics in, and says nothing of a master", () => {
    const { routes, register, addrs } = manager();
    assert.deepEqual(register(registration()), {
      type: "registered",
      isNew: true,
      replaced: null,
      haServerAddr: null,
      masterAddr: null,
      expiresAt: 120_000,
    });
    assert.deepEqual(addrs(), { 0: "10.0.0.1:10911" });
    const route = routes.pickupTopicRouteData("T1")!;
    assert.deepEqual(route.queueDatas, [queueData("broker-a")]);
    assert.equal(route.brokerDatas.length, 1);
    assert.deepEqual({ ...route.brokerDatas[0], brokerAddrs: { ...route.brokerDatas[0]!.brokerAddrs } }, {
      brokerAddrs: { 0: "10.0.0.1:10911" },
      brokerName: "broker-a",
      cluster: "C",
      enableActingMaster: false,
    });
    assert.deepEqual({ ...route.filterServerTable }, {});
    assert.deepEqual({ ...routes.getAllClusterInfo().clusterAddrTable }, { C: ["broker-a"] });
    assert.deepEqual(routes.figures, {
      brokers: 1,
      brokerNames: 1,
      clusters: 1,
      topics: 2,
      queueDatas: 2,
      topicBytes: routes.figures.topicBytes,
    });
  });

  it("takes changes of a topic only under another data version, and new topics under any", () => {
    const { register, queue } = manager();
    register(registration());
    register(registration({ topics: [topic("T1", { perm: 4 }), "T2", "T3"] }));
    assert.equal(queue("T1")!.perm, 6);
    assert.ok(queue("T3"));
    register(registration({ topics: [topic("T1", { perm: 4 }), "T2"], dataVersion: version(2) }));
    assert.equal(queue("T1")!.perm, 4);
    for (const each of [{ stateVersion: 1 }, { timestamp: 7 }]) {
      const other = topic("T1", { readQueueNums: each.timestamp ?? 9 });
      register(registration({ topics: [other, "T2"], dataVersion: version(2, each) }));
      assert.equal(queue("T1")!.readQueueNums, each.timestamp ?? 9);
    }
  });

  it("takes a registration without a data version as a change each time", () => {
    const { register, queue } = manager();
    register(registration({ dataVersion: null }));
    register(registration({ dataVersion: null, topics: [topic("T1", { perm: 4 }), "T2"] }));
    assert.equal(queue("T1")!.perm, 4);
  });

  it("keeps topics that a later registration lacks, unless told to delete them", () => {
    const keeping = manager();
    keeping.register(registration());
    keeping.register(registration({ topics: ["T1", "T3"], dataVersion: version(2) }));
    assert.ok(keeping.queue("T2"));

    const deleting = manager({ deleteTopicWithBrokerRegistration: true });
    deleting.register(registration());
    deleting.register(registration({ brokerName: "broker-b", brokerAddr: "10.0.0.9:1" }), TWO);
    deleting.register(registration({ topics: ["T1", "T3"], dataVersion: version(2) }));
    assert.equal(deleting.queue("T2"), undefined);
    assert.ok(deleting.queue("T2", "broker-b"));
    // What a broker sends when it made one topic is not all it has.
    deleting.register(registration({ topics: ["T4"], dataVersion: version(3) }));
    assert.ok(deleting.queue("T1") && deleting.queue("T3") && deleting.queue("T4"));
    // Nor is anything deleted beside static topics.
    deleting.register(registration({ topics: [], dataVersion: version(4), body: { mappings: [mapping("T1")] } }));
    assert.ok(deleting.queue("T1"));
  });

  it("refuses one topic at first and changes nothing by that; takes none, several, or one later", () => {
    const { routes, register, addrs } = manager();
    const first = register(registration({ topics: ["T1"] }));
    assert.equal(first.type, "refused");
    assert.match((first as { reason: string }).reason, /broker-a.* 0 registers one topic, wanted all/);
    assert.equal(routes.figures.brokers + routes.figures.brokerNames + routes.figures.clusters, 0);
    assert.equal(register(registration({ topics: [] })).type, "registered");
    assert.equal(register(registration({ topics: ["T1"], dataVersion: version(2) })).type, "registered");
    // A promoted slave's too: it stays what it was.
    register(slave(), TWO);
    assert.equal(register(slave({ brokerId: 2, topics: ["T9"] }), TWO).type, "refused");
    assert.deepEqual(addrs(), { 0: "10.0.0.1:10911", 1: "10.0.0.2:10911" });
  });

  it("wipes and adds the right to write until the broker registers a change", () => {
    const { routes, register, queue } = manager();
    register(registration({ topics: [topic("T1", { perm: 7 }), "T2"] }));
    register(registration({ brokerName: "broker-b", brokerAddr: "10.0.0.9:1" }), TWO);
    assert.equal(routes.wipeWritePermOfBroker("broker-a"), 2);
    assert.deepEqual([queue("T1")!.perm, queue("T2")!.perm, queue("T1", "broker-b")!.perm], [5, 4, 6]);
    register(registration({ topics: [topic("T1", { perm: 7 }), "T2"] }));
    assert.equal(queue("T1")!.perm, 5);
    assert.equal(routes.addWritePermOfBroker("broker-a"), 2);
    assert.deepEqual([queue("T1")!.perm, queue("T2")!.perm], [6, 6]);
    routes.wipeWritePermOfBroker("broker-a");
    register(registration({ dataVersion: version(2) }));
    assert.equal(queue("T1")!.perm, 6);
    assert.equal(routes.wipeWritePermOfBroker("nobody"), 0);
  });

  it("keeps filter servers until a list replaces them, and shows them in routes", () => {
    const { routes, register } = manager();
    const table = () => ({ ...routes.pickupTopicRouteData("T1")!.filterServerTable });
    register(registration({ body: { filterServerList: ["f:1"] } }));
    assert.deepEqual(table(), { "10.0.0.1:10911": ["f:1"] });
    register(registration({ body: { filterServerList: null } }));
    assert.deepEqual(table(), { "10.0.0.1:10911": ["f:1"] });
    register(registration());
    assert.deepEqual(table(), {});
  });

  it("shows the mappings of static topics, taken under a changed version", () => {
    const { routes, register } = manager();
    const shown = () => routes.pickupTopicRouteData("T1")!.topicQueueMappingByBroker;
    register(registration());
    assert.equal(shown(), undefined);
    register(registration({ body: { mappings: [mapping("T1")] } }));
    assert.equal(shown(), undefined);
    register(registration({ dataVersion: version(2), body: { mappings: [mapping("T1"), mapping("unknown")] } }));
    assert.deepEqual({ ...shown() }, { "broker-a": mapping("T1") });
    assert.equal(routes.pickupTopicRouteData("T2")!.topicQueueMappingByBroker, undefined);
    assert.equal(routes.pickupTopicRouteData("unknown"), null);
  });

  it("stays with the cluster its name came with, and is listed under each it registers with", () => {
    const { routes, register } = manager();
    register(registration());
    register(slave({ clusterName: "D" }), TWO);
    const clusters = () => ({ ...routes.getAllClusterInfo().clusterAddrTable });
    assert.deepEqual(clusters(), { C: ["broker-a"], D: ["broker-a"] });
    assert.equal(routes.getAllClusterInfo().brokerAddrTable["broker-a"]!.cluster, "C");
    routes.onConnectionClosed(TWO);
    assert.deepEqual(clusters(), { C: ["broker-a"] });
  });
});

describe("registration of a slave", () => {
  it("learns the live master's addresses, of the same name and cluster", () => {
    const { routes, register } = manager();
    const learnt = (each = slave()) => {
      const result = register(each, TWO);
      assert.equal(result.type, "registered");
      const { haServerAddr, masterAddr } = result as { haServerAddr: string | null; masterAddr: string | null };
      return [haServerAddr, masterAddr];
    };
    assert.deepEqual(learnt(), [null, null]);
    register(registration());
    assert.deepEqual(learnt(), ["10.0.0.1:10912", "10.0.0.1:10911"]);
    assert.deepEqual(learnt(slave({ brokerId: 2, clusterName: "D", brokerAddr: "10.0.0.3:1" })), [null, null]);
    assert.deepEqual(learnt(slave({ brokerName: "broker-b", brokerAddr: "10.0.0.4:1" })), [null, null]);
    // Over its own connection: only the master goes.
    routes.onConnectionClosed(ONE);
    assert.deepEqual(learnt(), [null, null]);
  });

  it("registers no topics beside a master, nor as a 4.9 slave alone; as a 5.x slave alone it does", () => {
    const beside = manager();
    beside.register(registration());
    beside.register(slave({ topics: ["T1", "T2", "S"] }), TWO);
    assert.equal(beside.queue("S"), undefined);

    const old = manager();
    old.register(slave({ enableActingMaster: null }));
    assert.equal(old.routes.pickupTopicRouteData("T1"), null);
    assert.equal(old.routes.figures.brokers, 1);

    const alone = manager();
    alone.register(slave());
    assert.equal(alone.queue("T1")!.perm, 6);
    // The smallest id only.
    alone.register(slave({ brokerId: 2, brokerAddr: "10.0.0.3:1", topics: ["T1", "S"] }), TWO);
    assert.equal(alone.queue("S"), undefined);
  });

  it("registers topics without the right to write where it may act as master", () => {
    const { register, queue } = manager();
    register(slave({ enableActingMaster: true }));
    assert.equal(queue("T1")!.perm, 4);
    register(registration({ enableActingMaster: true }), TWO);
    assert.equal(queue("T1")!.perm, 6);
  });

  it("gives up its old id when it becomes master", () => {
    const { register, addrs } = manager();
    register(registration());
    register(slave(), TWO);
    register(slave({ brokerId: 0, dataVersion: version(9, { stateVersion: 1 }) }), TWO);
    assert.deepEqual(addrs(), { 0: "10.0.0.2:10911" });
  });

  it("of another name at the same address: the old name is gone", () => {
    const { routes, register, addrs } = manager();
    register(registration());
    register(registration({ brokerName: "renamed" }), TWO);
    assert.deepEqual(addrs(), {});
    assert.deepEqual(addrs("renamed"), { 0: "10.0.0.1:10911" });
    assert.deepEqual(routes.pickupTopicRouteData("T1")!.queueDatas.map(({ brokerName }) => brokerName), ["renamed"]);
    assert.deepEqual(routes.onConnectionClosed(ONE), []);
    assert.deepEqual(addrs("renamed"), { 0: "10.0.0.1:10911" });
  });
});

describe("two brokers with one id", () => {
  const other = (parts: Parameters<typeof registration>[0] = {}) =>
    registration({ brokerAddr: "10.0.0.5:10911", ...parts });

  it("with equal or lower state version of the old one: the newcomer wins, each time", () => {
    const { register, addrs } = manager();
    register(registration());
    assert.equal(register(other(), TWO).type, "registered");
    assert.deepEqual(addrs(), { 0: "10.0.0.5:10911" });
    register(registration());
    assert.deepEqual(addrs(), { 0: "10.0.0.1:10911" });
    register(other({ dataVersion: version(1, { stateVersion: 3 }) }), TWO);
    assert.deepEqual(addrs(), { 0: "10.0.0.5:10911" });
  });

  it("names whom the newcomer replaces, each time, while that one is live", () => {
    const { routes, register } = manager();
    const replaced = (...args: Parameters<typeof register>) => {
      const result = register(...args);
      return result.type === "registered" ? result.replaced : result.type;
    };
    const second = (brokerAddr: string) => slave({ brokerAddr });
    assert.equal(replaced(slave(), ONE), null);
    assert.equal(replaced(slave(), ONE, 30_000), null);
    assert.equal(replaced(second("10.0.0.3:1"), TWO, 31_000), "10.0.0.2:10911");
    assert.equal(replaced(slave(), ONE, 60_000), "10.0.0.3:1");
    // One that says another address over its connection is one and the same.
    assert.equal(replaced(second("10.0.0.4:1"), ONE, 60_000), null);
    // Back with another port after its connection ended; the other one, which would have the id back, is gone too.
    routes.onConnectionClosed(TWO);
    routes.onConnectionClosed(ONE);
    assert.equal(replaced(second("10.0.0.4:2"), THREE, 61_000), null);
    // Not heard for too long, though nobody has looked yet.
    assert.equal(replaced(second("10.0.0.3:1"), TWO, 181_001), null);
  });

  it("names nobody in a planned switch of roles, where the old master takes the id of the slave", () => {
    const { register } = manager();
    register(registration(), ONE);
    register(slave(), TWO);
    for (
      const [each, over] of [
        [registration({ brokerId: 1 }), ONE],
        [slave({ brokerId: 0 }), TWO],
        [registration({ brokerId: 1 }), ONE],
      ] as const
    ) {
      const result = register(each, over);
      assert.equal(result.type === "registered" ? result.replaced : "", null);
    }
  });

  it("with a higher one of the old one: the newcomer is ignored and loses what it was", () => {
    const { routes, register, addrs } = manager();
    register(registration({ dataVersion: version(1, { stateVersion: 2 }) }));
    register(other({ brokerId: 1 }), TWO);
    const result = register(other({ dataVersion: version(8, { stateVersion: 1 }) }), TWO);
    assert.equal(result.type, "ignored");
    assert.match(
      (result as { reason: string }).reason,
      /10.0.0.1:10911 has id 0 .* version 2, 10.0.0.5:10911 came with 1/,
    );
    assert.deepEqual(addrs(), { 0: "10.0.0.1:10911" });
    assert.equal(routes.figures.brokers, 1);
    assert.deepEqual(routes.onConnectionClosed(TWO), []);
  });

  it("whose old one is no longer live: the newcomer wins", () => {
    const { routes, register, addrs } = manager();
    register(registration({ dataVersion: version(1, { stateVersion: 2 }) }));
    register(slave(), TWO);
    routes.onConnectionClosed(ONE);
    assert.equal(register(other(), THREE).type, "registered");
    assert.deepEqual(addrs(), { 0: "10.0.0.5:10911", 1: "10.0.0.2:10911" });
  });

  it("and the one that was pushed out leaves the other alone when it ends", () => {
    const { routes, register, addrs } = manager();
    register(registration());
    register(other(), TWO);
    assert.equal(routes.onConnectionClosed(ONE).length, 1);
    assert.equal(
      routes.unregisterBroker({ clusterName: "C", brokerAddr: "10.0.0.1:10911", brokerName: "broker-a" }),
      false,
    );
    assert.deepEqual(addrs(), { 0: "10.0.0.5:10911" });
    assert.ok(routes.pickupTopicRouteData("T1"));
  });
});

describe("a broker whose id another one took", () => {
  const own = { clusterName: "C", brokerAddr: "10.0.0.1:10911", brokerName: "broker-a" };
  const second = { ...own, brokerAddr: "10.0.0.5:10911" };

  it("has it back at once when that one goes, and its topics count as changed", () => {
    for (const leave of ["unregister", "close", "silence"] as const) {
      const { routes, register, addrs, queue } = manager();
      register(registration({ topics: [topic("T1", { writeQueueNums: 4 })].concat(topic("T2")) }), ONE, 60_000);
      register(registration({ ...second, topics: [topic("T1", { writeQueueNums: 9 }), topic("T2")] }), TWO);
      assert.deepEqual(addrs(), { 0: second.brokerAddr });
      if (leave === "unregister") assert.equal(routes.unregisterBroker(second), true);
      else if (leave === "close") routes.onConnectionClosed(TWO);
      else routes.scanNotActiveBroker(120_001);
      assert.deepEqual(addrs(), { 0: own.brokerAddr }, leave);
      assert.equal(routes.isBrokerTopicConfigChanged(own, version(1)), true);
      register(registration(), ONE, 60_001);
      assert.equal(queue("T1")?.writeQueueNums, 4);
      // Nothing of it is left behind.
      routes.onConnectionClosed(ONE);
      assert.deepEqual(addrs(), {});
    }
  });

  it("has it not when it is gone, or registered something else meanwhile, or gave it up to its slave", () => {
    const gone = manager();
    gone.register(registration(), ONE);
    gone.register(registration(second), TWO);
    gone.routes.onConnectionClosed(ONE);
    gone.routes.unregisterBroker(second);
    assert.deepEqual(gone.addrs(), {});

    const demoted = manager();
    demoted.register(registration(), ONE);
    demoted.register(registration(second), TWO);
    demoted.register(registration({ brokerId: 1 }), ONE);
    demoted.routes.unregisterBroker(second);
    assert.deepEqual(demoted.addrs(), { 1: own.brokerAddr });

    // A promoted slave leaves again: its old master, which hangs, is no better than nobody.
    const promoted = manager();
    promoted.register(registration(), ONE);
    promoted.register(slave(), TWO);
    promoted.register(slave({ brokerId: 0 }), TWO);
    promoted.routes.onConnectionClosed(TWO);
    assert.deepEqual(promoted.addrs(), {});
  });

  it("has it back when that one takes another id", () => {
    const { register, addrs } = manager();
    register(registration(), ONE);
    register(registration(second), TWO);
    register(registration({ ...second, brokerId: 1 }), TWO);
    assert.deepEqual(addrs(), { 0: own.brokerAddr, 1: second.brokerAddr });
  });
});

describe("removal", () => {
  it("of the last address takes name, cluster and topics; of another one only itself", () => {
    const { routes, register, addrs } = manager();
    register(registration());
    register(slave(), TWO);
    register(registration({ brokerName: "broker-b", brokerAddr: "10.0.0.9:1", topics: ["T1", "T9"] }), THREE);
    assert.equal(
      routes.unregisterBroker({ clusterName: "C", brokerAddr: "10.0.0.1:10911", brokerName: "broker-a" }),
      true,
    );
    assert.deepEqual(addrs(), { 1: "10.0.0.2:10911" });
    assert.equal(routes.pickupTopicRouteData("T2")!.queueDatas.length, 1);
    routes.onConnectionClosed(TWO);
    assert.deepEqual({ ...routes.getAllClusterInfo().clusterAddrTable }, { C: ["broker-b"] });
    assert.equal(routes.pickupTopicRouteData("T2"), null);
    assert.deepEqual(routes.pickupTopicRouteData("T1")!.queueDatas, [queueData("broker-b")]);
    routes.onConnectionClosed(THREE);
    assert.deepEqual(routes.figures, {
      brokers: 0,
      brokerNames: 0,
      clusters: 0,
      topics: 0,
      queueDatas: 0,
      topicBytes: 0,
    });
  });

  it("is by address: an old master's goodbye leaves the new one", () => {
    const { routes, register, addrs } = manager();
    register(registration());
    register(slave({ brokerId: 0 }), TWO);
    routes.unregisterBroker({ clusterName: "C", brokerAddr: "10.0.0.1:10911", brokerName: "broker-a" });
    assert.deepEqual(addrs(), { 0: "10.0.0.2:10911" });
  });

  it("by the end of a connection takes every broker that registered over it last", () => {
    const { routes, register, addrs } = manager();
    register(registration());
    register(slave());
    register(registration({ brokerName: "broker-b", brokerAddr: "10.0.0.9:1" }));
    // It registered again over another connection, so it lives on.
    register(slave(), TWO);
    assert.deepEqual(routes.onConnectionClosed(ONE).map(({ brokerAddr }) => brokerAddr), [
      "10.0.0.1:10911",
      "10.0.0.9:1",
    ]);
    assert.deepEqual(addrs(), { 1: "10.0.0.2:10911" });
    assert.deepEqual(routes.onConnectionClosed(ONE), []);
    assert.deepEqual(routes.onConnectionClosed(connection("a client's")), []);
  });

  it("by silence comes after 120 s, or the time the broker named; signs of life put it off", () => {
    const { routes, register } = manager();
    assert.equal(routes.nextExpiry(), null);
    register(registration(), ONE, 1000);
    register(slave({ heartbeatTimeoutMillis: 10_000 }), TWO, 2000);
    assert.equal(routes.nextExpiry(), 12_000);
    assert.deepEqual(routes.scanNotActiveBroker(12_000), []);
    routes.updateBrokerInfoUpdateTimestamp(slave(), 12_000);
    routes.updateBrokerInfoUpdateTimestamp({ clusterName: "D", brokerAddr: "10.0.0.2:10911" }, 99_000);
    assert.deepEqual(routes.scanNotActiveBroker(22_000), []);
    const [gone] = routes.scanNotActiveBroker(22_001);
    assert.deepEqual([gone!.brokerAddr, gone!.connection, gone!.timeoutMs], ["10.0.0.2:10911", TWO, 10_000]);
    assert.equal(routes.nextExpiry(), 121_000);
    assert.deepEqual(routes.scanNotActiveBroker(121_000), []);
    assert.equal(routes.scanNotActiveBroker(121_001).length, 1);
    assert.equal(routes.figures.topics, 0);
  });

  it("of an unknown broker, name or cluster changes nothing", () => {
    const { routes, register, addrs } = manager();
    register(registration());
    for (
      const each of [
        { clusterName: "C", brokerAddr: "10.9.9.9:1", brokerName: "broker-a" },
        { clusterName: "C", brokerAddr: "10.9.9.9:1", brokerName: "nobody" },
        { clusterName: "D", brokerAddr: "10.9.9.9:1", brokerName: "broker-a" },
      ]
    ) assert.equal(routes.unregisterBroker(each), false);
    assert.deepEqual(addrs(), { 0: "10.0.0.1:10911" });
    // With another name than it registered with, the address is gone all the same.
    assert.equal(
      routes.unregisterBroker({ clusterName: "C", brokerAddr: "10.0.0.1:10911", brokerName: "nobody" }),
      true,
    );
    assert.deepEqual(addrs(), {});
  });
});

describe("data versions", () => {
  it("are changed unless all three parts are equal", () => {
    const { routes, register } = manager();
    const broker = { clusterName: "C", brokerAddr: "10.0.0.1:10911" };
    assert.equal(routes.queryBrokerTopicConfig(broker), null);
    assert.equal(routes.isBrokerTopicConfigChanged(broker, version(1)), true);
    register(registration());
    assert.deepEqual(routes.queryBrokerTopicConfig(broker), version(1));
    assert.equal(routes.isBrokerTopicConfigChanged(broker, version(1)), false);
    for (const each of [{ counter: 2 }, { stateVersion: 1 }, { timestamp: 1 }]) {
      assert.equal(routes.isBrokerTopicConfigChanged(broker, { ...version(1), ...each }), true);
    }
    assert.equal(routes.isBrokerTopicConfigChanged(broker, null), true);
    assert.equal(routes.isBrokerTopicConfigChanged({ ...broker, clusterName: "D" }, version(1)), true);
  });
});

describe("acting master", () => {
  const acting = { enableActingMaster: true };

  it("takes the right to write from a group that lost its master, and gives it back", () => {
    const { routes, register, queue } = manager();
    register(registration(acting));
    register(slave(acting), TWO);
    routes.onConnectionClosed(ONE);
    assert.equal(queue("T1")!.perm, 4);
    register(registration(acting));
    assert.equal(queue("T1")!.perm, 6);
    // A slave that goes leaves it.
    routes.onConnectionClosed(TWO);
    assert.equal(queue("T1")!.perm, 6);

    const without = manager();
    without.register(registration());
    without.register(slave(), TWO);
    without.routes.onConnectionClosed(ONE);
    assert.equal(without.queue("T1")!.perm, 6);
  });

  it("shows the smallest id as the master's where both sides allow it", () => {
    const config = { supportActingMaster: true };
    const shown = (routes: RouteInfoManager<Connection>, name = "T1") => ({
      ...routes.pickupTopicRouteData(name)!.brokerDatas[0]!.brokerAddrs,
    });
    const { routes, register } = manager(config);
    const topics = ["T1", "rmq_sys_SYNC_BROKER_MEMBER_broker-a"];
    register(registration({ ...acting, topics }));
    register(slave({ ...acting, topics }), TWO);
    register(slave({ ...acting, topics, brokerId: 2, brokerAddr: "10.0.0.3:1" }), THREE);
    assert.deepEqual(Object.keys(shown(routes)), ["0", "1", "2"]);
    routes.onConnectionClosed(ONE);
    assert.deepEqual(shown(routes), { 0: "10.0.0.2:10911", 2: "10.0.0.3:1" });
    // The tables and the group itself know better.
    assert.deepEqual(shown(routes, topics[1]), { 1: "10.0.0.2:10911", 2: "10.0.0.3:1" });
    assert.deepEqual({ ...routes.getBrokerMemberGroup("broker-a") }, { 1: "10.0.0.2:10911", 2: "10.0.0.3:1" });
    assert.deepEqual(Object.keys(routes.getAllClusterInfo().brokerAddrTable["broker-a"]!.brokerAddrs), ["1", "2"]);
    // A topic that may be written is not shown so.
    routes.addWritePermOfBroker("broker-a");
    assert.deepEqual(Object.keys(shown(routes)), ["1", "2"]);

    const off = manager();
    off.register(slave(acting));
    assert.deepEqual(Object.keys(shown(off.routes)), ["1"]);
    const brokersOff = manager(config);
    brokersOff.register(slave({ topics: [topic("T1", { perm: 4 }), "T2"] }));
    assert.deepEqual(Object.keys(shown(brokersOff.routes)), ["1"]);
  });

  it("tells the others of a new smallest id", () => {
    const { routes, register, notices } = manager({ notifyMinBrokerIdChanged: true });
    register(slave(acting), TWO);
    register(slave({ ...acting, brokerId: 2, brokerAddr: "10.0.0.3:1" }), THREE);
    assert.deepEqual(notices.splice(0), []);
    register(registration(acting));
    assert.deepEqual(notices.splice(0), [{
      addresses: ["10.0.0.2:10911", "10.0.0.3:1"],
      minBrokerId: 0,
      minBrokerAddr: "10.0.0.1:10911",
      offlineBrokerAddr: null,
      haBrokerAddr: "10.0.0.1:10912",
    }]);
    register(registration(acting));
    assert.deepEqual(notices.splice(0), []);
    routes.onConnectionClosed(ONE);
    assert.deepEqual(notices.splice(0), [{
      addresses: ["10.0.0.2:10911", "10.0.0.3:1"],
      minBrokerId: 1,
      minBrokerAddr: "10.0.0.2:10911",
      offlineBrokerAddr: "10.0.0.1:10911",
      haBrokerAddr: null,
    }]);
    // Not the smallest.
    routes.onConnectionClosed(THREE);
    assert.deepEqual(notices.splice(0), []);
    // Nobody is left to be told.
    routes.onConnectionClosed(TWO);
    assert.deepEqual(notices.splice(0), []);
  });

  it("tells nobody unless it is asked for, nor of groups without acting masters", () => {
    const silent = manager();
    silent.register(registration(acting));
    silent.register(slave(acting), TWO);
    silent.routes.onConnectionClosed(ONE);
    assert.deepEqual(silent.notices, []);
    const without = manager({ notifyMinBrokerIdChanged: true });
    without.register(registration());
    without.register(slave(), TWO);
    without.routes.onConnectionClosed(ONE);
    assert.deepEqual(without.notices, []);
  });
});

describe("topics", () => {
  it("are put on known brokers, all or none", () => {
    const { routes, register, queue } = manager();
    register(registration());
    assert.equal(routes.registerTopic("New", [queueData("broker-a", 4)]), null);
    assert.equal(queue("New")!.perm, 4);
    assert.match(routes.registerTopic("New", [queueData("broker-a", 2), queueData("nobody")])!, /"nobody" is unknown/);
    assert.equal(queue("New")!.perm, 4);
    assert.equal(routes.registerTopic("Empty", []), null);
    assert.equal(routes.pickupTopicRouteData("Empty"), null);
    routes.onConnectionClosed(ONE);
    assert.equal(routes.pickupTopicRouteData("New"), null);
  });

  it("are deleted everywhere or in one cluster", () => {
    const { routes, register, queue } = manager();
    register(registration());
    register(registration({ clusterName: "D", brokerName: "broker-d", brokerAddr: "10.0.0.9:1" }), TWO);
    routes.deleteTopic("T1", "D");
    assert.ok(queue("T1") && !queue("T1", "broker-d"));
    routes.deleteTopic("T1", "nobody");
    routes.deleteTopic("T1", "C");
    assert.equal(routes.pickupTopicRouteData("T1"), null);
    routes.deleteTopic("T2", null);
    assert.deepEqual(routes.getAllTopicList(), []);
    routes.deleteTopic("T2", null);
    // They come back with the next registration, as the broker still has them.
    register(registration());
    assert.ok(queue("T1"));
  });

  it("are listed by cluster, by flag, and with the names of clusters and brokers", () => {
    const { routes, register } = manager();
    assert.deepEqual(routes.getSystemTopicList(), { brokerAddr: null, topicList: [] });
    const flags = [topic("None"), topic("Unit", { topicSysFlag: 1 }), topic("Sub", { topicSysFlag: 2 })];
    register(registration({ topics: [...flags, topic("Both", { topicSysFlag: 3 })] }));
    register(registration({ clusterName: "D", brokerName: "broker-d", brokerAddr: "10.0.0.9:1", topics: [] }), TWO);
    assert.deepEqual(routes.getTopicsByCluster("C"), ["None", "Unit", "Sub", "Both"]);
    assert.deepEqual(routes.getTopicsByCluster("D"), []);
    assert.deepEqual(routes.getTopicsByCluster("nobody"), []);
    assert.deepEqual(routes.getUnitTopics(), ["Unit", "Both"]);
    assert.deepEqual(routes.getHasUnitSubTopicList(), ["Sub", "Both"]);
    assert.deepEqual(routes.getHasUnitSubUnUnitTopicList(), ["Sub"]);
    assert.deepEqual(routes.getSystemTopicList(), {
      brokerAddr: "10.0.0.1:10911",
      topicList: ["C", "broker-a", "D", "broker-d"],
    });
  });

  it("and brokers may have the names of an object's own members", () => {
    const { routes, register } = manager();
    register(registration({ brokerName: "__proto__", clusterName: "__proto__", topics: ["constructor", "T2"] }));
    const info = routes.getAllClusterInfo();
    assert.deepEqual(
      JSON.parse(JSON.stringify(info.brokerAddrTable)),
      JSON.parse(
        '{"__proto__":{"brokerAddrs":{"0":"10.0.0.1:10911"},"brokerName":"__proto__","cluster":"__proto__","enableActingMaster":false}}',
      ),
    );
    assert.equal(JSON.stringify(info.clusterAddrTable), '{"__proto__":["__proto__"]}');
    assert.equal(routes.pickupTopicRouteData("__proto__"), null);
    assert.ok(routes.pickupTopicRouteData("constructor"));
  });
});

describe("bounds", () => {
  it("refuse a broker too many, not one that registers again", () => {
    const { routes, register } = manager({}, { brokersMax: 2, topicBytesMax: 1e9 });
    register(registration());
    register(slave(), TWO);
    const refused = register(slave({ brokerId: 2, brokerAddr: "10.0.0.3:1" }), THREE);
    assert.deepEqual(refused, { type: "refused", reason: "2 brokers are registered, wanted fewer" });
    assert.equal(register(registration(), ONE).type, "registered");
    routes.onConnectionClosed(TWO);
    assert.equal(register(slave({ brokerId: 2, brokerAddr: "10.0.0.3:1" }), THREE).type, "registered");
  });

  it("refuse topics too many as a whole, not what is there already", () => {
    const { routes, register } = manager({}, { brokersMax: 10, topicBytesMax: 2000 });
    assert.equal(register(registration()).type, "registered");
    const before = routes.figures;
    const refused = register(registration({ topics: ["T1", "T2", "T3", "T4", "T5", "T6"], dataVersion: version(2) }));
    assert.match(
      (refused as { reason: string }).reason,
      /^Topics would take \d+ bytes of memory, wanted at most 2000$/,
    );
    assert.deepEqual(routes.figures, before);
    assert.equal(register(registration({ dataVersion: version(2) })).type, "registered");
    assert.match(routes.registerTopic("N".repeat(1000), [queueData("broker-a")])!, /wanted at most 2000/);
    const many = Object.fromEntries(Array.from({ length: 100 }, (_, id) => [id, id]));
    const mapped = registration({ dataVersion: version(3), body: { mappings: [mapping("T1", { currIdMap: many })] } });
    assert.equal(register(mapped).type, "refused");
  });

  it("count memory down to nothing", () => {
    const { routes, register } = manager();
    const mappings = [mapping("T1"), mapping("T2")];
    register(registration({ body: { mappings } }));
    const { topicBytes } = routes.figures;
    register(registration({ dataVersion: version(2), body: { mappings } }));
    assert.equal(routes.figures.topicBytes, topicBytes);
    routes.deleteTopic("T1", null);
    assert.equal(routes.figures.topicBytes, topicBytes / 2);
    routes.onConnectionClosed(ONE);
    assert.equal(routes.figures.topicBytes, 0);
  });
});

describe("after any events", () => {
  const names = fc.constantFrom("a", "b");
  const event = fc.oneof(
    fc.record({
      type: fc.constant("register" as const),
      clusterName: fc.constantFrom("C", "D"),
      brokerName: names,
      brokerAddr: fc.constantFrom("h:1", "h:2", "h:3"),
      brokerId: fc.nat(2),
      enableActingMaster: fc.constantFrom(null, false, true),
      stateVersion: fc.nat(1),
      counter: fc.nat(2),
      topics: fc.subarray(["T1", "T2", "T3"]),
      connection: fc.nat(2),
    }),
    fc.record({
      type: fc.constant("unregister" as const),
      clusterName: fc.constantFrom("C", "D"),
      brokerName: names,
      brokerAddr: fc.constantFrom("h:1", "h:2", "h:3"),
    }),
    fc.record({ type: fc.constant("closed" as const), connection: fc.nat(2) }),
    fc.record({ type: fc.constant("time" as const), ms: fc.nat(90_000) }),
    fc.record({ type: fc.constant("deleteTopic" as const), topic: fc.constantFrom("T1", "T2") }),
  );

  it("tables agree with each other, and all is gone with the last connection", () => {
    fc.assert(
      fc.property(fc.array(event, { maxLength: 40 }), fc.boolean(), (events, deletes) => {
        const { routes } = manager({ deleteTopicWithBrokerRegistration: deletes, notifyMinBrokerIdChanged: true });
        const connections = [ONE, TWO, THREE];
        let now = 0;
        for (const each of events) {
          if (each.type === "register") {
            const { stateVersion, counter, connection, topics, type: _, ...rest } = each;
            const dataVersion = version(counter, { stateVersion });
            routes.registerBroker(registration({ ...rest, topics, dataVersion }), connections[connection]!, now);
          } else if (each.type === "unregister") routes.unregisterBroker(each);
          else if (each.type === "closed") routes.onConnectionClosed(connections[each.connection]!);
          else if (each.type === "time") routes.scanNotActiveBroker(now += each.ms);
          else routes.deleteTopic(each.topic, null);
          assertAgree(routes);
        }
        for (const each of connections) routes.onConnectionClosed(each);
        assertAgree(routes);
        assert.deepEqual(Object.values(routes.figures), [0, 0, 0, 0, 0, 0]);
      }),
      { numRuns: 300, seed: 7 },
    );
  });

  function assertAgree(routes: RouteInfoManager<Connection>): void {
    const { brokerAddrTable, clusterAddrTable } = routes.getAllClusterInfo();
    let members = 0;
    for (const [name, data] of Object.entries(brokerAddrTable)) {
      const addresses = Object.values(data.brokerAddrs);
      assert.ok(addresses.length > 0, `${name} has no address`);
      assert.equal(new Set(addresses).size, addresses.length, "an address has one id");
      assert.ok(Object.values(clusterAddrTable).some((listed) => listed.includes(name)), `${name} is in no cluster`);
      members += addresses.length;
    }
    for (const [cluster, listed] of Object.entries(clusterAddrTable)) {
      assert.ok(listed.length > 0, `${cluster} is empty`);
      for (const name of listed) assert.ok(brokerAddrTable[name], `${name} of ${cluster} is unknown`);
    }
    assert.ok(members <= routes.figures.brokers, "every address is of a live broker");
    let queueDatas = 0;
    for (const name of routes.getAllTopicList()) {
      const route = routes.pickupTopicRouteData(name)!;
      queueDatas += route.queueDatas.length;
      assert.ok(route.queueDatas.length > 0);
      for (const { brokerName } of route.queueDatas) assert.ok(brokerAddrTable[brokerName], brokerName);
    }
    assert.equal(queueDatas, routes.figures.queueDatas);
    assert.equal(routes.nextExpiry() === null, routes.figures.brokers === 0);
  }
});

function mapping(name: string, parts: Partial<TopicQueueMappingInfo> = {}): TopicQueueMappingInfo {
  return {
    bname: "broker-a",
    currIdMap: { 0: 0 },
    dirty: false,
    epoch: 1,
    scope: "__global__",
    topic: name,
    totalQueues: 1,
    ...parts,
  };
}
