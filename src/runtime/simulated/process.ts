// The operating system's view of a simulated program: fixed facts, captured output, signals that a test sends. It holds
// no time and no chance; the host drives it.

import type { Process } from "../runtime.ts";
import type { Scheduler, SimulatedLife } from "./scheduler.ts";
import { deferred } from "../../base/async.ts";

/** Thrown by the simulated `exit`, which must not return. Nobody has to catch it: the program is already dead. */
export class SimulatedExit extends Error {
  override readonly name = "SimulatedExit";
  readonly code: number;
  constructor(code: number) {
    super(`The simulated process exited with ${code}`);
    this.code = code;
  }
}

/** What a host tells its process. */
export interface ProcessOptions {
  readonly hostname: string;
  readonly localAddress: string;
  readonly env: Readonly<Record<string, string>>;
  /** Start token of a live process on this host, else `null`. */
  readonly startToken: (pid: number) => string | null;
  /** Called once by `exit`; the life is dead when it returns. */
  readonly onExit: (code: number) => void;
}

const TOTAL_MEMORY_BYTES = 8 * 1024 * 1024 * 1024;
const RESIDENT_MEMORY_BYTES = 64 * 1024 * 1024;
const OUTPUT_CHARS_MAX = 1024 * 1024;

/** The {@link Process} of one life. */
export class SimulatedProcess implements Process {
  readonly pid: number;
  readonly hostname: string;
  readonly localAddress: string;
  readonly stdoutIsTerminal = false;
  readonly stdoutIsClosed = false;
  readonly #scheduler: Scheduler;
  readonly #options: ProcessOptions;
  readonly #signalListeners = new Set<(signal: string) => void>();
  readonly #input: (Uint8Array | null)[] = [];
  #inputWaiter: (() => void) | null = null;
  #out = "";
  #err = "";

  constructor(scheduler: Scheduler, life: SimulatedLife, options: ProcessOptions) {
    this.#scheduler = scheduler;
    this.#options = options;
    this.pid = life.pid;
    this.hostname = options.hostname;
    this.localAddress = options.localAddress;
  }

  env(name: string): string | undefined {
    return this.#options.env[name];
  }

  startToken(pid: number): string | null {
    return this.#options.startToken(pid);
  }

  onStopSignal(callback: (signal: string) => void): () => void {
    const listener = (signal: string) => callback(signal);
    this.#signalListeners.add(listener);
    return () => this.#signalListeners.delete(listener);
  }

  memory(): { totalBytes: number; residentBytes: number } {
    return { totalBytes: TOTAL_MEMORY_BYTES, residentBytes: RESIDENT_MEMORY_BYTES };
  }

  writeOut(text: string): void {
    this.#scheduler.noteActivity();
    this.#out = (this.#out + text).slice(-OUTPUT_CHARS_MAX);
  }

  writeErr(text: string): void {
    this.#scheduler.noteActivity();
    this.#err = (this.#err + text).slice(-OUTPUT_CHARS_MAX);
  }

  async *stdin(): AsyncIterable<Uint8Array> {
    for (;;) {
      const chunk = this.#input.shift();
      if (chunk === null) return;
      if (chunk !== undefined) {
        yield chunk;
        continue;
      }
      const { promise, resolve } = deferred<void>();
      this.#inputWaiter = resolve;
      await promise;
    }
  }

  exit(code: number): never {
    this.#options.onExit(code);
    throw new SimulatedExit(code);
  }

  /** What was written to standard output; the last MiB of characters. */
  get capturedOut(): string {
    return this.#out;
  }

  /** What was written to standard error; the last MiB of characters. */
  get capturedErr(): string {
    return this.#err;
  }

  /** Hands bytes to standard input; `null` ends it. Called by the host inside an event. */
  deliverInput(chunk: Uint8Array | null): void {
    this.#input.push(chunk);
    this.#inputWaiter?.();
    this.#inputWaiter = null;
  }

  /** Calls the signal listeners. Called by the host inside an event; true when somebody listened. */
  deliverSignal(signal: string): boolean {
    const listeners = [...this.#signalListeners];
    for (const listener of listeners) listener(signal);
    return listeners.length > 0;
  }
}
