// Signals, standard streams and the exit code, seen from outside: each test runs a small program on this runtime.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import process from "node:process";
import { after, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { loadRuntime } from "../../src/runtime/detect.ts";

const RUNTIME = fileURLToPath(new URL("../../src/runtime/detect.ts", import.meta.url));
const directory = fs.mkdtempSync(`${os.tmpdir()}/twinlog-process-`);
after(() => fs.rmSync(directory, { recursive: true, force: true }));

function start(body: string, { ignoring = "" } = {}) {
  const script = `${directory}/script.ts`;
  fs.writeFileSync(
    script,
    `import { loadRuntime } from ${JSON.stringify(`file://${RUNTIME}`)};
const { process, clock } = await loadRuntime();
${body}`,
  );
  const args = "Deno" in globalThis ? ["run", "-A", "--no-check", script] : [script];
  // A shell that ignores a signal hands that on to what it becomes.
  const [program, ...words] = ignoring === ""
    ? [process.execPath, ...args]
    : ["sh", "-c", `trap "" ${ignoring}; exec "$@"`, "sh", process.execPath, ...args];
  const child = spawn(program!, words, {
    stdio: ["pipe", "pipe", "pipe"],
    env: { ...process.env, PROBE: "42" },
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Uint8Array) => out += new TextDecoder().decode(chunk));
  child.stderr.on("data", (chunk: Uint8Array) => err += new TextDecoder().decode(chunk));
  const exit = new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    child.once("close", (code) => resolve({ code, out, err }));
  });
  const firstOut = new Promise<void>((resolve) => child.stdout.once("data", () => resolve()));
  return { child, exit, firstOut };
}

describe("NODE_PROCESS", () => {
  it("loses no output at exit, and passes the exit code on", async () => {
    const { exit } = start(`
      for (let i = 0; i < 40; i++) process.writeOut("x".repeat(9_999) + "\\n");
      process.writeErr("done " + process.env("PROBE") + " " + process.stdoutIsTerminal);
      process.exit(3);`);
    const { code, out, err } = await exit;
    assert.equal(out.length, 400_000);
    assert.match(err, /done 42 false$/);
    assert.equal(code, 3);
  });

  it("takes a process that is dead and not yet collected by its parent for dead", async () => {
    // The shell becomes a program that never asks for its child.
    const parent = spawn("sh", ["-c", "sleep 0.5 & echo $!; exec sleep 60"], { stdio: ["ignore", "pipe", "ignore"] });
    try {
      const pid = await new Promise<number>((resolve) => parent.stdout.once("data", (line) => resolve(Number(line))));
      const { process: ours, clock } = await loadRuntime();
      assert.notEqual(ours.startToken(parent.pid!), null);
      const deadline = clock.monotonic() + 20_000;
      while (ours.startToken(pid) !== null) {
        assert.ok(clock.monotonic() < deadline, "Still waiting: its end");
        await new Promise<void>((resolve) => clock.setTimer(5, resolve));
      }
      process.kill(pid, 0);
    } finally {
      parent.kill("SIGKILL");
    }
  });

  it("reads standard input", async () => {
    const { child, exit } = start(`
      let count = 0;
      for await (const chunk of process.stdin()) count += chunk.length;
      process.writeOut(String(count));`);
    child.stdin.end(new Uint8Array(300_000));
    assert.equal((await exit).out, "300000");
  });

  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) {
    it(`calls back on ${signal} instead of dying`, async () => {
      const { child, exit, firstOut } = start(`
        const waiting = clock.setTimer(30_000, () => process.exit(9));
        const release = process.onStopSignal((signal) => {
          process.writeOut("got " + signal);
          release();
          waiting.cancel();
        });
        process.writeOut("ready ");`);
      await firstOut;
      process.kill(child.pid!, signal);
      const { code, out } = await exit;
      assert.equal(out, `ready got ${signal}`);
      assert.equal(code, 0);
    });
  }

  const keepsIgnored = os.platform() !== "linux"
    ? "only Linux tells"
    : "Deno" in globalThis || "Bun" in globalThis
    ? false
    : "Node resets what it was started with";
  it("leaves SIGHUP ignored where it was (nohup)", { skip: keepsIgnored }, async () => {
    const { child, exit, firstOut } = start(
      `
      const waiting = clock.setTimer(30_000, () => process.exit(9));
      process.onStopSignal((signal) => {
        process.writeOut("got " + signal);
        process.exit(0);
      });
      process.writeOut("ready ");`,
      { ignoring: "HUP" },
    );
    await firstOut;
    process.kill(child.pid!, "SIGHUP");
    // Signals that wait are delivered lowest number first: a SIGHUP that is heard is heard before this one.
    process.kill(child.pid!, "SIGTERM");
    assert.equal((await exit).out, "ready got SIGTERM");
  });
});
