import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { StoreError } from "../../src/base/errors.ts";
import { utf8 } from "../../src/base/bytes.ts";
import type { FileSystem, Process } from "../../src/runtime/runtime.ts";
import { SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
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

  for (const found of ["nothing", "a dead owner", "a dead owner of the second generation"]) {
    it(`goes to one of two that start at the same instant and find ${found}`, () => {
      for (let at = 0; at < 40; at++) {
        fs.remove(root);
        live = new Map([[1, "boot"], [2, "later"], [3, "x"], [4, "y"]]);
        if (found !== "nothing") StoreLock.acquire(fs, processOf(3), root);
        live.delete(3);
        if (found.endsWith("generation")) StoreLock.acquire(fs, processOf(4), root);
        live.delete(4);
        const second: StoreLock[] = [];
        // The other one does all it does between two steps of the first.
        const between = stepping(fs, at, () => second.push(StoreLock.acquire(fs, processOf(2), root)));
        const first: StoreLock[] = [];
        try {
          first.push(StoreLock.acquire(between, processOf(1), root));
        } catch (error) {
          assert.ok(error instanceof StoreError);
        }
        assert.ok(first.length + second.length === 1, `${first.length + second.length} hold it after step ${at}`);
        assert.deepEqual(fs.list(root).filter((name) => name.startsWith("twinlog")).length, 1);
      }
    });
  }

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

/** `fs` that calls `meanwhile` before the step `at` (a refusal there counts for nothing). */
function stepping(fs: FileSystem, at: number, meanwhile: () => void): FileSystem {
  return new Proxy(fs, {
    get: (target, name) => (...parameters: unknown[]) => {
      if (at-- === 0) {
        try {
          meanwhile();
        } catch (error) {
          assert.ok(error instanceof StoreError);
        }
      }
      return Reflect.apply(Reflect.get(target, name) as (...all: unknown[]) => unknown, target, parameters);
    },
  });
}

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

  it("is there after a loss of power, its name too, also where a killed process made it", async () => {
    const world = new SimulatedWorld(1);
    const host = world.host("a");
    const made = host.runtime.fs;
    made.makeDirectory("/store");
    made.syncDirectory("/");
    made.writeFile("/store/checkpoint", new Uint8Array(4096));
    host.kill();
    const written = new StoreCheckpoint(host.restart().fs, "/store");
    written.physicMsgTimestamp = 7;
    written.flushBlocking();
    host.crash("drop");
    assert.equal(new StoreCheckpoint(host.restart().fs, "/store").physicMsgTimestamp, 7);
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
