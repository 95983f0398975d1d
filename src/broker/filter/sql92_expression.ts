// What a filter expression is made of: properties, constants and operators, each with the checks at its making and the
// rules of its evaluation. Three-valued: true, false, null for unknown. Pure. The parser puts them together.
//
// Mirrors Apache's `ComparisonExpression`, `LogicExpression` and `UnaryExpression`, their odd rules included.

import { quoted } from "../../base/printable.ts";
import { compareDoubles, parseJavaDouble, parseJavaInt, parseJavaLong } from "./java_numbers.ts";
import { Sql92Error } from "./sql92_lexer.ts";

/** What Java's types are here: `Integer` a number, `Long` a bigint, `Double` a {@link JavaDouble}. */
export type JavaValue = null | boolean | string | number | bigint | JavaDouble;

/** A Java `Double`: numbers alone are `Integer`s. */
export class JavaDouble {
  readonly value: number;
  constructor(value: number) {
    this.value = value;
  }
}

/** A message's properties. */
export type Properties = ReadonlyMap<string, string>;

/** A part of an expression. */
export interface Expression {
  /**
   * `boolean`: its value is a boolean or null. `constant`: a literal, `booleanConstant` one of TRUE, FALSE and NULL, which
   * counts as both. `property`: the name of one. `other`: a negated value.
   */
  readonly kind: "boolean" | "booleanConstant" | "constant" | "property" | "other";
  /** Levels below it: bounds the stack that evaluation takes. */
  readonly depth: number;
  /** Throws {@link EVALUATION_ERROR}. */
  readonly evaluate: (properties: Properties) => JavaValue;
}

/** A comparison that Java throws at: of a text that is no such number, or of kinds that can't be compared. */
export const EVALUATION_ERROR: Error = new Error("The property can't be compared so");

/** Levels of nesting taken. Apache takes as many as its stack holds. */
export const DEPTH_MAX = 256;

function expression(
  kind: Expression["kind"],
  operands: readonly Expression[],
  evaluate: Expression["evaluate"],
): Expression {
  let depth = 0;
  for (const operand of operands) depth = Math.max(depth, operand.depth + 1);
  if (depth > DEPTH_MAX) throw new Sql92Error(`Expression is nested deeper than ${DEPTH_MAX} levels`);
  return { kind, depth, evaluate };
}

// --- what stands for itself ---

/** The value of a property; null when the message has none of that name. */
export function property(name: string): Expression {
  return expression("property", [], (properties) => properties.get(name) ?? null);
}

/** A literal. */
export function constant(value: JavaValue): Expression {
  const isBoolean = typeof value === "boolean" || value === null;
  return expression(isBoolean ? "booleanConstant" : "constant", [], () => value);
}

/** An integer literal, with or without `L`: an `Integer` when it fits, else a `Long`. */
export function decimal(text: string): Expression {
  const value = parseJavaLong(text.replace(/[lL]$/, ""));
  if (value === null) throw new Sql92Error(`Number is ${quoted(text, 40)}, wanted one of at most 64 bits`);
  return constant(value <= 0x7fff_ffffn ? Number(value) : value);
}

/** A literal with a point or an exponent. Zero can't be written so, nor what a double can't hold. */
export function float(text: string): Expression {
  const value = Number(text);
  if (value > Number.MAX_VALUE) {
    throw new Sql92Error(`Number is ${quoted(text, 40)}, wanted at most ${Number.MAX_VALUE}`);
  }
  if (value < Number.MIN_VALUE) {
    throw new Sql92Error(`Number is ${quoted(text, 40)}, wanted more than 0, or 0 without a point`);
  }
  return constant(new JavaDouble(value));
}

// --- booleans ---

/** As a condition: a property is one too, though never true, as its value is a text. */
export function asBoolean(operand: Expression): Expression {
  if (operand.kind === "boolean" || operand.kind === "booleanConstant") return operand;
  if (operand.kind !== "property") throw new Sql92Error("Expression has a value where a condition is wanted");
  return expression("boolean", [operand], (properties) => operand.evaluate(properties) === null ? null : false);
}

/** True if one is, and looks no further; else null if one is. */
export function or(operands: readonly Expression[]): Expression {
  return decided(operands, true);
}

/** False if one is, and looks no further; else null if one is. */
export function and(operands: readonly Expression[]): Expression {
  return decided(operands, false);
}

/** A chain is one node: Apache's nested pairs come to the same. */
function decided(operands: readonly Expression[], deciding: boolean): Expression {
  const parts = operands.map((operand) => asBoolean(operand).evaluate);
  return expression("boolean", operands, (properties) => {
    let result: boolean | null = !deciding;
    for (const part of parts) {
      const value = part(properties);
      if (value === deciding) return deciding;
      if (value === null) result = null;
    }
    return result;
  });
}

/** The opposite; null stays null. */
export function not(operand: Expression): Expression {
  const { evaluate } = asBoolean(operand);
  return expression("boolean", [operand], (properties) => {
    const value = evaluate(properties);
    return value === null ? null : value !== true;
  });
}

/** The negative of a number; null for all else, and for the text of a property. */
export function negate(operand: Expression): Expression {
  const { evaluate } = operand;
  return expression("other", [operand], (properties) => {
    const value = evaluate(properties);
    if (typeof value === "number") return -value | 0;
    if (typeof value === "bigint") return BigInt.asIntN(64, -value);
    return value instanceof JavaDouble ? new JavaDouble(-value.value) : null;
  });
}

// --- comparisons ---

/** `=`. */
export function equal(left: Expression, right: Expression): Expression {
  if (isNullConstant(left) || isNullConstant(right)) {
    throw new Sql92Error("Operand of = or <> is NULL, wanted IS NULL instead");
  }
  if (left.kind === "booleanConstant" && right.kind === "constant") {
    throw new Sql92Error("Operand of TRUE or FALSE is another kind of literal, wanted a property");
  }
  return equality(left, right);
}

/** `<>`. */
export function notEqual(left: Expression, right: Expression): Expression {
  return not(equal(left, right));
}

/** `IS NULL`. */
export function isNull(operand: Expression): Expression {
  return equality(operand, constant(null));
}

/** Null on the left alone makes it null, null on the right alone false. */
function equality(left: Expression, right: Expression): Expression {
  return expression("boolean", [left, right], (properties) => {
    const a = left.evaluate(properties);
    const b = right.evaluate(properties);
    if (a === null) return b === null ? true : null;
    return b !== null && (a === b || compare(a, b) === 0);
  });
}

/** `>`, `>=`, `<`, `<=` of what may be a number. */
export function ordered(sign: ">" | ">=" | "<" | "<=", left: Expression, right: Expression): Expression {
  for (const operand of [left, right]) {
    const isNumber = operand.kind === "constant" && typeof operand.evaluate(NOTHING) !== "string";
    if (!isNumber && operand.kind !== "property" && operand.kind !== "other") {
      throw new Sql92Error(`Operand of ${sign} is neither, wanted a number or a property`);
    }
  }
  const holds = ORDERS[sign];
  return expression("boolean", [left, right], (properties) => {
    const a = left.evaluate(properties);
    if (a === null) return null;
    const b = right.evaluate(properties);
    if (b === null) return null;
    if (typeof a === "string" && typeof b === "string") return holds(compareDoubles(doubleOf(a), doubleOf(b)));
    return holds(compare(a, b));
  });
}

const NOTHING: Properties = new Map();
const ORDERS: Record<">" | ">=" | "<" | "<=", (order: number) => boolean> = {
  ">": (order) => order > 0,
  ">=": (order) => order >= 0,
  "<": (order) => order < 0,
  "<=": (order) => order <= 0,
};

/** `BETWEEN low AND high`. Two literals have to be in order. */
export function between(value: Expression, low: Expression, high: Expression): Expression {
  const parts = [ordered(">=", value, low), ordered("<=", value, high)];
  if (low.kind === "constant" && high.kind === "constant") {
    const [from, to] = [low.evaluate(NOTHING), high.evaluate(NOTHING)];
    if (from !== null && to !== null && compare(to, from) < 0) {
      throw new Sql92Error("BETWEEN has its larger number first, wanted it last");
    }
  }
  return and(parts);
}

/** `NOT BETWEEN low AND high`. */
export function notBetween(value: Expression, low: Expression, high: Expression): Expression {
  return or([ordered("<", value, low), ordered(">", value, high)]);
}

/** `[NOT] IN (...)`: the very text of a property. */
export function isIn(operand: Expression, texts: readonly string[], negated: boolean): Expression {
  if (operand.kind !== "property") throw new Sql92Error("Operand of IN is something else, wanted a property");
  const wanted = new Set(texts);
  return expression("boolean", [operand], (properties) => {
    const value = operand.evaluate(properties);
    return typeof value === "string" ? wanted.has(value) !== negated : null;
  });
}

/** How a text may hold another. */
export type TextMatch = "CONTAINS" | "STARTSWITH" | "ENDSWITH";

/** `[NOT] CONTAINS`, `STARTSWITH`, `ENDSWITH`: false, not null, when there is no text or nothing to look for. */
export function holdsText(match: TextMatch, operand: Expression, search: string, negated: boolean): Expression {
  const test = TEXT_MATCHES[match];
  return expression("boolean", [operand], (properties) => {
    if (search === "") return false;
    const value = operand.evaluate(properties);
    return typeof value === "string" && test(value, search) !== negated;
  });
}

const TEXT_MATCHES: Record<TextMatch, (text: string, search: string) => boolean> = {
  CONTAINS: (text, search) => text.includes(search),
  STARTSWITH: (text, search) => text.startsWith(search),
  ENDSWITH: (text, search) => text.endsWith(search),
};

// --- Java's order of values of different types ---

/** Negative, 0 or positive, as `ComparisonExpression.__compare`: kinds that don't fit count as "less". */
function compare(a: Exclude<JavaValue, null>, b: Exclude<JavaValue, null>): number {
  if (typeof a === "boolean") return compareBoolean(a, b);
  if (typeof a === "string") {
    if (typeof b === "string") return a < b ? -1 : a > b ? 1 : 0;
    if (typeof b === "boolean") return Number(a.toLowerCase() === "true") - Number(b);
    return compareNumbers(numberLike(a, b), b);
  }
  if (typeof b === "boolean") return -1;
  return compareNumbers(a, typeof b === "string" ? numberLike(b, a) : b);
}

function compareBoolean(a: boolean, b: Exclude<JavaValue, null>): number {
  if (typeof b === "boolean") return Number(a) - Number(b);
  // Apache casts the boolean to a text here, which throws.
  if (typeof b === "string") throw EVALUATION_ERROR;
  return -1;
}

type JavaNumber = number | bigint | JavaDouble;

/** A text as a number of the other one's type. */
function numberLike(text: string, other: JavaNumber): JavaNumber {
  if (other instanceof JavaDouble) return new JavaDouble(doubleOf(text));
  const value = typeof other === "number" ? parseJavaInt(text) : parseJavaLong(text);
  if (value === null) throw EVALUATION_ERROR;
  return value;
}

function doubleOf(text: string): number {
  const value = parseJavaDouble(text);
  if (value === null) throw EVALUATION_ERROR;
  return value;
}

function compareNumbers(a: JavaNumber, b: JavaNumber): number {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (!(a instanceof JavaDouble) && !(b instanceof JavaDouble)) return a < b ? -1 : a > b ? 1 : 0;
  return compareDoubles(a instanceof JavaDouble ? a.value : Number(a), b instanceof JavaDouble ? b.value : Number(b));
}

function isNullConstant(operand: Expression): boolean {
  return operand.kind === "booleanConstant" && operand.evaluate(NOTHING) === null;
}
