// The shapes of the admin API, once: they validate what comes in and generate /openapi.json. The types behind the answers
// are admin_port.ts's; the compiler holds the two together where a route answers.

import { z } from "@hono/zod-openapi";

/** An answer that refuses. */
export const ErrorAnswer = z.object({ error: z.string() }).openapi("Error");

const Offset = z.number().int().openapi({ description: "Bytes in the commit log" });
const State = z.enum(["READY", "HANDSHAKE", "TRANSFER", "SUSPEND", "SHUTDOWN"]);
const Role = z.enum(["ASYNC_MASTER", "SYNC_MASTER", "SLAVE"]);
const Millis = z.number().int().openapi({ description: "Unix ms" });

const Slave = z.object({
  addr: z.string(),
  state: State,
  slaveRequestOffset: Offset,
  slaveAckOffset: Offset,
  transferFromWhere: Offset,
  diff: Offset.openapi({ description: "Lag, bytes" }),
  inSync: z.boolean(),
  transferredByteInSecond: z.number(),
  reason: z.string().nullable().openapi({ description: "Why it is not served, or counts as no slave" }),
}).openapi("Slave");

const Master = z.object({
  masterAddr: z.string().nullable(),
  state: State,
  verified: z.boolean(),
  reason: z.string().nullable(),
  remedy: z.string().nullable().openapi({ description: "What can be done where it has stopped for good" }),
  masterMaxOffset: Offset.nullable(),
  diff: Offset.nullable(),
  transferredByteInSecond: z.number(),
  lastReadTimestamp: Millis,
  lastWriteTimestamp: Millis,
}).openapi("Master");

/** `GET /ha` and every event. */
export const StatusAnswer = z.object({
  brokerClusterName: z.string(),
  brokerName: z.string(),
  brokerId: z.number().int(),
  brokerRole: Role,
  version: z.string(),
  runtime: z.string(),
  startTimestamp: Millis,
  addresses: z.object({
    remoting: z.string(),
    vip: z.string().nullable(),
    ha: z.string(),
    admin: z.string().nullable(),
    advertised: z.string(),
    namesrv: z.string().nullable(),
  }),
  namesrvs: z.array(z.object({ address: z.string(), registered: z.boolean().nullable() })),
  haServerAddr: z.string(),
  writable: z.boolean(),
  notWritableReason: z.string().nullable(),
  fenced: z.boolean(),
  minOffset: Offset,
  maxOffset: Offset,
  flushedOffset: Offset,
  confirmOffset: Offset,
  dispatchBehindBytes: z.number(),
  inSyncSlaveNums: z.number().int(),
  push2SlaveMaxOffset: Offset,
  slaveFallBehindMuch: Offset.nullable(),
  slaves: z.array(Slave),
  master: Master.nullable(),
}).openapi("Status");

const HOST_PORT =
  /^(\[[0-9A-Fa-f:.]+\]|[^\s:;,/@[\]\p{C}]+):([1-9]\d{0,3}|[1-5]\d{4}|6[0-4]\d{3}|65[0-4]\d{2}|655[0-2]\d|6553[0-5])$/u;
const HostPort = z.string().max(300).regex(HOST_PORT, "wanted HOST:PORT").openapi({ example: "127.0.0.1:10912" });

/** Short role names and the roles they mean. */
export const ROLE_NAMES = {
  ASYNC_MASTER: "ASYNC_MASTER",
  SYNC_MASTER: "SYNC_MASTER",
  SLAVE: "SLAVE",
  master: "ASYNC_MASTER",
  "async-master": "ASYNC_MASTER",
  "sync-master": "SYNC_MASTER",
  slave: "SLAVE",
} as const;

/** `PUT /role`. */
export const RoleBody = z.strictObject({
  role: z.enum(Object.keys(ROLE_NAMES) as (keyof typeof ROLE_NAMES)[]),
  brokerId: z.number().int().min(1).max(Number.MAX_SAFE_INTEGER).optional(),
  masterAddress: HostPort.optional(),
  force: z.boolean().optional(),
  masterEnd: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER).optional(),
  resync: z.boolean().optional().openapi({
    description:
      "A slave sets aside, into a file, what its master does not have; a master that becomes one has to be given masterAddress",
  }),
}).openapi("RoleChange");

/** `PUT /ha/master-address`. */
export const MasterAddressBody = z.strictObject({ address: HostPort.nullable() }).openapi("MasterAddress");

/** `PUT /fenced`. */
export const FencedBody = z.strictObject({ fenced: z.boolean() }).openapi("Fenced");

/** `{topic}` of a path. Apache's characters. */
export const TopicParams = z.object({
  topic: z.string().max(127).regex(/^[%|a-zA-Z0-9_-]+$/, "wanted 1 to 127 of the characters A-Z a-z 0-9 _ - % |"),
});

/** Names that are not a user's to set: they have fields of their own, or mean something to the store. */
const RESERVED =
  /^(TAGS|KEYS|WAIT|DELAY|REAL_TOPIC|REAL_QID|TRAN_MSG|PGROUP|INNER_NUM|INNER_BASE|INNER_MULTI_DISPATCH|INNER_MULTI_QUEUE_OFFSET|DUP_INFO|TIMER_.*|__CRC32#)$/;
// deno-lint-ignore no-control-regex
const PLAIN = /^[^\u0001\u0002]*$/;
const Plain = z.string().regex(PLAIN, "wanted no U+0001 or U+0002: they separate properties");

/** `POST /topics/{topic}/messages`. */
export const PutBody = z.strictObject({
  body: z.string().optional().openapi({ description: "Text, stored as UTF-8; or bodyBase64" }),
  bodyBase64: z.string().regex(/^[A-Za-z0-9+/]*={0,2}$/, "wanted base64").optional(),
  queueId: z.number().int().min(0).max(2 ** 31 - 1).optional().openapi({ description: "Absent: the node picks one" }),
  tags: Plain.max(32767).optional(),
  keys: z.union([Plain, z.array(Plain.regex(/^\S+$/, "wanted keys without blanks")).max(256)]).optional(),
  properties: z.record(
    Plain.min(1).refine((name) => !RESERVED.test(name), "is a name the format reserves"),
    Plain.min(1),
  ).optional(),
  flag: z.number().int().min(-(2 ** 31)).max(2 ** 31 - 1).optional(),
  waitStoreMsgOK: z.boolean().optional().openapi({ description: "false: do not wait for disk and slaves" }),
}).refine((put) => (put.body === undefined) !== (put.bodyBase64 === undefined), "wanted one of body and bodyBase64")
  .openapi("Put");

/** Answer of a put. */
export const PutAnswer = z.object({
  status: z.string().openapi({ example: "PUT_OK" }),
  remark: z.string().nullable(),
  msgId: z.string().nullable(),
  queueId: z.number().int().nullable(),
  queueOffset: z.number().int().nullable(),
  physicalOffset: Offset.nullable(),
  storeSize: z.number().int().nullable(),
  storeTimestamp: Millis.nullable(),
}).openapi("PutResult");

const count = (max: number) => z.coerce.number().int().min(0).max(max);
const SAFE = Number.MAX_SAFE_INTEGER;

/** Query of `GET /topics/{topic}/messages`: exactly one of offset, time, key and msgId says how to read. */
export const ReadQuery = z.strictObject({
  offset: count(SAFE).optional().openapi({ description: "Queue offset to start at" }),
  time: count(SAFE).optional().openapi({ description: "Start at the first message stored then or later, Unix ms" }),
  key: z.string().min(1).max(1024).optional().openapi({ description: "KEYS or UNIQ_KEY; newest first" }),
  msgId: z.string().regex(/^([0-9A-Fa-f]{32}|[0-9A-Fa-f]{56})$/, "wanted 32 or 56 hex digits").optional(),
  queueId: count(2 ** 31 - 1).optional().openapi({ description: "With offset and time; 0 when absent" }),
  begin: count(SAFE).optional().openapi({ description: "With key: earliest store time, Unix ms" }),
  end: count(SAFE).optional().openapi({ description: "With key: latest store time, Unix ms" }),
  maxNum: z.coerce.number().int().min(1).max(256).optional(),
  waitMs: count(30_000).optional().openapi({ description: "With offset: wait so long for a first message" }),
}).refine(
  (query) => [query.offset, query.time, query.key, query.msgId].filter((value) => value !== undefined).length === 1,
  "wanted exactly one of offset, time, key and msgId",
);

/** A message as it is shown. */
export const MessageAnswer = z.object({
  topic: z.string(),
  queueId: z.number().int(),
  queueOffset: z.number().int(),
  physicalOffset: Offset,
  storeSize: z.number().int(),
  msgId: z.string(),
  bornTimestamp: Millis,
  storeTimestamp: Millis,
  bornHost: z.string(),
  storeHost: z.string(),
  flag: z.number().int(),
  sysFlag: z.number().int(),
  reconsumeTimes: z.number().int(),
  properties: z.record(z.string(), z.string()),
  bodySize: z.number().int().openapi({ description: "Bytes, inflated when the producer had deflated them" }),
  body: z.string().nullable().openapi({
    description: "When it is UTF-8 text, inflated when the producer had deflated it",
  }),
  bodyBase64: z.string().nullable().openapi({ description: "As stored, when body is null" }),
}).openapi("Message");

/** Answer of a read. */
export const ReadAnswer = z.object({
  messages: z.array(MessageAnswer),
  nextOffset: z.number().int().nullable().openapi({
    description: "Queue offset to go on with, when read by offset or time",
  }),
  minOffset: z.number().int().nullable(),
  maxOffset: z.number().int().nullable(),
}).openapi("Messages");

/** Answer of `GET /topics/{topic}`. */
export const TopicAnswer = z.object({
  topic: z.string(),
  queues: z.array(z.object({ queueId: z.number().int(), minOffset: z.number().int(), maxOffset: z.number().int() })),
}).openapi("Topic");

const Value = z.union([z.string(), z.number(), z.boolean(), z.null()]);

/** `PATCH /config`: keys to values; the configuration's own table checks them. */
export const ConfigBody = z.record(z.string().max(100), Value)
  .refine((patch) => Object.keys(patch).length > 0, "wanted at least one key")
  .openapi("ConfigChange");

/** Answer of `GET` and `PATCH /config`. */
export const ConfigAnswer = z.object({
  config: z.record(z.string(), Value),
  live: z.array(z.string()).openapi({ description: "Keys that may change at run time" }),
}).openapi("Config");
