// Keeps a slave following its master: starts one HAClientSession after another, waits between them, stops loudly where
// HAClient says so, and under `--resync` cuts. It owns the master's address and the status that `/ha` shows. The broker
// starts it when it becomes a slave and stops it when it becomes a master.

import { deferred, startLoop, WakeUp } from "../base/async.ts";
import { assertNever, IoError } from "../base/errors.ts";
import type { LogFields } from "../base/logger.ts";
import { FlowMonitor } from "../ha/flow_monitor.ts";
import { HAClient, type HAClientState, type HAVerdict } from "../ha/ha_client.ts";
import { HAConnectionState } from "../ha/ha_connection_state.ts";
import type { MasterRange } from "../ha/start_offset.ts";
import { previousProbe, recordStartAt } from "../ha/tail_check.ts";
import type { Timer } from "../runtime/runtime.ts";
import {
  type HAClientCounters,
  type HAClientDriverOptions,
  type HAClientDriverParts,
  HAClientSession,
  type HAClientShared,
  INTERRUPTED,
} from "./ha_client_session.ts";

export type { HAClientCounters, HAClientDriverOptions, HAClientDriverParts } from "./ha_client_session.ts";

/** READY for so long means the connection will not come, ms (`HAConnectionStateNotificationService`). */
const READY_MAX_MS = 10_000;

/** Information lines remembered, so that they are said once: there are two of an attempt. */
const INFORMED_MAX = 16;

/** What `/ha` and HARuntimeInfo say of a slave. Timestamps are Unix ms, 0 when there was none; offsets are bytes. */
export interface HAClientStatus {
  readonly state: HAClientState;
  readonly connectionState: HAConnectionState;
  /** Why the state is what it is; empty while following. */
  readonly reason: string;
  /** What an operator can do about a divergence or a hole that has stopped it; null while neither has. */
  readonly remedy: string | null;
  /** The master's HA address, `host:port`. */
  readonly masterAddress: string | null;
  readonly verified: boolean;
  readonly maxOffset: number;
  /** The master's max and min as its remoting port said last, or later seen to be; null when it can't be learned. */
  readonly masterMaxOffset: number | null;
  readonly masterMinOffset: number | null;
  /** Bytes the master is ahead, null when unknown. */
  readonly lagBytes: number | null;
  readonly lastReadTimestamp: number;
  readonly lastWriteTimestamp: number;
  /** Bytes read in the last whole second. */
  readonly transferredByteInSecond: number;
  readonly counters: Readonly<HAClientCounters>;
}

type Stop = HAVerdict & { readonly type: "diverged" | "hole" };

/** The slave's driver. Mirrors the thread of Apache's `DefaultHAClient`; an address change moves a live connection. */
export class HAClientDriver {
  readonly #parts: HAClientDriverParts;
  readonly #options: HAClientDriverOptions;
  readonly #client: HAClient;
  readonly #counters: HAClientCounters;
  readonly #shared: HAClientShared;
  readonly #wakeUp = new WakeUp();
  readonly #listeners = new Set<(status: HAClientStatus) => void>();
  #masterAddress: string | null = null;
  /** Which start we live in; null while stopped. */
  #life: object | null = null;
  #loop: Promise<void> = Promise.resolve();
  #session: HAClientSession | null = null;
  /** What is advised while a divergence or a hole has stopped replication; null while nothing has. */
  #remedy: string | null = null;
  #resyncOnce = false;
  /** Grows with every order from outside: what an attempt found before it no longer counts. */
  #orders = 0;
  /** {@link #orders} when the current attempt began. */
  #ordersAtStart = 0;
  #probe: number | null = null;
  #relearned = false;
  #lastWarning = "";
  /** Information lines since the connection was last of use. */
  readonly #informed = new Set<string>();
  #publishedRevision = -1;
  #publishedState: HAClientState = "idle";

  constructor(parts: HAClientDriverParts, options: HAClientDriverOptions) {
    this.#parts = parts;
    this.#options = options;
    this.#client = new HAClient(parts.log, options);
    this.#counters = noCounts();
    this.#shared = {
      parts,
      options,
      client: this.#client,
      counters: this.#counters,
      // Only counted on this side: a slave that read slower than it could would but hold its master's window.
      flowMonitor: new FlowMonitor(
        { haFlowControlEnable: false, maxHaTransferByteInSecond: 0 },
        parts.clock.monotonic(),
      ),
      onChange: () => this.#publish(),
      inform: (message, fields) => this.#informOnce(message, fields),
    };
  }

  /** Begins to follow, or goes on after {@link stop}; also forgets an earlier divergence. */
  start(): void {
    if (this.#life !== null) return;
    const life = this.#life = {};
    const before = this.#loop;
    this.#forgive();
    this.#loop = startLoop(() => before.then(() => this.#run(life)), (error) => {
      this.#life = null;
      this.#client.stopped();
      this.#publish();
      this.#parts.onFatal(error);
    });
  }

  /** Stops; once this resolves nothing is being appended or cut any more. */
  async stop(): Promise<void> {
    this.#life = null;
    this.#remedy = null;
    this.#interrupt();
    await this.#loop;
    if (this.#life !== null) return; // started again meanwhile
    this.#client.stopped();
    this.#publish();
  }

  /**
   * Follows the master at this HA address (`host:port`, split at the last colon) from now on; null: none. Takes effect
   * at once, on a live connection too, and makes a stopped replication try again, also with the same address.
   */
  updateMasterAddress(address: string | null): void {
    this.#masterAddress = address;
    this.#forgive();
    this.#interrupt();
  }

  /**
   * Tries again, or goes on trying, and mends what it finds as `--resync` would, until it follows or stops. Another order
   * ends this one. Returns false, and does nothing, while it follows: what parts from the master later is another matter.
   */
  resync(): boolean {
    if (this.#client.verified && !this.#overruled) return false;
    this.#forgive();
    this.#resyncOnce = true;
    this.#wakeUp.notify();
    return true;
  }

  /** Calls back after every change of state, synchronously. Returns the unsubscriber. */
  onStateChange(listener: (status: HAClientStatus) => void): () => void {
    this.#listeners.add(listener);
    return () => this.#listeners.delete(listener);
  }

  /**
   * Resolves with true once the connection is in `expected`, with false when it was READY (not connected) for 10 s or
   * `timeoutMs` have passed. Mirrors the slave's half of Apache's `HAConnectionStateNotificationService`.
   */
  async waitConnectionState(expected: HAConnectionState, timeoutMs: number): Promise<boolean> {
    if (this.#client.connectionState === expected) return true;
    const { promise, resolve } = deferred<boolean>();
    const { clock } = this.#parts;
    let readyTimer: Timer | null = null;
    const look = () => {
      const state = this.#client.connectionState;
      if (state === expected) resolve(true);
      if (state === HAConnectionState.READY) readyTimer ??= clock.setTimer(READY_MAX_MS, () => resolve(false));
      else {
        readyTimer?.cancel();
        readyTimer = null;
      }
    };
    const timer = clock.setTimer(timeoutMs, () => resolve(false));
    const unsubscribe = this.onStateChange(look);
    look();
    const reached = await promise;
    unsubscribe();
    timer.cancel();
    (readyTimer as Timer | null)?.cancel();
    return reached;
  }

  get status(): HAClientStatus {
    const { clock, log } = this.#parts;
    const client = this.#client;
    const now = clock.monotonic();
    const wall = (at: number) => at === 0 ? 0 : Math.floor(clock.now() - (now - at));
    const range = this.#masterRange;
    // What was asked ages; a log that is followed ends at or beyond all we hold.
    const knownMax = range === null
      ? null
      : client.verified
      ? Math.max(range.maxOffset, log.maxOffset)
      : range.maxOffset;
    return {
      state: client.state,
      connectionState: client.connectionState,
      reason: client.reason,
      remedy: this.#remedy,
      masterAddress: this.#masterAddress,
      verified: client.verified,
      maxOffset: log.maxOffset,
      masterMaxOffset: knownMax,
      masterMinOffset: range?.minOffset ?? null,
      lagBytes: knownMax === null ? null : Math.max(knownMax - log.maxOffset, 0),
      lastReadTimestamp: wall(client.lastReadAt),
      lastWriteTimestamp: wall(client.lastWriteAt),
      transferredByteInSecond: this.#shared.flowMonitor.transferredByteInSecond(now),
      counters: { ...this.#counters },
    };
  }

  // ---- the loop ----

  async #run(life: object): Promise<void> {
    const { clock, log } = this.#parts;
    const client = this.#client;
    while (this.#life === life) {
      const address = this.#masterAddress;
      if (address === null || this.#remedy !== null) {
        if (this.#remedy === null) client.started(true);
        this.#publish();
        await this.#wakeUp.wait(clock, null);
        continue;
      }
      if (client.state !== "connecting") client.started(false);
      this.#publish();
      this.#ordersAtStart = this.#orders;
      const session = this.#session = new HAClientSession(this.#shared, address, this.#probe);
      const found = await session.follow();
      const verdict = this.#overruled ? INTERRUPTED : found;
      log.discardPartial();
      const delayMs = verdict === INTERRUPTED ? 0 : await this.#conclude(verdict, address);
      this.#session = null;
      this.#publish();
      // An address change or a stop ends the wait.
      if (delayMs > 0 && this.#life === life) await this.#wakeUp.wait(clock, delayMs);
    }
  }

  // ---- what follows from a verdict ----

  /** Carries out what the verdict asks for; returns the wait before the next attempt, ms. */
  async #conclude(verdict: HAVerdict, address: string): Promise<number> {
    const { logger } = this.#parts;
    const wasFollowing = this.#client.state === "following";
    this.#counters.disconnects++;
    switch (verdict.type) {
      case "close":
        this.#relearned = false;
        this.#client.closed(verdict.reason);
        // After a connection that was of use the same reason is news.
        if (this.#client.failures === 1) this.#lastWarning = "";
        if (this.#client.failures === 1 && wasFollowing) this.#informed.clear();
        this.#warnOnce(`Not following master ${address}: ${verdict.reason}; trying again`);
        return this.#reconnectDelay();
      case "relearn": {
        this.#counters.relearns++;
        this.#client.closed(verdict.reason);
        logger.info(`Learning again where to start at master ${address}: ${verdict.reason}`);
        // At once the first time, as the master may just have rolled its file; but not in a tight loop.
        const delay = this.#relearned ? this.#reconnectDelay() : 0;
        this.#relearned = true;
        return delay;
      }
      case "diverged":
      case "hole":
        if (verdict.type === "hole") this.#counters.holes++;
        else this.#counters.divergences++;
        if (this.#options.resync || this.#resyncOnce) await this.#mend(verdict);
        else this.#suspend(verdict, verdict.reason);
        return 0;
      default:
        return assertNever(verdict);
    }
  }

  /** What the current session, or the one just concluded, learned. */
  get #masterRange(): MasterRange | null {
    return this.#session?.range ?? null;
  }

  #reconnectDelay(): number {
    return this.#client.reconnectDelay(this.#parts.random.nextInt(1000));
  }

  /** Whether an order came since the attempt began: another address, a stop. */
  get #overruled(): boolean {
    return this.#orders !== this.#ordersAtStart;
  }

  #suspend(verdict: Stop, reason: string): void {
    if (this.#overruled) return;
    const remedy = this.#remedy = remedyOf(verdict);
    this.#resyncOnce = false;
    this.#client.suspended(verdict, reason);
    this.#parts.logger.error(
      `Stopped following master ${this.#masterAddress}: ${reason}; nothing was changed here; ${remedy}`,
    );
    this.#publish();
  }

  /**
   * `--resync`. After a hole the log goes aside. After a divergence the tail goes aside, from the end of what both logs
   * were seen to share; while that is not seen, the next connection compares from an earlier file's start on. A record
   * stands for all before it: it carries its own offset, queue offset and times, and is written after them.
   */
  async #mend(verdict: Stop): Promise<void> {
    const { log, logger } = this.#parts;
    if (verdict.type === "diverged" && verdict.cause === "rejected") {
      return this.#suspend(verdict, `${verdict.reason}; --resync can't mend what the master sends`);
    }
    try {
      if (verdict.type === "hole") return await this.#setLogAside(verdict);
      const { from, offset } = verdict;
      const commonEnd = from >= 0 && offset > from ? await recordStartAt(log, from, offset) : -1;
      // Who is to be promoted, or to follow another master, must not lose its tail to this one.
      if (this.#overruled) return;
      if (commonEnd > from) {
        const maxOffset = log.maxOffset;
        this.#parts.onCut?.("log is cut by --resync");
        const path = await log.setTailAside(commonEnd, () => !this.#overruled);
        this.#parts.onCut?.("log was cut by --resync");
        this.#mended(
          verdict,
          `bytes ${commonEnd} to ${maxOffset} are set aside in ${path}; following from ${commonEnd}`,
        );
        return;
      }
      this.#probe = previousProbe(log, from < 0 ? offset : Math.min(from, offset), this.#masterRange);
      if (this.#probe === null) return await this.#setLogAside(verdict);
      this.#client.closed(verdict.reason);
      logger.warn(`Looking for the common end of both logs: ${verdict.reason}; comparing from ${this.#probe}`);
      this.#publish();
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      this.#suspend(verdict, `${verdict.reason}; setting bytes aside failed: ${error.message}`);
    }
  }

  async #setLogAside(verdict: Stop): Promise<void> {
    const { log } = this.#parts;
    const { minOffset, maxOffset } = log;
    this.#parts.onCut?.("log is cut by --resync");
    const path = await log.setLogAside(() => !this.#overruled);
    this.#parts.onCut?.("log was cut by --resync");
    this.#mended(verdict, `the log, bytes ${minOffset} to ${maxOffset}, is set aside in ${path}; starting over`);
  }

  #mended(verdict: Stop, what: string): void {
    this.#probe = null;
    this.#counters.resyncs++;
    this.#client.closed(verdict.reason);
    this.#parts.logger.warn(`Resynchronized: ${verdict.reason}; ${what}`);
    this.#publish();
  }

  #forgive(): void {
    if (this.#resyncOnce) this.#parts.logger.warn("The order to set aside what the master does not have ends undone");
    this.#remedy = null;
    this.#resyncOnce = false;
    this.#probe = null;
    this.#relearned = false;
    this.#lastWarning = "";
    this.#informed.clear();
  }

  #interrupt(): void {
    this.#orders++;
    this.#session?.end(INTERRUPTED);
    this.#wakeUp.notify();
  }

  /** The same refusal every few seconds is one line, not many. */
  #warnOnce(message: string): void {
    if (message !== this.#lastWarning) this.#parts.logger.warn(message);
    this.#lastWarning = message;
  }

  /** As {@link #warnOnce}, for the few lines that belong to each attempt. */
  #informOnce(message: string, fields?: LogFields): void {
    if (this.#informed.has(message)) return;
    if (this.#informed.size >= INFORMED_MAX) this.#informed.clear();
    this.#informed.add(message);
    this.#parts.logger.info(message, fields);
  }

  /** Tells a change of state to whoever listens. */
  #publish(): void {
    const client = this.#client;
    if (client.revision === this.#publishedRevision) return;
    this.#publishedRevision = client.revision;
    const before = this.#publishedState;
    this.#publishedState = client.state;
    if (client.state === "following" && before !== "following") {
      this.#probe = null;
      this.#resyncOnce = false;
      this.#relearned = false;
      this.#parts.logger.info(`Following master ${this.#masterAddress}`, { maxOffset: this.#parts.log.maxOffset });
    }
    if (client.state === "unverified") {
      this.#warnOnce(`Not in sync with master ${this.#masterAddress}: ${client.reason}`);
    }
    const status = this.status;
    for (const listener of [...this.#listeners]) listener(status);
  }
}

/** What can be done about a stop: the one place that says so. */
function remedyOf(stop: Stop): string {
  const otherMaster = "give it another master";
  const resync = "by role slave --resync or a restart with --resync";
  if (stop.type === "hole") return `${otherMaster}, or set its log aside and start over ${resync}`;
  if (stop.cause === "rejected") return `promote this node, or ${otherMaster}`;
  return `promote this node, ${otherMaster}, or set aside what the master does not have ${resync}`;
}

function noCounts(): HAClientCounters {
  return {
    connects: 0,
    connectFailures: 0,
    disconnects: 0,
    frames: 0,
    heartbeats: 0,
    bytesRead: 0,
    reports: 0,
    protocolErrors: 0,
    appendErrors: 0,
    relearns: 0,
    divergences: 0,
    holes: 0,
    resyncs: 0,
  };
}
