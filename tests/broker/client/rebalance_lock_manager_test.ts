// Leases on queues: granted, refused, renewed, grown old.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { RebalanceLockManager } from "../../../src/broker/client/rebalance_lock_manager.ts";
import { ManualClock } from "../../support/manual_clock.ts";

const mq = (queueId: number, topic = "T", brokerName = "b") => ({ topic, brokerName, queueId });

describe("RebalanceLockManager", () => {
  it("gives a queue to one client for a minute, longer while it renews", () => {
    const clock = new ManualClock();
    const locks = new RebalanceLockManager({ clock });
    assert.equal(locks.isLockAllExpired("g"), true);
    assert.deepEqual(locks.tryLockBatch("g", [mq(0), mq(1)], "A"), [mq(0), mq(1)]);
    assert.deepEqual(locks.tryLockBatch("g", [mq(1), mq(2)], "B"), [mq(2)]);
    assert.deepEqual(locks.tryLockBatch("h", [mq(0)], "B"), [mq(0)], "another group is another matter");
    clock.advance(60_000);
    assert.deepEqual(locks.tryLockBatch("g", [mq(0)], "A"), [mq(0)]);
    assert.deepEqual(locks.tryLockBatch("g", [mq(1)], "B"), [], "60,000 ms are not over yet");
    clock.advance(1);
    assert.deepEqual(locks.tryLockBatch("g", [mq(0), mq(1)], "B"), [mq(1)]);
    assert.equal(locks.isLockAllExpired("g"), false);
    clock.advance(60_001);
    assert.equal(locks.isLockAllExpired("g"), true);
    assert.equal(clock.timers, 0);
  });

  it("takes back from the owner only", () => {
    const locks = new RebalanceLockManager({ clock: new ManualClock() });
    locks.tryLockBatch("g", [mq(0)], "A");
    locks.unlockBatch("g", [mq(0)], "B");
    assert.deepEqual(locks.tryLockBatch("g", [mq(0)], "B"), []);
    locks.unlockBatch("g", [mq(0), mq(7)], "A");
    locks.unlockBatch("nobody", [mq(0)], "A");
    assert.deepEqual(locks.tryLockBatch("g", [mq(0)], "B"), [mq(0)]);
  });

  it("tells queues apart by topic, broker and number", () => {
    const locks = new RebalanceLockManager({ clock: new ManualClock() });
    locks.tryLockBatch("g", [mq(0)], "A");
    assert.equal(locks.tryLockBatch("g", [mq(0, "T2"), mq(0, "T", "b2"), mq(1)], "B").length, 3);
  });

  it("bounds its table: old leases make room, live ones do not", () => {
    const clock = new ManualClock();
    const locks = new RebalanceLockManager({ clock, locksMax: 3 });
    assert.equal(locks.tryLockBatch("g", [mq(0), mq(1), mq(2), mq(3)], "A").length, 3);
    clock.advance(60_001);
    assert.deepEqual(locks.tryLockBatch("h", [mq(9)], "B"), [mq(9)]);
    assert.deepEqual(locks.tryLockBatch("g", [mq(0), mq(1), mq(2)], "A"), [mq(0), mq(1)]);
    locks.unlockBatch("h", [mq(9)], "B");
    assert.deepEqual(locks.tryLockBatch("g", [mq(2)], "A"), [mq(2)]);
  });
});
