// Before a master takes its first put: is another one of its name alive, with more in its log? That is a master which
// comes back after its slave was promoted. Taking puts would part the two logs for good, so it starts read-only.

import type { Logger } from "../base/logger.ts";

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
