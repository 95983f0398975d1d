// One broker with its NameServer as the comparison of request codes sees it, and how a case is written: what is sent, by
// whom, and what came back.

import { bodyValue, normalValue, type Surroundings } from "./comparison.ts";
import { type RawCommand, RawPeer, type RawRequest } from "./raw_peer.ts";

/** What a case found: everything that is compared. */
export interface Outcome {
  /** Response code, or what happened instead of an answer. */
  readonly code: number | string;
  readonly ext?: Readonly<Record<string, unknown>>;
  readonly body?: unknown;
}

/** One request code in one situation. */
export interface RequestCase {
  readonly code: number;
  readonly name: string;
  /** As the specification ranks it: clients', administrators' and slaves', 5.x extras, the NameServer's. */
  readonly rank: "P1" | "P2" | "P3" | "NameServer";
  /** The situation in a few words. */
  readonly what: string;
  readonly run: (world: RequestWorld) => Promise<Outcome>;
  /** Why another outcome than Apache's is meant; a case that has one must differ. */
  readonly differs?: string;
}

/** Builds cases of one rank. Each takes code, name and situation; `differs` is why another outcome is meant. */
export function casesOf(rank: RequestCase["rank"]) {
  const run = (code: number, name: string, what: string, run: RequestCase["run"], differs?: string): RequestCase => ({
    code,
    name,
    rank,
    what,
    run,
    ...(differs === undefined ? {} : { differs }),
  });
  /** A plain request of nobody in particular, to the broker or, of that rank, the NameServer. */
  const ask = (code: number, name: string, what: string, request: Omit<RawRequest, "code">, differs?: string) =>
    run(code, name, what, (world) => {
      const whole = { code, ...request };
      return rank === "NameServer" ? world.askNamesrv(whole) : world.ask(whole);
    }, differs);
  /** Likewise, of the client with the heartbeat. */
  const askAsClient = (code: number, name: string, what: string, request: Omit<RawRequest, "code">) =>
    run(code, name, what, (world) => world.askAsClient({ code, ...request }));
  return { run, ask, askAsClient };
}

/** A running broker and NameServer, the connections that cases share and what they noted. */
export class RequestWorld {
  readonly namesrv: RawPeer;
  /** A client with a heartbeat: producer and consumer, answering what the broker asks. */
  readonly client: RawPeer;
  /** Whoever asks without being a client. */
  readonly admin: RawPeer;
  readonly brokerAddress: string;
  readonly surroundings: Surroundings;
  /** What later cases need of earlier ones. */
  readonly notes = new Map<string, string>();

  private constructor(peers: { namesrv: RawPeer; client: RawPeer; admin: RawPeer }, options: WorldOptions) {
    this.namesrv = peers.namesrv;
    this.client = peers.client;
    this.admin = peers.admin;
    this.brokerAddress = options.broker;
    this.surroundings = { names: options.names };
  }

  static async open(options: WorldOptions): Promise<RequestWorld> {
    const namesrv = await RawPeer.connect(options.namesrv);
    const admin = await RawPeer.connect(options.broker);
    const client = await RawPeer.connect(options.broker, answerOfClient);
    return new RequestWorld({ namesrv, client, admin }, options);
  }

  /** What a request of nobody in particular gave. */
  ask(request: RawRequest): Promise<Outcome> {
    return this.#outcome(this.admin.call(request));
  }

  /** Likewise, of the client with the heartbeat. */
  askAsClient(request: RawRequest): Promise<Outcome> {
    return this.#outcome(this.client.call(request));
  }

  /** Likewise, of the NameServer. */
  askNamesrv(request: RawRequest): Promise<Outcome> {
    return this.#outcome(this.namesrv.call(request));
  }

  /** A request the broker made, as something to compare: its header and body. */
  outcomeOf(command: RawCommand): Outcome {
    const ext = normalValue(command.extFields, this.surroundings) as Record<string, unknown>;
    const body = normalValue(bodyValue(command.body), this.surroundings);
    return {
      code: command.code,
      ...(Object.keys(ext).length === 0 ? {} : { ext }),
      ...(body === null ? {} : { body }),
    };
  }

  close(): void {
    this.namesrv.close();
    this.admin.close();
    this.client.close();
  }

  async #outcome(answer: Promise<RawCommand>): Promise<Outcome> {
    try {
      return this.outcomeOf(await answer);
    } catch (error) {
      return { code: error instanceof Error ? error.message : String(error) };
    }
  }
}

/** Where they are and what is only theirs. */
export interface WorldOptions {
  readonly broker: string;
  readonly namesrv: string;
  readonly names: Surroundings["names"];
}

/** A consumer's answers to what mqadmin asks through the broker. */
function answerOfClient(push: RawCommand): { code: number; body?: string } | null {
  switch (push.code) {
    case 221:
      return { code: 0, body: '{"messageQueueTable":{{"brokerName":"lab","queueId":0,"topic":"Raw"}:7}}' };
    case 307:
      return { code: 0, body: '{"properties":{"PROP_CONSUME_TYPE":"CONSUME_PASSIVELY"}}' };
    case 309:
      return { code: 0, body: '{"autoCommit":true,"consumeResult":"CR_SUCCESS","order":false,"spentTimeMills":1}' };
    default:
      return { code: 0 };
  }
}

/** A SEND_MESSAGE_V2 to a topic, with Java's field names. */
export function sendV2(
  topic: string,
  options: {
    readonly queueId?: number;
    readonly body?: string | Uint8Array;
    readonly properties?: Readonly<Record<string, string>>;
    readonly sysFlag?: number;
    readonly code?: number;
    readonly batch?: boolean;
    readonly defaultTopic?: string;
    readonly bornTimestamp?: number;
  } = {},
): RawRequest {
  const { queueId = 0, body = "body", properties = {}, sysFlag = 0, code = 310, batch, defaultTopic = "TBW102" } =
    options;
  return {
    code,
    ext: {
      a: "RawProducers",
      b: topic,
      c: defaultTopic,
      d: 4,
      e: queueId,
      f: sysFlag,
      g: options.bornTimestamp ?? 1_700_000_000_000,
      h: 0,
      i: propertiesText({ UNIQ_KEY: `RAW${"0".repeat(29)}`, WAIT: "true", ...properties }),
      j: 0,
      k: false,
      m: batch,
    },
    body,
  };
}

/** `name \x01 value \x02 ...` */
export function propertiesText(properties: Readonly<Record<string, string>>): string {
  return Object.entries(properties).map(([name, value]) => `${name}\x01${value}\x02`).join("");
}

/** The commit log offset within an offset message id. */
export function physicalOffsetOf(msgId: string): number {
  return Number(BigInt(`0x${msgId.slice(-16)}`));
}
