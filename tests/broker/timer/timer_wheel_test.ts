// The ring of slots and its file.

import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { StoreError } from "../../../src/base/errors.ts";
import { TIMER_WHEEL_SLOTS, TimerWheel } from "../../../src/broker/timer/timer_wheel.ts";
import { temporaryDirectory } from "../../support/store_fixtures.ts";

const T = 1_700_000_000_000;
const RING_MS = TIMER_WHEEL_SLOTS * 1000;

let place: Awaited<ReturnType<typeof temporaryDirectory>>;
let wheel: TimerWheel;

beforeEach(async () => {
  place = await temporaryDirectory();
  wheel = make();
});

afterEach(() => {
  wheel.close();
  place.remove();
});

function make(): TimerWheel {
  return new TimerWheel({ fs: place.fs, path: `${place.path}/timerwheel`, precisionMs: 1000 });
}

const slot = (pos: number) => ({ firstPos: pos, lastPos: pos + 52, num: 2 });

describe("TimerWheel", () => {
  it("has no file before the first message, and Apache's size after it", () => {
    assert.equal(wheel.slot(T), null);
    assert.equal(wheel.nextTime(T), null);
    assert.equal(wheel.earliest(0), null);
    wheel.pass(T);
    wheel.clear(T);
    assert.equal(place.fs.stat(`${place.path}/timerwheel`), null);
    wheel.put(T, slot(0));
    assert.equal(place.fs.stat(`${place.path}/timerwheel`)!.size, 38_707_200);
    assert.deepEqual(wheel.slot(T), slot(0));
    assert.equal(wheel.slot(T + 1000), null);
  });

  it("writes Apache's slot at Apache's place", () => {
    wheel.put(T, { firstPos: 7, lastPos: 2 ** 33, num: 5 });
    const bytes = new DataView(new ArrayBuffer(32));
    const file = place.fs.open(`${place.path}/timerwheel`, "read");
    file.readAt(new Uint8Array(bytes.buffer), ((T / 1000) % 1_209_600) * 32);
    file.close();
    const fields = [bytes.getBigInt64(0), bytes.getBigInt64(8), bytes.getBigInt64(16), bytes.getInt32(24)];
    assert.deepEqual(fields, [BigInt(T / 1000), 7n, 2n ** 33n, 5]);
  });

  it("finds the next slot with messages, around the ring's end too", () => {
    const end = Math.ceil(T / RING_MS) * RING_MS;
    const times = [T, T + 31_000, T + 32_000, T + 7_000_000, end - 1000, end, T + RING_MS - 1000];
    for (const time of times) wheel.put(time, slot(0));
    assert.equal(wheel.nextTime(T + 1), T + 31_000, "a time between two slots counts as the later one");
    const found: number[] = [];
    for (let next = wheel.nextTime(T); next !== null; next = wheel.nextTime(next + 1000)) found.push(next);
    assert.deepEqual(found, [...new Set(times)].sort((a, b) => a - b));
    // What was passed is forgotten; it may be recalled.
    assert.equal(wheel.nextTime(T), null);
    wheel.recall(T, T + 40_000);
    wheel.pass(T + 31_000);
    assert.equal(wheel.nextTime(T + 1000), T + 32_000);
    assert.notEqual(wheel.slot(T + 31_000), null, "the file keeps a slot that is delivered");
    wheel.recall(T + 1000, T + 40_000);
    assert.equal(wheel.nextTime(T + 1000), T + 31_000);
    wheel.clear(T + 31_000);
    assert.equal(wheel.nextTime(T + 1000), T + 32_000);
    assert.equal(wheel.slot(T + 31_000), null);
  });

  it("does not lose a later slot whose place an earlier time would have", () => {
    wheel.put(T + RING_MS + 5000, slot(0));
    assert.equal(wheel.isTakenByLater(T + 5000), true);
    assert.equal(wheel.nextTime(T), null);
    assert.equal(wheel.nextTime(T + 6000), T + RING_MS + 5000);
    assert.equal(wheel.earliest(T), T + RING_MS + 5000);
    assert.equal(wheel.earliest(T + RING_MS + 6000), null);
  });

  it("forgets a slot of long ago when it meets it", () => {
    wheel.put(T, slot(0));
    assert.equal(wheel.nextTime(T + RING_MS - 1000), null);
    assert.equal(wheel.nextTime(T), null);
  });

  it("knows its slots again after a restart", async () => {
    for (let i = 0; i < 100; i++) wheel.put(T + i * 500_000, slot(i));
    await wheel.sync();
    wheel.close();
    wheel = make();
    const seen: number[] = [];
    await wheel.load(T + 500_000, (timeMs, { firstPos }) => {
      assert.equal(timeMs, T + firstPos * 500_000);
      seen.push(firstPos);
    });
    assert.equal(seen.length, 99);
    assert.equal(wheel.nextTime(T), T + 500_000);
  });

  it("refuses a file of another size", async () => {
    place.fs.writeFile(`${place.path}/timerwheel`, new Uint8Array(100));
    await assert.rejects(wheel.load(0, () => {}), StoreError);
  });
});
