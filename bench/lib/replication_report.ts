// The figures of replication as tables: which there are, the goals some of them have, and ours by Apache's. It measures
// nothing.

import type { PeerResult } from "./peer.ts";
import type { Figures } from "./phases.ts";
import {
  type Column,
  median,
  ratioOf,
  renderMachine,
  renderRows,
  type Results,
  type Row,
  titleOf,
  verdictOf,
} from "./report.ts";

/** A row, and what it should come to. */
interface GoalRow extends Row {
  readonly atMost?: number;
  readonly atLeast?: number;
}

/** A table and what stands above it. */
interface Section {
  readonly title: string;
  readonly rows: readonly GoalRow[];
}

function sendingRows(state: "hot" | "cold", slaves: number): GoalRow[] {
  const key = `${state}${slaves}`;
  const where = state === "hot" ? "from the page cache" : "from the disk";
  return [
    { key: `${key}GBs`, label: `${where}, ${slaves} ${slaves === 1 ? "slave" : "slaves"}`, unit: "GB/s", digits: 2 },
    { key: `${key}CpuPerGB`, label: "… CPU of the master", unit: "CPU-s per GB", digits: 2 },
    { key: `${key}PeakMB`, label: "… anonymous memory, highest", unit: "MB", digits: 0 },
  ];
}

function putRows(key: string, label: string): GoalRow[] {
  return [
    { key: `${key}P50`, label: `${label}, p50`, unit: "µs", digits: 0 },
    { key: `${key}P99`, label: "… p99", unit: "µs", digits: 0 },
    { key: `${key}P999`, label: "… p99.9", unit: "µs", digits: 0 },
  ];
}

function catchUpRows(key: string, who: string): GoalRow[] {
  return [
    { key: `${key}LoopbackGBs`, label: `${who}, loopback`, unit: "GB/s", digits: 2 },
    { key: `${key}AtOnceGBs`, label: "… through the forwarder, no delay", unit: "GB/s", digits: 2 },
    { key: `${key}DelayedGBs`, label: "… through the forwarder, 2 ms each way", unit: "GB/s", digits: 2 },
    {
      key: `${key}DelayedShare`,
      label: "… by the lower of loopback and the forwarder's limit",
      unit: "",
      digits: 2,
      atLeast: 0.8,
    },
  ];
}

function sectionsOf({ figures }: Results): Section[] {
  const keys = Object.keys(Object.values(figures)[0] ?? {});
  const counts = keys.flatMap((key) => key.match(/^hot(\d+)GBs$/)?.[1] ?? []).map(Number);
  const delays = keys.flatMap((key) => key.match(/^put([1-9]\d*)P50$/)?.[1] ?? []).map(Number);
  const both = (state: "hot" | "cold") => counts.flatMap((slaves) => sendingRows(state, slaves));
  const left = { key: "coldLeftPercent", label: "left in the page cache before, highest", unit: "%", digits: 1 };
  return [
    { title: "A master sends the log to neutral slaves, all at once", rows: [...both("hot"), ...both("cold"), left] },
    {
      title: "One put of 1 KB at a time, `inSyncReplicas=2`, a slave of the same kind",
      rows: [
        ...putRows("put0", "loopback"),
        ...delays.toSorted((a, b) => a - b).flatMap((us) =>
          putRows(`put${us}`, `replication ${us / 1000} ms each way`).filter(({ key }) => keys.includes(key))
        ),
        ...putRows("live", "loopback, while an empty slave catches up"),
        { key: "liveP99Ratio", label: "… p99 by that without", unit: "", digits: 2, atMost: 2 },
        { key: "liveCatchUpGBs", label: "… the catch-up meanwhile", unit: "GB/s", digits: 2 },
        { key: "failedPuts", label: "puts that failed", unit: "", digits: 0 },
      ],
    },
    {
      title: "Catching up over a longer way",
      rows: [
        ...catchUpRows("master", "master to a neutral slave"),
        ...catchUpRows("slave", "slave from a neutral master"),
      ],
    },
  ];
}

/** Everything, ready for the documents. */
export function renderReplication(results: Results): string {
  const more: Column<GoalRow>[] = [];
  const { apache, ...ours } = results.samples;
  if (apache !== undefined && Object.keys(ours).length > 0) {
    more.push({
      title: `by Apache's: ${Object.keys(ours).map(titleOf).join(" / ")}`,
      cell: ({ key }) => {
        const ratios = Object.values(ours).map((samples) => ratioOf(samples, apache, key));
        return ratios.every(Number.isFinite) ? `${ratios.map((ratio) => ratio.toFixed(2)).join(" / ")}` : "–";
      },
    });
  }
  more.push({ title: "goal", cell: (row) => goalCell(row, Object.values(ours)) });
  const tables = sectionsOf(results).map(({ title, rows }) =>
    `**${title}**\n\n${renderRows(rows, results.figures, false, more)}`
  );
  return [renderMachine(results), ...tables, renderWays(results)].join("\n\n");
}

/** The goal, and for each of our nodes whether the median of its rounds meets it. */
function goalCell({ key, atMost, atLeast }: GoalRow, ours: readonly (readonly Figures[])[]): string {
  if (atMost === undefined && atLeast === undefined) return "";
  const verdicts = ours.map((samples) =>
    verdictOf(median(samples.map((figures) => figures[key]!)), { atMost, atLeast })
  );
  return `${atMost === undefined ? `≥ ${atLeast}` : `≤ ${atMost}`}: ${verdicts.join(" / ")}`;
}

/** What the machine and the forwarder do between neutral peers. */
function renderWays({ limits }: Results): string {
  const rate = ({ bytes, seconds }: PeerResult) => `${(bytes! / seconds! / 1e9).toFixed(2)} GB/s`;
  const lines = [
    "| between neutral peers in C | the log in frames of 1 MiB | of 32 KiB | one record there and its ack back, p50 / p99 |",
    "|---|---|---|---|",
  ];
  for (const [name, ack] of Object.entries(limits)) {
    if (!name.startsWith("ack")) continue;
    const delayUs = name.slice("ack".length);
    const way = delayUs === "" ? "loopback" : `through the forwarder, ${Number(delayUs) / 1000} ms each way`;
    const rates = ["large", "small"].map((size) => rate(limits[size + delayUs]!));
    lines.push(`| ${way} | ${rates.join(" | ")} | ${ack.p50us!.toFixed(0)} / ${ack.p99us!.toFixed(0)} µs |`);
  }
  lines.push(`| reading the cold log, \`pread\` of 1 MiB | ${rate(limits.coldRead!)} | | |`);
  return lines.join("\n");
}
