// The contract of FileSystem and FileHandle as tests, for node:fs on every runtime and for the simulated disk.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { IoError } from "../../src/base/errors.ts";
import type { FileHandle } from "../../src/runtime/runtime.ts";
import type { Abilities, Conduct, ConformanceEnv } from "./env.ts";
import { pattern, rejectsWith, throwsWith } from "./support.ts";

const MIB = 1024 ** 2;
const GIB = 1024 ** 3;

/** Registers the tests of FileSystem under `name`. */
export function runFsConformance(name: string, conduct: Conduct, abilities: Abilities): void {
  const test = (what: string, body: (env: ConformanceEnv) => Promise<void>): void => {
    it(what, () => conduct(body));
  };
  const withFile = (what: string, body: (file: FileHandle, env: ConformanceEnv) => Promise<void>): void => {
    test(what, async (env) => {
      const file = env.runtime.fs.open(`${env.directory}/file`, "create");
      try {
        await body(file, env);
      } finally {
        file.close();
      }
    });
  };

  describe(`${name}: files`, () => {
    withFile("knows a hole only where it is one", async (file) => {
      file.truncate(MIB);
      assert.ok([0, MIB].includes(file.holeFrom(0)), "nothing was written");
      file.writeAt(pattern(10_000), 0);
      for (const durable of [false, true]) {
        if (durable) await file.sync();
        // Behind 100 something stands.
        for (const from of [file.holeFrom(10_000), file.holeFrom(100)]) {
          assert.ok(from >= 10_000 && from <= MIB, `hole from ${from}`);
          const rest = new Uint8Array(MIB - from);
          file.readAt(rest, from);
          assert.ok(rest.every((byte) => byte === 0));
        }
      }
      file.writeAt(pattern(1), MIB - 1);
      assert.equal(file.holeFrom(10_000), MIB);
      file.truncate(10_000);
      assert.equal(file.holeFrom(10_000), 10_000);
    });

    withFile("reserves what stays as it is", async (file) => {
      file.truncate(8 * MIB);
      file.writeAt(pattern(10_000), 0);
      file.reserve(5000, 4 * MIB);
      assert.equal(file.size(), 8 * MIB);
      const from = file.holeFrom(10_000);
      assert.ok(from >= 10_000 && from <= 8 * MIB, `hole from ${from}`);
      const all = new Uint8Array(8 * MIB);
      assert.equal(file.readAt(all, 0), all.length);
      assert.deepEqual(all.subarray(0, 10_000), pattern(10_000));
      assert.ok(all.subarray(10_000).every((byte) => byte === 0));
      file.writeAt(pattern(10_000), 3 * MIB);
      const behind = file.holeFrom(10_000);
      assert.ok(behind >= 3 * MIB + 10_000 && behind <= 8 * MIB, `hole from ${behind}`);
      await file.sync();
      // Also past the end, where nothing may come of it.
      file.reserve(7 * MIB, 4 * MIB);
      assert.equal(file.size(), 8 * MIB);
    });

    withFile("tells what a file takes on the disk, as far as it knows", async (file, env) => {
      file.truncate(MIB);
      file.writeAt(pattern(10_000), 0);
      await file.sync();
      const info = env.runtime.fs.stat(file.path)!;
      assert.equal(info.size, MIB);
      assert.ok(Number.isSafeInteger(info.allocated) && info.allocated >= 0, `${info.allocated} bytes`);
    });

    withFile("reads back what was written, at any position", async (file, env) => {
      assert.equal(file.path, `${env.directory}/file`);
      file.writeAt(pattern(1_000), 0);
      file.writeAt(pattern(10, 3), 500);
      const target = new Uint8Array(20);
      assert.equal(file.readAt(target, 495), 20);
      assert.deepEqual(target.subarray(0, 5), pattern(5, 495));
      assert.deepEqual(target.subarray(5, 15), pattern(10, 3));
      assert.deepEqual(target.subarray(15), pattern(5, 510));
      target.fill(0);
      assert.equal(await file.readAtAsync(target, 100), 20);
      assert.deepEqual(target, pattern(20, 100));
      assert.equal(file.size(), 1_000);
    });

    withFile("reads less only at the end, and nothing behind it", async (file) => {
      file.writeAt(pattern(100), 0);
      const target = new Uint8Array(64);
      assert.equal(file.readAt(target, 80), 20);
      assert.deepEqual(target.subarray(0, 20), pattern(20, 80));
      assert.equal(file.readAt(target, 100), 0);
      assert.equal(file.readAt(target, 5_000), 0);
      assert.equal(await file.readAtAsync(target, 80), 20);
      assert.equal(await file.readAtAsync(target, 100), 0);
      assert.equal(file.readAt(new Uint8Array(0), 0), 0);
    });

    withFile("fills the gap before a write with zeros", async (file) => {
      file.writeAt(pattern(4, 1), 10_000);
      assert.equal(file.size(), 10_004);
      const target = pattern(10_004);
      assert.equal(file.readAt(target, 0), 10_004);
      assert.ok(target.subarray(0, 10_000).every((byte) => byte === 0));
      assert.deepEqual(target.subarray(10_000), pattern(4, 1));
    });

    withFile("takes views into larger buffers", async (file) => {
      const whole = pattern(1_000);
      file.writeAt(whole.subarray(300, 400), 0);
      const target = new Uint8Array(200);
      assert.equal(file.readAt(target.subarray(50, 150), 0), 100);
      assert.deepEqual(target.subarray(50, 150), pattern(100, 300));
      assert.ok(target.subarray(0, 50).every((byte) => byte === 0));
    });

    withFile("writes and reads 8 MiB in one call", async (file) => {
      const bytes = pattern(8 * 1024 * 1024);
      file.writeAt(bytes, 12_345);
      const target = new Uint8Array(bytes.length);
      assert.equal(await file.readAtAsync(target, 12_345), bytes.length);
      assert.ok(Buffer.from(target).equals(bytes));
    });

    withFile("reads what the page cache holds without waiting, or says no", async (file) => {
      const bytes = pattern(600 * 1024);
      file.writeAt(bytes, 4097);
      for (const [offset, size] of [[4097, bytes.length], [5000, 1], [8192, 4096], [12_287, 300_001]] as const) {
        const target = new Uint8Array(size + 8).subarray(3, 3 + size);
        const mapped = new Uint8Array(size);
        if (file.readMappedAt?.(mapped, offset) === true) {
          assert.ok(Buffer.from(mapped).equals(bytes.subarray(offset - 4097, offset - 4097 + size)));
        }
        if (file.readCachedAt?.(target, offset) !== true) continue;
        assert.ok(Buffer.from(target).equals(bytes.subarray(offset - 4097, offset - 4097 + size)));
      }
      assert.equal(file.readCachedAt?.(new Uint8Array(10), 4097 + bytes.length - 5), false, "over the end");
      assert.equal(file.readCachedAt?.(new Uint8Array(10), 5 * GIB), false, "behind it");
    });

    withFile("reads from the page cache what a file that grew and shrank holds now", async (file) => {
      const target = new Uint8Array(100);
      const isRead = (offset: number) => {
        // It is mapped once it is read repeatedly.
        for (let i = 0; i < 8; i++) if (file.readCachedAt?.(target.fill(9), offset) === true) return true;
        return false;
      };
      file.writeAt(pattern(5000), 0);
      if (isRead(4900)) assert.deepEqual(target, pattern(100, 4900));
      file.writeAt(pattern(5000, 1), 5000);
      if (isRead(9900)) assert.deepEqual(target, pattern(100, 4901));
      file.truncate(4950);
      assert.equal(isRead(4900), false, "over the end");
      assert.equal(isRead(9900), false, "behind it");
      file.truncate(20_000);
      if (isRead(9900)) assert.deepEqual(target, new Uint8Array(100));
      file.writeAt(pattern(100, 3), 9900);
      if (isRead(9900)) assert.deepEqual(target, pattern(100, 3));
    });

    withFile("grows and shrinks by truncate, new bytes are zero", async (file) => {
      file.writeAt(pattern(100, 1), 0);
      file.truncate(40);
      assert.equal(file.size(), 40);
      file.truncate(60);
      const target = new Uint8Array(100);
      assert.equal(file.readAt(target, 0), 60);
      assert.deepEqual(target.subarray(0, 40), pattern(40, 1));
      assert.ok(target.subarray(40, 60).every((byte) => byte === 0));
    });

    withFile("works past 4 GiB", async (file, env) => {
      file.truncate(5 * GIB);
      assert.equal(file.size(), 5 * GIB);
      for (const offset of [4 * GIB - 3, 4 * GIB + 1, 5 * GIB, 2 ** 33 + 5]) {
        file.writeAt(pattern(10, 1), offset);
        const target = new Uint8Array(10);
        assert.equal(file.readAt(target, offset), 10);
        assert.deepEqual(target, pattern(10, 1));
        target.fill(0);
        assert.equal(await file.readAtAsync(target, offset), 10);
        assert.deepEqual(target, pattern(10, 1));
      }
      const low = new Uint8Array(16);
      assert.equal(file.readAt(low, 0), 16);
      assert.deepEqual(low, new Uint8Array(16));
      assert.equal(env.runtime.fs.stat(file.path)?.size, 2 ** 33 + 15);
      await file.sync();
    });

    withFile("syncs, both ways", async (file, env) => {
      file.writeAt(pattern(10), 0);
      await file.sync();
      file.writeAt(pattern(10), 10);
      file.syncBlocking();
      env.runtime.fs.syncDirectory(env.directory);
      await env.runtime.fs.syncDirectoryAsync(env.directory);
      await assert.rejects(env.runtime.fs.syncDirectoryAsync(`${env.directory}/none`), { kind: "notFound" });
    });

    test("two handles see one file", async (env) => {
      const { fs } = env.runtime;
      const writer = fs.open(`${env.directory}/file`, "create");
      const reader = fs.open(`${env.directory}/file`, "read");
      writer.writeAt(pattern(10), 0);
      const target = new Uint8Array(10);
      assert.equal(reader.readAt(target, 0), 10);
      assert.deepEqual(target, pattern(10));
      throwsWith(() => reader.writeAt(pattern(1), 0), reader.size() === 10 ? "other" : "closed");
      writer.close();
      reader.close();
    });

    withFile("is closed once, and answers nothing after it", async (file) => {
      file.writeAt(pattern(10), 0);
      const reading = file.readAtAsync(new Uint8Array(10), 0);
      file.close();
      file.close();
      assert.equal(await reading, 10);
      throwsWith(() => file.readAt(new Uint8Array(1), 0), "closed");
      throwsWith(() => file.writeAt(pattern(1), 0), "closed");
      throwsWith(() => file.truncate(0), "closed");
      throwsWith(() => file.size(), "closed");
      throwsWith(() => file.syncBlocking(), "closed");
      await rejectsWith(file.sync(), "closed");
      await rejectsWith(file.readAtAsync(new Uint8Array(1), 0), "closed");
    });

    test("opens by mode", async (env) => {
      const { fs } = env.runtime;
      const path = `${env.directory}/file`;
      throwsWith(() => fs.open(path, "read"), "notFound");
      throwsWith(() => fs.open(path, "write"), "notFound");
      const made = fs.open(path, "create");
      made.writeAt(pattern(5), 0);
      made.close();
      const again = fs.open(path, "create");
      assert.equal(again.size(), 5);
      again.close();
      const write = fs.open(path, "write");
      write.writeAt(pattern(1, 9), 4);
      const target = new Uint8Array(5);
      assert.equal(write.readAt(target, 0), 5);
      assert.equal(target[4], 9);
      write.close();
      throwsWith(() => fs.open(`${env.directory}/missing/file`, "create"), "notFound");
    });
  });

  describe(`${name}: directories`, () => {
    test("makes, lists sorted, stats and removes", async (env) => {
      const { fs } = env.runtime;
      const root = `${env.directory}/a/b`;
      assert.deepEqual(fs.list(root), []);
      assert.equal(fs.stat(root), null);
      fs.makeDirectory(root);
      fs.makeDirectory(root);
      for (const name of ["20", "10", "c", "00"]) fs.writeFile(`${root}/${name}`, utf8.encode(name));
      fs.makeDirectory(`${root}/d`);
      assert.deepEqual(fs.list(root), ["00", "10", "20", "c", "d"]);
      assert.equal(fs.stat(`${root}/d`)?.isDirectory, true);
      const info = fs.stat(`${root}/c`);
      assert.equal(info?.isDirectory, false);
      assert.equal(info?.size, 1);
      assert.ok(Number.isInteger(info?.modifiedMs));
      fs.remove(`${root}/00`);
      fs.remove(`${root}/00`);
      assert.deepEqual(fs.list(root), ["10", "20", "c", "d"]);
      fs.remove(`${env.directory}/a`);
      assert.equal(fs.stat(root), null);
      assert.deepEqual(fs.list(env.directory), []);
    });

    test("reads and replaces small files", async (env) => {
      const { fs } = env.runtime;
      const path = `${env.directory}/small`;
      assert.equal(fs.readFile(path), null);
      fs.writeFile(path, utf8.encode("a longer first text"));
      fs.writeFile(path, utf8.encode("second"));
      assert.equal(utf8.decode(fs.readFile(path)!), "second");
      fs.writeFile(path, new Uint8Array(0));
      assert.equal(fs.readFile(path)?.length, 0);
    });

    test("makes a file exclusively: the first one's stays", async (env) => {
      const { fs } = env.runtime;
      const path = `${env.directory}/exclusive`;
      assert.equal(fs.createExclusive(path, pattern(10)), true);
      assert.equal(fs.createExclusive(path, pattern(20)), false);
      assert.deepEqual(fs.readFile(path), pattern(10));
      assert.deepEqual(fs.list(env.directory), ["exclusive"]);
      fs.makeDirectory(`${env.directory}/directory`);
      assert.equal(fs.createExclusive(`${env.directory}/directory`, pattern(1)), false);
      throwsWith(() => fs.createExclusive(`${env.directory}/missing/file`, pattern(1)), "notFound");
    });

    test("renames over a file that is there", async (env) => {
      const { fs } = env.runtime;
      const [from, to] = [`${env.directory}/from`, `${env.directory}/to`];
      fs.writeFile(from, utf8.encode("new"));
      fs.writeFile(to, utf8.encode("old"));
      fs.rename(from, to);
      fs.syncDirectory(env.directory);
      assert.deepEqual(fs.list(env.directory), ["to"]);
      assert.equal(utf8.decode(fs.readFile(to)!), "new");
      throwsWith(() => fs.rename(from, to), "notFound");
    });

    test("an open file survives its removal and renaming", async (env) => {
      const { fs } = env.runtime;
      const file = fs.open(`${env.directory}/file`, "create");
      file.writeAt(pattern(10), 0);
      fs.rename(file.path, `${env.directory}/moved`);
      file.writeAt(pattern(10, 10), 10);
      assert.equal(fs.stat(`${env.directory}/moved`)?.size, 20);
      fs.remove(`${env.directory}/moved`);
      const target = new Uint8Array(20);
      assert.equal(file.readAt(target, 0), 20);
      assert.deepEqual(target, pattern(20));
      file.close();
    });

    test("tells what is wrong with a path", async (env) => {
      const { fs } = env.runtime;
      fs.writeFile(`${env.directory}/file`, pattern(1));
      throwsWith(() => fs.writeFile(`${env.directory}/missing/file`, pattern(1)), "notFound");
      throwsWith(() => fs.syncDirectory(`${env.directory}/missing`), "notFound");
      throwsWith(() => fs.makeDirectory(`${env.directory}/file/below`), "other");
      throwsWith(() => fs.open(env.directory, "create"), "other");
    });

    test("measures the disk", async (env) => {
      const { totalBytes, usedBytes, freeBytes } = env.runtime.fs.diskUsage(env.directory);
      assert.ok(Number.isSafeInteger(totalBytes) && totalBytes > 0);
      assert.ok(usedBytes >= 0 && freeBytes > 0 && usedBytes + freeBytes <= totalBytes);
    });

    test("finds no lock where there is none, and none of our own", async (env) => {
      env.runtime.fs.writeFile(`${env.directory}/lock`, new Uint8Array(0));
      assert.equal(env.runtime.fs.lockedBy(`${env.directory}/lock`), null);
      assert.equal(env.runtime.fs.lockedBy(`${env.directory}/missing`), null);
    });
  });

  describe(`${name}: a full disk`, () => {
    const small = abilities.smallDisk;
    (small === true ? it : it.skip)(
      `says noSpace, keeps what was written, and goes on once there is room${small === true ? "" : ` (${small})`}`,
      () =>
        conduct(async (env) => {
          const { fs } = env.runtime;
          const directory = env.smallDiskDirectory();
          const file = fs.open(`${directory}/file`, "create");
          const piece = pattern(64 * 1024);
          let written = 0;
          const failure = (() => {
            while (written < 64 * 1024 * 1024) {
              try {
                file.writeAt(piece, written);
              } catch (error) {
                return error;
              }
              written += piece.length;
            }
          })();
          assert.ok(failure instanceof IoError, `Wanted noSpace, wrote ${written} bytes`);
          assert.equal(failure.kind, "noSpace");
          assert.equal(failure.code, "ENOSPC");
          assert.ok(written > 0);
          const target = new Uint8Array(piece.length);
          assert.equal(file.readAt(target, written - piece.length), piece.length);
          assert.deepEqual(target, piece);
          throwsWith(() => fs.writeFile(`${directory}/other`, new Uint8Array(256 * 1024)), "noSpace");
          assert.ok(fs.diskUsage(directory).freeBytes < piece.length);
          file.truncate(0);
          file.writeAt(piece, 0);
          await file.sync();
          file.close();
        }),
    );
  });
}
