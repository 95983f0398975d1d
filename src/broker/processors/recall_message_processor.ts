// RECALL_MESSAGE (370): a producer calls back a message that waits for its time. What is put is another message for the
// same slot, by which the timer then leaves the first one out.

import { utf8 } from "../../base/bytes.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import type { RequestContext, RequestProcessor } from "../../remoting/remoting_server.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { MessageConst } from "../../store/message_properties.ts";
import type { MessageToPut, RecordHost } from "../../store/types.ts";
import type { PutMessageResult, PutOptions } from "../put_message_service.ts";
import { hostOfAddress } from "../record_host.ts";
import type { TopicConfig } from "../topic_config_manager.ts";
import { decodeRecallHandle, type RecallHandle } from "../timer/recall_handle.ts";
import { deleteKey } from "../timer/timer_dequeue.ts";
import { parseJavaLong } from "../timer/timer_hook.ts";

/** What the processor needs. */
export interface RecallPorts {
  readonly config: Pick<
    Config,
    "recallMessageEnable" | "brokerName" | "regionId" | "startAcceptSendRequestTimeStamp" | "timerMaxDelaySec"
  >;
  readonly topics: { selectTopicConfig(topic: string): TopicConfig | null };
  readonly puts: {
    putMessage(message: MessageToPut, options?: PutOptions): PutMessageResult | Promise<PutMessageResult>;
  };
  /** `brokerIP1:listenPort` as records have it. */
  readonly storeHost: RecordHost;
  readonly isSlave: () => boolean;
  /** Wall clock, Unix ms. */
  readonly now: () => number;
  /** Told of each message that is stored. */
  readonly stats?: { put(topic: string, queueId: number, messages: number, bytes: number, storedAt: number): void };
}

const RECALL_MESSAGE_TAG = "_RECALL_TAG_";

/** Mirrors Apache's `RecallMessageProcessor`. */
export function recallMessageProcessors(ports: RecallPorts): Map<number, RequestProcessor> {
  return new Map([[
    RequestCode.RECALL_MESSAGE,
    (request: RemotingCommand, context: RequestContext) => recall(ports, request, context.remoteAddress),
  ]]);
}

async function recall(ports: RecallPorts, request: RemotingCommand, remoteAddress: string): Promise<RemotingCommand> {
  const { config, puts, stats } = ports;
  const region = { MSG_REGION: config.regionId };
  const refuse = (code: number, remark: string) => createResponse(request, code, { remark, ext: region });
  const topic = requiredExt(request, "topic");
  const text = requiredExt(request, "recallHandle");
  if (!config.recallMessageEnable) return refuse(ResponseCode.NO_PERMISSION, "recallMessageEnable is false here");
  if (ports.isSlave()) return refuse(ResponseCode.SLAVE_NOT_AVAILABLE, "This broker is a slave, ask its master");
  if (ports.now() < config.startAcceptSendRequestTimeStamp) {
    return refuse(ResponseCode.SERVICE_NOT_AVAILABLE, "Nothing is taken before startAcceptSendRequestTimeStamp");
  }
  if (ports.topics.selectTopicConfig(topic) === null) {
    return refuse(ResponseCode.TOPIC_NOT_EXIST, `Topic ${quoted(topic, 200)} does not exist`);
  }
  const handle = decodeRecallHandle(text);
  const illegal = handle === null ? "recallHandle is none that a broker gave" : illegalReason(ports, topic, handle);
  if (handle === null || illegal !== null) return refuse(ResponseCode.ILLEGAL_OPERATION, illegal!);
  const message = recallMessage(ports, handle, request.extFields.get("producerGroup"), remoteAddress);
  const putting = puts.putMessage(message);
  const { append, status, remark, message: stored = message } = putting instanceof Promise ? await putting : putting;
  if (append === null) return refuse(ResponseCode.SYSTEM_ERROR, remark === "" ? status : remark);
  stats?.put(stored.topic, stored.queueId, append.msgNum, append.wroteBytes, append.storeTimestamp);
  return createResponse(request, ResponseCode.SUCCESS, { ext: { ...region, msgId: handle.messageId } });
}

function illegalReason({ config, now }: RecallPorts, topic: string, handle: RecallHandle): string | null {
  if (handle.topic !== topic) {
    return `recallHandle is of topic ${quoted(handle.topic, 200)}, the request of ${quoted(topic, 200)}`;
  }
  if (handle.brokerName !== config.brokerName) {
    return `recallHandle is of broker ${quoted(handle.brokerName, 200)}, this is ${config.brokerName}`;
  }
  const left = (parseJavaLong(handle.timestamp) ?? -1) - now();
  if (left > 0 && left < config.timerMaxDelaySec * 1000) return null;
  return `recallHandle is for a time ${left} ms ahead, wanted more than 0 and less than timerMaxDelaySec`;
}

function recallMessage(
  ports: RecallPorts,
  handle: RecallHandle,
  producerGroup: string | undefined,
  remoteAddress: string,
): MessageToPut {
  const now = ports.now();
  const properties = new Map<string, string>([
    [MessageConst.PROPERTY_TAGS, RECALL_MESSAGE_TAG],
    [MessageConst.PROPERTY_TIMER_DEL_UNIQKEY, deleteKey(handle.topic, handle.messageId)],
    [MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, handle.messageId],
    [MessageConst.PROPERTY_TIMER_DELIVER_MS, handle.timestamp],
    ["BORN_TIMESTAMP", String(now)],
  ]);
  if (producerGroup !== undefined) properties.set(MessageConst.PROPERTY_PRODUCER_GROUP, producerGroup);
  return {
    topic: handle.topic,
    queueId: 0,
    body: utf8.encode("0"),
    properties,
    flag: 0,
    sysFlag: 0,
    bornTimestamp: now,
    bornHost: hostOfAddress(remoteAddress),
    storeHost: ports.storeHost,
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
  };
}
