// Directories that are still there after a loss of power. Owns no files: who puts something into the directory syncs it.

import type { FileSystem } from "../runtime/runtime.ts";
import { IoError } from "./errors.ts";

/**
 * Makes the directory and its parents, each entry durable, also where a process that was killed made them before.
 * Throws {@link IoError}.
 */
export function makeDurableDirectory(fs: FileSystem, path: string): void {
  fs.makeDirectory(path);
  for (let at = path; at !== parentOf(at); at = parentOf(at)) {
    try {
      fs.syncDirectory(parentOf(at));
    } catch (error) {
      // Who may add to a directory may still not be allowed to open it; the entry then waits for the system's own sync.
      if (!(error instanceof IoError) || error.kind !== "permission") throw error;
    }
  }
}

/**
 * Directories in which something was made, renamed or removed that a loss of power may still undo. One stays noted until
 * a sync that began after its last change is done, so that whoever needs it durable now syncs it again instead of relying
 * on a sync under way.
 */
export class UnsyncedDirectories {
  readonly #fs: Pick<FileSystem, "syncDirectory" | "syncDirectoryAsync">;
  /** Each with the number of its last change. */
  readonly #noted = new Map<string, number>();
  #changes = 0;

  constructor(fs: Pick<FileSystem, "syncDirectory" | "syncDirectoryAsync">) {
    this.#fs = fs;
  }

  /** Notes a change in the directory. */
  add(path: string): this {
    this.#noted.set(path, ++this.#changes);
    return this;
  }

  /** Forgets the directory. */
  delete(path: string): void {
    this.#noted.delete(path);
  }

  /** Forgets all of them. */
  clear(): void {
    this.#noted.clear();
  }

  /** Those that are noted. */
  paths(): string[] {
    return [...this.#noted.keys()];
  }

  /** Makes the changes in the directory durable that were noted before the call. Throws {@link IoError}. */
  async sync(path: string): Promise<void> {
    const change = this.#noted.get(path);
    if (change === undefined) return;
    await this.#fs.syncDirectoryAsync(path);
    if (this.#noted.get(path) === change) this.#noted.delete(path);
  }

  /** All of them, blocking. Throws {@link IoError}. */
  syncAllBlocking(): void {
    for (const path of this.paths()) {
      this.#fs.syncDirectory(path);
      this.#noted.delete(path);
    }
  }
}

/** The directory that holds the entry; of a path without one, `/` or `.`. */
function parentOf(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  const at = trimmed.lastIndexOf("/");
  return at > 0 ? trimmed.slice(0, at) : at === 0 || path.startsWith("/") ? "/" : ".";
}

/** Puts `content` in the place of a small file, all or nothing, and makes it durable before it returns. Throws `IoError`. */
export function replaceFileDurably(fs: FileSystem, path: string, content: Uint8Array): void {
  const directory = path.slice(0, path.lastIndexOf("/"));
  makeDurableDirectory(fs, directory);
  const temporary = `${path}.tmp`;
  fs.writeFile(temporary, content);
  const file = fs.open(temporary, "write");
  try {
    file.syncBlocking();
  } finally {
    file.close();
  }
  fs.rename(temporary, path);
  fs.syncDirectory(directory);
}
