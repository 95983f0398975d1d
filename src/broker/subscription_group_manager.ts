// config/subscriptionGroup.json: the consumer groups of this broker and what each may do. Groups come with their first
// consumer or from mqadmin, and a master's table is taken over whole. Who is live in a group is the ConsumerManager's.

import { errorMessage, RemotingError } from "../base/errors.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import { quoted } from "../base/printable.ts";
import type { Config } from "../config/schema.ts";
import { isJavaJsonObject, javaJsonObject } from "../remoting/java_json.ts";
import type { JavaJson, JavaJsonObject } from "../remoting/java_json.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import { ConfigManager, type ConfigManagerOptions, dataVersionJson } from "./config_manager.ts";
import { isGroupName } from "./topic_validator.ts";

/** A consumer group's configuration. Mirrors Apache's `SubscriptionGroupConfig`. */
export interface SubscriptionGroupConfig {
  readonly groupName: string;
  readonly consumeEnable: boolean;
  readonly consumeFromMinEnable: boolean;
  readonly consumeBroadcastEnable: boolean;
  readonly consumeMessageOrderly: boolean;
  readonly retryQueueNums: number;
  /** Deliveries of a message after which it goes to the dead letters. */
  readonly retryMaxTimes: number;
  /** Broker that consumers who are not behind pull from. */
  readonly brokerId: number;
  readonly whichBrokerWhenConsumeSlowly: number;
  readonly notifyConsumerIdsChangedEnable: boolean;
  readonly groupSysFlag: number;
  readonly consumeTimeoutMinute: number;
}

/** Groups of Apache's own tools and of its transactions: there from the start. */
const SYSTEM_GROUPS: readonly string[] = [
  "TOOLS_CONSUMER",
  "FILTERSRV_CONSUMER",
  "SELF_TEST_C_GROUP",
  "CID_ONS-HTTP-PROXY",
  "CID_ONSAPI_PULL",
  "CID_ONSAPI_PERMISSION",
  "CID_ONSAPI_OWNER",
  "CID_RMQ_SYS_TRANS",
];
/** Such groups are made whatever `autoCreateSubscriptionGroup` says. */
const SYSTEM_GROUP_PREFIX = "CID_RMQ_SYS_";
/** Groups of RocketMQ's tools that are not there from the start. */
const OTHER_TOOLS: readonly string[] = ["DEFAULT_CONSUMER", "SCHEDULE_CONSUMER", "__MONITOR_CONSUMER"];
/** Groups that consumers may bring into being; administrators are not bound by it. */
const AUTO_CREATED_MAX = 50_000;
/** Largest Java `int`. */
const INT_MAX = 2 ** 31 - 1;

/** Whether the group is one of RocketMQ's own tools. Mirrors `MixAll.isSysConsumerGroupPullMessage`. */
export function isSystemGroup(group: string): boolean {
  return SYSTEM_GROUPS.includes(group) || OTHER_TOOLS.includes(group) || group.startsWith(SYSTEM_GROUP_PREFIX);
}

/** Mirrors Apache's `SubscriptionGroupManager`. */
export class SubscriptionGroupManager extends ConfigManager {
  readonly #config: Pick<Config, "autoCreateSubscriptionGroup">;
  /** Configurations read from the document of now. */
  readonly #cache = new Map<string, SubscriptionGroupConfig>();
  /** Groups in the document; null: to be counted. */
  #count: number | null = null;
  readonly #lines = new LineLimiter();

  constructor(options: ConfigManagerOptions & { readonly config?: Pick<Config, "autoCreateSubscriptionGroup"> }) {
    super("subscriptionGroup.json", options);
    this.#config = options.config ?? { autoCreateSubscriptionGroup: true };
  }

  /** Reads the file; Apache's own groups are there whether it names them or not. */
  override load(): "file" | "bak" | "empty" {
    const source = super.load();
    const table = javaJsonObject();
    for (const group of SYSTEM_GROUPS) table[group] = newGroup(group);
    // The members of a new file in Apache's order.
    if (source === "empty") {
      const dataVersion = dataVersionJson(this.dataVersion);
      this.replace(javaJsonObject({ dataVersion, forbiddenTable: javaJsonObject() }));
    }
    this.replace(this.merged({ subscriptionGroupTable: Object.assign(table, this.#table) }));
    return source;
  }

  override replace(document: JavaJsonObject): void {
    this.#cache.clear();
    this.#count = null;
    super.replace(document);
  }

  /** Group name to its configuration, as in the file. */
  get subscriptionGroupTable(): JavaJson {
    return this.table("subscriptionGroupTable");
  }

  /** Names of all groups. */
  groupNames(): string[] {
    return Object.keys(this.#table);
  }

  /** The group's configuration; null when there is no such group. */
  selectSubscriptionGroupConfig(group: string): SubscriptionGroupConfig | null {
    const known = this.#cache.get(group);
    if (known !== undefined) return known;
    const json = this.#table[group];
    if (!isJavaJsonObject(json)) return null;
    const config = readGroup(group, json);
    this.#cache.set(group, config);
    return config;
  }

  /**
   * The group's configuration; one that is not there is made with Apache's defaults when it may be, at once in memory
   * and in the background in the file. null when it may not: no such name, `autoCreateSubscriptionGroup` is off, or
   * there are 50,000 groups.
   */
  findSubscriptionGroupConfig(group: string): SubscriptionGroupConfig | null {
    const known = this.selectSubscriptionGroupConfig(group);
    if (known !== null) return known;
    if (!this.#config.autoCreateSubscriptionGroup && !group.startsWith(SYSTEM_GROUP_PREFIX)) return null;
    if (!isGroupName(group) || !this.#hasRoom()) return null;
    this.#change(group, newGroup(group));
    return this.selectSubscriptionGroupConfig(group);
  }

  /**
   * Makes a group or changes it (body of UPDATE_AND_CREATE_SUBSCRIPTIONGROUP); members that are not given get Apache's
   * defaults. Throws {@link RemotingError} `INVALID_PARAMETER` for a name that no group can have, and `SYSTEM_ERROR` for
   * attributes: 5.3.3 knows none for groups.
   */
  updateSubscriptionGroupConfig(json: JavaJsonObject): void {
    const { groupName, attributes } = json;
    if (typeof groupName !== "string" || !isGroupName(groupName)) {
      throw new RemotingError(
        ResponseCode.INVALID_PARAMETER,
        `Group is ${quoted(String(groupName), 300)}, wanted 1 to 255 of the characters % | - _ 0-9 A-Z a-z`,
      );
    }
    const unknown = isJavaJsonObject(attributes) ? Object.keys(attributes)[0] : undefined;
    if (unknown !== undefined) {
      throw new RemotingError(ResponseCode.SYSTEM_ERROR, `unsupported key: ${quoted(unknown.slice(1), 100)}`);
    }
    const before = this.#table[groupName];
    const kept = isJavaJsonObject(before) ? before.attributes : undefined;
    const given = Object.entries(json).filter(([, value]) => value !== null);
    const config = Object.assign(newGroup(groupName), Object.fromEntries(given));
    config.attributes = kept ?? javaJsonObject();
    this.#change(groupName, config);
  }

  /** Forgets a group and what it is forbidden. */
  deleteSubscriptionGroupConfig(group: string): void {
    if (this.#table[group] === undefined) return;
    const subscriptionGroupTable = javaJsonObject(this.#table);
    delete subscriptionGroupTable[group];
    const forbiddenTable = javaJsonObject(this.#forbidden);
    delete forbiddenTable[group];
    this.#put({ subscriptionGroupTable, forbiddenTable });
  }

  /** Takes the group's right to consume, as Apache's protection from slow consumers does. */
  disableConsume(group: string): void {
    const json = this.#table[group];
    if (!isJavaJsonObject(json) || json.consumeEnable === false) return;
    this.#change(group, Object.assign(javaJsonObject(json), { consumeEnable: false }));
  }

  /** What the group may not do in the topic: bit 2 (value 4) is to pull. */
  getForbidden(group: string, topic: string): number {
    const topics = this.#forbidden[group];
    const bits = isJavaJsonObject(topics) ? topics[topic] : undefined;
    return typeof bits === "number" && Number.isInteger(bits) && bits > 0 && bits <= INT_MAX ? bits : 0;
  }

  /** Sets or clears one of these bits. Clearing the last one of a topic lifts the group's others too, as in Apache. */
  updateForbidden(group: string, topic: string, bitIndex: number, on: boolean): void {
    const before = this.getForbidden(group, topic);
    const bits = on ? before | (1 << bitIndex) : before & ~(1 << bitIndex);
    if (bits === before) return;
    const forbiddenTable = javaJsonObject(this.#forbidden);
    if (bits <= 0) delete forbiddenTable[group];
    else {
      const topics = forbiddenTable[group];
      forbiddenTable[group] = Object.assign(javaJsonObject(isJavaJsonObject(topics) ? topics : {}), { [topic]: bits });
    }
    this.#put({ forbiddenTable });
  }

  /** Takes over a master's table (body of GET_ALL_SUBSCRIPTIONGROUP_CONFIG) in one step. */
  adopt(body: JavaJsonObject): void {
    const { dataVersion, forbiddenTable, subscriptionGroupTable } = body;
    this.replace(this.merged({ dataVersion, forbiddenTable, subscriptionGroupTable }));
  }

  get #table(): JavaJsonObject {
    const table = this.table("subscriptionGroupTable");
    return isJavaJsonObject(table) ? table : javaJsonObject();
  }

  get #forbidden(): JavaJsonObject {
    const table = this.table("forbiddenTable");
    return isJavaJsonObject(table) ? table : javaJsonObject();
  }

  /** In place: with thousands of groups, each new one must not cost a copy of the table. */
  #change(group: string, config: JavaJsonObject): void {
    const subscriptionGroupTable = this.#table;
    if (subscriptionGroupTable[group] === undefined && this.#count !== null) this.#count++;
    subscriptionGroupTable[group] = config;
    this.#cache.delete(group);
    super.replace(this.merged({ dataVersion: this.nextDataVersion(), subscriptionGroupTable }));
    this.#save();
  }

  #put(members: Readonly<Record<string, JavaJsonObject>>): void {
    this.replace(this.merged({ dataVersion: this.nextDataVersion(), ...members }));
    this.#save();
  }

  #save(): void {
    this.persist().catch((error: unknown) =>
      this.options.logger.error("Can't save the consumer groups, the next change tries again", {
        path: this.path,
        error: errorMessage(error),
      })
    );
  }

  #hasRoom(): boolean {
    const count = this.#count ??= Object.keys(this.#table).length;
    if (count < AUTO_CREATED_MAX) return true;
    const repeated = this.#lines.admit("full", this.options.clock.monotonic());
    if (repeated !== null) this.options.logger.warn("Can't make another consumer group", { count, repeated });
    return false;
  }
}

/** What a group is unless said otherwise. */
export const SUBSCRIPTION_GROUP_DEFAULTS: Omit<SubscriptionGroupConfig, "groupName"> = {
  consumeEnable: true,
  consumeFromMinEnable: true,
  consumeBroadcastEnable: true,
  consumeMessageOrderly: false,
  retryQueueNums: 1,
  retryMaxTimes: 16,
  brokerId: 0,
  whichBrokerWhenConsumeSlowly: 1,
  notifyConsumerIdsChangedEnable: true,
  groupSysFlag: 0,
  consumeTimeoutMinute: 15,
};

/** A group with Apache's defaults, as fastjson writes it: its fields in order. */
function newGroup(groupName: string): JavaJsonObject {
  const defaults = SUBSCRIPTION_GROUP_DEFAULTS;
  return javaJsonObject({
    attributes: javaJsonObject(),
    brokerId: defaults.brokerId,
    consumeBroadcastEnable: defaults.consumeBroadcastEnable,
    consumeEnable: defaults.consumeEnable,
    consumeFromMinEnable: defaults.consumeFromMinEnable,
    consumeMessageOrderly: defaults.consumeMessageOrderly,
    consumeTimeoutMinute: defaults.consumeTimeoutMinute,
    groupName,
    groupRetryPolicy: javaJsonObject({ type: "CUSTOMIZED" }),
    groupSysFlag: defaults.groupSysFlag,
    notifyConsumerIdsChangedEnable: defaults.notifyConsumerIdsChangedEnable,
    retryMaxTimes: defaults.retryMaxTimes,
    retryQueueNums: defaults.retryQueueNums,
    whichBrokerWhenConsumeSlowly: defaults.whichBrokerWhenConsumeSlowly,
  });
}

/** A group's configuration out of JSON; what is none of its values counts as Apache's default. */
function readGroup(groupName: string, json: JavaJsonObject): SubscriptionGroupConfig {
  const flag = (value: JavaJson | undefined, standard: boolean): boolean => {
    if (value === "true" || value === "false") return value === "true";
    return typeof value === "boolean" ? value : standard;
  };
  const number = (value: JavaJson | undefined, standard: number): number => {
    const given = typeof value === "string" && /^-?\d{1,15}$/.test(value) ? Number(value) : value;
    return typeof given === "number" && Number.isSafeInteger(given) && given <= INT_MAX ? given : standard;
  };
  const group: Record<string, boolean | number> = {};
  for (const [name, standard] of Object.entries(SUBSCRIPTION_GROUP_DEFAULTS)) {
    group[name] = typeof standard === "boolean" ? flag(json[name], standard) : number(json[name], standard);
  }
  return { groupName, ...(group as unknown as typeof SUBSCRIPTION_GROUP_DEFAULTS) };
}
