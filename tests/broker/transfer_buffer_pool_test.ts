import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BODY_POSITION, TransferBufferPool } from "../../src/broker/transfer_buffer_pool.ts";

const MIB = 1024 * 1024;

describe("TransferBufferPool", () => {
  it("lends what fits a frame, up to 4 MiB", () => {
    const pool = new TransferBufferPool();
    for (
      const size of [
        BODY_POSITION,
        4096,
        4097,
        32 * 1024 + BODY_POSITION,
        MIB,
        MIB + BODY_POSITION,
        MIB + BODY_POSITION + 1,
        4 * MIB,
      ]
    ) {
      assert.ok(pool.take(size).length >= size, String(size));
    }
  });

  it("uses a buffer again, unless the machine may still read it", () => {
    const pool = new TransferBufferPool();
    const first = pool.take(MIB);
    pool.give(first, true);
    const second = pool.take(MIB);
    assert.equal(second, first);
    pool.give(second, false);
    assert.notEqual(pool.take(MIB), first);
    assert.equal(pool.bigBytesLent, MIB + BODY_POSITION);
  });

  it("gives everyone a modest buffer while too many big ones are lent", () => {
    const pool = new TransferBufferPool(3 * MIB);
    const big = [pool.take(MIB), pool.take(MIB)];
    assert.equal(pool.take(MIB).length, 32 * 1024 + BODY_POSITION);
    assert.equal(pool.take(100).length, 4096);
    pool.give(big[0]!, true);
    assert.ok(pool.take(MIB).length > MIB);
  });

  it("keeps few", () => {
    const pool = new TransferBufferPool();
    const many = Array.from({ length: 20 }, () => pool.take(MIB));
    many.forEach((buffer) => pool.give(buffer, true));
    assert.equal(pool.bigBytesLent, 0);
    const again = Array.from({ length: 20 }, () => pool.take(MIB));
    assert.equal(again.filter((buffer) => many.includes(buffer)).length, 4);
  });
});
