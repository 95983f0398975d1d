// A model of the slave's side as RocketMQ 4.5 to 4.9.1 had it (`HAClient`), with the parts that the reports in this
// folder are about: bytes appended as they come, an append whose result nobody looks at, one time for what was read and
// what was written. Its log is a plain run of bytes without a look at what they are.

import { startLoop, WakeUp } from "../../../src/base/async.ts";
import { concatBytes } from "../../../src/base/bytes.ts";
import { IoError } from "../../../src/base/errors.ts";
import { readTransferHeader, TRANSFER_HEADER_SIZE, writeReport } from "../../../src/ha/frames.ts";
import type { Connection } from "../../../src/runtime/runtime.ts";
import type { SlaveParts, SlaveSide } from "../scene.ts";

/** The old slave's commit log: it ends where the last byte that came ends, in the middle of a record or not. */
export class OldReplicaLog {
  minOffset = 0;
  maxOffset = 0;
  /** Its disk takes nothing more. */
  readOnly = false;
  /** Hears of each growth. */
  onGrow: () => void = () => {};
  #parts: Uint8Array[] = [];

  append(offset: number, bytes: Uint8Array): boolean {
    if (this.readOnly) return false;
    if (this.maxOffset === 0) this.minOffset = offset;
    this.#parts.push(bytes.slice());
    this.maxOffset = offset + bytes.length;
    this.onGrow();
    return true;
  }

  /** Everything from `minOffset` on. */
  get bytes(): Uint8Array {
    this.#parts = [concatBytes(this.#parts)];
    return this.#parts[0]!;
  }
}

/**
 * Wait for bytes from the master, ms, and after a connection that failed. A kernel's wait of 1000 ms ends within a
 * tenth of a millisecond, a simulated timer a whole one late: five must be no more than five seconds, as there.
 */
const SELECT_MS = 999;
const RECONNECT_MS = 5000;

/** The old slave. */
export class OldHAClient implements SlaveSide {
  readonly log: OldReplicaLog;
  connects = 0;
  readonly #parts: SlaveParts;
  readonly #haSendHeartbeatInterval = 5000;
  readonly #haHousekeepingInterval = 20_000;
  readonly #wake = new WakeUp();
  #running = false;
  #loop: Promise<void> = Promise.resolve();
  #socket: Connection | null = null;
  #ended = false;
  #arrived: Uint8Array[] = [];
  #held: Uint8Array = new Uint8Array(0);
  #reported = 0;
  #lastWrite = 0;

  constructor(parts: SlaveParts, log = new OldReplicaLog()) {
    this.#parts = parts;
    this.log = log;
  }

  get maxOffset(): number {
    return this.log.maxOffset;
  }

  /** It knows no state in which it would say why nothing comes. */
  get reason(): string {
    return "";
  }

  start(): void {
    this.#running = true;
    this.#loop = startLoop(() => this.#run(), this.#parts.onFatal);
  }

  async stop(): Promise<void> {
    this.#running = false;
    this.#wake.notify();
    await this.#loop;
    this.#close();
  }

  async #run(): Promise<void> {
    const { clock } = this.#parts;
    while (this.#running) {
      if (this.#socket === null && !await this.#connect()) {
        await this.#wake.wait(clock, RECONNECT_MS);
        continue;
      }
      if (this.#now() - this.#lastWrite > this.#haSendHeartbeatInterval) await this.#report(this.#reported);
      await this.#wake.wait(clock, SELECT_MS);
      if (!await this.#processRead()) this.#close();
      await this.#reportGrowth();
      if (this.#now() - this.#lastWrite > this.#haHousekeepingInterval) this.#close();
    }
  }

  async #connect(): Promise<boolean> {
    const { net, masterAddress } = this.#parts;
    const [hostname = "", port = "0"] = masterAddress.split(":");
    const socket = await net.connect({ hostname, port: Number(port), timeoutMs: 5000 }).catch(() => null);
    if (socket === null) return false;
    this.#socket = socket;
    this.#ended = false;
    this.connects++;
    this.#lastWrite = this.#now();
    this.#reported = this.log.maxOffset;
    this.#pump(socket);
    await this.#report(this.#reported);
    return true;
  }

  /** What the selector does: bytes wake the loop. */
  async #pump(socket: Connection): Promise<void> {
    for (
      let bytes = await socket.read().catch(() => null);
      bytes !== null;
      bytes = await socket.read().catch(() => null)
    ) {
      if (socket !== this.#socket) return;
      this.#arrived.push(new Uint8Array(bytes));
      this.#wake.notify();
    }
    if (socket === this.#socket) this.#ended = true;
    this.#wake.notify();
  }

  async #processRead(): Promise<boolean> {
    if (this.#arrived.length > 0) this.#lastWrite = this.#now();
    this.#held = concatBytes([this.#held, ...this.#arrived]);
    this.#arrived = [];
    while (this.#held.length >= TRANSFER_HEADER_SIZE) {
      const { physicOffset, bodySize } = readTransferHeader(this.#held, 0);
      if (this.log.maxOffset !== 0 && this.log.maxOffset !== physicOffset) return false;
      const end = TRANSFER_HEADER_SIZE + bodySize;
      if (this.#held.length < end) break;
      // Whether it worked is nobody's question.
      if (bodySize > 0) this.log.append(physicOffset, this.#held.subarray(TRANSFER_HEADER_SIZE, end));
      this.#held = this.#held.slice(end);
      await this.#reportGrowth();
    }
    return !this.#ended;
  }

  async #reportGrowth(): Promise<void> {
    if (this.log.maxOffset <= this.#reported) return;
    this.#reported = this.log.maxOffset;
    await this.#report(this.#reported);
  }

  /** The time of a write is not noted; the time of a read is, under that name. */
  async #report(offset: number): Promise<void> {
    const bytes = new Uint8Array(8);
    writeReport(bytes, 0, offset);
    try {
      await this.#socket?.write(bytes);
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#close();
    }
  }

  #close(): void {
    this.#socket?.close();
    this.#socket = null;
    this.#arrived = [];
    this.#held = new Uint8Array(0);
  }

  #now(): number {
    return Math.floor(this.#parts.clock.monotonic());
  }
}
