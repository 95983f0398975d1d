import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { readInt32, readInt64, utf8 } from "../../src/base/bytes.ts";
import { IoError, StoreError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Clock, FileSystem } from "../../src/runtime/runtime.ts";
import {
  absoluteHash,
  IndexFile,
  indexFileSize,
  indexKeyHash,
  javaHashCodeOfUtf8,
} from "../../src/store/index_file.ts";
import { IndexService, timeMillisToHumanString } from "../../src/store/index_service.ts";
import { javaHashCode } from "../../src/store/message_properties.ts";

const SHAPE = { maxHashSlotNum: 7, maxIndexNum: 12 };
const T0 = 1_700_000_000_000;
let root = "";
let fs: FileSystem;
let clock: Clock;
let count = 0;

before(async () => {
  ({ fs, clock } = await loadRuntime());
  root = mkdtempSync(join(tmpdir(), "twinlog-index-"));
});
after(() => rmSync(root, { recursive: true, force: true }));

function select(file: IndexFile, key: string, begin = 0, end = Infinity): number[] {
  const found: number[] = [];
  file.selectPhyOffset(found, indexKeyHash("T", key), 64, begin, end);
  return found;
}

describe("IndexFile", () => {
  it("has Apache's size and bytes", () => {
    assert.equal(indexFileSize({ maxHashSlotNum: 5_000_000, maxIndexNum: 20_000_000 }), 420_000_040);
    const file = IndexFile.create(fs, `${root}/${++count}`, SHAPE, null);
    const hash = indexKeyHash("T", "a");
    file.putKey(hash, 100, T0);
    file.putKey(hash, 300, T0 + 2500);
    file.seal();
    const bytes = new Uint8Array(readFileSync(file.path));
    assert.equal(bytes.length, 40 + 7 * 4 + 12 * 20);
    assert.deepEqual([0, 8, 16, 24].map((at) => readInt64(bytes, at)), [T0, T0 + 2500, 100, 300]);
    assert.deepEqual([readInt32(bytes, 32), readInt32(bytes, 36)], [1, 3]);
    assert.equal(readInt32(bytes, 40 + (hash % 7) * 4), 2);
    const entries = 40 + 7 * 4;
    assert.deepEqual([...bytes.subarray(entries, entries + 20)], new Array(20).fill(0));
    const second = entries + 40;
    assert.equal(readInt32(bytes, second), hash);
    assert.equal(readInt64(bytes, second + 4), 300);
    assert.deepEqual([readInt32(bytes, second + 12), readInt32(bytes, second + 16)], [2, 1]);
    file.close();
  });

  it("finds by key and time, newest first, before and after it was written", () => {
    const file = IndexFile.create(fs, `${root}/${++count}`, SHAPE, null);
    for (let i = 0; i < 9; i++) file.putKey(indexKeyHash("T", `k${i % 3}`), 1000 + i, T0 + i * 1000);
    const check = (open: IndexFile) => {
      assert.deepEqual(select(open, "k1"), [1007, 1004, 1001]);
      assert.deepEqual(select(open, "k1", T0 + 2000, T0 + 5000), [1004]);
      assert.deepEqual(select(open, "other"), []);
    };
    check(file);
    file.seal();
    check(file);
    file.close();
    const again = IndexFile.open(fs, file.path, SHAPE);
    check(again);
    // It goes on where it was.
    again.putKey(indexKeyHash("T", "k1"), 2000, T0 + 9000);
    assert.deepEqual(select(again, "k1"), [2000, 1007, 1004, 1001]);
    again.close();
  });

  it("is full one entry before its number, as entry 0 is not used", () => {
    const file = IndexFile.create(fs, `${root}/${++count}`, SHAPE, null);
    let put = 0;
    while (file.putKey(indexKeyHash("T", `k${put}`), put, T0)) put++;
    assert.equal(put, 11);
    assert.equal(file.isFull, true);
    file.close();
  });

  it("takes entries back as if they had never been put", () => {
    const put = (file: IndexFile, to: number) => {
      for (let i = file.indexCount - 1; i < to; i++) file.putKey(indexKeyHash("T", `k${i % 4}`), i * 10, T0 + i * 1000);
    };
    const a = IndexFile.create(fs, `${root}/${++count}`, SHAPE, null);
    const b = IndexFile.create(fs, `${root}/${++count}`, SHAPE, null);
    put(a, 10);
    put(b, 6);
    a.truncate(60);
    assert.equal(a.indexCount, b.indexCount);
    assert.equal(a.hashSlotCount, b.hashSlotCount);
    assert.equal(a.endPhyOffset, b.endPhyOffset);
    for (let k = 0; k < 4; k++) assert.deepEqual(select(a, `k${k}`), select(b, `k${k}`));
    put(a, 9);
    put(b, 9);
    for (let k = 0; k < 4; k++) assert.deepEqual(select(a, `k${k}`), select(b, `k${k}`));
    a.truncate(0);
    assert.deepEqual([a.indexCount, a.hashSlotCount, a.endPhyOffset, a.beginTimestamp], [1, 0, 0, 0]);
    a.close();
    b.close();
  });

  it("does not loop over a chain that was damaged", () => {
    const file = IndexFile.create(fs, `${root}/${++count}`, { maxHashSlotNum: 1, maxIndexNum: 12 }, null);
    for (let i = 0; i < 3; i++) file.putKey(indexKeyHash("T", "k"), i + 1, T0);
    file.seal();
    const handle = fs.open(file.path, "write");
    handle.writeAt(Uint8Array.of(0, 0, 0, 3), 40 + 4 + 2 * 20 + 16);
    handle.close();
    assert.deepEqual(select(file, "k"), [3, 2]);
    file.close();
  });
});

describe("hashes", () => {
  it("are Java's, over bytes too", () => {
    assert.equal(absoluteHash(-2147483648), 0);
    assert.equal(absoluteHash(-5), 5);
    for (const text of ["", "TopicTest#k1", "schlüssel-日本-😀"]) {
      const bytes = utf8.encode(text);
      assert.equal(javaHashCodeOfUtf8(bytes, 0, bytes.length), javaHashCode(text));
      assert.equal(javaHashCodeOfUtf8(bytes, 0, bytes.length, javaHashCode("T#")), javaHashCode(`T#${text}`));
    }
  });
});

describe("IndexService", () => {
  const checkpoint = { indexMsgTimestamp: 0, flushes: 0, flushBlocking: () => {}, tryFlushBlocking: () => true };
  const make = (directory: string) =>
    new IndexService({
      fs,
      clock,
      logger: SILENT_LOGGER,
      directory,
      options: { ...SHAPE, maxMsgsNumBatch: 64 },
      checkpoint,
    });
  const put = (service: IndexService, offset: number, keys: string, at = T0 + offset) => {
    const bytes = utf8.encode(keys);
    service.buildIndex("T", offset, at, bytes, 0, 0, 0, bytes.length);
  };

  it("splits keys, skips what it has, and rolls to a new file", () => {
    const directory = `${root}/${++count}`;
    const service = make(directory);
    service.load(true);
    checkpoint.indexMsgTimestamp = 0;
    for (let i = 1; i <= 20; i++) put(service, i * 10, ` a  b${i} `);
    put(service, 50, "late");
    assert.equal(service.fileCount, 4);
    assert.equal(service.endPhyOffset, 200);
    assert.deepEqual(service.queryOffset("T", "b7", 10, 0, Infinity).phyOffsets, [70]);
    assert.deepEqual(service.queryOffset("T", "late", 10, 0, Infinity).phyOffsets, []);
    assert.equal(service.queryOffset("T", "a", 100, 0, Infinity).phyOffsets.length, 20);
    assert.deepEqual(service.queryOffset("T", "a", 3, 0, Infinity).phyOffsets, [200, 190, 180]);
    assert.deepEqual(service.queryOffset("T", "b20", 3, 0, Infinity).indexLastUpdatePhyoffset, 200);
    assert.ok(checkpoint.indexMsgTimestamp > T0);
    // Names are times, each after the one before.
    const names = fs.list(directory);
    assert.equal(new Set(names).size, 4);
    assert.ok(names.every((name) => /^\d{17}$/.test(name)));
    // Expiry: only files whose messages are all gone, never the last.
    assert.equal(service.deleteExpiredFile(1_000_000), 3);
    assert.equal(service.fileCount, 1);
    service.shutdown();
  });

  it("drops files that were not closed after a crash, keeps full ones, and says something may be missing", () => {
    const directory = `${root}/${++count}`;
    checkpoint.indexMsgTimestamp = 0;
    const service = make(directory);
    assert.equal(service.load(true).incomplete, true, "no file at all");
    for (let i = 1; i <= 15; i++) put(service, i * 10, `k${i}`);
    service.shutdown();
    const clean = make(directory);
    assert.equal(clean.load(true).incomplete, false);
    assert.equal(clean.fileCount, 2);
    clean.close();
    const crashed = make(directory);
    assert.equal(crashed.load(false).incomplete, true);
    assert.equal(crashed.fileCount, 1);
    assert.equal(crashed.endPhyOffset, 110);
    crashed.truncate(60);
    assert.deepEqual(crashed.queryOffset("T", "k6", 10, 0, Infinity).phyOffsets, []);
    assert.deepEqual(crashed.queryOffset("T", "k5", 10, 0, Infinity).phyOffsets, [50]);
    crashed.destroy();
    assert.deepEqual(fs.list(directory), []);
  });

  it("goes on when the checkpoint can't be written, and ends when it can't be synced", () => {
    const service = make(`${root}/${++count}`);
    service.load(true);
    const { tryFlushBlocking } = checkpoint;
    try {
      checkpoint.tryFlushBlocking = () => false;
      for (let i = 1; i <= 12; i++) put(service, i * 10, `k${i}`);
      assert.equal(service.fileCount, 2);
      checkpoint.tryFlushBlocking = () => {
        throw new IoError("other", "Sync failed", "EIO");
      };
      assert.throws(() => {
        for (let i = 13; i <= 24; i++) put(service, i * 10, `k${i}`);
      }, StoreError);
    } finally {
      checkpoint.tryFlushBlocking = tryFlushBlocking;
      service.close();
    }
  });

  it("names files by local time", () => {
    assert.equal(timeMillisToHumanString(new Date(2024, 0, 2, 3, 4, 5, 6).getTime()), "20240102030405006");
  });
});
