// What many runs came to, summed: how often each fault took effect, how often each invariant was checked, and what else
// the parts counted. For the simulator's closing lines and for the tests that demand that nothing of it is zero.

import { FAULT_NAMES } from "./faults.ts";
import { CLIENT_INVARIANTS, INVARIANTS } from "./invariants.ts";
import type { SeedResult } from "./seed_run.ts";

const LINE_WIDTH = 120;

/** Sums over seeds that passed. */
export class Totals {
  seeds = 0;
  events = 0;
  worldMs = 0;
  readonly faults: Record<string, number> = Object.fromEntries(FAULT_NAMES.map((name) => [name, 0]));
  readonly invariants: Record<string, number>;
  readonly counters: Record<string, number> = {};

  /** `clients`: the runs have remoting clients. */
  constructor(clients = false) {
    const names = Object.keys({ ...INVARIANTS, ...(clients ? CLIENT_INVARIANTS : {}) });
    this.invariants = Object.fromEntries(names.map((name) => [name, 0]));
  }

  add(result: SeedResult): void {
    this.seeds++;
    this.events += result.events;
    this.worldMs += result.worldMs;
    addAll(this.faults, result.faults);
    addAll(this.invariants, result.invariants);
    addAll(this.counters, { puts: result.puts, ...result.counters });
  }

  /** Names of faults that never took effect, and of invariants that were never checked. */
  get missing(): string[] {
    return Object.entries({ ...this.faults, ...this.invariants }).filter(([, sum]) => sum === 0).map(([name]) => name);
  }

  /** Several lines of text. */
  describe(): string {
    return [
      ...wrapped(`faults that took effect (${FAULT_NAMES.length} kinds)`, this.faults),
      ...wrapped(`checks of ${Object.keys(this.invariants).length} invariants`, this.invariants),
      ...wrapped("counters", this.counters),
    ].join("\n");
  }
}

function addAll(sums: Record<string, number>, counts: Readonly<Record<string, number>>): void {
  for (const [name, count] of Object.entries(counts)) sums[name] = (sums[name] ?? 0) + count;
}

function wrapped(title: string, sums: Readonly<Record<string, number>>): string[] {
  const lines = [`${title}:`];
  let line = " ";
  for (const [name, sum] of Object.entries(sums)) {
    const part = ` ${name}=${sum}`;
    if (line.length + part.length > LINE_WIDTH) {
      lines.push(line);
      line = " ";
    }
    line += part;
  }
  return [...lines, line];
}
