// Reports about a slave that is started again after it was killed.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { writeInt64 } from "../../src/base/bytes.ts";
import type { FileHandle, FileSystem } from "../../src/runtime/runtime.ts";
import { message, putOk } from "../support/store_kit.ts";
import { OurMaster, OurSlave, Scene } from "./scene.ts";

const CHECKPOINT = "/store/checkpoint";

describe("a slave that was killed", () => {
  // apache/rocketmq#1456 (and #1153), to 4.5.2: only an append of a message of one's own moved the checkpoint's
  // physicMsgTimestamp, and a slave has none. It stayed 0, no file was old enough to be trusted, and a slave with
  // hundreds of files read every one of them when it started. The old slave here is our store with that field as it
  // was.
  it("1456: reads the last files when it starts, not the whole log", async () => {
    const scenario = async (isOld: boolean) => {
      const scene = new Scene(1456);
      const store = await scene.store("master", "master");
      const puts = await scene.serve(new OurMaster(scene.masterParts("master", store)), store);
      let slaveStore = await scene.store("slave", "slave");
      const slave = new OurSlave(scene.slaveParts("slave", "master"), slaveStore, () => store);
      scene.start(slave);
      for (let i = 0; i < 100; i++) {
        await puts.fill(1, 1000);
        await scene.world.advance(1000);
      }
      await scene.world.run(() => slave.maxOffset === store.maxOffset, 60_000);
      const files = Math.ceil(store.maxOffset / store.mappedFileSize);
      await scene.world.drive(slave.stop());
      scene.host("slave").kill();
      const { fs } = scene.host("slave").restart();
      if (isOld) forgetPhysicMsgTimestamp(fs);
      const counting = countingReads(fs, "/commitlog/");
      slaveStore = await scene.store("slave", "slave", {}, { fs: counting.fs });
      const read = counting.bytesRead();
      assert.equal(slaveStore.maxOffset, store.maxOffset, "nothing is lost either way");
      await scene.world.run(() => slaveStore.dispatchBehindBytes === 0, 10_000);
      const readable = slaveStore.getMaxOffsetInQueue("TopicTest", 0);
      await scene.end();
      return { filesRead: read / store.mappedFileSize, files, readable };
    };
    const old = await scenario(true);
    assert.ok(old.files >= 12 && old.filesRead >= old.files - 1, `${old.filesRead} of ${old.files} files`);
    const our = await scenario(false);
    // Three files at most, each twice: the log's end is found first, then the consume queues are checked and filled.
    assert.ok(our.filesRead <= 6, `${our.filesRead} of ${our.files} files`);
    assert.equal(our.readable, 100);
  });

  // apache/rocketmq#10666, 5.x: a slave that has to give up its tail moves its positions back in memory only. The bytes
  // stay in the file, sound records all of them, and a start after a kill takes them for its log again. The old slave
  // here is our store with the bytes put back that such a cut leaves behind.
  it("10666: does not get back the tail that it had given up", async () => {
    const scenario = async (isOld: boolean) => {
      const scene = new Scene(10666);
      const store = await scene.store("slave", "master");
      const ends: number[] = [];
      for (let i = 0; i < 6; i++) {
        const { wroteOffset, wroteBytes } = putOk(store.appendMessage(message(`m${i}`)));
        ends.push(wroteOffset + wroteBytes);
      }
      await scene.world.drive(store.setRole("slave"));
      const { fs } = scene.host("slave").runtime;
      const file = `/store/commitlog/${fs.list("/store/commitlog")[0]}`;
      const before = fs.readFile(file)!;
      const cut = ends[3]!;
      await scene.world.drive(store.setTailAside(cut));
      assert.equal(store.maxOffset, cut);
      if (isOld) fs.writeFile(file, before);
      scene.host("slave").kill();
      const after = await scene.store("slave", "slave");
      const records = ends.indexOf(after.maxOffset) + 1;
      await scene.end();
      return records;
    };
    assert.equal(await scenario(true), 6);
    assert.equal(await scenario(false), 4);
  });
});

function forgetPhysicMsgTimestamp(fs: FileSystem): void {
  const bytes = fs.readFile(CHECKPOINT)!;
  writeInt64(bytes, 0, 0);
  fs.writeFile(CHECKPOINT, bytes);
}

/** A file system that counts what is read of files whose path has `part` in it. */
function countingReads(fs: FileSystem, part: string): { fs: FileSystem; bytesRead(): number } {
  let bytesRead = 0;
  const wrap = (handle: FileHandle): FileHandle => ({
    path: handle.path,
    readAt(target, offset) {
      const count = handle.readAt(target, offset);
      bytesRead += count;
      return count;
    },
    async readAtAsync(target, offset) {
      const count = await handle.readAtAsync(target, offset);
      bytesRead += count;
      return count;
    },
    writeAt: (bytes, offset) => handle.writeAt(bytes, offset),
    sync: () => handle.sync(),
    syncBlocking: () => handle.syncBlocking(),
    truncate: (size) => handle.truncate(size),
    size: () => handle.size(),
    holeFrom: (offset) => handle.holeFrom(offset),
    reserve: (offset, length) => handle.reserve(offset, length),
    close: () => handle.close(),
  });
  const counting: FileSystem = {
    open: (path, mode) => path.includes(part) ? wrap(fs.open(path, mode)) : fs.open(path, mode),
    stat: (path) => fs.stat(path),
    list: (path) => fs.list(path),
    makeDirectory: (path) => fs.makeDirectory(path),
    remove: (path) => fs.remove(path),
    rename: (from, to) => fs.rename(from, to),
    readFile: (path) => fs.readFile(path),
    writeFile: (path, bytes) => fs.writeFile(path, bytes),
    createExclusive: (path, bytes) => fs.createExclusive(path, bytes),
    syncDirectory: (path) => fs.syncDirectory(path),
    syncDirectoryAsync: (path) => fs.syncDirectoryAsync(path),
    diskUsage: (path) => fs.diskUsage(path),
    lockedBy: (path) => fs.lockedBy(path),
  };
  return { fs: counting, bytesRead: () => bytesRead };
}
