import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { type Logger, SILENT_LOGGER } from "../../src/base/logger.ts";
import { PutMessageService, type PutReplication } from "../../src/broker/put_message_service.ts";
import type { AppendMessageResult, BatchToPut, MessageToPut } from "../../src/store/types.ts";
import { MemoryLogger } from "../support/ha_options.ts";
import { message } from "../support/store_fixtures.ts";

/** Writes down what is appended, by queue id, a batch's in brackets; queue 9 is refused. */
class FakeStore {
  readonly calls: string[] = [];
  #offset = 0;

  appendMessages(messages: readonly (MessageToPut | BatchToPut)[]): AppendMessageResult[] {
    this.calls.push(messages.map((one) => "batchBody" in one ? `[${one.message.queueId}]` : one.queueId).join(","));
    return messages.map((one) => this.#result(("batchBody" in one ? one.message : one).queueId));
  }

  waitStored(): Promise<boolean> {
    throw new Error("not asked");
  }

  #result(queueId: number): AppendMessageResult {
    if (queueId === 9) return { status: "MESSAGE_ILLEGAL", remark: "nine" };
    const wroteOffset = this.#offset;
    this.#offset += 100;
    const status = "PUT_OK";
    return { status, wroteOffset, wroteBytes: 100, msgIds: [""], storeTimestamp: 0, logicsOffset: 0, msgNum: 1 };
  }
}

function service(replication: Partial<PutReplication> = {}, logger: Logger = SILENT_LOGGER) {
  const store = new FakeStore();
  const puts = new PutMessageService({
    store,
    replication: { beforePut: () => null, handleHA: () => "PUT_OK", ...replication },
    options: { flushDiskType: "ASYNC_FLUSH", syncFlushTimeout: 0 },
    logger,
  });
  const put = (queueId: number) => puts.putMessage(message({ queueId }));
  return { store, puts, put };
}

describe("PutMessageService", () => {
  it("writes what is put in one turn together, in order, each with its own outcome", async () => {
    const ends: number[] = [];
    const handleHA = (end: number) => {
      ends.push(end);
      return "PUT_OK" as const;
    };
    const { store, puts, put } = service({ handleHA });
    const results = await Promise.all([put(1), put(9), put(2)]);
    assert.deepEqual(results.map(({ status }) => status), ["PUT_OK", "MESSAGE_ILLEGAL", "PUT_OK"]);
    assert.deepEqual(ends, [100, 200]);
    await put(3);
    assert.deepEqual(store.calls, ["1,9,2", "3"]);
    assert.equal(puts.counters.messages, 3);
  });

  it("writes messages and batches of one turn together, in their order", async () => {
    const { store, puts, put } = service();
    const putBatch = (queueId: number) =>
      puts.putBatch({ message: message({ queueId }), batchBody: new Uint8Array(0) });
    const results = await Promise.all([put(1), putBatch(2), putBatch(9), put(3)]);
    assert.deepEqual(store.calls, ["1,[2],[9],3"]);
    assert.deepEqual(results.map(({ status }) => status), ["PUT_OK", "PUT_OK", "MESSAGE_ILLEGAL", "PUT_OK"]);
  });

  it("writes nothing any more once it is fenced, not even what was put in the same turn", async () => {
    const { store, puts, put } = service();
    const before = put(1);
    puts.setFenced(true);
    assert.equal((await before).status, "SERVICE_NOT_AVAILABLE");
    assert.equal((await put(2)).status, "SERVICE_NOT_AVAILABLE");
    puts.setFenced(false);
    assert.equal((await put(3)).status, "PUT_OK");
    assert.deepEqual(store.calls.filter((call) => call !== ""), ["3"]);
  });

  it("warns of being fenced, as nothing is put any more, and tells of its end", () => {
    const logger = new MemoryLogger();
    const { puts } = service({}, logger);
    puts.setFenced(true, "Started read-only: why");
    puts.setFenced(true, "Started read-only: why");
    puts.setFenced(false);
    assert.deepEqual(logger.lines.map(({ level, message }) => [level, message]), [
      ["warn", "Started read-only: why"],
      ["info", "Puts are taken again"],
    ]);
  });

  it("rejects all puts of a turn for a bug", async () => {
    const { put } = service({
      handleHA: () => {
        throw new TypeError("a bug");
      },
    });
    const results = await Promise.allSettled([put(1), put(2)]);
    assert.deepEqual(results.map(({ status }) => status), ["rejected", "rejected"]);
  });
});
