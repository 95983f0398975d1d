// Questions about messages and queues: by key (12), by offset message id (33), the queue offset of a time (29), a queue's
// bounds (30, 31) and the store time of its first message (32).

import { concatBytes } from "../../base/bytes.ts";
import { RemotingError } from "../../base/errors.ts";
import { quoted } from "../../base/printable.ts";
import type { Config } from "../../config/schema.ts";
import { createResponse, type ExtValues, type RemotingCommand, requiredExt } from "../../remoting/remoting_command.ts";
import type { RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import { BoundaryType } from "../../store/message_reader.ts";

/** What the processor needs. */
export interface QueryPorts {
  readonly config: Pick<Config, "defaultQueryMaxNum" | "maxMsgsNumBatch">;
  readonly store: {
    queryRecords(topic: string, key: string, maxNum: number, begin: number, end: number): Promise<Uint8Array[]>;
    lookRecordByOffset(offset: number): Promise<Uint8Array | null>;
    readonly indexEnd: { readonly timestamp: number; readonly phyOffset: number };
    getOffsetByTime(topic: string, queueId: number, timestamp: number, boundary: BoundaryType): number;
    getMaxOffsetInQueue(topic: string, queueId: number): number;
    getMinOffsetInQueue(topic: string, queueId: number): number;
    getEarliestMessageTime(topic: string, queueId: number): number;
  };
}

/** Ext field of a query for a unique key: as many as `defaultQueryMaxNum` then. Mirrors `MixAll.UNIQUE_MSG_QUERY_FLAG`. */
const UNIQUE_KEY_QUERY = "_UNIQUE_KEY_QUERY";
/** Bytes of one answer; a frame holds 16 MiB. */
const ANSWER_BYTES_MAX = 15 * 1024 * 1024;

/** Mirrors Apache's `QueryMessageProcessor` and the queue questions of its `AdminBrokerProcessor`. */
export function queryMessageProcessors(ports: QueryPorts): Map<number, RequestProcessor> {
  const { store } = ports;
  const offsetAnswer = (request: RemotingCommand, ext: ExtValues) =>
    createResponse(request, ResponseCode.SUCCESS, { ext });
  const queueOf = (request: RemotingCommand): [string, number] => [
    requiredExt(request, "topic"),
    wholeNumber(request, "queueId"),
  ];
  return new Map<number, RequestProcessor>([
    [RequestCode.QUERY_MESSAGE, (request) => queryMessage(ports, request)],
    [RequestCode.VIEW_MESSAGE_BY_ID, (request) => viewMessageById(ports, request)],
    [RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, (request) => {
      const [topic, queueId] = queueOf(request);
      const isUpper = request.extFields.get("boundaryType")?.toUpperCase() === "UPPER";
      const boundary = isUpper ? BoundaryType.UPPER : BoundaryType.LOWER;
      const timestamp = wholeNumber(request, "timestamp");
      return offsetAnswer(request, { offset: store.getOffsetByTime(topic, queueId, timestamp, boundary) });
    }],
    [
      RequestCode.GET_MAX_OFFSET,
      (request) => offsetAnswer(request, { offset: store.getMaxOffsetInQueue(...queueOf(request)) }),
    ],
    [
      RequestCode.GET_MIN_OFFSET,
      (request) => offsetAnswer(request, { offset: store.getMinOffsetInQueue(...queueOf(request)) }),
    ],
    [
      RequestCode.GET_EARLIEST_MSG_STORETIME,
      (request) => offsetAnswer(request, { timestamp: store.getEarliestMessageTime(...queueOf(request)) }),
    ],
  ]);
}

async function queryMessage({ config, store }: QueryPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const topic = requiredExt(request, "topic");
  const key = requiredExt(request, "key");
  const isUnique = request.extFields.get(UNIQUE_KEY_QUERY) === "true";
  const asked = isUnique ? config.defaultQueryMaxNum : wholeNumber(request, "maxNum");
  const maxNum = Math.max(1, Math.min(asked, config.maxMsgsNumBatch));
  const begin = wholeNumber(request, "beginTimestamp");
  const end = wholeNumber(request, "endTimestamp");
  const records = await store.queryRecords(topic, key, maxNum, begin, end);
  const { timestamp, phyOffset } = store.indexEnd;
  const ext = { indexLastUpdateTimestamp: timestamp, indexLastUpdatePhyoffset: phyOffset };
  if (records.length === 0) {
    const remark = "can not find message, maybe time range not correct";
    return createResponse(request, ResponseCode.QUERY_NOT_FOUND, { remark, ext });
  }
  return createResponse(request, ResponseCode.SUCCESS, { ext, body: concatBytes(fitting(records)) });
}

/** The newest that fit into one answer. */
function fitting(records: readonly Uint8Array[]): Uint8Array[] {
  const taken: Uint8Array[] = [];
  let bytes = 0;
  for (const record of records.toReversed()) {
    if (taken.length > 0 && bytes + record.length > ANSWER_BYTES_MAX) break;
    bytes += record.length;
    taken.unshift(record);
  }
  return taken;
}

async function viewMessageById({ store }: QueryPorts, request: RemotingCommand): Promise<RemotingCommand> {
  const offset = wholeNumber(request, "offset");
  const record = await store.lookRecordByOffset(offset);
  if (record !== null) return createResponse(request, ResponseCode.SUCCESS, { body: record });
  return createResponse(request, ResponseCode.SYSTEM_ERROR, {
    remark: `can not find message by the offset, ${offset}`,
  });
}

/** Java's `Long.MAX_VALUE`, which stands for "no end", becomes the largest safe integer. */
function wholeNumber(request: RemotingCommand, name: string): number {
  const text = requiredExt(request, name);
  if (/^-?\d{1,19}$/.test(text)) {
    return Math.max(Number.MIN_SAFE_INTEGER, Math.min(Number.MAX_SAFE_INTEGER, Number(text)));
  }
  throw new RemotingError(
    ResponseCode.SYSTEM_ERROR,
    `Ext field "${name}" is ${quoted(text, 40)}, wanted a whole number`,
  );
}
