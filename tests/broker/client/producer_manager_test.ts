// Producers by heartbeat: whose turn it is, who is found by name, who is forgotten.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { RemotingError } from "../../../src/base/errors.ts";
import { ClientTable } from "../../../src/broker/client/client_table.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { connect, FakeConnection, info, managers } from "./support.ts";

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

function turns(group: string, count: number): (string | undefined)[] {
  return Array.from({ length: count }, () => all.producers.getAvailableChannel(group)?.clientId);
}

describe("ProducerManager", () => {
  it("takes the open members of a group in turn, a busy one only alone", () => {
    assert.equal(all.producers.getAvailableChannel("g"), null);
    all.producers.registerProducer("g", info(a, "A"));
    all.producers.registerProducer("g", info(b, "B"));
    assert.deepEqual(turns("g", 4), ["A", "B", "A", "B"]);
    a.outboundBytes = 1_000_000;
    assert.deepEqual(turns("g", 3), ["B", "B", "B"]);
    b.closed = true;
    assert.deepEqual(turns("g", 2), ["A", "A"]);
    a.closed = true;
    assert.equal(all.producers.getAvailableChannel("g"), null);
  });

  it("finds a client by its id as long as it is in any group", () => {
    all.producers.registerProducer("g", info(a, "A"));
    all.producers.registerProducer("h", info(a, "A"));
    all.producers.unregisterProducer("g", info(a, "A"));
    assert.equal(all.producers.findChannel("A")!.connection.remoteAddress, "10.0.0.1:1");
    assert.deepEqual([...all.producers.groups().keys()], ["h"]);
    a.close();
    assert.equal(all.producers.findChannel("A"), null);
    assert.deepEqual([...all.producers.groups()], []);
    assert.equal(clock.timers, 0);
  });

  it("finds it on the connection it came back on, though the old one ends later", () => {
    all.producers.registerProducer("g", info(a, "A"));
    all.producers.registerProducer("g", info(b, "A"));
    a.close();
    assert.equal(all.producers.findChannel("A")!.connection.remoteAddress, "10.0.0.2:2");
    assert.deepEqual(all.producers.channels("g").map((one) => one.connection.remoteAddress), ["10.0.0.2:2"]);
  });

  it("forgets the old id of a connection that says another", () => {
    all.producers.registerProducer("g", info(a, "A"));
    for (let i = 0; i < 100; i++) all.producers.registerProducer("g", info(a, `A${i}`));
    assert.equal(all.producers.findChannel("A"), null);
    assert.equal(all.producers.findChannel("A98"), null);
    assert.notEqual(all.producers.findChannel("A99"), null);
  });

  it("forgets who falls silent", () => {
    all.producers.registerProducer("g", info(a, "A"));
    clock.advance(60_000);
    all.producers.registerProducer("g", info(b, "B"));
    assert.equal(all.producers.channels("g")[1]!.lastUpdateTimestamp, clock.now());
    clock.advance(60_000);
    assert.deepEqual([a.closed, b.closed], [true, false]);
    assert.deepEqual(all.producers.channels("g").map((one) => one.clientId), ["B"]);
  });
});

describe("ClientTable", () => {
  it("refuses registrations beyond its bound, not heartbeats of known ones", () => {
    const table = new ClientTable({
      clock,
      expiredTimeoutMs: () => 1000,
      onExpired: () => {},
      registrationsMax: 2,
    });
    table.put("g", info(a, "A"));
    table.put("h", info(a, "A"));
    assert.throws(() => table.put("i", info(a, "A")), RemotingError);
    assert.equal(table.put("h", info(a, "A")), "known");
    assert.equal(table.members("i"), undefined);
    assert.deepEqual(table.groupsOf(a.asConnection), ["g", "h"]);
    table.remove("g", a.asConnection);
    assert.equal(table.put("i", info(a, "A")), "new");
    assert.equal(table.size, 2);
  });
});
