// What is measured on one node: a life as a slave (start, idle memory, intake, acks) and a life as a master (start, idle
// memory, sending). Each life starts a fresh process; the neutral peer in C is always the other end.

import * as fs from "node:fs";
import * as path from "node:path";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { BrokerClient } from "./broker_client.ts";
import { type MadeLog, warm } from "./log_maker.ts";
import { cpuSeconds, memoryOf, pause, waitQuiet } from "./machine.ts";
import { CACHE, measure, Peer, type PeerResult } from "./peer.ts";
import type { Running, Subject } from "./subjects.ts";

/** How much of everything. */
export interface Amounts {
  /** What is replicated, `[0, transferEnd)`, and where the acks are timed from there on. */
  readonly log: MadeLog;
  /** Bytes of the frames the neutral master sends: Apache's default. */
  readonly serveBatch: number;
  /** Acks timed, on an idle machine and again beside a busy one. */
  readonly acks: number;
  /** How long a node is left alone before its idle memory is read, ms. */
  readonly idleMs: number;
}

/** Figures of one life, by name; the names are those of `FIGURES` in report.ts. */
export type Figures = Record<string, number>;

const GB = 1e9;
const MB = 1e6;

/** A slave's life on an empty store in `directory`. */
export async function slaveLife(subject: Subject, amounts: Amounts, directory: string): Promise<Figures> {
  const store = path.join(directory, `slave-${subject.name}`);
  fs.rmSync(store, { recursive: true, force: true });
  const node = await subject.start("slave", store, amounts.log.mappedFileSize);
  try {
    const figures: Figures = { listeningMs: node.listeningMs };
    await pause(amounts.idleMs);
    figures.slaveIdleMB = memoryOf(node.pid).anonymous / MB;
    Object.assign(figures, await intake(node, amounts));
    Object.assign(figures, await acks(node, amounts));
    return figures;
  } finally {
    await node.stop();
    fs.rmSync(store, { recursive: true, force: true });
  }
}

/** Lets `work` have a port that leads to `port`. */
export type Way = <T>(port: number, work: (port: number) => Promise<T>) => Promise<T>;

/** An empty slave takes the log from the neutral master, which it reaches over `way`. */
export async function intake(
  node: Running,
  { log, serveBatch }: Pick<Amounts, "log" | "serveBatch">,
  way: Way = (port, work) => work(port),
): Promise<Figures> {
  const total = log.marks[0]!;
  await touchMemory(total);
  const client = await BrokerClient.create(node.port);
  // Connects, and has the way of the answer run once; what it says is of no use yet.
  await client.invoke(RequestCode.GET_BROKER_RUNTIME_INFO);
  const peer = new Peer("ha_peer", ["serve", log.directory, log.mappedFileSize, total, serveBatch]);
  const memory = watchMemory(node.pid);
  try {
    const cpuBefore = cpuSeconds(node.pid);
    const { seconds, bytes, request } = await way(await peer.port(), async (port) => {
      await node.follow(port);
      return await peer.result();
    });
    if (request !== 0 || bytes !== total) {
      throw new Error(`Slave took ${bytes} bytes from ${request}, wanted all ${total}`);
    }
    // Asked only now, so that the intake itself is left alone.
    const behindSeconds = await dispatchSeconds(client);
    await waitQuiet(node.pid);
    return {
      intakeGBs: total / GB / seconds!,
      dispatchedGBs: total / GB / (seconds! + behindSeconds),
      intakeCpuPerGB: (cpuSeconds(node.pid) - cpuBefore) / (total / GB),
      slavePeakMB: memory.stop() / MB,
      slaveLoadedMB: memoryOf(node.pid).anonymous / MB,
    };
  } finally {
    client.close();
    memory.stop();
    await peer.destroy();
  }
}

/** Between two questions: near the end, for the first estimate, and at most. */
const DISPATCH_POLL_MS = { min: 5, first: 25, max: 250 };
const DISPATCH_LIMIT_MS = 120_000;

/**
 * Seconds from now until consume queues and index have everything. An answer costs Apache 14 ms of CPU, so it is asked
 * again after half of what dispatch still needs at its pace: seldom while that is long, every 5 ms at the end.
 */
async function dispatchSeconds(client: BrokerClient): Promise<number> {
  const start = performance.now();
  let last: { askedMs: number; behind: number } | null = null;
  for (;;) {
    const askedMs = performance.now() - start;
    const behind = await dispatchBehindBytes(client);
    if (behind === 0) return askedMs / 1000;
    if (askedMs > DISPATCH_LIMIT_MS) throw new Error(`Dispatch is behind by ${behind} bytes after ${askedMs} ms`);
    const { min, first, max } = DISPATCH_POLL_MS;
    const bytesPerMs: number = last === null ? 0 : (last.behind - behind) / (askedMs - last.askedMs);
    last = { askedMs, behind };
    await pause(bytesPerMs > 0 ? Math.min(Math.max(behind / bytesPerMs / 2, min), max) : first);
  }
}

/** As a broker of either kind tells it. */
async function dispatchBehindBytes(client: BrokerClient): Promise<number> {
  const { body } = await client.ask(RequestCode.GET_BROKER_RUNTIME_INFO);
  return Number(JSON.parse(new TextDecoder().decode(body)).table.dispatchBehindBytes);
}

async function acks(node: Running, { log, acks }: Amounts): Promise<Figures> {
  const peer = new Peer("ha_peer", ["pingpong", log.directory, log.mappedFileSize, log.marks[0]!, acks, 3]);
  try {
    await node.follow(await peer.port());
    await peer.said("attached", 30_000);
    const { idle, awake } = await timeIdleAndAwake(peer);
    return {
      ackIdleP50: idle.p50us!,
      ackIdleP99: idle.p99us!,
      ackIdleP999: idle.p999us!,
      ackAwakeP50: awake.p50us!,
      ackAwakeP99: awake.p99us!,
      ackAwakeP999: awake.p999us!,
    };
  } finally {
    await peer.destroy();
  }
}

/** Takes three series of a peer that waits for a line before each: to warm up, on an idle machine, beside a busy loop. */
export async function timeIdleAndAwake(peer: Peer): Promise<{ idle: PeerResult; awake: PeerResult }> {
  // The path of single messages has not run yet in a fresh process, nor in one that took bulk.
  peer.go();
  await peer.result();
  peer.go();
  const idle = await peer.result();
  const spinner = new Peer("limits", ["spin"]);
  try {
    await pause(100);
    peer.go();
    return { idle, awake: await peer.result() };
  } finally {
    await spinner.destroy();
  }
}

/** A master's life on its own copy of the log, kept in `directory` from round to round; a second one with large frames. */
export async function masterLife(subject: Subject, amounts: Amounts, directory: string): Promise<Figures> {
  const store = copyOfLog(amounts.log, path.join(directory, `master-${subject.name}`));
  const figures = await sendingLife(subject, store, amounts);
  const { withLargeFrames } = subject;
  // Ours finds the size by itself.
  if (withLargeFrames === undefined) return figures;
  const large = await sendingLife(withLargeFrames, store, amounts);
  figures.largeFramesGBs = large.sendingGBs!;
  figures.largeFramesCpuPerGB = large.sendingCpuPerGB!;
  figures.largeFramesKiB = large.sendingFrameKiB!;
  return figures;
}

async function sendingLife(subject: Subject, store: string, { log, idleMs }: Amounts): Promise<Figures> {
  const node = await subject.start("master", store, log.mappedFileSize);
  try {
    await pause(idleMs);
    await waitQuiet(node.pid);
    const figures: Figures = { masterIdleMB: memoryOf(node.pid).anonymous / MB };
    warm(store);
    const sent = await sending(node, node.haPort, log.marks[0]!);
    figures.masterPeakMB = sent.peakMB;
    figures.sendingGBs = sent.gbPerSecond;
    figures.sendingCpuPerGB = sent.cpuPerGB;
    figures.sendingFrameKiB = sent.frameKiB;
    await pause(300);
    figures.masterLoadedMB = memoryOf(node.pid).anonymous / MB;
    return figures;
  } finally {
    await node.stop();
  }
}

/** A store of one's own that holds the log; made unless it is there. Returns its directory. */
export function copyOfLog(log: MadeLog, store: string): string {
  if (!fs.existsSync(path.join(store, "commitlog"))) {
    fs.cpSync(path.join(log.directory, "commitlog"), path.join(store, "commitlog"), { recursive: true });
  }
  return store;
}

/** What a master's sending came to. */
export interface Sent {
  /** To all slaves together. */
  readonly gbPerSecond: number;
  /** CPU of the master. */
  readonly cpuPerGB: number;
  readonly frameKiB: number;
  /** The master's anonymous memory, highest meanwhile. */
  readonly peakMB: number;
}

/** A master sends `total` bytes to each of that many neutral slaves, which connect at `port`. */
export async function sending(node: Running, port: number, total: number, slaves = 1): Promise<Sent> {
  const cpuBefore = cpuSeconds(node.pid);
  const memory = watchMemory(node.pid);
  let result: PeerResult;
  try {
    result = await measure("ha_peer", "pull", port, 0, total, slaves);
  } finally {
    memory.stop();
  }
  const { seconds, bytes, frames } = result;
  return {
    gbPerSecond: bytes! / GB / seconds!,
    cpuPerGB: (cpuSeconds(node.pid) - cpuBefore) / (bytes! / GB),
    frameKiB: bytes! / frames! / 1024,
    peakMB: memory.stop() / MB,
  };
}

/**
 * Fills and frees page cache for what comes next: a virtual machine's host hands memory out when it is first touched,
 * which costs more than the write itself and would hit whoever comes first.
 */
export async function touchMemory(bytes: number): Promise<void> {
  await measure("limits", "pwrite", path.join(CACHE, "touch"), 2 * bytes, 1024 * 1024);
}

/** Samples a process's anonymous memory; `stop` answers with the highest, bytes. */
function watchMemory(pid: number): { stop(): number } {
  let highest = 0;
  const sample = () => {
    highest = Math.max(highest, memoryOf(pid).anonymous);
  };
  const timer = setInterval(sample, 50);
  return {
    stop() {
      clearInterval(timer);
      return highest;
    },
  };
}
