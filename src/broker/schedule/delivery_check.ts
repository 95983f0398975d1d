// Whether a message that waited was delivered already, told by the log itself: its index knows the copy. Progress files
// may be older than the log (a crash, a promotion) or newer (a slave that had the file before the bytes).

import { deferred } from "../../base/async.ts";
import type { Clock } from "../../runtime/runtime.ts";
import { MessageConst } from "../../store/message_properties.ts";
import type { StoredMessage } from "../../store/types.ts";

/** What it needs of the store. */
export interface DeliveryCheckStore {
  /** Whether every dispatched message can be found by key. */
  readonly isIndexComplete: boolean;
  /** Resolves with {@link isIndexComplete} once it is true, or never will be. */
  waitIndexComplete(): Promise<boolean>;
  queryMessage(
    topic: string,
    key: string,
    maxNum: number,
    begin: number,
    end: number,
  ): Promise<readonly StoredMessage[]>;
}

/** After a crash delivery waits so long for the index to be whole, ms; then it begins, and some come again. */
const INDEX_WAIT_MS = 30_000;
/** Copies of one client message looked at: retries have up to `retryMaxTimes` of them. */
const COPIES_MAX = 64;
/** Store times may step back. */
const CLOCK_SLACK_MS = 60_000;

/** `unknown`: the index doesn't cover the message, or it has no unique key. */
export type DeliveryState = "delivered" | "waiting" | "unknown";

/** Waits until what was delivered can be told by the index, `stopped` resolves, or it takes too long. */
export async function waitForIndex(store: DeliveryCheckStore, clock: Clock, stopped: Promise<void>): Promise<void> {
  if (store.isIndexComplete) return;
  const { promise, resolve } = deferred<void>();
  const timer = clock.setTimer(INDEX_WAIT_MS, resolve);
  await Promise.race([store.waitIndexComplete(), promise, stopped]);
  timer.cancel();
}

/**
 * Whether the log holds, behind `message`, a copy of it in one of `topics`. Throws {@link IoError}. Only sure while the
 * index is complete.
 */
export async function deliveryState(
  store: DeliveryCheckStore,
  message: StoredMessage,
  topics: readonly string[],
): Promise<DeliveryState> {
  const key = message.properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
  if (key === undefined) return "unknown";
  const begin = message.storeTimestamp - CLOCK_SLACK_MS;
  const find = (topic: string) => store.queryMessage(topic, key, COPIES_MAX, begin, Number.MAX_SAFE_INTEGER);
  for (const topic of topics) if ((await find(topic)).some((copy) => isCopy(message, copy))) return "delivered";
  const isIndexed = (await find(message.topic)).some((found) => found.physicalOffset === message.physicalOffset);
  return isIndexed ? "waiting" : "unknown";
}

function isCopy(message: StoredMessage, copy: StoredMessage): boolean {
  return copy.physicalOffset > message.physicalOffset && copy.bodyCrc === message.bodyCrc &&
    copy.reconsumeTimes === message.reconsumeTimes && copy.bornTimestamp === message.bornTimestamp;
}

/**
 * Where a queue's delivery has to go on, given where a file says so, from `min` to `max`: delivery goes in order, so
 * there is one place between what is delivered and what is not. `stateAt` is asked for few of them. Without certainty the
 * file's word stands.
 */
export async function searchDelivered(
  offset: number,
  min: number,
  max: number,
  stateAt: (index: number) => Promise<DeliveryState>,
): Promise<number> {
  let step = 1;
  if (offset < max && (await stateAt(offset)) === "delivered") {
    let delivered = offset;
    for (; delivered + step < max && (await stateAt(delivered + step)) === "delivered"; step *= 2) delivered += step;
    return await searchBetween(delivered, Math.min(delivered + step, max), stateAt);
  }
  if (offset <= min || (await stateAt(offset - 1)) !== "waiting") return offset;
  let waiting = offset - 1;
  for (; waiting - step >= min && (await stateAt(waiting - step)) === "waiting"; step *= 2) waiting -= step;
  return await searchBetween(Math.max(waiting - step, min - 1), waiting, stateAt);
}

/** The first index above `delivered` that is not, `waiting` at most. */
async function searchBetween(
  delivered: number,
  waiting: number,
  stateAt: (index: number) => Promise<DeliveryState>,
): Promise<number> {
  while (waiting - delivered > 1) {
    const middle = Math.floor((delivered + waiting) / 2);
    if ((await stateAt(middle)) === "delivered") delivered = middle;
    else waiting = middle;
  }
  return waiting;
}
