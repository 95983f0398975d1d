// The file `twinlog.clean`: at our last clean stop the log ended here and only zeros stood behind it. It saves the next
// start from reading the rest of a file of 1 GiB. Who wrote to it since left another end, a crash leaves no file.

import { utf8 } from "../base/bytes.ts";
import type { FileSystem } from "../runtime/runtime.ts";

/** Ours; Apache has no such file and leaves it alone. */
export const CleanEnd = {
  /** Notes the end, bytes. Throws {@link IoError}. */
  write(fs: FileSystem, storeDirectory: string, end: number): void {
    fs.writeFile(`${storeDirectory}/twinlog.clean`, utf8.encode(String(end)));
  },
  /** The end that was noted, null for none. The note is gone then, durably: it holds for one start. */
  take(fs: FileSystem, storeDirectory: string): number | null {
    const path = `${storeDirectory}/twinlog.clean`;
    const bytes = fs.readFile(path);
    if (bytes === null) return null;
    fs.remove(path);
    fs.syncDirectory(storeDirectory);
    const text = utf8.decode(bytes);
    return /^\d{1,16}$/.test(text) ? Number(text) : null;
  },
};
