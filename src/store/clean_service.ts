// Expiry on a timer: a round of CleanCommitLogService, then consume queues and index follow the log's new begin. Owns
// when rounds happen and nothing of what they decide. MessageStore drives its life.

import type { Logger } from "../base/logger.ts";
import type { Clock, Timer } from "../runtime/runtime.ts";
import { errorMessage } from "../base/errors.ts";
import type { CleanCommitLogService } from "./clean_commit_log_service.ts";
import type { ConsumeQueueStore } from "./consume_queue_store.ts";
import type { IndexService } from "./index_service.ts";

/** First round after the start, ms, as in Apache; earlier only for the disk-full flag. */
const FIRST_ROUND_MS = 60_000;

/** What is cleaned. */
export interface CleanParts {
  readonly clock: Clock;
  readonly logger: Logger;
  /** `cleanResourceInterval` is the time between rounds, ms; read at each. */
  readonly options: { readonly cleanResourceInterval: number };
  readonly cleanCommitLog: CleanCommitLogService;
  readonly consumeQueues: ConsumeQueueStore;
  readonly index: IndexService | null;
  /** The log's first byte. */
  readonly minOffset: () => number;
}

/** Mirrors `addScheduleTask` with `CleanConsumeQueueService`. */
export class CleanService {
  readonly #parts: CleanParts;
  #timer: Timer | null = null;
  #round: Promise<void> | null = null;
  #stopped = false;
  #cleanedMinOffset = -1;

  constructor(parts: CleanParts) {
    this.#parts = parts;
  }

  /** Begins with rounds. */
  start(): void {
    this.#cleanedMinOffset = this.#parts.minOffset();
    this.#arm(FIRST_ROUND_MS);
  }

  #arm(delayMs: number): void {
    if (this.#stopped) return;
    this.#timer = this.#parts.clock.setTimer(delayMs, () => {
      this.#round = this.run().then(
        () => {},
        (error) => this.#parts.logger.error("Removing expired files failed", { error: errorMessage(error) }),
      ).then(() => this.#arm(this.#parts.options.cleanResourceInterval));
    });
  }

  /** One round at once. Throws {@link IoError}. */
  async run(): Promise<void> {
    const { cleanCommitLog, consumeQueues, index, minOffset } = this.#parts;
    await cleanCommitLog.run();
    if (this.#stopped || minOffset() === this.#cleanedMinOffset) return;
    this.#cleanedMinOffset = minOffset();
    consumeQueues.deleteExpiredFile(this.#cleanedMinOffset);
    index?.deleteExpiredFile(this.#cleanedMinOffset);
  }

  /** No more rounds; one under way ends. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#parts.cleanCommitLog.stop();
    await this.#round;
  }
}
