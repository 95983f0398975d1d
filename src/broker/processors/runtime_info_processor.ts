// GET_BROKER_RUNTIME_INFO (28): the table `mqadmin brokerStatus` and `clusterList` print, and by which a slave learns
// how far its master's log reaches. Every value is a string. Figures that nobody gives are there as zero, since mqadmin and
// exporters read keys without looking whether they exist.

import { utf8 } from "../../base/bytes.ts";
import { createResponse, MQ_VERSION, MQ_VERSION_DESC } from "../../remoting/remoting_command.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { DiskUsage } from "../../runtime/runtime.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import { diskUsedRatio } from "../../store/disk_ratio.ts";
import type { BrokerRuntimeInfo, BrokerRuntimeInfoSource } from "./ports.ts";

/** The processor by its code. */
export function runtimeInfoProcessors(source: BrokerRuntimeInfoSource): Map<number, RequestProcessor> {
  return new Map<number, RequestProcessor>([
    [RequestCode.GET_BROKER_RUNTIME_INFO, (request) => {
      const body = utf8.encode(JSON.stringify({ table: runtimeInfoTable(source.runtimeInfo()) }));
      return createResponse(request, ResponseCode.SUCCESS, { body });
    }],
  ]);
}

const THREAD_POOLS = ["send", "pull", "litePull", "query", "ack"] as const;
const ZEROS = [
  "pageCacheLockTimeMills",
  "dispatchMaxBuffer",
  "getMessageEntireTimeMax",
  "EndTransactionQueueSize",
  "EndTransactionThreadPoolQueueCapacity",
  "timerReadBehind",
  "timerOffsetBehind",
  "timerCongestNum",
  "startAcceptSendRequestTimeStamp",
] as const;
const DAILY = ["YesterdayMorning", "TodayMorning", "TodayNow"] as const;

/** The table, its keys sorted as Apache's are. */
export function runtimeInfoTable(info: BrokerRuntimeInfo): Record<string, string> {
  const table: Record<string, string | number> = {
    brokerActive: String(info.brokerActive),
    brokerVersion: MQ_VERSION,
    brokerVersionDesc: MQ_VERSION_DESC,
    bootTimestamp: info.bootTimestamp,
    runtime: runtimeText(info.now - info.bootTimestamp),
    commitLogMinOffset: info.commitLogMinOffset,
    commitLogMaxOffset: info.commitLogMaxOffset,
    dispatchBehindBytes: info.dispatchBehindBytes,
    remainHowManyDataToFlush: bytesText(info.remainHowManyDataToFlush),
    // Apache's value while no transient store pool is used.
    remainTransientStoreBufferNumbs: 2147483647,
    earliestMessageTimeStamp: info.earliestMessageTimeStamp,
    commitLogDiskRatio: usedRatio(info.commitLogDisk),
    [`commitLogDiskRatio_${info.commitLogPath}`]: usedRatio(info.commitLogDisk),
    consumeQueueDiskRatio: usedRatio(info.consumeQueueDisk),
    commitLogDirCapacity: capacityText(info.commitLogDisk),
    putMessageTimesTotal: info.putMessageTimesTotal ?? 0,
    putMessageFailedTimes: info.putMessageFailedTimes ?? 0,
    putMessageSizeTotal: info.putMessageSizeTotal ?? 0,
    putMessageAverageSize: decimal((info.putMessageSizeTotal ?? 0) / Math.max(1, info.putMessageTimesTotal ?? 0)),
    putMessageEntireTimeMax: info.putMessageEntireTimeMax ?? 0,
    putTps: ratesText(info.putTps),
    getTransferredTps: ratesText(info.getTransferredTps),
    // Its name in 4.9, whose mqadmin fails without it.
    getTransferedTps: ratesText(info.getTransferredTps),
    getFoundTps: ratesText(),
    getMissTps: ratesText(),
    getTotalTps: ratesText(),
    timerEnqueueTps: "0.0",
    timerDequeueTps: "0.0",
    // As Apache has it in its first minute.
    putMessageDistributeTime: "null",
    putLatency99: "0.00",
    putLatency999: "0.00",
  };
  for (const key of ZEROS) table[key] = 0;
  for (const pool of THREAD_POOLS) {
    table[`${pool}ThreadPoolQueueSize`] = 0;
    table[`${pool}ThreadPoolQueueCapacity`] = 0;
    table[`${pool}ThreadPoolQueueHeadWaitTimeMills`] = 0;
  }
  for (const day of DAILY) table[`msgPutTotal${day}`] = table[`msgGetTotal${day}`] = 0;
  Object.assign(table, info.extra);
  return Object.fromEntries(Object.keys(table).sort().map((key) => [key, String(table[key])]));
}

/** A double as Java prints it: never without a fraction. */
function decimal(value: number): string {
  return Number.isInteger(value) ? `${value}.0` : String(value);
}

function usedRatio(disk: DiskUsage | null): string {
  return disk === null || disk.totalBytes <= 0 ? "-1.0" : decimal(diskUsedRatio(disk));
}

function capacityText(disk: DiskUsage | null): string {
  if (disk === null) return "Total : unknown, Free : unknown.";
  return `Total : ${bytesText(disk.totalBytes)}, Free : ${bytesText(disk.freeBytes)}.`;
}

function bytesText(bytes: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];
  let value = bytes;
  let unit = 0;
  while (value >= 1024 && unit < units.length - 1) {
    value /= 1024;
    unit++;
  }
  return `${Math.floor(value * 10) / 10} ${units[unit]}`;
}

/** Three numbers with a blank after each. mqadmin takes the first and fails on an empty text. */
function ratesText(rates: readonly [number, number, number] = [0, 0, 0]): string {
  return rates.map((rate) => decimal(rate) + " ").join("");
}

function runtimeText(elapsedMs: number): string {
  const seconds = Math.max(0, Math.floor(elapsedMs / 1000));
  const minutes = Math.floor(seconds / 60);
  const hours = Math.floor(minutes / 60);
  return `[ ${Math.floor(hours / 24)} days, ${hours % 24} hours, ${minutes % 60} minutes, ${seconds % 60} seconds ]`;
}
