// One seed is one history on every runtime: this test steers a process of each and compares trace hashes. Like the interop
// tests it does so from Node alone.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import * as path from "node:path";
import { describe, it } from "node:test";

const MAIN = path.join(import.meta.dirname, "main.ts");
const SEEDS = [3, 8, 12, 20];
const isNode = !("Deno" in globalThis) && !("Bun" in globalThis);
const COMMANDS: Record<string, readonly string[]> = {
  node: ["node"],
  bun: ["bun"],
  deno: ["deno", "run", "-A", "--no-check"],
};

function hashOf(runtime: string, seed: number): Promise<string> {
  const [program, ...args] = [...COMMANDS[runtime]!, MAIN, "--seed", String(seed)];
  const bin = path.join(import.meta.dirname, "../../node_modules/.bin");
  return new Promise((resolve, reject) => {
    const env = { ...process.env, PATH: `${bin}:${process.env.PATH}` };
    const child = spawn(program!, args, { env, stdio: ["ignore", "pipe", "inherit"] });
    let output = "";
    child.stdout.setEncoding("utf8").on("data", (text: string) => output += text);
    child.on("error", reject);
    child.on("close", () => resolve(/hash [0-9a-f]{16}, \d+ events/.exec(output)?.[0] ?? output));
  });
}

describe("one seed on three runtimes", () => {
  for (const seed of SEEDS) {
    it(`leads to the same trace hash, seed ${seed}`, async () => {
      if (!isNode) return;
      const wanted = await hashOf("node", seed);
      assert.match(wanted, /^hash /);
      for (const runtime of ["bun", "deno"]) assert.equal(await hashOf(runtime, seed), wanted, runtime);
    });
  }
});
