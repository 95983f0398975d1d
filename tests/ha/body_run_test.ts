// The joining of bodies inside a read buffer.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { BodyRun } from "../../src/ha/body_run.ts";

/** `headers[i]` bytes of header, then the body `i`, one after the other in a buffer with something before and behind. */
function frames(bodies: string[], headerSize: number): { buffer: Uint8Array; chunks: Uint8Array[] } {
  const text = `??${bodies.map((body) => "#".repeat(headerSize) + body).join("")}!!`;
  const buffer = new TextEncoder().encode(text);
  const chunks: Uint8Array[] = [];
  let at = 2;
  for (const body of bodies) {
    at += headerSize;
    chunks.push(buffer.subarray(at, at + body.length));
    at += body.length;
  }
  return { buffer, chunks };
}

const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes);

describe("BodyRun", () => {
  it("is empty at first", () => {
    const run = new BodyRun();
    assert.equal(run.bytes.length, 0);
    assert.equal(run.end, -1);
  });

  it("joins bodies with headers between them, of any size, and touches nothing behind", () => {
    for (const headerSize of [0, 1, 12]) {
      for (
        const bodies of [["a"], ["ab", "c"], ["a", "bcdefghijklmnopqrstuvwxyz"], ["abcdefghijklmnop", "q", "r", "stu"]]
      ) {
        const { buffer, chunks } = frames(bodies, headerSize);
        const run = new BodyRun();
        let offset = 100;
        for (const chunk of chunks) {
          run.add(offset, chunk);
          offset += chunk.length;
        }
        assert.equal(text(run.bytes), bodies.join(""));
        assert.equal(run.offset, 100);
        assert.equal(run.end, offset);
        assert.equal(text(buffer.subarray(0, 2)), "??");
        assert.equal(text(buffer.subarray(-2)), "!!");
      }
    }
  });

  it("starts anew after it was cleared", () => {
    const { chunks } = frames(["abc", "def"], 12);
    const run = new BodyRun();
    run.add(0, chunks[0]!);
    run.clear();
    assert.equal(run.end, -1);
    run.add(50, chunks[1]!);
    assert.equal(text(run.bytes), "def");
    assert.equal(run.offset, 50);
  });

  it("refuses what does not follow", () => {
    const { chunks } = frames(["abc", "def"], 12);
    const run = new BodyRun();
    run.add(10, chunks[0]!);
    assert.throws(() => run.add(14, chunks[1]!), /does not follow its run/);
    assert.throws(() => run.add(13, new Uint8Array(3)), /not behind its run/);
  });
});
