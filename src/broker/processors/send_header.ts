// What the header of a send says, whichever of its forms it came in, for the processor and those it asks about retries.

import type { MessageToPut } from "../../store/types.ts";

/** Mirrors Apache's `SendMessageRequestHeader`. */
export interface SendHeader {
  readonly producerGroup: string;
  readonly topic: string;
  /** Template of a topic that does not exist yet. */
  readonly defaultTopic: string;
  readonly defaultTopicQueueNums: number;
  /** Below 0: any queue. */
  readonly queueId: number;
  readonly sysFlag: number;
  /** Unix ms. */
  readonly bornTimestamp: number;
  readonly flag: number;
  /** Encoded, `name 0x01 value 0x02` repeated. */
  readonly properties: string;
  readonly reconsumeTimes: number;
  readonly unitMode: boolean;
  readonly maxReconsumeTimes: number | null;
  readonly isBatch: boolean;
  /** `MQVersion` ordinal of the client. */
  readonly clientVersion: number;
}

/** What becomes of a message sent to a retry topic: itself or one of the dead letters, or the code it is refused with. */
export type RetryAndDLQ = (
  message: MessageToPut,
  header: SendHeader,
) => MessageToPut | { readonly code: number; readonly remark: string };
