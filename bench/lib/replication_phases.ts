// What is measured of replication on one kind of node: a master that sends to one and to many slaves, from the page cache
// and from the disk, and catching up over a longer way, as master and as slave. The other end is always the neutral peer.

import * as fs from "node:fs";
import * as path from "node:path";
import { withDelay } from "./delay.ts";
import { type MadeLog, warm } from "./log_maker.ts";
import { pause, waitQuiet } from "./machine.ts";
import { measure } from "./peer.ts";
import { copyOfLog, type Figures, intake, sending } from "./phases.ts";
import type { Running, Subject } from "./subjects.ts";

/** How much of everything. */
export interface ReplicationAmounts {
  /** What is sent is `[0, marks[0])`. */
  readonly log: MadeLog;
  /** Bytes of the frames the neutral master sends: Apache's default. */
  readonly serveBatch: number;
  /** To how many slaves at once a master sends. */
  readonly slaveCounts: readonly number[];
  /** Puts timed over loopback, and again while a slave catches up. */
  readonly puts: number;
  readonly warmUpPuts: number;
  /** Delays of each direction, and how many puts are timed with each. */
  readonly delayed: readonly { readonly delayUs: number; readonly puts: number }[];
  /** How long a node is left alone before anything is measured, ms. */
  readonly idleMs: number;
}

/** The delay that catching up is measured with, each way. */
export const CATCH_UP_DELAY_US = 2000;

/** What neutral peers reach over the way that catching up is measured with, GB/s, by the size of their frames. */
export interface CatchUpLimits {
  readonly large: number;
  readonly small: number;
}

/** A master's life: sending hot and cold, and over the longer way. */
export async function sendingLife(
  subject: Subject,
  amounts: ReplicationAmounts,
  directory: string,
  limits: CatchUpLimits,
): Promise<Figures> {
  const { log, slaveCounts, idleMs } = amounts;
  const total = log.marks[0]!;
  const store = copyOfLog(log, path.join(directory, `master-${subject.name}`));
  const node = await subject.start("master", store, log.mappedFileSize);
  const figures: Figures = {};
  try {
    await pause(idleMs);
    await waitQuiet(node.pid);
    warm(store);
    for (const slaves of slaveCounts) Object.assign(figures, await sendTo(node, total, slaves, "hot"));
    const loopback = await sending(node, node.haPort, total);
    const atOnce = await withDelay(node.haPort, 0, (port) => sending(node, port, total));
    const delayed = await withDelay(node.haPort, CATCH_UP_DELAY_US, (port) => sending(node, port, total));
    figures.masterLoopbackGBs = loopback.gbPerSecond;
    figures.masterAtOnceGBs = atOnce.gbPerSecond;
    figures.masterDelayedGBs = delayed.gbPerSecond;
    // Many small frames cost the forwarder more, and a master chooses its own.
    const limit = delayed.frameKiB * 1024 > amounts.serveBatch ? limits.large : limits.small;
    figures.masterDelayedShare = delayed.gbPerSecond / Math.min(loopback.gbPerSecond, limit);
    let left = 0;
    for (const slaves of slaveCounts) {
      left = Math.max(left, await makeCold(store, node.pid));
      Object.assign(figures, await sendTo(node, total, slaves, "cold"));
    }
    figures.coldLeftPercent = left * 100;
    return figures;
  } finally {
    await node.stop();
  }
}

async function sendTo(node: Running, total: number, slaves: number, state: "hot" | "cold"): Promise<Figures> {
  const key = `${state}${slaves}`;
  const { gbPerSecond, cpuPerGB, peakMB } = await sending(node, node.haPort, total, slaves);
  return { [`${key}GBs`]: gbPerSecond, [`${key}CpuPerGB`]: cpuPerGB, [`${key}PeakMB`]: peakMB };
}

/** Takes a store's log out of the page cache; `pid` may have it mapped. Answers with the share that is still there. */
async function makeCold(store: string, pid: number): Promise<number> {
  const folder = path.join(store, "commitlog");
  let bytes = 0;
  let resident = 0;
  for (const name of fs.readdirSync(folder)) {
    const dropped = await measure("page_cache", "drop", path.join(folder, name), pid);
    bytes += dropped.bytes!;
    resident += dropped.residentBytes!;
  }
  return resident / bytes;
}

/** How fast the machine reads a cold log, in C. */
export async function coldRead({ directory, marks }: MadeLog) {
  const file = path.join(directory, "commitlog", "0".repeat(20));
  await measure("page_cache", "drop", file);
  return await measure("page_cache", "read", file, marks[0]!);
}

/** Three lives as an empty slave: the log over loopback, through a forwarder at once, and over the longer way. */
export async function intakeLives(
  subject: Subject,
  amounts: ReplicationAmounts,
  directory: string,
  limits: CatchUpLimits,
): Promise<Figures> {
  const direct = await intakeLife(subject, amounts, directory, null);
  const atOnce = await intakeLife(subject, amounts, directory, 0);
  const delayed = await intakeLife(subject, amounts, directory, CATCH_UP_DELAY_US);
  return {
    slaveLoopbackGBs: direct,
    slaveAtOnceGBs: atOnce,
    slaveDelayedGBs: delayed,
    slaveDelayedShare: delayed / Math.min(direct, limits.small),
  };
}

async function intakeLife(
  subject: Subject,
  { log, serveBatch, idleMs }: ReplicationAmounts,
  directory: string,
  delayUs: number | null,
): Promise<number> {
  const store = path.join(directory, `slave-${subject.name}`);
  fs.rmSync(store, { recursive: true, force: true });
  const node = await subject.start("slave", store, log.mappedFileSize);
  try {
    await pause(idleMs);
    const { intakeGBs } = delayUs === null
      ? await intake(node, { log, serveBatch })
      : await intake(node, { log, serveBatch }, (port, work) => withDelay(port, delayUs, work));
    return intakeGBs!;
  } finally {
    await node.stop();
    fs.rmSync(store, { recursive: true, force: true });
  }
}
