// Verbs in a pipe whose reader goes away, as real processes on the runtime that runs this test: `… | head -1` has to end,
// whatever else there is to print, or to wait for.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, before, beforeEach, describe, it } from "node:test";
import { fileURLToPath } from "node:url";
import { createAdminApp } from "../../src/admin/admin_app.ts";
import { sleep } from "../../src/base/async.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { HttpServer } from "../../src/runtime/runtime.ts";
import { FakePort, storedMessage } from "../admin/fake_port.ts";

const CLI = fileURLToPath(new URL("../../cli.ts", import.meta.url));
const CONFIG = fileURLToPath(new URL("../../deno.json", import.meta.url));
const DEADLINE_MS = 20_000;
const runtimeArguments = "Deno" in globalThis ? ["run", "-A", "--no-check", "--quiet", "--config", CONFIG, CLI] : [CLI];
const real = await loadRuntime();
const directory = mkdtempSync(join(tmpdir(), "twinlog-reader-"));
let port = new FakePort();
let server: HttpServer;
let admin = "";

before(async () => {
  const following = new Proxy({} as FakePort, {
    get: (_, name) => {
      const value = Reflect.get(port, name);
      return typeof value === "function" ? value.bind(port) : value;
    },
  });
  const app = createAdminApp(following, { token: null, clock: real.clock, ending: new AbortController().signal });
  server = await real.serveHttp({ hostname: "127.0.0.1", port: 0 }, (request) => app.fetch(request));
  admin = `127.0.0.1:${server.address.port}`;
});
after(async () => {
  await server.close();
  rmSync(directory, { recursive: true });
});
beforeEach(() => {
  port = new FakePort();
});

/** `VERB | READER`: what the reader printed, the verb's exit code in a line behind it, and what was on standard error. */
async function pipeline(verb: string[], reader: string, { input = "", meanwhile = () => {} } = {}) {
  const codeFile = join(directory, "code");
  const inFile = join(directory, "in");
  writeFileSync(inFile, input);
  const script =
    `reader="$1"; shift; { "$@" <"${inFile}"; echo $? >"${codeFile}"; } | sh -c "$reader"; cat "${codeFile}"`;
  const words = [process.execPath, ...runtimeArguments, ...verb, "--admin", admin];
  const child = spawn("sh", ["-c", script, "sh", reader, ...words], {
    stdio: ["ignore", "pipe", "pipe"],
    env: { ...process.env, NO_COLOR: "1" },
    detached: true,
  });
  let out = "";
  let err = "";
  child.stdout.on("data", (chunk: Uint8Array) => out += new TextDecoder().decode(chunk));
  child.stderr.on("data", (chunk: Uint8Array) => err += new TextDecoder().decode(chunk));
  let hasEnded = false;
  const ended = new Promise<void>((resolve) => child.once("close", () => resolve())).then(() => hasEnded = true);
  const deadline = real.clock.monotonic() + DEADLINE_MS;
  while (!hasEnded && real.clock.monotonic() < deadline) {
    meanwhile();
    await sleep(real.clock, 20);
  }
  if (!hasEnded) process.kill(-child.pid!, "SIGKILL");
  await ended;
  assert.ok(real.clock.monotonic() < deadline, `Still running: ${out} ${err}`);
  return { out, err };
}

describe("a verb whose reader is gone", () => {
  it("ends tail with its next message", async () => {
    let at = 0;
    const meanwhile = () => port.add(storedMessage(at, `message ${at++}`, { storeTimestamp: 0 }));
    meanwhile();
    const { out, err } = await pipeline(["tail", "--topic", "T", "--from", "0"], "head -1", { meanwhile });
    assert.equal(out, "0:0  1970-01-01T00:00:00.000Z  tags=a  message 0\n0\n");
    assert.equal(err, "");
  });

  it("ends status --watch", async () => {
    const meanwhile = () => port.stateListeners.forEach((listener) => listener());
    const { out, err } = await pipeline(["status", "--watch"], "head -1", { meanwhile });
    assert.match(out, /^broker-a .* is ASYNC_MASTER\n0\n$/);
    assert.equal(err, "");
  });

  it("stops send, which says that not all was sent", async () => {
    const { out, err } = await pipeline(["send", "--topic", "T"], "exec <&-", { input: "x\n".repeat(1000) });
    assert.equal(out, "1\n");
    assert.match(err, /^twinlog: Stopped after \d+ messages, as nobody reads standard output any more$/m);
    assert.ok(port.messages.length < 1000);
  });
});
