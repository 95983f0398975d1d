// Was a resync's cut the right one? Given what a slave's log held before it, and its master's log: where the record of the
// first difference begins, and whether what was cut is kept. Pure but for reading files; checkers.ts says when to judge.

import type { SimNode } from "./cluster.ts";
import { deriveRecords } from "./derive.ts";

/** What a log held: bytes from `min`, the start of a record, on. */
interface HeldLog {
  readonly min: number;
  readonly bytes: Uint8Array;
}

/** What is wrong with a cut of `slave`, which held `own`, to `end`; empty when nothing is. */
export function judgeCut(slave: SimNode, master: SimNode, own: HeldLog, end: number): string {
  const ownEnd = own.min + own.bytes.length;
  const wanted = cutOffset(slave, master, own);
  if (end < wanted) return `cut its log at ${end}, both logs are equal up to the record at ${wanted}`;
  const from = Math.max(end, own.min);
  const kept = asideBytes(slave, from, ownEnd);
  if (kept === null) return `cut its log from ${from} to ${ownEnd}, and kept nothing of it`;
  const isKept = Buffer.compare(kept, own.bytes.subarray(from - own.min)) === 0;
  return isKept ? "" : `cut its log from ${from} to ${ownEnd}, and kept other bytes of it`;
}

/** Start of the slave's record that holds the first byte that differs; 0 where the logs share nothing, for all may go. */
function cutOffset(slave: SimNode, master: SimNode, { min, bytes }: HeldLog): number {
  const theirs = master.status();
  const from = Math.max(min, theirs.minOffset);
  const end = Math.min(min + bytes.length, theirs.maxOffset);
  if (from >= end) return 0;
  const ours = bytes.subarray(from - min, end - min);
  const others = master.logBytes(from, end);
  let equal = 0;
  while (equal < ours.length && ours[equal] === others[equal]) equal++;
  const starts: number[] = [];
  const shared = deriveRecords(bytes.subarray(from - min), from, slave.fileSize, ({ offset }) => starts.push(offset));
  const first = from + equal;
  if (shared.end <= first) return shared.end;
  const start = starts.findLast((offset) => offset <= first) ?? from;
  return start === from ? 0 : start;
}

/** The newest copy of `[from, end)` that a resync put aside: one file, or a directory of all files of the log. */
function asideBytes(slave: SimNode, from: number, end: number): Uint8Array | null {
  const { disk } = slave.host;
  const prefix = `/store/commitlog.aside/${name(from)}-${name(end)}-`;
  const paths = disk.files().filter((path) => path.startsWith(prefix)).sort();
  const newest = paths.at(-1)?.split("/")[3];
  if (newest === undefined) return null;
  const parts = paths.filter((path) => path.split("/")[3] === newest).map((path) => disk.peek(path));
  return Buffer.concat(parts).subarray(0, end - from);
}

function name(offset: number): string {
  return String(offset).padStart(20, "0");
}
