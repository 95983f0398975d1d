// SQL92 filter expressions: text of consumers, evaluated for every message.

import assert from "node:assert/strict";
import fc from "fast-check";
import { utf8 } from "../../../src/base/bytes.ts";
import { Sql92Error } from "../../../src/broker/filter/sql92_lexer.ts";
import { parseSql92 } from "../../../src/broker/filter/sql92_parser.ts";
import { EVALUATION_ERROR } from "../../../src/broker/filter/sql92_expression.ts";
import type { FuzzTarget } from "../fuzz.ts";
import { outcome } from "../properties.ts";

const names = fc.constantFrom("a", "b", "n", "m", "A", "$x", "_y9", "TAGS", "missing", "inn", "nullx");
const strings = fc.constantFrom(
  "''",
  "'a'",
  "'10'",
  "'it''s'",
  "'true'",
  "'ü'",
  "'--'",
  "'x y'",
  "''''",
  "'/*'",
  "'%'",
);
const numbers = fc.constantFrom(
  ..."0 1 5 10 10l 10L 0L 007 2147483647 2147483648 4294967296 9223372036854775807 9223372036854775808".split(" "),
  ..."1.5 5. .5 5E10 5e-3 1e400 0.0 0e5 1e-400 4.9E-324 1.7976931348623157e308 0.1 10.0 99999999999999999999".split(
    " ",
  ),
);
const words = fc.constantFrom("TRUE", "false", "NULL", "null", "True");
const blanks = fc.constantFrom(" ", " ", " ", " ", "  ", "\t", "\n", "\f", "\r\n", "/* c */", "/**/", "-- c\n", "");
const signs = fc.constantFrom("=", "<>", ">", ">=", "<", "<=");
const holds = fc.constantFrom("CONTAINS", "startswith", "EndsWith");
const negation = fc.constantFrom("", "", "NOT ", "not ");

/** Mostly expressions that are well formed: pieces put together by the grammar, types at random. */
const grammatical: fc.Arbitrary<string> = fc.letrec<{ condition: string; value: string; test: string }>((tie) => ({
  value: fc.oneof(
    { depthSize: "small" },
    names,
    names,
    numbers,
    strings,
    words,
    fc.tuple(fc.constantFrom("-", "+", "- -", "NOT "), tie("value")).map((parts) => parts.join("")),
    tie("condition").map((text) => `(${text})`),
  ),
  test: fc.oneof(
    { depthSize: "small" },
    fc.tuple(tie("value"), blanks, signs, blanks, tie("value")).map((parts) => parts.join("")),
    fc.tuple(names, signs, numbers).map((parts) => parts.join(" ")),
    fc.tuple(tie("value"), fc.constantFrom(" IS NULL", " is not null", " IS  NOT\nNULL")).map((parts) =>
      parts.join("")
    ),
    fc.tuple(tie("value"), negation, holds, strings).map(([value, not, word, text]) =>
      `${value} ${not}${word} ${text}`
    ),
    fc.tuple(names, negation, fc.array(strings, { minLength: 1, maxLength: 7 })).map(([name, not, texts]) =>
      `${name} ${not}IN (${texts.join(",")})`
    ),
    fc.tuple(tie("value"), negation, tie("value"), tie("value")).map(([value, not, low, high]) =>
      `${value} ${not}BETWEEN ${low} AND ${high}`
    ),
    fc.tuple(names, negation, numbers, numbers).map(([name, not, low, high]) =>
      `${name} ${not}BETWEEN ${low} AND ${high}`
    ),
    tie("value"),
  ),
  condition: fc.oneof(
    { depthSize: "small" },
    tie("test"),
    fc.array(fc.tuple(tie("test"), fc.constantFrom(" AND ", " OR ", " and ", " or ")), { minLength: 1, maxLength: 4 })
      .map((parts) => parts.map(([test, word], i) => i === parts.length - 1 ? test : test + word).join("")),
  ),
})).condition;

/** Tokens in any order, and characters that are none. */
const soup: fc.Arbitrary<string> = fc.array(
  fc.oneof(
    names,
    strings,
    numbers,
    words,
    signs,
    blanks,
    fc.constantFrom(
      "(",
      ")",
      ",",
      "+",
      "-",
      "AND",
      "OR",
      "NOT",
      "IN",
      "IS",
      "BETWEEN",
      "CONTAINS",
      "LIKE",
      "'",
      "#",
      ".",
      "/",
      "--",
      "/*",
      "ü",
      "\ud800",
      "==",
      "!=",
      "\0",
    ),
  ),
  { maxLength: 12 },
).map((parts) => parts.join(""));

/** Texts for the parser, most of them grammatical, some cut or followed by what is ignored. */
export const sql92Text: fc.Arbitrary<string> = fc.oneof(
  { weight: 6, arbitrary: grammatical },
  { weight: 2, arbitrary: soup },
  { weight: 1, arbitrary: fc.tuple(grammatical, soup).map((parts) => parts.join(" ")) },
  { weight: 1, arbitrary: fc.tuple(grammatical, fc.nat()).map(([text, at]) => text.slice(0, at % (text.length + 1))) },
);

/** Values that are numbers to some of Java's types and none to others. */
const values = fc.oneof(
  fc.constantFrom(
    ..."0 1 5 10 -5 +5 10.0 10.5 1e1 1.5f 7d NaN Infinity -Infinity -NaN 0x10 0x1p4 0x.8p1 0x1.fffffffffffff8p0".split(
      " ",
    ),
    ..."2147483647 2147483648 -2147483648 3000000000 9223372036854775807 9223372036854775808 1L 007 -0 -0.0".split(" "),
    ..."true TRUE false tRuE a it's null 1e400 4.9e-324 2e-324 . 5. .5 e5 1e 1_0 + - +-1 ４２ ٣ 𝟗 1.2.3 0x 0x1".split(
      " ",
    ),
  ),
  fc.constantFrom(" 5", "5 ", "\t1.5\n", "\u00a05", "x y", "ü", "\ud800", "--", "'", "/*", "%", "aa10a"),
  fc.integer().map(String),
  fc.double().map(String),
);

/** Properties of a message. */
export const messageProperties: fc.Arbitrary<ReadonlyMap<string, string>> = fc.array(fc.tuple(names, values), {
  maxLength: 8,
}).map((pairs) => new Map(pairs.filter(([name]) => name !== "missing")));

const EXAMPLES: readonly ReadonlyMap<string, string>[] = fc.sample(messageProperties, { seed: 92, numRuns: 12 });

/** Expressions of consumers. */
export const SQL92: FuzzTarget = {
  name: "sql92",
  runs: 3000,
  inputs: sql92Text.map(utf8.encode),
  check(input) {
    const text = utf8.decode(input);
    const result = outcome(() => parseSql92(text), Sql92Error);
    if (result.error !== null) return;
    const compiled = result.value;
    for (const properties of EXAMPLES) {
      let value: unknown = "error";
      try {
        value = compiled.evaluate(properties);
        assert.ok(value === null || typeof value === "boolean", `A condition is ${value}`);
      } catch (thrown) {
        assert.equal(thrown, EVALUATION_ERROR);
      }
      assert.equal(compiled.matches(properties), value === true);
    }
  },
};
