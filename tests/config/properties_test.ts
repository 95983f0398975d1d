import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { parseProperties } from "../../src/config/properties.ts";

function parse(text: string): [string, string][] {
  return parseProperties(new TextEncoder().encode(text)).map(({ key, value }) => [key, value]);
}

describe("parseProperties, as java.util.Properties reads", () => {
  it("separates by =, : and white space", () => {
    assert.deepEqual(parse("a=1\nb:2\nc 3\nd = 4\ne\t:\t5\nf"), [["a", "1"], ["b", "2"], ["c", "3"], ["d", "4"], [
      "e",
      "5",
    ], ["f", ""]]);
    assert.deepEqual(parse("a==b\nc:=d\n=x"), [["a", "=b"], ["c", "=d"], ["", "x"]]);
  });

  it("skips comments and blank lines, leading white space included", () => {
    assert.deepEqual(parse("# x\n  ! y\n\n \t\n  a=1 # no comment"), [["a", "1 # no comment"]]);
  });

  it("continues a line after an odd number of backslashes", () => {
    assert.deepEqual(parse("a=1\\\n   2\\\n\t3\nb=x\\\\\nc=y"), [["a", "123"], ["b", "x\\"], ["c", "y"]]);
    assert.deepEqual(parse("a=1\\"), [["a", "1"]]);
    assert.deepEqual(parse("a=1\\\n# part of it"), [["a", "1# part of it"]]);
  });

  it("resolves escapes in keys and values", () => {
    assert.deepEqual(parse("a\\ b\\=c=1\\t2\\n\\u00e4\\q"), [["a b=c", "1\t2\näq"]]);
    assert.deepEqual(parse("path=C\\:\\\\store"), [["path", "C:\\store"]]);
  });

  it("refuses a \\u without four hex digits, as Java does", () => {
    const cases: [string, RegExp][] = [
      ["a=1\nx=\\u12", /^Properties, line 2 has "\\u12", wanted \\u and four hex digits$/],
      ["x=\\u12g4 and more", /has "\\u12g4", wanted/],
      ["\\uq=1", /has "\\uq", wanted/],
      ["x=1\\\n  \\u", /line 1 has "\\u", wanted/],
    ];
    for (const [text, message] of cases) assert.throws(() => parse(text), { name: "ConfigError", message }, text);
    assert.deepEqual(parse("x=\\\\u12\n# \\u12"), [["x", "\\u12"]]);
  });

  it("takes every line ending and keeps trailing blanks", () => {
    assert.deepEqual(parse("a=1\r\nb=2\rc=3 \n"), [["a", "1"], ["b", "2"], ["c", "3 "]]);
  });

  it("reads bytes as Latin-1 and counts lines", () => {
    const [first, second] = parseProperties(new Uint8Array([0x61, 0x3d, 0xe4, 0x0a, 0x0a, 0x62, 0x3d]));
    assert.deepEqual(first, { key: "a", value: "ä", line: 1 });
    assert.deepEqual(second, { key: "b", value: "", line: 3 });
  });

  it("means something for any other bytes", () => {
    const noise = Uint8Array.from({ length: 4096 }, (_, at) => (at * 7919 + (at >> 3)) & 0xff);
    assert.ok(!Buffer.from(noise).includes("\\u"));
    for (let end = 0; end < noise.length; end += 97) parseProperties(noise.subarray(0, end));
  });
});
