// House rules the architecture stands on: runtime names only below the seam, imports that point one way, no circle of
// imports, and a doc comment on every public name.

import assert from "node:assert/strict";
import * as fs from "node:fs";
import * as path from "node:path";
import { describe, it } from "node:test";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const files = (fs.readdirSync(path.join(ROOT, "src"), { recursive: true, encoding: "utf8" }))
  .filter((name) => name.endsWith(".ts"))
  .map((name) => `src/${name.replaceAll(path.sep, "/")}`)
  .concat("mod.ts", "cli.ts");
const sources = new Map(files.map((file) => [file, fs.readFileSync(path.join(ROOT, file), "utf8")]));

/** Comments blanked out, so that prose may name what code may not. */
function code(source: string): string {
  return source.replaceAll(/\/\*[\s\S]*?\*\//g, "").replaceAll(/(^|\s)\/\/.*$/gm, "$1");
}

/** Relative imports of a file: the target, and whether only types come over. */
function imports(file: string): { target: string; typeOnly: boolean }[] {
  const found: { target: string; typeOnly: boolean }[] = [];
  for (
    const match of code(sources.get(file)!).matchAll(/(import|export)\s+(type\s)?[^;"']*?from\s+["'](\.[^"']+)["']/g)
  ) {
    found.push({ target: path.posix.join(path.posix.dirname(file), match[3]!), typeOnly: match[2] !== undefined });
  }
  for (const match of code(sources.get(file)!).matchAll(/import\(\s*["'](\.[^"']+)["']\s*\)/g)) {
    found.push({ target: path.posix.join(path.posix.dirname(file), match[1]!), typeOnly: false });
  }
  return found;
}

/** Which folders of src/ a folder may import values from, besides itself. */
const MAY_IMPORT: Record<string, string[]> = {
  base: [],
  runtime: ["base"],
  config: ["base"],
  remoting: ["base"],
  ha: ["base"],
  store: ["base"],
  namesrv: ["base", "remoting"],
  broker: ["base", "config", "remoting", "ha", "store", "namesrv", "admin"],
  admin: ["base", "config"],
  cli: ["base", "config", "broker", "namesrv", "admin", "store", "ha", "remoting", "runtime"],
};

/** Files of names and shapes only. */
const VOCABULARY = ["src/store/types.ts", "src/ha/ha_connection_state.ts"];

function folderOf(file: string): string {
  return file.startsWith("src/") ? file.split("/")[1]! : file;
}

describe("house rules", () => {
  it("names a runtime only in src/runtime", () => {
    const forbidden = [
      /\b(Deno|Bun)\./,
      /from\s+["']node:(?!zlib|util\b)/,
      /\b(setTimeout|setInterval|setImmediate|queueMicrotask)\(/,
      /\bDate\.now\(|\bnew Date\(\)|\bMath\.random\(|\bperformance\.now\(/,
    ];
    const globalProcess = /(?<![.\w])process\.\w/;
    const leaks: string[] = [];
    for (const [file, source] of sources) {
      if (file.startsWith("src/runtime/")) continue;
      // A local `process` is the runtime's, and its file imports the type of one or the other.
      const hasLocalProcess = /import type \{[^}]*\b(Process|Runtime)\b[^}]*\} from "[^"]*runtime\.ts"/.test(source);
      for (const line of code(source).split("\n")) {
        const isLeak = forbidden.some((pattern) => pattern.test(line)) ||
          (!hasLocalProcess && globalProcess.test(line));
        if (isLeak) leaks.push(`${file}: ${line.trim()}`);
      }
    }
    assert.deepEqual(leaks, []);
  });

  it("lets imports point one way", () => {
    const wrong: string[] = [];
    for (const file of files) {
      const from = folderOf(file);
      if (from === "mod.ts" || from === "cli.ts") continue;
      for (const { target, typeOnly } of imports(file)) {
        const to = folderOf(target);
        if (to === from || MAY_IMPORT[from]!.includes(to)) continue;
        if (typeOnly && target === "src/runtime/runtime.ts") continue;
        // The store implements the port that replication defines: a type, no dependency at run time.
        if (typeOnly && from === "store" && target === "src/ha/replica_log.ts") continue;
        // The admin port speaks of messages and connections in the words of their owners.
        if (from === "admin" && VOCABULARY.includes(target)) continue;
        wrong.push(`${file} imports ${target}`);
      }
    }
    assert.deepEqual(wrong, []);
  });

  it("has no circle of imports", () => {
    const state = new Map<string, "open" | "done">();
    const circles: string[] = [];
    const visit = (file: string, trail: string[]) => {
      if (state.get(file) === "done" || !sources.has(file)) return;
      if (state.get(file) === "open") {
        circles.push([...trail.slice(trail.indexOf(file)), file].join(" -> "));
        return;
      }
      state.set(file, "open");
      for (const { target, typeOnly } of imports(file)) if (!typeOnly) visit(target, [...trail, file]);
      state.set(file, "done");
    };
    for (const file of files) visit(file, []);
    assert.deepEqual(circles, []);
  });

  it("documents every export", () => {
    const bare: string[] = [];
    for (const [file, source] of sources) {
      const lines = source.split("\n");
      lines.forEach((line, at) => {
        const name = line.match(/^export (?:abstract |async )?(?:class|function\*?|const|interface) (\w+)/)?.[1];
        if (!name) return;
        let above = at - 1;
        while (/^\/\/|^@/.test(lines[above] ?? "")) above--;
        if (!/\*\/\s*$/.test(lines[above] ?? "")) bare.push(`${file}: ${name}`);
      });
    }
    assert.deepEqual(bare, []);
  });
});
