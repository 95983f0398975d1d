// Which pages of a mapped file are touched, over a memory that says what it was asked.

import assert from "node:assert/strict";
import { beforeEach, describe, it } from "node:test";
import { type FileMapping, FileMappings } from "../../src/runtime/file_mapping.ts";
import type { MappedMemory } from "../../src/runtime/libc.ts";

const KIB = 1024;
const PAGE = 4 * KIB;
const CHUNK = 256 * KIB;
const LENGTH = 4 * CHUNK + PAGE + 100;

/** A mapped file of which some pages are in memory; each byte is its page's number. */
class FakeMemory implements MappedMemory {
  readonly held = new Set<number>();
  asked: [number, number][] = [];
  isUnmapped = false;
  fails = false;

  copyTo(target: Uint8Array, offset: number): void {
    assert.ok(!this.isUnmapped, "used after it was unmapped");
    assert.ok(offset >= 0 && offset + target.length <= LENGTH, "over the end");
    for (let i = 0; i < target.length; i++) {
      const page = Math.floor((offset + i) / PAGE);
      assert.ok(this.held.has(page), `page ${page} is not in memory`);
      target[i] = page;
    }
  }

  residency(offset: number, length: number, pages: Uint8Array): boolean {
    assert.ok(!this.isUnmapped, "used after it was unmapped");
    assert.equal(offset % PAGE, 0);
    assert.ok(Math.ceil(length / PAGE) <= pages.length, "more pages than room for them");
    this.asked.push([offset, length]);
    // The other bits are nobody's.
    for (let i = 0; i * PAGE < length; i++) pages[i] = this.held.has(offset / PAGE + i) ? 0xff : 0xfe;
    return !this.fails;
  }

  unmap(): void {
    assert.ok(!this.isUnmapped, "unmapped twice");
    this.isUnmapped = true;
  }

  hold(from: number, to: number): void {
    for (let page = Math.floor(from / PAGE); page * PAGE < to; page++) this.held.add(page);
  }
}

describe("FileMapping", () => {
  let now = 0;
  let memory = new FakeMemory();
  let mapping: FileMapping;
  const mappings = () => new FileMappings(() => now);
  const map = (of: FileMappings, memory: MappedMemory | null, length = LENGTH) =>
    of.map({ map: () => memory, pageSize: PAGE }, 3, length);
  const reads = (offset: number, size: number) => mapping.read(new Uint8Array(size), offset);

  beforeEach(() => {
    now = 1000;
    memory = new FakeMemory();
    mapping = map(mappings(), memory)!;
  });

  it("asks once for a chunk that is in memory, until the answer is old", () => {
    memory.hold(0, LENGTH);
    const target = new Uint8Array(2);
    assert.ok(mapping.read(target, CHUNK + PAGE - 1));
    assert.deepEqual([...target], [64, 65]);
    for (let i = 0; i < 10; i++) assert.ok(reads(CHUNK + i * 1000, 1300));
    assert.deepEqual(memory.asked, [[CHUNK, CHUNK]]);
    now += 499;
    assert.ok(reads(CHUNK, 1));
    assert.equal(memory.asked.length, 1);
    now += 1;
    assert.ok(reads(CHUNK, 1));
    assert.equal(memory.asked.length, 2);
  });

  it("touches no page that left memory since, once the answer is old", () => {
    memory.hold(0, LENGTH);
    assert.ok(reads(5 * PAGE, 10));
    memory.held.delete(5);
    now += 500;
    assert.equal(reads(5 * PAGE, 10), false);
    assert.equal(reads(4 * PAGE + 1, PAGE), false);
    assert.ok(reads(4 * PAGE, PAGE));
    assert.ok(reads(6 * PAGE, PAGE));
  });

  it("asks for the pages of a read alone behind what was in memory, and knows them then", () => {
    memory.hold(0, 10 * PAGE);
    assert.ok(reads(100, 9 * PAGE));
    assert.deepEqual(memory.asked, [[0, CHUNK]]);
    assert.equal(reads(10 * PAGE - 1, 2), false);
    assert.deepEqual(memory.asked.at(-1), [9 * PAGE, PAGE + 1]);
    memory.hold(10 * PAGE, 12 * PAGE);
    assert.ok(reads(10 * PAGE - 1, PAGE + 2));
    assert.equal(memory.asked.length, 3);
    assert.ok(reads(10 * PAGE + 5, PAGE));
    assert.equal(memory.asked.length, 3);
    memory.hold(20 * PAGE, 21 * PAGE);
    for (let i = 0; i < 2; i++) assert.ok(reads(20 * PAGE + 7, 100));
    assert.equal(memory.asked.length, 5, "what lies apart is asked for each time");
    assert.equal(reads(19 * PAGE, PAGE), false);
  });

  it("reads over several chunks, and to the end", () => {
    memory.hold(0, LENGTH);
    assert.ok(reads(CHUNK - 1, 2 * CHUNK + 2));
    assert.deepEqual(memory.asked, [[0, CHUNK], [CHUNK, CHUNK], [2 * CHUNK, CHUNK], [3 * CHUNK, CHUNK]]);
    assert.ok(reads(LENGTH - 1, 1));
    assert.deepEqual(memory.asked.at(-1), [4 * CHUNK, PAGE + 100]);
    memory.held.delete(3 * CHUNK / PAGE);
    now += 500;
    assert.equal(reads(CHUNK - 1, 2 * CHUNK + 2), false);
  });

  it("reads nothing where the kernel does not say", () => {
    memory.hold(0, LENGTH);
    memory.fails = true;
    assert.equal(reads(0, 10), false);
  });

  it("reads nothing once closed, and is closed once", () => {
    memory.hold(0, LENGTH);
    mapping.close();
    mapping.close();
    assert.equal(mapping.isOpen, false);
    assert.equal(reads(0, 10), false);
  });

  it("gives way to others when they are many GiB, if it was long unused, the least recently used first", () => {
    const GIB = 1024 ** 3;
    const all = mappings();
    const made = Array.from({ length: 8 }, () => {
      const memory = new FakeMemory();
      memory.hold(0, LENGTH);
      now++;
      assert.ok(all.hasRoom(GIB));
      return map(all, memory, GIB)!;
    });
    const open = () => made.map(({ isOpen }) => isOpen);
    const allBut = (...closed: number[]) => made.map((_, index) => !closed.includes(index));
    now += 8_000;
    assert.equal(all.hasRoom(GIB), false);
    assert.deepEqual(open(), allBut());
    now += 1_500;
    assert.ok(made[0]!.read(new Uint8Array(1), 0));
    assert.equal(made[3]!.read(new Uint8Array(1), 2 * LENGTH), false, "not in memory, so that is no use");
    now += 490;
    assert.equal(all.hasRoom(GIB), false);
    now += 999;
    assert.equal(all.hasRoom(GIB), false, "so soon it is not looked for again");
    now += 1;
    assert.ok(all.hasRoom(GIB));
    assert.deepEqual(open(), allBut(1));
    made[5]!.close();
    assert.ok(all.hasRoom(2 * GIB));
    assert.deepEqual(open(), allBut(1, 5));
    now += 20_000;
    assert.equal(all.hasRoom(9 * GIB), false);
    assert.deepEqual(open(), allBut(1, 5), "nothing is closed in vain");
    now -= 80_000;
    assert.ok(made[2]!.read(new Uint8Array(1), 0));
    assert.ok(all.hasRoom(7 * GIB), "a clock set back keeps nothing");
    assert.deepEqual(open(), allBut(0, 1, 3, 4, 5, 6, 7));
    assert.equal(map(all, null), null);
  });

  it("trusts no answer from a time that is still to come", () => {
    memory.hold(0, LENGTH);
    assert.ok(reads(0, 10));
    now -= 500;
    assert.ok(reads(0, 10));
    assert.equal(memory.asked.length, 2);
  });
});
