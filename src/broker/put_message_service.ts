// A put from its first check to its answer: may it be written, write it, then wait for what was promised (this disk, other
// replicas). The store knows nothing of replicas and replication nothing of messages; this file is where they meet.

import type { Logger } from "../base/logger.ts";
import type { ReplicationStatus } from "../ha/ha_service.ts";
import { type AppendMessageResult, type MessageToPut, PutMessageStatus } from "../store/types.ts";

/** The keys it reads, live. */
export interface PutMessageOptions {
  readonly flushDiskType: "ASYNC_FLUSH" | "SYNC_FLUSH";
  /** How long a SYNC_FLUSH put waits for the disk, ms. */
  readonly syncFlushTimeout: number;
}

/** What it needs of the store. */
export interface PutStore {
  appendMessage(message: MessageToPut): AppendMessageResult;
  /** False when `offset` was not on the disk in time. */
  waitStored(offset: number, timeoutMs: number): Promise<boolean>;
}

/** What it needs of replication. */
export interface PutReplication {
  /** Why nothing may be written, or null. */
  beforePut(waitStoreMsgOK: boolean): "IN_SYNC_REPLICAS_NOT_ENOUGH" | null;
  handleHA(nextOffset: number, waitStoreMsgOK: boolean): ReplicationStatus | Promise<ReplicationStatus>;
}

/** Mirrors Apache's `PutMessageResult`. `append` says where the message is, also under a status that is not PUT_OK. */
export interface PutMessageResult {
  readonly status: PutMessageStatus;
  readonly append: AppendMessageResult & { readonly status: "PUT_OK" } | null;
  /** What to know about a status other than PUT_OK; empty otherwise. */
  readonly remark: string;
}

/** Puts since the start. */
export interface PutCounters {
  messages: number;
  bytes: number;
  /** By status other than PUT_OK. */
  readonly failures: Map<PutMessageStatus, number>;
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
  #fenced = false;

  constructor(parts: { store: PutStore; replication: PutReplication; options: PutMessageOptions; logger: Logger }) {
    this.#store = parts.store;
    this.#replication = parts.replication;
    this.#options = parts.options;
    this.#logger = parts.logger;
  }

  /** Whether puts are held off (Apache's "fenced" running flag). */
  get fenced(): boolean {
    return this.#fenced;
  }

  /** From the moment this returns with true, nothing is put any more. */
  setFenced(fenced: boolean): void {
    if (fenced !== this.#fenced) this.#logger.info(fenced ? "Puts are held off" : "Puts are taken again");
    this.#fenced = fenced;
  }

  /** Ends {@link setFenced} with a change of the role, which says itself whether puts are taken now. */
  liftFence(): void {
    this.#fenced = false;
  }

  /** Puts a message and waits for what was promised. Expected outcomes are statuses; it rejects for bugs only. */
  async putMessage(message: MessageToPut): Promise<PutMessageResult> {
    const result = await this.#put(message);
    if (result.status !== PutMessageStatus.PUT_OK) {
      const { failures } = this.counters;
      failures.set(result.status, (failures.get(result.status) ?? 0) + 1);
    }
    return result;
  }

  async #put(message: MessageToPut): Promise<PutMessageResult> {
    if (this.#fenced) {
      return {
        status: PutMessageStatus.SERVICE_NOT_AVAILABLE,
        append: null,
        remark: "Puts are held off for a switchover",
      };
    }
    // Apache's isWaitStoreMsgOK: absent means wait.
    const waitStoreMsgOK = (message.properties.get("WAIT") ?? "true").toLowerCase() === "true";
    const refused = this.#replication.beforePut(waitStoreMsgOK);
    if (refused !== null) return { status: refused, append: null, remark: REMARKS[refused] ?? "" };
    const append = this.#store.appendMessage(message);
    if (append.status !== PutMessageStatus.PUT_OK) {
      return { status: append.status, append: null, remark: append.remark };
    }
    this.counters.messages += append.msgNum;
    this.counters.bytes += append.wroteBytes;
    const nextOffset = append.wroteOffset + append.wroteBytes;
    // Both waits begin in the turn of the append; the replicas' outcome wins, as in Apache.
    const onReplicas = this.#replication.handleHA(nextOffset, waitStoreMsgOK);
    const onDisk = waitStoreMsgOK && this.#options.flushDiskType === "SYNC_FLUSH"
      ? this.#store.waitStored(nextOffset, this.#options.syncFlushTimeout)
      : true;
    const [stored, replicated] = await Promise.all([onDisk, onReplicas]);
    const status = replicated !== "PUT_OK"
      ? replicated
      : stored
      ? PutMessageStatus.PUT_OK
      : PutMessageStatus.FLUSH_DISK_TIMEOUT;
    return { status, append, remark: REMARKS[status] ?? "" };
  }
}
