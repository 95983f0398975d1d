// What is measured through the real Java client: windows of sends and of consumption, one kind of window after another, and
// each kind on all brokers in turn, so that what is compared was measured seconds apart. And pulls by a consumer in C, where
// the Java client would be the limit.

import { cpuSeconds, memoryOf, pause } from "./machine.ts";
import { awake, type ClientSubject, FLOOR, type Served, sleepNow } from "./client_subjects.ts";
import type { JavaBench, SendShape } from "./java_client.ts";
import { measure } from "./peer.ts";
import type { Figures } from "./phases.ts";

/** How long everything takes. */
export interface ClientAmounts {
  readonly warmUpMs: number;
  readonly windowMs: number;
  /** Messages that a consumer is timed over. */
  readonly consumed: number;
  /** How long a broker is left alone before its idle memory is read, ms. */
  readonly idleMs: number;
}

/** The windows of sends: the prefix of their figures, how many threads, messages of one call, and to which form. */
const SENDS = [
  { key: "send64", threads: 64, batch: 1, form: "single" },
  { key: "sync64", threads: 64, batch: 1, form: "pair" },
  { key: "send1", threads: 1, batch: 1, form: "single" },
  { key: "sync1", threads: 1, batch: 1, form: "pair" },
  { key: "batch", threads: 8, batch: 32, form: "single" },
] as const;

const SEND_TOPIC = "BenchSend";
const CONSUME_TOPIC = "BenchConsume";
/** Of a topic whose messages are pulled, and over how many connections the consumer in C pulls them. */
export const QUEUES = 8;
const PULL_CONNECTIONS = 4;
const MB = 1e6;

/** Memory at rest, and the messages that consumers will read. Afterwards all are stopped. */
export async function prepare(
  subjects: readonly ClientSubject[],
  java: JavaBench,
  amounts: ClientAmounts,
): Promise<Record<string, Figures>> {
  await pause(amounts.idleMs);
  const idle: Record<string, Figures> = {};
  for (const { name, single, pair } of subjects) {
    idle[name] = name === FLOOR ? {} : { idleMB: memoryOf(single.pid).anonymous / MB };
    sleepNow([...single.pids, ...pair.pids]);
  }
  for (const { name, single } of subjects) {
    if (name === FLOOR) continue;
    await awake(single, async () => {
      const shape = { threads: 8, batch: 32, warmUpMs: 0, ms: amounts.windowMs };
      for (let sent = 0; sent < amounts.consumed;) {
        const { messages } = await java.send(single.namesrv, CONSUME_TOPIC, shape);
        sent += messages;
      }
    });
  }
  return idle;
}

/** One round of all windows; figures by node. */
export async function clientRound(
  subjects: readonly ClientSubject[],
  java: JavaBench,
  amounts: ClientAmounts,
): Promise<Record<string, Figures>> {
  const figures: Record<string, Figures> = Object.fromEntries(subjects.map(({ name }) => [name, {}]));
  for (const { key, threads, batch, form } of SENDS) {
    for (const subject of subjects) {
      const { warmUpMs, windowMs: ms } = amounts;
      const shape = { threads, batch, warmUpMs, ms };
      const measured = await sendWindow(key, subject[form], java, SEND_TOPIC, shape);
      Object.assign(figures[subject.name]!, measured, loaded(figures[subject.name]!, subject, form));
    }
  }
  const stores = subjects.filter(({ name }) => name !== FLOOR);
  for (const subject of stores) {
    const measured = await consumeWindow(subject.single, java, amounts.consumed);
    Object.assign(figures[subject.name]!, measured, loaded(figures[subject.name]!, subject, "single"));
  }
  for (const subject of stores) {
    const measured = await pullWindow("pull", subject.single, CONSUME_TOPIC, amounts);
    Object.assign(figures[subject.name]!, measured, loaded(figures[subject.name]!, subject, "single"));
  }
  return figures;
}

/** A window of sends by the Java client; its figures begin with `key`. */
export async function sendWindow(
  key: string,
  served: Served,
  java: JavaBench,
  topic: string,
  shape: SendShape,
): Promise<Figures> {
  return await awake(served, async () => {
    const before = cpuSeconds(served.pid);
    const { perSecond, p50us, p99us, failed, messages } = await java.send(served.namesrv, topic, shape);
    if (messages === 0) throw new Error(`${key}: nothing was sent, ${failed} sends failed`);
    // Of the warm-up too: what it sent is estimated by the window's rate.
    const sent = perSecond * (shape.warmUpMs + shape.ms) / 1000;
    const cpuUs = (cpuSeconds(served.pid) - before) / sent * 1e6;
    const named = { PerSecond: perSecond, P50: p50us, P99: p99us, Failed: failed, CpuUs: cpuUs };
    return Object.fromEntries(Object.entries(named).map(([name, value]) => [key + name, value]));
  });
}

async function consumeWindow(served: Served, java: JavaBench, count: number): Promise<Figures> {
  return await awake(served, async () => {
    const before = cpuSeconds(served.pid);
    const { perSecond } = await java.consume(served.namesrv, CONSUME_TOPIC, count);
    return { consumePerSecond: perSecond, consumeCpuUs: (cpuSeconds(served.pid) - before) / count * 1e6 };
  });
}

/** A window of pulls from a topic's first message on by the consumer in C; its figures begin with `key`. */
export async function pullWindow(
  key: string,
  served: Served,
  topic: string,
  { warmUpMs, windowMs }: Pick<ClientAmounts, "warmUpMs" | "windowMs">,
): Promise<Figures> {
  return await awake(served, async () => {
    const before = cpuSeconds(served.pid);
    const result = await measure("pull_peer", served.port, topic, QUEUES, PULL_CONNECTIONS, warmUpMs, windowMs);
    if (result.messages === 0) {
      const sooner = `${result.allMessages} messages in the ${warmUpMs} ms before`;
      throw new Error(`${key} at ${served.namesrv}: nothing came within ${windowMs} ms, ${sooner}`);
    }
    const cpuUs = (cpuSeconds(served.pid) - before) / result.allMessages! * 1e6;
    return { [`${key}PerSecond`]: result.messagesPerSecond!, [`${key}CpuUs`]: cpuUs };
  });
}

/** The highest anonymous memory of the single broker at the ends of this round's windows. */
function loaded(before: Figures, { name, single }: ClientSubject, form: string): Figures {
  if (name === FLOOR || form !== "single") return {};
  return { loadedMB: Math.max(before.loadedMB ?? 0, memoryOf(single.pid).anonymous / MB) };
}
