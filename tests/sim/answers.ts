// What puts are told once the faults are over and everyone follows: slaves in sync are those that follow, and a put is
// answered as their number and the settings say, at each side of each bound. Runs between settling and the last checks.

import type { Config } from "../../src/config/schema.ts";
import { isConverged } from "./checkers.ts";
import type { SimCluster } from "./cluster.ts";
import { type InvariantCounts, Violation } from "./invariants.ts";
import type { Operator } from "./operator.ts";
import type { Workload } from "./workload.ts";

/** Who left without a word is counted for so long, ms: twice a house-keeping interval. */
const COUNTED_MS = 4_000;
const BODY_SIZE = 200;

type Copies = Pick<Config, "inSyncReplicas" | "minInSyncReplicas" | "enableAutoInSyncReplicas">;

/** Counts and answers of the master, to which nobody else puts now. The log grows by a few messages. */
export async function checkAnswers(
  cluster: SimCluster,
  operator: Operator,
  workload: Workload,
  invariants: InvariantCounts,
): Promise<void> {
  const { master } = operator;
  const { admin } = master.broker!;
  const slaves = cluster.nodes.filter((node) => node !== master && operator.masterOf(node) === master);
  const count = slaves.filter((slave) => isConverged(slave, master)).length;
  await checkCount(cluster, operator, count, invariants);

  const { inSyncReplicas, minInSyncReplicas, enableAutoInSyncReplicas, brokerRole } = admin.config();
  const drawn: Copies = { inSyncReplicas, minInSyncReplicas, enableAutoInSyncReplicas };
  const copies = 1 + count;
  const bounds: readonly Copies[] = [
    { inSyncReplicas: copies, minInSyncReplicas: copies, enableAutoInSyncReplicas: false },
    { inSyncReplicas: copies + 1, minInSyncReplicas: 1, enableAutoInSyncReplicas: false },
    { inSyncReplicas: copies + 1, minInSyncReplicas: copies, enableAutoInSyncReplicas: true },
    { inSyncReplicas: copies + 1, minInSyncReplicas: copies + 1, enableAutoInSyncReplicas: true },
  ];
  for (const settings of [drawn, ...bounds]) {
    admin.updateConfig(settings);
    const before = master.status().maxOffset;
    const put = await cluster.drive(workload.put(master, BODY_SIZE, true));
    const wanted = brokerRole === "SYNC_MASTER" ? statusOf(settings, copies) : "PUT_OK";
    const isWritten = master.status().maxOffset > before && put.outcome?.stored != null;
    const isRight = put.outcome?.status === wanted && isWritten === (wanted !== "IN_SYNC_REPLICAS_NOT_ENOUGH");
    invariants.holds("writable", isRight, () => {
      return `A put to ${brokerRole} ${master.name} with ${count} slaves and ${JSON.stringify(settings)} is told ` +
        `${JSON.stringify(put.outcome)}, wanted ${wanted}`;
    });
  }
  admin.updateConfig(drawn);
}

/** The answer with so many copies at hand, the master's included. */
function statusOf({ inSyncReplicas, minInSyncReplicas, enableAutoInSyncReplicas }: Copies, copies: number): string {
  if (copies < minInSyncReplicas) return "IN_SYNC_REPLICAS_NOT_ENOUGH";
  const least = enableAutoInSyncReplicas ? minInSyncReplicas : inSyncReplicas;
  return copies < least ? "SLAVE_NOT_AVAILABLE" : "PUT_OK";
}

async function checkCount(
  cluster: SimCluster,
  { master }: Operator,
  count: number,
  invariants: InvariantCounts,
): Promise<void> {
  const isCounted = () => master.status().inSyncSlaveNums === count;
  try {
    await cluster.run(isCounted, COUNTED_MS);
  } catch (error) {
    if (!(error instanceof Violation) || error.invariant !== "converges") throw error;
  }
  invariants.holds("inSyncCounted", isCounted(), () => {
    return `${master.name} says ${master.status().inSyncSlaveNums} slaves are in sync, ${count} follow it`;
  });
}
