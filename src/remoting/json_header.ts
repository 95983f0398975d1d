// The JSON form of a remoting header, as Apache's `RemotingSerializable` writes it: the form every peer understands and
// the only one we send unasked.

import { ProtocolError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
import { quoted } from "../base/printable.ts";
import type { RemotingHeader } from "./remoting_header.ts";

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
  for (const [key, item] of Object.entries(value)) {
    if (item === null) continue;
    // fastjson turns numbers and booleans into strings here, so peers in other languages send them.
    if (typeof item === "object") {
      throw new ProtocolError(`Remoting ext field ${quoted(key)} is ${kindOf(item)}, wanted a plain value`);
    }
    fields.set(key, String(item));
  }
  return fields;
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
  if (value === undefined || value === null) return 0;
  const number = typeof value === "string" ? Number(value) : value;
  if (typeof number !== "number" || (number | 0) !== number) {
    const seen = typeof value === "string" ? quoted(value, 40) : typeof value === "object" ? kindOf(value) : value;
    throw new ProtocolError(`Remoting ${what} is ${seen}, wanted a 32-bit integer`);
  }
  return number;
}
