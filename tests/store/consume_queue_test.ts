import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { writeInt32, writeInt64 } from "../../src/base/bytes.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { FileSystem } from "../../src/runtime/runtime.ts";
import { ConsumeQueue, type RecoveredLog, searchFirst } from "../../src/store/consume_queue.ts";
import { HandlePool } from "../../src/store/handle_pool.ts";

const PER_FILE = 10;
let root = "";
let fs: FileSystem;
let count = 0;

before(async () => {
  ({ fs } = await loadRuntime());
  root = mkdtempSync(join(tmpdir(), "twinlog-cq-"));
});
after(() => rmSync(root, { recursive: true, force: true }));

function open(directory: string, pool = new HandlePool(fs, 4), perFile = PER_FILE): ConsumeQueue {
  const parts = { pool, logger: SILENT_LOGGER, mappedFileSize: perFile * 20 };
  const queue = new ConsumeQueue(parts, directory, "T", 0);
  queue.load();
  return queue;
}

/** The file system, but every file takes `allocated` bytes of the disk; it counts files opened and reads. */
function countingFs(allocated: number): { fs: FileSystem; opens: number; reads: number } {
  const counted = { fs, opens: 0, reads: 0 };
  counted.fs = Object.assign(Object.create(fs) as FileSystem, {
    stat(path: string) {
      const info = fs.stat(path);
      return info && { ...info, allocated };
    },
    open(path: string, mode: "read" | "write" | "create") {
      const handle = fs.open(path, mode);
      counted.opens++;
      const readAt = handle.readAt.bind(handle);
      handle.readAt = (target, offset) => {
        counted.reads++;
        return readAt(target, offset);
      };
      return handle;
    },
  });
  return counted;
}

/** Units `from` to `to`, for records of 100 bytes, one after another. */
function fill(queue: ConsumeQueue, from: number, to: number): void {
  for (let i = from; i < to; i++) queue.putMessagePositionInfo(i * 100, 100, i * 7, i);
  queue.writePending();
}

function positions(queue: ConsumeQueue): number[] {
  const result = [];
  for (let i = queue.minOffsetInQueue; i < queue.maxOffsetInQueue; i++) result.push(queue.get(i)!.pos);
  return result;
}

describe("ConsumeQueue", () => {
  it("writes Apache's units into files of one size", () => {
    const directory = `${root}/${++count}`;
    const queue = open(directory);
    fill(queue, 0, 25);
    assert.deepEqual(fs.list(directory), ["0", "200", "400"].map((name) => name.padStart(20, "0")));
    const expected = new Uint8Array(20);
    writeInt64(expected, 0, 1100);
    writeInt32(expected, 8, 100);
    writeInt64(expected, 12, 77);
    const file = readFileSync(`${directory}/${"200".padStart(20, "0")}`);
    assert.equal(file.length, 200);
    assert.deepEqual([...file.subarray(20, 40)], [...expected]);
    assert.deepEqual(queue.get(11), { queueOffset: 11, pos: 1100, size: 100, tagsCode: 77 });
    assert.equal(queue.get(25), null);
    assert.equal(queue.maxPhysicOffset, 2500);
    assert.equal(queue.rollNextFile(11), 20);
  });

  it("shows units once they are written, and ignores what it has", () => {
    const queue = open(`${root}/${++count}`);
    queue.putMessagePositionInfo(0, 100, -1, 0);
    assert.deepEqual([queue.maxOffsetInQueue, queue.nextOffsetInQueue, queue.hasPending], [0, 1, true]);
    queue.writePending();
    assert.deepEqual([queue.maxOffsetInQueue, queue.hasPending], [1, false]);
    assert.equal(queue.get(0)!.tagsCode, -1);
    fill(queue, 0, 5);
    fill(queue, 0, 5);
    assert.equal(queue.maxOffsetInQueue, 5);
    assert.deepEqual(positions(queue), [0, 100, 200, 300, 400]);
  });

  for (const lastExitOk of [true, false]) {
    it(`finds its end after a ${lastExitOk ? "clean" : "unclean"} exit, wherever it is`, () => {
      for (const units of [0, 1, 9, 10, 11, 20, 37]) {
        const directory = `${root}/${++count}`;
        fill(open(directory), 0, units);
        const queue = open(directory);
        queue.recover(lastExitOk);
        assert.equal(queue.maxOffsetInQueue, units);
        assert.equal(queue.maxPhysicOffset, units === 0 ? -1 : units * 100);
        fill(queue, 0, units + 5);
        assert.equal(positions(queue).length, units + 5);
      }
    });
  }

  it("finds its end after a clean exit with few reads, whatever the file system tells of the file", () => {
    const perFile = 100_000;
    for (const units of [1, 205, 206, 207, 3000, 99_999, 100_000]) {
      const directory = `${root}/${++count}`;
      fill(open(directory, new HandlePool(fs, 4), perFile), 0, units);
      const used = Math.ceil(units * 20 / 4096) * 4096;
      // What the file takes, some blocks more for its extents, packed, nothing known, no holes.
      const unknown = units < 206 ? 2 : 13;
      const known = used < perFile * 20 ? 0 : unknown;
      const told = [[used, 2], [used + 8192, 6], [used / 2, 13], [0, unknown], [perFile * 20, unknown]] as const;
      for (const [allocated, most] of told) {
        const readsMax = Math.max(most, known);
        const counted = countingFs(allocated);
        const queue = open(directory, new HandlePool(counted.fs, 1), perFile);
        queue.recover(true);
        assert.deepEqual([queue.maxOffsetInQueue, queue.maxPhysicOffset], [units, units * 100]);
        assert.ok(counted.reads <= readsMax, `${units} units, ${allocated} bytes on the disk: ${counted.reads} reads`);
      }
    }
  });

  it("searches its begin when it is asked for, not before", () => {
    const directory = `${root}/${++count}`;
    fill(open(directory), 0, 9);
    const counted = countingFs(4096);
    const queue = open(directory, new HandlePool(counted.fs, 1));
    queue.recover(true);
    counted.reads = 0;
    queue.correctMinOffset(300);
    queue.deleteExpiredFile(450);
    assert.equal(counted.reads, 0);
    fill(queue, 9, 10);
    assert.deepEqual([queue.minOffsetInQueue, queue.get(4), queue.get(5)?.pos], [5, null, 500]);
    queue.correctMinOffset(2000);
    assert.deepEqual([queue.minOffsetInQueue, queue.maxOffsetInQueue], [10, 10]);
    fill(queue, 13, 14);
    assert.deepEqual([queue.minOffsetInQueue, positions(queue)], [13, [1300]]);
  });

  it("opens its file once to recover from a crash, and again only to write", () => {
    const directory = `${root}/${++count}`;
    fill(open(directory), 0, 8);
    const counted = countingFs(4096);
    const pool = new HandlePool(counted.fs, 1);
    const queue = open(directory, pool);
    const log: RecoveredLog = {
      minOffset: 0,
      maxOffset: 1000,
      lostEnd: 1000,
      queueOffsetAt: (_topic, _queueId, pos, size) => size === 100 ? pos / 100 : -1,
      onDamage: () => assert.fail("nothing is damaged"),
    };
    assert.equal(queue.recover(false, 300, log), Infinity);
    // As 50,000 others do before the next step.
    pool.close(`${directory}/${"0".padStart(20, "0")}`);
    for (let i = 3; i < 10; i++) {
      queue.compareUnit(i * 100, 100, i * 7, i, log);
      queue.putMessagePositionInfo(i * 100, 100, i * 7, i);
    }
    assert.equal(counted.opens, 1);
    queue.writePending();
    queue.endRecovery(log);
    assert.equal(counted.opens, 2);
    assert.deepEqual(positions(queue).length, 10);
  });

  it("fills the front of a first file whose queue does not start at 0, and knows its begin again", () => {
    const directory = `${root}/${++count}`;
    const queue = open(directory);
    fill(queue, 13, 25);
    assert.deepEqual([queue.minOffsetInQueue, queue.maxOffsetInQueue], [13, 25]);
    assert.deepEqual(fs.list(directory).map(Number), [200, 400]);
    const file = readFileSync(`${directory}/${"200".padStart(20, "0")}`);
    assert.deepEqual([...file.subarray(0, 20)], [
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0x7f,
      0xff,
      0xff,
      0xff,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
      0,
    ]);
    const again = open(directory);
    again.recover(true);
    again.correctMinOffset(0);
    assert.deepEqual([again.minOffsetInQueue, again.maxOffsetInQueue], [13, 25]);
    assert.equal(again.get(12), null);
  });

  it("starts over when a crash left an empty file where the queue does not start", () => {
    const directory = `${root}/${++count}`;
    fs.makeDirectory(directory);
    writeFileSync(`${directory}/${"0".padStart(20, "0")}`, new Uint8Array(200));
    const queue = open(directory);
    queue.recover(false);
    fill(queue, 13, 15);
    assert.deepEqual([queue.minOffsetInQueue, queue.maxOffsetInQueue], [13, 15]);
    assert.deepEqual(positions(queue), [1300, 1400]);
  });

  it("cuts units of records beyond the log's end and zeroes their bytes", () => {
    for (const kept of [0, 1, 10, 15, 20, 25]) {
      const directory = `${root}/${++count}`;
      const queue = open(directory);
      fill(queue, 0, 25);
      queue.truncate(kept * 100);
      assert.equal(queue.maxOffsetInQueue, kept);
      assert.equal(queue.maxPhysicOffset, kept === 0 ? -1 : kept * 100);
      const again = open(directory);
      again.recover(false);
      assert.equal(again.maxOffsetInQueue, kept);
      fill(again, kept, 30);
      assert.equal(positions(again).length, 30);
    }
  });

  it("stops at a unit that steps back: a stale one behind an earlier cut", () => {
    const directory = `${root}/${++count}`;
    fill(open(directory), 0, 8);
    const handle = fs.open(`${directory}/${"0".padStart(20, "0")}`, "write");
    const unit = new Uint8Array(20);
    writeInt64(unit, 0, 150);
    writeInt32(unit, 8, 100);
    handle.writeAt(unit, 5 * 20);
    handle.close();
    const queue = open(directory);
    queue.recover(false);
    assert.equal(queue.maxOffsetInQueue, 5);
  });

  it("expires with the log and corrects its begin", () => {
    const directory = `${root}/${++count}`;
    const queue = open(directory);
    fill(queue, 0, 25);
    assert.equal(queue.deleteExpiredFile(1350), 1);
    assert.deepEqual([queue.minOffsetInQueue, queue.maxOffsetInQueue], [14, 25]);
    assert.equal(queue.get(13), null);
    assert.equal(queue.deleteExpiredFile(1_000_000), 1, "never the last file");
    assert.deepEqual([queue.minOffsetInQueue, queue.maxOffsetInQueue], [25, 25]);
    const again = open(directory);
    again.recover(true);
    again.correctMinOffset(2100);
    assert.deepEqual([again.minOffsetInQueue, again.maxOffsetInQueue], [21, 25]);
  });

  it("refuses a file of another size and drops an empty last one", () => {
    const directory = `${root}/${++count}`;
    fill(open(directory), 0, 15);
    truncateSync(`${directory}/${"200".padStart(20, "0")}`, 0);
    const queue = open(directory);
    queue.recover(false);
    assert.equal(queue.maxOffsetInQueue, 10);
    truncateSync(`${directory}/${"0".padStart(20, "0")}`, 120);
    assert.throws(() => open(directory), /120 bytes/);
  });

  it("reads runs of units up to the end of a file", () => {
    const queue = open(`${root}/${++count}`);
    fill(queue, 0, 25);
    const target = new Uint8Array(20 * 100);
    assert.equal(queue.readUnits(3, target).length, 7 * 20);
    assert.equal(queue.readUnits(20, target).length, 5 * 20);
    assert.equal(queue.readUnits(25, target).length, 0);
    assert.equal(queue.readUnits(300, target).length, 0);
  });

  it("flushes and counts what is not flushed", async () => {
    const queue = open(`${root}/${++count}`);
    fill(queue, 0, 25);
    assert.equal(queue.dirtyBytes, 500);
    await queue.flush();
    assert.equal(queue.dirtyBytes, 0);
    queue.destroy();
    assert.deepEqual([queue.maxOffsetInQueue, queue.maxPhysicOffset], [0, -1]);
  });
});

describe("searchFirst", () => {
  it("finds every border", () => {
    for (let border = 0; border <= 9; border++) assert.equal(searchFirst(0, 9, (i) => i < border), border);
  });
});
