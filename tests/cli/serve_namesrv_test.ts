// `--role namesrv` from the command line to a clean stop: its ready line, its configuration file, and what is wrong use.

import assert from "node:assert/strict";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, afterEach, describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { runCli } from "../../src/cli/main.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { createRequest } from "../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";
import { runtime as real, waitFor } from "../remoting/support.ts";

const directory = mkdtempSync(join(tmpdir(), "twinlog-cli-namesrv-"));
const running: { stop(): Promise<unknown> }[] = [];
afterEach(() => Promise.all(running.splice(0).map((each) => each.stop())));
after(() => rmSync(directory, { recursive: true, force: true }));

/** Starts it; `stop` sends the signal and answers with the exit code. */
function start(...args: string[]) {
  let out = "";
  let err = "";
  let signal: ((name: string) => void) | null = null;
  const runtime: Runtime = {
    ...real,
    process: {
      ...real.process,
      env: () => undefined,
      onStopSignal: (callback) => {
        signal = callback;
        return () => signal = null;
      },
      writeOut: (text) => out += text,
      writeErr: (text) => err += text,
    },
  };
  const exit = runCli(runtime, args);
  const made = {
    out: () => out,
    err: () => err,
    exit,
    signal: (name: string) => signal?.(name),
    stop: () => {
      signal?.("SIGTERM");
      return exit;
    },
  };
  running.push(made);
  return made;
}

async function ask(address: string, code: number, body = "") {
  const client = new RemotingClient({ net: real.net, clock: real.clock });
  try {
    return await client.invoke(address, createRequest(code, {}, utf8.encode(body)), 5000);
  } finally {
    client.close();
  }
}

describe("--role namesrv", () => {
  it("says where it listens, serves, keeps changes in its file, and stops cleanly", async () => {
    const conf = join(directory, "namesrv.conf");
    writeFileSync(
      conf,
      "# ours\nlistenPort=0\nbindAddress=127.0.0.1\nserverSelectorThreads=3\nordrMessageEnable=true\n",
    );
    const node = start("--role", "namesrv", "-c", conf, "--store", directory, "--json");
    await waitFor("the ready line", () => node.out().endsWith("\n"));
    const ready = JSON.parse(node.out());
    assert.equal(ready.role, "namesrv");
    assert.equal(ready.kvConfigPath, `${directory}/namesrv/kvConfig.json`);
    assert.match(ready.addresses.namesrv, /^127\.0\.0\.1:\d+$/);
    assert.equal(ready.addresses.remoting, ready.addresses.namesrv);
    assert.match(node.err(), /without effect here: serverSelectorThreads/);
    assert.match(node.err(), /did you mean \\"orderMessageEnable\\"/);
    const { namesrv } = ready.addresses;
    assert.equal((await ask(namesrv, RequestCode.GET_BROKER_CLUSTER_INFO)).code, 0);
    assert.equal((await ask(namesrv, RequestCode.UPDATE_NAMESRV_CONFIG, "supportActingMaster=true")).code, 0);
    assert.equal(
      readFileSync(conf, "utf8"),
      "bindAddress=127.0.0.1\nlistenPort=0\nordrMessageEnable=true\nserverSelectorThreads=3\nsupportActingMaster=true\n",
    );
    assert.match(readFileSync(`${conf}.bak`, "utf8"), /^# ours$/m);
    assert.equal(await node.stop(), 0);
    assert.match(node.err(), /Stopping on SIGTERM"\}\n.*"message":"Stopped in \d+ ms"\}\n$/);
  });

  it("is one line for people, too", async () => {
    const args = ["--listen-port", "0", "--bind-address", "127.0.0.1", "--store", directory];
    const node = start("serve", "--role=namesrv", ...args);
    await waitFor("the ready line", () => node.out().endsWith("\n"));
    assert.match(
      node.out(),
      /^Twinlog NameServer on \S+ \S+ is ready: 127\.0\.0\.1:\d+, KV configuration \S+kvConfig\.json\n$/,
    );
    assert.equal(await node.stop(), 0);
  });

  it("exits with 2 for wrong use and with 1 when its port is taken", async () => {
    const other = start("--role", "namesrv", "--ha-listen-port", "1");
    assert.equal(await other.exit, 2);
    assert.match(other.err(), /^twinlog: --ha-listen-port is a flag of brokers, wanted one that a NameServer has/);
    const missing = start("--role", "namesrv", "-c", join(directory, "missing.conf"));
    assert.equal(await missing.exit, 2);
    const listener = await real.net.listen({ hostname: "127.0.0.1", port: 0 });
    const port = String(listener.address.port);
    const taken = start(
      "--role",
      "namesrv",
      "--listen-port",
      port,
      "--bind-address",
      "127.0.0.1",
      "--store",
      directory,
    );
    assert.equal(await taken.exit, 1);
    assert.equal(taken.err(), `twinlog: NameServer port 127.0.0.1:${port} is in use, give another --listen-port\n`);
    listener.close();
  });

  it("stops cleanly when a terminal is closed, which sends SIGHUP twice", async () => {
    const args = ["--listen-port", "0", "--bind-address", "127.0.0.1", "--store", directory];
    const node = start("--role", "namesrv", ...args);
    await waitFor("the ready line", () => node.out().endsWith("\n"));
    node.signal("SIGHUP");
    node.signal("SIGHUP");
    assert.equal(await node.exit, 0);
    assert.match(node.err(), /Stopping on SIGHUP\n.*Stopped in \d+ ms\n$/);
  });

  it("is in the help", async () => {
    const help = start("serve", "--help");
    assert.equal(await help.exit, 0);
    assert.match(help.out(), /--role namesrv runs a NameServer alone/);
    for (const args of [["--role", "namesrv", "--help"], ["serve", "--broker-role=namesrv", "-h"]]) {
      const own = start(...args);
      assert.equal(await own.exit, 0);
      assert.match(own.out(), /^Usage: twinlog --role namesrv \[options\]\n/);
      assert.match(own.out(), /--listen-port <n>\n.*\(9876\)/);
      assert.doesNotMatch(own.out(), /--ha-|Examples:/);
    }
  });
});
