// One store on one simulated machine, driven by a seed through puts, a master's bytes, stops, kills, losses of power and
// broken disks, and held against a model of what it promised: what was stored stays, what is there is right. It owns the
// model and the checks; crash_test.ts owns which runs there are.

import assert from "node:assert/strict";
import type { FileHandle, FileSystem, Runtime } from "../../src/runtime/runtime.ts";
import { type CrashMode, Prng, type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { MessageStore, type MessageStoreOptions } from "../../src/store/message_store.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import type { AppendMessageResult, MessageToPut } from "../../src/store/types.ts";
import { IoError } from "../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { utf8, writeInt16, writeInt32 } from "../../src/base/bytes.ts";
import { message, SMALL } from "../support/store_kit.ts";

export const ROOT = "/data/store";
const DEADLINE_MS = 600_000;

/** What the next `count` operations on files do: pass, and then the power goes, or the process is killed. */
export interface Boundary {
  count: number;
  readonly end: "power" | "kill";
  readonly mode?: CrashMode;
}

/** Thrown in the middle of a call when the machine ends there. */
export class MachineEnded extends Error {}

/** A message that was put or copied, as the model knows it. */
interface Put {
  readonly offset: number;
  readonly end: number;
  readonly topic: string;
  readonly key: string;
  readonly storeTimestamp: number;
}

/** The run. */
export class CrashRun {
  readonly world: SimulatedWorld;
  readonly host: SimulatedHost;
  readonly prng: Prng;
  readonly options: MessageStoreOptions;
  /** Operations on files since the beginning. */
  operations = 0;
  boundary: Boundary | null = null;
  store: MessageStore | null = null;
  /** Bytes the log held when the model last looked, from `modelMin`. */
  bytes: Uint8Array = new Uint8Array(0);
  modelMin = 0;
  /** All below was promised to be on the disk. */
  stored = 0;
  /** All below was written; only a loss of power may take it. */
  #written = 0;
  puts: Put[] = [];
  /** Log of a master that this store copies; null for a store that takes puts. */
  readonly source: Uint8Array | null;
  readonly sourceStart: number;
  fatal: unknown = null;
  logger = SILENT_LOGGER;
  #texts = 0;
  /** Whether an append may have left something behind the model's end. */
  #uncertain = false;
  #writeFailed = false;
  #isCutting = false;

  constructor(
    seed: number,
    options: Partial<MessageStoreOptions> = {},
    source: { bytes: Uint8Array; start: number } | null = null,
  ) {
    this.world = new SimulatedWorld(seed, { timerJitterMaxUs: 10 });
    this.host = this.world.host("a");
    this.prng = new Prng(seed).fork("run");
    this.options = { ...SMALL, storePathRootDir: ROOT, ...options };
    this.source = source?.bytes ?? null;
    this.sourceStart = source?.start ?? 0;
  }

  /** Opens, checks what is there, and starts. With `fault` armed it may end the machine instead: returns false then. */
  async open(): Promise<boolean> {
    const runtime = this.#counting(this.host.runtime);
    this.fatal = null;
    try {
      const { fs, clock, process } = runtime;
      const parts = { fs, clock, process, logger: this.logger, onFatal: (error: unknown) => this.fatal ??= error };
      this.store = await this.#drive(MessageStore.open(this.options, parts));
      if (this.store === null) return false;
      this.#checkLog(this.store);
      this.store.start();
      if (this.source === null) await this.#drive(this.store.setRole("master"));
      return this.host.isRunning;
    } catch (error) {
      if (error instanceof assert.AssertionError || (this.host.isRunning && !(error instanceof IoError))) throw error;
      // After a failed sync what is on the disk is unknown; whoever goes on with the same kernel may be told lies.
      if (this.host.isRunning && this.host.disk.counters.syncErrors > 0) this.crash();
      else this.kill();
      return false;
    }
  }

  /** What survived is what was promised, and nothing else. */
  #checkLog(store: MessageStore): void {
    const { minOffset, maxOffset } = store;
    assert.ok(maxOffset >= this.stored, `log ends at ${maxOffset}, stored was ${this.stored}`);
    assert.ok(maxOffset >= this.#written, `log ends at ${maxOffset}, written was ${this.#written}`);
    const { stored } = this;
    this.stored = store.flushedOffset;
    this.#written = 0;
    if (this.source !== null) {
      const expected = this.source.subarray(minOffset - this.sourceStart, maxOffset - this.sourceStart);
const at = this.logBytes(minOffset, maxOffset).findIndex((byte, i) => byte !== expected[i]);
      assert.equal(at, -1, `log is no piece of its master's at ${minOffset + at} of ${maxOffset}`);
    }
    const modelEnd = this.modelMin + this.bytes.length;
    // What a failed write left may come back in the place of what was written after it, until the next sync.
    const end = Math.min(modelEnd, maxOffset, this.#writeFailed ? stored : Infinity);
    if (end > minOffset) {
      const expected = this.bytes.subarray(Math.max(0, minOffset - this.modelMin), end - this.modelMin);
      const actual = this.logBytes(Math.max(minOffset, this.modelMin), end);
      const at = expected.findIndex((byte, i) => byte !== actual[i]) + Math.max(minOffset, this.modelMin);
      assert.equal(Buffer.compare(actual, expected), 0, `log holds other bytes than were written at ${at} of ${end}`);
    }
    if (!this.#uncertain) assert.ok(maxOffset <= modelEnd || modelEnd === 0, `log ends at ${maxOffset}, written was ${modelEnd}`);
    this.puts = this.puts.filter((put) => put.end <= maxOffset);
    this.#uncertain = this.#writeFailed = false;
    this.#checkRest(maxOffset);
    this.#learn(store);
  }

  /** Behind the end of the log are zeros. */
  #checkRest(end: number): void {
    const files = this.host.disk.files().filter((path) => path.startsWith(`${ROOT}/commitlog/`));
    for (const path of files) {
      const from = Number(path.slice(-20));
      assert.equal(this.host.disk.fileAt(path).size, this.options.mappedFileSizeCommitLog, path);
      const rest = this.host.disk.peek(path, Math.max(0, end - from));
      assert.ok(rest.every((byte) => byte === 0), `${path} holds something behind ${end}`);
    }
  }

  logBytes(from: number, end: number): Uint8Array {
    const size = this.options.mappedFileSizeCommitLog;
    const out = new Uint8Array(end - from);
    for (let at = from; at < end;) {
      const start = at - at % size;
      const count = Math.min(end, start + size) - at;
      out.set(this.host.disk.peek(`${ROOT}/commitlog/${String(start).padStart(20, "0")}`, at - start, count), at - from);
      at += count;
    }
    return out;
  }

  #learn(store: MessageStore): void {
    this.modelMin = store.minOffset;
    this.bytes = this.logBytes(store.minOffset, store.maxOffset);
  }

  /** Some puts of single messages and batches, or some bytes of the master. */
  append(): void {
    const store = this.store!;
    this.#uncertain = true;
    this.#guard(() => {
      if (this.source !== null) {
        const from = store.replicaWriteOffset === 0 && this.sourceStart > 0 ? this.sourceStart : store.replicaWriteOffset;
        const size = this.prng.nextInt(4) === 0 ? this.prng.nextInt(12_000) : this.prng.nextInt(900);
        const chunk = this.source.subarray(from - this.sourceStart, from - this.sourceStart + size);
        if (chunk.length > 0) assert.equal(store.appendReplica(from, chunk).type, "appended");
      } else if (this.prng.nextInt(4) === 0) {
        this.#note(store.appendBatch(this.#message(0), this.#batch()), "Batch", "");
      } else {
        const { text, put } = this.#randomMessage();
        this.#note(store.appendMessage(put), put.topic, `k-${text}`);
      }
    });
    if (!this.host.isRunning) return;
    this.#learn(store);
    this.#uncertain = false;
  }

  #randomMessage(): { text: string; put: MessageToPut } {
    const text = `m${this.#texts++}`;
    const size = this.prng.nextInt(8) === 0 ? this.prng.nextInt(5000) : this.prng.nextInt(300);
    const put = message(text, {
      topic: `Topic${this.prng.nextInt(3)}`,
      queueId: this.prng.nextInt(2),
      body: utf8.encode(text.padEnd(size, "x")),
    });
    return { text, put };
  }

  #message(queueId: number): MessageToPut {
    return message("batch", { topic: "Batch", queueId, properties: new Map() });
  }

  #batch(): Uint8Array {
    const parts: number[] = [];
    const count = 1 + this.prng.nextInt(6);
    for (let i = 0; i < count; i++) {
      const body = utf8.encode(`b${this.#texts++}`.padEnd(40, "y"));
      const part = new Uint8Array(22 + body.length);
      writeInt32(part, 0, part.length);
      writeInt32(part, 16, body.length);
      part.set(body, 20);
      writeInt16(part, 20 + body.length, 0);
      parts.push(...part);
    }
    return Uint8Array.from(parts);
  }

  #note(result: AppendMessageResult, topic: string, key: string): void {
    if (result.status !== "PUT_OK") {
      this.#writeFailed = true;
      return;
    }
    const { wroteOffset: offset, wroteBytes, storeTimestamp } = result;
    if (key !== "") this.puts.push({ offset, end: offset + wroteBytes, topic, key, storeTimestamp });
  }

  /** Waits until all is stored, and believes the answer. */
  async waitStored(): Promise<void> {
    const { maxOffset } = this.store!;
    const isStored = await this.#drive(this.store!.waitStored(maxOffset, 5000));
    if (isStored) this.stored = Math.max(this.stored, maxOffset);
  }

  async #drive<T>(work: Promise<T>): Promise<T | null> {
    let settled = false;
    const done = work.finally(() => settled = true);
    done.catch(() => {});
    await this.world.run(() => settled || !this.host.isRunning, DEADLINE_MS);
    if (!settled) return null;
    return await done.catch((error) => {
      if (this.host.isRunning) throw error;
      return null;
    });
  }

  #guard(call: () => void): void {
    try {
      call();
    } catch (error) {
      if (this.host.isRunning && !(error instanceof IoError)) throw error;
    }
  }

  /** Expired files go; with `fileReservedTime` 0 those are all that may. */
  async expire(): Promise<void> {
    const store = this.store!;
    await this.#drive(store.cleanExpired().catch((error) => {
      if (!(error instanceof IoError)) throw error;
    }));
    if (this.host.isRunning) this.#learn(store);
    this.puts = this.puts.filter((put) => put.offset >= this.modelMin);
  }

  /** `--resync`: the tail, or all of the log, is set aside. */
  async setAside(): Promise<void> {
    const store = this.store!;
    store.discardPartial();
    const isWhole = this.source !== null && this.prng.nextInt(3) === 0;
    const cuts = [store.maxOffset, ...this.puts.map((put) => put.offset), store.lastRecordOffset].filter((at) => at >= store.minOffset);
    const from = isWhole ? store.minOffset : this.prng.pick(cuts);
    this.#uncertain = this.#isCutting = true;
    this.stored = Math.min(this.stored, isWhole ? 0 : from);
    this.puts = this.puts.filter((put) => put.end <= from);
    let path: string | null = null;
    try {
      path = await this.#drive(isWhole ? store.setLogAside() : store.setTailAside(from));
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.fatal ??= error;
    }
    this.#isCutting = false;
    if (!this.host.isRunning) return;
    this.#learn(store);
    if (path === null) return;
    this.#uncertain = false;
    this.stored = store.flushedOffset;
  }

  async advance(ms: number): Promise<void> {
    await this.world.advance(ms);
  }

  /** A clean stop. */
  async shutdown(): Promise<void> {
    const store = this.store!;
    const { maxOffset } = store;
    const before = this.host.isRunning;
    await this.#drive(store.shutdown());
    if (!this.host.isRunning || !before) return;
    this.stored = Math.max(this.stored, maxOffset);
    this.store = null;
  }

  /** SIGKILL. */
  kill(): void {
    if (!this.host.isRunning) return;
    this.host.kill();
    if (this.store !== null && !this.#isCutting) this.#written = this.modelMin + this.bytes.length;
    this.store = null;
  }

  /** The power goes. */
  crash(mode?: CrashMode): void {
    this.host.crash(mode);
    this.#written = 0;
    this.store = null;
  }

  /** Everything that can be told from outside holds, once all is dispatched. Leaves the store open. */
  async checkAll(): Promise<void> {
    const store = this.store!;
    await this.#drive(store.waitDispatched().catch((error) => {
      if (this.fatal === null) throw error;
    }));
    if (this.fatal !== null) return;
    if (!this.host.isRunning) return;
    // What a crash took of the index is built again beside the rest.
    await this.world.advance(1000);
    if (!this.host.isRunning || this.fatal !== null) return;
    const copy = await this.#drive(verifyStore(this.host.runtime.fs, ROOT));
    if (copy === null) return;
    assert.equal(copy.finding, null, JSON.stringify(copy.finding));
    assert.equal(copy.maxOffset, store.maxOffset);
    assert.equal(copy.notDispatched, 0);
    for (const put of this.puts.filter((it) => it.offset >= store.minOffset)) {
      const { topic, key } = put;
      const found = await this.#drive(store.queryMessage(topic, key, 10, 0, Number.MAX_SAFE_INTEGER));
      if (found === null) return;
      assert.deepEqual(found.map((it) => it.physicalOffset), [put.offset], `index lacks ${topic}#${key}`);
    }
  }

  /** All files of the store, with what they hold. */
  snapshot(): Map<string, string> {
    const files = this.host.disk.files().filter((path) => path.startsWith(ROOT) && !path.includes("twinlog.owner"));
    return new Map(files.map((path) => [path, Buffer.from(this.host.disk.peek(path)).toString("base64")]));
  }

  #counting(runtime: Runtime): Runtime {
    return { ...runtime, fs: countingFileSystem(runtime.fs, () => this.#operation()) };
  }

  #operation(): void {
    this.operations++;
    const boundary = this.boundary;
    if (boundary === null || !this.host.isRunning || --boundary.count >= 0) return;
    this.boundary = null;
    if (boundary.end === "power") this.crash(boundary.mode);
    else this.kill();
    throw new MachineEnded();
  }
}

/** Calls `before` ahead of each operation that changes something. */
function countingFileSystem(fs: FileSystem, before: () => void): FileSystem {
  const wrap = (handle: FileHandle): FileHandle => ({
    path: handle.path,
    readAt: (target, offset) => handle.readAt(target, offset),
    readAtAsync: (target, offset) => handle.readAtAsync(target, offset),
    writeAt: (bytes, offset) => (before(), handle.writeAt(bytes, offset)),
    sync: async () => (before(), await handle.sync()),
    syncBlocking: () => (before(), handle.syncBlocking()),
    truncate: (size) => (before(), handle.truncate(size)),
    size: () => handle.size(),
    close: () => handle.close(),
  });
  return {
    open: (path, mode) => (mode === "create" && before(), wrap(fs.open(path, mode))),
    stat: (path) => fs.stat(path),
    list: (path) => fs.list(path),
    makeDirectory: (path) => (before(), fs.makeDirectory(path)),
    remove: (path) => (before(), fs.remove(path)),
    rename: (from, to) => (before(), fs.rename(from, to)),
    readFile: (path) => fs.readFile(path),
    writeFile: (path, bytes) => (before(), fs.writeFile(path, bytes)),
    createExclusive: (path, bytes) => (before(), fs.createExclusive(path, bytes)),
    syncDirectory: (path) => (before(), fs.syncDirectory(path)),
    diskUsage: (path) => fs.diskUsage(path),
    lockedBy: (path) => fs.lockedBy(path),
  };
}
