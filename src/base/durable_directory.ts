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
 * Makes the entries of a directory durable that is noted in `unsynced`, and takes it out; one in which something is made
 * meanwhile is noted again by whoever makes it. Throws {@link IoError}: then it stays.
 */
export async function syncNoted(
  fs: Pick<FileSystem, "syncDirectoryAsync">,
  unsynced: Set<string>,
  directory: string,
): Promise<void> {
  unsynced.delete(directory);
  try {
    await fs.syncDirectoryAsync(directory);
  } catch (error) {
    unsynced.add(directory);
    throw error;
  }
}

/** The directory that holds the entry; of a path without one, `/` or `.`. */
function parentOf(path: string): string {
  const trimmed = path.replace(/\/+$/, "");
  const at = trimmed.lastIndexOf("/");
  return at > 0 ? trimmed.slice(0, at) : at === 0 || path.startsWith("/") ? "/" : ".";
}
