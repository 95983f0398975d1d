// Which runs leave their figures behind: whole ones, of all nodes, which the documents show. One that is quick, or of some
// nodes only, is printed and no more, unless a file is named for it.

import * as fs from "node:fs";
import * as path from "node:path";
import { ROOT } from "./peer.ts";

/** What of a command line decides. */
export interface RunChoice {
  readonly isWhole: boolean;
  /** The file the documents are made of, below the project's root. */
  readonly standard: string;
  /** `--json`; undefined: not given. */
  readonly json: string | undefined;
  /** `--no-docs`. */
  readonly noDocs: boolean;
}

/** Where figures go, null for nowhere, and whether the documents are brought up to date. */
export function keptWhere(
  { isWhole, standard, json, noDocs }: RunChoice,
): { file: string | null; toDocuments: boolean } {
  if (json !== undefined) return { file: path.resolve(ROOT, json), toDocuments: false };
  if (isWhole) return { file: path.resolve(ROOT, standard), toDocuments: !noDocs };
  return { file: null, toDocuments: false };
}

/** Writes figures to such a file, and makes its directory. */
export function writeFigures(file: string, figures: unknown): void {
  fs.mkdirSync(path.dirname(file), { recursive: true });
  fs.writeFileSync(file, `${JSON.stringify(figures, null, 2)}\n`);
}
