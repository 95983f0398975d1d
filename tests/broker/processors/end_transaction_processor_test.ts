// Requests 37 and 323: headers of the ends of transactions, and their answers.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RemotingError } from "../../../src/base/errors.ts";
import { SILENT_LOGGER } from "../../../src/base/logger.ts";
import { endTransactionProcessors } from "../../../src/broker/processors/end_transaction_processor.ts";
import type { TransactionEnd } from "../../../src/broker/transaction/transactional_message_service.ts";
import { createRequest, type RemotingCommand } from "../../../src/remoting/remoting_command.ts";
import type { RequestContext } from "../../../src/remoting/remoting_server.ts";
import { ManualClock } from "../../support/manual_clock.ts";

const CONTEXT = { remoteAddress: "10.0.0.9:4711" } as RequestContext;

describe("END_TRANSACTION", () => {
  const ends: TransactionEnd[] = [];
  const resumed: number[] = [];
  let failure: Error | null = null;
  let isRunning = true;
  const table = endTransactionProcessors({
    clock: new ManualClock(),
    logger: SILENT_LOGGER,
    transactions: {
      get isRunning() {
        return isRunning;
      },
      async end(request) {
        if (failure !== null) throw failure;
        ends.push(request);
      },
      async resumeCheck(offset) {
        resumed.push(offset);
      },
    },
  });
  const ext = {
    producerGroup: "pg",
    tranStateTableOffset: "5",
    commitLogOffset: "1234",
    commitOrRollback: "8",
    fromTransactionCheck: "false",
    msgId: "k1",
    transactionId: "k1",
    topic: "T",
  };
  const ask = (changes: Record<string, string | undefined> = {}) =>
    table.get(37)!(createRequest(37, { ...ext, ...changes }), CONTEXT) as Promise<RemotingCommand | null>;

  it("reads the header", async () => {
    assert.equal((await ask())!.code, 0);
    await ask({ commitOrRollback: "12", fromTransactionCheck: "true" });
    assert.deepEqual(ends, [
      {
        producerGroup: "pg",
        tranStateTableOffset: 5,
        commitLogOffset: 1234,
        outcome: "commit",
        fromTransactionCheck: false,
      },
      {
        producerGroup: "pg",
        tranStateTableOffset: 5,
        commitLogOffset: 1234,
        outcome: "rollback",
        fromTransactionCheck: true,
      },
    ]);
  });

  it("answers nothing when the producer does not know", async () => {
    assert.equal(await ask({ commitOrRollback: "0" }), null);
    assert.equal(await ask({ commitOrRollback: "4" }), null);
  });

  it("says what is wrong", async () => {
    await assert.rejects(ask({ commitLogOffset: "x" }), { code: 1, message: /"commitLogOffset" is "x", wanted/ });
    await assert.rejects(ask({ producerGroup: undefined }), { code: 1 });
    failure = new RemotingError(604, "too late");
    await assert.rejects(ask(), { code: 604 });
    failure = null;
    isRunning = false;
    assert.equal((await ask())!.code, 11);
    isRunning = true;
  });

  it("resumes the checks of a message by its offset id", async () => {
    const processor = table.get(323)!;
    const msgId = "0A01020300002A9F0000000000000102";
    assert.equal((await processor(createRequest(323, { msgId, topic: "T" }), CONTEXT))!.code, 0);
    assert.deepEqual(resumed, [258]);
    await assert.rejects(async () => await processor(createRequest(323, { msgId: "k1" }), CONTEXT), { code: 1 });
  });
});
