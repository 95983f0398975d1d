// `GET /events`: the figures of `/ha` as server-sent events, once a second and at every state change. It owns the timers and
// the subscription of each stream and gives them back when the reader goes; the number of streams is bounded.

import { utf8 } from "../base/bytes.ts";
import type { Clock, Timer } from "../runtime/runtime.ts";
import type { AdminPort } from "./admin_port.ts";

const INTERVAL_MS = 1000;
/** Changes that come together make one event. */
const CHANGE_DELAY_MS = 20;
/** Events that may wait for a slow reader; what comes beyond is left out, the next one is newer anyway. */
const EVENTS_WAITING_MAX = 4;

/** The event streams of one node. */
export class EventStreams {
  readonly #port: AdminPort;
  readonly #clock: Clock;
  readonly #ending: AbortSignal;
  readonly #streamsMax: number;
  #open = 0;

  constructor(port: AdminPort, options: { clock: Clock; ending: AbortSignal; streamsMax: number }) {
    this.#port = port;
    this.#clock = options.clock;
    this.#ending = options.ending;
    this.#streamsMax = options.streamsMax;
  }

  /** A new stream's bytes, `null` when there are too many. Ends when its reader cancels it or the node stops. */
  start(): ReadableStream<Uint8Array> | null {
    if (this.#open >= this.#streamsMax) return null;
    const ending = this.#ending;
    this.#open++;
    let ticking: Timer | null = null;
    let changing: Timer | null = null;
    let unsubscribe = () => {};
    let abort = () => {};
    let ended = false;
    const end = () => {
      if (ended) return;
      ended = true;
      this.#open--;
      ticking?.cancel();
      changing?.cancel();
      unsubscribe();
      ending.removeEventListener("abort", abort);
    };
    const start = (controller: ReadableStreamDefaultController<Uint8Array>) => {
      const send = (event: string) => {
        if ((controller.desiredSize ?? 0) <= 0) return;
        controller.enqueue(utf8.encode(`event: ${event}\ndata: ${JSON.stringify(this.#port.status())}\n\n`));
      };
      const tick = () => {
        ticking = this.#clock.setTimer(INTERVAL_MS, tick);
        send("status");
      };
      abort = () => {
        end();
        controller.close();
      };
      ending.addEventListener("abort", abort, { once: true });
      unsubscribe = this.#port.onStateChange(() => {
        changing ??= this.#clock.setTimer(CHANGE_DELAY_MS, () => {
          changing = null;
          send("change");
        });
      });
      tick();
      if (ending.aborted) abort();
    };
    return new ReadableStream<Uint8Array>({ start, cancel: end }, { highWaterMark: EVENTS_WAITING_MAX });
  }
}
