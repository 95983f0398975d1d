import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import type { MessageStoreOptions } from "../../src/store/message_store.ts";
import { compareStores, verifyStore } from "../../src/store/store_verify.ts";
import { message, putOk, StoreKit } from "../support/store_kit.ts";

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

const verify = (directory: string) => verifyStore(kit.runtime.fs, directory);

describe("verifyStore", () => {
  it("passes a good store and counts what it saw", async () => {
    const { directory, end } = await makeStore(60);
    const progress: number[] = [];
    const result = await verifyStore(kit.runtime.fs, directory, {
      onProgress: (done, total) => progress.push(done / total),
    });
    assert.deepEqual(result.finding, null);
    assert.deepEqual(
      [result.ok, result.records, result.units, result.queues, result.maxOffset, result.notes.length],
      [true, 60, 60, 2, end, 0],
    );
    assert.equal(result.blanks, Math.floor(end / FILE_SIZE));
    assert.equal(result.mappedFileSize, FILE_SIZE);
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
