// The producers of a simulation and their ledger: what was put where, what was answered, and who held it then. It puts
// to whatever node it is pointed at, one message at a time per producer; what the answers are worth is for checkers.ts.

import type { PutOutcome } from "../../src/admin/admin_port.ts";
import { errorMessage, IoError } from "../../src/base/errors.ts";
import type { Prng } from "../../src/runtime/simulated/mod.ts";
import type { SimCluster, SimNode } from "./cluster.ts";

/** Topics that are put to. */
export const TOPICS = ["TopicA", "TopicB"] as const;
/** Queues of each that are put to. */
export const QUEUES = 3;
const EVEN_BODY_SIZE_MAX = 700;
/** A producer whose node does not take its put waits so long before the next, ms. */
const PAUSE_MS = 200;

/** A put and its answer. */
export interface PutRecord {
  readonly id: number;
  readonly node: SimNode;
  /** The node's life in which it was put. */
  readonly life: number;
  readonly topic: string;
  readonly queueId: number;
  readonly body: Uint8Array;
  readonly waits: boolean;
  /** When it was put, on its node's {@link SimNode.awakeMs}. */
  readonly askedMs: number;
  /** Null until it is answered; a node that dies never answers. */
  outcome: PutOutcome | null;
  /** Its unique key. */
  readonly key: string;
  /** The checker's: it was answered with PUT_OK, and nothing has happened since that the promise does not cover. */
  isPromised: boolean;
  /** The checker's: its bytes in the log, once answered with PUT_OK. */
  record: Uint8Array | null;
  /** Names of the nodes that hold it for sure: set by the checker when PUT_OK came, shrinks with what nodes lose. */
  readonly holders: Set<string>;
}

/** Shape of the load. Sizes are bytes, gaps ms of world time. */
export interface WorkloadOptions {
  readonly producers: number;
  readonly gapMaxMs: number;
  readonly bodySizeMax: number;
  /** All bodies have one size, so that what one record leaves another one fits. */
  readonly isEven: boolean;
  /** Share of puts with WAIT=false. */
  readonly noWaitPerMillion: number;
}

/** Puts messages until it is stopped. */
export class Workload {
  /** Every put so far, in order. */
  readonly ledger: PutRecord[] = [];
  /** Those that nobody has answered yet; their nodes may be dead by now. */
  readonly unanswered = new Set<PutRecord>();
  /** What remoting clients were promised: not put here, and as binding. */
  readonly sent: PutRecord[] = [];
  /** Where puts go; null: nowhere. */
  target: SimNode | null = null;
  /** Hears of every answer, in the event that brought it. */
  onAnswer: (record: PutRecord) => void = () => {};
  readonly #cluster: SimCluster;
  readonly #prng: Prng;
  readonly #options: WorkloadOptions;
  #isRunning = false;

  constructor(cluster: SimCluster, options: Partial<WorkloadOptions> = {}) {
    this.#cluster = cluster;
    this.#prng = cluster.world.prng.fork("workload");
    this.#options = {
      producers: 2,
      gapMaxMs: 60,
      bodySizeMax: 2_000,
      isEven: false,
      noWaitPerMillion: 50_000,
      ...options,
    };
  }

  /** Puts that are not answered yet and still may be. */
  get openCount(): number {
    return [...this.unanswered].filter((put) => put.node.isUp && put.node.life === put.life).length;
  }

  /** All that may have been promised. */
  get promises(): readonly PutRecord[] {
    return this.sent.length === 0 ? this.ledger : [...this.ledger, ...this.sent];
  }

  /** Puts answered with PUT_OK. */
  get okCount(): number {
    return this.ledger.filter((put) => put.outcome?.status === "PUT_OK").length;
  }

  start(target: SimNode): void {
    this.target = target;
    this.#isRunning = true;
    for (let i = 0; i < this.#options.producers; i++) void this.#produce();
  }

  /** Nothing is put from now on; answers may still come. */
  stop(): void {
    this.#isRunning = false;
  }

  /** Puts one message and waits for its answer, or for the end of the node. `mustWait`: never with WAIT=false. */
  async put(node: SimNode, bodySize: number = this.#drawBodySize(), mustWait = false): Promise<PutRecord> {
    const prng = this.#prng;
    const id = this.ledger.length;
    const text = `${id}`.padStart(6, "0");
    const body = prng.bytes(Math.max(bodySize, text.length));
    body.set(new TextEncoder().encode(text));
    const waits = !prng.chance(this.#options.noWaitPerMillion) || mustWait;
    const put: PutRecord = {
      id,
      node,
      life: node.life,
      topic: prng.pick(TOPICS),
      queueId: prng.nextInt(QUEUES),
      body,
      waits,
      askedMs: node.awakeMs,
      key: `u${text}`,
      isPromised: false,
      record: null,
      outcome: null,
      holders: new Set(),
    };
    this.ledger.push(put);
    this.unanswered.add(put);
    const properties = new Map([["KEYS", `k${text} every`], ["UNIQ_KEY", put.key], ["TAGS", `T${id % 3}`]]);
    if (!waits) properties.set("WAIT", "false");
    const { topic, queueId } = put;
    try {
      const outcome = await node.ask((broker) => broker.admin.put({ topic, queueId, body, properties, flag: id }));
      if (outcome === null || node.life !== put.life || !node.isUp) return put;
      put.outcome = outcome;
      this.onAnswer(put);
    } catch (error) {
      if (node.life !== put.life || !node.isUp) return put;
      const stack = error instanceof IoError ? "" : `\n${(error as Error).stack}`;
      this.#cluster.report("noBug", `Put ${id} was rejected: ${errorMessage(error)}${stack}`);
    } finally {
      this.unanswered.delete(put);
    }
    return put;
  }

  /** Puts messages until the node's log has grown by `bytes`. */
  async fill(node: SimNode, bytes: number, bodySize = 1_500): Promise<void> {
    const goal = node.status().maxOffset + bytes;
    while (node.isUp && node.status().maxOffset < goal) await this.put(node, bodySize);
  }

  #drawBodySize(): number {
    const { bodySizeMax, isEven } = this.#options;
    if (isEven) return Math.min(bodySizeMax, EVEN_BODY_SIZE_MAX);
    // Mostly small ones, now and then one near the limit.
    return this.#prng.nextInt(this.#prng.nextInt(bodySizeMax) + 1) + 1;
  }

  async #produce(): Promise<void> {
    while (this.#isRunning) {
      const node = this.target;
      const put = node === null || !node.isUp ? null : await this.put(node);
      const isTaken = put?.outcome?.stored != null;
      await this.#wait(isTaken ? this.#prng.nextInt(this.#options.gapMaxMs + 1) : PAUSE_MS);
    }
  }

  #wait(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.#cluster.world.after(durationMs, resolve));
  }
}
