// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): may this group read this queue, by which subscription, and what is the
// answer; an empty queue's pull is held. What of the queue goes into an answer is the store's decision.

import { errorMessage, RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import { createResponse, type ExtValues, type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Clock } from "../../runtime/runtime.ts";
import type { MessageFilter } from "../../store/message_filter.ts";
import { GetMessageStatus } from "../../store/message_reader.ts";
import type { PullResult } from "../../store/pull_reader.ts";
import type { BroadcastOffsetManager } from "../client/broadcast_offset_manager.ts";
import type { ConsumerManager } from "../client/consumer_manager.ts";
import type { ConsumerOffsetManager } from "../consumer_offset_manager.ts";
import type { ConsumerFilterData, ConsumerFilterManager } from "../filter/consumer_filter_manager.ts";
import { expressionMessageFilter, MATCH_ALL } from "../filter/expression_message_filter.ts";
import { buildSubscriptionData, isTagType, type SubscriptionData } from "../filter/subscription_data.ts";
import type { PullRequestHoldService } from "../pull_request_hold_service.ts";
import type { PullStats } from "../stats/broker_stats_manager.ts";
import {
  isSystemGroup,
  type SubscriptionGroupConfig,
  type SubscriptionGroupManager,
} from "../subscription_group_manager.ts";
import { PermName, type TopicConfig } from "../topic_config_manager.ts";

/** What the processor needs. */
export interface PullPorts {
  readonly clock: Clock;
  readonly config: Pick<
    Config,
    | "brokerPermission"
    | "litePullMessageEnable"
    | "enablePropertyFilter"
    | "filterSupportRetry"
    | "longPollingEnable"
    | "shortPollingTimeMills"
    | "slaveReadEnable"
    | "offsetCheckInSlave"
    | "enableBroadcastOffsetStore"
    | "useServerSideResetOffset"
    | "rejectPullConsumerEnable"
  >;
  readonly topics: { selectTopicConfig(topic: string): TopicConfig | null };
  readonly groups: Pick<SubscriptionGroupManager, "findSubscriptionGroupConfig" | "getForbidden">;
  readonly consumers: Pick<
    ConsumerManager,
    "getConsumerGroupInfo" | "findChannelByConnection" | "compensateSubscribeData"
  >;
  readonly filters: Pick<ConsumerFilterManager, "get" | "build">;
  readonly offsets: Pick<
    ConsumerOffsetManager,
    "commitOffset" | "queryThenEraseResetOffset" | "commitPullOffset"
  >;
  readonly broadcastOffsets: Pick<BroadcastOffsetManager, "updateOffset" | "queryInitOffset">;
  readonly store: {
    pullMessages(
      topic: string,
      queueId: number,
      offset: number,
      maxMsgNums: number,
      filter: MessageFilter | null,
    ): PullResult | Promise<PullResult>;
    getMinOffsetInQueue(topic: string, queueId: number): number;
    getMaxOffsetInQueue(topic: string, queueId: number): number;
    /** Why nothing can be read, null when it can. */
    readonly notReadableReason: string | null;
  };
  readonly holds: Pick<PullRequestHoldService, "hold">;
  readonly stats: PullStats;
  readonly isSlave: () => boolean;
  /** Whether the master of this slave is there: it serves the pulls then. */
  readonly isMasterAlive: () => boolean;
}

/** Bits of a pull's `sysFlag`. Mirrors Apache's `PullSysFlag`. */
const PullSysFlag = { COMMIT_OFFSET: 1, SUSPEND: 2, SUBSCRIPTION: 4, CLASS_FILTER: 8, LITE_PULL_MESSAGE: 16 } as const;
/** Whom a `NO_PERMISSION` is about. Mirrors Apache's `ForbiddenType`. */
const ForbiddenType = { BROKER: 1, GROUP: 2, TOPIC: 3, BROADCASTING_DISABLE: 4, SUBSCRIPTION: 5 } as const;
/** Bit of a group's forbidden topics that denies pulls. Mirrors `MixAll.FORBIDDEN_BIT...` of code 353. */
const FORBIDDEN_READ_BIT = 2;
const NO_RECORDS = new Uint8Array(0);
/** A held pull waits no longer, ms, whatever it asks for; clients ask for 15 to 20 s. */
const SUSPEND_MS_MAX = 120_000;

interface PullHeader {
  readonly consumerGroup: string;
  readonly topic: string;
  readonly queueId: number;
  readonly queueOffset: number;
  readonly maxMsgNums: number;
  readonly sysFlag: number;
  readonly commitOffset: number;
  readonly suspendTimeoutMillis: number;
  readonly subscription: string | null;
  readonly subVersion: number;
  readonly expressionType: string | null;
  readonly isProxyBroadcast: boolean;
  readonly proxyClientId: string | null;
}

/** One pull on its way: what was asked, by whom, and which look at the queue this is. */
interface Pull {
  readonly request: RemotingCommand;
  readonly context: RequestContext;
  readonly header: PullHeader;
  readonly startMs: number;
  /** Where to look: behind what it asks for when it was held, and what came is not for it. */
  readonly fromOffset: number;
  /** It commits what the consumer has done, and may be held. */
  readonly isFirstLook: boolean;
}

/** Mirrors Apache's `PullMessageProcessor` and `DefaultPullMessageResultHandler`. */
export function pullMessageProcessors(ports: PullPorts): Map<number, RequestProcessor> {
  const pull: RequestProcessor = (request, context) => {
    const header = readPullHeader(request);
    const startMs = ports.clock.monotonic();
    return processPull(ports, {
      request,
      context,
      header,
      startMs,
      fromOffset: header.queueOffset,
      isFirstLook: true,
    });
  };
  return new Map([[RequestCode.PULL_MESSAGE, pull], [RequestCode.LITE_PULL_MESSAGE, pull]]);
}

type Answer = RemotingCommand | null;

function processPull(ports: PullPorts, pull: Pull): Answer | Promise<Answer> {
  const { config, store } = ports;
  const { header, request } = pull;
  if (ports.isSlave() && !config.slaveReadEnable && ports.isMasterAlive()) {
    const remark = "[REJECTREQUEST]This slave serves no pulls while its master is there (slaveReadEnable is false)";
    return createResponse(request, ResponseCode.SYSTEM_BUSY, { remark });
  }
  const allowed = checkPull(ports, pull);
  if ("code" in allowed) {
    const { code, remark, forbiddenType } = allowed;
    return createResponse(request, code, { remark, ext: { forbiddenType } });
  }
  const unreadable = store.notReadableReason;
  if (unreadable !== null) return createResponse(request, ResponseCode.SYSTEM_ERROR, { remark: unreadable });
  const moved = movedResult(ports, pull);
  if (moved !== null) return answerPull(ports, pull, allowed, moved);
  commitOffset(ports, pull);
  const { topic, queueId, maxMsgNums } = header;
  const result = store.pullMessages(topic, queueId, pull.fromOffset, maxMsgNums, allowed.filter);
  if (result instanceof Promise) return result.then((done) => answerPull(ports, pull, allowed, done));
  return answerPull(ports, pull, allowed, result);
}

/** Whatever comes of the pull. One that is told a reset commits nothing any more: the offset is of before. */
function commitOffset({ offsets }: PullPorts, { header, context, isFirstLook }: Pull): void {
  if (!isFirstLook || (header.sysFlag & PullSysFlag.COMMIT_OFFSET) === 0 || header.commitOffset < 0) return;
  const { consumerGroup, topic, queueId, commitOffset } = header;
  offsets.commitOffset(consumerGroup, topic, queueId, commitOffset, context.remoteAddress);
}

interface Refusal {
  readonly code: number;
  readonly remark: string;
  readonly forbiddenType?: number;
}

interface Allowed {
  readonly group: SubscriptionGroupConfig;
  readonly topic: TopicConfig;
  readonly filter: MessageFilter | null;
}

/** The checks in Apache's order. */
function checkPull(ports: PullPorts, { header, request, context }: Pull): Allowed | Refusal {
  const { config, groups, topics } = ports;
  if ((config.brokerPermission & PermName.READ) === 0) {
    return forbidden(ForbiddenType.BROKER, `brokerPermission is ${config.brokerPermission}, wanted 4 (read) in it`);
  }
  const isLite = request.code === RequestCode.LITE_PULL_MESSAGE;
  if (isLite && !config.litePullMessageEnable) {
    return forbidden(ForbiddenType.BROKER, "litePullMessageEnable is false on this broker");
  }
  const group = groups.findSubscriptionGroupConfig(header.consumerGroup);
  if (group === null) {
    const remark = `subscription group [${header.consumerGroup}] does not exist`;
    return { code: ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark };
  }
  if (!group.consumeEnable) {
    return forbidden(ForbiddenType.GROUP, `subscription group no permission, ${header.consumerGroup}`);
  }
  const topic = topics.selectTopicConfig(header.topic);
  if (topic === null) {
    return { code: ResponseCode.TOPIC_NOT_EXIST, remark: `topic[${header.topic}] not exist, apply first please!` };
  }
  if ((topic.perm & PermName.READ) === 0) {
    return forbidden(ForbiddenType.TOPIC, `the topic[${header.topic}] pulling message is forbidden`);
  }
  if (header.queueId < 0 || header.queueId >= topic.readQueueNums) {
    const remark =
      `queueId[${header.queueId}] is illegal, topic:[${header.topic}] readQueueNums:[${topic.readQueueNums}]`;
    return { code: ResponseCode.INVALID_PARAMETER, remark };
  }
  const subscribed = (header.sysFlag & PullSysFlag.SUBSCRIPTION) !== 0
    ? carriedSubscription(ports, header)
    : heartbeatSubscription(ports, header, group);
  if ("code" in subscribed) return subscribed;
  const { sub, filterData } = subscribed;
  if (!isTagType(sub.expressionType) && !config.enablePropertyFilter) {
    const remark = `The broker does not support consumer to filter message by ${sub.expressionType}`;
    return { code: ResponseCode.SYSTEM_ERROR, remark };
  }
  if (config.rejectPullConsumerEnable && isPullConsumer(ports, header.consumerGroup, context)) {
    const remark = "the consumer's group info not exist, or the pull consumer is rejected by server.";
    return { code: ResponseCode.SUBSCRIPTION_NOT_EXIST, remark };
  }
  const filter = expressionMessageFilter(sub, filterData, config.filterSupportRetry ? ports.filters : null);
  return { group, topic, filter: filter === MATCH_ALL ? null : filter };
}

/** Whether a consumer that does not register pulls here; Apache's own tools may. */
function isPullConsumer({ consumers }: PullPorts, group: string, { connection }: RequestContext): boolean {
  if (isSystemGroup(group)) return false;
  const info = consumers.getConsumerGroupInfo(group);
  if (info === null) return true;
  return info.consumeType === "CONSUME_ACTIVELY" && consumers.findChannelByConnection(group, connection) === null;
}

interface Subscribed {
  readonly sub: SubscriptionData;
  readonly filterData: ConsumerFilterData | null;
}

/** Pull consumers bring theirs with each pull. An SQL92 expression that does not compile lets everything through. */
function carriedSubscription(ports: PullPorts, header: PullHeader): Subscribed | Refusal {
  const { topic, consumerGroup, subVersion } = header;
  const sub = buildSubscriptionData(topic, header.subscription, header.expressionType, subVersion);
  ports.consumers.compensateSubscribeData(consumerGroup, topic, sub);
  return { sub, filterData: ports.filters.build(topic, consumerGroup, sub) };
}

function heartbeatSubscription(
  ports: PullPorts,
  header: PullHeader,
  group: SubscriptionGroupConfig,
): Subscribed | Refusal {
  const { consumerGroup, topic } = header;
  const info = ports.consumers.getConsumerGroupInfo(consumerGroup);
  if (info === null) {
    const remark = `the consumer's group info not exist, group: ${consumerGroup}`;
    return { code: ResponseCode.SUBSCRIPTION_NOT_EXIST, remark };
  }
  if (!group.consumeBroadcastEnable && info.messageModel === "BROADCASTING") {
    const remark = `the consumer group[${consumerGroup}] can not consume by broadcast way`;
    return forbidden(ForbiddenType.BROADCASTING_DISABLE, remark);
  }
  if ((ports.groups.getForbidden(consumerGroup, topic) & (1 << FORBIDDEN_READ_BIT)) !== 0) {
    const remark = `the consumer group[${consumerGroup}] is forbidden for topic[${topic}]`;
    return forbidden(ForbiddenType.SUBSCRIPTION, remark);
  }
  const sub = info.subscriptions().get(topic);
  if (sub === undefined) {
    const remark = `the consumer's subscription not exist, group: ${consumerGroup}, topic: ${topic}`;
    return { code: ResponseCode.SUBSCRIPTION_NOT_EXIST, remark };
  }
  if (sub.subVersion < header.subVersion) {
    return { code: ResponseCode.SUBSCRIPTION_NOT_LATEST, remark: "the consumer's subscription not latest" };
  }
  if (isTagType(sub.expressionType)) return { sub, filterData: null };
  const filterData = ports.filters.get(topic, consumerGroup);
  if (filterData === null) {
    const remark = "The broker's consumer filter data is not exist!Your expression may be wrong!";
    return { code: ResponseCode.FILTER_DATA_NOT_EXIST, remark };
  }
  if (filterData.clientVersion < header.subVersion) {
    return { code: ResponseCode.FILTER_DATA_NOT_LATEST, remark: "the consumer's consumer filter data not latest" };
  }
  return { sub, filterData };
}

function forbidden(forbiddenType: number, remark: string): Refusal {
  return { code: ResponseCode.NO_PERMISSION, remark, forbiddenType };
}

/** Where the consumer is told to go instead: by a reset, or as a broadcast client that came from a proxy. */
function movedResult(ports: PullPorts, { header, context }: Pull): PullResult | null {
  const { consumerGroup, topic, queueId, queueOffset, isProxyBroadcast } = header;
  const { config, store } = ports;
  let nextBeginOffset = ports.offsets.queryThenEraseResetOffset(consumerGroup, topic, queueId);
  if (nextBeginOffset === null || !config.useServerSideResetOffset) {
    const clientId = broadcastClientId(ports, header, context);
    if (clientId === null) return null;
    nextBeginOffset = ports.broadcastOffsets.queryInitOffset(
      topic,
      consumerGroup,
      queueId,
      clientId,
      queueOffset,
      isProxyBroadcast,
    );
    if (nextBeginOffset < 0 || nextBeginOffset === queueOffset) return null;
  }
  return {
    status: GetMessageStatus.OFFSET_RESET,
    records: NO_RECORDS,
    messageCount: 0,
    nextBeginOffset,
    minOffset: store.getMinOffsetInQueue(topic, queueId),
    maxOffset: store.getMaxOffsetInQueue(topic, queueId),
    suggestPullingFromSlave: false,
    fallBehindBytes: null,
  };
}

/** The client's id when it consumes by broadcast and its progress is noted; null else. */
function broadcastClientId(ports: PullPorts, header: PullHeader, context: RequestContext): string | null {
  if (!ports.config.enableBroadcastOffsetStore) return null;
  if (header.isProxyBroadcast) return header.proxyClientId;
  const info = ports.consumers.getConsumerGroupInfo(header.consumerGroup);
  if (info === null || info.messageModel !== "BROADCASTING" || info.consumeType !== "CONSUME_PASSIVELY") return null;
  return ports.consumers.findChannelByConnection(header.consumerGroup, context.connection)?.clientId ?? null;
}

const CODES: Record<GetMessageStatus, number> = {
  FOUND: ResponseCode.SUCCESS,
  MESSAGE_WAS_REMOVING: ResponseCode.PULL_RETRY_IMMEDIATELY,
  NO_MATCHED_MESSAGE: ResponseCode.PULL_RETRY_IMMEDIATELY,
  OFFSET_FOUND_NULL: ResponseCode.PULL_NOT_FOUND,
  OFFSET_OVERFLOW_ONE: ResponseCode.PULL_NOT_FOUND,
  OFFSET_OVERFLOW_BADLY: ResponseCode.PULL_OFFSET_MOVED,
  OFFSET_TOO_SMALL: ResponseCode.PULL_OFFSET_MOVED,
  NO_MESSAGE_IN_QUEUE: ResponseCode.PULL_OFFSET_MOVED,
  OFFSET_RESET: ResponseCode.PULL_OFFSET_MOVED,
};

function answerPull(ports: PullPorts, pull: Pull, allowed: Allowed, result: PullResult): Answer {
  const { request, header } = pull;
  const { code, suggestWhichBrokerId } = decide(ports, pull, allowed.group, result);
  if (code === ResponseCode.PULL_NOT_FOUND && pull.isFirstLook) {
    const outcome = holdPull(ports, pull, allowed.filter);
    if (outcome === "held") return null;
    if (outcome === "full") {
      const remark = "[OVERLOAD]Too many pulls wait for messages already, try again later";
      return createResponse(request, ResponseCode.SYSTEM_BUSY, { remark });
    }
  }
  note(ports, pull, code, result);
  // What came while it was held is not for it: that is an answer of its own, as the consumer goes on behind it.
  const isPassedOver = code === ResponseCode.PULL_NOT_FOUND && pull.fromOffset > header.queueOffset;
  const { nextBeginOffset, minOffset, maxOffset } = result;
  const { topicSysFlag } = allowed.topic;
  const { groupSysFlag } = allowed.group;
  const ext: ExtValues = {
    suggestWhichBrokerId,
    nextBeginOffset,
    minOffset,
    maxOffset,
    topicSysFlag,
    groupSysFlag,
  };
  const remark = isPassedOver ? GetMessageStatus.NO_MATCHED_MESSAGE : result.status;
  const body = code === ResponseCode.SUCCESS ? result.records : NO_RECORDS;
  return createResponse(request, isPassedOver ? ResponseCode.PULL_RETRY_IMMEDIATELY : code, { remark, ext, body });
}

/** Mirrors `PullMessageProcessor.composeResponseHeader`. */
function decide(
  ports: PullPorts,
  { header }: Pull,
  group: SubscriptionGroupConfig,
  { status, suggestPullingFromSlave }: PullResult,
): { code: number; suggestWhichBrokerId: number } {
  const { config } = ports;
  let code = CODES[status];
  if (status === GetMessageStatus.NO_MESSAGE_IN_QUEUE && header.queueOffset === 0) code = ResponseCode.PULL_NOT_FOUND;
  let suggestWhichBrokerId = 0;
  if (config.slaveReadEnable) {
    suggestWhichBrokerId = suggestPullingFromSlave ? group.whichBrokerWhenConsumeSlowly : group.brokerId;
  }
  if (!ports.isSlave()) return { code, suggestWhichBrokerId };
  // A slave serves what is far behind; who has caught up goes back to the master while that is there.
  if (!suggestPullingFromSlave && ports.isMasterAlive()) {
    suggestWhichBrokerId = 0;
    if (status !== GetMessageStatus.FOUND) code = ResponseCode.PULL_RETRY_IMMEDIATELY;
  }
  if (code === ResponseCode.PULL_OFFSET_MOVED && !config.offsetCheckInSlave) {
    suggestWhichBrokerId = group.brokerId;
    code = ResponseCode.PULL_RETRY_IMMEDIATELY;
  }
  return { code, suggestWhichBrokerId };
}

/** Statistics, and how far the consumer has come. */
function note(ports: PullPorts, pull: Pull, code: number, result: PullResult): void {
  const { offsets, stats, clock } = ports;
  const { header, context, startMs } = pull;
  const { consumerGroup, topic, queueId, isProxyBroadcast } = header;
  const { nextBeginOffset, fallBehindBytes } = result;
  if (code === ResponseCode.SUCCESS) {
    const tookMs = clock.monotonic() - startMs;
    stats.pulled(consumerGroup, topic, queueId, result.messageCount, result.records.length, tookMs);
  } else stats.missed();
  if (fallBehindBytes !== null) stats.fellBehind(consumerGroup, topic, queueId, fallBehindBytes);
  offsets.commitPullOffset(consumerGroup, topic, queueId, nextBeginOffset);
  const clientId = broadcastClientId(ports, header, context);
  if (clientId === null) return;
  const offset = code === ResponseCode.PULL_OFFSET_MOVED ? nextBeginOffset : header.queueOffset;
  ports.broadcastOffsets.updateOffset(topic, consumerGroup, queueId, offset, clientId, isProxyBroadcast);
}

function holdPull(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter | null,
): ReturnType<PullRequestHoldService["hold"]> {
  const { header } = pull;
  if ((header.sysFlag & PullSysFlag.SUSPEND) === 0) return "stopped";
  const { config, clock } = ports;
  const waitMs = config.longPollingEnable ? header.suspendTimeoutMillis : config.shortPollingTimeMills;
  if (!(waitMs > 0)) return "stopped";
  return holdUntil(ports, pull, filter, clock.monotonic() + Math.min(waitMs, SUSPEND_MS_MAX));
}

function holdUntil(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter | null,
  deadlineMs: number,
): ReturnType<PullRequestHoldService["hold"]> {
  const { topic, queueId } = pull.header;
  return ports.holds.hold({
    connection: pull.context.connection,
    topic,
    queueId,
    pullFromThisOffset: pull.fromOffset,
    filter,
    deadlineMs,
    wakeUp: (isFinal, fromOffset) =>
      wakeUp(
        ports,
        { ...pull, fromOffset, isFirstLook: false, startMs: ports.clock.monotonic() },
        filter,
        isFinal ? null : deadlineMs,
      ),
  });
}

/**
 * `deadlineMs` is null for the last time. It answers before it returns where it can: one large message wakes many, and
 * their answers count as held for their peers, and are bounded, only once they are with their connections.
 */
function wakeUp(ports: PullPorts, pull: Pull, filter: MessageFilter | null, deadlineMs: number | null): void {
  const finish = (answer: Answer) => answerWoken(ports, pull, filter, deadlineMs, answer);
  const fail = (error: unknown) => {
    const code = error instanceof RemotingError ? error.code : ResponseCode.SYSTEM_ERROR;
    finish(createResponse(pull.request, code, { remark: errorMessage(error) }));
  };
  let answer: Answer | Promise<Answer>;
  try {
    answer = processPull(ports, pull);
  } catch (error) {
    return fail(error);
  }
  if (answer instanceof Promise) answer.then(finish, fail);
  else finish(answer);
}

function answerWoken(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter | null,
  deadlineMs: number | null,
  answer: Answer,
): void {
  const { connection } = pull.context;
  if (answer === null || connection.closed) return;
  if (
    deadlineMs !== null && filter !== null && filter.needsProperties && waitsOn(ports, pull, filter, answer, deadlineMs)
  ) {
    return;
  }
  try {
    connection.respond(answer);
  } catch (error) {
    // An answer that can't be written is a bug of ours: it ends one connection, not the node.
    connection.close("error", errorMessage(error));
  }
}

/** A filter on properties shows only now that what came is not for this consumer: it waits on behind it. */
function waitsOn(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter,
  answer: RemotingCommand,
  deadlineMs: number,
): boolean {
  if (answer.code !== ResponseCode.PULL_RETRY_IMMEDIATELY) return false;
  const { topic, queueId } = pull.header;
  const fromOffset = Number(answer.extFields.get("nextBeginOffset"));
  // More came while the records were read, or is left: nobody would tell of it.
  if (ports.store.getMaxOffsetInQueue(topic, queueId) !== fromOffset) return false;
  return holdUntil(ports, { ...pull, fromOffset }, filter, deadlineMs) === "held";
}

function readPullHeader(request: RemotingCommand): PullHeader {
  const { extFields } = request;
  const integer = (name: string, fallback?: number) => {
    const text = fallback === undefined ? requiredExt(request, name) : extFields.get(name);
    if (text === undefined) return fallback!;
    const value = Number(text);
    if (Number.isSafeInteger(value) && text !== "") return value;
    // A Java `long` that a double can't hold stands for "no end".
    if (/^-?\d{16,19}$/.test(text)) return value < 0 ? Number.MIN_SAFE_INTEGER : Number.MAX_SAFE_INTEGER;
    throw new RemotingError(
      ResponseCode.SYSTEM_ERROR,
      `Ext field "${name}" is ${quoted(text, 40)}, wanted a whole number`,
    );
  };
  return {
    consumerGroup: requiredExt(request, "consumerGroup"),
    topic: requiredExt(request, "topic"),
    queueId: integer("queueId"),
    queueOffset: integer("queueOffset"),
    maxMsgNums: Math.max(1, integer("maxMsgNums")),
    sysFlag: integer("sysFlag"),
    commitOffset: integer("commitOffset", -1),
    suspendTimeoutMillis: integer("suspendTimeoutMillis", 0),
    subscription: extFields.get("subscription") ?? null,
    subVersion: integer("subVersion", 0),
    expressionType: extFields.get("expressionType") ?? null,
    isProxyBroadcast: extFields.get("requestSource") === "1",
    proxyClientId: extFields.get("proxyFrowardClientId") ?? null,
  };
}
