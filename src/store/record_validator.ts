// The one check of a record, used by recovery, by a slave's intake and by `verify`: is what stands here, at this offset
// of the log, a whole record? Pure and without allocation on the good path, as a slave runs it over all it takes.

import { crc32 } from "node:zlib";
import { readInt16, readInt32, readInt64 } from "../base/bytes.ts";
import type { ReplicaRejectReason } from "../ha/replica_log.ts";
import {
  BLANK_MAGIC_CODE,
  bodyLengthPosition,
  END_FILE_MIN_BLANK_LENGTH,
  MESSAGE_MAGIC_CODE,
  MESSAGE_MAGIC_CODE_V2,
  RecordField,
} from "./message_codec.ts";
import { isZero } from "./mapped_file.ts";
import { CRC32_RESERVED_SIZE, CRC_PROPERTY_START, RECORD_OVERHEAD_MAX } from "./message_encoder.ts";
import { PROPERTY_SEPARATOR } from "./message_properties.ts";

/** Largest record taken from a master whose `maxMessageSize` we don't know. */
const REPLICA_RECORD_SIZE_MAX = 32 * 1024 * 1024;

/** Largest record a log with this `maxMessageSize` accepts, bytes: bounds what is held of an unfinished one. */
export function recordSizeMax(maxMessageSize: number): number {
  return Math.max(REPLICA_RECORD_SIZE_MAX, maxMessageSize + RECORD_OVERHEAD_MAX);
}

/** Outcome of {@link RecordValidator.check}. */
export const RecordVerdict = {
  /** A whole, good record of {@link RecordValidator.size} bytes. */
  OK: 0,
  /** A whole filler of {@link RecordValidator.size} bytes, up to the end of the file. */
  BLANK: 1,
  /** Good so far, but more bytes are needed: {@link RecordValidator.size} in all, 0 while that is unknown. */
  PARTIAL: 2,
  /** Not a record: see {@link RecordValidator.reason}. */
  REJECT: 3,
} as const;
export type RecordVerdict = (typeof RecordVerdict)[keyof typeof RecordVerdict];

/** A field of the record, as named in store.md and by `verify`. */
export type RecordFieldName =
  | "totalSize"
  | "magic"
  | "bodyCRC"
  | "physicalOffset"
  | "bodyLength"
  | "topicLength"
  | "propertiesLength"
  | "__CRC32#";

/** What a validator needs to know of the log. */
export interface RecordValidatorOptions {
  /** Bytes of a commit-log file. */
  readonly mappedFileSize: number;
  /** Largest record, and largest filler, accepted. */
  readonly recordSizeMax: number;
  /** Whether CRCs are computed (`checkCRCOnRecover`). */
  readonly checkCRC: boolean;
  /**
   * Whether `__CRC32#` counts where a record ends with one. Apache never looks at it unless `forceVerifyPropCRC` is set,
   * and while `enabledAppendPropCRC` is off a client may have copied that property from another message: such a record
   * is good, so a slave and recovery must take it. `verify` looks: it is the only check of most fields.
   */
  readonly checkPropCRC?: boolean;
  /** Whether a record without a right `__CRC32#` is rejected (`forceVerifyPropCRC`). */
  readonly forceVerifyPropCRC: boolean;
}

/**
 * Checks records one after another; the outcome's details stand in the fields until the next check. Stricter than
 * Apache's `CommitLog.checkMessageAndReturnSize`: the physical offset and the file's boundary count, and both CRCs may.
 */
export class RecordValidator {
  /** See {@link RecordVerdict}. */
  size = 0;
  /** Whether the last check met a filler, whole or not. */
  isBlank = false;
  /** Why it was rejected. */
  reason: ReplicaRejectReason = "badRecord";
  /** The field that gave it away. */
  field: RecordFieldName = "totalSize";
  /** The value seen and the value wanted. */
  detail = "";
  readonly #options: RecordValidatorOptions;

  constructor(options: RecordValidatorOptions) {
    this.#options = options;
  }

  /**
   * Judges the record at `at`, of which the bytes up to `end` are there, and which starts at `physicalOffset` of the
   * log. A wrong field is reported as soon as it is there, before the record is whole.
   */
  check(bytes: Uint8Array, at: number, end: number, physicalOffset: number): RecordVerdict {
    const available = end - at;
    this.size = 0;
    this.isBlank = false;
    if (available < 8) return RecordVerdict.PARTIAL;
    const totalSize = readInt32(bytes, at);
    const magic = readInt32(bytes, at + RecordField.MAGIC);
    const fileRest = this.#options.mappedFileSize - (physicalOffset % this.#options.mappedFileSize);
    if (magic === BLANK_MAGIC_CODE) return this.#checkBlank(totalSize, fileRest, available);
    if (magic !== MESSAGE_MAGIC_CODE && magic !== MESSAGE_MAGIC_CODE_V2) {
      return this.#reject("badRecord", "magic", `magic is 0x${hex(magic)}, wanted that of a record or a blank`);
    }
    if (totalSize < RECORD_SIZE_MIN || totalSize > this.#options.recordSizeMax) {
      const wanted = `${RECORD_SIZE_MIN} to ${this.#options.recordSizeMax}`;
      return this.#reject("badRecord", "totalSize", `totalSize is ${totalSize}, wanted ${wanted}`);
    }
    if (totalSize + END_FILE_MIN_BLANK_LENGTH > fileRest) {
      const detail = `totalSize is ${totalSize} with ${fileRest} bytes to the end of the file`;
      return this.#reject("fileSizeMismatch", "totalSize", detail);
    }
    this.size = totalSize;
    return this.#checkBehindHeader(bytes, at, available, physicalOffset, totalSize, magic);
  }

  #checkBlank(totalSize: number, fileRest: number, available: number): RecordVerdict {
    if (totalSize !== fileRest) {
      const detail = `blank of ${totalSize} bytes with ${fileRest} bytes to the end of the file`;
      return this.#reject("fileSizeMismatch", "totalSize", detail);
    }
    // Written only where the next record did not fit, so it is never longer than one.
    if (totalSize > this.#options.recordSizeMax + END_FILE_MIN_BLANK_LENGTH) {
      const detail = `blank of ${totalSize} bytes, wanted at most ${this.#options.recordSizeMax}`;
      return this.#reject("badRecord", "totalSize", detail);
    }
    this.size = totalSize;
    this.isBlank = true;
    return available < totalSize ? RecordVerdict.PARTIAL : RecordVerdict.BLANK;
  }

  #checkBehindHeader(
    bytes: Uint8Array,
    at: number,
    available: number,
    physicalOffset: number,
    totalSize: number,
    magic: number,
  ): RecordVerdict {
    if (available < RecordField.BORN_TIMESTAMP) return RecordVerdict.PARTIAL;
    const physical = readInt64(bytes, at + RecordField.PHYSICAL_OFFSET);
    if (physical !== physicalOffset) {
      return this.#reject(
        "badPhysicalOffset",
        "physicalOffset",
        `physicalOffset is ${physical}, wanted ${physicalOffset}`,
      );
    }
    const bodyLengthAt = bodyLengthPosition(readInt32(bytes, at + RecordField.SYS_FLAG));
    const topicLengthSize = magic === MESSAGE_MAGIC_CODE_V2 ? 2 : 1;
    // Such a record would never be whole: its size is reached before the fields that its sysFlag announces.
    const sizeMin = bodyLengthAt + 4 + topicLengthSize + 2;
    if (totalSize < sizeMin) {
      const detail = `totalSize is ${totalSize}, wanted ${sizeMin} or more by its sysFlag`;
      return this.#reject("badRecord", "totalSize", detail);
    }
    if (available < bodyLengthAt + 4) return RecordVerdict.PARTIAL;
    const bodySize = readInt32(bytes, at + bodyLengthAt);
    const topicRoom = totalSize - bodyLengthAt - 4 - bodySize - topicLengthSize - 2;
    if (bodySize < 0 || topicRoom < 0) {
      return this.#reject("badRecord", "bodyLength", `bodyLength is ${bodySize} in a record of ${totalSize} bytes`);
    }
    const topicLengthAt = bodyLengthAt + 4 + bodySize;
    if (available < topicLengthAt + topicLengthSize) return RecordVerdict.PARTIAL;
    // Apache reads the one-byte form as a signed byte.
    const topicSize = topicLengthSize === 2
      ? readInt16(bytes, at + topicLengthAt)
      : (bytes[at + topicLengthAt]! << 24) >> 24;
    if (topicSize < 0 || topicSize > topicRoom) {
      return this.#reject("badRecord", "topicLength", `topicLength is ${topicSize}, wanted 0 to ${topicRoom}`);
    }
    const propertiesLengthAt = topicLengthAt + topicLengthSize + topicSize;
    if (available < propertiesLengthAt + 2) return RecordVerdict.PARTIAL;
    const propertiesSize = readInt16(bytes, at + propertiesLengthAt);
    if (propertiesLengthAt + 2 + propertiesSize !== totalSize || propertiesSize < 0) {
      const wanted = totalSize - propertiesLengthAt - 2;
      return this.#reject("badRecord", "propertiesLength", `propertiesLength is ${propertiesSize}, wanted ${wanted}`);
    }
    if (available < totalSize) return RecordVerdict.PARTIAL;
    return this.#options.checkCRC
      ? this.#checkCrcs(bytes, at, bodyLengthAt + 4, bodySize, propertiesSize)
      : RecordVerdict.OK;
  }

  #checkCrcs(bytes: Uint8Array, at: number, bodyAt: number, bodySize: number, propertiesSize: number): RecordVerdict {
    const stored = readInt32(bytes, at + RecordField.BODY_CRC);
    const bodyStart = at + bodyAt;
    const computed = crc32(bytes.subarray(bodyStart, bodyStart + bodySize)) & 0x7fffffff;
    // Apache writes 0 for a null body and does not check empty ones; the CRC of no bytes is 0 as well.
    if (stored !== computed) {
      return this.#reject("badCrc", "bodyCRC", `bodyCRC is ${stored}, the body's CRC is ${computed}`);
    }
    if (!this.#options.checkPropCRC && !this.#options.forceVerifyPropCRC) return RecordVerdict.OK;
    const crcAt = at + this.size - CRC32_RESERVED_SIZE;
    if (propertiesSize < CRC32_RESERVED_SIZE || !looksLikeRecordCrc(bytes, crcAt)) {
      if (!this.#options.forceVerifyPropCRC) return RecordVerdict.OK;
      return this.#reject("badCrc", "__CRC32#", "__CRC32# is missing, wanted by forceVerifyPropCRC");
    }
    const wanted = crc32(bytes.subarray(at, crcAt)) & 0x7fffffff;
    if (isRecordCrc(bytes, crcAt, wanted)) return RecordVerdict.OK;
    return this.#reject("badCrc", "__CRC32#", `__CRC32# does not match the record's CRC ${wanted}${STALE_CRC_HINT}`);
  }

  #reject(reason: ReplicaRejectReason, field: RecordFieldName, detail: string): RecordVerdict {
    this.reason = reason;
    this.field = field;
    this.detail = detail;
    return RecordVerdict.REJECT;
  }
}

const STALE_CRC_HINT = " (or a client copied it from another message: a comparison with the twin tells)";

/** IPv4 hosts, no body, no topic, no properties. */
const RECORD_SIZE_MIN = 91;

/** What a disk writes whole or not at all, bytes. */
const SECTOR_SIZE = 512;

/**
 * Whether the good record of `size` bytes at `at`, which starts at `position` of its file, lacks sectors behind its
 * body, where no CRC looks: what a loss of power did not let reach the disk reads as zeros there. Text has none.
 */
export function isTorn(bytes: Uint8Array, at: number, size: number, position: number): boolean {
  const bodyLengthAt = at + bodyLengthPosition(readInt32(bytes, at + RecordField.SYS_FLAG));
  const topicLengthAt = bodyLengthAt + 4 + readInt32(bytes, bodyLengthAt);
  const isV2 = readInt32(bytes, at + RecordField.MAGIC) === MESSAGE_MAGIC_CODE_V2;
  const topicAt = topicLengthAt + (isV2 ? 2 : 1);
  const propertiesAt = topicAt + (isV2 ? readInt16(bytes, topicLengthAt) : bytes[topicLengthAt]!) + 2;
  const end = at + size;
  if (propertiesAt === end) return propertiesAt - 2 > topicAt && bytes[propertiesAt - 3] === 0;
  if (bytes[end - 1] === 0) return true;
  const toSector = (SECTOR_SIZE - (position + propertiesAt - at) % SECTOR_SIZE) % SECTOR_SIZE;
  for (let sector = propertiesAt + toSector; sector + SECTOR_SIZE <= end; sector += SECTOR_SIZE) {
    if (isZero(bytes.subarray(sector, sector + SECTOR_SIZE))) return true;
  }
  return false;
}

/**
 * Whether the 20 bytes at `at` are the property `__CRC32#`, or were before one of its fixed bytes was damaged: a
 * record must not escape its check by losing the name of the check.
 */
function looksLikeRecordCrc(bytes: Uint8Array, at: number): boolean {
  let wrong = bytes[at + CRC32_RESERVED_SIZE - 1] === PROPERTY_SEPARATOR ? 0 : 1;
  for (let i = 0; i < CRC_PROPERTY_START.length && wrong < 2; i++) {
    if (bytes[at + i] !== CRC_PROPERTY_START[i]) wrong++;
  }
  return wrong < 2;
}

function isRecordCrc(bytes: Uint8Array, at: number, crc: number): boolean {
  for (let i = 0; i < CRC_PROPERTY_START.length; i++) if (bytes[at + i] !== CRC_PROPERTY_START[i]) return false;
  for (let i = CRC_PROPERTY_START.length; i < CRC32_RESERVED_SIZE - 1; i++) {
    if (bytes[at + i] !== 0x30 + (crc % 10)) return false;
    crc = Math.floor(crc / 10);
  }
  return bytes[at + CRC32_RESERVED_SIZE - 1] === PROPERTY_SEPARATOR;
}

function hex(value: number): string {
  return (value >>> 0).toString(16).padStart(8, "0");
}
