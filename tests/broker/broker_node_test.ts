// Whole nodes on simulated machines: what puts are told in every state of their slaves, role changes, saved roles, and
// stopping while something hangs. Time is the world's, so nothing here waits.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PutOutcome } from "../../src/admin/admin_port.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { MemoryLogger } from "../support/ha_options.ts";

const BODY = new Uint8Array(500).fill(7);

/** One machine and the node on it. */
class Node {
  readonly logger = new MemoryLogger();
  readonly fatal: unknown[] = [];
  readonly host: SimulatedHost;
  readonly #world: SimulatedWorld;
  readonly #options: Partial<Config>;
  broker!: BrokerNode;

  constructor(world: SimulatedWorld, name: string, options: Partial<Config>) {
    this.#world = world;
    this.host = world.host(name);
    this.#options = options;
  }

  get ha(): string {
    return `${this.host.address}:10912`;
  }

  async start(changes: Partial<Config> = {}): Promise<void> {
    if (!this.host.isRunning) this.host.restart();
    const { runtime } = this.host;
    const values: Partial<Config> = {
      brokerName: "b",
      listenPort: 10911,
      storePathRootDir: "/store",
      adminAddress: null,
      mappedFileSizeCommitLog: 64 * 1024,
      maxHashSlotNum: 50,
      maxIndexNum: 200,
      ...this.#options,
      ...changes,
    };
    const { config } = createConfig(values, runtime.process);
    const onFatal = (error: unknown) => void this.fatal.push(error);
    this.broker = await this.#world.drive(startBroker({ config, runtime, logger: this.logger, onFatal }));
  }

  get admin() {
    return this.broker.admin;
  }

  get status() {
    return this.broker.admin.status();
  }

  /** Starts a put; the world has to be driven. */
  put(properties: Record<string, string> = {}): Promise<PutOutcome> {
    return this.admin.put({
      topic: "T",
      queueId: 0,
      body: BODY,
      properties: new Map(Object.entries(properties)),
      flag: 0,
    });
  }

  async putStatus(properties: Record<string, string> = {}): Promise<string> {
    return (await this.#world.drive(this.put(properties))).status;
  }

  patch(values: Partial<Config>): void {
    this.admin.updateConfig(values);
  }

  async stop(): Promise<void> {
    await this.#world.drive(this.broker.stop());
  }

  said(pattern: RegExp): number {
    return this.logger.lines.filter((line) => pattern.test(line.message)).length;
  }
}

interface Group {
  readonly world: SimulatedWorld;
  readonly master: Node;
  readonly slaves: readonly Node[];
  /** A slave that follows and has everything. */
  caughtUp(slave: Node): boolean;
}

/** A master and slaves that follow it; stopped after the test. */
async function group(
  options: { slaves: number; master?: Partial<Config>; slave?: Partial<Config>; seed?: number },
  test: (group: Group) => Promise<void>,
): Promise<void> {
  const world = new SimulatedWorld(options.seed ?? 1);
  const master = new Node(world, "master", { brokerRole: "SYNC_MASTER", ...options.master });
  const slaves = Array.from(
    { length: options.slaves },
    (_, at) =>
      new Node(world, `slave${at}`, {
        brokerRole: "SLAVE",
        brokerId: at + 1,
        haMasterAddress: master.ha,
        ...options.slave,
      }),
  );
  const caughtUp = (slave: Node) =>
    slave.status.master?.verified === true && slave.status.maxOffset === master.status.maxOffset &&
    master.status.inSyncSlaveNums >= slaves.length;
  await master.start();
  for (const slave of slaves) {
    await slave.start();
    await world.run(() => caughtUp(slave) || master.status.inSyncSlaveNums > 0, 30_000);
  }
  await world.run(() => slaves.every(caughtUp), 30_000);
  await test({ world, master, slaves, caughtUp });
  for (const node of [...slaves, master]) await node.stop();
  for (const node of [...slaves, master]) assert.deepEqual(node.fatal, []);
}

describe("a SYNC_MASTER's put", () => {
  it("is told SLAVE_NOT_AVAILABLE at once without a slave, and kept", async () => {
    await group({ slaves: 0 }, async ({ world, master }) => {
      const before = master.status.maxOffset;
      const startedAt = world.nowMs;
      assert.equal(await master.putStatus(), "SLAVE_NOT_AVAILABLE");
      assert.ok(world.nowMs - startedAt < 100);
      assert.ok(master.status.maxOffset > before);
      assert.equal(await master.putStatus({ WAIT: "false" }), "PUT_OK");
      assert.equal(await master.putStatus({ WAIT: "TRUE" }), "SLAVE_NOT_AVAILABLE");
    });
  });

  it("goes by inSyncReplicas, minInSyncReplicas and enableAutoInSyncReplicas as they are now", async () => {
    await group({ slaves: 1 }, async ({ master }) => {
      assert.equal(await master.putStatus(), "PUT_OK");
      master.patch({ inSyncReplicas: 3 });
      assert.equal(await master.putStatus(), "SLAVE_NOT_AVAILABLE");
      master.patch({ enableAutoInSyncReplicas: true });
      assert.equal(await master.putStatus(), "PUT_OK");
      master.patch({ minInSyncReplicas: 3 });
      const before = master.status.maxOffset;
      assert.equal(await master.putStatus(), "IN_SYNC_REPLICAS_NOT_ENOUGH");
      assert.equal(master.status.maxOffset, before, "nothing is written");
      assert.equal(await master.putStatus({ WAIT: "false" }), "PUT_OK");
      master.patch({ inSyncReplicas: 1, minInSyncReplicas: 1, enableAutoInSyncReplicas: false });
      assert.equal(await master.putStatus(), "PUT_OK");
      assert.equal(master.said(/inSyncReplicas is 1/), 1, "waiting for nobody is said");
    });
  });

  it("waits for two slaves where three copies are promised", async () => {
    await group({ slaves: 2, master: { inSyncReplicas: 3 } }, async ({ world, master, slaves }) => {
      assert.equal(await master.putStatus(), "PUT_OK");
      world.network.partition("master", slaves[0]!.host.name);
      const startedAt = world.nowMs;
      assert.equal(await master.putStatus(), "FLUSH_SLAVE_TIMEOUT");
      assert.ok(world.nowMs - startedAt >= 3000 && world.nowMs - startedAt < 3200);
      world.network.heal();
    });
  });

  it("is told FLUSH_SLAVE_TIMEOUT while a silent slave counts, SLAVE_NOT_AVAILABLE once it is closed on", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves, caughtUp }) => {
      world.network.partition("master", slaves[0]!.host.name);
      assert.equal(await master.putStatus(), "FLUSH_SLAVE_TIMEOUT");
      await world.advance(21_000);
      assert.equal(await master.putStatus(), "SLAVE_NOT_AVAILABLE");
      world.network.heal();
      await world.run(() => caughtUp(slaves[0]!), 60_000);
      assert.equal(await master.putStatus(), "PUT_OK");
    });
  });

  it("is told SLAVE_NOT_AVAILABLE when the slave lags haMaxGapNotInSync", async () => {
    await group({ slaves: 1, master: { haMaxGapNotInSync: 5000 } }, async ({ world, master, slaves }) => {
      world.network.partition("master", slaves[0]!.host.name);
      for (let i = 0; i < 12; i++) assert.equal(await master.putStatus({ WAIT: "false" }), "PUT_OK");
      assert.equal(await master.putStatus(), "SLAVE_NOT_AVAILABLE");
      assert.equal(master.status.slaves[0]!.inSync, false);
      world.network.heal();
    });
  });

  it("keeps its promise when the slave leaves and comes back within slaveTimeout", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      const slave = slaves[0]!;
      world.network.partition("master", slave.host.name);
      const put = master.put();
      await world.advance(100);
      world.network.heal();
      slave.host.kill();
      await slave.start();
      assert.equal((await world.drive(put)).status, "PUT_OK");
      assert.equal(slave.status.maxOffset, master.status.maxOffset);
    });
  });

  it("is told FLUSH_SLAVE_TIMEOUT when the master is demoted meanwhile", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      const slave = slaves[0]!;
      world.network.partition("master", slave.host.name);
      const put = master.put();
      await world.advance(100);
      const switched = await world.drive(master.admin.switchRole({ role: "SLAVE", masterAddress: slave.ha }));
      assert.deepEqual(switched, { type: "done" });
      assert.equal((await world.drive(put)).status, "FLUSH_SLAVE_TIMEOUT");
      assert.equal(await master.putStatus(), "SERVICE_NOT_AVAILABLE");
      world.network.heal();
    });
  });

  it("stays waiting when a SYNC_MASTER becomes an ASYNC_MASTER, and new ones do not", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      world.network.partition("master", slaves[0]!.host.name);
      const put = master.put();
      await world.advance(100);
      await world.drive(master.admin.switchRole({ role: "ASYNC_MASTER" }));
      assert.equal(await master.putStatus(), "PUT_OK");
      assert.equal((await world.drive(put)).status, "FLUSH_SLAVE_TIMEOUT");
      world.network.heal();
    });
  });

  it("is bounded in number: a storm beside a stopped slave ends in time-outs, not in memory", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      world.network.partition("master", slaves[0]!.host.name);
      const puts = Array.from({ length: 2000 }, () => master.put());
      const outcomes = await world.drive(Promise.all(puts));
      assert.ok(outcomes.every(({ status }) => status === "FLUSH_SLAVE_TIMEOUT" || status === "SLAVE_NOT_AVAILABLE"));
      world.network.heal();
      await world.run(() => slaves[0]!.status.maxOffset === master.status.maxOffset, 60_000);
    });
  });
});

describe("flushing beside replication", () => {
  it("haTransferAfterFlush: an idle ASYNC_FLUSH master flushes for its slaves at once", async () => {
    const master: Partial<Config> = { haTransferAfterFlush: true, flushDiskType: "ASYNC_FLUSH" };
    await group({ slaves: 2, master }, async ({ world, master, slaves }) => {
      for (let i = 0; i < 5; i++) {
        const startedAt = world.nowMs;
        assert.equal(await master.putStatus(), "PUT_OK");
        assert.ok(world.nowMs - startedAt < 200, `${world.nowMs - startedAt} ms`);
        assert.equal(master.status.flushedOffset, master.status.maxOffset);
        await world.advance(700);
      }
      await world.drive(master.admin.switchRole({ role: "ASYNC_MASTER" }));
      await master.putStatus();
      await world.run(() => slaves.every((slave) => slave.status.maxOffset === master.status.maxOffset), 200);
    });
  });

  it("haTransferAfterFlush: a slave that comes to unflushed bytes gets them at once", async () => {
    const world = new SimulatedWorld(3);
    const master = new Node(world, "master", { haTransferAfterFlush: true, flushDiskType: "ASYNC_FLUSH" });
    const slave = new Node(world, "slave", { brokerRole: "SLAVE", haMasterAddress: master.ha });
    await master.start();
    await master.putStatus();
    assert.ok(master.status.flushedOffset < master.status.maxOffset);
    await slave.start();
    await world.run(() => slave.status.maxOffset === master.status.maxOffset, 1000);
    await slave.stop();
    await master.stop();
  });

  for (const flushDiskType of ["ASYNC_FLUSH", "SYNC_FLUSH"] as const) {
    it(`haAckAfterFlush: the slave's disk (${flushDiskType}) is asked for each ack, promptly`, async () => {
      await group({ slaves: 1, slave: { haAckAfterFlush: true, flushDiskType } }, async ({ world, master, slaves }) => {
        for (let i = 0; i < 5; i++) {
          const startedAt = world.nowMs;
          assert.equal(await master.putStatus(), "PUT_OK");
          assert.ok(world.nowMs - startedAt < 200, `${world.nowMs - startedAt} ms`);
          assert.ok(
            slaves[0]!.status.flushedOffset >= master.status.maxOffset,
            "acknowledged means on the slave's disk",
          );
          await world.advance(700);
        }
      });
    });
  }
});

describe("what a node tells of itself", () => {
  it("tells listeners of every slave that comes, leaves or can't be served, not of guests", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      let changes = 0;
      const unsubscribe = master.admin.onStateChange(() => changes++);
      const guest = await world.drive(
        slaves[0]!.host.runtime.net.connect({ hostname: master.host.address, port: 10912, timeoutMs: 1000 }),
      );
      guest.close();
      await world.advance(100);
      assert.equal(changes, 0);
      slaves[0]!.host.kill();
      await world.advance(100);
      assert.equal(changes, 1, "it left");
      await slaves[0]!.start();
      await world.run(() => master.status.inSyncSlaveNums === 1, 30_000);
      assert.equal(changes, 2, "it is back");
      unsubscribe();
    });
  });

  it("counts role switches, refused ones, and what became of its NameServers", async () => {
    await group({ slaves: 0, master: { namesrvAddr: "10.9.9.9:9876" } }, async ({ world, master }) => {
      await world.drive(master.admin.switchRole({ role: "ASYNC_MASTER" }));
      await world.drive(master.admin.updateMasterAddress("a:1"));
      const value = (name: string, event?: string) =>
        master.admin.metricFigures().find((one) =>
          one.name === name && (event === undefined || one.labels.event === event)
        )?.value;
      assert.equal(value("twinlog_role_events_total", "switches"), 1);
      assert.equal(value("twinlog_role_events_total", "refusals"), 1);
      assert.equal(value("twinlog_namesrv_registered"), 0);
      assert.equal(master.said(/^Role change refused/), 1);
    });
  });

  it("knows its lag by asking the master, null when it can't be learned, and says so once", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      const slave = slaves[0]!;
      await world.advance(6000);
      assert.equal(slave.status.master?.diff, 0);
      assert.equal(slave.status.master?.masterMaxOffset, master.status.maxOffset);
      await slave.stop();
      // Its HA address is right, but nothing listens where its remoting port would be by default.
      await master.stop();
      await master.start({ listenPort: 20911, haListenPort: 10912 });
      await slave.start();
      await world.run(() => slave.status.master?.verified === true, 30_000);
      await world.advance(21_000);
      assert.equal(slave.status.master?.diff, null);
      assert.equal(slave.said(/^Can't learn the master's log range/), 1);
      assert.equal(slave.admin.notReadyReason(), null);
    });
  });
});

describe("a node's role", () => {
  it("is promoted only when its master is silent, its end verified; then takes puts at once", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      const slave = slaves[0]!;
      await master.putStatus();
      const early = await world.drive(slave.admin.switchRole({ role: "ASYNC_MASTER" }));
      assert.match(early.type === "refused" ? early.reason : "", /was heard/);
      master.host.kill();
      await world.advance(10_500);
      assert.deepEqual(await world.drive(slave.admin.switchRole({ role: "ASYNC_MASTER" })), { type: "done" });
      assert.equal(await slave.putStatus(), "PUT_OK");
      assert.equal(slave.admin.config().brokerRole, "ASYNC_MASTER");
      await master.start();
    });
  });

  it("is promoted beside a master that hangs: a connection alone is no sign of life", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      const slave = slaves[0]!;
      master.host.pause();
      // Long enough for the slave to close on it and connect to the listening, hanging process again.
      for (let i = 0; i < 12; i++) {
        await world.advance(5000);
        if (i < 2) continue;
        const objection = slave.status.master!.lastReadTimestamp;
        assert.ok(slave.host.runtime.clock.now() - objection > 10_000, "nothing was heard");
      }
      assert.deepEqual(await world.drive(slave.admin.switchRole({ role: "ASYNC_MASTER" })), { type: "done" });
      master.host.resume();
    });
  });

  it("never follows itself", async () => {
    await group({ slaves: 1 }, async ({ world, slaves }) => {
      const slave = slaves[0]!;
      for (const address of [slave.ha, "127.0.0.1:10912", "localhost:10912"]) {
        const outcome = await world.drive(slave.admin.updateMasterAddress(address));
        assert.match(outcome.type === "refused" ? outcome.reason : "", /own HA address/);
      }
      const outcome = await world.drive(slave.admin.switchRole({ role: "SLAVE", masterAddress: slave.ha }));
      assert.equal(outcome.type, "refused");
    });
  });

  it("never follows itself under a name that only the network knows", async () => {
    await group({ slaves: 1 }, async ({ world, slaves }) => {
      const slave = slaves[0]!;
      const address = `${slave.host.name}:10912`;
      assert.deepEqual(await world.drive(slave.admin.updateMasterAddress(address)), { type: "done" });
      await world.advance(40_000);
      assert.match(slave.admin.notReadyReason() ?? "", /own HA port/);
      assert.equal(slave.status.master?.verified, false);
      assert.equal(slave.said(/own HA port/), 1);
    });
  });

  it("starts with its own address as its master's following nobody", async () => {
    const world = new SimulatedWorld(6);
    const node = new Node(world, "n", { brokerRole: "SLAVE", haMasterAddress: "127.0.0.1:10912" });
    await node.start();
    await world.advance(10_000);
    assert.equal(node.status.master?.masterAddr, null);
    assert.notEqual(node.admin.notReadyReason(), null);
    assert.equal(node.said(/^Following nobody: .*own HA address/), 1);
    await node.stop();
  });

  it("goes through switches asked for at once one after another, each answered", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      const slave = slaves[0]!;
      const { admin } = slave;
      const outcomes = await world.drive(Promise.all([
        admin.switchRole({ role: "SYNC_MASTER", force: true }),
        admin.switchRole({ role: "SLAVE", masterAddress: master.ha }),
        admin.switchRole({ role: "ASYNC_MASTER", force: true }),
        admin.updateMasterAddress(master.ha),
        admin.switchRole({ role: "SLAVE", brokerId: 7, masterAddress: master.ha }),
      ]));
      assert.deepEqual(outcomes.map((outcome) => outcome.type), ["done", "done", "done", "refused", "done"]);
      assert.equal(slave.status.brokerId, 7);
      await world.run(() => slave.status.master?.verified === true, 30_000);
    });
  });

  it("is saved, said when it differs from the flags, and overridden by force", async () => {
    const world = new SimulatedWorld(5);
    const master = new Node(world, "master", { brokerRole: "ASYNC_MASTER" });
    const other = new Node(world, "other", { brokerRole: "ASYNC_MASTER" });
    const node = new Node(world, "node", { brokerRole: "SLAVE", brokerId: 3, haMasterAddress: master.ha });
    await master.start();
    await other.start();
    await node.start();
    await world.drive(node.admin.updateMasterAddress(other.ha));
    await node.stop();
    await node.start();
    assert.equal(node.status.master?.masterAddr, other.ha, "the address given at run time wins");
    assert.equal(node.said(/^Starting as SLAVE 3 of master/), 1, "and that is said");
    await world.drive(node.admin.switchRole({ role: "SYNC_MASTER", force: true }));
    node.host.kill();
    await node.start();
    assert.equal(node.status.brokerRole, "SYNC_MASTER");
    assert.equal(node.status.brokerId, 0);
    assert.equal(node.admin.config().brokerRole, "SYNC_MASTER", "the effective role");
    assert.equal(node.said(/^Starting as SYNC_MASTER/), 1);
    await node.stop();
    await node.start({ forceRole: true });
    assert.equal(node.status.brokerRole, "SLAVE");
    assert.equal(node.status.master?.masterAddr, master.ha);
    for (const each of [node, other, master]) await each.stop();
  });

  it("does not wait for a promotion that hangs when the node stops", async () => {
    await group({ slaves: 1 }, async ({ world, master, slaves }) => {
      const slave = slaves[0]!;
      const outcome = slave.admin.switchRole({ role: "ASYNC_MASTER", force: true });
      const startedAt = world.nowMs;
      await slave.stop();
      assert.ok(["done", "refused"].includes((await outcome).type));
      assert.ok(world.nowMs - startedAt < 5000);
      assert.equal(master.status.brokerRole, "SYNC_MASTER");
    });
  });
});

describe("nodes at one NameServer", () => {
  /** A NameServer that outlives the brokers: inside one of another name. */
  async function namesrvAt(world: SimulatedWorld) {
    const namesrv = new Node(world, "ns", { brokerRole: "ASYNC_MASTER", brokerName: "ns", namesrvEnable: true });
    await namesrv.start();
    return { namesrv, namesrvAddr: `${namesrv.host.address}:9876` };
  }

  /** Starts the two; the heir has all that the master has, a message among it. */
  async function startAndFollow(world: SimulatedWorld, master: Node, heir: Node): Promise<void> {
    await master.start();
    await heir.start();
    await world.run(() => heir.status.master?.verified === true, 30_000);
    await master.putStatus();
    await world.run(() => heir.status.maxOffset === master.status.maxOffset, 30_000);
  }

  it("after a failover the old master becomes a slave by the word alone, and learns whom to follow", async () => {
    const world = new SimulatedWorld(21);
    const { namesrv, namesrvAddr } = await namesrvAt(world);
    const old = new Node(world, "old", { brokerRole: "ASYNC_MASTER", namesrvAddr });
    const heir = new Node(world, "heir", { brokerRole: "SLAVE", namesrvAddr });
    await startAndFollow(world, old, heir);
    old.host.kill();
    await world.advance(10_500);
    assert.deepEqual(await world.drive(heir.admin.switchRole({ role: "ASYNC_MASTER" })), { type: "done" });
    await heir.putStatus();
    await world.advance(1000);
    await old.start();
    assert.equal(old.status.fenced, true);
    assert.equal(old.said(/make this node its slave \(verb role slave\)/), 1);
    assert.deepEqual(await world.drive(old.admin.switchRole({ role: "SLAVE" })), { type: "done" });
    await world.run(() => old.status.master?.verified === true, 3000);
    assert.equal(old.status.master?.masterAddr, heir.ha);
    await world.run(() => old.status.maxOffset === heir.status.maxOffset, 3000);
    for (const node of [old, heir]) await node.stop();
    await namesrv.stop();
  });

  it("starts read-only beside a promoted slave whatever the logs hold, and asks it also where the NameServer forgot", async () => {
    for (const [seed, change] of [[31, "none"], [32, "tail"], [33, "forgot"]] as const) {
      const world = new SimulatedWorld(seed);
      const outside = change === "forgot" ? null : await namesrvAt(world);
      const old = new Node(world, "old", {
        brokerRole: "ASYNC_MASTER",
        ...(outside === null ? { namesrvEnable: true } : { namesrvAddr: outside.namesrvAddr }),
      });
      const namesrvAddr = outside?.namesrvAddr ?? `${old.host.address}:9876`;
      const heir = new Node(world, "heir", { brokerRole: "SLAVE", namesrvAddr });
      await startAndFollow(world, old, heir);
      // Time in which a master asks who else is there.
      await world.advance(45_000);
      if (change === "tail") {
        world.network.isolate("heir");
        await old.putStatus();
      }
      old.host.kill();
      world.network.heal();
      await world.advance(10_500);
      assert.deepEqual(await world.drive(heir.admin.switchRole({ role: "ASYNC_MASTER" })), { type: "done" });
      await old.start();
      assert.equal(old.status.fenced, true, change);
      assert.equal(old.said(/^Started read-only: .* is a master of this name/), 1);
      assert.notEqual(await old.putStatus(), "PUT_OK");
      assert.deepEqual(await world.drive(old.admin.switchRole({ role: "SLAVE", masterAddress: heir.ha })), {
        type: "done",
      });
      await world.run(() => old.status.master?.verified === true, 3000);
      for (const node of [old, heir]) await node.stop();
      await outside?.namesrv.stop();
    }
  });

  it("a promoted slave that restarts takes puts again, beside the fenced old master and also when both start at once", async () => {
    for (const both of [false, true]) {
      const world = new SimulatedWorld(both ? 41 : 42);
      const { namesrv, namesrvAddr } = await namesrvAt(world);
      const old = new Node(world, "old", { brokerRole: "ASYNC_MASTER", namesrvAddr });
      const heir = new Node(world, "heir", { brokerRole: "SLAVE", namesrvAddr });
      await startAndFollow(world, old, heir);
      await world.advance(45_000);
      old.host.kill();
      await world.advance(10_500);
      assert.deepEqual(await world.drive(heir.admin.switchRole({ role: "ASYNC_MASTER" })), { type: "done" });
      if (both) {
        heir.host.kill();
        // Each waits a while for the NameServer, so each is there when the other one asks.
        world.network.isolate("ns");
        await Promise.all([old.start(), heir.start()]);
      } else {
        await old.start();
        await heir.stop();
        await heir.start();
      }
      assert.equal(old.status.fenced, true, `both ${both}`);
      assert.equal(heir.status.fenced, false, `both ${both}: ${heir.status.notWritableReason}`);
      assert.equal(await heir.putStatus(), "PUT_OK");
      world.network.heal();
      for (const node of [old, heir]) await node.stop();
      await namesrv.stop();
    }
  });

  it("puts that are held off by hand are not given away: who starts then stays read-only, and so does its heir's past", async () => {
    const world = new SimulatedWorld(43);
    const { namesrv, namesrvAddr } = await namesrvAt(world);
    const live = new Node(world, "live", { brokerRole: "ASYNC_MASTER", namesrvAddr });
    const stale = new Node(world, "stale", { brokerRole: "ASYNC_MASTER", namesrvAddr });
    await live.start();
    await live.putStatus();
    await world.drive(live.admin.setFenced(true));
    await stale.start();
    assert.equal(stale.status.fenced, true);
    await stale.stop();
    await stale.start({ forceRole: true });
    assert.equal(stale.status.fenced, true, "no word about the role makes it the better one");
    for (const node of [live, stale]) await node.stop();
    await namesrv.stop();
  });

  it("a slave that --force-role makes a master counts as promoted, a master keeps its rank", async () => {
    const world = new SimulatedWorld(44);
    const node = new Node(world, "n", { brokerRole: "SLAVE" });
    const promotedAt = () => {
      const bytes = node.host.runtime.fs.readFile("/store/config/twinlogRole.json");
      return bytes === null ? null : JSON.parse(new TextDecoder().decode(bytes)).promotedAt;
    };
    await node.start({ forceRole: true });
    assert.equal(promotedAt(), 0);
    await node.stop();
    await node.start({ brokerRole: "ASYNC_MASTER", forceRole: true });
    const first = promotedAt();
    assert.ok(first > 0);
    await node.stop();
    await world.advance(1000);
    await node.start({ brokerRole: "SYNC_MASTER", forceRole: true });
    assert.equal(promotedAt(), first);
    await node.stop();
  });

  it("a second master that restarts is seen at once, and clients keep a route meanwhile", async () => {
    const world = new SimulatedWorld(22);
    const { namesrv, namesrvAddr } = await namesrvAt(world);
    const [first, second] = ["m1", "m2"].map((name) =>
      new Node(world, name, { brokerRole: "ASYNC_MASTER", namesrvAddr })
    ) as [Node, Node];
    const addresses = () => ({
      ...namesrv.admin.clients.namesrv()?.brokers.find((one) => one.brokerName === "b")?.addresses,
    });
    await first.start();
    await world.advance(11_000);
    await second.start();
    assert.equal(second.said(/^Another master of this name is alive/), 1);
    await world.advance(2000);
    assert.deepEqual(addresses(), { 0: `${second.host.address}:10911` });
    await second.stop();
    assert.deepEqual(addresses(), { 0: `${first.host.address}:10911` });
    await first.putStatus();
    await world.advance(5000);
    await second.start();
    assert.equal(second.said(/^Started read-only: .* is a master of this name/), 1);
    for (const node of [second, first]) await node.stop();
    await namesrv.stop();
  });

  it("a slave that was there before its master says what it misses, once, and follows within seconds", async () => {
    const world = new SimulatedWorld(23);
    const { namesrv, namesrvAddr } = await namesrvAt(world);
    const slave = new Node(world, "s", { brokerRole: "SLAVE", namesrvAddr });
    const master = new Node(world, "m", { brokerRole: "ASYNC_MASTER", namesrvAddr });
    const missing = () => slave.logger.lines.filter(({ message }) => /^No master named/.test(message));
    await slave.start();
    await world.advance(60_000);
    assert.deepEqual(missing().map(({ level, message }) => [level, message]), [
      [
        "warn",
        `No master named "b" at the NameServer ${namesrvAddr} yet, following nobody; it is asked for again and again`,
      ],
    ]);
    await master.start();
    await world.run(() => slave.status.master?.verified === true, 4000);
    await world.advance(60_000);
    assert.equal(missing().length, 1);
    for (const node of [slave, master]) await node.stop();
    await namesrv.stop();
  });

  it("a slave that is given its master and reaches none is told how to do without", async () => {
    const world = new SimulatedWorld(24);
    const node = new Node(world, "s", { brokerRole: "SLAVE", haMasterAddress: "10.9.9.9:10912" });
    await node.start({ namesrvAddr: "10.9.9.9:9876" });
    await world.run(() => node.said(/^Can't register with the NameServer.*--namesrv-addr none$/) === 1, 60_000);
    await node.stop();
  });
});

describe("a slave with files of another size than its master's", () => {
  it("hears of it as soon as it follows, once", async () => {
    const slave = { mappedFileSizeCommitLog: 128 * 1024 };
    await group({ slaves: 1, slave }, async ({ world, slaves: [slave] }) => {
      await world.run(() => slave!.said(/^mappedFileSizeCommitLog is 131072, the master's is 65536/) === 1, 5000);
    });
    await group({ slaves: 1 }, async ({ world, slaves: [slave] }) => {
      await world.advance(5000);
      assert.equal(slave!.said(/^mappedFileSizeCommitLog/), 0);
    });
  });
});

describe("two brokers of one id", () => {
  it("are said by the one that comes second, and by the NameServer; one that comes back is not", async () => {
    const world = new SimulatedWorld(12);
    const master = new Node(world, "master", { brokerRole: "ASYNC_MASTER", namesrvEnable: true });
    const namesrvAddr = `${master.host.address}:9876`;
    const slaves = ["s1", "s2"].map((name) => new Node(world, name, { brokerRole: "SLAVE", brokerId: 1, namesrvAddr }));
    const [first, second] = slaves as [Node, Node];
    const shared = (node: Node) => node.said(/^Another live broker has brokerId/);
    await master.start();
    await first.start();
    await world.run(() => first.said(/^Registered with the NameServer/) === 1, 10_000);
    // It dies and comes back where it was, as far as the NameServer knows still there.
    first.host.crash();
    await first.start();
    await world.run(() => first.said(/^Registered with the NameServer/) === 2, 10_000);
    assert.deepEqual([shared(first), master.said(/replace each other/)], [0, 0]);
    await second.start();
    await world.run(() => shared(second) === 1, 10_000);
    assert.match(
      second.logger.lines.find(({ message }) => /^Another live/.test(message))!.message,
      /brokerId 1 of "b".* another --broker-id/,
    );
    await world.run(() => master.said(/replace each other/) > 0, 60_000);
    await world.advance(120_000);
    assert.equal(shared(second), 1, "once");
    // Two masters of one name have a word of their own.
    assert.equal(shared(master), 0);
    for (const node of [first, second, master]) await node.stop();
  });
});

describe("a node whose tables can't be read", () => {
  it("does not start, names the file and what to do, and lets go of the store; without them it starts", async () => {
    const world = new SimulatedWorld(11);
    const node = new Node(world, "n", { brokerRole: "ASYNC_MASTER" });
    await node.start();
    await node.stop();
    const { fs } = node.host.runtime;
    for (const name of ["consumerOffset.json", "subscriptionGroup.json", "topics.json", "consumerFilter.json"]) {
      const path = `/store/config/${name}`;
      fs.makeDirectory("/store/config");
      for (const each of [path, `${path}.bak`]) fs.writeFile(each, BODY);
      await assert.rejects(node.start(), (error: Error) => {
        assert.equal(error.name, "StoreError");
        assert.ok(error.message.includes(`"${path}"`) && error.message.includes(`"${path}.bak"`), error.message);
        assert.match(error.message, /restore .* or remove it and its \.bak/);
        return true;
      });
      for (const each of [path, `${path}.bak`]) fs.remove(each);
    }
    await node.start();
    await node.stop();
  });
});

describe("a slave of a slave", () => {
  /** Three in a row; `resync` for the one in the middle. */
  async function chain(
    resync: boolean,
    test: (nodes: { world: SimulatedWorld; top: Node; middle: Node; end: Node }) => Promise<void>,
  ) {
    const world = new SimulatedWorld(8);
    const top = new Node(world, "top", { brokerRole: "ASYNC_MASTER" });
    const middle = new Node(world, "middle", { brokerRole: "SLAVE", haMasterAddress: top.ha, resync });
    const end = new Node(world, "end", { brokerRole: "SLAVE", brokerId: 2, haMasterAddress: middle.ha });
    await top.start();
    for (let i = 0; i < 300; i++) await top.putStatus();
    await middle.start();
    await end.start();
    await world.run(() => [middle, end].every((node) => node.status.maxOffset === top.status.maxOffset), 60_000);
    await test({ world, top, middle, end });
    for (const node of [end, middle, top]) await node.stop();
    for (const node of [end, middle, top]) assert.deepEqual(node.fatal, []);
  }

  it("gets what its master gets, and goes on when that one is promoted", async () => {
    await chain(false, async ({ world, top, middle, end }) => {
      await top.putStatus();
      await world.run(() => end.status.maxOffset === top.status.maxOffset, 200);
      assert.equal(end.status.master?.verified, true);
      assert.equal(middle.status.slaves.length, 1);
      assert.equal(middle.status.inSyncSlaveNums, 1);
      top.host.kill();
      await world.advance(10_500);
      await world.drive(middle.admin.switchRole({ role: "SYNC_MASTER" }));
      assert.equal(await middle.putStatus(), "PUT_OK", "its slave was never dropped");
      assert.equal(end.status.maxOffset, middle.status.maxOffset);
      await top.start({ forceRole: true, brokerRole: "SLAVE", haMasterAddress: middle.ha });
      await world.run(
        () => top.status.maxOffset === middle.status.maxOffset && top.status.master?.verified === true,
        30_000,
      );
    });
  });

  it("stops loudly when its master cuts its own log, and keeps its bytes", async () => {
    await chain(true, async ({ world, top, middle, end }) => {
      const common = top.status.maxOffset;
      // The middle one goes its own way for a while, and the end one follows it there.
      await world.drive(middle.admin.switchRole({ role: "ASYNC_MASTER", force: true }));
      for (let i = 0; i < 5; i++) await middle.putStatus();
      await world.run(() => end.status.maxOffset === middle.status.maxOffset, 1000);
      const parted = end.status.maxOffset;
      for (let i = 0; i < 20; i++) await top.putStatus();
      await world.drive(middle.admin.switchRole({ role: "SLAVE", masterAddress: top.ha }));
      await world.run(
        () => middle.status.maxOffset === top.status.maxOffset && middle.status.master?.verified === true,
        60_000,
      );
      assert.equal(middle.said(/^Resynchronized/), 1);
      await world.run(() => end.status.master?.state === "SUSPEND", 60_000);
      assert.equal(end.status.maxOffset, parted);
      assert.match(end.status.master!.reason!, /differs|ends at/);
      assert.match(end.admin.notReadyReason()!, /Not following a master/);
      assert.ok(common < parted);
      const divergences = end.admin.metricFigures().find((figure) => figure.labels.event === "divergences");
      assert.equal(divergences?.value, 1);
      assert.equal(end.said(/^Stopped following master/), 1);
    });
  });
});

describe("an old master that took puts beside its successor", () => {
  it("stops as its slave and names the remedy; told to resync while it runs, it sets them aside and follows", async () => {
    await group({ slaves: 1, master: { brokerRole: "ASYNC_MASTER" } }, async ({ world, master: old, slaves }) => {
      const successor = slaves[0]!;
      for (let i = 0; i < 5; i++) await old.putStatus();
      await world.run(() => successor.status.maxOffset === old.status.maxOffset, 5000);
      const common = old.status.maxOffset;
      world.network.partition("master", "slave0");
      await world.drive(successor.admin.switchRole({ role: "ASYNC_MASTER", force: true }));
      for (let i = 0; i < 3; i++) await old.putStatus({ KEYS: "only-here" });
      for (let i = 0; i < 4; i++) await successor.putStatus();
      world.network.heal("master", "slave0");
      const toSlave = (resync: boolean) =>
        world.drive(old.admin.switchRole({ role: "SLAVE", masterAddress: successor.ha, resync }));
      assert.deepEqual(await toSlave(false), { type: "done" });
      await world.run(() => old.status.master?.state === "SUSPEND", 30_000);
      assert.match(old.status.master!.remedy!, /role slave --resync/);
      assert.ok(old.status.maxOffset > common);
      assert.deepEqual(await toSlave(true), { type: "done" });
      await world.run(
        () => old.status.master?.verified === true && old.status.maxOffset === successor.status.maxOffset,
        30_000,
      );
      assert.equal(old.said(new RegExp(`^Resynchronized: .* bytes ${common} to \\d+ are set aside in /store/`)), 1);
      assert.equal(old.status.master!.remedy, null);
      await world.run(() => old.admin.queues("T")![0]!.maxOffset === 9, 1000);
      const key = { topic: "T", key: "only-here", maxNum: 9, begin: 0, end: Number.MAX_SAFE_INTEGER };
      assert.deepEqual(await world.drive(old.admin.readByKey(key)), []);
    });
  });
});

describe("stopping", () => {
  it("takes less than 5 s with a NameServer that can't be reached, a hanging one and a waiting put", async () => {
    const world = new SimulatedWorld(6);
    const hanging = world.host("hanging");
    const listener = await world.drive(hanging.runtime.net.listen({ hostname: "0.0.0.0", port: 9876 }));
    const gone = world.host("gone");
    const master = new Node(world, "master", {
      brokerRole: "SYNC_MASTER",
      slaveTimeout: 60_000,
      namesrvAddr: `${gone.address}:9876;${hanging.address}:9876`,
    });
    const slave = new Node(world, "slave", { brokerRole: "SLAVE", haMasterAddress: master.ha });
    world.network.partition("master", "gone");
    await master.start();
    const firstStopAt = world.nowMs;
    await master.stop();
    assert.ok(world.nowMs - firstStopAt < 1000, `${world.nowMs - firstStopAt} ms while it still connects`);
    await master.start();
    await slave.start();
    await world.run(() => master.status.inSyncSlaveNums === 1, 30_000);
    world.network.partition("master", "slave");
    await world.advance(2500);
    const put = master.put();
    await world.advance(100);
    const startedAt = world.nowMs;
    await master.stop();
    assert.ok(world.nowMs - startedAt < 2500, `${world.nowMs - startedAt} ms`);
    assert.equal((await world.drive(put)).status, "FLUSH_SLAVE_TIMEOUT");
    await slave.stop();
    listener.close();
  });
});

describe("an address that is not this machine's", () => {
  it("is told by the flag that names it, as something that another start may mend", async () => {
    const world = new SimulatedWorld(1);
    await assert.rejects(new Node(world, "master", { bindAddress: "192.0.2.9" }).start(), {
      name: "IoError",
      kind: "noAddress",
      message: '--bind-address is "192.0.2.9", wanted an address of this machine (EADDRNOTAVAIL)',
    });
  });
});

describe("a port that is taken", () => {
  it("is told once, by what it is and the flag to give", async () => {
    const cases: [number, Partial<Config>, string][] = [
      [
        10912,
        {},
        "HA port 0.0.0.0:10912 is in use: it goes by --listen-port 10911 unless --ha-listen-port is given, give another of the two",
      ],
      [10999, { haListenPort: 10999 }, "HA port 0.0.0.0:10999 is in use, give another --ha-listen-port"],
      [10911, {}, "Remoting port 0.0.0.0:10911 is in use, give another --listen-port"],
      [
        10909,
        {},
        "VIP port 0.0.0.0:10909 is in use: it goes by --listen-port 10911 unless --vip-listen-port is given, give another of the two",
      ],
      [
        10913,
        { adminAddress: "127.0.0.1:10913" },
        "Admin address 127.0.0.1:10913 is in use: it goes by --listen-port 10911 unless --admin-address is given, give another of the two",
      ],
    ];
    for (const [port, options, message] of cases) {
      const world = new SimulatedWorld(1);
      const node = new Node(world, "master", options);
      await world.drive(node.host.runtime.net.listen({ hostname: "127.0.0.1", port }));
      await assert.rejects(node.start(), { name: "IoError", kind: "inUse", message });
    }
  });
});
