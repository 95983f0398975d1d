// verify on a store that a real node wrote: clean, damaged, against a copy, against a running master.

import assert from "node:assert/strict";
import { closeSync, cpSync, mkdtempSync, openSync, readdirSync, rmSync, writeSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, it } from "node:test";
import { startBroker } from "../../src/broker/broker_controller.ts";
import type { BrokerNode } from "../../src/broker/broker_controller.ts";
import { runCli } from "../../src/cli/main.ts";
import { createConfig } from "../../src/config/load.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Runtime } from "../../src/runtime/runtime.ts";

const real = await loadRuntime();
const directory = mkdtempSync(join(tmpdir(), "twinlog-verify-"));
const store = join(directory, "a");
const FILE = 64 * 1024;
let offsetOfThird = 0;

function start(storePathRootDir: string): Promise<BrokerNode> {
  const { config } = createConfig({
    brokerRole: "ASYNC_MASTER",
    listenPort: 0,
    bindAddress: "127.0.0.1",
    adminAddress: null,
    storePathRootDir,
    mappedFileSizeCommitLog: FILE,
    mappedFileSizeConsumeQueue: 20_000,
    maxHashSlotNum: 100,
    maxIndexNum: 400,
  }, real.process);
  return startBroker({ config, runtime: real });
}

const verify = (...args: string[]) => verifyOver(real.net, ...args);

async function verifyOver(net: Runtime["net"], ...args: string[]) {
  let out = "";
  let err = "";
  const process = {
    ...real.process,
    stdoutIsTerminal: false,
    writeOut: (text: string) => out += text,
    writeErr: (text: string) => err += text,
  };
  const code = await runCli({ ...real, process, net }, ["verify", ...args]);
  return { code, out, err };
}

/** A port where nobody listens. */
const NOBODY = 1;

const portOf = (address: string) => Number(address.slice(address.lastIndexOf(":") + 1));

function flip(root: string, offset: number): void {
  const log = join(root, "commitlog");
  const name = readdirSync(log).toSorted()[Math.floor(offset / FILE)]!;
  const file = openSync(join(log, name), "r+");
  writeSync(file, new Uint8Array([0x5a]), 0, 1, offset % FILE);
  closeSync(file);
}

before(async () => {
  const node = await start(store);
  for (let at = 0; at < 40; at++) {
    const body = new Uint8Array(4000).fill(at);
    const outcome = await node.admin.put({ topic: "T", queueId: 0, body, properties: new Map(), flag: 0 });
    assert.equal(outcome.status, "PUT_OK");
    if (at === 2) offsetOfThird = outcome.stored!.physicalOffset;
  }
  await node.stop();
});
after(() => rmSync(directory, { recursive: true, force: true }));

describe("verify", () => {
  it("says ok, with counts", async () => {
    const { code, out } = await verify(store);
    assert.match(out, /^ok: .*, 40 records, 2 file ends, 40 entries in 1 consume queues, 0 in the index\n$/);
    assert.equal(code, 0);
    const json = JSON.parse((await verify(store, "--json")).out);
    assert.deepEqual([json.ok, json.records], [true, 40]);
  });

  it("compares with another store, and names the first difference", async () => {
    const copy = join(directory, "copy");
    cpSync(store, copy, { recursive: true });
    const same = await verify(store, "--against", copy);
    assert.match(same.out, /^ok: .* are the same in offsets 0 to \d+/m);
    assert.equal(same.code, 0);
    // The born timestamp: nothing in the record's format protects it, only the comparison sees it.
    flip(copy, offsetOfThird + 40);
    assert.equal((await verify(copy)).code, 0);
    const { code, out } = await verify(store, "--against", copy);
    assert.match(out, new RegExp(`^BAD at offset ${offsetOfThird + 40}: `, "m"));
    assert.equal(code, 1);
    const json = JSON.parse((await verify(store, "--against", copy, "--json")).out);
    assert.deepEqual([json.ok, json.finding, json.comparison.ok], [false, null, false]);
    assert.equal((await verify(store, "--against", "missing")).code, 2);
  });

  it("names the first bad offset", async () => {
    const bad = join(directory, "bad");
    cpSync(store, bad, { recursive: true });
    flip(bad, offsetOfThird + 1000);
    const { code, out } = await verify(bad);
    assert.match(out, new RegExp(`^BAD at offset ${offsetOfThird} in .*/00000000000000000000: bodyCrc`, "i"));
    assert.equal(code, 1);
  });

  it("compares with a running master over its HA port", async () => {
    const live = join(directory, "live");
    cpSync(store, live, { recursive: true });
    const node = await start(live);
    try {
      const same = await verify(store, "--against", node.addresses.ha);
      assert.match(same.out, /^ok: .* are the same in offsets 0 to \d+/m);
      assert.equal(same.code, 0);
      const differs = join(directory, "differs");
      cpSync(store, differs, { recursive: true });
      flip(differs, offsetOfThird + 40);
      const { code, out } = await verify(differs, "--against", node.addresses.ha);
      assert.match(out, new RegExp(`^BAD at offset ${offsetOfThird + 40}: `, "m"));
      assert.equal(code, 1);
    } finally {
      await node.stop();
    }
    const gone = await verify(store, "--against", node.addresses.ha);
    assert.equal(gone.code, 1);
    assert.match(gone.err, /failed|refused/i);
  });

  it("names the port that was given instead of the HA port, and where that one is", async () => {
    const live = join(directory, "ports");
    cpSync(store, live, { recursive: true });
    const node = await start(live);
    // Any free ports, reached as if they were the usual ones.
    const { remoting, vip, ha } = node.addresses;
    const usual = new Map([[10911, portOf(remoting)], [10909, portOf(vip!)], [10912, portOf(ha)]]);
    const net: Runtime["net"] = {
      listen: (options) => real.net.listen(options),
      tlsServer: (options) => real.net.tlsServer(options),
      connect: (options) => real.net.connect({ ...options, port: usual.get(options.port) ?? NOBODY }),
    };
    try {
      assert.equal((await verifyOver(net, store, "--against", "127.0.0.1:10912")).code, 0);
      for (const [given, what] of [["127.0.0.1:10911", "remoting"], ["127.0.0.1:10909", "VIP"]] as const) {
        const { code, err } = await verifyOver(net, store, "--against", given);
        const seen = `${given} seems to be the ${what} port`;
        assert.equal(err, `twinlog: ${seen}, wanted the HA port, which seems to be 127.0.0.1:10912\n`);
        assert.equal(code, 1);
      }
      usual.delete(10912);
      const { err } = await verifyOver(net, store, "--against", "127.0.0.1:10911");
      assert.match(err, /says why; is this the master's HA port \(listenPort \+ 1\)\?$/m);
    } finally {
      await node.stop();
    }
  });
});
