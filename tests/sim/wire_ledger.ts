// What clients of a simulation sent and what the group got: which message, how it ended, and by queue offset what was
// delivered there. client_checks.ts judges it in the end.

import type { PutRecord } from "./workload.ts";

/** How a message is sent. */
export type WireKind = "plain" | "batch" | "delayed" | "half";

/** One message, whatever became of it. */
export interface SentMessage {
  readonly id: number;
  readonly kind: WireKind;
  readonly producer: number;
  readonly queueId: number;
  readonly body: Uint8Array;
  readonly key: string;
  /** World time of the send, ms. */
  readonly sentMs: number;
  /** Not to be delivered for so long, ms. */
  readonly delayMs: number;
  /** What a transaction's producer says when it is asked. */
  readonly end: "commit" | "rollback";
  /** Commits sent so far. */
  commits: number;
  /** Where and how it was promised; null: not answered with SEND_OK. */
  promise: PutRecord | null;
}

/** Ids are the first digits of each body. */
const ID_DIGITS = 7;

/** Everything sent, everything delivered. */
export class WireLedger {
  readonly sent: SentMessage[] = [];
  /** How often the group got each message, by id. */
  readonly delivered = new Map<number, number>();
  /** A node with a damaged disk was read from: it may have lost a message, and counts those behind it by another number. */
  isMisled = false;
  /** Ids delivered at each queue offset. More than one, where a node lost what had been read and another message came. */
  readonly #slots = new Map<string, Set<number>>();

  /** Notes a message that is about to be sent. */
  note(message: Omit<SentMessage, "id" | "key" | "body" | "commits" | "promise">, random: Uint8Array): SentMessage {
    const id = this.sent.length;
    const text = String(id).padStart(ID_DIGITS, "0");
    const body = new Uint8Array(Math.max(random.length, ID_DIGITS));
    body.set(random);
    body.set(new TextEncoder().encode(text));
    const sent: SentMessage = { ...message, id, body, key: `w${text}`, commits: 0, promise: null };
    this.sent.push(sent);
    return sent;
  }

  /** The message with this body; undefined where none such was sent. */
  messageOf(body: Uint8Array): SentMessage | undefined {
    const sent = this.sent[Number(new TextDecoder().decode(body.subarray(0, ID_DIGITS)))];
    return sent !== undefined && Buffer.compare(sent.body, body) === 0 ? sent : undefined;
  }

  /** The group got it there. */
  deliver(queueId: number, queueOffset: number, id: number): void {
    this.#slot(queueId, queueOffset).add(id);
    this.delivered.set(id, (this.delivered.get(id) ?? 0) + 1);
  }

  /** The group was sent on, beyond what is expired. */
  skip(queueId: number, from: number, to: number): void {
    for (let offset = from; offset < to; offset++) this.#slot(queueId, offset);
  }

  /** Whether the group got anything at that place, or was sent on from there. */
  hasSeen(queueId: number, queueOffset: number): boolean {
    return this.#slots.has(`${queueId}/${queueOffset}`);
  }

  #slot(queueId: number, queueOffset: number): Set<number> {
    const key = `${queueId}/${queueOffset}`;
    let slot = this.#slots.get(key);
    if (slot === undefined) this.#slots.set(key, slot = new Set());
    return slot;
  }
}
