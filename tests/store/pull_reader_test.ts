// Pulls: which messages of a queue go into one answer, against a plain model of Apache's getMessage; records verbatim.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import fc from "fast-check";
import { utf8 } from "../../src/base/bytes.ts";
import { decodeMessage } from "../../src/store/message_codec.ts";
import type { MessageFilter } from "../../src/store/message_filter.ts";
import { javaHashCode } from "../../src/store/message_properties.ts";
import type { MessageStore, MessageStoreOptions } from "../../src/store/message_store.ts";
import { failingFileSystem } from "../support/failing_fs.ts";
import { fastClock } from "../support/fast_clock.ts";
import { MemoryLogger } from "../support/ha_options.ts";
import { message, putOk, StoreKit } from "../support/store_kit.ts";

let kit: StoreKit;
before(async () => {
  kit = await StoreKit.create();
});
after(() => kit.dispose());

const TAGS = ["a", "b", "c"];

/** What is in one queue, in order; where its record stands. */
type Queue = { body: string; tag: string; size: number; pos: number }[];

/** A pull ends at the end of a queue file, as in Apache: here there is but one. */
const ONE_FILE = { mappedFileSizeConsumeQueue: 20_000, mappedFileSizeCommitLog: 256 * 1024 };

async function filled(
  count: number,
  options: Partial<MessageStoreOptions> = {},
  isReopened = false,
  logger = new MemoryLogger(),
) {
  const directory = kit.directory();
  const store = await kit.open(directory, { ...ONE_FILE, ...options }, { logger });
  const queue: Queue = [];
  for (let i = 0; i < count; i++) {
    const tag = TAGS[i * 7 % 3]!;
    const body = `m${i}`.padEnd(10 + i * 37 % 400, ".");
    const put = putOk(store.appendMessage(message(body, { properties: new Map([["TAGS", tag], ["n", String(i)]]) })));
    queue.push({ body, tag, size: put.wroteBytes, pos: put.wroteOffset });
    // Others in between, so that neighbours in the queue are not always neighbours in the log.
    if (i % 5 === 0) putOk(store.appendMessage(message("other", { queueId: 1 })));
    if (i % 11 === 0) putOk(store.appendMessage(message("other".padEnd(1000, "."), { queueId: 1 })));
  }
  await store.waitDispatched();
  if (!isReopened) return { store, queue, directory };
  await store.shutdown();
  return { store: await kit.open(directory, { ...ONE_FILE, ...options }, { logger }), queue, directory };
}

function bodiesOf(records: Uint8Array): string[] {
  const bodies: string[] = [];
  for (let at = 0; at < records.length;) {
    const found = decodeMessage(records, at);
    bodies.push(utf8.decode(found.body));
    at += found.storeSize;
  }
  return bodies;
}

const byTag = (...tags: string[]): MessageFilter => ({
  needsProperties: false,
  isMatchedByConsumeQueue: (code) => code === null || tags.map(javaHashCode).includes(code),
  isMatchedByCommitLog: () => true,
});
const byNumber = (keep: (n: number) => boolean): MessageFilter => ({
  needsProperties: true,
  isMatchedByConsumeQueue: () => true,
  isMatchedByCommitLog: (properties) => keep(Number(properties.get("n"))),
});

/** What bounds one pull. */
interface Limits {
  readonly bytes: number;
  readonly count: number;
  readonly scan: number;
  /** Entries of a queue's file. */
  readonly perFile?: number;
  /** Records of messages below can't be read. */
  readonly goneBelow?: number;
  /** The filter needs the record. */
  readonly looksInto?: boolean;
}

/** Apache's rules, said plainly; every message counts as in memory. */
function model(
  queue: Queue,
  offset: number,
  maxMsgNums: number,
  keep: ((index: number) => boolean) | null,
  { perFile = Infinity, goneBelow = 0, looksInto = false, ...limits }: Limits,
) {
  if (queue.length === 0) return { status: "NO_MESSAGE_IN_QUEUE", next: 0, bodies: [] };
  if (offset < 0) return { status: "OFFSET_TOO_SMALL", next: 0, bodies: [] };
  if (offset === queue.length) return { status: "OFFSET_OVERFLOW_ONE", next: offset, bodies: [] };
  if (offset > queue.length) return { status: "OFFSET_OVERFLOW_BADLY", next: queue.length, bodies: [] };
  const bodies: string[] = [];
  let bytes = 0;
  let next = offset;
  let status = "NO_MATCHED_MESSAGE";
  const scanBytes = Math.max(limits.scan, maxMsgNums * 20);
  const fileEnd = perFile === Infinity ? Infinity : offset - offset % perFile + perFile;
  for (let index = offset; index < Math.min(queue.length, fileEnd); index++) {
    if ((index - offset) * 20 >= scanBytes) break;
    const { size, body } = queue[index]!;
    const full = bodies.length > 0 &&
      (bodies.length + 1 > Math.min(maxMsgNums, limits.count) || bytes + size > limits.bytes);
    if (full) break;
    next = index + 1;
    const isGone = index < goneBelow;
    if (keep !== null && !(looksInto && isGone) && !keep(index)) status = "NO_MATCHED_MESSAGE";
    else if (isGone) status = "MESSAGE_WAS_REMOVING";
    else {
      bodies.push(body);
      bytes += size;
    }
  }
  return { status: bodies.length > 0 ? "FOUND" : status, next, bodies };
}

async function pull(store: MessageStore, offset: number, maxMsgNums: number, filter: MessageFilter | null) {
  const result = await store.pullMessages("TopicTest", 0, offset, maxMsgNums, filter);
  return { status: result.status, next: result.nextBeginOffset, bodies: bodiesOf(result.records), result };
}

/** Where messages are read from, and what of them counts as in memory. */
const STORES = {
  "written in this life": { options: {}, limits: {}, isReopened: false },
  "after a restart": { options: {}, limits: {}, isReopened: true },
  "in small files": {
    options: { mappedFileSizeConsumeQueue: 500, mappedFileSizeCommitLog: 8192 },
    limits: { perFile: 25 },
    isReopened: false,
  },
  "in small files, after a restart": {
    options: { mappedFileSizeConsumeQueue: 500, mappedFileSizeCommitLog: 8192 },
    limits: { perFile: 25 },
    isReopened: true,
  },
  "out of memory": {
    options: { accessMessageInMemoryMaxRatio: 0, maxTransferBytesOnMessageInDisk: 2000 },
    limits: { bytes: 2000, count: 8 },
    isReopened: false,
  },
};

for (const [name, { options, limits, isReopened }] of Object.entries(STORES)) {
  it(`pullMessages gives what the rules say, for any offset, number and filter, ${name}`, async () => {
    const { store, queue } = await filled(120, options, isReopened);
    const rules = { bytes: 262144, count: 32, scan: 16000, ...limits };
    await fc.assert(
      fc.asyncProperty(
        fc.integer({ min: -2, max: 125 }),
        fc.integer({ min: 1, max: 100 }),
        fc.constantFrom("none", "tags", "numbers"),
        fc.integer({ min: 0, max: 6 }),
        async (offset, maxMsgNums, kind, salt) => {
          const tags = TAGS.filter((_, i) => (salt & (1 << i)) !== 0);
          const keepNumber = (n: number) => n % 7 === salt;
          const filter = kind === "none" ? null : kind === "tags" ? byTag(...tags) : byNumber(keepNumber);
          const keep = kind === "none"
            ? null
            : kind === "tags"
            ? (index: number) => tags.includes(queue[index]!.tag)
            : keepNumber;
          const wanted = model(queue, offset, maxMsgNums, keep, rules);
          const { status, next, bodies, result } = await pull(store, offset, maxMsgNums, filter);
          assert.deepEqual({ status, next, bodies }, wanted);
          assert.equal(result.messageCount, wanted.bodies.length);
          assert.deepEqual([result.minOffset, result.maxOffset], [0, 120]);
        },
      ),
      { numRuns: 200 },
    );
  });
}

describe("pullMessages", () => {
  it("passes over records that are damaged, or not what their entries say, and says so", async () => {
    const logger = new MemoryLogger();
    const { store, queue, directory } = await filled(60, {}, false, logger);
    const path = join(directory, "commitlog", "0".repeat(20));
    const bytes = readFileSync(path);
    // The magic of record 0 is gone, 1 says that it stands elsewhere, and of 2 nothing is left.
    const starts = queue.map(({ pos }) => pos);
    bytes[starts[0]! + 5]! ^= 1;
    bytes[starts[1]! + 35]! ^= 1;
    bytes.fill(0, starts[2]!, starts[2]! + 40);
    writeFileSync(path, bytes);
    const limits = { bytes: 262144, count: 32, scan: 16000, goneBelow: 3 };
    const keep = (index: number) => index % 7 === 2;
    for (let offset = 0; offset < 10; offset++) {
      for (const maxMsgNums of [1, 3, 32]) {
        const all = await pull(store, offset, maxMsgNums, null);
        // Only what was read shows that it is damaged: it has taken a place in the answer.
        const { bodies, next } = model(queue, offset, maxMsgNums, null, { ...limits, goneBelow: 0 });
        const wanted = bodies.slice(Math.max(0, 3 - offset));
        assert.deepEqual([all.bodies, all.next], [wanted, next]);
        assert.equal(all.status, wanted.length > 0 ? "FOUND" : "MESSAGE_WAS_REMOVING");
        const some = await pull(store, offset, maxMsgNums, byNumber(keep));
        const { result: _result, ...got } = some;
        assert.deepEqual(got, model(queue, offset, maxMsgNums, keep, { ...limits, looksInto: true }));
      }
    }
    const said = logger.lines.filter((line) => line.message.includes("damaged"));
    assert.equal(said.length, 3, "once a minute each");
  });

  it("reads no bodies of large records that a filter passes over", async () => {
    const store = await kit.open(kit.directory(), { mappedFileSizeCommitLog: 4 * 1024 * 1024 });
    const properties = (n: number) => new Map([["n", String(n)]]);
    for (let n = 0; n < 6; n++) {
      const host = n % 2 === 0 ? {} : { bornHost: { address: new Uint8Array(16), port: 1 } };
      putOk(store.appendMessage(message(`${n}`.padEnd(200_000, "x"), { properties: properties(n), ...host })));
      putOk(store.appendMessage(message(`${n + 10}`, { properties: properties(n + 10) })));
    }
    await store.waitDispatched();
    const { bodies } = await pull(store, 0, 32, byNumber((n) => n === 4 || n === 5 || n === 12));
    assert.deepEqual(bodies.map((body) => [body.slice(0, 2), body.length]), [["12", 2], ["4x", 200_000]]);
    assert.deepEqual((await pull(store, 5, 32, byNumber((n) => n > 20))).status, "NO_MATCHED_MESSAGE");
  });

  it("looks at a bounded number of entries, whatever is asked for", async () => {
    const { store } = await filled(40);
    for (const maxMsgNums of [2 ** 31 - 1, Number.MAX_SAFE_INTEGER]) {
      assert.equal((await pull(store, 0, maxMsgNums, byTag("zzz"))).next, 40);
      assert.equal((await pull(store, 0, maxMsgNums, null)).bodies.length, 32);
    }
  });

  it("says how far behind the log's end it has looked, and suggests a slave beyond the memory", async () => {
    const { store, queue } = await filled(40, { accessMessageInMemoryMaxRatio: 0 });
    const some = await store.pullMessages("TopicTest", 0, 2, 3, null);
    assert.equal(some.fallBehindBytes, store.maxOffset - queue[4]!.pos);
    assert.ok(some.suggestPullingFromSlave);
    const end = await store.pullMessages("TopicTest", 0, 40, 3, null);
    assert.deepEqual([end.fallBehindBytes, end.suggestPullingFromSlave], [0, false]);
    const { store: young } = await filled(40);
    assert.ok(!(await young.pullMessages("TopicTest", 0, 2, 3, null)).suggestPullingFromSlave);
  });

  it("obeys the limits of bytes, count and scanned entries; the first message goes out whatever its size", async () => {
    const limits = {
      maxTransferBytesOnMessageInMemory: 700,
      maxTransferCountOnMessageInMemory: 5,
      maxFilterMessageSize: 200,
    };
    const { store, queue } = await filled(60, limits);
    for (let offset = 0; offset < 60; offset++) {
      const rules = { bytes: 700, count: 5, scan: 200 };
      const { status, next, bodies } = await pull(store, offset, 8, null);
      assert.deepEqual({ status, next, bodies }, model(queue, offset, 8, null, rules));
      const none = await pull(store, offset, 8, byTag("zzz"));
      assert.deepEqual([none.status, none.next], ["NO_MATCHED_MESSAGE", Math.min(60, offset + 10)]);
    }
    const big = await kit.open(kit.directory(), limits);
    putOk(big.appendMessage(message("x".repeat(5000), { properties: new Map() })));
    await big.waitDispatched();
    assert.equal((await pull(big, 0, 32, null)).bodies[0]!.length, 5000);
  });

  it("hands out records as they stand in the log", async () => {
    const { store } = await filled(40);
    const { records } = await store.pullMessages("TopicTest", 0, 3, 32, null);
    for (let at = 0; at < records.length;) {
      const found = decodeMessage(records, at);
      assert.deepEqual(
        records.subarray(at, at + found.storeSize),
        await store.lookRecordByOffset(found.physicalOffset),
      );
      at += found.storeSize;
    }
  });

  it("says that a queue is empty, and on a slave corrects nothing", async () => {
    const store = await kit.open(kit.directory());
    const empty = await store.pullMessages("TopicTest", 0, 7, 32, null);
    assert.deepEqual([empty.status, empty.nextBeginOffset], ["NO_MESSAGE_IN_QUEUE", 0]);
    const { store: slave } = await filled(5);
    await slave.setRole("slave");
    const beyond = await slave.pullMessages("TopicTest", 0, 9, 32, null);
    assert.deepEqual([beyond.status, beyond.nextBeginOffset], ["OFFSET_OVERFLOW_BADLY", 9]);
  });

  it("tells of arrivals in queues that somebody waits for, once they can be read", async () => {
    const store = await kit.open(kit.directory());
    const heard: [string, number, number, number][] = [];
    store.setMessageArrivingListener({
      isWaitingFor: (topic, queueId) => topic === "TopicTest" && queueId === 2,
      arriving: (topic, queueId, maxOffset, tagsCode) => {
        heard.push([topic, queueId, maxOffset, tagsCode]);
        assert.ok(store.getMaxOffsetInQueue(topic, queueId) >= maxOffset);
      },
    });
    for (const queueId of [0, 2, 2]) putOk(store.appendMessage(message("x", { queueId })));
    await store.waitDispatched();
    assert.deepEqual(heard, [["TopicTest", 2, 1, javaHashCode("TagA")], ["TopicTest", 2, 2, javaHashCode("TagA")]]);
    store.setMessageArrivingListener(null);
    putOk(store.appendMessage(message("x", { queueId: 2 })));
    await store.waitDispatched();
    assert.equal(heard.length, 2);
  });

  it("tells of an arrival once, however often its queue could not be written", async () => {
    let failing = 3;
    const write = (path: string) => path.includes("consumequeue") && failing-- > 0;
    const store = await kit.open(kit.directory(), {}, {
      fs: failingFileSystem(kit.runtime.fs, { write, sync: () => false }),
      clock: fastClock(kit.runtime.clock, 100),
    });
    const heard: number[] = [];
    store.setMessageArrivingListener({
      isWaitingFor: () => true,
      arriving: (_topic, _queueId, maxOffset) => void heard.push(maxOffset),
    });
    putOk(store.appendMessage(message("x")));
    await store.waitDispatched();
    assert.deepEqual(heard, [1]);
    assert.ok(failing <= 0);
  });

  it("forgets the queues of a deleted topic; its next message is the first", async () => {
    const directory = kit.directory();
    const store = await kit.open(directory);
    for (let i = 0; i < 10; i++) putOk(store.appendMessage(message(`m${i}`)));
    putOk(store.appendMessage(message("stays", { topic: "Other" })));
    await store.waitDispatched();
    await store.deleteTopics(["TopicTest", "never"]);
    assert.equal(store.getMaxOffsetInQueue("TopicTest", 0), 0);
    assert.equal(putOk(store.appendMessage(message("again"))).logicsOffset, 0);
    await store.waitDispatched();
    assert.deepEqual((await pull(store, 0, 32, null)).bodies, ["again"]);
    await store.shutdown();
    const again = await kit.open(directory);
    assert.deepEqual((await pull(again, 0, 32, null)).bodies, ["again"]);
    assert.equal(again.getMaxOffsetInQueue("Other", 0), 1);
  });

  it("forgets what of a deleted topic is not dispatched yet: its queue would begin there, and hide the new messages", async () => {
    const store = await kit.open(kit.directory());
    for (let i = 0; i < 10; i++) putOk(store.appendMessage(message(`m${i}`)));
    await store.waitDispatched();
    for (let i = 10; i < 13; i++) putOk(store.appendMessage(message(`m${i}`)));
    await store.deleteTopics(["TopicTest"]);
    for (let i = 0; i < 5; i++) assert.equal(putOk(store.appendMessage(message(`n${i}`))).logicsOffset, i);
    await store.waitDispatched();
    assert.deepEqual((await pull(store, 0, 32, null)).bodies, ["n0", "n1", "n2", "n3", "n4"]);
  });
});
