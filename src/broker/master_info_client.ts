// Questions a broker asks another broker's remoting port for the sake of replication: how far its log reaches (28) and
// who the HA master is (906), how large its files are (26). It keeps no state; when to ask is the HA client's and the controller's business.

import type { Logger } from "../base/logger.ts";
import { RemotingError } from "../base/errors.ts";
import { isJavaJsonObject, parseJavaJson } from "../remoting/java_json.ts";
import { answerText, invokeErrorText, type RemotingClient } from "../remoting/remoting_client.ts";
import { createRequest, type RemotingCommand } from "../remoting/remoting_command.ts";
import { RequestCode } from "../remoting/request_code.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import { utf8 } from "../base/bytes.ts";
import type { BrokerHAInfo } from "./processors/ports.ts";

/** Limit of one question, ms: Apache's for such requests. */
const TIMEOUT_MS = 3000;

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

  /** The table of GET_BROKER_RUNTIME_INFO. Throws `IoError`, {@link RemotingError}, `ProtocolError`. */
  async brokerRuntimeInfo(address: string): Promise<ReadonlyMap<string, string>> {
    const answer = await this.#ask(address, createRequest(RequestCode.GET_BROKER_RUNTIME_INFO));
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

  async #ask(address: string, request: RemotingCommand): Promise<RemotingCommand> {
    const answer = await this.#client.invoke(address, request, TIMEOUT_MS);
    if (answer.code === ResponseCode.SUCCESS) return answer;
    throw new RemotingError(answer.code, `${address} answered request ${request.code} with ${answerText(answer)}`);
  }
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
