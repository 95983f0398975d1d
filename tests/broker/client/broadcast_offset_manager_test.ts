// Offsets of broadcast clients: the least becomes the group's, a client that changes between proxy and broker goes on.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { BroadcastOffsetManager } from "../../../src/broker/client/broadcast_offset_manager.ts";
import { ManualClock } from "../../support/manual_clock.ts";

let clock: ManualClock;
let committed: Map<string, number>;
let online: Set<string>;
let manager: BroadcastOffsetManager;

beforeEach(() => {
  clock = new ManualClock();
  committed = new Map();
  online = new Set();
  manager = new BroadcastOffsetManager({
    clock,
    config: { broadcastOffsetExpireSecond: 120, broadcastOffsetExpireMaxSecond: 300 },
    offsets: {
      commitOffset: (group, topic, queueId, offset) => void committed.set(`${topic}@${group} ${queueId}`, offset),
      queryOffset: (group, topic, queueId) => committed.get(`${topic}@${group} ${queueId}`) ?? -1,
    },
    isOnline: (_group, clientId) => online.has(clientId),
    initialOffset: () => 77,
  });
});

describe("BroadcastOffsetManager", () => {
  it("commits the least offset of all clients every 5 s", () => {
    manager.updateOffset("T", "g", 0, 10, "A");
    manager.updateOffset("T", "g", 0, 7, "B");
    manager.updateOffset("T", "g", 1, 3, "B");
    manager.updateOffset("T", "g", 0, 6, "B");
    clock.advance(4999);
    assert.deepEqual([...committed], []);
    clock.advance(1);
    assert.deepEqual([...committed], [["T@g@broadcast 0", 7], ["T@g@broadcast 1", 3]]);
    manager.updateOffset("T", "g", 0, 12, "B");
    clock.advance(5000);
    assert.equal(committed.get("T@g@broadcast 0"), 10);
  });

  it("drops a client that is away for 120 s, an online one after 300 s; then nothing ticks", () => {
    manager.updateOffset("T", "g", 0, 1, "gone");
    manager.updateOffset("T", "g", 0, 9, "here");
    online.add("here");
    for (let i = 0; i < 24; i++) clock.advance(5000);
    assert.equal(committed.get("T@g@broadcast 0"), 9, "the one that is gone counts no more");
    committed.clear();
    for (let i = 0; i < 35; i++) clock.advance(5000);
    assert.equal(committed.get("T@g@broadcast 0"), 9);
    assert.equal(clock.timers, 1);
    for (let i = 0; i < 2; i++) clock.advance(5000);
    assert.equal(clock.timers, 0);
  });

  it("sends a client where it asks to go, unless it moved between proxy and broker", () => {
    assert.equal(manager.queryInitOffset("T", "g", 0, "A", 5), -1);
    assert.equal(manager.queryInitOffset("T", "g", 0, "A", -1, true), 77);
    manager.updateOffset("T", "g", 0, 10, "A");
    assert.equal(manager.queryInitOffset("T", "g", 0, "A", 5), -1);
    assert.equal(manager.queryInitOffset("T", "g", 0, "A", 5, true), 10);
    clock.advance(5000);
    assert.equal(manager.queryInitOffset("T", "g", 0, "new", -1, true), 10, "where the group is");
    assert.equal(manager.queryInitOffset("T", "g", 1, "new", -1, true), 77, "where the queue begins");
    manager.updateOffset("T", "g", 0, 11, "A", true);
    assert.equal(manager.queryInitOffset("T", "g", 0, "A", 20, true), -1);
    assert.equal(manager.queryInitOffset("T", "g", 0, "A", 20), 11);
  });

  it("ends", () => {
    manager.updateOffset("T", "g", 0, 10, "A");
    manager.stop();
    clock.advance(10_000);
    assert.equal(clock.timers, 0);
    assert.deepEqual([...committed], []);
  });
});
