// Consumer offsets in memory, and their JSON: `topic@group` to (queue id to next offset). Pure; the ConsumerOffsetManager
// owns a table, a slave's AdoptedOffsets compares two.

import {
  isJavaJsonObject,
  type JavaJson,
  type JavaJsonFormat,
  type JavaJsonObject,
  javaJsonObject,
} from "../../remoting/java_json.ts";

/** Offsets by queue id. */
export type QueueOffsets = Map<number, number>;
/** The offsets of each `topic@group`. */
export type OffsetTable = Map<string, QueueOffsets>;

const SEPARATOR = "@";

/** The table's key. */
export function topicAtGroup(topic: string, group: string): string {
  return topic + SEPARATOR + group;
}

/** Topic and group of a key; null when it has other parts, as those of `<group>@broadcast` have. */
export function splitTopicAtGroup(key: string): { topic: string; group: string } | null {
  const at = key.indexOf(SEPARATOR);
  if (at <= 0 || at === key.length - 1 || key.includes(SEPARATOR, at + 1)) return null;
  return { topic: key.slice(0, at), group: key.slice(at + 1) };
}

/** Reads `offsetTable` of a file or a body. What is no offset is left out; one beyond 2^53 becomes 2^53 - 1. */
export function readOffsetTable(json: JavaJson | undefined): OffsetTable {
  const table: OffsetTable = new Map();
  if (!isJavaJsonObject(json)) return table;
  for (const [key, queues] of Object.entries(json)) {
    const entries = queues instanceof Map ? queues : isJavaJsonObject(queues) ? Object.entries(queues) : null;
    if (entries === null) continue;
    const offsets: QueueOffsets = new Map();
    for (const [queue, value] of entries) {
      const queueId = integer(queue);
      const offset = integer(value);
      if (queueId !== null && offset !== null) offsets.set(queueId, offset);
    }
    table.set(key, offsets);
  }
  return table;
}

/** Its JSON, with the integer keys that Java writes bare. */
export function offsetTableJson(table: ReadonlyMap<string, ReadonlyMap<number, number>>): JavaJsonObject {
  const json = javaJsonObject();
  // The writer only reads: the maps are not copied.
  for (const [key, offsets] of table) json[key] = offsets as unknown as Map<JavaJson, JavaJson>;
  return json;
}

/**
 * The text of {@link offsetTableJson} as a member of a document, as `writeJavaJson` has it and many times faster: with
 * thousands of groups it is made every few seconds, between two requests.
 */
export function offsetTableText(
  table: ReadonlyMap<string, ReadonlyMap<number, number>>,
  { pretty, quoteIntegerKeys }: JavaJsonFormat,
): string {
  const quote = quoteIntegerKeys ? '"' : "";
  const [line, inner, end] = pretty ? ["\n\t\t", "\n\t\t}", "\n\t}"] : ["", "}", "}"];
  let text = "{";
  for (const [key, offsets] of table) {
    text += `${text.length === 1 ? "" : ","}${line}${JSON.stringify(key)}:{`;
    let separator = quote;
    for (const [queueId, offset] of offsets) {
      text += `${separator}${queueId}${quote}:${offset}`;
      separator = `,${quote}`;
    }
    text += offsets.size === 0 ? "}" : inner;
  }
  return text + (table.size === 0 ? "}" : end);
}

/** Whether both hold the same offsets. */
export function sameOffsets(a: OffsetTable, b: OffsetTable): boolean {
  if (a.size !== b.size) return false;
  for (const [key, ours] of a) {
    const theirs = b.get(key);
    if (theirs === ours) continue;
    if (theirs === undefined || theirs.size !== ours.size) return false;
    for (const [queueId, offset] of ours) if (theirs.get(queueId) !== offset) return false;
  }
  return true;
}

function integer(value: JavaJson | undefined): number | null {
  if (typeof value === "bigint") return value > 0n ? Number.MAX_SAFE_INTEGER : Number.MIN_SAFE_INTEGER;
  const number = typeof value === "string" && /^-?\d{1,19}$/.test(value) ? Number(value) : value;
  if (typeof number !== "number" || !Number.isInteger(number)) return null;
  return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, number)) + 0;
}
