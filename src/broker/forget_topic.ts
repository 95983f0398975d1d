// What a broker keeps beside the queues of a topic, and drops when the topic is deleted, whoever asks for it.

/** Who keeps it. */
export interface TopicKeepers {
  readonly topics: { deleteTopicConfig(topic: string): void };
  readonly offsets: { cleanOffsetByTopic(topic: string): void };
  readonly stats: { onTopicDeleted(topic: string): void };
  /** How many messages of a topic wait for their time. */
  readonly timerMetrics: { remove(topic: string): void };
}

/** Forgets the topic, its groups' offsets and its figures. The queues are the store's (`deleteTopics`). */
export function forgetTopic({ topics, offsets, stats, timerMetrics }: TopicKeepers, topic: string): void {
  topics.deleteTopicConfig(topic);
  offsets.cleanOffsetByTopic(topic);
  stats.onTopicDeleted(topic);
  timerMetrics.remove(topic);
}
