// `deno task planted`: plants one bug after another in a scratch copy of the tree and shows that the simulators notice
// it. The closing line is `N passed, N failed`; the exit code is 1 unless all passed.

import { parseArgs } from "node:util";
import { PLANTED_BUGS, type PlantedBug } from "./bugs.ts";
import { Hunter, type SeedOutcome, type Simulator } from "./hunt.ts";
import { describeFinder, finderOf, type KnownSeed, readKnownSeeds, writeKnownSeeds } from "./known_seeds.ts";
import { ScratchTree } from "./scratch.ts";

const USAGE = `planted [NAME...]                     each bug on its known seed, or by its scenario
planted --search NAME [--seeds N] [--simulator cluster|store]
                                      how many of N seeds notice it, and the first of them
planted --refresh [NAME...] [--survey N] [--seeds N]
                                      finds known seeds anew: among the first N of --survey (60), which it counts; where
                                      neither they nor a scenario notices the bug, on to N of --seeds (1000)
planted --list                        names and what they are
  --jobs N                            bugs at the same time (1)`;

const FAILURE_SHOWN = 110;

interface Arguments {
  readonly mode: "prove" | "search" | "refresh" | "list";
  readonly bugs: readonly PlantedBug[];
  readonly seeds: number;
  readonly survey: number;
  readonly simulator: Simulator | null;
  readonly jobs: number;
}

function endWith(line: string, code: number): never {
  (code === 0 ? process.stdout : process.stderr).write(`${line}\n`);
  process.exit(code);
}

function readArguments(): Arguments {
  const { values, positionals } = parse();
  if (values.help) endWith(USAGE, 0);
  const names = values.search === undefined ? positionals : [values.search, ...positionals];
  const unknown = names.find((name) => !PLANTED_BUGS.some((bug) => bug.name === name));
  if (unknown !== undefined) endWith(`No planted bug is called "${unknown}"; --list shows them`, 2);
  const { simulator = null } = values;
  if (simulator !== null && simulator !== "cluster" && simulator !== "store") {
    endWith(`--simulator is "${simulator}", wanted cluster or store`, 2);
  }
  return {
    mode: values.search !== undefined ? "search" : values.refresh ? "refresh" : values.list ? "list" : "prove",
    bugs: names.length === 0 ? PLANTED_BUGS : PLANTED_BUGS.filter((bug) => names.includes(bug.name)),
    seeds: toCount("--seeds", values.seeds),
    survey: toCount("--survey", values.survey),
    simulator,
    jobs: toCount("--jobs", values.jobs),
  };
}

function parse() {
  try {
    return parseArgs({
      allowPositionals: true,
      options: {
        search: { type: "string" },
        refresh: { type: "boolean", default: false },
        list: { type: "boolean", default: false },
        seeds: { type: "string", default: "1000" },
        survey: { type: "string", default: "60" },
        simulator: { type: "string" },
        jobs: { type: "string", default: "1" },
        help: { type: "boolean", short: "h", default: false },
      },
    });
  } catch (error) {
    return endWith(`${error instanceof Error ? error.message : error}\n${USAGE}`, 2);
  }
}

function toCount(flag: string, text: string): number {
  const count = Number(text);
  if (!Number.isSafeInteger(count) || count < 1) endWith(`${flag} is "${text}", wanted 1 or more`, 2);
  return count;
}

/** Only a store's own bugs are looked for by the simulator of one store. */
function simulatorsFor(bug: PlantedBug, wanted: Simulator | null): Simulator[] {
  if (wanted !== null) return [wanted];
  return bug.file.startsWith("src/store/") ? ["cluster", "store"] : ["cluster"];
}

/** A row of the table; returns whether the bug was noticed. */
type Work = (bug: PlantedBug, hunter: Hunter) => Promise<{ readonly isFound: boolean; readonly text: string }>;

const known = readKnownSeeds();

const prove: Work = async (bug, hunter) => {
  const finder = finderOf(bug, known);
  if (finder === null) return { isFound: false, text: "no seed and no scenario is known to notice it" };
  const { finder: noticed, failure } = await hunter.prove(bug, finder);
  const found = describeFinder(noticed);
  return { isFound: failure !== null, text: failure === null ? `not noticed up to ${found}` : row(found, failure) };
};

const search: Work = async (bug, hunter) => {
  const texts: string[] = [];
  let isFound = false;
  for (const by of simulatorsFor(bug, parsed.simulator)) {
    const outcomes = await hunter.search(bug, by, 1, parsed.seeds, false);
    const first = outcomes.find(({ failure }) => failure !== null);
    if (first === undefined) texts.push(`${by}: no seed of ${outcomes.length}`);
    else texts.push(row(`${by}: ${shareOf(outcomes)}, first ${first.seed}`, first.failure!));
    isFound ||= first !== undefined;
  }
  return { isFound, text: texts.join("; ") };
};

const refresh: Work = async (bug, hunter) => {
  const entry = await surveyed(bug, hunter) ?? await searchedOn(bug, hunter);
  if (entry === null) delete known[bug.name];
  else known[bug.name] = entry;
  writeKnownSeeds(known, PLANTED_BUGS.map(({ name }) => name));
  if (entry !== null) {
    return { isFound: true, text: row(`${entry.by} seed ${entry.seed}, ${entry.share}`, entry.failure) };
  }
  return bug.scenario === undefined ? { isFound: false, text: "survives" } : await prove(bug, hunter);
};

/**
 * Counts over the first seeds of each simulator; the one that notices the bug more often counts, with its quickest seed.
 * A bug that few of them notice is rather left to its scenario.
 */
async function surveyed(bug: PlantedBug, hunter: Hunter): Promise<KnownSeed | null> {
  let best: KnownSeed | null = null;
  let most = bug.scenario === undefined ? 0 : Math.floor(parsed.survey / 10);
  for (const by of simulatorsFor(bug, parsed.simulator)) {
    const outcomes = await hunter.search(bug, by, 1, Math.min(parsed.survey, parsed.seeds), false);
    const found = outcomes.filter(({ failure }) => failure !== null);
    if (found.length <= most) continue;
    most = found.length;
    const quickest = found.reduce((a, b) => a.tookMs <= b.tookMs ? a : b);
    best = entryOf(by, quickest, shareOf(outcomes));
  }
  return best;
}

/** Beyond the survey: on to the first seed that notices it, where no scenario does. */
async function searchedOn(bug: PlantedBug, hunter: Hunter): Promise<KnownSeed | null> {
  if (bug.scenario !== undefined) return null;
  for (const by of simulatorsFor(bug, parsed.simulator)) {
    if (parsed.survey >= parsed.seeds) return null;
    const last = (await hunter.search(bug, by, parsed.survey + 1, parsed.seeds, true)).at(-1)!;
    if (last.failure !== null) return entryOf(by, last, `1 of the first ${last.seed}`);
  }
  return null;
}

function entryOf(by: Simulator, { seed, failure }: SeedOutcome, share: string): KnownSeed {
  return { by, seed, failure: failure!.slice(0, FAILURE_SHOWN), share };
}

function shareOf(outcomes: readonly SeedOutcome[]): string {
  return `${outcomes.filter(({ failure }) => failure !== null).length} of ${outcomes.length}`;
}

function row(found: string, failure: string): string {
  return `${found}: ${failure.slice(0, FAILURE_SHOWN)}`;
}

/** Works through the bugs, `--jobs` at a time; returns how many were noticed. */
async function workThrough(work: Work): Promise<number> {
  const left = [...parsed.bugs];
  const width = Math.max(...left.map(({ name }) => name.length)) + 2;
  let foundCount = 0;
  const worker = async () => {
    const tree = new ScratchTree();
    try {
      const hunter = new Hunter(tree);
      for (let bug = left.shift(); bug !== undefined; bug = left.shift()) {
        const { isFound, text } = await work(bug, hunter).catch((error: unknown) => ({
          isFound: false,
          text: error instanceof Error ? error.message : String(error),
        }));
        if (isFound) foundCount++;
        console.log(`${isFound ? "ok  " : "FAIL"} ${bug.name.padEnd(width)}${text}`);
      }
    } finally {
      tree.remove();
    }
  };
  await Promise.all(Array.from({ length: Math.min(parsed.jobs, left.length) }, worker));
  return foundCount;
}

const parsed = readArguments();
if (parsed.mode === "list") {
  for (const { name, what, file } of PLANTED_BUGS) console.log(`${name.padEnd(30)}${what} (${file})`);
  process.exit(0);
}
const found = await workThrough({ prove, search, refresh }[parsed.mode]);
console.log(`${found} passed, ${parsed.bugs.length - found} failed`);
process.exit(found === parsed.bugs.length ? 0 : 1);
