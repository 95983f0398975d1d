// Requests of administrators and of slaves. They follow the clients' cases, whose topics, groups and messages they see.

import { casesOf, type Outcome, type RequestCase } from "./request_world.ts";

const p2 = casesOf("P2");
const GROUP = "RawGroup";

function topic(name: string, ext: Record<string, string | number | boolean> = {}) {
  return {
    code: 17,
    ext: {
      topic: name,
      defaultTopic: "TBW102",
      readQueueNums: 4,
      writeQueueNums: 4,
      perm: 6,
      topicFilterType: "SINGLE_TAG",
      topicSysFlag: 0,
      order: false,
      ...ext,
    },
  };
}

/** Only that there is something: what is in it is compared elsewhere, or is each broker's own. */
async function keysOnly(outcome: Promise<Outcome>, inner?: string): Promise<Outcome> {
  const { code, ext, body } = await outcome;
  const of = inner === undefined ? body : (body as Record<string, unknown> | null)?.[inner];
  const keys = typeof of === "object" && of !== null ? Object.keys(of).sort() : typeof of;
  return { code, ...(ext === undefined ? {} : { ext: Object.keys(ext).sort() as never }), body: keys };
}

/** Topics to be made before anything else is asked. */
export const PREPARING_CASES: readonly RequestCase[] = [
  p2.run(
    17,
    "UPDATE_AND_CREATE_TOPIC",
    "a new topic",
    (world) => world.ask(topic("Raw", { attributes: "+message.type=NORMAL" })),
  ),
];

/** The cases, in order. */
export const ADMIN_CASES: readonly RequestCase[] = [
  p2.run(17, "UPDATE_AND_CREATE_TOPIC", "a topic as it is", (world) => world.ask(topic("Raw"))),
  p2.run(17, "UPDATE_AND_CREATE_TOPIC", "an illegal name", (world) => world.ask(topic("a b"))),
  p2.run(17, "UPDATE_AND_CREATE_TOPIC", "a topic of the system", (world) => world.ask(topic("TBW102"))),
  p2.run(17, "UPDATE_AND_CREATE_TOPIC", "the cluster's topic", (world) => world.ask(topic("LabCluster"))),
  p2.run(
    17,
    "UPDATE_AND_CREATE_TOPIC",
    "an unknown attribute",
    (world) => world.ask(topic("Raw2", { attributes: "+none=1" })),
  ),
  p2.run(
    17,
    "UPDATE_AND_CREATE_TOPIC",
    "the mixed message type",
    (world) => world.ask(topic("Raw2", { attributes: "+message.type=MIXED" })),
  ),
  p2.ask(17, "UPDATE_AND_CREATE_TOPIC", "without queue numbers", { ext: { topic: "Raw2" } }),
  p2.ask(18, "UPDATE_AND_CREATE_TOPIC_LIST", "two topics", {
    body: { topicConfigList: [{ topicName: "RawA", readQueueNums: 1, writeQueueNums: 1 }, { topicName: "RawB" }] },
  }),
  p2.ask(18, "UPDATE_AND_CREATE_TOPIC_LIST", "an illegal name", { body: { topicConfigList: [{ topicName: "a b" }] } }),
  p2.ask(351, "GET_TOPIC_CONFIG", "a topic", { ext: { topic: "Raw" } }),
  p2.ask(351, "GET_TOPIC_CONFIG", "no topic", { ext: { topic: "None" } }),
  p2.run(21, "GET_ALL_TOPIC_CONFIG", "its members", (world) => keysOnly(world.ask({ code: 21 }))),
  p2.run(21, "GET_ALL_TOPIC_CONFIG", "its topics", (world) => keysOnly(world.ask({ code: 21 }), "topicConfigTable")),
  p2.run(202, "GET_TOPIC_STATS_INFO", "a topic", async (world) => {
    const { code, body } = await world.ask({ code: 202, ext: { topic: "RawMade" } });
    return { code, body: { ...(body as object), topicPutTps: "<rate>" } };
  }),
  p2.ask(202, "GET_TOPIC_STATS_INFO", "no topic", { ext: { topic: "None" } }),
  p2.ask(305, "GET_SYSTEM_TOPIC_LIST_FROM_BROKER", "", {}),
  p2.run(300, "QUERY_TOPIC_CONSUME_BY_WHO", "offsets and no consumer", async (world) => {
    await world.ask({ code: 200, body: { groupName: "RawOld" } });
    await world.ask({ code: 15, ext: { consumerGroup: "RawOld", topic: "RawMade", queueId: 0, commitOffset: 0 } });
    return await world.ask({ code: 300, ext: { topic: "RawMade" } });
  }),
  p2.ask(
    300,
    "QUERY_TOPIC_CONSUME_BY_WHO",
    "with a consumer",
    { ext: { topic: "Raw" } },
    "Apache names the topic itself among the groups",
  ),
  p2.ask(200, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP", "a new group", {
    body: { groupName: "RawNew", retryMaxTimes: 3 },
  }),
  p2.ask(200, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP", "an unknown attribute", {
    body: { groupName: "RawNew", attributes: { "+none": "1" } },
  }),
  p2.ask(225, "UPDATE_AND_CREATE_SUBSCRIPTIONGROUP_LIST", "two groups", {
    body: { groupConfigList: [{ groupName: "RawGA" }, { groupName: "RawGB" }] },
  }),
  p2.ask(352, "GET_SUBSCRIPTIONGROUP_CONFIG", "a group", { ext: { group: "RawNew" } }),
  p2.ask(352, "GET_SUBSCRIPTIONGROUP_CONFIG", "a group that it makes", { ext: { group: "RawMadeByGet" } }),
  p2.ask(352, "GET_SUBSCRIPTIONGROUP_CONFIG", "an illegal name", { ext: { group: "a b" } }),
  p2.run(201, "GET_ALL_SUBSCRIPTIONGROUP_CONFIG", "its members", (world) => keysOnly(world.ask({ code: 201 }))),
  p2.run(
    201,
    "GET_ALL_SUBSCRIPTIONGROUP_CONFIG",
    "its groups",
    (world) => keysOnly(world.ask({ code: 201 }), "subscriptionGroupTable"),
  ),
  p2.run(43, "GET_ALL_CONSUMER_OFFSET", "its offsets", async (world) => {
    const { code, body } = await world.ask({ code: 43 });
    const { offsetTable } = body as { offsetTable: Record<string, unknown> };
    // How far the transaction check has come is a matter of when one asks.
    return {
      code,
      body: Object.fromEntries(Object.entries(offsetTable).filter(([at]) => !at.startsWith("RMQ_SYS_TRANS"))),
    };
  }),
  p2.run(45, "GET_ALL_DELAY_OFFSET", "its members", (world) => keysOnly(world.ask({ code: 45 }))),
  p2.ask(402, "GET_ALL_MESSAGE_REQUEST_MODE", "", {}),
  p2.run(60, "GET_TIMER_CHECK_POINT", "its size", async (world) => {
    const answer = await world.admin.call({ code: 60 });
    return { code: answer.code, body: `${answer.body.length} bytes` };
  }),
  p2.run(61, "GET_TIMER_METRICS", "its members", (world) => keysOnly(world.ask({ code: 61 }))),
  p2.ask(906, "EXCHANGE_BROKER_HA_INFO", "asked of a master", {}),
  p2.run(907, "GET_BROKER_HA_STATUS", "of a master without slaves", async (world) => {
    const { code, body } = await world.ask({ code: 907 });
    return { code, body: { ...(body as object), masterCommitLogMaxOffset: "<offset>" } };
  }),
  p2.ask(905, "NOTIFY_MIN_BROKER_ID_CHANGE", "answered where it is not one-way", {
    ext: { minBrokerId: 0, minBrokerAddr: "127.0.0.1:10911" },
  }),
  p2.ask(908, "RESET_MASTER_FLUSH_OFFSET", "asked of a master", { ext: { masterFlushOffset: 0 } }),
  p2.run(28, "GET_BROKER_RUNTIME_INFO", "its keys", async (world) => {
    const { code, body } = await world.ask({ code: 28 });
    const { table } = body as { table: Record<string, string> };
    // The folder of the log is part of a key; 4.9's spelling of one key, and what begins with our name, are only ours.
    const keys = Object.keys(table).map((key) => key.replace(/_\/.*/, "_<folder>"));
    return { code, body: keys.filter((key) => key !== "getTransferedTps" && !key.startsWith("twinlog")).sort() };
  }),
  p2.run(26, "GET_BROKER_CONFIG", "header and shape", async (world) => {
    const answer = await world.admin.call({ code: 26 });
    const lines = answer.body.toString().trimEnd().split("\n");
    const isText = lines.every((line) => /^[A-Za-z0-9]+=/.test(line));
    return {
      code: answer.code,
      ext: { version: Object.keys(JSON.parse(answer.extFields.version!)).sort() },
      body: isText,
    };
  }),
  p2.ask(25, "UPDATE_BROKER_CONFIG", "a key that is in use at once", { body: "fileReservedTime=48\n" }),
  p2.ask(25, "UPDATE_BROKER_CONFIG", "a key of the black list", { body: "brokerConfigPath=/x\n" }),
  p2.ask(
    25,
    "UPDATE_BROKER_CONFIG",
    "a key that needs a restart",
    { body: "mappedFileSizeCommitLog=1048576\n" },
    "Apache says that it is done",
  ),
  p2.ask(
    25,
    "UPDATE_BROKER_CONFIG",
    "an unknown key",
    { body: "fileReservedTme=48\n" },
    "Apache says that it is done",
  ),
  p2.run(208, "GET_CONSUME_STATS", "of a group", async (world) => {
    const { code, body } = await world.ask({ code: 208, ext: { consumerGroup: GROUP, topic: "Raw" } });
    return { code, body: { ...(body as object), consumeTps: "<rate>" } };
  }),
  p2.ask(208, "GET_CONSUME_STATS", "of an unknown group", { ext: { consumerGroup: "None" } }),
  p2.run(
    317,
    "GET_BROKER_CONSUME_STATS",
    "its members",
    (world) => keysOnly(world.ask({ code: 317, ext: { isOrder: false } })),
  ),
  p2.ask(303, "QUERY_CONSUME_TIME_SPAN", "of a group", { ext: { topic: "Raw", group: GROUP } }),
  p2.ask(303, "QUERY_CONSUME_TIME_SPAN", "no topic", { ext: { topic: "None", group: GROUP } }),
  p2.ask(203, "GET_CONSUMER_CONNECTION_LIST", "with a member", { ext: { consumerGroup: GROUP } }),
  p2.ask(203, "GET_CONSUMER_CONNECTION_LIST", "without a member", { ext: { consumerGroup: "None" } }),
  p2.ask(204, "GET_PRODUCER_CONNECTION_LIST", "with a member", { ext: { producerGroup: "RawProducers" } }),
  p2.ask(204, "GET_PRODUCER_CONNECTION_LIST", "without a member", { ext: { producerGroup: "None" } }),
  p2.run(328, "GET_ALL_PRODUCER_INFO", "", async (world) => {
    const { code, body } = await world.ask({ code: 328 });
    return { code, body: (body as { data: Record<string, unknown> }).data.RawProducers };
  }),
  p2.ask(343, "QUERY_TOPICS_BY_CONSUMER", "of a group", { ext: { group: GROUP } }),
  p2.ask(345, "QUERY_SUBSCRIPTION_BY_CONSUMER", "of a group", { ext: { group: GROUP, topic: "Raw" } }),
  p2.ask(345, "QUERY_SUBSCRIPTION_BY_CONSUMER", "of nobody", { ext: { group: "None", topic: "Raw" } }),
  p2.ask(223, "INVOKE_BROKER_TO_GET_CONSUMER_STATUS", "of a client", {
    ext: { topic: "Raw", group: GROUP, clientAddr: "" },
  }),
  p2.run(
    221,
    "GET_CONSUMER_STATUS_FROM_CLIENT",
    "comes with that",
    async (world) => world.outcomeOf(await world.client.push(221)),
  ),
  p2.ask(307, "GET_CONSUMER_RUNNING_INFO", "of a client", {
    ext: { consumerGroup: GROUP, clientId: "10.0.0.1@raw", jstackEnable: false },
  }),
  p2.run(
    307,
    "GET_CONSUMER_RUNNING_INFO",
    "comes to the client",
    async (world) => world.outcomeOf(await world.client.push(307)),
  ),
  p2.ask(307, "GET_CONSUMER_RUNNING_INFO", "of nobody", {
    ext: { consumerGroup: GROUP, clientId: "nobody", jstackEnable: false },
  }),
  p2.run(309, "CONSUME_MESSAGE_DIRECTLY", "a message", (world) => world.ask(directly(world.notes.get("first")!))),
  p2.run(
    309,
    "CONSUME_MESSAGE_DIRECTLY",
    "comes to the client with the message",
    async (world) => world.outcomeOf(await world.client.push(309)),
  ),
  p2.ask(308, "QUERY_CORRECTION_OFFSET", "of a group", { ext: { compareGroup: GROUP, topic: "Raw" } }),
  p2.ask(314, "CLONE_GROUP_OFFSET", "to another group", {
    ext: { srcGroup: GROUP, destGroup: "RawNew", topic: "Raw", offline: false },
  }),
  p2.run(
    315,
    "VIEW_BROKER_STATS_DATA",
    "of a topic, its members",
    (world) => keysOnly(world.ask({ code: 315, ext: { statsName: "TOPIC_PUT_NUMS", statsKey: "Raw" } })),
  ),
  p2.ask(315, "VIEW_BROKER_STATS_DATA", "never counted", { ext: { statsName: "TOPIC_PUT_NUMS", statsKey: "None" } }),
  p2.ask(321, "QUERY_CONSUME_QUEUE", "of a queue", {
    ext: { topic: "Raw", queueId: 0, index: 0, count: 2, consumerGroup: GROUP },
  }),
  p2.ask(321, "QUERY_CONSUME_QUEUE", "beyond a queue", { ext: { topic: "Raw", queueId: 0, index: 99, count: 2 } }),
  p2.ask(
    321,
    "QUERY_CONSUME_QUEUE",
    "of no queue",
    { ext: { topic: "None", queueId: 0, index: 0, count: 2 } },
    "Apache makes the queue, ours says that there is none",
  ),
  p2.run(222, "INVOKE_BROKER_TO_RESET_OFFSET", "kept by the broker", (world) => world.ask(reset())),
  p2.run(
    222,
    "INVOKE_BROKER_TO_RESET_OFFSET",
    "one queue, to an offset",
    (world) => world.ask(reset({ queueId: 0, offset: 1 })),
  ),
  p2.run(
    222,
    "INVOKE_BROKER_TO_RESET_OFFSET",
    "one queue, outside of it",
    (world) => world.ask(reset({ queueId: 0, offset: 99 })),
  ),
  p2.run(222, "INVOKE_BROKER_TO_RESET_OFFSET", "an unknown topic", (world) => world.ask(reset({ topic: "None" }))),
  p2.run(222, "INVOKE_BROKER_TO_RESET_OFFSET", "an unknown group", (world) => world.ask(reset({ group: "None" }))),
  p2.ask(25, "UPDATE_BROKER_CONFIG", "resets by telling the consumers", { body: "useServerSideResetOffset=false\n" }),
  p2.run(222, "INVOKE_BROKER_TO_RESET_OFFSET", "told to the consumers", async (world) => {
    for (const queueId of [0, 1, 2, 3]) {
      await world.ask({ code: 15, ext: { consumerGroup: GROUP, topic: "Raw", queueId, commitOffset: 1 } });
    }
    return await world.ask(reset());
  }),
  p2.run(220, "RESET_CONSUMER_CLIENT_OFFSET", "comes with that", async (world) => {
    const { code, ext, body } = world.outcomeOf(await world.client.push(220));
    // Apache forgets to pass on what it was asked, and says false.
    return { code, ext: { ...ext, isForce: "<flag>", queueId: "<left out or -1>" }, body };
  }),
  p2.ask(306, "CLEAN_EXPIRED_CONSUMEQUEUE", "", {}),
  p2.ask(316, "CLEAN_UNUSED_TOPIC", "", {}),
  p2.ask(329, "DELETE_EXPIRED_COMMITLOG", "", {}),
  p2.ask(323, "RESUME_CHECK_HALF_MESSAGE", "no message there", { ext: { msgId: "7F0000010000271100000017FFFFFFFF" } }),
  p2.ask(207, "DELETE_SUBSCRIPTIONGROUP", "with its offsets", { ext: { groupName: "RawNew", cleanOffset: true } }),
  p2.ask(215, "DELETE_TOPIC_IN_BROKER", "a topic", { ext: { topic: "RawMade" } }),
  p2.ask(215, "DELETE_TOPIC_IN_BROKER", "a topic of the system", { ext: { topic: "TBW102" } }),
  p2.ask(215, "DELETE_TOPIC_IN_BROKER", "no topic's name", { ext: { topic: " " } }),
];

function directly(msgId: string) {
  return { code: 309, ext: { consumerGroup: GROUP, clientId: "10.0.0.1@raw", msgId, brokerName: "lab", topic: "Raw" } };
}

function reset(ext: Record<string, string | number> = {}) {
  return { code: 222, ext: { topic: "Raw", group: GROUP, timestamp: 1, isForce: true, ...ext } };
}
