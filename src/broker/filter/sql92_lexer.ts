// Cuts a filter expression into tokens, one at a time: what follows a complete expression is never looked at, so it may
// be anything. Pure. The grammar is sql92_parser.ts. Mirrors the tokens of Apache's `SelectorParser.jj`.

import { quoted } from "../../base/printable.ts";

/** Keywords, in any case. */
export const KEYWORDS = [
  "NOT",
  "AND",
  "OR",
  "BETWEEN",
  "IN",
  "TRUE",
  "FALSE",
  "NULL",
  "IS",
  "CONTAINS",
  "STARTSWITH",
  "ENDSWITH",
] as const;

/** A keyword, a sign, or what kind of text it is. */
export type Sql92TokenKind =
  | (typeof KEYWORDS)[number]
  | "="
  | "<>"
  | ">"
  | ">="
  | "<"
  | "<="
  | "("
  | ")"
  | ","
  | "+"
  | "-"
  | "ID"
  | "decimal"
  | "float"
  | "string"
  | "end";

/** A piece of an expression. */
export interface Sql92Token {
  readonly kind: Sql92TokenKind;
  /** As it stands there; of a string what it means. */
  readonly text: string;
  /** Where it begins, in UTF-16 units. */
  readonly at: number;
}

/** The expression can't be read; becomes SUBSCRIPTION_PARSE_FAILED. */
export class Sql92Error extends Error {
  override readonly name = "Sql92Error";
}

// A line comment needs its line end: without one the two signs are signs. The longest match wins, as in JavaCC.
const BLANK = /(?:[ \t\n\r\f]|--[^\n\r]*[\n\r]|\/\*[^*]*\*(?:\*|[^*/][^*]*\*)*\/)*/y;
const NUMBER = /\d+\.\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?|\d+[eE][+-]?\d+|0|[1-9]\d*[lL]?/y;
const NAME = /[A-Za-z_$][A-Za-z0-9_$]*/y;
const SIGN = /<>|<=|>=|[=<>(),+-]/y;

const KEYWORD_SET: ReadonlySet<string> = new Set(KEYWORDS);

/** Takes tokens off an expression. */
export class Sql92Lexer {
  readonly #text: string;
  #at = 0;

  constructor(text: string) {
    this.#text = text;
  }

  /** The next token, `end` after the last. Throws {@link Sql92Error} where none begins. */
  next(): Sql92Token {
    this.#take(BLANK);
    const at = this.#at;
    if (at >= this.#text.length) return { kind: "end", text: "", at };
    const name = this.#take(NAME);
    if (name !== "") {
      const upper = name.toUpperCase();
      return { kind: KEYWORD_SET.has(upper) ? upper as Sql92TokenKind : "ID", text: name, at };
    }
    const number = this.#take(NUMBER);
    if (number !== "") return { kind: /[.eE]/.test(number) ? "float" : "decimal", text: number, at };
    const sign = this.#take(SIGN);
    if (sign !== "") return { kind: sign as Sql92TokenKind, text: sign, at };
    if (this.#text[at] === "'") return { kind: "string", text: this.#string(), at };
    throw new Sql92Error(`Expression has ${quoted(this.#text[at]!)} at ${at}, wanted something of SQL92`);
  }

  /** `''` stands for a quote. Without a closing quote the string ends at the last one that may close it. */
  #string(): string {
    const at = this.#at;
    let end = -1;
    for (let quote = this.#text.indexOf("'", at + 1); quote >= 0;) {
      end = quote;
      if (this.#text[quote + 1] !== "'") break;
      quote = this.#text.indexOf("'", quote + 2);
    }
    if (end < 0) throw new Sql92Error(`String at ${at} has no end, wanted a closing quote`);
    this.#at = end + 1;
    return this.#text.slice(at + 1, end).replaceAll("''", "'");
  }

  #take(pattern: RegExp): string {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text)?.[0] ?? "";
    this.#at += match.length;
    return match;
  }
}
