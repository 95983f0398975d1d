import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ProtocolError } from "../../src/base/errors.ts";
import {
  BODY_SIZE_MAX,
  readReport,
  readTransferHeader,
  REPORT_HEADER_SIZE,
  TRANSFER_HEADER_SIZE,
  writeReport,
  writeTransferHeader,
} from "../../src/ha/frames.ts";

const hex = (text: string) => Uint8Array.from(text.match(/../g)!, (byte) => parseInt(byte, 16));

describe("HA frames", () => {
  it("writes and reads Apache's bytes", () => {
    const header = new Uint8Array(TRANSFER_HEADER_SIZE);
    writeTransferHeader(header, 0, 65536, 32768);
    assert.deepEqual(header, hex("000000000001000000008000"));
    assert.deepEqual(readTransferHeader(header, 0), { physicOffset: 65536, bodySize: 32768 });
    assert.deepEqual(readTransferHeader(hex("000000000001000000000000"), 0), { physicOffset: 65536, bodySize: 0 });
    const report = new Uint8Array(REPORT_HEADER_SIZE);
    writeReport(report, 0, 0x12_3456_789a);
    assert.deepEqual(report, hex("000000123456789a"));
    assert.equal(readReport(report, 0), 0x12_3456_789a);
  });

  it("carries every safe offset, also at a place of its own", () => {
    const bytes = new Uint8Array(40);
    for (const offset of [0, 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 40 + 3, Number.MAX_SAFE_INTEGER]) {
      writeReport(bytes, 3, offset);
      assert.equal(readReport(bytes, 3), offset);
      writeTransferHeader(bytes, 17, offset, BODY_SIZE_MAX);
      assert.deepEqual(readTransferHeader(bytes, 17), { physicOffset: offset, bodySize: BODY_SIZE_MAX });
    }
  });

  it("refuses what no peer may send", () => {
    for (const report of ["ffffffffffffffff", "8000000000000000", "0020000000000000", "7fffffffffffffff"]) {
      assert.throws(() => readReport(hex(report), 0), ProtocolError, report);
      assert.throws(() => readTransferHeader(hex(report + "00000000"), 0), ProtocolError, report);
    }
    for (const size of ["ffffffff", "80000000", "7fffffff", "003ffff5"]) {
      assert.throws(() => readTransferHeader(hex("0000000000000000" + size), 0), ProtocolError, size);
    }
    assert.equal(readTransferHeader(hex("0000000000000000003ffff4"), 0).bodySize, BODY_SIZE_MAX);
  });
});
