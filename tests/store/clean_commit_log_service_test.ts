import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import type { DiskUsage, FileInfo, FileSystem } from "../../src/runtime/runtime.ts";
import { type CleanCommitLogOptions, CleanCommitLogService } from "../../src/store/clean_commit_log_service.ts";
import type { CommitLog } from "../../src/store/commit_log.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { message, openLog, QueueOffsets, temporaryDirectory } from "../support/store_fixtures.ts";

const FILE_SIZE = 4096;
const HOUR_MS = 3_600_000;

describe("commit log expiry", () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let clock: ManualClock;
  let log: CommitLog;
  let close: () => Promise<void>;
  let usage: DiskUsage;
  /** Hours since the change of the file, by number. */
  let ages: number[];
  let retain: number | null;
  let logged: string[];

  const service = (overrides: Partial<CleanCommitLogOptions> = {}) => {
    const fs: FileSystem = { ...directory.fs, diskUsage: () => usage };
    const note = (text: string) => logged.push(text);
    return new CleanCommitLogService(log, {
      storePathRootDir: directory.path,
      fileReservedTime: 72,
      deleteWhen: "99",
      diskMaxUsedSpaceRatio: 75,
      diskSpaceCleanForciblyRatio: 85,
      diskSpaceWarningLevelRatio: 90,
      cleanFileForciblyEnable: true,
      deleteFileBatchMax: 10,
      deleteCommitLogFilesInterval: 100,
      ...overrides,
    }, {
      fs,
      clock,
      logger: { debug: note, info: note, warn: note, error: note },
      retainOffset: () => retain,
    });
  };
  const run = async (clean: CleanCommitLogService): Promise<number> => {
    let done: number | null = null;
    clean.run().then((count) => done = count);
    for (let i = 0; done === null && i < 1000; i++) {
      await Promise.resolve();
      clock.advance(10);
    }
    assert(done !== null);
    return done;
  };
  const use = (percent: number) =>
    usage = { totalBytes: 1200, usedBytes: percent * 10, freeBytes: 1000 - percent * 10 };
  const thisHour = () => String(new Date(clock.now()).getHours());

  beforeEach(async () => {
    directory = await temporaryDirectory();
    clock = new ManualClock();
    ages = [100, 90, 80, 70, 60, 0];
    const stat = (path: string): FileInfo | null => {
      const info = directory.fs.stat(path);
      const file = /commitlog\/(\d{20})$/.exec(path);
      if (info === null || file === null) return info;
      return { ...info, modifiedMs: clock.now() - ages[Number(file[1]) / FILE_SIZE]! * HOUR_MS };
    };
    const opened = openLog(withStat(directory.fs, stat), clock, `${directory.path}/store`);
    log = opened.log;
    close = async () => {
      await log.flushService.stop();
      opened.pool.closeAll();
    };
    const offsets = new QueueOffsets();
    for (let i = 0; i < 6; i++) log.appendMessage(message({ body: new Uint8Array(3800) }), offsets);
    assert.equal(log.mappedFileQueue.files.length, 6);
    use(10);
    retain = null;
    logged = [];
  });
  afterEach(async () => {
    await close();
    directory.remove();
  });

  it("leaves all files alone outside of deleteWhen", async () => {
    assert.equal(await run(service()), 0);
    assert.equal(log.minOffset, 0);
  });

  it("removes what is older than fileReservedTime, at its hour", async () => {
    assert.equal(await run(service({ deleteWhen: `77; ${thisHour()}` })), 3);
    assert.equal(log.minOffset, 3 * FILE_SIZE);
  });

  it("stops at the first file that is not due", async () => {
    ages[1] = 1;
    assert.equal(await run(service({ deleteWhen: thisHour() })), 1);
  });

  it("removes a batch at a time, never the last file", async () => {
    ages = ages.map(() => 1000);
    const clean = service({ deleteWhen: thisHour(), deleteFileBatchMax: 3 });
    assert.equal(await run(clean), 3);
    assert.equal(await run(clean), 2);
    assert.equal(await run(clean), 0);
    assert.equal(log.mappedFileQueue.files.length, 1);
  });

  it("removes expired files at any hour above diskMaxUsedSpaceRatio, and by hand", async () => {
    use(76);
    assert.equal(await run(service()), 3);
    use(10);
    ages[3] = 99;
    const clean = service();
    clean.executeDeleteFilesManually();
    assert.equal(await run(clean), 1);
  });

  it("removes files whatever their age above diskSpaceCleanForciblyRatio", async () => {
    use(86);
    const clean = service();
    assert.equal(await run(clean), 5);
    assert.equal(clean.diskFull, false);
  });

  it("does so only for expired ones without cleanFileForciblyEnable", async () => {
    use(86);
    assert.equal(await run(service({ cleanFileForciblyEnable: false })), 3);
  });

  it("raises the disk-full flag above the warning level, and lowers it", async () => {
    const clean = service();
    use(91);
    await run(clean);
    assert.equal(clean.diskFull, true);
    use(50);
    await run(clean);
    assert.equal(clean.diskFull, false);
    assert.match(logged.join("\n"), /91 % full.*puts are refused[^]*puts are taken again/);
  });

  it("keeps what a live slave needs, until the disk forces it", async () => {
    retain = FILE_SIZE + 5;
    const clean = service({ deleteWhen: thisHour() });
    assert.equal(await run(clean), 1);
    assert.equal(await run(clean), 0);
    assert.equal(logged.filter((line) => line.includes("a slave still needs")).length, 1);
    use(86);
    assert.equal(await run(clean), 4);
  });

  it("ends a round when told to stop", async () => {
    ages = ages.map(() => 1000);
    const clean = service({ deleteWhen: thisHour() });
    const round = clean.run();
    clean.stop();
    clock.advance(100);
    assert.equal(await round, 1);
    assert.equal(await clean.run(), 0);
  });
});

function withStat(fs: FileSystem, stat: FileSystem["stat"]): FileSystem {
  return {
    open: (path, mode) => fs.open(path, mode),
    stat,
    list: (path) => fs.list(path),
    makeDirectory: (path) => fs.makeDirectory(path),
    remove: (path) => fs.remove(path),
    rename: (from, to) => fs.rename(from, to),
    readFile: (path) => fs.readFile(path),
    writeFile: (path, bytes) => fs.writeFile(path, bytes),
    createExclusive: (path, bytes) => fs.createExclusive(path, bytes),
    syncDirectory: (path) => fs.syncDirectory(path),
    syncDirectoryAsync: (path) => fs.syncDirectoryAsync(path),
    diskUsage: (path) => fs.diskUsage(path),
    lockedBy: (path) => fs.lockedBy(path),
  };
}
