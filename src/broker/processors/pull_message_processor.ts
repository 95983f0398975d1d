// PULL_MESSAGE (11) and LITE_PULL_MESSAGE (361): from what the store finds in the queue to the answer; an empty queue's
// pull is held. Who may read it is pull_check.ts; what of the queue goes into an answer is the store's decision.

import { errorMessage, RemotingError } from "../../base/errors.ts";
import type { Config } from "../../config/schema.ts";
import { createResponse, type ExtValues, type RemotingCommand } from "../../remoting/remoting_command.ts";
import type { RequestContext, RequestProcessor } from "../../remoting/remoting_server.ts";
import { RequestCode } from "../../remoting/request_code.ts";
import { ResponseCode } from "../../remoting/response_code.ts";
import type { Clock } from "../../runtime/runtime.ts";
import type { MessageFilter } from "../../store/message_filter.ts";
import { GetMessageStatus } from "../../store/message_reader.ts";
import type { PullResult } from "../../store/pull_reader.ts";
import type { BroadcastOffsetManager } from "../client/broadcast_offset_manager.ts";
import type { ConsumerOffsetManager } from "../consumer_offset_manager.ts";
import type { PullRequestHoldService } from "../pull_request_hold_service.ts";
import type { PullStats } from "../stats/broker_stats_manager.ts";
import type { SubscriptionGroupConfig } from "../subscription_group_manager.ts";
import { type Allowed, checkPull, type PullCheckPorts } from "./pull_check.ts";
import { type PullHeader, PullSysFlag, readPullHeader } from "./pull_header.ts";

/** What the processor needs. */
export interface PullPorts extends PullCheckPorts {
  readonly clock: Clock;
  readonly config:
    & PullCheckPorts["config"]
    & Pick<
      Config,
      | "longPollingEnable"
      | "shortPollingTimeMills"
      | "slaveReadEnable"
      | "offsetCheckInSlave"
      | "enableBroadcastOffsetStore"
      | "useServerSideResetOffset"
    >;
  readonly offsets: Pick<
    ConsumerOffsetManager,
    "commitOffset" | "queryThenEraseResetOffset" | "commitPullOffset"
  >;
  readonly broadcastOffsets: Pick<BroadcastOffsetManager, "updateOffset" | "queryInitOffset">;
  readonly store: {
    pullMessages(
      topic: string,
      queueId: number,
      offset: number,
      maxMsgNums: number,
      filter: MessageFilter | null,
    ): PullResult | Promise<PullResult>;
    getMinOffsetInQueue(topic: string, queueId: number): number;
    getMaxOffsetInQueue(topic: string, queueId: number): number;
    /** Why nothing can be read, null when it can. */
    readonly notReadableReason: string | null;
  };
  readonly holds: Pick<PullRequestHoldService, "hold">;
  readonly stats: PullStats;
  readonly isSlave: () => boolean;
  /** Whether the master of this slave is there: it serves the pulls then. */
  readonly isMasterAlive: () => boolean;
}

const NO_RECORDS = new Uint8Array(0);
const NOTHING = { records: NO_RECORDS, release: undefined };
/** A held pull waits no longer, ms, whatever it asks for; clients ask for 15 to 20 s. */
const SUSPEND_MS_MAX = 120_000;

/** One pull on its way: what was asked, by whom, and which look at the queue this is. */
interface Pull {
  readonly request: RemotingCommand;
  readonly context: RequestContext;
  readonly header: PullHeader;
  readonly startMs: number;
  /** Where to look: behind what it asks for when it was held, and what came is not for it. */
  readonly fromOffset: number;
  /** It commits what the consumer has done, and may be held. */
  readonly isFirstLook: boolean;
}

/** Mirrors Apache's `PullMessageProcessor` and `DefaultPullMessageResultHandler`. */
export function pullMessageProcessors(ports: PullPorts): Map<number, RequestProcessor> {
  const pull: RequestProcessor = (request, context) => {
    const header = readPullHeader(request);
    const startMs = ports.clock.monotonic();
    return processPull(ports, {
      request,
      context,
      header,
      startMs,
      fromOffset: header.queueOffset,
      isFirstLook: true,
    });
  };
  return new Map([[RequestCode.PULL_MESSAGE, pull], [RequestCode.LITE_PULL_MESSAGE, pull]]);
}

type Answer = RemotingCommand | null;

function processPull(ports: PullPorts, pull: Pull): Answer | Promise<Answer> {
  const { config, store } = ports;
  const { header, request } = pull;
  if (ports.isSlave() && !config.slaveReadEnable && ports.isMasterAlive()) {
    const remark = "[REJECTREQUEST]This slave serves no pulls while its master is there (slaveReadEnable is false)";
    return createResponse(request, ResponseCode.SYSTEM_BUSY, { remark });
  }
  const isLite = request.code === RequestCode.LITE_PULL_MESSAGE;
  const allowed = checkPull(ports, header, { isLite, context: pull.context });
  if ("code" in allowed) {
    const { code, remark, forbiddenType } = allowed;
    return createResponse(request, code, { remark, ext: { forbiddenType } });
  }
  const unreadable = store.notReadableReason;
  if (unreadable !== null) return createResponse(request, ResponseCode.SYSTEM_ERROR, { remark: unreadable });
  const moved = movedResult(ports, pull);
  if (moved !== null) return answerPull(ports, pull, allowed, moved);
  commitOffset(ports, pull);
  const { topic, queueId, maxMsgNums } = header;
  const result = store.pullMessages(topic, queueId, pull.fromOffset, maxMsgNums, allowed.filter);
  if (result instanceof Promise) return result.then((done) => answerPull(ports, pull, allowed, done));
  return answerPull(ports, pull, allowed, result);
}

/** Whatever comes of the pull. One that is told a reset commits nothing any more: the offset is of before. */
function commitOffset({ offsets }: PullPorts, { header, context, isFirstLook }: Pull): void {
  if (!isFirstLook || (header.sysFlag & PullSysFlag.COMMIT_OFFSET) === 0 || header.commitOffset < 0) return;
  const { consumerGroup, topic, queueId, commitOffset } = header;
  offsets.commitOffset(consumerGroup, topic, queueId, commitOffset, context.remoteAddress);
}

/** Where the consumer is told to go instead: by a reset, or as a broadcast client that came from a proxy. */
function movedResult(ports: PullPorts, { header, context }: Pull): PullResult | null {
  const { consumerGroup, topic, queueId, queueOffset, isProxyBroadcast } = header;
  const { config, store } = ports;
  let nextBeginOffset = ports.offsets.queryThenEraseResetOffset(consumerGroup, topic, queueId);
  if (nextBeginOffset === null || !config.useServerSideResetOffset) {
    const clientId = broadcastClientId(ports, header, context);
    if (clientId === null) return null;
    nextBeginOffset = ports.broadcastOffsets.queryInitOffset(
      topic,
      consumerGroup,
      queueId,
      clientId,
      queueOffset,
      isProxyBroadcast,
    );
    if (nextBeginOffset < 0 || nextBeginOffset === queueOffset) return null;
  }
  return {
    status: GetMessageStatus.OFFSET_RESET,
    records: NO_RECORDS,
    messageCount: 0,
    nextBeginOffset,
    minOffset: store.getMinOffsetInQueue(topic, queueId),
    maxOffset: store.getMaxOffsetInQueue(topic, queueId),
    suggestPullingFromSlave: false,
    fallBehindBytes: null,
  };
}

/** The client's id when it consumes by broadcast and its progress is noted; null else. */
function broadcastClientId(ports: PullPorts, header: PullHeader, context: RequestContext): string | null {
  if (!ports.config.enableBroadcastOffsetStore) return null;
  if (header.isProxyBroadcast) return header.proxyClientId;
  const info = ports.consumers.getConsumerGroupInfo(header.consumerGroup);
  if (info === null || info.messageModel !== "BROADCASTING" || info.consumeType !== "CONSUME_PASSIVELY") return null;
  return ports.consumers.findChannelByConnection(header.consumerGroup, context.connection)?.clientId ?? null;
}

const CODES: Record<GetMessageStatus, number> = {
  FOUND: ResponseCode.SUCCESS,
  MESSAGE_WAS_REMOVING: ResponseCode.PULL_RETRY_IMMEDIATELY,
  NO_MATCHED_MESSAGE: ResponseCode.PULL_RETRY_IMMEDIATELY,
  OFFSET_FOUND_NULL: ResponseCode.PULL_NOT_FOUND,
  OFFSET_OVERFLOW_ONE: ResponseCode.PULL_NOT_FOUND,
  OFFSET_OVERFLOW_BADLY: ResponseCode.PULL_OFFSET_MOVED,
  OFFSET_TOO_SMALL: ResponseCode.PULL_OFFSET_MOVED,
  NO_MESSAGE_IN_QUEUE: ResponseCode.PULL_OFFSET_MOVED,
  OFFSET_RESET: ResponseCode.PULL_OFFSET_MOVED,
};

function answerPull(ports: PullPorts, pull: Pull, allowed: Allowed, result: PullResult): Answer {
  const { request, header } = pull;
  const { code, suggestWhichBrokerId } = decide(ports, pull, allowed.group, result);
  if (code === ResponseCode.PULL_NOT_FOUND && pull.isFirstLook) {
    const outcome = holdPull(ports, pull, allowed.filter);
    if (outcome === "held") return null;
    if (outcome === "full") {
      const remark = "[OVERLOAD]Too many pulls wait for messages already, try again later";
      return createResponse(request, ResponseCode.SYSTEM_BUSY, { remark });
    }
  }
  note(ports, pull, code, result);
  // What came while it was held is not for it: that is an answer of its own, as the consumer goes on behind it.
  const isPassedOver = code === ResponseCode.PULL_NOT_FOUND && pull.fromOffset > header.queueOffset;
  const { nextBeginOffset, minOffset, maxOffset } = result;
  const { topicSysFlag } = allowed.topic;
  const { groupSysFlag } = allowed.group;
  const ext: ExtValues = {
    suggestWhichBrokerId,
    nextBeginOffset,
    minOffset,
    maxOffset,
    topicSysFlag,
    groupSysFlag,
  };
  const remark = isPassedOver ? GetMessageStatus.NO_MATCHED_MESSAGE : result.status;
  // Without records in it the buffer is left to be collected, which is rare.
  const { records: body, release } = code === ResponseCode.SUCCESS ? result : NOTHING;
  const answerCode = isPassedOver ? ResponseCode.PULL_RETRY_IMMEDIATELY : code;
  return createResponse(request, answerCode, { remark, ext, body, release });
}

/** Mirrors `PullMessageProcessor.composeResponseHeader`. */
function decide(
  ports: PullPorts,
  { header }: Pull,
  group: SubscriptionGroupConfig,
  { status, suggestPullingFromSlave }: PullResult,
): { code: number; suggestWhichBrokerId: number } {
  const { config } = ports;
  let code = CODES[status];
  if (status === GetMessageStatus.NO_MESSAGE_IN_QUEUE && header.queueOffset === 0) code = ResponseCode.PULL_NOT_FOUND;
  let suggestWhichBrokerId = 0;
  if (config.slaveReadEnable) {
    suggestWhichBrokerId = suggestPullingFromSlave ? group.whichBrokerWhenConsumeSlowly : group.brokerId;
  }
  if (!ports.isSlave()) return { code, suggestWhichBrokerId };
  // A slave serves what is far behind; who has caught up goes back to the master while that is there.
  if (!suggestPullingFromSlave && ports.isMasterAlive()) {
    suggestWhichBrokerId = 0;
    if (status !== GetMessageStatus.FOUND) code = ResponseCode.PULL_RETRY_IMMEDIATELY;
  }
  if (code === ResponseCode.PULL_OFFSET_MOVED && !config.offsetCheckInSlave) {
    suggestWhichBrokerId = group.brokerId;
    code = ResponseCode.PULL_RETRY_IMMEDIATELY;
  }
  return { code, suggestWhichBrokerId };
}

/** Statistics, and how far the consumer has come. */
function note(ports: PullPorts, pull: Pull, code: number, result: PullResult): void {
  const { offsets, stats, clock } = ports;
  const { header, context, startMs } = pull;
  const { consumerGroup, topic, queueId, isProxyBroadcast } = header;
  const { nextBeginOffset, fallBehindBytes } = result;
  if (code === ResponseCode.SUCCESS) {
    const tookMs = clock.monotonic() - startMs;
    stats.pulled(consumerGroup, topic, queueId, result.messageCount, result.records.length, tookMs);
  } else stats.missed();
  if (fallBehindBytes !== null) stats.fellBehind(consumerGroup, topic, queueId, fallBehindBytes);
  offsets.commitPullOffset(consumerGroup, topic, queueId, nextBeginOffset);
  const clientId = broadcastClientId(ports, header, context);
  if (clientId === null) return;
  const offset = code === ResponseCode.PULL_OFFSET_MOVED ? nextBeginOffset : header.queueOffset;
  ports.broadcastOffsets.updateOffset(topic, consumerGroup, queueId, offset, clientId, isProxyBroadcast);
}

function holdPull(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter | null,
): ReturnType<PullRequestHoldService["hold"]> {
  const { header } = pull;
  if ((header.sysFlag & PullSysFlag.SUSPEND) === 0) return "stopped";
  const { config, clock } = ports;
  const waitMs = config.longPollingEnable ? header.suspendTimeoutMillis : config.shortPollingTimeMills;
  if (!(waitMs > 0)) return "stopped";
  return holdUntil(ports, pull, filter, clock.monotonic() + Math.min(waitMs, SUSPEND_MS_MAX));
}

function holdUntil(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter | null,
  deadlineMs: number,
): ReturnType<PullRequestHoldService["hold"]> {
  const { topic, queueId } = pull.header;
  return ports.holds.hold({
    connection: pull.context.connection,
    topic,
    queueId,
    pullFromThisOffset: pull.fromOffset,
    filter,
    deadlineMs,
    wakeUp: (isFinal, fromOffset) =>
      wakeUp(
        ports,
        { ...pull, fromOffset, isFirstLook: false, startMs: ports.clock.monotonic() },
        filter,
        isFinal ? null : deadlineMs,
      ),
  });
}

/**
 * `deadlineMs` is null for the last time. It answers before it returns where it can: one large message wakes many, and
 * their answers count as held for their peers, and are bounded, only once they are with their connections.
 */
function wakeUp(ports: PullPorts, pull: Pull, filter: MessageFilter | null, deadlineMs: number | null): void {
  const finish = (answer: Answer) => answerWoken(ports, pull, filter, deadlineMs, answer);
  const fail = (error: unknown) => {
    const code = error instanceof RemotingError ? error.code : ResponseCode.SYSTEM_ERROR;
    finish(createResponse(pull.request, code, { remark: errorMessage(error) }));
  };
  let answer: Answer | Promise<Answer>;
  try {
    answer = processPull(ports, pull);
  } catch (error) {
    return fail(error);
  }
  if (answer instanceof Promise) answer.then(finish, fail);
  else finish(answer);
}

function answerWoken(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter | null,
  deadlineMs: number | null,
  answer: Answer,
): void {
  const { connection } = pull.context;
  if (answer === null || connection.closed) return;
  if (
    deadlineMs !== null && filter !== null && filter.needsProperties && waitsOn(ports, pull, filter, answer, deadlineMs)
  ) {
    return;
  }
  try {
    connection.respond(answer);
  } catch (error) {
    // An answer that can't be written is a bug of ours: it ends one connection, not the node.
    connection.close("error", errorMessage(error));
  }
}

/** A filter on properties shows only now that what came is not for this consumer: it waits on behind it. */
function waitsOn(
  ports: PullPorts,
  pull: Pull,
  filter: MessageFilter,
  answer: RemotingCommand,
  deadlineMs: number,
): boolean {
  if (answer.code !== ResponseCode.PULL_RETRY_IMMEDIATELY) return false;
  const { topic, queueId } = pull.header;
  const fromOffset = Number(answer.extFields.get("nextBeginOffset"));
  // More came while the records were read, or is left: nobody would tell of it.
  if (ports.store.getMaxOffsetInQueue(topic, queueId) !== fromOffset) return false;
  return holdUntil(ports, { ...pull, fromOffset }, filter, deadlineMs) === "held";
}
