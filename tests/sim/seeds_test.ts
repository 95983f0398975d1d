// Some seeds of the simulator as tests, so that every runtime plays some at every run of the test command; main.ts plays
// any number of them. TWINLOG_SIM_SEEDS=N plays more here, TWINLOG_SIM_FROM says where they begin.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { FAULT_NAMES } from "./faults.ts";
import { runSeed } from "./seed_run.ts";
import { Totals } from "./totals.ts";

const { TWINLOG_SIM_SEEDS, TWINLOG_SIM_FROM } = process.env;
const COUNT = Number(TWINLOG_SIM_SEEDS ?? 60);
const FROM = Number(TWINLOG_SIM_FROM ?? 1);
/** Seeds per test, so that a report names a short range. */
const GROUP = 10;
/** So many seeds leave no fault without effect and no invariant unchecked. */
const ENOUGH = 60;

describe("whole nodes, random faults", () => {
  const totals = new Totals();
  const hashes = new Map<number, string>();
  for (let from = FROM; from < FROM + COUNT; from += GROUP) {
    const to = Math.min(from + GROUP, FROM + COUNT);
    it(`holds what it promises, seeds ${from} to ${to - 1}`, async () => {
      for (let seed = from; seed < to; seed++) {
        const result = await runSeed(seed);
        hashes.set(seed, result.hash);
        totals.add(result);
      }
    });
  }

  it("leads one seed to one run", async () => {
    assert.equal((await runSeed(FROM)).hash, hashes.get(FROM));
  });

  it("had every fault take effect, and checked every invariant", () => {
    console.log(totals.describe());
    assert.ok(FAULT_NAMES.length >= 24);
    if (COUNT >= ENOUGH) assert.deepEqual(totals.missing, []);
  });
});

describe("a smaller run", () => {
  it("leaves out strikes and nodes, and is as deterministic", async () => {
    const options = { dropFaults: [0, 2], dropNodes: ["n1", "late"] };
    const first = await runSeed(3, options);
    assert.equal((await runSeed(3, options)).hash, first.hash);
    assert.notEqual((await runSeed(3)).hash, first.hash);
  });
});
