// Records of the commit log: the one check of foreign bytes, what reads a record that passed it, a slave's intake, and
// the encodings inside a message.

import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, utf8, writeInt16, writeInt32, writeInt64 } from "../../../src/base/bytes.ts";
import {
  BLANK_MAGIC_CODE,
  createMessageId,
  decodeDispatchRequest,
  decodeMessage,
  decodeMessageId,
} from "../../../src/store/message_codec.ts";
import { DispatchReader } from "../../../src/store/dispatch_reader.ts";
import { isRefusal, prepareBatch, prepareMessage, writeRecord } from "../../../src/store/message_encoder.ts";
import { DelayLevels, formatProperties, parseProperties } from "../../../src/store/message_properties.ts";
import { isTorn, recordSizeMax, RecordValidator, RecordVerdict } from "../../../src/store/record_validator.ts";
import { ReplicaIntake } from "../../../src/store/replica_intake.ts";
import type { MessageToPut } from "../../../src/store/types.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { assertMemory, assertPlain, deliveries } from "../properties.ts";

/** File size of the logs here: fillers are common. */
export const FILE_SIZE = 1024;
const DELAY_LEVELS = new DelayLevels();
const ENCODER = { maxMessageSize: 700, enabledAppendPropCRC: false };

const words = fc.constantFrom(
  "a",
  "TAGS",
  "KEYS",
  "UNIQ_KEY",
  "DELAY",
  "3",
  "x y z",
  "\ufeff",
  "__proto__",
  "é",
  "",
  "\u0001",
  "a\nb",
);
const topics = fc.constantFrom(
  "T",
  "SCHEDULE_TOPIC_XXXX",
  "..",
  "../../etc",
  "a/b",
  "%RETRY%" + "g".repeat(150),
  "\ufeffT",
  "T\u0000",
  "é".repeat(60),
);

/** Messages, also such as no sane client sends. */
export const messages: fc.Arbitrary<MessageToPut> = fc.record({
  topic: topics,
  queueId: fc.constantFrom(0, 1, 7, -1, 0x7fff_ffff),
  body: fc.uint8Array({ maxLength: 60 }),
  properties: fc.array(fc.tuple(words, words), { maxLength: 4 }).map((pairs) => new Map(pairs)),
  flag: fc.integer(),
  sysFlag: fc.constantFrom(0, 1, 4, 8, 0xc, 0x301),
  bornTimestamp: fc.maxSafeNat(),
  bornHost: fc.uint8Array({ minLength: 4, maxLength: 4 }).map((address) => ({ address, port: 1 })),
  storeHost: fc.constantFrom(4, 16).map((size) => ({ address: new Uint8Array(size).fill(7), port: 10911 })),
  reconsumeTimes: fc.nat(3),
  preparedTransactionOffset: fc.maxSafeNat(),
});

const stored = fc.array(
  fc.tuple(messages, fc.boolean(), fc.constantFrom(0, 0, 1, 2, 2 ** 40, 2 ** 52), fc.boolean()),
  { minLength: 1, maxLength: 8 },
);

/** A log from 0 in files of this size: records one after another, fillers where the next does not fit. */
export const logsOf = (fileSize: number): fc.Arbitrary<Uint8Array> =>
  stored.map((list) => {
    const parts: Uint8Array[] = [];
    let at = 0;
    let storeTimestamp = 1_700_000_000_000;
    for (const [message, enabledAppendPropCRC, queueOffset, later] of list) {
      const prepared = prepareMessage(message, { ...ENCODER, enabledAppendPropCRC });
      if (isRefusal(prepared)) continue;
      const rest = fileSize - at % fileSize;
      if (prepared.size + 8 > rest) {
        const blank = new Uint8Array(rest);
        writeInt32(blank, 0, rest);
        writeInt32(blank, 4, BLANK_MAGIC_CODE);
        parts.push(blank);
        at += rest;
      }
      if (later) storeTimestamp += 5000;
      const record = new Uint8Array(prepared.size);
      writeRecord(prepared, record, 0, { queueOffset, physicalOffset: at, storeTimestamp });
      parts.push(record);
      at += record.length;
    }
    return concatBytes(parts);
  });

/** {@link logsOf} the files of these targets. */
export const logs: fc.Arbitrary<Uint8Array> = logsOf(FILE_SIZE);

function validatorOf(flags: number): RecordValidator {
  return new RecordValidator({
    mappedFileSize: FILE_SIZE,
    recordSizeMax: recordSizeMax(700),
    checkCRC: (flags & 1) === 0,
    checkPropCRC: (flags & 2) !== 0,
    forceVerifyPropCRC: (flags & 4) !== 0,
  });
}

/** One record at the begin of the input; the last byte chooses the checks. */
export const RECORD: FuzzTarget = {
  name: "commit_log_record",
  runs: 1500,
  inputs: logs,
  check(input) {
    const validator = validatorOf(input.at(-1) ?? 0);
    const { length } = input;
    const verdict = validator.check(input, 0, length, 0);
    const { size, detail, reason } = validator;
    if (verdict === RecordVerdict.REJECT) {
      assertPlain(detail);
      assert.match(detail, /wanted|to the end of the file|in a record of|CRC is|does not match/);
    } else assert.ok(size <= Math.max(recordSizeMax(700), FILE_SIZE));
    // What asks for more bytes must be content with them some time, or whoever waits for them waits for ever.
    if (verdict === RecordVerdict.PARTIAL) assert.ok(size === 0 ? length < 8 : length < size, "Asks for no more bytes");
    // With fewer bytes the answer is the same or not known yet.
    let known = false;
    for (let end = 0; end <= Math.min(length, 400); end++) {
      const early = validator.check(input, 0, end, 0);
      if (early === RecordVerdict.PARTIAL && !known) continue;
      known = true;
      assert.equal(early, verdict, `${end} of ${length} bytes`);
      if (verdict === RecordVerdict.REJECT) assert.equal(validator.reason, reason);
    }
    assertMemory(() => void validator.check(input, 0, length, 0), 0, 0, 64);
    if (verdict === RecordVerdict.OK) assertReadable(input.slice(0, size));
  },
};

/** What passed the check can be read by everyone who trusts it, and nobody looks beyond its end. */
function assertReadable(record: Uint8Array): void {
  const message = decodeMessage(record);
  const request = decodeDispatchRequest(record, 0, DELAY_LEVELS);
  const reader = new DispatchReader(DELAY_LEVELS);
  assert.ok(reader.read(record, 0), "A good record's parts do not add up");
  isTorn(record, 0, record.length, 0);
  assert.equal(message.storeSize, record.length);
  assert.equal(message.topic, request.topic);
  for (
    const key of ["topic", "queueId", "msgSize", "tagsCode", "storeTimestamp", "consumeQueueOffset", "sysFlag"] as const
  ) {
    assert.equal(reader[key], request[key], key);
  }
  const text = (from: number, to: number) => utf8.decode(record.subarray(from, to));
  assert.equal(text(reader.keysFrom, reader.keysTo), request.keys);
  assert.equal(text(reader.uniqKeyFrom, reader.uniqKeyTo), request.uniqKey ?? "");
  assert.equal(message.properties.get("KEYS") ?? "", request.keys);
  assert.equal(createMessageId(message.storeHost, message.physicalOffset), message.msgId);
  for (const part of [message.body, message.bornHost.address, message.storeHost.address]) {
    assert.ok(
      part.byteOffset >= record.byteOffset && part.byteOffset + part.length <= record.byteOffset + record.length,
    );
  }
  assertEncodesBack(message, record);
}

/** A record of our own making is made again from what was read of it. */
function assertEncodesBack(message: ReturnType<typeof decodeMessage>, record: Uint8Array): void {
  const prepared = prepareMessage(message, ENCODER);
  if (isRefusal(prepared) || prepared.size !== record.length || prepared.sysFlag !== message.sysFlag) return;
  if (
    ![message.bornTimestamp, message.storeTimestamp, message.queueOffset, message.preparedTransactionOffset].every(
      Number.isSafeInteger,
    )
  ) return;
  const again = new Uint8Array(prepared.size);
  writeRecord(prepared, again, 0, message);
  const reread = decodeMessage(again);
  assert.deepEqual({ ...reread, queueOffset: 0, bodyCrc: 0 }, { ...message, queueOffset: 0, bodyCrc: 0 });
}

/** What intake makes of a stream: what it wrote, and why it stopped. */
function takeIn(parts: readonly Uint8Array[], validator: RecordValidator): { written: Uint8Array; end: string } {
  const written: Uint8Array[] = [];
  let at = 0;
  const intake = new ReplicaIntake(validator, {
    writeRecords(bytes, lastRecordOffset) {
      assert.ok(at % FILE_SIZE + bytes.length <= FILE_SIZE, "A write crosses a file");
      assert.ok(lastRecordOffset < at + bytes.length && (lastRecordOffset === -1 || lastRecordOffset >= at));
      written.push(bytes.slice());
      at += bytes.length;
    },
  });
  let taken = 0;
  for (const part of parts) {
    const result = intake.take(part, taken);
    taken += part.length;
    if (result.type === "rejected") {
      assertPlain(result.detail);
      assert.equal(result.offset, at, "Rejected elsewhere than where writing stopped");
      assert.equal(intake.heldSize, 0);
      return { written: concatBytes(written), end: `${result.reason} at ${result.offset}` };
    }
    assert.equal(at + intake.heldSize, taken, "Bytes got lost");
  }
  return { written: concatBytes(written), end: `holds ${intake.heldSize}` };
}

/** A slave's intake. */
export const INTAKE: FuzzTarget = {
  name: "replica_intake",
  runs: 400,
  inputs: logs,
  check(input) {
    const flags = input.at(-1) ?? 0;
    const [whole, ...others] = deliveries(input).map((parts) => takeIn(parts, validatorOf(flags)));
    for (const other of others) assert.deepEqual(other, whole);
    assert.deepEqual(whole!.written, input.slice(0, whole!.written.length), "What was written is not what came");
    for (const parts of deliveries(input)) {
      // The least that is held, 64 KiB, and doubling.
      assertMemory(() => void takeIn(parts, validatorOf(flags)), input.length, 8, 70_000);
    }
  },
};

const propertyBytes = fc.array(fc.tuple(words, words), { maxLength: 6 }).map((pairs) =>
  formatProperties(new Map(pairs))
);

/** A record's properties. */
export const PROPERTIES: FuzzTarget = {
  name: "message_properties",
  runs: 4000,
  inputs: propertyBytes,
  check(input) {
    const properties = parseProperties(input);
    for (const [name, value] of properties) assert.ok(name !== "" && value !== "" && !name.includes("\u0001"));
    assert.deepEqual([...parseProperties(formatProperties(properties))], [...properties]);
  },
};

/** A client's batch: totalSize | magic | crc | flag | bodyLength, body | propertiesLength, properties. */
const batches = fc.array(fc.tuple(fc.uint8Array({ maxLength: 30 }), propertyBytes), { maxLength: 6 }).map((parts) =>
  concatBytes(parts.map(([body, properties]) => {
    const bytes = new Uint8Array(22 + body.length + properties.length);
    writeInt32(bytes, 0, bytes.length);
    writeInt32(bytes, 16, body.length);
    bytes.set(body, 20);
    writeInt16(bytes, 20 + body.length, properties.length);
    bytes.set(properties, 22 + body.length);
    return bytes;
  }))
);

/** A batch's body, to records. */
export const BATCH: FuzzTarget = {
  name: "message_batch",
  runs: 2000,
  inputs: batches,
  check(input) {
    const shared = fc.sample(messages, { numRuns: 1, seed: input.length })[0]!;
    const message = { ...shared, sysFlag: 0, topic: "T", properties: new Map([["UNIQ_KEY", "u"]]) };
    const options = { maxMessageSize: 4096, enabledAppendPropCRC: (input[0] ?? 0) % 2 === 1 };
    const prepared = prepareBatch(message, input, options);
    if (isRefusal(prepared)) return assertPlain(prepared.remark);
    assert.ok(prepared.length <= input.length / 22);
    const validator = validatorOf(6);
    for (const one of prepared) {
      if (one.size + 8 > FILE_SIZE) continue;
      const record = new Uint8Array(one.size);
      writeRecord(one, record, 0, { queueOffset: 5, physicalOffset: 0, storeTimestamp: 1 });
      if (!options.enabledAppendPropCRC) {
        assert.equal(validatorOf(0).check(record, 0, record.length, 0), RecordVerdict.OK);
      } else assert.equal(validator.check(record, 0, record.length, 0), RecordVerdict.OK, validator.detail);
      assert.deepEqual(decodeMessage(record).body, one.body.slice());
      assertReadable(record);
    }
  },
};

/** Offset message ids, as callers give them. */
export const MESSAGE_ID: FuzzTarget = {
  name: "message_id",
  runs: 4000,
  inputs: fc.tuple(fc.constantFrom(4, 16), fc.maxSafeNat()).map(([size, offset]) => {
    const bytes = new Uint8Array(size + 12);
    writeInt64(bytes, size + 4, offset);
    return utf8.encode(Buffer.from(bytes).toString("hex"));
  }),
  check(input) {
    const text = utf8.decode(input);
    const id = decodeMessageId(text);
    if (id === null) return;
    assert.equal(createMessageId(id.host, id.physicalOffset), text.toUpperCase());
    assert.ok(Number.isSafeInteger(id.physicalOffset));
  },
};
