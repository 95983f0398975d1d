// Cuts a master's byte stream into transfer headers and pieces of their bodies, whatever way the network split or
// glued them. It owns framing only: it holds at most one incomplete header, copies no body and knows no log. The
// slave's driver feeds it what it read and drains it before it reads again.

import { assert, ProtocolError } from "../base/errors.ts";
import { IS_HA_PORT, readTransferHeader, TLS_ALERT_BYTE, TRANSFER_HEADER_SIZE, type TransferHeader } from "./frames.ts";

/** What {@link TransferDecoder.next} found: a whole header, or a piece of the body of the last one. */
export type TransferPart = "header" | "body";

/**
 * A pull decoder: `feed` lends it bytes, `next` hands out one part at a time until it returns null. Where Apache's
 * `DefaultHAClient` collects a whole frame in a 4 MiB buffer, bodies are handed out here as they come.
 */
export class TransferDecoder {
  /** Of the last header: where its body stands in the log; of a heartbeat, the next offset the master will send. */
  physicOffset = 0;
  /** Of the last header: bytes of its body; 0 for a heartbeat. */
  bodySize = 0;
  /** Of the last body part: where {@link chunk} stands in the log. */
  chunkOffset = 0;
  /** Of the last body part: a view of the bytes that were fed, valid as long as those are. */
  chunk: Uint8Array = NO_BYTES;

  readonly #header = new Uint8Array(TRANSFER_HEADER_SIZE);
  #headerHeld = 0;
  #atStart = true;
  #isFirst = true;
  #bodyLeft = 0;
  #input: Uint8Array = NO_BYTES;
  #at = 0;

  /** Lends `bytes` until {@link next} has returned null. What was fed before must be drained. */
  feed(bytes: Uint8Array): void {
    assert(this.#at === this.#input.length, "TransferDecoder was fed before it was drained");
    this.#input = bytes;
    this.#at = 0;
  }

  /**
   * The next part, described by the fields above; null when what was fed is used up. Throws {@link ProtocolError} for
   * a header no master may send, before any byte of its body is handed out; the stream is useless from there on.
   */
  next(): TransferPart | null {
    const available = this.#input.length - this.#at;
    if (available === 0) return this.#drained();
    return this.#bodyLeft > 0 ? this.#nextBody(available) : this.#nextHeader(available);
  }

  #nextBody(available: number): TransferPart {
    const size = Math.min(available, this.#bodyLeft);
    this.chunk = this.#input.subarray(this.#at, this.#at + size);
    this.chunkOffset = this.physicOffset + this.bodySize - this.#bodyLeft;
    this.#at += size;
    this.#bodyLeft -= size;
    return "body";
  }

  #nextHeader(available: number): TransferPart | null {
    // An alert is shorter than a header, and then the master closes: it is seen by the stream's first byte.
    if (this.#atStart && this.#input[this.#at] === TLS_ALERT_BYTE) {
      throw new ProtocolError("Master speaks TLS, wanted a transfer: haTlsEnable is on there and off here");
    }
    this.#atStart = false;
    if (this.#headerHeld === 0 && available >= TRANSFER_HEADER_SIZE) {
      this.#take(this.#input, this.#at);
      this.#at += TRANSFER_HEADER_SIZE;
      return "header";
    }
    const size = Math.min(available, TRANSFER_HEADER_SIZE - this.#headerHeld);
    this.#header.set(this.#input.subarray(this.#at, this.#at + size), this.#headerHeld);
    this.#headerHeld += size;
    this.#at += size;
    if (this.#headerHeld < TRANSFER_HEADER_SIZE) return this.#drained();
    this.#headerHeld = 0;
    this.#take(this.#header, 0);
    return "header";
  }

  /** Gives back what was lent. */
  #drained(): null {
    this.#input = NO_BYTES;
    this.#at = 0;
    return null;
  }

  #take(bytes: Uint8Array, at: number): void {
    const header = this.#isFirst ? readFirstHeader(bytes, at) : readTransferHeader(bytes, at);
    this.#isFirst = false;
    const end = header.physicOffset + header.bodySize;
    if (!Number.isSafeInteger(end)) throw new ProtocolError(`Transfer ends at ${end}, wanted at most 2^53 - 1`);
    this.physicOffset = header.physicOffset;
    this.bodySize = header.bodySize;
    this.#bodyLeft = header.bodySize;
  }
}

/** What comes first and is no header is mostly another port's protocol: text, or a remoting command. */
function readFirstHeader(bytes: Uint8Array, at: number): TransferHeader {
  try {
    return readTransferHeader(bytes, at);
  } catch (error) {
    if (!(error instanceof ProtocolError)) throw error;
    throw new ProtocolError(`${error.message}; ${IS_HA_PORT}`);
  }
}

const NO_BYTES = new Uint8Array(0);
