// The command line as an operator uses it, against real nodes on different runtimes: send, tail, status, switchover there
// and back, master-address, role with its refusals, verify, and what a wrong call prints and exits with.

import assert from "node:assert/strict";
import { spawnSync } from "node:child_process";
import * as path from "node:path";
import { describe, it } from "node:test";
import { assertSameLog } from "./lab/compare.ts";
import { ROOT, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { cliCommand, RUNTIMES, startTwinlog } from "./lab/twinlog.ts";

const FILE = 4 * 1024 * 1024;
let turn = 0;

/** Runs cli.ts on the next runtime; answers with exit code and output. */
function cli(...args: string[]): { code: number | null; out: string; err: string } {
  const [command, leading] = cliCommand(RUNTIMES[turn++ % RUNTIMES.length]!);
  const { status, stdout, stderr } = spawnSync(command, [...leading, ...args], {
    cwd: ROOT,
    encoding: "utf8",
    timeout: 60_000,
  });
  return { code: status, out: stdout, err: stderr };
}

function ok(...args: string[]): string {
  const { code, out, err } = cli(...args);
  assert.equal(code, 0, `${args.join(" ")}: ${out}${err}`);
  return out;
}

describe("command line", () => {
  const directory = scratch("cli");

  it("sends, tails, switches over and back, verifies", { timeout: 180_000 }, async () => {
    const common = ["--mapped-file-size-commit-log", String(FILE)];
    const a = await startTwinlog({
      runtime: "deno",
      directory,
      store: path.join(directory, "a"),
      args: ["--role", "sync-master", ...common],
    });
    const b = await startTwinlog({
      runtime: "bun",
      directory,
      store: path.join(directory, "b"),
      args: ["--role", "slave", "--master", a.addresses.ha, ...common],
    });
    await until("the slave to follow", 20_000, async () => (await b.ha()).master.verified);
    // Nor meets it a stranger, whatever listens on 9876.
    for (const node of [a, b]) {
      const { namesrvAddr, namesrvEnable } = (await node.admin("GET", "/config")).config;
      assert.deepEqual([namesrvAddr, namesrvEnable], [null, false]);
    }
    const at = { a: ["--admin", a.addresses.admin], b: ["--admin", b.addresses.admin] };
    for (let i = 0; i < 3; i++) assert.match(ok("send", "--topic", "Cli", "--body", `body ${i}`, ...at.a), /PUT_OK/);
    assert.match(ok("status", ...at.a), /SYNC_MASTER/);
    assert.match(ok("status", ...at.b), /SLAVE/);

    // A promotion beside a living master is refused, and nothing changes.
    const refused = cli("role", "async-master", ...at.b);
    assert.equal(refused.code, 1);
    assert.match(refused.err, /heard/);
    assert.equal((await b.ha()).brokerRole, "SLAVE");

    ok("switchover", "--from", a.addresses.admin, "--to", b.addresses.admin);
    assert.match(b.process.output(), /Role switched from SLAVE to SYNC_MASTER.*"forced":false,"planned":true/);
    assert.equal((await a.ha()).brokerRole, "SLAVE");
    assert.notEqual((await b.ha()).brokerRole, "SLAVE");
    await until("the old master to follow", 20_000, async () => (await a.ha()).master.verified);
    assert.match(ok("send", "--topic", "Cli", "--body", "after the switchover", ...at.b), /PUT_OK/);
    ok("switchover", "--from", b.addresses.admin, "--to", a.addresses.admin);
    await until("the slave to follow again", 20_000, async () => (await b.ha()).master.verified);
    assert.match(ok("send", "--topic", "Cli", "--body", "and back", ...at.a), /PUT_OK/);

    // Not following for a while, then again.
    ok("master-address", "none", ...at.b);
    assert.match(
      cli("send", "--topic", "Cli", "--body", "alone", ...at.a).out,
      /SLAVE_NOT_AVAILABLE|FLUSH_SLAVE_TIMEOUT/,
    );
    ok("master-address", a.addresses.ha, ...at.b);
    const { maxOffset } = await a.ha();
    await b.waitForMax(maxOffset);
    assert.equal(await b.process.stop(), 0);
    assert.equal(await a.process.stop(), 0);
    assertSameLog(a.store, b.store, 0, maxOffset, FILE);
    assert.match(ok("verify", a.store, "--against", b.store), /ok/i);
  });

  it("says what is wrong in one line and exits with 2 for wrong use, 1 for failure", () => {
    const wrongFlag = cli("--role", "master", "--ha-listen-prt", "1");
    assert.equal(wrongFlag.code, 2, wrongFlag.err);
    assert.match(wrongFlag.err, /ha-listen-port/);
    const wrongValue = cli("--role", "master", "--ha-listen-port", "99999");
    assert.equal(wrongValue.code, 2, wrongValue.err);
    assert.match(wrongValue.err, /99999.*65535/);
    const nobody = cli("status", "--admin", "127.0.0.1:9");
    assert.equal(nobody.code, 1, nobody.err);
    assert.equal(nobody.err.trim().split("\n").length, 1, nobody.err);
    assert.equal(cli("verify", path.join(directory, "missing")).code, 2);
    assert.match(ok("--help"), /switchover/);
    assert.match(ok("--version"), /\d+\.\d+\.\d+/);
  });
});
