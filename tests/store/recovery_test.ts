import { afterEach, beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { readInt64 } from "../../src/base/bytes.ts";
import { IoError, StoreError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import type { FileSystem } from "../../src/runtime/runtime.ts";
import type { CommitLog } from "../../src/store/commit_log.ts";
import { decodeMessage, RecordField } from "../../src/store/message_codec.ts";
import { recoverCommitLog, type RecoveryOptions, type RecoveryResult } from "../../src/store/recovery.ts";
import { AbortFile } from "../../src/store/store_lock.ts";
import { ManualClock } from "../support/manual_clock.ts";
import {
  APACHE_FILE_SIZE,
  APACHE_STORES,
  copyDirectory,
  logBytes,
  message,
  openLog,
  QueueOffsets,
  temporaryDirectory,
} from "../support/store_fixtures.ts";

const FILE_SIZE = 4096;
/** Bytes at a record's end that no check of the format covers without `__CRC32#`: the text of its properties. */
const PROPERTIES_SIZE = 20;

interface Recovered extends RecoveryResult {
  readonly log: CommitLog;
  /** Offsets of the records handed to dispatch. */
  readonly dispatched: number[];
}

describe("recovery", () => {
  let directory: Awaited<ReturnType<typeof temporaryDirectory>>;
  let fs: FileSystem;
  let root: string;
  let clock: ManualClock;
  let close: (() => Promise<void>)[];

  const recover = (options: Partial<RecoveryOptions> = {}, fileSize = FILE_SIZE): Recovered => {
    const { log, checkpoint, pool } = openLog(fs, clock, root, { mappedFileSizeCommitLog: fileSize });
    close.push(async () => {
      await log.flushService.stop();
      pool.closeAll();
    });
    const dispatched: number[] = [];
    const result = recoverCommitLog(log, checkpoint, {
      cleanExit: false,
      maxPhyOffsetOfConsumeQueue: -1,
      checkCRCOnRecover: true,
      messageIndexEnable: true,
      messageIndexSafe: false,
      dispatch: (bytes, at) => dispatched.push(readInt64(bytes, at + RecordField.PHYSICAL_OFFSET)),
      ...options,
    });
    return { ...result, log, dispatched };
  };

  /** A log of `count` records of 1000 bytes or so, flushed; returns their offsets. */
  const write = async (count: number): Promise<number[]> => {
    const { log, dispatched } = recover();
    assert.deepEqual(dispatched, []);
    const offsets = new QueueOffsets();
    const starts: number[] = [];
    for (let i = 0; i < count; i++) {
      const result = log.appendMessage(message({ body: new Uint8Array(800).fill(i + 1) }), offsets);
      assert(result.status === "PUT_OK");
      starts.push(result.wroteOffset);
      clock.advance(10_000);
    }
    await log.flushService.flushNow();
    return starts;
  };

  const bytes = () => logBytes(fs, `${root}/commitlog`);
  const files = () => fs.list(`${root}/commitlog`).map(Number);
  const setByte = (offset: number, value: number, fileSize = FILE_SIZE) => {
    const name = String(offset - (offset % fileSize)).padStart(20, "0");
    const handle = fs.open(`${root}/commitlog/${name}`, "write");
    handle.writeAt(Uint8Array.of(value), offset % fileSize);
    handle.close();
  };

  beforeEach(async () => {
    directory = await temporaryDirectory();
    fs = directory.fs;
    root = `${directory.path}/store`;
    clock = new ManualClock();
    close = [];
  });
  afterEach(async () => {
    for (const one of close) await one();
    directory.remove();
  });

  it("finds an empty log empty", () => {
    const { isEmpty, end, log } = recover();
    assert.deepEqual([isEmpty, end, log.maxOffset, log.lastRecordOffset], [true, 0, 0, -1]);
  });

  it("finds the end that was, after a crash and after a clean stop", async () => {
    const starts = await write(9);
    const before = bytes();
    for (const cleanExit of [false, true]) {
      const { end, log, dispatched, clearedBytes } = recover({ cleanExit });
      assert.equal(end, starts[8]! + (starts[1]! - starts[0]!));
      assert.equal(log.maxOffset, end);
      assert.equal(log.flushedOffset, end);
      assert.equal(log.lastRecordOffset, starts[8]);
      assert.equal(clearedBytes, 0);
      assert.deepEqual(dispatched, starts);
      assert.deepEqual(bytes(), before);
    }
  });

  it("cuts a torn tail wherever it is torn, zeroes it, and does so once", async () => {
    const starts = await write(3);
    const whole = bytes();
    const size = starts[1]! - starts[0]!;
    for (let torn = 0; torn < size - PROPERTIES_SIZE; torn += 13) {
      const file = whole.slice();
      file.fill(0xa5, starts[2]! + torn, starts[2]! + torn + 40);
      fs.writeFile(`${root}/commitlog/${"0".repeat(20)}`, file);
      const first = recover();
      assert.equal(first.end, starts[2], `torn at ${torn}`);
      assert.equal(first.log.lastRecordOffset, starts[1]);
      assert(first.clearedBytes > 0);
      const expected = new Uint8Array(FILE_SIZE);
      expected.set(whole.subarray(0, starts[2]));
      assert.deepEqual(bytes(), expected);
      const second = recover();
      assert.deepEqual([second.end, second.clearedBytes], [starts[2], 0]);
    }
  });

  it("cuts a tail that ends early, at every length", async () => {
    const starts = await write(3);
    const whole = bytes();
    const size = starts[1]! - starts[0]!;
    for (let kept = 0; kept < size - PROPERTIES_SIZE; kept += 7) {
      const file = whole.slice();
      file.fill(0, starts[2]! + kept);
      fs.writeFile(`${root}/commitlog/${"0".repeat(20)}`, file);
      assert.equal(recover().end, starts[2], `${kept} bytes kept`);
    }
  });

  it("lets no stale record come back to life", async () => {
    const starts = await write(4);
    setByte(starts[2]! + 200, 0xff);
    recover();
    const { log } = recover();
    // The same size as the one that was cut: its end is where the stale one started.
    const result = log.appendMessage(message({ body: new Uint8Array(800).fill(9) }), new QueueOffsets());
    assert(result.status === "PUT_OK" && result.wroteOffset === starts[2]);
    const again = recover();
    assert.equal(again.end, starts[3]);
    assert.equal(again.log.lastRecordOffset, starts[2]);
  });

  it("removes the files behind the end", async () => {
    const starts = await write(12);
    const bad = starts.findIndex((start) => start > FILE_SIZE);
    setByte(starts[bad]! + 300, 0xff);
    const { end, log } = recover();
    assert.equal(end, starts[bad]);
    assert.deepEqual(files(), [0, FILE_SIZE]);
    assert.equal(log.lastRecordOffset, starts[bad - 1]);
  });

  it("finds its last record in an earlier file", async () => {
    const starts = await write(5);
    const second = starts.findIndex((start) => start >= FILE_SIZE);
    setByte(starts[second]! + 300, 0xff);
    const { end, log } = recover();
    assert.equal(end, FILE_SIZE);
    assert.deepEqual(files(), [0, FILE_SIZE]);
    assert.equal(log.lastRecordOffset, starts[second - 1]);
  });

  it("keeps a filler that ends the last file, and lets a file follow it", async () => {
    await write(5);
    fs.remove(`${root}/commitlog/${String(FILE_SIZE).padStart(20, "0")}`);
    const { end, log } = recover();
    assert.equal(end, FILE_SIZE);
    assert.equal(log.maxOffset, FILE_SIZE);
    assert.deepEqual(files(), [0, FILE_SIZE]);
  });

  /** What recovery kept: file names and bytes. */
  const kept = (path: string | null) => {
    assert.ok(path !== null && path.startsWith(`${root}/commitlog.aside/`), `kept in ${path}`);
    return fs.list(path).map((name): [number, Uint8Array] => [Number(name), fs.readFile(`${path}/${name}`)!]);
  };

  it("keeps whole records that it cuts at bit rot, in their file and in later ones, and says so", async () => {
    const starts = await write(12);
    const before = bytes();
    const end = starts[11]! + (starts[1]! - starts[0]!);
    const lines: string[] = [];
    const logger = { ...SILENT_LOGGER, error: (text: string) => lines.push(text) };
    setByte(starts[1]! + 300, 0xff);
    before[starts[1]! + 300] = 0xff;
    const { keptPath } = recover({ logger });
    const [rest, ...later] = kept(keptPath);
    const firstFileEnd = starts.findLast((start) => start < FILE_SIZE)! + (starts[1]! - starts[0]!) + 8;
    assert.equal(rest![0], starts[1]);
    assert.deepEqual(rest![1], before.slice(starts[1], firstFileEnd));
    assert.deepEqual(later.map(([name]) => name), [FILE_SIZE, 2 * FILE_SIZE].filter((start) => start < end));
    for (const [name, content] of later) assert.deepEqual(content, before.slice(name, name + FILE_SIZE));
    assert.equal(lines.length, 1);
    for (const part of [`cut at ${starts[1]}`, "bodyCRC", `${end - starts[1]!} bytes`, keptPath!]) {
      assert.ok(lines[0]!.includes(part), `${lines[0]} lacks ${part}`);
    }
    assert.deepEqual(files(), [0]);
    assert.deepEqual(recover().keptPath, null, "once");
  });

  it("finds the records behind bit rot wherever it is, and keeps no torn tail", async () => {
    const starts = await write(3);
    const whole = bytes();
    const size = starts[1]! - starts[0]!;
    const put = (file: Uint8Array) => fs.writeFile(`${root}/commitlog/${"0".repeat(20)}`, file);
    for (const at of [0, 3, 4, 28, 84, 88, 500]) {
      const file = whole.slice();
      file[starts[1]! + at]! ^= 0x40;
      put(file);
      const { end, keptPath } = recover();
      assert.equal(end, starts[1], `byte ${at}`);
      assert.deepEqual(kept(keptPath), [[starts[1]!, file.slice(starts[1], starts[2]! + size)]]);
      // The last record: nothing whole follows.
      const tail = whole.slice();
      tail[starts[2]! + at]! ^= 0x40;
      put(tail);
      const second = recover();
      assert.deepEqual([second.end, second.keptPath], [starts[2], null]);
      assert.ok(second.clearedBytes > 0);
    }
    // A record without its front, as a loss of power may leave it, with another behind: that one is whole.
    const file = whole.slice();
    file.fill(0, starts[1], starts[1]! + 512);
    put(file);
    assert.equal(kept(recover().keptPath).length, 1);
  });

  it("cuts nothing when the records can't be kept", async () => {
    const starts = await write(12);
    setByte(starts[1]! + 300, 0xff);
    const before = bytes();
    // A file is where the directory should be.
    fs.writeFile(`${root}/commitlog.aside`, new Uint8Array(1));
    assert.throws(
      () => recover(),
      (error: Error) => error instanceof IoError && /cut at \d+.*make room/.test(error.message),
    );
    assert.deepEqual(bytes(), before);
    fs.remove(`${root}/commitlog.aside`);
    assert.equal(kept(recover().keptPath).length > 1, true);
  });

  it("starts after a crash at the newest file that the checkpoint covers", async () => {
    const starts = await write(16);
    const { checkpoint } = openLog(fs, clock, root);
    const timestampOf = (offset: number) => decodeMessage(bytes(), offset).storeTimestamp;
    const fileStarts = starts.filter((start) => start % FILE_SIZE === 0);
    checkpoint.physicMsgTimestamp = timestampOf(fileStarts[2]!) + 3000;
    checkpoint.logicsMsgTimestamp = timestampOf(starts.at(-1)!);
    checkpoint.flushBlocking();
    assert.equal(recover().startOffset, fileStarts[2]);
    assert.deepEqual(recover().dispatched, starts.filter((start) => start >= fileStarts[2]!));
    checkpoint.physicMsgTimestamp -= 1;
    checkpoint.flushBlocking();
    assert.equal(recover().startOffset, fileStarts[1]);
    assert.equal(recover({ messageIndexSafe: true }).startOffset, 0);
    assert.equal(recover({ messageIndexSafe: true, messageIndexEnable: false }).startOffset, fileStarts[1]);
  });

  it("starts after a clean stop at the newest file the consume queues reach", async () => {
    const starts = await write(16);
    const fileStarts = starts.filter((start) => start % FILE_SIZE === 0);
    for (
      const [reached, start] of [[-1, 0], [fileStarts[1]! - 1, 0], [fileStarts[1]!, fileStarts[1]], [
        1e9,
        fileStarts.at(-1),
      ]]
    ) {
      const { startOffset, dispatched } = recover({ cleanExit: true, maxPhyOffsetOfConsumeQueue: reached! });
      assert.equal(startOffset, start);
      assert.deepEqual(dispatched, starts.filter((one) => one >= reached!));
    }
  });

  it("looks at CRCs unless told not to", async () => {
    const starts = await write(3);
    setByte(starts[1]! + 300, 0xff);
    const before = bytes();
    assert.equal(recover({ checkCRCOnRecover: false }).log.lastRecordOffset, starts[2]);
    assert.deepEqual(bytes(), before);
    assert.equal(recover().end, starts[1]);
  });

  it("trusts the zeros behind its own clean end, and only that", async () => {
    const starts = await write(2);
    const { log, end } = recover();
    await log.shutdown();
    setByte(end + 2000, 7);
    assert.equal(recover({ cleanExit: true }).clearedBytes, 0);
    assert.equal(recover({ cleanExit: true }).clearedBytes > 0, true, "the note holds for one start");
    const again = recover();
    await again.log.shutdown();
    setByte(starts[1]! + 300, 0xff);
    setByte(end + 2000, 7);
    recover({ cleanExit: true });
    assert.deepEqual(bytes().slice(starts[1]), new Uint8Array(FILE_SIZE - starts[1]!));
  });

  it("refuses a file of the wrong size by name", async () => {
    await write(12);
    const path = `${root}/commitlog/${String(FILE_SIZE).padStart(20, "0")}`;
    fs.writeFile(path, new Uint8Array(100));
    assert.throws(() => recover(), (error: Error) => error instanceof StoreError && error.message.includes(path));
    fs.writeFile(path, new Uint8Array(0));
    assert.throws(() => recover(), StoreError);
  });

  it("opens what Apache left, stopped or killed, without changing a byte of it", () => {
    for (const name of ["plain", "plain-crashed", "crc", "crc-crashed"]) {
      fs.remove(root);
      copyDirectory(fs, `${APACHE_STORES}/${name}`, root);
      const text = new TextDecoder().decode(fs.readFile(`${APACHE_STORES}/${name.split("-")[0]}.txt`)!);
      const max = Number(/^MAX (\d+)$/m.exec(text)![1]);
      const before = bytes();
      const isCrashed = AbortFile.exists(fs, root);
      assert.equal(isCrashed, name.endsWith("crashed"));
      const { end, log, clearedBytes } = recover({ cleanExit: !isCrashed }, APACHE_FILE_SIZE);
      assert.equal(end, max);
      assert.equal(clearedBytes, 0);
      assert.equal(log.maxOffset, max);
      const kept = files().length * APACHE_FILE_SIZE;
      assert.deepEqual(bytes(), before.slice(0, kept), "the file made ahead may go, nothing else");
      assert.equal(before.slice(kept).every((byte) => byte === 0), true);
    }
  });
});
