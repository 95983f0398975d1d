// Text from outside, made fit for a line that people read: of a log, of an error, on a terminal. What a peer or a file
// names may hold line ends that forge a second line, escapes that steer a terminal, or marks that turn the reading
// direction. Pure.

const STEERING = /[\p{Cc}\u2028\u2029\u202a-\u202e\u2066-\u2069]/gu;
const SHORT: Readonly<Record<string, string>> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };

/** The text with every steering character escaped as `\n`, `\xNN` or `\uNNNN`; mostly the same text. */
export function printable(text: string): string {
  return text.replaceAll(STEERING, escapeSteering);
}

function escapeSteering(character: string): string {
  const hex = character.charCodeAt(0).toString(16);
  return SHORT[character] ?? (hex.length <= 2 ? `\\x${hex.padStart(2, "0")}` : `\\u${hex.padStart(4, "0")}`);
}

/** The same for text that is JSON already: still JSON, of the same value. */
export function printableJson(json: string): string {
  return json.replaceAll(STEERING, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** A value seen, for an error: in quotes, printable, at most `max` characters of it. */
export function quoted(text: string, max = 80): string {
  return `"${printable(text.slice(0, max))}${text.length > max ? "…" : ""}"`;
}
