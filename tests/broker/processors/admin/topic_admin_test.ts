// Topics made, changed, deleted and looked at by administrators.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connect, info, PUSH, subscription } from "../../client/support.ts";
import { plain, setUp } from "./support.ts";

const TOPIC = {
  topic: "T",
  defaultTopic: "TBW102",
  readQueueNums: 4,
  writeQueueNums: 3,
  perm: 6,
  topicFilterType: "SINGLE_TAG",
  topicSysFlag: 0,
  order: false,
};

describe("UPDATE_AND_CREATE_TOPIC (17)", () => {
  it("makes a topic, saves it, has it registered, and tells it (351)", async () => {
    const { ask, state, options } = setUp();
    assert.equal((await ask(17, { ...TOPIC, attributes: "+message.type=FIFO" })).code, 0);
    assert.equal(state.registrations, 1);
    assert.match(new TextDecoder().decode(options.fs.readFile("/s/config/topics.json")!), /"T"/);
    const { json } = await ask(351, { topic: "T" });
    assert.deepEqual(plain(json), {
      attributes: { "message.type": "FIFO" },
      order: false,
      perm: 6,
      readQueueNums: 4,
      topicFilterType: "SINGLE_TAG",
      topicName: "T",
      topicSysFlag: 0,
      writeQueueNums: 3,
    });
    assert.deepEqual((await ask(351, { topic: "U" })).code, 17);
  });

  it("changes what is there, attributes one by one; nothing new is no change", async () => {
    const { ask, topics, state } = setUp();
    await ask(17, { ...TOPIC, attributes: "+message.type=FIFO" });
    const version = topics.dataVersion.counter;
    await ask(17, { ...TOPIC });
    assert.equal(topics.dataVersion.counter, version);
    assert.equal(state.registrations, 1);
    assert.equal((await ask(17, { ...TOPIC, perm: 4, order: true, attributes: "+message.type=NORMAL" })).code, 0);
    assert.equal(topics.selectTopicConfig("T")?.perm, 4);
    assert.equal(topics.isOrderTopic("T"), true);
    assert.deepEqual({ ...topics.selectTopicConfig("T")?.attributes }, { "message.type": "NORMAL" });
    assert.equal((await ask(17, { ...TOPIC, attributes: "-message.type" })).code, 0);
    assert.deepEqual({ ...topics.selectTopicConfig("T")?.attributes }, {});
  });

  it("refuses as Apache does", async () => {
    const { ask, topics, state } = setUp();
    await ask(17, TOPIC);
    const refused = async (ext: object, code: number) => {
      const answer = await ask(17, { ...TOPIC, ...ext });
      assert.equal(answer.code, code, JSON.stringify(ext));
      assert.ok((answer.remark ?? "").length > 5);
    };
    for (const topic of ["a b", "", "x".repeat(128), "TBW102", "SCHEDULE_TOPIC_XXXX", "C", "b", "rmq_sys_x"]) {
      await refused({ topic }, 29);
    }
    for (const [key, value] of [["readQueueNums", 0], ["writeQueueNums", 65537], ["perm", 16], ["perm", -1]] as const) {
      await refused({ [key]: value }, 29);
    }
    for (
      const ext of [{ topic: undefined }, { perm: undefined }, { perm: "x" }, { topicFilterType: "X" }, {
        readQueueNums: "1e3",
      }]
    ) await refused(ext, 1);
    await refused({ attributes: "+message.type=MIXED" }, 29);
    for (
      const attributes of [
        "message.type=FIFO",
        "message.type",
        "+message.type=X",
        "+unknown=1",
        "+queue.type=SimpleCQ",
        "-cleanup.policy",
        "+message.type=FIFO,+message.type=DELAY",
        "+message.type=FIFO,-message.type",
        "+reserve.time=1",
      ]
    ) await refused({ attributes }, 1);
    await refused({ topic: "New", attributes: "-message.type" }, 1);
    await refused({ topic: "New", attributes: "+queue.type=BatchCQ" }, 1);
    assert.equal(topics.selectTopicConfig("New"), null);
    state.isSlave = true;
    await refused({ topic: "New" }, 1);
  });

  it("may touch system topics and mixed types where the configuration says so", async () => {
    const { ask, topics } = setUp({ validateSystemTopicWhenUpdateTopic: false, enableMixedMessageType: true });
    assert.equal((await ask(17, { ...TOPIC, topic: "BenchmarkTest" })).code, 0);
    assert.equal(topics.selectTopicConfig("BenchmarkTest")?.writeQueueNums, 3);
    assert.equal((await ask(17, { ...TOPIC, attributes: "+message.type=MIXED" })).code, 0);
  });

  it("makes a list of topics (18), all or none", async () => {
    const { ask, topics } = setUp();
    const made = await ask(18, {}, {
      topicConfigList: [
        { topicName: "A", readQueueNums: 2, writeQueueNums: 2, perm: "6", attributes: { "+message.type": "DELAY" } },
        { topicName: "B" },
      ],
    });
    assert.equal(made.code, 0);
    assert.equal(topics.selectTopicConfig("A")?.attributes["message.type"], "DELAY");
    assert.equal(topics.selectTopicConfig("B")?.readQueueNums, 16);
    const refused = async (list: unknown, code: number) =>
      assert.equal((await ask(18, {}, { topicConfigList: list as string[] })).code, code);
    await refused([{ topicName: "D" }, { topicName: "a b" }], 29);
    await refused([{ topicName: "D" }, {}], 29);
    await refused([{ topicName: "D" }, 5], 1);
    await refused([{ topicName: "D" }, { topicName: "E", attributes: { "+x": "1" } }], 1);
    await refused([{ topicName: "D", perm: {} }], 1);
    assert.equal(topics.selectTopicConfig("D"), null);
    assert.equal((await ask(18, {}, "nonsense")).code, 1);
    await refused("x", 0);
  });
});

describe("DELETE_TOPIC_IN_BROKER (215)", () => {
  it("forgets the topic, its offsets, queues, figures and pop retry topics", async () => {
    const { ask, topics, offsets, store, stats, timerMetrics, clock } = setUp();
    timerMetrics.add("T", 3);
    for (const topic of ["T", "%RETRY%G_T", "%RETRY%G"]) await ask(17, { ...TOPIC, topic });
    topics.createTopicInSendMessageBackMethod("%RETRY%G+T", 1, 6, 0);
    offsets.commitOffset("G", "T", 0, 5);
    stats.put("T", 0, 1, 1, clock.now());
    store.put("T", 0, [1]);
    assert.equal((await ask(215, { topic: "T" })).code, 0);
    assert.deepEqual(topics.topicNames().filter((name) => /^T$|^%/.test(name)), ["%RETRY%G"]);
    assert.equal(offsets.queryOffset("G", "T", 0), -1);
    assert.deepEqual(store.calls, ["deleteTopics T %RETRY%G+T %RETRY%G_T"]);
    assert.equal(stats.view("TOPIC_PUT_NUMS", "T"), null);
    assert.equal(timerMetrics.count("T"), 0);
    assert.equal((await ask(215, { topic: "nobody" })).code, 0);
  });

  it("refuses as Apache does", async () => {
    const { ask, state } = setUp();
    assert.equal((await ask(215, { topic: " " })).code, 29);
    assert.equal((await ask(215, { topic: "TBW102" })).code, 29);
    assert.equal((await ask(215)).code, 1);
    state.isSlave = true;
    assert.equal((await ask(215, { topic: "T" })).code, 1);
  });
});

describe("looking at topics", () => {
  it("202: queues by an object as key, with the last message's time", async () => {
    const { ask, store, stats, clock } = setUp();
    await ask(17, { ...TOPIC, readQueueNums: 2, writeQueueNums: 1 });
    store.put("T", 0, [100, 200], 7);
    for (let at = 0; at < 50; at++) stats.put("T", 0, 1, 1, clock.now());
    clock.advance(10_000);
    const { json, text } = await ask(202, { topic: "T" });
    assert.match(text, /\{"brokerName":"b","queueId":0,"topic":"T"\}:\{"lastUpdateTimestamp":200/);
    assert.deepEqual(plain(json), {
      offsetTable: [
        [{ brokerName: "b", queueId: 0, topic: "T" }, { lastUpdateTimestamp: 200, maxOffset: 9, minOffset: 7 }],
        [{ brokerName: "b", queueId: 1, topic: "T" }, { lastUpdateTimestamp: 0, maxOffset: 0, minOffset: 0 }],
      ],
      topicPutTps: 5,
    });
    assert.equal((await ask(202, { topic: "U" })).code, 17);
  });

  it("300: groups with members and groups with offsets, not the topic itself", async () => {
    const all = setUp();
    const { ask, consumers, offsets } = all;
    offsets.commitOffset("Old", "T", 0, 1);
    offsets.commitOffset("Live", "T", 0, 1);
    consumers.registerConsumer("Live", info(connect(all, "10.0.0.2:1"), "c1"), PUSH, [subscription("T")]);
    consumers.registerConsumer("New", info(connect(all, "10.0.0.2:2"), "c2"), PUSH, [subscription("T")]);
    consumers.registerConsumer("Other", info(connect(all, "10.0.0.2:3"), "c3"), PUSH, [subscription("U")]);
    const { json } = await ask(300, { topic: "T" });
    assert.deepEqual(plain(json).groupList.sort(), ["Live", "New", "Old"]);
    assert.deepEqual(plain((await ask(300, { topic: "V" })).json), { groupList: [] });
  });

  it("305: the topics of the system", async () => {
    const { ask } = setUp();
    const { topicList } = plain((await ask(305)).json);
    for (const topic of ["TBW102", "C", "b", "C_REPLY_TOPIC", "RMQ_SYS_TRANS_HALF_TOPIC", "CHECKPOINT_TOPIC"]) {
      assert.ok(topicList.includes(topic), topic);
    }
  });
});
