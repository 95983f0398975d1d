// Brokers as a client meets them: a master alone and a SYNC_MASTER with its slave, Twinlog on a runtime or Apache, each with
// a NameServer; and the floor, a program in C that only answers. While one is measured the others are stopped (SIGSTOP):
// an idle Apache broker is never quite idle.

import type { ApacheLab } from "../../tests/interop/lab/apache.ts";
import { type Kind, LabCluster, type Role } from "../../tests/interop/lab/lab_cluster.ts";
import { freeBrokerPort } from "../../tests/interop/lab/processes.ts";
import { Peer } from "./peer.ts";

/** The floor's name among the nodes. */
export const FLOOR = "floor";

/** Brokers that clients find under one NameServer. */
export interface Served {
  readonly namesrv: string;
  /** The broker that takes sends: its port on the loopback address, and its process. */
  readonly port: number;
  readonly pid: number;
  /** All processes, stopped and continued together. */
  readonly pids: readonly number[];
}

/** A kind of broker, alone and as a pair. */
export interface ClientSubject {
  readonly name: string;
  /** ASYNC_MASTER. */
  readonly single: Served;
  /** SYNC_MASTER with `inSyncReplicas=2` and one slave; the floor waits for nobody. */
  readonly pair: Served;
}

const MIB = 1024 * 1024;
/** Defaults of both where the lab sets something else. */
export const DEFAULT_SETTINGS = {
  mappedFileSizeCommitLog: 1024 * MIB,
  waitTimeMillsInSendQueue: 200,
  enablePropertyFilter: "false",
  traceTopicEnable: "false",
  transactionCheckInterval: 30_000,
  transactionTimeOut: 6000,
  transactionOpBatchInterval: 3000,
  registerNameServerPeriod: 30_000,
  // All brokers together fill tens of GB: none may begin to delete what is still to be consumed.
  diskMaxUsedSpaceRatio: 95,
};
/** Peers that are stopped for a while stay connected. */
const SETTINGS = { ...DEFAULT_SETTINGS, haHousekeepingInterval: 3_600_000 };

/** Starts a kind of broker alone. */
export async function startAlone(
  kind: Kind,
  lab: ApacheLab,
  directory: string,
): Promise<Pick<ClientSubject, "name" | "single">> {
  return { name: kind, single: await startSingle(new LabCluster(lab, directory), kind) };
}

/** Starts both forms of a kind of broker. */
export async function startSubject(kind: Kind, lab: ApacheLab, directory: string): Promise<ClientSubject> {
  const cluster = new LabCluster(lab, directory);
  return { name: kind, single: await startSingle(cluster, kind), pair: await startPair(cluster, kind) };
}

async function startSingle(cluster: LabCluster, kind: Kind): Promise<Served> {
  return await startMaster(cluster, kind, "ASYNC_MASTER", "single", {});
}

/** A SYNC_MASTER with `inSyncReplicas=2`, its slave, and a NameServer: Apache's own process, ours inside the master. */
export async function startPair(cluster: LabCluster, kind: Kind): Promise<Served> {
  const sync = { inSyncReplicas: 2 };
  const master = await startMaster(cluster, kind, "SYNC_MASTER", "pair", sync);
  const name = `${kind}-pair`;
  const settings = { ...SETTINGS, ...sync };
  const slave = await cluster.startBroker({ kind, name, role: "SLAVE", namesrv: master.namesrv, settings });
  return { ...master, pids: [...master.pids, slave.process.pid] };
}

async function startMaster(
  cluster: LabCluster,
  kind: Kind,
  role: Role,
  form: string,
  more: Record<string, number>,
): Promise<Served> {
  const name = `${kind}-${form}`;
  if (kind === "apache") {
    const namesrv = await cluster.startNamesrv("apache");
    const settings = { ...SETTINGS, ...more };
    const { process, port } = await cluster.startBroker({ kind, name, role, namesrv: namesrv.address, settings });
    return { namesrv: namesrv.address, port, pid: process.pid, pids: [namesrv.process.pid, process.pid] };
  }
  const namesrvListenPort = await freeBrokerPort();
  const settings = { ...SETTINGS, namesrvListenPort, ...more };
  const { process, port } = await cluster.startBroker({ kind, name, role, namesrv: null, settings });
  return { namesrv: `127.0.0.1:${namesrvListenPort}`, port, pid: process.pid, pids: [process.pid] };
}

/** The program that only answers. */
export async function startFloor(): Promise<ClientSubject> {
  const peer = new Peer("answer", []);
  const port = await peer.port();
  const served = { namesrv: `127.0.0.1:${port}`, port, pid: peer.pid, pids: [peer.pid] };
  return { name: FLOOR, single: served, pair: served };
}

/** Lets it run while `work` does. */
export async function awake<T>({ pids }: Served, work: () => Promise<T>): Promise<T> {
  for (const pid of pids) process.kill(pid, "SIGCONT");
  try {
    return await work();
  } finally {
    sleepNow(pids);
  }
}

/** Stops the processes until they are let run again. */
export function sleepNow(pids: readonly number[]): void {
  for (const pid of pids) process.kill(pid, "SIGSTOP");
}
