// One simulated machine: its clock, disk and address, which last, and the program running on it, whose life ends by
// exit, kill or loss of power and begins again with a new Runtime. The world makes hosts and releases their events.

import type { Random, Runtime } from "../runtime.ts";
import type { CrashMode } from "./disk_file.ts";
import type { DiskOptions } from "./disk_faults.ts";
import type { SimulatedHttp } from "./http.ts";
import type { SimulatedNetwork } from "./network.ts";
import type { Prng } from "./prng.ts";
import type { Scheduler, SimulatedEvent, SimulatedLife } from "./scheduler.ts";
import { SimulatedClock, SimulatedHostClock } from "./clock.ts";
import { SimulatedDisk } from "./disk.ts";
import { SimulatedFileSystem } from "./disk_file_system.ts";
import { SimulatedProcess } from "./process.ts";
import { assert } from "../../base/errors.ts";

const VERSION = "1";

/** Settings of one host. */
export interface HostOptions {
  readonly disk: Partial<DiskOptions>;
  /** Environment variables of its programs. */
  readonly env: Readonly<Record<string, string>>;
  /** Wall clock at the beginning of the world, Unix ms. */
  readonly wallStartMs: number;
  /** Timers run up to this late, microseconds. */
  readonly timerJitterMaxUs: number;
}

/** What a host needs of its world. */
export interface HostWorld {
  readonly scheduler: Scheduler;
  readonly network: SimulatedNetwork;
  readonly http: SimulatedHttp;
  /** Takes all pending events of a life out. */
  forgetEventsOf(life: SimulatedLife): void;
  /** Puts an event that was held back into the queue. */
  requeue(event: SimulatedEvent): void;
}

/** A program's run with what it was given. */
interface Program {
  readonly life: SimulatedLife;
  readonly runtime: Runtime;
  readonly fs: SimulatedFileSystem;
  readonly clock: SimulatedClock;
  readonly process: SimulatedProcess;
}

/** One machine of a {@link SimulatedWorld}. */
export class SimulatedHost {
  readonly name: string;
  readonly index: number;
  /** IPv4 address on the simulated network. */
  readonly address: string;
  readonly clock: SimulatedHostClock;
  readonly disk: SimulatedDisk;
  /** What the last program exited with; `null` while it runs, or when it was killed. */
  exitCode: number | null = null;
  /** Events that had to wait for the end of a pause. */
  heldCount = 0;
  readonly #world: HostWorld;
  readonly #options: HostOptions;
  readonly #prng: Prng;
  readonly #held: SimulatedEvent[] = [];
  #program: Program | null = null;
  #lastProcess: SimulatedProcess | null = null;
  #lifeCount = 0;
  #isPaused = false;
  #hasPower = true;

  constructor(init: { name: string; index: number; address: string; world: HostWorld; options: HostOptions }) {
    this.name = init.name;
    this.index = init.index;
    this.address = init.address;
    this.#world = init.world;
    this.#options = init.options;
    const { scheduler } = init.world;
    this.#prng = scheduler.prng.fork(`host ${init.index}`);
    this.clock = new SimulatedHostClock(scheduler, init.options.wallStartMs);
    this.disk = new SimulatedDisk({
      scheduler,
      hostIndex: init.index,
      prng: this.#prng.fork("disk"),
      options: init.options.disk,
      wallMs: () => this.clock.wallMs,
    });
    this.restart();
  }

  /** Whether a program runs. */
  get isRunning(): boolean {
    return this.#program !== null;
  }

  get isPaused(): boolean {
    return this.#isPaused;
  }

  /** What the running program works with. A new one after every restart. */
  get runtime(): Runtime {
    return this.#running().runtime;
  }

  /** The running program's process, or the last one's: its captured output. */
  get process(): SimulatedProcess {
    return this.#lastProcess!;
  }

  /** Timers that the running program has set. */
  get timerCount(): number {
    return this.#running().clock.timerCount;
  }

  /** Handles beyond one per file that the running program holds open. */
  get surplusFileCount(): number {
    return this.#running().fs.surplusHandleCount;
  }

  /** Files that the running program holds open. */
  get openFileCount(): number {
    return this.#running().fs.openHandleCount;
  }

  /**
   * Loss of power: the program is gone in mid-step, unsynced bytes are kept, lost or torn (by seed, or all by `mode`),
   * peers hear nothing.
   */
  crash(mode?: CrashMode): void {
    assert(this.#hasPower, `Host "${this.name}" has no power already`);
    this.#hasPower = false;
    this.#endLife(true);
    this.disk.crash(mode);
  }

  /** SIGKILL: the program is gone in mid-step; the kernel keeps what it wrote and closes its connections. */
  kill(): void {
    this.#running();
    this.#endLife(false);
  }

  /** Starts a new program over the disk as it is; power comes back when it was lost. Returns its runtime. */
  restart(): Runtime {
    assert(this.#program === null, `Host "${this.name}" is running`);
    if (!this.#hasPower) {
      this.#hasPower = true;
      this.#world.network.powerOn(this.index);
    }
    this.exitCode = null;
    this.#program = this.#startProgram();
    this.#lastProcess = this.#program.process;
    return this.#program.runtime;
  }

  /** SIGSTOP, or a machine too busy: nothing happens here until {@link resume}. */
  pause(): void {
    this.#isPaused = true;
  }

  /** Everything that waited happens, in seeded order. */
  resume(): void {
    this.#isPaused = false;
    for (const event of this.#held.splice(0)) if (!event.isCancelled) this.#world.requeue(event);
  }

  /** Sends a stop signal; it arrives as an event. SIGKILL is {@link kill}. */
  signal(name: string): void {
    const { life, process } = this.#running();
    this.#world.scheduler.schedule({
      kind: "signal",
      hostIndex: this.index,
      life,
      delayUs: 0,
      run: () => Number(process.deliverSignal(name)),
    });
  }

  /** Hands bytes to the program's standard input; `null` ends it. */
  input(chunk: Uint8Array | null): void {
    const { life, process } = this.#running();
    const run = () => process.deliverInput(chunk);
    this.#world.scheduler.schedule({ kind: "input", hostIndex: this.index, life, delayUs: 0, run });
  }

  /** Keeps an event for the end of the pause. Called by the world. */
  hold(event: SimulatedEvent): void {
    this.heldCount++;
    this.#held.push(event);
  }

  #running(): Program {
    assert(this.#program !== null, `No program runs on host "${this.name}"`);
    return this.#program;
  }

  #startProgram(): Program {
    const { scheduler, network, http } = this.#world;
    const number = ++this.#lifeCount;
    const life: SimulatedLife = {
      hostIndex: this.index,
      pid: 1000 + number,
      startedUs: scheduler.nowUs,
      alive: true,
    };
    const prng = this.#prng.fork(`life ${number}`);
    const fs = new SimulatedFileSystem(this.disk, life);
    const process = new SimulatedProcess(scheduler, life, {
      hostname: this.name,
      localAddress: this.address,
      env: this.#options.env,
      startToken: (pid) => (this.#program?.life.pid === pid ? `${this.#program.life.startedUs}` : null),
      onExit: (code) => this.#exit(life, code),
    });
    const jitterMaxUs = this.#options.timerJitterMaxUs;
    const clock = new SimulatedClock(scheduler, this.clock, life, prng.fork("timers"), jitterMaxUs);
    const runtime: Runtime = {
      name: "simulated",
      version: VERSION,
      net: network.netOf(life),
      fs,
      clock,
      random: randomOf(prng.fork("random")),
      process,
      serveHttp: (options, handler) => http.serve(life, options, handler),
    };
    return { life, runtime, fs, clock, process };
  }

  #exit(life: SimulatedLife, code: number): void {
    if (!life.alive) return;
    this.#endLife(false);
    this.exitCode = code;
  }

  #endLife(isPowerLost: boolean): void {
    const program = this.#program;
    this.#program = null;
    this.resume();
    if (program !== null) {
      program.life.alive = false;
      this.#world.forgetEventsOf(program.life);
      this.#world.http.endLife(program.life);
      program.fs.abandon(isPowerLost);
    }
    this.#world.network.endLife(this.index, isPowerLost);
  }
}

function randomOf(prng: Prng): Random {
  return {
    nextInt: (bound) => prng.nextInt(bound),
    bytes: (count) => prng.bytes(count),
  };
}
