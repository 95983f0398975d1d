import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { readInt64, utf8, writeInt64 } from "../../src/base/bytes.ts";

describe("bytes", () => {
  it("keep a byte order mark as Java does: a tag's hash goes by it", () => {
    for (const text of ["\ufeffTagA", "\ufeff", "a\ufeffb"]) assert.equal(utf8.decode(utf8.encode(text)), text);
  });

  it("hold every safe integer in 64 bits", () => {
    const bytes = new Uint8Array(8);
    for (const value of [0, -1, 1, 2 ** 31, -(2 ** 31), 2 ** 32, Number.MAX_SAFE_INTEGER, Number.MIN_SAFE_INTEGER]) {
      writeInt64(bytes, 0, value);
      assert.equal(readInt64(bytes, 0), value);
    }
  });
});
