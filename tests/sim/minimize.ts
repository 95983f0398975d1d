// Makes a failing run smaller: leaves out strikes and nodes of its plan, half of them, then a quarter, then one by one, as
// long as the same invariant still breaks. What is left is as deterministic as the seed was.

import { LATE_NODE } from "./plan.ts";
import { runSeed, SeedFailure, type SeedOptions } from "./seed_run.ts";

/** A smaller run that fails alike. */
export interface Smaller {
  readonly failure: SeedFailure;
  /** Runs that it took. */
  readonly runs: number;
}

/** Looks for the smallest run that breaks the same invariant, with at most `runsMax` tries, until `isOver`. */
export async function minimize(
  failure: SeedFailure,
  runsMax = 150,
  isOver: () => boolean = () => false,
): Promise<Smaller> {
  let best = failure;
  let runs = 0;
  const tryIt = async (options: SeedOptions): Promise<boolean> => {
    if (runs >= runsMax || isOver()) return false;
    runs++;
    const found = await failureOf(failure.seed, { ...options, clients: failure.options.clients === true });
    if (found?.invariant !== failure.invariant) return false;
    best = found;
    return true;
  };
  const names = [...failure.plan.nodes.slice(1).map(({ name }) => name), LATE_NODE];
  for (const name of names) await tryIt({ ...best.options, dropNodes: [...(best.options.dropNodes ?? []), name] });

  let rest = failure.plan.strikes.map(({ index }) => index).filter((i) => !(best.options.dropFaults ?? []).includes(i));
  for (let size = Math.max(1, Math.floor(rest.length / 2)); rest.length > 0;) {
    let isSmaller = false;
    // The last ones first: most of what comes after the cause is of no use.
    for (let end = rest.length; end > 0; end = Math.min(end - size, rest.length)) {
      const dropped = rest.slice(Math.max(0, end - size), end);
      if (dropped.length === 0) continue;
      const options = { ...best.options, dropFaults: [...(best.options.dropFaults ?? []), ...dropped] };
      if (!(await tryIt(options))) continue;
      rest = rest.filter((index) => !dropped.includes(index));
      isSmaller = true;
    }
    if (size === 1 && !isSmaller) break;
    size = Math.max(1, Math.floor(size / 2));
  }
  return { failure: best, runs };
}

async function failureOf(seed: number, options: SeedOptions): Promise<SeedFailure | null> {
  try {
    await runSeed(seed, options);
    return null;
  } catch (error) {
    if (error instanceof SeedFailure) return error;
    throw error;
  }
}
