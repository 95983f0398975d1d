// Chaos with real processes, sockets and files: clusters of a master and three slaves on all runtimes and Apache's broker,
// under load, while nodes are killed, paused and wiped, links delayed, split, cut and silenced, and masters replaced; and
// nodes on a disk that is really full. All promises are judged from outside, by what was answered and what the files hold.
//
// TWINLOG_CHAOS_SEED replays the schedule of faults (the machine's own timing differs, of course); TWINLOG_NIGHTLY runs for
// half an hour instead of some three minutes.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import { ChaosCluster, CONVERGE_MS, noClusterCounts } from "./lab/chaos_cluster.ts";
import { ChaosLoad } from "./lab/chaos_load.ts";
import { ChaosNode, FILE_SIZE, type NodeKind } from "./lab/chaos_node.ts";
import { describeStep, runStep, Schedule } from "./lab/chaos_schedule.ts";
import { assertSameLog, assertSameQueues } from "./lab/compare.ts";
import { noLinkCounts } from "./lab/faulty_proxy.ts";
import { generator, shuffled } from "./lab/generator.ts";
import { readLog } from "./lab/log_records.ts";
import { freeBrokerPort, run, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { canMount, mountSmallDisk, unmount } from "./lab/tmpfs.ts";
import { cliCommand, RUNTIMES } from "./lab/twinlog.ts";

const MIB = 1024 * 1024;
const seed = Number(process.env.TWINLOG_CHAOS_SEED ?? Math.floor(Math.random() * 2 ** 31));
const isNightly = process.env.TWINLOG_NIGHTLY !== undefined;
/** Each kind of master has rounds until this has passed, ms; the first round is always finished. */
const BUDGET_MS = isNightly ? 7 * 60_000 : 0;
const STEPS = isNightly ? 12 : 5;
/** No Twinlog node may ever be larger, with the file pages it maps. */
const RESIDENT_MAX = 320 * MIB;
const java = await hasJava();

/** The stores at rest: equal bytes, equal queues, verified, and every promise kept on each of them. */
async function judge(
  { nodes, master, slaves }: Pick<ChaosCluster, "nodes" | "master" | "slaves">,
  load: ChaosLoad,
  end: number,
): Promise<void> {
  assert.ok(load.promised > 100, `only ${load.promised} messages were promised`);
  for (const node of nodes) {
    const log = readLog(node.store, FILE_SIZE);
    assert.equal(log.end, end, `${node} ends`);
    load.assertHeld(log, String(node));
    assert.deepEqual(log.doubles, [], `${node} holds messages twice`);
    await verify(node);
  }
  for (const slave of slaves) {
    assertSameLog(master.store, slave.store, 0, end, FILE_SIZE);
    assertSameQueues(master.store, slave.store, 0, end);
  }
  for (const node of nodes) {
    if (node.isApache) continue;
    assert.ok(node.residentMax < RESIDENT_MAX, `${node} took ${Math.round(node.residentMax / MIB)} MiB`);
  }
}

async function verify(node: ChaosNode): Promise<void> {
  const [command, leading] = cliCommand(node.kind === "apache" ? "bun" : node.kind);
  await run(command, [...leading, "verify", node.store]);
}

describe(`chaos (seed ${seed})`, () => {
  const directory = scratch("chaos");
  const faults = new Map<string, number>();
  const linkCounters = noLinkCounts();
  const counters = noClusterCounts();
  let lab: ApacheLab | null = null;
  let namesrv = "";
  let rounds = 0;

  before(async () => {
    if (!java) return;
    lab = await ApacheLab.create("5.3.3", directory);
    namesrv = (await lab.startNamesrv()).address;
  });
  after(() => {
    console.log(`seed ${seed}: ${rounds} rounds; faults ${JSON.stringify(Object.fromEntries(faults))}`);
    console.log(`links ${JSON.stringify(linkCounters)}; cluster ${JSON.stringify(counters)}`);
  });

  async function runRound(kinds: readonly NodeKind[], schedule: Schedule): Promise<void> {
    const { random } = schedule;
    const say = (line: string) => console.log(line);
    const name = `chaos${rounds++}`;
    const folder = path.join(directory, name);
    fs.mkdirSync(folder);
    const flags = [
      "--flush-disk-type",
      random(3) === 0 ? "SYNC_FLUSH" : "ASYNC_FLUSH",
      "--ha-ack-after-flush",
      String(random(3) === 0),
    ];
    const steps = schedule.drawSteps(STEPS);
    const heir = RUNTIMES[random(RUNTIMES.length)]!;
    say(`${name}: ${kinds.join(", ")}; ${flags.join(" ")}`);
    const load = new ChaosLoad(name, folder, lab, namesrv);
    const setting = { directory: folder, brokerName: name, lab, namesrv, flags };
    const parts = { random: generator(random(2 ** 30)), load, linkCounters, counters, heir, say };
    const cluster = await ChaosCluster.create(kinds, setting, parts);
    try {
      await cluster.start();
      for (const step of steps) {
        say(describeStep(step));
        await runStep(cluster, step, faults);
        cluster.check();
      }
      await load.end();
      const healedAt = performance.now();
      const end = await cluster.converge();
      const took = Math.round(performance.now() - healedAt);
      assert.ok(took < CONVERGE_MS, `converged after ${took} ms`);
      for (const node of [...cluster.slaves, cluster.master]) {
        const code = await node.stop();
        if (!node.isApache) assert.equal(code, 0, `${node} stopped with ${code}:\n${node.output()}`);
      }
      await judge(cluster, load, end);
      const memory = cluster.nodes.map((node) => `${node} ${Math.round(node.residentMax / MIB)} MiB`).join(", ");
      say(
        `${load.promised} promised of ${
          JSON.stringify(Object.fromEntries(load.answers))
        }, ${end} bytes; converged in ${took} ms; ${memory}`,
      );
    } catch (error) {
      const ends = cluster.nodes.map((node) => `---- ${node}, ${node.state}\n${node.output(2500)}`).join("\n");
      throw new Error(`${name} of seed ${seed}: ${(error as Error).message}\n${ends}`, { cause: error });
    } finally {
      await load.end();
      for (const node of cluster.nodes) if (node.state !== "down") await node.kill();
      await cluster.close();
    }
    if (!process.env.TWINLOG_KEEP) fs.rmSync(folder, { recursive: true });
  }

  const masters: NodeKind[] = [...shuffled(RUNTIMES, generator(seed)), "apache"];
  masters.forEach((master, place) => {
    const skip = master === "apache" && !java ? "no Java here" : false;
    const others = RUNTIMES.filter((runtime) => runtime !== master);
    const kinds: NodeKind[] = [master, ...others, ...(java && master !== "apache" ? ["apache" as const] : [])];
    it(`leaves nothing promised behind with a master on ${master}, slaves on ${kinds.slice(1).join(", ")}`, {
      skip,
      timeout: BUDGET_MS + 300_000,
    }, async () => {
      const started = performance.now();
      for (let round = 0; round === 0 || performance.now() - started < BUDGET_MS; round++) {
        await runRound(kinds, new Schedule(seed, place, round));
      }
    });
  });
});

describe("full disks", () => {
  const directory = scratch("full");
  const skip = canMount(path.join(directory, "probe")) ? false : "no tmpfs can be mounted here";
  RUNTIMES.forEach((runtime, at) => {
    const [second, third] = [RUNTIMES[(at + 1) % 3]!, RUNTIMES[(at + 2) % 3]!];
    it(`refuse puts on ${runtime} and stop a slave on ${second}, who live and go on once there is room`, {
      skip,
      timeout: 240_000,
    }, async () => {
      const name = `full-${runtime}`;
      const folder = path.join(directory, name);
      const disks = ["m", "a"].map((one) => mountSmallDisk(path.join(folder, one), 32 * MIB));
      // The index is sparse and its slots lie far apart: a small one, so that the disk is the log's.
      const flags = ["--max-hash-slot-num", "1000", "--max-index-num", "4000", "--clean-file-forcibly-enable", "false"];
      const setting = { directory: folder, brokerName: name, lab: null, namesrv: "", flags };
      const load = new ChaosLoad(name, folder, null, "");
      const stores = [...disks.map((disk) => path.join(disk.directory, "store")), path.join(folder, "store")];
      const nodes: ChaosNode[] = [];
      for (const [index, kind] of [runtime, second, third].entries()) {
        nodes.push(new ChaosNode(`n${index}`, kind, await freeBrokerPort(), setting, stores[index]));
      }
      const [master, full, roomy] = nodes as [ChaosNode, ChaosNode, ChaosNode];
      const morePromised = async (count: number) => {
        const before = load.promised;
        await until(`${count} more promises`, 30_000, () => {
          for (const node of nodes) node.check();
          return load.promised >= before + count;
        });
      };
      try {
        await master.start(null);
        await Promise.all([full, roomy].map((slave) => slave.start(master.address)));
        await load.target(master);
        await morePromised(50);

        // A slave's disk: it holds off and says so, the other one keeps the promise.
        disks[1]!.fill();
        await until(`${full} to say why it stops`, 30_000, () => full.output().includes("noSpace"));
        await morePromised(100);
        disks[1]!.free();
        await full.waitForMax(await master.maxOffset(), CONVERGE_MS);

        // The master's: every put is refused, it lives, and what it holds is still read and followed.
        disks[0]!.fill();
        await until("puts to be refused", 30_000, () => load.refused > 0);
        await load.target(null);
        // One that was begun before may have found room.
        await load.settled();
        const promised = load.promised;
        // A small one may still fit the file's last page.
        for (let i = 0; i < 20; i++) assert.notEqual(await load.put(master, 3 * 4096), "PUT_OK");
        assert.equal(load.promised, promised);
        master.check();
        await roomy.waitForMax(await master.maxOffset(), CONVERGE_MS);
        if (at !== 1) {
          // Killed with a full disk, and started once there is room.
          await master.kill();
          disks[0]!.free();
          await master.start(null);
        } else disks[0]!.free();
        await load.target(master);
        await morePromised(100);

        await load.end();
        const end = await master.maxOffset();
        for (const slave of [full, roomy]) await slave.waitForMax(end, CONVERGE_MS);
        for (const node of nodes) {
          await until(`${node} to dispatch`, CONVERGE_MS, async () => await node.dispatchBehindBytes() === 0);
        }
        for (const node of [full, roomy, master]) assert.equal(await node.stop(), 0, node.output());
        await judge({ nodes, master, slaves: [full, roomy] }, load, end);
        console.log(`${name}: ${load.promised} promised of ${JSON.stringify(Object.fromEntries(load.answers))}`);
      } finally {
        await load.end();
        for (const node of nodes) if (node.state !== "down") await node.kill();
        disks.forEach(unmount);
      }
    });
  });
});

describe("an old master that returns", () => {
  const directory = scratch("returns");
  RUNTIMES.forEach((runtime, at) => {
    it(`confirms nothing on ${runtime} by asking from where its own log ends`, { timeout: 120_000 }, async () => {
      const kinds = [RUNTIMES[(at + 1) % 3]!, runtime, RUNTIMES[(at + 2) % 3]!] as const;
      const folder = path.join(directory, runtime);
      fs.mkdirSync(folder);
      const setting = { directory: folder, brokerName: runtime, lab: null, namesrv: "", flags: [] };
      const nodes: ChaosNode[] = [];
      for (const [index, kind] of kinds.entries()) {
        nodes.push(new ChaosNode(`n${index}`, kind, await freeBrokerPort(), setting));
      }
      const [old, next, stalled] = nodes as [ChaosNode, ChaosNode, ChaosNode];
      // Records of one size each, so that the logs part and meet again at the same offset.
      const put = async (node: ChaosNode, letter: string): Promise<string> => {
        const body = { body: letter.repeat(500), keys: [letter], queueId: 0 };
        return (await node.twinlog.admin("POST", "/topics/Returns/messages", body)).status;
      };
      const follows = (node: ChaosNode) =>
        until(`${node} to follow`, 30_000, async () => (await node.twinlog.ha()).master?.verified === true);
      await old.start(null);
      await Promise.all([next, stalled].map((slave) => slave.start(old.address)));
      await Promise.all([next, stalled].map(follows));
      assert.equal(await put(old, "a"), "PUT_OK");
      // Nobody follows the old master any more, and it goes on: two messages that are nowhere else.
      for (const node of [next, stalled]) {
        await node.waitForMax(await old.maxOffset(), 10_000);
        await node.twinlog.admin("PUT", "/ha/master-address", { address: null });
      }
      await until("the slaves to be gone", 10_000, async () => (await old.twinlog.ha()).slaves.length === 0);
      assert.equal(await put(old, "b"), "SLAVE_NOT_AVAILABLE");
      assert.equal(await put(old, "c"), "SLAVE_NOT_AVAILABLE");
      await next.twinlog.admin("PUT", "/role", { role: "SYNC_MASTER", force: true });
      await next.twinlog.admin("PATCH", "/config", { slaveTimeout: 4000 });
      await stalled.follow(next.address);
      await follows(stalled);
      stalled.pause();
      // Waits for the stalled slave, while the old master asks from the end of just as many bytes.
      const endOfA = await next.maxOffset();
      const waiting = put(next, "d");
      await until("it to be written", 10_000, async () => (await next.maxOffset()) > endOfA);
      await old.follow(next.address);
      assert.equal(await waiting, "FLUSH_SLAVE_TIMEOUT");
      assert.equal((await old.twinlog.ha()).master.verified, false);
      stalled.resume();
      await stalled.waitForMax(await next.maxOffset(), 30_000);
      for (const node of nodes) assert.equal(await node.stop(), 0, node.output());
    });
  });
});
