// The neutral counterparts in C: compiled on first use, run as child processes, their JSON lines read. Every child is
// ended with this process.

import { type ChildProcessByStdio, execFileSync, spawn } from "node:child_process";
import * as fs from "node:fs";
import * as path from "node:path";
import type { Readable, Writable } from "node:stream";
import { fileURLToPath } from "node:url";

/** The repository's root. */
export const ROOT = fileURLToPath(new URL("../..", import.meta.url));
/** Where compiled programs and stores live; not part of the repository. */
export const CACHE = path.join(ROOT, ".cache/bench");

type PipedChild = ChildProcessByStdio<Writable, Readable, Readable>;
const running = new Set<PipedChild>();
process.on("exit", () => {
  for (const child of running) child.kill("SIGKILL");
});

/** A program of bench/neutral. */
export type PeerProgram =
  | "answer"
  | "delay_forwarder"
  | "ha_peer"
  | "idle_peer"
  | "limits"
  | "page_cache"
  | "pull_peer"
  | "send_peer";

/** What all of them include. */
const COMMON = path.join(ROOT, "bench/neutral/common.h");

/** Compiles a program of bench/neutral unless that was done; answers with its path. Needs `cc`. */
export function compile(name: PeerProgram): string {
  const source = path.join(ROOT, `bench/neutral/${name}.c`);
  const target = path.join(CACHE, name);
  const changedMs = Math.max(...[source, COMMON].map((file) => fs.statSync(file).mtimeMs));
  if (!fs.existsSync(target) || fs.statSync(target).mtimeMs < changedMs) {
    fs.mkdirSync(CACHE, { recursive: true });
    execFileSync("cc", ["-O2", "-o", target, source], { stdio: "inherit" });
  }
  return target;
}

/** What a program of bench/neutral prints: one flat object of numbers per line. */
export type PeerResult = Readonly<Record<string, number>>;

/** A running program of bench/neutral. */
export class Peer {
  readonly pid: number;
  readonly #child: PipedChild;
  readonly #name: string;
  readonly #exited: Promise<void>;
  #out = "";
  #err = "";
  #code: number | null | undefined;
  #lines = 0;
  #onChange: () => void = () => {};

  constructor(program: PeerProgram, args: (string | number)[]) {
    this.#name = `${program} ${args[0]}`;
    this.#child = spawn(compile(program), args.map(String), { stdio: ["pipe", "pipe", "pipe"] });
    this.pid = this.#child.pid!;
    running.add(this.#child);
    this.#child.stdout.setEncoding("utf8").on("data", (text) => this.#changed(() => this.#out += text));
    this.#child.stderr.setEncoding("utf8").on("data", (text) => this.#changed(() => this.#err += text));
    this.#child.stdin.on("error", () => {});
    this.#exited = new Promise((resolve) => {
      this.#child.on("close", (code) => {
        running.delete(this.#child);
        this.#changed(() => this.#code = code);
        resolve();
      });
    });
  }

  #changed(change: () => void): void {
    change();
    this.#onChange();
  }

  /** Waits until `find` gives something; rejects when the program ends before, or after `limitMs`. */
  #until<T>(what: string, limitMs: number, find: () => T | null): Promise<T> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(
        () => done(() => reject(new Error(`${this.#name}: no ${what} in ${limitMs} ms`))),
        limitMs,
      );
      const done = (settle: () => void) => {
        clearTimeout(timer);
        this.#onChange = () => {};
        settle();
      };
      const look = () => {
        const found = find();
        if (found !== null) done(() => resolve(found));
        else if (this.#code !== undefined) {
          done(() => reject(new Error(`${this.#name} ended with ${this.#code} before ${what}: ${this.#err.trim()}`)));
        }
      };
      this.#onChange = look;
      look();
    });
  }

  /** The port it listens on. */
  port(): Promise<number> {
    return this.#until("port", 10_000, () => {
      const match = this.#err.match(/listening (\d+)/);
      return match ? Number(match[1]) : null;
    });
  }

  /** Waits for that word on its standard error. */
  async said(word: string, limitMs: number): Promise<void> {
    await this.#until(`"${word}"`, limitMs, () => this.#err.includes(word) || null);
  }

  /** Sends a line to its standard input. */
  go(): void {
    this.#child.stdin.write("go\n");
  }

  /** Its next line of results. */
  async result(limitMs = 120_000): Promise<PeerResult> {
    const index = this.#lines++;
    const line = await this.#until("result", limitMs, () => {
      const lines = this.#out.split("\n");
      return index < lines.length - 1 ? lines[index]! : null;
    });
    return JSON.parse(line);
  }

  /** SIGKILL, and wait. */
  async destroy(): Promise<void> {
    this.#child.kill("SIGKILL");
    await this.#exited;
  }
}

/** Runs a program of bench/neutral to its one result. */
export async function measure(program: PeerProgram, ...args: (string | number)[]): Promise<PeerResult> {
  const peer = new Peer(program, args);
  try {
    return await peer.result();
  } finally {
    await peer.destroy();
  }
}
