// A row of equally long files that together are one address space: the commit log's, or a consume queue's. Owns which
// files exist, their load, creation, cutting and removal. What stands in them, and when to flush, is the owner's.

import { makeDurableDirectory, UnsyncedDirectories } from "../base/durable_directory.ts";
import { StoreError, StoreSizeError } from "../base/errors.ts";
import { type Logger, SILENT_LOGGER } from "../base/logger.ts";
import type { HandlePool } from "./handle_pool.ts";
import { fileNameToOffset, MappedFile, offsetToFileName } from "./mapped_file.ts";

/** What a queue is made of. */
export interface MappedFileQueueOptions {
  readonly pool: HandlePool;
  /** Where its files lie. More than one (`storePathCommitLog` with commas): new files take turns. At least one. */
  readonly directories: readonly string[];
  /** Bytes of every file. */
  readonly mappedFileSize: number;
  /** The setting it comes from, for messages. */
  readonly sizeSetting?: string;
  readonly logger?: Logger;
}

/** Mirrors Apache's `MappedFileQueue` and `MultiPathMappedFileQueue`. Offsets are bytes in the queue's space. */
export class MappedFileQueue {
  readonly mappedFileSize: number;
  readonly directories: readonly string[];
  /** End of what is known to be on the disk. Moved by {@link flush}, and by the owner on recovery. */
  flushedWhere = 0;
  readonly #pool: HandlePool;
  readonly #logger: Logger;
  readonly #sizeSetting: string;
  #files: MappedFile[] = [];
  /** None of the files that were found has the size wanted, and none is empty. */
  #noneFits = false;
  /** Files shorter than they should be, until {@link completeFiles}. */
  #shortFiles: { readonly file: MappedFile; readonly size: number }[] = [];
  /** Directories with creations or removals that are not durable yet. */
  readonly #unsyncedDirectories: UnsyncedDirectories;
  /** Counts cuts: a flush that was under way at one says nothing about the bytes written since. */
  #cuts = 0;

  constructor(options: MappedFileQueueOptions) {
    this.#pool = options.pool;
    this.#unsyncedDirectories = new UnsyncedDirectories(options.pool.fs);
    this.#logger = options.logger ?? SILENT_LOGGER;
    this.directories = options.directories;
    this.mappedFileSize = options.mappedFileSize;
    this.#sizeSetting = options.sizeSetting ?? "the file size";
  }

  /** The files, in order. */
  get files(): readonly MappedFile[] {
    return this.#files;
  }

  /** First byte held; 0 without files. */
  get minOffset(): number {
    return this.#files[0]?.fileFromOffset ?? 0;
  }

  /** End of what was written; 0 without files. */
  get maxOffset(): number {
    const last = this.#files.at(-1);
    return last === undefined ? 0 : last.fileFromOffset + last.wrotePosition;
  }

  get lastFile(): MappedFile | null {
    return this.#files.at(-1) ?? null;
  }

  /**
   * Reads the directories. All files count as full until recovery moves their write positions. A last file of length
   * 0 behind others, left by a crash while it was made, is removed; after an unclean exit ones that are too short are kept for
   * {@link completeFiles}. Throws {@link StoreError} for a file of another length (
   * {@link StoreSizeError} when none has it) or a gap.
   */
  load(lastExitOk = true): void {
    const found: { path: string; offset: number; size: number; allocated: number }[] = [];
    for (const directory of this.directories) {
      // Its names may be known to the kernel of a killed process only.
      if (!lastExitOk) this.#unsyncedDirectories.add(directory);
      for (const name of this.#pool.fs.list(directory)) {
        const path = `${directory}/${name}`;
        const info = this.#pool.fs.stat(path);
        if (info === null || info.isDirectory) continue;
        const offset = fileNameToOffset(name);
        if (offset !== null) found.push({ path, offset, size: info.size, allocated: info.allocated });
        else this.#logger.warn(`Ignoring "${path}": its name is not an offset of 20 digits`);
      }
    }
    found.sort((a, b) => a.offset - b.offset);
    this.#files = [];
    this.#shortFiles = [];
    // An empty one is damage, whatever the configuration says.
    this.#noneFits = found.every(({ size }) => size > 0 && size !== this.mappedFileSize);
    for (const [index, { path, offset, size, allocated }] of found.entries()) {
      // The only one stays: its name is all that tells where the queue goes on.
      if (size === 0 && index === found.length - 1 && index > 0) {
        this.#pool.fs.remove(path);
        this.#logger.warn(`Removed "${path}": it is empty, left by a crash while it was made`);
        continue;
      }
      const file = new MappedFile(this.#pool, path, offset, this.mappedFileSize);
      file.allocated = allocated;
      file.sizeIsDurable = lastExitOk;
      const mayBeShort = !lastExitOk || (size === 0 && found.length === 1);
      if (size < this.mappedFileSize && mayBeShort) this.#shortFiles.push({ file, size });
      else if (size !== this.mappedFileSize) throw this.#wrongSize(path, size);
      const before = this.#files.at(-1);
      if (before !== undefined && before.fileFromOffset + this.mappedFileSize !== offset) {
        const missing = offset - before.fileFromOffset - this.mappedFileSize;
        throw new StoreError(`File "${path}" does not follow "${before.path}": ${missing} bytes are missing between`);
      }
      this.#files.push(file);
    }
  }

  /**
   * Brings short files to their length: a loss of power can leave a new file shorter than it was made. What was on the
   * disk lies below `flushedTo`, so a short file there is damage: throws {@link StoreError}, and changes nothing.
   */
  completeFiles(flushedTo: number): void {
    for (const { file, size } of this.#shortFiles) {
      if (file.fileFromOffset < flushedTo) throw this.#wrongSize(file.path, size);
    }
    for (const { file, size } of this.#shortFiles.splice(0)) {
      file.complete();
      this.#logger.warn(`Completed "${file.path}": it had ${size} bytes, left by a crash while it was new`);
    }
  }

  /**
   * Removes the files up to the last one below `offset` that is too short: files that expired before they were ever on
   * the disk come back like that when a loss of power undoes their removal.
   */
  dropShortFront(offset: number): void {
    const last = this.#shortFiles.findLast(({ file }) => file.fileFromOffset < offset);
    if (last === undefined) return;
    this.#logger.warn(`Removing "${last.file.path}" and what is before it: it has ${last.size} bytes, left by a crash`);
    while (this.#files.length > 1 && this.#files[0]!.fileFromOffset <= last.file.fileFromOffset) this.deleteFirstFile();
    this.#shortFiles = this.#shortFiles.filter(({ file }) => file.fileFromOffset > last.file.fileFromOffset);
  }

  #wrongSize(path: string, size: number): StoreError {
    const wanted = `wanted ${this.mappedFileSize}; set ${this.#sizeSetting} that the store was written with`;
    const message = `File "${path}" has ${size} bytes, ${wanted}`;
    return this.#noneFits ? new StoreSizeError(message) : new StoreError(message);
  }

  /** The file that holds the offset; null when none does. */
  findMappedFileByOffset(offset: number): MappedFile | null {
    const first = this.#files[0];
    if (first === undefined || offset < first.fileFromOffset) return null;
    return this.#files[Math.floor((offset - first.fileFromOffset) / this.mappedFileSize)] ?? null;
  }

  /**
   * The file to append to: the last one, or a new one when that is full or there is none; the first file starts where
   * the multiple of the file size at or below `startOffset` is. Throws {@link IoError} when it can't be made.
   */
  getLastMappedFile(startOffset = 0): MappedFile {
    const last = this.#files.at(-1);
    if (last !== undefined && !last.isFull) return last;
    const offset = last === undefined
      ? startOffset - (startOffset % this.mappedFileSize)
      : last.fileFromOffset + this.mappedFileSize;
    const directory = this.directories[Math.floor(offset / this.mappedFileSize) % this.directories.length]!;
    this.#pool.fs.makeDirectory(directory);
    const file = MappedFile.create(this.#pool, `${directory}/${offsetToFileName(offset)}`, offset, this.mappedFileSize);
    this.#unsyncedDirectories.add(directory);
    this.#files.push(file);
    return file;
  }

  /**
   * Makes everything written before this call durable, names in directories included; returns how far the queue is
   * flushed. One at a time. Throws {@link IoError}: then nobody knows what is on the disk, and the store must stop.
   */
  async flush(): Promise<number> {
    const target = this.maxOffset;
    const cuts = this.#cuts;
    for (const file of this.#dirtyFiles()) {
      // A file may be cut or expire meanwhile.
      if (this.#files.includes(file)) await file.sync();
    }
    for (const directory of this.#unsyncedDirectories.paths()) await this.#unsyncedDirectories.sync(directory);
    if (cuts === this.#cuts && target > this.flushedWhere) this.flushedWhere = target;
    return this.flushedWhere;
  }

  /** {@link flush}, blocking: for recovery and shutdown. */
  flushBlocking(): void {
    for (const file of this.#dirtyFiles()) file.syncBlocking();
    this.syncDirectories();
    this.flushedWhere = this.maxOffset;
  }

  #dirtyFiles(): MappedFile[] {
    const dirty: MappedFile[] = [];
    for (let i = this.#files.length - 1; i >= 0; i--) {
      const file = this.#files[i]!;
      const isFlushed = file.wrotePosition === 0 || file.fileFromOffset + file.wrotePosition <= this.flushedWhere;
      if (!isFlushed || !file.sizeIsDurable) dirty.unshift(file);
      else if (file.wrotePosition > 0) break;
    }
    return dirty;
  }

  /** Makes creations and removals of files durable. Blocks. Throws {@link IoError}. */
  syncDirectories(): void {
    this.#unsyncedDirectories.syncAllBlocking();
  }

  /**
   * Cuts the queue at `offset`: later files are removed, last one first, so that what remains is whole at every moment.
   * The positions of the file that holds the cut are set; its bytes are not touched. Mirrors `truncateDirtyFiles`.
   */
  truncateDirtyFiles(offset: number): void {
    this.#cuts++;
    for (let last = this.#files.at(-1); last !== undefined && last.fileFromOffset > offset; last = this.#files.at(-1)) {
      this.#removeFile(last);
      this.#files.pop();
    }
    const last = this.#files.at(-1);
    if (last !== undefined) last.wrotePosition = Math.min(offset - last.fileFromOffset, this.mappedFileSize);
    this.flushedWhere = Math.min(this.flushedWhere, offset);
  }

  /** Removes the oldest file; never the last one. Returns whether there was one to remove. */
  deleteFirstFile(): boolean {
    const first = this.#files[0];
    if (first === undefined || this.#files.length < 2) return false;
    this.#removeFile(first);
    this.#files.shift();
    return true;
  }

  /** Removes all files. */
  destroy(): void {
    this.truncateDirtyFiles(-1);
    this.flushedWhere = 0;
  }

  /**
   * Moves all files that begin behind `offset` into `directory` (made when missing, on the same file system); with -1 the
   * queue is empty then.
   */
  moveTo(directory: string, offset = -1): void {
    makeDurableDirectory(this.#pool.fs, directory);
    this.#cuts++;
    for (let last = this.#files.at(-1); last !== undefined; last = this.#files.at(-1)) {
      if (last.fileFromOffset <= offset) break;
      this.#pool.close(last.path);
      this.#pool.fs.rename(last.path, `${directory}/${offsetToFileName(last.fileFromOffset)}`);
      this.#unsyncedDirectories.add(directoryOf(last.path));
      this.#files.pop();
    }
    this.#unsyncedDirectories.add(directory);
    this.syncDirectories();
    this.flushedWhere = Math.min(this.flushedWhere, this.maxOffset);
  }

  #removeFile(file: MappedFile): void {
    file.destroy();
    this.#unsyncedDirectories.add(directoryOf(file.path));
  }
}

function directoryOf(path: string): string {
  return path.slice(0, path.lastIndexOf("/"));
}
