// The simulator's command line: `deno task sim`, `npm run sim --`, `bun run sim`. Plays one seed and shows what came of it,
// or many over several processes of the same runtime, and makes a failing one smaller. The runs are seed_run.ts's.

import { spawn } from "node:child_process";
import * as os from "node:os";
import { createInterface } from "node:readline";
import { parseArgs } from "node:util";
import { CLIENT_INVARIANTS, INVARIANTS } from "./invariants.ts";
import { FAULT_NAMES } from "./faults.ts";
import { minimize } from "./minimize.ts";
import { LATE_NODE } from "./plan.ts";
import { planOf, replayCommand, runSeed, SeedFailure, type SeedOptions, type SeedResult } from "./seed_run.ts";
import { Totals } from "./totals.ts";

const USAGE = `Plays whole clusters on simulated machines, one seed one history.

  deno task sim [options]        npm run sim -- [options]        bun run sim [options]

  --seed N            play this seed and show outcome, counters and trace hash
    --drop-faults L   without these strikes, such as 3,7
    --drop-nodes L    without these nodes, such as n2,late
  --clients           with remoting clients: another history for each seed, more to hold
  --seeds N           play so many seeds (default 100, when neither --seed nor --minutes is given)
  --minutes M         play seeds until so many minutes are over
  --from N            begin with this seed (default 1)
  --jobs N            processes at a time (default: one per core)
  --no-minimize       don't look for a smaller reproduction of a failure
  --invariants        list what must hold, and end
  --help              this text

The last line is "N passed, N failed"; the exit code is 1 unless all passed, 2 for wrong arguments.`;

/** A worker that says nothing for so long, ms, hangs. */
const SILENCE_MAX_MS = 300_000;
/** Failures that are reported at length. */
const REPORTED_MAX = 3;
const PROGRESS_MS = 5_000;

const OPTIONS = {
  seed: { type: "string" },
  seeds: { type: "string" },
  minutes: { type: "string" },
  from: { type: "string" },
  jobs: { type: "string" },
  "drop-faults": { type: "string" },
  "drop-nodes": { type: "string" },
  clients: { type: "boolean" },
  "no-minimize": { type: "boolean" },
  invariants: { type: "boolean" },
  help: { type: "boolean", short: "h" },
  /** Internal: this process plays every n-th seed and prints a line of JSON for each. */
  worker: { type: "string" },
} as const;

/** What a worker says of a seed. */
type WorkerLine =
  | { readonly seed: number; readonly result: SeedResult }
  | { readonly seed: number; readonly invariant: string; readonly report: string };

const values = readArguments();
if (values.help) endWith(USAGE, 0);
const FAMILY = { clients: values.clients === true } as const;
if (values.invariants) {
  endWith(
    Object.entries({ ...INVARIANTS, ...CLIENT_INVARIANTS }).map(([name, prose]) => `${name}: ${prose}`).join("\n"),
    0,
  );
}
if (values.worker !== undefined) await work(values.worker);
else if (values.seed !== undefined) {
  if (values.seeds !== undefined || values.minutes !== undefined) {
    endWith("--seed plays one: give no --seeds, --minutes", 2);
  }
  const seed = integer("seed", values.seed);
  await playOne(seed, dropped(seed));
} else await playMany();

function readArguments() {
  try {
    return parseArgs({ options: OPTIONS, args: process.argv.slice(2) }).values;
  } catch (error) {
    return endWith(`${(error as Error).message.split(". ")[0]}\n\n${USAGE}`, 2);
  }
}

function endWith(text: string, code: number): never {
  (code === 0 ? process.stdout : process.stderr).write(`${text}\n`);
  process.exit(code);
}

function integer(name: string, text: string | undefined, otherwise = 0, min = 0): number {
  if (text === undefined) return otherwise;
  const value = Number(text);
  if (/^\d+$/.test(text) && Number.isSafeInteger(value) && value >= min) return value;
  return endWith(`--${name} is "${text}", wanted a whole number from ${min} on`, 2);
}

function dropped(seed: number): SeedOptions {
  const list = (text: string | undefined) =>
    (text ?? "").split(",").map((each) => each.trim()).filter((each) => each !== "");
  const dropFaults = list(values["drop-faults"]).map((each) => integer("drop-faults", each));
  const dropNodes = list(values["drop-nodes"]);
  const plan = planOf(seed, FAMILY);
  const names = [...plan.nodes.slice(1).map(({ name }) => name), LATE_NODE];
  const node = dropNodes.find((name) => !names.includes(name));
  if (node !== undefined) endWith(`--drop-nodes has "${node}", wanted of seed ${seed}: ${names.join(", ")}`, 2);
  const fault = dropFaults.find((index) => index >= plan.strikes.length);
  if (fault !== undefined) {
    endWith(`--drop-faults has ${fault}, wanted 0 to ${plan.strikes.length - 1} for seed ${seed}`, 2);
  }
  return { ...FAMILY, dropFaults, dropNodes };
}

async function playOne(seed: number, options: SeedOptions): Promise<void> {
  try {
    const result = await runSeed(seed, options);
    const totals = new Totals(FAMILY.clients);
    totals.add(result);
    console.log(totals.describe());
    console.log(`seed ${seed}: hash ${result.hash}, ${result.events} events, ${result.worldMs} ms of world time`);
    endWith("1 passed, 0 failed", 0);
  } catch (error) {
    if (!(error instanceof SeedFailure)) throw error;
    console.log(error.message);
    await showSmaller(error);
    console.log("0 passed, 1 failed");
    process.exit(1);
  }
}

async function showSmaller(failure: SeedFailure): Promise<void> {
  if (values["no-minimize"]) return;
  const { failure: smaller, runs } = await minimize(failure);
  if (smaller === failure) return console.log(`No smaller reproduction found in ${runs} runs`);
  console.log(`\nA smaller reproduction, after ${runs} runs:\n${smaller.message}`);
}

async function playMany(): Promise<void> {
  const from = integer("from", values.from, 1);
  const minutes = integer("minutes", values.minutes, 0, 1);
  const count = integer("seeds", values.seeds, minutes > 0 ? Number.MAX_SAFE_INTEGER - from : 100, 1);
  const jobs = Math.min(integer("jobs", values.jobs, os.availableParallelism(), 1), count);
  const startedMs = performance.now();
  const untilMs = minutes > 0 ? startedMs + minutes * 60_000 : Infinity;
  const totals = new Totals(FAMILY.clients);
  const failures: { seed: number; invariant: string; report: string }[] = [];
  const showProgress = () => {
    const seconds = (performance.now() - startedMs) / 1000;
    const of = minutes > 0 ? `${minutes} min` : `${count} seeds`;
    const rate = (totals.seeds + failures.length) / seconds;
    console.log(
      `${totals.seeds + failures.length} of ${of}, ${rate.toFixed(1)} seeds/s, ${failures.length} failed, ` +
        `${totals.events} events, ${Math.floor(totals.worldMs / 60_000)} min of world time`,
    );
  };
  const timer = setInterval(showProgress, PROGRESS_MS);
  const onLine = (line: WorkerLine) => {
    if ("result" in line) return totals.add(line.result);
    failures.push(line);
    console.log(`FAILED ${line.report.split("\n")[0]}`);
  };
  await Promise.all(Array.from({ length: jobs }, (_, job) => {
    return superviseWorker({ from: from + job, step: jobs, end: from + count, untilMs }, onLine);
  }));
  clearInterval(timer);
  showProgress();
  console.log(totals.describe());
  for (const { seed, report } of failures.slice(0, REPORTED_MAX)) {
    console.log(`\n${report}`);
    try {
      await runSeed(seed, FAMILY);
      console.log(`Seed ${seed} passes in this process: chance got in from outside`);
    } catch (error) {
      if (error instanceof SeedFailure) await showSmaller(error);
    }
  }
  if (failures.length > 0) console.log(`failing seeds: ${failures.map(({ seed }) => seed).join(" ")}`);
  console.log(`${totals.seeds} passed, ${failures.length} failed`);
  process.exit(failures.length === 0 && totals.seeds > 0 ? 0 : 1);
}

interface Share {
  readonly from: number;
  readonly step: number;
  readonly end: number;
  readonly untilMs: number;
}

/** Runs a process over a share of the seeds; one that hangs or breaks is started anew behind the seed it was at. */
async function superviseWorker(share: Share, onLine: (line: WorkerLine) => void): Promise<void> {
  for (let next = share.from; next < share.end && performance.now() < share.untilMs;) {
    const leftMs = Math.floor(Math.min(share.untilMs - performance.now(), Number.MAX_SAFE_INTEGER));
    const order = [next, share.step, share.end, leftMs].join(",");
    const child = spawn(process.execPath, [
      ...runtimeFlags(),
      import.meta.filename,
      ...familyFlags(),
      "--worker",
      order,
    ], {
      stdio: ["ignore", "pipe", "inherit"],
    });
    let isHanging = false;
    const hang = () => {
      isHanging = true;
      child.kill("SIGKILL");
    };
    let alarm = setTimeout(hang, SILENCE_MAX_MS);
    const ended = new Promise<number | null>((resolve) => child.on("close", resolve));
    for await (const text of createInterface({ input: child.stdout })) {
      clearTimeout(alarm);
      alarm = setTimeout(hang, SILENCE_MAX_MS);
      const line = JSON.parse(text) as WorkerLine;
      next = line.seed + share.step;
      onLine(line);
    }
    clearTimeout(alarm);
    const code = await ended;
    if (code === 0) return;
    const what = isHanging ? `no end after ${SILENCE_MAX_MS / 1000} s` : `the process ended with ${code}`;
    onLine({ seed: next, invariant: "error", report: `Seed ${next}: ${what}\nreplay: ${replayCommand(next, FAMILY)}` });
    next += share.step;
  }
}

function familyFlags(): string[] {
  return FAMILY.clients ? ["--clients"] : [];
}

/** How this runtime is told to run a file. */
function runtimeFlags(): string[] {
  return "Deno" in globalThis ? ["run", "-A", "--no-check", "--quiet"] : [];
}

async function work(order: string): Promise<void> {
  const [from, step, end, leftMs] = order.split(",").map(Number) as [number, number, number, number];
  const untilMs = performance.now() + leftMs;
  for (let seed = from; seed < end && performance.now() < untilMs; seed += step) {
    let line: WorkerLine;
    try {
      line = { seed, result: await runSeed(seed, FAMILY) };
    } catch (error) {
      if (!(error instanceof SeedFailure)) throw error;
      line = { seed, invariant: error.invariant, report: error.message };
    }
    process.stdout.write(`${JSON.stringify(line)}\n`);
  }
}

/** Keeps the list of faults honest: a run that names none is a mistake of ours. */
if (FAULT_NAMES.length < 20) endWith(`There are ${FAULT_NAMES.length} faults, wanted 20 at least`, 2);
