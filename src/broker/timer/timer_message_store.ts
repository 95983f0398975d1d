// Messages with an arbitrary delivery time, from the timer's topic to their consumers: what follows the topic and what
// delivers from the wheel are started, woken, stopped and saved here. Files are Apache's (timerwheel, timerlog,
// config/timercheck, config/timermetrics), so either broker goes on where the other stopped.
//
//   stopped -- follow --> following (a slave: the wheel is kept, nothing delivered) -- start --> delivering (a master)

import { type Deferred, deferred } from "../../base/async.ts";
import { writeInt64 } from "../../base/bytes.ts";
import { errorMessage, IoError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import type { Clock, FileSystem, Random, Timer } from "../../runtime/runtime.ts";
import type { MessageToPut } from "../../store/types.ts";
import type { DeliveryPuts } from "../schedule/delay_level.ts";
import { type DeliveryCheckStore, waitForIndex } from "../schedule/delivery_check.ts";
import { RMQ_SYS_TIMER_TOPIC } from "../topic_validator.ts";
import { TimerCheckpoint } from "./timer_checkpoint.ts";
import { TimerDelivery } from "./timer_delivery.ts";
import { TimerDequeue } from "./timer_dequeue.ts";
import { TIMER_RECHECK_MS, TimerEnqueue, type TimerQueueStore } from "./timer_enqueue.ts";
import { openTimerFiles, type TimerFiles } from "./timer_files.ts";
import type { TimerMetrics } from "./timer_metrics.ts";
import { TIMER_WHEEL_SLOTS } from "./timer_wheel.ts";

/** What the timer needs of the store. */
export interface TimerStore extends TimerQueueStore, DeliveryCheckStore {
  /** Start of the last record; -1 when the log holds none. */
  readonly lastRecordOffset: number;
  onDispatched(listener: () => void): () => void;
  /** Resolves once the log is on the disk up to `offset`. Throws {@link IoError} when the store stops first. */
  waitFlushed(offset: number): Promise<void>;
}

/** What {@link TimerMessageStore} needs. */
export interface TimerMessageStoreParts {
  readonly fs: FileSystem;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly store: TimerStore;
  readonly puts: DeliveryPuts;
  readonly metrics: TimerMetrics;
  readonly config: Pick<
    Config,
    | "storePathRootDir"
    | "timerWheelEnable"
    | "timerPrecisionMs"
    | "timerRollWindowSlot"
    | "timerCongestNumEachSlot"
    | "timerFlushIntervalMs"
    | "mappedFileSizeTimerLog"
  >;
  /** `<storePathRootDir>/config`. */
  readonly configDirectory: string;
  /** Lowest log offset that the connected slaves hold, null without one. */
  readonly replicatedOffset: () => number | null;
  /** Called for a failed sync, and for an error that is not the disk's: a bug of ours. */
  readonly onFatal: (error: unknown) => void;
  /** Told of each message that is delivered. */
  readonly onDelivered?: (message: MessageToPut, wroteBytes: number) => void;
}

/** What a {@link TimerMessageStore} does. */
export type TimerState = "stopped" | "following" | "delivering";

/** After an error of the disk, ms. */
const ERROR_RETRY_MS = 10_000;
/** The wall clock may be set: the wheel is looked at after this at the latest, ms. */
const LOOK_MS_MAX = 10_000;
/** Clocks of two masters of one log may differ by this, ms. */
const CLOCK_SLACK_MS = 10_000;

/** What is there while it is not stopped. */
interface OpenTimer extends TimerFiles {
  readonly enqueue: TimerEnqueue;
  readonly dequeue: TimerDequeue;
}

/** Mirrors Apache's `TimerMessageStore`. */
export class TimerMessageStore {
  readonly checkpoint: TimerCheckpoint;
  readonly #parts: TimerMessageStoreParts;
  readonly #delivery: TimerDelivery;
  #state: TimerState = "stopped";
  #wanted: TimerState = "stopped";
  #changing: Promise<void> = Promise.resolve();
  /** Something else than delivery is wanted. */
  #stopped: Deferred<void> = deferred<void>();
  #open: OpenTimer | null = null;
  #enqueuing: Promise<void> | null = null;
  #dequeuing: Promise<void> | null = null;
  #unsubscribe: (() => void) | null = null;
  #lookTimer: Timer | null = null;
  #retryTimer: Timer | null = null;
  #flushTimer: Timer | null = null;
  #flushing: Promise<void> = Promise.resolve();
  #isDirty = false;

  constructor(parts: TimerMessageStoreParts) {
    this.#parts = parts;
    this.checkpoint = new TimerCheckpoint(parts.fs, parts.configDirectory);
    const { store, puts, clock, logger, config, onDelivered } = parts;
    const rollWindowMs = config.timerRollWindowSlot * config.timerPrecisionMs;
    this.#delivery = new TimerDelivery({
      store,
      puts,
      clock,
      logger,
      rollWindowMs,
      ...(onDelivered === undefined ? {} : { onDelivered }),
    });
  }

  // --- life ---

  /** Begins to deliver: this broker is the master, its store takes puts and all it holds is dispatched. */
  start(): void {
    void this.#change("delivering");
  }

  /** Keeps the wheel without delivering: this broker is a slave. Once it resolves nothing is delivered any more. */
  follow(): Promise<void> {
    return this.#change("following");
  }

  /** Once it resolves nothing is done any more, and all is saved. {@link start} or {@link follow} may come again. */
  stop(): Promise<void> {
    return this.#change("stopped");
  }

  #change(wanted: TimerState): Promise<void> {
    if (!this.#parts.config.timerWheelEnable) return Promise.resolve();
    this.#wanted = wanted;
    if (wanted === "delivering") {
      this.#stopped = deferred<void>();
    } else {
      this.#stopped.resolve();
      this.#delivery.stop();
    }
    this.#changing = this.#changing.then(() => this.#apply(wanted)).catch((error: unknown) => this.#onError(error));
    return this.#changing;
  }

  async #apply(wanted: TimerState): Promise<void> {
    if (wanted !== this.#wanted) return;
    const isAsWanted = this.#state === wanted && this.#delivery.isRunning === (wanted === "delivering");
    if (isAsWanted) return;
    this.#cancelTimers();
    if (this.#state === "delivering") await this.#rest();
    if (wanted === "stopped") return await this.#close();
    await this.#begin();
    await this.#open!.enqueue.heal();
    if (wanted !== this.#wanted) return;
    if (wanted === "delivering" && !(await this.#beginDelivery(this.#open!))) return;
    this.#state = wanted;
    this.#wake();
  }

  async #begin(): Promise<void> {
    if (this.#open !== null) return;
    const { store, clock, logger, config, fs, metrics } = this.#parts;
    const { checkpoint } = this;
    const { storePathRootDir, timerPrecisionMs, mappedFileSizeTimerLog, timerRollWindowSlot } = config;
    const sizes = { storePathRootDir, timerPrecisionMs, mappedFileSizeTimerLog };
    const files = await openTimerFiles({ fs, logger, checkpoint, ...sizes });
    const onProgress = () => this.#progress();
    const shared = { store, clock, logger, metrics, delivery: this.#delivery, checkpoint, onProgress, ...files };
    const dequeue = new TimerDequeue(shared);
    const enqueue = new TimerEnqueue({
      ...shared,
      rollWindowSlots: timerRollWindowSlot,
      claimedMs: () => dequeue.claimedMs,
      isClosed: () => this.#wanted === "stopped",
    });
    try {
      await enqueue.recover();
    } catch (error) {
      files.log.close();
      files.wheel.close();
      throw error;
    }
    this.#open = { ...files, enqueue, dequeue };
    this.#unsubscribe = store.onDispatched(() => this.#kickEnqueue());
  }

  /**
   * Finds where the wheel is delivered from: slots of earlier lives, or of another master, may be delivered in part. False
   * when delivery is not wanted any more.
   */
  async #beginDelivery({ wheel, dequeue }: OpenTimer): Promise<boolean> {
    const { store, clock } = this.#parts;
    const { precisionMs } = wheel;
    if (store.getMaxOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0) > 0) {
      await waitForIndex(store, clock, this.#stopped.promise);
    }
    const last = store.lastRecordOffset < 0 ? null : await store.lookMessageByOffset(store.lastRecordOffset);
    if (this.#wanted !== "delivering") return false;
    this.#delivery.uncertainBefore = last === null ? 0 : last.storeTimestamp + CLOCK_SLACK_MS;
    const now = Math.floor(clock.now() / precisionMs) * precisionMs;
    // Past the present nothing is delivered, whatever a damaged file or a clock that was set back says.
    const lastReadTimeMs = this.checkpoint.lastReadTimeMs = Math.min(this.checkpoint.lastReadTimeMs, now);
    // A slave may have its master's word before its bytes; what the log holds is told by its index.
    const back = store.isIndexComplete ? TIMER_RECHECK_MS : 0;
    let from = Math.floor(Math.max(0, lastReadTimeMs - back) / precisionMs) * precisionMs;
    if (now - from > TIMER_WHEEL_SLOTS / 2 * precisionMs) from = wheel.earliest(from) ?? now;
    wheel.recall(from, lastReadTimeMs);
    dequeue.readTimeMs = from;
    dequeue.claimedMs = Math.max(from, lastReadTimeMs);
    this.checkpoint.begin();
    this.#delivery.start(store.maxOffset);
    return true;
  }

  /** Delivery ends; following goes on. */
  async #rest(): Promise<void> {
    await Promise.all([this.#enqueuing, this.#dequeuing]);
    await this.#flushNow();
    this.#state = "following";
  }

  async #close(): Promise<void> {
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    await Promise.all([this.#enqueuing, this.#dequeuing]);
    await this.#flushNow();
    this.#state = "stopped";
    this.#open?.log.close();
    this.#open?.wheel.close();
    this.#open = null;
  }

  #cancelTimers(): void {
    for (const timer of [this.#lookTimer, this.#retryTimer, this.#flushTimer]) timer?.cancel();
    this.#lookTimer = this.#retryTimer = this.#flushTimer = null;
  }

  // --- what others ask ---

  /** What it does at present; a change that is asked for takes some time. */
  get state(): TimerState {
    return this.#state;
  }

  /** Whether messages are being put into the wheel, or delivered, at this moment. */
  get isBusy(): boolean {
    return this.#enqueuing !== null || this.#dequeuing !== null;
  }

  /** Takes over the master's checkpoint (body of GET_TIMER_CHECK_POINT): this broker is a slave. */
  adoptCheckpoint(body: Uint8Array): void {
    if (this.#delivery.isRunning) return;
    if (!this.checkpoint.adopt(body)) return;
    this.#markDirty();
    this.#kickEnqueue();
  }

  /** Body of GET_TIMER_CHECK_POINT. */
  checkpointForSlaves(): Uint8Array {
    const saved = this.checkpoint.forSlaves(this.#parts.replicatedOffset());
    if (saved !== null) return saved;
    // There never was a message. An Apache slave would begin at the time it is told, so that may not be 0.
    const fresh = this.checkpoint.encode();
    if (this.checkpoint.lastReadTimeMs === 0) writeInt64(fresh, 0, this.#parts.clock.now());
    return fresh;
  }

  /** Whether a message for that slot is refused: too many are due then. Mirrors the method of this name. */
  isReject(deliverMs: number): boolean {
    const limit = this.#parts.config.timerCongestNumEachSlot;
    const num = limit >= 2 ** 31 - 1 ? 0 : this.#open?.wheel.slot(deliverMs)?.num ?? 0;
    if (num <= limit) return false;
    return num >= 2 * limit || this.#parts.random.nextInt(1000) > 1000 * (num - limit) / (limit + 0.1);
  }

  /** Keys for GET_BROKER_RUNTIME_INFO. */
  runningStats(): Record<string, string> {
    const { store, clock, metrics } = this.#parts;
    const open = this.#open;
    const next = open === null || this.#state !== "delivering" ? null : open.dequeue.next();
    const behindMs = next === null ? 0 : Math.max(0, clock.now() - next - open!.wheel.precisionMs);
    const max = store.getMaxOffsetInQueue(RMQ_SYS_TIMER_TOPIC, 0);
    return {
      timerReadBehind: String(Math.floor(behindMs / 1000)),
      timerOffsetBehind: String(open === null ? 0 : Math.max(0, max - open.enqueue.queueOffset)),
      timerCongestNum: String(metrics.total),
    };
  }

  /** Messages put into the wheel, and delivered, since the node began. */
  get counts(): { readonly enqueued: number; readonly dequeued: number } {
    return { enqueued: this.#open?.enqueue.enqueuedCount ?? 0, dequeued: this.#delivery.deliveredCount };
  }

  // --- work ---

  #wake(): void {
    if (this.#isDirty) this.#markDirty();
    this.#kickEnqueue();
    this.#kickDequeue();
  }

  #progress(): void {
    this.#markDirty();
    this.#kickDequeue();
  }

  #kickEnqueue(): void {
    const open = this.#open;
    if (open === null || this.#enqueuing !== null || this.#retryTimer !== null || this.#wanted === "stopped") return;
    if (open.enqueue.queueOffset >= open.enqueue.limit) return;
    this.#enqueuing = open.enqueue.run().catch((error: unknown) => this.#onError(error)).then(() => {
      this.#enqueuing = null;
      // What came while it ended.
      this.#kickEnqueue();
    });
  }

  #kickDequeue(): void {
    const open = this.#open;
    if (open === null || this.#dequeuing !== null || this.#retryTimer !== null || !this.#delivery.isRunning) return;
    const { wheel, dequeue } = open;
    const next = dequeue.next();
    this.#lookTimer?.cancel();
    this.#lookTimer = null;
    if (next === null) return;
    const { clock } = this.#parts;
    const waitMs = next + wheel.precisionMs - clock.now();
    if (waitMs > 0) {
      this.#lookTimer = clock.setTimer(Math.min(waitMs, LOOK_MS_MAX), () => {
        this.#lookTimer = null;
        this.#kickDequeue();
      });
      return;
    }
    this.#dequeuing = dequeue.run().catch((error: unknown) => this.#onError(error)).then(() => {
      this.#dequeuing = null;
      this.#kickDequeue();
    });
  }

  #onError(error: unknown): void {
    if (!(error instanceof IoError)) return this.#parts.onFatal(error);
    if (this.#wanted === "stopped" || this.#retryTimer !== null) return;
    this.#parts.logger.error("The timer can't go on; trying again in 10 s", { error: error.message });
    this.#retryTimer = this.#parts.clock.setTimer(ERROR_RETRY_MS, () => {
      this.#retryTimer = null;
      if (this.#state !== this.#wanted) void this.#change(this.#wanted);
      else this.#wake();
    });
  }

  // --- progress ---

  #markDirty(): void {
    this.#isDirty = true;
    if (this.#flushTimer !== null || this.#open === null || this.#wanted === "stopped") return;
    this.#flushTimer = this.#parts.clock.setTimer(this.#parts.config.timerFlushIntervalMs, () => {
      this.#flushTimer = null;
      this.#flushing = this.#flush();
    });
  }

  async #flushNow(): Promise<void> {
    await this.#flushing;
    await (this.#flushing = this.#flush());
  }

  /** Files first, then the checkpoint that counts on them and on what the log holds of what was delivered. */
  async #flush(): Promise<void> {
    const open = this.#open;
    if (!this.#isDirty || open === null) return;
    this.#isDirty = false;
    const { log, wheel, enqueue, dequeue } = open;
    const { store, clock, logger, metrics, onFatal } = this.#parts;
    const { checkpoint } = this;
    const isMaster = this.#state === "delivering";
    // A slave delivers nothing; what it follows has to be there still after a crash.
    const logEnd = Math.max(isMaster ? this.#delivery.logEnd : 0, enqueue.followedEnd);
    const flushPos = log.maxPos;
    const { queueOffset } = enqueue;
    const { readTimeMs } = dequeue;
    try {
      await log.flush();
      await wheel.sync();
    } catch (error) {
      return onFatal(error);
    }
    try {
      await store.waitFlushed(logEnd);
      checkpoint.lastTimerLogFlushPos = flushPos;
      checkpoint.lastTimerQueueOffset = queueOffset;
      if (isMaster) {
        checkpoint.lastReadTimeMs = Math.max(checkpoint.lastReadTimeMs, readTimeMs);
        checkpoint.masterTimerQueueOffset = queueOffset;
        checkpoint.nextVersion(clock.now());
      }
      await checkpoint.save(logEnd);
      await metrics.save();
      await log.deleteExpired(store.minOffset);
    } catch (error) {
      this.#markDirty();
      logger.warn("Can't save the timer's progress; after a crash messages would come again", {
        error: errorMessage(error),
      });
    }
  }
}
