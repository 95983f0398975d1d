// The states of an HA connection, for either side, and the one-shot notification of a change (the job of Apache's
// HAConnectionStateNotificationService, without its polling). It holds no connection; HAService and HAClient tell it.

/** Where a connection stands. Mirrors Apache's `HAConnectionState`; its default HA never uses HANDSHAKE and SUSPEND. */
export const HAConnectionState = {
  /** Not connected; the slave is about to connect. */
  READY: "READY",
  /** Connected, but what is exchanged does not count yet (before the first report; while the tail is compared). */
  HANDSHAKE: "HANDSHAKE",
  /** Replicating. */
  TRANSFER: "TRANSFER",
  /** Stopped until an operator decides. */
  SUSPEND: "SUSPEND",
  /** Over. */
  SHUTDOWN: "SHUTDOWN",
} as const;
export type HAConnectionState = (typeof HAConnectionState)[keyof typeof HAConnectionState];

/** How long nobody may be there, ms, before a wait for a state fails. Apache's 10 s. */
const ABSENT_MS_MAX = 10_000;

/** A wait for a connection to reach a state. Mirrors Apache's `HAConnectionStateNotificationRequest`. */
export interface HAConnectionStateNotificationRequest {
  readonly expectState: HAConnectionState;
  /** The peer's IP address, without a port. */
  readonly remoteAddr: string;
  /** A connection of that peer that ends makes the wait fail. */
  readonly notifyWhenShutdown: boolean;
}

/**
 * One pending wait; a new one cancels the old. Mirrors Apache's `HAConnectionStateNotificationService`: true once a
 * connection of that peer is in the state, false when none was there (or the client was READY) for more than 10 s.
 */
export class HAConnectionStateNotificationService {
  readonly #statesOf: (remoteAddr: string) => readonly HAConnectionState[];
  #pending: { request: HAConnectionStateNotificationRequest; complete: (reached: boolean) => void } | null = null;
  /** Since when nobody is there, monotonic ms. */
  #absentSince: number | null = null;

  /** `statesOf` tells the states of the live connections of a peer. */
  constructor(statesOf: (remoteAddr: string) => readonly HAConnectionState[]) {
    this.#statesOf = statesOf;
  }

  /** Waits; `complete` is called once, perhaps at once. `now` is monotonic ms, here and below. */
  setRequest(
    request: HAConnectionStateNotificationRequest,
    complete: (reached: boolean) => void,
    now: number,
  ): void {
    this.cancel();
    this.#pending = { request, complete };
    this.#absentSince = null;
    this.#check(now);
  }

  /** A connection of `remoteAddr` is now in `state`; for SHUTDOWN: is gone. */
  onStateChanged(remoteAddr: string, state: HAConnectionState, now: number): void {
    const request = this.#pending?.request;
    if (request === undefined || request.remoteAddr !== remoteAddr) return;
    if (state === request.expectState) return this.#complete(true);
    if (state === HAConnectionState.SHUTDOWN && request.notifyWhenShutdown) return this.#complete(false);
    this.#check(now);
  }

  /** When {@link onTick} may end the wait by time; null when it can't. */
  nextDeadline(): number | null {
    return this.#absentSince === null ? null : this.#absentSince + ABSENT_MS_MAX;
  }

  /** Time has come to {@link nextDeadline}. */
  onTick(now: number): void {
    const deadline = this.nextDeadline();
    if (deadline !== null && now >= deadline) this.#complete(false);
  }

  /** Ends a pending wait with false. */
  cancel(): void {
    this.#complete(false);
  }

  #check(now: number): void {
    const { request } = this.#pending!;
    const states = this.#statesOf(request.remoteAddr);
    if (states.includes(request.expectState)) return this.#complete(true);
    const present = states.some((state) => state !== HAConnectionState.READY);
    this.#absentSince = present ? null : this.#absentSince ?? now;
  }

  #complete(reached: boolean): void {
    const pending = this.#pending;
    this.#pending = null;
    this.#absentSince = null;
    pending?.complete(reached);
  }
}
