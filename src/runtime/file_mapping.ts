// Reads of large files from where they are mapped into memory: a copy instead of a call of the kernel. A page that the page
// cache lacks would hold up the event loop for as long as the disk takes, and end the process (SIGBUS) if the disk fails,
// so nothing is read from a mapping but what the kernel said a moment ago that it holds. Pages that went within that moment
// are what is left of both.

import type { LibC, MappedMemory } from "./libc.ts";

/** The kernel is asked about so much at once... */
const CHUNK_SIZE = 256 * 1024;
/** ...and what it said holds so long, ms: what was just looked at is the last that it gives away. */
const TRUSTED_MS = 500;
/** Of all files: page tables take 2 MiB for each GiB that was touched, and who looks for memory counts what is mapped. */
const MAPPED_BYTES_MAX = 8 * 1024 ** 3;
/** A mapping that was used since gives no way to another, ms: to let go of a GiB takes milliseconds, as to touch it again. */
const IDLE_MS = 10_000;
/** Room is not looked for again so soon, ms. */
const FULL_MS = 1000;

/** One file. */
export class FileMapping {
  /** Bytes from the file's front that it shows. */
  readonly length: number;
  readonly #pageSize: number;
  /** For answers of the kernel. */
  readonly #pages: Uint8Array;
  /** When a chunk was asked for, by {@link #now}... */
  readonly #askedAt: Float64Array;
  /** ...and how many bytes from its front were held. */
  readonly #held: Uint32Array;
  /** ms. */
  readonly #now: () => number;
  #memory: MappedMemory | null;
  /** By {@link #now}. */
  usedAt: number;

  constructor(memory: MappedMemory, length: number, pageSize: number, now: () => number) {
    const chunks = Math.ceil(length / CHUNK_SIZE);
    this.length = length;
    this.#memory = memory;
    this.#pageSize = pageSize;
    this.#pages = new Uint8Array(CHUNK_SIZE / pageSize);
    this.#askedAt = new Float64Array(chunks);
    this.#held = new Uint32Array(chunks);
    this.#now = now;
    this.usedAt = now();
  }

  get isOpen(): boolean {
    return this.#memory !== null;
  }

  /** Fills `target`, which must not go over the end, if the page cache holds all of that. */
  read(target: Uint8Array, offset: number): boolean {
    const memory = this.#memory;
    if (memory === null) return false;
    const now = this.#now();
    const end = offset + target.length;
    for (let chunk = Math.floor(offset / CHUNK_SIZE); chunk * CHUNK_SIZE < end; chunk++) {
      const start = chunk * CHUNK_SIZE;
      const to = Math.min(end - start, CHUNK_SIZE);
      if (this.#heldOf(memory, chunk, now) >= to) continue;
      if (!this.#isPartHeld(memory, chunk, Math.max(offset - start, 0), to)) return false;
    }
    memory.copyTo(target, offset);
    this.usedAt = now;
    return true;
  }

  /** Bytes of a chunk's front that are held. */
  #heldOf(memory: MappedMemory, chunk: number, now: number): number {
    const age = now - this.#askedAt[chunk]!;
    if (age >= 0 && age < TRUSTED_MS) return this.#held[chunk]!;
    const start = chunk * CHUNK_SIZE;
    const size = Math.min(CHUNK_SIZE, this.length - start);
    this.#askedAt[chunk] = now;
    return this.#held[chunk] = Math.min(size, this.#heldPages(memory, start, size) * this.#pageSize);
  }

  /** A part behind that: what was written since, where the file grows, or lies apart. */
  #isPartHeld(memory: MappedMemory, chunk: number, from: number, to: number): boolean {
    const start = from - from % this.#pageSize;
    const held = start + this.#heldPages(memory, chunk * CHUNK_SIZE + start, to - start) * this.#pageSize;
    if (held < to) return false;
    if (start <= this.#held[chunk]!) this.#held[chunk] = held;
    return true;
  }

  /** How many of the pages of a range, which begins with one, are held before the first that isn't. */
  #heldPages(memory: MappedMemory, offset: number, length: number): number {
    if (!memory.residency(offset, length, this.#pages)) return 0;
    const count = Math.ceil(length / this.#pageSize);
    for (let page = 0; page < count; page++) if ((this.#pages[page]! & 1) === 0) return page;
    return count;
  }

  close(): void {
    this.#memory?.unmap();
    this.#memory = null;
  }
}

/** The mappings of all files, bounded in bytes: one that was long unused makes room. */
export class FileMappings {
  readonly #open = new Set<FileMapping>();
  readonly #now: () => number;
  /** When there was no room. */
  #fullAt = -Infinity;

  /** `now`: ms, maybe set back. Asked at each read, so it is the clock that costs least. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Whether as much may be mapped now; closes others for that. */
  hasRoom(length: number): boolean {
    const now = this.#now();
    if (length > MAPPED_BYTES_MAX || Math.abs(now - this.#fullAt) < FULL_MS) return false;
    let bytes = length;
    const idle: FileMapping[] = [];
    for (const mapping of this.#open) {
      if (!mapping.isOpen) {
        this.#open.delete(mapping);
        continue;
      }
      bytes += mapping.length;
      if (Math.abs(now - mapping.usedAt) >= IDLE_MS) idle.push(mapping);
    }
    if (bytes - idle.reduce((sum, mapping) => sum + mapping.length, 0) > MAPPED_BYTES_MAX) {
      this.#fullAt = now;
      return false;
    }
    idle.sort((a, b) => a.usedAt - b.usedAt);
    for (let index = 0; bytes > MAPPED_BYTES_MAX; index++) {
      const mapping = idle[index]!;
      mapping.close();
      this.#open.delete(mapping);
      bytes -= mapping.length;
    }
    return true;
  }

  /** Maps the first `length` bytes of a file; null where that fails. */
  map(libc: Pick<LibC, "map" | "pageSize">, fd: number, length: number): FileMapping | null {
    const memory = libc.map(fd, length);
    if (memory === null) return null;
    const mapping = new FileMapping(memory, length, libc.pageSize, this.#now);
    this.#open.add(mapping);
    return mapping;
  }
}
