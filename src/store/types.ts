// The store's vocabulary: Apache's names for statuses and for what a message is before and after it is stored.

/** Outcome of a put. Mirrors Apache's `PutMessageStatus`. */
export const PutMessageStatus = {
  PUT_OK: "PUT_OK",
  FLUSH_DISK_TIMEOUT: "FLUSH_DISK_TIMEOUT",
  FLUSH_SLAVE_TIMEOUT: "FLUSH_SLAVE_TIMEOUT",
  SLAVE_NOT_AVAILABLE: "SLAVE_NOT_AVAILABLE",
  SERVICE_NOT_AVAILABLE: "SERVICE_NOT_AVAILABLE",
  CREATE_MAPPED_FILE_FAILED: "CREATE_MAPPED_FILE_FAILED",
  MESSAGE_ILLEGAL: "MESSAGE_ILLEGAL",
  PROPERTIES_SIZE_EXCEEDED: "PROPERTIES_SIZE_EXCEEDED",
  IN_SYNC_REPLICAS_NOT_ENOUGH: "IN_SYNC_REPLICAS_NOT_ENOUGH",
  WHEEL_TIMER_MSG_ILLEGAL: "WHEEL_TIMER_MSG_ILLEGAL",
  WHEEL_TIMER_FLOW_CONTROL: "WHEEL_TIMER_FLOW_CONTROL",
  WHEEL_TIMER_NOT_ENABLE: "WHEEL_TIMER_NOT_ENABLE",
  UNKNOWN_ERROR: "UNKNOWN_ERROR",
} as const;
export type PutMessageStatus = (typeof PutMessageStatus)[keyof typeof PutMessageStatus];

/** Host and port inside a record: 4 or 16 address bytes. Mirrors the `bornHost` and `storeHost` fields. */
export interface RecordHost {
  readonly address: Uint8Array;
  readonly port: number;
}

/** A message on its way into the log. Mirrors Apache's `MessageExtBrokerInner`. */
export interface MessageToPut {
  readonly topic: string;
  readonly queueId: number;
  readonly body: Uint8Array;
  readonly properties: ReadonlyMap<string, string>;
  /** The user's own flag, opaque. */
  readonly flag: number;
  /** `MessageSysFlag` bits without the host bits, which the codec sets from the hosts. */
  readonly sysFlag: number;
  /** Unix ms. */
  readonly bornTimestamp: number;
  readonly bornHost: RecordHost;
  readonly storeHost: RecordHost;
  readonly reconsumeTimes: number;
  readonly preparedTransactionOffset: number;
}

/** A client's batch, put as a whole or not at all. */
export interface BatchToPut {
  /** What its messages share. */
  readonly message: MessageToPut;
  /** The messages, as `SEND_BATCH_MESSAGE` has them. */
  readonly batchBody: Uint8Array;
}

/** When a message was born, by its producer's clock, and stored, by its broker's; Unix ms. */
export interface MessageTimes {
  readonly bornTimestamp: number;
  readonly storeTimestamp: number;
}

/** A record read back from the log. Mirrors Apache's `MessageExt`. */
export interface StoredMessage extends MessageToPut {
  /** Bytes of the whole record. */
  readonly storeSize: number;
  readonly bodyCrc: number;
  readonly queueOffset: number;
  readonly physicalOffset: number;
  /** Unix ms. */
  readonly storeTimestamp: number;
  /** Apache's offset message id: hex of store host, port and physical offset. */
  readonly msgId: string;
}

/** Where an append went, or why it did not. Mirrors Apache's `AppendMessageResult` inside `PutMessageResult`. */
export type AppendMessageResult =
  | {
    readonly status: typeof PutMessageStatus.PUT_OK;
    /** Start of the (first) record. */
    readonly wroteOffset: number;
    readonly wroteBytes: number;
    /** Offset message ids, one per message of a batch. */
    readonly msgIds: readonly string[];
    readonly storeTimestamp: number;
    /** Queue offset of the (first) message. */
    readonly logicsOffset: number;
    readonly msgNum: number;
  }
  | {
    readonly status: Exclude<
      PutMessageStatus,
      "PUT_OK" | "FLUSH_DISK_TIMEOUT" | "FLUSH_SLAVE_TIMEOUT" | "SLAVE_NOT_AVAILABLE"
    >;
    readonly remark: string;
  };

/** What dispatch needs to know of a record. Mirrors Apache's `DispatchRequest`. */
export interface DispatchRequest {
  readonly topic: string;
  readonly queueId: number;
  readonly commitLogOffset: number;
  readonly msgSize: number;
  readonly tagsCode: number;
  readonly storeTimestamp: number;
  readonly consumeQueueOffset: number;
  readonly sysFlag: number;
  /** `UNIQ_KEY`, else null. */
  readonly uniqKey: string | null;
  /** `KEYS`, space separated; empty when there are none. */
  readonly keys: string;
}
