// What the admin API asks of a broker about its topics, groups and clients; a part of AdminPort with a file of its own.
// Queue offsets count messages, times are Unix ms.

import type { AdminOutcome } from "./admin_port.ts";

/** A topic. Carries the fields of Apache's `TopicConfig`, and figures. */
export interface TopicView {
  readonly topic: string;
  readonly readQueueNums: number;
  readonly writeQueueNums: number;
  /** 4 read, 2 write, 1 may be a template. */
  readonly perm: number;
  readonly topicFilterType: string;
  readonly order: boolean;
  readonly attributes: Readonly<Record<string, string>>;
  /** One of the system's own. */
  readonly system: boolean;
  /** Messages held, over all queues. */
  readonly messages: number;
}

/** `PUT /topics/{topic}`, checked; what is absent stays, or takes its default. */
export interface TopicChange {
  readonly topic: string;
  readonly readQueueNums?: number;
  readonly writeQueueNums?: number;
  readonly perm?: number;
  readonly order?: boolean;
}

/** A consumer group in a list. */
export interface GroupView {
  readonly group: string;
  readonly consumeType: string | null;
  readonly messageModel: string | null;
  /** Members that are connected. */
  readonly clients: number;
  readonly topics: readonly string[];
  /** Messages it has still to consume, over all its topics. */
  readonly diffTotal: number;
  readonly retryMaxTimes: number;
  readonly consumeEnable: boolean;
}

/** A connected producer or consumer. */
export interface ClientView {
  readonly clientId: string;
  /** `host:port` of its connection. */
  readonly address: string;
  readonly language: string;
  readonly version: string;
  readonly lastUpdateTimestamp: number;
}

/** How far a group is in one queue. */
export interface QueueProgress {
  readonly topic: string;
  readonly queueId: number;
  readonly brokerOffset: number;
  readonly consumerOffset: number;
  readonly diff: number;
}

/** A consumer group with its members and progress. */
export interface GroupDetail extends GroupView {
  readonly members: readonly ClientView[];
  readonly subscriptions: readonly { readonly topic: string; readonly type: string; readonly expression: string }[];
  readonly progress: readonly QueueProgress[];
}

/** `POST /groups/{group}/reset`, checked: one topic to the messages stored at a time; -1 is the end. */
export interface OffsetReset {
  readonly group: string;
  readonly topic: string;
  readonly timestamp: number;
}

/** A producer group. */
export interface ProducerView {
  readonly group: string;
  readonly members: readonly ClientView[];
}

/** Brokers that the NameServer inside this node knows. */
export interface NamesrvView {
  readonly address: string;
  readonly topics: number;
  readonly brokers: readonly {
    readonly cluster: string;
    readonly brokerName: string;
    /** Addresses by brokerId. */
    readonly addresses: Readonly<Record<string, string>>;
  }[];
}

/** Topics, groups and clients of a broker. Changes are refused on a slave: it takes them from its master. */
export interface ClientsPort {
  topics(): readonly TopicView[];
  /** Makes the topic or changes it. */
  updateTopic(change: TopicChange): AdminOutcome;
  /** Removes the topic, its queues and the offsets of its consumers; `null` when there is none. */
  deleteTopic(topic: string): AdminOutcome | null;
  groups(): readonly GroupView[];
  /** `null` when nothing is known of the group. */
  group(group: string): GroupDetail | null;
  /** Forgets the group and its offsets; `null` when there is none. */
  deleteGroup(group: string): AdminOutcome | null;
  /** Sets the group's offsets in a topic; its consumers take them with their next pull. */
  resetOffset(reset: OffsetReset): AdminOutcome;
  producers(): readonly ProducerView[];
  /** `null` without a NameServer in this node. */
  namesrv(): NamesrvView | null;
}
