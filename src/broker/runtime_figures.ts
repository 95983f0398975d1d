// The table of GET_BROKER_RUNTIME_INFO as samples for /metrics, under the names RocketMQ's exporter gives it
// (`rocketmq_brokeruntime_*`). Pure: names and how their values are read out of the table's texts.

import type { MetricFigure } from "../admin/admin_port.ts";

/** Number as it stands: metric name behind the prefix to table key. */
const PLAIN: Readonly<Record<string, string>> = {
  msg_put_total_today_now: "msgPutTotalTodayNow",
  msg_gettotal_today_now: "msgGetTotalTodayNow",
  msg_puttotal_todaymorning: "msgPutTotalTodayMorning",
  msg_gettotal_todaymorning: "msgGetTotalTodayMorning",
  msg_puttotal_yesterdaymorning: "msgPutTotalYesterdayMorning",
  msg_gettotal_yesterdaymorning: "msgGetTotalYesterdayMorning",
  dispatch_behind_bytes: "dispatchBehindBytes",
  dispatch_maxbuffer: "dispatchMaxBuffer",
  put_message_size_total: "putMessageSizeTotal",
  put_message_average_size: "putMessageAverageSize",
  putmessage_times_total: "putMessageTimesTotal",
  putmessage_entire_time_max: "putMessageEntireTimeMax",
  getmessage_entire_time_max: "getMessageEntireTimeMax",
  put_latency_99: "putLatency99",
  put_latency_999: "putLatency999",
  remain_transientstore_buffer_numbs: "remainTransientStoreBufferNumbs",
  earliest_message_timestamp: "earliestMessageTimeStamp",
  start_accept_sendrequest_time: "startAcceptSendRequestTimeStamp",
  pagecache_lock_time_mills: "pageCacheLockTimeMills",
  commitlog_disk_ratio: "commitLogDiskRatio",
  consumequeue_disk_ratio: "consumeQueueDiskRatio",
  commitlog_maxoffset: "commitLogMaxOffset",
  commitlog_minoffset: "commitLogMinOffset",
  send_threadpool_queue_size: "sendThreadPoolQueueSize",
  send_threadpoolqueue_capacity: "sendThreadPoolQueueCapacity",
  send_threadpoolqueue_headwait_timemills: "sendThreadPoolQueueHeadWaitTimeMills",
  pull_threadpoolqueue_size: "pullThreadPoolQueueSize",
  pull_threadpoolqueue_capacity: "pullThreadPoolQueueCapacity",
  pull_threadpoolqueue_headwait_timemills: "pullThreadPoolQueueHeadWaitTimeMills",
  query_threadpoolqueue_size: "queryThreadPoolQueueSize",
  query_threadpool_queue_capacity: "queryThreadPoolQueueCapacity",
  query_threadpoolqueue_headwait_timemills: "queryThreadPoolQueueHeadWaitTimeMills",
};
/** Three numbers, of the last 10, 60 and 600 s. */
const RATES: Readonly<Record<string, string>> = {
  put_tps: "putTps",
  getfound_tps: "getFoundTps",
  getmiss_tps: "getMissTps",
  gettotal_tps: "getTotalTps",
  gettransfered_tps: "getTransferredTps",
};
/** Classes of put durations, in the order of the table's text. */
const DURATIONS: readonly string[] = [
  "0ms",
  "0to10ms",
  "10to50ms",
  "50to100ms",
  "100to200ms",
  "200to500ms",
  "500to1s",
  "1to2s",
  "2to3s",
  "3to4s",
  "4to5s",
  "5to10s",
  "10stomore",
];

/** Samples of the table; `disk` and `toFlush` are bytes, of which the table has rounded texts. */
export function runtimeFigures(
  table: Readonly<Record<string, string>>,
  options: {
    readonly labels: Readonly<Record<string, string>>;
    readonly disk: { readonly totalBytes: number; readonly freeBytes: number } | null;
    readonly toFlushBytes: number;
  },
): MetricFigure[] {
  const figures: MetricFigure[] = [];
  const add = (name: string, key: string, value: number) => {
    if (Number.isNaN(value)) return;
    const { labels } = options;
    const help = `${key} of GET_BROKER_RUNTIME_INFO`;
    figures.push({ name: `rocketmq_brokeruntime_${name}`, help, type: "gauge", labels, value });
  };
  for (const [name, key] of Object.entries(PLAIN)) add(name, key, Number(table[key] ?? NaN));
  for (const [name, key] of Object.entries(RATES)) {
    const rates = (table[key] ?? "").trim().split(" ");
    [10, 60, 600].forEach((seconds, at) => add(`${name}${seconds}`, key, Number(rates[at] ?? NaN)));
  }
  const classes = (table.putMessageDistributeTime ?? "").trim().split(" ");
  DURATIONS.forEach((name, at) =>
    add(`pmdt_${name}`, "putMessageDistributeTime", Number(classes[at]?.split(":")[1] ?? NaN))
  );
  add("commitlogdir_capacity_total", "commitLogDirCapacity", options.disk?.totalBytes ?? NaN);
  add("commitlogdir_capacity_free", "commitLogDirCapacity", options.disk?.freeBytes ?? NaN);
  add("remain_howmanydata_toflush", "remainHowManyDataToFlush", options.toFlushBytes);
  return figures;
}
