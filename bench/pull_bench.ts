// Pulling from a real store on disk: 32 messages of 1 KB for one answer, out of a log that one queue fills and out of one
// that eight share, by all filters, in this life of the store and after a restart, when reads leave the event loop; and
// the whole of a push consumer's request behind its frame: answered at once, or held and woken by a message.

import * as path from "node:path";
import process from "node:process";
import type { ConsumerGroupInfo } from "../src/broker/client/consumer_group_info.ts";
import { buildSubscriptionData } from "../src/broker/filter/subscription_data.ts";
import { expressionMessageFilter } from "../src/broker/filter/expression_message_filter.ts";
import { pullMessageProcessors } from "../src/broker/processors/pull_message_processor.ts";
import { PullRequestHoldService } from "../src/broker/pull_request_hold_service.ts";
import { SUBSCRIPTION_GROUP_DEFAULTS } from "../src/broker/subscription_group_manager.ts";
import { TOPIC_DEFAULTS } from "../src/broker/topic_config_manager.ts";
import { createRequest, type RemotingCommand } from "../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../src/remoting/remoting_connection.ts";
import type { RequestProcessor } from "../src/remoting/remoting_server.ts";
import { RequestCode } from "../src/remoting/request_code.ts";
import { loadRuntime } from "../src/runtime/detect.ts";
import type { MessageFilter } from "../src/store/message_filter.ts";
import type { MessageStore } from "../src/store/message_store.ts";
import { makeMessage, openStore } from "./lib/log_maker.ts";
import { type Benchmark, runBenchmarks, scratchDirectory } from "./shim.ts";

const MIB = 1024 * 1024;
const PULL_SIZE = 32;
const MESSAGES = 24_000;
/** Pulls of one call, each where the one before ended. */
const PULLS = 50;
const directory = scratchDirectory();
const isSmoke = process.argv.includes("--smoke");

async function filled(name: string, queues: number): Promise<MessageStore> {
  const store = await open(name);
  for (let index = 0; index < (isSmoke ? 3200 : MESSAGES); index++) {
    store.appendMessage({ ...makeMessage(index), queueId: index % queues });
  }
  await store.waitDispatched();
  return store;
}

function open(name: string): Promise<MessageStore> {
  return openStore(path.join(directory, name), { mappedFileSizeCommitLog: 256 * MIB }, true);
}

/** Pulls on through the queue, from its start again at its end. */
function puller(store: MessageStore, filter: MessageFilter | null): () => Promise<void> {
  let offset = 0;
  return async () => {
    for (let i = 0; i < PULLS; i++) {
      const pulled = store.pullMessages("BenchmarkTest", 0, offset, PULL_SIZE, filter);
      const result = pulled instanceof Promise ? await pulled : pulled;
      if (result.messageCount === 0) throw new Error(`Pulled nothing at ${offset}: ${result.status}`);
      offset = result.nextBeginOffset + PULL_SIZE * 4 < result.maxOffset ? result.nextBeginOffset : 0;
    }
  };
}

function pulls(name: string, store: MessageStore, filter: MessageFilter | null, calls: number): Benchmark {
  const bytes = PULLS * PULL_SIZE * 1300;
  return { name, group: `${PULLS} pulls`, bytes, calls, fn: puller(store, filter) };
}

const TAG_FILTER = expressionMessageFilter(buildSubscriptionData("BenchmarkTest", "Tag0||Tag2", "TAG"), null, null);
const PROPERTIES: MessageFilter = {
  needsProperties: true,
  isMatchedByConsumeQueue: () => true,
  isMatchedByCommitLog: (properties) => properties.get("TAGS") !== "Tag1",
};

const GROUP = { ...SUBSCRIPTION_GROUP_DEFAULTS, groupName: "bench_consumer" };

/** The processor over a real store, among ports that only answer. */
async function processorOf(store: MessageStore): Promise<RequestProcessor> {
  const { clock } = await loadRuntime();
  const topic = { ...TOPIC_DEFAULTS, topicName: "BenchmarkTest" };
  const subscriptions = new Map([["BenchmarkTest", buildSubscriptionData("BenchmarkTest", "*", "TAG", 10)]]);
  const info: ConsumerGroupInfo = {
    groupName: "bench_consumer",
    consumeType: "CONSUME_PASSIVELY",
    messageModel: "CLUSTERING",
    consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
    lastUpdateTimestamp: 0,
    channels: () => [],
    clientIds: () => [],
    subscriptions: () => subscriptions,
  };
  return pullMessageProcessors({
    clock,
    config: {
      brokerPermission: 6,
      litePullMessageEnable: true,
      enablePropertyFilter: false,
      filterSupportRetry: false,
      longPollingEnable: true,
      shortPollingTimeMills: 1000,
      slaveReadEnable: false,
      offsetCheckInSlave: false,
      enableBroadcastOffsetStore: true,
      useServerSideResetOffset: true,
      rejectPullConsumerEnable: false,
    },
    topics: { selectTopicConfig: () => topic },
    groups: { findSubscriptionGroupConfig: () => GROUP, getForbidden: () => 0 },
    consumers: {
      getConsumerGroupInfo: () => info,
      findChannelByConnection: () => null,
      compensateSubscribeData: () => {},
    },
    filters: { get: () => null, build: () => null },
    offsets: { commitOffset: () => true, queryThenEraseResetOffset: () => null, commitPullOffset: () => {} },
    broadcastOffsets: { updateOffset: () => {}, queryInitOffset: () => -1 },
    store,
    holds: new PullRequestHoldService({ clock, store }),
    stats: { pulled: () => {}, missed: () => {}, fellBehind: () => {} },
    isSlave: () => false,
    isMasterAlive: () => true,
  }).get(RequestCode.PULL_MESSAGE)!;
}

function pullRequest(queueOffset: number, maxMsgNums: number): RemotingCommand {
  return createRequest(RequestCode.PULL_MESSAGE, {
    consumerGroup: "bench_consumer",
    topic: "BenchmarkTest",
    queueId: 0,
    queueOffset,
    maxMsgNums,
    sysFlag: 3,
    commitOffset: queueOffset,
    suspendTimeoutMillis: 15_000,
    subVersion: 10,
    expressionType: "TAG",
  });
}

/** Requests for one message each. */
async function requests(store: MessageStore): Promise<Benchmark> {
  const process = await processorOf(store);
  const context = { connection: {} as RemotingConnection, remoteAddress: "127.0.0.1:1" };
  let offset = 0;
  const fn = async () => {
    for (let i = 0; i < PULLS; i++) {
      const answered = process(pullRequest(offset++ % 1000, 1), context);
      const answer = answered instanceof Promise ? await answered : answered;
      if (answer?.code !== 0) throw new Error(`Pull ended with ${answer?.code} ${answer?.remark}`);
    }
  };
  return { name: "requests for one message", group: `${PULLS} pulls`, calls: 400, fn };
}

/** Each pull waits, a put wakes it. */
async function heldRequests(): Promise<Benchmark> {
  const store = await open("held");
  const process = await processorOf(store);
  let answered = (_answer: RemotingCommand): void => {};
  const connection = { closed: false, respond: (answer: RemotingCommand) => answered(answer) };
  const context = { connection: connection as unknown as RemotingConnection, remoteAddress: "127.0.0.1:1" };
  let offset = 0;
  const fn = async () => {
    for (let i = 0; i < PULLS; i++) {
      const answer = new Promise<RemotingCommand>((resolve) => answered = resolve);
      if (process(pullRequest(offset, 32), context) !== null) throw new Error("A pull was not held");
      store.appendMessage({ ...makeMessage(offset++), queueId: 0 });
      const { code } = await answer;
      if (code !== 0) throw new Error(`Held pull ended with ${code}`);
    }
  };
  return { name: "held, and woken by a put", group: `${PULLS} pulls`, calls: 100, fn };
}

const single = await filled("single", 1);
const shared = await filled("shared", 8);
const before = await filled("cold", 8);
await before.shutdown();
const cold = await open("cold");

await runBenchmarks(import.meta, [
  pulls("the log is one queue's", single, null, 400),
  pulls("the log is eight queues'", shared, null, 400),
  pulls("half of one queue's, by tag", single, TAG_FILTER, 400),
  pulls("three quarters, by properties", single, PROPERTIES, 100),
  pulls("eight queues', after a restart", cold, null, 100),
  await requests(single),
  await heldRequests(),
]);
