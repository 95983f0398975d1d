// Requests of producers and consumers, and those that a broker makes of its clients. The order matters: cases build on
// what came before, the same on either broker.

import {
  casesOf,
  type Outcome,
  physicalOffsetOf,
  propertiesText,
  type RequestCase,
  type RequestWorld,
  sendV2,
} from "./request_world.ts";
import { RawPeer, type RawRequest } from "./raw_peer.ts";

const p1 = casesOf("P1");
const GROUP = "RawGroup";

function heartbeat(clientID: string, options: { expression?: string } = {}): RawRequest {
  const subscription = (topic: string, subString: string) => ({
    classFilterMode: false,
    codeSet: [],
    expressionType: "TAG",
    subString,
    subVersion: 1,
    tagsSet: [],
    topic,
  });
  return {
    code: 34,
    body: {
      clientID,
      consumerDataSet: [{
        consumeFromWhere: "CONSUME_FROM_FIRST_OFFSET",
        consumeType: "CONSUME_PASSIVELY",
        groupName: GROUP,
        messageModel: "CLUSTERING",
        subscriptionDataSet: [subscription("Raw", options.expression ?? "*"), subscription(`%RETRY%${GROUP}`, "*")],
        unitMode: false,
      }],
      heartbeatFingerprint: 0,
      producerDataSet: [{ groupName: "RawProducers" }],
      withoutSub: false,
    },
  };
}

function pull(ext: Record<string, string | number>): RawRequest {
  return {
    code: 11,
    ext: {
      consumerGroup: GROUP,
      topic: "Raw",
      queueId: 0,
      queueOffset: 0,
      maxMsgNums: 32,
      sysFlag: 0,
      commitOffset: 0,
      suspendTimeoutMillis: 0,
      subVersion: 1,
      ...ext,
    },
  };
}

/** Sends and notes where the message is. */
async function sendNoted(world: RequestWorld, note: string, request: RawRequest): Promise<Outcome> {
  const answer = await world.admin.call(request);
  world.notes.set(note, answer.extFields.msgId ?? "");
  return world.outcomeOf(answer);
}

function offsetNoted(world: RequestWorld, note: string): number {
  return physicalOffsetOf(world.notes.get(note)!);
}

/** Two messages as SEND_BATCH_MESSAGE carries them. */
function batchBody(): Buffer {
  return Buffer.concat(["one", "two"].map((text) => {
    const body = Buffer.from(text);
    const properties = Buffer.from(propertiesText({ KEYS: text }));
    const front = Buffer.alloc(20);
    [22 + body.length + properties.length, 0, 0, 0, body.length].forEach((value, at) =>
      front.writeInt32BE(value, 4 * at)
    );
    const length = Buffer.alloc(2);
    length.writeInt16BE(properties.length);
    return Buffer.concat([front, body, length, properties]);
  }));
}

async function pushOf(world: RequestWorld, code: number): Promise<Outcome> {
  try {
    return world.outcomeOf(await world.client.push(code));
  } catch {
    return { code: "nothing came" };
  }
}

/** What comes to the client when another joins its group. */
async function joinedBy(world: RequestWorld): Promise<Outcome> {
  world.client.pushes.length = 0;
  const other = await RawPeer.connect(world.brokerAddress);
  await other.call(heartbeat("10.0.0.2@raw"));
  const push = await pushOf(world, 40);
  await other.call({
    code: 35,
    ext: { clientID: "10.0.0.2@raw", consumerGroup: GROUP, producerGroup: "RawProducers" },
  });
  await pushOf(world, 40);
  other.close();
  return push;
}

const TRANSACTION = { TRAN_MSG: "true", PGROUP: "RawProducers" };

/** A half message. Born now: one of old is set aside at its first check. */
function half(): RawRequest {
  return sendV2("Raw", { queueId: 3, properties: TRANSACTION, sysFlag: 4, bornTimestamp: Date.now() });
}

async function endTransaction(world: RequestWorld): Promise<Outcome> {
  const sent = await world.admin.call(half());
  return await world.ask({
    code: 37,
    ext: {
      producerGroup: "RawProducers",
      tranStateTableOffset: sent.extFields.queueOffset,
      commitLogOffset: physicalOffsetOf(sent.extFields.msgId!),
      commitOrRollback: 8,
      fromTransactionCheck: false,
      msgId: `RAW${"0".repeat(29)}`,
    },
  });
}

/** The cases, in order. */
export const CLIENT_CASES: readonly RequestCase[] = [
  p1.run(34, "HEART_BEAT", "of a producer and consumer", (world) => world.askAsClient(heartbeat("10.0.0.1@raw"))),
  p1.ask(34, "HEART_BEAT", "whose body is no JSON", { body: "{" }),
  p1.run(
    310,
    "SEND_MESSAGE_V2",
    "to a topic",
    (world) => sendNoted(world, "first", sendV2("Raw", { properties: { KEYS: "k1", TAGS: "A" } })),
  ),
  p1.run(310, "SEND_MESSAGE_V2", "to a topic that it makes", (world) => world.ask(sendV2("RawMade"))),
  p1.run(
    310,
    "SEND_MESSAGE_V2",
    "without a template",
    (world) => world.ask(sendV2("RawNot", { defaultTopic: "None" })),
  ),
  p1.run(310, "SEND_MESSAGE_V2", "to an illegal topic", (world) => world.ask(sendV2("a b"))),
  p1.run(310, "SEND_MESSAGE_V2", "to a queue that is not there", (world) => world.ask(sendV2("Raw", { queueId: 99 }))),
  p1.run(310, "SEND_MESSAGE_V2", "to the broker's own topic", (world) => world.ask(sendV2("SCHEDULE_TOPIC_XXXX"))),
  p1.run(
    310,
    "SEND_MESSAGE_V2",
    "with an empty body",
    (world) => world.ask(sendV2("Raw", { body: "" })),
    "Apache fails over it, and leaves region and trace out of the header",
  ),
  p1.run(
    310,
    "SEND_MESSAGE_V2",
    "with more than 4 MiB",
    (world) => world.ask(sendV2("Raw", { body: Buffer.alloc(4_194_305, 65) })),
  ),
  p1.run(
    310,
    "SEND_MESSAGE_V2",
    "with a delay level",
    (world) => world.ask(sendV2("Raw", { queueId: 1, properties: { DELAY: "1" } })),
  ),
  p1.ask(10, "SEND_MESSAGE", "to a topic", {
    ext: {
      producerGroup: "RawProducers",
      topic: "Raw",
      defaultTopic: "TBW102",
      defaultTopicQueueNums: 4,
      queueId: 0,
      sysFlag: 0,
      bornTimestamp: 1_700_000_000_000,
      flag: 0,
      properties: propertiesText({ UNIQ_KEY: `RAW${"1".repeat(29)}`, KEYS: "k2", TAGS: "B" }),
    },
    body: "second",
  }),
  p1.run(
    320,
    "SEND_BATCH_MESSAGE",
    "two messages",
    (world) => world.ask(sendV2("Raw", { queueId: 2, code: 320, batch: true, body: batchBody() })),
  ),
  p1.run(
    320,
    "SEND_BATCH_MESSAGE",
    "cut short",
    (world) => world.ask(sendV2("Raw", { queueId: 2, code: 320, batch: true, body: batchBody().subarray(0, 30) })),
    "Apache fails over it, ours says that the batch is illegal",
  ),
  p1.run(325, "SEND_REPLY_MESSAGE_V2", "to a client that is there", async (world) => {
    const properties = { REPLY_TO_CLIENT: "10.0.0.1@raw", CORRELATION_ID: "c1" };
    return await world.ask(sendV2("LabCluster_REPLY_TOPIC", { code: 325, properties }));
  }),
  p1.run(326, "PUSH_REPLY_MESSAGE_TO_CLIENT", "comes with that", (world) => pushOf(world, 326)),
  p1.run(
    325,
    "SEND_REPLY_MESSAGE_V2",
    "to a client that is not",
    (world) => world.ask(sendV2("LabCluster_REPLY_TOPIC", { code: 325, properties: { REPLY_TO_CLIENT: "nobody" } })),
  ),
  p1.run(
    324,
    "SEND_REPLY_MESSAGE",
    "with the fields of the second version",
    (world) => world.ask(sendV2("LabCluster_REPLY_TOPIC", { code: 324 })),
  ),
  p1.run(40, "NOTIFY_CONSUMER_IDS_CHANGED", "another consumer joins", joinedBy),
  p1.run(11, "PULL_MESSAGE", "two messages are there", async (world) => {
    // Dispatch takes a moment.
    for (let tried = 0; tried < 100; tried++) {
      const { extFields } = await world.admin.call({ code: 30, ext: { topic: "Raw", queueId: 0 } });
      if (extFields.offset === "2") break;
    }
    return await world.askAsClient(pull({}));
  }),
  p1.run(11, "PULL_MESSAGE", "at the queue's end", (world) => world.askAsClient(pull({ queueOffset: 2 }))),
  p1.run(11, "PULL_MESSAGE", "beyond the queue's end", (world) => world.askAsClient(pull({ queueOffset: 77 }))),
  p1.run(
    11,
    "PULL_MESSAGE",
    "by a tag, subscription in the header",
    (world) => world.askAsClient(pull({ sysFlag: 4, subscription: "B", expressionType: "TAG" })),
  ),
  p1.run(
    11,
    "PULL_MESSAGE",
    "by SQL92, subscription in the header",
    (world) => world.askAsClient(pull({ sysFlag: 4, subscription: "TAGS = 'A'", expressionType: "SQL92" })),
  ),
  p1.run(11, "PULL_MESSAGE", "of a queue that is not there", (world) => world.askAsClient(pull({ queueId: 99 }))),
  p1.run(11, "PULL_MESSAGE", "of a topic that is not there", (world) => world.askAsClient(pull({ topic: "None" }))),
  p1.run(
    11,
    "PULL_MESSAGE",
    "of a topic the group does not subscribe to",
    (world) => world.askAsClient(pull({ topic: "RawMade" })),
  ),
  p1.run(
    11,
    "PULL_MESSAGE",
    "with a subscription newer than the heartbeat's",
    (world) => world.askAsClient(pull({ subVersion: 2 })),
  ),
  p1.run(11, "PULL_MESSAGE", "held until a message comes", async (world) => {
    const answer = world.askAsClient(pull({ queueOffset: 2, sysFlag: 2, suspendTimeoutMillis: 10_000 }));
    await world.admin.call(sendV2("Raw", { body: "third" }));
    return await answer;
  }),
  p1.run(
    361,
    "LITE_PULL_MESSAGE",
    "a message is there",
    (world) => world.askAsClient({ ...pull({ sysFlag: 20, subscription: "*" }), code: 361 }),
  ),
  p1.ask(15, "UPDATE_CONSUMER_OFFSET", "of a known group", {
    ext: { consumerGroup: GROUP, topic: "Raw", queueId: 0, commitOffset: 1 },
  }),
  p1.ask(15, "UPDATE_CONSUMER_OFFSET", "of an unknown group", {
    ext: { consumerGroup: "None", topic: "Raw", queueId: 0, commitOffset: 1 },
  }),
  p1.ask(15, "UPDATE_CONSUMER_OFFSET", "in an unknown topic", {
    ext: { consumerGroup: GROUP, topic: "None", queueId: 0, commitOffset: 1 },
  }),
  p1.ask(14, "QUERY_CONSUMER_OFFSET", "committed before", { ext: { consumerGroup: GROUP, topic: "Raw", queueId: 0 } }),
  p1.ask(14, "QUERY_CONSUMER_OFFSET", "never committed, a young queue", {
    ext: { consumerGroup: GROUP, topic: "Raw", queueId: 2 },
  }),
  p1.ask(14, "QUERY_CONSUMER_OFFSET", "never committed, no queue", {
    ext: { consumerGroup: GROUP, topic: "None", queueId: 0 },
  }),
  p1.ask(14, "QUERY_CONSUMER_OFFSET", "never committed, zero not wanted", {
    ext: { consumerGroup: GROUP, topic: "Raw", queueId: 2, setZeroIfNotFound: false },
  }),
  p1.ask(30, "GET_MAX_OFFSET", "of a queue", { ext: { topic: "Raw", queueId: 0 } }),
  p1.ask(30, "GET_MAX_OFFSET", "of no queue", { ext: { topic: "None", queueId: 0 } }),
  p1.ask(31, "GET_MIN_OFFSET", "of a queue", { ext: { topic: "Raw", queueId: 0 } }),
  p1.ask(29, "SEARCH_OFFSET_BY_TIMESTAMP", "before the first message", {
    ext: { topic: "Raw", queueId: 0, timestamp: 1 },
  }),
  p1.ask(29, "SEARCH_OFFSET_BY_TIMESTAMP", "after the last message", {
    ext: { topic: "Raw", queueId: 0, timestamp: 4_000_000_000_000 },
  }),
  p1.ask(29, "SEARCH_OFFSET_BY_TIMESTAMP", "after the last message, upper boundary", {
    ext: { topic: "Raw", queueId: 0, timestamp: 4_000_000_000_000, boundaryType: "upper" },
  }),
  p1.ask(32, "GET_EARLIEST_MSG_STORETIME", "of a queue", { ext: { topic: "Raw", queueId: 0 } }),
  p1.ask(32, "GET_EARLIEST_MSG_STORETIME", "of no queue", { ext: { topic: "None", queueId: 0 } }),
  p1.run(
    33,
    "VIEW_MESSAGE_BY_ID",
    "a message",
    (world) => world.ask({ code: 33, ext: { offset: offsetNoted(world, "first") } }),
  ),
  p1.ask(33, "VIEW_MESSAGE_BY_ID", "an offset beyond the log", { ext: { offset: 99_999_999_999 } }),
  p1.run(12, "QUERY_MESSAGE", "by key", async (world) => {
    const ext = { topic: "Raw", key: "k1", maxNum: 32, beginTimestamp: 0, endTimestamp: "9223372036854775807" };
    const outcome = await world.ask({ code: 12, ext });
    // The broker's own messages, such as half ones put again, are in the index too.
    return { ...outcome, ext: { ...outcome.ext, indexLastUpdatePhyoffset: "<offset>" } };
  }),
  p1.ask(12, "QUERY_MESSAGE", "by a key that is not there", {
    ext: { topic: "Raw", key: "none", maxNum: 32, beginTimestamp: 0, endTimestamp: "9223372036854775807" },
  }, "ours says how far its index is, Apache 0"),
  p1.ask(38, "GET_CONSUMER_LIST_BY_GROUP", "with a member", { ext: { consumerGroup: GROUP } }),
  p1.ask(38, "GET_CONSUMER_LIST_BY_GROUP", "without a member", { ext: { consumerGroup: "None" } }),
  ...([["by its owner", "10.0.0.1@raw"], ["by another", "10.0.0.2@raw"]] as const).map(([what, clientId]) =>
    p1.run(
      41,
      "LOCK_BATCH_MQ",
      what,
      (world) =>
        world.ask({
          code: 41,
          body: {
            clientId,
            consumerGroup: GROUP,
            mqSet: [{ brokerName: "lab", queueId: 0, topic: "Raw" }],
            onlyThisBroker: false,
          },
        }),
    )
  ),
  p1.ask(42, "UNLOCK_BATCH_MQ", "by its owner", {
    body: {
      clientId: "10.0.0.1@raw",
      consumerGroup: GROUP,
      mqSet: [{ brokerName: "lab", queueId: 0, topic: "Raw" }],
      onlyThisBroker: false,
    },
  }),
  p1.run(46, "CHECK_CLIENT_CONFIG", "tags", (world) => world.ask(checkClientConfig("TAG", "A || B"))),
  p1.run(46, "CHECK_CLIENT_CONFIG", "SQL92", (world) => world.ask(checkClientConfig("SQL92", "a > 5"))),
  p1.run(46, "CHECK_CLIENT_CONFIG", "SQL92 that is none", (world) => world.ask(checkClientConfig("SQL92", "a >"))),
  p1.run(36, "CONSUMER_SEND_MSG_BACK", "a message", (world) => {
    const from = { originMsgId: "x", originTopic: "Raw", unitMode: false };
    return world.ask({ code: 36, ext: { group: GROUP, offset: offsetNoted(world, "first"), delayLevel: 3, ...from } });
  }),
  p1.ask(36, "CONSUMER_SEND_MSG_BACK", "no message there", {
    ext: { group: GROUP, offset: 99_999_999_999, delayLevel: 0, unitMode: false },
  }),
  p1.run(37, "END_TRANSACTION", "commits a half message", endTransaction),
  p1.ask(37, "END_TRANSACTION", "no half message there", {
    ext: {
      producerGroup: "RawProducers",
      tranStateTableOffset: 5,
      commitLogOffset: 99_999_999_999,
      commitOrRollback: 8,
      fromTransactionCheck: false,
      msgId: "x",
    },
  }),
  p1.run(39, "CHECK_TRANSACTION_STATE", "a half message nobody ended", async (world) => {
    await world.client.call(half());
    const { code, ext } = await pushOf(world, 39);
    // Where the half message stands by then depends on how often it was looked at.
    return { code, ext: { ...ext, commitLogOffset: "<offset>", tranStateTableOffset: "<offset>" } };
  }),
];

function checkClientConfig(expressionType: string, subString: string): RawRequest {
  const subscriptionData = {
    classFilterMode: false,
    codeSet: [],
    expressionType,
    subString,
    subVersion: 1,
    tagsSet: [],
    topic: "Raw",
  };
  return { code: 46, body: { clientId: "10.0.0.1@raw", group: GROUP, subscriptionData } };
}

/** What ends the client's registration; to be asked last. */
export const FAREWELL_CASES: readonly RequestCase[] = [
  p1.askAsClient(35, "UNREGISTER_CLIENT", "a producer and consumer", {
    ext: { clientID: "10.0.0.1@raw", consumerGroup: GROUP, producerGroup: "RawProducers" },
  }),
];
