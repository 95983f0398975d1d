// The one test command: type check, then every suite on Deno, Bun and Node, then the interop suite when Java is here.
// Its last line is the sum, `N passed, N failed, N skipped`; its exit code is 1 unless everything passed.
//
//   node tests/run_all.ts [--runtime deno,bun,node] [--no-interop] [--only FOLDER,...]

import { spawn, spawnSync } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import { parseArgs } from "node:util";

const ROOT = path.resolve(import.meta.dirname, "..");
const BIN = path.join(ROOT, "node_modules/.bin");

const SUITES = fs.readdirSync(path.join(ROOT, "tests"), { withFileTypes: true })
  .filter((entry) => entry.isDirectory() && !["fixtures", "support"].includes(entry.name))
  .map((entry) => entry.name).sort();
const RUNTIMES = ["deno", "bun", "node"];
const USAGE = `npm test -- [--runtime ${RUNTIMES}] [--no-interop] [--only SUITE,...], suites: ${SUITES.join(", ")}`;
const values = readArguments();

function readArguments() {
  try {
    const { values } = parseArgs({
      options: {
        runtime: { type: "string", default: RUNTIMES.join(",") },
        only: { type: "string" },
        "no-interop": { type: "boolean", default: false },
        help: { type: "boolean", short: "h", default: false },
      },
    });
    if (values.help) endWith(USAGE, 0);
    const unknown = values.only?.split(",").find((name) => !SUITES.includes(name));
    if (unknown !== undefined) endWith(`--only has "${unknown}", wanted one of ${SUITES.join(", ")}`, 2);
    const other = values.runtime.split(",").find((name) => !RUNTIMES.includes(name));
    if (other !== undefined) endWith(`--runtime has "${other}", wanted one of ${RUNTIMES.join(", ")}`, 2);
    return values;
  } catch (error) {
    return endWith(`${error instanceof Error ? error.message.split(". ")[0] : error}: ${USAGE}`, 2);
  }
}

function endWith(line: string, code: number): never {
  (code === 0 ? process.stdout : process.stderr).write(`${line}\n`);
  process.exit(code);
}

type Counts = { passed: number; failed: number; skipped: number };

/** How each runtime is told to run test files, and how its closing lines are read. */
const RUNNERS: Record<string, { command: (files: string[]) => string[]; read: Record<keyof Counts, RegExp> }> = {
  node: {
    command: (files) => ["node", "--test", "--test-reporter=spec", "--test-concurrency=2", ...files],
    read: { passed: /^ℹ pass (\d+)$/m, failed: /^ℹ fail (\d+)$/m, skipped: /^ℹ skipped (\d+)$/m },
  },
  deno: {
    command: (files) => ["deno", "test", "-A", "--no-check", "--reporter=pretty", ...files],
    // Deno counts a describe as one test and each `it` as a step of it.
    read: {
      passed: /(\d+) passed(?: \((\d+) steps?\))?/,
      failed: /(\d+) failed(?: \((\d+) steps?\))?/,
      skipped: /(\d+) ignored(?: \((\d+) steps?\))?/,
    },
  },
  bun: {
    command: (files) => ["bun", "test", "--timeout", "120000", ...files.map((file) => `./${file}`)],
    read: { passed: /^\s*(\d+) pass$/m, failed: /^\s*(\d+) fail$/m, skipped: /^\s*(\d+) skip$/m },
  },
};

function testFiles(folders: string[]): string[] {
  return folders.flatMap((folder) =>
    fs.readdirSync(path.join(ROOT, "tests", folder), { recursive: true, encoding: "utf8" })
      .filter((name) => name.endsWith("_test.ts"))
      .map((name) => path.join("tests", folder, name))
      .sort()
  );
}

/** What may print now; whoever waits for its turn keeps its output until then. */
let printing: Promise<void> = Promise.resolve();

/** Runs a command, showing what it prints once those begun before have ended; answers with its exit code and output. */
function run(command: string[]): Promise<{ code: number; output: string }> {
  return new Promise((resolve) => {
    const child = spawn(path.join(BIN, command[0]!), command.slice(1), {
      cwd: ROOT,
      // A NameServer of whoever runs the tests is none of theirs.
      env: { ...process.env, NAMESRV_ADDR: undefined, NO_COLOR: "1" },
      stdio: ["ignore", "pipe", "pipe"],
    });
    let output = "";
    let isPrinting = false;
    const mine = printing.then(() => {
      isPrinting = true;
      process.stdout.write(output);
    });
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding("utf8").on("data", (text: string) => {
        output += text;
        if (isPrinting) process.stdout.write(text);
      });
    }
    const closed = new Promise<number>((close) => child.on("close", (code) => close(code ?? 1)));
    printing = Promise.all([mine, closed]).then(() => undefined);
    void Promise.all([closed, mine]).then(([code]) => resolve({ code, output }));
  });
}

const total: Counts = { passed: 0, failed: 0, skipped: 0 };

async function runSuite(title: string, runtime: string, files: string[]): Promise<void> {
  if (files.length === 0) return;
  void printing.then(() => console.log(`\n== ${title} on ${runtime}: ${files.length} files`));
  const started = performance.now();
  const { command, read } = RUNNERS[runtime]!;
  const { code, output } = await run(command(files));
  // The closing lines come after what the tests print: the last match of each counts.
  const count = (pattern: RegExp) => {
    const match = [...output.matchAll(new RegExp(pattern, "gm"))].at(-1);
    return Number(match?.[2] ?? match?.[1] ?? 0);
  };
  const counts: Counts = { passed: count(read.passed), failed: count(read.failed), skipped: count(read.skipped) };
  if (code !== 0 && counts.failed === 0) counts.failed = 1;
  if (counts.passed === 0) counts.failed = Math.max(1, counts.failed);
  total.passed += counts.passed;
  total.failed += counts.failed;
  total.skipped += counts.skipped;
  const seconds = ((performance.now() - started) / 1000).toFixed(1);
  console.log(
    `== ${title} on ${runtime}: ${counts.passed} passed, ${counts.failed} failed, ${counts.skipped} skipped in ${seconds} s`,
  );
}

console.log("== type check");
const check = await run(["tsc", "-p", ".", "--noEmit"]);
if (check.code === 0) total.passed++;
else total.failed++;

const folders = values.only?.split(",") ?? SUITES.filter((name) => name !== "interop");
const files = [...testFiles(folders.filter((folder) => folder !== "interop"))];
if (!values.only) files.push("tests/tidy_test.ts", "tests/readme_test.ts");
// Deno and Bun run one file at a time, so side by side; Node runs two by itself.
const runtimes = values.runtime.split(",");
await Promise.all(runtimes.filter((runtime) => runtime !== "node").map((runtime) => runSuite("tests", runtime, files)));
if (runtimes.includes("node")) await runSuite("tests", "node", files);

if (!values["no-interop"] && (!values.only || folders.includes("interop"))) {
  const java = spawnSync("javac", ["-version"]).status === 0 && spawnSync("mvn", ["-v"]).status === 0;
  if (java || process.env.TWINLOG_REQUIRE_INTEROP) {
    // The interop tests steer real processes on all three runtimes; their own runner is Node.
    await runSuite("interop with Apache RocketMQ", "node", testFiles(["interop"]));
  } else {
    console.log("\n== interop with Apache RocketMQ: SKIPPED, it needs java, javac and mvn");
    total.skipped++;
  }
}

console.log(`\n${total.passed} passed, ${total.failed} failed, ${total.skipped} skipped`);
process.exit(total.failed === 0 ? 0 : 1);
