// The simulated disk of one host: a tree of directories and files that outlives the programs using it, and their
// FileSystem.
//
// Fault model. What a program reads is what was written last, by anyone. What a loss of power leaves is: everything
// synced; of unsynced bytes all, nothing, or some sectors of 512 bytes, each in one of the versions it had since the
// last sync (per file, by seed); a size between the synced and the current one, new bytes that were lost reading as
// zero. A sector itself is never torn. The kernel may write dirty pages back early. Creations, renames and removals
// become durable by `syncDirectory` of their directory, in order; a crash undoes the newest of the others, by seed; a
// file whose entry is lost is lost with its synced bytes. A rename is whole or not at all. A program that dies without
// a loss of power loses nothing that it wrote. Reads, writes and syncs can fail (EIO); a failed write leaves some of
// its sectors; after a failed sync its bytes read as written, count as clean, and may be gone after a crash, while the
// next sync says success. The disk fills up (ENOSPC; holes cost nothing). It may flip bits, and put a write in the
// wrong place of its file, without a word. Syncs and asynchronous reads take time and end in any order; blocking calls
// take no simulated time, nor do reads of what the page cache holds, which nobody can foresee. It may be replaced while
// no program runs: by an empty one, or by an older copy of itself.

import type { DiskUsage } from "../runtime.ts";
import type { Prng } from "./prng.ts";
import type { Scheduler } from "./scheduler.ts";
import { type CrashMode, DiskFile, PAGE_SIZE, SECTOR_SIZE } from "./disk_file.ts";
import { DiskDirectory, type DiskNode, splitPath } from "./disk_directory.ts";
import {
  type ArmedFault,
  createDiskCounters,
  DEFAULT_DISK_OPTIONS,
  type DiskCounters,
  DiskFaults,
  type DiskOptions,
} from "./disk_faults.ts";
import { assert, IoError } from "../../base/errors.ts";

/** What {@link SimulatedDisk.image} copied. */
export interface DiskImage {
  /** Paths, parents first. */
  readonly directories: string[];
  readonly files: { readonly path: string; readonly size: number; readonly pages: Map<number, Uint8Array> }[];
}

/** The disk of one host. */
export class SimulatedDisk {
  /** May be changed at any time. */
  readonly options: DiskOptions;
  readonly counters: DiskCounters = createDiskCounters();
  readonly faults: DiskFaults;
  readonly prng: Prng;
  readonly scheduler: Scheduler;
  readonly hostIndex: number;
  readonly #wallMs: () => number;
  readonly #cachePrng: Prng;
  readonly #locks = new Map<string, number>();
  #root: DiskDirectory;
  #usedPages = 0;
  #stalledUntilUs = 0;
  /** Grows with each loss of power: what was under way before never ends. */
  #epoch = 0;

  constructor(init: {
    scheduler: Scheduler;
    hostIndex: number;
    prng: Prng;
    options: Partial<DiskOptions>;
    wallMs: () => number;
  }) {
    this.scheduler = init.scheduler;
    this.hostIndex = init.hostIndex;
    this.prng = init.prng;
    this.options = { ...DEFAULT_DISK_OPTIONS, ...init.options };
    this.faults = new DiskFaults(this.options, this.counters, init.prng.fork("faults"));
    this.#cachePrng = init.prng.fork("cache");
    this.#wallMs = init.wallMs;
    this.#root = new DiskDirectory(init.wallMs());
  }

  /** Arms a single fault; the returned function disarms it. */
  failNext(fault: ArmedFault): () => void {
    return this.faults.arm(fault);
  }

  /** Syncs and asynchronous reads begun or pending now end `durationMs` later at the earliest. */
  stall(durationMs: number): void {
    this.#stalledUntilUs = Math.max(this.#stalledUntilUs, this.scheduler.nowUs + durationMs * 1000);
  }

  /** Flips a bit of a file at rest; by seed where not said. False when the file holds no bytes there. */
  flipBit(path: string, offset?: number, bit?: number): boolean {
    const file = this.fileAt(path);
    if (file.size === 0 || file.pageCount === 0) return false;
    const pageStart = this.prng.pick(file.pageIndexes()) * PAGE_SIZE;
    const at = offset ?? pageStart + this.prng.nextInt(Math.min(PAGE_SIZE, Math.max(1, file.size - pageStart)));
    if (file.isHole(Math.floor(at / PAGE_SIZE))) return false;
    this.counters.bitFlips++;
    file.flipBit(at, bit ?? this.prng.nextInt(8));
    return true;
  }

  /** Makes `lockedBy` answer with a foreign pid (`null`: unlocked). */
  setLock(path: string, pid: number | null): void {
    if (pid === null) this.#locks.delete(normalize(path));
    else this.#locks.set(normalize(path), pid);
  }

  /** The pid set by {@link setLock}. */
  lockOf(path: string): number | null {
    return this.#locks.get(normalize(path)) ?? null;
  }

  /** What the disk holds, for checkers: paths of all files, sorted. No fault strikes here. */
  files(): string[] {
    const paths: string[] = [];
    const walk = (directory: DiskDirectory, prefix: string) => {
      for (const [name, node] of directory.entries) {
        if (node instanceof DiskDirectory) walk(node, `${prefix}/${name}`);
        else paths.push(`${prefix}/${name}`);
      }
    };
    walk(this.#root, "");
    return paths.sort();
  }

  /** A file's bytes, for checkers. No fault strikes here. */
  peek(path: string, offset = 0, size?: number): Uint8Array {
    const file = this.fileAt(path);
    const bytes = new Uint8Array(size ?? Math.max(0, file.size - offset));
    return bytes.subarray(0, file.read(bytes, offset));
  }

  /** Loss of power. `mode` rules all files and directories; by seed, each for itself, when absent. */
  crash(mode?: CrashMode): void {
    this.counters.crashes++;
    this.#epoch++;
    this.#stalledUntilUs = 0;
    const { directories } = collect(this.#root);
    for (const directory of directories) {
      const kept = keptChanges(directory.unsyncedCount, mode ?? this.#drawCrashMode(), this.prng);
      this.counters.lostChanges += directory.unsyncedCount - kept;
      directory.keepOldest(kept);
    }
    for (const directory of directories) directory.forget();
    this.#crashFiles(mode);
  }

  /** A copy of everything on it, as programs see it now. */
  image(): DiskImage {
    const image: DiskImage = { directories: [], files: [] };
    const walk = (directory: DiskDirectory, path: string) => {
      image.directories.push(path);
      for (const [name, node] of directory.entries) {
        if (node instanceof DiskDirectory) walk(node, `${path}/${name}`);
        else image.files.push({ path: `${path}/${name}`, size: node.size, pages: node.copyPages() });
      }
    };
    walk(this.#root, "");
    return image;
  }

  /**
   * Puts another disk in its place: an image's copy, all of it durable, or an empty one. What was armed for the old one
   * never strikes. No program may run.
   */
  replace(image: DiskImage | null): void {
    this.#epoch++;
    this.#stalledUntilUs = 0;
    this.#usedPages = 0;
    this.faults.disarm();
    this.#root = new DiskDirectory(this.#wallMs());
    const directories = new Map([["", this.#root]]);
    const place = (path: string, node: DiskNode) => {
      const at = path.lastIndexOf("/");
      DiskDirectory.apply([{ directory: directories.get(path.slice(0, at))!, name: path.slice(at + 1), node }]);
    };
    for (const path of image?.directories.slice(1) ?? []) {
      const directory = new DiskDirectory(this.#wallMs());
      directories.set(path, directory);
      place(path, directory);
    }
    for (const { path, size, pages } of image?.files ?? []) {
      const file = this.createFile();
      file.linkCount = 1;
      file.fill(size, pages);
      place(path, file);
    }
    for (const directory of directories.values()) directory.sync();
  }

  // What follows is the file system's.

  get usage(): DiskUsage {
    const totalBytes = this.options.capacityBytes;
    const usedBytes = this.#usedPages * PAGE_SIZE;
    return { totalBytes, usedBytes, freeBytes: Math.max(0, totalBytes - usedBytes) };
  }

  get wallMs(): number {
    return this.#wallMs();
  }

  /** Runs `done` after `delayUs` and any stall, unless the power goes first. */
  after(kind: string, delayUs: number, done: () => number | void): void {
    const epoch = this.#epoch;
    if (delayUs > DEFAULT_DISK_OPTIONS.syncLatencyMaxUs || this.#stalledUntilUs > this.scheduler.nowUs + delayUs) {
      this.counters.slowOperations++;
    }
    const wait = (remainingUs: number) =>
      void this.scheduler.schedule({
        kind,
        hostIndex: this.hostIndex,
        life: null,
        delayUs: remainingUs,
        run: () => {
          if (epoch !== this.#epoch) return;
          const stalledUs = this.#stalledUntilUs - this.scheduler.nowUs;
          if (stalledUs > 0) return wait(stalledUs);
          return done();
        },
      });
    wait(Math.max(delayUs, this.#stalledUntilUs - this.scheduler.nowUs));
  }

  /** A new, empty file, on no directory yet. */
  createFile(): DiskFile {
    return new DiskFile(this.#wallMs(), (delta) => {
      this.#usedPages += delta;
    });
  }

  /** Gives up a handle. */
  closeFile(file: DiskFile): void {
    file.openCount--;
    this.#forgetIfUnused(file);
  }

  /** An entry was removed. */
  unlink(node: DiskNode): void {
    if (node instanceof DiskDirectory) {
      for (const child of node.entries.values()) this.unlink(child);
      return;
    }
    node.linkCount--;
    this.#forgetIfUnused(node);
  }

  /** Writes with all the disk's faults. Throws {@link IoError}; some whole sectors may then be written. */
  write(file: DiskFile, path: string, bytes: Uint8Array, offset: number): void {
    this.counters.writes++;
    file.modifiedMs = this.#wallMs();
    const failure = this.faults.draw("write", path);
    const fitting = this.#fittingSize(file, offset, bytes.length);
    if (failure !== null || fitting < bytes.length) {
      const limit = failure === null ? fitting : Math.min(fitting, this.#drawShortSize(bytes.length));
      if (limit > 0) {
        if (limit < bytes.length) this.counters.shortWrites++;
        this.#put(file, bytes.subarray(0, limit), offset);
      }
      if (failure !== null) throw failure;
      this.counters.noSpace++;
      throw new IoError("noSpace", `write "${path}" failed: ENOSPC`, "ENOSPC");
    }
    if (this.faults.drawMisdirect(path)) this.#misdirect(file, bytes);
    else this.#put(file, bytes, offset);
  }

  /** Reads with all the disk's faults. Throws {@link IoError}. */
  read(file: DiskFile, path: string, target: Uint8Array, offset: number): number {
    this.counters.reads++;
    const failure = this.faults.draw("read", path);
    if (failure !== null) throw failure;
    const size = Math.min(target.length, file.size - offset);
    if (size > 0 && this.prng.chance(this.options.bitRotPerMillion)) {
      this.counters.bitFlips++;
      file.flipBit(offset + this.prng.nextInt(size), this.prng.nextInt(8));
    }
    return file.read(target, offset);
  }

  /** {@link read} for who asks the page cache, which holds a range or does not, by seed. No fault of the disk strikes. */
  readCached(file: DiskFile, target: Uint8Array, offset: number): boolean {
    if (target.length === 0 || target.length > file.size - offset) return false;
    if (!this.#cachePrng.chance(this.options.cachedReadPerMillion)) return false;
    this.counters.reads++;
    this.counters.cachedReads++;
    file.read(target, offset);
    return true;
  }

  /** The node at a path, `null` when nothing is there. Throws {@link IoError} `other` when a file is in the way. */
  find(path: string): DiskNode | null {
    let node: DiskNode = this.#root;
    for (const name of splitPath(path)) {
      if (!(node instanceof DiskDirectory)) {
        throw new IoError("other", `Open "${path}" failed: not a directory`, "ENOTDIR");
      }
      const next = node.entries.get(name);
      if (next === undefined) return null;
      node = next;
    }
    return node;
  }

  /** The file at a path that must be there. */
  fileAt(path: string): DiskFile {
    const node = this.find(path);
    assert(node instanceof DiskFile, `No file "${path}"`);
    return node;
  }

  #crashFiles(mode: CrashMode | undefined): void {
    const { files } = collect(this.#root);
    for (const file of files) {
      file.openCount = 0;
      file.linkCount = 1;
      const fileMode = mode ?? this.#drawCrashMode();
      const { lost, kept } = file.crash(fileMode, this.prng);
      if (lost > 0 && kept > 0) this.counters.tornFiles++;
      this.counters.lostSectors += lost;
    }
    this.#usedPages = 0;
    for (const file of files) this.#usedPages += file.pageCount;
  }

  #drawCrashMode(): CrashMode {
    const draw = this.prng.nextInt(1_000_000);
    if (draw < this.options.crashKeepPerMillion) return "keep";
    return draw < this.options.crashKeepPerMillion + this.options.crashDropPerMillion ? "drop" : "tear";
  }

  #put(file: DiskFile, bytes: Uint8Array, offset: number): void {
    file.write(bytes, offset, () => this.prng.chance(this.options.writeBackPerMillion));
  }

  /** How many of `size` bytes the disk has room for. */
  #fittingSize(file: DiskFile, offset: number, size: number): number {
    let freePages = Math.floor(this.usage.freeBytes / PAGE_SIZE);
    if (freePages * PAGE_SIZE > size + PAGE_SIZE) return size;
    const end = offset + size;
    for (let at = offset; at < end; at = (Math.floor(at / PAGE_SIZE) + 1) * PAGE_SIZE) {
      if (file.isHole(Math.floor(at / PAGE_SIZE)) && --freePages < 0) return at - offset;
    }
    return size;
  }

  /** A file without a name or a handle takes no room. Its bytes stay: a loss of power may undo the removal. */
  #forgetIfUnused(file: DiskFile): void {
    if (file.linkCount === 0 && file.openCount === 0) this.#usedPages -= file.pageCount;
  }

  #drawShortSize(size: number): number {
    const sectors = Math.floor((size + SECTOR_SIZE - 1) / SECTOR_SIZE);
    if (this.faults.part === "none") return 0;
    if (this.faults.part === "some" && sectors > 1) return this.prng.between(1, sectors - 1) * SECTOR_SIZE;
    return Math.min(size, this.prng.nextInt(sectors + 1) * SECTOR_SIZE);
  }

  #misdirect(file: DiskFile, bytes: Uint8Array): void {
    this.counters.misdirectedWrites++;
    const sectors = Math.floor(Math.max(file.size - bytes.length, 0) / SECTOR_SIZE);
    this.#put(file, bytes, this.prng.nextInt(Math.min(sectors + 1, 0x1_0000_0000)) * SECTOR_SIZE);
  }
}

function normalize(path: string): string {
  return "/" + splitPath(path).join("/");
}

/** Everything below a directory, as programs see it and as a loss of power might bring it back. */
function collect(root: DiskDirectory): { directories: Set<DiskDirectory>; files: Set<DiskFile> } {
  const directories = new Set([root]);
  const files = new Set<DiskFile>();
  for (const directory of directories) {
    for (const node of directory.reachable()) {
      if (node instanceof DiskDirectory) directories.add(node);
      else files.add(node);
    }
  }
  return { directories, files };
}

function keptChanges(count: number, mode: CrashMode, prng: Prng): number {
  if (mode === "keep") return count;
  return mode === "drop" || count === 0 ? 0 : prng.nextInt(count + 1);
}
