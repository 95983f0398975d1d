// Frames of one connection that wait to be written. Small ones are written into a common buffer as they come, so that many
// answers cost one write; a large body goes as it is. Pure: the connection takes pieces and writes them.

import { giveBuffer, takeBuffer } from "../base/buffer_pool.ts";
import { encodeFrame, encodeHead, headSizeMax, type RemotingCommand } from "./remoting_command.ts";

/** A body of so many bytes or more is not copied. */
export const LENT_BODY_SIZE_MIN = 64 * 1024;
/** The common buffer begins with so many bytes, or as many as the last one was filled with, */
const BUFFER_SIZE_MIN = 1024;
/** and grows to so many at most: then a piece is full. A frame beyond it has a piece of its own. */
const BUFFER_SIZE_MAX = 256 * 1024;

interface Piece {
  readonly bytes: Uint8Array;
  /** Memory behind it. */
  readonly held: number;
  /** Lets that memory be used again. */
  readonly release: (() => void) | undefined;
}

/** Oldest first. Nothing here is bounded: whoever pushes looks at {@link bytes} before. */
export class OutboundQueue {
  /** Whole pieces, in front of the buffer's. */
  readonly #pieces: Piece[] = [];
  #buffer: Uint8Array<ArrayBuffer> | null = null;
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
    return this.#piecesHeld + (this.#buffer?.buffer.byteLength ?? 0);
  }

  /**
   * Takes a command in. A body of less than {@link LENT_BODY_SIZE_MIN} bytes is copied and released, a larger one lent
   * until it is written.
   */
  push(command: RemotingCommand): void {
    const { body, release } = command;
    const isLent = body.length >= LENT_BODY_SIZE_MIN;
    const headMax = headSizeMax(command);
    // A number that got where a text belongs: JSON can write it.
    if (Number.isNaN(headMax)) return this.#pushFrame(command);
    this.#reserve(headMax + (isLent ? 0 : body.length));
    const at = this.#used;
    const buffer = this.#buffer!;
    const end = encodeHead(command, buffer, at);
    if (!(end >= 0)) return this.#pushFrame(command);
    this.#bytes += end - at + body.length;
    if (isLent) {
      this.#used = end;
      this.#cut();
      // One that is used again has a buffer of its own, which may be larger.
      this.#add(body, release === undefined ? body.length : body.buffer.byteLength, release);
    } else {
      buffer.set(body, end);
      this.#used = end + body.length;
      release?.();
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
    const { bytes, held, release } = this.#pieces.shift()!;
    this.#bytes -= bytes.length;
    this.#piecesHeld -= held;
    release?.();
  }

  /** Drops everything. Nothing is released: a write may still be under way. */
  clear(): void {
    this.#pieces.length = 0;
    this.#buffer = null;
    this.#used = this.#bytes = this.#piecesHeld = 0;
  }

  #pushFrame(command: RemotingCommand): void {
    const frame = encodeFrame(command);
    command.release?.();
    this.#reserve(frame.length);
    this.#buffer!.set(frame, this.#used);
    this.#used += frame.length;
    this.#bytes += frame.length;
  }

  #add(bytes: Uint8Array, held: number, release: (() => void) | undefined): void {
    this.#pieces.push({ bytes, held, release });
    this.#piecesHeld += held;
  }

  /** Makes a piece of what is in the buffer. */
  #cut(): void {
    const buffer = this.#buffer;
    if (buffer !== null && this.#used > 0) {
      this.#add(buffer.subarray(0, this.#used), buffer.buffer.byteLength, () => giveBuffer(buffer));
    }
    this.#buffer = null;
    this.#used = 0;
  }

  /** Makes room for `size` bytes behind what is in the buffer. */
  #reserve(size: number): void {
    const needed = this.#used + size;
    if (this.#buffer !== null && needed <= this.#buffer.length) return;
    if (needed > BUFFER_SIZE_MAX) this.#cut();
    const wanted = Math.max(this.#used + size, this.#used === 0 ? this.#sizeHint : 2 * this.#used);
    const buffer = takeBuffer(Math.max(this.#used + size, Math.min(wanted, BUFFER_SIZE_MAX)));
    if (this.#buffer !== null) {
      buffer.set(this.#buffer.subarray(0, this.#used));
      giveBuffer(this.#buffer);
    }
    this.#buffer = buffer;
  }
}
