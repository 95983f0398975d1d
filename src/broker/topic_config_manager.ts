// config/topics.json: which topics this broker holds and with how many queues. It keeps what it finds, makes topics for
// sends and for mqadmin, and takes over a master's table whole. Which system topics there are is system_topics.ts' matter.

import { errorMessage, RemotingError } from "../base/errors.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import { quoted } from "../base/printable.ts";
import type { Config } from "../config/schema.ts";
import { isJavaJsonObject, javaJsonObject } from "../remoting/java_json.ts";
import type { JavaJson, JavaJsonObject } from "../remoting/java_json.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import { ConfigManager, type ConfigManagerOptions, readDataVersion } from "./config_manager.ts";
import { AUTO_CREATE_TOPIC_KEY_TOPIC, checkTopicName, isRetryTopic } from "./topic_validator.ts";

/** `perm` bits of a topic. Mirrors Apache's `PermName`. */
export const PermName = { INHERIT: 1, WRITE: 2, READ: 4 } as const;

/** A topic's configuration. Mirrors Apache's `TopicConfig`. */
export interface TopicConfig {
  readonly topicName: string;
  readonly readQueueNums: number;
  readonly writeQueueNums: number;
  /** {@link PermName} bits. */
  readonly perm: number;
  readonly topicFilterType: string;
  readonly topicSysFlag: number;
  readonly order: boolean;
  /** 5.x: `message.type`, `cleanup.policy`, ... */
  readonly attributes: Readonly<Record<string, string>>;
}

/** Queues of a topic created here without a number. */
const QUEUE_NUMS_DEFAULT = 4;
/** Queues a topic may have; far above what any cluster uses. */
const QUEUE_NUMS_MAX = 65_536;
/** Topics whose last change here is remembered by topic. */
const DECIDED_MAX = 10_000;
/** Topics that sends make: beyond so many, administrators make them. */
const AUTO_CREATED_MAX = 50_000;
/** Largest Java `int`. */
const INT_MAX = 2 ** 31 - 1;
/** Topics in memory and not in the file: Apache makes them anew at each start. */
type SystemTopics = ReadonlyMap<string, JavaJsonObject>;

/** Mirrors Apache's `TopicConfigManager`. */
export class TopicConfigManager extends ConfigManager {
  readonly #config: Pick<Config, "autoCreateTopicEnable">;
  #system: SystemTopics = new Map();
  /** {@link selectTopicConfig}'s answers for the document of now. */
  #cache = new Map<string, TopicConfig>();
  /** Topics in the document; null: to be counted. */
  #count: number | null = null;
  readonly #lines = new LineLimiter();
  #onChange: (() => void) | null = null;
  /** Unix ms: no topic was made or changed before that without the table knowing. Infinity: it knows them all. */
  #completeUntil = 0;
  /** When topics were deleted or changed here since; what is older says nothing against it. */
  readonly #decidedAt = new Map<string, number>();

  constructor(options: ConfigManagerOptions & { readonly config?: Pick<Config, "autoCreateTopicEnable"> }) {
    super("topics.json", options);
    this.#config = options.config ?? { autoCreateTopicEnable: true };
  }

  override load(): "file" | "bak" | "empty" {
    this.#cache.clear();
    this.#count = null;
    const source = super.load();
    this.#completeUntil = source === "empty" ? 0 : timeOf(this.document);
    return source;
  }

  override replace(document: JavaJsonObject): void {
    this.#cache.clear();
    this.#count = null;
    super.replace(document);
  }

  /** Gives the topics that exist without being in the file; one of the same name there wins. */
  setSystemTopics(topics: readonly TopicConfig[]): void {
    this.#system = new Map(topics.map((topic) => [topic.topicName, topicConfigJson(topic)]));
    this.#cache.clear();
  }

  /** Calls back after each change made here: the broker then registers with its NameServers. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  /** The whole table, topic name to TopicConfig: the system's topics and the file's. */
  get topicConfigTable(): JavaJsonObject {
    const inFile = this.#inFile;
    if (this.#system.size === 0) return inFile;
    return Object.assign(javaJsonObject(Object.fromEntries(this.#system)), inFile);
  }

  get #inFile(): JavaJsonObject {
    const table = this.table("topicConfigTable");
    return isJavaJsonObject(table) ? table : javaJsonObject();
  }

  /** Names of all topics. */
  topicNames(): string[] {
    return Object.keys(this.topicConfigTable);
  }

  /** The topic's configuration; null when this broker does not hold it. */
  selectTopicConfig(topic: string): TopicConfig | null {
    const known = this.#cache.get(topic);
    if (known !== undefined) return known;
    const json = this.#inFile[topic] ?? this.#system.get(topic);
    if (!isJavaJsonObject(json)) return null;
    const config = readTopicConfig(topic, json);
    this.#cache.set(topic, config);
    return config;
  }

  /** Whether the queues of the topic are consumed in order. */
  isOrderTopic(topic: string): boolean {
    return this.selectTopicConfig(topic)?.order ?? false;
  }

  /**
   * The topic, created with `queueNums` queues (4) when it is not there. The table changes before this returns, the
   * promise resolves when it is on the disk. Throws {@link RemotingError} `INVALID_PARAMETER` for a name or number
   * that Apache would refuse.
   */
  async ensureTopic(topic: string, queueNums: number = QUEUE_NUMS_DEFAULT): Promise<TopicConfig> {
    const known = this.selectTopicConfig(topic);
    if (known !== null) return known;
    this.updateTopicConfig({
      ...TOPIC_DEFAULTS,
      topicName: topic,
      readQueueNums: queueNums,
      writeQueueNums: queueNums,
    });
    await this.persist();
    return this.selectTopicConfig(topic)!;
  }

  /**
   * The topic a message is sent to, made from the template `defaultTopic` when it is not there; null when it may not be
   * made, or there are 50,000. What is made is written in the background. Mirrors the method of this name.
   */
  createTopicInSendMessageMethod(
    topic: string,
    defaultTopic: string,
    clientDefaultTopicQueueNums: number,
    topicSysFlag: number,
  ): TopicConfig | null {
    const known = this.selectTopicConfig(topic);
    if (known !== null) return known;
    if (!this.#hasRoom()) return null;
    const template = this.selectTopicConfig(defaultTopic);
    if (template !== null && (this.#permOf(template) & PermName.INHERIT) !== 0) {
      // At least one (Apache: none, then): nobody could send to it, and nobody would make it anew.
      const queueNums = Math.max(1, Math.min(clientDefaultTopicQueueNums, template.writeQueueNums));
      return this.#create({
        ...TOPIC_DEFAULTS,
        topicName: topic,
        readQueueNums: queueNums,
        writeQueueNums: queueNums,
        perm: template.perm & ~PermName.INHERIT,
        topicFilterType: template.topicFilterType,
        topicSysFlag,
      });
    }
    if (!isRetryTopic(topic)) return null;
    return this.#create({ ...TOPIC_DEFAULTS, topicName: topic, readQueueNums: 1, writeQueueNums: 1, topicSysFlag });
  }

  #permOf(template: TopicConfig): number {
    const isAutoCreate = template.topicName === AUTO_CREATE_TOPIC_KEY_TOPIC;
    return isAutoCreate && !this.#config.autoCreateTopicEnable ? template.perm & ~PermName.INHERIT : template.perm;
  }

  /** A retry topic or one for dead letters; an existing one stays, but for its `order`. Mirrors the method of this name. */
  createTopicInSendMessageBackMethod(
    topic: string,
    queueNums: number,
    perm: number,
    topicSysFlag: number,
    order = false,
  ): TopicConfig {
    const known = this.selectTopicConfig(topic);
    if (known === null) {
      const made = { topicName: topic, readQueueNums: queueNums, writeQueueNums: queueNums, perm, topicSysFlag, order };
      return this.#create({ ...TOPIC_DEFAULTS, ...made });
    }
    return known.order === order ? known : this.#create({ ...known, order });
  }

  /**
   * Makes room for messages of a topic in queues up to `queueIdMax` that nobody could read else: a slave that is promoted
   * before it copied its master's last changes has not heard of the topic, or of so many queues. Not for messages from
   * before the table was complete, or before the topic was deleted or changed here: `timestamp` is when the newest was
   * born or first stored, whichever is earlier, Unix ms. Returns whether the table changed.
   */
  restoreTopic(topic: string, queueIdMax: number, timestamp: number): boolean {
    const known = this.selectTopicConfig(topic);
    if (known !== null && queueIdMax < Math.max(known.readQueueNums, known.writeQueueNums)) return false;
    const until = Math.max(this.#completeUntil, this.#decidedAt.get(topic) ?? 0);
    if (timestamp <= until || queueIdMax >= QUEUE_NUMS_MAX) return false;
    // Producers that know it may write to a queue that was empty so far.
    const queueNums = Math.max(queueIdMax + 1, QUEUE_NUMS_DEFAULT);
    this.#create({
      ...TOPIC_DEFAULTS,
      ...known,
      topicName: topic,
      readQueueNums: queueNums,
      writeQueueNums: queueNums,
    });
    const repeated = this.#lines.admit("restored", this.options.clock.monotonic());
    if (repeated !== null) {
      this.options.logger.warn("There are messages of a topic or queue that was in no table; made anew", {
        topic,
        queueNums,
        repeated,
      });
    }
    return true;
  }

  /** Somebody who knows has said what the topic is, or that it is gone. */
  #decided(topic: string): void {
    const now = this.options.clock.now();
    if (this.#decidedAt.size >= DECIDED_MAX) {
      this.#decidedAt.clear();
      this.#completeUntil = Math.max(this.#completeUntil, now);
    }
    this.#decidedAt.set(topic, now);
  }

  /** Makes a topic or changes it; written in the background. Throws as {@link ensureTopic}. */
  updateTopicConfig(config: TopicConfig): void {
    checkTopicName(config.topicName);
    for (const queueNums of [config.readQueueNums, config.writeQueueNums]) checkQueueNums(config.topicName, queueNums);
    this.#decided(config.topicName);
    this.#create(config);
  }

  /** Forgets a topic; one of the system comes back with the next start. */
  deleteTopicConfig(topic: string): void {
    this.#decided(topic);
    if (this.selectTopicConfig(topic) === null) return;
    const table = javaJsonObject(this.#inFile);
    delete table[topic];
    this.#system = new Map([...this.#system].filter(([name]) => name !== topic));
    this.#change(table);
  }

  /** Gives the table a new data version as it is: NameServers take it anew, with what registration makes of it now. */
  touch(): void {
    this.#change(this.#inFile);
  }

  /** Marks the topics that a NameServer names as ordered (`ORDER_TOPIC_CONFIG`). */
  updateOrderTopicConfig(topics: readonly string[]): void {
    for (const topic of topics) {
      const config = this.selectTopicConfig(topic);
      if (config !== null && !config.order) this.#create({ ...config, order: true });
    }
  }

  /** In place: with thousands of topics, each new one must not cost a copy of the table. */
  #create(config: TopicConfig): TopicConfig {
    const table = this.#inFile;
    const before = table[config.topicName];
    if (before === undefined && this.#count !== null) this.#count++;
    // What a newer broker knows of the topic stays.
    table[config.topicName] = Object.assign(isJavaJsonObject(before) ? javaJsonObject(before) : javaJsonObject(), {
      ...topicConfigJson(config),
    });
    this.#cache.delete(config.topicName);
    super.replace(this.merged({ dataVersion: this.nextDataVersion(), topicConfigTable: table }));
    this.#save();
    return this.selectTopicConfig(config.topicName)!;
  }

  #change(topicConfigTable: JavaJsonObject): void {
    this.replace(this.merged({ dataVersion: this.nextDataVersion(), topicConfigTable }));
    this.#save();
  }

  #save(): void {
    this.#onChange?.();
    this.persist().catch((error: unknown) =>
      this.options.logger.error("Can't save the topics, the next change tries again", {
        path: this.path,
        error: errorMessage(error),
      })
    );
  }

  #hasRoom(): boolean {
    const count = this.#count ??= Object.keys(this.#inFile).length;
    if (count < AUTO_CREATED_MAX) return true;
    const repeated = this.#lines.admit("full", this.options.clock.monotonic());
    if (repeated !== null) this.options.logger.warn("Sends make no more topics", { count, repeated });
    return false;
  }

  /** Takes over a master's table (body of GET_ALL_TOPIC_CONFIG) in one step. */
  adopt(body: JavaJsonObject): void {
    const { dataVersion, topicConfigTable } = body;
    this.replace(this.merged({ dataVersion, topicConfigTable }));
    this.#completeUntil = timeOf(body);
    this.#decidedAt.clear();
  }
}

/** When a table was changed last; one that does not say counts as complete. */
function timeOf({ dataVersion }: JavaJsonObject): number {
  const timestamp = readDataVersion(dataVersion)?.timestamp ?? 0;
  return timestamp > 0 ? timestamp : Infinity;
}

function checkQueueNums(topic: string, queueNums: number): void {
  if (Number.isInteger(queueNums) && queueNums >= 1 && queueNums <= QUEUE_NUMS_MAX) return;
  throw new RemotingError(
    ResponseCode.INVALID_PARAMETER,
    `Queue count of ${quoted(topic, 200)} is ${queueNums}, wanted 1 to ${QUEUE_NUMS_MAX}`,
  );
}

/** What a topic is unless said otherwise. */
export const TOPIC_DEFAULTS: Omit<TopicConfig, "topicName"> = {
  readQueueNums: QUEUE_NUMS_DEFAULT,
  writeQueueNums: QUEUE_NUMS_DEFAULT,
  perm: PermName.READ | PermName.WRITE,
  topicFilterType: "SINGLE_TAG",
  topicSysFlag: 0,
  order: false,
  attributes: {},
};

/** A TopicConfig as fastjson writes it, its fields in order. */
export function topicConfigJson(config: TopicConfig): JavaJsonObject {
  return javaJsonObject({
    attributes: javaJsonObject(config.attributes),
    order: config.order,
    perm: config.perm,
    readQueueNums: config.readQueueNums,
    topicFilterType: config.topicFilterType,
    topicName: config.topicName,
    topicSysFlag: config.topicSysFlag,
    writeQueueNums: config.writeQueueNums,
  });
}

/** A topic's configuration out of JSON; what is none of its values counts as Apache's default. */
export function readTopicConfig(topicName: string, config: JavaJsonObject): TopicConfig {
  // Anything may stand in a file or in a master's table: what is no such number counts as Apache's default, and nobody
  // makes more queues than there can be.
  const number = (value: JavaJson | undefined, standard: number): number => {
    const given = typeof value === "string" && /^\d{1,10}$/.test(value) ? Number(value) : value;
    return typeof given === "number" && Number.isInteger(given) && given >= 0 && given <= INT_MAX ? given : standard;
  };
  return {
    topicName,
    readQueueNums: Math.min(number(config.readQueueNums, 16), QUEUE_NUMS_MAX),
    writeQueueNums: Math.min(number(config.writeQueueNums, 16), QUEUE_NUMS_MAX),
    perm: number(config.perm, PermName.READ | PermName.WRITE),
    topicFilterType: typeof config.topicFilterType === "string" ? config.topicFilterType : "SINGLE_TAG",
    topicSysFlag: number(config.topicSysFlag, 0),
    order: config.order === true,
    attributes: textsOf(config.attributes),
  };
}

function textsOf(value: JavaJson | undefined): Record<string, string> {
  if (!isJavaJsonObject(value)) return {};
  return Object.fromEntries(Object.entries(value).filter((entry) => typeof entry[1] === "string")) as Record<
    string,
    string
  >;
}
