// The FileSystem and FileHandle of one simulated life, over the disk of its host: paths, modes, errors as a real
// adapter maps them, the life of handles. Content, faults and time are the disk's.

import type { DiskUsage, FileHandle, FileInfo, FileSystem } from "../runtime.ts";
import type { SimulatedDisk } from "./disk.ts";
import { DiskDirectory, type DiskNode, splitPath } from "./disk_directory.ts";
import { DiskFile, PAGE_SIZE } from "./disk_file.ts";
import { requireAlive, type SimulatedLife } from "./scheduler.ts";
import { deferred } from "../../base/async.ts";
import { IoError } from "../../base/errors.ts";

/** Files as one program sees them. */
export class SimulatedFileSystem implements FileSystem {
  readonly #disk: SimulatedDisk;
  readonly #life: SimulatedLife;
  readonly #handles = new Set<SimulatedFileHandle>();

  constructor(disk: SimulatedDisk, life: SimulatedLife) {
    this.#disk = disk;
    this.#life = life;
  }

  /** Handles of files that another handle is open for as well: a program that leaks handles gathers them. */
  get surplusHandleCount(): number {
    const paths = new Set<string>();
    for (const { path } of this.#handles) paths.add(path);
    return this.#handles.size - paths.size;
  }

  /** Handles that the program holds open. */
  get openHandleCount(): number {
    return this.#handles.size;
  }

  open(path: string, mode: "read" | "write" | "create"): FileHandle {
    const node = this.#find(path);
    if (node instanceof DiskDirectory) throw failure("other", `Open "${path}"`, "EISDIR");
    if (node === null && mode !== "create") throw failure("notFound", `Open "${path}"`, "ENOENT");
    const file = node ?? this.#createFile(path, `Open "${path}"`);
    const handle = new SimulatedFileHandle(this.#disk, this.#life, file, path, mode === "read", () => {
      this.#handles.delete(handle);
    });
    this.#handles.add(handle);
    return handle;
  }

  stat(path: string): FileInfo | null {
    const node = this.#find(path);
    if (node === null) return null;
    const isDirectory = node instanceof DiskDirectory;
    const [size, allocated] = isDirectory ? [0, 0] : [node.size, node.pageCount * PAGE_SIZE];
    return { size, allocated, isDirectory, modifiedMs: node.modifiedMs };
  }

  list(path: string): string[] {
    const node = this.#find(path);
    if (node === null) return [];
    if (!(node instanceof DiskDirectory)) throw failure("other", `List "${path}"`, "ENOTDIR");
    return [...node.entries.keys()].sort();
  }

  makeDirectory(path: string): void {
    let at = "";
    for (const name of splitPath(path)) {
      const parent = this.#find(at) as DiskDirectory;
      at += `/${name}`;
      const node = this.#find(at);
      if (node instanceof DiskFile) throw failure("other", `Make directory "${path}"`, "EEXIST");
      if (node === null) this.#change(parent, name, new DiskDirectory(this.#disk.wallMs));
    }
  }

  remove(path: string): void {
    const node = this.#find(path);
    const [parent, name] = this.#parentOf(path);
    if (node === null || parent === null) return;
    this.#change(parent, name, null);
    this.#disk.unlink(node);
  }

  rename(from: string, to: string): void {
    const action = `Rename "${from}" to "${to}"`;
    const node = this.#find(from);
    const [fromParent, fromName] = this.#parentOf(from);
    const [toParent, toName] = this.#parentOf(to);
    if (node === null || fromParent === null || toParent === null) throw failure("notFound", action, "ENOENT");
    const replaced = this.#find(to);
    if (replaced === node) return;
    if (replaced instanceof DiskDirectory) throw failure("other", action, "EISDIR");
    if (replaced !== null && node instanceof DiskDirectory) throw failure("other", action, "ENOTDIR");
    DiskDirectory.apply([
      { directory: fromParent, name: fromName, node: null },
      { directory: toParent, name: toName, node },
    ]);
    if (replaced !== null) this.#disk.unlink(replaced);
  }

  readFile(path: string): Uint8Array | null {
    const node = this.#find(path);
    if (node === null) return null;
    if (node instanceof DiskDirectory) throw failure("other", `Read "${path}"`, "EISDIR");
    const bytes = new Uint8Array(node.size);
    this.#disk.read(node, path, bytes, 0);
    return bytes;
  }

  writeFile(path: string, bytes: Uint8Array): void {
    const node = this.#find(path);
    if (node instanceof DiskDirectory) throw failure("other", `Write "${path}"`, "EISDIR");
    const file = node ?? this.#createFile(path, `Write "${path}"`);
    file.truncate(0);
    this.#disk.write(file, path, bytes, 0);
  }

  createExclusive(path: string, bytes: Uint8Array): boolean {
    if (this.#find(path) !== null) return false;
    this.writeFile(path, bytes);
    return true;
  }

  syncDirectory(path: string): void {
    const node = this.#find(path);
    if (node === null) throw failure("notFound", `Sync directory "${path}"`, "ENOENT");
    const error = this.#disk.faults.draw("sync", path);
    if (error !== null) throw error;
    if (node instanceof DiskDirectory) node.sync();
  }

  /** At once, and so before everything that comes later. */
  async syncDirectoryAsync(path: string): Promise<void> {
    this.syncDirectory(path);
  }

  diskUsage(_path: string): DiskUsage {
    requireAlive(this.#life);
    return this.#disk.usage;
  }

  lockedBy(path: string): number | null {
    requireAlive(this.#life);
    return this.#disk.lockOf(path);
  }

  /** The program ended; the kernel closes what it had open, unless it went too and the disk forgot all handles. */
  abandon(isPowerLost: boolean): void {
    for (const handle of [...this.#handles]) handle.end(isPowerLost);
  }

  #find(path: string): DiskNode | null {
    requireAlive(this.#life);
    this.#disk.scheduler.noteActivity();
    return this.#disk.find(path);
  }

  #parentOf(path: string): [DiskDirectory | null, string] {
    const names = splitPath(path);
    const name = names.pop();
    if (name === undefined) throw failure("other", `Change "${path}"`, "EBUSY");
    const parent = this.#disk.find(`/${names.join("/")}`);
    return [parent instanceof DiskDirectory ? parent : null, name];
  }

  #createFile(path: string, action: string): DiskFile {
    const [parent, name] = this.#parentOf(path);
    if (parent === null) throw failure("notFound", action, "ENOENT");
    const file = this.#disk.createFile();
    file.linkCount = 1;
    this.#change(parent, name, file);
    return file;
  }

  #change(directory: DiskDirectory, name: string, node: DiskNode | null): void {
    directory.modifiedMs = this.#disk.wallMs;
    DiskDirectory.apply([{ directory, name, node }]);
  }
}

/** An open simulated file. */
class SimulatedFileHandle implements FileHandle {
  readonly path: string;
  readonly #disk: SimulatedDisk;
  readonly #life: SimulatedLife;
  readonly #file: DiskFile;
  readonly #isReadOnly: boolean;
  readonly #onClose: () => void;
  #isClosed = false;

  constructor(
    disk: SimulatedDisk,
    life: SimulatedLife,
    file: DiskFile,
    path: string,
    isReadOnly: boolean,
    onClose: () => void,
  ) {
    this.path = path;
    this.#disk = disk;
    this.#life = life;
    this.#file = file;
    this.#isReadOnly = isReadOnly;
    this.#onClose = onClose;
    file.openCount++;
  }

  readAt(target: Uint8Array, offset: number): number {
    this.#check("Read");
    return this.#disk.read(this.#file, this.path, target, offset);
  }

  async readAtAsync(target: Uint8Array, offset: number): Promise<number> {
    this.#check("Read");
    const { promise, resolve, reject } = deferred<number>();
    const { readLatencyMinUs, readLatencyMaxUs } = this.#disk.options;
    this.#disk.after("read", this.#disk.prng.between(readLatencyMinUs, readLatencyMaxUs), () => {
      if (!this.#life.alive) return;
      try {
        const count = this.#disk.read(this.#file, this.path, target, offset);
        resolve(count);
        return count;
      } catch (error) {
        reject(error);
        return -1;
      }
    });
    return await promise;
  }

  readCachedAt(target: Uint8Array, offset: number): boolean {
    this.#check("Read");
    return this.#disk.readCached(this.#file, target, offset);
  }

  writeAt(bytes: Uint8Array, offset: number): void {
    this.#check("Write");
    if (this.#isReadOnly) throw failure("other", `Write "${this.path}"`, "EBADF");
    if (bytes.length > 0) this.#disk.write(this.#file, this.path, bytes, offset);
  }

  async sync(): Promise<void> {
    this.#check("Sync");
    const ticket = this.#file.beginSync();
    const { promise, resolve, reject } = deferred<void>();
    const { syncLatencyMinUs, syncLatencyMaxUs } = this.#disk.options;
    this.#disk.after("sync", this.#disk.prng.between(syncLatencyMinUs, syncLatencyMaxUs), () => {
      this.#disk.counters.syncs++;
      const error = this.#disk.faults.draw("sync", this.path);
      if (error === null) this.#file.endSync(ticket);
      else this.#file.failSync(ticket);
      if (!this.#life.alive) return -2;
      if (error === null) resolve();
      else reject(error);
      return error === null ? ticket.size : -1;
    });
    await promise;
  }

  syncBlocking(): void {
    this.#check("Sync");
    this.#disk.counters.syncs++;
    const ticket = this.#file.beginSync();
    const error = this.#disk.faults.draw("sync", this.path);
    if (error === null) return this.#file.endSync(ticket);
    this.#file.failSync(ticket);
    throw error;
  }

  truncate(size: number): void {
    this.#check("Truncate");
    if (this.#isReadOnly) throw failure("other", `Truncate "${this.path}"`, "EINVAL");
    this.#file.modifiedMs = this.#disk.wallMs;
    this.#file.truncate(size);
  }

  size(): number {
    this.#check("Stat");
    return this.#file.size;
  }

  /** Reading tells: the disk keeps no account of holes. */
  holeFrom(): number {
    return this.size();
  }

  /** Nothing: a hint that only costs and saves time. */
  reserve(): void {
    this.#check("Reserve");
  }

  close(): void {
    this.end(false);
  }

  /** Closes it; after a loss of power the disk has no count to lower. */
  end(isPowerLost: boolean): void {
    if (this.#isClosed) return;
    this.#isClosed = true;
    this.#onClose();
    if (!isPowerLost) this.#disk.closeFile(this.#file);
  }

  #check(verb: string): void {
    requireAlive(this.#life);
    this.#disk.scheduler.noteActivity();
    if (this.#isClosed) throw failure("closed", `${verb} "${this.path}"`, "EBADF");
  }
}

function failure(kind: IoError["kind"], action: string, code: string): IoError {
  return new IoError(kind, `${action} failed: ${code}`, code);
}
