// The binary form of a remoting header (Apache's `RocketMQSerializable`). Peers started with
// `rocketmq.serialize.type=ROCKETMQ` send it; they read JSON answers.
//
//   | 2 code | 1 language | 2 version | 4 opaque | 4 flag | 4+n remark | 4+n ext: (2+n key, 4+n value)* |

import { ProtocolError } from "../base/errors.ts";
import { concatBytes, readInt16, readInt32, utf8, writeInt16, writeInt32 } from "../base/bytes.ts";
import type { RemotingHeader } from "./remoting_header.ts";

/** Names by Apache's `LanguageCode` number. */
const LANGUAGES = [
  "JAVA",
  "CPP",
  "DOTNET",
  "PYTHON",
  "DELPHI",
  "ERLANG",
  "RUBY",
  "OTHER",
  "HTTP",
  "GO",
  "PHP",
  "OMS",
  "RUST",
  "NODE_JS",
] as const;
const OTHER = 7;
const FIXED_SIZE = 21;

/**
 * Binary header. `code` keeps 16 bits only (codes from 200050 on need JSON) and an empty value reads back as absent:
 * both are the format's own limits.
 */
export function encodeRocketmqHeader(header: RemotingHeader): Uint8Array {
  const remark = utf8.encode(header.remark ?? "");
  const parts: Uint8Array[] = [];
  for (const [key, value] of header.extFields) parts.push(extEntry(utf8.encode(key), utf8.encode(value)));
  const ext = concatBytes(parts);
  const out = new Uint8Array(FIXED_SIZE + remark.length + ext.length);
  writeInt16(out, 0, header.code);
  const language = (LANGUAGES as readonly string[]).indexOf(header.language);
  out[2] = language < 0 ? OTHER : language;
  writeInt16(out, 3, header.version);
  writeInt32(out, 5, header.opaque);
  writeInt32(out, 9, header.flag);
  writeInt32(out, 13, remark.length);
  out.set(remark, 17);
  writeInt32(out, 17 + remark.length, ext.length);
  out.set(ext, FIXED_SIZE + remark.length);
  return out;
}

/** Reads it back; a {@link ProtocolError} for a length that does not fit. */
export function decodeRocketmqHeader(bytes: Uint8Array): RemotingHeader {
  if (bytes.length < FIXED_SIZE) {
    throw new ProtocolError(`Remoting binary header has ${bytes.length} bytes, wanted at least ${FIXED_SIZE}`);
  }
  const remarkSize = readInt32(bytes, 13);
  if (remarkSize < 0 || remarkSize > bytes.length - FIXED_SIZE) {
    throw new ProtocolError(`Remoting remark length is ${remarkSize}, ${bytes.length - FIXED_SIZE} bytes are left`);
  }
  const extAt = FIXED_SIZE + remarkSize;
  const extSize = readInt32(bytes, extAt - 4);
  if (extSize < 0 || extSize > bytes.length - extAt) {
    throw new ProtocolError(`Remoting ext length is ${extSize}, ${bytes.length - extAt} bytes are left`);
  }
  return {
    code: readInt16(bytes, 0),
    language: LANGUAGES[bytes[2]!] ?? "OTHER",
    version: readInt16(bytes, 3),
    opaque: readInt32(bytes, 5),
    flag: readInt32(bytes, 9),
    remark: remarkSize === 0 ? null : utf8.decode(bytes.subarray(17, 17 + remarkSize)),
    extFields: decodeExt(bytes.subarray(extAt, extAt + extSize)),
  };
}

function extEntry(key: Uint8Array, value: Uint8Array): Uint8Array {
  if (key.length > 0x7fff) throw new RangeError(`Ext key has ${key.length} bytes, wanted at most 32767`);
  const entry = new Uint8Array(6 + key.length + value.length);
  writeInt16(entry, 0, key.length);
  entry.set(key, 2);
  writeInt32(entry, 2 + key.length, value.length);
  entry.set(value, 6 + key.length);
  return entry;
}

function decodeExt(bytes: Uint8Array): ReadonlyMap<string, string> {
  const fields = new Map<string, string>();
  for (let at = 0; at < bytes.length;) {
    const keyAt = checkedEnd(bytes, at, 2, "entry");
    const keyEnd = checkedEnd(bytes, keyAt, readInt16(bytes, at), "key");
    const valueAt = checkedEnd(bytes, keyEnd, 4, "entry");
    const valueEnd = checkedEnd(bytes, valueAt, readInt32(bytes, keyEnd), "value");
    // A zero length reads as null in Java, and null entries are as good as absent.
    if (keyEnd > keyAt && valueEnd > valueAt) {
      fields.set(readText(bytes, keyAt, keyEnd), readText(bytes, valueAt, valueEnd));
    }
    at = valueEnd;
  }
  return fields;
}

function checkedEnd(bytes: Uint8Array, at: number, size: number, what: string): number {
  if (size < 0 || size > bytes.length - at) {
    throw new ProtocolError(`Remoting ext ${what} length is ${size}, ${bytes.length - at} bytes are left`);
  }
  return at + size;
}

/** Texts of so few bytes are read faster one by one than by a decoder. */
const SHORT_TEXT = 16;

function readText(bytes: Uint8Array, at: number, end: number): string {
  if (end - at > SHORT_TEXT) return utf8.decode(bytes.subarray(at, end));
  let text = "";
  for (let i = at; i < end; i++) {
    if (bytes[i]! > 0x7f) return utf8.decode(bytes.subarray(at, end));
    text += String.fromCharCode(bytes[i]!);
  }
  return text;
}
