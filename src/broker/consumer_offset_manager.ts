// config/consumerOffset.json: how far each group is in each queue. In memory at each commit, in the file some seconds
// later, taken over from a master whole. It knows no consumer and no queue's end; the processors that call it do.

import { errorMessage } from "../base/errors.ts";
import { LineLimiter } from "../base/line_limiter.ts";
import type { Config } from "../config/schema.ts";
import {
  isJavaJsonObject,
  type JavaJsonFormat,
  type JavaJsonObject,
  javaJsonObject,
  WIRE_FORMAT,
  writeJavaJson,
} from "../remoting/java_json.ts";
import type { Timer } from "../runtime/runtime.ts";
import { AdoptedOffsets, isNewer } from "./client/adopted_offsets.ts";
import {
  type OffsetTable,
  offsetTableJson,
  offsetTableText,
  type QueueOffsets,
  readOffsetTable,
  sameOffsets,
  splitTopicAtGroup,
  topicAtGroup,
} from "./client/offset_table.ts";
import {
  ConfigManager,
  type ConfigManagerOptions,
  type DataVersion,
  dataVersionJson,
  readDataVersion,
} from "./config_manager.ts";
import { RMQ_SYS_TRANS_HALF_TOPIC, RMQ_SYS_TRANS_OP_HALF_TOPIC } from "./topic_validator.ts";
import { CID_SYS_RMQ_TRANS } from "./transaction/half_message.ts";

export { MessageRequestModeManager } from "./client/message_request_mode_manager.ts";

/** The keys read here, each at its use. */
type OffsetConfig = Pick<
  Config,
  "flushConsumerOffsetInterval" | "consumerOffsetUpdateVersionStep" | "useServerSideResetOffset"
>;

/** What the offsets kept may take as text, characters, roughly: the file is written and sent whole. */
const SIZE_MAX = 32 * 1024 * 1024;
/** What one offset takes of it, and what its key takes beside its own length. */
const OFFSET_SIZE = 16;
/** Topics of groups whose pulls are noted. */
const PULLS_MAX = 200_000;
const NO_OFFSETS: ReadonlyMap<number, number> = new Map();
/** How far checks of transactions are, see TransactionProgress. */
const TRANSACTION_KEYS = [RMQ_SYS_TRANS_HALF_TOPIC, RMQ_SYS_TRANS_OP_HALF_TOPIC].map((topic) =>
  topicAtGroup(topic, CID_SYS_RMQ_TRANS)
);

/** The same, by key; null: none. */
export type TransactionProgressTable = ReadonlyMap<string, QueueOffsets | null>;

/**
 * `topic@group` to (queue id to next offset). Mirrors Apache's `ConsumerOffsetManager`; it differs in what a slave does
 * with its master's table ({@link adopt}), and in not writing the derived `groupTopicMap`.
 */
export class ConsumerOffsetManager extends ConfigManager {
  readonly #config: OffsetConfig;
  #offsets: OffsetTable = new Map();
  /** Topics by group, made of the keys when somebody asks; null after a change of them. */
  #topicsOfGroups: Map<string, string[]> | null = null;
  /** What they take, see {@link SIZE_MAX}. */
  #size = 0;
  #version: DataVersion | null = null;
  /** Set by an administrator, to be told to the consumer at its next pull. Never written. */
  readonly #resets: OffsetTable = new Map();
  /** Up to where each queue was pulled, which is more than what was consumed. Never written. */
  readonly #pulls: OffsetTable = new Map();
  #adopted: AdoptedOffsets;
  /** The version before and after offsets were lowered to their queues' ends; null: they were not. */
  #mended: { readonly before: DataVersion | null; readonly after: DataVersion | null } | null = null;
  #maxOffsetInQueue: (topic: string, queueId: number) => number = () => Number.MAX_SAFE_INTEGER;
  #commitsToNextVersion: number;
  readonly #lines = new LineLimiter();
  /** Whether the file lacks something. */
  #dirty = false;
  #writing: Promise<void> = Promise.resolve();
  #timer: Timer | null = null;
  #stopped = false;

  constructor(options: ConfigManagerOptions & { readonly config?: OffsetConfig }) {
    super("consumerOffset.json", options);
    this.#config = options.config ??
      { flushConsumerOffsetInterval: 5000, consumerOffsetUpdateVersionStep: 500, useServerSideResetOffset: true };
    this.#commitsToNextVersion = this.#config.consumerOffsetUpdateVersionStep;
    this.#adopted = this.#newAdopted();
  }

  /** Gives the ends of this broker's queues, without which a slave can't tell which of its offsets count lost messages. */
  setQueueEnds(maxOffsetInQueue: (topic: string, queueId: number) => number): void {
    this.#maxOffsetInQueue = maxOffsetInQueue;
  }

  /** Made when it is asked for. */
  override get document(): JavaJsonObject {
    return this.#documentWith(offsetTableJson(this.#offsets), this.#version);
  }

  /** Its text, made faster than through it. */
  override encode(format: JavaJsonFormat): string {
    return this.#encode(format, this.#version);
  }

  /** Body of GET_ALL_CONSUMER_OFFSET: a 5.x slave needs the dataVersion also where a 4.9 file has none. */
  encodeForSlaves(): string {
    return this.#encode(WIRE_FORMAT, this.dataVersion);
  }

  #encode(format: JavaJsonFormat, version: DataVersion | null): string {
    const shell = writeJavaJson(this.#documentWith(javaJsonObject(), version), format);
    const table = "{}";
    const at = shell.lastIndexOf(table);
    return shell.slice(0, at) + offsetTableText(this.#offsets, format) + shell.slice(at + table.length);
  }

  /** With the table as its last member. */
  #documentWith(offsetTable: JavaJsonObject, version: DataVersion | null): JavaJsonObject {
    const document = javaJsonObject(super.document);
    if (version !== null) document.dataVersion = dataVersionJson(version);
    document.offsetTable = offsetTable;
    return document;
  }

  override get dataVersion(): DataVersion {
    return this.#version ?? this.bootVersion;
  }

  override load(): "file" | "bak" | "empty" {
    const source = super.load();
    this.replace(super.document);
    this.#dirty = source === "bak";
    return source;
  }

  /** Puts a whole document in place. */
  override replace(document: JavaJsonObject): void {
    const { dataVersion, groupTopicMap: _derived, offsetTable, ...rest } = document;
    super.replace(javaJsonObject(rest));
    this.#setTable(readOffsetTable(offsetTable), readDataVersion(dataVersion));
    this.#adopted = this.#newAdopted();
    this.#dirty = true;
  }

  /**
   * Notes how far the group is; any earlier offset is accepted. The file follows `flushConsumerOffsetInterval` later.
   * False for a new one when those kept take 32 Mi characters already.
   */
  commitOffset(group: string, topic: string, queueId: number, offset: number, clientHost = ""): boolean {
    const key = topicAtGroup(topic, group);
    const offsets = this.#offsets.get(key);
    const before = offsets?.get(queueId);
    if (before === undefined && !this.#hasRoom()) return false;
    if (before !== undefined && offset < before) this.#sayLower(key, { queueId, offset, before, clientHost });
    this.#set(key, offsets, queueId, offset);
    if (before === undefined) this.#size += OFFSET_SIZE + (offsets === undefined ? sizeOf(key) : 0);
    this.#adopted.committed(key, queueId);
    if (--this.#commitsToNextVersion <= 0) this.#nextVersion();
    this.#changed();
    return true;
  }

  /** Where the group goes on: a pending reset, else what it committed, else -1. */
  queryOffset(group: string, topic: string, queueId: number): number {
    const key = topicAtGroup(topic, group);
    if (this.#resets.size > 0 && this.#config.useServerSideResetOffset) {
      const reset = this.#resets.get(key)?.get(queueId);
      if (reset !== undefined) return reset;
    }
    return this.#offsets.get(key)?.get(queueId) ?? -1;
  }

  /** The group's committed offsets in the topic, by queue id. */
  offsetsOf(group: string, topic: string): ReadonlyMap<number, number> {
    return this.#offsets.get(topicAtGroup(topic, group)) ?? NO_OFFSETS;
  }

  /** All of them: `topic@group` to offsets by queue id. Broadcast groups have keys of three parts. */
  get offsetTable(): ReadonlyMap<string, ReadonlyMap<number, number>> {
    return this.#offsets;
  }

  /** Topics the group has offsets in. */
  whichTopicByConsumer(group: string): string[] {
    this.#topicsOfGroups ??= this.#groupTopics();
    return [...this.#topicsOfGroups.get(group) ?? []];
  }

  /** Groups that have offsets in the topic. */
  whichGroupByTopic(topic: string): string[] {
    return this.#pairs().filter((pair) => pair.topic === topic).map((pair) => pair.group);
  }

  /**
   * The least offset of all groups in each queue of the topic, of those not below the queue's begin. Groups in
   * `filterGroups` are left out of it. (Apache deletes their offsets.)
   */
  queryMinOffsetInAllGroup(
    topic: string,
    filterGroups: readonly string[],
    minOffsetInQueue: (topic: string, queueId: number) => number,
  ): Map<number, number> {
    const least = new Map<number, number>();
    for (const group of this.whichGroupByTopic(topic)) {
      if (filterGroups.includes(group)) continue;
      for (const [queueId, offset] of this.offsetsOf(group, topic)) {
        if (offset < minOffsetInQueue(topic, queueId)) continue;
        least.set(queueId, Math.min(least.get(queueId) ?? offset, offset));
      }
    }
    return least;
  }

  /** Gives `destGroup` the offsets of `srcGroup` in the topic, in place of its own. */
  cloneOffset(srcGroup: string, destGroup: string, topic: string): void {
    for (const [queueId, offset] of this.offsetsOf(srcGroup, topic)) {
      this.commitOffset(destGroup, topic, queueId, offset);
    }
  }

  /** Forgets every offset of the group. */
  removeGroup(group: string): void {
    this.#removeWhere((pair) => pair.group === group);
  }

  /** Forgets every offset in the topic. */
  cleanOffsetByTopic(topic: string): void {
    this.#removeWhere((pair) => pair.topic === topic);
  }

  /**
   * Sends the group to `offset`: its consumer is told at the next pull, and until then its commits count for nothing.
   * Nothing happens for a negative queue or offset.
   */
  assignResetOffset(group: string, topic: string, queueId: number, offset: number): void {
    if (topic === "" || group === "" || queueId < 0 || offset < 0) return;
    const key = topicAtGroup(topic, group);
    if (!this.commitOffset(group, topic, queueId, offset)) return;
    put(this.#resets, key, queueId, offset);
    // At once, so that a slave can tell this from an offset of long ago.
    this.#nextVersion();
  }

  /** Whether a reset waits for the consumer. */
  hasOffsetReset(group: string, topic: string, queueId: number): boolean {
    return this.#resets.size > 0 && (this.#resets.get(topicAtGroup(topic, group))?.has(queueId) ?? false);
  }

  /** The reset, which is over with this: the consumer is told. null when there is none. */
  queryThenEraseResetOffset(group: string, topic: string, queueId: number): number | null {
    if (this.#resets.size === 0) return null;
    const key = topicAtGroup(topic, group);
    const resets = this.#resets.get(key);
    const offset = resets?.get(queueId);
    if (resets === undefined || offset === undefined) return null;
    resets.delete(queueId);
    if (resets.size === 0) this.#resets.delete(key);
    return offset;
  }

  /** Notes up to where the group has pulled. For statistics only. */
  commitPullOffset(group: string, topic: string, queueId: number, offset: number): void {
    const key = topicAtGroup(topic, group);
    const offsets = this.#pulls.get(key);
    if (offsets !== undefined) offsets.set(queueId, offset);
    else if (this.#pulls.size < PULLS_MAX) this.#pulls.set(key, new Map([[queueId, offset]]));
  }

  /** That, or what it committed, or -1. */
  queryPullOffset(group: string, topic: string, queueId: number): number {
    return this.#pulls.get(topicAtGroup(topic, group))?.get(queueId) ?? this.queryOffset(group, topic, queueId);
  }

  /**
   * Takes over a master's table (body of GET_ALL_CONSUMER_OFFSET) in one step; entries that the master has forgotten go.
   * What was committed here stays where the master is behind and has not moved since: see adopted_offsets.ts. How far
   * checks of transactions are is left as it is, see {@link adoptTransactionProgress}.
   */
  adopt(body: JavaJsonObject): void {
    const version = readDataVersion(body.dataVersion);
    const theirs = readOffsetTable(body.offsetTable);
    for (const key of TRANSACTION_KEYS) {
      const own = this.#offsets.get(key);
      if (own === undefined) theirs.delete(key);
      else theirs.set(key, own);
    }
    const merged = this.#adopted.merge(this.#offsets, theirs, isNewer(this.#version, version));
    const { keptCount } = this.#adopted;
    const next = keptCount > 0 ? this.#ownVersion(version) : version ?? this.#version;
    const isChange = !sameOffsets(this.#offsets, merged) || !sameVersion(next, this.#version);
    this.#setTable(merged, next);
    // A slave's first commit of its own is to show in its version.
    this.#commitsToNextVersion = 1;
    if (isChange) this.#dirty = true;
    if (keptCount > 0 && this.#lines.admit("kept", this.options.clock.monotonic()) !== null) {
      this.options.logger.warn("The master's consumer offsets are older than those committed here, which stay", {
        queues: keptCount,
      });
    }
  }

  /** Takes over how far a master's checks of transactions are, for when our log holds what that rests on. */
  adoptTransactionProgress(progress: TransactionProgressTable): void {
    let isChange = false;
    for (const [key, queues] of progress) {
      if (sameQueues(this.#offsets.get(key) ?? null, queues)) continue;
      if (queues === null) this.#offsets.delete(key);
      else this.#offsets.set(key, queues);
      isChange = true;
    }
    if (!isChange) return;
    this.#topicsOfGroups = null;
    this.#dirty = true;
  }

  /**
   * The log was cut: offsets committed here may lie beyond it, the master's table is taken whole next time. Transactions
   * whose end was cut are open again: checks would begin at the first.
   */
  forgetOwnCommits(): void {
    this.#adopted.forget();
    // Without a new version: after a restart the master's table is to be the newer one.
    this.adoptTransactionProgress(new Map(TRANSACTION_KEYS.map((key) => [key, null])));
  }

  /**
   * This broker takes puts now, and its log may hold less than a group has consumed: after a loss of power, or at another
   * master. Such offsets become the queue's end, so that the group misses none of the messages that fill those places.
   * (Apache's consumers correct themselves if they ask before that.) Returns how many there were.
   */
  lowerToQueueEnds(): number {
    let lowered = 0;
    for (const [key, queues] of this.#offsets) {
      const pair = splitTopicAtGroup(key);
      if (pair === null) continue;
      for (const [queueId, offset] of queues) {
        const end = this.#maxOffsetInQueue(pair.topic, queueId);
        if (offset <= end) continue;
        this.#set(key, this.#offsets.get(key), queueId, end);
        lowered++;
      }
    }
    if (lowered > 0) {
      const before = this.#version;
      this.#nextVersion();
      this.#mended = { before, after: this.#version };
    }
    return lowered;
  }

  /**
   * A master that comes back takes over what its slave was told meanwhile (body of GET_ALL_CONSUMER_OFFSET): offsets
   * above its own that are not beyond its queues. Only from a slave whose data version is ahead of its own or the same:
   * an Apache slave's moves with the 500th commit, and a master that was killed has lost its last seconds. A reset that
   * waits for its consumer stays. Returns how many it took.
   */
  takeOverFromStandIn(body: JavaJsonObject, maxOffsetInQueue: (topic: string, queueId: number) => number): number {
    const version = readDataVersion(body.dataVersion);
    // Having lowered some of its own does not make this table the newer one.
    const own = this.#mended !== null && sameVersion(this.#mended.after, this.#version)
      ? this.#mended.before
      : this.#version;
    if (version === null || !(isNewer(version, own) || sameVersion(version, own))) return 0;
    let taken = 0;
    for (const [key, queues] of readOffsetTable(body.offsetTable)) {
      const pair = splitTopicAtGroup(key);
      if (pair === null) continue;
      const { topic, group } = pair;
      for (const [queueId, offset] of queues) {
        const own = this.#offsets.get(key)?.get(queueId) ?? -1;
        // How far our own checks of transactions are, nobody else knows better.
        if (group === CID_SYS_RMQ_TRANS) continue;
        if (offset <= own || offset > maxOffsetInQueue(topic, queueId)) continue;
        if (this.hasOffsetReset(group, topic, queueId)) continue;
        if (this.commitOffset(group, topic, queueId, offset)) taken++;
      }
    }
    if (taken > 0) this.#nextVersion();
    return taken;
  }

  /** Writes what the file lacks; nothing when it lacks nothing. */
  override persist(): Promise<void> {
    if (!this.#dirty) return this.#writing;
    this.#dirty = false;
    this.#writing = super.persist().catch((error: unknown) => {
      this.#dirty = true;
      throw error;
    });
    return this.#writing;
  }

  /** Writes for the last time. Later commits stay in memory. */
  async stop(): Promise<void> {
    this.#stopped = true;
    this.#timer?.cancel();
    this.#timer = null;
    await this.persist();
  }

  #newAdopted(): AdoptedOffsets {
    return new AdoptedOffsets((key, queueId) => this.#maxOffsetInQueue(key.slice(0, key.indexOf("@")), queueId));
  }

  #changed(): void {
    this.#dirty = true;
    this.#version ??= this.bootVersion;
    if (this.#timer !== null || this.#stopped) return;
    this.#timer = this.options.clock.setTimer(this.#config.flushConsumerOffsetInterval, () => this.#flush());
  }

  #flush(): void {
    this.#timer = null;
    this.persist().catch((error: unknown) => {
      this.options.logger.error("Can't save the consumer offsets, trying again", {
        path: this.path,
        error: errorMessage(error),
      });
      this.#changed();
    });
  }

  #set(key: string, offsets: QueueOffsets | undefined, queueId: number, offset: number): void {
    if (offsets === undefined) {
      this.#offsets.set(key, new Map([[queueId, offset]]));
      this.#topicsOfGroups = null;
    } else if (!this.#adopted.isShared(key, offsets)) offsets.set(queueId, offset);
    else this.#offsets.set(key, new Map(offsets).set(queueId, offset));
  }

  #setTable(offsets: OffsetTable, version: DataVersion | null): void {
    this.#offsets = offsets;
    this.#topicsOfGroups = null;
    this.#version = version;
    this.#size = 0;
    for (const [key, queues] of offsets) this.#size += sizeOf(key) + queues.size * OFFSET_SIZE;
  }

  #nextVersion(): void {
    this.#commitsToNextVersion = this.#config.consumerOffsetUpdateVersionStep;
    this.#version = this.#after(this.dataVersion);
    this.#changed();
  }

  /** A version that stays ahead of the master's, so that a restart can tell. */
  #ownVersion(theirs: DataVersion | null): DataVersion {
    const own = this.dataVersion;
    if (theirs === null || isNewer(own, theirs)) return own;
    return this.#after(theirs);
  }

  /** Later in time too, whatever the clocks of two brokers say. */
  #after({ stateVersion, counter, timestamp }: DataVersion): DataVersion {
    return { stateVersion, counter: counter + 1, timestamp: Math.max(this.options.clock.now(), timestamp + 1) };
  }

  #pairs(): { topic: string; group: string }[] {
    return Array.from(this.#offsets.keys(), splitTopicAtGroup).filter((pair) => pair !== null);
  }

  /** Whoever lists all groups asks for each: with thousands, going over every key each time took seconds. */
  #groupTopics(): Map<string, string[]> {
    const topics = new Map<string, string[]>();
    for (const { group, topic } of this.#pairs()) {
      const known = topics.get(group);
      if (known === undefined) topics.set(group, [topic]);
      else known.push(topic);
    }
    return topics;
  }

  #removeWhere(isGone: (pair: { topic: string; group: string }) => boolean): void {
    let isChange = false;
    for (const table of [this.#offsets, this.#resets, this.#pulls]) {
      for (const [key, queues] of table) {
        const pair = splitTopicAtGroup(key);
        if (pair === null || !isGone(pair)) continue;
        table.delete(key);
        if (table !== this.#offsets) continue;
        this.#size -= sizeOf(key) + queues.size * OFFSET_SIZE;
        isChange = true;
      }
    }
    if (!isChange) return;
    this.#topicsOfGroups = null;
    this.#nextVersion();
  }

  #hasRoom(): boolean {
    if (this.#size < SIZE_MAX) return true;
    const repeated = this.#lines.admit("full", this.options.clock.monotonic());
    if (repeated !== null) {
      this.options.logger.warn("Can't keep another consumer offset", { topicGroups: this.#offsets.size, repeated });
    }
    return false;
  }

  #sayLower(key: string, fields: { queueId: number; offset: number; before: number; clientHost: string }): void {
    const repeated = this.#lines.admit(key, this.options.clock.monotonic());
    if (repeated === null) return;
    this.options.logger.warn("A consumer committed an offset below the one before", { key, ...fields, repeated });
  }
}

function sizeOf(key: string): number {
  return key.length + OFFSET_SIZE;
}

/** What a master's table (body of GET_ALL_CONSUMER_OFFSET) says of how far checks of transactions are. */
export function transactionProgressOf(body: JavaJsonObject): TransactionProgressTable {
  const { offsetTable } = body;
  const known = isJavaJsonObject(offsetTable) ? offsetTable : javaJsonObject();
  const ofProgress = TRANSACTION_KEYS.flatMap((key) => key in known ? [[key, known[key]!] as const] : []);
  const table = readOffsetTable(javaJsonObject(Object.fromEntries(ofProgress)));
  return new Map(TRANSACTION_KEYS.map((key) => [key, table.get(key) ?? null]));
}

function sameQueues(a: ReadonlyMap<number, number> | null, b: ReadonlyMap<number, number> | null): boolean {
  if (a === null || b === null) return a === b;
  return a.size === b.size && [...a].every(([queueId, offset]) => b.get(queueId) === offset);
}

function put(table: OffsetTable, key: string, queueId: number, offset: number): void {
  const queues = table.get(key);
  if (queues === undefined) table.set(key, new Map([[queueId, offset]]));
  else queues.set(queueId, offset);
}

function sameVersion(a: DataVersion | null, b: DataVersion | null): boolean {
  return a?.counter === b?.counter && a?.timestamp === b?.timestamp && a?.stateVersion === b?.stateVersion;
}
