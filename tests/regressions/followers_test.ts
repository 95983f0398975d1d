// Reports about slaves: that lose their connection, are not served and not told why, see half a record, or stop making
// their messages readable.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MessageStore } from "../../src/store/message_store.ts";
import { OldHAClient } from "./old/old_ha_client.ts";
import { OldHAService } from "./old/old_ha_service.ts";
import { OldReputMessageService } from "./old/old_reput.ts";
import { type MasterParts, type MasterSide, OurMaster, OurSlave, Scene, type SlaveSide } from "./scene.ts";

type MakeMaster = (parts: MasterParts) => MasterSide;
type MakeSlave = (scene: Scene, masterLog: () => MessageStore) => Promise<SlaveSide>;

const ourMaster: MakeMaster = (parts) => new OurMaster(parts);
const oldMaster: MakeMaster = (parts) => new OldHAService(parts);
const ourSlave: MakeSlave = async (scene, masterLog) =>
  new OurSlave(scene.slaveParts("slave", "master"), await scene.store("slave", "slave"), masterLog);
const oldSlave: MakeSlave = (scene) => Promise.resolve(new OldHAClient(scene.slaveParts("slave", "master")));

const HOUR_MS = 3_600_000;
const ANY_HOUR = Array.from({ length: 24 }, (_, hour) => hour).join(";");

describe("a slave", () => {
  // apache/rocketmq#1082, to 4.5.1: the slave notes the time of a read where the time of its last report is kept.
  // Between two heartbeats of an idle master it never finds that a report is due, and the master closes on it every 20
  // seconds.
  it("1082: an idle pair stays connected", async () => {
    const scenario = async (makeMaster: MakeMaster, makeSlave: MakeSlave) => {
      const scene = new Scene(1082, { timerJitterMaxUs: 0 });
      const store = await scene.store("master", "master");
      const puts = await scene.serve(makeMaster(scene.masterParts("master", store)), store);
      await puts.fill(3, 100);
      const slave = await makeSlave(scene, () => store);
      await scene.follow(slave, store);
      await scene.world.advance(300_000);
      await scene.end();
      return slave.connects - 1;
    };
    assert.ok(await scenario(oldMaster, oldSlave) >= 10, "once in 20 s or so");
    assert.equal(await scenario(ourMaster, ourSlave), 0);
    assert.equal(await scenario(oldMaster, ourSlave), 0, "nor does ours lose such a master");
  });

  // apache/rocketmq#3388, 4.3.2 and 4.4: the slave was down for days, the master's files at its offset are gone. The
  // master finds nothing to send, says nothing, sends heartbeats; the slave waits, restarted or not, and a
  // SYNC_MASTER's puts are told SLAVE_NOT_AVAILABLE or time out for ever.
  it("3388: a slave whose next byte is gone is told so, and an operator can mend it", async () => {
    const scenario = async (
      makeMaster: MakeMaster,
      makeSlave: MakeSlave,
      mend: (slave: SlaveSide) => Promise<void>,
    ) => {
      const scene = new Scene(3388);
      const { slave, store, master, puts } = await afterExpiry(scene, makeMaster, makeSlave);
      const explained = { byMaster: master.explains(), bySlave: slave.reason };
      const before = (await puts.one(100)).status;
      await scene.world.drive(mend(slave));
      await scene.world.advance(60_000);
      const after = (await puts.one(100)).status;
      const caughtUp = slave.maxOffset === store.maxOffset;
      await scene.end();
      return { explained, before, after, caughtUp };
    };
    const restart = async (slave: SlaveSide) => {
      await slave.stop();
      slave.start();
    };
    const old = await scenario(oldMaster, oldSlave, restart);
    assert.deepEqual(old.explained, { byMaster: false, bySlave: "" });
    assert.deepEqual([old.after, old.caughtUp], ["FLUSH_SLAVE_TIMEOUT", false]);

    const resync = (slave: SlaveSide) => Promise.resolve(void (slave as OurSlave).driver.resync());
    const our = await scenario(ourMaster, ourSlave, resync);
    assert.match(our.explained.bySlave, /master's log begins at \d+, our next byte is \d+/);
    assert.notEqual(our.before, "PUT_OK");
    assert.deepEqual([our.after, our.caughtUp], ["PUT_OK", true]);

    const mixed = await scenario(ourMaster, oldSlave, restart);
    assert.equal(mixed.explained.byMaster, true, "an old slave can't say it, so our master does");
    assert.equal(mixed.after, "SLAVE_NOT_AVAILABLE", "and waits for it no longer");
  });

  // apache/rocketmq#2784: dispatch stands at an offset below the slave's first file, after its log began anew further
  // on. It looks there again and again ("findMappedFileByOffset failure"), and no message becomes readable any more.
  it("2784: messages become readable where a log begins anew, far from where dispatch stood", async () => {
    const scene = new Scene(2784);
    let oldReput: OldReputMessageService | null = null;
    const makeSlave: MakeSlave = async (scene, masterLog) => {
      const slave = await ourSlave(scene, masterLog) as OurSlave;
      oldReput = new OldReputMessageService(slave.store);
      return slave;
    };
    const beforeStop = () => scene.world.drive(oldReput!.doReput());
    const { slave, store, puts } = await afterExpiry(scene, ourMaster, makeSlave, beforeStop);
    const ours = (slave as OurSlave).store;
    const old = oldReput!;
    assert.ok(old.dispatched > 0 && old.reputFromOffset > 0, "it has gone to the end of the first log");
    (slave as OurSlave).driver.resync();
    await scene.world.run(() => slave.maxOffset === store.maxOffset, 60_000);
    const before = old.dispatched;
    for (let i = 0; i < 10; i++) {
      await puts.one(100);
      await scene.world.drive(old.doReput());
    }
    assert.deepEqual([old.dispatched - before, old.notMatched], [0, 10]);

    await scene.world.run(() => ours.dispatchBehindBytes === 0, 1000);
    const end = store.getMaxOffsetInQueue("TopicTest", 0);
    assert.equal(ours.getMaxOffsetInQueue("TopicTest", 0), end);
    for (let at = end - 10; at < end; at++) {
      const { messages } = await scene.world.drive(ours.getMessage("TopicTest", 0, at, 1, 1 << 20));
      assert.equal(messages[0]?.queueOffset, at);
    }
    await scene.end();
  });

  // apache/rocketmq#9002, to 5.3.1: frames end anywhere, the slave's log ends where a frame ended, and dispatch meets
  // records that are not all there: an exception each time, and nothing to tell a torn record from one that is on its
  // way.
  it("9002: nobody who reads a slave's log sees half a record", async () => {
    const scenario = async (makeSlave: MakeSlave) => {
      const scene = new Scene(9002);
      const store = await scene.store("master", "master");
      const master = new OurMaster(scene.masterParts("master", store), { haTransferBatchSize: 77 });
      const puts = await scene.serve(master, store);
      const slave = await makeSlave(scene, () => store);
      const log = slave instanceof OldHAClient ? readable(slave.log) : (slave as OurSlave).store;
      const reput = new OldReputMessageService(log);
      let looking = Promise.resolve();
      const look = () => void (looking = looking.then(() => reput.doReput()));
      if (slave instanceof OldHAClient) slave.log.onGrow = look;
      else (slave as OurSlave).store.onGrow(look);
      scene.start(slave);
      for (let i = 0; i < 30; i++) {
        await puts.fill(1, 100 + i * 31);
        await scene.world.advance(3);
      }
      await scene.world.run(() => slave.maxOffset === store.maxOffset, 30_000);
      await scene.world.drive(looking);
      await scene.end();
      return { failed: reput.failedChecks, dispatched: reput.dispatched };
    };
    const old = await scenario(oldSlave);
    assert.ok(old.failed > 30, `${old.failed}`);
    assert.deepEqual(await scenario(ourSlave), { failed: 0, dispatched: old.dispatched });
  });
});

/**
 * A slave that followed, then was down for four days, in which the master's files beyond its end expired; it is started
 * again and has had a minute.
 */
async function afterExpiry(
  scene: Scene,
  makeMaster: MakeMaster,
  makeSlave: MakeSlave,
  beforeStop: () => Promise<void> = () => Promise.resolve(),
) {
  const store = await scene.store("master", "master", { deleteWhen: ANY_HOUR });
  const master = makeMaster(scene.masterParts("master", store));
  const puts = await scene.serve(master, store);
  await puts.fill(5, 1000);
  const slave = await makeSlave(scene, () => store);
  await scene.follow(slave, store);
  await scene.world.advance(100);
  await beforeStop();
  await scene.world.drive(slave.stop());
  await puts.fill(30, 1000);
  scene.host("master").clock.step(96 * HOUR_MS);
  await puts.fill(30, 1000);
  await scene.world.run(() => store.dispatchBehindBytes === 0, 10_000);
  await scene.world.drive(store.cleanExpired());
  assert.ok(store.minOffset > slave.maxOffset, "what the slave needs next is gone");
  slave.start();
  await scene.world.advance(60_000);
  return { store, master, puts, slave };
}

/** The bytes of an old slave's log, for a reader. */
function readable(log: OldHAClient["log"]) {
  return {
    get minOffset() {
      return log.minOffset;
    },
    get maxOffset() {
      return log.maxOffset;
    },
    mappedFileSize: 8 * 1024,
    read(offset: number, target: Uint8Array): number {
      const bytes = log.bytes.subarray(offset - log.minOffset, offset - log.minOffset + target.length);
      target.set(bytes);
      return bytes.length;
    },
  };
}
