// The routes that put and read messages: for people trying things, for tests, and for the verbs send and tail. What is held
// in memory at a time is bounded: bodies coming in, bodies going out, and readers waiting for a first message.

import { createRoute, z } from "@hono/zod-openapi";
import type { OpenAPIHono } from "@hono/zod-openapi";
import { deferred } from "../base/async.ts";
import { utf8 } from "../base/bytes.ts";
import type { Clock } from "../runtime/runtime.ts";
import type { StoredMessage } from "../store/types.ts";
import type { AdminPort, PutOutcome, PutRequest, QueueReadRequest, QueueReadResult } from "./admin_port.ts";
import { fromBase64, viewMessages } from "./message_view.ts";
import * as schemas from "./schemas.ts";

/** Bodies of one answer, bytes; at least one message is always answered. */
const ANSWER_BYTES_MAX = 8 * 1024 * 1024;
/** Readers that may wait for a first message; beyond it they are answered at once. */
const WAITING_MAX = 256;

const json = <S extends z.ZodType>(schema: S) => ({ "application/json": { schema } });
const refusal = (description: string) => ({ description, content: json(schemas.ErrorAnswer) });
const put = (description: string) => ({ description, content: json(schemas.PutAnswer) });

const ROUTES = {
  topic: createRoute({
    method: "get",
    path: "/topics/{topic}",
    summary: "The topic's queues",
    request: { params: schemas.TopicParams },
    responses: { 200: { description: "Queues", content: json(schemas.TopicAnswer) }, 404: refusal("No such topic") },
  }),
  put: createRoute({
    method: "post",
    path: "/topics/{topic}/messages",
    summary: "Puts a message; answers after the promised flush and replication",
    request: { params: schemas.TopicParams, body: { required: true, content: json(schemas.PutBody) } },
    responses: {
      200: put("Stored as promised (PUT_OK)"),
      202: put("Stored here, but not flushed or replicated as promised"),
      400: {
        description: "Not a valid request, or message",
        content: json(z.union([schemas.PutAnswer, schemas.ErrorAnswer])),
      },
      500: put("The store failed"),
      503: put("Nothing written: the node takes no puts now"),
    },
  }),
  read: createRoute({
    method: "get",
    path: "/topics/{topic}/messages",
    summary: "Reads by queue offset, time, key or message id",
    request: { params: schemas.TopicParams, query: schemas.ReadQuery },
    responses: {
      200: { description: "Messages", content: json(schemas.ReadAnswer) },
      400: refusal("Not a valid request"),
      404: refusal("No such topic, queue or message"),
    },
  }),
};

/** HTTP status of each put status. */
const HTTP_STATUS = {
  PUT_OK: 200,
  FLUSH_DISK_TIMEOUT: 202,
  FLUSH_SLAVE_TIMEOUT: 202,
  SLAVE_NOT_AVAILABLE: 202,
  MESSAGE_ILLEGAL: 400,
  PROPERTIES_SIZE_EXCEEDED: 400,
  WHEEL_TIMER_MSG_ILLEGAL: 400,
  WHEEL_TIMER_NOT_ENABLE: 400,
  WHEEL_TIMER_FLOW_CONTROL: 503,
  SERVICE_NOT_AVAILABLE: 503,
  IN_SYNC_REPLICAS_NOT_ENOUGH: 503,
  CREATE_MAPPED_FILE_FAILED: 500,
  UNKNOWN_ERROR: 500,
} as const;

/** Adds the routes. */
export function addMessageRoutes(
  app: OpenAPIHono,
  port: AdminPort,
  options: { clock: Clock; ending: AbortSignal },
): void {
  const reader = new Reader(port, options);
  app.openapi(ROUTES.topic, (c) => {
    const { topic } = c.req.valid("param");
    const queues = port.queues(topic);
    return queues === null ? c.json(noTopic(topic), 404) : c.json({ topic, queues: [...queues] }, 200);
  });
  app.openapi(ROUTES.put, async (c) => {
    const request = putRequest(c.req.valid("param").topic, c.req.valid("json"));
    if (request === null) return c.json({ error: "bodyBase64 is not base64" }, 400);
    const outcome = await port.put(request);
    return c.json(putAnswer(outcome), HTTP_STATUS[outcome.status]);
  });
  app.openapi(ROUTES.read, async (c) => {
    const answer = await reader.read(c.req.valid("param").topic, c.req.valid("query"));
    return "error" in answer ? c.json(answer, 404) : c.json(answer, 200);
  });
}

const noTopic = (topic: string) => ({ error: `Topic "${topic}" does not exist here` });

function putRequest(topic: string, request: z.infer<typeof schemas.PutBody>): PutRequest | null {
  const body = request.body === undefined ? fromBase64(request.bodyBase64!) : utf8.encode(request.body);
  if (body === null) return null;
  const properties = new Map(Object.entries(request.properties ?? {}));
  const keys = typeof request.keys === "string" ? request.keys : (request.keys ?? []).join(" ");
  if (keys !== "") properties.set("KEYS", keys);
  if (request.tags) properties.set("TAGS", request.tags);
  if (request.waitStoreMsgOK !== undefined) properties.set("WAIT", String(request.waitStoreMsgOK));
  return { topic, queueId: request.queueId ?? null, body, properties, flag: request.flag ?? 0 };
}

function putAnswer({ status, remark, stored }: PutOutcome): z.infer<typeof schemas.PutAnswer> {
  const nothing = {
    msgId: null,
    queueId: null,
    queueOffset: null,
    physicalOffset: null,
    storeSize: null,
    storeTimestamp: null,
  };
  return { status, remark, ...(stored ?? nothing) };
}

type ReadQuery = z.infer<typeof schemas.ReadQuery>;
type ReadAnswer = z.infer<typeof schemas.ReadAnswer> | z.infer<typeof schemas.ErrorAnswer>;

/** The four ways to read. */
class Reader {
  readonly #port: AdminPort;
  readonly #clock: Clock;
  readonly #ending: AbortSignal;
  #waiting = 0;

  constructor(port: AdminPort, options: { clock: Clock; ending: AbortSignal }) {
    this.#port = port;
    this.#clock = options.clock;
    this.#ending = options.ending;
  }

  async read(topic: string, query: ReadQuery): Promise<ReadAnswer> {
    if (query.msgId !== undefined) {
      const message = await this.#port.readById(query.msgId.toUpperCase());
      if (message === null || message.topic !== topic) {
        return { error: `Message "${query.msgId}" is not held in topic "${topic}"` };
      }
      return answer([message]);
    }
    if (query.key !== undefined) {
      const { key, begin = 0, end = Number.MAX_SAFE_INTEGER, maxNum = this.#port.config().defaultQueryMaxNum } = query;
      return answer(await this.#port.readByKey({ topic, key, begin, end, maxNum }));
    }
    return await this.#readQueue(topic, query);
  }

  async #readQueue(topic: string, query: ReadQuery): Promise<ReadAnswer> {
    const { queueId = 0, maxNum = 32, waitMs = 0 } = query;
    const missing = { error: `Topic "${topic}" with queue ${queueId} does not exist here` };
    const offset = query.time === undefined ? query.offset! : this.#port.offsetByTime(topic, queueId, query.time);
    if (offset === null) return missing;
    const result = await this.#readOrWait({ topic, queueId, offset, maxNum }, waitMs);
    if (result === null) return missing;
    const { messages, minOffset, maxOffset } = result;
    const shown = withinBytes(messages);
    const nextOffset = shown.length < messages.length ? shown.at(-1)!.queueOffset + 1 : result.nextOffset;
    return { ...answer(shown), nextOffset, minOffset, maxOffset };
  }

  /** Reads; when there is nothing yet at the end of the queue, waits for messages up to `waitMs`. */
  async #readOrWait(request: QueueReadRequest, waitMs: number): Promise<QueueReadResult | null> {
    const deadline = this.#clock.monotonic() + waitMs;
    while (true) {
      const result = await this.#port.readByQueueOffset(request);
      const leftMs = Math.ceil(deadline - this.#clock.monotonic());
      const isAtEnd = result !== null && result.messages.length === 0 && request.offset >= result.maxOffset;
      if (!isAtEnd || leftMs <= 0 || this.#ending.aborted || this.#waiting >= WAITING_MAX) return result;
      await this.#messagesOr(leftMs, request);
    }
  }

  /** Resolves when the queue has grown beyond the wanted offset, the time is up, or the node stops. */
  async #messagesOr(leftMs: number, { topic, queueId, offset }: QueueReadRequest): Promise<void> {
    const { promise, resolve } = deferred<void>();
    const look = () => {
      const queue = this.#port.queues(topic)?.find((range) => range.queueId === queueId);
      if (queue === undefined || queue.maxOffset > offset) resolve();
    };
    const timer = this.#clock.setTimer(leftMs, resolve);
    const unsubscribe = this.#port.onMessages(look);
    const end = () => resolve();
    this.#ending.addEventListener("abort", end, { once: true });
    this.#waiting++;
    look();
    await promise;
    this.#waiting--;
    this.#ending.removeEventListener("abort", end);
    unsubscribe();
    timer.cancel();
  }
}

function answer(messages: readonly StoredMessage[]): z.infer<typeof schemas.ReadAnswer> {
  return { messages: viewMessages(withinBytes(messages)), nextOffset: null, minOffset: null, maxOffset: null };
}

function withinBytes(messages: readonly StoredMessage[]): readonly StoredMessage[] {
  let bytes = 0;
  const end = messages.findIndex((message, at) => (bytes += message.body.length) > ANSWER_BYTES_MAX && at > 0);
  return end < 0 ? messages : messages.slice(0, end);
}
