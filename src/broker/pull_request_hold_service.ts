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
  /** Queue offset it asks for. */
  readonly pullFromThisOffset: number;
  /** null: every message is for it. */
  readonly filter: MessageFilter | null;
  /** On the monotonic clock, ms. */
  readonly deadlineMs: number;
  /** Runs it again. Final: whatever comes of it is its answer; else it may be held anew. */
  readonly wakeUp: (isFinal: boolean) => void;
}

/** What a {@link PullRequestHoldService} needs. */
export interface PullRequestHoldOptions {
  readonly clock: Clock;
  readonly store: { setMessageArrivingListener(listener: MessageArrivingListener | null): void };
  /** Pulls held at once, of all connections. */
  readonly heldMax?: number;
}

/** Memory bound: a held pull takes about a kilobyte. */
const HELD_MAX = 500_000;
/** Deadlines that come so near one another are served by one wake-up, ms. */
const TICK_MS = 50;

/** Mirrors Apache's `PullRequestHoldService`; it differs in waking at the deadline instead of within 5 s of it. */
export class PullRequestHoldService implements MessageArrivingListener {
  readonly #options: PullRequestHoldOptions;
  readonly #heldMax: number;
  /** By topic and queue, in the order of coming. */
  readonly #held = new Map<string, Map<number, Set<HeldPull>>>();
  readonly #byConnection = new Map<RemotingConnection, Set<HeldPull>>();
  #count = 0;
  #timer: Timer | null = null;
  #timerAtMs = Infinity;
  #stopped = false;

  constructor(options: PullRequestHoldOptions) {
    this.#options = options;
    this.#heldMax = options.heldMax ?? HELD_MAX;
  }

  /** Pulls held now. */
  get heldCount(): number {
    return this.#count;
  }

  /** Holds a pull; false when there are too many or the node stops: it is to be answered now. */
  hold(pull: HeldPull): boolean {
    if (this.#stopped || this.#count >= this.#heldMax || pull.connection.closed) return false;
    let ofTopic = this.#held.get(pull.topic);
    if (ofTopic === undefined) this.#held.set(pull.topic, ofTopic = new Map());
    let ofQueue = ofTopic.get(pull.queueId);
    if (ofQueue === undefined) ofTopic.set(pull.queueId, ofQueue = new Set());
    ofQueue.add(pull);
    let ofConnection = this.#byConnection.get(pull.connection);
    if (ofConnection === undefined) this.#byConnection.set(pull.connection, ofConnection = new Set());
    ofConnection.add(pull);
    if (this.#count++ === 0) this.#options.store.setMessageArrivingListener(this);
    this.#armTimer(pull.deadlineMs);
    return true;
  }

  isWaitingFor(topic: string, queueId: number): boolean {
    return this.#held.get(topic)?.has(queueId) ?? false;
  }

  arriving(topic: string, queueId: number, maxOffset: number, tagsCode: number): void {
    const ofQueue = this.#held.get(topic)?.get(queueId);
    if (ofQueue === undefined) return;
    for (const pull of [...ofQueue]) {
      if (maxOffset <= pull.pullFromThisOffset) continue;
      if (pull.filter !== null && !pull.filter.isMatchedByConsumeQueue(tagsCode)) continue;
      this.#remove(pull);
      pull.wakeUp(false);
    }
  }

  /** Wakes every pull: what decides about them has changed, such as the role. */
  wakeAll(): void {
    for (const pull of this.#all()) {
      this.#remove(pull);
      pull.wakeUp(true);
    }
  }

  /** A connection ended: nobody waits for its pulls any more. */
  onConnectionClosed(connection: RemotingConnection): void {
    for (const pull of [...this.#byConnection.get(connection) ?? []]) this.#remove(pull);
  }

  /** Answers every pull; none is held from here on. */
  stop(): void {
    this.#stopped = true;
    this.wakeAll();
  }

  #all(): HeldPull[] {
    return [...this.#byConnection.values()].flatMap((pulls) => [...pulls]);
  }

  #remove(pull: HeldPull): void {
    const ofTopic = this.#held.get(pull.topic);
    const ofQueue = ofTopic?.get(pull.queueId);
    if (ofQueue === undefined || !ofQueue.delete(pull)) return;
    if (ofQueue.size === 0) ofTopic!.delete(pull.queueId);
    if (ofTopic!.size === 0) this.#held.delete(pull.topic);
    const ofConnection = this.#byConnection.get(pull.connection)!;
    ofConnection.delete(pull);
    if (ofConnection.size === 0) this.#byConnection.delete(pull.connection);
    if (--this.#count > 0) return;
    this.#options.store.setMessageArrivingListener(null);
    this.#timer?.cancel();
    this.#timer = null;
    this.#timerAtMs = Infinity;
  }

  #armTimer(deadlineMs: number): void {
    if (deadlineMs >= this.#timerAtMs) return;
    const { clock } = this.#options;
    this.#timer?.cancel();
    this.#timerAtMs = deadlineMs;
    this.#timer = clock.setTimer(Math.max(1, Math.ceil(deadlineMs - clock.monotonic())), () => this.#tick());
  }

  #tick(): void {
    this.#timer = null;
    this.#timerAtMs = Infinity;
    const due = this.#options.clock.monotonic();
    let next = Infinity;
    for (const pull of this.#all()) {
      if (pull.deadlineMs <= due) {
        this.#remove(pull);
        pull.wakeUp(true);
      } else if (pull.deadlineMs < next) next = pull.deadlineMs;
    }
    // Not sooner than a tick from here: with many pulls, each look goes through all of them.
    if (next < Infinity && this.#count > 0) this.#armTimer(Math.max(next, due + TICK_MS));
  }
}
