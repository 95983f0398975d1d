// The fields of a stored record that dispatch needs, read into one object that is used again for every record: dispatch
// runs once per message at replication speed, so it makes no strings for keys and no objects. Pure; the record was
// checked before. decodeDispatchRequest of message_codec.ts is the same as a value, for everything that is not hot.

import { readInt16, readInt32, readInt64, utf8 } from "../base/bytes.ts";
import { javaHashCodeOfUtf8 } from "./index_file.ts";
import { bodyLengthPosition, bornHostSize, MESSAGE_MAGIC_CODE_V2, RecordField } from "./message_codec.ts";
import {
  type DelayLevels,
  MessageConst,
  NAME_VALUE_SEPARATOR,
  PROPERTY_SEPARATOR,
  SCHEDULE_TOPIC,
} from "./message_properties.ts";

/** Topics remembered as strings; a store with more of them only gets slower. */
const TOPICS_MAX = 4096;

/** A cursor over records. Mirrors what `DispatchRequest` carries; the fields are those of the record last read. */
export class DispatchReader {
  topic = "";
  queueId = 0;
  /** Start of the record in the log. */
  commitLogOffset = 0;
  /** Bytes of the record. */
  msgSize = 0;
  sysFlag = 0;
  /** Unix ms. */
  storeTimestamp = 0;
  /** Index in the queue. */
  consumeQueueOffset = 0;
  /** Hash of TAGS, or when a delayed message is due; 0 without a tag. */
  tagsCode = 0;
  /** The record's bytes hold UNIQ_KEY's value in `[uniqKeyFrom, uniqKeyTo)`; empty when there is none. */
  uniqKeyFrom = 0;
  uniqKeyTo = 0;
  /** Likewise KEYS. */
  keysFrom = 0;
  keysTo = 0;

  readonly #delayLevels: DelayLevels;
  readonly #topics = new Map<number, { readonly bytes: Uint8Array; readonly topic: string }>();
  #tagsFrom = 0;
  #tagsTo = 0;
  #delayFrom = 0;
  #delayTo = 0;

  constructor(delayLevels: DelayLevels) {
    this.#delayLevels = delayLevels;
  }

  /** Reads the record at `at`, all of which is there. False when its parts do not add up to its size. */
  read(bytes: Uint8Array, at: number): boolean {
    const sysFlag = this.sysFlag = readInt32(bytes, at + RecordField.SYS_FLAG);
    this.msgSize = readInt32(bytes, at + RecordField.TOTAL_SIZE);
    this.queueId = readInt32(bytes, at + RecordField.QUEUE_ID);
    this.consumeQueueOffset = readInt64(bytes, at + RecordField.QUEUE_OFFSET);
    this.commitLogOffset = readInt64(bytes, at + RecordField.PHYSICAL_OFFSET);
    this.storeTimestamp = readInt64(bytes, at + RecordField.BORN_HOST + bornHostSize(sysFlag));

    const end = at + this.msgSize;
    const bodyAt = at + bodyLengthPosition(sysFlag) + 4;
    const bodySize = readInt32(bytes, bodyAt - 4);
    const topicLengthAt = bodyAt + bodySize;
    if (bodySize < 0 || topicLengthAt + 3 > end) return false;
    const isV2 = readInt32(bytes, at + RecordField.MAGIC) === MESSAGE_MAGIC_CODE_V2;
    const topicAt = topicLengthAt + (isV2 ? 2 : 1);
    const topicEnd = topicAt + (isV2 ? readInt16(bytes, topicLengthAt) : bytes[topicLengthAt]!);
    if (topicEnd < topicAt || topicEnd + 2 > end || topicEnd + 2 + readInt16(bytes, topicEnd) !== end) return false;
    this.topic = this.#topicOf(bytes, topicAt, topicEnd);
    this.#readProperties(bytes, topicEnd + 2, end);
    this.tagsCode = this.#tagsCode(bytes);
    return true;
  }

  #topicOf(bytes: Uint8Array, from: number, to: number): string {
    let hash = to - from;
    for (let i = from; i < to; i++) hash = (Math.imul(hash, 31) + bytes[i]!) | 0;
    const known = this.#topics.get(hash);
    if (known !== undefined && sameText(bytes, from, to, known.bytes)) return known.topic;
    const topic = utf8.decode(bytes.subarray(from, to));
    if (this.#topics.size >= TOPICS_MAX) this.#topics.clear();
    this.#topics.set(hash, { bytes: new Uint8Array(bytes.subarray(from, to)), topic });
    return topic;
  }

  /** Finds the four properties that count. Lenient like `visitProperties`; later duplicates win. */
  #readProperties(bytes: Uint8Array, from: number, to: number): void {
    this.uniqKeyFrom =
      this.uniqKeyTo =
      this.keysFrom =
      this.keysTo =
        0;
    this.#tagsFrom =
      this.#tagsTo =
      this.#delayFrom =
      this.#delayTo =
        0;
    for (let at = from; at < to;) {
      let separator = -1;
      let end = at;
      for (let byte = bytes[end]; end < to && byte !== PROPERTY_SEPARATOR; byte = bytes[++end]) {
        if (byte === NAME_VALUE_SEPARATOR && separator < 0) separator = end;
      }
      if (separator > at && separator < end - 1) this.#property(bytes, at, separator, separator + 1, end);
      at = end + 1;
    }
  }

  #property(bytes: Uint8Array, from: number, nameEnd: number, valueFrom: number, to: number): void {
    if (sameText(bytes, from, nameEnd, UNIQ_KEY)) {
      this.uniqKeyFrom = valueFrom;
      this.uniqKeyTo = to;
    } else if (sameText(bytes, from, nameEnd, KEYS)) {
      this.keysFrom = valueFrom;
      this.keysTo = to;
    } else if (sameText(bytes, from, nameEnd, TAGS)) {
      this.#tagsFrom = valueFrom;
      this.#tagsTo = to;
    } else if (sameText(bytes, from, nameEnd, DELAY)) {
      this.#delayFrom = valueFrom;
      this.#delayTo = to;
    }
  }

  #tagsCode(bytes: Uint8Array): number {
    if (this.#delayTo > 0 && this.topic === SCHEDULE_TOPIC) {
      const level = Number.parseInt(utf8.decode(bytes.subarray(this.#delayFrom, this.#delayTo)), 10);
      const deliverTimestamp = this.#delayLevels.deliverTimestamp(level, this.storeTimestamp);
      if (deliverTimestamp !== null) return deliverTimestamp;
    }
    return javaHashCodeOfUtf8(bytes, this.#tagsFrom, this.#tagsTo);
  }
}

const TAGS = utf8.encode(MessageConst.PROPERTY_TAGS);
const KEYS = utf8.encode(MessageConst.PROPERTY_KEYS);
const UNIQ_KEY = utf8.encode(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
const DELAY = utf8.encode(MessageConst.PROPERTY_DELAY_TIME_LEVEL);

function sameText(bytes: Uint8Array, from: number, to: number, text: Uint8Array): boolean {
  if (to - from !== text.length) return false;
  for (let i = 0; i < text.length; i++) if (bytes[from + i] !== text[i]) return false;
  return true;
}
