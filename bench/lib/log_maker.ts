// Makes the commit log that every benchmark sends: messages of 1 KB as a Java client would send them, written by our own
// store. Made once per size and kept; copies are handed to whoever needs a store of its own.

import * as fs from "node:fs";
import * as path from "node:path";
import { createConfig } from "../../src/config/load.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { MessageStore } from "../../src/store/message_store.ts";
import type { MessageToPut } from "../../src/store/types.ts";

/** A store whose commit log is one file that starts at 0. */
export interface MadeLog {
  readonly directory: string;
  readonly mappedFileSize: number;
  /** End of the log, bytes. */
  readonly maxOffset: number;
  /** Ends of whole records, ascending: the first at or behind each `marks` asked for. */
  readonly marks: readonly number[];
  readonly messages: number;
}

const BODY_SIZE = 1024;
const QUEUES = 8;
const HOST = { address: new Uint8Array([127, 0, 0, 1]), port: 10911 };

/** The `index`th message: a body that does not compress, what a Java client adds, a trace id; 1.3 KB as a record. */
export function makeMessage(index: number): MessageToPut {
  const body = new Uint8Array(BODY_SIZE);
  for (let at = 0, seed = index * 2654435761 + 1; at < BODY_SIZE; at++) {
    seed = (Math.imul(seed, 1664525) + 1013904223) | 0;
    body[at] = seed >>> 24;
  }
  return {
    topic: "BenchmarkTest",
    queueId: index % QUEUES,
    body,
    properties: new Map([
      ["UNIQ_KEY", index.toString(16).toUpperCase().padStart(32, "7F000001")],
      ["CLUSTER", "DefaultCluster"],
      ["WAIT", "true"],
      ["TAGS", `Tag${index % 4}`],
      ["TRACE_ID", index.toString(16).padStart(64, "0123456789abcdef")],
    ]),
    flag: 0,
    sysFlag: 0,
    bornTimestamp: 1_760_000_000_000 + Math.floor(index / 100),
    bornHost: HOST,
    storeHost: HOST,
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
  };
}

/** Opens a store with Apache's defaults but for `values`; it is started, and takes puts if `master`. */
export async function openStore(
  directory: string,
  values: { mappedFileSizeCommitLog: number },
  master: boolean,
): Promise<MessageStore> {
  const runtime = await loadRuntime();
  return await openStoreOn(runtime, directory, values, master);
}

async function openStoreOn(
  runtime: Runtime,
  directory: string,
  values: { mappedFileSizeCommitLog: number },
  master: boolean,
): Promise<MessageStore> {
  const { config } = createConfig({ ...values, storePathRootDir: directory }, runtime.process);
  const store = await MessageStore.open(config, { fs: runtime.fs, clock: runtime.clock, process: runtime.process });
  store.start();
  if (master) await store.setRole("master");
  return store;
}

/**
 * A log of at least the last of `marks` bytes, in one file of `mappedFileSize`, under `cache`. The marks are where
 * transfers are to end; the real ends, of whole records, are given back.
 */
export async function makeLog(cache: string, mappedFileSize: number, marks: readonly number[]): Promise<MadeLog> {
  const directory = path.join(cache, `log-${marks.join("-")}-${mappedFileSize}`);
  const stamp = path.join(directory, "made.json");
  if (fs.existsSync(stamp)) return JSON.parse(fs.readFileSync(stamp, "utf8"));
  fs.rmSync(directory, { recursive: true, force: true });
  const store = await openStore(directory, { mappedFileSizeCommitLog: mappedFileSize }, true);
  const ends: number[] = [];
  let messages = 0;
  while (ends.length < marks.length) {
    const result = store.appendMessage(makeMessage(messages++));
    if (result.status !== "PUT_OK") throw new Error(`Append ended with ${result.status}`);
    while (ends.length < marks.length && store.maxOffset >= marks[ends.length]!) ends.push(store.maxOffset);
    // Dispatch keeps pace, as it would under a real load.
    if (messages % 20_000 === 0) await store.waitDispatched();
  }
  await store.waitDispatched();
  const made: MadeLog = { directory, mappedFileSize, maxOffset: store.maxOffset, marks: ends, messages };
  await store.shutdown();
  fs.writeFileSync(stamp, JSON.stringify(made));
  return made;
}

/** Reads every byte of the log, so that it comes from the page cache from here on. */
export function warm(directory: string): void {
  const buffer = Buffer.allocUnsafeSlow(4 * 1024 * 1024);
  const folder = path.join(directory, "commitlog");
  for (const name of fs.readdirSync(folder)) {
    const fd = fs.openSync(path.join(folder, name), "r");
    while (fs.readSync(fd, buffer, 0, buffer.length, null) > 0);
    fs.closeSync(fd);
  }
}
