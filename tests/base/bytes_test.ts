import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { encodeShortText, readInt64, shortLivedBytes, utf8, writeInt64 } from "../../src/base/bytes.ts";

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

  it("encode short texts as any, each in bytes of its own", () => {
    const texts = [
      "",
      "a",
      "TopicTest",
      "\u0000\u007f",
      "\u0080",
      "aé",
      "ab€",
      "😀",
      "\ud800",
      "x".repeat(5000),
      "y".repeat(4096),
    ];
    const encoded = texts.map((text) => encodeShortText(text));
    assert.deepEqual(encoded.map((bytes) => [...bytes]), texts.map((text) => [...utf8.encode(text)]));
  });

  it("that live shortly do not overlap", () => {
    const parts = Array.from({ length: 200 }, (_, i) => shortLivedBytes(1 + (i * 97) % 4200).fill(i));
    for (const [i, part] of parts.entries()) {
      assert.ok(part.length === 1 + (i * 97) % 4200 && part.every((byte) => byte === i));
    }
  });
});
