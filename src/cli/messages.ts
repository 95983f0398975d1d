// The verbs send and tail: a message in, messages out, for people trying things. They reach the node by its admin API.

import { sleep } from "../base/async.ts";
import { ConfigError, errorMessage } from "../base/errors.ts";
import { printable, printableJson } from "../base/printable.ts";
import { readUserFile } from "../config/user_file.ts";
import type { MessageView } from "../admin/message_view.ts";
import { toBase64 } from "../admin/message_view.ts";
import type { Runtime } from "../runtime/runtime.ts";
import { AdminError } from "./admin_client.ts";
import type { AdminClient } from "./admin_client.ts";
import { formatTime } from "./format.ts";

/** What `send` was given. */
export interface SendOptions {
  readonly topic: string;
  readonly body?: string;
  readonly file?: string;
  readonly tags?: string;
  readonly keys?: string;
  readonly queueId?: number;
  readonly json: boolean;
}

interface PutAnswer {
  status: string;
  remark: string | null;
  msgId: string | null;
  queueId: number | null;
  queueOffset: number | null;
  physicalOffset: number | null;
}

/** A client of Apache's refuses an empty body as well, before it asks a broker. */
const BODY_WANTED = "wanted a body of at least one byte";

/**
 * `send`: one message from --body or --file, else one per line of standard input. 1 when any was less than PUT_OK. Throws
 * {@link ConfigError} when there is no body, an Error when nobody reads the answers any more while there is more to send.
 */
export async function runSend(runtime: Runtime, client: AdminClient, options: SendOptions): Promise<number> {
  checkTopic(options.topic);
  let failed = 0;
  let sent = 0;
  for await (const body of bodies(runtime, options)) {
    // As if SIGPIPE had ended it; but what is left unsent is no success.
    if (sent > 0 && runtime.process.stdoutIsClosed) {
      throw new Error(`Stopped after ${sent} messages, as nobody reads standard output any more`);
    }
    const { topic, tags, keys, queueId } = options;
    const path = `/topics/${encodeURIComponent(topic)}/messages`;
    const request = { body: { ...body, tags, keys, queueId }, accept: [400, 500, 503] };
    const answer = await client.request<PutAnswer & { error?: string }>("POST", path, request).catch(
      (error: unknown) => {
        if (sent === 0 || error instanceof AdminError) throw error;
        throw new Error(`Stopped after ${sent} messages, the next one may be stored or not: ${errorMessage(error)}`);
      },
    );
    if (answer.error !== undefined) throw new Error(`${client.address} refuses the message: ${answer.error}`);
    sent++;
    if (answer.status !== "PUT_OK") failed++;
    const text = options.json ? printableJson(JSON.stringify(answer)) : printable(formatPut(answer));
    runtime.process.writeOut(`${text}\n`);
  }
  if (sent === 0) throw new ConfigError(`Nothing was sent: standard input holds no line of text, ${BODY_WANTED}`);
  return failed === 0 ? 0 : 1;
}

function formatPut(answer: PutAnswer): string {
  if (answer.msgId === null) return `${answer.status}: ${answer.remark ?? "nothing written"}`;
  const where = `queue ${answer.queueId} at ${answer.queueOffset}, log ${answer.physicalOffset}, ${answer.msgId}`;
  return answer.remark === null ? `${answer.status} ${where}` : `${answer.status} ${where} (${answer.remark})`;
}

async function* bodies(
  runtime: Runtime,
  options: SendOptions,
): AsyncGenerator<{ body: string } | { bodyBase64: string }> {
  if (options.body !== undefined && options.file !== undefined) {
    throw new ConfigError("Both --body and --file are given, wanted one");
  }
  if (options.body === "") throw new ConfigError(`--body is "", ${BODY_WANTED}`);
  if (options.body !== undefined) return yield { body: options.body };
  if (options.file !== undefined) {
    const bytes = readUserFile((path) => runtime.fs.readFile(path), "File", options.file);
    if (bytes.length === 0) throw new ConfigError(`File "${options.file}" is empty, ${BODY_WANTED}`);
    return yield { bodyBase64: toBase64(bytes) };
  }
  const decoder = new TextDecoder();
  let rest = "";
  let skipped = 0;
  for await (const chunk of runtime.process.stdin()) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split(/\r?\n/);
    rest = lines.pop()!;
    for (const line of lines) {
      if (line === "") skipped++;
      else yield { body: line };
    }
  }
  if (rest !== "") yield { body: rest };
  if (skipped > 0) runtime.process.writeErr(`Skipped ${skipped} empty line${skipped === 1 ? "" : "s"}\n`);
}

/** What `tail` was given. `from` is a queue offset; absent: what comes from now on. */
export interface TailOptions {
  readonly topic: string;
  readonly from?: number;
  readonly queueId?: number;
  /** Ends after so many messages; absent: never. */
  readonly count?: number;
  readonly json: boolean;
}

/** How long one request waits for a first message. */
const WAIT_MS = 20_000;
const TOPIC_RETRY_MS = 500;
/**
 * How long the last of several messages is held back on a pipe, so that who has read enough of them (`head -1`) is gone when
 * it is written: nothing but a write tells.
 */
const LEAVE_MS = 50;

interface Topic {
  queues: { queueId: number; minOffset: number; maxOffset: number }[];
}

/** `tail`: prints messages of every queue of the topic as they come, each queue in order, for as long as anybody reads. */
export async function runTail(runtime: Runtime, client: AdminClient, options: TailOptions): Promise<number> {
  checkTopic(options.topic);
  const path = `/topics/${encodeURIComponent(options.topic)}`;
  const { queues, isNew } = await findQueues(runtime, client, path, options);
  const { stdoutIsTerminal } = runtime.process;
  if (!isNew) sayWaiting(runtime, queues, options);
  let left = options.count ?? Infinity;
  const unread = Promise.withResolvers<void>();
  const print = (message: MessageView) => {
    if (left <= 0) return;
    left--;
    const text = options.json ? printableJson(JSON.stringify(message)) : formatMessage(message, stdoutIsTerminal);
    runtime.process.writeOut(`${text}\n`);
    if (!runtime.process.stdoutIsClosed) return;
    left = 0;
    unread.resolve();
  };
  const follow = async (queue: Topic["queues"][number]) => {
    let offset = isNew ? 0 : options.from ?? queue.maxOffset;
    let isBeyond = offset > queue.maxOffset;
    while (left > 0) {
      const query = `queueId=${queue.queueId}&offset=${offset}&waitMs=${WAIT_MS}`;
      const answer = await client.request<{ messages: MessageView[]; nextOffset: number }>(
        "GET",
        `${path}/messages?${query}`,
      );
      for (const [at, message] of answer.messages.entries()) {
        const isLast = at === answer.messages.length - 1;
        if (at > 0 && isLast && !stdoutIsTerminal) await sleep(runtime.clock, LEAVE_MS);
        print(message);
      }
      // The node would go on at the queue's end; what lies before the offset is not wanted.
      isBeyond &&= answer.nextOffset < offset;
      if (isBeyond) continue;
      offset = answer.nextOffset;
    }
  };
  // With --count, the queue that prints the last message ends it; the others are waiting for theirs.
  const ends = queues.map(follow);
  await Promise.race([unread.promise, ...(options.count === undefined ? [Promise.all(ends)] : ends)]);
  return 0;
}

/** Throws {@link ConfigError} for a topic without a name, of which a path would make another request. */
function checkTopic(topic: string): void {
  if (topic === "") throw new ConfigError("--topic is empty, wanted the name of a topic");
}

/** Says that `from` is beyond the end of queues, as nothing would be seen for as long. */
function sayWaiting(runtime: Runtime, queues: Topic["queues"], { topic, from = 0 }: TailOptions): void {
  const beyond = queues.filter((queue) => queue.maxOffset < from);
  if (beyond.length === 0) return;
  const ends = beyond.map(({ queueId, maxOffset }) => `queue ${queueId} ends at ${maxOffset}`).join(", ");
  runtime.process.writeErr(printable(`Topic "${topic}": ${ends}, waiting from ${from} on`) + "\n");
}

/** The queues to follow; waits for a topic that isn't there yet, whose messages are then all new. */
async function findQueues(
  runtime: Runtime,
  client: AdminClient,
  path: string,
  { topic, queueId }: TailOptions,
): Promise<{ queues: Topic["queues"]; isNew: boolean }> {
  for (let isNew = false;; isNew = true) {
    const queues = await queuesOf(client, path);
    if (queues !== null) {
      const chosen = queues.filter((queue) => queueId === undefined || queue.queueId === queueId);
      if (chosen.length > 0) return { queues: chosen, isNew };
      throw new Error(
        `Topic "${topic}" has the queues ${queues.map((queue) => queue.queueId).join(", ")}, wanted ${queueId}`,
      );
    }
    if (!isNew) runtime.process.writeErr(`Topic "${topic}" does not exist yet at ${client.address}, waiting for it\n`);
    await sleep(runtime.clock, TOPIC_RETRY_MS);
  }
}

async function queuesOf(client: AdminClient, path: string): Promise<Topic["queues"] | null> {
  try {
    return (await client.request<Topic>("GET", path)).queues;
  } catch (error) {
    if (error instanceof AdminError && error.status === 404) return null;
    throw error;
  }
}

/**
 * One line of `tail`: where, when, tags and keys when there are, the body. Line ends are escaped; for a terminal every
 * control character is, as a message could steer it.
 */
export function formatMessage(message: MessageView, forTerminal: boolean): string {
  const { TAGS, KEYS } = message.properties;
  const marks = [TAGS && `tags=${TAGS}`, KEYS && `keys=${KEYS}`].filter(Boolean).join(" ");
  const body = message.body ?? `base64:${message.bodyBase64}`;
  const line = [`${message.queueId}:${message.queueOffset}`, formatTime(message.storeTimestamp), marks, body]
    .filter((part) => part !== "").join("  ");
  return forTerminal ? printable(line) : line.replaceAll(/[\r\n]/g, printable);
}
