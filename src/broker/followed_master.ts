// What a slave knows of its log beside its master's: whether it is a part of that one. Told by the HA client's states;
// what is made of it is the business of who copies the master's tables.

import type { HAClientStatus } from "./ha_client_driver.ts";
import type { FollowingLog } from "./slave_synchronize.ts";

/** Remembers whom the log was seen to follow. */
export class FollowedMaster implements FollowingLog {
  readonly #client: { readonly status: HAClientStatus };
  readonly #log: { readonly flushedOffset: number };
  /** HA address of the master whose log ours is a part of; null: of nobody's, as far as is known. */
  #partOf: string | null = null;
  #isFollowing = false;

  constructor(client: { readonly status: HAClientStatus }, log: { readonly flushedOffset: number }) {
    this.#client = client;
    this.#log = log;
  }

  /** To be called after each change of the client's state. Returns whether it has begun to follow. */
  changed({ state, masterAddress }: HAClientStatus): boolean {
    const wasFollowing = this.#isFollowing;
    this.#isFollowing = state === "following";
    if (this.#isFollowing) this.#partOf = masterAddress;
    else if (state !== "connecting" && state !== "verifying") this.#partOf = null;
    return this.#isFollowing && !wasFollowing;
  }

  get isParted(): boolean {
    const { state } = this.#client.status;
    return state === "diverged" || state === "hole";
  }

  get isPart(): boolean {
    return this.#partOf !== null && this.#partOf === this.#client.status.masterAddress;
  }

  holds(offset: number): boolean {
    return this.#isFollowing && this.#log.flushedOffset >= offset;
  }
}
