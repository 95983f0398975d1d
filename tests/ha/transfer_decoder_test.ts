import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { concatBytes, writeInt32, writeInt64 } from "../../src/base/bytes.ts";
import { ProtocolError } from "../../src/base/errors.ts";
import { BODY_SIZE_MAX } from "../../src/ha/frames.ts";
import { TransferDecoder } from "../../src/ha/transfer_decoder.ts";
import { makeFrame } from "../support/scripted_master.ts";

interface Seen {
  offset: number;
  size: number;
  body: number[];
}

/** Feeds the pieces one by one and puts the bodies together again. */
function decode(pieces: readonly Uint8Array[], decoder = new TransferDecoder()): Seen[] {
  const seen: Seen[] = [];
  for (const piece of pieces) {
    decoder.feed(piece);
    for (let part = decoder.next(); part !== null; part = decoder.next()) {
      if (part === "header") seen.push({ offset: decoder.physicOffset, size: decoder.bodySize, body: [] });
      else {
        const frame = seen.at(-1)!;
        assert.equal(decoder.chunkOffset, frame.offset + frame.body.length);
        frame.body.push(...decoder.chunk);
      }
    }
  }
  return seen;
}

function bytewise(bytes: Uint8Array): Uint8Array[] {
  return Array.from(bytes, (byte) => new Uint8Array([byte]));
}

const BODY = Uint8Array.from({ length: 23 }, (_, i) => i);
const STREAM = concatBytes([makeFrame(0), makeFrame(0, BODY), makeFrame(23), makeFrame(23, BODY), makeFrame(46)]);
const FRAMES: Seen[] = [
  { offset: 0, size: 0, body: [] },
  { offset: 0, size: 23, body: [...BODY] },
  { offset: 23, size: 0, body: [] },
  { offset: 23, size: 23, body: [...BODY] },
  { offset: 46, size: 0, body: [] },
];

function header(physicOffset: number, bodySize: number): Uint8Array {
  const bytes = new Uint8Array(12);
  writeInt64(bytes, 0, physicOffset);
  writeInt32(bytes, 8, bodySize);
  return bytes;
}

describe("TransferDecoder", () => {
  it("keeps nothing of what it was lent once that is used up", () => {
    const decoder = new TransferDecoder();
    const headers: number[] = [];
    let bodyBytes = 0;
    for (let at = 0; at < STREAM.length; at += 7) {
      const piece = STREAM.slice(at, at + 7);
      decoder.feed(piece);
      for (let part = decoder.next(); part !== null; part = decoder.next()) {
        if (part === "header") headers.push(decoder.physicOffset);
        else bodyBytes += decoder.chunk.length;
      }
      // As an adapter may: the memory is gone, the view empty.
      piece.buffer.transfer(0);
    }
    assert.deepEqual(headers, FRAMES.map((frame) => frame.offset));
    assert.equal(bodyBytes, 2 * BODY.length);
  });

  it("reads the golden frames of the specification", () => {
    const heartbeat = Uint8Array.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
    assert.deepEqual(decode([heartbeat]), [{ offset: 65536, size: 0, body: [] }]);
    const data = Uint8Array.from([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x80, 0]);
    assert.deepEqual(decode([data]), [{ offset: 65536, size: 32768, body: [] }]);
  });

  it("reads several frames in one read", () => assert.deepEqual(decode([STREAM]), FRAMES));

  it("reads frames byte by byte", () => assert.deepEqual(decode(bytewise(STREAM)), FRAMES));

  it("reads frames split anywhere, in headers and in bodies", () => {
    for (let cut = 1; cut < STREAM.length; cut++) {
      assert.deepEqual(decode([STREAM.subarray(0, cut), STREAM.subarray(cut)]), FRAMES, `cut at ${cut}`);
    }
  });

  it("hands out a body as a view of what was fed", () => {
    const decoder = new TransferDecoder();
    const bytes = makeFrame(0, BODY);
    decoder.feed(bytes);
    assert.equal(decoder.next(), "header");
    assert.equal(decoder.next(), "body");
    assert.equal(decoder.chunk.buffer, bytes.buffer);
    assert.equal(decoder.next(), null);
  });

  it("takes the largest frame, over many full receive buffers", () => {
    const bytes = makeFrame(100, new Uint8Array(BODY_SIZE_MAX));
    const decoder = new TransferDecoder();
    let body = 0;
    for (let at = 0; at < bytes.length; at += 65536) {
      decoder.feed(bytes.subarray(at, at + 65536));
      for (let part = decoder.next(); part !== null; part = decoder.next()) {
        if (part === "body") body += decoder.chunk.length;
      }
    }
    assert.equal(body, BODY_SIZE_MAX);
  });

  it("refuses hostile headers before their bodies", () => {
    const bad: [number, number][] = [
      [-1, 0],
      [100_000, -30_000],
      [0, -1],
      [0, -(2 ** 31)],
      [0, BODY_SIZE_MAX + 1],
      [0, 2 ** 31 - 1],
      [Number.MAX_SAFE_INTEGER, 1],
      [-Number.MAX_SAFE_INTEGER, 0],
    ];
    for (const [offset, size] of bad) {
      const bytes = header(offset, size);
      assert.throws(() => decode([bytes]), ProtocolError, `${offset}, ${size}`);
      assert.throws(() => decode(bytewise(bytes)), ProtocolError, `${offset}, ${size} byte by byte`);
    }
  });

  it("refuses offsets that are no safe integers", () => {
    for (const first of [0x00, 0x20, 0x7f, 0x80, 0xff]) {
      const bytes = new Uint8Array(12);
      bytes[0] = first;
      bytes[1] = 0x20;
      assert.throws(() => decode([bytes]), ProtocolError, `top byte ${first}`);
    }
  });
});
