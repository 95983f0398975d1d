import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { MessageStoreOptions } from "../../src/store/message_store.ts";
import { indexFileSize } from "../../src/store/index_file.ts";
import { compareStores, type VerifyOptions, verifyStore } from "../../src/store/store_verify.ts";
import { APACHE_STORES } from "../support/store_fixtures.ts";
import { message, putOk, SMALL, StoreKit } from "../support/store_kit.ts";

let kit: StoreKit;
before(async () => {
  kit = await StoreKit.create();
});
after(() => kit.dispose());

const FILE_SIZE = 4096;

/** A store with `count` messages over several files, closed; and where each record starts. */
async function makeStore(count: number, options: Partial<MessageStoreOptions> = {}) {
  const directory = kit.directory();
  const store = await kit.open(directory, { mappedFileSizeCommitLog: FILE_SIZE, ...options });
  const offsets: number[] = [];
  for (let i = 0; i < count; i++) {
    offsets.push(putOk(store.appendMessage(message(`m${100 + i}`, { queueId: i % 2 }))).wroteOffset);
  }
  await store.waitDispatched();
  const end = store.maxOffset;
  await store.shutdown();
  return { directory, offsets, end };
}

/** Runs `check` with one bit of the log flipped, and mends it. */
async function withFlip<T>(directory: string, offset: number, bit: number, check: () => Promise<T>): Promise<T> {
  const path = logPath(directory, offset);
  const bytes = readFileSync(path);
  bytes[offset % FILE_SIZE]! ^= 1 << bit;
  writeFileSync(path, bytes);
  try {
    return await check();
  } finally {
    bytes[offset % FILE_SIZE]! ^= 1 << bit;
    writeFileSync(path, bytes);
  }
}

function logPath(directory: string, offset: number): string {
  return join(directory, "commitlog", String(offset - offset % FILE_SIZE).padStart(20, "0"));
}

const { maxHashSlotNum, maxIndexNum } = SMALL;
const verify = (directory: string, options: VerifyOptions = {}) =>
  verifyStore(kit.runtime.fs, directory, { maxHashSlotNum, maxIndexNum, ...options });

describe("verifyStore", () => {
  it("passes a good store and counts what it saw", async () => {
    const { directory, end } = await makeStore(60);
    const progress: number[] = [];
    const result = await verify(directory, { onProgress: (done, total) => progress.push(done / total) });
    assert.deepEqual(result.finding, null);
    assert.deepEqual(
      [result.ok, result.records, result.units, result.queues, result.maxOffset, result.notes.length],
      [true, 60, 60, 2, end, 0],
    );
    assert.equal(result.blanks, Math.floor(end / FILE_SIZE));
    assert.equal(result.mappedFileSize, FILE_SIZE);
    assert.deepEqual([result.indexFiles, result.indexEntries], [1, 180], "UNIQ_KEY and two words of KEYS each");
    assert.equal(progress.at(-1), 1);
  });

  it("passes an empty directory and an empty store", async () => {
    const { directory } = await makeStore(0);
    assert.equal((await verify(directory)).ok, true);
    assert.equal((await verify(kit.directory())).ok, true);
  });

  it("finds every flipped bit of records with __CRC32#, at the record's offset", async () => {
    const { directory, offsets, end } = await makeStore(26, { enabledAppendPropCRC: true });
    assert.ok(end > FILE_SIZE);
    // Every bit of one in the middle and of the very last; a bit of every byte of those beside a file's end.
    const lastOfFile = offsets.findLastIndex((offset) => offset < FILE_SIZE);
    for (const i of [0, 3, lastOfFile, lastOfFile + 1, offsets.length - 1]) {
      const from = offsets[i]!;
      const to = i === lastOfFile ? from + (offsets[1]! - offsets[0]!) : offsets[i + 1] ?? end;
      for (let offset = from; offset < to; offset++) {
        const bits = i === 3 || i === offsets.length - 1 ? [0, 1, 2, 3, 4, 5, 6, 7] : [offset % 8];
        for (const bit of bits) {
          const { finding } = await withFlip(directory, offset, bit, () => verify(directory));
          assert.equal(finding?.offset, from, `bit ${bit} of byte ${offset - from} of record ${i}: ${finding?.reason}`);
        }
      }
    }
  });

  it("finds flips in the fields the format can check, without __CRC32#", async () => {
    const { directory, offsets } = await makeStore(40);
    const fields: Record<string, [number, number]> = {
      totalSize: [0, 4],
      magic: [4, 4],
      bodyCRC: [8, 4],
      queueId: [12, 4],
      queueOffset: [20, 8],
      physicalOffset: [28, 8],
      transaction: [39, 1],
      bodyLength: [84, 4],
      body: [88, 4],
      topicLength: [92, 1],
      topic: [93, 9],
      propertiesLength: [102, 2],
    };
    for (const i of [0, 5, offsets.length - 1]) {
      for (const [field, [at, size]] of Object.entries(fields)) {
        for (let byte = at; byte < at + size; byte++) {
          for (const bit of field === "transaction" ? [2, 4, 5] : [0, 3, 7]) {
            const offset = offsets[i]! + byte;
            const { finding } = await withFlip(directory, offset, bit, () => verify(directory));
            assert.equal(finding?.offset, offsets[i]!, `${field}, bit ${bit} of byte ${byte} of record ${i}`);
          }
        }
      }
    }
  });

  it("finds flips in fillers", async () => {
    const { directory, offsets } = await makeStore(60);
    const lastOfFile = offsets.findLastIndex((offset) => offset < FILE_SIZE);
    const blank = offsets[lastOfFile]! + offsets[1]! - offsets[0]!;
    for (let byte = 0; byte < 8; byte++) {
      const { finding } = await withFlip(directory, blank + byte, 1, () => verify(directory));
      assert.equal(finding?.offset, blank);
    }
  });

  it("finds every flipped bit of a consume queue unit", async () => {
    const { directory, offsets } = await makeStore(20);
    const path = join(directory, "consumequeue/TopicTest/1/00000000000000000000");
    const good = readFileSync(path);
    for (let bit = 0; bit < 20 * 8 * 3; bit++) {
      const bytes = Uint8Array.from(good);
      bytes[bit >> 3]! ^= 1 << (bit & 7);
      writeFileSync(path, bytes);
      const { finding } = await verify(directory);
      assert.ok(finding !== null, `bit ${bit}`);
      assert.equal(finding.file, finding.field === "consumeQueue" ? path : logPath(directory, finding.offset));
      const unit = Math.floor(bit / 160);
      if (bit % 160 >= 64) assert.equal(finding.offset, offsets[unit * 2 + 1]);
    }
    writeFileSync(path, good);
    assert.equal((await verify(directory)).ok, true);
  });

  it("finds missing and superfluous units, files and queues", async () => {
    const { directory, offsets, end } = await makeStore(70);
    const damage = async (change: (copy: string) => void) => {
      const copy = kit.directory();
      cpSync(directory, copy, { recursive: true });
      change(copy);
      return (await verify(copy)).finding;
    };
    const queue = (copy: string, id: number) => join(copy, `consumequeue/TopicTest/${id}`);
    const gone = await damage((copy) => rmSync(queue(copy, 1), { recursive: true }));
    assert.deepEqual([gone?.offset, gone?.field], [offsets[1], "consumeQueue"]);
    const cut = await damage((copy) => {
      const path = join(queue(copy, 0), readdirSync(queue(copy, 0)).at(-1)!);
      const bytes = readFileSync(path);
      bytes.fill(0, 80);
      writeFileSync(path, bytes);
    });
    assert.deepEqual([cut?.offset, cut?.field], [offsets[68], "consumeQueue"]);
    const tailGone = await damage((copy) => {
      const bytes = readFileSync(logPath(copy, offsets[69]!));
      bytes.fill(0, offsets[69]! % FILE_SIZE);
      writeFileSync(logPath(copy, offsets[69]!), bytes);
    });
    assert.equal(tailGone?.offset, offsets[69]);
    const fileGone = await damage((copy) => rmSync(logPath(copy, FILE_SIZE)));
    assert.equal(fileGone?.field, "file");
    const short = await damage((copy) => writeFileSync(logPath(copy, end), new Uint8Array(7)));
    assert.equal(short?.field, "file");
  });

  it("takes messages of deleted topics, and of topics made again, for what they are", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory, { mappedFileSizeCommitLog: FILE_SIZE });
    const offsets: number[] = [];
    const put = (topic: string, queueId: number, count: number) => {
      for (let i = 0; i < count; i++) {
        offsets.push(putOk(store.appendMessage(message(`m${100 + i}`, { topic, queueId }))).wroteOffset);
      }
    };
    for (const topic of ["Gone", "Again", "Stays"]) for (const queueId of [0, 1]) put(topic, queueId, 8);
    await store.waitDispatched();
    await store.deleteTopics(["Gone", "Again"]);
    put("Again", 0, 12);
    await store.waitDispatched();
    await store.shutdown();
    const { finding, notes, units } = await verify(directory);
    assert.deepEqual([finding, units], [null, 28]);
    assert.deepEqual(notes, [`32 messages are in no queue, the first at ${offsets[0]}: their topics were deleted`]);
    const path = join(directory, "consumequeue/Again/0", "0".repeat(20));
    const bytes = readFileSync(path);
    bytes[7]! ^= 4;
    writeFileSync(path, bytes);
    assert.equal((await verify(directory)).finding?.field, "consumeQueue");
  });

  it("takes records that are not dispatched yet for what they are", async () => {
    const { directory, offsets } = await makeStore(40);
    rmSync(join(directory, "consumequeue"), { recursive: true });
    const result = await verify(directory);
    assert.deepEqual([result.ok, result.notDispatched, result.units], [true, 40, 0]);
    // Without queues the log itself must tell damage from its end.
    const { finding } = await withFlip(directory, offsets[39]! + 90, 0, () => verify(directory));
    assert.equal(finding?.offset, offsets[39]);
    const gap = await withFlip(directory, offsets[20]! + 27, 0, () => verify(directory));
    assert.deepEqual([gap.finding?.offset, gap.finding?.field], [offsets[20], "queueOffset"]);
  });

  it("tells a record being written, and what an earlier cut left, from damage", async () => {
    const { directory, offsets, end } = await makeStore(40);
    const path = logPath(directory, end);
    const bytes = readFileSync(path);
    const torn = Uint8Array.from(bytes);
    torn.copyWithin(end % FILE_SIZE, offsets[39]! % FILE_SIZE, offsets[39]! % FILE_SIZE + 60);
    torn[end % FILE_SIZE + 3]! = 200;
    new DataView(torn.buffer).setBigInt64(end % FILE_SIZE + 28, BigInt(end));
    writeFileSync(path, torn);
    assert.equal((await verify(directory)).finding?.offset, end);
    writeFileSync(join(directory, "abort"), "1");
    const killed = await verify(directory);
    assert.deepEqual([killed.ok, killed.notes.length], [true, 1]);
    rmSync(join(directory, "abort"));
    const stale = Uint8Array.from(bytes);
    stale.fill(0x61, end % FILE_SIZE + 30, end % FILE_SIZE + 90);
    writeFileSync(path, stale);
    const result = await verify(directory);
    assert.deepEqual([result.ok, result.maxOffset], [true, end]);
    assert.match(result.notes[0]!, /Stale bytes/);
  });

  it("notes what fillers hold, which the format leaves open", async () => {
    const { directory } = await makeStore(60);
    const lastByte = FILE_SIZE - 1;
    const result = await withFlip(directory, lastByte, 3, () => verify(directory));
    assert.equal(result.finding, null);
    assert.match(result.notes.join(), /^1 fillers .* not zero, the first at \d+/);
  });
});

describe("verifyStore, the index", () => {
  /** Runs `check` with other bytes in the index file, and mends it. */
  async function withIndex<T>(path: string, change: (bytes: Uint8Array) => void, check: () => Promise<T>): Promise<T> {
    const good = readFileSync(path);
    const bytes = Uint8Array.from(good);
    change(bytes);
    writeFileSync(path, bytes);
    try {
      return await check();
    } finally {
      writeFileSync(path, good);
    }
  }

  const indexPaths = (directory: string) =>
    readdirSync(join(directory, "index")).toSorted().map((name) => join(directory, "index", name));
  const entryAt = (index: number) => 40 + maxHashSlotNum * 4 + index * 20;

  it("finds every flipped bit of entries and slots, and of the header's positions", async () => {
    const { directory } = await makeStore(12);
    const [path] = indexPaths(directory);
    const used = 12 * 3 + 1;
    // The first entry's time counts from the end of the file before, which may have expired: nobody can tell.
    const entries = [[entryAt(1), entryAt(1) + 12], [entryAt(1) + 16, entryAt(used)]] as const;
    const checked = [[16, 32], [36, 40], [40, 40 + maxHashSlotNum * 4], ...entries] as const;
    for (const [from, to] of checked) {
      for (let bit = from * 8; bit < to * 8; bit += 11) {
        const flip = (bytes: Uint8Array) => void (bytes[bit >> 3]! ^= 1 << (bit & 7));
        const { finding } = await withIndex(path!, flip, () => verify(directory));
        assert.deepEqual([finding?.field, finding?.file], ["index", path], `bit ${bit}: ${finding?.reason}`);
      }
    }
    assert.equal((await verify(directory)).finding, null);
  });

  it("names the record that has no entry, and the entry that has no record", async () => {
    const { directory, offsets } = await makeStore(12);
    const [path] = indexPaths(directory);
    const swap = (bytes: Uint8Array) => {
      // Entry 4 is the first key of the second record.
      new DataView(bytes.buffer).setBigInt64(entryAt(4) + 4, BigInt(offsets[0]!));
    };
    const other = await withIndex(path!, swap, () => verify(directory));
    assert.deepEqual([other.finding?.offset, other.finding?.field], [offsets[0], "index"]);
    assert.match(other.finding!.reason, /^entry 4 is for hash \d+, the record there has/);
    const push = (bytes: Uint8Array) => {
      for (const i of [4, 5, 6]) new DataView(bytes.buffer).setBigInt64(entryAt(i) + 4, BigInt(offsets[2]!));
    };
    const missing = await withIndex(path!, push, () => verify(directory));
    assert.equal(missing.finding?.offset, offsets[1]);
    assert.match(missing.finding!.reason, /^the index has no entry for hash \d+ of the record at/);
    const nowhere = (bytes: Uint8Array) => {
      new DataView(bytes.buffer).setBigInt64(entryAt(4) + 4, BigInt(offsets[1]! + 1));
    };
    const found = await withIndex(path!, nowhere, () => verify(directory));
    assert.ok(found.finding?.offset === offsets[1], found.finding?.reason);
  });

  it("walks several files, expired fronts included, and notes what a crash took between two", async () => {
    const { directory, offsets } = await makeStore(60, { maxIndexNum: 40 });
    const options = { maxIndexNum: 40 };
    const whole = await verify(directory, options);
    assert.deepEqual([whole.finding, whole.notes, whole.indexEntries], [null, [], 180]);
    assert.equal(whole.indexFiles, 5);
    // The first file of the log, and with it the front of what the index points at.
    rmSync(logPath(directory, 0));
    assert.equal((await verify(directory, options)).finding, null);
    rmSync(indexPaths(directory)[3]!);
    const gap = await verify(directory, options);
    assert.equal(gap.finding, null);
    assert.match(gap.notes.join(), /The index lacks 1\d records of offsets/);
    // The last: as when the index was turned off.
    rmSync(indexPaths(directory).at(-1)!);
    assert.match((await verify(directory, options)).notes.join(), /lacks the last \d+ records that have keys/);
    assert.ok(offsets.length === 60);
  });

  it("leaves out files that the next start removes, and says when the shape is unknown", async () => {
    const { directory } = await makeStore(60, { maxIndexNum: 40 });
    const last = indexPaths(directory).at(-1)!;
    const damage = (bytes: Uint8Array) => bytes.fill(0xff, entryAt(1), entryAt(3));
    assert.equal((await withIndex(last, damage, () => verify(directory, { maxIndexNum: 40 }))).ok, false);
    writeFileSync(join(directory, "abort"), "1");
    const result = await withIndex(last, damage, () => verify(directory, { maxIndexNum: 40 }));
    assert.deepEqual([result.finding, result.indexFiles], [null, 4]);
    rmSync(join(directory, "abort"));
    const other = await verifyStore(kit.runtime.fs, directory);
    assert.deepEqual([other.ok, other.indexFiles], [true, 0]);
    const wanted = indexFileSize({ maxHashSlotNum: 5_000_000, maxIndexNum: 20_000_000 });
    assert.match(other.notes.join(), new RegExp(`The index was not checked: .* wanted ${wanted}`));
  });

  it("passes what Apache wrote", async () => {
    for (const name of ["plain", "crc", "plain-crashed", "crc-crashed"]) {
      const result = await verify(`${APACHE_STORES}/${name}`);
      assert.equal(result.finding, null, name);
      assert.equal(result.indexEntries > 0, !name.endsWith("crashed"), name);
    }
  });
});

describe("compareStores", () => {
  const compare = (a: string, b: string) => compareStores(kit.runtime.fs, a, b);

  it("passes twins, and twins one of which is behind or has expired files", async () => {
    const { directory, offsets, end } = await makeStore(60);
    const twin = kit.directory();
    cpSync(directory, twin, { recursive: true });
    assert.deepEqual(await compare(directory, twin), { ok: true, from: 0, to: end, firstDifference: -1, files: [] });
    rmSync(logPath(twin, 0));
    const bytes = readFileSync(logPath(twin, offsets[59]!));
    bytes.fill(0, offsets[59]! % FILE_SIZE);
    writeFileSync(logPath(twin, offsets[59]!), bytes);
    const behind = await compare(directory, twin);
    assert.deepEqual([behind.ok, behind.from, behind.to], [true, FILE_SIZE, offsets[59]]);
  });

  it("finds any flip in either, in the last record too", async () => {
    const { directory, offsets, end } = await makeStore(30);
    const twin = kit.directory();
    cpSync(directory, twin, { recursive: true });
    for (let offset = 0; offset < end; offset += offset >= offsets[28]! ? 1 : 37) {
      for (const flipped of [directory, twin]) {
        const result = await withFlip(flipped, offset, offset % 8, () => compare(directory, twin));
        assert.equal(result.firstDifference, offset);
        assert.equal(result.ok, false);
        assert.equal(result.files[0], logPath(directory, offset));
      }
    }
  });
});
