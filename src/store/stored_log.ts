// A commit log and consume queues on disk, looked at from outside: nothing is locked, changed or recovered. For `verify`
// and comparisons, which must also read what recovery would cut. Deliberately not built on CommitLog and ConsumeQueue.

import { readInt32, readInt64 } from "../base/bytes.ts";
import { StoreError } from "../base/errors.ts";
import type { FileHandle, FileSystem } from "../runtime/runtime.ts";
import { CQ_STORE_UNIT_SIZE, type CqUnit, decodeCqUnit } from "./consume_queue.ts";
import { fileNameToOffset, isZero } from "./mapped_file.ts";

/** Bytes read at a time where all of a file is looked at. */
const CHUNK_SIZE = 4 * 1024 * 1024;
const UNITS_READ = 1024;

interface StoredFile {
  readonly path: string;
  readonly fromOffset: number;
}

/** Whether there is a directory at that path. */
export function isDirectory(fs: FileSystem, path: string): boolean {
  return fs.stat(path)?.isDirectory === true;
}

/** Files of one size, one after another. Throws {@link StoreError} naming the one that does not fit. */
function listFiles(fs: FileSystem, directories: readonly string[], fileSize: number | null) {
  const files: StoredFile[] = [];
  for (const directory of directories) {
    for (const name of fs.list(directory)) {
      const fromOffset = fileNameToOffset(name);
      if (fromOffset !== null && !isDirectory(fs, `${directory}/${name}`)) {
        files.push({ path: `${directory}/${name}`, fromOffset });
      }
    }
  }
  files.sort((a, b) => a.fromOffset - b.fromOffset);
  // A crash while it was made leaves an empty last file; the next start removes it.
  if (files.length > 0 && fs.stat(files.at(-1)!.path)?.size === 0) files.pop();
  const size = fileSize ?? (files.length > 0 ? fs.stat(files[0]!.path)?.size ?? 0 : 0);
  for (const [i, file] of files.entries()) {
    const actual = fs.stat(file.path)?.size;
    if (actual !== size) throw new StoreError(`File "${file.path}" has ${actual} bytes, wanted ${size}`);
    const wanted = i === 0 ? file.fromOffset - file.fromOffset % size : files[i - 1]!.fromOffset + size;
    if (file.fromOffset !== wanted) throw new StoreError(`File "${file.path}" is out of line, wanted offset ${wanted}`);
  }
  return { files, size };
}

/** The commit log of a store directory, for reading. */
export class StoredLog {
  /** Size of each file, bytes; 0 when there is none. */
  readonly mappedFileSize: number;
  readonly #fs: FileSystem;
  readonly #files: readonly StoredFile[];
  #open: { readonly file: StoredFile; readonly handle: FileHandle } | null = null;

  /**
   * `mappedFileSize` is inferred when null. Throws {@link StoreError} for files of another size or with gaps between
   * them.
   */
  constructor(fs: FileSystem, directories: readonly string[], mappedFileSize: number | null = null) {
    this.#fs = fs;
    const { files, size } = listFiles(fs, directories, mappedFileSize);
    this.#files = files;
    this.mappedFileSize = size;
  }

  /** First byte held. */
  get minOffset(): number {
    return this.#files[0]?.fromOffset ?? 0;
  }

  /** End of the last file: what is written ends there or before. */
  get filesEnd(): number {
    return this.#files.length === 0 ? 0 : this.#files.at(-1)!.fromOffset + this.mappedFileSize;
  }

  /** Path of the file that holds `offset`; of the last one beyond the end; empty without files. */
  pathOf(offset: number): string {
    return (this.#fileOf(offset) ?? this.#files.at(-1))?.path ?? "";
  }

  #fileOf(offset: number): StoredFile | undefined {
    return this.#files[Math.floor((offset - this.minOffset) / this.mappedFileSize)];
  }

  /** End of the file that holds `offset`. */
  fileEnd(offset: number): number {
    return offset - offset % this.mappedFileSize + this.mappedFileSize;
  }

  /** Reads from `offset` into `target`, up to the end of the file that holds it; returns the count. */
  async read(offset: number, target: Uint8Array): Promise<number> {
    const file = this.#fileOf(offset);
    if (file === undefined || offset < file.fromOffset) return 0;
    if (this.#open?.file !== file) {
      this.close();
      this.#open = { file, handle: this.#fs.open(file.path, "read") };
    }
    const size = Math.min(target.length, file.fromOffset + this.mappedFileSize - offset);
    return await this.#open.handle.readAtAsync(target.subarray(0, size), offset - file.fromOffset);
  }

  /** End of the last byte at or beyond `offset` that is not zero; `offset` when all are. */
  async endOfData(offset: number): Promise<number> {
    const chunk = new Uint8Array(Math.min(CHUNK_SIZE, this.mappedFileSize));
    let end = offset;
    while (offset < this.filesEnd) {
      const count = await this.read(offset, chunk);
      if (count === 0) break;
      const bytes = chunk.subarray(0, count);
      if (!isZero(bytes)) end = offset + bytes.findLastIndex((byte) => byte !== 0) + 1;
      offset += count;
    }
    return end;
  }

  /** Closes the file that is open; reading opens it again. */
  close(): void {
    this.#open?.handle.close();
    this.#open = null;
  }
}

/** One consume queue of a store directory, for reading its units once, in order. Reads block. */
export class StoredQueue {
  readonly topic: string;
  readonly queueId: number;
  /** Index after the last unit that is not all zeros. */
  readonly maxOffset: number;
  /** End of the record the last unit points at; -1 for none. */
  readonly maxPhysicOffset: number;
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #files: readonly StoredFile[];
  readonly #fileSize: number;
  #units: Uint8Array = new Uint8Array(0);
  /** Index of the first unit in {@link #units}. */
  #unitsFrom = 0;
  #next: number;

  /** Throws {@link StoreError} for files of different sizes or with gaps between them. */
  constructor(fs: FileSystem, directory: string, topic: string, queueId: number) {
    this.#fs = fs;
    this.#directory = directory;
    this.topic = topic;
    this.queueId = queueId;
    const { files, size } = listFiles(fs, [directory], null);
    if (size % CQ_STORE_UNIT_SIZE !== 0) {
      throw new StoreError(
        `Consume queue file "${files[0]!.path}" has ${size} bytes, wanted a multiple of ${CQ_STORE_UNIT_SIZE}`,
      );
    }
    this.#files = files;
    this.#fileSize = size;
    this.#next = (files[0]?.fromOffset ?? 0) / CQ_STORE_UNIT_SIZE;
    this.maxOffset = this.#findEnd();
    const last = this.maxOffset > this.#next ? this.#at(this.maxOffset - 1) : null;
    this.maxPhysicOffset = last === null ? -1 : last.pos + last.size;
  }

  #findEnd(): number {
    const chunk = new Uint8Array(Math.min(UNITS_READ * CQ_STORE_UNIT_SIZE, this.#fileSize));
    for (const file of this.#files.toReversed()) {
      const handle = this.#fs.open(file.path, "read");
      try {
        let end = 0;
        for (let at = 0; at < this.#fileSize; at += chunk.length) {
          const bytes = chunk.subarray(
            0,
            handle.readAt(chunk.subarray(0, Math.min(chunk.length, this.#fileSize - at)), at),
          );
          if (!isZero(bytes)) end = at + bytes.findLastIndex((byte) => byte !== 0) + 1;
        }
        if (end > 0) return file.fromOffset / CQ_STORE_UNIT_SIZE + Math.ceil(end / CQ_STORE_UNIT_SIZE);
      } finally {
        handle.close();
      }
    }
    return this.#next;
  }

  /** Path of the file that holds the unit, of the last one behind the end; the directory's without files. */
  pathOf(queueOffset: number): string {
    const first = this.#files[0];
    if (first === undefined) return this.#directory;
    const at = queueOffset * CQ_STORE_UNIT_SIZE - first.fromOffset;
    return (this.#files[Math.floor(at / this.#fileSize)] ?? this.#files.at(-1)!).path;
  }

  /** The next unit, without taking it; null at the end. */
  peek(): CqUnit | null {
    return this.#next < this.maxOffset ? this.#at(this.#next) : null;
  }

  /** Takes the next unit. */
  advance(): void {
    this.#next++;
  }

  #at(index: number): CqUnit {
    const inBuffer = (index - this.#unitsFrom) * CQ_STORE_UNIT_SIZE;
    if (inBuffer >= 0 && inBuffer < this.#units.length) return decodeCqUnit(this.#units, inBuffer, index);
    const at = index * CQ_STORE_UNIT_SIZE;
    const file = this.#files[Math.floor((at - this.#files[0]!.fromOffset) / this.#fileSize)]!;
    const position = at - file.fromOffset;
    const bytes = new Uint8Array(Math.min(UNITS_READ * CQ_STORE_UNIT_SIZE, this.#fileSize - position));
    const handle = this.#fs.open(file.path, "read");
    try {
      handle.readAt(bytes, position);
    } finally {
      handle.close();
    }
    this.#units = bytes;
    this.#unitsFrom = index;
    return decodeCqUnit(bytes, 0, index);
  }
}

/** Whether the bytes at `at` claim to be a record or filler at `offset`, whatever is wrong with them. */
export function claimsToBeRecord(bytes: Uint8Array, magics: readonly number[], offset: number): boolean {
  if (bytes.length >= 8 && magics.includes(readInt32(bytes, 4))) return true;
  return bytes.length >= 36 && offset > 0 && readInt64(bytes, 28) === offset;
}
