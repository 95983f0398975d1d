// Merges default, broker.conf and flags into one Config, works out the defaults that depend on others, and checks what
// only shows in the whole. It reads no file and no environment itself: the command line hands both in.

import { ConfigError } from "../base/errors.ts";
import { formatHostPort } from "../base/host_port.ts";
import { printableJson, quoted } from "../base/printable.ts";
import type { Process } from "../runtime/runtime.ts";
import {
  ALIASES,
  FIXED_PATHS,
  HARMLESS,
  isAccepted,
  needsExplaining,
  REFUSED,
  REPLACED,
  WITHOUT_EFFECT,
} from "./apache_keys.ts";
import { nearest } from "./nearest.ts";
import { Problems } from "./problems.ts";
import { parseProperties } from "./properties.ts";
import { CONFIG_KEYS, isConfigKey, settingOf } from "./schema.ts";
import type { Config, ConfigKey } from "./schema.ts";
import { Derived, parseHostPort } from "./setting.ts";
import type { Setting } from "./setting.ts";

/** What defaults take from the machine. */
export type ConfigHost = Pick<Process, "hostname" | "localAddress" | "env">;

/** Where a value came from. */
export type ConfigSource = "default" | "file" | "flag";

/** What loading yields: the configuration and the lines to tell the user, each a whole sentence. */
export interface LoadedConfig {
  readonly config: Config;
  readonly sources: ReadonlyMap<ConfigKey, ConfigSource>;
  readonly warnings: readonly string[];
  /** Lines that ask for nothing to be done. */
  readonly notes: readonly string[];
}

/** One given value; `origin` names the flag, or file and line, in messages. */
interface Given {
  readonly value: unknown;
  readonly source: ConfigSource;
  readonly origin: string;
}

type Values = { -readonly [K in ConfigKey]: Config[K] };

/**
 * Merges defaults, a `broker.conf` (its name and bytes) and flags (Apache key, old spelling or short flag to text; flags win).
 * Throws {@link ConfigError} naming the key, the value seen and the value wanted.
 */
export function loadConfig(options: {
  readonly host: ConfigHost;
  readonly file?: { readonly name: string; readonly bytes: Uint8Array };
  readonly flags?: ReadonlyMap<string, string>;
}): LoadedConfig {
  const warnings: string[] = [];
  const notes: string[] = [];
  const paths = new Map<string, string>();
  const given = new Map<ConfigKey, Given>();
  const problems = new Problems();
  if (options.file) readFile(options.file, { given, warnings, notes, paths, problems });
  readFlags(options.flags ?? new Map(), given, problems);
  problems.throwIfAny();
  const loaded = finish(given, options.host, warnings);
  checkMasterAddress(loaded.config, given, warnings);
  if (options.file) notes.push(...elsewhere(options.file.name, paths, loaded.config.storePathRootDir));
  return { ...loaded, notes };
}

/** One line about paths that Apache, too, works out from storePathRootDir, where a file says another. */
function elsewhere(file: string, paths: ReadonlyMap<string, string>, root: string): string[] {
  const plain = (path: string) => path.replaceAll(/\/+/g, "/").replace(/\/$/, "");
  const wrong = [...paths].filter(([key, path]) => plain(path) !== plain(`${root}/${FIXED_PATHS[key]}`))
    .map(([key]) => key);
  if (wrong.length === 0) return [];
  const places = [...new Set(wrong.map((key) => FIXED_PATHS[key]))].join(", ");
  return [
    `${file}: without effect, as in Apache: ${wrong.join(", ")}; the places below storePathRootDir ${
      quoted(root)
    } are fixed: ${places}`,
  ];
}

/** A configuration from values of their own types: for programs that embed a node, and tests. */
export function createConfig(values: Partial<Config>, host: ConfigHost): LoadedConfig {
  const given = new Map<ConfigKey, Given>();
  for (const [key, value] of Object.entries(values)) {
    if (value === undefined) continue;
    if (!isConfigKey(key)) throw new ConfigError(unknownKey("Configuration key", key));
    given.set(key, { value: parseValue(key, value, key), source: "flag", origin: key });
  }
  return { ...finish(given, host, []), notes: [] };
}

/**
 * One value, from a file, a flag or JSON, as its key's type. Throws {@link ConfigError}; `origin` names it in the message.
 */
export function parseValue(key: ConfigKey, raw: unknown, origin: string): Config[ConfigKey] {
  return parseSetting(settingOf(key), raw, origin) as Config[ConfigKey];
}

/** {@link parseValue} for a row of any table. */
export function parseSetting(setting: Setting<unknown>, raw: unknown, origin: string): unknown {
  const isScalar = raw === null || ["string", "number", "boolean"].includes(typeof raw);
  const text = isScalar ? String(raw ?? "").trim() : "";
  // It would come back in log lines, on terminals and to other brokers.
  const wanted = /\p{Cc}/u.test(text) ? "text without control characters" : setting.wanted;
  const value = isScalar && wanted === setting.wanted ? setting.parse(text) : undefined;
  if (value === undefined) throw new ConfigError(`${origin} is ${seen(raw)}, wanted ${wanted}`);
  return value;
}

/** Characters shown of what is no text. */
const SEEN_MAX = 80;

function seen(raw: unknown): string {
  if (typeof raw === "string") return quoted(raw);
  return printableJson(JSON.stringify(raw) ?? "nothing").slice(0, SEEN_MAX);
}

/** The message about a name that is not a key, with the nearest one that is. */
export function unknownKey(what: string, key: string): string {
  const near = nearest(key, [...CONFIG_KEYS, ...Object.keys(ALIASES)]);
  return `${what} ${quoted(key)} is unknown` + (near === null ? "" : `, did you mean "${near}"?`);
}

/** What reading a file adds to. */
interface Reading {
  readonly given: Map<ConfigKey, Given>;
  readonly warnings: string[];
  readonly notes: string[];
  /** Keys of {@link FIXED_PATHS} with their values. */
  readonly paths: Map<string, string>;
  readonly problems: Problems;
}

function readFile(file: { readonly name: string; readonly bytes: Uint8Array }, reading: Reading): void {
  const { given, warnings, notes, paths, problems } = reading;
  const withoutEffect: string[] = [];
  const unknown: { key: string; line: number }[] = [];
  const last = new Map(parseProperties(file.bytes, file.name).map((entry) => [entry.key, entry]));
  for (const { key, value, line } of last.values()) {
    const origin = `${key} (${file.name}, line ${line})`;
    const target = ALIASES[key] ?? key;
    if (isConfigKey(target)) {
      // Apache reads a port of 0 or below as "listenPort + 1" here, and 0 on a flag is any free port for us.
      if (target === "haListenPort" && /^(-\d+|0+)$/.test(value.trim())) continue;
      problems.try(() => {
        if (settingOf(target).flagOnly) throw new ConfigError(`${origin} is set, wanted it as a flag only`);
        give(given, target, { value: parseValue(target, value, origin), source: "file", origin });
      });
    } else if (Object.hasOwn(REFUSED, key)) {
      problems.try(() => refuse(key, value, origin));
    } else if (Object.hasOwn(FIXED_PATHS, key)) {
      paths.set(key, value.trim());
    } else if (Object.hasOwn(REPLACED, key) && needsExplaining(key, value)) {
      const lines = HARMLESS.has(key) ? notes : warnings;
      lines.push(`${origin} has no effect here, ${REPLACED[key]}`);
    } else if (Object.hasOwn(REPLACED, key) || WITHOUT_EFFECT.has(key)) {
      withoutEffect.push(key);
    } else {
      unknown.push({ key, line });
    }
  }
  if (unknown.length > 0 && unknown.length === last.size) {
    throw new ConfigError(`${file.name} holds no key that is known, wanted an Apache broker.conf (key=value lines)`);
  }
  if (unknown.length > 0) warnings.push(unknownKeys(file.name, unknown));
  if (withoutEffect.length > 0) warnings.push(`${file.name}: without effect here: ${withoutEffect.join(", ")}`);
}

/** One line for all of a file's keys that are none, each with its line and the nearest key. */
function unknownKeys(file: string, unknown: readonly { readonly key: string; readonly line: number }[]): string {
  const each = unknown.map(({ key, line }) => unknownKey(`line ${line}, key`, key));
  return `Left out: ${file}, ${each.join("; ")}`;
}

/** Throws {@link ConfigError} for a mode of {@link REFUSED}. */
function refuse(key: string, value: string, origin: string): void {
  const { only, instead } = REFUSED[key]!;
  if (isAccepted(value, only)) return;
  throw new ConfigError(`${origin} is ${quoted(value.trim())}, wanted "${only}": ${instead}`);
}

/** Short flags, such as `role`, to their keys. */
const FLAG_ALIASES: ReadonlyMap<string, ConfigKey> = new Map(
  CONFIG_KEYS.flatMap((key) => settingOf(key).alias === undefined ? [] : [[settingOf(key).alias!, key] as const]),
);

function readFlags(flags: ReadonlyMap<string, string>, given: Map<ConfigKey, Given>, problems: Problems): void {
  const fromFlags = new Map<ConfigKey, Given>();
  for (const [key, value] of flags) {
    const target = ALIASES[key] ?? FLAG_ALIASES.get(key) ?? key;
    const origin = flagName(key);
    problems.try(() => {
      if (Object.hasOwn(REFUSED, key)) return refuse(key, value, origin);
      if (!isConfigKey(target)) throw new ConfigError(unknownKey("Flag for key", key));
      give(fromFlags, target, { value: parseValue(target, value, origin), source: "flag", origin });
    });
  }
  for (const [key, value] of fromFlags) given.set(key, value);
}

/** Sets a key, refusing a second, different value that came under another spelling. */
function give(given: Map<ConfigKey, Given>, key: ConfigKey, next: Given): void {
  const before = given.get(key);
  if (before !== undefined && before.value !== next.value) {
    throw new ConfigError(
      `${before.origin} is ${before.value} and ${next.origin} is ${next.value}, wanted one value: they are the same setting`,
    );
  }
  given.set(key, next);
}

function finish(
  given: ReadonlyMap<ConfigKey, Given>,
  host: ConfigHost,
  warnings: string[],
): Omit<LoadedConfig, "notes"> {
  const values: Partial<Record<ConfigKey, unknown>> = {};
  const sources = new Map<ConfigKey, ConfigSource>();
  for (const key of CONFIG_KEYS) {
    const setting = settingOf(key);
    sources.set(key, given.get(key)?.source ?? "default");
    if (given.has(key)) values[key] = given.get(key)!.value;
    else if (!(setting.fallback instanceof Derived)) values[key] = setting.fallback;
  }
  const config = derive(values as Partial<Values>, given, host);
  checkRole(config, given, warnings);
  checkWhole(config);
  if (config.brokerRole === "SYNC_MASTER" && config.inSyncReplicas === 1) {
    const origin = given.get("inSyncReplicas")?.origin ?? "inSyncReplicas";
    warnings.push(`${origin} is 1: this SYNC_MASTER does not wait for any slave, give 2 or more for a second copy`);
  }
  return { config, sources, warnings };
}

/** Fills in what {@link Derived} defaults promise, in the order they depend on each other. */
function derive(values: Partial<Values>, given: ReadonlyMap<ConfigKey, Given>, host: ConfigHost): Values {
  const isSlave = values.brokerRole === "SLAVE";
  const listenPort = values.listenPort ??= isSlave ? 11911 : 10911;
  // Any free port for the main one means any free port for those that go by it.
  const beside = (key: ConfigKey, distance: number) => {
    const port = listenPort === 0 ? 0 : listenPort + distance;
    if (port >= 0 && port <= 65535) return port;
    throw new ConfigError(
      `${key} by default is listenPort ${distance < 0 ? "-" : "+"} ${
        Math.abs(distance)
      } = ${port}, wanted 0 to 65535: give it`,
    );
  };
  values.vipListenPort ??= beside("vipListenPort", -2);
  values.haListenPort ??= beside("haListenPort", 1);
  if (values.adminAddress === undefined) {
    values.adminAddress = formatHostPort({ hostname: "127.0.0.1", port: beside("adminAddress", 2) });
  }
  values.brokerName ??= host.hostname;
  values.brokerId ??= isSlave ? 1 : 0;
  // A port bound to one address is reached there only.
  const bound = values.bindAddress !== undefined && !["0.0.0.0", "::"].includes(values.bindAddress);
  values.brokerIP1 ??= bound ? values.bindAddress! : host.localAddress;
  values.brokerIP2 ??= bound ? values.bindAddress! : host.localAddress;
  if (values.namesrvAddr === undefined) {
    const fromEnvironment = host.env("NAMESRV_ADDR") ?? null;
    values.namesrvAddr = parseValue("namesrvAddr", fromEnvironment, "Environment variable NAMESRV_ADDR") as
      | string
      | null;
  }
  if (!given.has("haMasterAddress")) {
    values.haMasterAddress = isSlave && values.namesrvAddr === null ? "127.0.0.1:10912" : null;
  }
  // The default slave stands beside the default master, whose NameServer is there.
  if (isSlave && !given.has("namesrvAddr") && listenPort !== 0) values.namesrvAddr ??= "127.0.0.1:9876";
  values.storePathRootDir ??= `./data/${listenPort}`;
  const root = values.storePathRootDir.replace(/\/+$/, "");
  values.storePathCommitLog ??= `${root}/commitlog`;
  values.advertise ??= null;
  values.tlsEnable ??= values.tlsServerMode === "enforcing";
  values.namesrvEnable ??= !isSlave && values.namesrvAddr === null;
  values.namesrvListenPort ??= listenPort === 0 ? 0 : 9876;
  values.kvConfigPath ??= `${root}/namesrv/kvConfig.json`;
  values.configStorePath ??= `${root}/namesrv/namesrv.properties`;
  return normalize(values as Values);
}

/** Values that Apache bends instead of refusing: whole consume queue units, and its bounds of the registration period. */
function normalize(config: Config): Values {
  return {
    ...config,
    mappedFileSizeConsumeQueue: Math.ceil(config.mappedFileSizeConsumeQueue / 20) * 20,
    registerNameServerPeriod: Math.max(10000, Math.min(60000, config.registerNameServerPeriod)),
  };
}

/**
 * Checks a change at run time (`PATCH /config`: keys to JSON values) against the table and the rest of the
 * configuration, and returns it typed. Throws {@link ConfigError}, also for a key that needs a restart.
 */
export function parseConfigPatch(current: Config, patch: Readonly<Record<string, unknown>>): Partial<Config> {
  const parsed: Partial<Record<ConfigKey, unknown>> = {};
  for (const [key, raw] of Object.entries(patch)) {
    const target = ALIASES[key] ?? key;
    if (!isConfigKey(target)) throw new ConfigError(unknownKey("Configuration key", key));
    if (!settingOf(target).live) {
      throw new ConfigError(`${key} can't change while the node runs; set it for a restart`);
    }
    parsed[target] = parseValue(target, raw, key);
  }
  const whole = normalize({ ...current, ...(parsed as Partial<Config>) });
  checkWhole(whole);
  return Object.fromEntries(Object.keys(parsed).map((key) => [key, whole[key as ConfigKey]]));
}

/** Changes the one configuration object that the node's components hold; `patch` is from {@link parseConfigPatch}. */
export function applyConfigPatch(config: Config, patch: Partial<Config>): void {
  Object.assign(config, patch);
}

function checkRole(config: Values, given: ReadonlyMap<ConfigKey, Given>, warnings: string[]): void {
  const origin = given.get("brokerId")?.origin ?? "brokerId";
  if (config.brokerRole === "SLAVE" && config.brokerId <= 0) {
    throw new ConfigError(`${origin} is ${config.brokerId} and brokerRole is SLAVE, wanted a brokerId of 1 or more`);
  }
  if (config.brokerRole !== "SLAVE" && config.brokerId !== 0) {
    warnings.push(`${origin} is ${config.brokerId}: a master's brokerId is 0, taken as 0`);
    config.brokerId = 0;
  }
}

/** A master follows nobody. On a flag that is a mistake, mostly a forgotten `--role slave`; two nodes may share a file. */
function checkMasterAddress(config: Config, given: ReadonlyMap<ConfigKey, Given>, warnings: string[]): void {
  const address = given.get("haMasterAddress");
  if (address === undefined || config.haMasterAddress === null || config.brokerRole === "SLAVE") return;
  const seen = `${address.origin} is ${quoted(config.haMasterAddress)} and brokerRole is ${config.brokerRole}`;
  if (address.source === "flag") throw new ConfigError(`${seen}, wanted --role slave, or no master to follow`);
  warnings.push(`${seen}: nobody is followed until the role is switched to SLAVE`);
}

/** Bounds between settings. */
function checkWhole(config: Config): void {
  if (config.haSendHeartbeatInterval >= config.haHousekeepingInterval) {
    throw new ConfigError(
      `haSendHeartbeatInterval is ${config.haSendHeartbeatInterval}, wanted less than haHousekeepingInterval (${config.haHousekeepingInterval}): idle connections would be closed for ever`,
    );
  }
  if (config.diskSpaceCleanForciblyRatio > config.diskSpaceWarningLevelRatio) {
    throw new ConfigError(
      `diskSpaceCleanForciblyRatio is ${config.diskSpaceCleanForciblyRatio}, wanted at most diskSpaceWarningLevelRatio (${config.diskSpaceWarningLevelRatio})`,
    );
  }
  checkPorts(config);
}

function checkPorts(config: Config): void {
  const ports = new Map<number, string>();
  const admin = config.adminAddress === null ? 0 : parseHostPort(config.adminAddress, 0)!.port;
  const all = {
    listenPort: config.listenPort,
    vipListenPort: config.vipListenPort,
    haListenPort: config.haListenPort,
    adminAddress: admin,
    ...(config.namesrvEnable ? { namesrvListenPort: config.namesrvListenPort } : {}),
  };
  for (const [key, port] of Object.entries(all)) {
    if (port !== 0 && ports.has(port)) {
      throw new ConfigError(`${key} and ${ports.get(port)} are both ${port}, wanted different ports`);
    }
    ports.set(port, key);
  }
}

/** The flag of a key: `haListenPort` is `--ha-listen-port`, `brokerIP2` is `--broker-ip2`. */
export function flagName(key: string): string {
  const kebab = key.replaceAll(/([a-z0-9])([A-Z])/g, "$1-$2").replaceAll(/([A-Z])([A-Z][a-z])/g, "$1-$2");
  return `--${kebab.toLowerCase()}`;
}
