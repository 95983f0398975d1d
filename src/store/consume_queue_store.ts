// All consume queues of a store, the table of queue offsets that puts draw from, and when queues are flushed. Driven by
// ReputMessageService (units), CommitLog's puts (offsets) and MessageStore (life cycle). Which record gets a unit is
// decided before; the commit log stays the truth that all of this can be built from again.

import { UnsyncedDirectories } from "../base/durable_directory.ts";
import { utf8 } from "../base/bytes.ts";
import { IoError } from "../base/errors.ts";
import { type Logger, SILENT_LOGGER } from "../base/logger.ts";
import type { Clock, FileSystem, Timer } from "../runtime/runtime.ts";
import type { QueueOffsetAssigner } from "./commit_log.ts";
import { ConsumeQueue, type ConsumeQueueParts, CQ_STORE_UNIT_SIZE, type RecoveredLog } from "./consume_queue.ts";
import type { HandlePool } from "./handle_pool.ts";
import type { StoreCheckpoint } from "./store_checkpoint.ts";

/** Queues that a stop flushes at the same time. */
const FLUSHES_AT_ONCE = 64;
const PAGE_SIZE = 4096;
/**
 * So many bytes of the log beyond the last thorough flush make the next one due, whatever the time: a start after a crash
 * reads again what the checkpoint does not vouch for, and a second's load may be hundreds of megabytes.
 */
const THOROUGH_BYTES = 512 * 1024 * 1024;
/** After such a flush comes a rest of so many times as long as it took: of many queues it takes long. */
const REST_FACTOR = 4;
/** Largest queue offset that gets a unit: its place in bytes stays a safe integer. */
const QUEUE_OFFSET_MAX = 2 ** 48;
/** Bytes of a file's name, on every file system in use. */
const NAME_SIZE_MAX = 255;

/** Apache's keys that consume queues obey. Intervals are ms. */
export interface ConsumeQueueOptions {
  /** Bytes of each file; rounded up to a multiple of 20. */
  readonly mappedFileSizeConsumeQueue: number;
  readonly flushIntervalConsumeQueue: number;
  /** Dirty pages of 4 KiB that make the flush of a queue worthwhile. */
  readonly flushConsumeQueueLeastPages: number;
  /** After this long every dirty queue is flushed, and the checkpoint moves. */
  readonly flushConsumeQueueThoroughInterval: number;
}

/** What the store is made of. */
export interface ConsumeQueueStoreParts {
  readonly fs: FileSystem;
  readonly pool: HandlePool;
  readonly clock: Clock;
  readonly logger?: Logger;
  /** `<root>/consumequeue`. */
  readonly directory: string;
  readonly options: ConsumeQueueOptions;
  readonly checkpoint: StoreCheckpoint;
  /** A sync failed: what is on the disk is unknown. */
  readonly onFatal: (error: unknown) => void;
}

/** Mirrors Apache's `ConsumeQueueStore`, `QueueOffsetOperator` and `FlushConsumeQueueService`. */
export class ConsumeQueueStore implements QueueOffsetAssigner {
  readonly #parts: ConsumeQueueStoreParts;
  readonly #queueParts: ConsumeQueueParts;
  readonly #logger: Logger;
  readonly #queues = new Map<string, Map<number, ConsumeQueue>>();
  /** Queue offset of the next message by topic and queue: ahead of the queues by what is not dispatched yet. */
  readonly #topicQueueTable = new Map<string, Map<number, number>>();
  readonly #withPending = new Set<ConsumeQueue>();
  /** New ones, until their first units are in a file. */
  readonly #withoutDirectory = new Set<ConsumeQueue>();
  readonly #dirty = new Set<ConsumeQueue>();
  readonly #unsyncedDirectories: UnsyncedDirectories;
  readonly #refusedTopics = new Set<string>();
  /** Deleted topics: records of them that start below are a deleted one's, dispatched by then or not. */
  readonly #deletedBelow = new Map<string, number>();
  /** Store timestamp of the newest record with a unit in a file. */
  #storeTimestamp = 0;
  /** Start of that record. */
  #storeTimestampAt = 0;
  /** What units are checked against while recovery goes on; null else. */
  #recoveredLog: RecoveredLog | null = null;
  #timer: Timer | null = null;
  #flushing: Promise<void> | null = null;
  #thoroughAt = 0;
  /** Log offset that dispatch had reached at the last thorough flush. */
  #thoroughFrom = 0;
  #restUntil = 0;
  #state: "loaded" | "started" | "stopped" = "loaded";

  constructor(parts: ConsumeQueueStoreParts) {
    this.#parts = parts;
    this.#unsyncedDirectories = new UnsyncedDirectories(parts.fs);
    this.#logger = parts.logger ?? SILENT_LOGGER;
    this.#queueParts = {
      pool: parts.pool,
      logger: this.#logger,
      mappedFileSize: Math.ceil(parts.options.mappedFileSizeConsumeQueue / CQ_STORE_UNIT_SIZE) * CQ_STORE_UNIT_SIZE,
    };
  }

  /**
   * Finds all queues and their ends. After an unclean exit units of records below `flushedTo`, bytes of the log, are
   * known to have been on the disk, and no directory is; with `log` they are checked, and so is each record's unit that
   * is put until {@link endRecovery}. Returns from where records must be dispatched again because of damage below
   * `flushedTo`, Infinity when there is none. Throws {@link StoreError} for files of a wrong size.
   */
  load(lastExitOk: boolean, flushedTo = Infinity, log: RecoveredLog | null = null): number {
    const { fs, directory } = this.#parts;
    fs.makeDirectory(directory);
    if (!lastExitOk) this.#unsyncedDirectories.add(directory);
    this.#recoveredLog = log;
    let dispatchFrom = Infinity;
    for (const topic of fs.list(directory)) {
      if (fs.stat(`${directory}/${topic}`)?.isDirectory !== true) continue;
      if (!lastExitOk) this.#unsyncedDirectories.add(`${directory}/${topic}`);
      for (const name of fs.list(`${directory}/${topic}`)) {
        if (!/^\d{1,10}$/.test(name)) continue;
        const queue = this.#add(topic, Number(name));
        queue.load(lastExitOk);
        const from = queue.recover(lastExitOk, flushedTo, log);
        if (from < Infinity) {
          this.#logger.warn("A consume queue is damaged; records are dispatched again", {
            topic,
            queueId: queue.queueId,
            fromOffset: from,
          });
        }
        dispatchFrom = Math.min(dispatchFrom, from);
        // A killed process leaves units to the kernel: the checkpoint must not move before they are on the disk.
        if (!lastExitOk && queue.dirtyBytes > 0) this.#dirty.add(queue);
      }
    }
    return dispatchFrom;
  }

  /** After an unclean exit, once everything is dispatched and written: units at the ends that are no record's go. */
  endRecovery(): void {
    const log = this.#recoveredLog;
    this.#recoveredLog = null;
    if (log !== null) { for (const queue of this.queues()) queue.endRecovery(log); }
  }

  /**
   * After a sync that failed in an earlier life, blocking: writes all units of records at or beyond `flushedTo` once more
   * and makes them durable. Throws {@link IoError}.
   */
  rewrite(flushedTo: number): void {
    for (const queue of this.queues()) {
      queue.rewrite(flushedTo);
      queue.flushBlocking();
    }
    this.#dirty.clear();
    this.#unsyncedDirectories.syncAllBlocking();
  }

  #add(topic: string, queueId: number): ConsumeQueue {
    const directory = `${this.#parts.directory}/${topic}/${queueId}`;
    const queue = new ConsumeQueue(this.#queueParts, directory, topic, queueId);
    let ofTopic = this.#queues.get(topic);
    if (ofTopic === undefined) this.#queues.set(topic, ofTopic = new Map());
    ofTopic.set(queueId, queue);
    return queue;
  }

  /** The queue, null when no message was ever dispatched to it. */
  find(topic: string, queueId: number): ConsumeQueue | null {
    return this.#queues.get(topic)?.get(queueId) ?? null;
  }

  /** All queues. */
  *queues(): Generator<ConsumeQueue> {
    for (const ofTopic of this.#queues.values()) yield* ofTopic.values();
  }

  /** End of the last record that any queue points at; -1 for none. Mirrors `getMaxPhyOffsetInConsumeQueue`. */
  get maxPhysicOffset(): number {
    let max = -1;
    for (const queue of this.queues()) max = Math.max(max, queue.maxPhysicOffset);
    return max;
  }

  /**
   * Adds a record's unit; it can be read after {@link writePending}. A topic that is no name for a directory, or a
   * queue or offset that no queue can have, is reported once and gets no unit: the log may hold anything a master ever
   * took, and a name that is too long would stop dispatch for good.
   */
  put(
    topic: string,
    queueId: number,
    queueOffset: number,
    pos: number,
    size: number,
    tagsCode: number,
    storeTimestamp: number,
  ): void {
    let queue = this.find(topic, queueId);
    if (this.#deletedBelow.size > 0 && this.#isDeleted(topic, pos)) return;
    if (!isQueueOffset(queueOffset)) return this.#refuse(topic, queueId, pos);
    if (queue === null) {
      if (!isQueueName(topic, queueId)) return this.#refuse(topic, queueId, pos);
      queue = this.#add(topic, queueId);
      this.#withoutDirectory.add(queue);
    }
    if (this.#recoveredLog !== null) queue.compareUnit(pos, size, tagsCode, queueOffset, this.#recoveredLog);
    queue.putMessagePositionInfo(pos, size, tagsCode, queueOffset);
    this.#withPending.add(queue);
    this.#storeTimestamp = storeTimestamp;
    this.#storeTimestampAt = pos;
  }

  /** Records come in the log's order: what one has passed is of no use any more. */
  #isDeleted(topic: string, pos: number): boolean {
    for (const [name, end] of this.#deletedBelow) if (pos >= end) this.#deletedBelow.delete(name);
    return this.#deletedBelow.has(topic);
  }

  #refuse(topic: string, queueId: number, pos: number): void {
    if (this.#refusedTopics.size >= 100 || this.#refusedTopics.has(topic)) return;
    this.#refusedTopics.add(topic);
    this.#logger.error("A message's topic or queue can't have a consume queue; the message stays in the log only", {
      topic: topic.slice(0, NAME_SIZE_MAX),
      queueId,
      physicOffset: pos,
    });
  }

  /** Brings the units put to the files. Throws {@link IoError}; nothing is lost then: call it again. */
  writePending(): void {
    for (const queue of this.#withPending) {
      queue.writePending();
      this.#withPending.delete(queue);
      if (this.#withoutDirectory.delete(queue)) {
        const { directory } = this.#parts;
        this.#unsyncedDirectories.add(`${directory}/${queue.topic}`).add(directory);
      }
      if (queue.dirtyBytes > 0) this.#dirty.add(queue);
    }
    this.#armTimer();
  }

  // Queue offsets

  /** Queue offset of the next message. Mirrors `getQueueOffset`. */
  getQueueOffset(topic: string, queueId: number): number {
    return this.#topicQueueTable.get(topic)?.get(queueId) ?? 0;
  }

  /** Moves it on by `count` messages that are in the log now, or back. Mirrors `increaseQueueOffset`. */
  increaseQueueOffset(topic: string, queueId: number, count: number): void {
    let ofTopic = this.#topicQueueTable.get(topic);
    if (ofTopic === undefined) this.#topicQueueTable.set(topic, ofTopic = new Map());
    ofTopic.set(queueId, (ofTopic.get(queueId) ?? 0) + count);
  }

  /** Learns all queue offsets from the queues; everything must be dispatched. Mirrors `recoverOffsetTable`. */
  recoverOffsetTable(): void {
    this.#topicQueueTable.clear();
    for (const queue of this.queues()) {
      this.increaseQueueOffset(queue.topic, queue.queueId, queue.nextOffsetInQueue);
    }
  }

  // What follows the log

  /** Moves every queue's begin to the log's. */
  correctMinOffset(minPhyOffset: number): void {
    for (const queue of this.queues()) queue.correctMinOffset(minPhyOffset);
  }

  /** Removes files whose messages all lie below the log's begin. Returns how many. */
  deleteExpiredFile(minPhyOffset: number): number {
    let count = 0;
    for (const queue of this.queues()) count += queue.deleteExpiredFile(minPhyOffset);
    return count;
  }

  /** Cuts units of records at or beyond `phyOffset`. Mirrors `truncateDirty`. */
  async truncate(phyOffset: number): Promise<void> {
    await this.#flushing;
    for (const queue of this.queues()) queue.truncate(phyOffset);
    this.#withPending.clear();
    this.#deletedBelow.clear();
    this.#storeTimestamp = 0;
  }

  /** Removes all queues: the log is empty or moved aside. */
  async destroy(): Promise<void> {
    await this.#flushing;
    for (const queue of this.queues()) queue.destroy();
    this.#queues.clear();
    this.#topicQueueTable.clear();
    this.#deletedBelow.clear();
    this.#withPending.clear();
    this.#withoutDirectory.clear();
    this.#dirty.clear();
    this.#unsyncedDirectories.clear();
    this.#storeTimestamp = 0;
    const { fs, directory } = this.#parts;
    fs.remove(directory);
    fs.makeDirectory(directory);
    // Else a loss of power might bring the old queues back, beside another log.
    fs.syncDirectory(directory.slice(0, directory.lastIndexOf("/")));
  }

  /**
   * Removes all queues of a topic; its next message is the first. What of it is not dispatched yet gets no unit: the new
   * queue would begin there, and have no place for the new messages. Records of it that a recovery dispatches again make
   * queues anew, as in Apache. `logEnd` is asked when they go. Throws {@link IoError}.
   */
  async deleteTopic(topic: string, logEnd: () => number): Promise<void> {
    await this.#flushing;
    // The last flush goes through what is there now.
    if (this.#state === "stopped") throw new IoError("closed", `Topic "${topic}" can't be deleted: the store stops`);
    this.#deletedBelow.set(topic, logEnd());
    for (const queue of this.#queues.get(topic)?.values() ?? []) {
      queue.destroy();
      this.#withPending.delete(queue);
      this.#dirty.delete(queue);
    }
    this.#topicQueueTable.delete(topic);
    if (!this.#queues.delete(topic)) return;
    for (const queue of this.#withoutDirectory) if (queue.topic === topic) this.#withoutDirectory.delete(queue);
    const { fs, directory } = this.#parts;
    this.#unsyncedDirectories.delete(`${directory}/${topic}`);
    fs.remove(`${directory}/${topic}`);
    fs.syncDirectory(directory);
  }

  // Flushing

  /** Begins to flush. Before it nothing is, so that recovery can be repeated. */
  start(): void {
    this.#state = "started";
    this.#thoroughAt = this.#parts.clock.monotonic() + this.#parts.options.flushConsumeQueueThoroughInterval;
    this.#armTimer();
  }

  #armTimer(): void {
    if (this.#state !== "started" || this.#timer !== null || this.#flushing !== null || this.#dirty.size === 0) return;
    this.#timer = this.#parts.clock.setTimer(this.#parts.options.flushIntervalConsumeQueue, () => {
      this.#timer = null;
      this.#flushing = this.#flushDue().catch(this.#parts.onFatal).then(() => {
        this.#flushing = null;
        this.#armTimer();
      });
    });
  }

  async #flushDue(): Promise<void> {
    const { clock, options } = this.#parts;
    const now = clock.monotonic();
    // The log may have been cut meanwhile.
    this.#thoroughFrom = Math.min(this.#thoroughFrom, this.#storeTimestampAt);
    if (now >= this.#thoroughAt || this.#isFarAhead(now)) {
      this.#thoroughAt = now + options.flushConsumeQueueThoroughInterval;
      this.#thoroughFrom = this.#storeTimestampAt;
      await this.#flushAll();
      this.#restUntil = clock.monotonic() + REST_FACTOR * (clock.monotonic() - now);
      return;
    }
    for (const queue of [...this.#dirty]) {
      if (queue.dirtyBytes >= options.flushConsumeQueueLeastPages * PAGE_SIZE) await this.#flushOne(queue);
    }
  }

  /** Whether a crash now would have the next start read too much of the log again. */
  #isFarAhead(now: number): boolean {
    return now >= this.#restUntil && this.#storeTimestampAt - this.#thoroughFrom >= THOROUGH_BYTES;
  }

  /** The checkpoint moves only to what is on the disk in every queue (Apache's may be ahead). */
  async #flushAll(): Promise<void> {
    const { checkpoint } = this.#parts;
    const storeTimestamp = this.#storeTimestamp;
    const storeTimestampAt = this.#storeTimestampAt;
    // Units that could not be written yet: neither they nor their queue's directory can be vouched for.
    const isComplete = this.#withPending.size === 0;
    for (const queue of [...this.#dirty]) await this.#flushOne(queue);
    if (!isComplete || this.#withPending.size > 0) return;
    await this.#syncDirectories(1);
    if (storeTimestamp > 0 && storeTimestampAt >= checkpoint.trustedFrom) {
      checkpoint.logicsMsgTimestamp = storeTimestamp;
    }
    if (await checkpoint.flush()) return;
    this.#logger.warn("The checkpoint can't be written; the next flush of the consume queues tries again");
  }

  /**
   * Flushes all that are dirty, many at a time, so that what they wait for at the disk is done together: with 50,000
   * queues, one after the other, a stop would take a minute.
   * While the broker works they go one by one instead, so as not to be in the way of the log's own flush.
   */
  async #flushTogether(): Promise<void> {
    await together([...this.#dirty], FLUSHES_AT_ONCE, (queue) => this.#flushOne(queue));
    await this.#syncDirectories(FLUSHES_AT_ONCE);
  }

  async #flushOne(queue: ConsumeQueue): Promise<void> {
    await queue.flush();
    if (queue.dirtyBytes <= 0) this.#dirty.delete(queue);
  }

  async #syncDirectories(atOnce: number): Promise<void> {
    const unsynced = this.#unsyncedDirectories;
    await together(unsynced.paths(), atOnce, (directory) => unsynced.sync(directory));
  }

  /** Stops flushing; a flush under way ends. With `flush`, everything goes to the disk and into the checkpoint. */
  async stop(flush: boolean): Promise<void> {
    this.#state = "stopped";
    this.#timer?.cancel();
    this.#timer = null;
    await this.#flushing;
    if (!flush) return;
    this.writePending();
    await this.#flushTogether();
    if (this.#storeTimestamp > 0) this.#parts.checkpoint.logicsMsgTimestamp = this.#storeTimestamp;
  }
}

/** Does the work for all items, `atOnce` at the same time; throws the first failure, once nothing is under way. */
async function together<T>(items: T[], atOnce: number, work: (item: T) => Promise<void>): Promise<void> {
  const workers = Array.from({ length: Math.min(atOnce, items.length) }, async () => {
    for (let item = items.pop(); item !== undefined; item = items.pop()) await work(item);
  });
  const failed = (await Promise.allSettled(workers)).find((outcome) => outcome.status === "rejected");
  if (failed !== undefined) throw failed.reason;
}

/** Whether a record of that topic and queue, at that queue offset, gets a unit. */
export function canHaveUnit(topic: string, queueId: number, queueOffset: number): boolean {
  return isQueueOffset(queueOffset) && isQueueName(topic, queueId);
}

function isQueueOffset(queueOffset: number): boolean {
  return queueOffset >= 0 && queueOffset <= QUEUE_OFFSET_MAX;
}

function isQueueName(topic: string, queueId: number): boolean {
  if (queueId < 0 || topic === "" || topic === "." || topic === ".." || /[/\\\0]/.test(topic)) return false;
  return utf8.encode(topic).length <= NAME_SIZE_MAX;
}
