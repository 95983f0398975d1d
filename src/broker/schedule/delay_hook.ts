// Messages with a delay level on their way into the log: they wait in a topic of the system. Pure; delivering them is
// ScheduleMessageService's matter.

import { parseJavaInteger } from "../../base/java_integer.ts";
import type { Config } from "../../config/schema.ts";
import { DelayLevels, MessageConst } from "../../store/message_properties.ts";
import { isConsumable } from "../../store/message_sys_flag.ts";
import { type MessageToPut, PutMessageStatus } from "../../store/types.ts";
import type { PutMessageHook } from "../put_message_service.ts";
import { RMQ_SYS_SCHEDULE_TOPIC } from "../topic_validator.ts";

/**
 * The hook for delay levels. One above the highest counts as the highest. It comes after the timer's hook. Mirrors
 * `HookUtils.transformDelayLevelMessage`.
 */
export function delayHook(config: Pick<Config, "messageDelayLevel">): PutMessageHook {
  const { maxLevel } = new DelayLevels(config.messageDelayLevel);
  return (message) => {
    const text = message.properties.get(MessageConst.PROPERTY_DELAY_TIME_LEVEL);
    if (text === undefined || !isConsumable(message.sysFlag)) return message;
    const level = parseJavaInteger(text);
    if (level === null) {
      // Apache throws here, which its clients see as a SYSTEM_ERROR.
      return { status: PutMessageStatus.UNKNOWN_ERROR, remark: `DELAY is "${text.slice(0, 40)}", wanted an integer` };
    }
    return level > 0 ? delayed(message, Math.min(level, maxLevel)) : message;
  };
}

function delayed(message: MessageToPut, level: number): MessageToPut {
  const properties = new Map(message.properties);
  properties.set(MessageConst.PROPERTY_DELAY_TIME_LEVEL, String(level));
  properties.set(MessageConst.PROPERTY_REAL_TOPIC, message.topic);
  properties.set(MessageConst.PROPERTY_REAL_QUEUE_ID, String(message.queueId));
  return { ...message, topic: RMQ_SYS_SCHEDULE_TOPIC, queueId: delayLevel2QueueId(level), properties };
}

/** Queue of the schedule topic in which messages of that level wait. Mirrors the method of this name. */
export function delayLevel2QueueId(level: number): number {
  return level - 1;
}
