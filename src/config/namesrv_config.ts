// The configuration of a NameServer that runs alone (`--role namesrv`): Apache's keys of namesrv.conf, in which listenPort
// is the NameServer's own. Most rows are those of a broker that has a NameServer inside. It reads no file itself.

import { ConfigError } from "../base/errors.ts";
import { quoted } from "../base/printable.ts";
import { isAccepted, isOtherBrokerKey } from "./apache_keys.ts";
import { NAMESRV, REMOTING_TLS } from "./client_settings.ts";
import { flagName, parseSetting } from "./load.ts";
import { nearest } from "./nearest.ts";
import { Problems } from "./problems.ts";
import { parseProperties } from "./properties.ts";
import { isConfigKey, settingOf, SETTINGS } from "./schema.ts";
import { Derived, derived, integer, type Setting, type SettingValue, text } from "./setting.ts";

const { namesrvEnable: _, namesrvListenPort: __, ...ROWS } = NAMESRV;

/** The table: Apache's `NamesrvConfig`, and what of its `NettyServerConfig` means something here. */
export const NAMESRV_SETTINGS = {
  listenPort: integer(9876, 0, 65535, "The NameServer's port; 0 is any free port"),
  bindAddress: SETTINGS.bindAddress,
  storePathRootDir: text(derived("./data/<listenPort>"), "Directory of kvConfigPath and configStorePath", {
    ours: "Apache has ~/namesrv",
    alias: "store",
  }),
  ...ROWS,
  configStorePath: text(
    derived("the file given by -c, else <storePathRootDir>/namesrv/namesrv.properties"),
    "File that a change of the configuration is written to",
    { ours: "Apache has ~/namesrv/namesrv.properties" },
  ),
  configBlackList: text(
    "configBlackList;configStorePath;kvConfigPath",
    "Keys that UPDATE_NAMESRV_CONFIG may not change, separated by ;",
  ),
  serverChannelMaxIdleTimeSeconds: SETTINGS.serverChannelMaxIdleTimeSeconds,
  remotingAllowedPeers: SETTINGS.remotingAllowedPeers,
  remotingConnectionsMax: SETTINGS.remotingConnectionsMax,
  remotingConnectionsPerAddressMax: SETTINGS.remotingConnectionsPerAddressMax,
  remotingFrameTimeout: SETTINGS.remotingFrameTimeout,
  remotingHeldBytesMax: SETTINGS.remotingHeldBytesMax,
  ...REMOTING_TLS,
  json: SETTINGS.json,
  logLevel: SETTINGS.logLevel,
};

/** A key of {@link NAMESRV_SETTINGS}. */
export type NamesrvConfigKey = keyof typeof NAMESRV_SETTINGS;

/** Every key with its value. One object per NameServer; what may change at run time is changed in it. */
export type NamesrvNodeConfig = {
  readonly [K in NamesrvConfigKey]: SettingValue<(typeof NAMESRV_SETTINGS)[K]>;
};

/** What loading yields. */
export interface LoadedNamesrvConfig {
  readonly config: NamesrvNodeConfig;
  /** Entries of the file as they stood there. */
  readonly fileEntries: ReadonlyMap<string, string>;
  /** Lines to tell the user, each a whole sentence. */
  readonly warnings: readonly string[];
}

/** Modes of Apache's NameServer that are not supported: any value but `false` refuses to start. */
const REFUSED: Readonly<Record<string, string>> = {
  enableControllerInNamesrv: "controller mode is not supported",
  useTLS: "TLS to brokers is tlsEnable=true here",
  clusterTest: "routes of another environment's NameServer are not supported",
};

/** Further Apache keys without effect here: threads and buffers of Java's networking, and its place. */
const WITHOUT_EFFECT: ReadonlySet<string> = new Set(
  `clientAsyncSemaphoreValue clientCallbackExecutorThreads clientChannelMaxIdleTimeSeconds
clientCloseSocketIfTimeout clientOnewaySemaphoreValue clientPooledByteBufAllocatorEnable
clientRequestThreadPoolNums clientRequestThreadPoolQueueCapacity clientSocketRcvBufSize clientSocketSndBufSize
clientWorkerThreads connectTimeoutMillis defaultThreadPoolNums defaultThreadPoolQueueCapacity
enableShutdownGracefully productEnvName rocketmqHome serverAsyncSemaphoreValue serverCallbackExecutorThreads
serverNettyWorkerGroupEnable serverOnewaySemaphoreValue serverPooledByteBufAllocatorEnable serverSelectorThreads
serverSocketBacklog serverSocketRcvBufSize serverSocketSndBufSize serverWorkerThreads shutdownWaitTimeSeconds
unRegisterBrokerQueueCapacity useEpollNativeSelector writeBufferHighWaterMark writeBufferLowWaterMark`
    .split(/\s+/),
);

/** What the port is called where the NameServer is inside a broker, and short flags. */
const FLAG_ALIASES: Readonly<Record<string, NamesrvConfigKey>> = {
  namesrvListenPort: "listenPort",
  store: "storePathRootDir",
};

/** Whether the text is a key of {@link NAMESRV_SETTINGS}. */
export function isNamesrvConfigKey(key: string): key is NamesrvConfigKey {
  return Object.hasOwn(NAMESRV_SETTINGS, key);
}

/** What is given as the role for a NameServer alone. */
export const NAMESRV_ROLE = "namesrv";

/** Whether a text given as the role means a NameServer alone; it is no role of a broker. */
export function isNamesrvRole(role: string | undefined): boolean {
  return role?.toLowerCase() === NAMESRV_ROLE;
}

/**
 * Merges defaults, a `namesrv.conf` and flags (key to text, without the role; flags win). Throws {@link ConfigError}
 * naming the key, the value seen and the value wanted.
 */
export function loadNamesrvConfig(options: {
  readonly file?: { readonly name: string; readonly bytes: Uint8Array } | null;
  readonly flags?: ReadonlyMap<string, string>;
}): LoadedNamesrvConfig {
  const warnings: string[] = [];
  const given = new Map<NamesrvConfigKey, unknown>();
  const { file = null, flags = new Map<string, string>() } = options;
  const problems = new Problems();
  const fileEntries = file === null ? new Map<string, string>() : readFile(file, given, warnings, problems);
  for (const [key, value] of flags) {
    const target = FLAG_ALIASES[key] ?? key;
    problems.try(() => {
      if (!isNamesrvConfigKey(target)) {
        throw new ConfigError(
          `${flagName(key)} is a flag of brokers, wanted one that a NameServer has (docs/configuration.md)`,
        );
      }
      given.set(target, parseSetting(NAMESRV_SETTINGS[target], value, flagName(key)));
    });
  }
  problems.throwIfAny();
  return { config: withDefaults(given, file?.name ?? null), fileEntries, warnings };
}

function readFile(
  file: { readonly name: string; readonly bytes: Uint8Array },
  given: Map<NamesrvConfigKey, unknown>,
  warnings: string[],
  problems: Problems,
): Map<string, string> {
  const withoutEffect: string[] = [];
  const unknown: string[] = [];
  const last = new Map(parseProperties(file.bytes, file.name).map((entry) => [entry.key, entry]));
  for (const { key, value, line } of last.values()) {
    const origin = `${key} (${file.name}, line ${line})`;
    if (isNamesrvConfigKey(key)) {
      problems.try(() => given.set(key, parseSetting(NAMESRV_SETTINGS[key], value, origin)));
    } else if (Object.hasOwn(REFUSED, key)) {
      problems.try(() => {
        if (isAccepted(value, "false")) return;
        throw new ConfigError(`${origin} is ${quoted(value.trim())}, wanted "false": ${REFUSED[key]}`);
      });
    } else if (WITHOUT_EFFECT.has(key) || isConfigKey(key) || isOtherBrokerKey(key)) {
      withoutEffect.push(key);
    } else {
      const near = nearest(key, Object.keys(NAMESRV_SETTINGS));
      const guess = near === null ? "" : `, did you mean "${near}"?`;
      unknown.push(`line ${line}, key ${quoted(key)} is unknown${guess}`);
    }
  }
  if (unknown.length > 0 && unknown.length === last.size) {
    throw new ConfigError(`${file.name} holds no key that is known, wanted an Apache namesrv.conf (key=value lines)`);
  }
  if (unknown.length > 0) warnings.push(`Left out: ${file.name}, ${unknown.join("; ")}`);
  if (withoutEffect.length > 0) warnings.push(`${file.name}: without effect here: ${withoutEffect.join(", ")}`);
  return new Map([...last.values()].map(({ key, value }) => [key, value]));
}

function withDefaults(given: ReadonlyMap<NamesrvConfigKey, unknown>, fileName: string | null): NamesrvNodeConfig {
  const values: Record<string, unknown> = {};
  for (const [key, setting] of Object.entries<Setting<unknown>>(NAMESRV_SETTINGS)) {
    const value = given.get(key as NamesrvConfigKey);
    if (value !== undefined) values[key] = value;
    else if (!(setting.fallback instanceof Derived)) values[key] = setting.fallback;
  }
  values.tlsEnable ??= values.tlsServerMode === "enforcing";
  const root = String(values.storePathRootDir ??= `./data/${values.listenPort}`).replace(/\/+$/, "");
  values.kvConfigPath ??= `${root}/namesrv/kvConfig.json`;
  // As Apache: what mqadmin changes goes back into the file it came from.
  values.configStorePath ??= fileName ?? `${root}/namesrv/namesrv.properties`;
  return values as NamesrvNodeConfig;
}

/** Rows of a broker with a NameServer inside, by the names mqadmin knows them by. */
export const EMBEDDED_NAMESRV_SETTINGS: Readonly<Record<string, Setting<unknown>>> = {
  ...ROWS,
  bindAddress: settingOf("bindAddress"),
  serverChannelMaxIdleTimeSeconds: settingOf("serverChannelMaxIdleTimeSeconds"),
};
