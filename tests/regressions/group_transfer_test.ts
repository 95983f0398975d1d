// Reports about producers that wait for their slave: told of a failure that was none, or not told at all.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { failingFileSystem } from "../support/failing_fs.ts";
import { RawSlave } from "../support/raw_slave.ts";
import { OldHAClient, OldReplicaLog } from "./old/old_ha_client.ts";
import { OldHAService } from "./old/old_ha_service.ts";
import {
  HA_PORT,
  type MasterParts,
  type MasterSide,
  OurMaster,
  OurSlave,
  type PutTold,
  Scene,
  type SlaveSide,
} from "./scene.ts";

type MakeMaster = (parts: MasterParts, batchSize: number) => MasterSide;

const WITHOUT_WAIT = { properties: new Map([["WAIT", "false"]]) };
const SLAVE_TIMEOUT_MS = 3000;
/** Timers and the network make an answer this much later, ms at most. */
const SLACK_MS = 100;

const ours: MakeMaster = (parts, haTransferBatchSize) => new OurMaster(parts, { haTransferBatchSize });
const old45: MakeMaster = (parts, haTransferBatchSize) =>
  new OldHAService(parts, { waiting: "wakeUps", haTransferBatchSize });
const old49: MakeMaster = (parts, haTransferBatchSize) =>
  new OldHAService(parts, { waiting: "deadline", haTransferBatchSize });

describe("a producer that waits for its slave", () => {
  // apache/rocketmq#1535, 4.5.2: a message goes out in frames of haTransferBatchSize, each frame's ack ends one of five
  // waits, so that a message of more than five frames was told FLUSH_SLAVE_TIMEOUT while it was being replicated.
  it("1535: a message of many frames is told PUT_OK once its last byte is acknowledged", async () => {
    const scenario = async (make: MakeMaster) => {
      const scene = new Scene(1535);
      const store = await scene.store("master", "master", { mappedFileSizeCommitLog: 4 * 1024 * 1024 });
      const puts = await scene.serve(make(scene.masterParts("master", store), 32 * 1024), store);
      const slave = await connectRawSlave(scene);
      const told = await puts.one(1024 * 1024);
      await scene.world.run(() => slave.end === told.end, 10_000);
      slave.close();
      await scene.end();
      return told;
    };
    const old = await scenario(old45);
    assert.equal(old.status, "FLUSH_SLAVE_TIMEOUT");
    assert.ok(old.afterMs < 1000, "it gave up long before any time-out");
    assert.equal((await scenario(ours)).status, "PUT_OK");
  });

  // apache/rocketmq#1244, before 4.6: the same five waits were ended by the acks of other producers' messages, here of
  // a busy topic that waits for nothing.
  it("1244: acks of other messages don't use up a producer's patience", async () => {
    const scenario = async (make: MakeMaster) => {
      const scene = new Scene(1244, { network: { coalescePerMillion: 0 } });
      const store = await scene.store("master", "master", { mappedFileSizeCommitLog: 1024 * 1024 });
      const puts = await scene.serve(make(scene.masterParts("master", store), 2048), store);
      const slave = await connectRawSlave(scene);
      const busy = Array.from({ length: 60 }, () => puts.begin(1000, WITHOUT_WAIT));
      const told = await puts.one(100);
      await scene.world.drive(Promise.all(busy));
      slave.close();
      await scene.end();
      return told;
    };
    const old = await scenario(old45);
    assert.equal(old.status, "FLUSH_SLAVE_TIMEOUT");
    assert.ok(old.afterMs < 1000, "it gave up long before any time-out");
    assert.equal((await scenario(ours)).status, "PUT_OK");
  });

  // apache/rocketmq#1227, 4.5: the service judges one request after another, so with a slave that hangs the n-th
  // verdict comes after n times five seconds. (The report is of the service. 4.5's producers gave up by a clock of
  // their own; from 4.7 on the verdict is their answer.)
  it("1227: with a slave that hangs, no verdict waits for the one before it", async () => {
    const scenario = async (make: MakeMaster) => {
      const scene = new Scene(1227);
      const store = await scene.store("master", "master");
      const puts = await scene.serve(make(scene.masterParts("master", store), 32 * 1024), store);
      const slave = await connectRawSlave(scene);
      slave.autoAck = false;
      const told = await scene.world.drive(Promise.all([1, 2, 3, 4].map(() => puts.begin(100))));
      slave.close();
      await scene.end();
      return told.map(({ afterMs }) => afterMs);
    };
    const old = await scenario(old45);
    old.forEach((afterMs, at) => assert.ok(afterMs >= (at + 1) * 5000, `verdict ${at} after ${afterMs} ms`));
    for (const afterMs of await scenario(ours)) assert.ok(afterMs <= SLAVE_TIMEOUT_MS + SLACK_MS, `${afterMs} ms`);
  });

  // apache/rocketmq#3484, 4.9.1: the slave's disk is read-only. Its append fails, nobody looks, it stays connected and
  // never acknowledges; the master counts it and waits for it, one put after another, so that clients with a time-out
  // of 30 s get no answer at all.
  it("3484: a slave whose disk is read-only costs each put its time-out, not all of them the sum", async () => {
    const old = await readOnlySlave(old49, (scene) => {
      const log = new OldReplicaLog();
      const slave = new OldHAClient(scene.slaveParts("slave", "master"), log);
      return Promise.resolve({ slave, makeReadOnly: () => void (log.readOnly = true) });
    });
    assert.ok(old.some(({ afterMs }) => afterMs > 30_000), "clients have given up by then");

    const our = await readOnlySlave(ours, async (scene, masterLog) => {
      let readOnly = false;
      const fs = failingFileSystem(scene.host("slave").runtime.fs, {
        write: (path) => readOnly && path.includes("/commitlog/"),
        sync: () => false,
      });
      const store = await scene.store("slave", "slave", {}, { fs });
      const slave = new OurSlave(scene.slaveParts("slave", "master"), store, masterLog);
      return { slave, makeReadOnly: () => void (readOnly = true) };
    });
    for (const { status, afterMs } of our) {
      assert.ok(status === "FLUSH_SLAVE_TIMEOUT" || status === "SLAVE_NOT_AVAILABLE", status);
      assert.ok(afterMs <= SLAVE_TIMEOUT_MS + SLACK_MS, `${afterMs} ms`);
    }
  });
});

/** A slave that acknowledges each frame at once, as Apache's does. */
async function connectRawSlave(scene: Scene): Promise<RawSlave> {
  const { net } = scene.host("slave").runtime;
  const address = { hostname: scene.host("master").address, port: HA_PORT };
  const slave = new RawSlave(await scene.world.drive(net.connect({ ...address, timeoutMs: 5000 })));
  slave.autoAck = true;
  slave.startReading();
  await scene.world.drive(slave.report(0));
  await scene.world.advance(10);
  return slave;
}

/** Twenty producers at once, with a slave that followed until its disk refused to be written. */
async function readOnlySlave(
  make: MakeMaster,
  makeSlave: (
    scene: Scene,
    masterLog: () => MasterParts["log"],
  ) => Promise<{ slave: SlaveSide; makeReadOnly: () => void }>,
): Promise<PutTold[]> {
  const scene = new Scene(3484);
  const store = await scene.store("master", "master");
  const puts = await scene.serve(make(scene.masterParts("master", store), 32 * 1024), store);
  await puts.fill(5, 100);
  const { slave, makeReadOnly } = await makeSlave(scene, () => store);
  await scene.follow(slave, store);
  await scene.world.advance(20);
  assert.equal((await puts.one(100)).status, "PUT_OK");
  makeReadOnly();
  const told = await scene.world.drive(Promise.all(Array.from({ length: 20 }, () => puts.begin(100))));
  await scene.end();
  return told;
}
