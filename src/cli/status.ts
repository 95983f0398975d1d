// The verbs status, role and master-address: what /ha says as a table, and the two switches.

import type { NodeStatus } from "../admin/admin_port.ts";
import { sleep } from "../base/async.ts";
import { ConfigError } from "../base/errors.ts";
import { printable, printableJson } from "../base/printable.ts";
import { parseValue } from "../config/load.ts";
import { parseHostPort } from "../config/setting.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { AdminError } from "./admin_client.ts";
import type { AdminClient } from "./admin_client.ts";
import { formatBytes, formatDuration, formatTable } from "./format.ts";

const TRY_AGAIN_MS = 1000;

/**
 * `status [--watch]`. Under watch it goes on until the user ends it, or the one who reads it does, also over a node that is
 * away for a while.
 */
export async function runStatus(
  runtime: Runtime,
  client: AdminClient,
  options: { watch: boolean; json: boolean },
): Promise<number> {
  const { process } = runtime;
  const show = (status: NodeStatus) =>
    options.json ? printableJson(JSON.stringify(status)) : formatStatus(status, runtime.clock.now());
  if (!options.watch) {
    process.writeOut(`${show(await client.status())}\n`);
    return 0;
  }
  const clear = process.stdoutIsTerminal && !options.json ? "\x1b[H\x1b[2J" : "";
  for (let wasSeen = false, isAway = false;; await sleep(runtime.clock, TRY_AGAIN_MS)) {
    try {
      for await (const status of client.events()) {
        wasSeen = true;
        isAway = false;
        process.writeOut(`${clear}${show(status)}\n${clear || options.json ? "" : "\n"}`);
        if (process.stdoutIsClosed) return 0;
      }
    } catch (error) {
      // A node that never answered is a wrong address, and a refusal stays one.
      if (!wasSeen || error instanceof AdminError) throw error;
    }
    if (!isAway) process.writeErr(`${client.address} does not answer, trying again\n`);
    isAway = true;
  }
}

/** `role ROLE`; says what the node is then. Throws {@link ConfigError} for what is no role or address. */
export async function runRole(
  runtime: Runtime,
  client: AdminClient,
  request: { role: string; brokerId?: number; masterAddress?: string; force?: boolean; resync?: boolean },
): Promise<number> {
  const role = parseValue("brokerRole", request.role, "Role");
  if (request.masterAddress !== undefined) checkAddress("--master", request.masterAddress, "HOST:PORT");
  const status = await client.request<NodeStatus>("PUT", "/role", { body: { ...request, role } });
  // The link to the master is only being made now: its state is status' to tell, later.
  const address = status.master?.masterAddr ?? null;
  const isSlave = status.brokerRole === "SLAVE";
  const follows = isSlave ? `, ${following(address)}` : "";
  const text = `${status.brokerName} (id ${status.brokerId}) is ${status.brokerRole}${follows}`;
  runtime.process.writeOut(`${printable(text)}\n`);
  if (isSlave && address === null) {
    runtime.process.writeErr("It takes no puts, and knows no master: name one with master-address HOST:PORT\n");
  }
  return 0;
}

/** `master-address HOST:PORT`; `null` stops following. Throws {@link ConfigError} for what is no address. */
export async function runMasterAddress(runtime: Runtime, client: AdminClient, address: string | null): Promise<number> {
  if (address !== null) checkAddress("Master address", address, "HOST:PORT, or none");
  await client.request<NodeStatus>("PUT", "/ha/master-address", { body: { address } });
  const done = following(address);
  runtime.process.writeOut(`${done[0]!.toUpperCase()}${done.slice(1)}\n`);
  return 0;
}

function checkAddress(name: string, address: string, wanted: string): void {
  if (parseHostPort(address) === null) throw new ConfigError(`${name} is "${address}", wanted ${wanted}`);
}

function following(address: string | null): string {
  return address === null ? "following nobody" : `following ${address}, connecting`;
}

/** `/ha` as text. `now` is Unix ms. Peers have a part in it, so no line of it can steer a terminal. */
export function formatStatus(status: NodeStatus, now: number): string {
  const { addresses } = status;
  const lines = [
    `${status.brokerName} (cluster ${status.brokerClusterName}, id ${status.brokerId}) is ${status.brokerRole}`,
    `Twinlog ${status.version} on ${status.runtime}, up ${formatDuration(now - status.startTimestamp)}`,
    `Addresses: remoting ${addresses.remoting} (told as ${addresses.advertised}), VIP ${
      addresses.vip ?? "none"
    }, HA ${addresses.ha} (told as ${status.haServerAddr}), admin ${addresses.admin ?? "none"}, NameServer ${
      addresses.namesrv ?? "none"
    }`,
    `Registers with: ${status.namesrvs.map(registration).join(", ") || "no NameServer"}`,
    `Log: ${status.minOffset} to ${status.maxOffset} (${
      formatBytes(status.maxOffset - status.minOffset)
    }), flushed ${status.flushedOffset}, confirmed ${status.confirmOffset}, ${
      formatBytes(status.dispatchBehindBytes)
    } to dispatch`,
    status.writable
      ? "Puts: taken"
      : `Puts: ${status.fenced ? "held off (fenced)" : "not taken"}, ${status.notWritableReason}`,
  ];
  if (status.master !== null) lines.push(...masterLines(status.master, now));
  if (status.slaves.length === 0 && status.brokerRole !== "SLAVE") lines.push("No slave is connected");
  const text = lines.map(printable).join("\n");
  if (status.slaves.length === 0) return text;
  return `${text}\n\n${formatTable([SLAVE_HEAD, ...status.slaves.map((slave) => slaveRow(slave).map(printable))])}`;
}

function registration({ address, registered }: NodeStatus["namesrvs"][number]): string {
  return registered === true ? address : `${address} (${registered === null ? "not yet" : "fails"})`;
}

const SLAVE_HEAD = ["SLAVE", "STATE", "IN SYNC", "ACK", "LAG", "RATE"];

function slaveRow(slave: NodeStatus["slaves"][number]): string[] {
  const rate = `${formatBytes(slave.transferredByteInSecond)}/s`;
  return [
    slave.addr,
    slave.state,
    slave.inSync ? "yes" : "no",
    String(slave.slaveAckOffset),
    formatBytes(slave.diff),
    rate,
  ];
}

function masterLines(master: NonNullable<NodeStatus["master"]>, now: number): string[] {
  const heard = master.lastReadTimestamp === 0
    ? "never heard"
    : `heard ${formatDuration(now - master.lastReadTimestamp)} ago`;
  const lines = [
    `Master: ${master.masterAddr ?? "none"}, ${master.state}, ${master.verified ? "verified" : "unverified"}, lag ${
      formatBytes(master.diff)
    }, ${formatBytes(master.transferredByteInSecond)}/s, ${heard}`,
  ];
  if (master.reason !== null) lines.push(`Not following: ${master.reason}`);
  // A node of an earlier version names none.
  if (master.remedy) lines.push(`What to do: ${master.remedy}`);
  return lines;
}
