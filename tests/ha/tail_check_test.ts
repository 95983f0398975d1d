import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import { compareWithLog, firstDifference, previousProbe, recordStartAt, TailCheck } from "../../src/ha/tail_check.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";

const F = 4096;

function filled(size: number): MemoryReplicaLog {
  const log = new MemoryReplicaLog({ mappedFileSize: F });
  log.fillTo(size);
  return log;
}

describe("TailCheck", () => {
  it("counts shares up to its end", () => {
    const check = new TailCheck(10, 30);
    assert.equal(check.share(8), 8);
    check.compared(8, -1);
    assert.equal(check.share(100), 12);
    assert.equal(check.passed, false);
    check.compared(12, -1);
    assert.equal(check.passed, true);
    assert.equal(check.share(5), 0);
  });

  it("names the first byte that differs", () => {
    const check = new TailCheck(10, 30);
    check.compared(5, -1);
    check.compared(5, 3);
    assert.equal(check.difference, 18);
    assert.equal(check.passed, false);
  });
});

describe("compareWithLog", () => {
  it("finds every flipped byte, across a file boundary, at once and from the disk", async () => {
    const log = filled(2 * F);
    const from = F - 300;
    for (const cold of [false, true]) {
      log.coldBelow = cold ? Number.MAX_SAFE_INTEGER : 0;
      for (const flipped of [-1, 0, 1, 299, 300, 599]) {
        const bytes = log.slice(from, from + 600);
        if (flipped >= 0) bytes[flipped]! ^= 1;
        const found = compareWithLog(log, from, bytes);
        assert.equal(typeof found === "number", !cold);
        // Each release may ask for the next piece of the range.
        while (cold && log.pendingReads.length > 0) {
          log.pendingReads.shift()!();
          for (let turn = 0; turn < 10; turn++) await Promise.resolve();
        }
        assert.equal(await found, flipped);
      }
    }
  });

  it("compares more than a block", () => {
    const log = new MemoryReplicaLog({ mappedFileSize: 1 << 20 });
    log.fillTo(300_000, 1000);
    const bytes = log.slice(0, 250_000);
    assert.equal(compareWithLog(log, 0, bytes), -1);
    bytes[200_001]! ^= 1;
    assert.equal(compareWithLog(log, 0, bytes), 200_001);
  });

  it("compares byte strings", () => {
    const a = Uint8Array.from([1, 2, 3]);
    assert.equal(firstDifference(a, Uint8Array.from([1, 2, 4]), 3), 2);
    assert.equal(firstDifference(a, Uint8Array.from([1, 2, 4]), 2), -1);
  });
});

describe("recordStartAt", () => {
  it("walks records and blanks to the one that holds the byte", async () => {
    const log = new MemoryReplicaLog({ mappedFileSize: F });
    const starts: number[] = [];
    while (log.maxOffset < 3 * F) starts.push(log.put(50 + starts.length % 17 * 40));
    for (const [index, start] of starts.entries()) {
      const next = starts[index + 1] ?? log.maxOffset;
      assert.equal(await recordStartAt(log, 0, start), start);
      // The byte before the next record belongs to this one, unless a BLANK stands between.
      const before = await recordStartAt(log, 0, next - 1);
      assert.ok(before === start || next % F === 0, `${before} before ${next}`);
    }
  });

  it("blames the disk for a size that none can be", async () => {
    const log = { read: (_offset: number, target: Uint8Array) => target.fill(0).length };
    await assert.rejects(recordStartAt(log, 100, 200), (error: unknown) => error instanceof IoError);
  });
});

describe("previousProbe", () => {
  const log = { minOffset: 2 * F, mappedFileSize: F };

  it("goes back file by file down to the log's min", () => {
    assert.equal(previousProbe(log, 4 * F + 100, null), 4 * F);
    assert.equal(previousProbe(log, 4 * F, null), 3 * F);
    assert.equal(previousProbe(log, 3 * F, null), 2 * F);
    assert.equal(previousProbe(log, 2 * F, null), null);
  });

  it("starts at our min inside a file", () => {
    assert.equal(previousProbe({ minOffset: 100, mappedFileSize: F }, F, null), 100);
  });

  it("stays within what the master holds", () => {
    assert.equal(previousProbe(log, 5 * F, { minOffset: 0, maxOffset: 3 * F + 1 }), 3 * F);
    assert.equal(previousProbe(log, 5 * F, { minOffset: 0, maxOffset: 3 * F }), 2 * F);
    assert.equal(previousProbe(log, 5 * F, { minOffset: 4 * F, maxOffset: 6 * F }), 4 * F);
    assert.equal(previousProbe(log, 4 * F, { minOffset: 4 * F, maxOffset: 6 * F }), null);
    assert.equal(previousProbe(log, 5 * F, { minOffset: 0, maxOffset: 0 }), null);
    assert.equal(previousProbe(log, 5 * F, { minOffset: -1, maxOffset: 0 }), null);
  });
});
