// Topics, groups and clients as the admin API sees them: ClientsPort over the managers. It only translates and asks; the
// rules are the managers'. Changes are refused on a slave, whose tables are its master's.

import type { AdminOutcome } from "../admin/admin_port.ts";
import type {
  ClientsPort,
  ClientView,
  GroupDetail,
  GroupView,
  NamesrvView,
  OffsetReset,
  ProducerView,
  QueueProgress,
  TopicChange,
  TopicView,
} from "../admin/clients_port.ts";
import { errorMessage, RemotingError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { MessageStore } from "../store/message_store.ts";
import type { ClientChannelInfo } from "./client/client_channel_info.ts";
import type { ConsumerManager } from "./client/consumer_manager.ts";
import type { ProducerManager } from "./client/producer_manager.ts";
import type { ConsumerOffsetManager } from "./consumer_offset_manager.ts";
import type { SubscriptionGroupManager } from "./subscription_group_manager.ts";
import { forgetTopic, type TopicKeepers } from "./forget_topic.ts";
import { TOPIC_DEFAULTS, type TopicConfigManager } from "./topic_config_manager.ts";
import { isSystemTopic } from "./topic_validator.ts";

/** What it looks at. */
export interface ClientsAdminParts {
  readonly topics: TopicConfigManager;
  readonly groups: SubscriptionGroupManager;
  readonly offsets: ConsumerOffsetManager;
  readonly consumers: ConsumerManager;
  readonly producers: ProducerManager;
  readonly store: Pick<
    MessageStore,
    "queues" | "getMinOffsetInQueue" | "getMaxOffsetInQueue" | "getOffsetByTime" | "deleteTopics"
  >;
  readonly stats: TopicKeepers["stats"];
  readonly timerMetrics: TopicKeepers["timerMetrics"];
  readonly logger: Logger;
  /** Topics this broker has from its start. */
  readonly systemTopicNames: ReadonlySet<string>;
  /** Why tables can't be changed here, null when they can. */
  readonly readOnlyReason: () => string | null;
  readonly namesrv: () => NamesrvView | null;
}

const DONE: AdminOutcome = { type: "done" };

/** Implements {@link ClientsPort} for a broker. */
export class ClientsAdmin implements ClientsPort {
  readonly #parts: ClientsAdminParts;

  constructor(parts: ClientsAdminParts) {
    this.#parts = parts;
  }

  topics(): TopicView[] {
    const { topics, store } = this.#parts;
    const messages = new Map<string, number>();
    for (const { topic, minOffset, maxOffset } of store.queues()) {
      messages.set(topic, (messages.get(topic) ?? 0) + maxOffset - minOffset);
    }
    return topics.topicNames().sort().flatMap((name) => {
      const config = topics.selectTopicConfig(name);
      if (config === null) return [];
      const { readQueueNums, writeQueueNums, perm, topicFilterType, order, attributes } = config;
      const system = this.#isSystem(name);
      const figures = { system, messages: messages.get(name) ?? 0 };
      return [{ topic: name, readQueueNums, writeQueueNums, perm, topicFilterType, order, attributes, ...figures }];
    });
  }

  updateTopic({ topic, ...change }: TopicChange): AdminOutcome {
    return this.#change(() => {
      const { topics } = this.#parts;
      if (this.#isSystem(topic)) return refused(`Topic "${topic}" is one of the system's own`);
      const given = Object.fromEntries(Object.entries(change).filter((entry) => entry[1] !== undefined));
      topics.updateTopicConfig({ ...TOPIC_DEFAULTS, ...topics.selectTopicConfig(topic), ...given, topicName: topic });
      return DONE;
    });
  }

  deleteTopic(topic: string): AdminOutcome | null {
    const { topics, store } = this.#parts;
    if (topics.selectTopicConfig(topic) === null) return null;
    return this.#change(() => {
      if (this.#isSystem(topic)) return refused(`Topic "${topic}" is one of the system's own`);
      forgetTopic(this.#parts, topic);
      store.deleteTopics([topic]).catch((error: unknown) =>
        this.#parts.logger.error("Can't remove the queues of a deleted topic", { topic, error: errorMessage(error) })
      );
      return DONE;
    });
  }

  groups(): GroupView[] {
    const { groups, consumers } = this.#parts;
    const names = new Set([...groups.groupNames(), ...consumers.groupNames()]);
    return [...names].sort().map((name) => this.#view(name, this.#progress(name)));
  }

  group(group: string): GroupDetail | null {
    const { groups, consumers, offsets } = this.#parts;
    const info = consumers.getConsumerGroupInfo(group);
    const isKnown = info !== null || groups.selectSubscriptionGroupConfig(group) !== null;
    if (!isKnown && offsets.whichTopicByConsumer(group).length === 0) return null;
    const progress = this.#progress(group);
    const subscriptions = [...info?.subscriptions().values() ?? []].map(({ topic, expressionType, subString }) => ({
      topic,
      type: expressionType,
      expression: subString,
    }));
    const members = (info?.channels() ?? []).map(clientView);
    return { ...this.#view(group, progress), members, subscriptions, progress };
  }

  deleteGroup(group: string): AdminOutcome | null {
    const { groups, offsets } = this.#parts;
    if (this.group(group) === null) return null;
    return this.#change(() => {
      groups.deleteSubscriptionGroupConfig(group);
      offsets.removeGroup(group);
      return DONE;
    });
  }

  resetOffset({ group, topic, timestamp }: OffsetReset): AdminOutcome {
    const { topics, groups, offsets, store } = this.#parts;
    return this.#change(() => {
      const config = topics.selectTopicConfig(topic);
      if (config === null) return refused(`Topic "${topic}" does not exist here`);
      if (groups.selectSubscriptionGroupConfig(group) === null) return refused(`Group "${group}" is not known here`);
      for (let queueId = 0; queueId < config.readQueueNums; queueId++) {
        const offset = timestamp < 0
          ? store.getMaxOffsetInQueue(topic, queueId)
          : store.getOffsetByTime(topic, queueId, timestamp);
        offsets.assignResetOffset(group, topic, queueId, offset);
        offsets.commitOffset(group, topic, queueId, offset);
      }
      return DONE;
    });
  }

  producers(): ProducerView[] {
    return [...this.#parts.producers.groups()].map(([group, members]) => ({ group, members: members.map(clientView) }));
  }

  namesrv(): NamesrvView | null {
    return this.#parts.namesrv();
  }

  #isSystem(topic: string): boolean {
    return isSystemTopic(topic) || this.#parts.systemTopicNames.has(topic);
  }

  #view(group: string, progress: readonly QueueProgress[]): GroupView {
    const info = this.#parts.consumers.getConsumerGroupInfo(group);
    const config = this.#parts.groups.selectSubscriptionGroupConfig(group);
    return {
      group,
      consumeType: info?.consumeType ?? null,
      messageModel: info?.messageModel ?? null,
      clients: info?.channels().length ?? 0,
      topics: [...new Set([...info?.subscriptions().keys() ?? [], ...progress.map((one) => one.topic)])],
      diffTotal: progress.reduce((sum, one) => sum + one.diff, 0),
      retryMaxTimes: config?.retryMaxTimes ?? 16,
      consumeEnable: config?.consumeEnable ?? true,
    };
  }

  #progress(group: string): QueueProgress[] {
    const { offsets, topics, store } = this.#parts;
    return offsets.whichTopicByConsumer(group).sort().flatMap((topic) => {
      const committed = offsets.offsetsOf(group, topic);
      const queueIds = new Set(committed.keys());
      const readQueueNums = topics.selectTopicConfig(topic)?.readQueueNums ?? 0;
      for (let queueId = 0; queueId < readQueueNums; queueId++) queueIds.add(queueId);
      return [...queueIds].sort((a, b) => a - b).map((queueId) => {
        const brokerOffset = store.getMaxOffsetInQueue(topic, queueId);
        const consumerOffset = committed.get(queueId) ?? 0;
        return { topic, queueId, brokerOffset, consumerOffset, diff: Math.max(0, brokerOffset - consumerOffset) };
      });
    });
  }

  #change(change: () => AdminOutcome): AdminOutcome {
    const reason = this.#parts.readOnlyReason();
    if (reason !== null) return refused(reason);
    try {
      return change();
    } catch (error) {
      if (error instanceof RemotingError) return refused(errorMessage(error));
      throw error;
    }
  }
}

function clientView({ clientId, connection, language, version, lastUpdateTimestamp }: ClientChannelInfo): ClientView {
  return {
    clientId,
    address: connection.remoteAddress,
    language,
    version: versionText(version),
    lastUpdateTimestamp,
  };
}

/** `V5_3_3` of 479, as far as the numbering is regular; the number else. Mirrors `MQVersion.getVersionDesc`. */
function versionText(version: number): string {
  if (version >= 413 && version < 600) {
    const after = version - 413;
    return `V5_${Math.floor(after / 20)}_${Math.floor((after % 20) / 2)}${after % 2 === 1 ? "_SNAPSHOT" : ""}`;
  }
  if (version >= 393) return `V4_9_${Math.floor((version - 393) / 2)}${version % 2 === 0 ? "_SNAPSHOT" : ""}`;
  return String(version);
}

function refused(reason: string): AdminOutcome {
  return { type: "refused", reason };
}
