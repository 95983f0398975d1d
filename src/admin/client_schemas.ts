// The shapes of the routes about topics, groups and clients; see schemas.ts.

import { z } from "@hono/zod-openapi";

const Millis = z.number().int().openapi({ description: "Unix ms" });
const Count = z.number().int();

/** A change that was made. */
export const Done = z.object({ done: z.literal(true) }).openapi("Done");

/** One topic. */
export const Topic = z.object({
  topic: z.string(),
  readQueueNums: Count,
  writeQueueNums: Count,
  perm: Count.openapi({ description: "4 read, 2 write, 1 may be a template" }),
  topicFilterType: z.string(),
  order: z.boolean(),
  attributes: z.record(z.string(), z.string()),
  system: z.boolean(),
  messages: Count,
}).openapi("TopicConfig");

const QueueNums = z.number().int().min(1).max(65536).optional();

/** `PUT /topics/{topic}`. */
export const TopicChange = z.strictObject({
  readQueueNums: QueueNums,
  writeQueueNums: QueueNums,
  perm: z.number().int().min(0).max(7).optional(),
  order: z.boolean().optional(),
}).openapi("TopicChange");

/** `{group}` of a path. Apache's characters. */
export const GroupParams = z.object({
  group: z.string().max(255).regex(/^[%|a-zA-Z0-9_-]+$/, "wanted 1 to 255 of the characters A-Z a-z 0-9 _ - % |"),
});

/** A group in a list. */
export const Group = z.object({
  group: z.string(),
  consumeType: z.string().nullable(),
  messageModel: z.string().nullable(),
  clients: Count,
  topics: z.array(z.string()),
  diffTotal: Count.openapi({ description: "Messages still to consume" }),
  retryMaxTimes: Count,
  consumeEnable: z.boolean(),
}).openapi("Group");

const Client = z.object({
  clientId: z.string(),
  address: z.string(),
  language: z.string(),
  version: z.string(),
  lastUpdateTimestamp: Millis,
}).openapi("Client");

/** A group with all that is known of it. */
export const GroupDetail = Group.extend({
  members: z.array(Client),
  subscriptions: z.array(z.object({ topic: z.string(), type: z.string(), expression: z.string() })),
  progress: z.array(z.object({
    topic: z.string(),
    queueId: Count,
    brokerOffset: Count,
    consumerOffset: Count,
    diff: Count,
  })),
}).openapi("GroupDetail");

/** `POST /groups/{group}/reset`. */
export const OffsetReset = z.strictObject({
  topic: z.string().min(1).max(255),
  timestamp: z.number().int().min(-1).max(Number.MAX_SAFE_INTEGER).openapi({ description: "Unix ms; -1 is the end" }),
}).openapi("OffsetReset");

/** A producer group. */
export const Producer = z.object({ group: z.string(), members: z.array(Client) }).openapi("Producer");

/** What the NameServer knows. */
export const Namesrv = z.object({
  address: z.string(),
  topics: Count,
  brokers: z.array(z.object({
    cluster: z.string(),
    brokerName: z.string(),
    addresses: z.record(z.string(), z.string()),
  })),
}).openapi("Namesrv");
