// Which plots there are: the headline figures by Apache's, and the curves of bench/scale.ts. It answers with SVG, file by
// file, and with the lines that show them in docs/performance.md; it draws and writes nothing itself.

import type { ClientResults } from "./client_report.ts";
import type { Figures } from "./phases.ts";
import { renderCurves, renderRatioBars } from "./plot.ts";
import { median, ratioOf, type Results, titleOf } from "./report.ts";

type Samples = Readonly<Record<string, readonly Figures[]>>;

interface Headline {
  readonly key: string;
  readonly label: string;
  readonly better: "more" | "less";
}

const FROM_NODES: readonly Headline[] = [
  { key: "intakeGBs", label: "slave intake, rate", better: "more" },
  { key: "intakeCpuPerGB", label: "slave intake, CPU per GB", better: "less" },
  { key: "sendingGBs", label: "master sending, rate", better: "more" },
  { key: "ackAwakeP50", label: "ack of one record, p50", better: "less" },
  { key: "ackAwakeP99", label: "ack of one record, p99", better: "less" },
  { key: "listeningMs", label: "start to listening", better: "less" },
];

const FROM_CLIENTS: readonly Headline[] = [
  { key: "send64PerSecond", label: "64 threads, rate", better: "more" },
  { key: "send64P99", label: "64 threads, p99", better: "less" },
  { key: "send64CpuUs", label: "64 threads, CPU of the broker", better: "less" },
  { key: "sync64PerSecond", label: "64 threads, inSyncReplicas=2, rate", better: "more" },
  { key: "sync64P99", label: "64 threads, inSyncReplicas=2, p99", better: "less" },
  { key: "send1P50", label: "one thread, p50", better: "less" },
  { key: "sync1P50", label: "one thread, inSyncReplicas=2, p50", better: "less" },
  { key: "batchPerSecond", label: "batches of 32 from 8 threads, rate", better: "more" },
  { key: "consumePerSecond", label: "push consumer, rate", better: "more" },
  { key: "pullPerSecond", label: "pulls by a neutral consumer, rate", better: "more" },
  { key: "loadedMB", label: "anonymous memory, loaded", better: "less" },
];

interface ScalePlot {
  /** Of the figures, before their `@`. */
  readonly key: string;
  readonly file: string;
  readonly title: string;
  readonly xLabel: string;
  readonly yLabel: string;
  readonly isLogarithmic: boolean;
  /** What one on the axis is in the figures' points. */
  readonly xUnit?: number;
}

const SENDS = { key: "puts", yLabel: "sends, messages/s" };
const BY_QUEUES = { xLabel: "queues that have messages (logarithmic)", isLogarithmic: true };

/** By part of bench/scale.ts. */
const SCALE_PLOTS: Readonly<Record<string, readonly ScalePlot[]>> = {
  log: [
    {
      ...SENDS,
      file: "sends_by_log.svg",
      title: "Sends by the size of the log",
      xLabel: "commit log, GB",
      isLogarithmic: false,
      xUnit: 1e9,
    },
  ],
  slaves: [
    {
      ...SENDS,
      file: "sends_by_slaves.svg",
      title: "Sends by the slaves that follow",
      xLabel: "slaves (logarithmic)",
      isLogarithmic: true,
    },
  ],
  queues: [
    { ...SENDS, ...BY_QUEUES, file: "sends_by_queues.svg", title: "Sends over all queues" },
    {
      ...BY_QUEUES,
      key: "rssMB",
      file: "memory_by_queues.svg",
      title: "Anonymous memory by queues",
      yLabel: "anonymous memory, MB",
    },
  ],
};

/** The file of the headline figures' bars. */
export const RATIOS_FILE = "by_apache.svg";
const RATIOS_TITLE = "Twinlog beside Apache RocketMQ: how many times better";

/** Bars of how many times better than Apache's; null where Apache was not measured. */
export function ratioPlot(nodes: Results | null, clients: ClientResults | null): string | null {
  const groups = [...groupsOf(FROM_NODES, nodes?.samples), ...groupsOf(FROM_CLIENTS, clients?.samples)];
  if (groups.length === 0) return null;
  const axis = "rates: by Apache's; times, CPU and memory: Apache's by ours; right of 1 is better (logarithmic)";
  return renderRatioBars({ title: RATIOS_TITLE, axis, groups });
}

function groupsOf(headlines: readonly Headline[], samples: Samples = {}) {
  const { apache } = samples;
  const names = ["deno", "bun", "node"].filter((name) => samples[name] !== undefined);
  if (apache === undefined) return [];
  return headlines.map(({ key, label, better }) => ({
    label,
    bars: names.map((name) => {
      const ratio = ratioOf(samples[name]!, apache, key);
      return { name: titleOf(name), ratio: better === "more" ? ratio : 1 / ratio };
    }).filter(({ ratio }) => Number.isFinite(ratio) && ratio > 0),
  })).filter(({ bars }) => bars.length > 0);
}

/** The curves of one part of bench/scale.ts, by file. */
export function scalePlots(part: string, samples: Samples): Record<string, string> {
  return Object.fromEntries((SCALE_PLOTS[part] ?? []).map(({ key, file, xUnit = 1, ...plot }) => {
    const series = Object.entries(samples).map(([name, rounds]) => {
      const points = Object.keys(rounds[0] ?? {}).filter((figure) => figure.startsWith(`${key}@`)).map((figure) => {
        const y = median(rounds.map((round) => round[figure]!));
        return [Number(figure.slice(key.length + 1)) / xUnit, y] as const;
      });
      return { name: titleOf(name), points };
    });
    return [file, renderCurves({ ...plot, series })];
  }));
}

/** The line that shows the headline figures' bars in docs/performance.md. */
export function ratioLink(): string {
  return link(RATIOS_TITLE, RATIOS_FILE);
}

/** The line that shows a part's curves there; empty where it has none. */
export function scaleLinks(part: string): string {
  return (SCALE_PLOTS[part] ?? []).map(({ title, file }) => link(title, file)).join("\n\n");
}

function link(title: string, file: string): string {
  return `![${title}](plots/${file})`;
}
