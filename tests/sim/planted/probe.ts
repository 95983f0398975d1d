// Runs seeds of a simulator in the tree it stands in and prints one JSON line for each: a process of its own, because a
// planted bug may do anything to the process it runs in. hunt.ts starts it and reads its lines.
//
//   probe.ts cluster|store FROM TO [stop]       seeds FROM to TO; `stop`: not beyond the first that fails

const SIMULATORS: Readonly<Record<string, () => Promise<(seed: number) => Promise<unknown>>>> = {
  /** Whole nodes on simulated machines. */
  cluster: async () => (await import("../seed_run.ts")).runSeed,
  /** One store that is cut short anywhere. */
  store: async () => (await import("../../store/crash_script.ts")).runCrashScript,
};

/** The first line of what was wrong, without the seed. */
function firstLine(error: unknown): string {
  const message = error instanceof Error ? error.message : String(error);
  return message.split("\n")[0]!.replace(/^Seed \d+: /, "");
}

function say(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`);
}

const [simulator, from, to, stop] = process.argv.slice(2);
const runSeed = await SIMULATORS[simulator!]!();
say({ type: "ready" });
for (let seed = Number(from); seed <= Number(to); seed++) {
  let failure: string | null = null;
  const startedMs = performance.now();
  try {
    await runSeed(seed);
  } catch (error) {
    failure = firstLine(error);
  }
  say({ type: "seed", seed, failure, tookMs: Math.round(performance.now() - startedMs) });
  if (failure !== null && stop === "stop") break;
}
say({ type: "end" });
process.exit(0);
