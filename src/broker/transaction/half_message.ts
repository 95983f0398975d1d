// A message of a transaction in each of its forms: half, half again after a check, committed, set aside; and the records
// that say which are ended. Pure; who puts them and when is the business of the services beside it.

import { utf8 } from "../../base/bytes.ts";
import { MessageConst } from "../../store/message_properties.ts";
import { MessageSysFlag } from "../../store/message_sys_flag.ts";
import type { MessageToPut, RecordHost, StoredMessage } from "../../store/types.ts";
import { copyOf, realPlaceOf } from "../message_copy.ts";
import {
  RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC,
  RMQ_SYS_TRANS_HALF_TOPIC,
  RMQ_SYS_TRANS_OP_HALF_TOPIC,
} from "../topic_validator.ts";

/** The group whose offsets say how far checks are. Mirrors `MixAll.CID_SYS_RMQ_TRANS`. */
export const CID_SYS_RMQ_TRANS = "CID_RMQ_SYS_TRANS";
/** Half messages and the records of ended ones have one queue each. */
export const TRANSACTION_QUEUE_ID = 0;

/** Properties of half messages. Mirrors Apache's `MessageConst`. */
export const TransactionProperty = {
  TRANSACTION_ID: "__transactionId__",
  /** How often the producer was asked. */
  CHECK_TIMES: "TRANSACTION_CHECK_TIMES",
  /** Queue offset of the first of its half messages. */
  PREPARED_QUEUE_OFFSET: "TRAN_PREPARED_QUEUE_OFFSET",
  /** Age in seconds before which it is not to be asked about. */
  CHECK_IMMUNITY_TIME: "CHECK_IMMUNITY_TIME_IN_SECONDS",
} as const;

/** Tag of an op record. Mirrors `TransactionalMessageUtil.REMOVE_TAG`. */
const REMOVE_TAG = "d";
const OFFSET_SEPARATOR = ",";

/**
 * What a message of an open transaction is stored as; to be put without hooks, so that a delay or a delivery time does
 * not divert it. Mirrors `TransactionalMessageBridge.parseHalfMessageInner`.
 */
export function halfMessage(message: MessageToPut): MessageToPut {
  const properties = new Map(message.properties);
  const uniqKey = properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
  if (uniqKey !== undefined) properties.set(TransactionProperty.TRANSACTION_ID, uniqKey);
  properties.set(MessageConst.PROPERTY_REAL_TOPIC, message.topic);
  properties.set(MessageConst.PROPERTY_REAL_QUEUE_ID, String(message.queueId));
  // Only this broker says these.
  properties.delete(TransactionProperty.CHECK_TIMES);
  properties.delete(TransactionProperty.PREPARED_QUEUE_OFFSET);
  return {
    ...message,
    topic: RMQ_SYS_TRANS_HALF_TOPIC,
    queueId: TRANSACTION_QUEUE_ID,
    properties,
    sysFlag: message.sysFlag & ~MessageSysFlag.TRANSACTION_MASK,
  };
}

/**
 * A half message put once more, so that checks can go on behind it. Unlike Apache's it always names the first of its
 * half messages, `root`, keeps the flag, and counts only what was asked: not being put back while it is immune.
 */
export function renewedHalf(half: StoredMessage, root: number, checkTimes: number | null): MessageToPut {
  const properties = new Map(half.properties);
  if (checkTimes !== null) properties.set(TransactionProperty.CHECK_TIMES, String(checkTimes));
  properties.set(TransactionProperty.PREPARED_QUEUE_OFFSET, String(root));
  return { ...copyOf(half), topic: RMQ_SYS_TRANS_HALF_TOPIC, queueId: TRANSACTION_QUEUE_ID, properties };
}

/** A half message that was set aside, to be asked about again from the first time on. */
export function resumedHalf(message: StoredMessage): MessageToPut {
  const properties = new Map(message.properties).set(TransactionProperty.CHECK_TIMES, "0");
  return { ...copyOf(message), topic: RMQ_SYS_TRANS_HALF_TOPIC, queueId: TRANSACTION_QUEUE_ID, properties };
}

/**
 * The message its consumers get; null when the half message names no topic and queue. What made it a half message stays
 * among its properties, as in Apache. Mirrors `EndTransactionProcessor.endMessageTransaction`.
 */
export function committedMessage(half: StoredMessage): MessageToPut | null {
  const real = realPlaceOf(half);
  if (real === null) return null;
  const sysFlag = (half.sysFlag & ~MessageSysFlag.TRANSACTION_MASK) | MessageSysFlag.TRANSACTION_COMMIT;
  return { ...copyOf(half), ...real, sysFlag, preparedTransactionOffset: half.physicalOffset };
}

/**
 * A half message that is asked about no more; it names the first one, for when it is resumed. Mirrors
 * `DefaultTransactionalMessageCheckListener`.
 */
export function discardedMessage(half: StoredMessage, root: number): MessageToPut {
  const properties = new Map(half.properties).set(TransactionProperty.PREPARED_QUEUE_OFFSET, String(root));
  return { ...copyOf(half), properties, topic: RMQ_SYS_TRANS_CHECK_MAX_TIME_TOPIC, queueId: 0 };
}

/** Names a transaction: the queue offset of the first of its half messages, its own when it names none. */
export function rootOf(half: StoredMessage): number {
  const root = integerOf(half.properties.get(TransactionProperty.PREPARED_QUEUE_OFFSET));
  return root !== null && root >= 0 && root < half.queueOffset ? root : half.queueOffset;
}

/** What all half messages of a transaction have in common, whoever put them back; null without a unique key. */
export function likenessOf(half: StoredMessage): string | null {
  const uniqKey = half.properties.get(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
  if (uniqKey === undefined) return null;
  const { bodyCrc, bornTimestamp, bornHost, properties } = half;
  const group = properties.get(MessageConst.PROPERTY_PRODUCER_GROUP);
  const topic = properties.get(MessageConst.PROPERTY_REAL_TOPIC);
  const queueId = properties.get(MessageConst.PROPERTY_REAL_QUEUE_ID);
  return [uniqKey, group, topic, queueId, bodyCrc, bornTimestamp, bornHost.address, bornHost.port].join(" ");
}

/** How often its producer was asked. */
export function checkTimesOf(half: StoredMessage): number {
  return integerOf(half.properties.get(TransactionProperty.CHECK_TIMES)) ?? 0;
}

/** The age, ms, before which it is not to be asked about; null when it names none, `fallback` for one that is no number. */
export function checkImmunityMs(half: StoredMessage, fallback: number): number | null {
  const text = half.properties.get(TransactionProperty.CHECK_IMMUNITY_TIME);
  if (text === undefined) return null;
  const seconds = integerOf(text);
  return seconds === null || seconds < 0 ? fallback : seconds * 1000;
}

/** Says that the half messages at these queue offsets are ended. Mirrors `makeOpMessageInner`. */
export function opMessage(
  offsets: readonly number[],
  about: { now: number; host: RecordHost; uniqKey: string },
): MessageToPut {
  return {
    topic: RMQ_SYS_TRANS_OP_HALF_TOPIC,
    queueId: TRANSACTION_QUEUE_ID,
    body: utf8.encode(offsets.map((offset) => `${offset}${OFFSET_SEPARATOR}`).join("")),
    properties: new Map([
      [MessageConst.PROPERTY_TAGS, REMOVE_TAG],
      [MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX, about.uniqKey],
      [MessageConst.PROPERTY_WAIT_STORE_MSG_OK, "false"],
    ]),
    flag: 0,
    sysFlag: 0,
    bornTimestamp: about.now,
    bornHost: about.host,
    storeHost: about.host,
    reconsumeTimes: 0,
    preparedTransactionOffset: 0,
  };
}

/** Bytes that an offset takes in an op record. */
export function opOffsetSize(offset: number): number {
  return String(offset).length + OFFSET_SEPARATOR.length;
}

/** The offsets of an op record: a list of 5.x, or the single one of 4.9 without a comma. None for another record. */
export function offsetsOfOpMessage(op: StoredMessage): number[] {
  if (op.properties.get(MessageConst.PROPERTY_TAGS) !== REMOVE_TAG) return [];
  const offsets = utf8.decode(op.body).split(OFFSET_SEPARATOR).map(integerOf);
  return offsets.filter((offset) => offset !== null && offset >= 0) as number[];
}

/** As `Long.parseLong`, for what a double holds exactly; null for anything else. */
export function integerOf(text: string | undefined): number | null {
  if (text === undefined || !/^[+-]?\d{1,16}$/.test(text)) return null;
  const value = Number(text);
  return Number.isSafeInteger(value) ? value + 0 : null;
}
