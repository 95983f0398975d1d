// Short traces of a store, and every loss of power on their way: at each write and sync boundary, with every subset of the
// last unsynced changes within a bound, and at every point of the recovery after it. TWINLOG_NIGHTLY=1 widens the bound.

import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { loadRuntime } from "../../src/runtime/detect.ts";
import { SMALL } from "../support/store_kit.ts";
import { type PointBounds, PointTrace, type Source, tryBitRot, tryEveryPoint } from "./crash_points.ts";

const { env } = (await loadRuntime()).process;
const isNightly = env("TWINLOG_NIGHTLY") === "1";
const BOUNDS: PointBounds = isNightly
  ? { subsetsOf: 6, recoverySubsetsOf: 3, recoveryEvery: 10 }
  : { subsetsOf: 5, recoverySubsetsOf: 1, recoveryEvery: 300 };
const EVERY_HOUR = Array.from({ length: 24 }, (_, hour) => hour).join(";");
/** Queues and checkpoint are flushed when the trace says so, by the time that passes. */
const QUICK_QUEUES = { flushIntervalConsumeQueue: 20, flushConsumeQueueThoroughInterval: 50 };

/** Tries a trace's points, and says how many there were; floors are of crash points and of different disks. */
async function tryTrace(name: string, trace: PointTrace, floors: { points: number; disks: number }): Promise<void> {
  const counts = await tryEveryPoint(trace, BOUNDS);
  const { points, losses, disks, recoveries } = counts;
  console.log(`${name}: ${points} crash points, ${losses} losses, ${disks} disks, ${recoveries} crashed recoveries`);
  assert.ok(points >= floors.points && disks >= floors.disks, `${JSON.stringify(counts)}, ${JSON.stringify(floors)}`);
  assert.ok(recoveries > disks / BOUNDS.recoveryEvery);
}

describe("a loss of power at every point, with every loss within a bound", () => {
  /** Two masters' logs: the first 20 messages are the same, then the second goes on, with a clock that is behind. */
  let first: Source;
  let second: Source;
  let commonEnd: number;
  before(async () => {
    const master = new PointTrace();
    await master.open();
    master.put(20, 200);
    commonEnd = master.history.length;
    const follower = new PointTrace({}, [{ bytes: master.history, start: 0 }], -60_000);
    await follower.open();
    follower.copy(follower.sources[0]!, commonEnd);
    master.put(25, 100);
    await follower.becomeMaster();
    follower.put(30, 60);
    first = { bytes: master.history, start: 0 };
    second = { bytes: follower.history, start: 0 };
  });

  it("of puts across a file's end", async () => {
    const trace = new PointTrace({ flushCommitLogLeastPages: 1 });
    await trace.open();
    trace.put(4, 900);
    await trace.waitStored();
    trace.put(4, 1100);
    await trace.advance(130);
    trace.put(4, 900);
    // Some are put while a flush is under way.
    await trace.advance(22);
    trace.put(2, 300);
    await trace.advance(8);
    await trace.waitStored();
    await tryTrace("puts", trace, { points: 80, disks: 800 });
  });

  it("of batches, one of which ends a file, with SYNC_FLUSH", async () => {
    const trace = new PointTrace({ flushDiskType: "SYNC_FLUSH" });
    await trace.open();
    trace.putBatch(3, 200);
    await trace.waitStored();
    trace.put(3, 2000);
    trace.putBatch(4, 500);
    trace.putBatch(2, 40);
    await trace.waitStored();
    trace.putBatch(5, 100);
    await trace.advance(60);
    await tryTrace("batches", trace, { points: 60, disks: 500 });
  });

  it("of a tail that is cut where another goes on", async () => {
    const trace = new PointTrace(QUICK_QUEUES, [first, second]);
    await trace.open();
    trace.copy(first, 9000, 1500);
    await trace.waitStored();
    await trace.advance(130);
    trace.copy(first, 2000);
    await trace.setAside(commonEnd);
    trace.copy(second, 1500);
    await trace.waitStored();
    trace.copy(second, 2200);
    await trace.advance(80);
    await tryTrace("truncation", trace, { points: 140, disks: 1300 });
  });

  it("of a whole log that is set aside for another", async () => {
    const trace = new PointTrace({}, [first, second]);
    await trace.open();
    trace.copy(first, 9000, 2000);
    await trace.waitStored();
    await trace.advance(130);
    trace.copy(first, 1000);
    await trace.setAside(null);
    trace.copy(second, 2000);
    await trace.waitStored();
    await tryTrace("log aside", trace, { points: 120, disks: 1000 });
  });

  it("of files that expire", async () => {
    const trace = new PointTrace({ ...QUICK_QUEUES, fileReservedTime: 0, deleteWhen: EVERY_HOUR, maxIndexNum: 40 });
    await trace.open();
    trace.put(24, 700);
    await trace.waitStored();
    await trace.advance(100);
    await trace.expire();
    trace.put(4, 700);
    await trace.advance(100);
    await tryTrace("expiry", trace, { points: 130, disks: 1400 });
  });

  it("of checkpoints, a clean stop and the start after it", async () => {
    const trace = new PointTrace(QUICK_QUEUES);
    await trace.open();
    trace.put(5, 300);
    await trace.advance(100);
    // Later than what the checkpoint distrusts.
    await trace.advance(4_000);
    trace.put(9, 700);
    await trace.advance(4_000);
    trace.put(1, 100);
    await trace.advance(250);
    trace.put(2);
    await trace.advance(100);
    await trace.shutdown();
    await trace.open();
    trace.put(2);
    await trace.advance(100);
    await tryTrace("checkpoints", trace, { points: 130, disks: 950 });
  });

  it("of a slave that stops at a file's end", async () => {
    const trace = new PointTrace({}, [first]);
    await trace.open();
    trace.copy(first, SMALL.mappedFileSizeCommitLog, 3000);
    await trace.shutdown();
    await trace.open();
    trace.copy(first, 500);
    await tryTrace("file end", trace, { points: 90, disks: 550 });
  });

  it("of index files that fill", async () => {
    // Header, slots and entries lie in different sectors.
    const trace = new PointTrace({ maxIndexNum: 30, maxHashSlotNum: 150 });
    await trace.open();
    // Two files' entries within one millisecond.
    trace.put(21);
    await trace.advance(130);
    trace.put(11);
    await trace.advance(30);
    await tryTrace("index", trace, { points: 120, disks: 850 });
  });

  it("of a recovery that finds bit rot and keeps what it cuts", async () => {
    const trace = new PointTrace();
    await trace.open();
    trace.put(24, 700);
    await trace.waitStored();
    const { recoveries, kept } = await tryBitRot(trace, 900 + 200, isNightly ? 4 : 2);
    console.log(`bit rot: ${recoveries} crashed recoveries, ${kept} pieces kept`);
    assert.equal(kept, 3, "the rest of the first file and two more");
    assert.ok(recoveries > 100);
  });
});
