// (e) The reverse of what apache_slave_test.ts reads back: stores that Apache brokers wrote, after a clean stop and after a
// SIGKILL, are opened by Twinlog, verified, read by queue offset, key, id and time, written further and handed back.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { before, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import { run, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";
import { cliCommand, RUNTIMES, startTwinlog } from "./lab/twinlog.ts";

const FILE = 16 * 1024 * 1024;
const java = await hasJava();

for (const [version, smoke] of [["5.3.3", false], ["4.9.7", false], ["5.5.0", true]] as const) {
  describe(`stores of Apache ${version}`, { skip: java ? false : "no Java here" }, () => {
    const directory = java ? scratch(`e-${version}`) : "";
    let lab: ApacheLab;
    let namesrv: string;
    before(async () => {
      lab = await ApacheLab.create(version, directory);
      namesrv = (await lab.startNamesrv()).address;
    });

    for (const end of smoke ? (["SIGKILL"] as const) : (["a clean stop", "SIGKILL"] as const)) {
      it(`opens, reads, extends and hands back a store after ${end}`, { timeout: 240_000 }, async () => {
        const name = end === "SIGKILL" ? "b-killed" : "b-stopped";
        const store = path.join(directory, name);
        const settings = { mappedFileSizeCommitLog: FILE };
        const writer = await lab.startBroker({ name, role: "ASYNC_MASTER", namesrv, store, settings });
        const topic = `Topic-${name}`;
        await lab.mqadmin("updateTopic", "-n", namesrv, "-b", writer.address, "-t", topic, "-r", "4", "-w", "4");
        const acks = path.join(directory, `acks-${name}`);
        await lab.startProducer({ namesrv, topic, out: acks, totalBytes: 40_000_000, shape: "mixed", prefix: "e" })
          .exited();
        if (end === "SIGKILL") await writer.process.destroy();
        else await writer.process.stop();
        const sent = fs.readFileSync(acks, "utf8").split("\n").filter((line) => line.startsWith("SEND_OK")).map((
          line,
        ) => line.split(" "));
        assert.ok(sent.length > 100);

        // Each runtime takes it over in turn, the first killed, the others stopped cleanly.
        for (const runtime of RUNTIMES) {
          const [command, leading] = cliCommand(runtime);
          const report = await run(command, [...leading, "verify", store]);
          assert.match(report, /ok/i, report);
          const node = await startTwinlog({
            runtime,
            directory,
            store,
            args: ["--role", "master", "--name", name, "--mapped-file-size-commit-log", String(FILE)],
          });
          for (const [, key, , size] of sent.slice(0, 5).concat(sent.slice(-5))) {
            // After a crash the index is built anew, in the background.
            const route = `/topics/${topic}/messages?key=${encodeURIComponent(key!)}`;
            const found = await until(`the index to hold ${key}`, 30_000, async () => {
              const answer = await node.admin("GET", route);
              return answer.messages.length > 0 && answer;
            });
            assert.equal(found.messages.length, 1, `${key}: ${JSON.stringify(found).slice(0, 300)}`);
            assert.equal(found.messages[0].bodySize ?? found.messages[0].body.length, Number(size));
          }
          const answer = await node.admin("POST", `/topics/${topic}/messages`, {
            body: `from ${runtime}`,
            keys: [`ours-${runtime}`],
          });
          assert.equal(answer.status, "PUT_OK");
          if (runtime === "deno") await node.process.destroy();
          else assert.equal(await node.process.stop(), 0);
        }
        const reader = await lab.startBroker({ name, role: "ASYNC_MASTER", namesrv, store, settings });
        const consumed = new Map(
          (await lab.consume(namesrv, topic)).map((line) => [line.split(" ")[0]!, line.split(" ")]),
        );
        for (const [, key, crc, size] of sent) {
          assert.deepEqual(consumed.get(key!)?.slice(1, 3), [crc, size], `${key} was acknowledged`);
        }
        for (const runtime of RUNTIMES) assert.ok(consumed.has(`ours-${runtime}`), `ours-${runtime} is lost`);
        await reader.process.destroy();
      });
    }
  });
}
