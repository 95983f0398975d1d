// SQL92 filters against Apache's own parser and evaluation: generated expressions and properties, the same verdicts. And
// consumerFilter.json, read by either from the other.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import fc from "fast-check";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { ConsumerFilterManager } from "../../src/broker/filter/consumer_filter_manager.ts";
import { EVALUATION_ERROR } from "../../src/broker/filter/sql92_expression.ts";
import { Sql92Error } from "../../src/broker/filter/sql92_lexer.ts";
import { type CompiledExpression, parseSql92 } from "../../src/broker/filter/sql92_parser.ts";
import { buildSubscriptionData } from "../../src/broker/filter/subscription_data.ts";
import { messageProperties, sql92Text } from "../fuzz/targets/sql92.ts";
import { runtime } from "../remoting/support.ts";
import { ManualClock } from "../support/manual_clock.ts";
import { hasJava, install } from "./lab/apache.ts";
import { run } from "./lab/processes.ts";
import { scratch } from "./lab/scratch.ts";

const SEED = Number(process.env.TWINLOG_FILTER_SEED ?? 92);
const EXPRESSIONS = Number(process.env.TWINLOG_FILTER_RUNS ?? 20_000);
/** Messages that each of them is asked about. */
const MESSAGES = 6;

const java = await hasJava();

async function oracle(...args: string[]): Promise<string> {
  const jars = await install("5.3.3");
  const source = path.join(import.meta.dirname, "lab/FilterOracle.java");
  return await run("java", ["-cp", `${jars}/*`, source, ...args], { limitMs: 240_000 });
}

function hex(text: string): string {
  let out = "";
  for (let i = 0; i < text.length; i++) out += text.charCodeAt(i).toString(16).padStart(4, "0");
  return out;
}

function compile(text: string): CompiledExpression | null {
  try {
    return parseSql92(text);
  } catch (error) {
    if (error instanceof Sql92Error) return null;
    throw error;
  }
}

function verdict(compiled: CompiledExpression | null, properties: ReadonlyMap<string, string>): string {
  if (compiled === null) return "-";
  try {
    return String(compiled.evaluate(properties)).toUpperCase();
  } catch (error) {
    if (error === EVALUATION_ERROR) return "ERROR";
    throw error;
  }
}

describe("filters beside Apache 5.3.3", { skip: java ? false : "no Java here" }, () => {
  const directory = java ? scratch("filter") : "";

  it(`judges ${EXPRESSIONS} expressions as Apache does, seed ${SEED}`, { timeout: 300_000 }, async () => {
    const expressions = fc.sample(sql92Text, { seed: SEED, numRuns: EXPRESSIONS });
    const messages = fc.sample(messageProperties, { seed: SEED, numRuns: EXPRESSIONS });
    const lines: string[] = [];
    const ours: string[] = [];
    const about: string[] = [];
    expressions.forEach((text, i) => {
      const compiled = compile(text);
      lines.push(`E ${hex(text)}`);
      ours.push(compiled === null ? "error" : "ok");
      about.push(JSON.stringify(text));
      for (let k = 0; k < MESSAGES; k++) {
        const properties = messages[(i * 7 + k * 131) % messages.length]!;
        lines.push(["P", ...[...properties].flat().map(hex)].join(" "));
        ours.push(verdict(compiled, properties));
        about.push(`${JSON.stringify(text)} of ${JSON.stringify([...properties])}`);
      }
    });
    fs.writeFileSync(path.join(directory, "in"), lines.join("\n") + "\n");
    await oracle("ask", path.join(directory, "in"), path.join(directory, "out"));
    const theirs = fs.readFileSync(path.join(directory, "out"), "utf8").trimEnd().split("\n");
    assert.equal(theirs.length, ours.length);
    const counts = new Map<string, number>();
    const differences: string[] = [];
    theirs.forEach((answer, i) => {
      counts.set(answer, (counts.get(answer) ?? 0) + 1);
      if (answer !== ours[i]) differences.push(`${about[i]}: Apache ${answer}, ours ${ours[i]}`);
    });
    assert.deepEqual(differences.slice(0, 20), [], `${differences.length} differ`);
    // Each verdict was really tried.
    for (const each of ["ok", "error", "TRUE", "FALSE", "NULL", "ERROR"]) {
      assert.ok((counts.get(each) ?? 0) > EXPRESSIONS / 50, `${each}: ${counts.get(each)}`);
    }
  });

  const config = {
    maxErrorRateOfBloomFilter: 20,
    expectConsumerNumUseFilter: 32,
    filterDataCleanTimeSpan: 86_400_000,
  };

  it("reads the consumerFilter.json that Apache writes, and writes the same", { timeout: 120_000 }, async () => {
    const file = path.join(directory, "consumerFilter.json");
    await oracle("write", file);
    const apaches = fs.readFileSync(file, "utf8");
    const clock = new ManualClock();
    // The file's times are the real clock's.
    clock.advance(Date.now() + 60_000 - clock.now());
    const manager = new ConsumerFilterManager({ fs: runtime.fs, clock, logger: SILENT_LOGGER, directory, config });
    assert.equal(manager.load(), "file");
    assert.equal(manager.get("T", "CG")?.expression, "a > 5 AND b = 'it''s'");
    assert.notEqual(manager.get("T", "group_a"), null);
    // The group beats again, so that both say the same about who is there.
    manager.register("CG", [buildSubscriptionData("T", "a > 5 AND b = 'it''s'", "SQL92", 1_700_000_000_000)]);
    await manager.persist();
    assert.deepEqual(JSON.parse(fs.readFileSync(file, "utf8")), JSON.parse(apaches));
    await manager.stop();
  });

  it("writes a consumerFilter.json that Apache reads", { timeout: 120_000 }, async () => {
    const clock = new ManualClock();
    const own = path.join(directory, "ours");
    const manager = new ConsumerFilterManager({ fs: runtime.fs, clock, logger: SILENT_LOGGER, directory: own, config });
    manager.register("g1", [
      buildSubscriptionData("t1", "a > 5", "SQL92", 7),
      buildSubscriptionData("t2", "b = 'x'", "SQL92"),
    ]);
    manager.register("g2", [buildSubscriptionData("t1", "c IS NULL", "SQL92", 7)]);
    manager.unRegister("g2");
    await manager.stop();
    const lines = (await oracle("read", path.join(own, "consumerFilter.json"))).trimEnd().split("\n");
    assert.deepEqual(lines.filter((line) => line.startsWith("t")), [
      "t1 g1 a > 5 true",
      "t1 g2 c IS NULL true",
      "t2 g1 b = 'x' true",
    ]);
  });
});
