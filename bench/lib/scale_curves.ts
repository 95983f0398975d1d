// Part 2 of the scale benchmarks, the curves of a node's cost: by the size of its log, by its slaves, by the queues that
// have messages, by the connections that are open. A figure's name is what is measured, "@", and the point.

import type { Kind, LabBroker } from "../../tests/interop/lab/lab_cluster.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { execFileSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { BrokerClient, Puller } from "./broker_client.ts";
import { cpuSeconds, memoryOf, openFilesOf, pause, schedSeconds } from "./machine.ts";
import { Peer } from "./peer.ts";
import type { Figures } from "./phases.ts";
import { RegistrationWatch } from "./registration_watch.ts";
import { median } from "./report.ts";
import { createTopic, discard, fillTo, maxOffsets, type ScaleLab, send, timedStart, topicName } from "./scale_lab.ts";

const TOPIC = "ScaleCurve";
const QUEUES = 8;
const QUEUES_OF_TOPIC = 10;
const MB = 1e6;
/** As clients do. */
const HEARTBEAT_MS = 30_000;
/** A start on many queues that takes longer counts as that. */
const RESTART_LIMIT_S = 120;

/** One node whose log grows: sends, pulls of what was just sent, memory, open files at each size. */
export async function byLogSize(lab: ScaleLab, kind: Kind): Promise<Figures> {
  const { logBytes, puts, pullMs } = lab.amounts;
  const broker = await lab.startMaster(kind);
  const { port, process: { pid } } = broker;
  const figures: Figures = {};
  try {
    await warmedUp(lab, broker);
    for (const bytes of logBytes) {
      await fillTo(port, TOPIC, QUEUES, bytes);
      await lab.settled(pid);
      // Else it is the disk that is measured, which still takes in what filled the log.
      execFileSync("sync", ["-f", broker.store]);
      const from = await maxOffsets(port, TOPIC, QUEUES);
      const sent = await send(port, { topic: TOPIC, queues: QUEUES, count: puts });
      await lab.settled(pid);
      const puller = await Puller.start(port, TOPIC, from, { connections: 4 });
      await pause(pullMs / 5);
      const before = puller.messages;
      const startedAt = performance.now();
      await pause(pullMs);
      const pulled = (puller.messages - before) / (performance.now() - startedAt) * 1000;
      await puller.stop();
      await lab.settled(pid);
      Object.assign(figures, {
        [`puts@${bytes}`]: sent.sendsPerSecond!,
        [`pulls@${bytes}`]: pulled,
        [`rssMB@${bytes}`]: memoryOf(pid).anonymous / MB,
        [`files@${bytes}`]: openFilesOf(pid),
      });
    }
  } finally {
    await discard(broker);
  }
  return figures;
}

/** The topic, and a series of sends untimed: what runs for the first time is slow on every runtime. */
async function warmedUp({ amounts }: ScaleLab, { port }: LabBroker): Promise<void> {
  await createTopic(port, TOPIC, QUEUES);
  await send(port, { topic: TOPIC, queues: QUEUES, count: amounts.puts });
}

/** A fresh asynchronous master for each number of slaves: the C peer, so that what they cost is the master's own. */
export async function bySlaves(lab: ScaleLab, kind: Kind): Promise<Figures> {
  const { slaves, puts } = lab.amounts;
  const figures: Figures = {};
  for (const count of slaves) {
    const broker = await lab.startMaster(kind);
    const { port, process: { pid } } = broker;
    await warmedUp(lab, broker);
    const peers = Array.from(
      { length: count },
      () => new Peer("ha_peer", ["pull", port + 1, 0, Number.MAX_SAFE_INTEGER]),
    );
    try {
      await attached(broker, count);
      const cpuBefore = cpuSeconds(pid);
      const sent = await send(port, { topic: TOPIC, queues: QUEUES, count: puts });
      await lab.settled(pid);
      figures[`puts@${count}`] = sent.sendsPerSecond!;
      figures[`putCpuUs@${count}`] = (cpuSeconds(pid) - cpuBefore) / puts * 1e6;
      figures[`rssMB@${count}`] = memoryOf(pid).anonymous / MB;
    } finally {
      for (const peer of peers) await peer.destroy();
      await discard(broker);
    }
  }
  return figures;
}

async function attached({ twinlog }: LabBroker, count: number): Promise<void> {
  const deadline = performance.now() + 30_000;
  for (;;) {
    const { slaves } = await twinlog!.ha();
    if (slaves.length >= count) return;
    if (performance.now() > deadline) throw new Error(`${slaves.length} slaves after 30 s, wanted ${count}`);
    await pause(20);
  }
}

/** A fresh node for each number of queues, ten to a topic, all of them with messages. */
export async function byQueues(lab: ScaleLab, kind: Kind): Promise<Figures> {
  const figures: Figures = {};
  for (const queues of lab.amounts.queues) {
    const watch = await RegistrationWatch.start();
    const broker = await lab.startMaster(kind, { namesrv: watch.address });
    try {
      const at = await manyQueues(lab, broker, watch, queues);
      for (const [name, value] of Object.entries(at)) figures[`${name}@${queues}`] = value;
    } finally {
      await discard(broker);
      await watch.stop();
    }
  }
  return figures;
}

async function manyQueues(
  lab: ScaleLab,
  broker: LabBroker,
  watch: RegistrationWatch,
  queues: number,
): Promise<Figures> {
  const { port } = broker;
  const topics = queues / QUEUES_OF_TOPIC;
  const client = await BrokerClient.create(port);
  await client.createTopic("ScaleFirst", QUEUES_OF_TOPIC);
  const createStartedAt = performance.now();
  // The C peer knows one topic by its bare name.
  const names = topics === 1 ? [TOPIC] : Array.from({ length: topics }, (_, index) => topicName(TOPIC, index));
  await client.createTopics(names, QUEUES_OF_TOPIC);
  const createMs = (performance.now() - createStartedAt) / topics;
  const count = Math.max(lab.amounts.puts, queues);
  await send(port, { topic: TOPIC, queues: QUEUES_OF_TOPIC, topics, count });
  const sent = await send(port, { topic: TOPIC, queues: QUEUES_OF_TOPIC, topics, count });
  await lab.settled(broker.process.pid);
  const askMs: number[] = [];
  for (let i = 0; i < 5; i++) {
    const askedAt = performance.now();
    await client.ask(RequestCode.GET_ALL_TOPIC_CONFIG);
    askMs.push(performance.now() - askedAt);
  }
  const registerMs = await watch.time(() => client.createTopic("ScaleOneMore", QUEUES_OF_TOPIC));
  client.close();
  await lab.settled(broker.process.pid);
  const { pid } = broker.process;
  const rssMB = memoryOf(pid).anonymous / MB;
  const files = openFilesOf(pid);
  const stoppedAt = performance.now();
  await broker.end("stop");
  const stopS = (performance.now() - stoppedAt) / 1000;
  const isClean = !fs.existsSync(path.join(broker.store, "abort"));
  const restart = await timedStart(broker, undefined, RESTART_LIMIT_S);
  const after: Figures = {};
  if (!restart.isLate) {
    await lab.settled(broker.process.pid);
    after.restartRssMB = memoryOf(broker.process.pid).anonymous / MB;
    after.restartFiles = openFilesOf(broker.process.pid);
    await broker.end("kill");
  }
  const killed = await timedStart(broker, undefined, RESTART_LIMIT_S);
  return {
    createMs,
    puts: sent.sendsPerSecond!,
    putP99: sent.p99us! / 1000,
    rssMB,
    files,
    allTopicsMs: median(askMs),
    registerMs,
    stopS,
    cleanStop: isClean ? 1 : 0,
    startS: restart.acceptS,
    killedStartS: killed.acceptS,
    ...after,
  };
}

/** A fresh node for each number of connections that do nothing but send their heartbeats. */
export async function byConnections(lab: ScaleLab, kind: Kind): Promise<Figures> {
  const { connections, lonePuts, settleMs, idleMs } = lab.amounts;
  const figures: Figures = {};
  for (const count of connections) {
    // All of them come from one address here.
    const broker = await lab.startMaster(kind, { settings: { remotingConnectionsPerAddressMax: 100_000 } });
    const { port, process: { pid } } = broker;
    await createTopic(port, TOPIC, QUEUES);
    const lone = { topic: TOPIC, queues: QUEUES, count: lonePuts, connections: 1, inFlight: 1 };
    await send(port, lone);
    await lab.settled(pid);
    await pause(settleMs);
    const before = memoryOf(pid).anonymous;
    const crowd = new Peer("idle_peer", [port, count, HEARTBEAT_MS]);
    try {
      const { seconds } = await crowd.result();
      await pause(settleMs);
      await lab.settled(pid);
      const held = memoryOf(pid).anonymous - before;
      const cpuBefore = schedSeconds(pid);
      const idleFrom = performance.now();
      await pause(idleMs / 3);
      const idlePercent = (schedSeconds(pid) - cpuBefore) / (performance.now() - idleFrom) * 1e5;
      const sent = await send(port, lone);
      figures[`connectS@${count}`] = seconds!;
      figures[`heldKB@${count}`] = held / count / 1000;
      figures[`sendP50@${count}`] = sent.p50us!;
      figures[`sendP99@${count}`] = sent.p99us!;
      figures[`idlePercent@${count}`] = idlePercent;
    } finally {
      await crowd.destroy();
      await discard(broker);
    }
  }
  return figures;
}
