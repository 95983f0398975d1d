// JSON in fastjson's dialect: bodies of other brokers, and config/*.json.

import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../../../src/base/bytes.ts";
import { ProtocolError } from "../../../src/base/errors.ts";
import {
  FILE_FORMAT,
  type JavaJson,
  parseJavaJson,
  WIRE_FORMAT,
  writeJavaJson,
} from "../../../src/remoting/java_json.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { outcome } from "../properties.ts";

/** Names and values that have been trouble to somebody. */
const words = fc.constantFrom(
  "a",
  "__proto__",
  "constructor",
  "$ref",
  "$.a",
  "$.b[0]",
  "$",
  "..",
  "\ufeff",
  "\ud800",
  "\u2028",
  "",
  "0",
  "-1",
);
const keys = fc.oneof(
  words.map((word) => JSON.stringify(word)),
  fc.nat(9).map(String),
  fc.constantFrom("-5", "9007199254740993", "bare", '{"brokerName":"b","queueId":1}', "[1]", "true"),
);

/** Text in the dialect, most of it good. */
export const javaJsonText: fc.Arbitrary<string> = fc.letrec<{ value: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small", withCrossShrink: true },
    fc.oneof(
      words.map((word) => JSON.stringify(word)),
      fc.constantFrom(
        "null",
        "true",
        "-0",
        "1.5e3",
        "12345678901234567890",
        '{"$ref":"$.a"}',
        "'x'",
        '"\\x41\\u0041\\\'"',
        "1e999",
      ),
      fc.integer().map(String),
    ),
    fc.array(tie("value"), { maxLength: 4 }).map((items) => `[${items.join(",")}]`),
    fc.array(fc.tuple(keys, tie("value")), { maxLength: 4 }).map((members) =>
      `{${members.map(([key, value]) => `${key}:${value}`).join(", ")}}`
    ),
  ),
})).value;

/** A value as one that can be compared: what the writer can't tell apart is made one. */
function canonical(value: JavaJson): unknown {
  if (typeof value === "number") return value === 0 ? 0 : value;
  if (typeof value !== "object" || value === null) return value;
  if (Array.isArray(value)) return value.map(canonical);
  const members = new Map<string, unknown>();
  for (const [key, member] of value instanceof Map ? value : Object.entries(value)) {
    if (member === null) continue;
    members.set(typeof key === "object" ? JSON.stringify(canonical(key), bigints) : String(key), canonical(member));
  }
  return [...members].map((pair) => JSON.stringify(pair, bigints)).sort();
}

function bigints(_: string, value: unknown): unknown {
  return typeof value === "bigint" ? `${value}n` : value;
}

/** Every value within limits, each object once: a `$ref` may share one, but never lead back to itself. */
function assertTree(value: JavaJson, depth = 0, heights = new Map<object, number>()): number {
  assert.ok(depth <= 66, "A value is nested deeper than the parser allows");
  if (typeof value === "number") assert.ok(Number.isFinite(value), `A number is ${value}`);
  if (typeof value !== "object" || value === null) return 0;
  const known = heights.get(value);
  if (known !== undefined) return known;
  const members: JavaJson[] = Array.isArray(value)
    ? value
    : value instanceof Map
    ? [...value.keys(), ...value.values()]
    : Object.values(value);
  const height = 1 + Math.max(0, ...members.map((member) => assertTree(member, depth + 1, heights)));
  heights.set(value, height);
  return height;
}

/** The dialect. */
export const JAVA_JSON: FuzzTarget = {
  name: "java_json",
  runs: 1500,
  inputs: javaJsonText.map(utf8.encode),
  check(input) {
    const { value, error } = outcome(() => parseJavaJson(utf8.decode(input)), ProtocolError);
    if (error !== null) return;
    assertTree(value);
    for (const format of [FILE_FORMAT, WIRE_FORMAT]) {
      // A few references can stand for more text than may be written: the only error there is.
      const { value: text, error: tooLong } = outcome(() => writeJavaJson(value, format), RangeError);
      if (tooLong !== null) continue;
      const again = parseJavaJson(text);
      assert.deepEqual(canonical(again), canonical(value));
      // JavaScript puts integer keys first, so the order settles with the first reading.
      const settled = writeJavaJson(again, format);
      assert.equal(writeJavaJson(parseJavaJson(settled), format), settled, "Written text is not what it reads back as");
    }
  },
};
