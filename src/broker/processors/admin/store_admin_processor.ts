// The store and its figures as administrators see them: queue entries (321), statistics (315), clean-ups (306, 316, 329),
// and two things others tell that mean nothing here (905, 908). The rules of expiry are the store's.

import { errorMessage } from "../../../base/errors.ts";
import type { Logger } from "../../../base/logger.ts";
import { type JavaJson, type JavaJsonObject, javaJsonObject } from "../../../remoting/java_json.ts";
import { createResponse, type RemotingCommand, requiredExt } from "../../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import type { SubscriptionData } from "../../filter/subscription_data.ts";
import type { StatsSnapshot } from "../../stats/stats_item.ts";
import { isSystemTopic } from "../../topic_validator.ts";
import { answerDone, answerJson, integerExt, refusal, subscriptionDataJson, textExt } from "./admin_request.ts";

/** What the processor needs. */
export interface StoreAdminPorts {
  readonly logger: Logger;
  readonly topics: { topicNames(): string[] };
  readonly consumers: { findSubscriptionData(group: string, topic: string): SubscriptionData | null };
  readonly filters: { get(topic: string, consumerGroup: string): object | null };
  readonly stats: {
    view(
      statsName: string,
      statsKey: string,
    ): { readonly minute: StatsSnapshot; readonly hour: StatsSnapshot; readonly day: StatsSnapshot } | null;
    onTopicDeleted(topic: string): void;
  };
  readonly store: {
    queues(): { topic: string; queueId: number; minOffset: number; maxOffset: number }[];
    readConsumeQueue(topic: string, queueId: number, fromIndex: number, maxCount: number): readonly QueueEntry[];
    deleteTopics(topics: string[]): unknown;
    cleanExpired(): Promise<void>;
    deleteExpiredFilesManually(): Promise<void>;
  };
}

/** An entry of a consume queue. */
export interface QueueEntry {
  readonly pos: number;
  readonly size: number;
  readonly tagsCode: number;
}

/** Entries of one answer; about 80 bytes each. */
const ENTRIES_MAX = 100_000;
const LMQ_PREFIX = "%LMQ%";

/** Mirrors the store's part of Apache's `AdminBrokerProcessor`. */
export function storeAdminProcessors(ports: StoreAdminPorts): Map<number, RequestProcessor> {
  const { store, logger } = ports;
  return new Map<number, RequestProcessor>([
    [RequestCode.VIEW_BROKER_STATS_DATA, (request) => viewBrokerStatsData(ports, request)],
    [RequestCode.QUERY_CONSUME_QUEUE, (request) => queryConsumeQueue(ports, request)],
    [RequestCode.CLEAN_EXPIRED_CONSUMEQUEUE, async (request, context) => {
      logger.info("Expired files are removed", { by: context.remoteAddress });
      await store.cleanExpired();
      return answerDone(request);
    }],
    [RequestCode.DELETE_EXPIRED_COMMITLOG, (request, context) => {
      logger.warn("Expired files are removed, whatever the hour", { by: context.remoteAddress });
      // As in Apache the answer does not wait: there may be many.
      store.deleteExpiredFilesManually().catch((error: unknown) =>
        logger.error("Removing expired files failed", { error: errorMessage(error) })
      );
      return answerDone(request);
    }],
    [RequestCode.CLEAN_UNUSED_TOPIC, (request, context) => cleanUnusedTopic(ports, request, context)],
    // Slaves don't act for their master here, so which broker of a group has the least id changes nothing.
    [RequestCode.NOTIFY_MIN_BROKER_ID_CHANGE, (request) => answerDone(request)],
    // Apache's slave keeps it for its own start; ours compares bytes with its master instead.
    [RequestCode.RESET_MASTER_FLUSH_OFFSET, (request) => {
      integerExt(request, "masterFlushOffset");
      return answerDone(request);
    }],
  ]);
}

function viewBrokerStatsData({ stats }: StoreAdminPorts, request: RemotingCommand): RemotingCommand {
  const statsName = requiredExt(request, "statsName");
  const statsKey = requiredExt(request, "statsKey");
  const found = stats.view(statsName, statsKey);
  if (found === null) {
    throw refusal(ResponseCode.SYSTEM_ERROR, `The stats <${statsName}> <${statsKey}> not exist`);
  }
  const item = ({ sum, tps, avgpt }: StatsSnapshot) => javaJsonObject({ avgpt, sum, tps });
  return answerJson(request, {
    statsDay: item(found.day),
    statsHour: item(found.hour),
    statsMinute: item(found.minute),
  });
}

function queryConsumeQueue(ports: StoreAdminPorts, request: RemotingCommand): RemotingCommand {
  const { store } = ports;
  const topic = requiredExt(request, "topic");
  const queueId = integerExt(request, "queueId");
  const index = integerExt(request, "index");
  const count = Math.min(integerExt(request, "count"), ENTRIES_MAX);
  const queue = store.queues().find((one) => one.topic === topic && one.queueId === queueId);
  if (queue === undefined) throw refusal(ResponseCode.SYSTEM_ERROR, `${queueId}@${topic} is not exist!`);
  if (index < queue.minOffset || index >= queue.maxOffset) {
    // Apache's answer: a success that says why it is empty.
    const remark = `Index ${index} of ${queueId}@${topic} is not exist!`;
    return createResponse(request, ResponseCode.SUCCESS, { remark });
  }
  const queueData: JavaJson[] = [];
  while (queueData.length < count) {
    const entries = store.readConsumeQueue(topic, queueId, index + queueData.length, count - queueData.length);
    if (entries.length === 0) break;
    for (const { pos, size, tagsCode } of entries) {
      queueData.push(javaJsonObject({ eval: false, physicOffset: pos, physicSize: size, tagsCode }));
    }
  }
  return answerJson(request, {
    ...filterOf(ports, textExt(request, "consumerGroup"), topic),
    maxQueueIndex: queue.maxOffset,
    minQueueIndex: queue.minOffset,
    queueData,
  });
}

function filterOf(
  { consumers, filters }: StoreAdminPorts,
  group: string | null,
  topic: string,
): { filterData?: string; subscriptionData?: JavaJsonObject } {
  if (group === null) return {};
  const data = consumers.findSubscriptionData(group, topic);
  if (data === null) return { filterData: `${group}@${topic} is not online!` };
  const filterData = JSON.stringify(filters.get(topic, group), plainMembers, "\t");
  return { filterData, subscriptionData: subscriptionDataJson(data) };
}

/** A filter's compiled form is none of the reader's business, and no JSON. */
function plainMembers(key: string, value: unknown): unknown {
  return key === "compiledExpression" ? undefined : value;
}

async function cleanUnusedTopic(
  ports: StoreAdminPorts,
  request: RemotingCommand,
  { remoteAddress }: RequestContext,
): Promise<RemotingCommand> {
  const { store, topics, stats, logger } = ports;
  const known = new Set(topics.topicNames());
  const withQueues = new Set(store.queues().map((queue) => queue.topic));
  const unused = [...withQueues].filter((topic) =>
    !known.has(topic) && !isSystemTopic(topic) && !topic.startsWith(LMQ_PREFIX)
  );
  for (const topic of unused) stats.onTopicDeleted(topic);
  if (unused.length > 0) {
    logger.warn("Queues of topics that are gone are removed", { topics: unused.join(" "), by: remoteAddress });
    await store.deleteTopics(unused);
  }
  return answerDone(request);
}
