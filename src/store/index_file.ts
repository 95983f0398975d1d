// One hash index file in Apache's format: header, slots, entries. It owns the bytes of that file and nothing else: which
// keys a message has, when a new file starts and when one expires is IndexService's part. Puts touch memory only (slot
// table and pending entries); `writeBack` brings them to the file. That is safe because both Apache and we throw away an
// index file that was not closed or filled, and rebuild it from the log.
//
//   0        8        16           24         32             36          40              40 + 4·slots
//   | begin  | end    | begin      | end      | hashSlot     | index     | slots: int32  | entries: 20 bytes each,
//   | stamp  | stamp  | phyOffset  | phyOffset| Count        | Count     | (entry index) | entry 0 is never used

import { readInt32, readInt64, utf8, writeInt32, writeInt64 } from "../base/bytes.ts";
import { StoreError } from "../base/errors.ts";
import type { FileHandle, FileSystem } from "../runtime/runtime.ts";
import { javaHashCode } from "./message_properties.ts";

const HEADER_SIZE = 40;
const SLOT_SIZE = 4;
const ENTRY_SIZE = 20;
const INT32_MAX = 0x7fff_ffff;
/** Entries held in memory before they go to the file: 160 KiB. */
const PENDING_ENTRIES_MAX = 8192;
/** Slots are written back in pages of this many. */
const SLOTS_PER_PAGE = 1024;

/** Shape of an index file; Apache's keys and defaults. */
export interface IndexFileShape {
  /** Slots of the hash table; 5,000,000 by default. */
  readonly maxHashSlotNum: number;
  /** Entries a file can hold, the unused entry 0 included; 20,000,000 by default. */
  readonly maxIndexNum: number;
}

/** Size in bytes of an index file of this shape. */
export function indexFileSize(shape: IndexFileShape): number {
  return HEADER_SIZE + shape.maxHashSlotNum * SLOT_SIZE + shape.maxIndexNum * ENTRY_SIZE;
}

/** One index file. Mirrors Apache's `IndexFile` with its `IndexHeader`. Methods throw {@link IoError} from the disk. */
export class IndexFile {
  readonly path: string;
  /** Store time of the first message indexed here, Unix ms; 0 when empty. */
  beginTimestamp = 0;
  /** Store time of the last message indexed here, Unix ms. */
  endTimestamp = 0;
  /** Log offset of the first message indexed here. */
  beginPhyOffset = 0;
  /** Log offset of the last message indexed here. */
  endPhyOffset = 0;
  /** Slots in use. */
  hashSlotCount = 0;
  /** Position of the next entry; starts at 1. */
  indexCount = 1;

  readonly #shape: IndexFileShape;
  readonly #fs: FileSystem;
  #handle: FileHandle | null;
  /** The slot table of a file being filled; null while nobody puts. */
  #slots: Int32Array | null = null;
  /** One byte per page of slots: 1 when it differs from the file. */
  #dirtySlotPages: Uint8Array | null = null;
  #pending: Uint8Array | null = null;
  /** Entry index of the first pending entry. */
  #pendingFrom = 1;
  #headerDirty = false;
  readonly #entryScratch = new Uint8Array(ENTRY_SIZE);

  private constructor(fs: FileSystem, path: string, handle: FileHandle, shape: IndexFileShape) {
    this.#fs = fs;
    this.path = path;
    this.#handle = handle;
    this.#shape = shape;
  }

  /**
   * Makes a file that goes on where `previous` ended: Apache presets the new header from it. `previous` is null for
   * the first. When it can't be made nothing is left behind.
   */
  static create(fs: FileSystem, path: string, shape: IndexFileShape, previous: IndexFile | null): IndexFile {
    const handle = fs.open(path, "create");
    const file = new IndexFile(fs, path, handle, shape);
    if (previous !== null) {
      file.beginPhyOffset = file.endPhyOffset = previous.endPhyOffset;
      file.beginTimestamp = file.endTimestamp = previous.endTimestamp;
    }
    file.#headerDirty = true;
    try {
      handle.truncate(indexFileSize(shape));
      file.#writeHeader();
    } catch (error) {
      file.destroy();
      throw error;
    }
    return file;
  }

  /**
   * Opens an existing file. One that is too short (a creation that was cut off) is lengthened, as Apache's mapping
   * does; one of another size throws {@link StoreError}.
   */
  static open(fs: FileSystem, path: string, shape: IndexFileShape): IndexFile {
    const handle = fs.open(path, "write");
    const file = new IndexFile(fs, path, handle, shape);
    try {
      file.#readHeader(handle, shape);
    } catch (error) {
      handle.close();
      throw error;
    }
    return file;
  }

  #readHeader(handle: FileHandle, shape: IndexFileShape): void {
    const size = handle.size();
    const wanted = indexFileSize(shape);
    if (size > wanted) {
      throw new StoreError(
        `Can't use index file "${this.path}": its size is ${size}, wanted ${wanted}; set maxHashSlotNum and maxIndexNum as they were`,
      );
    }
    if (size < wanted) handle.truncate(wanted);
    const header = new Uint8Array(HEADER_SIZE);
    handle.readAt(header, 0);
    this.beginTimestamp = readInt64(header, 0);
    this.endTimestamp = readInt64(header, 8);
    this.beginPhyOffset = readInt64(header, 16);
    this.endPhyOffset = readInt64(header, 24);
    this.hashSlotCount = readInt32(header, 32);
    // A count that can't be is damage: no entry lies beyond the file's end.
    this.indexCount = Math.min(Math.max(1, readInt32(header, 36)), shape.maxIndexNum);
    this.#pendingFrom = this.indexCount;
  }

  /** Whether no entry fits any more. */
  get isFull(): boolean {
    return this.indexCount >= this.#shape.maxIndexNum;
  }

  /** Adds an entry; false when the file is full. `keyHash` is from {@link indexKeyHash}. */
  putKey(keyHash: number, phyOffset: number, storeTimestamp: number): boolean {
    if (this.isFull) return false;
    const pending = this.#pendingWithRoom();
    const slots = this.#slots ??= this.#loadSlots();
    const slot = keyHash % this.#shape.maxHashSlotNum;
    let previous = slots[slot]!;
    if (previous <= 0 || previous > this.indexCount) previous = 0;

    const at = (this.indexCount - this.#pendingFrom) * ENTRY_SIZE;
    writeInt32(pending, at, keyHash);
    writeInt64(pending, at + 4, phyOffset);
    writeInt32(pending, at + 12, this.#timeDiff(storeTimestamp));
    writeInt32(pending, at + 16, previous);

    slots[slot] = this.indexCount;
    this.#dirtySlotPages![(slot / SLOTS_PER_PAGE) | 0] = 1;
    if (this.indexCount <= 1) {
      this.beginPhyOffset = phyOffset;
      this.beginTimestamp = storeTimestamp;
    }
    if (previous === 0) this.hashSlotCount++;
    this.indexCount++;
    this.endPhyOffset = phyOffset;
    this.endTimestamp = storeTimestamp;
    this.#headerDirty = true;
    return true;
  }

  /** Seconds since the file's begin, as an entry holds them. */
  #timeDiff(storeTimestamp: number): number {
    if (this.beginTimestamp <= 0) return 0;
    return Math.min(Math.max(Math.floor((storeTimestamp - this.beginTimestamp) / 1000), 0), INT32_MAX);
  }

  /** Whether this file may hold messages stored in `[begin, end]`. */
  isTimeMatched(begin: number, end: number): boolean {
    return begin <= this.endTimestamp && end >= this.beginTimestamp;
  }

  /**
   * Adds to `into` the log offsets of entries with this hash, newest first, stored in `[begin, end]` as far as an
   * entry's whole seconds can tell (so up to 999 ms before `begin`), until it holds `maxNum`. Hash collisions are not
   * filtered, an offset is not added twice.
   */
  selectPhyOffset(into: number[], keyHash: number, maxNum: number, begin: number, end: number): void {
    const slot = keyHash % this.#shape.maxHashSlotNum;
    let next = this.#slotValue(slot);
    while (next > 0 && next < this.indexCount && into.length < maxNum) {
      const entry = this.#entry(next);
      const timeDiff = readInt32(entry, 12);
      const storedFrom = this.beginTimestamp + timeDiff * 1000;
      if (timeDiff < 0 || storedFrom + 999 < begin) break;
      const phyOffset = readInt64(entry, 4);
      if (readInt32(entry, 0) === keyHash && storedFrom <= end && !into.includes(phyOffset)) into.push(phyOffset);
      const previous = readInt32(entry, 16);
      // A chain only ever points back; anything else is damage and would loop.
      if (previous >= next) break;
      next = previous;
    }
  }

  #slotValue(slot: number): number {
    if (this.#slots !== null) return this.#slots[slot]!;
    const bytes = this.#entryScratch.subarray(0, SLOT_SIZE);
    return this.#open().readAt(bytes, HEADER_SIZE + slot * SLOT_SIZE) === SLOT_SIZE ? readInt32(bytes, 0) : 0;
  }

  /** The bytes of an entry; valid until the next call. */
  #entry(index: number): Uint8Array {
    if (this.#pending !== null && index >= this.#pendingFrom) {
      const at = (index - this.#pendingFrom) * ENTRY_SIZE;
      return this.#pending.subarray(at, at + ENTRY_SIZE);
    }
    this.#open().readAt(this.#entryScratch, this.#entryPosition(index));
    return this.#entryScratch;
  }

  #entryPosition(index: number): number {
    return HEADER_SIZE + this.#shape.maxHashSlotNum * SLOT_SIZE + index * ENTRY_SIZE;
  }

  /** Pending entries with room for one more. Writing a full buffer out comes first: a failure changes nothing. */
  #pendingWithRoom(): Uint8Array {
    if (this.indexCount - this.#pendingFrom >= PENDING_ENTRIES_MAX) this.#writeEntries();
    return this.#pending ??= new Uint8Array(PENDING_ENTRIES_MAX * ENTRY_SIZE);
  }

  #loadSlots(): Int32Array {
    const count = this.#shape.maxHashSlotNum;
    const slots = new Int32Array(count);
    this.#dirtySlotPages = new Uint8Array(Math.ceil(count / SLOTS_PER_PAGE));
    if (this.indexCount <= 1) return slots;
    const chunk = new Uint8Array(64 * 1024);
    for (let from = 0; from < count; from += chunk.length / SLOT_SIZE) {
      const bytes = chunk.subarray(0, Math.min(chunk.length, (count - from) * SLOT_SIZE));
      this.#open().readAt(bytes, HEADER_SIZE + from * SLOT_SIZE);
      for (let at = 0, slot = from; at < bytes.length; at += SLOT_SIZE, slot++) slots[slot] = readInt32(bytes, at);
    }
    return slots;
  }

  /** Brings everything put so far to the file (not yet to the disk). */
  writeBack(): void {
    this.#writeEntries();
    this.#writeSlots();
    this.#writeHeader();
  }

  #writeEntries(): void {
    const count = this.indexCount - this.#pendingFrom;
    if (count === 0) return;
    this.#open().writeAt(this.#pending!.subarray(0, count * ENTRY_SIZE), this.#entryPosition(this.#pendingFrom));
    this.#pendingFrom = this.indexCount;
    // Entries on the file make it one that load after an unclean exit has to drop: the header says so. That of a full
    // file waits for its slots, see seal.
    if (!this.isFull) this.#writeHeader();
  }

  #writeSlots(): void {
    const slots = this.#slots;
    const dirty = this.#dirtySlotPages;
    if (slots === null || dirty === null) return;
    const bytes = new Uint8Array(SLOTS_PER_PAGE * SLOT_SIZE);
    for (let page = dirty.indexOf(1); page !== -1; page = dirty.indexOf(1, page + 1)) {
      const from = page * SLOTS_PER_PAGE;
      const count = Math.min(SLOTS_PER_PAGE, slots.length - from);
      for (let i = 0; i < count; i++) writeInt32(bytes, i * SLOT_SIZE, slots[from + i]!);
      this.#open().writeAt(bytes.subarray(0, count * SLOT_SIZE), HEADER_SIZE + from * SLOT_SIZE);
      dirty[page] = 0;
    }
  }

  #writeHeader(): void {
    if (!this.#headerDirty) return;
    const header = new Uint8Array(HEADER_SIZE);
    writeInt64(header, 0, this.beginTimestamp);
    writeInt64(header, 8, this.endTimestamp);
    writeInt64(header, 16, this.beginPhyOffset);
    writeInt64(header, 24, this.endPhyOffset);
    writeInt32(header, 32, this.hashSlotCount);
    writeInt32(header, 36, this.indexCount);
    this.#open().writeAt(header, 0);
    this.#headerDirty = false;
  }

  /** A sync that failed is not to be tried again: the next one may say that all is well. Throws {@link StoreError}. */
  #sync(): void {
    try {
      this.#open().syncBlocking();
    } catch (error) {
      throw new StoreError(`Sync of index file "${this.path}" failed; what is on the disk is unknown`, {
        cause: error,
      });
    }
  }

  /**
   * Writes back and syncs; blocks. Gives back the memory puts need: call it when the file is full or at shutdown. The
   * header comes last: a file that says it is full holds all its entries and slots, whatever a loss of power took.
   */
  seal(): void {
    this.#writeEntries();
    this.#writeSlots();
    this.#sync();
    if (this.#headerDirty) {
      this.#writeHeader();
      this.#sync();
    }
    this.#slots = this.#dirtySlotPages = null;
    this.#pending = null;
  }

  /**
   * Takes back every entry of a message at or beyond `phyOffset`, newest first, as if it had never been put (`endTimestamp`
   * rounded up to the second). For a log that was cut: Apache leaves such entries, and then skips new messages below them.
   */
  truncate(phyOffset: number): void {
    if (this.endPhyOffset < phyOffset || this.indexCount <= 1) return;
    const slots = this.#slots ??= this.#loadSlots();
    this.#writeEntries();
    while (this.indexCount > 1) {
      const entry = this.#entry(this.indexCount - 1);
      this.endPhyOffset = readInt64(entry, 4);
      this.endTimestamp = this.beginTimestamp + readInt32(entry, 12) * 1000 + 999;
      if (this.endPhyOffset < phyOffset) break;
      const slot = readInt32(entry, 0) % this.#shape.maxHashSlotNum;
      slots[slot] = readInt32(entry, 16);
      this.#dirtySlotPages![(slot / SLOTS_PER_PAGE) | 0] = 1;
      if (slots[slot] === 0) this.hashSlotCount--;
      this.indexCount--;
    }
    if (this.indexCount <= 1) {
      this.beginTimestamp = this.endTimestamp = 0;
      this.beginPhyOffset = this.endPhyOffset = 0;
    }
    this.#pendingFrom = this.indexCount;
    this.#headerDirty = true;
    // Whoever finds it half cut must see that it is not full.
    this.#writeHeader();
    this.#sync();
    this.#writeSlots();
  }

  /** Closes the file without writing anything back. Idempotent. */
  close(): void {
    this.#handle?.close();
    this.#handle = null;
  }

  /** Closes and removes the file. */
  destroy(): void {
    this.close();
    this.#fs.remove(this.path);
  }

  #open(): FileHandle {
    if (this.#handle === null) throw new StoreError(`Index file "${this.path}" is closed`);
    return this.#handle;
  }
}

/** Java's `String.hashCode` of UTF-8 text in `[from, to)`, without making a string of plain ASCII, continued from `hash`. */
export function javaHashCodeOfUtf8(bytes: Uint8Array, from: number, to: number, hash = 0): number {
  let result = hash;
  for (let i = from; i < to; i++) {
    const byte = bytes[i]!;
    if (byte >= 0x80) return continueHash(hash, utf8.decode(bytes.subarray(from, to)));
    result = (Math.imul(result, 31) + byte) | 0;
  }
  return result;
}

function continueHash(hash: number, text: string): number {
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** The hash an entry holds: absolute, and 0 for the one value without a positive. Mirrors `indexKeyHashMethod`. */
export function absoluteHash(hash: number): number {
  const absolute = Math.abs(hash);
  return absolute > INT32_MAX ? 0 : absolute;
}

/** Hash of the key string `topic#key`. */
export function indexKeyHash(topic: string, key: string): number {
  return absoluteHash(javaHashCode(`${topic}#${key}`));
}
