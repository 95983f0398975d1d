// Every request code and every mqadmin command that is for a broker or NameServer, put to Apache 5.3.3 and to ours, each
// freshly started and prepared alike, and compared. What comes out is docs/compatibility.md: written with
// TWINLOG_WRITE_COMPATIBILITY=1, else checked against. TWINLOG_COMPATIBILITY_RUNTIME names our runtime (deno).

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import {
  type CaseRow,
  caseVerdict,
  type CommandRow,
  commandVerdict,
  renderCompatibility,
} from "./lab/compatibility_document.ts";
import { differences, type Surroundings } from "./lab/comparison.ts";
import { type Kind, type LabBroker, LabCluster } from "./lab/lab_cluster.ts";
import { mqadminDifferences, type MqadminResult } from "./lab/mqadmin_comparison.ts";
import { MqadminLab } from "./lab/mqadmin_lab.ts";
import { MISSING_COMMANDS, MQADMIN_STEPS, OTHER_COMMANDS } from "./lab/mqadmin_script.ts";
import { ROOT, until } from "./lab/processes.ts";
import { RawPeer } from "./lab/raw_peer.ts";
import { ADMIN_CASES, PREPARING_CASES } from "./lab/request_cases_admin.ts";
import { CLIENT_CASES, FAREWELL_CASES } from "./lab/request_cases_clients.ts";
import { NAMESRV_CASES, OTHER_CASES } from "./lab/request_cases_other.ts";
import { type Outcome, type RequestCase, RequestWorld } from "./lab/request_world.ts";
import { scratch } from "./lab/scratch.ts";

const RUNTIME = (process.env.TWINLOG_COMPATIBILITY_RUNTIME ?? "deno") as Kind;
const DOCUMENT = path.join(ROOT, "docs/compatibility.md");
const java = await hasJava();

const CASES: readonly RequestCase[] = [
  ...PREPARING_CASES,
  ...CLIENT_CASES,
  ...ADMIN_CASES,
  ...OTHER_CASES,
  ...NAMESRV_CASES,
  ...FAREWELL_CASES,
];

/** A broker and NameServer of one kind. */
interface Side {
  readonly broker: LabBroker;
  readonly namesrv: string;
  readonly directory: string;
  readonly surroundings: Surroundings;
}

describe("requests and mqadmin against Apache 5.3.3 and ours", { skip: java ? false : "no Java here" }, () => {
  const directory = java ? scratch("compatibility") : "";
  const sides: Side[] = [];
  after(async () => {
    await Promise.all(sides.map(({ broker }) => broker.end("stop")));
  });

  async function start(lab: ApacheLab, kind: Kind, name: string): Promise<Side> {
    const own = path.join(directory, `${name}-${kind}`);
    fs.mkdirSync(own, { recursive: true });
    const cluster = new LabCluster(lab, own);
    const namesrv = kind === "apache" ? "apache" : "embedded";
    const { broker, namesrv: address } = await cluster.startPair({ broker: kind, namesrv, name: "lab" });
    await registered(address);
    const names: Surroundings["names"] = [
      [broker.store, "<store>"],
      [own, "<folder>"],
      [broker.address, "<broker>"],
      [broker.haAddress, "<ha>"],
      [address, "<namesrv>"],
    ];
    const side = { broker, namesrv: address, directory: own, surroundings: { names } };
    sides.push(side);
    return side;
  }

  const cases: CaseRow[] = [];
  const commands: CommandRow[] = [];

  it("answers each request", { timeout: 300_000 }, async () => {
    const lab = await ApacheLab.create("5.3.3", directory);
    const both = await Promise.all([start(lab, "apache", "requests"), start(lab, RUNTIME, "requests")]);
    const [apache, ours] = await Promise.all(both.map(outcomesOf));
    CASES.forEach((one, at) => {
      const row = { one, apache: apache![at]!, ours: ours![at]! };
      cases.push({ ...row, differences: differences(row.apache, row.ours) });
    });
    await Promise.all(both.map(({ broker }) => broker.end("stop")));
    const unforeseen = cases.filter((row) => (row.one.differs !== undefined) !== (row.differences.length > 0));
    assert.deepEqual(
      unforeseen.map((row) => `${row.one.code} ${row.one.name} (${row.one.what}): ${caseVerdict(row)}`),
      [],
    );
  });

  it("serves each mqadmin command", { timeout: 900_000 }, async () => {
    const lab = await ApacheLab.create("5.3.3", directory);
    const both = await Promise.all([start(lab, "apache", "mqadmin"), start(lab, RUNTIME, "mqadmin")]);
    const [apache, ours] = await Promise.all(both.map(outputsOf));
    const steps = MQADMIN_STEPS.filter((step) => "words" in step);
    steps.forEach((step, at) => {
      const [command = "", ...args] = step.words.replaceAll("-n {namesrv}", "").trim().split(/\s+/);
      const row = { command, args: args.join(" "), by: step.by, but: step.but ?? null };
      commands.push({ ...row, differences: mqadminDifferences(step, apache![at]!, ours![at]!) });
    });
    const unforeseen = commands.filter((row) => row.differences.length > 0);
    assert.deepEqual(unforeseen.map((row) => `${row.command} ${row.args}: ${commandVerdict(row)}`), []);
    const named = [
      ...commands.map((row) => row.command),
      ...Object.keys(MISSING_COMMANDS),
      ...Object.keys(OTHER_COMMANDS),
    ];
    assert.deepEqual([...new Set(named)].sort(), (await allCommands(both[0]!)).sort());
  });

  it("is what docs/compatibility.md says", () => {
    const text = renderCompatibility({ cases, commands, missing: MISSING_COMMANDS, others: OTHER_COMMANDS });
    if (process.env.TWINLOG_WRITE_COMPATIBILITY === "1") fs.writeFileSync(DOCUMENT, text);
    const kept = new Set(fs.readFileSync(DOCUMENT, "utf8").split("\n"));
    assert.deepEqual(text.split("\n").filter((line) => !kept.has(line)), []);
  });
});

/** The first registration takes a broker some seconds. */
async function registered(namesrv: string): Promise<void> {
  const peer = await RawPeer.connect(namesrv);
  await until(
    "the broker's route",
    60_000,
    async () => (await peer.call({ code: 105, ext: { topic: "TBW102" } })).code === 0,
  );
  peer.close();
}

async function outcomesOf({ broker, namesrv, surroundings }: Side): Promise<Outcome[]> {
  const world = await RequestWorld.open({ broker: broker.address, namesrv, names: surroundings.names });
  const outcomes: Outcome[] = [];
  for (const one of CASES) outcomes.push(await one.run(world));
  world.close();
  return outcomes;
}

async function outputsOf(side: Side): Promise<MqadminResult[]> {
  const { broker, namesrv, directory: folder, surroundings } = side;
  fs.writeFileSync(
    path.join(folder, "topics.json"),
    JSON.stringify([{ topicName: "ListA", readQueueNums: 2, writeQueueNums: 2, perm: 6 }, { topicName: "ListB" }]),
  );
  fs.writeFileSync(
    path.join(folder, "groups.json"),
    JSON.stringify([{ groupName: "GroupA" }, { groupName: "GroupB", retryMaxTimes: 3 }]),
  );
  const mqadmin = await MqadminLab.start({ directory: path.join(folder, "tools"), namesrv });
  const filled: Record<string, string> = { broker: broker.address, namesrv, folder };
  const results: MqadminResult[] = [];
  for (const step of MQADMIN_STEPS) {
    const words = "lab" in step ? step.lab : step.words.replaceAll(/\{(\w+)\}/g, (_, name: string) => filled[name]!);
    const run = () => mqadmin.run(words.split(" "), "limitMs" in step ? step.limitMs : undefined);
    let { text } = await run();
    // A client that has just started now and then finds the channel it has just opened closed, with any broker.
    if (text.includes("RemotingSendRequestException")) ({ text } = await run());
    if ("words" in step) results.push({ text, surroundings, folder });
    else if (step.lab.startsWith("@send")) [filled.msgId, filled.offsetMsgId] = text.split(/\s/) as [string, string];
  }
  mqadmin.stop();
  return results;
}

async function allCommands({ namesrv, directory: folder }: Side): Promise<string[]> {
  const mqadmin = await MqadminLab.start({ directory: path.join(folder, "tools"), namesrv });
  const { text } = await mqadmin.run(["@commands"]);
  mqadmin.stop();
  return text.trim().split("\n");
}
