// What peers make a node hold in memory over all its remoting connections: requests that are not whole yet, answers they
// do not read. It counts, and beyond the bound ends the connection that takes most at the address that takes most; so one
// host with a thousand connections does not push out another's large request.

import type { RemotingConnection } from "./remoting_connection.ts";

/** The bound unless configured, bytes: four of the largest frames. */
export const HELD_BYTES_MAX = 64 * 1024 * 1024;

interface Host {
  bytes: number;
  readonly connections: Set<RemotingConnection>;
}

/** The account of one node. */
export class HeldBytes {
  readonly #max: () => number;
  readonly #hosts = new Map<string, Host>();
  #total = 0;

  /** `max` is read at each change, bytes. */
  constructor(max: () => number) {
    this.#max = max;
  }

  /** Bytes held now. */
  get total(): number {
    return this.#total;
  }

  /** A connection of `hostname` holds `change` bytes more, or less. It may be closed in here, as may another. */
  add(connection: RemotingConnection, hostname: string, change: number): void {
    this.#count(connection, hostname, change);
    const max = this.#max();
    if (change < 0 || this.#total <= max) return;
    const greatest = this.#greatest();
    greatest?.close("overflow", `${greatest.heldBytes} bytes of ${this.#total} held, wanted at most ${max} for all`);
  }

  #count(connection: RemotingConnection, hostname: string, change: number): void {
    this.#total += change;
    const host = this.#hosts.get(hostname) ?? { bytes: 0, connections: new Set() };
    host.bytes += change;
    if (connection.heldBytes > 0) host.connections.add(connection);
    else host.connections.delete(connection);
    if (host.bytes > 0) this.#hosts.set(hostname, host);
    else this.#hosts.delete(hostname);
  }

  #greatest(): RemotingConnection | null {
    let host: Host | null = null;
    for (const each of this.#hosts.values()) if (each.bytes > (host?.bytes ?? 0)) host = each;
    let greatest: RemotingConnection | null = null;
    for (const each of host?.connections ?? []) if (each.heldBytes > (greatest?.heldBytes ?? 0)) greatest = each;
    return greatest;
  }
}
