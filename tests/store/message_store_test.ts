import assert from "node:assert/strict";
import { existsSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { StoreError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { sleep } from "../../src/base/async.ts";
import { formatProperties } from "../../src/store/message_properties.ts";
import { MessageSysFlag } from "../../src/store/message_sys_flag.ts";
import { BoundaryType, GetMessageStatus } from "../../src/store/message_reader.ts";
import { MessageStore } from "../../src/store/message_store.ts";
import { StoreCheckpoint } from "../../src/store/store_checkpoint.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import { failingFileSystem } from "../support/failing_fs.ts";
import { message, putOk, SMALL, StoreKit } from "../support/store_kit.ts";

let kit: StoreKit;
before(async () => {
  kit = await StoreKit.create();
});
after(() => kit.dispose());

/** Waits, with a deadline, for what has no event of its own. */
async function until(condition: () => boolean, what: string): Promise<void> {
  const { clock } = kit.runtime;
  for (const deadline = clock.monotonic() + 10_000; !condition();) {
    if (clock.monotonic() > deadline) throw new Error(`Waited in vain until ${what}`);
    await sleep(clock, 2);
  }
}

async function putMany(store: MessageStore, from: number, to: number): Promise<void> {
  for (let i = from; i < to; i++) putOk(store.appendMessage(message(`m${i}`, { queueId: i % 3 })));
  await store.waitDispatched();
}

async function bodies(store: MessageStore, topic: string, queueId: number): Promise<string[]> {
  const result: string[] = [];
  for (let offset = store.getMinOffsetInQueue(topic, queueId);;) {
    const got = await store.getMessage(topic, queueId, offset, 100, 1 << 20);
    if (got.status !== GetMessageStatus.FOUND) return result;
    for (const found of got.messages) result.push(utf8.decode(found.body));
    offset = got.nextBeginOffset;
  }
}

async function assertHolds(store: MessageStore, count: number): Promise<void> {
  for (let queueId = 0; queueId < 3; queueId++) {
    const wanted = [];
    for (let i = queueId; i < count; i += 3) wanted.push(`m${i}`);
    assert.deepEqual(await bodies(store, "TopicTest", queueId), wanted);
  }
}

async function assertVerifies(directory: string): Promise<void> {
  const result = await verifyStore(kit.runtime.fs, directory);
  assert.deepEqual(result.finding, null);
}

/** Every file below a directory with its content. */
function tree(directory: string): Map<string, string> {
  const files = new Map<string, string>();
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(path.slice(directory.length), readFileSync(path).toString("base64"));
  }
  return files;
}

describe("MessageStore, life", () => {
  it("warns of nothing when it is opened and closed unstarted, though its messages have no keys", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    putOk(store.appendMessage(message("keyless", { properties: new Map() })));
    await store.shutdown();
    const warnings: string[] = [];
    const logger = { ...SILENT_LOGGER, warn: (text: string) => warnings.push(text) };
    const { fs, clock, process } = kit.runtime;
    const options = { ...SMALL, storePathRootDir: directory };
    await (await MessageStore.open(options, { fs, clock, process, logger })).shutdown();
    assert.deepEqual(warnings, []);
    assert.ok(!existsSync(`${directory}/abort`));
  });

  it("keeps messages over a clean stop, and its queue offsets go on", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    await putMany(store, 0, 200);
    assert.ok(store.maxOffset > 3 * store.mappedFileSize);
    await assertHolds(store, 200);
    assert.ok(existsSync(`${directory}/abort`));
    await store.shutdown();
    assert.ok(!existsSync(`${directory}/abort`));
    assert.ok(!existsSync(`${directory}/twinlog.owner`));
    await assertVerifies(directory);

    const again = await kit.open(directory);
    assert.equal(again.dispatchBehindBytes, 0);
    assert.equal(putOk(again.appendMessage(message("m200", { queueId: 2 }))).logicsOffset, 66);
    await again.waitDispatched();
    await assertHolds(again, 201);
    assert.deepEqual((await again.queryMessage("TopicTest", "id-m3", 10, 0, Infinity)).map((m) => m.queueOffset), [1]);
    await again.shutdown();
    await assertVerifies(directory);
  });

  it("loses nothing when killed, at any moment, and needs no hand", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    for (let round = 1; round <= 6; round++) {
      await putMany(store, (round - 1) * 37, round * 37);
      // Two more that are in the log and not dispatched.
      const copy = kit.killed(directory);
      const survivor = await kit.open(copy);
      await survivor.waitDispatched();
      await assertHolds(survivor, round * 37);
      await until(() => fileCount(`${copy}/index`) > 0, "the index is built again");
      await survivor.shutdown();
      assert.ok(!existsSync(`${copy}/abort`), "a clean stop after a crash is clean");
      await assertVerifies(copy);
    }
    const undispatched = putOk(store.appendMessage(message("m222")));
    const survivor = await kit.open(kit.killed(directory));
    assert.equal(survivor.maxOffset, undispatched.wroteOffset + undispatched.wroteBytes);
    assert.equal(survivor.getMaxOffsetInQueue("TopicTest", 0), 75);
  });

  it("finds keys of all files again after a crash took the index", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    await putMany(store, 0, 300);
    const survivor = await kit.open(kit.killed(directory));
    await until(() => fileCount(`${directory}/index`) > 0, "there is an index");
    for (const i of [0, 1, 100, 299]) {
      let found: readonly { body: Uint8Array }[] = [];
      for (let tries = 0; tries < 1000 && found.length === 0; tries++) {
        found = await survivor.queryMessage("TopicTest", `k-m${i}`, 10, 0, Infinity);
        if (found.length === 0) await sleep(kit.runtime.clock, 2);
      }
      assert.deepEqual(found.map((m) => utf8.decode(m.body)), [`m${i}`]);
    }
  });

  for (const what of ["consumequeue", "index"]) {
    it(`builds ${what} again when it was deleted`, async () => {
      const directory = kit.directory();
      const store = await kit.open(directory);
      await putMany(store, 0, 100);
      await store.shutdown();
      const before = tree(`${directory}/consumequeue`);
      rmSync(`${directory}/${what}`, { recursive: true });
      const again = await kit.open(directory);
      await again.waitDispatched();
      await assertHolds(again, 100);
      await again.shutdown();
      assert.deepEqual(tree(`${directory}/consumequeue`), before);
      const last = await kit.open(directory);
      assert.equal((await last.queryMessage("TopicTest", "k-m7", 10, 0, Infinity)).length, 1);
      await last.shutdown();
    });
  }

  it("cuts a torn record, and queues that were ahead of the log", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    await putMany(store, 0, 50);
    const last = (await store.getMessage("TopicTest", 1, 16, 1, 1000)).messages[0]!;
    const copy = kit.killed(directory);
    const { fs } = kit.runtime;
    const from = last.physicalOffset - last.physicalOffset % store.mappedFileSize;
    const file = fs.open(`${copy}/commitlog/${String(from).padStart(20, "0")}`, "write");
    file.writeAt(new Uint8Array(60), last.physicalOffset + 100 - from);
    file.close();
    const survivor = await kit.open(copy);
    assert.equal(survivor.maxOffset, last.physicalOffset);
    assert.equal(survivor.getMaxOffsetInQueue("TopicTest", 1), 16);
    assert.equal(putOk(survivor.appendMessage(message("other", { queueId: 1 }))).logicsOffset, 16);
    await survivor.waitDispatched();
    await survivor.shutdown();
    await assertVerifies(copy);
  });

  it("holds the store for itself and lets go of it when opening fails", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    putOk(store.appendMessage(message("one")));
    await assert.rejects(() => kit.open(directory), /in use by process/);
    await store.shutdown();
    await assert.rejects(() => kit.open(directory, { mappedFileSizeCommitLog: 32768 }), /wanted 32768/);
    const again = await kit.open(directory);
    await again.shutdown();
    await again.shutdown();
    assert.match(again.notWritableReason ?? "", /shut down/);
    const { status } = again.appendMessage(message("late"));
    assert.equal(status, "SERVICE_NOT_AVAILABLE");
  });

  it("drops queues and index when the log is gone, as Apache does", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    await putMany(store, 0, 10);
    await store.shutdown();
    rmSync(`${directory}/commitlog`, { recursive: true });
    const again = await kit.open(directory);
    assert.deepEqual(again.queues(), []);
    assert.equal(putOk(again.appendMessage(message("first"))).logicsOffset, 0);
    await again.shutdown();
    await assertVerifies(directory);
  });
});

function fileCount(directory: string): number {
  return existsSync(directory) ? readdirSync(directory).length : 0;
}

describe("MessageStore, dispatch", () => {
  it("follows Apache's rules for tags, delays and transactions", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    const delayed = putOk(store.appendMessage(message("d", {
      topic: "SCHEDULE_TOPIC_XXXX",
      queueId: 1,
      properties: new Map([["DELAY", "2"], ["TAGS", "TagA"]]),
    })));
    putOk(store.appendMessage(message("n", { properties: new Map([["DELAY", "2"], ["TAGS", "TagA"]]) })));
    putOk(store.appendMessage(message("no tag", { properties: new Map() })));
    const { TRANSACTION_PREPARED, TRANSACTION_COMMIT, TRANSACTION_ROLLBACK } = MessageSysFlag;
    for (const sysFlag of [TRANSACTION_PREPARED, TRANSACTION_COMMIT, TRANSACTION_ROLLBACK]) {
      putOk(store.appendMessage(message(`t${sysFlag}`, { sysFlag, queueId: 5 })));
    }
    await store.waitDispatched();
    const unit = (topic: string, queueId: number, index: number) =>
      readFileSync(`${directory}/consumequeue/${topic}/${queueId}/${"0".padStart(20, "0")}`)
        .readBigInt64BE(index * 20 + 12);
    assert.equal(unit("SCHEDULE_TOPIC_XXXX", 1, 0), BigInt(delayed.storeTimestamp + 5000));
    assert.equal(unit("TopicTest", 0, 0), 2598919n);
    assert.equal(unit("TopicTest", 0, 1), 0n);
    assert.deepEqual(await bodies(store, "TopicTest", 5), [`t${TRANSACTION_COMMIT}`]);
    const found = async (key: string) => (await store.queryMessage("TopicTest", key, 10, 0, Infinity)).length;
    assert.equal(await found(`id-t${TRANSACTION_PREPARED}`), 1);
    assert.equal(await found(`id-t${TRANSACTION_ROLLBACK}`), 0);
    await store.shutdown();
    await assertVerifies(directory);
  });

  it("tells listeners when messages can be read, and dispatches records larger than a slice", async () => {
    const store = await kit.open(kit.directory(), { mappedFileSizeCommitLog: 8 << 20 });
    const seen: number[] = [];
    const stop = store.onDispatched(() => seen.push(store.getMaxOffsetInQueue("TopicTest", 0)));
    for (const size of [10, 3 << 20, 20, 4 << 20]) {
      putOk(store.appendMessage(message("", { body: new Uint8Array(size).fill(7) })));
    }
    await store.waitDispatched();
    stop();
    assert.equal(seen.at(-1), 4);
    const { messages } = await store.getMessage("TopicTest", 0, 0, 10, 64 << 20);
    assert.deepEqual(messages.map((found) => found.body.length), [10, 3 << 20, 20, 4 << 20]);
  });

  it("gives no queue to a topic that is no directory name", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    putOk(store.appendMessage(message("evil", { topic: "../../evil" })));
    putOk(store.appendMessage(message("good")));
    await store.waitDispatched();
    assert.deepEqual(store.queues().map((queue) => queue.topic), ["TopicTest"]);
    assert.deepEqual(readdirSync(`${directory}/consumequeue`), ["TopicTest"]);
    await store.shutdown();
  });

  it("waits with dispatch for the disk under SYNC_FLUSH", async () => {
    const store = await kit.open(kit.directory(), { flushDiskType: "SYNC_FLUSH" });
    const put = putOk(store.appendMessage(message("one")));
    assert.equal(store.confirmOffset, 0);
    assert.equal(await store.waitStored(put.wroteOffset + put.wroteBytes, 5000), true);
    await store.waitDispatched();
    assert.deepEqual(await bodies(store, "TopicTest", 0), ["one"]);
  });
});

describe("MessageStore, reading", () => {
  it("answers like Apache's getMessage", async () => {
    const store = await kit.open(kit.directory());
    await putMany(store, 0, 30);
    const get = async (offset: number, num = 100, bytes = 1 << 20) => {
      const { status, nextBeginOffset, messages } = await store.getMessage("TopicTest", 0, offset, num, bytes);
      return [status, nextBeginOffset, messages.length];
    };
    assert.deepEqual(await get(0), ["FOUND", 10, 10]);
    assert.deepEqual(await get(8, 1), ["FOUND", 9, 1]);
    assert.deepEqual(await get(0, 100, 1), ["FOUND", 1, 1], "the first always goes out");
    assert.deepEqual(await get(10), ["OFFSET_OVERFLOW_ONE", 10, 0]);
    assert.deepEqual(await get(11), ["OFFSET_OVERFLOW_BADLY", 10, 0]);
    assert.deepEqual(await get(-1), ["OFFSET_TOO_SMALL", 0, 0]);
    assert.equal((await store.getMessage("none", 0, 0, 1, 1)).status, "NO_MESSAGE_IN_QUEUE");
  });

  it("finds by offset, id, key and time", async () => {
    const store = await kit.open(kit.directory());
    await putMany(store, 0, 30);
    const put = putOk(store.appendMessage(message("wanted", { queueId: 9 })));
    await store.waitDispatched();
    assert.equal(utf8.decode((await store.lookMessageByOffset(put.wroteOffset))!.body), "wanted");
    assert.equal(utf8.decode((await store.lookMessageById(put.msgIds[0]!))!.body), "wanted");
    for (const offset of [put.wroteOffset + 1, -1, store.maxOffset, 1e15, NaN]) {
      assert.equal(await store.lookMessageByOffset(offset), null);
    }
    assert.equal(await store.lookMessageById("nonsense"), null);
    const at = put.storeTimestamp;
    const query = async (key: string, max: number, begin: number, end: number) =>
      (await store.queryMessage("TopicTest", key, max, begin, end)).length;
    assert.equal(await query("id-wanted", 10, at, at), 1);
    assert.equal(await query("id-wanted", 10, at + 1, Infinity), 0);
    assert.equal(await query("id-wanted", 10, 0, at - 1), 0);
    assert.equal(await query("all", 5, 0, Infinity), 5);
    assert.equal(await query("unknown", 5, 0, Infinity), 0);
    const { LOWER, UPPER } = BoundaryType;
    assert.equal(store.getOffsetByTime("TopicTest", 9, at, LOWER), 0);
    assert.equal(store.getOffsetByTime("TopicTest", 9, at + 1, LOWER), 1);
    assert.equal(store.getOffsetByTime("TopicTest", 9, at, UPPER), 0);
    assert.equal(store.getOffsetByTime("TopicTest", 0, 0, LOWER), 0);
    assert.equal(store.getOffsetByTime("TopicTest", 0, at + 1, UPPER), 9);
    assert.equal(store.getOffsetByTime("none", 0, at, LOWER), 0);
    assert.ok(store.getEarliestMessageTime("TopicTest", 0) <= at);
    assert.equal(store.getEarliestMessageTime("none", 0), -1);
  });

  it("keeps figures", async () => {
    const store = await kit.open(kit.directory());
    await putMany(store, 0, 5);
    store.appendMessage(message("x".repeat(5 << 20)));
    await bodies(store, "TopicTest", 0);
    const figures = store.statistics();
    assert.deepEqual([figures.putMessageTimesTotal, figures.putMessageFailedTimes], [5, 1]);
    assert.equal(figures.putMessageSizeTotal, store.maxOffset);
    assert.equal(figures.getMessageTransferedMsgCount, 2);
    assert.ok(figures.earliestMessageTimeStamp > 1_700_000_000_000);
    assert.ok(figures.commitLogDiskRatio > 0 && figures.commitLogDiskRatio < 1);
  });
});

/** Everything a master holds, copied to a slave in pieces of `step` bytes. */
async function replicate(master: MessageStore, slave: MessageStore, step: number): Promise<void> {
  const chunk = new Uint8Array(step);
  for (let offset = Math.max(slave.replicaWriteOffset, master.minOffset); offset < master.maxOffset;) {
    const count = await master.read(offset, chunk);
    assert.deepEqual(slave.appendReplica(offset, chunk.subarray(0, count)), { type: "appended" });
    offset += count;
  }
}

describe("MessageStore, roles", () => {
  it("builds a twin from a master's bytes, is promoted, and goes on", async () => {
    const [directory, twin] = [kit.directory(), kit.directory()];
    const master = await kit.open(directory);
    await putMany(master, 0, 150);
    const slave = await kit.open(twin, {}, { role: "slave" });
    assert.equal(slave.appendMessage(message("no")).status, "SERVICE_NOT_AVAILABLE");
    assert.match(slave.notWritableReason ?? "", /Role is SLAVE/);
    await replicate(master, slave, 777);
    assert.equal(slave.maxOffset, master.maxOffset);
    assert.equal(slave.lastRecordOffset, master.lastRecordOffset);
    await slave.waitDispatched();
    await assertHolds(slave, 150);
    assert.equal(slave.statistics().putMessageTimesTotal, 150);
    assert.deepEqual(tree(`${twin}/consumequeue`), tree(`${directory}/consumequeue`));

    await slave.setRole("master");
    assert.throws(() => slave.appendReplica(slave.maxOffset, new Uint8Array(1)), /Role is master/);
    assert.equal(putOk(slave.appendMessage(message("m150"))).logicsOffset, 50);
    await slave.waitDispatched();
    await assertHolds(slave, 151);
    await slave.setRole("slave");
    assert.equal(slave.appendMessage(message("no")).status, "SERVICE_NOT_AVAILABLE");
    await slave.shutdown();
    await assertVerifies(twin);
  });

  it("a slave that starts in the middle of a history knows where its queues begin", async () => {
    const directory = kit.directory();
    const master = await kit.open(directory);
    await putMany(master, 0, 150);
    const slave = await kit.open(kit.directory(), {}, { role: "slave" });
    const from = 2 * master.mappedFileSize;
    const chunk = new Uint8Array(1000);
    for (let offset = from; offset < master.maxOffset;) {
      const count = await master.read(offset, chunk);
      assert.deepEqual(slave.appendReplica(offset, chunk.subarray(0, count)), { type: "appended" });
      offset += count;
    }
    await slave.waitDispatched();
    assert.equal(slave.minOffset, from);
    for (let queueId = 0; queueId < 3; queueId++) {
      const min = slave.getMinOffsetInQueue("TopicTest", queueId);
      assert.ok(min > 0);
      assert.equal(slave.getMaxOffsetInQueue("TopicTest", queueId), 50);
      assert.equal((await bodies(slave, "TopicTest", queueId))[0], `m${min * 3 + queueId}`);
    }
  });

  it("sets a tail aside, queues and index with it, and follows again", async () => {
    const [directory, twin] = [kit.directory(), kit.directory()];
    const master = await kit.open(directory);
    await putMany(master, 0, 40);
    const common = master.maxOffset;
    const slave = await kit.open(twin, {}, { role: "slave" });
    await replicate(master, slave, 4096);
    await slave.setRole("master");
    for (let i = 0; i < 100; i++) putOk(slave.appendMessage(message(`stray${i}`, { topic: "Stray" })));
    await slave.waitDispatched();
    await slave.setRole("slave");
    const strayEnd = slave.maxOffset;
    const path = await slave.setTailAside(common);
    assert.equal(readFileSync(path).length, strayEnd - common);
    assert.equal(slave.maxOffset, common);
    assert.equal(slave.getMaxOffsetInQueue("Stray", 0), 0);
    assert.deepEqual(await slave.queryMessage("Stray", "id-stray5", 10, 0, Infinity), []);
    await putMany(master, 40, 120);
    await replicate(master, slave, 4096);
    await slave.waitDispatched();
    await assertHolds(slave, 120);
    assert.equal((await slave.queryMessage("TopicTest", "id-m100", 10, 0, Infinity)).length, 1);
    const killed = await kit.open(kit.killed(twin), {}, { role: "slave" });
    await assertHolds(killed, 120);
    await slave.shutdown();
    await assertVerifies(twin);
  });

  it("moves the whole log aside and starts at the master's begin", async () => {
    const [directory, twin] = [kit.directory(), kit.directory()];
    const slave = await kit.open(twin);
    await putMany(slave, 0, 50);
    await slave.setRole("slave");
    const path = await slave.setLogAside();
    assert.ok(readdirSync(path).length > 0);
    assert.deepEqual([slave.minOffset, slave.maxOffset, slave.lastRecordOffset], [0, 0, -1]);
    assert.deepEqual(slave.queues(), []);
    const master = await kit.open(directory);
    await putMany(master, 0, 90);
    await replicate(master, slave, 1000);
    await slave.waitDispatched();
    await assertHolds(slave, 90);
    await slave.shutdown();
    await assertVerifies(twin);
  });
});

describe("MessageStore, a failing disk", () => {
  it("goes on with dispatch when there is room again", async () => {
    const directory = kit.directory();
    let isFull = false;
    const failures = { write: (path: string) => isFull && path.includes("/consumequeue/"), sync: () => false };
    const store = await kit.open(directory, {}, { fs: failingFileSystem(kit.runtime.fs, failures) });
    await putMany(store, 0, 20);
    isFull = true;
    for (let i = 20; i < 60; i++) putOk(store.appendMessage(message(`m${i}`, { queueId: i % 3 })));
    await sleep(kit.runtime.clock, 20);
    assert.ok(store.dispatchBehindBytes > 0);
    isFull = false;
    await store.waitDispatched();
    await assertHolds(store, 60);
    await store.shutdown();
    await assertVerifies(directory);
  });

  it("goes on when the checkpoint can't be written, also where an index file is full", async () => {
    const directory = kit.directory();
    let isFull = false;
    const errors: unknown[] = [];
    const failures = { write: (path: string) => isFull && path.endsWith("/checkpoint"), sync: () => false };
    const store = await kit.open(directory, {}, {
      fs: failingFileSystem(kit.runtime.fs, failures),
      onFatal: (error) => errors.push(error),
    });
    isFull = true;
    await putMany(store, 0, 300);
    assert.ok(readdirSync(`${directory}/index`).length > 1);
    isFull = false;
    await store.shutdown();
    assert.deepEqual(errors, []);
    assert.ok(!existsSync(`${directory}/abort`));
    assert.ok(new StoreCheckpoint(kit.runtime.fs, directory).indexMsgTimestamp > 0);
    await assertVerifies(directory);
  });

  for (const what of ["commitlog", "consumequeue"]) {
    it(`stops for good when a sync of ${what} fails, and recovers at the next start`, async () => {
      const directory = kit.directory();
      let isBroken = false;
      const failures = { write: () => false, sync: (path: string) => isBroken && path.includes(`/${what}/`) };
      const errors: unknown[] = [];
      const store = await kit.open(directory, {}, {
        fs: failingFileSystem(kit.runtime.fs, failures),
        onFatal: (error) => errors.push(error),
      });
      await putMany(store, 0, 20);
      isBroken = true;
      await putMany(store, 20, 40);
      await until(() => errors.length > 0, "the failed sync is told");
      assert.equal(store.appendMessage(message("late")).status, "SERVICE_NOT_AVAILABLE");
      assert.match(store.notWritableReason ?? "", /failed/);
      await assert.rejects(() => store.waitFlushed(store.maxOffset + 1));
      await store.shutdown();
      assert.equal(errors.length, 1);
      assert.ok(existsSync(`${directory}/abort`));
      const note = readFileSync(`${directory}/twinlog.syncfailed`, "utf8");
      assert.match(note, /^\{"flushedOffset":\d+,"path":/);
      const refused = kit.open(directory, {}, { fs: failingFileSystem(kit.runtime.fs, failures) });
      await assert.rejects(refused, (error) => error instanceof StoreError && /failed as well/.test(error.message));
      assert.equal(readFileSync(`${directory}/twinlog.syncfailed`, "utf8"), note);
      const warnings: string[] = [];
      const logger = { ...SILENT_LOGGER, warn: (text: string) => warnings.push(text) };
      const again = await kit.open(directory, {}, { logger });
      assert.equal(warnings.filter((text) => text.startsWith("A sync failed in an earlier life")).length, 1);
      assert.ok(!existsSync(`${directory}/twinlog.syncfailed`));
      await assertHolds(again, 40);
      await again.shutdown();
      await assertVerifies(directory);
    });
  }
});

describe("MessageStore, batches and expiry", () => {
  it("stores a client's batch as consecutive messages", async () => {
    const store = await kit.open(kit.directory());
    putOk(store.appendMessage(message("first")));
    const parts = ["a", "b", "c"].map((text) => batchPart(text));
    const body = Buffer.concat(parts);
    const put = putOk(store.appendBatch({ message: message("", { properties: new Map() }), batchBody: body }));
    assert.deepEqual([put.msgNum, put.logicsOffset, put.msgIds.length], [3, 1, 3]);
    await store.waitDispatched();
    assert.deepEqual(await bodies(store, "TopicTest", 0), ["first", "a", "b", "c"]);
    assert.equal((await store.queryMessage("TopicTest", "id-b", 10, 0, Infinity)).length, 1);
  });

  it("lets queues and index follow the log when files expire", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory, { deleteWhen: everyHour(), fileReservedTime: 0 });
    await putMany(store, 0, 300);
    const before = store.maxOffset;
    await sleep(kit.runtime.clock, 5);
    await store.cleanExpired();
    await store.cleanExpired();
    await store.cleanExpired();
    assert.ok(store.minOffset > 0 && before - store.minOffset <= 2 * store.mappedFileSize);
    assert.equal(store.maxOffset, before);
    const min = store.getMinOffsetInQueue("TopicTest", 0);
    assert.ok(min > 0);
    assert.equal((await store.getMessage("TopicTest", 0, 0, 1, 1)).status, "OFFSET_TOO_SMALL");
    assert.equal((await bodies(store, "TopicTest", 0))[0], `m${min * 3}`);
    assert.equal(putOk(store.appendMessage(message("m300"))).logicsOffset, 100);
    await store.waitDispatched();
    await store.shutdown();
    await assertVerifies(directory);
    const again = await kit.open(directory);
    assert.equal(again.getMinOffsetInQueue("TopicTest", 0), min);
    assert.equal(again.getMaxOffsetInQueue("TopicTest", 0), 101);
  });

  it("keeps what a live slave needs", async () => {
    const options = { deleteWhen: everyHour(), fileReservedTime: 0 };
    const store = await kit.open(kit.directory(), options, { retainOffset: () => 0 });
    await putMany(store, 0, 200);
    await sleep(kit.runtime.clock, 5);
    await store.cleanExpired();
    assert.equal(store.minOffset, 0);
  });
});

function everyHour(): string {
  return Array.from({ length: 24 }, (_, hour) => String(hour)).join(";");
}

function batchPart(text: string): Uint8Array {
  const body = utf8.encode(text);
  const properties = formatProperties(new Map([["UNIQ_KEY", `id-${text}`]]));
  const part = Buffer.alloc(22 + body.length + properties.length);
  part.writeInt32BE(part.length, 0);
  part.writeInt32BE(body.length, 16);
  part.set(body, 20);
  part.writeInt16BE(properties.length, 20 + body.length);
  part.set(properties, 22 + body.length);
  return part;
}
