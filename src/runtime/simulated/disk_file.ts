// The content of one simulated file: what programs see (current), what survives a loss of power (durable), and what is
// in between, kept in pages so that sparse files of any size cost what was written. It decides nothing about faults or
// time; the disk (disk.ts) calls it.

import type { Prng } from "./prng.ts";

/** Unit of allocation and of write-back, bytes. */
export const PAGE_SIZE = 4096;
/** What a disk writes wholly or not at all, bytes. */
export const SECTOR_SIZE = 512;
const SECTORS_PER_PAGE = PAGE_SIZE / SECTOR_SIZE;
const ALL_SECTORS = (1 << SECTORS_PER_PAGE) - 1;

/** What a loss of power does to unsynced bytes: none lost, all lost, or some, sector by sector. */
export type CrashMode = "keep" | "drop" | "tear";

/** Pages on their way to the disk: one sync that has not ended. `null` is a hole. */
interface SyncBatch {
  readonly pages: Map<number, { readonly bytes: Uint8Array | null; readonly sectors: number }>;
  readonly size: number;
  isDone: boolean;
}

/** A sync under way, to be ended by {@link DiskFile.endSync} or {@link DiskFile.failSync}. */
export type SyncTicket = SyncBatch;

/** One file's pages. */
export class DiskFile {
  /** Directory entries that lead here, as programs see them. */
  linkCount = 0;
  /** Open handles. */
  openCount = 0;
  /** Last modification, Unix ms of the host. */
  modifiedMs: number;
  #size = 0;
  #durableSize = 0;
  #pages = new Map<number, Uint8Array>();
  #durable = new Map<number, Uint8Array>();
  /** Unsynced sectors, as a bit mask per page. A page in here has an array of its own in `#pages`. */
  #dirty = new Map<number, number>();
  #batches: SyncBatch[] = [];
  /** Sectors whose write-back failed: the kernel holds them for clean, the disk may never see them. */
  #orphaned = new Map<number, number>();
  readonly #onPages: (delta: number) => void;

  /** `onPages` hears of pages taken and given back. */
  constructor(modifiedMs: number, onPages: (delta: number) => void) {
    this.modifiedMs = modifiedMs;
    this.#onPages = onPages;
  }

  get size(): number {
    return this.#size;
  }

  /** Size that a loss of power now leaves at least when everything unsynced is dropped. */
  get durableSize(): number {
    return this.#durableSize;
  }

  /** Pages held, without holes. */
  get pageCount(): number {
    return this.#pages.size;
  }

  /** Pages with unsynced bytes. */
  get dirtyPageCount(): number {
    return this.#dirty.size;
  }

  /** Indexes of the pages held, ascending. */
  pageIndexes(): number[] {
    return [...this.#pages.keys()].sort((a, b) => a - b);
  }

  /** Copies of all pages. */
  copyPages(): Map<number, Uint8Array> {
    return new Map([...this.#pages].map(([index, page]) => [index, page.slice()]));
  }

  /** The content of a new file: copies of `pages`, on the disk already. */
  fill(size: number, pages: ReadonlyMap<number, Uint8Array>): void {
    for (const [index, page] of pages) {
      const copy = page.slice();
      this.#pages.set(index, copy);
      this.#durable.set(index, copy);
      this.#onPages(1);
    }
    this.#size = this.#durableSize = size;
  }

  /** Whether writing here would take a new page. */
  isHole(pageIndex: number): boolean {
    return !this.#pages.has(pageIndex);
  }

  read(target: Uint8Array, offset: number): number {
    const count = Math.max(0, Math.min(target.length, this.#size - offset));
    for (let done = 0; done < count;) {
      const pageIndex = Math.floor((offset + done) / PAGE_SIZE);
      const inPage = offset + done - pageIndex * PAGE_SIZE;
      const length = Math.min(PAGE_SIZE - inPage, count - done);
      const page = this.#pages.get(pageIndex);
      if (page === undefined) target.fill(0, done, done + length);
      else target.set(page.subarray(inPage, inPage + length), done);
      done += length;
    }
    return count;
  }

  /** Writes and grows. `writeBack(pageIndex)` true: the page's older unsynced bytes reach the disk before. */
  write(bytes: Uint8Array, offset: number, writeBack: () => boolean): void {
    for (let done = 0; done < bytes.length;) {
      const pageIndex = Math.floor((offset + done) / PAGE_SIZE);
      const inPage = offset + done - pageIndex * PAGE_SIZE;
      const length = Math.min(PAGE_SIZE - inPage, bytes.length - done);
      if (this.#dirty.has(pageIndex) && writeBack()) this.#writeBack(pageIndex);
      this.#ownPage(pageIndex, sectorMask(inPage, length)).set(bytes.subarray(done, done + length), inPage);
      done += length;
    }
    this.#size = Math.max(this.#size, offset + bytes.length);
  }

  /** Sets the size; what is cut off is gone, what is new is a hole. */
  truncate(size: number): void {
    if (size < this.#size) {
      const keptPages = Math.floor((size + PAGE_SIZE - 1) / PAGE_SIZE);
      const inPage = size % PAGE_SIZE;
      if (inPage > 0 && this.#pages.has(keptPages - 1)) {
        this.#ownPage(keptPages - 1, sectorMask(inPage, PAGE_SIZE - inPage)).fill(0, inPage);
      }
      for (const pageIndex of this.#pages.keys()) {
        if (pageIndex < keptPages) continue;
        this.#pages.delete(pageIndex);
        this.#onPages(-1);
        if (this.#isOnDisk(pageIndex)) this.#dirty.set(pageIndex, ALL_SECTORS);
        else this.#dirty.delete(pageIndex);
      }
    }
    this.#size = size;
  }

  /** Takes everything unsynced, as it is now, on its way to the disk. */
  beginSync(): SyncTicket {
    const batch: SyncBatch = { pages: new Map(), size: this.#size, isDone: false };
    for (const [pageIndex, sectors] of this.#dirty) {
      batch.pages.set(pageIndex, { bytes: this.#pages.get(pageIndex) ?? null, sectors });
    }
    this.#dirty.clear();
    this.#batches.push(batch);
    return batch;
  }

  /** The disk has this batch, and those begun before it. */
  endSync(ticket: SyncTicket): void {
    if (ticket.isDone) return;
    for (let batch = this.#batches.shift(); batch !== undefined; batch = this.#batches.shift()) {
      batch.isDone = true;
      this.#durableSize = batch.size;
      for (const [pageIndex, page] of batch.pages) {
        this.#orphaned.delete(pageIndex);
        if (page.bytes === null) this.#durable.delete(pageIndex);
        else this.#durable.set(pageIndex, page.bytes);
      }
      if (batch === ticket) return;
    }
  }

  /** The disk refused the batch. As on Linux, its pages now count as clean: a later sync succeeds without them. */
  failSync(ticket: SyncTicket): void {
    if (ticket.isDone) return;
    ticket.isDone = true;
    this.#batches = this.#batches.filter((batch) => batch !== ticket);
    for (const [pageIndex, page] of ticket.pages) {
      this.#orphaned.set(pageIndex, (this.#orphaned.get(pageIndex) ?? 0) | page.sectors);
    }
  }

  /** Flips one bit, on the disk and in memory: decay that no write caused. The page must be held. */
  flipBit(offset: number, bit: number): void {
    const pageIndex = Math.floor(offset / PAGE_SIZE);
    const inPage = offset - pageIndex * PAGE_SIZE;
    const current = this.#pages.get(pageIndex);
    if (current === undefined) return;
    current[inPage]! ^= 1 << bit;
    const durable = this.#durable.get(pageIndex);
    if (durable !== undefined && durable !== current) durable[inPage]! ^= 1 << bit;
  }

  /** Loss of power: what the disk holds becomes the content. Returns how many unsynced sectors were lost, and kept. */
  crash(mode: CrashMode, prng: Prng): { lost: number; kept: number } {
    const size = this.#drawSize(mode, prng);
    const cutPage = this.#drawCut(mode, prng);
    const count = { lost: 0, kept: 0 };
    for (const pageIndex of this.#unsyncedPages()) this.#crashPage(pageIndex, mode, cutPage, prng, count);
    this.#dirty.clear();
    this.#batches = [];
    this.#orphaned.clear();
    this.#durableSize = size;
    this.#trimDurable(size);
    const before = this.#pages.size;
    this.#pages = new Map(this.#durable);
    this.#onPages(this.#pages.size - before);
    this.#size = size;
    return count;
  }

  /** The page's array, which only programs see, marked unsynced. */
  #ownPage(pageIndex: number, sectors: number): Uint8Array {
    const mask = this.#dirty.get(pageIndex);
    let page = this.#pages.get(pageIndex);
    if (page === undefined) {
      page = new Uint8Array(PAGE_SIZE);
      this.#pages.set(pageIndex, page);
      this.#onPages(1);
    } else if (mask === undefined) {
      page = page.slice();
      this.#pages.set(pageIndex, page);
    }
    this.#dirty.set(pageIndex, (mask ?? 0) | sectors);
    return page;
  }

  /** The kernel writes a page by itself, long before anybody syncs. */
  #writeBack(pageIndex: number): void {
    const page = this.#pages.get(pageIndex);
    if (page === undefined) return;
    this.#durable.set(pageIndex, page.slice());
    this.#durableSize = Math.max(this.#durableSize, Math.min(this.#size, (pageIndex + 1) * PAGE_SIZE));
  }

  #isOnDisk(pageIndex: number): boolean {
    return this.#durable.has(pageIndex) || this.#batches.some((batch) => batch.pages.has(pageIndex));
  }

  #unsyncedPages(): number[] {
    const indexes = new Set([...this.#dirty.keys(), ...this.#orphaned.keys()]);
    for (const batch of this.#batches) for (const pageIndex of batch.pages.keys()) indexes.add(pageIndex);
    return [...indexes].sort((a, b) => a - b);
  }

  #drawSize(mode: CrashMode, prng: Prng): number {
    const [low, high] = [Math.min(this.#durableSize, this.#size), Math.max(this.#durableSize, this.#size)];
    if (mode === "keep") return this.#size;
    if (mode === "drop" || low === high) return this.#durableSize;
    if (this.#size < this.#durableSize) return prng.nextInt(2) === 0 ? low : high;
    const pagesBetween = Math.floor((high - low) / PAGE_SIZE);
    const grown = low + prng.nextInt(pagesBetween + 1) * PAGE_SIZE;
    return prng.nextInt(2) === 0 ? high : Math.min(high, grown);
  }

  /** Half of the torn files lose a tail, as logs do; the others lose sectors anywhere (null). */
  #drawCut(mode: CrashMode, prng: Prng): number | null {
    const pages = this.#unsyncedPages();
    if (mode !== "tear" || pages.length === 0 || prng.nextInt(2) === 0) return null;
    return pages[prng.nextInt(pages.length)]!;
  }

  #crashPage(
    pageIndex: number,
    mode: CrashMode,
    cutPage: number | null,
    prng: Prng,
    count: { lost: number; kept: number },
  ): void {
    const durable = this.#durable.get(pageIndex) ?? null;
    const orphaned = this.#orphaned.get(pageIndex) ?? 0;
    const inFlight = this.#batches.flatMap((batch) => batch.pages.get(pageIndex) ?? []);
    let unsynced = (this.#dirty.get(pageIndex) ?? 0) | orphaned;
    for (const page of inFlight) unsynced |= page.sectors;
    const versions = [durable, ...inFlight.map((page) => page.bytes), this.#pages.get(pageIndex) ?? null];
    const newest = versions.length - 1;
    const result = new Uint8Array(PAGE_SIZE);
    if (durable !== null) result.set(durable);
    for (let sector = 0; sector < SECTORS_PER_PAGE; sector++) {
      if ((unsynced & (1 << sector)) === 0) continue;
      let version = mode === "keep" ? newest : 0;
      if ((orphaned & (1 << sector)) !== 0) version = prng.nextInt(2) * newest;
      else if (mode === "tear") {
        if (cutPage === null || pageIndex === cutPage) version = prng.nextInt(versions.length);
        else version = pageIndex < cutPage ? newest : 0;
      }
      if (version !== newest) count.lost++;
      else count.kept++;
      const [from, to] = [sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE];
      const bytes = versions[version] ?? null;
      if (bytes === null) result.fill(0, from, to);
      else result.set(bytes.subarray(from, to), from);
    }
    if (result.some((byte) => byte !== 0)) this.#durable.set(pageIndex, result);
    else this.#durable.delete(pageIndex);
  }

  /** Nothing lies behind the end of a file. */
  #trimDurable(size: number): void {
    for (const [pageIndex, page] of this.#durable) {
      const start = pageIndex * PAGE_SIZE;
      if (start >= size) this.#durable.delete(pageIndex);
      else if (start + PAGE_SIZE > size && page.subarray(size - start).some((byte) => byte !== 0)) {
        const trimmed = page.slice();
        trimmed.fill(0, size - start);
        this.#durable.set(pageIndex, trimmed);
      }
    }
  }
}

function sectorMask(inPage: number, length: number): number {
  const first = Math.floor(inPage / SECTOR_SIZE);
  const last = Math.floor((inPage + length - 1) / SECTOR_SIZE);
  return ((1 << (last + 1)) - 1) & ~((1 << first) - 1);
}
