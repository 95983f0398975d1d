// Every comparison with Apache, one after another, and then the documents: what a reader runs to take all figures of
// docs/performance.md anew. Arguments go to each of them (`--rounds 1`).
//
// One that fails does not keep the others from their turn: the run is hours long. Its section stays as it was.

import { spawnSync } from "node:child_process";
import { ROOT } from "./lib/peer.ts";

const COMMANDS = [
  ["bench/run_all.ts"],
  ["bench/clients.ts"],
  ["bench/clients.ts", "--matrix"],
  ["bench/replication.ts"],
  ["bench/scale.ts"],
];

const failed: string[] = [];
for (const command of COMMANDS) run([...command, ...process.argv.slice(2)]);
run(["bench/render.ts"]);
if (failed.length > 0) console.log(`Failed: ${failed.join("; ")}`);
process.exit(failed.length === 0 ? 0 : 1);

function run(command: string[]): void {
  const name = command.join(" ");
  console.log(`\n== ${name}`);
  const startedAt = performance.now();
  const { status } = spawnSync(process.execPath, command, { cwd: ROOT, stdio: "inherit" });
  console.log(
    `== ${name}: ended with ${status} after ${((performance.now() - startedAt) / 60_000).toFixed(1)} minutes`,
  );
  if (status !== 0) failed.push(name);
}
