import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { StoreError, StoreSizeError } from "../../src/base/errors.ts";
import type { FileSystem } from "../../src/runtime/runtime.ts";
import { HandlePool } from "../../src/store/handle_pool.ts";
import { fileNameToOffset, isZero, offsetToFileName } from "../../src/store/mapped_file.ts";
import { MappedFileQueue } from "../../src/store/mapped_file_queue.ts";
import { temporaryDirectory } from "../support/store_fixtures.ts";

const SIZE = 100;

describe("mapped file queue", () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let fs: FileSystem;
  let pool: HandlePool;
  let queue: MappedFileQueue;

  const open = (directories = [`${directory.path}/log`]) => {
    return new MappedFileQueue({ pool, directories, mappedFileSize: SIZE });
  };
  const fill = (files: number) => {
    for (let i = 0; i < files; i++) queue.getLastMappedFile().append(new Uint8Array(SIZE).fill(i + 1));
  };
  const names = () => fs.list(`${directory.path}/log`).map(Number);

  beforeEach(async () => {
    directory = await temporaryDirectory();
    fs = directory.fs;
    pool = new HandlePool(fs);
    queue = open();
  });
  afterEach(() => {
    pool.closeAll();
    directory.remove();
  });

  it("has the place of what comes next found in steps, within the file", () => {
    const MIB = 1024 * 1024;
    const directories = [`${directory.path}/large`];
    const file = new MappedFileQueue({ pool, directories, mappedFileSize: 150 * MIB }).getLastMappedFile();
    const asked: number[][] = [];
    pool.get(file.path).reserve = (offset, length) => asked.push([offset, length]);
    const grow = (size: number) => {
      file.reserve(size);
      file.wrotePosition += size;
    };
    file.wrotePosition = 1000;
    grow(MIB);
    for (let i = 0; i < 63; i++) grow(MIB);
    assert.deepEqual(asked, [[1000, 64 * MIB]]);
    grow(MIB);
    assert.deepEqual(asked[1], [1000 + 64 * MIB, 64 * MIB]);
    file.wrotePosition = 140 * MIB;
    grow(10 * MIB);
    assert.deepEqual(asked.slice(2), [[140 * MIB, 10 * MIB]]);
  });

  it("names files by their first offset", () => {
    assert.equal(offsetToFileName(1073741824), "00000000001073741824");
    assert.equal(fileNameToOffset("00000000001073741824"), 1073741824);
    for (
      const name of [
        "abort",
        "0000000000107374182",
        "000000000001073741824",
        "99999999999999999999",
        "0000000000107374182x",
      ]
    ) {
      assert.equal(fileNameToOffset(name), null);
    }
  });

  it("makes files at full size, one after another", () => {
    assert.equal(queue.maxOffset, 0);
    const file = queue.getLastMappedFile();
    assert.equal(fs.stat(file.path)!.size, SIZE);
    file.append(new Uint8Array(40));
    assert.equal(queue.getLastMappedFile(), file);
    assert.equal(queue.maxOffset, 40);
    file.append(new Uint8Array(60));
    assert.equal(queue.getLastMappedFile().fileFromOffset, SIZE);
    assert.deepEqual(names(), [0, 100]);
    assert.equal(queue.maxOffset, 100);
  });

  it("starts at the file that holds the first offset", () => {
    assert.equal(queue.getLastMappedFile(777).fileFromOffset, 700);
    assert.equal(queue.minOffset, 700);
  });

  it("finds the file of an offset", () => {
    queue.getLastMappedFile(300);
    fill(3);
    assert.equal(queue.findMappedFileByOffset(299), null);
    assert.equal(queue.findMappedFileByOffset(300)!.fileFromOffset, 300);
    assert.equal(queue.findMappedFileByOffset(399)!.fileFromOffset, 300);
    assert.equal(queue.findMappedFileByOffset(400)!.fileFromOffset, 400);
    assert.equal(queue.findMappedFileByOffset(600), null);
  });

  it("loads what is there as full, and ignores what is no file of its", () => {
    fill(3);
    fs.makeDirectory(`${directory.path}/log/lost+found`);
    fs.writeFile(`${directory.path}/log/.hidden`, new Uint8Array(3));
    const again = open();
    again.load();
    assert.equal(again.files.length, 3);
    assert.equal(again.maxOffset, 300);
  });

  it("removes a last file of length 0", () => {
    fill(1);
    fs.writeFile(`${directory.path}/log/${offsetToFileName(100)}`, new Uint8Array(0));
    const again = open();
    again.load();
    assert.equal(again.maxOffset, 100);
    assert.deepEqual(names(), [0]);
  });

  it("refuses files of another size, and gaps, by name", () => {
    fill(3);
    const second = `${directory.path}/log/${offsetToFileName(100)}`;
    for (const size of [0, 1, 99, 101]) {
      fs.writeFile(second, new Uint8Array(size));
      assert.throws(
        () => open().load(),
        (error: Error) => error instanceof StoreError && error.message.includes(second),
      );
    }
    fs.remove(second);
    assert.throws(
      () => open().load(),
      (error: Error) => error instanceof StoreError && /200.* does not follow/.test(error.message),
    );
  });

  it("takes files of which none has its size for a mistake of configuration, but not an empty one", () => {
    fill(1);
    const only = `${directory.path}/log/${offsetToFileName(0)}`;
    const refusal = (size: number): unknown => {
      fs.writeFile(only, new Uint8Array(size));
      const again = open();
      try {
        again.load();
        again.completeFiles(1);
        return null;
      } catch (error) {
        return error;
      }
    };
    assert.ok(refusal(50) instanceof StoreSizeError);
    const ofEmpty = refusal(0);
    assert.ok(ofEmpty instanceof StoreError && !(ofEmpty instanceof StoreSizeError), String(ofEmpty));
  });

  it("cuts files behind an offset, and sets the positions before it", async () => {
    fill(4);
    await queue.flush();
    queue.truncateDirtyFiles(150);
    assert.deepEqual(names(), [0, 100]);
    assert.equal(queue.maxOffset, 150);
    assert.equal(queue.flushedWhere, 150);
    // As in Apache, a file that starts at the cut stays.
    queue.truncateDirtyFiles(100);
    assert.deepEqual(names(), [0, 100]);
    assert.equal(queue.maxOffset, 100);
    queue.truncateDirtyFiles(99);
    assert.deepEqual(names(), [0]);
    queue.destroy();
    assert.deepEqual(names(), []);
    assert.equal(queue.maxOffset, 0);
  });

  it("removes its oldest file, never the last", () => {
    fill(2);
    assert.equal(queue.deleteFirstFile(), true);
    assert.equal(queue.minOffset, 100);
    assert.equal(queue.deleteFirstFile(), false);
  });

  it("flushes up to what was written when it began", async () => {
    fill(2);
    const flush = queue.flush();
    queue.getLastMappedFile().append(new Uint8Array(10));
    assert.equal(await flush, 200);
    assert.equal(queue.flushedWhere, 200);
    assert.equal(await queue.flush(), 210);
  });

  it("does not count what a flush wrote before a cut", async () => {
    fill(2);
    const flush = queue.flush();
    queue.truncateDirtyFiles(50);
    queue.getLastMappedFile().append(new Uint8Array(50));
    await flush;
    assert.equal(queue.flushedWhere, 0);
    assert.equal(await queue.flush(), 100);
  });

  it("takes turns between several directories", () => {
    queue = open([`${directory.path}/a`, `${directory.path}/b`]);
    fill(3);
    assert.deepEqual(fs.list(`${directory.path}/a`).map(Number), [0, 200]);
    assert.deepEqual(fs.list(`${directory.path}/b`).map(Number), [100]);
    const again = open([`${directory.path}/a`, `${directory.path}/b`]);
    again.load();
    assert.deepEqual(again.files.map((file) => file.fileFromOffset), [0, 100, 200]);
  });

  it("moves everything elsewhere", () => {
    fill(3);
    queue.moveTo(`${directory.path}/aside`);
    assert.deepEqual(names(), []);
    assert.deepEqual(fs.list(`${directory.path}/aside`).map(Number), [0, 100, 200]);
    assert.equal(queue.getLastMappedFile(500).fileFromOffset, 500);
  });

  it("moves what begins behind an offset elsewhere", () => {
    fill(3);
    queue.moveTo(`${directory.path}/aside`, 100);
    assert.deepEqual(names(), [0, 100]);
    assert.deepEqual(fs.list(`${directory.path}/aside`).map(Number), [200]);
    assert.deepEqual([queue.maxOffset, queue.flushedWhere], [200, 0]);
  });

  it("zeroes a file's end, and only where something stands", () => {
    const file = queue.getLastMappedFile();
    file.append(new Uint8Array(SIZE).fill(7));
    assert.equal(file.zeroFrom(33), 67);
    const bytes = new Uint8Array(SIZE);
    file.readAt(bytes, 0);
    assert.deepEqual(bytes, new Uint8Array(SIZE).fill(7, 0, 33));
    assert.equal(file.zeroFrom(33), 0);
    assert.equal(file.zeroFrom(SIZE), 0);
  });

  it("knows zeros at any alignment", () => {
    const bytes = new Uint8Array(40);
    for (let from = 0; from < 9; from++) {
      for (let to = from; to < 40; to++) {
        assert.equal(isZero(bytes.subarray(from, to)), true);
        if (to === from) continue;
        for (const at of [from, to - 1]) {
          bytes[at] = 1;
          assert.equal(isZero(bytes.subarray(from, to)), false, `${from} ${to} ${at}`);
          bytes[at] = 0;
        }
      }
    }
  });

  it("keeps few files open, and those in use", async () => {
    pool = new HandlePool(fs, 2);
    queue = open();
    fill(6);
    const target = new Uint8Array(1);
    const reads = queue.files.map((file) => file.readAtAsync(new Uint8Array(1), 0));
    for (const [i, file] of queue.files.entries()) {
      file.readAt(target, 5);
      assert.equal(target[0], i + 1);
    }
    assert.deepEqual(await Promise.all(reads), [1, 1, 1, 1, 1, 1]);
    const last = queue.files[5]!.readAtAsync(target, 0);
    queue.truncateDirtyFiles(100);
    assert.equal(await last, 1);
    assert.equal(target[0], 6);
  });
});
