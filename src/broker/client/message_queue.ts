// One queue of one broker, and its JSON. Pure.

import { isJavaJsonObject, type JavaJson, type JavaJsonObject, javaJsonObject } from "../../remoting/java_json.ts";

/** One queue. Mirrors Apache's `MessageQueue`. */
export interface MessageQueue {
  readonly topic: string;
  readonly brokerName: string;
  readonly queueId: number;
}

/** As fastjson writes it: a member of a set, or a key of a map. */
export function messageQueueJson({ topic, brokerName, queueId }: MessageQueue): JavaJsonObject {
  return javaJsonObject({ brokerName, queueId, topic });
}

/** Reads one; null when the value is none. */
export function readMessageQueue(value: JavaJson | undefined): MessageQueue | null {
  if (!isJavaJsonObject(value)) return null;
  const { topic, brokerName, queueId } = value;
  const id = typeof queueId === "string" && /^-?\d{1,10}$/.test(queueId) ? Number(queueId) : queueId ?? 0;
  if (typeof topic !== "string" || typeof id !== "number" || !Number.isInteger(id)) return null;
  return { topic, brokerName: typeof brokerName === "string" ? brokerName : "", queueId: id };
}

/** Apache's order of queues: topic, broker, queue. Mirrors `MessageQueue.compareTo`. */
export function compareMessageQueues(a: MessageQueue, b: MessageQueue): number {
  return compareTexts(a.topic, b.topic) || compareTexts(a.brokerName, b.brokerName) || a.queueId - b.queueId;
}

/** By UTF-16 units, as Java's `String.compareTo`. */
export function compareTexts(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
