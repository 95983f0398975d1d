// The tables of config/ that a master hands out and a slave copies, each in the file that Apache keeps it in.

import type { Config } from "../config/schema.ts";
import type { ConfigManagerOptions } from "./config_manager.ts";
import { ConsumerOffsetManager, MessageRequestModeManager } from "./consumer_offset_manager.ts";
import { DelayOffsetManager } from "./schedule/delay_offset_manager.ts";
import { SubscriptionGroupManager } from "./subscription_group_manager.ts";
import { systemTopics } from "./system_topics.ts";
import { TopicConfigManager } from "./topic_config_manager.ts";

/** The tables a slave copies and a master hands out. */
export interface ConfigManagers {
  readonly topicConfigManager: TopicConfigManager;
  readonly consumerOffsetManager: ConsumerOffsetManager;
  readonly delayOffsetManager: DelayOffsetManager;
  readonly subscriptionGroupManager: SubscriptionGroupManager;
  readonly messageRequestModeManager: MessageRequestModeManager;
}

/** All of them, read from their files. */
export function loadConfigManagers(options: ConfigManagerOptions & { config: Config }): ConfigManagers {
  const managers = {
    topicConfigManager: new TopicConfigManager(options),
    consumerOffsetManager: new ConsumerOffsetManager(options),
    delayOffsetManager: new DelayOffsetManager(options),
    subscriptionGroupManager: new SubscriptionGroupManager(options),
    messageRequestModeManager: new MessageRequestModeManager(options),
  };
  managers.topicConfigManager.setSystemTopics(systemTopics(options.config));
  for (const manager of Object.values(managers)) manager.load();
  return managers;
}
