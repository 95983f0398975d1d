import assert from "node:assert/strict";
import { before, describe, it } from "node:test";
import { writeInt32, writeInt64 } from "../../src/base/bytes.ts";
import { SILENT_LOGGER } from "../../src/base/logger.ts";
import { loadRuntime } from "../../src/runtime/detect.ts";
import type { Clock } from "../../src/runtime/runtime.ts";
import { BLANK_MAGIC_CODE, MESSAGE_MAGIC_CODE } from "../../src/store/message_codec.ts";
import { type ReputLog, ReputMessageService } from "../../src/store/reput_message_service.ts";
import type { RecordDispatcher } from "../../src/store/record_dispatcher.ts";

const FILE_SIZE = 4 * 1024 * 1024;
let clock: Clock;
before(async () => {
  ({ clock } = await loadRuntime());
});

/** A log in memory whose records are only a header, and a dispatcher that notes where each record stands. */
class Bench implements ReputLog {
  minOffset = 0;
  confirmOffset = 0;
  readonly mappedFileSize = FILE_SIZE;
  readonly seen: number[] = [];
  readonly indexed: number[] = [];
  readonly errors: unknown[] = [];
  slices = 0;
  cold = false;
  readonly service: ReputMessageService;
  readonly #bytes = new Uint8Array(3 * FILE_SIZE);

  constructor() {
    const offsetOf = (bytes: Uint8Array, at: number) => new DataView(bytes.buffer, bytes.byteOffset).getInt32(at + 32);
    const dispatcher = {
      dispatch: (bytes: Uint8Array, at: number, toIndex: boolean) => {
        this.seen.push(offsetOf(bytes, at));
        if (toIndex) this.indexed.push(offsetOf(bytes, at));
      },
      dispatchToIndex: (bytes: Uint8Array, at: number) => this.indexed.push(offsetOf(bytes, at)),
      writePending: () => {},
    };
    this.service = new ReputMessageService({
      log: this,
      dispatcher: dispatcher as unknown as RecordDispatcher,
      clock,
      logger: { ...SILENT_LOGGER, error: (_, fields) => this.errors.push(fields?.physicOffset) },
      onDispatched: () => this.slices++,
      onFatal: (error) => this.errors.push(error),
    });
  }

  read(offset: number, target: Uint8Array): number | Promise<number> {
    const fileEnd = offset - offset % FILE_SIZE + FILE_SIZE;
    const count = Math.min(target.length, fileEnd - offset, this.confirmOffset - offset);
    target.set(this.#bytes.subarray(offset, offset + count));
    return this.cold ? Promise.resolve(count) : count;
  }

  /** Overwrites bytes. */
  damage(at: number, bytes: Uint8Array): void {
    this.#bytes.set(bytes, at);
  }

  /** Adds a record or, with `magic`, something else; returns where. */
  add(size: number, magic = MESSAGE_MAGIC_CODE): number {
    const at = this.confirmOffset;
    writeInt32(this.#bytes, at, size);
    writeInt32(this.#bytes, at + 4, magic);
    writeInt64(this.#bytes, at + 28, at);
    this.confirmOffset += size;
    this.service.wakeup();
    return at;
  }
}

describe("ReputMessageService", () => {
  it("dispatches what there is, and what comes, in order", async () => {
    const bench = new Bench();
    const wanted = Array.from({ length: 5000 }, (_, i) => bench.add(100 + i % 700));
    assert.deepEqual(bench.seen, [], "not before it runs");
    bench.service.run();
    assert.equal(await bench.service.waitDispatched(bench.confirmOffset), true);
    assert.deepEqual(bench.seen, wanted);
    assert.ok(bench.slices > 1);
    wanted.push(bench.add(200));
    assert.equal(bench.service.behindBytes, 200);
    await bench.service.waitDispatched(bench.confirmOffset);
    assert.deepEqual([bench.seen, bench.indexed, bench.errors], [wanted, wanted, []]);
    assert.equal(bench.service.isComplete, true);
    await bench.service.stop();
  });

  it("takes records larger than a slice, fillers, and cold reads", async () => {
    for (const cold of [false, true]) {
      const bench = new Bench();
      bench.cold = cold;
      bench.service.run();
      const wanted = [bench.add(100), bench.add(3 << 20), bench.add(100)];
      bench.add(FILE_SIZE - bench.confirmOffset, BLANK_MAGIC_CODE);
      wanted.push(bench.add(1 << 20), bench.add(91));
      await bench.service.waitDispatched(bench.confirmOffset);
      assert.deepEqual([bench.seen, bench.errors], [wanted, []]);
      await bench.service.stop();
    }
  });

  it("skips what is no record, loudly, and never stands still", async () => {
    for (const [size, magic] of [[100, 0x1234], [50, MESSAGE_MAGIC_CODE], [-5, MESSAGE_MAGIC_CODE]] as const) {
      const bench = new Bench();
      const before = bench.add(100);
      const damaged = bench.add(100, magic);
      const view = new Uint8Array(4);
      writeInt32(view, 0, size);
      bench.damage(damaged, view);
      bench.service.run();
      await bench.service.waitDispatched(bench.confirmOffset);
      const later = bench.add(100);
      await bench.service.waitDispatched(bench.confirmOffset);
      assert.deepEqual([bench.seen, bench.errors], [[before, later], [damaged]]);
      await bench.service.stop();
    }
    // A size that reaches beyond the log's end would never become whole.
    const bench = new Bench();
    const size = new Uint8Array(4);
    writeInt32(size, 0, 100_000);
    const damaged = bench.add(100);
    bench.damage(damaged, size);
    bench.service.run();
    await bench.service.waitDispatched(bench.confirmOffset);
    assert.deepEqual(bench.errors, [damaged]);
    await bench.service.stop();
  });

  it("rests while paused, goes on elsewhere, and jumps to the log's begin", async () => {
    const bench = new Bench();
    bench.service.run();
    const first = bench.add(100);
    await bench.service.waitDispatched(100);
    await bench.service.pause();
    const second = bench.add(100);
    const third = bench.add(100);
    assert.deepEqual(bench.seen, [first]);
    bench.service.run();
    await bench.service.waitDispatched(300);
    assert.deepEqual(bench.seen, [first, second, third]);
    await bench.service.pause();
    bench.service.setPosition(0, null);
    bench.minOffset = 200;
    bench.service.run();
    await bench.service.waitComplete();
    assert.deepEqual(bench.seen, [first, second, third, third]);
    await bench.service.stop();
  });

  it("builds the index's missing part beside the rest, in order, once", async () => {
    const bench = new Bench();
    const wanted = Array.from({ length: 3000 }, () => bench.add(1000));
    const from = bench.confirmOffset;
    bench.service.setPosition(from, 0);
    assert.equal(bench.service.isComplete, false);
    bench.service.run();
    for (let i = 0; i < 500; i++) wanted.push(bench.add(500));
    assert.equal(await bench.service.waitComplete(), true);
    assert.deepEqual(bench.indexed, wanted);
    assert.deepEqual(bench.seen, wanted.filter((offset) => offset >= from));
    wanted.push(bench.add(100));
    await bench.service.waitComplete();
    assert.deepEqual(bench.indexed, wanted);
    await bench.service.stop();
  });

  it("tells those who wait when it stops", async () => {
    const bench = new Bench();
    const waiting = bench.service.waitDispatched(1000);
    await bench.service.stop();
    assert.equal(await waiting, false);
    assert.equal(await bench.service.waitDispatched(1000), false);
    bench.service.run();
    bench.add(100);
    assert.equal(bench.seen.length, 0);
  });
});
