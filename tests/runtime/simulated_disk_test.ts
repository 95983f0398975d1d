// The simulated disk's faults and what a loss of power leaves, beyond the contract that the conformance suite checks.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import {
  type CrashMode,
  type DiskOptions,
  Prng,
  SECTOR_SIZE,
  SimulatedWorld,
} from "../../src/runtime/simulated/mod.ts";

const PATH = "/data/file";

function makeHost(options: Partial<DiskOptions> = {}, seed = 1) {
  const world = new SimulatedWorld(seed, { disk: options });
  const host = world.host("a");
  host.runtime.fs.makeDirectory("/data");
  host.runtime.fs.syncDirectory("/");
  const file = host.runtime.fs.open(PATH, "create");
  host.runtime.fs.syncDirectory("/data");
  return { world, host, file };
}

function filled(size: number, value: number): Uint8Array {
  return new Uint8Array(size).fill(value);
}

function ioError(code: string) {
  return (error: unknown) => error instanceof IoError && error.code === code;
}

describe("simulated disk: loss of power", () => {
  it("keeps what was synced and drops what was not", () => {
    const { host, file } = makeHost();
    file.writeAt(filled(5_000, 1), 0);
    file.syncBlocking();
    file.writeAt(filled(1_000, 2), 2_000);
    file.writeAt(filled(9_000, 3), 100_000);
    host.crash("drop");
    const fs = host.restart().fs;
    assert.deepEqual(fs.readFile(PATH), filled(5_000, 1));
    assert.ok(host.disk.counters.lostSectors > 0);
  });

  it("may keep all", () => {
    const { host, file } = makeHost();
    file.writeAt(filled(1_000, 2), 2_000);
    host.crash("keep");
    assert.deepEqual(host.restart().fs.readFile(PATH)!.subarray(2_000), filled(1_000, 2));
  });

  it("undoes a cut that was not synced, and keeps one that was", () => {
    const { host, file } = makeHost();
    file.writeAt(filled(20_000, 7), 0);
    file.syncBlocking();
    file.truncate(10);
    file.truncate(20_000);
    file.writeAt(filled(100, 9), 5_000);
    host.crash("drop");
    const { fs } = host.restart();
    assert.deepEqual(fs.readFile(PATH), filled(20_000, 7));
    const again = fs.open(PATH, "write");
    again.truncate(10);
    again.truncate(20_000);
    again.syncBlocking();
    host.crash("drop");
    const content = host.restart().fs.readFile(PATH)!;
    assert.deepEqual(content.subarray(0, 10), filled(10, 7));
    assert.deepEqual(content.subarray(10), filled(19_990, 0));
  });

  it("tears: every sector is one of its versions since the last sync, and synced bytes stay", () => {
    const seen = { oldSectors: 0, newSectors: 0, between: 0 };
    for (let seed = 1; seed <= 60; seed++) {
      const { host, file } = makeHost({ writeBackPerMillion: 300_000 }, seed);
      file.writeAt(filled(16 * SECTOR_SIZE, 1), 0);
      file.syncBlocking();
      file.writeAt(filled(8 * SECTOR_SIZE, 2), 4 * SECTOR_SIZE);
      file.writeAt(filled(8 * SECTOR_SIZE, 3), 4 * SECTOR_SIZE);
      host.crash("tear");
      const content = host.restart().fs.readFile(PATH)!;
      assert.equal(content.length, 16 * SECTOR_SIZE);
      for (let sector = 0; sector < 16; sector++) {
        const bytes = content.subarray(sector * SECTOR_SIZE, (sector + 1) * SECTOR_SIZE);
        const value = bytes[0]!;
        assert.ok(bytes.every((byte) => byte === value), "A sector was torn");
        if (sector < 4 || sector >= 12) assert.equal(value, 1);
        else if (value === 1) seen.oldSectors++;
        else if (value === 2) seen.between++;
        else seen.newSectors++;
      }
    }
    assert.ok(seen.oldSectors > 0 && seen.newSectors > 0 && seen.between > 0, JSON.stringify(seen));
  });

  it("leaves a size between the synced and the written one, and zeros for lost new bytes", () => {
    const sizes = new Set<number>();
    for (let seed = 1; seed <= 40; seed++) {
      const { host, file } = makeHost({ writeBackPerMillion: 0 }, seed);
      file.writeAt(filled(1_000, 1), 0);
      file.syncBlocking();
      file.writeAt(filled(50_000, 2), 1_000);
      host.crash();
      const content = host.restart().fs.readFile(PATH)!;
      sizes.add(content.length);
      assert.deepEqual(content.subarray(0, 1_000), filled(1_000, 1));
      assert.ok(content.length <= 51_000);
      assert.ok(content.subarray(1_000).every((byte) => byte === 0 || byte === 2));
    }
    assert.ok(sizes.has(1_000) && sizes.has(51_000) && sizes.size > 2);
  });

  it("never loses a byte that a sync covered, whatever was going on", async () => {
    for (let seed = 1; seed <= 80; seed++) await syncedBytesSurvive(seed);
  });

  it("does not end a sync that was under way", async () => {
    const { world, host, file } = makeHost();
    file.writeAt(filled(10, 1), 0);
    let outcome = "none";
    file.sync().then(() => outcome = "ended", () => outcome = "failed");
    await world.settle();
    host.crash("drop");
    host.restart();
    await world.advance(10_000);
    assert.equal(outcome, "none");
    assert.equal(host.runtime.fs.readFile(PATH)?.length, 0);
  });
});

describe("simulated disk: directories", () => {
  it("forgets creations, removals and renames that were not synced", () => {
    const { host, file } = makeHost();
    const { fs } = host.runtime;
    file.writeAt(filled(3, 3), 0);
    file.syncBlocking();
    fs.writeFile("/data/new", filled(1, 1));
    fs.rename(PATH, "/data/renamed");
    fs.makeDirectory("/data/sub");
    host.crash("drop");
    const after = host.restart().fs;
    assert.deepEqual(after.list("/data"), ["file"]);
    assert.deepEqual(after.readFile(PATH), filled(3, 3));
    after.remove(PATH);
    after.syncDirectory("/data");
    host.crash("drop");
    assert.deepEqual(host.restart().fs.list("/data"), []);
  });

  it("brings a removed file back with its bytes, and counts its room again", () => {
    const { host, file } = makeHost();
    file.writeAt(filled(8_192, 3), 0);
    file.syncBlocking();
    file.close();
    const { freeBytes } = host.runtime.fs.diskUsage("/");
    host.runtime.fs.remove(PATH);
    assert.equal(host.runtime.fs.diskUsage("/").freeBytes, freeBytes + 8_192);
    host.crash("drop");
    const { fs } = host.restart();
    assert.deepEqual(fs.readFile(PATH), filled(8_192, 3));
    assert.equal(fs.diskUsage("/").freeBytes, freeBytes);
  });

  it("renames wholly or not at all, keeping the order of changes", () => {
    const outcomes = new Set<string>();
    for (let seed = 1; seed <= 60; seed++) {
      const { host } = makeHost({}, seed);
      const { fs } = host.runtime;
      fs.makeDirectory("/other");
      fs.syncDirectory("/");
      fs.writeFile("/data/x", filled(1, 1));
      fs.syncDirectory("/data");
      fs.rename("/data/x", "/other/y");
      fs.writeFile("/other/later", filled(1, 1));
      fs.rename("/other/y", "/other/z");
      host.crash("tear");
      const after = host.restart().fs;
      const names = [...after.list("/data"), ...after.list("/other")].join(" ");
      assert.ok(["file x", "file y", "file later y", "file later z"].includes(names), names);
      outcomes.add(names);
    }
    assert.ok(outcomes.size >= 3, [...outcomes].join(", "));
  });

  it("makes a rename between directories durable through either of them", () => {
    for (const synced of ["/data", "/other"]) {
      const { host } = makeHost();
      const { fs } = host.runtime;
      fs.makeDirectory("/other");
      fs.syncDirectory("/");
      fs.writeFile("/data/x", filled(1, 1));
      fs.syncDirectory("/data");
      fs.rename("/data/x", "/other/y");
      fs.syncDirectory(synced);
      host.crash("drop");
      assert.deepEqual(host.restart().fs.list("/other"), ["y"]);
      assert.deepEqual(host.runtime.fs.list("/data"), ["file"]);
    }
  });
});

describe("simulated disk: errors", () => {
  it("fails reads, writes and syncs with EIO, armed one by one", async () => {
    const { world, host, file } = makeHost();
    file.writeAt(filled(100, 1), 0);
    host.disk.failNext({ operation: "read", path: "file", after: 1 });
    host.disk.failNext({ operation: "write", path: "other" });
    assert.equal(file.readAt(new Uint8Array(10), 0), 10);
    assert.throws(() => file.readAt(new Uint8Array(10), 0), ioError("EIO"));
    file.writeAt(filled(100, 1), 0);
    host.disk.failNext({ operation: "write", times: 2 });
    assert.throws(() => file.writeAt(filled(10_000, 2), 0), ioError("EIO"));
    assert.throws(() => host.runtime.fs.writeFile("/data/small", filled(1, 1)), ioError("EIO"));
    file.writeAt(filled(1, 1), 0);
    host.disk.failNext({ operation: "sync" });
    await assert.rejects(world.drive(file.sync()), ioError("EIO"));
    host.disk.failNext({ operation: "sync" });
    assert.throws(() => file.syncBlocking(), ioError("EIO"));
    host.disk.failNext({ operation: "sync" });
    assert.throws(() => host.runtime.fs.syncDirectory("/data"), ioError("EIO"));
    const { readErrors, writeErrors, syncErrors } = host.disk.counters;
    assert.deepEqual([readErrors, writeErrors, syncErrors], [1, 2, 3]);
  });

  it("serves who asks the page cache at once, now and then, without the disk's faults", () => {
    const { host, file } = makeHost({ cachedReadPerMillion: 500_000 });
    file.writeAt(filled(100, 1), 0);
    const ask = (offset: number) => {
      const target = filled(10, 0);
      const isRead = file.readCachedAt!(target, offset);
      if (isRead) assert.deepEqual(target, filled(10, 1));
      return isRead;
    };
    const answers = Array.from({ length: 100 }, () => ask(20));
    const count = answers.filter((isRead) => isRead).length;
    assert.ok(count > 20 && count < 80, String(count));
    assert.equal(host.disk.counters.cachedReads, count);
    host.disk.options.cachedReadPerMillion = 1_000_000;
    assert.equal(ask(95), false);
    host.disk.failNext({ operation: "read" });
    assert.equal(ask(20), true);
    assert.throws(() => file.readAt(new Uint8Array(10), 20), ioError("EIO"));
    assert.equal(file.readCachedAt!(new Uint8Array(0), 0), false);
    host.disk.options.cachedReadPerMillion = 0;
    assert.equal(ask(20), false);
    file.close();
    assert.throws(() => ask(20), { kind: "closed" });
  });

  it("leaves whole sectors of a failed write", () => {
    const lengths = new Set<number>();
    for (let seed = 1; seed <= 30; seed++) {
      const { host, file } = makeHost({}, seed);
      host.disk.failNext({ operation: "write" });
      assert.throws(() => file.writeAt(filled(10 * SECTOR_SIZE, 2), 0), ioError("EIO"));
      assert.equal(file.size() % SECTOR_SIZE, 0);
      lengths.add(file.size());
    }
    assert.ok(lengths.size > 4);
  });

  it("forgets what a failed sync should have written, although the next one succeeds", async () => {
    let lost = 0;
    for (let seed = 1; seed <= 20; seed++) {
      const { world, host, file } = makeHost({}, seed);
      file.writeAt(filled(4_096, 1), 0);
      await world.drive(file.sync());
      file.writeAt(filled(4_096, 2), 0);
      host.disk.failNext({ operation: "sync" });
      await assert.rejects(world.drive(file.sync()), ioError("EIO"));
      await world.drive(file.sync());
      assert.deepEqual(host.runtime.fs.readFile(PATH), filled(4_096, 2));
      host.crash("keep");
      if (host.restart().fs.readFile(PATH)!.includes(1)) lost++;
    }
    assert.ok(lost > 10, `${lost} of 20`);
  });

  it("strikes at random as often as told, and counts it", () => {
    const rates = { readErrorPerMillion: 200_000, writeErrorPerMillion: 200_000, syncErrorPerMillion: 200_000 };
    const { host, file } = makeHost();
    Object.assign(host.disk.options, rates);
    let failures = 0;
    for (let i = 0; i < 600; i++) {
      try {
        if (i % 3 === 0) file.writeAt(filled(10, 1), i);
        else if (i % 3 === 1) file.readAt(new Uint8Array(10), 0);
        else file.syncBlocking();
      } catch {
        failures++;
      }
    }
    const { readErrors, writeErrors, syncErrors } = host.disk.counters;
    assert.equal(readErrors + writeErrors + syncErrors, failures);
    assert.ok(Math.min(readErrors, writeErrors, syncErrors) > 10);
  });

  it("fills up, keeps what fitted, and has room again", () => {
    const { host, file } = makeHost({ capacityBytes: 64 * 1024 });
    assert.throws(() => file.writeAt(filled(100_000, 1), 0), ioError("ENOSPC"));
    assert.equal(host.runtime.fs.diskUsage("/").freeBytes, 0);
    assert.equal(file.size(), 64 * 1024);
    file.writeAt(filled(1_000, 2), 0);
    file.truncate(4_096);
    file.writeAt(filled(10_000, 3), 4_096);
    assert.equal(host.disk.counters.noSpace, 1);
  });

  it("flips bits at rest and puts writes in wrong places, silently", () => {
    const { host, file } = makeHost();
    file.writeAt(filled(8_192, 0), 0);
    file.syncBlocking();
    assert.ok(host.disk.flipBit(PATH, 5_000, 3));
    assert.equal(host.runtime.fs.readFile(PATH)![5_000], 8);
    host.crash("drop");
    const again = host.restart().fs.open(PATH, "write");
    assert.equal(host.disk.peek(PATH)[5_000], 8);
    host.disk.options.bitRotPerMillion = 1_000_000;
    const target = new Uint8Array(4_000);
    again.readAt(target, 0);
    assert.equal(target.filter((byte) => byte !== 0).length, 1);
    host.disk.options.bitRotPerMillion = 0;
    host.disk.options.misdirectedWritePerMillion = 1_000_000;
    again.writeAt(filled(512, 9), 1);
    assert.equal(host.disk.peek(PATH).filter((byte) => byte === 9).length, 512);
    assert.equal(host.disk.peek(PATH).indexOf(9) % SECTOR_SIZE, 0);
    assert.deepEqual([host.disk.counters.bitFlips, host.disk.counters.misdirectedWrites], [2, 1]);
  });

  it("takes its time, and more when stalled", async () => {
    const { world, host, file } = makeHost({ syncLatencyMinUs: 5_000, syncLatencyMaxUs: 5_000 });
    await world.drive(file.sync());
    assert.equal(world.nowUs, 5_000);
    host.disk.stall(300);
    await world.drive(file.readAtAsync(new Uint8Array(1), 0));
    assert.ok(world.nowMs >= 305);
  });

  it("tells of a foreign lock", () => {
    const { host } = makeHost();
    host.disk.setLock("/data/lock", 77);
    assert.equal(host.runtime.fs.lockedBy("/data/lock"), 77);
    host.disk.setLock("/data/lock", null);
    assert.equal(host.runtime.fs.lockedBy("/data/lock"), null);
  });
});

describe("simulated disk: a killed program", () => {
  it("loses nothing that it wrote, and its handles are dead", async () => {
    const { world, host, file } = makeHost();
    file.writeAt(filled(100, 1), 0);
    const { fs } = host.runtime;
    fs.rename(PATH, "/data/moved");
    host.kill();
    assert.throws(() => file.writeAt(filled(1, 2), 0), (error) => error instanceof IoError && error.kind === "closed");
    assert.throws(() => fs.list("/data"), (error) => error instanceof IoError && error.kind === "closed");
    await world.settle();
    assert.deepEqual(host.restart().fs.readFile("/data/moved"), filled(100, 1));
    assert.equal(host.openFileCount, 0);
  });
});

/** Writes of known values and syncs at random, then a crash: covered bytes hold a value at least as new as the sync. */
async function syncedBytesSurvive(seed: number): Promise<void> {
  const { world, host, file } = makeHost({ writeBackPerMillion: 200_000 }, seed);
  const prng = new Prng(seed).fork("test");
  const sectors = 64;
  const written = new Uint8Array(sectors);
  let synced = new Uint8Array(sectors);
  for (let value = 1; value <= 40; value++) {
    const at = prng.nextInt(sectors);
    const count = 1 + prng.nextInt(sectors - at);
    file.writeAt(filled(count * SECTOR_SIZE, value), at * SECTOR_SIZE);
    written.fill(value, at, at + count);
    if (prng.nextInt(4) === 0) {
      const covered = written.slice();
      file.sync().then(() => synced = covered.map((old, i) => Math.max(old, synced[i]!)), () => {});
    }
    if (prng.nextInt(3) === 0) await world.step();
    else await world.settle();
  }
  host.crash(prng.pick<CrashMode | undefined>(["keep", "drop", "tear", undefined]));
  const content = host.restart().fs.readFile(PATH)!;
  for (let sector = 0; sector < sectors; sector++) {
    const value = content[sector * SECTOR_SIZE] ?? 0;
    const message = `Seed ${seed}, sector ${sector}: ${value}, synced ${synced[sector]}, written ${written[sector]}`;
    assert.ok(value >= synced[sector]! && value <= written[sector]!, message);
  }
}
