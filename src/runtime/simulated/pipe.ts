// One direction of a simulated TCP connection: the sender's kernel buffer, the segments under way, the receiver's kernel
// buffer, each bounded, so that a reader that stops reading stops the writer. It keeps order, cuts and glues bytes by
// seed, and ends by FIN. Resets and the rules of connections are the endpoints' (connection.ts).

import type { Link, NetworkCounters } from "./link.ts";
import type { Scheduler } from "./scheduler.ts";
import type { SimulatedEvent } from "./scheduler.ts";
import { concatBytes } from "../../base/bytes.ts";
import { crc32 } from "node:zlib";

/** The two ends as a pipe sees them. */
export interface PipeEnds {
  /** Room came free in the send buffer, or the last byte left it. */
  onRoom(): void;
  /** A segment arrives. `arrived`: hand it over; `gone`: nobody is there any more, answer with a reset. */
  receiverState(): "arrived" | "gone";
  /** Bytes or the end of the stream are there to be read. */
  onArrival(): void;
  /** The segment met a receiver that is gone. */
  onRefusedSegment(): void;
  /** The seed decided that the network resets this connection. */
  onReset(): void;
  /** Nothing got through for too long. */
  onGiveUp(): void;
}

/** Limits of a pipe, bytes and microseconds. */
export interface PipeLimits {
  readonly sendBufferSize: number;
  readonly receiveBufferSize: number;
  readonly giveUpUs: number;
}

interface Segment {
  /** `null` is the FIN. */
  readonly bytes: Uint8Array | null;
  readonly dueUs: number;
}

const TINY_SPLIT_MAX = 16;
/** A stalled writer hears of room once a third of the buffer is free. */
const ROOM_REPORTED_FRACTION = 3;
const READ_SIZE_MAX = 1024 * 1024;

/** Bytes from one endpoint to the other. */
export class Pipe {
  readonly #scheduler: Scheduler;
  readonly #link: Link;
  readonly #back: Link;
  readonly #counters: NetworkCounters;
  readonly #limits: PipeLimits;
  readonly #ends: PipeEnds;

  #sendQueue: Uint8Array[] = [];
  #sendQueued = 0;
  #finQueued = false;
  #finSent = false;
  #flight: Segment[] = [];
  #flightSize = 0;
  #lastDueUs = 0;
  #arrival: SimulatedEvent | null = null;
  #isParked = false;
  #giveUp: SimulatedEvent | null = null;
  /** Bytes that arrived while the way back was cut: the sender has not heard, so they still fill its window. */
  #unacknowledged = 0;
  #isAckParked = false;
  #receiveQueue: Uint8Array[] = [];
  #received = 0;
  #ended = false;
  #isSenderGone = false;
  #isDropped = false;

  constructor(init: {
    scheduler: Scheduler;
    link: Link;
    back: Link;
    counters: NetworkCounters;
    limits: PipeLimits;
    ends: PipeEnds;
    /** World time before which nothing arrives: the handshake's own packets go first. */
    notBeforeUs: number;
  }) {
    this.#scheduler = init.scheduler;
    this.#link = init.link;
    this.#back = init.back;
    this.#counters = init.counters;
    this.#limits = init.limits;
    this.#ends = init.ends;
    this.#lastDueUs = init.notBeforeUs;
  }

  /** Bytes that the send buffer can take now. */
  get room(): number {
    return this.#limits.sendBufferSize - this.#sendQueued;
  }

  /** Bytes that arrived and were not read. */
  get unreadSize(): number {
    return this.#received;
  }

  /** Whether everything was read and the sender has ended the stream. */
  get isAtEnd(): boolean {
    return this.#ended && this.#received === 0;
  }

  /** Whether the sender's end of stream has arrived. */
  get hasEnded(): boolean {
    return this.#ended;
  }

  /** Takes a copy of `bytes`, at most `room` of them. */
  send(bytes: Uint8Array): void {
    this.#sendQueue.push(bytes.slice());
    this.#sendQueued += bytes.length;
    this.#transmit();
  }

  /** Sends the end of the stream after what is queued. */
  sendFin(): void {
    this.#finQueued = true;
    this.#transmit();
  }

  /** Takes what arrived: one segment, or several glued by seed. Empty when nothing is there. */
  take(): Uint8Array | null {
    if (this.#receiveQueue.length === 0) return null;
    let count = 1;
    if (this.#receiveQueue.length > 1 && this.#link.prng.chance(this.#link.options.coalescePerMillion)) {
      let size = this.#receiveQueue[0]!.length;
      while (count < this.#receiveQueue.length && size + this.#receiveQueue[count]!.length <= READ_SIZE_MAX) {
        size += this.#receiveQueue[count++]!.length;
      }
      if (count > 1) this.#counters.coalescedReads++;
    }
    const parts = this.#receiveQueue.splice(0, count);
    const bytes = parts.length === 1 ? parts[0]! : concatBytes(parts);
    this.#received -= bytes.length;
    this.#transmit();
    return bytes;
  }

  /** The sender lost its power: what it had not sent is lost, what is under way arrives now or never. */
  dropUnsent(): void {
    this.#isSenderGone = true;
    if (this.#isParked) this.#flight = [];
    this.#stopGiveUp();
    this.#sendQueue = [];
    this.#sendQueued = 0;
    this.#finQueued = false;
  }

  /** The connection is over: nothing arrives any more. What already arrived stays readable unless `andUnread`. */
  drop(andUnread: boolean): void {
    this.#isDropped = true;
    this.dropUnsent();
    this.#flight = [];
    this.#flightSize = 0;
    if (this.#arrival !== null) this.#scheduler.cancel(this.#arrival);
    this.#arrival = null;
    this.#stopGiveUp();
    if (!andUnread) return;
    this.#receiveQueue = [];
    this.#received = 0;
  }

  /** Moves queued bytes under way as far as the receiver's window allows. */
  #transmit(): void {
    if (this.#isDropped) return;
    let moved = false;
    for (;;) {
      const head = this.#sendQueue[0];
      const window = this.#window();
      if (head === undefined || window === 0) break;
      const segment = head.subarray(0, this.#drawSegmentSize(Math.min(head.length, window)));
      if (segment.length === head.length) this.#sendQueue.shift();
      else this.#sendQueue[0] = head.subarray(segment.length);
      this.#sendQueued -= segment.length;
      this.#flightSize += segment.length;
      this.#launch(segment);
      moved = true;
    }
    if (this.#finQueued && !this.#finSent && this.#sendQueue.length === 0) {
      this.#finSent = true;
      this.#launch(null);
    }
    if (moved && this.room * ROOM_REPORTED_FRACTION >= this.#limits.sendBufferSize) this.#ends.onRoom();
  }

  /**
   * Bytes that may be sent now. As real kernels do, it waits for a window worth a whole segment unless all the rest
   * fits: a window handed back in crumbs would have everything travel in crumbs from then on.
   */
  #window(): number {
    const { receiveBufferSize } = this.#limits;
    const window = receiveBufferSize - this.#received - this.#flightSize - this.#unacknowledged;
    const worthwhile = Math.min(this.#link.options.segmentSizeMax, Math.floor(receiveBufferSize / 2));
    return window >= Math.min(worthwhile, this.#sendQueued) ? Math.max(0, window) : 0;
  }

  #drawSegmentSize(available: number): number {
    const size = Math.min(available, this.#link.options.segmentSizeMax);
    if (size < available) this.#counters.splits++;
    const prng = this.#link.prng;
    if (size < 2 || !prng.chance(this.#link.options.splitPerMillion)) return size;
    if (size === available) this.#counters.splits++;
    return 1 + prng.nextInt(prng.nextInt(2) === 0 ? Math.min(size - 1, TINY_SPLIT_MAX) : size - 1);
  }

  #launch(bytes: Uint8Array | null): void {
    this.#counters.segments++;
    this.#counters.bytes += bytes?.length ?? 0;
    this.#lastDueUs = Math.max(this.#lastDueUs, this.#scheduler.nowUs + this.#link.drawArrivalUs());
    this.#flight.push({ bytes, dueUs: this.#lastDueUs });
    this.#awaitArrival();
  }

  #awaitArrival(): void {
    const head = this.#flight[0];
    if (head === undefined || this.#arrival !== null || this.#isParked) return;
    this.#arrival = this.#scheduler.schedule({
      kind: head.bytes === null ? "fin" : "deliver",
      hostIndex: this.#link.toIndex,
      life: null,
      delayUs: Math.max(0, head.dueUs - this.#scheduler.nowUs),
      run: () => {
        this.#arrival = null;
        return this.#arrive();
      },
    });
  }

  #arrive(): number {
    if (this.#isDropped) return 0;
    if (!this.#link.isOpen) return this.#parkFlight();
    this.#stopGiveUp();
    const options = this.#link.options;
    if (this.#link.prng.chance(options.resetPerMillion)) {
      this.#ends.onReset();
      return -1;
    }
    if (this.#link.prng.chance(options.clogPerMillion)) {
      this.#counters.clogs++;
      this.#link.clog(Math.floor(this.#link.prng.between(1, options.clogMaxUs) / 1000) + 1);
    }
    const isGone = this.#ends.receiverState() === "gone";
    const { bytes } = this.#flight.shift()!;
    if (isGone) {
      if (bytes !== null) this.#ends.onRefusedSegment();
      return -2;
    }
    if (bytes === null) {
      this.#ended = true;
    } else {
      this.#flightSize -= bytes.length;
      this.#received += bytes.length;
      this.#receiveQueue.push(bytes);
      this.#acknowledge(bytes.length);
    }
    this.#awaitArrival();
    this.#ends.onArrival();
    return bytes === null ? 0 : crc32(bytes);
  }

  /** The receiver's word that bytes arrived needs the way back. */
  #acknowledge(size: number): void {
    if (this.#back.isOpen) return;
    if (this.#isSenderGone) return;
    if (size > 0) this.#back.countParked(this.#link);
    this.#unacknowledged += size;
    if (this.#isAckParked) return;
    this.#isAckParked = true;
    this.#startGiveUp();
    this.#back.park(() => {
      this.#isAckParked = false;
      const acknowledged = this.#unacknowledged;
      this.#unacknowledged = 0;
      this.#stopGiveUp();
      if (!this.#isDropped) this.#acknowledge(0);
      if (acknowledged > 0) this.#transmit();
    });
  }

  #parkFlight(): number {
    this.#link.countParked(this.#back);
    if (this.#isSenderGone) {
      this.#flight = [];
      return -4;
    }
    this.#isParked = true;
    this.#startGiveUp();
    this.#link.park(() => {
      this.#isParked = false;
      if (!this.#isDropped && !this.#isSenderGone) this.#awaitArrival();
    });
    return -3;
  }

  #startGiveUp(): void {
    this.#giveUp ??= this.#scheduler.schedule({
      kind: "give-up",
      hostIndex: this.#link.fromIndex,
      life: null,
      delayUs: this.#limits.giveUpUs,
      run: () => {
        this.#giveUp = null;
        this.#ends.onGiveUp();
      },
    });
  }

  #stopGiveUp(): void {
    if (this.#giveUp !== null) this.#scheduler.cancel(this.#giveUp);
    this.#giveUp = null;
  }
}
