// Is another broker alive where this one is about to be? Before a master takes its first put: another master of its name
// with more in its log is its promoted slave. Taking puts would part the two logs for good, so it starts read-only. And
// of any role: two brokers with one brokerId take the route from each other for ever, which an operator must hear of.

import type { Logger } from "../base/logger.ts";
import { flagName } from "../config/load.ts";

/** What is asked, and of whom. */
export interface OtherMasterPorts {
  /** Remoting address of the registered master of this broker's name, when it is not this one. */
  findOtherMaster(): Promise<string | null>;
  /** End of the log at a remoting address; null when it can't be learned. */
  maxOffsetOf(address: string): Promise<number | null>;
  readonly ownMaxOffset: number;
  readonly logger: Logger;
}

/** Why this broker must not act as the master; null when it may. Apache has no such check: the newcomer wins the route. */
export async function objectionToMaster(ports: OtherMasterPorts): Promise<string | null> {
  const { ownMaxOffset, logger } = ports;
  const address = await ports.findOtherMaster();
  if (address === null) return null;
  const maxOffset = await ports.maxOffsetOf(address);
  if (maxOffset === null) {
    logger.warn("The NameServers know another master of this name, which does not answer; taking its place", {
      address,
    });
    return null;
  }
  if (maxOffset <= ownMaxOffset) {
    logger.warn("Another master of this name is alive, with no more in its log; stop one of the two", {
      address,
      maxOffset,
      ownMaxOffset,
    });
    return null;
  }
  return `${address} is the master of this name and its log ends at ${maxOffset}, this one's at ${ownMaxOffset}; ` +
    "make this node its slave (verb role slave), or stop the other and lift it by PUT /fenced";
}

/** What {@link SharedIdWarning} needs. */
export interface SharedIdPorts {
  /** Whether a broker answers at this remoting address. */
  isAlive(address: string): Promise<boolean>;
  readonly logger: Logger;
}

/** Says that another live broker has this one's brokerId, once for each address. Apache's broker does not notice. */
export class SharedIdWarning {
  readonly #ports: SharedIdPorts;
  #spokenOf: string | null = null;

  constructor(ports: SharedIdPorts) {
    this.#ports = ports;
  }

  /** Of this address enough was said otherwise. */
  leaveOut(address: string): void {
    this.#spokenOf = address;
  }

  /** A NameServer has this broker's id at `address`. A dead broker stays there for up to two minutes: that is no news. */
  async held(address: string, { brokerName, brokerId }: { brokerName: string; brokerId: number }): Promise<void> {
    if (address === this.#spokenOf) return;
    this.#spokenOf = address;
    if (!await this.#ports.isAlive(address)) {
      if (this.#spokenOf === address) this.#spokenOf = null;
      return;
    }
    const advice = brokerId === 0 ? "stop one of the two" : `give one of them another ${flagName("brokerId")}`;
    this.#ports.logger.warn(
      `Another live broker has brokerId ${brokerId} of "${brokerName}", the two take the route from each other; ${advice}`,
      { address },
    );
  }
}
