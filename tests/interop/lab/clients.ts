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
export function javaScenarios(
  version: string,
  directory: string,
  properties: Record<string, string> = {},
): Promise<ClientProgram> {
  // 20 s by default, and 4.9 misses its first round now and then.
  const all = { "rocketmq.client.rebalance.waitInterval": "10000", ...properties };
  return javaProgram("ClientScenarios", version, directory, all);
}

/** Steady load of the Java client: see ClientLoad.java. */
export function javaLoad(version: string, directory: string): Promise<ClientProgram> {
  return javaProgram("ClientLoad", version, directory, { "rocketmq.client.rebalance.waitInterval": "2000" });
}

/** Apache's example programs, run by ExampleRunner.java on the client of 5.3.3. */
export async function javaExamples(directory: string, namesrv: string): Promise<ClientProgram> {
  const examples = await built("examples-5.5.0", ["ExampleRunner.java"], async (folder) => {
    // Without what it depends on: it works with the reference's own jars.
    await run("mvn", [
      "-q",
      "-B",
      "dependency:copy",
      "-Dartifact=org.apache.rocketmq:rocketmq-example:5.5.0",
      `-DoutputDirectory=${folder}`,
    ], { cwd: LAB, limitMs: 300_000 });
  });
  const program = await javaProgram("ExampleRunner", "5.3.3", directory, { "rocketmq.namesrv.addr": namesrv });
  const at = program.command.indexOf("-cp");
  const command = program.command.map((word, i) => i === at + 1 ? `${word}:${examples}/*` : word);
  return { ...program, command };
}

/** A Java program of the lab on the client and tools of one version. */
export async function javaProgram(
  main: string,
  version: string,
  directory: string,
  properties: Record<string, string>,
): Promise<ClientProgram> {
  const jars = await install(version);
  const classes = await built(`java-${version}`, [`${main}.java`], async (folder) => {
    let source = fs.readFileSync(path.join(LAB, `${main}.java`), "utf8");
    // 4.9 has what 5.x moved in another package.
    if (version.startsWith("4.")) source = source.replaceAll("remoting.protocol.h", "common.protocol.h");
    const file = path.join(folder, `${main}.java`);
    fs.writeFileSync(file, source);
    await run("javac", ["-nowarn", "-cp", `${jars}/*`, "-d", folder, file]);
  });
  const logback = `${version.startsWith("4.") ? "" : "org.apache.rocketmq.logging."}ch.qos.logback`;
  const conf = path.join(directory, `logback-clients-${version}.xml`);
  fs.writeFileSync(conf, LOGBACK.replaceAll("LOGBACK", logback));
  const home = path.join(directory, `clients-${version}`);
  return {
    name: `Java ${version}`,
    command: [
      "java",
      "-Xms64m",
      "-Xmx768m",
      "-XX:TieredStopAtLevel=1",
      "-XX:+UseSerialGC",
      `-Duser.home=${home}`,
      `-Drocketmq.client.logRoot=${home}/logs`,
      "-Drocketmq.client.logUseSlf4j=true",
      `-Drmq.logback.configurationFile=${conf}`,
      `-Dlogback.configurationFile=${conf}`,
      ...Object.entries(properties).map(([key, value]) => `-D${key}=${value}`),
      "-cp",
      `${jars}/*:${classes}`,
      main,
    ],
  };
}

/** What the client complains of goes where the scenarios' lines go. */
const LOGBACK = `<configuration><appender name="x" class="LOGBACK.core.ConsoleAppender"><encoder><pattern>` +
  `%d %p %c{1} - %m%n</pattern></encoder></appender><root level="ERROR"><appender-ref ref="x"/></root></configuration>`;

/** Whether Go is here. Without it the Go client's scenarios are skipped, and say so, unless they are required. */
export async function hasGo(): Promise<boolean> {
  try {
    await run("go", ["version"]);
    return true;
  } catch (error) {
    if (process.env.TWINLOG_REQUIRE_INTEROP) throw new Error("Interop tests need go", { cause: error });
    return false;
  }
}

/** The Go scenarios, built from the client's module. */
export async function goScenarios(): Promise<ClientProgram> {
  const sources = ["main.go", "go.mod", "go.sum"].map((name) => path.join("goclient", name));
  const folder = await built("go", sources, async (folder) => {
    await run("go", ["build", "-o", path.join(folder, "goclient"), "."], { cwd: path.join(LAB, "goclient") });
  });
  return { name: "Go 2.1.2", command: [path.join(folder, "goclient")] };
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
    /** Tells its lines from others' in the log's name. */
    label?: string;
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
