import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { ackedBy, GroupTransferService } from "../../src/ha/group_transfer_service.ts";

function harness(requestsMax?: number) {
  const service = new GroupTransferService(requestsMax);
  const done: string[] = [];
  const put = (nextOffset: number, ackNums = 2, deadline = 3000) =>
    service.putRequest({ nextOffset, ackNums, deadline, complete: (status) => done.push(`${nextOffset} ${status}`) });
  return { service, done, put };
}

describe("GroupTransferService", () => {
  it("counts the master as one replica", () => {
    assert.equal(ackedBy([], 1), Number.MAX_SAFE_INTEGER);
    assert.equal(ackedBy([], 2), -1);
    assert.equal(ackedBy([300, 200, 100], 2), 300);
    assert.equal(ackedBy([300, 200, 100], 3), 200);
    assert.equal(ackedBy([300, 200, 100], 5), -1);
  });

  it("completes all an ack covers, in offset order, and leaves the rest", () => {
    const { service, done, put } = harness();
    [100, 200, 300].forEach((offset) => put(offset));
    service.onAcks([99]);
    assert.deepEqual(done, []);
    service.onAcks([200]);
    assert.deepEqual(done, ["100 PUT_OK", "200 PUT_OK"]);
    assert.equal(service.waiting, 1);
    service.onAcks([300, 10]);
    assert.deepEqual(done.slice(2), ["300 PUT_OK"]);
    assert.equal(service.nextDeadline(), null);
  });

  it("orders requests that come out of order", () => {
    const { service, done, put } = harness();
    [300, 100, 200].forEach((offset) => put(offset));
    service.onAcks([150]);
    assert.deepEqual(done, ["100 PUT_OK"]);
    service.onAcks([250]);
    assert.deepEqual(done, ["100 PUT_OK", "200 PUT_OK"]);
  });

  it("does not let a request for three replicas hold up one for two", () => {
    const { service, done, put } = harness();
    put(100, 3);
    put(110, 2);
    service.onAcks([500, 50]);
    assert.deepEqual(done, ["110 PUT_OK"]);
    service.onAcks([500, 100]);
    assert.deepEqual(done, ["110 PUT_OK", "100 PUT_OK"]);
  });

  it("fails at the deadline, not before, each by its own", () => {
    const { service, done, put } = harness();
    put(100, 2, 3000);
    put(200, 2, 2000);
    put(300, 3, 4000);
    assert.equal(service.nextDeadline(), 2000);
    service.onTick(1999);
    assert.deepEqual(done, []);
    service.onTick(2000);
    assert.deepEqual(done, ["200 FLUSH_SLAVE_TIMEOUT"]);
    assert.equal(service.nextDeadline(), 3000);
    service.onTick(9000);
    assert.deepEqual(done.slice(1), ["100 FLUSH_SLAVE_TIMEOUT", "300 FLUSH_SLAVE_TIMEOUT"]);
    assert.equal(service.waiting, 0);
  });

  it("agrees with looking at every request, in whatever order they and their deadlines come", () => {
    let state = 7;
    const random = (bound: number) => (state = (Math.imul(state, 1103515245) + 12345) >>> 0) % bound;
    for (let round = 0; round < 300; round++) {
      const { service, done } = harness();
      const plain: { nextOffset: number; ackNums: number; deadline: number; end: string | null }[] = [];
      const expected: string[] = [];
      const acks = [0, 0];
      const ordered = round % 2 === 0;
      const settle = (fits: (one: (typeof plain)[number]) => boolean, status: string) => {
        for (const one of plain) {
          if (one.end !== null || !fits(one)) continue;
          one.end = status;
          expected.push(`${one.nextOffset} ${status}`);
        }
      };
      for (let now = 0; now < 60; now++) {
        const nextOffset = ordered ? now * 10 + 1 : random(500) * 100 + now;
        const one = { nextOffset, ackNums: 2 + random(2), deadline: now + (ordered ? 20 : 1 + random(40)), end: null };
        if (ackedBy(acks, one.ackNums) < nextOffset) {
          plain.push(one);
          service.putRequest({ ...one, complete: (status) => done.push(`${nextOffset} ${status}`) });
        }
        if (random(4) === 0) {
          acks[random(2)]! += random(300);
          acks.sort((a, b) => b - a);
          service.onAcks(acks);
          settle((each) => each.nextOffset <= ackedBy(acks, each.ackNums), "PUT_OK");
        }
        const open = plain.filter((each) => each.end === null);
        assert.equal(service.waiting, open.length);
        const earliest = Math.min(...open.map((each) => each.deadline));
        assert.ok(open.length === 0 || service.nextDeadline()! <= earliest);
        service.onTick(now);
        settle((each) => each.deadline <= now, "FLUSH_SLAVE_TIMEOUT");
        assert.deepEqual([...done].sort(), [...expected].sort());
      }
    }
  });

  it("completes each request once", () => {
    const { service, done, put } = harness();
    put(100);
    service.onAcks([100]);
    service.onAcks([100]);
    service.onTick(10_000);
    service.failAll();
    assert.deepEqual(done, ["100 PUT_OK"]);
  });

  it("is bounded: one too many is told at once", () => {
    const { service, done, put } = harness(2);
    [100, 200, 300].forEach((offset) => put(offset));
    assert.deepEqual(done, ["300 FLUSH_SLAVE_TIMEOUT"]);
    assert.equal(service.waiting, 2);
  });

  it("lets a producer put again from within its completion", () => {
    const { service, done, put } = harness();
    service.putRequest({
      nextOffset: 100,
      ackNums: 2,
      deadline: 3000,
      complete: () => {
        put(200);
        put(300, 3);
      },
    });
    service.onAcks([100]);
    assert.equal(service.waiting, 2);
    service.failAll();
    assert.equal(done.length, 2);
    assert.equal(service.waiting, 0);
  });
});
