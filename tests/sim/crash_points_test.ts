// A whole node that changes its role, and every loss of power on the way: at each write and sync boundary, with every
// subset of the last unsynced changes within a bound. tests/store/crash_points_test.ts does the same to a store alone.
// TWINLOG_NIGHTLY=1 widens the bound.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { PutOutcome } from "../../src/admin/admin_port.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { createConfig } from "../../src/config/load.ts";
import type { BrokerRole, Config } from "../../src/config/schema.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { type SimulatedHost, SimulatedWorld, WALL_START_MS } from "../../src/runtime/simulated/mod.ts";
import { verifyStore } from "../../src/store/store_verify.ts";
import { CrashJournal, type DiskImage, loadImage } from "../store/crash_journal.ts";
import { imageOf, leftDisks } from "../store/crash_points.ts";
import { checkDerived, deriveRecords, nextQueueOffsets } from "../store/derived_check.ts";

const isNightly = (await loadRuntime()).process.env("TWINLOG_NIGHTLY") === "1";
const SUBSETS_OF = isNightly ? 8 : 5;
const HOUR_MS = 3_600_000;
const ROOT = "/store";
const HA_PORT = 10912;
const SHAPE = {
  mappedFileSizeCommitLog: 8 * 1024,
  mappedFileSizeConsumeQueue: 400,
  maxHashSlotNum: 50,
  maxIndexNum: 600,
};
const SETTINGS: Partial<Config> = {
  ...SHAPE,
  adminAddress: null,
  listenPort: 10911,
  storePathRootDir: ROOT,
  brokerName: "sim",
  haSendHeartbeatInterval: 500,
  haHousekeepingInterval: 2_000,
  flushIntervalConsumeQueue: 50,
  flushConsumeQueueThoroughInterval: 100,
  flushIntervalCommitLog: 50,
  flushCommitLogThoroughInterval: 100,
};

/** What held when the journal was `at` long. */
interface Mark {
  readonly at: number;
  readonly log: Uint8Array;
  readonly stored: number;
  readonly role: BrokerRole;
}

function start(runtime: Runtime, settings: Partial<Config>): Promise<BrokerNode> {
  const { config } = createConfig({ ...SETTINGS, ...settings }, runtime.process);
  const onFatal = (error: unknown) => {
    throw error;
  };
  return startBroker({ config, runtime, logger: { debug() {}, info() {}, warn() {}, error() {} }, onFatal });
}

function put({ admin }: BrokerNode, text: string, queueId: number, topic = "T"): Promise<PutOutcome> {
  const properties = new Map([["KEYS", `k${text}`], ["UNIQ_KEY", `u${text}`]]);
  return admin.put({ topic, queueId, body: new TextEncoder().encode(text.padEnd(400)), properties, flag: 0 });
}

function logOf({ disk }: SimulatedHost, from: number, end: number): Uint8Array {
  const parts: Uint8Array[] = [];
  for (let at = from; at < end;) {
    const fileStart = at - at % SHAPE.mappedFileSizeCommitLog;
    const size = Math.min(end, fileStart + SHAPE.mappedFileSizeCommitLog) - at;
    parts.push(disk.peek(`${ROOT}/commitlog/${String(fileStart).padStart(20, "0")}`, at - fileStart, size));
    at += size;
  }
  return Buffer.concat(parts);
}

/** A slave that becomes a master, takes messages, and becomes a slave again; only its own disk is recorded. */
class RoleTrace {
  readonly journal = new CrashJournal();
  readonly marks: Mark[] = [];
  /** Where in the journal the first role change begins. */
  from = 0;
  readonly slaveSettings: Partial<Config>;
  readonly #world = new SimulatedWorld(3);
  readonly #host: SimulatedHost;
  readonly #master: SimulatedHost;
  #node: BrokerNode | null = null;

  constructor() {
    this.#master = this.#world.host("master");
    this.#host = this.#world.host("slave");
    this.slaveSettings = { brokerRole: "SLAVE", brokerId: 1, haMasterAddress: `${this.#master.address}:${HA_PORT}` };
  }

  async run(): Promise<void> {
    const { runtime } = this.#host;
    const master = await this.#world.drive(start(this.#master.runtime, { brokerRole: "ASYNC_MASTER" }));
    const recorded = { ...runtime, fs: this.journal.record(runtime.fs) };
    const node = this.#node = await this.#world.drive(start(recorded, this.slaveSettings));
    for (let i = 0; i < 11; i++) await this.#world.drive(put(master, `m${i}`, i % 2));
    const { maxOffset } = master.admin.status();
    await this.#world.run(() => node.admin.status().maxOffset === maxOffset, 60_000);
    await this.#world.advance(30);
    // The last ones may come at any time while the role changes; whoever came first counts.
    for (let i = 0; i < 3; i++) await this.#world.drive(put(master, `late${i}`, i % 2));
    const end = master.admin.status().maxOffset;
    await this.#world.run(() => node.admin.status().maxOffset === end, 60_000);
    this.from = this.journal.length;
    this.#mark();
    await this.#world.drive(this.#watched(node.admin.switchRole({ role: "ASYNC_MASTER", force: true })));
    this.#mark();
    // The second fills the file.
    for (let i = 0; i < 5; i++) {
      // A topic of its own is one more file to write.
      await this.#world.drive(this.#watched(put(node, `own${i}`, i % 2, i === 2 ? "U" : "T")));
      this.#mark();
    }
    await this.#world.advance(120);
    this.#mark();
    const masterAddress = `${this.#master.address}:${HA_PORT}`;
    await this.#world.drive(this.#watched(node.admin.switchRole({ role: "SLAVE", masterAddress })));
    this.#mark();
    await this.#world.advance(200);
    this.#mark();
  }

  /** A mark as soon as it is done, before anything else happens. */
  async #watched(work: Promise<{ readonly type: string } | PutOutcome>): Promise<void> {
    const result = await work;
    if ("type" in result) assert.equal(result.type, "done");
    else assert.equal(result.status, "PUT_OK");
    this.#mark();
  }

  #mark(): void {
    const { maxOffset, flushedOffset, brokerRole } = this.#node!.admin.status();
    const log = logOf(this.#host, 0, maxOffset);
    this.marks.push({ at: this.journal.length, log, stored: flushedOffset, role: brokerRole });
  }
}

/** Starts a node on the disk that is left, and checks what was promised, what it is, and that it goes on. */
async function tryDisk(trace: RoleTrace, image: DiskImage, points: readonly number[]): Promise<BrokerRole> {
  const world = new SimulatedWorld(1, { wallStartMs: WALL_START_MS + HOUR_MS });
  const host = world.host("slave");
  loadImage(host.runtime.fs, image);
  host.kill();
  const node = await world.drive(start(host.restart(), trace.slaveSettings));
  const { brokerRole, minOffset, maxOffset } = node.admin.status();
  for (const point of points) checkPromises(trace, point, { brokerRole, log: logOf(host, minOffset, maxOffset) });
  if (brokerRole === "SLAVE") {
    const outcome = await world.drive(node.admin.switchRole({ role: "ASYNC_MASTER", force: true }));
    assert.equal(outcome.type, "done");
  }
  const log = logOf(host, 0, maxOffset);
  const next = nextQueueOffsets(deriveRecords(log, 0, SHAPE.mappedFileSizeCommitLog));
  for (const queueId of [0, 1]) {
    const { status, stored } = await world.drive(put(node, `next${queueId}`, queueId));
    assert.deepEqual([status, stored?.queueOffset], ["PUT_OK", next.get(`T/${queueId}`) ?? 0], `queue ${queueId}`);
  }
  // What a crash took of the index is built again beside the rest.
  await world.advance(3_000);
  const end = node.admin.status().maxOffset;
  await world.drive(node.stop());
  const verified = await world.drive(verifyStore(host.runtime.fs, ROOT, SHAPE));
  assert.deepEqual([verified.finding, verified.notes, verified.maxOffset], [null, [], end]);
  const files = new Map([...imageOf(host).files].map(([path, bytes]) => [path.slice(ROOT.length), bytes]));
  checkDerived(files, deriveRecords(logOf(host, 0, end), 0, SHAPE.mappedFileSizeCommitLog), 0, SHAPE);
  return brokerRole;
}

function checkPromises(trace: RoleTrace, point: number, left: { brokerRole: BrokerRole; log: Uint8Array }): void {
  const last = trace.marks.findLastIndex((mark) => mark.at <= point);
  const marks = trace.marks.slice(last, last + 2);
  const [before] = marks;
  assert.ok(left.log.length >= before!.stored, `log ends at ${left.log.length}, ${before!.stored} was flushed`);
  const written = marks.at(-1)!.log.subarray(0, left.log.length);
  assert.equal(Buffer.compare(left.log, written), 0, "the log is a piece of what was written");
  const roles = marks.map((mark) => mark.role);
  assert.ok(roles.includes(left.brokerRole), `woke up as ${left.brokerRole}, was ${roles.join(" or ")} at ${point}`);
}

describe("a node that changes its role, a loss of power at every point", () => {
  it("wakes up as what it was told to be, with what it promised", async () => {
    const trace = new RoleTrace();
    await trace.run();
    const { disks, points, losses } = leftDisks(trace.journal, SUBSETS_OF, trace.from);
    const roles = { SLAVE: 0, ASYNC_MASTER: 0, SYNC_MASTER: 0 };
    for (const disk of disks) {
      try {
        roles[await tryDisk(trace, disk.image(), disk.points)]++;
      } catch (error) {
        throw new Error(disk.story, { cause: error });
      }
    }
    const woke = `woke up as slave ${roles.SLAVE} times, as master ${roles.ASYNC_MASTER} times`;
    console.log(`role change: ${points} crash points, ${losses} losses, ${disks.length} disks; ${woke}`);
    assert.ok(points > 60 && disks.length > 900 && roles.SLAVE > 200 && roles.ASYNC_MASTER > 200, woke);
  });
});
