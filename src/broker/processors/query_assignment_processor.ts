// QUERY_ASSIGNMENT (400) and SET_MESSAGE_REQUEST_MODE (401): clients of 5.x that let the broker share out the queues ask
// for their share, and an administrator says how a group gets a topic. Pop consumption is not served, so nobody is
// told to use it.

import { RemotingError } from "../../base/errors.ts";
import { utf8 } from "../../base/bytes.ts";
import { printable } from "../../base/printable.ts";
import { type JavaJsonObject, javaJsonObject, WIRE_FORMAT, writeJavaJson } from "../../remoting/java_json.ts";
import { createResponse, type RemotingCommand } from "../../remoting/remoting_command.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { ConsumerManager } from "../client/consumer_manager.ts";
import { readBody } from "../client/heartbeat_data.ts";
import { allocateQueues } from "../client/load_balance.ts";
import { compareMessageQueues, compareTexts, type MessageQueue, messageQueueJson } from "../client/message_queue.ts";
import type { MessageRequestModeManager } from "../client/message_request_mode_manager.ts";
import type { SubscriptionGroupManager } from "../subscription_group_manager.ts";
import type { TopicConfigManager } from "../topic_config_manager.ts";
import { isRetryTopic } from "../topic_validator.ts";

/** What the processor needs. */
export interface QueryAssignmentPorts {
  readonly consumers: Pick<ConsumerManager, "getConsumerGroupInfo">;
  readonly groups: Pick<SubscriptionGroupManager, "findSubscriptionGroupConfig">;
  readonly topics: Pick<TopicConfigManager, "selectTopicConfig">;
  readonly modes: Pick<MessageRequestModeManager, "setMessageRequestMode" | "persist">;
  /**
   * The topic's readable queues on all brokers, as a consumer has them from the NameServer; null: no such topic.
   * Mirrors Apache's `TopicRouteInfoManager.getTopicSubscribeInfo`.
   */
  readonly topicSubscribeInfo: (
    topic: string,
  ) => readonly MessageQueue[] | null | Promise<readonly MessageQueue[] | null>;
}

/** The processors of 400 and 401. Mirrors Apache's `QueryAssignmentProcessor`. */
export function queryAssignmentProcessors(ports: QueryAssignmentPorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.QUERY_ASSIGNMENT, (request) => queryAssignment(ports, request)],
    [RequestCode.SET_MESSAGE_REQUEST_MODE, (request) => setMessageRequestMode(ports, request)],
  ]);
}

/** No `messageQueueAssignments` in the answer: the client leaves its queues as they are; an empty one: it has none. */
async function queryAssignment(ports: QueryAssignmentPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const json = readBody(request.body);
  const queues = await ports.topicSubscribeInfo(text(json, "topic"));
  const share = queues === null ? null : shareOf(ports, json, queues);
  const body = javaJsonObject();
  if (share !== null) {
    body.messageQueueAssignments = share.map((queue) =>
      javaJsonObject({ messageQueue: messageQueueJson(queue), mode: "PULL" })
    );
  }
  return createResponse(request, ResponseCode.SUCCESS, { body: utf8.encode(writeJavaJson(body, WIRE_FORMAT)) });
}

function shareOf(
  { consumers }: QueryAssignmentPorts,
  json: JavaJsonObject,
  queues: readonly MessageQueue[],
): readonly MessageQueue[] | null {
  if (json.messageModel === "BROADCASTING") return queues;
  const members = consumers.getConsumerGroupInfo(text(json, "consumerGroup"));
  if (members === null) return null;
  const sorted = [...queues].sort(compareMessageQueues);
  const clientIds = members.clientIds().sort(compareTexts);
  return allocateQueues(text(json, "strategyName"), sorted, clientIds, text(json, "clientId"));
}

async function setMessageRequestMode(ports: QueryAssignmentPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const { topics, groups, modes } = ports;
  const json = readBody(request.body);
  const topic = text(json, "topic");
  const consumerGroup = text(json, "consumerGroup");
  if (isRetryTopic(topic)) {
    throw new RemotingError(ResponseCode.NO_PERMISSION, "retry topic is not allowed to set mode");
  }
  if (topics.selectTopicConfig(topic) === null) {
    throw new RemotingError(ResponseCode.TOPIC_NOT_EXIST, `topic[${printable(topic.slice(0, 200))}] not exist`);
  }
  if (json.mode === "POP") {
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, "This broker does not serve pop consumption, wanted mode PULL");
  }
  if (groups.findSubscriptionGroupConfig(consumerGroup) === null) {
    throw new RemotingError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, "subscription group does not exist");
  }
  if (!modes.setMessageRequestMode({ topic, consumerGroup, mode: "PULL", popShareQueueNum: 0 })) {
    throw new RemotingError(ResponseCode.SYSTEM_BUSY, "Too many request modes are set");
  }
  await modes.persist();
  return createResponse(request, ResponseCode.SUCCESS);
}

function text(json: JavaJsonObject, key: string): string {
  const value = json[key];
  if (typeof value === "string" && value !== "") return value;
  throw new RemotingError(ResponseCode.SYSTEM_ERROR, `Body lacks "${key}"`);
}
