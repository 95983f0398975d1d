// Requests 324 and 325: a reply is pushed to its requester and stored.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { IoError } from "../../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { replyMessageProcessors, type ReplyPorts } from "../../../src/broker/processors/reply_message_processor.ts";
import type { PutMessageResult } from "../../../src/broker/put_message_service.ts";
import { createRequest, createResponse, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RemotingConnection } from "../../../src/remoting/remoting_connection.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import { parsePropertiesText } from "../../../src/store/message_properties.ts";
import { type MessageToPut, PutMessageStatus } from "../../../src/store/types.ts";

const CONTEXT = { remoteAddress: "10.0.0.9:4711" } as RequestContext;

describe("SEND_REPLY_MESSAGE", () => {
  const V2 = {
    a: "pg",
    b: "c_REPLY_TOPIC",
    c: "TBW102",
    d: "4",
    e: "0",
    f: "0",
    g: "1700000000000",
    h: "3",
    i: "REPLY_TO_CLIENT\x01client-1\x02CORRELATION_ID\x01c1\x02",
    j: "0",
    k: "false",
  };
  const body = new TextEncoder().encode("the answer");

  function setUp(changes: Partial<ReplyPorts["config"]> = {}) {
    const pushed: RemotingCommand[] = [];
    const puts: MessageToPut[] = [];
    const state = { answer: 0 as number | Error, putStatus: PutMessageStatus.PUT_OK as PutMessageStatus };
    const connection = {
      async invoke(request: RemotingCommand, timeoutMs: number) {
        assert.equal(timeoutMs, 10_000);
        pushed.push(request);
        if (state.answer instanceof Error) throw state.answer;
        return createResponse(request, state.answer);
      },
    } as unknown as RemotingConnection;
    const table = replyMessageProcessors({
      config: {
        brokerPermission: 6,
        regionId: "DefaultRegion",
        traceOn: true,
        startAcceptSendRequestTimeStamp: 0,
        storeReplyMessageEnable: true,
        ...changes,
      },
      topics: {
        selectTopicConfig: (topicName) =>
          topicName !== "c_REPLY_TOPIC" ? null : {
            topicName,
            readQueueNums: 1,
            writeQueueNums: 1,
            perm: 6,
            topicFilterType: "SINGLE_TAG",
            topicSysFlag: 0,
            order: false,
            attributes: {},
          },
        isOrderTopic: () => false,
        createTopicInSendMessageMethod: () => null,
        persist: () => Promise.resolve(),
      },
      puts: {
        putMessage(message): PutMessageResult {
          puts.push(message);
          const status = state.putStatus;
          if (status !== PutMessageStatus.PUT_OK) return { status, append: null, remark: "no" };
          const append = {
            status: PutMessageStatus.PUT_OK,
            wroteOffset: 9,
            wroteBytes: 100,
            msgIds: ["ID"],
            storeTimestamp: 1,
            logicsOffset: 41,
            msgNum: 1,
          } as const;
          return { status, append, remark: "" };
        },
      },
      stats: { put: () => {} },
      producers: { findChannel: (clientId) => clientId === "client-1" ? { connection } : null },
      random: { nextInt: () => 0, bytes: (count) => new Uint8Array(count) },
      now: () => 1_700_000_000_500,
      storeHost: { address: new Uint8Array([10, 0, 0, 1]), port: 10911 },
      logger: SILENT_LOGGER,
    });
    const send = async (ext: Record<string, string> = {}, code = 325) =>
      (await table.get(code)!(createRequest(code, { ...V2, ...ext }, body), CONTEXT))!;
    return { send, pushed, puts, state };
  }

  it("pushes the reply to its requester, and stores it", async () => {
    const { send, pushed, puts } = setUp();
    const answer = await send();
    assert.equal(answer.code, 0);
    assert.deepEqual(Object.fromEntries(answer.extFields), {
      msgId: "ID",
      queueId: "0",
      queueOffset: "41",
      MSG_REGION: "DefaultRegion",
      TRACE_ON: "true",
    });
    const [request] = pushed;
    assert.equal(request!.code, 326);
    assert.deepEqual(new TextDecoder().decode(request!.body), "the answer");
    const { properties, ...fields } = Object.fromEntries(request!.extFields);
    assert.deepEqual(fields, {
      bornHost: "10.0.0.9:4711",
      storeHost: "10.0.0.1:10911",
      storeTimestamp: "1700000000500",
      producerGroup: "pg",
      topic: "c_REPLY_TOPIC",
      defaultTopic: "TBW102",
      defaultTopicQueueNums: "4",
      queueId: "0",
      sysFlag: "0",
      bornTimestamp: "1700000000000",
      flag: "3",
      reconsumeTimes: "0",
      unitMode: "false",
    });
    assert.deepEqual([...parsePropertiesText(properties!)], [
      ["REPLY_TO_CLIENT", "client-1"],
      ["CORRELATION_ID", "c1"],
      ["MSG_REGION", "DefaultRegion"],
      ["TRACE_ON", "true"],
      ["PUSH_REPLY_TIME", "1700000000500"],
    ]);
    assert.equal(puts.length, 1);
    assert.equal(puts[0]!.properties.has("PUSH_REPLY_TIME"), false);
    assert.deepEqual([puts[0]!.flag, puts[0]!.queueId], [3, 0]);
  });

  it("answers zeros when nothing is stored", async () => {
    const { send, puts } = setUp({ storeReplyMessageEnable: false });
    const answer = await send();
    assert.deepEqual([answer.code, answer.extFields.get("msgId"), answer.extFields.get("queueOffset")], [0, "0", "0"]);
    assert.equal(puts.length, 0);
    const refused = setUp();
    refused.state.putStatus = PutMessageStatus.SERVICE_NOT_AVAILABLE;
    assert.equal((await refused.send()).extFields.get("msgId"), "0");
  });

  it("says when the requester did not get it", async () => {
    const { send, puts, state } = setUp();
    const remarks = [await send({ i: "REPLY_TO_CLIENT\x01other\x02" }), await send({ i: "" })].map((answer) => {
      assert.equal(answer.code, 1);
      return answer.remark;
    });
    assert.match(remarks[0]!, /channel of "other" not found/);
    assert.match(remarks[1]!, /REPLY_TO_CLIENT/);
    state.answer = 1;
    assert.equal((await send()).code, 1);
    state.answer = new IoError("timeout", "no answer");
    assert.equal((await send()).code, 1);
    // All of them are stored.
    assert.equal(puts.length, 4);
  });

  it("refuses what a send would be refused for", async () => {
    const { send } = setUp();
    assert.equal((await send({ e: "1" })).code, 29);
    assert.equal((await send({ b: "unknown" })).code, 17);
    assert.equal((await send({ b: "SCHEDULE_TOPIC_XXXX" })).code, 16);
    await assert.rejects(send({ b: "a b" }), { code: 29 });
    assert.equal((await setUp({ startAcceptSendRequestTimeStamp: 1_800_000_000_000 }).send()).code, 1);
  });

  it("reads the long names of the first version", async () => {
    const { send, pushed } = setUp();
    const long = {
      producerGroup: "pg",
      topic: "c_REPLY_TOPIC",
      defaultTopic: "TBW102",
      defaultTopicQueueNums: "4",
      queueId: "0",
      sysFlag: "0",
      bornTimestamp: "5",
      flag: "0",
      properties: V2.i,
    };
    assert.equal((await send(long, 324)).code, 0);
    assert.equal(pushed.length, 1);
  });
});
