// Cuts the bytes of one connection into remoting commands, however the network split them. Pure: the connection feeds
// it and asks; a frame that can't be one is a ProtocolError, after which the decoder is not used again.

import { ProtocolError } from "../base/errors.ts";
import { concatBytes, readInt32, shortLivedBytes } from "../base/bytes.ts";
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

const EMPTY = new Uint8Array(0);

/** Mirrors Apache's `NettyDecoder`. */
export class FrameDecoder {
  /** Bytes not yet decoded: a view of the last chunk, or, {@link #owned}, the part of one frame that came so far. */
  #bytes: Uint8Array = EMPTY;
  #start = 0;
  #end = 0;
  #owned = false;
  /** Of the last chunk, what follows the frame in {@link #bytes}. */
  #rest: Uint8Array = EMPTY;
  readonly #frameSizeMax: number;

  /** `frameSizeMax`: bytes of the largest frame taken, its length field included. */
  constructor(frameSizeMax: number = FRAME_SIZE_MAX) {
    this.#frameSizeMax = frameSizeMax;
  }

  /** Bytes held of an unfinished frame. */
  get pendingBytes(): number {
    return this.#end - this.#start + this.#rest.length;
  }

  /** Memory taken for it, bytes: up to twice as much. */
  get heldBytes(): number {
    return this.#owned ? this.#bytes.length : this.pendingBytes;
  }

  /**
   * Takes bytes that are lent until {@link next} has returned null; what is left over then is copied. Memory grows with
   * the bytes that came, never with a length that was announced.
   */
  push(chunk: Uint8Array): void {
    if (this.pendingBytes === 0) return this.#lend(chunk);
    if (!this.#owned || this.#rest.length > 0) {
      // Called without having asked for all that there was.
      return this.#lend(concatBytes([this.#bytes.subarray(this.#start, this.#end), this.#rest, chunk]));
    }
    // Only the frame that was begun is put together; what follows it is decoded where it is.
    let taken = 0;
    for (let missing = this.#missing(); missing > 0 && taken < chunk.length; missing = this.#missing()) {
      const size = Math.min(missing, chunk.length - taken);
      this.#append(chunk.subarray(taken, taken + size));
      taken += size;
    }
    this.#rest = chunk.subarray(taken);
  }

  /** The next whole command, its body nobody else's; null when more bytes are needed. */
  next(): RemotingCommand | null {
    if (this.#start === this.#end && this.#rest.length > 0) this.#lend(this.#rest);
    const available = this.#end - this.#start;
    if (available >= 4) {
      const size = 4 + this.#checkLength(readInt32(this.#bytes, this.#start));
      // The second word is judged as soon as it is here: garbage is found before it is collected.
      if (available >= 8) this.#checkHeaderWord(size);
      if (available >= size) {
        const command = decodeFrame(this.#bytes, this.#start, this.#start + size, this.#owned);
        this.#start += size;
        return command;
      }
    }
    this.#keepRest();
    return null;
  }

  #lend(chunk: Uint8Array): void {
    this.#bytes = chunk;
    this.#start = 0;
    this.#end = chunk.length;
    this.#owned = false;
    this.#rest = EMPTY;
  }

  /** Bytes that the frame begun lacks, as far as can be told; 0 also for one that {@link next} will refuse. */
  #missing(): number {
    const pending = this.#end - this.#start;
    if (pending < 8) return 8 - pending;
    return Math.max(0, 4 + Math.min(readInt32(this.#bytes, this.#start), this.#frameSizeMax) - pending);
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
    const pending = this.#end - this.#start;
    if (pending > 0 && this.#owned) return;
    // Also our own buffer: after one large frame an idle connection would hold its memory for good.
    this.#bytes = pending === 0 ? EMPTY : new Uint8Array(this.#bytes.subarray(this.#start, this.#end));
    this.#start = 0;
    this.#end = pending;
    this.#owned = pending > 0;
  }

  /** Adds to the frame that was begun. */
  #append(bytes: Uint8Array): void {
    const end = this.#end + bytes.length;
    if (end > this.#bytes.length) {
      const buffer = new Uint8Array(Math.max(end, Math.min(2 * this.#end, this.#end + this.#missing())));
      buffer.set(this.#bytes.subarray(0, this.#end));
      this.#bytes = buffer;
    }
    this.#bytes.set(bytes, this.#end);
    this.#end = end;
  }
}

/** One whole frame, its length field included and checked. `given`: the bytes hold nothing else, and are nobody's. */
function decodeFrame(bytes: Uint8Array, at: number, end: number, given: boolean): RemotingCommand {
  const word = readInt32(bytes, at + 4);
  const bodyAt = at + 8 + (word & 0xff_ffff);
  const header = bytes.subarray(at + 8, bodyAt);
  const fields = word >>> 24 === SerializeType.JSON ? decodeJsonHeader(header) : decodeRocketmqHeader(header);
  const command = fields as RemotingHeader & { body: Uint8Array };
  if (bodyAt === end) command.body = EMPTY;
  else {command.body = given && end - bodyAt > GIVEN_BODY_SIZE_MIN
      ? bytes.subarray(bodyAt, end)
      : ownBody(bytes, bodyAt, end);}
  return command;
}

/** A larger body is a view of the frame it came in; a smaller one may be small beside its header. */
const GIVEN_BODY_SIZE_MIN = 16 * 1024;
/** A copy for certain: `slice` of a Buffer, which Node's sockets hand out, is a view. */
function ownBody(bytes: Uint8Array, at: number, end: number): Uint8Array {
  const own = shortLivedBytes(end - at);
  own.set(bytes.subarray(at, end));
  return own;
}
