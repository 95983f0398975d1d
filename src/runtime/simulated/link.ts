// One direction between two simulated hosts: its delay, its faults, whether it is cut. It owns no bytes; pipes and
// handshakes ask it when a packet arrives and park with it while nothing gets through.

import type { Prng } from "./prng.ts";
import type { Scheduler } from "./scheduler.ts";

/** How packets travel on one direction. Probabilities are per million. Knobs may be changed at any time. */
export interface LinkOptions {
  /** One-way delay of a packet, microseconds. */
  latencyMinUs: number;
  latencyMaxUs: number;
  /** The most bytes that travel together, as one arrival. */
  segmentSizeMax: number;
  /** A segment is cut at a random place, often after very few bytes. */
  splitPerMillion: number;
  /** A read returns all that arrived, glued together, rather than one segment; a waiting reader is woken late. */
  coalescePerMillion: number;
  /** A segment resets its connection instead of arriving. */
  resetPerMillion: number;
  /** A segment meets a congested moment: everything behind it waits up to `clogMaxUs`. */
  clogPerMillion: number;
  clogMaxUs: number;
  /** A connection request gets no answer. */
  connectLossPerMillion: number;
}

/** Proof that faults and limits happened. */
export interface NetworkCounters {
  connects: number;
  refusals: number;
  connectTimeouts: number;
  connectsLost: number;
  segments: number;
  bytes: number;
  /** Segments cut off before the end of what could have travelled together. */
  splits: number;
  coalescedReads: number;
  resets: number;
  clogs: number;
  /** Packets whose drawn delay was {@link LATE_US} or more. */
  delays: number;
  /** Packets that waited for a clogged direction. */
  clogged: number;
  /** Packets that met a cut link or a host that was down. */
  parked: number;
  /** Of those, packets that met a link cut both ways, and one cut this way only (or whose answer can't come back). */
  partitioned: number;
  oneWay: number;
  /** Connections that one end holds while the other has forgotten them without a word. */
  halfOpens: number;
  /** Writes that had to wait for a reader. */
  stalledWrites: number;
  /** Connections given up because nothing was acknowledged for too long. */
  giveUps: number;
  backlogOverflows: number;
}

/** All zero. */
export function createNetworkCounters(): NetworkCounters {
  return {
    connects: 0,
    refusals: 0,
    connectTimeouts: 0,
    connectsLost: 0,
    segments: 0,
    bytes: 0,
    splits: 0,
    coalescedReads: 0,
    resets: 0,
    clogs: 0,
    delays: 0,
    clogged: 0,
    parked: 0,
    partitioned: 0,
    oneWay: 0,
    halfOpens: 0,
    stalledWrites: 0,
    giveUps: 0,
    backlogOverflows: 0,
  };
}

/** A packet that takes so long, microseconds, counts as delayed: twice what a healthy network takes. */
const LATE_US = 1_000;

/** One direction between two hosts (or of a host's loopback). */
export class Link {
  readonly fromIndex: number;
  readonly toIndex: number;
  readonly options: LinkOptions;
  readonly prng: Prng;
  readonly #scheduler: Scheduler;
  readonly #counters: NetworkCounters;
  readonly #isHostUp: (index: number) => boolean;
  readonly #retransmitMaxUs: number;
  #isCut = false;
  #cloggedUntilUs = 0;
  #parked: (() => void)[] = [];

  constructor(init: {
    fromIndex: number;
    toIndex: number;
    options: LinkOptions;
    scheduler: Scheduler;
    counters: NetworkCounters;
    isHostUp: (index: number) => boolean;
    retransmitMaxUs: number;
  }) {
    this.fromIndex = init.fromIndex;
    this.toIndex = init.toIndex;
    this.options = init.options;
    this.#scheduler = init.scheduler;
    this.#counters = init.counters;
    this.#isHostUp = init.isHostUp;
    this.#retransmitMaxUs = init.retransmitMaxUs;
    this.prng = init.scheduler.prng.fork(`link ${init.fromIndex} ${init.toIndex}`);
  }

  /** Whether a packet under way gets through now: the direction is not cut, and the host it goes to has power. */
  get isOpen(): boolean {
    return !this.#isCut && this.#isHostUp(this.toIndex);
  }

  /** Whether the direction is cut. */
  get isCut(): boolean {
    return this.#isCut;
  }

  /** Counts a packet that did not get through; `back` is the other direction. */
  countParked(back: Link): void {
    this.#counters.parked++;
    if (this.#isCut && back.isCut) this.#counters.partitioned++;
    else if (this.#isCut || back.isCut) this.#counters.oneWay++;
  }

  /** Cuts the direction, or joins it again and lets what waited be sent anew. */
  setCut(isCut: boolean): void {
    this.#isCut = isCut;
    this.releaseParked();
  }

  /** Nothing arrives for `durationMs`; then everything does, in order. */
  clog(durationMs: number): void {
    this.#cloggedUntilUs = Math.max(this.#cloggedUntilUs, this.#scheduler.nowUs + durationMs * 1000);
  }

  /** Microseconds from now at which a packet sent now arrives. */
  drawArrivalUs(): number {
    const delayUs = this.prng.between(this.options.latencyMinUs, this.options.latencyMaxUs);
    const cloggedUs = this.#cloggedUntilUs - this.#scheduler.nowUs;
    if (cloggedUs > delayUs) this.#counters.clogged++;
    else if (delayUs >= LATE_US) this.#counters.delays++;
    return Math.max(delayUs, cloggedUs);
  }

  /** Keeps `retry` until the link opens; then it runs after the delay of a retransmission. */
  park(retry: () => void): void {
    this.#parked.push(retry);
  }

  /** Sends again what waited, when packets get through. Called after anything that may have opened the link. */
  releaseParked(): void {
    if (!this.isOpen || this.#parked.length === 0) return;
    const parked = this.#parked;
    this.#parked = [];
    for (const retry of parked) {
      this.#scheduler.schedule({
        kind: "retransmit",
        hostIndex: this.toIndex,
        life: null,
        delayUs: this.drawArrivalUs() + this.prng.between(0, this.#retransmitMaxUs),
        run: retry,
      });
    }
  }
}
