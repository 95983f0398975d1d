// Subscriptions as headers and heartbeats carry them, and what they let through.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BloomFilter } from "../../../src/broker/filter/bloom_filter.ts";
import { expressionMessageFilter, MATCH_ALL } from "../../../src/broker/filter/expression_message_filter.ts";
import type { ConsumerFilterData } from "../../../src/broker/filter/consumer_filter_manager.ts";
import { parseSql92 } from "../../../src/broker/filter/sql92_parser.ts";
import { buildSubscriptionData, readSubscriptionData } from "../../../src/broker/filter/subscription_data.ts";
import { parseJavaJson } from "../../../src/remoting/java_json.ts";

function filterData(expression: string): ConsumerFilterData {
  return {
    topic: "T",
    consumerGroup: "g",
    expression,
    expressionType: "SQL92",
    compiledExpression: parseSql92(expression),
    clientVersion: 1,
    bornTime: 1,
    deadTime: 0,
  };
}

describe("SubscriptionData", () => {
  it("is built from a pull's header", () => {
    assert.deepEqual(buildSubscriptionData("T", " TagA|| TagB ||||TagA", "TAG", 7), {
      topic: "T",
      subString: " TagA|| TagB ||||TagA",
      tagsSet: ["TagA", "TagB"],
      codeSet: [2598919, 2598920],
      subVersion: 7,
      expressionType: "TAG",
      classFilterMode: false,
    });
    for (const all of ["*", "", null, undefined]) assert.equal(buildSubscriptionData("T", all).subString, "*");
    const sql = buildSubscriptionData("T", "a > 5", "SQL92");
    assert.deepEqual([sql.expressionType, sql.subString, sql.codeSet], ["SQL92", "a > 5", []]);
    assert.throws(() => buildSubscriptionData("T", "||"), { code: 23 });
    assert.throws(() => buildSubscriptionData("T", "", "SQL92"), { code: 23 });
  });

  it("is read from a heartbeat, with the hashes that the client made", () => {
    const text = `{"classFilterMode":false,"codeSet":[5,"6"],"expressionType":"TAG","subString":"TagA",
      "subVersion":1795243731013,"tagsSet":["TagA"],"topic":"T"}`;
    assert.deepEqual(readSubscriptionData(parseJavaJson(text)), {
      topic: "T",
      subString: "TagA",
      tagsSet: ["TagA"],
      codeSet: [5, 6],
      subVersion: 1_795_243_731_013,
      expressionType: "TAG",
      classFilterMode: false,
    });
    assert.deepEqual(readSubscriptionData(parseJavaJson('{"topic":"T","expressionType":null,"codeSet":{"0":1}}')), {
      topic: "T",
      subString: "",
      tagsSet: [],
      codeSet: [],
      subVersion: 0,
      expressionType: "TAG",
      classFilterMode: false,
    });
    for (const text of ["{}", "[]", '{"topic":""}', "null"]) {
      assert.throws(() => readSubscriptionData(parseJavaJson(text)), { code: 1 });
    }
  });
});

describe("expressionMessageFilter", () => {
  it("matches tags by their hash alone", () => {
    const filter = expressionMessageFilter(buildSubscriptionData("T", "TagA || TagB"), null, null);
    assert.equal(filter.needsProperties, false);
    assert.equal(filter.isMatchedByConsumeQueue(2598919), true);
    assert.equal(filter.isMatchedByConsumeQueue(2598919 + 2 ** 33), true);
    assert.equal(filter.isMatchedByConsumeQueue(0), false);
    assert.equal(filter.isMatchedByConsumeQueue(null), true);
    assert.equal(expressionMessageFilter(buildSubscriptionData("T", "*"), null, null), MATCH_ALL);
    const ofClass = { ...buildSubscriptionData("T", "TagA"), classFilterMode: true };
    assert.equal(expressionMessageFilter(ofClass, null, null), MATCH_ALL);
  });

  it("matches SQL92 by properties; without a filter everything passes", () => {
    const sub = buildSubscriptionData("T", "n > 5", "SQL92");
    const filter = expressionMessageFilter(sub, filterData("n > 5"), null);
    assert.equal(filter.needsProperties, true);
    assert.equal(filter.isMatchedByConsumeQueue(1), true);
    assert.equal(filter.isMatchedByCommitLog(new Map([["n", "6"]])), true);
    assert.equal(filter.isMatchedByCommitLog(new Map([["n", "5"]])), false);
    assert.equal(filter.isMatchedByCommitLog(new Map([["n", "x"]])), false);
    assert.equal(filter.isMatchedByCommitLog(new Map()), false);
    assert.equal(expressionMessageFilter(sub, null, null), MATCH_ALL);
  });

  it("filters retried messages by the filter of their own topic, when asked to", () => {
    const sub = buildSubscriptionData("%RETRY%g", "whatever", "SQL92");
    const asked: string[] = [];
    const lookup = {
      get(topic: string, group: string) {
        asked.push(`${topic}@${group}`);
        return topic === "T" ? filterData("n > 5") : null;
      },
    };
    const filter = expressionMessageFilter(sub, null, lookup);
    assert.equal(filter.isMatchedByCommitLog(new Map([["RETRY_TOPIC", "T"], ["n", "5"]])), false);
    assert.equal(filter.isMatchedByCommitLog(new Map([["RETRY_TOPIC", "T"], ["n", "6"]])), true);
    assert.equal(filter.isMatchedByCommitLog(new Map([["RETRY_TOPIC", "other"], ["n", "5"]])), true);
    assert.equal(filter.isMatchedByCommitLog(new Map([["n", "5"]])), true);
    assert.deepEqual(asked, ["T@g", "T@g", "other@g"]);
    assert.equal(expressionMessageFilter(sub, null, null), MATCH_ALL);
  });
});

describe("BloomFilter", () => {
  it("has Apache's size and positions", () => {
    const bloom = new BloomFilter(20, 32);
    assert.deepEqual([bloom.k, bloom.m], [3, 112]);
    assert.deepEqual(bloom.generate("CG#T"), { bitPos: [0, 73, 34], bitNum: 112 });
    assert.deepEqual(bloom.generate("group_a#TopicTest"), { bitPos: [85, 53, 80], bitNum: 112 });
  });
});
