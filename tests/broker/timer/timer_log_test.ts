// The timer's log: Apache's units, files, and what a crash leaves.

import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { NO_POS, TimerLog, type TimerLogUnit } from "../../../src/broker/timer/timer_log.ts";
import { temporaryDirectory } from "../../support/store_fixtures.ts";

const T = 1_700_000_000_000;
/** Holds 3 units, 12 bytes short of a fourth. */
const FILE_SIZE = 4 * 52 + 4;

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let log: TimerLog;

beforeEach(async () => {
  place = await temporaryDirectory();
  log = make();
  log.load(0, () => {});
});

afterEach(() => {
  log.close();
  place.remove();
});

function make(fileSize = FILE_SIZE): TimerLog {
  return new TimerLog({ fs: place.fs, directory: `${place.path}/timerlog`, fileSize, logger: SILENT_LOGGER });
}

function append(count: number): number[] {
  const positions: number[] = [];
  for (let i = 0; i < count; i++) {
    positions.push(log.append({
      prevPos: positions.at(-1) ?? NO_POS,
      magic: 1,
      writeTimeMs: T,
      delayedTimeMs: T + 1000 * i,
      offsetPy: 1000 * i,
      sizePy: 200,
      topicHash: -7,
    }));
  }
  log.writePending();
  return positions;
}

function reopened(from: number): TimerLogUnit[] {
  log.close();
  log = make();
  const units: TimerLogUnit[] = [];
  log.load(from, (unit) => units.push(unit));
  return units;
}

describe("TimerLog", () => {
  it("writes Apache's unit", () => {
    append(2);
    const bytes = place.fs.readFile(`${place.path}/timerlog/00000000000000000000`)!;
    assert.equal(bytes.length, FILE_SIZE);
    const view = new DataView(bytes.buffer, bytes.byteOffset + 52);
    assert.equal(view.getInt32(0), 52);
    assert.equal(view.getBigInt64(4), 0n);
    assert.equal(view.getInt32(12), 1);
    assert.equal(view.getBigInt64(16), BigInt(T));
    assert.equal(view.getInt32(24), 1000);
    assert.equal(view.getBigInt64(28), 1000n);
    assert.equal(view.getInt32(36), 200);
    assert.equal(view.getInt32(40), -7);
    assert.equal(view.getBigInt64(44), 0n);
  });

  it("goes on in a new file behind a BLANK, and reads every unit back", async () => {
    const positions = append(8);
    assert.deepEqual(positions, [0, 52, 104, 212, 264, 316, 424, 476]);
    const blank = new DataView(place.fs.readFile(`${place.path}/timerlog/00000000000000000000`)!.slice(156).buffer);
    assert.deepEqual([blank.getInt32(0), blank.getBigInt64(4), blank.getUint32(12)], [56, 0n, 0xcbd43194]);
    for (const [i, pos] of positions.toReversed().entries()) {
      const unit = (await log.read(pos))!;
      assert.deepEqual([unit.pos, unit.offsetPy, unit.delayedTimeMs], [pos, (7 - i) * 1000, T + (7 - i) * 1000]);
    }
    assert.equal(await log.read(528), null);
    assert.equal(await log.read(10_000), null);
    const back: number[] = [];
    for (let pos = log.unitBefore(log.maxPos); pos !== null; pos = log.unitBefore(pos)) back.push(pos);
    assert.deepEqual(back, positions.toReversed());
  });

  it("finds its end after a restart, and tells of the units behind a position", () => {
    const positions = append(8);
    assert.deepEqual(reopened(0).map((unit) => unit.pos), positions);
    assert.equal(log.maxPos, 528);
    assert.deepEqual(reopened(264).map((unit) => unit.pos), positions.slice(4));
    assert.deepEqual(reopened(528).map((unit) => unit.pos), []);
    assert.equal(append(1)[0], 528);
    assert.deepEqual(reopened(999_999).map((unit) => unit.pos), [424, 476, 528], "no unit begins there: the last file");
    const walked: number[] = [];
    log.walk(104, (unit) => walked.push(unit.pos));
    assert.deepEqual(walked, [104, 212, 264, 316, 424, 476, 528]);
  });

  it("cuts what a crash left half, and leaves nothing of it behind", () => {
    append(8);
    const path = `${place.path}/timerlog/00000000000000000212`;
    const file = place.fs.open(path, "write");
    file.writeAt(new Uint8Array(4), 52);
    file.close();
    assert.deepEqual(reopened(0).map((unit) => unit.pos), [0, 52, 104, 212]);
    assert.equal(log.maxPos, 264);
    assert.deepEqual(place.fs.list(`${place.path}/timerlog`), ["00000000000000000000", "00000000000000000212"]);
    assert.ok(place.fs.readFile(path)!.slice(52).every((byte) => byte === 0), "old units would be taken for new ones");
  });

  it("takes no unit of which a loss of power left a part", () => {
    append(3);
    const path = `${place.path}/timerlog/00000000000000000000`;
    const whole = place.fs.readFile(path)!.slice(104, 156);
    for (let kept = 4; kept <= 52; kept += 4) {
      const file = place.fs.open(path, "write");
      file.writeAt(new Uint8Array(52), 104);
      file.writeAt(whole.subarray(0, kept), 104);
      file.close();
      // What follows the size is the hash of the topic, which is no matter.
      assert.equal(reopened(0).length, kept < 40 ? 2 : 3, `${kept} bytes`);
    }
  });

  it("removes files whose messages are all gone", async () => {
    append(8);
    assert.equal(await log.deleteExpired(2000), 0);
    assert.equal(await log.deleteExpired(2001), 1);
    assert.equal(log.minPos, 212);
    assert.equal(await log.read(104), null);
    assert.equal(await log.deleteExpired(1_000_000), 1);
    assert.equal(log.unitBefore(log.maxPos), 476);
    assert.deepEqual(reopened(0).map((unit) => unit.pos), [424, 476]);
  });

  it("begins anew", () => {
    append(8);
    log.destroy();
    assert.equal(log.maxPos, 0);
    assert.equal(append(1)[0], 0);
  });
});
