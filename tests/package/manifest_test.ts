// What is said in several places is said alike: versions, dependencies, entries.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import { describe, it } from "node:test";
import { VERSION } from "../../mod.ts";

const readJson = (name: string) => JSON.parse(fs.readFileSync(new URL(`../../${name}`, import.meta.url), "utf8"));
const manifest = readJson("package.json");

describe("package.json", () => {
  it("has the version that the program prints", () => {
    assert.equal(manifest.version, VERSION);
    assert.equal(readJson("package-lock.json").version, VERSION);
  });

  it("pins what deno.json pins", () => {
    const pinned: Record<string, string> = { ...manifest.devDependencies, ...manifest.dependencies };
    for (const [name, target] of Object.entries(readJson("deno.json").imports)) {
      assert.equal(target, `npm:${name}@${pinned[name]}`);
    }
  });

  it("names every run-time dependency in deno.json, so that a clone runs without an install", () => {
    const imports = Object.keys(readJson("deno.json").imports);
    for (const name of Object.keys(manifest.dependencies)) assert.ok(imports.includes(name), name);
  });

  it("locks every package for every platform, so that `npm ci` works", () => {
    const { packages } = readJson("package-lock.json") as {
      packages: Record<string, { optionalDependencies?: Record<string, string> }>;
    };
    const missing = Object.values(packages).flatMap(({ optionalDependencies = {} }) =>
      Object.keys(optionalDependencies)
    )
      .filter((name) => packages[`node_modules/${name}`] === undefined);
    assert.deepEqual(missing, []);
  });
});
