// A message's properties as they stand in a record, `name 0x01 value 0x02` repeated, and what is derived from them.
// Pure. Parsing is as lenient as Apache's, so that both find the same tags and keys in the same bytes.

import { shortLivedBytes, utf8, writeAscii } from "../base/bytes.ts";

/** Ends a property's name. */
export const NAME_VALUE_SEPARATOR = 0x01;
/** Ends a property. */
export const PROPERTY_SEPARATOR = 0x02;
/** Most bytes of properties a record can hold: their length is a signed 16-bit integer. */
export const PROPERTIES_SIZE_MAX = 32767;

/** Names with a meaning to the store. Mirrors Apache's `MessageConst`. */
export const MessageConst = {
  PROPERTY_KEYS: "KEYS",
  PROPERTY_TAGS: "TAGS",
  PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX: "UNIQ_KEY",
  PROPERTY_WAIT_STORE_MSG_OK: "WAIT",
  PROPERTY_DELAY_TIME_LEVEL: "DELAY",
  PROPERTY_INNER_NUM: "INNER_NUM",
  PROPERTY_CRC32: "__CRC32#",
  PROPERTY_REAL_TOPIC: "REAL_TOPIC",
  PROPERTY_REAL_QUEUE_ID: "REAL_QID",
  PROPERTY_TRANSACTION_PREPARED: "TRAN_MSG",
  PROPERTY_PRODUCER_GROUP: "PGROUP",
  PROPERTY_RETRY_TOPIC: "RETRY_TOPIC",
  PROPERTY_ORIGIN_MESSAGE_ID: "ORIGIN_MESSAGE_ID",
  PROPERTY_MSG_REGION: "MSG_REGION",
  PROPERTY_TRACE_SWITCH: "TRACE_ON",
  PROPERTY_CLUSTER: "CLUSTER",
  PROPERTY_POP_CK: "POP_CK",
  PROPERTY_TIMER_DELAY_SEC: "TIMER_DELAY_SEC",
  PROPERTY_TIMER_DELAY_MS: "TIMER_DELAY_MS",
  PROPERTY_TIMER_DELIVER_MS: "TIMER_DELIVER_MS",
  PROPERTY_TIMER_OUT_MS: "TIMER_OUT_MS",
  PROPERTY_TIMER_ENQUEUE_MS: "TIMER_ENQUEUE_MS",
  PROPERTY_TIMER_DEQUEUE_MS: "TIMER_DEQUEUE_MS",
  PROPERTY_TIMER_ROLL_TIMES: "TIMER_ROLL_TIMES",
  PROPERTY_TIMER_DEL_UNIQKEY: "TIMER_DEL_UNIQKEY",
} as const;

/** Between the keys of `KEYS`. */
export const KEY_SEPARATOR = " ";
/** The topic that holds delayed messages until they are due. Mirrors `TopicValidator.RMQ_SYS_SCHEDULE_TOPIC`. */
export const SCHEDULE_TOPIC = "SCHEDULE_TOPIC_XXXX";

/**
 * Properties to bytes that are not kept for long, with a 0x02 after the last one too. Mirrors
 * `MessageDecoder.messageProperties2String`.
 */
export function formatProperties(properties: ReadonlyMap<string, string>): Uint8Array<ArrayBuffer> {
  let size = 0;
  for (const [name, value] of properties) size += name.length + value.length + 2;
  const bytes = shortLivedBytes(size);
  let at = 0;
  for (const [name, value] of properties) {
    const separator = at + name.length;
    const end = separator + 1 + value.length;
    if (!writeAscii(name, bytes, at) || !writeAscii(value, bytes, separator + 1)) {
      return formatAnyProperties(properties);
    }
    bytes[separator] = NAME_VALUE_SEPARATOR;
    bytes[end] = PROPERTY_SEPARATOR;
    at = end + 1;
  }
  return bytes;
}

function formatAnyProperties(properties: ReadonlyMap<string, string>): Uint8Array<ArrayBuffer> {
  let text = "";
  for (const [name, value] of properties) text += `${name}\x01${value}\x02`;
  return utf8.encode(text);
}

/** A callback per property: where its name and its value lie, as byte positions. Later duplicates win by order. */
export type PropertyVisitor = (nameAt: number, nameEnd: number, valueAt: number, valueEnd: number) => void;

/**
 * Walks the properties in `[at, end)`. A part without a name, a separator or a value is skipped, a missing last 0x02
 * accepted. Mirrors `MessageDecoder.string2messageProperties`.
 */
export function visitProperties(bytes: Uint8Array, at: number, end: number, visit: PropertyVisitor): void {
  while (at < end) {
    let separator = -1;
    let next = at;
    for (; next < end && bytes[next] !== PROPERTY_SEPARATOR; next++) {
      if (separator < 0 && bytes[next] === NAME_VALUE_SEPARATOR) separator = next;
    }
    if (separator > at && separator < next - 1) visit(at, separator, separator + 1, next);
    at = next + 1;
  }
}

/** Bytes to properties. */
export function parseProperties(bytes: Uint8Array): Map<string, string> {
  const properties = new Map<string, string>();
  visitProperties(bytes, 0, bytes.length, (nameAt, nameEnd, valueAt, valueEnd) => {
    properties.set(utf8.decode(bytes.subarray(nameAt, nameEnd)), utf8.decode(bytes.subarray(valueAt, valueEnd)));
  });
  return properties;
}

/** Properties in the text of a header. Mirrors `MessageDecoder.string2messageProperties`; see {@link visitProperties}. */
export function parsePropertiesText(text: string): Map<string, string> {
  const properties = new Map<string, string>();
  for (let at = 0; at < text.length;) {
    let end = text.indexOf("\x02", at);
    if (end < 0) end = text.length;
    const separator = text.indexOf("\x01", at);
    if (separator > at && separator < end - 1) {
      properties.set(text.slice(at, separator), text.slice(separator + 1, end));
    }
    at = end + 1;
  }
  return properties;
}

/** Java's `String.hashCode`: over UTF-16 units, a signed 32-bit integer. */
export function javaHashCode(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** The hash a consume queue entry holds for a tag, 0 without one. Mirrors `MessageExtBrokerInner`'s method. */
export function tagsString2tagsCode(tags: string | undefined): number {
  return tags === undefined || tags === "" ? 0 : javaHashCode(tags);
}

/** When delayed messages are due: milliseconds per level, level 1 first. Mirrors `messageDelayLevel`. */
export class DelayLevels {
  readonly #delaysMs: readonly number[];

  /** From Apache's form, `1s 5s 10s 1m 2h 1d`. Throws {@link RangeError} for a part it can't read. */
  constructor(messageDelayLevel = DEFAULT_DELAY_LEVELS) {
    this.#delaysMs = messageDelayLevel.trim().split(/\s+/).map((part) => {
      const unitMs = UNIT_MS[part.slice(-1)];
      const count = Number(part.slice(0, -1));
      if (unitMs === undefined || part.length < 2 || !Number.isSafeInteger(count)) {
        throw new RangeError(`Delay level is "${part}", wanted a number and one of s, m, h, d`);
      }
      return count * unitMs;
    });
  }

  /** The highest level. */
  get maxLevel(): number {
    return this.#delaysMs.length;
  }

  /** Delay of a level from 1 to {@link maxLevel}, ms. */
  delayMs(level: number): number {
    return this.#delaysMs[level - 1]!;
  }

  /**
   * When a message of that level is due, Unix ms; null for a level of 0 or less. Levels above the highest count as the
   * highest. Mirrors `computeDeliverTimestamp` as `CommitLog.checkMessageAndReturnSize` uses it.
   */
  deliverTimestamp(level: number, storeTimestamp: number): number | null {
    if (!(level > 0)) return null;
    return storeTimestamp + (this.#delaysMs[Math.min(level, this.#delaysMs.length) - 1] ?? 1000);
  }
}

const DEFAULT_DELAY_LEVELS = "1s 5s 10s 30s 1m 2m 3m 4m 5m 6m 7m 8m 9m 10m 20m 30m 1h 2h";
const UNIT_MS: Record<string, number> = { s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };
