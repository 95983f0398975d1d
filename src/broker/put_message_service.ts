// A put from its first check to its answer: may it be written, write it, then wait for what was promised (this disk, other
// replicas). The store knows nothing of replicas and replication nothing of messages; this file is where they meet.

import type { Logger } from "../base/logger.ts";
import type { ReplicationStatus } from "../ha/ha_service.ts";
import { type AppendMessageResult, type BatchToPut, type MessageToPut, PutMessageStatus } from "../store/types.ts";

/** The keys it reads, live. */
export interface PutMessageOptions {
  readonly flushDiskType: "ASYNC_FLUSH" | "SYNC_FLUSH";
  /** How long a SYNC_FLUSH put waits for the disk, ms. */
  readonly syncFlushTimeout: number;
}

/** What it needs of the store. */
export interface PutStore {
  /** Results in their order; one that is refused does not concern the others. */
  appendMessages(given: readonly (MessageToPut | BatchToPut)[]): AppendMessageResult[];
  /** False when `offset` was not on the disk in time. */
  waitStored(offset: number, timeoutMs: number): Promise<boolean>;
}

/** What it needs of replication. */
export interface PutReplication {
  /** Why nothing may be written, or null. */
  beforePut(waitStoreMsgOK: boolean): "IN_SYNC_REPLICAS_NOT_ENOUGH" | null;
  handleHA(nextOffset: number, waitStoreMsgOK: boolean): ReplicationStatus | Promise<ReplicationStatus>;
}

type Appended = AppendMessageResult & { readonly status: "PUT_OK" };

/** Mirrors Apache's `PutMessageResult`. `append` says where the message is, also under a status that is not PUT_OK. */
export interface PutMessageResult {
  readonly status: PutMessageStatus;
  readonly append: Appended | null;
  /** What to know about a status other than PUT_OK; empty otherwise. */
  readonly remark: string;
  /** The message as the hooks left it; absent when nothing was written. */
  readonly message?: MessageToPut;
}

/**
 * Looks at each message before it is put: gives it back, changed or not, or says why it is refused. Pure. Mirrors the
 * `PutMessageHook`s of Apache's `DefaultMessageStore`.
 */
export type PutMessageHook = (message: MessageToPut) => MessageToPut | PutRefusal;

/** Why a hook refuses a message. */
export interface PutRefusal {
  readonly status: PutMessageStatus;
  readonly remark: string;
}

/** How a message is put. */
export interface PutOptions {
  /**
   * The hooks don't see it: a message that is delivered keeps properties (a delay, a time) that mean nothing any more, and
   * one of an open transaction keeps those that will.
   */
  readonly skipHooks?: boolean;
  /** Neither disk nor replicas are waited for, whatever its WAIT property says: that one is stored as it is. */
  readonly noWait?: boolean;
}

/** Puts since the start. */
export interface PutCounters {
  messages: number;
  bytes: number;
  /** By status other than PUT_OK. */
  readonly failures: Map<PutMessageStatus, number>;
}

interface WaitingPut {
  readonly given: MessageToPut | BatchToPut;
  /** Itself, or what the batch's messages share. */
  readonly message: MessageToPut;
  readonly noWait: boolean;
  resolve(result: PutMessageResult | Promise<PutMessageResult>): void;
  reject(error: unknown): void;
}

/** Apache's isWaitStoreMsgOK: absent means wait. */
function waitsForStore(message: MessageToPut, noWait: boolean): boolean {
  if (noWait) return false;
  const wait = message.properties.get("WAIT");
  return wait === undefined || wait === "true" || wait.toLowerCase() === "true";
}

const REMARKS: Partial<Record<PutMessageStatus, string>> = {
  FLUSH_DISK_TIMEOUT: "The message is stored, but was not on the disk within syncFlushTimeout",
  FLUSH_SLAVE_TIMEOUT: "The message is stored here, but too few slaves acknowledged it within slaveTimeout",
  SLAVE_NOT_AVAILABLE: "The message is stored here, but fewer than inSyncReplicas - 1 slaves are in sync",
  IN_SYNC_REPLICAS_NOT_ENOUGH: "Nothing was written, fewer than minInSyncReplicas replicas are in sync",
};

/** Mirrors the put path of Apache's `DefaultMessageStore` and `CommitLog.handleDiskFlushAndHA`. */
export class PutMessageService {
  readonly counters: PutCounters = { messages: 0, bytes: 0, failures: new Map() };
  readonly #store: PutStore;
  readonly #replication: PutReplication;
  readonly #options: PutMessageOptions;
  readonly #logger: Logger;
  readonly #hooks: readonly PutMessageHook[];
  #fencedReason: string | null = null;
  /** Put in this turn, in order. */
  #waiting: WaitingPut[] = [];

  constructor(parts: {
    store: PutStore;
    replication: PutReplication;
    options: PutMessageOptions;
    logger: Logger;
    hooks?: readonly PutMessageHook[];
  }) {
    this.#store = parts.store;
    this.#replication = parts.replication;
    this.#options = parts.options;
    this.#logger = parts.logger;
    this.#hooks = parts.hooks ?? [];
  }

  /** Why puts are held off (Apache's "fenced" running flag); null when they are not. */
  get fencedReason(): string | null {
    return this.#fencedReason;
  }

  /** From the moment this returns with true, nothing is put any more. */
  setFenced(fenced: boolean, reason = "Puts are held off, by a switchover or PUT /fenced"): void {
    const next = fenced ? reason : null;
    if (next !== this.#fencedReason) {
      if (next === null) this.#logger.info("Puts are taken again");
      else this.#logger.warn(next);
    }
    this.#fencedReason = next;
  }

  /** Ends {@link setFenced} with a change of the role, which says itself whether puts are taken now. */
  liftFence(): void {
    this.#fencedReason = null;
  }

  /**
   * Puts a message and waits for what was promised. What is put in one turn of the event loop, out of one read of a
   * connection mostly, is written to the log at its end, together and in order. Expected outcomes are statuses; it
   * rejects for bugs only.
   */
  putMessage(message: MessageToPut, options: PutOptions = {}): PutMessageResult | Promise<PutMessageResult> {
    let checked: MessageToPut | PutRefusal = message;
    if (options.skipHooks !== true) {
      for (const hook of this.#hooks) {
        checked = hook(checked);
        if ("status" in checked) return this.#failed(checked.status, checked.remark);
      }
    }
    const put = checked as MessageToPut;
    return this.#atEndOfTurn(put, put, options.noWait === true);
  }

  /**
   * Puts a client's batch, all of it or nothing. Delayed and transactional batches are refused. As {@link putMessage}
   * else, but the hooks don't see it.
   */
  putBatch(batch: BatchToPut): Promise<PutMessageResult> {
    return this.#atEndOfTurn(batch.message, batch, false);
  }

  #atEndOfTurn(message: MessageToPut, given: MessageToPut | BatchToPut, noWait: boolean): Promise<PutMessageResult> {
    if (this.#waiting.length === 0) void Promise.resolve().then(() => this.#putWaiting());
    return new Promise((resolve, reject) => {
      this.#waiting.push({ message, given, noWait, resolve, reject });
    });
  }

  /** Writes what waits. */
  #putWaiting(): void {
    const waiting = this.#waiting;
    this.#waiting = [];
    try {
      const taken: WaitingPut[] = [];
      for (const put of waiting) {
        const refused = this.#refusal(put.message, put.noWait);
        if (refused === null) taken.push(put);
        else put.resolve(refused);
      }
      const appends = this.#store.appendMessages(taken.map(({ given }) => given));
      for (let i = 0; i < taken.length; i++) {
        const { message, noWait, resolve } = taken[i]!;
        resolve(this.#appended(message, noWait, appends[i]!));
      }
    } catch (error) {
      // A bug: those that were answered already don't hear it.
      for (const { reject } of waiting) reject(error);
    }
  }

  /** Why nothing of it is written, or null. */
  #refusal(message: MessageToPut, noWait: boolean): PutMessageResult | null {
    if (this.#fencedReason !== null) {
      return this.#failed(PutMessageStatus.SERVICE_NOT_AVAILABLE, this.#fencedReason);
    }
    const refused = this.#replication.beforePut(waitsForStore(message, noWait));
    return refused === null ? null : this.#failed(refused, REMARKS[refused] ?? "");
  }

  /** From the append to the result. */
  #appended(
    message: MessageToPut,
    noWait: boolean,
    append: AppendMessageResult,
  ): PutMessageResult | Promise<PutMessageResult> {
    if (append.status !== PutMessageStatus.PUT_OK) return this.#failed(append.status, append.remark);
    this.counters.messages += append.msgNum;
    this.counters.bytes += append.wroteBytes;
    const waitStoreMsgOK = waitsForStore(message, noWait);
    const nextOffset = append.wroteOffset + append.wroteBytes;
    // Both waits begin in the turn of the append; the replicas' outcome wins, as in Apache.
    const onReplicas = this.#replication.handleHA(nextOffset, waitStoreMsgOK);
    const onDisk = waitStoreMsgOK && this.#options.flushDiskType === "SYNC_FLUSH"
      ? this.#store.waitStored(nextOffset, this.#options.syncFlushTimeout)
      : true;
    if (onDisk === true && typeof onReplicas === "string") return this.#result(message, append, true, onReplicas);
    return Promise.all([onDisk, onReplicas]).then(([stored, replicated]) =>
      this.#result(message, append, stored, replicated)
    );
  }

  #result(message: MessageToPut, append: Appended, stored: boolean, replicated: ReplicationStatus): PutMessageResult {
    const status = replicated !== "PUT_OK"
      ? replicated
      : stored
      ? PutMessageStatus.PUT_OK
      : PutMessageStatus.FLUSH_DISK_TIMEOUT;
    if (status !== PutMessageStatus.PUT_OK) this.#countFailure(status);
    return { status, append, remark: REMARKS[status] ?? "", message };
  }

  #failed(status: PutMessageStatus, remark: string): PutMessageResult {
    this.#countFailure(status);
    return { status, append: null, remark };
  }

  #countFailure(status: PutMessageStatus): void {
    const { failures } = this.counters;
    failures.set(status, (failures.get(status) ?? 0) + 1);
  }
}
