// What a node costs over time, of the scale benchmarks: the CPU of a pair that nobody uses, and the memory of a master under
// load with a consumer that follows.

import type { Kind } from "../../tests/interop/lab/lab_cluster.ts";
import { untilRouted } from "../../tests/interop/lab/lab_cluster.ts";
import { destroyAll } from "../../tests/interop/lab/processes.ts";
import { Puller } from "./broker_client.ts";
import { startPair } from "./client_subjects.ts";
import { memoryOf, pause, schedSeconds } from "./machine.ts";
import type { Figures } from "./phases.ts";
import { createTopic, discard, logEnd, type ScaleLab, send } from "./scale_lab.ts";

const TOPIC = "ScaleLoad";
const QUEUES = 8;
const MB = 1e6;

/** How long and how fast. */
interface Load {
  readonly ms: number;
  readonly sampleMs: number;
  /** Messages per second. */
  readonly rate?: number;
}

/** Percent of a core that a pair in sync takes while nothing happens. */
export async function idlePair(lab: ScaleLab, kind: Kind): Promise<Figures> {
  const { settleMs, idleMs } = lab.amounts;
  try {
    const { namesrv, pid: master, pids } = await startPair(lab.cluster, kind);
    const slave = pids.at(-1)!;
    await untilRouted(namesrv);
    await pause(settleMs);
    for (const pid of [master, slave]) await lab.settled(pid);
    const before = [master, slave].map(schedSeconds);
    const startedAt = performance.now();
    await pause(idleMs);
    const seconds = (performance.now() - startedAt) / 1000;
    const percent = (pid: number, index: number) => (schedSeconds(pid) - before[index]!) / seconds * 100;
    return { masterPercent: percent(master, 0), slavePercent: percent(slave, 1) };
  } finally {
    await destroyAll();
  }
}

/**
 * Samples of anonymous memory under load: the first, the last, the highest, and the line through those of the second half.
 * Without a rate it is half of what the node takes at most.
 */
export async function memoryUnderLoad(lab: ScaleLab, kind: Kind, load: Load): Promise<Figures> {
  const { puts } = lab.amounts;
  const { ms, sampleMs } = load;
  const broker = await lab.startMaster(kind);
  const { port, process: { pid } } = broker;
  try {
    await createTopic(port, TOPIC, QUEUES);
    const sends = { topic: TOPIC, queues: QUEUES };
    await send(port, { ...sends, count: puts });
    const top = await send(port, { ...sends, count: puts });
    const rate = load.rate ?? top.sendsPerSecond! / 2;
    const puller = await Puller.start(port, TOPIC, Array(QUEUES).fill(0), { connections: 4, waitMs: 20 });
    const sending = send(port, { ...sends, count: rate * ms / 1000, rate });
    const samples = await sampleMemory(pid, sampleMs, sending);
    const { sends: sent, seconds } = await sending;
    await pause(sampleMs / 10);
    const unread = 2 * puts + sent! - puller.messages;
    await puller.stop();
    return {
      rate: sent! / seconds!,
      unread,
      logGB: await logEnd(port) / 1e9,
      startMB: samples[0]! / MB,
      endMB: samples.at(-1)! / MB,
      maxMB: Math.max(...samples) / MB,
      // A heap finds its size in the first half.
      lateByEarly: mean(quarter(samples, 3)) / mean(quarter(samples, 1)),
      slopeMBh: slope(samples.slice(samples.length >> 1)) / MB * 3_600_000 / sampleMs,
      // Each of them, for the JSON only.
      ...Object.fromEntries(samples.map((bytes, index) => [`sampleMB@${(index + 1) * sampleMs}`, bytes / MB])),
    };
  } finally {
    await discard(broker);
  }
}

/** A sample each `sampleMs`, the first after so long, until `work` ends. */
async function sampleMemory(pid: number, sampleMs: number, work: Promise<unknown>): Promise<number[]> {
  const samples: number[] = [];
  const timer = setInterval(() => samples.push(memoryOf(pid).anonymous), sampleMs);
  try {
    await work;
  } finally {
    clearInterval(timer);
  }
  samples.push(memoryOf(pid).anonymous);
  return samples;
}

/** The `index`th quarter of the samples, from 0; at least one of them. */
function quarter(samples: readonly number[], index: number): readonly number[] {
  const from = Math.floor(samples.length * index / 4);
  return samples.slice(from, Math.max(from + 1, Math.floor(samples.length * (index + 1) / 4)));
}

function mean(values: readonly number[]): number {
  return values.reduce((sum, value) => sum + value, 0) / values.length;
}

/** Least squares, per sample. */
function slope(samples: readonly number[]): number {
  const middle = (samples.length - 1) / 2;
  const level = mean(samples);
  let above = 0;
  let below = 0;
  for (const [index, value] of samples.entries()) {
    above += (index - middle) * (value - level);
    below += (index - middle) ** 2;
  }
  return below === 0 ? 0 : above / below;
}
