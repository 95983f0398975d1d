// One process per store, and whether the last one left in order. Owns the files `lock` and `abort`, which Apache has
// too, and `twinlog.owner`, which is ours: JavaScript can't take the file lock that Java takes, only see it.
//
// Who finds the owner dead does not touch its file but claims the next generation, `twinlog.owner.1` and so on: names are
// made exclusively, so of several that start at once one gets it, and nobody can remove a claim that is not dead.

import { utf8 } from "../base/bytes.ts";
import { makeDurableDirectory } from "../base/durable_directory.ts";
import { StoreError } from "../base/errors.ts";
import type { FileSystem, Process } from "../runtime/runtime.ts";

/** Holds a store for this process. */
export class StoreLock {
  readonly #fs: FileSystem;
  readonly #ownerPath: string;
  readonly #owner: string;

  private constructor(fs: FileSystem, ownerPath: string, owner: string) {
    this.#fs = fs;
    this.#ownerPath = ownerPath;
    this.#owner = owner;
  }

  /**
   * Takes the store; its directory is made when missing. Throws {@link StoreError} naming the holder when a live
   * process has it: another node of ours by its owner file, an Apache broker by its lock on `lock`.
   */
  static acquire(fs: FileSystem, process: Process, storeDirectory: string): StoreLock {
    makeDurableDirectory(fs, storeDirectory);
    const lockPath = `${storeDirectory}/lock`;
    const holder = fs.lockedBy(lockPath);
    if (holder !== null) {
      throw new StoreError(`Store "${storeDirectory}" is in use: process ${holder} holds a lock on "${lockPath}"`);
    }
    if (fs.stat(lockPath)?.size !== 4) fs.writeFile(lockPath, utf8.encode("lock"));
    const owner = JSON.stringify({ pid: process.pid, startToken: process.startToken(process.pid) });
    for (;;) {
      const claims = listClaims(fs, process, storeDirectory);
      refuseLive(storeDirectory, claims);
      const generation = Math.max(-1, ...claims.map((claim) => claim.generation)) + 1;
      const path = `${storeDirectory}/${OWNER_FILE}${generation === 0 ? "" : `.${generation}`}`;
      // Somebody else was quicker: the next round refuses, or goes past it if it died.
      if (!fs.createExclusive(path, utf8.encode(owner))) continue;
      const lock = new StoreLock(fs, path, owner);
      try {
        // Somebody who looked long ago may have claimed a name that has become free since.
        refuseLive(storeDirectory, listClaims(fs, process, storeDirectory).filter((claim) => claim.path !== path));
      } catch (error) {
        lock.release();
        throw error;
      }
      for (const claim of claims) fs.remove(claim.path);
      return lock;
    }
  }

  /** Gives the store up. Idempotent. */
  release(): void {
    const bytes = this.#fs.readFile(this.#ownerPath);
    if (bytes !== null && utf8.decode(bytes) === this.#owner) this.#fs.remove(this.#ownerPath);
  }
}

const OWNER_FILE = "twinlog.owner";

interface Claim {
  readonly path: string;
  readonly generation: number;
  /** The process that made it, null when it is gone. */
  readonly livePid: number | null;
}

function listClaims(fs: FileSystem, process: Process, storeDirectory: string): Claim[] {
  const claims: Claim[] = [];
  for (const name of fs.list(storeDirectory)) {
    const match = /^twinlog\.owner(?:\.(\d{1,15}))?$/.exec(name);
    if (match === null) continue;
    const path = `${storeDirectory}/${name}`;
    claims.push({ path, generation: Number(match[1] ?? 0), livePid: liveOwner(fs, process, path) });
  }
  return claims;
}

function refuseLive(storeDirectory: string, claims: readonly Claim[]): void {
  const live = claims.find((claim) => claim.livePid !== null);
  if (live === undefined) return;
  throw new StoreError(
    `Store "${storeDirectory}" is in use by process ${live.livePid}, as "${live.path}" says; stop it first, or, if this is a copy of its store, remove that file`,
  );
}

/** The pid in the owner file if that very process lives, else null: a pid alone may have been given to another. */
function liveOwner(fs: FileSystem, process: Process, ownerPath: string): number | null {
  const bytes = fs.readFile(ownerPath);
  if (bytes === null) return null;
  let owner: unknown;
  try {
    owner = JSON.parse(utf8.decode(bytes));
  } catch {
    return null; // Torn by a crash of the machine: its writer is gone.
  }
  if (typeof owner !== "object" || owner === null || !("pid" in owner) || !("startToken" in owner)) return null;
  const { pid, startToken } = owner;
  if (typeof pid !== "number" || !Number.isSafeInteger(pid) || pid <= 0) return null;
  const liveToken = process.startToken(pid);
  return liveToken !== null && liveToken === startToken ? pid : null;
}

/** The file whose presence at start tells of an unclean exit. Mirrors `DefaultMessageStore.createTempFile`. */
export const AbortFile = {
  exists(fs: FileSystem, storeDirectory: string): boolean {
    return fs.stat(`${storeDirectory}/abort`) !== null;
  },
  /** Made at the end of start; durable before the first put. Its text is the pid, beside it an empty `abort.bak`. */
  create(fs: FileSystem, process: Process, storeDirectory: string): void {
    fs.writeFile(`${storeDirectory}/abort`, utf8.encode(String(process.pid)));
    if (fs.stat(`${storeDirectory}/abort.bak`) === null) {
      fs.writeFile(`${storeDirectory}/abort.bak`, new Uint8Array(0));
    }
    fs.syncDirectory(storeDirectory);
  },
  /** Removed on a clean stop, once everything is flushed and dispatched. */
  remove(fs: FileSystem, storeDirectory: string): void {
    fs.remove(`${storeDirectory}/abort`);
    fs.syncDirectory(storeDirectory);
  },
};
