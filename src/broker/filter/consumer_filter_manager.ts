// Which SQL92 expression each group filters each topic by: told by heartbeats, kept in consumerFilter.json for a while
// after the group is gone. What tags let through is not its business. Driven by the heartbeat processor; pulls look up.

import { errorMessage, RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import { isJavaJsonObject, type JavaJson, type JavaJsonObject, javaJsonObject } from "../../remoting/java_json.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Timer } from "../../runtime/runtime.ts";
import { ConfigManager, type ConfigManagerOptions } from "../config_manager.ts";
import { BloomFilter } from "./bloom_filter.ts";
import { Sql92Error } from "./sql92_lexer.ts";
import { type CompiledExpression, parseSql92 } from "./sql92_parser.ts";
import { ExpressionType, isTagType, type SubscriptionData } from "./subscription_data.ts";

/** The filter of a group in a topic. Mirrors Apache's `ConsumerFilterData`. */
export interface ConsumerFilterData {
  readonly topic: string;
  readonly consumerGroup: string;
  readonly expression: string;
  readonly expressionType: string;
  readonly compiledExpression: CompiledExpression;
  /** The `subVersion` it came with. */
  readonly clientVersion: number;
  /** Unix ms. */
  readonly bornTime: number;
  /** When the group went away, Unix ms; below `bornTime` (0) while it is there. */
  readonly deadTime: number;
}

type MutableFilterData = { -readonly [K in keyof ConsumerFilterData]: ConsumerFilterData[K] };

/** Keys it reads: the bloom filter's once, the others live. */
export type ConsumerFilterConfig = Pick<
  Config,
  "maxErrorRateOfBloomFilter" | "expectConsumerNumUseFilter" | "filterDataCleanTimeSpan"
>;

/** Changes are written so long after the first of them, ms. Apache writes each 10 s. */
const PERSIST_DELAY_MS = 10_000;
/** Compiled expressions kept for pulls that carry their own; Apache keeps as many. */
const CACHE_MAX = 100;
/** Longer ones are compiled at each use. */
const CACHED_LENGTH_MAX = 4096;
/** Characters of all expressions together: beyond it new ones are refused until old ones are gone. */
const EXPRESSIONS_SIZE_MAX = 32 * 1024 * 1024;
/** A group that was there when the broker stopped counts as gone since this long before the next start, ms. */
const DEAD_BEFORE_LOAD_MS = 30_000;

/** Mirrors Apache's `ConsumerFilterManager`. */
export class ConsumerFilterManager extends ConfigManager {
  readonly #config: ConsumerFilterConfig;
  readonly #bloomFilter: BloomFilter;
  /** Topic to group to filter. */
  readonly #byTopic = new Map<string, Map<string, MutableFilterData>>();
  /** Group to topic to filter: the same entries. */
  readonly #byGroup = new Map<string, Map<string, MutableFilterData>>();
  readonly #compiled = new Map<string, CompiledExpression>();
  #expressionsSize = 0;
  #timer: Timer | null = null;
  #stopped = false;

  constructor(options: ConfigManagerOptions & { readonly config: ConsumerFilterConfig }) {
    super("consumerFilter.json", options);
    const { config } = options;
    this.#config = config;
    this.#bloomFilter = new BloomFilter(config.maxErrorRateOfBloomFilter, config.expectConsumerNumUseFilter);
  }

  /** The group's filter in the topic, also one of a group that is gone for less than a day; null when there is none. */
  get(topic: string, consumerGroup: string): ConsumerFilterData | null {
    return this.#byTopic.get(topic)?.get(consumerGroup) ?? null;
  }

  /** The group's filters in all topics. */
  getByGroup(consumerGroup: string): ConsumerFilterData[] {
    return [...this.#byGroup.get(consumerGroup)?.values() ?? []];
  }

  /**
   * A filter that no heartbeat told of, as of a pull that carries its subscription; null when the expression is none.
   * Apache lets such a pull have everything. Mirrors `ConsumerFilterManager.build`.
   */
  build(topic: string, consumerGroup: string, sub: SubscriptionData): ConsumerFilterData | null {
    if (isTagType(sub.expressionType)) return null;
    try {
      return this.#make(topic, consumerGroup, sub, this.#compile(sub.subString, sub.expressionType));
    } catch (error) {
      if (!(error instanceof RemotingError)) throw error;
      return null;
    }
  }

  /** The expression, ready to be asked. Throws {@link RemotingError} `SUBSCRIPTION_PARSE_FAILED`. */
  compile(expression: string): CompiledExpression {
    return this.#compile(expression, ExpressionType.SQL92);
  }

  #compile(expression: string, type: string): CompiledExpression {
    if (type !== ExpressionType.SQL92) {
      throw parseFailed(`Expression is of type ${quoted(type, 40)}, wanted TAG or SQL92`);
    }
    const cached = this.#compiled.get(expression);
    if (cached !== undefined) return cached;
    let compiled: CompiledExpression;
    try {
      compiled = parseSql92(expression);
    } catch (error) {
      if (error instanceof Sql92Error) throw parseFailed(`Invalid MessageSelector. ${error.message}`);
      throw error;
    }
    if (expression.length <= CACHED_LENGTH_MAX) {
      if (this.#compiled.size >= CACHE_MAX) this.#compiled.delete(this.#compiled.keys().next().value!);
      this.#compiled.set(expression, compiled);
    }
    return compiled;
  }

  /**
   * A heartbeat of the group with all its subscriptions. A filter whose `subVersion` is not newer is left as it is (and
   * lives again if equal); one that can't be compiled is forgotten, so that pulls are told; one whose topic is not
   * among them counts as gone.
   */
  register(consumerGroup: string, subs: readonly SubscriptionData[]): void {
    for (const sub of subs) {
      if (!isTagType(sub.expressionType) && sub.subString !== "") this.#register(consumerGroup, sub);
    }
    for (const data of this.#byGroup.get(consumerGroup)?.values() ?? []) {
      if (!isDead(data) && !subs.some(({ topic }) => topic === data.topic)) this.#setDeadTime(data, this.#now());
    }
  }

  #register(consumerGroup: string, sub: SubscriptionData): void {
    const old = this.#byTopic.get(sub.topic)?.get(consumerGroup);
    if (old !== undefined && sub.subVersion <= old.clientVersion) {
      if (sub.subVersion === old.clientVersion && isDead(old)) this.#setDeadTime(old, 0);
      return;
    }
    if (old !== undefined && old.expression === sub.subString && old.expressionType === sub.expressionType) {
      old.clientVersion = sub.subVersion;
      this.#setDeadTime(old, 0);
      return;
    }
    try {
      const compiled = this.#compile(sub.subString, sub.expressionType);
      if (old !== undefined) this.#remove(old);
      this.#add(this.#make(sub.topic, consumerGroup, sub, compiled));
    } catch (error) {
      if (!(error instanceof RemotingError)) throw error;
      if (old !== undefined) this.#remove(old);
      this.options.logger.warn("Can't register a filter; the group's pulls are refused", {
        topic: sub.topic,
        consumerGroup,
        error: errorMessage(error),
      });
    }
  }

  /** The group has no member any more. */
  unRegister(consumerGroup: string): void {
    const now = this.#now();
    for (const data of this.#byGroup.get(consumerGroup)?.values() ?? []) {
      if (!isDead(data)) this.#setDeadTime(data, now);
    }
  }

  /**
   * Reads the file as {@link ConfigManager.load}. All groups count as gone until they beat; an entry that can't be read
   * or compiled is left out, so that its pulls are refused and not unfiltered.
   */
  override load(): "file" | "bak" | "empty" {
    const source = super.load();
    this.#byTopic.clear();
    this.#byGroup.clear();
    this.#expressionsSize = 0;
    for (const byGroup of membersOf(this.document.filterDataByTopic)) {
      if (!isJavaJsonObject(byGroup)) continue;
      for (const entry of membersOf(byGroup.groupFilterData)) this.#load(entry);
    }
    return source;
  }

  #load(entry: JavaJson): void {
    if (!isJavaJsonObject(entry)) return;
    const { topic, consumerGroup, expression, expressionType } = entry;
    try {
      const texts = [topic, consumerGroup, expression, expressionType];
      if (!texts.every((text) => typeof text === "string")) throw parseFailed("A member is missing");
      const bornTime = numberOf(entry.bornTime);
      const deadTime = numberOf(entry.deadTime);
      const [topicName, group, text, type] = texts as [string, string, string, string];
      const sub = { subString: text, expressionType: type, subVersion: numberOf(entry.clientVersion) };
      const data = this.#make(topicName, group, sub, this.#compile(text, type));
      data.bornTime = bornTime;
      data.deadTime = deadTime === 0 ? Math.max(bornTime, this.#now() - DEAD_BEFORE_LOAD_MS) : deadTime;
      this.#add(data);
    } catch (error) {
      if (!(error instanceof RemotingError)) throw error;
      this.options.logger.warn("Left out a filter of consumerFilter.json", { error: errorMessage(error) });
    }
  }

  /** Writes the filters when they changed, without those of groups long gone. Throws `IoError`. */
  override persist(): Promise<void> {
    this.#timer?.cancel();
    this.#timer = null;
    this.#clean();
    this.replace(this.#toJson());
    return super.persist();
  }

  /** Writes what is not written yet. Idempotent. Throws `IoError`. */
  async stop(): Promise<void> {
    this.#stopped = true;
    if (this.#timer !== null) await this.persist();
  }

  /** Removes filters of groups that are gone for `filterDataCleanTimeSpan`. */
  #clean(): void {
    const before = this.#now() - this.#config.filterDataCleanTimeSpan;
    for (const byGroup of [...this.#byTopic.values()]) {
      for (const data of [...byGroup.values()]) {
        if (isDead(data) && data.deadTime <= before) this.#remove(data);
      }
    }
  }

  #make(
    topic: string,
    consumerGroup: string,
    sub: Pick<SubscriptionData, "subString" | "expressionType" | "subVersion">,
    compiledExpression: CompiledExpression,
  ): MutableFilterData {
    return {
      topic,
      consumerGroup,
      expression: sub.subString,
      expressionType: sub.expressionType,
      compiledExpression,
      clientVersion: sub.subVersion,
      bornTime: this.#now(),
      deadTime: 0,
    };
  }

  #add(data: MutableFilterData): void {
    if (this.#expressionsSize + data.expression.length > EXPRESSIONS_SIZE_MAX) this.#clean();
    if (this.#expressionsSize + data.expression.length > EXPRESSIONS_SIZE_MAX) {
      throw parseFailed(`All filters together have more than ${EXPRESSIONS_SIZE_MAX} characters`);
    }
    this.#expressionsSize += data.expression.length;
    inner(this.#byTopic, data.topic).set(data.consumerGroup, data);
    inner(this.#byGroup, data.consumerGroup).set(data.topic, data);
    this.#changed();
  }

  #remove(data: MutableFilterData): void {
    this.#expressionsSize -= data.expression.length;
    removeInner(this.#byTopic, data.topic, data.consumerGroup);
    removeInner(this.#byGroup, data.consumerGroup, data.topic);
    this.#changed();
  }

  #setDeadTime(data: MutableFilterData, deadTime: number): void {
    data.deadTime = deadTime;
    this.#changed();
  }

  #changed(): void {
    if (this.#stopped) return;
    this.#timer ??= this.options.clock.setTimer(PERSIST_DELAY_MS, () => {
      this.persist().catch((error) => {
        this.options.logger.error("Can't write consumerFilter.json; trying again", { error: errorMessage(error) });
        this.#changed();
      });
    });
  }

  #toJson(): JavaJsonObject {
    const filterDataByTopic = javaJsonObject();
    for (const [topic, byGroup] of this.#byTopic) {
      const groupFilterData = javaJsonObject();
      for (const [group, data] of byGroup) groupFilterData[group] = this.#entryOf(data);
      filterDataByTopic[topic] = javaJsonObject({ groupFilterData, topic });
    }
    return this.merged({ filterDataByTopic });
  }

  #entryOf(data: ConsumerFilterData): JavaJsonObject {
    const { bitNum, bitPos } = this.#bloomFilter.generate(`${data.consumerGroup}#${data.topic}`);
    return javaJsonObject({
      bloomFilterData: javaJsonObject({ bitNum, bitPos: [...bitPos] }),
      bornTime: data.bornTime,
      clientVersion: data.clientVersion,
      consumerGroup: data.consumerGroup,
      dead: isDead(data),
      deadTime: data.deadTime,
      expression: data.expression,
      expressionType: data.expressionType,
      topic: data.topic,
    });
  }

  #now(): number {
    return this.options.clock.now();
  }
}

/** Mirrors `ConsumerFilterData.isDead`. */
function isDead({ deadTime, bornTime }: ConsumerFilterData): boolean {
  return deadTime >= bornTime;
}

function membersOf(value: JavaJson | undefined): JavaJson[] {
  if (value instanceof Map) return [...value.values()];
  return isJavaJsonObject(value) ? Object.values(value) : [];
}

function numberOf(value: JavaJson | undefined): number {
  return Number.isSafeInteger(value) ? value as number : 0;
}

function inner<V>(outer: Map<string, Map<string, V>>, key: string): Map<string, V> {
  let map = outer.get(key);
  if (map === undefined) outer.set(key, map = new Map());
  return map;
}

function removeInner<V>(outer: Map<string, Map<string, V>>, key: string, innerKey: string): void {
  const map = outer.get(key);
  map?.delete(innerKey);
  if (map?.size === 0) outer.delete(key);
}

function parseFailed(remark: string): RemotingError {
  return new RemotingError(ResponseCode.SUBSCRIPTION_PARSE_FAILED, remark);
}
