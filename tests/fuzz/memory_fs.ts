// A file system in memory for fuzzing: nothing is ever lost, errors are those of a real one, and every path that is
// touched must lie below the root. Hostile input that names a path shows at once.

import assert from "node:assert/strict";
import { IoError } from "../../src/base/errors.ts";
import type { DiskUsage, FileHandle, FileInfo, FileSystem, Process } from "../../src/runtime/runtime.ts";

/** Bytes of one name, as on Linux. */
const NAME_BYTES_MAX = 255;
/** All files together: a length field that was believed shows here. */
const TOTAL_BYTES_MAX = 64 * 1024 * 1024;

class MemoryFile {
  bytes = new Uint8Array(0);
}

/** Files by path; a directory is a set of them. */
export class MemoryFileSystem implements FileSystem {
  readonly root: string;
  readonly files = new Map<string, MemoryFile>();
  readonly #directories = new Set<string>();
  /** Reads and writes so far: a bound on the steps of what works on it. */
  operations = 0;

  /** `root` is an absolute path. */
  constructor(root: string) {
    this.root = root;
    this.#directories.add(root);
  }

  /** Puts a file there. */
  put(path: string, bytes: Uint8Array): void {
    this.makeDirectory(path.slice(0, path.lastIndexOf("/")));
    this.writeFile(path, bytes);
  }

  /** A copy with the same files. */
  clone(): MemoryFileSystem {
    const copy = new MemoryFileSystem(this.root);
    for (const path of this.#directories) copy.#directories.add(path);
    for (const [path, { bytes }] of this.files) copy.#make(path).bytes = bytes.slice();
    return copy;
  }

  #check(path: string): void {
    const names = path.split("/").slice(1);
    const isInside = path === this.root || path.startsWith(`${this.root}/`);
    const isPlain = names.every((name) => name !== "" && name !== "." && name !== ".." && !name.includes("\0"));
    assert.ok(isInside && isPlain, `Touched ${JSON.stringify(path)}, outside of ${this.root}`);
    if (names.some((name) => Buffer.byteLength(name) > NAME_BYTES_MAX)) {
      throw new IoError("other", `Name too long in "${path.slice(0, 80)}"`, "ENAMETOOLONG");
    }
  }

  #find(path: string): MemoryFile {
    this.#check(path);
    const file = this.files.get(path);
    if (file === undefined) throw new IoError("notFound", `Nothing at "${path}"`, "ENOENT");
    return file;
  }

  #make(path: string): MemoryFile {
    this.#check(path);
    let file = this.files.get(path);
    if (file === undefined) this.files.set(path, file = new MemoryFile());
    return file;
  }

  #resize(file: MemoryFile, size: number): void {
    let total = size - file.bytes.length;
    for (const { bytes } of this.files.values()) total += bytes.length;
    assert.ok(total <= TOTAL_BYTES_MAX, `Files grew to ${total} bytes`);
    const bytes = new Uint8Array(size);
    bytes.set(file.bytes.subarray(0, size));
    file.bytes = bytes;
  }

  open(path: string, mode: "read" | "write" | "create"): FileHandle {
    const file = mode === "create" ? this.#make(path) : this.#find(path);
    const readAt = (target: Uint8Array, offset: number): number => {
      this.operations++;
      assert.ok(Number.isSafeInteger(offset) && offset >= 0, `Read at ${offset} of "${path}"`);
      const part = file.bytes.subarray(offset, offset + target.length);
      target.set(part);
      return part.length;
    };
    return {
      path,
      readAt,
      readAtAsync: async (target, offset) => readAt(target, offset),
      writeAt: (bytes, offset) => {
        this.operations++;
        assert.ok(Number.isSafeInteger(offset) && offset >= 0, `Write at ${offset} of "${path}"`);
        if (offset + bytes.length > file.bytes.length) this.#resize(file, offset + bytes.length);
        file.bytes.set(bytes, offset);
      },
      sync: () => Promise.resolve(),
      syncBlocking: () => {},
      truncate: (size) => this.#resize(file, size),
      size: () => file.bytes.length,
      holeFrom: () => file.bytes.length,
      reserve: () => {},
      close: () => {},
    };
  }

  stat(path: string): FileInfo | null {
    this.#check(path);
    const file = this.files.get(path);
    if (file !== undefined) {
      const size = file.bytes.length;
      return { size, allocated: size, isDirectory: false, modifiedMs: 1 };
    }
    return this.#directories.has(path) ? { size: 0, allocated: 0, isDirectory: true, modifiedMs: 1 } : null;
  }

  list(path: string): string[] {
    this.#check(path);
    const names = new Set<string>();
    for (const each of [...this.files.keys(), ...this.#directories]) {
      if (each.startsWith(`${path}/`)) names.add(each.slice(path.length + 1).split("/")[0]!);
    }
    return [...names].sort();
  }

  makeDirectory(path: string): void {
    this.#check(path);
    for (let at = path; at.length > this.root.length; at = at.slice(0, at.lastIndexOf("/"))) this.#directories.add(at);
  }

  remove(path: string): void {
    this.#check(path);
    const isBelow = (each: string) => each === path || each.startsWith(`${path}/`);
    for (const each of [...this.files.keys()]) if (isBelow(each)) this.files.delete(each);
    for (const each of [...this.#directories]) if (isBelow(each)) this.#directories.delete(each);
  }

  rename(from: string, to: string): void {
    const file = this.#find(from);
    this.#check(to);
    this.files.delete(from);
    this.files.set(to, file);
  }

  readFile(path: string): Uint8Array | null {
    this.#check(path);
    return this.files.get(path)?.bytes.slice() ?? null;
  }

  writeFile(path: string, bytes: Uint8Array): void {
    this.operations++;
    this.#make(path).bytes = bytes.slice();
  }

  createExclusive(path: string, bytes: Uint8Array): boolean {
    if (this.files.has(path)) return false;
    this.writeFile(path, bytes);
    return true;
  }

  syncDirectory(path: string): void {
    // The directory that holds the root may be synced; that changes nothing in it.
    if (!this.root.startsWith(path)) this.#check(path);
  }

  async syncDirectoryAsync(path: string): Promise<void> {
    this.syncDirectory(path);
  }

  diskUsage(): DiskUsage {
    return { totalBytes: 2 ** 40, usedBytes: 2 ** 39, freeBytes: 2 ** 39 };
  }

  lockedBy(): number | null {
    return null;
  }
}

/** What a store asks of its process. */
export const PROCESS: Process = {
  pid: 1000,
  startToken: (pid: number) => (pid === 1000 ? "token" : null),
} as Partial<Process> as Process;
