// Handles by which messages are called back.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { decodeRecallHandle, encodeRecallHandle, recallHandleOf } from "../../../src/broker/timer/recall_handle.ts";
import { timerHook } from "../../../src/broker/timer/timer_hook.ts";
import type { MessageToPut } from "../../../src/store/types.ts";
import { producerMessage } from "../schedule/memory_store.ts";

const HANDLE = { topic: "T", brokerName: "broker-a", timestamp: "1700000004001", messageId: "7F0000010001" };

describe("recall handle", () => {
  it("is base64url of its parts, as Java writes it", () => {
    const text = encodeRecallHandle(HANDLE);
    assert.equal(text, "djEgVCBicm9rZXItYSAxNzAwMDAwMDA0MDAxIDdGMDAwMDAxMDAwMQ==");
    assert.deepEqual(decodeRecallHandle(text), HANDLE);
    assert.deepEqual(decodeRecallHandle(text.replaceAll("=", "")), HANDLE, "Java takes it without padding too");
    const other = { ...HANDLE, topic: "über>?" };
    assert.deepEqual(decodeRecallHandle(encodeRecallHandle(other)), other);
  });

  it("says no to anything else", () => {
    const texts = ["", "=", "a", "!!!!", "djEgVCBi", encodeRecallHandle({ ...HANDLE, messageId: "" }), "x".repeat(1e5)];
    for (const text of texts) assert.equal(decodeRecallHandle(text), null, text.slice(0, 40));
    const version2 = btoa("v2 T broker-a 1 K");
    assert.equal(decodeRecallHandle(version2), null);
  });

  it("is made for what waits for a time, and leads to the same slot", () => {
    const config = { timerWheelEnable: true, timerPrecisionMs: 1000, timerMaxDelaySec: 100 };
    const hook = timerHook({ config, now: () => 1_700_000_000_000 });
    const put = (properties: Record<string, string>, topic = "T") =>
      hook(producerMessage("a", { ...properties, UNIQ_KEY: "K" }, { topic })) as MessageToPut;
    const message = put({ TIMER_DELIVER_MS: "1700000005000" });
    const handle = recallHandleOf(message, "broker-a")!;
    assert.deepEqual(decodeRecallHandle(handle), { ...HANDLE, timestamp: "1700000004001", messageId: "K" });
    assert.equal(put({ TIMER_DELIVER_MS: "1700000004001" }).properties.get("TIMER_OUT_MS"), "1700000004000");
    assert.equal(recallHandleOf(put({}), "broker-a"), null);
    assert.equal(recallHandleOf(put({ TIMER_DELAY_SEC: "5" }, "%RETRY%g"), "broker-a"), null);
  });
});
