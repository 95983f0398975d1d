// Where the figures of bench/clients.ts go: the marked sections of docs/performance.md and of the README.

import * as path from "node:path";
import { type ClientResults, renderClients, renderRatios, renderRun } from "./client_report.ts";
import { renderMatrix } from "./matrix_report.ts";
import { ROOT } from "./peer.ts";
import { replaceBetween } from "./report.ts";

const PERFORMANCE = path.join(ROOT, "docs/performance.md");
const README = path.join(ROOT, "README.md");

/** Of bench/clients.ts. */
export function documentClients(results: ClientResults): void {
  const long = [renderRun(results), renderClients(results, false), renderRatios(results)];
  replaceBetween(PERFORMANCE, "client figures", long.join("\n\n"));
  replaceBetween(README, "client figures", `${renderClients(results, true)}\n\n${renderRun(results)}`);
}

/** Of bench/clients.ts with `--matrix`. */
export function documentMatrix(results: ClientResults): void {
  replaceBetween(PERFORMANCE, "matrix figures", renderMatrix(results));
}
