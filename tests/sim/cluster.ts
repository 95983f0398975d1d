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
  type DiskImage,
  type SimulatedHost,
  SimulatedWorld,
  type WorldOptions,
} from "../../src/runtime/simulated/mod.ts";
import { type InvariantName, Violation } from "./invariants.ts";

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
  // At every hour, so that no time zone matters: age alone decides.
  deleteWhen: Array.from({ length: 24 }, (_, hour) => String(hour).padStart(2, "0")).join(";"),
};

/** How a program came to its end. */
export type Death = "stop" | "kill" | "crash" | "fatal" | "failedStart";

/** What hears of a cluster's turns. Called synchronously, inside the event. */
export interface ClusterListener {
  /** The node's store is recovered and its ports are bound. */
  onUp?(node: SimNode): void;
  /** Right before (kill, crash) or after (stop) the program ends; `status` is its last, null when it never came up. */
  onDown?(node: SimNode, how: Death, status: NodeStatus | null): void;
  /** The node has stopped in order; its program is still there. */
  onStopped?(node: SimNode): void;
  /** The node, which is down, got another disk: an empty one, or an older copy of its own. */
  onReplaced?(node: SimNode): void;
  /** `node` is about to be the master instead of `from`; `candidates` (with it) could have been, too. */
  onElected?(node: SimNode, from: SimNode, candidates: readonly SimNode[]): void;
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
  /** Its disk flipped a bit or misplaced a write: nothing of its log is believed until the disk is replaced. */
  isDamaged = false;
  /** It was seen to follow the present master, and not to differ from it since: fit to be promoted. */
  isTrusted = false;
  /** World time, ms, that its machine stood still while a step of the world looked. Kept by the checker. */
  pausedMs = 0;
  /** Operations of its disk that had failed when its present program was started. */
  diskErrorsAtStart = 0;
  /** Runs over the store after a death, before the program starts again; see rest_checks.ts. */
  rehearsal: ((node: SimNode) => Promise<void>) | null = null;
  /** Questions under way, see {@link ask}. */
  askCount = 0;
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

  /** World time without that its machine stood still, ms. */
  get awakeMs(): number {
    return this.#cluster.world.nowMs - this.pausedMs;
  }

  get fileSize(): number {
    return this.setting("mappedFileSizeCommitLog");
  }

  /** A setting that {@link QUICK} has, as it is on this node. */
  setting<K extends keyof typeof QUICK>(key: K): Config[K] {
    return this.options[key] ?? QUICK[key]!;
  }

  /** The effective configuration of the next start. A program must be there. */
  config(): Config {
    const { process } = this.host.runtime;
    return createConfig(
      { ...QUICK, namesrvEnable: false, namesrvAddr: null, brokerName: "sim", ...this.options },
      process,
    ).config;
  }

  /** The running node's figures. */
  status(): NodeStatus {
    return this.broker!.admin.status();
  }

  /** Starts a program; resolves once it is up, has failed to start, or was ended meanwhile. */
  async start(): Promise<void> {
    if (!this.isDown) return;
    const { world } = this.#cluster;
    this.#starting = true;
    this.failure = null;
    this.diskErrorsAtStart = this.diskErrors;
    const life = ++this.life;
    if (this.rehearsal !== null && !(await this.#rehearse(life))) return;
    if (!this.host.isRunning) this.host.restart();
    const { runtime } = this.host;
    const config = this.config();
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
      this.#end("failedStart", () => this.#killHost());
      return;
    }
    this.#starting = false;
    this.broker = outcome.broker;
    world.note(`up ${this.name}`, this.status().maxOffset);
    for (const listener of this.#cluster.listeners) listener.onUp?.(this);
  }

  /** False when the node died meanwhile. */
  async #rehearse(life: number): Promise<boolean> {
    const rehearsal = this.rehearsal!;
    this.rehearsal = null;
    await Promise.race([rehearsal(this), this.#death()]);
    return life === this.life && this.#starting;
  }

  /** Operations of its disk that have failed so far. */
  get diskErrors(): number {
    const { readErrors, writeErrors, syncErrors, noSpace } = this.host.disk.counters;
    return readErrors + writeErrors + syncErrors + noSpace;
  }

  /** Gives the node, which is down, an empty disk or one with this content. */
  replaceDisk(image: DiskImage | null): void {
    if (this.host.isRunning) this.host.kill();
    this.host.disk.replace(image);
    this.isDamaged = this.isTrusted = false;
    this.#cluster.world.note(`replace ${this.name}`, image === null ? 0 : 1);
    this.#cluster.log(this.name, "info", `== disk replaced by ${image === null ? "an empty one" : "an old copy"}`);
    for (const listener of this.#cluster.listeners) listener.onReplaced?.(this);
  }

  /** Stops in order, then ends the program. */
  async stop(): Promise<void> {
    const { broker } = this;
    if (broker === null) return;
    const life = this.life;
    await Promise.race([broker.stop(), this.#death()]);
    if (life !== this.life || this.broker === null) return;
    for (const listener of this.#cluster.listeners) listener.onStopped?.(this);
    this.#end("stop", () => this.host.kill());
  }

  /** SIGKILL. */
  kill(): void {
    if (!this.isDown) this.#end("kill", () => this.#killHost());
  }

  /** Loss of power, which takes what was not synced. */
  crash(mode?: CrashMode): void {
    if (this.isDown) this.#crashHost(mode);
    else this.#end("crash", () => this.#crashHost(mode));
  }

  #killHost(): void {
    if (this.host.isRunning) this.host.kill();
  }

  #crashHost(mode?: CrashMode): void {
    if (!this.host.isRunning) this.host.restart();
    this.host.crash(mode);
  }

  /** What the running node answers; null when it ends first. */
  async ask<T>(question: (broker: BrokerNode) => Promise<T>): Promise<T | null> {
    if (this.broker === null) return null;
    this.askCount++;
    try {
      return await Promise.race([question(this.broker), this.#death()]);
    } finally {
      this.askCount--;
    }
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
    this.#end("fatal", () => this.#killHost());
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
  /** A machine that is no node: where raw connections come from. */
  readonly client: SimulatedHost;
  #violation: Violation | null = null;

  constructor(seed: number, options: WorldOptions = {}) {
    this.world = new SimulatedWorld(seed, options);
    this.client = this.world.host("client");
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
  report(invariant: InvariantName, detail: string): void {
    this.#violation ??= new Violation(invariant, detail);
  }

  /** Releases events until `until` holds. Throws when that takes longer than `deadlineMs`, or an invariant is broken. */
  async run(until: () => boolean, deadlineMs: number): Promise<void> {
    try {
      await this.world.run(() => {
        this.#step();
        return until();
      }, deadlineMs);
    } catch (error) {
      const isLate = error instanceof Error && /Not reached within|Nothing is left|come to rest/.test(error.message);
      throw isLate && !(error instanceof Violation) ? new Violation("converges", error.message) : error;
    }
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
