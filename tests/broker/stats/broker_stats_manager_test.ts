// What is counted and when its windows turn: by events and readings only, the clock's timers stay empty.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BrokerStatsManager } from "../../../src/broker/stats/broker_stats_manager.ts";
import { STATS_TICK_MS, StatsItem } from "../../../src/broker/stats/stats_item.ts";
import { RateMeter } from "../../../src/broker/stats/rate_meter.ts";
import { StoreStatsService } from "../../../src/broker/stats/store_stats_service.ts";
import { ManualClock, recordingLogger } from "../../remoting/support.ts";

function setUp(config: object = {}) {
  const clock = new ManualClock();
  const disabled: string[] = [];
  const { logger, lines } = recordingLogger();
  const stats = new BrokerStatsManager({
    clock,
    logger,
    config: {
      brokerClusterName: "C",
      disableConsumeIfConsumerReadSlowly: false,
      consumerFallbehindThreshold: 1000,
      ...config,
    },
    disableConsume: (group) => disabled.push(group),
  });
  return { clock, stats, disabled, lines };
}

describe("StatsItem", () => {
  it("has nothing before the first sample, then what came since it was made", () => {
    const item = new StatsItem(0);
    item.add(50, 5, 0);
    assert.deepEqual(item.minute(0), { sum: 0, tps: 0, avgpt: 0 });
    assert.deepEqual(item.minute(1), { sum: 50, tps: 5, avgpt: 10 });
    assert.deepEqual(item.hour(1), { sum: 0, tps: 0, avgpt: 0 });
  });

  it("keeps a minute, an hour and a day", () => {
    const item = new StatsItem(0);
    for (let tick = 0; tick < 360 * 30; tick++) item.add(10, 1, tick);
    const last = 360 * 30;
    assert.deepEqual(item.minute(last), { sum: 60, tps: 1, avgpt: 10 });
    assert.deepEqual(item.hour(last), { sum: 3600, tps: 1, avgpt: 10 });
    assert.deepEqual(item.day(last), { sum: 86_400, tps: 1, avgpt: 10 });
    assert.equal(item.value, 10 * last);
  });

  it("catches up after a rest of any length as if it had been sampled all along", () => {
    const item = new StatsItem(3);
    item.add(70, 7, 3);
    // Seven samples hold six periods: the value stands in the first of them.
    assert.equal(item.minute(9).sum, 70);
    assert.equal(item.minute(10).sum, 0);
    assert.equal(item.hour(60).sum, 70);
    assert.equal(item.hour(60 * 7).sum, 0);
    assert.equal(item.day(60 * 7).sum, 70);
    assert.equal(item.day(1e6).sum, 0);
    item.add(5, 1, 1e6);
    assert.deepEqual(item.minute(1e6 + 1), { sum: 5, tps: 5 / 60, avgpt: 5 });
  });

  it("counts the same whether it is touched at each tick or rarely", () => {
    const often = new StatsItem(0);
    const rarely = new StatsItem(0);
    let seed = 7;
    for (let tick = 0; tick < 3000; tick++) {
      seed = (seed * 1103515245 + 12345) % 2147483648;
      if (seed % 37 === 0) {
        often.add(seed % 100, 1, tick);
        rarely.add(seed % 100, 1, tick);
      }
      often.minute(tick);
    }
    assert.deepEqual(rarely.minute(3000), often.minute(3000));
    assert.deepEqual(rarely.hour(3000), often.hour(3000));
    assert.deepEqual(rarely.day(3000), often.day(3000));
  });
});

describe("RateMeter", () => {
  it("tells of the last whole seconds, and of fewer while there are no more", () => {
    const meter = new RateMeter();
    meter.add(30, 0);
    assert.equal(meter.perSecond(10, 0), 0);
    assert.equal(meter.perSecond(10, 1), 30);
    assert.equal(meter.perSecond(600, 3), 10);
    meter.add(7, 3);
    assert.equal(meter.perSecond(10, 3), 10);
    assert.equal(meter.perSecond(10, 11), 0.7);
    assert.equal(meter.perSecond(10, 14), 0);
    assert.equal(meter.perSecond(600, 600), 37 / 600);
    assert.equal(meter.perSecond(600, 601), 7 / 600);
    assert.equal(meter.perSecond(600, 1e9), 0);
    assert.equal(meter.total, 37);
  });
});

describe("StoreStatsService", () => {
  it("tells how long the puts of the last whole minute took", () => {
    const store = new StoreStatsService();
    for (let at = 0; at < 98; at++) store.put(1, 0, 10);
    store.put(1, 9, 20);
    store.put(1, 12_000, 59);
    assert.match(store.putDurations(59).distribution, /^\[<=0ms\]:0 \[0~10ms\]:0 .*\[10s~\]:0 $/);
    const { distribution, p99, p999 } = store.putDurations(60);
    assert.match(distribution, /^\[<=0ms\]:98 \[0~10ms\]:1 \[10~50ms\]:0 .*\[5~10s\]:0 \[10s~\]:1 $/);
    assert.equal(p99, 9);
    assert.equal(p999, 9);
    assert.equal(store.putMessageEntireTimeMax, 12_000);
    assert.match(store.putDurations(180).distribution, /^\[<=0ms\]:0 /);
    assert.equal(store.putDurations(180).p99, 0);
  });
});

describe("BrokerStatsManager", () => {
  it("finds what it counted under Apache's names", () => {
    const { clock, stats } = setUp();
    stats.put("T", 3, 10, 1000, clock.now() - 20);
    stats.pulled("G", "T", 3, 4, 400, 6);
    stats.sentBack("G", "T", false);
    stats.sentBack("G", "T", true);
    clock.advance(STATS_TICK_MS);
    const sums = (name: string, key: string) => stats.view(name, key)?.minute.sum;
    assert.equal(sums("TOPIC_PUT_NUMS", "T"), 10);
    assert.equal(sums("TOPIC_PUT_SIZE", "T"), 1000);
    assert.equal(sums("TOPIC_PUT_LATENCY", "3@T"), 20);
    assert.equal(sums("GROUP_GET_NUMS", "T@G"), 4);
    assert.equal(sums("GROUP_GET_SIZE", "T@G"), 400);
    assert.equal(sums("GROUP_GET_LATENCY", "3@T@G"), 6);
    assert.equal(sums("SNDBCK_PUT_NUMS", "T@G"), 2);
    assert.equal(sums("SNDBCK2DLQ_TIMES", "null@T@G@SEND_BACK_TO_DLQ"), 1);
    assert.equal(sums("BROKER_PUT_NUMS", "C"), 10);
    assert.equal(sums("BROKER_GET_NUMS", "C"), 4);
    assert.equal(stats.tpsTopicPutNums("T"), 1);
    assert.equal(stats.tpsGroupGetNums("G", "T"), 0.4);
    for (
      const [name, key] of [["TOPIC_PUT_NUMS", "U"], ["GROUP_GET_NUMS", "T@H"], ["X", "T"], ["BROKER_PUT_NUMS", "D"]]
    ) {
      assert.equal(stats.view(name!, key!), null);
    }
    assert.equal(stats.view("TOPIC_PUT_LATENCY", "4@T"), null);
    assert.equal(stats.view("GROUP_GET_LATENCY", "T"), null);
  });

  it("tells rates and totals of the broker", () => {
    const { clock, stats } = setUp();
    for (let second = 0; second < 600; second++) {
      stats.put("T", 0, 2, 10, clock.now());
      stats.put("SCHEDULE_TOPIC_XXXX", 0, 1, 10, clock.now());
      if (second % 2 === 0) stats.pulled("G", "T", 0, 4, 10, 1);
      else stats.missed();
      clock.advance(1000);
    }
    const info = stats.runtimeInfo();
    assert.equal(info.putTps, "3.0 3.0 3.0 ");
    assert.equal(info.getFoundTps, "0.5 0.5 0.5 ");
    assert.equal(info.getMissTps, "0.5 0.5 0.5 ");
    assert.equal(info.getTotalTps, "1.0 1.0 1.0 ");
    assert.equal(info.getTransferredTps, "2.0 2.0 2.0 ");
    assert.equal(info.msgPutTotalTodayNow, "1200");
    assert.equal(info.msgGetTotalTodayNow, "1200");
    assert.equal(clock.timerCount, 0);
  });

  it("turns the day at midnight, whenever it is asked next", () => {
    const { clock, stats } = setUp();
    const untilMidnight = new Date(clock.now()).setHours(24, 0, 0, 0) - clock.now();
    stats.put("T", 0, 5, 1, clock.now());
    clock.advance(untilMidnight - 1);
    assert.deepEqual(stats.daily().puts, { yesterdayMorning: 0, todayMorning: 0, todayNow: 5 });
    clock.advance(1);
    stats.put("T", 0, 2, 1, clock.now());
    assert.deepEqual(stats.daily().puts, { yesterdayMorning: 0, todayMorning: 5, todayNow: 7 });
    clock.advance(new Date(clock.now()).setHours(24, 0, 0, 0) - clock.now());
    assert.deepEqual(stats.daily().puts, { yesterdayMorning: 5, todayMorning: 7, todayNow: 7 });
    stats.put("T", 0, 1, 1, clock.now());
    clock.advance(3 * 86_400_000);
    assert.deepEqual(stats.daily().puts, { yesterdayMorning: 8, todayMorning: 8, todayNow: 8 });
  });

  it("forgets topics and groups that are gone", () => {
    const { stats, clock } = setUp();
    stats.pulled("G", "T", 0, 1, 1, 1);
    stats.pulled("H", "T", 0, 1, 1, 1);
    stats.onGroupDeleted("G");
    clock.advance(STATS_TICK_MS);
    assert.equal(stats.view("GROUP_GET_NUMS", "T@G"), null);
    assert.equal(stats.view("GROUP_GET_NUMS", "T@H")?.minute.sum, 1);
    stats.onTopicDeleted("T");
    assert.equal(stats.view("GROUP_GET_NUMS", "T@H"), null);
  });

  it("counts no more than 50,000 figures, and says so", () => {
    const { stats, lines, clock } = setUp();
    for (let at = 0; at < 20_000; at++) stats.put(`T${at}`, 0, 1, 1, clock.now());
    assert.notEqual(stats.view("TOPIC_PUT_NUMS", "T16665"), null);
    assert.equal(stats.view("TOPIC_PUT_NUMS", "T16667"), null);
    assert.equal(lines.length, 1);
    for (let at = 0; at < 10; at++) stats.onTopicDeleted(`T${at}`);
    stats.put("New", 0, 1, 1, clock.now());
    assert.notEqual(stats.view("TOPIC_PUT_NUMS", "New"), null);
    assert.equal(stats.daily().puts.todayNow, 20_001);
  });

  it("takes the right to consume from a group that stays too far behind, where told to", () => {
    const { stats, clock, disabled } = setUp({ disableConsumeIfConsumerReadSlowly: true });
    stats.fellBehind("G", "T", 0, 1001);
    stats.fellBehind("H", "T", 0, 1001);
    clock.advance(100_000);
    stats.fellBehind("H", "T", 0, 1000);
    clock.advance(80_000);
    stats.fellBehind("H", "T", 0, 1001);
    stats.fellBehind("G", "T", 0, 1001);
    assert.deepEqual(disabled, ["G"]);
    const off = setUp();
    off.stats.fellBehind("G", "T", 0, 5000);
    off.clock.advance(200_000);
    off.stats.fellBehind("G", "T", 0, 5000);
    assert.deepEqual(off.disabled, []);
  });
});
