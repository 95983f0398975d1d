// A TCP forwarder between a slave and its master that misbehaves on order: late, in tiny pieces, silent, gone. It changes
// no byte and no order, as TCP doesn't. One proxy stands for one link, so that a fault hits one pair of nodes.

import * as net from "node:net";
import { setImmediate as turn } from "node:timers/promises";
import type { Generator } from "./generator.ts";
import { pause } from "./processes.ts";

/** What the link does to bytes and connections while a fault is set. */
export type LinkFault =
  /** Every chunk comes so much later, ms. */
  | { readonly type: "delay"; readonly ms: number }
  /** Chunks come in pieces: some bytes each at first, then up to a segment's size. */
  | { readonly type: "split" }
  /**
   * Bytes of `swallows` vanish, nobody is told, and connections it happened to stay so after the fault: `up` is slave to
   * master (reports), `down` the log.
   */
  | { readonly type: "halfOpen"; readonly swallows: "both" | "up" | "down" }
  /** Everything vanishes; {@link FaultyProxy.heal} then closes what is open. */
  | { readonly type: "drop" }
  /** Connections are reset, new ones too. */
  | { readonly type: "refuse" };

type Direction = "up" | "down";

/** How often faults really happened. */
export interface LinkCounters {
  delayedChunks: number;
  pieces: number;
  resets: number;
  swallowedBytes: number;
  dropped: number;
  refused: number;
}

/** A count of nothing yet. */
export function noLinkCounts(): LinkCounters {
  return { delayedChunks: 0, pieces: 0, resets: 0, swallowedBytes: 0, dropped: 0, refused: 0 };
}

interface Pair {
  readonly client: net.Socket;
  readonly server: net.Socket;
  /** Directions that are dead for good. */
  readonly dead: Set<Direction>;
}

const SMALL_PIECES_BYTES = 256;
const SEGMENT_SIZE = 1460;

/** One listening port in front of one target port, both on loopback. */
export class FaultyProxy {
  readonly #target: number;
  readonly #random: Generator;
  readonly #counters: LinkCounters;
  readonly #listener: net.Server;
  readonly #pairs = new Set<Pair>();
  #fault: LinkFault | null = null;

  private constructor(target: number, random: Generator, counters: LinkCounters) {
    this.#target = target;
    this.#random = random;
    this.#counters = counters;
    this.#listener = net.createServer({ allowHalfOpen: true, noDelay: true }, (client) => this.#accept(client));
  }

  /** Listens on `port` and forwards to `target`; counts into `counters`. */
  static async listen(port: number, target: number, random: Generator, counters: LinkCounters): Promise<FaultyProxy> {
    const proxy = new FaultyProxy(target, random, counters);
    await new Promise<void>((resolve, reject) => {
      proxy.#listener.once("error", reject);
      proxy.#listener.listen(port, "127.0.0.1", resolve);
    });
    return proxy;
  }

  /** Does this from now on, until another or {@link heal}. */
  set(fault: LinkFault): void {
    this.#fault = fault;
    if (fault.type === "refuse") this.reset();
    if (fault.type === "halfOpen") { for (const pair of this.#pairs) deaden(pair, fault); }
  }

  /** Forwards faithfully again. Connections that went silent stay silent; dropped ones are closed. */
  heal(): void {
    if (this.#fault?.type === "drop") {
      for (const { client, server } of this.#pairs) {
        this.#counters.dropped++;
        client.destroy();
        server.destroy();
      }
    }
    this.#fault = null;
  }

  /** Resets every connection (RST to both ends); new ones are taken. */
  reset(): void {
    for (const { client, server } of this.#pairs) {
      this.#counters.resets++;
      reset(client);
      reset(server);
    }
  }

  /** Ends everything. */
  close(): void {
    this.#listener.close();
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
  }

  #accept(client: net.Socket): void {
    client.on("error", () => {});
    if (this.#fault?.type === "refuse") {
      this.#counters.refused++;
      reset(client);
      return;
    }
    const server = net.connect({ port: this.#target, host: "127.0.0.1", noDelay: true, allowHalfOpen: true });
    const pair: Pair = { client, server, dead: new Set() };
    if (this.#fault?.type === "halfOpen") deaden(pair, this.#fault);
    this.#pairs.add(pair);
    server.on("error", () => {
      if (pair.dead.size === 0) reset(client);
    });
    const ended = [this.#pump(pair, "up"), this.#pump(pair, "down")];
    void Promise.all(ended).then(() => {
      client.destroy();
      server.destroy();
      this.#pairs.delete(pair);
    });
  }

  /** Carries one direction until its source ends; waits for each write, so that a slow reader slows its peer. */
  async #pump(pair: Pair, direction: Direction): Promise<void> {
    const [from, to] = direction === "up" ? [pair.client, pair.server] : [pair.server, pair.client];
    try {
      for await (const chunk of from.iterator({ destroyOnReturn: false })) {
        await this.#carry(pair, direction, to, chunk as Buffer);
      }
      if (!this.#swallows(pair, direction)) to.end();
    } catch {
      if (!this.#swallows(pair, direction)) reset(to);
    }
  }

  async #carry(pair: Pair, direction: Direction, to: net.Socket, chunk: Buffer): Promise<void> {
    if (this.#fault?.type === "delay") {
      this.#counters.delayedChunks++;
      await pause(this.#fault.ms);
    }
    let at = 0;
    while (at < chunk.length) {
      if (this.#swallows(pair, direction)) {
        this.#counters.swallowedBytes += chunk.length - at;
        return;
      }
      const isSplit = this.#fault?.type === "split";
      const size = isSplit ? 1 + this.#random(at < SMALL_PIECES_BYTES ? 16 : SEGMENT_SIZE) : chunk.length;
      await written(to, chunk.subarray(at, at + size));
      at += size;
      if (!isSplit) continue;
      this.#counters.pieces++;
      await turn();
    }
  }

  #swallows({ dead }: Pair, direction: Direction): boolean {
    return dead.has(direction) || this.#fault?.type === "drop";
  }
}

function deaden(pair: Pair, { swallows }: LinkFault & { type: "halfOpen" }): void {
  if (swallows !== "down") pair.dead.add("up");
  if (swallows !== "up") pair.dead.add("down");
}

/** RST. A socket that was ended, or isn't connected yet, only goes: Node's would never be closed, and hang its exit. */
function reset(socket: net.Socket): void {
  if (socket.writableEnded || socket.connecting) socket.destroy();
  else socket.resetAndDestroy();
}

function written(to: net.Socket, bytes: Buffer): Promise<void> {
  return new Promise((resolve, reject) => to.write(bytes, (error) => error ? reject(error) : resolve()));
}
