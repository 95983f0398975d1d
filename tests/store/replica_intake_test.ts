import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { readInt32, writeInt32 } from "../../src/base/bytes.ts";
import { IoError } from "../../src/base/errors.ts";
import { BLANK_MAGIC_CODE, decodeMessage } from "../../src/store/message_codec.ts";
import { isRefusal, prepareMessage, writeRecord } from "../../src/store/message_encoder.ts";
import { RecordValidator } from "../../src/store/record_validator.ts";
import { ReplicaIntake, type ReplicaSink } from "../../src/store/replica_intake.ts";
import { message } from "../support/store_fixtures.ts";

const FILE_SIZE = 1024;

/** A log of `count` records of varied sizes from offset 0, with fillers. */
function makeLog(count: number): Uint8Array<ArrayBuffer> {
  const log = new Uint8Array(FILE_SIZE * count);
  let at = 0;
  for (let i = 0; i < count; i++) {
    const prepared = prepareMessage(message({ body: new Uint8Array((i * 37) % 300).fill(i) }), {
      maxMessageSize: 1000,
      enabledAppendPropCRC: i % 2 === 1,
    });
    assert(!isRefusal(prepared));
    const rest = FILE_SIZE - (at % FILE_SIZE);
    if (prepared.size + 8 > rest) {
      writeInt32(log, at, rest);
      writeInt32(log, at + 4, BLANK_MAGIC_CODE);
      at += rest;
    }
    writeRecord(prepared, log, at, { queueOffset: i, physicalOffset: at, storeTimestamp: 1000 + i });
    at += prepared.size;
  }
  return log.slice(0, at);
}

class Sink implements ReplicaSink {
  readonly bytes: Uint8Array;
  size = 0;
  writes = 0;
  lastRecordOffset = -1;
  storeTimestamp = 0;
  failNext = false;
  constructor(capacity: number) {
    this.bytes = new Uint8Array(capacity);
  }
  writeRecords(bytes: Uint8Array, lastRecordOffset: number, storeTimestamp: number): void {
    if (this.failNext) {
      this.failNext = false;
      throw new IoError("noSpace", "disk full", "ENOSPC");
    }
    const first = Math.floor(this.size / FILE_SIZE);
    assert.equal(Math.floor((this.size + bytes.length - 1) / FILE_SIZE), first, "a write crosses a file's end");
    this.bytes.set(bytes, this.size);
    this.size += bytes.length;
    this.writes++;
    if (lastRecordOffset < 0) return;
    this.lastRecordOffset = lastRecordOffset;
    this.storeTimestamp = storeTimestamp;
  }
}

function intake(capacity: number, recordSizeMax = FILE_SIZE): { sink: Sink; take: ReplicaIntake } {
  const sink = new Sink(capacity);
  const options = { mappedFileSize: FILE_SIZE, recordSizeMax, checkCRC: true, forceVerifyPropCRC: false };
  return { sink, take: new ReplicaIntake(new RecordValidator(options), sink) };
}

/** Starts of records and fillers. */
function boundaries(log: Uint8Array): number[] {
  const found = [];
  for (let at = 0; at < log.length; at += readInt32(log, at)) found.push(at);
  return found;
}

describe("replica intake", () => {
  const log = makeLog(30);

  it("writes a frame of whole records at once, file by file", () => {
    const { sink, take } = intake(log.length);
    assert.deepEqual(take.take(log.subarray(0, FILE_SIZE), 0), { type: "appended" });
    assert.equal(sink.writes, 1);
    assert.equal(sink.size, FILE_SIZE);
    take.take(log.subarray(FILE_SIZE), FILE_SIZE);
    assert.deepEqual(sink.bytes, log);
    assert.equal(sink.writes, Math.ceil(log.length / FILE_SIZE));
    assert.equal(take.heldSize, 0);
    assert.equal(sink.storeTimestamp, 1029);
    assert.equal(decodeMessage(log, sink.lastRecordOffset).queueOffset, 29);
  });

  it("does the same when split at any byte", () => {
    for (let split = 0; split <= log.length; split++) {
      const { sink, take } = intake(log.length);
      take.take(log.subarray(0, split), 0);
      assert.equal(
        sink.size,
        boundaries(log).concat(log.length).filter((at) => at <= split).at(-1),
        `split at ${split}`,
      );
      assert.equal(sink.size + take.heldSize, split);
      take.take(log.subarray(split), split);
      assert.equal(sink.size, log.length);
      assert.deepEqual(sink.bytes, log);
      assert.equal(sink.storeTimestamp, 1029);
    }
  });

  it("does the same byte by byte, and in odd pieces", () => {
    for (const step of [1, 7, 8, 9, 100, 777]) {
      const { sink, take } = intake(log.length);
      for (let at = 0; at < log.length; at += step) take.take(log.subarray(at, at + step), at);
      assert.deepEqual(sink.bytes, log);
    }
  });

  it("keeps the bytes it was lent no longer than the call", () => {
    const { sink, take } = intake(log.length);
    for (let at = 0; at < log.length; at += 100) {
      const lent = log.slice(at, at + 100);
      take.take(lent, at);
      lent.fill(0xff);
    }
    assert.deepEqual(sink.bytes, log);
  });

  it("rejects at the bad record, whole or split, and writes what stands before it", () => {
    const starts = boundaries(log).filter((at) => readInt32(log, at + 4) !== BLANK_MAGIC_CODE);
    for (const at of starts) {
      const bad = log.slice();
      bad[at + 30]! ^= 1; // physicalOffset
      for (const split of [at, at + 4, at + 8, at + 36, at + 60, log.length]) {
        const { sink, take } = intake(log.length);
        let result = take.take(bad.subarray(0, split), 0);
        if (result.type === "appended") result = take.take(bad.subarray(split), split);
        assert(result.type === "rejected");
        assert.equal(result.reason, "badPhysicalOffset");
        assert.equal(result.offset, at);
        assert.equal(sink.size, at);
        assert.equal(take.heldSize, 0);
      }
    }
  });

  it("rejects a filler that does not end on a file boundary", () => {
    const blankAt = boundaries(log).find((at) => readInt32(log, at + 4) === BLANK_MAGIC_CODE)!;
    const bad = log.slice();
    writeInt32(bad, blankAt, readInt32(bad, blankAt) + 8);
    const { take } = intake(log.length);
    const result = take.take(bad, 0);
    assert(result.type === "rejected");
    assert.equal(result.reason, "fileSizeMismatch");
    assert.equal(result.offset, blankAt);
  });

  it("holds no more than a record", () => {
    const { take } = intake(log.length, 200);
    const big = boundaries(log).find((at) => readInt32(log, at) > 200)!;
    const result = take.take(log.subarray(0, big + 8), 0);
    assert(result.type === "rejected");
    assert.equal(result.reason, "badRecord");
  });

  it("goes on from the log's end after a failed write", () => {
    const { sink, take } = intake(log.length);
    const end = boundaries(log)[3]!;
    take.take(log.subarray(0, end + 20), 0);
    sink.failNext = true;
    assert.throws(() => take.take(log.subarray(end + 20), end + 20), IoError);
    assert.equal(sink.size, end);
    assert.equal(take.heldSize, 0);
    take.take(log.subarray(end), end);
    assert.deepEqual(sink.bytes, log);
  });

  it("forgets an unfinished record when told to", () => {
    const { sink, take } = intake(log.length);
    take.take(log.subarray(0, 50), 0);
    assert.equal(take.heldSize, 50);
    take.discard();
    assert.equal(take.heldSize, 0);
    take.take(log, 0);
    assert.deepEqual(sink.bytes, log);
  });
});
