// Requests of ours on one connection that wait for answers, by opaque. Opaques are this side's own series: a request of the
// peer may bear the same one. The connection sends, hands answers in, and ends it.

import { type Deferred, deferred } from "../base/async.ts";
import { RemotingError } from "../base/errors.ts";
import type { Clock, Timer } from "../runtime/runtime.ts";
import type { RemotingCommand } from "./remoting_command.ts";
import { ResponseCode } from "./response_code.ts";

/** Requests that may wait at once. */
const PENDING_MAX = 1024;

interface PendingRequest {
  readonly answer: Deferred<RemotingCommand>;
  readonly timer: Timer;
}

/** Mirrors the `responseTable` of Apache's `NettyRemotingAbstract`. */
export class PendingRequests {
  readonly #clock: Clock;
  readonly #byOpaque = new Map<number, PendingRequest>();
  #nextOpaque = 0;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The next opaque: int32, wrapping to negative ones as in Java. */
  nextOpaque(): number {
    const opaque = this.#nextOpaque;
    this.#nextOpaque = (opaque + 1) | 0;
    return opaque;
  }

  /**
   * Waits for the answer to `opaque`. After `timeoutMs` nobody waits any more, and `onTimeout` makes the error. Throws
   * {@link RemotingError} `SYSTEM_BUSY` when 1,024 wait already.
   */
  add(opaque: number, timeoutMs: number, onTimeout: () => Error): Promise<RemotingCommand> {
    if (this.#byOpaque.size >= PENDING_MAX) {
      throw new RemotingError(ResponseCode.SYSTEM_BUSY, `${PENDING_MAX} requests wait for answers`);
    }
    const answer = deferred<RemotingCommand>();
    const timer = this.#clock.setTimer(timeoutMs, () => this.#take(opaque)?.reject(onTimeout()));
    this.#byOpaque.set(opaque, { answer, timer });
    return answer.promise;
  }

  /** An answer has come. One that nobody waits for came too late, and is dropped, as in Apache. */
  answered(answer: RemotingCommand): void {
    this.#take(answer.opaque)?.resolve(answer);
  }

  /** Fails all that wait. */
  failAll(error: Error): void {
    for (const opaque of [...this.#byOpaque.keys()]) this.#take(opaque)?.reject(error);
  }

  #take(opaque: number): Deferred<RemotingCommand> | null {
    const pending = this.#byOpaque.get(opaque);
    if (pending === undefined) return null;
    this.#byOpaque.delete(opaque);
    pending.timer.cancel();
    return pending.answer;
  }
}
