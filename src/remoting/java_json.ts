// JSON as Apache's fastjson reads and writes it. Beyond the standard: integers and whole objects as keys, bare words as
// keys, `{"$ref":"$.path"}` for an object seen before. The writer makes fastjson's two forms: compact for the wire and
// the tab-indented one of config/*.json, so that a file rewritten by either broker hardly differs.

import { ProtocolError } from "../base/errors.ts";
import { printableJson, quoted } from "../base/printable.ts";

/** A value; integers beyond ±2^53 are `bigint`. */
export type JavaJson = null | boolean | number | bigint | string | JavaJson[] | JavaJsonObject | JavaJsonMap;
/** An object whose keys were strings. Made without a prototype, so `__proto__` is a key like any other. */
export interface JavaJsonObject {
  [key: string]: JavaJson;
}
/** An object with a key that was no string: Java maps of Integer, Long or MessageQueue. */
export type JavaJsonMap = Map<JavaJson, JavaJson>;

/** Levels of nesting taken; Apache's own bodies have fewer than ten. */
const DEPTH_MAX = 64;
/** Characters a writer makes at most: a few `$ref`s can stand for a lot of text. */
const TEXT_MAX = 64 * 1024 * 1024;

/** Pieces of text that a writer holds apart. */
const PIECES_MAX = 4096;

/** Reads one value; a {@link ProtocolError} naming the position otherwise. */
export function parseJavaJson(text: string): JavaJson {
  return new Reader(text).read();
}

/** Whether the value is an object with string keys. */
export function isJavaJsonObject(value: JavaJson | undefined): value is JavaJsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Map);
}

/** An empty object, or one with these members. Key order is kept by the writer: give Apache's, which is alphabetical. */
export function javaJsonObject(members: Readonly<Record<string, JavaJson>> = {}): JavaJsonObject {
  return Object.assign(Object.create(null) as JavaJsonObject, members);
}

/** Turns an object whose keys are all integers into a map, so that it is written with unquoted keys; else as it is. */
export function withIntegerKeys(value: JavaJson): JavaJson {
  if (!isJavaJsonObject(value)) return value;
  const keys = Object.keys(value);
  if (!keys.every((key) => /^-?\d{1,15}$/.test(key))) return value;
  return new Map(keys.map((key) => [Number(key), value[key]!]));
}

/**
 * Turns an object whose keys are all texts of JSON objects, as clients in other languages write Java's maps with MessageQueue
 * keys, into a map with these objects as keys; else as it is.
 */
export function withObjectKeys(value: JavaJson): JavaJson {
  if (!isJavaJsonObject(value)) return value;
  const entries: [JavaJson, JavaJson][] = [];
  for (const [key, member] of Object.entries(value)) {
    const object = objectOf(key);
    if (object === null) return value;
    entries.push([object, member]);
  }
  return new Map(entries);
}

function objectOf(text: string): JavaJsonObject | null {
  if (!text.startsWith("{")) return null;
  try {
    const value = parseJavaJson(text);
    return isJavaJsonObject(value) ? value : null;
  } catch {
    return null;
  }
}

/** How {@link writeJavaJson} writes. */
export interface JavaJsonFormat {
  /** Tab-indented, as in config/*.json; else without any space. */
  readonly pretty: boolean;
  /** `{"0":1}` instead of `{0:1}`: every Java reader takes both, JavaScript's takes only this one. */
  readonly quoteIntegerKeys: boolean;
}

/** As fastjson writes config files. */
export const FILE_FORMAT: JavaJsonFormat = { pretty: true, quoteIntegerKeys: false };
/** What we send. */
export const WIRE_FORMAT: JavaJsonFormat = { pretty: false, quoteIntegerKeys: true };

/** The text of a value. Members that are null are left out, as Java does. A `RangeError` beyond 64 Mi characters. */
export function writeJavaJson(value: JavaJson, format: JavaJsonFormat): string {
  return new Writer(format).write(value);
}

/** A place in the document that waits for an object read elsewhere. */
interface PendingRef {
  readonly path: string;
  set(value: JavaJson): void;
}

class Reader {
  readonly #text: string;
  #at = 0;
  readonly #refs: PendingRef[] = [];

  constructor(text: string) {
    this.#text = text;
  }

  read(): JavaJson {
    let root = this.#value(0, (value) => root = value);
    this.#space();
    if (this.#at < this.#text.length) throw this.#error("the end");
    for (const { path, set } of this.#refs) set(resolvePath(root, path));
    if (this.#refs.length > 0) new RefLimits().check(root, 0);
    return root;
  }

  #value(depth: number, set: (value: JavaJson) => void): JavaJson {
    if (depth > DEPTH_MAX) throw new ProtocolError(`JSON is nested deeper than ${DEPTH_MAX} levels`);
    this.#space();
    const char = this.#text[this.#at];
    if (char === "{") return this.#object(depth, set);
    if (char === "[") return this.#array(depth);
    if (char === '"') return this.#string();
    return this.#word();
  }

  #array(depth: number): JavaJson[] {
    const items: JavaJson[] = [];
    this.#at++;
    while (!this.#closes("]")) {
      const index = items.length;
      items.push(null);
      items[index] = this.#value(depth + 1, (value) => items[index] = value);
      this.#separator("]");
    }
    return items;
  }

  #object(depth: number, set: (value: JavaJson) => void): JavaJson {
    const entries: JavaJsonMap = new Map();
    let onlyStrings = true;
    this.#at++;
    // Members are set later by a $ref, when `target` is known.
    let target: JavaJsonObject | JavaJsonMap = entries;
    while (!this.#closes("}")) {
      const key = this.#key(depth);
      if (typeof key !== "string") onlyStrings = false;
      this.#space();
      if (this.#text[this.#at] !== ":") throw this.#error('":"');
      this.#at++;
      const value = this.#value(depth + 1, (late) => {
        if (target instanceof Map) target.set(key, late);
        else target[key as string] = late;
      });
      entries.set(key, value);
      this.#separator("}");
    }
    const path = entries.get("$ref");
    if (entries.size === 1 && typeof path === "string") {
      this.#refs.push({ path, set });
      return null;
    }
    if (!onlyStrings) return entries;
    target = javaJsonObject();
    for (const [key, value] of entries) target[key as string] = value;
    return target;
  }

  /** A string, a number, a bare word, or an object or array (as MessageQueue keys are). */
  #key(depth: number): JavaJson {
    this.#space();
    const char = this.#text[this.#at];
    if (char === '"') return this.#string();
    if (char === "{" || char === "[") {
      return this.#value(depth + 1, () => {
        throw new ProtocolError("JSON has a $ref as a key, wanted the key itself");
      });
    }
    const word = this.#take(/[^\s:,{}[\]"]+/y);
    if (word === null) throw this.#error("a key");
    return integerOf(word) ?? word;
  }

  #word(): JavaJson {
    const word = this.#take(/[^\s:,{}[\]"]+/y);
    if (word === "null") return null;
    if (word === "true") return true;
    if (word === "false") return false;
    const number = word === null ? null : integerOf(word) ?? decimalOf(word);
    if (number === null) throw this.#error("a value");
    return number;
  }

  #string(): string {
    let end = this.#at + 1;
    let plain = true;
    for (;; end++) {
      const unit = this.#text.charCodeAt(end);
      if (unit === 0x22) break;
      if (Number.isNaN(unit)) throw this.#error("the end of a string");
      if (unit === 0x5c) end++;
      if (unit === 0x5c || unit < 0x20) plain = false;
    }
    const literal = this.#text.slice(this.#at, end + 1);
    this.#at = end + 1;
    return plain ? literal.slice(1, -1) : this.#unescape(literal);
  }

  /** Raw control characters are legal for fastjson; its escapes are the standard ones plus \' and \xNN. */
  #unescape(literal: string): string {
    const standard = literal
      .replace(/\\(x[0-9a-fA-F]{2}|[^])/g, (escape, next: string) => {
        if (next === "'") return "'";
        return next.length === 3 ? `\\u00${next.slice(1)}` : escape;
      })
      .replace(/[\u0000-\u001f]/g, (char) => "\\u" + char.charCodeAt(0).toString(16).padStart(4, "0"));
    try {
      return JSON.parse(standard) as string;
    } catch {
      throw new ProtocolError(`JSON before ${this.#at} has an unknown escape in a string`);
    }
  }

  #closes(bracket: string): boolean {
    this.#space();
    if (this.#text[this.#at] !== bracket) return false;
    this.#at++;
    return true;
  }

  /** A comma, or leaves the closing bracket for {@link #closes}. A comma before the bracket is let through. */
  #separator(bracket: string): void {
    this.#space();
    if (this.#text[this.#at] === ",") this.#at++;
    else if (this.#text[this.#at] !== bracket) throw this.#error(`"," or "${bracket}"`);
  }

  #space(): void {
    while (this.#at < this.#text.length && this.#text.charCodeAt(this.#at) <= 0x20) this.#at++;
    if (this.#text[this.#at] === "\ufeff" && this.#at === 0) {
      this.#at++;
      this.#space();
    }
  }

  #take(pattern: RegExp): string | null {
    pattern.lastIndex = this.#at;
    const match = pattern.exec(this.#text);
    if (match === null) return null;
    this.#at += match[0].length;
    return match[0];
  }

  #error(wanted: string): ProtocolError {
    const seen = this.#text.slice(this.#at, this.#at + 12);
    return new ProtocolError(
      `JSON at ${this.#at} has ${seen === "" ? "the end" : printableJson(JSON.stringify(seen))}, wanted ${wanted}`,
    );
  }
}

function integerOf(word: string): number | bigint | null {
  if (!/^-?\d{1,40}$/.test(word)) return null;
  const number = Number(word);
  return Number.isSafeInteger(number) ? number + 0 : BigInt(word);
}

function decimalOf(word: string): number | null {
  // A double that is no number any more could not be written again.
  const number = /^-?\d+(\.\d+)?([eE][+-]?\d+)?$/.test(word) ? Number(word) : NaN;
  return Number.isFinite(number) ? number : null;
}

/** `$`, `$.name[0].name`: the paths fastjson writes. Others would make a tree a graph and are refused. */
function resolvePath(root: JavaJson, path: string): JavaJson {
  let value: JavaJson | undefined = root;
  const steps = /\.((?:[^.[\\]|\\[^])+)|\[(\d+)\]|\["((?:[^"\\]|\\[^])*)"\]/y;
  steps.lastIndex = 1;
  while (path[0] === "$" && steps.lastIndex < path.length && value !== undefined) {
    const step = steps.exec(path);
    if (step === null) {
      value = undefined;
      break;
    }
    const key = (step[1] ?? step[3] ?? step[2])!.replace(/\\([^])/g, "$1");
    if (Array.isArray(value)) value = value[Number(key)];
    else if (value instanceof Map) value = value.get(integerOf(key) ?? key) ?? value.get(key);
    else value = isJavaJsonObject(value) ? value[key] : undefined;
  }
  if (path[0] !== "$" || path === "$" || value === undefined) {
    throw new ProtocolError(`JSON has the reference ${quoted(path)}, wanted the path of something else in it`);
  }
  return value;
}

/**
 * What references make of a document: one that leads into itself has no end, a chain of them is deeper than its text,
 * and a few can stand for any amount of text. Every object is looked at once.
 */
class RefLimits {
  readonly #known = new Map<object, { readonly height: number; readonly weight: number }>();

  /** Height in levels and weight in characters of a value at `depth`. Throws {@link ProtocolError} beyond the limits. */
  check(value: JavaJson, depth: number): { readonly height: number; readonly weight: number } {
    if (typeof value !== "object" || value === null) {
      return { height: 0, weight: typeof value === "string" ? value.length : 1 };
    }
    const found = this.#known.get(value) ?? this.#members(value, depth);
    if (depth + found.height > DEPTH_MAX) {
      throw new ProtocolError(`JSON is nested deeper than ${DEPTH_MAX} levels by its references`);
    }
    this.#known.set(value, found);
    return found;
  }

  #members(value: JavaJson[] | JavaJsonObject | JavaJsonMap, depth: number) {
    if (depth > DEPTH_MAX) throw new ProtocolError(`JSON is nested deeper than ${DEPTH_MAX} levels by its references`);
    let height = 0;
    let weight = 1;
    for (const member of Array.isArray(value) ? value : value instanceof Map ? [...value].flat() : entriesOf(value)) {
      const of = this.check(member, depth + 1);
      height = Math.max(height, of.height + 1);
      weight += of.weight;
    }
    if (weight > TEXT_MAX) {
      throw new ProtocolError(`JSON stands for ${weight} characters by its references, wanted at most ${TEXT_MAX}`);
    }
    return { height, weight };
  }
}

function entriesOf(value: JavaJsonObject): JavaJson[] {
  return Object.entries(value).flat();
}

class Writer {
  readonly #format: JavaJsonFormat;
  #out: string[] = [];
  /** Pieces joined already: many small ones take far more memory than their text. */
  readonly #joined: string[] = [];
  #size = 0;
  #indent = 0;

  constructor(format: JavaJsonFormat) {
    this.#format = format;
  }

  write(value: JavaJson): string {
    this.#value(value);
    return this.#joined.join("") + this.#out.join("");
  }

  #value(value: JavaJson): void {
    if (typeof value === "bigint") return this.#put(String(value));
    if (typeof value !== "object" || value === null) return this.#put(JSON.stringify(value));
    if (this.#indent > DEPTH_MAX + 1) throw new RangeError(`JSON is nested deeper than ${DEPTH_MAX} levels`);
    if (Array.isArray(value)) return this.#array(value);
    this.#members((value instanceof Map ? [...value] : Object.entries(value)).filter(([, member]) => member !== null));
  }

  #array(items: readonly JavaJson[]): void {
    // fastjson breaks lines in lists and not in sets; what config files hold of plain values are sets.
    const lines = items.some((item) => typeof item === "object" && item !== null);
    this.#put("[");
    this.#indent++;
    items.forEach((item, index) => {
      if (index > 0) this.#put(",");
      if (lines) this.#line();
      this.#value(item);
    });
    this.#indent--;
    if (lines) this.#line();
    this.#put("]");
  }

  #members(entries: readonly (readonly [JavaJson, JavaJson])[]): void {
    this.#put("{");
    this.#indent++;
    entries.forEach(([key, value], index) => {
      if (index > 0) this.#put(",");
      // As in fastjson, only string keys start a line.
      if (typeof key === "string") this.#line();
      this.#key(key);
      this.#put(":");
      this.#value(value);
    });
    this.#indent--;
    if (entries.length > 0) this.#line();
    this.#put("}");
  }

  #key(key: JavaJson): void {
    if (typeof key === "string") this.#put(JSON.stringify(key));
    else if (typeof key === "object" && key !== null) this.#value(key);
    else this.#put(this.#format.quoteIntegerKeys ? `"${key}"` : String(key));
  }

  #line(): void {
    if (this.#format.pretty) this.#put("\n" + "\t".repeat(this.#indent));
  }

  #put(text: string): void {
    this.#size += text.length;
    if (this.#size > TEXT_MAX) throw new RangeError(`JSON text is longer than ${TEXT_MAX} characters`);
    this.#out.push(text);
    if (this.#out.length >= PIECES_MAX) {
      this.#joined.push(this.#out.join(""));
      this.#out = [];
    }
  }
}
