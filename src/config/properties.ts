// Java's properties format, which broker.conf is written in: comments, continued lines, escapes, the three separators.
// It owns the syntax only; load.ts knows the keys. The bytes are Latin-1, as java.util.Properties reads a stream.

import { ConfigError } from "../base/errors.ts";
import { quoted } from "../base/printable.ts";

/** One `key=value` of a file; of a key given twice the last one counts, as in Java. */
export interface PropertyEntry {
  readonly key: string;
  readonly value: string;
  /** Line it starts on, from 1. */
  readonly line: number;
}

/**
 * Parses a properties file; `name` is what it is called in messages. Throws {@link ConfigError} for a `\u` without four hex
 * digits: like in Java, everything else means something.
 */
export function parseProperties(bytes: Uint8Array, name = "Properties"): PropertyEntry[] {
  const entries: PropertyEntry[] = [];
  for (const { text, line } of logicalLines(latin1(bytes))) {
    const unescape = (escaped: string) => unescapeText(escaped, `${name}, line ${line}`);
    const end = keyEnd(text);
    const separator = /^[ \t\f]*[=:]?[ \t\f]*/.exec(text.slice(end))![0];
    entries.push({ key: unescape(text.slice(0, end)), value: unescape(text.slice(end + separator.length)), line });
  }
  return entries;
}

function latin1(bytes: Uint8Array): string {
  let text = "";
  for (const byte of bytes) text += String.fromCharCode(byte);
  return text;
}

/** Joins continued lines, drops comments and blank lines, leading white space removed. */
function* logicalLines(content: string): Generator<{ text: string; line: number }> {
  const lines = content.split(/\r\n|\r|\n/);
  for (let at = 0; at < lines.length; at++) {
    const line = at + 1;
    let part = lines[at]!.replace(/^[ \t\f]+/, "");
    if (part === "" || part.startsWith("#") || part.startsWith("!")) continue;
    let text = "";
    while (endsContinued(part)) {
      text += part.slice(0, -1);
      at++;
      part = (lines[at] ?? "").replace(/^[ \t\f]+/, "");
    }
    yield { text: text + part, line };
  }
}

/** Whether an odd number of backslashes ends the line. */
function endsContinued(text: string): boolean {
  let count = 0;
  while (text[text.length - 1 - count] === "\\") count++;
  return count % 2 === 1;
}

/** Where the key ends: at the first separator or white space that no backslash escapes. */
function keyEnd(text: string): number {
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if (/[=: \t\f]/.test(text[at]!)) return at;
  }
  return text.length;
}

const ESCAPES: Record<string, string> = { t: "\t", n: "\n", r: "\r", f: "\f" };

/** Resolves backslash escapes; `where` begins the message about one that is none. */
function unescapeText(text: string, where: string): string {
  return text.replaceAll(/\\(u[0-9A-Fa-f]{4}|u.{0,4}|.)/gs, (all: string, what: string) => {
    if (/^u[0-9A-Fa-f]{4}$/.test(what)) return String.fromCharCode(Number.parseInt(what.slice(1), 16));
    if (what.startsWith("u")) throw new ConfigError(`${where} has ${quoted(all)}, wanted \\u and four hex digits`);
    return ESCAPES[what] ?? what;
  });
}
