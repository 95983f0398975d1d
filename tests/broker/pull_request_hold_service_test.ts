// Held pulls: woken by messages that are for them, at their deadline, and never when their connection is gone.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { type HeldPull, PullRequestHoldService } from "../../src/broker/pull_request_hold_service.ts";
import type { RemotingConnection } from "../../src/remoting/remoting_connection.ts";
import type { MessageArrivingListener } from "../../src/store/record_dispatcher.ts";
import { ManualClock } from "../support/manual_clock.ts";

let clock: ManualClock;
let listener: MessageArrivingListener | null;
let holds: PullRequestHoldService;
let woken: [string, boolean][];

beforeEach(() => {
  clock = new ManualClock();
  listener = null;
  woken = [];
  const store = { setMessageArrivingListener: (one: MessageArrivingListener | null) => void (listener = one) };
  holds = new PullRequestHoldService({ clock, store, heldMax: 4, heldOfConnectionMax: 2 });
});

function connection(): RemotingConnection {
  return { closed: false } as RemotingConnection;
}

function held(name: string, over: Partial<HeldPull> = {}): HeldPull {
  return {
    connection: connection(),
    topic: "T",
    queueId: 0,
    pullFromThisOffset: 10,
    filter: null,
    deadlineMs: clock.monotonic() + 15_000,
    wakeUp: (isFinal) => void woken.push([name, isFinal]),
    ...over,
  };
}

const TAG: HeldPull["filter"] = {
  needsProperties: false,
  isMatchedByConsumeQueue: (code) => code === 7,
  isMatchedByCommitLog: () => true,
};

describe("PullRequestHoldService", () => {
  it("wakes the pulls a message is for, in the order of coming, and listens only while something is held", () => {
    assert.equal(listener, null);
    for (const name of ["a", "b"]) assert.equal(holds.hold(held(name)), "held");
    assert.equal(holds.hold(held("other queue", { queueId: 1 })), "held");
    assert.ok(listener!.isWaitingFor("T", 0));
    assert.ok(!listener!.isWaitingFor("T", 2) && !listener!.isWaitingFor("U", 0));
    listener!.arriving("T", 0, 10, 1);
    assert.deepEqual(woken, [], "a message before the offset is not news");
    listener!.arriving("T", 0, 11, 1);
    assert.deepEqual(woken, [["a", false], ["b", false]]);
    listener!.arriving("T", 1, 11, 1);
    assert.equal(holds.heldCount, 0);
    assert.equal(listener, null);
    assert.equal(clock.timers, 0);
  });

  it("leaves those whose filter does not match", () => {
    holds.hold(held("tag", { filter: TAG }));
    listener!.arriving("T", 0, 11, 8);
    assert.deepEqual(woken, []);
    listener!.arriving("T", 0, 12, 7);
    assert.deepEqual(woken, [["tag", false]]);
  });

  it("passes over messages that are not for a pull, and not over one it was not told of", () => {
    const from: number[] = [];
    const wakeUp = (_isFinal: boolean, fromOffset: number) => void from.push(fromOffset);
    holds.hold(held("tag", { filter: TAG, wakeUp }));
    for (const maxOffset of [11, 12]) listener!.arriving("T", 0, maxOffset, 8);
    listener!.arriving("T", 0, 14, 8);
    listener!.arriving("T", 0, 15, 7);
    assert.deepEqual(from, [12]);
    holds.hold(held("tag", { filter: TAG, wakeUp }));
    listener!.arriving("T", 0, 11, 8);
    clock.advance(15_000);
    assert.deepEqual(from, [12, 11]);
  });

  it("serves deadlines that lie close together at once", () => {
    for (const [index, name] of ["a", "b", "c"].entries()) {
      holds.hold(held(name, { deadlineMs: clock.monotonic() + 5_001 + index }));
    }
    clock.advance(5_000);
    assert.equal(woken.length, 0);
    clock.advance(20);
    assert.deepEqual(woken.map(([name]) => name), ["a", "b", "c"]);
    assert.equal(clock.timers, 0);
  });

  it("wakes at the deadline, with one timer for all", () => {
    holds.hold(held("late", { deadlineMs: clock.monotonic() + 20_000 }));
    holds.hold(held("soon", { deadlineMs: clock.monotonic() + 5_000 }));
    assert.equal(clock.timers, 1);
    clock.advance(4_999);
    assert.deepEqual(woken, []);
    clock.advance(1);
    assert.deepEqual(woken, [["soon", true]]);
    clock.advance(15_000);
    assert.deepEqual(woken, [["soon", true], ["late", true]]);
    assert.equal(clock.timers, 0);
  });

  it("forgets the pulls of a connection that ended", () => {
    const gone = connection();
    holds.hold(held("gone", { connection: gone }));
    holds.hold(held("stays"));
    holds.onConnectionClosed(gone);
    listener!.arriving("T", 0, 11, 1);
    assert.deepEqual(woken, [["stays", false]]);
    assert.equal(holds.hold(held("dead", { connection: { closed: true } as RemotingConnection })), "stopped");
  });

  it("runs no pull whose connection an answer to another one ended", () => {
    const one = { closed: false };
    const connection = one as RemotingConnection;
    holds.hold(
      held("fills it", { connection, wakeUp: () => void (woken.push(["fills it", true]), one.closed = true) }),
    );
    holds.hold(held("gone with it", { connection }));
    holds.wakeAll();
    assert.deepEqual(woken, [["fills it", true]]);
  });

  it("is bounded, and holds nothing once it is stopped", () => {
    const one = connection();
    assert.equal(holds.hold(held("1", { connection: one })), "held");
    assert.equal(holds.hold(held("2", { connection: one })), "held");
    assert.equal(holds.hold(held("too many of one", { connection: one })), "full");
    for (const name of ["3", "4"]) assert.equal(holds.hold(held(name)), "held");
    assert.equal(holds.hold(held("too many")), "full");
    holds.stop();
    assert.deepEqual(woken.map(([, isFinal]) => isFinal), [true, true, true, true]);
    assert.equal(holds.hold(held("after")), "stopped");
    assert.equal(clock.timers, 0);
  });

  it("can be held anew by its own waking", () => {
    const again = (): HeldPull => held("again", { wakeUp: () => void (woken.push(["x", false]), holds.hold(again())) });
    holds.hold(again());
    listener!.arriving("T", 0, 11, 1);
    assert.equal(woken.length, 1, "not twice by the same message");
    assert.equal(holds.heldCount, 1);
  });
});
