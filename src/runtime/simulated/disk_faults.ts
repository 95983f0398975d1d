// The knobs and the proof of a simulated disk's faults: rates that a test may change at any time, single faults armed
// by hand, counters. The disk asks; this file holds no bytes.

import { assert, IoError } from "../../base/errors.ts";
import type { Prng } from "./prng.ts";

/** How a disk behaves. Probabilities are per million, times microseconds. Knobs may be changed at any time. */
export interface DiskOptions {
  /** Bytes of all pages it can hold. */
  capacityBytes: number;
  syncLatencyMinUs: number;
  syncLatencyMaxUs: number;
  readLatencyMinUs: number;
  readLatencyMaxUs: number;
  /** A range turns out to be in the page cache, for who asks. */
  cachedReadPerMillion: number;
  /** A read, blocking or not, fails with EIO. */
  readErrorPerMillion: number;
  /** A write fails with EIO after some of its sectors were written. */
  writeErrorPerMillion: number;
  /** A sync fails with EIO; what it should have written then counts as clean and may never reach the disk. */
  syncErrorPerMillion: number;
  /** A write goes to another place of its file and says nothing. */
  misdirectedWritePerMillion: number;
  /** A read finds one bit of its range flipped, on the disk, for good. */
  bitRotPerMillion: number;
  /** A write to a page with unsynced bytes finds that the kernel wrote those back just before. */
  writeBackPerMillion: number;
  /** Loss of power: files whose unsynced bytes all survive, or are all lost; the others are torn. */
  crashKeepPerMillion: number;
  crashDropPerMillion: number;
}

/** A healthy, quick disk; crashes still lose what was not synced. */
export const DEFAULT_DISK_OPTIONS: DiskOptions = {
  capacityBytes: 64 * 1024 * 1024 * 1024,
  syncLatencyMinUs: 200,
  syncLatencyMaxUs: 4_000,
  readLatencyMinUs: 50,
  readLatencyMaxUs: 1_000,
  cachedReadPerMillion: 0,
  readErrorPerMillion: 0,
  writeErrorPerMillion: 0,
  syncErrorPerMillion: 0,
  misdirectedWritePerMillion: 0,
  bitRotPerMillion: 0,
  writeBackPerMillion: 50_000,
  crashKeepPerMillion: 200_000,
  crashDropPerMillion: 300_000,
};

/** Proof of what happened on a disk. */
export interface DiskCounters {
  reads: number;
  /** Those of them that the page cache served at once, for who asked. */
  cachedReads: number;
  writes: number;
  syncs: number;
  readErrors: number;
  writeErrors: number;
  syncErrors: number;
  noSpace: number;
  /** Failed writes that had written some of their bytes, not all. */
  shortWrites: number;
  misdirectedWrites: number;
  bitFlips: number;
  crashes: number;
  /** Unsynced sectors and directory changes that crashes lost. */
  lostSectors: number;
  lostChanges: number;
  /** Files of which a crash lost some unsynced sectors and kept others. */
  tornFiles: number;
  /** Syncs and reads that took longer than a healthy disk's. */
  slowOperations: number;
}

/** All zero. */
export function createDiskCounters(): DiskCounters {
  return {
    reads: 0,
    cachedReads: 0,
    writes: 0,
    syncs: 0,
    readErrors: 0,
    writeErrors: 0,
    syncErrors: 0,
    noSpace: 0,
    shortWrites: 0,
    misdirectedWrites: 0,
    bitFlips: 0,
    crashes: 0,
    lostSectors: 0,
    lostChanges: 0,
    tornFiles: 0,
    slowOperations: 0,
  };
}

/** What a fault can be armed for. `sync` is also a directory's; `misdirect` is a write that goes elsewhere, silently. */
export type DiskOperation = "read" | "write" | "sync" | "misdirect";

/** A fault that strikes the next operations that match. */
export interface ArmedFault {
  readonly operation: DiskOperation;
  /** Only on paths that contain this; all when absent. */
  readonly path?: string;
  /** Default `EIO`. */
  readonly code?: "EIO" | "ENOSPC";
  /** How many operations it strikes; default 1. */
  readonly times?: number;
  /** How many matching operations pass before; default 0. */
  readonly after?: number;
  /** A write that fails leaves nothing, or a part where it has more than one sector; by seed when absent. */
  readonly part?: "none" | "some";
}

/** An operation that can end with an error; a misdirected write reports none. */
export type FailingOperation = Exclude<DiskOperation, "misdirect">;

const RATE_OF = {
  read: "readErrorPerMillion",
  write: "writeErrorPerMillion",
  sync: "syncErrorPerMillion",
} as const;

const COUNTER_OF = { read: "readErrors", write: "writeErrors", sync: "syncErrors" } as const;

/** Decides which operations fail. */
export class DiskFaults {
  readonly #options: DiskOptions;
  readonly #counters: DiskCounters;
  readonly #prng: Prng;
  #armed: { fault: ArmedFault; toPass: number; toStrike: number }[] = [];
  /** What the write that {@link draw} failed last leaves; null: by seed. */
  part: "none" | "some" | null = null;

  constructor(options: DiskOptions, counters: DiskCounters, prng: Prng) {
    this.#options = options;
    this.#counters = counters;
    this.#prng = prng;
  }

  /** Arms a fault; the returned function disarms it. */
  arm(fault: ArmedFault): () => void {
    const { times = 1, after = 0 } = fault;
    assert(times > 0 && after >= 0, "A fault strikes at least once, after 0 or more operations");
    const armed = { fault, toPass: after, toStrike: times };
    this.#armed.push(armed);
    return () => {
      this.#armed = this.#armed.filter((it) => it !== armed);
    };
  }

  /** Takes back everything that was armed and has not struck. */
  disarm(): void {
    this.#armed = [];
  }

  /** The error this operation ends with, or `null`. */
  draw(operation: FailingOperation, path: string): IoError | null {
    const armed = this.#takeArmed(operation, path);
    this.part = armed?.part ?? null;
    const code = armed !== null
      ? armed.code ?? "EIO"
      : this.#prng.chance(this.#options[RATE_OF[operation]])
      ? "EIO"
      : null;
    if (code === null) return null;
    if (code === "ENOSPC") this.#counters.noSpace++;
    else this.#counters[COUNTER_OF[operation]]++;
    return new IoError(code === "ENOSPC" ? "noSpace" : "other", `${operation} "${path}" failed: ${code}`, code);
  }

  /** Whether this write goes to another place of its file. */
  drawMisdirect(path: string): boolean {
    return this.#takeArmed("misdirect", path) !== null || this.#prng.chance(this.#options.misdirectedWritePerMillion);
  }

  #takeArmed(operation: DiskOperation, path: string): ArmedFault | null {
    for (const armed of this.#armed) {
      const { fault } = armed;
      if (fault.operation !== operation || !path.includes(fault.path ?? "")) continue;
      if (armed.toPass > 0) {
        armed.toPass--;
        continue;
      }
      if (--armed.toStrike === 0) this.#armed = this.#armed.filter((it) => it !== armed);
      return fault;
    }
    return null;
  }
}
