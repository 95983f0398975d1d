import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { printable, printableJson, quoted } from "../../src/base/printable.ts";

const HOSTILE = "a\r\nb\tc\x1b[2Jd\x7fe\x9bf\u2028g\u202eh ü€😀";

describe("printable text", () => {
  it("escapes what ends a line, steers a terminal or turns the reading direction, and nothing else", () => {
    assert.equal(printable(HOSTILE), "a\\r\\nb\\tc\\x1b[2Jd\\x7fe\\x9bf\\u2028g\\u202eh ü€😀");
    assert.equal(printable('plain "text" \\ 100 %'), 'plain "text" \\ 100 %');
  });

  it("leaves JSON the same value", () => {
    const json = printableJson(JSON.stringify({ HOSTILE }));
    assert.equal(printable(json), json);
    assert.deepEqual(JSON.parse(json), { HOSTILE });
  });

  it("quotes a value seen and cuts a long one", () => {
    assert.equal(quoted("a\nb"), '"a\\nb"');
    assert.equal(quoted("abcdef", 3), '"abc…"');
  });
});
