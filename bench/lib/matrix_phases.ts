// The matrix: single sends to an asynchronous master through the Java client, threads by body sizes, and pulls of what
// was sent by the consumer in C. Each cell on all brokers in turn, as in client_phases.ts.

import { type ClientAmounts, pullWindow, sendWindow } from "./client_phases.ts";
import { type ClientSubject, FLOOR } from "./client_subjects.ts";
import type { JavaBench } from "./java_client.ts";
import type { Figures } from "./phases.ts";

/** The cells, and how long each takes. */
export interface MatrixAmounts extends Pick<ClientAmounts, "warmUpMs" | "windowMs"> {
  readonly threads: readonly number[];
  /** Bytes of a message's body. */
  readonly bodies: readonly number[];
}

/** One round of all cells; figures by node, named `send64x1024PerSecond` (threads by body) and `pull1024PerSecond`. */
export async function matrixRound(
  subjects: readonly Pick<ClientSubject, "name" | "single">[],
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
      if (name !== FLOOR) Object.assign(figures[name]!, await pullWindow(`pull${bodySize}`, single, topic, amounts));
    }
  }
  return figures;
}
