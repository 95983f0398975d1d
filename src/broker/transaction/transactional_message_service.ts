// Transactional messages from the half message to the end: ends them for their producers, asks about those that stay open,
// and keeps how far that is. The broker starts it on a master and stops it on a slave; with no open transaction it rests.
//
// Where it differs from Apache:
// - A transaction is ended once. Whoever ends it again, under whichever of its half messages, changes nothing; what a
//   crash or a promotion makes it forget of commits, the log's index tells (commit_lookup.ts). A rollback that was not
//   in the log yet is asked about again.
// - A check reads all op records first, so that an open transaction is one without a record, not one without it so far.
// - Progress is saved when the disk and the slaves hold what it counts as done: a slave never learns of a half message
//   that it should go on from and lacks.

import { errorMessage, IoError, RemotingError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Clock, Random, Timer } from "../../runtime/runtime.ts";
import { MessageConst } from "../../store/message_properties.ts";
import type { MessageToPut, RecordHost, StoredMessage } from "../../store/types.ts";
import { realPlaceOf } from "../message_copy.ts";
import { responseCodeOf } from "../put_status_code.ts";
import { RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC } from "../topic_validator.ts";
import { type CommitLookupStore, isCommitted } from "./commit_lookup.ts";
import { EndedTransactions } from "./ended_transactions.ts";
import { checkImmunityMs, committedMessage, halfMessage, resumedHalf, TRANSACTION_QUEUE_ID } from "./half_message.ts";
import { askProducer, type ProducerInquiryParts } from "./producer_inquiry.ts";
import { OpRecords } from "./op_records.ts";
import { OpWriter, type TransactionPuts } from "./op_writer.ts";
import { type CheckCounters, TransactionCheck, type TransactionCheckStore } from "./transaction_check.ts";
import { type ProgressParts, type ProgressStore, TransactionProgress } from "./transaction_progress.ts";
import { TransactionRoots } from "./transaction_roots.ts";

/** What the service needs of the store. */
export interface TransactionStore extends TransactionCheckStore, CommitLookupStore, ProgressStore {
  /** Resolves once everything written before the call can be read. Throws {@link IoError}. */
  waitDispatched(): Promise<void>;
}

/** Keys it obeys, read at each use. */
export type TransactionConfig = Pick<
  Config,
  | "brokerName"
  | "transactionTimeOut"
  | "transactionCheckMax"
  | "transactionCheckInterval"
  | "transactionOpMsgMaxSize"
  | "transactionOpBatchInterval"
  | "fileReservedTime"
  | "messageIndexEnable"
>;

/** What a {@link TransactionalMessageService} needs. */
export interface TransactionParts extends ProducerInquiryParts, ProgressParts {
  readonly store: TransactionStore;
  readonly puts: TransactionPuts;
  readonly topics: {
    createTopicInSendMessageBackMethod(topic: string, queueNums: number, perm: number, topicSysFlag: number): unknown;
  };
  readonly clock: Clock;
  readonly random: Random;
  readonly logger: Logger;
  readonly config: TransactionConfig;
  readonly storeHost: RecordHost;
  /** Called for an error that is not the disk's: a bug of ours. */
  readonly onFatal: (error: unknown) => void;
  /** Told of each message that is committed. */
  readonly onCommitted?: (message: MessageToPut, append: { wroteBytes: number; storeTimestamp: number }) => void;
}

/** What a producer says of its transaction. Mirrors Apache's `EndTransactionRequestHeader`. */
export interface TransactionEnd {
  readonly producerGroup: string;
  readonly tranStateTableOffset: number;
  readonly commitLogOffset: number;
  readonly outcome: "commit" | "rollback";
  /** It was asked. */
  readonly fromTransactionCheck: boolean;
}

/** Figures since the node began. */
export interface TransactionCounters extends CheckCounters {
  committed: number;
  rolledBack: number;
  /** Ends of transactions that were ended already. */
  repeated: number;
}

/** The index has so long after a start to become whole, ms; then transactions go on without it. */
const INDEX_WAIT_MS = 600_000;
/** Read and write. */
const PERM_READ_WRITE = 6;

/** Mirrors Apache's `TransactionalMessageServiceImpl` and `TransactionalMessageCheckService`. */
export class TransactionalMessageService {
  readonly counters: TransactionCounters = { committed: 0, rolledBack: 0, repeated: 0, checked: 0, discarded: 0 };
  readonly #parts: TransactionParts;
  readonly #ended = new EndedTransactions();
  readonly #roots = new TransactionRoots();
  readonly #ops: OpRecords;
  readonly #opWriter: OpWriter;
  readonly #check: TransactionCheck;
  readonly #progress: TransactionProgress;
  #isRunning = false;
  /** Transactions below were there when this life began, and may have been ended in an earlier one. */
  #startRoot = 0;
  #indexDeadline = 0;
  #timer: Timer | null = null;
  #checking: Promise<void> = Promise.resolve();

  constructor(parts: TransactionParts) {
    const { store, puts, clock, logger, config } = this.#parts = parts;
    this.#ops = new OpRecords(store);
    this.#opWriter = new OpWriter(parts);
    this.#progress = new TransactionProgress(parts);
    this.#check = new TransactionCheck({
      store,
      puts,
      clock,
      logger,
      config,
      ops: this.#ops,
      opWriter: this.#opWriter,
      ended: this.#ended,
      roots: this.#roots,
      counters: this.counters,
      isRunning: () => this.#isRunning,
      wasCommitted: (half, root) => this.#wasCommitted(half, root),
      ask: (half, place, storeTimestamp) => askProducer(parts, half, place, storeTimestamp),
      ensureDiscardTopic: () => {
        parts.topics.createTopicInSendMessageBackMethod(RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC, 1, PERM_READ_WRITE, 0);
      },
    });
  }

  /** Whether it ends transactions: on a master. */
  get isRunning(): boolean {
    return this.#isRunning;
  }

  /** Goes on from the saved progress and the log. The store takes puts, and all it holds is dispatched. */
  start(): void {
    if (this.#isRunning) return;
    this.#isRunning = true;
    this.#ended.clear();
    this.#opWriter.start();
    this.#startRoot = this.#parts.store.getMaxOffsetInQueue(RMQ_SYS_TRANS_HALF_TOPIC, TRANSACTION_QUEUE_ID);
    this.#roots.start(this.#startRoot);
    this.#indexDeadline = this.#parts.clock.monotonic() + INDEX_WAIT_MS;
    const { half, op } = this.#progress.start();
    this.#check.position = half;
    this.#ops.reset(op);
    this.#arm();
  }

  /** Once it resolves nothing is put any more and the progress is in the offsets. {@link start} may follow. */
  async stop(): Promise<void> {
    if (!this.#isRunning) return await this.#checking;
    this.#isRunning = false;
    this.#timer?.cancel();
    this.#timer = null;
    await this.#checking;
    await this.#opWriter.stop();
    await this.#progress.save(this.#check.position, this.#ops.offset).catch((error: unknown) => this.#sayFailed(error));
  }

  /**
   * What a message of an open transaction is stored as, to be put with `skipHooks`. Its end is waited for from now on.
   */
  prepareHalfMessage(message: MessageToPut): MessageToPut {
    if (this.#isRunning) this.#armTimer();
    return halfMessage(message);
  }

  /** Half messages that are not known to be ended; some of them may be. */
  get openCount(): number {
    const { store } = this.#parts;
    return Math.max(
      0,
      store.getMaxOffsetInQueue(RMQ_SYS_TRANS_HALF_TOPIC, TRANSACTION_QUEUE_ID) - this.#check.position,
    );
  }

  // --- the end of a transaction ---

  /**
   * Commits or rolls back; resolves once the committed message is where puts promise it to be. Throws
   * {@link RemotingError}: SLAVE_NOT_AVAILABLE on a slave, ILLEGAL_OPERATION when its time is over, SYSTEM_ERROR when
   * there is no such half message, else the code of the put that failed. Mirrors `EndTransactionProcessor`.
   */
  async end(request: TransactionEnd): Promise<void> {
    if (!this.#isRunning) {
      throw new RemotingError(ResponseCode.SLAVE_NOT_AVAILABLE, "Transactions are ended at a master");
    }
    const half = await this.#parts.store.lookMessageByOffset(request.commitLogOffset);
    this.#checkEnd(request, half);
    const root = this.#roots.of(half);
    await this.#ended.alone(root, () => this.#end(half, root, request.outcome));
  }

  /** Throws {@link RemotingError}. */
  #checkEnd(request: TransactionEnd, half: StoredMessage | null): asserts half is StoredMessage {
    const { clock, config } = this.#parts;
    const refuse = (remark: string): never => {
      throw new RemotingError(ResponseCode.SYSTEM_ERROR, remark);
    };
    // Apache takes any message of the log for one.
    if (half === null || half.topic !== RMQ_SYS_TRANS_HALF_TOPIC) {
      return refuse("Find prepared transaction message failed");
    }
    const immunity = checkImmunityMs(half, 0);
    const age = clock.now() - half.bornTimestamp;
    if (!request.fromTransactionCheck && immunity !== null && age > Math.max(immunity, config.transactionTimeOut)) {
      throw new RemotingError(
        ResponseCode.ILLEGAL_OPERATION,
        "The transaction is asked about, its own end comes too late",
      );
    }
    if (half.properties.get(MessageConst.PROPERTY_PRODUCER_GROUP) !== request.producerGroup) {
      refuse("The producer group wrong");
    }
    if (half.queueOffset !== request.tranStateTableOffset) refuse("The transaction state table offset wrong");
    if (half.physicalOffset !== request.commitLogOffset) refuse("The commit log offset wrong");
  }

  async #end(half: StoredMessage, root: number, outcome: "commit" | "rollback"): Promise<void> {
    if (!this.#isRunning) {
      throw new RemotingError(ResponseCode.SLAVE_NOT_AVAILABLE, "Transactions are ended at a master");
    }
    if (await this.#isEnded(half, root)) {
      this.counters.repeated++;
      this.#recordEnd(root, half.queueOffset);
      return;
    }
    if (outcome === "rollback") {
      if (this.#opWriter.isFull) {
        throw new RemotingError(ResponseCode.SYSTEM_BUSY, "Too many ended transactions wait to be written");
      }
      this.counters.rolledBack++;
    } else {
      await this.#commit(half);
      this.counters.committed++;
    }
    this.#recordEnd(root, half.queueOffset);
  }

  async #isEnded(half: StoredMessage, root: number): Promise<boolean> {
    if (this.#ended.has(root) || this.#ops.has(half.queueOffset)) return true;
    // It may have been under another root, a moment ago: not every copy tells where it belongs.
    if (root < this.#startRoot) await this.#parts.store.waitDispatched();
    const wasCommitted = await this.#wasCommitted(half, root);
    if (wasCommitted !== "unknown") return wasCommitted;
    throw new RemotingError(
      ResponseCode.SYSTEM_BUSY,
      "The index is being made whole, it is not known yet whether the transaction is ended; it will be asked about",
    );
  }

  /** Whether an earlier life did it. An index that a crash has cut is made whole again in the background. */
  async #wasCommitted(half: StoredMessage, root: number): Promise<boolean | "unknown"> {
    if (root >= this.#startRoot) return false;
    const { store, config, clock } = this.#parts;
    if (store.isIndexComplete) return await isCommitted(store, half);
    return config.messageIndexEnable && clock.monotonic() < this.#indexDeadline ? "unknown" : false;
  }

  async #commit(half: StoredMessage): Promise<void> {
    const message = committedMessage(half);
    if (message === null) {
      throw new RemotingError(ResponseCode.SYSTEM_ERROR, "The half message names no topic and queue, wanted both");
    }
    const { append, status, remark } = await this.#parts.puts.putMessage(message);
    if (append === null) throw new RemotingError(responseCodeOf(status), remark === "" ? status : remark);
    this.#parts.onCommitted?.(message, append);
  }

  /** Those that were put back end with it: an Apache broker that goes on from here looks at nothing else. */
  #recordEnd(root: number, halfOffset: number): void {
    if (!this.#isRunning) return;
    this.#ended.add(root);
    this.#opWriter.add(halfOffset);
    for (const copy of this.#ended.copies(root)) this.#opWriter.add(copy);
  }

  /**
   * Has a message that was set aside asked about again, from the first time on. Throws {@link RemotingError} for a
   * message that is none of a transaction, and when it can't be put. Mirrors `resumeCheckHalfMessage`.
   */
  async resumeCheck(physicalOffset: number): Promise<void> {
    const message = await this.#parts.store.lookMessageByOffset(physicalOffset);
    const isHalf = message !== null && realPlaceOf(message) !== null &&
      (message.topic === RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC || message.topic === RMQ_SYS_TRANS_HALF_TOPIC);
    if (!isHalf) {
      throw new RemotingError(ResponseCode.SYSTEM_ERROR, "Message is not there or another, wanted a half message");
    }
    const { append, status, remark } = await this.#parts.puts.putMessage(resumedHalf(message), { skipHooks: true });
    if (append === null) {
      throw new RemotingError(
        ResponseCode.SYSTEM_ERROR,
        `Put message back to RMQ_SYS_TRANS_HALF_TOPIC failed. ${status} ${remark}`,
      );
    }
    if (this.#isRunning) this.#armTimer();
  }

  // --- checks ---

  /** The next check, while there is something to look at or to save. */
  #arm(): void {
    if (this.#isRunning && (this.openCount > 0 || this.#progress.isUnsaved)) this.#armTimer();
  }

  #armTimer(): void {
    this.#timer ??= this.#parts.clock.setTimer(this.#parts.config.transactionCheckInterval, () => {
      let hasFailed = false;
      this.#checking = this.#round().catch((error: unknown) => {
        hasFailed = true;
        this.#sayFailed(error);
      }).then(() => {
        this.#timer = null;
        if (hasFailed && this.#isRunning) this.#armTimer();
        else this.#arm();
      });
    });
  }

  async #round(): Promise<void> {
    const { store } = this.#parts;
    await this.#opWriter.flush();
    await store.waitDispatched();
    const onLate = (halfOffset: number) => this.#ended.add(halfOffset);
    await this.#ops.readAll(this.#check.position, () => this.#isRunning, onLate);
    try {
      await this.#check.run();
      // What was put back just now is open: it counts once it is dispatched, and without it nobody would look again.
      await store.waitDispatched();
    } finally {
      this.#ops.passed(this.#check.position);
      await this.#progress.save(this.#check.position, this.#ops.offset);
    }
  }

  #sayFailed(error: unknown): void {
    if (!(error instanceof IoError)) return this.#parts.onFatal(error);
    if (!this.#isRunning && error.kind === "closed") return;
    this.#parts.logger.error("A check of transactions failed; the next one tries again", {
      error: errorMessage(error),
    });
  }
}
