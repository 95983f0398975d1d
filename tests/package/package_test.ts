// The package as a user meets it: packed, installed into an empty project, type-checked against its declarations, imported
// and run on Deno, Bun and Node. It builds in a scratch copy and drives all three runtimes itself, so it runs under Node
// only. Needs npm and its registry.

import assert from "node:assert/strict";
import { execFile, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { inspectApi } from "./public_api.ts";
import { readmePrograms } from "./readme_programs.ts";

const ROOT = fileURLToPath(new URL("../..", import.meta.url));
const BIN = path.join(ROOT, "node_modules/.bin");
const DEADLINE_MS = 120_000;

/** How each runtime is told to run a file of a project with node_modules. */
const RUNTIMES: Record<string, readonly string[]> = {
  deno: [path.join(BIN, "deno"), "run", "-A", "--quiet"],
  bun: [path.join(BIN, "bun")],
  node: [path.join(BIN, "node")],
};

/** What the build reads. */
const SOURCES = [
  "mod.ts",
  "cli.ts",
  "src",
  "docs",
  "package.json",
  "tsconfig.json",
  "tsconfig.build.json",
  "README.md",
  "LICENSE",
];

/** Parts of the simulator that its public classes pass among themselves. */
const SIMULATOR_INTERNALS = ["EntryChange", "SimulatedListener", "SyncTicket"];

/** npm hands its own state to what it starts: a nested npm must not take it for its own. */
const ENV = Object.fromEntries(
  Object.entries(process.env).filter(([name]) =>
    !/^npm_(package|lifecycle|config_local_prefix|node_execpath|execpath)/.test(name)
  ),
);

/** Runs a command to its end and gives its standard output; rejects with all it said when it fails or hangs. */
function run(command: readonly string[], cwd: string): Promise<string> {
  const env = { ...ENV, NO_COLOR: "1", PATH: `${BIN}${path.delimiter}${process.env.PATH}` };
  return new Promise((resolve, reject) => {
    execFile(command[0]!, command.slice(1), { cwd, env, timeout: DEADLINE_MS }, (error, stdout, stderr) => {
      if (error === null) resolve(stdout);
      else reject(new Error(`${error.message}\n${stdout}\n${stderr}`));
    });
  });
}

/** Runs a node until its ready line, then stops it; the line, and the exit code. */
async function runNode(command: readonly string[], cwd: string): Promise<{ ready: string; code: number | null }> {
  const child = spawn(command[0]!, command.slice(1), {
    cwd,
    env: { ...ENV, PATH: `${BIN}${path.delimiter}${process.env.PATH}` },
  });
  let errors = "";
  child.stderr.setEncoding("utf8").on("data", (text: string) => errors += text);
  const exit = new Promise<number | null>((resolve, reject) => child.on("exit", resolve).on("error", reject));
  const ready = new Promise<string>((resolve) => child.stdout.setEncoding("utf8").once("data", resolve));
  const deadline = setTimeout(() => child.kill("SIGKILL"), DEADLINE_MS);
  const line = await Promise.race([
    ready,
    exit.then((code) => assert.fail(`Ended with ${code} before it was ready: ${errors}`)),
  ]);
  child.kill("SIGTERM");
  const code = await exit;
  clearTimeout(deadline);
  return { ready: line, code };
}

const skip = "Deno" in globalThis || "Bun" in globalThis ? "Runs under Node, and drives Deno and Bun itself" : false;

describe("the package", { skip }, () => {
  let scratch = "";
  let project = "";
  let installed = "";

  before(async () => {
    scratch = fs.mkdtempSync(path.join(os.tmpdir(), "twinlog-package-"));
    const source = path.join(scratch, "source");
    for (const name of SOURCES) fs.cpSync(path.join(ROOT, name), path.join(source, name), { recursive: true });
    fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(source, "node_modules"));
    await run(["npm", "pack", "--silent", "--pack-destination", scratch], source);
    const tarball = fs.readdirSync(scratch).find((name) => name.endsWith(".tgz"))!;

    project = path.join(scratch, "project");
    installed = path.join(project, "node_modules/twinlog");
    fs.mkdirSync(project);
    fs.writeFileSync(path.join(project, "package.json"), JSON.stringify({ private: true, type: "module" }));
    await run(["npm", "install", "--no-audit", "--no-fund", "--prefer-offline", path.join(scratch, tarball)], project);
    for (const [index, { source }] of readmePrograms().entries()) {
      fs.writeFileSync(path.join(project, `example${index + 1}.ts`), source);
    }
  }, { timeout: DEADLINE_MS });

  after(() => fs.rmSync(scratch, { recursive: true, force: true }));

  it("carries the build, the documents and nothing of the source tree", () => {
    assert.deepEqual(fs.readdirSync(installed).sort(), ["LICENSE", "README.md", "dist", "docs", "package.json"]);
    const files = fs.readdirSync(path.join(installed, "dist"), { recursive: true, encoding: "utf8" });
    assert.deepEqual(files.filter((name) => /\.ts$/.test(name) && !/\.d\.ts$/.test(name)), []);
  });

  it("brings run-time dependencies only", () => {
    const manifest = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8"));
    const modules = fs.readdirSync(path.join(project, "node_modules"));
    for (const name of Object.keys(manifest.dependencies)) assert.ok(modules.includes(name.split("/")[0]!), name);
    for (const name of Object.keys(manifest.devDependencies)) assert.ok(!modules.includes(name), name);
  });

  it("documents every name, and lets every type of a signature be named", () => {
    const main = inspectApi(path.join(installed, "dist/mod.d.ts"), { known: [], internal: [] });
    const testing = inspectApi(path.join(installed, "dist/src/runtime/simulated/mod.d.ts"), {
      known: main.names,
      internal: SIMULATOR_INTERNALS,
    });
    for (const { undocumented, unnamed, loose } of [main, testing]) {
      assert.deepEqual({ undocumented, unnamed, loose }, { undocumented: [], unnamed: [], loose: [] });
    }
  });

  for (const module of ["NodeNext", "ESNext"]) {
    it(`type-checks in a strict program, module ${module}`, async () => {
      const compilerOptions = {
        strict: true,
        exactOptionalPropertyTypes: true,
        noUncheckedIndexedAccess: true,
        skipLibCheck: false,
        target: "ES2022",
        lib: ["ES2022", "DOM"],
        types: [],
        module,
        moduleResolution: module === "NodeNext" ? "NodeNext" : "Bundler",
        noEmit: true,
      };
      fs.writeFileSync(path.join(project, "tsconfig.json"), JSON.stringify({ compilerOptions, include: ["*.ts"] }));
      await run(["tsc", "-p", "."], project);
      fs.rmSync(path.join(project, "tsconfig.json"));
    });
  }

  it("type-checks under Deno", async () => {
    const examples = fs.readdirSync(project).filter((name) => name.endsWith(".ts"));
    await run([path.join(BIN, "deno"), "check", "--quiet", ...examples], project);
  });

  for (const [name, command] of Object.entries(RUNTIMES)) {
    it(`runs the README's programs on ${name}`, async () => {
      for (const [index, { prints }] of readmePrograms().entries()) {
        const output = await run([...command, `example${index + 1}.ts`], project);
        assert.deepEqual(output.trimEnd().split("\n"), prints);
        fs.rmSync(path.join(project, "data"), { recursive: true, force: true });
      }
    });

    it(`runs a node from its command on ${name}`, async () => {
      const cli = path.join(installed, "dist/cli.js");
      const flags = [
        "--role",
        "master",
        "--bind-address",
        "127.0.0.1",
        "--listen-port",
        "0",
        "--store",
        `./data/${name}`,
        "--json",
      ];
      const { ready, code } = await runNode([...command, cli, ...flags], project);
      const { brokerRole, runtime } = JSON.parse(ready);
      assert.equal(brokerRole, "ASYNC_MASTER");
      assert.equal(runtime.split(" ")[0], name);
      assert.equal(code, 0);
    });
  }

  it("puts twinlog on the path", async () => {
    const { version } = JSON.parse(fs.readFileSync(path.join(ROOT, "package.json"), "utf8"));
    assert.equal((await run([path.join(project, "node_modules/.bin/twinlog"), "--version"], project)).trim(), version);
  });
});
