// The administrators' processors over the real managers, a store of a few numbers and connections that note what they get.

import { RemotingError } from "../../../../src/base/errors.ts";
import { utf8 } from "../../../../src/base/bytes.ts";
import { ConsumerOffsetManager } from "../../../../src/broker/consumer_offset_manager.ts";
import { type AdminPorts, adminProcessors } from "../../../../src/broker/processors/admin/admin_processors.ts";
import { BrokerStatsManager } from "../../../../src/broker/stats/broker_stats_manager.ts";
import { SubscriptionGroupManager } from "../../../../src/broker/subscription_group_manager.ts";
import { systemTopics } from "../../../../src/broker/system_topics.ts";
import { TimerMetrics } from "../../../../src/broker/timer/timer_metrics.ts";
import { TopicConfigManager } from "../../../../src/broker/topic_config_manager.ts";
import { applyConfigPatch, createConfig } from "../../../../src/config/load.ts";
import type { Config } from "../../../../src/config/schema.ts";
import { type JavaJson, parseJavaJson } from "../../../../src/remoting/java_json.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../../../src/remoting/remoting_command.ts";
import type { RequestContext } from "../../../../src/remoting/remoting_server.ts";
import { MemoryFileSystem } from "../../../fuzz/memory_fs.ts";
import { ManualClock } from "../../../remoting/support.ts";
import { managers as clients } from "../../client/support.ts";

/** A queue as the fake store has it: store times of its messages, from `minOffset`. */
export interface FakeQueue {
  minOffset: number;
  times: number[];
}

/** What a store says of its queues. */
export class FakeStore {
  readonly table = new Map<string, FakeQueue>();
  readonly calls: string[] = [];
  readonly records = new Map<number, Uint8Array>();

  put(topic: string, queueId: number, times: number[], minOffset = 0): void {
    this.table.set(`${topic} ${queueId}`, { minOffset, times });
  }

  #queue(topic: string, queueId: number): FakeQueue {
    return this.table.get(`${topic} ${queueId}`) ?? { minOffset: 0, times: [] };
  }

  getMinOffsetInQueue(topic: string, queueId: number): number {
    return this.#queue(topic, queueId).minOffset;
  }

  getMaxOffsetInQueue(topic: string, queueId: number): number {
    const { minOffset, times } = this.#queue(topic, queueId);
    return minOffset + times.length;
  }

  getMessageStoreTimeStamp(topic: string, queueId: number, queueOffset: number): number {
    const { minOffset, times } = this.#queue(topic, queueId);
    return times[queueOffset - minOffset] ?? -1;
  }

  getEarliestMessageTime(topic: string, queueId: number): number {
    return this.#queue(topic, queueId).times[0] ?? -1;
  }

  getOffsetByTime(topic: string, queueId: number, timestamp: number): number {
    const { minOffset, times } = this.#queue(topic, queueId);
    return minOffset + times.filter((time) => time < timestamp).length;
  }

  queues() {
    return Array.from(this.table, ([key, { minOffset, times }]) => {
      const [topic = "", queueId] = key.split(" ");
      return { topic, queueId: Number(queueId), minOffset, maxOffset: minOffset + times.length };
    });
  }

  readConsumeQueue(topic: string, queueId: number, fromIndex: number, maxCount: number) {
    const { minOffset, times } = this.#queue(topic, queueId);
    const count = Math.min(maxCount, 3, minOffset + times.length - fromIndex);
    return Array.from({ length: Math.max(0, count) }, (_, at) => ({
      pos: 1000 * (fromIndex + at),
      size: 100,
      tagsCode: -5,
    }));
  }

  deleteTopics(topics: string[]): void {
    this.calls.push(`deleteTopics ${topics.join(" ")}`);
    for (const key of this.table.keys()) if (topics.includes(key.split(" ")[0]!)) this.table.delete(key);
  }

  cleanExpired(): Promise<void> {
    this.calls.push("cleanExpired");
    return Promise.resolve();
  }

  deleteExpiredFilesManually(): Promise<void> {
    this.calls.push("deleteExpiredFilesManually");
    return Promise.reject(new Error("The disk is away"));
  }

  lookRecordByOffset(offset: number): Promise<Uint8Array | null> {
    return Promise.resolve(this.records.get(offset) ?? null);
  }
}

/** An answer, or what was thrown for one. */
export interface Answer {
  readonly code: number;
  readonly remark: string | null;
  readonly ext: Record<string, string>;
  /** The body's JSON; null without a body. */
  readonly json: JavaJson;
  readonly text: string;
}

/** Everything, ready to be asked. */
export function setUp(values: Partial<Config> = {}) {
  const clock = new ManualClock();
  const all = clients(clock);
  const { logger, consumers, producers, broker2Client } = all;
  const { config } = createConfig({ brokerName: "b", brokerClusterName: "C", ...values }, {
    hostname: "host",
    localAddress: "10.0.0.9",
    env: () => undefined,
  });
  const directory = "/s/config";
  const options = { fs: new MemoryFileSystem("/s"), clock, logger, directory, config };
  const topics = new TopicConfigManager(options);
  topics.setSystemTopics(systemTopics(config));
  const groups = new SubscriptionGroupManager(options);
  const offsets = new ConsumerOffsetManager(options);
  for (const manager of [topics, groups, offsets]) manager.load();
  const store = new FakeStore();
  const stats = new BrokerStatsManager({ clock, logger, config, disableConsume: () => {} });
  const timerMetrics = new TimerMetrics(options);
  const state = { isSlave: false, permissionChanges: 0, registrations: 0 };
  const ports: AdminPorts = {
    clock,
    logger,
    config,
    topics,
    groups,
    offsets,
    consumers,
    producers,
    broker2Client,
    store,
    stats,
    timerMetrics,
    filters: { get: () => null },
    systemTopicNames: new Set(systemTopics(config).map((topic) => topic.topicName)),
    isSlave: () => state.isSlave,
    brokerAddr: () => "10.0.0.9:10911",
    updateConfig: (patch) => applyConfigPatch(config, patch),
    onPermissionChanged: () => void state.permissionChanges++,
    effective: () => ({ listenPort: 12345 }),
    registered: () => {
      state.registrations++;
      return Promise.resolve();
    },
  };
  const table = adminProcessors(ports);
  const context = { remoteAddress: "10.0.0.1:5" } as RequestContext;
  const ask = async (code: number, ext: ExtValues = {}, body: string | object = ""): Promise<Answer> => {
    const text = typeof body === "string" ? body : JSON.stringify(body);
    try {
      return read(await table.get(code)!(createRequest(code, ext, utf8.encode(text)), context));
    } catch (error) {
      if (!(error instanceof RemotingError)) throw error;
      return { code: error.code, remark: error.message, ext: {}, json: null, text: "" };
    }
  };
  return { ...all, clock, config, topics, groups, offsets, store, stats, timerMetrics, state, table, ask, options };
}

function read(answer: RemotingCommand | null): Answer {
  const text = utf8.decode(answer!.body);
  const isJson = text.startsWith("{");
  const { code, remark, extFields } = answer!;
  return { code, remark, ext: Object.fromEntries(extFields), json: isJson ? parseJavaJson(text) : null, text };
}

/** A value as plain JSON, maps as lists of their entries. */
// deno-lint-ignore no-explicit-any
export function plain(value: JavaJson): any {
  return JSON.parse(JSON.stringify(value, (_, one) => one instanceof Map ? [...one] : one));
}
