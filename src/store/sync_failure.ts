// What is left behind where a sync fails: the file `twinlog.syncfailed`. The kernel counts bytes as clean then that never
// reached the disk, and reports success to the next process that syncs them. So who finds the file writes those bytes
// once more before it trusts a sync. Owns that file and the watch over syncs; MessageStore drives both.

import { utf8 } from "../base/bytes.ts";
import { errorMessage, IoError } from "../base/errors.ts";
import type { FileHandle, FileSystem } from "../runtime/runtime.ts";

const FILE_NAME = "twinlog.syncfailed";

/** What the file says. */
export interface SyncFailureNote {
  /** Bytes of the log below this were on the disk for certain; 0 when that is not known. */
  readonly flushedOffset: number;
}

/** Ours; Apache has no such file and leaves it alone. */
export const SyncFailure = {
  /**
   * Leaves the note, unless there is one: an older one covers more. It need not be durable, since what a loss of power
   * leaves is what the disk has. As good as possible: the disk is broken.
   */
  write(fs: FileSystem, storeDirectory: string, note: SyncFailureNote & { path: string; error: string }): void {
    try {
      fs.createExclusive(`${storeDirectory}/${FILE_NAME}`, utf8.encode(JSON.stringify(note)));
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
    }
  },
  /** What was noted, null for nothing. One that can't be read says that nothing is certain. Throws {@link IoError}. */
  read(fs: FileSystem, storeDirectory: string): SyncFailureNote | null {
    const bytes = fs.readFile(`${storeDirectory}/${FILE_NAME}`);
    if (bytes === null) return null;
    const match = /"flushedOffset":(\d{1,15})\b/.exec(utf8.decode(bytes));
    return { flushedOffset: match === null ? 0 : Number(match[1]) };
  },
  /** Once everything is on the disk. Durable. Throws {@link IoError}. */
  remove(fs: FileSystem, storeDirectory: string): void {
    fs.remove(`${storeDirectory}/${FILE_NAME}`);
    fs.syncDirectory(storeDirectory);
  },
};

/** Hears of a sync that failed, before whoever asked for it does. */
export type SyncFailureListener = (path: string, error: string) => void;

/** `fs`, with a listener for syncs of files that fail. A directory's names can be synced again, so those don't count. */
export function watchSyncs(fs: FileSystem, onFailure: SyncFailureListener): FileSystem {
  return {
    open: (path, mode) => new WatchedHandle(fs.open(path, mode), onFailure),
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

class WatchedHandle implements FileHandle {
  readonly path: string;
  readonly #handle: FileHandle;
  readonly #onFailure: SyncFailureListener;

  constructor(handle: FileHandle, onFailure: SyncFailureListener) {
    this.path = handle.path;
    this.#handle = handle;
    this.#onFailure = onFailure;
  }

  async sync(): Promise<void> {
    try {
      await this.#handle.sync();
    } catch (error) {
      this.#onFailure(this.path, errorMessage(error));
      throw error;
    }
  }

  syncBlocking(): void {
    try {
      this.#handle.syncBlocking();
    } catch (error) {
      this.#onFailure(this.path, errorMessage(error));
      throw error;
    }
  }

  readAt(target: Uint8Array, offset: number): number {
    return this.#handle.readAt(target, offset);
  }

  readAtAsync(target: Uint8Array, offset: number): Promise<number> {
    return this.#handle.readAtAsync(target, offset);
  }

  readMappedAt(target: Uint8Array, offset: number): boolean {
    return this.#handle.readMappedAt?.(target, offset) ?? false;
  }

  readCachedAt(target: Uint8Array, offset: number): boolean {
    return this.#handle.readCachedAt?.(target, offset) ?? false;
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    this.#handle.writeAt(bytes, offset);
  }

  truncate(size: number): void {
    this.#handle.truncate(size);
  }

  size(): number {
    return this.#handle.size();
  }

  holeFrom(offset: number): number {
    return this.#handle.holeFrom(offset);
  }

  reserve(offset: number, length: number): void {
    this.#handle.reserve(offset, length);
  }

  close(): void {
    this.#handle.close();
  }
}
