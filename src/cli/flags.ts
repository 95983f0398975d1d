// The command line's flags made from the configuration's table: one option per row, its alias, and old spellings. It turns
// what was typed into keys and texts; config/load.ts checks them.

import { Command, type Help, Option } from "commander";
import { ALIASES, REFUSED } from "../config/apache_keys.ts";
import { flagName } from "../config/load.ts";
import { NAMESRV_ROLE, NAMESRV_SETTINGS } from "../config/namesrv_config.ts";
import { nearest } from "../config/nearest.ts";
import { CONFIG_KEYS, SECTIONS, settingOf } from "../config/schema.ts";
import { defaultText } from "../config/render_docs.ts";
import type { Setting } from "../config/setting.ts";

/** One option and the Apache key it sets. */
export interface ConfigOption {
  readonly key: string;
  readonly section: string;
  readonly option: Option;
}

/** Every flag of the table, by section; then, hidden, the old spellings and the modes that are refused. */
export function configOptions(): ConfigOption[] {
  const sectionOf = new Map(
    SECTIONS.flatMap(({ title, settings }) => Object.keys(settings).map((key) => [key, title])),
  );
  const options = CONFIG_KEYS.map((key) => ({
    key,
    section: sectionOf.get(key)!,
    option: optionOf(key, settingOf(key), key === "brokerRole"),
  }));
  const old = Object.entries(ALIASES).map(([spelling, key]) => ({
    key: spelling,
    section: "",
    option: optionOf(spelling, { ...settingOf(key), alias: undefined }).hideHelp(),
  }));
  // Known, so that they are refused in the words that a file's are.
  const refused = Object.entries(REFUSED).map(([key]) => ({
    key,
    section: "",
    option: new Option(`${flagName(key)} [value]`).hideHelp(),
  }));
  return [...options, ...old, ...refused];
}

/** How help shows a value; a choice shows its words. */
const VALUE_NAMES: Readonly<Record<string, string>> = {
  boolean: "[true|false]",
  integer: "<n>",
  address: "<host:port>",
  text: "<text>",
};

function optionOf(spelling: string, setting: Setting<unknown>, isRole = false): Option {
  const alias = setting.alias === undefined ? null : `--${setting.alias}`;
  const name = flagName(spelling);
  const words = setting.wanted.replace("one of ", "").split(", ");
  // Of a role the short words do, as there is one more.
  const shown = isRole ? [...words.filter((word) => word === word.toLowerCase()), NAMESRV_ROLE] : words;
  const value = VALUE_NAMES[setting.kind] ?? `<${shown.join("|")}>`;
  const unit = setting.unit === undefined ? "" : `, ${setting.unit}`;
  const flags = alias === null || alias === name ? name : `${alias}, ${name}`;
  return new Option(`${flags} ${value}`, `${setting.doc} (${defaultText(setting).replaceAll("`", "")}${unit})`);
}

/** How `serve` shows its options: the longest flags leave no room beside them. `width` is the whole line's. */
export function helpFormat(width: number): Partial<Help> {
  return {
    formatItem: (term, _width, text, helper) =>
      `  ${term}\n${helper.boxWrap(text, width - 6).replaceAll(/^/gm, "      ")}`,
  };
}

/** The help of `--role namesrv`: the settings of a NameServer alone, with its own defaults. */
export function namesrvHelp(width: number): string {
  const command = new Command(`twinlog --role ${NAMESRV_ROLE}`).description("run a NameServer alone")
    .option("-c, --config <file>", "Apache's namesrv.conf; flags win over it")
    .configureOutput({ getOutHelpWidth: () => width })
    .configureHelp(helpFormat(width));
  for (const [key, setting] of Object.entries<Setting<unknown>>(NAMESRV_SETTINGS)) {
    command.addOption(optionOf(key, setting));
  }
  return command.helpInformation();
}

/** Commander's error about an unknown flag with the one that was meant: it knows no short ones, and goes by edits alone. */
export function withSuggestion(text: string): string {
  const unknown = /unknown option '--([^'=]+)[^']*'\n$/.exec(text)?.[1];
  const flags = CONFIG_KEYS.flatMap((key) => [settingOf(key).alias ?? [], flagName(key).slice(2)]).flat();
  const near = unknown === undefined ? null : nearest(unknown, flags);
  return near === null ? text : `${text}(Did you mean --${near}?)\n`;
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
