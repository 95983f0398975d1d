// CONSUMER_SEND_MSG_BACK (36): a consumer failed with a message, which is to come again later, or to join the dead
// letters of its group. Waiting until then is the delay levels' matter.

import { quoted } from "../../base/printable.ts";
import { RemotingError } from "../../base/errors.ts";
import type { Config } from "../../config/schema.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Random } from "../../runtime/runtime.ts";
import { MessageConst } from "../../store/message_properties.ts";
import { type MessageToPut, PutMessageStatus, type RecordHost, type StoredMessage } from "../../store/types.ts";
import type { PutMessageResult, PutOptions } from "../put_message_service.ts";
import type { SubscriptionGroupConfig } from "../subscription_group_manager.ts";
import { PermName } from "../topic_config_manager.ts";
import { dlqTopicOf, retryTopicOf } from "../topic_validator.ts";
import { DLQ_NUMS_PER_GROUP, maxReconsumeTimesOf, type RetryTopics } from "./retry_and_dlq.ts";

/** What the processor needs. */
export interface SendBackPorts {
  readonly config: Pick<Config, "brokerPermission">;
  readonly groups: {
    findSubscriptionGroupConfig(
      group: string,
    ): Pick<SubscriptionGroupConfig, "retryQueueNums" | "retryMaxTimes"> | null;
  };
  readonly topics: RetryTopics;
  readonly store: { lookMessageByOffset(offset: number): Promise<StoredMessage | null> };
  readonly puts: {
    putMessage(message: MessageToPut, options?: PutOptions): PutMessageResult | Promise<PutMessageResult>;
  };
  /** `brokerIP1:listenPort` as records have it. */
  readonly storeHost: RecordHost;
  readonly random: Random;
  readonly isSlave: () => boolean;
  /** Told of each message that is stored again; `topic` is where it came from first. */
  readonly stats?: { sentBack(group: string, topic: string, isDLQ: boolean): void };
}

/** Bit of a topic's `topicSysFlag`: it has subscribers in units. */
const UNIT_SUBSCRIPTION = 2;
/** First retry of a message that names no level: 10 s by default. */
const FIRST_RETRY_LEVEL = 3;
interface SendBackHeader {
  readonly group: string;
  readonly offset: number;
  readonly delayLevel: number;
  readonly unitMode: boolean;
  readonly maxReconsumeTimes: number | null;
}

/** Mirrors Apache's `AbstractSendMessageProcessor.consumerSendMsgBack`. */
export function sendBackProcessors(ports: SendBackPorts): Map<number, RequestProcessor> {
  return new Map([[RequestCode.CONSUMER_SEND_MSG_BACK, (request: RemotingCommand) => sendBack(ports, request)]]);
}

async function sendBack(ports: SendBackPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const { config, groups, topics, store, puts, random } = ports;
  const header = readHeader(request);
  if (ports.isSlave()) throw new RemotingError(ResponseCode.SYSTEM_ERROR, "This broker is a slave, ask its master");
  const { group, offset } = header;
  const groupConfig = groups.findSubscriptionGroupConfig(group);
  if (groupConfig === null) {
    const text = `Subscription group ${quoted(group, 200)} does not exist`;
    throw new RemotingError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, text);
  }
  if ((config.brokerPermission & PermName.WRITE) === 0) {
    const text = `brokerPermission is ${config.brokerPermission}, wanted ${PermName.WRITE} (write) in it`;
    throw new RemotingError(ResponseCode.NO_PERMISSION, text);
  }
  const { retryQueueNums } = groupConfig;
  if (retryQueueNums <= 0) return createResponse(request, ResponseCode.SUCCESS);
  const retryTopic = retryTopicOf(group);
  const sysFlag = header.unitMode ? UNIT_SUBSCRIPTION : 0;
  const readWrite = PermName.READ | PermName.WRITE;
  const topicConfig = topics.createTopicInSendMessageBackMethod(retryTopic, retryQueueNums, readWrite, sysFlag);
  if ((topicConfig.perm & PermName.WRITE) === 0) {
    throw new RemotingError(ResponseCode.NO_PERMISSION, `Topic ${retryTopic} may not be written to`);
  }
  const message = await store.lookMessageByOffset(offset);
  if (message === null) throw new RemotingError(ResponseCode.SYSTEM_ERROR, `No message begins at offset ${offset}`);
  const max = maxReconsumeTimesOf(groupConfig, header.maxReconsumeTimes, request.version);
  const isDLQ = message.reconsumeTimes >= max || header.delayLevel < 0;
  if (isDLQ) topics.createTopicInSendMessageBackMethod(dlqTopicOf(group), DLQ_NUMS_PER_GROUP, readWrite, 0);
  const put = puts.putMessage(
    messageSentBack(
      message,
      isDLQ
        ? { topic: dlqTopicOf(group), queueId: 0, delayLevel: 0 }
        : { topic: retryTopic, queueId: random.nextInt(retryQueueNums), delayLevel: header.delayLevel },
      { isDLQ, storeHost: ports.storeHost },
    ),
  );
  const { status } = put instanceof Promise ? await put : put;
  if (status !== PutMessageStatus.PUT_OK) throw new RemotingError(ResponseCode.SYSTEM_ERROR, status);
  ports.stats?.sentBack(group, message.properties.get(MessageConst.PROPERTY_RETRY_TOPIC) ?? message.topic, isDLQ);
  return createResponse(request, ResponseCode.SUCCESS);
}

/** The message as it is stored again. */
function messageSentBack(
  message: StoredMessage,
  to: { readonly topic: string; readonly queueId: number; readonly delayLevel: number },
  { isDLQ, storeHost }: { readonly isDLQ: boolean; readonly storeHost: RecordHost },
): MessageToPut {
  const { body, flag, sysFlag, bornTimestamp, bornHost, reconsumeTimes, msgId, topic } = message;
  const properties = new Map(message.properties);
  const setAbsent = (name: string, value: string) => void (properties.has(name) || properties.set(name, value));
  setAbsent(MessageConst.PROPERTY_RETRY_TOPIC, topic);
  properties.set(MessageConst.PROPERTY_WAIT_STORE_MSG_OK, "false");
  const level = isDLQ || to.delayLevel !== 0 ? to.delayLevel : FIRST_RETRY_LEVEL + reconsumeTimes;
  properties.set(MessageConst.PROPERTY_DELAY_TIME_LEVEL, String(level));
  setAbsent(MessageConst.PROPERTY_ORIGIN_MESSAGE_ID, msgId);
  return {
    topic: to.topic,
    queueId: to.queueId,
    body,
    properties,
    flag,
    sysFlag,
    bornTimestamp,
    bornHost,
    storeHost,
    reconsumeTimes: reconsumeTimes + 1,
    preparedTransactionOffset: 0,
  };
}

/** Mirrors `ConsumerSendMsgBackRequestHeader`. */
function readHeader(request: RemotingCommand): SendBackHeader {
  const { extFields } = request;
  const integer = (name: string) => {
    const text = requiredExt(request, name);
    const value = Number(text);
    if (Number.isSafeInteger(value) && text.trim() !== "") return value;
    throw new RemotingError(
      ResponseCode.SYSTEM_ERROR,
      `Ext field "${name}" is ${quoted(text, 40)}, wanted a whole number`,
    );
  };
  return {
    group: requiredExt(request, "group"),
    offset: integer("offset"),
    delayLevel: integer("delayLevel"),
    unitMode: extFields.get("unitMode") === "true",
    maxReconsumeTimes: extFields.has("maxReconsumeTimes") ? integer("maxReconsumeTimes") : null,
  };
}
