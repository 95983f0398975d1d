// Who may consume which queue of an ordered group: leases of a minute, in memory only. Clients take and renew them every
// 20 s, nobody else does anything here; a lease that is not renewed grows old by itself.

import type { Clock } from "../../runtime/runtime.ts";
import type { MessageQueue } from "./message_queue.ts";

/** What a {@link RebalanceLockManager} needs. */
export interface RebalanceLockManagerOptions {
  readonly clock: Clock;
  /** Leases held at most, of all groups; live ones beyond it are refused. */
  readonly locksMax?: number;
}

/** Life of a lease. Apache's `rocketmq.broker.rebalance.lockMaxLiveTime`. */
const LOCK_MAX_LIVE_MS = 60_000;
const LOCKS_MAX = 200_000;

interface LockEntry {
  clientId: string;
  /** Monotonic ms. */
  lastUpdateMs: number;
}

/** Mirrors Apache's `RebalanceLockManager`; it differs in bounding its table. */
export class RebalanceLockManager {
  readonly #clock: Clock;
  readonly #locksMax: number;
  /** Group to (queue to lease). */
  readonly #groups = new Map<string, Map<string, LockEntry>>();
  #size = 0;

  constructor(options: RebalanceLockManagerOptions) {
    this.#clock = options.clock;
    this.#locksMax = options.locksMax ?? LOCKS_MAX;
  }

  /** Takes or renews; returns those queues that the client holds now. One held by another is left out. */
  tryLockBatch(group: string, mqs: readonly MessageQueue[], clientId: string): MessageQueue[] {
    return mqs.filter((mq) => this.#tryLock(group, keyOf(mq), clientId));
  }

  /** Gives back what the client holds of these. */
  unlockBatch(group: string, mqs: readonly MessageQueue[], clientId: string): void {
    const locks = this.#groups.get(group);
    if (locks === undefined) return;
    for (const mq of mqs) {
      const key = keyOf(mq);
      if (locks.get(key)?.clientId === clientId && locks.delete(key)) this.#size--;
    }
    if (locks.size === 0) this.#groups.delete(group);
  }

  /** Whether the group holds no live lease: it does not consume in order, or not now. */
  isLockAllExpired(group: string): boolean {
    for (const entry of this.#groups.get(group)?.values() ?? []) if (!this.#isExpired(entry)) return false;
    return true;
  }

  #tryLock(group: string, key: string, clientId: string): boolean {
    const entry = this.#groups.get(group)?.get(key);
    if (entry !== undefined) {
      if (entry.clientId !== clientId && !this.#isExpired(entry)) return false;
      entry.clientId = clientId;
      entry.lastUpdateMs = this.#clock.monotonic();
      return true;
    }
    if (this.#size >= this.#locksMax) this.#dropExpired();
    if (this.#size >= this.#locksMax) return false;
    const lease: LockEntry = { clientId, lastUpdateMs: this.#clock.monotonic() };
    const locks = this.#groups.get(group);
    if (locks === undefined) this.#groups.set(group, new Map([[key, lease]]));
    else locks.set(key, lease);
    this.#size++;
    return true;
  }

  #dropExpired(): void {
    for (const [group, locks] of this.#groups) {
      for (const [key, entry] of locks) if (this.#isExpired(entry) && locks.delete(key)) this.#size--;
      if (locks.size === 0) this.#groups.delete(group);
    }
  }

  #isExpired(entry: LockEntry): boolean {
    return this.#clock.monotonic() - entry.lastUpdateMs > LOCK_MAX_LIVE_MS;
  }
}

function keyOf({ topic, brokerName, queueId }: MessageQueue): string {
  return `${topic}\0${brokerName}\0${queueId}`;
}
