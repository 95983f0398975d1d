// Files of a store as somebody else may have left them: consume queues, index, checkpoint, notes, and a whole store of
// which one file holds anything. And what dispatch writes for records that a hostile master had stored.

import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes, utf8, writeInt32 } from "../../../src/base/bytes.ts";
import { IoError, StoreError } from "../../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { RoleFile } from "../../../src/broker/role_file.ts";
import { CleanEnd } from "../../../src/store/clean_end.ts";
import { ConsumeQueue, CQ_STORE_UNIT_SIZE, decodeCqUnit, encodeCqUnit } from "../../../src/store/consume_queue.ts";
import { ConsumeQueueStore } from "../../../src/store/consume_queue_store.ts";
import { HandlePool } from "../../../src/store/handle_pool.ts";
import { IndexFile, indexFileSize } from "../../../src/store/index_file.ts";
import { IndexService } from "../../../src/store/index_service.ts";
import { DelayLevels } from "../../../src/store/message_properties.ts";
import { MessageStore } from "../../../src/store/message_store.ts";
import { RecordDispatcher } from "../../../src/store/record_dispatcher.ts";
import { recordSizeMax, RecordValidator, RecordVerdict } from "../../../src/store/record_validator.ts";
import { StoreCheckpoint } from "../../../src/store/store_checkpoint.ts";
import { AbortFile, StoreLock } from "../../../src/store/store_lock.ts";
import { ManualClock, runtime } from "../../remoting/support.ts";
import { message, putOk, SMALL } from "../../support/store_kit.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { MemoryFileSystem, PROCESS } from "../memory_fs.ts";
import { assertPlain, outcome, outcomeOf } from "../properties.ts";
import { FILE_SIZE, logs } from "./records.ts";

const ROOT = "/store";
const QUEUE_FILE_SIZE = 400;
const INDEX = { maxHashSlotNum: 10, maxIndexNum: 40, maxMsgsNumBatch: 64 };

function consumeQueueStore(fs: MemoryFileSystem): { queues: ConsumeQueueStore; checkpoint: StoreCheckpoint } {
  const checkpoint = new StoreCheckpoint(fs, ROOT);
  const queues = new ConsumeQueueStore({
    fs,
    pool: new HandlePool(fs),
    clock: new ManualClock(),
    directory: `${ROOT}/consumequeue`,
    options: { ...SMALL, mappedFileSizeConsumeQueue: QUEUE_FILE_SIZE },
    checkpoint,
    onFatal: (error) => {
      throw error;
    },
  });
  return { queues, checkpoint };
}

/** Records that passed a slave's check, dispatched: nothing throws, and nothing is written outside the store. */
export const DISPATCH: FuzzTarget = {
  name: "dispatch",
  runs: 500,
  inputs: logs,
  check(input) {
    const fs = new MemoryFileSystem(ROOT);
    const { queues, checkpoint } = consumeQueueStore(fs);
    queues.load(true);
    const clock = new ManualClock();
    const index = new IndexService({
      fs,
      clock,
      logger: SILENT_LOGGER,
      directory: `${ROOT}/index`,
      options: INDEX,
      checkpoint,
    });
    index.load(true);
    const dispatcher = new RecordDispatcher(queues, index, { delayLevels: new DelayLevels(), logger: SILENT_LOGGER });
    const validator = new RecordValidator({
      mappedFileSize: FILE_SIZE,
      recordSizeMax: recordSizeMax(700),
      checkCRC: false,
      forceVerifyPropCRC: false,
    });
    for (let at = 0; at < input.length; at += validator.size) {
      const verdict = validator.check(input, at, input.length, at);
      if (verdict === RecordVerdict.OK) dispatcher.dispatch(input, at, true);
      else if (verdict !== RecordVerdict.BLANK) break;
    }
    dispatcher.writePending();
    for (const queue of queues.queues()) {
      assert.ok(queue.minOffsetInQueue <= queue.maxOffsetInQueue && Number.isSafeInteger(queue.maxOffsetInQueue * 20));
      for (let i = queue.minOffsetInQueue; i < queue.maxOffsetInQueue; i++) assert.ok(queue.get(i)!.size > 0);
    }
    index.queryOffset("T", "x", 32, 0, Number.MAX_SAFE_INTEGER);
    index.shutdown();
    // What was written is found again.
    const again = consumeQueueStore(fs.clone()).queues;
    again.load(true);
    const ends = (store: ConsumeQueueStore) =>
      [...store.queues()].map((queue) => `${queue.topic} ${queue.queueId} ${queue.maxOffsetInQueue}`).sort();
    assert.deepEqual(ends(again), ends(queues));
  },
};

const units = fc.array(
  fc.tuple(fc.nat(100_000), fc.constantFrom(120, 0, -1, 0x7fff_ffff), fc.integer()),
  { maxLength: 40 },
).map((list) => {
  const bytes = new Uint8Array(list.length * CQ_STORE_UNIT_SIZE);
  list.forEach(([pos, size, tagsCode], i) => encodeCqUnit(bytes, i * CQ_STORE_UNIT_SIZE, pos, size, tagsCode));
  return bytes;
});

/** The files of one consume queue. The last byte: whether the exit was clean. */
export const CONSUME_QUEUE: FuzzTarget = {
  name: "consume_queue",
  runs: 1000,
  inputs: units,
  check(input) {
    const lastExitOk = (input.at(-1) ?? 0) % 2 === 0;
    const directory = `${ROOT}/consumequeue/T/0`;
    const fs = new MemoryFileSystem(ROOT);
    for (let at = 0; at < input.length || at === 0; at += QUEUE_FILE_SIZE) {
      const bytes = new Uint8Array(QUEUE_FILE_SIZE);
      bytes.set(input.subarray(at, at + QUEUE_FILE_SIZE));
      fs.put(`${directory}/${String(at).padStart(20, "0")}`, bytes);
    }
    const parts = { pool: new HandlePool(fs), logger: SILENT_LOGGER, mappedFileSize: QUEUE_FILE_SIZE };
    const queue = new ConsumeQueue(parts, directory, "T", 0);
    queue.load(lastExitOk);
    queue.recover(lastExitOk);
    const end = queue.maxOffsetInQueue;
    assert.ok(end * CQ_STORE_UNIT_SIZE <= Math.max(QUEUE_FILE_SIZE, input.length + QUEUE_FILE_SIZE));
    for (let i = queue.minOffsetInQueue; i < end; i++) {
      const unit = queue.get(i)!;
      if (Number.isSafeInteger(unit.pos) && Number.isSafeInteger(unit.tagsCode)) {
        const bytes = new Uint8Array(CQ_STORE_UNIT_SIZE);
        encodeCqUnit(bytes, 0, unit.pos, unit.size, unit.tagsCode);
        assert.deepEqual(decodeCqUnit(bytes, 0, i), unit);
      }
    }
    queue.correctMinOffset(50_000);
    queue.truncate(60_000);
    queue.putMessagePositionInfo(100_000, 200, 1, queue.nextOffsetInQueue);
    queue.writePending();
    queue.deleteExpiredFile(99_999);
    assert.ok(fs.operations < 2000 + input.length, `${fs.operations} reads and writes`);
  },
};

const indexBytes = fc.tuple(
  fc.nat(2000),
  fc.nat(60),
  fc.array(fc.tuple(fc.nat(9), fc.nat(50_000), fc.nat(60)), { maxLength: 30 }),
).map(
  ([time, count, entries]) => {
    const bytes = new Uint8Array(indexFileSize(INDEX));
    writeInt32(bytes, 4, time);
    writeInt32(bytes, 12, time + 100);
    writeInt32(bytes, 36, count);
    entries.forEach(([slot, offset, previous], i) => {
      writeInt32(bytes, 40 + slot * 4, i + 1);
      const at = 40 + INDEX.maxHashSlotNum * 4 + (i + 1) * 20;
      writeInt32(bytes, at, slot);
      writeInt32(bytes, at + 8, offset);
      writeInt32(bytes, at + 16, previous);
    });
    return bytes;
  },
);

/** One index file. */
export const INDEX_FILE: FuzzTarget = {
  name: "index_file",
  runs: 800,
  inputs: indexBytes,
  check(input) {
    const path = `${ROOT}/index/20260101000000000`;
    const fs = new MemoryFileSystem(ROOT);
    fs.put(path, input);
    const { value: file, error } = outcome(() => IndexFile.open(fs, path, INDEX), StoreError);
    if (error !== null) return;
    assert.ok(file.indexCount >= 1 && file.indexCount <= INDEX.maxIndexNum, `Holds ${file.indexCount - 1} entries`);
    for (let hash = 0; hash < INDEX.maxHashSlotNum; hash++) {
      const found: number[] = [];
      file.selectPhyOffset(found, hash, 32, 0, Number.MAX_SAFE_INTEGER);
      assert.ok(found.length <= 32 && new Set(found).size === found.length);
    }
    file.truncate(20_000);
    assert.ok(file.indexCount >= 1);
    for (let i = 0; i < 5 && !file.isFull; i++) assert.ok(file.putKey(3, 60_000 + i, 1000));
    file.seal();
    const steps = (INDEX.maxHashSlotNum + 4) * INDEX.maxIndexNum + 100;
    assert.ok(fs.operations <= steps, `${fs.operations} reads and writes, wanted at most ${steps}`);
  },
};

/** The checkpoint. */
export const CHECKPOINT: FuzzTarget = {
  name: "checkpoint",
  runs: 3000,
  inputs: fc.uint8Array({ minLength: 30, maxLength: 50 }),
  check(input) {
    const fs = new MemoryFileSystem(ROOT);
    fs.put(`${ROOT}/checkpoint`, input);
    const checkpoint = new StoreCheckpoint(fs, ROOT);
    const fields = () => {
      const { physicMsgTimestamp, logicsMsgTimestamp, indexMsgTimestamp, masterFlushedOffset, confirmPhyOffset } =
        again;
      return [physicMsgTimestamp, logicsMsgTimestamp, indexMsgTimestamp, masterFlushedOffset, confirmPhyOffset];
    };
    let again = checkpoint;
    const before = fields();
    assert.ok(before.every(Number.isSafeInteger), `Read ${before}`);
    assert.ok(checkpoint.minTimestamp >= 0);
    checkpoint.flushBlocking();
    again = new StoreCheckpoint(fs, ROOT);
    assert.deepEqual(fields(), before);
  },
};

const notes = fc.constantFrom(
  "4096 3000",
  "0 -1",
  '{"pid":1000,"startToken":"token"}',
  '{"pid":7,"startToken":null}',
  '{"brokerRole":"SLAVE","brokerId":1,"masterAddress":"10.0.0.1:10912"}',
  '{"brokerRole":"SYNC_MASTER","brokerId":0,"masterAddress":null}',
  "lock",
);

/** The small files beside a store: our clean end, the owner, the saved role, Apache's lock and abort. */
export const NOTES: FuzzTarget = {
  name: "store_notes",
  runs: 1500,
  inputs: notes.map(utf8.encode),
  check(input) {
    const fs = new MemoryFileSystem(ROOT);
    for (const name of ["twinlog.clean", "twinlog.owner", "lock", "abort", "config/twinlogRole.json"]) {
      fs.put(`${ROOT}/${name}`, input);
    }
    const note = CleanEnd.take(fs, ROOT);
    if (note !== null) assert.ok(Number.isSafeInteger(note.end) && Number.isSafeInteger(note.lastRecordOffset));
    assert.equal(CleanEnd.take(fs, ROOT), null);
    assert.ok(AbortFile.exists(fs, ROOT));
    const { value: lock, error } = outcome(() => StoreLock.acquire(fs, PROCESS, ROOT), StoreError);
    if (error !== null) assert.match(error.message, /is in use by process 1000/);
    lock?.release();
    const { value: role } = outcome(() => new RoleFile(fs, `${ROOT}/config`).load(), StoreError);
    if (role === null) return;
    assert.ok(["ASYNC_MASTER", "SYNC_MASTER", "SLAVE"].includes(role.brokerRole));
    assert.ok(role.masterAddress === null || /:\d+$/.test(role.masterAddress));
    assertPlain(role.masterAddress ?? "");
  },
};

const STORE_OPTIONS = {
  ...SMALL,
  storePathRootDir: ROOT,
  mappedFileSizeCommitLog: 4096,
  mappedFileSizeConsumeQueue: QUEUE_FILE_SIZE,
  maxHashSlotNum: 10,
  maxIndexNum: 60,
};

/** Opens a store; what goes wrong later than opening must not go wrong at all. */
async function openStore(fs: MemoryFileSystem): Promise<MessageStore> {
  const onFatal = (error: unknown) => {
    throw error;
  };
  const store = await MessageStore.open(STORE_OPTIONS, { fs, clock: runtime.clock, process: PROCESS, onFatal });
  store.start();
  await store.setRole("master");
  return store;
}

/** A small store as it was left by a clean stop, and by a crash. Made once. */
const LEFT: Promise<readonly MemoryFileSystem[]> = (async () => {
  const clean = new MemoryFileSystem(ROOT);
  const store = await openStore(clean);
  for (let i = 0; i < 30; i++) putOk(store.appendMessage(message(`m${i}`, { queueId: i % 2 })));
  await store.waitDispatched();
  const crashed = clean.clone();
  crashed.remove(`${ROOT}/twinlog.owner`);
  await store.shutdown();
  return [clean, crashed];
})();

/** Which file holds what comes behind the first two bytes. */
const left = await LEFT;
const FILES: readonly string[] = [...left[1]!.files.keys()].filter((path) => !/lock|bak$/.test(path)).sort();

/** A whole store of which one file holds anything: it opens or says why not, and what it opens is a sound store. */
export const STORE: FuzzTarget = {
  name: "store",
  runs: 150,
  inputs: fc.nat(2 * FILES.length - 1).map((choice) => {
    const content = left[choice % 2]!.files.get(FILES[choice >> 1]!)?.bytes ?? new Uint8Array(0);
    return concatBytes([Uint8Array.of(choice), content]);
  }),
  async check(input) {
    const choice = (input[0] ?? 0) % (2 * FILES.length);
    const fs = left[choice % 2]!.clone();
    fs.put(FILES[choice >> 1]!, input.slice(1));
    fs.operations = 0;
    const { value: store, error } = await outcomeOf(openStore(fs), StoreError, IoError);
    if (error !== null) return;
    const { maxOffset } = store;
    await readAll(store);
    putOk(store.appendMessage(message("one more")));
    await store.waitDispatched();
    await readAll(store);
    await store.shutdown();
    // Opened again after a clean stop it is the same store.
    const again = await openStore(fs);
    assert.ok(again.maxOffset > maxOffset);
    assert.deepEqual(await readAll(again), await readAll(again));
    await again.shutdown();
    assert.ok(fs.operations < 5000, `${fs.operations} reads and writes`);
  },
};

/** Reads every queue to its end; each message once. */
async function readAll(store: MessageStore): Promise<string[]> {
  const seen: string[] = [];
  for (const { topic, queueId } of store.queues()) {
    const end = store.getMaxOffsetInQueue(topic, queueId);
    for (let at = store.getMinOffsetInQueue(topic, queueId), steps = 0; at < end; steps++) {
      const { messages, nextBeginOffset } = await store.getMessage(topic, queueId, at, 32, 100_000);
      seen.push(...messages.map(({ msgId }) => msgId));
      assert.ok(nextBeginOffset > at, `Reading ${topic}/${queueId} stands still at ${at}`);
      assert.ok(steps < 1000);
      at = nextBeginOffset;
    }
    store.getOffsetByTime(topic, queueId, 1_700_000_000_000);
  }
  await store.queryMessage("TopicTest", "all", 64, 0, Number.MAX_SAFE_INTEGER);
  return seen;
}
