// A message of the log as one to put again: what delayed, timer and transactional messages have in common.

import type { MessageToPut, StoredMessage } from "../store/types.ts";

/** The message as it is, at its own place; its properties are shared, not copied. */
export function copyOf(message: StoredMessage): MessageToPut {
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
  };
}
