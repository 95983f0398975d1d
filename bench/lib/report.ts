// The figures as tables: which there are, their units and targets, and where they are printed: the terminal,
// docs/performance.md and the README's section. It measures nothing.

import * as fs from "node:fs";
import type { MadeLog } from "./log_maker.ts";
import type { Machine } from "./machine.ts";
import type { PeerResult } from "./peer.ts";
import type { Figures } from "./phases.ts";

/** Median and range of the rounds. */
export interface Spread {
  readonly median: number;
  readonly min: number;
  readonly max: number;
}

/** What a run wrote down; the JSON file. */
export interface Results {
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  /** Of the commit log that was sent. */
  readonly log: { readonly bytes: number; readonly messages: number; readonly messageBytes: number };
  /** By node, then by figure. */
  readonly figures: Readonly<Record<string, Readonly<Record<string, Spread>>>>;
  /** Each round as it was, by node. */
  readonly samples: Readonly<Record<string, readonly Figures[]>>;
  /** What goes without any broker, each the median of the rounds. */
  readonly limits: Readonly<Record<string, PeerResult>>;
}

/** One figure of a table. */
export interface Row {
  readonly key: string;
  readonly label: string;
  readonly unit: string;
  readonly digits: number;
  /** Whether the README shows it. */
  readonly brief?: boolean;
}

/** The figures in the order they are shown. */
const ROWS: readonly Row[] = [
  { key: "intakeGBs", label: "slave intake", unit: "GB/s", digits: 2, brief: true },
  { key: "dispatchedGBs", label: "… until everything is dispatched too", unit: "GB/s", digits: 2, brief: true },
  { key: "intakeCpuPerGB", label: "slave intake, cost", unit: "CPU-s per GB", digits: 2, brief: true },
  {
    key: "intakeByOwnLimit",
    label: "slave intake by the runtime's own TCP-to-file limit (goal: ≥ 0.6)",
    unit: "",
    digits: 2,
  },
  { key: "sendingGBs", label: "master sending, hot log", unit: "GB/s", digits: 2, brief: true },
  { key: "sendingCpuPerGB", label: "master sending, cost", unit: "CPU-s per GB", digits: 2, brief: true },
  { key: "sendingFrameKiB", label: "frame the master chose", unit: "KiB", digits: 0 },
  { key: "largeFramesGBs", label: "master sending, Apache with 1 MiB frames", unit: "GB/s", digits: 2, brief: true },
  { key: "largeFramesCpuPerGB", label: "… cost", unit: "CPU-s per GB", digits: 2 },
  { key: "ackAwakeP50", label: "ack of one record, a core kept awake, p50", unit: "µs", digits: 1, brief: true },
  { key: "ackAwakeP99", label: "… p99", unit: "µs", digits: 0, brief: true },
  { key: "ackAwakeP999", label: "… p99.9", unit: "µs", digits: 0, brief: true },
  { key: "ackIdleP50", label: "ack of one record, idle machine, p50", unit: "µs", digits: 1, brief: true },
  { key: "ackIdleP99", label: "… p99", unit: "µs", digits: 0, brief: true },
  { key: "ackIdleP999", label: "… p99.9", unit: "µs", digits: 0, brief: true },
  { key: "listeningMs", label: "start to listening, empty store", unit: "ms", digits: 0, brief: true },
  { key: "slaveIdleMB", label: "anonymous memory, slave idle", unit: "MB", digits: 0, brief: true },
  { key: "slaveLoadedMB", label: "anonymous memory, slave after 1 GB", unit: "MB", digits: 0, brief: true },
  { key: "slavePeakMB", label: "anonymous memory, slave during 1 GB, highest", unit: "MB", digits: 0 },
  { key: "masterIdleMB", label: "anonymous memory, master idle", unit: "MB", digits: 0 },
  { key: "masterLoadedMB", label: "anonymous memory, master after 1 GB", unit: "MB", digits: 0, brief: true },
  { key: "masterPeakMB", label: "anonymous memory, master during 1 GB, highest", unit: "MB", digits: 0 },
];

/** What goes without any broker, by the keys of limits.ts. */
const LIMIT_ROWS: readonly Row[] = [
  { key: "receiveGBs", label: "loopback TCP, writes of 1 MiB, thrown away", unit: "GB/s", digits: 2 },
  { key: "receiveCpuPerGB", label: "… CPU of the receiver", unit: "CPU-s per GB", digits: 2 },
  { key: "storeGBs", label: "loopback TCP into a new file, not synced", unit: "GB/s", digits: 2 },
  { key: "storeCpuPerGB", label: "… CPU of the receiver", unit: "CPU-s per GB", digits: 2 },
  { key: "pwriteGBs", label: "`pwrite` of 1 MiB chunks into a new file, not synced", unit: "GB/s", digits: 2 },
  { key: "pwriteCpuPerGB", label: "… CPU", unit: "CPU-s per GB", digits: 2 },
  { key: "pingAwakeP50", label: "8 bytes there and back, a core kept awake, p50", unit: "µs", digits: 1 },
  { key: "pingAwakeP99", label: "… p99", unit: "µs", digits: 0 },
  { key: "pingAwakeP999", label: "… p99.9", unit: "µs", digits: 0 },
  { key: "pingIdleP50", label: "8 bytes there and back, idle machine, p50", unit: "µs", digits: 1 },
  { key: "pingIdleP99", label: "… p99", unit: "µs", digits: 0 },
  { key: "pingIdleP999", label: "… p99.9", unit: "µs", digits: 0 },
];

/** The middle value of a list, the mean of the two middle ones for an even count. */
export function median(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const half = Math.floor(sorted.length / 2);
  return sorted.length % 2 === 1 ? sorted[half]! : (sorted[half - 1]! + sorted[half]!) / 2;
}

/** Whether a figure meets its goal, for a table. */
export function verdictOf(value: number, { atMost = Infinity, atLeast = -Infinity }: Bounds): string {
  return value <= atMost && value >= atLeast ? "met" : "**not met**";
}

/** What a goal asks for. */
export interface Bounds {
  readonly atMost?: number | undefined;
  readonly atLeast?: number | undefined;
}

/** The median of each number that a program of bench/neutral printed in every round. */
function medians(results: readonly PeerResult[]): PeerResult {
  return Object.fromEntries(
    Object.keys(results[0]!).map((key) => [key, median(results.map((result) => result[key]!))]),
  );
}

/** What a run of so many rounds on a log has found so far. */
export function resultsOf(run: {
  readonly machine: Machine;
  readonly rounds: number;
  readonly log: MadeLog;
  readonly samples: Readonly<Record<string, readonly Figures[]>>;
  readonly limits: Readonly<Record<string, readonly PeerResult[]>>;
}): Results {
  const { machine, rounds, log, samples, limits } = run;
  return {
    date: new Date().toISOString().slice(0, 10),
    machine,
    rounds,
    log: { bytes: log.marks[0]!, messages: log.messages, messageBytes: Math.round(log.maxOffset / log.messages) },
    figures: summarizeAll(samples),
    samples,
    limits: Object.fromEntries(Object.entries(limits).map(([name, each]) => [name, medians(each)])),
  };
}

/** {@link summarize} for each name. */
export function summarizeAll(samples: Results["samples"]): Results["figures"] {
  return Object.fromEntries(Object.entries(samples).map(([name, each]) => [name, summarize(each)]));
}

/** Median and range of every figure over the rounds. */
export function summarize(samples: readonly Figures[]): Record<string, Spread> {
  const summary: Record<string, Spread> = {};
  for (const key of new Set(samples.flatMap(Object.keys))) {
    const values = samples.map((sample) => sample[key]).filter((value) => value !== undefined);
    summary[key] = { median: median(values), min: Math.min(...values), max: Math.max(...values) };
  }
  return summary;
}

function cell(spread: Spread | undefined, digits: number, withRange: boolean): string {
  if (spread === undefined) return "–";
  const { median, min, max } = spread;
  const range = withRange && min !== max ? ` (${min.toFixed(digits)}–${max.toFixed(digits)})` : "";
  return median.toFixed(digits) + range;
}

const TITLES: Readonly<Record<string, string>> = {
  c: "C",
  deno: "Deno",
  bun: "Bun",
  node: "Node",
  apache: "Apache",
  floor: "only answers",
};

/** The comparison as a Markdown table; `brief` leaves out what only the long document shows. */
export function renderTable(results: Results, brief: boolean): string {
  return renderRows(ROWS, results.figures, brief);
}

/** A column behind those of the nodes. */
export interface Column<R extends Row> {
  readonly title: string;
  cell(row: R): string;
}

/** Any rows as a Markdown table, a column per node and then `more`; `brief` leaves out rows and ranges. */
export function renderRows<R extends Row>(
  rows: readonly R[],
  figures: Results["figures"],
  brief: boolean,
  more: readonly Column<R>[] = [],
): string {
  const subjects = Object.keys(figures);
  const titles = [...subjects.map(titleOf), ...more.map(({ title }) => title)];
  const lines = [`| | unit | ${titles.join(" | ")} |`, `|---|---|${titles.map(() => "---").join("|")}|`];
  for (const row of rows.filter((row) => !brief || row.brief)) {
    const cells = subjects.map((name) => cell(figures[name]![row.key], row.digits, !brief));
    cells.push(...more.map((column) => column.cell(row)));
    lines.push(`| ${row.label} | ${row.unit} | ${cells.join(" | ")} |`);
  }
  return lines.join("\n");
}

/** A node's name as tables show it. */
export function titleOf(name: string): string {
  return TITLES[name] ?? name;
}

/** Ours by theirs: the median of the rounds' own ratios, which what else the machine does touches least. */
export function ratioOf(ours: readonly Figures[], theirs: readonly Figures[], key: string): number {
  return median(ours.map((figures, round) => figures[key]! / theirs[round]![key]!));
}

/** What a program in C and the runtimes' own calls reach without any broker. */
export function renderLimits(limits: Results["figures"]): string {
  return `**The runtimes' own limits, without any broker**\n\n${renderRows(LIMIT_ROWS, limits, false)}`;
}

/** One paragraph that says where and when the figures were taken. */
export function renderMachine({ date, machine, rounds, log }: Results): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `Taken on ${date}: ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB of memory, ${machine.kernel}, loopback; ` +
    `${versions}. Median of ${rounds} round${rounds === 1 ? "" : "s"}, all nodes in turn in each round; ` +
    `${(log.bytes / 1e9).toFixed(2)} GB of messages of 1 KB (${log.messageBytes} bytes as records).`;
}

/** Puts `text` between the file's `<!-- NAME -->` and `<!-- /NAME -->`; a file without the markers stays as it is. */
export function replaceBetween(file: string, name: string, text: string): void {
  const before = fs.readFileSync(file, "utf8");
  const [open, close] = [`<!-- ${name} -->`, `<!-- /${name} -->`];
  const from = before.indexOf(open);
  const to = before.indexOf(close);
  if (from < 0 || to < from) return;
  fs.writeFileSync(file, `${before.slice(0, from + open.length)}\n\n${text}\n\n${before.slice(to)}`);
}
