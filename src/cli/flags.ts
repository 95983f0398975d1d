// The command line's flags made from the configuration's table: one option per row, its alias, and old spellings. It turns
// what was typed into keys and texts; config/load.ts checks them.

import { Option } from "commander";
import { ALIASES } from "../config/apache_keys.ts";
import { flagName } from "../config/load.ts";
import { CONFIG_KEYS, SECTIONS, settingOf } from "../config/schema.ts";
import type { ConfigKey } from "../config/schema.ts";
import { defaultText } from "../config/render_docs.ts";

/** One option and the Apache key it sets. */
export interface ConfigOption {
  readonly key: string;
  readonly section: string;
  readonly option: Option;
}

/** Every flag of the table, by section; then the old spellings, hidden. */
export function configOptions(): ConfigOption[] {
  const sectionOf = new Map(
    SECTIONS.flatMap(({ title, settings }) => Object.keys(settings).map((key) => [key, title])),
  );
  const options = CONFIG_KEYS.map((key) => ({ key, section: sectionOf.get(key)!, option: optionOf(key, key) }));
  const old = Object.entries(ALIASES).map(([spelling, key]) => ({
    key: spelling,
    section: "",
    option: optionOf(spelling, key).hideHelp(),
  }));
  return [...options, ...old];
}

/** How help shows a value; a choice shows its words. */
const VALUE_NAMES: Readonly<Record<string, string>> = {
  boolean: "[true|false]",
  integer: "<n>",
  address: "<host:port>",
  text: "<text>",
};

function optionOf(spelling: string, key: ConfigKey): Option {
  const setting = settingOf(key);
  const alias = setting.alias !== undefined && spelling === key ? `--${setting.alias}` : null;
  const name = flagName(spelling);
  const value = VALUE_NAMES[setting.kind] ?? `<${setting.wanted.replace("one of ", "").replaceAll(", ", "|")}>`;
  const unit = setting.unit === undefined ? "" : `, ${setting.unit}`;
  const flags = alias === null || alias === name ? name : `${alias}, ${name}`;
  return new Option(`${flags} ${value}`, `${setting.doc} (${defaultText(setting).replaceAll("`", "")}${unit})`);
}

/**
 * What was typed, as keys to texts; a key is the Apache key, or the short alias where `args`, the words as typed, have it,
 * so that messages name what was typed. `values` is what commander collected.
 */
export function flagTexts(
  options: readonly ConfigOption[],
  values: Readonly<Record<string, unknown>>,
  args: readonly string[],
): Map<string, string> {
  const texts = new Map<string, string>();
  for (const { key, option } of options) {
    const value = values[option.attributeName()];
    // A flag without a value, possible for booleans only, means true.
    if (value === undefined) continue;
    const alias = option.short;
    const isAlias = alias !== undefined && args.some((arg) => arg === alias || arg.startsWith(`${alias}=`));
    texts.set(isAlias ? alias.slice(2) : key, String(value));
  }
  return texts;
}
