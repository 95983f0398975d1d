// Where delivery goes on, told by the log.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { type DeliveryState, deliveryState, searchDelivered } from "../../../src/broker/schedule/delivery_check.ts";
import { ManualClock } from "../../support/manual_clock.ts";
import { MemoryStore, producerMessage } from "./memory_store.ts";

describe("searchDelivered", () => {
  /** A queue delivered below `boundary`, some of whose messages nobody can tell of. */
  function queue(boundary: number, unknown: readonly number[] = []) {
    let asked = 0;
    const stateAt = (index: number): Promise<DeliveryState> => {
      asked++;
      assert.ok(index >= 0 && index < 1000);
      return Promise.resolve(unknown.includes(index) ? "unknown" : index < boundary ? "delivered" : "waiting");
    };
    return { search: (offset: number) => searchDelivered(offset, 0, 1000, stateAt), asked: () => asked };
  }

  it("finds the one place for every file and every log", async () => {
    for (const boundary of [0, 1, 2, 5, 63, 64, 65, 500, 999, 1000]) {
      for (const offset of [0, 1, 2, 4, 60, 64, 200, 998, 999, 1000]) {
        const { search, asked } = queue(boundary);
        assert.equal(await search(offset), boundary, `file ${offset}, log ${boundary}`);
        assert.ok(asked() <= 24, `asked ${asked()} times`);
      }
    }
  });

  it("goes by the file where nobody can tell", async () => {
    assert.equal(await queue(10, [20, 19]).search(20), 20);
    assert.equal(await queue(1000, [20, 19]).search(20), 20);
    const every = Array.from({ length: 1000 }, (_, index) => index);
    for (const offset of [0, 500, 1000]) assert.equal(await queue(10, every).search(offset), offset);
  });
});

describe("deliveryState", () => {
  it("knows a copy by its place, content and number of tries", async () => {
    const store = new MemoryStore(new ManualClock(), "1s");
    const message = producerMessage("a");
    store.append({ ...message, topic: "T" });
    store.append({ ...message, topic: "S" });
    const waiting = store.records[1]!;
    const state = () => deliveryState(store, waiting, ["T"]);
    assert.equal(await state(), "waiting", "what stands before it is no copy");
    store.append({ ...message, reconsumeTimes: 1 });
    store.append({ ...message, body: new Uint8Array(1) });
    store.append({ ...message, bornTimestamp: 1 });
    assert.equal(await state(), "waiting");
    store.append(message);
    assert.equal(await state(), "delivered");
  });

  it("says unknown without a key, or outside the index", async () => {
    const store = new MemoryStore(new ManualClock(), "1s");
    store.append(producerMessage("a", {}, { properties: new Map() }));
    assert.equal(await deliveryState(store, store.records[0]!, ["T"]), "unknown");
    store.append(producerMessage("a"));
    const { queryMessage } = store;
    store.queryMessage = () => Promise.resolve([]);
    assert.equal(await deliveryState(store, store.records[1]!, ["T"]), "unknown");
    store.queryMessage = queryMessage;
  });
});
