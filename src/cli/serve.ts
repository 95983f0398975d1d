// The verb serve: configuration -> node -> the line that says where it listens -> clean stop on a signal.

import type { BrokerAddresses } from "../admin/admin_port.ts";
import { ConfigError, errorMessage, IoError } from "../base/errors.ts";
import { createLogger } from "../base/logger.ts";
import { printable } from "../base/printable.ts";
import type { Logger } from "../base/logger.ts";
import { adminAccess } from "../config/admin_access.ts";
import { loadConfig } from "../config/load.ts";
import type { LoadedConfig } from "../config/load.ts";
import type { Config } from "../config/schema.ts";
import { readUserFile } from "../config/user_file.ts";
import type { Runtime, Timer } from "../runtime/runtime.ts";

/** A clean stop that takes longer says so, each time; only many queues or a slow disk take so long. */
const STOP_NOTE_MS = 5000;
/** It is cut off after so many notes: before service managers kill, which is after 90 s mostly. */
const STOP_NOTES_MAX = 15;
/** What messages call the store's directory. */
export const STORE_NAME = "storePathRootDir (--store)";
const LEVELS = ["debug", "info", "warn", "error"] as const;

/** Runs a node until a signal ends it. `flags` maps Apache keys to text. */
export async function runServe(
  runtime: Runtime,
  options: { flags: ReadonlyMap<string, string>; file: string | null },
): Promise<number> {
  const { process } = runtime;
  const { config, warnings, notes } = loadServeConfig(runtime, options);
  const logger = configLogger(runtime, config);
  for (const note of notes) logger.info(note);
  for (const warning of warnings) logger.warn(warning);
  makeDirectory(runtime, STORE_NAME, config.storePathRootDir);
  checkDirectory(runtime, "storePathCommitLog", config.storePathCommitLog);
  // Listened for from here on, so that a signal during a long recovery is not lost.
  const stopping = stopSignals(runtime, logger);
  const { startBroker } = await import("../broker/broker_controller.ts");
  const node = await startBroker({ config, runtime, logger });
  process.writeOut(readyLine(runtime, config, node.addresses));
  await stopOnSignal(runtime, logger, stopping, node);
  return 0;
}

/** What a stop may take long for, and what comes of one that is cut off. */
export interface StopWords {
  readonly work: string;
  readonly loss: string;
}

const STORE_STOP: StopWords = { work: "bringing the store to the disk", loss: "the next start recovers the store" };

/** Waits for a signal, then for a clean stop; one that takes longer than 80 s ends the process with 1. */
export async function stopOnSignal(
  runtime: Runtime,
  logger: Logger,
  stopping: StopSignals,
  node: { stop(): Promise<void> },
  { work, loss } = STORE_STOP,
): Promise<void> {
  logger.info(`Stopping on ${await stopping.first}`);
  const { clock, process } = runtime;
  const since = clock.monotonic();
  const elapsed = () => Math.round(clock.monotonic() - since);
  const note = (count: number): Timer =>
    clock.setTimer(STOP_NOTE_MS, () => {
      if (count > STOP_NOTES_MAX) {
        logger.error(`Not stopped after ${elapsed()} ms, giving up: ${loss}`);
        process.exit(1);
      }
      logger.info(
        `Still stopping after ${elapsed()} ms: ${work}. Another SIGTERM or SIGINT ends it at once`,
      );
      late = note(count + 1);
    });
  let late = note(1);
  await node.stop();
  late.cancel();
  stopping.end();
  logger.info(`Stopped in ${elapsed()} ms`);
}

/** Reads `broker.conf` when named, merges, and checks what only shows on this machine. Throws {@link ConfigError}. */
export function loadServeConfig(
  runtime: Runtime,
  options: { flags: ReadonlyMap<string, string>; file: string | null },
): LoadedConfig {
  const { process, fs } = runtime;
  const file = readConfigFile(runtime, options.file);
  const loaded = loadConfig({ host: process, flags: options.flags, ...(file === null ? {} : { file }) });
  adminAccess(loaded.config, { env: process.env, readFile: (path) => fs.readFile(path) });
  return loaded;
}

/** The file named by `-c`; null for none. Throws {@link ConfigError} when it can't be read. */
export function readConfigFile(
  { fs }: Runtime,
  name: string | null,
): { readonly name: string; readonly bytes: Uint8Array } | null {
  if (name === null) return null;
  return { name, bytes: readUserFile((path) => fs.readFile(path), "Configuration file", name) };
}

/** Throws {@link ConfigError} when something that is no directory, or a `~`, is where `key` wants one. */
export function checkDirectory({ fs }: Runtime, key: string, path: string): void {
  // Where no shell has put a home directory in its place, a directory of that name would be made here.
  if (/^~[^/]*(\/|$)/.test(path)) {
    throw new ConfigError(`${key} is "${path}", wanted a path without ~: only a shell knows what it stands for`);
  }
  let isDirectory: boolean;
  try {
    isDirectory = fs.stat(path)?.isDirectory ?? true;
  } catch (error) {
    if (!isMistake(error)) throw error;
    throw new ConfigError(`${key} is "${path}", which can't be reached (${error.code}), wanted a directory`, {
      cause: error,
    });
  }
  if (!isDirectory) throw new ConfigError(`${key} is "${path}", which is a file, wanted a directory`);
}

const MISTAKEN_PATHS: ReadonlySet<string> = new Set(["ENOTDIR", "EEXIST", "ELOOP", "ENAMETOOLONG"]);

/** Whether a path is wrong; a disk that is full, or a remote one that is not there yet, may be well at the next start. */
function isMistake(error: unknown): error is IoError {
  if (!(error instanceof IoError)) return false;
  return error.kind === "permission" || error.kind === "notFound" || MISTAKEN_PATHS.has(error.code ?? "");
}

/** {@link checkDirectory}, and makes it when it is missing. */
function makeDirectory(runtime: Runtime, key: string, path: string): void {
  checkDirectory(runtime, key, path);
  try {
    runtime.fs.makeDirectory(path);
  } catch (error) {
    if (!isMistake(error)) throw error;
    throw new ConfigError(`${key} is "${path}", which can't be made (${error.code}), wanted a directory`, {
      cause: error,
    });
  }
}

/** The logger of a node: on stderr; `logLevel` is read at each line, as it may change at run time. */
export function configLogger(runtime: Runtime, config: Pick<Config, "json" | "logLevel">): Logger {
  const all = createLogger({
    write: (line) => runtime.process.writeErr(line),
    now: () => runtime.clock.now(),
    json: config.json,
    level: "debug",
  });
  const from = (level: (typeof LEVELS)[number]): Logger["info"] => (message, fields) => {
    if (LEVELS.indexOf(level) >= LEVELS.indexOf(config.logLevel)) all[level](message, fields);
  };
  return { debug: from("debug"), info: from("info"), warn: from("warn"), error: from("error") };
}

/** The one line on stdout once everything listens: for people, or one JSON object under `--json`. */
export function readyLine(runtime: Runtime, config: Config, addresses: BrokerAddresses): string {
  const { brokerRole, brokerName, brokerId, storePathRootDir } = config;
  const on = `${runtime.name} ${runtime.version}`;
  const { remoting, vip, ha, admin, namesrv, advertised } = addresses;
  const bound = { remoting, vip, ha, admin, namesrv, advertised };
  if (config.json) {
    const ready = {
      ready: true,
      brokerRole,
      brokerName,
      brokerId,
      addresses: bound,
      store: storePathRootDir,
      pid: runtime.process.pid,
      runtime: on,
    };
    return `${JSON.stringify(ready)}\n`;
  }
  const where = Object.entries(bound).filter(([, address]) => address !== null)
    .map(([name, address]) => name === "admin" ? `admin http://${address}/` : `${LABELS[name] ?? name} ${address}`);
  return `Twinlog ${brokerRole} "${brokerName}" on ${on} is ready: ${where.join(", ")}, store ${storePathRootDir}\n`;
}

const LABELS: Record<string, string> = { ha: "HA", vip: "VIP", namesrv: "NameServer", advertised: "clients are told" };

/** Stop signals listened for. */
export interface StopSignals {
  readonly first: Promise<string>;
  readonly end: () => void;
}

/**
 * The first stop signal as a promise; the second ends the process, unless it is a SIGHUP: a terminal that is closed sends
 * that twice, by its shell and at the shell's end.
 */
export function stopSignals(runtime: Runtime, logger: Logger, { loss } = STORE_STOP): StopSignals {
  const { promise, resolve } = Promise.withResolvers<string>();
  let count = 0;
  const end = runtime.process.onStopSignal((signal) => {
    if (count++ === 0) return resolve(signal);
    if (signal === "SIGHUP") return;
    logger.warn(`Second ${signal}: stopping at once, ${loss}`);
    runtime.process.exit(1);
  });
  return { first: promise, end };
}

/** Prints what a verb threw on stderr: as one line, of a configuration one for each mistake. */
export function printError(runtime: Runtime, error: unknown): void {
  for (const line of error instanceof ConfigError ? error.problems : [errorMessage(error)]) {
    runtime.process.writeErr(`twinlog: ${printable(line)}\n`);
  }
}
