// A master that comes back asks its slaves for consumer offsets: while it was away, consumers read from a slave and
// committed there. Apache's master starts from its own older file, and its slaves then copy that over what they know.

import { utf8 } from "../base/bytes.ts";
import { errorMessage, ProtocolError } from "../base/errors.ts";
import type { Logger } from "../base/logger.ts";
import { isJavaJsonObject, parseJavaJson } from "../remoting/java_json.ts";
import type { RemotingClient } from "../remoting/remoting_client.ts";
import { createRequest } from "../remoting/remoting_command.ts";
import { RequestCode } from "../remoting/request_code.ts";
import { ResponseCode } from "../remoting/response_code.ts";
import type { ConsumerOffsetManager } from "./consumer_offset_manager.ts";

/** What it needs. */
export interface StandInOffsetsParts {
  /** The brokers of this one's name by brokerId. */
  readonly memberGroup: () => Promise<Iterable<readonly [number, string]>>;
  readonly client: Pick<RemotingClient, "invoke">;
  readonly offsets: Pick<ConsumerOffsetManager, "takeOverFromStandIn">;
  readonly store: { getMaxOffsetInQueue(topic: string, queueId: number): number };
  readonly logger: Logger;
}

const REQUEST_TIMEOUT_MS = 3000;

/** Asks each slave once in this node's life. */
export class StandInOffsets {
  readonly #parts: StandInOffsetsParts;
  readonly #asked = new Set<string>();

  constructor(parts: StandInOffsetsParts) {
    this.#parts = parts;
  }

  /** To be called on a master after each registration; never rejects. */
  async ask(): Promise<void> {
    const { memberGroup, client, offsets, store, logger } = this.#parts;
    for (const [brokerId, address] of await memberGroup()) {
      if (brokerId === 0 || this.#asked.has(address)) continue;
      this.#asked.add(address);
      try {
        const request = createRequest(RequestCode.GET_ALL_CONSUMER_OFFSET);
        const answer = await client.invoke(address, request, REQUEST_TIMEOUT_MS);
        if (answer.code !== ResponseCode.SUCCESS) continue;
        const body = parseJavaJson(utf8.decode(answer.body));
        if (!isJavaJsonObject(body)) throw new ProtocolError("Consumer offsets are no JSON object");
        const taken = offsets.takeOverFromStandIn(body, (topic, queueId) => store.getMaxOffsetInQueue(topic, queueId));
        if (taken > 0) logger.info("Took over consumer offsets that a slave was told", { address, queues: taken });
      } catch (error) {
        logger.debug("Can't ask a slave for consumer offsets", { address, error: errorMessage(error) });
      }
    }
  }
}
