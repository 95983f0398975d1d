// Stores that are not as their writer left them: strangers' files, files that a crash left short, a note that lies.

import assert from "node:assert/strict";
import { mkdirSync, truncateSync, writeFileSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { verifyStore } from "../../src/store/store_verify.ts";
import { offsetToFileName } from "../../src/store/mapped_file.ts";
import { message, putOk, StoreKit } from "../support/store_kit.ts";

describe("a store with odd files", () => {
  let kit: StoreKit;
  before(async () => {
    kit = await StoreKit.create();
  });
  after(() => kit.dispose());

  /** A store with `count` messages, stopped. */
  const stopped = async (count: number): Promise<{ directory: string; maxOffset: number }> => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    for (let i = 0; i < count; i++) putOk(store.appendMessage(message(`m${i}`)));
    await store.waitDispatched();
    const { maxOffset } = store;
    await store.shutdown();
    return { directory, maxOffset };
  };

  it("leaves strangers' files and directories alone", async () => {
    const { directory, maxOffset } = await stopped(10);
    for (const part of ["commitlog", "consumequeue", "consumequeue/TopicTest", "consumequeue/TopicTest/0", "index"]) {
      writeFileSync(`${directory}/${part}/.DS_Store`, "x");
    }
    mkdirSync(`${directory}/commitlog/${offsetToFileName(8192)}`);
    mkdirSync(`${directory}/consumequeue/TopicTest/0/${offsetToFileName(200)}`);
    const store = await kit.open(directory);
    assert.equal(store.maxOffset, maxOffset);
    assert.equal((await store.getMessage("TopicTest", 0, 0, 32, 1e6)).messages.length, 10);
    await store.shutdown();
    const verified = await verifyStore(kit.runtime.fs, directory);
    assert.equal(verified.finding, null);
    assert.equal(verified.records, 10);
  });

  it("completes a last file that a crash left short, refuses a short one after a clean stop", async () => {
    const { directory } = await stopped(70);
    const last = `${directory}/commitlog/${offsetToFileName(8192)}`;
    truncateSync(last, 4096);
    await assert.rejects(kit.open(directory), /has 4096 bytes, wanted 8192/);
    writeFileSync(`${directory}/abort`, "");
    const store = await kit.open(directory);
    assert.equal(kit.runtime.fs.stat(last)!.size, 8192);
    await store.waitDispatched();
    await store.shutdown();
    assert.equal((await verifyStore(kit.runtime.fs, directory)).finding, null);
  });

  it("goes on where its only file says, though that was never filled", async () => {
    const directory = kit.directory();
    mkdirSync(`${directory}/commitlog`, { recursive: true });
    writeFileSync(`${directory}/commitlog/${offsetToFileName(81920)}`, "");
    writeFileSync(`${directory}/abort`, "");
    const store = await kit.open(directory);
    assert.equal(store.maxOffset, 81920);
    assert.equal(putOk(store.appendMessage(message("a"))).wroteOffset, 81920);
  });

  it("reads on from its queues after a clean stop, unless the note of that stop is not true", async () => {
    const { directory, maxOffset } = await stopped(40);
    const first = await kit.open(directory, { messageIndexEnable: false });
    assert.equal(first.maxOffset, maxOffset);
    const { lastRecordOffset } = first;
    await first.shutdown();
    for (const note of [`${maxOffset + 8} 0`, `${maxOffset - 8} 0`, "", "x", "1e3 7", `${maxOffset}`]) {
      writeFileSync(`${directory}/twinlog.clean`, note);
      const store = await kit.open(directory, { messageIndexEnable: false });
      assert.deepEqual([store.maxOffset, store.lastRecordOffset], [maxOffset, lastRecordOffset], note);
      await store.shutdown();
    }
  });

  it("starts a queue anew whose units all expired, where a gap follows", async () => {
    const master = await stopped(60);
    const { fs } = kit.runtime;
    // What a loss of power leaves that took the queue's last units, once their records have expired.
    fs.remove(`${master.directory}/commitlog/${offsetToFileName(0)}`);
    for (const name of fs.list(`${master.directory}/consumequeue/TopicTest/0`).slice(1)) {
      fs.remove(`${master.directory}/consumequeue/TopicTest/0/${name}`);
    }
    fs.remove(`${master.directory}/checkpoint`);
    writeFileSync(`${master.directory}/abort`, "");
    const store = await kit.open(master.directory);
    await store.waitDispatched();
    assert.equal(store.getMaxOffsetInQueue("TopicTest", 0), 60);
    await store.shutdown();
    assert.equal((await verifyStore(fs, master.directory)).finding, null);
  });
});
