// Questions a broker asks another broker's remoting port for the sake of replication: how far its log reaches and whether
// it takes puts (28), who the HA master is (906), its name, its role and how large its files are (26). It keeps no state;
// when to ask is the HA client's and the controller's business.

import type { Logger } from "../base/logger.ts";
import { IoError, RemotingError } from "../base/errors.ts";
import { isJavaJsonObject, parseJavaJson } from "../remoting/java_json.ts";
import { answerText, invokeErrorText, type RemotingClient } from "../remoting/remoting_client.ts";
import { createRequest, type RemotingCommand } from "../remoting/remoting_command.ts";
import { RequestCode } from "../remoting/request_code.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import { utf8 } from "../base/bytes.ts";
import type { BrokerHAInfo } from "./processors/ports.ts";

/** Members of the runtime info of a node of ours, beside Apache's. */
const BOOT_ID = "twinlogBootId";
const PUTS = "twinlogPuts";
const PROMOTED_AT = "twinlogPromotedAt";

/** Limit of one question, ms: Apache's for such requests. */
const TIMEOUT_MS = 3000;
/** Limit of {@link MasterInfoClient.askPeer}: a start waits for it, and one that is away may not even refuse. */
const PEER_TIMEOUT_MS = 1500;

/** What a broker says of itself. */
export interface BrokerPeer {
  readonly brokerClusterName: string;
  readonly brokerName: string;
  readonly isMaster: boolean;
  /** End of its log, bytes. */
  readonly maxOffset: number;
  /** What a node of ours says beside that; null: none of ours. */
  readonly start: PeerStart | null;
}

/** What this start of a node of ours is, as its runtime info tells. */
export interface PeerStart {
  /** Tells it from every other start of any node. */
  readonly bootId: string;
  /**
   * Whether it takes puts as a master, is about to, or could at an operator's word ("taken"), holds them off beside
   * another master ("heldOff"), still finds out which ("undecided"), or is a slave ("none").
   */
  readonly puts: "taken" | "heldOff" | "undecided" | "none";
  /** When the node was last promoted, Unix ms; 0: never. */
  readonly promotedAt: number;
}

/** Mirrors the questions of Apache's `BrokerOuterAPI` that go to brokers. Addresses are remoting `host:port`. */
export class MasterInfoClient {
  readonly #client: RemotingClient;
  readonly #logger: Logger;
  /** Whom the last question about the range did not reach, so that it is said once. */
  #unanswered: string | null = null;

  constructor(options: { client: RemotingClient; logger: Logger }) {
    this.#client = options.client;
    this.#logger = options.logger;
  }

  /** First byte and end of the log held at `address`, bytes; null when it can't be learned (the reason is logged). */
  async askMasterRange(address: string): Promise<{ minOffset: number; maxOffset: number } | null> {
    try {
      const table = await this.brokerRuntimeInfo(address);
      const minOffset = offsetOf(table, "commitLogMinOffset");
      const maxOffset = offsetOf(table, "commitLogMaxOffset");
      if (this.#unanswered === address) this.#logger.info("The master's remoting port answers again", { address });
      if (this.#unanswered === address) this.#unanswered = null;
      return { minOffset, maxOffset };
    } catch (error) {
      const fields = { address, error: invokeErrorText(error) };
      if (this.#unanswered === address) this.#logger.debug("Still can't learn the master's log range", fields);
      else this.#logger.warn("Can't learn the master's log range from its remoting port; the lag is unknown", fields);
      this.#unanswered = address;
      return null;
    }
  }

  /**
   * What the broker at `address` is; "gone" when nobody listens there, "silent" when none answers within 1.5 s, asked
   * twice, or one that does not tell.
   */
  async askPeer(address: string): Promise<BrokerPeer | "gone" | "silent"> {
    for (let isLast = false;; isLast = true) {
      try {
        return await this.#peer(address);
      } catch (error) {
        this.#logger.debug("Can't learn what a broker is", { address, error: invokeErrorText(error) });
        if (error instanceof IoError && error.kind === "refused") return "gone";
        if (isLast) return "silent";
      }
    }
  }

  async #peer(address: string): Promise<BrokerPeer> {
    const [table, { body }] = await Promise.all([
      this.brokerRuntimeInfo(address, PEER_TIMEOUT_MS),
      this.#ask(address, createRequest(RequestCode.GET_BROKER_CONFIG), PEER_TIMEOUT_MS),
    ]);
    const config = utf8.decode(body);
    const setting = (key: string) => new RegExp(`^${key}=(.*?)\\s*$`, "m").exec(config)?.[1] ?? "";
    const bootId = table.get(BOOT_ID);
    const start: PeerStart | null = bootId === undefined ? null : {
      bootId,
      puts: putsOf(table.get(PUTS)),
      promotedAt: Number(table.get(PROMOTED_AT)) || 0,
    };
    return {
      brokerClusterName: setting("brokerClusterName"),
      brokerName: setting("brokerName"),
      // Apache's not by `brokerActive`: 4.x does not have it, and a 5.x slave that acts as master says so there.
      isMaster: start === null ? setting("brokerRole") !== "SLAVE" : start.puts !== "none",
      maxOffset: offsetOf(table, "commitLogMaxOffset"),
      start,
    };
  }

  /** The table of GET_BROKER_RUNTIME_INFO. Throws `IoError`, {@link RemotingError}, `ProtocolError`. */
  async brokerRuntimeInfo(address: string, timeoutMs = TIMEOUT_MS): Promise<ReadonlyMap<string, string>> {
    const answer = await this.#ask(address, createRequest(RequestCode.GET_BROKER_RUNTIME_INFO), timeoutMs);
    const body = parseJavaJson(utf8.decode(answer.body));
    const table = isJavaJsonObject(body) ? body.table : undefined;
    if (!isJavaJsonObject(table)) throw new RemotingError(ResponseCode.SYSTEM_ERROR, "Runtime info has no table");
    const texts = new Map<string, string>();
    // A nested value is no figure, and has no text: Java's table is of strings.
    for (const [key, value] of Object.entries(table)) if (typeof value !== "object") texts.set(key, String(value));
    return texts;
  }

  /**
   * `mappedFileSizeCommitLog` of GET_BROKER_CONFIG, bytes; null where it is not told. Throws `IoError`,
   * {@link RemotingError}.
   */
  async mappedFileSizeOf(address: string): Promise<number | null> {
    const { body } = await this.#ask(address, createRequest(RequestCode.GET_BROKER_CONFIG));
    const size = Number(/^mappedFileSizeCommitLog=(\d+)\s*$/m.exec(utf8.decode(body))?.[1]);
    return Number.isSafeInteger(size) ? size : null;
  }

  /**
   * EXCHANGE_BROKER_HA_INFO. With `masterHaAddress`: tells a slave its HA master (a 5.3.3 slave loses the configured
   * one). Without: asks a master for its addresses. Throws `IoError`, {@link RemotingError}.
   */
  async exchangeBrokerHaInfo(address: string, info: Partial<BrokerHAInfo> = {}): Promise<BrokerHAInfo> {
    const { masterHaAddress, masterFlushOffset, masterAddress } = info;
    const request = createRequest(RequestCode.EXCHANGE_BROKER_HA_INFO, {
      masterHaAddress,
      masterFlushOffset,
      masterAddress,
    });
    const { extFields } = await this.#ask(address, request);
    const flushed = Number(extFields.get("masterFlushOffset") ?? NaN);
    return {
      masterHaAddress: extFields.get("masterHaAddress") ?? null,
      masterFlushOffset: Number.isSafeInteger(flushed) ? flushed : null,
      masterAddress: extFields.get("masterAddress") ?? null,
    };
  }

  async #ask(address: string, request: RemotingCommand, timeoutMs = TIMEOUT_MS): Promise<RemotingCommand> {
    const answer = await this.#client.invoke(address, request, timeoutMs);
    if (answer.code === ResponseCode.SUCCESS) return answer;
    throw new RemotingError(answer.code, `${address} answered request ${request.code} with ${answerText(answer)}`);
  }
}

/** What is not known yet counts as the worst. */
function putsOf(text: string | undefined): PeerStart["puts"] {
  return text === "heldOff" || text === "undecided" || text === "none" ? text : "taken";
}

/** {@link PeerStart} as members of the runtime info. */
export function peerStartInfo({ bootId, puts, promotedAt }: PeerStart): Readonly<Record<string, string>> {
  return { [BOOT_ID]: bootId, [PUTS]: puts, [PROMOTED_AT]: String(promotedAt) };
}

function offsetOf(table: ReadonlyMap<string, string>, key: string): number {
  const text = table.get(key);
  const offset = text === undefined || text === "" ? NaN : Number(text);
  if (Number.isSafeInteger(offset)) return offset;
  throw new RemotingError(
    ResponseCode.SYSTEM_ERROR,
    `Runtime info has ${key} "${text ?? "missing"}", wanted an offset`,
  );
}
