// Consumer groups: which are there, which come with their first consumer, what an administrator changes.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { RemotingError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { SubscriptionGroupManager } from "../../src/broker/subscription_group_manager.ts";
import { type JavaJsonObject, javaJsonObject, parseJavaJson } from "../../src/remoting/java_json.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import { MemoryFileSystem } from "../fuzz/memory_fs.ts";
import { ManualClock } from "../support/manual_clock.ts";

const FILE = "/store/config/subscriptionGroup.json";
const DEFAULTS = {
  consumeEnable: true,
  consumeFromMinEnable: true,
  consumeBroadcastEnable: true,
  consumeMessageOrderly: false,
  retryQueueNums: 1,
  retryMaxTimes: 16,
  brokerId: 0,
  whichBrokerWhenConsumeSlowly: 1,
  notifyConsumerIdsChangedEnable: true,
  groupSysFlag: 0,
  consumeTimeoutMinute: 15,
};

let fs: MemoryFileSystem;
let config: { autoCreateSubscriptionGroup: boolean };
let groups: SubscriptionGroupManager;

beforeEach(() => {
  fs = new MemoryFileSystem("/store");
  config = { autoCreateSubscriptionGroup: true };
  groups = make();
});

function make(): SubscriptionGroupManager {
  const made = new SubscriptionGroupManager({
    fs,
    clock: new ManualClock(),
    logger: SILENT_LOGGER,
    directory: "/store/config",
    config,
  });
  made.load();
  return made;
}

describe("SubscriptionGroupManager", () => {
  it("has Apache's own groups from the start, in no file yet", () => {
    assert.deepEqual(groups.groupNames().sort(), [
      "CID_ONS-HTTP-PROXY",
      "CID_ONSAPI_OWNER",
      "CID_ONSAPI_PERMISSION",
      "CID_ONSAPI_PULL",
      "CID_RMQ_SYS_TRANS",
      "FILTERSRV_CONSUMER",
      "SELF_TEST_C_GROUP",
      "TOOLS_CONSUMER",
    ]);
    assert.equal(fs.readFile(FILE), null);
    assert.equal(groups.dataVersion.counter, 0);
  });

  it("makes a group for its first consumer, at once in memory and then in the file", async () => {
    assert.equal(groups.selectSubscriptionGroupConfig("g"), null);
    assert.deepEqual(groups.findSubscriptionGroupConfig("g"), { groupName: "g", ...DEFAULTS });
    assert.equal(groups.dataVersion.counter, 1);
    assert.equal(groups.findSubscriptionGroupConfig("g"), groups.selectSubscriptionGroupConfig("g"), "cached");
    assert.equal(groups.dataVersion.counter, 1);
    await groups.persist();
    const text = utf8.decode(fs.readFile(FILE)!).replace(/\s/g, "");
    assert.ok(
      text.includes(
        '"g":{"attributes":{},"brokerId":0,"consumeBroadcastEnable":true,"consumeEnable":true,' +
          '"consumeFromMinEnable":true,"consumeMessageOrderly":false,"consumeTimeoutMinute":15,"groupName":"g",' +
          '"groupRetryPolicy":{"type":"CUSTOMIZED"},"groupSysFlag":0,"notifyConsumerIdsChangedEnable":true,' +
          '"retryMaxTimes":16,"retryQueueNums":1,"whichBrokerWhenConsumeSlowly":1}',
      ),
      text,
    );
    assert.ok(make().selectSubscriptionGroupConfig("g") !== null);
  });

  it("makes none that may not be", () => {
    for (const name of ["", " ", "a b", "a/b", "é", "a".repeat(256), "a\0", "__proto__ "]) {
      assert.equal(groups.findSubscriptionGroupConfig(name), null, name);
    }
    config.autoCreateSubscriptionGroup = false;
    assert.equal(groups.findSubscriptionGroupConfig("g"), null);
    assert.notEqual(
      groups.findSubscriptionGroupConfig("CID_RMQ_SYS_x"),
      null,
      "the system's own are made nevertheless",
    );
    assert.notEqual(groups.findSubscriptionGroupConfig("TOOLS_CONSUMER"), null);
  });

  it("knows a group of the name __proto__ from no group", () => {
    assert.equal(groups.selectSubscriptionGroupConfig("__proto__"), null);
    assert.equal(groups.selectSubscriptionGroupConfig("constructor"), null);
    assert.equal(groups.findSubscriptionGroupConfig("__proto__")!.groupName, "__proto__");
    assert.ok(groups.groupNames().includes("__proto__"));
  });

  it("bounds the groups that consumers make, not those of administrators", async () => {
    const table = javaJsonObject();
    for (let i = 0; i < 50_000; i++) table[`g${i}`] = javaJsonObject();
    groups.adopt(javaJsonObject({ subscriptionGroupTable: table }));
    assert.equal(groups.findSubscriptionGroupConfig("one-more"), null);
    groups.updateSubscriptionGroupConfig(javaJsonObject({ groupName: "one-more" }));
    assert.notEqual(groups.findSubscriptionGroupConfig("one-more"), null);
    groups.deleteSubscriptionGroupConfig("g0");
    groups.deleteSubscriptionGroupConfig("g1");
    assert.notEqual(groups.findSubscriptionGroupConfig("another"), null);
    await groups.persist();
  });

  it("takes what mqadmin says, the rest by default, unknown members kept", () => {
    groups.updateSubscriptionGroupConfig(
      parseJavaJson(
        '{"groupName":"g","consumeEnable":false,"retryMaxTimes":"3","brokerId":2,"attributes":{},"future":{"x":1},"n":null}',
      ) as JavaJsonObject,
    );
    assert.deepEqual(groups.selectSubscriptionGroupConfig("g"), {
      groupName: "g",
      ...DEFAULTS,
      consumeEnable: false,
      retryMaxTimes: 3,
      brokerId: 2,
    });
    const json = (groups.subscriptionGroupTable as JavaJsonObject).g as JavaJsonObject;
    assert.equal((json.future as JavaJsonObject).x, 1);
    assert.equal("n" in json, false);
    groups.updateSubscriptionGroupConfig(javaJsonObject({ groupName: "g" }));
    assert.equal(groups.selectSubscriptionGroupConfig("g")!.consumeEnable, true);
    const codeOf = (json: JavaJsonObject) => {
      try {
        groups.updateSubscriptionGroupConfig(json);
        return 0;
      } catch (error) {
        return error instanceof RemotingError ? error.code : null;
      }
    };
    assert.equal(codeOf(javaJsonObject({ groupName: "a b" })), ResponseCode.INVALID_PARAMETER);
    assert.equal(codeOf(javaJsonObject({})), ResponseCode.INVALID_PARAMETER);
    const attributes = javaJsonObject({ "+x": "1" });
    assert.equal(codeOf(javaJsonObject({ groupName: "g", attributes })), ResponseCode.SYSTEM_ERROR);
  });

  it("forbids a group a topic, bit by bit", () => {
    groups.updateForbidden("g", "T", 2, true);
    groups.updateForbidden("g", "T", 0, true);
    assert.equal(groups.getForbidden("g", "T"), 5);
    assert.equal(groups.getForbidden("g", "U"), 0);
    groups.updateForbidden("g", "T", 0, false);
    assert.equal(groups.getForbidden("g", "T"), 4);
    assert.equal(make().getForbidden("g", "T"), 0, "not in the file before it is written");
    groups.updateForbidden("g", "T", 2, false);
    assert.equal(groups.getForbidden("g", "T"), 0);
  });

  it("takes a group's right to consume, and a group with what it is forbidden", async () => {
    groups.findSubscriptionGroupConfig("g");
    groups.disableConsume("g");
    assert.equal(groups.selectSubscriptionGroupConfig("g")!.consumeEnable, false);
    groups.updateForbidden("g", "T", 2, true);
    groups.deleteSubscriptionGroupConfig("g");
    assert.equal(groups.selectSubscriptionGroupConfig("g"), null);
    assert.equal(groups.getForbidden("g", "T"), 0);
    await groups.persist();
    assert.equal(make().selectSubscriptionGroupConfig("g"), null);
  });

  it("takes nonsense in a file for Apache's defaults", () => {
    fs.put(
      FILE,
      utf8.encode(
        '{"forbiddenTable":{"g":{"T":-1,"U":"x"}},"subscriptionGroupTable":{"g":{"retryMaxTimes":1e300},"h":7}}',
      ),
    );
    groups = make();
    assert.equal(groups.selectSubscriptionGroupConfig("g")!.retryMaxTimes, 16);
    assert.equal(groups.selectSubscriptionGroupConfig("h"), null);
    assert.equal(groups.getForbidden("g", "T"), 0);
    assert.equal(groups.getForbidden("g", "U"), 0);
  });
});
