// Clients as administrators see them, and requests passed on to one.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { utf8 } from "../../../../src/base/bytes.ts";
import { createResponse } from "../../../../src/remoting/remoting_command.ts";
import { createMessageId } from "../../../../src/store/message_codec.ts";
import { connect, info, PUSH, subscription } from "../../client/support.ts";
import { plain, setUp } from "./support.ts";

const CONNECTION = { clientAddr: "10.0.0.2:1", clientId: "c1", language: "JAVA", version: 479 };

describe("clients", () => {
  it("203 tells a group's members and subscriptions", async () => {
    const all = setUp();
    const { ask, consumers } = all;
    assert.equal((await ask(203, { consumerGroup: "G" })).code, 206);
    consumers.registerConsumer("G", info(connect(all, "10.0.0.2:1"), "c1"), PUSH, [subscription("T", 5, "A")]);
    assert.deepEqual(plain((await ask(203, { consumerGroup: "G" })).json), {
      connectionSet: [CONNECTION],
      consumeFromWhere: "CONSUME_FROM_LAST_OFFSET",
      consumeType: "CONSUME_PASSIVELY",
      messageModel: "CLUSTERING",
      subscriptionTable: {
        T: {
          classFilterMode: false,
          codeSet: [],
          expressionType: "TAG",
          subString: "A",
          subVersion: 5,
          tagsSet: [],
          topic: "T",
        },
      },
    });
  });

  it("204 and 328 tell producers", async () => {
    const all = setUp();
    const { ask, producers } = all;
    assert.equal((await ask(204, { producerGroup: "P" })).code, 1);
    assert.deepEqual(plain((await ask(328)).json), { data: {} });
    producers.registerProducer("P", info(connect(all, "10.0.0.2:1"), "c1"));
    assert.deepEqual(plain((await ask(204, { producerGroup: "P" })).json), { connectionSet: [CONNECTION] });
    assert.deepEqual(plain((await ask(328)).json), {
      data: {
        P: [{
          clientId: "c1",
          language: "JAVA",
          lastUpdateTimestamp: all.clock.now(),
          remoteIP: "/10.0.0.2:1",
          version: 479,
        }],
      },
    });
  });

  it("343 and 345 tell what a group consumes", async () => {
    const all = setUp();
    const { ask, consumers, offsets } = all;
    offsets.commitOffset("G", "T", 0, 1);
    assert.deepEqual(plain((await ask(343, { group: "G" })).json), { brokerAddr: "10.0.0.9:10911", topicList: ["T"] });
    assert.deepEqual(plain((await ask(345, { group: "G", topic: "T" })).json), { group: "G", topic: "T" });
    consumers.registerConsumer("G", info(connect(all, "10.0.0.2:1"), "c1"), PUSH, [subscription("T")]);
    assert.equal(plain((await ask(345, { group: "G", topic: "T" })).json).subscriptionData.topic, "T");
  });
});

describe("requests passed on", () => {
  it("307 goes to the client as it came, and its answer back", async () => {
    const all = setUp();
    const { ask, consumers } = all;
    const asked = { consumerGroup: "G", clientId: "c1", jstackEnable: true };
    const offline = await ask(307, asked);
    assert.equal(offline.code, 1);
    assert.match(offline.remark!, /not online/);
    const connection = connect(all, "10.0.0.2:1");
    connection.answer = (request) =>
      Promise.resolve(createResponse(request, 0, { remark: "well", body: utf8.encode('{"a":1}') }));
    consumers.registerConsumer("G", info(connection, "c1"), PUSH, [], false);
    const answer = await ask(307, asked);
    assert.deepEqual([answer.code, answer.remark, answer.text], [0, "well", '{"a":1}']);
    assert.deepEqual(Object.fromEntries(connection.sent[0]!.extFields), {
      consumerGroup: "G",
      clientId: "c1",
      jstackEnable: "true",
    });
  });

  it("309 takes the message along", async () => {
    const all = setUp();
    const { ask, consumers, topics, store } = all;
    topics.createTopicInSendMessageMethod("T", "TBW102", 4, 0);
    const connection = connect(all, "10.0.0.2:1");
    connection.answer = (request) => Promise.resolve(createResponse(request, 0));
    consumers.registerConsumer("G", info(connection, "c1"), PUSH, [], false);
    const host = { address: new Uint8Array([10, 0, 0, 9]), port: 10911 };
    const asked = { consumerGroup: "G", clientId: "c1", topic: "T", msgId: createMessageId(host, 4096) };
    assert.equal((await ask(309, asked)).code, 1);
    store.records.set(4096, new Uint8Array([1, 2, 3]));
    assert.equal((await ask(309, asked)).code, 0);
    const [request] = connection.sent;
    assert.equal(request!.code, 309);
    assert.deepEqual([...request!.body], [1, 2, 3]);
    assert.equal(request!.extFields.get("brokerName"), "b");
    assert.equal(request!.extFields.get("topicSysFlag"), "0");
    assert.equal(request!.extFields.get("msgId"), asked.msgId);
    assert.equal((await ask(309, { ...asked, msgId: "nonsense" })).code, 1);
  });
});
