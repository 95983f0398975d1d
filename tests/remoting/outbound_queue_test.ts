// What waits to be written: the same bytes as frames made one by one, in few pieces, counted and held within bounds.

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import { describe, it } from "node:test";
import { giveBuffer, takeBuffer } from "../../src/base/buffer_pool.ts";
import { LENT_BODY_SIZE_MIN, OutboundQueue } from "../../src/remoting/outbound_queue.ts";
import {
  createRequest,
  createResponse,
  encodeFrame,
  encodeHead,
  headSizeMax,
  type RemotingCommand,
} from "../../src/remoting/remoting_command.ts";

const small = (index: number): RemotingCommand =>
  createResponse({ ...createRequest(1), opaque: index }, 0, { ext: { queueOffset: index }, remark: "r" });
const withBody = (size: number): RemotingCommand => createResponse(createRequest(1), 0, { body: pattern(size) });
const odd: RemotingCommand = createResponse({ ...createRequest(1), opaque: -2 }, 1, {
  remark: 'no "é"\n',
  ext: { ключ: "\u0001", "": "" },
  body: pattern(3000),
});

function pattern(size: number): Uint8Array {
  return new Uint8Array(size).map((_, index) => index * 31);
}

function takeAll(queue: OutboundQueue): Uint8Array[] {
  const pieces: Uint8Array[] = [];
  for (let piece = queue.front(); piece !== null; piece = queue.front()) {
    assert.equal(queue.front(), piece, "the same until it is written");
    // Its memory may be somebody else's from then on.
    pieces.push(new Uint8Array(piece));
    queue.written();
  }
  assert.deepEqual([queue.bytes, queue.heldBytes], [0, 0]);
  return pieces;
}

describe("encodeHead", () => {
  it("writes what encodeFrame makes of plain headers, and leaves others to it", () => {
    const commands = [
      small(7),
      createRequest(10, { a: "!#[]^~ ", b: -1, c: "" }),
      { ...createRequest(-1), opaque: -2147483648, flag: 2, version: 0, language: "GO" },
      createResponse(createRequest(1), 2, { remark: "" }),
    ];
    for (const command of commands) {
      const target = new Uint8Array(3 + headSizeMax(command));
      const end = encodeHead(command, target, 3);
      assert.equal(Buffer.from(target.subarray(3, end)).toString(), Buffer.from(encodeFrame(command)).toString());
    }
    for (const text of ['"', "\\", "\n", "\u007f", "é", "\ud800"]) {
      for (const command of [createRequest(1, { a: text }), createRequest(1, { [text]: "a" })]) {
        assert.equal(encodeHead(command, new Uint8Array(headSizeMax(command)), 0), -1);
      }
      for (const change of [{ remark: text }, { language: text }]) {
        assert.equal(encodeHead({ ...createRequest(1), ...change }, new Uint8Array(1000), 0), -1);
      }
    }
  });
});

describe("OutboundQueue", () => {
  it("keeps every byte in order, whatever the sizes", () => {
    const sizes = [0, 1, 200, 3000, 60_000, LENT_BODY_SIZE_MIN - 1, LENT_BODY_SIZE_MIN, 300_000, 5];
    let seed = 7;
    for (let round = 0; round < 200; round++) {
      const queue = new OutboundQueue();
      const frames: Uint8Array[] = [];
      for (let count = seed % 40; count >= 0; count--) {
        seed = (Math.imul(seed, 1103515245) + 12345) >>> 0;
        const command = seed % 7 === 0
          ? odd
          : seed % 3 === 0
          ? withBody(sizes[seed % sizes.length]!)
          : small(seed >>> 8);
        queue.push(command);
        frames.push(encodeFrame(command));
      }
      const whole = Buffer.concat(frames);
      assert.equal(queue.bytes, whole.length);
      assert.ok(queue.heldBytes >= whole.length && queue.heldBytes <= 2 * whole.length + 70_000);
      assert.ok(Buffer.concat(takeAll(queue)).equals(whole));
    }
  });

  it("makes one piece of many small answers, and full ones of very many", () => {
    const queue = new OutboundQueue();
    for (let round = 0; round < 3; round++) {
      for (let index = 0; index < 300; index++) queue.push(small(index));
      assert.equal(takeAll(queue).length, 1);
    }
    for (let index = 0; index < 3000; index++) queue.push(small(index));
    const pieces = takeAll(queue);
    assert.ok(pieces.length < 10 && pieces.slice(0, -1).every((piece) => piece.length > 60_000));
  });

  it("copies small bodies and lends large ones", () => {
    const queue = new OutboundQueue();
    const released: string[] = [];
    const few = { ...withBody(1000), release: () => void released.push("few") };
    const many = { ...withBody(LENT_BODY_SIZE_MIN), release: () => void released.push("many") };
    const strange = { ...odd, release: () => void released.push("odd") };
    queue.push(few);
    queue.push(strange);
    queue.push(many);
    few.body.fill(0);
    assert.deepEqual(released, ["few", "odd"]);
    assert.ok(Buffer.from(queue.front()!).includes(Buffer.from(pattern(1000))));
    queue.written();
    assert.equal(queue.front(), many.body);
    assert.deepEqual(released, ["few", "odd"], "a lent body is released once it is written");
    queue.written();
    assert.deepEqual(released, ["few", "odd", "many"]);
  });

  it("lets the memory of what is written be used again, but not of what was dropped", () => {
    const queue = new OutboundQueue();
    queue.push(withBody(50_000));
    const written = queue.front()!.buffer;
    queue.written();
    queue.push(withBody(50_000));
    assert.equal(queue.front()!.buffer, written);
    queue.clear();
    queue.push(withBody(50_000));
    assert.notEqual(queue.front()!.buffer, written, "a write may still be reading it");
  });

  it("counts the memory that it holds, which is more than what it uses of it", () => {
    const queue = new OutboundQueue();
    const memory = new Set<ArrayBufferLike>();
    for (const size of [33_000, 70_000]) {
      const records = takeBuffer(size);
      queue.push({ ...withBody(0), body: records, release: () => giveBuffer(records) });
    }
    const { heldBytes } = queue;
    for (let piece = queue.front(); piece !== null; piece = queue.front()) {
      memory.add(piece.buffer);
      queue.written();
    }
    assert.equal(heldBytes, [...memory].reduce((sum, { byteLength }) => sum + byteLength, 0));
    assert.equal(queue.heldBytes, 0);
  });

  it("writes numbers that got where texts belong, as JSON does", () => {
    for (const change of [{ remark: 7 }, { extFields: new Map([["a", 7]]) }]) {
      const command = { ...small(1), ...change } as unknown as RemotingCommand;
      const queue = new OutboundQueue();
      queue.push(command);
      assert.ok(Buffer.concat(takeAll(queue)).equals(encodeFrame(command)));
    }
  });

  it("drops everything", () => {
    const queue = new OutboundQueue();
    queue.push(small(1));
    queue.push(withBody(100_000));
    queue.push(small(2));
    queue.clear();
    assert.deepEqual([queue.bytes, queue.heldBytes, queue.front()], [0, 0, null]);
    queue.push(small(3));
    assert.deepEqual(takeAll(queue).map((piece) => piece.length), [encodeFrame(small(3)).length]);
  });
});
