// Which seed of which simulator notices each planted bug: known_seeds.json, read here and written by `main.ts --refresh`
// when the simulators draw otherwise than before. A bug without an entry is for its hand-written scenario to notice.

import * as fs from "node:fs";
import { fileURLToPath } from "node:url";
import type { PlantedBug } from "./bugs.ts";
import type { Finder, Simulator } from "./hunt.ts";

/** One entry of the file. */
export interface KnownSeed {
  readonly by: Simulator;
  readonly seed: number;
  /** What that seed complained of, shortened. */
  readonly failure: string;
  /** Seeds that noticed it, of the first so many. */
  readonly share: string;
}

const PATH = fileURLToPath(new URL("known_seeds.json", import.meta.url));

/** The file's entries, by name of the bug; none when there is no file. */
export function readKnownSeeds(): Record<string, KnownSeed> {
  return fs.existsSync(PATH) ? JSON.parse(fs.readFileSync(PATH, "utf8")) : {};
}

/** Writes the file, in the order of the names given. */
export function writeKnownSeeds(known: Readonly<Record<string, KnownSeed>>, names: readonly string[]): void {
  const entries = names.filter((name) => known[name] !== undefined).map((name) => [name, known[name]]);
  fs.writeFileSync(PATH, `${JSON.stringify(Object.fromEntries(entries), null, 2)}\n`);
}

/** What is known to notice a bug; null when nothing is. */
export function finderOf(bug: PlantedBug, known: Readonly<Record<string, KnownSeed>>): Finder | null {
  const entry = known[bug.name];
  if (entry !== undefined) return { by: entry.by, seed: entry.seed };
  return bug.scenario === undefined ? null : { by: "scenario", ...bug.scenario };
}

/** A finder in words. */
export function describeFinder(finder: Finder): string {
  return finder.by === "scenario" ? `${finder.file}: ${finder.test}` : `${finder.by} seed ${finder.seed}`;
}
