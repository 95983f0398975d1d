// Delay levels on the way into the log.

import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { parseJavaInteger } from "../../../src/base/java_integer.ts";
import { delayHook } from "../../../src/broker/schedule/delay_hook.ts";
import { MessageSysFlag } from "../../../src/store/message_sys_flag.ts";
import type { MessageToPut } from "../../../src/store/types.ts";
import { producerMessage } from "./memory_store.ts";

const hook = delayHook({ messageDelayLevel: "1s 5s 10s" });

describe("delayHook", () => {
  it("leaves a message without a level, or one of 0 or less, as it is", () => {
    const levels: Record<string, string>[] = [{}, { DELAY: "0" }, { DELAY: "-1" }];
    for (const properties of levels) {
      const message = producerMessage("a", properties);
      assert.equal(hook(message), message);
    }
  });

  it("moves a delayed message into the schedule topic and remembers where it belongs", () => {
    const message = producerMessage("a", { DELAY: "2", TAGS: "x" });
    const moved = hook(message) as MessageToPut;
    assert.equal(moved.topic, "SCHEDULE_TOPIC_XXXX");
    assert.equal(moved.queueId, 1);
    const key = message.properties.get("UNIQ_KEY")!;
    assert.deepEqual([...moved.properties], [
      ["UNIQ_KEY", key],
      ["DELAY", "2"],
      ["TAGS", "x"],
      ["REAL_TOPIC", "T"],
      ["REAL_QID", "2"],
    ]);
    assert.equal(message.topic, "T", "the message given is not touched");
    assert.equal(message.properties.size, 3);
  });

  it("clamps a level above the highest", () => {
    const moved = hook(producerMessage("a", { DELAY: "99" })) as MessageToPut;
    assert.equal(moved.queueId, 2);
    assert.equal(moved.properties.get("DELAY"), "3");
  });

  it("looks at plain and committed messages only", () => {
    const kinds = MessageSysFlag;
    for (const [sysFlag, isMoved] of [[kinds.TRANSACTION_COMMIT, true], [kinds.TRANSACTION_PREPARED, false]] as const) {
      const moved = hook(producerMessage("a", { DELAY: "1" }, { sysFlag })) as MessageToPut;
      assert.equal(moved.topic === "SCHEDULE_TOPIC_XXXX", isMoved);
    }
  });

  it("refuses a level that is no number", () => {
    const refused = hook(producerMessage("a", { DELAY: "soon" }));
    assert.deepEqual(refused, { status: "UNKNOWN_ERROR", remark: 'DELAY is "soon", wanted an integer' });
  });

  it("reads integers as Java does", () => {
    const numbers = ["7", "+7", "-7", "2147483647", "2147483648", "", "7 ", "0x7", "1e3", "-2147483648"];
    assert.deepEqual(numbers.map(parseJavaInteger), [
      7,
      7,
      -7,
      2147483647,
      null,
      null,
      null,
      null,
      null,
      -2147483648,
    ]);
  });
});
