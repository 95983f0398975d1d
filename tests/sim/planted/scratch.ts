// A copy of the tree in a directory of its own, in which one bug at a time can be planted. Owns the copy and its end;
// the tree it was made from is never touched.

import * as fs from "node:fs";
import * as os from "node:os";
import * as path from "node:path";
import { fileURLToPath } from "node:url";
import type { PlantedBug } from "./bugs.ts";

const ROOT = fileURLToPath(new URL("../../..", import.meta.url));
/** What the simulator is made of, and what tells a runtime how to run it. */
const PARTS = ["src", "tests", "deno.json", "package.json", "tsconfig.json"];
/** Folders that need real processes or hold recorded bytes: no simulation reads them. */
const LEFT_OUT = ["tests/interop", "tests/fixtures"].map((folder) => path.join(ROOT, folder));

/** Occurrences of a bug's text in a tree's file. */
export function occurrences(bug: PlantedBug, root: string = ROOT): number {
  return fs.readFileSync(path.join(root, bug.file), "utf8").split(bug.find).length - 1;
}

/** A copy of the tree. */
export class ScratchTree {
  readonly root: string;
  #planted: { readonly path: string; readonly source: string } | null = null;

  /** Copies the tree as it is now, into a fresh temporary directory. */
  constructor() {
    this.root = fs.mkdtempSync(path.join(os.tmpdir(), "twinlog-planted-"));
    for (const part of PARTS) {
      fs.cpSync(path.join(ROOT, part), path.join(this.root, part), {
        recursive: true,
        filter: (source) => !LEFT_OUT.includes(source),
      });
    }
    fs.symlinkSync(path.join(ROOT, "node_modules"), path.join(this.root, "node_modules"));
  }

  /** Plants a bug, null for none, in place of the one before. Throws when its text does not occur exactly once. */
  plant(bug: PlantedBug | null): void {
    if (this.#planted !== null) fs.writeFileSync(this.#planted.path, this.#planted.source);
    this.#planted = null;
    if (bug === null) return;
    const count = occurrences(bug, this.root);
    if (count !== 1) throw new Error(`${bug.name}: its text occurs ${count} times in ${bug.file}, wanted 1`);
    const file = path.join(this.root, bug.file);
    const source = fs.readFileSync(file, "utf8");
    this.#planted = { path: file, source };
    fs.writeFileSync(file, source.replace(bug.find, () => bug.replace));
  }

  /** Removes the copy. */
  remove(): void {
    fs.rmSync(this.root, { recursive: true, force: true });
  }
}
