// Who may connect to a listener, and how often at once: one count over all peers, one per peer address, and a list of
// networks. It decides and counts; the owner of the listener closes the connection and says so.

import { normalHost, PeerNetworks } from "./peer_networks.ts";

/** Why a connection was closed right after it came. A label of the refusal counters. */
export type ConnectionRefusal = "notAllowed" | "tooManyConnections" | "tooManyFromAddress";

/** The bounds, asked at each connection, so that they may change at run time. */
export interface ConnectionBounds {
  readonly connectionsMax: () => number;
  readonly connectionsPerAddressMax: () => number;
  /** Networks as {@link PeerNetworks.parse} reads them; null: any peer may come. */
  readonly allowedPeers?: () => string | null;
}

/** Counts the connections of one listener. */
export class ConnectionLimits {
  /** Refused connections so far, by reason. */
  readonly refusals: Record<ConnectionRefusal, number> = {
    notAllowed: 0,
    tooManyConnections: 0,
    tooManyFromAddress: 0,
  };
  readonly #bounds: ConnectionBounds;
  readonly #allowed: AllowedPeers;
  readonly #byHost = new Map<string, number>();
  #total = 0;

  constructor(bounds: ConnectionBounds) {
    this.#bounds = bounds;
    this.#allowed = new AllowedPeers(bounds.allowedPeers ?? (() => null));
  }

  /** Takes a connection in, to be given back by {@link release}; or says why not, and has counted that. */
  admit(hostname: string): { readonly reason: ConnectionRefusal; readonly detail: string } | null {
    const refused = this.#refusal(hostname);
    if (refused !== null) {
      this.refusals[refused.reason]++;
      return refused;
    }
    const host = normalHost(hostname);
    this.#total++;
    this.#byHost.set(host, (this.#byHost.get(host) ?? 0) + 1);
    return null;
  }

  /** An admitted connection is closed. */
  release(hostname: string): void {
    const host = normalHost(hostname);
    const left = this.#byHost.get(host)! - 1;
    this.#total--;
    if (left === 0) this.#byHost.delete(host);
    else this.#byHost.set(host, left);
  }

  #refusal(hostname: string): { readonly reason: ConnectionRefusal; readonly detail: string } | null {
    if (!this.#allowed.has(hostname)) {
      return { reason: "notAllowed", detail: `Its address is not in ${this.#allowed.text}` };
    }
    if (this.#total >= this.#bounds.connectionsMax()) {
      return { reason: "tooManyConnections", detail: `${this.#total} connections are open already` };
    }
    const ofHost = this.#byHost.get(normalHost(hostname)) ?? 0;
    if (ofHost >= this.#bounds.connectionsPerAddressMax()) {
      return { reason: "tooManyFromAddress", detail: `${ofHost} connections of its address are open already` };
    }
    return null;
  }
}

/** A list of networks that may change at run time, parsed when it did. */
export class AllowedPeers {
  readonly #current: () => string | null;
  #parsedText: string | null = null;
  #networks: PeerNetworks | null = null;

  constructor(current: () => string | null) {
    this.#current = current;
  }

  /** The list in force; null: anyone. */
  get text(): string | null {
    return this.#current();
  }

  /** Whether a peer may come. */
  has(hostname: string): boolean {
    const text = this.text;
    if (text === null) return true;
    if (text !== this.#parsedText) {
      this.#parsedText = text;
      this.#networks = PeerNetworks.parse(text);
    }
    // A list that can't be read lets nobody in; configuration refuses it long before.
    return this.#networks?.has(hostname) ?? false;
  }
}
