// Waiting awake: only between frames that come close together, for so long and no longer.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BusyPoll } from "../../src/broker/busy_poll.ts";
import type { Clock } from "../../src/runtime/runtime.ts";

/** A clock whose turns are taken by hand, 10 us each. */
function bench(micros: number) {
  let us = 1_000_000;
  const waiting: (() => void)[] = [];
  const clock: Clock = {
    now: () => 0,
    monotonic: () => us / 1000,
    setTimer: () => assert.fail("no timer is needed"),
    nextTurn: (callback) => void waiting.push(callback),
  };
  const poll = new BusyPoll(clock, () => micros);
  return {
    poll,
    clock,
    pass: (count: number) => void (us += count),
    /** Turns until nobody asks for one, at most `max`. */
    turns(max = 1000): number {
      for (let count = 0; count < max; count++) {
        const next = waiting.shift();
        if (next === undefined) return count;
        us += 10;
        next();
      }
      return max;
    },
  };
}

describe("BusyPoll", () => {
  it("waits awake after a second frame that came soon enough, and sleeps once the next one is late", () => {
    const { poll, pass, turns } = bench(100);
    poll.arrived();
    assert.equal(turns(), 0, "the first one says nothing about the next");
    pass(90);
    poll.arrived();
    const count = turns();
    assert.ok(count === 10 || count === 11, `${count} turns of 10 us, wanted 100 us`);
    pass(500);
    poll.arrived();
    assert.equal(turns(), 0, "far apart: an idle node sleeps");
  });

  it("goes on while frames keep coming, with one chain of turns", () => {
    const { poll, turns } = bench(100);
    poll.arrived();
    for (let i = 0; i < 20; i++) {
      poll.arrived();
      assert.equal(turns(5), 5);
    }
    assert.ok([5, 6].includes(turns()));
  });

  it("stops at once, and does nothing where it is off or the runtime has no such turns", () => {
    const on = bench(100);
    on.poll.arrived();
    on.poll.arrived();
    on.poll.stop();
    assert.equal(on.turns(), 1);
    const off = bench(0);
    off.poll.arrived();
    off.poll.arrived();
    assert.equal(off.turns(), 0);
    const { clock } = bench(100);
    const without = new BusyPoll({ ...clock, nextTurn: undefined } as unknown as Clock, () => 100);
    without.arrived();
    without.arrived();
  });
});
