// The JSON form of a remoting header, as Apache's `RemotingSerializable` writes it: the form every peer understands and
// the only one we send unasked.

import { ProtocolError } from "../base/errors.ts";
import { utf8 } from "../base/bytes.ts";
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
    throw new ProtocolError("Remoting header is not JSON");
  }
  if (typeof fields !== "object" || fields === null || Array.isArray(fields)) {
    throw new ProtocolError("Remoting header is JSON but no object");
  }
  const { code, language, version, opaque, flag, remark, extFields } = fields as Record<string, unknown>;
  return {
    code: int32(code, "code"),
    language: typeof language === "string" ? language : "OTHER",
    version: int32(version, "version"),
    opaque: int32(opaque, "opaque"),
    flag: int32(flag, "flag"),
    remark: remark === undefined || remark === null ? null : String(remark),
    extFields: extOf(extFields),
  };
}

function extOf(value: unknown): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  if (value === undefined || value === null) return fields;
  if (typeof value !== "object" || Array.isArray(value)) throw new ProtocolError("Remoting extFields is no object");
  for (const [key, item] of Object.entries(value)) {
    if (item === null) continue;
    // fastjson turns numbers and booleans into strings here, so peers in other languages send them.
    if (typeof item === "object") throw new ProtocolError(`Remoting ext field "${key}" is no plain value`);
    fields.set(key, String(item));
  }
  return fields;
}

function int32(value: unknown, what: string): number {
  if (value === undefined || value === null) return 0;
  const number = typeof value === "string" ? Number(value) : value;
  if (typeof number !== "number" || (number | 0) !== number) {
    throw new ProtocolError(
      `Remoting ${what} is ${String(JSON.stringify(value)).slice(0, 40)}, wanted a 32-bit integer`,
    );
  }
  return number;
}
