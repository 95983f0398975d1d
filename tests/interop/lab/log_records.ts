// What a store's commit log holds, read from its files by a reader that shares no line with the product's: every whole
// record from the first one on, by its key.

import * as fs from "node:fs";
import * as path from "node:path";
import { crc32 } from "node:zlib";

/** A record as the tests judge it. */
export interface LogRecord {
  readonly offset: number;
  /** Bytes of the body as stored, and their CRC-32. */
  readonly bodySize: number;
  readonly bodyCrc: number;
}

/** A log as read from its files. */
export interface LogContent {
  /** End of the last whole record, or of the file when a filler ends it. */
  readonly end: number;
  readonly records: number;
  /** By the first word of KEYS. A key that stands twice is in `doubles`. */
  readonly byKey: ReadonlyMap<string, LogRecord>;
  readonly doubles: readonly string[];
}

const MAGIC_V1 = -626843481;
const MAGIC_V2 = -626843477;
const MAGIC_BLANK = -875286124;
const FIXED_SIZE = 91;
const BORN_HOST_IS_V6 = 1 << 4;
const STORE_HOST_IS_V6 = 1 << 5;

/** Reads a log that begins at offset 0; one without files is empty. */
export function readLog(store: string, fileSize: number): LogContent {
  const byKey = new Map<string, LogRecord>();
  const doubles: string[] = [];
  let end = 0;
  let records = 0;
  for (;;) {
    const name = path.join(store, "commitlog", String(end).padStart(20, "0"));
    if (!fs.existsSync(name)) break;
    const bytes = fs.readFileSync(name);
    const start = end;
    let at = 0;
    while (bytes.length - at >= 8) {
      const size = bytes.readInt32BE(at);
      if (bytes.readInt32BE(at + 4) === MAGIC_BLANK) {
        at = fileSize;
        break;
      }
      const record = recordAt(bytes, at, size, start + at);
      if (record === null) break;
      records++;
      const { key, ...rest } = record;
      if (byKey.has(key)) doubles.push(key);
      else if (key !== "") byKey.set(key, rest);
      at += size;
    }
    end = start + at;
    if (at < fileSize) break;
  }
  return { end, records, byKey, doubles };
}

/** The record of `size` bytes at `at`; null when it is not whole. */
function recordAt(bytes: Buffer, at: number, size: number, offset: number): LogRecord & { key: string } | null {
  const magic = bytes.readInt32BE(at + 4);
  if ((magic !== MAGIC_V1 && magic !== MAGIC_V2) || size < FIXED_SIZE || at + size > bytes.length) return null;
  if (Number(bytes.readBigInt64BE(at + 28)) !== offset) return null;
  const sysFlag = bytes.readInt32BE(at + 36);
  const bornHost = (sysFlag & BORN_HOST_IS_V6) !== 0 ? 20 : 8;
  const storeHost = (sysFlag & STORE_HOST_IS_V6) !== 0 ? 20 : 8;
  let cursor = at + 48 + bornHost + 8 + storeHost + 12;
  const bodySize = bytes.readInt32BE(cursor);
  cursor += 4;
  const bodyEnd = cursor + bodySize;
  if (bodySize < 0 || bodyEnd > at + size) return null;
  const bodyCrc = crc32(bytes.subarray(cursor, bodyEnd));
  if ((bodyCrc & 0x7fffffff) !== bytes.readInt32BE(at + 8)) return null;
  const topicSize = magic === MAGIC_V2 ? 2 + bytes.readInt16BE(bodyEnd) : 1 + bytes.readInt8(bodyEnd);
  const propertiesAt = bodyEnd + topicSize;
  const properties = bytes.toString("utf8", propertiesAt + 2, at + size);
  const keys = properties.split("\u0002").find((one) => one.startsWith("KEYS\u0001"))?.slice(5) ?? "";
  return { offset, bodySize, bodyCrc, key: keys.split(" ")[0]! };
}
