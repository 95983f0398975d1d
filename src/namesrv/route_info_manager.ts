// Who serves which topic, by Apache's rules. A synchronous state machine: registrations, ends of connections and the time
// come in, routes and notices come out. It opens nothing and knows no clock; namesrv_controller.ts drives it. A connection
// is an object it compares and hands back.

import { quoted } from "../base/printable.ts";
import {
  BrokerAddrTable,
  brokerDataOf,
  type BrokerGroup,
  type Member,
  minId,
  withoutPrototype,
} from "./broker_addr_table.ts";
import { type BrokerLiveInfo, BrokerLiveTable, expiresAt } from "./broker_live_table.ts";
import {
  type BrokerAddrInfo,
  type BrokerData,
  type BrokerRegistration,
  type ClusterInfo,
  type DataVersion,
  MASTER_ID,
  type MinBrokerIdNotice,
  PermName,
  type QueueData,
  sameDataVersion,
  type TopicRouteData,
} from "./route_types.ts";
import { TopicQueueTable } from "./topic_queue_table.ts";

/** Keys of the configuration used here; read at each use. */
export interface RouteInfoConfig {
  readonly supportActingMaster: boolean;
  readonly notifyMinBrokerIdChanged: boolean;
  readonly deleteTopicWithBrokerRegistration: boolean;
}

/** How much the tables may hold: Apache's have no bound, and anybody may register. */
export interface RouteInfoLimits {
  /** Registered brokers, masters and slaves. */
  readonly brokersMax: number;
  /** Memory of topics, about, bytes. */
  readonly topicBytesMax: number;
}

/** The memory is that of some 400,000 topics of one broker name each, or 150,000 of eight. */
export const ROUTE_INFO_LIMITS: RouteInfoLimits = { brokersMax: 10_000, topicBytesMax: 256 * 1024 * 1024 };

/** What a {@link RouteInfoManager} needs. */
export interface RouteInfoManagerOptions {
  readonly config: RouteInfoConfig;
  readonly limits?: RouteInfoLimits;
  /** Told when brokers have to learn of a new smallest id; only under `notifyMinBrokerIdChanged`. */
  readonly onMinBrokerIdChanged?: (notice: MinBrokerIdNotice) => void;
}

/** How a registration ended. Mirrors Apache's `RegisterBrokerResult`. */
export type RegisterBrokerResult =
  | {
    readonly type: "registered";
    /** Whether the broker was unknown before. */
    readonly isNew: boolean;
    /** Address of another live broker that had the id until now, when it was not a change of roles; null: of none. */
    readonly replaced: string | null;
    /** Of the live master, for a slave that registers. */
    readonly haServerAddr: string | null;
    readonly masterAddr: string | null;
    /** When the broker is gone unless it is heard again, in the time of `now`. */
    readonly expiresAt: number;
  }
  /** Another address holds the id with a newer state: answered with success and nothing in it. */
  | { readonly type: "ignored"; readonly reason: string }
  /** Nothing was changed. */
  | { readonly type: "refused"; readonly reason: string };

/** Apache's `DEFAULT_BROKER_CHANNEL_EXPIRED_TIME`, ms. */
const BROKER_EXPIRED_MS = 120_000;
/** Routes of these topics tell a broker its group's members, so they show no acting master. */
const SYNC_BROKER_MEMBER_GROUP_PREFIX = "rmq_sys_SYNC_BROKER_MEMBER_";
/** Bits of `topicSysFlag`. */
const UNIT = 1;
const UNIT_SUB = 2;

/** Mirrors Apache's `RouteInfoManager`; `C` is what a connection is known by. Times are ms of any one clock. */
export class RouteInfoManager<C extends object> {
  readonly #options: RouteInfoManagerOptions;
  readonly #limits: RouteInfoLimits;
  readonly #topics = new TopicQueueTable();
  readonly #brokers = new BrokerAddrTable();
  readonly #live = new BrokerLiveTable<C>();

  constructor(options: RouteInfoManagerOptions) {
    this.#options = options;
    this.#limits = options.limits ?? ROUTE_INFO_LIMITS;
  }

  /** What the tables hold. `brokers` counts masters and slaves, `topicBytes` is about the memory of topics. */
  get figures() {
    return {
      brokers: this.#live.size,
      brokerNames: this.#brokers.size,
      clusters: this.#brokers.clusters.size,
      topics: this.#topics.size,
      queueDatas: this.#topics.queueDataCount,
      topicBytes: this.#topics.heldBytes,
    };
  }

  /**
   * A broker registers over `connection`, whose end takes it out. The steps are Apache's in its order, but for what
   * refuses: it comes first, so that a refusal leaves everything as it was.
   */
  registerBroker(registration: BrokerRegistration, connection: C, now: number): RegisterBrokerResult {
    const refused = this.#refusal(registration);
    if (refused !== null) return { type: "refused", reason: refused };
    const { clusterName, brokerAddr, brokerName, brokerId } = registration;
    this.#takeFromOtherName(registration);
    const isNewName = this.#brokers.get(brokerName) === undefined;
    const group = this.#brokers.getOrAdd(brokerName, clusterName);
    group.enableActingMaster = registration.enableActingMaster ?? false;
    group.zoneName = registration.zoneName;
    const minChanged = brokerId < (minId(group) ?? 0);
    // A slave that became master has the same address under another id.
    let hadOtherId = false;
    for (const [id, member] of group.members) {
      if (id === brokerId || member.brokerAddr !== brokerAddr) continue;
      this.#removeMember(group, id);
      hadOtherId = true;
    }
    const ignored = this.#conflict(group, registration);
    if (ignored !== null) {
      this.#live.remove(registration);
      return { type: "ignored", reason: ignored };
    }
    const before = this.#brokers.setMember(brokerName, brokerId, { brokerAddr, clusterName });
    const isMaster = brokerId === MASTER_ID;
    const isPrimeSlave = !isMaster && registration.enableActingMaster !== null && brokerId === minId(group);
    if (isMaster || isPrimeSlave) {
      const isFirst = isNewName || before === undefined;
      this.#registerTopics(registration, { isFirst, readOnly: isPrimeSlave && group.enableActingMaster });
    }
    const isNew = this.#live.get(registration) === undefined;
    // In a planned switch of roles the old master takes the id of the slave, which then gives it up.
    const replaced = hadOtherId ? null : this.#replacedBy(registration, before, connection, now);
    for (const [id, member] of group.displaced) if (member.brokerAddr === brokerAddr) group.displaced.delete(id);
    if (replaced !== null) group.displaced.set(brokerId, before!);
    const live = this.#setLive(registration, connection, now);
    if (minChanged) this.#notify(group, { offlineBrokerAddr: null, haBrokerAddr: live.haServerAddr });
    return { type: "registered", isNew, replaced, ...this.#masterOf(group, registration), expiresAt: expiresAt(live) };
  }

  /** A broker says that it goes. Whether it was known. Mirrors `unRegisterBroker` for one request. */
  unregisterBroker(broker: BrokerAddrInfo & { readonly brokerName: string }): boolean {
    const live = this.#live.remove(broker);
    const removed = this.#removeAddress(broker.brokerName, broker.brokerAddr, null);
    if (live === undefined || live.brokerName === broker.brokerName) return removed || live !== undefined;
    return this.#removeAddress(live.brokerName, live.brokerAddr, live.clusterName) || removed;
  }

  /** A connection has ended: every broker that registered over it is gone. Returns them. Mirrors `onChannelDestroy`. */
  onConnectionClosed(connection: C): readonly BrokerAddrInfo[] {
    const gone = this.#live.ofConnection(connection);
    for (const live of gone) this.#drop(live);
    return gone;
  }

  /** Takes out the brokers that fell silent, and returns them and their connections, which are to be closed. */
  scanNotActiveBroker(now: number): readonly BrokerLiveInfo<C>[] {
    const gone = this.#live.silent(now);
    for (const live of gone) this.#drop(live);
    return gone;
  }

  /** When the next broker falls silent unless it is heard before; null without brokers. */
  nextExpiry(): number | null {
    return this.#live.nextExpiry();
  }

  /** A sign of life; of an unknown broker it means nothing. */
  updateBrokerInfoUpdateTimestamp(broker: BrokerAddrInfo, now: number): void {
    const live = this.#live.get(broker);
    if (live !== undefined) live.lastUpdate = now;
  }

  /** The version of the topics a broker registered last; null: none. */
  queryBrokerTopicConfig(broker: BrokerAddrInfo): DataVersion | null {
    return this.#live.get(broker)?.dataVersion ?? null;
  }

  /** Whether a broker with this version has something to register. */
  isBrokerTopicConfigChanged(broker: BrokerAddrInfo, dataVersion: DataVersion | null): boolean {
    return !sameDataVersion(this.queryBrokerTopicConfig(broker), dataVersion);
  }

  /**
   * Puts a topic on brokers, all of them or, when one is unknown or the table is full, none: then says why. Mirrors
   * `registerTopic`, which leaves the first ones.
   */
  registerTopic(topic: string, queueDatas: readonly QueueData[]): string | null {
    const unknown = queueDatas.find(({ brokerName }) => this.#brokers.get(brokerName) === undefined);
    if (unknown !== undefined) return `Broker name ${quoted(unknown.brokerName)} is unknown, wanted a registered one`;
    let added = 0;
    for (const { brokerName } of queueDatas) added += this.#topics.bytesToAdd(topic, brokerName);
    const full = this.#fullTopics(added);
    if (full !== null) return full;
    for (const data of queueDatas) this.#topics.set(topic, data);
    return null;
  }

  /** Takes a topic out, of every broker or of those of one cluster. */
  deleteTopic(topic: string, clusterName: string | null): void {
    if (clusterName === null) return this.#topics.removeTopic(topic);
    for (const brokerName of this.#brokers.clusters.get(clusterName) ?? []) this.#topics.remove(topic, brokerName);
  }

  /** Makes every topic of a broker name unwritable until the broker registers a change. Returns how many there are. */
  wipeWritePermOfBroker(brokerName: string): number {
    return this.#topics.changePerm(brokerName, withoutWrite);
  }

  /** Makes every topic of a broker name readable and writable. Returns how many there are. */
  addWritePermOfBroker(brokerName: string): number {
    return this.#topics.changePerm(brokerName, () => PermName.READ | PermName.WRITE);
  }

  /** The route of a topic; null: nobody has it. */
  pickupTopicRouteData(topic: string): TopicRouteData | null {
    const queues = this.#topics.get(topic);
    if (queues === undefined) return null;
    const queueDatas = [...queues.values()];
    const showActingMaster = this.#options.config.supportActingMaster &&
      !topic.startsWith(SYNC_BROKER_MEMBER_GROUP_PREFIX);
    const brokerDatas: BrokerData[] = [];
    const filterServerTable: Record<string, readonly string[]> = Object.create(null);
    for (const { brokerName, perm } of queueDatas) {
      const group = this.#brokers.get(brokerName)!;
      const isActing = showActingMaster && group.enableActingMaster && !group.members.has(MASTER_ID) &&
        (perm & PermName.WRITE) === 0;
      brokerDatas.push(brokerDataOf(group, isActing ? minId(group) : null));
      for (const member of group.members.values()) {
        const { filterServerList = [] } = this.#live.get(member) ?? {};
        if (filterServerList.length > 0) filterServerTable[member.brokerAddr] = filterServerList;
      }
    }
    const mappings = this.#topics.mappingsOf(topic);
    return {
      brokerDatas,
      filterServerTable,
      queueDatas,
      ...(mappings === null ? {} : { topicQueueMappingByBroker: withoutPrototype(mappings) }),
    };
  }

  /** Every broker and cluster. */
  getAllClusterInfo(): ClusterInfo {
    return this.#brokers.clusterInfo();
  }

  /** Addresses of a broker name by id, smallest first; empty when it is unknown. Without a prototype. */
  getBrokerMemberGroup(brokerName: string): Readonly<Record<string, string>> {
    const group = this.#brokers.get(brokerName);
    return group === undefined ? Object.create(null) : brokerDataOf(group).brokerAddrs;
  }

  /** Every topic. */
  getAllTopicList(): string[] {
    return [...this.#topics.topics()];
  }

  /** Topics of a cluster's brokers; none for an unknown one. */
  getTopicsByCluster(clusterName: string): string[] {
    const topics = new Set<string>();
    for (const brokerName of this.#brokers.clusters.get(clusterName) ?? []) {
      for (const topic of this.#topics.topicsOf(brokerName)) topics.add(topic);
    }
    return [...topics];
  }

  /** Names of clusters and brokers, which are topics as well, and the address of some broker. */
  getSystemTopicList(): { readonly brokerAddr: string | null; readonly topicList: readonly string[] } {
    const topics = new Set<string>();
    for (const [clusterName, brokerNames] of this.#brokers.clusters) {
      topics.add(clusterName);
      for (const brokerName of brokerNames) topics.add(brokerName);
    }
    const group = this.#brokers.any();
    const brokerAddr = group === undefined ? null : group.members.get(minId(group)!)!.brokerAddr;
    return { brokerAddr, topicList: [...topics] };
  }

  /** Topics whose flags say unit. */
  getUnitTopics(): string[] {
    return this.#topicsByFlag((flag) => (flag & UNIT) !== 0);
  }

  /** Topics whose flags say that there are unit subscriptions. */
  getHasUnitSubTopicList(): string[] {
    return this.#topicsByFlag((flag) => (flag & UNIT_SUB) !== 0);
  }

  /** Those of them that are no unit topics. */
  getHasUnitSubUnUnitTopicList(): string[] {
    return this.#topicsByFlag((flag) => (flag & UNIT_SUB) !== 0 && (flag & UNIT) === 0);
  }

  /** By the flags on some broker of the topic, as in Apache. */
  #topicsByFlag(wanted: (topicSysFlag: number) => boolean): string[] {
    return this.getAllTopicList().filter((topic) => {
      const first: QueueData = this.#topics.get(topic)!.values().next().value!;
      return wanted(first.topicSysFlag);
    });
  }

  #refusal(registration: BrokerRegistration): string | null {
    const { brokerName, brokerId, body } = registration;
    // Sent when a topic is made; taken for all there is, it would hide the others.
    if (body.topics.length === 1 && this.#brokers.get(brokerName)?.members.has(brokerId) !== true) {
      return `Broker ${quoted(brokerName)} with id ${brokerId} registers one topic, wanted all of them at first`;
    }
    const { brokersMax } = this.#limits;
    if (this.#live.size >= brokersMax && this.#live.get(registration) === undefined) {
      return `${brokersMax} brokers are registered, wanted fewer`;
    }
    let added = 0;
    for (const { topicName } of body.topics) added += this.#topics.bytesToAdd(topicName, brokerName);
    for (const mapping of body.mappings) added += this.#topics.mappingBytesToAdd(mapping);
    return this.#fullTopics(added);
  }

  #fullTopics(added: number): string | null {
    const { topicBytesMax } = this.#limits;
    const bytes = this.#topics.heldBytes + added;
    if (added <= 0 || bytes <= topicBytesMax) return null;
    return `Topics would take ${bytes} bytes of memory, wanted at most ${topicBytesMax}`;
  }

  /** A process that changed its broker name keeps its address: the old name must not keep it too. */
  #takeFromOtherName(registration: BrokerRegistration): void {
    const live = this.#live.get(registration);
    if (live !== undefined && live.brokerName !== registration.brokerName) this.#drop(live);
  }

  /** Why the newcomer is not taken: a live broker of another address has its id, in a later epoch of the group. */
  #conflict(group: BrokerGroup, { clusterName, brokerAddr, brokerId, body }: BrokerRegistration): string | null {
    const old = group.members.get(brokerId);
    if (old === undefined || old.brokerAddr === brokerAddr) return null;
    const theirs = this.queryBrokerTopicConfig({ clusterName, brokerAddr: old.brokerAddr })?.stateVersion ?? 0;
    const its = body.dataVersion?.stateVersion ?? 0;
    if (theirs <= its) return null;
    return `${old.brokerAddr} has id ${brokerId} of ${quoted(group.brokerName)} with state version ${theirs}, ` +
      `${brokerAddr} came with ${its}`;
  }

  /**
   * Who of two live brokers loses the id. Apache's rule is that the newcomer wins, without a word. A broker that came back
   * with another port is no case of this: the end of its old connection took its old address out.
   */
  #replacedBy(
    { brokerAddr }: BrokerRegistration,
    before: Member | undefined,
    connection: C,
    now: number,
  ): string | null {
    const live = before === undefined || before.brokerAddr === brokerAddr ? undefined : this.#live.get(before);
    return live === undefined || live.connection === connection || expiresAt(live) < now ? null : live.brokerAddr;
  }

  #registerTopics(
    registration: BrokerRegistration,
    { isFirst, readOnly }: { readonly isFirst: boolean; readonly readOnly: boolean },
  ): void {
    const { brokerName, body: { dataVersion, topics, mappings } } = registration;
    const changed = isFirst || this.isBrokerTopicConfigChanged(registration, dataVersion);
    // A body of one topic is what a broker sends when it made that topic, not all it has.
    if (this.#options.config.deleteTopicWithBrokerRegistration && mappings.length === 0 && topics.length !== 1) {
      const names = new Set(topics.map(({ topicName }) => topicName));
      const gone = [...this.#topics.topicsOf(brokerName)].filter((topic) => !names.has(topic));
      for (const topic of gone) this.#topics.remove(topic, brokerName);
    }
    for (const { topicName, perm, readQueueNums, topicSysFlag, writeQueueNums } of topics) {
      if (!changed && this.#topics.get(topicName)?.has(brokerName) === true) continue;
      const shownPerm = readOnly ? withoutWrite(perm) : perm;
      this.#topics.set(topicName, { brokerName, perm: shownPerm, readQueueNums, topicSysFlag, writeQueueNums });
    }
    if (changed) { for (const mapping of mappings) this.#topics.setMapping(mapping); }
  }

  #setLive(registration: BrokerRegistration, connection: C, now: number): BrokerLiveInfo<C> {
    const { clusterName, brokerAddr, brokerName, haServerAddr, heartbeatTimeoutMillis, body } = registration;
    const live = {
      clusterName,
      brokerAddr,
      brokerName,
      haServerAddr,
      timeoutMs: heartbeatTimeoutMillis ?? BROKER_EXPIRED_MS,
      dataVersion: body.dataVersion,
      filterServerList: body.filterServerList ?? this.#live.get(registration)?.filterServerList ?? [],
      connection,
      lastUpdate: now,
    };
    this.#live.set(live);
    return live;
  }

  /** The live master's addresses, for a slave. */
  #masterOf(group: BrokerGroup, { clusterName, brokerId }: BrokerRegistration) {
    const master = brokerId === MASTER_ID ? undefined : group.members.get(MASTER_ID);
    const live = master && this.#live.get({ clusterName, brokerAddr: master.brokerAddr });
    return { haServerAddr: live?.haServerAddr ?? null, masterAddr: live?.brokerAddr ?? null };
  }

  #drop(live: BrokerLiveInfo<C>): void {
    this.#live.remove(live);
    this.#removeAddress(live.brokerName, live.brokerAddr, live.clusterName);
  }

  /**
   * Takes an address out of a broker name (with `clusterName`: only as a member of that cluster), and what only it held
   * up: the name and its topics, or the right to write to them. Whether it was there.
   */
  #removeAddress(brokerName: string, brokerAddr: string, clusterName: string | null): boolean {
    const group = this.#brokers.get(brokerName);
    if (group === undefined) return false;
    const minBefore = minId(group);
    const found = [...group.members].filter(([, member]) =>
      member.brokerAddr === brokerAddr && (clusterName === null || member.clusterName === clusterName)
    );
    if (found.length === 0) return false;
    for (const [id] of found) this.#removeMember(group, id);
    const minAfter = minId(group);
    if (minAfter === null) {
      this.#brokers.removeGroup(brokerName);
      this.#topics.removeBroker(brokerName);
    } else if (group.enableActingMaster) {
      if (minAfter > MASTER_ID) this.#topics.changePerm(brokerName, withoutWrite);
      if (minAfter !== minBefore) this.#notify(group, { offlineBrokerAddr: brokerAddr, haBrokerAddr: null });
    }
    return true;
  }

  /**
   * Takes an id out, and gives it back to the live broker from which it was taken, if any. Apache leaves it to nobody until
   * that one registers again, for half a minute: without a route, and unseen by the next one that looks for a master here.
   */
  #removeMember(group: BrokerGroup, id: number): void {
    const { brokerName, displaced } = group;
    this.#brokers.removeMember(brokerName, id);
    const before = displaced.get(id);
    displaced.delete(id);
    const live = before && this.#live.get(before);
    if (live === undefined || live.brokerName !== brokerName) return;
    this.#brokers.setMember(brokerName, id, before!);
    // Topics are as the other one had them: whatever it registers next is a change.
    this.#live.set({ ...live, dataVersion: null });
  }

  #notify(group: BrokerGroup, why: Pick<MinBrokerIdNotice, "offlineBrokerAddr" | "haBrokerAddr">): void {
    if (!this.#options.config.notifyMinBrokerIdChanged) return;
    const minBrokerId = minId(group)!;
    const isToAll = why.offlineBrokerAddr !== null || group.members.size === 1;
    const told = [...group.members].filter(([id]) => isToAll || id !== minBrokerId);
    this.#options.onMinBrokerIdChanged?.({
      addresses: told.map(([, { brokerAddr }]) => brokerAddr),
      minBrokerId,
      minBrokerAddr: group.members.get(minBrokerId)!.brokerAddr,
      ...why,
    });
  }
}

function withoutWrite(perm: number): number {
  return perm & ~PermName.WRITE;
}
