// What a benchmark asks a broker of either kind over remoting: topics made, ends of queues, pulls and their rate, all of it
// small beside what the broker does for it. Sends are the C peer's.

import { createRequest, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import { RemotingClient } from "../../src/remoting/remoting_client.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import type { ExtValues } from "../../src/remoting/remoting_command.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";

/** The subscription comes with the pull, and nothing is held. */
const PULL_SYS_FLAG = 4;
const PULL_SIZE = 32;
const LIMIT_MS = 120_000;
const CREATIONS_AT_ONCE = 16;

/** What a pull brought: whether there was a message, and where the next one begins. */
export interface Pulled {
  readonly found: boolean;
  readonly nextOffset: number;
  readonly bytes: number;
}

/** One connection to a broker on the loopback address. */
export class BrokerClient {
  readonly #client: RemotingClient;
  readonly #address: string;

  private constructor(client: RemotingClient, port: number) {
    this.#client = client;
    this.#address = `127.0.0.1:${port}`;
  }

  /** Connects with the first question. */
  static async create(port: number): Promise<BrokerClient> {
    const { net, clock } = await loadRuntime();
    return new BrokerClient(new RemotingClient({ net, clock }), port);
  }

  /** Asks; the answer whatever its code. */
  invoke(code: number, ext: ExtValues = {}): Promise<RemotingCommand> {
    return this.#client.invoke(this.#address, createRequest(code, ext), LIMIT_MS);
  }

  /** Asks; throws unless the answer is SUCCESS. */
  async ask(code: number, ext: ExtValues = {}): Promise<RemotingCommand> {
    const answer = await this.invoke(code, ext);
    if (answer.code !== ResponseCode.SUCCESS) {
      throw new Error(`Request ${code} was answered with ${answer.code}: ${answer.remark}`);
    }
    return answer;
  }

  /** As `mqadmin updateTopic` does. */
  async createTopic(topic: string, queues: number): Promise<void> {
    await this.ask(RequestCode.UPDATE_AND_CREATE_TOPIC, {
      topic,
      defaultTopic: "TBW102",
      readQueueNums: queues,
      writeQueueNums: queues,
      perm: 6,
      topicFilterType: "SINGLE_TAG",
      topicSysFlag: 0,
      order: false,
    });
  }

  /** Makes them all, a few at a time. */
  async createTopics(topics: readonly string[], queues: number): Promise<void> {
    let next = 0;
    const worker = async () => {
      while (next < topics.length) await this.createTopic(topics[next++]!, queues);
    };
    await Promise.all(Array.from({ length: CREATIONS_AT_ONCE }, worker));
  }

  /** End of a queue that clients see: what is dispatched. */
  async maxOffset(topic: string, queueId: number): Promise<number> {
    const { extFields } = await this.ask(RequestCode.GET_MAX_OFFSET, { topic, queueId });
    return Number(extFields.get("offset"));
  }

  /** Up to 32 messages from there on; nothing found is no error. */
  async pull(topic: string, queueId: number, queueOffset: number): Promise<Pulled> {
    const { code, extFields, body } = await this.invoke(RequestCode.PULL_MESSAGE, {
      consumerGroup: "scale_consumer",
      topic,
      queueId,
      queueOffset,
      maxMsgNums: PULL_SIZE,
      sysFlag: PULL_SYS_FLAG,
      commitOffset: 0,
      suspendTimeoutMillis: 0,
      subscription: "*",
      subVersion: 0,
      expressionType: "TAG",
    });
    const found = code === ResponseCode.SUCCESS;
    return { found, nextOffset: found ? Number(extFields.get("nextBeginOffset")) : queueOffset, bytes: body.length };
  }

  close(): void {
    this.#client.close();
  }
}

/** A consumer of all queues of a topic over a few connections; each queue is pulled on its own, one pull after another. */
export class Puller {
  messages = 0;
  readonly #clients: BrokerClient[] = [];
  readonly #loops: Promise<void>[] = [];
  #running = true;

  /**
   * Begins to pull each queue at its place in `from`. At an end it begins there again, or with `waitMs` waits so long for
   * more.
   */
  static async start(
    port: number,
    topic: string,
    from: readonly number[],
    options: { connections: number; waitMs?: number },
  ): Promise<Puller> {
    const puller = new Puller();
    for (let i = 0; i < options.connections; i++) puller.#clients.push(await BrokerClient.create(port));
    from.forEach((offset, queueId) => {
      const client = puller.#clients[queueId % options.connections]!;
      puller.#loops.push(puller.#run(client, topic, queueId, offset, options.waitMs ?? null));
    });
    return puller;
  }

  async #run(client: BrokerClient, topic: string, queueId: number, from: number, waitMs: number | null): Promise<void> {
    for (let offset = from; this.#running;) {
      const { found, nextOffset } = await client.pull(topic, queueId, offset);
      this.messages += nextOffset - offset;
      offset = nextOffset;
      if (found) continue;
      if (waitMs !== null) await new Promise((resolve) => setTimeout(resolve, waitMs));
      else if (offset > from) offset = from;
      else throw new Error(`Nothing to pull from queue ${queueId} of ${topic} at ${from}`);
    }
  }

  /** Ends it; throws what ended a queue's pulls before. */
  async stop(): Promise<void> {
    this.#running = false;
    try {
      await Promise.all(this.#loops);
    } finally {
      for (const client of this.#clients) client.close();
    }
  }
}
