// When each registered broker was last heard, over which connection, and what it said of itself. Found by cluster and
// address, and by connection, so that the end of one costs no walk over all. RouteInfoManager drives it.

import type { BrokerAddrInfo, DataVersion } from "./route_types.ts";

/** One registered broker. Mirrors Apache's `BrokerLiveInfo`; `C` is what a connection is known by. */
export interface BrokerLiveInfo<C> extends BrokerAddrInfo {
  readonly brokerName: string;
  readonly haServerAddr: string | null;
  readonly timeoutMs: number;
  readonly dataVersion: DataVersion | null;
  readonly filterServerList: readonly string[];
  readonly connection: C;
  lastUpdate: number;
}

/** Mirrors the `brokerLiveTable` and the `filterServerTable` of Apache's `RouteInfoManager`. */
export class BrokerLiveTable<C extends object> {
  readonly #live = new Map<string, BrokerLiveInfo<C>>();
  readonly #byConnection = new Map<C, Set<BrokerLiveInfo<C>>>();

  get size(): number {
    return this.#live.size;
  }

  get(broker: BrokerAddrInfo): BrokerLiveInfo<C> | undefined {
    return this.#live.get(liveKey(broker));
  }

  /** Adds or replaces. */
  set(live: BrokerLiveInfo<C>): void {
    this.remove(live);
    this.#live.set(liveKey(live), live);
    let ofConnection = this.#byConnection.get(live.connection);
    if (ofConnection === undefined) this.#byConnection.set(live.connection, ofConnection = new Set());
    ofConnection.add(live);
  }

  /** Takes a broker out; undefined when it was not there. */
  remove(broker: BrokerAddrInfo): BrokerLiveInfo<C> | undefined {
    const key = liveKey(broker);
    const live = this.#live.get(key);
    if (live === undefined) return undefined;
    this.#live.delete(key);
    const ofConnection = this.#byConnection.get(live.connection)!;
    ofConnection.delete(live);
    if (ofConnection.size === 0) this.#byConnection.delete(live.connection);
    return live;
  }

  /** Those that registered over a connection. */
  ofConnection(connection: C): BrokerLiveInfo<C>[] {
    return [...this.#byConnection.get(connection) ?? []];
  }

  /** Those that were not heard for their time. */
  silent(now: number): BrokerLiveInfo<C>[] {
    return [...this.#live.values()].filter((live) => expiresAt(live) < now);
  }

  /** When the next one falls silent unless it is heard before; null without any. */
  nextExpiry(): number | null {
    let next: number | null = null;
    for (const live of this.#live.values()) if (next === null || expiresAt(live) < next) next = expiresAt(live);
    return next;
  }
}

/** The last moment at which the broker still counts as alive. */
export function expiresAt({ lastUpdate, timeoutMs }: BrokerLiveInfo<unknown>): number {
  return lastUpdate + timeoutMs;
}

/** Neither part holds a line end: who decodes a registration sees to that. */
function liveKey({ clusterName, brokerAddr }: BrokerAddrInfo): string {
  return `${clusterName}\n${brokerAddr}`;
}
