// The comparison: Twinlog on Deno, Bun and Node, and a real Apache broker, measured with the same neutral counterpart in
// the same run, in turn in every round. Prints a table; a whole run also writes JSON and brings the documents up to date.
//
//   node bench/run_all.ts [--quick] [--rounds N] [--json FILE] [--only deno,bun,node,apache] [--no-docs]
//   node bench/run_all.ts --smoke      two minutes: does everything run? Without Apache's brokers, no figures kept
//
// Needs Linux and a C compiler; for Apache, Java 17 and Maven. Without those Apache is left out, and it says so.

import * as fs from "node:fs";
import * as path from "node:path";
import { destroyAll } from "../tests/interop/lab/processes.ts";
import { RUNTIMES } from "../tests/interop/lab/twinlog.ts";
import { keptWhere, writeFigures } from "./lib/kept.ts";
import { benchArguments, someOf, wholeNumber } from "./lib/arguments.ts";
import { isRuntime, limitsOf } from "./lib/limits.ts";
import { makeLog } from "./lib/log_maker.ts";
import { describeMachine } from "./lib/machine.ts";
import { CACHE } from "./lib/peer.ts";
import { type Amounts, type Figures, masterLife, slaveLife } from "./lib/phases.ts";
import { documentNodes } from "./lib/documents.ts";
import { renderLimits, renderMachine, renderTable, resultsOf, summarizeAll } from "./lib/report.ts";
import { smoke } from "./lib/smoke.ts";
import { subjectsOf } from "./lib/subjects.ts";
import { inTurn } from "./lib/turns.ts";
import { versionsOf } from "./lib/versions.ts";

const APACHE_VERSION = "5.3.3";
const TRANSFER_BYTES = 1_000_000_000;
const ACK_BYTES = 60_000_000;
const MAPPED_FILE_SIZE = 1024 ** 3;
const IDLE_MS = 5000;

const NAMES = [...RUNTIMES, "apache"] as const;
const ALL = NAMES.join(",");

const values = benchArguments(import.meta.filename, NAMES, {
  quick: { type: "boolean", default: false },
  smoke: { type: "boolean", default: false },
});

if (values.smoke) process.exit(await smoke());

const names = someOf("only", values.only, NAMES);
const rounds = wholeNumber("rounds", values.rounds ?? (values.quick ? "1" : "5"));

const work = path.join(CACHE, "run");
fs.rmSync(work, { recursive: true, force: true });
fs.mkdirSync(work, { recursive: true });
console.log("Making the log…");
const log = await makeLog(CACHE, MAPPED_FILE_SIZE, [TRANSFER_BYTES, TRANSFER_BYTES + ACK_BYTES]);
const amounts: Amounts = { log, serveBatch: 32 * 1024, acks: 10_000, idleMs: IDLE_MS };

const subjects = await subjectsOf(names, APACHE_VERSION, work);

const samples: Record<string, Figures[]> = Object.fromEntries(subjects.map(({ name }) => [name, []]));
const runtimes = subjects.map(({ name }) => name).filter(isRuntime);
const limitSamples: Record<string, Figures[]> = Object.fromEntries(["c", ...runtimes].map((name) => [name, []]));
const limitAmounts = { bytes: TRANSFER_BYTES, roundTrips: amounts.acks };
for (let round = 0; round < rounds; round++) {
  limitSamples.c!.push(await limitsOf("c", limitAmounts, work));
  for (const subject of inTurn(subjects, round)) {
    console.log(`Round ${round + 1} of ${rounds}: ${subject.name}`);
    // Right beside what is divided by it, as the host's mood changes.
    const limits = isRuntime(subject.name) ? await limitsOf(subject.name, limitAmounts, work) : null;
    const slave = await slaveLife(subject, amounts, work);
    const master = await masterLife(subject, amounts, work);
    const figures: Figures = { ...slave, ...master };
    if (limits !== null) {
      limitSamples[subject.name]!.push(limits);
      figures.intakeByOwnLimit = figures.intakeGBs! / limits.storeGBs!;
    }
    samples[subject.name]!.push(figures);
  }
}

const machine = describeMachine(versionsOf(subjects.map(({ name }) => name), APACHE_VERSION));
const results = resultsOf({ machine, rounds, log, samples, limits: {} });
const limits = summarizeAll(limitSamples);
const { file, toDocuments } = keptWhere({
  isWhole: !values.quick && values.only === ALL,
  standard: "bench/results/latest.json",
  json: values.json,
  noDocs: values["no-docs"],
});
if (file !== null) writeFigures(file, { ...results, limits, limitSamples });
const text = `${renderMachine(results)}\n\n${renderTable(results, false)}\n\n${renderLimits(limits)}`;
console.log(`\n${text}`);
if (toDocuments) documentNodes({ ...results, limits });
await destroyAll();
fs.rmSync(work, { recursive: true, force: true });
process.exit(0);
