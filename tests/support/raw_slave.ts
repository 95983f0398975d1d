// A slave made of a socket and two lists, for tests of the master's side: it reports what it is told to, keeps what it
// is sent, and can stop reading.

import { concatBytes } from "../../src/base/bytes.ts";
import { readTransferHeader, TRANSFER_HEADER_SIZE, writeReport } from "../../src/ha/frames.ts";
import type { Connection, Net, NetAddress } from "../../src/runtime/runtime.ts";

export class RawSlave {
  readonly socket: Connection;
  /** Headers seen, heartbeats included. */
  readonly frames: { physicOffset: number; bodySize: number }[] = [];
  /** Bodies of the frames seen. */
  readonly bodies: Uint8Array[] = [];
  /** The stream has ended, one way or another. */
  ended = false;
  /** End of the last whole frame. */
  end = -1;
  /** Acknowledge each frame's end. */
  autoAck = false;
  #rest: Uint8Array = new Uint8Array(0);
  #pending: Promise<void> = Promise.resolve();

  constructor(socket: Connection) {
    this.socket = socket;
  }

  /** Connects, sends the request (null: none) and reads until the end (or never). */
  static async connect(net: Net, address: NetAddress, request: number | null, reading = true): Promise<RawSlave> {
    const slave = new RawSlave(
      await net.connect({ hostname: "127.0.0.1", port: address.port, timeoutMs: 5000 }),
    );
    if (request !== null) await slave.report(request);
    if (reading) slave.startReading();
    return slave;
  }

  /** Everything received, one piece. */
  get bytes(): Uint8Array {
    return concatBytes(this.bodies);
  }

  startReading(): void {
    this.#readAll().catch(() => {}).finally(() => this.ended = true);
  }

  async report(offset: number): Promise<void> {
    const bytes = new Uint8Array(8);
    writeReport(bytes, 0, offset);
    await this.write(bytes);
  }

  /** One write at a time, in order; a closed socket is no error here. */
  write(bytes: Uint8Array): Promise<void> {
    this.#pending = this.#pending.then(() => this.socket.write(bytes)).catch(() => {});
    return this.#pending;
  }

  close(): void {
    this.socket.close();
  }

  async #readAll(): Promise<void> {
    for (let bytes = await this.socket.read(); bytes !== null; bytes = await this.socket.read()) {
      this.#rest = concatBytes([this.#rest, bytes]);
      const before = this.end;
      while (this.#takeFrame());
      if (this.autoAck && this.end > before) this.report(this.end);
    }
  }

  #takeFrame(): boolean {
    if (this.#rest.length < TRANSFER_HEADER_SIZE) return false;
    const header = readTransferHeader(this.#rest, 0);
    const size = TRANSFER_HEADER_SIZE + header.bodySize;
    if (this.#rest.length < size) return false;
    this.frames.push(header);
    this.bodies.push(this.#rest.slice(TRANSFER_HEADER_SIZE, size));
    this.end = header.physicOffset + header.bodySize;
    this.#rest = this.#rest.slice(size);
    return true;
  }
}
