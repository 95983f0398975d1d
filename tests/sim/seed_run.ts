// One seed, one run: plays the plan that the seed draws (plan.ts) over whole nodes, first with faults while every step is
// checked (safety), then without until all is equal and at rest (liveness). Same seed, same run, on every runtime; the
// returned hash is over every event of it. A run that breaks an invariant throws a SeedFailure that tells the story.

import { type SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { StepChecker } from "./checkers.ts";
import { SimCluster, type SimNode } from "./cluster.ts";
import { type FaultName, Nemesis } from "./faults.ts";
import { checkAnswers } from "./answers.ts";
import { type InvariantCounts, Violation } from "./invariants.ts";
import { Operator } from "./operator.ts";
import { awaitDelivery, checkWire } from "./client_checks.ts";
import { drawPlan, drawWirePlan, LATE_NODE, type Plan } from "./plan.ts";
import { Readers } from "./readers.ts";
import { checkAtRest, checkQuiet } from "./rest_checks.ts";
import { WireClients } from "./wire_clients.ts";
import { Workload } from "./workload.ts";

const REPORTED_LINES = 60;
const REPORTED_EVENTS = 25;
/** After the last client a node has written down what it knew of them, ms. */
const WIRE_REST_MS = 5_000;

/** What is left out of a seed's plan, for a smaller reproduction. */
export interface SeedOptions {
  /** Indexes of strikes. */
  readonly dropFaults?: readonly number[];
  /** Names of nodes; never the first. */
  readonly dropNodes?: readonly string[];
  /** Remoting clients take part: another family of runs, with plans of its own. */
  readonly clients?: boolean;
}

/** What a run came to. */
export interface SeedResult {
  readonly hash: string;
  readonly events: number;
  readonly puts: number;
  /** What the parts counted: operator, readers, checker. */
  readonly counters: Readonly<Record<string, number>>;
  /** How often each fault took effect. */
  readonly faults: Readonly<Record<FaultName, number>>;
  /** How often each invariant was checked. */
  readonly invariants: Readonly<Record<string, number>>;
  /** World time that passed, ms. */
  readonly worldMs: number;
}

/** A run that broke an invariant, or went wrong in another way. The message is a whole report. */
export class SeedFailure extends Error {
  readonly seed: number;
  /** Name of the broken invariant; "error" for what is none. */
  readonly invariant: string;
  readonly options: SeedOptions;
  readonly plan: Plan;

  constructor(plan: Plan, options: SeedOptions, cluster: SimCluster, cause: unknown) {
    const invariant = cause instanceof Violation ? cause.invariant : "error";
    super(report(plan, options, cluster, cause), { cause });
    this.name = "SeedFailure";
    this.seed = plan.seed;
    this.invariant = invariant;
    this.options = options;
    this.plan = plan;
  }
}

/** Plays one seed. Throws {@link SeedFailure} when anything does not hold. */
export async function runSeed(seed: number, options: SeedOptions = {}): Promise<SeedResult> {
  const plan = planOf(seed, options);
  const cluster = new SimCluster(seed, { network: plan.network, disk: plan.disk });
  try {
    return await play(plan, options, cluster);
  } catch (error) {
    throw new SeedFailure(plan, options, cluster, error);
  }
}

/** The plan of a seed. */
export function planOf(seed: number, { clients = false }: SeedOptions): Plan {
  return clients ? drawWirePlan(seed) : drawPlan(seed);
}

async function play(plan: Plan, options: SeedOptions, cluster: SimCluster): Promise<SeedResult> {
  const { world } = cluster;
  const isKept = (name: string) => !(options.dropNodes ?? []).includes(name);
  // Every machine is there, so that what is left out moves no other's generator; only nodes that take part are added.
  const names = [...plan.nodes.map(({ name }) => name), LATE_NODE];
  for (const name of names) world.host(name);
  const [first, ...slaves] = plan.nodes;
  const master = cluster.add(first!.name, plan.shared);
  for (const { name, resync } of slaves) if (isKept(name)) addSlave(cluster, plan, name, master, resync);

  const workload = new Workload(cluster, plan.workload);
  const operator = new Operator(cluster, workload, master, plan.shared.brokerRole!);
  const checker = new StepChecker(cluster, workload);
  const readers = new Readers(cluster, workload, checker);
  const clients = plan.wire === null ? null : new WireClients({ cluster, workload, checker, options: plan.wire });
  const effects: Record<string, number> = {};
  const join = () => {
    if (!isKept(LATE_NODE) || cluster.nodes.some((node) => node.name === LATE_NODE)) return null;
    return addSlave(cluster, plan, LATE_NODE, operator.master, true);
  };
  const nemesis = new Nemesis({ cluster, operator, workload, checker, names, join, effects });

  await cluster.drive(Promise.all(cluster.nodes.map((node) => node.start())));
  workload.start(master);
  readers.start(plan.readers.count, plan.readers.gapMaxMs);
  clients?.start();
  await strikeAll(plan, options, { cluster, nemesis, world });

  workload.stop();
  clients?.stopProducing();
  nemesis.calm();
  clients?.calm();
  await cluster.advance(1_000);
  await operator.settle();
  readers.stop();
  await cluster.run(() => workload.openCount === 0, 10_000);
  const { invariants } = checker;
  await cluster.advance(1_000);
  const wireCounters = clients === null ? {} : await endClients(cluster, operator, clients, invariants);
  await checkAnswers(cluster, operator, workload, invariants);
  // What was put then reaches everybody.
  await operator.settle();
  await cluster.advance(1_000);
  await checkQuiet(cluster, operator.master, workload, invariants);
  await checkAtRest(cluster, invariants);
  for (const name of ["converges", "noBug"] as const) invariants.add(name);
  return {
    hash: world.trace.hash,
    events: world.trace.count,
    puts: workload.ledger.length,
    counters: {
      ok: workload.okCount,
      cachedReads: cluster.nodes.reduce((sum, { host }) => sum + host.disk.counters.cachedReads, 0),
      ...readers.counters,
      ...checker.counters,
      ...operator.counters,
      ...wireCounters,
    },
    faults: nemesis.proofs(),
    invariants: invariants.counts,
    worldMs: world.nowMs,
  };
}

/** The clients get what is due and leave. */
async function endClients(
  cluster: SimCluster,
  { master }: Operator,
  clients: WireClients,
  invariants: InvariantCounts,
): Promise<Record<string, number>> {
  await awaitDelivery(cluster, master, clients.ledger);
  const counters = checkWire(master, clients.ledger, invariants);
  await cluster.drive(clients.stop());
  await cluster.advance(WIRE_REST_MS);
  return { ...clients.counters, ...counters };
}

async function strikeAll(
  plan: Plan,
  { dropFaults = [] }: SeedOptions,
  { cluster, nemesis, world }: { cluster: SimCluster; nemesis: Nemesis; world: SimulatedWorld },
): Promise<void> {
  const startMs = world.nowMs;
  for (const { index, atMs, fault } of plan.strikes) {
    const waitMs = startMs + atMs - world.nowMs;
    if (waitMs > 0) await cluster.advance(waitMs);
    if (!dropFaults.includes(index)) nemesis.strike(fault, world.prng.fork(`strike ${index}`));
  }
  await cluster.advance(plan.tailMs);
}

function addSlave(cluster: SimCluster, plan: Plan, name: string, master: SimNode, resync: boolean): SimNode {
  return cluster.add(name, {
    ...plan.shared,
    brokerRole: "SLAVE",
    brokerId: plan.nodes.findIndex((node) => node.name === name) + 1 || plan.nodes.length + 1,
    haMasterAddress: master.haAddress,
    resync,
  });
}

/** The story of a failed run: what broke, under which settings, what struck, and the last lines and events. */
function report(plan: Plan, options: SeedOptions, cluster: SimCluster, cause: unknown): string {
  const error = cause as Error;
  const { dropFaults = [], dropNodes = [] } = options;
  const strikes = plan.strikes.filter(({ index }) => !dropFaults.includes(index));
  const nodes = plan.nodes.filter(({ name }) => !dropNodes.includes(name));
  const isBroken = cause instanceof Violation;
  return [
    `Seed ${plan.seed}: ${error.message}`,
    ...(isBroken ? [] : [`${error.stack}`]),
    `settings: ${JSON.stringify(plan.shared)}`,
    `nodes: ${nodes.map(({ name, resync }) => name + (resync ? " (resync)" : "")).join(", ")}; ` +
    `load ${JSON.stringify(plan.workload)}; network ${JSON.stringify(plan.network)}`,
    `strikes: ${strikes.map(({ index, atMs, fault }) => `${index}:${fault}@${atMs}`).join(" ") || "none"}`,
    `last lines:\n  ${cluster.lines.slice(-REPORTED_LINES).join("\n  ")}`,
    `last events (microseconds, what, where, detail):\n  ${
      cluster.world.trace.lines.slice(-REPORTED_EVENTS).join("\n  ")
    }`,
    `replay: ${replayCommand(plan.seed, options)}`,
  ].join("\n");
}

/** The command that plays a run again. */
export function replayCommand(seed: number, { dropFaults = [], dropNodes = [], clients }: SeedOptions): string {
  const faults = dropFaults.length > 0 ? ` --drop-faults ${dropFaults.join(",")}` : "";
  const nodes = dropNodes.length > 0 ? ` --drop-nodes ${dropNodes.join(",")}` : "";
  return `deno task sim ${clients ? "--clients " : ""}--seed ${seed}${faults}${nodes}`;
}
