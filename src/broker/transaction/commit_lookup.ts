// Whether a transaction was committed already, told by the log itself: a committed message names the half message it was
// made of. Apache relies on op records alone, and after a crash that lost some commits twice.

import { MessageConst } from "../../store/message_properties.ts";
import { MessageSysFlag } from "../../store/message_sys_flag.ts";
import type { StoredMessage } from "../../store/types.ts";
import { realPlaceOf } from "../message_copy.ts";
import { RMQ_SYS_SCHEDULE_TOPIC, RMQ_SYS_TIMER_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC } from "../topic_validator.ts";
import { checkTimesOf, likenessOf, rootOf } from "./half_message.ts";

/** What it needs of the store. */
export interface CommitLookupStore {
  /** Whether every dispatched message can be found by key. */
  readonly isIndexComplete: boolean;
  queryMessage(
    topic: string,
    key: string,
    maxNum: number,
    begin: number,
    end: number,
  ): Promise<readonly StoredMessage[]>;
  lookMessageByOffset(offset: number): Promise<StoredMessage | null>;
}

/** Messages of one unique key looked at. */
const FOUND_MAX = 64;
/** Store times may step back. */
const CLOCK_SLACK_MS = 60_000;

/** Whether the log holds a message committed from this half message or another of its transaction. Throws `IoError`. */
export async function isCommitted(store: CommitLookupStore, half: StoredMessage): Promise<boolean> {
  const key = half.properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
  const real = realPlaceOf(half);
  if (key === undefined || real === null) return false;
  // One that was put back may have been committed before it was.
  const wasPutBack = rootOf(half) !== half.queueOffset || checkTimesOf(half) > 0;
  const begin = wasPutBack ? 0 : half.storeTimestamp - CLOCK_SLACK_MS;
  // A committed message with a delay goes to a topic of the system first.
  for (const topic of [real.topic, RMQ_SYS_SCHEDULE_TOPIC, RMQ_SYS_TIMER_TOPIC]) {
    for (const found of await store.queryMessage(topic, key, FOUND_MAX, begin, Number.MAX_SAFE_INTEGER)) {
      if ((found.sysFlag & MessageSysFlag.TRANSACTION_MASK) !== MessageSysFlag.TRANSACTION_COMMIT) continue;
      if (found.preparedTransactionOffset === half.physicalOffset) return true;
      const from = await store.lookMessageByOffset(found.preparedTransactionOffset);
      if (from?.topic === RMQ_SYS_TRANS_HALF_TOPIC && isSameTransaction(half, from)) return true;
    }
  }
  return false;
}

/** Half messages that Apache put back don't name the first one: they are like it in all that a producer sets. */
function isSameTransaction(half: StoredMessage, other: StoredMessage): boolean {
  if (rootOf(half) === rootOf(other)) return true;
  return (checkTimesOf(half) > 0 || checkTimesOf(other) > 0) && likenessOf(half) === likenessOf(other);
}
