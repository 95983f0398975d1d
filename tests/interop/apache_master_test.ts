// (a) An unmodified Apache master feeds Twinlog slaves on all three runtimes at once: live while the real Java client
// writes messages of every shape, joining late, on an empty master, while its first file rolls, and after it expired its
// first files. Our files are the master's bytes and our consume queues are the master's entries.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { type ApacheBroker, ApacheLab, hasJava } from "./lab/apache.ts";
import { assertSameLog, assertSameQueues } from "./lab/compare.ts";
import { run, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { cliCommand, type RuntimeName, RUNTIMES, startTwinlog, type TwinlogNode } from "./lab/twinlog.ts";

const MIB = 1024 * 1024;
const FILE = 48 * MIB;
const java = await hasJava();

/** The master's log range, as its own remoting port tells it. */
async function logRange(lab: ApacheLab, namesrv: string, broker: ApacheBroker): Promise<{ min: number; max: number }> {
  const text = await lab.mqadmin("brokerStatus", "-n", namesrv, "-b", broker.address);
  const figure = (key: string) => Number(text.match(new RegExp(`${key}\\s*:\\s*(\\d+)`))?.[1] ?? Number.NaN);
  return { min: figure("commitLogMinOffset"), max: figure("commitLogMaxOffset") };
}

for (const version of ["5.3.3", "4.9.7"]) {
  describe(`Apache ${version} master, Twinlog slaves`, { skip: java ? false : "no Java here" }, () => {
    const directory = java ? scratch(`a-${version}`) : "";
    let lab: ApacheLab;
    let namesrv: string;

    const slave = (
      runtime: RuntimeName,
      name: string,
      master: ApacheBroker,
      fileSize = FILE,
      ...args: string[]
    ): Promise<TwinlogNode> =>
      startTwinlog({
        runtime,
        directory,
        store: path.join(directory, name),
        args: [
          "--role",
          "slave",
          "--master",
          `127.0.0.1:${master.haPort}`,
          "--mapped-file-size-commit-log",
          String(fileSize),
          ...args,
        ],
      });

    before(async () => {
      lab = await ApacheLab.create(version, directory);
      namesrv = (await lab.startNamesrv()).address;
    });

    describe("with 200 MB of messages of every shape", () => {
      let master: ApacheBroker;
      const slaves: TwinlogNode[] = [];

      before(async () => {
        master = await lab.startBroker({
          name: "b-big",
          role: "ASYNC_MASTER",
          namesrv,
          store: path.join(directory, "master"),
          settings: { mappedFileSizeCommitLog: FILE },
        });
        await lab.mqadmin("updateTopic", "-n", namesrv, "-b", master.address, "-t", "LabTopic", "-r", "4", "-w", "4");
      });
      after(async () => {
        for (const node of slaves) await node.process.destroy();
        await master.process.destroy();
      });

      it("stays a byte-identical twin live, on all three runtimes at once, and for one that joins late", {
        timeout: 400_000,
      }, async () => {
        // On an empty master: the three join before the first message.
        for (const runtime of RUNTIMES) slaves.push(await slave(runtime, `slave-${runtime}`, master));
        const acks = path.join(directory, "acks");
        const producer = lab.startProducer({
          namesrv,
          topic: "LabTopic",
          out: acks,
          totalBytes: 205_000_000,
          shape: "mixed",
          prefix: "a",
        });
        await until(
          "the log to pass its second file",
          300_000,
          async () => (await slaves[0]!.ha()).maxOffset > FILE * 1.5,
        );
        // Joins late, copies from the first file while more is being written.
        slaves.push(await slave("bun", "slave-late", master));
        await producer.exited();
        const sent = fs.readFileSync(acks, "utf8").split("\n").filter((line) => line.startsWith("SEND_OK"));
        assert.ok(sent.length > 1000, `only ${sent.length} messages were acknowledged:\n${producer.output()}`);
        const { max } = await logRange(lab, namesrv, master);
        assert.ok(max > 200_000_000, `the master's log ends at ${max}`);
        for (const node of slaves) {
          await node.waitForMax(max);
          assertSameLog(master.store, node.store, 0, max, FILE);
        }
        for (const node of slaves) {
          await until("dispatch to finish", 60_000, async () => (await node.ha()).dispatchBehindBytes === 0);
          assertSameQueues(master.store, node.store, 0, max);
          // The product's own eyes, on the running twins: every record and entry, then byte against byte.
          const [command, leading] = cliCommand("node");
          await run(command, [...leading, "verify", node.store, "--against", master.store]);
        }
      });

      it("tells mqadmin of every slave in sync", {
        skip: version.startsWith("4.") ? "4.9 has no haStatus" : false,
        timeout: 60_000,
      }, async () => {
        const status = await lab.mqadmin("haStatus", "-n", namesrv, "-b", master.address);
        assert.equal(status.match(/\sOK\s/g)?.length, 4, status);
      });

      it("takes the master's death and return without a hand", { timeout: 120_000 }, async () => {
        const before = await logRange(lab, namesrv, master);
        await master.process.stop();
        master = await lab.startBroker({
          name: "b-big",
          role: "ASYNC_MASTER",
          namesrv,
          store: master.store,
          port: master.port,
          settings: { mappedFileSizeCommitLog: FILE },
        });
        const producer = lab.startProducer({
          namesrv,
          topic: "LabTopic",
          out: path.join(directory, "acks2"),
          totalBytes: 5_000_000,
          shape: "small",
          prefix: "again",
        });
        await producer.exited();
        const { max } = await logRange(lab, namesrv, master);
        assert.ok(max > before.max);
        for (const node of slaves) {
          await node.waitForMax(max);
          assertSameLog(master.store, node.store, before.max - 1000, max, FILE);
        }
      });

      it(
        "gives a late joiner the history that is left once the first files have expired",
        { timeout: 180_000 },
        async () => {
          // Age the first two files beyond any reserve, then let the broker's own cleaning take them.
          const log = path.join(master.store, "commitlog");
          const old = new Date(Date.now() - 100 * 3600 * 1000);
          for (const name of fs.readdirSync(log).sort().slice(0, 2)) fs.utimesSync(path.join(log, name), old, old);
          await master.process.stop();
          master = await lab.startBroker({
            name: "b-big",
            role: "ASYNC_MASTER",
            namesrv,
            store: master.store,
            port: master.port,
            settings: {
              mappedFileSizeCommitLog: FILE,
              fileReservedTime: 72,
              deleteWhen: Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, "0")).join(";"),
              cleanResourceInterval: 1000,
            },
          });
          await until(
            "the first files to expire",
            120_000,
            () => fs.readdirSync(log).sort()[0] === String(2 * FILE).padStart(20, "0"),
          );
          const { min, max } = await logRange(lab, namesrv, master);
          assert.equal(min, 2 * FILE);
          const node = await slave("deno", "slave-expired", master);
          slaves.push(node);
          await node.waitForMax(max);
          assert.equal((await node.ha()).minOffset, min);
          assertSameLog(master.store, node.store, min, max, FILE);
          await until("dispatch to finish", 60_000, async () => (await node.ha()).dispatchBehindBytes === 0);
          assertSameQueues(master.store, node.store, min, max);
        },
      );
    });

    it("joins while the master rolls its first file", { timeout: 120_000 }, async () => {
      const small = 4 * MIB;
      const master = await lab.startBroker({
        name: "b-roll",
        role: "ASYNC_MASTER",
        namesrv,
        store: path.join(directory, "master-roll"),
        settings: { mappedFileSizeCommitLog: small, maxMessageSize: 1 * MIB },
      });
      await lab.mqadmin("updateTopic", "-n", namesrv, "-b", master.address, "-t", "RollTopic", "-r", "2", "-w", "2");
      const producer = lab.startProducer({
        namesrv,
        topic: "RollTopic",
        out: path.join(directory, "acks-roll"),
        totalBytes: 40_000_000,
        shape: "until",
        prefix: "roll",
        threads: 1,
      });
      const log = path.join(master.store, "commitlog");
      await until("a message", 60_000, () => fs.existsSync(log) && fs.readdirSync(log).length > 0);
      const slaves = await Promise.all(RUNTIMES.map((runtime) => slave(runtime, `roll-${runtime}`, master, small)));
      await until("three files", 60_000, () => fs.readdirSync(log).length > 3);
      fs.writeFileSync(path.join(directory, "acks-roll.stop"), "");
      await producer.exited();
      const { max } = await logRange(lab, namesrv, master);
      for (const node of slaves) {
        await node.waitForMax(max);
        assertSameLog(master.store, node.store, 0, max, small);
        await node.process.destroy();
      }
      await master.process.destroy();
    });
  });
}
