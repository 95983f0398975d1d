// The readers of a simulation: they pull by queue offset from any running node, master or slave, now where they stopped
// and now somewhere before, and remember what each node gave them. What was read must stay as it was, for as long as
// the node's log has not lost it in a way the checker knows of (cut, crash, expiry, another disk).

import { errorMessage, IoError } from "../../src/base/errors.ts";
import type { StoredMessage } from "../../src/store/types.ts";
import type { Prng } from "../../src/runtime/simulated/mod.ts";
import type { StepChecker } from "./checkers.ts";
import type { ClusterListener, SimCluster, SimNode } from "./cluster.ts";
import { QUEUES, TOPICS, type Workload } from "./workload.ts";

const READ_MAX = 16;
const ID_DIGITS = 6;

/** What a node gave for one queue: by queue offset, which message and where it stood in the log. */
type QueueMemory = Map<number, { readonly id: number; readonly physicalOffset: number }>;

/** Reads until it is stopped. */
export class Readers implements ClusterListener {
  readonly counters = { reads: 0, messagesRead: 0, messagesReread: 0 };
  readonly #cluster: SimCluster;
  readonly #workload: Workload;
  readonly #checker: StepChecker;
  readonly #prng: Prng;
  readonly #memory = new Map<SimNode, Map<string, QueueMemory>>();
  /** Grows with each loss of a node: what was asked before may answer with what is gone. */
  readonly #losses = new Map<SimNode, number>();
  #isRunning = false;

  constructor(cluster: SimCluster, workload: Workload, checker: StepChecker) {
    this.#cluster = cluster;
    this.#workload = workload;
    this.#checker = checker;
    this.#prng = cluster.world.prng.fork("readers");
    cluster.listeners.push(this);
    checker.onLost = (node, end) => this.#forget(node, end);
  }

  onReplaced(node: SimNode): void {
    this.#forget(node, 0);
  }

  /** Lets `count` of them read, each with pauses of up to `gapMaxMs`. */
  start(count: number, gapMaxMs: number): void {
    this.#isRunning = true;
    for (let i = 0; i < count; i++) void this.#read(gapMaxMs);
  }

  stop(): void {
    this.#isRunning = false;
  }

  async #read(gapMaxMs: number): Promise<void> {
    const prng = this.#prng;
    while (this.#isRunning) {
      const node = prng.pick(this.#cluster.nodes);
      const [topic, queueId] = [prng.pick(TOPICS), prng.nextInt(QUEUES)];
      const draw = prng.nextInt(1_000_000);
      if (node.isUp) await this.#readFrom(node, topic, queueId, draw);
      await new Promise<void>((resolve) => this.#cluster.world.after(1 + prng.nextInt(gapMaxMs), resolve));
    }
  }

  async #readFrom(node: SimNode, topic: string, queueId: number, draw: number): Promise<void> {
    const queues = this.#memoryOf(node);
    const key = `${topic}/${queueId}`;
    const known: QueueMemory = queues.get(key) ?? new Map();
    queues.set(key, known);
    const end = known.size === 0 ? 0 : Math.max(...known.keys()) + 1;
    // A third goes over old ground.
    const offset = draw % 3 === 0 && end > 0 ? draw % end : end;
    const { life } = node;
    const losses = this.#losses.get(node) ?? 0;
    const errors = node.diskErrors;
    try {
      const request = { topic, queueId, offset, maxNum: READ_MAX };
      const result = await node.ask(({ admin }) => admin.readByQueueOffset(request));
      if (result === null || node.life !== life || !node.isUp || (this.#losses.get(node) ?? 0) !== losses) return;
      this.counters.reads++;
      this.#judge(node, key, known, offset, result.messages, node.diskErrors > errors);
    } catch (error) {
      if (error instanceof IoError || node.life !== life || !node.isUp) return;
      this.#cluster.report("noBug", `${node.name}: reading ${key} at ${offset} failed: ${errorMessage(error)}`);
    }
  }

  #judge(
    node: SimNode,
    key: string,
    known: QueueMemory,
    offset: number,
    messages: readonly StoredMessage[],
    hadErrors: boolean,
  ): void {
    const { invariants } = this.#checker;
    const { minOffset, confirmOffset } = node.status();
    for (const message of messages) {
      this.counters.messagesRead++;
      invariants.add("servesOnlyGood");
      const id = Number(new TextDecoder().decode(message.body.subarray(0, ID_DIGITS)));
      const put = this.#workload.ledger[id];
      const isRight = put !== undefined && Buffer.compare(put.body, message.body) === 0;
      const isPlaced = node.isDamaged || `${message.topic}/${message.queueId}` === `${put?.topic}/${put?.queueId}`;
      if (!isRight || !isPlaced) {
        const detail = `${node.name} serves something else as ${key} ${message.queueOffset}, put ${id}`;
        return this.#cluster.report("servesOnlyGood", detail);
      }
      if (node.isDamaged) continue;
      invariants.add("servesOnlyConfirmed");
      if (message.physicalOffset + message.storeSize > confirmOffset) {
        const detail = `${node.name} serves ${key} ${message.queueOffset}, beyond its confirm offset ${confirmOffset}`;
        return this.#cluster.report("servesOnlyConfirmed", detail);
      }
      const before = known.get(message.queueOffset);
      if (before === undefined) {
        known.set(message.queueOffset, { id, physicalOffset: message.physicalOffset });
        continue;
      }
      this.counters.messagesReread++;
      invariants.add("readsStay");
      if (before.id === id && before.physicalOffset === message.physicalOffset) continue;
      const detail = `${node.name}: ${key} ${message.queueOffset} was put ${before.id}, is put ${id} now`;
      return this.#cluster.report("readsStay", detail);
    }
    const asked = known.get(offset);
    if (asked === undefined || asked.physicalOffset < minOffset || node.isDamaged || hadErrors) return;
    if (messages.length > 0 && messages[0]!.queueOffset === offset) return;
    this.#cluster.report("readsStay", `${node.name}: ${key} ${offset}, put ${asked.id}, can't be read any more`);
  }

  #forget(node: SimNode, end: number): void {
    this.#losses.set(node, (this.#losses.get(node) ?? 0) + 1);
    for (const known of this.#memoryOf(node).values()) {
      for (const [offset, { physicalOffset }] of known) if (physicalOffset >= end) known.delete(offset);
    }
  }

  #memoryOf(node: SimNode): Map<string, QueueMemory> {
    let memory = this.#memory.get(node);
    if (memory === undefined) this.#memory.set(node, memory = new Map());
    return memory;
  }
}
