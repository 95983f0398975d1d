// Small, realistic bugs in the real source, to ask the simulator whether it would notice. Each is one replacement in one
// file. This file owns what they are; hunt.ts plants them in a copy of the tree and runs the simulator there, and
// known_seeds.json says which seeds find them.

/** One bug to plant. */
export interface PlantedBug {
  readonly name: string;
  /** What goes wrong, in one line. */
  readonly what: string;
  /** Path below the tree's root. */
  readonly file: string;
  /** Text that must occur exactly once in the file. */
  readonly find: string;
  readonly replace: string;
  /** A hand-written scenario that notices it: a test file, and the name of the test. */
  readonly scenario?: { readonly file: string; readonly test: string };
}

const HA_CLIENT = "src/ha/ha_client.ts";
const HA_CONNECTION = "src/ha/ha_connection.ts";
const HA_SERVICE = "src/ha/ha_service.ts";
const GROUP_TRANSFER = "src/ha/group_transfer_service.ts";
const CLIENT_DRIVER = "src/broker/ha_client_driver.ts";
const CLIENT_SESSION = "src/broker/ha_client_session.ts";
const PUT_SERVICE = "src/broker/put_message_service.ts";
const ROLE_CONTROLLER = "src/broker/role_controller.ts";
const COMMIT_LOG = "src/store/commit_log.ts";
const CONSUME_QUEUE = "src/store/consume_queue.ts";
const CONSUME_QUEUE_STORE = "src/store/consume_queue_store.ts";
const FLUSH_SERVICE = "src/store/flush_service.ts";
const MAPPED_FILE = "src/store/mapped_file.ts";
const MAPPED_FILE_QUEUE = "src/store/mapped_file_queue.ts";
const MESSAGE_STORE = "src/store/message_store.ts";
const REPLICA_INTAKE = "src/store/replica_intake.ts";
const GAPS = "tests/sim/planted_gaps_test.ts";

/** All of them, by the way of a byte: acknowledged, sent, appended, flushed, recovered, promoted, cut, read, let go. */
export const PLANTED_BUGS: readonly PlantedBug[] = [
  // --- what a slave says it has ---
  {
    name: "ack-before-append",
    what: "a slave acknowledges the bytes it holds of a record that is not checked and written yet",
    file: HA_CLIENT,
    find: "this.#options.haAckAfterFlush ? log.flushedOffset : log.maxOffset)",
    replace: "this.#options.haAckAfterFlush ? log.flushedOffset : log.replicaWriteOffset)",
  },
  {
    name: "ack-beyond-max-offset",
    what: "a slave acknowledges the end of a frame as soon as its header is there",
    file: HA_CLIENT,
    find: "this.#options.haAckAfterFlush ? log.flushedOffset : log.maxOffset)",
    replace: "this.#options.haAckAfterFlush ? log.flushedOffset : this.#next)",
  },
  {
    name: "ack-after-flush-ignored",
    what: "haAckAfterFlush is not looked at: acknowledged is what is written",
    file: HA_CLIENT,
    find: "this.#options.haAckAfterFlush ? log.flushedOffset : log.maxOffset)",
    replace: "log.maxOffset)",
  },
  {
    name: "flush-before-request-skipped",
    what: "with haAckAfterFlush the request of a new connection, which counts as an ack, is not waited for",
    file: CLIENT_SESSION,
    find: "if (this.#shared.options.haAckAfterFlush) await this.#during(log.waitFlushed(log.maxOffset));",
    replace: "",
    scenario: { file: GAPS, test: "all that a slave asks for, where it acknowledges only what is flushed" },
  },
  // --- what a slave asks for and compares ---
  {
    name: "tail-check-skipped",
    what: "a slave goes on from its end without comparing its last record",
    file: HA_CLIENT,
    find: "if (from < 0 || (range !== null",
    replace: "if (probe === null || (range !== null",
  },
  {
    name: "reconnect-from-flushed",
    what: "a slave asks from what it has flushed instead of from its last record",
    file: HA_CLIENT,
    find: "this.#request = Math.max(from, 1);",
    replace: "this.#request = Math.max(log.flushedOffset, 1);",
  },
  {
    name: "master-range-bound-loosened",
    what: "a master that ends exactly where the slave's last record begins is not taken for shorter",
    file: HA_CLIENT,
    find: "return range.maxOffset <= this.#request ?",
    replace: "return range.maxOffset < this.#request ?",
    scenario: {
      file: GAPS,
      test: "says that its master is shorter, though that ends exactly where its own last record begins",
    },
  },
  {
    name: "file-end-off-by-one",
    what: "a frame that ends exactly at a file's end is refused",
    file: HA_CLIENT,
    find: "if ((physicOffset % fileSize) + bodySize > fileSize) {",
    replace: "if ((physicOffset % fileSize) + bodySize >= fileSize) {",
  },
  {
    name: "partial-not-discarded",
    what: "the start of a record that a broken connection left is kept for the next one",
    file: CLIENT_DRIVER,
    find: "      log.discardPartial();\n",
    replace: "",
    scenario: { file: GAPS, test: "goes on behind a record of which a broken connection left the front" },
  },
  {
    name: "chunk-tail-dropped",
    what: "what a chunk holds of the next record is dropped instead of held",
    file: REPLICA_INTAKE,
    find: "    this.#hold(bytes.subarray(at));\n    return APPENDED;",
    replace: "    return APPENDED;",
  },
  {
    name: "append-error-ignored",
    what: "a slave goes on as if nothing were when its log can't be written, as Apache's does",
    file: CLIENT_SESSION,
    find: "      this.#shared.counters.appendErrors++;\n      return {",
    replace:
      '      this.#shared.counters.appendErrors++;\n      if (error.kind !== "closed") return null;\n      return {',
    scenario: { file: GAPS, test: "gives up the connection when it can't write them, and lives" },
  },
  {
    name: "crc-unchecked",
    what: "a slave takes records without computing their CRC",
    file: COMMIT_LOG,
    find: "checkCRC: true,",
    replace: "checkCRC: false,",
    scenario: { file: GAPS, test: "refuses a record whose body has rotted on its master's disk" },
  },
  // --- what a master sends and believes ---
  {
    name: "transfer-after-flush-ignored",
    what: "haTransferAfterFlush is not looked at: sent is what is written",
    file: HA_CONNECTION,
    find: "(this.#options.haTransferAfterFlush ? Math.min(flushedOffset, maxOffset) : maxOffset) - from;",
    replace: "Math.max(flushedOffset, maxOffset) - from;",
  },
  {
    name: "first-byte-sent-twice",
    what: "a slave that asks from byte 1 is served from the log's start",
    file: HA_CONNECTION,
    find: "this.#transferFromWhere = request === 0 ?",
    replace: "this.#transferFromWhere = request <= 1 ?",
  },
  {
    name: "request-counts-as-ack",
    what: "where a slave asks from counts as what it holds for the puts that wait",
    file: HA_CONNECTION,
    find: "return this.#slaveAckOffset > this.#slaveRequestOffset ? this.#slaveAckOffset : -1;",
    replace: "return this.#slaveAckOffset;",
    scenario: {
      file: GAPS,
      test: "nothing that a slave only asks for: an old master asks from an end of its own making",
    },
  },
  {
    name: "open-after-shutdown",
    what: "a reader that is under way opens its next file though the store is shut down",
    file: "src/store/handle_pool.ts",
    find: "this.#isClosed = true;",
    replace: "",
    scenario: { file: "tests/sim/found_test.ts", test: "opens no file once it has stopped, though somebody reads" },
  },
  {
    name: "lost-wake-up",
    what: "an ack that comes while a single put waits wakes nobody",
    file: HA_SERVICE,
    find: "if (this.#groupTransferService.waiting > 0) this.#groupTransferService.onAcks",
    replace: "if (this.#groupTransferService.waiting > 1) this.#groupTransferService.onAcks",
    scenario: { file: GAPS, test: "within the time that the way to a slave and back takes" },
  },
  {
    name: "ack-of-own-end-not-counted",
    what: "an ack that equals the end of a waiting put does not complete it",
    file: GROUP_TRANSFER,
    find: "queue[count]!.nextOffset <= held) count++;",
    replace: "queue[count]!.nextOffset < held) count++;",
    scenario: { file: GAPS, test: "within the time that the way to a slave and back takes" },
  },
  {
    name: "quorum-off-by-one",
    what: "a put that wants three replicas is done with two",
    file: GROUP_TRANSFER,
    find: "acksDescending[ackNums - 2] ?? -1;",
    replace: "acksDescending[Math.max(0, ackNums - 3)] ?? -1;",
  },
  {
    name: "slave-counted-twice",
    what: "two connections of one slave count as two replicas",
    file: HA_SERVICE,
    find: "if (offset > (bySlave.get(connection.slaveKey) ?? -1)) bySlave.set(connection.slaveKey, offset);",
    replace: "bySlave.set(connection.remoteAddress, offset);",
    scenario: { file: GAPS, test: "one slave once, though its last life's connection is still there" },
  },
  {
    name: "stale-connection-counted",
    what: "the acks of a connection that has ended go on counting",
    file: HA_SERVICE,
    find: "const served = this.#serving.delete(entry);",
    replace: "const served = this.#serving.has(entry);",
    scenario: { file: GAPS, test: "no slave that has left" },
  },
  {
    name: "silent-slave-kept",
    what: "a slave that has fallen silent is never let go",
    file: HA_CONNECTION,
    find: 'this.#refuse(this.#slaveRequestOffset < 0 ? "neverRequested" : "housekeeping", silent);',
    replace: 'if (this.#slaveRequestOffset < 0) this.#refuse("neverRequested", silent);',
    scenario: { file: GAPS, test: "no slave that has fallen silent" },
  },
  {
    name: "put-not-in-sync-written",
    what: "minInSyncReplicas is not asked before a put writes",
    file: PUT_SERVICE,
    find: "this.#replication.beforePut(waitsForStore(message, noWait));",
    replace: "this.#replication.beforePut(false);",
    scenario: { file: GAPS, test: "too few to write at all, and writes nothing then" },
  },
  // --- what is written ---
  {
    name: "failed-write-ignored",
    what: "a put is answered as stored although its write failed",
    file: COMMIT_LOG,
    find: "        results[index] = failed;\n      }\n      return;",
    replace: "        void failed, index;\n      }",
  },
  {
    name: "failed-write-not-cleared",
    what: "what a failed write left behind the log's end stays there",
    file: COMMIT_LOG,
    find: "    file.zeroFrom(position, position + size);\n",
    replace: "",
    scenario: { file: GAPS, test: "nothing of a batch that was written in part, after a kill" },
  },
  {
    name: "file-end-without-room",
    what: "a record may end where no filler fits behind it any more",
    file: COMMIT_LOG,
    find: "if (size + END_FILE_MIN_BLANK_LENGTH <= rest) return file;",
    replace: "if (size <= rest) return file;",
  },
  {
    name: "blank-not-written",
    what: "the rest of a file is left zero, without a filler",
    file: COMMIT_LOG,
    find: "    this.#write(file, blank.length, () => file.writeAt(blank, file.wrotePosition));\n",
    replace: "",
  },
  {
    name: "batch-counts-as-one",
    what: "a batch moves its queue's offset by one, however many messages it holds",
    file: COMMIT_LOG,
    find: "offsets.increaseQueueOffset(message.topic, message.queueId, msgNum);",
    replace: "offsets.increaseQueueOffset(message.topic, message.queueId, 1);",
  },
  {
    name: "queue-units-dropped",
    what: "units that do not fit a consume queue's file any more are dropped instead of going to the next one",
    file: CONSUME_QUEUE,
    find: "      this.#pendingSize -= count;",
    replace: "      this.#pendingSize = 0;",
  },
  // --- what is on the disk ---
  {
    name: "sync-flush-not-awaited",
    what: "under SYNC_FLUSH a put is answered before its flush",
    file: PUT_SERVICE,
    find: "return Promise.all([onDisk, onReplicas]).then(",
    replace: "return Promise.all([true, onReplicas]).then(",
  },
  {
    name: "flush-under-way-counted",
    what: "a put that was written while a flush ran is told that this flush was its own",
    file: FLUSH_SERVICE,
    find: "this.#waiters[done]!.offset <= this.#target.flushedOffset) done++;",
    replace: "this.#waiters[done]!.offset <= this.#target.maxOffset) done++;",
  },
  {
    name: "flushed-taken-late",
    what: "the flushed offset is what was written when the sync ended, not when it began",
    file: MAPPED_FILE_QUEUE,
    find: "if (cuts === this.#cuts && target > this.flushedWhere) this.flushedWhere = target;",
    replace: "if (cuts === this.#cuts && target > this.flushedWhere) this.flushedWhere = this.maxOffset;",
    scenario: { file: GAPS, test: "what was written when the flush began" },
  },
  {
    name: "directory-not-synced",
    what: "the name of a new file of the log is not made durable",
    file: MAPPED_FILE_QUEUE,
    find: "    this.#unsyncedDirectories.add(directory);\n    this.#files.push(file);",
    replace: "    this.#files.push(file);",
  },
  {
    name: "checkpoint-before-queues",
    what: "the checkpoint vouches for consume queues that were not flushed",
    file: CONSUME_QUEUE_STORE,
    find: "    for (const queue of [...this.#dirty]) await this.#flushOne(queue);\n    if (!isComplete",
    replace: "    if (!isComplete",
  },
  {
    name: "clock-step-trusted",
    what: "the checkpoint goes on vouching when a clock was set back",
    file: "src/store/store_checkpoint.ts",
    find: "if (storeTimestamp + STEP_BACK_MAX_MS >= newest) return;",
    replace: "if (newest >= 0) return;",
    scenario: {
      file: "tests/sim/recovery_test.ts",
      test: "knows which messages lack their queue entries, though the clock of the new master is behind",
    },
  },
  // --- what recovery makes of it ---
  {
    name: "cut-not-zeroed",
    what: "what stands behind a recovered or cut log's end stays there",
    file: COMMIT_LOG,
    find:
      "      cleared = file.zeroFrom(file.wrotePosition, Math.min(file.fileSize, dataEnd - file.fileFromOffset));\n",
    replace: "",
  },
  {
    name: "cut-not-synced",
    what: "the zeros behind a cut are not made durable",
    file: COMMIT_LOG,
    find: "      file.syncBlocking();\n    }\n    this.mappedFileQueue.flushBlocking();\n    return cleared;",
    replace: "    }\n    this.mappedFileQueue.flushBlocking();\n    return cleared;",
    scenario: { file: GAPS, test: "keeps what it cut away, though its machine loses power right after" },
  },
  {
    name: "queues-not-cut",
    what: "consume queues keep the units of records that were cut",
    file: MESSAGE_STORE,
    find: "    await this.#consumeQueues.truncate(end);\n",
    replace: "",
  },
  {
    name: "index-not-cut",
    what: "the index keeps the keys of records that were cut",
    file: MESSAGE_STORE,
    find: "    this.#index?.truncate(end);\n",
    replace: "",
  },
  {
    name: "index-not-rebuilt",
    what: "what a crash took of the index is never built again",
    file: MESSAGE_STORE,
    find: "indexIsIncomplete ? this.#index!.endPhyOffset : null);",
    replace: "null);",
  },
  {
    name: "torn-record-taken",
    what: "a record whose end a loss of power took is taken for whole",
    file: "src/store/recovery.ts",
    find: "const mayBeTorn = !options.cleanExit &&",
    replace: "const mayBeTorn = options.cleanExit &&",
  },
  // --- what a change of roles forgets ---
  {
    name: "confirm-offset-at-promotion",
    what: "a promotion waits for dispatch of what is confirmed, not of what is written",
    file: MESSAGE_STORE,
    find:
      "    const offset = this.#log.maxOffset;\n    if (this.#log.confirmOffset < offset) await this.waitFlushed(offset);",
    replace: "    const offset = this.#log.confirmOffset;",
    scenario: { file: GAPS, test: "all that a promoted slave holds, before it takes a message" },
  },
  {
    name: "promotion-without-dispatch",
    what: "a promotion does not wait for dispatch",
    file: MESSAGE_STORE,
    find: "    await this.waitDispatched();\n    this.#consumeQueues.recoverOffsetTable();",
    replace: "    this.#consumeQueues.recoverOffsetTable();",
    scenario: { file: GAPS, test: "all that a promoted slave holds, before it takes a message" },
  },
  {
    name: "queue-offsets-not-rebuilt",
    what: "a promoted slave goes on with the queue offsets it knew at its start",
    file: MESSAGE_STORE,
    find: "    await this.waitDispatched();\n    this.#consumeQueues.recoverOffsetTable();",
    replace: "    await this.waitDispatched();",
  },
  {
    name: "role-not-saved",
    what: "a promoted slave forgets at its next start that it was promoted",
    file: ROLE_CONTROLLER,
    find: "    this.#parts.unfence();\n    this.#save();",
    replace: "    this.#parts.unfence();",
    scenario: {
      file: "tests/sim/failover_test.ts",
      test: "wakes up as the master it was made, though its machine lost power right after",
    },
  },
  {
    name: "waits-survive-demotion",
    what: "puts that wait for slaves go on waiting when their master becomes a slave",
    file: HA_SERVICE,
    find: '    if (role === "SLAVE") this.#groupTransferService.failAll();\n',
    replace: "",
    scenario: { file: GAPS, test: "at once when its master becomes a slave" },
  },
  // --- what a resync takes ---
  {
    name: "resync-cuts-too-much",
    what: "a resync cuts from where the comparison began, not from the first record that differs",
    file: CLIENT_DRIVER,
    find: "log.setTailAside(commonEnd, ",
    replace: "log.setTailAside(from, ",
    scenario: { file: GAPS, test: "cuts nothing that its master has" },
  },
  {
    name: "resync-after-order",
    what: "a resync cuts though the operator has said something else while its tail was copied",
    file: CLIENT_DRIVER,
    find: "log.setTailAside(commonEnd, () => !this.#overruled);",
    replace: "log.setTailAside(commonEnd);",
    scenario: { file: GAPS, test: "cuts nothing once it was told to be the master" },
  },
  // --- what readers see, what is let go ---
  {
    name: "unflushed-can-be-read",
    what: "under SYNC_FLUSH messages can be read before they are on the disk",
    file: COMMIT_LOG,
    find: "return this.#options.flushDiskType === FlushDiskType.SYNC_FLUSH ? this.flushedOffset : this.maxOffset;",
    replace: "return this.maxOffset;",
    scenario: { file: GAPS, test: "under SYNC_FLUSH only what is on the disk" },
  },
  {
    name: "expiry-ignores-slaves",
    what: "files that a live slave still needs expire",
    file: "src/store/clean_commit_log_service.ts",
    find: "retainFrom: isForced || this.#diskFull ? Infinity : this.#retainOffset() ?? Infinity,",
    replace: "retainFrom: Infinity,",
    scenario: {
      file: "tests/sim/join_test.ts",
      test: "begins at the first file that is left, keeps files a live slave needs, and stops at a hole",
    },
  },
  {
    name: "handle-leak",
    what: "the handle that made a file is never closed",
    file: MAPPED_FILE,
    find: "    handle.close();\n    const file = new MappedFile(",
    replace: "    const file = new MappedFile(",
    scenario: { file: GAPS, test: "no open file, no timer and no connection, once it has stopped" },
  },
  {
    name: "stray-ask-timer",
    what: "a slave goes on asking its master for its range after the connection has ended",
    file: CLIENT_SESSION,
    find: "      if (this.#over) return;\n      this.range = range;",
    replace: "      this.range = range;",
    scenario: { file: GAPS, test: "no open file, no timer and no connection, once it has stopped" },
  },
];
