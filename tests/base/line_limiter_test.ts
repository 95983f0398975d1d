import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { LineLimiter } from "../../src/base/line_limiter.ts";

describe("LineLimiter", () => {
  it("admits one line per key and minute, and tells how many went unsaid", () => {
    const lines = new LineLimiter();
    assert.equal(lines.admit("a", 0), 0);
    assert.equal(lines.admit("a", 1), null);
    assert.equal(lines.admit("b", 1), 0, "each key by itself");
    assert.equal(lines.admit("a", 59_999), null);
    assert.equal(lines.admit("a", 60_000), 2);
    assert.equal(lines.admit("a", 60_001), null);
    assert.equal(lines.admit("a", 120_000), 1);
  });

  it("remembers a bounded number of keys, the latest", () => {
    const lines = new LineLimiter();
    for (let i = 0; i < 1000; i++) assert.equal(lines.admit(`key ${i}`, 0), 0);
    assert.equal(lines.admit("key 999", 1), null);
    assert.equal(lines.admit("key 0", 1), 0, "forgotten");
  });
});
