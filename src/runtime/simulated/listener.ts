// A listening port of a simulated host and its bounded queue of connections that nobody accepted yet. Which connection
// reaches it, and when, is the network's.

import type { Connection, Listener, NetAddress } from "../runtime.ts";
import type { SimulatedConnection } from "./connection.ts";
import type { Scheduler, SimulatedLife } from "./scheduler.ts";
import { type Deferred, deferred } from "../../base/async.ts";

/** A listening port. */
export class SimulatedListener implements Listener {
  readonly life: SimulatedLife;
  readonly #scheduler: Scheduler;
  readonly #backlog: number;
  readonly #queue: SimulatedConnection[] = [];
  readonly #waiters: Deferred<Connection | null>[] = [];
  #address: NetAddress | null = null;
  #release: () => void = () => {};
  #isClosed = false;

  constructor(scheduler: Scheduler, life: SimulatedLife, backlog: number) {
    this.#scheduler = scheduler;
    this.life = life;
    this.#backlog = backlog;
  }

  get address(): NetAddress {
    return this.#address!;
  }

  /** Whether the next connection has to wait outside. */
  get isFull(): boolean {
    return this.#queue.length >= this.#backlog;
  }

  /** Told its bound address, and how to give it back. */
  start(address: NetAddress, release: () => void): void {
    this.#address = address;
    this.#release = release;
  }

  async accept(): Promise<Connection | null> {
    this.#scheduler.noteActivity();
    const first = this.#queue.shift();
    if (first !== undefined) return first;
    if (this.#isClosed) return null;
    const waiter = deferred<Connection | null>();
    this.#waiters.push(waiter);
    return await waiter.promise;
  }

  close(): void {
    if (this.#isClosed) return;
    this.#scheduler.noteActivity();
    this.#isClosed = true;
    this.#release();
    for (const connection of this.#queue.splice(0)) connection.reset();
    for (const waiter of this.#waiters.splice(0)) waiter.resolve(null);
  }

  /** The program ended. Nothing is told to it. */
  end(isPowerLost: boolean): void {
    this.#isClosed = true;
    this.#waiters.length = 0;
    for (const connection of this.#queue.splice(0)) if (!isPowerLost) connection.reset();
  }

  /** A connection for whoever accepts. */
  offer(connection: SimulatedConnection): void {
    const waiter = this.#waiters.shift();
    if (waiter !== undefined) waiter.resolve(connection);
    else this.#queue.push(connection);
  }
}
