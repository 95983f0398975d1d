// Random runs over whole nodes. TWINLOG_SIM_SEED=N plays one seed and shows what happened, TWINLOG_SIM_SEEDS=N plays more
// of them, TWINLOG_SIM_FROM says where they begin, TWINLOG_SIM_LINES how many log lines a failure shows.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { runSeed, type SeedResult } from "./seed_run.ts";

const { TWINLOG_SIM_SEED, TWINLOG_SIM_SEEDS, TWINLOG_SIM_FROM } = process.env;
const COUNT = Number(TWINLOG_SIM_SEEDS ?? 100);
const FROM = Number(TWINLOG_SIM_FROM ?? 1);
/** Seeds per test, so that a report names a short range. */
const GROUP = 10;

describe("whole nodes, random faults", () => {
  if (TWINLOG_SIM_SEED !== undefined) {
    it(`holds what it promises, seed ${TWINLOG_SIM_SEED}`, async () => {
      console.log(await runSeed(Number(TWINLOG_SIM_SEED)));
    });
    return;
  }
  const results = new Map<number, SeedResult>();
  for (let from = FROM; from < FROM + COUNT; from += GROUP) {
    const to = Math.min(from + GROUP, FROM + COUNT);
    it(`holds what it promises, seeds ${from} to ${to - 1}`, async () => {
      for (let seed = from; seed < to; seed++) results.set(seed, await runSeed(seed));
    });
  }

  it("leads one seed to one run", async () => {
    assert.equal((await runSeed(FROM)).hash, results.get(FROM)?.hash);
  });

  it("had messages, faults and losses to judge", () => {
    const sum: Record<string, number> = {};
    for (const { counters } of results.values()) {
      for (const [name, count] of Object.entries(counters)) sum[name] = (sum[name] ?? 0) + count;
    }
    assert.ok(sum.ok! > 0 && sum.comparedBytes! > 0 && sum.checkedAcks! > 0, JSON.stringify(sum));
  });
});
