// The file `twinlog.clean`: at our last clean stop the log ended here, its last record began there, and only zeros stood
// behind it. It saves the next start from reading a file of 1 GiB. Who wrote to the log since left another end, a crash
// leaves no file.

import { utf8 } from "../base/bytes.ts";
import type { FileSystem } from "../runtime/runtime.ts";

/** What the file says, bytes of the log. */
export interface CleanEndNote {
  readonly end: number;
  /** Start of the last record that is not a filler; -1 when the log holds none. */
  readonly lastRecordOffset: number;
}

/** Ours; Apache has no such file and leaves it alone. */
export const CleanEnd = {
  /** Writes the note. Throws {@link IoError}. */
  write(fs: FileSystem, storeDirectory: string, { end, lastRecordOffset }: CleanEndNote): void {
    fs.writeFile(`${storeDirectory}/twinlog.clean`, utf8.encode(`${end} ${lastRecordOffset}`));
  },
  /** What was noted, null for nothing. The note is gone then, durably: it holds for one start. */
  take(fs: FileSystem, storeDirectory: string): CleanEndNote | null {
    const path = `${storeDirectory}/twinlog.clean`;
    const bytes = fs.readFile(path);
    if (bytes === null) return null;
    fs.remove(path);
    fs.syncDirectory(storeDirectory);
    const match = /^(\d{1,16}) (-1|\d{1,16})$/.exec(utf8.decode(bytes));
    if (match === null) return null;
    const note = { end: Number(match[1]), lastRecordOffset: Number(match[2]) };
    return Number.isSafeInteger(note.end) && note.lastRecordOffset < Math.max(note.end, 1) ? note : null;
  },
};
