// (d) Twinlog on both sides, over all nine pairs of runtimes: the slave copies the history, follows live, the roles are
// switched over and back at run time, and the logs stay twins.

import assert from "node:assert/strict";
import * as path from "node:path";
import { describe, it } from "node:test";
import { assertSameLog, assertSameQueues } from "./lab/compare.ts";
import { until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { RUNTIMES, startTwinlog, type TwinlogNode } from "./lab/twinlog.ts";

const FILE = 1024 * 1024;

async function put(node: TwinlogNode, count: number, label: string): Promise<void> {
  for (let i = 0; i < count; i++) {
    const answer = await node.admin("POST", "/topics/PairTopic/messages", {
      body: `${label} ${i} `.repeat(400),
      keys: [`${label}-${i}`],
      tags: `T${i % 3}`,
    });
    assert.equal(answer.status, "PUT_OK", `${label} ${i}`);
  }
}

async function assertTwins(a: TwinlogNode, b: TwinlogNode): Promise<void> {
  const { maxOffset } = await a.ha();
  await b.waitForMax(maxOffset, 30_000);
  for (const node of [a, b]) await until("dispatch", 20_000, async () => (await node.ha()).dispatchBehindBytes === 0);
  assertSameLog(a.store, b.store, 0, maxOffset, FILE);
  assertSameQueues(a.store, b.store, 0, maxOffset);
}

describe("Twinlog pairs", () => {
  const directory = scratch("d");
  for (const masterRuntime of RUNTIMES) {
    for (const slaveRuntime of RUNTIMES) {
      it(
        `${masterRuntime} master, ${slaveRuntime} slave: history, live, switched over and back`,
        { timeout: 120_000 },
        async () => {
          const label = `${masterRuntime}-${slaveRuntime}`;
          const common = ["--mapped-file-size-commit-log", String(FILE)];
          const master = await startTwinlog({
            runtime: masterRuntime,
            directory,
            store: path.join(directory, `${label}-m`),
            args: ["--role", "sync-master", "--in-sync-replicas", "1", ...common],
          });
          await put(master, 500, "history");
          const slave = await startTwinlog({
            runtime: slaveRuntime,
            directory,
            store: path.join(directory, `${label}-s`),
            args: ["--role", "slave", "--master", master.addresses.ha, ...common],
          });
          await put(master, 100, "live");
          await assertTwins(master, slave);
          // The planned switch, by hand: demote, promote, follow; then back.
          await master.admin("PUT", "/role", { role: "SLAVE", masterAddress: slave.addresses.ha });
          await slave.admin("PUT", "/role", { role: "SYNC_MASTER", force: true });
          await until("the old master to follow", 30_000, async () => (await master.ha()).master?.verified === true);
          await put(slave, 100, "switched");
          await assertTwins(slave, master);
          await slave.admin("PUT", "/role", { role: "SLAVE", masterAddress: master.addresses.ha });
          await master.admin("PUT", "/role", { role: "ASYNC_MASTER", force: true });
          await until("the new slave to follow", 30_000, async () => (await slave.ha()).master?.verified === true);
          await put(master, 50, "back");
          await assertTwins(master, slave);
          assert.equal(await slave.process.stop(), 0, slave.process.output().slice(-2000));
          assert.equal(await master.process.stop(), 0, master.process.output().slice(-2000));
        },
      );
    }
  }
});
