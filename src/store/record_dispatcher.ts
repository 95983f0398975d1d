// What happens to one record when it is dispatched: its unit in a consume queue, its keys in the index. Used by recovery
// and by ReputMessageService, which own where records come from; knows nothing of progress.

import type { Logger } from "../base/logger.ts";
import type { ConsumeQueueStore } from "./consume_queue_store.ts";
import { DispatchReader } from "./dispatch_reader.ts";
import type { IndexService } from "./index_service.ts";
import type { DelayLevels } from "./message_properties.ts";
import { isConsumable, MessageSysFlag } from "./message_sys_flag.ts";

/** Hears of messages as their queues get them; see {@link RecordDispatcher.listener}. */
export interface MessageArrivingListener {
  /** Whether somebody waits for this queue: asked for each record while a listener is set, so it must be cheap. */
  isWaitingFor(topic: string, queueId: number): boolean;
  /** A message of the queue can be read: `maxOffset` is the index after it. Mirrors Apache's `MessageArrivingListener`. */
  arriving(topic: string, queueId: number, maxOffset: number, tagsCode: number): void;
}

/** Records whose units are gathered while recovering. */
const RECOVERED_RECORDS_MAX = 8192;

/** Mirrors `CommitLogDispatcherBuildConsumeQueue` and `CommitLogDispatcherBuildIndex`. */
export class RecordDispatcher {
  /** Records and bytes dispatched since the store was opened. */
  messages = 0;
  bytes = 0;
  readonly #consumeQueues: ConsumeQueueStore;
  readonly #index: IndexService | null;
  readonly #logger: Logger;
  readonly #record: DispatchReader;
  /** Told, by {@link tellArrivals}, of the messages of queues it waits for. */
  listener: MessageArrivingListener | null = null;
  #arrivals: { topic: string; queueId: number; maxOffset: number; tagsCode: number }[] = [];

  /** `index` is null when `messageIndexEnable` is false. */
  constructor(
    consumeQueues: ConsumeQueueStore,
    index: IndexService | null,
    parts: { readonly delayLevels: DelayLevels; readonly logger: Logger },
  ) {
    this.#consumeQueues = consumeQueues;
    this.#index = index;
    this.#logger = parts.logger;
    this.#record = new DispatchReader(parts.delayLevels);
  }

  /** Dispatches the record at `at`, all of which is there. Units are written by {@link writePending}. */
  dispatch(bytes: Uint8Array, at: number, toIndex: boolean): void {
    const record = this.#record;
    if (!record.read(bytes, at)) {
      this.#logger.error("A record's parts do not add up to its size; dispatch skips it. Run verify on the store", {
        physicOffset: record.commitLogOffset,
      });
      return;
    }
    this.messages++;
    this.bytes += record.msgSize;
    if (isConsumable(record.sysFlag)) {
      this.#consumeQueues.put(
        record.topic,
        record.queueId,
        record.consumeQueueOffset,
        record.commitLogOffset,
        record.msgSize,
        record.tagsCode,
        record.storeTimestamp,
      );
      if (this.listener !== null && this.listener.isWaitingFor(record.topic, record.queueId)) this.#noteArrival();
    }
    if (toIndex) this.#buildIndex(bytes);
  }

  /** By the queue's own count: after a gap a record's place there is another than it says. */
  #noteArrival(): void {
    const { topic, queueId, tagsCode } = this.#record;
    const queue = this.#consumeQueues.find(topic, queueId);
    if (queue !== null) this.#arrivals.push({ topic, queueId, maxOffset: queue.nextOffsetInQueue, tagsCode });
  }

  /** {@link dispatch} during recovery, which may go over a whole file at once: units are written in between. */
  dispatchRecovered(bytes: Uint8Array, at: number, toIndex: boolean): void {
    this.dispatch(bytes, at, toIndex);
    if (this.messages % RECOVERED_RECORDS_MAX === 0) this.writePending();
  }

  /** Puts a record that has its unit already into the index only. */
  dispatchToIndex(bytes: Uint8Array, at: number): void {
    if (this.#record.read(bytes, at)) this.#buildIndex(bytes);
  }

  #buildIndex(bytes: Uint8Array): void {
    const record = this.#record;
    if ((record.sysFlag & MessageSysFlag.TRANSACTION_MASK) === MessageSysFlag.TRANSACTION_ROLLBACK) return;
    this.#index?.buildIndex(
      record.topic,
      record.commitLogOffset,
      record.storeTimestamp,
      bytes,
      record.uniqKeyFrom,
      record.uniqKeyTo,
      record.keysFrom,
      record.keysTo,
    );
  }

  /** To be called once units are in their files. */
  tellArrivals(): void {
    if (this.#arrivals.length === 0) return;
    const arrivals = this.#arrivals;
    this.#arrivals = [];
    for (const one of arrivals) this.listener?.arriving(one.topic, one.queueId, one.maxOffset, one.tagsCode);
  }

  /** Brings units to their files. Throws {@link IoError}; the same records are to be dispatched again then. */
  writePending(): void {
    try {
      this.#consumeQueues.writePending();
    } catch (error) {
      // They are noted again with their records: a disk that stays full must not gather them try after try.
      this.#arrivals = [];
      throw error;
    }
  }
}
