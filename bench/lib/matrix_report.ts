// The matrix as tables: one row per body size and number of threads, rates beside one another and by Apache's, then times
// and CPU. It measures nothing.

import { type ClientResults, renderRun } from "./client_report.ts";
import { ratioOf, titleOf } from "./report.ts";

/** All tables, ready for the documents. */
export function renderMatrix(results: ClientResults): string {
  const names = Object.keys(results.figures);
  const ours = names.filter((name) => ["deno", "bun", "node"].includes(name));
  const titles = (each: readonly string[]) => each.map(titleOf);
  const median = (name: string, key: string, digits: number) =>
    results.figures[name]![key]?.median.toFixed(digits) ?? "–";
  const byApache = (key: string) => {
    const { apache } = results.samples;
    if (apache === undefined || ours.length === 0) return "–";
    return ours.map((name) => ratioOf(results.samples[name]!, apache, key).toFixed(2)).join(" / ");
  };
  const by = titles(ours).join(" / ");
  const sends = cellsOf(results);
  const rates = sends.map(({ threads, body, key }) => [
    sizeOf(body),
    `${threads}`,
    ...names.map((name) => median(name, `${key}PerSecond`, 0)),
    byApache(`${key}PerSecond`),
    byApache(`${key}P99`),
    byApache(`${key}CpuUs`),
  ]);
  const times = sends.map(({ threads, body, key }) => [
    sizeOf(body),
    `${threads}`,
    ...names.map((name) =>
      `${median(name, `${key}P50`, 0)} / ${median(name, `${key}P99`, 0)} / ${median(name, `${key}CpuUs`, 1)}`
    ),
  ]);
  const stores = names.filter((name) => name !== "floor");
  const pulls = [...new Set(sends.map(({ body }) => body))].map((body) => [
    sizeOf(body),
    ...stores.map((name) => median(name, `pull${body}PerSecond`, 0)),
    byApache(`pull${body}PerSecond`),
    byApache(`pull${body}CpuUs`),
  ]);
  const ratios = [`rate by Apache's: ${by}`, "p99 by Apache's", "CPU by Apache's"];
  return [
    renderRun(results, "bodies as the tables say, not compressed"),
    "**Sends per second**",
    table(["body", "threads", ...titles(names), ...ratios], rates),
    "**p50 / p99 / CPU of the broker per message, µs**",
    table(["body", "threads", ...titles(names)], times),
    "**Pulls of hot data by the neutral consumer, messages per second**",
    table(["body", ...titles(stores), ratios[0]!, ratios[2]!], pulls),
    failuresOf(results),
  ].filter((part) => part !== "").join("\n\n");
}

interface Cell {
  readonly threads: number;
  readonly body: number;
  readonly key: string;
}

/** The cells of sends in the order in which they were measured. */
function cellsOf({ figures }: ClientResults): Cell[] {
  const keys = Object.keys(Object.values(figures)[0] ?? {});
  return keys.flatMap((name) => {
    const match = name.match(/^(send(\d+)x(\d+))PerSecond$/);
    return match ? [{ key: match[1]!, threads: Number(match[2]), body: Number(match[3]) }] : [];
  });
}

function sizeOf(bytes: number): string {
  return bytes < 1024 ? `${bytes} B` : `${bytes / 1024} KiB`;
}

/** Says so where sends failed, as those are not in the rates. */
function failuresOf({ samples }: ClientResults): string {
  const failed = Object.entries(samples).flatMap(([name, rounds]) => {
    const sum = rounds.flatMap((round) => Object.keys(round).map((key) => key.endsWith("Failed") ? round[key]! : 0))
      .reduce((a, b) => a + b, 0);
    return sum > 0 ? [`${titleOf(name)} ${sum}`] : [];
  });
  return failed.length > 0 ? `Sends that failed, of all rounds: ${failed.join(", ")}.` : "";
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.join(" | ")} |`;
  return [line(head), `|${head.map(() => "---|").join("")}`, ...rows.map(line)].join("\n");
}
