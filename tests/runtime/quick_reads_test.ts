import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { QuickReads } from "../../src/runtime/quick_reads.ts";

const UNKNOWN = () => null;

describe("QuickReads", () => {
  it("rests for twenty times what a slow read took, and at most a minute", () => {
    const reads = new QuickReads();
    assert.ok(reads.mayTry(0));
    for (const [tookMs, restMs] of [[0.05, 1], [1, 20], [300, 6000], [3000, 60_000], [3_600_000, 60_000]] as const) {
      reads.noted(1000, tookMs, 100, UNKNOWN);
      assert.ok(!reads.mayTry(1000 + restMs - 0.001), `${tookMs}`);
      assert.ok(reads.mayTry(1000 + restMs), `${tookMs}`);
    }
  });

  it("allows a large read its bytes", () => {
    const reads = new QuickReads();
    reads.noted(0, 0.27, 512 * 1024, UNKNOWN);
    assert.ok(reads.mayTry(0));
    reads.noted(0, 0.29, 512 * 1024, UNKNOWN);
    assert.ok(!reads.mayTry(0));
  });

  it("does not rest after a read that was slow while no disk was read from", () => {
    const reads = new QuickReads();
    const rests = [5, 5, 6, 6, 7].map((blocksRead, index) => {
      const now = 1000 * index;
      reads.noted(now, 10, 100, () => blocksRead);
      return !reads.mayTry(now);
    });
    assert.deepEqual(rests, [true, false, true, false, true]);
    reads.noted(6000, 0.01, 100, () => assert.fail("a quick read asks for nothing"));
  });

  it("keeps the event loop waiting for at most a twentieth of the time on a disk, be it fast or slow", () => {
    for (const diskMs of [0.04, 0.066, 0.35, 1, 8, 40]) {
      const reads = new QuickReads();
      let now = 0;
      let waited = 0;
      while (now < 60_000) {
        if (reads.mayTry(now)) {
          now += diskMs;
          waited += diskMs;
          reads.noted(now, diskMs, 4096, UNKNOWN);
        } else now += 0.01;
      }
      assert.ok(waited <= now / 20, `${diskMs} ms: ${waited} of ${now}`);
    }
  });
});
