// One line per event worth an operator's eye, on stderr, as text or as JSON. The writer and the clock are handed in.
// Messages and values may hold what a peer said: whatever that is, it stays one line and steers no terminal.

import { printable, printableJson } from "./printable.ts";

/** Extra values of a log line, printed as `key=value` or as JSON members. */
export type LogFields = Record<string, string | number | boolean | null>;

/** What components log to. A message says what happened, the value seen, the value wanted, what to do. */
export interface Logger {
  debug(message: string, fields?: LogFields): void;
  info(message: string, fields?: LogFields): void;
  warn(message: string, fields?: LogFields): void;
  error(message: string, fields?: LogFields): void;
}

const LEVELS = ["debug", "info", "warn", "error"] as const;
/** Severity of a log line, least first. */
export type LogLevel = (typeof LEVELS)[number];

/** A logger that writes lines of `level` and above. */
export function createLogger(options: {
  write: (line: string) => void;
  now: () => number;
  json: boolean;
  level: LogLevel;
}): Logger {
  const threshold = LEVELS.indexOf(options.level);
  const log = (level: LogLevel) => (message: string, fields: LogFields = {}) => {
    if (LEVELS.indexOf(level) < threshold) return;
    const time = new Date(options.now()).toISOString();
    if (options.json) {
      options.write(printableJson(JSON.stringify({ time, level, message, ...fields })) + "\n");
      return;
    }
    let line = `${time} ${level.toUpperCase().padEnd(5)} ${message}`;
    for (const [key, value] of Object.entries(fields)) line += ` ${key}=${value}`;
    options.write(printable(line) + "\n");
  };
  return { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
}

/** A logger that drops everything: the default of embedded parts. */
export const SILENT_LOGGER: Logger = { debug() {}, info() {}, warn() {}, error() {} };
