// A clock that runs a fixed number of times faster than the one it is made from, so that tests keep Apache's intervals
// and don't wait for them.

import type { Clock } from "../../src/runtime/runtime.ts";

/** `clock`, `factor` times as fast. */
export function fastClock(clock: Clock, factor: number): Clock {
  const start = clock.monotonic();
  return {
    now: () => clock.now(),
    monotonic: () => (clock.monotonic() - start) * factor,
    setTimer: (delayMs, callback) => clock.setTimer(Math.ceil(delayMs / factor), callback),
  };
}
