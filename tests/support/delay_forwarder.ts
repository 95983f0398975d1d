// A TCP forwarder that makes a long way of a short one: every byte leaves `delayMs` after it came, in each direction,
// and apart from that as fast as the machine can. It stands in for a network whose round trip is longer, where the
// kernel can't delay packets.

import { WakeUp } from "../../src/base/async.ts";
import type { Clock, Connection, Listener, Net } from "../../src/runtime/runtime.ts";

/** Bytes on their way in one direction, at most: more than any rate times delay tried here. */
const UNDERWAY_MAX = 16 * 1024 * 1024;

/** Forwards each connection to its port to `target`. */
export class DelayForwarder {
  readonly #net: Net;
  readonly #clock: Clock;
  readonly #listener: Listener;
  readonly #sockets = new Set<Connection>();

  private constructor(net: Net, clock: Clock, listener: Listener) {
    this.#net = net;
    this.#clock = clock;
    this.#listener = listener;
  }

  /** Begins on a free port of loopback. `delayMs` 0 forwards at once. */
  static async start(parts: { net: Net; clock: Clock; targetPort: number; delayMs: number }): Promise<DelayForwarder> {
    const { net, clock, targetPort, delayMs } = parts;
    const forwarder = new DelayForwarder(net, clock, await net.listen({ hostname: "127.0.0.1", port: 0 }));
    forwarder.#acceptAll(targetPort, delayMs).catch(() => forwarder.close());
    return forwarder;
  }

  get port(): number {
    return this.#listener.address.port;
  }

  /** Ends it and every connection. */
  close(): void {
    this.#listener.close();
    for (const socket of this.#sockets) socket.close();
  }

  async #acceptAll(port: number, delayMs: number): Promise<void> {
    for (;;) {
      const near = await this.#listener.accept();
      if (near === null) return;
      const far = await this.#net.connect({ hostname: "127.0.0.1", port, timeoutMs: 5000 });
      this.#sockets.add(near).add(far);
      const end = () => {
        near.close();
        far.close();
      };
      for (const way of [new Way(near, far, this.#clock, delayMs), new Way(far, near, this.#clock, delayMs)]) {
        way.read().catch(end);
        way.write().catch(end);
      }
    }
  }
}

/** One direction of one connection. */
class Way {
  readonly #from: Connection;
  readonly #to: Connection;
  readonly #clock: Clock;
  readonly #delayMs: number;
  readonly #pieces: { bytes: Uint8Array; dueAt: number }[] = [];
  readonly #came = new WakeUp();
  readonly #left = new WakeUp();
  #underway = 0;
  #ended = false;

  constructor(from: Connection, to: Connection, clock: Clock, delayMs: number) {
    this.#from = from;
    this.#to = to;
    this.#clock = clock;
    this.#delayMs = delayMs;
  }

  async read(): Promise<void> {
    for (;;) {
      const bytes = await this.#from.read().catch(() => null);
      if (bytes === null) {
        this.#ended = true;
        return this.#came.notify();
      }
      // A copy: the bytes are lent until the next read, and `slice` of a Buffer is none.
      this.#pieces.push({ bytes: new Uint8Array(bytes), dueAt: this.#clock.monotonic() + this.#delayMs });
      this.#underway += bytes.length;
      this.#came.notify();
      while (this.#underway >= UNDERWAY_MAX) await this.#left.wait(this.#clock, null);
    }
  }

  async write(): Promise<void> {
    for (;;) {
      const piece = this.#pieces[0];
      if (piece === undefined) {
        if (this.#ended) return this.#to.close();
        await this.#came.wait(this.#clock, null);
        continue;
      }
      const waitMs = piece.dueAt - this.#clock.monotonic();
      if (waitMs > 0) {
        await new WakeUp().wait(this.#clock, waitMs);
        continue;
      }
      this.#pieces.shift();
      await this.#to.write(piece.bytes);
      this.#underway -= piece.bytes.length;
      this.#left.notify();
    }
  }
}
