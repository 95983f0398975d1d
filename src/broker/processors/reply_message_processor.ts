// SEND_REPLY_MESSAGE (324) and its second version (325): the answer of a consumer to a request that was a message. It is
// pushed (326) to the requester, a producer connected to this very broker, and stored beside that.

import { errorMessage, IoError, RemotingError } from "../../base/errors.ts";
import type { Logger } from "../../base/logger.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import {
  createRequest,
  createResponse,
  type ExtValues,
  type RemotingCommand,
} from "../../remoting/remoting_command.ts";
import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import type { RequestContext, RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Random } from "../../runtime/runtime.ts";
import { MessageConst, parsePropertiesText } from "../../store/message_properties.ts";
import { MessageSysFlag } from "../../store/message_sys_flag.ts";
import type { MessageToPut, RecordHost } from "../../store/types.ts";
import { hostOfAddress } from "../record_host.ts";
import { PermName, type TopicConfig } from "../topic_config_manager.ts";
import { checkTopicName, isNotAllowedSendTopic } from "../topic_validator.ts";
import type { SendHeader } from "./send_header.ts";
import { readSendHeader, type SendPuts, type SendStats, type SendTopics } from "./send_message_processor.ts";

/** What the processor needs. */
export interface ReplyPorts {
  readonly config: Pick<
    Config,
    "brokerPermission" | "regionId" | "traceOn" | "startAcceptSendRequestTimeStamp" | "storeReplyMessageEnable"
  >;
  readonly topics: SendTopics;
  readonly puts: Pick<SendPuts, "putMessage">;
  readonly stats: SendStats;
  /** Where the requester is connected. */
  readonly producers: { findChannel(clientId: string): { readonly connection: RemotingConnection } | null };
  readonly random: Random;
  readonly now: () => number;
  /** `brokerIP1:listenPort` as records have it. */
  readonly storeHost: RecordHost;
  readonly logger: Logger;
}

/** Names the requester by its client id. */
const REPLY_TO_CLIENT = "REPLY_TO_CLIENT";
/** When the broker passed the reply on. */
const PUSH_REPLY_TIME = "PUSH_REPLY_TIME";
/** The requester has so long to take it, ms. */
const PUSH_TIMEOUT_MS = 10_000;

/** Mirrors Apache's `ReplyMessageProcessor`. */
export function replyMessageProcessors(ports: ReplyPorts): Map<number, RequestProcessor> {
  const reply: RequestProcessor = (request, context) => processReply(ports, request, context);
  return new Map([[RequestCode.SEND_REPLY_MESSAGE, reply], [RequestCode.SEND_REPLY_MESSAGE_V2, reply]]);
}

async function processReply(
  ports: ReplyPorts,
  request: RemotingCommand,
  context: RequestContext,
): Promise<RemotingCommand> {
  const { config } = ports;
  const traced = { MSG_REGION: config.regionId, TRACE_ON: config.traceOn };
  const header = readSendHeader(request);
  const refused = checkReply(ports, header);
  if ("code" in refused) return createResponse(request, refused.code, { remark: refused.remark, ext: traced });
  const queueId = header.queueId >= 0 ? header.queueId : ports.random.nextInt(Math.max(1, refused.writeQueueNums));
  const message = messageOf(ports, request, header, queueId, context.remoteAddress);
  const failure = await push(ports, header, message, context.remoteAddress);
  // Zeros where nothing is stored: the client reads numbers here.
  let stored: ExtValues = failure === null ? { msgId: "0", queueId, queueOffset: 0 } : {};
  if (config.storeReplyMessageEnable && message.body.length > 0) {
    const { append, status, remark } = await ports.puts.putMessage(message);
    if (append !== null) {
      ports.stats.put(message.topic, queueId, append.msgNum, append.wroteBytes, append.storeTimestamp);
      stored = { msgId: append.msgIds[0]!, queueId, queueOffset: append.logicsOffset };
    } else {
      ports.logger.warn("A reply can't be stored", { topic: message.topic, status, remark });
    }
  }
  const ext = { ...stored, ...traced };
  if (failure === null) return createResponse(request, ResponseCode.SUCCESS, { ext });
  return createResponse(request, ResponseCode.SYSTEM_ERROR, { remark: failure, ext });
}

/** The topic, or why there is none for this reply. Mirrors `AbstractSendMessageProcessor.msgCheck`. */
function checkReply(ports: ReplyPorts, header: SendHeader): TopicConfig | { code: number; remark: string } {
  const { config, topics } = ports;
  const { topic } = header;
  if (ports.now() < config.startAcceptSendRequestTimeStamp) {
    const remark = "Sends are not taken before startAcceptSendRequestTimeStamp";
    return { code: ResponseCode.SYSTEM_ERROR, remark };
  }
  if ((config.brokerPermission & PermName.WRITE) === 0 && topics.isOrderTopic(topic)) {
    const remark = `brokerPermission is ${config.brokerPermission}, wanted 2 (write) in it`;
    return { code: ResponseCode.NO_PERMISSION, remark };
  }
  checkTopicName(topic);
  if (isNotAllowedSendTopic(topic)) {
    return { code: ResponseCode.NO_PERMISSION, remark: `Sending to topic [${topic}] is forbidden.` };
  }
  const topicConfig = topics.selectTopicConfig(topic) ??
    topics.createTopicInSendMessageMethod(
      topic,
      header.defaultTopic,
      header.defaultTopicQueueNums,
      header.unitMode ? 1 : 0,
    );
  if (topicConfig === null) {
    return { code: ResponseCode.TOPIC_NOT_EXIST, remark: `topic[${topic}] not exist, apply first please!` };
  }
  const queueNums = Math.max(topicConfig.writeQueueNums, topicConfig.readQueueNums);
  if (header.queueId < queueNums) return topicConfig;
  const remark = `request queueId[${header.queueId}] is illegal, topic ${topic} has ${queueNums} queues`;
  return { code: ResponseCode.INVALID_PARAMETER, remark };
}

function messageOf(
  ports: ReplyPorts,
  request: RemotingCommand,
  header: SendHeader,
  queueId: number,
  remoteAddress: string,
): MessageToPut {
  return {
    topic: header.topic,
    queueId,
    body: request.body,
    properties: parsePropertiesText(header.properties)
      .set(MessageConst.PROPERTY_MSG_REGION, ports.config.regionId)
      .set(MessageConst.PROPERTY_TRACE_SWITCH, String(ports.config.traceOn)),
    flag: header.flag,
    // Apache stores 0, and with it a compressed body that nobody can tell for one.
    sysFlag: header.sysFlag & ~MessageSysFlag.TRANSACTION_MASK,
    bornTimestamp: header.bornTimestamp,
    bornHost: hostOfAddress(remoteAddress),
    storeHost: ports.storeHost,
    reconsumeTimes: header.reconsumeTimes,
    preparedTransactionOffset: 0,
  };
}

/** Null once the requester has it, else why not. */
async function push(
  ports: ReplyPorts,
  header: SendHeader,
  message: MessageToPut,
  remoteAddress: string,
): Promise<string | null> {
  const clientId = message.properties.get(REPLY_TO_CLIENT);
  if (clientId === undefined) return `reply message properties[${REPLY_TO_CLIENT}] is null`;
  const name = quoted(clientId);
  const channel = ports.producers.findChannel(clientId);
  if (channel === null) return `push reply message fail, channel of ${name} not found.`;
  try {
    const answer = await channel.connection.invoke(
      pushRequest(ports, header, message, remoteAddress),
      PUSH_TIMEOUT_MS,
    );
    if (answer.code === ResponseCode.SUCCESS) return null;
    ports.logger.warn("A requester refuses its reply", { clientId, code: answer.code, remark: answer.remark });
  } catch (error) {
    if (!(error instanceof IoError) && !(error instanceof RemotingError)) throw error;
    ports.logger.warn("Can't pass a reply to its requester", { clientId, error: errorMessage(error) });
  }
  return `push reply message to ${name} fail.`;
}

function pushRequest(
  ports: ReplyPorts,
  header: SendHeader,
  message: MessageToPut,
  remoteAddress: string,
): RemotingCommand {
  const now = ports.now();
  let properties = "";
  for (const [name, value] of message.properties) properties += `${name}\x01${value}\x02`;
  properties += `${PUSH_REPLY_TIME}\x01${now}\x02`;
  return createRequest(RequestCode.PUSH_REPLY_MESSAGE_TO_CLIENT, {
    bornHost: remoteAddress,
    storeHost: addressOf(ports.storeHost),
    storeTimestamp: now,
    producerGroup: header.producerGroup,
    topic: header.topic,
    defaultTopic: header.defaultTopic,
    defaultTopicQueueNums: header.defaultTopicQueueNums,
    queueId: header.queueId,
    sysFlag: header.sysFlag,
    bornTimestamp: header.bornTimestamp,
    flag: header.flag,
    properties,
    reconsumeTimes: header.reconsumeTimes,
    unitMode: header.unitMode,
  }, message.body);
}

/** `ip:port`, as Java's `getHostAddress` writes addresses: without brackets and without `::`. */
function addressOf({ address, port }: RecordHost): string {
  if (address.length === 4) return `${address.join(".")}:${port}`;
  const groups: string[] = [];
  for (let i = 0; i < 16; i += 2) groups.push(((address[i]! << 8) | address[i + 1]!).toString(16));
  return `${groups.join(":")}:${port}`;
}
