// HA behind TLS and behind a list of networks, over real sockets: who follows, who is refused, and what both sides say.

import assert from "node:assert/strict";
import { afterEach, describe, it } from "node:test";
import { HAClientDriver } from "../../src/broker/ha_client_driver.ts";
import { HAMasterDriver } from "../../src/broker/ha_master_driver.ts";
import { HAService } from "../../src/ha/ha_service.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { TlsIdentity } from "../../src/runtime/runtime.ts";
import { haOptions, MemoryLogger } from "../support/ha_options.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";
import { tlsIdentity } from "../support/tls.ts";

const FILE = 64 * 1024;
const runtime = await loadRuntime();
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function until(condition: () => boolean, what: string): Promise<void> {
  const deadline = runtime.clock.monotonic() + 20_000;
  while (!condition()) {
    assert.ok(runtime.clock.monotonic() < deadline, `Still waiting: ${what}`);
    await new Promise<void>((resolve) => runtime.clock.setTimer(2, resolve));
  }
}

const fatal: unknown[] = [];
const onFatal = (error: unknown) => void fatal.push(error);

async function startMaster(
  tls: TlsIdentity | null,
  options: { haAllowedPeers: string | null } = { haAllowedPeers: null },
) {
  const log = new MemoryReplicaLog({ mappedFileSize: FILE });
  log.fillTo(3 * FILE + 777);
  const logger = new MemoryLogger();
  const service = new HAService({ log, options: haOptions(), role: "ASYNC_MASTER", logger });
  const { net, clock } = runtime;
  const driver = new HAMasterDriver({
    net,
    clock,
    log,
    service,
    logger,
    onFatal,
    allowedPeers: () => options.haAllowedPeers,
  });
  const { port } = await driver.start({ hostname: "127.0.0.1", port: 0, tls });
  cleanups.push(() => driver.stop());
  const said = () => logger.lines.map(({ message }) => message).join("\n");
  return { log, service, port, said };
}

function startSlave(port: number, tls: TlsIdentity | null) {
  const log = new MemoryReplicaLog({ mappedFileSize: FILE });
  const logger = new MemoryLogger();
  const { net, clock, random } = runtime;
  const driver = new HAClientDriver({
    net,
    clock,
    random,
    logger,
    log,
    askMaster: () => Promise.resolve({ minOffset: 0, maxOffset: 3 * FILE + 777 }),
    tls,
    onFatal,
  }, {
    haSendHeartbeatInterval: 5000,
    haHousekeepingInterval: 20000,
    haAckAfterFlush: false,
    haStartOffset: null,
    resync: false,
    haBusyPollMicros: 0,
  });
  driver.updateMasterAddress(`127.0.0.1:${port}`);
  driver.start();
  cleanups.push(async () => {
    await driver.stop();
    assert.deepEqual(fatal.splice(0), []);
  });
  const said = () => logger.lines.map(({ message }) => message).join("\n");
  return { log, driver, said };
}

describe(`${runtime.name}: HA over TLS`, () => {
  it("copies the history and goes on live, acknowledged", async () => {
    const master = await startMaster(tlsIdentity("master"));
    const slave = startSlave(master.port, tlsIdentity("slave"));
    await until(() => master.service.push2SlaveMaxOffset === master.log.maxOffset, "the history");
    for (let i = 0; i < 50; i++) master.log.put(300);
    await until(() => master.service.push2SlaveMaxOffset === master.log.maxOffset, "what came live");
    assert.equal(Buffer.compare(slave.log.slice(), master.log.slice()), 0);
    assert.equal(slave.driver.status.state, "following");
  });

  it("refuses a stranger, counts it and says it on both sides", async () => {
    const master = await startMaster(tlsIdentity("master"));
    const slave = startSlave(master.port, tlsIdentity("stranger"));
    await until(() => master.service.refusals.counts.get("tlsFailed")! > 0, "the refusal");
    await until(() => /Not following master .*certificate/.test(slave.said()), "the slave's line");
    assert.match(master.said(), /Refused HA peer: The peer's certificate is not accepted: [A-Z_]+$/m);
    assert.equal(slave.log.maxOffset, 0);
    assert.equal(master.service.connectionInfos(0).length, 0);
  });

  it("does not follow a master whose certificate another CA signed", async () => {
    const master = await startMaster(tlsIdentity("stranger"));
    const slave = startSlave(master.port, tlsIdentity("slave"));
    await until(() => /with TLS failed: The peer's certificate is not accepted/.test(slave.said()), "the slave's line");
    assert.equal(slave.log.maxOffset, 0);
  });

  it("says so on both sides when only the master has TLS", async () => {
    const master = await startMaster(tlsIdentity("master"));
    const slave = startSlave(master.port, null);
    await until(() => /Refused HA peer: The peer speaks no TLS/.test(master.said()), "the master's line");
    await until(() => /Master speaks TLS.*haTlsEnable is on there and off here/.test(slave.said()), "the slave's line");
    assert.equal(slave.log.maxOffset, 0);
  });

  it("says so on both sides when only the slave has TLS", async () => {
    const master = await startMaster(null);
    const slave = startSlave(master.port, tlsIdentity("slave"));
    await until(
      () => /Refused HA peer: Slave speaks TLS.*haTlsEnable is on there and off here/.test(master.said()),
      "it",
    );
    await until(
      () => /The peer left during the TLS handshake; it may not have TLS on/.test(slave.said()),
      "the slave's line",
    );
    assert.equal(master.service.refusals.counts.get("badReport")! > 0, true);
  });
});

describe(`${runtime.name}: haAllowedPeers`, () => {
  for (const tls of [false, true]) {
    it(`closes on whoever is not in it, ${tls ? "before a handshake" : "at once"}, and may change at run time`, async () => {
      const options: { haAllowedPeers: string | null } = { haAllowedPeers: "10.0.0.0/8, fd00::/8" };
      const master = await startMaster(tls ? tlsIdentity("master") : null, options);
      const slave = startSlave(master.port, tls ? tlsIdentity("slave") : null);
      const { counts } = master.service.refusals;
      await until(() => counts.get("notAllowed")! > 0, "the refusal");
      assert.match(master.said(), /not in haAllowedPeers \(10\.0\.0\.0\/8, fd00::\/8\)/);
      assert.deepEqual([counts.get("tlsFailed"), slave.log.maxOffset], [0, 0]);
      options.haAllowedPeers = "127.0.0.1";
      await until(() => slave.log.maxOffset === master.log.maxOffset, "the history");
    });
  }
});
