// A NameServer's settings over the wire (GET_NAMESRV_CONFIG, UPDATE_NAMESRV_CONFIG), as properties text. It checks them
// against a table, changes the one configuration object, and hands over what is to be saved; the file is its owner's.

import { ConfigError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { quoted } from "../base/printable.ts";
import { parseSetting } from "./load.ts";
import { parseProperties } from "./properties.ts";
import type { Setting } from "./setting.ts";

/** What {@link namesrvConfiguration} needs. */
export interface NamesrvConfigurationOptions {
  /** The object that is in force: every key of `settings` is in it. */
  readonly config: Readonly<Record<string, unknown>> | object;
  /** What is shown, and, where a row is live, may be changed. */
  readonly settings: Readonly<Record<string, Setting<unknown>>>;
  readonly logger: Logger;
  /** Makes the text the content of configStorePath. */
  readonly save: (properties: string) => Promise<void>;
  /** What stood in the file: it is saved again, beside what was changed. */
  readonly fileEntries?: ReadonlyMap<string, string>;
}

/** Never changed over the wire, whatever `configBlackList` says; as in Apache. */
const BLACK_LIST = ["configBlackList", "configStorePath", "kvConfigPath", "rocketmqHome"];

/** Mirrors what Apache's NameServer does with its `Configuration`; but a value that is none is refused, not passed over. */
export function namesrvConfiguration(options: NamesrvConfigurationOptions) {
  const { settings, logger, save } = options;
  const config = options.config as Record<string, unknown>;
  const entries = new Map(options.fileEntries);
  return {
    /** What is in force, sorted by key. */
    text(): string {
      const shown = Object.keys(settings).filter((key) => config[key] !== null).sort();
      return writeProperties(shown.map((key) => [key, String(config[key])]));
    },

    /** Changes all that `properties` say, or nothing; then null, or the key that may not be changed. */
    async update(properties: Uint8Array): Promise<string | null> {
      const given = new Map(parseProperties(properties).map(({ key, value }) => [key, value]));
      const forbidden = new Set([...BLACK_LIST, ...String(config.configBlackList ?? "").split(";")]);
      for (const key of given.keys()) if (forbidden.has(key)) return key;
      const parsed: Record<string, unknown> = {};
      for (const [key, text] of given) {
        const setting = Object.hasOwn(settings, key) ? settings[key]! : null;
        if (setting === null) {
          logger.warn("Left out a setting that the NameServer does not have", { key: key.slice(0, 200) });
          continue;
        }
        const value = parseSetting(setting, text, quoted(key));
        if (value === config[key]) continue;
        if (!setting.live) {
          throw new ConfigError(`${key} is unchanged: it can't change while the NameServer runs; set it for a restart`);
        }
        parsed[key] = value;
      }
      if (Object.keys(parsed).length === 0) return null;
      Object.assign(config, parsed);
      for (const [key, value] of Object.entries(parsed)) entries.set(key, String(value ?? ""));
      await save(writeProperties([...entries].sort(([a], [b]) => a < b ? -1 : 1)));
      return null;
    },
  };
}

/** Properties text that Java reads back as these entries. */
export function writeProperties(entries: Iterable<readonly [string, string]>): string {
  let text = "";
  for (const [key, value] of entries) {
    text += `${escaped(key).replaceAll(/[=:#! ]/g, "\\$&")}=${escaped(value).replace(/^ /, "\\ ")}\n`;
  }
  return text;
}

const SHORT: Readonly<Record<string, string>> = { "\\": "\\\\", "\t": "\\t", "\n": "\\n", "\r": "\\r", "\f": "\\f" };

function escaped(text: string): string {
  return text.replaceAll(
    /[\\\u0000-\u001f\u007f-\uffff]/g,
    (unit) => SHORT[unit] ?? `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`,
  );
}
