// Consumer groups made, changed, deleted and looked at by administrators.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { plain, setUp } from "./support.ts";

describe("groups", () => {
  it("200 makes or changes one, 352 tells it with every member", async () => {
    const { ask, groups, options } = setUp();
    assert.equal((await ask(200, {}, { groupName: "G", retryMaxTimes: 3, future: "kept" })).code, 0);
    assert.equal(groups.selectSubscriptionGroupConfig("G")?.retryMaxTimes, 3);
    assert.match(new TextDecoder().decode(options.fs.readFile("/s/config/subscriptionGroup.json")!), /"G"/);
    const { json } = await ask(352, { group: "G" });
    assert.deepEqual(plain(json), {
      attributes: {},
      brokerId: 0,
      consumeBroadcastEnable: true,
      consumeEnable: true,
      consumeFromMinEnable: true,
      consumeMessageOrderly: false,
      consumeTimeoutMinute: 15,
      future: "kept",
      groupName: "G",
      groupRetryPolicy: { type: "CUSTOMIZED" },
      groupSysFlag: 0,
      notifyConsumerIdsChangedEnable: true,
      retryMaxTimes: 3,
      retryQueueNums: 1,
      whichBrokerWhenConsumeSlowly: 1,
    });
  });

  it("352 makes one that may be made, as Apache does, and else says that it is not there", async () => {
    const { ask, config, groups } = setUp();
    assert.equal((await ask(352, { group: "New" })).code, 0);
    assert.notEqual(groups.selectSubscriptionGroupConfig("New"), null);
    assert.equal((await ask(352, { group: "a b" })).code, 26);
    Object.assign(config, { autoCreateSubscriptionGroup: false });
    assert.equal((await ask(352, { group: "Newer" })).code, 26);
    assert.equal((await ask(352)).code, 1);
  });

  it("225 makes several", async () => {
    const { ask, groups } = setUp();
    const { code } = await ask(225, {}, { groupConfigList: [{ groupName: "A" }, { groupName: "B" }] });
    assert.equal(code, 0);
    assert.ok(groups.groupNames().includes("A") && groups.groupNames().includes("B"));
    assert.equal((await ask(225, {}, { groupConfigList: [{ groupName: "a b" }] })).code, 29);
    assert.equal((await ask(225, {}, { groupConfigList: [7] })).code, 1);
    assert.equal((await ask(225, {}, {})).code, 0);
  });

  it("207 deletes one, its offsets only when asked to", async () => {
    const { ask, groups, offsets } = setUp();
    await ask(200, {}, { groupName: "G" });
    offsets.commitOffset("G", "T", 0, 5);
    assert.equal((await ask(207, { groupName: "G" })).code, 0);
    assert.equal(groups.selectSubscriptionGroupConfig("G"), null);
    assert.equal(offsets.queryOffset("G", "T", 0), 5);
    assert.equal((await ask(207, { groupName: "G", cleanOffset: true })).code, 0);
    assert.equal(offsets.queryOffset("G", "T", 0), -1);
  });

  it("353 forbids a topic and allows it again", async () => {
    const { ask, groups } = setUp();
    const readable = async (ext: object = {}) =>
      plain((await ask(353, { group: "G", topic: "T", ...ext })).json).readable;
    assert.equal(await readable(), true);
    assert.equal(await readable({ readable: false }), false);
    assert.equal(groups.getForbidden("G", "T"), 4);
    assert.equal(await readable(), false);
    assert.equal(await readable({ readable: true }), true);
  });

  it("refuses what can't be, and everything on a slave", async () => {
    const { ask, state } = setUp();
    assert.equal((await ask(200, {}, { groupName: "a b" })).code, 29);
    assert.equal((await ask(200, {}, { groupName: "G", attributes: { "+x": "1" } })).code, 1);
    assert.equal((await ask(200, {}, "[]")).code, 1);
    assert.equal((await ask(200)).code, 1);
    state.isSlave = true;
    assert.equal((await ask(200, {}, { groupName: "G" })).code, 1);
    assert.equal((await ask(225, {}, { groupConfigList: [] })).code, 1);
    assert.equal((await ask(207, { groupName: "G" })).code, 1);
    assert.equal((await ask(353, { group: "G", topic: "T", readable: false })).code, 1);
    assert.equal((await ask(353, { group: "G", topic: "T" })).code, 0);
  });
});
