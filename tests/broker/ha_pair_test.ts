// Our slave at our master, on simulated machines: one seed per run, so a failure can be run again.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IoError } from "../../src/base/errors.ts";
import { HAClientDriver, type HAClientDriverOptions } from "../../src/broker/ha_client_driver.ts";
import { HAMasterDriver } from "../../src/broker/ha_master_driver.ts";
import { HAService } from "../../src/ha/ha_service.ts";
import { type NetworkOptions, type SimulatedHost, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { haOptions, MemoryLogger } from "../support/ha_options.ts";
import { MemoryReplicaLog } from "../support/memory_replica_log.ts";

const F = 64 * 1024;

/** A master and a slave with logs in memory on two simulated hosts. */
class Pair {
  readonly world: SimulatedWorld;
  readonly masterLog = new MemoryReplicaLog({ mappedFileSize: F });
  readonly log = new MemoryReplicaLog({ mappedFileSize: F });
  readonly masterLogger = new MemoryLogger();
  readonly logger = new MemoryLogger();
  readonly service: HAService;
  readonly #masterDriver: HAMasterDriver;
  readonly driver: HAClientDriver;
  readonly #master: SimulatedHost;
  readonly #fatal: unknown[] = [];
  canAsk = true;

  constructor(seed: number, options: Partial<HAClientDriverOptions> = {}, network: Partial<NetworkOptions> = {}) {
    this.world = new SimulatedWorld(seed, { network });
    this.#master = this.world.host("master");
    const slave = this.world.host("slave");
    const onFatal = (error: unknown) => void this.#fatal.push(error);
    this.service = new HAService({
      log: this.masterLog,
      options: haOptions(),
      role: "ASYNC_MASTER",
      logger: this.masterLogger,
    });
    this.#masterDriver = new HAMasterDriver({
      net: this.#master.runtime.net,
      clock: this.#master.runtime.clock,
      log: this.masterLog,
      service: this.service,
      logger: this.masterLogger,
      onFatal,
    });
    this.driver = new HAClientDriver({
      net: slave.runtime.net,
      clock: slave.runtime.clock,
      random: slave.runtime.random,
      logger: this.logger,
      log: this.log,
      askMaster: () => {
        const { minOffset, maxOffset } = this.masterLog;
        return Promise.resolve(this.canAsk ? { minOffset, maxOffset } : null);
      },
      onFatal,
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

  async start(): Promise<void> {
    const bound = await this.world.drive(this.#masterDriver.start({ hostname: "0.0.0.0", port: 10912 }));
    this.driver.updateMasterAddress(`${this.#master.address}:${bound.port}`);
    this.driver.start();
  }

  async stop(): Promise<void> {
    await this.world.drive(this.driver.stop());
    await this.world.drive(this.#masterDriver.stop());
    assert.deepEqual(this.#fatal, []);
  }

  /** What must hold at any time: the slave's log is a piece of the master's, and no ack is ahead of the slave's log. */
  check(): void {
    const { log, masterLog } = this;
    assert.ok(log.maxOffset <= masterLog.maxOffset);
    assert.ok(Buffer.compare(log.slice(), masterLog.slice(log.minOffset, log.maxOffset)) === 0, "logs differ");
    assert.ok(this.service.push2SlaveMaxOffset <= Math.max(log.maxOffset, 1));
  }

  async until(condition: () => boolean, deadlineMs = 120_000): Promise<void> {
    await this.world.run(condition, deadlineMs);
  }

  get caughtUp(): boolean {
    return this.driver.status.state === "following" && this.log.maxOffset === this.masterLog.maxOffset;
  }
}

async function withPair(pair: Pair, test: (pair: Pair) => Promise<void>): Promise<void> {
  await pair.start();
  await test(pair);
  await pair.stop();
}

describe("our slave at our master", () => {
  it("copies the whole history, also when it can't ask for the range", async () => {
    for (const canAsk of [true, false]) {
      const pair = new Pair(1);
      pair.canAsk = canAsk;
      pair.masterLog.fillTo(3 * F + 777);
      await withPair(pair, async () => {
        await pair.until(() => pair.caughtUp);
        assert.deepEqual(pair.log.slice(), pair.masterLog.slice());
        await pair.until(() => pair.service.push2SlaveMaxOffset === pair.masterLog.maxOffset);
      });
    }
  });

  it("follows an empty master at once, waits there, and takes a single record at once", async () => {
    const pair = new Pair(2);
    await withPair(pair, async () => {
      await pair.until(() => pair.driver.status.state === "following", 1000);
      await pair.world.advance(12_000);
      assert.equal(pair.driver.status.state, "following");
      assert.equal(pair.log.maxOffset, 0);
      pair.masterLog.put(100);
      await pair.until(() => pair.caughtUp, 20);
    });
  });

  it("starts at the min of a master that has expired files", async () => {
    const pair = new Pair(3);
    pair.masterLog.fillTo(4 * F);
    pair.masterLog.startAt(2 * F);
    await withPair(pair, async () => {
      await pair.until(() => pair.caughtUp);
      assert.equal(pair.log.minOffset, 2 * F);
      pair.check();
    });
  });

  it("stops when the master came back shorter, wherever it was cut, and a resync mends it", async () => {
    const full = new MemoryReplicaLog({ mappedFileSize: F });
    full.fillTo(F + 5000);
    for (const cut of [0, 136, F - 136 * 4, full.maxOffset - 136]) {
      const pair = new Pair(4);
      pair.log.appendReplica(0, full.slice());
      const last = pair.log.lastRecordOffset;
      pair.masterLog.fillTo(cut);
      assert.ok(pair.masterLog.maxOffset <= last);
      await withPair(pair, async () => {
        await pair.until(() => pair.driver.status.state === "diverged");
        assert.equal(pair.log.maxOffset, full.maxOffset, "nothing is cut unasked");
        await pair.world.advance(60_000);
        assert.equal(pair.driver.status.counters.connects <= 2, true, "no blind retry");
        assert.equal(pair.driver.resync(), true);
        await pair.until(() => pair.caughtUp);
        pair.check();
      });
    }
  });

  it("stops at a hole", async () => {
    const pair = new Pair(5);
    pair.masterLog.fillTo(3 * F);
    pair.log.appendReplica(0, pair.masterLog.slice(0, 136 * 10));
    pair.masterLog.startAt(2 * F);
    await withPair(pair, async () => {
      await pair.until(() => pair.driver.status.state === "hole");
      assert.equal(pair.log.maxOffset, 136 * 10);
    });
  });

  it("survives a partition of any length", async () => {
    const pair = new Pair(6);
    pair.masterLog.fillTo(10_000);
    await withPair(pair, async () => {
      await pair.until(() => pair.caughtUp);
      for (const ms of [3000, 15_000, 45_000]) {
        pair.world.network.partition("master", "slave");
        pair.masterLog.fillTo(pair.masterLog.maxOffset + 5000);
        await pair.world.advance(ms);
        pair.check();
        pair.world.network.heal();
        await pair.until(() => pair.caughtUp);
        pair.check();
      }
    });
  });

  for (const seed of [11, 12, 13, 14]) {
    it(`stays a piece of its master through resets, splits and a full disk, seed ${seed}`, async () => {
      const network = { splitPerMillion: 500_000, resetPerMillion: 20_000, connectLossPerMillion: 50_000 };
      const pair = new Pair(seed, {}, network);
      await withPair(pair, async () => {
        for (let round = 0; round < 150; round++) {
          pair.masterLog.put(1 + (round * 7919 + seed) % 5000);
          if (round % 29 === 7) pair.log.appendError = new IoError("noSpace", "No space left on device", "ENOSPC");
          await pair.world.advance(round % 50 === 0 ? 6000 : 20);
          pair.check();
        }
        await pair.until(() => pair.caughtUp, 600_000);
        pair.check();
        const { counters } = pair.driver.status;
        assert.ok(counters.disconnects > 0, "the faults happened");
        assert.ok(counters.appendErrors > 0);
        assert.equal(counters.divergences + counters.holes, 0);
      });
    });
  }
});
