// What clients of a simulation say on the wire: heartbeats, sends in version 2, batches, pulls, ends of transactions; and
// how they read what comes back. Pure.

import { utf8 } from "../../src/base/bytes.ts";
import { createRequest, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { decodeMessage } from "../../src/store/message_codec.ts";
import type { StoredMessage } from "../../src/store/types.ts";

/** The topic that clients send to and consume. */
export const WIRE_TOPIC = "Wire";
/** Its queues. */
export const WIRE_QUEUES = 3;
/** The group that consumes it. */
export const CONSUMERS = "wire-consumers";
/** The group of its producers. */
export const PRODUCERS = "wire-producers";
/** `commitOrRollback` of END_TRANSACTION. */
export const TRANSACTION_ENDS = { commit: 8, rollback: 12 } as const;
/** `sysFlag` of a half message. */
const TRANSACTION_PREPARED = 4;

/** A message of a batch. */
export interface WireMessage {
  readonly body: Uint8Array;
  readonly properties: Readonly<Record<string, string>>;
}

/** The heartbeat of a client that produces or consumes. */
export function heartbeat(clientID: string, consumes: boolean): RemotingCommand {
  const subscription = {
    topic: WIRE_TOPIC,
    subString: "*",
    tagsSet: [],
    codeSet: [],
    subVersion: 1,
    expressionType: "TAG",
    classFilterMode: false,
  };
  const consumer = {
    groupName: CONSUMERS,
    consumeType: "CONSUME_PASSIVELY",
    messageModel: "CLUSTERING",
    consumeFromWhere: "CONSUME_FROM_FIRST_OFFSET",
    subscriptionDataSet: [subscription],
    unitMode: false,
  };
  const body = {
    clientID,
    producerDataSet: consumes ? [] : [{ groupName: PRODUCERS }],
    consumerDataSet: consumes ? [consumer] : [],
  };
  return createRequest(RequestCode.HEART_BEAT, {}, utf8.encode(JSON.stringify(body)));
}

/** SEND_MESSAGE_V2 of one message, `isHalf`: of an open transaction. */
export function sendRequest(queueId: number, message: WireMessage, bornMs: number, isHalf: boolean): RemotingCommand {
  const ext = {
    ...sendHeader(queueId, bornMs),
    f: isHalf ? TRANSACTION_PREPARED : 0,
    i: propertiesText(message.properties),
  };
  return createRequest(RequestCode.SEND_MESSAGE_V2, ext, message.body);
}

/** SEND_BATCH_MESSAGE. */
export function batchRequest(queueId: number, messages: readonly WireMessage[], bornMs: number): RemotingCommand {
  const body = Buffer.concat(messages.map(encodeBatched));
  return createRequest(RequestCode.SEND_BATCH_MESSAGE, { ...sendHeader(queueId, bornMs), f: 0, i: "", m: true }, body);
}

function sendHeader(queueId: number, bornMs: number) {
  return { a: PRODUCERS, b: WIRE_TOPIC, c: "TBW102", d: WIRE_QUEUES, e: queueId, g: bornMs, h: 0, j: 0, k: false };
}

function propertiesText(properties: Readonly<Record<string, string>>): string {
  return Object.entries(properties).map(([name, value]) => `${name}\x01${value}\x02`).join("");
}

function encodeBatched({ body, properties }: WireMessage): Buffer {
  const text = Buffer.from(propertiesText(properties));
  const front = Buffer.alloc(20);
  for (const [at, value] of [22 + body.length + text.length, 0, 0, 0, body.length].entries()) {
    front.writeInt32BE(value, 4 * at);
  }
  const length = Buffer.alloc(2);
  length.writeInt16BE(text.length);
  return Buffer.concat([front, body, length, text]);
}

/** END_TRANSACTION of the half message at this place. */
export function endRequest(
  place: { readonly tranStateTableOffset: string; readonly commitLogOffset: string },
  end: keyof typeof TRANSACTION_ENDS,
  fromTransactionCheck: boolean,
  key: string,
): RemotingCommand {
  const commitOrRollback = TRANSACTION_ENDS[end];
  const ext = { producerGroup: PRODUCERS, ...place, commitOrRollback, fromTransactionCheck, msgId: key };
  return createRequest(RequestCode.END_TRANSACTION, { ...ext, transactionId: key });
}

/** QUERY_CONSUMER_OFFSET. */
export function queryOffsetRequest(queueId: number): RemotingCommand {
  return createRequest(RequestCode.QUERY_CONSUMER_OFFSET, { consumerGroup: CONSUMERS, topic: WIRE_TOPIC, queueId });
}

/** UPDATE_CONSUMER_OFFSET. */
export function commitOffsetRequest(queueId: number, commitOffset: number): RemotingCommand {
  const ext = { consumerGroup: CONSUMERS, topic: WIRE_TOPIC, queueId, commitOffset };
  return createRequest(RequestCode.UPDATE_CONSUMER_OFFSET, ext);
}

/** PULL_MESSAGE, which may be held for `suspendMs`; commits `offset` on the way. */
export function pullRequest(queueId: number, offset: number, suspendMs: number, maxMsgNums: number): RemotingCommand {
  return createRequest(RequestCode.PULL_MESSAGE, {
    consumerGroup: CONSUMERS,
    topic: WIRE_TOPIC,
    queueId,
    queueOffset: offset,
    maxMsgNums,
    // Commit, suspend, and the subscription is in the request.
    sysFlag: 7,
    commitOffset: offset,
    suspendTimeoutMillis: suspendMs,
    subscription: "*",
    subVersion: 1,
    expressionType: "TAG",
  });
}

/** The messages of a found pull. */
export function messagesOf(body: Uint8Array): StoredMessage[] {
  const messages: StoredMessage[] = [];
  for (let at = 0; at < body.length;) {
    const message = decodeMessage(body, at);
    messages.push(message);
    at += message.storeSize;
  }
  return messages;
}
