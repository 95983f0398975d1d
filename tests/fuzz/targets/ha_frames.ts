// The two decoders of the HA wire: the slave's 8-byte reports, the master's transfers.

import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { BODY_SIZE_MAX, readReport, writeReport, writeTransferHeader } from "../../../src/ha/frames.ts";
import { ReportDecoder } from "../../../src/ha/report_decoder.ts";
import { TransferDecoder } from "../../../src/ha/transfer_decoder.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { assertMemory, deliveries, outcome } from "../properties.ts";

/** Offsets as peers send them: most within a few files. */
export const offsets = fc.oneof(fc.nat(200_000), fc.nat(200_000), fc.maxSafeNat());

function reportBytes(offset: number): Uint8Array {
  const bytes = new Uint8Array(8);
  writeReport(bytes, 0, offset);
  return bytes;
}

/** A slave's stream. */
export const REPORT: FuzzTarget = {
  name: "ha_report",
  runs: 1500,
  inputs: fc.array(offsets, { maxLength: 20 }).map((list) => concatBytes(list.map(reportBytes))),
  check(input) {
    for (const parts of deliveries(input)) {
      const decoder = new ReportDecoder();
      let taken = 0;
      for (const part of parts) {
        const from = taken - taken % 8;
        taken += part.length;
        const end = taken - taken % 8;
        // Of the reports completed by one push, the last counts.
        const wanted = end > from
          ? outcome(() => readReport(input, end - 8), ProtocolError)
          : { value: null, error: null };
        const seen = outcome(() => decoder.push(part), ProtocolError);
        assert.deepEqual(seen.error?.message, wanted.error?.message);
        assert.equal(seen.value, wanted.value);
        if (seen.error !== null) break;
        if (seen.value !== null) assert.ok(Number.isSafeInteger(seen.value) && seen.value >= 0);
      }
    }
    assertMemory(() => void outcome(() => new ReportDecoder().push(input), ProtocolError), 0, 0, 64);
  },
};

/** One frame: header and a body, or part of one. */
const frame = fc.tuple(offsets, fc.uint8Array({ maxLength: 80 }), fc.option(fc.integer(), { freq: 8 })).map(
  ([offset, body, announced]) => {
    const bytes = new Uint8Array(12 + body.length);
    writeTransferHeader(bytes, 0, offset, announced ?? body.length);
    bytes.set(body, 12);
    return bytes;
  },
);

/** What a stream of transfers means, as text: bodies joined, so that splitting makes no difference. */
function meaningOf(parts: readonly Uint8Array[]): string {
  const decoder = new TransferDecoder();
  let seen = "";
  let bodyLeft = 0;
  let bodyAt = 0;
  for (const bytes of parts) {
    const { error } = outcome(() => {
      decoder.feed(bytes);
      for (let part = decoder.next(); part !== null; part = decoder.next()) {
        if (part === "header") {
          assert.equal(bodyLeft, 0, "A header came inside a body");
          assert.ok(decoder.bodySize >= 0 && decoder.bodySize <= BODY_SIZE_MAX);
          assert.ok(Number.isSafeInteger(decoder.physicOffset + decoder.bodySize) && decoder.physicOffset >= 0);
          bodyLeft = decoder.bodySize;
          bodyAt = decoder.physicOffset;
          seen += `\n${decoder.physicOffset}+${decoder.bodySize} `;
        } else {
          const { chunk } = decoder;
          assert.ok(chunk.length > 0 && chunk.length <= bodyLeft, "A body is longer than its header says");
          assert.ok(chunk.buffer === bytes.buffer, "A body was copied");
          assert.equal(decoder.chunkOffset, bodyAt);
          bodyLeft -= chunk.length;
          bodyAt += chunk.length;
          seen += Buffer.from(chunk).toString("hex");
        }
      }
    }, ProtocolError);
    if (error !== null) return `${seen}\n${error.message}`;
  }
  return seen;
}

/** A master's stream. */
export const TRANSFER: FuzzTarget = {
  name: "ha_transfer",
  runs: 1200,
  inputs: fc.array(frame, { maxLength: 8 }).map(concatBytes),
  check(input) {
    const [whole, ...others] = deliveries(input);
    const meaning = meaningOf(whole!);
    for (const parts of others) assert.equal(meaningOf(parts), meaning);
    assertMemory(() => void meaningOf([input]), 0, 0, 64);
  },
};
