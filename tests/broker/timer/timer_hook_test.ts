// Delivery times on the way into the log.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { parseJavaLong, timerHook } from "../../../src/broker/timer/timer_hook.ts";
import { MessageSysFlag } from "../../../src/store/message_sys_flag.ts";
import type { MessageToPut } from "../../../src/store/types.ts";
import { producerMessage } from "../schedule/memory_store.ts";

const NOW = 1_700_000_000_300;
const CONFIG = { timerWheelEnable: true, timerPrecisionMs: 1000, timerMaxDelaySec: 3 * 24 * 3600 };

function put(properties: Record<string, string>, over: Partial<MessageToPut> = {}, ports: object = {}) {
  return timerHook({ config: CONFIG, now: () => NOW, ...ports })(producerMessage("a", properties, over));
}

const outTime = (properties: Record<string, string>) =>
  Number((put(properties) as MessageToPut).properties.get("TIMER_OUT_MS"));

describe("timerHook", () => {
  it("leaves messages without a time, or with one that has passed, where they belong", () => {
    const times: Record<string, string>[] = [
      {},
      { TIMER_DELAY_SEC: "0" },
      { TIMER_DELAY_SEC: "-5" },
      { TIMER_DELAY_MS: "0" },
      { TIMER_DELIVER_MS: String(NOW) },
      { TIMER_DELIVER_MS: "1" },
    ];
    for (const properties of times) {
      const message = put(properties) as MessageToPut;
      assert.equal(message.topic, "T");
      assert.equal(message.properties.size, 1 + Object.keys(properties).length);
    }
  });

  it("moves a message into the timer's topic and remembers where it belongs", () => {
    const message = put({ TIMER_DELAY_SEC: "10", TAGS: "x" }) as MessageToPut;
    assert.deepEqual([message.topic, message.queueId], ["rmq_sys_wheel_timer", 0]);
    assert.deepEqual([...message.properties].slice(1), [
      ["TIMER_DELAY_SEC", "10"],
      ["TAGS", "x"],
      ["TIMER_OUT_MS", "1700000010000"],
      ["REAL_TOPIC", "T"],
      ["REAL_QID", "2"],
    ]);
  });

  it("rounds down to a slot, of an exact multiple to the one before", () => {
    assert.equal(outTime({ TIMER_DELIVER_MS: "1700000005000" }), 1700000004000);
    assert.equal(outTime({ TIMER_DELIVER_MS: "1700000005001" }), 1700000005000);
    assert.equal(outTime({ TIMER_DELIVER_MS: "1700000005999" }), 1700000005000);
    assert.equal(outTime({ TIMER_DELAY_MS: "1" }), 1700000000000);
  });

  it("takes seconds before milliseconds before a time", () => {
    const times = { TIMER_DELIVER_MS: "1700000300000", TIMER_DELAY_MS: "20000", TIMER_DELAY_SEC: "10" };
    assert.equal(outTime(times), 1700000010000);
    const { TIMER_DELAY_SEC: _, ...rest } = times;
    assert.equal(outTime(rest), 1700000020000);
  });

  it("drops the time of a message with a delay level", () => {
    const message = put({ DELAY: "3", TIMER_DELAY_SEC: "10", TIMER_DELIVER_MS: "1" }) as MessageToPut;
    assert.equal(message.topic, "T");
    assert.deepEqual([...message.properties.keys()], ["UNIQ_KEY", "DELAY"]);
    assert.equal((put({ DELAY: "0", TIMER_DELAY_SEC: "10" }) as MessageToPut).topic, "rmq_sys_wheel_timer");
  });

  it("passes what was through it, what is in the topic already, and open transactions", () => {
    assert.equal((put({ TIMER_DELAY_SEC: "10", TIMER_OUT_MS: "5" }) as MessageToPut).topic, "T");
    const inTopic = put({ TIMER_DELAY_SEC: "10" }, { topic: "rmq_sys_wheel_timer" }) as MessageToPut;
    assert.equal(inTopic.properties.has("TIMER_OUT_MS"), false);
    const open = put({ TIMER_DELAY_SEC: "10" }, { sysFlag: MessageSysFlag.TRANSACTION_PREPARED }) as MessageToPut;
    assert.equal(open.topic, "T");
  });

  it("refuses what Apache refuses", () => {
    const status = (properties: Record<string, string>, ports = {}) =>
      (put(properties, {}, ports) as { status: string }).status;
    const off = { config: { ...CONFIG, timerWheelEnable: false } };
    assert.equal(status({ TIMER_DELAY_SEC: "1" }, off), "WHEEL_TIMER_NOT_ENABLE");
    assert.equal(status({ TIMER_DELAY_SEC: "soon" }), "WHEEL_TIMER_MSG_ILLEGAL");
    assert.equal(status({ TIMER_DELIVER_MS: "99999999999999999999" }), "WHEEL_TIMER_MSG_ILLEGAL");
    assert.equal(status({ TIMER_DELAY_SEC: "259201" }), "WHEEL_TIMER_MSG_ILLEGAL");
    assert.equal(status({ TIMER_DELAY_SEC: "259200" }), undefined);
    assert.equal(status({ TIMER_DELIVER_MS: "1", TIMER_DEL_UNIQKEY: "T+K" }), "WHEEL_TIMER_MSG_ILLEGAL");
    assert.equal(status({ TIMER_DELAY_SEC: "1" }, { isReject: () => true }), "WHEEL_TIMER_FLOW_CONTROL");
  });

  it("reads longs as Java does", () => {
    const texts = ["7", "-7", "+7", "", " 7", "9223372036854775807", "9223372036854775808", "1.5"];
    assert.deepEqual(texts.map(parseJavaLong), [7, -7, 7, null, null, null, null, null]);
  });
});
