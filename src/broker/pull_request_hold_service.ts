// Pulls of empty queues, held until a message comes or their time is over. It knows which pulls wait for which queue and
// when to wake them; running one again, and answering, is the pull processor's. Nothing ticks: one timer stands for the
// earliest deadline, and the store tells of messages only while something is held.

import type { RemotingConnection } from "../remoting/remoting_connection.ts";
import type { Clock, Timer } from "../runtime/runtime.ts";
import type { MessageFilter } from "../store/message_filter.ts";
import type { MessageArrivingListener } from "../store/record_dispatcher.ts";

/** A pull that waits. Mirrors Apache's `PullRequest`. */
export interface HeldPull {
  readonly connection: RemotingConnection;
  readonly topic: string;
  readonly queueId: number;
  /** Queue offset it asks for: there was nothing behind it when it came. */
  readonly pullFromThisOffset: number;
  /** null: every message is for it. */
  readonly filter: MessageFilter | null;
  /** On the monotonic clock, ms. */
  readonly deadlineMs: number;
  /**
   * Runs it again; messages from its offset up to `fromOffset` came meanwhile and are not for it. Final: whatever comes
   * of it is its answer; else it may be held anew.
   */
  readonly wakeUp: (isFinal: boolean, fromOffset: number) => void;
}

/** What a {@link PullRequestHoldService} needs. */
export interface PullRequestHoldOptions {
  readonly clock: Clock;
  readonly store: { setMessageArrivingListener(listener: MessageArrivingListener | null): void };
  /** Pulls held at once, of all connections and of one. */
  readonly heldMax?: number;
  readonly heldOfConnectionMax?: number;
}

/** Memory bound: a held pull takes about a kilobyte. A client holds one for each queue it consumes, a proxy those of many. */
const HELD_MAX = 100_000;
const HELD_OF_CONNECTION_MAX = 20_000;
/** Deadlines within such a span of time are served together, at its end, ms. */
const TICK_MS = 20;

interface Held {
  readonly pull: HeldPull;
  /** Where the first message can be that is for it. */
  from: number;
  /** Of its deadline, rounded up. */
  readonly tick: number;
}

/** Mirrors Apache's `PullRequestHoldService`; it differs in waking at the deadline instead of within 5 s of it. */
export class PullRequestHoldService implements MessageArrivingListener {
  readonly #options: PullRequestHoldOptions;
  readonly #heldMax: number;
  readonly #heldOfConnectionMax: number;
  /** By topic and queue, in the order of coming. */
  readonly #held = new Map<string, Map<number, Set<Held>>>();
  readonly #byConnection = new Map<RemotingConnection, Set<Held>>();
  readonly #byTick = new Map<number, Set<Held>>();
  #count = 0;
  #timer: Timer | null = null;
  #timerTick = Infinity;
  #stopped = false;

  constructor(options: PullRequestHoldOptions) {
    this.#options = options;
    this.#heldMax = options.heldMax ?? HELD_MAX;
    this.#heldOfConnectionMax = options.heldOfConnectionMax ?? HELD_OF_CONNECTION_MAX;
  }

  /** Pulls held now. */
  get heldCount(): number {
    return this.#count;
  }

  /** Holds a pull, or says why it is to be answered now: too many are held, or node or connection end. */
  hold(pull: HeldPull): "held" | "full" | "stopped" {
    if (this.#stopped || pull.connection.closed) return "stopped";
    const ofConnection = this.#byConnection.get(pull.connection);
    if (this.#count >= this.#heldMax || (ofConnection?.size ?? 0) >= this.#heldOfConnectionMax) return "full";
    const held: Held = { pull, from: pull.pullFromThisOffset, tick: Math.ceil(pull.deadlineMs / TICK_MS) };
    let ofTopic = this.#held.get(pull.topic);
    if (ofTopic === undefined) this.#held.set(pull.topic, ofTopic = new Map());
    addTo(ofTopic, pull.queueId, held);
    addTo(this.#byConnection, pull.connection, held);
    addTo(this.#byTick, held.tick, held);
    if (this.#count++ === 0) this.#options.store.setMessageArrivingListener(this);
    this.#armTimer(held.tick);
    return "held";
  }

  isWaitingFor(topic: string, queueId: number): boolean {
    return this.#held.get(topic)?.has(queueId) ?? false;
  }

  arriving(topic: string, queueId: number, maxOffset: number, tagsCode: number): void {
    const ofQueue = this.#held.get(topic)?.get(queueId);
    if (ofQueue === undefined) return;
    for (const held of [...ofQueue]) {
      if (maxOffset <= held.from || !ofQueue.has(held)) continue;
      const { filter } = held.pull;
      if (filter === null || filter.isMatchedByConsumeQueue(tagsCode)) {
        this.#remove(held);
        held.pull.wakeUp(false, held.from);
      } else if (maxOffset === held.from + 1) {
        // Nobody need look at this one again: else a queue of others' messages would be read over at the deadline.
        held.from = maxOffset;
      }
    }
  }

  /** Wakes every pull: what decides about them has changed, such as the role. */
  wakeAll(): void {
    this.#wakeFinally([...this.#byConnection.values()].flatMap((held) => [...held]));
  }

  /** A connection ended: nobody waits for its pulls any more. */
  onConnectionClosed(connection: RemotingConnection): void {
    for (const held of [...this.#byConnection.get(connection) ?? []]) this.#remove(held);
  }

  /** Answers every pull; none is held from here on. */
  stop(): void {
    this.#stopped = true;
    this.wakeAll();
  }

  #wakeFinally(all: readonly Held[]): void {
    for (const held of all) this.#remove(held);
    for (const { pull, from } of all) if (!pull.connection.closed) pull.wakeUp(true, from);
  }

  #remove(held: Held): void {
    const { topic, queueId, connection } = held.pull;
    const ofTopic = this.#held.get(topic);
    if (ofTopic === undefined || !removeFrom(ofTopic, queueId, held)) return;
    if (ofTopic.size === 0) this.#held.delete(topic);
    removeFrom(this.#byConnection, connection, held);
    removeFrom(this.#byTick, held.tick, held);
    if (--this.#count > 0) return;
    this.#options.store.setMessageArrivingListener(null);
    this.#timer?.cancel();
    this.#timer = null;
    this.#timerTick = Infinity;
  }

  #armTimer(tick: number): void {
    if (tick >= this.#timerTick) return;
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timerTick = tick;
    this.#timer = clock.setTimer(Math.max(1, Math.ceil(tick * TICK_MS - clock.monotonic())), () => this.#onTimer());
  }

  #onTimer(): void {
    this.#timer = null;
    this.#timerTick = Infinity;
    const now = this.#options.clock.monotonic();
    const due = [...this.#byTick.keys()].filter((tick) => tick * TICK_MS <= now).sort((a, b) => a - b);
    this.#wakeFinally(due.flatMap((tick) => [...this.#byTick.get(tick)!]));
    let next = Infinity;
    for (const tick of this.#byTick.keys()) next = Math.min(next, tick);
    if (next < Infinity) this.#armTimer(next);
  }
}

function addTo<K>(sets: Map<K, Set<Held>>, key: K, held: Held): void {
  const set = sets.get(key);
  if (set === undefined) sets.set(key, new Set([held]));
  else set.add(held);
}

/** Whether it was there. */
function removeFrom<K>(sets: Map<K, Set<Held>>, key: K, held: Held): boolean {
  const set = sets.get(key);
  if (set === undefined || !set.delete(held)) return false;
  if (set.size === 0) sets.delete(key);
  return true;
}
