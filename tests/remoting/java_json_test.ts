// fastjson's dialect: the samples of the specifications, both written forms, and what must be refused.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { ProtocolError } from "../../src/base/errors.ts";
import {
  FILE_FORMAT,
  type JavaJson,
  type JavaJsonMap,
  type JavaJsonObject,
  javaJsonObject,
  parseJavaJson,
  WIRE_FORMAT,
  withIntegerKeys,
  writeJavaJson,
} from "../../src/remoting/java_json.ts";

/** Compact, integer keys bare: as Java sends it. */
const JAVA_WIRE = { pretty: false, quoteIntegerKeys: false };

const SAMPLES = [
  '{"dataVersion":{"counter":3,"stateVersion":0,"timestamp":1795245003323},"topicConfigTable":{"TopicTest":{"attributes":{},"order":false,"perm":6,"readQueueNums":2,"topicFilterType":"SINGLE_TAG","topicName":"TopicTest","topicSysFlag":0,"writeQueueNums":2}}}',
  '{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":1795244985430},"groupTopicMap":{"cg":["TopicTest"]},"offsetTable":{"TopicTest@cg":{0:10,1:10}}}',
  '{"dataVersion":{"counter":2,"stateVersion":0,"timestamp":1795245003321},"forbiddenTable":{},"subscriptionGroupTable":{"cg":{"attributes":{},"brokerId":0,"groupName":"cg","groupRetryPolicy":{"type":"CUSTOMIZED"},"retryMaxTimes":16}}}',
  '{"dataVersion":{"counter":0,"stateVersion":0,"timestamp":1795244985508},"offsetTable":{1:1}}',
  '{"filterDataByTopic":{"TopicTest":{"groupFilterData":{"cgsql":{"bloomFilterData":{"bitNum":112,"bitPos":[84,19,20]},"bornTime":1795245003348,"dead":false,"expression":"a > 3","topic":"TopicTest"}},"topic":"TopicTest"}}}',
  '{"table":{}}',
  '{"messageRequestModeMap":{"T":{"g":{"consumerGroup":"g","mode":"PULL","popShareQueueNum":0,"topic":"T"}}}}',
  '{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"lastUpdateTimestamp":0,"maxOffset":5,"minOffset":0}}}',
  '{"brokerAddrTable":{"broker-a":{"brokerAddrs":{0:"h:p",1:"h:p"},"brokerName":"broker-a","cluster":"C","enableActingMaster":false}},"clusterAddrTable":{"C":["broker-a"]}}',
  "{}",
  "[]",
  "[1,[2,{}],null,true,-0.5]",
];

describe("java_json", () => {
  it("reads every sample of the specifications and writes it back unchanged", () => {
    for (const text of SAMPLES) assert.equal(writeJavaJson(parseJavaJson(text), JAVA_WIRE), text);
  });

  it("writes the form of config files that fastjson 1.2.83 writes", () => {
    const document = parseJavaJson(
      '{"el":[],"empty":{},"list":[{"a":1},{"b":2}],"offsetTable":{"T2@g":{},"T@g":{0:10,1:9007199254740993}},' +
        '"om":{{"q":1}:"v"},"s":"é/\\t\\"\\\\\\u0001","set":["x","y"]}',
    );
    const pretty =
      '{\n\t"el":[],\n\t"empty":{},\n\t"list":[\n\t\t{\n\t\t\t"a":1\n\t\t},\n\t\t{\n\t\t\t"b":2\n\t\t}\n\t],\n' +
      '\t"offsetTable":{\n\t\t"T2@g":{},\n\t\t"T@g":{0:10,1:9007199254740993\n\t\t}\n\t},\n' +
      '\t"om":{{\n\t\t\t"q":1\n\t\t}:"v"\n\t},\n\t"s":"é/\\t\\"\\\\\\u0001",\n\t"set":["x","y"]\n}';
    assert.equal(writeJavaJson(document, FILE_FORMAT), pretty);
    assert.equal(writeJavaJson(parseJavaJson(pretty), FILE_FORMAT), pretty);
  });

  it("quotes integer keys on the wire, so that JSON.parse takes it", () => {
    const text = writeJavaJson(parseJavaJson('{"offsetTable":{"T@g":{0:10,1:12}}}'), WIRE_FORMAT);
    assert.deepEqual(JSON.parse(text), { offsetTable: { "T@g": { 0: 10, 1: 12 } } });
  });

  it("tells integer keys from quoted ones, which name topics", () => {
    const parsed = parseJavaJson('{"a":{0:1},"b":{"0":1}}') as JavaJsonObject;
    assert.ok(parsed.a instanceof Map);
    assert.equal((parsed.a as JavaJsonMap).get(0), 1);
    assert.equal((parsed.b as JavaJsonObject)["0"], 1);
    assert.deepEqual(withIntegerKeys(parsed.b!), parsed.a);
    assert.equal(withIntegerKeys("x"), "x");
    const named = javaJsonObject({ "12": 1, x: 2 });
    assert.equal(withIntegerKeys(named), named);
  });

  it("keeps 64-bit integers exact", () => {
    const text = '{"a":9223372036854775807,"b":-9223372036854775808,"c":9007199254740991,"d":0}';
    const parsed = parseJavaJson(text) as JavaJsonObject;
    assert.equal(parsed.a, 9223372036854775807n);
    assert.equal(parsed.c, Number.MAX_SAFE_INTEGER);
    assert.equal(writeJavaJson(parsed, JAVA_WIRE), text);
  });

  it("resolves $ref", () => {
    const text =
      '{"a":[{"x":{"n":1}}],"b":{"$ref":"$.a[0].x"},"c":[{"$ref":"$.b"}],"d.e":{"v":2},"f":{"$ref":"$.d\\\\.e"}}';
    const parsed = parseJavaJson(text);
    const written = writeJavaJson(parsed, JAVA_WIRE);
    assert.equal(written, '{"a":[{"x":{"n":1}}],"b":{"n":1},"c":[{"n":1}],"d.e":{"v":2},"f":{"v":2}}');
    const inMap = parseJavaJson('{"t":{0:{"n":1},1:{"$ref":"$.t[0]"}}}');
    assert.equal(writeJavaJson(inMap, JAVA_WIRE), '{"t":{0:{"n":1},1:{"n":1}}}');
  });

  it("bounds what references can blow up to", () => {
    let text = '{"k0":["aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"]';
    for (let i = 1; i < 40; i++) text += `,"k${i}":[{"$ref":"$.k${i - 1}"},{"$ref":"$.k${i - 1}"}]`;
    assert.throws(() => parseJavaJson(text + "}"), /stands for \d+ characters by its references, wanted at most/);
    const shared = ["x".repeat(1 << 20)];
    assert.throws(() => writeJavaJson(Array.from({ length: 65 }, () => shared), WIRE_FORMAT), RangeError);
  });

  it("refuses references that lead into themselves or go too deep, takes those that share", () => {
    assert.throws(() => parseJavaJson('{"a":{"b":{"$ref":"$.a"}}}'), /nested deeper than 64 levels by its references/);
    let chain = '{"k0":[]';
    for (let i = 1; i < 70; i++) chain += `,"k${i}":[{"$ref":"$.k${i - 1}"}]`;
    assert.throws(() => parseJavaJson(chain + "}"), /nested deeper/);
    const shared = parseJavaJson('{"a":{"x":1},"b":[{"$ref":"$.a"},{"$ref":"$.a"}]}');
    assert.equal(writeJavaJson(shared, JAVA_WIRE), '{"a":{"x":1},"b":[{"x":1},{"x":1}]}');
  });

  it("takes what fastjson takes beyond the standard", () => {
    assert.equal(writeJavaJson(parseJavaJson(' {a : 1, "b":[1,2,],}\n'), JAVA_WIRE), '{"a":1,"b":[1,2]}');
    assert.equal(parseJavaJson('"\\x41\\n\\x42\\\'\\\\x"'), "A\nB'\\x");
    assert.equal(parseJavaJson('"tab\there"'), "tab\there");
    assert.equal(parseJavaJson('\ufeff "x"'), "x");
    assert.equal(parseJavaJson("1.0E2"), 100);
  });

  it("treats __proto__ as a key like any other", () => {
    const parsed = parseJavaJson('{"__proto__":{"polluted":true},"constructor":1}') as JavaJsonObject;
    assert.equal(({} as Record<string, unknown>).polluted, undefined);
    assert.equal(writeJavaJson(parsed, JAVA_WIRE), '{"__proto__":{"polluted":true},"constructor":1}');
  });

  it("refuses what is none, at every truncation and with any depth", () => {
    const bad = [
      "",
      "{",
      "}",
      '{"a"}',
      '{"a":}',
      '{"a" 1}',
      "[1 2]",
      '"',
      '"\\',
      '"\\q"',
      "tru",
      "1x",
      "{}x",
      "nul",
      '{"$ref":"$"}',
    ];
    bad.push('{"a":{"$ref":"$.zz"}}', '{"a":{"$ref":".."}}', '{"a":{"$ref":"@"}}', '{{"$ref":"$.a"}:1}', "+1", "NaN");
    bad.push("[".repeat(100_000), '{"a":'.repeat(100_000), "{".repeat(100_000));
    for (const text of bad) assert.throws(() => parseJavaJson(text), ProtocolError, text.slice(0, 40));
    const sample = SAMPLES[1]!;
    for (let size = 0; size < sample.length; size++) {
      assert.throws(() => parseJavaJson(sample.slice(0, size)), ProtocolError);
    }
  });

  it("reads a long string at once", () => {
    const text = "x".repeat(4_000_000);
    assert.equal((parseJavaJson(`["${text}\\n"]`) as JavaJson[])[0], text + "\n");
  });
});
