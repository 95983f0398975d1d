import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ConfigError } from "../../src/base/errors.ts";
import { chooseStartOffset } from "../../src/ha/start_offset.ts";

const F = 65536;

function choose(minOffset: number, maxOffset: number, haStartOffset: number | null = null) {
  const { request, expected, leadByte } = chooseStartOffset({ minOffset, maxOffset }, F, haStartOffset);
  return { request, expected, leadByte };
}

describe("chooseStartOffset", () => {
  it("requests the min offset when files have expired", () => {
    assert.deepEqual(choose(F, F), { request: F, expected: F, leadByte: false });
    assert.deepEqual(choose(3 * F, 5 * F + 7), { request: 3 * F, expected: 3 * F, leadByte: false });
  });

  it("requests byte 1 of a log from 0 that has filled a file", () => {
    assert.deepEqual(choose(0, F), { request: 1, expected: 1, leadByte: true });
    assert.deepEqual(choose(0, 9 * F + 1), { request: 1, expected: 1, leadByte: true });
  });

  it("requests 0 within the first file", () => {
    assert.deepEqual(choose(0, F - 1), { request: 0, expected: 0, leadByte: false });
    assert.deepEqual(choose(0, 0), { request: 0, expected: 0, leadByte: false });
    assert.deepEqual(choose(-1, 0), { request: 0, expected: 0, leadByte: false });
  });

  it("follows Apache's rule when the range is unknown, and says so", () => {
    const start = chooseStartOffset(null, F, null);
    assert.equal(start.request, 0);
    assert.equal(start.expected, null);
    assert.match(start.note, /can't be learned/);
  });

  it("obeys haStartOffset", () => {
    assert.deepEqual(choose(0, 9 * F, 2 * F), { request: 2 * F, expected: 2 * F, leadByte: false });
    assert.deepEqual(choose(0, 9 * F, 0), { request: 1, expected: 1, leadByte: true });
    assert.deepEqual(choose(0, 0, 0), { request: 0, expected: 0, leadByte: false });
    assert.equal(chooseStartOffset(null, F, 2 * F).request, 2 * F);
    assert.equal(chooseStartOffset(null, F, 0).request, 1);
  });

  it("refuses a haStartOffset inside a file", () => {
    for (const wrong of [1, F - 1, F + 1, -F, 0.5, NaN, 2 ** 60]) {
      assert.throws(() => chooseStartOffset(null, F, wrong), ConfigError, String(wrong));
    }
  });
});
