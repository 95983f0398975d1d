// Would the simulators notice? Every planted bug on its known seed, or by its scenario, each in a process of its own. Runs
// under Node and lets the simulation run on Bun where that is installed: it is the fastest. Under the others only the
// list is checked.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { PLANTED_BUGS } from "./bugs.ts";
import { Hunter, ownRuntime, type RuntimeCommand } from "./hunt.ts";
import { describeFinder, finderOf, readKnownSeeds } from "./known_seeds.ts";
import { occurrences, ScratchTree } from "./scratch.ts";

const BUN = fileURLToPath(new URL("../../../node_modules/.bin/bun", import.meta.url));

function fastest(): RuntimeCommand {
  return fs.existsSync(BUN) ? { name: "bun", program: BUN } : ownRuntime();
}

describe("planted bugs", () => {
  it("stand in the source, each in one place, each under one name", () => {
    assert.ok(PLANTED_BUGS.length >= 18);
    assert.equal(new Set(PLANTED_BUGS.map(({ name }) => name)).size, PLANTED_BUGS.length);
    const wrong = PLANTED_BUGS.filter((bug) => occurrences(bug) !== 1 || bug.find === bug.replace);
    assert.deepEqual(wrong.map(({ name, file }) => `${name}: ${file}`), []);
  });

  it("are all known to be noticed by something", () => {
    const known = readKnownSeeds();
    assert.deepEqual(PLANTED_BUGS.filter((bug) => finderOf(bug, known) === null).map(({ name }) => name), []);
    const names = new Set(PLANTED_BUGS.map(({ name }) => name));
    assert.deepEqual(Object.keys(known).filter((name) => !names.has(name)), []);
  });

  if (ownRuntime().name !== "node") return;
  const known = readKnownSeeds();
  let tree: ScratchTree;
  let hunter: Hunter;

  before(() => {
    tree = new ScratchTree();
    hunter = new Hunter(tree, fastest());
  });
  after(() => tree.remove());

  for (const bug of PLANTED_BUGS) {
    const finder = finderOf(bug, known);
    if (finder === null) continue;
    it(`${bug.name}: noticed by ${describeFinder(finder)}`, async () => {
      const { failure } = await hunter.prove(bug, finder);
      assert.notEqual(failure, null, `Nothing is noticed while ${bug.what}; node tests/sim/planted/main.ts --refresh`);
    });
  }
});
