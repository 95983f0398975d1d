// Where a slave without data asks its master to begin, so that it gets the whole history also from an Apache master,
// which answers a request of 0 with its last file only. Pure rules over what the master's remoting port told; asking
// it, and asking again when the first frame is not where expected, is the work of HAClient and its driver.

import { ConfigError } from "../base/errors.ts";

/** What a master's remoting port says of its log (`commitLogMinOffset`, `commitLogMaxOffset` of code 28), bytes. */
export interface MasterRange {
  /** First byte held; Apache says -1 for a log without files. */
  readonly minOffset: number;
  readonly maxOffset: number;
}

/** How an empty slave opens a connection. */
export interface StartRequest {
  /** The first report. */
  readonly request: number;
  /** Where the first frame must stand; null when any place is right. */
  readonly expected: number | null;
  /** Whether the log begins one byte before `expected`, with a 0x00 that never crosses the wire. */
  readonly leadByte: boolean;
  /** Why, for the log line. */
  readonly note: string;
}

/**
 * The rule. `range` is null when it can't be learned; `haStartOffset` (our own key, bytes) overrides everything.
 *
 * A log that begins at 0 is requested from byte 1 once the master's last file may not be its first: 0 would mean "your
 * last file". The byte left out is the top byte of a record's size, so it is 0x00 for a record under 16 MiB.
 * Throws {@link ConfigError} when `haStartOffset` is not a multiple of the file size.
 */
export function chooseStartOffset(
  range: MasterRange | null,
  mappedFileSize: number,
  haStartOffset: number | null,
): StartRequest {
  if (haStartOffset !== null) return configuredStart(range, mappedFileSize, haStartOffset);
  if (range === null) {
    const note =
      "master's log range can't be learned; following Apache's rule: an Apache master sends its last file only";
    return { request: 0, expected: null, leadByte: false, note };
  }
  if (range.minOffset > 0) {
    const note = "master's log begins at its min offset";
    return { request: range.minOffset, expected: range.minOffset, leadByte: false, note };
  }
  if (range.maxOffset >= mappedFileSize) {
    return { request: 1, expected: 1, leadByte: true, note: "master holds its log from 0 over more than one file" };
  }
  return { request: 0, expected: 0, leadByte: false, note: "master's log lies within its first file" };
}

function configuredStart(range: MasterRange | null, mappedFileSize: number, haStartOffset: number): StartRequest {
  if (!Number.isSafeInteger(haStartOffset) || haStartOffset < 0 || haStartOffset % mappedFileSize !== 0) {
    throw new ConfigError(
      `haStartOffset is ${haStartOffset}, wanted 0 or a multiple of mappedFileSizeCommitLog ${mappedFileSize}`,
    );
  }
  const note = "haStartOffset is set";
  if (haStartOffset > 0) return { request: haStartOffset, expected: haStartOffset, leadByte: false, note };
  // An empty master answers 1 with a heartbeat at 1 and may refuse it as beyond its end; 0 can't be wrong there.
  if (range !== null && range.maxOffset <= 0) return { request: 0, expected: 0, leadByte: false, note };
  return { request: 1, expected: 1, leadByte: true, note };
}
