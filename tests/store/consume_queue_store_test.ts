import assert from "node:assert/strict";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { sleep } from "../../src/base/async.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { FileSystem } from "../../src/runtime/runtime.ts";
import { SYSTEM_CLOCK } from "../../src/runtime/system_clock.ts";
import { ConsumeQueueStore } from "../../src/store/consume_queue_store.ts";
import { HandlePool } from "../../src/store/handle_pool.ts";
import { StoreCheckpoint } from "../../src/store/store_checkpoint.ts";
import { ManualClock } from "../support/manual_clock.ts";

const QUEUES = 100;
let root = "";
let fs: FileSystem;

before(async () => {
  ({ fs } = await loadRuntime());
  root = mkdtempSync(join(tmpdir(), "twinlog-cqs-"));
});
after(() => rmSync(root, { recursive: true, force: true }));

describe("ConsumeQueueStore", () => {
  it("syncs files and directories of many queues at the same time when it stops", async () => {
    const counted = countingFs(fs);
    const { store } = started("many", counted.fs);
    for (let i = 0; i < QUEUES; i++) store.put(`T${i}`, 0, 0, i * 100, 100, 0, 1);
    store.writePending();
    await store.stop(true);
    assert.deepEqual({ files: counted.files.done, directories: counted.directories.done }, {
      files: QUEUES,
      // Each queue's, each topic's, and the one that holds the topics.
      directories: QUEUES * 2 + 1,
    });
    assert.ok(counted.files.most > 16, `${counted.files.most} files at the same time`);
    assert.ok(counted.directories.most > 16, `${counted.directories.most} directories at the same time`);
    assert.equal(counted.blocking, 0);
    assert.ok([...store.queues()].every((queue) => queue.dirtyBytes === 0));
  });

  it("vouches for its queues before the time when much of the log went by, so that a crash costs little", async () => {
    const { store, clock, checkpoint } = started("much", fs);
    const MIB = 1024 * 1024;
    const steps = [[100, 0], [511, 0], [512, 1512], [900, 1512], [1024, 2024], [1600, 2600]] as const;
    for (const [index, [mib, vouchedFor]] of steps.entries()) {
      store.put("T", 0, index, mib * MIB, 100, 0, 1000 + mib);
      store.writePending();
      let tries = 0;
      do {
        // Again, as the next flush is armed only once the one before has ended; all in all for less than a minute.
        if (tries % 50 === 0) clock.advance(1000);
        await sleep(SYSTEM_CLOCK, 20);
      } while (checkpoint.logicsMsgTimestamp !== vouchedFor && ++tries < 250);
      assert.equal(checkpoint.logicsMsgTimestamp, vouchedFor, `${mib} MiB`);
    }
    await store.stop(false);
  });
});

/** A store that flushes all of its queues once a minute. */
function started(name: string, files: FileSystem) {
  const directory = `${root}/${name}`;
  fs.makeDirectory(directory);
  const clock = new ManualClock();
  const checkpoint = new StoreCheckpoint(fs, directory);
  const store = new ConsumeQueueStore({
    fs: files,
    pool: new HandlePool(files, 16),
    clock,
    directory: `${directory}/consumequeue`,
    options: {
      mappedFileSizeConsumeQueue: 200,
      flushIntervalConsumeQueue: 1000,
      flushConsumeQueueLeastPages: 2,
      flushConsumeQueueThoroughInterval: 60_000,
    },
    checkpoint,
    onFatal: (error) => assert.fail(String(error)),
  });
  store.load(true);
  store.start();
  return { store, clock, checkpoint };
}

/** What of a kind of sync was under way at the same time at most, and how many ended. */
class Syncs {
  most = 0;
  done = 0;
  #now = 0;

  async run(sync: () => Promise<void>): Promise<void> {
    this.most = Math.max(this.most, ++this.#now);
    await sync();
    this.#now--;
    this.done++;
  }
}

function countingFs(fs: FileSystem): { fs: FileSystem; files: Syncs; directories: Syncs; blocking: number } {
  const counted = { fs, files: new Syncs(), directories: new Syncs(), blocking: 0 };
  counted.fs = Object.assign(Object.create(fs) as FileSystem, {
    open(path: string, mode: "read" | "write" | "create") {
      const handle = fs.open(path, mode);
      const sync = handle.sync.bind(handle);
      handle.sync = () => counted.files.run(sync);
      return handle;
    },
    syncDirectory(path: string) {
      counted.blocking++;
      fs.syncDirectory(path);
    },
    syncDirectoryAsync: (path: string) => counted.directories.run(() => fs.syncDirectoryAsync(path)),
  });
  return counted;
}
