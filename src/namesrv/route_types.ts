// The NameServer's vocabulary: what a broker registers, what the route tables hold, what clients are told. Members stand
// in Apache's (alphabetical) order, so that an object written as it is has the wire's form. Shapes only.

/** `brokerId` of a master. Mirrors Apache's `MixAll.MASTER_ID`. */
export const MASTER_ID = 0;

/** Bits of `perm`. Mirrors Apache's `PermName`. */
export const PermName = { INHERIT: 1, WRITE: 2, READ: 4 } as const;

/** Orders two states of a broker's topics. Mirrors Apache's `DataVersion`. */
export interface DataVersion {
  readonly counter: number;
  readonly stateVersion: number;
  /** Unix ms of the last change, by the broker's clock. */
  readonly timestamp: number;
}

/** Equal only if all three are. An unknown version equals nothing, not even another one. */
export function sameDataVersion(a: DataVersion | null, b: DataVersion | null): boolean {
  return a !== null && b !== null && a.counter === b.counter && a.stateVersion === b.stateVersion &&
    a.timestamp === b.timestamp;
}

/** A topic on the brokers of one name. Mirrors Apache's `QueueData`. */
export interface QueueData {
  readonly brokerName: string;
  readonly perm: number;
  readonly readQueueNums: number;
  readonly topicSysFlag: number;
  readonly writeQueueNums: number;
}

/** Where the brokers of one name are. Mirrors Apache's `BrokerData`. */
export interface BrokerData {
  /** By brokerId, in decimal digits. Without a prototype. */
  readonly brokerAddrs: Record<string, string>;
  readonly brokerName: string;
  readonly cluster: string;
  readonly enableActingMaster: boolean;
  readonly zoneName?: string;
}

/** Which queues of a static topic a broker name serves. Mirrors Apache's `TopicQueueMappingInfo`. */
export interface TopicQueueMappingInfo {
  readonly bname: string;
  /** Physical queue ids by logical ones, in decimal digits. Without a prototype. */
  readonly currIdMap: Readonly<Record<string, number>>;
  readonly dirty: boolean;
  readonly epoch: number;
  readonly scope: string;
  readonly topic: string;
  readonly totalQueues: number;
}

/** The answer to a client's question for a topic. Mirrors Apache's `TopicRouteData`. */
export interface TopicRouteData {
  readonly brokerDatas: readonly BrokerData[];
  /** By broker address; always there, mostly empty. Without a prototype. */
  readonly filterServerTable: Readonly<Record<string, readonly string[]>>;
  readonly orderTopicConf?: string;
  readonly queueDatas: readonly QueueData[];
  /** Of static topics only. Without a prototype. */
  readonly topicQueueMappingByBroker?: Readonly<Record<string, TopicQueueMappingInfo>>;
}

/** Every broker and cluster. Mirrors Apache's `ClusterInfo`; both maps without a prototype. */
export interface ClusterInfo {
  readonly brokerAddrTable: Readonly<Record<string, BrokerData>>;
  readonly clusterAddrTable: Readonly<Record<string, readonly string[]>>;
}

/** What a registration says of one topic. The part of Apache's `TopicConfig` that routes are made of. */
export interface RegisteredTopic {
  readonly topicName: string;
  readonly perm: number;
  readonly readQueueNums: number;
  readonly topicSysFlag: number;
  readonly writeQueueNums: number;
}

/** The body of a registration, whichever of its forms it came in. Mirrors Apache's `RegisterBrokerBody`. */
export interface RegisterBrokerBody {
  /** null: the body has none; every such registration counts as a change. */
  readonly dataVersion: DataVersion | null;
  readonly topics: readonly RegisteredTopic[];
  readonly mappings: readonly TopicQueueMappingInfo[];
  /** null: the body's form has no such list, what is known stays. */
  readonly filterServerList: readonly string[] | null;
}

/** A whole registration. Mirrors the arguments of Apache's `RouteInfoManager.registerBroker`. */
export interface BrokerRegistration {
  readonly clusterName: string;
  /** `host:port`; with the cluster's name what a broker is known by. */
  readonly brokerAddr: string;
  readonly brokerName: string;
  /** 0 is the master. */
  readonly brokerId: number;
  readonly haServerAddr: string | null;
  readonly zoneName: string | null;
  /** Silence after which the broker is gone, ms; null: 120,000. */
  readonly heartbeatTimeoutMillis: number | null;
  /** null: a broker of 4.x, which does not know of acting masters. */
  readonly enableActingMaster: boolean | null;
  readonly body: RegisterBrokerBody;
}

/** A broker as it is known by. */
export interface BrokerAddrInfo {
  readonly clusterName: string;
  readonly brokerAddr: string;
}

/** The smallest brokerId of a name is another one: to be told to `addresses`. Mirrors the header of request 905. */
export interface MinBrokerIdNotice {
  readonly addresses: readonly string[];
  readonly minBrokerId: number;
  readonly minBrokerAddr: string;
  /** Who is gone, when that is why. */
  readonly offlineBrokerAddr: string | null;
  /** HA address of who came, when that is why. */
  readonly haBrokerAddr: string | null;
}
