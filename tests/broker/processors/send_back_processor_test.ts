// Messages that a consumer failed with: sent back, or sent to the retry topic by the consumer itself.

import { beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { RemotingError } from "../../../src/base/errors.ts";
import { retryAndDLQ } from "../../../src/broker/processors/retry_and_dlq.ts";
import { type SendBackPorts, sendBackProcessors } from "../../../src/broker/processors/send_back_processor.ts";
import type { SendHeader } from "../../../src/broker/processors/send_header.ts";
import { delayHook } from "../../../src/broker/schedule/delay_hook.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { MemoryStore, producerMessage } from "../schedule/memory_store.ts";

const LEVELS = "1s 5s 10s 30s 1m";
const HOST = { address: Uint8Array.of(10, 0, 0, 9), port: 10911 };

let store: MemoryStore;
let ports: { -readonly [K in keyof SendBackPorts]: SendBackPorts[K] };
let created: unknown[][];
let sentBack: unknown[][];
let group: { retryQueueNums: number; retryMaxTimes: number } | null;
let perm: number;

beforeEach(() => {
  store = new MemoryStore(new ManualClock(), LEVELS);
  store.hooks = [delayHook({ messageDelayLevel: LEVELS })];
  created = [];
  sentBack = [];
  group = { retryQueueNums: 1, retryMaxTimes: 16 };
  perm = 6;
  ports = {
    config: { brokerPermission: 6 },
    groups: { findSubscriptionGroupConfig: () => group },
    topics: {
      createTopicInSendMessageBackMethod: (...args) => {
        created.push(args);
        return { perm };
      },
    },
    store,
    puts: store,
    storeHost: HOST,
    random: { nextInt: (bound) => bound - 1, bytes: (count) => new Uint8Array(count) },
    isSlave: () => false,
    stats: { sentBack: (...args) => sentBack.push(args) },
  };
});

async function sendBack(ext: ExtValues = {}, version = 479): Promise<RemotingCommand> {
  const request = {
    ...createRequest(36, { group: "g", offset: 0, delayLevel: 0, originMsgId: "x", originTopic: "T", ...ext }),
    version,
  };
  return await sendBackProcessors(ports).get(36)!(request, {} as RequestContext) as RemotingCommand;
}

async function refused(code: number, ext: ExtValues = {}): Promise<string> {
  const records = store.records.length;
  let remark = "";
  await assert.rejects(sendBack(ext), (error: unknown) => {
    assert.ok(error instanceof RemotingError);
    assert.equal(error.code, code);
    remark = error.message;
    return true;
  });
  assert.equal(store.records.length, records);
  return remark;
}

describe("CONSUMER_SEND_MSG_BACK", () => {
  it("stores the message again for later, as it was but for what retries need", async () => {
    const sent = producerMessage("a", { TAGS: "x", WAIT: "true" }, { sysFlag: 1 });
    store.append(sent);
    assert.equal((await sendBack()).code, 0);
    const again = store.messages("SCHEDULE_TOPIC_XXXX", 2)[0]!;
    assert.deepEqual([...again.properties], [
      ["UNIQ_KEY", sent.properties.get("UNIQ_KEY")],
      ["TAGS", "x"],
      ["WAIT", "false"],
      ["RETRY_TOPIC", "T"],
      ["DELAY", "3"],
      ["ORIGIN_MESSAGE_ID", "ID0"],
      ["REAL_TOPIC", "%RETRY%g"],
      ["REAL_QID", "0"],
    ]);
    const { body, flag, sysFlag, bornTimestamp, bornHost, storeHost, reconsumeTimes } = again;
    assert.deepEqual({ body, flag, sysFlag, bornTimestamp, bornHost, storeHost, reconsumeTimes }, {
      body: sent.body,
      flag: 7,
      sysFlag: 1,
      bornTimestamp: sent.bornTimestamp,
      bornHost: sent.bornHost,
      storeHost: HOST,
      reconsumeTimes: 1,
    });
    assert.deepEqual(created, [["%RETRY%g", 1, 6, 0]]);
    assert.deepEqual(sentBack, [["g", "T", false]]);
  });

  it("keeps topic and id of the first copy, and waits longer each time", async () => {
    store.append(producerMessage("a"));
    await sendBack();
    store.append({ ...store.records[1]!, topic: "%RETRY%g", queueId: 0 });
    await sendBack({ offset: 200, delayLevel: 0, unitMode: true });
    const { properties, reconsumeTimes } = store.records[3]!;
    assert.equal(properties.get("RETRY_TOPIC"), "T");
    assert.equal(properties.get("ORIGIN_MESSAGE_ID"), "ID0");
    assert.equal(properties.get("DELAY"), "4");
    assert.equal(reconsumeTimes, 2);
    assert.deepEqual(created[1], ["%RETRY%g", 1, 6, 2]);
    assert.deepEqual(sentBack[1], ["g", "T", false]);
  });

  it("takes the level asked for, and one of the retry topic's queues", async () => {
    group = { retryQueueNums: 4, retryMaxTimes: 16 };
    store.append(producerMessage("a"));
    await sendBack({ delayLevel: 5 });
    const again = store.messages("SCHEDULE_TOPIC_XXXX", 4)[0]!;
    assert.equal(again.properties.get("REAL_QID"), "3");
  });

  it("puts among the dead letters what was tried often enough, or is not to be tried again", async () => {
    const cases: [ExtValues, number, number][] = [
      [{}, 16, 479],
      [{ delayLevel: -1 }, 0, 479],
      [{ maxReconsumeTimes: 2 }, 2, 479],
      [{ maxReconsumeTimes: 2 }, 16, 100],
    ];
    for (const [ext, reconsumeTimes, version] of cases) {
      created = [];
      const offset = store.maxOffset;
      store.append(producerMessage("a", {}, { reconsumeTimes }));
      await sendBack({ ...ext, offset }, version);
      const dead = store.messages("%DLQ%g", 0).at(-1)!;
      assert.equal(dead.properties.get("DELAY"), "0");
      assert.equal(dead.reconsumeTimes, reconsumeTimes + 1);
      assert.deepEqual(created[1], ["%DLQ%g", 1, 6, 0]);
      assert.equal(sentBack.at(-1)![2], true);
    }
    const offset = store.maxOffset;
    store.append(producerMessage("a", {}, { reconsumeTimes: 2 }));
    await sendBack({ maxReconsumeTimes: 2, offset }, 100);
    assert.equal(store.messages("%DLQ%g", 0).length, 4, "an old client does not say how often");
  });

  it("refuses in Apache's order", async () => {
    store.append(producerMessage("a"));
    ports.isSlave = () => true;
    group = null;
    await refused(1);
    ports.isSlave = () => false;
    ports.config = { brokerPermission: 4 };
    await refused(26);
    group = { retryQueueNums: 0, retryMaxTimes: 16 };
    await refused(16);
    ports.config = { brokerPermission: 6 };
    assert.equal((await sendBack({ offset: 77 })).code, 0, "a group without retries: taken, and nothing stored");
    assert.deepEqual(created, []);
    group = { retryQueueNums: 1, retryMaxTimes: 16 };
    perm = 4;
    await refused(16, { offset: 77 });
    perm = 6;
    await refused(1, { offset: 77 });
    store.refuse = () => "FLUSH_SLAVE_TIMEOUT";
    assert.equal(await refused(1), "FLUSH_SLAVE_TIMEOUT");
    assert.deepEqual(sentBack, []);
  });

  it("names what is missing or no number", async () => {
    for (const [name, value] of [["group", null], ["offset", null], ["delayLevel", null]] as const) {
      assert.match(await refused(1, { [name]: value }), new RegExp(name));
    }
    assert.match(await refused(1, { offset: "1x" }), /"offset" is "1x"/);
    assert.match(await refused(1, { offset: "" }), /offset/);
    assert.match(await refused(1, { maxReconsumeTimes: "all" }), /maxReconsumeTimes/);
  });
});

describe("retryAndDLQ", () => {
  const header: SendHeader = {
    producerGroup: "p",
    topic: "%RETRY%g",
    defaultTopic: "TBW102",
    defaultTopicQueueNums: 4,
    queueId: 0,
    sysFlag: 0,
    bornTimestamp: 0,
    flag: 0,
    properties: "",
    reconsumeTimes: 0,
    unitMode: false,
    maxReconsumeTimes: null,
    isBatch: false,
    clientVersion: 479,
  };
  const message = producerMessage("a", { DELAY: "4" }, { topic: "%RETRY%g" });
  let unlocked = true;
  const asked: string[] = [];

  function decide(over: Partial<SendHeader> = {}, topic = "%RETRY%g") {
    const groups = {
      findSubscriptionGroupConfig: (name: string) => (asked.push(name), group),
    };
    const rule = retryAndDLQ({ groups, topics: ports.topics, locks: { isLockAllExpired: () => unlocked } });
    return rule({ ...message, topic }, { ...header, topic, ...over });
  }

  it("lets a message through that may be tried again", () => {
    assert.deepEqual(decide({ reconsumeTimes: 16 }), message);
    assert.deepEqual(decide({ reconsumeTimes: 3, maxReconsumeTimes: 3 }), message);
    decide({}, "%RETRY%g2+topic");
    assert.equal(asked.at(-1), "g2");
  });

  it("puts among the dead letters what was tried too often, and what a group in order gives up", () => {
    const dead = {
      ...message,
      topic: "%DLQ%g",
      queueId: 0,
      properties: new Map(message.properties).set("DELAY", "-1"),
    };
    assert.deepEqual(decide({ reconsumeTimes: 17 }), dead);
    assert.deepEqual(decide({ reconsumeTimes: 4, maxReconsumeTimes: 3 }), dead);
    assert.deepEqual(decide({ reconsumeTimes: 4, maxReconsumeTimes: 3, clientVersion: 100 }), message);
    unlocked = false;
    assert.deepEqual(decide(), dead);
    unlocked = true;
    assert.deepEqual(created[0], ["%DLQ%g", 1, 6, 0]);
  });

  it("refuses a group that does not exist", () => {
    group = null;
    assert.deepEqual(decide(), { code: 26, remark: 'Subscription group "g" does not exist' });
  });
});
