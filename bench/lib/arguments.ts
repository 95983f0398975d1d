// What a benchmark was given on its command line. `--help` prints the head of its file, and what can't be read ends it with
// one line: nobody should have to read a stack for a mistyped flag.

import * as fs from "node:fs";
import { parseArgs, type ParseArgsConfig } from "node:util";

/** What all of them know; `only` is some of `names`, all when it is not given. */
function commonOptions(names: readonly string[]) {
  return {
    rounds: { type: "string" },
    only: { type: "string", default: names.join(",") },
    json: { type: "string" },
    "no-docs": { type: "boolean", default: false },
    help: { type: "boolean", short: "h", default: false },
  } as const;
}

/** Reads the arguments of the benchmark of these nodes in `file`, whose leading comment is its help. */
export function benchArguments<T extends NonNullable<ParseArgsConfig["options"]>>(
  file: string,
  names: readonly string[],
  own: T,
) {
  try {
    const { values } = parseArgs({ options: { ...own, ...commonOptions(names) } });
    if ((values as { help?: boolean }).help) endWith(helpOf(file), 0);
    return values;
  } catch (error) {
    return endWith(`${error instanceof Error ? error.message.split(". ")[0] : error}; --help lists the options`, 2);
  }
}

/** The value of a flag as a whole number from `atLeast`. */
export function wholeNumber(flag: string, text: string, atLeast = 1): number {
  const value = Number(text);
  if (Number.isInteger(value) && value >= atLeast) return value;
  return endWith(`--${flag} is "${text}", wanted a whole number from ${atLeast}`, 2);
}

/** The value of a flag as a number above 0. */
export function positiveNumber(flag: string, text: string): number {
  const value = Number(text);
  return value > 0 ? value : endWith(`--${flag} is "${text}", wanted a number above 0`, 2);
}

/** The value of a flag as some of `all`, by commas. */
export function someOf<T extends string>(flag: string, text: string, all: readonly T[]): T[] {
  const names = text.split(",");
  const wrong = names.find((name) => !(all as readonly string[]).includes(name));
  return wrong === undefined ? names as T[] : endWith(`--${flag} has "${wrong}", wanted some of ${all.join(",")}`, 2);
}

function helpOf(file: string): string {
  const lines = fs.readFileSync(file, "utf8").split("\n");
  return lines.slice(0, lines.findIndex((line) => !line.startsWith("//"))).map((line) => line.slice(3)).join("\n");
}

function endWith(line: string, code: number): never {
  (code === 0 ? process.stdout : process.stderr).write(`${line}\n`);
  process.exit(code);
}
