// What a commit log alone says: its records, and from them consume-queue units and index entries. Written a second time
// and on purpose without the engine's decoders, so that a mistake in those does not hide itself. Pure.

import { crc32 } from "node:zlib";

/** What a record of the log says of itself. */
export interface DerivedRecord {
  readonly offset: number;
  readonly size: number;
  readonly topic: string;
  readonly queueId: number;
  readonly queueOffset: number;
  readonly storeTimestamp: number;
  readonly tagsCode: number;
  /** Hashes of UNIQ_KEY and KEYS as index entries hold them, in Apache's order. */
  readonly keyHashes: readonly number[];
}

const MAGICS = [-626843481, -626843477];
const BLANK_MAGIC = -875286124;
/** The first of Apache's delay levels, ms. */
const DELAYS_MS = [1_000, 5_000, 10_000, 30_000];
const text = new TextDecoder();

/** Walks whole records in `bytes`, which start at `offset` of the log. Stops at `error`, or at the end of the bytes. */
export function deriveRecords(
  bytes: Uint8Array,
  offset: number,
  fileSize: number,
  visit: (record: DerivedRecord) => void = () => {},
): { end: number; error: string } {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  let at = 0;
  while (at < bytes.length) {
    const here = offset + at;
    if (bytes.length - at < 8) return { end: here, error: `${bytes.length - at} bytes are left` };
    const size = view.getInt32(at);
    const magic = view.getInt32(at + 4);
    const rest = fileSize - here % fileSize;
    if (magic === BLANK_MAGIC) {
      if (size !== rest || at + size > bytes.length) return { end: here, error: `filler of ${size}, wanted ${rest}` };
      at += size;
      continue;
    }
    if (!MAGICS.includes(magic)) return { end: here, error: `magic is ${magic}` };
    if (size < 91 || size + 8 > rest || at + size > bytes.length) return { end: here, error: `size is ${size}` };
    const record = parseRecord(view, at, size, here, magic);
    if (typeof record === "string") return { end: here, error: record };
    visit(record);
    at += size;
  }
  return { end: offset + at, error: "" };
}

function parseRecord(view: DataView, at: number, size: number, here: number, magic: number): DerivedRecord | string {
  const bytes = new Uint8Array(view.buffer, view.byteOffset, view.byteLength);
  const physicalOffset = Number(view.getBigInt64(at + 28));
  if (physicalOffset !== here) return `physical offset is ${physicalOffset}`;
  const sysFlag = view.getInt32(at + 36);
  let next = at + 48 + ((sysFlag & 0x10) === 0 ? 8 : 20);
  const storeTimestamp = Number(view.getBigInt64(next));
  next += 8 + ((sysFlag & 0x20) === 0 ? 8 : 20) + 4 + 8;
  const bodySize = view.getInt32(next);
  const bodyAt = next + 4;
  if (bodySize < 0 || bodyAt + bodySize + 3 > at + size) return `body size is ${bodySize}`;
  const crc = crc32(bytes.subarray(bodyAt, bodyAt + bodySize)) & 0x7fffffff;
  if (crc !== view.getInt32(at + 8)) return `body CRC is ${view.getInt32(at + 8)}, wanted ${crc}`;
  next = bodyAt + bodySize;
  const isV2 = magic === MAGICS[1];
  const topicSize = isV2 ? view.getInt16(next) : view.getInt8(next);
  next += isV2 ? 2 : 1;
  if (topicSize < 0 || next + topicSize + 2 > at + size) return `topic size is ${topicSize}`;
  const topic = text.decode(bytes.subarray(next, next + topicSize));
  next += topicSize;
  const propertiesSize = view.getInt16(next);
  if (next + 2 + propertiesSize !== at + size) return `properties size is ${propertiesSize}`;
  const properties = new Map(
    text.decode(bytes.subarray(next + 2, at + size)).split("\x02").filter((each) => each !== "").map((each) => {
      const separator = each.indexOf("\x01");
      return [each.slice(0, separator), each.slice(separator + 1)];
    }),
  );
  const keys = [properties.get("UNIQ_KEY") ?? "", ...(properties.get("KEYS") ?? "").split(" ")];
  return {
    offset: here,
    size,
    topic,
    queueId: view.getInt32(at + 12),
    queueOffset: Number(view.getBigInt64(at + 20)),
    storeTimestamp,
    tagsCode: tagsCodeOf(topic, properties, storeTimestamp),
    keyHashes: keys.filter((key) => key !== "").map((key) => Math.max(0, abs(javaHash(`${topic}#${key}`)))),
  };
}

/** A message that waits for its delay level has the time of its delivery there. */
function tagsCodeOf(topic: string, properties: ReadonlyMap<string, string>, storeTimestamp: number): number {
  const delayMs = topic === "SCHEDULE_TOPIC_XXXX" ? DELAYS_MS[Number(properties.get("DELAY")) - 1] : undefined;
  return delayMs === undefined ? javaHash(properties.get("TAGS") ?? "") : storeTimestamp + delayMs;
}

/** Java's `String.hashCode`. */
export function javaHash(value: string): number {
  let hash = 0;
  for (let i = 0; i < value.length; i++) hash = (Math.imul(hash, 31) + value.charCodeAt(i)) | 0;
  return hash;
}

/** Java's `Math.abs` of an int, whose most negative value has none. */
function abs(value: number): number {
  return value < 0 ? -value | 0 : value;
}

/** One entry of an index file. */
export interface IndexEntry {
  readonly keyHash: number;
  readonly phyOffset: number;
  readonly timeDiff: number;
  readonly previous: number;
}

/** An index file, taken apart. */
export interface ParsedIndexFile {
  readonly beginTimestamp: number;
  readonly beginPhyOffset: number;
  readonly endPhyOffset: number;
  readonly hashSlotCount: number;
  readonly slots: readonly number[];
  readonly entries: readonly IndexEntry[];
}

/** Takes an index file of `slotCount` slots apart. */
export function parseIndexFile(bytes: Uint8Array, slotCount: number): ParsedIndexFile {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const slots = Array.from({ length: slotCount }, (_, slot) => view.getInt32(40 + slot * 4));
  const entries: IndexEntry[] = [];
  const count = view.getInt32(36);
  for (let i = 1; i < count; i++) {
    const at = 40 + slotCount * 4 + i * 20;
    entries.push({
      keyHash: view.getInt32(at),
      phyOffset: Number(view.getBigInt64(at + 4)),
      timeDiff: view.getInt32(at + 12),
      previous: view.getInt32(at + 16),
    });
  }
  return {
    beginTimestamp: Number(view.getBigInt64(0)),
    beginPhyOffset: Number(view.getBigInt64(16)),
    endPhyOffset: Number(view.getBigInt64(24)),
    hashSlotCount: view.getInt32(32),
    slots,
    entries,
  };
}

/** What is wrong with an index file taken for itself: its chains, slots and header against its entries; "" for nothing. */
export function indexFileFault(file: ParsedIndexFile): string {
  const slots = file.slots.map(() => 0);
  for (const [i, entry] of file.entries.entries()) {
    const slot = entry.keyHash % slots.length;
    if (entry.previous !== slots[slot]) return `entry ${i + 1} follows ${entry.previous}, wanted ${slots[slot]}`;
    slots[slot] = i + 1;
  }
  for (const [slot, value] of slots.entries()) {
    if (file.slots[slot] !== value) return `slot ${slot} is ${file.slots[slot]}, wanted ${value}`;
  }
  const used = slots.filter((value) => value > 0).length;
  if (file.hashSlotCount !== used) return `hashSlotCount is ${file.hashSlotCount}, wanted ${used}`;
  const [first, last] = [file.entries[0], file.entries.at(-1)];
  if (first === undefined || last === undefined) return "";
  if (file.beginPhyOffset !== first.phyOffset) return `begins at ${file.beginPhyOffset}, wanted ${first.phyOffset}`;
  if (file.endPhyOffset !== last.phyOffset) return `ends at ${file.endPhyOffset}, wanted ${last.phyOffset}`;
  return "";
}
