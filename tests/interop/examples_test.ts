// Apache's own example programs, unmodified, and its benchmark's producer and consumer: against an Apache broker first, then
// ours on Deno and Bun. An example says what it did on its standard output; the same must come of it everywhere.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { after, before, describe, it } from "node:test";
import { ApacheLab, hasJava } from "./lab/apache.ts";
import { javaExamples } from "./lab/clients.ts";
import { LabCluster, untilRouted } from "./lab/lab_cluster.ts";
import { destroyAll, LabProcess, until } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";

const java = await hasJava();

/** An example: what it prints, and how often; those of {@link AT_LEAST} may print it more often. */
type Expected = readonly [name: string, pattern: RegExp, count: number];

const AT_LEAST = ["ordermessage.Consumer", "simple.LitePullConsumerSubscribe", "benchmark.Consumer"];

const SENT = /sendStatus=SEND_OK/;
const RECEIVED = /Receive New Messages: /;
const LATE = /Receive message\[msgId=\w+ \d+ {2}ms later\]/;
/** 1,000 of the quick start and 128 of the trace example. */
const ALL = 1128;

const PRODUCERS: readonly Expected[] = [
  ["quickstart.Producer", SENT, 1000],
  ["ordermessage.Producer", SENT, 100],
  ["transaction.TransactionProducer", SENT, 10],
  ["filter.TagFilterProducer", SENT, 60],
  ["filter.SqlFilterProducer", SENT, 10],
  ["batch.SimpleBatchProducer", SENT, 1],
  ["batch.SplitBatchProducer", SENT, 1],
  ["tracemessage.TraceProducer", SENT, 128],
  ["schedule.ScheduledMessageProducer", /ENDED/, 1],
  ["schedule.TimerMessageProducer", /ENDED/, 1],
  ["simple.AsyncProducer", /OK \w+/, 100],
];
const CONSUMERS: readonly Expected[] = [
  ["quickstart.Consumer", RECEIVED, ALL],
  ["ordermessage.Consumer", /Receive New Messages: /, 20],
  ["filter.TagFilterConsumer", RECEIVED, 40],
  ["broadcast.PushConsumer", RECEIVED, ALL],
  ["simple.LitePullConsumerSubscribe", /MessageExt \[brokerName=/, 1],
  ["tracemessage.TracePushConsumer", RECEIVED, ALL],
  ["schedule.ScheduledMessageConsumer", LATE, 100],
  ["schedule.TimerMessageConsumer", LATE, 10],
];
/** In a JVM of their own: the SQL filter's group is the tag filter's too, with another subscription. */
const LATER_PRODUCERS: readonly Expected[] = [["benchmark.Producer", /ENDED/, 1]];
const LATER_CONSUMERS: readonly Expected[] = [
  ["filter.SqlFilterConsumer", RECEIVED, 3],
  ["benchmark.Consumer", /Consume TPS: [1-9]/, 1],
];
const BENCHMARK: Readonly<Record<string, string>> = {
  "benchmark.Producer": "-t:Benchmark:-w:8:-s:1024:-q:20000",
  "benchmark.Consumer": "-t:Benchmark:-g:G_bench",
};

for (const kind of ["apache", "deno", "bun"] as const) {
  describe(`examples at ${kind === "apache" ? "Apache" : `Twinlog on ${kind}`}`, {
    skip: java ? false : "no Java here",
  }, () => {
    const directory = java ? scratch(`examples-${kind}`) : "";
    let namesrv: string;
    before(async () => {
      const cluster = new LabCluster(await ApacheLab.create("5.3.3", directory), directory);
      const pair = { broker: kind, namesrv: kind === "apache" ? "apache" : "embedded", name: "lab-a" } as const;
      namesrv = (await cluster.startPair(pair)).namesrv;
      await untilRouted(namesrv);
    }, { timeout: 120_000 });
    after(destroyAll);

    it("runs quick start, ordered, delay, transaction, filters, batch, broadcast, pull and trace", {
      timeout: 180_000,
    }, () => play("first", PRODUCERS, CONSUMERS));

    it("runs the SQL filter, and the benchmark's producer and consumer", {
      timeout: 180_000,
    }, () => play("later", LATER_PRODUCERS, LATER_CONSUMERS));

    async function play(name: string, producers: readonly Expected[], consumers: readonly Expected[]): Promise<void> {
      const program = await javaExamples(directory, namesrv);
      const [command, ...leading] = program.command;
      const stop = path.join(directory, `${name}.stop`);
      const words = [producers, consumers].map((list) =>
        list.map(([example]) => [example, BENCHMARK[example]].filter(Boolean).join(":")).join(",")
      );
      const logPath = path.join(directory, `examples-${name}.log`);
      const child = new LabProcess("examples", command!, [...leading, stop, ...words], {
        logPath,
        env: { NAMESRV_ADDR: namesrv },
      });
      const all = [...producers, ...consumers];
      let counts: number[] = [];
      await until("what the examples print", 120_000, () => {
        const lines = child.output().split("\n");
        counts = all.map(([example, pattern]) =>
          lines.filter((line) => line.startsWith(`[${example}] `) && pattern.test(line)).length
        );
        if (!child.alive) throw new Error(`They ended:\n${child.output().slice(-3000)}`);
        return all.every(([, , count], i) => counts[i]! >= count);
      }).catch((error) => {
        // Its consumers would share the next one's groups.
        child.kill("SIGKILL");
        const missing = all.map(([example, , count], i) => `${example} ${counts[i]}/${count}`).join(", ");
        throw new Error(`${error.message}: ${missing}\n${child.output().slice(-3000)}`);
      });
      all.forEach(([example, , count], i) => {
        if (!AT_LEAST.includes(example)) assert.equal(counts[i], count, example);
      });
      assert.deepEqual(child.output().match(/FAILED .*/g), null);
      for (const line of child.output().match(/(?:Send|Consume) TPS: .*/g) ?? []) console.log(kind, line);
      fs.writeFileSync(stop, "");
      await child.exited();
    }
  });
}
