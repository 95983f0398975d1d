// Is another broker alive where this one is about to be? Before a master takes its first put: beside another master of its
// name that takes puts and holds data, its own would part the two logs for good, so it starts read-only. And of any role:
// two brokers with one brokerId take the route from each other for ever, which an operator must hear of.

import type { Logger } from "../base/logger.ts";
import { flagName } from "../config/load.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { BrokerPeer } from "./master_info_client.ts";

/** What is asked, and of whom. */
export interface OtherMasterPorts {
  /** brokerId and remoting address of the other brokers of this one's name, as the NameServers have them now. */
  memberGroup(): Promise<readonly (readonly [number, string])[]>;
  /** Where there were any before: a NameServer that has just started, maybe inside this node, knows nobody. */
  readonly membersBefore: readonly string[];
  /** What the broker there says of itself; "gone": nobody listens, "silent": it does not tell. */
  ask(address: string): Promise<BrokerPeer | "gone" | "silent">;
  readonly own: {
    readonly brokerClusterName: string;
    readonly brokerName: string;
    readonly bootId: string;
    readonly maxOffset: number;
    readonly promotedAt: number;
  };
  /** Told of the registered master that answered: of it enough is said here. */
  readonly onRegisteredMaster: (address: string) => void;
  /** A broker of another name answers at this address. */
  readonly onStranger: (address: string) => void;
  readonly clock: Pick<Clock, "setTimer">;
  readonly logger: Logger;
}

/**
 * How often, and how many times, one is asked again that has not decided yet: longer than a start finds out for (1.5 s at
 * the NameServers, twice 1.5 s at the brokers).
 */
const ASK_AGAIN_MS = 100;
const ASK_AGAIN_MAX = 60;

interface Answer {
  readonly address: string;
  readonly peer: BrokerPeer | "gone" | "silent";
}

interface Other {
  readonly address: string;
  readonly peer: BrokerPeer;
}

/**
 * Why this broker must not act as the master; null when it may. Of two that start at the same time the one promoted last
 * may, of two that never were the one with the longer log. Apache has no such check: the newcomer wins the route.
 */
export async function objectionToMaster(ports: OtherMasterPorts): Promise<string | null> {
  const { own, logger, ask } = ports;
  const members = await ports.memberGroup();
  const registered = members.find(([brokerId]) => brokerId === 0)?.[1] ?? null;
  // Not while the NameServers are still being asked: one that starts at the same time may be up by now.
  const addresses = [...new Set([...members.map(([, address]) => address), ...ports.membersBefore])];
  const answers: Answer[] = await Promise.all(
    addresses.map(async (address) => ({ address, peer: await ask(address) })),
  );
  for (const { address, peer } of answers) {
    if (typeof peer !== "string" && !isNamesake(peer, own)) ports.onStranger(address);
    if (peer === "silent" || peer === "gone" && address === registered) {
      logger.warn("A broker of this name, maybe its master, does not answer or say what it is; going on without", {
        address,
      });
    } else if (address === registered) ports.onRegisteredMaster(address);
  }
  const others = answers.map((answer) => masterIn(answer, own)).filter((other) => other !== null);
  // Those first whose word is there: beside one that takes puts nobody needs to be waited for.
  others.sort((a, b) => Number(isWaitedFor(a, own)) - Number(isWaitedFor(b, own)));
  for (const other of others) {
    const latest = await decided(other, ports);
    if (latest === null) continue;
    const { address, peer } = latest;
    if (peer.start?.puts === "heldOff") {
      logger.info("Another master of this name is alive and holds off its puts; taking them here", { address });
      continue;
    }
    if (peer.maxOffset > 0) return objection(address, peer, own);
    logger.warn("Another master of this name is alive, with nothing in its log; stop one of the two", { address });
  }
  return null;
}

type Own = OtherMasterPorts["own"];

function isNamesake(peer: BrokerPeer, own: Own): boolean {
  return peer.brokerName === own.brokerName && peer.brokerClusterName === own.brokerClusterName;
}

/** The answer as another master's; null when it is none. Another address of this very node names no other. */
function masterIn({ address, peer }: Answer, own: Own): Other | null {
  if (typeof peer === "string" || !peer.isMaster || !isNamesake(peer, own) || peer.start?.bootId === own.bootId) {
    return null;
  }
  return { address, peer };
}

/**
 * What the other one is once it knows itself, where this one comes first: the other one then holds off its puts, or has
 * asked too early to see this one and takes them. Null when it is no master any more.
 */
async function decided(other: Other, ports: OtherMasterPorts): Promise<Other | null> {
  let latest = other;
  for (let count = 0; isWaitedFor(latest, ports.own) && count < ASK_AGAIN_MAX; count++) {
    await new Promise<void>((resolve) => ports.clock.setTimer(ASK_AGAIN_MS, resolve));
    const peer = await ports.ask(other.address);
    // It was alive a moment ago: busy, rather than away.
    if (peer === "silent") continue;
    const again = masterIn({ address: other.address, peer }, ports.own);
    if (again === null) return null;
    latest = again;
  }
  return latest;
}

function isWaitedFor({ peer }: Other, own: Own): boolean {
  return peer.start?.puts === "undecided" && comesFirst(own, peer);
}

/** Of two that both have to know it: strict, by the boot id where nothing else decides. */
function comesFirst(own: Own, peer: BrokerPeer): boolean {
  const lead = leadOver(own, peer);
  return lead === 0 ? own.bootId > peer.start!.bootId : lead > 0;
}

/** Positive where this one was promoted later or, promoted as late, has the longer log; negative where the other one. */
function leadOver(own: Own, { maxOffset, start }: BrokerPeer): number {
  return own.promotedAt - (start?.promotedAt ?? 0) || own.maxOffset - maxOffset;
}

function objection(address: string, peer: BrokerPeer, own: Own): string {
  const asSlave = peer.start === null ? "make it this node's slave" : "make it this node's slave, with --resync,";
  const advice = leadOver(own, peer) > 0
    ? `that one came back too early: ${asSlave} and then lift this by PUT /fenced`
    : "make this node its slave (verb role slave), or stop the other and lift it by PUT /fenced";
  return `${address} is a master of this name and its log ends at ${peer.maxOffset}, this one's at ${own.maxOffset}; ${advice}`;
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
