// What follows from a change in a consumer group: its members hear of it, its filters come and go with it. The
// ConsumerManager calls it, synchronously: what is sent here leaves before the answer to the heartbeat that caused it.

import type { Config } from "../../config/schema.ts";
import type { SubscriptionData } from "../filter/subscription_data.ts";
import type { Broker2Client } from "./broker2client.ts";
import type { ClientChannelInfo } from "./client_channel_info.ts";

/** Hears of changes of consumer groups. Mirrors Apache's `ConsumerIdsChangeListener`. */
export interface ConsumerIdsChangeListener {
  /** Members or topics changed; `channels` are the members now. Not called for BROADCASTING. */
  changed(group: string, channels: readonly ClientChannelInfo[]): void;
  /** A heartbeat with subscriptions was taken. */
  registered(group: string, subs: readonly SubscriptionData[]): void;
  /** The last member is gone. */
  unregistered(group: string): void;
}

/** The part of `ConsumerFilterManager` used here. */
export interface ConsumerFilterPort {
  register(group: string, subs: readonly SubscriptionData[]): void;
  unRegister(group: string): void;
}

/** What {@link defaultConsumerIdsChangeListener} needs. */
export interface ConsumerIdsChangeOptions {
  readonly broker2Client: Pick<Broker2Client, "notifyConsumerIdsChanged">;
  readonly filters: ConsumerFilterPort;
  readonly config: Pick<Config, "notifyConsumerIdsChangedEnable">;
}

/** Mirrors Apache's `DefaultConsumerIdsChangeListener` as it is by default: it tells the members at once. */
export function defaultConsumerIdsChangeListener(options: ConsumerIdsChangeOptions): ConsumerIdsChangeListener {
  const { broker2Client, filters, config } = options;
  return {
    changed(group, channels) {
      if (!config.notifyConsumerIdsChangedEnable) return;
      for (const { connection } of channels) broker2Client.notifyConsumerIdsChanged(connection, group);
    },
    registered: (group, subs) => filters.register(group, subs),
    unregistered: (group) => filters.unRegister(group),
  };
}
