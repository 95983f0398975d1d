// docs/coming_from_4x.md tells defaults, request codes and limits of ours: here they are held to the program.

import assert from "node:assert/strict";
import { existsSync, readFileSync } from "node:fs";
import { describe, it } from "node:test";
import { ALIASES, REFUSED, REPLACED, WITHOUT_EFFECT } from "../../src/config/apache_keys.ts";
import { isConfigKey, settingOf } from "../../src/config/schema.ts";
import { Derived } from "../../src/config/setting.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";

const ROOT = new URL("../../", import.meta.url);
const document = readFileSync(new URL("docs/coming_from_4x.md", ROOT), "utf8");
const served = new Set<number>(Object.values(RequestCode));

/** Rows of the tables in a section, without their heads; each cell trimmed. */
function rowsOf(title: string): string[][] {
  const section = document.split(/^## /m).find((part) => part.startsWith(`${title}\n`));
  assert.ok(section, title);
  const tables = section.split(/\n\n/).filter((part) => part.trimStart().startsWith("|"));
  assert.ok(tables.length > 0, title);
  return tables.flatMap((table) => table.trim().split("\n").slice(2)).map((row) =>
    row.split("|").slice(1, -1).map((cell) => cell.trim())
  );
}

/** Codes in a sentence: `11, 12` and `200 to 202`. */
function codesIn(text: string): number[] {
  return [...text.matchAll(/(\d+) to (\d+)|\d+/g)].flatMap(([one, from, to]) =>
    from === undefined
      ? [Number(one)]
      : Array.from({ length: Number(to) - Number(from) + 1 }, (_, at) => Number(from) + at)
  );
}

/** What a source file says a constant is: digits and products of them. */
function constantOf(file: string, name: string): number {
  const source = readFileSync(new URL(file, ROOT), "utf8");
  const match = new RegExp(`\\b${name}(?: =|:) ([\\d_]+(?: \\* [\\d_]+)*)`).exec(source);
  assert.ok(match, `${file} has a ${name}`);
  return match[1]!.split(" * ").reduce((product, factor) => product * Number(factor.replaceAll("_", "")), 1);
}

describe("docs/coming_from_4x.md", () => {
  it("tells the defaults that the table of settings has", () => {
    const rows = rowsOf("Configuration").filter((cells) => cells.length === 4 && /^`\w+`$/.test(cells[0]!));
    assert.ok(rows.length > 25);
    for (const [cell, , here] of rows) {
      const key = cell!.slice(1, -1);
      assert.ok(isConfigKey(key), key);
      const { fallback } = settingOf(key);
      const expected = fallback instanceof Derived ? fallback.text : fallback === null ? "unset" : `\`${fallback}\``;
      assert.equal(here, expected, key);
    }
  });

  it("names keys without effect that are known as such", () => {
    const [refused, replaced, without, respelt] = rowsOf("Configuration").filter((cells) => cells.length === 3);
    const keysIn = (row: string[] | undefined) =>
      [...row![0]!.matchAll(/`(\w+)(?:=true)?`/g)].map((match) => match[1]!).filter((key) => key !== "clusterTest");
    for (const key of keysIn(refused)) assert.ok(Object.hasOwn(REFUSED, key), key);
    for (const key of keysIn(replaced)) assert.ok(Object.hasOwn(REPLACED, key), key);
    for (const key of keysIn(without)) assert.ok(WITHOUT_EFFECT.has(key), key);
    for (const key of keysIn(respelt)) assert.ok(Object.hasOwn(ALIASES, key), key);
  });

  it("tells which request codes are served", () => {
    for (const [codes] of rowsOf("Request codes").filter(([cell]) => /^[\d, ]+$/.test(cell!))) {
      for (const code of codesIn(codes!)) assert.ok(!served.has(code), `${code} is not served`);
    }
    const text = document.replaceAll("\n", " ");
    const those = codesIn(/unknown to 4\.9\.8: (.*?)\. /.exec(text)![1]!.replace(/;[^:]*:/, ","));
    assert.ok(those.length > 20);
    for (const code of those) assert.ok(served.has(code), `${code} is served`);
    const others = codesIn(/Not served of 5\.x: (.*?)\. /.exec(text)![1]!).filter((code) => code !== 1007);
    assert.ok(others.length > 30);
    for (const code of others) assert.ok(!served.has(code), `${code} is not served`);
  });

  it("tells the limits that the sources have", () => {
    const rows = rowsOf("Limits");
    assert.ok(rows.length > 15);
    for (const [what, most, where] of rows) {
      const match = /^`(\S+)` (\w+)$/.exec(where!);
      assert.ok(match, what);
      assert.equal(Number(most!.replaceAll(",", "")), constantOf(match[1]!, match[2]!), what);
    }
  });

  it("names files that exist", () => {
    for (const [, path] of document.matchAll(/`(src\/[\w/.]+)`/g)) assert.ok(existsSync(new URL(path!, ROOT)), path);
  });
});
