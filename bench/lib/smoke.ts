// Whether the benchmarks run at all: every life of a node on every runtime with a small log, every Deno.bench file on
// every runtime, the scale benchmarks, replication by itself, and, with Java, the client's windows. No figure is judged or
// kept.

import { spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { hasJava } from "../../tests/interop/lab/apache.ts";
import { RUNTIMES } from "../../tests/interop/lab/twinlog.ts";
import { FLOOR } from "./client_subjects.ts";
import { limitsOf } from "./limits.ts";
import { makeLog } from "./log_maker.ts";
import { CACHE, ROOT } from "./peer.ts";
import { type Amounts, type Figures, masterLife, slaveLife } from "./phases.ts";
import { twinlogSubject } from "./subjects.ts";

const MAPPED_FILE_SIZE = 32 * 1024 * 1024;

/** Runs it all; prints a line each and `N passed, N failed`; answers with the exit code. */
export async function smoke(): Promise<number> {
  const work = path.join(CACHE, "smoke");
  fs.rmSync(work, { recursive: true, force: true });
  fs.mkdirSync(work, { recursive: true });
  let passed = 0;
  let failed = 0;
  const step = async (name: string, run: () => Promise<unknown>) => {
    try {
      await run();
      passed++;
      console.log(`ok      ${name}`);
    } catch (error) {
      failed++;
      console.log(`FAILED  ${name}: ${error instanceof Error ? error.stack : error}`);
    }
  };
  for (const farEnd of ["c", ...RUNTIMES] as const) {
    const amounts = { bytes: 10_000_000, roundTrips: 200 };
    await step(`limits of ${farEnd}`, async () => expectFigures(await limitsOf(farEnd, amounts, work)));
  }
  const log = await makeLog(work, MAPPED_FILE_SIZE, [24_000_000, 26_000_000]);
  const amounts: Amounts = { log, serveBatch: 32 * 1024, acks: 200, idleMs: 0 };
  for (const runtime of RUNTIMES) {
    const subject = twinlogSubject(runtime, work);
    await step(`slave on ${runtime}`, async () => expectFigures(await slaveLife(subject, amounts, work)));
    await step(`master on ${runtime}`, async () => expectFigures(await masterLife(subject, amounts, work)));
  }
  // As a reader runs them all: Deno looks for its benchmarks below the directory, too, and checks their types.
  await step("deno bench, types", () => run(binary("deno"), ["bench", "-A", "--no-run", "bench/"]));
  for (const file of fs.readdirSync(path.join(ROOT, "bench")).filter((name) => name.endsWith("_bench.ts"))) {
    for (const runtime of RUNTIMES) await step(`${file} on ${runtime}`, () => runBenchFile(runtime, file));
  }
  await step("scale", () => runSmoke(process.execPath, ["bench/scale.ts"]));
  // One runtime: the others' masters and slaves have had their turn above.
  await step("replication on deno", () => runSmoke(process.execPath, ["bench/replication.ts", "--only", "deno"]));
  if (await hasJava()) {
    const only = [...RUNTIMES, FLOOR].join(",");
    await step("Java client", () => runSmoke(process.execPath, ["bench/clients.ts", "--only", only]));
    const few = ["--matrix", "--only", `deno,${FLOOR}`];
    await step("Java client, matrix", () => runSmoke(process.execPath, ["bench/clients.ts", ...few]));
  } else console.log("skipped Java client: it needs java, javac and mvn");
  fs.rmSync(work, { recursive: true, force: true });
  console.log(`${passed} passed, ${failed} failed`);
  return failed === 0 ? 0 : 1;
}

function expectFigures(figures: Figures): void {
  for (const [name, value] of Object.entries(figures)) {
    if (!Number.isFinite(value) || value < 0) throw new Error(`${name} is ${value}`);
  }
}

function runBenchFile(runtime: string, file: string): Promise<void> {
  const leading = runtime === "deno" ? ["run", "-A", "--no-check"] : [];
  return runSmoke(binary(runtime), [...leading, path.join("bench", file)]);
}

function binary(runtime: string): string {
  return path.join(ROOT, "node_modules/.bin", runtime);
}

function runSmoke(command: string, args: string[]): Promise<void> {
  return run(command, [...args, "--smoke"]);
}

function run(command: string, args: string[]): Promise<void> {
  return new Promise((resolve, reject) => {
    const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    for (const stream of [child.stdout, child.stderr]) stream.setEncoding("utf8").on("data", (chunk) => text += chunk);
    child.on("close", (code) => code === 0 ? resolve() : reject(new Error(`ended with ${code}: ${text}`)));
  });
}
