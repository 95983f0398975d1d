// A message of the log as one to put again: what delayed, timer and transactional messages have in common.

import { parseJavaInteger } from "../base/java_integer.ts";
import { MessageConst } from "../store/message_properties.ts";
import type { MessageToPut, StoredMessage } from "../store/types.ts";

/** A message to put that was stored before. */
export interface MessageCopy extends MessageToPut {
  /** When it, or what it is a copy of, was first seen, Unix ms: born or stored, whichever is earlier. */
  readonly since: number;
}

/** The message as it is, at its own place; its properties are shared, not copied. */
export function copyOf(message: StoredMessage): MessageCopy {
  const { topic, queueId, body, properties, flag, sysFlag, bornTimestamp, bornHost, storeHost, reconsumeTimes } =
    message;
  return {
    topic,
    queueId,
    body,
    properties,
    flag,
    sysFlag,
    bornTimestamp,
    bornHost,
    storeHost,
    reconsumeTimes,
    preparedTransactionOffset: 0,
    since: Math.min(bornTimestamp, message.storeTimestamp),
  };
}

/** Where a message belongs that waits in a topic of the system; null when it names no such place. */
export function realPlaceOf(waiting: Pick<StoredMessage, "properties">): { topic: string; queueId: number } | null {
  const topic = waiting.properties.get(MessageConst.PROPERTY_REAL_TOPIC);
  const queueId = parseJavaInteger(waiting.properties.get(MessageConst.PROPERTY_REAL_QUEUE_ID) ?? "");
  return topic === undefined || queueId === null || queueId < 0 ? null : { topic, queueId };
}
