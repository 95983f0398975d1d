// One look at the open transactions, in the order of their half messages: passes by those that are ended, puts the others
// back at the queue's end and asks their producers. Its progress is the caller's to save; when it runs, too.
//
//   half queue  |--- passed ---|--- ended or open, in any order ---|--- too young ---|
//                          position                                          end

import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import type { Clock } from "../../runtime/runtime.ts";
import type { GetMessageResult } from "../../store/message_reader.ts";
import { type MessageToPut, PutMessageStatus, type StoredMessage } from "../../store/types.ts";
import type { PutMessageResult, PutOptions } from "../put_message_service.ts";
import { RMQ_SYS_TRANS_HALF_TOPIC } from "../topic_validator.ts";
import type { EndedTransactions } from "./ended_transactions.ts";
import { checkImmunityMs, checkTimesOf, discardedMessage, renewedHalf, TRANSACTION_QUEUE_ID } from "./half_message.ts";
import type { OpRecords } from "./op_records.ts";
import type { OpWriter, TransactionPuts } from "./op_writer.ts";
import type { TransactionRoots } from "./transaction_roots.ts";

type Appended = NonNullable<PutMessageResult["append"]>;

/** What a check needs of the store. */
export interface TransactionCheckStore {
  getMessage(
    topic: string,
    queueId: number,
    queueOffset: number,
    maxNum: number,
    maxBytes: number,
  ): Promise<GetMessageResult>;
  getMaxOffsetInQueue(topic: string, queueId: number): number;
}

/** Where a half message stands after it was put back. */
export interface HalfPlace {
  readonly queueOffset: number;
  readonly physicalOffset: number;
  readonly msgId: string;
}

/** What a {@link TransactionCheck} needs. */
export interface TransactionCheckParts {
  readonly store: TransactionCheckStore;
  readonly puts: TransactionPuts;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Pick<
    Config,
    "transactionTimeOut" | "transactionCheckMax" | "fileReservedTime" | "messageIndexEnable"
  >;
  readonly ops: OpRecords;
  readonly opWriter: OpWriter;
  readonly ended: EndedTransactions;
  readonly roots: TransactionRoots;
  readonly counters: CheckCounters;
  readonly isRunning: () => boolean;
  /** Whether an earlier life committed it; `unknown`: it can't be told yet. Throws `IoError`. */
  readonly wasCommitted: (half: StoredMessage, root: number) => Promise<boolean | "unknown">;
  /** Asks the producer; `half` is the message as it was put back. */
  readonly ask: (half: MessageToPut, place: HalfPlace, storeTimestamp: number) => void;
  /** Makes the topic for messages that are asked about no more. */
  readonly ensureDiscardTopic: () => void;
}

/** What a check did. */
export interface CheckCounters {
  /** Half messages whose producer was asked. */
  checked: number;
  /** Half messages set aside. */
  discarded: number;
}

/** A check takes no longer, ms; the next goes on. Apache's bound. */
const ROUND_MS_MAX = 60_000;
const READ_BYTES = 1024 * 1024;
/** Nobody waits for these, and no hook diverts them. */
const QUIET_PUT: PutOptions = { skipHooks: true, noWait: true };

/** A message of these will never be stored. */
const HOPELESS: ReadonlySet<PutMessageStatus> = new Set([
  PutMessageStatus.MESSAGE_ILLEGAL,
  PutMessageStatus.PROPERTIES_SIZE_EXCEEDED,
]);

/** Whether the check goes on behind a half message, or stops before it. */
type Step = "next" | "stop";

/** Mirrors `TransactionalMessageServiceImpl.check`; transactional_message_service.ts says where it differs. */
export class TransactionCheck {
  /** Queue offset of the first half message that was not passed. */
  position = 0;
  readonly #parts: TransactionCheckParts;

  constructor(parts: TransactionCheckParts) {
    this.#parts = parts;
  }

  /** All that was written before is dispatched, and all op records are read. Throws `IoError`. */
  async run(): Promise<void> {
    const { store, clock, ops, isRunning } = this.#parts;
    const startTime = clock.now();
    const deadline = clock.monotonic() + ROUND_MS_MAX;
    const end = store.getMaxOffsetInQueue(RMQ_SYS_TRANS_HALF_TOPIC, TRANSACTION_QUEUE_ID);
    while (isRunning() && this.position < end && clock.monotonic() < deadline) {
      if (ops.has(this.position)) {
        this.position++;
        continue;
      }
      const { messages, nextBeginOffset } = await store.getMessage(
        RMQ_SYS_TRANS_HALF_TOPIC,
        TRANSACTION_QUEUE_ID,
        this.position,
        1,
        READ_BYTES,
      );
      const half = messages[0];
      if (half === undefined) {
        // The log holds it no more, or not in this place.
        if (nextBeginOffset <= this.position) return;
        this.position = nextBeginOffset;
        continue;
      }
      this.position = half.queueOffset;
      if (!ops.has(half.queueOffset) && (await this.#judge(half, startTime)) === "stop") return;
      this.position = half.queueOffset + 1;
    }
  }

  async #judge(half: StoredMessage, startTime: number): Promise<Step> {
    const { clock, config, ended, opWriter, roots } = this.#parts;
    const root = roots.of(half);
    if (ended.has(root)) {
      // Each of its half messages is said to be ended: who goes on from here may know of no other.
      opWriter.add(half.queueOffset);
      return "next";
    }
    const age = clock.now() - half.bornTimestamp;
    const isSpent = checkTimesOf(half) >= config.transactionCheckMax || age > config.fileReservedTime * 3_600_000;
    const immunity = checkImmunityMs(half, config.transactionTimeOut);
    if (!isSpent) {
      // Further ahead than that it is no fresh one: the clock went back, or another node's was ahead. Apache waits for it.
      const aheadMs = half.storeTimestamp - startTime;
      if (aheadMs >= 0 && aheadMs < config.transactionTimeOut) return "stop";
      if (immunity === null && age >= 0 && age < config.transactionTimeOut) return "stop";
    }
    const wasCommitted = await this.#parts.wasCommitted(half, root);
    if (wasCommitted === "unknown") return "stop";
    if (wasCommitted) {
      // Once more in the log, so that nobody has to look again.
      ended.add(root);
      opWriter.add(half.queueOffset);
      return "next";
    }
    if (isSpent) return await this.#discard(half, root);
    if (immunity !== null && age < immunity) return await this.#putBack(half, root, null);
    return await this.#putBack(half, root, checkTimesOf(half) + 1);
  }

  /** Puts it back, and asks its producer unless `checkTimes` is null. */
  async #putBack(half: StoredMessage, root: number, checkTimes: number | null): Promise<Step> {
    const message = renewedHalf(half, root, checkTimes);
    const append = await this.#put(message);
    if (append === "later") return "stop";
    // Too large now that it says more: it stays where it is, and is asked about once.
    const place = append === "never" ? half : placeOf(append);
    if (place !== half) this.#parts.ended.putBack(root, half.queueOffset, place.queueOffset);
    if (checkTimes === null) return "next";
    this.#parts.counters.checked++;
    this.#parts.ask(message, place, half.storeTimestamp);
    return "next";
  }

  async #discard(half: StoredMessage, root: number): Promise<Step> {
    const { logger, ensureDiscardTopic } = this.#parts;
    ensureDiscardTopic();
    const message = discardedMessage(half, root);
    if ((await this.#put(message)) === "later") return "stop";
    this.#parts.counters.discarded++;
    logger.warn("A transaction is open for too long, its message is set aside", {
      topic: message.topic,
      msgId: half.msgId,
      checkTimes: checkTimesOf(half),
    });
    return "next";
  }

  /** `later`: refused for now. `never`: this message will not be stored. */
  async #put(message: MessageToPut): Promise<Appended | "later" | "never"> {
    const putting = this.#parts.puts.putMessage(message, QUIET_PUT);
    const { append, status, remark } = putting instanceof Promise ? await putting : putting;
    if (append !== null) return append;
    const isHopeless = HOPELESS.has(status);
    const { topic } = message;
    this.#parts.logger.warn(
      isHopeless ? "A half message can't be put again" : "A check of transactions can't go on now, trying again",
      { topic, status, remark },
    );
    return isHopeless ? "never" : "later";
  }
}

function placeOf({ logicsOffset, wroteOffset, msgIds }: Appended): HalfPlace {
  return { queueOffset: logicsOffset, physicalOffset: wroteOffset, msgId: msgIds[0]! };
}
