// The grammar of filter expressions: tokens in, one condition out. Pure. It looks one token ahead, two after NOT and IS,
// and stops where a condition is complete: like Apache's `SelectorParser` it ignores whatever follows.
//
//   or := and (OR and)*        and := eq (AND eq)*        eq := cmp ("=" cmp | "<>" cmp | IS [NOT] NULL)*
//   cmp := un ((">" | ">=" | "<" | "<=") un | [NOT] (CONTAINS | STARTSWITH | ENDSWITH) string
//              | [NOT] BETWEEN un AND un | [NOT] IN "(" string ("," string)* ")")*
//   un := "+" un | "-" un | NOT un | literal | ID | "(" or ")"

import { quoted } from "../../base/printable.ts";
import {
  and,
  asBoolean,
  between,
  constant,
  decimal,
  DEPTH_MAX,
  equal,
  EVALUATION_ERROR,
  type Expression,
  float,
  holdsText,
  isIn,
  isNull,
  negate,
  not,
  notBetween,
  notEqual,
  or,
  ordered,
  type Properties,
  property,
} from "./sql92_expression.ts";
import { Sql92Error, Sql92Lexer, type Sql92Token, type Sql92TokenKind } from "./sql92_lexer.ts";

/** Longest expression taken, in UTF-16 units. Apache has no bound of its own. */
export const EXPRESSION_LENGTH_MAX = 64 * 1024;

/** A condition on a message's properties, ready to be asked. Mirrors what Apache's `SqlFilter.compile` gives. */
export interface CompiledExpression {
  /** true, false, or null for unknown. Throws {@link EVALUATION_ERROR} for properties it can't compare. */
  evaluate(properties: Properties): boolean | null;
  /** Whether it is true; unknown and errors are not. */
  matches(properties: Properties): boolean;
}

/** Throws {@link Sql92Error} for what is no condition. */
export function parseSql92(text: string): CompiledExpression {
  if (text.length > EXPRESSION_LENGTH_MAX) {
    throw new Sql92Error(`Expression has ${text.length} characters, wanted at most ${EXPRESSION_LENGTH_MAX}`);
  }
  const evaluate = new Parser(text).parse().evaluate as CompiledExpression["evaluate"];
  return {
    evaluate,
    matches(properties) {
      try {
        return evaluate(properties) === true;
      } catch (error) {
        if (error === EVALUATION_ERROR) return false;
        throw error;
      }
    },
  };
}

class Parser {
  readonly #lexer: Sql92Lexer;
  #token: Sql92Token;
  /** The one after it, where it was looked at. */
  #following: Sql92Token | null = null;
  #depth = 0;

  constructor(text: string) {
    this.#lexer = new Sql92Lexer(text);
    this.#token = this.#lexer.next();
  }

  parse(): Expression {
    return asBoolean(this.#or());
  }

  #or(): Expression {
    const operands = [this.#and()];
    while (this.#skip("OR")) operands.push(this.#and());
    return operands.length === 1 ? operands[0]! : or(operands);
  }

  #and(): Expression {
    const operands = [this.#equality()];
    while (this.#skip("AND")) operands.push(this.#equality());
    return operands.length === 1 ? operands[0]! : and(operands);
  }

  #equality(): Expression {
    let left = this.#comparison();
    for (;;) {
      if (this.#skip("=")) left = equal(left, this.#comparison());
      else if (this.#skip("<>")) left = notEqual(left, this.#comparison());
      else if (this.#skip("IS")) {
        const negated = this.#skip("NOT");
        this.#expect("NULL");
        left = negated ? not(isNull(left)) : isNull(left);
      } else return left;
    }
  }

  #comparison(): Expression {
    let left = this.#unary();
    for (;;) {
      const next = this.#comparedTo(left);
      if (next === null) return left;
      left = next;
    }
  }

  /** `left` with what follows it put to it; null when nothing of the kind follows. */
  #comparedTo(left: Expression): Expression | null {
    const negated = this.#token.kind === "NOT";
    const { kind } = negated ? this.#lookAhead() : this.#token;
    switch (kind) {
      case ">":
      case ">=":
      case "<":
      case "<=":
        if (negated) break;
        this.#take();
        return ordered(kind, left, this.#unary());
      case "CONTAINS":
      case "STARTSWITH":
      case "ENDSWITH":
        this.#take(negated);
        return holdsText(kind, left, this.#expect("string").text, negated);
      case "BETWEEN": {
        this.#take(negated);
        const low = this.#unary();
        this.#expect("AND");
        const high = this.#unary();
        return negated ? notBetween(left, low, high) : between(left, low, high);
      }
      case "IN":
        this.#take(negated);
        return isIn(left, this.#texts(), negated);
    }
    // A NOT behind a value has to belong to one of these.
    if (negated) throw this.#error("CONTAINS, STARTSWITH, ENDSWITH, BETWEEN or IN after NOT", this.#lookAhead());
    return null;
  }

  #texts(): string[] {
    this.#expect("(");
    const texts = [this.#expect("string").text];
    while (this.#skip(",")) texts.push(this.#expect("string").text);
    this.#expect(")");
    return texts;
  }

  #unary(): Expression {
    // Bounds this parser's own stack; what evaluation takes is bounded where expressions are made.
    if (this.#depth >= DEPTH_MAX) throw new Sql92Error(`Expression is nested deeper than ${DEPTH_MAX} levels`);
    this.#depth++;
    const operand = this.#operand();
    this.#depth--;
    return operand;
  }

  #operand(): Expression {
    const { kind, text } = this.#token;
    switch (kind) {
      case "+":
        this.#take();
        return this.#unary();
      case "-":
        this.#take();
        return negate(this.#unary());
      case "NOT":
        this.#take();
        return not(this.#unary());
      case "(": {
        this.#take();
        const inner = this.#or();
        this.#expect(")");
        return inner;
      }
    }
    const leaf = leafOf(kind, text);
    if (leaf === null) throw this.#error("a literal, a name, a sign, NOT or (", this.#token);
    this.#take();
    return leaf;
  }

  #skip(kind: Sql92TokenKind): boolean {
    if (this.#token.kind !== kind) return false;
    this.#take();
    return true;
  }

  #expect(kind: Sql92TokenKind): Sql92Token {
    const token = this.#token;
    if (token.kind !== kind) throw this.#error(kind, token);
    this.#take();
    return token;
  }

  /** Goes on by a token, or by two. */
  #take(two = false): void {
    this.#token = this.#following ?? this.#lexer.next();
    this.#following = null;
    if (two) this.#take();
  }

  #lookAhead(): Sql92Token {
    return this.#following ??= this.#lexer.next();
  }

  #error(wanted: string, { kind, text, at }: Sql92Token): Sql92Error {
    const seen = kind === "end" ? "the end" : quoted(text, 40);
    return new Sql92Error(`Expression has ${seen} at ${at}, wanted ${wanted}`);
  }
}

function leafOf(kind: Sql92TokenKind, text: string): Expression | null {
  switch (kind) {
    case "ID":
      return property(text);
    case "string":
      return constant(text);
    case "decimal":
      return decimal(text);
    case "float":
      return float(text);
    case "TRUE":
      return constant(true);
    case "FALSE":
      return constant(false);
    case "NULL":
      return constant(null);
    default:
      return null;
  }
}
