// Which consumers are there: groups, their members by connection and their subscriptions, from heartbeats; and what
// pulls without heartbeat tell of themselves. It decides what is a change and tells its listener; the words to the
// clients are the listener's. Driven by the heartbeat processor and by connections that end.

import { RemotingError } from "../../base/errors.ts";
import { LineLimiter } from "../../base/line_limiter.ts";
import type { LogFields, Logger } from "../../base/logger.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Clock } from "../../runtime/runtime.ts";
import type { SubscriptionData } from "../filter/subscription_data.ts";
import type { ClientChannelInfo } from "./client_channel_info.ts";
import { ClientTable } from "./client_table.ts";
import { CompensationTable } from "./compensation_table.ts";
import { ConsumerGroup, type ConsumerGroupInfo, type ConsumerTraits, weightOf } from "./consumer_group_info.ts";
import type { ConsumerIdsChangeListener } from "./consumer_ids_change_listener.ts";

/** What a {@link ConsumerManager} needs. */
export interface ConsumerManagerOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Pick<Config, "channelExpiredTimeout" | "subscriptionExpiredTimeout">;
  readonly listener: ConsumerIdsChangeListener;
}

/** What subscriptions of all groups may take in memory, characters. */
const SUBSCRIPTIONS_MAX = 64 * 1024 * 1024;

/** Mirrors Apache's `ConsumerManager`; it differs in telling the others of a group too when a member expires. */
export class ConsumerManager {
  readonly #options: ConsumerManagerOptions;
  readonly #groups = new Map<string, ConsumerGroup>();
  readonly #clients: ClientTable;
  readonly #compensation: CompensationTable;
  /** What the subscriptions of all groups take. */
  #weight = 0;
  readonly #lines = new LineLimiter();

  constructor(options: ConsumerManagerOptions) {
    this.#options = options;
    const { clock, config } = options;
    this.#clients = new ClientTable({
      clock,
      expiredTimeoutMs: () => config.channelExpiredTimeout,
      onExpired: (group, channel) => this.#expired(group, channel),
    });
    this.#compensation = new CompensationTable(clock, () => config.subscriptionExpiredTimeout);
  }

  /** Names of groups with live members. */
  groupNames(): string[] {
    return [...this.#groups.keys()];
  }

  /** The group's live members and subscriptions; null when it has no member. */
  getConsumerGroupInfo(group: string): ConsumerGroupInfo | null {
    return this.#groups.get(group) ?? null;
  }

  /** What the group subscribes to in the topic, by heartbeat or else by a recent pull; null: nothing known. */
  findSubscriptionData(group: string, topic: string): SubscriptionData | null {
    return this.#groups.get(group)?.subscriptions().get(topic) ?? this.#compensation.find(group, topic);
  }

  /** The member that calls itself so; null when there is none. */
  findChannel(group: string, clientId: string): ClientChannelInfo | null {
    for (const channel of this.#clients.members(group)?.values() ?? []) {
      if (channel.clientId === clientId) return channel;
    }
    return null;
  }

  /** The member on this connection; null when there is none. */
  findChannelByConnection(group: string, connection: RemotingConnection): ClientChannelInfo | null {
    return this.#clients.members(group)?.get(connection) ?? null;
  }

  /** Groups with live members that subscribe to the topic. (Apache's answer has the topic's name instead.) */
  queryTopicConsumeByWho(topic: string): string[] {
    return [...this.#groups.values()].filter((group) => group.subscriptions().has(topic)).map((one) => one.groupName);
  }

  /**
   * A heartbeat: `subs` are all topics of the group from now on. True when a member or a topic is new or gone; the
   * group's members are told then, unless `notify` is false. Throws {@link RemotingError} `SYSTEM_BUSY` when too many
   * clients are registered, or their subscriptions take too much.
   */
  registerConsumer(
    group: string,
    info: ClientChannelInfo,
    traits: ConsumerTraits,
    subs: readonly SubscriptionData[],
    notify = true,
  ): boolean {
    const weight = weightOf(subs);
    this.#checkWeight(group, weight);
    const { one, isNew } = this.#register(group, info, traits);
    this.#weight += weight - one.weight;
    one.weight = weight;
    const changed = one.updateSubscriptions(subs) || isNew;
    if (changed && notify) this.#notify(one);
    this.#options.listener.registered(group, subs);
    return changed;
  }

  /** A heartbeat that leaves the known subscriptions as they are (version 2, `withoutSub`). */
  registerConsumerWithoutSub(group: string, info: ClientChannelInfo, traits: ConsumerTraits, notify = true): boolean {
    const { one, isNew } = this.#register(group, info, traits);
    if (isNew && notify) this.#notify(one);
    return isNew;
  }

  /**
   * Notes the fingerprint of a heartbeat (0: version 1) and says which was noted before; null for the first of a group
   * with live members, and for others.
   */
  exchangeFingerprint(group: string, fingerprint: number): number | null {
    const one = this.#groups.get(group);
    if (one === undefined) return null;
    const before = one.fingerprint;
    one.fingerprint = fingerprint;
    return before;
  }

  /** A client says goodbye. */
  unregisterConsumer(group: string, info: Pick<ClientChannelInfo, "connection">, notify = true): void {
    this.#remove(group, info.connection, notify);
  }

  /** A connection ended: what was registered on it is gone, the other members are told. */
  onConnectionClosed(connection: RemotingConnection): void {
    for (const group of this.#clients.groupsOf(connection)) this.#remove(group, connection, true);
  }

  /** A pull without heartbeat brought its own subscription. */
  compensateSubscribeData(group: string, topic: string, sub: SubscriptionData): void {
    this.#compensation.put(group, topic, sub);
  }

  #checkWeight(group: string, weight: number): void {
    const next = this.#weight + weight - (this.#groups.get(group)?.weight ?? 0);
    if (next <= SUBSCRIPTIONS_MAX) return;
    throw new RemotingError(
      ResponseCode.SYSTEM_BUSY,
      `Can't take the subscriptions of group ${quoted(group, 300)}: those of all groups would take ${next} characters`,
    );
  }

  #register(group: string, info: ClientChannelInfo, traits: ConsumerTraits): { one: ConsumerGroup; isNew: boolean } {
    const registration = this.#clients.put(group, info);
    let one = this.#groups.get(group);
    if (one === undefined) {
      one = new ConsumerGroup(group, traits, this.#clients.members(group)!);
      this.#groups.set(group, one);
    } else one.setTraits(traits);
    one.lastUpdateTimestamp = this.#options.clock.now();
    if (registration === "new") this.#say("Consumer connected", group, info);
    if (registration === "renamed") this.#say("A consumer's connection has another client now", group, info);
    return { one, isNew: registration === "new" };
  }

  #remove(group: string, connection: RemotingConnection, notify: boolean): void {
    const channel = this.#clients.remove(group, connection);
    if (channel === null) return;
    this.#say("Consumer left", group, channel);
    this.#removed(group, notify);
  }

  #expired(group: string, channel: ClientChannelInfo): void {
    this.#say("Consumer expired, no heartbeat came", group, channel);
    this.#removed(group, true);
    channel.connection.close("idle", "No heartbeat came of its consumer");
  }

  #removed(group: string, notify: boolean): void {
    const one = this.#groups.get(group);
    if (one === undefined) return;
    if (this.#clients.members(group) === undefined) {
      this.#groups.delete(group);
      this.#weight -= one.weight;
      this.#options.listener.unregistered(group);
    } else if (notify) this.#notify(one);
  }

  /** Once a minute and host of each kind: one that comes and goes without end fills no log. */
  #say(message: string, group: string, { clientId, connection }: ClientChannelInfo): void {
    const { clock, logger } = this.#options;
    const remote = connection.remoteAddress;
    const repeated = this.#lines.admit(
      `${message} ${group} ${remote.slice(0, remote.lastIndexOf(":"))}`,
      clock.monotonic(),
    );
    if (repeated === null) return;
    const fields: LogFields = { group, clientId, remote };
    logger.info(message, repeated > 0 ? { ...fields, repeated } : fields);
  }

  #notify(one: ConsumerGroup): void {
    if (one.messageModel !== "BROADCASTING") this.#options.listener.changed(one.groupName, one.channels());
  }
}
