// Where bytes go that `--resync` takes out of a log, and those that recovery cuts though they hold whole records: into
// `<commit log>.aside`, beside it on the same file system, named by their range and the time. Nothing is deleted there by
// us. The commit log decides what is set aside and when.

import { makeDurableDirectory } from "../base/durable_directory.ts";
import { assert } from "../base/errors.ts";
import type { FileHandle, FileSystem } from "../runtime/runtime.ts";
import { isZero, type MappedFile, offsetToFileName } from "./mapped_file.ts";

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
      writeSparse(handle, part.subarray(0, count), offset - from);
      offset += count;
    }
    handle.truncate(end - from);
    await handle.sync();
  } finally {
    handle.close();
  }
  fs.syncDirectory(path.slice(0, path.lastIndexOf("/")));
}

/** Copies `[from, end)` of one file, positions in it, into a new file at `path`, durably. Blocks. Throws {@link IoError}. */
export function copyOfFile(fs: FileSystem, file: MappedFile, from: number, end: number, path: string): void {
  const handle = fs.open(path, "create");
  try {
    const buffer = new Uint8Array(Math.min(COPY_SIZE, end - from));
    for (let at = from; at < end; at += buffer.length) {
      const part = buffer.subarray(0, Math.min(buffer.length, end - at));
      file.readAt(part, at);
      writeSparse(handle, part, at - from);
    }
    handle.truncate(end - from);
    handle.syncBlocking();
  } finally {
    handle.close();
  }
  fs.syncDirectory(path.slice(0, path.lastIndexOf("/")));
}

/** What is zero stays a hole. */
function writeSparse(handle: FileHandle, bytes: Uint8Array, position: number): void {
  if (!isZero(bytes)) handle.writeAt(bytes, position);
}

/** Position after the last byte of a file, at or behind `from`, that is not zero; `from` when all are. Blocks. */
export function endOfData(file: MappedFile, from: number): number {
  const buffer = new Uint8Array(Math.min(COPY_SIZE, file.fileSize - from));
  for (let end = file.fileSize; end > from;) {
    const at = Math.max(from, end - buffer.length);
    const part = buffer.subarray(0, end - at);
    file.readAt(part, at);
    if (!isZero(part)) return at + part.findLastIndex((byte) => byte !== 0) + 1;
    end = at;
  }
  return from;
}
