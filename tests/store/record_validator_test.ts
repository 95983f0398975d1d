import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { crc32 } from "node:zlib";
import { writeInt32, writeInt64 } from "../../src/base/bytes.ts";
import { BLANK_MAGIC_CODE } from "../../src/store/message_codec.ts";
import { isRefusal, prepareMessage, writeRecord } from "../../src/store/message_encoder.ts";
import { formatProperties } from "../../src/store/message_properties.ts";
import {
  isTorn,
  recordSizeMax,
  RecordValidator,
  type RecordValidatorOptions,
  RecordVerdict,
} from "../../src/store/record_validator.ts";
import type { MessageToPut } from "../../src/store/types.ts";
import { message } from "../support/store_fixtures.ts";

const FILE_SIZE = 4096;
const OFFSET = 3 * FILE_SIZE + 100;
const { OK, BLANK, PARTIAL, REJECT } = RecordVerdict;

function validator(overrides: Partial<RecordValidatorOptions> = {}): RecordValidator {
  const sizes = { mappedFileSize: FILE_SIZE, recordSizeMax: FILE_SIZE };
  const defaults = { ...sizes, checkCRC: true, checkPropCRC: true, forceVerifyPropCRC: false };
  return new RecordValidator({ ...defaults, ...overrides });
}

function record(
  overrides: Partial<MessageToPut> = {},
  enabledAppendPropCRC = false,
  physicalOffset = OFFSET,
): Uint8Array {
  const prepared = prepareMessage(message(overrides), { maxMessageSize: 4194304, enabledAppendPropCRC });
  assert(!isRefusal(prepared));
  const bytes = new Uint8Array(prepared.size);
  writeRecord(prepared, bytes, 0, { queueOffset: 5, physicalOffset, storeTimestamp: 1_700_000_000_000 });
  return bytes;
}

const V6 = { address: new Uint8Array(16).fill(0x20), port: 80 };
const SHAPES: Record<string, Partial<MessageToPut>> = {
  plain: {},
  empty: { body: new Uint8Array(0), properties: new Map() },
  "IPv6": { bornHost: V6, storeHost: V6 },
  "born IPv6": { bornHost: V6 },
  "version 2": { topic: "%RETRY%" + "g".repeat(200) },
};

describe("record validation", () => {
  it("accepts whole records, and asks for more at every truncation", () => {
    for (const [name, shape] of Object.entries(SHAPES)) {
      for (const crc of [false, true]) {
        const bytes = record(shape, crc);
        const check = validator();
        for (let size = 0; size < bytes.length; size++) {
          assert.equal(check.check(bytes, 0, size, OFFSET), PARTIAL, `${name}, ${size} bytes`);
          assert.equal(check.size, size < 8 ? 0 : bytes.length);
        }
        assert.equal(check.check(bytes, 0, bytes.length, OFFSET), OK, name);
        assert.equal(check.size, bytes.length);
      }
    }
  });

  it("reads from any position, with bytes behind", () => {
    const bytes = new Uint8Array(2000).fill(0xee);
    const one = record();
    bytes.set(one, 777);
    const check = validator();
    assert.equal(check.check(bytes, 777, 2000, OFFSET), OK);
    assert.equal(check.size, one.length);
  });

  it("rejects every flipped bit of a record with __CRC32#", () => {
    for (const [name, shape] of Object.entries(SHAPES)) {
      const bytes = record(shape, true);
      const check = validator();
      for (let bit = 0; bit < bytes.length * 8; bit++) {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        assert.equal(check.check(bytes, 0, bytes.length, OFFSET), REJECT, `${name}, bit ${bit} of byte ${bit >> 3}`);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      }
    }
  });

  it("rejects every flipped bit of what a record without __CRC32# lets it check", () => {
    const bytes = record();
    const check = validator();
    const bodyAt = 88;
    // totalSize, magic, bodyCRC; physicalOffset; bodyLength, body
    const checked = [[0, 12], [28, 36], [84, bodyAt + 5]];
    for (const [from, to] of checked) {
      for (let bit = from! * 8; bit < to! * 8; bit++) {
        bytes[bit >> 3]! ^= 1 << (bit & 7);
        assert.equal(check.check(bytes, 0, bytes.length, OFFSET), REJECT, `byte ${bit >> 3}`);
        bytes[bit >> 3]! ^= 1 << (bit & 7);
      }
    }
  });

  it("names reason and field", () => {
    const cases: [string, string, (bytes: Uint8Array) => void, number?][] = [
      ["badRecord", "magic", (bytes) => writeInt32(bytes, 4, 7)],
      ["badRecord", "totalSize", (bytes) => writeInt32(bytes, 0, 90)],
      ["badRecord", "totalSize", (bytes) => writeInt32(bytes, 0, -1)],
      ["badRecord", "totalSize", (bytes) => writeInt32(bytes, 0, FILE_SIZE + 1)],
      ["fileSizeMismatch", "totalSize", (bytes) => writeInt32(bytes, 0, FILE_SIZE - 100)],
      ["badPhysicalOffset", "physicalOffset", (bytes) => writeInt64(bytes, 28, OFFSET + 1)],
      ["badRecord", "bodyLength", (bytes) => writeInt32(bytes, 84, -1)],
      ["badRecord", "bodyLength", (bytes) => writeInt32(bytes, 84, 0x7fffffff)],
      ["badRecord", "topicLength", (bytes) => bytes[93] = 0x80],
      ["badRecord", "topicLength", (bytes) => bytes[93] = 0x7f],
      ["badRecord", "propertiesLength", (bytes) => bytes[103] = 0x80],
      ["badRecord", "propertiesLength", (bytes) => bytes[104]!++],
      ["badCrc", "bodyCRC", (bytes) => bytes[90]!++],
      ["badCrc", "bodyCRC", (bytes) => bytes[8]!++],
    ];
    for (const [reason, field, spoil] of cases) {
      const bytes = record();
      spoil(bytes);
      const check = validator();
      assert.equal(check.check(bytes, 0, bytes.length, OFFSET), REJECT);
      assert.deepEqual([check.reason, check.field], [reason, field]);
      assert.notEqual(check.detail, "");
    }
    const bytes = record({}, true);
    bytes[12]!++; // queueId
    const check = validator();
    assert.equal(check.check(bytes, 0, bytes.length, OFFSET), REJECT);
    assert.deepEqual([check.reason, check.field], ["badCrc", "__CRC32#"]);
  });

  it("reports a wrong field before the record is whole", () => {
    const bytes = record({ body: new Uint8Array(1000) });
    const check = validator();
    writeInt64(bytes, 28, OFFSET + 8);
    assert.equal(check.check(bytes, 0, 39, OFFSET), PARTIAL);
    assert.equal(check.check(bytes, 0, 40, OFFSET), REJECT);
  });

  it("wants room for a filler behind each record", () => {
    const check = validator();
    const size = record().length;
    for (const [rest, verdict] of [[size + 9, OK], [size + 8, OK], [size + 7, REJECT], [size, REJECT]] as const) {
      const offset = 2 * FILE_SIZE - rest;
      assert.equal(check.check(record({}, false, offset), 0, size, offset), verdict, `${rest} bytes to the end`);
    }
    assert.equal(check.reason, "fileSizeMismatch");
  });

  it("accepts a filler up to the file's end only", () => {
    const blank = new Uint8Array(64);
    const check = validator();
    for (const size of [8, 9, 64]) {
      writeInt32(blank, 0, size);
      writeInt32(blank, 4, BLANK_MAGIC_CODE);
      assert.equal(check.check(blank, 0, 64, 2 * FILE_SIZE - size), BLANK);
      assert.equal(check.size, size);
      assert.equal(check.check(blank, 0, size - 1, 2 * FILE_SIZE - size), PARTIAL);
      for (const offset of [2 * FILE_SIZE - size - 1, 2 * FILE_SIZE - size + 1, 0]) {
        assert.equal(check.check(blank, 0, 64, offset), REJECT);
        assert.equal(check.reason, "fileSizeMismatch");
      }
    }
    writeInt32(blank, 0, FILE_SIZE);
    assert.equal(validator({ recordSizeMax: 1000 }).check(blank, 0, 64, FILE_SIZE), REJECT);
  });

  it("bounds a record's size", () => {
    const bytes = record();
    assert.equal(validator({ recordSizeMax: bytes.length }).check(bytes, 0, bytes.length, OFFSET), OK);
    assert.equal(validator({ recordSizeMax: bytes.length - 1 }).check(bytes, 0, bytes.length, OFFSET), REJECT);
    assert.equal(recordSizeMax(4194304), 32 * 1024 * 1024);
    assert.equal(recordSizeMax(64 * 1024 * 1024), 64 * 1024 * 1024 + 65536);
  });

  it("leaves CRCs alone when told so, and can insist on __CRC32#", () => {
    const bytes = record({}, true);
    bytes[90]!++;
    assert.equal(validator({ checkCRC: false }).check(bytes, 0, bytes.length, OFFSET), OK);
    const insisting = validator({ forceVerifyPropCRC: true });
    const withCrc = record({}, true);
    const without = record();
    assert.equal(insisting.check(withCrc, 0, withCrc.length, OFFSET), OK);
    assert.equal(insisting.check(without, 0, without.length, OFFSET), REJECT);
    assert.equal(insisting.field, "__CRC32#");
  });

  it("takes a __CRC32# that is another message's for any property, unless told to look", () => {
    const stale = record({ properties: new Map([["A", "b"], ["__CRC32#", "1234567890"]]) });
    assert.equal(validator({ checkPropCRC: false }).check(stale, 0, stale.length, OFFSET), OK);
    assert.equal(validator().check(stale, 0, stale.length, OFFSET), REJECT);
    const insisting = validator({ checkPropCRC: false, forceVerifyPropCRC: true });
    assert.equal(insisting.check(stale, 0, stale.length, OFFSET), REJECT);
  });

  it("sees where a loss of power took the end of a record", () => {
    const properties = new Map([["LONG", "x".repeat(2000)], ["TAGS", "a"]]);
    for (const position of [0, 100, 300, 511]) {
      const whole = record({ properties });
      assert.equal(isTorn(whole, 0, whole.length, position), false);
      const end = position + whole.length;
      // Behind the body: topic of 9 bytes, both lengths, properties.
      const propertiesAt = position + whole.length - formatProperties(properties).length;
      for (let sector = Math.ceil(propertiesAt / 512) * 512; sector < end; sector += 512) {
        const torn = whole.slice();
        torn.fill(0, sector - position, Math.min(sector + 512, end) - position);
        assert.equal(validator({ checkPropCRC: false }).check(torn, 0, torn.length, OFFSET), OK);
        assert.equal(isTorn(torn, 0, torn.length, position), true, `sector ${sector} of a record at ${position}`);
      }
    }
    const bare = record({ properties: new Map(), body: new Uint8Array(8) });
    assert.equal(isTorn(bare, 0, bare.length, 0), false);
    bare.fill(0, bare.length - 4);
    assert.equal(isTorn(bare, 0, bare.length, 0), true);
  });

  it("checks a record CRC whose body CRC is right as well", () => {
    const bytes = record({}, true);
    bytes[90]!++;
    writeInt32(bytes, 8, crc32(bytes.subarray(88, 93)) & 0x7fffffff);
    const check = validator();
    assert.equal(check.check(bytes, 0, bytes.length, OFFSET), REJECT);
    assert.equal(check.field, "__CRC32#");
  });
});
