// In which order what is compared has its turn. Pure.

/** All of them, each round beginning with another one, so that none always has the same neighbour in time. */
export function inTurn<T>(all: readonly T[], round: number): T[] {
  const at = round % all.length;
  return [...all.slice(at), ...all.slice(0, at)];
}
