// The pending events of a simulated world: a binary heap by due time, then by a seeded priority, then by age. It only
// orders; the world decides when an event is released. An event knows its place in the heap, so cancelling is cheap
// and a cancelled timer leaves nothing behind.

import type { SimulatedEvent } from "./scheduler.ts";

/** Events by due time. */
export class EventQueue {
  readonly #heap: SimulatedEvent[] = [];

  get size(): number {
    return this.#heap.length;
  }

  /** The next event, left in place. */
  peek(): SimulatedEvent | undefined {
    return this.#heap[0];
  }

  push(event: SimulatedEvent): void {
    event.heapIndex = this.#heap.length;
    this.#heap.push(event);
    this.#up(event.heapIndex);
  }

  /** Takes the next event out. */
  pop(): SimulatedEvent | undefined {
    const first = this.#heap[0];
    if (first !== undefined) this.remove(first);
    return first;
  }

  /** Takes an event out wherever it is; false when it was not pending. */
  remove(event: SimulatedEvent): boolean {
    const at = event.heapIndex;
    if (at < 0) return false;
    const last = this.#heap.pop()!;
    if (last !== event) {
      this.#heap[at] = last;
      last.heapIndex = at;
      this.#up(at);
      this.#down(last.heapIndex);
    }
    event.heapIndex = -1;
    return true;
  }

  /** Takes out all events for which `test` holds. */
  removeIf(test: (event: SimulatedEvent) => boolean): void {
    for (const event of this.#heap.filter(test)) this.remove(event);
  }

  #up(from: number): void {
    const heap = this.#heap;
    const event = heap[from]!;
    let at = from;
    while (at > 0) {
      const parentAt = (at - 1) >>> 1;
      const parent = heap[parentAt]!;
      if (!isBefore(event, parent)) break;
      heap[at] = parent;
      parent.heapIndex = at;
      at = parentAt;
    }
    heap[at] = event;
    event.heapIndex = at;
  }

  #down(from: number): void {
    const heap = this.#heap;
    const event = heap[from]!;
    let at = from;
    for (;;) {
      let childAt = at * 2 + 1;
      if (childAt >= heap.length) break;
      if (childAt + 1 < heap.length && isBefore(heap[childAt + 1]!, heap[childAt]!)) childAt++;
      const child = heap[childAt]!;
      if (!isBefore(child, event)) break;
      heap[at] = child;
      child.heapIndex = at;
      at = childAt;
    }
    heap[at] = event;
    event.heapIndex = at;
  }
}

function isBefore(a: SimulatedEvent, b: SimulatedEvent): boolean {
  if (a.dueUs !== b.dueUs) return a.dueUs < b.dueUs;
  if (a.priority !== b.priority) return a.priority < b.priority;
  return a.sequence < b.sequence;
}
