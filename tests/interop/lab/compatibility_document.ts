// docs/compatibility.md out of what a run found. Pure.

import type { Outcome, RequestCase } from "./request_world.ts";

/** A case and what both gave. */
export interface CaseRow {
  readonly one: RequestCase;
  readonly apache: Outcome;
  readonly ours: Outcome;
  readonly differences: readonly string[];
}

/** A command and how it compares. */
export interface CommandRow {
  readonly command: string;
  readonly args: string;
  readonly by: string;
  readonly but: string | null;
  readonly differences: readonly string[];
}

/** Everything a run found. */
export interface Findings {
  readonly cases: readonly CaseRow[];
  readonly commands: readonly CommandRow[];
  readonly missing: Readonly<Record<string, string>>;
  readonly others: Readonly<Record<string, string>>;
}

/** A row's last column. */
export function caseVerdict({ one, differences }: CaseRow): string {
  if (differences.length === 0) return one.differs === undefined ? "same" : "same, though it was meant to differ";
  return one.differs === undefined ? `differs: ${differences.join("; ")}` : `differs: ${one.differs}`;
}

/** Likewise for a command. */
export function commandVerdict({ differences, but }: CommandRow): string {
  if (differences.length > 0) return `differs: ${differences.join("; ")}`;
  return but === null ? "same" : `same, but: ${but}`;
}

const COMPARED: Readonly<Record<string, string>> = {
  lines: "every line",
  set: "every line, in any order",
  keys: "names, and values that say the same",
  shared: "values of the names that both have",
  file: "every member of the file it writes",
  shape: "names of the members of the file it writes",
};

/** The whole document. */
export function renderCompatibility({ cases, commands, missing, others }: Findings): string {
  const same = cases.filter((row) => row.differences.length === 0).length;
  const codes = new Set(cases.map(({ one }) => one.code));
  const names = new Set(commands.map((row) => row.command));
  const sameCommands = commands.filter((row) => row.differences.length === 0).length;
  const lines = [
    "# Compatibility",
    "",
    "Made by `tests/interop/compatibility_test.ts`, not by hand: each request and each mqadmin command was put to an Apache",
    "RocketMQ 5.3.3 broker with its NameServer and to a Twinlog node with its own, both prepared alike, and what came back was",
    "compared: response code, header fields and body of a request, the output of a command. Addresses, times, ids and folders",
    "are not compared, nor is the wording of a remark. With `TWINLOG_WRITE_COMPATIBILITY=1` a run writes this file; any other",
    "run checks that what it says still holds.",
    "",
    `${cases.length} requests of ${codes.size} codes, ${same} of them answered the same; ${commands.length} runs of`,
    `${names.size} mqadmin commands, ${sameCommands} of them the same.`,
    "",
    ...sectionOf("Requests of clients, and of the broker to them", cases, "P1"),
    ...sectionOf("Requests of administrators and slaves", cases, "P2"),
    ...sectionOf("Further requests of 5.x", cases, "P3"),
    ...sectionOf("Requests of the NameServer", cases, "NameServer"),
    "## mqadmin",
    "",
    "| command | arguments | compared | verdict |",
    "|---|---|---|---|",
    ...commands.map((row) =>
      tableRow([code(row.command), row.args === "" ? "" : code(row.args), COMPARED[row.by]!, commandVerdict(row)])
    ),
    "",
    "### Missing",
    "",
    "| command | why |",
    "|---|---|",
    ...Object.entries(missing).map(([command, why]) => tableRow([code(command), why])),
    "",
    "Not for a broker or NameServer:",
    `${Object.entries(others).map(([command, why]) => `${code(command)} (${why})`).join(", ")}.`,
  ];
  return `${lines.join("\n")}\n`;
}

function sectionOf(title: string, cases: readonly CaseRow[], rank: RequestCase["rank"]): string[] {
  const rows = cases.filter(({ one }) => one.rank === rank);
  return [
    `## ${title}`,
    "",
    "| code | request | situation | Apache 5.3.3 | Twinlog | verdict |",
    "|---|---|---|---|---|---|",
    ...rows.map((row) => {
      const { one, apache, ours } = row;
      return tableRow([String(one.code), one.name, one.what, show(apache), show(ours), caseVerdict(row)]);
    }),
    "",
  ];
}

/** Code, and what came with it. */
function show({ code, ext, body }: Outcome): string {
  const header = ext === undefined || Object.keys(ext).length === 0 ? [] : ["header"];
  return [String(code), ...header, ...(body === undefined || body === null ? [] : ["body"])].join(", ");
}

function tableRow(cells: readonly string[]): string {
  return `| ${cells.map((cell) => cell.replaceAll("|", "\\|").replaceAll("\n", " ")).join(" | ")} |`;
}

function code(text: string): string {
  return `\`${text}\``;
}
