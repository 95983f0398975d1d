// The simulated world: it owns every completion. One event at a time (a timer, a packet, a connection, a sync, a read)
// is taken from the queue and released; then all promises settle; then comes the next. Time is the due time of the
// event released last. One integer seed decides everything, alike on Deno, Bun and Node. Tests drive it; the engine
// under test never sees it, only the Runtime of its host.
//
// Settling. Promise reactions run to the end before the next macrotask, so one `setImmediate` turn (about a
// microsecond on all three runtimes) drains every chain of awaits, however long. Turns go on until one passes without a
// call into the simulator, as work outside the promise queue (a runtime's own streams, compression) may need several;
// while an HTTP exchange is open, at least a few. A program that never comes to rest is an error, not a hang.

import type { DiskOptions } from "./disk_faults.ts";
import type { NetworkOptions } from "./network.ts";
import type { Scheduler, SimulatedEvent, SimulatedLife } from "./scheduler.ts";
import { setImmediate } from "node:timers";
import { EventQueue } from "./event_queue.ts";
import { WALL_START_MS } from "./clock.ts";
import { type HostOptions, SimulatedHost } from "./host.ts";
import { SimulatedHttp } from "./http.ts";
import { SimulatedNetwork } from "./network.ts";
import { SimulatedExit } from "./process.ts";
import { Prng } from "./prng.ts";
import { Trace } from "./trace.ts";
import { assert } from "../../base/errors.ts";

const TURNS_MAX = 100_000;
const HTTP_TURNS_MIN = 4;
const IDLE_TURNS_MAX = 1_000;
const DRIVE_DEADLINE_MS = 3_600_000;
const REPORTED_LINES_MAX = 20;
const WORLD_NAME = "-";

/** Settings of a world. */
export interface WorldOptions {
  readonly network?: Partial<NetworkOptions>;
  /** For every host; a host's own settings win. */
  readonly disk?: Partial<DiskOptions>;
  /** Wall clocks begin here, Unix ms. */
  readonly wallStartMs?: number;
  /** Timers run up to this late, microseconds; default 1,000. */
  readonly timerJitterMaxUs?: number;
  /** Lines of the trace that are kept; default 200. */
  readonly traceLinesMax?: number;
}

/** Several hosts, one network, one clock, one seed. */
export class SimulatedWorld implements Scheduler {
  readonly seed: number;
  readonly prng: Prng;
  readonly network: SimulatedNetwork;
  readonly trace: Trace;
  /** Host of the event released last, -1 for the world's own. */
  lastHostIndex = -1;
  readonly #options: WorldOptions;
  readonly #queue = new EventQueue();
  readonly #priorities: Prng;
  readonly #http: SimulatedHttp;
  readonly #hosts: SimulatedHost[] = [];
  #nowUs = 0;
  #sequence = 0;
  #activity = 0;

  /** `seed` is any safe integer. */
  constructor(seed: number, options: WorldOptions = {}) {
    this.seed = seed;
    this.#options = options;
    this.prng = new Prng(seed);
    this.#priorities = this.prng.fork("priorities");
    this.trace = new Trace(options.traceLinesMax ?? 200);
    this.network = new SimulatedNetwork(this, options.network ?? {});
    this.#http = new SimulatedHttp(this, this.network);
  }

  get nowUs(): number {
    return this.#nowUs;
  }

  /** World time, whole milliseconds since the beginning. */
  get nowMs(): number {
    return Math.floor(this.#nowUs / 1000);
  }

  /** Events that have not happened yet. */
  get pendingCount(): number {
    return this.#queue.size;
  }

  get hosts(): readonly SimulatedHost[] {
    return this.#hosts;
  }

  /** The host of that name; made and started on the first call, whose `options` count. */
  host(name: string, options: Partial<HostOptions> = {}): SimulatedHost {
    const known = this.#hosts.find((host) => host.name === name);
    if (known !== undefined) return known;
    const index = this.#hosts.length;
    const host = new SimulatedHost({
      name,
      index,
      address: this.network.addHost(name),
      options: {
        disk: { ...this.#options.disk, ...options.disk },
        env: options.env ?? {},
        wallStartMs: options.wallStartMs ?? this.#options.wallStartMs ?? WALL_START_MS,
        timerJitterMaxUs: options.timerJitterMaxUs ?? this.#options.timerJitterMaxUs ?? 1_000,
      },
      world: {
        scheduler: this,
        network: this.network,
        http: this.#http,
        forgetEventsOf: (life) => this.#queue.removeIf((event) => event.life === life),
        requeue: (event) => this.#requeue(event),
      },
    });
    this.#hosts.push(host);
    return host;
  }

  schedule(options: {
    kind: string;
    hostIndex: number;
    life: SimulatedLife | null;
    delayUs: number;
    run: () => number | void;
  }): SimulatedEvent {
    assert(options.delayUs >= 0, `Delay is ${options.delayUs} µs, wanted 0 or more`);
    this.#activity++;
    const event: SimulatedEvent = {
      kind: options.kind,
      hostIndex: options.hostIndex,
      life: options.life,
      dueUs: this.#nowUs + Math.floor(options.delayUs),
      priority: this.#priorities.nextUint32(),
      sequence: this.#sequence++,
      heapIndex: -1,
      isCancelled: false,
      run: options.run,
    };
    this.#queue.push(event);
    return event;
  }

  cancel(event: SimulatedEvent): void {
    if (!this.#queue.remove(event)) event.isCancelled = true;
  }

  noteActivity(): void {
    this.#activity++;
  }

  /** Runs `action` after `delayMs` of world time: a fault, a change of load. It belongs to no host. */
  after(delayMs: number, action: () => void): void {
    this.schedule({ kind: "harness", hostIndex: -1, life: null, delayUs: delayMs * 1000, run: action });
  }

  /** Puts a line of the test's own into the trace and its hash. */
  note(text: string, detail = 0): void {
    this.trace.record(this.#nowUs, text, WORLD_NAME, detail);
  }

  /** Lets all promises settle, without releasing an event. */
  async settle(): Promise<void> {
    for (let turns = 1; turns <= TURNS_MAX; turns++) {
      const before = this.#activity;
      await turn();
      const isOpenHttp = turns < HTTP_TURNS_MIN && this.#http.pendingCount > 0;
      if (this.#activity === before && !isOpenHttp) return;
    }
    throw this.#failure(`The program did not come to rest within ${TURNS_MAX} turns`);
  }

  /** Releases one event and lets everything settle. False when nothing is pending. */
  async step(): Promise<boolean> {
    await this.settle();
    const event = this.#queue.pop();
    if (event === undefined) return false;
    this.#release(event);
    await this.settle();
    return true;
  }

  /**
   * Releases events until `until` holds, which is asked after each. Throws, naming the seed, when it doesn't within
   * `deadlineMs` of world time, or nothing is left that could happen.
   */
  async run(until: () => boolean, deadlineMs: number): Promise<void> {
    const deadlineUs = this.#nowUs + deadlineMs * 1000;
    await this.settle();
    for (let idleTurns = 0; !until();) {
      const next = this.#queue.peek();
      if (next === undefined) {
        if (++idleTurns > IDLE_TURNS_MAX) throw this.#failure("Nothing is left that could happen");
        await turn();
        continue;
      }
      idleTurns = 0;
      if (next.dueUs > deadlineUs) throw this.#failure(`Not reached within ${deadlineMs} ms of world time`);
      this.#queue.pop();
      this.#release(next);
      await this.settle();
    }
  }

  /** Releases all events of the next `durationMs`; then it is that much later. */
  async advance(durationMs: number): Promise<void> {
    const untilUs = this.#nowUs + durationMs * 1000;
    await this.settle();
    for (let next = this.#queue.peek(); next !== undefined && next.dueUs <= untilUs; next = this.#queue.peek()) {
      this.#queue.pop();
      this.#release(next);
      await this.settle();
    }
    this.#nowUs = Math.max(this.#nowUs, untilUs);
  }

  /** Releases events until `work` settles; gives its result. For tests that await what hosts do. */
  async drive<T>(work: Promise<T>, deadlineMs: number = DRIVE_DEADLINE_MS): Promise<T> {
    let isSettled = false;
    const settled = () => {
      isSettled = true;
    };
    work.then(settled, settled);
    await this.run(() => isSettled, deadlineMs);
    return await work;
  }

  /** Sends an HTTP request to a server on a host, by the port of its URL. Needs the world to be driven meanwhile. */
  fetch(host: SimulatedHost | string, request: Request): Promise<Response> {
    const { index } = typeof host === "string" ? this.host(host) : host;
    return this.#http.fetch(index, request);
  }

  #release(event: SimulatedEvent): void {
    this.#nowUs = Math.max(this.#nowUs, event.dueUs);
    this.lastHostIndex = event.hostIndex;
    const host = this.#hosts[event.hostIndex];
    if (host?.isPaused) return host.hold(event);
    let detail = -1;
    try {
      detail = event.run() ?? 0;
    } catch (error) {
      if (!(error instanceof SimulatedExit)) throw this.#failure(`Event "${event.kind}" failed`, error);
    } finally {
      this.trace.record(this.#nowUs, event.kind, host?.name ?? WORLD_NAME, detail);
    }
  }

  #requeue(event: SimulatedEvent): void {
    event.dueUs = Math.max(event.dueUs, this.#nowUs);
    this.#queue.push(event);
  }

  #failure(message: string, cause?: unknown): Error {
    const lines = this.trace.lines.slice(-REPORTED_LINES_MAX).join("\n  ");
    return new Error(`Seed ${this.seed}: ${message}, at ${this.#nowUs} µs; last events:\n  ${lines}`, { cause });
  }
}

function turn(): Promise<void> {
  return new Promise((resolve) => {
    setImmediate(resolve);
  });
}
