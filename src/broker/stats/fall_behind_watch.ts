// Groups far behind in what they read, and the broker's protection from them: one that stays behind for minutes may not
// consume any more, where the configuration says so. Driven by pulls; no timer looks.

import type { Config } from "../../config/schema.ts";
import type { Clock } from "../../runtime/runtime.ts";

/** What a {@link FallBehindWatch} needs. */
export interface FallBehindWatchOptions {
  readonly clock: Clock;
  readonly config: Pick<Config, "disableConsumeIfConsumerReadSlowly" | "consumerFallbehindThreshold">;
  readonly disableConsume: (group: string) => void;
}

/** So long a group has to be too far behind. Apache looks every 3 min. */
const PATIENCE_MS = 180_000;
/** Queues watched at most. */
const QUEUES_MAX = 10_000;

interface Behind {
  readonly group: string;
  readonly topic: string;
  /** Monotonic ms of the first pull that was too far behind. */
  readonly sinceMs: number;
}

/** Mirrors Apache's `BrokerController.protectBroker`; a group that catches up within 3 min is left alone. */
export class FallBehindWatch {
  readonly #options: FallBehindWatchOptions;
  readonly #behind = new Map<string, Behind>();

  constructor(options: FallBehindWatchOptions) {
    this.#options = options;
  }

  /** After a pull of a queue, the group is so many bytes of the log behind. */
  note(group: string, topic: string, queueId: number, bytes: number): void {
    const { clock, config, disableConsume } = this.#options;
    if (!config.disableConsumeIfConsumerReadSlowly) return;
    const key = `${queueId}@${topic}@${group}`;
    if (bytes <= config.consumerFallbehindThreshold) return void this.#behind.delete(key);
    const nowMs = clock.monotonic();
    const known = this.#behind.get(key);
    if (known === undefined) {
      if (this.#behind.size < QUEUES_MAX) this.#behind.set(key, { group, topic, sinceMs: nowMs });
    } else if (nowMs - known.sinceMs >= PATIENCE_MS) {
      this.forget((behind) => behind.group === group);
      disableConsume(group);
    }
  }

  /** Forgets queues of topics or groups that are gone. */
  forget(isGone: (behind: { readonly group: string; readonly topic: string }) => boolean): void {
    for (const [key, behind] of this.#behind) if (isGone(behind)) this.#behind.delete(key);
  }
}
