// The scenarios of real clients as the tests run them: compiled once per version of what they need, started against a
// NameServer, their lines read as they come. What a scenario does and asserts is in ClientScenarios.java and goclient/.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { install } from "./apache.ts";
import { LabProcess, ROOT, run } from "./processes.ts";

const LAB = import.meta.dirname;
const CACHE = path.join(ROOT, ".cache/clients");

/** How one scenario ended. */
export interface ScenarioResult {
  readonly scenario: string;
  readonly ok: boolean;
  /** What must be equal against any broker. */
  readonly facts: Readonly<Record<string, unknown>>;
  /** Figures to look at, and the error. */
  readonly notes: Readonly<Record<string, unknown>>;
}

/** A program that plays scenarios; `command` runs it when its arguments are appended. */
export interface ClientProgram {
  readonly name: string;
  readonly command: readonly string[];
  readonly env?: NodeJS.ProcessEnv;
}

/** The Java scenarios on the client of one version. `properties` are JVM system properties. */
export async function javaScenarios(
  version: string,
  directory: string,
  properties: Record<string, string> = {},
): Promise<ClientProgram> {
  const jars = await install(version);
  const classes = await built(`java-${version}`, ["ClientScenarios.java"], async (folder) => {
    let source = fs.readFileSync(path.join(LAB, "ClientScenarios.java"), "utf8");
    // 4.9 has what 5.x moved in another package.
    if (version.startsWith("4.")) source = source.replaceAll("remoting.protocol.h", "common.protocol.h");
    const file = path.join(folder, "ClientScenarios.java");
    fs.writeFileSync(file, source);
    await run("javac", ["-nowarn", "-cp", `${jars}/*`, "-d", folder, file]);
  });
  const home = path.join(directory, `clients-${version}-${Object.keys(properties).length}`);
  return {
    name: `Java ${version}${Object.keys(properties).length > 0 ? " *" : ""}`,
    command: [
      "java",
      "-Xms128m",
      "-Xmx768m",
      "-XX:TieredStopAtLevel=1",
      `-Duser.home=${home}`,
      `-Drocketmq.client.logRoot=${home}/logs`,
      `-Drmq.logback.configurationFile=${directory}/conf/logback_client.xml`,
      `-Dlogback.configurationFile=${directory}/conf/logback_client.xml`,
      // 20 s by default, and 4.9 misses its first round now and then.
      "-Drocketmq.client.rebalance.waitInterval=10000",
      ...Object.entries(properties).map(([key, value]) => `-D${key}=${value}`),
      "-cp",
      `${jars}/*:${classes}`,
      "ClientScenarios",
    ],
  };
}

/** A folder per content of what goes into it, made under another name first, so that one that is there is whole. */
async function built(name: string, sources: string[], build: (folder: string) => Promise<void>): Promise<string> {
  const hash = createHash("sha256");
  for (const source of sources) hash.update(fs.readFileSync(path.join(LAB, source)));
  const folder = path.join(CACHE, `${name}-${hash.digest("hex").slice(0, 12)}`);
  if (fs.existsSync(folder)) return folder;
  const building = `${folder}.${process.pid}`;
  fs.rmSync(building, { recursive: true, force: true });
  fs.mkdirSync(building, { recursive: true });
  await build(building);
  // Another test file may have been first.
  if (!fs.existsSync(folder)) fs.renameSync(building, folder);
  return folder;
}

let runs = 0;

/**
 * Plays scenarios to their end and answers with how each ended, by name. `restart` is called when one asks for a restart
 * of the broker. Rejects when the program ends early or takes longer than `limitMs`.
 */
export async function playScenarios(
  program: ClientProgram,
  options: {
    namesrv: string;
    directory: string;
    scenarios?: readonly string[];
    restart?: () => Promise<void>;
    limitMs?: number;
  },
): Promise<Map<string, ScenarioResult>> {
  const prefix = `c${runs++}`;
  const answers = path.join(options.directory, `answers-${prefix}`);
  fs.mkdirSync(answers, { recursive: true });
  const logPath = path.join(options.directory, `clients-${prefix}.log`);
  const args = [options.namesrv, prefix, answers, options.scenarios?.join(",") ?? "all"];
  const [command, ...leading] = program.command;
  const child = new LabProcess(program.name, command!, [...leading, ...args], {
    logPath,
    ...(program.env ? { env: program.env } : {}),
  });
  const limit = setTimeout(() => child.kill("SIGKILL"), options.limitMs ?? 240_000);
  const asked = child.waitFor(/^@@ASK restart$/m, options.limitMs ?? 240_000).then(async () => {
    await options.restart?.();
    fs.writeFileSync(path.join(answers, "restart"), "");
  }, () => undefined); // ended without asking
  const code = await child.exited();
  clearTimeout(limit);
  await asked;
  const results = new Map<string, ScenarioResult>();
  for (const [, line] of child.output().matchAll(/^@@ (\{.*\})$/gm)) {
    const result: ScenarioResult = JSON.parse(line!);
    results.set(result.scenario, result);
  }
  if (code !== 0) throw new Error(`${program.name} ended with ${code}:\n${child.output().slice(-4000)}`);
  return results;
}
