// What grows with what: starts after a crash, the cost of a node by its log, slaves, queues and connections, its CPU at rest
// and its memory under load; Twinlog on Deno, Bun and Node, and Apache 5.3.3 where it is the measure, in turn in each round.
// Prints tables; a run of all nodes also writes JSON and brings docs/performance.md up to date.
//
//   node bench/scale.ts [--rounds N] [--only apache,deno,bun,node] [--parts crash,log,slaves,queues,connections,idle,memory,hour]
//                       [--gb N] [--load-minutes N] [--queues N,N] [--connections N,N] [--json FILE] [--no-docs]
//   node bench/scale.ts --quick      one round, small sizes
//   node bench/scale.ts --render     the documents anew from the JSON
//   node bench/scale.ts --smoke      seconds: does it run? No Apache, no figures kept
//
// Needs Linux and a C compiler; for Apache, Java 17 and Maven. The JSON keeps the last run of each part and is rewritten
// after each round, so a run may be ended early, or be of some parts only.

import * as fs from "node:fs";
import * as path from "node:path";
import { ApacheLab, hasJava } from "../tests/interop/lab/apache.ts";
import type { Kind } from "../tests/interop/lab/lab_cluster.ts";
import { destroyAll } from "../tests/interop/lab/processes.ts";
import { RUNTIMES } from "../tests/interop/lab/twinlog.ts";
import { benchArguments, positiveNumber, someOf, wholeNumber } from "./lib/arguments.ts";
import { documentScale } from "./lib/documents.ts";
import { keptWhere, writeFigures } from "./lib/kept.ts";
import { describeMachine } from "./lib/machine.ts";
import { CACHE, ROOT } from "./lib/peer.ts";
import type { Figures } from "./lib/phases.ts";
import { CrashStarts } from "./lib/scale_crash.ts";
import { byConnections, byLogSize, byQueues, bySlaves } from "./lib/scale_curves.ts";
import { type ScaleAmounts, ScaleLab } from "./lib/scale_lab.ts";
import { PART_NAMES, renderScale, type ScaleResults } from "./lib/scale_report.ts";
import { idlePair, memoryUnderLoad } from "./lib/scale_steady.ts";
import { inTurn } from "./lib/turns.ts";
import { versionsOf } from "./lib/versions.ts";

const APACHE_VERSION = "5.3.3";
const GB = 1e9;

const NAMES = ["apache", ...RUNTIMES] as const;
const ALL = NAMES.join(",");
const STANDARD = "bench/results/scale.json";

const values = benchArguments(import.meta.filename, NAMES, {
  quick: { type: "boolean", default: false },
  smoke: { type: "boolean", default: false },
  render: { type: "boolean", default: false },
  parts: { type: "string", default: PART_NAMES.join(",") },
  gb: { type: "string" },
  "load-minutes": { type: "string" },
  queues: { type: "string" },
  connections: { type: "string" },
});
const { smoke } = values;
if (values.render) {
  documentScale(read(path.resolve(ROOT, values.json ?? STANDARD)));
  process.exit(0);
}
const { file, toDocuments } = keptWhere({
  isWhole: !values.quick && !smoke && values.only === ALL,
  standard: STANDARD,
  json: values.json,
  noDocs: values["no-docs"],
});
/** What this run measured, on top of what the file held. */
let results: ScaleResults = file === null ? {} : read(file);

const FULL: ScaleAmounts = {
  mappedFileSizeCommitLog: 1024 ** 3,
  crashBytes: 2 * GB,
  logBytes: [0, GB, 4 * GB],
  slaves: [1, 4, 16],
  queues: [10, 1000, 10_000, 50_000],
  connections: [10, 1000, 10_000],
  puts: 100_000,
  lonePuts: 10_000,
  pullMs: 3000,
  settleMs: 5000,
  idleMs: 30_000,
  loadMs: 180_000,
  sampleMs: 10_000,
  hourMs: 3_600_000,
  hourRate: 2000,
  hourSampleMs: 60_000,
};
const QUICK: ScaleAmounts = {
  mappedFileSizeCommitLog: 1024 ** 3,
  crashBytes: 0.1 * GB,
  logBytes: [0, 0.02 * GB, 0.08 * GB],
  slaves: [1, 4],
  queues: [10, 1000],
  connections: [10, 200],
  puts: 5000,
  lonePuts: 1000,
  pullMs: 500,
  settleMs: 1000,
  idleMs: 5000,
  loadMs: 6000,
  sampleMs: 1000,
  hourMs: 6000,
  hourRate: 1000,
  hourSampleMs: 1000,
};
const SMOKE: ScaleAmounts = {
  mappedFileSizeCommitLog: 32 * 1024 * 1024,
  crashBytes: 0.005 * GB,
  logBytes: [0, 0.005 * GB],
  slaves: [1, 2],
  queues: [10, 20],
  connections: [10],
  puts: 500,
  lonePuts: 50,
  pullMs: 100,
  settleMs: 0,
  idleMs: 300,
  loadMs: 500,
  sampleMs: 100,
  hourMs: 500,
  hourRate: 1000,
  hourSampleMs: 100,
};

const rounds = wholeNumber("rounds", values.rounds ?? (values.quick || smoke ? "1" : "3"));
const amounts = amountsOf(smoke ? SMOKE : values.quick ? QUICK : FULL);
const kinds = smoke ? ["bun" as const] : await kindsOf(values.only);
const parts = someOf("parts", values.parts, PART_NAMES);

const work = path.join(CACHE, smoke ? "scale-smoke" : "scale");
fs.rmSync(work, { recursive: true, force: true });
fs.mkdirSync(work, { recursive: true });
const apache = kinds.includes("apache") ? await ApacheLab.create(APACHE_VERSION, work) : null;
const lab = new ScaleLab(apache, work, amounts);
for (const part of parts) await runPart(part);
await destroyAll();
fs.rmSync(work, { recursive: true, force: true });
if (smoke) console.log("ok");
else {
  console.log(`\n${renderScale(results)}`);
  if (toDocuments) documentScale(results);
}
process.exit(0);

interface Measure {
  measure(kind: Kind): Promise<Figures>;
  readonly withApache: boolean;
  /** One round, of all nodes at the same time: it takes so long, and leaves them most of the machine. */
  readonly isAtOnce?: boolean;
}

async function runPart(name: string): Promise<void> {
  const crash = new CrashStarts(lab);
  const { hourMs: ms, hourRate: rate, hourSampleMs: sampleMs } = amounts;
  const anHour = (kind: Kind) => memoryUnderLoad(lab, kind, { ms, sampleMs, rate });
  const measures: Record<string, Measure> = {
    crash: { measure: (kind) => crash.measure(kind), withApache: true },
    log: { measure: (kind) => byLogSize(lab, kind), withApache: false },
    slaves: { measure: (kind) => bySlaves(lab, kind), withApache: false },
    queues: { measure: (kind) => byQueues(lab, kind), withApache: false },
    connections: { measure: (kind) => byConnections(lab, kind), withApache: false },
    idle: { measure: (kind) => idlePair(lab, kind), withApache: true },
    memory: {
      measure: (kind) => memoryUnderLoad(lab, kind, { ms: amounts.loadMs, sampleMs: amounts.sampleMs }),
      withApache: false,
    },
    hour: { measure: anHour, withApache: false, isAtOnce: true },
  };
  const { measure, withApache, isAtOnce } = measures[name]!;
  const subjects = kinds.filter((kind) => kind !== "apache" || withApache);
  const samples: Record<string, Figures[]> = Object.fromEntries(subjects.map((kind) => [kind, []]));
  const count = isAtOnce ? 1 : rounds;
  for (let round = 0; round < count; round++) {
    const one = async (kind: Kind) => {
      const startedAt = performance.now();
      const figures = await measure(kind);
      expectNumbers(name, kind, figures);
      samples[kind]!.push(figures);
      const seconds = ((performance.now() - startedAt) / 1000).toFixed(0);
      console.log(`${name}, round ${round + 1} of ${count}, ${kind}: ${seconds} s`);
    };
    if (isAtOnce) await Promise.all(subjects.map(one));
    else for (const kind of inTurn(subjects, round)) await one(kind);
    keep(name, round + 1, subjects, samples);
  }
  crash.close();
}

function expectNumbers(part: string, kind: Kind, figures: Figures): void {
  for (const [key, value] of Object.entries(figures)) {
    if (!Number.isFinite(value)) throw new Error(`${part} on ${kind}: ${key} is ${value}`);
  }
}

async function kindsOf(text: string): Promise<Kind[]> {
  const wanted = someOf<Kind>("only", text, NAMES);
  if (!wanted.includes("apache") || await hasJava()) return wanted;
  console.log("Apache is left out: it needs java, javac and mvn");
  return wanted.filter((kind) => kind !== "apache");
}

function amountsOf(standard: ScaleAmounts): ScaleAmounts {
  const list = (flag: string, text: string) => text.split(",").map((one) => wholeNumber(flag, one));
  const { gb, queues, connections, "load-minutes": minutes } = values;
  return {
    ...standard,
    ...(gb === undefined ? {} : { crashBytes: positiveNumber("gb", gb) * GB }),
    ...(minutes === undefined ? {} : { loadMs: positiveNumber("load-minutes", minutes) * 60_000 }),
    ...(queues === undefined ? {} : { queues: list("queues", queues) }),
    ...(connections === undefined ? {} : { connections: list("connections", connections) }),
  };
}

function read(file: string): ScaleResults {
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : {};
}

function keep(part: string, done: number, subjects: readonly Kind[], samples: Record<string, Figures[]>): void {
  const machine = describeMachine(versionsOf(subjects, APACHE_VERSION));
  results = {
    ...results,
    [part]: { date: new Date().toISOString().slice(0, 10), machine, rounds: done, samples },
  };
  if (file !== null) writeFigures(file, results);
}
