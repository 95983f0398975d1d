// What a conformance test is given. The suites below know no runtime: a real adapter and the simulator each bring a
// Conduct that makes a fresh environment, makes time pass while a test body runs, and clears up after it.

import type { Runtime } from "../../src/runtime/runtime.ts";

/** An address that takes a connection request and never answers it. */
export interface SilentPeer {
  readonly hostname: string;
  readonly port: number;
  release(): Promise<void>;
}

/** The world of one test. */
export interface ConformanceEnv {
  readonly runtime: Runtime;
  /** The address on which the runtime reaches itself. */
  readonly hostname: string;
  /** A fresh, empty directory. */
  readonly directory: string;
  /** An HTTP client that can reach the runtime's own servers. Cancelling a response's body drops its connection. */
  fetch(url: string, init?: RequestInit): Promise<Response>;
  silentPeer(): Promise<SilentPeer>;
  /** A fresh, empty directory on a file system of at most 4 MiB. Only called when `smallDisk` is not a reason. */
  smallDiskDirectory(): string;
}

/** Runs a test body in a fresh environment until its promise settles; rethrows its failure. */
export type Conduct = (body: (env: ConformanceEnv) => Promise<void>) => Promise<void>;

/** What a host of the suites can't do: a reason in place of `true` skips those tests and is part of their name. */
export interface Abilities {
  readonly silentPeer: true | string;
  readonly smallDisk: true | string;
  /** After the end of its own direction a connection still reads. */
  readonly halfClose: true | string;
  /** What was written right before `close` arrives. */
  readonly lastWords: true | string;
}
