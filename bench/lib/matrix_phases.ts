// The matrix: single sends to an asynchronous master through the Java client, threads by body sizes, and pulls by the
// consumer in C of what was sent before. Each cell on all brokers in turn, as in client_phases.ts.

import { BrokerClient } from "./broker_client.ts";
import { type ClientAmounts, pullWindow, QUEUES, sendWindow } from "./client_phases.ts";
import { awake, type ClientSubject, FLOOR } from "./client_subjects.ts";
import type { JavaBench } from "./java_client.ts";
import { measure } from "./peer.ts";
import type { Figures } from "./phases.ts";

/** The cells, and how long each takes. */
export interface MatrixAmounts extends Pick<ClientAmounts, "warmUpMs" | "windowMs"> {
  readonly threads: readonly number[];
  /** Bytes of a message's body. */
  readonly bodies: readonly number[];
  /** What is pulled of each, bytes of bodies: so little that it stays in the page cache, whatever is sent in between. */
  readonly pulledBytes: number;
}

type MatrixSubject = Pick<ClientSubject, "name" | "single">;

/** Messages of one body that are pulled, at most; and how they are sent: one by one, so that the queues' lie among others'. */
const PULLED_MAX = 200_000;
const CONNECTIONS = 4;
const IN_FLIGHT = 16;
/** Once through it all, should it not be in the page cache any more. */
const PULL_WARM_UP_MS = 1000;

const pullTopic = (bodySize: number) => `BenchMatrixPull${bodySize}`;

/** Messages that consumers will read. */
export async function prepareMatrix(subjects: readonly MatrixSubject[], amounts: MatrixAmounts): Promise<void> {
  for (const { name, single } of subjects) {
    if (name === FLOOR) continue;
    await awake(single, async () => {
      const client = await BrokerClient.create(single.port);
      for (const bodySize of amounts.bodies) {
        const count = Math.min(PULLED_MAX, Math.ceil(amounts.pulledBytes / bodySize));
        await client.createTopic(pullTopic(bodySize), QUEUES);
        await measure("send_peer", single.port, pullTopic(bodySize), QUEUES, CONNECTIONS, IN_FLIGHT, bodySize, count);
      }
      client.close();
    });
  }
}

/** One round of all cells; figures by node, named `send64x1024PerSecond` (threads by body) and `pull1024PerSecond`. */
export async function matrixRound(
  subjects: readonly MatrixSubject[],
  java: JavaBench,
  amounts: MatrixAmounts,
): Promise<Record<string, Figures>> {
  const figures: Record<string, Figures> = Object.fromEntries(subjects.map(({ name }) => [name, {}]));
  for (const bodySize of amounts.bodies) {
    const topic = `BenchMatrix${bodySize}`;
    for (const threads of amounts.threads) {
      const shape = { threads, batch: 1, bodySize, warmUpMs: amounts.warmUpMs, ms: amounts.windowMs };
      for (const { name, single } of subjects) {
        const measured = await sendWindow(`send${threads}x${bodySize}`, single, java, topic, shape);
        Object.assign(figures[name]!, measured);
      }
    }
    for (const { name, single } of subjects) {
      if (name === FLOOR) continue;
      const times = { warmUpMs: PULL_WARM_UP_MS, windowMs: amounts.windowMs };
      Object.assign(figures[name]!, await pullWindow(`pull${bodySize}`, single, pullTopic(bodySize), times));
    }
  }
  return figures;
}
