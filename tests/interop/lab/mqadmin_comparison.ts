// What an mqadmin command printed against two brokers, compared as its step says. Pure but for the files it wrote.

import * as fs from "node:fs";
import * as path from "node:path";
import { parseJavaJson } from "../../../src/remoting/java_json.ts";
import { differences, normalText, normalValue, type Surroundings } from "./comparison.ts";
import type { MqadminStep } from "./mqadmin_script.ts";

/** What a command left behind. */
export interface MqadminResult {
  readonly text: string;
  readonly surroundings: Surroundings;
  /** The folder whose files the command may have written. */
  readonly folder: string;
}

/** Where the two differ, as far as the step compares them; none when they are the same. */
export function mqadminDifferences(step: MqadminStep, apache: MqadminResult, ours: MqadminResult): string[] {
  return differences(comparable(step, apache, ours), comparable(step, ours, apache));
}

function comparable(step: MqadminStep, result: MqadminResult, other: MqadminResult): unknown {
  if (step.by === "file" || step.by === "shape") return fileOf(step, result);
  const text = normalOutput(step, result);
  if (step.by === "lines") return text.split("\n");
  if (step.by === "set") return text.split("\n").sort();
  const values = valuesOf(text);
  if (step.by === "keys") {
    const names = [...values.keys()].filter((name) => name !== "getTransferedTps" && !name.startsWith("twinlog"));
    return Object.fromEntries(names.map((name) => [name, step.values!.includes(name) ? values.get(name) : "<value>"]));
  }
  const shared = valuesOf(normalOutput(step, other));
  const names = [...values.keys()].filter((name) => shared.has(name) && !step.values!.includes(name)).sort();
  return Object.fromEntries(names.map((name) => [name, values.get(name)]));
}

/** Blanks collapsed, stack traces without their frames, a broker's remark left out: only its code says something. */
function normalOutput(step: MqadminStep, { text, surroundings }: MqadminResult): string {
  let out = normalText(text, surroundings)
    .replaceAll(/^\s+(at .*|\.\.\. \d+ more)$/gm, "")
    .replaceAll(/^(Caused by:.*?CODE: \d+) [^\n]*$/gm, "$1")
    .replaceAll(/^(See|For more information).*$/gm, "")
    .replaceAll(/[ \t]+/g, " ");
  for (const [pattern, word] of step.mask ?? []) out = out.replace(pattern, word);
  return out.split("\n").map((line) => line.trim()).filter((line) => line !== "").join("\n");
}

function valuesOf(text: string): Map<string, string> {
  const found = text.split("\n").map((line) => /^([^:=\s]+) ?[:=] ?(.*)$/.exec(line)).filter((one) => one !== null);
  return new Map(found.map(([, name, value]) => [name!, value!.trim()]));
}

function fileOf(step: MqadminStep, { folder, surroundings }: MqadminResult): unknown {
  const name = path.join(folder, step.file!);
  if (!fs.existsSync(name)) return "no file was written";
  const value = normalValue(parseJavaJson(fs.readFileSync(name, "utf8")), surroundings);
  return step.by === "file" ? value : shapeOf(value);
}

/** Names of members, without their values. */
function shapeOf(value: unknown): unknown {
  if (Array.isArray(value)) return value.slice(0, 1).map(shapeOf);
  if (typeof value !== "object" || value === null) return "<value>";
  return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, shapeOf(member)]));
}
