// Reads of large files from where they are mapped into memory: a copy instead of a call of the kernel. A page that the page
// cache lacks would hold up the event loop for as long as the disk takes, and end the process (SIGBUS) if the disk fails,
// so nothing is read from a mapping but what the kernel said a moment ago that it holds.

import type { LibC, MappedMemory } from "./libc.ts";

/** The kernel is asked about so much at once... */
const CHUNK_SIZE = 256 * 1024;
/** ...and what it said holds so long, ms: what was just looked at is the last that it gives away. */
const TRUSTED_MS = 500;
/** Of all files: page tables take 2 MiB for each GiB that was touched. */
const MAPPED_BYTES_MAX = 16 * 1024 ** 3;

/** One file. */
export class FileMapping {
  /** Bytes from the file's front that it shows. */
  readonly length: number;
  readonly #pageSize: number;
  /** For answers of the kernel. */
  readonly #pages: Uint8Array;
  /** When a chunk was asked for, by {@link #now}: negative where not all of it was held. */
  readonly #askedAt: Float64Array;
  /** ms. */
  readonly #now: () => number;
  #memory: MappedMemory | null;
  /** By {@link #now}. */
  usedAt: number;

  constructor(memory: MappedMemory, length: number, pageSize: number, now: () => number) {
    this.length = length;
    this.#memory = memory;
    this.#pageSize = pageSize;
    this.#now = now;
    this.#pages = new Uint8Array(CHUNK_SIZE / pageSize);
    this.#askedAt = new Float64Array(Math.ceil(length / CHUNK_SIZE));
    this.usedAt = now();
  }

  get isOpen(): boolean {
    return this.#memory !== null;
  }

  /**
   * Fills `target`, which must not go over the end, if the page cache holds all of that; `isCached`: the caller knows that
   * it does.
   */
  read(target: Uint8Array, offset: number, isCached: boolean): boolean {
    const memory = this.#memory;
    if (memory === null || !(isCached || this.#isHeld(memory, offset, offset + target.length))) return false;
    memory.copyTo(target, offset);
    return true;
  }

  #isHeld(memory: MappedMemory, from: number, to: number): boolean {
    const now = this.#now();
    this.usedAt = now;
    for (let chunk = Math.floor(from / CHUNK_SIZE); chunk * CHUNK_SIZE < to; chunk++) {
      if (this.#isChunkHeld(memory, chunk, now)) continue;
      const start = chunk * CHUNK_SIZE;
      if (!this.#arePagesHeld(memory, Math.max(from, start), Math.min(to, start + CHUNK_SIZE))) return false;
    }
    return true;
  }

  #isChunkHeld(memory: MappedMemory, chunk: number, now: number): boolean {
    const askedAt = this.#askedAt[chunk]!;
    const age = now - Math.abs(askedAt);
    if (age >= 0 && age < TRUSTED_MS) return askedAt > 0;
    const start = chunk * CHUNK_SIZE;
    const isHeld = this.#arePagesHeld(memory, start, Math.min(start + CHUNK_SIZE, this.length));
    this.#askedAt[chunk] = isHeld ? now : -now;
    return isHeld;
  }

  /** Of one chunk. */
  #arePagesHeld(memory: MappedMemory, from: number, to: number): boolean {
    const start = from - from % this.#pageSize;
    if (!memory.residency(start, to - start, this.#pages)) return false;
    const count = Math.ceil((to - start) / this.#pageSize);
    for (let page = 0; page < count; page++) if ((this.#pages[page]! & 1) === 0) return false;
    return true;
  }

  close(): void {
    this.#memory?.unmap();
    this.#memory = null;
  }
}

/** The mappings of all files, bounded in bytes: the least recently used goes first. */
export class FileMappings {
  readonly #open = new Set<FileMapping>();
  readonly #now: () => number;

  /** `now`: ms, maybe set back. Asked at each read, so it is the clock that costs least. */
  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  /** Maps the first `length` bytes of a file; null where that fails. */
  map(libc: Pick<LibC, "map" | "pageSize">, fd: number, length: number): FileMapping | null {
    const memory = libc.map(fd, length);
    if (memory === null) return null;
    const mapping = new FileMapping(memory, length, libc.pageSize, this.#now);
    this.#open.add(mapping);
    this.#closeOldest(mapping);
    return mapping;
  }

  /** But for the newest. */
  #closeOldest(newest: FileMapping): void {
    let bytes = 0;
    for (const mapping of this.#open) {
      if (mapping.isOpen) bytes += mapping.length;
      else this.#open.delete(mapping);
    }
    while (bytes > MAPPED_BYTES_MAX && this.#open.size > 1) {
      let oldest: FileMapping | null = null;
      for (const mapping of this.#open) {
        if (mapping !== newest && (oldest === null || mapping.usedAt < oldest.usedAt)) oldest = mapping;
      }
      oldest!.close();
      this.#open.delete(oldest!);
      bytes -= oldest!.length;
    }
  }
}
