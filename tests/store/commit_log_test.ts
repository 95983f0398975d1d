import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { readInt32 } from "../../src/base/bytes.ts";
import { IoError } from "../../src/base/errors.ts";
import type { FileHandle, FileSystem } from "../../src/runtime/runtime.ts";
import { BLANK_MAGIC_CODE, decodeMessage } from "../../src/store/message_codec.ts";
import { isRefusal, prepareMessage } from "../../src/store/message_encoder.ts";
import type { CommitLogOptions } from "../../src/store/commit_log.ts";
import type { AppendMessageResult, BatchToPut, MessageToPut } from "../../src/store/types.ts";
import { type Faults, faultyFileSystem } from "../support/faulty_fs.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { logBytes, message, openLog, QueueOffsets, temporaryDirectory } from "../support/store_fixtures.ts";

const FILE_SIZE = 4096;
type Opened = ReturnType<typeof openLog>;

/** A message whose record has `size` bytes. */
function messageOfSize(size: number, overrides: Partial<MessageToPut> = {}): MessageToPut {
  const empty = message({ ...overrides, body: new Uint8Array(0) });
  const prepared = prepareMessage(empty, { maxMessageSize: 1e9, enabledAppendPropCRC: false });
  assert(!isRefusal(prepared));
  return { ...empty, body: new Uint8Array(size - prepared.size).fill(0x61) };
}

function ok(result: AppendMessageResult) {
  assert(result.status === "PUT_OK", JSON.stringify(result));
  return result;
}

function batchBody(bodies: readonly string[]): Uint8Array {
  const parts = bodies.map((body) => {
    const part = new Uint8Array(22 + body.length);
    new DataView(part.buffer).setInt32(16, body.length);
    part.set(new TextEncoder().encode(body), 20);
    return part;
  });
  const all = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

function batch(bodies: readonly string[], overrides: Partial<MessageToPut> = {}): BatchToPut {
  return { message: message({ properties: new Map(), ...overrides }), batchBody: batchBody(bodies) };
}

describe("commit log", () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let fs: FileSystem;
  let faults: Faults;
  let clock: ManualClock;
  let offsets: QueueOffsets;
  let opened: Opened[];

  const open = (name = "store", overrides: Partial<CommitLogOptions> = {}): Opened => {
    const one = openLog(fs, clock, `${directory.path}/${name}`, overrides);
    one.log.setRecoveredEnd(one.log.maxOffset, -1);
    opened.push(one);
    return one;
  };
  const files = (name = "store") => fs.list(`${directory.path}/${name}/commitlog`).map(Number);
  const bytes = (name = "store") => logBytes(directory.fs, `${directory.path}/${name}/commitlog`);

  beforeEach(async () => {
    directory = await temporaryDirectory();
    ({ fs, faults } = faultyFileSystem(directory.fs));
    clock = new ManualClock();
    offsets = new QueueOffsets();
    opened = [];
  });
  afterEach(async () => {
    for (const { log, pool } of opened) {
      await log.flushService.stop();
      pool.closeAll();
    }
    directory.remove();
  });

  it("appends messages where it says, with the queue's offsets", () => {
    const { log } = open();
    const first = ok(log.appendMessage(message(), offsets));
    const second = ok(log.appendMessage(message({ queueId: 2 }), offsets));
    const third = ok(log.appendMessage(message(), offsets));
    assert.deepEqual([first.wroteOffset, first.logicsOffset], [0, 0]);
    assert.deepEqual([second.wroteOffset, second.logicsOffset], [first.wroteBytes, 0]);
    assert.deepEqual([third.wroteOffset, third.logicsOffset], [2 * first.wroteBytes, 1]);
    assert.equal(log.maxOffset, 3 * first.wroteBytes);
    assert.equal(log.lastRecordOffset, third.wroteOffset);
    const stored = decodeMessage(bytes(), third.wroteOffset);
    assert.equal(stored.queueOffset, 1);
    assert.equal(stored.physicalOffset, third.wroteOffset);
    assert.equal(stored.storeTimestamp, clock.now());
    assert.deepEqual(third.msgIds, [stored.msgId]);
  });

  it("leaves the event loop now and then when the page cache answers read after read", async () => {
    ok(open("before").log.appendMessage(messageOfSize(500), offsets));
    fs = Object.assign(Object.create(directory.fs) as FileSystem, {
      open(path: string, mode: "read" | "write" | "create"): FileHandle {
        const handle = directory.fs.open(path, mode);
        handle.readCachedAt = (target, offset) => handle.readAt(target, offset) === target.length;
        return handle;
      },
    });
    const { log } = open("before");
    const target = new Uint8Array(100);
    const inARow: number[] = [];
    for (let count = 0; inARow.length < 3; count++) {
      const size = log.read(100, target.fill(0));
      assert.equal(await size, 100);
      assert.deepEqual(target, bytes("before").slice(100, 200));
      if (typeof size === "number") continue;
      inARow.push(count);
      count = -1;
    }
    assert.deepEqual(inARow, [64, 64, 64]);
  });

  it("gives no queue offset to prepared and rolled back messages", () => {
    const { log } = open();
    ok(log.appendMessage(message(), offsets));
    for (const sysFlag of [4, 12]) assert.equal(ok(log.appendMessage(message({ sysFlag }), offsets)).logicsOffset, 0);
    assert.equal(ok(log.appendMessage(message({ sysFlag: 8 }), offsets)).logicsOffset, 1);
  });

  it("fills a file to the last byte a filler leaves", () => {
    for (const [rest, rollsOver] of [[9, false], [8, false], [7, true]] as const) {
      const name = `rest${rest}`;
      const { log } = open(name);
      ok(log.appendMessage(messageOfSize(1000), offsets));
      const second = ok(log.appendMessage(messageOfSize(FILE_SIZE - 1000 - rest), offsets));
      assert.equal(second.wroteOffset, rollsOver ? FILE_SIZE : 1000, `${rest} bytes left`);
      if (!rollsOver) continue;
      assert.equal(readInt32(bytes(name), 1000), FILE_SIZE - 1000);
      assert.equal(readInt32(bytes(name), 1004), BLANK_MAGIC_CODE);
      assert.deepEqual(files(name), [0, FILE_SIZE]);
    }
  });

  it("puts a batch into one file, all or none", () => {
    const { log } = open();
    ok(log.appendMessage(messageOfSize(FILE_SIZE - 300), offsets));
    const put = ok(log.appendBatch(batch(["one", "two", "three"]), offsets));
    assert.equal(put.wroteOffset, FILE_SIZE);
    assert.equal(put.msgNum, 3);
    assert.equal(put.logicsOffset, 1);
    assert.equal(offsets.getQueueOffset("TopicTest", 1), 4);
    let at = put.wroteOffset;
    for (const [i, body] of ["one", "two", "three"].entries()) {
      const stored = decodeMessage(bytes(), at);
      assert.equal(new TextDecoder().decode(stored.body), body);
      assert.equal(stored.queueOffset, 1 + i);
      assert.equal(stored.physicalOffset, at);
      assert.equal(put.msgIds[i], stored.msgId);
      at += stored.storeSize;
    }
    assert.equal(log.maxOffset, at);
    assert.equal(decodeMessage(bytes(), log.lastRecordOffset).queueOffset, 3);
  });

  it("refuses what no file can hold", () => {
    const { log } = open();
    assert.equal(log.appendMessage(messageOfSize(FILE_SIZE - 7), offsets).status, "MESSAGE_ILLEGAL");
    ok(log.appendMessage(messageOfSize(FILE_SIZE - 8), offsets));
    assert.equal(log.appendMessage(message({ topic: "t".repeat(200) }), offsets).status, "MESSAGE_ILLEGAL");
  });

  it("counts nothing of a failed write, and writes over it", () => {
    const { log } = open();
    const first = ok(log.appendMessage(message(), offsets));
    faults.match = /commitlog\/\d/;
    faults.writeFirst = 50;
    for (const [kind, status] of [["noSpace", "SERVICE_NOT_AVAILABLE"], ["other", "UNKNOWN_ERROR"]] as const) {
      faults.write = new IoError(kind, "disk says no");
      assert.equal(log.appendMessage(message({ queueId: 9 }), offsets).status, status);
    }
    assert.equal(log.maxOffset, first.wroteBytes);
    assert.equal(log.lastRecordOffset, 0);
    assert.equal(offsets.getQueueOffset("TopicTest", 9), 0);
    faults.write = null;
    const again = ok(log.appendMessage(message({ queueId: 3 }), offsets));
    assert.equal(again.wroteOffset, first.wroteBytes);
    assert.equal(decodeMessage(bytes(), again.wroteOffset).queueId, 3);
  });

  it("clears what a failed batch left, so that no part of it comes back behind a shorter put", () => {
    const { log } = open();
    const bodies = ["a", "b", "c"].map((text) => text.repeat(40));
    const whole = ok(log.appendBatch(batch(bodies), offsets));
    const recordSize = whole.wroteBytes / 3;
    faults.write = new IoError("noSpace", "Disk is full", "ENOSPC");
    faults.writeFirst = whole.wroteBytes;
    assert.equal(log.appendBatch(batch(bodies), offsets).status, "SERVICE_NOT_AVAILABLE");
    faults.write = null;
    const next = ok(log.appendMessage(messageOfSize(recordSize, { properties: new Map() }), offsets));
    assert.equal(next.wroteOffset, whole.wroteBytes);
    const rest = logBytes(fs, `${directory.path}/store/commitlog`).subarray(log.maxOffset);
    assert.ok(rest.every((byte) => byte === 0));
  });

  it("appends messages together as it would one after another, over the ends of files too", () => {
    const sizes = [300, 1500, 5000, 700, 1800, 91, 2000, 2000, 400, 4088, 300];
    const messages: (MessageToPut | BatchToPut)[] = sizes.map((size, i) => {
      const topic = i % 3 === 0 ? "A" : "B";
      return messageOfSize(Math.max(size, 130), { topic, queueId: i % 2, properties: new Map() });
    });
    messages.splice(4, 0, message({ topic: "t".repeat(200) }));
    messages.splice(6, 0, batch(["1", "2", "3"]), batch([]), batch(["x".repeat(5000)]), batch(["4", "5".repeat(3000)]));
    messages.push(batch(["6"], { sysFlag: 4 }), batch(["7", "8"]), messageOfSize(200, { topic: "A", queueId: 1 }));
    const together = open("together").log.appendMessages(messages, offsets);
    const apart = open("apart");
    const others = new QueueOffsets();
    const appendOne = (one: MessageToPut | BatchToPut) =>
      "batchBody" in one ? apart.log.appendBatch(one, others) : apart.log.appendMessage(one, others);
    assert.deepEqual(together, messages.map(appendOne));
    assert.deepEqual(bytes("together"), bytes("apart"));
    assert.deepEqual(together.map(({ status }) => status === "PUT_OK").filter((ok) => !ok).length, 5);
    for (const topic of ["A", "B"]) {
      for (const queue of [0, 1]) {
        assert.equal(offsets.getQueueOffset(topic, queue), others.getQueueOffset(topic, queue));
      }
    }
  });

  it("writes no more than 256 KiB together, unless one put has more", () => {
    const { log } = open("store", { mappedFileSizeCommitLog: 16 * 1024 * 1024 });
    const ends: number[] = [];
    log.onGrow(() => ends.push(log.maxOffset));
    const large = batch(["y".repeat(300_000), "z".repeat(100_000)]);
    const puts = [...Array(5).fill(messageOfSize(100_000)), large, batch(["1"]), messageOfSize(1000)];
    const sizes = log.appendMessages(puts, offsets).map((result) => ok(result).wroteBytes);
    const writes = [[0, 2], [2, 4], [4, 5], [5, 6], [6, 8]];
    const until = writes.map(([, to]) => sizes.slice(0, to).reduce((sum, size) => sum + size, 0));
    assert.deepEqual(ends, until);
  });

  it("refuses all messages of a write that fails, and gives their queue offsets again", () => {
    const { log } = open();
    const first = ok(log.appendMessage(message({ queueId: 1 }), offsets));
    faults.write = new IoError("noSpace", "Disk is full", "ENOSPC");
    faults.match = /commitlog\/\d/;
    faults.writeFirst = first.wroteBytes + 20;
    const puts = [
      ...[1, 2].map((queueId) => message({ queueId })),
      batch(["a", "b"], { queueId: 1 }),
      message({ queueId: 1 }),
    ];
    const failed = log.appendMessages(puts, offsets);
    assert.deepEqual(failed.map(({ status }) => status), Array(4).fill("SERVICE_NOT_AVAILABLE"));
    assert.equal(log.maxOffset, first.wroteBytes);
    faults.write = null;
    const again = log.appendMessages(puts, offsets).map(ok);
    assert.deepEqual(again.map(({ logicsOffset }) => logicsOffset), [1, 0, 2, 4]);
    assert.equal(again[0]!.wroteOffset, first.wroteBytes);
  });

  it("takes a master's record whose __CRC32# a client copied from another message", () => {
    const properties = new Map([["A", "b"], ["__CRC32#", "1234567890"]]);
    const master = open("master");
    ok(master.log.appendMessage(message({ properties }), offsets));
    const bytes = logBytes(fs, `${directory.path}/master/commitlog`).subarray(0, master.log.maxOffset);
    assert.equal(open("slave").log.appendReplica(0, bytes).type, "appended");
    const strict = open("strict", { forceVerifyPropCRC: true }).log.appendReplica(0, bytes);
    assert.equal(strict.type === "rejected" && strict.reason, "badCrc");
  });

  it("answers when no file can be made, and goes on once it can", () => {
    const { log } = open();
    ok(log.appendMessage(messageOfSize(3000), offsets));
    faults.create = new IoError("noSpace", "disk full");
    faults.match = /commitlog/;
    assert.equal(log.appendMessage(messageOfSize(2000), offsets).status, "CREATE_MAPPED_FILE_FAILED");
    assert.equal(log.maxOffset, FILE_SIZE, "the filler counts");
    assert.equal(log.appendMessage(message(), offsets).status, "CREATE_MAPPED_FILE_FAILED");
    faults.create = null;
    assert.equal(ok(log.appendMessage(message(), offsets)).wroteOffset, FILE_SIZE);
  });

  it("tells listeners of every growth, in the same turn", async () => {
    const { log } = open();
    const seen: number[][] = [];
    const stop = log.onGrow(() => seen.push([log.maxOffset, log.flushedOffset]));
    const { wroteBytes } = ok(log.appendMessage(message(), offsets));
    assert.deepEqual(seen, [[wroteBytes, 0]]);
    await log.flushService.flushNow();
    assert.deepEqual(seen, [[wroteBytes, 0], [wroteBytes, wroteBytes]]);
    stop();
    log.appendMessage(message(), offsets);
    assert.equal(seen.length, 2);
  });

  it("confirms what is flushed under SYNC_FLUSH, else what is written", async () => {
    const sync = open("sync", { flushDiskType: "SYNC_FLUSH" });
    const async = open("async");
    const { wroteBytes } = ok(sync.log.appendMessage(message(), offsets));
    async.log.appendMessage(message(), offsets);
    assert.equal(sync.log.confirmOffset, 0);
    assert.equal(async.log.confirmOffset, wroteBytes);
    assert.equal(await sync.log.waitStored(wroteBytes, 5000), true);
    assert.equal(sync.log.confirmOffset, wroteBytes);
    assert.equal(sync.checkpoint.physicMsgTimestamp, clock.now());
  });

  it("reports a failed sync as fatal", async () => {
    const { log, fatal } = open("store", { flushDiskType: "SYNC_FLUSH" });
    const { wroteBytes } = ok(log.appendMessage(message(), offsets));
    faults.sync = new IoError("other", "EIO");
    assert.equal(await log.waitStored(wroteBytes, 5000), false);
    assert.equal(fatal.length, 1);
    assert.equal(log.flushedOffset, 0);
  });

  it("reads up to its end, or the file's", async () => {
    const { log } = open();
    for (let i = 0; i < 6; i++) ok(log.appendMessage(messageOfSize(1000), offsets));
    const whole = bytes();
    const target = new Uint8Array(10_000);
    assert.equal(await log.read(0, target), FILE_SIZE);
    assert.deepEqual(target.subarray(0, FILE_SIZE), whole.subarray(0, FILE_SIZE));
    assert.equal(await log.read(4000, target), 96);
    assert.equal(await log.read(FILE_SIZE, target.subarray(0, 7)), 7);
    assert.equal(await log.read(FILE_SIZE + 1000, target), log.maxOffset - FILE_SIZE - 1000);
    for (const offset of [log.maxOffset, log.maxOffset + 1, -1, 1e15]) assert.equal(await log.read(offset, target), 0);
    assert.equal(typeof log.read(0, target), "number", "what was just written is read at once");
    assert.deepEqual(await log.readRecord(1000, 1000), whole.slice(1000, 2000));
    assert.equal(await log.readRecord(log.maxOffset - 10, 1000), null);
    assert.equal(await log.readRecord(0, -1), null);
  });

  it("reads what an earlier life wrote off the event loop", async () => {
    const first = open();
    const { wroteBytes } = ok(first.log.appendMessage(message(), offsets));
    await first.log.shutdown();
    const { log } = openLog(fs, clock, `${directory.path}/store`);
    log.setRecoveredEnd(wroteBytes, 0);
    const target = new Uint8Array(wroteBytes);
    const count = log.read(0, target);
    assert.notEqual(typeof count, "number");
    assert.equal(await count, wroteBytes);
    assert.deepEqual(target, bytes().slice(0, wroteBytes));
  });

  it("becomes its master's twin, however the bytes are cut", () => {
    const master = open("master", { enabledAppendPropCRC: true });
    for (let i = 0; i < 20; i++) ok(master.log.appendMessage(messageOfSize(300 + i * 41), offsets));
    const whole = bytes("master");
    const end = master.log.maxOffset;
    for (const step of [1, 97, 1000, FILE_SIZE]) {
      const slave = open(`slave${step}`);
      for (let at = 0; at < end; at = slave.log.replicaWriteOffset) {
        const size = Math.min(step, FILE_SIZE - (at % FILE_SIZE), end - at);
        assert.deepEqual(slave.log.appendReplica(at, whole.subarray(at, at + size)), { type: "appended" });
        assert.equal(slave.log.replicaWriteOffset, at + size);
      }
      assert.equal(slave.log.maxOffset, end);
      assert.equal(slave.log.lastRecordOffset, master.log.lastRecordOffset);
      assert.equal(slave.log.lastStoreTimestamp, clock.now());
      assert.deepEqual(bytes(`slave${step}`), whole);
    }
  });

  it("starts a replica at a file, and nowhere else", () => {
    const { log } = open();
    const elsewhere = log.appendReplica(100, new Uint8Array(10));
    assert.equal(elsewhere.type, "rejected");
    assert.deepEqual(files(), []);
    assert.equal(log.appendReplica(5 * FILE_SIZE, new Uint8Array(5)).type, "appended");
    assert.equal(log.replicaWriteOffset, 5 * FILE_SIZE + 5);
    assert.equal(log.maxOffset, 0);
    log.discardPartial();
    assert.equal(log.replicaWriteOffset, 0);

    const master = open("master");
    for (let i = 0; i < 6; i++) ok(master.log.appendMessage(messageOfSize(1500), offsets));
    const whole = bytes("master");
    assert.equal(log.appendReplica(FILE_SIZE, whole.subarray(FILE_SIZE, 2 * FILE_SIZE)).type, "appended");
    assert.equal(log.minOffset, FILE_SIZE);
    assert.equal(log.maxOffset, 2 * FILE_SIZE);
    assert.deepEqual(files(), [FILE_SIZE, 2 * FILE_SIZE], "a file follows the filler, or Apache would cut it");
  });

  it("keeps its promise about replica bytes when the disk fails", () => {
    const master = open("master");
    for (let i = 0; i < 6; i++) ok(master.log.appendMessage(messageOfSize(500), offsets));
    const whole = bytes("master").slice(0, master.log.maxOffset);
    const { log } = open();
    log.appendReplica(0, whole.subarray(0, 1200));
    assert.equal(log.maxOffset, 1000);
    faults.match = /store\/commitlog\/\d/;
    faults.write = new IoError("noSpace", "disk full");
    faults.writeFirst = 123;
    assert.throws(() => log.appendReplica(1200, whole.subarray(1200)), IoError);
    assert.equal(log.maxOffset, 1000);
    assert.equal(log.replicaWriteOffset, 1000);
    faults.write = null;
    log.appendReplica(1000, whole.subarray(1000));
    assert.deepEqual(bytes().slice(0, log.maxOffset), whole);
  });

  it("takes no replica bytes out of place", () => {
    const { log } = open();
    ok(log.appendMessage(message(), offsets));
    assert.throws(() => log.appendReplica(log.maxOffset + 1, new Uint8Array(1)), /wanted/);
  });

  it("sets a tail aside: copied, cut, zeroed, appended to again", async () => {
    const { log } = open();
    const results: number[] = [];
    for (let i = 0; i < 12; i++) results.push(ok(log.appendMessage(messageOfSize(900), offsets)).wroteOffset);
    const whole = bytes().slice(0, log.maxOffset);
    await log.flushService.flushNow();
    const cut = results[5]!;
    const path = await log.setTailAside(cut);
    assert.deepEqual(directory.fs.readFile(path), whole.slice(cut));
    assert.equal(log.maxOffset, cut);
    assert.equal(log.flushedOffset, cut);
    assert.equal(log.lastRecordOffset, results[4]);
    assert.deepEqual(files(), [0, FILE_SIZE]);
    const expected = new Uint8Array(2 * FILE_SIZE);
    expected.set(whole.subarray(0, cut));
    assert.deepEqual(bytes(), expected);
    assert.equal(ok(log.appendMessage(message(), offsets)).wroteOffset, cut);
  });

  it("sets a tail aside at a file's start, and all of it", async () => {
    const { log } = open();
    for (let i = 0; i < 6; i++) ok(log.appendMessage(messageOfSize(1500), offsets));
    await log.setTailAside(FILE_SIZE);
    assert.equal(log.maxOffset, FILE_SIZE);
    assert.equal(log.lastRecordOffset, 1500);
    await log.setTailAside(0);
    assert.equal(log.maxOffset, 0);
    assert.equal(log.lastRecordOffset, -1);
    await assert.rejects(log.setTailAside(1), /not between two records/);
  });

  it("sets the whole log aside", async () => {
    const { log } = open();
    for (let i = 0; i < 6; i++) ok(log.appendMessage(messageOfSize(1500), offsets));
    const whole = bytes();
    const path = await log.setLogAside();
    assert.deepEqual(files(), []);
    assert.deepEqual(logBytes(directory.fs, path), whole);
    assert.deepEqual([log.minOffset, log.maxOffset, log.lastRecordOffset], [0, 0, -1]);
    assert.equal(log.appendReplica(7 * FILE_SIZE, new Uint8Array(3)).type, "appended");
  });

  it("spreads files over several directories", () => {
    const paths = [`${directory.path}/a`, `${directory.path}/b`];
    const { log } = open("store", { storePathCommitLog: paths.join(" , ") });
    for (let i = 0; i < 6; i++) ok(log.appendMessage(messageOfSize(1500), offsets));
    assert.deepEqual(fs.list(paths[0]!).map(Number), [0, 2 * FILE_SIZE]);
    assert.deepEqual(fs.list(paths[1]!).map(Number), [FILE_SIZE]);
  });
});
