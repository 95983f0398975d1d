// The scale benchmarks' figures as tables: each part's metrics at their points, and its goals with what became of them. It
// measures nothing.

import type { Machine } from "./machine.ts";
import type { Figures } from "./phases.ts";
import { scaleLinks } from "./plots.ts";
import { median, renderRows, type Row, type Spread, summarize, verdictOf } from "./report.ts";

/** What a run of one part wrote down. */
export interface PartResults {
  readonly date: string;
  readonly machine: Machine;
  readonly rounds: number;
  /** Each round as it was, by node. */
  readonly samples: Readonly<Record<string, readonly Figures[]>>;
}

/** The JSON file: the last run of each part. */
export type ScaleResults = Readonly<Record<string, PartResults>>;

/** A metric; its figures are named by `key`, or `key@point` along a curve. */
interface Metric extends Omit<Row, "brief"> {
  readonly key: string;
}

/** One round of a node, and of Apache beside it where Apache is measured. */
interface Round {
  readonly ours: Figures;
  readonly apache: Figures | undefined;
}

interface Goal {
  readonly label: string;
  readonly unit: string;
  readonly digits: number;
  readonly atMost?: number;
  readonly atLeast?: number;
  /** undefined: it can't be told. */
  value(round: Round): number | undefined;
}

interface Part {
  readonly title: string;
  /** All nodes were measured at the same time. */
  readonly isAtOnce?: boolean;
  /** Its figures have samples over time, which tell how long it took. */
  readonly isOverTime?: boolean;
  /** What a point is. */
  readonly point?: (value: number) => string;
  readonly metrics: readonly Metric[];
  readonly goals: readonly Goal[];
}

function pointsOf(figures: Figures): number[] {
  const points = Object.keys(figures).filter((key) => key.includes("@")).map((key) => Number(key.split("@")[1]));
  return [...new Set(points)].toSorted((a, b) => a - b);
}

/** By how much the last point's figure is a multiple of the first one's. */
function lastByFirst(key: string): Goal["value"] {
  return ({ ours }) => {
    const points = pointsOf(ours);
    return quotient(ours[`${key}@${points.at(-1)}`], ours[`${key}@${points[0]}`]);
  };
}

function last(key: string): Goal["value"] {
  return ({ ours }) => ours[`${key}@${pointsOf(ours).at(-1)}`];
}

function quotient(a: number | undefined, b: number | undefined): number | undefined {
  return a === undefined || b === undefined || b === 0 ? undefined : a / b;
}

const GB = 1e9;

const UNDER_LOAD: Omit<Part, "title"> = {
  isOverTime: true,
  metrics: [
    { key: "rate", label: "sends", unit: "messages/s", digits: 0 },
    { key: "unread", label: "not yet pulled at the end", unit: "messages", digits: 0 },
    { key: "logGB", label: "log at the end", unit: "GB", digits: 2 },
    { key: "startMB", label: "first sample", unit: "MB", digits: 0 },
    { key: "endMB", label: "last", unit: "MB", digits: 0 },
    { key: "maxMB", label: "highest", unit: "MB", digits: 0 },
    { key: "lateByEarly", label: "mean of the last quarter by that of the second", unit: "", digits: 2 },
  ],
  goals: [
    {
      label: "mean of the last quarter by that of the second: ≤ 1.1",
      unit: "",
      digits: 2,
      atMost: 1.1,
      value: ({ ours }) => ours.lateByEarly,
    },
  ],
};

const PARTS: Readonly<Record<string, Part>> = {
  crash: {
    title: "Start after a crash (SIGKILL), by what the log holds",
    metrics: [
      { key: "crashGB", label: "log when it was killed", unit: "GB", digits: 2 },
      { key: "crashAcceptS", label: "until the port accepts", unit: "s", digits: 2 },
      { key: "crashPullS", label: "until a pull finds the last message of every queue", unit: "s", digits: 2 },
      { key: "crashSPerGB", label: "the same by the log", unit: "s per GB", digits: 2 },
      { key: "crashMB", label: "anonymous memory by then", unit: "MB", digits: 0 },
    ],
    goals: [
      {
        label: "until the last message, by Apache's: ≤ 1/3",
        unit: "",
        digits: 2,
        atMost: 1 / 3,
        value: ({ ours, apache }) => quotient(ours.crashPullS, apache?.crashPullS),
      },
      {
        label: "until the port accepts, by Apache's: ≤ 1/3",
        unit: "",
        digits: 2,
        atMost: 1 / 3,
        value: ({ ours, apache }) => quotient(ours.crashAcceptS, apache?.crashAcceptS),
      },
    ],
  },
  log: {
    title: "By the size of the log",
    point: (bytes) => `${Number((bytes / GB).toFixed(2))} GB`,
    metrics: [
      { key: "puts", label: "puts", unit: "messages/s", digits: 0 },
      { key: "pulls", label: "pulls of what was just put", unit: "messages/s", digits: 0 },
      { key: "rssMB", label: "anonymous memory", unit: "MB", digits: 0 },
      { key: "files", label: "open files", unit: "", digits: 0 },
    ],
    goals: [
      { label: "puts, last by first: ≥ 0.9", unit: "", digits: 2, atLeast: 0.9, value: lastByFirst("puts") },
      { label: "pulls, last by first: ≥ 0.9", unit: "", digits: 2, atLeast: 0.9, value: lastByFirst("pulls") },
      { label: "memory, last by first: ≤ 1.25", unit: "", digits: 2, atMost: 1.25, value: lastByFirst("rssMB") },
      { label: "open files: < 1024", unit: "", digits: 0, atMost: 1023, value: last("files") },
    ],
  },
  slaves: {
    title: "By the slaves that follow",
    point: (count) => `${count} slave${count === 1 ? "" : "s"}`,
    metrics: [
      { key: "puts", label: "puts", unit: "messages/s", digits: 0 },
      { key: "putCpuUs", label: "CPU of the master", unit: "µs per message", digits: 1 },
      { key: "rssMB", label: "anonymous memory of the master", unit: "MB", digits: 0 },
    ],
    goals: [
      { label: "puts, last by first: ≥ 0.5", unit: "", digits: 2, atLeast: 0.5, value: lastByFirst("puts") },
      {
        label: "memory of each slave more: ≤ 4 MB",
        unit: "MB",
        digits: 1,
        atMost: 4,
        value: perPoint("rssMB"),
      },
    ],
  },
  queues: {
    title: "By the queues that have messages, ten to a topic",
    point: (count) => `${count} queues`,
    metrics: [
      { key: "puts", label: "puts over all queues", unit: "messages/s", digits: 0 },
      { key: "putP99", label: "… p99", unit: "ms", digits: 1 },
      { key: "createMs", label: "a topic made, 16 at once", unit: "ms", digits: 2 },
      { key: "rssMB", label: "anonymous memory", unit: "MB", digits: 0 },
      { key: "files", label: "open files", unit: "", digits: 0 },
      { key: "allTopicsMs", label: "GET_ALL_TOPIC_CONFIG", unit: "ms", digits: 1 },
      { key: "registerMs", label: "a new topic until it is registered", unit: "ms", digits: 1 },
      { key: "stopS", label: "stop (SIGTERM)", unit: "s", digits: 2 },
      { key: "cleanStop", label: "… was clean", unit: "1: yes", digits: 0 },
      { key: "startS", label: "start after it, until the port accepts (120: given up)", unit: "s", digits: 2 },
      {
        key: "killedStartS",
        label: "start after SIGKILL, until the port accepts (120: given up)",
        unit: "s",
        digits: 2,
      },
      { key: "restartRssMB", label: "anonymous memory after it", unit: "MB", digits: 0 },
      { key: "restartFiles", label: "open files after it", unit: "", digits: 0 },
    ],
    goals: [
      { label: "puts, last by first: ≥ 0.5", unit: "", digits: 2, atLeast: 0.5, value: lastByFirst("puts") },
      { label: "open files: < 1024", unit: "", digits: 0, atMost: 1023, value: last("files") },
      {
        label: "memory of 1,000 queues more: ≤ 5 MB",
        unit: "MB",
        digits: 2,
        atMost: 5,
        value: perPoint("rssMB", 1000),
      },
      { label: "the stop was clean", unit: "", digits: 0, atLeast: 1, value: last("cleanStop") },
      { label: "start: ≤ 5 s", unit: "s", digits: 2, atMost: 5, value: last("startS") },
      { label: "start after SIGKILL: ≤ 15 s", unit: "s", digits: 2, atMost: 15, value: last("killedStartS") },
      { label: "GET_ALL_TOPIC_CONFIG: ≤ 100 ms", unit: "ms", digits: 0, atMost: 100, value: last("allTopicsMs") },
      { label: "a registration: ≤ 200 ms", unit: "ms", digits: 0, atMost: 200, value: last("registerMs") },
    ],
  },
  connections: {
    title: "By the connections that only send heartbeats, one each 30 s",
    point: (count) => `${count} connections`,
    metrics: [
      { key: "connectS", label: "all connected, first heartbeats answered", unit: "s", digits: 2 },
      { key: "heldKB", label: "anonymous memory of each", unit: "KB", digits: 1 },
      { key: "sendP50", label: "one producer beside them, p50", unit: "µs", digits: 0 },
      { key: "sendP99", label: "… p99", unit: "µs", digits: 0 },
      { key: "idlePercent", label: "CPU of the broker without the producer", unit: "% of a core", digits: 2 },
    ],
    goals: [
      { label: "memory of each: ≤ 32 KB", unit: "KB", digits: 1, atMost: 32, value: last("heldKB") },
      { label: "p99, last by first: ≤ 2", unit: "", digits: 2, atMost: 2, value: lastByFirst("sendP99") },
      { label: "CPU: ≤ 5 % of a core", unit: "%", digits: 2, atMost: 5, value: last("idlePercent") },
    ],
  },
  idle: {
    title: "A pair in sync that nobody uses",
    metrics: [
      { key: "masterPercent", label: "master", unit: "% of a core", digits: 3 },
      { key: "slavePercent", label: "slave", unit: "% of a core", digits: 3 },
    ],
    goals: [
      { label: "master: < 0.2 %", unit: "%", digits: 3, atMost: 0.2, value: ({ ours }) => ours.masterPercent },
      { label: "slave: < 0.2 %", unit: "%", digits: 3, atMost: 0.2, value: ({ ours }) => ours.slavePercent },
    ],
  },
  memory: {
    title: "Anonymous memory of a master at half its top rate, its consumer following",
    ...UNDER_LOAD,
  },
  hour: {
    title: "Anonymous memory of a master over a long load, its consumer following",
    ...UNDER_LOAD,
    isAtOnce: true,
    metrics: [
      ...UNDER_LOAD.metrics,
      // Of three minutes it would say how a heap finds its size.
      { key: "slopeMBh", label: "slope of the second half", unit: "MB per hour", digits: 1 },
    ],
  },
};

/** What `count` more of what the points count cost, from the first point to the last. */
function perPoint(key: string, count = 1): Goal["value"] {
  return ({ ours }) => {
    const points = pointsOf(ours);
    const [from, to] = [points[0]!, points.at(-1)!];
    if (points.length < 2) return undefined;
    return (ours[`${key}@${to}`]! - ours[`${key}@${from}`]!) / (to - from) * count;
  };
}

/** Names of the parts, in their order. */
export const PART_NAMES = Object.keys(PARTS);

/** Every part that was measured. */
export function renderScale(results: ScaleResults): string {
  return PART_NAMES.filter((name) => results[name] !== undefined)
    .map((name) => [renderPart(PARTS[name]!, results[name]!), scaleLinks(name)])
    .flat().filter((text) => text !== "").join("\n\n");
}

function renderPart(part: Part, results: PartResults): string {
  const { samples } = results;
  const figures = Object.fromEntries(Object.entries(samples).map(([name, each]) => [name, summarize(each)]));
  const goals = renderGoals(part, samples);
  return `### ${part.title}\n\n${renderRun(part, results)}\n\n${
    renderRows(rowsOf(part, figures), figures, false)
  }\n\n${goals}`;
}

function rowsOf({ metrics, point }: Part, figures: Readonly<Record<string, Readonly<Record<string, Spread>>>>): Row[] {
  if (point === undefined) return [...metrics];
  const points = pointsOf(Object.assign({}, ...Object.values(figures)));
  return metrics.flatMap((metric) =>
    points.map((value, index) => ({
      ...metric,
      key: `${metric.key}@${value}`,
      label: `${index === 0 ? metric.label : "…"}, ${point(value)}`,
    }))
  );
}

/** The goals by node: the median of the rounds' own values, their range, and whether the median meets it. */
function renderGoals({ goals }: Part, samples: PartResults["samples"]): string {
  const names = Object.keys(samples).filter((name) => name !== "apache");
  const lines = [`| goal | ${names.map((name) => name[0]!.toUpperCase() + name.slice(1)).join(" | ")} |`];
  lines.push(`|---|${names.map(() => "---|").join("")}`);
  for (const goal of goals) {
    const cells = names.map((name) =>
      goalCell(goal, samples[name]!.map((ours, round) => goal.value({ ours, apache: samples.apache?.[round] })))
    );
    lines.push(`| ${goal.label} | ${cells.join(" | ")} |`);
  }
  return lines.join("\n");
}

function goalCell({ digits, atMost, atLeast }: Goal, values: readonly (number | undefined)[]): string {
  const known = values.filter((value) => value !== undefined);
  if (known.length === 0) return "–";
  const middle = median(known);
  // A cost below nothing is the machine's mood.
  if (atMost !== undefined && middle < 0) return `${middle.toFixed(digits)}, below the noise`;
  const range = known.length > 1
    ? ` (${Math.min(...known).toFixed(digits)}–${Math.max(...known).toFixed(digits)})`
    : "";
  return `${middle.toFixed(digits)}${range}, ${verdictOf(middle, { atMost, atLeast })}`;
}

function renderRun(
  { isAtOnce = false, isOverTime = false }: Part,
  { date, machine, rounds, samples }: PartResults,
): string {
  const versions = Object.entries(machine.versions).map(([name, version]) => `${name} ${version}`).join(", ");
  return `Taken on ${date}: ${machine.cores} cores of ${machine.cpu}, ${machine.memoryGiB} GiB of memory, ${machine.kernel}, loopback; ` +
    `${versions}. ${
      isAtOnce
        ? "One round of all nodes at the same time."
        : rounds === 1
        ? "One round, all nodes in turn."
        : `Median of ${rounds} rounds and range, all nodes in turn in each.`
    }${isOverTime ? ` ${minutesOf(samples)} minutes.` : ""}`;
}

/** By the last sample that came in its time: one more is taken at the end, whenever that is. */
function minutesOf(samples: PartResults["samples"]): number {
  const inTime = Object.values(samples).flat().map((figures) => pointsOf(figures).at(-2) ?? 0);
  return Math.round(Math.max(...inTime) / 60_000);
}
