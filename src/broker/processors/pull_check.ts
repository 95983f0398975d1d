// Whether a group may read a queue, and by which subscription: the checks of a pull before the queue is looked at.

import type { Config } from "../../config/schema.ts";
import type { RequestContext } from "../../remoting/remoting_server.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { MessageFilter } from "../../store/message_filter.ts";
import type { ConsumerManager } from "../client/consumer_manager.ts";
import type { ConsumerFilterData, ConsumerFilterManager } from "../filter/consumer_filter_manager.ts";
import { expressionMessageFilter, MATCH_ALL } from "../filter/expression_message_filter.ts";
import { buildSubscriptionData, isTagType, type SubscriptionData } from "../filter/subscription_data.ts";
import {
  isSystemGroup,
  type SubscriptionGroupConfig,
  type SubscriptionGroupManager,
} from "../subscription_group_manager.ts";
import { PermName, type TopicConfig } from "../topic_config_manager.ts";
import { type PullHeader, PullSysFlag } from "./pull_header.ts";

/** What the checks ask. */
export interface PullCheckPorts {
  readonly config: Pick<
    Config,
    | "brokerPermission"
    | "litePullMessageEnable"
    | "enablePropertyFilter"
    | "filterSupportRetry"
    | "rejectPullConsumerEnable"
  >;
  readonly topics: { selectTopicConfig(topic: string): TopicConfig | null };
  readonly groups: Pick<SubscriptionGroupManager, "findSubscriptionGroupConfig" | "getForbidden">;
  readonly consumers: Pick<
    ConsumerManager,
    "getConsumerGroupInfo" | "findChannelByConnection" | "compensateSubscribeData"
  >;
  readonly filters: Pick<ConsumerFilterManager, "get" | "build">;
}

/** Whom a `NO_PERMISSION` is about. Mirrors Apache's `ForbiddenType`. */
const ForbiddenType = { BROKER: 1, GROUP: 2, TOPIC: 3, BROADCASTING_DISABLE: 4, SUBSCRIPTION: 5 } as const;
/** Bit of a group's forbidden topics that denies pulls. Mirrors `PermName.INDEX_PERM_READ`. */
const FORBIDDEN_READ_BIT = 2;

/** A pull that is not served. */
export interface Refusal {
  readonly code: number;
  readonly remark: string;
  readonly forbiddenType?: number;
}

/** What a pull that is served goes by. */
export interface Allowed {
  readonly group: SubscriptionGroupConfig;
  readonly topic: TopicConfig;
  /** null: all messages. */
  readonly filter: MessageFilter | null;
}

/**
 * The checks in Apache's order; `isLite` for LITE_PULL_MESSAGE. Throws {@link RemotingError} for a subscription that can't
 * be read.
 */
export function checkPull(
  ports: PullCheckPorts,
  header: PullHeader,
  { isLite, context }: { readonly isLite: boolean; readonly context: RequestContext },
): Allowed | Refusal {
  const { config, groups, topics } = ports;
  if ((config.brokerPermission & PermName.READ) === 0) {
    return forbidden(ForbiddenType.BROKER, `brokerPermission is ${config.brokerPermission}, wanted 4 (read) in it`);
  }
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
function isPullConsumer({ consumers }: PullCheckPorts, group: string, { connection }: RequestContext): boolean {
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
function carriedSubscription(ports: PullCheckPorts, header: PullHeader): Subscribed | Refusal {
  const { topic, consumerGroup, subVersion } = header;
  const sub = buildSubscriptionData(topic, header.subscription, header.expressionType, subVersion);
  ports.consumers.compensateSubscribeData(consumerGroup, topic, sub);
  return { sub, filterData: ports.filters.build(topic, consumerGroup, sub) };
}

function heartbeatSubscription(
  ports: PullCheckPorts,
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
