import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { StoreError } from "../../src/base/errors.ts";
import { utf8 } from "../../src/base/bytes.ts";
import type { FileSystem, Process } from "../../src/runtime/runtime.ts";
import { StoreCheckpoint } from "../../src/store/store_checkpoint.ts";
import { AbortFile, StoreLock } from "../../src/store/store_lock.ts";
import { APACHE_STORES, temporaryDirectory } from "../support/store_fixtures.ts";

describe("store lock", () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let fs: FileSystem;
  let root: string;
  let live: Map<number, string>;

  const processOf = (pid: number): Process => ({
    ...directory.runtime.process,
    pid,
    startToken: (of: number) => live.get(of) ?? null,
  });

  beforeEach(async () => {
    directory = await temporaryDirectory();
    fs = directory.fs;
    root = `${directory.path}/store`;
    live = new Map([[1, "boot"], [2, "later"]]);
  });
  afterEach(() => directory.remove());

  it("writes Apache's file, and gives way once released", () => {
    const lock = StoreLock.acquire(fs, processOf(1), root);
    assert.equal(utf8.decode(fs.readFile(`${root}/lock`)!), "lock");
    lock.release();
    lock.release();
    StoreLock.acquire(fs, processOf(2), root).release();
    assert.deepEqual(fs.list(root), ["lock"]);
  });

  it("refuses while the owner lives, this process included, and says who", () => {
    StoreLock.acquire(fs, processOf(1), root);
    const saysWho = (error: Error) => error instanceof StoreError && error.message.includes("process 1");
    assert.throws(() => StoreLock.acquire(fs, processOf(2), root), saysWho);
    assert.throws(() => StoreLock.acquire(fs, processOf(1), root), saysWho);
  });

  it("takes over from the dead, and from a pid that was given to another", () => {
    StoreLock.acquire(fs, processOf(1), root);
    live.set(1, "another");
    StoreLock.acquire(fs, processOf(2), root);
    live.delete(2);
    StoreLock.acquire(fs, processOf(1), root);
  });

  it("takes a torn owner file for a dead one's", () => {
    fs.makeDirectory(root);
    for (
      const text of [
        "",
        "{",
        "null",
        "7",
        '{"pid":1}',
        '{"pid":"1","startToken":"boot"}',
        '{"pid":-1,"startToken":null}',
      ]
    ) {
      fs.writeFile(`${root}/twinlog.owner`, utf8.encode(text));
      StoreLock.acquire(fs, processOf(2), root).release();
    }
  });

  it("leaves a store alone that someone took meanwhile", () => {
    const first = StoreLock.acquire(fs, processOf(1), root);
    live.delete(1);
    StoreLock.acquire(fs, processOf(2), root);
    first.release();
    assert.throws(() => StoreLock.acquire(fs, processOf(1), root), StoreError);
  });

  it("refuses when another process holds Apache's lock", () => {
    const locked: FileSystem = {
      ...fs,
      stat: (p) => fs.stat(p),
      makeDirectory: (p) => fs.makeDirectory(p),
      syncDirectory: (p) => fs.syncDirectory(p),
      lockedBy: () => 4711,
    };
    assert.throws(() => StoreLock.acquire(locked, processOf(1), root), /process 4711 holds a lock/);
  });
});

describe("abort file", () => {
  it("tells of an unclean exit", async () => {
    const { fs, path, runtime, remove } = await temporaryDirectory();
    assert.equal(AbortFile.exists(fs, path), false);
    AbortFile.create(fs, runtime.process, path);
    assert.equal(AbortFile.exists(fs, path), true);
    assert.equal(utf8.decode(fs.readFile(`${path}/abort`)!), String(runtime.process.pid));
    assert.equal(fs.stat(`${path}/abort.bak`)!.size, 0);
    AbortFile.remove(fs, path);
    assert.equal(AbortFile.exists(fs, path), false);
    remove();
  });
});

describe("store checkpoint", () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  beforeEach(async () => {
    directory = await temporaryDirectory();
  });
  afterEach(() => directory.remove());

  it("comes back as it was written", async () => {
    const { fs, path } = directory;
    const written = new StoreCheckpoint(fs, path);
    assert.equal(written.minTimestamp, 0);
    written.physicMsgTimestamp = 1_700_000_009_000;
    written.logicsMsgTimestamp = 1_700_000_005_000;
    written.indexMsgTimestamp = 1_700_000_000_000;
    written.masterFlushedOffset = 2 ** 40;
    written.confirmPhyOffset = 2 ** 41 + 7;
    await written.flush();
    assert.equal(fs.stat(`${path}/checkpoint`)!.size, 4096);
    const read = new StoreCheckpoint(fs, path);
    assert.equal(read.physicMsgTimestamp, 1_700_000_009_000);
    assert.equal(read.masterFlushedOffset, 2 ** 40);
    assert.equal(read.confirmPhyOffset, 2 ** 41 + 7);
    assert.equal(read.minTimestamp, 1_700_000_002_000);
    assert.equal(read.minTimestampIndex, 1_700_000_000_000);
    read.confirmPhyOffset = 9;
    read.flushBlocking();
    assert.equal(new StoreCheckpoint(fs, path).confirmPhyOffset, 9);
  });

  it("writes nothing when nothing changed", async () => {
    const { fs, path } = directory;
    const checkpoint = new StoreCheckpoint(fs, path);
    checkpoint.physicMsgTimestamp = 5;
    await checkpoint.flush();
    fs.remove(`${path}/checkpoint`);
    await checkpoint.flush();
    assert.equal(fs.stat(`${path}/checkpoint`), null);
  });

  it("reads Apache's", () => {
    const checkpoint = new StoreCheckpoint(directory.fs, `${APACHE_STORES}/plain`);
    assert(checkpoint.physicMsgTimestamp > 1_700_000_000_000);
    assert(checkpoint.logicsMsgTimestamp > 1_700_000_000_000);
    assert(checkpoint.confirmPhyOffset >= 0);
  });

  it("takes a missing or a short file for zeros", () => {
    const { fs, path } = directory;
    assert.equal(new StoreCheckpoint(fs, path).physicMsgTimestamp, 0);
    fs.writeFile(`${path}/checkpoint`, new Uint8Array(7).fill(1));
    assert.equal(new StoreCheckpoint(fs, path).physicMsgTimestamp, 0);
  });
});
