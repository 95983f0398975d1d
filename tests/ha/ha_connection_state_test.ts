import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { HAConnectionState, HAConnectionStateNotificationService } from "../../src/ha/ha_connection_state.ts";

const { READY, HANDSHAKE, TRANSFER, SHUTDOWN } = HAConnectionState;

function harness() {
  let states: HAConnectionState[] = [];
  const results: boolean[] = [];
  const service = new HAConnectionStateNotificationService((host) => host === "10.0.0.2" ? states : []);
  const wait = (now: number, notifyWhenShutdown = false) =>
    service.setRequest(
      { expectState: TRANSFER, remoteAddr: "10.0.0.2", notifyWhenShutdown },
      (reached) => results.push(reached),
      now,
    );
  const change = (next: HAConnectionState[], state: HAConnectionState, now: number) => {
    states = next;
    service.onStateChanged("10.0.0.2", state, now);
  };
  return { service, results, wait, change };
}

describe("HAConnectionStateNotificationService", () => {
  it("answers at once when the state is there", () => {
    const { results, wait, change } = harness();
    change([HANDSHAKE, TRANSFER], TRANSFER, 0);
    wait(0);
    assert.deepEqual(results, [true]);
  });

  it("answers when the state is reached", () => {
    const { service, results, wait, change } = harness();
    wait(0);
    assert.equal(service.nextDeadline(), 10_000);
    change([HANDSHAKE], HANDSHAKE, 9000);
    assert.equal(service.nextDeadline(), null);
    service.onTick(30_000);
    service.onStateChanged("10.0.0.3", TRANSFER, 30_000);
    assert.deepEqual(results, []);
    change([TRANSFER], TRANSFER, 30_000);
    assert.deepEqual(results, [true]);
  });

  it("fails when nobody is there for 10 s, counted anew after each leave", () => {
    const { service, results, wait, change } = harness();
    wait(0);
    change([HANDSHAKE], HANDSHAKE, 5000);
    change([], SHUTDOWN, 6000);
    assert.equal(service.nextDeadline(), 16_000);
    service.onTick(15_999);
    assert.deepEqual(results, []);
    service.onTick(16_000);
    assert.deepEqual(results, [false]);
  });

  it("takes READY, a client that is not connected, as nobody", () => {
    const { service, results, wait, change } = harness();
    change([READY], READY, 0);
    wait(100);
    assert.equal(service.nextDeadline(), 10_100);
    change([READY], READY, 5000);
    service.onTick(10_100);
    assert.deepEqual(results, [false]);
  });

  it("fails on a shutdown when asked to", () => {
    const { results, wait, change } = harness();
    change([HANDSHAKE], HANDSHAKE, 0);
    wait(0, true);
    change([], SHUTDOWN, 10);
    assert.deepEqual(results, [false]);
  });

  it("cancels the old wait for a new one, and on demand", () => {
    const { service, results, wait } = harness();
    wait(0);
    wait(1);
    assert.deepEqual(results, [false]);
    service.cancel();
    service.cancel();
    assert.deepEqual(results, [false, false]);
    assert.equal(service.nextDeadline(), null);
  });
});
