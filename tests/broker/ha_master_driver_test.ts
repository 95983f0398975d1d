import assert from "node:assert/strict";
import { afterEach, before, describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import { HAMasterDriver } from "../../src/broker/ha_master_driver.ts";
import { HAConnectionState } from "../../src/ha/ha_connection_state.ts";
import { type BrokerRole, HAService } from "../../src/ha/ha_service.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { haOptions, MemoryLogger, type MutableHAServiceOptions } from "../support/ha_options.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";
import { RawSlave } from "../support/raw_slave.ts";

const FILE = 64 * 1024;

describe("HAMasterDriver", () => {
  let runtime: Runtime;
  const cleanups: (() => unknown)[] = [];
  before(async () => {
    runtime = await loadRuntime();
  });
  afterEach(async () => {
    for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  });

  /** A master on a free port of loopback. Its clock stands still unless told otherwise; sockets are real. */
  async function startMaster(setup: {
    role?: BrokerRole;
    options?: Partial<MutableHAServiceOptions>;
    log?: MemoryReplicaLog;
    realClock?: boolean;
  } = {}) {
    const clock = new ManualClock();
    const log = setup.log ?? new MemoryReplicaLog({ mappedFileSize: FILE });
    const logger = new MemoryLogger();
    const options = haOptions(setup.options);
    const service = new HAService({ log, options, role: setup.role ?? "ASYNC_MASTER", logger });
    const fatal: unknown[] = [];
    const driver = new HAMasterDriver({
      net: runtime.net,
      clock: setup.realClock ? runtime.clock : clock,
      log,
      service,
      logger,
      onFatal: (error) => fatal.push(error),
    });
    const address = await driver.start({ hostname: "127.0.0.1", port: 0 });
    cleanups.push(async () => {
      await driver.stop();
      assert.deepEqual(fatal, []);
    });
    const connect = async (request: number | null, reading = true) => {
      const slave = await RawSlave.connect(runtime.net, driver.address!, request, reading);
      cleanups.push(() => slave.close());
      return slave;
    };
    /** Moves the clock, letting what it wakes run in between. */
    const advance = async (ms: number) => {
      for (let left = ms; left > 0; left -= 1000) {
        clock.advance(Math.min(left, 1000));
        await new Promise<void>((resolve) => runtime.clock.setTimer(0, resolve));
      }
    };
    const following = (slave: RawSlave) =>
      service.connectionInfos(0).some((info) =>
        info.state === HAConnectionState.TRANSFER && info.addr === `127.0.0.1:${slave.socket.localAddress.port}`
      );
    return { log, logger, options, service, driver, address, connect, advance, following };
  }

  async function until(condition: () => boolean, what: string): Promise<void> {
    const deadline = runtime.clock.monotonic() + 20_000;
    while (!condition()) {
      assert.ok(runtime.clock.monotonic() < deadline, `Still waiting: ${what}`);
      await new Promise<void>((resolve) => runtime.clock.setTimer(1, resolve));
    }
  }

  it("copies the log to a new slave, file by file, and goes on live", async () => {
    const { log, service, connect } = await startMaster();
    log.fillTo(3 * FILE + 1000, 500);
    const slave = await connect(0);
    slave.autoAck = true;
    await until(() => service.push2SlaveMaxOffset === log.maxOffset, "whole log acked");
    assert.deepEqual(slave.bytes, log.slice());
    assert.deepEqual(slave.frames.map((frame) => frame.physicOffset), [0, FILE, 2 * FILE, 3 * FILE]);
    log.put(100);
    await until(() => service.push2SlaveMaxOffset === log.maxOffset, "one more record acked");
    assert.deepEqual(slave.bytes, log.slice());
    assert.equal(slave.frames.length, 5);
  });

  it("brings a single put to a waiting slave without the help of a timer", async () => {
    const { log, connect, service } = await startMaster();
    const slave = await connect(0);
    await until(() => service.connectionInfos(0)[0]?.state === HAConnectionState.TRANSFER, "request taken");
    await until(() => slave.frames.length === 1, "where it starts");
    assert.deepEqual(slave.frames, [{ physicOffset: 0, bodySize: 0 }]);
    for (let count = 1; count <= 20; count++) {
      log.put(10);
      await until(() => slave.end === log.maxOffset, "record received"); // the master's clock stands still
      assert.equal(slave.frames.length, 1 + count);
    }
  });

  it("serves min, a record's inside, the last record, max", async () => {
    const { log, connect } = await startMaster();
    log.fillTo(2 * FILE + 500, 100);
    log.startAt(FILE);
    const slaves = await Promise.all(
      [FILE, FILE + 5, log.lastRecordOffset, log.maxOffset].map((request) => connect(request)),
    );
    log.put(50);
    await until(() => slaves.every((slave) => slave.end === log.maxOffset), "all at the end");
    for (const slave of slaves) assert.deepEqual(slave.bytes, log.slice(slave.frames[0]!.physicOffset));
  });

  it("answers 0 from min", async () => {
    const { log, connect } = await startMaster();
    log.fillTo(2 * FILE + 500, 100);
    log.startAt(FILE);
    const slave = await connect(0);
    await until(() => slave.end === log.maxOffset, "at the end");
    assert.deepEqual(slave.bytes, log.slice());
    assert.equal(slave.frames[0]!.physicOffset, FILE);
  });

  it("heartbeats to a slave beyond max once and closes; to one below min forever", async () => {
    const { log, connect, advance, service } = await startMaster();
    log.fillTo(2 * FILE, 100);
    log.startAt(FILE);
    const ahead = await connect(log.maxOffset + 1);
    await until(() => ahead.frames.length === 1, "its one frame");
    assert.deepEqual(ahead.frames, [{ physicOffset: log.maxOffset, bodySize: 0 }]);
    const below = await connect(136);
    await until(() => service.connectionInfos(0).some((info) => info.slaveRequestOffset === 136), "request taken");
    await advance(5010);
    await until(() => ahead.ended && below.frames.length === 1, "close and heartbeat");
    await advance(5010);
    await until(() => below.frames.length === 2, "another heartbeat");
    assert.deepEqual(below.frames, [{ physicOffset: 136, bodySize: 0 }, { physicOffset: 136, bodySize: 0 }]);
    assert.deepEqual([service.refusals.counts.get("slaveAhead"), service.refusals.counts.get("belowMin")], [1, 1]);
  });

  it("heartbeats when idle and closes the silent, by its own timer", async () => {
    const { log, connect, advance, service } = await startMaster();
    log.put(10);
    const slave = await connect(log.maxOffset);
    const idle = await connect(null);
    await until(() => service.connectionInfos(0).length === 2 && service.retainOffset() !== null, "both there");
    await advance(5010);
    await until(() => slave.frames.length === 1, "heartbeat");
    assert.deepEqual(slave.frames, [{ physicOffset: log.maxOffset, bodySize: 0 }]);
    await advance(14_990);
    await until(() => slave.ended && idle.ended, "both closed");
    assert.equal(service.connectionCount, 0);
    assert.deepEqual([service.refusals.counts.get("housekeeping"), service.refusals.counts.get("neverRequested")], [
      1,
      1,
    ]);
  });

  it("takes a request that comes byte by byte, and reports glued together", async () => {
    const { log, connect, service } = await startMaster();
    log.fillTo(1000);
    const slave = await connect(null);
    for (const byte of [0, 0, 0, 0, 0, 0, 0, 136]) await slave.write(Uint8Array.of(byte));
    await until(() => slave.end === log.maxOffset, "served");
    await slave.write(Uint8Array.of(0, 0, 0, 0, 0, 0, 1, 16, 0, 0, 0, 0, 0, 0, 2));
    await slave.write(Uint8Array.of(0));
    await until(() => service.push2SlaveMaxOffset === 512, "last ack taken");
  });

  it("feeds a fast slave beside a stopped one and a thousand idle peers", async () => {
    const log = new MemoryReplicaLog({ mappedFileSize: 16 * 1024 * 1024 });
    log.fillTo(48 * 1024 * 1024, 200_000);
    const { service, connect } = await startMaster({ log, realClock: true });
    const idle = await Promise.all(Array.from({ length: 1000 }, () => connect(null, false)));
    const stopped = await connect(0, false);
    await until(() => service.connectionCount === 1001, "all accepted");
    const fast = await connect(0, false);
    let received = 0;
    // Its own reader: the frames of a log this big are compared elsewhere.
    for (let bytes = await fast.socket.read(); bytes !== null; bytes = await fast.socket.read()) {
      received += bytes.length;
      if (received >= log.maxOffset) break;
    }
    const stuck = service.connectionInfos(0).find((info) =>
      info.addr.endsWith(`:${stopped.socket.localAddress.port}`)
    )!;
    assert.equal(stuck.state, HAConnectionState.TRANSFER);
    assert.ok(stuck.transferFromWhere < log.maxOffset, "a stopped reader holds only its own connection up");
    for (const peer of [...idle, stopped]) peer.close();
    await until(() => service.connectionCount <= 1, "all gone");
  });

  it("lets others run after each MiB of a backlog, until the slave is heard or a millisecond is over", async () => {
    const log = new MemoryReplicaLog();
    log.fillTo(4.5 * 1024 * 1024, 1000);
    const { connect, advance } = await startMaster({ log });
    const silent = await connect(0);
    for (let count = 1; count <= 4; count++) {
      await until(() => silent.end >= count * 1024 * 1024, `${count} MiB`);
      await advance(0);
      assert.equal(silent.end, count * 1024 * 1024, "the clock stands still, the slave says nothing");
      if (count < 4) await advance(1);
    }
    await silent.report(1024 * 1024);
    await until(() => silent.end === log.maxOffset, "it was heard");
  });

  it("goes on beside garbage, early closes and lies", async () => {
    const { log, connect, service, following } = await startMaster();
    log.fillTo(1000);
    const good = await connect(0);
    good.autoAck = true;
    for (let round = 0; round < 20; round++) {
      const garbage = await connect(null);
      await garbage.write(runtime.random.bytes(1 + round * 37));
      const early = await connect(round % 2 === 0 ? null : 0, false);
      early.close();
      const liar = await connect(log.maxOffset);
      await until(() => following(liar), "liar follows");
      await liar.report(log.maxOffset + 1_000_000);
      await until(() => liar.ended, "liar closed");
      log.put(20);
      garbage.close();
    }
    await until(() => service.push2SlaveMaxOffset === log.maxOffset, "good slave at the end");
    await until(() => service.connectionCount === 1, "only the good one left");
    assert.deepEqual(good.bytes, log.slice());
    assert.equal(service.refusals.counts.get("ackBeyondSent"), 20);
  });

  it("reads cold ranges off the loop, and leaves them when the connection ends meanwhile", async () => {
    const { log, connect, service, driver } = await startMaster();
    log.fillTo(2 * FILE);
    log.coldBelow = FILE;
    const slave = await connect(0);
    await until(() => log.pendingReads.length === 1, "cold read asked");
    log.pendingReads.shift()!();
    await until(() => slave.end === log.maxOffset, "served");
    const leaving = await connect(136);
    await until(() => log.pendingReads.length === 1, "cold read asked again");
    leaving.close();
    await until(() => service.connectionCount === 1, "it has left");
    const dropped = await connect(0);
    await until(() => log.pendingReads.length === 2, "and a third time");
    driver.dropConnections("logCut");
    for (const release of log.pendingReads.splice(0)) release();
    await until(() => dropped.ended && slave.ended, "dropped");
    assert.equal(dropped.frames.length, 0);
  });

  it("closes the one connection whose range can't be read", async () => {
    const { log, connect, service } = await startMaster();
    log.fillTo(1000);
    log.readError = new IoError("other", "Read failed", "EIO");
    const unlucky = await connect(0);
    await until(() => unlucky.ended, "closed");
    const next = await connect(0);
    await until(() => next.end === log.maxOffset, "served");
    assert.equal(service.refusals.counts.get("readFailed"), 1);
  });

  it("suspends a slave whose range is gone when it is read", async () => {
    const { log, connect, service } = await startMaster();
    log.fillTo(2 * FILE);
    log.coldBelow = FILE;
    await connect(0);
    await until(() => log.pendingReads.length === 1, "cold read asked");
    log.startAt(FILE);
    log.pendingReads.shift()!();
    await until(() => service.refusals.counts.get("belowMin") === 1, "said");
    assert.equal(service.connectionInfos(0)[0]!.state, HAConnectionState.SUSPEND);
  });

  it("keeps to the limit of flow control", async () => {
    const { log, connect, advance } = await startMaster({
      options: { haFlowControlEnable: true, maxHaTransferByteInSecond: 10_012 },
    });
    log.fillTo(25_000);
    const slave = await connect(0);
    await until(() => slave.end === 10_000, "first second");
    await advance(1000);
    await until(() => slave.end === 20_000, "second second");
    await advance(1000);
    await until(() => slave.end === log.maxOffset, "the rest");
  });

  it("answers a SYNC_MASTER's puts: no slave, acked, late", async () => {
    const { log, connect, advance, driver, service } = await startMaster({ role: "SYNC_MASTER" });
    const put = () => {
      log.put(30);
      return driver.handleHA(log.maxOffset, true);
    };
    assert.equal(put(), "SLAVE_NOT_AVAILABLE");
    const slave = await connect(0);
    slave.autoAck = true;
    await until(() => service.push2SlaveMaxOffset === log.maxOffset, "caught up");
    assert.equal(await put(), "PUT_OK");
    slave.autoAck = false;
    const late = put();
    await until(() => slave.end === log.maxOffset, "received");
    await advance(2999);
    assert.equal(service.waitingPuts, 1);
    await advance(1);
    assert.equal(await late, "FLUSH_SLAVE_TIMEOUT");
  });

  it("tells when a peer follows", async () => {
    const { connect, driver, advance } = await startMaster();
    const request = { expectState: HAConnectionState.TRANSFER, remoteAddr: "127.0.0.1", notifyWhenShutdown: false };
    const reached = driver.waitForState(request);
    await connect(0);
    assert.equal(await reached, true);
    const nobody = driver.waitForState({ ...request, remoteAddr: "10.9.9.9" });
    await advance(10_000);
    assert.equal(await nobody, false);
  });

  it("stops and starts again, on the same port too", async () => {
    const { log, connect, driver, service, address } = await startMaster({ role: "SYNC_MASTER" });
    log.put(10);
    const first = await connect(0);
    await until(() => first.end === log.maxOffset, "served");
    const waiting = driver.handleHA(log.maxOffset, true);
    await driver.stop();
    await driver.stop();
    assert.equal(await waiting, "FLUSH_SLAVE_TIMEOUT");
    assert.equal(service.connectionCount, 0);
    assert.equal(driver.address, null);
    await until(() => first.ended, "closed");
    log.put(10);
    assert.deepEqual(await driver.start({ hostname: "127.0.0.1", port: address.port }), address);
    const second = await connect(0);
    await until(() => second.end === log.maxOffset, "served again");
  });

  it("says when its port is taken, and can be started elsewhere then", async () => {
    const { address } = await startMaster();
    const other = await startMaster();
    await other.driver.stop();
    await assert.rejects(
      other.driver.start({ hostname: "127.0.0.1", port: address.port }),
      (error) => error instanceof IoError && error.kind === "inUse",
    );
    await other.driver.start({ hostname: "127.0.0.1", port: 0 });
  });
});
