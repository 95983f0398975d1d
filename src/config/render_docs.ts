// Writes docs/configuration.md from the table, so that the document can't drift from the program. A test compares them.
// Made anew by `cli.ts config-docs > docs/configuration.md`.

import { ALIASES, REFUSED, REPLACED } from "./apache_keys.ts";
import { flagName } from "./load.ts";
import { NAMESRV_SETTINGS } from "./namesrv_config.ts";
import { CONFIG_KEYS, SECTIONS, settingOf } from "./schema.ts";
import { Derived } from "./setting.ts";
import type { Setting } from "./setting.ts";

/** The whole document, Markdown. */
export function renderConfigurationDocs(): string {
  return [
    "# Configuration",
    "<!-- Made from src/config/schema.ts by `cli.ts config-docs`; do not edit. -->",
    INTRODUCTION,
    ...SECTIONS.map(({ title, settings }) => `## ${title}\n\n${settingsTable(settings)}`),
    namesrvAlone(),
    `## Other spellings\n\n${table(["Key", "Read as"], Object.entries(ALIASES).map(([a, b]) => [code(a), code(b)]))}`,
    `## Modes that refuse to start\n\n${
      table(
        ["Key", "Accepted value", "Why"],
        Object.entries(REFUSED).map(([k, r]) => [code(k), code(r.only), r.instead]),
      )
    }`,
    `## Apache keys that are done differently\n\nThey may stand in a file. One that asks for what is not there has a line of its own at start; the others are named together
with those that have no effect.\n\n${
      table(["Key", "Instead"], Object.entries(REPLACED).map(([k, why]) => [code(k), why]))
    }`,
    differences(),
  ].join("\n\n") + "\n";
}

const INTRODUCTION =
  `Keys are Apache RocketMQ's. Each may stand in a \`broker.conf\` (\`-c FILE\`, Java properties) and be given as a flag in
kebab-case (\`haListenPort\` is \`--ha-listen-port\`). A flag wins over the file, the file over the default. An unknown key in
a file is a warning with the nearest name; an unknown flag is an error. *Live* settings change while the node runs through
\`PATCH /config\`; they are not saved.`;

/** The rows of `--role namesrv` that are not a broker's, in full; the others by name. */
function namesrvAlone(): string {
  const own = ["listenPort", "storePathRootDir", "configStorePath", "configBlackList"];
  const rows = Object.fromEntries(
    Object.entries<Setting<unknown>>(NAMESRV_SETTINGS).filter(([key]) => own.includes(key)),
  );
  const others = Object.keys(NAMESRV_SETTINGS).filter((key) => !own.includes(key)).map(code).join(", ");
  return `## A NameServer alone

\`--role namesrv -c namesrv.conf\` reads Apache's \`namesrv.conf\`. *Live* settings change by \`mqadmin updateNamesrvConfig\`,
which saves them in \`configStorePath\`; what that file held before is in its \`.bak\`.

${settingsTable(rows)}

As above: ${others}.`;
}

function settingsTable(settings: Readonly<Record<string, Setting<unknown>>>): string {
  const rows = Object.entries(settings).map(([key, setting]) => [
    code(key) + (setting.alias ? `, \`--${setting.alias}\`` : "") +
    (setting.flagOnly ? `, only as ${code(flagName(key))}` : ""),
    defaultText(setting),
    setting.wanted + (setting.unit ? ` (${setting.unit})` : ""),
    setting.live ? "live" : "",
    setting.doc,
  ]);
  return table(["Key", "Default", "Wanted", "", "Meaning"], rows);
}

/** A row's default in words. */
export function defaultText(setting: Setting<unknown>): string {
  if (setting.fallback instanceof Derived) return setting.fallback.text;
  return setting.fallback === null ? "unset" : code(String(setting.fallback));
}

function differences(): string {
  const rows = CONFIG_KEYS.filter((key) => settingOf(key).ours !== undefined).map((
    key,
  ) => [code(key), settingOf(key).ours!]);
  return `## Where this differs from Apache\n\n${table(["Key", "How"], rows)}`;
}

function code(text: string): string {
  return `\`${text}\``;
}

function table(head: string[], rows: string[][]): string {
  const line = (cells: string[]) => `| ${cells.map((cell) => cell.replaceAll("|", "\\|")).join(" | ")} |`;
  return [line(head), line(head.map(() => "---")), ...rows.map(line)].join("\n");
}
