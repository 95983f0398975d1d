// Requests beyond those of 4.x clients and administrators, which a broker may answer with "not supported", and those of a
// NameServer.

import { casesOf, type RequestCase } from "./request_world.ts";

const p3 = casesOf("P3");
const ns = casesOf("NameServer");
const GROUP = "RawGroup";
const NOT_HERE = "not supported here";

/** Requests of 5.x that most clients never make. */
export const OTHER_CASES: readonly RequestCase[] = [
  p3.ask(353, "UPDATE_AND_GET_GROUP_FORBIDDEN", "forbids", { ext: { group: "RawOld", topic: "Raw", readable: false } }),
  p3.ask(353, "UPDATE_AND_GET_GROUP_FORBIDDEN", "only asks", { ext: { group: "RawOld", topic: "Raw" } }),
  p3.ask(400, "QUERY_ASSIGNMENT", "of a member", {
    body: {
      clientId: "10.0.0.1@raw",
      consumerGroup: GROUP,
      messageModel: "CLUSTERING",
      strategyName: "AVG",
      topic: "Raw",
    },
  }),
  p3.ask(401, "SET_MESSAGE_REQUEST_MODE", "pull", {
    body: { consumerGroup: GROUP, mode: "PULL", popShareQueueNum: 0, topic: "Raw" },
  }),
  p3.ask(370, "RECALL_MESSAGE", "not enabled", {
    ext: { topic: "Raw", recallHandle: "x", producerGroup: "RawProducers" },
  }),
  p3.ask(1007, "GET_BROKER_EPOCH_CACHE", "without a controller", {}),
  p3.ask(355, "EXPORT_ROCKSDB_CONFIG_TO_JSON", "without RocksDB", { ext: { configType: "topics" } }),
  p3.ask(2002, "REMOVE_COLD_DATA_FLOW_CTR_CONFIG", "a group without one", { body: "None" }),
  p3.ask(2003, "GET_COLD_DATA_FLOW_CTR_INFO", "", {}),
  p3.ask(200_056, "POP_ROLLBACK", "nothing was popped", {}),
  p3.ask(301, "REGISTER_FILTER_SERVER", "gone since 4.3", { ext: { filterServerAddr: "a:1" } }),
  p3.ask(302, "REGISTER_MESSAGE_FILTER_CLASS", "gone since 4.3", {}),
  p3.ask(99_999, "(no such request)", "", {}),
  ...([
    [200_050, "POP_MESSAGE", {
      consumerGroup: GROUP,
      topic: "Raw",
      queueId: 0,
      maxMsgNums: 1,
      invisibleTime: 1000,
      pollTime: 0,
      bornTime: 1_700_000_000_000,
      initMode: 0,
      order: false,
    }],
    [200_051, "ACK_MESSAGE", { consumerGroup: GROUP, topic: "Raw", queueId: 0, extraInfo: "x", offset: 0 }],
    [200_052, "PEEK_MESSAGE", { consumerGroup: GROUP, topic: "Raw", queueId: 0, maxMsgNums: 1 }],
    [200_053, "CHANGE_MESSAGE_INVISIBLETIME", {
      consumerGroup: GROUP,
      topic: "Raw",
      queueId: 0,
      extraInfo: "x",
      offset: 0,
      invisibleTime: 1000,
    }],
    [200_054, "NOTIFICATION", {
      consumerGroup: GROUP,
      topic: "Raw",
      queueId: 0,
      pollTime: 0,
      bornTime: 1_700_000_000_000,
    }],
    [200_055, "POLLING_INFO", { consumerGroup: GROUP, topic: "Raw", queueId: 0 }],
    [354, "CHECK_ROCKSDB_CQ_WRITE_PROGRESS", { topic: "Raw" }],
    [513, "UPDATE_AND_CREATE_STATIC_TOPIC", { topic: "RawStatic" }],
    [2001, "UPDATE_COLD_DATA_FLOW_CTR_CONFIG", {}],
    [2004, "SET_COMMITLOG_READ_MODE", { READ_AHEAD_MODE: 0 }],
    [3001, "AUTH_CREATE_USER", { username: "u" }],
    [3004, "AUTH_GET_USER", { username: "u" }],
    [3005, "AUTH_LIST_USER", {}],
    [3009, "AUTH_GET_ACL", { subject: "User:u" }],
    [3010, "AUTH_LIST_ACL", {}],
  ] as const).map(([code, name, ext]) => p3.ask(code, name, "", { ext }, NOT_HERE)),
];

/** Requests of a NameServer, with the broker registered there. */
export const NAMESRV_CASES: readonly RequestCase[] = [
  ns.ask(105, "GET_ROUTEINFO_BY_TOPIC", "a topic", { ext: { topic: "Raw" } }),
  ns.ask(105, "GET_ROUTEINFO_BY_TOPIC", "no topic", { ext: { topic: "None" } }),
  ns.ask(105, "GET_ROUTEINFO_BY_TOPIC", "of an old client", { ext: { topic: "Raw" }, version: 399 }),
  ns.ask(106, "GET_BROKER_CLUSTER_INFO", "", {}),
  ns.ask(206, "GET_ALL_TOPIC_LIST_FROM_NAMESERVER", "", {}),
  ns.ask(224, "GET_TOPICS_BY_CLUSTER", "a cluster", { ext: { cluster: "LabCluster" } }),
  ns.ask(224, "GET_TOPICS_BY_CLUSTER", "no cluster", { ext: { cluster: "None" } }),
  ns.ask(304, "GET_SYSTEM_TOPIC_LIST_FROM_NS", "", {}),
  ns.ask(311, "GET_UNIT_TOPIC_LIST", "", {}),
  ns.ask(312, "GET_HAS_UNIT_SUB_TOPIC_LIST", "", {}),
  ns.ask(313, "GET_HAS_UNIT_SUB_UNUNIT_TOPIC_LIST", "", {}),
  ns.ask(901, "GET_BROKER_MEMBER_GROUP", "a broker", { ext: { clusterName: "LabCluster", brokerName: "lab" } }),
  ns.ask(901, "GET_BROKER_MEMBER_GROUP", "no broker", { ext: { clusterName: "LabCluster", brokerName: "None" } }),
  ns.ask(100, "PUT_KV_CONFIG", "a value", { ext: { namespace: "Raw", key: "k", value: "v" } }),
  ns.ask(100, "PUT_KV_CONFIG", "without a key", { ext: { namespace: "Raw", value: "v" } }),
  ns.ask(101, "GET_KV_CONFIG", "a value", { ext: { namespace: "Raw", key: "k" } }),
  ns.ask(101, "GET_KV_CONFIG", "no value", { ext: { namespace: "Raw", key: "none" } }),
  ns.ask(219, "GET_KVLIST_BY_NAMESPACE", "a namespace", { ext: { namespace: "Raw" } }),
  ns.ask(219, "GET_KVLIST_BY_NAMESPACE", "no namespace", { ext: { namespace: "None" } }),
  ns.ask(102, "DELETE_KV_CONFIG", "a value", { ext: { namespace: "Raw", key: "k" } }),
  ns.run(319, "GET_NAMESRV_CONFIG", "shape", async (world) => {
    const { code, body } = await world.askNamesrv({ code: 319 });
    return {
      code,
      body: typeof body === "string" && body.trimEnd().split("\n").every((line) => /^[A-Za-z0-9]+=/.test(line)),
    };
  }),
  ns.ask(318, "UPDATE_NAMESRV_CONFIG", "a key that is in use at once", { body: "enableAllTopicList=true\n" }),
  ns.ask(318, "UPDATE_NAMESRV_CONFIG", "a key of the black list", { body: "kvConfigPath=/x\n" }),
  ns.run(103, "REGISTER_BROKER", "a broker with two topics", (world) => world.askNamesrv(registration(0))),
  ns.run(103, "REGISTER_BROKER", "its slave", (world) => world.askNamesrv(registration(1))),
  ns.run(
    103,
    "REGISTER_BROKER",
    "a broker with one topic",
    (world) => world.askNamesrv(registration(0, ["OnlyOne"], "raw-c")),
  ),
  ns.run(
    322,
    "QUERY_DATA_VERSION",
    "as registered",
    (world) => world.askNamesrv({ ...identity(322, 0), body: { counter: 1, stateVersion: 0, timestamp: 5 } }),
  ),
  ns.run(
    322,
    "QUERY_DATA_VERSION",
    "another",
    (world) => world.askNamesrv({ ...identity(322, 0), body: { counter: 2, stateVersion: 0, timestamp: 5 } }),
  ),
  ns.run(904, "BROKER_HEARTBEAT", "of a known broker", (world) => world.askNamesrv(identity(904, 0))),
  ns.ask(205, "WIPE_WRITE_PERM_OF_BROKER", "a broker", { ext: { brokerName: "raw-b" } }),
  ns.ask(327, "ADD_WRITE_PERM_OF_BROKER", "a broker", { ext: { brokerName: "raw-b" } }),
  ns.ask(217, "REGISTER_TOPIC_IN_NAMESRV", "a topic", {
    ext: { topic: "RawRegistered" },
    body: { queueDatas: [{ brokerName: "raw-b", perm: 6, readQueueNums: 1, topicSysFlag: 0, writeQueueNums: 1 }] },
  }),
  ns.ask(216, "DELETE_TOPIC_IN_NAMESRV", "a topic", { ext: { topic: "RawRegistered" } }),
  ns.run(104, "UNREGISTER_BROKER", "a broker", (world) => world.askNamesrv(identity(104, 0))),
  ns.ask(99_999, "(no such request)", "", {}),
];

function identity(code: number, brokerId: number, brokerName = "raw-b") {
  const brokerAddr = `10.0.0.${7 + brokerId}:10911`;
  return { code, ext: { brokerName, brokerAddr, clusterName: "RawCluster", brokerId } };
}

function registration(brokerId: number, topics = ["One", "Two"], brokerName = "raw-b") {
  const { code, ext } = identity(103, brokerId, brokerName);
  const config = (topicName: string) => ({
    attributes: {},
    order: false,
    perm: 6,
    readQueueNums: 4,
    topicFilterType: "SINGLE_TAG",
    topicName,
    topicSysFlag: 0,
    writeQueueNums: 4,
  });
  return {
    code,
    ext: {
      ...ext,
      haServerAddr: `10.0.0.${7 + brokerId}:10912`,
      compressed: false,
      bodyCrc32: 0,
      enableActingMaster: false,
    },
    body: {
      filterServerList: [],
      topicConfigSerializeWrapper: {
        dataVersion: { counter: 1, stateVersion: 0, timestamp: 5 },
        topicConfigTable: Object.fromEntries(topics.map((name) => [name, config(name)])),
      },
    },
  };
}
