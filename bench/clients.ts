// The comparison through the real Java client: Twinlog on Deno, Bun and Node, Apache 5.3.3, and a program that only
// answers, on the same machine, in turn. Prints tables, writes JSON, and brings the documents up to date.
//
//   node bench/clients.ts [--rounds N] [--warm-up-rounds N] [--window MS] [--only apache,deno,bun,node,floor]
//                         [--json FILE] [--no-docs]
//   node bench/clients.ts --render     the documents anew from the JSON
//   node bench/clients.ts --smoke      one short round, no figures kept
//
// Needs Linux, a C compiler, Java 17 and Maven. The JSON is rewritten after each round, so a run may be ended early.

import * as fs from "node:fs";
import * as path from "node:path";
import { parseArgs } from "node:util";
import { ApacheLab } from "../tests/interop/lab/apache.ts";
import { destroyAll } from "../tests/interop/lab/processes.ts";
import { type RuntimeName, RUNTIMES } from "../tests/interop/lab/twinlog.ts";
import { type ClientAmounts, clientRound, prepare } from "./lib/client_phases.ts";
import { type ClientResults, renderClients, renderRatios, renderRun } from "./lib/client_report.ts";
import { inTurn } from "./lib/turns.ts";
import { type ClientSubject, FLOOR, startFloor, startSubject } from "./lib/client_subjects.ts";
import { JavaBench } from "./lib/java_bench.ts";
import { describeMachine } from "./lib/machine.ts";
import { CACHE, ROOT } from "./lib/peer.ts";
import type { Figures } from "./lib/phases.ts";
import { replaceBetween, summarize } from "./lib/report.ts";
import { versionsOf } from "./lib/versions.ts";

const APACHE_VERSION = "5.3.3";

const { values } = parseArgs({
  options: {
    smoke: { type: "boolean", default: false },
    render: { type: "boolean", default: false },
    rounds: { type: "string", default: "5" },
    "warm-up-rounds": { type: "string", default: "2" },
    window: { type: "string", default: "3000" },
    only: { type: "string", default: ["apache", ...RUNTIMES, FLOOR].join(",") },
    json: { type: "string", default: "bench/results/clients.json" },
    "no-docs": { type: "boolean", default: false },
  },
});
const { smoke } = values;
if (values.render) {
  toDocuments(JSON.parse(fs.readFileSync(path.resolve(ROOT, values.json), "utf8")));
  process.exit(0);
}
const rounds = smoke ? 1 : wholeNumber("rounds", values.rounds);
// Client and brokers compile what runs often: what they reach in their first windows is not what they reach later.
const warmUpRounds = smoke ? 0 : wholeNumber("warm-up-rounds", values["warm-up-rounds"], 0);
const windowMs = smoke ? 300 : wholeNumber("window", values.window);
const amounts: ClientAmounts = smoke
  ? { warmUpMs: 100, windowMs, consumed: 1000, idleMs: 0 }
  : { warmUpMs: 1000, windowMs, consumed: 400_000, idleMs: 5000 };

const work = path.join(CACHE, smoke ? "clients-smoke" : "clients");
fs.rmSync(work, { recursive: true, force: true });
fs.mkdirSync(work, { recursive: true });
const lab = await ApacheLab.create(APACHE_VERSION, work);
const names = values.only.split(",");
const subjects: ClientSubject[] = [];
for (const name of names) {
  console.log(`Starting ${name}…`);
  subjects.push(name === FLOOR ? await startFloor() : await startSubject(name as RuntimeName | "apache", lab, work));
}
const java = await JavaBench.start(APACHE_VERSION, work);
const idle = await prepare(subjects, java, amounts);
const samples: Record<string, Figures[]> = Object.fromEntries(names.map((name) => [name, []]));
let results: ClientResults | null = null;
for (let turn = 0; turn < warmUpRounds + rounds; turn++) {
  const isWarmUp = turn < warmUpRounds;
  const round = isWarmUp ? turn : turn - warmUpRounds;
  console.log(isWarmUp ? `Warm-up round ${round + 1} of ${warmUpRounds}` : `Round ${round + 1} of ${rounds}`);
  const figures = await clientRound(inTurn(subjects, turn), java, amounts);
  if (isWarmUp) continue;
  for (const name of names) samples[name]!.push({ ...idle[name], ...figures[name] });
  results = resultsOf(round + 1);
  if (!smoke) write(results);
}
java.end();
if (smoke) expectFigures();
else {
  console.log(`\n${renderClients(results!, false)}\n\n${renderRatios(results!)}\n\n${renderRun(results!)}`);
  if (!values["no-docs"]) toDocuments(results!);
}
await destroyAll();
fs.rmSync(work, { recursive: true, force: true });
process.exit(0);

function resultsOf(done: number): ClientResults {
  return {
    date: new Date().toISOString().slice(0, 10),
    machine: describeMachine(versionsOf(names.filter((name) => name !== FLOOR), APACHE_VERSION)),
    rounds: done,
    warmUpRounds,
    windowMs,
    figures: Object.fromEntries(names.map((name) => [name, summarize(samples[name]!)])),
    samples,
  };
}

function write(results: ClientResults): void {
  const file = path.resolve(ROOT, values.json);
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `${JSON.stringify(results, null, 2)}\n`);
}

function toDocuments(results: ClientResults): void {
  const long = `${renderRun(results)}\n\n${renderClients(results, false)}\n\n${renderRatios(results)}`;
  replaceBetween(path.join(ROOT, "docs/performance.md"), "client figures", long);
  const short = `${renderClients(results, true)}\n\n${renderRun(results)}`;
  replaceBetween(path.join(ROOT, "README.md"), "client figures", short);
}

/** Every figure is there and nothing failed. */
function expectFigures(): void {
  for (const [name, [figures]] of Object.entries(samples)) {
    for (const [key, value] of Object.entries(figures!)) {
      if (!Number.isFinite(value) || value < 0) throw new Error(`${name}: ${key} is ${value}`);
    }
  }
  console.log("ok");
}

function wholeNumber(name: string, text: string, least = 1): number {
  const value = Number(text);
  if (!Number.isInteger(value) || value < least) {
    throw new Error(`--${name} is "${text}", wanted a whole number from ${least}`);
  }
  return value;
}
