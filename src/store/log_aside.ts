// Where bytes go that `--resync` takes out of a log: into `<commit log>.aside`, beside it on the same file system,
// named by their range and the time. Nothing is deleted there by us. The commit log decides what is set aside and when.

import { makeDurableDirectory } from "../base/durable_directory.ts";
import { assert } from "../base/errors.ts";
import type { FileSystem } from "../runtime/runtime.ts";
import { isZero, offsetToFileName } from "./mapped_file.ts";

const COPY_SIZE = 1024 * 1024;

/** A path nothing stands at yet, for the bytes `[from, end)` of the log in `logDirectory`; `now` is Unix ms. */
export function asidePath(fs: FileSystem, logDirectory: string, from: number, end: number, now: number): string {
  const directory = `${logDirectory}.aside`;
  makeDurableDirectory(fs, directory);
  const stem = `${directory}/${offsetToFileName(from)}-${offsetToFileName(end)}-${now}`;
  let path = stem;
  for (let i = 1; fs.stat(path) !== null; i++) path = `${stem}-${i}`;
  return path;
}

/** Copies `[from, end)` of a log into a new file at `path`, durably. Throws {@link IoError}. */
export async function copyRange(
  fs: FileSystem,
  log: { read(offset: number, target: Uint8Array): number | Promise<number> },
  from: number,
  end: number,
  path: string,
): Promise<void> {
  const handle = fs.open(path, "create");
  try {
    const buffer = new Uint8Array(COPY_SIZE);
    for (let offset = from; offset < end;) {
      const part = buffer.subarray(0, Math.min(buffer.length, end - offset));
      const count = await log.read(offset, part);
      assert(count > 0, `Log can't be read at ${offset}`);
      // What is zero stays a hole.
      if (!isZero(part.subarray(0, count))) handle.writeAt(part.subarray(0, count), offset - from);
      offset += count;
    }
    handle.truncate(end - from);
    await handle.sync();
  } finally {
    handle.close();
  }
  fs.syncDirectory(path.slice(0, path.lastIndexOf("/")));
}
