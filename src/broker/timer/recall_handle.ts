// The handle by which a producer calls back a message that waits for its time: what the broker answers to the send, and
// takes back with RECALL_MESSAGE. Pure.

import { utf8 } from "../../base/bytes.ts";
import { MessageConst } from "../../store/message_properties.ts";
import type { MessageToPut } from "../../store/types.ts";
import { isRetryTopic } from "../topic_validator.ts";
import { parseJavaLong } from "./timer_hook.ts";

/** What a handle says. Mirrors `RecallMessageHandle.HandleV1`. */
export interface RecallHandle {
  readonly topic: string;
  readonly brokerName: string;
  /** Unix ms, as text. */
  readonly timestamp: string;
  /** UNIQ_KEY of the message. */
  readonly messageId: string;
}

const VERSION_1 = "v1";

/**
 * The handle of a message as it was put (after the hooks); null when it does not wait for a time, or is a retry. Mirrors
 * `SendMessageProcessor.attachRecallHandle`.
 */
export function recallHandleOf(message: MessageToPut, brokerName: string): string | null {
  const { properties } = message;
  const outMs = parseJavaLong(properties.get(MessageConst.PROPERTY_TIMER_OUT_MS) ?? "");
  const topic = properties.get(MessageConst.PROPERTY_REAL_TOPIC);
  if (outMs === null || topic === undefined || isRetryTopic(topic)) return null;
  const messageId = properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX) ?? "null";
  // The time was rounded down to the slot before: one more is in the same slot when it is rounded again.
  return encodeRecallHandle({ topic, brokerName, timestamp: String(outMs + 1), messageId });
}

/** The text of a handle: base64url, padded as Java pads. */
export function encodeRecallHandle({ topic, brokerName, timestamp, messageId }: RecallHandle): string {
  const bytes = utf8.encode([VERSION_1, topic, brokerName, timestamp, messageId].join(" "));
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_");
}

/** Takes a handle apart; null when the text is none. Mirrors `RecallMessageHandle.decodeHandle`. */
export function decodeRecallHandle(handle: string): RecallHandle | null {
  if (!/^[A-Za-z0-9_-]+={0,2}$/.test(handle)) return null;
  let binary: string;
  try {
    binary = atob(handle.replaceAll("-", "+").replaceAll("_", "/"));
  } catch {
    return null;
  }
  const text = utf8.decode(Uint8Array.from(binary, (char) => char.charCodeAt(0)));
  const [version, topic, brokerName, timestamp, messageId] = text.split(" ");
  if (version !== VERSION_1 || messageId === undefined || messageId === "") return null;
  return { topic: topic!, brokerName: brokerName!, timestamp: timestamp!, messageId };
}
