// A transaction service among fakes, and what its tests say to it.

import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import type { CheckTransactionState } from "../../../src/broker/client/broker2client.ts";
import {
  TransactionalMessageService,
  type TransactionConfig,
  type TransactionParts,
} from "../../../src/broker/transaction/transactional_message_service.ts";
import type { RemotingConnection } from "../../../src/remoting/remoting_connection.ts";
import type { Clock, Timer } from "../../../src/runtime/runtime.ts";
import { decodeMessage } from "../../../src/store/message_codec.ts";
import type { MessageToPut, StoredMessage } from "../../../src/store/types.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { MemoryLog } from "./memory_log.ts";

export const HALF = "RMQ_SYS_TRANS_HALF_TOPIC";
export const OP = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
export const SET_ASIDE = "TRANS_CHECK_MAX_TIME_TOPIC";
export const HOST = { address: new Uint8Array([127, 0, 0, 1]), port: 10911 };

/** What a producer was asked. */
export interface Question {
  readonly header: CheckTransactionState;
  readonly message: StoredMessage;
}

export class TransactionKit {
  readonly clock = new ManualClock();
  readonly log = new MemoryLog(this.clock);
  readonly offsets = new Map<string, number>();
  readonly questions: Question[] = [];
  readonly createdTopics: string[] = [];
  readonly errors: unknown[] = [];
  /** Whether a producer is connected. */
  hasProducer = true;
  replicatedOffset: number | null = null;
  readonly config: { -readonly [K in keyof TransactionConfig]: TransactionConfig[K] } = {
    brokerName: "b",
    transactionTimeOut: 6000,
    transactionCheckMax: 15,
    transactionCheckInterval: 30_000,
    transactionOpMsgMaxSize: 4096,
    transactionOpBatchInterval: 3000,
    fileReservedTime: 72,
    messageIndexEnable: true,
  };

  /** Ends the life before. */
  #crash: () => void = () => {};

  /** A service over the log and the offsets as they are: another life of the broker, the one before has crashed. */
  service(extra: Partial<TransactionParts> = {}): TransactionalMessageService {
    this.#crash();
    const timers = new Set<Timer>();
    this.#crash = () => timers.forEach((timer) => timer.cancel());
    const clock: Clock = {
      now: () => this.clock.now(),
      monotonic: () => this.clock.monotonic(),
      setTimer: (delayMs, callback) => {
        const timer = this.clock.setTimer(delayMs, callback);
        timers.add(timer);
        return timer;
      },
    };
    return new TransactionalMessageService({
      store: this.log,
      puts: this.log,
      offsets: {
        queryOffset: (_group, topic) => this.offsets.get(topic) ?? -1,
        commitOffset: (group, topic, _queueId, offset) => {
          if (group !== "CID_RMQ_SYS_TRANS") throw new Error(group);
          this.offsets.set(topic, offset);
        },
      },
      producers: {
        getAvailableChannel: () => this.hasProducer ? { connection: {} as RemotingConnection } : null,
      },
      broker2Client: {
        checkProducerTransactionState: (_connection, header, record) => {
          this.questions.push({ header, message: decodeMessage(record) });
          return true;
        },
      },
      topics: { createTopicInSendMessageBackMethod: (topic) => this.createdTopics.push(topic) },
      clock,
      random: { nextInt: () => 0, bytes: (count) => new Uint8Array(count) },
      logger: SILENT_LOGGER,
      config: this.config,
      storeHost: HOST,
      replicatedOffset: () => this.replicatedOffset,
      onFatal: (error) => this.errors.push(error),
      ...extra,
    });
  }

  /** Sends a half message; answers with its record. */
  half(service: TransactionalMessageService, key: string, properties: Record<string, string> = {}): StoredMessage {
    const message = service.prepareHalfMessage(transactional(key, this.clock.now(), properties));
    this.log.putMessage(message, { skipHooks: true });
    return this.log.messages.at(-1)!;
  }

  /** Puts a half message again as Apache does after asking so often: it does not name the first one. */
  apachePutsBack(half: StoredMessage, times: number): StoredMessage {
    const properties = new Map(half.properties).set("TRANSACTION_CHECK_TIMES", String(times));
    this.log.putMessage({ ...half, properties });
    return this.log.messages.at(-1)!;
  }

  /** Queue offsets of the half messages that op records say are ended, as often as they say so. */
  notedAsEnded(): number[] {
    return bodies(this.log.of(OP)).join("").split(",").filter(Boolean).map(Number);
  }

  /** Lets time pass, and what it wakes run to its end. */
  async advance(ms: number): Promise<void> {
    this.clock.advance(ms);
    await settle();
  }
}

/** A producer's message of a transaction, for topic T, queue 3. */
export function transactional(key: string, now: number, properties: Record<string, string> = {}): MessageToPut {
  return {
    topic: "T",
    queueId: 3,
    body: new TextEncoder().encode(key),
    properties: new Map(Object.entries({ TRAN_MSG: "true", PGROUP: "pg", UNIQ_KEY: key, TAGS: "a", ...properties })),
    flag: 7,
    sysFlag: 0x4 | 0x1,
    bornTimestamp: now,
    bornHost: HOST,
    storeHost: HOST,
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
  };
}

/** What a producer says, of its own accord or when it was asked. */
export function endOf(half: StoredMessage, outcome: "commit" | "rollback", fromTransactionCheck = false) {
  return {
    producerGroup: "pg",
    tranStateTableOffset: half.queueOffset,
    commitLogOffset: half.physicalOffset,
    outcome,
    fromTransactionCheck,
  };
}

/** What it answers to a question. */
export function answerTo({ header }: Question, outcome: "commit" | "rollback") {
  return {
    producerGroup: "pg",
    tranStateTableOffset: header.tranStateTableOffset,
    commitLogOffset: header.commitLogOffset,
    outcome,
    fromTransactionCheck: true,
  };
}

export function bodies(messages: readonly StoredMessage[]): string[] {
  return messages.map((message) => new TextDecoder().decode(message.body));
}

/** Lets promises run that wait for nothing but each other. */
export async function settle(): Promise<void> {
  for (let i = 0; i < 400; i++) await Promise.resolve();
}
