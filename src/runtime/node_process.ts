// The operating system's view of this process, over node:process and node:os, the same on all three runtimes. It reads
// and reports only; what a signal or an exit code means is the caller's business.

import fs from "node:fs";
import os from "node:os";
import process from "node:process";
import tty from "node:tty";
import { errorCode } from "./map_error.ts";
import type { Process } from "./runtime.ts";

const STOP_SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

// Field 22 of /proc/<pid>/stat, ticks since boot at the process's start. The name in field 2 may hold spaces and
// parentheses, so fields count from the last `)`. Elsewhere than on Linux only "lives" can be told.
function startToken(pid: number): string | null {
  try {
    const stat = fs.readFileSync(`/proc/${pid}/stat`, "utf8");
    const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
    // Z and X are dead, and only not yet collected by their parent: it may take its time (a container's first process).
    return fields[0] === "Z" || fields[0] === "X" ? null : fields[19] ?? null;
  } catch {
    if (process.platform === "linux") return null;
  }
  try {
    process.kill(pid, 0);
    return "alive";
  } catch (error) {
    return errorCode(error) === "EPERM" ? "alive" : null;
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

// Whether this process was started with SIGHUP ignored, as `nohup` does: then it goes on. Only Linux tells, and not under
// Node, which resets at its start what it was given.
let hangupIsIgnored: boolean | null = null;
function ignoresHangup(): boolean {
  try {
    const mask = /^SigIgn:\s*([0-9a-f]+)$/m.exec(fs.readFileSync("/proc/self/status", "utf8"))![1]!;
    return Number.parseInt(mask.slice(-1), 16) % 2 === 1;
  } catch {
    return false;
  }
}

function onStopSignal(callback: (signal: string) => void): () => void {
  // Asked once: a listener of ours changes what the system says.
  hangupIsIgnored ??= ignoresHangup();
  const listeners = STOP_SIGNALS.map((signal) => ({
    signal,
    // Listened for all the same: Deno ends on a SIGHUP that nobody listens for once it listens for another signal.
    listener: signal === "SIGHUP" && hangupIsIgnored ? () => {} : () => callback(signal),
  }));
  for (const { signal, listener } of listeners) process.on(signal, listener);
  return () => {
    for (const { signal, listener } of listeners) process.off(signal, listener);
  };
}

async function* stdin(): AsyncGenerator<Uint8Array> {
  for await (const chunk of process.stdin) yield typeof chunk === "string" ? new TextEncoder().encode(chunk) : chunk;
}

// Written at once, past the runtimes' streams: those lose what a slow pipe hasn't taken when the process exits. The
// reader may be gone (`twinlog --role master | head -1`), which must not end a broker: verbs that are nothing without a
// reader look at stdoutIsClosed. One that takes nothing for a second, on a pipe that somebody made non-blocking, loses
// the text. A pipe takes pieces of PIPE_BUF whole or not at all.
const PIPE_BUF = 4096;
const readerIsGone = new Set<number>();
function write(fd: number, text: string): void {
  const bytes = new TextEncoder().encode(text);
  let patienceMs = 1_000;
  for (let done = 0; done < bytes.length;) {
    try {
      done += fs.writeSync(fd, bytes, done, Math.min(bytes.length - done, PIPE_BUF));
    } catch (error) {
      if (errorCode(error) === "EPIPE") readerIsGone.add(fd);
      if (errorCode(error) !== "EAGAIN" || patienceMs-- === 0) return;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
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
  writeOut: (text) => write(1, text),
  writeErr: (text) => write(2, text),
  stdin,
  get stdoutIsTerminal(): boolean {
    return tty.isatty(1);
  },
  get stdoutIsClosed(): boolean {
    return readerIsGone.has(1);
  },
  exit: (code) => process.exit(code),
};
