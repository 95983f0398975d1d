// SEND_MESSAGE (10), SEND_MESSAGE_V2 (310) and SEND_BATCH_MESSAGE (320): a client's message from its header to the put
// and back to the answer. What a put promises is PutMessageService's matter; retries and transactions only pass here.

import { RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import {
  createResponse,
  type ExtValues,
  isOneway,
  type RemotingCommand,
  requiredExt,
} from "../../remoting/remoting_command.ts";
import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import type { RequestContext, RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Random } from "../../runtime/runtime.ts";
import { MessageConst, parsePropertiesText } from "../../store/message_properties.ts";
import { MessageSysFlag } from "../../store/message_sys_flag.ts";
import { type BatchToPut, type MessageToPut, PutMessageStatus, type RecordHost } from "../../store/types.ts";
import type { PutMessageResult, PutOptions } from "../put_message_service.ts";
import { responseCodeOf } from "../put_status_code.ts";
import { hostOfAddress } from "../record_host.ts";
import { PermName, type TopicConfig } from "../topic_config_manager.ts";
import { isNotAllowedSendTopic, isRetryTopic, topicNameError } from "../topic_validator.ts";
import { createUniqId } from "../uniq_id.ts";
import type { RetryAndDLQ, SendHeader } from "./send_header.ts";

/** The topics a send meets or makes. */
export interface SendTopics {
  selectTopicConfig(topic: string): TopicConfig | null;
  isOrderTopic(topic: string): boolean;
  createTopicInSendMessageMethod(
    topic: string,
    defaultTopic: string,
    clientDefaultTopicQueueNums: number,
    topicSysFlag: number,
  ): TopicConfig | null;
  /** Resolves when the topics of the call's time are on the disk. */
  persist(): Promise<void>;
}

/** Where messages go. */
export interface SendPuts {
  putMessage(message: MessageToPut, options?: PutOptions): PutMessageResult | Promise<PutMessageResult>;
  putBatch(batch: BatchToPut): Promise<PutMessageResult>;
}

/** Told of each message that was stored. */
export interface SendStats {
  put(topic: string, queueId: number, messageCount: number, bytes: number, storeTimestamp: number): void;
}

/** What the processor needs. */
export interface SendPorts {
  readonly config: Pick<
    Config,
    | "brokerPermission"
    | "brokerClusterName"
    | "regionId"
    | "traceOn"
    | "startAcceptSendRequestTimeStamp"
    | "rejectTransactionMessage"
  >;
  readonly topics: SendTopics;
  readonly puts: SendPuts;
  readonly stats: SendStats;
  readonly random: Random;
  readonly now: () => number;
  /** `brokerIP1:listenPort` as records have it. */
  readonly storeHost: RecordHost;
  /** Why this broker takes no sends now, null when it does. */
  readonly rejectReason: () => string | null;
  /** Rules of messages that a consumer sends to its retry topic. */
  readonly retryAndDLQ: RetryAndDLQ;
  /** What a message of an open transaction is stored as. */
  readonly prepareHalfMessage: (message: MessageToPut) => MessageToPut;
  /** The handle a message with a delivery time can be called back by; null for others. */
  readonly recallHandleOf: (asPut: MessageToPut) => string | null;
}

/** Mirrors Apache's `SendMessageProcessor`. */
export function sendMessageProcessors(ports: SendPorts): Map<number, RequestProcessor> {
  const bornHosts = new WeakMap<RemotingConnection, RecordHost>();
  const send: RequestProcessor = (request, context) => processSend(ports, request, bornHostOf(bornHosts, context));
  return new Map([
    [RequestCode.SEND_MESSAGE, send],
    [RequestCode.SEND_MESSAGE_V2, send],
    [RequestCode.SEND_BATCH_MESSAGE, send],
  ]);
}

function bornHostOf(known: WeakMap<RemotingConnection, RecordHost>, context: RequestContext): RecordHost {
  let host = known.get(context.connection);
  if (host === undefined) known.set(context.connection, host = hostOfAddress(context.remoteAddress));
  return host;
}

function processSend(
  ports: SendPorts,
  request: RemotingCommand,
  bornHost: RecordHost,
): RemotingCommand | null | Promise<RemotingCommand | null> {
  const { config } = ports;
  const traced = { MSG_REGION: config.regionId, TRACE_ON: config.traceOn };
  const refuse = (code: number, remark: string) => createResponse(request, code, { remark, ext: traced });
  const rejected = ports.rejectReason();
  // As 4.9 does: producers of every version go to another broker then; after 5.3.3's SYSTEM_BUSY those of 4.9 don't.
  if (rejected !== null) return refuse(ResponseCode.SERVICE_NOT_AVAILABLE, `[REJECTREQUEST]${rejected}`);
  const header = readSendHeader(request);
  if (request.body.length === 0) return refuse(ResponseCode.SYSTEM_ERROR, "The message has no body");
  if (ports.now() < config.startAcceptSendRequestTimeStamp) {
    return refuse(ResponseCode.SYSTEM_ERROR, "Sends are not taken before startAcceptSendRequestTimeStamp");
  }
  const { topic } = header;
  if ((config.brokerPermission & PermName.WRITE) === 0 && ports.topics.isOrderTopic(topic)) {
    return refuse(ResponseCode.NO_PERMISSION, `brokerPermission is ${config.brokerPermission}, wanted 2 (write) in it`);
  }
  let saved: Promise<unknown> | null = null;
  let topicConfig = ports.topics.selectTopicConfig(topic);
  if (topicConfig === null || isNotAllowedSendTopic(topic)) {
    const illegal = topicNameError(topic);
    if (illegal !== null) return refuse(ResponseCode.INVALID_PARAMETER, illegal);
    if (isNotAllowedSendTopic(topic)) {
      return refuse(ResponseCode.NO_PERMISSION, `Sending to topic [${topic}] is forbidden.`);
    }
    topicConfig = ports.topics.createTopicInSendMessageMethod(
      topic,
      header.defaultTopic,
      header.defaultTopicQueueNums,
      topicSysFlagOf(header),
    );
    if (topicConfig === null) {
      return refuse(ResponseCode.TOPIC_NOT_EXIST, `topic[${topic}] not exist, apply first please!`);
    }
    // The answer waits for the topic's file as well: a message in a topic that a crash forgets is hard to find.
    saved = ports.topics.persist().catch(() => undefined);
  }
  const queueNums = Math.max(topicConfig.writeQueueNums, topicConfig.readQueueNums);
  if (header.queueId >= queueNums) {
    const remark = `request queueId[${header.queueId}] is illegal, topic ${topic} has ${queueNums} queues`;
    return refuse(ResponseCode.INVALID_PARAMETER, remark);
  }
  const queueId = header.queueId >= 0 ? header.queueId : ports.random.nextInt(Math.max(1, topicConfig.writeQueueNums));
  const message = messageOf(ports, request, header, queueId, topicConfig, bornHost);
  const put = header.isBatch ? putBatch(ports, request, message) : putOne(ports, message, header);
  if ("refused" in put) return refuse(put.refused, put.remark);
  const answer = (result: PutMessageResult) => sendAnswer(ports, request, message, put.stored, result);
  if (saved !== null) return Promise.all([put.result, saved]).then(([result]) => answer(result));
  return put.result instanceof Promise ? put.result.then(answer) : answer(put.result);
}

/** A put under way and what was handed to it, or why there is none. */
type Putting =
  | { readonly result: PutMessageResult | Promise<PutMessageResult>; readonly stored: MessageToPut }
  | { readonly refused: number; readonly remark: string };

function putOne(ports: SendPorts, message: MessageToPut, header: SendHeader): Putting {
  let stored = message;
  if (isRetryTopic(message.topic)) {
    const moved = ports.retryAndDLQ(message, header);
    if ("code" in moved) return { refused: moved.code, remark: moved.remark };
    stored = moved;
  }
  const { properties } = stored;
  if (properties.get(MessageConst.PROPERTY_TRANSACTION_PREPARED)?.toLowerCase() === "true") {
    const delayLevel = Number(properties.get(MessageConst.PROPERTY_DELAY_TIME_LEVEL) ?? 0);
    if (!(stored.reconsumeTimes > 0 && delayLevel > 0)) {
      if (ports.config.rejectTransactionMessage) {
        return { refused: ResponseCode.NO_PERMISSION, remark: "rejectTransactionMessage is true on this broker" };
      }
      stored = ports.prepareHalfMessage(stored);
      return { result: ports.puts.putMessage(stored, { skipHooks: true }), stored };
    }
  }
  return { result: ports.puts.putMessage(stored), stored };
}

function putBatch(ports: SendPorts, request: RemotingCommand, message: MessageToPut): Putting {
  if (isRetryTopic(message.topic)) {
    return { refused: ResponseCode.MESSAGE_ILLEGAL, remark: "A batch can't go to a retry topic" };
  }
  return { result: ports.puts.putBatch({ message, batchBody: request.body }), stored: message };
}

function sendAnswer(
  ports: SendPorts,
  request: RemotingCommand,
  message: MessageToPut,
  stored: MessageToPut,
  { status, append, remark, message: asPut }: PutMessageResult,
): RemotingCommand | null {
  const { config } = ports;
  if (append === null) {
    const text = remark === "" ? status : remark;
    const ext = { MSG_REGION: config.regionId, TRACE_ON: config.traceOn };
    return createResponse(request, responseCodeOf(status), { remark: text, ext });
  }
  const { msgIds, logicsOffset, msgNum, wroteBytes, storeTimestamp } = append;
  ports.stats.put(stored.topic, stored.queueId, msgNum, wroteBytes, storeTimestamp);
  if (isOneway(request)) return null;
  const ext: ExtValues = {
    msgId: msgIds.length === 1 ? msgIds[0]! : msgIds.join(","),
    queueId: message.queueId,
    queueOffset: logicsOffset,
    transactionId: message.properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX),
    recallHandle: asPut === undefined ? null : ports.recallHandleOf(asPut),
    MSG_REGION: config.regionId,
    TRACE_ON: config.traceOn,
  };
  if (status === PutMessageStatus.PUT_OK) return createResponse(request, ResponseCode.SUCCESS, { ext });
  return createResponse(request, responseCodeOf(status), { remark: remark === "" ? status : remark, ext });
}

function messageOf(
  ports: SendPorts,
  request: RemotingCommand,
  header: SendHeader,
  queueId: number,
  topicConfig: TopicConfig,
  bornHost: RecordHost,
): MessageToPut {
  const { config } = ports;
  const properties = parsePropertiesText(header.properties);
  properties.set(MessageConst.PROPERTY_MSG_REGION, config.regionId);
  properties.set(MessageConst.PROPERTY_TRACE_SWITCH, String(config.traceOn));
  properties.delete(MessageConst.PROPERTY_POP_CK);
  if (!properties.has(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX) && !header.isBatch) {
    properties.set(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, createUniqId(ports.storeHost, ports));
  }
  properties.set(MessageConst.PROPERTY_CLUSTER, config.brokerClusterName);
  return {
    topic: header.topic,
    queueId,
    body: request.body,
    properties,
    flag: header.flag,
    sysFlag: topicConfig.topicFilterType === "MULTI_TAG" ? header.sysFlag | MessageSysFlag.MULTI_TAGS : header.sysFlag,
    bornTimestamp: header.bornTimestamp,
    bornHost,
    storeHost: ports.storeHost,
    reconsumeTimes: header.reconsumeTimes,
    preparedTransactionOffset: 0,
  };
}

function topicSysFlagOf(header: SendHeader): number {
  if (!header.unitMode) return 0;
  return isRetryTopic(header.topic) ? 2 : 1;
}

/** Either form of the header: short names, or the long ones of the first version. */
export function readSendHeader(request: RemotingCommand): SendHeader {
  const { extFields, code } = request;
  const isV1 = code === RequestCode.SEND_MESSAGE || code === RequestCode.SEND_REPLY_MESSAGE;
  const names = isV1 ? LONG_NAMES : SHORT_NAMES;
  const integer = (name: string, fallback?: number) => {
    const text = fallback === undefined ? requiredExt(request, name) : extFields.get(name);
    if (text === undefined) return fallback!;
    const value = Number(text);
    if (Number.isSafeInteger(value) && text !== "") return value;
    const remark = `Ext field "${name}" is ${quoted(text, 40)}, wanted a whole number`;
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, remark);
  };
  const maxReconsumeTimes = extFields.get(names.maxReconsumeTimes);
  return {
    producerGroup: requiredExt(request, names.producerGroup),
    topic: requiredExt(request, names.topic),
    defaultTopic: requiredExt(request, names.defaultTopic),
    defaultTopicQueueNums: integer(names.defaultTopicQueueNums),
    queueId: integer(names.queueId),
    sysFlag: integer(names.sysFlag),
    bornTimestamp: integer(names.bornTimestamp),
    flag: integer(names.flag),
    properties: extFields.get(names.properties) ?? "",
    reconsumeTimes: integer(names.reconsumeTimes, 0),
    unitMode: extFields.get(names.unitMode) === "true",
    maxReconsumeTimes: maxReconsumeTimes === undefined ? null : integer(names.maxReconsumeTimes, 0),
    isBatch: code === RequestCode.SEND_BATCH_MESSAGE || extFields.get(names.batch) === "true",
    clientVersion: request.version,
  };
}

const LONG_NAMES = {
  producerGroup: "producerGroup",
  topic: "topic",
  defaultTopic: "defaultTopic",
  defaultTopicQueueNums: "defaultTopicQueueNums",
  queueId: "queueId",
  sysFlag: "sysFlag",
  bornTimestamp: "bornTimestamp",
  flag: "flag",
  properties: "properties",
  reconsumeTimes: "reconsumeTimes",
  unitMode: "unitMode",
  maxReconsumeTimes: "maxReconsumeTimes",
  batch: "batch",
};

const SHORT_NAMES: typeof LONG_NAMES = {
  producerGroup: "a",
  topic: "b",
  defaultTopic: "c",
  defaultTopicQueueNums: "d",
  queueId: "e",
  sysFlag: "f",
  bornTimestamp: "g",
  flag: "h",
  properties: "i",
  reconsumeTimes: "j",
  unitMode: "k",
  maxReconsumeTimes: "l",
  batch: "m",
};
