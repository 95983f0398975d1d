// TLS of the remoting ports with Java at the other end: plain and encrypted clients on one port, certificates asked for on
// both sides, strangers refused; and our broker as a client of an Apache NameServer over TLS.

import assert from "node:assert/strict";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import { javaScenarios, playScenarios } from "./lab/clients.ts";
import { LabCluster } from "./lab/lab_cluster.ts";
import { destroyAll, ROOT } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";

const java = await hasJava();
const SCENARIOS = ["quickStart", "bigBody"];
const file = (name: string) => path.join(ROOT, "tests/fixtures/tls", name);
const SERVER = { tlsServerCertPath: file("master.crt"), tlsServerKeyPath: file("master.key") };
/** Both ends show a certificate of the CA. */
const MUTUAL = { ...SERVER, tlsServerTrustCertPath: file("ca.crt"), tlsServerNeedClientAuth: "require" };
const NODES = {
  ...MUTUAL,
  tlsServerMode: "enforcing",
  tlsClientTrustCertPath: file("ca.crt"),
  tlsClientCertPath: file("master.crt"),
  tlsClientKeyPath: file("master.key"),
};
const TLS_CLIENT = { "tls.enable": "true" };

/** What a Java client with a certificate is started with; its other settings come from no file. */
function withCertificate(name: string): Record<string, string> {
  return {
    ...TLS_CLIENT,
    "tls.config.file": "/none",
    "tls.test.mode.enable": "false",
    "tls.client.authServer": "true",
    "tls.client.trustCertPath": file("ca.crt"),
    "tls.client.certPath": file(`${name}.crt`),
    "tls.client.keyPath": file(`${name}.key`),
  };
}

for (const runtime of ["deno", "bun"] as const) {
  describe(`Java clients over TLS against Twinlog on ${runtime}`, { skip: java ? false : "no Java here" }, () => {
    const directory = java ? scratch(`tls-${runtime}`) : "";
    let cluster: LabCluster;
    before(async () => {
      cluster = new LabCluster(await ApacheLab.create("5.3.3", directory), directory);
    });
    after(destroyAll);

    async function play(namesrv: string, version: string, properties: Record<string, string>): Promise<void> {
      const program = await javaScenarios(version, directory, properties);
      const results = await playScenarios(program, { namesrv, directory, scenarios: SCENARIOS, limitMs: 120_000 });
      for (const scenario of SCENARIOS) {
        const result = results.get(scenario);
        assert.ok(result?.ok, `${scenario} on ${version}: ${JSON.stringify(result)}`);
      }
    }

    it("serves them beside plain ones", async () => {
      const { broker, namesrv } = await cluster.startPair({
        broker: runtime,
        namesrv: "embedded",
        name: "mixed",
        settings: SERVER,
      });
      await Promise.all([play(namesrv, "5.3.3", TLS_CLIENT), play(namesrv, "4.9.7", {})]);
      await broker.end("stop");
    });

    it("asks for certificates on both sides: all who have one are served, strangers are not", async () => {
      const { broker, namesrv } = await cluster.startPair({
        broker: runtime,
        namesrv: "embedded",
        name: "mutual",
        settings: NODES,
      });
      await play(namesrv, "5.3.3", withCertificate("slave"));
      const program = await javaScenarios("5.3.3", directory, withCertificate("stranger"));
      const refused = playScenarios(program, { namesrv, directory, scenarios: ["quickStart"], limitMs: 12_000 });
      await assert.rejects(refused);
      assert.match(broker.process.output(), /Closed a remoting connection.*tls/);
      await broker.end("stop");
    });
  });
}

describe("Twinlog as a client of an Apache NameServer over TLS", { skip: java ? false : "no Java here" }, () => {
  const directory = java ? scratch("tls-apache") : "";
  after(destroyAll);

  it("registers, and clients find it", async () => {
    const cluster = new LabCluster(await ApacheLab.create("5.3.3", directory), directory);
    const { broker, namesrv } = await cluster.startPair({
      broker: "bun",
      namesrv: "apache",
      name: "registers",
      settings: { ...SERVER, tlsServerMode: "enforcing" },
    });
    const program = await javaScenarios("5.3.3", directory, TLS_CLIENT);
    const results = await playScenarios(program, { namesrv, directory, scenarios: ["quickStart"], limitMs: 120_000 });
    assert.ok(results.get("quickStart")?.ok, JSON.stringify(results.get("quickStart")));
    await broker.end("stop");
  });
});
