// The table of what must hold in a simulation: each invariant's name, which a failure report gives, and its prose; and
// the count of how often each was checked, which a run prints so that nobody trusts a check that never ran. The checks
// themselves are in checkers.ts, readers.ts and rest_checks.ts.

/** Name and meaning of every invariant. */
export const INVARIANTS = {
  positionsInOrder: "A node's min, flushed and confirm offsets never exceed its max offset",
  logOnlyGrows: "Within a life a log never shrinks, but for a resync that the operator allowed; flushed never falls",
  pieceOfMaster: "A slave that follows holds a byte-for-byte piece of its master's log, and nothing beyond its end",
  neverJoined:
    "Logs that differ anywhere are never joined: who is verified holds what its master holds, from the start on",
  transferAfterFlush: "With haTransferAfterFlush no slave holds what its master has not flushed",
  ackedIsHeld: "No slave has acknowledged more than it has appended (with haAckAfterFlush: flushed)",
  promisedCopies: "PUT_OK of a SYNC_MASTER comes when as many copies as promised hold the message, byte for byte",
  promisedFlush: "PUT_OK under SYNC_FLUSH comes when the message is on the master's disk",
  survivesRestart: "A node comes back with all it had written (a kill) or flushed (a crash)",
  recoveredPrefix: "What a node comes back with is, byte for byte, the front of what it had",
  survivesFailover: "A promoted node holds every promised message that any trusted candidate holds",
  promisedMessages: "In the end the master holds every promised message, but for those whose promise covered less",
  heldMessages: "Every message that a node holds can be read from it, as it was put, by queue and by key",
  queueOffsets: "Queue offsets have no gap and no duplicate; no message is in a log twice",
  consumeQueues: "Consume queues equal, unit by unit, what the log alone says",
  indexes: "Index files equal, entry by entry, what the log alone says",
  storeVerifies: "`verify` finds nothing wrong with a store at rest",
  readsStay: "A message that was read from a node never vanishes from it and never changes, but for expiry and cuts",
  servesOnlyGood: "What a node serves is what was put: right body, topic and queue",
  servesOnlyConfirmed: "Nothing is served beyond the confirm offset: under SYNC_FLUSH what a reader saw is on the disk",
  appendsOnlyGood:
    "Whatever a node appends is whole records that pass their own check, and nothing of it is acked before",
  cutsOnlyTheRest:
    "A resync cuts at the record of the first difference, never below what both logs share, and keeps what it cuts aside",
  trueStops: "A slave stops following only where the logs do differ, or the next byte is gone",
  bounded: "Open files, connections, timers, queued bytes and pending events of a node stay bounded",
  stopsClean: "A node that has stopped in order holds no open file, timer or connection, though its program goes on",
  noLeftovers: "A program that has ended leaves no timer, connection or work behind",
  fatalHasCause: "A node ends by itself only after a failed sync or on a damaged disk, and never of a bug",
  startsAgain: "A node with a healthy disk starts",
  noBug: "No put and no administrative call fails in an unforeseen way",
  recoveryIsIdempotent: "Recovering twice gives the same bytes as recovering once",
  converges: "Once the faults are over everyone follows and has dispatched all within 60 s of world time",
  answersInTime: "A put is answered within the time-outs that its wait has and 1 s, a topic's first within 5 s",
  inSyncCounted:
    "Slaves in sync are those that follow: in the end by number, and whenever a put is refused for want of them",
  writable: "Once the faults are over a put is told what the settings and the number of slaves say: PUT_OK with enough",
} as const;

/** Name and meaning of what holds besides where remoting clients take part. */
export const CLIENT_INVARIANTS = {
  sentIsDelivered:
    "Every message of the topic in the master's log, and every one answered with SEND_OK whose promise still holds, is delivered to the group at least once, a delayed or committed one as well",
  queueInOrder:
    "The group gets a queue's messages without gap, in the order of the log; what a producer sent one after another stands there so, and once",
  neverEarly: "With right clocks no delayed message is delivered before its time",
  transactionsDecide:
    "A transaction's message is delivered only where it was committed, and stored once per commit at most",
  committedIsDelivered: "An offset that a broker names as consumed has nothing undelivered below it",
  pullsAreAnswered: "A held pull is answered in time, or its connection ends",
} as const;

/** The name of an invariant. */
export type InvariantName = keyof typeof INVARIANTS | keyof typeof CLIENT_INVARIANTS;

/** An invariant is broken. */
export class Violation extends Error {
  readonly invariant: InvariantName;

  constructor(invariant: InvariantName, detail: string) {
    super(`${invariant}: ${detail}`);
    this.name = "Violation";
    this.invariant = invariant;
  }
}

/** How often each invariant was checked in a run. */
export class InvariantCounts {
  readonly counts: Record<string, number> = {};

  /** Counts `times` checks. */
  add(invariant: InvariantName, times = 1): void {
    this.counts[invariant] = (this.counts[invariant] ?? 0) + times;
  }

  /** Counts a check, and throws unless it holds. */
  holds(invariant: InvariantName, isSo: boolean, detail: () => string): void {
    this.add(invariant);
    if (!isSo) throw new Violation(invariant, detail());
  }
}
