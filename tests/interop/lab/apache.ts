// Real Apache RocketMQ processes: installed once per version from Maven Central, started with the flags each version
// needs, and the real Java client and mqadmin beside them.

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { freeBrokerPort, LabProcess, ROOT, run, until, waitForPort } from "./processes.ts";

const LAB = import.meta.dirname;
const CACHE = path.join(ROOT, ".cache/apache");

/** Whether Java and Maven are here. Without them interop tests are skipped, and say so, unless they are required. */
export async function hasJava(): Promise<boolean> {
  try {
    await run("java", ["-version"]);
    await run("javac", ["-version"]);
    await run("mvn", ["-v"]);
    return true;
  } catch (error) {
    if (process.env.TWINLOG_REQUIRE_INTEROP) {
      throw new Error("Interop tests need java, javac and mvn", { cause: error });
    }
    return false;
  }
}

const installed = new Map<string, Promise<string>>();

/** Folder of jars of one version, with the compiled client in it; fetched on first use. */
export function install(version: string): Promise<string> {
  let folder = installed.get(version);
  if (!folder) installed.set(version, folder = installOnce(version));
  return folder;
}

/** A folder per content of what goes into it, made under another name first, so that one that is there is whole. */
async function installOnce(version: string): Promise<string> {
  const sources = ["pom.xml", "LabClient.java"].map((name) => path.join(LAB, name));
  const hash = createHash("sha256");
  for (const source of sources) hash.update(fs.readFileSync(source));
  const folder = path.join(CACHE, `${version}-${hash.digest("hex").slice(0, 12)}`);
  if (fs.existsSync(folder)) return folder;
  const release = await lockCache();
  try {
    if (fs.existsSync(folder)) return folder;
    const building = `${folder}.building`;
    fs.rmSync(building, { recursive: true, force: true });
    await run("mvn", [
      "-q",
      "-B",
      `-Drocketmq.version=${version}`,
      "dependency:copy-dependencies",
      `-DoutputDirectory=${building}`,
    ], { cwd: LAB, limitMs: 900_000 });
    await run("javac", [
      "-cp",
      `${building}/*`,
      "-d",
      path.join(building, "classes"),
      path.join(LAB, "LabClient.java"),
    ]);
    fs.renameSync(building, folder);
    return folder;
  } finally {
    release();
  }
}

/** Test files run side by side, and Maven's own repository takes one writer: a lock file, with its owner's pid in it. */
async function lockCache(): Promise<() => void> {
  fs.mkdirSync(CACHE, { recursive: true });
  const lock = path.join(CACHE, "lock");
  await until("the Apache cache to be free", 900_000, () => {
    try {
      fs.writeFileSync(lock, String(process.pid), { flag: "wx" });
      return true;
    } catch {
      const owner = fs.existsSync(lock) ? fs.readFileSync(lock, "utf8") : "";
      if (owner !== "" && !fs.existsSync(`/proc/${owner}`)) fs.rmSync(lock, { force: true });
      return false;
    }
  });
  return () => fs.rmSync(lock, { force: true });
}

/** A broker's heap; its own scripts ask for 8 GB, which the machines of this lab need not have. */
export const BROKER_HEAP = ["-Xms512m", "-Xmx1g"];

/** One Apache version inside one scratch directory. */
export class ApacheLab {
  readonly version: string;
  readonly directory: string;
  readonly #jars: string;

  private constructor(version: string, directory: string, jars: string) {
    this.version = version;
    this.directory = directory;
    this.#jars = jars;
  }

  static async create(version: string, directory: string): Promise<ApacheLab> {
    const lab = new ApacheLab(version, directory, await install(version));
    fs.mkdirSync(path.join(directory, "conf"), { recursive: true });
    const logback = `<configuration><appender name="x" class="ch.qos.logback.core.ConsoleAppender"><encoder>` +
      `<pattern>%d %p %c{1} - %m%n</pattern></encoder></appender><root level="WARN"><appender-ref ref="x"/></root></configuration>`;
    for (const name of ["broker", "namesrv", "tools", "client"]) {
      // 5.x shades logback under its own package.
      const text = version.startsWith("4.")
        ? logback
        : logback.replaceAll("ch.qos", "org.apache.rocketmq.logging.ch.qos");
      fs.writeFileSync(path.join(directory, "conf", `logback_${name}.xml`), text);
    }
    return lab;
  }

  #java(kind: "broker" | "namesrv" | "tools" | "client", home: string, heap: string[]): string[] {
    fs.mkdirSync(home, { recursive: true });
    const conf = path.join(this.directory, "conf", `logback_${kind}.xml`);
    const opens = this.version.startsWith("4.")
      ? ["--add-opens=java.base/java.nio=ALL-UNNAMED", "--add-exports=java.base/jdk.internal.ref=ALL-UNNAMED"]
      : [];
    return [
      ...heap,
      ...opens,
      `-Duser.home=${home}`,
      `-Drmq.logback.configurationFile=${conf}`,
      `-Dlogback.configurationFile=${conf}`,
      `-Drocketmq.client.logRoot=${home}/clientlogs`,
      "-cp",
      `${this.#jars}/*:${this.#jars}/classes`,
    ];
  }

  #environment(): NodeJS.ProcessEnv {
    return { ROCKETMQ_HOME: this.directory };
  }

  /** Starts a NameServer; answers once it listens. */
  async startNamesrv(): Promise<{ process: LabProcess; address: string }> {
    const port = await freeBrokerPort();
    const home = path.join(this.directory, `namesrv-${port}`);
    fs.mkdirSync(home, { recursive: true });
    const conf = path.join(home, "namesrv.conf");
    fs.writeFileSync(
      conf,
      `listenPort=${port}\nbindAddress=127.0.0.1\nkvConfigPath=${home}/kv.json\nconfigStorePath=${home}/n.properties\n`,
    );
    const args = this.#java("namesrv", home, ["-Xms128m", "-Xmx256m"]);
    const child = new LabProcess(`namesrv ${this.version}`, "java", [
      ...args,
      "org.apache.rocketmq.namesrv.NamesrvStartup",
      "-c",
      conf,
    ], {
      logPath: path.join(home, "out.log"),
      env: this.#environment(),
    });
    await waitForPort(port, child);
    return { process: child, address: `127.0.0.1:${port}` };
  }

  /** Starts a broker; answers once it listens. `settings` override what the lab sets. */
  async startBroker(options: {
    name: string;
    role: "ASYNC_MASTER" | "SYNC_MASTER" | "SLAVE";
    namesrv: string;
    store: string;
    port?: number;
    settings?: Record<string, string | number>;
    startLimitMs?: number;
  }): Promise<ApacheBroker> {
    const port = options.port ?? await freeBrokerPort();
    const home = path.join(this.directory, `broker-${options.name}-${options.role}-${port}`);
    fs.mkdirSync(home, { recursive: true });
    const settings: Record<string, string | number> = {
      brokerClusterName: "LabCluster",
      brokerName: options.name,
      brokerId: options.role === "SLAVE" ? 1 : 0,
      brokerRole: options.role,
      namesrvAddr: options.namesrv,
      brokerIP1: "127.0.0.1",
      brokerIP2: "127.0.0.1",
      bindAddress: "127.0.0.1",
      listenPort: port,
      haListenPort: port + 1,
      storePathRootDir: options.store,
      storePathCommitLog: path.join(options.store, "commitlog"),
      mappedFileSizeCommitLog: 64 * 1024 * 1024,
      autoCreateTopicEnable: "true",
      diskMaxUsedSpaceRatio: 95,
      registerNameServerPeriod: 10000,
      ...options.settings,
    };
    if (this.version.startsWith("4.")) settings.mapedFileSizeCommitLog = settings.mappedFileSizeCommitLog!;
    const conf = path.join(home, "broker.conf");
    fs.writeFileSync(conf, Object.entries(settings).map(([key, value]) => `${key}=${value}\n`).join(""));
    const args = this.#java("broker", home, [
      ...BROKER_HEAP,
      "-Drocketmq.broker.diskSpaceWarningLevelRatio=0.99",
      "-Drocketmq.broker.diskSpaceCleanForciblyRatio=0.98",
    ]);
    const child = new LabProcess(`apache ${this.version} ${options.role}`, "java", [
      ...args,
      "org.apache.rocketmq.broker.BrokerStartup",
      "-c",
      conf,
    ], {
      logPath: path.join(home, "out.log"),
      env: this.#environment(),
    });
    await waitForPort(port, child, options.startLimitMs);
    await waitForPort(Number(settings.haListenPort), child);
    return {
      process: child,
      port,
      haPort: Number(settings.haListenPort),
      address: `127.0.0.1:${port}`,
      store: options.store,
    };
  }

  /** Runs mqadmin and answers with what it printed. */
  async mqadmin(...args: string[]): Promise<string> {
    const java = this.#java("tools", path.join(this.directory, "tools"), [
      "-Xms64m",
      "-Xmx256m",
      "-XX:TieredStopAtLevel=1",
    ]);
    return await run("java", [...java, "org.apache.rocketmq.tools.command.MQAdminStartup", ...args], {
      env: this.#environment(),
      limitMs: 60_000,
    });
  }

  /** Starts the Java producer; lines of acknowledged messages go to `out`. Ended early by creating `out + ".stop"`. */
  startProducer(options: {
    namesrv: string;
    topic: string;
    out: string;
    totalBytes: number;
    shape: "mixed" | "small" | "until";
    prefix: string;
    threads?: number;
  }): LabProcess {
    const home = path.join(this.directory, `producer-${options.prefix}`);
    const args = this.#java("client", home, ["-Xms128m", "-Xmx512m"]);
    return new LabProcess(`producer ${options.prefix}`, "java", [
      ...args,
      "LabClient",
      "produce",
      options.namesrv,
      options.topic,
      options.out,
      String(options.totalBytes),
      options.shape,
      options.prefix,
      String(options.threads ?? 4),
    ], { logPath: path.join(home, "out.log"), env: this.#environment() });
  }

  /** Reads a topic with the Java consumer; answers with its lines: `key crc size queueId queueOffset physicalOffset`. */
  async consume(namesrv: string, topic: string): Promise<string[]> {
    const home = path.join(this.directory, "consumer");
    const out = path.join(home, `out-${topic}-${Date.now()}`);
    const args = this.#java("client", home, ["-Xms128m", "-Xmx512m"]);
    await run("java", [...args, "LabClient", "consume", namesrv, topic, out], {
      env: this.#environment(),
      limitMs: 180_000,
    });
    return fs.readFileSync(out, "utf8").split("\n").filter(Boolean);
  }
}

/** A running Apache broker. */
export interface ApacheBroker {
  readonly process: LabProcess;
  readonly port: number;
  readonly haPort: number;
  readonly address: string;
  readonly store: string;
}
