// Pulls from their header to the answer: who may, by which subscription, what is held, which broker is suggested.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import fc from "fast-check";
import { RemotingError } from "../../src/base/errors.ts";
import type { ConsumerFilterData } from "../../src/broker/filter/consumer_filter_manager.ts";
import { parseSql92 } from "../../src/broker/filter/sql92_parser.ts";
import { buildSubscriptionData, type SubscriptionData } from "../../src/broker/filter/subscription_data.ts";
import { pullMessageProcessors, type PullPorts } from "../../src/broker/processors/pull_message_processor.ts";
import type { HeldPull } from "../../src/broker/pull_request_hold_service.ts";
import { SUBSCRIPTION_GROUP_DEFAULTS } from "../../src/broker/subscription_group_manager.ts";
import { TOPIC_DEFAULTS, type TopicConfig } from "../../src/broker/topic_config_manager.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import type { GetMessageStatus } from "../../src/store/message_reader.ts";
import { ManualClock } from "../support/manual_clock.ts";

const GROUP = { ...SUBSCRIPTION_GROUP_DEFAULTS, groupName: "G" };
const SQL: ConsumerFilterData = {
  topic: "T",
  consumerGroup: "G",
  expression: "a > 1",
  expressionType: "SQL92",
  compiledExpression: parseSql92("a > 1"),
  clientVersion: 1,
  bornTime: 1,
  deadTime: 0,
};
const EXT: ExtValues = {
  consumerGroup: "G",
  topic: "T",
  queueId: 1,
  queueOffset: 5,
  maxMsgNums: 32,
  sysFlag: 2,
  commitOffset: 0,
  suspendTimeoutMillis: 15000,
  subVersion: 0,
};

let world: {
  topic: TopicConfig | null;
  group: typeof GROUP | null;
  subs: Map<string, SubscriptionData> | null;
  messageModel: "CLUSTERING" | "BROADCASTING";
  forbidden: number;
  status: GetMessageStatus;
  suggestSlave: boolean;
  reset: number | null;
  isSlave: boolean;
  isMasterAlive: boolean;
  maxOffset: number;
  holds: "held" | "full" | "stopped";
  filterData: ConsumerFilterData | null;
  consumeType: "CONSUME_ACTIVELY" | "CONSUME_PASSIVELY";
  config: Record<string, unknown>;
};
let held: HeldPull[];
let committed: unknown[];
let behind: unknown[];
let answered: RemotingCommand[];
const clock = new ManualClock();

beforeEach(() => {
  world = {
    topic: { ...TOPIC_DEFAULTS, topicName: "T" },
    group: GROUP,
    subs: new Map([["T", buildSubscriptionData("T", "*", "TAG", 10)]]),
    messageModel: "CLUSTERING",
    forbidden: 0,
    status: "FOUND",
    suggestSlave: false,
    reset: null,
    isSlave: false,
    isMasterAlive: true,
    maxOffset: 9,
    holds: "held",
    filterData: null,
    consumeType: "CONSUME_PASSIVELY",
    config: {},
  };
  held = [];
  behind = [];
  committed = [];
  answered = [];
});

function ports(): PullPorts {
  return {
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
      ...world.config,
    },
    topics: { selectTopicConfig: () => world.topic },
    groups: { findSubscriptionGroupConfig: () => world.group, getForbidden: () => world.forbidden },
    consumers: {
      getConsumerGroupInfo: () =>
        world.subs === null ? null : {
          groupName: "G",
          consumeType: world.consumeType,
          messageModel: world.messageModel,
          consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
          lastUpdateTimestamp: 0,
          channels: () => [],
          clientIds: () => [],
          subscriptions: () => world.subs!,
        },
      findChannelByConnection: () => null,
      compensateSubscribeData: () => {},
    },
    filters: { get: () => world.filterData, build: () => null },
    offsets: {
      commitOffset: (...args: unknown[]) => {
        committed.push(args.slice(0, 4));
        return true;
      },
      queryThenEraseResetOffset: () => world.reset,
      commitPullOffset: () => {},
    },
    broadcastOffsets: { updateOffset: () => {}, queryInitOffset: () => -1 },
    store: {
      pullMessages: (_topic, _queueId, offset) => ({
        status: world.status,
        records: new Uint8Array(world.status === "FOUND" ? 3 : 0),
        messageCount: world.status === "FOUND" ? 1 : 0,
        nextBeginOffset: offset + 1,
        minOffset: 1,
        maxOffset: 9,
        suggestPullingFromSlave: world.suggestSlave,
        fallBehindBytes: 100,
      }),
      getMinOffsetInQueue: () => 1,
      getMaxOffsetInQueue: () => world.maxOffset,
      notReadableReason: null,
    },
    holds: {
      hold: (pull) => {
        if (world.holds === "held") held.push(pull);
        return world.holds;
      },
    },
    stats: {
      pulled: () => {},
      missed: () => {},
      fellBehind: (...args: unknown[]) => void behind.push(args),
    },
    isSlave: () => world.isSlave,
    isMasterAlive: () => world.isMasterAlive,
  };
}

async function pull(ext: ExtValues = {}, code: number = RequestCode.PULL_MESSAGE): Promise<RemotingCommand | null> {
  const connection = { closed: false, respond: (one: RemotingCommand) => void answered.push(one) };
  const context = { connection: connection as unknown as RemotingConnection, remoteAddress: "10.0.0.9:1" };
  return await pullMessageProcessors(ports()).get(code)!(createRequest(code, { ...EXT, ...ext }), context);
}

/** Wakes a held pull, and waits for its answer. */
async function wake(pull: HeldPull, isFinal: boolean, fromOffset = pull.pullFromThisOffset): Promise<void> {
  pull.wakeUp(isFinal, fromOffset);
  for (let turn = 0; turn < 5; turn++) await Promise.resolve();
}

describe("pullMessageProcessors", () => {
  it("answers with records and everything a client goes on by", async () => {
    const answer = await pull();
    assert.equal(answer!.code, ResponseCode.SUCCESS);
    assert.equal(answer!.remark, "FOUND");
    assert.equal(answer!.body.length, 3);
    assert.deepEqual(Object.fromEntries(answer!.extFields), {
      suggestWhichBrokerId: "0",
      nextBeginOffset: "6",
      minOffset: "1",
      maxOffset: "9",
      topicSysFlag: "0",
      groupSysFlag: "0",
    });
  });

  it("refuses with Apache's codes, in its order", async () => {
    const cases: [string, () => void, ExtValues, number, string?][] = [
      ["broker", () => world.config = { brokerPermission: 2 }, {}, 16, "1"],
      ["group", () => world.group = null, {}, 26],
      ["group disabled", () => world.group = { ...GROUP, consumeEnable: false }, {}, 16, "2"],
      ["topic", () => world.topic = null, {}, 17],
      ["topic not readable", () => world.topic = { ...world.topic!, perm: 2 }, {}, 16, "3"],
      ["queue", () => {}, { queueId: 4 }, 29],
      ["negative queue", () => {}, { queueId: -1 }, 29],
      ["nobody online", () => world.subs = null, {}, 24],
      ["not subscribed", () => world.subs = new Map(), {}, 24],
      [
        "broadcast",
        () => {
          world.group = { ...GROUP, consumeBroadcastEnable: false };
          world.messageModel = "BROADCASTING";
        },
        {},
        16,
        "4",
      ],
      ["forbidden", () => world.forbidden = 4, {}, 16, "5"],
      ["old subscription", () => {}, { subVersion: 11 }, 25],
      [
        "sql without filter data",
        () => world.subs = new Map([["T", buildSubscriptionData("T", "a > 1", "SQL92", 1)]]),
        {},
        27,
      ],
      ["sql in the header, not enabled", () => {}, { sysFlag: 4, subscription: "a > 1", expressionType: "SQL92" }, 1],
    ];
    for (const [name, change, ext, code, forbiddenType] of cases) {
      const before = { ...world };
      change();
      const answer = await pull(ext);
      assert.equal(answer!.code, code, name);
      assert.equal(answer!.extFields.get("forbiddenType"), forbiddenType, name);
      world = before;
    }
    world.config = { litePullMessageEnable: false };
    assert.equal((await pull({}, RequestCode.LITE_PULL_MESSAGE))!.code, 16);
    await assert.rejects(
      pull({ sysFlag: 4, subscription: "", expressionType: "SQL92" }),
      (e: { code?: number }) => e.code === 23,
    );
  });

  it("maps the store's status to codes", async () => {
    const codes: [GetMessageStatus, number][] = [
      ["NO_MATCHED_MESSAGE", 20],
      ["MESSAGE_WAS_REMOVING", 20],
      ["OFFSET_FOUND_NULL", 19],
      ["OFFSET_OVERFLOW_ONE", 19],
      ["OFFSET_OVERFLOW_BADLY", 21],
      ["OFFSET_TOO_SMALL", 21],
      ["NO_MESSAGE_IN_QUEUE", 21],
    ];
    for (const [status, code] of codes) {
      world.status = status;
      assert.equal((await pull({ sysFlag: 0 }))!.code, code, status);
    }
    world.status = "NO_MESSAGE_IN_QUEUE";
    assert.equal((await pull({ sysFlag: 0, queueOffset: 0 }))!.code, 19);
  });

  it("holds the pull of an empty queue, commits on the first look only, answers when it is woken", async () => {
    world.status = "OFFSET_OVERFLOW_ONE";
    assert.equal(await pull({ sysFlag: 3, commitOffset: 4 }), null);
    assert.deepEqual(committed, [["G", "T", 1, 4]]);
    assert.equal(held[0]!.deadlineMs, clock.monotonic() + 15_000);
    world.status = "FOUND";
    held[0]!.wakeUp(false, 5);
    assert.equal(answered[0]?.code, ResponseCode.SUCCESS, "before the next one is woken");
    assert.equal(committed.length, 1);
    world.status = "OFFSET_OVERFLOW_ONE";
    await wake(held[0]!, true);
    assert.equal(answered[1]!.code, ResponseCode.PULL_NOT_FOUND);
    assert.equal(held.length, 1);
    world.config = { longPollingEnable: false };
    await pull();
    assert.equal(held[1]!.deadlineMs, clock.monotonic() + 1000);
  });

  it("goes on behind what came while it was held and is not for it, and says so", async () => {
    world.status = "OFFSET_OVERFLOW_ONE";
    await pull({ queueOffset: 9 });
    world.maxOffset = 12;
    await wake(held[0]!, true, 11);
    assert.equal(answered[0]!.code, ResponseCode.PULL_RETRY_IMMEDIATELY);
    assert.equal(answered[0]!.remark, "NO_MATCHED_MESSAGE");
    assert.equal(answered[0]!.extFields.get("nextBeginOffset"), "12");
  });

  it("holds on behind what a filter on properties let pass, unless more is there", async () => {
    world.config = { enablePropertyFilter: true };
    world.subs = new Map([["T", buildSubscriptionData("T", "a > 1", "SQL92", 1)]]);
    world.filterData = SQL;
    world.status = "OFFSET_OVERFLOW_ONE";
    assert.equal(await pull({ queueOffset: 9 }), null);
    world.status = "NO_MATCHED_MESSAGE";
    world.maxOffset = 10;
    await wake(held[0]!, false);
    assert.equal(answered.length, 0);
    assert.equal(held[1]!.pullFromThisOffset, 10);
    assert.equal(held[1]!.deadlineMs, held[0]!.deadlineMs);
    world.maxOffset = 12;
    await wake(held[1]!, false);
    assert.equal(answered[0]!.code, ResponseCode.PULL_RETRY_IMMEDIATELY, "what came meanwhile wakes nobody");
    assert.equal(answered[0]!.extFields.get("nextBeginOffset"), "11");
    assert.equal(held.length, 2);
  });

  it("refuses pulls to be held when too many are, and answers those of a node that stops", async () => {
    world.status = "OFFSET_OVERFLOW_ONE";
    world.holds = "full";
    const refused = await pull();
    assert.equal(refused!.code, ResponseCode.SYSTEM_BUSY);
    assert.match(refused!.remark!, /^\[OVERLOAD\]/);
    world.holds = "stopped";
    assert.equal((await pull())!.code, ResponseCode.PULL_NOT_FOUND);
  });

  it("tells a reset offset once it is asked for, and commits nothing over it", async () => {
    world.reset = 3;
    const answer = await pull({ sysFlag: 3, commitOffset: 4 });
    assert.equal(answer!.code, ResponseCode.PULL_OFFSET_MOVED);
    assert.equal(answer!.remark, "OFFSET_RESET");
    assert.equal(answer!.extFields.get("nextBeginOffset"), "3");
    assert.equal(answer!.extFields.get("maxOffset"), "9");
    assert.equal(answer!.extFields.get("topicSysFlag"), "0");
    assert.deepEqual(committed, []);
    world.config = { useServerSideResetOffset: false };
    assert.equal((await pull())!.code, ResponseCode.SUCCESS);
  });

  it("counts how far behind a consumer is", async () => {
    await pull();
    assert.deepEqual(behind, [["G", "T", 1, 100]]);
  });

  it("under rejectPullConsumerEnable serves registered consumers and Apache's tools only", async () => {
    world.config = { rejectPullConsumerEnable: true };
    assert.equal((await pull())!.code, ResponseCode.SUCCESS);
    world.consumeType = "CONSUME_ACTIVELY";
    assert.equal((await pull())!.code, ResponseCode.SUBSCRIPTION_NOT_EXIST);
    world.subs = null;
    const own = { sysFlag: 4, subscription: "*" };
    assert.equal((await pull(own))!.code, ResponseCode.SUBSCRIPTION_NOT_EXIST);
    assert.equal((await pull({ ...own, consumerGroup: "TOOLS_CONSUMER" }))!.code, ResponseCode.SUCCESS);
  });

  it("takes a Java long for an offset", async () => {
    const answer = await pull({ queueOffset: "9223372036854775807", suspendTimeoutMillis: "9223372036854775807" });
    assert.equal(answer!.code, ResponseCode.SUCCESS);
  });

  it("suggests the slave by the memory rule, where slaves may be read", async () => {
    world.suggestSlave = true;
    assert.equal((await pull())!.extFields.get("suggestWhichBrokerId"), "0");
    world.config = { slaveReadEnable: true };
    assert.equal((await pull())!.extFields.get("suggestWhichBrokerId"), "1");
    world.suggestSlave = false;
    assert.equal((await pull())!.extFields.get("suggestWhichBrokerId"), "0");
  });

  it("as a slave: refuses while the master lives, unless slaveReadEnable; serves when it is gone", async () => {
    world.isSlave = true;
    const refused = await pull();
    assert.equal(refused!.code, ResponseCode.SYSTEM_BUSY);
    assert.match(refused!.remark!, /^\[REJECTREQUEST\]/);
    world.isMasterAlive = false;
    assert.equal((await pull())!.code, ResponseCode.SUCCESS);
    world.status = "OFFSET_TOO_SMALL";
    assert.equal(
      (await pull({ sysFlag: 0 }))!.code,
      ResponseCode.PULL_RETRY_IMMEDIATELY,
      "a slave corrects no offsets",
    );
    world.status = "OFFSET_OVERFLOW_ONE";
    assert.equal(await pull(), null, "and holds pulls like a master");
    world.isMasterAlive = true;
    world.config = { slaveReadEnable: true };
    const back = await pull();
    assert.equal(back!.code, ResponseCode.PULL_RETRY_IMMEDIATELY, "who has caught up goes back to the master");
    assert.equal(back!.extFields.get("suggestWhichBrokerId"), "0");
  });

  it("answers, holds or refuses whatever comes", async () => {
    const numbers = fc.constantFrom(
      "0",
      "1",
      "-1",
      "1e3",
      "0x1",
      " 5 ",
      "",
      "NaN",
      "4.5",
      "9".repeat(19),
      "9".repeat(40),
    );
    const value = fc.option(fc.oneof(numbers, fc.string({ maxLength: 5 })), { nil: undefined });
    const known = [
      "sysFlag",
      "queueId",
      "queueOffset",
      "maxMsgNums",
      "commitOffset",
      "suspendTimeoutMillis",
      "subVersion",
    ];
    const others = [
      "consumerGroup",
      "topic",
      "subscription",
      "expressionType",
      "requestSource",
      "proxyFrowardClientId",
    ];
    const codes = fc.constantFrom<number>(RequestCode.PULL_MESSAGE, RequestCode.LITE_PULL_MESSAGE);
    const statuses = fc.constantFrom<GetMessageStatus>("FOUND", "OFFSET_OVERFLOW_ONE", "OFFSET_TOO_SMALL");
    await fc.assert(
      fc.asyncProperty(
        fc.dictionary(fc.constantFrom(...known, ...others), value),
        codes,
        statuses,
        async (ext, code, status) => {
          world.status = status;
          try {
            const answer = await pull(ext, code);
            if (answer === null) return assert.ok(held.pop()!.deadlineMs <= clock.monotonic() + 120_000);
            for (const [name, text] of answer.extFields) {
              if (name !== "forbiddenType") assert.match(text, /^-?\d+$/, name);
            }
          } catch (error) {
            assert.ok(error instanceof RemotingError, String(error));
          }
        },
      ),
      { numRuns: 500 },
    );
  });

  it("refuses a header that is none", async () => {
    for (const ext of [{ queueId: "x" }, { queueOffset: "" }, { topic: undefined }, { maxMsgNums: "1e99" }]) {
      await assert.rejects(pull(ext), (error: { code?: number }) => error.code === ResponseCode.SYSTEM_ERROR);
    }
  });
});
