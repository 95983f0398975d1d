// Fuzzing led by coverage, a tool for whoever has the time: it bends the inputs of a target, keeps those that reach code
// under src/ which none before them reached, and bends these on. What breaks a property is written into the corpus; with
// --write, so is what reached something new. Runs under Node, whose inspector counts what is executed.
//
//   node tests/fuzz/guided.ts [--minutes 1] [--target NAME,...] [--seed N] [--write]

import { createHash } from "node:crypto";
import * as fs from "node:fs";
import { Session } from "node:inspector/promises";
import * as path from "node:path";
import { parseArgs } from "node:util";
import fc from "fast-check";
import { Prng } from "../../src/runtime/simulated/mod.ts";
import { corpusDirectory, corpusOf, type FuzzTarget, mutate, rememberInput } from "./fuzz.ts";
import { TARGETS } from "./targets/all.ts";

/** Inputs between two looks at the coverage, which takes a millisecond or two. */
const BATCH = 25;
/** Larger inputs are kept for bending only when nothing smaller gets there. */
const INPUT_BYTES_MAX = 8 * 1024;

/** What was executed so far: one byte per character of each source file. */
class Coverage {
  readonly #session = new Session();
  readonly #seen = new Map<string, Uint8Array>();

  async start(): Promise<void> {
    this.#session.connect();
    await this.#session.post("Profiler.enable");
    await this.#session.post("Profiler.startPreciseCoverage", { callCount: true, detailed: true });
  }

  /** Adds what ran since the last call; where the first new piece is, or null. */
  async take(): Promise<string | null> {
    const { result } = await this.#session.post("Profiler.takePreciseCoverage");
    let first: string | null = null;
    for (const { url, functions } of result) {
      if (!/\/src\/(?!runtime\/)/.test(url)) continue;
      const size = Math.max(...functions.flatMap(({ ranges }) => ranges.map(({ endOffset }) => endOffset)));
      const ran = new Uint8Array(size);
      // Within a function the outer range comes first; an inner one that did not run takes its part back.
      for (const { ranges } of functions.filter((each) => each.ranges[0]!.count > 0)) {
        for (const { startOffset, endOffset, count } of ranges) ran.fill(count > 0 ? 1 : 0, startOffset, endOffset);
      }
      const at = this.#add(url, ran);
      if (at >= 0) first ??= `${path.basename(url, ".ts")}_${lineOf(url, at)}`;
    }
    return first;
  }

  #add(url: string, ran: Uint8Array): number {
    let seen = this.#seen.get(url);
    if (seen === undefined || seen.length < ran.length) {
      const grown = new Uint8Array(ran.length);
      if (seen !== undefined) grown.set(seen);
      this.#seen.set(url, seen = grown);
    }
    let first = -1;
    for (let i = 0; i < ran.length; i++) {
      if (ran[i] === 0 || seen[i] === 1) continue;
      if (first < 0) first = i;
      seen[i] = 1;
    }
    return first;
  }
}

function lineOf(url: string, at: number): number {
  return fs.readFileSync(new URL(url), "utf8").slice(0, at).split("\n").length;
}

function save(target: FuzzTarget, what: string, input: Uint8Array, why: string): void {
  const directory = corpusDirectory(target.name);
  fs.mkdirSync(directory, { recursive: true });
  const hash = createHash("sha256").update(input).digest("hex").slice(0, 8);
  const file = path.join(directory, `${what}_${hash}.hex`);
  fs.writeFileSync(file, `# ${why.split("\n")[0]!.slice(0, 100)}\n${Buffer.from(input).toString("hex")}\n`);
  console.log(`  ${file}: ${why.split("\n")[0]}`);
}

async function explore(
  target: FuzzTarget,
  coverage: Coverage,
  milliseconds: number,
  options: { seed: number; write: boolean },
) {
  const prng = new Prng(options.seed);
  const known = [...corpusOf(target.name).values(), ...fc.sample(target.inputs, { numRuns: 30, seed: options.seed })];
  const failures = new Set<string>();
  let tried = 0;
  const run = async (input: Uint8Array) => {
    tried++;
    try {
      rememberInput(input);
      await target.check(input);
    } catch (error) {
      const message = error instanceof Error ? error.message : String(error);
      const kind = message.replaceAll(/[\d"'].*/gs, "").slice(0, 60);
      if (!failures.has(kind)) save(target, "fails", input, message);
      failures.add(kind);
    }
  };
  for (const input of known) await run(input);
  await coverage.take();
  const started = known.length;
  for (const deadline = performance.now() + milliseconds; performance.now() < deadline;) {
    const batch = Array.from({ length: BATCH }, () => bend(prng, known));
    for (const input of batch) await run(input);
    if (await coverage.take() === null) continue;
    // Somebody in the batch got further, most of the time for the first time: all of them are worth bending.
    for (const input of batch) if (input.length <= INPUT_BYTES_MAX) known.push(input);
    if (!options.write) continue;
    save(
      target,
      "reaches",
      batch.reduce((a, b) => (a.length <= b.length ? a : b)),
      "one of a batch that reached something new",
    );
  }
  console.log(
    `${target.name}: ${tried} inputs, ${known.length - started} worth bending, ${failures.size} kinds of failure`,
  );
  return failures.size;
}

/** A known input, the later ones more often, with one to four mutations. */
function bend(prng: Prng, known: readonly Uint8Array[]): Uint8Array {
  const recent = Math.min(known.length, 200);
  const index = prng.nextInt(2) === 0 ? prng.nextInt(known.length) : known.length - 1 - prng.nextInt(recent);
  let input = known[index]!;
  for (let count = 1 + prng.nextInt(4); count > 0; count--) {
    input = mutate(input, prng.nextInt(1 << 30), prng.nextInt(1 << 30), prng.nextInt(1 << 30));
  }
  return input.length <= 4 * INPUT_BYTES_MAX ? input : input.subarray(0, 4 * INPUT_BYTES_MAX);
}

const USAGE = "npm run fuzz -- [--minutes 1] [--target NAME,...] [--seed N] [--write]";
const values = readArguments();

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        minutes: { type: "string", default: "1" },
        target: { type: "string", default: [...TARGETS.keys()].join() },
        seed: { type: "string", default: String(Date.now() % 2 ** 31) },
        write: { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) {
      console.log(`${USAGE}\ntargets: ${[...TARGETS.keys()].join(", ")}`);
      process.exit(0);
    }
    return values;
  } catch (error) {
    console.error(`${error instanceof Error ? error.message.split(". ")[0] : error}: ${USAGE}`);
    process.exit(2);
  }
}

const names = values.target.split(",");
const unknown = names.find((name) => !TARGETS.has(name));
if (unknown !== undefined) {
  console.error(`--target is "${unknown}", wanted one of ${[...TARGETS.keys()].join(", ")}`);
  process.exit(2);
}
console.log(`Seed ${values.seed}`);
const coverage = new Coverage();
await coverage.start();
let failed = 0;
for (const name of names) {
  const share = (Number(values.minutes) * 60_000) / names.length;
  failed += await explore(TARGETS.get(name)!, coverage, share, { seed: Number(values.seed), write: values.write });
}
process.exit(failed === 0 ? 0 : 1);
