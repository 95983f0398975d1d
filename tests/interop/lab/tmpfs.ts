// A small file system of its own, so that a disk can really be full: a tmpfs, which only root may mount.

import { spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";

/** A mounted tmpfs. */
export class SmallDisk {
  readonly directory: string;

  constructor(directory: string) {
    this.directory = directory;
  }

  /** Takes what room is left, but for `spare` bytes, as somebody else's file. */
  fill(spare = 0): void {
    const filler = fs.openSync(this.#filler, "w");
    const block = Buffer.alloc(4096, 1);
    try {
      for (;;) fs.writeSync(filler, block);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== "ENOSPC") throw error;
    }
    const size = fs.fstatSync(filler).size;
    if (spare > 0) fs.ftruncateSync(filler, Math.max(0, size - spare));
    fs.closeSync(filler);
  }

  /** Gives that room back. */
  free(): void {
    fs.rmSync(this.#filler, { force: true });
  }

  get #filler(): string {
    return path.join(this.directory, "filler");
  }
}

/** Whether a tmpfs can be mounted here; throws instead of false where interop tests are required. */
export function canMount(directory: string): boolean {
  fs.mkdirSync(directory, { recursive: true });
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", "size=64k", "tmpfs", directory]);
  if (status === 0) spawnSync("umount", ["-l", directory]);
  else if (process.env.TWINLOG_REQUIRE_INTEROP) throw new Error(`Can't mount a tmpfs: ${stderr}`);
  return status === 0;
}

const mounted = new Set<string>();
process.on("exit", () => {
  for (const directory of mounted) spawnSync("umount", ["-l", directory]);
});

/** Mounts one of `sizeBytes`, at the latest until this process ends. */
export function mountSmallDisk(directory: string, sizeBytes: number): SmallDisk {
  fs.mkdirSync(directory, { recursive: true });
  const { status, stderr } = spawnSync("mount", ["-t", "tmpfs", "-o", `size=${sizeBytes}`, "tmpfs", directory]);
  if (status !== 0) throw new Error(`Can't mount a tmpfs: ${stderr}`);
  mounted.add(directory);
  return new SmallDisk(directory);
}

/** Unmounts; lazily, so that a process that still looks at it does not keep it. */
export function unmount(disk: SmallDisk): void {
  spawnSync("umount", ["-l", disk.directory]);
  mounted.delete(disk.directory);
}
