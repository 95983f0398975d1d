// The ends of a simulated TCP connection, following the rules of a real kernel: FIN after what was written, a reset in
// answer to bytes nobody is there for, a reset when one closes with unread bytes, half-open connections kept. The bytes
// are the pipes'; which connection meets which listener is the network's.

import type { Connection, NetAddress } from "../runtime.ts";
import type { Scheduler, SimulatedLife } from "./scheduler.ts";
import type { Link, NetworkCounters } from "./link.ts";
import type { Deferred } from "../../base/async.ts";
import { Pipe, type PipeEnds, type PipeLimits } from "./pipe.ts";
import { assert, IoError } from "../../base/errors.ts";
import { deferred } from "../../base/async.ts";

const LENT_NO_MORE = 0xdb;

/** One end. Made in pairs by {@link connectPair}. */
export class SimulatedConnection implements Connection {
  readonly localAddress: NetAddress;
  readonly remoteAddress: NetAddress;
  readonly life: SimulatedLife;
  readonly #scheduler: Scheduler;
  readonly #counters: NetworkCounters;
  readonly #link: Link;
  readonly #incomingLink: Link;
  readonly #onReleased: (connection: SimulatedConnection) => void;
  readonly #closed = deferred<void>();
  #peer: SimulatedConnection | null = null;
  #out: Pipe | null = null;
  #in: Pipe | null = null;
  #isClosed = false;
  #failure: IoError | null = null;
  #finWanted = false;
  #finSent = false;
  #pendingRead: Deferred<Uint8Array | null> | null = null;
  #pendingWrite: { bytes: Uint8Array; at: number; done: Deferred<void> } | null = null;
  #isPumping = false;
  #isWakeUpDue = false;
  #lent: Uint8Array | null = null;

  constructor(init: {
    scheduler: Scheduler;
    counters: NetworkCounters;
    life: SimulatedLife;
    /** From this end to the other. */
    link: Link;
    /** From the other end to this. */
    incomingLink: Link;
    localAddress: NetAddress;
    remoteAddress: NetAddress;
    /** Called once, when the network may forget this end. */
    onReleased: (connection: SimulatedConnection) => void;
  }) {
    this.#scheduler = init.scheduler;
    this.#counters = init.counters;
    this.life = init.life;
    this.#link = init.link;
    this.#incomingLink = init.incomingLink;
    this.localAddress = init.localAddress;
    this.remoteAddress = init.remoteAddress;
    this.#onReleased = init.onReleased;
  }

  get closed(): Promise<void> {
    return this.#closed.promise;
  }

  /** Whether this end still holds the connection. */
  get isOpen(): boolean {
    return !this.#isClosed && this.#failure === null;
  }

  /** Joins this end with the other. Called once, before either is handed out. */
  attach(peer: SimulatedConnection, out: Pipe, incoming: Pipe): void {
    this.#peer = peer;
    this.#out = out;
    this.#in = incoming;
  }

  async read(): Promise<Uint8Array | null> {
    this.#scheduler.noteActivity();
    assert(this.#pendingRead === null, "A read is already pending on this connection");
    if (this.#isClosed) throw closedError();
    // The view handed out before is no longer the caller's: whoever kept it sees rubbish, not luck.
    this.#lent?.fill(LENT_NO_MORE);
    this.#lent = this.#in!.take();
    if (this.#lent !== null) return this.#lent;
    if (this.#failure !== null) throw this.#failure;
    if (this.#in!.isAtEnd) return this.#reachEnd();
    this.#pendingRead = deferred();
    return await this.#pendingRead.promise;
  }

  async write(bytes: Uint8Array): Promise<void> {
    this.#scheduler.noteActivity();
    assert(this.#pendingWrite === null, "A write is already pending on this connection");
    this.#throwIfOver();
    if (this.#finWanted) throw closedError();
    if (bytes.length === 0) return;
    const done = deferred<void>();
    this.#pendingWrite = { bytes, at: 0, done };
    this.#pump();
    if (this.#pendingWrite !== null) this.#counters.stalledWrites++;
    await done.promise;
  }

  async shutdownWrite(): Promise<void> {
    this.#scheduler.noteActivity();
    this.#throwIfOver();
    this.#finWanted = true;
    this.#pump();
  }

  close(): void {
    if (this.#isClosed) return;
    this.#scheduler.noteActivity();
    const isFailed = this.#failure !== null;
    this.#isClosed = true;
    this.#rejectPending(closedError());
    if (this.life.alive) this.#closed.resolve();
    this.#onReleased(this);
    if (isFailed) return;
    if (this.#in!.unreadSize > 0) {
      this.#dropPipes(true);
      this.#sendReset(false);
    } else if (!this.#finSent) {
      this.#finSent = true;
      this.#out!.sendFin();
    }
  }

  /** Bytes of a pending write that the kernel did not take yet. */
  get queuedBytes(): number {
    const pending = this.#pendingWrite;
    return pending === null ? 0 : pending.bytes.length - pending.at;
  }

  /** Bytes that arrived and nobody read. */
  get unreadBytes(): number {
    return this.#in!.unreadSize;
  }

  /** Breaks this end only: the other hears nothing, and a reset once it sends. */
  forget(): void {
    if (!this.isOpen) return;
    if (this.#peer!.isOpen) this.#counters.halfOpens++;
    this.#fail(resetError());
  }

  /** Breaks the connection from outside; the peer hears of it after the delay of the way there. */
  reset(): void {
    if (!this.isOpen) return;
    this.#counters.resets++;
    this.#fail(resetError());
    this.#sendReset(false);
  }

  /** The program ended, its kernel lives: the kernel closes for it. */
  abandon(): void {
    this.#pendingRead = null;
    this.#pendingWrite = null;
    this.close();
  }

  /** The host lost power: no packet tells the peer. */
  vanish(): void {
    if (this.isOpen && this.#peer!.isOpen) this.#counters.halfOpens++;
    this.#isClosed = true;
    this.#pendingRead = null;
    this.#pendingWrite = null;
    this.#out!.dropUnsent();
  }

  /** What the pipe from this end reports. */
  outgoingEnds(): PipeEnds {
    const peer = () => this.#peer!;
    return {
      onRoom: () => this.#pump(),
      receiverState: () => (peer().isOpen ? "arrived" : "gone"),
      onArrival: () => peer().#onArrival(),
      onRefusedSegment: () => {
        this.#out!.drop(true);
        peer().#sendReset(true);
      },
      onReset: () => peer().reset(),
      onGiveUp: () => {
        this.#counters.giveUps++;
        this.#fail(new IoError("other", "The peer did not acknowledge for too long", "ETIMEDOUT"));
      },
    };
  }

  #throwIfOver(): void {
    if (this.#isClosed) throw closedError();
    if (this.#failure !== null) throw this.#failure;
  }

  /** Moves the pending write into the kernel's buffer as far as there is room, then the FIN. */
  #pump(): void {
    if (this.#isPumping) return;
    this.#isPumping = true;
    const out = this.#out!;
    let pending = this.#pendingWrite;
    while (pending !== null && out.room > 0) {
      const from = pending.at;
      pending.at = Math.min(pending.bytes.length, from + out.room);
      out.send(pending.bytes.subarray(from, pending.at));
      if (pending.at === pending.bytes.length) {
        this.#pendingWrite = null;
        pending.done.resolve();
      }
      pending = this.#pendingWrite;
    }
    this.#isPumping = false;
    if (this.#finWanted && !this.#finSent && this.#pendingWrite === null && this.isOpen) {
      this.#finSent = true;
      out.sendFin();
      this.#settleIfEnded();
    }
  }

  /** Something can be read. A waiting reader is woken at once or, by seed, a little later: more may have come by then. */
  #onArrival(): void {
    if (this.#pendingRead === null) return this.#settleIfEnded();
    if (this.#isWakeUpDue) return;
    const { coalescePerMillion, latencyMaxUs } = this.#incomingLink.options;
    const prng = this.#incomingLink.prng;
    if (!prng.chance(coalescePerMillion)) return this.#wakeReader();
    this.#isWakeUpDue = true;
    this.#scheduler.schedule({
      kind: "readable",
      hostIndex: this.life.hostIndex,
      life: this.life,
      delayUs: prng.between(0, latencyMaxUs),
      run: () => {
        this.#isWakeUpDue = false;
        this.#wakeReader();
      },
    });
  }

  #wakeReader(): void {
    const waiting = this.#pendingRead;
    if (waiting === null) return;
    const bytes = this.#in!.take();
    if (bytes === null && !this.#in!.isAtEnd) return;
    this.#pendingRead = null;
    this.#lent = bytes;
    waiting.resolve(bytes ?? this.#reachEnd());
  }

  #reachEnd(): null {
    this.#settleIfEnded();
    return null;
  }

  /** Both directions ended in order: the kernel lets go, whatever the owner still does. */
  #settleIfEnded(): void {
    if (!this.#finSent || !this.#in!.isAtEnd) return;
    this.#closed.resolve();
    this.#onReleased(this);
  }

  #fail(failure: IoError): void {
    if (!this.isOpen) return;
    this.#failure = failure;
    this.#dropPipes(this.#link.prng.chance(500_000));
    this.#closed.resolve();
    this.#onReleased(this);
    this.#rejectPending(failure);
  }

  #dropPipes(andUnread: boolean): void {
    this.#out!.drop(false);
    this.#in!.drop(andUnread);
  }

  #rejectPending(failure: IoError): void {
    const read = this.#pendingRead;
    const write = this.#pendingWrite;
    this.#pendingRead = null;
    this.#pendingWrite = null;
    read?.reject(failure);
    write?.done.reject(failure);
  }

  /** An RST to the other end. Lost on a cut link, unless the other end keeps provoking it by sending again. */
  #sendReset(isRepeated: boolean): void {
    const peer = this.#peer!;
    const arrive = () => {
      if (this.#link.isOpen) peer.#fail(resetError());
      else if (isRepeated) this.#link.park(arrive);
    };
    this.#scheduler.schedule({
      kind: "reset",
      hostIndex: this.#link.toIndex,
      life: null,
      delayUs: this.#link.drawArrivalUs(),
      run: arrive,
    });
  }
}

/** Joins two ends by a pipe each way. */
export function connectPair(init: {
  scheduler: Scheduler;
  counters: NetworkCounters;
  limits: PipeLimits;
  client: SimulatedConnection;
  server: SimulatedConnection;
  /** From client to server. */
  forth: Link;
  /** From server to client. */
  back: Link;
  /** World time at which the client learns that it is connected. */
  connectedUs: number;
}): void {
  const { scheduler, counters, limits, client, server, forth, back } = init;
  const shared = { scheduler, counters, limits };
  const up = new Pipe({ ...shared, link: forth, back, ends: client.outgoingEnds(), notBeforeUs: 0 });
  const down = new Pipe({
    ...shared,
    link: back,
    back: forth,
    ends: server.outgoingEnds(),
    notBeforeUs: init.connectedUs,
  });
  client.attach(server, up, down);
  server.attach(client, down, up);
}

function closedError(): IoError {
  return new IoError("closed", "The connection is closed");
}

function resetError(): IoError {
  return new IoError("reset", "The connection was reset by the peer", "ECONNRESET");
}
