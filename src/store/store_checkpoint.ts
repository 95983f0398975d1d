// The file `checkpoint`: how far log, consume queues and index are known to be on the disk, in store timestamps. Owns
// its five fields and their bytes. The flush service and dispatch move the fields, recovery reads them.

import { readInt64, writeInt64 } from "../base/bytes.ts";
import { IoError } from "../base/errors.ts";
import type { FileHandle, FileSystem } from "../runtime/runtime.ts";

const CHECKPOINT_SIZE = 4096;
/** How much recovery distrusts the timestamps, ms. */
const MARGIN_MS = 3000;
/** A step back of less than this is covered by {@link MARGIN_MS}. */
const STEP_BACK_MAX_MS = 1000;

/** Mirrors Apache's `StoreCheckpoint`. All timestamps are Unix ms, all offsets bytes of the commit log. */
export class StoreCheckpoint {
  /** Store timestamp of the last record known to be on the disk. */
  physicMsgTimestamp = 0;
  /** Store timestamp of the last record with a consume queue entry. */
  logicsMsgTimestamp = 0;
  /** End timestamp of the last index file that was filled and flushed. */
  indexMsgTimestamp = 0;
  masterFlushedOffset = 0;
  /** Start of the last whole record that recovery saw. */
  confirmPhyOffset = 0;
  /** Records that start below this don't move the first two fields: time was set back since. Not in the file. */
  trustedFrom = 0;
  readonly #fs: FileSystem;
  readonly #directory: string;
  readonly #path: string;
  /** What the file is known to hold. */
  #flushed = "";
  /** Whether a loss of power leaves the file's name; a process that was killed may have made it without. */
  #isNameDurable = false;

  /** Reads the file if it is there; a missing or short one, or what can't be in it, counts as zeros. Throws {@link IoError}. */
  constructor(fs: FileSystem, storeDirectory: string) {
    this.#fs = fs;
    this.#directory = storeDirectory;
    this.#path = `${storeDirectory}/checkpoint`;
    const bytes = fs.readFile(this.#path);
    if (bytes === null || bytes.length < 24) return;
    this.physicMsgTimestamp = fieldAt(bytes, 0);
    this.logicsMsgTimestamp = fieldAt(bytes, 8);
    this.indexMsgTimestamp = fieldAt(bytes, 16);
    if (bytes.length >= 40) {
      this.masterFlushedOffset = fieldAt(bytes, 24);
      this.confirmPhyOffset = fieldAt(bytes, 32);
    }
  }

  /** Records stored up to here are safely on the disk and dispatched. */
  get minTimestamp(): number {
    return Math.max(Math.min(this.physicMsgTimestamp, this.logicsMsgTimestamp) - MARGIN_MS, 0);
  }

  /** As {@link minTimestamp}, for the index as well. */
  get minTimestampIndex(): number {
    return Math.min(this.minTimestamp, this.indexMsgTimestamp);
  }

  /**
   * To be called before a record is written at `offset`, with its store timestamp and that of the record before it. Where
   * time steps back (a clock was set, a slave with another clock was promoted) the file would vouch for records that came
   * later, and recovery would leave out their queue entries: it vouches for nothing then, durably, until later flushes.
   * Throws {@link IoError}. Apache has no such care.
   */
  beforeRecord(offset: number, storeTimestamp: number, storeTimestampBefore: number): void {
    const newest = Math.max(this.physicMsgTimestamp, this.logicsMsgTimestamp, storeTimestampBefore);
    if (storeTimestamp + STEP_BACK_MAX_MS >= newest) return;
    this.trustedFrom = offset;
    this.distrust();
  }

  /** Takes back what the file says of log and queues, durably. Throws {@link IoError}. */
  distrust(): void {
    this.physicMsgTimestamp = this.logicsMsgTimestamp = 0;
    this.flushBlocking();
  }

  /**
   * Writes the fields and makes them durable; does nothing when they did not change. False when they can't be written,
   * on a full disk say: the file then vouches for less than it could, which is no reason to end. Throws {@link IoError}
   * when a sync fails.
   */
  async flush(): Promise<boolean> {
    const state = this.#state();
    if (state === this.#flushed) return true;
    const handle = this.#tryWrite();
    if (handle === null) return false;
    try {
      await handle.sync();
      this.#syncName();
      this.#flushed = state;
      return true;
    } finally {
      handle.close();
    }
  }

  /** Writes the fields and makes them durable, blocking: for recovery and shutdown. Throws {@link IoError}. */
  flushBlocking(): void {
    const state = this.#state();
    if (state === this.#flushed) return;
    this.#syncBlocking(this.#write(), state);
  }

  /** {@link flush}, blocking. Throws {@link IoError} when a sync fails. */
  tryFlushBlocking(): boolean {
    const state = this.#state();
    if (state === this.#flushed) return true;
    const handle = this.#tryWrite();
    if (handle === null) return false;
    this.#syncBlocking(handle, state);
    return true;
  }

  #syncBlocking(handle: FileHandle, state: string): void {
    try {
      handle.syncBlocking();
      this.#syncName();
      this.#flushed = state;
    } finally {
      handle.close();
    }
  }

  /** Without its name the file is lost, and the next recovery walks the whole log. */
  #syncName(): void {
    if (this.#isNameDurable) return;
    this.#fs.syncDirectory(this.#directory);
    this.#isNameDurable = true;
  }

  #fields(): number[] {
    return [
      this.physicMsgTimestamp,
      this.logicsMsgTimestamp,
      this.indexMsgTimestamp,
      this.masterFlushedOffset,
      this.confirmPhyOffset,
    ];
  }

  #state(): string {
    return this.#fields().join();
  }

  #tryWrite(): FileHandle | null {
    try {
      return this.#write();
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      return null;
    }
  }

  /** The fields fit one sector, so a crash, or a write that fails, leaves the old or the new ones. */
  #write(): FileHandle {
    const fields = new Uint8Array(40);
    this.#fields().forEach((value, index) => writeInt64(fields, index * 8, value));
    const handle = this.#fs.open(this.#path, "create");
    try {
      if (handle.size() !== CHECKPOINT_SIZE) handle.truncate(CHECKPOINT_SIZE);
      handle.writeAt(fields, 0);
    } catch (error) {
      handle.close();
      throw error;
    }
    return handle;
  }
}

/** A value that is no time and no offset is damage, and vouches for nothing. */
function fieldAt(bytes: Uint8Array, at: number): number {
  const value = readInt64(bytes, at);
  return Number.isSafeInteger(value) && value >= 0 ? value : 0;
}
