// The nodes under test, seen alike: Twinlog's cli.ts on each runtime, and a real Apache broker. A subject starts as a
// master or a slave on a store and says when it listened; what is measured on it is not decided here.

import { type ChildProcess, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { MasterInfoClient } from "../../src/broker/master_info_client.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import { ApacheLab, hasJava } from "../../tests/interop/lab/apache.ts";
import { freeBrokerPort } from "../../tests/interop/lab/processes.ts";
import { cliCommand, type RuntimeName } from "../../tests/interop/lab/twinlog.ts";
import { ROOT } from "./peer.ts";

/** A running node under test. */
export interface Running {
  readonly pid: number;
  /** Where clients send. */
  readonly port: number;
  readonly haPort: number;
  /** From spawning the process until it said it listens (ours) or its port answered (Apache), ms. */
  readonly listeningMs: number;
  /** Makes a slave follow the master at that HA port. */
  follow(haPort: number): Promise<void>;
  stop(): Promise<void>;
}

/** A kind of node. */
export interface Subject {
  readonly name: string;
  start: Start;
  /** The same with frames of 1 MiB, where that isn't its default: its best sending beside our default. */
  readonly withLargeFrames?: Subject;
}

type Start = (role: Role, store: string, mappedFileSize: number) => Promise<Running>;

/** What a node is: a `syncMaster` answers a put once a slave has it too (`inSyncReplicas=2`). */
export type Role = "master" | "syncMaster" | "slave";

const BROKER_ROLE = { master: "ASYNC_MASTER", syncMaster: "SYNC_MASTER", slave: "SLAVE" } as const;

const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Those of the names, Apache last; without Java it is left out, which is said. What they keep goes to `directory`. */
export async function subjectsOf(
  names: readonly string[],
  apacheVersion: string,
  directory: string,
): Promise<Subject[]> {
  const runtimes = names.filter((name) => name !== "apache") as RuntimeName[];
  const subjects: Subject[] = runtimes.map((name) => twinlogSubject(name, directory));
  if (!names.includes("apache")) return subjects;
  if (await hasJava()) subjects.push(await apacheSubject(apacheVersion, path.join(directory, "apache")));
  else console.log("Apache is left out: it needs java, javac and mvn");
  return subjects;
}

/** Twinlog on a runtime. Its log lines go to a file in `directory`. */
export function twinlogSubject(runtime: RuntimeName, directory: string): Subject {
  return {
    name: runtime,
    start: (role, store, mappedFileSize) => startTwinlog(runtime, directory, role, store, mappedFileSize),
  };
}

async function startTwinlog(
  runtime: RuntimeName,
  directory: string,
  role: Role,
  store: string,
  mappedFileSize: number,
): Promise<Running> {
  const [command, leading] = cliCommand(runtime);
  const args = [
    ...leading,
    "--json",
    ...["--broker-role", BROKER_ROLE[role], "--store", store, "--listen-port", "0"],
    ...["--mapped-file-size-commit-log", String(mappedFileSize), "--namesrv-addr", "none"],
    ...(role === "syncMaster" ? ["--in-sync-replicas", "2"] : []),
    // Nobody there: the address comes later, so that idle memory is measured without a connection.
    ...(role === "slave" ? ["--master", "127.0.0.1:1"] : []),
  ];
  const log = fs.openSync(path.join(directory, `twinlog-${runtime}-${role}.log`), "a");
  const startedAt = performance.now();
  const child = spawn(command, args, { cwd: ROOT, stdio: ["ignore", "pipe", log] });
  fs.closeSync(log);
  running.add(child);
  const exited = new Promise<void>((resolve) => child.once("exit", () => resolve()));
  const line = await firstLine(child);
  const listeningMs = performance.now() - startedAt;
  const { addresses } = JSON.parse(line);
  const portOf = (address: string) => Number(address.split(":").at(-1));
  return {
    pid: child.pid!,
    port: portOf(addresses.remoting),
    haPort: portOf(addresses.ha),
    listeningMs,
    async follow(haPort) {
      const response = await fetch(`http://${addresses.admin}/ha/master-address`, {
        method: "PUT",
        headers: { "content-type": "application/json" },
        body: JSON.stringify({ address: `127.0.0.1:${haPort}` }),
      });
      if (!response.ok) throw new Error(`PUT /ha/master-address answered ${response.status}: ${await response.text()}`);
      await response.body?.cancel();
    },
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), 10_000);
      await exited;
      clearTimeout(timer);
      running.delete(child);
    },
  };
}

function firstLine(child: ChildProcess): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = "";
    child.stdout!.setEncoding("utf8").on("data", (chunk: string) => {
      text += chunk;
      if (text.includes("\n")) resolve(text.slice(0, text.indexOf("\n")));
    });
    child.once("exit", (code) => reject(new Error(`Twinlog ended with ${code} before it listened`)));
  });
}

/** A real Apache broker of that version. One NameServer of its own serves all its brokers. */
export async function apacheSubject(version: string, directory: string): Promise<Subject & { close(): Promise<void> }> {
  const lab = await ApacheLab.create(version, directory);
  const namesrv = await lab.startNamesrv();
  const runtime = await loadRuntime();
  let count = 0;
  const startWith = (settings: Record<string, number>): Start => async (role, store, mappedFileSize) => {
    const port = await freeBrokerPort();
    const startedAt = performance.now();
    const broker = await lab.startBroker({
      name: `bench-${count++}`,
      role: BROKER_ROLE[role],
      namesrv: namesrv.address,
      store,
      port,
      settings: {
        mappedFileSizeCommitLog: mappedFileSize,
        ...(role === "syncMaster" ? { inSyncReplicas: 2 } : {}),
        ...settings,
      },
    });
    const listeningMs = performance.now() - startedAt;
    return {
      pid: broker.process.pid,
      port: broker.port,
      haPort: broker.haPort,
      listeningMs,
      // The configured haMasterAddress is lost in 5.3.3, so it is told as a NameServer's answer would tell it.
      async follow(haPort) {
        const client = new RemotingClient({ net: runtime.net, clock: runtime.clock });
        const info = new MasterInfoClient({ client, logger: SILENT_LOGGER });
        await info.exchangeBrokerHaInfo(broker.address, { masterHaAddress: `127.0.0.1:${haPort}` });
        await client.close();
      },
      async stop() {
        await broker.process.stop();
      },
    };
  };
  return {
    name: "apache",
    start: startWith({}),
    withLargeFrames: { name: "apache", start: startWith({ haTransferBatchSize: 1024 * 1024 }) },
    async close() {
      await namesrv.process.destroy();
    },
  };
}
