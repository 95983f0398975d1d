// Registration bodies byte by byte: both forms, the shapes of 4.9 and of older brokers, and what is refused.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes, utf8 } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import {
  decodeDataVersion,
  decodeQueueDatas,
  decodeRegisterBrokerBody,
  INFLATED_MAX,
} from "../../src/namesrv/register_broker_body.ts";
import type { RegisterBrokerBody } from "../../src/namesrv/route_types.ts";
import { deflated, int32, part } from "./support.ts";

const V5 = 479;
const V4 = 407;

function decode(body: string | Uint8Array, version = V5, compressed = false): RegisterBrokerBody {
  return decodeRegisterBrokerBody(typeof body === "string" ? utf8.encode(body) : body, { compressed, version });
}

/** What a 5.3.3 broker sends, as it came off the wire; ids and most topics left out. */
const APACHE_5 = '{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":9,"stateVersion":0,' +
  '"timestamp":1795243848139},"mappingDataVersion":{"counter":0,"stateVersion":0,"timestamp":1795243661465},' +
  '"topicConfigTable":{"T":{"attributes":{},"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG",' +
  '"topicName":"T","topicSysFlag":0,"writeQueueNums":5}},"topicQueueMappingDetailMap":{},"topicQueueMappingInfoMap":{}}}';
const T = { topicName: "T", perm: 6, readQueueNums: 4, topicSysFlag: 0, writeQueueNums: 5 };
const VERSION_9 = { counter: 9, stateVersion: 0, timestamp: 1795243848139 };

describe("a registration that is not deflated", () => {
  it("reads what 5.3.3 sends", () => {
    assert.deepEqual(decode(APACHE_5), { dataVersion: VERSION_9, topics: [T], mappings: [], filterServerList: [] });
  });

  it("reads what 4.9 sends: no mappings, no attributes", () => {
    const body = '{"filterServerList":[],"topicConfigSerializeWrapper":{"dataVersion":{"counter":3,"timestamp":5},' +
      '"topicConfigTable":{"T":{"order":false,"perm":6,"readQueueNums":4,"topicFilterType":"SINGLE_TAG",' +
      '"topicName":"T","topicSysFlag":2,"writeQueueNums":5}}}}';
    assert.deepEqual(decode(body, V4), {
      dataVersion: { counter: 3, stateVersion: 0, timestamp: 5 },
      topics: [{ ...T, topicSysFlag: 2 }],
      mappings: [],
      filterServerList: [],
    });
  });

  it("reads the bare wrapper that brokers before 3.0.11 send, and nothing of a newer body by such a version", () => {
    const wrapper = '{"dataVersion":{"counter":1,"timestamp":2},"topicConfigTable":{"T":{"topicName":"T"}}}';
    const body = decode(wrapper, 36);
    assert.deepEqual(body.topics, [{
      topicName: "T",
      perm: 6,
      readQueueNums: 16,
      topicSysFlag: 0,
      writeQueueNums: 16,
    }]);
    assert.equal(body.filterServerList, null);
    assert.deepEqual(decode(APACHE_5, 0), { dataVersion: null, topics: [], mappings: [], filterServerList: null });
    assert.equal(decode("", 36).filterServerList, null);
  });

  it("takes no body for no topics in version 0", () => {
    const zero = { counter: 0, stateVersion: 0, timestamp: 0 };
    assert.deepEqual(decode(""), { dataVersion: zero, topics: [], mappings: [], filterServerList: [] });
  });

  it("takes what fastjson takes: members left out, texts for numbers, references, its own dialect", () => {
    assert.deepEqual(decode("{}"), { dataVersion: null, topics: [], mappings: [], filterServerList: [] });
    assert.deepEqual(decode('{"topicConfigSerializeWrapper":{"topicConfigTable":{"T":{"perm":"4"}}}}').topics, [
      { topicName: "T", perm: 4, readQueueNums: 16, topicSysFlag: 0, writeQueueNums: 16 },
    ]);
    const shared = '{"topicConfigSerializeWrapper":{"dataVersion":{"counter":7,"stateVersion":0,"timestamp":1},' +
      '"mappingDataVersion":{"$ref":"$.topicConfigSerializeWrapper.dataVersion"},topicConfigTable:{T:{perm:2}}}}';
    assert.equal(decode(shared).dataVersion?.counter, 7);
    assert.equal(decode(shared).topics[0]!.perm, 2);
    assert.equal(decode('{"topicConfigSerializeWrapper":null,"filterServerList":null}').topics.length, 0);
    assert.deepEqual(decode('{"filterServerList":["f:1"]}').filterServerList, ["f:1"]);
  });

  it("reads mappings of static topics, whose ids Java does not quote", () => {
    const info =
      '{"bname":"b","currIdMap":{0:0,2:1},"dirty":false,"epoch":1700,"scope":"__global__","topic":"S","totalQueues":4}';
    const { mappings } = decode(`{"topicConfigSerializeWrapper":{"topicQueueMappingInfoMap":{"S":${info}}}}`);
    assert.equal(mappings.length, 1);
    assert.deepEqual({ ...mappings[0], currIdMap: { ...mappings[0]!.currIdMap } }, {
      bname: "b",
      currIdMap: { 0: 0, 2: 1 },
      dirty: false,
      epoch: 1700,
      scope: "__global__",
      topic: "S",
      totalQueues: 4,
    });
  });

  it("refuses what no broker means", () => {
    const wrapper = (inner: string) => `{"topicConfigSerializeWrapper":{${inner}}}`;
    const table = (entry: string) => wrapper(`"topicConfigTable":{"T":${entry}}`);
    const cases: [string, RegExp][] = [
      ["[]", /^Body is a list of 0, wanted an object$/],
      ["null", /^Body is null, wanted an object$/],
      ["{", /wanted/],
      [wrapper('"topicConfigTable":[]'), /^topicConfigTable is a list of 0, wanted an object$/],
      [table("null"), /^An entry of topicConfigTable is null, wanted an object$/],
      [table('{"perm":1.5}'), /^perm is 1.5, wanted a 32-bit integer$/],
      [table('{"perm":2147483648}'), /^perm is 2147483648, wanted a 32-bit integer$/],
      [table('{"perm":true}'), /^perm is true, wanted/],
      [table('{"readQueueNums":"x"}'), /^readQueueNums is "x", wanted/],
      [table('{"topicName":""}'), /^topicName is "", wanted 1 to 1024 characters/],
      [table('{"topicName":"a\\nb"}'), /^topicName is "a\\nb", wanted/],
      [table(`{"topicName":"${"x".repeat(1025)}"}`), /^topicName is "x{80}…", wanted/],
      [table('{"topicName":7}'), /^topicName is 7, wanted/],
      [
        wrapper('"dataVersion":{"counter":9007199254740993}'),
        /^counter is \d+, wanted an integer of at most 2\^53 - 1$/,
      ],
      [wrapper('"dataVersion":{"timestamp":1e300}'), /^timestamp is 1e\+300, wanted/],
      [wrapper('"dataVersion":7'), /^dataVersion is 7, wanted an object$/],
      [wrapper('"topicQueueMappingInfoMap":{"S":{}}'), /^bname is missing, wanted/],
      [wrapper('"topicQueueMappingInfoMap":{"S":{"bname":"b","currIdMap":{"x":1}}}'), /^A queue id is "x", wanted/],
      ['{"filterServerList":{}}', /^filterServerList is an object, wanted a list of at most 64$/],
      [`{"filterServerList":[${Array(65).fill('"f"')}]}`, /^filterServerList is a list of 65, wanted/],
      ['{"filterServerList":[""]}', /^A filter server is "", wanted/],
    ];
    for (const [body, message] of cases) assert.throws(() => decode(body), { name: "ProtocolError", message }, body);
  });
});

const VERSION_JSON = '{"counter":9,"stateVersion":1,"timestamp":5}';

describe("a deflated registration", () => {
  const TOPICS = [
    part("T 4 5 6 SINGLE_TAG {}"),
    part('Typed 1 1 4 SINGLE_TAG {"message.type":"NORMAL"}'),
  ];

  it("reads 5.x's form, whatever the header says of it", () => {
    const mapping =
      '{"bname":"b","currIdMap":{0:0},"dirty":true,"epoch":1,"scope":"__global__","topic":"S","totalQueues":1}';
    const body = deflated(part(VERSION_JSON), int32(2), ...TOPICS, part('["f:1"]'), int32(1), part(mapping));
    assert.equal(body[0], 0x78);
    for (const compressed of [true, false]) {
      const { mappings, ...rest } = decode(body, V5, compressed);
      assert.deepEqual(rest, {
        dataVersion: { counter: 9, stateVersion: 1, timestamp: 5 },
        topics: [T, { topicName: "Typed", perm: 4, readQueueNums: 1, topicSysFlag: 0, writeQueueNums: 1 }],
        filterServerList: ["f:1"],
      });
      assert.deepEqual([mappings[0]!.topic, mappings[0]!.dirty], ["S", true]);
    }
  });

  it("reads 4.9's form: no attributes, no mappings", () => {
    const body = deflated(part(VERSION_JSON), int32(1), part("T 4 5 6 SINGLE_TAG"), part("[]"));
    assert.deepEqual(decode(body, V4, true).topics, [T]);
    assert.throws(() => decode(body, V5, true), /Body ends before its queue mappings, wanted 4 bytes more/);
    // Attributes with blanks in them.
    const blanks = deflated(part(VERSION_JSON), int32(1), part('T 4 5 6 SINGLE_TAG {"a":"b c"}'), part("[]"));
    assert.deepEqual(decode(blanks, V4, true).topics, [T]);
  });

  it("refuses every truncation, and lengths and counts beyond what is there", () => {
    const parts = concatBytes([part(VERSION_JSON), int32(2), ...TOPICS, part("[]"), int32(0)]);
    assert.equal(decode(deflated(parts)).topics.length, 2);
    for (let end = 0; end < parts.length; end++) {
      assert.throws(() => decode(deflated(parts.subarray(0, end))), ProtocolError, `cut at ${end}`);
    }
    const whole = deflated(parts);
    for (let end = 1; end < whole.length; end++) {
      assert.throws(() => decode(whole.subarray(0, end)), /is no zlib stream, wanted one/, `stream cut at ${end}`);
    }
    const cases: [Uint8Array[], RegExp][] = [
      [[int32(-1)], /Length of a data version is -1 with 0 bytes left/],
      [[int32(0x7fffffff)], /Length of a data version is 2147483647/],
      [[part(VERSION_JSON), int32(-5)], /Number of topics is -5/],
      [[part(VERSION_JSON), int32(0x7fffffff), part("[]")], /Number of topics is 2147483647 with 6 bytes left/],
      [[part(VERSION_JSON), int32(1), part("T 4 5 6")], /A topic is "T 4 5 6", wanted name/],
      [[part(VERSION_JSON), int32(1), part("T x 5 6 SINGLE_TAG")], /readQueueNums is "x"/],
      [[part(VERSION_JSON), int32(1), part(" 4 5 6 SINGLE_TAG")], /Topic name is ""/],
      [[part("7"), int32(0), part("[]"), int32(0)], /Data version is 7, wanted an object/],
      [[part(VERSION_JSON), int32(0), part("{"), int32(0)], /wanted/],
    ];
    for (const [body, message] of cases) assert.throws(() => decode(deflated(...body)), message);
    assert.throws(() => decode("{}", V5, true), /Body of 2 bytes is no zlib stream/);
  });

  it("inflates no more than its bound", () => {
    const bomb = deflated(new Uint8Array(INFLATED_MAX + 1));
    assert.ok(bomb.length < 64 * 1024);
    assert.throws(() => decode(bomb), new RegExp(`Body of ${bomb.length} bytes inflates to more than ${INFLATED_MAX}`));
  });
});

describe("other bodies of brokers", () => {
  it("a data version, or none", () => {
    assert.deepEqual(decodeDataVersion(utf8.encode(VERSION_JSON)), { counter: 9, stateVersion: 1, timestamp: 5 });
    assert.equal(decodeDataVersion(new Uint8Array(0)), null);
    assert.deepEqual(decodeDataVersion(utf8.encode('{"counter":"4"}')), { counter: 4, stateVersion: 0, timestamp: 0 });
    assert.throws(() => decodeDataVersion(utf8.encode('{"counter":{"value":4}}')), /counter is an object, wanted/);
    assert.throws(() => decodeDataVersion(utf8.encode("[]")), /Data version is a list of 0, wanted an object/);
  });

  it("the queues of one topic", () => {
    const body = (queueDatas: string) => utf8.encode(`{"brokerDatas":[],"queueDatas":${queueDatas}}`);
    assert.deepEqual(decodeQueueDatas(body('[{"brokerName":"b","perm":6,"readQueueNums":3,"writeQueueNums":2}]')), [
      { brokerName: "b", perm: 6, readQueueNums: 3, topicSysFlag: 0, writeQueueNums: 2 },
    ]);
    for (const none of [new Uint8Array(0), utf8.encode("{}"), body("null"), body("[]")]) {
      assert.deepEqual(decodeQueueDatas(none), []);
    }
    assert.throws(() => decodeQueueDatas(body("{}")), /queueDatas is an object, wanted a list/);
    assert.throws(() => decodeQueueDatas(body("[null]")), /An entry of queueDatas is null, wanted an object/);
    assert.throws(() => decodeQueueDatas(body("[{}]")), /brokerName is missing, wanted/);
  });
});
