// What the regressions share: machines of a simulated world with real stores on them, and the two places where an old
// model can stand instead of ours: the master's side of replication and the slave's. Puts go through the real
// PutMessageService in both.

import assert from "node:assert/strict";
import type { Logger } from "../../src/base/logger.ts";
import { HAClientDriver } from "../../src/broker/ha_client_driver.ts";
import { HAMasterDriver } from "../../src/broker/ha_master_driver.ts";
import { PutMessageService, type PutReplication, type PutStore } from "../../src/broker/put_message_service.ts";
import type { ReplicaLog } from "../../src/ha/replica_log.ts";
import { HAService, type HAServiceOptions, type ReplicationStatus } from "../../src/ha/ha_service.ts";
import type { Clock, Net, NetAddress, Random } from "../../src/runtime/runtime.ts";
import { type SimulatedHost, SimulatedWorld, type WorldOptions } from "../../src/runtime/simulated/mod.ts";
import { MessageStore, type MessageStoreOptions } from "../../src/store/message_store.ts";
import type { MessageToPut } from "../../src/store/types.ts";
import { haOptions, MemoryLogger } from "../support/ha_options.ts";
import { message, SMALL } from "../support/store_kit.ts";

/** Where every master of a scene listens. */
export const HA_PORT = 10912;

/** What a master's side is made of. */
export interface MasterParts {
  readonly net: Net;
  readonly clock: Clock;
  readonly log: ReplicaLog;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

/** The master's side of replication, ours or an old one. */
export interface MasterSide extends PutReplication {
  start(bind: { hostname: string; port: number }): Promise<NetAddress>;
  stop(): Promise<void>;
  /** Lag of the fastest slave, bytes; null when it says that it has none. */
  slaveFallBehindMuch(): number | null;
  /** Whether it names a reason why a slave is not served. */
  explains(): boolean;
}

/** What a slave's side is made of. */
export interface SlaveParts {
  readonly net: Net;
  readonly clock: Clock;
  readonly random: Random;
  /** `host:port`. */
  readonly masterAddress: string;
  readonly logger: Logger;
  readonly onFatal: (error: unknown) => void;
}

/** The slave's side of replication, ours or an old one. */
export interface SlaveSide {
  readonly maxOffset: number;
  /** Connections made so far. */
  readonly connects: number;
  /** Why it does not follow; empty when it gives none. */
  readonly reason: string;
  start(): void;
  stop(): Promise<void>;
}

/** Our master: the real HAService and its driver, a SYNC_MASTER. */
export class OurMaster implements MasterSide {
  readonly service: HAService;
  readonly #driver: HAMasterDriver;

  constructor(parts: MasterParts, options: Partial<HAServiceOptions> = {}) {
    const { log, logger } = parts;
    this.service = new HAService({ log, logger, role: "SYNC_MASTER", options: haOptions(options) });
    this.#driver = new HAMasterDriver({ ...parts, service: this.service });
  }

  start(bind: { hostname: string; port: number }): Promise<NetAddress> {
    return this.#driver.start(bind);
  }

  stop(): Promise<void> {
    return this.#driver.stop();
  }

  beforePut(waitStoreMsgOK: boolean): "IN_SYNC_REPLICAS_NOT_ENOUGH" | null {
    return this.service.beforePut(waitStoreMsgOK);
  }

  handleHA(nextOffset: number, waitStoreMsgOK: boolean): ReplicationStatus | Promise<ReplicationStatus> {
    return this.#driver.handleHA(nextOffset, waitStoreMsgOK);
  }

  slaveFallBehindMuch(): number | null {
    return this.service.slaveFallBehindMuch();
  }

  explains(): boolean {
    return this.service.connectionInfos(0).some(({ reason }) => reason !== null);
  }
}

/** Our slave: the real driver over a real store. */
export class OurSlave implements SlaveSide {
  readonly store: MessageStore;
  readonly driver: HAClientDriver;
  readonly #address: string;

  /** `masterLog` is what the master's remoting port would tell its range from. */
  constructor(parts: SlaveParts, store: MessageStore, masterLog: () => ReplicaLog) {
    this.store = store;
    this.#address = parts.masterAddress;
    this.driver = new HAClientDriver({
      ...parts,
      log: store,
      askMaster: () => {
        const { minOffset, maxOffset } = masterLog();
        return Promise.resolve({ minOffset, maxOffset });
      },
    }, {
      haSendHeartbeatInterval: 5000,
      haHousekeepingInterval: 20_000,
      haAckAfterFlush: false,
      haStartOffset: null,
      resync: false,
      haBusyPollMicros: 0,
    });
  }

  get maxOffset(): number {
    return this.store.maxOffset;
  }

  get connects(): number {
    return this.driver.status.counters.connects;
  }

  get reason(): string {
    return this.driver.status.reason;
  }

  start(): void {
    this.driver.updateMasterAddress(this.#address);
    this.driver.start();
  }

  stop(): Promise<void> {
    return this.driver.stop();
  }
}

/** A simulated world with stores on its machines; everything is stopped by {@link Scene.end}. */
export class Scene {
  readonly world: SimulatedWorld;
  readonly logger = new MemoryLogger();
  readonly #fatal: unknown[] = [];
  readonly #stops: (() => Promise<void>)[] = [];
  readonly onFatal = (error: unknown): void => void this.#fatal.push(error);

  constructor(seed: number, options: WorldOptions = {}) {
    this.world = new SimulatedWorld(seed, options);
  }

  host(name: string): SimulatedHost {
    return this.world.host(name);
  }

  /** Opens and starts a store on a machine; a machine that was killed is started again. */
  async store(
    name: string,
    role: "master" | "slave",
    options: Partial<MessageStoreOptions> = {},
    parts: Partial<Pick<SimulatedHost["runtime"], "fs">> & { onFatal?: (error: unknown) => void } = {},
  ): Promise<MessageStore> {
    const host = this.host(name);
    if (!host.isRunning) host.restart();
    const { fs, clock, process } = host.runtime;
    const store = await this.world.drive(MessageStore.open(
      { ...SMALL, storePathRootDir: "/store", ...options },
      { fs, clock, process, logger: this.logger, onFatal: this.onFatal, ...parts },
    ));
    store.start();
    await this.world.drive(store.setRole(role));
    this.#stops.push(() => host.isRunning && host.runtime.fs === fs || parts.fs ? store.shutdown() : Promise.resolve());
    return store;
  }

  masterParts(name: string, log: ReplicaLog): MasterParts {
    const { net, clock } = this.host(name).runtime;
    return { net, clock, log, logger: this.logger, onFatal: this.onFatal };
  }

  slaveParts(name: string, masterName: string): SlaveParts {
    const { net, clock, random } = this.host(name).runtime;
    const masterAddress = `${this.host(masterName).address}:${HA_PORT}`;
    return { net, clock, random, masterAddress, logger: this.logger, onFatal: this.onFatal };
  }

  /** Binds a master's side on its machine and the put path over it. */
  async serve(
    master: MasterSide,
    store: PutStore,
    flushDiskType: "ASYNC_FLUSH" | "SYNC_FLUSH" = "ASYNC_FLUSH",
  ): Promise<Puts> {
    await this.world.drive(master.start({ hostname: "0.0.0.0", port: HA_PORT }));
    this.#stops.push(() => master.stop());
    const options = { flushDiskType, syncFlushTimeout: 5000 };
    return new Puts(this.world, new PutMessageService({ store, replication: master, options, logger: this.logger }));
  }

  /** Starts a slave and waits until it has what the master has. */
  async follow(slave: SlaveSide, log: ReplicaLog): Promise<void> {
    this.start(slave);
    await this.world.run(() => slave.maxOffset === log.maxOffset, 60_000);
  }

  start(slave: SlaveSide): void {
    slave.start();
    this.#stops.push(() => slave.stop());
  }

  /** Stops everything, last first. */
  async end(): Promise<void> {
    this.world.network.heal();
    for (const stop of this.#stops.reverse()) await this.world.drive(stop());
    assert.deepEqual(this.#fatal, []);
  }
}

/** What a put was told, and when, ms of world time after it was made. */
export interface PutTold {
  readonly status: string;
  readonly afterMs: number;
  /** End of its record. */
  readonly end: number;
}

/** Puts on a scene's master. */
export class Puts {
  readonly service: PutMessageService;
  readonly #world: SimulatedWorld;
  #count = 0;

  constructor(world: SimulatedWorld, service: PutMessageService) {
    this.#world = world;
    this.service = service;
  }

  /** Makes a put of a body of `size` bytes; the world has to be driven. */
  async begin(size: number, over: Partial<MessageToPut> = {}): Promise<PutTold> {
    const startedAt = this.#world.nowMs;
    const body = new Uint8Array(size).fill(++this.#count & 0xff);
    const { status, append } = await this.service.putMessage(message(`m${this.#count}`, { body, ...over }));
    const end = append === null ? -1 : append.wroteOffset + append.wroteBytes;
    return { status, afterMs: this.#world.nowMs - startedAt, end };
  }

  /** Makes one and waits for its answer. */
  one(size: number, over: Partial<MessageToPut> = {}): Promise<PutTold> {
    return this.#world.drive(this.begin(size, over));
  }

  /** Puts that wait for nobody. */
  async fill(count: number, size: number): Promise<void> {
    for (let i = 0; i < count; i++) await this.one(size, { properties: new Map([["WAIT", "false"]]) });
  }
}
