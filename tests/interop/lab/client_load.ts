// Java producers and consumers under way while a test disturbs their brokers (ClientLoad.java), and the verdict on what
// they wrote down: nothing acknowledged is lost or changed, every queue is in order, duplicates are counted.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import type { ClientProgram } from "./clients.ts";
import { LabProcess, until } from "./processes.ts";

/** A message as one side wrote it down. */
interface LoadLine {
  readonly thread: number;
  readonly number: number;
  /** `broker/queue`, and the offset in it. */
  readonly queue: string;
  readonly offset: number;
  readonly crc: string;
}

let processes = 0;

/** One producer or consumer process, which may be ended and started again with the same file. */
export class LoadProcess {
  readonly out: string;
  readonly #program: ClientProgram;
  readonly #args: readonly string[];
  #process: LabProcess;

  constructor(program: ClientProgram, directory: string, name: string, args: (out: string) => readonly string[]) {
    this.out = path.join(directory, `load-${name}-${processes++}`);
    fs.writeFileSync(this.out, "");
    this.#program = program;
    this.#args = args(this.out);
    this.#process = this.#run();
  }

  #run(): LabProcess {
    const [command, ...leading] = this.#program.command;
    fs.rmSync(`${this.out}.stop`, { force: true });
    return new LabProcess(path.basename(this.out), command!, [...leading, ...this.#args], {
      logPath: `${this.out}.log`,
    });
  }

  /** Whole lines written so far. */
  lines(): string[] {
    return fs.readFileSync(this.out, "utf8").split("\n").slice(0, -1);
  }

  /** The end of what it printed. */
  printed(): string {
    return this.#process.output().slice(-3000);
  }

  /** Lets it end by itself: it stops sending, or commits its offsets. */
  async stop(): Promise<void> {
    fs.writeFileSync(`${this.out}.stop`, "");
    const code = await this.#process.exited();
    assert.equal(code, 0, `${path.basename(this.out)} ended with ${code}:\n${this.printed()}`);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    await this.#process.destroy();
  }

  /** Starts it again, after {@link stop} or {@link kill}. */
  restart(): void {
    this.#process = this.#run();
  }
}

/** Starts producers: `threads` of them, each with its own queue, in one process. */
export function startLoadProducer(
  program: ClientProgram,
  options: { directory: string; namesrv: string; topic: string; threads: number; pauseMs: number },
): LoadProcess {
  const { directory, namesrv, topic, threads, pauseMs } = options;
  const rest = [String(threads), String(pauseMs)];
  return new LoadProcess(program, directory, `producer-${topic}`, (out) => ["produce", namesrv, topic, out, ...rest]);
}

/** Starts a push consumer; `brokerId`: the only kind of broker it pulls from. */
export function startLoadConsumer(
  program: ClientProgram,
  options: {
    directory: string;
    namesrv: string;
    topic: string;
    group: string;
    orderly?: boolean;
    brokerId?: number;
  },
): LoadProcess {
  const { directory, namesrv, topic, group, brokerId } = options;
  const rest = [group, options.orderly ? "orderly" : "concurrently", ...brokerId === undefined ? [] : [`${brokerId}`]];
  return new LoadProcess(program, directory, `consumer-${group}`, (out) => ["consume", namesrv, topic, out, ...rest]);
}

/** What a producer was promised: the messages with SEND_OK. */
export function acknowledged(producer: LoadProcess): LoadLine[] {
  return producer.lines().filter((line) => line.startsWith("SEND_OK ")).map((line) => parse(line.slice(8)));
}

/** What a consumer was handed, in its order. */
export function delivered(consumer: LoadProcess): LoadLine[] {
  return consumer.lines().map(parse);
}

function parse(line: string): LoadLine {
  const [thread, number, broker, queue, offset, crc] = line.split(" ");
  return {
    thread: Number(thread),
    number: Number(number),
    queue: `${broker}/${queue}`,
    offset: Number(offset),
    crc: crc!,
  };
}

/** Counts of how sends ended, by status or exception. */
export function sendCounts(producer: LoadProcess): Record<string, number> {
  const counts: Record<string, number> = {};
  for (const line of producer.lines()) {
    const status = line.split(" ")[0]!;
    counts[status] = (counts[status] ?? 0) + 1;
  }
  return counts;
}

/** Waits until a producer has so many acknowledged messages. */
export async function untilSent(producer: LoadProcess, count: number, limitMs = 60_000): Promise<void> {
  await until(`${count} sends`, limitMs, () => acknowledged(producer).length >= count).catch((error) => {
    throw new Error(`${error.message}; sends so far: ${JSON.stringify(sendCounts(producer))}\n${producer.printed()}`);
  });
}

/** Waits until a group was handed every message that was acknowledged. */
export async function untilConsumed(
  producer: LoadProcess,
  consumers: readonly LoadProcess[],
  limitMs = 60_000,
): Promise<void> {
  const wanted = acknowledged(producer);
  let missing: LoadLine[] = [];
  await until("everything to be consumed", limitMs, () => {
    const seen = new Set(consumers.flatMap(delivered).map(positionOf));
    missing = wanted.filter((line) => !seen.has(positionOf(line)));
    return missing.length === 0;
  }).catch((error) => {
    const some = missing.slice(0, 5).map((line) => `${line.thread} ${line.number} at ${positionOf(line)}`);
    const logs = consumers.map((consumer) => consumer.printed()).join("\n");
    throw new Error(`${error.message}: ${missing.length} of ${wanted.length} are missing: ${some}\n${logs}`);
  });
}

const positionOf = (line: LoadLine) => `${line.queue}@${line.offset}`;

/** What a verdict counts. */
export interface LoadCounts {
  readonly acknowledged: number;
  readonly deliveries: number;
  /** Deliveries beyond the first of a place in a queue. */
  readonly deliveredTwice: number;
  /** Places beyond the first that hold a message: sends that were tried again. */
  readonly storedTwice: number;
  /** Runs of consecutive offsets in which queues were handed to consumers. */
  readonly runs: number;
}

/**
 * Throws unless the group has each acknowledged message, unchanged and at its place; no place ever held two messages; and
 * in each queue each producer's messages stand in the order they were sent in.
 */
export function judgeLoad(producer: LoadProcess, consumers: readonly LoadProcess[]): LoadCounts {
  const promised = acknowledged(producer);
  const crcs = new Map<string, string>();
  for (const { thread, number, crc } of promised) crcs.set(`${thread}-${number}`, crc);
  const places = new Map<string, LoadLine>();
  let deliveries = 0;
  let runs = 0;
  for (const consumer of consumers) {
    const last = new Map<string, number>();
    for (const line of delivered(consumer)) {
      deliveries++;
      if (last.get(line.queue) !== line.offset - 1) runs++;
      last.set(line.queue, line.offset);
      const before = places.get(positionOf(line));
      assert.ok(before === undefined || before.crc === line.crc, `${positionOf(line)} held two messages`);
      places.set(positionOf(line), line);
      const crc = crcs.get(`${line.thread}-${line.number}`);
      assert.ok(crc === undefined || crc === line.crc, `message ${line.thread}-${line.number} came changed`);
    }
  }
  for (const line of promised) {
    const got = places.get(positionOf(line));
    assert.ok(got, `message ${line.thread}-${line.number} at ${positionOf(line)} is lost`);
    assert.equal(got.crc, line.crc, `${positionOf(line)} holds another message`);
  }
  assertQueuesInOrder([...places.values()]);
  const messages = new Set([...places.values()].map((line) => `${line.thread}-${line.number}`));
  return {
    acknowledged: promised.length,
    deliveries,
    deliveredTwice: deliveries - places.size,
    storedTwice: places.size - messages.size,
    runs,
  };
}

function assertQueuesInOrder(places: LoadLine[]): void {
  places.sort((a, b) => a.offset - b.offset);
  const last = new Map<string, number>();
  for (const { queue, thread, number, offset } of places) {
    const key = `${queue} of thread ${thread}`;
    assert.ok(number >= (last.get(key) ?? -1), `${key}: ${number} stands at ${offset}, after ${last.get(key)}`);
    last.set(key, number);
  }
}
