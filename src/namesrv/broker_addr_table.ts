// Broker names with the addresses behind each, and the clusters they are in. It keeps the two tables in step; who is put
// in and taken out is RouteInfoManager's decision.

import { type BrokerData, type ClusterInfo, MASTER_ID } from "./route_types.ts";

/** One broker of a name. */
export interface Member {
  readonly brokerAddr: string;
  /** The cluster it registered with, which may not be the one its name is listed under. */
  readonly clusterName: string;
}

/** The brokers of one name. */
export interface BrokerGroup {
  readonly brokerName: string;
  /** Of the first one that registered. */
  readonly cluster: string;
  enableActingMaster: boolean;
  zoneName: string | null;
  /** By brokerId. Changed by the table only. */
  readonly members: ReadonlyMap<number, Member>;
  /** By brokerId, who lived and registered it before the member that has it took it away. RouteInfoManager's. */
  readonly displaced: Map<number, Member>;
}

/** Mirrors the `brokerAddrTable` and the `clusterAddrTable` of Apache's `RouteInfoManager`. */
export class BrokerAddrTable {
  readonly #groups = new Map<string, BrokerGroup & { readonly members: Map<number, Member> }>();
  readonly #clusters = new Map<string, Set<string>>();

  /** Broker names. */
  get size(): number {
    return this.#groups.size;
  }

  /** Broker names by cluster; each cluster has at least one. */
  get clusters(): ReadonlyMap<string, ReadonlySet<string>> {
    return this.#clusters;
  }

  get(brokerName: string): BrokerGroup | undefined {
    return this.#groups.get(brokerName);
  }

  /** Some group; undefined when there is none. */
  any(): BrokerGroup | undefined {
    return this.#groups.values().next().value;
  }

  /** The group of a name, made without members when it is new: {@link setMember} has to follow. */
  getOrAdd(brokerName: string, cluster: string): BrokerGroup {
    let group = this.#groups.get(brokerName);
    if (group === undefined) {
      group = {
        brokerName,
        cluster,
        enableActingMaster: false,
        zoneName: null,
        members: new Map(),
        displaced: new Map(),
      };
      this.#groups.set(brokerName, group);
    }
    return group;
  }

  /** Gives an id to a member; returns who had it. */
  setMember(brokerName: string, brokerId: number, member: Member): Member | undefined {
    const { members } = this.#groups.get(brokerName)!;
    const before = members.get(brokerId);
    members.set(brokerId, member);
    let brokerNames = this.#clusters.get(member.clusterName);
    if (brokerNames === undefined) this.#clusters.set(member.clusterName, brokerNames = new Set());
    brokerNames.add(brokerName);
    if (before !== undefined) this.#leaveCluster(brokerName, before.clusterName);
    return before;
  }

  /** Takes an id out. The group stays, even empty. */
  removeMember(brokerName: string, brokerId: number): void {
    const { members } = this.#groups.get(brokerName)!;
    const { clusterName } = members.get(brokerId)!;
    members.delete(brokerId);
    this.#leaveCluster(brokerName, clusterName);
  }

  /** Takes out a group without members. */
  removeGroup(brokerName: string): void {
    this.#groups.delete(brokerName);
  }

  /** Every broker and cluster. */
  clusterInfo(): ClusterInfo {
    const groups = [...this.#groups.values()].map((group) => [group.brokerName, brokerDataOf(group)] as const);
    const clusters = [...this.#clusters].map(([name, brokerNames]) => [name, [...brokerNames]] as const);
    return { brokerAddrTable: withoutPrototype(groups), clusterAddrTable: withoutPrototype(clusters) };
  }

  /** The name leaves the cluster once none of its members is of it. */
  #leaveCluster(brokerName: string, clusterName: string): void {
    for (const member of this.#groups.get(brokerName)!.members.values()) {
      if (member.clusterName === clusterName) return;
    }
    const brokerNames = this.#clusters.get(clusterName);
    brokerNames?.delete(brokerName);
    if (brokerNames?.size === 0) this.#clusters.delete(clusterName);
  }
}

/** The smallest brokerId; null without members. */
export function minId({ members }: BrokerGroup): number | null {
  let min: number | null = null;
  for (const id of members.keys()) if (min === null || id < min) min = id;
  return min;
}

/** The group as clients are told, smallest id first. `actingId` is shown as the master. */
export function brokerDataOf(group: BrokerGroup, actingId: number | null = null): BrokerData {
  const { brokerName, cluster, enableActingMaster, zoneName, members } = group;
  const shown = [...members].map(([id, { brokerAddr }]) => [id === actingId ? MASTER_ID : id, brokerAddr] as const);
  const brokerAddrs = withoutPrototype(shown.sort(([a], [b]) => a - b).map(([id, address]) => [String(id), address]));
  const data: BrokerData = { brokerAddrs, brokerName, cluster, enableActingMaster };
  return zoneName === null ? data : { ...data, zoneName };
}

/** A record of these entries. A peer may call a broker or a topic `__proto__`. */
export function withoutPrototype<T>(entries: Iterable<readonly [string, T]>): Record<string, T> {
  const record: Record<string, T> = Object.create(null);
  for (const [key, value] of entries) record[key] = value;
  return record;
}
