// Consumers by heartbeat: who is told of what, what the last heartbeat changes, who is forgotten when.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { RemotingError } from "../../../src/base/errors.ts";
import { ResponseCode } from "../../../src/remoting/response_code.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { connect, FakeConnection, info, managers, PUSH, subscription } from "./support.ts";

let clock: ManualClock;
let all: ReturnType<typeof managers>;
let a: FakeConnection;
let b: FakeConnection;

beforeEach(() => {
  clock = new ManualClock();
  all = managers(clock);
  a = connect(all, "10.0.0.1:1");
  b = connect(all, "10.0.0.2:2");
});

function beat(connection: FakeConnection, clientId: string, topics: string[], subVersion = 1): boolean {
  const subs = topics.map((topic) => subscription(topic, subVersion));
  return all.consumers.registerConsumer("g", info(connection, clientId), PUSH, subs);
}

describe("ConsumerManager", () => {
  it("tells every member, the new one too, when one comes; nobody when it beats again", () => {
    assert.equal(beat(a, "A", ["T"]), true);
    assert.deepEqual(a.takeSent(), ["40 g"]);
    assert.equal(beat(b, "B", ["T"]), true);
    assert.deepEqual([a.takeSent(), b.takeSent()], [["40 g"], ["40 g"]]);
    assert.equal(beat(a, "A", ["T"]), false);
    assert.deepEqual([a.takeSent(), b.takeSent()], [[], []]);
    const group = all.consumers.getConsumerGroupInfo("g")!;
    assert.deepEqual(group.clientIds(), ["A", "B"]);
    assert.deepEqual(group.channels().map((one) => one.connection.remoteAddress), ["10.0.0.1:1", "10.0.0.2:2"]);
    assert.deepEqual(all.consumers.groupNames(), ["g"]);
    assert.equal(all.consumers.findChannel("g", "B")!.version, 479);
    assert.equal(all.consumers.findChannel("g", "C"), null);
    assert.equal(all.consumers.findChannelByConnection("g", a.asConnection)!.clientId, "A");
  });

  it("takes the topics of the last heartbeat for the whole group; a later version replaces silently", () => {
    beat(a, "A", ["T", "%RETRY%g"]);
    a.takeSent();
    assert.equal(beat(a, "A", ["T", "%RETRY%g"], 5), false);
    assert.equal(all.consumers.findSubscriptionData("g", "T")!.subVersion, 5);
    assert.equal(beat(a, "A", ["T", "%RETRY%g"], 4), false);
    assert.equal(all.consumers.findSubscriptionData("g", "T")!.subVersion, 5, "an older one is not taken");
    assert.equal(beat(a, "A", ["U", "%RETRY%g"], 6), true);
    assert.deepEqual(a.takeSent(), ["40 g"]);
    assert.equal(all.consumers.findSubscriptionData("g", "T"), null);
    assert.deepEqual([...all.consumers.getConsumerGroupInfo("g")!.subscriptions().keys()].sort(), ["%RETRY%g", "U"]);
    assert.deepEqual(all.consumers.queryTopicConsumeByWho("U"), ["g"]);
    assert.deepEqual(all.consumers.queryTopicConsumeByWho("T"), []);
  });

  it("does not tell broadcast groups, nor groups or brokers that want it so", () => {
    all.consumers.registerConsumer("bc", info(a, "A"), { ...PUSH, messageModel: "BROADCASTING" }, [subscription("T")]);
    all.consumers.registerConsumer("quiet", info(a, "A"), PUSH, [subscription("T")], false);
    assert.deepEqual(a.takeSent(), []);
    const silent = managers(clock, { notifyConsumerIdsChangedEnable: false });
    silent.consumers.registerConsumer("g", info(b, "B"), PUSH, [subscription("T")]);
    assert.deepEqual(b.takeSent(), []);
  });

  it("tells the rest when a member leaves or its connection ends, and forgets the group with the last", () => {
    beat(a, "A", ["T"]);
    beat(b, "B", ["T"]);
    a.takeSent();
    b.takeSent();
    all.consumers.unregisterConsumer("g", info(a, "A"));
    assert.deepEqual([a.takeSent(), b.takeSent()], [[], ["40 g"]]);
    beat(a, "A", ["T"]);
    a.takeSent();
    b.close();
    assert.deepEqual(a.takeSent(), ["40 g"]);
    assert.deepEqual(all.filters.filter((line) => line.startsWith("unRegister")), []);
    a.close();
    assert.equal(all.consumers.getConsumerGroupInfo("g"), null);
    assert.equal(all.filters.at(-1), "unRegister g");
    assert.equal(clock.timers, 0, "nothing ticks without clients");
    all.consumers.unregisterConsumer("g", info(a, "A"));
  });

  it("gives the filters every heartbeat's subscriptions", () => {
    beat(a, "A", ["T"]);
    beat(a, "A", ["T", "U"]);
    all.consumers.registerConsumerWithoutSub("g", info(a, "A"), PUSH);
    assert.deepEqual(all.filters, ["register g T", "register g T,U"]);
  });

  it("keeps the subscriptions of a heartbeat without them, and tells of a new member only", () => {
    beat(a, "A", ["T"]);
    a.takeSent();
    assert.equal(all.consumers.registerConsumerWithoutSub("g", info(a, "A"), PUSH), false);
    assert.equal(all.consumers.registerConsumerWithoutSub("g", info(b, "B"), PUSH), true);
    assert.deepEqual([a.takeSent(), b.takeSent()], [["40 g"], ["40 g"]]);
    assert.equal(all.consumers.findSubscriptionData("g", "T")!.topic, "T");
  });

  it("forgets a client that falls silent, closes it and tells the others", () => {
    beat(a, "A", ["T"]);
    beat(b, "B", ["T"]);
    all.consumers.registerConsumer("h", info(a, "A"), PUSH, []);
    for (let elapsed = 0; elapsed < 90_000; elapsed += 30_000) {
      clock.advance(30_000);
      beat(b, "B", ["T"]);
    }
    b.takeSent();
    clock.advance(29_999);
    assert.equal(a.closed, false);
    clock.advance(1001);
    assert.equal(a.closed, true, "120 s without a heartbeat");
    assert.deepEqual(b.takeSent(), ["40 g"]);
    assert.deepEqual(all.consumers.getConsumerGroupInfo("g")!.clientIds(), ["B"]);
    assert.equal(all.consumers.getConsumerGroupInfo("h"), null, "and what it consumed besides is gone too");
    assert.equal(clock.timers, 1);
    clock.advance(120_000);
    assert.equal(b.closed, true);
    assert.equal(clock.timers, 0);
  });

  it("takes another client's id on a known connection without telling", () => {
    beat(a, "A", ["T"]);
    a.takeSent();
    assert.equal(beat(a, "A2", ["T"]), false);
    assert.deepEqual(all.consumers.getConsumerGroupInfo("g")!.clientIds(), ["A2"]);
    assert.deepEqual(a.takeSent(), []);
  });

  it("says which fingerprint was there before", () => {
    assert.equal(all.consumers.exchangeFingerprint("g", 7), null);
    beat(a, "A", ["T"]);
    assert.equal(all.consumers.exchangeFingerprint("g", 7), null);
    assert.equal(all.consumers.exchangeFingerprint("g", 8), 7);
  });

  it("remembers what pulls without heartbeat tell, for ten minutes; a heartbeat's word wins", () => {
    all.consumers.compensateSubscribeData("g", "T", subscription("T", 3, "TagA"));
    assert.equal(all.consumers.findSubscriptionData("g", "T")!.subString, "TagA");
    assert.equal(all.consumers.getConsumerGroupInfo("g"), null);
    clock.advance(599_000);
    all.consumers.compensateSubscribeData("g", "T", subscription("T", 4, "TagB"));
    clock.advance(600_000);
    assert.equal(all.consumers.findSubscriptionData("g", "T")!.subString, "TagB");
    beat(a, "A", ["T"]);
    assert.equal(all.consumers.findSubscriptionData("g", "T")!.subString, "*");
    all.consumers.unregisterConsumer("g", info(a, "A"));
    clock.advance(1);
    assert.equal(all.consumers.findSubscriptionData("g", "T"), null);
    assert.equal(clock.timers, 0);
  });

  it("remembers 10,000 of those", () => {
    for (let i = 0; i < 10_050; i++) all.consumers.compensateSubscribeData("g", `T${i}`, subscription(`T${i}`));
    assert.equal(all.consumers.findSubscriptionData("g", "T0"), null);
    assert.equal(all.consumers.findSubscriptionData("g", "T49"), null);
    assert.notEqual(all.consumers.findSubscriptionData("g", "T50"), null);
    assert.notEqual(all.consumers.findSubscriptionData("g", "T10049"), null);
  });

  it("bounds what subscriptions take, and gives it back when a group goes", () => {
    const large = "x".repeat(30_000_000);
    const take = (group: string) =>
      all.consumers.registerConsumer(group, info(a, "A"), PUSH, [subscription("T", 1, large)]);
    take("g1");
    take("g1");
    take("g2");
    const isBusy = (error: unknown) => error instanceof RemotingError && error.code === ResponseCode.SYSTEM_BUSY;
    assert.throws(() => take("g3"), isBusy);
    assert.equal(all.consumers.getConsumerGroupInfo("g3"), null);
    all.consumers.unregisterConsumer("g2", info(a, "A"));
    take("g3");
  });
});
