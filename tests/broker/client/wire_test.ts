// Clients on the wire: the very frames that Java clients of 4.9.7 and 5.3.3 sent, given to a server with the processors
// of clients, and the bytes that come back.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { beforeEach, describe, it } from "node:test";
import { utf8 } from "../../../src/base/bytes.ts";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { RebalanceLockManager } from "../../../src/broker/client/rebalance_lock_manager.ts";
import { ConsumerOffsetManager, MessageRequestModeManager } from "../../../src/broker/consumer_offset_manager.ts";
import { clientManageProcessors } from "../../../src/broker/processors/client_manage_processor.ts";
import { consumerManageProcessors } from "../../../src/broker/processors/consumer_manage_processor.ts";
import { SubscriptionGroupManager } from "../../../src/broker/subscription_group_manager.ts";
import { TOPIC_DEFAULTS, TopicConfigManager } from "../../../src/broker/topic_config_manager.ts";
import { FrameDecoder } from "../../../src/remoting/frame_decoder.ts";
import { createRequest, encodeFrame, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import { RemotingServer } from "../../../src/remoting/remoting_server.ts";
import { ResponseCode } from "../../../src/remoting/response_code.ts";
import type { Connection } from "../../../src/runtime/runtime.ts";
import { SimulatedWorld } from "../../../src/runtime/simulated/mod.ts";
import { managers } from "./support.ts";

const PORT = 10911;
const FRAMES = JSON.parse(
  readFileSync(new URL("../../fixtures/java_clients/frames.json", import.meta.url), "utf8"),
) as Record<string, { code: number; hex: string }[]>;
const V5 = "5.3.3";
const V4 = "4.9.7";
const V5_HEARTBEAT_V2 = "5.3.3 heartbeat v2, ROCKETMQ headers";

let world: SimulatedWorld;
let broker: Awaited<ReturnType<typeof startBroker>>;

/** A server with the processors of clients, as a broker has them. */
async function startBroker() {
  const { net, clock, fs } = world.host("broker").runtime;
  const clients = managers(clock);
  const options = { fs, clock, logger: SILENT_LOGGER, directory: "/store/config" };
  const topics = new TopicConfigManager(options);
  const groups = new SubscriptionGroupManager(options);
  const offsets = new ConsumerOffsetManager(options);
  for (const manager of [topics, groups, offsets]) manager.load();
  topics.setSystemTopics([{ ...TOPIC_DEFAULTS, topicName: "T" }, { ...TOPIC_DEFAULTS, topicName: "O", order: true }]);
  /** Records of the first queue that are in memory. */
  const store = { firstInMemory: false, minOffset: 0 };
  const processors = new Map([
    ...clientManageProcessors({ ...clients, clock, config: { rejectPullConsumerEnable: false }, topics, groups }),
    ...consumerManageProcessors({
      config: { useServerSideResetOffset: true },
      consumers: clients.consumers,
      offsets,
      groups,
      topics,
      modes: new MessageRequestModeManager(options),
      locks: new RebalanceLockManager({ clock }),
      store: {
        getMinOffsetInQueue: () => store.minOffset,
        readConsumeQueue: () => [{ pos: 7 }],
        isInMemory: () => store.firstInMemory,
      },
      topicSubscribeInfo: (topic) => [1, 0, 2].map((queueId) => ({ topic, brokerName: "b", queueId })),
    }),
  ]);
  const server = new RemotingServer({
    net,
    clock,
    logger: SILENT_LOGGER,
    processors,
    hostname: "broker",
    port: PORT,
    onConnectionClosed: (connection) => {
      clients.consumers.onConnectionClosed(connection);
      clients.producers.onConnectionClosed(connection);
    },
  });
  await world.drive(server.start());
  return { ...clients, topics, groups, offsets, store, server };
}

/** A client that sends frames as they are and notes what comes. */
class RawClient {
  readonly connection: Connection;
  readonly received: RemotingCommand[] = [];
  isEnded = false;

  constructor(connection: Connection) {
    this.connection = connection;
    // The end of a connection that the test closes is nobody's error.
    void this.#read().catch(() => undefined).then(() => this.isEnded = true);
  }

  async #read(): Promise<void> {
    const decoder = new FrameDecoder();
    for (let chunk = await this.connection.read(); chunk !== null; chunk = await this.connection.read()) {
      decoder.push(chunk);
      for (let command = decoder.next(); command !== null; command = decoder.next()) this.received.push(command);
    }
  }

  /** Sends, lets the network rest, and takes what came. */
  async send(...frames: Uint8Array[]): Promise<RemotingCommand[]> {
    for (const frame of frames) await world.drive(this.connection.write(frame));
    await world.advance(200);
    return this.take();
  }

  take(): RemotingCommand[] {
    return this.received.splice(0);
  }
}

async function connect(name: string): Promise<RawClient> {
  const { net } = world.host(name).runtime;
  return new RawClient(await world.drive(net.connect({ hostname: "broker", port: PORT, timeoutMs: 1000 })));
}

/** The frames of one code that such a client sent, in order. */
function frames(client: string, code: number): Uint8Array[] {
  return FRAMES[client]!.filter((frame) => frame.code === code).map(({ hex }) =>
    new Uint8Array(Buffer.from(hex, "hex"))
  );
}

function request(code: number, ext: Record<string, string | number | boolean>, body?: unknown): Uint8Array {
  const bytes = body === undefined ? undefined : utf8.encode(typeof body === "string" ? body : JSON.stringify(body));
  return encodeFrame(createRequest(code, ext, bytes));
}

function shown({ code, flag, extFields, body }: RemotingCommand): string {
  const ext = [...extFields].map(([key, value]) => `${key}=${value}`).join();
  return [`${flag === 1 ? "answer" : "request"} ${code}`, ext, utf8.decode(body)].filter((part) => part !== "").join(
    " ",
  );
}

beforeEach(async () => {
  world = new SimulatedWorld(5);
  broker = await startBroker();
});

const HEARTBEAT_ANSWER = "answer 0 IS_SUPPORT_HEART_BEAT_V2=true,IS_SUB_CHANGE=true";

describe("a Java client on the wire", () => {
  for (const version of [V5, V4]) {
    it(`${version}: beats, is told of its group before its answer, and is known from then on`, async () => {
      const client = await connect("client");
      const [heartbeat] = frames(version, 34);
      const came = await client.send(heartbeat!);
      assert.deepEqual(came.map(shown), ["request 40 consumerGroup=CG", HEARTBEAT_ANSWER]);
      assert.equal(came[0]!.flag, 2, "one-way");
      assert.equal(came[1]!.version, 479, "by which clients decide whether SQL92 is understood");
      const group = broker.consumers.getConsumerGroupInfo("CG")!;
      assert.deepEqual([group.consumeType, group.messageModel, group.consumeFromWhere], [
        "CONSUME_PASSIVELY",
        "CLUSTERING",
        "CONSUME_FROM_LAST_OFFSET",
      ]);
      const [member] = group.channels();
      assert.equal(member!.language, "JAVA");
      assert.equal(member!.version, version === V5 ? 479 : 407);
      assert.match(member!.clientId, /^192\.0\.2\.2@\d+#\d+$/);
      assert.deepEqual([...group.subscriptions().keys()].sort(), ["%RETRY%CG", "T"]);
      const { subString, tagsSet, codeSet, expressionType } = group.subscriptions().get("T")!;
      assert.deepEqual([subString, tagsSet, codeSet, expressionType], [
        "TagA || TagB",
        ["TagA", "TagB"],
        [2598919, 2598920],
        "TAG",
      ]);
      assert.deepEqual([...broker.producers.groups().keys()], ["CLIENT_INNER_PRODUCER"]);
      assert.equal(broker.groups.selectSubscriptionGroupConfig("CG")!.retryMaxTimes, 16);
      const retry = broker.topics.selectTopicConfig("%RETRY%CG")!;
      assert.deepEqual([retry.readQueueNums, retry.writeQueueNums, retry.perm, retry.order], [1, 1, 6, false]);
      assert.deepEqual(broker.filters, ["register CG T,%RETRY%CG"]);

      assert.deepEqual((await client.send(heartbeat!)).map(shown), [HEARTBEAT_ANSWER], "nothing new, nobody is told");
    });

    it(`${version}: lists members, locks, queries and commits offsets, says goodbye`, async () => {
      const client = await connect("client");
      const [list, lock, query, commit, unlock] = [38, 41, 14, 15, 42].map((code) => frames(version, code)[0]!);
      const [early] = await client.send(list!);
      assert.equal(early!.code, ResponseCode.SYSTEM_ERROR);
      assert.equal(early!.remark, "no consumer for this group, CG");
      await client.send(frames(version, 34)[0]!);
      const [clientId] = broker.consumers.getConsumerGroupInfo("CG")!.clientIds();
      assert.deepEqual((await client.send(list!)).map(shown), [`answer 0 {"consumerIdList":["${clientId}"]}`]);
      assert.deepEqual((await client.send(lock!)).map(shown), [
        'answer 0 {"lockOKMQSet":[{"brokerName":"b","queueId":0,"topic":"%RETRY%CG"}]}',
      ]);
      assert.deepEqual((await client.send(query!)).map(shown), ["answer 22"]);
      assert.deepEqual(await client.send(commit!), [], "one-way");
      assert.deepEqual((await client.send(query!)).map(shown), ["answer 0 offset=7"]);
      assert.equal(broker.offsets.queryOffset("CG", "%RETRY%CG", 0), 7);

      const other = await connect("other");
      const lockAs = (mqSet: unknown[]) => request(41, {}, { clientId: "other", consumerGroup: "CG", mqSet });
      const queue = { brokerName: "b", queueId: 0, topic: "%RETRY%CG" };
      assert.deepEqual((await other.send(lockAs([queue]))).map(shown), ['answer 0 {"lockOKMQSet":[]}']);
      assert.deepEqual((await client.send(unlock!)).map(shown), ["answer 0"]);
      assert.deepEqual((await other.send(lockAs([queue]))).map(shown), [
        'answer 0 {"lockOKMQSet":[{"brokerName":"b","queueId":0,"topic":"%RETRY%CG"}]}',
      ]);

      const goodbyes = frames(version, 35);
      assert.deepEqual((await client.send(...goodbyes)).map(shown), ["answer 0", "answer 0"]);
      assert.equal(broker.consumers.getConsumerGroupInfo("CG"), null);
      assert.equal(broker.filters.at(-1), "unRegister CG");
    });
  }

  it("4.9.7: a producer of its own connection", async () => {
    const client = await connect("client");
    const producer = frames(V4, 34)[1]!;
    assert.deepEqual((await client.send(producer)).map(shown), [HEARTBEAT_ANSWER]);
    assert.deepEqual([...broker.producers.groups().keys()].sort(), ["CLIENT_INNER_PRODUCER", "PG"]);
    client.connection.close();
    await world.advance(200);
    assert.deepEqual([...broker.producers.groups().keys()], []);
  });

  it("5.3.3, heartbeat v2: subscriptions are sent once, and again when the broker does not know them", async () => {
    const client = await connect("client");
    const [full, without] = frames(V5_HEARTBEAT_V2, 34);
    const asksAgain = "answer 0 IS_SUPPORT_HEART_BEAT_V2=true,IS_SUB_CHANGE=true";
    const goesOn = "answer 0 IS_SUPPORT_HEART_BEAT_V2=true,IS_SUB_CHANGE=false";
    assert.deepEqual((await client.send(without!)).map(shown), ["request 40 consumerGroup=CG", asksAgain]);
    assert.equal(broker.consumers.findSubscriptionData("CG", "T"), null);
    assert.deepEqual((await client.send(full!)).map(shown), ["request 40 consumerGroup=CG", goesOn]);
    assert.deepEqual((await client.send(without!)).map(shown), [goesOn]);
    assert.equal(broker.consumers.findSubscriptionData("CG", "T")!.subString, "TagA || TagB");
    const changed = (fingerprint: number) =>
      request(34, {}, utf8.decode(new Uint8Array(full!)).match(/\{.*\}/)![0].replace("-1971087513", `${fingerprint}`));
    assert.deepEqual((await client.send(changed(12))).map(shown), [asksAgain], "another fingerprint than the last");
    assert.deepEqual((await client.send(changed(12))).map(shown), [goesOn]);
    assert.deepEqual((await client.send(...frames(V5_HEARTBEAT_V2, 35))).map(shown), ["answer 0", "answer 0"]);
  });

  it("members are told of one another: two versions in one group, one goes without a word", async () => {
    const [first, second] = [await connect("first"), await connect("second")];
    await first.send(frames(V5, 34)[0]!);
    const came = await second.send(frames(V4, 34)[0]!);
    assert.deepEqual(came.map(shown), ["request 40 consumerGroup=CG", HEARTBEAT_ANSWER]);
    assert.deepEqual(first.take().map(shown), ["request 40 consumerGroup=CG"]);
    const [list] = await first.send(frames(V5, 38)[0]!);
    assert.equal((JSON.parse(utf8.decode(list!.body)) as { consumerIdList: string[] }).consumerIdList.length, 2);
    second.connection.close();
    await world.advance(200);
    assert.deepEqual(first.take().map(shown), ["request 40 consumerGroup=CG"]);
    assert.equal(broker.consumers.getConsumerGroupInfo("CG")!.clientIds().length, 1);
  });

  it("one that falls silent is closed after two minutes, and the others hear of it", async () => {
    const [first, second] = [await connect("first"), await connect("second")];
    await first.send(frames(V5, 34)[0]!);
    await second.send(frames(V4, 34)[0]!);
    for (let elapsed = 0; elapsed < 130_000; elapsed += 26_000) {
      await world.advance(26_000);
      await first.send(frames(V5, 34)[0]!);
      // It is no dead connection: something else is asked on it.
      if (!second.isEnded) await second.send(frames(V4, 14)[0]!);
    }
    assert.equal(second.isEnded, true);
    assert.equal(broker.consumers.getConsumerGroupInfo("CG")!.clientIds().length, 1);
  });
});

describe("offsets over the wire", () => {
  const ids = { consumerGroup: "CG", topic: "T", queueId: 0 };

  it("a group without one begins at 0 while the queue's first message is in memory, else the client decides", async () => {
    const client = await connect("client");
    const ask = async (ext: object) => shown((await client.send(request(14, { ...ids, ...ext })))[0]!);
    assert.equal(await ask({}), "answer 22");
    broker.store.firstInMemory = true;
    assert.equal(await ask({}), "answer 0 offset=0");
    assert.equal(await ask({ setZeroIfNotFound: false }), "answer 22");
    assert.equal(await ask({ setZeroIfNotFound: true }), "answer 0 offset=0");
    broker.store.minOffset = 1;
    assert.equal(await ask({}), "answer 22");
    broker.offsets.commitOffset("CG", "T", 0, -1);
    assert.equal(await ask({}), "answer 22");
  });

  it("commits are checked in Apache's order", async () => {
    const client = await connect("client");
    const commit = async (ext: object) =>
      (await client.send(request(15, { ...ids, commitOffset: 5, ...ext })))[0]!.code;
    assert.equal(await commit({}), ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST);
    assert.equal(broker.groups.selectSubscriptionGroupConfig("CG"), null, "a commit makes no group");
    await client.send(frames(V5, 34)[0]!);
    assert.equal(await commit({ topic: "nowhere" }), ResponseCode.TOPIC_NOT_EXIST);
    for (const queueId of ["", "x", "-1", "65536", "1.5"]) {
      assert.equal(await commit({ queueId }), ResponseCode.INVALID_PARAMETER, queueId);
    }
    for (const commitOffset of ["", "x", "1e3", "99999999999999999999"]) {
      assert.equal(await commit({ commitOffset }), ResponseCode.INVALID_PARAMETER, commitOffset);
    }
    const missing = request(15, { consumerGroup: "CG", topic: "T", queueId: 0 });
    assert.equal((await client.send(missing))[0]!.code, ResponseCode.INVALID_PARAMETER);
    assert.equal((await client.send(request(15, { topic: "T" })))[0]!.code, ResponseCode.SYSTEM_ERROR);
    assert.equal(await commit({}), 0);
    assert.equal(await commit({ commitOffset: 3 }), 0, "a lower one is taken");
    assert.equal(broker.offsets.queryOffset("CG", "T", 0), 3);
    assert.equal(await commit({ commitOffset: "9223372036854775807" }), 0);
    assert.equal(broker.offsets.queryOffset("CG", "T", 0), Number.MAX_SAFE_INTEGER);
  });

  it("a reset stands until the consumer was told", async () => {
    const client = await connect("client");
    await client.send(frames(V5, 34)[0]!);
    broker.offsets.assignResetOffset("CG", "T", 0, 2);
    const [answer] = await client.send(request(15, { ...ids, commitOffset: 50 }));
    assert.deepEqual([answer!.code, answer!.remark], [0, "Offset has been previously reset"]);
    assert.equal(shown((await client.send(request(14, ids)))[0]!), "answer 0 offset=2");
  });
});

describe("shares of the queues over the wire", () => {
  const ask = { clientId: "B", consumerGroup: "CG", messageModel: "CLUSTERING", strategyName: "AVG", topic: "T" };

  it("are worked out as the clients do it, from the members now", async () => {
    const client = await connect("client");
    const share = async (changes: object) => shown((await client.send(request(400, {}, { ...ask, ...changes })))[0]!);
    const assigned = (...ids: number[]) =>
      `answer 0 ${
        JSON.stringify({
          messageQueueAssignments: ids.map((queueId) => ({
            messageQueue: { brokerName: "b", queueId, topic: "T" },
            mode: "PULL",
          })),
        })
      }`;
    assert.equal(await share({}), "answer 0 {}", "nobody there: the client leaves things as they are");
    const beat = (clientID: string) =>
      request(34, {}, {
        clientID,
        consumerDataSet: [{
          groupName: "CG",
          consumeType: "CONSUME_PASSIVELY",
          messageModel: "Clustering",
          consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
          subscriptionDataSet: [],
        }],
        producerDataSet: [],
      });
    await (await connect("b")).send(beat("B"));
    await (await connect("a")).send(beat("A"));
    assert.equal(await share({}), assigned(2));
    assert.equal(await share({ clientId: "A" }), assigned(0, 1));
    assert.equal(await share({ strategyName: "AVG_BY_CIRCLE", clientId: "A" }), assigned(0, 2));
    assert.equal(await share({ clientId: "nobody" }), assigned());
    assert.equal(await share({ strategyName: "CONFIG" }), "answer 0 {}");
    assert.equal(await share({ messageModel: "BROADCASTING" }), assigned(1, 0, 2));
    assert.match(await share({ topic: "" }), /^answer 1$/);
  });

  it("come by pull: pop is not served, and nobody is sent there", async () => {
    const client = await connect("client");
    const set = async (body: object) => (await client.send(request(401, {}, { consumerGroup: "CG", ...body })))[0]!;
    assert.equal((await set({ topic: "%RETRY%CG", mode: "PULL" })).code, ResponseCode.NO_PERMISSION);
    assert.equal((await set({ topic: "nowhere", mode: "PULL" })).code, ResponseCode.TOPIC_NOT_EXIST);
    assert.equal(
      (await set({ topic: "T", mode: "POP" })).remark,
      "This broker does not serve pop consumption, wanted mode PULL",
    );
    assert.equal((await set({ topic: "T", mode: "PULL" })).code, 0);
    const text = utf8.decode(world.host("broker").runtime.fs.readFile("/store/config/messageRequestMode.json")!);
    assert.match(
      text.replace(/\s/g, ""),
      /\{"T":\{"CG":\{"consumerGroup":"CG","mode":"PULL","popShareQueueNum":0,"topic":"T"/,
    );
  });
});

describe("heartbeats nobody should send", () => {
  it("are refused, and the connection goes on", async () => {
    const client = await connect("client");
    const group = { groupName: "CG", consumeType: "CONSUME_PASSIVELY", messageModel: "CLUSTERING" };
    const bodies: unknown[] = [
      "",
      "{",
      "[]",
      "null",
      {},
      { clientID: "" },
      { clientID: 7 },
      { clientID: "x".repeat(2000) },
      { clientID: "c", producerDataSet: [{}] },
      { clientID: "c", producerDataSet: [{ groupName: "x".repeat(600) }] },
      { clientID: "c", producerDataSet: Array.from({ length: 5000 }, () => ({ groupName: "g" })) },
      { clientID: "c", consumerDataSet: [{}] },
      { clientID: "c", consumerDataSet: [{ ...group, subscriptionDataSet: [{}] }] },
    ];
    for (const body of bodies) {
      const [answer] = await client.send(request(34, {}, body));
      assert.equal(answer!.code, ResponseCode.SYSTEM_ERROR, JSON.stringify(body).slice(0, 80));
      assert.ok(answer!.remark!.length < 200, answer!.remark!);
    }
    assert.equal(broker.consumers.groupNames().length, 0);
    assert.equal(broker.producers.groups().size, 0);
    const odd = { clientID: "c", consumerDataSet: [7, { ...group, groupName: "a b" }, group], producerDataSet: "x" };
    const came = await client.send(request(34, {}, odd));
    assert.deepEqual(
      came.map(shown),
      ["request 40 consumerGroup=CG", HEARTBEAT_ANSWER],
      "one no group can be called is passed over",
    );
    assert.deepEqual(broker.consumers.groupNames(), ["CG"]);
  });

  it("a group's retry topic is ordered when it consumes an ordered topic, also between full heartbeats", async () => {
    const client = await connect("client");
    const beat = (withoutSub: boolean) =>
      request(34, {}, {
        clientID: "c",
        heartbeatFingerprint: 5,
        withoutSub,
        consumerDataSet: [{
          groupName: "CG",
          consumeType: 1,
          messageModel: 1,
          unitMode: true,
          subscriptionDataSet: withoutSub ? [] : [{ topic: "O", subString: "*", subVersion: 1 }],
        }],
      });
    await client.send(beat(false));
    const retry = () => broker.topics.selectTopicConfig("%RETRY%CG")!;
    assert.deepEqual([retry().order, retry().topicSysFlag], [true, 2]);
    await client.send(beat(true));
    assert.equal(retry().order, true);
    assert.equal(broker.consumers.getConsumerGroupInfo("CG")!.messageModel, "CLUSTERING");
  });
});
