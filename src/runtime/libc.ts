// Two calls on files that node:fs lacks, asked of the C library where a runtime can (Deno's and Bun's FFI), on Linux. An
// adapter opens the library; node_fs.ts decides when to ask it.

import fs from "node:fs";

/** The calls. `mode` and `whence` are Linux's numbers. */
export interface LibC {
  /** 0, or -1 for a failure. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** The position; for a failure -1, and then {@link errno} says which. */
  lseek(fd: number, offset: number, whence: number): number;
  errno(): number;
}

/** The same as an FFI brings them. */
export interface LibCSymbols {
  fallocate(fd: number, mode: number, offset: bigint, length: bigint): number;
  lseek(fd: number, offset: bigint, whence: number): bigint;
}

/** Names of the library on Linux, glibc's and musl's; elsewhere none of them is found, and nothing here is used. */
const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const FALLOC_FL_KEEP_SIZE = 1;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;
/** A file in more pieces than this is read instead. */
const HOLES_MAX = 1024;

/** The library by the name under which `open` finds it (it throws for others); null where there is none to be used. */
export function findLibC(open: (name: string) => { symbols: LibCSymbols; errno(): number }): LibC | null {
  for (const name of LIBC_NAMES) {
    try {
      const { symbols, errno } = open(name);
      if (!takesDescriptors()) return null;
      return {
        fallocate: (fd, mode, offset, length) => symbols.fallocate(fd, mode, BigInt(offset), BigInt(length)),
        lseek: (fd, offset, whence) => Number(symbols.lseek(fd, BigInt(offset), whence)),
        errno,
      };
    } catch {
      // The next name.
    }
  }
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
