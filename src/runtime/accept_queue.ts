// Connections that a runtime pushes at us, waiting to be accepted. Bounded: beyond it new ones are closed at once, as a
// full kernel backlog would refuse them.

import { type Deferred, deferred } from "../base/async.ts";
import type { Connection } from "./runtime.ts";

/** Connections held for `accept` at most. */
export const ACCEPT_QUEUE_MAX = 1024;

/** Hands pushed connections to one waiting `accept` at a time. */
export class AcceptQueue {
  readonly #waiting: Connection[] = [];
  #acceptor: Deferred<Connection | null> | null = null;
  #closed = false;

  /** Takes a new connection; closes it when the queue is full or closed. */
  push(connection: Connection): void {
    if (this.#acceptor !== null) {
      this.#acceptor.resolve(connection);
      this.#acceptor = null;
    } else if (this.#closed || this.#waiting.length >= ACCEPT_QUEUE_MAX) {
      connection.close();
    } else {
      this.#waiting.push(connection);
    }
  }

  /** The next connection, `null` once closed. One call at a time. */
  next(): Promise<Connection | null> {
    if (this.#acceptor !== null) return Promise.reject(new Error("An accept is already pending"));
    if (this.#closed) return Promise.resolve(null);
    const connection = this.#waiting.shift();
    if (connection !== undefined) return Promise.resolve(connection);
    this.#acceptor = deferred();
    return this.#acceptor.promise;
  }

  /** Closes what waits; a pending and every later `next` gives `null`. Idempotent. */
  close(): void {
    this.#closed = true;
    for (const connection of this.#waiting.splice(0)) connection.close();
    this.#acceptor?.resolve(null);
    this.#acceptor = null;
  }
}
