// Our NameServer among Apache's processes: the same brokers register with Apache's NameServer and with ours on each
// runtime, so every answer can be compared; mqadmin works through it; routes end with their brokers; slaves find their
// master; a real producer and consumer find their topic.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { before, describe, it } from "node:test";
import { type ApacheBroker, ApacheLab, hasJava } from "./lab/apache.ts";
import { freeBrokerPort, type LabProcess, until } from "./lab/processes.ts";
import { remotingCall } from "./lab/remoting_call.ts";
import { scratch } from "./lab/scratch.ts";
import { RUNTIMES, startTwinlog } from "./lab/twinlog.ts";

const java = await hasJava();
const NIGHTLY = process.env.TWINLOG_NIGHTLY !== undefined;

const CODE = {
  getKv: 101,
  route: 105,
  cluster: 106,
  topics: 206,
  kvList: 219,
  topicsByCluster: 224,
  systemTopics: 304,
  dataVersion: 322,
  memberGroup: 901,
};

interface Namesrv {
  readonly kind: string;
  readonly address: string;
  readonly port: number;
  readonly process: LabProcess;
  /** Its KV file. */
  readonly kvPath: string;
}

async function startOurs(runtime: (typeof RUNTIMES)[number], directory: string): Promise<Namesrv> {
  const store = path.join(directory, `namesrv-${runtime}`);
  const conf = path.join(directory, `namesrv-${runtime}.conf`);
  // As an operator's file has it: Apache's keys, some without effect here.
  fs.writeFileSync(conf, "bindAddress=127.0.0.1\nserverWorkerThreads=8\nlistenPort=9876\n");
  const args = ["--role", "namesrv", "-c", conf];
  const node = await startTwinlog({ runtime, directory, store, port: await freeBrokerPort(), args });
  const kvPath = path.join(store, "namesrv/kvConfig.json");
  return { kind: runtime, address: `127.0.0.1:${node.port}`, port: node.port, process: node.process, kvPath };
}

async function startApaches(lab: ApacheLab): Promise<Namesrv> {
  const { process, address } = await lab.startNamesrv();
  const port = Number(address.split(":")[1]);
  return { kind: "apache", address, port, process, kvPath: path.join(lab.directory, `namesrv-${port}/kv.json`) };
}

/** Answer of a NameServer, its body read with keys that Java may not have quoted. */
async function ask(namesrv: Namesrv, code: number, ext: Record<string, string> = {}) {
  const answer = await remotingCall(namesrv.port, code, ext);
  const text = answer.body.toString("utf8").replaceAll(/([{,])(\d+):/g, '$1"$2":');
  return { code: answer.code, ext: answer.extFields, json: text === "" ? null : sorted(JSON.parse(text)) };
}

/** Lists in an order of their own: Java's come out of hash maps. What 4.9 does not know is left out where it says nothing. */
function sorted(value: unknown): unknown {
  if (Array.isArray(value)) {
    return value.map(sorted).sort((a, b) => JSON.stringify(a) < JSON.stringify(b) ? -1 : 1);
  }
  if (typeof value !== "object" || value === null) return value;
  const members = Object.entries(value).filter(([key, each]) => key !== "enableActingMaster" || each !== false);
  return Object.fromEntries(members.sort().map(([key, each]) => [key, sorted(each)]));
}

async function topicsOf(namesrv: Namesrv): Promise<string[]> {
  const { json } = await ask(namesrv, CODE.topics);
  return (json as { topicList: string[] }).topicList;
}

/** Every NameServer says what the first one, Apache's, says. */
async function assertSame(namesrvs: readonly Namesrv[], code: number, ext: Record<string, string> = {}) {
  const [first, ...others] = namesrvs;
  const expected = await ask(first!, code, ext);
  for (const other of others) {
    assert.deepEqual(await ask(other, code, ext), expected, `${code} ${JSON.stringify(ext)} by ${other.kind}`);
  }
  return expected;
}

/** Lines of mqadmin's output in an order of their own, without log lines and figures that change by themselves. */
function lines(output: string): string[] {
  return output.split("\n").map((line) => line.trimEnd()).filter((line) =>
    line !== "" && !/WARN|RocketMQLog/.test(line)
  )
    .sort();
}

for (const version of ["5.3.3", "4.9.7"]) {
  describe(`our NameServer, Apache ${version} brokers`, { skip: java ? false : "no Java here" }, () => {
    const directory = java ? scratch(`namesrv-${version}`) : "";
    let lab: ApacheLab;
    let namesrvs: Namesrv[];
    let ours: Namesrv[];
    let master: ApacheBroker;
    let slave: ApacheBroker;

    const startBroker = (
      name: string,
      role: "ASYNC_MASTER" | "SLAVE",
      settings: Record<string, string | number> = {},
    ) =>
      lab.startBroker({
        name,
        role,
        namesrv: namesrvs.map(({ address }) => address).join(";"),
        store: path.join(directory, `store-${name}-${role}`),
        settings: { mappedFileSizeCommitLog: 16 * 1024 * 1024, ...settings },
      });
    const onAll = async (code: number, ext: Record<string, string>, holds: (json: unknown) => boolean) => {
      for (const namesrv of namesrvs) {
        await until(`${namesrv.kind} to answer ${code} as wanted`, 60_000, async () => {
          const { json } = await ask(namesrv, code, ext);
          return json !== null && holds(json);
        });
      }
    };
    const hasId = (name: string, id: string) => (json: unknown) =>
      (json as { brokerAddrTable: Record<string, { brokerAddrs: Record<string, string> }> })
        .brokerAddrTable[name]?.brokerAddrs[id] !== undefined;

    before(async () => {
      lab = await ApacheLab.create(version, directory);
      ours = await Promise.all(RUNTIMES.map((runtime) => startOurs(runtime, directory)));
      namesrvs = [await startApaches(lab), ...ours];
      master = await startBroker("broker-a", "ASYNC_MASTER");
      await onAll(CODE.cluster, {}, hasId("broker-a", "0"));
      slave = await startBroker("broker-a", "SLAVE");
      await onAll(CODE.cluster, {}, hasId("broker-a", "1"));
      await lab.mqadmin("updateTopic", "-n", ours[0]!.address, "-b", master.address, "-t", "Lab", "-r", "4", "-w", "4");
      await onAll(CODE.route, { topic: "Lab" }, () => true);
    }, { timeout: 300_000 });

    it("answers every question as Apache's does", { timeout: 60_000 }, async () => {
      await assertSame(namesrvs, CODE.cluster);
      await assertSame(namesrvs, CODE.topics);
      const route = await assertSame(namesrvs, CODE.route, { topic: "Lab" });
      assert.equal(route.code, 0);
      await assertSame(namesrvs, CODE.route, { topic: "Lab", acceptStandardJsonOnly: "true" });
      await assertSame(namesrvs, CODE.route, { topic: "TBW102" });
      assert.equal((await assertSame(namesrvs, CODE.route, { topic: "Nobody" })).code, 17);
      await assertSame(namesrvs, CODE.topicsByCluster, { cluster: "LabCluster" });
      await assertSame(namesrvs, CODE.topicsByCluster, { cluster: "Nobody" });
      const { json } = await assertSame(namesrvs, CODE.systemTopics) as { json: { topicList: string[] } };
      assert.deepEqual(json.topicList, ["LabCluster", "broker-a"]);
      for (const code of [311, 312, 313]) await assertSame(namesrvs, code);
      assert.equal((await assertSame(namesrvs, CODE.getKv, { namespace: "N", key: "K" })).code, 22);
      assert.equal((await assertSame(namesrvs, CODE.kvList, { namespace: "N" })).code, 22);
      // 4.9's leaves an unknown code unanswered, and knows neither zones nor groups.
      if (version === "5.3.3") {
        assert.equal((await assertSame(namesrvs, 9999)).code, 3);
        for (const { address: brokerAddr } of [master, slave]) {
          const ext = { clusterName: "LabCluster", brokerName: "broker-a", brokerAddr, brokerId: "0" };
          await assertSame(namesrvs, CODE.dataVersion, ext);
        }
        const ext = { clusterName: "LabCluster", brokerName: "broker-a" };
        const { json } = await assertSame(namesrvs, CODE.memberGroup, ext);
        assert.deepEqual(
          Object.keys((json as { brokerMemberGroup: { brokerAddrs: object } }).brokerMemberGroup.brokerAddrs),
          [
            "0",
            "1",
          ],
        );
        await assertSame(namesrvs, CODE.memberGroup, { clusterName: "LabCluster", brokerName: "nobody" });
        await assertSame(namesrvs, CODE.route, { topic: "Lab", __ZONE_MODE: "true", __ZONE_NAME: "z" });
      }
    });

    it("serves mqadmin as Apache's does", { timeout: 300_000 }, async () => {
      const [apaches, one] = [namesrvs[0]!, ours[1]!];
      for (
        const args of [["topicRoute", "-t", "Lab"], ["topicList"], ["topicList", "-c"], [
          "topicClusterList",
          "-t",
          "Lab",
        ]]
      ) {
        const [expected, seen] = await Promise.all(
          [apaches, one].map(({ address }) => lab.mqadmin(args[0]!, "-n", address, ...args.slice(1))),
        );
        assert.deepEqual(lines(seen!), lines(expected!), args.join(" "));
      }
      const clusterList = await lab.mqadmin("clusterList", "-n", one.address);
      assert.match(clusterList, new RegExp(`LabCluster +broker-a +0 +${master.address} +V`));
      assert.match(clusterList, new RegExp(`LabCluster +broker-a +1 +${slave.address} +V`));
    });

    it("takes write permissions away and gives them back", { timeout: 180_000 }, async () => {
      const all = namesrvs.map(({ address }) => address).join(";");
      const wiped = await lab.mqadmin("wipeWritePerm", "-n", all, "-b", "broker-a");
      const counts = [...wiped.matchAll(/wipe write perm of broker\[broker-a\] in name server\[(.*)\] OK, (\d+)/g)];
      assert.equal(counts.length, 4, wiped);
      assert.deepEqual(new Set(counts.map((match) => match[2])).size, 1, wiped);
      const { json } = await assertSame(namesrvs, CODE.route, { topic: "Lab" });
      assert.equal((json as { queueDatas: { perm: number }[] }).queueDatas[0]!.perm, 4);
      const added = await lab.mqadmin("addWritePerm", "-n", all, "-b", "broker-a");
      assert.equal([...added.matchAll(/OK, (\d+)/g)].length, 4, added);
      const again = await assertSame(namesrvs, CODE.route, { topic: "Lab" });
      assert.equal((again.json as { queueDatas: { perm: number }[] }).queueDatas[0]!.perm, 6);
    });

    it("keeps KV configuration in Apache's format, over a restart too", { timeout: 180_000 }, async () => {
      const all = namesrvs.map(({ address }) => address).join(";");
      const text = (namesrv: Namesrv) => sorted(JSON.parse(fs.readFileSync(namesrv.kvPath, "utf8")));
      await lab.mqadmin("updateKvConfig", "-n", all, "-s", "ORDER_TOPIC_CONFIG", "-k", "Lab", "-v", "broker-a:4");
      await lab.mqadmin("updateKvConfig", "-n", all, "-s", "Space", "-k", "Key é", "-v", 'value "of" it');
      await lab.mqadmin("updateKvConfig", "-n", all, "-s", "Space", "-k", "Other", "-v", "x");
      await lab.mqadmin("deleteKvConfig", "-n", all, "-s", "Space", "-k", "Other");
      await assertSame(namesrvs, CODE.kvList, { namespace: "Space" });
      await assertSame(namesrvs, CODE.getKv, { namespace: "Space", key: "Key é" });
      assert.equal((await assertSame(namesrvs, CODE.getKv, { namespace: "Space", key: "Other" })).code, 22);
      for (const namesrv of ours) assert.deepEqual(text(namesrv), text(namesrvs[0]!), namesrv.kind);

      // Apache's file, read by ours on a runtime of its own.
      const store = path.join(directory, "namesrv-copy");
      const args = ["--role", "namesrv", "--bind-address", "127.0.0.1", "--kv-config-path", namesrvs[0]!.kvPath];
      const copy = await startTwinlog({ runtime: "bun", directory, store, args });
      const reader = { ...ours[0]!, kind: "a reader of Apache's file", port: copy.port };
      await assertSame([namesrvs[0]!, reader], CODE.kvList, { namespace: "Space" });
      assert.equal(await copy.process.stop(), 0);
    });

    it("shows its configuration and takes changes", { timeout: 180_000 }, async () => {
      const one = ours[0]!;
      const read = async ({ address }: Namesrv) => {
        const output = await lab.mqadmin("getNamesrvConfig", "-n", address);
        return new Map([...output.matchAll(/^(\S+)\s+=\s+(.*?)\s*$/gm)].map((match) => [match[1]!, match[2]!]));
      };
      const [theirs, seen] = [await read(namesrvs[0]!), await read(one)];
      const shared = [...seen].filter(([key]) =>
        theirs.has(key) && !/^(listenPort|kvConfigPath|configStorePath)$/.test(key)
      );
      assert.ok(shared.length >= (version === "5.3.3" ? 12 : 3), `shared keys: ${shared.map(([key]) => key)}`);
      for (const [key, value] of shared) assert.equal(value, theirs.get(key), key);

      await lab.mqadmin("updateNamesrvConfig", "-n", one.address, "-k", "orderMessageEnable", "-v", "true");
      assert.equal((await read(one)).get("orderMessageEnable"), "true");
      const conf = fs.readFileSync(path.join(directory, `namesrv-${one.kind}.conf`), "utf8");
      assert.match(conf, /^orderMessageEnable=true$/m);
      assert.match(conf, /^serverWorkerThreads=8$/m);
      const { json } = await ask(one, CODE.route, { topic: "Lab" });
      assert.equal((json as { orderTopicConf: string }).orderTopicConf, "broker-a:4");
      await lab.mqadmin("updateNamesrvConfig", "-n", one.address, "-k", "orderMessageEnable", "-v", "false");
      await assertSame(namesrvs, CODE.route, { topic: "Lab" });
      const refused = await lab.mqadmin("updateNamesrvConfig", "-n", one.address, "-k", "kvConfigPath", "-v", "/x");
      assert.match(refused, /CODE: 16 .*black list/);
    });

    it("lets a real producer and consumer find their topic", { timeout: 180_000 }, async () => {
      for (const { kind, address } of ours) {
        const out = path.join(directory, `acks-${kind}`);
        const options = { namesrv: address, topic: "Lab", out, shape: "small", prefix: kind } as const;
        assert.equal(await lab.startProducer({ ...options, totalBytes: 200_000 }).exited(), 0);
        const sent = fs.readFileSync(out, "utf8").split("\n").filter((line) => line.startsWith("SEND_OK"));
        assert.ok(sent.length > 50, `${sent.length} messages`);
        const got = new Set((await lab.consume(address, "Lab")).map((line) => line.split(" ")[0]));
        for (const line of sent) assert.ok(got.has(line.split(" ")[1]!), line);
      }
    });

    it("tells a slave its master", { timeout: 120_000 }, async () => {
      // The slave knows no HA address but from the NameServers; one of ours alone is enough.
      const one = ours[2]!;
      const role = { namesrvAddr: one.address };
      const other = await startBroker("broker-c", "ASYNC_MASTER", role);
      await until(
        "broker-c to register",
        60_000,
        async () => hasId("broker-c", "0")((await ask(one, CODE.cluster)).json),
      );
      const follower = await startBroker("broker-c", "SLAVE", role);
      await lab.mqadmin("updateTopic", "-n", one.address, "-b", other.address, "-t", "OfC", "-r", "2", "-w", "2");
      await until(
        "a route of the topic",
        30_000,
        async () => (await ask(one, CODE.route, { topic: "OfC" })).code === 0,
      );
      const out = path.join(directory, "acks-c");
      await lab.startProducer({
        namesrv: one.address,
        topic: "OfC",
        out,
        totalBytes: 50_000,
        shape: "small",
        prefix: "c",
      })
        .exited();
      const end = async ({ address }: ApacheBroker) => {
        const status = await lab.mqadmin("brokerStatus", "-n", one.address, "-b", address);
        return Number(status.match(/commitLogMaxOffset\s*:\s*(\d+)/)?.[1]);
      };
      await until("the slave to have the log", 60_000, async () => {
        const [wanted, seen] = [await end(other), await end(follower)];
        return wanted > 50_000 && seen === wanted;
      });
      await follower.process.stop();
      await until(
        "the stopped slave to be gone",
        10_000,
        async () => !hasId("broker-c", "1")((await ask(one, CODE.cluster)).json),
      );
      await other.process.destroy();
      await until("its route to end", 10_000, async () => (await ask(one, CODE.route, { topic: "OfC" })).code === 17);
    });

    it("ends a route with its broker: killed, at once", { timeout: 120_000 }, async () => {
      const victim = await startBroker("broker-k", "ASYNC_MASTER");
      await onAll(CODE.cluster, {}, hasId("broker-k", "0"));
      await victim.process.destroy();
      const killedAt = performance.now();
      for (const namesrv of ours) {
        await until(
          `${namesrv.kind} to drop it`,
          5000,
          async () => !hasId("broker-k", "0")((await ask(namesrv, CODE.cluster)).json),
        );
      }
      assert.ok(performance.now() - killedAt < 5000);
      await until(
        "Apache's to drop it",
        5000,
        async () => !hasId("broker-k", "0")((await ask(namesrvs[0]!, CODE.cluster)).json),
      );
      await assertSame(namesrvs, CODE.cluster);
      for (const namesrv of ours) assert.ok(!(await topicsOf(namesrv)).includes("broker-k"));
    });

    it("keeps of a group what is left, and takes its master back", { timeout: 180_000 }, async () => {
      await master.process.destroy();
      const left = (json: unknown) => !hasId("broker-a", "0")(json) && hasId("broker-a", "1")(json);
      await onAll(CODE.cluster, {}, left);
      await assertSame(namesrvs, CODE.cluster);
      await assertSame(namesrvs, CODE.topics);
      await assertSame(namesrvs, CODE.route, { topic: "Lab" });
      master = await startBroker("broker-a", "ASYNC_MASTER");
      await onAll(CODE.cluster, {}, hasId("broker-a", "0"));
      await assertSame(namesrvs, CODE.cluster);
      await assertSame(namesrvs, CODE.route, { topic: "Lab" });
    });

    if (version === "5.3.3") {
      it("ends a route with its broker: frozen, after the time it named; a slave acts for it", {
        timeout: 240_000,
      }, async () => {
        const all = namesrvs.map(({ address }) => address).join(";");
        for (const key of ["supportActingMaster", "notifyMinBrokerIdChanged"]) {
          await lab.mqadmin("updateNamesrvConfig", "-n", all, "-k", key, "-v", "true");
        }
        // A group with acting masters names 10 s for its silence and beats each second.
        const acting = { enableSlaveActingMaster: "true" };
        const victim = await startBroker("broker-f", "ASYNC_MASTER", acting);
        await onAll(CODE.cluster, {}, hasId("broker-f", "0"));
        const heir = await startBroker("broker-f", "SLAVE", acting);
        await onAll(CODE.cluster, {}, hasId("broker-f", "1"));
        await assertFrozenGone("broker-f", victim, 10_000, 20_000);
        const { json } = await assertSame(namesrvs, CODE.route, { topic: "broker-f" });
        const route = json as { brokerDatas: { brokerAddrs: object }[]; queueDatas: { perm: number }[] };
        assert.deepEqual(route.brokerDatas[0]!.brokerAddrs, { 0: heir.address });
        assert.equal(route.queueDatas[0]!.perm & 2, 0);
        await assertSame(namesrvs, CODE.cluster);
        // It is back, told so by both kinds of NameServers, and its slave a slave again.
        await startBroker("broker-f", "ASYNC_MASTER", acting);
        await onAll(CODE.cluster, {}, hasId("broker-f", "0"));
        await assertSame(namesrvs, CODE.route, { topic: "broker-f" });
        await heir.process.stop();
      });
    }

    it("ends a route with its broker: frozen, after 120 s", {
      timeout: 400_000,
      skip: NIGHTLY ? false : "nightly",
    }, async () => {
      const victim = await startBroker("broker-n", "ASYNC_MASTER", { registerNameServerPeriod: 10_000 });
      await onAll(CODE.cluster, {}, hasId("broker-n", "0"));
      await assertFrozenGone("broker-n", victim, 110_000, 135_000);
    });

    /** From SIGSTOP on it takes each of ours so long; Apache's does the same, judged by the same bounds. */
    async function assertFrozenGone(name: string, victim: ApacheBroker, afterMs: number, beforeMs: number) {
      victim.process.kill("SIGSTOP");
      const frozenAt = performance.now();
      await Promise.all(namesrvs.map(async (namesrv) => {
        await until(
          `${namesrv.kind} to drop ${name}`,
          beforeMs,
          async () => !hasId(name, "0")((await ask(namesrv, CODE.cluster)).json),
        );
        const took = performance.now() - frozenAt;
        assert.ok(took >= afterMs - 2000, `${namesrv.kind} dropped it after ${took} ms`);
      }));
      await victim.process.destroy();
    }

    it("stops cleanly", { timeout: 60_000 }, async () => {
      for (const namesrv of ours) assert.equal(await namesrv.process.stop(), 0, namesrv.kind);
    });
  });
}
