// One record of the commit log as bytes: where its fields lie, reading it back, and message ids. Pure. Writing records
// is message_encoder.ts, judging foreign bytes is record_validator.ts: these readers trust a record that was checked.

import { readInt16, readInt32, readInt64, utf8 } from "../base/bytes.ts";
import {
  type DelayLevels,
  MessageConst,
  parseProperties,
  parsePropertiesText,
  SCHEDULE_TOPIC,
  tagsString2tagsCode,
  visitProperties,
} from "./message_properties.ts";
import { MessageSysFlag } from "./message_sys_flag.ts";
import type { DispatchRequest, RecordHost, StoredMessage } from "./types.ts";

/** Magic of a record whose topic length takes one byte. */
export const MESSAGE_MAGIC_CODE = 0xdaa320a7 | 0;
/** Magic of a record whose topic length takes two bytes (5.x). */
export const MESSAGE_MAGIC_CODE_V2 = 0xdaa320ab | 0;
/** Magic of the filler at the end of a file. Mirrors `CommitLog.BLANK_MAGIC_CODE`. */
export const BLANK_MAGIC_CODE = 0xcbd43194 | 0;
/** Bytes that stay free behind every record for the BLANK header. Mirrors `END_FILE_MIN_BLANK_LENGTH`. */
export const END_FILE_MIN_BLANK_LENGTH = 8;

// totalSize 0 | magic 4 | bodyCRC 8 | queueId 12 | flag 16 | queueOffset 20 | physicalOffset 28 | sysFlag 36 |
// bornTimestamp 40 | bornHost 48 (8 or 20) | storeTimestamp | storeHost (8 or 20) | reconsumeTimes 4 |
// preparedTransactionOffset 8 | bodyLength 4, body | topicLength 1 (V1) or 2 (V2), topic | propertiesLength 2, text

/** Byte positions inside a record; those behind the hosts move by 12 for each IPv6 host. */
export const RecordField = {
  TOTAL_SIZE: 0,
  MAGIC: 4,
  BODY_CRC: 8,
  QUEUE_ID: 12,
  FLAG: 16,
  QUEUE_OFFSET: 20,
  PHYSICAL_OFFSET: 28,
  SYS_FLAG: 36,
  BORN_TIMESTAMP: 40,
  BORN_HOST: 48,
} as const;

/** Bytes of an encoded host: address and a 32-bit port. */
export function bornHostSize(sysFlag: number): number {
  return (sysFlag & MessageSysFlag.BORNHOST_V6) === 0 ? 8 : 20;
}

/** As {@link bornHostSize} for the store host. */
export function storeHostSize(sysFlag: number): number {
  return (sysFlag & MessageSysFlag.STOREHOST_V6) === 0 ? 8 : 20;
}

/** Where `bodyLength` stands in a record. */
export function bodyLengthPosition(sysFlag: number): number {
  return 68 + bornHostSize(sysFlag) + storeHostSize(sysFlag);
}

/** Bytes of a whole record. Mirrors `MessageExtEncoder.calMsgLength`. */
export function recordSize(
  magic: number,
  sysFlag: number,
  bodySize: number,
  topicSize: number,
  propertiesSize: number,
): number {
  const topicLengthSize = magic === MESSAGE_MAGIC_CODE_V2 ? 2 : 1;
  return bodyLengthPosition(sysFlag) + 4 + bodySize + topicLengthSize + topicSize + 2 + propertiesSize;
}

/** When the message of the record at `at` was born, Unix ms, by its producer's clock. */
export function bornTimestampAt(bytes: Uint8Array, at: number): number {
  return readInt64(bytes, at + RecordField.BORN_TIMESTAMP);
}

/** When the record at `at` was stored, Unix ms. */
export function storeTimestampAt(bytes: Uint8Array, at: number): number {
  return readInt64(bytes, at + RecordField.BORN_HOST + bornHostSize(readInt32(bytes, at + RecordField.SYS_FLAG)));
}

interface VariableParts {
  bodyAt: number;
  bodyEnd: number;
  topicAt: number;
  topicEnd: number;
  propertiesAt: number;
  propertiesEnd: number;
}

function variableParts(bytes: Uint8Array, at: number, sysFlag: number): VariableParts {
  const bodyAt = at + bodyLengthPosition(sysFlag) + 4;
  const bodyEnd = bodyAt + readInt32(bytes, bodyAt - 4);
  const isV2 = readInt32(bytes, at + RecordField.MAGIC) === MESSAGE_MAGIC_CODE_V2;
  const topicAt = bodyEnd + (isV2 ? 2 : 1);
  const topicEnd = topicAt + (isV2 ? readInt16(bytes, bodyEnd) : bytes[bodyEnd]!);
  const propertiesAt = topicEnd + 2;
  return { bodyAt, bodyEnd, topicAt, topicEnd, propertiesAt, propertiesEnd: propertiesAt + readInt16(bytes, topicEnd) };
}

/** Reads the whole record at `at`. Body and host addresses are views of `bytes`: copy what outlives the buffer. */
export function decodeMessage(bytes: Uint8Array, at = 0): StoredMessage {
  const sysFlag = readInt32(bytes, at + RecordField.SYS_FLAG);
  const parts = variableParts(bytes, at, sysFlag);
  const timestampAt = at + RecordField.BORN_HOST + bornHostSize(sysFlag);
  const storeHostEnd = timestampAt + 8 + storeHostSize(sysFlag);
  const storeHost = readHost(bytes, timestampAt + 8, storeHostSize(sysFlag));
  const physicalOffset = readInt64(bytes, at + RecordField.PHYSICAL_OFFSET);
  return {
    topic: utf8.decode(bytes.subarray(parts.topicAt, parts.topicEnd)),
    queueId: readInt32(bytes, at + RecordField.QUEUE_ID),
    body: bytes.subarray(parts.bodyAt, parts.bodyEnd),
    properties: parseProperties(bytes.subarray(parts.propertiesAt, parts.propertiesEnd)),
    flag: readInt32(bytes, at + RecordField.FLAG),
    sysFlag,
    bornTimestamp: readInt64(bytes, at + RecordField.BORN_TIMESTAMP),
    bornHost: readHost(bytes, at + RecordField.BORN_HOST, bornHostSize(sysFlag)),
    storeHost,
    reconsumeTimes: readInt32(bytes, storeHostEnd),
    preparedTransactionOffset: readInt64(bytes, storeHostEnd + 4),
    storeSize: readInt32(bytes, at + RecordField.TOTAL_SIZE),
    bodyCrc: readInt32(bytes, at + RecordField.BODY_CRC),
    queueOffset: readInt64(bytes, at + RecordField.QUEUE_OFFSET),
    physicalOffset,
    storeTimestamp: readInt64(bytes, timestampAt),
    msgId: createMessageId(storeHost, physicalOffset),
  };
}

/** The properties of the record that `record` holds. */
export function recordProperties(record: Uint8Array): Map<string, string> {
  const { propertiesAt, propertiesEnd } = variableParts(record, 0, readInt32(record, RecordField.SYS_FLAG));
  // One text for all of them: many short ones cost three times as much.
  return parsePropertiesText(utf8.decode(record.subarray(propertiesAt, propertiesEnd)));
}

function readHost(bytes: Uint8Array, at: number, size: number): RecordHost {
  return { address: bytes.subarray(at, at + size - 4), port: readInt32(bytes, at + size - 4) };
}

/**
 * What dispatch needs of the record at `at`; the body is neither read nor copied. `delayLevels` gives the tagsCode of
 * delayed messages. Mirrors the result of `CommitLog.checkMessageAndReturnSize`.
 */
export function decodeDispatchRequest(bytes: Uint8Array, at: number, delayLevels: DelayLevels): DispatchRequest {
  const sysFlag = readInt32(bytes, at + RecordField.SYS_FLAG);
  const parts = variableParts(bytes, at, sysFlag);
  const topic = topicOf(bytes, parts.topicAt, parts.topicEnd);
  const storeTimestamp = storeTimestampAt(bytes, at);
  let tags: string | undefined;
  let keys = "";
  let uniqKey: string | null = null;
  let delay: string | undefined;
  visitProperties(bytes, parts.propertiesAt, parts.propertiesEnd, (nameAt, nameEnd, valueAt, valueEnd) => {
    if (isName(bytes, nameAt, nameEnd, TAGS)) tags = utf8.decode(bytes.subarray(valueAt, valueEnd));
    else if (isName(bytes, nameAt, nameEnd, KEYS)) keys = utf8.decode(bytes.subarray(valueAt, valueEnd));
    else if (isName(bytes, nameAt, nameEnd, UNIQ_KEY)) uniqKey = utf8.decode(bytes.subarray(valueAt, valueEnd));
    else if (isName(bytes, nameAt, nameEnd, DELAY)) delay = utf8.decode(bytes.subarray(valueAt, valueEnd));
  });
  let tagsCode = tagsString2tagsCode(tags);
  if (delay !== undefined && topic === SCHEDULE_TOPIC) {
    tagsCode = delayLevels.deliverTimestamp(Number.parseInt(delay, 10), storeTimestamp) ?? tagsCode;
  }
  return {
    topic,
    queueId: readInt32(bytes, at + RecordField.QUEUE_ID),
    commitLogOffset: readInt64(bytes, at + RecordField.PHYSICAL_OFFSET),
    msgSize: readInt32(bytes, at + RecordField.TOTAL_SIZE),
    tagsCode,
    storeTimestamp,
    consumeQueueOffset: readInt64(bytes, at + RecordField.QUEUE_OFFSET),
    sysFlag,
    uniqKey,
    keys,
  };
}

const TAGS = utf8.encode(MessageConst.PROPERTY_TAGS);
const KEYS = utf8.encode(MessageConst.PROPERTY_KEYS);
const UNIQ_KEY = utf8.encode(MessageConst.PROPERTY_UNIQ_CLIENT_MESSAGE_ID_KEYIDX);
const DELAY = utf8.encode(MessageConst.PROPERTY_DELAY_TIME_LEVEL);

function isName(bytes: Uint8Array, at: number, end: number, name: Uint8Array): boolean {
  if (end - at !== name.length) return false;
  for (let i = 0; i < name.length; i++) if (bytes[at + i] !== name[i]) return false;
  return true;
}

let lastTopic = "";
let lastTopicBytes: Uint8Array = new Uint8Array(0);

/** Decodes a topic; a run of records of one topic shares one string. */
function topicOf(bytes: Uint8Array, at: number, end: number): string {
  if (!isName(bytes, at, end, lastTopicBytes)) {
    lastTopicBytes = new Uint8Array(bytes.subarray(at, end));
    lastTopic = utf8.decode(lastTopicBytes);
  }
  return lastTopic;
}

/** Apache's offset message id: upper-case hex of address, 32-bit port and 64-bit physical offset. */
export function createMessageId(host: RecordHost, physicalOffset: number): string {
  const { port } = host;
  if (host !== idHost || port !== idPort) {
    idPrefix = hex(host.address) + hexOfInt32(port);
    idHost = host;
    idPort = port;
  }
  return idPrefix + hexOfInt32(Math.floor(physicalOffset / 0x1_0000_0000)) + hexOfInt32(physicalOffset);
}

/** A broker makes ids of one host: its part of the text is kept. */
let idHost: RecordHost | null = null;
let idPort = 0;
let idPrefix = "";

function hex(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += HEX[byte]!;
  return text;
}

function hexOfInt32(value: number): string {
  return HEX[(value >>> 24) & 0xff]! + HEX[(value >>> 16) & 0xff]! + HEX[(value >>> 8) & 0xff]! + HEX[value & 0xff]!;
}

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, "0").toUpperCase());

/** Takes an offset message id apart; null when the text is none. Mirrors `MessageDecoder.decodeMessageId`. */
export function decodeMessageId(msgId: string): { host: RecordHost; physicalOffset: number } | null {
  if ((msgId.length !== 32 && msgId.length !== 56) || !/^[0-9a-fA-F]*$/.test(msgId)) return null;
  const bytes = new Uint8Array(msgId.length / 2);
  for (let i = 0; i < bytes.length; i++) bytes[i] = Number.parseInt(msgId.slice(2 * i, 2 * i + 2), 16);
  const addressSize = bytes.length - 12;
  const physicalOffset = readInt64(bytes, addressSize + 4);
  if (physicalOffset < 0 || !Number.isSafeInteger(physicalOffset)) return null;
  return { host: readHost(bytes, 0, addressSize + 4), physicalOffset };
}
