// The offsets of config/consumerOffset.json. Until this broker serves consumers they are
// kept as they are found, taken over from a master, and handed to slaves.

import { isJavaJsonObject, javaJsonObject, withIntegerKeys } from "../remoting/java_json.ts";
import type { JavaJson, JavaJsonObject } from "../remoting/java_json.ts";
import { ConfigManager, type ConfigManagerOptions } from "./config_manager.ts";

/** `topic@group` to (queue id to next offset). Mirrors Apache's `ConsumerOffsetManager`. */
export class ConsumerOffsetManager extends ConfigManager {
  constructor(options: ConfigManagerOptions) {
    super("consumerOffset.json", options);
  }

  /**
   * Takes over a master's table (body of GET_ALL_CONSUMER_OFFSET) in one step. Apache puts the entries over its own
   * and so keeps groups the master has forgotten; here the slave's table is the master's.
   */
  adopt(body: JavaJsonObject): void {
    const { dataVersion, groupTopicMap, offsetTable } = body;
    this.replace(this.merged({ dataVersion, groupTopicMap, offsetTable: perQueue(offsetTable!) }));
  }
}

/** Topic to (group to consume mode), 5.x. Mirrors Apache's `MessageRequestModeManager`. */
export class MessageRequestModeManager extends ConfigManager {
  constructor(options: ConfigManagerOptions) {
    super("messageRequestMode.json", options);
  }

  /** Takes over a master's table (body of GET_ALL_MESSAGE_REQUEST_MODE) in one step. */
  adopt(body: JavaJsonObject): void {
    const { messageRequestModeMap } = body;
    this.replace(this.merged({ messageRequestModeMap }));
  }
}

function perQueue(offsetTable: JavaJson): JavaJson {
  if (!isJavaJsonObject(offsetTable)) return offsetTable;
  const table = javaJsonObject();
  for (const [key, offsets] of Object.entries(offsetTable)) table[key] = withIntegerKeys(offsets);
  return table;
}
