// What consumers of a group ask for and tell: who else is in it (38), offsets (14, 15), queue locks (41, 42), and their
// share of the queues (400, 401). Mirrors Apache's `ConsumerManageProcessor` and the locks of `AdminBrokerProcessor`.

import { utf8 } from "../../base/bytes.ts";
import { RemotingError } from "../../base/errors.ts";
import { printable, quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import { javaJsonObject, WIRE_FORMAT, writeJavaJson } from "../../remoting/java_json.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { readBody } from "../client/heartbeat_data.ts";
import { type MessageQueue, messageQueueJson, readMessageQueue } from "../client/message_queue.ts";
import type { RebalanceLockManager } from "../client/rebalance_lock_manager.ts";
import type { ConsumerOffsetManager } from "../consumer_offset_manager.ts";
import type { SubscriptionGroupManager } from "../subscription_group_manager.ts";
import { type QueryAssignmentPorts, queryAssignmentProcessors } from "./query_assignment_processor.ts";

/** What of the store decides where a group without offset begins. */
export interface ConsumeQueuePort {
  getMinOffsetInQueue(topic: string, queueId: number): number;
  /** Entries of the queue from `fromIndex`; none when it is not there. */
  readConsumeQueue(
    topic: string,
    queueId: number,
    fromIndex: number,
    maxCount: number,
  ): readonly { readonly pos: number }[];
  /** Whether the record at this offset of the log is recent enough to be in memory. */
  isInMemory(pos: number): boolean;
}

/** What the processor needs. */
export interface ConsumerManagePorts extends QueryAssignmentPorts {
  readonly config: Pick<Config, "useServerSideResetOffset">;
  readonly offsets: Pick<ConsumerOffsetManager, "queryOffset" | "commitOffset" | "hasOffsetReset">;
  readonly groups: Pick<SubscriptionGroupManager, "selectSubscriptionGroupConfig" | "findSubscriptionGroupConfig">;
  readonly store: ConsumeQueuePort;
  readonly locks: Pick<RebalanceLockManager, "tryLockBatch" | "unlockBatch">;
}

/** Queues a topic may have; nobody commits beyond. */
const QUEUE_NUMS_MAX = 65_536;
/** Queues of one request for locks. */
const LOCKS_MAX = 65_536;

/** The processors by code. */
export function consumerManageProcessors(ports: ConsumerManagePorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.GET_CONSUMER_LIST_BY_GROUP, (request) => getConsumerListByGroup(ports, request)],
    [RequestCode.QUERY_CONSUMER_OFFSET, (request) => queryConsumerOffset(ports, request)],
    [RequestCode.UPDATE_CONSUMER_OFFSET, (request, context) => updateConsumerOffset(ports, request, context)],
    [RequestCode.LOCK_BATCH_MQ, (request) => lockBatchMQ(ports, request)],
    [RequestCode.UNLOCK_BATCH_MQ, (request) => unlockBatchMQ(ports, request)],
    ...queryAssignmentProcessors(ports),
  ]);
}

function getConsumerListByGroup({ consumers }: ConsumerManagePorts, request: RemotingCommand): RemotingCommand {
  const group = requiredExt(request, "consumerGroup");
  const consumerIdList = consumers.getConsumerGroupInfo(group)?.clientIds() ?? [];
  if (consumerIdList.length === 0) {
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, `no consumer for this group, ${shown(group)}`);
  }
  return createResponse(request, ResponseCode.SUCCESS, { body: utf8.encode(JSON.stringify({ consumerIdList })) });
}

/**
 * A group without offset begins at 0 while the queue's first message is there and in memory: what is in a young queue
 * is new to everybody. Else the client decides.
 */
function queryConsumerOffset({ offsets, store }: ConsumerManagePorts, request: RemotingCommand): RemotingCommand {
  const group = requiredExt(request, "consumerGroup");
  const topic = requiredExt(request, "topic");
  const queueId = queueIdOf(request);
  const offset = offsets.queryOffset(group, topic, queueId);
  if (offset >= 0) return createResponse(request, ResponseCode.SUCCESS, { ext: { offset } });
  if (request.extFields.get("setZeroIfNotFound") === "false") {
    throw notFound("Not found, do not set to zero, maybe this group boot first");
  }
  if (!isFirstInMemory(store, topic, queueId)) {
    throw notFound("Not found, V3_0_6_SNAPSHOT maybe this group consumer boot first");
  }
  return createResponse(request, ResponseCode.SUCCESS, { ext: { offset: 0 } });
}

/** Mirrors Apache's `checkInMemByConsumeOffset` of offset 0. */
function isFirstInMemory(store: ConsumeQueuePort, topic: string, queueId: number): boolean {
  if (store.getMinOffsetInQueue(topic, queueId) > 0) return false;
  const first = store.readConsumeQueue(topic, queueId, 0, 1)[0];
  return first !== undefined && store.isInMemory(first.pos);
}

function updateConsumerOffset(
  { config, groups, topics, offsets }: ConsumerManagePorts,
  request: RemotingCommand,
  { remoteAddress }: RequestContext,
): RemotingCommand {
  const group = requiredExt(request, "consumerGroup");
  const topic = requiredExt(request, "topic");
  if (groups.selectSubscriptionGroupConfig(group) === null) {
    throw new RemotingError(ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, `Group ${shown(group)} not exist!`);
  }
  if (topics.selectTopicConfig(topic) === null) {
    throw new RemotingError(ResponseCode.TOPIC_NOT_EXIST, `Topic ${shown(topic)} not exist!`);
  }
  const queueId = queueIdOf(request);
  const offset = commitOffsetOf(request);
  if (config.useServerSideResetOffset && offsets.hasOffsetReset(group, topic, queueId)) {
    return createResponse(request, ResponseCode.SUCCESS, { remark: "Offset has been previously reset" });
  }
  if (!offsets.commitOffset(group, topic, queueId, offset, remoteAddress)) {
    throw new RemotingError(ResponseCode.SYSTEM_BUSY, "Too many consumer offsets are kept");
  }
  return createResponse(request, ResponseCode.SUCCESS);
}

function lockBatchMQ({ locks }: ConsumerManagePorts, request: RemotingCommand): RemotingCommand {
  const { group, clientId, queues } = readLockBatch(request);
  const lockOKMQSet = locks.tryLockBatch(group, queues, clientId).map(messageQueueJson);
  const body = utf8.encode(writeJavaJson(javaJsonObject({ lockOKMQSet }), WIRE_FORMAT));
  return createResponse(request, ResponseCode.SUCCESS, { body });
}

function unlockBatchMQ({ locks }: ConsumerManagePorts, request: RemotingCommand): RemotingCommand {
  const { group, clientId, queues } = readLockBatch(request);
  locks.unlockBatch(group, queues, clientId);
  return createResponse(request, ResponseCode.SUCCESS);
}

function readLockBatch(request: RemotingCommand): { group: string; clientId: string; queues: MessageQueue[] } {
  const json = readBody(request.body);
  const { consumerGroup, clientId, mqSet } = json;
  if (typeof consumerGroup !== "string" || typeof clientId !== "string" || consumerGroup === "" || clientId === "") {
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, 'Body lacks "consumerGroup" or "clientId"');
  }
  const queues = (Array.isArray(mqSet) ? mqSet : []).map(readMessageQueue).filter((queue) => queue !== null);
  if (queues.length > LOCKS_MAX) {
    throw new RemotingError(ResponseCode.SYSTEM_ERROR, `Body has ${queues.length} queues, wanted at most ${LOCKS_MAX}`);
  }
  return { group: consumerGroup, clientId, queues };
}

function queueIdOf(request: RemotingCommand): number {
  const text = request.extFields.get("queueId");
  const queueId = text !== undefined && /^\d{1,10}$/.test(text) ? Number(text) : -1;
  if (queueId >= 0 && queueId < QUEUE_NUMS_MAX) return queueId;
  throw new RemotingError(
    ResponseCode.INVALID_PARAMETER,
    `queueId is ${text === undefined ? "missing" : quoted(text, 40)}, wanted 0 to ${QUEUE_NUMS_MAX - 1}`,
  );
}

/** Beyond 2^53 it is no message's; the nearest number is as far beyond every queue. */
function commitOffsetOf(request: RemotingCommand): number {
  const text = request.extFields.get("commitOffset");
  if (text !== undefined && /^-?\d{1,19}$/.test(text)) {
    return Math.max(-1, Math.min(Number.MAX_SAFE_INTEGER, Number(text)));
  }
  throw new RemotingError(
    ResponseCode.INVALID_PARAMETER,
    `commitOffset is ${text === undefined ? "missing" : quoted(text, 40)}, wanted a whole number`,
  );
}

function notFound(remark: string): RemotingError {
  return new RemotingError(ResponseCode.QUERY_NOT_FOUND, remark);
}

/** A name in Apache's own words, which have no quotes. */
function shown(name: string): string {
  return printable(name.slice(0, 300));
}
