// The node's figures in the two shapes others read them in: Prometheus samples for /metrics, and the table of
// GET_BROKER_RUNTIME_INFO for mqadmin and exporters.

import type { MetricFigure } from "../admin/admin_port.ts";
import type { ConnectionLimits } from "../base/connection_limits.ts";
import type { Config } from "../config/schema.ts";
import type { Runtime } from "../runtime/runtime.ts";
import type { MessageStore } from "../store/message_store.ts";
import type { NamesrvState } from "./broker_outer_api.ts";
import { type ClientFigureParts, clientFigures } from "./client_figures.ts";
import type { HAClientDriver } from "./ha_client_driver.ts";
import type { HAMasterDriver } from "./ha_master_driver.ts";
import type { BrokerRuntimeInfo } from "./processors/ports.ts";
import { runtimeInfoTable } from "./processors/runtime_info_processor.ts";
import type { PutMessageService } from "./put_message_service.ts";
import type { RemotingServer } from "../remoting/remoting_server.ts";
import type { RoleController } from "./role_controller.ts";
import { runtimeFigures } from "./runtime_figures.ts";

/** What the figures are taken from. */
export interface FigureParts {
  readonly config: Config;
  readonly runtime: Runtime;
  readonly store: MessageStore;
  readonly masterDriver: HAMasterDriver;
  readonly clientDriver: HAClientDriver;
  readonly roles: RoleController;
  readonly puts: PutMessageService;
  readonly remotingServers: readonly RemotingServer[];
  readonly adminLimits: ConnectionLimits;
  readonly namesrvStates: () => readonly NamesrvState[];
  /** Topics, groups and clients, and what is counted of them. */
  readonly clientFigures?: ClientFigureParts;
  /** Further keys of GET_BROKER_RUNTIME_INFO: what is counted of clients, progress of delay levels and of timers. */
  readonly runtimeInfoExtra?: () => Readonly<Record<string, string>>;
}

/** Samples for `/metrics` beside those of the status. */
export function brokerFigures(parts: FigureParts): MetricFigure[] {
  const { runtime, config, store, masterDriver, clientDriver, roles, puts, remotingServers } = parts;
  const node = { cluster: config.brokerClusterName, node_type: "broker", node_id: config.brokerName };
  const figures: MetricFigure[] = [];
  const add = (
    type: "gauge" | "counter",
    name: string,
    help: string,
    value: number,
    labels: Record<string, string> = {},
  ) => void figures.push({ name, help, type, labels: { ...node, ...labels }, value });

  if (parts.clientFigures === undefined) {
    add("counter", "rocketmq_messages_in_total", "Messages put here", puts.counters.messages);
    add("counter", "rocketmq_throughput_in_total", "Bytes of records put here", puts.counters.bytes);
  } else {
    figures.push(...clientFigures(parts.clientFigures));
    figures.push(...brokerRuntimeFigures(parts, parts.clientFigures.brokerAddr()));
  }
  add(
    "counter",
    "twinlog_put_messages_total",
    "Messages put here, by clients and by the broker",
    puts.counters.messages,
  );
  for (const [status, count] of puts.counters.failures) {
    add("counter", "twinlog_put_failures_total", "Puts answered with another status than PUT_OK", count, { status });
  }
  add("gauge", "twinlog_put_waiting", "Puts waiting for slaves", masterDriver.service.waitingPuts);
  for (const [reason, count] of masterDriver.service.refusals.counts) {
    add("counter", "twinlog_ha_connections_refused_total", "HA peers refused, by reason", count, { reason });
  }
  add(
    "gauge",
    "twinlog_ha_guests",
    "HA connections that have not asked for anything yet",
    masterDriver.service.connectionInfos(runtime.clock.monotonic()).filter((one) => one.slaveRequestOffset < 0).length,
  );
  for (const [event, count] of Object.entries(clientDriver.status.counters)) {
    add("counter", "twinlog_ha_client_events_total", "What happened on the slave's side", count, { event });
  }
  for (const [event, count] of Object.entries(roles.counters)) {
    add("counter", "twinlog_role_events_total", "Role switches, refused ones, and new master addresses", count, {
      event,
    });
  }
  for (const { address, registered } of parts.namesrvStates()) {
    add("gauge", "twinlog_namesrv_registered", "1 while the last registration succeeded", Number(registered === true), {
      namesrv: address,
    });
  }
  remotingServers.forEach((server, at) => {
    const port = at === 0 ? "main" : "vip";
    add("counter", "twinlog_remoting_requests_total", "Remoting requests taken", server.requestCount, { port });
    add("gauge", "twinlog_remoting_held_bytes", "Bytes of unfinished requests and unread answers", server.heldBytes, {
      port,
    });
    add("gauge", "twinlog_remoting_connections", "Open remoting connections", server.connectionCount, { port });
    for (const [reason, count] of Object.entries(server.closeCounts)) {
      add("counter", "twinlog_remoting_closed_total", "Remoting connections ended, by reason", count, { port, reason });
    }
  });
  for (const [reason, count] of Object.entries(parts.adminLimits.refusals)) {
    add("counter", "twinlog_admin_connections_refused_total", "Admin connections refused, by reason", count, {
      reason,
    });
  }
  add("gauge", "rocketmq_storage_size", "Bytes of the commit log held", store.maxOffset - store.minOffset, {
    storage_type: "local",
    storage_medium: "disk",
  });
  const statistics = store.statistics();
  add("gauge", "rocketmq_storage_disk_ratio", "Used share of the commit log's disk", statistics.commitLogDiskRatio);
  const earliest = statistics.earliestMessageTimeStamp;
  if (earliest >= 0) {
    add(
      "gauge",
      "rocketmq_storage_message_reserve_time",
      "Age of the oldest message, ms",
      runtime.clock.now() - earliest,
    );
  }
  add(
    "gauge",
    "twinlog_resident_memory_bytes",
    "Resident memory of the process",
    runtime.process.memory().residentBytes,
  );
  return figures;
}

function brokerRuntimeFigures(parts: FigureParts, brokerAddr: string): MetricFigure[] {
  const { config, store } = parts;
  const info = brokerRuntimeInfo(parts, store.statistics().bootTimestamp);
  const table = runtimeInfoTable(info);
  return runtimeFigures(table, {
    labels: {
      cluster: config.brokerClusterName,
      brokerIP: brokerAddr,
      brokerHost: config.brokerName,
      des: table.brokerVersionDesc!,
      boottime: table.bootTimestamp!,
      broker_version: table.brokerVersion!,
    },
    disk: info.commitLogDisk,
    toFlushBytes: info.remainHowManyDataToFlush,
  });
}

/** The figures behind request 28. */
export function brokerRuntimeInfo(parts: FigureParts, bootTimestamp: number): BrokerRuntimeInfo {
  const { config, runtime, store, puts } = parts;
  const { earliestMessageTimeStamp } = store.statistics();
  return {
    // Whether the services run that only a master has, as in Apache.
    brokerActive: parts.roles.role !== "SLAVE",
    bootTimestamp,
    now: runtime.clock.now(),
    commitLogMinOffset: store.minOffset,
    commitLogMaxOffset: store.maxOffset,
    dispatchBehindBytes: store.dispatchBehindBytes,
    remainHowManyDataToFlush: store.maxOffset - store.flushedOffset,
    earliestMessageTimeStamp,
    commitLogPath: config.storePathCommitLog,
    commitLogDisk: runtime.fs.diskUsage(config.storePathCommitLog),
    consumeQueueDisk: runtime.fs.diskUsage(config.storePathRootDir),
    putMessageTimesTotal: puts.counters.messages,
    putMessageSizeTotal: puts.counters.bytes,
    putMessageFailedTimes: [...puts.counters.failures.values()].reduce((sum, count) => sum + count, 0),
    extra: {
      startAcceptSendRequestTimeStamp: String(config.startAcceptSendRequestTimeStamp),
      ...parts.runtimeInfoExtra?.(),
    },
  };
}
