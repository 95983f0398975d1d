// What the request processors need from the rest of the broker: narrow ports the broker controller fills in. No store,
// HA or socket is named here, so a processor is tested with a few literals.

import type { DiskUsage } from "../../runtime/runtime.ts";

/** Figures behind GET_BROKER_RUNTIME_INFO (28). Offsets and sizes are bytes, times Unix ms. */
export interface BrokerRuntimeInfo {
  /** Whether the services run that only a master has. */
  readonly brokerActive: boolean;
  /** When the broker was started. */
  readonly bootTimestamp: number;
  /** Wall clock now. */
  readonly now: number;
  readonly commitLogMinOffset: number;
  readonly commitLogMaxOffset: number;
  /** Bytes of the log not yet in consume queues. */
  readonly dispatchBehindBytes: number;
  /** Bytes of the log not yet known to be on the disk. */
  readonly remainHowManyDataToFlush: number;
  /** Store time of the oldest record held; -1 when there is none. */
  readonly earliestMessageTimeStamp: number;
  /** Directory of the commit log. */
  readonly commitLogPath: string;
  /** Capacity of the file system with the commit log; null when it can't be told. */
  readonly commitLogDisk: DiskUsage | null;
  /** Likewise for the consume queues. */
  readonly consumeQueueDisk: DiskUsage | null;
  /** Puts since the start: messages, bytes, failures, and the slowest in ms. Missing means 0. */
  readonly putMessageTimesTotal?: number;
  readonly putMessageSizeTotal?: number;
  readonly putMessageFailedTimes?: number;
  readonly putMessageEntireTimeMax?: number;
  /** Messages per second over the last 10 s, 60 s and 600 s. Missing means 0. */
  readonly putTps?: readonly [number, number, number];
  readonly getTransferredTps?: readonly [number, number, number];
  /** Further keys, sent as they are and winning over ours. */
  readonly extra?: Readonly<Record<string, string>>;
}

/** Asked at each GET_BROKER_RUNTIME_INFO. */
export interface BrokerRuntimeInfoSource {
  runtimeInfo(): BrokerRuntimeInfo;
}

/** One slave in HARuntimeInfo. Mirrors Apache's `HARuntimeInfo.HAConnectionRuntimeInfo`. */
export interface HAConnectionRuntimeInfo {
  /** `ip:port` of the slave's end. */
  readonly addr: string;
  readonly slaveAckOffset: number;
  /** Master's max minus the ack, bytes. */
  readonly diff: number;
  readonly inSync: boolean;
  readonly transferredByteInSecond: number;
  /** Next offset to send; -1 before the slave's first report. */
  readonly transferFromWhere: number;
}

/** The slave's own side in HARuntimeInfo. Mirrors Apache's `HARuntimeInfo.HAClientRuntimeInfo`. */
export interface HAClientRuntimeInfo {
  /** The master's HA address; null on a master. */
  readonly masterAddr?: string | null;
  readonly transferredByteInSecond: number;
  readonly maxOffset: number;
  readonly lastReadTimestamp: number;
  readonly lastWriteTimestamp: number;
  readonly masterFlushOffset: number;
}

/** Answer of GET_BROKER_HA_STATUS (907); fields beyond these are not sent. Mirrors Apache's `HARuntimeInfo`. */
export interface HARuntimeInfoView {
  readonly master: boolean;
  /** 0 on a slave. */
  readonly masterCommitLogMaxOffset: number;
  /** Slaves in sync, this broker not counted. */
  readonly inSyncSlaveNums: number;
  readonly haConnectionInfo: readonly HAConnectionRuntimeInfo[];
  /** Zeros, or left out, on a master. */
  readonly haClientRuntimeInfo?: HAClientRuntimeInfo;
}

/** What EXCHANGE_BROKER_HA_INFO (906) carries in either direction. Mirrors Apache's `ExchangeHAInfo` headers. */
export interface BrokerHAInfo {
  /** `host:port` of the master's HA listener. */
  readonly masterHaAddress: string | null;
  /** Bytes. */
  readonly masterFlushOffset: number | null;
  /** `host:port` of the master's remoting port. */
  readonly masterAddress: string | null;
}

/** The broker's HA side as requests 906 and 907 see it. */
export interface BrokerHAPort {
  /** A master's own addresses and its max offset at boot; null on a slave, which then answers empty. */
  haInfo(): BrokerHAInfo | null;
  /**
   * A peer names this broker's master. A slave adopts it; a master ignores it. Returns why it was not adopted, null
   * when it was: the text goes to the asker as a SYSTEM_ERROR.
   */
  adoptMaster(info: BrokerHAInfo & { readonly masterHaAddress: string }): string | null;
  /** null: there is no HA service (yet). */
  haRuntimeInfo(): HARuntimeInfoView | null;
}
