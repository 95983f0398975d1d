// How the queues of a topic are shared among the members of a group, for clients that let the broker do it. Pure; clients
// that do it themselves come to the same shares.

import type { MessageQueue } from "./message_queue.ts";

/** One member's share of the queues, both in Apache's order. `index` is the member's place. */
type Strategy = (queues: readonly MessageQueue[], memberCount: number, index: number) => MessageQueue[];

/** Names that a request may give. */
const STRATEGIES: ReadonlyMap<string, Strategy> = new Map<string, Strategy>([
  ["AVG", averagely],
  ["AVG_BY_CIRCLE", byCircle],
]);

/**
 * The member's share; empty when it is none of them, null when the strategy is unknown. `queues` and `clientIds` are
 * sorted.
 */
export function allocateQueues(
  strategyName: string,
  queues: readonly MessageQueue[],
  clientIds: readonly string[],
  clientId: string,
): MessageQueue[] | null {
  const strategy = STRATEGIES.get(strategyName);
  if (strategy === undefined) return null;
  const index = clientIds.indexOf(clientId);
  return index < 0 || queues.length === 0 ? [] : strategy(queues, clientIds.length, index);
}

/** Neighbouring queues; the first members get one more. Mirrors Apache's `AllocateMessageQueueAveragely`. */
function averagely(queues: readonly MessageQueue[], memberCount: number, index: number): MessageQueue[] {
  const share = Math.floor(queues.length / memberCount);
  const rest = queues.length % memberCount;
  const first = index * share + Math.min(index, rest);
  return queues.slice(first, first + share + (index < rest ? 1 : 0));
}

/** Every n-th queue. Mirrors Apache's `AllocateMessageQueueAveragelyByCircle`. */
function byCircle(queues: readonly MessageQueue[], memberCount: number, index: number): MessageQueue[] {
  return queues.filter((_, at) => at % memberCount === index);
}
