// Every row of what fastjson 1.2.83 (RocketMQ 5.3.3) and 1.2.69 (4.9.x) write and accept: read here as Java would, and
// written so that Java reads it. What a reader makes of a value (a number in quotes, an enum's ordinal) is the reader's.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  type JavaJson,
  type JavaJsonMap,
  type JavaJsonObject,
  javaJsonObject,
  parseJavaJson,
  WIRE_FORMAT,
  withIntegerKeys,
  withObjectKeys,
  writeJavaJson,
} from "../../src/remoting/java_json.ts";

const JAVA_WIRE = { pretty: false, quoteIntegerKeys: false };
const read = (text: string) => parseJavaJson(text) as JavaJsonObject;
const write = (value: JavaJson) => writeJavaJson(value, WIRE_FORMAT);
const javaWrites = (value: JavaJson) => writeJavaJson(value, JAVA_WIRE);

describe("maps with integer keys", () => {
  it("come bare or quoted, beyond 2^53 too, and are written quoted, as every version takes it", () => {
    const bare = read('{"offsetTable":{0:10,-1:12,9223372036854775807:1}}').offsetTable as JavaJsonMap;
    assert.deepEqual([...bare], [[0, 10], [-1, 12], [9223372036854775807n, 1]]);
    assert.deepEqual(withIntegerKeys(read('{"0":10,"-1":12}')), new Map([[0, 10], [-1, 12]]));
    assert.equal(write(bare), '{"0":10,"-1":12,"9223372036854775807":1}');
    assert.equal(javaWrites(bare), "{0:10,-1:12,9223372036854775807:1}");
    assert.equal(write(read('{"brokerAddrs":{0:"a:1",1:"b:1"}}')), '{"brokerAddrs":{"0":"a:1","1":"b:1"}}');
  });

  it("stay objects where a topic is named by a number", () => {
    assert.deepEqual(Object.keys(read('{"topicConfigTable":{"1":{},"T":{}}}').topicConfigTable!), ["1", "T"]);
  });
});

describe("maps with MessageQueue keys", () => {
  const asObject = '{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:{"maxOffset":5}}}';
  const asText = '{"offsetTable":{"{\\"brokerName\\":\\"b\\",\\"queueId\\":0,\\"topic\\":\\"T\\"}":{"maxOffset":5}}}';

  it("come with objects or their texts as keys, and are written with objects", () => {
    for (const text of [asObject, asText]) {
      const table = withObjectKeys(read(text).offsetTable!) as JavaJsonMap;
      assert.deepEqual([...table].map(([key, value]) => [{ ...(key as object) }, { ...(value as object) }]), [
        [{ brokerName: "b", queueId: 0, topic: "T" }, { maxOffset: 5 }],
      ]);
      assert.equal(write(javaJsonObject({ offsetTable: table })), asObject);
    }
  });

  it("are told from maps of other names", () => {
    for (const text of ['{"{":1}', '{"{}x":1}', '{"[1]":1}', '{"{\\"a\\":1}":1,"T":2}', '{"5":1}', "[1]", '"x"']) {
      const value = parseJavaJson(text);
      assert.equal(withObjectKeys(value), value, text);
    }
    assert.deepEqual(withObjectKeys(parseJavaJson("{}")), new Map());
  });
});

describe("an object met twice", () => {
  it("is a reference, as one subscription of two groups in a heartbeat", () => {
    const heartbeat = read(
      '{"clientID":"c","consumerDataSet":[{"groupName":"A","subscriptionDataSet":[{"codeSet":[2598919],"topic":"T"}]},' +
        '{"groupName":"B","subscriptionDataSet":[{"$ref":"$.consumerDataSet[0].subscriptionDataSet[0]"}]}]}',
    );
    const groups = heartbeat.consumerDataSet as JavaJsonObject[];
    assert.deepEqual(groups[1]!.subscriptionDataSet, groups[0]!.subscriptionDataSet);
    assert.ok(!write(heartbeat).includes("$ref"));
  });

  it("may stand in a map with bare keys, and be behind a name with dots", () => {
    const table = read('{"a.b":{"x":[7]},"t":{0:{"$ref":"$.a\\\\.b.x"},1:{"$ref":"$.t[0]"}}}');
    assert.equal(javaWrites(table.t!), "{0:[7],1:[7]}");
  });
});

describe("nulls", () => {
  it("are read as they are, and never written as members: Java would overwrite a default with them", () => {
    assert.equal(read('{"a":null,"b":{0:null}}').a, null);
    assert.equal(write(read('{"a":null,"b":{0:null,1:2},"c":[null,1],"d":null}')), '{"b":{"1":2},"c":[null,1]}');
    assert.equal(write(javaJsonObject({ a: null })), "{}");
  });
});

describe("values", () => {
  it("keep their kind: numbers in quotes and bare ones, names and ordinals of enums, booleans", () => {
    const text = '{"order":false,"perm":"6","queueId":7,"topicFilterType":0,"withoutSub":true,"x":"SINGLE_TAG"}';
    assert.equal(write(read(text)), text);
  });

  it("are exact: AtomicLong, timestamps, offsets", () => {
    const text = '{"counter":4,"stateVersion":-9223372036854775808,"timestamp":1795245003323,"z":9007199254740993}';
    assert.equal(write(read(text)), text);
  });

  it("are floats in Java's notation, and in ours, which Java takes", () => {
    assert.deepEqual(parseJavaJson("[0.0,1.5,1.0E20,1.0E-5,-2.5E+3]"), [0, 1.5, 1e20, 0.00001, -2500]);
    assert.equal(write([0, 1.5, 1e21, -0.25, 1e-7]), "[0,1.5,1e+21,-0.25,1e-7]");
  });

  it("are texts with control characters escaped, the slash and what is not ASCII as they are", () => {
    const text = '"\\t\\n\\"\\\\\\u0001/é\u4e2d\ud83d\ude00"';
    assert.equal(write(parseJavaJson(text)), text);
    assert.equal(parseJavaJson('"\\/\\u00e9\\b\\f\\r"'), "/é\b\f\r");
    assert.equal(parseJavaJson('"KEYS\\u0001k\\u0002TAGS\\u0001a"'), "KEYS\u0001k\u0002TAGS\u0001a");
  });
});

describe("order and unknown members", () => {
  it("do not matter when reading; the writer keeps the order it is given", () => {
    assert.deepEqual({ ...read('{"z":1,"unknown":{"deep":[{}]},"a":2}') }, {
      z: 1,
      unknown: read('{"deep":[{}]}'),
      a: 2,
    });
    assert.equal(write(javaJsonObject({ a: 1, z: 2 })), '{"a":1,"z":2}');
  });
});
