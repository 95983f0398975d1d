// Topics and the brokers that hold them, and what static topics say of their queues: the larger part of the NameServer's
// memory, so it counts what it holds and knows the topics of a broker without a walk over all. RouteInfoManager drives it
// and decides.

import type { QueueData, TopicQueueMappingInfo } from "./route_types.ts";

interface Topic {
  readonly queues: Map<string, QueueData>;
  /** By broker name; null for all but static topics. */
  mappings: Map<string, TopicQueueMappingInfo> | null;
}

/** What one entry of a map and its object take at most, bytes; a character of a name takes up to two. */
const ENTRY_BYTES = 128;
const QUEUE_ID_BYTES = 32;

/** Mirrors the `topicQueueTable` and the `topicQueueMappingInfoTable` of Apache's `RouteInfoManager`. */
export class TopicQueueTable {
  readonly #topics = new Map<string, Topic>();
  readonly #byBroker = new Map<string, Set<string>>();
  #queueDataCount = 0;
  #heldBytes = 0;

  /** Topics. */
  get size(): number {
    return this.#topics.size;
  }

  /** Pairs of topic and broker name. */
  get queueDataCount(): number {
    return this.#queueDataCount;
  }

  /** Memory the table takes, about, bytes. */
  get heldBytes(): number {
    return this.#heldBytes;
  }

  /** Names of all topics. */
  topics(): Iterable<string> {
    return this.#topics.keys();
  }

  /** The topic's brokers by name; undefined when the topic is unknown, else at least one. */
  get(topic: string): ReadonlyMap<string, QueueData> | undefined {
    return this.#topics.get(topic)?.queues;
  }

  /** The topics of a broker name. Not to be walked while the table changes. */
  topicsOf(brokerName: string): ReadonlySet<string> {
    return this.#byBroker.get(brokerName) ?? NONE;
  }

  /** What {@link set} of a pair would add to {@link heldBytes}. */
  bytesToAdd(topic: string, brokerName: string): number {
    const known = this.#topics.get(topic);
    if (known === undefined) return topicBytes(topic) + ENTRY_BYTES;
    return known.queues.has(brokerName) ? 0 : ENTRY_BYTES;
  }

  /** Adds or replaces a pair. */
  set(topic: string, data: QueueData): void {
    const { brokerName } = data;
    this.#heldBytes += this.bytesToAdd(topic, brokerName);
    let known = this.#topics.get(topic);
    if (known === undefined) this.#topics.set(topic, known = { queues: new Map(), mappings: null });
    if (!known.queues.has(brokerName)) {
      this.#queueDataCount++;
      let topics = this.#byBroker.get(brokerName);
      if (topics === undefined) this.#byBroker.set(brokerName, topics = new Set());
      topics.add(topic);
    }
    known.queues.set(brokerName, data);
  }

  /** Whether the pair was there. The last one of a topic takes the topic with it. */
  remove(topic: string, brokerName: string): boolean {
    const known = this.#topics.get(topic);
    if (known === undefined || !known.queues.delete(brokerName)) return false;
    this.#queueDataCount--;
    this.#heldBytes -= ENTRY_BYTES;
    const topics = this.#byBroker.get(brokerName)!;
    topics.delete(topic);
    if (topics.size === 0) this.#byBroker.delete(brokerName);
    if (known.queues.size > 0) return true;
    for (const mapping of known.mappings?.values() ?? []) this.#heldBytes -= mappingBytes(mapping);
    this.#heldBytes -= topicBytes(topic);
    this.#topics.delete(topic);
    return true;
  }

  /** Removes a topic from every broker name. */
  removeTopic(topic: string): void {
    for (const brokerName of [...this.#topics.get(topic)?.queues.keys() ?? []]) this.remove(topic, brokerName);
  }

  /** Removes a broker name from every topic. */
  removeBroker(brokerName: string): void {
    for (const topic of [...this.topicsOf(brokerName)]) this.remove(topic, brokerName);
  }

  /** Gives every topic of a broker name the permission that `change` makes of its own. Returns how many there are. */
  changePerm(brokerName: string, change: (perm: number) => number): number {
    const topics = this.topicsOf(brokerName);
    for (const topic of topics) {
      const { queues } = this.#topics.get(topic)!;
      const data = queues.get(brokerName)!;
      queues.set(brokerName, { ...data, perm: change(data.perm) });
    }
    return topics.size;
  }

  /** The mappings of a static topic by broker name; null for others. */
  mappingsOf(topic: string): ReadonlyMap<string, TopicQueueMappingInfo> | null {
    return this.#topics.get(topic)?.mappings ?? null;
  }

  /** What {@link setMapping} would add to {@link heldBytes}; below 0 when it replaces a larger one. */
  mappingBytesToAdd(mapping: TopicQueueMappingInfo): number {
    const before = this.#topics.get(mapping.topic)?.mappings?.get(mapping.bname);
    return mappingBytes(mapping) - (before === undefined ? 0 : mappingBytes(before));
  }

  /** Adds or replaces what one broker says of a static topic; nothing for a topic that is unknown. */
  setMapping(mapping: TopicQueueMappingInfo): void {
    const known = this.#topics.get(mapping.topic);
    if (known === undefined) return;
    this.#heldBytes += this.mappingBytesToAdd(mapping);
    (known.mappings ??= new Map()).set(mapping.bname, mapping);
  }
}

const NONE: ReadonlySet<string> = new Set();

function topicBytes(topic: string): number {
  return 2 * topic.length + 2 * ENTRY_BYTES;
}

function mappingBytes({ bname, scope, currIdMap }: TopicQueueMappingInfo): number {
  return 2 * ENTRY_BYTES + 2 * (bname.length + scope.length) + QUEUE_ID_BYTES * Object.keys(currIdMap).length;
}
