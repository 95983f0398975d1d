// How far each client of a broadcast group is, from its pulls; every few seconds the least of them becomes the offset of
// `<group>@broadcast`. A client that moves between a proxy and this broker is told where it was. The pull processor
// drives it; the scan exists only while there are clients.

import type { Config } from "../../config/schema.ts";
import type { Clock, Timer } from "../../runtime/runtime.ts";

/** What a {@link BroadcastOffsetManager} needs. */
export interface BroadcastOffsetManagerOptions {
  readonly clock: Clock;
  readonly config: Pick<Config, "broadcastOffsetExpireSecond" | "broadcastOffsetExpireMaxSecond">;
  readonly offsets: {
    commitOffset(group: string, topic: string, queueId: number, offset: number): void;
    queryOffset(group: string, topic: string, queueId: number): number;
  };
  /** Whether the client is registered in the group. */
  readonly isOnline: (group: string, clientId: string) => boolean;
  /** Where a client with no past begins: 0 while the queue's first message is in memory, else the queue's end. */
  readonly initialOffset: (topic: string, queueId: number) => number;
}

const SCAN_INTERVAL_MS = 5000;
/** Clients remembered, of all groups. */
const CLIENTS_MAX = 50_000;

interface ClientOffsets {
  /** Monotonic ms of its last pull. */
  lastUpdateMs: number;
  fromProxy: boolean;
  /** By queue; only grow. */
  readonly offsets: Map<number, number>;
}

interface BroadcastGroup {
  readonly topic: string;
  readonly group: string;
  readonly clients: Map<string, ClientOffsets>;
}

/** Mirrors Apache's `BroadcastOffsetManager`. */
export class BroadcastOffsetManager {
  readonly #options: BroadcastOffsetManagerOptions;
  readonly #groups = new Map<string, BroadcastGroup>();
  #clientCount = 0;
  #timer: Timer | null = null;

  constructor(options: BroadcastOffsetManagerOptions) {
    this.#options = options;
  }

  /** A pull went out: the client is at `offset`. A client beyond 50,000 is not noted. */
  updateOffset(
    topic: string,
    group: string,
    queueId: number,
    offset: number,
    clientId: string,
    fromProxy = false,
  ): void {
    const client = this.#client(topic, group, clientId, fromProxy);
    if (client === null) return;
    client.lastUpdateMs = this.#options.clock.monotonic();
    client.fromProxy = fromProxy;
    if (offset > (client.offsets.get(queueId) ?? -1)) client.offsets.set(queueId, offset);
  }

  /** Where a client that changed between proxy and broker goes on; -1: where it asks to. */
  queryInitOffset(
    topic: string,
    group: string,
    queueId: number,
    clientId: string,
    requestOffset: number,
    fromProxy = false,
  ): number {
    if (!this.#groups.has(keyOf(topic, group))) {
      return fromProxy && requestOffset < 0 ? this.#offsetOf(null, topic, group, queueId) : -1;
    }
    const client = this.#client(topic, group, clientId, fromProxy);
    if (client === null) return -1;
    const moved = client.fromProxy !== fromProxy || (client.fromProxy && requestOffset < 0);
    return moved ? this.#offsetOf(client, topic, group, queueId) : -1;
  }

  /** Ends the scan and forgets everything. */
  stop(): void {
    this.#timer?.cancel();
    this.#timer = null;
    this.#groups.clear();
    this.#clientCount = 0;
  }

  #client(topic: string, group: string, clientId: string, fromProxy: boolean): ClientOffsets | null {
    const key = keyOf(topic, group);
    const one = this.#groups.get(key);
    const known = one?.clients.get(clientId);
    if (known !== undefined) return known;
    if (this.#clientCount >= CLIENTS_MAX) return null;
    const client: ClientOffsets = {
      lastUpdateMs: this.#options.clock.monotonic(),
      fromProxy,
      offsets: new Map(),
    };
    if (one === undefined) this.#groups.set(key, { topic, group, clients: new Map([[clientId, client]]) });
    else one.clients.set(clientId, client);
    this.#clientCount++;
    this.#timer ??= this.#options.clock.setTimer(SCAN_INTERVAL_MS, () => this.#scan());
    return client;
  }

  #offsetOf(client: ClientOffsets | null, topic: string, group: string, queueId: number): number {
    const { offsets, initialOffset } = this.#options;
    const own = client?.offsets.get(queueId) ?? -1;
    if (own >= 0) return own;
    const stored = offsets.queryOffset(broadcastGroupOf(group), topic, queueId);
    return stored >= 0 ? stored : initialOffset(topic, queueId);
  }

  #scan(): void {
    const { clock, offsets } = this.#options;
    this.#timer = null;
    for (const [key, one] of this.#groups) {
      for (const [queueId, offset] of this.#leastOffsets(one)) {
        offsets.commitOffset(broadcastGroupOf(one.group), one.topic, queueId, offset);
      }
      if (one.clients.size === 0) this.#groups.delete(key);
    }
    if (this.#groups.size > 0) this.#timer = clock.setTimer(SCAN_INTERVAL_MS, () => this.#scan());
  }

  /** By queue, of the clients that count; drops those that are gone. */
  #leastOffsets(one: BroadcastGroup): ReadonlyMap<number, number> {
    const { clock, config, isOnline } = this.#options;
    const least = new Map<number, number>();
    const nowMs = clock.monotonic();
    for (const [clientId, client] of one.clients) {
      const ageMs = nowMs - client.lastUpdateMs;
      const online = isOnline(one.group, clientId);
      const expired = ageMs >= config.broadcastOffsetExpireSecond * 1000;
      if (online || !expired) {
        for (const [queueId, offset] of client.offsets) {
          least.set(queueId, Math.min(least.get(queueId) ?? offset, offset));
        }
      }
      if (online ? ageMs >= config.broadcastOffsetExpireMaxSecond * 1000 : expired) {
        one.clients.delete(clientId);
        this.#clientCount--;
      }
    }
    return least;
  }
}

/** Group under which a broadcast group's offsets are kept. */
export function broadcastGroupOf(group: string): string {
  return `${group}@broadcast`;
}

function keyOf(topic: string, group: string): string {
  return `${topic}@${group}`;
}
