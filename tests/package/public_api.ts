// Reads the built declarations of an entry: which names it exports, and which types their signatures mention that nobody
// outside could name. Works on the compiler's output, where private members have no types and inferred ones are written out.

import * as fs from "node:fs";
import * as path from "node:path";

/** An exported name and its declaration: comments blanked out in `text`. */
interface Declaration {
  readonly name: string;
  readonly file: string;
  readonly text: string;
  readonly isDocumented: boolean;
}

/** What is wrong with an entry, one line each. */
export interface ApiFindings {
  readonly names: readonly string[];
  readonly undocumented: readonly string[];
  /** `Type, in Name`. */
  readonly unnamed: readonly string[];
  /** Declarations that mention `any`. */
  readonly loose: readonly string[];
}

const COMMENT = /\/\*[\s\S]*?\*\//g;

/**
 * Looks at the entry and everything it re-exports. `known` are names that another entry exports, `internal` those that
 * users get but never name.
 */
export function inspectApi(
  entry: string,
  options: { known: readonly string[]; internal: readonly string[] },
): ApiFindings {
  const declarations = exportsOf(entry);
  const names = [...new Set(declarations.map(({ name }) => name))];
  const nameable = new Set([...names, ...options.known, ...options.internal]);
  const unnamed: string[] = [];
  for (const { name, file, text } of declarations) {
    const local = namesIn(file);
    for (const word of new Set(text.match(/\b[A-Z]\w+/g) ?? [])) {
      if (local.has(word) && !nameable.has(word)) unnamed.push(`${word}, in ${name}`);
    }
  }
  const documented = new Set(declarations.filter(({ isDocumented }) => isDocumented).map(({ name }) => name));
  return {
    names,
    undocumented: names.filter((name) => !documented.has(name)),
    unnamed,
    loose: declarations.filter(({ text }) => /\bany\b/.test(text)).map(({ name }) => name),
  };
}

function exportsOf(entry: string): Declaration[] {
  const found: Declaration[] = [];
  for (
    const [, typeOnly, list, target] of fs.readFileSync(entry, "utf8").matchAll(
      /^export (type )?\{([^}]*)\} from "([^"]+)"/gm,
    )
  ) {
    const file = path.join(path.dirname(entry), target!.replace(/\.ts$/, ".d.ts"));
    for (const item of list!.split(",").map((text) => text.trim()).filter((text) => text !== "")) {
      found.push(
        ...declarationsOf(file, item.replace(/^type /, ""), typeOnly !== undefined || item.startsWith("type ")),
      );
    }
  }
  return found;
}

function declarationsOf(file: string, name: string, isTypeOnly: boolean): Declaration[] {
  const source = fs.readFileSync(file, "utf8");
  const found: Declaration[] = [];
  for (
    const match of source.matchAll(
      new RegExp(`^export (?:declare )?(?:const|class|function|interface|type) ${name}\\b`, "gm"),
    )
  ) {
    const rest = source.slice(match.index);
    const end = rest.slice(1).search(/^(?:\/\*\*|export |declare |type |interface )/m);
    let text = (end < 0 ? rest : rest.slice(0, end + 1)).replaceAll(COMMENT, "");
    // What a class extends or implements, and how a class is made that the library makes, need not be named.
    text = text.replace(/ (?:extends|implements) [^{]*\{/, " {");
    if (isTypeOnly) text = text.replaceAll(/^\s+constructor\([\s\S]*?\);$/gm, "");
    // A type made from a constant is named by itself.
    if (/^export type/.test(text) && /typeof/.test(text)) text = "";
    found.push({ name, file, text, isDocumented: source.slice(0, match.index).trimEnd().endsWith("*/") });
  }
  if (found.length === 0) throw new Error(`No declaration of ${name} in ${file}`);
  return found;
}

/** Type names a file declares or imports. */
function namesIn(file: string): Set<string> {
  const source = fs.readFileSync(file, "utf8").replaceAll(COMMENT, "");
  const imported = [...source.matchAll(/import (?:type )?\{([^}]*)\}/g)].flatMap(([, list]) => list!.split(","))
    .map((item) => item.trim().replace(/^type /, ""));
  const declared = [...source.matchAll(/\b(?:const|class|interface|type) (\w+)/g)].map((match) => match[1]!);
  return new Set([...imported, ...declared]);
}
