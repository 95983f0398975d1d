// What this node is, and how it becomes something else at run time: slave to master and back, another master to follow.
// One change at a time, each step either done or refused with its reason; no byte of the log is touched by any of them. What
// a slave is told to set aside is HAClientDriver's to cut.

import { deferred } from "../base/async.ts";
import { errorMessage } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import type { BrokerRole } from "../config/schema.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { HAClientDriver, HAClientStatus } from "./ha_client_driver.ts";
import type { RoleFile } from "./role_file.ts";

/** A change that was asked for; see {@link RoleController.switchRole}. */
export interface RoleChange {
  readonly role: BrokerRole;
  readonly brokerId?: number;
  readonly masterAddress?: string;
  readonly force?: boolean;
  /**
   * For a planned promotion: where the log of the master ended that has stepped down for this node. Its having been heard
   * just now is no objection then; an end of this log elsewhere is.
   */
  readonly masterEnd?: number;
  /** For a slave: what it holds and its master does not goes aside, as under `--resync`, until it follows once. */
  readonly resync?: boolean;
}

/** Done, or why not. */
export type RoleOutcome = { readonly type: "done" } | { readonly type: "refused"; readonly reason: string };

/** What a role change does to the rest of the node. */
export interface RoleParts {
  readonly clock: Clock;
  readonly logger: Logger;
  readonly file: RoleFile;
  readonly client: HAClientDriver;
  /** The store's side: queue offsets rebuilt and writable, or puts refused. */
  readonly setStoreRole: (role: "master" | "slave") => Promise<void>;
  /** What only a master does besides (delay levels, transactions, timers): started, or stopped once it resolves. */
  readonly setServices: (isMaster: boolean) => Promise<void>;
  /** Replication's side: which puts wait for what. */
  readonly setReplicationRole: (role: BrokerRole) => void;
  /** Whether an HA `host:port` is this node's own: who follows itself agrees with everything and gets nothing. */
  readonly isOwnAddress: (haAddress: string) => boolean;
  /** Whether there is a NameServer that a slave without an address learns its master from. */
  readonly hasNamesrv: () => boolean;
  /** Why puts are held off on a master; null when they are not. */
  readonly fencedReason: () => string | null;
  /** Puts are taken again after a change, whatever held them off. */
  readonly unfence: () => void;
  /** Slaves copy their master's tables, masters do not. */
  readonly onChanged: () => void;
}

/** A master heard within so long, ms, is alive: promoting beside it would make two. */
const MASTER_ALIVE_MS = 10_000;
const DONE: RoleOutcome = { type: "done" };

/** Changes since the start. */
export interface RoleCounters {
  switches: number;
  refusals: number;
  masterAddresses: number;
}

/** Apache changes the role of a default-HA broker by a restart only. */
export class RoleController {
  readonly counters: RoleCounters = { switches: 0, refusals: 0, masterAddresses: 0 };
  readonly #parts: RoleParts;
  #role: BrokerRole;
  #brokerId: number;
  #masterAddress: string | null;
  #promotedAt: number;
  #promoting = false;
  /** An address given by an operator stays, whatever a NameServer says. */
  #addressIsGiven: boolean;
  /** Whether the log's end was seen to be its master's, and nothing since says otherwise. */
  #endVerified = false;
  #changing: Promise<unknown> = Promise.resolve();
  /** Resolves when the node stops. */
  readonly #stopping = deferred<"stopping">();
  #isStopping = false;

  constructor(
    parts: RoleParts,
    initial: { role: BrokerRole; brokerId: number; masterAddress: string | null; promotedAt?: number },
  ) {
    this.#parts = parts;
    this.#role = initial.role;
    this.#brokerId = initial.brokerId;
    this.#masterAddress = initial.masterAddress;
    this.#promotedAt = initial.promotedAt ?? 0;
    this.#addressIsGiven = initial.masterAddress !== null;
    parts.client.onStateChange((status) => this.#onClientState(status));
  }

  get role(): BrokerRole {
    return this.#role;
  }

  /** 0 for a master. */
  get brokerId(): number {
    return this.#brokerId;
  }

  /** HA address a slave follows; a master keeps the one it would follow. */
  get masterAddress(): string | null {
    return this.#masterAddress;
  }

  /** Whether this slave is becoming a master right now, which may take as long as dispatch is behind. */
  get isPromoting(): boolean {
    return this.#promoting;
  }

  /** When this node was last promoted, Unix ms; 0: it never was, or it was said again what it is. */
  get promotedAt(): number {
    return this.#promotedAt;
  }

  /** Whether this is a slave that has no master and takes the one a NameServer names. */
  get awaitsMaster(): boolean {
    return this.#role === "SLAVE" && this.#masterAddress === null && !this.#addressIsGiven;
  }

  /** Puts the initial role in force. Replication and the store must be running. */
  async start(): Promise<void> {
    const { client, setStoreRole, setServices, setReplicationRole, onChanged } = this.#parts;
    setReplicationRole(this.#role);
    await setStoreRole(this.#role === "SLAVE" ? "slave" : "master");
    await setServices(this.#role !== "SLAVE");
    if (this.#role === "SLAVE") {
      const address = this.#masterAddress;
      if (address !== null && this.#parts.isOwnAddress(address)) {
        // What was given stays given: whom a NameServer names is not what was asked for.
        this.#masterAddress = null;
        this.#parts.logger.error(`Following nobody: ${ownAddressReason(address)} (--master, or verb master-address)`);
      }
      client.updateMasterAddress(this.#masterAddress);
      client.start();
    }
    onChanged();
  }

  /** Ends the slave's side, and a change in progress at its next step: a promotion may wait for dispatch for long. */
  async stop(): Promise<void> {
    this.#isStopping = true;
    this.#stopping.resolve("stopping");
    await this.#changing.catch(() => undefined);
    await this.#parts.client.stop();
  }

  /** Switches the role and saves it; resolves once the new role is in force. */
  switchRole(change: RoleChange): Promise<RoleOutcome> {
    return this.#oneAtATime(() => change.role === "SLAVE" ? this.#toSlave(change) : this.#toMaster(change));
  }

  /** Follows another master, or none, and saves it. Refused on a master. */
  updateMasterAddress(address: string | null): Promise<RoleOutcome> {
    return this.#oneAtATime(async () => {
      if (this.#role !== "SLAVE") return refused(`Role is ${this.#role}, only a SLAVE follows a master`);
      if (address !== null && this.#parts.isOwnAddress(address)) return refused(ownAddressReason(address));
      this.#addressIsGiven = true;
      this.#parts.logger.info(address === null ? "Told to follow no master" : `Told to follow master ${address}`);
      this.#follow(address);
      this.#save();
      return DONE;
    });
  }

  /** A NameServer, or a peer by request 906, names the master. Not saved; an operator's own choice stays. */
  learnMasterAddress(address: string, source: string): void {
    if (this.#role !== "SLAVE" || this.#addressIsGiven || address === this.#masterAddress) return;
    // A NameServer goes on naming a master that was demoted until it hears of it.
    if (this.#parts.isOwnAddress(address)) return;
    this.#parts.logger.info("Learned the master's HA address", { masterAddress: address, source });
    this.#follow(address);
  }

  /** {@link learnMasterAddress} from a peer that speaks for an operator (906): it wins over what was given. */
  adoptMasterAddress(address: string): void {
    if (address === this.#masterAddress) return;
    this.#parts.logger.info("Told to follow another master", { masterAddress: address });
    this.#follow(address);
  }

  async #toMaster(change: RoleChange): Promise<RoleOutcome> {
    const { client, logger, setStoreRole, setReplicationRole } = this.#parts;
    if (change.masterAddress !== undefined) return refused("masterAddress is given, wanted for a SLAVE only");
    if (change.brokerId !== undefined && change.brokerId !== 0) {
      return refused(`brokerId is ${change.brokerId}, wanted 0 for a master`);
    }
    if (change.resync === true) return refused("resync is given, wanted for a SLAVE only");
    const before = this.#role;
    // It may have started beside another master with more in its log: no word about the role makes this one the better.
    const fenced = before === "SLAVE" || change.force === true ? null : this.#parts.fencedReason();
    if (fenced !== null) return refused(`${fenced}; give force to take puts all the same`);
    if (before === "SLAVE") {
      const objection = change.force === true ? null : this.#objectionToPromotion(change.masterEnd ?? null);
      if (objection !== null) return refused(objection);
      // Once this resolves nothing is appended by replication any more, so the log's end stands still.
      this.#promoting = true;
      try {
        await client.stop();
        const stopped = await Promise.race([setStoreRole("master"), this.#stopping.promise]);
        if (stopped === "stopping") return refused("The node stops, still a SLAVE");
      } catch (error) {
        client.start();
        return refused(`Promotion failed, still a SLAVE: ${errorMessage(error)}`);
      } finally {
        this.#promoting = false;
      }
      this.#promotedAt = Math.max(this.#promotedAt + 1, this.#parts.clock.now());
    }
    this.#role = change.role;
    this.#brokerId = 0;
    setReplicationRole(change.role);
    await this.#parts.setServices(true);
    this.#finish();
    if (before === change.role) logger.info(`Role is ${change.role} already`);
    else {
      logger.info(`Role switched from ${before} to ${change.role}`, {
        brokerId: 0,
        forced: change.force === true,
        planned: change.masterEnd !== undefined,
      });
    }
    return DONE;
  }

  async #toSlave(change: RoleChange): Promise<RoleOutcome> {
    const { client, logger, setStoreRole, setReplicationRole } = this.#parts;
    const before = this.#role;
    const brokerId = change.brokerId ?? (this.#brokerId > 0 ? this.#brokerId : 1);
    if (brokerId < 1) return refused(`brokerId is ${brokerId}, wanted 1 or more for a SLAVE`);
    if (change.masterEnd !== undefined) return refused("masterEnd is given, wanted for a promotion only");
    const address = change.masterAddress ?? this.#masterAddress;
    if (address === null && !this.#parts.hasNamesrv()) {
      return refused("A SLAVE needs masterAddress: none is given or configured, and no NameServer to learn it from");
    }
    if (address !== null && this.#parts.isOwnAddress(address)) return refused(ownAddressReason(address));
    // Which log gives way to which is not left to whom a NameServer comes to name.
    if (change.resync === true && change.masterAddress === undefined && (before !== "SLAVE" || address === null)) {
      return refused("resync needs masterAddress: whose log this one gives way to");
    }
    if (before !== "SLAVE") {
      await setStoreRole("slave");
      setReplicationRole("SLAVE");
      await this.#parts.setServices(false);
      this.#endVerified = false;
    }
    this.#role = "SLAVE";
    this.#brokerId = brokerId;
    // Without any address a NameServer names the master, also where an operator had said to follow nobody.
    this.#addressIsGiven = change.masterAddress !== undefined || this.#addressIsGiven && address !== null;
    this.#follow(address);
    if (before !== "SLAVE") client.start();
    // Last: both forget an order like this.
    if (change.resync === true) client.resync();
    this.#finish();
    logger.info(`Role switched from ${before} to SLAVE`, {
      brokerId,
      masterAddress: address,
      resync: change.resync === true,
    });
    return DONE;
  }

  #objectionToPromotion(masterEnd: number | null): string | null {
    const { client, clock } = this.#parts;
    const status = client.status;
    const silentMs = clock.now() - status.lastReadTimestamp;
    if (masterEnd !== null && status.maxOffset !== masterEnd) {
      return `The log ends at ${status.maxOffset}, wanted ${masterEnd}, where the master stepped down; ` +
        "let it catch up, or give force";
    }
    if (masterEnd === null && status.lastReadTimestamp > 0 && silentMs < MASTER_ALIVE_MS) {
      return `Master ${status.masterAddress} was heard ${silentMs} ms ago, wanted ${MASTER_ALIVE_MS} ms of silence; ` +
        "stop it first, use switchover, or give force";
    }
    if (!this.#endVerified && status.maxOffset > 0) {
      const why = status.reason === "" ? `state is ${status.state}` : status.reason;
      return `The log's end at ${status.maxOffset} is unverified (${why}); give force to promote it as it is`;
    }
    return null;
  }

  #onClientState(status: HAClientStatus): void {
    if (status.state === "following") this.#endVerified = true;
    if (status.state === "diverged" || status.state === "hole" || status.state === "unverified") {
      this.#endVerified = false;
    }
  }

  #follow(address: string | null): void {
    if (address !== this.#masterAddress) this.counters.masterAddresses++;
    this.#masterAddress = address;
    this.#parts.client.updateMasterAddress(address);
    this.#parts.onChanged();
  }

  #finish(): void {
    this.counters.switches++;
    this.#parts.unfence();
    this.#save();
    this.#parts.onChanged();
  }

  /** The change is in force already; a disk that refuses the note is worth an error line, not a half-done switch. */
  #save(): void {
    try {
      // One that was learned is learned again: saved, it would pass for given and outlive every change.
      const masterAddress = this.#role === "SLAVE" && this.#addressIsGiven ? this.#masterAddress : null;
      const promotedAt = this.#promotedAt;
      this.#parts.file.save({ brokerRole: this.#role, brokerId: this.#brokerId, masterAddress, promotedAt });
    } catch (error) {
      this.#parts.logger.error(
        `Can't save the role in "${this.#parts.file.path}": ${errorMessage(error)}; a restart will go by the flags`,
      );
    }
  }

  /** Who asked is told; whoever reads the log output shall know as well. */
  #say(outcome: RoleOutcome): RoleOutcome {
    if (outcome.type === "refused") {
      this.counters.refusals++;
      this.#parts.logger.warn(`Role change refused: ${outcome.reason}`);
    }
    return outcome;
  }

  #oneAtATime(change: () => Promise<RoleOutcome>): Promise<RoleOutcome> {
    const next = this.#changing.catch(() => undefined).then(() =>
      this.#isStopping ? refused(`The node stops, still a ${this.#role}`) : change()
    ).then((outcome) => this.#say(outcome));
    this.#changing = next;
    return next;
  }
}

function ownAddressReason(address: string): string {
  return `masterAddress ${address} is this node's own HA address, wanted another node's`;
}

function refused(reason: string): RoleOutcome {
  return { type: "refused", reason };
}
