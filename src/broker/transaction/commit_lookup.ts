// Whether a transaction was committed already, told by the log itself: a committed message names the half message it was
// made of. Apache relies on op records alone, and after a crash that lost some commits twice.

import { MessageConst } from "../../store/message_properties.ts";
import { MessageSysFlag } from "../../store/message_sys_flag.ts";
import type { StoredMessage } from "../../store/types.ts";
import { RMQ_SYS_SCHEDULE_TOPIC, RMQ_SYS_TIMER_TOPIC, RMQ_SYS_TRANS_HALF_TOPIC } from "../topic_validator.ts";
import { realPlaceOf, rootOf } from "./half_message.ts";

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
  const root = rootOf(half);
  // One that was put back may have been committed before it was.
  const begin = root === half.queueOffset ? half.storeTimestamp - CLOCK_SLACK_MS : 0;
  // A committed message with a delay goes to a topic of the system first.
  for (const topic of [real.topic, RMQ_SYS_SCHEDULE_TOPIC, RMQ_SYS_TIMER_TOPIC]) {
    for (const found of await store.queryMessage(topic, key, FOUND_MAX, begin, Number.MAX_SAFE_INTEGER)) {
      if ((found.sysFlag & MessageSysFlag.TRANSACTION_MASK) !== MessageSysFlag.TRANSACTION_COMMIT) continue;
      if (found.preparedTransactionOffset === half.physicalOffset) return true;
      const from = await store.lookMessageByOffset(found.preparedTransactionOffset);
      if (from?.topic === RMQ_SYS_TRANS_HALF_TOPIC && rootOf(from) === root) return true;
    }
  }
  return false;
}
