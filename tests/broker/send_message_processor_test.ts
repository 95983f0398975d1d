// Sends, from the header of a client to the message that is put and the answer: codes, properties, batches, retries.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { utf8 } from "../../src/base/bytes.ts";
import { sendMessageProcessors, type SendPorts } from "../../src/broker/processors/send_message_processor.ts";
import type { PutMessageResult, PutOptions } from "../../src/broker/put_message_service.ts";
import { TOPIC_DEFAULTS, type TopicConfig } from "../../src/broker/topic_config_manager.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import { RequestCode } from "../../src/remoting/request_code.ts";
import { ResponseCode } from "../../src/remoting/response_code.ts";
import { type MessageToPut, PutMessageStatus } from "../../src/store/types.ts";

const connection = {} as RemotingConnection;
const V2: ExtValues = {
  a: "pg",
  b: "T",
  c: "TBW102",
  d: 4,
  e: 1,
  f: 0,
  g: 1700000000000,
  h: 7,
  i: "KEYS\x01k1 k2\x02UNIQ_KEY\x01U1\x02TAGS\x01TagA\x02",
  j: 0,
  k: false,
};

let put: { message: MessageToPut; options: PutOptions | undefined; batch: Uint8Array | null }[];
let created: string[];
let result: PutMessageResult;
let ports: SendPorts;

beforeEach(() => {
  put = [];
  created = [];
  result = {
    status: PutMessageStatus.PUT_OK,
    append: {
      status: PutMessageStatus.PUT_OK,
      wroteOffset: 100,
      wroteBytes: 50,
      msgIds: ["0A"],
      storeTimestamp: 5,
      logicsOffset: 9,
      msgNum: 1,
    },
    remark: "",
  };
  const topics = new Map<string, TopicConfig>([["T", { ...TOPIC_DEFAULTS, topicName: "T" }]]);
  ports = {
    config: {
      brokerPermission: 6,
      brokerClusterName: "C",
      regionId: "DefaultRegion",
      traceOn: true,
      startAcceptSendRequestTimeStamp: 0,
      rejectTransactionMessage: false,
    },
    topics: {
      selectTopicConfig: (topic) => topics.get(topic) ?? null,
      isOrderTopic: (topic) => topic === "Ordered",
      createTopicInSendMessageMethod: (topicName) => {
        created.push(topicName);
        if (topicName === "no") return null;
        topics.set(topicName, { ...TOPIC_DEFAULTS, topicName });
        return topics.get(topicName)!;
      },
      persist: () => Promise.resolve(),
    },
    puts: {
      putMessage: (message, options) => {
        put.push({ message, options, batch: null });
        return result;
      },
      putBatch: ({ message, batchBody }) => {
        put.push({ message, options: undefined, batch: batchBody });
        return Promise.resolve(result);
      },
    },
    stats: { put: () => {} },
    random: { nextInt: () => 2, bytes: (count) => new Uint8Array(count).fill(1) },
    now: () => 1_700_000_000_500,
    storeHost: { address: new Uint8Array([10, 0, 0, 1]), port: 10911 },
    rejectReason: () => null,
    retryAndDLQ: (message) => ({ ...message, topic: "%DLQ%g", queueId: 0 }),
    prepareHalfMessage: (message) => ({ ...message, topic: "HALF" }),
    recallHandleOf: () => null,
  };
});

function send(ext: ExtValues, code: number = RequestCode.SEND_MESSAGE_V2, body = utf8.encode("hello")) {
  return sendWith(ports, createRequest(code, ext, body));
}

async function sendWith(with_: SendPorts, request: RemotingCommand) {
  const processor = sendMessageProcessors(with_).get(request.code)!;
  return await processor(request, { connection, remoteAddress: "10.1.2.3:4567" });
}

describe("sendMessageProcessors", () => {
  it("puts what the short names say and answers with ids, offset, region and trace", async () => {
    const answer = await send(V2);
    assert.equal(answer!.code, ResponseCode.SUCCESS);
    assert.deepEqual(Object.fromEntries(answer!.extFields), {
      msgId: "0A",
      queueId: "1",
      queueOffset: "9",
      transactionId: "U1",
      MSG_REGION: "DefaultRegion",
      TRACE_ON: "true",
    });
    const { message } = put[0]!;
    assert.equal(message.topic, "T");
    assert.equal(message.queueId, 1);
    assert.equal(message.flag, 7);
    assert.equal(message.bornTimestamp, 1700000000000);
    assert.deepEqual([...message.bornHost.address, message.bornHost.port], [10, 1, 2, 3, 4567]);
    assert.deepEqual(Object.fromEntries(message.properties), {
      KEYS: "k1 k2",
      UNIQ_KEY: "U1",
      TAGS: "TagA",
      MSG_REGION: "DefaultRegion",
      TRACE_ON: "true",
      CLUSTER: "C",
    });
  });

  it("refuses numbers that are none, as a peer's mistake and not as a bug of ours", async () => {
    for (const [name, value] of [["d", ""], ["e", "NaN"], ["f", "1e400"], ["g", "9223372036854775807"], ["h", "x"]]) {
      const refused = { name: "RemotingError", code: ResponseCode.SYSTEM_ERROR };
      await assert.rejects(() => send({ ...V2, [name!]: value }), refused, name);
    }
    assert.equal(put.length, 0);
  });

  it("takes the long names of the first version", async () => {
    const answer = await send({
      producerGroup: "pg",
      topic: "T",
      defaultTopic: "TBW102",
      defaultTopicQueueNums: 4,
      queueId: 0,
      sysFlag: 1,
      bornTimestamp: 1,
      flag: 0,
      properties: "TAGS\x01t",
    }, RequestCode.SEND_MESSAGE);
    assert.equal(answer!.code, ResponseCode.SUCCESS);
    assert.equal(put[0]!.message.properties.get("TAGS"), "t");
    assert.equal(put[0]!.message.sysFlag, 1);
    assert.match(put[0]!.message.properties.get("UNIQ_KEY")!, /^0A000001[0-9A-F]{24}$/);
  });

  it("answers nothing to a one-way send, and puts it", async () => {
    const request = createRequest(RequestCode.SEND_MESSAGE_V2, V2, utf8.encode("x"));
    assert.equal(await sendWith(ports, { ...request, flag: 2 }), null);
    assert.equal(put.length, 1);
  });

  it("refuses with Apache's codes, region and trace always there", async () => {
    const cases: [ExtValues, number][] = [
      [{ ...V2, b: "a b" }, ResponseCode.INVALID_PARAMETER],
      [{ ...V2, b: "SCHEDULE_TOPIC_XXXX" }, ResponseCode.NO_PERMISSION],
      [{ ...V2, b: "no" }, ResponseCode.TOPIC_NOT_EXIST],
      [{ ...V2, e: 4 }, ResponseCode.INVALID_PARAMETER],
    ];
    for (const [ext, code] of cases) {
      const refused = await send(ext).catch((error) => error);
      assert.equal(refused.code, code, String(ext.b));
      if (!(refused instanceof Error)) assert.equal(refused.extFields.get("MSG_REGION"), "DefaultRegion");
    }
    assert.equal((await send(V2, 310, new Uint8Array(0)))!.code, ResponseCode.SYSTEM_ERROR);
    const slave = await sendWith({ ...ports, rejectReason: () => "a slave" }, createRequest(310, V2, utf8.encode("x")));
    assert.equal(slave!.code, ResponseCode.SERVICE_NOT_AVAILABLE);
    assert.match(slave!.remark!, /^\[REJECTREQUEST\]/);
    const config = { ...ports.config, brokerPermission: 4 };
    const ordered = await sendWith({ ...ports, config }, createRequest(310, { ...V2, b: "Ordered" }, utf8.encode("x")));
    assert.equal(ordered!.code, ResponseCode.NO_PERMISSION);
    assert.equal(put.length, 0);
  });

  it("makes the topic, picks a queue below 0", async () => {
    const answer = await send({ ...V2, b: "New", e: -1 });
    assert.deepEqual(created, ["New"]);
    assert.equal(answer!.extFields.get("queueId"), "2");
  });

  it("answers a message that is stored under another status with its place, one that is not with the code", async () => {
    for (
      const [status, code] of [
        [PutMessageStatus.FLUSH_DISK_TIMEOUT, 10],
        [PutMessageStatus.SLAVE_NOT_AVAILABLE, 11],
        [PutMessageStatus.FLUSH_SLAVE_TIMEOUT, 12],
      ] as const
    ) {
      result = { ...result, status };
      const answer = await send(V2);
      assert.equal(answer!.code, code);
      assert.equal(answer!.extFields.get("queueOffset"), "9");
    }
    for (
      const [status, code] of [
        [PutMessageStatus.MESSAGE_ILLEGAL, 13],
        [PutMessageStatus.PROPERTIES_SIZE_EXCEEDED, 13],
        [PutMessageStatus.SERVICE_NOT_AVAILABLE, 14],
        [PutMessageStatus.IN_SYNC_REPLICAS_NOT_ENOUGH, 1],
        [PutMessageStatus.WHEEL_TIMER_MSG_ILLEGAL, 13],
      ] as const
    ) {
      result = { status, append: null, remark: "why" };
      const answer = await send(V2);
      assert.equal(answer!.code, code);
      assert.equal(answer!.remark, "why");
      assert.equal(answer!.extFields.get("TRACE_ON"), "true");
    }
  });

  it("hands batches, retries and open transactions to their rules", async () => {
    const batch = await send(V2, RequestCode.SEND_BATCH_MESSAGE);
    assert.equal(batch!.code, ResponseCode.SUCCESS);
    assert.deepEqual(put[0]!.batch, utf8.encode("hello"));
    assert.equal((await send({ ...V2, b: "%RETRY%g", m: true }))!.code, ResponseCode.MESSAGE_ILLEGAL);
    await send({ ...V2, b: "%RETRY%g" });
    assert.equal(put[1]!.message.topic, "%DLQ%g");
    await send({ ...V2, i: "TRAN_MSG\x01true\x02" });
    assert.equal(put[2]!.message.topic, "HALF");
    assert.deepEqual(put[2]!.options, { skipHooks: true });
    const config = { ...ports.config, rejectTransactionMessage: true };
    const request = createRequest(310, { ...V2, i: "TRAN_MSG\x01true\x02" }, utf8.encode("x"));
    assert.equal((await sendWith({ ...ports, config }, request))!.code, ResponseCode.NO_PERMISSION);
  });
});
