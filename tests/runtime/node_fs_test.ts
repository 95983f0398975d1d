// What of node_fs.ts needs a real machine: a device that is always full, and a lock held by another process.

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import process from "node:process";
import { afterEach, beforeEach, describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { LibC } from "../../src/runtime/libc.ts";
import { NodeFileSystem } from "../../src/runtime/node_fs.ts";

const onLinux = os.platform() === "linux" ? it : it.skip;
const withPython = os.platform() === "linux" && spawnSync("python3", ["--version"]).status === 0 ? it : it.skip;
// As Java's FileLock: a POSIX lock on the whole file.
const HOLD_LOCK = `
import fcntl, sys
f = open(sys.argv[1], "r+")
fcntl.lockf(f, fcntl.LOCK_EX)
print("held", flush=True)
sys.stdin.read()
`;

describe("NodeFileSystem on a real machine", () => {
  const files = new NodeFileSystem();
  let directory = "";

  beforeEach(() => {
    directory = fs.mkdtempSync(`${os.tmpdir()}/twinlog-node-fs-`);
  });
  afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

  onLinux("says noSpace on a full device", () => {
    const full = files.open("/dev/full", "write");
    assert.throws(() => full.writeAt(new Uint8Array(10), 0), (error) => {
      assert.ok(error instanceof IoError);
      assert.equal(error.kind, "noSpace");
      assert.equal(error.code, "ENOSPC");
      assert.match(error.message, /^Write "\/dev\/full" at 0 failed: /);
      return true;
    });
    full.close();
  });

  onLinux("fails to make a directory where nothing can be made", () => {
    // In a process of its own, as what it guards against never ended.
    const script = `${directory}/script.ts`;
    const source = new URL("../../src/runtime/node_fs.ts", import.meta.url).href;
    fs.writeFileSync(
      script,
      `import { NodeFileSystem } from ${JSON.stringify(source)};
try {
  new NodeFileSystem().makeDirectory("/proc/nope/x/y");
} catch (error) {
  console.log(error.kind, error.message);
}`,
    );
    const args = "Deno" in globalThis ? ["run", "-A", "--no-check", script] : [script];
    const { stdout } = spawnSync(process.execPath, args, { encoding: "utf8", timeout: 20_000, killSignal: "SIGKILL" });
    assert.match(stdout, /^notFound Make directory "\/proc\/nope\/x\/y" failed: ENOENT.*\n$/);
  });

  withPython("finds the process that holds a POSIX lock (needs python3)", async () => {
    const path = `${directory}/lock`;
    fs.writeFileSync(path, "lock");
    fs.writeFileSync(`${directory}/other`, "lock");
    const holder = spawn("python3", ["-c", HOLD_LOCK, path], { stdio: ["pipe", "pipe", "inherit"] });
    await new Promise((resolve) => holder.stdout.once("data", resolve));
    assert.equal(files.lockedBy(path), holder.pid);
    assert.equal(files.lockedBy(`${directory}/other`), null);
    await end(holder);
    assert.equal(files.lockedBy(path), null);
  });

  it("keeps sparse files sparse", () => {
    const file = files.open(`${directory}/sparse`, "create");
    file.truncate(8 * 1024 ** 3);
    file.writeAt(new Uint8Array([1]), 8 * 1024 ** 3 - 1);
    file.close();
    assert.ok(fs.statSync(`${directory}/sparse`).blocks * 512 < 1024 * 1024);
  });

  it("closes a descriptor only after the calls in flight", async () => {
    for (let round = 0; round < 50; round++) {
      const file = files.open(`${directory}/file-${round}`, "create");
      file.writeAt(new Uint8Array(100_000).fill(round), 0);
      const target = new Uint8Array(100_000);
      const pending = [file.sync(), file.readAtAsync(target, 0)] as const;
      file.close();
      // Would take over the number of a descriptor that was closed too early.
      const next = files.open(`${directory}/other`, "create");
      await pending[0];
      assert.equal(await pending[1], 100_000);
      assert.ok(target.every((byte) => byte === round));
      next.close();
    }
  });
});

function end(child: ChildProcess): Promise<void> {
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  child.stdin?.end();
  return gone;
}

const MIB = 1024 * 1024;
const isExt4 = os.platform() === "linux" && fs.statfsSync(os.tmpdir()).type === 0xef53;
const onExt4 = isExt4 ? it : it.skip;
const { fs: runtimeFiles, name: runtimeName } = await loadRuntime();
const withLibC = isExt4 && runtimeName !== "node" ? it : it.skip;

describe("The C library behind NodeFileSystem", () => {
  let directory = "";
  beforeEach(() => {
    directory = fs.mkdtempSync(`${os.tmpdir()}/twinlog-libc-`);
  });
  afterEach(() => fs.rmSync(directory, { recursive: true, force: true }));

  /** A file of 8 MiB with 10,000 bytes at its front. */
  const fileOf = (files: NodeFileSystem | typeof runtimeFiles) => {
    const file = files.open(`${directory}/file`, "create");
    file.truncate(8 * MIB);
    file.writeAt(new Uint8Array(10_000).fill(1), 0);
    return file;
  };

  withLibC("reserves, and tells holes that the count of blocks does not", async () => {
    const file = fileOf(runtimeFiles);
    file.reserve(10_000, 4 * MIB);
    assert.ok(runtimeFiles.stat(file.path)!.allocated >= 4 * MIB, "nothing was reserved");
    assert.equal(file.size(), 8 * MIB);
    assert.equal(file.holeFrom(10_000), 12_288);
    file.writeAt(new Uint8Array(10_000).fill(1), 5 * MIB);
    assert.equal(file.holeFrom(10_000), 5 * MIB + 12_288);
    await file.sync();
    assert.equal(file.holeFrom(10_000), 5 * MIB + 12_288);
    file.writeAt(new Uint8Array(1), 8 * MIB - 1);
    assert.equal(file.holeFrom(10_000), 8 * MIB);
    file.close();
  });

  for (
    const [what, data, hole, errno, expected] of [
      ["no data behind", -1, 10_000, 6, 10_000],
      ["a failing disk", -1, 10_000, 5, 8 * MIB],
      ["data to the end", 20_000, 8 * MIB, 0, 8 * MIB],
      ["a failure at the second step", 20_000, -1, 5, 8 * MIB],
      ["a file in too many pieces", 20_000, 30_000, 0, 8 * MIB],
    ] as const
  ) {
    onExt4(`takes only "no data from here" for a hole: ${what}`, () => {
      const libc: LibC = {
        fallocate: () => -1,
        lseek: (_fd, _offset, whence) => whence === 3 ? data : hole,
        errno: () => errno,
        map: () => null,
        pageSize: 4096,
      };
      const file = fileOf(new NodeFileSystem(() => libc));
      // Else the count of blocks tells already.
      file.writeAt(new Uint8Array(1), 5 * MIB);
      assert.equal(file.holeFrom(10_000), expected);
      file.reserve(0, MIB);
      file.close();
    });
  }

  withLibC("reads from where the file is mapped, and never a page that is not in memory", async () => {
    const file = fileOf(runtimeFiles);
    file.writeAt(new Uint8Array(MIB).fill(7), MIB);
    await file.sync();
    const target = new Uint8Array(5000);
    for (const isMapped of [false, false, false, true]) {
      assert.equal(file.readMappedAt!(target, 2 * MIB - 5000), isMapped, "a file is mapped once it is read repeatedly");
    }
    assert.ok(target.every((byte) => byte === 7));
    // The rest of the file is a hole, which nobody has read.
    for (const read of [file.readMappedAt!, file.readCachedAt!]) {
      assert.equal(read.call(file, target, 2 * MIB - 4999), false);
    }
    assert.equal(file.readCachedAt!(target, 4 * MIB), false);
    file.writeAt(new Uint8Array(5000).fill(8), 4 * MIB);
    assert.equal(file.readCachedAt!(target, 4 * MIB), true, "what was written since");
    assert.ok(target.every((byte) => byte === 8));
    file.close();
    assert.throws(() => file.readCachedAt!(target, 0), { kind: "closed" });
    assert.throws(() => file.readMappedAt!(target, 0), { kind: "closed" });
  });

  it("reads on the event loop where the kernel can't be asked, all or nothing", () => {
    const calls = { fallocate: () => -1, lseek: () => -1, errno: () => 0, map: () => null, pageSize: 4096 };
    for (const libc of [null, calls]) {
      const file = fileOf(new NodeFileSystem(() => libc));
      file.writeAt(new Uint8Array(100).fill(7), 50);
      const target = new Uint8Array(100);
      // A read that a busy machine interrupts counts as slow, and the next ones are not tried for a while.
      const isRead = file.readCachedAt!(target, 50);
      if (isRead) assert.ok(target.every((byte) => byte === 7));
      assert.equal(file.readCachedAt!(target, file.size() - 50), false, "over the end");
      assert.equal(file.readCachedAt!(target, 5 * 1024 * MIB), false, "behind it");
      assert.equal(file.readCachedAt!(new Uint8Array(0), 0), false);
      file.close();
      assert.throws(() => file.readCachedAt!(target, 0), { kind: "closed" });
    }
  });
});
