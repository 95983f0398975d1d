// What the parts of the simulator share: the run of one program on a host (its life), the pending event, and the narrow
// view of the world through which parts make events. None holds behaviour of its own; the world implements the view.

import type { Prng } from "./prng.ts";
import { IoError } from "../../base/errors.ts";

/** One run of a program on a host, from start to crash or exit. What belongs to a dead life never happens. */
export interface SimulatedLife {
  readonly hostIndex: number;
  readonly pid: number;
  /** World time at its start, microseconds. */
  readonly startedUs: number;
  alive: boolean;
}

/** Throws {@link IoError} `closed` when the program is no longer running: its handles are dead with it. */
export function requireAlive(life: SimulatedLife): void {
  if (!life.alive) throw new IoError("closed", `Process ${life.pid} is no longer running`);
}

/** One thing that will happen. */
export interface SimulatedEvent {
  /** What happens, for the trace: `timer`, `deliver`, `connect`, `sync` and the like. */
  readonly kind: string;
  /** Index of the host it happens on, -1 for the world itself. */
  readonly hostIndex: number;
  /** The run of a program that it belongs to, `null` for what outlives programs (packets, the kernel's disk work). */
  readonly life: SimulatedLife | null;
  /** World time at which it may happen, microseconds. */
  dueUs: number;
  /** Seeded; decides among events due together. */
  readonly priority: number;
  readonly sequence: number;
  /** Place in the heap, -1 when not pending. Owned by {@link EventQueue}. */
  heapIndex: number;
  /** Cancelled while it was out of the queue, held for a paused host. */
  isCancelled: boolean;
  /** Does it. The number it returns goes into the trace. */
  readonly run: () => number | void;
}

/** What a part of the simulator needs of the world. */
export interface Scheduler {
  /** World time, microseconds since the world began. */
  readonly nowUs: number;
  /** The world's root generator; parts fork it and draw from the fork. */
  readonly prng: Prng;
  /** Puts an event into the queue, `delayUs` (>= 0) from now. */
  schedule(options: {
    kind: string;
    hostIndex: number;
    life: SimulatedLife | null;
    delayUs: number;
    run: () => number | void;
  }): SimulatedEvent;
  /** Takes it out again; nothing happens when it already ran. */
  cancel(event: SimulatedEvent): void;
  /** Says that program code did something, so that settling goes on for another turn. */
  noteActivity(): void;
}
