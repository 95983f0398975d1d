// Pulls, their holding and a real store together, on simulated time: whatever the filter, a consumer gets each of its
// messages once, in order and at once, and asks no more often than messages and deadlines make it.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import type { ConsumerFilterData } from "../../src/broker/filter/consumer_filter_manager.ts";
import { parseSql92 } from "../../src/broker/filter/sql92_parser.ts";
import { pullMessageProcessors } from "../../src/broker/processors/pull_message_processor.ts";
import { PullRequestHoldService } from "../../src/broker/pull_request_hold_service.ts";
import { SUBSCRIPTION_GROUP_DEFAULTS } from "../../src/broker/subscription_group_manager.ts";
import { TOPIC_DEFAULTS } from "../../src/broker/topic_config_manager.ts";
import { createRequest, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import type { RequestProcessor } from "../../src/remoting/remoting_server.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import type { Clock } from "../../src/runtime/runtime.ts";
import { Prng, SimulatedWorld } from "../../src/runtime/simulated/mod.ts";
import { decodeMessage } from "../../src/store/message_codec.ts";
import { MessageStore } from "../../src/store/message_store.ts";
import { message, putOk, SMALL } from "../support/store_kit.ts";

const SUSPEND_MS = 15_000;
/** From a put to its consumer, ms of simulated time: dispatch, and timers that are late. */
const DELIVERY_MS = 100;
const SEEDS = 8;

interface Subscription {
  readonly expressionType: string;
  readonly subscription: string;
  readonly wants: (n: number) => boolean;
}

const SUBSCRIPTIONS: readonly Subscription[] = [
  { expressionType: "TAG", subscription: "*", wants: () => true },
  { expressionType: "TAG", subscription: "T3", wants: (n) => n % 10 === 3 },
  { expressionType: "TAG", subscription: "never", wants: () => false },
  {
    expressionType: "SQL92",
    subscription: "n > 40 AND TAGS IN ('T1', 'T2')",
    wants: (n) => n > 40 && [1, 2].includes(n % 10),
  },
  { expressionType: "SQL92", subscription: "n < 0", wants: () => false },
];

/** Pulls on and on, as a push consumer does. */
class Consumer {
  readonly got: { n: number; atMs: number }[] = [];
  pulls = 0;
  readonly #pull: RequestProcessor;
  readonly #clock: Clock;
  readonly #subscription: Subscription;
  #offset = 0;
  #isStopped = false;
  readonly #connection = {
    closed: false,
    respond: (answer: RemotingCommand) => this.#answered(answer),
  } as unknown as RemotingConnection;

  constructor(pull: RequestProcessor, clock: Clock, subscription: Subscription) {
    this.#pull = pull;
    this.#clock = clock;
    this.#subscription = subscription;
  }

  next(): void {
    this.pulls++;
    const { expressionType, subscription } = this.#subscription;
    const request = createRequest(RequestCode.PULL_MESSAGE, {
      consumerGroup: "G",
      topic: "TopicTest",
      queueId: 0,
      queueOffset: this.#offset,
      maxMsgNums: 4,
      sysFlag: 6,
      commitOffset: 0,
      suspendTimeoutMillis: SUSPEND_MS,
      subVersion: 1,
      expressionType,
      subscription,
    });
    Promise.resolve(this.#pull(request, { connection: this.#connection, remoteAddress: "a:1" })).then((answer) => {
      if (answer !== null) this.#answered(answer);
    });
  }

  stop(): void {
    this.#isStopped = true;
  }

  #answered({ code, extFields, body }: RemotingCommand): void {
    assert.ok(
      [ResponseCode.SUCCESS, ResponseCode.PULL_NOT_FOUND, ResponseCode.PULL_RETRY_IMMEDIATELY].includes(code as 0),
      String(code),
    );
    for (let at = 0; at < body.length;) {
      const found = decodeMessage(body, at);
      this.got.push({ n: Number(found.properties.get("n")), atMs: this.#clock.now() });
      at += found.storeSize;
    }
    const next = Number(extFields.get("nextBeginOffset"));
    assert.ok(next >= this.#offset);
    this.#offset = next;
    if (!this.#isStopped) this.next();
  }
}

async function play(seed: number): Promise<void> {
  const random = new Prng(seed);
  const world = new SimulatedWorld(seed);
  const { fs, clock, process } = world.host("a").runtime;
  // Few entries per look, so that filtered pulls often end before the queue does.
  const options = { ...SMALL, storePathRootDir: "/store", maxFilterMessageSize: 200, mappedFileSizeConsumeQueue: 2000 };
  const store = await world.drive(MessageStore.open(options, { fs, clock, process }));
  store.start();
  await world.drive(store.setRole("master"));
  const holds = new PullRequestHoldService({ clock, store });
  const pull = pullMessageProcessors({
    clock,
    config: {
      brokerPermission: 6,
      litePullMessageEnable: true,
      enablePropertyFilter: true,
      filterSupportRetry: false,
      longPollingEnable: true,
      shortPollingTimeMills: 1000,
      slaveReadEnable: false,
      offsetCheckInSlave: false,
      enableBroadcastOffsetStore: false,
      useServerSideResetOffset: true,
      rejectPullConsumerEnable: false,
    },
    topics: { selectTopicConfig: () => ({ ...TOPIC_DEFAULTS, topicName: "TopicTest" }) },
    groups: { findSubscriptionGroupConfig: () => GROUP, getForbidden: () => 0 },
    consumers: {
      getConsumerGroupInfo: () => null,
      findChannelByConnection: () => null,
      compensateSubscribeData: () => {},
    },
    filters: {
      get: () => null,
      build: (_topic, _group, { expressionType, subString }) =>
        expressionType === "SQL92" ? filterData(expressionType, subString) : null,
    },
    offsets: { commitOffset: () => true, queryThenEraseResetOffset: () => null, commitPullOffset: () => {} },
    broadcastOffsets: { updateOffset: () => {}, queryInitOffset: () => -1 },
    store,
    holds,
    stats: { pulled: () => {}, missed: () => {}, fellBehind: () => {} },
    isSlave: () => false,
    isMasterAlive: () => false,
  }).get(RequestCode.PULL_MESSAGE)!;
  const consumers = SUBSCRIPTIONS.map((subscription) => new Consumer(pull, clock, subscription));
  for (const consumer of consumers) consumer.next();
  const puts: number[] = [];
  let bursts = 0;
  const beganMs = clock.now();
  while (puts.length < 150) {
    bursts++;
    for (let count = 1 + random.nextInt(random.chance(200_000) ? 40 : 3); count > 0; count--) {
      const n = puts.length;
      puts.push(clock.now());
      putOk(store.appendMessage(message(`m${n}`, { properties: new Map([["n", String(n)], ["TAGS", `T${n % 10}`]]) })));
      if (random.chance(50_000)) await world.step();
    }
    await world.advance(random.chance(100_000) ? random.nextInt(40_000) : random.nextInt(300));
  }
  await world.advance(2 * SUSPEND_MS);
  const elapsedMs = clock.now() - beganMs;
  for (const [index, consumer] of consumers.entries()) {
    const { wants, subscription } = SUBSCRIPTIONS[index]!;
    const wanted = puts.map((_, n) => n).filter(wants);
    assert.deepEqual(consumer.got.map(({ n }) => n), wanted, `seed ${seed}, "${subscription}"`);
    for (const { n, atMs } of consumer.got) {
      assert.ok(
        atMs - puts[n]! <= DELIVERY_MS,
        `seed ${seed}, "${subscription}": ${n} came after ${atMs - puts[n]!} ms`,
      );
    }
    const pullsMax = puts.length + bursts + Math.ceil(elapsedMs / SUSPEND_MS) + 1;
    assert.ok(
      consumer.pulls <= pullsMax,
      `seed ${seed}, "${subscription}": ${consumer.pulls} pulls, at most ${pullsMax}`,
    );
  }
  assert.equal(holds.heldCount, consumers.length);
  for (const consumer of consumers) consumer.stop();
  holds.stop();
  await world.settle();
  assert.equal(holds.heldCount, 0);
  await world.drive(store.shutdown());
  assert.equal(world.host("a").timerCount, 0);
}

const GROUP = { ...SUBSCRIPTION_GROUP_DEFAULTS, groupName: "G" };

function filterData(expressionType: string, expression: string): ConsumerFilterData {
  return {
    topic: "TopicTest",
    consumerGroup: "G",
    expression,
    expressionType,
    compiledExpression: parseSql92(expression),
    clientVersion: 1,
    bornTime: 1,
    deadTime: 0,
  };
}

describe("long polling", () => {
  it("brings each message to its consumers at once, and nobody asks in vain", async () => {
    for (let seed = 1; seed <= SEEDS; seed++) await play(seed);
  });
});
