// A FileSystem over a real one whose writes and syncs fail on demand, by path: a full disk, a broken one.

import { IoError } from "../../src/base/errors.ts";
import type { FileHandle, FileSystem } from "../../src/runtime/runtime.ts";

/** What fails now. */
export interface Failures {
  /** Writes to paths this accepts throw `noSpace`. */
  write: (path: string) => boolean;
  /** Syncs of paths this accepts throw `other`. */
  sync: (path: string) => boolean;
}

/** `fs` with `failures` applied at each call. */
export function failingFileSystem(fs: FileSystem, failures: Failures): FileSystem {
  const wrap = (handle: FileHandle): FileHandle => {
    const checkSync = () => {
      if (failures.sync(handle.path)) throw new IoError("other", `Sync "${handle.path}" failed`, "EIO");
    };
    return {
      path: handle.path,
      readAt: (target, offset) => handle.readAt(target, offset),
      readAtAsync: (target, offset) => handle.readAtAsync(target, offset),
      writeAt(bytes, offset) {
        if (failures.write(handle.path)) throw new IoError("noSpace", `Write "${handle.path}" failed`, "ENOSPC");
        handle.writeAt(bytes, offset);
      },
      async sync() {
        checkSync();
        await handle.sync();
      },
      syncBlocking() {
        checkSync();
        handle.syncBlocking();
      },
      truncate: (size) => handle.truncate(size),
      size: () => handle.size(),
      holeFrom: (offset) => handle.holeFrom(offset),
      reserve: (offset, length) => handle.reserve(offset, length),
      close: () => handle.close(),
    };
  };
  return {
    open: (path, mode) => wrap(fs.open(path, mode)),
    stat: (path) => fs.stat(path),
    list: (path) => fs.list(path),
    makeDirectory: (path) => fs.makeDirectory(path),
    remove: (path) => fs.remove(path),
    rename: (from, to) => fs.rename(from, to),
    readFile: (path) => fs.readFile(path),
    writeFile: (path, bytes) => fs.writeFile(path, bytes),
    createExclusive: (path, bytes) => fs.createExclusive(path, bytes),
    syncDirectory: (path) => fs.syncDirectory(path),
    syncDirectoryAsync: (path) => fs.syncDirectoryAsync(path),
    diskUsage: (path) => fs.diskUsage(path),
    lockedBy: (path) => fs.lockedBy(path),
  };
}
