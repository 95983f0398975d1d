// The verb verify: every record and consume queue entry of a store, and with --against every byte of its log. The checks
// are the store's; here are the choice, the progress and the words.

import { ConfigError } from "../base/errors.ts";
import { printable, printableJson, quoted } from "../base/printable.ts";
import { haTlsIdentity, type TlsConfig } from "../config/ha_tls.ts";
import { parseHostPort } from "../config/setting.ts";
import type { Runtime, TlsIdentity } from "../runtime/runtime.ts";
import { compareStores, verifyStore } from "../store/store_verify.ts";
import type { VerifyResult } from "../store/store_verify.ts";
import { formatBytes } from "./format.ts";
import { compareWithMaster, type Comparison } from "./verify_against_master.ts";

/** What `verify` was given beside the store. */
export interface VerifyVerbOptions {
  /** Another store's directory, or HOST:PORT of a master's HA port. */
  readonly against: string | null;
  /** The commit log's directory when it is not in the store. */
  readonly commitLog: string | null;
  readonly json: boolean;
  /** What to show a master that has TLS on. */
  readonly tls: TlsConfig;
}

/** 0 when all is right, 1 with the first bad offset otherwise. Throws {@link ConfigError} for what is no store. */
export async function runVerify(runtime: Runtime, store: string, options: VerifyVerbOptions): Promise<number> {
  const { fs, process } = runtime;
  const tls = haTlsIdentity(options.tls, (path) => fs.readFile(path));
  checkStore(runtime, store, options.commitLog);
  const log = options.commitLog === null ? {} : { storePathCommitLog: options.commitLog };
  const result = await withProgress(
    runtime,
    "Checking",
    (onProgress) => verifyStore(fs, store, { ...log, onProgress }),
  );
  // A store may hold topics of any name; its own line ends are those of the texts.
  const say = (text: string) => options.json || process.writeOut(`${text.split("\n").map(printable).join("\n")}\n`);
  say(describeResult(store, result));
  let comparison: Comparison | null = null;
  if (options.against !== null) {
    const against = options.against;
    comparison = await withProgress(
      runtime,
      "Comparing",
      (onProgress) => compare(runtime, { store, against, result, log, tls, onProgress }),
    );
    say(describeComparison(store, against, comparison));
  }
  const ok = result.ok && comparison?.ok !== false;
  if (options.json) {
    const whole = { ...result, ok, ...(comparison === null ? {} : { comparison }) };
    process.writeOut(`${printableJson(JSON.stringify(whole))}\n`);
  }
  return ok ? 0 : 1;
}

interface CompareParts {
  readonly store: string;
  readonly against: string;
  readonly result: VerifyResult;
  readonly log: { readonly storePathCommitLog?: string };
  readonly tls: TlsIdentity | null;
  readonly onProgress: (done: number, total: number) => void;
}

async function compare(
  runtime: Runtime,
  { store, against, result, log, tls, onProgress }: CompareParts,
): Promise<Comparison> {
  const address = parseHostPort(against);
  if (runtime.fs.stat(against) === null && address !== null) {
    const directory = log.storePathCommitLog ?? `${store}/commitlog`;
    return await compareWithMaster(runtime, address, { directory, ...result, onProgress }, tls);
  }
  checkStore(runtime, against, null);
  const { files, ...compared } = await compareStores(runtime.fs, store, against, { ...log, onProgress });
  return { ...compared, notes: files.length > 0 ? [`The files are ${files.join(" and ")}`] : [] };
}

/** Characters of a path in a message. */
const PATH_MAX = 1000;

/** Throws {@link ConfigError} for what is no store's directory: with the one that was meant, where it shows. */
function checkStore({ fs }: Runtime, store: string, commitLog: string | null): void {
  const isDirectory = (path: string) => fs.stat(path)?.isDirectory === true;
  const wanted = "wanted a store's directory";
  if (fs.stat(store)?.isDirectory === false) throw new ConfigError(`${quoted(store, PATH_MAX)} is a file, ${wanted}`);
  const directory = commitLog ?? `${store}/commitlog`;
  if (isDirectory(directory)) return;
  const missing = `Directory ${quoted(directory, PATH_MAX)} does not exist, wanted a store with a commit log`;
  const parent = /^(.+)\/commitlog\/*$/.exec(store)?.[1];
  if (commitLog !== null || parent === undefined || !isDirectory(store)) throw new ConfigError(missing);
  throw new ConfigError(`${quoted(store, PATH_MAX)} is a commit log, ${wanted}: ${quoted(parent, PATH_MAX)}`);
}

function describeResult(store: string, result: VerifyResult): string {
  const { finding, records, blanks, queues, units, indexEntries, minOffset, maxOffset, notDispatched } = result;
  const range = `${minOffset} to ${maxOffset} (${formatBytes(maxOffset - minOffset)})`;
  const queueCounts = `${units} entries in ${queues} consume queues`;
  const counts = `${records} records, ${blanks} file ends, ${queueCounts}, ${indexEntries} in the index`;
  const lines = finding === null ? [`ok: ${store}, offsets ${range}, ${counts}`] : [
    `BAD at offset ${finding.offset} in ${finding.file}: ${finding.reason}`,
    `Good before it: offsets ${range}, ${counts}`,
  ];
  if (finding === null && notDispatched > 0) {
    lines.push(`Note: ${notDispatched} records at the end are in no consume queue yet, the next start puts them there`);
  }
  return [...lines, ...result.notes.map((note) => `Note: ${note}`)].join("\n");
}

function describeComparison(
  store: string,
  against: string,
  { ok, from, to, firstDifference, notes }: Comparison,
): string {
  const range = `offsets ${from} to ${to} (${formatBytes(to - from)})`;
  const line = ok
    ? `ok: ${store} and ${against} are the same in ${range}`
    : `BAD at offset ${firstDifference}: ${store} and ${against} differ there, first of ${range}`;
  return [line, ...notes.map((note) => `Note: ${note}`)].join("\n");
}

const BAR_WIDTH = 30;

/** Runs `work` with a progress bar on a terminal, drawn on stderr when a percent has passed. */
async function withProgress<T>(
  runtime: Runtime,
  what: string,
  work: (onProgress: (done: number, total: number) => void) => Promise<T>,
): Promise<T> {
  const { process } = runtime;
  let shown = -1;
  const draw = (done: number, total: number) => {
    const percent = total <= 0 ? 100 : Math.floor(done / total * 100);
    if (!process.stdoutIsTerminal || percent === shown) return;
    shown = percent;
    const full = Math.floor(percent / 100 * BAR_WIDTH);
    process.writeErr(
      `\r${what} [${"#".repeat(full)}${".".repeat(BAR_WIDTH - full)}] ${percent} % of ${formatBytes(total)} `,
    );
  };
  try {
    return await work(draw);
  } finally {
    if (shown >= 0) process.writeErr("\r\x1b[K");
  }
}
