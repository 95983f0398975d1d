// The store's figures, queue entries and clean-ups at an administrator's word.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { connect, info, PUSH, subscription } from "../../client/support.ts";
import { plain, setUp } from "./support.ts";

describe("VIEW_BROKER_STATS_DATA (315)", () => {
  it("tells three windows, and refuses what was never counted", async () => {
    const { ask, stats, clock } = setUp();
    assert.equal((await ask(315, { statsName: "TOPIC_PUT_NUMS", statsKey: "T" })).code, 1);
    for (let at = 0; at < 4; at++) stats.put("T", 0, 5, 10, clock.now());
    clock.advance(600_000 - 1000);
    stats.put("T", 0, 1, 10, clock.now());
    clock.advance(1000);
    assert.deepEqual(plain((await ask(315, { statsName: "TOPIC_PUT_NUMS", statsKey: "T" })).json), {
      statsDay: { avgpt: 0, sum: 0, tps: 0 },
      statsHour: { avgpt: 21 / 5, sum: 21, tps: 21 / 600 },
      statsMinute: { avgpt: 1, sum: 1, tps: 1 / 60 },
    });
    assert.equal((await ask(315, { statsName: "TOPIC_PUT_NUMS" })).code, 1);
  });
});

describe("QUERY_CONSUME_QUEUE (321)", () => {
  it("tells entries, beside the group's filter", async () => {
    const all = setUp();
    const { ask, store, consumers } = all;
    store.put("T", 0, [1, 2, 3, 4, 5, 6, 7], 10);
    const asked = { topic: "T", queueId: 0, index: 11, count: 5 };
    const { json } = await ask(321, asked);
    const body = plain(json);
    assert.equal(body.maxQueueIndex, 17);
    assert.equal(body.minQueueIndex, 10);
    assert.equal(body.queueData.length, 5);
    assert.deepEqual(body.queueData[4], { eval: false, physicOffset: 15_000, physicSize: 100, tagsCode: -5 });
    assert.equal(plain((await ask(321, { ...asked, count: 100 })).json).queueData.length, 6);
    assert.equal(plain((await ask(321, { ...asked, consumerGroup: "G" })).json).filterData, "G@T is not online!");
    consumers.registerConsumer("G", info(connect(all, "10.0.0.2:1"), "c1"), PUSH, [subscription("T")]);
    const filtered = plain((await ask(321, { ...asked, consumerGroup: "G" })).json);
    assert.equal(filtered.subscriptionData.topic, "T");
    assert.equal(filtered.filterData, "null");
  });

  it("says what is not there", async () => {
    const { ask, store } = setUp();
    store.put("T", 0, [1], 10);
    assert.equal((await ask(321, { topic: "T", queueId: 1, index: 0, count: 1 })).code, 1);
    const { code, remark, json } = await ask(321, { topic: "T", queueId: 0, index: 11, count: 1 });
    assert.deepEqual([code, remark, json], [0, "Index 11 of 0@T is not exist!", null]);
    assert.equal((await ask(321, { topic: "T", queueId: 0, index: 11 })).code, 1);
  });
});

describe("clean-ups", () => {
  it("306 and 329 go to the store; 329 does not wait, and logs what fails", async () => {
    const { ask, store, logger } = setUp();
    assert.equal((await ask(306)).code, 0);
    assert.equal((await ask(329)).code, 0);
    assert.deepEqual(store.calls, ["cleanExpired", "deleteExpiredFilesManually"]);
    await Promise.resolve();
    assert.ok(logger.lines.some((line) => line.message === "Removing expired files failed"));
  });

  it("316 removes queues of topics that are gone, none of the system's", async () => {
    const { ask, store, topics } = setUp();
    topics.createTopicInSendMessageMethod("T", "TBW102", 4, 0);
    for (const topic of ["T", "gone", "%LMQ%x", "SCHEDULE_TOPIC_XXXX", "rmq_sys_x"]) store.put(topic, 0, [1]);
    store.put("gone", 1, [1]);
    assert.equal((await ask(316)).code, 0);
    assert.deepEqual(store.calls, ["deleteTopics gone"]);
    await ask(316);
    assert.equal(store.calls.length, 1);
  });

  it("905 and 908 are taken note of", async () => {
    const { ask } = setUp();
    assert.equal((await ask(905, { minBrokerId: 0 })).code, 0);
    assert.equal((await ask(908, { masterFlushOffset: 5 })).code, 0);
    assert.equal((await ask(908)).code, 1);
  });
});

describe("features that are not here", () => {
  it("are answered as Apache answers with them off", async () => {
    const { ask } = setUp();
    assert.deepEqual(plain((await ask(2003)).json).configTable, {});
    assert.equal((await ask(2002)).code, 0);
    assert.equal((await ask(355)).remark, "export done.");
    assert.equal((await ask(1007)).code, 1);
    assert.equal((await ask(200056)).code, 0);
  });
});
