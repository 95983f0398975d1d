// One machine of a chaos run: a store and whatever runs on it, Twinlog on a runtime or Apache's broker, started, killed,
// paused and asked the same way. It knows its own process; who leads and who follows is the operator's.

import * as fs from "node:fs";
import type { ApacheLab } from "./apache.ts";
import type { LabProcess } from "./processes.ts";
import { until } from "./processes.ts";
import { followByRemoting, runtimeInfo } from "./remoting_call.ts";
import { type RuntimeName, startTwinlog, type TwinlogNode } from "./twinlog.ts";

/** Log file size of every node, bytes: small, so that files roll all the time. */
export const FILE_SIZE = 1024 * 1024;

/** What runs on a machine. */
export type NodeKind = RuntimeName | "apache";

/** Where a slave finds a master: the two ports of the link between them. */
export interface MasterAddress {
  readonly ha: string;
  readonly remoting: string;
}

/** What all nodes of a round share. */
export interface NodeSetting {
  readonly directory: string;
  readonly brokerName: string;
  /** Null without Java. */
  readonly lab: ApacheLab | null;
  readonly namesrv: string;
  /** Flags of every Twinlog node beyond the usual. */
  readonly flags: readonly string[];
}

/** Short, so that what goes silent is noticed within a round. ms. */
const HEARTBEAT_MS = 400;
const HOUSEKEEPING_MS = 2000;
const SLAVE_TIMEOUT_MS = 1000;
/** An answer that takes longer comes from a node that hangs. */
const ANSWER_MS = 5000;

/** A machine. `up` until killed; `paused` between SIGSTOP and SIGCONT. */
export class ChaosNode {
  readonly name: string;
  readonly port: number;
  readonly store: string;
  state: "down" | "up" | "paused" = "down";
  /** A fault has it in hand; others keep off. */
  busy = false;
  /** Largest resident memory seen, bytes. */
  residentMax = 0;
  readonly #setting: NodeSetting;
  #kind: NodeKind;
  #process: LabProcess | null = null;
  #twinlog: TwinlogNode | null = null;

  /** `store` is a directory of its own; absent: one in the round's. */
  constructor(name: string, kind: NodeKind, port: number, setting: NodeSetting, store?: string) {
    this.name = name;
    this.#kind = kind;
    this.port = port;
    this.store = store ?? `${setting.directory}/${name}`;
    this.#setting = setting;
  }

  get kind(): NodeKind {
    return this.#kind;
  }

  /** Something else runs on its store from the next start on. It must be down. */
  takeOver(kind: NodeKind): void {
    this.#kind = kind;
    this.residentMax = 0;
  }

  /** Its own ports, for slaves that need no link. */
  get address(): MasterAddress {
    return { ha: `127.0.0.1:${this.port + 1}`, remoting: `127.0.0.1:${this.port}` };
  }

  get isApache(): boolean {
    return this.kind === "apache";
  }

  /** The running Twinlog node. */
  get twinlog(): TwinlogNode {
    if (this.#twinlog === null) throw new Error(`${this} is no running Twinlog node`);
    return this.#twinlog;
  }

  toString(): string {
    return `${this.name} (${this.kind})`;
  }

  /** Starts it as a SYNC_MASTER (`master` null), or as a slave. A role that Twinlog saved wins over this. */
  async start(master: MasterAddress | null, ...flags: string[]): Promise<void> {
    const { directory } = this.#setting;
    if (this.kind === "apache") {
      await this.#startApache(master);
    } else {
      this.#twinlog = await startTwinlog({
        runtime: this.kind,
        directory,
        store: this.store,
        port: this.port,
        args: [
          ...(master === null ? ["--role", "sync-master"] : ["--role", "slave", "--master", master.ha]),
          ...this.#flags(),
          ...flags,
        ],
      });
      this.#process = this.#twinlog.process;
    }
    this.state = "up";
  }

  #flags(): string[] {
    const keys: Record<string, string | number> = {
      "name": this.#setting.brokerName,
      "broker-cluster-name": "LabCluster",
      "bind-address": "127.0.0.1",
      "broker-ip1": "127.0.0.1",
      "broker-ip2": "127.0.0.1",
      "mapped-file-size-commit-log": FILE_SIZE,
      "in-sync-replicas": 2,
      "slave-timeout": SLAVE_TIMEOUT_MS,
      "ha-send-heartbeat-interval": HEARTBEAT_MS,
      "ha-housekeeping-interval": HOUSEKEEPING_MS,
      "default-topic-queue-nums": 4,
    };
    return [...Object.entries(keys).flatMap(([key, value]) => [`--${key}`, String(value)]), ...this.#setting.flags];
  }

  async #startApache(master: MasterAddress | null): Promise<void> {
    const { lab, brokerName, namesrv } = this.#setting;
    const broker = await lab!.startBroker({
      name: brokerName,
      role: master === null ? "SYNC_MASTER" : "SLAVE",
      // A slave that heard of its master by the NameServer would go round the link.
      namesrv: master === null ? namesrv : "127.0.0.1:9",
      store: this.store,
      port: this.port,
      settings: {
        mappedFileSizeCommitLog: FILE_SIZE,
        maxMessageSize: 65536,
        inSyncReplicas: 2,
        totalReplicas: 2,
        slaveTimeout: SLAVE_TIMEOUT_MS,
        haSendHeartbeatInterval: HEARTBEAT_MS,
        haHousekeepingInterval: HOUSEKEEPING_MS,
      },
    });
    this.#twinlog = null;
    this.#process = broker.process;
    if (master !== null) await this.follow(master);
  }

  /** Follows this master from now on; a Twinlog master is demoted. */
  async follow(master: MasterAddress): Promise<void> {
    if (this.isApache) return await followByRemoting(this.port, master);
    const { brokerRole } = await this.twinlog.ha(ANSWER_MS);
    if (brokerRole === "SLAVE") {
      await this.twinlog.admin("PUT", "/ha/master-address", { address: master.ha }, ANSWER_MS);
    } else await this.twinlog.admin("PUT", "/role", { role: "SLAVE", masterAddress: master.ha }, ANSWER_MS);
  }

  /** End of its log, as it says. */
  async maxOffset(): Promise<number> {
    if (!this.isApache) return (await this.twinlog.ha(ANSWER_MS)).maxOffset;
    return await this.#figure("commitLogMaxOffset");
  }

  /** Bytes not in consume queues yet. */
  async dispatchBehindBytes(): Promise<number> {
    if (!this.isApache) return (await this.twinlog.ha(ANSWER_MS)).dispatchBehindBytes;
    return await this.#figure("dispatchBehindBytes");
  }

  async #figure(name: string): Promise<number> {
    const table = await until(`${this} to tell its figures`, 10_000, () => runtimeInfo(this.port));
    return Number(table[name]);
  }

  /** SIGKILL. */
  async kill(): Promise<void> {
    this.state = "down";
    await this.#process!.destroy();
  }

  /** SIGTERM; the exit code. */
  async stop(): Promise<number | null> {
    this.state = "down";
    return await this.#process!.stop();
  }

  pause(): void {
    this.#process!.kill("SIGSTOP");
    this.state = "paused";
  }

  resume(): void {
    this.#process!.kill("SIGCONT");
    this.state = "up";
  }

  /** The machine gets a new, empty disk. It must be down. */
  wipe(): void {
    fs.rmSync(this.store, { recursive: true, force: true });
  }

  /** Throws when the process ended though nobody here ended it; notes its memory. */
  check(): void {
    if (this.state === "down") return;
    if (!this.#process!.alive) throw new Error(`${this} ended by itself:\n${this.output()}`);
    this.residentMax = Math.max(this.residentMax, this.#process!.residentMemory());
  }

  /** The end of what it printed. */
  output(size = 4000): string {
    return this.#process?.output().slice(-size) ?? "";
  }

  /** Waits until its log ends at or beyond `offset`. */
  async waitForMax(offset: number, limitMs: number): Promise<void> {
    await until(`${this} to reach ${offset}`, limitMs, async () => {
      this.check();
      return (await this.maxOffset().catch(() => -1)) >= offset;
    });
  }
}
