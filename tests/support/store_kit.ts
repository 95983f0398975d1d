// What tests of a whole store share: a fresh directory, small files, messages, and a copy of a store's files as they
// stand at this moment, which is what a killed process leaves behind.

import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { utf8 } from "../../src/base/bytes.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { MessageStore, type MessageStoreOptions, type MessageStoreParts } from "../../src/store/message_store.ts";
import type { AppendMessageResult, MessageToPut } from "../../src/store/types.ts";

/** Small files: a few dozen messages each. */
export const SMALL: Omit<MessageStoreOptions, "storePathRootDir"> = {
  storePathCommitLog: "",
  mappedFileSizeCommitLog: 8 * 1024,
  mappedFileSizeConsumeQueue: 200,
  maxMessageSize: 4 * 1024 * 1024,
  enabledAppendPropCRC: false,
  forceVerifyPropCRC: false,
  checkCRCOnRecover: true,
  flushDiskType: "ASYNC_FLUSH",
  flushIntervalCommitLog: 20,
  flushCommitLogLeastPages: 4,
  flushCommitLogThoroughInterval: 100,
  flushIntervalConsumeQueue: 20,
  flushConsumeQueueLeastPages: 2,
  flushConsumeQueueThoroughInterval: 100,
  messageIndexEnable: true,
  messageIndexSafe: false,
  messageDelayLevel: "1s 5s 10s",
  maxHashSlotNum: 100,
  maxIndexNum: 400,
  maxMsgsNumBatch: 64,
  fileReservedTime: 72,
  deleteWhen: "",
  diskMaxUsedSpaceRatio: 95,
  diskSpaceCleanForciblyRatio: 85,
  diskSpaceWarningLevelRatio: 90,
  cleanFileForciblyEnable: false,
  deleteFileBatchMax: 10,
  deleteCommitLogFilesInterval: 0,
  cleanResourceInterval: 10_000,
  accessMessageInMemoryMaxRatio: 40,
  maxTransferBytesOnMessageInMemory: 262144,
  maxTransferCountOnMessageInMemory: 32,
  maxTransferBytesOnMessageInDisk: 65536,
  maxTransferCountOnMessageInDisk: 8,
  maxFilterMessageSize: 16000,
  offsetCheckInSlave: false,
};

/** Directories of one test file, removed at its end. */
export class StoreKit {
  readonly runtime: Runtime;
  readonly #root = mkdtempSync(join(tmpdir(), "twinlog-store-"));
  readonly #open: MessageStore[] = [];
  #directories = 0;

  private constructor(runtime: Runtime) {
    this.runtime = runtime;
  }

  static async create(): Promise<StoreKit> {
    return new StoreKit(await loadRuntime());
  }

  /** A new path; nothing is there. */
  directory(): string {
    return `${this.#root}/${++this.#directories}`;
  }

  /** Opens and starts a store, ready for puts unless it is to be a slave's. */
  async open(
    directory: string,
    options: Partial<MessageStoreOptions> = {},
    parts: Partial<MessageStoreParts> & { role?: "master" | "slave" } = {},
  ): Promise<MessageStore> {
    const { role = "master", ...rest } = parts;
    const { fs, clock, process } = this.runtime;
    const store = await MessageStore.open(
      { ...SMALL, storePathRootDir: directory, ...options },
      { fs, clock, process, ...rest },
    );
    this.#open.push(store);
    store.start();
    await store.setRole(role);
    return store;
  }

  /** A copy of the files at this moment, as a process killed now would leave them. */
  killed(directory: string): string {
    const copy = this.directory();
    cpSync(directory, copy, { recursive: true });
    rmSync(join(copy, "twinlog.owner"), { force: true });
    return copy;
  }

  /** Closes what is open and removes everything. */
  async dispose(): Promise<void> {
    for (const store of this.#open) await store.shutdown();
    rmSync(this.#root, { recursive: true, force: true });
  }
}

/** A message with a body that tells which one it is. */
export function message(text: string, over: Partial<MessageToPut> = {}): MessageToPut {
  return {
    topic: "TopicTest",
    queueId: 0,
    body: utf8.encode(text),
    properties: new Map([["UNIQ_KEY", `id-${text}`], ["KEYS", `k-${text} all`], ["TAGS", "TagA"]]),
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_700_000_000_000,
    bornHost: { address: Uint8Array.of(127, 0, 0, 1), port: 1 },
    storeHost: { address: Uint8Array.of(127, 0, 0, 1), port: 10911 },
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
    ...over,
  };
}

/** The result of a put that must have worked. */
export function putOk(result: AppendMessageResult): AppendMessageResult & { readonly status: "PUT_OK" } {
  if (result.status !== "PUT_OK") throw new Error(`Put answered ${result.status}: ${result.remark}`);
  return result;
}
