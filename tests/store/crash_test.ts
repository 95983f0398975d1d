// What a store keeps when it is killed, loses power or has a broken disk: a short trace that ends at every single
// operation on its files, and random runs. TWINLOG_CRASH_SEED=N repeats one, TWINLOG_CRASH_SEEDS=N runs more.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Boundary } from "./crash_machine.ts";
import { CrashRun } from "./crash_run.ts";
import { runCrashScript } from "./crash_script.ts";

/** Puts across a rollover, half of them stored, a clean stop, puts again. */
async function shortTrace(run: CrashRun): Promise<void> {
  const isOpen = () => run.store !== null && run.machine.isRunning;
  if (isOpen()) { for (let i = 0; i < 18 && isOpen(); i++) run.append(); }
  if (isOpen()) await run.waitStored();
  if (isOpen()) await run.machine.world.advance(150);
  for (let i = 0; i < 18 && isOpen(); i++) run.append();
  if (isOpen()) await run.shutdown();
  if (run.machine.isRunning && run.store === null) await run.open();
  for (let i = 0; i < 8 && isOpen(); i++) run.append();
  if (isOpen()) await run.waitStored();
}

async function reopen(run: CrashRun): Promise<void> {
  run.machine.restart();
  assert.ok(await run.open());
}

describe("a store whose machine ends", () => {
  const ends: { name: string; end: Boundary["end"]; mode?: Boundary["mode"] }[] = [
    { name: "by a kill", end: "kill" },
    { name: "without power, all unsynced bytes lost", end: "power", mode: "drop" },
    { name: "without power, files torn", end: "power", mode: "tear" },
  ];
  for (const { name, end, mode } of ends) {
    it(`at any operation on its files, ${name}, keeps what it promised`, async () => {
      for (let count = 0;; count++) {
        const run = new CrashRun(7);
        run.machine.boundary = mode === undefined ? { count, end } : { count, end, mode };
        await run.open();
        await shortTrace(run);
        if (run.machine.boundary !== null) {
          assert.ok(count > 60, `the trace has ${count} operations`);
          break;
        }
        await reopen(run);
        await run.checkAll();
        run.append();
        await run.waitStored();
        await run.checkAll();
      }
    });
  }

  it("in the middle of recovery, at any operation, recovers all the same, to the same bytes", async () => {
    const recovered = async (count: number, mode: Boundary["mode"]): Promise<CrashRun> => {
      const run = new CrashRun(11, { flushConsumeQueueThoroughInterval: 60_000 });
      await run.open();
      for (let i = 0; i < 40; i++) run.append();
      await run.waitStored();
      for (let i = 0; i < 10; i++) run.append();
      await run.machine.world.advance(10);
      run.machine.crash("tear");
      run.machine.restart();
      if (mode !== undefined) {
        run.machine.boundary = { count, end: "power", mode };
        await run.open();
        if (run.machine.boundary !== null) return run;
        await reopen(run);
      } else {
        await run.open();
      }
      await run.checkAll();
      return run;
    };
    const logOf = (run: CrashRun) => [...run.snapshot()].filter(([path]) => path.includes("/commitlog/"));
    const wanted = logOf(await recovered(0, undefined));
    for (const mode of ["drop", "tear"] as const) {
      for (let count = 0;; count++) {
        const run = await recovered(count, mode);
        if (run.machine.boundary !== null) break;
        assert.deepEqual(logOf(run), wanted);
      }
    }
  });

  it("keeps what it promised in random runs", async () => {
    const { env } = (await loadRuntime()).process;
    const one = env("TWINLOG_CRASH_SEED");
    const from = Number(one ?? 1);
    const end = one === undefined ? from + Number(env("TWINLOG_CRASH_SEEDS") ?? 60) : from + 1;
    for (let seed = from; seed < end; seed++) {
      try {
        await runCrashScript(seed);
      } catch (error) {
        throw new Error(`Seed ${seed} fails; TWINLOG_CRASH_SEED=${seed} repeats it`, { cause: error });
      }
    }
  });
});
