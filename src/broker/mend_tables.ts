// What a broker that begins to take puts mends of its tables, by what its log holds: the two part when power was lost, or
// when a slave is promoted before it has copied its master's last changes.

import type { Logger } from "../base/logger.ts";
import type { MessageStore } from "../store/message_store.ts";
import type { ConfigManagers } from "./config_managers.ts";

/** Where it looks, and what it mends. */
export interface MendTablesParts {
  readonly store: Pick<MessageStore, "queues" | "getMessageStoreTimeStamp">;
  readonly managers: Pick<ConfigManagers, "consumerOffsetManager" | "topicConfigManager">;
  readonly logger: Logger;
}

/** To be called when every message of the log is dispatched and before one is put. */
export function mendTables({ store, managers, logger }: MendTablesParts): void {
  const lowered = managers.consumerOffsetManager.lowerToQueueEnds();
  if (lowered > 0) {
    logger.warn("Groups had consumed more than the log holds; they go on at the end of their queues", {
      queues: lowered,
    });
  }
  const topics = managers.topicConfigManager;
  const unknown = new Map<string, { queueIdMax: number; lastStoreTimestamp: number }>();
  for (const { topic, queueId, minOffset, maxOffset } of store.queues()) {
    if (maxOffset <= minOffset || topics.selectTopicConfig(topic) !== null) continue;
    const known = unknown.get(topic) ?? { queueIdMax: 0, lastStoreTimestamp: 0 };
    const storeTimestamp = store.getMessageStoreTimeStamp(topic, queueId, maxOffset - 1);
    unknown.set(topic, {
      queueIdMax: Math.max(known.queueIdMax, queueId),
      lastStoreTimestamp: Math.max(known.lastStoreTimestamp, storeTimestamp),
    });
  }
  for (const [topic, { queueIdMax, lastStoreTimestamp }] of unknown) {
    topics.restoreTopic(topic, queueIdMax, lastStoreTimestamp);
  }
}
