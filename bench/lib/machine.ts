// What the benchmarks read of the machine: its description, and a process's CPU time and memory from /proc. Linux only.
// It starts nothing and knows no broker.

import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";

/** The machine, as a reader of the figures has to know it. */
export interface Machine {
  readonly cpu: string;
  readonly cores: number;
  readonly memoryGiB: number;
  readonly kernel: string;
  readonly versions: Readonly<Record<string, string>>;
}

/** Describes this machine and the versions under test, without naming the host. */
export function describeMachine(versions: Readonly<Record<string, string>>): Machine {
  return {
    cpu: os.cpus()[0]?.model.replaceAll(/\s+/g, " ").trim() ?? "unknown",
    cores: os.availableParallelism(),
    memoryGiB: Math.round(os.totalmem() / 2 ** 30),
    kernel: `${os.type()} ${os.release().replace(/^(\d+\.\d+).*$/, "$1")}`,
    versions,
  };
}

/** First line a command prints, on either stream; "unknown" when it can't be run. */
export function versionOf(command: string, args: string[]): string {
  try {
    return execFileSync(command, args, { encoding: "utf8", stdio: ["ignore", "pipe", "pipe"] }).split("\n")[0]!.trim();
  } catch {
    return "unknown";
  }
}

const TICKS_PER_SECOND = 100;

/** CPU seconds, user and system, that all threads of a process have used since its start. In steps of 10 ms. */
export function cpuSeconds(pid: number): number {
  const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
  // The second field is the name in parentheses and may hold anything.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_SECOND;
}

/** The same to the nanosecond, from what the scheduler counted; of the threads that live now. */
export function schedSeconds(pid: number): number {
  let sum = 0;
  for (const thread of fs.readdirSync(`/proc/${pid}/task`)) {
    try {
      sum += Number(fs.readFileSync(`/proc/${pid}/task/${thread}/schedstat`, "utf8").split(" ")[0]) / 1e9;
    } catch {
      // It has just ended.
    }
  }
  return sum;
}

/** Files, sockets and the like that a process has open. */
export function openFilesOf(pid: number): number {
  return fs.readdirSync(`/proc/${pid}/fd`).length;
}

/** A process's resident memory, bytes: what it allocated, and what it mapped of files. */
export interface ProcessMemory {
  readonly anonymous: number;
  readonly file: number;
}

/** Reads {@link ProcessMemory} from /proc. */
export function memoryOf(pid: number): ProcessMemory {
  const status = fs.readFileSync(`/proc/${pid}/status`, "utf8");
  const kib = (key: string) => Number(status.match(new RegExp(`^${key}:\\s+(\\d+) kB$`, "m"))?.[1] ?? 0) * 1024;
  return { anonymous: kib("RssAnon"), file: kib("RssFile") + kib("RssShmem") };
}

/** Resolves after `ms`. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/**
 * Waits until a process has used less than a tenth of a core for 300 ms, at most 15 s: dispatch and garbage collection
 * that follow the last acknowledged byte belong to its cost.
 */
export async function waitQuiet(pid: number): Promise<void> {
  const deadline = performance.now() + 15_000;
  let before = cpuSeconds(pid);
  while (performance.now() < deadline) {
    await pause(300);
    const now = cpuSeconds(pid);
    if (now - before <= 0.03) return;
    before = now;
  }
}
