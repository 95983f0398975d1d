// Frames of one connection that wait to be written. Small ones are written into a common buffer as they come, so that many
// answers cost one allocation and one write; a large body goes as it is. Pure: the connection takes pieces and writes them.

import { encodeFrame, encodeHead, headSizeMax, type RemotingCommand } from "./remoting_command.ts";

/** A body of so many bytes or more is not copied. */
export const LENT_BODY_SIZE_MIN = 64 * 1024;
/** The common buffer begins with so many bytes, or as many as the last one was filled with, */
const BUFFER_SIZE_MIN = 1024;
/** and grows to so many at most: then a piece is full. A frame beyond it has a piece of its own. */
const BUFFER_SIZE_MAX = 64 * 1024;

interface Piece {
  readonly bytes: Uint8Array;
  /** Memory behind it. */
  readonly held: number;
}

/** Oldest first. Nothing here is bounded: whoever pushes looks at {@link bytes} before. */
export class OutboundQueue {
  /** Whole pieces, in front of the buffer's. */
  readonly #pieces: Piece[] = [];
  #buffer: Uint8Array | null = null;
  #used = 0;
  #sizeHint = BUFFER_SIZE_MIN;
  #bytes = 0;
  #piecesHeld = 0;

  /** Bytes that wait. */
  get bytes(): number {
    return this.#bytes;
  }

  /** Memory taken for them, bytes. */
  get heldBytes(): number {
    return this.#piecesHeld + (this.#buffer?.length ?? 0);
  }

  /** Takes a command in. A body of less than {@link LENT_BODY_SIZE_MIN} bytes is copied, a larger one lent until written. */
  push(command: RemotingCommand): void {
    const { body } = command;
    const isLent = body.length >= LENT_BODY_SIZE_MIN;
    const headMax = headSizeMax(command);
    // A number that got where a text belongs: JSON can write it.
    if (Number.isNaN(headMax)) return this.#pushFrame(encodeFrame(command));
    this.#reserve(headMax + (isLent ? 0 : body.length));
    const at = this.#used;
    const buffer = this.#buffer!;
    const end = encodeHead(command, buffer, at);
    if (!(end >= 0)) return this.#pushFrame(encodeFrame(command));
    this.#bytes += end - at + body.length;
    if (isLent) {
      this.#used = end;
      this.#cut();
      this.#add(body, body.length);
    } else {
      buffer.set(body, end);
      this.#used = end + body.length;
    }
  }

  /** The piece to write next, the same one until {@link written}; null when there is none. */
  front(): Uint8Array | null {
    if (this.#pieces.length === 0 && this.#used > 0) {
      this.#sizeHint = Math.max(this.#used, BUFFER_SIZE_MIN);
      this.#cut();
    }
    return this.#pieces[0]?.bytes ?? null;
  }

  /** The front piece is written, and gone. */
  written(): void {
    const { bytes, held } = this.#pieces.shift()!;
    this.#bytes -= bytes.length;
    this.#piecesHeld -= held;
  }

  /** Drops everything. */
  clear(): void {
    this.#pieces.length = 0;
    this.#buffer = null;
    this.#used = this.#bytes = this.#piecesHeld = 0;
  }

  #pushFrame(frame: Uint8Array): void {
    this.#reserve(frame.length);
    this.#buffer!.set(frame, this.#used);
    this.#used += frame.length;
    this.#bytes += frame.length;
  }

  #add(bytes: Uint8Array, held: number): void {
    this.#pieces.push({ bytes, held });
    this.#piecesHeld += held;
  }

  /** Makes a piece of what is in the buffer. */
  #cut(): void {
    if (this.#used > 0) this.#add(this.#buffer!.subarray(0, this.#used), this.#buffer!.length);
    this.#buffer = null;
    this.#used = 0;
  }

  /** Makes room for `size` bytes behind what is in the buffer. */
  #reserve(size: number): void {
    const needed = this.#used + size;
    if (this.#buffer !== null && needed <= this.#buffer.length) return;
    if (needed > BUFFER_SIZE_MAX) this.#cut();
    const wanted = Math.max(this.#used + size, this.#used === 0 ? this.#sizeHint : 2 * this.#used);
    const buffer = new Uint8Array(Math.max(this.#used + size, Math.min(wanted, BUFFER_SIZE_MAX)));
    if (this.#used > 0) buffer.set(this.#buffer!.subarray(0, this.#used));
    this.#buffer = buffer;
  }
}
