// Live clients as administrators see them, and requests that are passed on to one: 203, 204, 328, 343, 345, 307, 309. Who
// is live belongs to the ConsumerManager and the ProducerManager.

import type { Config } from "../../../config/schema.ts";
import { type JavaJson, javaJsonObject } from "../../../remoting/java_json.ts";
import {
  createResponse,
  type ExtValues,
  type RemotingCommand,
  requiredExt,
} from "../../../remoting/remoting_command.ts";
import type { RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import { decodeMessageId } from "../../../store/message_codec.ts";
import type { ClientChannelInfo } from "../../client/client_channel_info.ts";
import type { ConsumerGroupInfo } from "../../client/consumer_group_info.ts";
import type { SubscriptionData } from "../../filter/subscription_data.ts";
import { answerJson, connectionJson, refusal, subscriptionDataJson, textExt } from "./admin_request.ts";

/** What the processor needs. */
export interface ConsumerAdminPorts {
  readonly config: Pick<Config, "brokerName">;
  readonly consumers: {
    getConsumerGroupInfo(group: string): ConsumerGroupInfo | null;
    findSubscriptionData(group: string, topic: string): SubscriptionData | null;
  };
  readonly producers: {
    channels(group: string): readonly ClientChannelInfo[];
    groups(): ReadonlyMap<string, readonly ClientChannelInfo[]>;
  };
  readonly offsets: { whichTopicByConsumer(group: string): string[] };
  readonly topics: { selectTopicConfig(topic: string): { readonly topicSysFlag: number } | null };
  readonly groups: { selectSubscriptionGroupConfig(group: string): { readonly groupSysFlag: number } | null };
  readonly store: {
    /** The record at that offset of the log, as it stands there; null when none begins there. */
    lookRecordByOffset(offset: number): Promise<Uint8Array | null>;
  };
  readonly broker2Client: {
    callClient(
      group: string,
      clientId: string,
      request: { readonly code: number; readonly ext: ExtValues; readonly body?: Uint8Array },
    ): Promise<RemotingCommand>;
  };
  /** `host:port` that clients are told. */
  readonly brokerAddr: () => string;
}

/** Mirrors the clients' part of Apache's `AdminBrokerProcessor`. */
export function consumerAdminProcessors(ports: ConsumerAdminPorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.GET_CONSUMER_CONNECTION_LIST, (request) => getConsumerConnectionList(ports, request)],
    [RequestCode.GET_PRODUCER_CONNECTION_LIST, (request) => getProducerConnectionList(ports, request)],
    [RequestCode.GET_ALL_PRODUCER_INFO, (request) => getAllProducerInfo(ports, request)],
    [RequestCode.QUERY_TOPICS_BY_CONSUMER, (request) => queryTopicsByConsumer(ports, request)],
    [RequestCode.QUERY_SUBSCRIPTION_BY_CONSUMER, (request) => querySubscriptionByConsumer(ports, request)],
    [RequestCode.GET_CONSUMER_RUNNING_INFO, (request) => getConsumerRunningInfo(ports, request)],
    [RequestCode.CONSUME_MESSAGE_DIRECTLY, (request) => consumeMessageDirectly(ports, request)],
  ]);
}

function getConsumerConnectionList({ consumers }: ConsumerAdminPorts, request: RemotingCommand): RemotingCommand {
  const group = requiredExt(request, "consumerGroup");
  const info = consumers.getConsumerGroupInfo(group);
  if (info === null) {
    throw refusal(ResponseCode.CONSUMER_NOT_ONLINE, `the consumer group[${group}] not online`);
  }
  const subscriptionTable = javaJsonObject();
  for (const [topic, data] of info.subscriptions()) subscriptionTable[topic] = subscriptionDataJson(data);
  return answerJson(request, {
    connectionSet: info.channels().map(connectionJson),
    consumeFromWhere: info.consumeFromWhere,
    consumeType: info.consumeType,
    messageModel: info.messageModel,
    subscriptionTable,
  });
}

function getProducerConnectionList({ producers }: ConsumerAdminPorts, request: RemotingCommand): RemotingCommand {
  const group = requiredExt(request, "producerGroup");
  const channels = producers.channels(group);
  if (channels.length === 0) {
    throw refusal(ResponseCode.SYSTEM_ERROR, `the producer group[${group}] not exist`);
  }
  return answerJson(request, { connectionSet: channels.map(connectionJson) });
}

function getAllProducerInfo({ producers }: ConsumerAdminPorts, request: RemotingCommand): RemotingCommand {
  const data = javaJsonObject();
  for (const [group, channels] of producers.groups()) {
    data[group] = channels.map(({ clientId, connection, language, version, lastUpdateTimestamp }): JavaJson =>
      javaJsonObject({
        clientId,
        language,
        lastUpdateTimestamp,
        // As Java prints a socket's address.
        remoteIP: `/${connection.remoteAddress}`,
        version,
      })
    );
  }
  return answerJson(request, { data });
}

function queryTopicsByConsumer({ offsets, brokerAddr }: ConsumerAdminPorts, request: RemotingCommand): RemotingCommand {
  const topicList = offsets.whichTopicByConsumer(requiredExt(request, "group"));
  return answerJson(request, { brokerAddr: brokerAddr(), topicList });
}

function querySubscriptionByConsumer({ consumers }: ConsumerAdminPorts, request: RemotingCommand): RemotingCommand {
  const group = requiredExt(request, "group");
  const topic = textExt(request, "topic") ?? undefined;
  const data = topic === undefined ? null : consumers.findSubscriptionData(group, topic);
  return answerJson(request, {
    group,
    subscriptionData: data === null ? undefined : subscriptionDataJson(data),
    topic,
  });
}

async function getConsumerRunningInfo(ports: ConsumerAdminPorts, request: RemotingCommand): Promise<RemotingCommand> {
  return await forward(ports, request, Object.fromEntries(request.extFields));
}

/** The client gets the message itself with the request, and what it needs to take it for one of a pull. */
async function consumeMessageDirectly(ports: ConsumerAdminPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const { config, topics, groups, store } = ports;
  const topic = textExt(request, "topic");
  const topicSysFlag = topic === null ? undefined : topics.selectTopicConfig(topic)?.topicSysFlag;
  const groupSysFlag = groups.selectSubscriptionGroupConfig(requiredExt(request, "consumerGroup"))?.groupSysFlag;
  const msgId = requiredExt(request, "msgId");
  const id = decodeMessageId(msgId);
  const record = id === null ? null : await store.lookRecordByOffset(id.physicalOffset);
  if (record === null) throw refusal(ResponseCode.SYSTEM_ERROR, `No message has the offset message id "${msgId}" here`);
  const own = Object.fromEntries(request.extFields);
  return await forward(ports, request, { ...own, brokerName: config.brokerName, topicSysFlag, groupSysFlag }, record);
}

async function forward(
  { broker2Client }: ConsumerAdminPorts,
  request: RemotingCommand,
  ext: ExtValues,
  body?: Uint8Array,
): Promise<RemotingCommand> {
  const group = requiredExt(request, "consumerGroup");
  const forwarded = { code: request.code, ext, ...(body === undefined ? {} : { body }) };
  const answer = await broker2Client.callClient(group, requiredExt(request, "clientId"), forwarded);
  return createResponse(request, answer.code, {
    ...(answer.remark === null ? {} : { remark: answer.remark }),
    ext: Object.fromEntries(answer.extFields),
    body: answer.body,
  });
}
