// What happens to a store in a run of one seed: puts or a master's bytes, flushes, time, expiry, cuts, clean stops, kills,
// losses of power at rest and in the middle of an operation, failing writes and syncs, steps of the clock, and all of
// that again while it opens. crash_run.ts checks it.

import { Prng } from "../../src/runtime/simulated/mod.ts";
import { CrashRun, type Source } from "./crash_run.ts";

const STEPS = 60;
const EVERY_HOUR = Array.from({ length: 24 }, (_, hour) => hour).join(";");

/** How often each thing happens, in parts of their sum. */
const WEIGHTS = {
  append: 45,
  wait: 15,
  time: 15,
  stop: 4,
  kill: 4,
  crash: 4,
  boundary: 6,
  check: 2,
  writeFault: 2,
  syncFault: 2,
  clockStep: 2,
  expire: 3,
  setAside: 3,
};
type Step = keyof typeof WEIGHTS;

/** Runs a seed to its end; throws what is wrong. */
export async function runCrashScript(seed: number): Promise<void> {
  const prng = new Prng(seed).fork("script");
  const options = {
    flushDiskType: prng.nextInt(2) === 0 ? "SYNC_FLUSH" as const : "ASYNC_FLUSH" as const,
    flushConsumeQueueThoroughInterval: prng.nextInt(2) === 0 ? 100 : 2000,
    enabledAppendPropCRC: prng.nextInt(3) === 0,
    maxIndexNum: prng.nextInt(2) === 0 ? 400 : 40,
    fileReservedTime: 0,
    deleteWhen: EVERY_HOUR,
  };
  const source = prng.nextInt(3) === 0 ? await makeSource(seed, prng.nextInt(2) * 3 * 8192) : null;
  const script = new CrashScript(new CrashRun(seed, options, source), prng);
  await script.run();
}

/** A log of some hundred messages, from `start`. */
async function makeSource(seed: number, start: number): Promise<Source> {
  const master = new CrashRun(seed + 1_000_000);
  await master.open();
  for (let i = 0; i < 300; i++) {
    master.append();
    if (i % 10 === 0) await master.machine.world.advance(1000);
  }
  return { bytes: master.logBytes(start, master.store!.maxOffset), start };
}

class CrashScript {
  readonly #run: CrashRun;
  readonly #prng: Prng;

  constructor(run: CrashRun, prng: Prng) {
    this.#run = run;
    this.#prng = prng;
  }

  async run(): Promise<void> {
    await this.#open();
    for (let i = 0; i < STEPS; i++) {
      await this.#step(this.#draw());
      if (this.#run.mustLosePower || this.#run.fatal !== null) this.#run.machine.crash();
      await this.#open();
    }
    this.#run.machine.boundary = null;
    await this.#run.checkAll();
  }

  #draw(): Step {
    let rest = this.#prng.nextInt(Object.values(WEIGHTS).reduce((sum, weight) => sum + weight));
    for (const [step, weight] of Object.entries(WEIGHTS)) {
      rest -= weight;
      if (rest < 0) return step as Step;
    }
    return "append";
  }

  /** Opens until it is open, for the first tries with more trouble on the way. */
  async #open(): Promise<void> {
    const run = this.#run;
    for (let tries = 0; run.store === null || !run.machine.isRunning; tries++) {
      run.machine.restart();
      if (this.#prng.nextInt(3) === 0 && tries < 20) this.#setBoundary(60);
      if (tries >= 40) throw new Error(`Store does not open`);
      await run.open();
    }
    if (this.#prng.nextInt(2) === 0) run.machine.boundary = null;
  }

  #setBoundary(within: number): void {
    const end = this.#prng.nextInt(3) === 0 ? "kill" : "power";
    this.#run.machine.boundary = { count: this.#prng.nextInt(within), end };
  }

  async #step(step: Step): Promise<void> {
    const run = this.#run;
    const { machine } = run;
    const { disk, clock } = machine.host;
    switch (step) {
      case "append":
        for (let i = this.#prng.nextInt(15); i >= 0 && machine.isRunning; i--) run.append();
        return;
      case "wait":
        return await run.waitStored();
      case "time":
        return await machine.world.advance(this.#prng.nextInt(this.#prng.nextInt(3) === 0 ? 8000 : 50));
      case "stop":
        return await this.#stop();
      case "kill":
        return machine.kill();
      case "crash":
        return machine.crash();
      case "boundary":
        return this.#setBoundary(30);
      case "check":
        return await run.checkAll();
      case "writeFault": {
        const path = this.#prng.pick(["commitlog", "/consumequeue", "/index"]);
        const code = this.#prng.pick(["EIO", "ENOSPC"] as const);
        // One for the log: where clearing what it left fails, too, it may come back.
        const times = path === "commitlog" ? 1 : 1 + this.#prng.nextInt(2);
        return void disk.failNext({ operation: "write", path, code, times });
      }
      case "syncFault":
        return void disk.failNext({ operation: "sync", path: this.#prng.pick(["commitlog", "/store"]) });
      case "clockStep":
        return clock.step(this.#prng.nextInt(20_000) - 10_000);
      case "expire":
        return await run.expire();
      case "setAside":
        if (run.source !== null) await run.setAside();
        return;
    }
  }

  /** A clean stop, and perhaps the end of the machine right after it. */
  async #stop(): Promise<void> {
    const run = this.#run;
    await run.shutdown();
    const isKilled = this.#prng.nextInt(2) === 0;
    if (isKilled) run.machine.kill();
    else if (this.#prng.nextInt(2) === 0) run.machine.crash();
  }
}
