// Where groups are in their queues, moved or copied by administrators: 222, 223, 308, 314. Offsets themselves belong to
// ConsumerOffsetManager, words to consumers to Broker2Client.

import type { Logger } from "../../../base/logger.ts";
import type { Config } from "../../../config/schema.ts";
import type { JavaJsonMap } from "../../../remoting/java_json.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import type { TopicConfig } from "../../topic_config_manager.ts";
import {
  answerDone,
  answerJson,
  booleanExt,
  integerExt,
  optionalIntegerExt,
  refusal,
  textExt,
} from "./admin_request.ts";

/** What the processor needs. */
export interface OffsetAdminPorts {
  readonly config: Pick<Config, "useServerSideResetOffset">;
  readonly logger: Logger;
  readonly topics: { selectTopicConfig(topic: string): TopicConfig | null };
  readonly groups: { selectSubscriptionGroupConfig(group: string): object | null };
  readonly offsets: {
    queryOffset(group: string, topic: string, queueId: number): number;
    offsetsOf(group: string, topic: string): ReadonlyMap<number, number>;
    whichTopicByConsumer(group: string): string[];
    assignResetOffset(group: string, topic: string, queueId: number, offset: number): void;
    cloneOffset(srcGroup: string, destGroup: string, topic: string): void;
    queryMinOffsetInAllGroup(
      topic: string,
      filterGroups: readonly string[],
      minOffsetInQueue: (topic: string, queueId: number) => number,
    ): Map<number, number>;
  };
  readonly consumers: {
    getConsumerGroupInfo(group: string): { subscriptions(): ReadonlyMap<string, unknown> } | null;
  };
  readonly store: {
    getMinOffsetInQueue(topic: string, queueId: number): number;
    getMaxOffsetInQueue(topic: string, queueId: number): number;
    getOffsetByTime(topic: string, queueId: number, timestamp: number): number;
  };
  readonly broker2Client: {
    resetOffset(
      topic: string,
      group: string,
      timestamp: number,
      isForce: boolean,
      offsets: ReadonlyMap<number, number>,
      isC?: boolean,
    ): void;
    offsetTable(topic: string, offsets: ReadonlyMap<number, number>): Uint8Array;
    getConsumeStatus(topic: string, group: string, clientId: string | null): Promise<Uint8Array>;
  };
  readonly isSlave: () => boolean;
}

/** Largest Java `long`, which means "no offset" in 308. */
const LONG_MAX = 9223372036854775807n;

/** Mirrors the offsets' part of Apache's `AdminBrokerProcessor`. */
export function offsetAdminProcessors(ports: OffsetAdminPorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.INVOKE_BROKER_TO_RESET_OFFSET, (request, context) => resetOffset(ports, request, context)],
    [RequestCode.INVOKE_BROKER_TO_GET_CONSUMER_STATUS, (request) => getConsumerStatus(ports, request)],
    [RequestCode.QUERY_CORRECTION_OFFSET, (request) => queryCorrectionOffset(ports, request)],
    [RequestCode.CLONE_GROUP_OFFSET, (request, context) => cloneGroupOffset(ports, request, context)],
  ]);
}

interface Reset {
  readonly topic: string;
  readonly group: string;
  /** Unix ms; negative: the queues' ends. */
  readonly timestamp: number;
  /** Negative: all queues. */
  readonly queueId: number;
  readonly offset: number | null;
  readonly isForce: boolean;
}

function resetOffset(
  ports: OffsetAdminPorts,
  request: RemotingCommand,
  { remoteAddress }: RequestContext,
): RemotingCommand {
  const { config, logger, broker2Client } = ports;
  const reset: Reset = {
    topic: requiredExt(request, "topic"),
    group: requiredExt(request, "group"),
    timestamp: integerExt(request, "timestamp"),
    queueId: optionalIntegerExt(request, "queueId") ?? -1,
    offset: optionalIntegerExt(request, "offset"),
    isForce: booleanExt(request, "isForce", false),
  };
  const { topic, group, timestamp, isForce } = reset;
  logger.info("Consumer offsets are reset", { topic, group, timestamp, isForce, by: remoteAddress });
  let offsets: ReadonlyMap<number, number>;
  if (config.useServerSideResetOffset) {
    offsets = resetHere(ports, reset);
  } else {
    offsets = resetOfConsumers(ports, reset);
    broker2Client.resetOffset(topic, group, timestamp, isForce, offsets, request.language === "CPP");
  }
  return createResponse(request, ResponseCode.SUCCESS, { body: broker2Client.offsetTable(topic, offsets) });
}

/** The consumers hear of it with their next pull. Mirrors `resetOffsetInner`. */
function resetHere(ports: OffsetAdminPorts, reset: Reset): ReadonlyMap<number, number> {
  const { topics, groups, offsets } = ports;
  const { topic, group, queueId, timestamp } = reset;
  if (ports.isSlave()) throw refusal(ResponseCode.SYSTEM_ERROR, "Can not reset offset in slave broker");
  const config = topics.selectTopicConfig(topic);
  if (config === null) throw refusal(ResponseCode.TOPIC_NOT_EXIST, `Topic ${topic} does not exist`);
  if (groups.selectSubscriptionGroupConfig(group) === null) {
    throw refusal(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, `Group ${group} does not exist`);
  }
  const target = new Map<number, number>();
  if (queueId >= 0) {
    target.set(queueId, offsetOfQueue(ports, reset, config));
  } else {
    for (let id = 0; id < config.readQueueNums; id++) target.set(id, offsetAt(ports, topic, id, timestamp));
  }
  if (target.size === 0) throw refusal(ResponseCode.SYSTEM_ERROR, "No queues to reset.");
  for (const [id, offset] of target) offsets.assignResetOffset(group, topic, id, offset);
  return target;
}

/** A queue that the topic does not have is refused; Apache notes an offset in it. */
function offsetOfQueue(ports: OffsetAdminPorts, reset: Reset, { readQueueNums, writeQueueNums }: TopicConfig): number {
  const { topic, queueId, timestamp, offset } = reset;
  const queueNums = Math.max(readQueueNums, writeQueueNums);
  if (queueId >= queueNums) {
    throw refusal(ResponseCode.INVALID_PARAMETER, `queueId is ${queueId}, topic ${topic} has ${queueNums} queues`);
  }
  if (offset === null || offset === -1) return offsetAt(ports, topic, queueId, timestamp);
  const min = ports.store.getMinOffsetInQueue(topic, queueId);
  const max = ports.store.getMaxOffsetInQueue(topic, queueId);
  if (offset >= min && offset <= max + 1) return offset;
  throw refusal(
    ResponseCode.SYSTEM_ERROR,
    `Target offset ${offset} not in consume queue range [${min}-${max}]`,
  );
}

function offsetAt({ store }: OffsetAdminPorts, topic: string, queueId: number, timestamp: number): number {
  return timestamp < 0 ? store.getMaxOffsetInQueue(topic, queueId) : store.getOffsetByTime(topic, queueId, timestamp);
}

/** What the consumers are told to go on at. Mirrors `Broker2Client.resetOffset`. */
function resetOfConsumers(ports: OffsetAdminPorts, reset: Reset): ReadonlyMap<number, number> {
  const { topics, offsets } = ports;
  const { topic, group, timestamp, isForce } = reset;
  const config = topics.selectTopicConfig(topic);
  if (config === null) {
    throw refusal(
      ResponseCode.TOPIC_NOT_EXIST,
      `[reset-offset] reset offset failed, no topic in this broker. topic=${topic}`,
    );
  }
  const target = new Map<number, number>();
  for (let queueId = 0; queueId < config.writeQueueNums; queueId++) {
    const consumerOffset = offsets.queryOffset(group, topic, queueId);
    if (consumerOffset === -1) {
      throw refusal(ResponseCode.SYSTEM_ERROR, `THe consumer group <${group}> not exist`);
    }
    const offset = Math.max(0, offsetAt(ports, topic, queueId, timestamp));
    target.set(queueId, isForce ? offset : Math.min(offset, consumerOffset));
  }
  return target;
}

async function getConsumerStatus(ports: OffsetAdminPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const topic = requiredExt(request, "topic");
  const group = requiredExt(request, "group");
  const body = await ports.broker2Client.getConsumeStatus(topic, group, textExt(request, "clientAddr"));
  return createResponse(request, ResponseCode.SUCCESS, { body });
}

/** The least offset of the topic's groups by queue, the largest number where `compareGroup` is behind them all. */
function queryCorrectionOffset({ offsets, store }: OffsetAdminPorts, request: RemotingCommand): RemotingCommand {
  const topic = requiredExt(request, "topic");
  const filterGroups = request.extFields.get("filterGroups")?.split(",").filter((group) => group !== "") ?? [];
  const least = offsets.queryMinOffsetInAllGroup(
    topic,
    filterGroups,
    (name, queueId) => store.getMinOffsetInQueue(name, queueId),
  );
  const correctionOffsets: JavaJsonMap = new Map(least);
  for (const [queueId, offset] of offsets.offsetsOf(requiredExt(request, "compareGroup"), topic)) {
    const ofAll = least.get(queueId);
    if (ofAll !== undefined && ofAll > offset) correctionOffsets.set(queueId, LONG_MAX);
  }
  return answerJson(request, { correctionOffsets });
}

function cloneGroupOffset(
  ports: OffsetAdminPorts,
  request: RemotingCommand,
  { remoteAddress }: RequestContext,
): RemotingCommand {
  const { topics, offsets, consumers, logger } = ports;
  const srcGroup = requiredExt(request, "srcGroup");
  const destGroup = requiredExt(request, "destGroup");
  const topic = textExt(request, "topic");
  if (ports.isSlave()) throw refusal(ResponseCode.SYSTEM_ERROR, "Can not clone offsets in slave broker");
  const subscriptions = consumers.getConsumerGroupInfo(srcGroup)?.subscriptions();
  const isOffline = booleanExt(request, "offline", false);
  for (const name of topic === null ? offsets.whichTopicByConsumer(srcGroup) : [topic]) {
    if (topics.selectTopicConfig(name) === null) continue;
    if (!isOffline && subscriptions !== undefined && subscriptions.size > 0 && !subscriptions.has(name)) continue;
    offsets.cloneOffset(srcGroup, destGroup, name);
    logger.info("Consumer offsets were copied", { srcGroup, destGroup, topic: name, by: remoteAddress });
  }
  return answerDone(request);
}
