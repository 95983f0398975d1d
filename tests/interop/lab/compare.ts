// Twins compared from outside: commit-log bytes file by file, consume queues entry by entry.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";

/** Asserts that two stores hold the same commit-log bytes in `[from, to)`. */
export function assertSameLog(a: string, b: string, from: number, to: number, fileSize: number): void {
  assert.ok(to > from, `nothing to compare in [${from}, ${to})`);
  for (let start = from - (from % fileSize); start < to; start += fileSize) {
    const name = String(start).padStart(20, "0");
    const low = Math.max(from, start) - start;
    const high = Math.min(to, start + fileSize) - start;
    const left = slice(path.join(a, "commitlog", name), low, high);
    const right = slice(path.join(b, "commitlog", name), low, high);
    if (Buffer.compare(left, right) === 0) continue;
    let at = 0;
    while (left[at] === right[at]) at++;
    assert.fail(`commit logs differ at ${start + low + at}: ${a} and ${b}`);
  }
}

function slice(file: string, low: number, high: number): Buffer {
  const bytes = Buffer.alloc(high - low);
  const fd = fs.openSync(file, "r");
  const read = fs.readSync(fd, bytes, 0, bytes.length, low);
  fs.closeSync(fd);
  assert.equal(read, bytes.length, `${file} ends early`);
  return bytes;
}

const UNIT = 20;

/** Consume queue entries `index -> offset,size,tagsCode` that point below `to`, by `topic/queueId`. */
export function consumeQueueEntries(store: string, from: number, to: number): Map<string, Map<number, string>> {
  const queues = new Map<string, Map<number, string>>();
  const root = path.join(store, "consumequeue");
  for (const topic of fs.existsSync(root) ? fs.readdirSync(root) : []) {
    for (const queueId of fs.readdirSync(path.join(root, topic))) {
      const entries = new Map<number, string>();
      const folder = path.join(root, topic, queueId);
      for (const name of fs.readdirSync(folder).sort()) {
        const bytes = fs.readFileSync(path.join(folder, name));
        for (let at = 0; at + UNIT <= bytes.length; at += UNIT) {
          const offset = Number(bytes.readBigInt64BE(at));
          const size = bytes.readInt32BE(at + 8);
          if (size <= 0 || size === 0x7fffffff || offset < from || offset >= to) continue;
          entries.set((Number(name) + at) / UNIT, `${offset} ${size} ${bytes.readBigInt64BE(at + 12)}`);
        }
      }
      if (entries.size > 0) queues.set(`${topic}/${queueId}`, entries);
    }
  }
  return queues;
}

/** Asserts that two stores' consume queues agree on every entry that points into `[from, to)`. */
export function assertSameQueues(a: string, b: string, from: number, to: number): void {
  const left = consumeQueueEntries(a, from, to);
  const right = consumeQueueEntries(b, from, to);
  assert.deepEqual([...left.keys()].sort(), [...right.keys()].sort());
  for (const [queue, entries] of left) {
    const others = right.get(queue)!;
    assert.equal(others.size, entries.size, `entries of ${queue}`);
    for (const [index, entry] of entries) assert.equal(others.get(index), entry, `${queue} entry ${index}`);
  }
}
