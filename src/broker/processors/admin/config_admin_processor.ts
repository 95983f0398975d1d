// The broker's configuration as administrators read and change it: GET_BROKER_CONFIG (26), UPDATE_BROKER_CONFIG (25). The
// table of settings says what there is; a change goes through it whole or not at all, and lasts until the node stops.
//
//   key of the update                          answer
//   on the black list, or none of Apache's     NO_PERMISSION; keys of our own change by the admin API only
//   live                                       applied, and seen by every part at its next use
//   needs a restart                            INVALID_PARAMETER, unless it has that value already (Apache: accepted)
//   Apache's, without effect here              SUCCESS, and a warning that names it
//   unknown, or a value that is none           INVALID_PARAMETER (Apache: SUCCESS, nothing done)

import { utf8 } from "../../../base/bytes.ts";
import { ConfigError } from "../../../base/errors.ts";
import type { Logger } from "../../../base/logger.ts";
import { ALIASES, isAccepted, REFUSED, REPLACED, WITHOUT_EFFECT } from "../../../config/apache_keys.ts";
import { parseConfigPatch, parseValue, unknownKey } from "../../../config/load.ts";
import { parseProperties } from "../../../config/properties.ts";
import { type Config, CONFIG_KEYS, type ConfigKey, isConfigKey, settingOf } from "../../../config/schema.ts";
import { createResponse, type RemotingCommand } from "../../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../../remoting/remoting_server.ts";
import { RequestCode } from "../../../remoting/request_code.ts";
import { ResponseCode } from "../../../remoting/response_code.ts";
import type { Clock } from "../../../runtime/runtime.ts";
import { refusal } from "./admin_request.ts";

/** What the processor needs. */
export interface ConfigAdminPorts {
  readonly clock: Pick<Clock, "now">;
  readonly logger: Logger;
  /** The node's one configuration object. */
  readonly config: Config;
  /** Changes it and tells the parts that don't read at each use; `patch` is checked. */
  readonly updateConfig: (patch: Partial<Config>) => void;
  /** brokerPermission changed: the topics get a new data version, so that NameServers take them anew. */
  readonly onPermissionChanged: () => void;
  /** Values that only the running node knows, such as the port bound for a `listenPort` of 0. */
  readonly effective?: () => Readonly<Record<string, string | number>>;
}

/** Apache's, whatever `configBlackList` says. */
const BLACK_LIST: readonly string[] = ["brokerConfigPath", "rocketmqHome", "configBlackList"];
/** Keys of Apache's that tools read, and what they are here. */
const FIXED: Readonly<Record<string, string>> = {
  ...Object.fromEntries(Object.entries(REFUSED).map(([key, { only }]) => [key, only])),
  clientCallbackExecutorThreads: "1",
  enableSlaveActingMaster: "false",
  transientStorePoolEnable: "false",
};
/** Begins a row's `ours` when Apache has no such key. */
const NOT_APACHES = "not an Apache key";
/** Bytes of an update. */
const BODY_MAX = 1024 * 1024;

/** Mirrors the configuration's part of Apache's `AdminBrokerProcessor`, and its `Configuration`. */
export function configAdminProcessors(ports: ConfigAdminPorts): Map<number, RequestProcessor> {
  const version = { counter: 0, stateVersion: 0, timestamp: ports.clock.now() };
  return new Map<number, RequestProcessor>([
    [RequestCode.GET_BROKER_CONFIG, (request) =>
      createResponse(request, ResponseCode.SUCCESS, {
        ext: { version: JSON.stringify(version) },
        body: utf8.encode(configText(ports)),
      })],
    [RequestCode.UPDATE_BROKER_CONFIG, (request, context) => {
      const remark = updateBrokerConfig(ports, request, context);
      version.counter++;
      version.timestamp = ports.clock.now();
      return createResponse(request, ResponseCode.SUCCESS, remark === null ? {} : { remark });
    }],
  ]);
}

/** `key=value` lines, sorted. Keys without a value are left out, as in Apache. */
function configText({ config, effective }: ConfigAdminPorts): string {
  const values = new Map<string, string>(Object.entries(FIXED));
  for (const key of CONFIG_KEYS) {
    const value = config[key];
    if (value !== null && settingOf(key).flagOnly !== true) values.set(key, String(value));
  }
  for (const [key, value] of Object.entries(effective?.() ?? {})) values.set(key, String(value));
  return [...values.keys()].sort().map((key) => `${key}=${values.get(key)}\n`).join("");
}

/** Returns what to know beside the success, null: nothing. */
function updateBrokerConfig(
  ports: ConfigAdminPorts,
  request: RemotingCommand,
  { remoteAddress }: RequestContext,
): string | null {
  const { config, logger } = ports;
  if (request.body.length > BODY_MAX) {
    throw refusal(
      ResponseCode.SYSTEM_ERROR,
      `Body has ${request.body.length} bytes, wanted at most ${BODY_MAX}`,
    );
  }
  try {
    const given = new Map(parseProperties(request.body).map(({ key, value }) => [key, value]));
    checkBlackList(config, [...given.keys()]);
    const { patch, withoutEffect } = sort(config, given);
    const parsed = parseConfigPatch(config, patch);
    ports.updateConfig(parsed);
    if (Object.hasOwn(parsed, "brokerPermission")) ports.onPermissionChanged();
    for (const [key, value] of Object.entries(parsed)) {
      logger.info("A setting changed, until the node stops", { key, value: String(value), by: remoteAddress });
    }
    if (withoutEffect.length === 0) return null;
    const remark = `Without effect here: ${withoutEffect.join(", ")}`;
    logger.warn(remark, { by: remoteAddress });
    return remark;
  } catch (error) {
    if (error instanceof ConfigError) throw refusal(ResponseCode.INVALID_PARAMETER, error.message);
    throw error;
  }
}

function checkBlackList({ configBlackList }: Config, keys: readonly string[]): void {
  const blackList = new Set([...BLACK_LIST, ...configBlackList.split(";")]);
  const own = (key: string) => isConfigKey(key) && (settingOf(key).ours?.startsWith(NOT_APACHES) ?? false);
  if (keys.some((key) => blackList.has(key))) {
    throw refusal(ResponseCode.NO_PERMISSION, "Can not update config in black list.");
  }
  const refused = keys.find(own);
  if (refused === undefined) return;
  throw refusal(ResponseCode.NO_PERMISSION, `${refused} is no setting of RocketMQ's: the admin API changes it`);
}

/** What to change and what has no effect. Throws {@link ConfigError} for what can't be done. */
function sort(
  config: Config,
  given: ReadonlyMap<string, string>,
): { patch: Record<string, string>; withoutEffect: string[] } {
  const patch: Record<string, string> = {};
  const withoutEffect: string[] = [];
  for (const [key, value] of given) {
    const target = ALIASES[key] ?? key;
    if (isConfigKey(target)) {
      if (settingOf(target).live === true) patch[target] = value;
      else checkUnchanged(config, target, key, value);
    } else if (Object.hasOwn(REFUSED, key)) {
      const { only, instead } = REFUSED[key]!;
      if (!isAccepted(value, only)) throw new ConfigError(`${key} can't change, wanted "${only}": ${instead}`);
    } else if (Object.hasOwn(REPLACED, key) || WITHOUT_EFFECT.has(key)) {
      withoutEffect.push(key);
    } else throw new ConfigError(unknownKey("Configuration key", key));
  }
  return { patch, withoutEffect };
}

function checkUnchanged(config: Config, target: ConfigKey, key: string, value: string): void {
  if (parseValue(target, value, key) === config[target]) return;
  throw new ConfigError(`${key} can't change while the node runs; set it for a restart`);
}
