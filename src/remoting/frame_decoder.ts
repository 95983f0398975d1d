// Cuts the bytes of one connection into remoting commands, however the network split them. Pure: the connection feeds
// it and asks; a frame that can't be one is a ProtocolError, after which the decoder is not used again.

import { ProtocolError } from "../base/errors.ts";
import { readInt32 } from "../base/bytes.ts";
import { decodeJsonHeader } from "./json_header.ts";
import { decodeRocketmqHeader } from "./rocketmq_header.ts";
import { type RemotingCommand, SerializeType } from "./remoting_command.ts";
import type { RemotingHeader } from "./remoting_header.ts";

/** Largest frame, its four length bytes included: the default of Apache's `com.rocketmq.remoting.frameMaxLength`. */
export const FRAME_SIZE_MAX = 16_777_216;

/**
 * Largest header, bytes. Apache sets no such bound; its largest headers carry a message's properties, 32 KiB. Decoding
 * one of 16 MiB would hold up everything else for a second.
 */
export const HEADER_SIZE_MAX = 1024 * 1024;

/** A buffer of so many bytes is kept for any rest. */
const SMALL_BUFFER_SIZE = 4096;

const EMPTY = new Uint8Array(0);

/** Mirrors Apache's `NettyDecoder`. */
export class FrameDecoder {
  /** Bytes not yet decoded: either a view of the last chunk, or our own buffer. */
  #bytes: Uint8Array = EMPTY;
  #start = 0;
  #end = 0;
  #owned = false;
  readonly #frameSizeMax: number;

  /** `frameSizeMax`: bytes of the largest frame taken, its length field included. */
  constructor(frameSizeMax: number = FRAME_SIZE_MAX) {
    this.#frameSizeMax = frameSizeMax;
  }

  /** Bytes held of an unfinished frame. */
  get pendingBytes(): number {
    return this.#end - this.#start;
  }

  /** Memory taken for it, bytes: up to four times as much. */
  get heldBytes(): number {
    return this.#owned ? this.#bytes.length : this.pendingBytes;
  }

  /**
   * Takes bytes that are lent until {@link next} has returned null; what is left over then is copied. Memory grows with
   * the bytes that came, never with a length that was announced.
   */
  push(chunk: Uint8Array): void {
    if (this.#start === this.#end) {
      this.#bytes = chunk;
      this.#start = 0;
      this.#end = chunk.length;
      this.#owned = false;
      return;
    }
    this.#reserve(chunk.length);
    this.#bytes.set(chunk, this.#end);
    this.#end += chunk.length;
  }

  /** The next whole command, its body a copy of its own; null when more bytes are needed. */
  next(): RemotingCommand | null {
    const available = this.#end - this.#start;
    if (available >= 4) {
      const size = 4 + this.#checkLength(readInt32(this.#bytes, this.#start));
      // The second word is judged as soon as it is here: garbage is found before it is collected.
      if (available >= 8) this.#checkHeaderWord(size);
      if (available >= size) {
        const command = decodeFrame(this.#bytes, this.#start, this.#start + size);
        this.#start += size;
        return command;
      }
    }
    this.#keepRest();
    return null;
  }

  #checkLength(length: number): number {
    if (length < 4 || length > this.#frameSizeMax - 4) {
      const hint = length >>> 24 === 0x16 ? " (the peer speaks TLS)" : "";
      throw new ProtocolError(`Remoting frame length is ${length}, wanted 4 to ${this.#frameSizeMax - 4}${hint}`);
    }
    return length;
  }

  #checkHeaderWord(size: number): void {
    const word = readInt32(this.#bytes, this.#start + 4);
    const type = word >>> 24;
    if (type !== SerializeType.JSON && type !== SerializeType.ROCKETMQ) {
      throw new ProtocolError(`Remoting header type is ${type}, wanted 0 or 1`);
    }
    const headerSize = word & 0xff_ffff;
    if (headerSize > size - 8) {
      throw new ProtocolError(`Remoting header length is ${headerSize}, the frame leaves ${size - 8}`);
    }
    if (headerSize > HEADER_SIZE_MAX) {
      throw new ProtocolError(`Remoting header length is ${headerSize}, wanted at most ${HEADER_SIZE_MAX}`);
    }
  }

  #keepRest(): void {
    const rest = this.#end - this.#start;
    if (rest === 0) {
      // Also our own buffer: after one large frame an idle connection would hold its memory for good.
      this.#bytes = EMPTY;
      this.#start = this.#end = 0;
      this.#owned = false;
      return;
    }
    // A buffer much larger than its rest is that of a large frame before it; nobody would count what it holds.
    if (this.#owned && this.#bytes.length <= Math.max(4 * rest, SMALL_BUFFER_SIZE)) return;
    this.#bytes = copy(this.#bytes.subarray(this.#start, this.#end));
    this.#start = 0;
    this.#end = rest;
    this.#owned = true;
  }

  /** Makes room for `extra` bytes after what is pending. */
  #reserve(extra: number): void {
    const pending = this.#end - this.#start;
    if (this.#owned && this.#end + extra <= this.#bytes.length) return;
    const buffer = new Uint8Array(Math.max(pending + extra, Math.min(2 * pending, this.#frameSizeMax)));
    buffer.set(this.#bytes.subarray(this.#start, this.#end));
    this.#bytes = buffer;
    this.#start = 0;
    this.#end = pending;
    this.#owned = true;
  }
}

/** One whole frame, its length field included and checked. */
function decodeFrame(bytes: Uint8Array, at: number, end: number): RemotingCommand {
  const word = readInt32(bytes, at + 4);
  const bodyAt = at + 8 + (word & 0xff_ffff);
  const header = bytes.subarray(at + 8, bodyAt);
  const fields = word >>> 24 === SerializeType.JSON ? decodeJsonHeader(header) : decodeRocketmqHeader(header);
  const command = fields as RemotingHeader & { body: Uint8Array };
  command.body = bodyAt === end ? EMPTY : ownBody(bytes, bodyAt, end);
  return command;
}

/** Bodies up to this size share an allocation, which costs more than the copy. */
const SHARED_BODY_SIZE_MAX = 4096;
const SHARED_SIZE = 32 * 1024;
let shared = EMPTY;
let sharedUsed = 0;

/** A copy for certain: `slice` of a Buffer, which Node's sockets hand out, is a view. */
function ownBody(bytes: Uint8Array, at: number, end: number): Uint8Array {
  const size = end - at;
  const view = bytes.subarray(at, end);
  if (size > SHARED_BODY_SIZE_MAX) return new Uint8Array(view);
  if (size > shared.length - sharedUsed) {
    shared = new Uint8Array(SHARED_SIZE);
    sharedUsed = 0;
  }
  const own = shared.subarray(sharedUsed, sharedUsed + size);
  own.set(view);
  sharedUsed += size;
  return own;
}

function copy(bytes: Uint8Array): Uint8Array {
  return new Uint8Array(bytes);
}
