// Which messages a subscription lets through: by the hash of their tag, from the consume queue entry alone, or by an
// SQL92 expression on their properties. Made for each pull, held with it while it waits; asked by the message reader.

import { MessageConst } from "../../store/message_properties.ts";
import type { MessageFilter } from "../../store/message_filter.ts";
import { groupOfRetryTopic, isRetryTopic } from "../topic_validator.ts";
import type { ConsumerFilterData } from "./consumer_filter_manager.ts";
import { isTagType, SUB_ALL, type SubscriptionData } from "./subscription_data.ts";

/** Where the filter of a retried message's own topic is found. */
export interface FilterLookup {
  get(topic: string, consumerGroup: string): ConsumerFilterData | null;
}

/** Lets everything through. */
export const MATCH_ALL: MessageFilter = {
  needsProperties: false,
  isMatchedByConsumeQueue: () => true,
  isMatchedByCommitLog: () => true,
};

/**
 * The filter of a subscription; `filterData` is null for tags, and lets everything through for SQL92. `lookup`, given
 * under `filterSupportRetry`, makes SQL92 on a retry topic use the filter of the topic each message came from. Mirrors
 * Apache's `ExpressionMessageFilter` and `ExpressionForRetryMessageFilter`.
 */
export function expressionMessageFilter(
  sub: SubscriptionData,
  filterData: ConsumerFilterData | null,
  lookup: FilterLookup | null,
): MessageFilter {
  if (sub.classFilterMode) return MATCH_ALL;
  if (isTagType(sub.expressionType)) return sub.subString === SUB_ALL ? MATCH_ALL : new TagFilter(sub.codeSet);
  if (lookup !== null && isRetryTopic(sub.topic)) return new RetryFilter(lookup, groupOfRetryTopic(sub.topic));
  return filterData === null ? MATCH_ALL : new PropertyFilter(filterData);
}

class TagFilter implements MessageFilter {
  readonly needsProperties = false;
  readonly #codeSet: readonly number[];

  constructor(codeSet: readonly number[]) {
    this.#codeSet = codeSet;
  }

  isMatchedByConsumeQueue(tagsCode: number | null): boolean {
    return tagsCode === null || this.#codeSet.includes(tagsCode | 0);
  }

  isMatchedByCommitLog(): boolean {
    return true;
  }
}

/** There are no bit maps here, so a queue entry decides nothing. */
class PropertyFilter implements MessageFilter {
  readonly needsProperties = true;
  readonly #filterData: ConsumerFilterData;

  constructor(filterData: ConsumerFilterData) {
    this.#filterData = filterData;
  }

  isMatchedByConsumeQueue(): boolean {
    return true;
  }

  isMatchedByCommitLog(properties: ReadonlyMap<string, string>): boolean {
    return this.#filterData.compiledExpression.matches(properties);
  }
}

class RetryFilter implements MessageFilter {
  readonly needsProperties = true;
  readonly #lookup: FilterLookup;
  readonly #group: string;

  constructor(lookup: FilterLookup, group: string) {
    this.#lookup = lookup;
    this.#group = group;
  }

  isMatchedByConsumeQueue(): boolean {
    return true;
  }

  isMatchedByCommitLog(properties: ReadonlyMap<string, string>): boolean {
    const realTopic = properties.get(MessageConst.PROPERTY_RETRY_TOPIC);
    const filterData = realTopic === undefined ? null : this.#lookup.get(realTopic, this.#group);
    return filterData === null || filterData.compiledExpression.matches(properties);
  }
}
