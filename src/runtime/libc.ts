// Calls on files that node:fs lacks, asked of the C library where a runtime can (Deno's and Bun's FFI), on Linux. An
// adapter opens the library; node_fs.ts decides when to ask it.

import fs from "node:fs";

/** The calls. `mode` and `whence` are Linux's numbers. */
export interface LibC {
  /** 0, or -1 for a failure. */
  fallocate(fd: number, mode: number, offset: number, length: number): number;
  /** The position; for a failure -1, and then {@link errno} says which. */
  lseek(fd: number, offset: number, whence: number): number;
  errno(): number;
  /** Bytes read into `target`; -1 for a failure. Null where the library has no such call. */
  readonly preadv2: ((fd: number, target: Uint8Array, offset: number, flags: number) => number) | null;
}

/** The same as an FFI brings them. */
export interface LibCSymbols {
  fallocate(fd: number, mode: number, offset: bigint, length: bigint): number;
  lseek(fd: number, offset: bigint, whence: number): bigint;
}

/** A call that musl's library has had since 1.2.5 only, and where memory is, which it wants to know. */
export interface LibCRead {
  /** `parts` are pairs of an address and a size, 64 bits each. */
  preadv2(fd: number, parts: Uint32Array, count: number, offset: number, flags: number): number;
  addressOf(bytes: Uint8Array): number;
}

/** What an adapter opened. */
export interface OpenedLibC {
  readonly symbols: LibCSymbols;
  errno(): number;
  /** Throws where the library lacks the call. */
  openRead(): LibCRead;
}

/** Names of the library on Linux, glibc's and musl's; elsewhere none of them is found, and nothing here is used. */
const LIBC_NAMES = ["libc.so.6", "libc.musl-x86_64.so.1", "libc.musl-aarch64.so.1"];

const FALLOC_FL_KEEP_SIZE = 1;
const SEEK_DATA = 3;
const SEEK_HOLE = 4;
const ENXIO = 6;
const RWF_NOWAIT = 8;
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
        preadv2: readWith(opened),
      };
    } catch {
      // The next name.
    }
  }
  return null;
}

function readWith({ openRead }: OpenedLibC): LibC["preadv2"] {
  let read: LibCRead;
  try {
    read = openRead();
  } catch {
    return null;
  }
  // The one part of memory that is read into: where it begins and its size, as the kernel takes them, low halves first
  // on every machine that these runtimes are made for.
  const part = new Uint32Array(4);
  const addressOf = addresses(read);
  return (fd, target, offset, flags) => {
    const address = addressOf(target);
    part[0] = address;
    part[1] = address / 2 ** 32;
    part[2] = target.length;
    return read.preadv2(fd, part, 1, offset, flags);
  };
}

/**
 * Where bytes are. Asking costs as much as the read itself, so a buffer that is lent out in parts, again and again, is
 * asked for once: its memory stays where it is. For one that is read into as a whole remembering would cost more.
 */
function addresses({ addressOf }: LibCRead): (bytes: Uint8Array) => number {
  const known = new WeakMap<ArrayBufferLike, number>();
  return (bytes) => {
    // Small arrays have no buffer until somebody asks for it, and are moved by the collector until then.
    const { buffer, byteOffset } = bytes;
    if (buffer.byteLength === bytes.length) return addressOf(bytes);
    let address = known.get(buffer);
    if (address === undefined) {
      address = addressOf(new Uint8Array(buffer));
      known.set(buffer, address);
    }
    return address + byteOffset;
  };
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

/** Whether all of `target` could be read from memory. A file system that can't tell fails the call. */
export function readCached(
  preadv2: NonNullable<LibC["preadv2"]>,
  fd: number,
  target: Uint8Array,
  offset: number,
): boolean {
  return preadv2(fd, target, offset, RWF_NOWAIT) === target.length;
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
