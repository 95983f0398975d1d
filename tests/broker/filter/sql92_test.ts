// SQL92 filters: what compiles, and what is let through. Every rule here was seen on Apache 5.3.3's own parser, which
// tests/interop/filter_test.ts asks about far more of them.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import {
  compareDoubles,
  parseJavaDouble,
  parseJavaInt,
  parseJavaLong,
} from "../../../src/broker/filter/java_numbers.ts";
import { EVALUATION_ERROR } from "../../../src/broker/filter/sql92_expression.ts";
import { Sql92Error } from "../../../src/broker/filter/sql92_lexer.ts";
import { parseSql92 } from "../../../src/broker/filter/sql92_parser.ts";

const MESSAGE = new Map([
  ["n", "10"],
  ["f", "10.5"],
  ["s", "abc"],
  ["t", "TRUE"],
  ["big", "3000000000"],
  ["TAGS", "TagA"],
]);

function ask(text: string): boolean | null | "error" {
  try {
    return parseSql92(text).evaluate(MESSAGE);
  } catch (error) {
    assert.equal(error, EVALUATION_ERROR);
    return "error";
  }
}

/** Expressions by what they come to. */
function cases(name: string, expected: boolean | null | "error", texts: readonly string[]): void {
  it(name, () => {
    for (const text of texts) {
      assert.equal(ask(text), expected, text);
      assert.equal(parseSql92(text).matches(MESSAGE), expected === true, text);
    }
  });
}

describe("SQL92 evaluation", () => {
  cases("is true", true, [
    "n = 10",
    "n=10 garbage that is never looked at '",
    "N IS NULL",
    "n is not null and s IN ('x','abc')",
    "n BETWEEN 9 AND 10",
    "n NOT BETWEEN 11 AND 12",
    "f > 5.0",
    "big > 2147483648",
    "big = 3000000000L",
    "t = TRUE",
    "s <> 'x'",
    "s CONTAINS 'b' AND s startswith 'ab' AND s ENDSWITH 'c'",
    "s NOT CONTAINS 'x'",
    "TAGS = 'TagA'",
    "-5 < n",
    "n = 10 OR big = 5",
    "missing = absent",
    "NOT (n = 11)",
    "/* c */ n -- c\n = 10",
    "TRUE",
    "1 < 1.5",
    "n < f",
  ]);
  cases("is false", false, [
    "s LIKE 'a'",
    "n",
    "n = 11",
    "n = '10.0'",
    "n = missing",
    "s = TRUE",
    "missing CONTAINS 'x'",
    "missing NOT CONTAINS 'x'",
    "s NOT STARTSWITH ''",
    "n = 11 AND s > 5",
    "missing = 5 AND n = 11",
  ]);
  cases("is unknown", null, [
    "missing",
    "missing = 5",
    "missing <> 5",
    "NOT missing",
    "missing > 5",
    "missing IN ('x')",
    "missing NOT IN ('x')",
    "-s < 5",
    "missing = 5 AND n = 10",
    "missing = 5 OR n = 11",
    "NULL",
  ]);
  cases("is an error", "error", [
    "f > 5",
    "big > 5",
    "s = 5",
    "s > n",
    "TRUE = n",
    "s > 5 AND n = 11",
    "n = 11 OR s > 5",
  ]);
});

describe("SQL92 compilation", () => {
  it("refuses what can't be a condition, and says why", () => {
    const refused = [
      "",
      "5",
      "'x'",
      "n > 'x'",
      "n > TRUE",
      "n > NULL",
      "NOT n > 5",
      "n = NULL",
      "n <> NULL",
      "TRUE = 5",
      "n BETWEEN 'a' AND 'b'",
      "n BETWEEN 10 AND 9",
      "n IN (1, 2)",
      "5 IN ('x')",
      "n IN ()",
      "n NOT 5",
      "n IS 5",
      "n = 10 AND",
      "n = 10 #",
      "(n = 10",
      "n == 10",
      "s = 'x",
      "n > 0.0",
      "n > 1e400",
      "n > 9223372036854775808",
      "n.x = 1 OR .",
    ];
    for (const text of refused) {
      assert.throws(
        () => parseSql92(text),
        (error) => error instanceof Sql92Error && /wanted/.test(error.message),
        text,
      );
    }
  });

  it("bounds length and nesting, but no chain", () => {
    const long = Array(5000).fill("n = 10").join(" AND ");
    assert.equal(parseSql92(long).matches(MESSAGE), true);
    assert.equal(parseSql92("(".repeat(200) + "n = 10" + ")".repeat(200)).matches(MESSAGE), true);
    assert.throws(() => parseSql92("(".repeat(300) + "n = 10" + ")".repeat(300)), /nested deeper than 256/);
    assert.throws(() => parseSql92("n" + " IS NULL".repeat(300)), /nested deeper than 256/);
    assert.throws(() => parseSql92(`n = '${"x".repeat(70_000)}'`), /wanted at most 65536/);
  });
});

describe("Java's numbers", () => {
  it("reads integers as Integer.valueOf and Long.valueOf do", () => {
    for (
      const [text, value] of [["+5", 5], ["-2147483648", -(2 ** 31)], ["007", 7], ["-0", 0], ["４２", 42], ["٣", 3]]
    ) {
      assert.equal(parseJavaInt(text as string), value);
      assert.equal(parseJavaLong(text as string), BigInt(value as number));
    }
    for (const text of ["", "+", " 5", "5L", "1.0", "2147483648", "𝟗"]) assert.equal(parseJavaInt(text), null, text);
    assert.equal(parseJavaLong("9223372036854775807"), 2n ** 63n - 1n);
    assert.equal(parseJavaLong("9223372036854775808"), null);
  });

  it("reads doubles as Double.valueOf does", () => {
    const good: [string, number][] = [[" 1.5f\n", 1.5], ["5.", 5], [".5d", 0.5], ["-Infinity", -Infinity], [
      "1e400",
      Infinity,
    ]];
    good.push(["0x1p4", 16], ["-0x.8p1", -1], ["0x1p-1074", 2 ** -1074], ["0x1.8p-1075", 2 ** -1074], [
      "0x1p1024",
      Infinity,
    ]);
    good.push(["0x1.fffffffffffff8p0", 2], ["0x1.00000000000008p0", 1], ["0x0p9", 0]);
    for (const [text, value] of good) assert.equal(parseJavaDouble(text), value, text);
    assert.ok(Number.isNaN(parseJavaDouble("NaN")));
    for (const text of ["", ".", "e5", "1_0", "0x10", "NaNf", "\u00a05", "1 5"]) {
      assert.equal(parseJavaDouble(text), null);
    }
  });

  it("orders doubles as Double.compare does", () => {
    assert.equal(compareDoubles(-0, 0), -1);
    assert.equal(compareDoubles(NaN, Infinity), 1);
    assert.equal(compareDoubles(NaN, NaN), 0);
    assert.equal(compareDoubles(1, NaN), -1);
    assert.equal(compareDoubles(2, 2), 0);
  });
});
