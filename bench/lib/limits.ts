// What can be reached without any broker: receiving, receiving into a file, writing a file, and 8 bytes there and back,
// for a program in C and for each runtime with its own calls alone. The near end and its clock are always the C program's.

import { execFile } from "node:child_process";
import * as path from "node:path";
import { promisify } from "node:util";
import { RUNTIMES } from "../../tests/interop/lab/twinlog.ts";
import { compile, measure, Peer, type PeerResult, ROOT } from "./peer.ts";
import { type Figures, timeIdleAndAwake, touchMemory } from "./phases.ts";

/** Who is at the far end: the C program or a runtime. */
export type FarEnd = "c" | typeof RUNTIMES[number];

/** Whether a node's name is that of a runtime, which has limits of its own. */
export function isRuntime(name: string): name is typeof RUNTIMES[number] {
  return (RUNTIMES as readonly string[]).includes(name);
}

const CHUNK = 1024 * 1024;
const GB = 1e9;

/** Every limit of one far end, each in a fresh process as the nodes under test are. Files go to `directory`. */
export async function limitsOf(
  farEnd: FarEnd,
  { bytes, roundTrips }: { readonly bytes: number; readonly roundTrips: number },
  directory: string,
): Promise<Figures> {
  const file = path.join(directory, "limit");
  await touchMemory(bytes);
  const store = await send(farEnd, "store", bytes, file);
  const pwrite = farEnd === "c"
    ? await measure("limits", "pwrite", file, bytes, CHUNK)
    : await runFarEnd(farEnd, "pwrite", file, bytes, CHUNK);
  const receive = await send(farEnd, "receive", bytes);
  return {
    ...rateAndCost("receive", receive),
    ...rateAndCost("store", store),
    ...rateAndCost("pwrite", pwrite),
    ...await askAndAnswer(farEnd, roundTrips),
  };
}

function rateAndCost(name: string, { bytes, seconds, cpuSeconds }: PeerResult): Figures {
  return { [`${name}GBs`]: bytes! / GB / seconds!, [`${name}CpuPerGB`]: cpuSeconds! / (bytes! / GB) };
}

/** Time and bytes are the sender's, the CPU is the far end's. */
async function send(farEnd: FarEnd, what: "receive" | "store", bytes: number, ...file: string[]): Promise<PeerResult> {
  const peer = new Peer("limits", ["send", bytes, CHUNK]);
  try {
    const port = await peer.port();
    const [sent, taken] = await Promise.all([peer.result(), runFarEnd(farEnd, what, port, bytes, CHUNK, ...file)]);
    return { ...sent, ...taken };
  } finally {
    await peer.destroy();
  }
}

async function askAndAnswer(farEnd: FarEnd, roundTrips: number): Promise<Figures> {
  const peer = new Peer("limits", ["ask", roundTrips, 3]);
  try {
    const answering = runFarEnd(farEnd, "answer", await peer.port());
    const [{ idle, awake }] = await Promise.all([timeIdleAndAwake(peer), answering]);
    return {
      pingAwakeP50: awake.p50us!,
      pingAwakeP99: awake.p99us!,
      pingAwakeP999: awake.p999us!,
      pingIdleP50: idle.p50us!,
      pingIdleP99: idle.p99us!,
      pingIdleP999: idle.p999us!,
    };
  } finally {
    await peer.destroy();
  }
}

/** Runs a far end of limits.c or limits.ts to its one result. It ends when the near end does. */
async function runFarEnd(farEnd: FarEnd, ...args: (string | number)[]): Promise<PeerResult> {
  const [command, leading] = commandOf(farEnd);
  const { stdout } = await promisify(execFile)(command, [...leading, ...args.map(String)]);
  return JSON.parse(stdout);
}

function commandOf(farEnd: FarEnd): [string, string[]] {
  if (farEnd === "c") return [compile("limits"), []];
  const program = path.join(ROOT, "bench/neutral/limits.ts");
  return [
    path.join(ROOT, "node_modules/.bin", farEnd),
    farEnd === "deno" ? ["run", "-A", "--no-check", program] : [program],
  ];
}
