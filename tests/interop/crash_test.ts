// Crashes of real processes: a SYNC_MASTER and its slave under load, one of them killed with SIGKILL at a random moment,
// again and again, on each runtime. It restarts by itself, nothing acknowledged is lost, and the logs stay twins.
// TWINLOG_CRASH_SEED replays the choice of victims and moments (the machine's own timing differs, of course).

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import { assertSameLog, assertSameQueues } from "./lab/compare.ts";
import { freeBrokerPort, pause, run, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { cliCommand, RUNTIMES, startTwinlog, type TwinlogNode } from "./lab/twinlog.ts";

const FILE = 1024 * 1024;
const KILLS = process.env.TWINLOG_NIGHTLY ? 200 : 18;
const seed = Number(process.env.TWINLOG_CRASH_SEED ?? Math.floor(Math.random() * 2 ** 31));

/** A small seeded generator (mulberry32): victims and moments can be replayed. */
function generator(state: number): (bound: number) => number {
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

describe(`crashes (seed ${seed})`, () => {
  const directory = scratch("crash");
  RUNTIMES.forEach((runtime, at) => {
    const other = RUNTIMES[(at + 1) % RUNTIMES.length]!;
    it(`${KILLS} kills of a ${runtime} master or its ${other} slave lose nothing acknowledged`, {
      timeout: KILLS * 15_000,
    }, async () => {
      const random = generator(seed + at);
      const ports = { master: await freeBrokerPort(), slave: await freeBrokerPort() };
      const common = [
        "--mapped-file-size-commit-log",
        String(FILE),
        "--flush-disk-type",
        random(2) === 0 ? "ASYNC_FLUSH" : "SYNC_FLUSH",
      ];
      const start = {
        master: () =>
          startTwinlog({
            runtime,
            directory,
            port: ports.master,
            store: path.join(directory, `${runtime}-m`),
            args: ["--role", "sync-master", "--in-sync-replicas", "2", "--slave-timeout", "1000", ...common],
          }),
        slave: () =>
          startTwinlog({
            runtime: other,
            directory,
            port: ports.slave,
            store: path.join(directory, `${runtime}-s`),
            args: ["--role", "slave", "--master", `127.0.0.1:${ports.master + 1}`, ...common],
          }),
      };
      const nodes: { master: TwinlogNode; slave: TwinlogNode } = {
        master: await start.master(),
        slave: await start.slave(),
      };
      const acknowledged = new Map<string, { physicalOffset: number; storeSize: number }>();
      let stop = false;
      const producers = Array.from({ length: 6 }, async (_, id) => {
        for (let i = 0; !stop; i++) {
          const key = `k${id}-${i}-end`;
          try {
            const answer = await nodes.master.admin("POST", `/topics/Crash${id % 2}/messages`, {
              body: "x".repeat(1 + random(6000)),
              keys: [key],
            });
            if (answer.status === "PUT_OK") acknowledged.set(key, answer);
            else await pause(5);
          } catch {
            await pause(20);
          }
        }
      });
      for (let kill = 0; kill < KILLS; kill++) {
        const before = acknowledged.size;
        await until("new acknowledged messages", 30_000, () => acknowledged.size > before + 5);
        await pause(random(250));
        const victim = random(2) === 0 ? "master" : "slave";
        await nodes[victim].process.destroy();
        nodes[victim] = await start[victim]();
      }
      const before = acknowledged.size;
      await until("the pair to work again", 30_000, () => acknowledged.size > before + 5);
      stop = true;
      await Promise.all(producers);
      const { maxOffset } = await nodes.master.ha();
      await nodes.slave.waitForMax(maxOffset, 30_000);
      for (const node of [nodes.master, nodes.slave]) {
        await until("dispatch", 20_000, async () => (await node.ha()).dispatchBehindBytes === 0);
      }
      for (const node of [nodes.master, nodes.slave]) {
        assert.equal(await node.process.stop(), 0, node.process.output().slice(-2000));
        const [command, leading] = cliCommand(runtime);
        await run(command, [...leading, "verify", node.store]);
      }
      assertSameLog(nodes.master.store, nodes.slave.store, 0, maxOffset, FILE);
      assertSameQueues(nodes.master.store, nodes.slave.store, 0, maxOffset);
      assert.ok(acknowledged.size > KILLS * 5, `only ${acknowledged.size} messages were acknowledged`);
      for (const [key, { physicalOffset, storeSize }] of acknowledged) {
        const file = path.join(
          nodes.slave.store,
          "commitlog",
          String(physicalOffset - (physicalOffset % FILE)).padStart(20, "0"),
        );
        const record = Buffer.alloc(storeSize);
        const fd = fs.openSync(file, "r");
        fs.readSync(fd, record, 0, storeSize, physicalOffset % FILE);
        fs.closeSync(fd);
        assert.ok(record.includes(key), `${key} was acknowledged at ${physicalOffset} and is lost`);
      }
      console.log(`${runtime}: ${KILLS} kills, ${acknowledged.size} acknowledged messages, all there`);
    });
  });
});
