import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ProtocolError } from "../../src/base/errors.ts";
import { writeReport } from "../../src/ha/frames.ts";
import { ReportDecoder } from "../../src/ha/report_decoder.ts";

function reports(...offsets: number[]): Uint8Array {
  const bytes = new Uint8Array(offsets.length * 8);
  offsets.forEach((offset, index) => writeReport(bytes, index * 8, offset));
  return bytes;
}

describe("ReportDecoder", () => {
  it("gives the last complete report of a push", () => {
    const decoder = new ReportDecoder();
    assert.equal(decoder.push(reports(7)), 7);
    assert.equal(decoder.push(reports(8, 9, 10)), 10);
    assert.equal(decoder.push(new Uint8Array(0)), null);
  });

  it("gives the same byte by byte", () => {
    const decoder = new ReportDecoder();
    const seen: number[] = [];
    for (const byte of reports(1, 2 ** 33, 3)) {
      const report = decoder.push(Uint8Array.of(byte));
      if (report !== null) seen.push(report);
    }
    assert.deepEqual(seen, [1, 2 ** 33, 3]);
  });

  it("stays aligned whatever the two cuts", () => {
    const all = reports(0x0102030405, 0x1112131415, 0x0fff);
    const newest = (end: number) => end < 8 ? null : [0x0102030405, 0x1112131415, 0x0fff][Math.floor(end / 8) - 1]!;
    for (let a = 0; a <= all.length; a++) {
      for (let b = a; b <= all.length; b++) {
        const decoder = new ReportDecoder();
        let seen: number | null = null;
        for (const [from, to] of [[0, a], [a, b], [b, all.length]] as const) {
          const report = decoder.push(all.subarray(from, to));
          const completed = Math.floor(to / 8) > Math.floor(from / 8);
          assert.equal(report, completed ? newest(to) : null, `${a} ${b} ${to}`);
          seen = report ?? seen;
        }
        assert.equal(seen, 0x0fff);
      }
    }
  });

  it("does not keep a view of what it was lent", () => {
    const decoder = new ReportDecoder();
    const bytes = reports(5);
    decoder.push(bytes.subarray(0, 7));
    bytes.fill(0xee);
    assert.equal(decoder.push(Uint8Array.of(5)), 5);
  });

  it("refuses a negative or unsafe last report, and does not look at earlier ones", () => {
    const bad = new Uint8Array(8).fill(0xff);
    assert.throws(() => new ReportDecoder().push(bad), ProtocolError);
    const unsafe = Uint8Array.of(0, 0x20, 0, 0, 0, 0, 0, 0);
    assert.throws(() => new ReportDecoder().push(unsafe), ProtocolError);
    assert.equal(new ReportDecoder().push(Uint8Array.of(...bad, ...reports(4))), 4);
  });
});
