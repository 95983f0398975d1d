// The master's side of the report stream: bytes in any split -> the newest complete report. It keeps at most seven
// bytes. Which report is a request and which an ack, and whether it may be believed, is HAConnection's to say.

import { readReport, REPORT_HEADER_SIZE } from "./frames.ts";

/**
 * Decodes reports. Groups of eight are aligned to the start of the stream; of several complete ones in one push only
 * the last counts, as in Apache's `DefaultHAConnection.ReadSocketService`.
 */
export class ReportDecoder {
  /** The bytes of a report that is not complete yet. */
  readonly #held = new Uint8Array(REPORT_HEADER_SIZE);
  #heldSize = 0;

  /** The last report completed by `bytes`, or null. Throws {@link ProtocolError} when that one can't be an offset. */
  push(bytes: Uint8Array): number | null {
    const total = this.#heldSize + bytes.length;
    const rest = total % REPORT_HEADER_SIZE;
    if (total < REPORT_HEADER_SIZE) {
      this.#held.set(bytes, this.#heldSize);
      this.#heldSize = total;
      return null;
    }
    const lastAt = total - rest - REPORT_HEADER_SIZE - this.#heldSize;
    let report: number;
    if (lastAt >= 0) {
      report = readReport(bytes, lastAt);
    } else {
      this.#held.set(bytes.subarray(0, REPORT_HEADER_SIZE - this.#heldSize), this.#heldSize);
      report = readReport(this.#held, 0);
    }
    this.#held.set(bytes.subarray(bytes.length - rest));
    this.#heldSize = rest;
    return report;
  }
}
