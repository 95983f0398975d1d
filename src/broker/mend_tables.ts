// What a broker that begins to take puts mends of its tables, by what its log holds: the two part when power was lost, or
// when a slave is promoted before it has copied its master's last changes.

import { IoError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { MessageStore } from "../store/message_store.ts";
import type { ConfigManagers } from "./config_managers.ts";

/** Where it looks, and what it mends. */
export interface MendTablesParts {
  readonly store: Pick<MessageStore, "queues" | "getMessageTimes">;
  readonly managers: Pick<ConfigManagers, "consumerOffsetManager" | "topicConfigManager">;
  readonly logger: Logger;
}

/** To be called when every message of the log is dispatched and before one is put. Never throws for the disk's sake. */
export function mendTables({ store, managers, logger }: MendTablesParts): void {
  const lowered = managers.consumerOffsetManager.lowerToQueueEnds();
  if (lowered > 0) {
    logger.warn("Groups had consumed more than the log holds; they go on at the end of their queues", {
      queues: lowered,
    });
  }
  const topics = managers.topicConfigManager;
  const unknown = new Map<string, { queueIdMax: number; timestamp: number }>();
  for (const { topic, queueId, maxOffset } of store.queues()) {
    const known = topics.selectTopicConfig(topic);
    if (known !== null && queueId < Math.max(known.readQueueNums, known.writeQueueNums)) continue;
    try {
      const times = store.getMessageTimes(topic, queueId, maxOffset - 1);
      if (times === null) continue;
      // A message that waited for its time was born before its topic may have been deleted, and stored after.
      const timestamp = Math.min(times.bornTimestamp, times.storeTimestamp);
      const before = unknown.get(topic) ?? { queueIdMax: 0, timestamp: 0 };
      unknown.set(topic, {
        queueIdMax: Math.max(before.queueIdMax, queueId),
        timestamp: Math.max(before.timestamp, timestamp),
      });
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      logger.warn("Can't read the last message of a queue, which no table has", { topic, error: error.message });
    }
  }
  for (const [topic, { queueIdMax, timestamp }] of unknown) topics.restoreTopic(topic, queueIdMax, timestamp);
}
