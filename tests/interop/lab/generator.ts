// Seeded choices of the interop tests: the same seed draws the same schedule. The machine's own timing differs, of course.

/** A small generator (mulberry32): each call answers with a whole number in `[0, bound)`. */
export type Generator = (bound: number) => number;

/** A generator that starts at `state`. */
export function generator(state: number): Generator {
  return (bound) => {
    state = (state + 0x6d2b79f5) | 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) % bound;
  };
}

/** The items in an order of the generator's. */
export function shuffled<T>(items: readonly T[], random: Generator): T[] {
  const left = [...items];
  const drawn: T[] = [];
  while (left.length > 0) drawn.push(...left.splice(random(left.length), 1));
  return drawn;
}
