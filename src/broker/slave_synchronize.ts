// A slave's copy of its master's tables: topics, consumer offsets, delay offsets, groups, consume modes. They are asked
// for over remoting, checked, replaced whole and persisted; the log itself comes over HA.
//
// How far the master's deliveries are (delay levels, transactions, timers) rests on what they have put into the log, and
// a slave may lag behind that, or have stopped following. It takes such progress over once its own log holds all that
// the master's held by then: promoted before, it delivers or asks again, and loses nothing. Apache's slaves don't wait.

import { startLoop, WakeUp } from "../base/async.ts";
import { utf8 } from "../base/bytes.ts";
import { errorMessage, ProtocolError, RemotingError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { isJavaJsonObject, type JavaJsonObject, parseJavaJson } from "../remoting/java_json.ts";
import { vipAddress } from "../remoting/remoting_address.ts";
import { answerText, type RemotingClient } from "../remoting/remoting_client.ts";
import { createRequest } from "../remoting/remoting_command.ts";
import { RequestCode } from "../remoting/request_code.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { ConfigManager } from "./config_manager.ts";
import type { ConfigManagers } from "./config_managers.ts";
import { transactionProgressOf } from "./consumer_offset_manager.ts";
import type { TimerMetrics } from "./timer/timer_metrics.ts";

/** What a {@link SlaveSynchronize} needs. */
export interface SlaveSynchronizeOptions {
  readonly client: RemotingClient;
  readonly clock: Clock;
  readonly logger: Logger;
  readonly managers: ConfigManagers;
  /** Where the master's timer is. */
  readonly timer: { adoptCheckpoint(body: Uint8Array): void };
  readonly timerMetrics: TimerMetrics;
  /** Read again before each wait. `slaveSyncIntervalMs` is our own key; Apache has 10 s (4.9) or 60 s (5.x). */
  readonly config: { readonly slaveSyncIntervalMs: number };
  /** This broker's own `host:port`: it never copies from itself. */
  readonly ownAddress: () => string;
  /** Where the log of the master at a remoting address ends; null when it can't be learned. */
  readonly masterMaxOffset: (address: string) => Promise<number | null>;
  readonly ownLog: FollowingLog;
}

/** This node's log, as far as it is known to be its master's. */
export interface FollowingLog {
  /** Whether it is another: what topics there are and what groups have consumed there is not what stands here. */
  readonly isParted: boolean;
  /** Whether its end is a part of the master's log: it follows, or did when the master was heard last. */
  readonly isPart: boolean;
  /** Whether it is following, and on the disk up to `offset`. */
  holds(offset: number): boolean;
}

/** How the copying stands. */
export interface SlaveSynchronizeStatus {
  readonly masterAddr: string | null;
  /** Unix ms of the last round in which every table came; null before the first. */
  readonly lastSuccess: number | null;
  /** What went wrong in the last round, by table. */
  readonly errors: Readonly<Record<string, string>>;
}

/** First copy after the start, and limit of one request, as in Apache 4.9. */
const FIRST_SYNC_MS = 3000;
const REQUEST_TIMEOUT_MS = 3000;

interface Step {
  readonly name: string;
  readonly code: number;
  /** Asked of the VIP port: Apache's slaves do, and a master must serve it there. */
  readonly vip: boolean;
  /** A 4.9 master does not know the request: failing is no news. */
  readonly optional: boolean;
  /** Member of the body that must be there. */
  readonly table: string;
  readonly manager: ConfigManager;
  readonly adopt: (body: JavaJsonObject) => void;
  /** What the body says of how far deliveries are, to be called when it may be taken over. */
  readonly progressOf?: (body: JavaJsonObject) => () => void;
}

/** How far the master's deliveries are, and where its log ended by then. */
interface Progress {
  readonly logEnd: number;
  readonly adoptions: readonly Adoption[];
}

/** A part of it, and what keeps it in a file; null: itself. */
interface Adoption {
  readonly adopt: () => void;
  readonly manager: ConfigManager | null;
}

/** Mirrors Apache's `SlaveSynchronize`; it differs in replacing each table in one step. */
export class SlaveSynchronize {
  readonly #options: SlaveSynchronizeOptions;
  readonly #steps: readonly Step[];
  #masterAddr: string | null = null;
  /** The running loop's own; null while stopped. */
  #wake: WakeUp | null = null;
  /** Counts starts, stops and changes of address: an answer of an earlier one is dropped. */
  #generation = 0;
  #persisting: Promise<void> = Promise.resolve();
  #lastSuccess: number | null = null;
  #errors: Record<string, string> = {};
  /** Waits for our log. A newer one does not take its place: a slave that always lags would wait for ever. */
  #waiting: Progress | null = null;
  #onDemand: (() => void)[] = [];

  constructor(options: SlaveSynchronizeOptions) {
    this.#options = options;
    this.#steps = stepsOf(options);
  }

  /** The master's remoting address (`host:port`); null pauses the copying. A new one is asked at once. */
  setMasterAddr(address: string | null): void {
    if (address === this.#masterAddr) return;
    this.#masterAddr = address;
    this.#generation++;
    this.#waiting = null;
    this.#errors = {};
    if (address !== null) this.#wake?.notify();
  }

  get status(): SlaveSynchronizeStatus {
    return { masterAddr: this.#masterAddr, lastSuccess: this.#lastSuccess, errors: { ...this.#errors } };
  }

  /** Starts the loop: 3 s from now (at once when an address comes), then every `slaveSyncIntervalMs`. */
  start(): void {
    if (this.#wake !== null) return;
    const wake = new WakeUp();
    this.#wake = wake;
    this.#generation++;
    const { logger } = this.#options;
    void startLoop(
      () => this.#run(wake),
      (error) => logger.error("Copying the master's tables stopped", { error: errorMessage(error) }),
    );
  }

  /**
   * Ends it: once this resolves nothing is changed any more. It waits for a write under way, not for an answer: a
   * request that hangs is forgotten.
   */
  async stop(): Promise<void> {
    this.#wake?.notify();
    this.#wake = null;
    this.#generation++;
    this.#waiting = null;
    for (const resolve of this.#onDemand.splice(0)) resolve();
    await this.#persisting.catch(() => undefined);
  }

  /**
   * The log follows the master's, which may be another than before: what was said of an earlier one is void, also in a
   * round under way, and what it holds beside its log is copied at once.
   */
  onFollowing(): void {
    this.#generation++;
    this.#waiting = null;
    void this.syncAll();
  }

  /** Copies now; resolves at the end of that round. At once when it is not running or there is no master. */
  syncAll(): Promise<void> {
    if (this.#wake === null || !this.#hasMaster()) return Promise.resolve();
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onDemand.push(resolve);
    this.#wake.notify();
    return promise;
  }

  async #run(wake: WakeUp): Promise<void> {
    const { clock, config } = this.#options;
    await wake.wait(clock, FIRST_SYNC_MS);
    while (this.#wake === wake) {
      const waiting = this.#onDemand.splice(0);
      try {
        if (this.#hasMaster()) await this.#round(this.#masterAddr!);
      } finally {
        for (const resolve of waiting) resolve();
      }
      if (this.#wake === wake) await wake.wait(clock, config.slaveSyncIntervalMs);
    }
  }

  #hasMaster(): boolean {
    return this.#masterAddr !== null && this.#masterAddr !== this.#options.ownAddress();
  }

  /** Every table once; one that fails does not stop the others. */
  async #round(masterAddr: string): Promise<void> {
    const generation = this.#generation;
    await this.#adoptWaiting(generation);
    const errors: Record<string, string> = {};
    const adoptions: Adoption[] = [];
    for (const step of this.#steps) {
      try {
        const body = await this.#fetch(masterAddr, step);
        if (generation !== this.#generation) return;
        step.adopt(body);
        if (step.progressOf !== undefined) adoptions.push({ adopt: step.progressOf(body), manager: step.manager });
        await this.#persist(step.manager);
      } catch (error) {
        if (!step.optional) errors[step.name] = errorMessage(error);
      }
      if (generation !== this.#generation) return;
    }
    const checkpoint = await this.#fetchTimerCheckpoint(masterAddr);
    if (generation !== this.#generation) return;
    if (checkpoint !== null) {
      adoptions.push({ adopt: () => this.#options.timer.adoptCheckpoint(checkpoint), manager: null });
    }
    if (this.#waiting === null) {
      // Asked for last: everything that was counted as delivered is below.
      const logEnd = await this.#options.masterMaxOffset(masterAddr);
      if (generation !== this.#generation) return;
      if (logEnd !== null) this.#waiting = { logEnd, adoptions };
      await this.#adoptWaiting(generation);
    }
    if (generation === this.#generation) this.#report(masterAddr, errors);
  }

  /** Takes over how far deliveries are once our log holds what that rests on; looked at in each round. */
  async #adoptWaiting(generation: number): Promise<void> {
    const waiting = this.#waiting;
    if (waiting === null || !this.#options.ownLog.holds(waiting.logEnd)) return;
    this.#waiting = null;
    for (const { adopt, manager } of waiting.adoptions) {
      try {
        adopt();
        if (manager !== null) await this.#persist(manager);
      } catch (error) {
        const { logger } = this.#options;
        logger.warn("Can't take over how far the master's deliveries are", { error: errorMessage(error) });
      }
      if (generation !== this.#generation) return;
    }
  }

  async #persist(manager: ConfigManager): Promise<void> {
    this.#persisting = manager.persist();
    await this.#persisting;
  }

  /** A master without a timer, or of 4.9, has none: no news. */
  async #fetchTimerCheckpoint(masterAddr: string): Promise<Uint8Array | null> {
    try {
      const request = createRequest(RequestCode.GET_TIMER_CHECK_POINT);
      const answer = await this.#options.client.invoke(vipAddress(masterAddr), request, REQUEST_TIMEOUT_MS);
      return answer.code === ResponseCode.SUCCESS ? answer.body : null;
    } catch (error) {
      this.#options.logger.debug("Can't copy the master's timer checkpoint", { error: errorMessage(error) });
      return null;
    }
  }

  /** One line when it begins to fail and one when it works again. */
  #report(masterAddr: string, errors: Record<string, string>): void {
    const { logger, clock } = this.#options;
    const failed = Object.keys(errors);
    const failedBefore = Object.keys(this.#errors).length > 0;
    if (failed.length > 0 && !failedBefore) {
      logger.warn("Can't copy tables of the master, trying again", {
        masterAddr,
        tables: failed.join(","),
        error: errors[failed[0]!]!,
      });
    }
    if (failed.length === 0 && (failedBefore || this.#lastSuccess === null)) {
      logger.info("Copied the master's tables", { masterAddr });
    }
    if (failed.length === 0) this.#lastSuccess = clock.now();
    this.#errors = errors;
  }

  async #fetch(masterAddr: string, step: Step): Promise<JavaJsonObject> {
    const address = step.vip ? vipAddress(masterAddr) : masterAddr;
    const answer = await this.#options.client.invoke(address, createRequest(step.code), REQUEST_TIMEOUT_MS);
    if (answer.code !== ResponseCode.SUCCESS) {
      throw new RemotingError(answer.code, `Answered with ${answerText(answer)}`);
    }
    const body = parseJavaJson(utf8.decode(answer.body));
    const table = isJavaJsonObject(body) ? body[step.table] : undefined;
    if (!isJavaJsonObject(body) || !(table instanceof Map || isJavaJsonObject(table))) {
      throw new ProtocolError(`Answer to request ${step.code} has no "${step.table}"`);
    }
    return body;
  }
}

/** The tables in Apache's order. */
function stepsOf({ managers, timerMetrics, ownLog }: SlaveSynchronizeOptions): Step[] {
  const step = (
    name: string,
    code: number,
    table: string,
    manager: ConfigManager & { adopt(body: JavaJsonObject): void },
    rest: Partial<Pick<Step, "vip" | "optional" | "adopt" | "progressOf">> = {},
  ): Step => ({
    ...{ name, code, table, manager, vip: false, optional: false, adopt: (body) => manager.adopt(body) },
    ...rest,
  });
  const { GET_ALL_TOPIC_CONFIG, GET_ALL_CONSUMER_OFFSET, GET_ALL_DELAY_OFFSET } = RequestCode;
  const { GET_ALL_SUBSCRIPTIONGROUP_CONFIG, GET_ALL_MESSAGE_REQUEST_MODE } = RequestCode;
  const { topicConfigManager: topics, consumerOffsetManager: offsets, delayOffsetManager: delays } = managers;
  return [
    step("topics", GET_ALL_TOPIC_CONFIG, "topicConfigTable", topics, {
      vip: true,
      adopt: (body) => {
        if (!ownLog.isParted) topics.adopt(body);
      },
    }),
    step("consumerOffsets", GET_ALL_CONSUMER_OFFSET, "offsetTable", offsets, {
      adopt: (body) => {
        if (ownLog.isPart) offsets.adopt(body);
      },
      progressOf: (body) => {
        const progress = transactionProgressOf(body);
        return () => offsets.adoptTransactionProgress(progress);
      },
    }),
    step("delayOffsets", GET_ALL_DELAY_OFFSET, "offsetTable", delays, {
      adopt: () => {},
      progressOf: (body) => () => delays.adopt(body),
    }),
    step("groups", GET_ALL_SUBSCRIPTIONGROUP_CONFIG, "subscriptionGroupTable", managers.subscriptionGroupManager),
    step("requestModes", GET_ALL_MESSAGE_REQUEST_MODE, "messageRequestModeMap", managers.messageRequestModeManager, {
      optional: true,
    }),
    step("timerMetrics", RequestCode.GET_TIMER_METRICS, "timingCount", timerMetrics, { vip: true, optional: true }),
  ];
}
