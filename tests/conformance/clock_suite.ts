// The contract of Clock and Random as tests, and the few facts of Process that hold on any host.

import assert from "node:assert/strict";
import { describe, it } from "node:test";
import { sleep } from "../../src/base/async.ts";
import type { Conduct, ConformanceEnv } from "./env.ts";

/** Registers the tests of Clock, Random and Process under `name`. */
export function runClockConformance(name: string, conduct: Conduct): void {
  const test = (what: string, body: (env: ConformanceEnv) => Promise<void>): void => {
    it(what, () => conduct(body));
  };

  describe(`${name}: clock`, () => {
    test("tells whole milliseconds and never goes back", async ({ runtime: { clock } }) => {
      assert.ok(Number.isSafeInteger(clock.now()));
      let last = clock.monotonic();
      for (let i = 0; i < 1_000; i++) {
        const next = clock.monotonic();
        assert.ok(next >= last);
        last = next;
      }
    });

    test("runs a timer once, not before its time", async ({ runtime: { clock } }) => {
      for (const delayMs of [0, 1, 5, 20]) {
        const start = clock.monotonic();
        await sleep(clock, delayMs);
        assert.ok(clock.monotonic() - start >= delayMs, `${clock.monotonic() - start} ms instead of ${delayMs}`);
      }
    });

    test("never calls back synchronously", async ({ runtime: { clock } }) => {
      let called = false;
      const { promise, resolve } = Promise.withResolvers<void>();
      clock.setTimer(0, () => {
        called = true;
        resolve();
      });
      assert.equal(called, false);
      await promise;
      assert.equal(called, true);
    });

    test("runs timers in the order of their times", async ({ runtime: { clock } }) => {
      const order: number[] = [];
      await Promise.all([60, 5, 30].map((delayMs) =>
        new Promise<void>((resolve) =>
          clock.setTimer(delayMs, () => {
            order.push(delayMs);
            resolve();
          })
        )
      ));
      assert.deepEqual(order, [5, 30, 60]);
    });

    test("does not run a cancelled timer, however long it is", async ({ runtime: { clock } }) => {
      let runs = 0;
      const count = (): void => {
        runs++;
      };
      const timers = [0, 5, 2 ** 31, 2 ** 40].map((delayMs) => clock.setTimer(delayMs, count));
      const kept = clock.setTimer(1, count);
      for (const timer of timers) timer.cancel();
      for (const timer of timers) timer.cancel();
      await sleep(clock, 30);
      assert.equal(runs, 1);
      kept.cancel();
    });

    test("does not run a very long timer at once", async ({ runtime: { clock } }) => {
      let runs = 0;
      const timer = clock.setTimer(2 ** 31 + 10, () => {
        runs++;
      });
      await sleep(clock, 20);
      timer.cancel();
      assert.equal(runs, 0);
    });

    test("lets a timer be set from a timer", async ({ runtime: { clock } }) => {
      let rounds = 0;
      await new Promise<void>((resolve) => {
        const again = (): void => {
          if (++rounds === 5) resolve();
          else clock.setTimer(1, again);
        };
        clock.setTimer(1, again);
      });
      assert.equal(rounds, 5);
    });
  });

  describe(`${name}: randomness`, () => {
    test("gives integers within the bound, all of them", async ({ runtime: { random } }) => {
      const seen = new Set<number>();
      for (let i = 0; i < 2_000; i++) seen.add(random.nextInt(7));
      assert.deepEqual([...seen].sort(), [0, 1, 2, 3, 4, 5, 6]);
      assert.equal(random.nextInt(1), 0);
      for (let i = 0; i < 100; i++) {
        const value = random.nextInt(2 ** 32);
        assert.ok(Number.isInteger(value) && value >= 0 && value < 2 ** 32);
      }
    });

    test("gives as many bytes as asked for, not all alike", async ({ runtime: { random } }) => {
      assert.equal(random.bytes(0).length, 0);
      const bytes = random.bytes(100_000);
      assert.equal(bytes.length, 100_000);
      assert.ok(new Set(bytes).size > 200);
      assert.ok(new Set(bytes.subarray(-1_000)).size > 50);
    });
  });

  describe(`${name}: process`, () => {
    test("knows itself", async ({ runtime }) => {
      assert.ok(runtime.version.length > 0);
      assert.ok(runtime.process.pid > 0);
      assert.ok(runtime.process.hostname.length > 0);
      assert.match(runtime.process.localAddress, /^\d+\.\d+\.\d+\.\d+$/);
      const { totalBytes, residentBytes } = runtime.process.memory();
      assert.ok(totalBytes >= residentBytes && residentBytes > 0);
      assert.equal(runtime.process.env("TWINLOG_SURELY_NOT_SET"), undefined);
    });

    test("tells living processes from dead ones", async ({ runtime: { process } }) => {
      const token = process.startToken(process.pid);
      assert.notEqual(token, null);
      assert.equal(process.startToken(process.pid), token);
      assert.equal(process.startToken(2 ** 30), null);
    });

    test("lets go of its signal handlers", async ({ runtime: { process } }) => {
      const release = process.onStopSignal(() => {});
      release();
      release();
    });
  });
}
