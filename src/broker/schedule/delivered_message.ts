// The message a consumer gets of one that waited in a topic of the system: where it belongs, and otherwise as it is.
// Pure.

import type { MessageToPut, StoredMessage } from "../../store/types.ts";
import { copyOf, realPlaceOf } from "../message_copy.ts";

/**
 * The message for its real topic and queue, null when it names none. Properties that made it wait stay in it and mean
 * nothing, as in Apache, whose consumers see them: so it is to be put without hooks. `added` ones come last. Mirrors
 * `messageTimeUp` and `TimerMessageStore.convertMessage`.
 */
export function deliveredMessage(
  waiting: StoredMessage,
  added: Readonly<Record<string, string>> = {},
): MessageToPut | null {
  const place = realPlaceOf(waiting);
  return place === null ? null : copyTo(waiting, place.topic, place.queueId, added);
}

/** A message as it is, for another place. */
export function copyTo(
  message: StoredMessage,
  topic: string,
  queueId: number,
  added: Readonly<Record<string, string>> = {},
): MessageToPut {
  const properties = new Map(message.properties);
  for (const [name, value] of Object.entries(added)) properties.set(name, value);
  return { ...copyOf(message), topic, queueId, properties };
}
