// HEART_BEAT (34) and UNREGISTER_CLIENT (35): clients say who they are, what they consume and when they leave. Groups and
// their retry topics come into being here. Who is a change to whom is the managers' matter.

import type { Config } from "../../config/schema.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Clock } from "../../runtime/runtime.ts";
import type { ClientChannelInfo } from "../client/client_channel_info.ts";
import type { ConsumerManager } from "../client/consumer_manager.ts";
import { type ConsumerData, type HeartbeatData, readHeartbeatData } from "../client/heartbeat_data.ts";
import type { ProducerManager } from "../client/producer_manager.ts";
import type { SubscriptionGroupManager } from "../subscription_group_manager.ts";
import { PermName, type TopicConfigManager } from "../topic_config_manager.ts";
import { retryTopicOf } from "../topic_validator.ts";

/** What the processor needs. */
export interface ClientManagePorts {
  readonly clock: Clock;
  readonly config: Pick<Config, "rejectPullConsumerEnable">;
  readonly producers: Pick<ProducerManager, "registerProducer" | "unregisterProducer">;
  readonly consumers: Pick<
    ConsumerManager,
    | "getConsumerGroupInfo"
    | "registerConsumer"
    | "registerConsumerWithoutSub"
    | "exchangeFingerprint"
    | "unregisterConsumer"
  >;
  readonly groups: Pick<
    SubscriptionGroupManager,
    "findSubscriptionGroupConfig" | "selectSubscriptionGroupConfig"
  >;
  readonly topics: Pick<TopicConfigManager, "isOrderTopic" | "createTopicInSendMessageBackMethod">;
}

/** `topicSysFlag` of a unit's retry topic. Apache's `TopicSysFlag.FLAG_UNIT_SUB`. */
const FLAG_UNIT_SUB = 2;
/** Apache's names in `MixAll`. */
const IS_SUPPORT_HEART_BEAT_V2 = "IS_SUPPORT_HEART_BEAT_V2";
const IS_SUB_CHANGE = "IS_SUB_CHANGE";

/** The processors of 34 and 35. Mirrors Apache's `ClientManageProcessor`; its 46 is beside the filters. */
export function clientManageProcessors(ports: ClientManagePorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.HEART_BEAT, (request, context) => heartBeat(ports, request, context)],
    [RequestCode.UNREGISTER_CLIENT, (request, context) => unregisterClient(ports, request, context)],
  ]);
}

/** Everything is sent before this returns: a group that changed hears of it before the client has its answer. */
function heartBeat(ports: ClientManagePorts, request: RemotingCommand, context: RequestContext): RemotingCommand {
  const data = readHeartbeatData(request.body);
  const info = channelInfo(ports, request, context, data.clientId);
  let isSubChange = data.fingerprint === 0;
  if (!context.connection.closed) {
    for (const consumer of data.consumers) {
      if (registerConsumer(ports, info, data, consumer)) isSubChange = true;
    }
    for (const group of data.producerGroups) ports.producers.registerProducer(group, info);
  }
  return createResponse(request, ResponseCode.SUCCESS, {
    ext: { [IS_SUPPORT_HEART_BEAT_V2]: true, [IS_SUB_CHANGE]: isSubChange },
  });
}

/** Whether the client has to send its subscriptions next time (version 2). */
function registerConsumer(
  ports: ClientManagePorts,
  info: ClientChannelInfo,
  data: HeartbeatData,
  consumer: ConsumerData,
): boolean {
  const { config, consumers, groups, topics } = ports;
  const { groupName, traits, subscriptions } = consumer;
  if (config.rejectPullConsumerEnable && traits.consumeType === "CONSUME_ACTIVELY") return false;
  const group = groups.findSubscriptionGroupConfig(groupName);
  if (group === null) return false;
  const withoutSub = data.withoutSub && data.fingerprint !== 0;
  const known = consumers.getConsumerGroupInfo(groupName)?.subscriptions();
  const subscribed = withoutSub ? [...known?.keys() ?? []] : subscriptions.map((sub) => sub.topic);
  topics.createTopicInSendMessageBackMethod(
    retryTopicOf(groupName),
    group.retryQueueNums,
    PermName.WRITE | PermName.READ,
    consumer.unitMode ? FLAG_UNIT_SUB : 0,
    subscribed.some((topic) => topics.isOrderTopic(topic)),
  );
  const notify = group.notifyConsumerIdsChangedEnable;
  if (withoutSub) consumers.registerConsumerWithoutSub(groupName, info, traits, notify);
  else consumers.registerConsumer(groupName, info, traits, subscriptions, notify);
  const before = consumers.exchangeFingerprint(groupName, data.fingerprint);
  // Apache lets a client go on without subscriptions that it knows nothing of, after its restart for instance.
  const isUnknown = withoutSub && subscribed.length === 0;
  return isUnknown || (before !== null && before !== data.fingerprint);
}

function unregisterClient(
  ports: ClientManagePorts,
  request: RemotingCommand,
  context: RequestContext,
): RemotingCommand {
  const info = channelInfo(ports, request, context, requiredExt(request, "clientID"));
  const producerGroup = request.extFields.get("producerGroup");
  if (producerGroup !== undefined) ports.producers.unregisterProducer(producerGroup, info);
  const consumerGroup = request.extFields.get("consumerGroup");
  if (consumerGroup !== undefined) {
    const group = ports.groups.selectSubscriptionGroupConfig(consumerGroup);
    ports.consumers.unregisterConsumer(consumerGroup, info, group?.notifyConsumerIdsChangedEnable ?? true);
  }
  return createResponse(request, ResponseCode.SUCCESS);
}

function channelInfo(
  { clock }: ClientManagePorts,
  { language, version }: RemotingCommand,
  { connection }: RequestContext,
  clientId: string,
): ClientChannelInfo {
  return { connection, clientId, language, version, lastUpdateTimestamp: clock.now() };
}
