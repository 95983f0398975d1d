// NameServers and brokers of either kind, started the same way: the tests say "apache" or a runtime, and everything else
// (ports, store, broker.conf, restarts) is equal. Both kinds read the very same broker.conf.

import * as fs from "node:fs";
import * as path from "node:path";
import type { ApacheLab } from "./apache.ts";
import { freeBrokerPort, type LabProcess, until } from "./processes.ts";
import { remotingCall } from "./remoting_call.ts";
import { type RuntimeName, startTwinlog, type TwinlogNode } from "./twinlog.ts";

/** Whose node it is: Apache's, or ours on that runtime. */
export type Kind = "apache" | RuntimeName;
/** A broker's role at its start. */
export type Role = "ASYNC_MASTER" | "SYNC_MASTER" | "SLAVE";

const MIB = 1024 * 1024;
const GET_ROUTEINFO_BY_TOPIC = 105;

/** Waits until a NameServer knows where a topic is; with TBW102, until topics can be made. */
export async function untilRouted(namesrv: string, topic = "TBW102"): Promise<void> {
  const port = Number(namesrv.split(":").at(-1));
  await until(`a route of ${topic}`, 60_000, async () => {
    return (await remotingCall(port, GET_ROUTEINFO_BY_TOPIC, { topic })).code === 0;
  });
}

/** What the scenarios need and both kinds know: filters, traces, recalls, transactions that are asked about soon. */
const SETTINGS: Readonly<Record<string, string | number>> = {
  brokerClusterName: "LabCluster",
  enablePropertyFilter: "true",
  traceTopicEnable: "true",
  recallMessageEnable: "true",
  transactionCheckInterval: 1500,
  transactionTimeOut: 1000,
  transactionOpBatchInterval: 200,
  mappedFileSizeCommitLog: 64 * MIB,
  registerNameServerPeriod: 10_000,
  // A broker that has just started is slow on its first sends.
  waitTimeMillsInSendQueue: 5000,
};

/** A broker, and how to start it again as it was. */
export interface LabBroker {
  readonly kind: Kind;
  readonly name: string;
  readonly store: string;
  readonly port: number;
  /** What clients are told. */
  readonly address: string;
  readonly haAddress: string;
  /** The running process. */
  readonly process: LabProcess;
  /** Ours: with its admin API. */
  readonly twinlog: TwinlogNode | null;
  /** Ends it (SIGTERM or SIGKILL); answers once it is gone. */
  end(how: "stop" | "kill"): Promise<void>;
  /** Starts it again on its store and ports; `settings` are laid over those it had. */
  start(settings?: Record<string, string | number>): Promise<void>;
}

/** A NameServer. */
export interface LabNamesrv {
  readonly kind: Kind;
  readonly address: string;
  readonly process: LabProcess;
}

/** Starts nodes inside one scratch directory. */
export class LabCluster {
  readonly #lab: ApacheLab | null;
  readonly #directory: string;

  /** Without a lab there are no nodes of Apache's. */
  constructor(lab: ApacheLab | null, directory: string) {
    this.#lab = lab;
    this.#directory = directory;
  }

  /** A NameServer that listens. */
  async startNamesrv(kind: Kind): Promise<LabNamesrv> {
    if (kind === "apache") return { kind, ...await labOf(this.#lab).startNamesrv() };
    const store = path.join(this.#directory, `namesrv-${kind}-${process.hrtime.bigint()}`);
    const node = await startTwinlog({ runtime: kind, directory: this.#directory, store, args: ["--role", "namesrv"] });
    return { kind, address: node.addresses.remoting.replace("0.0.0.0", "127.0.0.1"), process: node.process };
  }

  /** A broker and its NameServer, which is the broker's own with "embedded"; `namesrv` is the address clients are given. */
  async startPair(
    options: {
      broker: Kind;
      namesrv: Kind | "embedded";
      name: string;
      settings?: Record<string, string | number>;
    },
  ): Promise<{ broker: LabBroker; namesrv: string }> {
    const { broker: kind, name, settings = {} } = options;
    let namesrv: string;
    let own: Record<string, string | number> = {};
    if (options.namesrv === "embedded") {
      const namesrvListenPort = await freeBrokerPort();
      namesrv = `127.0.0.1:${namesrvListenPort}`;
      own = { namesrvListenPort };
    } else namesrv = (await this.startNamesrv(options.namesrv)).address;
    const named = options.namesrv === "embedded" ? null : namesrv;
    const broker = await this.startBroker({ kind, name, namesrv: named, settings: { ...own, ...settings } });
    return { broker, namesrv };
  }

  /** A broker that listens and is registered soon. `settings` win over the lab's. */
  async startBroker(options: {
    kind: Kind;
    name: string;
    role?: Role;
    /** Null: none is named. */
    namesrv: string | null;
    settings?: Record<string, string | number>;
    /** How long a start may take; unset: what tests wait. */
    startLimitMs?: number;
  }): Promise<LabBroker> {
    const port = await freeBrokerPort();
    const role = options.role ?? "ASYNC_MASTER";
    const broker = new Broker(this.#lab, this.#directory, { ...options, role, port });
    await broker.start();
    return broker;
  }
}

interface BrokerOptions {
  readonly kind: Kind;
  readonly name: string;
  readonly role: Role;
  readonly namesrv: string | null;
  readonly port: number;
  readonly settings?: Record<string, string | number>;
  readonly startLimitMs?: number;
}

function labOf(lab: ApacheLab | null): ApacheLab {
  if (lab === null) throw new Error("This cluster was made without Apache");
  return lab;
}

class Broker implements LabBroker {
  readonly kind: Kind;
  readonly name: string;
  readonly store: string;
  readonly port: number;
  readonly address: string;
  readonly haAddress: string;
  readonly #lab: ApacheLab | null;
  readonly #directory: string;
  readonly #options: BrokerOptions;
  #process: LabProcess | null = null;
  twinlog: TwinlogNode | null = null;

  constructor(lab: ApacheLab | null, directory: string, options: BrokerOptions) {
    this.#lab = lab;
    this.#directory = directory;
    this.#options = options;
    this.kind = options.kind;
    this.name = options.name;
    this.port = options.port;
    this.address = `127.0.0.1:${this.port}`;
    this.haAddress = `127.0.0.1:${this.port + 1}`;
    this.store = path.join(directory, `store-${this.name}-${this.kind}-${this.port}`);
  }

  get process(): LabProcess {
    return this.#process!;
  }

  async end(how: "stop" | "kill"): Promise<void> {
    if (how === "stop") await this.process.stop();
    else await this.process.destroy();
  }

  async start(settings: Record<string, string | number> = {}): Promise<void> {
    const { name, role, namesrv, startLimitMs } = this.#options;
    const all = { ...SETTINGS, ...this.#options.settings, ...settings };
    if (this.kind === "apache") {
      const options = {
        name,
        role,
        namesrv: namesrv ?? "127.0.0.1:9",
        store: this.store,
        port: this.port,
        settings: all,
        ...(startLimitMs === undefined ? {} : { startLimitMs }),
      };
      this.#process = (await labOf(this.#lab).startBroker(options)).process;
      return;
    }
    const conf = path.join(this.#directory, `twinlog-${this.port}.conf`);
    const lines: Record<string, string | number> = {
      brokerName: name,
      brokerId: role === "SLAVE" ? 1 : 0,
      brokerRole: role,
      // Left out, it would be port 9876 of this machine, whoever is there.
      namesrvAddr: namesrv ?? "none",
      ...(namesrv === null && all.namesrvListenPort === undefined ? { namesrvEnable: "false" } : {}),
      brokerIP1: "127.0.0.1",
      brokerIP2: "127.0.0.1",
      bindAddress: "127.0.0.1",
      haListenPort: this.port + 1,
      ...all,
    };
    fs.writeFileSync(conf, Object.entries(lines).map(([key, value]) => `${key}=${value}\n`).join(""));
    this.twinlog = await startTwinlog({
      runtime: this.kind,
      directory: this.#directory,
      store: this.store,
      port: this.port,
      args: ["-c", conf],
      ...(startLimitMs === undefined ? {} : { startLimitMs }),
    });
    this.#process = this.twinlog.process;
  }
}
