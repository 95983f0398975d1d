// What one row of the configuration table is: its kind, bounds and default, and how its text is read. The rows
// themselves are in schema.ts; merging and cross-checks in load.ts.

import { ConfigError } from "../base/errors.ts";
import type { HostPort } from "../base/host_port.ts";
import { PeerNetworks } from "../base/peer_networks.ts";

/** A default that load.ts works out from other settings or from the machine; `text` says how, for the documents. */
export class Derived {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

/** Shorthand for {@link Derived}. */
export const derived = (text: string): Derived => new Derived(text);

/** What a row may say beyond its kind, default and doc. */
export interface SettingTraits {
  /** Unit of the number, for the documents. */
  readonly unit?: "us" | "ms" | "bytes" | "h" | "%" | "s" | "bytes/s" | "pages";
  /** May change while the node runs: components read it at each use. */
  readonly live?: boolean;
  /** Not Apache's key, or not Apache's default: why, in a few words. */
  readonly ours?: string;
  /** Allowed as a flag only: acting on it at every start would be a trap. */
  readonly flagOnly?: boolean;
  /** A short flag name beside the kebab-case one. */
  readonly alias?: string;
}

/** One row: `T` is the type of its value in `Config`. */
export interface Setting<T> extends SettingTraits {
  readonly kind: "integer" | "boolean" | "text" | "choice" | "address";
  readonly doc: string;
  readonly fallback: T | Derived;
  /** What is accepted, in words: the end of an error message, and a column of the documents. */
  readonly wanted: string;
  /** Whether an empty text (or JSON null) clears it. */
  readonly nullable: boolean;
  /** The value, or `undefined` when the text is not one. The text is trimmed already. */
  readonly parse: (text: string) => T | undefined;
}

/** The type a row gives to its key in `Config`. */
export type SettingValue<S> = S extends Setting<infer T> ? T : never;

/** Largest value of a Java `int`. */
export const INT_MAX = 2 ** 31 - 1;

function parseInteger(text: string, min: number, max: number): number | undefined {
  if (!/^[+-]?\d{1,16}$/.test(text)) return undefined;
  const value = Number(text);
  return Number.isSafeInteger(value) && value >= min && value <= max ? value : undefined;
}

/** A whole number within bounds, both included. */
export function integer(
  fallback: number | Derived,
  min: number,
  max: number,
  doc: string,
  traits: SettingTraits = {},
): Setting<number> {
  const wanted = `a whole number from ${min} to ${max}`;
  return {
    ...traits,
    kind: "integer",
    doc,
    fallback,
    wanted,
    nullable: false,
    parse: (t) => parseInteger(t, min, max),
  };
}

/** A whole number that may be left unset. */
export function optionalInteger(
  min: number,
  max: number,
  doc: string,
  traits: SettingTraits = {},
): Setting<number | null> {
  const wanted = `a whole number from ${min} to ${max}, or nothing`;
  const parse = (text: string) => text === "" ? null : parseInteger(text, min, max);
  return { ...traits, kind: "integer", doc, fallback: null, wanted, nullable: true, parse };
}

/** `true` or `false`, in any case, as Java reads it (but anything else is an error here). */
export function boolean(fallback: boolean | Derived, doc: string, traits: SettingTraits = {}): Setting<boolean> {
  const parse = (text: string) => /^true$/i.test(text) ? true : /^false$/i.test(text) ? false : undefined;
  return { ...traits, kind: "boolean", doc, fallback, wanted: "true or false", nullable: false, parse };
}

/** Text that is not empty; `pattern` narrows it and `wanted` says how. */
export function text(
  fallback: string | Derived,
  doc: string,
  traits: SettingTraits = {},
  pattern: RegExp = /^.+$/,
  wanted = "text that is not empty",
): Setting<string> {
  const parse = (value: string) => pattern.test(value) ? value : undefined;
  return { ...traits, kind: "text", doc, fallback, wanted, nullable: false, parse };
}

/** Text that may be left unset. */
export function optionalText(doc: string, traits: SettingTraits = {}): Setting<string | null> {
  const parse = (value: string) => value === "" ? null : value;
  return { ...traits, kind: "text", doc, fallback: null, wanted: "text, or nothing", nullable: true, parse };
}

/** Networks of peers, `10.0.0.0/8, fd00::/8`; unset: any. */
export function networks(doc: string, traits: SettingTraits = {}): Setting<string | null> {
  const parse = (value: string) => value === "" ? null : PeerNetworks.parse(value) === null ? undefined : value;
  const wanted = "networks like 10.0.0.0/8, 192.168.1.7, fd00::/8, or nothing";
  return { ...traits, kind: "text", doc, fallback: null, wanted, nullable: true, parse };
}

/** One of the given words; `synonyms` are read as the word they map to. */
export function choice<const W extends string>(
  words: readonly W[],
  fallback: NoInfer<W>,
  doc: string,
  traits: SettingTraits = {},
  synonyms: Readonly<Record<string, NoInfer<W>>> = {},
): Setting<W> {
  const known = new Map<string, W>(Object.entries(synonyms));
  for (const word of words) known.set(word, word);
  const parse = (value: string) => known.get(value);
  const wanted = `one of ${[...known.keys()].join(", ")}`;
  return { ...traits, kind: "choice", doc, fallback, wanted, nullable: false, parse };
}

/** Characters of a host; names have at most 253. */
const HOST_MAX = 255;

/** Takes `HOST:PORT` apart at its last colon; `null` when it is not one. The port is `portMin` to 65535. */
export function parseHostPort(value: string, portMin = 1): HostPort | null {
  const match = /^(?:\[([0-9A-Fa-f:.]+)\]|([^\s:;,/@[\]\p{C}]+)):(\d{1,5})$/u.exec(value);
  if (match === null) return null;
  const port = Number(match[3]);
  if (port < portMin || port > 65535 || (match[2]?.length ?? 0) > HOST_MAX) return null;
  return { hostname: match[1] ?? match[2]!, port };
}

/** {@link parseHostPort} for values already checked; throws {@link ConfigError} naming `what` otherwise. */
export function hostPortOf(value: string, what: string): HostPort {
  const parsed = parseHostPort(value, 0);
  if (parsed === null) throw new ConfigError(`${what} is "${value}", wanted HOST:PORT`);
  return parsed;
}

/** `HOST:PORT`s separated by `;` (one only unless `many`); empty text, and `none`, mean unset. */
export function address(
  fallback: string | null | Derived,
  doc: string,
  traits: SettingTraits & { many?: boolean; portMin?: number } = {},
): Setting<string | null> {
  const { many = false, portMin = 1, ...rest } = traits;
  const parse = (value: string) => {
    if (value === "" || value === "none") return null;
    const parts = many ? value.split(";").map((part) => part.trim()).filter((part) => part !== "") : [value];
    return parts.length > 0 && parts.every((part) => parseHostPort(part, portMin) !== null)
      ? parts.join(";")
      : undefined;
  };
  const wanted = (many ? "HOST:PORT, several separated by ;" : "HOST:PORT") + ", or none";
  return { ...rest, kind: "address", doc, fallback, wanted, nullable: true, parse };
}
