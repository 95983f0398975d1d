// Subscriptions that pulls without heartbeat brought along, for a while. Entries grow old by themselves: nothing runs
// here, and what was forgotten is found out when it is asked for or when the table is full.

import type { Clock } from "../../runtime/runtime.ts";
import type { SubscriptionData } from "../filter/subscription_data.ts";

/** Topics of groups remembered. */
const ENTRIES_MAX = 10_000;

interface Entry {
  sub: SubscriptionData;
  /** Monotonic ms. */
  seenMs: number;
}

/** Mirrors the `consumerCompensationTable` of Apache's `ConsumerManager`. */
export class CompensationTable {
  readonly #clock: Clock;
  readonly #expiredTimeoutMs: () => number;
  readonly #entries = new Map<string, Entry>();

  /** `expiredTimeoutMs` is read at each use. */
  constructor(clock: Clock, expiredTimeoutMs: () => number) {
    this.#clock = clock;
    this.#expiredTimeoutMs = expiredTimeoutMs;
  }

  /** Remembers, or renews. */
  put(group: string, topic: string, sub: SubscriptionData): void {
    const key = `${topic}@${group}`;
    const seenMs = this.#clock.monotonic();
    const entry = this.#entries.get(key);
    if (entry !== undefined) {
      entry.sub = sub;
      entry.seenMs = seenMs;
      return;
    }
    if (this.#entries.size >= ENTRIES_MAX) this.#makeRoom(seenMs);
    this.#entries.set(key, { sub, seenMs });
  }

  /** What is remembered; null when nothing is, or not any more. */
  find(group: string, topic: string): SubscriptionData | null {
    if (this.#entries.size === 0) return null;
    const key = `${topic}@${group}`;
    const entry = this.#entries.get(key);
    if (entry === undefined) return null;
    if (this.#clock.monotonic() - entry.seenMs <= this.#expiredTimeoutMs()) return entry.sub;
    this.#entries.delete(key);
    return null;
  }

  /** Drops what is too old; when nothing is, the one that came first. */
  #makeRoom(nowMs: number): void {
    const timeoutMs = this.#expiredTimeoutMs();
    for (const [key, { seenMs }] of this.#entries) if (nowMs - seenMs > timeoutMs) this.#entries.delete(key);
    if (this.#entries.size >= ENTRIES_MAX) this.#entries.delete(this.#entries.keys().next().value!);
  }
}
