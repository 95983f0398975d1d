// config/topics.json: which topics this broker holds and with how many queues. It keeps what it finds, adds a topic
// when one is put to, and takes over a master's table whole. System topics Apache makes at boot are not made up here.

import { RemotingError } from "../base/errors.ts";
import { quoted } from "../base/printable.ts";
import { isJavaJsonObject, javaJsonObject } from "../remoting/java_json.ts";
import type { JavaJson, JavaJsonObject } from "../remoting/java_json.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import { ConfigManager, type ConfigManagerOptions } from "./config_manager.ts";

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
}

/** Queues of a topic created here without a number. */
const QUEUE_NUMS_DEFAULT = 4;
/** Queues a topic may have; far above what any cluster uses. */
const QUEUE_NUMS_MAX = 65_536;
/** Largest Java `int`. */
const INT_MAX = 2 ** 31 - 1;
/** Characters of a topic name. */
const TOPIC_MAX_LENGTH = 127;

/** Mirrors Apache's `TopicConfigManager`. */
export class TopicConfigManager extends ConfigManager {
  #onChange: (() => void) | null = null;

  constructor(options: ConfigManagerOptions) {
    super("topics.json", options);
  }

  /** Calls back after each change made by {@link ensureTopic}: the broker then registers with its NameServers. */
  onChange(listener: () => void): void {
    this.#onChange = listener;
  }

  /** The table as it is in the file: topic name to TopicConfig. */
  get topicConfigTable(): JavaJsonObject {
    const table = this.table("topicConfigTable");
    return isJavaJsonObject(table) ? table : javaJsonObject();
  }

  /** Names of all topics. */
  topicNames(): string[] {
    return Object.keys(this.topicConfigTable);
  }

  /** The topic's configuration; null when this broker does not hold it. */
  selectTopicConfig(topic: string): TopicConfig | null {
    const config = this.topicConfigTable[topic];
    return isJavaJsonObject(config) ? readTopicConfig(topic, config) : null;
  }

  /**
   * The topic, created with `queueNums` queues (4) when it is not there. The table changes before this returns, the
   * promise resolves when it is on the disk. Throws {@link RemotingError} `INVALID_PARAMETER` for a name or number
   * that Apache would refuse.
   */
  async ensureTopic(topic: string, queueNums: number = QUEUE_NUMS_DEFAULT): Promise<TopicConfig> {
    const known = this.selectTopicConfig(topic);
    if (known !== null) return known;
    checkTopicName(topic);
    if (!Number.isInteger(queueNums) || queueNums < 1 || queueNums > QUEUE_NUMS_MAX) {
      throw new RemotingError(
        ResponseCode.INVALID_PARAMETER,
        `Queue count of ${quoted(topic, 200)} is ${queueNums}, wanted 1 to ${QUEUE_NUMS_MAX}`,
      );
    }
    const config = newTopicConfig(topic, queueNums);
    const topicConfigTable = javaJsonObject(this.topicConfigTable);
    topicConfigTable[topic] = config;
    this.replace(this.merged({ dataVersion: this.nextDataVersion(), topicConfigTable }));
    this.#onChange?.();
    await this.persist();
    return readTopicConfig(topic, config);
  }

  /** Takes over a master's table (body of GET_ALL_TOPIC_CONFIG) in one step. */
  adopt(body: JavaJsonObject): void {
    const { dataVersion, topicConfigTable } = body;
    this.replace(this.merged({ dataVersion, topicConfigTable }));
  }
}

/** Throws {@link RemotingError} `INVALID_PARAMETER` unless Apache's `TopicValidator.validateTopic` takes the name. */
export function checkTopicName(topic: string): void {
  if (topic.length > TOPIC_MAX_LENGTH || !/^[%|a-zA-Z0-9_-]+$/.test(topic)) {
    throw new RemotingError(
      ResponseCode.INVALID_PARAMETER,
      `Topic is ${quoted(topic, 200)}, wanted 1 to ${TOPIC_MAX_LENGTH} of the characters % | - _ 0-9 A-Z a-z`,
    );
  }
}

/** A TopicConfig as fastjson writes it, its fields in order. */
export function newTopicConfig(topic: string, queueNums: number): JavaJsonObject {
  return javaJsonObject({
    attributes: javaJsonObject(),
    order: false,
    perm: PermName.READ | PermName.WRITE,
    readQueueNums: queueNums,
    topicFilterType: "SINGLE_TAG",
    topicName: topic,
    topicSysFlag: 0,
    writeQueueNums: queueNums,
  });
}

function readTopicConfig(topicName: string, config: JavaJsonObject): TopicConfig {
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
  };
}
