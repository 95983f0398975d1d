// Plain sends to a retry topic: a consumer that could not send a message back, or that consumes in order and gave up. It
// decides whether the message joins the dead letters; the send processor does the rest.

import { quoted } from "../../base/printable.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { MessageConst } from "../../store/message_properties.ts";
import type { SubscriptionGroupConfig } from "../subscription_group_manager.ts";
import { PermName, type TopicConfig } from "../topic_config_manager.ts";
import { dlqTopicOf, groupOfRetryTopic } from "../topic_validator.ts";
import type { RetryAndDLQ } from "./send_header.ts";

/** Makes retry topics and those of dead letters. */
export interface RetryTopics {
  createTopicInSendMessageBackMethod(
    topic: string,
    queueNums: number,
    perm: number,
    topicSysFlag: number,
  ): Pick<TopicConfig, "perm">;
}

/** What {@link retryAndDLQ} needs. */
export interface RetryAndDLQPorts {
  readonly groups: {
    findSubscriptionGroupConfig(group: string): Pick<SubscriptionGroupConfig, "retryMaxTimes"> | null;
  };
  readonly topics: RetryTopics;
  /** Whether nobody of the group holds a queue: it doesn't consume in order then. */
  readonly locks: { isLockAllExpired(group: string): boolean };
}

/** `MQVersion` ordinal of V3_4_9: clients from there on say how often they try. */
const V3_4_9 = 121;
/** Queues of a topic of dead letters. */
export const DLQ_NUMS_PER_GROUP = 1;

/** Mirrors Apache's `SendMessageProcessor.handleRetryAndDLQ`. The message is one to a retry topic. */
export function retryAndDLQ(ports: RetryAndDLQPorts): RetryAndDLQ {
  return (message, header) => {
    const group = groupOfRetryTopic(message.topic);
    const config = ports.groups.findSubscriptionGroupConfig(group);
    if (config === null) {
      const remark = `Subscription group ${quoted(group, 200)} does not exist`;
      return { code: ResponseCode.SUBSCRIPTION_GROUP_NOT_EXIST, remark };
    }
    const max = maxReconsumeTimesOf(config, header.maxReconsumeTimes, header.clientVersion);
    if (header.reconsumeTimes <= max && ports.locks.isLockAllExpired(group)) return message;
    const topic = dlqTopicOf(group);
    ports.topics.createTopicInSendMessageBackMethod(topic, DLQ_NUMS_PER_GROUP, PermName.READ | PermName.WRITE, 0);
    const properties = new Map(message.properties).set(MessageConst.PROPERTY_DELAY_TIME_LEVEL, "-1");
    return { ...message, topic, queueId: 0, properties };
  };
}

/** How often a group's messages are tried again. */
export function maxReconsumeTimesOf(
  config: Pick<SubscriptionGroupConfig, "retryMaxTimes">,
  asked: number | null,
  clientVersion: number,
): number {
  return asked !== null && clientVersion >= V3_4_9 ? asked : config.retryMaxTimes;
}
