// Several slaves, each at its own speed: one is stopped like a dead-slow machine (SIGSTOP) while tens of megabytes are
// written. The other stays in sync, puts go on, the master's memory stays bounded, and the slow one catches up later.

import assert from "node:assert/strict";
import * as path from "node:path";
import { describe, it } from "node:test";
import { assertSameLog } from "./lab/compare.ts";
import { scratch } from "./lab/scratch.ts";
import { RUNTIMES, startTwinlog } from "./lab/twinlog.ts";

const MIB = 1024 * 1024;
const FILE = 16 * MIB;

describe("several slaves", () => {
  const directory = scratch("slow");
  for (const runtime of RUNTIMES) {
    it(`a stopped slave slows neither its ${runtime} master nor the other slave`, { timeout: 120_000 }, async () => {
      const common = ["--mapped-file-size-commit-log", String(FILE)];
      const master = await startTwinlog({
        runtime,
        directory,
        store: path.join(directory, `${runtime}-m`),
        args: ["--role", "sync-master", "--in-sync-replicas", "2", ...common],
      });
      const slave = (name: string) =>
        startTwinlog({
          runtime,
          directory,
          store: path.join(directory, `${runtime}-${name}`),
          args: ["--role", "slave", "--master", master.addresses.ha, ...common],
        });
      const [fast, slow] = await Promise.all([slave("fast"), slave("slow")]);
      const body = "x".repeat(MIB);
      const put = async () =>
        assert.equal((await master.admin("POST", "/topics/T/messages", { body })).status, "PUT_OK");
      await fast.waitForMax(0);
      // Both are there before the first put, so that it has a slave to wait for.
      while ((await master.ha()).inSyncSlaveNums < 2) await slow.waitForMax(0);
      await put();
      slow.process.kill("SIGSTOP");
      for (let i = 0; i < 8; i++) await put();
      const before = master.process.anonymousMemory();
      for (let i = 0; i < 56; i++) await put();
      const grown = master.process.anonymousMemory() - before;
      assert.ok(grown < 100 * MIB, `memory grew by ${(grown / MIB).toFixed(0)} MiB beside a stopped slave`);
      const { maxOffset } = await master.ha();
      await fast.waitForMax(maxOffset, 10_000);
      slow.process.kill("SIGCONT");
      await slow.waitForMax(maxOffset, 60_000);
      for (const node of [fast, slow]) assertSameLog(master.store, node.store, 0, maxOffset, FILE);
      for (const node of [fast, slow, master]) {
        assert.equal(await node.process.stop(), 0, node.process.output().slice(-2000));
      }
    });
  }
});
