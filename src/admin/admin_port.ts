// What the admin API asks of a node, and nothing more: the broker controller implements it, tests use a small fake. All
// offsets are bytes of the commit log unless they are called queue offsets; times are Unix ms.

import type { BrokerRole, Config } from "../config/schema.ts";
import type { ClientsPort } from "./clients_port.ts";
import type { HAConnectionState } from "../ha/ha_connection_state.ts";
import type { PutMessageStatus, StoredMessage } from "../store/types.ts";

/** One slave as its master sees it. Carries the fields of Apache's `HAConnectionRuntimeInfo` and more. */
export interface SlaveStatus {
  /** Remote `ip:port` of its HA connection. */
  readonly addr: string;
  readonly state: HAConnectionState;
  /** What it asked for first; -1 before that. */
  readonly slaveRequestOffset: number;
  /** What it acknowledged last; -1 before that. */
  readonly slaveAckOffset: number;
  /** Next byte to send; -1 before the first report. */
  readonly transferFromWhere: number;
  /** `maxOffset - slaveAckOffset`: its lag, bytes. */
  readonly diff: number;
  readonly inSync: boolean;
  /** Bytes sent in the last whole second. */
  readonly transferredByteInSecond: number;
  /** Why it is not served, or counts as no slave (it only reads, as `verify --against` does); else `null`. */
  readonly reason: string | null;
}

/** The master as its slave sees it. Carries the fields of Apache's `HAClientRuntimeInfo` and more. */
export interface MasterStatus {
  /** HA address being followed, `null` when there is none. */
  readonly masterAddr: string | null;
  readonly state: HAConnectionState;
  /** Whether the slave's tail was compared with the master's and agreed. */
  readonly verified: boolean;
  /** Why it does not follow (diverged, hole, bad record, refused ...), `null` while it does. */
  readonly reason: string | null;
  /** What can be done where it has stopped for good (diverged, hole), else `null`. */
  readonly remedy: string | null;
  /** End of the master's log as far as known, `null` when it can't be learned. */
  readonly masterMaxOffset: number | null;
  /** `masterMaxOffset - maxOffset`, `null` when it can't be learned. */
  readonly diff: number | null;
  /** Bytes received in the last whole second. */
  readonly transferredByteInSecond: number;
  /** 0 before the first. */
  readonly lastReadTimestamp: number;
  /** 0 before the first. */
  readonly lastWriteTimestamp: number;
}

/** What a node has bound, as `host:port`; `null` for what is not. */
export interface BrokerAddresses {
  readonly remoting: string;
  readonly vip: string | null;
  readonly ha: string;
  readonly admin: string | null;
  /** The remoting address that clients are told. */
  readonly advertised: string;
  /** The NameServer inside this node. */
  readonly namesrv: string | null;
}

/** What `GET /ha`, `/events` and the page show. */
export interface NodeStatus {
  readonly brokerClusterName: string;
  readonly brokerName: string;
  readonly brokerId: number;
  readonly brokerRole: BrokerRole;
  readonly version: string;
  /** Such as `deno 2.9.6`. */
  readonly runtime: string;
  readonly startTimestamp: number;
  readonly addresses: BrokerAddresses;
  /** The NameServers it registers with, and whether the last time succeeded; `null` before that. */
  readonly namesrvs: readonly { readonly address: string; readonly registered: boolean | null }[];
  /** The HA address others are told: `brokerIP2:port`. What a demoted master follows after `switchover`. */
  readonly haServerAddr: string;
  /** Whether a put would be tried now. */
  readonly writable: boolean;
  /** Why not; `null` when it would. */
  readonly notWritableReason: string | null;
  /** Puts are held off: by {@link AdminPort.setFenced}, or since a start beside another master; notWritableReason says which. */
  readonly fenced: boolean;
  readonly minOffset: number;
  readonly maxOffset: number;
  readonly flushedOffset: number;
  readonly confirmOffset: number;
  /** Bytes whose consume queue and index entries are still to come. */
  readonly dispatchBehindBytes: number;
  /** Slaves in sync now, the master itself not counted (Apache's `inSyncSlaveNums`). */
  readonly inSyncSlaveNums: number;
  /** Highest acknowledged offset of the live slaves; 0 without one. */
  readonly push2SlaveMaxOffset: number;
  /** Lag of the fastest slave, Apache's `slaveFallBehindMuch`; `null` without a slave. */
  readonly slaveFallBehindMuch: number | null;
  /** Every live HA connection; a slave has them too when others follow it. */
  readonly slaves: readonly SlaveStatus[];
  /** On a slave only, else `null`. */
  readonly master: MasterStatus | null;
}

/** `PUT /role`, checked: the role is one of Apache's, `masterAddress` a `host:port`. */
export interface RoleRequest {
  readonly role: BrokerRole;
  /** Only for a slave, at least 1; absent: 1, or what it was. */
  readonly brokerId?: number;
  /** Only for a slave: the HA address to follow; absent: what is configured or learned. */
  readonly masterAddress?: string;
  /** Promote although the master was heard less than 10 s ago, or the log's end is unverified; on a master: take puts although they are held off. */
  readonly force?: boolean;
  /** Only for a planned promotion: where the log of the master ended that has stepped down; this one has to end there. */
  readonly masterEnd?: number;
  /** Only for a slave: sets aside, into a file, what the master does not have; ends once it follows, or has stopped. On a master masterAddress has to be given. */
  readonly resync?: boolean;
}

/** Outcome of something that may be refused: the reason becomes a 409. */
export type AdminOutcome = { readonly type: "done" } | { readonly type: "refused"; readonly reason: string };

/** `POST /topics/{topic}/messages`, checked. */
export interface PutRequest {
  readonly topic: string;
  /** `null`: the node picks one. */
  readonly queueId: number | null;
  readonly body: Uint8Array;
  /** `TAGS`, `KEYS`, `WAIT` and the user's own, names and values free of the format's separators. */
  readonly properties: ReadonlyMap<string, string>;
  readonly flag: number;
}

/** What became of a put, given once the promised flush and replication are through. */
export interface PutOutcome {
  readonly status: PutMessageStatus;
  /** What to know about a status other than PUT_OK, else `null`. */
  readonly remark: string | null;
  /** `null` when nothing was written. */
  readonly stored: {
    readonly msgId: string;
    readonly queueId: number;
    readonly queueOffset: number;
    readonly physicalOffset: number;
    readonly storeSize: number;
    readonly storeTimestamp: number;
  } | null;
}

/** One queue of a topic. Queue offsets count messages; `maxOffset` is the next one. */
export interface QueueRange {
  readonly queueId: number;
  readonly minOffset: number;
  readonly maxOffset: number;
}

/** A read by queue offset. `maxNum` is 1 to 256. */
export interface QueueReadRequest {
  readonly topic: string;
  readonly queueId: number;
  readonly offset: number;
  readonly maxNum: number;
}

/** Its answer. */
export interface QueueReadResult {
  readonly messages: readonly StoredMessage[];
  /** Queue offset to go on with. */
  readonly nextOffset: number;
  readonly minOffset: number;
  readonly maxOffset: number;
}

/** A read by key (`KEYS` or `UNIQ_KEY`), newest first. Times are store timestamps, both included. */
export interface KeyReadRequest {
  readonly topic: string;
  readonly key: string;
  readonly begin: number;
  readonly end: number;
  readonly maxNum: number;
}

/** One sample for `/metrics`. Names start with `rocketmq_` where Apache has the metric, else with `twinlog_`. */
export interface MetricFigure {
  readonly name: string;
  readonly help: string;
  readonly type: "gauge" | "counter";
  readonly labels: Readonly<Record<string, string>>;
  readonly value: number;
}

/** The node as the admin API sees it. */
export interface AdminPort {
  /** Topics, groups and clients. */
  readonly clients: ClientsPort;
  /** The figures of `/ha`. Cheap: called once a second per open `/events` stream. */
  status(): NodeStatus;
  /** `null` when ready (store recovered; a slave's lag below `haMaxGapNotInSync`), else why not. */
  notReadyReason(): string | null;
  /** Calls back after each change of role, address, connection or its state. Returns the unsubscriber. */
  onStateChange(listener: () => void): () => void;

  /** Switches the role at run time and saves it; resolves once the new role is in force. */
  switchRole(request: RoleRequest): Promise<AdminOutcome>;
  /** Follows another master, or none (`null`); the live connection is closed. Refused on a master. */
  updateMasterAddress(address: string | null): Promise<AdminOutcome>;
  /**
   * Holds off (true) or takes again (false) every put: once it has resolved, a master's `maxOffset` stands still. Not
   * saved: a restart or a role switch ends it. The first step of `switchover` (Apache's "fenced" running flag).
   */
  setFenced(fenced: boolean): Promise<AdminOutcome>;

  /** Puts a message; never rejects for an expected outcome, see {@link PutOutcome.status}. */
  put(request: PutRequest): Promise<PutOutcome>;
  /** The topic's queues, `null` when there is no such topic. */
  queues(topic: string): readonly QueueRange[] | null;
  /** Reads by queue offset; `null` when there is no such topic or queue. */
  readByQueueOffset(request: QueueReadRequest): Promise<QueueReadResult | null>;
  /** Reads by key; empty when nothing matches. */
  readByKey(request: KeyReadRequest): Promise<readonly StoredMessage[]>;
  /** Queue offset of the first message stored at `timestamp` or later; `null` when there is no such queue. */
  offsetByTime(topic: string, queueId: number, timestamp: number): number | null;
  /** The message of an offset message id; `null` when the log doesn't hold it. */
  readById(msgId: string): Promise<StoredMessage | null>;
  /** Calls back, synchronously, after messages have become readable. Returns the unsubscriber. */
  onMessages(listener: () => void): () => void;

  /** The effective configuration. */
  config(): Config;
  /** Applies keys that may change at run time, already checked. */
  updateConfig(patch: Partial<Config>): void;
  /** What `/metrics` shows beside the figures of {@link status}. */
  metricFigures(): readonly MetricFigure[];
}
