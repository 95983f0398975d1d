// One seed, one run: draws a cluster, its settings, a load and faults from the seed, plays them, and checks. Same seed,
// same run, on every runtime; the returned hash is over every event of it.

import type { Config } from "../../src/config/schema.ts";
import type { Prng } from "../../src/runtime/simulated/mod.ts";
import { checkAtRest, checkQuiet, StepChecker } from "./checkers.ts";
import { SimCluster, type SimNode } from "./cluster.ts";
import { Nemesis } from "./faults.ts";
import { Operator } from "./operator.ts";
import { Workload } from "./workload.ts";

const REPORTED_LINES = Number(process.env.TWINLOG_SIM_LINES ?? 60);
const REPORTED_EVENTS = 25;

/** What a run came to. */
export interface SeedResult {
  readonly hash: string;
  readonly events: number;
  readonly puts: number;
  readonly counters: Readonly<Record<string, number>>;
}

/** Plays one seed. Throws with the seed, the settings, the last log lines and events when anything does not hold. */
export async function runSeed(seed: number): Promise<SeedResult> {
  const cluster = new SimCluster(seed);
  const prng = cluster.world.prng.fork("scenario");
  const shared = drawSettings(prng);
  try {
    return await play(cluster, prng, shared);
  } catch (error) {
    const events = cluster.world.trace.lines.slice(-REPORTED_EVENTS).join("\n  ");
    const lines = cluster.lines.slice(-REPORTED_LINES).join("\n  ");
    throw new Error(
      `Seed ${seed}: ${(error as Error).message}\n${(error as Error).stack}\nsettings ${JSON.stringify(shared)}\n` +
        `last lines:\n  ${lines}\nlast events:\n  ${events}\nreplay with TWINLOG_SIM_SEED=${seed}`,
      { cause: error },
    );
  }
}

/** Settings that all nodes of a group share. */
function drawSettings(prng: Prng): Partial<Config> {
  const isAuto = prng.chance(150_000);
  return {
    brokerRole: prng.pick(["ASYNC_MASTER", "SYNC_MASTER", "SYNC_MASTER"] as const),
    inSyncReplicas: prng.pick([2, 2, 3]),
    enableAutoInSyncReplicas: isAuto,
    minInSyncReplicas: isAuto ? prng.pick([1, 2]) : 1,
    flushDiskType: prng.pick(["ASYNC_FLUSH", "ASYNC_FLUSH", "SYNC_FLUSH"] as const),
    haAckAfterFlush: prng.chance(300_000),
    haTransferAfterFlush: prng.chance(300_000),
    mappedFileSizeCommitLog: prng.pick([16, 16, 32, 64]) * 1024,
    haTransferBatchSize: prng.pick([null, null, 300, 32 * 1024]),
    enabledAppendPropCRC: prng.chance(300_000),
    messageIndexSafe: prng.chance(300_000),
    flushIntervalCommitLog: prng.pick([50, 200, 500]),
  };
}

async function play(cluster: SimCluster, prng: Prng, shared: Partial<Config>): Promise<SeedResult> {
  const slaveCount = prng.between(1, 3);
  const master = cluster.add("n0", shared);
  for (let i = 1; i <= slaveCount; i++) addSlave(cluster, `n${i}`, master, shared, prng);
  const workload = new Workload(cluster, {
    producers: prng.between(1, 3),
    gapMaxMs: prng.pick([10, 60, 200]),
    bodySizeMax: prng.pick([200, 3_000, 8_000]),
    isEven: prng.chance(300_000),
  });
  const operator = new Operator(cluster, workload, master, shared.brokerRole!);
  const checker = new StepChecker(cluster, workload);
  const nemesis = new Nemesis({ cluster, operator, workload, checker }, prng.fork("nemesis"));

  await cluster.drive(Promise.all(cluster.nodes.map((node) => node.start())));
  workload.start(master);
  const strikes = prng.between(3, prng.pick([8, 16, 40]));
  const lateJoinAt = prng.chance(400_000) ? prng.nextInt(strikes) : -1;
  for (let i = 0; i < strikes; i++) {
    await cluster.advance(prng.nextInt(prng.pick([50, 500, 2_500])));
    if (i === lateJoinAt) void addSlave(cluster, "late", operator.master, shared, prng).start();
    else nemesis.strike();
  }
  await cluster.advance(prng.nextInt(1_500));

  workload.stop();
  nemesis.calm();
  await cluster.advance(1_000);
  await operator.settle();
  await cluster.run(() => workload.openCount === 0, 10_000);
  // One more message reaches everybody.
  const last = await cluster.drive(workload.put(operator.master));
  if (last.outcome?.stored == null) throw new Error(`The last put ended with ${JSON.stringify(last.outcome)}`);
  await operator.settle();
  await checkQuiet(cluster, operator.master, workload);
  await checkAtRest(cluster);
  return {
    hash: cluster.world.trace.hash,
    events: cluster.world.trace.count,
    puts: workload.ledger.length,
    counters: { ok: workload.okCount, ...checker.counters, ...operator.counters, ...nemesis.counters },
  };
}

function addSlave(cluster: SimCluster, name: string, master: SimNode, shared: Partial<Config>, prng: Prng): SimNode {
  return cluster.add(name, {
    ...shared,
    brokerRole: "SLAVE",
    brokerId: cluster.nodes.length,
    haMasterAddress: master.haAddress,
    resync: prng.chance(300_000),
  });
}
