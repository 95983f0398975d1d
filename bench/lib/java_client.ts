// The Java process that measures a real client, seen from here: compiled on first use, told what to do line by line. What
// it does is in JavaBench.java.

import { type ChildProcess, spawn } from "node:child_process";
import { createHash } from "node:crypto";
import * as fs from "node:fs";
import * as path from "node:path";
import { install } from "../../tests/interop/lab/apache.ts";
import { run } from "../../tests/interop/lab/processes.ts";
import { CACHE } from "./peer.ts";

/** What a window of sends gave. Times are those of one call of the client. */
export interface SendWindow {
  readonly messages: number;
  readonly failed: number;
  readonly perSecond: number;
  readonly p50us: number;
  readonly p99us: number;
  readonly p999us: number;
  readonly clientCpuSeconds: number;
}

/** What a window of consumption gave. */
export interface ConsumeWindow {
  readonly messages: number;
  readonly perSecond: number;
  readonly clientCpuSeconds: number;
}

/** How a window of sends is made. */
export interface SendShape {
  readonly threads: number;
  /** Messages of one call. */
  readonly batch: number;
  /** Of each message; 1 KB unless it says otherwise. */
  readonly bodySize?: number;
  readonly warmUpMs: number;
  readonly ms: number;
}

const BODY_SIZE = 1024;
/** Longer than any window, with a broker that has to be waited for. */
const ANSWER_MS = 180_000;
const running = new Set<ChildProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** Apache's client of one version in a process of its own, for all brokers in turn. */
export class JavaBench {
  readonly #child: ChildProcess;
  #out = "";
  #onLine: (line: string | null) => void = () => {};

  private constructor(child: ChildProcess) {
    this.#child = child;
    running.add(child);
    child.stdout!.setEncoding("utf8").on("data", (text: string) => this.#took(text));
    child.once("exit", () => {
      running.delete(child);
      this.#onLine(null);
    });
  }

  /** Compiles where needed and starts it. Logs go to `directory`. */
  static async start(version: string, directory: string): Promise<JavaBench> {
    const jars = await install(version);
    const classes = await compile(version, jars);
    const log = fs.openSync(path.join(directory, "java-bench.log"), "a");
    const child = spawn("java", [
      ...["-Xms256m", "-Xmx1g"],
      `-Duser.home=${directory}`,
      `-Drocketmq.client.logRoot=${directory}/clientlogs`,
      ...["-cp", `${jars}/*:${classes}`, "JavaBench"],
    ], { stdio: ["pipe", "pipe", log] });
    fs.closeSync(log);
    return new JavaBench(child);
  }

  /** Sends for a while; the producer is a new one. */
  async send(namesrv: string, topic: string, shape: SendShape): Promise<SendWindow> {
    const { threads, batch, bodySize = BODY_SIZE, warmUpMs, ms } = shape;
    return await this.#ask("send", namesrv, topic, threads, batch, bodySize, warmUpMs, ms) as SendWindow;
  }

  /** Consumes so many messages, from the topic's first on, with a push consumer of a new group. */
  async consume(namesrv: string, topic: string, count: number): Promise<ConsumeWindow> {
    return await this.#ask("consume", namesrv, topic, count) as ConsumeWindow;
  }

  /** Ends it. */
  end(): void {
    this.#child.kill("SIGKILL");
  }

  async #ask(...words: (string | number)[]): Promise<unknown> {
    const { promise, resolve, reject } = Promise.withResolvers<string>();
    const what = words.join(" ");
    const timer = setTimeout(() => reject(new Error(`No answer to "${what}" in ${ANSWER_MS} ms`)), ANSWER_MS);
    this.#onLine = (line) => line === null ? reject(new Error(`Java ended during "${what}"`)) : resolve(line);
    this.#child.stdin!.write(`${what}\n`);
    try {
      const answer = JSON.parse(await promise);
      if (answer.error !== undefined) throw new Error(`"${what}": ${answer.error}`);
      return answer;
    } finally {
      clearTimeout(timer);
    }
  }

  #took(text: string): void {
    const lines = (this.#out + text).split("\n");
    this.#out = lines.pop()!;
    for (const line of lines) if (line.startsWith("@@ ")) this.#onLine(line.slice(3));
  }
}

async function compile(version: string, jars: string): Promise<string> {
  const source = path.join(import.meta.dirname, "JavaBench.java");
  const hash = createHash("sha256").update(fs.readFileSync(source)).digest("hex").slice(0, 12);
  const folder = path.join(CACHE, `java-${version}-${hash}`);
  if (fs.existsSync(folder)) return folder;
  const building = `${folder}.${process.pid}`;
  fs.mkdirSync(building, { recursive: true });
  await run("javac", ["-nowarn", "-cp", `${jars}/*`, "-d", building, source]);
  if (!fs.existsSync(folder)) fs.renameSync(building, folder);
  return folder;
}
