// One store on a machine that may end anywhere, held against a model of what it promised: what was stored stays, what is
// there is what was written, zeros follow, queues and index are what the log says. It owns the model and the checks;
// crash_test.ts and crash_script.ts own what happens.

import assert from "node:assert/strict";
import { utf8, writeInt32 } from "../../src/base/bytes.ts";
import { IoError, StoreError } from "../../src/base/errors.ts";
import { Prng } from "../../src/runtime/simulated/mod.ts";
import { MessageStore, type MessageStoreOptions } from "../../src/store/message_store.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import type { AppendMessageResult } from "../../src/store/types.ts";
import { message, SMALL } from "../support/store_kit.ts";
import { CrashMachine } from "./crash_machine.ts";

export const ROOT = "/data/store";

/** A message with a key that was put. */
interface Put {
  readonly offset: number;
  readonly end: number;
  readonly topic: string;
  readonly key: string;
}

/** The log of a master: `bytes` from `start`, which is the start of a file. */
export interface Source {
  readonly bytes: Uint8Array;
  readonly start: number;
}

/** A store, its machine and its model. */
export class CrashRun {
  readonly machine: CrashMachine;
  readonly prng: Prng;
  readonly options: MessageStoreOptions;
  /** What this store copies; null for one that takes puts. */
  readonly source: Source | null;
  store: MessageStore | null = null;
  /** What the store reported as fatal. */
  fatal: unknown = null;
  /** All below was promised to be on the disk. */
  stored = 0;
  puts: Put[] = [];
  /** All below was written; only a loss of power may take it. */
  #written = 0;
  /** What the log held when the model last looked, from `#min`. */
  #bytes: Uint8Array = new Uint8Array(0);
  #min = 0;
  #texts = 0;
  /** Whether a call was cut short: what it was writing may be there. */
  #isUncertain = false;
  #isCutting = false;
  #writeFailed = false;

  constructor(seed: number, options: Partial<MessageStoreOptions> = {}, source: Source | null = null) {
    this.machine = new CrashMachine(seed, (end) => this.#onEnd(end));
    this.prng = new Prng(seed).fork("run");
    this.options = { ...SMALL, storePathRootDir: ROOT, ...options };
    this.source = source;
  }

  #onEnd(end: "power" | "kill"): void {
    if (end === "power") this.#written = 0;
    else if (this.store !== null && !this.#isCutting) this.#written = this.#min + this.#bytes.length;
    this.store = null;
  }

  /** Whether a sync failed and power did not go since: what is on the disk is unknown, the kernel may tell lies. */
  get mustLosePower(): boolean {
    const mustLose = this.machine.host.disk.counters.syncErrors > 0;
    this.machine.host.disk.counters.syncErrors = 0;
    return mustLose;
  }

  /** Opens the store, holds its log against the model, starts it. False when the machine ended, or a disk failed. */
  async open(): Promise<boolean> {
    this.fatal = null;
    const { clock, process } = this.machine.host.runtime;
    const parts = { fs: this.machine.fileSystem(), clock, process, onFatal: (error: unknown) => this.fatal ??= error };
    try {
      const store = await this.machine.drive(MessageStore.open(this.options, parts));
      if (store === null) return false;
      this.#checkLog(store);
      this.store = store;
      this.machine.attempt(() => store.start());
      if (this.source === null && this.machine.isRunning) await this.machine.drive(store.setRole("master"));
    } catch (error) {
      // A sync that fails once more at a start refuses it.
      const isRefused = error instanceof StoreError && error.cause instanceof IoError;
      if (!isRefused && !(error instanceof IoError)) throw error;
      if (this.mustLosePower) this.machine.crash();
      else this.machine.kill();
    }
    return this.machine.isRunning;
  }

  #checkLog(store: MessageStore): void {
    const { minOffset, maxOffset } = store;
    assert.ok(maxOffset >= this.stored, `log ends at ${maxOffset}, stored was ${this.stored}`);
    assert.ok(maxOffset >= this.#written, `log ends at ${maxOffset}, written was ${this.#written}`);
    if (this.source !== null) this.#checkPiece(this.source.bytes, this.source.start, minOffset, maxOffset);
    const modelEnd = this.#min + this.#bytes.length;
    // What a failed write left may come back in the place of what was written after it, until the next sync.
    const end = Math.min(modelEnd, maxOffset, this.#writeFailed ? this.stored : Infinity);
    this.#checkPiece(this.#bytes, this.#min, Math.max(minOffset, this.#min), end);
    if (!this.#isUncertain && this.#bytes.length > 0) {
      assert.ok(maxOffset <= modelEnd, `log ends at ${maxOffset}, written was ${modelEnd}`);
    }
    this.#checkRest(maxOffset);
    this.puts = this.puts.filter((put) => put.end <= maxOffset);
    this.stored = store.flushedOffset;
    this.#written = 0;
    this.#isUncertain = this.#writeFailed = false;
    this.#learn(store);
  }

  /** The log holds in `[from, end)` what `bytes` hold, which begin at `start`. */
  #checkPiece(bytes: Uint8Array, start: number, from: number, end: number): void {
    if (end <= from) return;
    const expected = bytes.subarray(from - start, end - start);
    const at = this.logBytes(from, end).findIndex((byte, i) => byte !== expected[i]);
    assert.equal(at, -1, `log to ${end} holds other bytes than were written, at ${from + at}`);
  }

  /** Behind the end of the log are zeros, up to the end of its file. */
  #checkRest(end: number): void {
    const { disk } = this.machine.host;
    for (const path of disk.files().filter((it) => it.startsWith(`${ROOT}/commitlog/`))) {
      assert.equal(disk.fileAt(path).size, this.options.mappedFileSizeCommitLog, path);
      const rest = disk.peek(path, Math.max(0, end - Number(path.slice(-20))));
      assert.ok(rest.every((byte) => byte === 0), `${path} holds something behind ${end}`);
    }
  }

  /** Bytes of the log's files. */
  logBytes(from: number, end: number): Uint8Array {
    const size = this.options.mappedFileSizeCommitLog;
    const out = new Uint8Array(end - from);
    for (let at = from; at < end;) {
      const start = at - at % size;
      const path = `${ROOT}/commitlog/${String(start).padStart(20, "0")}`;
      const part = this.machine.host.disk.peek(path, at - start, Math.min(end, start + size) - at);
      out.set(part, at - from);
      at += part.length;
    }
    return out;
  }

  #learn(store: MessageStore): void {
    this.#min = store.minOffset;
    this.#bytes = this.logBytes(store.minOffset, store.maxOffset);
  }

  /** One put, of a message or a batch, or some bytes of the master. */
  append(): void {
    const store = this.store!;
    this.#isUncertain = true;
    this.machine.attempt(() => {
      if (this.source !== null) this.#copy(store, this.source);
      else if (this.prng.nextInt(4) === 0) this.#putBatch(store);
      else this.#putMessage(store);
    });
    if (!this.machine.isRunning) return;
    this.#learn(store);
    this.#isUncertain = false;
  }

  #copy(store: MessageStore, { bytes, start }: Source): void {
    const from = Math.max(start, store.replicaWriteOffset);
    const size = this.prng.nextInt(4) === 0 ? this.prng.nextInt(12_000) : this.prng.nextInt(900);
    const chunk = bytes.subarray(from - start, from - start + size);
    try {
      if (chunk.length > 0) assert.equal(store.appendReplica(from, chunk).type, "appended");
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
    }
  }

  #putMessage(store: MessageStore): void {
    const text = `m${this.#texts++}`;
    const size = this.prng.nextInt(8) === 0 ? this.prng.nextInt(5000) : this.prng.nextInt(300);
    const topic = `Topic${this.prng.nextInt(3)}`;
    const body = utf8.encode(text.padEnd(size, "x"));
    const result = store.appendMessage(message(text, { topic, queueId: this.prng.nextInt(2), body }));
    this.#note(result);
    if (result.status !== "PUT_OK") return;
    const { wroteOffset, wroteBytes } = result;
    this.puts.push({ offset: wroteOffset, end: wroteOffset + wroteBytes, topic, key: `k-${text}` });
  }

  #putBatch(store: MessageStore): void {
    const parts: number[] = [];
    for (let i = this.prng.nextInt(6); i >= 0; i--) {
      const body = utf8.encode(`b${this.#texts++}`.padEnd(40, "y"));
      const part = new Uint8Array(22 + body.length);
      writeInt32(part, 0, part.length);
      writeInt32(part, 16, body.length);
      part.set(body, 20);
      parts.push(...part);
    }
    const shared = message("batch", { topic: "Batch", properties: new Map() });
    this.#note(store.appendBatch({ message: shared, batchBody: Uint8Array.from(parts) }));
  }

  #note(result: AppendMessageResult): void {
    if (result.status !== "PUT_OK") this.#writeFailed = true;
  }

  /** Waits until all is stored, and believes the answer. */
  async waitStored(): Promise<void> {
    const { maxOffset } = this.store!;
    const isStored = await this.machine.drive(this.store!.waitStored(maxOffset, 5000));
    if (isStored === true) this.stored = Math.max(this.stored, maxOffset);
  }

  /** A clean stop. */
  async shutdown(): Promise<void> {
    const store = this.store!;
    const { maxOffset } = store;
    try {
      await this.machine.drive(store.shutdown());
    } catch (error) {
      this.fatal ??= error;
    }
    if (!this.machine.isRunning) return;
    if (this.fatal === null) this.stored = Math.max(this.stored, maxOffset);
    this.store = null;
  }

  /** A round of expiry. */
  async expire(): Promise<void> {
    const store = this.store!;
    try {
      await this.machine.drive(store.cleanExpired());
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
    }
    if (!this.machine.isRunning) return;
    this.#learn(store);
    this.puts = this.puts.filter((put) => put.offset >= this.#min);
  }

  /** `--resync`: the last record, or all of the log, is set aside. */
  async setAside(): Promise<void> {
    const store = this.store!;
    store.discardPartial();
    const isWhole = this.prng.nextInt(3) === 0;
    const from = isWhole || store.lastRecordOffset < 0 ? store.minOffset : store.lastRecordOffset;
    this.#isUncertain = this.#isCutting = true;
    this.stored = Math.min(this.stored, isWhole ? 0 : from);
    let path: string | null = null;
    try {
      path = await this.machine.drive(isWhole ? store.setLogAside() : store.setTailAside(from));
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.fatal ??= error;
    }
    this.#isCutting = false;
    if (!this.machine.isRunning) return;
    this.#learn(store);
    if (path === null) return;
    this.#isUncertain = false;
    this.stored = store.flushedOffset;
  }

  /** Once all is dispatched, queues and index are what the log says. */
  async checkAll(): Promise<void> {
    const store = this.store!;
    try {
      await this.machine.drive(store.waitDispatched());
    } catch (error) {
      if (this.fatal === null) throw error;
    }
    // What a crash took of the index is built again beside the rest; what can't be written is tried again every second.
    if (this.machine.isRunning) await this.machine.world.advance(5000);
    if (!this.machine.isRunning || this.fatal !== null) return;
    const verified = await this.machine.drive(verifyStore(this.machine.host.runtime.fs, ROOT));
    if (verified === null) return;
    assert.equal(verified.finding, null, JSON.stringify(verified.finding));
    assert.equal(verified.maxOffset, store.maxOffset);
    assert.equal(verified.notDispatched, 0);
    for (const { topic, key, offset } of this.puts) {
      if (offset < store.minOffset) continue;
      const found = await this.machine.drive(store.queryMessage(topic, key, 10, 0, Number.MAX_SAFE_INTEGER));
      if (found === null) return;
      assert.deepEqual(found.map((it) => it.physicalOffset), [offset], `index lacks ${topic}#${key}`);
    }
  }

  /** What all files of the store hold, without the owner's. */
  snapshot(): Map<string, string> {
    const { disk } = this.machine.host;
    const files = disk.files().filter((path) => path.startsWith(ROOT) && !path.includes("twinlog.owner"));
    return new Map(files.map((path) => [path, Buffer.from(disk.peek(path)).toString("latin1")]));
  }
}
