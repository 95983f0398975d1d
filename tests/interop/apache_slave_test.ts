// (b) A Twinlog master, on a store an Apache broker wrote plus puts through its own admin API, feeds an unmodified Apache
// slave: the whole history from the first file, then live. (c) It also takes over: an Apache master is killed under load
// with a Twinlog slave in sync, the slave is promoted, holds every acknowledged message, and an Apache slave follows it.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { before, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import { assertSameLog, assertSameQueues } from "./lab/compare.ts";
import { pause, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { RUNTIMES, startTwinlog, type TwinlogNode } from "./lab/twinlog.ts";

const FILE = 16 * 1024 * 1024;
const java = await hasJava();

/** Bytes of an Apache slave's log that agree with the master's up to `max`; true once all do. */
function holds(store: string, max: number): boolean {
  const name = String((max - 1) - ((max - 1) % FILE)).padStart(20, "0");
  return fs.existsSync(path.join(store, "commitlog", name));
}

async function waitForApacheSlave(lab: ApacheLab, namesrv: string, address: string, max: number): Promise<void> {
  await until(`the Apache slave to reach ${max}`, 90_000, async () => {
    const text = await lab.mqadmin("brokerStatus", "-n", namesrv, "-b", address).catch(() => "");
    return Number(text.match(/commitLogMaxOffset\s*:\s*(\d+)/)?.[1]) >= max;
  });
}

async function send(
  node: TwinlogNode,
  topic: string,
  body: string,
  extra: Record<string, unknown> = {},
): Promise<{ status: string }> {
  return await node.admin("POST", `/topics/${topic}/messages`, { body, ...extra });
}

for (const version of ["5.3.3", "4.9.7"]) {
  describe(`Twinlog master, Apache ${version} slave`, { skip: java ? false : "no Java here" }, () => {
    const directory = java ? scratch(`b-${version}`) : "";
    let lab: ApacheLab;
    let namesrv: string;

    before(async () => {
      lab = await ApacheLab.create(version, directory);
      namesrv = (await lab.startNamesrv()).address;
    });

    for (const runtime of version === "5.3.3" ? RUNTIMES : (["deno"] as const)) {
      it(`gives an empty Apache slave every file from the first one, on ${runtime}`, { timeout: 300_000 }, async () => {
        const name = `b-${runtime}`;
        const store = path.join(directory, `master-${runtime}`);
        const writer = await lab.startBroker({
          name,
          role: "ASYNC_MASTER",
          namesrv,
          store,
          settings: { mappedFileSizeCommitLog: FILE },
        });
        await lab.mqadmin("updateTopic", "-n", namesrv, "-b", writer.address, "-t", "LabTopic", "-r", "4", "-w", "4");
        const acks = path.join(directory, `acks-${runtime}`);
        await lab.startProducer({
          namesrv,
          topic: "LabTopic",
          out: acks,
          totalBytes: 40_000_000,
          shape: "mixed",
          prefix: runtime,
        }).exited();
        await writer.process.stop();

        const master = await startTwinlog({
          runtime,
          directory,
          store,
          args: [
            "--role",
            "master",
            "--name",
            name,
            "--broker-cluster-name",
            "LabCluster",
            "--namesrv-addr",
            namesrv,
            "--broker-ip1",
            "127.0.0.1",
            "--broker-ip2",
            "127.0.0.1",
            "--mapped-file-size-commit-log",
            String(FILE),
          ],
        });
        const slave = await lab.startBroker({
          name,
          role: "SLAVE",
          namesrv,
          store: path.join(directory, `slave-${runtime}`),
          settings: { mappedFileSizeCommitLog: FILE },
        });
        for (let i = 0; i < 200; i++) {
          assert.equal(
            (await send(master, "LabTopic", `ours ${i}`, { keys: [`ours-${i}`], tags: "Ours" })).status,
            "PUT_OK",
          );
        }
        const { maxOffset } = await master.ha();
        assert.ok(maxOffset > 2 * FILE, `only ${maxOffset} bytes`);
        await waitForApacheSlave(lab, namesrv, slave.address, maxOffset);
        assert.ok(holds(slave.store, maxOffset));
        assertSameLog(store, slave.store, 0, maxOffset, FILE);
        await pause(1000);
        assertSameQueues(store, slave.store, 0, maxOffset);
        const status = await lab.mqadmin("brokerStatus", "-n", namesrv, "-b", master.addresses.remoting);
        assert.equal(Number(status.match(/commitLogMaxOffset\s*:\s*(\d+)/)?.[1]), maxOffset, status);
        if (version === "5.3.3") {
          const ha = await lab.mqadmin("haStatus", "-n", namesrv, "-b", master.addresses.remoting);
          assert.match(ha, new RegExp(String(maxOffset)), ha);
        }
        // (e) What both wrote is read back by a real consumer from a real broker on our store, after a SIGKILL of ours.
        await slave.process.destroy();
        await master.process.destroy();
        const reader = await lab.startBroker({
          name,
          role: "ASYNC_MASTER",
          namesrv,
          store,
          settings: { mappedFileSizeCommitLog: FILE },
        });
        const wanted = new Set(
          fs.readFileSync(acks, "utf8").split("\n").filter((line) => line.startsWith("SEND_OK")).map((line) =>
            line.split(" ")[1]!
          ),
        );
        const consumed = await lab.consume(namesrv, "LabTopic");
        const keys = new Set(consumed.map((line) => line.split(" ")[0]!));
        for (const key of wanted) assert.ok(keys.has(key), `${key} is lost`);
        for (let i = 0; i < 200; i++) assert.ok(keys.has(`ours-${i}`), `ours-${i} is lost`);
        await reader.process.destroy();
      });
    }

    it(
      "is promoted after the Apache master's SIGKILL and holds every acknowledged message",
      { timeout: 300_000 },
      async () => {
        const name = "b-failover";
        const master = await lab.startBroker({
          name,
          role: "SYNC_MASTER",
          namesrv,
          store: path.join(directory, "killed"),
          settings: { mappedFileSizeCommitLog: FILE, inSyncReplicas: 2, totalReplicas: 2 },
        });
        await lab.mqadmin("updateTopic", "-n", namesrv, "-b", master.address, "-t", "FailTopic", "-r", "4", "-w", "4");
        const slave = await startTwinlog({
          runtime: "bun",
          directory,
          store: path.join(directory, "promoted"),
          args: [
            "--role",
            "slave",
            "--name",
            name,
            "--broker-cluster-name",
            "LabCluster",
            "--namesrv-addr",
            namesrv,
            "--broker-ip1",
            "127.0.0.1",
            "--broker-ip2",
            "127.0.0.1",
            "--master",
            `127.0.0.1:${master.haPort}`,
            "--mapped-file-size-commit-log",
            String(FILE),
          ],
        });
        await until("the slave to follow", 30_000, async () => (await slave.ha()).master?.state === "TRANSFER");
        const acks = path.join(directory, "acks-fail");
        const producer = lab.startProducer({
          namesrv,
          topic: "FailTopic",
          out: acks,
          totalBytes: 1e12,
          shape: "until",
          prefix: "f",
        });
        await until(
          "2,000 acknowledged messages",
          120_000,
          () => fs.existsSync(acks) && fs.readFileSync(acks, "utf8").split("SEND_OK").length > 2000,
        );
        await master.process.destroy();
        await pause(500);
        fs.writeFileSync(`${acks}.stop`, "");
        await producer.exited();
        await slave.admin("PUT", "/role", { role: "ASYNC_MASTER", force: true });
        const promoted = await slave.ha();
        assert.equal(promoted.brokerRole, "ASYNC_MASTER");
        assert.equal(promoted.brokerId, 0);
        // An Apache slave attaches to the promoted node and follows what it takes from now on.
        const follower = await lab.startBroker({
          name,
          role: "SLAVE",
          namesrv,
          store: path.join(directory, "follower"),
          settings: { mappedFileSizeCommitLog: FILE },
        });
        for (let i = 0; i < 50; i++) {
          assert.equal((await send(slave, "FailTopic", `after ${i}`)).status, "PUT_OK");
        }
        const { maxOffset } = await slave.ha();
        await waitForApacheSlave(lab, namesrv, follower.address, maxOffset);
        assertSameLog(slave.store, follower.store, 0, maxOffset, FILE);
        // Read back by the Java consumer from an Apache broker on the promoted store.
        await follower.process.destroy();
        assert.equal(await slave.process.stop(), 0);
        const reader = await lab.startBroker({
          name,
          role: "ASYNC_MASTER",
          namesrv,
          store: slave.store,
          settings: { mappedFileSizeCommitLog: FILE },
        });
        const keys = new Map(
          (await lab.consume(namesrv, "FailTopic")).map((
            line,
          ) => [line.split(" ")[0]!, line.split(" ").slice(1, 3).join(" ")]),
        );
        const wanted = fs.readFileSync(acks, "utf8").split("\n").filter((line) => line.startsWith("SEND_OK"));
        for (const line of wanted) {
          const [, key, crc, size] = line.split(" ");
          assert.equal(keys.get(key!), `${crc} ${size}`, `${key} was acknowledged`);
        }
        await reader.process.destroy();
      },
    );
  });
}
