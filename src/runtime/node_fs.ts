// The one FileSystem of all three runtimes, over node:fs: positional access, whole writes, errors as IoError. It keeps
// no cursor and no cache; the store decides what is written where and when it is synced.

import fs from "node:fs";
import { posix as posixPath } from "node:path";
import { IoError } from "../base/errors.ts";
import { type FileMapping, FileMappings } from "./file_mapping.ts";
import { allocate, lastHole, type LibC } from "./libc.ts";
import { closedError, errorCode, toIoError } from "./map_error.ts";
import { QuickReads } from "./quick_reads.ts";
import type { DiskUsage, FileHandle, FileInfo, FileSystem } from "./runtime.ts";

const OPEN_FLAGS = {
  read: fs.constants.O_RDONLY,
  write: fs.constants.O_RDWR,
  create: fs.constants.O_RDWR | fs.constants.O_CREAT,
} as const;

/** What `stat` counts blocks in, whatever the file system's own are. */
const STAT_BLOCK_SIZE = 512;

/** A file's blocks are counted on in pieces of this size at most, bytes. */
const BLOCK_SIZE_MAX = 4096;
/** `statfs` type of ext2, ext3 and ext4. */
const EXT4 = 0xef53;
/**
 * File systems whose mapped files show what is written to them at once, for sure: ext4, XFS, Btrfs, tmpfs, and overlays,
 * which containers see. Those of networks and of user space may not.
 */
const MAPPED_TYPES = new Set([EXT4, 0x58465342, 0x9123683e, 0x01021994, 0x794c7630]);
/** Nothing is reserved on a disk with room for fewer than this many times as much. */
const RESERVE_FREE_FACTOR = 16;

/** A file is mapped at one read in so many: many are opened for one read, and what can't be mapped now is not tried each time. */
const READS_UNMAPPED = 4;

/** What all files of a file system share. */
interface FileSystemParts {
  readonly libc: () => LibC | null;
  readonly quickReads: QuickReads;
  readonly mappings: FileMappings;
}

class NodeFileHandle implements FileHandle {
  readonly path: string;
  readonly #libc: () => LibC | null;
  readonly #quickReads: QuickReads;
  readonly #mappings: FileMappings;
  /** Null: can't be mapped. */
  #mapping: FileMapping | null | undefined;
  #readsUnmapped = 0;
  #fd: number;
  #closeWanted = false;
  // Asynchronous calls in flight: the descriptor must not be closed, and so reused, under them.
  #inFlight = 0;

  constructor(path: string, fd: number, { libc, quickReads, mappings }: FileSystemParts) {
    this.path = path;
    this.#fd = fd;
    this.#libc = libc;
    this.#quickReads = quickReads;
    this.#mappings = mappings;
  }

  readAt(target: Uint8Array, offset: number): number {
    const fd = this.#open("Read");
    try {
      let done = 0;
      while (done < target.length) {
        const count = fs.readSync(fd, target, done, target.length - done, offset + done);
        if (count === 0) break;
        done += count;
      }
      return done;
    } catch (error) {
      throw toIoError(error, this.#action("Read", offset));
    }
  }

  async readAtAsync(target: Uint8Array, offset: number): Promise<number> {
    let done = 0;
    while (done < target.length) {
      const count = await this.#async<number>(
        "Read",
        offset,
        (fd, callback) => fs.read(fd, target, done, target.length - done, offset + done, callback),
      );
      if (count === 0) break;
      done += count;
    }
    return done;
  }

  readMappedAt(target: Uint8Array, offset: number): boolean {
    const fd = this.#open("Read");
    return target.length > 0 && (this.#mapped(fd, offset + target.length)?.read(target, offset) ?? false);
  }

  readCachedAt(target: Uint8Array, offset: number): boolean {
    const fd = this.#open("Read");
    if (target.length === 0) return false;
    const mapping = this.#mapped(fd, offset + target.length);
    return mapping === null ? this.#readQuickly(fd, target, offset) : mapping.read(target, offset);
  }

  /** The file in memory, up to `end` at least; null where it ends before, or is not mapped. */
  #mapped(fd: number, end: number): FileMapping | null {
    const mapping = this.#mapping;
    if (mapping === null || (mapping?.isOpen && end <= mapping.length)) return mapping;
    const libc = this.#libc();
    if (libc === null) return this.#mapping = null;
    if (++this.#readsUnmapped < READS_UNMAPPED) return null;
    this.#readsUnmapped = 0;
    if (mapping === undefined && !MAPPED_TYPES.has(this.#fileSystem().type)) return this.#mapping = null;
    const size = sizeOf(fd);
    if (end > size || !this.#mappings.hasRoom(size)) return null;
    mapping?.close();
    return this.#mapping = this.#mappings.map(libc, fd, size);
  }

  #readQuickly(fd: number, target: Uint8Array, offset: number): boolean {
    const startedAt = performance.now();
    if (!this.#quickReads.mayTry(startedAt)) return false;
    let count = 0;
    try {
      count = fs.readSync(fd, target, 0, target.length, offset);
    } catch {
      // Whoever reads it otherwise meets, and reports, the failure.
    }
    const endedAt = performance.now();
    this.#quickReads.noted(
      endedAt,
      endedAt - startedAt,
      target.length,
      () => this.#isExt4() ? process.resourceUsage().fsRead : null,
    );
    return count === target.length;
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    const fd = this.#open("Write");
    try {
      let done = 0;
      while (done < bytes.length) {
        const count = fs.writeSync(fd, bytes, done, bytes.length - done, offset + done);
        if (count === 0) throw new IoError("other", `${this.#action("Write", offset)} failed: nothing was written`);
        done += count;
      }
    } catch (error) {
      throw toIoError(error, this.#action("Write", offset));
    }
  }

  async sync(): Promise<void> {
    await this.#async<void>("Sync", undefined, (fd, callback) => fs.fdatasync(fd, (error) => callback(error)));
  }

  syncBlocking(): void {
    const fd = this.#open("Sync");
    this.#try("Sync", () => fs.fdatasyncSync(fd));
  }

  truncate(size: number): void {
    const fd = this.#open("Truncate");
    // What a mapping shows behind the file's end can't be touched.
    this.#mapping?.close();
    this.#try("Truncate", () => fs.ftruncateSync(fd, size));
  }

  size(): number {
    const fd = this.#open("Stat");
    return this.#try("Stat", () => fs.fstatSync(fd).size);
  }

  holeFrom(offset: number): number {
    const fd = this.#open("Stat");
    const { size, blocks, blksize } = this.#try("Stat", () => fs.fstatSync(fd));
    // Blocks that the bytes before `offset` take; one more and something stands behind them, or its place is noted apart,
    // one less and it is packed: then the count tells nothing.
    const dense = Math.ceil(offset / blksize) * blksize;
    const isExt4 = this.#isExt4();
    // Larger blocks, and no blocks at all, are what networks and user space make up; that nothing stands there is not said.
    const isCounted = blksize > 0 && blksize <= BLOCK_SIZE_MAX && (blocks > 0 || isExt4);
    if (isCounted && blocks * STAT_BLOCK_SIZE === dense) return Math.min(dense, size);
    const libc = isExt4 ? this.#libc() : null;
    return libc === null ? size : lastHole(libc, fd, offset, size);
  }

  // ext4 looks up, and notes, a place for each block of 4 KiB that a write meets first; those that have one already cost a
  // quarter less to write, and less to flush. Other file systems do that by extents, and a tmpfs would take the memory.
  reserve(offset: number, length: number): void {
    const fd = this.#open("Reserve");
    const libc = this.#libc();
    // A hint: the write that follows meets, and reports, whatever is wrong.
    if (libc === null || !this.#isExt4(RESERVE_FREE_FACTOR * length)) return;
    allocate(libc, fd, offset, length);
  }

  /** Whether the file is on ext4, the one file system that was measured and whose figures are trusted, with that much free. */
  #isExt4(freeBytes = 0): boolean {
    const { type, free } = this.#fileSystem();
    return type === EXT4 && free >= freeBytes;
  }

  /** What kind of file system the file is on, and its free bytes; zeros where it can't be told. */
  #fileSystem(): { type: number; free: number } {
    try {
      const { type, bavail, bsize } = fs.statfsSync(this.path);
      return { type: type >>> 0, free: bavail * bsize };
    } catch {
      return { type: 0, free: 0 };
    }
  }

  close(): void {
    this.#closeWanted = true;
    this.#closeWhenIdle();
  }

  #closeWhenIdle(): void {
    if (!this.#closeWanted || this.#inFlight > 0 || this.#fd < 0) return;
    const fd = this.#fd;
    this.#fd = -1;
    this.#mapping?.close();
    this.#try("Close", () => fs.closeSync(fd));
  }

  #open(verb: string): number {
    if (this.#closeWanted) throw closedError(this.#action(verb));
    return this.#fd;
  }

  #action(verb: string, offset?: number): string {
    return `${verb} "${this.path}"${offset === undefined ? "" : ` at ${offset}`}`;
  }

  #try<T>(verb: string, call: () => T): T {
    try {
      return call();
    } catch (error) {
      throw toIoError(error, this.#action(verb));
    }
  }

  #async<T>(
    verb: string,
    offset: number | undefined,
    start: (fd: number, callback: (error: Error | null, value?: T) => void) => void,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      const fd = this.#open(verb);
      this.#inFlight++;
      const done = (error: Error | null, value?: T): void => {
        this.#inFlight--;
        this.#closeWhenIdle();
        if (error) reject(toIoError(error, this.#action(verb, offset)));
        else resolve(value as T);
      };
      try {
        start(fd, done);
      } catch (error) {
        done(error as Error);
      }
    });
  }
}

/** 0 where it can't be told. */
function sizeOf(fd: number): number {
  try {
    return fs.fstatSync(fd).size;
  } catch {
    return 0;
  }
}

function attempt<T>(action: string, call: () => T): T {
  try {
    return call();
  } catch (error) {
    throw toIoError(error, action);
  }
}

// As attempt, but something that is not there gives `missing`.
function attemptUnlessMissing<T, M>(action: string, missing: M, call: () => T): T | M {
  try {
    return call();
  } catch (error) {
    if (errorCode(error) === "ENOENT") return missing;
    throw toIoError(error, action);
  }
}

// Not mkdir's own `recursive`: where a parent says that it is not there and can't be made either (below /proc), Node's
// goes back and forth between the two for ever.
function makeDirectories(path: string): void {
  try {
    fs.mkdirSync(path);
  } catch (error) {
    if (isDirectory(path)) return;
    const parent = posixPath.dirname(path);
    if (errorCode(error) !== "ENOENT" || parent === path) throw error;
    makeDirectories(parent);
    try {
      fs.mkdirSync(path);
    } catch (again) {
      // Another process may have made it meanwhile.
      if (!isDirectory(path)) throw again;
    }
  }
}

function isDirectory(path: string): boolean {
  try {
    return fs.statSync(path).isDirectory();
  } catch {
    return false;
  }
}

/** Files of this machine. */
export class NodeFileSystem implements FileSystem {
  // No private names: what is derived from an instance, to change one method of it, must find these.
  readonly libc: () => LibC | null;
  readonly quickReads = new QuickReads();
  readonly mappings = new FileMappings();

  /** `openLibC` is called when it is first needed, and once. Without it what {@link LibC} is for is left out. */
  constructor(openLibC: () => LibC | null = () => null) {
    let opened: LibC | null | undefined;
    this.libc = () => opened === undefined ? (opened = openLibC()) : opened;
  }

  open(path: string, mode: "read" | "write" | "create"): FileHandle {
    const flags = OPEN_FLAGS[mode];
    return attempt(
      `Open "${path}"`,
      () => new NodeFileHandle(path, fs.openSync(path, flags, 0o644), this),
    );
  }

  stat(path: string): FileInfo | null {
    return attemptUnlessMissing(`Stat "${path}"`, null, () => {
      const info = fs.statSync(path);
      return {
        size: info.size,
        allocated: info.blocks * STAT_BLOCK_SIZE,
        isDirectory: info.isDirectory(),
        modifiedMs: Math.floor(info.mtimeMs),
      };
    });
  }

  list(path: string): string[] {
    return attemptUnlessMissing(`List "${path}"`, [], () => fs.readdirSync(path).sort());
  }

  makeDirectory(path: string): void {
    attempt(`Make directory "${path}"`, () => makeDirectories(path));
  }

  remove(path: string): void {
    attempt(`Remove "${path}"`, () => fs.rmSync(path, { recursive: true, force: true }));
  }

  rename(from: string, to: string): void {
    attempt(`Rename "${from}" to "${to}"`, () => fs.renameSync(from, to));
  }

  readFile(path: string): Uint8Array | null {
    return attemptUnlessMissing(`Read "${path}"`, null, () => new Uint8Array(fs.readFileSync(path)));
  }

  writeFile(path: string, bytes: Uint8Array): void {
    attempt(`Write "${path}"`, () => fs.writeFileSync(path, bytes));
  }

  createExclusive(path: string, bytes: Uint8Array): boolean {
    return attempt(`Make "${path}"`, () => {
      const temporary = `${path}.${process.pid}.new`;
      fs.writeFileSync(temporary, bytes);
      try {
        return linkOrCreate(temporary, path, bytes);
      } finally {
        fs.rmSync(temporary, { force: true });
      }
    });
  }

  syncDirectory(path: string): void {
    attempt(`Sync directory "${path}"`, () => {
      const fd = fs.openSync(path, fs.constants.O_RDONLY);
      try {
        fs.fsyncSync(fd);
      } finally {
        fs.closeSync(fd);
      }
    });
  }

  syncDirectoryAsync(path: string): Promise<void> {
    const action = `Sync directory "${path}"`;
    return new Promise((resolve, reject) => {
      const fd = attempt(action, () => fs.openSync(path, fs.constants.O_RDONLY));
      fs.fsync(fd, (error) => {
        fs.closeSync(fd);
        if (error) reject(toIoError(error, action));
        else resolve();
      });
    });
  }

  diskUsage(path: string): DiskUsage {
    return attempt(`Measure the disk of "${path}"`, () => {
      const info = fs.statfsSync(path);
      return {
        totalBytes: info.blocks * info.bsize,
        usedBytes: (info.blocks - info.bfree) * info.bsize,
        freeBytes: info.bavail * info.bsize,
      };
    });
  }

  lockedBy(path: string): number | null {
    return attemptUnlessMissing(`Read the locks of "${path}"`, null, () => {
      const { dev, ino } = fs.statSync(path, { bigint: true });
      return holdersOf(ino).find((pid) => pid !== process.pid && hasOpen(pid, dev, ino)) ?? null;
    });
  }
}

// Gives the file its name if that is free. File systems without links get a file that is empty for a moment.
function linkOrCreate(temporary: string, path: string, bytes: Uint8Array): boolean {
  try {
    fs.linkSync(temporary, path);
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    if (!NO_LINKS.has(errorCode(error) ?? "")) throw error;
  }
  try {
    fs.writeFileSync(path, bytes, { flag: "wx" });
    return true;
  } catch (error) {
    if (errorCode(error) === "EEXIST") return false;
    throw error;
  }
}

const NO_LINKS = new Set(["EPERM", "ENOSYS", "ENOTSUP", "EOPNOTSUPP", "EMLINK"]);

// Pids with a POSIX lock on an inode, from lines such as `1: POSIX  ADVISORY  WRITE 812 fe:00:1311 0 EOF`. A process
// that waits for a lock has `->` after the number and holds nothing. Only Linux has the file.
function holdersOf(ino: bigint): number[] {
  let table: string;
  try {
    table = fs.readFileSync("/proc/locks", "utf8");
  } catch {
    return [];
  }
  const pids: number[] = [];
  for (const line of table.split("\n")) {
    const [, type, , , pid, file] = line.split(/\s+/);
    if (type === "POSIX" && file?.split(":")[2] === String(ino)) pids.push(Number(pid));
  }
  return pids;
}

// Whether the process has this very file open: inode numbers repeat across file systems, and the device in /proc/locks
// isn't always the one that stat tells. When its descriptors may not be read, the lock is believed.
function hasOpen(pid: number, dev: bigint, ino: bigint): boolean {
  const directory = `/proc/${pid}/fd`;
  let names: string[];
  try {
    names = fs.readdirSync(directory);
  } catch (error) {
    return errorCode(error) !== "ENOENT";
  }
  return names.some((name) => {
    try {
      const info = fs.statSync(posixPath.join(directory, name), { bigint: true });
      return info.dev === dev && info.ino === ino;
    } catch {
      return false;
    }
  });
}
