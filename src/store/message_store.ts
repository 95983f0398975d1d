// The store's front: everything outside src/store/ that writes or reads messages does it here. Owns the order of opening,
// starting, role changes, cutting and closing; the parts own the rest. It is the log that replication sees (ReplicaLog).
//
//   open: lock -> load log, queues, index -> recover -> cut -> queue offsets      start: abort file -> flush, dispatch,
//   clean      shutdown: refuse puts -> flush -> dispatch -> queues, index, checkpoint -> abort removed -> unlock

import { errorMessage, IoError, StoreError } from "../base/errors.ts";
import { type Logger, SILENT_LOGGER } from "../base/logger.ts";
import type { ReplicaAppendResult, ReplicaLog } from "../ha/replica_log.ts";
import type { Clock, FileSystem, Process } from "../runtime/runtime.ts";
import { type CleanCommitLogOptions, CleanCommitLogService } from "./clean_commit_log_service.ts";
import { CleanService } from "./clean_service.ts";
import { CommitLog, type CommitLogOptions } from "./commit_log.ts";
import { type ConsumeQueueOptions, ConsumeQueueStore } from "./consume_queue_store.ts";
import { HandlePool } from "./handle_pool.ts";
import { type IndexOptions, IndexService } from "./index_service.ts";
import { decodeMessageId } from "./message_codec.ts";
import { DelayLevels } from "./message_properties.ts";
import type { MessageFilter } from "./message_filter.ts";
import { BoundaryType, type ConsumeQueueEntry, type GetMessageResult, MessageReader } from "./message_reader.ts";
import { type PullOptions, PullReader, type PullResult } from "./pull_reader.ts";
import { type MessageArrivingListener, RecordDispatcher } from "./record_dispatcher.ts";
import { dispatchAgain, recoverCommitLog, recoveredLog, type RecoveryResult, startAfterCrash } from "./recovery.ts";
import { ReputMessageService } from "./reput_message_service.ts";
import { StoreCheckpoint } from "./store_checkpoint.ts";
import { AbortFile, StoreLock } from "./store_lock.ts";
import { SyncFailure, type SyncFailureNote, watchSyncs } from "./sync_failure.ts";
import {
  type AppendMessageResult,
  type BatchToPut,
  type MessageTimes,
  type MessageToPut,
  PutMessageStatus,
  type StoredMessage,
} from "./types.ts";

/** Apache's keys that the store obeys. */
export interface MessageStoreOptions
  extends CommitLogOptions, ConsumeQueueOptions, IndexOptions, CleanCommitLogOptions, PullOptions {
  readonly messageIndexEnable: boolean;
  readonly messageIndexSafe: boolean;
  readonly messageDelayLevel: string;
  readonly cleanResourceInterval: number;
  /** Part of the machine's memory, %, whose messages count as in memory. */
  readonly accessMessageInMemoryMaxRatio: number;
}

/** The world of a store. */
export interface MessageStoreParts {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly process: Process;
  readonly logger?: Logger;
  /** Called once for an error after which the process must end, such as a failed sync. */
  readonly onFatal?: (error: unknown) => void;
  /** Lowest offset a live slave still needs, null for none: those files stay while there is room. */
  readonly retainOffset?: () => number | null;
}

/** What a store does with its log. */
export type StoreRole = "master" | "slave";

/** Figures since the store was opened. */
export interface StoreStatistics {
  /** Unix ms. */
  readonly bootTimestamp: number;
  /** Messages and bytes of records put here or, on a slave, dispatched. */
  readonly putMessageTimesTotal: number;
  readonly putMessageSizeTotal: number;
  readonly putMessageFailedTimes: number;
  readonly getMessageTransferedMsgCount: number;
  /** Store time of the oldest message held, Unix ms; -1 for none. */
  readonly earliestMessageTimeStamp: number;
  /** Used share of the disks, 0..1. */
  readonly commitLogDiskRatio: number;
  readonly consumeQueueDiskRatio: number;
}

const DISPATCH_WAIT_MS = 5000;
/** How much later a slave's messages can be read by queue, ms at most, so that dispatch does not hold up its acks. */
const SLAVE_DISPATCH_REST_MS = 5;

/** Mirrors Apache's `DefaultMessageStore`. It starts as a slave's: {@link setRole} makes it take puts. */
export class MessageStore implements ReplicaLog {
  readonly #options: MessageStoreOptions;
  readonly #fs: FileSystem;
  readonly #clock: Clock;
  readonly #process: Process;
  readonly #logger: Logger;
  readonly #reportFatal: (error: unknown) => void;
  readonly #lock: StoreLock;
  readonly #pool: HandlePool;
  readonly #checkpoint: StoreCheckpoint;
  readonly #log: CommitLog;
  readonly #consumeQueues: ConsumeQueueStore;
  readonly #index: IndexService | null;
  readonly #dispatcher: RecordDispatcher;
  readonly #reput: ReputMessageService;
  readonly #reader: MessageReader;
  readonly #pulls: PullReader;
  readonly #cleanCommitLog: CleanCommitLogService;
  readonly #clean: CleanService;
  readonly #dispatchListeners = new Set<() => void>();
  readonly #bootTimestamp: number;
  /** While recovery goes on: the log's bytes below were on the disk when it began. Null later: the log knows. */
  #durableOffset: number | null = 0;
  /** Whether a sync failed in this life. */
  #syncFailed = false;
  #state: "opened" | "running" | "stopping" | "closed" | "failed" = "opened";
  #role: StoreRole = "slave";
  /** Whether the log is being cut or moved: nothing else may touch it. */
  #cutting = false;
  /** Records put here or, on a slave, dispatched. */
  #puts = { messages: 0, bytes: 0, failed: 0 };
  #counted = { messages: 0, bytes: 0 };
  #transferredMessages = 0;
  /** Of the machine, bytes; asked once. */
  #totalMemory: number | null = null;

  private constructor(options: MessageStoreOptions, parts: MessageStoreParts, lock: StoreLock) {
    const { clock, process, logger = SILENT_LOGGER, retainOffset = () => null } = parts;
    const fs = watchSyncs(parts.fs, (path, error) => this.#noteSyncFailure(path, error));
    this.#options = options;
    this.#fs = fs;
    this.#clock = clock;
    this.#process = process;
    this.#logger = logger;
    this.#reportFatal = parts.onFatal ?? (() => {});
    this.#lock = lock;
    const root = options.storePathRootDir;
    const onFatal = (error: unknown) => this.#fail(error);
    const pool = this.#pool = new HandlePool(fs);
    const checkpoint = this.#checkpoint = new StoreCheckpoint(fs, root);
    const log = this.#log = new CommitLog(options, { pool, clock, checkpoint, onFatal, logger });
    const consumeQueues = this.#consumeQueues = new ConsumeQueueStore({
      fs,
      pool,
      clock,
      logger,
      directory: `${root}/consumequeue`,
      options,
      checkpoint,
      onFatal,
    });
    const index = this.#index = options.messageIndexEnable
      ? new IndexService({ fs, clock, logger, directory: `${root}/index`, options, checkpoint })
      : null;
    const delayLevels = new DelayLevels(options.messageDelayLevel);
    const dispatcher = this.#dispatcher = new RecordDispatcher(consumeQueues, index, { delayLevels, logger });
    const onDispatched = () => this.#onDispatched();
    const restMs = () => this.#role === "slave" ? SLAVE_DISPATCH_REST_MS : 0;
    this.#reput = new ReputMessageService({ log, dispatcher, clock, logger, onDispatched, restMs, onFatal });
    this.#reader = new MessageReader({ log, consumeQueues, index, logger });
    this.#pulls = new PullReader({
      log,
      consumeQueues,
      options,
      clock,
      logger,
      isSlave: () => this.#role === "slave",
      memoryBytes: () => this.#memoryBytes(),
    });
    this.#cleanCommitLog = new CleanCommitLogService(log, options, {
      fs,
      clock,
      logger,
      retainOffset,
      dispatchedOffset: () => this.#reput.reputFromOffset,
    });
    this.#clean = new CleanService({
      clock,
      logger,
      options,
      cleanCommitLog: this.#cleanCommitLog,
      consumeQueues,
      index,
      minOffset: () => log.minOffset,
    });
    this.#bootTimestamp = clock.now();
    log.onGrow(() => this.#reput.wakeup());
  }

  // --- life ---

  /**
   * Locks, loads and recovers the store in `storePathRootDir`, which is made when missing. Nothing is written to the log
   * before {@link start}. Throws {@link StoreError} (in use, files of a wrong size) and {@link IoError}.
   */
  static async open(options: MessageStoreOptions, parts: MessageStoreParts): Promise<MessageStore> {
    const lock = StoreLock.acquire(parts.fs, parts.process, options.storePathRootDir);
    try {
      const store = new MessageStore(options, parts, lock);
      try {
        await store.#load();
        return store;
      } catch (error) {
        store.#close();
        throw error;
      }
    } catch (error) {
      lock.release();
      throw error;
    }
  }

  async #load(): Promise<void> {
    const syncFailure = SyncFailure.read(this.#fs, this.#options.storePathRootDir);
    try {
      await this.#recover(syncFailure);
    } catch (error) {
      if (syncFailure === null || !this.#syncFailed || !(error instanceof IoError)) throw error;
      const advice = "replace the disk, and start empty as a slave";
      throw new StoreError(
        `Syncing again what an earlier failed sync left failed as well, ${advice}: ${error.message}`,
        { cause: error },
      );
    }
  }

  async #recover(syncFailure: SyncFailureNote | null): Promise<void> {
    const cleanExit = !AbortFile.exists(this.#fs, this.#options.storePathRootDir) && syncFailure === null;
    this.#log.load(cleanExit);
    const { checkCRCOnRecover, messageIndexEnable, messageIndexSafe } = this.#options;
    const rules = { cleanExit, checkCRCOnRecover, messageIndexEnable, messageIndexSafe };
    this.#durableOffset = cleanExit
      ? this.#log.mappedFileQueue.lastFile?.fileFromOffset ?? 0
      : startAfterCrash(this.#log, this.#checkpoint, rules);
    if (syncFailure !== null) this.#rewriteLog(syncFailure);
    if (cleanExit) this.#consumeQueues.load(true);
    const indexIsIncomplete = this.#index?.load(cleanExit).incomplete ?? false;
    const dispatch = (bytes: Uint8Array, at: number) =>
      this.#dispatcher.dispatchRecovered(bytes, at, !indexIsIncomplete);
    const startedAt = this.#clock.monotonic();
    const result = recoverCommitLog(this.#log, this.#checkpoint, {
      ...rules,
      maxPhyOffsetOfConsumeQueue: this.#consumeQueues.maxPhysicOffset,
      dispatch: cleanExit ? dispatch : () => {},
      logger: this.#logger,
    });
    const dispatchFrom = cleanExit ? Infinity : this.#loadQueues(result);
    this.#dispatcher.writePending();
    if (result.isEmpty) await this.#forgetDerived();
    else await this.#cutDerived(result.end);
    dispatchAgain(this.#log, dispatchFrom, result.end, dispatch, this.#logger);
    this.#dispatcher.writePending();
    this.#consumeQueues.endRecovery();
    if (syncFailure !== null) this.#endSyncFailure(dispatchFrom);
    this.#consumeQueues.correctMinOffset(this.#log.minOffset);
    this.#consumeQueues.recoverOffsetTable();
    this.#reput.setPosition(this.#log.maxOffset, indexIsIncomplete ? this.#index!.endPhyOffset : null);
    this.#durableOffset = null;
    this.#logger.info("Opened the store", {
      minOffset: this.#log.minOffset,
      maxOffset: this.#log.maxOffset,
      cleanExit,
      recoveredFrom: Math.min(result.startOffset, dispatchFrom),
      recoveryMs: Math.round(this.#clock.monotonic() - startedAt),
    });
  }

  /** After an unclean exit, the log's end known. Returns from where records must be dispatched. */
  #loadQueues({ startOffset, filesEnd }: RecoveryResult): number {
    const log = recoveredLog(this.#log, filesEnd, () => this.#distrustCheckpoint());
    const from = this.#consumeQueues.load(false, startOffset, log);
    this.#consumeQueues.correctMinOffset(this.#log.minOffset);
    return Math.min(from, startOffset);
  }

  /** The kernel may count bytes as clean that are not on the disk: written again, the next sync brings them there. */
  #rewriteLog({ flushedOffset }: SyncFailureNote): void {
    this.#logger.warn("A sync failed in an earlier life; writing again what the disk may lack", { flushedOffset });
    for (const file of this.#log.mappedFileQueue.files) {
      if (file.fileFromOffset + file.fileSize <= flushedOffset) continue;
      file.rewrite(true);
      file.syncBlocking();
    }
  }

  #endSyncFailure(dispatchedFrom: number): void {
    this.#consumeQueues.rewrite(dispatchedFrom);
    SyncFailure.remove(this.#fs, this.#options.storePathRootDir);
  }

  #noteSyncFailure(path: string, error: string): void {
    this.#syncFailed = true;
    const flushedOffset = this.#durableOffset ?? this.#log.flushedOffset;
    SyncFailure.write(this.#fs, this.#options.storePathRootDir, { flushedOffset, path, error });
  }

  async #cutDerived(end: number): Promise<void> {
    await this.#consumeQueues.truncate(end);
    this.#index?.truncate(end);
  }

  async #forgetDerived(): Promise<void> {
    await this.#consumeQueues.destroy();
    this.#index?.destroy();
  }

  /** Begins to flush, dispatch and clean. From here a stop without {@link shutdown} is an unclean exit. */
  start(): void {
    AbortFile.create(this.#fs, this.#process, this.#options.storePathRootDir);
    this.#state = "running";
    this.#consumeQueues.start();
    this.#countFrom();
    this.#reput.run();
    this.#clean.start();
  }

  /**
   * Stops in order: no more puts, everything flushed and (for at most 5 s) dispatched. The next start is a clean one if
   * all of that was done. Idempotent. Throws {@link IoError} when the last writes fail; the store is closed all the same.
   */
  async shutdown(): Promise<void> {
    if (this.#state === "closed" || this.#state === "stopping") return;
    const before = this.#state;
    this.#state = "stopping";
    try {
      if (before !== "failed") await this.#stop(before === "running");
    } finally {
      await this.#abandon();
      this.#close();
      this.#lock.release();
      this.#state = "closed";
    }
  }

  async #stop(isDispatching: boolean): Promise<void> {
    await this.#clean.stop();
    this.#log.discardPartial();
    await this.#log.flushService.flushNow();
    if (isDispatching) await this.#waitDispatched(DISPATCH_WAIT_MS);
    await this.#reput.stop();
    await this.#log.shutdown();
    await this.#consumeQueues.stop(true);
    this.#index?.shutdown();
    this.#checkpoint.flushBlocking();
    if (this.#reput.isComplete) {
      AbortFile.remove(this.#fs, this.#options.storePathRootDir);
    } else if (isDispatching) {
      // One that never ran, as a port was taken, has nothing to catch up with: the store is as recovery left it.
      const { behindBytes, indexFromOffset } = this.#reput;
      this.#logger.warn("Dispatch had not caught up; the next start recovers as after a crash", {
        dispatchBehindBytes: behindBytes,
        ...(indexFromOffset === null ? {} : { indexFromOffset }),
      });
    }
  }

  /** Ends all background work, writing nothing more. */
  async #abandon(): Promise<void> {
    await this.#clean.stop();
    await this.#reput.stop();
    await this.#consumeQueues.stop(false);
    await this.#log.flushService.stop();
  }

  async #waitDispatched(timeoutMs: number): Promise<void> {
    const timeout = Promise.withResolvers<boolean>();
    const timer = this.#clock.setTimer(timeoutMs, () => timeout.resolve(false));
    await Promise.race([this.#reput.waitComplete(), timeout.promise]);
    timer.cancel();
  }

  #close(): void {
    this.#index?.close();
    this.#pool.closeAll();
  }

  #fail(error: unknown): void {
    if (this.#state === "failed" || this.#state === "closed") return;
    this.#state = "failed";
    this.#logger.error("The store can't go on; restart it, recovery will tell what is on the disk", {
      error: errorMessage(error),
    });
    // Nobody may wait for a disk that is not written any more.
    this.#log.flushService.stop().catch(() => {});
    this.#reput.stop().catch(() => {});
    this.#reportFatal(error);
  }

  // --- role ---

  /** Whether it takes puts, or a master's bytes. */
  get role(): StoreRole {
    return this.#role;
  }

  /**
   * To master: resolves once everything is dispatched and the queue offsets follow from it; puts are taken then. Whoever
   * fed a master's bytes must have stopped. To slave: puts are refused from the moment of the call. Throws
   * {@link IoError} when the store stops meanwhile.
   */
  async setRole(role: StoreRole): Promise<void> {
    if (role === this.#role) return;
    if (role === "slave") {
      this.#role = role;
      return;
    }
    this.#log.discardPartial();
    await this.waitDispatched();
    this.#consumeQueues.recoverOffsetTable();
    this.#role = role;
  }

  /** Why nothing can be read, null when it can. */
  get notReadableReason(): string | null {
    return this.#notRunningReason;
  }

  /** Why puts are refused, null when they are taken. */
  get notWritableReason(): string | null {
    const notRunning = this.#notRunningReason;
    if (notRunning !== null) return notRunning;
    if (this.#role === "slave") return "Role is SLAVE, put to the master";
    if (this.#cleanCommitLog.diskFull) {
      return `Disk is above diskSpaceWarningLevelRatio (${this.#options.diskSpaceWarningLevelRatio} %), make room`;
    }
    if (this.#reput.writeError !== null) return `Consume queues can't be written: ${this.#reput.writeError}`;
    return null;
  }

  get #notRunningReason(): string | null {
    if (this.#state === "opened") return "Store is not started";
    if (this.#state === "failed") return "Store failed, see the log output";
    if (this.#state !== "running") return "Store is shut down";
    return this.#cutting ? "Store is being cut" : null;
  }

  // --- own messages ---

  /** Appends one message. Synchronous: its bytes are in the file when this returns. Mirrors `asyncPutMessage`. */
  appendMessage(message: MessageToPut): AppendMessageResult {
    return this.#count(this.#refusal() ?? this.#log.appendMessage(message, this.#consumeQueues));
  }

  /** Appends a client's batch, all of it or nothing. Mirrors `asyncPutMessages`. */
  appendBatch(batch: BatchToPut): AppendMessageResult {
    return this.#count(this.#refusal() ?? this.#log.appendBatch(batch, this.#consumeQueues));
  }

  /** Appends messages and batches, with one write as far as they go to one file. The results are in their order. */
  appendMessages(given: readonly (MessageToPut | BatchToPut)[]): AppendMessageResult[] {
    const refusal = this.#refusal();
    if (refusal !== null) return given.map(() => this.#count(refusal));
    const results = this.#log.appendMessages(given, this.#consumeQueues);
    for (const result of results) this.#count(result);
    return results;
  }

  #refusal(): AppendMessageResult | null {
    const remark = this.notWritableReason;
    return remark === null ? null : { status: PutMessageStatus.SERVICE_NOT_AVAILABLE, remark };
  }

  #count(result: AppendMessageResult): AppendMessageResult {
    if (result.status === PutMessageStatus.PUT_OK) {
      this.#puts.messages += result.msgNum;
      this.#puts.bytes += result.wroteBytes;
    } else {
      this.#puts.failed++;
    }
    return result;
  }

  /** Resolves with true once the log is on the disk up to `offset`, with false after `timeoutMs`. For `SYNC_FLUSH`. */
  waitStored(offset: number, timeoutMs: number): Promise<boolean> {
    return this.#log.waitStored(offset, timeoutMs);
  }

  // --- reading ---

  /** See {@link MessageReader.getMessage}. */
  async getMessage(
    topic: string,
    queueId: number,
    queueOffset: number,
    maxNum: number,
    maxBytes: number,
  ): Promise<GetMessageResult> {
    const result = await this.#reader.getMessage(topic, queueId, queueOffset, maxNum, maxBytes);
    this.#transferredMessages += result.messages.length;
    return result;
  }

  /** See {@link PullReader.pull}. */
  pullMessages(
    topic: string,
    queueId: number,
    offset: number,
    maxMsgNums: number,
    filter: MessageFilter | null,
  ): PullResult | Promise<PullResult> {
    const result = this.#pulls.pull(topic, queueId, offset, maxMsgNums, filter);
    if (result instanceof Promise) return result.then((done) => this.#countPull(done));
    return this.#countPull(result);
  }

  #countPull(result: PullResult): PullResult {
    this.#transferredMessages += result.messageCount;
    return result;
  }

  /** See {@link MessageReader.lookMessage}. */
  lookMessage(offset: number, size: number): Promise<StoredMessage | null> {
    return this.#reader.lookMessage(offset, size);
  }

  /** See {@link MessageReader.lookMessageByOffset}. */
  lookMessageByOffset(offset: number): Promise<StoredMessage | null> {
    return this.#reader.lookMessageByOffset(offset);
  }

  /** The message with that offset message id; null when the text is none or the log does not hold it. */
  lookMessageById(msgId: string): Promise<StoredMessage | null> {
    const id = decodeMessageId(msgId);
    return id === null ? Promise.resolve(null) : this.#reader.lookMessageByOffset(id.physicalOffset);
  }

  /** See {@link MessageReader.queryMessage}. */
  queryMessage(
    topic: string,
    key: string,
    maxNum: number,
    begin: number,
    end: number,
  ): Promise<readonly StoredMessage[]> {
    return this.#reader.queryMessage(topic, key, maxNum, begin, end);
  }

  /** See {@link MessageReader.lookRecordByOffset}. */
  lookRecordByOffset(offset: number): Promise<Uint8Array | null> {
    return this.#reader.lookRecordByOffset(offset);
  }

  /** See {@link MessageReader.queryRecords}. */
  queryRecords(topic: string, key: string, maxNum: number, begin: number, end: number): Promise<Uint8Array[]> {
    return this.#reader.queryRecords(topic, key, maxNum, begin, end);
  }

  /** End of the index: store time, Unix ms, and offset of the message indexed last; 0 for an empty one. */
  get indexEnd(): { readonly timestamp: number; readonly phyOffset: number } {
    return { timestamp: this.#index?.endTimestamp ?? 0, phyOffset: this.#index?.endPhyOffset ?? 0 };
  }

  /** See {@link MessageReader.getOffsetByTime}. */
  getOffsetByTime(
    topic: string,
    queueId: number,
    timestamp: number,
    boundary: BoundaryType = BoundaryType.LOWER,
  ): number {
    return this.#reader.getOffsetByTime(topic, queueId, timestamp, boundary);
  }

  /** See {@link MessageReader.getEarliestMessageTime}. */
  getEarliestMessageTime(topic: string, queueId: number): number {
    return this.#reader.getEarliestMessageTime(topic, queueId);
  }

  /** Store time of the message at that index of the queue, Unix ms; -1 when there is none (any more). */
  getMessageStoreTimeStamp(topic: string, queueId: number, queueOffset: number): number {
    return this.#reader.getMessageStoreTimeStamp(topic, queueId, queueOffset);
  }

  /** See {@link MessageReader.getMessageTimes}. Throws {@link IoError}. */
  getMessageTimes(topic: string, queueId: number, queueOffset: number): MessageTimes | null {
    return this.#reader.getMessageTimes(topic, queueId, queueOffset);
  }

  /** Index of the queue's first message that can be read; 0 for a queue that does not exist. Throws {@link IoError}. */
  getMinOffsetInQueue(topic: string, queueId: number): number {
    return this.#consumeQueues.find(topic, queueId)?.minOffsetInQueue ?? 0;
  }

  /** Index after the queue's last message that can be read; 0 for a queue that does not exist. */
  getMaxOffsetInQueue(topic: string, queueId: number): number {
    return this.#consumeQueues.find(topic, queueId)?.maxOffsetInQueue ?? 0;
  }

  /** The queues that ever got a message, in no order. */
  queues(): { topic: string; queueId: number; minOffset: number; maxOffset: number }[] {
    return [...this.#consumeQueues.queues()].map((queue) => ({
      topic: queue.topic,
      queueId: queue.queueId,
      // Found by reading: not for callers that don't ask.
      get minOffset() {
        return queue.minOffsetInQueue;
      },
      maxOffset: queue.maxOffsetInQueue,
    }));
  }

  /** See {@link MessageReader.readConsumeQueue}. */
  readConsumeQueue(topic: string, queueId: number, fromIndex: number, maxCount: number): ConsumeQueueEntry[] {
    return this.#reader.readConsumeQueue(topic, queueId, fromIndex, maxCount);
  }

  /**
   * Whether the record at `pos` is so near the log's end that the page cache may hold it: within
   * `accessMessageInMemoryMaxRatio` of the machine's memory, 10 % less on a slave. Mirrors `checkInMemByCommitOffset`.
   */
  isInMemory(pos: number): boolean {
    return this.#log.maxOffset - pos <= this.#memoryBytes();
  }

  #memoryBytes(): number {
    const ratio = this.#options.accessMessageInMemoryMaxRatio - (this.#role === "slave" ? 10 : 0);
    this.#totalMemory ??= this.#process.memory().totalBytes;
    return this.#totalMemory * Math.max(ratio, 0) / 100;
  }

  /** Removes the queues of these topics; their messages stay in the log until it expires. Throws {@link IoError}. */
  async deleteTopics(topics: readonly string[]): Promise<void> {
    for (const topic of topics) await this.#consumeQueues.deleteTopic(topic, () => this.#log.maxOffset);
  }

  // --- dispatch ---

  /** Bytes of the log whose messages can't be read by queue yet. */
  get dispatchBehindBytes(): number {
    return this.#reput.behindBytes;
  }

  /** Whether every dispatched message can be found by key: not without an index, nor while a crash's loss is made up. */
  get isIndexComplete(): boolean {
    return this.#index !== null && this.#reput.indexFromOffset === null;
  }

  /** Resolves with {@link isIndexComplete} once it is true, without an index, or when the store stops. */
  async waitIndexComplete(): Promise<boolean> {
    if (this.#index !== null && !this.isIndexComplete) await this.#reput.waitComplete();
    return this.isIndexComplete;
  }

  /** Resolves once everything written before the call can be read. Throws {@link IoError} when the store stops first. */
  async waitDispatched(): Promise<void> {
    const offset = this.#log.maxOffset;
    if (this.#log.confirmOffset < offset) await this.waitFlushed(offset);
    if (!(await this.#reput.waitDispatched(offset))) throw new IoError("closed", "Dispatch stopped with the store");
  }

  /**
   * Tells one listener of each message of the queues it waits for, once it can be read; null: nobody. It costs dispatch
   * something, so it is set only while somebody waits.
   */
  setMessageArrivingListener(listener: MessageArrivingListener | null): void {
    this.#dispatcher.listener = listener;
  }

  /** Calls back, synchronously, each time more messages can be read. Returns the unsubscriber. */
  onDispatched(listener: () => void): () => void {
    this.#dispatchListeners.add(listener);
    return () => this.#dispatchListeners.delete(listener);
  }

  #onDispatched(): void {
    this.#dispatcher.tellArrivals();
    if (this.#role === "slave") {
      this.#puts.messages += this.#dispatcher.messages - this.#counted.messages;
      this.#puts.bytes += this.#dispatcher.bytes - this.#counted.bytes;
    }
    this.#countFrom();
    for (const listener of this.#dispatchListeners) listener();
  }

  #countFrom(): void {
    this.#counted = { messages: this.#dispatcher.messages, bytes: this.#dispatcher.bytes };
  }

  // --- figures ---

  /** Figures for GET_BROKER_RUNTIME_INFO and metrics. Asks the file system; throws {@link IoError}. */
  statistics(): StoreStatistics {
    return {
      bootTimestamp: this.#bootTimestamp,
      putMessageTimesTotal: this.#puts.messages,
      putMessageSizeTotal: this.#puts.bytes,
      putMessageFailedTimes: this.#puts.failed,
      getMessageTransferedMsgCount: this.#transferredMessages,
      earliestMessageTimeStamp: this.#reader.storeTimestampAtOffset(this.#log.minOffset),
      commitLogDiskRatio: this.#cleanCommitLog.commitLogDiskRatio(),
      consumeQueueDiskRatio: this.#cleanCommitLog.consumeQueueDiskRatio(),
    };
  }

  /** Bytes written and perhaps not on the disk. */
  get remainHowManyDataToFlush(): number {
    return this.#log.maxOffset - this.#log.flushedOffset;
  }

  /** One round of expiry at once, beside the timed ones. Throws {@link IoError}. */
  cleanExpired(): Promise<void> {
    return this.#clean.run();
  }

  /** Like that, and expired files go whatever the hour, also in the next rounds. Mirrors `executeDeleteFilesManually`. */
  deleteExpiredFilesManually(): Promise<void> {
    this.#cleanCommitLog.executeDeleteFilesManually();
    return this.#clean.run();
  }

  // --- ReplicaLog ---

  get minOffset(): number {
    return this.#log.minOffset;
  }

  get maxOffset(): number {
    return this.#log.maxOffset;
  }

  get flushedOffset(): number {
    return this.#log.flushedOffset;
  }

  /** How far dispatch may go. */
  get confirmOffset(): number {
    return this.#log.confirmOffset;
  }

  get mappedFileSize(): number {
    return this.#log.mappedFileSize;
  }

  get lastRecordOffset(): number {
    return this.#log.lastRecordOffset;
  }

  read(offset: number, target: Uint8Array): number | Promise<number> {
    return this.#log.read(offset, target);
  }

  get replicaWriteOffset(): number {
    return this.#log.replicaWriteOffset;
  }

  /** See {@link ReplicaLog.appendReplica}. Throws {@link IoError} `closed` unless the store runs as a slave's. */
  appendReplica(physicOffset: number, bytes: Uint8Array): ReplicaAppendResult {
    const reason = this.#notRunningReason ?? (this.#role === "master" ? "Role is master" : null);
    if (reason !== null) throw new IoError("closed", `A master's bytes are not taken: ${reason}`);
    return this.#log.appendReplica(physicOffset, bytes);
  }

  discardPartial(): void {
    this.#log.discardPartial();
  }

  /** See {@link ReplicaLog.waitFlushed}. Throws {@link IoError} when the store stops or fails first. */
  async waitFlushed(offset: number): Promise<void> {
    if (!(await this.#log.waitStored(offset, null))) throw new IoError("closed", "Flushing stopped with the store");
  }

  onGrow(listener: () => void): () => void {
    return this.#log.onGrow(listener);
  }

  setTailAside(fromOffset: number, mayCut: () => boolean = () => true): Promise<string> {
    return this.#cut(async () => {
      const path = await this.#log.setTailAside(fromOffset, mayCut);
      await this.#wholly(() => this.#cutDerived(fromOffset));
      return path;
    });
  }

  setLogAside(mayCut: () => boolean = () => true): Promise<string> {
    return this.#cut(async () => {
      const path = await this.#log.setLogAside(mayCut);
      await this.#wholly(() => this.#forgetDerived());
      return path;
    });
  }

  /** Queues that could not follow a cut point at other records than their own: the next start mends them. */
  async #wholly(change: () => Promise<void>): Promise<void> {
    try {
      await change();
    } catch (error) {
      this.#fail(error);
      throw error;
    }
  }

  /** Dispatch and flushing rest while the log is cut. */
  async #cut(operation: () => Promise<string>): Promise<string> {
    const reason = this.#notRunningReason;
    if (reason !== null) throw new IoError("closed", `The log can't be cut: ${reason}`);
    this.#cutting = true;
    try {
      await this.#reput.pause();
      await this.#log.flushService.flushNow();
      this.#distrustCheckpoint();
      const path = await operation();
      this.#distrustCheckpoint();
      this.#consumeQueues.recoverOffsetTable();
      return path;
    } finally {
      this.#cutting = false;
      this.#reput.setPosition(
        Math.min(this.#reput.reputFromOffset, this.#log.maxOffset),
        this.#reput.indexFromOffset,
      );
      this.#reput.run();
    }
  }

  /** What comes after a cut may be older than what the checkpoint vouches for: a crash must not believe it. */
  #distrustCheckpoint(): void {
    this.#checkpoint.trustedFrom = 0;
    this.#checkpoint.distrust();
  }
}
