// Delivers messages of delay levels once they are due, woken by new messages and by one timer for the earliest that is
// due. It owns when each level is looked at and when progress is written; the levels deliver, and the offsets' file is
// DelayOffsetManager's. The broker starts it on a master and stops it on a slave.
//
//   queue of a level  |--- delivered ---|--- due ---|--- waiting (tagsCode = when) ---|
//                                     offset

import { type Deferred, deferred } from "../../base/async.ts";
import { errorMessage, IoError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import type { Clock, Timer } from "../../runtime/runtime.ts";
import { DelayLevels } from "../../store/message_properties.ts";
import type { MessageToPut } from "../../store/types.ts";
import { RMQ_SYS_SCHEDULE_TOPIC } from "../topic_validator.ts";
import { delayLevel2QueueId } from "./delay_hook.ts";
import { DelayLevel, type DelayLevelParts, type DelayLevelStore, type DeliveryPuts } from "./delay_level.ts";
import type { DelayOffsetManager } from "./delay_offset_manager.ts";
import { deliveredMessage } from "./delivered_message.ts";
import {
  type DeliveryCheckStore,
  type DeliveryState,
  deliveryState,
  searchDelivered,
  waitForIndex,
} from "./delivery_check.ts";

/** What delivery needs of the store. */
export interface ScheduleStore extends DelayLevelStore, DeliveryCheckStore {
  /** End of the log. */
  readonly maxOffset: number;
  onDispatched(listener: () => void): () => void;
  /** Resolves once the log is on the disk up to `offset`. Throws {@link IoError} when the store stops first. */
  waitFlushed(offset: number): Promise<void>;
}

/** What {@link ScheduleMessageService} needs. */
export interface ScheduleMessageServiceParts {
  readonly store: ScheduleStore;
  readonly puts: DeliveryPuts;
  readonly offsets: DelayOffsetManager;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Pick<Config, "messageDelayLevel" | "flushDelayOffsetInterval">;
  /** Lowest log offset that the connected slaves hold, null without one. */
  readonly replicatedOffset: () => number | null;
  /** Called for an error that is not the disk's: a bug of ours. */
  readonly onFatal: (error: unknown) => void;
  /** Told of each message that is delivered. */
  readonly onDelivered?: (message: MessageToPut, wroteBytes: number) => void;
}

/** After an error of the disk, ms. Apache's `DELAY_FOR_A_PERIOD`. */
const ERROR_RETRY_MS = 10_000;
/** The wall clock may be set: what waits is looked at again after this at the latest, ms. */
const LOOK_MS_MAX = 10_000;

/** Mirrors Apache's `ScheduleMessageService`, which looks at each level ten times a second. */
export class ScheduleMessageService {
  readonly #parts: ScheduleMessageServiceParts;
  readonly #delays: DelayLevels;
  #levels: readonly DelayLevel[] = [];
  /** Levels that deliver at present. */
  readonly #running = new Map<DelayLevel, Promise<void>>();
  #isRunning = false;
  #starting: Promise<void> = Promise.resolve();
  #stopped: Deferred<void> = deferred<void>();
  #unsubscribe: (() => void) | null = null;
  #timer: Timer | null = null;
  #saveTimer: Timer | null = null;
  #saving: Promise<void> = Promise.resolve();
  #isDirty = false;
  /** End of what is delivered; it has to be on the disk before offsets are saved. */
  #logEnd = 0;
  #deliveredCount = 0;

  constructor(parts: ScheduleMessageServiceParts) {
    this.#parts = parts;
    this.#delays = new DelayLevels(parts.config.messageDelayLevel);
    parts.offsets.replicatedOffset = parts.replicatedOffset;
  }

  /** Begins to deliver, from the offsets as they are now. The store takes puts, and all it holds is dispatched. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#stopped = deferred<void>();
    const { store, puts, clock, logger, offsets, onDelivered } = this.#parts;
    offsets.begin();
    // What was delivered before may be in memory only.
    this.#logEnd = store.maxOffset;
    const levelParts: DelayLevelParts = {
      store,
      puts,
      clock,
      logger,
      isRunning: () => this.#isRunning,
      onMoved: (level, offset, logEnd) => this.#onMoved(level, offset, logEnd),
      onDelivered: (message, wroteBytes) => {
        this.#deliveredCount++;
        onDelivered?.(message, wroteBytes);
      },
    };
    this.#levels = Array.from({ length: this.#delays.maxLevel }, (_, index) => {
      const level = new DelayLevel(index + 1, this.#delays.delayMs(index + 1), levelParts);
      level.setOffset(offsets.offsets.get(level.level) ?? 0);
      return level;
    });
    this.#starting = this.#findStart().then(() => {
      if (!this.#isRunning) return;
      this.#unsubscribe = store.onDispatched(() => this.#onDispatched());
      for (const level of this.#levels) this.#run(level);
    }).catch(this.#parts.onFatal);
  }

  /** Once it resolves nothing is delivered any more and the offsets are in their file. {@link start} may follow. */
  async stop(): Promise<void> {
    if (!this.#isRunning) return await this.#saving;
    this.#isRunning = false;
    this.#stopped.resolve();
    this.#unsubscribe?.();
    this.#unsubscribe = null;
    this.#timer?.cancel();
    this.#saveTimer?.cancel();
    this.#timer = this.#saveTimer = null;
    await this.#starting;
    await Promise.all(this.#running.values());
    await this.#saving;
    if (this.#isDirty) await (this.#saving = this.#save());
  }

  /** Messages delivered since the node began. */
  get deliveredCount(): number {
    return this.#deliveredCount;
  }

  /** `scheduleMessageOffset_<level>` to `delivered,max`, for GET_BROKER_RUNTIME_INFO. Mirrors `buildRunningStats`. */
  runningStats(): Record<string, string> {
    const stats: Record<string, string> = {};
    const { offsets, store } = this.#parts;
    for (let level = 1; level <= this.#delays.maxLevel; level++) {
      const offset = offsets.offsets.get(level) ?? 0;
      const max = store.getMaxOffsetInQueue(RMQ_SYS_SCHEDULE_TOPIC, delayLevel2QueueId(level));
      if (max > 0 || offset > 0) stats[`scheduleMessageOffset_${level}`] = `${offset},${max}`;
    }
    return stats;
  }

  /** The file may be older or newer than the log: what the log says counts. */
  async #findStart(): Promise<void> {
    const { store, clock, logger } = this.#parts;
    if (this.#levels.every((level) => level.minOffset >= level.maxOffset)) return;
    await waitForIndex(store, clock, this.#stopped.promise);
    if (!store.isIndexComplete) return;
    for (const level of this.#levels) {
      const { offset, minOffset, maxOffset } = level;
      if (minOffset >= maxOffset) continue;
      try {
        const found = await searchDelivered(offset, minOffset, maxOffset, (index) => this.#stateAt(level, index));
        if (!this.#isRunning) return;
        if (found === offset) continue;
        const fields = { level: level.level, inFile: offset, offset: found };
        logger.info("A delay level goes on from where the log says that it is delivered", fields);
        level.offset = found;
        this.#onMoved(level.level, found, 0);
      } catch (error) {
        if (!(error instanceof IoError)) throw error;
        logger.warn("Can't tell how far a delay level is delivered; going by its file", { error: error.message });
      }
    }
  }

  async #stateAt(level: DelayLevel, index: number): Promise<DeliveryState> {
    const message = await level.messageAt(index);
    const topic = message === null ? undefined : deliveredMessage(message)?.topic;
    return topic === undefined ? "unknown" : await deliveryState(this.#parts.store, message!, [topic]);
  }

  #onDispatched(): void {
    for (const level of this.#levels) {
      if (level.lookAt === null && !this.#running.has(level) && level.maxOffset > level.offset) this.#run(level);
    }
  }

  #run(level: DelayLevel): void {
    level.lookAt = null;
    const running = level.deliver().catch((error: unknown) => this.#onError(level, error)).then(() => {
      this.#running.delete(level);
      // What came while it ended.
      if (this.#isRunning) this.#onDispatched();
      this.#arm();
    });
    this.#running.set(level, running);
  }

  #onError(level: DelayLevel, error: unknown): void {
    const { clock, logger, onFatal } = this.#parts;
    if (!(error instanceof IoError)) return onFatal(error);
    level.lookAt = clock.now() + ERROR_RETRY_MS;
    logger.error("Delivery of a delay level failed; trying again in 10 s", {
      level: level.level,
      offset: level.offset,
      error: error.message,
    });
  }

  /** One timer for all levels. */
  #arm(): void {
    this.#timer?.cancel();
    this.#timer = null;
    if (!this.#isRunning) return;
    let earliest = Infinity;
    for (const level of this.#levels) {
      if (level.lookAt !== null && !this.#running.has(level)) earliest = Math.min(earliest, level.lookAt);
    }
    if (earliest === Infinity) return;
    const { clock } = this.#parts;
    this.#timer = clock.setTimer(Math.max(0, Math.min(earliest - clock.now(), LOOK_MS_MAX)), () => {
      this.#timer = null;
      const now = clock.now();
      for (const level of this.#levels) if (level.mustLook(now) && !this.#running.has(level)) this.#run(level);
      this.#arm();
    });
  }

  // --- progress ---

  #onMoved(level: number, offset: number, logEnd: number): void {
    this.#parts.offsets.updateOffset(level, offset);
    if (logEnd > this.#logEnd) this.#logEnd = logEnd;
    this.#isDirty = true;
    this.#armSave();
  }

  #armSave(): void {
    if (this.#saveTimer !== null || !this.#isRunning) return;
    this.#saveTimer = this.#parts.clock.setTimer(this.#parts.config.flushDelayOffsetInterval, () => {
      this.#saveTimer = null;
      this.#saving = this.#save();
    });
  }

  /** What the offsets count as delivered is on the disk before they are. */
  async #save(): Promise<void> {
    const { offsets, store, logger } = this.#parts;
    const logEnd = this.#logEnd;
    const snapshot = offsets.snapshot();
    this.#isDirty = false;
    try {
      await store.waitFlushed(logEnd);
      await offsets.save(snapshot, logEnd);
    } catch (error) {
      this.#isDirty = true;
      this.#armSave();
      logger.warn("Can't save how far delay levels are delivered; after a crash messages would come again", {
        error: errorMessage(error),
      });
    }
  }
}
