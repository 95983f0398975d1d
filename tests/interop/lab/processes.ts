// Child processes of the interop tests: started with a log file each, waited for by what they print or by a port that
// answers, ended by pid, and never left behind.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import * as fs from "node:fs";
import * as net from "node:net";
import * as os from "node:os";
import * as path from "node:path";

/** The repository's root. */
export const ROOT = path.resolve(import.meta.dirname, "../../..");

const running = new Set<LabProcess>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** One child and its log. */
export class LabProcess {
  readonly name: string;
  readonly logPath: string;
  readonly #child: ChildProcess;
  readonly #exited: Promise<number | null>;

  constructor(
    name: string,
    command: string,
    args: string[],
    options: { logPath: string; cwd?: string; env?: NodeJS.ProcessEnv },
  ) {
    this.name = name;
    this.logPath = options.logPath;
    const log = fs.openSync(options.logPath, "a");
    this.#child = spawn(command, args, {
      cwd: options.cwd ?? ROOT,
      // Whoever runs the tests may work with a cluster of their own.
      env: { ...process.env, NAMESRV_ADDR: undefined, ...options.env },
      stdio: ["ignore", log, log],
    });
    fs.closeSync(log);
    running.add(this);
    this.#exited = once(this.#child, "exit").then(([code]) => {
      running.delete(this);
      return code as number | null;
    });
    this.#child.on("error", () => running.delete(this));
  }

  get pid(): number {
    return this.#child.pid!;
  }

  get alive(): boolean {
    return this.#child.exitCode === null && this.#child.signalCode === null;
  }

  /** Resident memory that is not file cache, bytes. */
  anonymousMemory(): number {
    return Number(fs.readFileSync(`/proc/${this.pid}/status`, "utf8").match(/RssAnon:\s+(\d+)/)![1]) * 1024;
  }

  /** Resident memory with the file pages it maps, bytes. */
  residentMemory(): number {
    return Number(fs.readFileSync(`/proc/${this.pid}/status`, "utf8").match(/VmRSS:\s+(\d+)/)![1]) * 1024;
  }

  /** Everything it printed so far. */
  output(): string {
    return fs.readFileSync(this.logPath, "utf8");
  }

  kill(signal: NodeJS.Signals): void {
    if (this.alive) this.#child.kill(signal);
  }

  /** Exit code, once it ended. */
  exited(): Promise<number | null> {
    return this.#exited;
  }

  /** SIGKILL and wait. */
  async destroy(): Promise<void> {
    this.kill("SIGKILL");
    await this.#exited;
  }

  /** SIGTERM and wait; SIGKILL after `limitMs`. */
  async stop(limitMs = 30_000): Promise<number | null> {
    this.kill("SIGTERM");
    const timer = setTimeout(() => this.kill("SIGKILL"), limitMs);
    const code = await this.#exited;
    clearTimeout(timer);
    return code;
  }

  /** Waits for a match in its output. */
  async waitFor(pattern: RegExp, limitMs = 60_000): Promise<RegExpMatchArray> {
    return await until(`"${pattern.source}" in the output of ${this.name}`, limitMs, () => {
      const match = this.output().match(pattern);
      if (!match && !this.alive) throw new Error(`${this.name} ended early:\n${tail(this.output())}`);
      return match;
    });
  }
}

function tail(text: string): string {
  return text.split("\n").slice(-30).join("\n");
}

/** Ends everything still running. */
export async function destroyAll(): Promise<void> {
  await Promise.all([...running].map((child) => child.destroy()));
}

/** Runs a command to its end; rejects unless it exits with 0. Answers with what it printed. */
export async function run(
  command: string,
  args: string[],
  options: { cwd?: string; env?: NodeJS.ProcessEnv; limitMs?: number } = {},
) {
  const logPath = path.join(fs.mkdtempSync(path.join(os.tmpdir(), "twinlog-run-")), "log");
  const child = new LabProcess(path.basename(command), command, args, { ...options, logPath });
  const timer = setTimeout(() => child.kill("SIGKILL"), options.limitMs ?? 300_000);
  const code = await child.exited();
  clearTimeout(timer);
  const output = child.output();
  fs.rmSync(path.dirname(logPath), { recursive: true });
  if (code !== 0) throw new Error(`${command} ${args.join(" ")} ended with ${code}:\n${tail(output)}`);
  return output;
}

/** Polls a condition until it is truthy. Tests watch other processes from outside, so they have nothing to wait on. */
export async function until<T>(
  what: string,
  limitMs: number,
  condition: () => T | Promise<T>,
): Promise<NonNullable<T>> {
  const deadline = performance.now() + limitMs;
  for (;;) {
    const value = await condition();
    if (value) return value as NonNullable<T>;
    if (performance.now() > deadline) throw new Error(`Waited ${limitMs} ms for ${what}`);
    await pause(50);
  }
}

/** A pause between two looks at another process. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

const handedOut = new Set<number>();

/** A port p so that p − 2 .. p + 2 are free: a broker's VIP, remoting, HA and admin ports. */
export async function freeBrokerPort(): Promise<number> {
  for (;;) {
    const port = 12_000 + Math.floor(Math.random() * 18_000);
    const wanted = [port - 2, port - 1, port, port + 1, port + 2];
    if (wanted.some((one) => handedOut.has(one))) continue;
    const free = await Promise.all(wanted.map(isFree));
    if (!free.every(Boolean)) continue;
    for (const one of wanted) handedOut.add(one);
    return port;
  }
}

function isFree(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const server = net.createServer();
    server.once("error", () => resolve(false));
    server.listen(port, "127.0.0.1", () => server.close(() => resolve(true)));
  });
}

/** Waits until something accepts connections on a loopback port. */
export async function waitForPort(port: number, owner: LabProcess, limitMs = 60_000): Promise<void> {
  await until(`${owner.name} to listen on ${port}`, limitMs, () => {
    if (!owner.alive) throw new Error(`${owner.name} ended early:\n${tail(owner.output())}`);
    return new Promise<boolean>((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => {
        socket.destroy();
        resolve(true);
      });
      socket.once("error", () => resolve(false));
    });
  });
}
