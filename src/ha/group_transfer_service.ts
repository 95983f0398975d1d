// Producers that wait for their bytes to be on enough replicas. Pure: acknowledged offsets and the time come in, each
// request is completed once, by offset order and without looking at the ones behind it. Whose acks count is HAService's.

/** How a wait ends. Values of Apache's `PutMessageStatus`. */
export type GroupCommitStatus = "PUT_OK" | "FLUSH_SLAVE_TIMEOUT";

/** A waiting producer. Mirrors Apache's `CommitLog.GroupCommitRequest`. */
export interface GroupCommitRequest {
  /** End of what it wrote. */
  readonly nextOffset: number;
  /** Replicas that must hold it, the master counted; at least 2. */
  readonly ackNums: number;
  /** Monotonic ms. */
  readonly deadline: number;
  /** Called once. */
  readonly complete: (status: GroupCommitStatus) => void;
}

/** Waiting producers held at most; one more is told FLUSH_SLAVE_TIMEOUT at once (its message is kept, as always). */
export const GROUP_COMMIT_REQUESTS_MAX = 65_536;

/**
 * Mirrors Apache's `GroupTransferService`, but every request is judged by itself on each ack, where Apache judges them
 * one after another and lets a slow one delay the rest.
 */
export class GroupTransferService {
  readonly #requestsMax: number;
  /** Per `ackNums`, ordered by `nextOffset`: what an ack satisfies is always a prefix. */
  readonly #queues = new Map<number, GroupCommitRequest[]>();
  #waiting = 0;
  #earliestDeadline: number | null = null;
  /** Whether within each queue deadlines only grow, as they do while `slaveTimeout` stays: the late are a prefix then. */
  #inDeadlineOrder = true;

  constructor(requestsMax: number = GROUP_COMMIT_REQUESTS_MAX) {
    this.#requestsMax = requestsMax;
  }

  /** Requests not completed yet. */
  get waiting(): number {
    return this.#waiting;
  }

  /** Adds a request that the acks seen so far do not satisfy. */
  putRequest(request: GroupCommitRequest): void {
    if (this.#waiting >= this.#requestsMax) return request.complete("FLUSH_SLAVE_TIMEOUT");
    const queue = this.#queues.get(request.ackNums) ?? [];
    this.#queues.set(request.ackNums, queue);
    // Producers come nearly in offset order, so its place is at or near the end.
    let at = queue.length;
    while (at > 0 && queue[at - 1]!.nextOffset > request.nextOffset) at--;
    const before = queue[at - 1];
    if (at < queue.length || (before !== undefined && before.deadline > request.deadline)) {
      this.#inDeadlineOrder = false;
    }
    if (at === queue.length) queue.push(request);
    else queue.splice(at, 0, request);
    this.#waiting++;
    this.#earliestDeadline = Math.min(this.#earliestDeadline ?? request.deadline, request.deadline);
  }

  /** The acknowledged offsets of the distinct slaves, greatest first, have changed. */
  onAcks(acksDescending: readonly number[]): void {
    for (const [ackNums, queue] of this.#queues) {
      const held = ackedBy(acksDescending, ackNums);
      let count = 0;
      while (count < queue.length && queue[count]!.nextOffset <= held) count++;
      if (count > 0) this.#finish(ackNums, queue.slice(count), queue.slice(0, count), "PUT_OK");
    }
  }

  /** When {@link onTick} may have something to do; null when nobody waits. */
  nextDeadline(): number | null {
    return this.#waiting === 0 ? null : this.#earliestDeadline;
  }

  /** Fails every request whose deadline has come. */
  onTick(now: number): void {
    if (this.#waiting === 0 || now < this.#earliestDeadline!) return;
    for (const [ackNums, queue] of this.#queues) {
      const [late, left] = this.#inDeadlineOrder ? splitAtFirstInTime(queue, now) : partition(queue, now);
      if (late.length > 0) this.#finish(ackNums, left, late, "FLUSH_SLAVE_TIMEOUT");
    }
    this.#earliestDeadline = null;
    for (const queue of this.#queues.values()) {
      // In order the first is the earliest; else all have to be asked.
      for (const { deadline } of this.#inDeadlineOrder ? queue.slice(0, 1) : queue) {
        this.#earliestDeadline = Math.min(this.#earliestDeadline ?? deadline, deadline);
      }
    }
  }

  /** Fails every request: the service ends, or the node is no longer the master. */
  failAll(): void {
    for (const [ackNums, queue] of this.#queues) this.#finish(ackNums, [], queue, "FLUSH_SLAVE_TIMEOUT");
    this.#earliestDeadline = null;
  }

  #finish(ackNums: number, left: GroupCommitRequest[], done: GroupCommitRequest[], status: GroupCommitStatus): void {
    if (left.length === 0) this.#queues.delete(ackNums);
    else this.#queues.set(ackNums, left);
    this.#waiting -= done.length;
    if (this.#waiting === 0) this.#inDeadlineOrder = true;
    for (const request of done) request.complete(status);
  }
}

/** The offset that `ackNums` replicas hold, the master counted as one that holds everything; -1 with too few slaves. */
export function ackedBy(acksDescending: readonly number[], ackNums: number): number {
  return ackNums <= 1 ? Number.MAX_SAFE_INTEGER : acksDescending[ackNums - 2] ?? -1;
}

type Split = [late: GroupCommitRequest[], left: GroupCommitRequest[]];

function splitAtFirstInTime(queue: readonly GroupCommitRequest[], now: number): Split {
  let count = 0;
  while (count < queue.length && queue[count]!.deadline <= now) count++;
  return [queue.slice(0, count), queue.slice(count)];
}

function partition(queue: readonly GroupCommitRequest[], now: number): Split {
  return [queue.filter(({ deadline }) => deadline <= now), queue.filter(({ deadline }) => deadline > now)];
}
