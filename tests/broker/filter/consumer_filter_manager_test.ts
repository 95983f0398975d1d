// Filters of groups: told by heartbeats, dead when the group is gone, forgotten a day later, kept over a restart.

import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { ConsumerFilterManager } from "../../../src/broker/filter/consumer_filter_manager.ts";
import { filterProcessors } from "../../../src/broker/filter/filter_processors.ts";
import { buildSubscriptionData } from "../../../src/broker/filter/subscription_data.ts";
import { createRequest, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import { runtime } from "../../remoting/support.ts";
import { ManualClock } from "../../support/manual_clock.ts";

const DAY_MS = 86_400_000;

let directory: string;
let clock: ManualClock;

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), "twinlog-filter-"));
  clock = new ManualClock();
});
afterEach(() => rmSync(directory, { recursive: true, force: true }));

function manager(): ConsumerFilterManager {
  const config = { maxErrorRateOfBloomFilter: 20, expectConsumerNumUseFilter: 32, filterDataCleanTimeSpan: DAY_MS };
  return new ConsumerFilterManager({ fs: runtime.fs, clock, logger: SILENT_LOGGER, directory, config });
}

const sql = (topic: string, expression: string, version: number) =>
  buildSubscriptionData(topic, expression, "SQL92", version);

describe("ConsumerFilterManager", () => {
  it("takes newer versions only", () => {
    const filters = manager();
    filters.register("g", [sql("T", "a = 1", 5), buildSubscriptionData("U", "TagA")]);
    assert.equal(filters.get("U", "g"), null);
    assert.equal(filters.get("T", "g")?.expression, "a = 1");
    filters.register("g", [sql("T", "a = 2", 5)]);
    filters.register("g", [sql("T", "a = 2", 4)]);
    assert.equal(filters.get("T", "g")?.expression, "a = 1");
    filters.register("g", [sql("T", "a = 2", 6)]);
    assert.deepEqual([filters.get("T", "g")?.expression, filters.get("T", "g")?.clientVersion], ["a = 2", 6]);
    filters.register("g", [sql("T", "a = 2", 7)]);
    assert.equal(filters.get("T", "g")?.clientVersion, 7);
  });

  it("forgets a filter that can't be compiled any more", () => {
    const filters = manager();
    filters.register("g", [sql("T", "a = 1", 5)]);
    filters.register("g", [sql("T", "a =", 6)]);
    assert.equal(filters.get("T", "g"), null);
    filters.register("g", [buildSubscriptionData("T", "a = 1", "SQL93", 7)]);
    assert.equal(filters.get("T", "g"), null);
  });

  it("marks dead what is not subscribed any more, and revives it", () => {
    const filters = manager();
    const both = [sql("T", "a = 1", 5), sql("U", "a = 1", 5)];
    filters.register("g", both);
    filters.register("g", [both[0]!]);
    const dead = (topic: string) => filters.get(topic, "g")!.deadTime >= filters.get(topic, "g")!.bornTime;
    assert.deepEqual([dead("T"), dead("U")], [false, true]);
    filters.register("g", both);
    assert.equal(dead("U"), false);
    filters.unRegister("g");
    assert.deepEqual([dead("T"), dead("U")], [true, true]);
    assert.equal(filters.getByGroup("g").length, 2);
  });

  it("writes 10 s after a change, at rest has no timer, and drops what is dead for a day", async () => {
    const filters = manager();
    filters.register("plain", [buildSubscriptionData("T", "*")]);
    assert.equal(clock.timers, 0);
    filters.register("g", [sql("T", "a = 1", 5)]);
    filters.register("h", [sql("T", "a = 2", 5)]);
    assert.equal(clock.timers, 1);
    clock.advance(10_000);
    await filters.persist();
    assert.equal(clock.timers, 0);
    const read = () => JSON.parse(readFileSync(join(directory, "consumerFilter.json"), "utf8"));
    assert.deepEqual(Object.keys(read().filterDataByTopic.T.groupFilterData), ["g", "h"]);
    filters.register("h", [sql("T", "a = 2", 5)]);
    assert.equal(clock.timers, 0);

    filters.unRegister("g");
    await filters.persist();
    assert.equal(read().filterDataByTopic.T.groupFilterData.g.dead, true);
    clock.advance(DAY_MS);
    filters.unRegister("h");
    await filters.stop();
    assert.deepEqual(Object.keys(read().filterDataByTopic.T.groupFilterData), ["h"]);
    assert.equal(filters.get("T", "g"), null);
    assert.equal(clock.timers, 0);
  });

  it("keeps filters over a restart, all of them dead until a heartbeat", async () => {
    const first = manager();
    first.register("g", [sql("T", "a = 1", 5)]);
    await first.stop();
    clock.advance(60_000);
    const second = manager();
    assert.equal(second.load(), "file");
    const data = second.get("T", "g")!;
    assert.equal(data.compiledExpression.matches(new Map([["a", "1"]])), true);
    assert.equal(data.deadTime, clock.now() - 30_000);
    second.register("g", [sql("T", "a = 1", 5)]);
    assert.equal(second.get("T", "g")!.deadTime, 0);
    await second.stop();
  });

  it("leaves out what it can't read, and keeps the rest", () => {
    const good = { topic: "T", consumerGroup: "g", expression: "a = 1", expressionType: "SQL92", bornTime: 1 };
    const groupFilterData = { g: good, h: { ...good, expression: "a =" }, i: 5, j: { ...good, topic: null } };
    writeFileSync(
      join(directory, "consumerFilter.json"),
      JSON.stringify({ filterDataByTopic: { T: { groupFilterData } } }),
    );
    const filters = manager();
    assert.equal(filters.load(), "file");
    assert.deepEqual(["g", "h", "i", "j"].map((group) => filters.get("T", group) !== null), [
      true,
      false,
      false,
      false,
    ]);
  });

  it("bounds all expressions together", () => {
    const filters = manager();
    const expression = `a = '${"x".repeat(65_000)}'`;
    for (let i = 0; i < 600; i++) filters.register(`g${i}`, [sql("T", expression, 5)]);
    assert.notEqual(filters.get("T", "g500"), null);
    assert.equal(filters.get("T", "g599"), null);
  });

  it("builds the filter of a pull that carries its subscription; null when it is none", () => {
    const filters = manager();
    assert.equal(
      filters.build("T", "g", sql("T", "a = 1", 0))?.compiledExpression.matches(new Map([["a", "1"]])),
      true,
    );
    assert.equal(filters.build("T", "g", sql("T", "a =", 0)), null);
    assert.equal(filters.build("T", "g", buildSubscriptionData("T", "TagA")), null);
    assert.equal(filters.get("T", "g"), null);
    assert.equal(filters.compile("a = 1"), filters.compile("a = 1"));
  });
});

describe("CHECK_CLIENT_CONFIG", () => {
  const ask = (enablePropertyFilter: boolean, body: string): RemotingCommand => {
    const filters = manager();
    const processor = filterProcessors({ config: { enablePropertyFilter }, filters }).get(46)!;
    const request = createRequest(46, {}, new TextEncoder().encode(body));
    return processor(request, {} as RequestContext) as RemotingCommand;
  };
  const body = (type: string, subString: string) =>
    JSON.stringify({ clientId: "c", group: "g", subscriptionData: { topic: "T", subString, expressionType: type } });

  it("answers what the consumer may start with", () => {
    assert.equal(ask(false, body("TAG", "TagA")).code, 0);
    assert.equal(ask(true, body("SQL92", "a > 5")).code, 0);
    assert.equal(ask(true, "").code, 0);
    assert.equal(ask(true, '{"clientId":"c"}').code, 0);
    const refused = ask(false, body("SQL92", "a > 5"));
    assert.equal(refused.code, 1);
    assert.equal(refused.remark, "The broker does not support consumer to filter message by SQL92");
    assert.throws(() => ask(true, body("SQL92", "a > 'x'")), { code: 23, message: /Invalid MessageSelector\. / });
    assert.throws(() => ask(true, body("SQL93", "a > 5")), { code: 23 });
    assert.throws(() => ask(true, "{"), { code: 1 });
  });
});
