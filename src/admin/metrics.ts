// `GET /metrics`: the node's figures as Prometheus text. Made anew for each scrape from the port, so nothing is counted
// twice and nothing is kept. prom-client owns the format; its default metrics (Node only) are left out.

import client from "prom-client";
import type { AdminPort, MetricFigure, NodeStatus } from "./admin_port.ts";

/** The text, and its content type. */
export async function renderMetrics(port: AdminPort): Promise<{ text: string; contentType: string }> {
  const registry = new client.Registry();
  for (const family of familiesOf([...statusFigures(port.status()), ...port.metricFigures()])) {
    addFamily(registry, family);
  }
  return { text: await registry.metrics(), contentType: registry.contentType };
}

/** Samples of one name. */
type Family = readonly [MetricFigure, ...MetricFigure[]];

function familiesOf(figures: readonly MetricFigure[]): Family[] {
  const families = new Map<string, [MetricFigure, ...MetricFigure[]]>();
  for (const figure of figures) {
    const family = families.get(figure.name);
    if (family) family.push(figure);
    else families.set(figure.name, [figure]);
  }
  return [...families.values()];
}

function addFamily(registry: client.Registry, family: Family): void {
  const { name, help, type } = family[0];
  const labelNames = [...new Set(family.flatMap((figure) => Object.keys(figure.labels)))];
  const options = { name, help, labelNames, registers: [registry] };
  if (type === "gauge") {
    const gauge = new client.Gauge(options);
    for (const figure of family) gauge.set({ ...figure.labels }, figure.value);
  } else {
    const counter = new client.Counter(options);
    for (const figure of family) counter.inc({ ...figure.labels }, figure.value);
  }
}

/** The figures that `/ha` shows too. */
function statusFigures(status: NodeStatus): MetricFigure[] {
  const node = { cluster: status.brokerClusterName, node_type: "broker", node_id: status.brokerName };
  const figures: MetricFigure[] = [];
  const gauge = (name: string, help: string, value: number | boolean | null, labels: Record<string, string> = {}) => {
    if (value !== null) {
      figures.push({ name, help, type: "gauge", labels: { ...node, ...labels }, value: Number(value) });
    }
  };
  gauge("twinlog_info", "1, with what this node is as labels", 1, {
    version: status.version,
    runtime: status.runtime,
    role: status.brokerRole,
    broker_id: String(status.brokerId),
  });
  gauge("twinlog_start_time_seconds", "When the node started, Unix seconds", status.startTimestamp / 1000);
  gauge("twinlog_writable", "1 when puts are taken", status.writable);
  gauge("twinlog_commitlog_min_offset", "First byte held of the commit log", status.minOffset);
  gauge("twinlog_commitlog_max_offset", "End of the commit log", status.maxOffset);
  gauge("twinlog_commitlog_flushed_offset", "End of what is on the disk", status.flushedOffset);
  gauge("twinlog_commitlog_confirm_offset", "End of what may be read", status.confirmOffset);
  gauge("rocketmq_storage_flush_behind_bytes", "Bytes not yet flushed", status.maxOffset - status.flushedOffset);
  gauge("rocketmq_storage_dispatch_behind_bytes", "Bytes not yet dispatched", status.dispatchBehindBytes);
  gauge("twinlog_ha_connections", "Live HA connections of slaves", status.slaves.length);
  gauge("twinlog_ha_in_sync_slaves", "Slaves in sync", status.inSyncSlaveNums);
  gauge(
    "twinlog_ha_push2slave_max_offset",
    "Highest acknowledged offset of the live slaves",
    status.push2SlaveMaxOffset,
  );
  const lag = 'Bytes a slave is behind its master; slave="fastest" is the fastest of them, as Apache logs it';
  gauge("rocketmq_broker_commitlog_diff", lag, status.slaveFallBehindMuch, { slave: "fastest" });
  for (const slave of status.slaves) {
    const labels = { slave: slave.addr };
    gauge("rocketmq_broker_commitlog_diff", lag, slave.diff, labels);
    gauge("twinlog_ha_slave_ack_offset", "What the slave acknowledged last", slave.slaveAckOffset, labels);
    gauge("twinlog_ha_slave_in_sync", "1 when the slave is in sync", slave.inSync, labels);
    gauge(
      "twinlog_ha_slave_transferred_bytes_per_second",
      "Sent to the slave in the last second",
      slave.transferredByteInSecond,
      labels,
    );
  }
  const master = status.master;
  if (master !== null) {
    gauge("rocketmq_broker_commitlog_diff", lag, master.diff, { slave: "self" });
    gauge(
      "twinlog_ha_following",
      "1 while the master is followed",
      master.state === "TRANSFER" && master.reason === null,
    );
    gauge("twinlog_ha_verified", "1 when the tail was compared with the master's and agreed", master.verified);
    gauge(
      "twinlog_ha_received_bytes_per_second",
      "Received from the master in the last second",
      master.transferredByteInSecond,
    );
  }
  return figures;
}
