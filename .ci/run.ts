// The steps behind .ci/run, each in its own process; sums their counts into the closing line.

import { spawn } from "node:child_process";

const nightly = process.argv.includes("--nightly");

interface Step {
  title: string;
  command: string[];
  env?: NodeJS.ProcessEnv;
}

/** Those of one list run at the same time: a simulation takes one core. */
const steps: Step[][] = [
  [{ title: "format", command: ["deno", "fmt", "--check"] }],
  [{ title: "lint", command: ["deno", "lint"] }],
  [{
    title: "README's test command, interop required",
    command: ["npm", "test"],
    env: {
      TWINLOG_REQUIRE_INTEROP: "1",
      ...(nightly ? { TWINLOG_NIGHTLY: "1", TWINLOG_FUZZ_SEED: "random", TWINLOG_FUZZ_RUNS: "2000" } : {}),
    },
  }],
  [{
    title: "simulation, more seeds",
    command: ["bun", "tests/sim/main.ts", "--seeds", nightly ? "100000" : "800", "--from", "1001"],
  }, {
    title: "simulation with clients, more seeds",
    command: ["bun", "tests/sim/main.ts", "--clients", "--seeds", nightly ? "20000" : "250", "--from", "201"],
  }],
  [{ title: "benchmarks run", command: ["node", "bench/run_all.ts", "--smoke"] }],
];

let passed = 0;
let failed = 0;
for (const together of steps) await Promise.all(together.map(runStep));
console.log(`${passed} passed, ${failed} failed`);
process.exit(failed === 0 ? 0 : 1);

async function runStep(step: Step): Promise<void> {
  const started = performance.now();
  console.log(`\n#### ${step.title}`);
  const { code, output } = await run(step);
  const line = [...output.matchAll(/^(\d+) passed, (\d+) failed/gm)].at(-1);
  const counts = line ? [Number(line[1]), Number(line[2])] : code === 0 ? [1, 0] : [0, 1];
  passed += counts[0]!;
  failed += code !== 0 ? Math.max(1, counts[1]!) : counts[1]!;
  console.log(`#### ${step.title}: exit ${code} after ${((performance.now() - started) / 1000).toFixed(0)} s`);
}

function run({ command, env }: Step): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(command[0]!, command.slice(1), {
      env: { ...process.env, ...env },
      stdio: ["ignore", "pipe", "inherit"],
    });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output = (output + text).slice(-200_000);
      process.stdout.write(text);
    });
    child.on("close", (code) => resolve({ code: code ?? 1, output }));
  });
}
