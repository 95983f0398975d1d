// The comparison through the real Java client: Twinlog on Deno, Bun and Node, Apache 5.3.3, and a program that only
// answers, on the same machine, in turn. Prints tables; a run of all nodes also writes JSON and brings the documents up to
// date.
//
//   node bench/clients.ts [--rounds N] [--warm-up-rounds N] [--window MS] [--only apache,deno,bun,node,floor]
//                         [--json FILE] [--no-docs]
//   node bench/clients.ts --matrix     threads by body sizes instead, into bench/results/matrix.json; the same options
//   node bench/clients.ts --render     the documents anew from the JSON
//   node bench/clients.ts --smoke      one short round, no figures kept
//
// Needs Linux, a C compiler, Java 17 and Maven. The JSON is rewritten after each round, so a run may be ended early.

import * as fs from "node:fs";
import * as path from "node:path";
import { ApacheLab } from "../tests/interop/lab/apache.ts";
import { destroyAll } from "../tests/interop/lab/processes.ts";
import { type RuntimeName, RUNTIMES } from "../tests/interop/lab/twinlog.ts";
import { type ClientAmounts, clientRound, prepare } from "./lib/client_phases.ts";
import { type ClientResults, renderClients, renderRatios, renderRun } from "./lib/client_report.ts";
import { type ClientSubject, FLOOR, sleepNow, startAlone, startFloor, startSubject } from "./lib/client_subjects.ts";
import { benchArguments, someOf, wholeNumber } from "./lib/arguments.ts";
import { documentClients, documentMatrix } from "./lib/documents.ts";
import { JavaBench } from "./lib/java_client.ts";
import { keptWhere, writeFigures } from "./lib/kept.ts";
import { describeMachine } from "./lib/machine.ts";
import { type MatrixAmounts, matrixRound, prepareMatrix } from "./lib/matrix_phases.ts";
import { renderMatrix } from "./lib/matrix_report.ts";
import { CACHE, ROOT } from "./lib/peer.ts";
import type { Figures } from "./lib/phases.ts";
import { summarize } from "./lib/report.ts";
import { inTurn } from "./lib/turns.ts";
import { versionsOf } from "./lib/versions.ts";

const APACHE_VERSION = "5.3.3";

const NAMES = ["apache", ...RUNTIMES, FLOOR] as const;
const ALL = NAMES.join(",");

const values = benchArguments(import.meta.filename, NAMES, {
  smoke: { type: "boolean", default: false },
  matrix: { type: "boolean", default: false },
  render: { type: "boolean", default: false },
  "warm-up-rounds": { type: "string" },
  window: { type: "string" },
});
const { smoke, matrix } = values;
const campaign = matrix ? "matrix" : "clients";
const standard = `bench/results/${campaign}.json`;
if (values.render) {
  document(JSON.parse(fs.readFileSync(path.resolve(ROOT, values.json ?? standard), "utf8")));
  process.exit(0);
}
const { file, toDocuments } = keptWhere({
  isWhole: !smoke && values.only === ALL,
  standard,
  json: values.json,
  noDocs: values["no-docs"],
});
const rounds = smoke ? 1 : wholeNumber("rounds", values.rounds ?? (matrix ? "3" : "5"));
// Client and brokers compile what runs often: what they reach in their first windows is not what they reach later.
const warmUpRounds = smoke ? 0 : wholeNumber("warm-up-rounds", values["warm-up-rounds"] ?? (matrix ? "1" : "2"), 0);
// With a machine that is busy otherwise an answer may take half a second.
const windowMs = smoke ? 1500 : wholeNumber("window", values.window ?? (matrix ? "1500" : "3000"));
const amounts: ClientAmounts = smoke
  ? { warmUpMs: 100, windowMs, consumed: 1000, idleMs: 0 }
  : { warmUpMs: 1000, windowMs, consumed: 400_000, idleMs: 5000 };
const cells: MatrixAmounts = smoke
  ? { warmUpMs: 50, windowMs, threads: [1, 16], bodies: [128, 16_384], pulledBytes: 1e6 }
  : { warmUpMs: 500, windowMs, threads: [1, 16, 64, 256], bodies: [128, 1024, 16_384], pulledBytes: 250e6 };

const work = path.join(CACHE, smoke ? `${campaign}-smoke` : campaign);
fs.rmSync(work, { recursive: true, force: true });
fs.mkdirSync(work, { recursive: true });
const lab = await ApacheLab.create(APACHE_VERSION, work);
const names = someOf("only", values.only, NAMES);
const { idle, oneRound, java } = await (matrix ? startMatrix() : startClients());
const samples: Record<string, Figures[]> = Object.fromEntries(names.map((name) => [name, []]));
let results: ClientResults | null = null;
for (let turn = 0; turn < warmUpRounds + rounds; turn++) {
  const isWarmUp = turn < warmUpRounds;
  const round = isWarmUp ? turn : turn - warmUpRounds;
  console.log(isWarmUp ? `Warm-up round ${round + 1} of ${warmUpRounds}` : `Round ${round + 1} of ${rounds}`);
  const figures = await oneRound(turn);
  if (isWarmUp) continue;
  for (const name of names) samples[name]!.push({ ...idle[name], ...figures[name] });
  results = resultsOf(round + 1);
  if (file !== null) writeFigures(file, results);
}
java.end();
if (smoke) expectFigures();
else {
  const tables = [renderClients(results!, false), renderRatios(results!), renderRun(results!)];
  console.log(`\n${matrix ? renderMatrix(results!) : tables.join("\n\n")}`);
  if (toDocuments) document(results!);
}
await destroyAll();
fs.rmSync(work, { recursive: true, force: true });
process.exit(0);

/** Brokers alone and as pairs, and messages for consumers. */
async function startClients() {
  const subjects: ClientSubject[] = [];
  for (const name of names) {
    subjects.push(await started(name, () => startSubject(name as RuntimeName | "apache", lab, work)));
  }
  const java = await JavaBench.start(APACHE_VERSION, work);
  const idle = await prepare(subjects, java, amounts);
  return { java, idle, oneRound: (turn: number) => clientRound(inTurn(subjects, turn), java, amounts) };
}

/** Brokers alone. */
async function startMatrix() {
  const subjects: Pick<ClientSubject, "name" | "single">[] = [];
  for (const name of names) {
    const subject = await started(name, () => startAlone(name as RuntimeName | "apache", lab, work));
    sleepNow(subject.single.pids);
    subjects.push(subject);
  }
  await prepareMatrix(subjects, cells);
  const java = await JavaBench.start(APACHE_VERSION, work);
  const idle: Record<string, Figures> = {};
  return { java, idle, oneRound: (turn: number) => matrixRound(inTurn(subjects, turn), java, cells) };
}

async function started<T>(name: string, start: () => Promise<T>): Promise<T | ClientSubject> {
  console.log(`Starting ${name}…`);
  return name === FLOOR ? await startFloor() : await start();
}

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

function document(results: ClientResults): void {
  if (matrix) documentMatrix(results);
  else documentClients(results);
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
