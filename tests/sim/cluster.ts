// The world of a simulation: real broker nodes on simulated machines, one seed. It starts, kills and crashes them, moves
// time, and remembers what a failure report needs. It knows no workload, draws no faults and judges nothing: faults.ts,
// workload.ts and checkers.ts do, and hear of every step through `onStep`.

import { type BrokerNode, startBroker } from "../../src/broker/broker_controller.ts";
import type { NodeStatus } from "../../src/admin/admin_port.ts";
import type { LogFields, Logger, LogLevel } from "../../src/base/logger.ts";
import { createConfig } from "../../src/config/load.ts";
import type { Config } from "../../src/config/schema.ts";
import {
  type CrashMode,
  type SimulatedHost,
  SimulatedWorld,
  type WorldOptions,
} from "../../src/runtime/simulated/mod.ts";

const HA_PORT = 10912;
const LINES_MAX = 2_000;

/** Settings of every node: small files and short intervals, so that seconds of world time hold what hours do outside. */
export const QUICK: Partial<Config> = {
  adminAddress: null,
  listenPort: 10911,
  storePathRootDir: "/store",
  haSendHeartbeatInterval: 500,
  haHousekeepingInterval: 2_000,
  slaveTimeout: 1_000,
  slaveSyncIntervalMs: 3_000,
  mappedFileSizeCommitLog: 16 * 1024,
  mappedFileSizeConsumeQueue: 400,
  flushIntervalConsumeQueue: 200,
  flushConsumeQueueThoroughInterval: 1_000,
  flushCommitLogThoroughInterval: 1_000,
  maxHashSlotNum: 50,
  maxIndexNum: 600,
  deleteCommitLogFilesInterval: 0,
  deleteConsumeQueueFilesInterval: 0,
};

/** How a program came to its end. */
export type Death = "stop" | "kill" | "crash" | "fatal" | "failedStart";

/** What hears of a cluster's turns. Called synchronously, inside the event. */
export interface ClusterListener {
  /** The node's store is recovered and its ports are bound. */
  onUp?(node: SimNode): void;
  /** Right before (kill, crash) or after (stop) the program ends; `status` is its last, null when it never came up. */
  onDown?(node: SimNode, how: Death, status: NodeStatus | null): void;
  /** After every event of the world. */
  onStep?(): void;
}

/** One machine and the node on it, over any number of lives. */
export class SimNode {
  readonly name: string;
  readonly host: SimulatedHost;
  /** Changes to {@link QUICK}; a change counts from the next start on. */
  options: Partial<Config>;
  /** The running node; null while it is down or starting. */
  broker: BrokerNode | null = null;
  /** Counts starts. */
  life = 0;
  /** What ended the last life, when that was a fatal error or a failed start. */
  failure: unknown = null;
  readonly #cluster: SimCluster;
  #starting = false;
  #deathWaiters: (() => void)[] = [];

  constructor(cluster: SimCluster, name: string, options: Partial<Config>) {
    this.#cluster = cluster;
    this.name = name;
    this.host = cluster.world.host(name);
    this.options = options;
  }

  get isUp(): boolean {
    return this.broker !== null;
  }

  get isDown(): boolean {
    return this.broker === null && !this.#starting;
  }

  /** HA address others follow. */
  get haAddress(): string {
    return `${this.host.address}:${HA_PORT}`;
  }

  get fileSize(): number {
    return this.options.mappedFileSizeCommitLog ?? QUICK.mappedFileSizeCommitLog!;
  }

  /** The running node's figures. */
  status(): NodeStatus {
    return this.broker!.admin.status();
  }

  /** Starts a program; resolves once it is up, has failed to start, or was ended meanwhile. */
  async start(): Promise<void> {
    if (!this.isDown) return;
    const { world } = this.#cluster;
    if (!this.host.isRunning) this.host.restart();
    this.#starting = true;
    this.failure = null;
    const life = ++this.life;
    const { runtime } = this.host;
    const { config } = createConfig({ ...QUICK, brokerName: "sim", ...this.options }, runtime.process);
    world.note(`start ${this.name}`, life);
    const starting = startBroker({
      config,
      runtime,
      logger: this.#cluster.loggerOf(this.name),
      onFatal: (error) => this.#onFatal(life, error),
    });
    const outcome = await Promise.race([
      starting.then((broker) => ({ broker }), (error: unknown) => ({ error })),
      this.#death(),
    ]);
    if (outcome === null || life !== this.life || !this.#starting) return;
    if ("error" in outcome) {
      this.failure = outcome.error;
      this.#end("failedStart", () => this.host.kill());
      return;
    }
    this.#starting = false;
    this.broker = outcome.broker;
    world.note(`up ${this.name}`, this.status().maxOffset);
    for (const listener of this.#cluster.listeners) listener.onUp?.(this);
  }

  /** Stops in order, then ends the program. */
  async stop(): Promise<void> {
    const { broker } = this;
    if (broker === null) return;
    const life = this.life;
    await Promise.race([broker.stop(), this.#death()]);
    if (life !== this.life || this.broker === null) return;
    this.#end("stop", () => this.host.kill());
  }

  /** SIGKILL. */
  kill(): void {
    if (!this.isDown) this.#end("kill", () => this.host.kill());
  }

  /** Loss of power, which takes what was not synced. */
  crash(mode?: CrashMode): void {
    if (!this.isDown) this.#end("crash", () => this.host.crash(mode));
    else if (this.host.isRunning) this.host.crash(mode);
    else {
      this.host.restart();
      this.host.crash(mode);
    }
  }

  /** What the running node answers; null when it ends first. */
  async ask<T>(question: (broker: BrokerNode) => Promise<T>): Promise<T | null> {
    if (this.broker === null) return null;
    return await Promise.race([question(this.broker), this.#death()]);
  }

  /** Bytes `[from, to)` of the log as they are in the files now; shorter where a file is missing. */
  logBytes(from: number, to: number): Uint8Array {
    const { disk } = this.host;
    const parts: Uint8Array[] = [];
    for (let at = from; at < to;) {
      const fileStart = at - at % this.fileSize;
      const path = `/store/commitlog/${String(fileStart).padStart(20, "0")}`;
      if (disk.find(path) === null) break;
      const part = disk.peek(path, at - fileStart, Math.min(to, fileStart + this.fileSize) - at);
      if (part.length === 0) break;
      parts.push(part);
      at += part.length;
    }
    return Buffer.concat(parts);
  }

  #onFatal(life: number, error: unknown): void {
    if (life !== this.life || this.isDown) return;
    this.failure = error;
    this.#end("fatal", () => this.host.kill());
  }

  #end(how: Death, end: () => void): void {
    const status = this.broker === null || how === "stop" ? null : this.status();
    const { listeners, world } = this.#cluster;
    world.note(`${how} ${this.name}`, status?.maxOffset ?? -1);
    this.#cluster.log(this.name, "info", `== ${how}`);
    end();
    this.broker = null;
    this.#starting = false;
    for (const resolve of this.#deathWaiters.splice(0)) resolve();
    for (const listener of listeners) listener.onDown?.(this, how, status);
  }

  #death(): Promise<null> {
    return new Promise((resolve) => this.#deathWaiters.push(() => resolve(null)));
  }
}

/** Nodes, the network between them and their time. */
export class SimCluster {
  readonly world: SimulatedWorld;
  readonly nodes: SimNode[] = [];
  readonly listeners: ClusterListener[] = [];
  /** Log lines of all nodes, the newest last. */
  readonly lines: string[] = [];
  #violation: Error | null = null;

  constructor(seed: number, options: WorldOptions = {}) {
    this.world = new SimulatedWorld(seed, options);
  }

  /** Adds a machine; its node is started by {@link SimNode.start}. */
  add(name: string, options: Partial<Config> = {}): SimNode {
    const node = new SimNode(this, name, options);
    this.nodes.push(node);
    return node;
  }

  /** The node whose machine has this address (`ip:port` of any of its sockets, or of its HA port). */
  nodeAt(address: string): SimNode | null {
    const ip = address.slice(0, address.lastIndexOf(":"));
    return this.nodes.find((node) => node.host.address === ip) ?? null;
  }

  /** Makes the next step fail with this: for what is noticed where throwing would be swallowed. */
  report(violation: string): void {
    this.#violation ??= new Error(violation);
  }

  /** Releases events until `until` holds. Throws when that takes longer than `deadlineMs`, or an invariant is broken. */
  async run(until: () => boolean, deadlineMs: number): Promise<void> {
    await this.world.run(() => {
      this.#step();
      return until();
    }, deadlineMs);
  }

  /** Lets time pass. */
  async advance(durationMs: number): Promise<void> {
    let isOver = false;
    this.world.after(durationMs, () => {
      isOver = true;
    });
    await this.run(() => isOver, durationMs + 1);
  }

  /** Runs until the work is done. */
  async drive<T>(work: Promise<T>, deadlineMs = 60_000): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    work.then(settled, settled);
    await this.run(() => isSettled, deadlineMs);
    return await work;
  }

  /** Stops every node that runs and ends all programs. */
  async stopAll(): Promise<void> {
    for (const node of this.nodes) node.host.resume();
    await this.drive(Promise.all(this.nodes.map((node) => node.stop())));
  }

  loggerOf(name: string): Logger {
    const level = (level: LogLevel) => (message: string, fields: LogFields = {}) => {
      const rest = Object.entries(fields).map(([key, value]) => ` ${key}=${value}`).join("");
      this.log(name, level, message + rest);
    };
    return { debug: () => {}, info: level("info"), warn: level("warn"), error: level("error") };
  }

  log(name: string, level: LogLevel, text: string): void {
    if (this.lines.length >= LINES_MAX) this.lines.splice(0, LINES_MAX / 2);
    this.lines.push(`${this.world.nowMs} ${name} ${level.toUpperCase()} ${text}`);
  }

  #step(): void {
    for (const listener of this.listeners) listener.onStep?.();
    if (this.#violation !== null) throw this.#violation;
  }
}
