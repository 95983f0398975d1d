// Messages, logs and temporary directories for the store's tests, and the stores that Apache 5.3.3 wrote for them.

import { tmpdir } from "node:os";
import type { Clock, FileSystem, Runtime } from "../../src/runtime/runtime.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import { CommitLog, type CommitLogOptions, type QueueOffsetAssigner } from "../../src/store/commit_log.ts";
import { HandlePool } from "../../src/store/handle_pool.ts";
import { StoreCheckpoint } from "../../src/store/store_checkpoint.ts";
import type { MessageToPut } from "../../src/store/types.ts";

/** Stores that an Apache 5.3.3 `DefaultMessageStore` wrote with files of 2048 bytes; see README.md beside them. */
export const APACHE_STORES = new URL("../fixtures/apache_5_3_3/", import.meta.url).pathname.replace(/\/$/, "");
export const APACHE_FILE_SIZE = 2048;

let temporaryDirectories = 0;

/** A fresh directory; the test removes it. */
export async function temporaryDirectory(): Promise<
  { runtime: Runtime; fs: FileSystem; path: string; remove(): void }
> {
  const runtime = await loadRuntime();
  const { fs, process, random } = runtime;
  const path = `${tmpdir()}/twinlog-${process.pid}-${random.nextInt(2 ** 32)}-${temporaryDirectories++}`;
  fs.makeDirectory(path);
  return { runtime, fs, path, remove: () => fs.remove(path) };
}

/** Copies a directory with what is in it. */
export function copyDirectory(fs: FileSystem, from: string, to: string): void {
  fs.makeDirectory(to);
  for (const name of fs.list(from)) {
    if (fs.stat(`${from}/${name}`)!.isDirectory) copyDirectory(fs, `${from}/${name}`, `${to}/${name}`);
    else fs.writeFile(`${to}/${name}`, fs.readFile(`${from}/${name}`)!);
  }
}

export function message(overrides: Partial<MessageToPut> = {}): MessageToPut {
  return {
    topic: "TopicTest",
    queueId: 1,
    body: new TextEncoder().encode("hello"),
    properties: new Map([["TAGS", "TagA"], ["KEYS", "k1 k2"]]),
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_700_000_000_123,
    bornHost: { address: Uint8Array.of(10, 1, 2, 3), port: 54321 },
    storeHost: { address: Uint8Array.of(127, 0, 0, 1), port: 10911 },
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    ...overrides,
  };
}

/** Queue offsets in a map. */
export class QueueOffsets implements QueueOffsetAssigner {
  readonly table = new Map<string, number>();
  getQueueOffset(topic: string, queueId: number): number {
    return this.table.get(`${topic}-${queueId}`) ?? 0;
  }
  increaseQueueOffset(topic: string, queueId: number, count: number): void {
    this.table.set(`${topic}-${queueId}`, this.getQueueOffset(topic, queueId) + count);
  }
}

export function logOptions(storePathRootDir: string, overrides: Partial<CommitLogOptions> = {}): CommitLogOptions {
  return {
    storePathRootDir,
    storePathCommitLog: "",
    mappedFileSizeCommitLog: 4096,
    maxMessageSize: 4194304,
    enabledAppendPropCRC: false,
    forceVerifyPropCRC: false,
    checkCRCOnRecover: true,
    flushDiskType: "ASYNC_FLUSH",
    flushIntervalCommitLog: 500,
    flushCommitLogLeastPages: 4,
    flushCommitLogThoroughInterval: 10_000,
    ...overrides,
  };
}

/** A loaded log that is not recovered yet, and its surroundings. */
export function openLog(
  fs: FileSystem,
  clock: Clock,
  root: string,
  overrides: Partial<CommitLogOptions> = {},
): { log: CommitLog; checkpoint: StoreCheckpoint; pool: HandlePool; fatal: unknown[] } {
  fs.makeDirectory(root);
  const pool = new HandlePool(fs);
  const checkpoint = new StoreCheckpoint(fs, root);
  const fatal: unknown[] = [];
  const log = new CommitLog(logOptions(root, overrides), {
    pool,
    clock,
    checkpoint,
    onFatal: (error) => fatal.push(error),
  });
  log.load();
  return { log, checkpoint, pool, fatal };
}

/** All bytes of a log, files one after another. */
export function logBytes(fs: FileSystem, directory: string): Uint8Array<ArrayBuffer> {
  const parts = fs.list(directory).map((name) => fs.readFile(`${directory}/${name}`)!);
  const bytes = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return bytes;
}
