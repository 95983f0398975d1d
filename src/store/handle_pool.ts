// Open files of a store, shared by all its queues and bounded in number: a log of years has thousands of files, and
// few of them are in use. Opens on demand, closes the least recently used. Knows nothing of what the files hold.

import { IoError } from "../base/errors.ts";
import type { FileHandle, FileSystem } from "../runtime/runtime.ts";

interface PooledHandle {
  readonly handle: FileHandle;
  /** Asynchronous operations under way; the handle stays open until they end. */
  pins: number;
  closed: boolean;
}

/** A bounded cache of open files by path. */
export class HandlePool {
  readonly fs: FileSystem;
  readonly #handlesMax: number;
  /** In order of use, the least recent first. */
  readonly #open = new Map<string, PooledHandle>();
  #lastPath = "";
  #last: PooledHandle | null = null;
  #isClosed = false;

  /** At most `handlesMax` files stay open, and those that asynchronous operations hold. */
  constructor(fs: FileSystem, handlesMax = 256) {
    this.fs = fs;
    this.#handlesMax = handlesMax;
  }

  /** The open file, for use before the next call. Throws {@link IoError} `notFound`, or `closed` after {@link closeAll}. */
  get(path: string): FileHandle {
    return this.#take(path).handle;
  }

  /** Runs an asynchronous operation on the file, which stays open until it ends. */
  async use<T>(path: string, operation: (handle: FileHandle) => Promise<T>): Promise<T> {
    const pooled = this.#take(path);
    pooled.pins++;
    try {
      return await operation(pooled.handle);
    } finally {
      pooled.pins--;
      if (pooled.closed && pooled.pins === 0) pooled.handle.close();
    }
  }

  /** Forgets the file: before it is renamed or removed. */
  close(path: string): void {
    const pooled = this.#open.get(path);
    if (pooled === undefined) return;
    this.#open.delete(path);
    if (this.#last === pooled) this.#last = null;
    pooled.closed = true;
    if (pooled.pins === 0) pooled.handle.close();
  }

  /**
   * Closes everything for good, what asynchronous operations hold once they end: a reader that goes on meanwhile must
   * not open its next file behind a store that is shut down.
   */
  closeAll(): void {
    this.#isClosed = true;
    for (const path of [...this.#open.keys()]) this.close(path);
  }

  #take(path: string): PooledHandle {
    if (this.#last !== null && this.#lastPath === path) return this.#last;
    if (this.#isClosed) throw new IoError("closed", `Open "${path}": the store is closed`);
    let pooled = this.#open.get(path);
    if (pooled === undefined) {
      pooled = { handle: this.fs.open(path, "write"), pins: 0, closed: false };
      if (this.#open.size >= this.#handlesMax) this.#closeOldest();
    } else {
      this.#open.delete(path);
    }
    this.#open.set(path, pooled);
    this.#lastPath = path;
    this.#last = pooled;
    return pooled;
  }

  #closeOldest(): void {
    for (const [path, pooled] of this.#open) {
      if (pooled.pins > 0) continue;
      this.close(path);
      return;
    }
  }
}
