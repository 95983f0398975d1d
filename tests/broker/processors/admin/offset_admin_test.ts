// Offsets reset, copied and compared by administrators, and how far groups are behind.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../../../src/base/bytes.ts";
import { createResponse } from "../../../../src/remoting/remoting_command.ts";
import { connect, info, PUSH, subscription } from "../../client/support.ts";
import { plain, setUp } from "./support.ts";

async function withTopic(values: Parameters<typeof setUp>[0] = {}) {
  const all = setUp(values);
  const { topics, groups, store } = all;
  topics.updateTopicConfig({
    topicName: "T",
    readQueueNums: 2,
    writeQueueNums: 2,
    perm: 6,
    topicFilterType: "SINGLE_TAG",
    topicSysFlag: 0,
    order: false,
    attributes: {},
  });
  await topics.persist();
  groups.updateSubscriptionGroupConfig(Object.assign(Object.create(null), { groupName: "G" }));
  store.put("T", 0, [100, 200, 300, 400], 10);
  store.put("T", 1, [150]);
  return all;
}

const mq = (queueId: number) => ({ brokerName: "b", queueId, topic: "T" });
const RESET = { topic: "T", group: "G", timestamp: 250, isForce: true };

describe("INVOKE_BROKER_TO_RESET_OFFSET (222)", () => {
  it("moves every queue by time, or to its end; the consumer hears of it with its next pull", async () => {
    const { ask, offsets } = await withTopic();
    const { json, text } = await ask(222, RESET);
    assert.deepEqual(plain(json), { offsetTable: [[mq(0), 12], [mq(1), 1]] });
    assert.match(text, /\{"offsetTable":\{\{"brokerName"/);
    assert.equal(offsets.queryThenEraseResetOffset("G", "T", 0), 12);
    assert.equal(offsets.queryOffset("G", "T", 0), 12);
    assert.deepEqual(plain((await ask(222, { ...RESET, timestamp: -1 })).json).offsetTable.map(at1), [14, 1]);
  });

  it("moves one queue, by time or to an offset within it", async () => {
    const { ask } = await withTopic();
    const one = async (ext: object) => {
      const { code, json } = await ask(222, { ...RESET, queueId: 0, ...ext });
      return code === 0 ? plain(json).offsetTable : code;
    };
    assert.deepEqual(await one({}), [[mq(0), 12]]);
    assert.deepEqual(await one({ offset: 13 }), [[mq(0), 13]]);
    assert.deepEqual(await one({ offset: 15 }), [[mq(0), 15]]);
    assert.deepEqual(await one({ offset: -1 }), [[mq(0), 12]]);
    assert.deepEqual(await one({ offset: 16 }), 1);
    assert.deepEqual(await one({ offset: 9 }), 1);
    assert.deepEqual(await one({ queueId: 2 }), 29);
  });

  it("refuses as Apache does", async () => {
    const { ask, state } = await withTopic();
    assert.equal((await ask(222, { ...RESET, topic: "U" })).code, 17);
    assert.equal((await ask(222, { ...RESET, group: "H" })).code, 26);
    assert.equal((await ask(222, { ...RESET, timestamp: undefined })).code, 1);
    state.isSlave = true;
    assert.equal((await ask(222, RESET)).code, 1);
  });

  it("tells the consumers where useServerSideResetOffset is false", async () => {
    const all = await withTopic({ useServerSideResetOffset: false });
    const { ask, offsets, consumers } = all;
    assert.equal((await ask(222, { ...RESET, topic: "U" })).code, 17);
    assert.equal((await ask(222, RESET)).code, 1);
    offsets.commitOffset("G", "T", 0, 11);
    offsets.commitOffset("G", "T", 1, 1);
    assert.equal((await ask(222, RESET)).code, 206);
    const connection = connect(all, "10.0.0.2:1");
    consumers.registerConsumer("G", info(connection, "c1"), PUSH, [subscription("T")]);
    connection.takeSent();
    assert.deepEqual(plain((await ask(222, RESET)).json).offsetTable.map(at1), [12, 1]);
    assert.deepEqual(plain((await ask(222, { ...RESET, isForce: false })).json).offsetTable.map(at1), [11, 1]);
    assert.equal(connection.sent.length, 2);
    assert.equal(connection.sent[0]!.code, 220);
    assert.equal(connection.sent[0]!.extFields.get("isForce"), "true");
    assert.equal(offsets.hasOffsetReset("G", "T", 0), false);
  });
});

function at1(entry: unknown[]): unknown {
  return entry[1];
}

describe("offsets", () => {
  it("223 asks the consumers where they are", async () => {
    const all = await withTopic();
    const { ask, consumers } = all;
    assert.equal((await ask(223, { topic: "T", group: "G" })).code, 1);
    const connection = connect(all, "10.0.0.2:1");
    connection.answer = (request) =>
      Promise.resolve(
        createResponse(request, 0, {
          body: utf8.encode('{"messageQueueTable":{{"brokerName":"b","queueId":0,"topic":"T"}:7}}'),
        }),
      );
    consumers.registerConsumer("G", info(connection, "c1"), PUSH, [subscription("T")], false);
    const { json } = await ask(223, { topic: "T", group: "G", clientAddr: "" });
    assert.deepEqual(plain(json), { consumerTable: { c1: [[mq(0), 7]] }, messageQueueTable: {} });
    assert.deepEqual(plain((await ask(223, { topic: "T", group: "G", clientAddr: "c2" })).json).consumerTable, {});
  });

  it("308 tells the least offsets, the largest number where the group is behind all others", async () => {
    const { ask, offsets } = await withTopic();
    offsets.commitOffset("A", "T", 0, 12);
    offsets.commitOffset("B", "T", 0, 13);
    offsets.commitOffset("B", "T", 1, 1);
    offsets.commitOffset("Slow", "T", 0, 5);
    const { json, text } = await ask(308, { topic: "T", compareGroup: "B" });
    assert.deepEqual(plain(json), { correctionOffsets: { 0: 12, 1: 1 } });
    assert.match(text, /"0":12/);
    assert.match((await ask(308, { topic: "T", compareGroup: "Slow" })).text, /"0":9223372036854775807/);
    assert.match((await ask(308, { topic: "T", compareGroup: "B", filterGroups: "A" })).text, /"0":13/);
    assert.equal(offsets.queryOffset("A", "T", 0), 12);
  });

  it("314 copies offsets of one topic or of all", async () => {
    const all = await withTopic();
    const { ask, offsets, consumers, state } = all;
    offsets.commitOffset("G", "T", 0, 12);
    offsets.commitOffset("G", "gone", 0, 12);
    assert.equal((await ask(314, { srcGroup: "G", destGroup: "H", topic: "T" })).code, 0);
    assert.equal(offsets.queryOffset("H", "T", 0), 12);
    assert.equal((await ask(314, { srcGroup: "G", destGroup: "I" })).code, 0);
    assert.equal(offsets.queryOffset("I", "T", 0), 12);
    assert.equal(offsets.queryOffset("I", "gone", 0), -1);
    consumers.registerConsumer("G", info(connect(all, "10.0.0.2:1"), "c1"), PUSH, [subscription("U")]);
    await ask(314, { srcGroup: "G", destGroup: "J" });
    assert.equal(offsets.queryOffset("J", "T", 0), -1);
    await ask(314, { srcGroup: "G", destGroup: "J", offline: true });
    assert.equal(offsets.queryOffset("J", "T", 0), 12);
    state.isSlave = true;
    assert.equal((await ask(314, { srcGroup: "G", destGroup: "K" })).code, 1);
  });
});

describe("how far groups are behind", () => {
  it("208 tells each queue the group reads", async () => {
    const all = await withTopic();
    const { ask, offsets, consumers, stats, clock } = all;
    offsets.commitOffset("G", "T", 0, 12);
    offsets.commitPullOffset("G", "T", 0, 13);
    stats.pulled("G", "T", 0, 20, 100, 1);
    clock.advance(10_000);
    const { json } = await ask(208, { consumerGroup: "G" });
    assert.deepEqual(plain(json), {
      consumeTps: 2,
      offsetTable: [
        [mq(0), { brokerOffset: 14, consumerOffset: 12, lastTimestamp: 200, pullOffset: 13 }],
        [mq(1), { brokerOffset: 1, consumerOffset: 0, lastTimestamp: 0, pullOffset: 0 }],
      ],
    });
    const empty = { consumeTps: 0, offsetTable: {} };
    assert.deepEqual(plain((await ask(208, { consumerGroup: "H" })).json), empty);
    assert.deepEqual(plain((await ask(208, { consumerGroup: "G", topic: "U" })).json), empty);
    // A live group counts where it subscribes, unless the topics are named.
    consumers.registerConsumer("G", info(connect(all, "10.0.0.2:1"), "c1"), PUSH, [subscription("U")]);
    assert.deepEqual(plain((await ask(208, { consumerGroup: "G" })).json), empty);
    const named = plain((await ask(208, { consumerGroup: "G", topicList: "T;U;T" })).json);
    assert.equal(named.offsetTable.length, 2);
  });

  it("317 tells all groups", async () => {
    const { ask, offsets } = await withTopic();
    offsets.commitOffset("G", "T", 0, 12);
    offsets.commitPullOffset("G", "T", 0, 13);
    const body = plain((await ask(317, { isOrder: false })).json);
    assert.equal(body.brokerAddr, "10.0.0.9:10911");
    assert.equal(body.totalDiff, 3);
    assert.equal(body.totalInflightDiff, 1);
    const [stats] = body.consumeStatsList.find((one: object) => "G" in one).G;
    assert.equal(stats.offsetTable.length, 2);
    assert.deepEqual(body.consumeStatsList.find((one: object) => "TOOLS_CONSUMER" in one), { TOOLS_CONSUMER: [] });
    assert.equal(plain((await ask(317, { isOrder: true })).json).totalDiff, 0);
  });

  it("303 tells the times of what is there and of what is consumed", async () => {
    const { ask, offsets, clock } = await withTopic();
    offsets.commitOffset("G", "T", 0, 12);
    offsets.commitOffset("G", "T", 1, 1);
    const { consumeTimeSpanSet } = plain((await ask(303, { topic: "T", group: "G" })).json);
    assert.match(consumeTimeSpanSet[0].minTimeStampStr, /^19(69|70)-\d\d-\d\d \d\d:\d\d:00:100$/);
    for (const one of consumeTimeSpanSet) {
      for (const key of ["consumeTimeStampStr", "maxTimeStampStr", "minTimeStampStr"]) delete one[key];
    }
    assert.deepEqual(consumeTimeSpanSet, [
      {
        consumeTimeStamp: 200,
        delayTime: clock.now() - 300,
        maxTimeStamp: 400,
        messageQueue: mq(0),
        minTimeStamp: 100,
      },
      { consumeTimeStamp: 150, delayTime: 0, maxTimeStamp: 150, messageQueue: mq(1), minTimeStamp: 150 },
    ]);
    const [fresh] = plain((await ask(303, { topic: "T", group: "New" })).json).consumeTimeSpanSet;
    assert.equal(fresh.delayTime, clock.now() - 100);
    assert.equal((await ask(303, { topic: "U", group: "G" })).code, 17);
  });
});
