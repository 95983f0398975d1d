// The configuration read and changed by administrators.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseProperties } from "../../../../src/config/properties.ts";
import { setUp } from "./support.ts";

describe("GET_BROKER_CONFIG (26)", () => {
  it("tells every property that has a value, and a version that moves with changes", async () => {
    const { ask, clock } = setUp();
    const { text, ext } = await ask(26);
    const properties = new Map(parseProperties(new TextEncoder().encode(text)).map(({ key, value }) => [key, value]));
    assert.equal(properties.get("brokerName"), "b");
    assert.equal(properties.get("listenPort"), "12345");
    assert.equal(properties.get("enableControllerMode"), "false");
    assert.equal(properties.get("fileReservedTime"), "72");
    assert.equal(properties.has("forceRole"), false);
    assert.equal(properties.has("haTlsCaFile"), false);
    assert.deepEqual(text.split("\n"), text.split("\n").slice(0, -1).sort().concat(""));
    const before = JSON.parse(ext.version!);
    clock.advance(5);
    await ask(25, {}, "fileReservedTime=48\n");
    const after = JSON.parse((await ask(26)).ext.version!);
    assert.deepEqual(after, { ...before, counter: before.counter + 1, timestamp: before.timestamp + 5 });
  });
});

describe("UPDATE_BROKER_CONFIG (25)", () => {
  it("changes what may change while the node runs", async () => {
    const { ask, config, state } = setUp();
    assert.equal((await ask(25, {}, "fileReservedTime = 48\nslaveReadEnable=TRUE\n")).code, 0);
    assert.equal(config.fileReservedTime, 48);
    assert.equal(config.slaveReadEnable, true);
    assert.equal(state.permissionChanges, 0);
    assert.equal((await ask(25, {}, "brokerPermission=4")).code, 0);
    assert.equal(config.brokerPermission, 4);
    assert.equal(state.permissionChanges, 1);
    assert.equal((await ask(25)).code, 0);
  });

  it("refuses the black list's keys and those that are none of RocketMQ's", async () => {
    const { ask, config } = setUp({ configBlackList: "deleteWhen" });
    for (const key of ["brokerConfigPath", "rocketmqHome", "configBlackList", "deleteWhen", "remotingAllowedPeers"]) {
      assert.equal((await ask(25, {}, `${key}=05\nfileReservedTime=1`)).code, 16, key);
    }
    assert.equal(config.fileReservedTime, 72);
    assert.equal(config.deleteWhen, "04");
  });

  it("refuses all of it for a key that is unknown, needs a restart or has no such value", async () => {
    const { ask, config } = setUp();
    const refused = async (line: string, pattern: RegExp) => {
      const { code, remark } = await ask(25, {}, `fileReservedTime=1\n${line}\n`);
      assert.equal(code, 29, line);
      assert.match(remark!, pattern);
    };
    await refused("fileReservedTme=1", /did you mean "fileReservedTime"/);
    await refused("listenPort=1", /restart/);
    await refused("brokerRole=SLAVE", /restart/);
    await refused("brokerPermission=x", /wanted/);
    await refused("enableControllerMode=true", /not supported/);
    await refused("aclEnable=true", /not supported/);
    await refused("deleteWhen=\\u00", /four hex digits/);
    assert.equal(config.fileReservedTime, 72);
  });

  it("lets through what is so already, and says what has no effect", async () => {
    const { ask, config, logger } = setUp();
    const { code, remark } = await ask(
      25,
      {},
      "brokerName=b\nenableControllerMode=false\npopPollingSize=5\ntransientStorePoolEnable=true\nfileReservedTime=1",
    );
    assert.equal(code, 0);
    assert.equal(remark, "Without effect here: popPollingSize, transientStorePoolEnable");
    assert.equal(config.fileReservedTime, 1);
    assert.ok(logger.lines.some((line) => line.message === remark));
  });
});
