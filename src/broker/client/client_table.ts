// Groups of clients by connection, with what both managers need of it: a bound on registrations, the groups of a
// connection at hand when it closes, and expiry by one timer that exists only while a client does. What a group means
// is the managers' business.

import { RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import type { RemotingConnection } from "../../remoting/remoting_connection.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Clock, Timer } from "../../runtime/runtime.ts";
import type { Channel, ClientChannelInfo } from "./client_channel_info.ts";

/** What a {@link ClientTable} needs. */
export interface ClientTableOptions {
  readonly clock: Clock;
  /** A registration without heartbeat for so long ends, ms. Read at each use. */
  readonly expiredTimeoutMs: () => number;
  /** Called after a registration was removed for that; its connection is still open. */
  readonly onExpired: (group: string, channel: ClientChannelInfo) => void;
  /** Registrations (a connection in a group) held at most. */
  readonly registrationsMax?: number;
}

/** A node has 16,384 connections; a client with many groups registers each of them. */
const REGISTRATIONS_MAX = 200_000;
/** Expiry is looked at no more often than this, ms. */
const SCAN_INTERVAL_MIN_MS = 1000;

/** What {@link ClientTable.put} found. */
export type Registration = "new" | "known" | "renamed";

/** The table. Mirrors the `channelInfoTable`s of Apache's managers and their `scanNotActiveChannel`. */
export class ClientTable {
  readonly #options: ClientTableOptions;
  readonly #groups = new Map<string, Map<RemotingConnection, Channel>>();
  readonly #groupsOf = new Map<RemotingConnection, Set<string>>();
  #size = 0;
  #timer: Timer | null = null;

  constructor(options: ClientTableOptions) {
    this.#options = options;
  }

  /** Registrations held. */
  get size(): number {
    return this.#size;
  }

  get groups(): ReadonlyMap<string, ReadonlyMap<RemotingConnection, ClientChannelInfo>> {
    return this.#groups;
  }

  /** Members of the group by connection, live; undefined when there is none. */
  members(group: string): ReadonlyMap<RemotingConnection, ClientChannelInfo> | undefined {
    return this.#groups.get(group);
  }

  /**
   * Registers or refreshes. The connection's client may have another id than before: that replaces it. Throws
   * {@link RemotingError} `SYSTEM_BUSY` when the table is full.
   */
  put(group: string, info: ClientChannelInfo): Registration {
    const { clock } = this.#options;
    const { connection } = info;
    const seen = { lastUpdateTimestamp: clock.now(), lastSeenMs: clock.monotonic() };
    const members = this.#groups.get(group);
    const known = members?.get(connection);
    if (known !== undefined && known.clientId === info.clientId) {
      Object.assign(known, seen);
      return "known";
    }
    if (known !== undefined) {
      members!.set(connection, { ...info, ...seen });
      return "renamed";
    }
    this.#checkRoom(group);
    if (members === undefined) this.#groups.set(group, new Map([[connection, { ...info, ...seen }]]));
    else members.set(connection, { ...info, ...seen });
    const groups = this.#groupsOf.get(connection);
    if (groups === undefined) this.#groupsOf.set(connection, new Set([group]));
    else groups.add(group);
    this.#size++;
    this.#timer ??= clock.setTimer(this.#options.expiredTimeoutMs(), () => this.#scan());
    return "new";
  }

  /** Removes one registration; null when there was none. */
  remove(group: string, connection: RemotingConnection): ClientChannelInfo | null {
    const members = this.#groups.get(group);
    const channel = members?.get(connection);
    if (members === undefined || channel === undefined) return null;
    members.delete(connection);
    if (members.size === 0) this.#groups.delete(group);
    const groups = this.#groupsOf.get(connection)!;
    groups.delete(group);
    if (groups.size === 0) this.#groupsOf.delete(connection);
    if (--this.#size === 0) {
      this.#timer?.cancel();
      this.#timer = null;
    }
    return channel;
  }

  /** Groups that the connection is registered in. */
  groupsOf(connection: RemotingConnection): string[] {
    return [...this.#groupsOf.get(connection) ?? []];
  }

  #checkRoom(group: string): void {
    const { registrationsMax = REGISTRATIONS_MAX } = this.#options;
    if (this.#size < registrationsMax) return;
    throw new RemotingError(
      ResponseCode.SYSTEM_BUSY,
      `Can't register a client of group ${quoted(group, 300)}: ${this.#size} are registered, the most there may be`,
    );
  }

  #scan(): void {
    const { clock, expiredTimeoutMs, onExpired } = this.#options;
    this.#timer = null;
    const now = clock.monotonic();
    const timeoutMs = expiredTimeoutMs();
    const expired: [string, Channel][] = [];
    let earliestMs = now;
    for (const [group, members] of this.#groups) {
      for (const channel of members.values()) {
        if (now - channel.lastSeenMs >= timeoutMs) expired.push([group, channel]);
        else earliestMs = Math.min(earliestMs, channel.lastSeenMs);
      }
    }
    for (const [group, channel] of expired) {
      if (this.remove(group, channel.connection) !== null) onExpired(group, channel);
    }
    if (this.#size === 0 || this.#timer !== null) return;
    const delayMs = Math.max(SCAN_INTERVAL_MIN_MS, earliestMs + timeoutMs - now);
    this.#timer = clock.setTimer(delayMs, () => this.#scan());
  }
}
