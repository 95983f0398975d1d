// config/subscriptionGroup.json: the consumer groups of this broker. Kept as found, taken over from a master, handed to
// slaves.

import type { JavaJson, JavaJsonObject } from "../remoting/java_json.ts";
import { ConfigManager, type ConfigManagerOptions } from "./config_manager.ts";

/** Mirrors Apache's `SubscriptionGroupManager`. */
export class SubscriptionGroupManager extends ConfigManager {
  constructor(options: ConfigManagerOptions) {
    super("subscriptionGroup.json", options);
  }

  /** Group name to its configuration, as in the file. */
  get subscriptionGroupTable(): JavaJson {
    return this.table("subscriptionGroupTable");
  }

  /** Takes over a master's table (body of GET_ALL_SUBSCRIPTIONGROUP_CONFIG) in one step. */
  adopt(body: JavaJsonObject): void {
    const { dataVersion, forbiddenTable, subscriptionGroupTable } = body;
    this.replace(this.merged({ dataVersion, forbiddenTable, subscriptionGroupTable }));
  }
}
