// Transactions among fakes: half, commit, rollback, checks, restarts in between, and what Apache would do twice.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { deferred } from "../../../src/base/async.ts";
import { IoError } from "../../../src/base/errors.ts";
import {
  answerTo,
  bodies,
  endOf,
  HALF,
  OP,
  SET_ASIDE,
  settle,
  transactional,
  TransactionKit,
} from "./transaction_kit.ts";

describe("half messages", () => {
  it("are stored as Apache stores them", () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = service.prepareHalfMessage(transactional("k1", 5, { TRANSACTION_CHECK_TIMES: "9" }));
    assert.deepEqual([half.topic, half.queueId, half.sysFlag, half.flag], [HALF, 0, 0x1, 7]);
    assert.deepEqual([...half.properties], [
      ["TRAN_MSG", "true"],
      ["PGROUP", "pg"],
      ["UNIQ_KEY", "k1"],
      ["TAGS", "a"],
      ["__transactionId__", "k1"],
      ["REAL_TOPIC", "T"],
      ["REAL_QID", "3"],
    ]);
  });

  it("arm a check; at rest there is no timer", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    assert.equal(kit.clock.timers, 0);
    const half = kit.half(service, "k1");
    assert.equal(kit.clock.timers, 1);
    await service.end(endOf(half, "commit"));
    await kit.advance(3000);
    await kit.advance(27_000);
    assert.equal(kit.clock.timers, 0);
    assert.equal(service.openCount, 0);
    await service.stop();
  });
});

describe("the end of a transaction", () => {
  it("commits: the message at its real place, then an op record", async () => {
    const kit = new TransactionKit();
    const committed: string[] = [];
    const service = kit.service({ onCommitted: (message) => committed.push(message.topic) });
    service.start();
    const half = kit.half(service, "k1");
    await service.end(endOf(half, "commit"));
    const [message] = kit.log.of("T");
    assert.deepEqual(
      [message!.queueId, message!.sysFlag, message!.flag, message!.preparedTransactionOffset, message!.bornTimestamp],
      [3, 0x9, 7, half.physicalOffset, half.bornTimestamp],
    );
    assert.deepEqual([...message!.properties], [...half.properties]);
    assert.equal(kit.log.options.at(-1)?.skipHooks, undefined);
    assert.deepEqual(committed, ["T"]);
    assert.deepEqual(kit.log.of(OP), []);
    await kit.advance(3000);
    const [op] = kit.log.of(OP);
    assert.deepEqual(bodies([op!]), ["0,"]);
    assert.equal(op!.properties.get("TAGS"), "d");
    await service.stop();
  });

  it("rolls back: an op record and nothing else", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    await service.end(endOf(kit.half(service, "k1"), "rollback"));
    await service.end(endOf(kit.half(service, "k2"), "rollback"));
    await service.stop();
    assert.deepEqual(kit.log.of("T"), []);
    assert.deepEqual(bodies(kit.log.of(OP)), ["0,1,"]);
    assert.equal(service.counters.rolledBack, 2);
  });

  it("writes op records of a limited size, and soon when there are many", async () => {
    const kit = new TransactionKit();
    kit.config.transactionOpMsgMaxSize = 64;
    const service = kit.service();
    service.start();
    for (let i = 0; i < 50; i++) await service.end(endOf(kit.half(service, `k${i}`), "rollback"));
    await settle();
    const early = bodies(kit.log.of(OP));
    assert.ok(early.length > 0 && early.every((body) => body.length <= 64));
    await service.stop();
    assert.deepEqual(kit.notedAsEnded(), Array.from({ length: 50 }, (_, i) => i));
  });

  it("refuses what is no half message, or another one", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1");
    kit.log.putMessage({ ...transactional("k2", 1), sysFlag: 0 });
    const normal = kit.log.messages.at(-1)!;
    const good = endOf(half, "commit");
    await assert.rejects(service.end({ ...good, commitLogOffset: 77 }), { code: 1, message: /Find prepared/ });
    await assert.rejects(service.end({ ...endOf(normal, "commit") }), { code: 1, message: /Find prepared/ });
    await assert.rejects(service.end({ ...good, producerGroup: "x" }), { code: 1, message: /producer group/ });
    await assert.rejects(service.end({ ...good, tranStateTableOffset: 5 }), { code: 1, message: /state table offset/ });
    assert.deepEqual(kit.log.of("T").length, 1);
    await service.stop();
    await assert.rejects(service.end(good), { code: 11 });
  });

  it("comes too late once an immune transaction's time is over, unless it was asked for", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1", { CHECK_IMMUNITY_TIME_IN_SECONDS: "10" });
    kit.clock.advance(10_001);
    await assert.rejects(service.end(endOf(half, "commit")), { code: 604 });
    await service.end(endOf(half, "commit", true));
    assert.equal(kit.log.of("T").length, 1);
    await service.stop();
  });

  it("leaves the transaction open when the message can't be put", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1");
    kit.log.refusal = "SERVICE_NOT_AVAILABLE";
    await assert.rejects(service.end(endOf(half, "commit")), { code: 14 });
    kit.log.refusal = null;
    await service.end(endOf(half, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await service.stop();
    assert.deepEqual(bodies(kit.log.of(OP)), ["0,"]);
  });

  it("happens once, however often it is said, also at the same time", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1");
    const wait = deferred<void>();
    kit.log.beforeAnswer = wait.promise;
    const both = [service.end(endOf(half, "commit")), service.end(endOf(half, "commit"))];
    await settle();
    wait.resolve();
    await Promise.all(both);
    await service.end(endOf(half, "rollback"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    assert.deepEqual([service.counters.committed, service.counters.repeated], [1, 2]);
    await service.stop();
  });
});

describe("a check", () => {
  it("asks the producer, at the place where the half message stands now", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1");
    await kit.advance(30_000);
    const [question] = kit.questions;
    const copy = kit.log.of(HALF)[1]!;
    assert.deepEqual(question!.header, {
      topic: HALF,
      tranStateTableOffset: 1,
      commitLogOffset: copy.physicalOffset,
      msgId: "k1",
      transactionId: "k1",
      offsetMsgId: copy.msgId,
      bname: "b",
    });
    const { message } = question!;
    assert.deepEqual([message.topic, message.queueId, message.queueOffset, message.physicalOffset], [
      "T",
      3,
      1,
      copy.physicalOffset,
    ]);
    assert.deepEqual([message.bornTimestamp, message.storeTimestamp], [half.bornTimestamp, half.storeTimestamp]);
    assert.equal(message.properties.get("TRANSACTION_CHECK_TIMES"), "1");
    assert.deepEqual([copy.flag, copy.properties.get("TRAN_PREPARED_QUEUE_OFFSET")], [7, "0"]);
    assert.deepEqual(kit.log.options.at(-1), { skipHooks: true, noWait: true });

    await service.end(answerTo(question!, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    assert.equal(kit.clock.timers, 0);
    assert.deepEqual([kit.offsets.get(HALF), kit.offsets.get(OP)], [2, 1]);
    await service.stop();
  });

  it("leaves young ones alone, and passes those that are ended", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const halves = ["k1", "k2", "k3"].map((key) => kit.half(service, key));
    await service.end(endOf(halves[0]!, "commit"));
    await service.end(endOf(halves[2]!, "rollback"));
    await kit.advance(25_000);
    kit.half(service, "young");
    await kit.advance(5000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["k2"]);
    // The op record speaks of nothing that is still to come.
    assert.deepEqual([kit.offsets.get(HALF), kit.offsets.get(OP)], [3, 1]);
    await kit.advance(30_000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["k2", "young", "k2"]);
    await service.stop();
  });

  it("asks so often, then sets the message aside; it can be resumed", async () => {
    const kit = new TransactionKit();
    kit.config.transactionCheckMax = 3;
    const service = kit.service();
    service.start();
    kit.half(service, "k1");
    for (let i = 0; i < 6; i++) await kit.advance(30_000);
    assert.equal(kit.questions.length, 3);
    assert.deepEqual(kit.createdTopics, [SET_ASIDE]);
    const [aside] = kit.log.of(SET_ASIDE);
    assert.deepEqual([bodies([aside!])[0], aside!.properties.get("REAL_TOPIC"), aside!.queueId], ["k1", "T", 0]);
    assert.equal(kit.clock.timers, 0);

    await service.resumeCheck(aside!.physicalOffset);
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 4);
    await service.end(answerTo(kit.questions[3]!, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await assert.rejects(service.resumeCheck(kit.log.of("T")[0]!.physicalOffset), { code: 1 });
    await assert.rejects(service.resumeCheck(5), { code: 1 });
    await service.stop();
  });

  it("sets aside what is older than the files are kept, unasked", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    kit.half(service, "k1");
    kit.log.refusal = "SERVICE_NOT_AVAILABLE";
    await kit.advance(30_000);
    kit.log.refusal = null;
    kit.clock.advance(72 * 3_600_000);
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 0);
    assert.equal(kit.log.of(SET_ASIDE).length, 1);
    await service.stop();
  });

  it("puts an immune one back unasked, until its time is over", async () => {
    const kit = new TransactionKit();
    kit.config.transactionCheckMax = 2;
    const service = kit.service();
    service.start();
    kit.half(service, "k1", { CHECK_IMMUNITY_TIME_IN_SECONDS: "100" });
    for (let i = 0; i < 3; i++) await kit.advance(30_000);
    assert.equal(kit.questions.length, 0);
    assert.equal(kit.log.of(HALF).length, 4);
    assert.equal(kit.log.of(HALF)[3]!.properties.get("TRAN_PREPARED_QUEUE_OFFSET"), "0");
    // Apache has counted three checks by now, and would set it aside.
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    await service.stop();
  });

  it("sees an immune one's end, though that names its first half message", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1", { CHECK_IMMUNITY_TIME_IN_SECONDS: "100" });
    await kit.advance(30_000);
    await service.end(endOf(half, "commit"));
    for (let i = 0; i < 5; i++) await kit.advance(30_000);
    assert.deepEqual([kit.questions.length, kit.log.of(HALF).length], [0, 2]);
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    // For an Apache broker that goes on from here both are ended.
    assert.deepEqual(bodies(kit.log.of(OP)), ["0,1,"]);
    await service.stop();
  });

  it("does not deliver twice when a late commit and the answer to a check cross", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1");
    await kit.advance(30_000);
    await service.end(endOf(half, "commit"));
    await service.end(answerTo(kit.questions[0]!, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await kit.advance(30_000);
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    await service.stop();
  });

  it("tries again when puts are refused, and loses nothing", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const halves = ["k1", "k2"].map((key) => kit.half(service, key));
    await service.end(endOf(halves[0]!, "rollback"));
    kit.log.refusal = "SERVICE_NOT_AVAILABLE";
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 0);
    kit.log.refusal = null;
    await kit.advance(30_000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["k2"]);
    assert.deepEqual(bodies(kit.log.of(OP)), ["0,"]);
    await service.stop();
  });

  it("asks once about one that is too large to be put again, and goes on", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "large");
    kit.half(service, "k2");
    kit.log.isIllegal = (message) => message.topic === HALF && message.properties.get("UNIQ_KEY") === "large";
    await kit.advance(30_000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["large", "k2"]);
    assert.equal(kit.questions[0]!.header.commitLogOffset, half.physicalOffset);
    await service.end(answerTo(kit.questions[0]!, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["large"]);
    await service.stop();
  });

  it("goes on after an error of the disk; another error is the broker's end", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    kit.half(service, "k1");
    const { getMessage } = kit.log;
    kit.log.getMessage = () => Promise.reject(new IoError("other", "no disk"));
    await kit.advance(30_000);
    assert.deepEqual([kit.questions.length, kit.errors.length], [0, 0]);
    kit.log.getMessage = getMessage;
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    kit.log.getMessage = () => Promise.reject(new TypeError("bug"));
    await kit.advance(30_000);
    assert.equal(kit.errors.length, 1);
    kit.log.getMessage = getMessage;
    await service.stop();
  });

  it("asks nobody when no producer is there, and counts that as asked", async () => {
    const kit = new TransactionKit();
    kit.hasProducer = false;
    const service = kit.service();
    service.start();
    kit.half(service, "k1");
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 0);
    assert.equal(kit.log.of(HALF)[1]!.properties.get("TRANSACTION_CHECK_TIMES"), "1");
    await service.stop();
  });
});

describe("another life", () => {
  it("goes on where the last one stopped", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const halves = ["k1", "k2", "k3"].map((key) => kit.half(first, key));
    await first.end(endOf(halves[0]!, "commit"));
    await first.stop();
    const second = kit.service();
    second.start();
    assert.equal(kit.clock.timers, 1);
    await second.end(endOf(halves[1]!, "commit"));
    await kit.advance(30_000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["k3"]);
    assert.deepEqual(bodies(kit.log.of("T")), ["k1", "k2"]);
    await second.stop();
    assert.equal(kit.clock.timers, 0);
  });

  it("reads the op records of 4.9 and 5.x, and skips what is none", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    for (const key of ["k0", "k1", "k2", "k3", "k4"]) kit.half(first, key);
    const op = (body: string, tag = "d") =>
      kit.log.putMessage({
        ...transactional("op", 1),
        topic: OP,
        sysFlag: 0,
        body: new TextEncoder().encode(body),
        properties: new Map([["TAGS", tag]]),
      });
    op("0");
    op("1,2,");
    op("3,", "x");
    op("");
    op("nonsense,9223372036854775807,-1,");
    await first.stop();
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["k3", "k4"]);
    assert.deepEqual([kit.offsets.get(HALF), kit.offsets.get(OP)], [5, 5]);
    await second.stop();
  });

  it("does not deliver again what a crash forgot to note as ended", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    kit.half(first, "k2");
    await first.end(endOf(half, "commit"));
    // The crash comes before the op record is written. An Apache broker asks about k1, and delivers it again.
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["k2"]);
    await kit.advance(3000);
    assert.deepEqual(bodies(kit.log.of(OP)), ["0,"]);
    // Nor when the answer to a question of the last life comes.
    await second.end(endOf(half, "commit", true));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await second.stop();
  });

  it("knows a commit under another half message of the transaction", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    kit.half(first, "k1");
    await kit.advance(30_000);
    await first.end(answerTo(kit.questions[0]!, "commit"));
    // Neither op record nor progress survived: both half messages look open.
    kit.offsets.clear();
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await second.stop();
  });

  it("knows a commit under a half message that Apache put back, which does not name the first one", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    await first.end(endOf(half, "commit"));
    kit.apachePutsBack(half, 1);
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    assert.deepEqual([kit.questions.length, kit.log.of("T").length, kit.log.of(HALF).length], [0, 1, 2]);
    await second.stop();
  });

  it("delivers once what Apache put back and left open in several copies", async () => {
    for (const isFirstLeft of [true, false]) {
      const kit = new TransactionKit();
      const first = kit.service();
      first.start();
      const half = kit.half(first, "k1");
      for (const times of [1, 2]) kit.apachePutsBack(half, times);
      if (!isFirstLeft) kit.offsets.set(HALF, 1);
      const second = kit.service();
      second.start();
      await kit.advance(30_000);
      // All are asked about before an answer is here; the answers come at the same time.
      assert.equal(kit.questions.length, isFirstLeft ? 3 : 2);
      await Promise.all(kit.questions.map((question) => second.end(answerTo(question, "commit"))));
      assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
      await kit.advance(30_000);
      assert.equal(kit.questions.length, isFirstLeft ? 3 : 2);
      assert.equal(second.openCount, 0);
      await second.stop();
      // Each of them is noted, whoever looks.
      const noted = new Set(kit.notedAsEnded());
      const copies = kit.log.of(HALF).map(({ queueOffset }) => queueOffset).filter((offset) => offset >= 3);
      assert.deepEqual(copies.filter((offset) => !noted.has(offset)), []);
    }
  });

  it("delivers once what has several copies, though only one answer comes, and over another crash", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    for (const times of [1, 2]) kit.apachePutsBack(half, times);
    kit.offsets.set(HALF, 1);
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 2);
    // Killed with nothing answered; the copies of this life name a copy of Apache's.
    const third = kit.service();
    third.start();
    await kit.advance(30_000);
    // The producer says by itself how it ended, late, and then answers.
    await third.end(endOf(half, "commit"));
    for (const question of kit.questions) await third.end(answerTo(question, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await kit.advance(30_000);
    await third.stop();
    const fourth = kit.service();
    fourth.start();
    const asked = kit.questions.length;
    await kit.advance(30_000);
    assert.deepEqual([kit.questions.length, kit.log.of("T").length], [asked, 1]);
    await fourth.stop();
  });

  it("notes all copies as ended, with one answer", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    for (const times of [1, 2]) kit.apachePutsBack(half, times);
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    assert.equal(kit.log.of(HALF).length, 6);
    await second.end(answerTo(kit.questions[0]!, "rollback"));
    await second.stop();
    assert.deepEqual([...new Set(kit.notedAsEnded())].sort(), [3, 4, 5]);
  });

  it("knows that what was set aside and resumed is one transaction", async () => {
    const kit = new TransactionKit();
    kit.config.transactionCheckMax = 1;
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    for (const times of [1, 2]) kit.apachePutsBack(half, times);
    kit.offsets.set(HALF, 1);
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    const aside = kit.log.of(SET_ASIDE);
    assert.equal(aside.length, 2);
    for (const { physicalOffset } of aside) await second.resumeCheck(physicalOffset);
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 2);
    for (const question of kit.questions) await second.end(answerTo(question, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k1"]);
    await second.stop();
  });

  it("takes a half message for ended once a copy of it is, whichever comes first", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    const copy = kit.apachePutsBack(half, 1);
    const second = kit.service();
    second.start();
    await second.end(endOf(copy, "rollback", true));
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 0);
    await second.end(endOf(half, "commit"));
    assert.deepEqual(kit.log.of("T"), []);
    await second.stop();
  });

  it("delivers each of two transactions with one and the same message object", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const halves = [kit.half(first, "same"), kit.half(first, "same")];
    await first.end(endOf(halves[0]!, "commit"));
    const second = kit.service();
    second.start();
    await second.end(endOf(halves[1]!, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["same", "same"]);
    await second.stop();
  });

  it("waits for an index that is being made whole, and does without one that is switched off", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    kit.log.isIndexComplete = false;
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 0);
    await assert.rejects(second.end(endOf(half, "commit")), { code: 2 });
    kit.config.messageIndexEnable = false;
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    assert.equal(kit.log.queries, 0);
    await second.stop();
  });

  it("does not wait for ever for an index", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    kit.half(first, "k1");
    kit.log.isIndexComplete = false;
    const second = kit.service();
    second.start();
    for (let i = 0; i < 19; i++) await kit.advance(30_000);
    assert.equal(kit.questions.length, 0);
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    await second.stop();
  });

  it("asks again about a rollback that a crash lost, and takes the answer", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    const half = kit.half(first, "k1");
    await first.end(endOf(half, "rollback"));
    const second = kit.service();
    second.start();
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    await second.end(answerTo(kit.questions[0]!, "rollback"));
    await kit.advance(30_000);
    assert.deepEqual([kit.questions.length, kit.log.of("T").length], [1, 0]);
    await second.stop();
  });

  it("forgets all it knew when the same broker is a master again, as its log may be another", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    const half = kit.half(service, "k1");
    await service.end(endOf(half, "rollback"));
    await service.stop();
    kit.log.cut(kit.log.messages.length);
    service.start();
    const other = kit.half(service, "k2");
    assert.equal(other.queueOffset, half.queueOffset);
    await service.end(endOf(other, "commit"));
    assert.deepEqual(bodies(kit.log.of("T")), ["k2"]);
    await service.stop();
  });
});

describe("progress", () => {
  it("is told to others only as far as the slaves hold what it rests on", async () => {
    const kit = new TransactionKit();
    const service = kit.service();
    service.start();
    kit.replicatedOffset = 0;
    kit.half(service, "k1");
    await kit.advance(30_000);
    assert.equal(kit.questions.length, 1);
    assert.equal(kit.offsets.get(HALF), undefined);
    kit.replicatedOffset = kit.log.maxOffset;
    await service.end(answerTo(kit.questions[0]!, "commit"));
    await kit.advance(30_000);
    // The op record of just now is not there yet.
    assert.deepEqual([kit.offsets.get(HALF), kit.offsets.get(OP)], [1, 0]);
    kit.replicatedOffset = kit.log.maxOffset;
    await kit.advance(30_000);
    assert.deepEqual([kit.offsets.get(HALF), kit.offsets.get(OP)], [2, 1]);
    assert.equal(kit.clock.timers, 0);
    await service.stop();
  });

  it("lies within the queues, whatever the file says", async () => {
    const kit = new TransactionKit();
    const first = kit.service();
    first.start();
    kit.half(first, "k1");
    kit.offsets.set(HALF, 77).set(OP, 99);
    const second = kit.service();
    second.start();
    assert.equal(second.openCount, 0);
    kit.half(second, "k2");
    await kit.advance(30_000);
    assert.deepEqual(kit.questions.map(({ header }) => header.msgId), ["k2"]);
    await second.stop();
  });
});
