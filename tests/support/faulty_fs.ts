// A file system that fails on demand: the next writes, syncs or creations, at files whose path matches.

import { IoError } from "../../src/base/errors.ts";
import type { FileHandle, FileSystem } from "../../src/runtime/runtime.ts";

/** Which operations fail, and how; changed by the test as it goes. */
export interface Faults {
  /** Error of every write to a matching file; `writeFirst` bytes arrive all the same. */
  write: IoError | null;
  writeFirst: number;
  sync: IoError | null;
  create: IoError | null;
  match: RegExp;
  /** Syncs wait here until the test lets them go on. */
  syncGate: Promise<void> | null;
  syncs: number;
}

/** Wraps `fs`. */
export function faultyFileSystem(fs: FileSystem): { fs: FileSystem; faults: Faults } {
  const faults: Faults = { write: null, writeFirst: 0, sync: null, create: null, match: /./, syncGate: null, syncs: 0 };
  const wrap = (handle: FileHandle, path: string): FileHandle => ({
    path,
    readAt: (target, offset) => handle.readAt(target, offset),
    readAtAsync: (target, offset) => handle.readAtAsync(target, offset),
    writeAt(bytes, offset) {
      if (faults.write === null || !faults.match.test(path)) return handle.writeAt(bytes, offset);
      handle.writeAt(bytes.subarray(0, faults.writeFirst), offset);
      throw faults.write;
    },
    async sync() {
      if (faults.match.test(path)) {
        faults.syncs++;
        await faults.syncGate;
        if (faults.sync !== null) throw faults.sync;
      }
      await handle.sync();
    },
    syncBlocking: () => handle.syncBlocking(),
    truncate: (size) => handle.truncate(size),
    size: () => handle.size(),
    holeFrom: (offset) => handle.holeFrom(offset),
    reserve: (offset, length) => handle.reserve(offset, length),
    close: () => handle.close(),
  });
  const wrapped: FileSystem = {
    open(path, mode) {
      if (mode === "create" && faults.create !== null && faults.match.test(path)) throw faults.create;
      return wrap(fs.open(path, mode), path);
    },
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
  return { fs: wrapped, faults };
}
