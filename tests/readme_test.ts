// The README's programs do what it says: each is run as it stands, by the runtime that runs this test, in an empty
// directory, and has to print what its `// prints:` comments promise and then end by itself.

import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { readmePrograms } from "./package/readme_programs.ts";

const DEADLINE_MS = 60_000;

/** What the package's `exports` are in the source tree. */
const ENTRIES: Record<string, string> = {
  "twinlog": new URL("../mod.ts", import.meta.url).href,
  "twinlog/testing": new URL("../src/runtime/simulated/mod.ts", import.meta.url).href,
};

const programs = readmePrograms();

function runArguments(file: string): string[] {
  if (!("Deno" in globalThis)) return [file];
  return [
    "run",
    "-A",
    "--no-check",
    "--quiet",
    "--config",
    fileURLToPath(new URL("../deno.json", import.meta.url)),
    file,
  ];
}

/** Runs a program to its end and gives its standard output; rejects with all it said when it fails or hangs. */
function run(file: string): Promise<string> {
  return new Promise((resolve, reject) => {
    const options = { cwd: path.dirname(file), timeout: DEADLINE_MS, env: { ...process.env, NO_COLOR: "1" } };
    execFile(process.execPath, runArguments(file), options, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${error.message}\n${stdout}\n${stderr}`));
    });
  });
}

describe("README", () => {
  let scratch = "";
  before(() => {
    scratch = fs.mkdtempSync(path.join(os.tmpdir(), "twinlog-readme-"));
  });
  after(() => fs.rmSync(scratch, { recursive: true, force: true }));

  it("shows a node, the store, replication and the simulated world", () => {
    for (const name of ["startBroker", "MessageStore", "HAMasterDriver", "HAClientDriver", "SimulatedWorld"]) {
      assert.ok(programs.some(({ source }) => source.includes(name)), `${name} has an example`);
    }
  });

  for (const [index, { source, prints }] of programs.entries()) {
    it(`runs example ${index + 1}`, async () => {
      assert.ok(prints.length > 0, "An example says what it prints");
      const directory = path.join(scratch, String(index));
      fs.mkdirSync(directory);
      const file = path.join(directory, "example.ts");
      fs.writeFileSync(file, source.replaceAll(/ from "(twinlog[^"]*)"/g, (_, name) => ` from "${ENTRIES[name]}"`));
      assert.deepEqual((await run(file)).trimEnd().split("\n"), prints);
    });
  }
});
