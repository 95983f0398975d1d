// Attributes of topics: how `+key=value,-key` changes them and which values they may have. Pure. Mirrors Apache's
// `AttributeParser`, `AttributeUtil` and `TopicAttributes`.

import { RemotingError } from "../../../base/errors.ts";
import { quoted } from "../../../base/printable.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";

/** Values by key: `+key` or `-key`, the latter with an empty value. */
export type AttributesModification = ReadonlyMap<string, string>;

interface Attribute {
  /** Whether a topic that exists may get, change or lose it. */
  readonly changeable: boolean;
  readonly values: readonly string[];
}

const ATTRIBUTES: ReadonlyMap<string, Attribute> = new Map([
  ["queue.type", { changeable: false, values: ["BatchCQ", "SimpleCQ"] }],
  ["cleanup.policy", { changeable: false, values: ["DELETE", "COMPACTION"] }],
  [
    "message.type",
    { changeable: true, values: ["UNSPECIFIED", "NORMAL", "FIFO", "DELAY", "TRANSACTION", "MIXED"] },
  ],
]);
/** Apache has it, for its tiered store. */
const RESERVE_TIME = "reserve.time";

/** Reads `+key1=value1,-key2`. Throws {@link RemotingError} `SYSTEM_ERROR`, as all that follow. */
export function parseAttributes(modification: string | null | undefined): AttributesModification {
  const attributes = new Map<string, string>();
  for (const part of (modification ?? "").split(",")) {
    if (part === "") continue;
    const [key = "", value = ""] = part.split("=");
    const isAdd = part.includes("=");
    if (isAdd && !key.includes("+")) throw wrong(`add/alter attribute format is wrong: ${quoted(key, 100)}`);
    if (!isAdd && !key.includes("-")) throw wrong(`delete attribute format is wrong: ${quoted(key, 100)}`);
    if (attributes.has(key)) throw wrong(`key duplication: ${quoted(key, 100)}`);
    attributes.set(key, value);
  }
  return attributes;
}

/**
 * The topic's attributes after the change; `current` is null for a topic that is not there yet, which can only get some.
 * Not taken, other than by Apache: `queue.type=BatchCQ`, whose queues have files of their own.
 */
export function alterAttributes(
  current: Readonly<Record<string, string>> | null,
  modification: AttributesModification,
): Record<string, string> {
  const attributes: Record<string, string> = { ...current };
  const seen = new Set<string>();
  for (const [signed, value] of modification) {
    const key = signed.slice(1);
    if (key === "" || key.includes("+") || key.includes("-")) throw wrong("kv string format wrong.");
    if (seen.has(key)) throw wrong(`alter duplication key. key: ${quoted(key, 100)}`);
    seen.add(key);
    const isAdd = signed.startsWith("+");
    if (current === null && !isAdd) {
      throw wrong(`only add attribute is supported while creating topic. key: ${quoted(key, 100)}`);
    }
    if (!isAdd && !signed.startsWith("-")) throw wrong(`wrong format key: ${quoted(key, 100)}`);
    if (!isAdd && !Object.hasOwn(attributes, key)) {
      throw wrong(`attempt to delete a nonexistent key: ${quoted(key, 100)}`);
    }
    checkAttribute(key, isAdd ? value : null, current === null);
    if (isAdd) attributes[key] = value;
    else delete attributes[key];
  }
  return attributes;
}

function checkAttribute(key: string, value: string | null, isNewTopic: boolean): void {
  if (key === RESERVE_TIME) throw wrong("Update topic reserveTime not supported");
  const attribute = ATTRIBUTES.get(key);
  if (attribute === undefined) throw wrong(`unsupported key: ${quoted(key, 100)}`);
  if (!isNewTopic && !attribute.changeable) {
    throw wrong(`attempt to update an unchangeable attribute. key: ${key}`);
  }
  if (value === null) return;
  if (!attribute.values.includes(value)) throw wrong(`value is not in set: [${attribute.values.join(", ")}]`);
  if (value === "BatchCQ") throw wrong("queue.type BatchCQ is not supported by this broker");
}

function wrong(remark: string): RemotingError {
  return new RemotingError(ResponseCode.SYSTEM_ERROR, remark);
}
