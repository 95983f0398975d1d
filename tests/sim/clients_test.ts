// Some seeds of the simulator with remoting clients, so that every runtime plays some at every run of the test command;
// main.ts --clients plays any number of them. TWINLOG_SIM_CLIENT_SEEDS=N plays more here, TWINLOG_SIM_FROM says from where.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { Scene } from "./scene.ts";
import { CLIENT_INVARIANTS } from "./invariants.ts";
import { runSeed } from "./seed_run.ts";
import { Totals } from "./totals.ts";

const { TWINLOG_SIM_CLIENT_SEEDS, TWINLOG_SIM_FROM } = process.env;
const COUNT = Number(TWINLOG_SIM_CLIENT_SEEDS ?? 16);
const FROM = Number(TWINLOG_SIM_FROM ?? 1);
/** Seeds per test, so that a report names a short range. */
const GROUP = 4;
/** So many seeds leave no invariant of clients unchecked. */
const ENOUGH = 16;

describe("whole nodes with remoting clients, random faults", () => {
  const totals = new Totals(true);
  const hashes = new Map<number, string>();
  for (let from = FROM; from < FROM + COUNT; from += GROUP) {
    const to = Math.min(from + GROUP, FROM + COUNT);
    it(`gives the group what was promised, seeds ${from} to ${to - 1}`, async () => {
      for (let seed = from; seed < to; seed++) {
        const result = await runSeed(seed, { clients: true });
        hashes.set(seed, result.hash);
        totals.add(result);
      }
    });
  }

  it("leads one seed to one run", async () => {
    assert.equal((await runSeed(FROM, { clients: true })).hash, hashes.get(FROM));
    assert.notEqual((await runSeed(FROM)).hash, hashes.get(FROM));
  });

  it("checked every invariant of clients", () => {
    console.log(totals.describe());
    if (COUNT < ENOUGH) return;
    for (const name of Object.keys(CLIENT_INVARIANTS)) assert.ok(totals.invariants[name]! > 0, name);
    for (const name of ["wireChecks", "wireCommits", "wirePromised"]) assert.ok(totals.counters[name]! > 0, name);
  });
});

describe("found with remoting clients", () => {
  it("delivers a delayed message in the name of the node that delivers it: no other writes the same bytes", async () => {
    const scene = await Scene.of(1, ["second"]);
    const second = scene.node("second");
    const properties = new Map([["DELAY", "2"]]);
    const put = { topic: "Late", queueId: 0, body: new Uint8Array([1]), properties, flag: 0 };
    await scene.cluster.drive(scene.first.broker!.admin.put(put));
    await scene.follows(second);
    scene.first.kill();
    await scene.cluster.drive(scene.operator.failOver());
    const read = { topic: "Late", queueId: 0, offset: 0, maxNum: 1 };
    await scene.cluster.advance(6_000);
    const result = await scene.cluster.drive(second.broker!.admin.readByQueueOffset(read));
    assert.equal(result?.messages[0]?.storeHost.address.join("."), second.host.address);
    await scene.cluster.drive(scene.first.start());
    await scene.ends();
  });
});
