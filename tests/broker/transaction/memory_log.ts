// A log in memory with queues and an index: what transactions need of the store and of puts, with switches for what goes
// wrong. Everything is dispatched and on the disk at once, unless a test holds it back.

import { type GetMessageResult, GetMessageStatus } from "../../../src/store/message_reader.ts";
import { isConsumable } from "../../../src/store/message_sys_flag.ts";
import { type MessageToPut, PutMessageStatus, type StoredMessage } from "../../../src/store/types.ts";
import type { PutMessageResult, PutOptions } from "../../../src/broker/put_message_service.ts";
import type { TransactionStore } from "../../../src/broker/transaction/transactional_message_service.ts";
import type { TransactionPuts } from "../../../src/broker/transaction/op_writer.ts";
import type { Clock } from "../../../src/runtime/runtime.ts";

const RECORD_SIZE = 1000;

export class MemoryLog implements TransactionStore, TransactionPuts {
  readonly messages: StoredMessage[] = [];
  readonly options: (PutOptions | undefined)[] = [];
  readonly #queues = new Map<string, StoredMessage[]>();
  readonly #clock: Clock;
  isIndexComplete = true;
  /** Puts are refused with this. */
  refusal: PutMessageStatus | null = null;
  /** Asked of each message: true refuses it as illegal. */
  isIllegal: (message: MessageToPut) => boolean = () => false;
  /** Puts wait for this, unless they say that they don't. */
  beforeAnswer: Promise<void> | null = null;
  /** Queries of the index. */
  queries = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The messages of a topic. */
  of(topic: string): readonly StoredMessage[] {
    return this.#queues.get(topic) ?? [];
  }

  /** Loses what was written last, as a crash may. */
  cut(count: number): void {
    for (const message of this.messages.splice(this.messages.length - count)) this.#queues.get(message.topic)!.pop();
  }

  putMessage(message: MessageToPut, options?: PutOptions): PutMessageResult | Promise<PutMessageResult> {
    this.options.push(options);
    const status = this.isIllegal(message) ? PutMessageStatus.MESSAGE_ILLEGAL : this.refusal;
    if (status !== null) return { status, append: null, remark: "refused" };
    const stored = this.#append(message);
    const result: PutMessageResult = {
      status: PutMessageStatus.PUT_OK,
      append: {
        status: PutMessageStatus.PUT_OK,
        wroteOffset: stored.physicalOffset,
        wroteBytes: RECORD_SIZE,
        msgIds: [stored.msgId],
        storeTimestamp: stored.storeTimestamp,
        logicsOffset: stored.queueOffset,
        msgNum: 1,
      },
      remark: "",
    };
    return this.beforeAnswer === null || options?.noWait ? result : this.beforeAnswer.then(() => result);
  }

  #append(message: MessageToPut): StoredMessage {
    let queue = this.#queues.get(message.topic);
    if (queue === undefined) this.#queues.set(message.topic, queue = []);
    const physicalOffset = this.maxOffset;
    const stored: StoredMessage = {
      ...message,
      properties: new Map(message.properties),
      storeSize: RECORD_SIZE,
      bodyCrc: 0,
      queueOffset: isConsumable(message.sysFlag) ? queue.length : 0,
      physicalOffset,
      storeTimestamp: this.#clock.now(),
      msgId: physicalOffset.toString(16).toUpperCase().padStart(32, "0"),
    };
    this.messages.push(stored);
    queue.push(stored);
    return stored;
  }

  get maxOffset(): number {
    return this.messages.length * RECORD_SIZE;
  }

  getMinOffsetInQueue(): number {
    return 0;
  }

  getMaxOffsetInQueue(topic: string): number {
    return this.of(topic).length;
  }

  async getMessage(topic: string, _queueId: number, offset: number, maxNum: number): Promise<GetMessageResult> {
    const maxOffset = this.of(topic).length;
    const messages = this.of(topic).slice(offset, offset + maxNum);
    const status = messages.length > 0 ? GetMessageStatus.FOUND : GetMessageStatus.OFFSET_OVERFLOW_ONE;
    return { status, messages, nextBeginOffset: offset + messages.length, minOffset: 0, maxOffset };
  }

  async lookMessageByOffset(offset: number): Promise<StoredMessage | null> {
    return this.messages.find((message) => message.physicalOffset === offset) ?? null;
  }

  async queryMessage(topic: string, key: string): Promise<readonly StoredMessage[]> {
    this.queries++;
    return this.of(topic).filter((message) => message.properties.get("UNIQ_KEY") === key);
  }

  async waitDispatched(): Promise<void> {}

  async waitFlushed(): Promise<void> {}
}
