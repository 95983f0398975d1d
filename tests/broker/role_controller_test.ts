// The order of a role change and what is refused, saved and said, with everything around the controller replaced by a
// list of calls.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deferred } from "../../src/base/async.ts";
import { IoError } from "../../src/base/errors.ts";
import type { HAClientDriver, HAClientStatus } from "../../src/broker/ha_client_driver.ts";
import { RoleController, type RoleParts } from "../../src/broker/role_controller.ts";
import type { RoleFile, SavedRole } from "../../src/broker/role_file.ts";
import type { Clock } from "../../src/runtime/runtime.ts";
import { MemoryLogger } from "../support/ha_options.ts";

const NOW = 1_000_000;
const OWN = "10.0.0.9:10912";

type Initial = ConstructorParameters<typeof RoleController>[1];

/** A controller and what it did to the rest. */
class Bench {
  readonly calls: string[] = [];
  readonly saved: SavedRole[] = [];
  readonly logger = new MemoryLogger();
  readonly roles: RoleController;
  status: Partial<HAClientStatus> = { state: "connecting", reason: "", maxOffset: 1000, lastReadTimestamp: 0 };
  /** What setting the store's role waits for. */
  storeGate: Promise<void> = Promise.resolve();
  saveError: Error | null = null;
  #listener: (status: HAClientStatus) => void = () => {};

  constructor(initial: Partial<Initial> = {}, parts: Partial<RoleParts> = {}) {
    const client = {
      onStateChange: (listener: (status: HAClientStatus) => void) => {
        this.#listener = listener;
        return () => {};
      },
      updateMasterAddress: (address: string | null) => void this.calls.push(`follow ${address}`),
      start: () => void this.calls.push("client starts"),
      resync: () => void this.calls.push("client resyncs"),
      stop: () => {
        this.calls.push("client stops");
        return Promise.resolve();
      },
    };
    Object.defineProperty(client, "status", { get: () => this.status });
    this.roles = new RoleController({
      clock: { now: () => NOW } as Clock,
      logger: this.logger,
      file: {
        path: "config/twinlogRole.json",
        save: (role: SavedRole) => {
          if (this.saveError !== null) throw this.saveError;
          this.saved.push(role);
        },
      } as unknown as RoleFile,
      client: client as unknown as HAClientDriver,
      setStoreRole: async (role) => {
        await this.storeGate;
        this.calls.push(`store ${role}`);
      },
      setServices: () => Promise.resolve(),
      setReplicationRole: (role) => void this.calls.push(`replication ${role}`),
      isOwnAddress: (address) => address === OWN,
      hasNamesrv: () => false,
      fencedReason: () => null,
      unfence: () => void this.calls.push("unfence"),
      onChanged: () => {},
      ...parts,
    }, { role: "SLAVE", brokerId: 1, masterAddress: null, ...initial });
  }

  clientBecomes(state: HAClientStatus["state"]): void {
    this.status = { ...this.status, state };
    this.#listener(this.status as HAClientStatus);
  }

  /** Calls since the last look. */
  took(): string[] {
    return this.calls.splice(0);
  }
}

function reasonOf(outcome: Awaited<ReturnType<RoleController["switchRole"]>>): string {
  return outcome.type === "refused" ? outcome.reason : "";
}

describe("RoleController", () => {
  it("stops the slave's side before the store takes puts, and saves last", async () => {
    const bench = new Bench({ masterAddress: "a:1" });
    await bench.roles.start();
    assert.deepEqual(bench.took(), ["replication SLAVE", "store slave", "follow a:1", "client starts"]);
    bench.clientBecomes("following");
    assert.deepEqual(await bench.roles.switchRole({ role: "SYNC_MASTER" }), { type: "done" });
    assert.deepEqual(bench.took(), ["client stops", "store master", "replication SYNC_MASTER", "unfence"]);
    assert.deepEqual(bench.saved, [{ brokerRole: "SYNC_MASTER", brokerId: 0, masterAddress: null, promotedAt: NOW }]);
    assert.deepEqual(await bench.roles.switchRole({ role: "SLAVE" }), { type: "done" });
    assert.deepEqual(bench.took(), ["store slave", "replication SLAVE", "follow a:1", "client starts", "unfence"]);
    assert.deepEqual(bench.saved.at(-1), { brokerRole: "SLAVE", brokerId: 1, masterAddress: "a:1", promotedAt: NOW });
  });

  it("objects to a promotion beside a live master, and of an end nobody has verified", async () => {
    const bench = new Bench({ masterAddress: "a:1" });
    bench.clientBecomes("following");
    bench.status = { ...bench.status, lastReadTimestamp: NOW - 9999 };
    assert.match(reasonOf(await bench.roles.switchRole({ role: "ASYNC_MASTER" })), /was heard 9999 ms ago/);
    bench.status = { ...bench.status, lastReadTimestamp: NOW - 10_000 };
    for (const state of ["unverified", "diverged", "hole"] as const) {
      bench.clientBecomes(state);
      assert.match(reasonOf(await bench.roles.switchRole({ role: "ASYNC_MASTER" })), /unverified/);
    }
    assert.deepEqual(bench.took(), [], "nothing was touched");
    bench.clientBecomes("following");
    bench.clientBecomes("connecting");
    assert.deepEqual(await bench.roles.switchRole({ role: "ASYNC_MASTER" }), { type: "done" });
  });

  it("needs no force for a planned promotion, but the master's end, verified", async () => {
    const bench = new Bench({ masterAddress: "a:1" });
    const planned = (masterEnd: number) => bench.roles.switchRole({ role: "ASYNC_MASTER", masterEnd });
    bench.status = { ...bench.status, lastReadTimestamp: NOW - 1 };
    assert.match(reasonOf(await planned(1000)), /unverified/);
    bench.clientBecomes("following");
    assert.match(reasonOf(await planned(1001)), /ends at 1000, wanted 1001, where the master stepped down/);
    assert.match(reasonOf(await planned(999)), /ends at 1000, wanted 999/);
    assert.match(reasonOf(await bench.roles.switchRole({ role: "SLAVE", masterEnd: 1000 })), /for a promotion only/);
    assert.deepEqual(bench.took(), [], "nothing was touched");
    assert.deepEqual(await planned(1000), { type: "done" });
    assert.deepEqual(bench.logger.lines.at(-1)?.fields, { brokerId: 0, forced: false, planned: true });
  });

  it("takes puts that are held off on a master by force only; as a slave it goes without", async () => {
    const fencedReason = () => "Started read-only: another has more";
    const bench = new Bench({ role: "ASYNC_MASTER", brokerId: 0, masterAddress: "a:1" }, { fencedReason });
    assert.match(reasonOf(await bench.roles.switchRole({ role: "ASYNC_MASTER" })), /another has more; give force/);
    assert.match(reasonOf(await bench.roles.switchRole({ role: "SYNC_MASTER" })), /give force/);
    assert.deepEqual(bench.took(), []);
    assert.deepEqual(await bench.roles.switchRole({ role: "SYNC_MASTER", force: true }), { type: "done" });
    assert.deepEqual(bench.took(), ["replication SYNC_MASTER", "unfence"]);
    assert.deepEqual(await bench.roles.switchRole({ role: "SLAVE" }), { type: "done" });
  });

  it("stays a slave, following, when the store can't become a master's", async () => {
    const bench = new Bench({ masterAddress: "a:1" });
    bench.storeGate = Promise.reject(new IoError("closed", "Dispatch stopped"));
    const outcome = await bench.roles.switchRole({ role: "ASYNC_MASTER", force: true });
    assert.match(reasonOf(outcome), /still a SLAVE: Dispatch stopped/);
    assert.deepEqual(bench.took(), ["client stops", "client starts"]);
    assert.equal(bench.roles.role, "SLAVE");
    assert.deepEqual(bench.saved, []);
  });

  it("gives up a promotion that hangs when the node stops, and starts nothing any more", async () => {
    const bench = new Bench({ masterAddress: "a:1" });
    bench.storeGate = deferred<void>().promise;
    const outcome = bench.roles.switchRole({ role: "ASYNC_MASTER", force: true });
    await Promise.resolve();
    await bench.roles.stop();
    assert.match(reasonOf(await outcome), /stops/);
    assert.ok(!bench.took().includes("client starts"));
    assert.match(reasonOf(await bench.roles.switchRole({ role: "SLAVE", masterAddress: "a:1" })), /stops/);
    assert.deepEqual(bench.took(), []);
  });

  it("is in force though it can't be saved, which is said", async () => {
    const bench = new Bench({ masterAddress: "a:1" });
    bench.saveError = new IoError("noSpace", "No space left on device");
    assert.deepEqual(await bench.roles.switchRole({ role: "ASYNC_MASTER", force: true }), { type: "done" });
    assert.equal(bench.roles.role, "ASYNC_MASTER");
    assert.ok(
      bench.logger.lines.some(({ level, message }) => level === "error" && /Can't save the role/.test(message)),
    );
  });

  it("refuses what makes no sense, each with its reason", async () => {
    const bench = new Bench();
    const slave = (change: object) => bench.roles.switchRole({ role: "SLAVE", ...change });
    assert.match(reasonOf(await slave({})), /needs masterAddress/);
    assert.match(reasonOf(await slave({ masterAddress: OWN })), /own HA address/);
    assert.match(reasonOf(await slave({ brokerId: 0, masterAddress: "a:1" })), /brokerId is 0/);
    assert.match(reasonOf(await bench.roles.updateMasterAddress(OWN)), /own HA address/);
    const master = (change: object) => bench.roles.switchRole({ role: "ASYNC_MASTER", force: true, ...change });
    assert.match(reasonOf(await master({ masterAddress: "a:1" })), /SLAVE only/);
    assert.match(reasonOf(await master({ brokerId: 2 })), /brokerId is 2/);
    assert.deepEqual(await master({}), { type: "done" });
    assert.match(reasonOf(await bench.roles.updateMasterAddress("a:1")), /only a SLAVE follows/);
  });

  it("lets a slave set aside what its master does not have, after all that would end such an order", async () => {
    const bench = new Bench({ role: "ASYNC_MASTER", brokerId: 0 }, { hasNamesrv: () => true });
    await bench.roles.start();
    bench.took();
    const resync = (masterAddress?: string) =>
      bench.roles.switchRole({
        role: "SLAVE",
        resync: true,
        ...(masterAddress === undefined ? {} : { masterAddress }),
      });
    assert.match(reasonOf(await resync()), /^resync needs masterAddress: whose log/);
    assert.match(reasonOf(await bench.roles.switchRole({ role: "SYNC_MASTER", resync: true })), /for a SLAVE only/);
    assert.deepEqual(bench.took(), [], "nothing was touched");
    assert.deepEqual(await resync("a:1"), { type: "done" });
    const begun = ["store slave", "replication SLAVE", "follow a:1", "client starts", "client resyncs", "unfence"];
    assert.deepEqual(bench.took(), begun);
    assert.deepEqual(await resync(), { type: "done" }, "of the master that is known");
    assert.deepEqual(bench.took(), ["follow a:1", "client resyncs", "unfence"]);
  });

  it("becomes a slave without an address where a NameServer names one, and takes that one", async () => {
    const bench = new Bench({ role: "ASYNC_MASTER", brokerId: 0 }, { hasNamesrv: () => true });
    assert.equal(bench.roles.awaitsMaster, false);
    assert.deepEqual(await bench.roles.switchRole({ role: "SLAVE" }), { type: "done" });
    assert.deepEqual(bench.took(), ["store slave", "replication SLAVE", "follow null", "client starts", "unfence"]);
    assert.equal(bench.roles.awaitsMaster, true);
    bench.roles.learnMasterAddress("a:1", "NameServer");
    assert.deepEqual(bench.took(), ["follow a:1"]);
    assert.equal(bench.roles.awaitsMaster, false);
    // Told to follow nobody it waits for no one, until it is asked to be a slave again.
    await bench.roles.updateMasterAddress(null);
    assert.equal(bench.roles.awaitsMaster, false);
    await bench.roles.switchRole({ role: "SLAVE" });
    assert.equal(bench.roles.awaitsMaster, true);
  });

  it("does not start to follow itself, and says so once", async () => {
    const bench = new Bench({ masterAddress: OWN });
    await bench.roles.start();
    assert.deepEqual(bench.took(), ["replication SLAVE", "store slave", "follow null", "client starts"]);
    assert.deepEqual(bench.logger.lines.map(({ level }) => level), ["error"]);
    assert.match(bench.logger.lines[0]!.message, /^Following nobody: .*own HA address/);
    bench.roles.learnMasterAddress("a:1", "NameServer");
    assert.deepEqual(bench.took(), [], "an address was given");
  });

  it("goes by the NameServer until an operator says otherwise, and saves only the operator's word", async () => {
    const bench = new Bench();
    bench.roles.learnMasterAddress("a:1", "NameServer");
    bench.roles.learnMasterAddress("a:1", "NameServer");
    bench.roles.learnMasterAddress(OWN, "NameServer");
    assert.deepEqual(bench.took(), ["follow a:1"]);
    await bench.roles.switchRole({ role: "SLAVE", brokerId: 4 });
    assert.equal(bench.saved.at(-1)!.masterAddress, null, "a learned address is not saved: it would pass for given");
    bench.took();
    bench.roles.learnMasterAddress("b:1", "NameServer");
    assert.deepEqual(bench.took(), ["follow b:1"]);
    await bench.roles.updateMasterAddress("c:1");
    assert.equal(bench.saved.at(-1)!.masterAddress, "c:1");
    bench.took();
    bench.roles.learnMasterAddress("b:1", "NameServer");
    assert.deepEqual(bench.took(), []);
    await bench.roles.updateMasterAddress(null);
    bench.roles.learnMasterAddress("b:1", "NameServer");
    assert.deepEqual(bench.took(), ["follow null"], "told to follow nobody, it follows nobody");
    bench.roles.adoptMasterAddress("d:1");
    assert.deepEqual(bench.took(), ["follow d:1"], "request 906 speaks for an operator");
  });
});
