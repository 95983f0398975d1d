// The file config/timercheck: how far the timer has read its topic and its wheel. Owns the fields and their bytes, and
// what of them slaves are told; TimerMessageStore moves them.
//
//   lastReadTimeMs | lastTimerLogFlushPos | lastTimerQueueOffset | masterTimerQueueOffset | dataVersion: 3 fields   (8 each)

import { bytesEqual, readInt64, writeInt64 } from "../../base/bytes.ts";
import { makeDurableDirectory } from "../../base/durable_directory.ts";
import type { FileSystem } from "../../runtime/runtime.ts";
import type { DataVersion } from "../config_manager.ts";

/** Bytes that mean something. */
export const TIMER_CHECKPOINT_SIZE = 56;
const FILE_SIZE = 4096;

interface CheckpointOfLog {
  readonly bytes: Uint8Array;
  readonly logEnd: number;
}

/** Mirrors Apache's `TimerCheckpoint`. Methods throw {@link IoError}. */
export class TimerCheckpoint {
  /** The first slot that is not delivered, Unix ms; 0: nobody knows. On a slave the master's. */
  lastReadTimeMs = 0;
  /** End of the units of the timer log that are on the disk. */
  lastTimerLogFlushPos = 0;
  /** Everything below in the timer topic's queue is in the timer log, or delivered. */
  lastTimerQueueOffset = 0;
  /** The same at the master. */
  masterTimerQueueOffset = 0;
  dataVersion: DataVersion = { stateVersion: 0, timestamp: 0, counter: 0 };
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #path: string;
  #forSlaves: Uint8Array | null = null;
  #waiting: CheckpointOfLog[] = [];

  /** `directory` is `<storePathRootDir>/config`. Reads the file; what can't be in it counts as zeros. */
  constructor(fs: FileSystem, directory: string) {
    this.#fs = fs;
    this.#directory = directory;
    this.#path = `${directory}/timercheck`;
    const bytes = fs.readFile(this.#path);
    if (bytes === null || bytes.length < TIMER_CHECKPOINT_SIZE) return;
    Object.assign(this, decodeTimerCheckpoint(bytes));
    this.#forSlaves = bytes.slice(0, TIMER_CHECKPOINT_SIZE);
  }

  /**
   * Takes over what the master says (body of GET_TIMER_CHECK_POINT); our own log's position stays. Returns whether it is
   * worth saving: before the first message a master names its clock, another one each time.
   */
  adopt(body: Uint8Array): boolean {
    if (body.length < TIMER_CHECKPOINT_SIZE) return false;
    const before = this.encode();
    const { lastReadTimeMs, masterTimerQueueOffset, dataVersion } = decodeTimerCheckpoint(body);
    Object.assign(this, { lastReadTimeMs, masterTimerQueueOffset, dataVersion });
    const isUnused = this.lastTimerQueueOffset === 0 && masterTimerQueueOffset === 0;
    const from = isUnused ? 8 : 0;
    return !bytesEqual(before.subarray(from), this.encode().subarray(from));
  }

  /** Delivery begins: what an earlier master's life knew of the log means nothing now. */
  begin(): void {
    this.#waiting = [];
  }

  /** Something moved here: counter + 1. */
  nextVersion(now: number): void {
    const { stateVersion, counter } = this.dataVersion;
    this.dataVersion = { stateVersion, timestamp: now, counter: counter + 1 };
  }

  /** Writes the file. `logEnd` is where the commit log ends that holds what the fields count as delivered. */
  async save(logEnd: number): Promise<void> {
    const bytes = this.encode();
    this.#waiting.splice(1, 1, { bytes, logEnd });
    const isNew = this.#fs.stat(this.#path) === null;
    if (isNew) makeDurableDirectory(this.#fs, this.#directory);
    const handle = this.#fs.open(this.#path, "create");
    try {
      if (handle.size() < FILE_SIZE) handle.truncate(FILE_SIZE);
      // Less than a sector: a loss of power leaves all of it old or new.
      handle.writeAt(bytes, 0);
      await handle.sync();
    } finally {
      handle.close();
    }
    if (isNew) this.#fs.syncDirectory(this.#directory);
  }

  /**
   * The fields for a slave, given the lowest log offset that the connected slaves hold (null: there are none): the newest
   * saved ones whose delivered messages are there, null before any are.
   */
  forSlaves(replicatedOffset: number | null): Uint8Array | null {
    const replicated = replicatedOffset ?? Infinity;
    while (this.#waiting.length > 0 && this.#waiting[0]!.logEnd <= replicated) {
      this.#forSlaves = this.#waiting.shift()!.bytes;
    }
    return this.#forSlaves;
  }

  /** The fields as they are now, in the form of the file. */
  encode(): Uint8Array {
    const { stateVersion, timestamp, counter } = this.dataVersion;
    const bytes = new Uint8Array(TIMER_CHECKPOINT_SIZE);
    const fields = [
      this.lastReadTimeMs,
      this.lastTimerLogFlushPos,
      this.lastTimerQueueOffset,
      this.masterTimerQueueOffset,
      stateVersion,
      timestamp,
      counter,
    ];
    for (const [index, value] of fields.entries()) writeInt64(bytes, 8 * index, value);
    return bytes;
  }
}

type Fields = Pick<
  TimerCheckpoint,
  "lastReadTimeMs" | "lastTimerLogFlushPos" | "lastTimerQueueOffset" | "masterTimerQueueOffset" | "dataVersion"
>;

/** Anything may stand in a file or an answer: what is no position counts as 0. */
function decodeTimerCheckpoint(bytes: Uint8Array): Fields {
  const field = (index: number) => {
    const value = readInt64(bytes, 8 * index);
    return Number.isSafeInteger(value) && value >= 0 ? value : 0;
  };
  return {
    lastReadTimeMs: field(0),
    lastTimerLogFlushPos: field(1),
    lastTimerQueueOffset: field(2),
    masterTimerQueueOffset: field(3),
    dataVersion: { stateVersion: field(4), timestamp: field(5), counter: field(6) },
  };
}
