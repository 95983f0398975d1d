// The NameServer inside a broker: its settings are the broker's own. Nothing else of the broker is known to it, which
// registers with it over its port like any other.

import { utf8 } from "../base/bytes.ts";
import type { Logger } from "../base/logger.ts";
import { EMBEDDED_NAMESRV_SETTINGS } from "../config/namesrv_config.ts";
import { remotingClientTls, remotingTls } from "../config/remoting_tls.ts";
import { namesrvConfiguration } from "../config/namesrv_configuration.ts";
import type { Config } from "../config/schema.ts";
import { DurableFile } from "../namesrv/durable_file.ts";
import { type Namesrv, startNamesrv } from "../namesrv/namesrv_controller.ts";
import type { HeldBytes } from "../remoting/held_bytes.ts";
import type { Runtime } from "../runtime/runtime.ts";

/**
 * Starts it on `namesrvListenPort` of `bindAddress`. Throws `IoError` `inUse` when the port is taken, `permission`,
 * `other`.
 */
export function startEmbeddedNamesrv(options: {
  readonly config: Config;
  readonly runtime: Runtime;
  readonly logger: Logger;
  /** The broker's account of what peers make it hold. */
  readonly heldBytes?: HeldBytes;
}): Promise<Namesrv> {
  const { config, runtime, logger, heldBytes } = options;
  const stored = new DurableFile(runtime.fs, config.configStorePath);
  return startNamesrv({
    config,
    runtime,
    logger,
    hostname: config.bindAddress,
    port: config.namesrvListenPort,
    ...(heldBytes === undefined ? {} : { heldBytes }),
    tls: remotingTls(config, (path) => runtime.fs.readFile(path)),
    clientTls: remotingClientTls(config, (path) => runtime.fs.readFile(path)),
    configuration: namesrvConfiguration({
      config,
      settings: EMBEDDED_NAMESRV_SETTINGS,
      logger,
      save: (properties) => stored.write(() => utf8.encode(properties)),
    }),
  });
}
