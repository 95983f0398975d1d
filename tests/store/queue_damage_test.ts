// Consume queues whose units rotted while the node was down, found at a start after a crash: what recovery makes of them
// must be what the log alone says. Units are flipped bit by bit, those that recovery dispatches again anyway and those
// that the checkpoint calls flushed.

import assert from "node:assert/strict";
import { cpSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { StoreCheckpoint } from "../../src/store/store_checkpoint.ts";
import { checkDerived, deriveRecords } from "./derived_check.ts";
import { message, putOk, SMALL, StoreKit } from "../support/store_kit.ts";

const UNIT = 20;
const PER_FILE = SMALL.mappedFileSizeConsumeQueue / UNIT;
/** Units of each busy queue; the quiet one has but a few, of records in the first file. */
const BUSY = 66;
const QUIET = 5;
const QUIET_QUEUE = 7;

let kit: StoreKit;
/** What a process left that was killed with everything dispatched. */
let killed: string;
let maxOffset: number;

before(async () => {
  kit = await StoreKit.create();
  const directory = kit.directory();
  const store = await kit.open(directory);
  for (let i = 0; i < QUIET; i++) putOk(store.appendMessage(message(`q${i}`, { queueId: QUIET_QUEUE })));
  for (let i = 0; i < 3 * BUSY; i++) putOk(store.appendMessage(message(`m${i}`, { queueId: i % 3 })));
  await store.waitDispatched();
  maxOffset = store.maxOffset;
  assert.ok(maxOffset > 3 * SMALL.mappedFileSizeCommitLog);
  killed = kit.killed(directory);
});
after(() => kit.dispose());

/** A copy whose checkpoint calls nothing flushed, or everything below the last file of the log. */
function copyOf(isFlushed: boolean): string {
  const copy = kit.directory();
  cpSync(killed, copy, { recursive: true });
  const checkpoint = new StoreCheckpoint(kit.runtime.fs, copy);
  const newest = kit.runtime.clock.now() + 10_000;
  checkpoint.physicMsgTimestamp = checkpoint.logicsMsgTimestamp = isFlushed ? newest : 0;
  checkpoint.indexMsgTimestamp = 0;
  checkpoint.flushBlocking();
  return copy;
}

function flip(store: string, queueId: number, unit: number, byte: number, bit: number): void {
  const position = unit % PER_FILE * UNIT + byte;
  const name = String((unit - unit % PER_FILE) * UNIT).padStart(20, "0");
  const path = join(store, "consumequeue", "TopicTest", String(queueId), name);
  const bytes = readFileSync(path);
  bytes[position]! ^= 1 << bit;
  writeFileSync(path, bytes);
}

function filesOf(directory: string): Map<string, Uint8Array> {
  const files = new Map<string, Uint8Array>();
  for (const entry of readdirSync(directory, { recursive: true, withFileTypes: true })) {
    const path = join(entry.parentPath, entry.name);
    if (entry.isFile()) files.set(path.slice(directory.length), readFileSync(path));
  }
  return new Map([...files].sort(([a], [b]) => a < b ? -1 : 1));
}

/** Starts the store, stops it, and compares queues and index with its log. */
async function checkStarted(directory: string): Promise<void> {
  const store = await kit.open(directory);
  assert.equal(store.maxOffset, maxOffset);
  for (let queueId = 0; queueId < 3; queueId++) assert.equal(store.getMaxOffsetInQueue("TopicTest", queueId), BUSY);
  assert.equal(store.getMaxOffsetInQueue("TopicTest", QUIET_QUEUE), QUIET);
  await store.shutdown();
  const files = filesOf(directory);
  const parts = [...files].filter(([path]) => path.startsWith("/commitlog/")).map(([, bytes]) => bytes);
  const log = Buffer.concat(parts).subarray(0, maxOffset);
  checkDerived(files, deriveRecords(log, 0, SMALL.mappedFileSizeCommitLog), 0, SMALL);
}

/** Where a unit's fields begin, and bits of them that matter: the lowest, one in the middle, the highest. */
const FIELDS = {
  commitLogOffset: [[7, 0], [6, 3], [5, 1], [0, 7]],
  size: [[11, 0], [10, 6], [8, 7]],
  tagsCode: [[19, 0], [12, 7]],
} as const;

describe("consume queues with a flipped bit, after a crash", () => {
  const lastFile = BUSY - BUSY % PER_FILE;
  for (const [field, bits] of Object.entries(FIELDS)) {
    it(`are what the log says: ${field} of a unit that is dispatched again`, async () => {
      for (const unit of [BUSY - 1, lastFile + 1, lastFile - 2]) {
        for (const [byte, bit] of bits) {
          const store = copyOf(false);
          flip(store, 1, unit, byte, bit);
          await checkStarted(store).catch((error) => {
            throw new Error(`unit ${unit}, byte ${byte}, bit ${bit}`, { cause: error });
          });
        }
      }
    });
  }

  for (const field of ["commitLogOffset", "size"] as const) {
    it(`are what the log says: ${field} of the last unit, which was flushed long ago`, async () => {
      for (const [byte, bit] of FIELDS[field]) {
        const store = copyOf(true);
        flip(store, QUIET_QUEUE, QUIET - 1, byte, bit);
        await checkStarted(store).catch((error) => {
          throw new Error(`byte ${byte}, bit ${bit}`, { cause: error });
        });
      }
    });
  }

  it("are what the log says: a unit in the middle that ends the scan, flushed long ago", async () => {
    for (const [queueId, unit] of [[QUIET_QUEUE, 2], [QUIET_QUEUE, 0], [1, BUSY - 8], [1, lastFile - PER_FILE]]) {
      for (const [byte, bit] of [[5, 1], [0, 7], [9, 0], [8, 7]]) {
        const store = copyOf(true);
        flip(store, queueId!, unit!, byte!, bit!);
        await checkStarted(store).catch((error) => {
          throw new Error(`queue ${queueId}, unit ${unit}, byte ${byte}, bit ${bit}`, { cause: error });
        });
      }
    }
  });

  it("are left as they are where all is well, and where what lies behind the end rotted", async () => {
    for (const isFlushed of [false, true]) {
      await checkStarted(copyOf(isFlushed));
      for (const byte of [0, 7, 11, 19]) {
        const store = copyOf(isFlushed);
        flip(store, 1, BUSY + 1, byte, 4);
        await checkStarted(store);
      }
    }
  });

  it("are mended for good: power goes before anything is flushed, and the next start dispatches again", async () => {
    const store = copyOf(true);
    flip(store, QUIET_QUEUE, QUIET - 1, 5, 1);
    const { fs } = kit.runtime;
    const opened = await kit.open(store, { flushIntervalConsumeQueue: 3_600_000 });
    const image = kit.killed(store);
    await opened.shutdown();
    // The cut reached the disk, the unit that was put again did not.
    const path = join(image, "consumequeue", "TopicTest", String(QUIET_QUEUE), "0".repeat(20));
    const bytes = readFileSync(path);
    bytes.fill(0, (QUIET - 1) * UNIT);
    writeFileSync(path, bytes);
    const checkpoint = new StoreCheckpoint(fs, image);
    if (checkpoint.logicsMsgTimestamp === 0) await checkStarted(image);
    else assert.fail("The checkpoint still vouches for what was cut");
  });
});
