// Messages on their way into the log: checked against the limits, measured, then written as records. Pure: offsets and
// time come from the commit log, which knows where a record lands only once its size is known; hence the two steps.

import { crc32 } from "node:zlib";
import {
  encodeShortText,
  readInt16,
  readInt32,
  shortLivedBytes,
  utf8,
  writeInt16,
  writeInt32,
  writeInt64,
} from "../base/bytes.ts";
import { MESSAGE_MAGIC_CODE, MESSAGE_MAGIC_CODE_V2, RecordField, recordSize } from "./message_codec.ts";
import { formatProperties, MessageConst, PROPERTIES_SIZE_MAX, PROPERTY_SEPARATOR } from "./message_properties.ts";
import { isConsumable, MessageSysFlag } from "./message_sys_flag.ts";
import { type MessageToPut, PutMessageStatus, type RecordHost } from "./types.ts";

/** Bytes of the property `__CRC32#` with its value and separators. Mirrors `CommitLog.CRC32_RESERVED_LEN`. */
export const CRC32_RESERVED_SIZE = 20;
/** What a record may hold beside a body of `maxMessageSize`. */
export const RECORD_OVERHEAD_MAX = 64 * 1024;
/**
 * Most bytes of one batch's records. Each of its messages is stored with the shared properties, so a body of 4 MiB could
 * ask for gigabytes of memory; Apache's bound is the file.
 */
const BATCH_RECORDS_SIZE_MAX = 128 * 1024 * 1024;
/** Topics over this many bytes need version 2, and the name of a retry topic. */
const TOPIC_SIZE_V1_MAX = 127;
const TOPIC_SIZE_MAX = 255;
const RETRY_TOPIC_PREFIX = "%RETRY%";

/** The keys of Apache's configuration this file obeys. */
export interface MessageEncoderOptions {
  /** Most bytes of a body, and of a batch's body. */
  readonly maxMessageSize: number;
  /** Ends each record's properties with a CRC of the whole record. */
  readonly enabledAppendPropCRC: boolean;
}

/** A checked message, ready to become a record of `size` bytes. */
export interface PreparedMessage {
  readonly message: MessageToPut;
  readonly magic: number;
  readonly sysFlag: number;
  readonly flag: number;
  readonly body: Uint8Array;
  readonly topic: Uint8Array;
  /** Without the reserved CRC property. */
  readonly properties: Uint8Array;
  readonly appendCrc: boolean;
  /** Bytes of the whole record. */
  readonly size: number;
}

/** Why a message can't be stored. */
export interface MessageRefusal {
  readonly status: typeof PutMessageStatus.MESSAGE_ILLEGAL | typeof PutMessageStatus.PROPERTIES_SIZE_EXCEEDED;
  readonly remark: string;
}

/** Tells the two outcomes of preparing apart. */
export function isRefusal(value: object): value is MessageRefusal {
  return "remark" in value;
}

function illegal(remark: string): MessageRefusal {
  return { status: PutMessageStatus.MESSAGE_ILLEGAL, remark };
}

/** Checks and measures one message. Mirrors `HookUtils.checkBeforePutMessage` and `MessageExtEncoder.encode`. */
export function prepareMessage(
  message: MessageToPut,
  options: MessageEncoderOptions,
): PreparedMessage | MessageRefusal {
  const common = prepareCommon(message);
  if (isRefusal(common)) return common;
  if (message.properties.has(MessageConst.PROPERTY_INNER_NUM) || (message.sysFlag & MessageSysFlag.INNER_BATCH) !== 0) {
    return illegal("Inner batches need a topic of batch queues, which this broker does not have");
  }
  return finish(
    message,
    common,
    message.flag,
    message.body,
    formatProperties(storedProperties(message, options)),
    options,
  );
}

/**
 * Checks and measures a client's batch: `body` holds its messages, `message` everything they share (its own body is
 * not used). Mirrors `MessageExtEncoder.encode` of a `MessageExtBatch`.
 */
export function prepareBatch(
  message: MessageToPut,
  body: Uint8Array,
  options: MessageEncoderOptions,
): PreparedMessage[] | MessageRefusal {
  const common = prepareCommon(message);
  if (isRefusal(common)) return common;
  if ((message.sysFlag & MessageSysFlag.TRANSACTION_MASK) !== 0) return illegal("A batch can't be transactional");
  if (Number(message.properties.get(MessageConst.PROPERTY_DELAY_TIME_LEVEL) ?? 0) > 0) {
    return illegal("A batch can't be delayed");
  }
  if (body.length > options.maxMessageSize) {
    return illegal(`Batch body has ${body.length} bytes, wanted at most ${options.maxMessageSize}`);
  }
  const shared = formatProperties(storedProperties(message, options));
  const each = { ...message, preparedTransactionOffset: 0 };
  const prepared: PreparedMessage[] = [];
  let size = 0;
  for (let at = 0; at < body.length;) {
    const part = readBatchPart(body, at);
    if (part === null) return illegal(`Batch body breaks off inside the message at byte ${at} of ${body.length}`);
    const properties = joinProperties(part.properties, shared);
    const one = finish(each, common, part.flag, part.body, properties, options);
    if (isRefusal(one)) return one;
    prepared.push(one);
    size += one.size;
    if (size > BATCH_RECORDS_SIZE_MAX) {
      return illegal(
        `Batch takes more than ${BATCH_RECORDS_SIZE_MAX} bytes of the log, the properties of each message counted`,
      );
    }
    at = part.end;
  }
  return prepared.length > 0 ? prepared : illegal("Batch body holds no message");
}

/**
 * Writes `prepared` as a record into `target` at `at`. The record depends on where it will stand, so it is written
 * once its offsets are known. Mirrors `DefaultAppendMessageCallback.doAppend`.
 */
export function writeRecord(
  prepared: PreparedMessage,
  target: Uint8Array,
  at: number,
  place: { queueOffset: number; physicalOffset: number; storeTimestamp: number },
): void {
  const { message, sysFlag, topic, properties, body } = prepared;
  writeInt32(target, at + RecordField.TOTAL_SIZE, prepared.size);
  writeInt32(target, at + RecordField.MAGIC, prepared.magic);
  writeInt32(target, at + RecordField.BODY_CRC, crc32(body) & 0x7fffffff);
  writeInt32(target, at + RecordField.QUEUE_ID, message.queueId);
  writeInt32(target, at + RecordField.FLAG, prepared.flag);
  writeInt64(target, at + RecordField.QUEUE_OFFSET, isConsumable(sysFlag) ? place.queueOffset : 0);
  writeInt64(target, at + RecordField.PHYSICAL_OFFSET, place.physicalOffset);
  writeInt32(target, at + RecordField.SYS_FLAG, sysFlag);
  writeInt64(target, at + RecordField.BORN_TIMESTAMP, message.bornTimestamp);
  let to = writeHost(target, at + RecordField.BORN_HOST, message.bornHost);
  writeInt64(target, to, place.storeTimestamp);
  to = writeHost(target, to + 8, message.storeHost);
  writeInt32(target, to, message.reconsumeTimes);
  writeInt64(target, to + 4, message.preparedTransactionOffset);
  writeInt32(target, to + 12, body.length);
  target.set(body, to + 16);
  to += 16 + body.length;
  if (prepared.magic === MESSAGE_MAGIC_CODE_V2) target[to++] = topic.length >>> 8;
  target[to++] = topic.length;
  target.set(topic, to);
  to += topic.length;
  writeInt16(target, to, properties.length + (prepared.appendCrc ? CRC32_RESERVED_SIZE : 0));
  target.set(properties, to + 2);
  if (prepared.appendCrc) writeRecordCrc(target, at, to + 2 + properties.length);
}

/** `__CRC32#` 0x01, ten digits with the least significant first, 0x02. Mirrors `MessageDecoder.createCrc32`. */
function writeRecordCrc(target: Uint8Array, recordAt: number, at: number): void {
  let crc = crc32(target.subarray(recordAt, at)) & 0x7fffffff;
  target.set(CRC_PROPERTY_START, at);
  for (let i = 9; i < 19; i++) {
    target[at + i] = 0x30 + (crc % 10);
    crc = Math.floor(crc / 10);
  }
  target[at + 19] = PROPERTY_SEPARATOR;
}

/** The bytes `__CRC32#` 0x01. */
export const CRC_PROPERTY_START: Uint8Array = utf8.encode(`${MessageConst.PROPERTY_CRC32}\x01`);

function writeHost(target: Uint8Array, at: number, host: RecordHost): number {
  target.set(host.address, at);
  writeInt32(target, at + host.address.length, host.port);
  return at + host.address.length + 4;
}

interface CommonParts {
  readonly topic: Uint8Array;
  readonly magic: number;
  readonly sysFlag: number;
}

/** What a message and every message of a batch share. The version follows the topic's bytes, not its characters. */
function prepareCommon(message: MessageToPut): CommonParts | MessageRefusal {
  const topic = encodeShortText(message.topic);
  if (topic.length === 0) return illegal("Topic is empty");
  if (
    topic.length > TOPIC_SIZE_MAX || (topic.length > TOPIC_SIZE_V1_MAX && !message.topic.startsWith(RETRY_TOPIC_PREFIX))
  ) {
    const max = message.topic.startsWith(RETRY_TOPIC_PREFIX) ? TOPIC_SIZE_MAX : TOPIC_SIZE_V1_MAX;
    return illegal(`Topic has ${topic.length} bytes, wanted at most ${max}`);
  }
  for (const host of [message.bornHost, message.storeHost]) {
    if (host.address.length !== 4 && host.address.length !== 16) {
      return illegal(`Host address has ${host.address.length} bytes, wanted 4 or 16`);
    }
  }
  let sysFlag = message.sysFlag & ~(MessageSysFlag.BORNHOST_V6 | MessageSysFlag.STOREHOST_V6);
  if (message.bornHost.address.length === 16) sysFlag |= MessageSysFlag.BORNHOST_V6;
  if (message.storeHost.address.length === 16) sysFlag |= MessageSysFlag.STOREHOST_V6;
  const magic = topic.length > TOPIC_SIZE_V1_MAX ? MESSAGE_MAGIC_CODE_V2 : MESSAGE_MAGIC_CODE;
  return { topic, magic, sysFlag };
}

function finish(
  message: MessageToPut,
  common: CommonParts,
  flag: number,
  body: Uint8Array,
  properties: Uint8Array,
  options: MessageEncoderOptions,
): PreparedMessage | MessageRefusal {
  const appendCrc = options.enabledAppendPropCRC;
  if (appendCrc && properties.length > 0) properties = joinProperties(properties, EMPTY, true);
  const propertiesSize = properties.length + (appendCrc ? CRC32_RESERVED_SIZE : 0);
  if (propertiesSize > PROPERTIES_SIZE_MAX) {
    const remark = `Properties have ${propertiesSize} bytes, wanted at most ${PROPERTIES_SIZE_MAX}`;
    return { status: PutMessageStatus.PROPERTIES_SIZE_EXCEEDED, remark };
  }
  if (body.length > options.maxMessageSize) {
    return illegal(`Body has ${body.length} bytes, wanted at most ${options.maxMessageSize}`);
  }
  const size = recordSize(common.magic, common.sysFlag, body.length, common.topic.length, propertiesSize);
  if (size > options.maxMessageSize + RECORD_OVERHEAD_MAX) {
    return illegal(`Record has ${size} bytes, wanted at most ${options.maxMessageSize + RECORD_OVERHEAD_MAX}`);
  }
  return { message, ...common, flag, body, properties, appendCrc, size };
}

/** A stale record CRC that came with the message would be taken for ours, so it is dropped. */
function storedProperties(message: MessageToPut, options: MessageEncoderOptions): ReadonlyMap<string, string> {
  if (!options.enabledAppendPropCRC || !message.properties.has(MessageConst.PROPERTY_CRC32)) return message.properties;
  const properties = new Map(message.properties);
  properties.delete(MessageConst.PROPERTY_CRC32);
  return properties;
}

const EMPTY = new Uint8Array(0);

/** Own properties, a separator where one is missing, shared properties. */
function joinProperties(own: Uint8Array, shared: Uint8Array, separateAlways = false): Uint8Array {
  const isOpen = own.length > 0 && own[own.length - 1] !== PROPERTY_SEPARATOR;
  const separators = isOpen && (separateAlways || shared.length > 0) ? 1 : 0;
  if (shared.length + separators === 0) return own;
  if (own.length === 0) return shared;
  const joined = shortLivedBytes(own.length + separators + shared.length);
  joined.set(own);
  if (separators > 0) joined[own.length] = PROPERTY_SEPARATOR;
  joined.set(shared, own.length + separators);
  return joined;
}

// A message in a client's batch:
// totalSize 4 | magic 4 | crc 4 | flag 4 | bodyLength 4, body | propertiesLength 2, properties

function readBatchPart(bytes: Uint8Array, at: number) {
  if (bytes.length - at < 22) return null;
  const flag = readInt32(bytes, at + 12);
  const bodySize = readInt32(bytes, at + 16);
  const bodyEnd = at + 20 + bodySize;
  if (bodySize < 0 || bytes.length - bodyEnd < 2) return null;
  const propertiesSize = readInt16(bytes, bodyEnd);
  const end = bodyEnd + 2 + propertiesSize;
  if (propertiesSize < 0 || end > bytes.length) return null;
  return { flag, body: bytes.subarray(at + 20, bodyEnd), properties: bytes.subarray(bodyEnd + 2, end), end };
}
