// Ended transactions on their way into the log: gathered for a moment, then written as one op record. What a crash loses
// of them, the log still tells of those that were committed; see commit_lookup.ts.

import { errorMessage } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import type { Clock, Random, Timer } from "../../runtime/runtime.ts";
import type { MessageToPut, RecordHost } from "../../store/types.ts";
import type { PutMessageResult, PutOptions } from "../put_message_service.ts";
import { createUniqId } from "../uniq_id.ts";
import { opMessage, opOffsetSize } from "./half_message.ts";

/** Where messages go. */
export interface TransactionPuts {
  putMessage(message: MessageToPut, options?: PutOptions): PutMessageResult | Promise<PutMessageResult>;
}

/** What an {@link OpWriter} needs. */
export interface OpWriterParts {
  readonly puts: TransactionPuts;
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly storeHost: RecordHost;
  readonly config: Pick<Config, "transactionOpMsgMaxSize" | "transactionOpBatchInterval">;
}

/** Offsets that may wait; Apache's bound. */
const PENDING_MAX = 20_000;
/** An op record is of no use to a client: nobody waits for it, and no hook has a say. */
const OP_PUT: PutOptions = { skipHooks: true, noWait: true };

/** Mirrors Apache's `TransactionalOpBatchService`; it differs in trying again what could not be written. */
export class OpWriter {
  readonly #parts: OpWriterParts;
  readonly #pending = new Set<number>();
  #pendingBytes = 0;
  #timer: Timer | null = null;
  #flushing: Promise<boolean> | null = null;
  #isRunning = false;

  constructor(parts: OpWriterParts) {
    this.#parts = parts;
  }

  start(): void {
    this.#isRunning = true;
    this.#pending.clear();
    this.#pendingBytes = 0;
  }

  /** Writes what waits; what can't be written any more is forgotten. */
  async stop(): Promise<void> {
    this.#isRunning = false;
    this.#timer?.cancel();
    this.#timer = null;
    await this.flush();
    if (this.#pending.size === 0) return;
    this.#parts.logger.warn("Can't write which transactions are ended; a master asks about those rolled back again", {
      count: this.#pending.size,
    });
  }

  /** Whether nothing more can be taken: puts are refused for some time. */
  get isFull(): boolean {
    return this.#pending.size >= PENDING_MAX;
  }

  /**
   * The half message at that queue offset is ended. Written after `transactionOpBatchInterval` at the latest, or as soon
   * as a record of `transactionOpMsgMaxSize` is full.
   */
  add(halfOffset: number): void {
    if (this.#pending.has(halfOffset)) return;
    const { clock, config } = this.#parts;
    this.#pending.add(halfOffset);
    this.#pendingBytes += opOffsetSize(halfOffset);
    if (this.#pendingBytes > config.transactionOpMsgMaxSize) {
      if (this.#flushing === null) void this.flush();
    } else if (this.#isRunning) {
      this.#timer ??= clock.setTimer(config.transactionOpBatchInterval, () => void this.flush());
    }
  }

  /** Writes what waits; false when something is left. Never rejects. */
  flush(): Promise<boolean> {
    this.#timer?.cancel();
    this.#timer = null;
    return this.#flushing ??= this.#flush().finally(() => {
      this.#flushing = null;
      if (this.#pending.size === 0 || !this.#isRunning) return;
      const { clock, config } = this.#parts;
      this.#timer ??= clock.setTimer(config.transactionOpBatchInterval, () => void this.flush());
    });
  }

  async #flush(): Promise<boolean> {
    const { puts, clock, random, storeHost, logger } = this.#parts;
    while (this.#pending.size > 0) {
      const offsets = this.#nextOffsets();
      const uniqKey = createUniqId(storeHost, { random, now: () => clock.now() });
      const message = opMessage(offsets, { now: clock.now(), host: storeHost, uniqKey });
      try {
        const putting = puts.putMessage(message, OP_PUT);
        const { append, status, remark } = putting instanceof Promise ? await putting : putting;
        if (append === null) {
          logger.warn("Can't write which transactions are ended, trying again", { status, remark });
          return false;
        }
      } catch (error) {
        logger.error("Can't write which transactions are ended, trying again", { error: errorMessage(error) });
        return false;
      }
      for (const offset of offsets) {
        this.#pending.delete(offset);
        this.#pendingBytes -= opOffsetSize(offset);
      }
    }
    return true;
  }

  /** As many of the first as fit a record, one at least. */
  #nextOffsets(): number[] {
    const offsets: number[] = [];
    let bytes = 0;
    for (const offset of this.#pending) {
      bytes += opOffsetSize(offset);
      if (offsets.length > 0 && bytes > this.#parts.config.transactionOpMsgMaxSize) break;
      offsets.push(offset);
    }
    return offsets;
  }
}
