import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { writeReport } from "../../src/ha/frames.ts";
import type { HAConnection } from "../../src/ha/ha_connection.ts";
import { HAConnectionState } from "../../src/ha/ha_connection_state.ts";
import { type BrokerRole, HAService } from "../../src/ha/ha_service.ts";
import { haOptions, MemoryLogger, type MutableHAServiceOptions } from "../support/ha_options.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";

function report(offset: number): Uint8Array {
  const bytes = new Uint8Array(8);
  writeReport(bytes, 0, offset);
  return bytes;
}

function harness(setup: {
  role?: BrokerRole;
  options?: Partial<MutableHAServiceOptions>;
} = {}) {
  const log = new MemoryReplicaLog({ mappedFileSize: 64 * 1024 });
  log.fillTo(1000);
  const options = haOptions(setup.options);
  const logger = new MemoryLogger();
  const service = new HAService({
    log,
    options,
    role: setup.role ?? "SYNC_MASTER",
    logger,
  });
  service.start(0);
  log.onGrow(() => service.onLogGrew(0));
  let port = 4000;
  /** A peer, with what its driver was asked. */
  const connect = (hostname: string, now = 0) => {
    const asked = { woken: 0, closed: 0 };
    const connection = service.accept(
      { hostname, port: port++ },
      { wake: () => asked.woken++, close: () => asked.closed++ },
      now,
    );
    return { connection: connection!, asked };
  };
  /** A slave that asks from `from` and is sent everything. */
  const slave = (hostname: string, from = log.maxOffset, now = 0) => {
    const peer = connect(hostname, now);
    service.onBytes(peer.connection, report(from), now);
    sendAll(peer.connection, now);
    return peer;
  };
  const sendAll = (connection: HAConnection, now = 0) => {
    for (let transfer = connection.takeTransfer(now); transfer !== null; transfer = connection.takeTransfer(now)) {
      connection.onTransferStarted(transfer.size, now);
      connection.onTransferWritten(now);
    }
  };
  const ack = (connection: HAConnection, offset: number, now = 0) => service.onBytes(connection, report(offset), now);
  /** Puts one record; the statuses that come later are collected. */
  const later: string[] = [];
  const put = (now = 0, waitStoreMsgOK = true) => {
    log.put(64);
    return service.handleHA(log.maxOffset, waitStoreMsgOK, (status) => later.push(status), now);
  };
  return { log, options, logger, service, connect, slave, sendAll, ack, put, later };
}

describe("HAService: what a put is told", () => {
  it("never waits on an ASYNC_MASTER or a SLAVE", () => {
    for (const role of ["ASYNC_MASTER", "SLAVE"] as const) {
      const { service, put } = harness({ role, options: { inSyncReplicas: 3, minInSyncReplicas: 3 } });
      assert.equal(service.beforePut(true), null);
      assert.equal(put(), "PUT_OK");
    }
  });

  it("never waits with WAIT=false", () => {
    const { service, put } = harness({ options: { minInSyncReplicas: 2 } });
    assert.equal(service.beforePut(false), null);
    assert.equal(put(0, false), "PUT_OK");
  });

  it("says SLAVE_NOT_AVAILABLE at once without enough live slaves", () => {
    const { put, slave, connect } = harness({ options: { inSyncReplicas: 3 } });
    assert.equal(put(), "SLAVE_NOT_AVAILABLE");
    connect("10.0.0.1"); // never asks for anything
    slave("10.0.0.2");
    assert.equal(put(), "SLAVE_NOT_AVAILABLE");
    slave("10.0.0.3");
    assert.equal(put(), null);
  });

  it("says PUT_OK as soon as enough slaves have it", () => {
    const { put, slave, sendAll, ack, later, log } = harness({ options: { inSyncReplicas: 3 } });
    const a = slave("10.0.0.2");
    const b = slave("10.0.0.3");
    assert.equal(put(), null);
    [a, b].forEach((each) => sendAll(each.connection));
    ack(a.connection, log.maxOffset);
    assert.deepEqual(later, []);
    ack(b.connection, log.maxOffset - 1);
    assert.deepEqual(later, []);
    ack(b.connection, log.maxOffset);
    assert.deepEqual(later, ["PUT_OK"]);
  });

  it("says PUT_OK at once when the slaves have it already", () => {
    const { service, slave, ack, log } = harness();
    const { connection } = slave("10.0.0.2", log.maxOffset - 64);
    ack(connection, log.maxOffset);
    assert.equal(service.handleHA(log.maxOffset, true, () => assert.fail("called"), 0), "PUT_OK");
  });

  it("says FLUSH_SLAVE_TIMEOUT after slaveTimeout", () => {
    const { service, put, slave, later } = harness();
    slave("10.0.0.2");
    assert.equal(put(100), null);
    assert.equal(service.waitingPutsDeadline, 3100);
    service.onTick(3099);
    assert.deepEqual(later, []);
    service.onTick(3100);
    assert.deepEqual(later, ["FLUSH_SLAVE_TIMEOUT"]);
  });

  it("waits on when the slave leaves, until it acknowledges something beyond its new request", () => {
    const { service, put, slave, ack, sendAll, later, log } = harness();
    const first = slave("10.0.0.2");
    assert.equal(put(), null);
    service.close(first.connection, "reset", 10);
    assert.deepEqual(later, []);
    // Ours asks from its last record and compares it before it acknowledges the end.
    const second = slave("10.0.0.2", log.maxOffset - 64, 20);
    assert.deepEqual(later, []);
    ack(second.connection, log.maxOffset, 30);
    assert.deepEqual(later, ["PUT_OK"]);
    // Apache's asks from its end, and acknowledges with what comes next.
    assert.equal(put(), null);
    service.close(second.connection, "reset", 40);
    const third = slave("10.0.0.2", log.maxOffset, 50);
    assert.deepEqual(later, ["PUT_OK"]);
    assert.equal(put(), null);
    sendAll(third.connection);
    ack(third.connection, log.maxOffset, 60);
    assert.deepEqual(later, ["PUT_OK", "PUT_OK", "PUT_OK"]);
  });

  it("never takes the request of an old master, whose log parts from this one, for an acknowledgement", () => {
    const { put, slave, ack, connect, service, later, log } = harness();
    slave("10.0.0.2"); // in sync, and stalled from now on
    assert.equal(put(), null);
    // It was the master, has a message of its own at the same place, and asks from its last record.
    const { connection } = connect("10.0.0.3");
    service.onBytes(connection, report(log.maxOffset), 10);
    // Its heartbeat while it compares says the same.
    ack(connection, log.maxOffset, 20);
    assert.deepEqual(later, []);
    service.onTick(3000);
    assert.deepEqual(later, ["FLUSH_SLAVE_TIMEOUT"]);
  });

  it("does not count who reads and acknowledges nothing, as verify --against does", () => {
    const { service, slave, ack, put, later, log, logger } = harness({ options: { minInSyncReplicas: 2 } });
    const { connection } = slave("10.0.0.2", 1);
    assert.equal(put(), null, "for a moment it looks like a slave");
    ack(connection, 1, 1000);
    ack(connection, 1, 1500);
    assert.equal(connection.isReader, true);
    service.onTick(3000);
    assert.deepEqual(later, ["FLUSH_SLAVE_TIMEOUT"], "which makes no PUT_OK");
    assert.equal(service.beforePut(true), "IN_SYNC_REPLICAS_NOT_ENOUGH");
    assert.equal(put(3000), "SLAVE_NOT_AVAILABLE");
    assert.deepEqual([service.inSyncSlaveNums(log.maxOffset), service.slaveFallBehindMuch()], [0, null]);
    const [info] = service.connectionInfos(3000);
    assert.equal(info!.inSync, false);
    assert.match(info!.reason!, /acknowledges nothing/);
    assert.equal(service.retainOffset(), 1, "what it reads is kept");
    service.onTick(10_000);
    assert.ok(!logger.lines.some(({ message }) => message.startsWith("Replication lag")));
    // A slave after all, only slow.
    ack(connection, connection.transferFromWhere, 11_000);
    assert.equal(service.beforePut(true), null);
    assert.equal(service.connectionInfos(11_000)[0]!.reason, null);
  });

  it("waits for a slave whose heartbeat comes while its first bytes are late", () => {
    const { slave, sendAll, ack, put, later, log } = harness({
      options: { minInSyncReplicas: 1, inSyncReplicas: 2, enableAutoInSyncReplicas: true },
    });
    // Idle until now: an Apache slave, whose request is the end of its log, has had nothing to acknowledge.
    const { connection } = slave("10.0.0.2");
    const end = log.maxOffset;
    assert.equal(put(1000), null);
    sendAll(connection, 1000);
    ack(connection, end, 2200);
    assert.equal(put(2300), null, "no PUT_OK for the master's copy alone");
    sendAll(connection, 2300);
    ack(connection, log.maxOffset, 2400);
    assert.deepEqual(later, ["PUT_OK", "PUT_OK"]);
  });

  it("says IN_SYNC_REPLICAS_NOT_ENOUGH before writing", () => {
    const { service, slave } = harness({ options: { minInSyncReplicas: 2 } });
    assert.equal(service.beforePut(true), "IN_SYNC_REPLICAS_NOT_ENOUGH");
    slave("10.0.0.2");
    assert.equal(service.beforePut(true), null);
  });

  it("does not count slaves beyond haMaxGapNotInSync", () => {
    const { service, slave, log, put } = harness({ options: { haMaxGapNotInSync: 500, minInSyncReplicas: 2 } });
    slave("10.0.0.2", log.maxOffset - 500 + 1);
    assert.equal(service.inSyncSlaveNums(log.maxOffset), 1);
    assert.equal(service.inSyncSlaveNums(log.maxOffset + 1), 0);
    assert.equal(put(), "SLAVE_NOT_AVAILABLE");
    assert.equal(service.beforePut(true), "IN_SYNC_REPLICAS_NOT_ENOUGH");
  });

  it("does not wait with inSyncReplicas 1", () => {
    assert.equal(harness({ options: { inSyncReplicas: 1 } }).put(), "PUT_OK");
  });

  it("lowers the wanted copies to those in sync when told to, never below minInSyncReplicas", () => {
    const { put, slave } = harness({
      options: { inSyncReplicas: 3, minInSyncReplicas: 2, enableAutoInSyncReplicas: true },
    });
    assert.equal(put(), "SLAVE_NOT_AVAILABLE");
    slave("10.0.0.2");
    assert.equal(put(), null);
  });

  it("fails waiting puts when the node becomes a slave, or stops", () => {
    const { service, put, slave, later } = harness();
    slave("10.0.0.2");
    put();
    service.setRole("SLAVE", 5);
    assert.deepEqual(later, ["FLUSH_SLAVE_TIMEOUT"]);
    assert.equal(service.connectionCount, 1);
    service.setRole("SYNC_MASTER", 6);
    put();
    service.stop(7);
    assert.deepEqual(later, ["FLUSH_SLAVE_TIMEOUT", "FLUSH_SLAVE_TIMEOUT"]);
    assert.equal(service.connectionCount, 0);
    assert.equal(put(), "SLAVE_NOT_AVAILABLE");
  });
});

describe("HAService: whose acks count", () => {
  it("one replica per remote address", () => {
    const { service, put, slave, log } = harness({ options: { inSyncReplicas: 3 } });
    slave("10.0.0.2");
    slave("10.0.0.2");
    slave("::ffff:10.0.0.2");
    assert.equal(service.connectionCount, 3);
    assert.equal(service.inSyncSlaveNums(log.maxOffset), 1);
    assert.equal(put(), "SLAVE_NOT_AVAILABLE");
  });

  it("each connection on loopback, or by choice", () => {
    for (const host of ["127.0.0.1", "127.1.2.3", "::1", "::ffff:127.0.0.1"]) {
      const { service, slave, log } = harness();
      [1, 2, 3].forEach(() => slave(host));
      assert.equal(service.inSyncSlaveNums(log.maxOffset), 3);
    }
    const { service, slave, log } = harness({ options: { haCountSlavesBy: "connection" } });
    [1, 2, 3].forEach(() => slave("10.0.0.2"));
    assert.equal(service.inSyncSlaveNums(log.maxOffset), 3);
  });

  it("not of connections that never asked, that can't be served, or that left", () => {
    const { service, connect, slave, log } = harness();
    connect("10.0.0.1");
    slave("10.0.0.2", log.maxOffset + 10);
    assert.equal(service.push2SlaveMaxOffset, 0);
    assert.equal(service.slaveFallBehindMuch(), null);
    const good = slave("10.0.0.3", 700);
    assert.equal(service.push2SlaveMaxOffset, 700);
    assert.equal(service.slaveFallBehindMuch(), log.maxOffset - 700);
    service.close(good.connection, "peerClosed", 1);
    assert.equal(service.push2SlaveMaxOffset, 0);
    assert.equal(service.inSyncSlaveNums(log.maxOffset), 0);
    assert.equal(good.asked.closed, 1);
  });

  it("an ack of bytes never sent completes no put", () => {
    const { put, slave, ack, later, log, service } = harness();
    const liar = slave("10.0.0.2");
    put();
    ack(liar.connection, log.maxOffset + 1);
    assert.deepEqual(later, []);
    assert.equal(liar.asked.closed, 1);
    assert.equal(service.refusals.counts.get("ackBeyondSent"), 1);
  });

  it("the slowest decides what is kept", () => {
    const { service, slave, connect, log } = harness();
    assert.equal(service.retainOffset(), null);
    connect("10.0.0.1");
    slave("10.0.0.2");
    assert.equal(service.retainOffset(), log.maxOffset);
    slave("10.0.0.3", 400);
    assert.equal(service.retainOffset(), 400);
  });
});

describe("HAService: connections", () => {
  it("wakes every slave being served on growth, nobody else", () => {
    const { log, slave, connect } = harness();
    const idle = connect("10.0.0.1");
    const slaves = ["10.0.0.2", "10.0.0.3"].map((host) => slave(host));
    const before = slaves.map((each) => each.asked.woken);
    log.put(1);
    assert.deepEqual(slaves.map((each, index) => each.asked.woken - before[index]!), [1, 1]);
    assert.equal(idle.asked.woken, 0);
  });

  it("wakes a slave for its heartbeat and closes silent peers, by the tick alone", () => {
    const { service, slave, connect } = harness();
    const served = slave("10.0.0.2");
    const idle = connect("10.0.0.1", 100);
    const woken = served.asked.woken;
    assert.equal(service.nextDeadline(0), 5010);
    service.onTick(5009);
    assert.equal(served.asked.woken, woken);
    service.onTick(5010);
    assert.equal(served.asked.woken, woken + 1);
    service.onTick(20_000);
    assert.equal(served.asked.closed, 1);
    assert.equal(idle.asked.closed, 0);
    service.onTick(20_100);
    assert.equal(idle.asked.closed, 1);
    assert.deepEqual([...service.refusals.counts].filter(([, count]) => count > 0), [
      ["neverRequested", 1],
      ["housekeeping", 1],
    ]);
  });

  it("makes room by closing the oldest peer that never asked", () => {
    const { service, connect, slave } = harness({ options: { haConnectionsMax: 3 } });
    const served = slave("10.0.0.2");
    const idle = connect("10.0.0.3");
    connect("10.0.0.4");
    const newcomer = connect("10.0.0.5");
    assert.notEqual(newcomer.connection, null);
    assert.equal(idle.asked.closed, 1);
    assert.equal(served.asked.closed, 0);
    assert.equal(service.connectionCount, 3);
  });

  it("refuses one more when all are slaves", () => {
    const { service, connect, slave } = harness({ options: { haConnectionsMax: 2 } });
    slave("10.0.0.2");
    slave("10.0.0.3");
    assert.equal(connect("10.0.0.4").connection, null);
    assert.equal(service.connectionCount, 2);
    assert.equal(service.refusals.counts.get("tooManyConnections"), 1);
  });

  it("gives one address its share only, and makes room within it", () => {
    const { service, connect, slave } = harness({ options: { haConnectionsPerAddressMax: 2 } });
    const other = connect("10.0.0.9");
    slave("10.0.0.2");
    const idle = connect("::ffff:10.0.0.2");
    assert.notEqual(connect("10.0.0.2").connection, null);
    assert.deepEqual([idle.asked.closed, other.asked.closed], [1, 0]);
    slave("10.0.0.3");
    slave("10.0.0.3");
    assert.equal(connect("10.0.0.3").connection, null);
    assert.notEqual(connect("10.0.0.4").connection, null);
    assert.equal(service.refusals.counts.get("tooManyFromAddress"), 2);
  });

  it("drops every connection when the log turns out to have been cut", () => {
    const { service, log, slave } = harness();
    const { asked, connection } = slave("10.0.0.2");
    log.cutTo(136);
    log.put(5);
    assert.equal(asked.closed, 1);
    assert.equal(connection.closeReason, "logCut");
    assert.equal(service.connectionCount, 0);
    slave("10.0.0.2");
    log.put(5);
    assert.equal(service.connectionCount, 1);
  });

  it("tells when a peer reaches a state", () => {
    const { service, connect, ack } = harness();
    const results: boolean[] = [];
    const request = { expectState: HAConnectionState.TRANSFER, remoteAddr: "10.0.0.2", notifyWhenShutdown: false };
    service.notifications.setRequest(request, (reached) => results.push(reached), 0);
    const { connection } = connect("10.0.0.2", 5000);
    assert.equal(results.length, 0);
    ack(connection, 0, 9000);
    assert.equal(results[0], true);
    service.notifications.setRequest({ ...request, remoteAddr: "10.0.0.9" }, (reached) => results.push(reached), 9000);
    service.onTick(19_000);
    assert.deepEqual(results, [true, false]);
  });
});

describe("HAService: what it says", () => {
  const diffLines = (logger: MemoryLogger) => logger.lines.filter((line) => /^Replication lag/.test(line.message));

  it("one line per refusal and host, with the number left unsaid", () => {
    const { service, slave, logger, log } = harness();
    const refused = () => logger.lines.filter((line) => line.level === "warn");
    for (let now = 0; now < 50_000; now += 5000) service.close(slave("10.0.0.2", 9999, now).connection, "reset", now);
    assert.equal(refused().length, 1);
    assert.match(refused()[0]!.message, new RegExp(`asks from 9999, this log ends at ${log.maxOffset}`));
    slave("10.0.0.3", 9999, 50_000);
    assert.equal(refused().length, 2);
    slave("10.0.0.2", 9999, 60_000);
    assert.equal(refused()[2]!.fields["repeated"], 9);
    assert.equal(service.refusals.counts.get("slaveAhead"), 12);
  });

  it("each slave's lag and the fastest's, 10 s after start, every 60 s, and 10 s after a role change", () => {
    const { service, logger, slave, ack, log } = harness();
    const a = slave("10.0.0.2", 700);
    slave("10.0.0.3", 400);
    service.onTick(9999);
    assert.equal(diffLines(logger).length, 0);
    service.onTick(10_000);
    assert.deepEqual(
      diffLines(logger).map((line) => line.fields["diff"]),
      [700, 400].map((at) => log.maxOffset - at)
        .concat(log.maxOffset - 700),
    );
    ack(a.connection, log.maxOffset, 15_000);
    service.onTick(16_000);
    assert.equal(diffLines(logger).length, 3);
    service.onTick(70_000); // the silent slave has been closed meanwhile
    service.setRole("SLAVE", 71_000);
    const said = diffLines(logger).length;
    slave("10.0.0.4", 700, 75_000);
    service.onTick(81_000);
    assert.equal(diffLines(logger).length, said);
    service.setRole("ASYNC_MASTER", 82_000);
    assert.equal(service.nextDeadline(82_000)! <= 92_000, true);
    service.onTick(92_000);
    assert.equal(diffLines(logger).length, said + 2);
  });

  it("nothing of lag without a slave", () => {
    const { service, logger } = harness();
    service.onTick(10_000);
    assert.equal(diffLines(logger).length, 0);
    assert.equal(service.nextDeadline(10_000), 70_000);
  });

  it("Apache's runtime info, and more", () => {
    const { service, connect, slave, log } = harness();
    slave("127.0.0.1", 700);
    connect("fe80::1");
    const info = service.runtimeInfo(1000);
    assert.equal(info.master, true);
    assert.equal(info.masterCommitLogMaxOffset, log.maxOffset);
    assert.equal(info.inSyncSlaveNums, 1);
    assert.deepEqual(info.haClientRuntimeInfo, {
      transferredByteInSecond: 0,
      maxOffset: 0,
      lastReadTimestamp: 0,
      lastWriteTimestamp: 0,
      masterFlushOffset: 0,
    });
    assert.deepEqual(info.haConnectionInfo, [
      {
        addr: "127.0.0.1:4000",
        slaveAckOffset: 700,
        diff: log.maxOffset - 700,
        inSync: true,
        transferredByteInSecond: log.maxOffset - 700 + 12,
        transferFromWhere: log.maxOffset,
        state: "TRANSFER",
        slaveRequestOffset: 700,
        reason: null,
      },
      {
        addr: "[fe80::1]:4001",
        slaveAckOffset: -1,
        diff: log.maxOffset,
        inSync: false,
        transferredByteInSecond: 0,
        transferFromWhere: -1,
        state: "HANDSHAKE",
        slaveRequestOffset: -1,
        reason: null,
      },
    ]);
    service.setRole("SLAVE", 0);
    const slaveInfo = service.runtimeInfo(1000);
    assert.deepEqual([slaveInfo.master, slaveInfo.masterCommitLogMaxOffset, slaveInfo.inSyncSlaveNums], [false, 0, 0]);
  });
});
