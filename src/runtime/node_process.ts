// The operating system's view of this process, over node:process and node:os, the same on all three runtimes. It reads
// and reports only; what a signal or an exit code means is the caller's business.

import fs from "node:fs";
import os from "node:os";
import process from "node:process";
import type { Process } from "./runtime.ts";

const STOP_SIGNALS = ["SIGINT", "SIGTERM"] as const;

// Field 22 of /proc/<pid>/stat, ticks since boot at the process's start. The name in field 2 may hold spaces and
// parentheses, so fields count from the last `)`. Elsewhere than on Linux only "lives" can be told.
function startToken(pid: number): string | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    return stat.slice(stat.lastIndexOf(")") + 2).split(" ")[19] ?? null;
  } catch {
    if (process.platform === "linux") return null;
  }
  try {
    process.kill(pid, 0);
    return "alive";
  } catch (error) {
    return (error as { code?: string }).code === "EPERM" ? "alive" : null;
  }
}

function reachableAddress(): string {
  for (const addresses of Object.values(os.networkInterfaces())) {
    for (const { family, internal, address } of addresses ?? []) {
      if (family === "IPv4" && !internal) return address;
    }
  }
  return "127.0.0.1";
}

function onStopSignal(callback: (signal: string) => void): () => void {
  const listeners = STOP_SIGNALS.map((signal) => ({ signal, listener: () => callback(signal) }));
  for (const { signal, listener } of listeners) process.on(signal, listener);
  return () => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  };
}

async function* stdin(): AsyncGenerator<Uint8Array> {
  for await (const chunk of process.stdin) yield typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
}

// The reader of our output may be gone (`twinlog status | head`): that must not end a broker.
const ignoreLostReader = (): void => {};
let guarded = false;
function write(stream: NodeJS.WriteStream, text: string): void {
  if (!guarded) {
    guarded = true;
    process.stdout.on("error", ignoreLostReader);
    process.stderr.on("error", ignoreLostReader);
  }
  stream.write(text);
}

/** The {@link Process} of this very process. */
export const NODE_PROCESS: Process = {
  pid: process.pid,
  hostname: os.hostname(),
  get localAddress(): string {
    return reachableAddress();
  },
  env: (name) => process.env[name],
  startToken,
  onStopSignal,
  memory: () => ({ totalBytes: os.totalmem(), residentBytes: process.memoryUsage.rss() }),
  writeOut: (text) => write(process.stdout, text),
  writeErr: (text) => write(process.stderr, text),
  stdin,
  get stdoutIsTerminal(): boolean {
    return process.stdout.isTTY === true;
  },
  exit: (code) => process.exit(code),
};
