// Asks a simulator, in a scratch copy of the tree, whether it notices a planted bug: on given seeds, or by a hand-written
// scenario. Every seed and scenario that is to prove something must pass in the same copy without the bug. Owns the child
// processes; which seeds are asked is main.ts's and planted_test.ts's.

import { spawn } from "node:child_process";
import * as path from "node:path";
import type { PlantedBug } from "./bugs.ts";
import type { ScratchTree } from "./scratch.ts";

/** Whole nodes (`tests/sim/seed_run.ts`), or one store (`tests/store/crash_script.ts`). */
export type Simulator = "cluster" | "store";

/** What a seed came to: the first line of what was wrong, null when nothing was. */
export interface SeedOutcome {
  readonly seed: number;
  readonly failure: string | null;
  /** Real time. */
  readonly tookMs: number;
}

/** What is to notice a bug. */
export type Finder =
  | { readonly by: Simulator; readonly seed: number }
  | { readonly by: "scenario"; readonly file: string; readonly test: string };

/** A runtime's program and the words before a script. */
export interface RuntimeCommand {
  readonly name: "deno" | "bun" | "node";
  readonly program: string;
}

/** Within so many seeds a bug is noticed whose known seed does not any more, as the simulators draw otherwise now. */
const SEEDS_MAX = 60;
/** A seed without an answer for so long, ms, has made its process hang. */
const SILENCE_MAX_MS = 60_000;

/** The runtime this process runs on. */
export function ownRuntime(): RuntimeCommand {
  const name = "Deno" in globalThis ? "deno" : "Bun" in globalThis ? "bun" : "node";
  return { name, program: process.execPath };
}

/** Runs programs in one scratch tree, one at a time. */
export class Hunter {
  readonly tree: ScratchTree;
  readonly #runtime: RuntimeCommand;
  /** What passes or fails without any bug. */
  readonly #sound = new Map<string, string | null>();

  constructor(tree: ScratchTree, runtime: RuntimeCommand = ownRuntime()) {
    this.tree = tree;
    this.#runtime = runtime;
  }

  /**
   * {@link find}; where a known seed notices nothing any more, or complains without the bug, too, the bug's scenario is
   * asked, and without one the first seeds, up to the first that does notice it.
   */
  async prove(bug: PlantedBug, finder: Finder): Promise<{ readonly finder: Finder; readonly failure: string | null }> {
    if (finder.by === "scenario") return { finder, failure: await this.find(bug, finder) };
    const failure = await this.find(bug, finder).catch(() => null);
    if (failure !== null) return { finder, failure };
    if (bug.scenario !== undefined) return await this.prove(bug, { by: "scenario", ...bug.scenario });
    const last = (await this.search(bug, finder.by, 1, SEEDS_MAX, true)).at(-1);
    return { finder: { by: finder.by, seed: last?.seed ?? SEEDS_MAX }, failure: last?.failure ?? null };
  }

  /**
   * What the finder says of the bug: the first line of what it found wrong, null when it notices nothing. Throws when it
   * complains without the bug, too, or the bug is none that can run.
   */
  async find(bug: PlantedBug, finder: Finder): Promise<string | null> {
    this.tree.plant(bug);
    const failure = await this.#ask(finder);
    this.tree.plant(null);
    if (failure === null) return null;
    const key = JSON.stringify(finder);
    if (!this.#sound.has(key)) this.#sound.set(key, await this.#ask(finder));
    const before = this.#sound.get(key)!;
    if (before !== null) throw new Error(`${key} fails without the bug, too: ${before}`);
    return failure;
  }

  /** Outcomes of seeds with the bug planted, those left out that fail without it. */
  async search(bug: PlantedBug, by: Simulator, from: number, to: number, stop: boolean): Promise<SeedOutcome[]> {
    const outcomes: SeedOutcome[] = [];
    for (let next = from; next <= to;) {
      this.tree.plant(bug);
      const some = await this.#runSeeds(by, next, to, stop);
      this.tree.plant(null);
      outcomes.push(...some);
      next = some.at(-1)!.seed + 1;
      if (stop && outcomes.at(-1)!.failure !== null) {
        if (await this.#isSound(by, outcomes.at(-1)!.seed)) break;
        outcomes.pop();
      }
    }
    if (stop) return outcomes;
    const kept: SeedOutcome[] = [];
    for (const outcome of outcomes) {
      if (outcome.failure === null || await this.#isSound(by, outcome.seed)) kept.push(outcome);
    }
    return kept;
  }

  async #isSound(by: Simulator, seed: number): Promise<boolean> {
    const key = JSON.stringify({ by, seed });
    if (!this.#sound.has(key)) this.#sound.set(key, await this.#ask({ by, seed }));
    return this.#sound.get(key) === null;
  }

  async #ask(finder: Finder): Promise<string | null> {
    if (finder.by === "scenario") return await this.#runScenario(finder.file, finder.test);
    return (await this.#runSeeds(finder.by, finder.seed, finder.seed, true))[0]!.failure;
  }

  async #runSeeds(by: Simulator, from: number, to: number, stop: boolean): Promise<SeedOutcome[]> {
    const script = [path.join(this.tree.root, "tests/sim/planted/probe.ts"), by, `${from}`, `${to}`];
    const outcomes: SeedOutcome[] = [];
    let isReady = false;
    let isOver = false;
    const command = this.#runtime.name === "deno" ? ["run", "-A", "--no-check", ...script] : script;
    const { isHung, output } = await this.#run(stop ? [...command, "stop"] : command, (line) => {
      const said = JSON.parse(line) as { type: string } & SeedOutcome;
      if (said.type === "ready") isReady = true;
      else if (said.type === "end") isOver = true;
      else outcomes.push({ seed: said.seed, failure: said.failure, tookMs: said.tookMs });
    });
    if (!isReady) throw new Error(`The simulator does not start with the bug: ${output}`);
    if (isOver) return outcomes;
    const failure = isHung ? "the simulation does not end" : `the process ended: ${lastLine(output)}`;
    outcomes.push({ seed: (outcomes.at(-1)?.seed ?? from - 1) + 1, failure, tookMs: 0 });
    return outcomes;
  }

  async #runScenario(file: string, test: string): Promise<string | null> {
    const pattern = test.replaceAll(/[^\w\s]/g, (each) => `\\${each}`);
    const words = {
      node: ["--test", "--test-reporter=tap", `--test-name-pattern=${pattern}`, file],
      bun: ["test", "--timeout", "120000", "-t", pattern, `./${file}`],
      // Deno's filter knows the outermost names only.
      deno: ["test", "-A", "--no-check", file],
    };
    const { code, isHung, output } = await this.#run(words[this.#runtime.name], () => {});
    if (isHung) return "the scenario does not end";
    if (code === 0) return null;
    return complaintIn(output);
  }

  /** Runs the runtime in the tree; a process that says nothing for too long is ended. */
  #run(
    words: readonly string[],
    onLine: (line: string) => void,
  ): Promise<{ code: number; isHung: boolean; output: string }> {
    return new Promise((resolve, reject) => {
      const env = { ...process.env, NO_COLOR: "1" };
      const child = spawn(this.#runtime.program, words, {
        cwd: this.tree.root,
        env,
        stdio: ["ignore", "pipe", "pipe"],
      });
      let isHung = false;
      let output = "";
      let rest = "";
      const onSilence = () => {
        isHung = true;
        child.kill("SIGKILL");
      };
      let timer = setTimeout(onSilence, SILENCE_MAX_MS);
      child.stdout.setEncoding("utf8").on("data", (text: string) => {
        clearTimeout(timer);
        timer = setTimeout(onSilence, SILENCE_MAX_MS);
        const lines = (rest + text).split("\n");
        rest = lines.pop()!;
        for (const line of lines) if (line.startsWith("{")) onLine(line);
        output = (output + text).slice(-100_000);
      });
      child.stderr.setEncoding("utf8").on("data", (text: string) => output = (output + text).slice(-100_000));
      child.on("error", reject);
      child.on("close", (code) => {
        clearTimeout(timer);
        resolve({ code: code ?? 1, isHung, output });
      });
    });
  }
}

/** The line of a test runner's output that says best what was wrong, as far as a pattern can tell. */
function complaintIn(output: string): string {
  const lines = output.split("\n").map((line) => line.trim());
  const complaint = lines.find((line) =>
    /^(?:\w*Error\b|Violation:|error:)/.test(line) && !/Expected values to be/.test(line)
  );
  return (complaint ?? lines.find((line) => /\(fail\)|not ok|FAILED/.test(line)) ?? lastLine(output)).slice(0, 200);
}

function lastLine(output: string): string {
  return output.trim().split("\n").findLast((line) => /error/i.test(line))?.trim() ?? "no output";
}
