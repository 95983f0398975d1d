import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HAConnection } from "../../src/ha/ha_connection.ts";
import { HAConnectionState } from "../../src/ha/ha_connection_state.ts";
import { writeReport } from "../../src/ha/frames.ts";
import { haOptions, type MutableHAServiceOptions } from "../support/ha_options.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";

const FILE = 4096;

function report(offset: number): Uint8Array {
  const bytes = new Uint8Array(8);
  writeReport(bytes, 0, offset);
  return bytes;
}

/** A connection at time 1000 to a log of a little more than two files, unless told otherwise. */
function harness(changes: Partial<MutableHAServiceOptions> = {}, log = filledLog()) {
  const events: string[] = [];
  const options = haOptions(changes);
  const connection = new HAConnection({
    remoteAddress: "10.0.0.2:4000",
    slaveKey: "10.0.0.2",
    log,
    options,
    now: 1000,
    observer: {
      onStateChanged: (each) => events.push(each.state),
      onAck: (each) => events.push(`ack ${each.slaveAckOffset}`),
      onReader: () => events.push("reader"),
      onRefused: (_each, reason) => events.push(`refused ${reason}`),
    },
  });
  /** Takes and sends one frame. */
  const send = (now: number) => {
    const transfer = connection.takeTransfer(now);
    if (transfer === null) return null;
    const frame = { ...transfer };
    connection.onTransferStarted(frame.size, now);
    connection.onTransferWritten(now);
    return frame;
  };
  const sendAll = (now: number) => {
    const frames: { offset: number; size: number }[] = [];
    for (let frame = send(now); frame !== null; frame = send(now)) frames.push(frame);
    return frames;
  };
  return { connection, options, log, events, send, sendAll };
}

function filledLog(end = 2 * FILE + 500): MemoryReplicaLog {
  const log = new MemoryReplicaLog({ mappedFileSize: FILE });
  log.fillTo(end);
  return log;
}

describe("HAConnection: requests", () => {
  it("sends nothing before the first report, whatever the time", () => {
    const { connection, send } = harness();
    assert.equal(connection.state, HAConnectionState.HANDSHAKE);
    assert.equal(send(1000), null);
    assert.equal(send(19_000), null);
    connection.onBytes(report(0).subarray(0, 7), 19_000);
    assert.equal(send(19_000), null);
    assert.equal(connection.slaveRequestOffset, -1);
  });

  it("answers 0 from the log's start, in frames that never cross a file", () => {
    const { connection, log, sendAll } = harness();
    connection.onBytes(report(0), 1000);
    const frames = sendAll(1000);
    assert.deepEqual(frames.map((frame) => frame.offset), [0, FILE, 2 * FILE]);
    assert.deepEqual(frames.map((frame) => frame.size), [FILE, FILE, log.maxOffset - 2 * FILE]);
  });

  it("answers 0 from min when the first files are gone", () => {
    const log = filledLog();
    log.startAt(FILE);
    const { connection, send, events } = harness({}, log);
    connection.onBytes(report(0), 1000);
    assert.deepEqual(send(1000), { offset: FILE, size: FILE });
    assert.deepEqual(events, ["TRANSFER", "ack 0"]);
  });

  it("answers 0 from the last file under Apache's rule", () => {
    const { connection, send } = harness({ syncFromLastFile: true });
    connection.onBytes(report(0), 1000);
    assert.equal(send(1000)?.offset, 2 * FILE);
  });

  it("answers 0 of an empty log with heartbeats at 0, the first at once, then with what comes", () => {
    const { connection, send, log } = harness({}, new MemoryReplicaLog({ mappedFileSize: FILE }));
    connection.onBytes(report(0), 1000);
    assert.deepEqual(send(1000), { offset: 0, size: 0 });
    assert.equal(send(1000), null);
    assert.equal(send(6009), null);
    assert.deepEqual(send(6010), { offset: 0, size: 0 });
    log.put(10);
    assert.deepEqual(send(6011), { offset: 0, size: 46 });
  });

  it("answers 0 with what has come by then, and no heartbeat before it", () => {
    const { connection, send, log } = harness({}, new MemoryReplicaLog({ mappedFileSize: FILE }));
    connection.onBytes(report(0), 1000);
    log.put(10);
    assert.deepEqual(send(1000), { offset: 0, size: 46 });
    assert.equal(send(1000), null);
  });

  it("serves any offset between min and max as it is", () => {
    for (const request of [1, 136, 137, FILE - 1, FILE, FILE + 1, 2 * FILE + 136]) {
      const { connection, send, log } = harness();
      connection.onBytes(report(request), 1000);
      assert.equal(connection.slaveAckOffset, request);
      const size = Math.min(log.maxOffset - request, FILE - request % FILE);
      assert.deepEqual(send(1000), { offset: request, size });
    }
  });

  it("takes a request at the end as up to date", () => {
    const { connection, send, log, events } = harness();
    connection.onBytes(report(log.maxOffset), 1000);
    assert.equal(send(1000), null);
    assert.deepEqual(events, ["TRANSFER", `ack ${log.maxOffset}`]);
    const from = log.maxOffset;
    log.put(4);
    assert.deepEqual(send(1001), { offset: from, size: 40 });
  });

  it("takes the later of two reports in one read as the request", () => {
    const { connection } = harness();
    connection.onBytes(Uint8Array.of(...report(0), ...report(136)), 1000);
    assert.equal(connection.slaveRequestOffset, 136);
  });

  it("takes the request byte by byte", () => {
    const { connection, events } = harness();
    for (const byte of report(136)) connection.onBytes(Uint8Array.of(byte), 1000);
    assert.deepEqual(events, ["TRANSFER", "ack 136"]);
  });

  it("tells a slave that is ahead where this log ends, once, then closes", () => {
    const { connection, send, log, events } = harness();
    connection.onBytes(report(log.maxOffset + 1), 1000);
    assert.deepEqual(events, ["SUSPEND", "refused slaveAhead"]);
    assert.match(connection.suspendReason!, /promote the slave/);
    assert.deepEqual(send(1000), { offset: log.maxOffset, size: 0 });
    assert.equal(send(1000), null);
    assert.equal(connection.slaveAckOffset, -1);
    log.fillTo(log.maxOffset + 1000);
    assert.equal(send(2000), null);
    connection.onBytes(report(log.maxOffset), 3000);
    connection.onTick(5999);
    assert.equal(connection.closeReason, null);
    assert.equal(connection.nextDeadline(5999), 6000);
    connection.onTick(6000);
    assert.equal(connection.closeReason, "slaveAhead");
    assert.deepEqual(events, ["SUSPEND", "refused slaveAhead", "SHUTDOWN"]);
  });

  it("closes a slave that is ahead also when it never reads its frame", () => {
    const { connection, log } = harness();
    connection.onBytes(report(log.maxOffset + 1), 1000);
    connection.takeTransfer(1000);
    connection.onTransferStarted(0, 1000);
    connection.onTick(6000);
    assert.equal(connection.closeReason, "slaveAhead");
  });

  it("keeps a slave below min on heartbeats, said once, never counted", () => {
    const log = filledLog();
    log.startAt(FILE);
    const { connection, send, events } = harness({}, log);
    connection.onBytes(report(136), 1000);
    assert.deepEqual(events, ["SUSPEND", "refused belowMin"]);
    assert.equal(send(1000), null);
    assert.deepEqual(send(6010), { offset: 136, size: 0 });
    connection.onBytes(report(136), 6020);
    assert.deepEqual(send(11_020), { offset: 136, size: 0 });
    assert.equal(connection.slaveAckOffset, -1);
    assert.equal(connection.retainOffset, null);
    assert.equal(events.length, 2);
    connection.onBytes(report(137), 11_100);
    assert.equal(connection.closeReason, "ackBeyondSent");
  });

  it("suspends a slave whose next byte expires while it is served", () => {
    const { connection, send, log, events } = harness({ haTransferBatchSize: 136 });
    connection.onBytes(report(0), 1000);
    send(1000);
    log.startAt(FILE);
    assert.equal(send(1001), null);
    assert.equal(connection.state, HAConnectionState.SUSPEND);
    assert.deepEqual(events.slice(-2), ["SUSPEND", "refused belowMin"]);
    assert.deepEqual(send(6100), { offset: 136, size: 0 });
  });

  it("suspends when the byte expires between question and read", () => {
    const { connection } = harness();
    connection.onBytes(report(136), 1000);
    connection.takeTransfer(1000);
    connection.onNotHeld();
    assert.equal(connection.state, HAConnectionState.SUSPEND);
    assert.deepEqual({ ...connection.takeTransfer(6100)! }, { offset: 136, size: 0 });
  });

  it("closes when the log is cut below what was sent", () => {
    const { connection, sendAll, log } = harness();
    connection.onBytes(report(0), 1000);
    sendAll(1000);
    log.cutTo(FILE);
    assert.equal(connection.nextTransfer(1001), null);
    assert.equal(connection.closeReason, "logCut");
  });
});

describe("HAConnection: acks", () => {
  it("grow with what was sent, and no further", () => {
    const { connection, sendAll, log, events } = harness();
    connection.onBytes(report(0), 1000);
    sendAll(1000);
    connection.onBytes(report(FILE), 1001);
    connection.onBytes(report(FILE), 1002);
    connection.onBytes(Uint8Array.of(...report(FILE + 5), ...report(log.maxOffset)), 1003);
    assert.deepEqual(events, ["TRANSFER", "ack 0", `ack ${FILE}`, `ack ${log.maxOffset}`]);
    assert.equal(connection.closeReason, null);
  });

  it("may come while the frame is still being written", () => {
    const { connection } = harness();
    connection.onBytes(report(0), 1000);
    connection.takeTransfer(1000);
    connection.onTransferStarted(FILE, 1000);
    connection.onBytes(report(FILE), 1001);
    assert.equal(connection.slaveAckOffset, FILE);
  });

  it("of bytes never sent close the connection and do not count", () => {
    for (const ack of [137, FILE, filledLog().maxOffset, filledLog().maxOffset + 1, 2 ** 50]) {
      const { connection, send, events } = harness({ haTransferBatchSize: 136 });
      connection.onBytes(report(0), 1000);
      send(1000);
      connection.onBytes(report(ack), 1001);
      assert.equal(connection.closeReason, "ackBeyondSent");
      assert.equal(connection.slaveAckOffset, 0);
      assert.deepEqual(events.slice(-2), ["refused ackBeyondSent", "SHUTDOWN"]);
    }
  });

  it("of a frame that was only read from the log do not count", () => {
    const { connection } = harness();
    connection.onBytes(report(0), 1000);
    connection.takeTransfer(1000);
    connection.onBytes(report(FILE), 1001);
    assert.equal(connection.closeReason, "ackBeyondSent");
  });

  it("below the request or the last report close the connection", () => {
    for (const ack of [0, 135, 271]) {
      const { connection, sendAll } = harness();
      connection.onBytes(report(136), 1000);
      sendAll(1000);
      connection.onBytes(report(272), 1000);
      connection.onBytes(report(ack), 1001);
      assert.equal(connection.closeReason, "ackWentBack");
      assert.equal(connection.slaveAckOffset, 272);
    }
  });

  it("that are negative or beyond 2^53 close the connection, first or later", () => {
    for (const first of [0xff, 0x80, 0x7f, 0x00]) {
      const bad = Uint8Array.of(first, 0x20, 0, 0, 0, 0, 0, 0);
      const fresh = harness();
      fresh.connection.onBytes(bad, 1000);
      assert.equal(fresh.connection.closeReason, "badReport");
      const served = harness();
      served.connection.onBytes(report(0), 1000);
      served.connection.onBytes(bad, 1001);
      assert.equal(served.connection.closeReason, "badReport");
      assert.equal(served.connection.slaveAckOffset, 0);
    }
  });

  it("stop counting once it is closed", () => {
    const { connection, sendAll, events } = harness();
    connection.onBytes(report(0), 1000);
    sendAll(1000);
    connection.close("peerClosed");
    connection.close("again");
    connection.onBytes(report(FILE), 1001);
    assert.equal(connection.slaveAckOffset, 0);
    assert.equal(connection.closeReason, "peerClosed");
    assert.equal(connection.nextTransfer(1001), null);
    assert.equal(connection.nextDeadline(1001), null);
    assert.deepEqual(events, ["TRANSFER", "ack 0", "SHUTDOWN"]);
  });

  it("say what the log must keep: the last record acked, and everything after", () => {
    const { connection, sendAll } = harness();
    assert.equal(connection.retainOffset, null);
    connection.onBytes(report(136), 1000);
    assert.equal(connection.retainOffset, 136);
    sendAll(1000);
    connection.onBytes(report(FILE), 1001);
    assert.equal(connection.retainOffset, FILE - 1);
  });
});

describe("HAConnection: frames", () => {
  it("keep to haTransferBatchSize, live", () => {
    const { connection, send, options } = harness({ haTransferBatchSize: 1000 });
    connection.onBytes(report(0), 1000);
    assert.equal(send(1000)?.size, 1000);
    options.haTransferBatchSize = 50;
    assert.deepEqual(send(1000), { offset: 1000, size: 50 });
  });

  it("keep to 1 MiB while it is unset, and to 4 MiB - 12 whatever is set", () => {
    const log = new MemoryReplicaLog({ mappedFileSize: 8 * 1024 * 1024 });
    log.fillTo(6 * 1024 * 1024, 100_000);
    const unset = harness({}, log);
    unset.connection.onBytes(report(0), 1000);
    assert.equal(unset.send(1000)?.size, 1024 * 1024);
    const wild = harness({ haTransferBatchSize: 2 ** 31 - 1 }, log);
    wild.connection.onBytes(report(0), 1000);
    assert.equal(wild.send(1000)?.size, 4 * 1024 * 1024 - 12);
  });

  it("are one at a time", () => {
    const { connection } = harness();
    connection.onBytes(report(0), 1000);
    connection.takeTransfer(1000);
    assert.equal(connection.takeTransfer(1000), null);
    connection.onTransferStarted(100, 1000);
    assert.equal(connection.takeTransfer(30_000), null);
    connection.onTransferWritten(1001);
    assert.equal(connection.takeTransfer(1001)?.offset, 100);
  });

  it("go on where the log's answer ended when that was short", () => {
    const { connection } = harness();
    connection.onBytes(report(0), 1000);
    connection.takeTransfer(1000);
    connection.onTransferStarted(7, 1000);
    connection.onTransferWritten(1000);
    assert.deepEqual({ ...connection.takeTransfer(1000)! }, { offset: 7, size: FILE - 7 });
  });

  it("carry only flushed bytes with haTransferAfterFlush", () => {
    const log = new MemoryReplicaLog({ mappedFileSize: FILE });
    log.fillTo(300);
    log.autoFlush = false;
    log.fillTo(600);
    const flushed = log.flushedOffset;
    const { connection, send } = harness({ haTransferAfterFlush: true }, log);
    connection.onBytes(report(0), 1000);
    assert.deepEqual(send(1000), { offset: 0, size: flushed });
    assert.equal(send(1000), null);
    log.flush();
    assert.deepEqual(send(1000), { offset: flushed, size: log.maxOffset - flushed });
    const ahead = harness({ haTransferAfterFlush: true }, log);
    log.flushedOffset = 100;
    ahead.connection.onBytes(report(300), 1000);
    assert.equal(ahead.send(1000), null);
    assert.equal(ahead.connection.state, HAConnectionState.TRANSFER);
  });

  it("wait for the next second when flow control has spent the budget, header bytes counted", () => {
    const { connection, send } = harness({ haFlowControlEnable: true, maxHaTransferByteInSecond: 1012 });
    connection.onBytes(report(0), 1000);
    assert.deepEqual(send(1100), { offset: 0, size: 1000 });
    assert.equal(send(1999), null);
    assert.equal(connection.nextDeadline(1999), 2000);
    assert.deepEqual(send(2000), { offset: 1000, size: 1000 });
    assert.equal(connection.flowMonitor.transferredByteInSecond(2000), 1012);
  });
});

describe("HAConnection: who only reads", () => {
  it("is told by its request, repeated long after it was sent something, until it acknowledges more", () => {
    const { connection, send, events } = harness();
    connection.onBytes(report(136), 1000);
    // Nothing was sent so far: a slave that waits says the same.
    connection.onBytes(report(136), 9000);
    send(9000);
    // Under way while the first frame was, or while it was compared.
    connection.onBytes(report(136), 9999);
    assert.equal(connection.isReader, false);
    connection.onBytes(report(136), 10_000);
    // The heartbeat of a slave whose first frame was lost on the way, or whose disk stood still.
    assert.equal(connection.isReader, false);
    connection.onBytes(report(136), 11_000);
    assert.equal(connection.isReader, true);
    assert.equal(connection.state, HAConnectionState.TRANSFER, "it is served on");
    assert.ok(send(11_000)!.size > 0);
    assert.equal(connection.retainOffset, 136, "and its files are kept");
    connection.onBytes(report(137), 12_000);
    assert.equal(connection.isReader, false);
    assert.deepEqual(events, ["TRANSFER", "ack 136", "reader", "ack 137"]);
  });

  it("is no slave that was sent heartbeats only, nor one that asked for nothing and got nothing", () => {
    const { connection, send, events } = harness({}, new MemoryReplicaLog({ mappedFileSize: FILE }));
    connection.onBytes(report(0), 1000);
    assert.equal(send(1000)?.size, 0);
    connection.onBytes(report(0), 6000);
    connection.onBytes(report(0), 11_000);
    assert.deepEqual(events, ["TRANSFER", "ack 0"]);
  });
});

describe("HAConnection: timers", () => {
  it("heartbeats a little more than the interval after the last write, not earlier", () => {
    const { connection, send, sendAll, log } = harness();
    connection.onBytes(report(log.maxOffset), 1500);
    assert.equal(connection.nextDeadline(1500), 6010);
    assert.equal(send(6009), null);
    assert.deepEqual(send(6010), { offset: log.maxOffset, size: 0 });
    connection.onBytes(report(log.maxOffset), 7000);
    log.put(10);
    sendAll(8000);
    assert.equal(connection.nextDeadline(8000), 13_010);
    assert.equal(send(13_009), null);
    assert.equal(send(13_010)?.size, 0);
  });

  it("sends data instead of a heartbeat when there is some", () => {
    const { connection, send } = harness();
    connection.onBytes(report(0), 1500);
    assert.ok(send(9000)!.size > 0);
  });

  it("closes a peer that never asks", () => {
    const { connection, events } = harness();
    connection.onBytes(Uint8Array.of(0, 0), 2000);
    assert.equal(connection.nextDeadline(2000), 22_000);
    connection.onTick(21_999);
    assert.equal(connection.closeReason, null);
    connection.onTick(22_000);
    assert.deepEqual(events, ["refused neverRequested", "SHUTDOWN"]);
  });

  it("closes a slave that has gone silent, even with a frame stuck in its socket", () => {
    const { connection, events } = harness();
    connection.onBytes(report(0), 2000);
    connection.takeTransfer(2000);
    connection.onTransferStarted(FILE, 2000);
    assert.equal(connection.nextDeadline(2000), 22_000);
    connection.onTick(22_000);
    assert.deepEqual(events.slice(-2), ["refused housekeeping", "SHUTDOWN"]);
  });

  it("keeps a slave that reports", () => {
    const { connection } = harness();
    for (let now = 2000; now < 200_000; now += 19_999) {
      connection.onBytes(report(0), now);
      connection.onTick(now);
    }
    assert.equal(connection.closeReason, null);
  });
});
