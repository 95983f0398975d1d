// The figures that were measured through the Java client, as tables: what there is, and how the better of Deno and Bun
// stands beside Apache. It measures nothing.

import type { Machine } from "./machine.ts";
import type { Figures } from "./phases.ts";
import { ratioOf, renderRows, type Row, type Spread } from "./report.ts";

/** What a run wrote down; the JSON file. */
export interface ClientResults {
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  /** Rounds before them of which nothing was kept; earlier runs had none. */
  readonly warmUpRounds?: number;
  readonly windowMs: number;
  /** By node, then by figure. */
  readonly figures: Readonly<Record<string, Readonly<Record<string, Spread>>>>;
  /** Each round as it was, by node. */
  readonly samples: Readonly<Record<string, readonly Figures[]>>;
}

/** A row, and what is better: more or less. */
interface ClientRow extends Row {
  readonly better: "more" | "less";
}

function sends(key: string, what: string, more: readonly string[], brief: boolean): ClientRow[] {
  const rows: ClientRow[] = [
    { key: `${key}PerSecond`, label: what, unit: "messages/s", digits: 0, brief: true, better: "more" },
    { key: `${key}P50`, label: "… p50", unit: "µs", digits: 0, brief, better: "less" },
    { key: `${key}P99`, label: "… p99", unit: "µs", digits: 0, brief, better: "less" },
    { key: `${key}CpuUs`, label: "… CPU of the broker", unit: "µs per message", digits: 1, better: "less" },
  ];
  return rows.filter(({ key: name }) => more.includes(name.slice(key.length)) || name.endsWith("PerSecond"));
}

const ROWS: readonly ClientRow[] = [
  ...sends("send64", "64 threads, asynchronous master", ["P50", "P99", "CpuUs"], true),
  ...sends("sync64", "64 threads, `inSyncReplicas=2`", ["P50", "P99", "CpuUs"], true),
  ...sends("send1", "one thread, asynchronous master", ["P50", "P99", "CpuUs"], true),
  ...sends("sync1", "one thread, `inSyncReplicas=2`", ["P50", "P99", "CpuUs"], true),
  ...sends("batch", "batches of 32 from 8 threads", ["P50", "P99", "CpuUs"], false),
  { key: "consumePerSecond", label: "push consumer", unit: "messages/s", digits: 0, brief: true, better: "more" },
  { key: "consumeCpuUs", label: "… CPU of the broker", unit: "µs per message", digits: 1, better: "less" },
  {
    key: "pullPerSecond",
    label: "pulls of hot data, neutral consumer",
    unit: "messages/s",
    digits: 0,
    brief: true,
    better: "more",
  },
  { key: "pullCpuUs", label: "… CPU of the broker", unit: "µs per message", digits: 1, better: "less" },
  { key: "idleMB", label: "anonymous memory, idle", unit: "MB", digits: 0, brief: true, better: "less" },
  { key: "loadedMB", label: "anonymous memory, loaded", unit: "MB", digits: 0, brief: true, better: "less" },
];

/** All nodes side by side. */
export function renderClients({ figures }: ClientResults, brief: boolean): string {
  return renderRows(rowsOf(figures), figures, brief);
}

/** The rows that any node has a figure for: earlier runs knew fewer. */
function rowsOf(figures: ClientResults["figures"]): ClientRow[] {
  return ROWS.filter(({ key }) => Object.values(figures).some((each) => each[key] !== undefined));
}

/** Ours by Apache's. */
export function renderRatios({ figures, samples }: ClientResults): string {
  const names = ["deno", "bun", "node"].filter((name) => samples[name] !== undefined);
  if (samples.apache === undefined || names.length === 0) return "";
  const lines = [`| by Apache's | ${names.join(" | ")} | better |`, `|---|${names.map(() => "---|").join("")}---|`];
  let group = "";
  for (const { key, label, better } of rowsOf(figures)) {
    if (!label.startsWith("…")) group = label;
    const ratios = names.map((name) => ratioOf(samples[name]!, samples.apache!, key));
    const title = label.startsWith("…") ? `${group}${label.slice(1)}` : label;
    lines.push(`| ${title} | ${ratios.map((ratio) => `${ratio.toFixed(2)} × | `).join("")}${better} |`);
  }
  return lines.join("\n");
}

/** One paragraph that says where and when the figures were taken, and of what `messages`. */
export function renderRun(results: ClientResults, messages = "messages of 1 KB"): string {
  const { date, machine, rounds, warmUpRounds = 0, windowMs } = results;
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `Taken on ${date}: ${machine.cores} cores of ${machine.cpu} for client and broker together, ${machine.kernel}, loopback; ` +
    `${versions}. The same Java client 5.3.3 in one process; ${messages}; windows of ${windowMs / 1000} s, ` +
    `all brokers in turn for each; median of ${counted(rounds)}` +
    (warmUpRounds === 0 ? "." : ` after ${counted(warmUpRounds)} that only warmed up.`);
}

function counted(rounds: number): string {
  return `${rounds} round${rounds === 1 ? "" : "s"}`;
}
