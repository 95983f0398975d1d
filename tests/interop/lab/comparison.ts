// What the same request or command gave on two brokers, made comparable: addresses, times, ids and folders become words,
// everything else is compared as it is. Pure.

import { parseJavaJson } from "../../../src/remoting/java_json.ts";

/** What differs between two machines without meaning anything. */
export interface Surroundings {
  /** Words for texts, such as `127.0.0.1:12345` for `<broker>`. */
  readonly names: readonly (readonly [text: string, word: string])[];
}

/** Members whose numbers say when or how long, or count what each broker counts in its own way. */
const VOLATILE: ReadonlySet<string> = new Set([
  "timestamp",
  "counter",
  "delayTime",
  "lastUpdateTimestamp",
  "subVersion",
]);

/** A text with everything that is only here and now replaced. */
export function normalText(text: string, { names }: Surroundings): string {
  // Properties of a message come in the order of a hash table.
  let out = text.includes("\x02") ? text.split("\x02").filter((one) => one !== "").sort().join("\x02") : text;
  for (const [from, word] of names) out = out.replaceAll(from, word);
  return out
    .replaceAll(/127\.0\.0\.1:\d{4,5}/g, "<address>")
    .replaceAll(/\b(19|20)\d\d-\d\d-\d\d[ #T]\d\d:\d\d:\d\d([.,:#]\d{1,3})?/g, "<date>")
    .replaceAll(/\b1[6-9]\d{11}\b/g, "<time>")
    .replaceAll(/\b[0-9A-F]{32,}\b/g, "<id>")
    .replaceAll(/0x[0-9a-f]{8,}/g, "<hash>")
    .replaceAll(/@[0-9a-f]{6,8}\b/g, "@<hash>");
}

/** Any value of a JSON body likewise; objects with their keys in order, maps as objects whose keys are texts. */
export function normalValue(value: unknown, surroundings: Surroundings, key = ""): unknown {
  if (typeof value === "bigint") return `<${value}>`;
  if (typeof value === "number" && (VOLATILE.has(key) || (value >= 1.6e12 && value < 2e12))) return "<number>";
  if (typeof value === "string") return normalText(value, surroundings);
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return sorted(value.map((one) => normalValue(one, surroundings)));
  const entries = value instanceof Map ? [...value] : Object.entries(value);
  const members = entries.map(([name, member]): [string, unknown] => {
    const text = typeof name === "object" ? JSON.stringify(normalValue(name, surroundings)) : String(name);
    return [normalText(text, surroundings), normalValue(member, surroundings, text)];
  });
  return Object.fromEntries(members.sort(([a], [b]) => a < b ? -1 : 1));
}

/** Lists of Java's sets come in any order. */
function sorted(items: unknown[]): unknown[] {
  return items.map((item) => [JSON.stringify(item), item] as const).sort(([a], [b]) => a < b ? -1 : 1).map(([, item]) =>
    item
  );
}

/** The value of a body: its JSON, its text, or how many bytes it has when it is neither. */
export function bodyValue(body: Uint8Array): unknown {
  if (body.length === 0) return null;
  const text = new TextDecoder().decode(body);
  try {
    return parseJavaJson(text);
  } catch {
    return /^[\x20-\x7e\s]*$/.test(text) ? text : `${body.length} bytes`;
  }
}

/** Where two values differ first, at most so many places; none when they are equal. */
export function differences(apache: unknown, ours: unknown, path = "", max = 3): string[] {
  if (max <= 0 || JSON.stringify(apache) === JSON.stringify(ours)) return [];
  const isObject = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null;
  if (!isObject(apache) || !isObject(ours) || Array.isArray(apache) !== Array.isArray(ours)) {
    return [`${path === "" ? "answer" : path}: Apache ${show(apache)}, ours ${show(ours)}`];
  }
  const found: string[] = [];
  for (const key of new Set([...Object.keys(apache), ...Object.keys(ours)])) {
    const at = path === "" ? key : `${path}.${key}`;
    if (!Object.hasOwn(ours, key)) found.push(`${at}: not in ours`);
    else if (!Object.hasOwn(apache, key)) found.push(`${at}: not in Apache's`);
    else found.push(...differences(apache[key], ours[key], at, max - found.length));
    if (found.length >= max) return found.slice(0, max);
  }
  return found;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}
