// Calls on files that node:fs lacks, asked of the C library where a runtime can (Deno's and Bun's FFI), on Linux. An
// adapter opens the library; node_fs.ts and file_mapping.ts decide when to ask it.

import fs from "node:fs";

/** The calls. `mode` and `whence` are Linux's numbers. */
export interface LibC {
  /** 0, or -1 for a failure. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** The position; for a failure -1, and then {@link errno} says which. */
  lseek(fd: number, offset: number, whence: number): number;
  errno(): number;
  /** The first `length` bytes of a file, as all see them who write to it; null for a failure. */
  map(fd: number, length: number): MappedMemory | null;
  /** Bytes. */
  readonly pageSize: number;
}

/** A file in the process's memory. Whoever goes over its end, or on after {@link unmap}, ends the process (SIGSEGV). */
export interface MappedMemory {
  /** Fills `target` from `offset`. Waits for the disk where the page cache lacks a page, and if that fails, it is SIGBUS. */
  copyTo(target: Uint8Array, offset: number): void;
  /** Whether the page cache holds each page from `offset`, a page's start: bit 0 of a byte of `pages` each. False: failed. */
  residency(offset: number, length: number, pages: Uint8Array): boolean;
  unmap(): void;
}

/** The same as an FFI brings them. Addresses are numbers, which hold those of all machines that these runtimes are made for. */
export interface LibCSymbols {
  fallocate(fd: number, mode: number, offset: bigint, length: bigint): number;
  lseek(fd: number, offset: bigint, whence: number): bigint;
  getpagesize(): number;
  /** An address, or what stands for a failure: none. */
  mmap(address: number, length: number, protection: number, flags: number, fd: number, offset: number): number | bigint;
  munmap(address: number, length: number): number;
  mincore(address: number, length: number, pages: Uint8Array): number;
}

/** What an adapter opened. */
export interface OpenedLibC {
  readonly symbols: LibCSymbols;
  errno(): number;
  /** A `memcpy` whose sources begin at `address`, by the fastest way the FFI has. */
  copierFrom(address: number): MappedMemory["copyTo"];
}

/** Names of the library on Linux, glibc's and musl's; elsewhere none of them is found, and nothing here is used. */
const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const FALLOC_FL_KEEP_SIZE = 1;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;
const PROT_READ = 1;
const MAP_SHARED = 1;
/** A file in more pieces than this is read instead. */
const HOLES_MAX = 1024;

/** The library by the name under which `open` finds it (it throws for others); null where there is none to be used. */
export function findLibC(open: (name: string) => OpenedLibC): LibC | null {
  for (const name of LIBC_NAMES) {
    try {
      const opened = open(name);
      const { symbols, errno } = opened;
      if (!takesDescriptors()) return null;
      return {
        fallocate: (fd, mode, offset, length) => symbols.fallocate(fd, mode, BigInt(offset), BigInt(length)),
        lseek: (fd, offset, whence) => Number(symbols.lseek(fd, BigInt(offset), whence)),
        errno,
        map: (fd, length) => map(opened, fd, length),
        pageSize: symbols.getpagesize(),
      };
    } catch {
      // The next name.
    }
  }
  return null;
}

function map({ symbols, copierFrom }: OpenedLibC, fd: number, length: number): MappedMemory | null {
  const address = Number(symbols.mmap(0, length, PROT_READ, MAP_SHARED, fd, 0));
  if (!Number.isSafeInteger(address) || address <= 0) return null;
  const memory: MappedMemory = {
    copyTo: copierFrom(address),
    residency: (offset, size, pages) => symbols.mincore(address + offset, size, pages) === 0,
    unmap: () => void symbols.munmap(address, length),
  };
  // A sandbox may forbid to ask.
  if (memory.residency(0, 1, new Uint8Array(1))) return memory;
  memory.unmap();
  return null;
}

/** Whether the library understands by a descriptor what `node:fs` does: a runtime's may be numbers of its own. */
function takesDescriptors(): boolean {
  const fd = fs.openSync("/dev/null", "r");
  try {
    return fs.readlinkSync(`/proc/self/fd/${fd}`) === "/dev/null";
  } finally {
    fs.closeSync(fd);
  }
}

/** Has the range's blocks found; the file's size stays. What fails is left out. */
export function allocate(libc: LibC, fd: number, offset: number, length: number): void {
  libc.fallocate(fd, FALLOC_FL_KEEP_SIZE, offset, length);
}

/** Where the last hole of a file begins, at or behind `from`; `size` when it can't be told, or when there is none. */
export function lastHole(libc: LibC, fd: number, from: number, size: number): number {
  let hole = from;
  for (let i = 0; i < HOLES_MAX; i++) {
    const data = libc.lseek(fd, hole, SEEK_DATA);
    // Only this failure means that there is no data from here on.
    if (data < 0) return libc.errno() === ENXIO ? Math.min(hole, size) : size;
    hole = libc.lseek(fd, data, SEEK_HOLE);
    if (hole < 0 || hole >= size) return size;
  }
  return size;
}
