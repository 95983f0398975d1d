// Twinlog processes under test: cli.ts on any of the three runtimes, spoken to by its ready line and its admin API.

import * as fs from "node:fs";
import * as path from "node:path";
import { freeBrokerPort, LabProcess, ROOT, until } from "./processes.ts";

/** The runtimes a node can run on. */
export const RUNTIMES = ["deno", "bun", "node"] as const;
export type RuntimeName = (typeof RUNTIMES)[number];

/** Command and leading arguments that run cli.ts on a runtime, from the pinned packages. */
export function cliCommand(runtime: RuntimeName): [string, string[]] {
  const bin = path.join(ROOT, "node_modules/.bin", runtime);
  return [bin, runtime === "deno" ? ["run", "-A", "--no-check", "cli.ts"] : ["cli.ts"]];
}

/** What `/ha` answers, as far as tests read it. */
// deno-lint-ignore no-explicit-any
export type HaStatus = any;

/** A running Twinlog node. */
export class TwinlogNode {
  readonly process: LabProcess;
  readonly store: string;
  /** Bound addresses from the ready line. */
  addresses!: { remoting: string; vip: string; ha: string; admin: string };

  constructor(process: LabProcess, store: string) {
    this.process = process;
    this.store = store;
  }

  get port(): number {
    return Number(this.addresses.remoting.split(":").at(-1));
  }

  /** Calls the admin API; rejects on a status other than 2xx with the answer's text, and after `limitMs`. */
  async admin(method: string, route: string, body?: unknown, limitMs = 120_000): Promise<HaStatus> {
    const response = await fetch(`http://${this.addresses.admin}${route}`, {
      method,
      signal: AbortSignal.timeout(limitMs),
      headers: body === undefined ? {} : { "content-type": "application/json" },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    if (!response.ok) throw new Error(`${method} ${route} answered ${response.status}: ${text}`);
    return JSON.parse(text);
  }

  /** The answer of `/ha`. */
  ha(limitMs?: number): Promise<HaStatus> {
    return this.admin("GET", "/ha", undefined, limitMs);
  }

  /** Waits until its log ends at `offset`. */
  async waitForMax(offset: number, limitMs = 120_000): Promise<void> {
    await until(`${this.process.name} to reach ${offset}`, limitMs, async () => {
      if (!this.process.alive) throw new Error(`${this.process.name} ended:\n${this.process.output().slice(-3000)}`);
      return (await this.ha()).maxOffset >= offset;
    });
  }
}

let started = 0;

/**
 * Flags that keep a node to itself, unless `args` say something of NameServers or leave it to a file: by default it would
 * register with whatever answers on port 9876 of this machine, or serve strangers there.
 */
function withoutNamesrv(args: readonly string[]): string[] {
  const isSaid = args.some((arg) => arg === "-c" || arg === "namesrv" || arg.startsWith("--namesrv-"));
  return isSaid ? [] : ["--namesrv-addr", "none", "--namesrv-enable", "false"];
}

/** Starts a node and waits for its ready line. `args` are cli flags. */
export async function startTwinlog(options: {
  runtime: RuntimeName;
  directory: string;
  store: string;
  port?: number;
  args: string[];
  env?: NodeJS.ProcessEnv;
  startLimitMs?: number;
}): Promise<TwinlogNode> {
  const port = options.port ?? await freeBrokerPort();
  const [command, leading] = cliCommand(options.runtime);
  const logPath = path.join(options.directory, `twinlog-${options.runtime}-${port}-${started++}.log`);
  fs.writeFileSync(logPath, "");
  const args = [...leading, "--json", "--listen-port", String(port), "--store", options.store, ...options.args]
    .concat(withoutNamesrv(options.args));
  const child = new LabProcess(`twinlog on ${options.runtime} (${port})`, command, args, {
    logPath,
    ...(options.env ? { env: options.env } : {}),
  });
  const node = new TwinlogNode(child, options.store);
  const ready = await child.waitFor(/^\{.*"addresses":.*\}$/m, options.startLimitMs ?? 30_000);
  node.addresses = JSON.parse(ready[0]).addresses;
  return node;
}
