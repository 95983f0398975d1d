// The topics and groups every broker has from its start, without a file that says so: templates for auto-creation, the
// places where delayed and transactional messages wait, and what Apache's own tools expect to find.

import type { Config } from "../config/schema.ts";
import { PermName, TOPIC_DEFAULTS, type TopicConfig } from "./topic_config_manager.ts";
import {
  AUTO_CREATE_TOPIC_KEY_TOPIC,
  RMQ_SYS_BENCHMARK_TOPIC,
  RMQ_SYS_OFFSET_MOVED_EVENT,
  RMQ_SYS_SCHEDULE_TOPIC,
  RMQ_SYS_SELF_TEST_TOPIC,
  RMQ_SYS_TIMER_TOPIC,
  RMQ_SYS_TRANS_HALF_TOPIC,
  RMQ_SYS_TRANS_OP_HALF_TOPIC,
} from "./topic_validator.ts";

/** The keys that decide about them. */
export type SystemTopicOptions = Pick<
  Config,
  | "brokerClusterName"
  | "brokerName"
  | "autoCreateTopicEnable"
  | "defaultTopicQueueNums"
  | "clusterTopicEnable"
  | "brokerTopicEnable"
  | "traceTopicEnable"
  | "msgTraceTopicName"
  | "timerWheelEnable"
  | "reviveQueueNum"
>;

/** Queues of the topic of delay levels, however many levels there are. */
const SCHEDULE_QUEUE_NUM = 18;

/** Mirrors `TopicConfigManager.init`. */
export function systemTopics(options: SystemTopicOptions): TopicConfig[] {
  const { brokerClusterName, brokerName } = options;
  const readWrite = PermName.READ | PermName.WRITE;
  const all = readWrite | PermName.INHERIT;
  const topic = (topicName: string, queueNums: number, perm: number = readWrite): TopicConfig => ({
    ...TOPIC_DEFAULTS,
    topicName,
    readQueueNums: queueNums,
    writeQueueNums: queueNums,
    perm,
  });
  return [
    topic(RMQ_SYS_SELF_TEST_TOPIC, 1),
    ...(options.autoCreateTopicEnable ? [topic(AUTO_CREATE_TOPIC_KEY_TOPIC, options.defaultTopicQueueNums, all)] : []),
    topic(RMQ_SYS_BENCHMARK_TOPIC, 1024),
    topic(brokerClusterName, 16, options.clusterTopicEnable ? all : PermName.INHERIT),
    topic(brokerName, 1, options.brokerTopicEnable ? all : PermName.INHERIT),
    topic(RMQ_SYS_OFFSET_MOVED_EVENT, 1),
    topic(RMQ_SYS_SCHEDULE_TOPIC, SCHEDULE_QUEUE_NUM),
    ...(options.traceTopicEnable ? [topic(options.msgTraceTopicName, 1)] : []),
    topic(`${brokerClusterName}_REPLY_TOPIC`, 1),
    topic(`rmq_sys_REVIVE_LOG_${brokerClusterName}`, options.reviveQueueNum),
    topic(`rmq_sys_SYNC_BROKER_MEMBER_${brokerName}`, 1, PermName.INHERIT),
    topic(RMQ_SYS_TRANS_HALF_TOPIC, 1),
    topic(RMQ_SYS_TRANS_OP_HALF_TOPIC, 1),
    ...(options.timerWheelEnable ? [topic(RMQ_SYS_TIMER_TOPIC, 1)] : []),
  ];
}
