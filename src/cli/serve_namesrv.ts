// `--role namesrv`: a NameServer alone, from its configuration to a clean stop on a signal.

import { utf8 } from "../base/bytes.ts";
import { formatHostPort } from "../base/host_port.ts";
import { binding } from "../broker/bound_port.ts";
import { loadNamesrvConfig, NAMESRV_SETTINGS, type NamesrvNodeConfig } from "../config/namesrv_config.ts";
import { remotingClientTls, remotingTls } from "../config/remoting_tls.ts";
import { namesrvConfiguration } from "../config/namesrv_configuration.ts";
import { DurableFile } from "../namesrv/durable_file.ts";
import { startNamesrv } from "../namesrv/namesrv_controller.ts";
import { HeldBytes } from "../remoting/held_bytes.ts";
import type { Runtime } from "../runtime/runtime.ts";
import {
  checkDirectory,
  configLogger,
  readConfigFile,
  stopOnSignal,
  stopSignals,
  type StopWords,
  STORE_NAME,
} from "./serve.ts";

const STOP: StopWords = { work: "closing connections", loss: "brokers register again with the next one" };

/** Runs a NameServer until a signal ends it. `flags` maps keys to text; the role is not among them. */
export async function runNamesrv(
  runtime: Runtime,
  options: { flags: ReadonlyMap<string, string>; file: string | null },
): Promise<number> {
  const file = readConfigFile(runtime, options.file);
  const { config, fileEntries, warnings } = loadNamesrvConfig({ file, flags: options.flags });
  const logger = configLogger(runtime, config);
  for (const warning of warnings) logger.warn(warning);
  checkDirectory(runtime, STORE_NAME, config.storePathRootDir);
  const stopping = stopSignals(runtime, logger, STOP);
  const stored = new DurableFile(runtime.fs, config.configStorePath);
  if (file !== null && file.name === config.configStorePath) stored.adopt(file.bytes);
  const started = startNamesrv({
    config,
    runtime,
    logger,
    hostname: config.bindAddress,
    port: config.listenPort,
    heldBytes: new HeldBytes(() => config.remotingHeldBytesMax),
    tls: remotingTls(config, (path) => runtime.fs.readFile(path)),
    clientTls: remotingClientTls(config, (path) => runtime.fs.readFile(path)),
    configuration: namesrvConfiguration({
      config,
      settings: NAMESRV_SETTINGS,
      logger,
      fileEntries,
      save: (properties) => stored.write(() => utf8.encode(properties)),
    }),
    printsKvConfig: true,
  });
  const namesrv = await binding(started, { hostname: config.bindAddress, port: config.listenPort }, {
    what: "NameServer port",
    flag: "--listen-port",
    hostFlag: "--bind-address",
  });
  runtime.process.writeOut(readyLine(runtime, config, formatHostPort(namesrv.address)));
  await stopOnSignal(runtime, logger, stopping, namesrv, STOP);
  return 0;
}

/** The one line on stdout once it listens: for people, or one JSON object under `--json`. */
function readyLine(runtime: Runtime, config: NamesrvNodeConfig, namesrv: string): string {
  const on = `${runtime.name} ${runtime.version}`;
  const { kvConfigPath } = config;
  if (config.json) {
    // A broker's line has both names too, so one reader does for every role.
    const addresses = { remoting: namesrv, namesrv };
    const { pid } = runtime.process;
    return `${JSON.stringify({ ready: true, role: "namesrv", addresses, kvConfigPath, pid, runtime: on })}\n`;
  }
  return `Twinlog NameServer on ${on} is ready: ${namesrv}, KV configuration ${kvConfigPath}\n`;
}
