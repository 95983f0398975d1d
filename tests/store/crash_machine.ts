// A simulated machine for one store that can end at any single operation on its files: the power goes, or the process is
// killed, in the middle of whatever the store is doing. It owns the machine's end and nothing of what a store promises.

import type { FileHandle, FileSystem } from "../../src/runtime/runtime.ts";
import { type CrashMode, type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";

const DEADLINE_MS = 600_000;

/** Where the machine ends: before the operation after the next `count` ones. */
export interface Boundary {
  count: number;
  readonly end: "power" | "kill";
  /** What the power takes of unsynced bytes; by seed without it. */
  readonly mode?: CrashMode;
}

/** Thrown out of the operation at which the machine ends. */
class MachineEnded extends Error {}

/** One host, its life and its ends. */
export class CrashMachine {
  readonly world: SimulatedWorld;
  readonly host: SimulatedHost;
  /** Operations on files since the beginning. */
  operations = 0;
  boundary: Boundary | null = null;
  readonly #onEnd: (end: Boundary["end"]) => void;
  #hasPower = true;

  /** `onEnd` hears of every end, before anything else happens. */
  constructor(seed: number, onEnd: (end: Boundary["end"]) => void) {
    this.world = new SimulatedWorld(seed, { timerJitterMaxUs: 10 });
    this.host = this.world.host("a");
    this.#onEnd = onEnd;
  }

  get isRunning(): boolean {
    return this.host.isRunning;
  }

  /** The running program's files; they may end the machine. */
  fileSystem(): FileSystem {
    return countingFileSystem(this.host.runtime.fs, () => this.#operation());
  }

  #operation(): void {
    this.operations++;
    const boundary = this.boundary;
    if (boundary === null || !this.isRunning || --boundary.count >= 0) return;
    this.boundary = null;
    if (boundary.end === "power") this.crash(boundary.mode);
    else this.kill();
    throw new MachineEnded();
  }

  /** SIGKILL. Nothing happens when no program runs. */
  kill(): void {
    if (!this.isRunning) return;
    this.host.kill();
    this.#onEnd("kill");
  }

  /** The power goes. Nothing happens when it went before. */
  crash(mode?: CrashMode): void {
    if (!this.#hasPower) return;
    this.#hasPower = false;
    this.host.crash(mode);
    this.#onEnd("power");
  }

  /** Starts a new program when none runs. */
  restart(): void {
    if (this.isRunning) return;
    this.#hasPower = true;
    this.host.restart();
  }

  /** Releases events until `work` settles; null when the machine ended before, or made it fail. */
  async drive<T>(work: Promise<T>): Promise<T | null> {
    let isSettled = false;
    const done = work.finally(() => isSettled = true);
    done.catch(() => {});
    await this.world.run(() => isSettled || !this.isRunning, DEADLINE_MS);
    if (!isSettled) return null;
    return await done.catch((error) => {
      if (this.isRunning) throw error;
      return null;
    });
  }

  /** Runs `call`, which the end of the machine may cut short. */
  attempt(call: () => void): void {
    try {
      call();
    } catch (error) {
      if (this.isRunning) throw error;
    }
  }
}

/** Calls `before` ahead of each operation that changes something. */
function countingFileSystem(fs: FileSystem, before: () => void): FileSystem {
  const wrap = (handle: FileHandle): FileHandle => ({
    path: handle.path,
    readAt: (target, offset) => handle.readAt(target, offset),
    readAtAsync: (target, offset) => handle.readAtAsync(target, offset),
    writeAt: (bytes, offset) => (before(), handle.writeAt(bytes, offset)),
    sync: async () => (before(), await handle.sync()),
    syncBlocking: () => (before(), handle.syncBlocking()),
    truncate: (size) => (before(), handle.truncate(size)),
    size: () => handle.size(),
    holeFrom: (offset) => handle.holeFrom(offset),
    reserve: (offset, length) => handle.reserve(offset, length),
    close: () => handle.close(),
  });
  return {
    open: (path, mode) => (mode === "create" && before(), wrap(fs.open(path, mode))),
    stat: (path) => fs.stat(path),
    list: (path) => fs.list(path),
    makeDirectory: (path) => (before(), fs.makeDirectory(path)),
    remove: (path) => (before(), fs.remove(path)),
    rename: (from, to) => (before(), fs.rename(from, to)),
    readFile: (path) => fs.readFile(path),
    writeFile: (path, bytes) => (before(), fs.writeFile(path, bytes)),
    createExclusive: (path, bytes) => (before(), fs.createExclusive(path, bytes)),
    syncDirectory: (path) => (before(), fs.syncDirectory(path)),
    syncDirectoryAsync: async (path) => (before(), await fs.syncDirectoryAsync(path)),
    diskUsage: (path) => fs.diskUsage(path),
    lockedBy: (path) => fs.lockedBy(path),
  };
}
