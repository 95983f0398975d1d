// Open handles of files that are many and mostly quiet (one or more per consume queue), so that their number stays
// bounded whatever the number of queues. It knows nothing of what is in the files. Used by ConsumeQueue.

import type { FileHandle, FileSystem } from "../runtime/runtime.ts";

interface CachedHandle {
  readonly handle: FileHandle;
  /** Syncs in flight: such a handle is not closed. */
  pins: number;
}

/** Least recently used handles are closed beyond `handlesMax`. */
export class FileHandleCache {
  readonly #fs: FileSystem;
  readonly #handlesMax: number;
  /** In order of last use. */
  readonly #handles = new Map<string, CachedHandle>();

  constructor(fs: FileSystem, handlesMax: number) {
    this.#fs = fs;
    this.#handlesMax = handlesMax;
  }

  /** The open handle of an existing file; lent until the next call of any method. */
  get(path: string): FileHandle {
    return this.#use(path, "write").handle;
  }

  /** Makes a file of `size` zero bytes and opens it. */
  create(path: string, size: number): FileHandle {
    const { handle } = this.#use(path, "create");
    handle.truncate(size);
    return handle;
  }

  /** Makes what was written to the file durable. */
  async sync(path: string): Promise<void> {
    const cached = this.#use(path, "write");
    cached.pins++;
    try {
      await cached.handle.sync();
    } finally {
      cached.pins--;
    }
  }

  #use(path: string, mode: "write" | "create"): CachedHandle {
    let cached = this.#handles.get(path);
    if (cached === undefined) {
      this.#evict();
      cached = { handle: this.#fs.open(path, mode), pins: 0 };
    } else {
      this.#handles.delete(path);
    }
    this.#handles.set(path, cached);
    return cached;
  }

  #evict(): void {
    if (this.#handles.size < this.#handlesMax) return;
    for (const [path, cached] of this.#handles) {
      if (cached.pins > 0) continue;
      this.drop(path);
      return;
    }
  }

  /** Closes the file, as before removing it. */
  drop(path: string): void {
    this.#handles.get(path)?.handle.close();
    this.#handles.delete(path);
  }

  /** Closes all. */
  close(): void {
    for (const cached of this.#handles.values()) cached.handle.close();
    this.#handles.clear();
  }
}
