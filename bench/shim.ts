// One way to write a benchmark for `deno bench` and for `deno run`, `bun` and `node` alike. Under `deno bench` it hands
// over to Deno.bench; anywhere else it measures by itself and prints a table. `--smoke` runs each once.

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import process from "node:process";

/** One thing to measure. */
export interface Benchmark {
  readonly name: string;
  /** Benchmarks of one group are shown together. */
  readonly group: string;
  /** Bytes that one call moves or looks at, for a rate. */
  readonly bytes?: number;
  /** How often it is called: for what takes long or is asynchronous. Else that follows from the time it takes. */
  readonly calls?: number;
  /** Called again and again. */
  readonly fn: () => void | Promise<void>;
}

interface DenoBench {
  bench(options: { name: string; group: string; n?: number; warmup?: number; fn: () => void | Promise<void> }): void;
}

const WARM_UP_MS = 200;
const TIME_MIN_MS = 1000;
const CALLS_MAX = 1_000_000;

/**
 * Registers the benchmarks, or runs them now. `meta` is the calling file's `import.meta`: only under `deno bench` is that
 * file not the main module.
 */
export async function runBenchmarks(meta: ImportMeta, benchmarks: readonly Benchmark[]): Promise<void> {
  if (!(meta as { main?: boolean }).main) {
    const { Deno: deno } = globalThis as unknown as { Deno: DenoBench };
    for (const { name, group, bytes, calls, fn } of benchmarks) {
      const title = bytes === undefined ? name : `${name}, ${formatBytes(bytes)}`;
      if (calls === undefined) deno.bench({ name: title, group, fn });
      // Deno waits for a promise only if the function is declared async.
      else deno.bench({ name: title, group, n: calls, warmup: 1, fn: async () => await fn() });
    }
    return;
  }
  const isSmoke = process.argv.includes("--smoke");
  const rows: Row[] = [];
  for (const benchmark of benchmarks) {
    const row = await measure(benchmark, isSmoke);
    rows.push(row);
    console.log(formatRow(row));
  }
  const jsonAt = process.argv.indexOf("--json");
  if (jsonAt >= 0) fs.writeFileSync(process.argv[jsonAt + 1]!, `${JSON.stringify(rows, null, 1)}\n`);
  process.exit(0);
}

/** A fresh directory that is removed when the process exits. */
export function scratchDirectory(): string {
  const directory = fs.mkdtempSync(path.join(os.tmpdir(), "twinlog-bench-"));
  process.on("exit", () => fs.rmSync(directory, { recursive: true, force: true }));
  return directory;
}

/** What was measured; times in microseconds. */
interface Row {
  readonly name: string;
  readonly group: string;
  readonly calls: number;
  readonly meanUs: number;
  readonly p50Us: number;
  readonly p99Us: number;
  readonly gbPerSecond: number | null;
}

async function measure({ name, group, bytes, calls, fn }: Benchmark, isSmoke: boolean): Promise<Row> {
  const times: number[] = [];
  const timed = async (): Promise<void> => {
    const start = performance.now();
    const promise = fn();
    if (promise !== undefined) await promise;
    times.push((performance.now() - start) * 1000);
  };
  if (!isSmoke) {
    for (const end = performance.now() + (calls ? 0 : WARM_UP_MS); performance.now() <= end;) await timed();
  }
  times.length = 0;
  const end = performance.now() + (isSmoke ? 0 : calls ? Infinity : TIME_MIN_MS);
  do await timed(); while (performance.now() < end && times.length < (calls ?? CALLS_MAX));
  times.sort((a, b) => a - b);
  const meanUs = times.reduce((sum, time) => sum + time, 0) / times.length;
  const at = (share: number) => times[Math.floor(times.length * share)]!;
  const gbPerSecond = bytes === undefined ? null : bytes / meanUs / 1000;
  return { name, group, calls: times.length, meanUs, p50Us: at(0.5), p99Us: at(0.99), gbPerSecond };
}

function formatRow({ name, group, calls, meanUs, p50Us, p99Us, gbPerSecond }: Row): string {
  const rate = gbPerSecond === null ? "" : `${gbPerSecond.toFixed(2)} GB/s`;
  const us = (value: number) => value.toFixed(value < 100 ? 2 : 0).padStart(10);
  return `${group.padEnd(10)} ${name.padEnd(44)} ${us(meanUs)} µs  p50 ${us(p50Us)}  p99 ${us(p99Us)}  ${
    String(calls).padStart(8)
  } calls  ${rate}`;
}

function formatBytes(bytes: number): string {
  return bytes >= 1024 * 1024 ? `${Math.round(bytes / 1024 / 1024)} MiB` : `${Math.round(bytes / 1024)} KiB`;
}
