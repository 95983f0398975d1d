// Where the scale benchmarks run: brokers of either kind with the shipped defaults, their logs filled by the C peer, and
// moments waited for from outside. What is measured is not decided here.

import * as fs from "node:fs";
import * as net from "node:net";
import * as path from "node:path";
import { ApacheLab } from "../../tests/interop/lab/apache.ts";
import { type Kind, type LabBroker, LabCluster } from "../../tests/interop/lab/lab_cluster.ts";
import { runtimeInfo } from "../../tests/interop/lab/remoting_call.ts";
import { destroyAll, freeBrokerPort, until } from "../../tests/interop/lab/processes.ts";
import { deferred } from "../../src/base/async.ts";
import { BrokerClient } from "./broker_client.ts";
import { DEFAULT_SETTINGS } from "./client_subjects.ts";
import { pause, waitQuiet } from "./machine.ts";
import { Peer, type PeerResult } from "./peer.ts";

/** How much of everything. */
export interface ScaleAmounts {
  readonly mappedFileSizeCommitLog: number;
  /** Of the log that a killed node leaves, bytes. */
  readonly crashBytes: number;
  /** Sizes of the log at which a node is measured, bytes, ascending. */
  readonly logBytes: readonly number[];
  readonly slaves: readonly number[];
  readonly queues: readonly number[];
  readonly connections: readonly number[];
  /** Messages of one timed series of sends. */
  readonly puts: number;
  /** Sends of the one producer beside idle connections. */
  readonly lonePuts: number;
  /** How long pulls are counted. */
  readonly pullMs: number;
  /** How long a node is left alone before memory or its idle CPU is read; 0: not even until it is quiet. */
  readonly settleMs: number;
  readonly idleMs: number;
  readonly loadMs: number;
  readonly sampleMs: number;
  /** Of the long load at a steady rate, in messages per second. */
  readonly hourMs: number;
  readonly hourRate: number;
  readonly hourSampleMs: number;
}

/** Body of every message. */
export const BODY_SIZE = 1024;
/** The busy form of the C peer. */
const CONNECTIONS = 4;
const IN_FLIGHT = 64;
const BATCH = 32;
const START_LIMIT_MS = 600_000;
/** Beyond what the rate asks for. */
const SEND_LIMIT_MS = 1_200_000;
/** Tried so often whether a port accepts, or a pull is answered. */
const POLL_MS = 5;

/** Scratch directory and cluster of one run. */
export class ScaleLab {
  readonly directory: string;
  readonly amounts: ScaleAmounts;
  readonly cluster: LabCluster;
  #nodes = 0;

  constructor(apache: ApacheLab | null, directory: string, amounts: ScaleAmounts) {
    this.directory = directory;
    this.amounts = amounts;
    this.cluster = new LabCluster(apache, directory);
  }

  /** Leaves a node alone until it is quiet; where no figure counts, at once. */
  async settled(pid: number): Promise<void> {
    if (this.amounts.settleMs > 0) await waitQuiet(pid);
  }

  /** A master that listens, with a NameServer: ours in its own process, Apache's where `namesrv` says. */
  async startMaster(kind: Kind, options: {
    namesrv?: string;
    settings?: Record<string, string | number>;
  } = {}): Promise<LabBroker> {
    const own: Record<string, number> = kind === "apache" || options.namesrv !== undefined
      ? {}
      : { namesrvListenPort: await freeBrokerPort() };
    return await this.cluster.startBroker({
      kind,
      name: `scale-${this.#nodes++}`,
      role: "ASYNC_MASTER",
      namesrv: options.namesrv ?? null,
      // A fill keeps requests waiting longer than a client would.
      settings: {
        ...DEFAULT_SETTINGS,
        mappedFileSizeCommitLog: this.amounts.mappedFileSizeCommitLog,
        waitTimeMillsInSendQueue: 60_000,
        ...own,
        ...options.settings,
      },
      startLimitMs: START_LIMIT_MS,
    });
  }
}

/** Ends a node and removes its store. */
export async function discard(broker: LabBroker): Promise<void> {
  await broker.end("kill");
  fs.rmSync(broker.store, { recursive: true, force: true });
}

/** Name of the `index`th of many topics, as the C peer makes them. */
export function topicName(base: string, index: number): string {
  return base + String(index).padStart(5, "0");
}

/** What a series of sends is like; unset: 4 connections, 64 requests in flight, nothing untimed. */
export interface Sends {
  readonly topic: string;
  readonly queues: number;
  readonly count: number;
  readonly warmUp?: number;
  readonly connections?: number;
  readonly inFlight?: number;
  readonly topics?: number;
  readonly batch?: number;
  readonly rate?: number;
}

/** Starts the C peer on such a series; its one result is waited for. */
export async function send(port: number, sends: Sends): Promise<PeerResult> {
  const { topic, queues, count, warmUp = 0, connections = CONNECTIONS, inFlight = IN_FLIGHT } = sends;
  const args = [port, topic, queues, connections, inFlight, BODY_SIZE, Math.ceil(count), warmUp];
  const options = [`topics=${sends.topics ?? 1}`, `batch=${sends.batch ?? 1}`, `rate=${sends.rate ?? 0}`];
  const peer = new Peer("send_peer", [...args, ...options]);
  try {
    const result = await peer.result(SEND_LIMIT_MS + (sends.rate === undefined ? 0 : count / sends.rate * 1000));
    if (result.failed! > 0) throw new Error(`${result.failed} of ${count} sends to ${topic} failed`);
    return result;
  } finally {
    await peer.destroy();
  }
}

/** Where the log ends. */
export async function logEnd(port: number): Promise<number> {
  const info = await until("the broker's runtime info", 30_000, () => runtimeInfo(port));
  return Number(info.commitLogMaxOffset);
}

/** Sends batches until the log is that long; answers with its length and how many messages were sent. */
export async function fillTo(
  port: number,
  topic: string,
  queues: number,
  bytes: number,
): Promise<{ end: number; messages: number }> {
  let end = await logEnd(port);
  let messages = 0;
  let perBatch = BATCH * 2 * BODY_SIZE;
  while (end < bytes) {
    const count = Math.ceil((bytes - end) / perBatch);
    await send(port, { topic, queues, count, inFlight: 16, batch: BATCH });
    messages += count * BATCH;
    const now = await logEnd(port);
    perBatch = (now - end) / count;
    end = now;
  }
  return { end, messages };
}

/** Ends of all queues of a topic. */
export async function maxOffsets(port: number, topic: string, queues: number): Promise<number[]> {
  const client = await BrokerClient.create(port);
  try {
    return await Promise.all(Array.from({ length: queues }, (_, queueId) => client.maxOffset(topic, queueId)));
  } finally {
    client.close();
  }
}

/** Makes one topic. */
export async function createTopic(port: number, topic: string, queues: number): Promise<void> {
  const client = await BrokerClient.create(port);
  await client.createTopic(topic, queues);
  client.close();
}

/** Resolves once the port accepts a connection, or nobody wants to know any more. */
async function untilAccepts(port: number, isWanted: () => boolean): Promise<void> {
  while (isWanted()) {
    const accepted = await new Promise<boolean>((resolve) => {
      const socket = net.connect(port, "127.0.0.1", () => resolve(true)).once("error", () => resolve(false));
      socket.once("connect", () => socket.destroy());
    });
    if (accepted) return;
    await pause(POLL_MS);
  }
}

/** Resolves once a pull of the message before each of the ends finds it. */
export async function untilPulled(port: number, topic: string, ends: readonly number[]): Promise<void> {
  const client = await BrokerClient.create(port);
  try {
    for (const [queueId, end] of ends.entries()) {
      while (end > 0 && !(await client.pull(topic, queueId, end - 1)).found) await pause(POLL_MS);
    }
  } finally {
    client.close();
  }
}

/**
 * Starts a broker that was ended; seconds from there until its port accepts, and until `then` is done. A start that fails
 * rejects; one that takes longer than `limitS` is killed and counts as that.
 */
export async function timedStart(
  broker: LabBroker,
  then: () => Promise<void> = async () => {},
  limitS = START_LIMIT_MS / 1000,
): Promise<{ acceptS: number; thenS: number; isLate: boolean }> {
  const startedAt = performance.now();
  const sinceS = () => (performance.now() - startedAt) / 1000;
  let isLate = false;
  const started = broker.start();
  const times = (async () => {
    await untilAccepts(broker.port, () => !isLate);
    const acceptS = sinceS();
    if (!isLate) await then();
    return { acceptS, thenS: sinceS(), isLate };
  })();
  const late = deferred<null>();
  const timer = setTimeout(() => late.resolve(null), limitS * 1000);
  const result = await Promise.race([started.then(() => times), late.promise]);
  clearTimeout(timer);
  if (result !== null) return result;
  isLate = true;
  await Promise.all([destroyAll(), started.catch(() => {})]);
  return { acceptS: limitS, thenS: limitS, isLate };
}

/** Where a broker's store lies while another copy of it is in use. */
export function pristineOf(broker: LabBroker): string {
  return path.join(path.dirname(broker.store), `${path.basename(broker.store)}.crashed`);
}
