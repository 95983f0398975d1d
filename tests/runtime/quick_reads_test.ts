import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { QuickReads } from "../../src/runtime/quick_reads.ts";

describe("QuickReads", () => {
  it("rests after a slow read, twice as long after each further one, and at most two seconds", () => {
    const reads = new QuickReads();
    assert.ok(reads.mayTry(0));
    let now = 1000;
    const rests: number[] = [];
    for (let i = 0; i < 10; i++) {
      reads.noted(now, 0.4, 100);
      let rest = 0;
      while (!reads.mayTry(now + rest)) rest++;
      rests.push(rest);
      now += rest;
    }
    assert.deepEqual(rests, [10, 20, 40, 80, 160, 320, 640, 1280, 2000, 2000]);
  });

  it("rests for twenty times what a read took", () => {
    const reads = new QuickReads();
    reads.noted(1000, 300, 100);
    assert.ok(!reads.mayTry(6999));
    assert.ok(reads.mayTry(7000));
  });

  it("allows a large read its bytes", () => {
    const reads = new QuickReads();
    reads.noted(0, 0.75, 512 * 1024);
    assert.ok(reads.mayTry(0));
    reads.noted(0, 0.85, 512 * 1024);
    assert.ok(!reads.mayTry(0));
  });

  it("forgets slow reads over many quick ones", () => {
    const reads = new QuickReads();
    for (let i = 0; i < 4; i++) reads.noted(0, 0.4, 100);
    for (let i = 0; i < 10 * 64; i++) reads.noted(1000, 0.01, 100);
    reads.noted(1000, 0.4, 100);
    assert.ok(!reads.mayTry(1009));
    assert.ok(reads.mayTry(1010));
  });

  it("keeps the event loop waiting for at most a twentieth of the time on a disk, whatever that takes", () => {
    for (const diskMs of [0.35, 1, 8, 40]) {
      const reads = new QuickReads();
      let now = 0;
      let waited = 0;
      while (now < 60_000) {
        if (reads.mayTry(now)) {
          now += diskMs;
          waited += diskMs;
          reads.noted(now, diskMs, 4096);
        } else now += 0.05;
      }
      assert.ok(waited <= now / 20, `${diskMs} ms: ${waited} of ${now}`);
    }
  });
});
