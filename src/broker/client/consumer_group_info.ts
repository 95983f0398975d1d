// The live members of one consumer group and what they subscribe to. The ConsumerManager changes it, everybody else
// reads it; it tells nobody of its changes.

import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import type { SubscriptionData } from "../filter/subscription_data.ts";
import type { ClientChannelInfo } from "./client_channel_info.ts";

/** How a group's members get messages: pull or lite pull, push, pop. Mirrors Apache's `ConsumeType`. */
export type ConsumeType = "CONSUME_ACTIVELY" | "CONSUME_PASSIVELY" | "CONSUME_POP";
/** Whether members share the queues or each have all of them. Mirrors Apache's `MessageModel`. */
export type MessageModel = "CLUSTERING" | "BROADCASTING";

/** What a heartbeat says of a group besides its members and topics. */
export interface ConsumerTraits {
  readonly consumeType: ConsumeType;
  readonly messageModel: MessageModel;
  /** `CONSUME_FROM_LAST_OFFSET` and its like; the client acts on it, not the broker. */
  readonly consumeFromWhere: string;
}

/** A consumer group with live members. Mirrors Apache's `ConsumerGroupInfo`. */
export interface ConsumerGroupInfo extends ConsumerTraits {
  readonly groupName: string;
  /** Unix ms of the last heartbeat of any member. */
  readonly lastUpdateTimestamp: number;
  channels(): readonly ClientChannelInfo[];
  clientIds(): string[];
  /** By topic. */
  subscriptions(): ReadonlyMap<string, SubscriptionData>;
}

/** {@link ConsumerGroupInfo} as its manager holds it. */
export class ConsumerGroup implements ConsumerGroupInfo {
  readonly groupName: string;
  consumeType: ConsumeType;
  messageModel: MessageModel;
  consumeFromWhere: string;
  lastUpdateTimestamp = 0;
  /** Fingerprint of the last heartbeat, 0 of one of version 1; null before the first. */
  fingerprint: number | null = null;
  readonly #members: ReadonlyMap<RemotingConnection, ClientChannelInfo>;
  readonly #subscriptions = new Map<string, SubscriptionData>();
  /** {@link weightOf} the heartbeat that was taken last. */
  weight = 0;

  /** `members` stays the manager's and changes under it. */
  constructor(
    groupName: string,
    traits: ConsumerTraits,
    members: ReadonlyMap<RemotingConnection, ClientChannelInfo>,
  ) {
    this.groupName = groupName;
    this.#members = members;
    this.consumeType = traits.consumeType;
    this.messageModel = traits.messageModel;
    this.consumeFromWhere = traits.consumeFromWhere;
  }

  channels(): readonly ClientChannelInfo[] {
    return [...this.#members.values()];
  }

  clientIds(): string[] {
    return Array.from(this.#members.values(), (member) => member.clientId);
  }

  subscriptions(): ReadonlyMap<string, SubscriptionData> {
    return this.#subscriptions;
  }

  /** The last heartbeat speaks for the whole group. */
  setTraits(traits: ConsumerTraits): void {
    this.consumeType = traits.consumeType;
    this.messageModel = traits.messageModel;
    this.consumeFromWhere = traits.consumeFromWhere;
  }

  /**
   * Takes the topics of a heartbeat, whole. A topic that came or went is a change; a later `subVersion` of a known one
   * is taken silently, an earlier one is not taken. Mirrors `ConsumerGroupInfo.updateSubscription`.
   */
  updateSubscriptions(subs: readonly SubscriptionData[]): boolean {
    let changed = false;
    const topics = new Set<string>();
    for (const sub of subs) {
      topics.add(sub.topic);
      const old = this.#subscriptions.get(sub.topic);
      if (old === undefined) changed = true;
      else if (sub.subVersion <= old.subVersion) continue;
      this.#subscriptions.set(sub.topic, sub);
    }
    for (const topic of this.#subscriptions.keys()) {
      if (topics.has(topic)) continue;
      this.#subscriptions.delete(topic);
      changed = true;
    }
    return changed;
  }
}

/** What subscriptions take in memory, roughly, characters. */
export function weightOf(subs: readonly SubscriptionData[]): number {
  let weight = 0;
  for (const { topic, subString, tagsSet, codeSet, expressionType } of subs) {
    weight += 256 + topic.length + subString.length + expressionType.length + 8 * codeSet.length;
    for (const tag of tagsSet) weight += 32 + tag.length;
  }
  return weight;
}
