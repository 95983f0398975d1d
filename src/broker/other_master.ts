// Is another broker alive where this one is about to be? Before a master takes its first put: another master of its name
// that holds data is its promoted slave, or the other way round. Taking puts beside it would part the two logs for good,
// so this one starts read-only. And of any role: two brokers with one brokerId take the route from each other for ever,
// which an operator must hear of.

import type { Logger } from "../base/logger.ts";
import { flagName } from "../config/load.ts";
import type { BrokerPeer } from "./master_info_client.ts";

/** What is asked, and of whom. */
export interface OtherMasterPorts {
  /** Remoting addresses of the other brokers of this one's name by brokerId, as a NameServer has them now. */
  memberGroup(): Promise<ReadonlyMap<number, string>>;
  /** The same from earlier: a NameServer that has just started, maybe inside this node, knows nobody. */
  readonly membersBefore: readonly string[];
  /** What a broker says of itself; null when it does not answer. */
  ask(address: string): Promise<BrokerPeer | null>;
  readonly brokerName: string;
  readonly ownBootId: string;
  readonly ownMaxOffset: number;
  /** Told of the registered master, as soon as it is known, before it is asked. */
  readonly onRegisteredMaster: (address: string) => void;
  readonly logger: Logger;
}

/** Why this broker must not act as the master; null when it may. Apache has no such check: the newcomer wins the route. */
export async function objectionToMaster(ports: OtherMasterPorts): Promise<string | null> {
  const { brokerName, ownBootId, ownMaxOffset, logger } = ports;
  const members = await ports.memberGroup();
  const registered = members.get(0) ?? null;
  if (registered !== null) ports.onRegisteredMaster(registered);
  const addresses = [...new Set([...members.values(), ...ports.membersBefore])];
  const answers = await Promise.all(addresses.map(async (address) => ({ address, peer: await ports.ask(address) })));
  // Another address of this very node, which it had before it moved, say, names no other.
  const others = answers.filter(({ peer }) =>
    peer !== null && peer.isMaster && peer.brokerName === brokerName && peer.bootId !== ownBootId
  ) as { address: string; peer: BrokerPeer }[];
  const [other] = others.sort((a, b) => b.peer.maxOffset - a.peer.maxOffset);
  if (other === undefined) {
    if (answers.some(({ address, peer }) => address === registered && peer === null)) {
      logger.warn("The NameServers know another master of this name, which does not answer; taking its place", {
        address: registered!,
      });
    }
    return null;
  }
  const { address, peer: { maxOffset } } = other;
  if (maxOffset === 0) {
    logger.warn("Another master of this name is alive, with nothing in its log; stop one of the two", { address });
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
