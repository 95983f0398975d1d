// The remoting clients of a simulation, on machines of their own: producers that send plain messages, batches, delayed
// ones and transactions, and a group that beats, pulls with long polling and commits. They know who the master is, as a
// route would tell them, and nothing else. What they see at once is judged here, the rest in client_checks.ts.

import { IoError } from "../../src/base/errors.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import type { RemotingCommand } from "../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import type { Prng, SimulatedHost } from "../../src/runtime/simulated/mod.ts";
import { decodeMessage, decodeMessageId } from "../../src/store/message_codec.ts";
import type { StoredMessage } from "../../src/store/types.ts";
import type { StepChecker } from "./checkers.ts";
import {
  batchRequest,
  commitOffsetRequest,
  endRequest,
  heartbeat,
  messagesOf,
  pullRequest,
  queryOffsetRequest,
  sendRequest,
  WIRE_QUEUES,
  WIRE_TOPIC,
  type WireMessage,
} from "./client_wire.ts";
import type { SimCluster, SimNode } from "./cluster.ts";
import { type SentMessage, type WireKind, WireLedger } from "./wire_ledger.ts";
import type { Workload } from "./workload.ts";

const REMOTING_PORT = 10911;
const SEND_TIMEOUT_MS = 3_000;
const PULL_TIMEOUT_MS = 20_000;
/** How long a pull may be held, and how much later its answer may come once the faults are over, ms. */
const SUSPEND_MS = 3_000;
const HELD_SLACK_MS = 8_000;
const PAUSE_MS = 200;
const BEAT_MS = 2_000;
/** Of Apache's first delay levels, ms. */
const DELAYS_MS = [1_000, 5_000] as const;
const KINDS: readonly WireKind[] = ["plain", "plain", "plain", "batch", "batch", "delayed", "delayed", "half", "half"];

/** Shape of their load. */
export interface WireOptions {
  readonly producers: number;
  readonly gapMaxMs: number;
  readonly bodySizeMax: number;
  readonly pullBatchSize: number;
  /** Clocks of the nodes are right: what is delayed may not be early. */
  readonly clocksAreRight: boolean;
}

/** What they need. */
export interface WireParts {
  readonly cluster: SimCluster;
  /** Its target is where clients go, and its list of promises gets theirs. */
  readonly workload: Workload;
  readonly checker: StepChecker;
  readonly options: WireOptions;
}

/** Sends and consumes until it is stopped. */
export class WireClients {
  readonly ledger = new WireLedger();
  readonly counters = {
    wireSent: 0,
    wireOk: 0,
    wireDelivered: 0,
    wirePulls: 0,
    wireChecks: 0,
    wireCommits: 0,
    wireTopicUnknown: 0,
    wireMisled: 0,
  };
  readonly #parts: WireParts;
  readonly #prng: Prng;
  readonly #hosts: SimulatedHost[];
  readonly #producer: RemotingClient;
  readonly #consumer: RemotingClient;
  #isProducing = false;
  #isConsuming = false;
  /** World time from which on nothing is wrong any more. */
  #calmMs = Infinity;
  /** Loops that still run. */
  #running = 0;

  constructor(parts: WireParts) {
    this.#parts = parts;
    const { world } = parts.cluster;
    this.#prng = world.prng.fork("wire");
    this.#hosts = [world.host("producers"), world.host("consumers")];
    const [producers, consumers] = this.#hosts.map((host) => host.runtime);
    this.#producer = new RemotingClient({ ...producers!, onRequest: (request) => this.#onRequest(request) });
    this.#consumer = new RemotingClient({ ...consumers!, onRequest: () => null });
  }

  start(): void {
    this.#isProducing = this.#isConsuming = true;
    for (let i = 0; i < this.#parts.options.producers; i++) void this.#loop(() => this.#produce(i));
    for (let queueId = 0; queueId < WIRE_QUEUES; queueId++) void this.#loop(() => this.#consume(queueId));
    void this.#loop(() => this.#beat(this.#producer, "producer@1", false));
    void this.#loop(() => this.#beat(this.#consumer, "consumer@1", true));
  }

  /** Nothing new is sent from now on; what is open is still answered for. */
  stopProducing(): void {
    this.#isProducing = false;
  }

  /** The faults are over. */
  calm(): void {
    this.#calmMs = this.#parts.cluster.world.nowMs;
  }

  /** Closes every connection. Resolves when nothing runs any more. */
  async stop(): Promise<void> {
    this.#isProducing = this.#isConsuming = false;
    this.#producer.close();
    this.#consumer.close();
    while (this.#running > 0) await this.#sleep(PAUSE_MS);
    for (const host of this.#hosts) host.kill();
  }

  async #loop(work: () => Promise<void>): Promise<void> {
    this.#running++;
    try {
      await work();
    } catch (error) {
      this.#parts.cluster.report("noBug", `A client failed: ${(error as Error).stack}`);
    } finally {
      this.#running--;
    }
  }

  /** Null while there is nowhere to go. */
  #target(): { readonly node: SimNode; readonly address: string } | null {
    const node = this.#parts.workload.target;
    return node === null ? null : { node, address: `${node.host.address}:${REMOTING_PORT}` };
  }

  async #beat(client: RemotingClient, clientId: string, consumes: boolean): Promise<void> {
    while (this.#isConsuming) {
      const target = this.#target();
      if (target !== null) await this.#ask(client, target.address, heartbeat(clientId, consumes), SEND_TIMEOUT_MS);
      await this.#sleep(BEAT_MS);
    }
  }

  /** The answer; null where there is none. */
  async #ask(
    client: RemotingClient,
    address: string,
    request: RemotingCommand,
    timeoutMs: number,
    onTimeout: () => void = () => {},
  ): Promise<RemotingCommand | null> {
    try {
      return await client.invoke(address, request, timeoutMs);
    } catch (error) {
      if (!(error instanceof IoError)) throw error;
      if (error.kind === "timeout") onTimeout();
      return null;
    }
  }

  // --- producers ---

  async #produce(producer: number): Promise<void> {
    const prng = this.#prng.fork(`producer ${producer}`);
    while (this.#isProducing) {
      const target = this.#target();
      const isTaken = target !== null && await this.#send(producer, prng, target);
      await this.#sleep(isTaken ? prng.nextInt(this.#parts.options.gapMaxMs + 1) : PAUSE_MS);
    }
  }

  /** One request. Whether it was taken. */
  async #send(
    producer: number,
    prng: Prng,
    target: { node: SimNode; address: string },
    kind: WireKind = prng.pick(KINDS),
  ): Promise<boolean> {
    const { cluster, options } = this.#parts;
    const level = prng.between(1, DELAYS_MS.length);
    const queueId = prng.nextInt(WIRE_QUEUES);
    const end = prng.chance(700_000) ? "commit" : "rollback";
    const endsItself = prng.chance(600_000);
    const messages = Array.from({ length: kind === "batch" ? prng.between(2, 5) : 1 }, () => {
      const delayMs = kind === "delayed" ? DELAYS_MS[level - 1]! : 0;
      const bytes = prng.bytes(1 + prng.nextInt(options.bodySizeMax));
      return this.ledger.note({ kind, producer, queueId, sentMs: cluster.world.nowMs, delayMs, end }, bytes);
    });
    this.counters.wireSent += messages.length;
    const wire: WireMessage[] = messages.map(({ body, key }) => ({
      body,
      properties: {
        KEYS: key,
        UNIQ_KEY: key,
        WAIT: "true",
        ...(kind === "delayed" ? { DELAY: String(level) } : {}),
        ...(kind === "half" ? { TRAN_MSG: "true", PGROUP: "wire-producers" } : {}),
      },
    }));
    const bornMs = this.#hosts[0]!.runtime.clock.now();
    const request = kind === "batch"
      ? batchRequest(queueId, wire, bornMs)
      : sendRequest(queueId, wire[0]!, bornMs, kind === "half");
    const { life } = target.node;
    const answer = await this.#ask(this.#producer, target.address, request, SEND_TIMEOUT_MS);
    if (answer === null || answer.code !== ResponseCode.SUCCESS) return false;
    const places = answer.extFields.get("msgId")!.split(",").map((id) => decodeMessageId(id)!.physicalOffset);
    this.counters.wireOk += messages.length;
    for (const [at, message] of messages.entries()) this.#promised(message, target.node, life, places[at]!);
    if (kind === "half" && endsItself) {
      const tranStateTableOffset = answer.extFields.get("queueOffset")!;
      await this.#end(
        messages[0]!,
        target.address,
        { tranStateTableOffset, commitLogOffset: String(places[0]) },
        false,
      );
    }
    return true;
  }

  #promised(message: SentMessage, node: SimNode, life: number, physicalOffset: number): void {
    const { checker } = this.#parts;
    message.promise = checker.promise({ ...message, node, life, topic: WIRE_TOPIC, physicalOffset });
  }

  /** One-way, as clients do: it may be lost. */
  async #end(
    message: SentMessage,
    address: string,
    place: { tranStateTableOffset: string; commitLogOffset: string },
    isCheck: boolean,
  ): Promise<void> {
    if (message.end === "commit") {
      message.commits++;
      this.counters.wireCommits++;
    }
    const request = endRequest(place, message.end, isCheck, message.key);
    await this.#producer.invokeOneway(address, request, SEND_TIMEOUT_MS).catch((error: unknown) => {
      if (!(error instanceof IoError)) throw error;
    });
  }

  /** A broker asks how a transaction ended. */
  #onRequest(request: RemotingCommand): null {
    if (request.code !== RequestCode.CHECK_TRANSACTION_STATE) return null;
    this.counters.wireChecks++;
    const message = this.ledger.messageOf(decodeMessage(request.body).body);
    const target = this.#target();
    if (message === undefined || message.kind !== "half") {
      this.#parts.cluster.report("servesOnlyGood", "A producer is asked about a transaction that it never began");
    } else if (target !== null) {
      const { extFields } = request;
      const tranStateTableOffset = extFields.get("tranStateTableOffset")!;
      const commitLogOffset = extFields.get("commitLogOffset")!;
      void this.#loop(() => this.#end(message, target.address, { tranStateTableOffset, commitLogOffset }, true));
    }
    return null;
  }

  // --- the group ---

  /** One queue: begins where the broker says that the group is, whenever the master is another one or a new life. */
  async #consume(queueId: number): Promise<void> {
    const prng = this.#prng.fork(`consumer ${queueId}`);
    let known = "";
    let offset = 0;
    while (this.#isConsuming) {
      const target = this.#target();
      if (target === null || !target.node.isUp) {
        await this.#sleep(PAUSE_MS);
        continue;
      }
      const { node, address } = target;
      const life = `${node.name} ${node.life}`;
      if (life !== known) {
        const stored = await this.#storedOffset(node, address, queueId);
        if (stored === null) {
          await this.#sleep(PAUSE_MS);
          continue;
        }
        known = life;
        offset = stored;
      }
      const next = await this.#pull(node, address, queueId, offset);
      if (next === null) await this.#sleep(PAUSE_MS);
      else offset = next;
      // What another life gave may be gone, and said of this one it would make the group miss what fills its place.
      if (next !== null && life === `${node.name} ${node.life}` && prng.chance(300_000)) {
        void this.#consumer.invokeOneway(address, commitOffsetRequest(queueId, offset), SEND_TIMEOUT_MS).catch(
          () => {},
        );
      }
    }
  }

  async #storedOffset(node: SimNode, address: string, queueId: number): Promise<number | null> {
    const answer = await this.#ask(this.#consumer, address, queryOffsetRequest(queueId), SEND_TIMEOUT_MS);
    if (answer === null) return null;
    if (answer.code === ResponseCode.QUERY_NOT_FOUND) return 0;
    if (answer.code !== ResponseCode.SUCCESS) return null;
    const offset = Number(answer.extFields.get("offset"));
    const { cluster, checker } = this.#parts;
    for (let at = 0; at < offset; at++) {
      checker.invariants.add("committedIsDelivered");
      if (this.ledger.hasSeen(queueId, at)) continue;
      if (this.ledger.isMisled) {
        this.ledger.skip(queueId, at, at + 1);
        this.counters.wireMisled++;
        continue;
      }
      cluster.report(
        "committedIsDelivered",
        `${node.name} says queue ${queueId} is consumed up to ${offset}, not ${at}`,
      );
      break;
    }
    return offset;
  }

  /** Where to go on; null: later. */
  async #pull(node: SimNode, address: string, queueId: number, offset: number): Promise<number | null> {
    const { cluster, checker, options } = this.#parts;
    const beganMs = cluster.world.nowMs;
    const request = pullRequest(queueId, offset, SUSPEND_MS, options.pullBatchSize);
    this.counters.wirePulls++;
    const late = () => {
      if (beganMs < this.#calmMs || !this.#isConsuming) return;
      cluster.report(
        "pullsAreAnswered",
        `${node.name} leaves a pull of queue ${queueId} from ${offset} without answer`,
      );
    };
    const answer = await this.#ask(this.#consumer, address, request, PULL_TIMEOUT_MS, late);
    if (answer === null) return null;
    checker.invariants.add("pullsAreAnswered");
    if (beganMs >= this.#calmMs && cluster.world.nowMs - beganMs > SUSPEND_MS + HELD_SLACK_MS) late();
    if (answer.code === ResponseCode.TOPIC_NOT_EXIST) this.counters.wireTopicUnknown++;
    const next = Number(answer.extFields.get("nextBeginOffset"));
    if (answer.code === ResponseCode.SUCCESS) return this.#take(node, queueId, offset, next, messagesOf(answer.body));
    if (answer.code === ResponseCode.PULL_NOT_FOUND || answer.code === ResponseCode.PULL_RETRY_IMMEDIATELY) {
      // No filter: nothing may be passed over, but for what a disk has destroyed.
      this.ledger.isMisled ||= node.isDamaged;
      if (node.isDamaged) this.ledger.skip(queueId, offset, next);
      else if (next > offset) {
        cluster.report("queueInOrder", `${node.name}: ${next} follows ${offset} without a message`);
      }
      return next;
    }
    if (answer.code !== ResponseCode.PULL_OFFSET_MOVED) return null;
    const minOffset = Number(answer.extFields.get("minOffset"));
    if (next > offset && next !== minOffset) {
      cluster.report("queueInOrder", `${node.name}: sends queue ${queueId} on from ${offset} to ${next}`);
    }
    this.ledger.skip(queueId, offset, next);
    return next;
  }

  #take(node: SimNode, queueId: number, offset: number, next: number, messages: readonly StoredMessage[]): number {
    const { cluster, checker } = this.#parts;
    this.ledger.isMisled ||= node.isDamaged;
    let expected = offset;
    for (const message of messages) {
      const sent = this.ledger.messageOf(message.body);
      const isRight = sent !== undefined && (node.isDamaged ||
        message.topic === WIRE_TOPIC && message.queueId === queueId && sent.queueId === queueId);
      checker.invariants.add("servesOnlyGood");
      if (!isRight) cluster.report("servesOnlyGood", `${node.name} gives the group what nobody sent, at ${expected}`);
      checker.invariants.add("queueInOrder");
      if (message.queueOffset !== expected && !node.isDamaged) {
        const detail = `${node.name} gives message ${message.queueOffset} of queue ${queueId}, wanted ${expected}`;
        cluster.report("queueInOrder", detail);
      }
      expected = message.queueOffset + 1;
      if (sent !== undefined) this.#judge(node, sent);
      if (sent !== undefined) this.ledger.deliver(queueId, message.queueOffset, sent.id);
      this.counters.wireDelivered++;
    }
    if (next !== expected && !node.isDamaged) {
      cluster.report("queueInOrder", `${node.name}: ${next} is to follow ${expected - 1}`);
    }
    return next;
  }

  #judge(node: SimNode, { id, kind, sentMs, delayMs, commits }: SentMessage): void {
    const { cluster, checker, options } = this.#parts;
    if (kind === "half") {
      checker.invariants.add("transactionsDecide");
      if (commits === 0) {
        cluster.report(
          "transactionsDecide",
          `${node.name} delivers message ${id} of a transaction that nobody committed`,
        );
      }
    }
    if (delayMs === 0 || !options.clocksAreRight) return;
    checker.invariants.add("neverEarly");
    const waitedMs = cluster.world.nowMs - sentMs;
    if (waitedMs >= delayMs) return;
    cluster.report("neverEarly", `${node.name} delivers message ${id} after ${waitedMs} ms of ${delayMs}`);
  }

  #sleep(durationMs: number): Promise<void> {
    return new Promise((resolve) => this.#parts.cluster.world.after(durationMs, resolve));
  }
}
