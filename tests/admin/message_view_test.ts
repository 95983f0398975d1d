import { describe, it } from "node:test";
import assert from "node:assert/strict";
import { deflateSync } from "node:zlib";
import { viewMessages } from "../../src/admin/message_view.ts";
import { storedMessage } from "./fake_port.ts";

const MIB = 1024 * 1024;

describe("views of messages", () => {
  const deflated = (size: number) => storedMessage(0, deflateSync(new Uint8Array(size).fill(0x61)), { sysFlag: 1 });

  it("inflate to 16 MiB in all, whatever a few KiB stand for", () => {
    const bomb = deflated(6 * MIB);
    assert.ok(bomb.body.length < 10_000);
    const sizes = viewMessages(Array.from({ length: 256 }, () => bomb)).map((view) => view.bodySize);
    assert.deepEqual(sizes.slice(0, 3), [6 * MIB, 6 * MIB, bomb.body.length]);
    assert.ok(sizes.slice(2).every((size) => size === bomb.body.length), "More was inflated");
  });

  it("show one that is too large as stored, and go on with the others", () => {
    const [large, small] = viewMessages([deflated(40 * MIB), deflated(100)]);
    assert.ok(large!.bodySize < 50_000 && large!.body === null && large!.bodyBase64 !== null);
    assert.equal(small!.body, "a".repeat(100));
  });
});
