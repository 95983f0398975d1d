// Figures of topics, groups and clients for /metrics, under the names of RocketMQ's exporter (`rocketmq_producer_tps`, ...)
// and of its own OpenTelemetry metrics (`rocketmq_consumer_lag_messages`, ...). It only reads what others keep.

import type { MetricFigure } from "../admin/admin_port.ts";
import type { Config } from "../config/schema.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { ClientChannelInfo } from "./client/client_channel_info.ts";
import type { ConsumerGroupInfo } from "./client/consumer_group_info.ts";
import type { GroupFigures, TopicFigures } from "./stats/broker_stats_manager.ts";
import type { TopicConfig } from "./topic_config_manager.ts";
import { groupOfRetryTopic, isDLQTopic, isRetryTopic, isSystemTopic } from "./topic_validator.ts";

/** What the figures are taken from. */
export interface ClientFigureParts {
  readonly config: Pick<Config, "brokerClusterName" | "brokerName" | "brokerPermission">;
  readonly clock: Pick<Clock, "now">;
  readonly stats: {
    topicFigures(): TopicFigures[];
    brokerTps(): { readonly put: number; readonly get: number };
  };
  readonly topics: { topicNames(): string[]; selectTopicConfig(topic: string): TopicConfig | null };
  readonly groups: { groupNames(): string[] };
  readonly offsets: {
    whichTopicByConsumer(group: string): string[];
    queryOffset(group: string, topic: string, queueId: number): number;
    queryPullOffset(group: string, topic: string, queueId: number): number;
  };
  readonly consumers: { groupNames(): string[]; getConsumerGroupInfo(group: string): ConsumerGroupInfo | null };
  readonly producers: { groups(): ReadonlyMap<string, readonly ClientChannelInfo[]> };
  readonly store: {
    queues(): { topic: string; queueId: number; minOffset: number; maxOffset: number }[];
    getMinOffsetInQueue(topic: string, queueId: number): number;
    getMaxOffsetInQueue(topic: string, queueId: number): number;
    getMessageStoreTimeStamp(topic: string, queueId: number, queueOffset: number): number;
  };
  /** `host:port` that clients are told. */
  readonly brokerAddr: () => string;
}

type Labels = Readonly<Record<string, string>>;

/** Collects samples of one node. */
class Figures {
  readonly all: MetricFigure[] = [];
  readonly #node: Labels;

  constructor(node: Labels) {
    this.#node = node;
  }

  gauge(name: string, help: string, value: number, labels: Labels = {}): void {
    this.all.push({ name, help, type: "gauge", labels: { ...this.#node, ...labels }, value });
  }

  counter(name: string, help: string, value: number, labels: Labels = {}): void {
    this.all.push({ name, help, type: "counter", labels: { ...this.#node, ...labels }, value });
  }
}

/** Samples of the broker's clients, topics and groups. */
export function clientFigures(parts: ClientFigureParts): MetricFigure[] {
  const { config, stats, topics, groups } = parts;
  const { brokerClusterName: cluster, brokerName: broker } = config;
  const figures = new Figures({ cluster, node_type: "broker", node_id: broker, broker });
  const brokerIP = parts.brokerAddr();
  const tps = stats.brokerTps();
  figures.gauge("rocketmq_broker_tps", "Messages put per second", tps.put, { brokerIP });
  figures.gauge("rocketmq_broker_qps", "Messages given out per second", tps.get, { brokerIP });
  figures.gauge("rocketmq_broker_permission", "What clients may do: 4 reads, 2 writes", config.brokerPermission);
  figures.gauge("rocketmq_topic_number", "Topics", topics.topicNames().length);
  figures.gauge("rocketmq_consumer_group_number", "Consumer groups", groups.groupNames().length);
  for (const topic of stats.topicFigures()) addTopic(figures, topic);
  addOffsets(figures, parts);
  addClients(figures, parts);
  for (const group of new Set([...groups.groupNames(), ...parts.consumers.groupNames()])) {
    addGroup(figures, parts, group);
  }
  return figures.all;
}

function addTopic(figures: Figures, { topic, putNums, putSize, putTps, putSizeTps, groups }: TopicFigures): void {
  const labels = { topic, is_system: String(isSystemTopic(topic)) };
  if (putNums > 0) {
    figures.counter("rocketmq_messages_in_total", "Messages put here", putNums, labels);
    figures.counter("rocketmq_throughput_in_total", "Bytes of records put here", putSize, labels);
    figures.gauge("rocketmq_producer_tps", "Messages put per second", putTps, { topic });
    figures.gauge("rocketmq_producer_message_size", "Bytes put per second", putSizeTps, { topic });
  }
  for (const group of groups) addTopicOfGroup(figures, topic, group);
}

function addTopicOfGroup(figures: Figures, topic: string, stats: GroupFigures): void {
  const { group, getNums, getSize, getTps, getSizeTps, sendBackNums, toDLQ } = stats;
  const labels = { topic, consumer_group: group, is_system: String(isSystemTopic(topic)) };
  figures.counter("rocketmq_messages_out_total", "Messages given out", getNums, labels);
  figures.counter("rocketmq_throughput_out_total", "Bytes of records given out", getSize, labels);
  if (toDLQ > 0) {
    figures.counter("rocketmq_send_to_dlq_messages_total", "Messages that became dead letters", toDLQ, labels);
  }
  const exporter = { topic, group };
  figures.gauge("rocketmq_consumer_tps", "Messages given out per second", getTps, exporter);
  figures.gauge("rocketmq_consumer_message_size", "Bytes given out per second", getSizeTps, exporter);
  figures.gauge("rocketmq_send_back_nums", "Messages sent back in the last minute", sendBackNums, exporter);
}

/** Ends of the topics' queues. */
function addOffsets(figures: Figures, { store }: ClientFigureParts): void {
  const sums = new Map<string, number>();
  for (const { topic, maxOffset } of store.queues()) sums.set(topic, (sums.get(topic) ?? 0) + maxOffset);
  for (const [topic, offset] of sums) {
    const help = "Messages ever put, by queue ends";
    if (isDLQTopic(topic)) figures.gauge("rocketmq_topic_dlq_offset", help, offset, { group: groupOfDLQ(topic) });
    else if (isRetryTopic(topic)) figures.gauge("rocketmq_topic_retry_offset", help, offset, { topic });
    else figures.gauge("rocketmq_producer_offset", help, offset, { topic });
  }
}

function groupOfDLQ(topic: string): string {
  return topic.slice("%DLQ%".length);
}

function addClients(figures: Figures, { producers, consumers }: ClientFigureParts): void {
  for (const [group, members] of producers.groups()) {
    figures.gauge("rocketmq_producer_count", "Producers", members.length, { group });
  }
  const connections = "Connections of clients";
  for (const [labels, count] of countByVersion([...producers.groups().values()].flat())) {
    figures.gauge("rocketmq_producer_connections", connections, count, labels);
  }
  for (const name of consumers.groupNames()) {
    const group = consumers.getConsumerGroupInfo(name)!;
    const members = group.channels();
    figures.gauge("rocketmq_group_count", "Consumers", members.length, {
      group: name,
      caddr: members.map((member) => member.connection.remoteAddress).join(","),
      localaddr: members.map((member) => member.clientId).join(","),
    });
    const consume_mode = { CONSUME_ACTIVELY: "pull", CONSUME_PASSIVELY: "push", CONSUME_POP: "pop" }[group.consumeType];
    for (const [labels, count] of countByVersion(members)) {
      const own = { ...labels, consumer_group: name, consume_mode };
      figures.gauge("rocketmq_consumer_connections", connections, count, own);
    }
  }
}

function countByVersion(members: readonly ClientChannelInfo[]): [Labels, number][] {
  const counts = new Map<string, [Labels, number]>();
  for (const { language, version } of members) {
    const key = `${language} ${version}`;
    const entry = counts.get(key) ?? [{ language: language.toLowerCase(), version: String(version) }, 0];
    entry[1]++;
    counts.set(key, entry);
  }
  return [...counts.values()];
}

/** How far the group is behind in each topic it has offsets in. */
function addGroup(figures: Figures, parts: ClientFigureParts, group: string): void {
  const info = parts.consumers.getConsumerGroupInfo(group);
  const online = {
    countOfOnlineConsumers: String(info?.channels().length ?? 0),
    msgModel: info?.messageModel === "BROADCASTING" ? "0" : "1",
  };
  for (const topic of parts.offsets.whichTopicByConsumer(group)) {
    const progress = progressOf(parts, group, topic);
    if (progress === null) continue;
    const { diff, inflight, brokerOffset, consumerOffset, lagMs } = progress;
    const isRetry = isRetryTopic(topic);
    const labels = { topic, consumer_group: group, is_retry: String(isRetry), is_system: String(isSystemTopic(topic)) };
    figures.gauge("rocketmq_consumer_lag_messages", "Messages not consumed yet", diff, labels);
    figures.gauge("rocketmq_consumer_inflight_messages", "Messages given out and not consumed yet", inflight, labels);
    figures.gauge("rocketmq_consumer_ready_messages", "Messages not given out yet", diff - inflight, labels);
    figures.gauge("rocketmq_consumer_lag_latency", "Age of the oldest message not consumed, ms", lagMs, labels);
    const exporter = { topic, group };
    figures.gauge("rocketmq_group_diff", "Messages not consumed yet", diff, { ...exporter, ...online });
    if (isRetry && groupOfRetryTopic(topic) === group) {
      figures.gauge("rocketmq_group_retrydiff", "Messages to try again", diff, { ...exporter, ...online });
    }
    figures.gauge("rocketmq_consumer_offset", "Ends of the group's queues, summed", brokerOffset, exporter);
    figures.gauge("rocketmq_group_consume_total_offset", "Offsets of the group, summed", consumerOffset, exporter);
    const help = "Age of the oldest message not consumed, ms";
    figures.gauge("rocketmq_group_get_latency_by_storetime", help, lagMs, exporter);
  }
}

interface Progress {
  readonly diff: number;
  readonly inflight: number;
  readonly brokerOffset: number;
  readonly consumerOffset: number;
  readonly lagMs: number;
}

function progressOf(parts: ClientFigureParts, group: string, topic: string): Progress | null {
  const { topics, offsets, store, clock } = parts;
  const config = topics.selectTopicConfig(topic);
  if (config === null) return null;
  const sum = { diff: 0, inflight: 0, brokerOffset: 0, consumerOffset: 0, lagMs: 0 };
  for (let queueId = 0; queueId < config.readQueueNums; queueId++) {
    const consumerOffset = offsets.queryOffset(group, topic, queueId);
    if (consumerOffset < 0) continue;
    const brokerOffset = store.getMaxOffsetInQueue(topic, queueId);
    const next = Math.max(consumerOffset, store.getMinOffsetInQueue(topic, queueId));
    const pulled = Math.min(offsets.queryPullOffset(group, topic, queueId), brokerOffset);
    sum.brokerOffset += brokerOffset;
    sum.consumerOffset += consumerOffset;
    if (next >= brokerOffset) continue;
    sum.diff += brokerOffset - next;
    sum.inflight += Math.max(0, pulled - next);
    const storedAt = store.getMessageStoreTimeStamp(topic, queueId, next);
    if (storedAt >= 0) sum.lagMs = Math.max(sum.lagMs, clock.now() - storedAt);
  }
  return sum;
}
