// Some seeds of the simulator with remoting clients, so that every runtime plays some at every run of the test command;
// main.ts --clients plays any number of them. TWINLOG_SIM_CLIENT_SEEDS=N plays more here, TWINLOG_SIM_FROM says from where.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
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
