// Questions about messages and queues, asked of a real store: by key, by id, by time, and the bounds of queues.

import assert from "node:assert/strict";
import { after, before, describe, it } from "node:test";
import { utf8 } from "../../../src/base/bytes.ts";
import { queryMessageProcessors } from "../../../src/broker/processors/query_message_processor.ts";
import { createRequest, type ExtValues, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import { RequestCode } from "../../../src/remoting/request_code.ts";
import { ResponseCode } from "../../../src/remoting/response_code.ts";
import { decodeMessage } from "../../../src/store/message_codec.ts";
import type { MessageStore } from "../../../src/store/message_store.ts";
import { message, putOk, StoreKit } from "../../support/store_kit.ts";

const LONG_MAX = "9223372036854775807";

let kit: StoreKit;
let store: MessageStore;
const puts: { offset: number; atMs: number }[] = [];
before(async () => {
  kit = await StoreKit.create();
  store = await kit.open(kit.directory(), { mappedFileSizeCommitLog: 64 * 1024 });
  for (let i = 0; i < 8; i++) {
    const properties = new Map([["UNIQ_KEY", `u${i}`], ["KEYS", `k${i} all`]]);
    const put = putOk(store.appendMessage(message(`m${i}`, { properties, queueId: i % 2 })));
    puts.push({ offset: put.wroteOffset, atMs: put.storeTimestamp });
  }
  await store.waitDispatched();
});
after(() => kit.dispose());

async function ask(code: number, ext: ExtValues): Promise<RemotingCommand> {
  const processors = queryMessageProcessors({ config: { defaultQueryMaxNum: 3, maxMsgsNumBatch: 5 }, store });
  return (await processors.get(code)!(createRequest(code, ext), {} as RequestContext))!;
}

function query(key: string, over: ExtValues = {}): Promise<RemotingCommand> {
  const ext = { topic: "TopicTest", key, maxNum: 32, beginTimestamp: 0, endTimestamp: LONG_MAX };
  return ask(RequestCode.QUERY_MESSAGE, { ...ext, ...over });
}

function bodiesOf({ body }: RemotingCommand): string[] {
  const bodies: string[] = [];
  for (let at = 0; at < body.length;) {
    const found = decodeMessage(body, at);
    bodies.push(utf8.decode(found.body));
    at += found.storeSize;
  }
  return bodies;
}

describe("queryMessageProcessors", () => {
  it("finds messages by key, the newest of them, in the log's order", async () => {
    assert.deepEqual(bodiesOf(await query("k3")), ["m3"]);
    assert.deepEqual(bodiesOf(await query("all", { maxNum: 2 })), ["m6", "m7"]);
    assert.deepEqual(bodiesOf(await query("all")), ["m3", "m4", "m5", "m6", "m7"], "at most maxMsgsNumBatch");
    assert.deepEqual(bodiesOf(await query("u5", { maxNum: 0, _UNIQUE_KEY_QUERY: "true" })), ["m5"]);
    assert.deepEqual(bodiesOf(await query("all", { _UNIQUE_KEY_QUERY: "true" })), ["m5", "m6", "m7"]);
    const { extFields } = await query("k3");
    assert.equal(extFields.get("indexLastUpdatePhyoffset"), String(puts[7]!.offset));
    assert.equal(extFields.get("indexLastUpdateTimestamp"), String(puts[7]!.atMs));
  });

  it("says when there is none, with how far the index is", async () => {
    for (
      const answer of [await query("k9"), await query("k3", { topic: "U" }), await query("k3", { endTimestamp: 1 })]
    ) {
      assert.equal(answer.code, ResponseCode.QUERY_NOT_FOUND);
      assert.equal(answer.remark, "can not find message, maybe time range not correct");
      assert.ok(answer.extFields.has("indexLastUpdatePhyoffset"));
    }
  });

  it("shows the record at an offset, and nothing that is none", async () => {
    const found = await ask(RequestCode.VIEW_MESSAGE_BY_ID, { offset: puts[4]!.offset });
    assert.deepEqual(bodiesOf(found), ["m4"]);
    for (const offset of [puts[4]!.offset + 1, -1, store.maxOffset, LONG_MAX]) {
      const none = await ask(RequestCode.VIEW_MESSAGE_BY_ID, { offset });
      assert.equal(none.code, ResponseCode.SYSTEM_ERROR);
      assert.match(none.remark!, /^can not find message by the offset, /);
    }
  });

  it("tells bounds, times and offsets of times of a queue; 0 and -1 of one that is not there", async () => {
    const offsetOf = async (code: number, ext: ExtValues = {}) =>
      (await ask(code, { topic: "TopicTest", queueId: 1, ...ext })).extFields.get("offset");
    assert.equal(await offsetOf(RequestCode.GET_MAX_OFFSET), "4");
    assert.equal(await offsetOf(RequestCode.GET_MIN_OFFSET), "0");
    assert.equal(await offsetOf(RequestCode.GET_MAX_OFFSET, { queueId: 7 }), "0");
    assert.equal(await offsetOf(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, { timestamp: 0 }), "0");
    assert.equal(await offsetOf(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, { timestamp: LONG_MAX }), "4");
    const upper = { timestamp: LONG_MAX, boundaryType: "upper" };
    assert.equal(await offsetOf(RequestCode.SEARCH_OFFSET_BY_TIMESTAMP, upper), "3");
    const timeOf = async (queueId: number) =>
      (await ask(RequestCode.GET_EARLIEST_MSG_STORETIME, { topic: "TopicTest", queueId })).extFields.get("timestamp");
    assert.deepEqual([await timeOf(1), await timeOf(7)], [String(puts[1]!.atMs), "-1"]);
  });

  it("refuses what is no number, or missing", async () => {
    const wrong: [number, ExtValues][] = [
      [RequestCode.QUERY_MESSAGE, { topic: "T", key: "k", maxNum: "x", beginTimestamp: 0, endTimestamp: 1 }],
      [RequestCode.QUERY_MESSAGE, { topic: "T", key: "k", maxNum: 1, beginTimestamp: 0 }],
      [RequestCode.VIEW_MESSAGE_BY_ID, { offset: "1e3" }],
      [RequestCode.GET_MAX_OFFSET, { topic: "T", queueId: "" }],
    ];
    for (const [code, ext] of wrong) {
      await assert.rejects(async () => await ask(code, ext), (error: { code?: number }) => {
        assert.equal(error.code, ResponseCode.SYSTEM_ERROR);
        return true;
      });
    }
  });
});
