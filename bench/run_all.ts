// The comparison: Twinlog on Deno, Bun and Node, and a real Apache broker, measured with the same neutral counterpart in
// the same run, in turn in every round. Prints a table, writes JSON, and brings the tables in the documents up to date.
//
//   node bench/run_all.ts [--quick] [--rounds N] [--json FILE] [--only deno,bun,node,apache] [--no-docs]
//   node bench/run_all.ts --smoke      seconds: does everything run? Twinlog and the C peer only, no figures kept
//
// Needs Linux and a C compiler; for Apache, Java 17 and Maven. Without those Apache is left out, and it says so.

import * as fs from "node:fs";
import * as path from "node:path";
import { parseArgs } from "node:util";
import { destroyAll } from "../tests/interop/lab/processes.ts";
import { RUNTIMES } from "../tests/interop/lab/twinlog.ts";
import { makeLog } from "./lib/log_maker.ts";
import { describeMachine, pause } from "./lib/machine.ts";
import { CACHE, measure, Peer, type PeerResult, ROOT } from "./lib/peer.ts";
import { type Amounts, type Figures, masterLife, slaveLife } from "./lib/phases.ts";
import { renderLimits, renderMachine, renderTable, replaceBetween, resultsOf } from "./lib/report.ts";
import { smoke } from "./lib/smoke.ts";
import { subjectsOf } from "./lib/subjects.ts";
import { inTurn } from "./lib/turns.ts";
import { versionsOf } from "./lib/versions.ts";

const APACHE_VERSION = "5.3.3";
const TRANSFER_BYTES = 1_000_000_000;
const ACK_BYTES = 60_000_000;
const MAPPED_FILE_SIZE = 1024 ** 3;
const IDLE_MS = 5000;
const MIB = 1024 * 1024;

const { values } = parseArgs({
  options: {
    quick: { type: "boolean", default: false },
    smoke: { type: "boolean", default: false },
    rounds: { type: "string" },
    only: { type: "string", default: [...RUNTIMES, "apache"].join(",") },
    json: { type: "string", default: "bench/results/latest.json" },
    "no-docs": { type: "boolean", default: false },
  },
});

if (values.smoke) process.exit(await smoke());

const rounds = Number(values.rounds ?? (values.quick ? 1 : 5));
if (!Number.isInteger(rounds) || rounds < 1) {
  throw new Error(`--rounds is "${values.rounds}", wanted a whole number from 1`);
}

const work = path.join(CACHE, "run");
fs.rmSync(work, { recursive: true, force: true });
fs.mkdirSync(work, { recursive: true });
console.log("Making the log…");
const log = await makeLog(CACHE, MAPPED_FILE_SIZE, [TRANSFER_BYTES, TRANSFER_BYTES + ACK_BYTES]);
const amounts: Amounts = { log, serveBatch: 32 * 1024, acks: 10_000, idleMs: IDLE_MS };

const subjects = await subjectsOf(values.only.split(","), APACHE_VERSION, work);

const samples: Record<string, Figures[]> = Object.fromEntries(subjects.map(({ name }) => [name, []]));
const limits: Record<string, PeerResult[]> = {};
for (let round = 0; round < rounds; round++) {
  for (const [name, result] of Object.entries(await measureLimits())) (limits[name] ??= []).push(result);
  for (const subject of inTurn(subjects, round)) {
    console.log(`Round ${round + 1} of ${rounds}: ${subject.name}`);
    const slave = await slaveLife(subject, amounts, work);
    const master = await masterLife(subject, amounts, work);
    samples[subject.name]!.push({ ...slave, ...master });
  }
}

const machine = describeMachine(versionsOf(subjects.map(({ name }) => name), APACHE_VERSION));
const results = resultsOf({ machine, rounds, log, samples, limits });
const json = path.resolve(ROOT, values.json);
fs.mkdirSync(path.dirname(json), { recursive: true });
fs.writeFileSync(json, `${JSON.stringify(results, null, 2)}\n`);
console.log(`\n${renderTable(results, false)}\n\n${renderLimits(results)}\n\n${renderMachine(results)}`);
if (!values["no-docs"]) {
  const text = `${renderMachine(results)}\n\n${renderTable(results, false)}\n\n${renderLimits(results)}`;
  replaceBetween(path.join(ROOT, "docs/performance.md"), "figures", text);
  replaceBetween(path.join(ROOT, "README.md"), "figures", `${renderTable(results, true)}\n\n${renderMachine(results)}`);
}
await destroyAll();
fs.rmSync(work, { recursive: true, force: true });
process.exit(0);

async function measureLimits(): Promise<Record<string, PeerResult>> {
  const tcp = await measure("limits", "tcp", TRANSFER_BYTES, MIB);
  const pwrite = await measure("limits", "pwrite", path.join(work, "limit"), TRANSFER_BYTES, MIB);
  const pingpong = await measure("limits", "pingpong", amounts.acks);
  const spinner = new Peer("limits", ["spin"]);
  await pause(100);
  const pingpongAwake = await measure("limits", "pingpong", amounts.acks);
  await spinner.destroy();
  return { tcp, pwrite, pingpong, pingpongAwake };
}
