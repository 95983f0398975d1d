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
import { hasJava } from "../tests/interop/lab/apache.ts";
import { destroyAll } from "../tests/interop/lab/processes.ts";
import { type RuntimeName, RUNTIMES } from "../tests/interop/lab/twinlog.ts";
import { makeLog } from "./lib/log_maker.ts";
import { describeMachine, pause } from "./lib/machine.ts";
import { CACHE, measure, Peer, type PeerResult, ROOT } from "./lib/peer.ts";
import { type Amounts, type Figures, masterLife, slaveLife } from "./lib/phases.ts";
import {
  medians,
  renderLimits,
  renderMachine,
  renderTable,
  replaceBetween,
  type Results,
  summarize,
} from "./lib/report.ts";
import { smoke } from "./lib/smoke.ts";
import { apacheSubject, type Subject, twinlogSubject } from "./lib/subjects.ts";
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

const names = values.only.split(",");
const subjects: Subject[] = names.filter((name) => name !== "apache").map((name) =>
  twinlogSubject(name as RuntimeName, work)
);
if (names.includes("apache")) {
  if (await hasJava()) subjects.push(await apacheSubject(APACHE_VERSION, path.join(work, "apache")));
  else console.log("Apache is left out: it needs java, javac and mvn");
}

const samples: Record<string, Figures[]> = Object.fromEntries(subjects.map(({ name }) => [name, []]));
const limits: Record<string, PeerResult[]> = {};
for (let round = 0; round < rounds; round++) {
  for (const [name, result] of Object.entries(await measureLimits())) (limits[name] ??= []).push(result);
  // Each round begins with another node, so that none always has the same neighbour in time.
  for (const subject of [...subjects.slice(round % subjects.length), ...subjects.slice(0, round % subjects.length)]) {
    console.log(`Round ${round + 1} of ${rounds}: ${subject.name}`);
    const slave = await slaveLife(subject, amounts, work);
    const master = await masterLife(subject, amounts, work);
    samples[subject.name]!.push({ ...slave, ...master });
  }
}

const results: Results = {
  date: new Date().toISOString().slice(0, 10),
  machine: describeMachine(versionsOf(subjects.map(({ name }) => name), APACHE_VERSION)),
  rounds,
  log: { bytes: log.marks[0]!, messages: log.messages, messageBytes: Math.round(log.maxOffset / log.messages) },
  figures: Object.fromEntries(Object.entries(samples).map(([name, each]) => [name, summarize(each)])),
  samples,
  limits: Object.fromEntries(Object.entries(limits).map(([name, each]) => [name, medians(each)])),
};
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
