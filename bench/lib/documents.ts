// Where each benchmark's figures go: the marked sections of docs/performance.md and of the README, and the plots beside
// them. Each benchmark calls its own function after a run, bench/render.ts all of them on the JSON that is there.

import * as fs from "node:fs";
import * as path from "node:path";
import { type ClientResults, renderClients, renderRatios, renderRun } from "./client_report.ts";
import { renderMatrix } from "./matrix_report.ts";
import { ROOT } from "./peer.ts";
import { ratioLink, ratioPlot, RATIOS_FILE, scalePlots } from "./plots.ts";
import { renderReplication } from "./replication_report.ts";
import { renderLimits, renderMachine, renderTable, replaceBetween, type Results } from "./report.ts";
import { renderScale, type ScaleResults } from "./scale_report.ts";

const PERFORMANCE = path.join(ROOT, "docs/performance.md");
const README = path.join(ROOT, "README.md");

/** What bench/run_all.ts writes: its limits are the C program's and each runtime's. */
export type NodeResults = Omit<Results, "limits"> & { readonly limits: Results["figures"] };

/** Of bench/run_all.ts. */
export function documentNodes({ limits, ...rest }: NodeResults): void {
  plotRatios();
  // Earlier runs measured the C program alone, in another form; what was rendered of them stays.
  if (limits.c === undefined) return;
  const results = { ...rest, limits: {} };
  const long = [renderMachine(results), renderTable(results, false), renderLimits(limits)];
  replaceBetween(PERFORMANCE, "figures", long.join("\n\n"));
  replaceBetween(README, "figures", `${renderTable(results, true)}\n\n${renderMachine(results)}`);
}

/** Of bench/clients.ts. */
export function documentClients(results: ClientResults): void {
  const long = [renderRun(results), ratioLink(), renderClients(results, false), renderRatios(results)];
  replaceBetween(PERFORMANCE, "client figures", long.join("\n\n"));
  replaceBetween(README, "client figures", `${renderClients(results, true)}\n\n${renderRun(results)}`);
  plotRatios();
}

/** Of bench/clients.ts with `--matrix`. */
export function documentMatrix(results: ClientResults): void {
  replaceBetween(PERFORMANCE, "matrix figures", renderMatrix(results));
}

/** Of bench/replication.ts. */
export function documentReplication(results: Results): void {
  replaceBetween(PERFORMANCE, "replication figures", renderReplication(results));
}

/** Of bench/scale.ts. */
export function documentScale(results: ScaleResults): void {
  replaceBetween(PERFORMANCE, "scale figures", renderScale(results));
  for (const [part, { samples }] of Object.entries(results)) writePlots(scalePlots(part, samples));
}

/** What a run left in bench/results; null where there was none. */
export function readResults<T>(name: string): T | null {
  const file = path.join(ROOT, `bench/results/${name}.json`);
  return fs.existsSync(file) ? JSON.parse(fs.readFileSync(file, "utf8")) : null;
}

/** The bars are of two benchmarks: of what each left last. */
function plotRatios(): void {
  const svg = ratioPlot(readResults<Results>("latest"), readResults<ClientResults>("clients"));
  if (svg !== null) writePlots({ [RATIOS_FILE]: svg });
}

function writePlots(plots: Readonly<Record<string, string>>): void {
  const folder = path.join(ROOT, "docs/plots");
  fs.mkdirSync(folder, { recursive: true });
  for (const [file, svg] of Object.entries(plots)) fs.writeFileSync(path.join(folder, file), svg);
}
