// The state machines of replication under any sequence of events: what a master does with a slave that talks nonsense
// (HAConnection) and a slave with a master that does (HAClient), each around a small log that grows, is cut and expires.

import assert from "node:assert/strict";
import fc from "fast-check";
import { concatBytes } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import { BODY_SIZE_MAX, writeReport, writeTransferHeader } from "../../../src/ha/frames.ts";
import { HAClient, type HAVerdict } from "../../../src/ha/ha_client.ts";
import { HAConnection, type HAConnectionOptions } from "../../../src/ha/ha_connection.ts";
import { HAConnectionState } from "../../../src/ha/ha_connection_state.ts";
import type { MasterRange } from "../../../src/ha/start_offset.ts";
import { compareWithLog } from "../../../src/ha/tail_check.ts";
import { TransferDecoder } from "../../../src/ha/transfer_decoder.ts";
import { MemoryReplicaLog } from "../../support/memory_replica_log.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { assertGoodMessage, assertPlain, Script } from "../properties.ts";

const FILE_SIZE = 4096;
const STEPS_MAX = 400;

/** A script of events, mostly short ones. */
const scripts = fc.uint8Array({ maxLength: 200 });

/** The master's side of one slave. */
export const CONNECTION: FuzzTarget = {
  name: "ha_connection",
  runs: 1500,
  inputs: scripts,
  check(input) {
    const script = new Script(input);
    const flags = script.byte();
    const log = new MemoryReplicaLog({ mappedFileSize: FILE_SIZE });
    log.autoFlush = (flags & 1) === 0;
    log.fillTo(script.byte() * 100);
    const options: HAConnectionOptions = {
      haSendHeartbeatInterval: 500,
      haHousekeepingInterval: 2000,
      haTransferBatchSize: (flags & 2) === 0 ? null : script.uint16(),
      haTransferAfterFlush: (flags & 4) !== 0,
      syncFromLastFile: (flags & 8) !== 0,
      haFlowControlEnable: (flags & 16) !== 0,
      maxHaTransferByteInSecond: 10_000,
    };
    let now = 1000;
    let refusals = 0;
    let acked = -1;
    let readers = 0;
    const connection = new HAConnection({
      remoteAddress: "10.0.0.2:1",
      slaveKey: "10.0.0.2",
      log,
      options,
      now,
      observer: {
        onStateChanged: () => {},
        onAck: (slave) => {
          assert.ok(slave.slaveAckOffset > acked, "An ack fell");
          acked = slave.slaveAckOffset;
        },
        onReader: (peer) => {
          assert.ok(peer.isReader && peer.confirmedOffset === -1 && ++readers === 1, "Called a reader, and is none");
        },
        onRefused: (_, __, detail) => {
          refusals++;
          assertPlain(detail);
        },
      },
    });
    for (let steps = 0; !script.isOver && steps < STEPS_MAX; steps++) {
      const kind = script.byte() % 10;
      if (kind <= 1) connection.onBytes(script.take(1 + script.byte() % 20), now);
      else if (kind <= 4) {
        const report = new Uint8Array(8);
        // Mostly what a slave would say next, or a little off it.
        const choice = script.byte();
        const near = [connection.transferFromWhere, connection.slaveAckOffset, log.maxOffset, log.minOffset, 0, 1];
        writeReport(
          report,
          0,
          choice < 192 ? near[choice % 6]! + (choice >= 160 ? script.byte() - 128 : 0) : script.offset(),
        );
        connection.onBytes(report, now);
      } else if (kind === 5) now += script.uint16() % 3000;
      else if (kind === 6) log.put(script.byte());
      else if (kind === 7) connection.onTick(now);
      else if (kind === 8) {
        const change = script.byte() % 4;
        if (change === 0) log.flush();
        else if (change === 1) log.minOffset = Math.min(log.maxOffset, log.minOffset + FILE_SIZE);
        else if (change === 2) log.cutTo(Math.max(log.minOffset, log.maxOffset - log.maxOffset % FILE_SIZE));
      } else transferOne(connection, log, script, now);
      assertConnection(connection, log);
    }
    assert.ok(refusals <= STEPS_MAX);
    connection.close("over");
    assert.equal(connection.nextDeadline(now), null);
  },
};

/** What the driver does with a frame; sometimes the log gives less than was asked, or nothing. */
function transferOne(connection: HAConnection, log: MemoryReplicaLog, script: Script, now: number): void {
  const transfer = connection.takeTransfer(now);
  if (transfer === null) return;
  const { offset, size } = transfer;
  assert.ok(Number.isSafeInteger(offset) && offset >= 0 && size >= 0 && size <= BODY_SIZE_MAX);
  const body = new Uint8Array(size);
  const count = size === 0 ? 0 : log.read(offset, body);
  assert.ok(typeof count === "number");
  if (size > 0) {
    assert.ok(count === size, `Asked for ${size} bytes at ${offset}, the log gives ${count}`);
    assert.equal(Math.floor(offset / FILE_SIZE), Math.floor((offset + size - 1) / FILE_SIZE), "A frame crosses a file");
  }
  const fate = script.byte() % 8;
  if (fate === 0 && size > 0) return connection.onNotHeld();
  if (fate === 1) return connection.close("write failed");
  connection.onTransferStarted(fate === 2 && size > 1 ? size - 1 : size, now);
  connection.onTransferWritten(now + 1);
}

function assertConnection(connection: HAConnection, log: MemoryReplicaLog): void {
  const { slaveAckOffset, transferFromWhere, retainOffset } = connection;
  if (slaveAckOffset >= 0 && connection.slaveRequestOffset !== 0) {
    assert.ok(
      slaveAckOffset <= transferFromWhere,
      `Ack ${slaveAckOffset} is beyond what was sent, ${transferFromWhere}`,
    );
  }
  assert.equal(retainOffset !== null, connection.state === HAConnectionState.TRANSFER);
  assert.ok(connection.bytesAhead <= log.maxOffset);
  assert.equal(connection.closeReason !== null, connection.state === HAConnectionState.SHUTDOWN);
}

/** Wire bytes that fit the log they are meant for: records of the test log, framed. */
const goodFrames = fc.tuple(fc.nat(30), fc.nat(30), fc.nat(6), fc.integer({ min: 1, max: 900 }), fc.boolean()).map(
  ([own, more, cut, frameSize, flip]) => {
    const master = new MemoryReplicaLog({ mappedFileSize: FILE_SIZE });
    master.fillTo(own * 150);
    const start = master.lastRecordOffset;
    for (let i = 0; i < more; i++) master.put(40 + i);
    if (flip && master.maxOffset > 0) master.flip(master.maxOffset - 1 - cut);
    const frames: Uint8Array[] = [];
    for (let at = Math.max(start, 1); at < master.maxOffset;) {
      const size = Math.min(frameSize, master.maxOffset - at, FILE_SIZE - at % FILE_SIZE);
      frames.push(frameOf(at, master.slice(at, at + size)));
      at += size;
    }
    frames.push(frameOf(Math.max(master.maxOffset, 1), new Uint8Array(0)));
    return concatBytes([Uint8Array.of(0, own, 0, cut * 20), ...frames]);
  },
);

function frameOf(offset: number, body: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(12 + body.length);
  writeTransferHeader(bytes, 0, offset, body.length);
  bytes.set(body, 12);
  return bytes;
}

/** The slave's side, driven as HAClientSession does. Input: flags, own log, range, piece size, then the wire. */
export const CLIENT: FuzzTarget = {
  name: "ha_client",
  runs: 800,
  inputs: fc.oneof(goodFrames, scripts),
  check(input) {
    const script = new Script(input);
    const flags = script.byte();
    const log = new MemoryReplicaLog({ mappedFileSize: FILE_SIZE });
    log.fillTo(script.byte() * 150);
    log.autoFlush = (flags & 1) === 0;
    const client = new HAClient(log, {
      haSendHeartbeatInterval: 500,
      haHousekeepingInterval: 2000,
      haAckAfterFlush: (flags & 2) !== 0,
      haStartOffset: (flags & 4) !== 0 ? FILE_SIZE : null,
    });
    const range = (): MasterRange => ({ minOffset: script.offset(), maxOffset: script.offset() });
    const learned = (script.byte() & 3) === 3 ? range() : null;
    const pieceSize = 1 + script.byte();
    client.started(false);
    // The driver's probes are starts of records of this log.
    const probe = (flags & 8) === 0 || log.maxOffset === 0 ? null : Math.abs(script.offset()) % log.maxOffset;
    const planned = client.plan(learned, probe);
    if (planned !== null) return assertVerdict(planned);
    new Slave(client, log).follow(script, flags, pieceSize);
  },
};

/** One connection of the slave, all on the stack. */
class Slave {
  readonly #client: HAClient;
  readonly #log: MemoryReplicaLog;
  readonly #decoder = new TransferDecoder();
  /** The log as it was: nothing of it may change. */
  readonly #before: Uint8Array;
  #reported = -1;
  #now = 1000;

  constructor(client: HAClient, log: MemoryReplicaLog) {
    this.#client = client;
    this.#log = log;
    this.#before = log.slice();
  }

  follow(script: Script, flags: number, pieceSize: number): void {
    const client = this.#client;
    client.connected(this.#now);
    this.#report();
    let verdict: HAVerdict | null = null;
    for (let steps = 0; !script.isOver && steps < STEPS_MAX && verdict === null; steps++) {
      if ((flags & 16) !== 0 && steps % 5 === 4) this.#now += script.uint16() % 3000;
      verdict = client.tick(this.#now);
      if (verdict === null && (flags & 32) !== 0 && steps % 7 === 6) {
        verdict = client.masterRange({ minOffset: script.offset(), maxOffset: script.offset() });
      }
      if (verdict === null) verdict = this.#read(script.take(pieceSize));
      if ((flags & 1) !== 0 && steps % 3 === 2) this.#log.flush();
      if (verdict === null) this.#report();
      assert.ok(Number.isFinite(client.nextDeadline()), "No deadline");
    }
    assert.deepEqual(
      this.#log.slice(this.#log.minOffset).subarray(0, this.#before.length),
      this.#before,
      "Own bytes changed",
    );
    if (verdict !== null) assertVerdict(verdict);
    client.closed(verdict?.reason ?? "over");
    const delay = client.reconnectDelay(script.byte() * 3);
    assert.ok(delay >= 0 && delay <= 5000, `Waits ${delay} ms before it connects again`);
  }

  #read(bytes: Uint8Array): HAVerdict | null {
    this.#client.received(this.#now);
    this.#decoder.feed(bytes);
    try {
      for (let part = this.#decoder.next(); part !== null; part = this.#decoder.next()) {
        const verdict = part === "header"
          ? this.#client.header(this.#decoder.physicOffset, this.#decoder.bodySize)
          : this.#body(this.#decoder.chunkOffset, this.#decoder.chunk);
        if (verdict !== null) return verdict;
      }
      return null;
    } catch (error) {
      if (!(error instanceof ProtocolError)) throw error;
      assertGoodMessage(error.message);
      return { type: "close", reason: error.message };
    }
  }

  #body(offset: number, chunk: Uint8Array): HAVerdict | null {
    const share = this.#client.checkShare(chunk.length);
    if (share > 0) {
      const differsAt = compareWithLog(this.#log, offset, chunk.subarray(0, share));
      assert.ok(typeof differsAt === "number");
      const verdict = this.#client.compared(share, differsAt);
      if (verdict !== null || share === chunk.length) return verdict;
    }
    if (this.#client.takeLeadByte(offset + share)) {
      const verdict = this.#client.appended(this.#log.appendReplica(0, new Uint8Array(1)));
      if (verdict !== null) return verdict;
    }
    return this.#client.appended(this.#log.appendReplica(offset + share, chunk.subarray(share)));
  }

  #report(): void {
    const report = this.#client.takeReport(this.#now);
    if (report < 0) return;
    const { maxOffset } = this.#log;
    assert.ok(report >= this.#reported, `Report ${report} after ${this.#reported}`);
    assert.ok(
      report <= Math.max(maxOffset, this.#client.request),
      `Report ${report} is beyond the log's end ${maxOffset}`,
    );
    if (this.#client.state === "verifying") {
      assert.equal(report, this.#client.request, "Acknowledged before it was compared");
    }
    this.#reported = report;
    this.#client.reportWritten();
  }
}

function assertVerdict(verdict: HAVerdict): void {
  assertPlain(verdict.reason);
  assert.ok(verdict.reason.length > 0 && verdict.reason.length < 600);
  if (verdict.type === "diverged" || verdict.type === "hole") assert.ok(Number.isSafeInteger(verdict.offset));
}
