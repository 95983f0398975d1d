// Whole nodes over real sockets: TLS between them, limits of their ports, and that nothing they print or answer holds a
// secret. What each part refuses is tested beside the part.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as os from "node:os";
import { after, afterEach, describe, it } from "node:test";
import { writeInt32 } from "../../src/base/bytes.ts";
import { ConfigError } from "../../src/base/errors.ts";
import { createLogger } from "../../src/base/logger.ts";
import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import { readyLine } from "../../src/cli/serve.ts";
import { compareWithMaster } from "../../src/cli/verify_against_master.ts";
import { haTlsIdentity } from "../../src/config/ha_tls.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Connection } from "../../src/runtime/runtime.ts";
import { tlsPath } from "../support/tls.ts";

const runtime = await loadRuntime();
const root = fs.mkdtempSync(`${os.tmpdir()}/twinlog-security-`);
const TOKEN = "correct-horse-battery-staple";
fs.writeFileSync(`${root}/token`, `${TOKEN}\n`);
const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});
after(() => fs.rmSync(root, { recursive: true, force: true }));

const SMALL = { mappedFileSizeCommitLog: 1024 * 1024, maxHashSlotNum: 100, maxIndexNum: 400 };
const tlsFiles = (name: string) => ({
  haTlsEnable: true,
  haTlsCertFile: tlsPath(`${name}.crt`),
  haTlsKeyFile: tlsPath(`${name}.key`),
  haTlsCaFile: tlsPath("ca.crt"),
});

/** A node on free ports of loopback, and every line it logs. */
async function startNode(changes: Partial<Config>) {
  const { config } = createConfig({
    ...SMALL,
    bindAddress: "127.0.0.1",
    brokerIP1: "127.0.0.1",
    brokerIP2: "127.0.0.1",
    listenPort: 0,
    vipListenPort: 0,
    haListenPort: 0,
    adminAddress: "127.0.0.1:0",
    storePathRootDir: fs.mkdtempSync(`${root}/store-`),
    ...changes,
  }, runtime.process);
  const lines: string[] = [];
  const logger = createLogger({
    write: (line) => void lines.push(line),
    now: () => runtime.clock.now(),
    json: false,
    level: "debug",
  });
  const node = await startBroker({ config, runtime, logger, onFatal: (error) => void lines.push(`FATAL ${error}`) });
  cleanups.push(() => node.stop());
  return { node, config, lines };
}

async function until(condition: () => boolean | Promise<boolean>, what: string): Promise<void> {
  const deadline = runtime.clock.monotonic() + 20_000;
  while (!await condition()) {
    assert.ok(runtime.clock.monotonic() < deadline, `Still waiting: ${what}`);
    await new Promise<void>((resolve) => runtime.clock.setTimer(5, resolve));
  }
}

const portOf = (address: string) => Number(address.slice(address.lastIndexOf(":") + 1));

async function connect(address: string): Promise<Connection> {
  const socket = await runtime.net.connect({ hostname: "127.0.0.1", port: portOf(address), timeoutMs: 5000 });
  cleanups.push(() => socket.close());
  return socket;
}

async function metric(node: BrokerNode, name: string, headers: Record<string, string> = {}): Promise<number> {
  const text = await (await fetch(`http://127.0.0.1:${portOf(node.addresses.admin!)}/metrics`, { headers })).text();
  const samples = text.split("\n").filter((line) => line.startsWith(`${name.split("{")[0]}{`));
  const label = /\{(.*)\}/.exec(name)?.[1] ?? "";
  return samples.filter((line) => line.includes(label)).reduce((sum, line) => sum + Number(line.split(" ").at(-1)), 0);
}

describe(`${runtime.name}: nodes`, () => {
  it("replicate over TLS, and refuse a slave without a certificate of the CA", async () => {
    const master = await startNode({ brokerName: "m", ...tlsFiles("master") });
    const haMasterAddress = master.node.addresses.ha;
    const slave = await startNode({ brokerName: "m", brokerRole: "SLAVE", haMasterAddress, ...tlsFiles("slave") });
    const stranger = await startNode({
      brokerName: "m",
      brokerRole: "SLAVE",
      haMasterAddress,
      ...tlsFiles("stranger"),
    });
    const body = new TextEncoder().encode("secured");
    const put = { topic: "T", queueId: 0, body, properties: new Map<string, string>(), flag: 0 };
    for (let i = 0; i < 20; i++) assert.equal((await master.node.admin.put(put)).status, "PUT_OK");
    const { maxOffset } = master.node.admin.status();
    await until(() => slave.node.admin.status().maxOffset === maxOffset, "the slave");
    await until(
      async () => await metric(master.node, 'twinlog_ha_connections_refused_total{reason="tlsFailed"}') > 0,
      "the stranger's refusal",
    );
    assert.equal(stranger.node.admin.status().maxOffset, 0);
    await slave.node.stop();
    const directory = `${slave.config.storePathRootDir}/commitlog`;
    const log = { directory, mappedFileSize: SMALL.mappedFileSizeCommitLog, minOffset: 0, maxOffset, onProgress() {} };
    const ha = { hostname: "127.0.0.1", port: portOf(haMasterAddress) };
    const identity = haTlsIdentity({ ...slave.config }, (path) => runtime.fs.readFile(path));
    assert.deepEqual((await compareWithMaster(runtime, ha, log, identity)).ok, true);
    await assert.rejects(compareWithMaster(runtime, ha, log), /haTlsEnable is on there/);
    assert.match(stranger.lines.join(""), /Not following master .*certificate/);
    assert.match(master.lines.join(""), /Refused HA peer: The peer's certificate is not accepted/);
  });

  it("do not start with TLS files that are missing or don't belong together", async () => {
    const store = fs.mkdtempSync(`${root}/store-`);
    const broken: [Partial<Config>, RegExp][] = [
      [{ haTlsCaFile: null }, /haTlsCaFile is not set/],
      [{ haTlsCertFile: `${root}/none` }, /haTlsCertFile ".*none" does not exist/],
      [{ haTlsKeyFile: tlsPath("slave.key") }, /certificate and key do not belong together/],
    ];
    for (const [change, message] of broken) {
      await assert.rejects(
        startNode({ storePathRootDir: store, ...tlsFiles("master"), ...change }),
        (error) => error instanceof ConfigError && message.test(error.message),
      );
    }
    // Nothing is left of the failed starts.
    await startNode({ storePathRootDir: store, ...tlsFiles("master") });
  });

  it("print and answer no secret, whatever they are asked", async () => {
    const master = await startNode({ adminTokenFile: `${root}/token`, logLevel: "debug", ...tlsFiles("master") });
    const base = `http://127.0.0.1:${portOf(master.node.addresses.admin!)}`;
    const key = fs.readFileSync(tlsPath("master.key"), "utf8").split("\n")[1]!;
    const seen: string[] = [];
    for (const authorization of ["", `Bearer ${TOKEN}`, `Bearer ${TOKEN}x`, `Basic ${TOKEN}`]) {
      const headers = { authorization, "content-type": "application/json" };
      for (const path of ["/", "/ha", "/config", "/metrics", "/openapi.json", "/readyz", "/nope", "/topics/T"]) {
        const answer = await fetch(base + path, { headers });
        seen.push(await answer.text(), [...answer.headers].join());
      }
      for (const patch of [{ adminTokenFile: "/etc/passwd" }, { haTlsKeyFile: "x" }, { logLevel: TOKEN.slice(0, 5) }]) {
        const answer = await fetch(`${base}/config`, { method: "PATCH", headers, body: JSON.stringify(patch) });
        assert.ok([400, 401].includes(answer.status));
        seen.push(await answer.text());
      }
    }
    for (const json of [false, true]) seen.push(readyLine(runtime, { ...master.config, json }, master.node.addresses));
    await master.node.stop();
    seen.push(...master.lines);
    assert.ok(seen.length > 50);
    for (const text of seen) assert.ok(!text.includes(TOKEN) && !text.includes(key), text.slice(0, 200));
    fs.writeFileSync(`${root}/short`, "short");
    await assert.rejects(
      startNode({ adminTokenFile: `${root}/short` }),
      (error) => error instanceof ConfigError && /holds 5 characters, wanted 8/.test(error.message),
    );
  });

  it("want the token whatever form a request's target has", async () => {
    const { node } = await startNode({ adminTokenFile: `${root}/token` });
    const host = `127.0.0.1:${portOf(node.addresses.admin!)}`;
    const targets = [
      `http://${host}?/ha`,
      `http://${host}#/ha`,
      `http://${host}/healthz/../ha`,
      `http://${host}\\ha`,
      "/healthz/../ha",
      "/ha/../healthz/../ha",
      "//healthz/../ha",
      "/topics/x\\..\\..\\healthz",
      "/topics/%2e%2e\\..\\healthz",
      "/%68a",
    ];
    for (const target of targets) {
      const socket = await connect(host);
      await socket.write(
        new TextEncoder().encode(`GET ${target} HTTP/1.1\r\nHost: ${host}\r\nConnection: close\r\n\r\n`),
      );
      let answer = "";
      for (let part = await socket.read(); part !== null; part = await socket.read().catch(() => null)) {
        answer += new TextDecoder().decode(part);
      }
      // Refused, or taken for a path that is open to all.
      assert.match(answer, /^HTTP\/1\.1 40[01] |"status":"alive"|<!doctype html>/, target);
      assert.ok(!answer.includes('brokerRole":') && !answer.includes("wanted 1 to 127"), `${target}: ${answer}`);
    }
  });

  it("hold no more than remotingHeldBytesMax of unfinished requests, on both ports together, and serve on", async () => {
    const { node, config } = await startNode({ remotingHeldBytesMax: 16 * 1024 * 1024 });
    const partial = new Uint8Array(256 * 1024);
    writeInt32(partial, 0, 16_000_000);
    writeInt32(partial, 4, 1000);
    const before = runtime.process.memory().residentBytes;
    const ports = [node.addresses.remoting, node.addresses.vip!];
    for (let i = 0; i < 400; i++) {
      const socket = await connect(ports[i % 2]!);
      await socket.write(partial).catch(() => {});
    }
    const overflow = 'twinlog_remoting_closed_total{reason="overflow"}';
    await until(async () => await metric(node, overflow) >= 400 - 16 * 4 - 20, "the surplus");
    assert.ok(await metric(node, "twinlog_remoting_held_bytes") <= config.remotingHeldBytesMax);
    assert.ok(runtime.process.memory().residentBytes - before < 256 * 1024 * 1024);
    const put = { topic: "T", queueId: 0, body: new Uint8Array(10), properties: new Map<string, string>(), flag: 0 };
    assert.equal((await node.admin.put(put)).status, "PUT_OK");
  });

  it("bound the connections of the HA port by address, and go on serving the slave", async () => {
    const master = await startNode({ haConnectionsPerAddressMax: 8 });
    const slave = await startNode({ brokerRole: "SLAVE", haMasterAddress: master.node.addresses.ha });
    await until(() => master.node.admin.status().slaves.length === 1, "the slave");
    const idle: Connection[] = [];
    for (let i = 0; i < 30; i++) idle.push(await connect(master.node.addresses.ha));
    const refused = 'twinlog_ha_connections_refused_total{reason="tooManyFromAddress"}';
    await until(async () => await metric(master.node, refused) === 23, "the surplus");
    assert.equal(await metric(master.node, "twinlog_ha_guests"), 7);
    const put = { topic: "T", queueId: 0, body: new Uint8Array(10), properties: new Map<string, string>(), flag: 0 };
    assert.equal((await master.node.admin.put(put)).status, "PUT_OK");
    const { maxOffset } = master.node.admin.status();
    await until(() => slave.node.admin.status().maxOffset === maxOffset, "the slave is served on");
  });

  it("bound the connections of an admin port beyond loopback, by address too", async () => {
    const { node, lines } = await startNode({
      adminAddress: "0.0.0.0:0",
      adminTokenFile: `${root}/token`,
      adminConnectionsPerAddressMax: 4,
    });
    const idle: Connection[] = [];
    for (let i = 0; i < 8; i++) idle.push(await connect(node.addresses.admin!));
    await until(() => /Closed an admin connection.*tooManyFromAddress/.test(lines.join("")), "the line");
    for (const one of idle) one.close();
    const headers = { authorization: `Bearer ${TOKEN}` };
    await until(
      () =>
        metric(node, 'twinlog_admin_connections_refused_total{reason="tooManyFromAddress"}', headers).then(
          (n) => n > 0,
          () => false,
        ),
      "room again",
    );
    assert.equal((await fetch(`http://127.0.0.1:${portOf(node.addresses.admin!)}/ha`)).status, 401);
  });

  it("let nobody beyond remotingAllowedPeers in, as it is now", async () => {
    const { node } = await startNode({ remotingAllowedPeers: "192.0.2.0/24" });
    const socket = await connect(node.addresses.remoting);
    assert.equal(await socket.read().catch(() => null), null);
    assert.equal(await metric(node, 'twinlog_remoting_closed_total{reason="notAllowed"}'), 1);
    node.admin.updateConfig({ remotingAllowedPeers: "127.0.0.0/8" });
    const allowed = await connect(node.addresses.remoting);
    await until(async () => await metric(node, "twinlog_remoting_connections") === 1, "the connection");
    allowed.close();
  });
});
