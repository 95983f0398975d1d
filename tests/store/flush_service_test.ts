import { beforeEach, describe, it } from "node:test";
import assert from "node:assert/strict";
import { IoError } from "../../src/base/errors.ts";
import { FlushService, type FlushServiceOptions, type FlushTarget } from "../../src/store/flush_service.ts";
import { ManualClock } from "../support/manual_clock.ts";

const OPTIONS: FlushServiceOptions = {
  flushDiskType: "ASYNC_FLUSH",
  flushIntervalCommitLog: 500,
  flushCommitLogLeastPages: 4,
  flushCommitLogThoroughInterval: 10_000,
};

class Target implements FlushTarget {
  maxOffset = 0;
  flushedOffset = 0;
  /** Ends the flush under way. */
  readonly pending: { done(): void; fail(error: unknown): void }[] = [];
  flushes = 0;
  flush(): Promise<void> {
    this.flushes++;
    const target = this.maxOffset;
    return new Promise((resolve, reject) => {
      this.pending.push({
        done: () => {
          this.flushedOffset = target;
          resolve();
        },
        fail: reject,
      });
    });
  }
}

/** Lets promises settle. */
async function settle(): Promise<void> {
  for (let i = 0; i < 10; i++) await Promise.resolve();
}

describe("flush service", () => {
  let clock: ManualClock;
  let target: Target;
  let fatal: unknown[];

  const start = (overrides: Partial<FlushServiceOptions> = {}) => {
    return new FlushService(target, { ...OPTIONS, ...overrides }, clock, (error) => fatal.push(error));
  };
  const append = (service: FlushService, bytes: number) => {
    target.maxOffset += bytes;
    service.onAppend();
  };
  const finish = async () => {
    target.pending.shift()!.done();
    await settle();
  };

  beforeEach(() => {
    clock = new ManualClock();
    target = new Target();
    fatal = [];
  });

  it("sleeps while nothing is dirty", async () => {
    const service = start();
    assert.equal(clock.timers, 0);
    append(service, 20_000);
    assert.equal(clock.timers, 1);
    clock.advance(500);
    await settle();
    assert.equal(target.flushes, 1);
    await finish();
    assert.equal(clock.timers, 0);
  });

  it("waits for enough pages, or for long enough", async () => {
    const service = start();
    append(service, 4 * 4096 - 1);
    clock.advance(9_999);
    await settle();
    assert.equal(target.flushes, 0);
    clock.advance(1);
    await settle();
    assert.equal(target.flushes, 1);
    await finish();
    append(service, 100);
    clock.advance(499);
    append(service, 4 * 4096);
    clock.advance(1);
    await settle();
    assert.equal(target.flushes, 2);
  });

  it("flushes soon under SYNC_FLUSH even if nobody waits", async () => {
    const service = start({ flushDiskType: "SYNC_FLUSH" });
    append(service, 1);
    clock.advance(10);
    await settle();
    assert.equal(target.flushes, 1);
  });

  it("shares one flush among those who wait, and never runs two", async () => {
    const service = start({ flushDiskType: "SYNC_FLUSH" });
    const done: number[] = [];
    const wait = (offset: number) => service.waitFlushed(offset, 5000).then((ok) => done.push(ok ? offset : -offset));
    append(service, 10);
    wait(10);
    append(service, 10);
    wait(20);
    await settle();
    assert.equal(target.flushes, 1);
    append(service, 10);
    wait(30);
    append(service, 10);
    wait(40);
    await settle();
    assert.equal(target.flushes, 1);
    await finish();
    assert.deepEqual(done, [10, 20]);
    assert.equal(target.flushes, 2);
    await finish();
    assert.deepEqual(done, [10, 20, 30, 40]);
    assert.equal(await service.waitFlushed(40, 5000), true);
    assert.equal(target.flushes, 2);
  });

  it("tells those who waited too long", async () => {
    const service = start({ flushDiskType: "SYNC_FLUSH" });
    append(service, 10);
    const early = service.waitFlushed(10, 1000);
    const late = service.waitFlushed(10, 5000);
    await settle();
    clock.advance(1000);
    assert.equal(await early, false);
    await finish();
    assert.equal(await late, true);
  });

  it("waits for bytes that are not written yet without spinning", async () => {
    const service = start();
    append(service, 10);
    const waiting = service.waitFlushed(20, null);
    await settle();
    await finish();
    assert.equal(target.flushes, 1);
    append(service, 10);
    await settle();
    assert.equal(target.flushes, 2);
    await finish();
    assert.equal(await waiting, true);
  });

  it("flushes on demand", async () => {
    const service = start();
    append(service, 1);
    let done = false;
    service.flushNow().then(() => done = true);
    await settle();
    assert.equal(done, false);
    await finish();
    assert.equal(done, true);
  });

  it("reports a failed flush once, and never flushes again", async () => {
    const service = start();
    append(service, 10);
    const waiting = service.waitFlushed(10, null);
    await settle();
    target.pending.shift()!.fail(new IoError("other", "EIO"));
    assert.equal(await waiting, false);
    assert.equal(fatal.length, 1);
    append(service, 100_000);
    clock.advance(20_000);
    assert.equal(await service.waitFlushed(10, null), false);
    await assert.rejects(service.flushNow(), IoError);
    assert.equal(target.flushes, 1);
    assert.equal(clock.timers, 0);
  });

  it("stops after the flush under way, and tells who still waits", async () => {
    const service = start();
    append(service, 10);
    const first = service.waitFlushed(10, null);
    await settle();
    append(service, 10);
    const second = service.waitFlushed(20, null);
    const stopped = service.stop();
    target.pending.shift()!.done();
    await stopped;
    assert.equal(await first, true);
    assert.equal(await second, false);
    assert.equal(clock.timers, 0);
    assert.equal(target.flushes, 1);
  });

  it("bounds how many wait", async () => {
    const service = start();
    append(service, 1);
    const all = Array.from({ length: 65_536 }, () => service.waitFlushed(1, null));
    assert.equal(await service.waitFlushed(1, null), false);
    await settle();
    await finish();
    assert.equal((await Promise.all(all)).every((ok) => ok), true);
  });
});
