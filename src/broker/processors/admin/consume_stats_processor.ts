// How far groups are behind, in messages and in time: 208, 317, 303. It only reads.

import type { Config } from "../../../config/schema.ts";
import { type JavaJson, type JavaJsonMap, type JavaJsonObject, javaJsonObject } from "../../../remoting/java_json.ts";
import { type RemotingCommand, requiredExt } from "../../../remoting/remoting_command.ts";
import type { RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import type { Clock } from "../../../runtime/runtime.ts";
import { messageQueueJson } from "../../client/message_queue.ts";
import type { TopicConfig } from "../../topic_config_manager.ts";
import { answerJson, booleanExt, refusal, textExt } from "./admin_request.ts";

/** What the processor needs. */
export interface ConsumeStatsPorts {
  readonly config: Pick<Config, "brokerName">;
  readonly clock: Pick<Clock, "now">;
  readonly topics: { selectTopicConfig(topic: string): TopicConfig | null };
  readonly groups: { groupNames(): string[] };
  readonly offsets: {
    queryOffset(group: string, topic: string, queueId: number): number;
    queryPullOffset(group: string, topic: string, queueId: number): number;
    whichTopicByConsumer(group: string): string[];
  };
  readonly consumers: {
    getConsumerGroupInfo(group: string): { subscriptions(): ReadonlyMap<string, unknown> } | null;
    findSubscriptionData(group: string, topic: string): unknown;
  };
  readonly store: {
    getMaxOffsetInQueue(topic: string, queueId: number): number;
    getMessageStoreTimeStamp(topic: string, queueId: number, queueOffset: number): number;
    getEarliestMessageTime(topic: string, queueId: number): number;
  };
  readonly stats: { tpsGroupGetNums(group: string, topic: string): number };
  /** `host:port` that clients are told. */
  readonly brokerAddr: () => string;
}

/** Mirrors the statistics of consumption in Apache's `AdminBrokerProcessor`. */
export function consumeStatsProcessors(ports: ConsumeStatsPorts): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.GET_CONSUME_STATS, (request) => getConsumeStats(ports, request)],
    [RequestCode.GET_BROKER_CONSUME_STATS, (request) => getBrokerConsumeStats(ports, request)],
    [RequestCode.QUERY_CONSUME_TIME_SPAN, (request) => queryConsumeTimeSpan(ports, request)],
  ]);
}

function getConsumeStats(ports: ConsumeStatsPorts, request: RemotingCommand): RemotingCommand {
  const group = requiredExt(request, "consumerGroup");
  const offsetTable: JavaJsonMap = new Map();
  let consumeTps = 0;
  for (const topic of topicsOf(ports, request, group)) {
    const config = ports.topics.selectTopicConfig(topic);
    if (config === null) continue;
    for (let queueId = 0; queueId < config.readQueueNums; queueId++) {
      const { json } = queueStats(ports, group, topic, queueId);
      offsetTable.set(queueJson(ports, topic, queueId), json);
    }
    consumeTps += ports.stats.tpsGroupGetNums(group, topic);
  }
  return answerJson(request, { consumeTps, offsetTable });
}

/** Topics named in the request, else those the group has offsets in; of a live group only what it subscribes to. */
function topicsOf(ports: ConsumeStatsPorts, request: RemotingCommand, group: string): string[] {
  const topicList = request.extFields.get("topicList")?.split(";").filter((topic) => topic.trim() !== "") ?? [];
  if (topicList.length > 0) return [...new Set(topicList)];
  const topic = textExt(request, "topic");
  const topics = topic === null ? ports.offsets.whichTopicByConsumer(group) : [topic];
  return topics.filter((name) => isConsumed(ports, group, name));
}

function isConsumed({ consumers }: ConsumeStatsPorts, group: string, topic: string): boolean {
  const subscriptions = consumers.getConsumerGroupInfo(group)?.subscriptions().size ?? 0;
  return subscriptions === 0 || consumers.findSubscriptionData(group, topic) !== null;
}

/** Mirrors Apache's `OffsetWrapper`. */
function queueStats(
  { offsets, store }: ConsumeStatsPorts,
  group: string,
  topic: string,
  queueId: number,
): { json: JavaJsonObject; diff: number; inflightDiff: number } {
  const brokerOffset = store.getMaxOffsetInQueue(topic, queueId);
  const consumerOffset = Math.max(0, offsets.queryOffset(group, topic, queueId));
  const pullOffset = Math.max(consumerOffset, offsets.queryPullOffset(group, topic, queueId));
  const timestamp = consumerOffset > 0 ? store.getMessageStoreTimeStamp(topic, queueId, consumerOffset - 1) : 0;
  const lastTimestamp = Math.max(0, timestamp);
  return {
    json: javaJsonObject({ brokerOffset, consumerOffset, lastTimestamp, pullOffset }),
    diff: brokerOffset - consumerOffset,
    inflightDiff: pullOffset - consumerOffset,
  };
}

/** Every group, one ConsumeStats per topic. (Apache leaves `pullOffset` out here, and its sum of them is below zero.) */
function getBrokerConsumeStats(ports: ConsumeStatsPorts, request: RemotingCommand): RemotingCommand {
  const { topics, groups, offsets, stats } = ports;
  const isOrder = booleanExt(request, "isOrder", false);
  const consumeStatsList: JavaJson[] = [];
  let totalDiff = 0;
  let totalInflightDiff = 0;
  for (const group of groups.groupNames()) {
    const ofGroup: JavaJson[] = [];
    for (const topic of offsets.whichTopicByConsumer(group)) {
      const config = topics.selectTopicConfig(topic);
      if (config === null || (isOrder && !config.order) || !isConsumed(ports, group, topic)) continue;
      const offsetTable: JavaJsonMap = new Map();
      for (let queueId = 0; queueId < config.writeQueueNums; queueId++) {
        const { json, diff, inflightDiff } = queueStats(ports, group, topic, queueId);
        offsetTable.set(queueJson(ports, topic, queueId), json);
        totalDiff += diff;
        totalInflightDiff += inflightDiff;
      }
      ofGroup.push(javaJsonObject({ consumeTps: stats.tpsGroupGetNums(group, topic), offsetTable }));
    }
    consumeStatsList.push(javaJsonObject({ [group]: ofGroup }));
  }
  return answerJson(request, { brokerAddr: ports.brokerAddr(), consumeStatsList, totalDiff, totalInflightDiff });
}

function queryConsumeTimeSpan(ports: ConsumeStatsPorts, request: RemotingCommand): RemotingCommand {
  const { topics, offsets, store, clock } = ports;
  const topic = requiredExt(request, "topic");
  const group = requiredExt(request, "group");
  const config = topics.selectTopicConfig(topic);
  if (config === null) throw refusal(ResponseCode.TOPIC_NOT_EXIST, `topic[${topic}] not exist`);
  const consumeTimeSpanSet: JavaJson[] = [];
  for (let queueId = 0; queueId < config.writeQueueNums; queueId++) {
    const minTimeStamp = store.getEarliestMessageTime(topic, queueId);
    const max = store.getMaxOffsetInQueue(topic, queueId);
    const timeAt = (offset: number) => store.getMessageStoreTimeStamp(topic, queueId, offset);
    const consumerOffset = offsets.queryOffset(group, topic, queueId);
    // A group without offset, or one behind what is still there, is as late as the oldest message.
    const nextTime = consumerOffset < max ? timeAt(Math.max(0, consumerOffset)) : -1;
    const oldest = nextTime >= 0 ? nextTime : minTimeStamp;
    const consumeTimeStamp = consumerOffset > 0 ? timeAt(consumerOffset - 1) : minTimeStamp;
    const maxTimeStamp = timeAt(max - 1);
    consumeTimeSpanSet.push(javaJsonObject({
      consumeTimeStamp,
      consumeTimeStampStr: dateText(consumeTimeStamp),
      delayTime: consumerOffset < max && oldest >= 0 ? clock.now() - oldest : 0,
      maxTimeStamp,
      maxTimeStampStr: dateText(maxTimeStamp),
      messageQueue: queueJson(ports, topic, queueId),
      minTimeStamp,
      minTimeStampStr: dateText(minTimeStamp),
    }));
  }
  return answerJson(request, { consumeTimeSpanSet });
}

function queueJson({ config }: ConsumeStatsPorts, topic: string, queueId: number): JavaJsonObject {
  return messageQueueJson({ topic, brokerName: config.brokerName, queueId });
}

/** `2026-11-28 13:33:51:529` in the machine's time zone. Mirrors `UtilAll.YYYY_MM_DD_HH_MM_SS_SSS`. */
function dateText(timestamp: number): string {
  const date = new Date(timestamp);
  const two = (number: number) => String(number).padStart(2, "0");
  const day = `${date.getFullYear()}-${two(date.getMonth() + 1)}-${two(date.getDate())}`;
  const time = `${two(date.getHours())}:${two(date.getMinutes())}:${two(date.getSeconds())}`;
  return `${day} ${time}:${String(date.getMilliseconds()).padStart(3, "0")}`;
}
