// Whole nodes in a simulated world and a transactional producer on the wire, for the tests beside it.

import assert from "node:assert/strict";
import { utf8 } from "../../../src/base/bytes.ts";
import { type BrokerNode, startBroker } from "../../../src/broker/broker_controller.ts";
import { createConfig } from "../../../src/config/load.ts";
import type { Config } from "../../../src/config/schema.ts";
import { RemotingClient } from "../../../src/remoting/remoting_client.ts";
import { createRequest, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { Clock } from "../../../src/runtime/runtime.ts";
import type { SimulatedHost, SimulatedWorld } from "../../../src/runtime/simulated/mod.ts";
import { decodeMessage, decodeMessageId } from "../../../src/store/message_codec.ts";
import type { StoredMessage } from "../../../src/store/types.ts";
import { MemoryLogger } from "../../support/ha_options.ts";

/** What a producer decides. */
export type Outcome = "commit" | "rollback" | "unknown";
const FLAGS: Record<Outcome, number> = { commit: 8, rollback: 12, unknown: 0 };

/** One machine and the node on it. */
export class TransactionNode {
  readonly host: SimulatedHost;
  readonly #world: SimulatedWorld;
  readonly logger = new MemoryLogger();
  readonly fatal: unknown[] = [];
  readonly #options: Partial<Config>;
  broker!: BrokerNode;

  constructor(world: SimulatedWorld, name: string, options: Partial<Config>) {
    this.#world = world;
    this.host = world.host(name);
    this.#options = options;
  }

  get address(): string {
    return `${this.host.address}:10911`;
  }

  async start(): Promise<void> {
    if (!this.host.isRunning) this.host.restart();
    const { runtime } = this.host;
    const { config } = createConfig({
      brokerName: "b",
      listenPort: 10911,
      storePathRootDir: "/store",
      adminAddress: null,
      namesrvEnable: false,
      mappedFileSizeCommitLog: 64 * 1024,
      maxHashSlotNum: 50,
      maxIndexNum: 200,
      ...this.#options,
    }, runtime.process);
    const onFatal = (error: unknown) => void this.fatal.push(error);
    this.broker = await this.#world.drive(startBroker({ config, runtime, logger: this.logger, onFatal }));
  }

  async stop(): Promise<void> {
    await this.#world.drive(this.broker.stop());
    assert.deepEqual(this.fatal, []);
  }

  /** Bodies of a topic's messages, queue 0, in order. */
  async bodies(topic: string): Promise<string[]> {
    const bodies: string[] = [];
    for (let offset = 0;;) {
      const result = await this.#world.drive(
        this.broker.admin.readByQueueOffset({ topic, queueId: 0, offset, maxNum: 32 }),
      );
      if (result === null || result.messages.length === 0) return bodies;
      for (const message of result.messages) bodies.push(utf8.decode(message.body));
      offset = result.messages.at(-1)!.queueOffset + 1;
    }
  }
}

/** A transactional producer: what it answers to checks is its policy. */
export class TransactionalProducer {
  readonly questions: StoredMessage[] = [];
  readonly policy = new Map<string, Outcome>();
  readonly #world: SimulatedWorld;
  readonly #client: RemotingClient;
  readonly #clock: Clock;
  address: string;

  constructor(world: SimulatedWorld, address: string) {
    this.#world = world;
    this.address = address;
    const { net, clock } = world.host("producer").runtime;
    this.#clock = clock;
    this.#client = new RemotingClient({ net, clock, onRequest: (request) => this.#onRequest(request) });
  }

  async beat(): Promise<void> {
    const body = utf8.encode(JSON.stringify({
      clientID: "10.0.0.9@1",
      producerDataSet: [{ groupName: "pg" }],
      consumerDataSet: [],
    }));
    const ask = () => this.#client.invoke(this.address, createRequest(34, {}, body), 3000);
    // The connection may be one to a life that is over.
    const answer = await this.#world.drive(ask().catch(ask));
    assert.equal(answer.code, 0);
  }

  /** Sends a half message; answers with what its end has to say. */
  async half(key: string): Promise<Record<string, string>> {
    const properties = { TRAN_MSG: "true", PGROUP: "pg", UNIQ_KEY: key, WAIT: "true" };
    const i = Object.entries(properties).map(([name, value]) => `${name}\x01${value}\x02`).join("");
    const ext = { a: "pg", b: "T", c: "TBW102", d: 4, e: 0, f: 4, g: this.#clock.now(), h: 0, i, j: 0, k: false };
    const answer = await this.#world.drive(
      this.#client.invoke(this.address, createRequest(310, ext, utf8.encode(key)), 3000),
    );
    assert.equal(answer.code, 0, answer.remark ?? "");
    const { physicalOffset } = decodeMessageId(answer.extFields.get("msgId")!)!;
    return {
      producerGroup: "pg",
      tranStateTableOffset: answer.extFields.get("queueOffset")!,
      commitLogOffset: String(physicalOffset),
      fromTransactionCheck: "false",
      msgId: key,
      transactionId: key,
    };
  }

  /** Ends it, one-way as clients do. */
  async end(ext: Record<string, string>, outcome: Outcome): Promise<void> {
    const request = createRequest(37, { ...ext, commitOrRollback: FLAGS[outcome] });
    await this.#world.drive(this.#client.invokeOneway(this.address, request, 3000));
  }

  #onRequest(request: RemotingCommand): null {
    if (request.code !== 39) return null;
    const message = decodeMessage(request.body);
    this.questions.push(message);
    const outcome = this.policy.get(utf8.decode(message.body)) ?? "unknown";
    const { tranStateTableOffset, commitLogOffset } = Object.fromEntries(request.extFields);
    const ext = {
      producerGroup: "pg",
      tranStateTableOffset,
      commitLogOffset,
      commitOrRollback: FLAGS[outcome],
      fromTransactionCheck: true,
      msgId: "k",
    };
    void this.#client.invokeOneway(this.address, createRequest(37, ext), 3000).catch(() => {});
    return null;
  }

  /** Time passes, with heartbeats. */
  async wait(ms: number): Promise<void> {
    for (const end = this.#world.nowMs + ms; this.#world.nowMs < end;) {
      await this.beat();
      await this.#world.advance(Math.min(20_000, Math.max(0, end - this.#world.nowMs)));
    }
  }

  asked(): string[] {
    return this.questions.map((message) => utf8.decode(message.body));
  }

  close(): void {
    this.#client.close();
  }
}
