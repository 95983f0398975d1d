import assert from "node:assert/strict";
import { afterEach, beforeEach, describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import { type Logger, SILENT_LOGGER } from "../../src/base/logger.ts";
import { HAClientDriver, type HAClientDriverOptions, type HAClientStatus } from "../../src/broker/ha_client_driver.ts";
import { HAMasterDriver } from "../../src/broker/ha_master_driver.ts";
import { HAService } from "../../src/ha/ha_service.ts";
import type { MasterRange } from "../../src/ha/start_offset.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Connection, Net } from "../../src/runtime/runtime.ts";
import { fastClock } from "../support/fast_clock.ts";
import { haOptions } from "../support/ha_options.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";
import { makeFrame, ScriptedMaster, type ScriptedSlave } from "../support/scripted_master.ts";

const F = 64 * 1024;
const SPEED = 20;
const runtime = await loadRuntime();
const clock = fastClock(runtime.clock, SPEED);

let master: ScriptedMaster;
let masterLog: MemoryReplicaLog;
let log: MemoryReplicaLog;
let driver: HAClientDriver;
let range: MasterRange | null;
let askMaster: () => Promise<MasterRange | null>;
let lines: string[];
let fatal: unknown;

const logger: Logger = {
  debug: (message) => lines.push(`debug ${message}`),
  info: (message) => lines.push(`info ${message}`),
  warn: (message) => lines.push(`warn ${message}`),
  error: (message) => lines.push(`error ${message}`),
};

const noTls: Pick<Net, "tlsServer"> = { tlsServer: (options) => runtime.net.tlsServer(options) };

function makeDriver(
  options: Partial<HAClientDriverOptions> = {},
  net: Net = runtime.net,
  isOwnEnd: (connection: Connection) => boolean = () => false,
): HAClientDriver {
  return new HAClientDriver({
    isOwnEnd,
    net,
    clock,
    random: runtime.random,
    logger,
    log,
    askMaster: () => askMaster(),
    onFatal: (error) => fatal = error,
  }, {
    haSendHeartbeatInterval: 5000,
    haHousekeepingInterval: 20000,
    haAckAfterFlush: false,
    haStartOffset: null,
    resync: false,
    haBusyPollMicros: 0,
    ...options,
  });
}

/** Starts the driver at the scripted master. */
function start(options: Partial<HAClientDriverOptions> = {}): void {
  driver = makeDriver(options);
  driver.updateMasterAddress(master.address);
  driver.start();
}

/** Resolves at the first state that fits; the runner's time-out is the deadline. */
function awaitStatus(fits: (status: HAClientStatus) => boolean): Promise<HAClientStatus> {
  const { promise, resolve } = Promise.withResolvers<HAClientStatus>();
  const look = (status: HAClientStatus) => {
    if (fits(status)) resolve(status);
  };
  const unsubscribe = driver.onStateChange(look);
  look(driver.status);
  return promise.finally(unsubscribe);
}

function awaitState(state: HAClientStatus["state"]): Promise<HAClientStatus> {
  return awaitStatus((status) => status.state === state);
}

/** Accepts the slave and reads its request. */
async function acceptRequest(expected: number): Promise<ScriptedSlave> {
  const slave = await master.accept();
  assert.equal(await slave.nextReport(), expected);
  return slave;
}

/** Answers as an Apache master with `masterLog` does: data from the request on, else two heartbeats. */
async function serveHonestly(slave: ScriptedSlave, request: number): Promise<void> {
  const from = request === 0 ? masterLog.maxOffset - masterLog.maxOffset % F : request;
  if (from < masterLog.maxOffset) await slave.serve(masterLog, from);
  const next = Math.max(from, masterLog.maxOffset);
  await slave.send(makeFrame(next), makeFrame(next)).catch(() => {});
}

/** Lets the slave hold the first bytes of the master's log, up to a record's end at or after `size`. */
function seed(size: number): void {
  const taken = new MemoryReplicaLog({ mappedFileSize: F });
  taken.fillTo(size);
  log.appendReplica(0, taken.slice());
}

beforeEach(async () => {
  master = await ScriptedMaster.listen(runtime.net);
  masterLog = new MemoryReplicaLog({ mappedFileSize: F });
  masterLog.fillTo(3 * F + 5000);
  log = new MemoryReplicaLog({ mappedFileSize: F });
  range = null;
  askMaster = () => Promise.resolve(range);
  lines = [];
  fatal = null;
});

afterEach(async () => {
  await driver?.stop();
  master.close();
  assert.equal(fatal, null);
});

describe("HAClientDriver, following", () => {
  it("copies the whole history from a master that answers 0 with its last file", async () => {
    range = { minOffset: 0, maxOffset: masterLog.maxOffset };
    start();
    const slave = await acceptRequest(1);
    await slave.serve(masterLog, 1);
    await slave.awaitReport(masterLog.maxOffset);
    assert.deepEqual(log.slice(), masterLog.slice());
    assert.equal(driver.status.state, "following");
    assert.equal(driver.status.verified, true);
    assert.equal(driver.status.lagBytes, 0);
    assert.ok(driver.status.lastReadTimestamp > 0 && driver.status.lastWriteTimestamp > 0);
    assert.ok(slave.reports.every((report, index) => index === 0 || report >= slave.reports[index - 1]!));
  });

  it("takes frames whole, byte by byte and split anywhere", async () => {
    seed(1000);
    const request = log.lastRecordOffset;
    start();
    const slave = await acceptRequest(request);
    await slave.send(makeFrame(request));
    const one = makeFrame(request, masterLog.slice(request, 2000));
    for (const byte of one.subarray(0, 300)) await slave.send(new Uint8Array([byte]));
    await slave.send(one.subarray(300, 500));
    await slave.send(one.subarray(500), makeFrame(2000, masterLog.slice(2000, 3000)), makeFrame(3000).subarray(0, 5));
    await slave.send(makeFrame(3000).subarray(5), makeFrame(3000, masterLog.slice(3000, F)));
    await slave.serve(masterLog, F);
    await slave.awaitReport(masterLog.maxOffset);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("takes a frame as large as a file can give", async () => {
    log = new MemoryReplicaLog({ mappedFileSize: 8 * 1024 * 1024 });
    masterLog = new MemoryReplicaLog({ mappedFileSize: 8 * 1024 * 1024 });
    masterLog.fillTo(4 * 1024 * 1024, 100_000);
    range = { minOffset: 0, maxOffset: masterLog.maxOffset };
    start();
    const slave = await acceptRequest(0);
    await slave.serve(masterLog, 0, masterLog.maxOffset, 4 * 1024 * 1024 - 12);
    await slave.awaitReport(masterLog.maxOffset);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("reports once for all frames of a read", async () => {
    range = { minOffset: 0, maxOffset: 0 };
    start();
    const slave = await acceptRequest(0);
    const frames: Uint8Array[] = [];
    for (let at = 0; at < 136 * 100; at += 136) frames.push(makeFrame(at, masterLog.slice(at, at + 136)));
    await slave.send(...frames);
    await slave.awaitReport(136 * 100);
    assert.ok(driver.status.counters.reports < 50, `${driver.status.counters.reports} reports`);
    assert.equal(driver.status.counters.frames, 100);
  });

  it("keeps an idle connection alive with heartbeats of its own", async () => {
    range = { minOffset: 0, maxOffset: 0 };
    start();
    const slave = await acceptRequest(0);
    await slave.send(makeFrame(0));
    assert.equal(await slave.nextReport(), 0);
    await slave.send(makeFrame(0));
    assert.equal(await slave.nextReport(), 0);
    assert.equal(log.maxOffset, 0);
    assert.equal(driver.status.state, "following");
  });

  it("drops a half record with its connection and asks for the last whole one again", async () => {
    seed(1000);
    start();
    const request = log.lastRecordOffset;
    const first = await acceptRequest(request);
    const max = log.maxOffset;
    await first.send(makeFrame(request, masterLog.slice(request, max + 50)));
    await first.awaitReport(max);
    first.connection.close();
    const second = await acceptRequest(request);
    await second.serve(masterLog, request);
    await second.awaitReport(masterLog.maxOffset);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("compares bytes that have to come from the disk", async () => {
    seed(1000);
    log.coldBelow = Number.MAX_SAFE_INTEGER;
    start();
    const request = log.lastRecordOffset;
    const slave = await acceptRequest(request);
    await slave.serve(masterLog, request);
    while (log.pendingReads.length === 0) await slave.nextReport();
    assert.equal(driver.status.state === "following", false);
    while (driver.status.state !== "following") {
      log.pendingReads.shift()?.();
      await new Promise<void>((resolve) => runtime.clock.setTimer(1, resolve));
    }
    await slave.awaitReport(masterLog.maxOffset);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("acknowledges what is on the disk under haAckAfterFlush", async () => {
    seed(1000);
    const request = log.lastRecordOffset;
    log.autoFlush = false;
    start({ haAckAfterFlush: true });
    const slave = await acceptRequest(request);
    const max = log.maxOffset;
    await slave.serve(masterLog, request);
    await slave.awaitReport(max);
    assert.equal(await slave.nextReport(), max, "a heartbeat repeats it");
    while (log.maxOffset < masterLog.maxOffset) assert.equal(await slave.nextReport(), max);
    log.flush();
    await slave.awaitReport(masterLog.maxOffset);
  });
});

describe("HAClientDriver, connections", () => {
  it("tries again when refused, and says so once", async () => {
    const address = master.address;
    master.close();
    const fourth = Promise.withResolvers<void>();
    let attempts = 0;
    driver = makeDriver({}, {
      ...noTls,
      listen: (options) => runtime.net.listen(options),
      connect: (options) => {
        if (++attempts === 4) fourth.resolve();
        return runtime.net.connect(options);
      },
    });
    driver.updateMasterAddress(address);
    driver.start();
    await fourth.promise;
    assert.ok(driver.status.counters.connectFailures >= 3);
    assert.ok(lines.filter((line) => line.startsWith("warn")).length <= 2, lines.join("\n"));
    master = await ScriptedMaster.listen(runtime.net, Number(address.split(":")[1]));
    await acceptRequest(0);
  });

  it("asks whether that is the HA port where another one answers, and says nothing twice", async () => {
    const hint = /is this the master's HA port \(listenPort \+ 1\)\?/;
    const count = (pattern: RegExp) => lines.filter((line) => pattern.test(line)).length;
    // A remoting port closes on what is no command.
    start();
    for (let i = 0; i < 4; i++) (await acceptRequest(0)).connection.close();
    await awaitStatus(({ counters }) => counters.disconnects >= 4);
    assert.match(lines.find((line) => line.startsWith("warn"))!, /closed the connection without a word/);
    assert.match(lines.find((line) => line.startsWith("warn"))!, hint);
    assert.deepEqual([count(/^warn/), count(/Connected to/), count(/This log is empty/)], [1, 1, 1]);
    // An admin port answers, in its own words.
    for (let i = 0; i < 2; i++) {
      const slave = await acceptRequest(0);
      await slave.send(new TextEncoder().encode("HTTP/1.1 400 Bad Request\r\n"));
      await slave.awaitClose();
    }
    await awaitStatus(({ counters }) => counters.disconnects >= 6);
    assert.deepEqual([count(/^warn/), count(/Connected to/), count(/This log is empty/)], [2, 1, 1]);
    assert.match(lines.findLast((line) => line.startsWith("warn"))!, hint);
    // After a connection that was of use the lines are news again, and the port is not in question.
    const slave = await acceptRequest(0);
    await slave.send(makeFrame(0));
    await awaitState("following");
    slave.connection.close();
    await acceptRequest(0);
    assert.deepEqual([count(/^warn/), count(/Connected to/)], [3, 2]);
    assert.doesNotMatch(lines.findLast((line) => line.startsWith("warn"))!, hint);
  });

  it("never follows its own node, under whatever address it is given", async () => {
    const own = new HAMasterDriver({
      net: runtime.net,
      clock,
      log,
      service: new HAService({ log, options: haOptions(), role: "SLAVE", logger: SILENT_LOGGER }),
      logger: SILENT_LOGGER,
      onFatal: (error) => fatal = error,
    });
    const { port } = await own.start({ hostname: "0.0.0.0", port: 0 });
    try {
      seed(1000);
      driver = makeDriver({}, runtime.net, (connection) => own.isOtherEnd(connection));
      const states = new Set<string>();
      driver.onStateChange(({ state }) => states.add(state));
      driver.updateMasterAddress(`127.0.0.1:${port}`);
      driver.start();
      const { lastReadTimestamp } = await awaitStatus(({ counters }) => counters.disconnects >= 2);
      assert.ok(!states.has("following"), [...states].join());
      assert.equal(lastReadTimestamp, 0, "no master was heard");
      assert.deepEqual(lines.filter((line) => line.startsWith("warn")), [
        `warn Not following master 127.0.0.1:${port}: this is this node's own HA port, wanted another node's; trying again`,
      ]);
      // Another node's connections are another matter.
      driver.updateMasterAddress(master.address);
      await (await acceptRequest(log.lastRecordOffset)).serve(masterLog, log.lastRecordOffset);
      await awaitState("following");
    } finally {
      await driver.stop();
      await own.stop();
    }
  });

  it("leaves a silent master after haHousekeepingInterval", async () => {
    seed(1000);
    start();
    const slave = await acceptRequest(log.lastRecordOffset);
    await awaitState("unverified");
    await slave.awaitClose();
    await acceptRequest(log.lastRecordOffset);
    assert.match(lines.join("\n"), /nothing read from the master/);
  });

  it("closes on a header that is none, counts it, stores nothing and tries again", async () => {
    seed(1000);
    const before = log.slice();
    start();
    const request = log.lastRecordOffset;
    const slave = await acceptRequest(request);
    const frame = makeFrame(request, new Uint8Array(10));
    frame[8] = 0xff;
    await slave.send(frame);
    await slave.awaitClose();
    await acceptRequest(request);
    assert.equal(driver.status.counters.protocolErrors, 1);
    assert.deepEqual(log.slice(), before);
  });

  it("moves a live connection at once when the address changes, and stops for null", async () => {
    range = { minOffset: 0, maxOffset: 0 };
    start();
    const slave = await acceptRequest(0);
    const other = await ScriptedMaster.listen(runtime.net);
    try {
      driver.updateMasterAddress(other.address);
      await slave.awaitClose();
      const moved = await other.accept();
      assert.equal(await moved.nextReport(), 0);
      driver.updateMasterAddress(null);
      await moved.awaitClose();
      const status = await awaitState("idle");
      assert.equal(status.masterAddress, null);
      assert.equal(status.connectionState, "READY");
      driver.updateMasterAddress(master.address);
      await acceptRequest(0);
    } finally {
      other.close();
    }
  });

  it("follows another master whatever was just found out about the one before, whenever the order comes", async () => {
    seed(5000);
    for (let turns = 0; turns < 24; turns++) {
      const other = await ScriptedMaster.listen(runtime.net);
      master.close();
      master = await ScriptedMaster.listen(runtime.net);
      try {
        driver = makeDriver({ resync: turns % 2 === 1 });
        driver.updateMasterAddress(master.address);
        driver.start();
        const first = await acceptRequest(log.lastRecordOffset);
        // The next attempt asks first, as this one ends before the comparison, and learns of a shorter master.
        askMaster = () => {
          askMaster = () => Promise.resolve(null);
          void (async () => {
            for (let i = 0; i < turns; i++) await Promise.resolve();
            driver.updateMasterAddress(other.address);
          })();
          return Promise.resolve({ minOffset: 0, maxOffset: 136 });
        };
        first.connection.close();
        const second = await other.accept();
        assert.equal(await second.nextReport(), log.lastRecordOffset, `after ${turns} turns`);
        assert.notEqual(driver.status.state, "diverged");
        await driver.stop();
      } finally {
        askMaster = () => Promise.resolve(null);
        other.close();
      }
    }
    assert.deepEqual(log.setAside, [], "nothing is cut for a master that is no longer followed");
  });

  it("survives a storm of addresses, and ends at the last one", async () => {
    range = { minOffset: 0, maxOffset: 0 };
    const other = await ScriptedMaster.listen(runtime.net);
    try {
      start();
      for (let i = 0; i < 300; i++) {
        driver.updateMasterAddress([master.address, other.address, null, "nonsense"][i % 4]!);
        if (i % 7 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      driver.updateMasterAddress(master.address);
      let slave = await master.accept();
      // Those before the last order were given up; the last one stays.
      while (await slave.nextReport() === null || driver.status.connectionState !== "HANDSHAKE") {
        slave = await master.accept();
      }
      assert.equal(driver.status.masterAddress, master.address);
    } finally {
      other.close();
    }
  });

  it("stops, appends nothing afterwards, and starts again", async () => {
    range = { minOffset: 0, maxOffset: 0 };
    start();
    const slave = await acceptRequest(0);
    await slave.serve(masterLog, 0, F);
    await slave.awaitReport(F);
    void slave.serve(masterLog, F).catch(() => {});
    await driver.stop();
    const max = log.maxOffset;
    assert.equal(log.replicaWriteOffset, max);
    assert.equal(driver.status.connectionState, "SHUTDOWN");
    await slave.awaitClose();
    assert.equal(log.maxOffset, max);
    driver.start();
    const again = await acceptRequest(log.lastRecordOffset);
    await again.serve(masterLog, log.lastRecordOffset);
    await again.awaitReport(masterLog.maxOffset);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("starts again while it still stops", async () => {
    range = { minOffset: 0, maxOffset: 0 };
    start();
    await acceptRequest(0);
    const stopping = driver.stop();
    driver.start();
    await stopping;
    await acceptRequest(0);
    assert.notEqual(driver.status.connectionState, "SHUTDOWN");
  });

  it("stops while the master can't be asked or reached", async () => {
    askMaster = () => new Promise(() => {});
    const connect = () => new Promise<never>(() => {});
    driver = makeDriver({}, { ...noTls, listen: (options) => runtime.net.listen(options), connect });
    driver.updateMasterAddress("127.0.0.1:1");
    driver.start();
    await driver.stop();
    seed(1000);
    driver.start();
    await driver.stop();
    assert.equal(driver.status.connectionState, "SHUTDOWN");
  });

  it("says what is wrong with an address", async () => {
    driver = makeDriver();
    driver.updateMasterAddress("nowhere");
    driver.start();
    const status = await awaitStatus((found) => found.reason.includes("nowhere"));
    assert.match(status.reason, /wanted HOST:PORT/);
  });

  it("tells when a connection state is reached, or will not be", async () => {
    range = { minOffset: 0, maxOffset: 0 };
    start();
    const transfer = driver.waitConnectionState("TRANSFER", 60_000);
    const slave = await acceptRequest(0);
    await slave.send(makeFrame(0));
    assert.equal(await transfer, true);
    assert.equal(await driver.waitConnectionState("SUSPEND", 100), false);
    driver.updateMasterAddress(null);
    await awaitState("idle");
    assert.equal(await driver.waitConnectionState("TRANSFER", 600_000), false);
  });

  it("goes on after the disk was full, without losing a byte", async () => {
    seed(1000);
    start();
    const request = log.lastRecordOffset;
    const max = log.maxOffset;
    const full = await acceptRequest(request);
    log.appendError = new IoError("noSpace", "No space left on device", "ENOSPC");
    await full.serve(masterLog, request).catch(() => {});
    await full.awaitClose();
    assert.ok(full.reports.every((report) => report <= max), "nothing unwritten was acknowledged");
    assert.match(lines.join("\n"), /can't be written at \d+ \(noSpace\)/);
    const again = await acceptRequest(request);
    await again.serve(masterLog, request);
    await again.awaitReport(masterLog.maxOffset);
    assert.equal(driver.status.counters.appendErrors, 1);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("hands a bug of ours to its owner", async () => {
    seed(1000);
    start();
    const slave = await acceptRequest(log.lastRecordOffset);
    log.appendError = new TypeError("boom");
    await slave.serve(masterLog, log.lastRecordOffset).catch(() => {});
    await slave.awaitClose();
    await driver.stop();
    assert.match(String(fatal), /boom/);
    fatal = null;
  });
});

describe("HAClientDriver, an empty slave", () => {
  it("learns again when the master rolled its first file meanwhile", async () => {
    range = { minOffset: 0, maxOffset: F - 100 };
    start();
    const first = await acceptRequest(0);
    range = { minOffset: 0, maxOffset: masterLog.maxOffset };
    await first.serve(masterLog, 3 * F).catch(() => {});
    await first.awaitClose();
    const second = await acceptRequest(1);
    await second.serve(masterLog, 1);
    await second.awaitReport(masterLog.maxOffset);
    assert.equal(log.minOffset, 0);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("learns again when its start expired meanwhile", async () => {
    range = { minOffset: F, maxOffset: masterLog.maxOffset };
    start();
    const first = await acceptRequest(F);
    await first.send(makeFrame(F));
    range = { minOffset: 2 * F, maxOffset: masterLog.maxOffset };
    await first.awaitClose();
    const second = await acceptRequest(2 * F);
    await second.serve(masterLog, 2 * F);
    await second.awaitReport(masterLog.maxOffset);
    assert.equal(log.minOffset, 2 * F);
  });

  it("follows Apache's rule when the start can't be learned, and says so", async () => {
    start();
    const slave = await acceptRequest(0);
    await serveHonestly(slave, 0);
    await slave.awaitReport(masterLog.maxOffset);
    assert.equal(log.minOffset, 3 * F);
    assert.match(lines.join("\n"), /can't be learned; following Apache's rule/);
  });

  it("begins at haStartOffset", async () => {
    start({ haStartOffset: 2 * F });
    const slave = await acceptRequest(2 * F);
    await slave.serve(masterLog, 2 * F);
    await slave.awaitReport(masterLog.maxOffset);
    assert.equal(log.minOffset, 2 * F);
  });
});

describe("HAClientDriver, divergence", () => {
  it("stops at different content, keeps its bytes, and tries again only when told to", async () => {
    seed(1000);
    const before = log.slice();
    const request = log.lastRecordOffset;
    masterLog.flip(request + 60);
    start();
    const slave = await acceptRequest(request);
    await serveHonestly(slave, request);
    const status = await awaitState("diverged");
    await slave.awaitClose();
    assert.equal(status.connectionState, "SUSPEND");
    assert.equal(status.verified, false);
    assert.match(status.reason, new RegExp(`our byte at ${request + 60} differs`));
    assert.ok(slave.reports.every((report) => report === request), "no ack beyond the request");
    assert.deepEqual(log.slice(), before);
    assert.equal(lines.filter((line) => line.startsWith("error")).length, 1);

    masterLog.flip(request + 60);
    driver.updateMasterAddress(master.address);
    const again = await acceptRequest(request);
    await again.serve(masterLog, request);
    await again.awaitReport(masterLog.maxOffset);
    assert.equal(driver.status.counters.connects, 2);
  });

  it("stops at a record it must not store", async () => {
    seed(1000);
    start();
    const request = log.lastRecordOffset;
    masterLog.flip(5000);
    const slave = await acceptRequest(request);
    await slave.serve(masterLog, request).catch(() => {});
    const status = await awaitState("diverged");
    assert.match(status.reason, /refused \(bad/);
    assert.ok(log.maxOffset <= 5000);
    assert.deepEqual(log.slice(), masterLog.slice(0, log.maxOffset));
  });

  it("stops when the master is shorter", async () => {
    seed(F + 2000);
    masterLog.cutTo(F + 136 * 3);
    const request = log.lastRecordOffset;
    start();
    const slave = await acceptRequest(request);
    range = { minOffset: 0, maxOffset: masterLog.maxOffset };
    await slave.send(makeFrame(request), makeFrame(request));
    const status = await awaitState("diverged");
    assert.match(status.reason, new RegExp(`ends at ${masterLog.maxOffset}, before ours at ${log.maxOffset}`));
    assert.match(
      status.remedy ?? "",
      /^promote this node, .* what the master does not have by role slave --resync or a restart with --resync$/,
    );
    await driver.stop();
    assert.equal(driver.status.remedy, null);
  });

  it("stops at a hole", async () => {
    seed(1000);
    start();
    const request = log.lastRecordOffset;
    const slave = await acceptRequest(request);
    range = { minOffset: F, maxOffset: masterLog.maxOffset };
    await slave.send(makeFrame(request));
    const status = await awaitState("hole");
    assert.equal(status.connectionState, "SUSPEND");
    assert.match(status.reason, new RegExp(`begins at ${F}`));
    assert.match(
      status.remedy ?? "",
      /^give it another master, .* start over by role slave --resync or a restart with --resync$/,
    );
    await slave.awaitClose();
  });

  it("stays unverified when the master sends heartbeats only and can't be asked", async () => {
    seed(1000);
    start();
    const request = log.lastRecordOffset;
    const slave = await acceptRequest(request);
    await slave.send(makeFrame(request), makeFrame(request));
    const status = await awaitState("unverified");
    assert.match(status.reason, /may end before it or begin after it/);
    assert.equal(status.connectionState, "HANDSHAKE");
  });
});

describe("HAClientDriver, --resync", () => {
  /** Serves the slave's connections as an Apache master does until it follows. */
  async function serveUntilFollowing(): Promise<number[]> {
    const requests: number[] = [];
    while (true) {
      const slave = await master.accept();
      const request = await slave.nextReport();
      if (request === null) continue;
      requests.push(request);
      await serveHonestly(slave, request).catch(() => {});
      if (await slave.awaitReport(masterLog.maxOffset).then(() => true, () => false)) return requests;
    }
  }

  /** Makes the slave's log part from the master's at record `index` of `file`, and go on on its own. */
  function part(end: number, ownSize: number): void {
    const own = new MemoryReplicaLog({ mappedFileSize: F });
    own.fillTo(end);
    const commonEnd = own.maxOffset;
    while (own.maxOffset < commonEnd + ownSize) own.put(new Uint8Array(77).fill(0xee));
    log.appendReplica(0, own.slice());
  }

  beforeEach(() => {
    range = { minOffset: 0, maxOffset: masterLog.maxOffset };
  });

  it("sets aside a tail that differs within its last file", async () => {
    part(2 * F + 3000, 2000);
    const end = 2 * F + Math.ceil(3000 / 136) * 136;
    const max = log.maxOffset;
    start({ resync: true });
    const requests = await serveUntilFollowing();
    assert.deepEqual(log.setAside, [`tail ${end}-${max}`]);
    assert.deepEqual(log.slice(), masterLog.slice());
    assert.equal(requests[1], 2 * F, "the second connection compares from the file's start");
    assert.equal(driver.status.counters.resyncs, 1);
  });

  it("walks back over files that differ from their first record on", async () => {
    part(5000, 2 * F);
    const end = Math.ceil(5000 / 136) * 136;
    start({ resync: true });
    const requests = await serveUntilFollowing();
    assert.equal(log.setAside.length, 1);
    assert.match(log.setAside[0]!, new RegExp(`^tail ${end}-`));
    assert.ok(requests.includes(1), "the first file is compared from byte 1");
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("sets the whole log aside when nothing is shared", async () => {
    part(0, F + 1000);
    const max = log.maxOffset;
    start({ resync: true });
    await serveUntilFollowing();
    assert.deepEqual(log.setAside, [`log 0-${max}`]);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("cuts to a master that came back shorter", async () => {
    seed(2 * F + 4000);
    const max = log.maxOffset;
    masterLog.cutTo(2 * F + 136 * 5);
    range = { minOffset: 0, maxOffset: masterLog.maxOffset };
    start({ resync: true });
    await serveUntilFollowing();
    assert.deepEqual(log.setAside, [`tail ${masterLog.maxOffset}-${max}`]);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("starts over at the master's min after a hole", async () => {
    seed(1000);
    masterLog.startAt(2 * F);
    range = { minOffset: 2 * F, maxOffset: masterLog.maxOffset };
    start({ resync: true });
    const slave = await acceptRequest(log.lastRecordOffset);
    await slave.send(makeFrame(log.lastRecordOffset));
    const requests = await serveUntilFollowing();
    assert.deepEqual(requests, [2 * F]);
    assert.equal(log.setAside.length, 1);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("mends once when asked for it, after having stopped", async () => {
    part(2 * F + 3000, 2000);
    const request = log.lastRecordOffset;
    start();
    await serveHonestly(await acceptRequest(request), request).catch(() => {});
    await awaitState("diverged");
    assert.deepEqual(log.setAside, []);
    assert.equal(driver.resync(), true);
    await serveUntilFollowing();
    assert.equal(driver.status.remedy, null);
    assert.equal(driver.resync(), false, "while it follows there is nothing to mend");
    assert.equal(log.setAside.length, 1);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("mends on an order that comes before it has stopped, and that another order ends", async () => {
    part(2 * F + 3000, 2000);
    const request = log.lastRecordOffset;
    start();
    assert.equal(driver.resync(), true);
    driver.updateMasterAddress(master.address);
    await serveHonestly(await acceptRequest(request), request).catch(() => {});
    await awaitState("diverged");
    assert.deepEqual(log.setAside, []);
    driver.updateMasterAddress(master.address);
    assert.equal(driver.resync(), true);
    await serveUntilFollowing();
    assert.equal(log.setAside.length, 1);
    assert.deepEqual(log.slice(), masterLog.slice());
  });

  it("doesn't cut for bytes of the master that are no record", async () => {
    seed(1000);
    const before = log.slice();
    start({ resync: true });
    const request = log.lastRecordOffset;
    masterLog.flip(log.maxOffset + 50);
    await serveHonestly(await acceptRequest(request), request).catch(() => {});
    const status = await awaitState("diverged");
    assert.match(status.reason, /can't mend/);
    assert.equal(status.remedy, "promote this node, or give it another master");
    assert.deepEqual(log.setAside, []);
    assert.deepEqual(log.slice(), before);
  });
});
