// Everything a program did to its files, as a list, and what of it a loss of power at any point of that list may leave.
// It owns what a disk may lose; which program runs, and what must hold of what is left, is crash_points.ts's.
//
// Fault model. Written bytes reach the disk in sectors of 512 bytes, each as it stood after some write, whatever the order
// of the writes; a file's size likewise. Names of a directory (creations, removals, renames) reach it in their order. A
// sync makes durable what was done before it began, once it has ended: a file's bytes and size, or a directory's names.
// A file whose name is lost is lost. This is what disk_directory.ts and disk_file.ts do by seed; here it is done in every
// way that a bound allows.

import { createHash } from "node:crypto";
import type { FileHandle, FileSystem } from "../../src/runtime/runtime.ts";
import { SECTOR_SIZE } from "../../src/runtime/simulated/mod.ts";

/** What a disk holds: directories and files by path. */
export interface DiskImage {
  readonly directories: readonly string[];
  readonly files: ReadonlyMap<string, Uint8Array>;
}

/** What is lost of what was not synced: entries of the journal, and of one entry a part. */
export interface Loss {
  readonly lost: ReadonlySet<number>;
  readonly torn: Tear | null;
}

/** What is kept of an entry: of a write these sectors, of a new size this size. */
interface Tear {
  readonly index: number;
  readonly keptSectors: ReadonlySet<number>;
  readonly keptSize: number;
}

interface NameChange {
  readonly directory: number;
  readonly name: string;
  /** Null removes the name. */
  readonly node: number | null;
}

type JournalEntry =
  | { readonly type: "write"; readonly file: number; readonly offset: number; readonly bytes: Uint8Array }
  | { readonly type: "resize"; readonly file: number; readonly size: number }
  | { readonly type: "names"; readonly changes: readonly NameChange[] }
  /** All of the node that stands before the entry `from` is durable. */
  | { readonly type: "synced"; readonly node: number; readonly from: number };

const ROOT_NODE = 0;

/** Records a program's changes to files. Its entries are the points at which the power may go. */
export class CrashJournal {
  readonly #entries: JournalEntry[] = [];
  /** What the program started with. */
  readonly #baseNames: NameChange[] = [];
  readonly #baseFiles = new Map<number, Uint8Array>();
  /** Names as the program sees them, of every directory node. */
  readonly #names = new Map<number, Map<string, number>>();
  #nodeCount = 0;

  /** The program starts on a disk that holds this, durably. */
  constructor(base: DiskImage = { directories: [], files: new Map() }) {
    this.#newDirectory();
    const note = (change: NameChange) => void this.#baseNames.push(change);
    for (const path of base.directories) this.#makeDirectory(path, note);
    for (const [path, bytes] of base.files) {
      this.#baseFiles.set(this.#nodeCount, bytes);
      this.#makeName(path, this.#newNode(), note);
    }
  }

  /** Entries so far. */
  get length(): number {
    return this.#entries.length;
  }

  /** The file system that the program is to use. */
  record(fs: FileSystem): FileSystem {
    return {
      open: (path, mode) => {
        const handle = fs.open(path, mode);
        if (mode === "create") this.#ensureFile(path);
        return this.#recordHandle(handle, this.#find(path)!);
      },
      stat: (path) => fs.stat(path),
      list: (path) => fs.list(path),
      makeDirectory: (path) => {
        fs.makeDirectory(path);
        this.#makeDirectory(path, (change) => this.#push({ type: "names", changes: [change] }));
      },
      remove: (path) => {
        fs.remove(path);
        if (this.#find(path) !== null) this.#changeNames([{ ...this.#placeOf(path), node: null }]);
      },
      rename: (from, to) => {
        fs.rename(from, to);
        const node = this.#find(from)!;
        this.#changeNames([{ ...this.#placeOf(from), node: null }, { ...this.#placeOf(to), node }]);
      },
      readFile: (path) => fs.readFile(path),
      writeFile: (path, bytes) => {
        fs.writeFile(path, bytes);
        this.#writeFile(path, bytes);
      },
      createExclusive: (path, bytes) => {
        const isMade = fs.createExclusive(path, bytes);
        if (isMade) this.#writeFile(path, bytes);
        return isMade;
      },
      syncDirectory: (path) => {
        fs.syncDirectory(path);
        this.#push({ type: "synced", node: this.#find(path)!, from: this.length });
      },
      syncDirectoryAsync: async (path) => {
        const from = this.length;
        await fs.syncDirectoryAsync(path);
        this.#push({ type: "synced", node: this.#find(path)!, from });
      },
      diskUsage: (path) => fs.diskUsage(path),
      lockedBy: (path) => fs.lockedBy(path),
    };
  }

  #recordHandle(handle: FileHandle, file: number): FileHandle {
    return {
      path: handle.path,
      readAt: (target, offset) => handle.readAt(target, offset),
      readAtAsync: (target, offset) => handle.readAtAsync(target, offset),
      writeAt: (bytes, offset) => {
        handle.writeAt(bytes, offset);
        if (bytes.length > 0) this.#push({ type: "write", file, offset, bytes: bytes.slice() });
      },
      sync: async () => {
        const from = this.length;
        await handle.sync();
        this.#push({ type: "synced", node: file, from });
      },
      syncBlocking: () => {
        handle.syncBlocking();
        this.#push({ type: "synced", node: file, from: this.length });
      },
      truncate: (size) => {
        handle.truncate(size);
        this.#push({ type: "resize", file, size });
      },
      size: () => handle.size(),
      holeFrom: (offset) => handle.holeFrom(offset),
      reserve: (offset, length) => handle.reserve(offset, length),
      close: () => handle.close(),
    };
  }

  #push(entry: JournalEntry): void {
    this.#entries.push(entry);
  }

  #newNode(): number {
    return this.#nodeCount++;
  }

  #newDirectory(): number {
    const node = this.#newNode();
    this.#names.set(node, new Map());
    return node;
  }

  #find(path: string): number | null {
    let node: number | undefined = ROOT_NODE;
    for (const name of namesOf(path)) {
      node = this.#names.get(node)?.get(name);
      if (node === undefined) return null;
    }
    return node;
  }

  #placeOf(path: string): { directory: number; name: string } {
    const at = path.lastIndexOf("/");
    return { directory: this.#find(path.slice(0, at))!, name: path.slice(at + 1) };
  }

  #changeNames(changes: readonly NameChange[]): void {
    this.#push({ type: "names", changes });
    for (const { directory, name, node } of changes) {
      if (node === null) this.#names.get(directory)!.delete(name);
      else this.#names.get(directory)!.set(name, node);
    }
  }

  #makeName(path: string, node: number, push: (change: NameChange) => void): void {
    const change = { ...this.#placeOf(path), node };
    this.#names.get(change.directory)!.set(change.name, node);
    push(change);
  }

  #makeDirectory(path: string, push: (change: NameChange) => void): void {
    let at = "";
    for (const name of namesOf(path)) {
      at += `/${name}`;
      if (this.#find(at) === null) this.#makeName(at, this.#newDirectory(), push);
    }
  }

  #ensureFile(path: string): void {
    if (this.#find(path) !== null) return;
    this.#makeName(path, this.#newNode(), (change) => this.#push({ type: "names", changes: [change] }));
  }

  #writeFile(path: string, bytes: Uint8Array): void {
    this.#ensureFile(path);
    const file = this.#find(path)!;
    this.#push({ type: "resize", file, size: 0 });
    if (bytes.length > 0) this.#push({ type: "write", file, offset: 0, bytes: bytes.slice() });
  }

  /** Entries before `point` that a loss of power there may lose, in order. */
  unsyncedAt(point: number): number[] {
    const durable = new Set<number>();
    for (let i = point - 1; i >= 0; i--) {
      const entry = this.#entries[i]!;
      if (entry.type === "synced") this.#markDurable(durable, entry.node, entry.from);
    }
    const unsynced: number[] = [];
    for (let i = 0; i < point; i++) if (this.#entries[i]!.type !== "synced" && !durable.has(i)) unsynced.push(i);
    return unsynced;
  }

  /** With a name goes all that was done before in the directories that it touches. */
  #markDurable(durable: Set<number>, node: number, end: number): void {
    for (let i = end - 1; i >= 0; i--) {
      const entry = this.#entries[i]!;
      if (durable.has(i) || !nodesOf(entry).includes(node)) continue;
      durable.add(i);
      if (entry.type !== "names") continue;
      for (const { directory } of entry.changes) if (directory !== node) this.#markDurable(durable, directory, i);
    }
  }

  /** A lost name takes along all that was done to names later in its directories. */
  #withFollowers(lost: ReadonlySet<number>, unsynced: readonly number[]): Set<number> {
    const all = new Set<number>();
    const directories = new Set<number>();
    for (const i of unsynced) {
      const entry = this.#entries[i]!;
      const follows = entry.type === "names" && entry.changes.some(({ directory }) => directories.has(directory));
      if (!lost.has(i) && !follows) continue;
      all.add(i);
      if (entry.type === "names") { for (const { directory } of entry.changes) directories.add(directory); }
    }
    return all;
  }

  /**
   * What a loss of power at `point` may lose: every subset of the last `subsetsOf` unsynced entries, everything, all of
   * one file or directory, all but one's, and the last writes torn by sectors. Nothing twice.
   */
  lossesAt(point: number, subsetsOf: number): Loss[] {
    const unsynced = this.unsyncedAt(point);
    const losses: Loss[] = [];
    const seen = new Set<string>();
    const add = (lost: readonly number[], torn: Loss["torn"] = null) => {
      const all = this.#withFollowers(new Set(lost), unsynced);
      const tear = torn === null ? "" : `${torn.index} ${torn.keptSize} ${[...torn.keptSectors].join()}`;
      const key = `${[...all].join()} ${tear}`;
      if (seen.has(key)) return;
      seen.add(key);
      losses.push({ lost: all, torn });
    };
    const last = unsynced.slice(-subsetsOf);
    for (let mask = 0; mask < 1 << last.length; mask++) add(last.filter((_, bit) => (mask & (1 << bit)) !== 0));
    add(unsynced);
    for (const node of new Set(unsynced.flatMap((i) => nodesOf(this.#entries[i]!)))) {
      add(unsynced.filter((i) => nodesOf(this.#entries[i]!).includes(node)));
      add(unsynced.filter((i) => !nodesOf(this.#entries[i]!).includes(node)));
    }
    for (const index of last) for (const tear of this.#tears(index)) add([], tear);
    return losses;
  }

  /** Every way to tear a short write; a long one loses its front or its tail. A file that is to grow grows by half. */
  #tears(index: number): Tear[] {
    const entry = this.#entries[index]!;
    if (entry.type === "resize" && entry.size > SECTOR_SIZE) {
      const keptSize = Math.floor(entry.size / 2 / SECTOR_SIZE) * SECTOR_SIZE;
      return [{ index, keptSectors: new Set(), keptSize }];
    }
    if (entry.type !== "write") return [];
    const sectors: number[] = [];
    const end = entry.offset + entry.bytes.length;
    for (let sector = Math.floor(entry.offset / SECTOR_SIZE); sector * SECTOR_SIZE < end; sector++) {
      sectors.push(sector);
    }
    const tears: Tear[] = [];
    const keep = (kept: number[]) => tears.push({ index, keptSectors: new Set(kept), keptSize: 0 });
    if (sectors.length <= 4) {
      for (let mask = 1; mask < (1 << sectors.length) - 1; mask++) {
        keep(sectors.filter((_, bit) => (mask & (1 << bit)) !== 0));
      }
    } else {
      for (let cut = 1; cut < sectors.length; cut++) {
        keep(sectors.slice(0, cut));
        keep(sectors.slice(cut));
      }
    }
    return tears;
  }

  /** What the disk holds when the power goes at `point` with this loss. */
  imageAt(point: number, { lost, torn }: Loss): DiskImage {
    const replay = new Replay(this.#baseNames, this.#baseFiles);
    for (let i = 0; i < point; i++) {
      const entry = this.#entries[i]!;
      replay.apply(entry, !lost.has(i), torn?.index === i ? torn : null);
    }
    return replay.image((node) => this.#names.has(node));
  }
}

/** Files as the program saw them, and as the disk has them. */
class Replay {
  readonly #seen: SectorFile[] = [];
  readonly #onDisk: SectorFile[] = [];
  /** Names on the disk. */
  readonly #names = new Map<number, Map<string, number>>([[ROOT_NODE, new Map()]]);

  constructor(names: readonly NameChange[], files: ReadonlyMap<number, Uint8Array>) {
    for (const { directory, name, node } of names) this.#namesOf(directory).set(name, node!);
    for (const [node, bytes] of files) {
      this.#seen[node] = new SectorFile(bytes);
      this.#onDisk[node] = new SectorFile(bytes);
    }
  }

  #namesOf(directory: number): Map<string, number> {
    let names = this.#names.get(directory);
    if (names === undefined) this.#names.set(directory, names = new Map());
    return names;
  }

  apply(entry: JournalEntry, isKept: boolean, torn: Tear | null): void {
    switch (entry.type) {
      case "write": {
        const seen = this.#seen[entry.file] ??= new SectorFile();
        const onDisk = this.#onDisk[entry.file] ??= new SectorFile();
        seen.write(entry.bytes, entry.offset);
        if (isKept) {
          onDisk.copySectors(seen, entry.offset, entry.offset + entry.bytes.length, torn?.keptSectors ?? null);
        }
        return;
      }
      case "resize":
        (this.#seen[entry.file] ??= new SectorFile()).resize(entry.size);
        if (isKept) this.#resizeOnDisk(entry.file, entry.size, torn);
        return;
      case "names":
        if (!isKept) return;
        for (const { directory, name, node } of entry.changes) {
          if (node === null) this.#namesOf(directory).delete(name);
          else this.#namesOf(directory).set(name, node);
        }
    }
  }

  #resizeOnDisk(file: number, size: number, torn: Tear | null): void {
    const onDisk = this.#onDisk[file] ??= new SectorFile();
    if (torn === null) onDisk.resize(size);
    else if (onDisk.bytes.length < torn.keptSize) onDisk.resize(torn.keptSize);
  }

  image(isDirectory: (node: number) => boolean): DiskImage {
    const directories: string[] = [];
    const files = new Map<string, Uint8Array>();
    const walk = (directory: number, path: string) => {
      for (const [name, node] of [...this.#namesOf(directory)].sort(([a], [b]) => a < b ? -1 : 1)) {
        if (isDirectory(node)) {
          directories.push(`${path}/${name}`);
          walk(node, `${path}/${name}`);
        } else files.set(`${path}/${name}`, this.#onDisk[node]?.bytes ?? new Uint8Array(0));
      }
    };
    walk(ROOT_NODE, "");
    return { directories, files };
  }
}

/** A file's bytes, which grow. */
class SectorFile {
  #buffer: Uint8Array;
  #size: number;

  constructor(bytes: Uint8Array = new Uint8Array(0)) {
    this.#buffer = bytes.slice();
    this.#size = bytes.length;
  }

  get bytes(): Uint8Array {
    return this.#buffer.subarray(0, this.#size);
  }

  resize(size: number): void {
    if (size > this.#buffer.length) {
      const grown = new Uint8Array(Math.max(size, this.#buffer.length * 2));
      grown.set(this.bytes);
      this.#buffer = grown;
    }
    if (size < this.#size) this.#buffer.fill(0, size, this.#size);
    this.#size = size;
  }

  write(bytes: Uint8Array, offset: number): void {
    if (offset + bytes.length > this.#size) this.resize(offset + bytes.length);
    this.#buffer.set(bytes, offset);
  }

  /** Takes over the sectors that hold `[from, end)`, of these only the kept ones. */
  copySectors(other: SectorFile, from: number, end: number, kept: ReadonlySet<number> | null): void {
    for (let sector = Math.floor(from / SECTOR_SIZE); sector * SECTOR_SIZE < end; sector++) {
      if (kept !== null && !kept.has(sector)) continue;
      const at = sector * SECTOR_SIZE;
      const part = other.bytes.subarray(at, at + SECTOR_SIZE);
      // What lies behind the end of the write in its sector is there only as far as the file was that long before.
      const size = Math.max(this.#size, Math.min(end, at + part.length));
      if (size > this.#size) this.resize(size);
      this.#buffer.set(part.subarray(0, this.#size - at), at);
    }
  }
}

/** The nodes that an entry is about: of names their directories. */
function nodesOf(entry: JournalEntry): number[] {
  switch (entry.type) {
    case "write":
    case "resize":
      return [entry.file];
    case "names":
      return entry.changes.map((change) => change.directory);
    case "synced":
      return [];
  }
}

function namesOf(path: string): string[] {
  return path.split("/").filter((name) => name !== "");
}

/** Equal for equal images. */
export function digestOf({ directories, files }: DiskImage): string {
  const hash = createHash("sha1").update(directories.join("\0"));
  for (const [path, bytes] of files) hash.update(`\0${path}\0${bytes.length}\0`).update(bytes);
  return hash.digest("base64");
}

/** Puts an image onto a disk, through a file system of it. */
export function loadImage(fs: FileSystem, { directories, files }: DiskImage): void {
  for (const path of directories) fs.makeDirectory(path);
  for (const [path, bytes] of files) {
    const handle = fs.open(path, "create");
    handle.truncate(bytes.length);
    const end = bytes.findLastIndex((byte) => byte !== 0) + 1;
    if (end > 0) handle.writeAt(bytes.subarray(0, end), 0);
    handle.syncBlocking();
    handle.close();
  }
  for (const path of ["/", ...directories]) fs.syncDirectory(path);
}
