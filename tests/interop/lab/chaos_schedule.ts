// What befalls a chaos cluster, drawn from the seed before anything runs: steps of one to three faults at a time, and
// failovers between them. Every kind is dealt before any comes again, so that a short run sees them all. The state of the
// cluster decides only whom a pick means.

import type { ChaosCluster, FailoverHow } from "./chaos_cluster.ts";
import type { ChaosNode } from "./chaos_node.ts";
import { type Generator, generator, shuffled } from "./generator.ts";
import { pause, until } from "./processes.ts";

/** The kinds of faults that a step is made of. */
export const FAULT_KINDS = [
  "killSlave",
  "killMaster",
  "pauseSlave",
  "pauseMaster",
  "wipeSlave",
  "delay",
  "split",
  "reset",
  "halfOpenBoth",
  "halfOpenUp",
  "halfOpenDown",
  "drop",
] as const;
export type FaultKind = (typeof FAULT_KINDS)[number];

/** One fault. */
export interface Fault {
  readonly kind: FaultKind;
  /** Chooses among the nodes it may hit. */
  readonly pick: number;
  readonly ms: number;
}

/** One step. */
export type Step =
  | { readonly type: "faults"; readonly faults: readonly Fault[] }
  | { readonly type: "failover"; readonly how: FailoverHow; readonly afterMs: number };

/** Deals: all of the kinds in an order, from one of them on, and again. */
function deck<T>(kinds: readonly T[], from: number): () => T {
  let dealt = from;
  return () => kinds[dealt++ % kinds.length]!;
}

/** What befalls one round. */
export class Schedule {
  readonly #random: Generator;
  readonly #dealFault: () => FaultKind;
  readonly #dealFailover: () => FailoverHow;

  /** `place` is the master's place in the run, `round` counts its rounds: each draws for itself, so each can be replayed. */
  constructor(seed: number, place: number, round: number) {
    const shared = generator(seed + round);
    this.#dealFault = deck(shuffled(FAULT_KINDS, shared), place * 3);
    this.#dealFailover = deck(shuffled<FailoverHow>(["kill", "freeze", "cut", "starve"], shared), place * 2);
    this.#random = generator(seed + 1000 * round + place + 1);
  }

  /** Choices beside the steps. */
  get random(): Generator {
    return this.#random;
  }

  /** The steps of a round: `count` steps of faults, with a failover in their middle and one at the end. */
  drawSteps(count: number): Step[] {
    const steps: Step[] = Array.from({ length: count }, () => ({
      type: "faults",
      faults: Array.from({ length: 1 + this.#random(3) }, () => this.#drawFault()),
    }));
    steps.splice(Math.floor(count / 2), 0, this.#drawFailover());
    steps.push(this.#drawFailover());
    return steps;
  }

  #drawFault(): Fault {
    // Now and then longer than the house-keeping interval, so that peers give each other up.
    return { kind: this.#dealFault(), pick: this.#random(1000), ms: 300 + this.#random(2600) };
  }

  #drawFailover(): Step {
    return { type: "failover", how: this.#dealFailover(), afterMs: this.#random(300) };
  }
}

/** A step in words. */
export function describeStep(step: Step): string {
  if (step.type === "failover") return `failover: ${step.how} after ${step.afterMs} ms`;
  return step.faults.map(({ kind, pick, ms }) => `${kind}#${pick} ${ms} ms`).join(" + ");
}

/** Carries a step out; resolves once its faults are over. `counts` is how often each kind was. */
export async function runStep(cluster: ChaosCluster, step: Step, counts: Map<string, number>): Promise<void> {
  if (step.type === "failover") {
    await pause(step.afterMs);
    await cluster.failOver(step.how);
    return;
  }
  await Promise.all(step.faults.map((fault) => inflict(cluster, fault, counts)));
}

async function inflict(cluster: ChaosCluster, fault: Fault, counts: Map<string, number>): Promise<void> {
  const victims = candidates(cluster, fault.kind).filter((node) => !node.busy);
  const victim = victims[fault.pick % Math.max(victims.length, 1)];
  if (victim === undefined) return;
  counts.set(fault.kind, (counts.get(fault.kind) ?? 0) + 1);
  victim.busy = true;
  try {
    await act(cluster, fault, victim);
  } finally {
    victim.busy = false;
  }
}

function candidates(cluster: ChaosCluster, kind: FaultKind): ChaosNode[] {
  if (kind === "pauseMaster") return [cluster.master];
  // A Java broker takes seconds to start: as a master it is paused, and killed for good by failovers.
  if (kind === "killMaster") return cluster.master.isApache ? [] : [cluster.master];
  if (kind === "wipeSlave") return cluster.slaves.filter((node) => !node.isApache);
  return cluster.slaves;
}

async function act(cluster: ChaosCluster, { kind, ms, pick }: Fault, victim: ChaosNode): Promise<void> {
  switch (kind) {
    case "killSlave":
    case "wipeSlave":
      await victim.kill();
      if (kind === "wipeSlave") victim.wipe();
      await pause(kind === "wipeSlave" ? 0 : Math.floor(ms / 4));
      await cluster.startSlave(victim);
      // What only it and the master held is on one disk now, until it has it again.
      if (kind === "wipeSlave") {
        const { master } = cluster;
        const end = await until(`${master} to say its end`, 30_000, () => master.maxOffset().catch(() => null));
        await victim.waitForMax(end, 30_000);
      }
      return;
    case "killMaster":
      await victim.kill();
      await pause(Math.floor(ms / 4));
      await victim.start(null);
      return;
    case "pauseSlave":
    case "pauseMaster":
      victim.pause();
      await pause(ms);
      victim.resume();
      return;
    default: {
      const link = await cluster.link(victim);
      if (kind === "reset") {
        for (let i = 0; i < 4; i++) {
          link.reset();
          await pause(Math.floor(ms / 4));
        }
        return;
      }
      link.set(
        kind === "delay"
          ? { type: "delay", ms: 2 + pick % 120 }
          : kind === "split"
          ? { type: "split" }
          : kind === "drop"
          ? { type: "drop" }
          : { type: "halfOpen", swallows: kind === "halfOpenBoth" ? "both" : kind === "halfOpenUp" ? "up" : "down" },
      );
      await pause(ms);
      link.heal();
    }
  }
}
