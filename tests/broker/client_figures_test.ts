// Figures of clients, topics and groups under the exporter's and OpenTelemetry's names.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { MetricFigure } from "../../src/admin/admin_port.ts";
import { clientFigures } from "../../src/broker/client_figures.ts";
import { runtimeInfoTable } from "../../src/broker/processors/runtime_info_processor.ts";
import { runtimeFigures } from "../../src/broker/runtime_figures.ts";
import { connect, info, PUSH, subscription } from "./client/support.ts";
import { setUp } from "./processors/admin/support.ts";

function find(figures: readonly MetricFigure[], name: string, labels: Record<string, string> = {}): number | undefined {
  return figures.find((one) =>
    one.name === name && Object.entries(labels).every(([key, value]) => one.labels[key] === value)
  )?.value;
}

describe("clientFigures", () => {
  it("tells rates, lags and connections", () => {
    const all = setUp();
    const { config, clock, stats, topics, groups, offsets, consumers, producers, store } = all;
    topics.createTopicInSendMessageMethod("T", "TBW102", 2, 0);
    groups.findSubscriptionGroupConfig("G");
    const now = clock.now();
    for (let at = 0; at < 20; at++) stats.put("T", 0, 1, 100, now);
    stats.pulled("G", "T", 0, 10, 1000, 1);
    stats.sentBack("G", "T", true);
    store.put("T", 0, [now - 500, now - 400, now - 300, now - 200]);
    store.put("%DLQ%G", 0, [now]);
    store.put("%RETRY%G", 0, [now, now]);
    offsets.commitOffset("G", "T", 0, 1);
    offsets.commitPullOffset("G", "T", 0, 3);
    producers.registerProducer("P", info(connect(all, "10.0.0.2:1"), "c1"));
    consumers.registerConsumer("G", info(connect(all, "10.0.0.2:2"), "c2", 401), PUSH, [subscription("T")]);
    clock.advance(10_000);
    const parts = { config, clock, stats, topics, groups, offsets, consumers, producers, store };
    const figures = clientFigures({ ...parts, brokerAddr: () => "10.0.0.9:10911" });
    const value = (name: string, labels?: Record<string, string>) => find(figures, name, labels);
    assert.equal(value("rocketmq_broker_tps", { cluster: "C", broker: "b", brokerIP: "10.0.0.9:10911" }), 2);
    assert.equal(value("rocketmq_broker_qps"), 1);
    assert.equal(value("rocketmq_messages_in_total", { topic: "T", is_system: "false" }), 20);
    assert.equal(value("rocketmq_throughput_in_total", { topic: "T" }), 2000);
    assert.equal(value("rocketmq_messages_out_total", { topic: "T", consumer_group: "G" }), 10);
    assert.equal(value("rocketmq_producer_tps", { topic: "T" }), 2);
    assert.equal(value("rocketmq_consumer_tps", { topic: "T", group: "G" }), 1);
    assert.equal(value("rocketmq_send_back_nums", { group: "G" }), 1);
    assert.equal(value("rocketmq_send_to_dlq_messages_total", { consumer_group: "G" }), 1);
    assert.equal(value("rocketmq_producer_offset", { topic: "T" }), 4);
    assert.equal(value("rocketmq_topic_dlq_offset", { group: "G" }), 1);
    assert.equal(value("rocketmq_topic_retry_offset", { topic: "%RETRY%G" }), 2);
    assert.equal(value("rocketmq_consumer_lag_messages", { topic: "T", consumer_group: "G" }), 3);
    assert.equal(value("rocketmq_consumer_inflight_messages", { consumer_group: "G" }), 2);
    assert.equal(value("rocketmq_consumer_ready_messages", { consumer_group: "G" }), 1);
    assert.equal(value("rocketmq_consumer_lag_latency", { consumer_group: "G" }), 10_400);
    assert.equal(value("rocketmq_group_diff", { topic: "T", group: "G", countOfOnlineConsumers: "1" }), 3);
    assert.equal(value("rocketmq_producer_count", { group: "P" }), 1);
    assert.equal(value("rocketmq_producer_connections", { language: "java", version: "479" }), 1);
    assert.equal(value("rocketmq_consumer_connections", { consumer_group: "G", consume_mode: "push" }), 1);
    assert.equal(value("rocketmq_group_count", { group: "G", localaddr: "c2" }), 1);
    // prom-client takes each set of labels once.
    const keys = figures.map((one) => `${one.name} ${JSON.stringify(one.labels)}`);
    assert.equal(new Set(keys).size, keys.length);
  });
});

describe("runtimeFigures", () => {
  it("reads every number of the exporter out of the table", () => {
    const { stats } = setUp();
    const table = runtimeInfoTable({
      brokerActive: true,
      bootTimestamp: 1000,
      now: 2000,
      commitLogMinOffset: 5,
      commitLogMaxOffset: 9,
      dispatchBehindBytes: 0,
      remainHowManyDataToFlush: 4,
      earliestMessageTimeStamp: 7,
      commitLogPath: "/s",
      commitLogDisk: null,
      consumeQueueDisk: null,
      extra: stats.runtimeInfo(),
    });
    const figures = runtimeFigures(table, {
      labels: { cluster: "C" },
      disk: { totalBytes: 100, freeBytes: 40 },
      toFlushBytes: 4,
    });
    assert.equal(figures.length, 63);
    assert.equal(find(figures, "rocketmq_brokeruntime_commitlog_maxoffset"), 9);
    assert.equal(find(figures, "rocketmq_brokeruntime_put_tps600"), 0);
    assert.equal(find(figures, "rocketmq_brokeruntime_pmdt_10stomore"), 0);
    assert.equal(find(figures, "rocketmq_brokeruntime_commitlogdir_capacity_free"), 40);
    assert.equal(find(figures, "rocketmq_brokeruntime_remain_howmanydata_toflush"), 4);
  });
});
