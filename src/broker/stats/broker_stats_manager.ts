// What the broker counts of its clients' traffic: by topic, by topic and group, and as a whole, for VIEW_BROKER_STATS_DATA,
// mqadmin and exporters. Processors tell it of each message stored or given out, at the cost of a look-up or two; windows
// and days turn when something is counted or read, no timer does it.

import { LineLimiter } from "../../base/line_limiter.ts";
import type { Logger } from "../../base/logger.ts";
import type { Config } from "../../config/schema.ts";
import type { Clock } from "../../runtime/runtime.ts";
import { isSystemTopic } from "../topic_validator.ts";
import { FallBehindWatch } from "./fall_behind_watch.ts";
import { STATS_TICK_MS, StatsItem, type StatsSnapshot } from "./stats_item.ts";
import { StoreStatsService } from "./store_stats_service.ts";

/** Told of each send that was stored. */
export interface SendStats {
  /** `storeTimestamp`: when the put began, Unix ms; with now it makes the put's duration. */
  put(topic: string, queueId: number, messageCount: number, bytes: number, storeTimestamp: number): void;
}

/** Told of each pull that was answered. */
export interface PullStats {
  /** Messages went out; `tookMs` since the request was taken up. */
  pulled(group: string, topic: string, queueId: number, messageCount: number, bytes: number, tookMs: number): void;
  /** The queue had nothing for the pull. */
  missed(): void;
  /** Bytes of the log between the last message given out and its end. */
  fellBehind(group: string, topic: string, queueId: number, bytes: number): void;
}

/** Told of each message that a consumer sent back; `topic` is where it came from first. */
export interface SendBackStats {
  sentBack(group: string, topic: string, isDLQ: boolean): void;
}

/** What a {@link BrokerStatsManager} needs. */
export interface BrokerStatsManagerOptions {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly config: Pick<
    Config,
    "brokerClusterName" | "disableConsumeIfConsumerReadSlowly" | "consumerFallbehindThreshold"
  >;
  /** Takes a group's right to consume: it has been too far behind for minutes. */
  readonly disableConsume: (group: string) => void;
}

/** Messages of clients since midnight and the midnight before; system topics are left out. */
export interface DailyTotals {
  readonly yesterdayMorning: number;
  readonly todayMorning: number;
  readonly todayNow: number;
}

/** What was counted of a topic. Totals are since the start, rates of the last minute. */
export interface TopicFigures {
  readonly topic: string;
  readonly putNums: number;
  readonly putSize: number;
  readonly putTps: number;
  /** Bytes per second. */
  readonly putSizeTps: number;
  readonly groups: readonly GroupFigures[];
}

/** What was counted of a group in a topic. */
export interface GroupFigures {
  readonly group: string;
  readonly getNums: number;
  readonly getSize: number;
  readonly getTps: number;
  /** Bytes per second. */
  readonly getSizeTps: number;
  /** Messages sent back in the last minute. */
  readonly sendBackNums: number;
  /** Messages that became dead letters. */
  readonly toDLQ: number;
}

/** Figures kept at most; each takes up to 1 KB. */
const ITEMS_MAX = 50_000;

interface TopicStats {
  putNums: StatsItem | null;
  putSize: StatsItem | null;
  /** By queue. */
  readonly putLatency: Map<number, StatsItem>;
  readonly groups: Map<string, GroupStats>;
}

interface GroupStats {
  getNums: StatsItem | null;
  getSize: StatsItem | null;
  sendBack: StatsItem | null;
  sendBackToDLQ: StatsItem | null;
  /** By queue. */
  readonly getLatency: Map<number, StatsItem>;
}

/** Mirrors Apache's `BrokerStatsManager`, `StoreStatsService` and `BrokerStats`. */
export class BrokerStatsManager implements SendStats, PullStats, SendBackStats {
  readonly #options: BrokerStatsManagerOptions;
  readonly #store = new StoreStatsService();
  readonly #topics = new Map<string, TopicStats>();
  readonly #brokerPuts = new StatsItem(0);
  readonly #brokerGets = new StatsItem(0);
  readonly #ownPuts = new StatsItem(0);
  readonly #ownGets = new StatsItem(0);
  readonly #bootMs: number;
  readonly #fallBehind: FallBehindWatch;
  readonly #lines = new LineLimiter();
  #itemCount = 0;
  /** Unix ms at which the day ends. */
  #midnight: number;
  #mornings = { puts: { yesterday: 0, today: 0 }, gets: { yesterday: 0, today: 0 } };

  constructor(options: BrokerStatsManagerOptions) {
    this.#options = options;
    const { clock, config } = options;
    this.#bootMs = clock.monotonic();
    this.#midnight = nextMidnight(clock.now());
    this.#fallBehind = new FallBehindWatch({ clock, config, disableConsume: options.disableConsume });
  }

  put(topic: string, queueId: number, messageCount: number, bytes: number, storeTimestamp: number): void {
    const now = this.#now();
    const elapsedMs = this.#elapsedMs();
    const tick = Math.floor(elapsedMs / STATS_TICK_MS);
    const tookMs = Math.max(0, now - storeTimestamp);
    this.#store.put(messageCount, tookMs, Math.floor(elapsedMs / 1000));
    // Apache counts no events of the whole broker: their average is 0.
    this.#brokerPuts.add(messageCount, 0, tick);
    if (!isSystemTopic(topic)) this.#ownPuts.add(messageCount, 0, tick);
    const stats = this.#topic(topic);
    if (stats === null) return;
    (stats.putNums ??= this.#item(tick))?.add(messageCount, 1, tick);
    (stats.putSize ??= this.#item(tick))?.add(bytes, 1, tick);
    this.#ofQueue(stats.putLatency, queueId, tick)?.add(tookMs, 1, tick);
  }

  pulled(group: string, topic: string, queueId: number, messageCount: number, bytes: number, tookMs: number): void {
    this.#now();
    const elapsedMs = this.#elapsedMs();
    const tick = Math.floor(elapsedMs / STATS_TICK_MS);
    this.#store.got(messageCount, tookMs, Math.floor(elapsedMs / 1000));
    this.#brokerGets.add(messageCount, 0, tick);
    if (!isSystemTopic(topic)) this.#ownGets.add(messageCount, 0, tick);
    const stats = this.#group(topic, group);
    if (stats === null) return;
    (stats.getNums ??= this.#item(tick))?.add(messageCount, 1, tick);
    (stats.getSize ??= this.#item(tick))?.add(bytes, 1, tick);
    this.#ofQueue(stats.getLatency, queueId, tick)?.add(tookMs, 1, tick);
  }

  missed(): void {
    this.#store.got(0, 0, this.#second());
  }

  fellBehind(group: string, topic: string, queueId: number, bytes: number): void {
    this.#fallBehind.note(group, topic, queueId, bytes);
  }

  sentBack(group: string, topic: string, isDLQ: boolean): void {
    const tick = this.#tick();
    const stats = this.#group(topic, group);
    if (stats === null) return;
    (stats.sendBack ??= this.#item(tick))?.add(1, 1, tick);
    if (isDLQ) (stats.sendBackToDLQ ??= this.#item(tick))?.add(1, 1, tick);
  }

  /** Messages put to the topic per second in the last minute. */
  tpsTopicPutNums(topic: string): number {
    return this.#topics.get(topic)?.putNums?.minute(this.#tick()).tps ?? 0;
  }

  /** Messages of the topic given to the group per second in the last minute. */
  tpsGroupGetNums(group: string, topic: string): number {
    return this.#topics.get(topic)?.groups.get(group)?.getNums?.minute(this.#tick()).tps ?? 0;
  }

  /** A figure by Apache's names of it and of its key; null when nothing was counted under them. */
  view(statsName: string, statsKey: string): { minute: StatsSnapshot; hour: StatsSnapshot; day: StatsSnapshot } | null {
    const item = this.#find(statsName, statsKey);
    if (item === null) return null;
    const tick = this.#tick();
    return { minute: item.minute(tick), hour: item.hour(tick), day: item.day(tick) };
  }

  /** Messages put, and given out. */
  daily(): { readonly puts: DailyTotals; readonly gets: DailyTotals } {
    this.#now();
    const totals = (item: StatsItem, { yesterday, today }: { yesterday: number; today: number }): DailyTotals => ({
      yesterdayMorning: yesterday,
      todayMorning: today,
      todayNow: item.value,
    });
    return { puts: totals(this.#ownPuts, this.#mornings.puts), gets: totals(this.#ownGets, this.#mornings.gets) };
  }

  /** All topics, as of now. */
  topicFigures(): TopicFigures[] {
    const tick = this.#tick();
    return Array.from(this.#topics, ([topic, { putNums, putSize, groups }]) => ({
      topic,
      putNums: putNums?.value ?? 0,
      putSize: putSize?.value ?? 0,
      putTps: putNums?.minute(tick).tps ?? 0,
      putSizeTps: putSize?.minute(tick).tps ?? 0,
      groups: Array.from(groups, ([group, { getNums, getSize, sendBack, sendBackToDLQ }]) => ({
        group,
        getNums: getNums?.value ?? 0,
        getSize: getSize?.value ?? 0,
        getTps: getNums?.minute(tick).tps ?? 0,
        getSizeTps: getSize?.minute(tick).tps ?? 0,
        sendBackNums: sendBack?.minute(tick).sum ?? 0,
        toDLQ: sendBackToDLQ?.value ?? 0,
      })),
    }));
  }

  /** Messages put and given out per second in the last minute, by the whole broker. */
  brokerTps(): { readonly put: number; readonly get: number } {
    const tick = this.#tick();
    return { put: this.#brokerPuts.minute(tick).tps, get: this.#brokerGets.minute(tick).tps };
  }

  /** Members of GET_BROKER_RUNTIME_INFO that are counted here, by Apache's names. */
  runtimeInfo(): Record<string, string> {
    const second = this.#second();
    const rates = this.#store.rates(second);
    const { distribution, p99, p999 } = this.#store.putDurations(second);
    const { puts, gets } = this.daily();
    const threeOf = (three: readonly number[]) => three.map((rate) => `${decimal(rate)} `).join("");
    return {
      putTps: threeOf(rates.put),
      getFoundTps: threeOf(rates.getFound),
      getMissTps: threeOf(rates.getMiss),
      getTotalTps: threeOf(rates.getTotal),
      getTransferredTps: threeOf(rates.getTransferred),
      // Its name in 4.9, whose mqadmin fails without it.
      getTransferedTps: threeOf(rates.getTransferred),
      putMessageEntireTimeMax: String(this.#store.putMessageEntireTimeMax),
      getMessageEntireTimeMax: String(this.#store.getMessageEntireTimeMax),
      putMessageDistributeTime: distribution,
      putLatency99: p99.toFixed(2),
      putLatency999: p999.toFixed(2),
      msgPutTotalYesterdayMorning: String(puts.yesterdayMorning),
      msgPutTotalTodayMorning: String(puts.todayMorning),
      msgPutTotalTodayNow: String(puts.todayNow),
      msgGetTotalYesterdayMorning: String(gets.yesterdayMorning),
      msgGetTotalTodayMorning: String(gets.todayMorning),
      msgGetTotalTodayNow: String(gets.todayNow),
    };
  }

  /** Forgets what was counted of a topic that is gone. */
  onTopicDeleted(topic: string): void {
    const stats = this.#topics.get(topic);
    if (stats === undefined) return;
    this.#topics.delete(topic);
    this.#itemCount -= countOfTopic(stats);
    this.#fallBehind.forget((key) => key.topic === topic);
  }

  /** Forgets what was counted of a group that is gone. */
  onGroupDeleted(group: string): void {
    for (const { groups } of this.#topics.values()) {
      const stats = groups.get(group);
      if (stats === undefined) continue;
      groups.delete(group);
      this.#itemCount -= countOfGroup(stats);
    }
    this.#fallBehind.forget((key) => key.group === group);
  }

  #find(statsName: string, statsKey: string): StatsItem | null {
    const isCluster = statsKey === this.#options.config.brokerClusterName;
    switch (statsName) {
      case "BROKER_PUT_NUMS":
        return isCluster && this.#brokerPuts.value > 0 ? this.#brokerPuts : null;
      case "BROKER_GET_NUMS":
        return isCluster && this.#brokerGets.value > 0 ? this.#brokerGets : null;
      case "BROKER_PUT_NUMS_WITHOUT_SYSTEM_TOPIC":
        return isCluster && this.#ownPuts.value > 0 ? this.#ownPuts : null;
      case "BROKER_GET_NUMS_WITHOUT_SYSTEM_TOPIC":
        return isCluster && this.#ownGets.value > 0 ? this.#ownGets : null;
      case "TOPIC_PUT_NUMS":
        return this.#topics.get(statsKey)?.putNums ?? null;
      case "TOPIC_PUT_SIZE":
        return this.#topics.get(statsKey)?.putSize ?? null;
      default:
        return this.#findByParts(statsName, statsKey.split("@"));
    }
  }

  #findByParts(statsName: string, parts: readonly string[]): StatsItem | null {
    const [first = "", second = "", ...rest] = parts;
    const groupOf = (topic: string, group: string) => this.#topics.get(topic)?.groups.get(group);
    switch (statsName) {
      case "TOPIC_PUT_LATENCY":
        return this.#topics.get(second)?.putLatency.get(queueIdOf(first)) ?? null;
      case "GROUP_GET_LATENCY":
        return groupOf(second, rest.join("@"))?.getLatency.get(queueIdOf(first)) ?? null;
      case "GROUP_GET_NUMS":
        return groupOf(first, [second, ...rest].join("@"))?.getNums ?? null;
      case "GROUP_GET_SIZE":
        return groupOf(first, [second, ...rest].join("@"))?.getSize ?? null;
      case "SNDBCK_PUT_NUMS":
        return groupOf(first, [second, ...rest].join("@"))?.sendBack ?? null;
      case "SNDBCK2DLQ_TIMES":
        // owner@topic@group@type; there are no owners here.
        return groupOf(second, rest[0] ?? "")?.sendBackToDLQ ?? null;
      default:
        return null;
    }
  }

  #topic(topic: string): TopicStats | null {
    const known = this.#topics.get(topic);
    if (known !== undefined) return known;
    if (this.#topics.size >= ITEMS_MAX) return this.#full();
    const stats: TopicStats = { putNums: null, putSize: null, putLatency: new Map(), groups: new Map() };
    this.#topics.set(topic, stats);
    return stats;
  }

  #group(topic: string, group: string): GroupStats | null {
    const ofTopic = this.#topic(topic);
    if (ofTopic === null) return null;
    const known = ofTopic.groups.get(group);
    if (known !== undefined) return known;
    if (this.#itemCount >= ITEMS_MAX) return this.#full();
    const stats: GroupStats = {
      getNums: null,
      getSize: null,
      sendBack: null,
      sendBackToDLQ: null,
      getLatency: new Map(),
    };
    ofTopic.groups.set(group, stats);
    return stats;
  }

  #ofQueue(items: Map<number, StatsItem>, queueId: number, tick: number): StatsItem | null {
    let item = items.get(queueId) ?? null;
    if (item !== null) return item;
    item = this.#item(tick);
    if (item !== null) items.set(queueId, item);
    return item;
  }

  #item(tick: number): StatsItem | null {
    if (this.#itemCount >= ITEMS_MAX) return this.#full();
    this.#itemCount++;
    return new StatsItem(tick);
  }

  #full(): null {
    const repeated = this.#lines.admit("full", this.#options.clock.monotonic());
    if (repeated !== null) {
      this.#options.logger.warn("Too many topics and groups to count all of them", { items: ITEMS_MAX, repeated });
    }
    return null;
  }

  /** Unix ms; turns the day. Nothing was counted since the midnight, so that the totals of now are those of then. */
  #now(): number {
    const now = this.#options.clock.now();
    if (now < this.#midnight) return now;
    const isNextDay = now < nextMidnight(this.#midnight);
    const turn = (item: StatsItem, mornings: { yesterday: number; today: number }) => {
      mornings.yesterday = isNextDay ? mornings.today : item.value;
      mornings.today = item.value;
    };
    turn(this.#ownPuts, this.#mornings.puts);
    turn(this.#ownGets, this.#mornings.gets);
    this.#midnight = nextMidnight(now);
    return now;
  }

  #elapsedMs(): number {
    return this.#options.clock.monotonic() - this.#bootMs;
  }

  #second(): number {
    return Math.floor(this.#elapsedMs() / 1000);
  }

  #tick(): number {
    return Math.floor(this.#elapsedMs() / STATS_TICK_MS);
  }
}

function countOfTopic({ putNums, putSize, putLatency, groups }: TopicStats): number {
  let count = countOf(putNums, putSize) + putLatency.size;
  for (const group of groups.values()) count += countOfGroup(group);
  return count;
}

function countOfGroup({ getNums, getSize, sendBack, sendBackToDLQ, getLatency }: GroupStats): number {
  return countOf(getNums, getSize, sendBack, sendBackToDLQ) + getLatency.size;
}

function countOf(...items: (StatsItem | null)[]): number {
  return items.filter((item) => item !== null).length;
}

function queueIdOf(text: string): number {
  return /^\d{1,10}$/.test(text) ? Number(text) : -1;
}

/** The next midnight of the machine's time zone, Unix ms. */
function nextMidnight(now: number): number {
  const date = new Date(now);
  return date.setHours(24, 0, 0, 0);
}

/** A double as Java prints it: never without a fraction. */
function decimal(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}
