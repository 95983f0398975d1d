// Names of topics: which are valid, which belong to the system, and those made from a group's name. Pure; Apache's
// `TopicValidator` and the parts of `MixAll` and `KeyBuilder` that name topics.

import { RemotingError } from "../base/errors.ts";
import { quoted } from "../base/printable.ts";
import { ResponseCode } from "../remoting/response_code.ts";

/** Template of topics that a send makes. */
export const AUTO_CREATE_TOPIC_KEY_TOPIC = "TBW102";
/** Messages of delay levels until they are due. */
export const RMQ_SYS_SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX";
/** Messages with an arbitrary delivery time until they are due. */
export const RMQ_SYS_TIMER_TOPIC = "rmq_sys_wheel_timer";
/** Transactional messages until they are committed. */
export const RMQ_SYS_TRANS_HALF_TOPIC = "RMQ_SYS_TRANS_HALF_TOPIC";
/** Which of those are ended. */
export const RMQ_SYS_TRANS_OP_HALF_TOPIC = "RMQ_SYS_TRANS_OP_HALF_TOPIC";
/** Transactional messages that were asked about too often. */
export const RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC = "TRANS_CHECK_MAX_TIME_TOPIC";
/** For the broker's own checks. */
export const RMQ_SYS_SELF_TEST_TOPIC = "SELF_TEST_TOPIC";
/** Not written to any more. */
export const RMQ_SYS_OFFSET_MOVED_EVENT = "OFFSET_MOVED_EVENT";
/** Apache's benchmarks use it. */
export const RMQ_SYS_BENCHMARK_TOPIC = "BenchmarkTest";

/** Begins the name of every further system topic. */
const SYSTEM_TOPIC_PREFIX = "rmq_sys_";
const RETRY_GROUP_TOPIC_PREFIX = "%RETRY%";
const DLQ_GROUP_TOPIC_PREFIX = "%DLQ%";
/** Between group and topic in a retry topic of pop consumption, second version. */
const POP_RETRY_SEPARATOR_V2 = "+";
const TOPIC_MAX_LENGTH = 127;
const GROUP_MAX_LENGTH = 255;
const NAME_PATTERN = /^[%|a-zA-Z0-9_-]+$/;

/** Topics that are the system's whether a broker has them or not. */
export const SYSTEM_TOPICS: ReadonlySet<string> = new Set([
  AUTO_CREATE_TOPIC_KEY_TOPIC,
  RMQ_SYS_SCHEDULE_TOPIC,
  RMQ_SYS_BENCHMARK_TOPIC,
  RMQ_SYS_TRANS_HALF_TOPIC,
  RMQ_SYS_TRANS_OP_HALF_TOPIC,
  RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC,
  RMQ_SYS_SELF_TEST_TOPIC,
  RMQ_SYS_OFFSET_MOVED_EVENT,
  "RMQ_SYS_TRACE_TOPIC",
  "CHECKPOINT_TOPIC",
]);

const NOT_ALLOWED_SEND_TOPICS: ReadonlySet<string> = new Set([
  RMQ_SYS_SCHEDULE_TOPIC,
  RMQ_SYS_TRANS_HALF_TOPIC,
  RMQ_SYS_TRANS_OP_HALF_TOPIC,
  RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC,
  RMQ_SYS_SELF_TEST_TOPIC,
  RMQ_SYS_OFFSET_MOVED_EVENT,
]);

/** Throws {@link RemotingError} `INVALID_PARAMETER` unless Apache's `TopicValidator.validateTopic` takes the name. */
export function checkTopicName(topic: string): void {
  const error = topicNameError(topic);
  if (error !== null) throw new RemotingError(ResponseCode.INVALID_PARAMETER, error);
}

/** Why the name can't be a topic's; null when it can. */
export function topicNameError(topic: string): string | null {
  if (topic.length <= TOPIC_MAX_LENGTH && NAME_PATTERN.test(topic)) return null;
  return `Topic is ${quoted(topic, 200)}, wanted 1 to ${TOPIC_MAX_LENGTH} of the characters % | - _ 0-9 A-Z a-z`;
}

/** Whether a consumer or producer group may be named so. Mirrors `Validators.checkGroup` and its length at the broker. */
export function isGroupName(group: string): boolean {
  return group.length <= GROUP_MAX_LENGTH && NAME_PATTERN.test(group);
}

/** Whether the topic is one of the system's own. Mirrors `TopicValidator.isSystemTopic`. */
export function isSystemTopic(topic: string): boolean {
  return SYSTEM_TOPICS.has(topic) || topic.startsWith(SYSTEM_TOPIC_PREFIX);
}

/** Whether clients may not send to it. Mirrors `TopicValidator.isNotAllowedSendTopic`. */
export function isNotAllowedSendTopic(topic: string): boolean {
  return NOT_ALLOWED_SEND_TOPICS.has(topic);
}

/** Topic of a group's messages that are tried again. Mirrors `MixAll.getRetryTopic`. */
export function retryTopicOf(group: string): string {
  return RETRY_GROUP_TOPIC_PREFIX + group;
}

/** Topic of a group's messages that were tried too often. Mirrors `MixAll.getDLQTopic`. */
export function dlqTopicOf(group: string): string {
  return DLQ_GROUP_TOPIC_PREFIX + group;
}

/** Whether the topic holds messages that are tried again. */
export function isRetryTopic(topic: string): boolean {
  return topic.startsWith(RETRY_GROUP_TOPIC_PREFIX);
}

/** Whether the topic holds messages that were tried too often. */
export function isDLQTopic(topic: string): boolean {
  return topic.startsWith(DLQ_GROUP_TOPIC_PREFIX);
}

/** The group of a retry topic. Mirrors `KeyBuilder.parseGroup`. */
export function groupOfRetryTopic(topic: string): string {
  const group = topic.slice(RETRY_GROUP_TOPIC_PREFIX.length);
  const separator = group.indexOf(POP_RETRY_SEPARATOR_V2);
  return separator < 0 ? group : group.slice(0, separator);
}
