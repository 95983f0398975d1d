// The JSON form of a remoting header, as Apache's `RemotingSerializable` writes it: the form every peer understands and
// the only one we send unasked. Every request and answer goes through here: the plain case is written straight into bytes.

import { ProtocolError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import { quoted } from "../base/printable.ts";
import type { RemotingHeader } from "./remoting_header.ts";

const CODE = utf8.encode('{"code":');
const EXT_FIELDS = utf8.encode(',"extFields":{');
const FLAG = utf8.encode(',"flag":');
const LANGUAGE = utf8.encode(',"language":"');
const OPAQUE = utf8.encode('","opaque":');
const REMARK = utf8.encode(',"remark":"');
const VERSION = utf8.encode(',"serializeTypeCurrentRPC":"JSON","version":');
/** Bytes of a header beside its texts: the parts above and five numbers. */
const FIXED_SIZE_MAX = 256;
/** Bytes around a key and its value. */
const FIELD_SIZE = 6;

/** UTF-8 JSON with Apache's keys in Apache's (alphabetical) order. */
export function encodeJsonHeader(header: RemotingHeader): Uint8Array {
  const fields: Record<string, unknown> = { code: header.code };
  // Apache leaves the map out when there was no custom header; `{}` and none mean the same to every reader.
  if (header.extFields.size > 0) fields.extFields = Object.fromEntries(header.extFields);
  fields.flag = header.flag;
  fields.language = header.language;
  fields.opaque = header.opaque;
  if (header.remark !== null) fields.remark = header.remark;
  fields.serializeTypeCurrentRPC = "JSON";
  fields.version = header.version;
  return utf8.encode(JSON.stringify(fields));
}

/** Bytes that {@link writePlainJsonHeader} needs at most. */
export function plainJsonHeaderSizeMax(header: RemotingHeader): number {
  let size = FIXED_SIZE_MAX + header.language.length + (header.remark?.length ?? 0);
  for (const [key, value] of header.extFields) size += key.length + value.length + FIELD_SIZE;
  return size;
}

/**
 * Writes what {@link encodeJsonHeader} makes at `at`, without a text or an array in between, and returns its end. -1: a text
 * has a character that JSON escapes or UTF-8 spreads, and what was written is worth nothing.
 */
export function writePlainJsonHeader(header: RemotingHeader, target: Uint8Array, at: number): number {
  let end = writeNumber(header.code, target, writeBytes(CODE, target, at));
  if (header.extFields.size > 0) {
    end = writeExtFields(header.extFields, target, end);
    if (end < 0) return end;
  }
  end = writeNumber(header.flag, target, writeBytes(FLAG, target, end));
  end = writePlain(header.language, target, writeBytes(LANGUAGE, target, end));
  if (end < 0) return end;
  end = writeNumber(header.opaque, target, writeBytes(OPAQUE, target, end));
  if (header.remark !== null) {
    end = writePlain(header.remark, target, writeBytes(REMARK, target, end));
    if (end < 0) return end;
    target[end++] = 0x22;
  }
  end = writeNumber(header.version, target, writeBytes(VERSION, target, end));
  target[end] = 0x7d;
  return end + 1;
}

function writeExtFields(fields: ReadonlyMap<string, string>, target: Uint8Array, at: number): number {
  let end = writeBytes(EXT_FIELDS, target, at);
  for (const [key, value] of fields) {
    target[end++] = 0x22;
    end = writePlain(key, target, end);
    if (end < 0) return end;
    target[end++] = 0x22;
    target[end++] = 0x3a;
    target[end++] = 0x22;
    end = writePlain(value, target, end);
    if (end < 0) return end;
    target[end++] = 0x22;
    target[end++] = 0x2c;
  }
  // In the last comma's place.
  target[end - 1] = 0x7d;
  return end;
}

function writeBytes(bytes: Uint8Array, target: Uint8Array, at: number): number {
  target.set(bytes, at);
  return at + bytes.length;
}

function writeNumber(value: number, target: Uint8Array, at: number): number {
  return writePlain(String(value), target, at);
}

function writePlain(text: string, target: Uint8Array, at: number): number {
  const { length } = text;
  for (let i = 0; i < length; i++) {
    const unit = text.charCodeAt(i);
    if (unit < 0x20 || unit > 0x7e || unit === 0x22 || unit === 0x5c) return -1;
    target[at + i] = unit;
  }
  return at + length;
}

/** Reads it back; a {@link ProtocolError} for anything that is not a header. */
export function decodeJsonHeader(bytes: Uint8Array): RemotingHeader {
  let fields: unknown;
  try {
    fields = JSON.parse(utf8.decode(bytes));
  } catch {
    throw new ProtocolError(`Remoting header of ${bytes.length} bytes is not JSON, wanted an object`);
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new ProtocolError("Remoting header is JSON but no object, wanted one");
  }
  const { code, language, version, opaque, flag, remark, extFields } = fields as Record<string, unknown>;
  return {
    code: int32(code, "code"),
    language: typeof language === "string" ? language : "OTHER",
    version: int32(version, "version"),
    opaque: int32(opaque, "opaque"),
    flag: int32(flag, "flag"),
    remark: remarkOf(remark),
    extFields: extOf(extFields),
  };
}

function extOf(value: unknown): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  if (value === undefined || value === null) return fields;
  if (typeof value !== "object" || Array.isArray(value)) {
    throw new ProtocolError(`Remoting extFields is ${kindOf(value)}, wanted an object`);
  }
  // Twice as fast as entries(), and nothing is inherited by what JSON.parse made.
  for (const key in value) {
    const item = (value as Record<string, unknown>)[key];
    if (typeof item === "string") fields.set(key, item);
    else if (item !== null) fields.set(key, coerced(key, item));
  }
  return fields;
}

/** fastjson turns numbers and booleans into strings here, so peers in other languages send them. */
function coerced(key: string, item: unknown): string {
  if (typeof item === "object") {
    throw new ProtocolError(`Remoting ext field ${quoted(key)} is ${kindOf(item)}, wanted a plain value`);
  }
  return String(item);
}

function remarkOf(value: unknown): string | null {
  if (value === undefined || value === null) return null;
  if (typeof value === "object") throw new ProtocolError(`Remoting remark is ${kindOf(value)}, wanted text`);
  return String(value);
}

/** What is no text, number or boolean is not shown but named: it may be nested so deeply that showing it fails. */
function kindOf(value: unknown): string {
  return Array.isArray(value) ? "an array" : typeof value === "object" ? "an object" : `a ${typeof value}`;
}

function int32(value: unknown, what: string): number {
  if (typeof value === "number" && (value | 0) === value) return value;
  if (value === undefined || value === null) return 0;
  const number = typeof value === "string" ? Number(value) : value;
  if (typeof number !== "number" || (number | 0) !== number) {
    const seen = typeof value === "string" ? quoted(value, 40) : typeof value === "object" ? kindOf(value) : value;
    throw new ProtocolError(`Remoting ${what} is ${seen}, wanted a 32-bit integer`);
  }
  return number;
}
