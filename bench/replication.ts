// Replication by itself: Twinlog on Deno, Bun and Node, and Apache 5.3.3, in turn in every round. A master that sends to
// many slaves, puts that wait for a slave near and far, catching up over a longer way, and puts beside a catch-up. Prints
// tables; a whole run also writes JSON and brings docs/performance.md up to date.
//
//   node bench/replication.ts [--rounds N] [--only deno,bun,node,apache] [--json FILE] [--no-docs]
//   node bench/replication.ts --quick      one round of small sizes; the documents stay as they are
//   node bench/replication.ts --render     the documents anew from the JSON
//   node bench/replication.ts --smoke      seconds: does it run? No figures kept
//
// Needs Linux and a C compiler, root to take a mapped log out of the page cache; for Apache, Java 17 and Maven. The JSON is
// rewritten after each round, so a run may be ended early.

import * as fs from "node:fs";
import * as path from "node:path";
import { destroyAll } from "../tests/interop/lab/processes.ts";
import { RUNTIMES } from "../tests/interop/lab/twinlog.ts";
import { benchArguments, someOf, wholeNumber } from "./lib/arguments.ts";
import { wayLimits } from "./lib/delay.ts";
import { documentReplication } from "./lib/documents.ts";
import { makeLog } from "./lib/log_maker.ts";
import { keptWhere, writeFigures } from "./lib/kept.ts";
import { describeMachine } from "./lib/machine.ts";
import { CACHE, type PeerResult, ROOT } from "./lib/peer.ts";
import type { Figures } from "./lib/phases.ts";
import {
  CATCH_UP_DELAY_US,
  coldRead,
  intakeLives,
  type ReplicationAmounts,
  sendingLife,
} from "./lib/replication_phases.ts";
import { renderReplication } from "./lib/replication_report.ts";
import { type Results, resultsOf } from "./lib/report.ts";
import { subjectsOf } from "./lib/subjects.ts";
import { inTurn } from "./lib/turns.ts";
import { pairLife } from "./lib/sync_puts.ts";
import { versionsOf } from "./lib/versions.ts";

const APACHE_VERSION = "5.3.3";
const MIB = 1024 * 1024;
/** Behind the log proper, for the acks that are timed between neutral peers. */
const ACK_BYTES = 5_000_000;

const NAMES = [...RUNTIMES, "apache"] as const;
const ALL = NAMES.join(",");
const STANDARD = "bench/results/replication.json";

const values = benchArguments(import.meta.filename, NAMES, {
  quick: { type: "boolean", default: false },
  smoke: { type: "boolean", default: false },
  render: { type: "boolean", default: false },
});
if (values.render) {
  documentReplication(JSON.parse(fs.readFileSync(path.resolve(ROOT, values.json ?? STANDARD), "utf8")));
  process.exit(0);
}
const isWhole = !values.quick && !values.smoke;
const { file, toDocuments } = keptWhere({
  isWhole: isWhole && values.only === ALL,
  standard: STANDARD,
  json: values.json,
  noDocs: values["no-docs"],
});
const rounds = wholeNumber("rounds", values.rounds ?? (isWhole ? "5" : "1"));
const logBytes = isWhole ? 1_000_000_000 : values.quick ? 100_000_000 : 8_000_000;
/** One file holds the log and what all rounds put behind it: an empty Apache slave gets the last file only. */
const mappedFileSize = (isWhole ? 1536 : values.quick ? 192 : 32) * MIB;
const work = path.join(CACHE, values.smoke ? "replication-smoke" : "replication");
fs.rmSync(work, { recursive: true, force: true });
fs.mkdirSync(work, { recursive: true });
const log = await makeLog(values.smoke ? work : CACHE, mappedFileSize, [logBytes, logBytes + ACK_BYTES]);
const amounts = amountsOf();

const subjects = await subjectsOf(someOf("only", values.only, NAMES), APACHE_VERSION, work);

const samples: Record<string, Figures[]> = Object.fromEntries(subjects.map(({ name }) => [name, []]));
const limits: Record<string, PeerResult[]> = {};
for (let round = 0; round < rounds; round++) {
  const ways = await measureWays();
  for (const [name, result] of Object.entries(ways)) (limits[name] ??= []).push(result);
  const rateOf = ({ bytes, seconds }: PeerResult) => bytes! / seconds! / 1e9;
  const catchUpLimits = {
    large: rateOf(ways[`large${CATCH_UP_DELAY_US}`]!),
    small: rateOf(ways[`small${CATCH_UP_DELAY_US}`]!),
  };
  for (const subject of inTurn(subjects, round)) {
    console.log(`Round ${round + 1} of ${rounds}: ${subject.name}`);
    const sending = await sendingLife(subject, amounts, work, catchUpLimits);
    const intake = await intakeLives(subject, amounts, work, catchUpLimits);
    const puts = await pairLife(subject, amounts, work);
    samples[subject.name]!.push({ ...sending, ...intake, ...puts });
  }
  if (file !== null) writeFigures(file, resultsSoFar(round + 1));
}

const results = resultsSoFar(rounds);
if (values.smoke) expectFigures();
else console.log(`\n${renderReplication(results)}`);
if (toDocuments) documentReplication(results);
await destroyAll();
fs.rmSync(work, { recursive: true, force: true });
process.exit(0);

function amountsOf(): ReplicationAmounts {
  const common = { log, serveBatch: 32 * 1024 };
  if (values.smoke) {
    const delayed = [{ delayUs: 200, puts: 50 }];
    return { ...common, slaveCounts: [1, 2], puts: 100, warmUpPuts: 10, delayed, idleMs: 0 };
  }
  const delayed = [
    { delayUs: 200, puts: isWhole ? 5000 : 500 },
    { delayUs: 2000, puts: isWhole ? 2000 : 200 },
    { delayUs: 20_000, puts: isWhole ? 300 : 50 },
  ];
  const [puts, warmUpPuts, idleMs] = isWhole ? [5000, 2000, 2000] : [1000, 200, 500];
  return { ...common, slaveCounts: [1, 4, 16], puts, warmUpPuts, delayed, idleMs };
}

/** What neutral peers reach, without a forwarder, through one that forwards at once, and over each of the ways. */
async function measureWays(): Promise<Record<string, PeerResult>> {
  const found: Record<string, PeerResult> = {};
  const delays = new Set([0, CATCH_UP_DELAY_US, ...amounts.delayed.map(({ delayUs }) => delayUs)]);
  for (const delayUs of [null, ...[...delays].toSorted((a, b) => a - b)]) {
    const acks = isWhole ? Math.max(50, Math.min(2000, 5e5 / (delayUs || 1))) : 50;
    const limits = await wayLimits({ log, smallFrame: amounts.serveBatch, acks, delayUs });
    for (const [name, result] of Object.entries(limits)) found[`${name}${delayUs ?? ""}`] = result;
  }
  found.coldRead = await coldRead(log);
  return found;
}

function resultsSoFar(done: number): Results {
  const machine = describeMachine(versionsOf(subjects.map(({ name }) => name), APACHE_VERSION));
  return resultsOf({ machine, rounds: done, log, samples, limits });
}

/** Every figure is there and no put failed. */
function expectFigures(): void {
  for (const [name, [figures]] of Object.entries(samples)) {
    for (const [key, value] of Object.entries(figures!)) {
      if (!Number.isFinite(value) || value < 0) throw new Error(`${name}: ${key} is ${value}`);
    }
    if (figures!.failedPuts! > 0) throw new Error(`${name}: ${figures!.failedPuts} puts failed`);
  }
  console.log("ok");
}
