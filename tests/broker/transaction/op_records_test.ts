// Which half messages the op records call ended, and how long each record is needed.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { OffsetSet } from "../../../src/broker/transaction/offset_set.ts";
import { OpRecords } from "../../../src/broker/transaction/op_records.ts";
import type { GetMessageResult } from "../../../src/store/message_reader.ts";
import { GetMessageStatus } from "../../../src/store/message_reader.ts";
import type { StoredMessage } from "../../../src/store/types.ts";

/** An op queue: the bodies of its records, null for one that the log holds no more. */
function queue(bodies: (string | null)[]) {
  return {
    async getMessage(_topic: string, _queueId: number, offset: number, maxNum: number): Promise<GetMessageResult> {
      const part = bodies.slice(offset, offset + maxNum);
      const messages = part.flatMap((body, index) =>
        body === null ? [] : [{
          queueOffset: offset + index,
          body: new TextEncoder().encode(body),
          properties: new Map([["TAGS", "d"]]),
        } as unknown as StoredMessage]
      );
      return {
        status: GetMessageStatus.FOUND,
        messages,
        nextBeginOffset: offset + part.length,
        minOffset: 0,
        maxOffset: bodies.length,
      };
    },
  };
}

const always = () => true;
const notLate = (offset: number) => assert.fail(`${offset} is late`);

describe("OpRecords", () => {
  it("keeps a record while it speaks of half messages to come, and those behind it", async () => {
    const bodies: (string | null)[] = ["0,1,", "5,2,", null, "3,", "4,"];
    const ops = new OpRecords(queue(bodies));
    ops.reset(0);
    await ops.readAll(0, always, notLate);
    assert.deepEqual([0, 1, 2, 3, 4, 5, 6].map((offset) => ops.has(offset)), [
      true,
      true,
      true,
      true,
      true,
      true,
      false,
    ]);
    ops.passed(2);
    assert.equal(ops.offset, 1);
    ops.passed(5);
    assert.equal(ops.offset, 1);
    ops.passed(6);
    assert.equal(ops.offset, 5);
    bodies.push("7,");
    const late: number[] = [];
    bodies.push("2,8,");
    await ops.readAll(6, always, (offset) => late.push(offset));
    assert.deepEqual([ops.has(7), ops.has(8), late], [true, true, [2]]);
    ops.passed(9);
    assert.equal(ops.offset, 7);
  });

  it("reads each record once, however many there are", async () => {
    const bodies = Array.from({ length: 1000 }, (_, i) => `${999 - i},`);
    const ops = new OpRecords(queue(bodies));
    ops.reset(10);
    await ops.readAll(0, always, notLate);
    assert.equal(ops.has(990), false);
    assert.equal(ops.has(0), true);
    ops.passed(989);
    assert.equal(ops.offset, 10);
    ops.passed(990);
    assert.equal(ops.offset, 1000);
  });
});

describe("OffsetSet", () => {
  it("holds offsets apart and together", () => {
    const set = new OffsetSet();
    const offsets = [0, 31, 32, 1023, 1024, 5_000_000_000, Number.MAX_SAFE_INTEGER];
    for (const offset of offsets) set.add(offset);
    for (const offset of offsets) assert.equal(set.has(offset), true);
    for (const offset of [1, 30, 33, 1025, 4_999_999_999]) assert.equal(set.has(offset), false);
    set.forgetBelow(1030);
    assert.deepEqual([set.has(0), set.has(1024), set.has(5_000_000_000)], [false, true, true]);
    set.clear();
    assert.equal(set.has(1024), false);
  });
});
