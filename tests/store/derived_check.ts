// What consume queues and index files must hold, computed from the bytes of the log alone and with none of the engine's
// code: Apache's formats read by hand. It changes nothing and knows no store.

import assert from "node:assert/strict";

/** Sizes that a store was made with. */
export interface StoreShape {
  readonly mappedFileSizeCommitLog: number;
  readonly mappedFileSizeConsumeQueue: number;
  readonly maxHashSlotNum: number;
}

/** A record of the log, as far as queues and index depend on it. */
export interface DerivedRecord {
  readonly pos: number;
  readonly size: number;
  /** `topic/queueId`. */
  readonly queue: string;
  readonly queueOffset: number;
  readonly tagsCode: number;
  /** `topic#key` of every key, in order. */
  readonly keys: readonly string[];
}

const RECORD_MAGIC = 0xdaa320a7;
const BLANK_MAGIC = 0xcbd43194;
const UNIT_SIZE = 20;
const ENTRY_SIZE = 20;
const INDEX_HEADER_SIZE = 40;
const PRE_BLANK_SIZE = 0x7fff_ffff;

/** All records of a piece of the log that begins at `start`, a file's, and must end with a whole record or filler. */
export function deriveRecords(log: Uint8Array, start: number, fileSize: number): DerivedRecord[] {
  const view = new DataView(log.buffer, log.byteOffset, log.byteLength);
  const records: DerivedRecord[] = [];
  let at = 0;
  while (at < log.length) {
    const size = view.getInt32(at);
    const magic = view.getUint32(at + 4);
    if (magic === BLANK_MAGIC) {
      assert.equal((start + at + size) % fileSize, 0, `filler at ${start + at}`);
    } else {
      assert.equal(magic, RECORD_MAGIC, `record at ${start + at}`);
      assert.equal(Number(view.getBigInt64(at + 28)), start + at, "physicalOffset");
      records.push(deriveRecord(log, view, at, size, start));
    }
    at += size;
  }
  assert.equal(at, log.length, "the log ends with a whole record");
  return records;
}

/** Hosts are IPv4, as tests put them. */
function deriveRecord(log: Uint8Array, view: DataView, at: number, size: number, start: number): DerivedRecord {
  const text = (from: number, length: number) => new TextDecoder().decode(log.subarray(from, from + length));
  const topicAt = at + 88 + view.getInt32(at + 84);
  const topic = text(topicAt + 1, log[topicAt]!);
  const propertiesAt = topicAt + 1 + log[topicAt]! + 2;
  assert.equal(propertiesAt + view.getInt16(propertiesAt - 2), at + size, "propertiesLength");
  const properties = new Map<string, string>();
  for (const entry of text(propertiesAt, at + size - propertiesAt).split("\x02")) {
    const [name, value] = entry.split("\x01");
    if (value !== undefined) properties.set(name!, value);
  }
  const uniqKey = properties.get("UNIQ_KEY");
  const words = (properties.get("KEYS") ?? "").split(" ").filter((word) => word !== "");
  return {
    pos: start + at,
    size,
    queue: `${topic}/${view.getInt32(at + 12)}`,
    queueOffset: Number(view.getBigInt64(at + 20)),
    tagsCode: javaHash(properties.get("TAGS") ?? ""),
    keys: [...(uniqKey === undefined ? [] : [uniqKey]), ...words].map((key) => `${topic}#${key}`),
  };
}

function javaHash(text: string): number {
  let hash = 0;
  for (let i = 0; i < text.length; i++) hash = (Math.imul(hash, 31) + text.charCodeAt(i)) | 0;
  return hash;
}

/** Queue offset of each queue's next message after these records. Fails on a gap or a duplicate. */
export function nextQueueOffsets(records: readonly DerivedRecord[]): Map<string, number> {
  const next = new Map<string, number>();
  for (const { queue, queueOffset, pos } of records) {
    assert.equal(queueOffset, next.get(queue) ?? queueOffset, `queue offset of ${queue} at ${pos}`);
    next.set(queue, queueOffset + 1);
  }
  return next;
}

/** `files` are those of a store at rest, by path below its root; `records` all of its log, which begins at `minOffset`. */
export function checkDerived(
  files: ReadonlyMap<string, Uint8Array>,
  records: readonly DerivedRecord[],
  minOffset: number,
  shape: StoreShape,
): void {
  nextQueueOffsets(records);
  checkQueues(files, records, minOffset, shape);
  checkIndex(files, records, minOffset, shape);
}

function checkQueues(
  files: ReadonlyMap<string, Uint8Array>,
  records: readonly DerivedRecord[],
  minOffset: number,
  shape: StoreShape,
): void {
  const wanted = Map.groupBy(records, (record) => record.queue);
  const found = Map.groupBy(
    [...files].filter(([path]) => path.startsWith("/consumequeue/")),
    ([path]) => path.split("/").slice(2, 4).join("/"),
  );
  for (const queue of wanted.keys()) assert.ok(found.has(queue), `queue ${queue} is missing`);
  for (const [queue, parts] of found) {
    const units = wanted.get(queue) ?? [];
    let index = -1;
    let count = 0;
    let isOver = false;
    for (const [path, bytes] of parts) {
      assert.equal(bytes.length, shape.mappedFileSizeConsumeQueue, path);
      const first = Number(path.slice(-20)) / UNIT_SIZE;
      assert.ok(index < 0 || first === index, `${path} follows unit ${index}`);
      index = first;
      const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
      for (let at = 0; at < bytes.length; at += UNIT_SIZE, index++) {
        const [pos, size, tags] = [view.getBigInt64(at), view.getInt32(at + 8), view.getBigInt64(at + 12)];
        const isBelow = size === PRE_BLANK_SIZE || (size > 0 && pos < minOffset);
        if (isBelow && count === 0 && !isOver) continue;
        const unit = units[count];
        if (unit === undefined || isOver) {
          assert.deepEqual([Number(pos), size, Number(tags)], [0, 0, 0], `unit ${index} of ${queue}, behind the last`);
          isOver = true;
          continue;
        }
        assert.deepEqual([Number(pos), size, Number(tags)], [unit.pos, unit.size, unit.tagsCode], `${queue} ${index}`);
        assert.equal(index, unit.queueOffset, `place of the unit for ${unit.pos} in ${queue}`);
        count++;
      }
    }
    assert.equal(count, units.length, `units of ${queue}`);
  }
}

/** Every key has an entry that its slot's chain leads to, in order; the last message before a crash may have two. */
function checkIndex(
  files: ReadonlyMap<string, Uint8Array>,
  records: readonly DerivedRecord[],
  minOffset: number,
  shape: StoreShape,
): void {
  const reached: string[] = [];
  for (const [path, bytes] of files) {
    if (path.startsWith("/index/")) reached.push(...entriesOf(path, bytes, minOffset, shape.maxHashSlotNum));
  }
  const wanted = records.flatMap(({ pos, keys }) =>
    keys.map((key) => `${pos} ${Math.abs(javaHash(key)) & 0x7fff_ffff}`)
  );
  const isKnown = new Set(wanted);
  const has = new Set(reached);
  for (const entry of reached) assert.ok(isKnown.has(entry), `index entry "offset hash" ${entry} is of no record`);
  for (const entry of wanted) assert.ok(has.has(entry), `index lacks the entry "offset hash" ${entry}`);
}

/** `offset hash` of all entries that chains lead to, of records that are not expired. */
function entriesOf(path: string, bytes: Uint8Array, minOffset: number, slotCount: number): string[] {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  const entriesAt = INDEX_HEADER_SIZE + slotCount * 4;
  const count = view.getInt32(36);
  const entries: string[] = [];
  for (let slot = 0; slot < slotCount; slot++) {
    for (let next = view.getInt32(INDEX_HEADER_SIZE + slot * 4), last = count; next > 0;) {
      assert.ok(next < last, `${path}: entry ${next} of slot ${slot}, behind ${last}`);
      const at = entriesAt + next * ENTRY_SIZE;
      const hash = view.getInt32(at);
      assert.equal(hash % slotCount, slot, `${path}: entry ${next} is in the chain of slot ${slot}`);
      const pos = Number(view.getBigInt64(at + 4));
      if (pos >= minOffset) entries.push(`${pos} ${hash}`);
      last = next;
      next = view.getInt32(at + 16);
    }
  }
  return entries;
}
