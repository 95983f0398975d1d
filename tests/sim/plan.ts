// The plan of one run: everything that a seed decides up front, as a plain value. Settings, nodes, load and the list of
// strikes, each with its time and its own generator, so that a run can be played again with some strikes or nodes left
// out while the others stay as they were. seed_run.ts plays it.

import type { Config } from "../../src/config/schema.ts";
import {
  DEFAULT_NETWORK_OPTIONS,
  type DiskOptions,
  type NetworkOptions,
  Prng,
} from "../../src/runtime/simulated/mod.ts";
import { FAULT_NAMES, type FaultName, FAULTS } from "./faults.ts";
import type { WireOptions } from "./wire_clients.ts";
import type { WorkloadOptions } from "./workload.ts";

/** One thing that goes wrong. */
export interface Strike {
  /** Its place in the list: names it, and its generator. */
  readonly index: number;
  /** World time after the cluster is up, ms. */
  readonly atMs: number;
  readonly fault: FaultName;
}

/** A run before it is played. */
export interface Plan {
  readonly seed: number;
  /** Settings that all nodes share. */
  readonly shared: Partial<Config>;
  /** Nodes from the start, the first is the master; `resync` by node. */
  readonly nodes: readonly { readonly name: string; readonly resync: boolean }[];
  readonly workload: Partial<WorkloadOptions>;
  readonly readers: { readonly count: number; readonly gapMaxMs: number };
  /** Remoting clients; null: there are none. */
  readonly wire: WireOptions | null;
  readonly network: Partial<NetworkOptions>;
  readonly disk: Partial<DiskOptions>;
  /** Weight of each fault: its share of the strikes. */
  readonly weights: Readonly<Record<string, number>>;
  readonly strikes: readonly Strike[];
  /** Time from the last strike to the end of the faults, ms. */
  readonly tailMs: number;
}

/** The node that a strike may add. */
export const LATE_NODE = "late";

/** A long run puts less often: about so many messages in all, half as many at least. */
const PUTS_AIM = 400;
/** So many requests of remoting clients in all, about. */
const WIRE_AIM = 150;

/** Draws the plan of a seed. */
export function drawPlan(seed: number): Plan {
  const prng = new Prng(seed).fork("plan");
  const nodeCount = 1 + prng.pick([1, 1, 2, 2, 2, 3, 4]);
  const names = Array.from({ length: nodeCount }, (_, i) => `n${i}`);
  const resyncPerMillion = prng.pick([0, 300_000, 1_000_000]);
  const weights = drawWeights(prng.fork("weights"));
  const strikes = drawStrikes(prng.fork("strikes"), weights);
  const producers = prng.between(1, 3);
  const lastMs = strikes.at(-1)!.atMs;
  return {
    seed,
    shared: drawSettings(prng.fork("settings")),
    nodes: names.map((name) => ({ name, resync: prng.chance(resyncPerMillion) })),
    workload: {
      producers,
      gapMaxMs: Math.max(prng.pick([10, 60, 200]), Math.floor((lastMs * producers) / PUTS_AIM)),
      bodySizeMax: prng.pick([200, 3_000, 8_000]),
      isEven: prng.chance(300_000),
    },
    readers: {
      count: prng.between(1, 3),
      gapMaxMs: Math.max(prng.pick([20, 100, 400]), Math.floor(lastMs / PUTS_AIM)),
    },
    wire: null,
    network: {
      splitPerMillion: prng.pick([0, DEFAULT_NETWORK_OPTIONS.splitPerMillion]),
      coalescePerMillion: prng.pick([0, DEFAULT_NETWORK_OPTIONS.coalescePerMillion]),
      sendBufferSize: prng.pick([4, 32, 256]) * 1024,
      receiveBufferSize: prng.pick([4, 32, 256]) * 1024,
      giveUpMs: prng.pick([2_000, 30_000, 900_000]),
    },
    disk: { cachedReadPerMillion: prng.fork("disk").pick([0, 500_000, 950_000]) },
    weights,
    strikes,
    tailMs: prng.nextInt(1_500),
  };
}

/** Draws the plan of a seed with remoting clients: a seed's plan, with less put otherwise and quick intervals of what serves. */
export function drawWirePlan(seed: number): Plan {
  const plan = drawPlan(seed);
  const prng = new Prng(seed).fork("wire plan");
  const lastMs = plan.strikes.at(-1)!.atMs;
  const producers = prng.between(1, 3);
  return {
    ...plan,
    // With reads that are there at once the services deliver in the turn of the start, before what was recovered is compared.
    disk: {},
    shared: {
      ...plan.shared,
      transactionTimeOut: 1_000,
      transactionCheckInterval: prng.pick([500, 2_000]),
      transactionCheckMax: 1_000,
      transactionOpBatchInterval: prng.pick([50, 1_000]),
      flushConsumerOffsetInterval: prng.pick([200, 2_000]),
      flushDelayOffsetInterval: prng.pick([200, 2_000]),
      fileReservedTime: 72,
    },
    workload: { ...plan.workload, producers: 1, gapMaxMs: 4 * plan.workload.gapMaxMs! },
    readers: { count: 1, gapMaxMs: 2 * plan.readers.gapMaxMs },
    wire: {
      producers,
      gapMaxMs: Math.max(prng.pick([10, 100]), Math.floor((lastMs * producers) / WIRE_AIM)),
      bodySizeMax: prng.pick([100, 2_000]),
      pullBatchSize: prng.pick([1, 8, 32]),
      clocksAreRight: !plan.strikes.some(({ fault }) => fault === "clockStep" || fault === "clockDrift"),
    },
  };
}

/** Settings that all nodes of a group share. */
function drawSettings(prng: Prng): Partial<Config> {
  const isAuto = prng.chance(150_000);
  return {
    brokerRole: prng.pick(["ASYNC_MASTER", "SYNC_MASTER", "SYNC_MASTER"] as const),
    inSyncReplicas: prng.pick([2, 2, 3]),
    enableAutoInSyncReplicas: isAuto,
    minInSyncReplicas: isAuto || prng.chance(200_000) ? prng.pick([1, 2]) : 1,
    flushDiskType: prng.pick(["ASYNC_FLUSH", "ASYNC_FLUSH", "SYNC_FLUSH"] as const),
    haAckAfterFlush: prng.chance(300_000),
    haTransferAfterFlush: prng.chance(300_000),
    mappedFileSizeCommitLog: prng.pick([16, 16, 32, 64]) * 1024,
    haTransferBatchSize: prng.pick([null, null, 300, 32 * 1024]),
    enabledAppendPropCRC: prng.chance(300_000),
    messageIndexSafe: prng.chance(300_000),
    flushIntervalCommitLog: prng.pick([50, 200, 500]),
    flushCommitLogLeastPages: prng.pick([0, 4]),
    // With clocks that step by hours: files expire in some runs.
    fileReservedTime: prng.pick([1, 72]),
    cleanResourceInterval: prng.pick([700, 3_000, 10_000]),
    haFlowControlEnable: prng.chance(100_000),
    maxHaTransferByteInSecond: prng.pick([100_000, 1_000_000]),
    haMaxGapNotInSync: prng.pick([268_435_456, 268_435_456, 20_000]),
    syncFromLastFile: prng.chance(50_000),
    slaveTimeout: prng.pick([300, 1_000, 3_000]),
    syncFlushTimeout: prng.pick([300, 5_000]),
    messageIndexEnable: !prng.chance(50_000),
  };
}

/** Each fault has its own probability: in some runs it never strikes, in some it is most of what strikes. */
function drawWeights(prng: Prng): Record<string, number> {
  const weights: Record<string, number> = {};
  for (const name of FAULT_NAMES) weights[name] = FAULTS[name].weight * prng.pick([0, 0, 1, 1, 2, 6]);
  if (Object.values(weights).every((weight) => weight === 0)) weights.kill = 1;
  return weights;
}

function drawStrikes(prng: Prng, weights: Readonly<Record<string, number>>): Strike[] {
  const total = FAULT_NAMES.reduce((sum, name) => sum + weights[name]!, 0);
  const count = prng.between(3, prng.pick([8, 16, 40]));
  const strikes: Strike[] = [];
  let atMs = 0;
  for (let index = 0; index < count; index++) {
    atMs += prng.nextInt(prng.pick([50, 500, 2_500]));
    let draw = prng.nextInt(total);
    const fault = FAULT_NAMES.find((name) => (draw -= weights[name]!) < 0)!;
    strikes.push({ index, atMs, fault });
  }
  return strikes;
}
