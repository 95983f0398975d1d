// Directories of a simulated disk: the entries programs see, the entries that survive a loss of power, and the changes
// in between, which a crash keeps up to some point. A rename is one change, whole or not at all, also between two
// directories. Paths, faults and time are the disk's.

import type { DiskFile } from "./disk_file.ts";

/** What an entry leads to. */
export type DiskNode = DiskFile | DiskDirectory;

/** One change to one entry; `null` removes it. */
export interface EntryChange {
  readonly directory: DiskDirectory;
  readonly name: string;
  readonly node: DiskNode | null;
}

/** Changes that become durable together. */
interface DirectoryOperation {
  readonly changes: readonly EntryChange[];
  isDurable: boolean;
}

/** One directory. */
export class DiskDirectory {
  /** What programs see. */
  readonly entries = new Map<string, DiskNode>();
  modifiedMs: number;
  readonly #durable = new Map<string, DiskNode>();
  #unsynced: DirectoryOperation[] = [];

  constructor(modifiedMs: number) {
    this.modifiedMs = modifiedMs;
  }

  /** Changes that a loss of power may undo. */
  get unsyncedCount(): number {
    return this.#unsynced.length;
  }

  /** What the entries lead to, now or, once power is lost, again. */
  reachable(): Set<DiskNode> {
    return new Set([...this.#durable.values(), ...this.entries.values()]);
  }

  /** Makes changes, to one directory or two, as one operation. */
  static apply(changes: readonly EntryChange[]): void {
    const operation: DirectoryOperation = { changes, isDurable: false };
    for (const { directory, name, node } of changes) {
      if (node === null) directory.entries.delete(name);
      else directory.entries.set(name, node);
      const log = directory.#unsynced;
      if (log[log.length - 1] !== operation) log.push(operation);
    }
  }

  /** Everything done here so far survives. */
  sync(): void {
    this.#commit(this.#unsynced.length);
  }

  /** Loss of power, first half: the oldest `keptCount` unsynced changes made it to the disk. */
  keepOldest(keptCount: number): void {
    this.#commit(keptCount);
  }

  /** Loss of power, second half, once every directory did the first: what is durable is all there is. */
  forget(): void {
    this.#unsynced = [];
    this.entries.clear();
    for (const [name, node] of this.#durable) this.entries.set(name, node);
  }

  #commit(count: number): void {
    const committed = this.#unsynced.slice(0, count);
    for (const operation of committed) DiskDirectory.#makeDurable(operation);
    this.#unsynced = this.#unsynced.filter((operation) => !operation.isDurable);
  }

  /** Applies an operation to the disk, after whatever came before it in the directories it touches. */
  static #makeDurable(operation: DirectoryOperation): void {
    if (operation.isDurable) return;
    operation.isDurable = true;
    for (const { directory } of operation.changes) {
      for (const earlier of directory.#unsynced) {
        if (earlier === operation) break;
        DiskDirectory.#makeDurable(earlier);
      }
    }
    for (const { directory, name, node } of operation.changes) {
      if (node === null) directory.#durable.delete(name);
      else directory.#durable.set(name, node);
    }
  }
}

/** The names on a path, from the root. */
export function splitPath(path: string): string[] {
  const names: string[] = [];
  for (const name of path.split("/")) {
    if (name === "..") names.pop();
    else if (name !== "" && name !== ".") names.push(name);
  }
  return names;
}
