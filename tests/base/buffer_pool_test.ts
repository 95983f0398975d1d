// Buffers that are used again: whose they are, and that what is kept stays bounded.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { giveBuffer, takeBuffer } from "../../src/base/buffer_pool.ts";

describe("The pool of buffers", () => {
  it("gives a buffer of the size asked for, and the same memory again once it is back", () => {
    const first = takeBuffer(40_000);
    assert.equal(first.length, 40_000);
    const other = takeBuffer(40_000);
    assert.notEqual(other.buffer, first.buffer);
    giveBuffer(first.subarray(0, 10));
    const again = takeBuffer(65_536);
    assert.equal(again.buffer, first.buffer);
    assert.equal(again.length, 65_536);
    assert.notEqual(takeBuffer(65_537).buffer, first.buffer);
  });

  it("takes no buffer twice, and none that is not of it", () => {
    const bytes = takeBuffer(5000);
    giveBuffer(bytes);
    assert.throws(() => giveBuffer(bytes), /twice/);
    assert.throws(() => giveBuffer(new Uint8Array(5000)), /not of it/);
  });

  it("keeps a bounded number of each size, and none of the large ones", () => {
    const sizes: [size: number, kept: number][] = [[0, 64], [1024, 64], [60_000, 64], [500_000, 8], [600_000, 0]];
    for (const [size, kept] of sizes) {
      const taken = Array.from({ length: 100 }, () => takeBuffer(size));
      const memory = new Set(taken.map(({ buffer }) => buffer));
      assert.equal(memory.size, 100);
      for (const bytes of taken) giveBuffer(bytes);
      const again = Array.from({ length: 100 }, () => takeBuffer(size)).filter(({ buffer }) => memory.has(buffer));
      assert.equal(again.length, kept, `of ${size} bytes`);
    }
  });
});
