import { before, describe, it } from "node:test";
import assert from "node:assert/strict";
import fc from "fast-check";
import { crc32 } from "node:zlib";
import { readInt32 } from "../../src/base/bytes.ts";
import {
  BLANK_MAGIC_CODE,
  createMessageId,
  decodeDispatchRequest,
  decodeMessage,
  decodeMessageId,
  MESSAGE_MAGIC_CODE,
  MESSAGE_MAGIC_CODE_V2,
} from "../../src/store/message_codec.ts";
import {
  isRefusal,
  type MessageEncoderOptions,
  prepareBatch,
  type PreparedMessage,
  prepareMessage,
  writeRecord,
} from "../../src/store/message_encoder.ts";
import {
  DelayLevels,
  formatProperties,
  javaHashCode,
  parseProperties,
  parsePropertiesText,
} from "../../src/store/message_properties.ts";
import type { MessageToPut, StoredMessage } from "../../src/store/types.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import { APACHE_STORES, logBytes, message } from "../support/store_fixtures.ts";

const OPTIONS: MessageEncoderOptions = { maxMessageSize: 4194304, enabledAppendPropCRC: false };
const WITH_CRC: MessageEncoderOptions = { ...OPTIONS, enabledAppendPropCRC: true };
const LEVELS = new DelayLevels();

function encode(
  from: MessageToPut,
  options = OPTIONS,
  place = { queueOffset: 3, physicalOffset: 1000, storeTimestamp: 1_700_000_001_000 },
): Uint8Array {
  const prepared = prepareMessage(from, options);
  assert(!isRefusal(prepared), JSON.stringify(prepared));
  const bytes = new Uint8Array(prepared.size);
  writeRecord(prepared, bytes, 0, place);
  return bytes;
}

function refusal(from: MessageToPut, options = OPTIONS): string {
  const prepared = prepareMessage(from, options);
  assert(isRefusal(prepared));
  return `${prepared.status} ${prepared.remark}`;
}

/** Offsets of the records in a log's bytes. */
function recordOffsets(bytes: Uint8Array): number[] {
  const offsets: number[] = [];
  for (let at = 0; at + 8 <= bytes.length && readInt32(bytes, at) > 0; at += readInt32(bytes, at)) {
    if (readInt32(bytes, at + 4) !== BLANK_MAGIC_CODE) offsets.push(at);
  }
  return offsets;
}

describe("records that Apache wrote", () => {
  let logs: { name: string; bytes: Uint8Array; puts: string[] }[];
  before(async () => {
    const { fs } = await loadRuntime();
    logs = ["plain", "crc"].map((name) => ({
      name,
      bytes: logBytes(fs, `${APACHE_STORES}/${name}/commitlog`),
      puts: new TextDecoder().decode(fs.readFile(`${APACHE_STORES}/${name}.txt`)!).trim().split("\n"),
    }));
  });

  it("decode to what was put", () => {
    for (const { bytes } of logs) {
      const messages = recordOffsets(bytes).map((at) => decodeMessage(bytes, at));
      const bodies = messages.map((one) => new TextDecoder().decode(one.body.subarray(0, 9)));
      assert.deepEqual(bodies.slice(0, 9), [
        "abc",
        "ipv6 body",
        "",
        "retry",
        "later",
        "prepared",
        "one",
        "two!",
        "three",
      ]);
      assert.equal(messages.length, 13);
      const [first, six, , retry, , prepared] = messages as StoredMessage[];
      assert.equal(first!.properties.get("KEYS"), "k1 k2");
      assert.equal(first!.properties.get("UNIQ_KEY"), "UK");
      assert.equal(first!.flag, 7);
      assert.equal(first!.reconsumeTimes, 2);
      assert.deepEqual([...first!.bornHost.address], [10, 1, 2, 3]);
      assert.equal(six!.bornHost.address.length, 16);
      assert.equal(six!.properties.get("TAGS"), "ä漢😀");
      assert.equal(retry!.topic, "%RETRY%" + "g".repeat(140));
      assert.equal(prepared!.preparedTransactionOffset, 4711);
    }
  });

  it("have the ids that Apache answered", () => {
    for (const { bytes, puts } of logs) {
      const ids = recordOffsets(bytes).map((at) => decodeMessage(bytes, at).msgId);
      const answered = puts.filter((line) => line.startsWith("PUT_OK")).flatMap((line) =>
        line.split(" ")[3]!.split(",")
      );
      assert.deepEqual(ids, answered);
    }
  });

  it("come out byte for byte when encoded again", () => {
    for (const { name, bytes } of logs) {
      for (const at of recordOffsets(bytes)) {
        const stored = decodeMessage(bytes, at);
        const again = encode(stored, name === "crc" ? WITH_CRC : OPTIONS, stored);
        assert.deepEqual(again, bytes.slice(at, at + stored.storeSize), `${name} at ${at}`);
      }
    }
  });

  it("come out byte for byte when the batch is encoded again", () => {
    for (const { name, bytes, puts } of logs) {
      const body = Uint8Array.from(
        puts.find((line) => line.startsWith("BATCHBODY"))!.split(" ")[1]!.match(/../g)!.map((hex) =>
          Number.parseInt(hex, 16)
        ),
      );
      const first = recordOffsets(bytes).map((at) => decodeMessage(bytes, at)).find((one) =>
        one.body.length === 3 && one.bornTimestamp % 1000 === 456
      )!;
      const shared = message({
        topic: "T",
        queueId: 0,
        properties: new Map([["CLUSTER", "c1"]]),
        bornTimestamp: first.bornTimestamp,
      });
      const prepared = prepareBatch(shared, body, name === "crc" ? WITH_CRC : OPTIONS) as PreparedMessage[];
      let at = first.physicalOffset;
      for (const [index, one] of prepared.entries()) {
        const record = new Uint8Array(one.size);
        writeRecord(one, record, 0, {
          queueOffset: first.queueOffset + index,
          physicalOffset: at,
          storeTimestamp: first.storeTimestamp,
        });
        assert.deepEqual(record, bytes.slice(at, at + one.size));
        at += one.size;
      }
      assert.equal(prepared.length, 3);
    }
  });

  it("give dispatch what Apache's queues hold", () => {
    const { bytes } = logs[0]!;
    const requests = recordOffsets(bytes).map((at) => decodeDispatchRequest(bytes, at, LEVELS));
    assert.equal(requests[0]!.tagsCode, 2598919);
    assert.equal(requests[0]!.keys, "k1 k2");
    assert.equal(requests[0]!.uniqKey, "UK");
    assert.equal(requests[2]!.tagsCode, 0);
    assert.equal(requests[2]!.uniqKey, null);
    assert.equal(requests[4]!.tagsCode, requests[4]!.storeTimestamp + 10_000);
    assert.deepEqual(requests.map((one) => one.commitLogOffset), recordOffsets(bytes));
  });
});

describe("message encoding", () => {
  it("makes the example of the format's description", () => {
    const bytes = encode(message({
      topic: "T",
      queueId: 0,
      body: new TextEncoder().encode("abc"),
      properties: new Map([["KEYS", "k1 k2"], ["UNIQ_KEY", "UK"], ["TAGS", "TagA"]]),
    }));
    const hex = Array.from(bytes.subarray(0, 20), (byte) => byte.toString(16).padStart(2, "0")).join("");
    assert.equal(hex, "00000080daa320a7352441c20000000000000000");
    assert.equal(new TextDecoder().decode(bytes.subarray(95)), "KEYS\x01k1 k2\x02UNIQ_KEY\x01UK\x02TAGS\x01TagA\x02");
  });

  it("brings back what went in, for any message", () => {
    const address = fc.constantFrom(4, 16).chain((size) => fc.uint8Array({ minLength: size, maxLength: size }));
    const host = fc.record({ address, port: fc.integer({ min: 0, max: 65535 }) }, { noNullPrototype: true });
    const name = fc.string({ unit: "grapheme", minLength: 1, maxLength: 12 }).filter((text) =>
      !/[\x01\x02]/.test(text) && text.isWellFormed()
    );
    const messages = fc.record({
      topic: name,
      queueId: fc.nat(),
      body: fc.uint8Array({ maxLength: 300 }),
      properties: fc.dictionary(name, name, { noNullPrototype: true }).map((object) => new Map(Object.entries(object))),
      flag: fc.integer(),
      sysFlag: fc.constantFrom(0, 1, 4, 8, 12),
      bornTimestamp: fc.nat(2 ** 48),
      bornHost: host,
      storeHost: host,
      reconsumeTimes: fc.nat(100),
      preparedTransactionOffset: fc.nat(2 ** 48),
    }, { noNullPrototype: true });
    fc.assert(fc.property(messages, fc.boolean(), (original, crc) => {
      fc.pre(!original.properties.has("__CRC32#") && !original.properties.has("INNER_NUM"));
      const bytes = encode(original, crc ? WITH_CRC : OPTIONS);
      const stored = decodeMessage(bytes);
      const hostBits = (original.bornHost.address.length === 16 ? 16 : 0) +
        (original.storeHost.address.length === 16 ? 32 : 0);
      const properties = new Map(stored.properties);
      assert.equal(properties.delete("__CRC32#"), crc);
      assert.deepEqual({ ...stored, properties }, {
        ...original,
        sysFlag: original.sysFlag | hostBits,
        storeSize: bytes.length,
        bodyCrc: crc32(original.body) & 0x7fffffff,
        queueOffset: (original.sysFlag & 4) !== 0 ? 0 : 3,
        physicalOffset: 1000,
        storeTimestamp: 1_700_000_001_000,
        msgId: createMessageId(original.storeHost, 1000),
      });
    }));
  });

  it("picks the version by the topic's bytes", () => {
    const magicOf = (topic: string) => readInt32(encode(message({ topic })), 4);
    assert.equal(magicOf("t".repeat(127)), MESSAGE_MAGIC_CODE);
    assert.equal(magicOf("%RETRY%" + "t".repeat(120)), MESSAGE_MAGIC_CODE);
    assert.equal(magicOf("%RETRY%" + "t".repeat(121)), MESSAGE_MAGIC_CODE_V2);
    // 67 characters, 127 bytes: Apache decides by characters and spoils the record.
    assert.equal(magicOf("%RETRY%" + "ä".repeat(61)), MESSAGE_MAGIC_CODE_V2);
    assert.equal(
      decodeMessage(encode(message({ topic: "%RETRY%" + "ä".repeat(61) }))).topic,
      "%RETRY%" + "ä".repeat(61),
    );
  });

  it("refuses what Apache refuses, and says why", () => {
    assert.match(
      refusal(message({ topic: "t".repeat(128) })),
      /^MESSAGE_ILLEGAL Topic has 128 bytes, wanted at most 127/,
    );
    assert.match(refusal(message({ topic: "%RETRY%" + "t".repeat(249) })), /^MESSAGE_ILLEGAL Topic has 256 bytes/);
    assert.match(refusal(message({ topic: "" })), /^MESSAGE_ILLEGAL/);
    assert.match(
      refusal(message({ body: new Uint8Array(101) }), { ...OPTIONS, maxMessageSize: 100 }),
      /^MESSAGE_ILLEGAL Body has 101/,
    );
    const exactly = (size: number) => message({ properties: new Map([["p", "x".repeat(size - 3)]]) });
    assert.equal(decodeMessage(encode(exactly(32767))).properties.get("p")?.length, 32764);
    assert.match(refusal(exactly(32768)), /^PROPERTIES_SIZE_EXCEEDED/);
    assert.match(refusal(exactly(32748), WITH_CRC), /^PROPERTIES_SIZE_EXCEEDED Properties have 32768/);
    assert.match(refusal(message({ properties: new Map([["INNER_NUM", "2"]]) })), /^MESSAGE_ILLEGAL/);
    assert.match(refusal(message({ sysFlag: 0x80 })), /^MESSAGE_ILLEGAL/);
    assert.match(refusal(message({ bornHost: { address: new Uint8Array(5), port: 1 } })), /^MESSAGE_ILLEGAL/);
  });

  it("drops a record CRC that came along", () => {
    const properties = new Map([["__CRC32#", "0000000000"], ["A", "b"]]);
    const stored = decodeMessage(encode(message({ properties }), WITH_CRC));
    assert.notEqual(stored.properties.get("__CRC32#"), "0000000000");
    assert.equal(decodeMessage(encode(message({ properties }))).properties.get("__CRC32#"), "0000000000");
  });

  it("refuses broken batches at every length", () => {
    const whole = Uint8Array.from([0, 0, 0, 24, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 65, 66, 0, 0]);
    const prepared = prepareBatch(message(), whole, OPTIONS);
    assert(!isRefusal(prepared));
    assert.equal(prepared[0]!.flag, 9);
    for (let size = 0; size < whole.length; size++) {
      assert(isRefusal(prepareBatch(message(), whole.subarray(0, size), OPTIONS)), `${size} bytes`);
    }
    const negative = whole.slice();
    negative[16] = 0xff;
    assert(isRefusal(prepareBatch(message(), negative, OPTIONS)));
    assert(isRefusal(prepareBatch(message({ sysFlag: 4 }), whole, OPTIONS)));
    assert(isRefusal(prepareBatch(message({ properties: new Map([["DELAY", "2"]]) }), whole, OPTIONS)));
    assert(isRefusal(prepareBatch(message(), whole, { ...OPTIONS, maxMessageSize: 23 })));
    // Properties that all share, kept once in memory, count once for each in the log.
    const many = message({ properties: new Map([["A", "x".repeat(30_000)]]) });
    const all = prepareBatch(many, new Uint8Array(22 * 4400), OPTIONS);
    assert(!isRefusal(all) && all.every(({ properties }) => properties === all[0]!.properties));
    assert(isRefusal(prepareBatch(many, new Uint8Array(22 * 4500), OPTIONS)));
  });
});

describe("properties", () => {
  it("reads the same out of a text as out of its bytes, whatever they are", () => {
    const byte = fc.oneof(fc.constantFrom(1, 2, 65, 0xc3, 0xe2, 0x82, 0xff), fc.nat(255));
    fc.assert(fc.property(fc.array(byte, { maxLength: 60 }), (list) => {
      const bytes = Uint8Array.from(list);
      assert.deepEqual([...parsePropertiesText(new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes))], [
        ...parseProperties(bytes),
      ]);
    }));
  });

  it("are read as leniently as Apache reads them", () => {
    const read = (text: string) => Object.fromEntries(parseProperties(new TextEncoder().encode(text)));
    assert.deepEqual(read("a\x01b\x02c\x01d"), { a: "b", c: "d" });
    assert.deepEqual(read("a\x01b\x02a\x01c\x02"), { a: "c" });
    assert.deepEqual(read("\x02\x02a\x01\x02\x01b\x02ab\x02x\x01y\x01z\x02"), { x: "y\x01z" });
    assert.deepEqual(read(""), {});
  });

  it("are written with a separator at the end", () => {
    assert.equal(new TextDecoder().decode(formatProperties(new Map([["a", "b"], ["c", "ä"]]))), "a\x01b\x02c\x01ä\x02");
  });

  it("hash as Java does", () => {
    assert.equal(javaHashCode("TagA"), 2598919);
    assert.equal(javaHashCode("polygenelubricants"), -2147483648);
    assert.equal(
      javaHashCode("ä漢😀"),
      [228, 28450, 55357, 56832].reduce((hash, unit) => (Math.imul(hash, 31) + unit) | 0, 0),
    );
  });

  it("know the delay levels", () => {
    assert.equal(LEVELS.deliverTimestamp(1, 1000), 2000);
    assert.equal(LEVELS.deliverTimestamp(18, 0), 7_200_000);
    assert.equal(LEVELS.deliverTimestamp(99, 0), 7_200_000);
    assert.equal(LEVELS.deliverTimestamp(0, 0), null);
    assert.equal(LEVELS.deliverTimestamp(Number.NaN, 0), null);
    assert.throws(() => new DelayLevels("1s 5x"), RangeError);
  });
});

describe("message ids", () => {
  it("are written as Apache writes them, and read back", () => {
    const id = createMessageId({ address: Uint8Array.of(127, 0, 0, 1), port: 39653 }, 255);
    assert.equal(id, "7F00000100009AE500000000000000FF");
    assert.equal(decodeMessageId(id)!.physicalOffset, 255);
    assert.equal(decodeMessageId(id)!.host.port, 39653);
    const six = createMessageId({ address: new Uint8Array(16).fill(0xab), port: 1 }, 2 ** 40);
    assert.equal(six.length, 56);
    assert.equal(decodeMessageId(six)!.physicalOffset, 2 ** 40);
  });

  it("are refused when they are none", () => {
    for (
      const text of ["", "7F", "x".repeat(32), "7F00000100009AE5FFFFFFFFFFFFFFFF", "7F00000100009AE57FFFFFFFFFFFFFFF"]
    ) {
      assert.equal(decodeMessageId(text), null, text);
    }
  });
});
