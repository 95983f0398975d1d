// What the broker says to clients, and what it makes of their answers.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { utf8 } from "../../../src/base/bytes.ts";
import { IoError, RemotingError } from "../../../src/base/errors.ts";
import { allocateQueues } from "../../../src/broker/client/load_balance.ts";
import { createResponse } from "../../../src/remoting/remoting_command.ts";
import { RequestCode } from "../../../src/remoting/request_code.ts";
import { ResponseCode } from "../../../src/remoting/response_code.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { connect, FakeConnection, info, managers, PUSH } from "./support.ts";

let all: ReturnType<typeof managers>;
let a: FakeConnection;

beforeEach(() => {
  all = managers(new ManualClock());
  a = connect(all, "10.0.0.1:1");
});

function join(connection: FakeConnection, clientId: string, version = 479): void {
  all.consumers.registerConsumer("g", info(connection, clientId, version), PUSH, [], false);
}

async function refused(action: () => unknown): Promise<[number, string]> {
  try {
    await action();
  } catch (error) {
    if (error instanceof RemotingError) return [error.code, error.message];
    throw error;
  }
  return [0, ""];
}

describe("Broker2Client", () => {
  it("says nothing on a connection that is gone", () => {
    a.closed = true;
    all.broker2Client.notifyConsumerIdsChanged(a.asConnection, "g");
    assert.equal(all.broker2Client.checkProducerTransactionState(a.asConnection, HEADER, new Uint8Array(3)), false);
    assert.equal(a.sent.length, 0);
  });

  const HEADER = { tranStateTableOffset: 5, commitLogOffset: 1000, msgId: "M", transactionId: null, topic: "T" };

  it("asks a producer about a transaction", () => {
    assert.equal(all.broker2Client.checkProducerTransactionState(a.asConnection, HEADER, new Uint8Array(3)), true);
    const [request] = a.sent;
    assert.equal(request!.code, RequestCode.CHECK_TRANSACTION_STATE);
    assert.deepEqual(Object.fromEntries(request!.extFields), {
      tranStateTableOffset: "5",
      commitLogOffset: "1000",
      msgId: "M",
      topic: "T",
    });
    assert.equal(request!.body.length, 3);
  });

  it("sends every member of a group elsewhere, in Java's form and in that of C++", async () => {
    const reset = (isC: boolean) => all.broker2Client.resetOffset("T", "g", -1, true, new Map([[0, 5], [3, 70]]), isC);
    assert.deepEqual(await refused(() => reset(false)), [
      ResponseCode.CONSUMER_NOT_ONLINE,
      "Consumer not online, so can not reset offset, Group: g Topic: T Timestamp: -1",
    ]);
    join(a, "A");
    reset(false);
    reset(true);
    assert.deepEqual(Object.fromEntries(a.sent[0]!.extFields), {
      topic: "T",
      group: "g",
      timestamp: "-1",
      isForce: "true",
    });
    assert.deepEqual(a.sent.map((request) => [request.code, utf8.decode(request.body)]), [
      [
        220,
        '{"offsetTable":{{"brokerName":"b","queueId":0,"topic":"T"}:5,{"brokerName":"b","queueId":3,"topic":"T"}:70}}',
      ],
      [
        220,
        '{"offsetTable":[{"brokerName":"b","offset":5,"queueId":0,"topic":"T"},{"brokerName":"b","offset":70,"queueId":3,"topic":"T"}]}',
      ],
    ]);
    const old = connect(all, "10.0.0.2:2");
    join(old, "OLD", 27);
    assert.equal((await refused(() => reset(false)))[0], ResponseCode.SYSTEM_ERROR);
    assert.equal(a.sent.length, 2, "nobody is told when one can't be");
  });

  it("collects where the members are, without those that do not say", async () => {
    assert.equal((await refused(() => all.broker2Client.getConsumeStatus("T", "g", null)))[0], 1);
    const table = '{"messageQueueTable":{{"brokerName":"b","queueId":0,"topic":"T"}:12}}';
    a.answer = (request) => Promise.resolve(createResponse(request, 0, { body: utf8.encode(table) }));
    const [silent, broken, other] = ["2", "3", "4"].map((last) => connect(all, `10.0.0.${last}:1`));
    silent!.answer = () => Promise.reject(new IoError("timeout", "No answer"));
    broken!.answer = (request) => Promise.resolve(createResponse(request, 0, { body: utf8.encode("{") }));
    other!.answer = (request) => Promise.resolve(createResponse(request, 0, { body: utf8.encode("{}") }));
    [a, silent!, broken!, other!].forEach((connection, index) => join(connection, "ABCD"[index]!));
    const status = async (clientId: string | null) =>
      utf8.decode(await all.broker2Client.getConsumeStatus("T", "g", clientId));
    assert.equal(
      await status(null),
      '{"consumerTable":{"A":{{"brokerName":"b","queueId":0,"topic":"T"}:12},"D":{}},"messageQueueTable":{}}',
    );
    assert.equal(await status("D"), '{"consumerTable":{"D":{}},"messageQueueTable":{}}');
    assert.equal(a.sent.length, 1);
    assert.deepEqual(Object.fromEntries(a.sent[0]!.extFields), { topic: "T", group: "g" });
  });

  it("forwards a request to one member and gives its answer back", async () => {
    const call = (clientId = "A") =>
      all.broker2Client.callClient("g", clientId, { code: 307, ext: { consumerGroup: "g", clientId } });
    assert.deepEqual(await refused(() => call()), [1, "The Consumer <g> <A> not online"]);
    join(a, "A");
    let limitMs = 0;
    a.answer = (request, timeoutMs) => {
      limitMs = timeoutMs;
      return Promise.resolve(createResponse(request, 0, { body: utf8.encode("running") }));
    };
    assert.equal(utf8.decode((await call()).body), "running");
    assert.equal(limitMs, 10_000);
    assert.deepEqual(Object.fromEntries(a.sent[0]!.extFields), { consumerGroup: "g", clientId: "A" });
    a.answer = () => Promise.reject(new IoError("timeout", "No answer"));
    assert.equal((await refused(() => call()))[0], ResponseCode.CONSUME_MSG_TIMEOUT);
    a.answer = () => Promise.reject(new IoError("closed", "Gone"));
    assert.equal((await refused(() => call()))[0], ResponseCode.SYSTEM_ERROR);
    const old = connect(all, "10.0.0.2:2");
    join(old, "OLD", 61);
    assert.equal((await refused(() => call("OLD")))[0], ResponseCode.SYSTEM_ERROR);
  });
});

describe("allocateQueues", () => {
  const queues = Array.from({ length: 8 }, (_, queueId) => ({ topic: "T", brokerName: "b", queueId }));
  const share = (strategy: string, queueCount: number, members: number) =>
    Array.from(
      { length: members },
      (_, index) =>
        allocateQueues(
          strategy,
          queues.slice(0, queueCount),
          Array.from({ length: members }, (_, i) => `c${i}`),
          `c${index}`,
        )!
          .map((queue) => queue.queueId).join(""),
    );

  it("shares as Apache's clients do", () => {
    assert.deepEqual(share("AVG", 8, 3), ["012", "345", "67"]);
    assert.deepEqual(share("AVG", 8, 2), ["0123", "4567"]);
    assert.deepEqual(share("AVG", 2, 3), ["0", "1", ""]);
    assert.deepEqual(share("AVG", 0, 2), ["", ""]);
    assert.deepEqual(share("AVG_BY_CIRCLE", 8, 3), ["036", "147", "25"]);
    assert.deepEqual(share("AVG_BY_CIRCLE", 2, 3), ["0", "1", ""]);
    assert.equal(allocateQueues("MACHINE_ROOM", queues, ["c"], "c"), null);
    assert.deepEqual(allocateQueues("AVG", queues, ["c"], "d"), []);
  });
});
